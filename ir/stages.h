/* stages.h - the geometry of butterfly and FFT plans, shared by the passes that make them, the
 * recipes that pack their weights and the check that proves them.
 *
 * A plan's layouts are its segments: between two exchanges every digit stays where it is. A segment's
 * region holds `words` words a plane on each PE (planes: 1, or re and im, im after re).
 */
#ifndef BF_STAGES_H
#define BF_STAGES_H

#include "ir/map.h"

enum { BF_MAX_DIGITS = 48 };

/* Values of all digits of an element: those on PEs from the PE number, local ones from the word,
 * tile ones from the plan's "set". Digits of samples, lanes and stacks are 0. */
void bf_stage_digits(const struct bf_plan *plan, const struct bf_layout *layout, unsigned pe,
                     int64_t word, int64_t values[BF_MAX_DIGITS]);
/* Sum of weight (or out_weight) x digit. */
int64_t bf_stage_index(const struct bf_poly_kernel *kernel, const int64_t values[BF_MAX_DIGITS],
                       enum bf_role role);
/* Layout in which statement `stmt` runs. */
const struct bf_layout *bf_stage_layout(const struct bf_plan *plan, int stmt);
/* Stride of a digit in the words of a layout's region; -1 if it is not local. */
int64_t bf_stage_stride(const struct bf_layout *layout, int digit);

/* The order in which a stage visits its butterflies: two loops around a body of `low` x `high`
 * butterflies.
 *     for h < trips_high, l < trips_low, u < low x high:
 *         word of operand 0 = (h x high + u / low) x stride x radix + l x low + u mod low
 */
struct bf_stage_order {
    int64_t radix, stride;
    int64_t low, high;
    int64_t trips_low, trips_high;
};
struct bf_stage_order bf_stage_order(const struct bf_plan *plan, int stmt);
/* Word of operand 0 of the k-th butterfly. */
int64_t bf_stage_word(const struct bf_stage_order *order, int64_t k);

/* Weight lanes of one butterfly of a statement:
 *   butterfly  w00 w10 w01 w11, in the last stage with bias w00 b0 w10 b1 w01 w11
 *   FFT        radix 2: re, im of W; radix r: for each result, for operands 1 .. r-1: re, im */
int64_t bf_stage_lanes(const struct bf_plan *plan, int stmt);
/* First lane of a statement's weights; of statement plan->last + 1: all lanes of the plan. */
int64_t bf_stage_lane_base(const struct bf_plan *plan, int stmt);
/* Whether the plan's statement `stmt` adds the bias: the last stage of a butterfly that has one. */
bool bf_stage_has_bias(const struct bf_plan *plan, int stmt);

#endif
