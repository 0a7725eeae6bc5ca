/** Sides of whole trainings: from the data in the client's memory. All train the same. */
#ifndef TH_BENCHMARKS_SERVICE_SIDE_H
#define TH_BENCHMARKS_SERVICE_SIDE_H

#include "benchmarks/side.h"

/** Until the first step is known of; until the model is here, with each step told on the way.
 * argument: of these an int, the th_mode. */
extern const th_side_kind th_side_first_step, th_side_training;

/** Until the model is here, without looking at progress but for its end, once a millisecond. */
extern const th_side_kind th_side_unwatched;

/** The same two behind HTTP, asked again at once. argument: none. */
extern const th_side_kind th_side_first_step_http, th_side_training_http;

#endif
