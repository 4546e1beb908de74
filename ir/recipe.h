/* recipe.h - evaluating weight recipes: named tensors in, fp16 words of weight areas out. Each
 * family of kernels has one evaluator, the only code that knows how its schedule packs weights. */
#ifndef BF_RECIPE_H
#define BF_RECIPE_H

#include "ir/angles.h"
#include "ir/map.h"
#include "ir/weights.h"

/* Fills out[((set x pes + pe) x words + word) x V + lane] with fp16 bits, sets x pes x words x V of
 * them. Unused lanes are 0. */
typedef bool bf_recipe_function(const struct bf_map *map, const struct bf_recipe *recipe,
                                const struct bf_weights *weights, uint16_t *out,
                                struct bf_diags *diags);

bf_recipe_function bf_recipe_butterfly;                              /* ir/recipe_butterfly.c */
bf_recipe_function bf_recipe_twiddle;                                /* ir/recipe_twiddle.c */
bf_recipe_function bf_recipe_dense;                                  /* ir/recipe_dense.c */
bf_recipe_function bf_recipe_rows;                                   /* ir/recipe_rows.c */
bf_recipe_function bf_recipe_attention;                              /* ir/recipe_attention.c */
bf_recipe_function bf_recipe_block_dense, bf_recipe_block_butterfly; /* ir/recipe_blocks.c */

/* Element of a view of a parameter, by indices of the view; 0 outside of it. */
double bf_view_read(const struct bf_weight *tensor, const struct bf_param_view *view,
                    const int64_t *index);

/* Element of a view of a table of cosines and sines; its base was checked. */
double bf_rotary_read(const struct bf_param_view *view, const int64_t *index);

/* 2^exponent, exact; |exponent| <= 1000. */
double bf_power_of_two(int exponent);

/* By recipe->kind. */
bool bf_recipe_evaluate(const struct bf_map *map, const struct bf_recipe *recipe,
                        const struct bf_weights *weights, uint16_t *out, struct bf_diags *diags);

#endif
