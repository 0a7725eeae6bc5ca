/* The shared library as a backend meets it: the header, the library, and no other code of ours. */
#include <criterion/criterion.h>
#include <string.h>

#include "trainhost.h"

Test(linked, an_error_has_its_text_across_the_library) {
  th_manager *manager;
  th_adapter *adapter;
  cr_assert_eq(th_manager_create(TH_MODE_HOST, "unix:///nowhere/socket", &manager), TH_OK);
  th_error error = th_adapter_open(manager, NULL, &adapter);
  cr_assert_eq(error, TH_ERR_HOST_ABSENT);
  cr_assert_not_null(strstr(th_error_text(), "/nowhere/socket"), "%s", th_error_text());
  cr_assert_str_eq(th_error_name(error), "TH_ERR_HOST_ABSENT");
  cr_assert_eq(th_error_exit_status(error), 69);
  th_manager_close(manager);
}

Test(linked, local_mode_works_or_says_what_to_install) {
  th_manager *manager;
  th_adapter *adapter;
  cr_assert_eq(th_manager_create(TH_MODE_LOCAL, NULL, &manager), TH_OK);
  th_error error = th_adapter_open(manager, NULL, &adapter);
  if (error == TH_OK) {
    cr_assert_eq(th_adapter_mode(adapter), TH_MODE_LOCAL);
    th_adapter_close(adapter);
  } else {
    cr_assert_eq(error, TH_ERR_USAGE, "%s", th_error_text());
    cr_assert_not_null(strstr(th_error_text(), "libtrainhost-local"), "%s", th_error_text());
  }
  th_manager_close(manager);
}
