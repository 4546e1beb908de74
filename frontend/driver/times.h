/* times.h - where a compilation spends its time: -time-passes. */
#ifndef BF_DRIVER_TIMES_H
#define BF_DRIVER_TIMES_H

#include <stdio.h>

/* CPU seconds by step, in the order in which steps first ended. */
struct bf_times {
    struct bf_time {
        const char *step; /* a literal */
        double seconds;
    } steps[32];
    unsigned count;
    double last; /* the process' CPU time when the step before ended */
};

/* The time since the last call, or since the process began, was `step`'s. */
void bf_times_add(struct bf_times *times, const char *step);
/* One line a step: name, seconds, share; then the sum and the peak memory of the process. */
void bf_times_print(const struct bf_times *times, FILE *out);

#endif
