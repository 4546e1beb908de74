/* recipe_butterfly.c - packs the 2 x 2 matrices (and biases) of a butterfly plan, in the order in
 * which its stages visit pairs. Twiddle [stack][block][stage][pair][out][in]: pair q of stride 2^k
 * joins i = 2^(k+1) (q / 2^k) + q mod 2^k and i + 2^k (Dao et al., 2019; torch_butterfly). */
#include "ir/isa/fp.h"
#include "ir/recipe.h"
#include "ir/scaled.h"
#include "ir/stages.h"

struct packing {
    const struct bf_plan *plan;
    const struct bf_scaled *scaled; /* NULL: the plain form */
    const struct bf_param_view *twiddle, *bias;
    const struct bf_weight *twiddle_data, *bias_data;
};

/* The matrix of the pair whose low element has index i; m[out][in]. */
static void pair_matrix(const struct packing *p, int stmt, int64_t i, double m[2][2]) {
    const struct bf_poly_kernel *kernel = p->plan->kernel;
    const struct bf_stmt *s = &kernel->stmts.data[stmt];
    int64_t stride = kernel->digits.data[s->digit].weight;
    int64_t q = i / (2 * stride) * stride + i % stride;
    for (int out = 0; out < 2; out++)
        for (int in = 0; in < 2; in++) {
            int64_t at[] = {bf_plan_int(p->plan, "stack"), s->block, s->stage, q, out, in};
            m[out][in] = bf_view_read(p->twiddle_data, p->twiddle, at);
        }
}

static void plain_words(const struct packing *p, int stmt, int64_t i, uint16_t w[2][2]) {
    double m[2][2];
    pair_matrix(p, stmt, i, m);
    for (int e = 0; e < 4; e++)
        w[e / 2][e % 2] = bf_half_from_double(m[e / 2][e % 2]);
}

/* Own coefficients (or the ratios) on the diagonal, the partners' beside it. */
static void scaled_words(const struct packing *p, int stmt, int64_t i, uint16_t w[2][2]) {
    const struct bf_poly_kernel *kernel = p->plan->kernel;
    int64_t stride = kernel->digits.data[kernel->stmts.data[stmt].digit].weight;
    for (int e = 0; e < 2; e++) {
        const uint16_t *own = &p->scaled->words[2 * ((stmt - 1) * p->scaled->n + i + e * stride)];
        w[e][e] = own[0];
        w[e][1 - e] = own[1];
    }
}

/* Added before the last rounding, which multiplies by 2^-shift. */
static double bias_of(const struct packing *p, int64_t i) {
    const struct bf_poly_kernel *kernel = p->plan->kernel;
    int64_t at = bf_plan_int(p->plan, "stack") * bf_ints_get(&kernel->attrs, "n") + i;
    if (at >= p->bias->extent[0])
        return 0;
    double bias = bf_view_read(p->bias_data, p->bias, &at);
    return bf_power_of_two(kernel->stmts.data[kernel->stmts.count - 2].shift) * bias;
}

static void pack_stage(const struct packing *p, int stmt, unsigned pe, uint16_t *lanes) {
    const struct bf_layout *layout = bf_stage_layout(p->plan, stmt);
    const struct bf_poly_kernel *kernel = p->plan->kernel;
    struct bf_stage_order order;
    if (!bf_stage_order(p->plan, stmt, &order))
        return;
    int64_t pairs = bf_plan_int(p->plan, "words") / 2, each = bf_stage_lanes(p->plan, stmt);
    for (int64_t k = 0; k < pairs; k++, lanes += each) {
        int64_t digits[BF_MAX_DIGITS];
        bf_stage_digits(p->plan, layout, pe, bf_stage_weight_word(&order, k), digits);
        int64_t i = bf_stage_index(kernel, digits, BF_READ);
        uint16_t w[2][2];
        if (p->scaled)
            scaled_words(p, stmt, i, w);
        else
            plain_words(p, stmt, i, w);
        if (each == 2) {
            memcpy(lanes, (uint16_t[]){w[0][0], w[1][1]}, 4);
            continue;
        }
        if (each == 4) {
            memcpy(lanes, (uint16_t[]){w[0][0], w[1][0], w[0][1], w[1][1]}, 8);
            continue;
        }
        int64_t j = i + kernel->digits.data[kernel->stmts.data[stmt].digit].weight;
        uint16_t b0 = bf_half_from_double(bias_of(p, i)), b1 = bf_half_from_double(bias_of(p, j));
        memcpy(lanes, (uint16_t[]){w[0][0], b0, w[1][0], b1, w[0][1], w[1][1]}, 12);
    }
}

bool bf_recipe_butterfly(const struct bf_map *map, const struct bf_recipe *recipe,
                         const struct bf_weights *weights, uint16_t *out, struct bf_diags *diags) {
    (void)diags;
    const struct bf_plan *plan = map->plans.data[recipe->plan];
    const struct bf_kernel_param *twiddle = bf_kernel_find_param(plan->kernel, "twiddle");
    const struct bf_kernel_param *bias = bf_kernel_find_param(plan->kernel, "bias");
    struct packing p = {.plan = plan, .twiddle = &twiddle->view};
    p.twiddle_data = bf_weights_find(weights, p.twiddle->param->name);
    if (bias) {
        p.bias = &bias->view;
        p.bias_data = bf_weights_find(weights, p.bias->param->name);
    }
    struct bf_scaled scaled = {0};
    if (bf_scaled_kernel(plan->kernel)) {
        scaled = bf_scaled_compute(plan->kernel, weights, bf_plan_int(plan, "stack"));
        p.scaled = &scaled;
    }
    int64_t per_pe = recipe->words * map->machine.lanes;
    for (int64_t pe = 0; pe < recipe->pes; pe++)
        for (int s = plan->first; s <= plan->last; s++)
            if (plan->kernel->stmts.data[s].kind == BF_STMT_BPMM)
                pack_stage(&p, s, (unsigned)pe, out + pe * per_pe + bf_stage_lane_base(plan, s));
    bf_scaled_free(&scaled);
    return true;
}
