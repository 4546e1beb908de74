/* host.h - the pass from poly to a plan of host code.
 *
 *     kernels --group.c: sites, generators, epilogues--> steps --plan.c: functions, calls,
 *     packs--> --chain.c--> --place.c: workspace--> plan
 */
#ifndef BF_PASSES_HOST_H
#define BF_PASSES_HOST_H

#include "ir/host.h"

/* Takes the poly, in which only results of transforms have exponents. NULL with errors; then the
 * poly is freed. `weights` may be NULL where there are no parameters. */
struct bf_host_plan *bf_pass_host(struct bf_poly *poly, const struct bf_weights *weights,
                                  const struct bf_host_target *target,
                                  const struct bf_host_generator *const *generators,
                                  struct bf_diags *diags);

/* ---- inside ---- */

/* A kernel or a pair of kernels that one function computes, with what was fused into it. */
struct bf_host_step {
    struct bf_poly_kernel *const *kernels; /* in poly->kernels */
    const struct bf_host_generator *generator;
    struct bf_host_choice *choice;
    struct bf_host_epilogue *epilogue;
    bool fused; /* into another step: no call of its own */
};
struct bf_host_steps {
    struct bf_host_step *data;
    size_t count, capacity;
};

/* group.c */
bool bf_host_group(struct bf_host_plan *plan, const struct bf_weights *weights,
                   const struct bf_host_generator *const *generators, struct bf_host_steps *steps,
                   struct bf_diags *diags);
/* chain.c: sets length and chain_rows of calls, and temps[].in_chain */
void bf_host_chain(struct bf_host_plan *plan);
/* place.c: offsets of TEMP buffers, sizes of workspace and scratch */
void bf_host_place(struct bf_host_plan *plan);

#endif
