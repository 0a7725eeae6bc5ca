#include "kernels/device.h"

#include <criterion/criterion.h>
#include <string.h>

#include "kernels/backend.h"
#include "tests/support/leak.h"

Test(device, the_processor_can_always_be_opened) {
  th_device device;
  cr_assert_eq(th_device_open("cpu", &device), TH_OK);
  cr_assert_str_eq(device.backend->name, "cpu");
  cr_assert_geq(device.threads, 1);
  cr_assert_eq(strncmp(device.name, "cpu: ", 5), 0);
  cr_assert_not_null(strstr(device.name, " BLAS"));
}

Test(device, cuda_is_refused_with_what_was_found_and_the_remedy) {
  static const char *const names[] = {"cuda", "cuda:0", "cuda:7"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    th_device device;
    cr_assert_eq(th_device_open(names[i], &device), TH_ERR_DEVICE);
    cr_assert_not_null(strstr(th_error_text(), names[i]));
    cr_assert_not_null(strstr(th_error_text(), "found "));
    cr_assert_not_null(strstr(th_error_text(), "no CUDA backend"));
    cr_assert_not_null(strstr(th_error_text(), "--device cpu"));
  }
}

Test(device, other_names_are_a_mistake_of_the_caller) {
  static const char *const names[] = {
      "", "gpu", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:01", "cuda:0 ", "cuda0"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    th_device device;
    cr_assert_eq(th_device_open(names[i], &device), TH_ERR_USAGE, "\"%s\"", names[i]);
    cr_assert_not_null(strstr(th_error_text(), "cpu, cuda or cuda:N"));
  }
}

Test(device, opening_leaves_no_descriptor_open) {
  th_device device;
  uint32_t before = leak_count_fds();
  cr_assert_eq(th_device_open("cpu", &device), TH_OK);
  (void)th_device_open("cuda", &device);
  cr_assert_eq(leak_count_fds(), before);
}
