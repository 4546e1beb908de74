/* times.c - where a compilation spends its time. CPU time, which other processes disturb least. */
#define _DEFAULT_SOURCE
#define _POSIX_C_SOURCE 200809L
#include "frontend/driver/times.h"

#include <string.h>
#include <sys/resource.h>
#include <time.h>

void bf_times_add(struct bf_times *times, const char *step) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    double at = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    unsigned i = 0;
    while (i < times->count && strcmp(times->steps[i].step, step) != 0)
        i++;
    if (i == sizeof times->steps / sizeof *times->steps)
        return;
    if (i == times->count)
        times->steps[times->count++] = (struct bf_time){step, 0};
    times->steps[i].seconds += at - times->last;
    times->last = at;
}

void bf_times_print(const struct bf_times *times, FILE *out) {
    double all = 0;
    for (unsigned i = 0; i < times->count; i++)
        all += times->steps[i].seconds;
    fprintf(out, "%-14s %9s %7s\n", "step", "seconds", "share");
    for (unsigned i = 0; i < times->count; i++)
        fprintf(out, "%-14s %9.3f %5.1f %%\n", times->steps[i].step, times->steps[i].seconds,
                all > 0 ? 100 * times->steps[i].seconds / all : 0.0);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    fprintf(out, "%-14s %9.3f %5.1f %%   peak memory %ld MB\n", "all", all, 100.0,
            usage.ru_maxrss / 1024);
}
