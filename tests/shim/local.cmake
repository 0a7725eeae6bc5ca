th_test(shim_local local_test.c LIBRARIES trainhost_local th_options)
target_include_directories(test_shim_local PRIVATE ${CMAKE_SOURCE_DIR}/base)
