/* values.h - the value check of kernels that only multiply and add: the emitted words are run on
 * numbers of a finite field in the place of fp16 and f32.
 *
 * Over a field a sum of products does not depend on the order or the rounding of its terms. With
 * inputs and weights drawn at random two expressions that differ give the same number once in 2^31
 * times (Schwartz, 1980): what is stored is compared with what the kernel's definition gives.
 */
#ifndef BF_PASSES_ARRAY_VALUES_H
#define BF_PASSES_ARRAY_VALUES_H

#include "ir/map.h"
#include "ir/weights.h"

/* Numbers modulo 2^31 - 1. */
uint32_t bf_field_add(uint32_t a, uint32_t b);
uint32_t bf_field_multiply(uint32_t a, uint32_t b);
uint32_t bf_field_power_of_two(int exponent);
/* The number that finite fp16 bits stand for. */
uint32_t bf_field_of_half(uint16_t half);

/* What stands in column `column` of tile `tile` of rows of the input operand. */
uint32_t bf_values_input(int64_t tile, int64_t column);
/* Tensors for the kernel's parameters, of positive fp16 numbers. The caller frees them. */
struct bf_weights *bf_values_weights(const struct bf_poly_kernel *kernel);
/* Element of a parameter; 0 if `param` is NULL. */
uint32_t bf_values_param(const struct bf_weights *weights, const struct bf_kernel_param *param,
                         const int64_t *index);

/* Runs all plans of the plan's kernel, if it is the first of them. want[tile x columns + column] is
 * what belongs into a column of a tile of rows of the result. `tile_level` is the level of the
 * launch that counts tiles of rows, over which addresses advance by constants: values are computed
 * in its first and last round, and in every round it is checked where results go. -1: in all
 * rounds. */
bool bf_values_verify(struct bf_map *map, const struct bf_plan *plan, const uint32_t *want,
                      const struct bf_weights *weights, int tile_level, struct bf_diags *diags);
/* Whether an earlier plan of the kernel has the same code and launch, and loads from the same words
 * and, of its weights, from the same places: its values are computed for it, and of this one it is
 * checked where results go. Weights are packed for each by one recipe. Never the last plan. */
bool bf_values_repeats(const struct bf_map *map, const struct bf_plan *plan);
/* Whether a plan of the kernel, all of which have shares, has this tile in its first or last round.
 */
bool bf_values_compared(const struct bf_map *map, const struct bf_plan *plan, int64_t tile);
/* The same for a kernel that stores the words it loads as rows of the result. */
bool bf_values_verify_transpose(struct bf_map *map, const struct bf_plan *plan,
                                struct bf_diags *diags);
/* Whether the kernel is to be checked when this plan's turn comes. */
bool bf_values_first(const struct bf_map *map, const struct bf_plan *plan);

#endif
