# The specification alone: the command line links it without the rest of the kernels.
add_library(th_spec STATIC ${CMAKE_CURRENT_LIST_DIR}/spec.c
  ${CMAKE_CURRENT_LIST_DIR}/spec_judge.c)
target_link_libraries(th_spec PUBLIC th_base PRIVATE PkgConfig::JANSSON m)
