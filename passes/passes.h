/* passes.h - the passes, in the order in which they run.
 *
 *   net   fold      constants are folded
 *   net   simplify  identities, common subexpressions and dead operators go
 *   net   axes      operators along an axis before the last two get it among these
 *   net   exponents results of transforms get the power of two with which they are stored
 *   poly  select    operators become kernels; elementwise ones join their producer or consumer
 *   poly  rewrite   values of weights may change the form of a kernel: scaled butterflies
 *   poly  slice     activations that exceed the scratchpad are cut, kernels run a slice at a time
 *   map   divide    a kernel becomes plans: parts that each fit the array
 *   map   tile      lanes, tiles, iterations: which PE works on which rows when
 *   map   partition layouts: which digit lies across PEs, which in the RAM, where exchanges are
 *   map   stream    RAM regions, contexts and the window of iterations in flight
 *   map   place     scratchpad and DRAM addresses of buffers and weight areas
 *   map   schedule  blocks, bodies, tokens, launches, DMA jobs and the sequencer program
 *   map   verify    every dependence has a carrier
 *
 * Each map pass walks the plans and calls the family of the plan's kernel (passes/array/family.h).
 */
#ifndef BF_PASSES_H
#define BF_PASSES_H

#include "ir/map.h"
#include "ir/weights.h"

bool bf_pass_fold(struct bf_net *net, struct bf_diags *diags);
bool bf_pass_simplify(struct bf_net *net, struct bf_diags *diags);
bool bf_pass_axes(struct bf_net *net, struct bf_diags *diags);
bool bf_pass_exponents(struct bf_net *net, struct bf_diags *diags);
/* Which results of operators must be stored as they are, without an exponent; the caller frees. */
bool *bf_plain_values(const struct bf_net *net);
/* Whether the pass gives the operator's result an exponent: a transform that is stored. */
bool bf_takes_exponent(const struct bf_op *op);
/* Of such an operator: what its attribute says, else what follows from the length. */
int bf_transform_exponent(const struct bf_op *op);
struct bf_poly *bf_pass_select(const struct bf_net *net, struct bf_diags *diags);
bool bf_pass_rewrite(struct bf_poly *poly, const struct bf_weights *weights,
                     struct bf_diags *diags);
bool bf_pass_slice(struct bf_poly *poly, const struct bf_machine *machine, struct bf_diags *diags);
bool bf_pass_divide(struct bf_map *map, struct bf_diags *diags);
bool bf_pass_tile(struct bf_map *map, struct bf_diags *diags);
bool bf_pass_partition(struct bf_map *map, struct bf_diags *diags);
bool bf_pass_stream(struct bf_map *map, struct bf_diags *diags);
bool bf_pass_place(struct bf_map *map, struct bf_diags *diags);
bool bf_pass_schedule(struct bf_map *map, struct bf_diags *diags);
bool bf_pass_verify(struct bf_map *map, struct bf_diags *diags);

#endif
