#include "runs/data.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- one array ---- */

/* Mapped and not allocated: the heap would keep the pages of large arrays for itself when they are
 * freed, and mapped memory is aligned for any element. */
th_error th_run_array_reserve(th_run_array *array, th_array which, uint64_t bytes, uint64_t job) {
  if (bytes == 0) return TH_OK;
  void *data = MAP_FAILED;
  if (bytes <= SIZE_MAX)
    data = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    return th_fail_errno(TH_ERR_SYSTEM,
                         "cannot reserve %" PRIu64 " bytes for the %s of job %" PRIu64, bytes,
                         th_array_name(which), job);
  *array = (th_run_array){.data = data, .bytes = bytes};
  return TH_OK;
}

/* The sizes are compared by subtraction from our own, which cannot overflow. */
th_error th_run_array_receive(th_run_array *array, th_array which, uint64_t offset,
                              const void *bytes, size_t count) {
  if (offset != array->received)
    return th_fail(TH_ERR_PROTOCOL,
                   "bytes for the %s at offset %" PRIu64 ", where %" PRIu64 " was due",
                   th_array_name(which), offset, array->received);
  if (count > array->bytes - array->received)
    return th_fail(TH_ERR_PROTOCOL, "%zu bytes for the %s, of which only %" PRIu64 " are missing",
                   count, th_array_name(which), array->bytes - array->received);
  if (count > 0) memcpy(array->data + array->received, bytes, count);
  array->received += count;
  return TH_OK;
}

void th_run_array_fini(th_run_array *array) {
  if (array->data != NULL) munmap(array->data, (size_t)array->bytes);
  *array = (th_run_array){0};
}

/* ---- all arrays but the model ---- */

static void data_destroy(th_run_data *data) {
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++) th_run_array_fini(&data->arrays[i]);
  free(data);
}

th_error th_run_data_create(uint64_t job, const th_run_request *request, th_run_data **created) {
  th_run_data *data = calloc(1, sizeof *data);
  if (data == NULL)
    return th_fail_errno(TH_ERR_SYSTEM, "cannot allocate the data of job %" PRIu64, job);
  data->rows = request->rows;
  data->width = request->width;
  data->target_width = request->target_width;
  atomic_init(&data->holders, 1);
  atomic_init(&data->state, TH_RUN_DATA_RECEIVING);
  th_error error = TH_OK;
  for (int i = 0; i < TH_ARRAY_DATA_COUNT && error == TH_OK; i++)
    error = th_run_array_reserve(&data->arrays[i], (th_array)i, request->array_bytes[i], job);
  if (error != TH_OK) {
    data_destroy(data);
    return error;
  }
  *created = data;
  return TH_OK;
}

/* Relaxed: the caller's own hold keeps it there. */
th_run_data *th_run_data_take(th_run_data *data) {
  atomic_fetch_add_explicit(&data->holders, 1, memory_order_relaxed);
  return data;
}

/* Acquire and release: what every holder did with it comes before the last one frees it. */
void th_run_data_put(th_run_data *data) {
  if (data == NULL) return;
  if (atomic_fetch_sub_explicit(&data->holders, 1, memory_order_acq_rel) == 1) data_destroy(data);
}

static bool data_is_full(const th_run_data *data) {
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++)
    if (data->arrays[i].received < data->arrays[i].bytes) return false;
  return true;
}

th_error th_run_data_receive(th_run_data *data, th_array which, uint64_t offset, const void *bytes,
                             size_t count) {
  th_error error = th_run_array_receive(&data->arrays[which], which, offset, bytes, count);
  if (error != TH_OK || !data_is_full(data)) return error;
  /* Pairs with the acquire in th_run_data_get_state: who sees it whole sees every byte. */
  atomic_store_explicit(&data->state, TH_RUN_DATA_WHOLE, memory_order_release);
  return TH_OK;
}

void th_run_data_close(th_run_data *data) {
  int receiving = TH_RUN_DATA_RECEIVING;
  atomic_compare_exchange_strong(&data->state, &receiving, TH_RUN_DATA_LOST);
}

th_run_data_state th_run_data_get_state(const th_run_data *data) {
  return (th_run_data_state)atomic_load_explicit(&data->state, memory_order_acquire);
}

uint64_t th_run_data_part_bytes(const th_run_data *data) {
  uint64_t bytes = 0;
  for (int i = 0; i < TH_ARRAY_DATA_COUNT; i++) bytes += data->arrays[i].bytes;
  uint64_t holders = atomic_load_explicit(&data->holders, memory_order_relaxed);
  return bytes / holders + (bytes % holders != 0);
}
