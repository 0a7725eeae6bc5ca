#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "shim/trainhost.h"

#define SWITCH "USE_TRAINING_HOST_SERVICE"
#define URL "TRAINING_HOST_SERVICE_URL"

static void set(const char *name, const char *value) {
  cr_assert_eq(value == NULL ? unsetenv(name) : setenv(name, value, 1), 0);
}

static th_mode mode_with(const char *value) {
  set(SWITCH, value);
  th_manager *manager;
  cr_assert_eq(th_manager_from_env(&manager), TH_OK, "%s", th_error_text());
  th_mode mode = th_manager_mode(manager);
  th_manager_close(manager);
  return mode;
}

Test(manager, true_1_and_yes_in_any_case_mean_the_host) {
  static const char *const words[] = {"true", "True", "TRUE", "tRuE", "1", "yes", "YES"};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    cr_assert_eq(mode_with(words[i]), TH_MODE_HOST, "%s", words[i]);
}

Test(manager, anything_else_means_local) {
  static const char *const words[] = {NULL, "",    "false", "0",    "no", "on",
                                      "2",  " 1 ", "truee", "yes ", "y"};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    cr_assert_eq(mode_with(words[i]), TH_MODE_LOCAL, "%s", words[i]);
}

Test(manager, the_default_is_the_well_known_socket) {
  set(SWITCH, "1");
  set(URL, NULL);
  th_manager *manager;
  cr_assert_eq(th_manager_from_env(&manager), TH_OK);
  cr_assert_str_eq(th_manager_url(manager), "unix:///run/trainhost/trainhost.sock");
  th_manager_close(manager);
}

Test(manager, keeps_what_the_environment_said_when_it_was_made) {
  set(SWITCH, "yes");
  set(URL, "unix:///run/a/b.sock");
  th_manager *manager;
  cr_assert_eq(th_manager_from_env(&manager), TH_OK);
  set(SWITCH, "no");
  set(URL, "unix:///elsewhere");
  cr_assert_eq(th_manager_mode(manager), TH_MODE_HOST);
  cr_assert_str_eq(th_manager_url(manager), "unix:///run/a/b.sock");
  th_manager_close(manager);
}

static void assert_refused(const char *url, const char *why) {
  set(SWITCH, "true");
  set(URL, url);
  th_manager *manager = NULL;
  cr_assert_eq(th_manager_from_env(&manager), TH_ERR_USAGE, "%s was taken", url);
  cr_assert_null(manager);
  cr_assert_not_null(strstr(th_error_text(), URL), "the variable is not named: %s",
                     th_error_text());
  cr_assert_not_null(strstr(th_error_text(), url), "the value is not named: %s", th_error_text());
  cr_assert_not_null(strstr(th_error_text(), why), "%s: %s", url, th_error_text());
}

Test(manager, refuses_a_malformed_url_and_says_why) {
  assert_refused("", "is no unix:// URL");
  assert_refused("/run/trainhost/trainhost.sock", "is no unix:// URL");
  assert_refused("unix:/run/a", "is no unix:// URL");
  assert_refused("tcp://localhost:1", "is no unix:// URL");
  assert_refused("unix://", "names no socket");
  assert_refused("unix:///", "names no socket");
  assert_refused("unix:///run/trainhost/", "names no socket");
  assert_refused("unix://run/trainhost.sock", "is not absolute");
  assert_refused("unix:///run/a%00b", "escape");
  assert_refused("unix:///run/a%20b", "escape");
  assert_refused("unix:///run/a?mode=1", "query");
  assert_refused("unix:///run/a#b", "fragment");
}

Test(manager, says_of_http_that_it_is_gone_and_what_to_set) {
  assert_refused("http://training-host:8000", "no longer speaks");
  assert_refused("HTTPS://training-host", "unix:///run/trainhost/trainhost.sock");
}

Test(manager, takes_a_path_that_just_fits_and_no_longer_one) {
  char url[7 + 108 + 1] = "unix://";
  memset(url + 7, '/', 1);
  memset(url + 8, 'a', 106);
  set(SWITCH, "1");
  set(URL, url);
  th_manager *manager;
  cr_assert_eq(th_manager_from_env(&manager), TH_OK, "%s", th_error_text());
  cr_assert_str_eq(th_manager_url(manager), url);
  th_manager_close(manager);
  url[7 + 107] = 'a';
  assert_refused(url, "too long");
}

Test(manager, does_not_judge_the_url_in_local_mode) {
  set(SWITCH, NULL);
  set(URL, "http://old");
  th_manager *manager;
  cr_assert_eq(th_manager_from_env(&manager), TH_OK);
  cr_assert_str_eq(th_manager_url(manager), "local");
  th_manager_close(manager);
}

Test(manager, can_be_made_from_arguments) {
  th_manager *manager;
  cr_assert_eq(th_manager_create(TH_MODE_HOST, "unix:///a", &manager), TH_OK);
  cr_assert_str_eq(th_manager_url(manager), "unix:///a");
  th_manager_close(manager);
  cr_assert_eq(th_manager_create(TH_MODE_LOCAL, "nonsense", &manager), TH_OK);
  cr_assert_eq(th_manager_mode(manager), TH_MODE_LOCAL);
  th_manager_close(manager);
  cr_assert_eq(th_manager_create(TH_MODE_HOST, "nonsense", &manager), TH_ERR_USAGE);
  cr_assert_eq(th_manager_create((th_mode)0, NULL, &manager), TH_ERR_USAGE);
  th_manager_close(NULL);
}
