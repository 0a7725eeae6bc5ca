/** How fast something goes on, over the most recent while. */
#ifndef TH_KERNELS_PACE_H
#define TH_KERNELS_PACE_H

#include <math.h>

/* Long enough not to flicker before a person's eyes, short enough to be recent. */
#define TH_PACE_SECONDS 0.5

typedef struct th_pace {
  double amount; /**< since the rate was taken */
  double seconds;
  double rate; /**< per second; 0 until one could be taken */
} th_pace;

/** Add what was done and the time that it took. */
static inline void th_pace_add(th_pace *pace, double amount, double seconds) {
  pace->amount += amount;
  pace->seconds += seconds;
  if (pace->seconds < TH_PACE_SECONDS) return;
  *pace = (th_pace){.rate = pace->amount / pace->seconds};
}

/** Per second; 0 while unknown. */
static inline double th_pace_rate(const th_pace *pace) {
  if (pace->rate > 0 || pace->seconds <= 0) return pace->rate;
  return pace->amount / pace->seconds;
}

/** Seconds that so much more will take; NaN while unknown. */
static inline double th_pace_eta(const th_pace *pace, double amount) {
  double rate = th_pace_rate(pace);
  return rate > 0 ? amount / rate : NAN;
}

#endif
