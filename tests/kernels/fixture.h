/** Data, specifications and whole trainings for the tests of trainer, checkpoint and inference. */
#ifndef TH_TESTS_KERNELS_FIXTURE_H
#define TH_TESTS_KERNELS_FIXTURE_H

#include "kernels/trainer.h"

enum { FIXTURE_ROWS = 600, FIXTURE_WIDTH = 20, FIXTURE_CLASSES = 3, FIXTURE_GROUPS = 7 };

/** Three clouds of points, which a small net tells apart, rows in random order. Static memory. */
th_data fixture_data(void);

/** The same points in groups: runs of eight rows on average, each of the group after. */
th_data fixture_grouped_data(void);

/** A net wide enough for several blocks and a batch large enough for several slices. */
th_spec fixture_spec(void);

/** As th_trainer_create on the CPU; must succeed. */
th_trainer *fixture_trainer(const th_spec *spec, const th_data *data);

/** Advance to the end, alone; must succeed. */
void fixture_finish(th_trainer *trainer);

/** The parameters of a trainer's result. Freed by the caller. @param count [out] how many. */
float *fixture_parameters(const th_trainer *trainer, uint64_t *count);

/** Whether two trainers' parameters are the same, bit by bit. */
bool fixture_is_same_model(const th_trainer *a, const th_trainer *b);

#endif
