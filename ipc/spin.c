#include "ipc/spin.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Spinning that failed so often that this little is left is given up. */
#define SPIN_NS_MIN INT64_C(1000)

/* Then one wait in so many tries again. */
enum { TRY_AGAIN_EVERY = 16 };

/* ---- what a process may use ---- */

/* "max 100000" or "50000 100000" of cpu.max; "-1" or "50000" of cpu.cfs_quota_us. */
static bool file_says_quota(const char *path) {
  char text[32] = "";
  FILE *file = fopen(path, "re");
  if (file == NULL) return false;
  bool is_read = fgets(text, sizeof text, file) != NULL;
  fclose(file);
  return is_read && strtoll(text, NULL, 10) > 0;
}

/* A limit binds all cgroups below it. */
static bool path_has_quota(const char *mount, const char *controller, char *path,
                           const char *file_name) {
  for (;;) {
    char file[2 * PATH_MAX];
    snprintf(file, sizeof file, "%s%s%s/%s", mount, controller, path, file_name);
    if (file_says_quota(file)) return true;
    char *slash = strrchr(path, '/');
    if (slash == NULL) return false;
    *slash = '\0';
  }
}

/* A line is NUMBER:CONTROLLERS:PATH; the second version of cgroups has no controllers there. */
static bool line_has_quota(char *line, const char *mount) {
  char *controllers = strchr(line, ':');
  if (controllers == NULL) return false;
  char *path = strchr(++controllers, ':');
  if (path == NULL) return false;
  *path++ = '\0';
  path[strcspn(path, "\n")] = '\0';
  if (controllers[0] == '\0') return path_has_quota(mount, "", path, "cpu.max");
  char *rest = NULL;
  for (char *name = strtok_r(controllers, ",", &rest); name != NULL;
       name = strtok_r(NULL, ",", &rest))
    if (strcmp(name, "cpu") == 0) return path_has_quota(mount, "/cpu", path, "cpu.cfs_quota_us");
  return false;
}

bool th_spin_has_quota(const char *proc_file, const char *mount) {
  char line[PATH_MAX];
  FILE *file = fopen(proc_file, "re");
  if (file == NULL) return false;
  bool has_quota = false;
  while (!has_quota && fgets(line, sizeof line, file) != NULL)
    has_quota = line_has_quota(line, mount);
  fclose(file);
  return has_quota;
}

static bool may_spin;

static void cpus_look(void) {
  cpu_set_t usable;
  may_spin = sched_getaffinity(0, sizeof usable, &usable) == 0 && CPU_COUNT(&usable) > 1 &&
             !th_spin_has_quota("/proc/self/cgroup", "/sys/fs/cgroup");
}

/* ---- what was learnt ---- */

/* Looked at once a process: that costs more than a connect. */
void th_spin_init(th_spin *spin) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, cpus_look);
  *spin = (th_spin){.may_spin = may_spin, .learnt_ns = may_spin ? TH_SPIN_NS_MAX : 0};
}

int64_t th_spin_budget_ns(th_spin *spin) {
  if (spin->learnt_ns > 0 || !spin->may_spin) return spin->learnt_ns;
  if (++spin->skipped < TRY_AGAIN_EVERY) return 0;
  spin->skipped = 0;
  return TH_SPIN_NS_MAX;
}

void th_spin_learn(th_spin *spin, bool has_come) {
  spin->learnt_ns = has_come ? TH_SPIN_NS_MAX : spin->learnt_ns / 2;
  if (spin->learnt_ns < SPIN_NS_MIN || !spin->may_spin) spin->learnt_ns = 0;
}
