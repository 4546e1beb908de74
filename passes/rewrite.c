/* rewrite.c - the only pass that reads values of weights. Requires a verified poly; changes the
 * form of a kernel's stages where the values allow it, and keeps the meaning of every output.
 *
 *     butterfly   plain: two slots an output and stage   2 m N
 *                 scaled: one, two in the last stage     (m + 1) N       (ir/scaled.h)
 *
 * Kernels of one shape get one form, so that equal layers keep sharing their code: a stage stores
 * its results divided by the power of two that the layer with the largest values needs.
 */
#include "passes/passes.h"

#include <stdlib.h>

#include "ir/scaled.h"

/* Kernels of one shape. */
struct group {
    struct bf_poly *poly;
    const struct bf_weights *weights;
    struct bf_poly_kernel **kernels;
    size_t count;
    int stages;
};

static bool can_scale(const struct group *g, const struct bf_poly_kernel *kernel) {
    if (kernel->kind != BF_KERNEL_BUTTERFLY || kernel->stmts.count < 4)
        return false;
    const struct bf_param_view *view = &bf_kernel_find_param(kernel, "twiddle")->view;
    const struct bf_weight *tensor = bf_weights_find(g->weights, view->param->name);
    bool whole = tensor && view->rank == tensor->rank;
    for (unsigned a = 1; whole && a < view->rank; a++)
        whole = view->begin[a] == 0 && view->extent[a] == tensor->dims[a];
    return whole;
}

static void set_form(struct group *g, int stage, enum bf_stage_form form, int shift) {
    for (size_t k = 0; k < g->count; k++)
        bf_scaled_set(g->poly, g->kernels[k], 1 + stage, form, shift);
}

/* Over all stacks of all kernels: the largest of the least exponents; whether all fit. */
static bool gather(const struct group *g, int *least) {
    bool fits = true;
    for (size_t k = 0; k < g->count; k++) {
        int64_t stacks = bf_ints_get(&g->kernels[k]->attrs, "stacks");
        for (int64_t stack = 0; stack < stacks; stack++) {
            struct bf_scaled scaled = bf_scaled_compute(g->kernels[k], g->weights, stack);
            for (int i = 0; i + 1 < g->stages; i++)
                least[i] = scaled.least[i] > least[i] ? scaled.least[i] : least[i];
            fits &= scaled.fits;
            bf_scaled_free(&scaled);
        }
    }
    return fits;
}

/* All stages scaled but the last and, where its coefficients would not fit otherwise, the one
 * before. False if they do not fit even so. */
static bool try_forms(struct group *g, bool slots) {
    int *least = bf_alloc((size_t)g->stages * sizeof *least);
    for (int i = 0; i + 1 < g->stages; i++)
        set_form(g, i, slots && i + 2 == g->stages ? BF_FORM_SLOTS : BF_FORM_SCALED, 0);
    gather(g, least);
    for (int i = 0; i + 1 < g->stages; i++)
        set_form(g, i, slots && i + 2 == g->stages ? BF_FORM_SLOTS : BF_FORM_SCALED,
                 least[i] - (i ? least[i - 1] : 0));
    bool fits = gather(g, least);
    free(least);
    return fits;
}

static void clear_forms(struct group *g) {
    for (size_t k = 0; k < g->count; k++)
        for (int i = 0; i + 1 < g->stages; i++)
            bf_scaled_clear(g->kernels[k], 1 + i);
}

static void rewrite_group(struct group *g) {
    if (try_forms(g, false))
        return;
    clear_forms(g);
    if (g->stages > 2 && try_forms(g, true))
        return;
    clear_forms(g);
}

bool bf_pass_rewrite(struct bf_poly *poly, const struct bf_weights *weights,
                     struct bf_diags *diags) {
    (void)diags;
    if (!weights)
        return true;
    size_t count = poly->kernels.count;
    bool *done = bf_alloc(count * sizeof *done);
    struct group g = {poly, weights, bf_alloc(count * sizeof *g.kernels), 0, 0};
    for (size_t k = 0; k < count; k++) {
        struct bf_poly_kernel *kernel = poly->kernels.data[k];
        if (done[k] || !can_scale(&g, kernel))
            continue;
        g.count = 0;
        g.stages = (int)kernel->stmts.count - 2;
        for (size_t j = k; j < count; j++) {
            if (done[j] || !bf_poly_same_shape(kernel, poly->kernels.data[j]) ||
                !can_scale(&g, poly->kernels.data[j]))
                continue;
            g.kernels[g.count++] = poly->kernels.data[j];
            done[j] = true;
        }
        rewrite_group(&g);
    }
    free(done);
    free(g.kernels);
    return true;
}
