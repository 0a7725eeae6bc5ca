th_test(spec spec_test.c LIBRARIES th_spec PkgConfig::JANSSON)
