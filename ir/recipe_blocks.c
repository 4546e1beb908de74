/* recipe_blocks.c - packs the weights of kernels over blocks of columns, a set a share of the work.
 *
 *   block_dense      word 0 | scale | bias of the PE's outputs |
 *                    word 1.. | w[o][k] for each column k, outputs o of the PE next to each other |
 *   block_butterfly  | 2 x 2 matrices, stage by stage | those of the last stage, summed | scale,
 * biases |
 */
#include "ir/isa/fp.h"
#include "ir/recipe.h"

struct source {
    const struct bf_param_view *view;
    const struct bf_weight *data;
};

static struct source find_source(const struct bf_plan *plan, const struct bf_weights *weights,
                                 const char *role) {
    const struct bf_kernel_param *param = bf_kernel_find_param(plan->kernel, role);
    if (!param)
        return (struct source){NULL, NULL};
    return (struct source){&param->view, bf_weights_find(weights, param->view.param->name)};
}

static uint16_t half_at(const struct source *source, const int64_t *index) {
    return source->view ? bf_half_from_double(bf_view_read(source->data, source->view, index)) : 0;
}

/* What undoes the exponent with which the input is stored. */
static uint16_t scale_of(const struct bf_plan *plan) {
    int shift = plan->kernel->inputs.data[0].buffer->exponent -
                plan->kernel->outputs.data[0].buffer->exponent;
    double scale = 1;
    for (; shift > 0; shift--)
        scale *= 2;
    for (; shift < 0; shift++)
        scale /= 2;
    return bf_half_from_double(scale);
}

/* ---- block_dense ---- */

bool bf_recipe_block_dense(const struct bf_map *map, const struct bf_recipe *recipe,
                           const struct bf_weights *weights, uint16_t *out,
                           struct bf_diags *diags) {
    (void)diags;
    const struct bf_plan *plan = map->plans.data[recipe->plan];
    struct source weight = find_source(plan, weights, "weight");
    struct source bias = find_source(plan, weights, "bias");
    int64_t unroll = bf_plan_int(plan, "unroll"), groups = bf_plan_int(plan, "output_groups");
    int64_t blocks = weight.view->extent[0], columns = weight.view->extent[2];
    int64_t v = map->machine.lanes;
    for (int64_t set = 0; set < recipe->sets; set++) {
        for (int64_t pe = 0; pe < recipe->pes; pe++, out += recipe->words * v) {
            int64_t block = bf_plan_int(plan, "first_block") + set / groups * recipe->pes + pe;
            int64_t first = bf_plan_int(plan, "first_output") + set % groups * unroll;
            out[0] = scale_of(plan);
            for (int64_t u = 0; u < unroll; u++) {
                int64_t at = (first + u) * blocks + block;
                out[1 + u] = half_at(&bias, &at);
                for (int64_t k = 0; k < columns; k++)
                    out[v + k * unroll + u] = half_at(&weight, (int64_t[]){block, first + u, k});
            }
        }
    }
    return true;
}

/* ---- block_butterfly ---- */

struct butterflies {
    const struct bf_plan *plan;
    struct source twiddle, bias;
    int64_t tile, stages, columns; /* columns: butterflies that are summed */
    int64_t merge, steps, pairs;   /* see passes/array/block_butterfly.c */
    int64_t finish,
        finish_stride; /* lane of the scale of the first chunk, and from one to the next */
    bool increasing;
};

static int64_t stride_of(const struct butterflies *b, int64_t stage) {
    return INT64_C(1) << (b->increasing ? stage : b->stages - 1 - stage);
}

/* w[out][in] of pair q of a stage, in the order w00 w10 w01 w11. */
static void pack_pair(const struct butterflies *b, int64_t row, int64_t column, int64_t stage,
                      int64_t q, uint16_t *lanes) {
    if (column >= b->columns)
        return;
    for (int e = 0; e < 4; e++)
        lanes[e] = half_at(&b->twiddle, (int64_t[]){row, column, 0, stage, q, e % 2, e / 2});
}

/* Pair k of all in a row, tile after tile, is pair k mod B/2 of its tile. */
static void pack_set(const struct butterflies *b, int64_t row, int64_t phase, uint16_t *out) {
    int64_t half = b->tile / 2, all = b->steps * b->merge * half;
    int64_t first = phase * b->steps * b->merge;
    for (int64_t stage = 0; stage + 1 < b->stages; stage++)
        for (int64_t k = 0; k < all; k++, out += 4)
            pack_pair(b, row, first + k / half, stage, k % half, out);
    int64_t stride = stride_of(b, b->stages - 1);
    for (int64_t group = first; group < first + b->steps * b->merge; group += b->merge)
        for (int64_t q = 0; q < half; q += b->pairs)
            for (int64_t g = group; g < group + b->merge; g++)
                for (int64_t p = 0; p < b->pairs; p++, out += 4)
                    pack_pair(b, row, g, b->stages - 1, q + p, out);
    out += b->finish - b->stages * 4 * all;
    for (int64_t q = 0; q < half; q += b->pairs, out += b->finish_stride) {
        out[0] = scale_of(b->plan);
        for (int64_t p = 0; p < 2 * b->pairs; p++) {
            int64_t pair = q + p / 2;
            int64_t at =
                row * b->tile + pair / stride * 2 * stride + pair % stride + p % 2 * stride;
            out[1 + p] = half_at(&b->bias, &at);
        }
    }
}

bool bf_recipe_block_butterfly(const struct bf_map *map, const struct bf_recipe *recipe,
                               const struct bf_weights *weights, uint16_t *out,
                               struct bf_diags *diags) {
    (void)diags;
    const struct bf_plan *plan = map->plans.data[recipe->plan];
    struct butterflies b = {.plan = plan,
                            .twiddle = find_source(plan, weights, "twiddle"),
                            .bias = find_source(plan, weights, "bias"),
                            .tile = bf_ints_get(&plan->kernel->attrs, "tile"),
                            .merge = bf_plan_int(plan, "merge"),
                            .steps = bf_plan_int(plan, "steps"),
                            .pairs = bf_plan_int(plan, "pairs"),
                            .finish = bf_plan_int(plan, "finish_lane"),
                            .finish_stride = bf_plan_int(plan, "finish_stride"),
                            .increasing = bf_ints_get(&plan->kernel->attrs, "increasing") != 0};
    int64_t phases = bf_plan_int(plan, "phases");
    b.columns = b.twiddle.view->extent[1];
    b.stages = b.twiddle.view->extent[3];
    for (int64_t set = 0; set < recipe->sets; set++) {
        for (int64_t pe = 0; pe < recipe->pes; pe++, out += recipe->words * map->machine.lanes) {
            int64_t row = bf_plan_int(plan, "first_block") + set / phases * recipe->pes + pe;
            pack_set(&b, row, set % phases, out);
        }
    }
    return true;
}
