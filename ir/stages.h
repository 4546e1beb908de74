/* stages.h - the geometry of butterfly and FFT plans, shared by the passes that make them, the
 * recipes that pack their weights and the check that proves them.
 *
 * A plan's layouts are its segments: between two exchanges every digit stays where it is. A
 * segment's region holds `words` words a plane on each PE (planes: 1, or re and im, im after re).
 */
#ifndef BF_STAGES_H
#define BF_STAGES_H

#include "ir/map.h"

enum { BF_MAX_DIGITS = 48 };

/* Values of all digits of an element: those on PEs from the PE number, local ones from the word,
 * tile ones from the number (set << pe_bits) + PE. Digits of samples, lanes and stacks are 0. */
void bf_stage_digits(const struct bf_plan *plan, const struct bf_layout *layout, unsigned pe,
                     int64_t word, int64_t values[BF_MAX_DIGITS]);
/* Sum of weight (or out_weight) x digit. */
int64_t bf_stage_index(const struct bf_poly_kernel *kernel, const int64_t values[BF_MAX_DIGITS],
                       enum bf_role role);
/* Index of an element along the transformed axis in the operand that a plan reads or writes: in the
 * order of the kernel's operands, or (numbers "order_in" and "order_out" 1) in that of its results.
 */
int64_t bf_stage_element(const struct bf_plan *plan, const int64_t values[BF_MAX_DIGITS],
                         enum bf_role role);
/* Layout in which statement `stmt` runs. */
const struct bf_layout *bf_stage_layout(const struct bf_plan *plan, int stmt);
/* Stride of a digit in the words of a layout's region; -1 if it is not local. */
int64_t bf_stage_stride(const struct bf_layout *layout, int digit);

/* The layout of what statement `stmt` writes: that of the next one where a plan sorts as it goes,
 * else the one in which it runs. */
const struct bf_layout *bf_stage_result_layout(const struct bf_plan *plan, int stmt);

/* One of the two loops in which a stage visits its butterflies, the digits that it leaves alone. */
struct bf_stage_loop {
    int64_t trips;
    int64_t from, to; /* stride in the words read, in the words written */
    bool weighted;    /* butterflies of different counts have different weights */
};
/* The order in which a stage visits its butterflies: two loops around a body of `low` x `high`
 * butterflies.
 *     for h < trips_high, l < trips_low, u < low x high:
 *         butterfly (h x high + u / low) of the outer loop, (l x low + u mod low) of the inner one
 */
struct bf_stage_order {
    int64_t radix;
    int64_t from_stride, to_stride; /* between the operands, between the results of a butterfly */
    struct bf_stage_loop inner, outer;
    int64_t low, high;
    int64_t trips_low, trips_high;
    /* The first two radix-2 stages of an FFT have the roots 1 and -i (i, inverse): no weights.
     * `quarter` is the stride, in the words read, of the digit that says which; 0: all are 1. */
    bool trivial;
    int64_t quarter;
};
/* Whether statement `stmt` is a stage: computes. */
bool bf_stage_computes(const struct bf_plan *plan, int stmt);
/* False if the digits that the stage leaves alone need more than two loops. */
bool bf_stage_order(const struct bf_plan *plan, int stmt, struct bf_stage_order *order);
/* Word of operand 0 (result 0) of the u-th butterfly of the first body. */
int64_t bf_stage_operand_word(const struct bf_stage_order *order, int64_t u);
int64_t bf_stage_result_word(const struct bf_stage_order *order, int64_t u);
/* Weights are packed a body after another, each with those of its different butterflies. Which of
 * them the u-th butterfly of a body has; how many a body has; how many bodies differ. */
int64_t bf_stage_weight(const struct bf_stage_order *order, int64_t u);
int64_t bf_stage_body_weights(const struct bf_stage_order *order);
int64_t bf_stage_weight_bodies(const struct bf_stage_order *order);
/* Whether the root of the u-th butterfly of every body of a trivial stage is -i (i). */
bool bf_stage_is_quarter(const struct bf_stage_order *order, int64_t u);
/* Word of operand 0 of a butterfly with the k-th weights. */
int64_t bf_stage_weight_word(const struct bf_stage_order *order, int64_t k);

/* Weight lanes of one butterfly of a statement; 0 where it is trivial:
 *   butterfly  w00 w10 w01 w11, in the last stage with bias w00 b0 w10 b1 w01 w11, in a scaled
 *              stage the ratios of both results (ir/scaled.h)
 *   FFT        radix 2: re, im of W; radix r: for each result, for operands 1 .. r-1: re, im;
 *              a stage without a digit multiplies every element by a factor of its own: re, im */
int64_t bf_stage_lanes(const struct bf_plan *plan, int stmt);
/* First lane of a statement's weights; of statement plan->last + 1: all lanes of the plan. */
int64_t bf_stage_lane_base(const struct bf_plan *plan, int stmt);
/* Whether the plan's statement `stmt` adds the bias: the last stage of a butterfly that has one. */
bool bf_stage_has_bias(const struct bf_plan *plan, int stmt);

#endif
