/* recipe_dense.c - packs a weight matrix for passes/array/dense.c: a set a chunk of columns k.
 *
 *   word 0    | w[o][k0] for the PE's outputs o | their biases (first chunk only) |
 *   word 1..  | w[o][k] for each further k of the chunk, V / unroll of them a word |
 */
#include "ir/isa/fp.h"
#include "ir/recipe.h"

struct packing {
    const struct bf_param_view *weight, *bias;
    const struct bf_weight *weight_data, *bias_data;
    int64_t unroll, chunk, lanes;
    double bias_scale; /* undone when the sum is rounded */
};

static uint16_t weight_of(const struct packing *p, int64_t o, int64_t k) {
    if (o >= p->weight->extent[0] || k >= p->weight->extent[1])
        return 0;
    return bf_half_from_double(bf_view_read(p->weight_data, p->weight, (int64_t[]){o, k}));
}

static void pack_chunk(const struct packing *p, int64_t first_o, int64_t set, uint16_t *out) {
    for (int64_t u = 0; u < p->unroll; u++) {
        int64_t o = first_o + u, k0 = set * p->chunk;
        out[u] = weight_of(p, o, k0);
        if (p->bias && set == 0 && o < p->bias->extent[0])
            out[p->unroll + u] =
                bf_half_from_double(p->bias_scale * bf_view_read(p->bias_data, p->bias, &o));
        for (int64_t k = 1; k < p->chunk; k++)
            out[p->lanes + (k - 1) * p->unroll + u] = weight_of(p, o, k0 + k);
    }
}

bool bf_recipe_dense(const struct bf_map *map, const struct bf_recipe *recipe,
                     const struct bf_weights *weights, uint16_t *out, struct bf_diags *diags) {
    const struct bf_plan *plan = map->plans.data[recipe->plan];
    const struct bf_kernel_param *bias = bf_kernel_find_param(plan->kernel, "bias");
    struct packing p = {.weight = &bf_kernel_find_param(plan->kernel, "weight")->view,
                        .unroll = bf_plan_int(plan, "unroll"),
                        .chunk = bf_plan_int(plan, "chunk"),
                        .lanes = map->machine.lanes};
    int64_t most = map->machine.lanes * recipe->words;
    if (p.unroll < 1 || 2 * p.unroll > p.lanes || p.chunk < 1 || p.chunk > most ||
        p.lanes + (p.chunk - 1) * p.unroll > most || bf_plan_int(plan, "first_output") < 0)
        return bf_diag_error(diags, plan->kernel->loc,
                             "map: plan %s (%s): its recipe is not of the size of its weights",
                             plan->name, plan->kernel->what);
    p.bias_scale = bf_power_of_two(-(int)bf_ints_get(&plan->kernel->attrs, "exponent"));
    p.weight_data = bf_weights_find(weights, p.weight->param->name);
    if (bias) {
        p.bias = &bias->view;
        p.bias_data = bf_weights_find(weights, p.bias->param->name);
    }
    for (int64_t set = 0; set < recipe->sets; set++)
        for (int64_t pe = 0; pe < recipe->pes; pe++, out += recipe->words * p.lanes)
            pack_chunk(&p, bf_plan_int(plan, "first_output") + pe * p.unroll, set, out);
    return true;
}
