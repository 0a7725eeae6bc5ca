/**
 * The data that runs work on, all arrays but the model: received once, shared by every run that
 * holds them, and given back to the system when the last one lets go.
 */
#ifndef TH_RUNS_DATA_H
#define TH_RUNS_DATA_H

#include <stdatomic.h>

#include "runs/run.h"

/** An array on its way in. */
typedef struct th_run_array {
  unsigned char *data; /**< mapped, so that the system has it back at once; NULL if bytes is 0 */
  uint64_t bytes;
  uint64_t received;
} th_run_array;

typedef enum th_run_data_state {
  TH_RUN_DATA_RECEIVING,
  TH_RUN_DATA_WHOLE,
  TH_RUN_DATA_LOST, /**< whoever sent it has given up: it will never be whole */
} th_run_data_state;

typedef struct th_run_data {
  uint64_t rows;
  uint32_t width;
  uint32_t target_width; /**< 0 without targets */
  th_run_array
      arrays[TH_ARRAY_DATA_COUNT]; /**< written by the run that receives them, under its lock */
  atomic_uint holders;
  atomic_int state; /**< th_run_data_state */
} th_run_data;

/** Reserve an array of a job. @return TH_OK, also for 0 bytes; TH_ERR_SYSTEM. */
th_error th_run_array_reserve(th_run_array *array, th_array which, uint64_t bytes, uint64_t job);

/** As th_run_receive, for one array. */
th_error th_run_array_receive(th_run_array *array, th_array which, uint64_t offset,
                              const void *bytes, size_t count);

/** Give an array back to the system. Takes an empty one, and leaves one. */
void th_run_array_fini(th_run_array *array);

/** Reserve what a request, already judged, announces. The caller is the first holder. @return
 * TH_OK; TH_ERR_SYSTEM. */
th_error th_run_data_create(uint64_t job, const th_run_request *request, th_run_data **data);

/** Hold it once more; the caller holds it, or has the lock of a run that does. */
th_run_data *th_run_data_take(th_run_data *data);

/** Let go. The last one to do so frees it. Takes NULL. Any thread. */
void th_run_data_put(th_run_data *data);

/** As th_run_receive. By the run that made it, under its lock. */
th_error th_run_data_receive(th_run_data *data, th_array which, uint64_t offset, const void *bytes,
                             size_t count);

/** Nothing more will come: what is not whole by now is lost. */
void th_run_data_close(th_run_data *data);

th_run_data_state th_run_data_get_state(const th_run_data *data);

/** One holder's part of the memory, rounded up: the parts of all holders are at least all of it. */
uint64_t th_run_data_part_bytes(const th_run_data *data);

#endif
