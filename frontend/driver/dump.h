/* dump.h - the texts that a compilation shows of its levels between passes: -dump-dir,
 * -print-before, -print-after, -print-changed and -filter-kernel. */
#ifndef BF_DRIVER_DUMP_H
#define BF_DRIVER_DUMP_H

#include "frontend/driver/compile.h"

/* How many there are of each kind of thing that a level has. */
struct bf_counts {
    struct {
        const char *what;
        size_t number;
    } data[12];
    size_t count;
};

/* What is remembered from one pass to the next. Zero it before the first. */
struct bf_dumps {
    struct bf_counts counts;
    struct bf_text before; /* the level's text before the pass, if anything needs it */
    const char *level;     /* of that text; NULL: nothing was remembered yet */
};

/* Around each pass that runs; `number` counts passes from 1. False after an error. */
bool bf_dump_before(struct bf_compilation *c, struct bf_dumps *dumps,
                    const struct bf_pass_info *pass);
bool bf_dump_after(struct bf_compilation *c, struct bf_dumps *dumps,
                   const struct bf_pass_info *pass, int number);
void bf_dumps_free(struct bf_dumps *dumps);

/* ---- difference.c ---- */

struct bf_difference {
    size_t gone, added; /* lines */
};
/* Counts the lines that are only in one of two texts, by a longest common subsequence; adds them to
 * `out`, unless that is NULL, as "- line" and "+ line" with the number of the line before each run
 * that they make. */
struct bf_difference bf_differ(const char *before, const char *after, struct bf_text *out);

/* ---- filter.c ---- */

/* Adds the lines of a level's text that are about a kernel: `name` is its name ("k3"), or the path
 * of labels that it came from; with the plans, code and operators that belong to it. */
void bf_filter_kernel(const char *text, const char *name, struct bf_text *out);

#endif
