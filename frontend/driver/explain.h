/* explain.h - bfcc -explain: why a network is mapped as it is, what binds, what would help. */
#ifndef BF_DRIVER_EXPLAIN_H
#define BF_DRIVER_EXPLAIN_H

#include "frontend/driver/compile.h"

/* What one launch of an array program asks of the array, counted from its descriptors. */
struct bf_work {
    uint64_t issued[4];  /* instructions of each unit (enum bf_unit), over all PEs */
    uint64_t most_cal;   /* of the PE that has most */
    uint64_t special;    /* special functions among those of CAL */
    uint64_t spm_words;  /* words that the scratchpad's ports move, at least */
    uint64_t iterations; /* of the launch */
    unsigned busy_pes;   /* PEs that have CAL blocks */
};
struct bf_work bf_work_of(const struct bf_program *program, size_t launch);

/* Explains a compilation that reached the map: all kernels, or those that `what` names (a kernel, a
 * label, a line "FILE:12" or "12"). False after an error: `what` is nothing of the network. */
bool bf_explain(const struct bf_compilation *compilation, const char *what, struct bf_text *out);
/* After a refusal: compiles again with more of one thing at a time, and says what would fit. */
void bf_explain_refusal(const struct bf_options *options, const struct bf_machine *machine,
                        struct bf_text *out);

#endif
