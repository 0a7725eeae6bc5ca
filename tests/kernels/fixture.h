/**
 * Data, specifications, whole trainings and what their models say, for tests of all of that. What
 * goes wrong on the way stops the test.
 */
#ifndef TH_TESTS_KERNELS_FIXTURE_H
#define TH_TESTS_KERNELS_FIXTURE_H

#include "formats/table.h"
#include "kernels/trainer.h"

enum { FIXTURE_ROWS = 600, FIXTURE_WIDTH = 20, FIXTURE_CLASSES = 3, FIXTURE_GROUPS = 7 };

/** Three clouds of points, which a small net tells apart, rows in random order. Static memory. */
th_data fixture_data(void);

/** The same points in groups: runs of eight rows on average, each of the group after. */
th_data fixture_grouped_data(void);

/** A net wide enough for several blocks and a batch large enough for several slices. */
th_spec fixture_spec(void);

/* ---- trainings ---- */

/** What everything is on that names no other. */
th_device fixture_cpu(void);

/** As th_trainer_create. */
th_trainer *fixture_trainer(const th_spec *spec, const th_data *data);

/** Advance to the end, alone. */
void fixture_finish(th_trainer *trainer);

/** A trainer that has come to its end. */
th_trainer *fixture_trained(const th_spec *spec, const th_data *data);

/** The newest epoch of its history. */
th_epoch fixture_last_epoch(const th_trainer *trainer);

/** Assert that no trainer is made, for a reason that names the part. */
void fixture_assert_refused(const th_spec *spec, const th_data *data, th_error expected,
                            const char *part);

/* ---- the same bits ---- */

/** The parameters of a trainer's result. Freed by the caller. @param count [out] how many. */
float *fixture_parameters(const th_trainer *trainer, uint64_t *count);

/** Whether two trainers' parameters are the same, bit by bit. */
bool fixture_is_same_model(const th_trainer *a, const th_trainer *b);

/** Expect the same parameters and the same history but for the seconds, bit by bit. */
void fixture_expect_same(const th_trainer *a, const th_trainer *b, const char *what);

/** Expect the same of a training alone and by 2, 3 and 4 threads. @param what  is trained. */
void fixture_expect_same_by_threads(const th_spec *spec, const th_data *data, const char *what);

/** Advance by so many slices of one step, or to the end. @return a checkpoint of that place. */
th_buffer fixture_interrupt(th_trainer *trainer, uint32_t slices);

/**
 * Interrupt one trainer after so many slices and go on in another, by two threads: expect its place
 * to be the same, and its end to be that of a training that was never interrupted.
 *
 * @param first, second  new, of what `whole` was made of; destroyed.
 * @param what           is trained.
 */
void fixture_expect_resumes(const th_trainer *whole, th_trainer *first, th_trainer *second,
                            uint32_t slices, const char *what);

/* ---- models ---- */

/** The model file of a trainer's result. */
th_buffer fixture_model(const th_trainer *trainer);

/** The same of a training from beginning to end. */
th_buffer fixture_trained_model(const th_spec *spec, const th_data *data);

/**
 * What a model says of the rows, logits or targets; labels and targets are not shown to it.
 *
 * @param card  [out] owned by the caller; NULL: not wanted.
 */
th_numbers fixture_predict(const th_device *device, const th_buffer *model, const th_data *data,
                           th_buffer *card);

/** The card of how well a model does on the rows. */
th_buffer fixture_evaluate(const th_buffer *model, const th_data *data);

/** Assert that a model is not applied to the rows, for a reason that names the part. */
void fixture_assert_not_applied(const th_buffer *model, const th_data *data, const char *part);

#endif
