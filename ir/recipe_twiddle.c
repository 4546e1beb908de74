/* recipe_twiddle.c - the roots of unity of an FFT plan, computed in double without libm (the same
 * bits everywhere) and rounded once to fp16. */
#include <stdlib.h>

#include "ir/isa/fp.h"
#include "ir/recipe.h"
#include "ir/stages.h"

static void pack_root(int64_t a, int64_t n, bool inverse, uint16_t out[2]) {
    double c, s;
    bf_root_of_unity(a % n, n, &c, &s);
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

/* ---- chirps (passes/build_stages.c) ---- */

/* floor(log2(n) / 2), by which transforms of n points are shifted. */
static int shift_of(int64_t n) {
    return (int)bf_log2_floor((uint64_t)n) / 2;
}

/* exp(-+pi i n^2 / N), by which element n is multiplied; 0 beyond the last one. */
static void pack_chirp(const struct bf_poly_kernel *kernel, int64_t n, uint16_t out[2]) {
    int64_t points = bf_ints_get(&kernel->attrs, "chirp");
    out[0] = out[1] = 0;
    if (n < points)
        pack_root(n * n % (2 * points), 2 * points, bf_ints_get(&kernel->attrs, "chirp_inverse"),
                  out);
}

/* Tables for the transform of the chirp that elements are convolved with. */
struct filter {
    int64_t points, padded; /* N, M */
    double *re, *im;        /* exp(+pi i n^2 / N), n < N */
    double *cosine;         /* cos(2 pi n / M), n < M */
    double scale;
};

static struct filter filter_of(const struct bf_poly_kernel *kernel) {
    struct filter f = {.points = bf_ints_get(&kernel->attrs, "chirp"),
                       .padded = bf_ints_get(&kernel->attrs, "n")};
    double unused;
    f.re = bf_alloc((size_t)f.points * sizeof *f.re);
    f.im = bf_alloc((size_t)f.points * sizeof *f.im);
    f.cosine = bf_alloc((size_t)f.padded * sizeof *f.cosine);
    for (int64_t n = 0; n < f.points; n++) {
        bf_root_of_unity(n * n % (2 * f.points), 2 * f.points, &f.re[n], &f.im[n]);
        if (bf_ints_get(&kernel->attrs, "chirp_inverse"))
            f.im[n] = -f.im[n];
    }
    for (int64_t n = 0; n < f.padded; n++)
        bf_root_of_unity(n, f.padded, &f.cosine[n], &unused);
    int shift = 2 * shift_of(f.padded) - (int)bf_ints_get(&kernel->attrs, "chirp_shift");
    f.scale = bf_power_of_two(shift) / (double)f.padded;
    return f;
}

static void filter_free(struct filter *f) {
    free(f->re);
    free(f->im);
    free(f->cosine);
}

/* H[k] = w[0] + sum over 0 < n < N of 2 w[n] cos(2 pi n k / M): the chirp is even. */
static void pack_filter(const struct filter *f, int64_t k, uint16_t out[2]) {
    double re = f->re[0], im = f->im[0];
    for (int64_t n = 1, at = k; n < f->points; n++) {
        re += 2 * f->re[n] * f->cosine[at];
        im += 2 * f->im[n] * f->cosine[at];
        at += k;
        at -= at >= f->padded ? f->padded : 0;
    }
    out[0] = bf_half_from_double(f->scale * re);
    out[1] = bf_half_from_double(f->scale * im);
}

/* The factors of a stage without a digit, an element each. */
static void pack_factors(const struct bf_plan *plan, int stmt, unsigned pe,
                         const struct filter *filter, uint16_t *lanes) {
    const struct bf_poly_kernel *kernel = plan->kernel;
    const struct bf_layout *layout = bf_stage_layout(plan, stmt);
    struct bf_stage_order order;
    if (!bf_stage_order(plan, stmt, &order))
        return;
    int64_t count = bf_stage_weight_bodies(&order) * bf_stage_body_weights(&order);
    bool before = stmt == 1;
    for (int64_t i = 0; i < count; i++, lanes += 2) {
        int64_t digits[BF_MAX_DIGITS];
        bf_stage_digits(plan, layout, pe, bf_stage_weight_word(&order, i), digits);
        int64_t index = bf_stage_index(kernel, digits, before ? BF_READ : BF_WRITE);
        if (before && filter)
            pack_filter(filter, index, lanes);
        else
            pack_chirp(kernel, index, lanes);
    }
}

bool bf_recipe_twiddle(const struct bf_map *map, const struct bf_recipe *recipe,
                       const struct bf_weights *weights, uint16_t *out, struct bf_diags *diags) {
    (void)weights, (void)diags;
    const struct bf_plan *plan = map->plans.data[recipe->plan];
    const struct bf_poly_kernel *kernel = plan->kernel;
    int64_t per_pe = recipe->words * map->machine.lanes;
    bool filtered = bf_ints_find(&kernel->attrs, "chirp_part", 0) == 2 && plan->first <= 1;
    struct filter filter = {0};
    if (filtered)
        filter = filter_of(kernel);
    for (int64_t pe = 0; pe < recipe->pes; pe++) {
        for (int s = plan->first; s <= plan->last; s++) {
            uint16_t *lanes = out + pe * per_pe + bf_stage_lane_base(plan, s);
            if (kernel->stmts.data[s].kind != BF_STMT_FFT)
                continue;
            if (kernel->stmts.data[s].digit < 0)
                pack_factors(plan, s, (unsigned)pe, filtered ? &filter : NULL, lanes);
            else
                pack_stage(plan, s, (unsigned)pe, lanes);
        }
    }
    filter_free(&filter);
    return true;
}
