#include "shim/manager.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "base/error.h"

#define SWITCH_VARIABLE "USE_TRAINING_HOST_SERVICE"
#define URL_VARIABLE "TRAINING_HOST_SERVICE_URL"
#define URL_SCHEME "unix://"
#define URL_DEFAULT URL_SCHEME "/run/trainhost/trainhost.sock"

enum { PATH_BYTES_MAX = sizeof((struct sockaddr_un *)0)->sun_path };

struct th_manager {
  th_mode mode;
  char url[sizeof URL_SCHEME - 1 + PATH_BYTES_MAX];
};

static bool begins_with(const char *text, const char *beginning) {
  return strncasecmp(text, beginning, strlen(beginning)) == 0;
}

/* `name` is what the text calls the URL: the variable, or the argument. */
static th_error fail_url(const char *name, const char *url, const char *why) {
  return th_fail(TH_ERR_USAGE, "%s=\"%.200s\" %s", name, url, why);
}

static th_error path_judge(const char *name, const char *url, const char *path) {
  if (path[0] == '\0' || path[strlen(path) - 1] == '/')
    return fail_url(name, url, "names no socket: give its absolute path, as in " URL_DEFAULT);
  if (path[0] != '/')
    return fail_url(name, url, "is not absolute: three slashes, as in " URL_DEFAULT);
  if (strpbrk(path, "%?#") != NULL)
    return fail_url(name, url,
                    "has an escape, query or fragment; the path is taken as it is "
                    "written and may not contain %, ? or #");
  if (strlen(path) >= PATH_BYTES_MAX)
    return fail_url(name, url, "is too long: a socket's path has at most 107 bytes");
  return TH_OK;
}

static th_error url_judge(const char *name, const char *url) {
  if (begins_with(url, "http://") || begins_with(url, "https://"))
    return fail_url(name, url,
                    "is HTTP, which the training host no longer speaks: mount the host's "
                    "/run/trainhost and set " URL_DEFAULT);
  if (strncmp(url, URL_SCHEME, strlen(URL_SCHEME)) != 0)
    return fail_url(name, url, "is no unix:// URL: set " URL_DEFAULT " or the like");
  return path_judge(name, url, url + strlen(URL_SCHEME));
}

static th_error manager_create(th_mode mode, const char *name, const char *url,
                               th_manager **created) {
  if (mode == TH_MODE_LOCAL)
    url = "local";
  else if (url == NULL)
    url = URL_DEFAULT;
  th_error error = mode == TH_MODE_HOST ? url_judge(name, url) : TH_OK;
  if (error != TH_OK) return error;
  th_manager *manager = calloc(1, sizeof *manager);
  if (manager == NULL) return th_fail(TH_ERR_SYSTEM, "no memory for a manager");
  manager->mode = mode;
  strcpy(manager->url, url); /* Its length was judged. */
  *created = manager;
  return TH_OK;
}

static bool says_yes(const char *value) {
  return value != NULL && (strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0 ||
                           strcasecmp(value, "yes") == 0);
}

th_error th_manager_from_env(th_manager **manager) {
  th_mode mode = says_yes(getenv(SWITCH_VARIABLE)) ? TH_MODE_HOST : TH_MODE_LOCAL;
  return manager_create(mode, URL_VARIABLE, getenv(URL_VARIABLE), manager);
}

th_error th_manager_create(th_mode mode, const char *url, th_manager **manager) {
  if (mode != TH_MODE_LOCAL && mode != TH_MODE_HOST)
    return th_fail(TH_ERR_USAGE, "mode is %d: it must be TH_MODE_LOCAL or TH_MODE_HOST", (int)mode);
  return manager_create(mode, "url", url, manager);
}

th_mode th_manager_mode(const th_manager *manager) {
  return manager->mode;
}

const char *th_manager_url(const th_manager *manager) {
  return manager->url;
}

const char *th_manager_path(const th_manager *manager) {
  return manager->mode == TH_MODE_HOST ? manager->url + strlen(URL_SCHEME) : "";
}

void th_manager_close(th_manager *manager) {
  free(manager);
}
