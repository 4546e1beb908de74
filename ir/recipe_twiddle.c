/* recipe_twiddle.c - the roots of unity of an FFT plan, computed in double without libm (the same
 * bits everywhere) and rounded once to fp16. */
#include "ir/isa/fp.h"
#include "ir/recipe.h"
#include "ir/stages.h"

/* cos and sin of x, 0 <= x <= pi/4: Taylor series, exact to the last bit or two of a double. */
static void small_angle(double x, double *c, double *s) {
    double x2 = x * x, term_c = 1, term_s = x, sum_c = 1, sum_s = x;
    for (int k = 1; k <= 10; k++) {
        term_c *= -x2 / ((2 * k - 1) * (2 * k));
        term_s *= -x2 / ((2 * k) * (2 * k + 1));
        sum_c += term_c;
        sum_s += term_s;
    }
    *c = sum_c;
    *s = sum_s;
}

/* cos and sin of 2 pi a / n, 0 <= a < n, folded to the first octant in integers. */
static void root_of_unity(int64_t a, int64_t n, double *c, double *s) {
    int64_t eighth = 8 * a / n;        /* octant 0 .. 7 */
    int64_t rest = 8 * a - eighth * n; /* 2 pi a / n = (eighth + rest / n) pi / 4 */
    bool mirrored = eighth & 1;
    int64_t part = mirrored ? n - rest : rest;
    double cosine, sine;
    small_angle(0.78539816339744830961566 * (double)part / (double)n, &cosine, &sine);
    if (mirrored) { /* pi/2 - angle */
        double swap = cosine;
        cosine = sine;
        sine = swap;
    }
    switch (eighth / 2) {
    case 0:
        *c = cosine, *s = sine;
        break;
    case 1:
        *c = -sine, *s = cosine;
        break;
    case 2:
        *c = -cosine, *s = -sine;
        break;
    default:
        *c = sine, *s = -cosine;
        break;
    }
}

static void pack_root(int64_t a, int64_t n, bool inverse, uint16_t out[2]) {
    double c, s;
    root_of_unity(a % n, n, &c, &s);
    out[0] = bf_half_from_double(c);
    out[1] = bf_half_from_double(inverse ? s : -s);
}

/* Result q of stage i sums operand j times W_M^(j (k + M' q)), where M' and M are the products of
 * the radices before and with stage i, and k is the frequency that the earlier stages have
 * produced. */
static void pack_stage(const struct bf_plan *plan, int stmt, unsigned pe, uint16_t *lanes) {
    const struct bf_poly_kernel *kernel = plan->kernel;
    const struct bf_layout *layout = bf_stage_layout(plan, stmt);
    int acted = kernel->stmts.data[stmt].digit;
    int64_t radix = kernel->digits.data[acted].radix, done = kernel->digits.data[acted].out_weight;
    bool inverse = bf_ints_get(&kernel->attrs, "inverse");
    struct bf_stage_order order;
    if (!bf_stage_order(plan, stmt, &order))
        return;
    int64_t bodies = bf_stage_weight_bodies(&order), each = bf_stage_body_weights(&order);
    for (int64_t b = 0; b < bodies; b++) {
        for (int64_t q = 0; q < (radix == 2 ? 1 : radix); q++) {
            for (int64_t u = 0; u < each; u++) {
                int64_t digits[BF_MAX_DIGITS], k = 0;
                bf_stage_digits(plan, layout, pe, bf_stage_weight_word(&order, b * each + u),
                                digits);
                for (size_t d = 0; d < kernel->digits.count; d++)
                    if (kernel->digits.data[d].out_weight < done && (int)d > acted)
                        k += digits[d] * kernel->digits.data[d].out_weight;
                for (int64_t j = 1; j < radix; j++, lanes += 2)
                    pack_root(j * (k + done * q), done * radix, inverse, lanes);
            }
        }
    }
}

bool bf_recipe_twiddle(const struct bf_map *map, const struct bf_recipe *recipe,
                       const struct bf_weights *weights, uint16_t *out, struct bf_diags *diags) {
    (void)weights, (void)diags;
    const struct bf_plan *plan = map->plans.data[recipe->plan];
    int64_t per_pe = recipe->words * map->machine.lanes;
    for (int64_t pe = 0; pe < recipe->pes; pe++)
        for (int s = plan->first; s <= plan->last; s++)
            if (plan->kernel->stmts.data[s].kind == BF_STMT_FFT)
                pack_stage(plan, s, (unsigned)pe, out + pe * per_pe + bf_stage_lane_base(plan, s));
    return true;
}
