/* group.c - which generator computes which kernels, and what is fused into them. See host.h.
 *
 *     k4 butterfly   k5 gelu   k6 butterfly       -->   [k4 + epilogue k5]  [k6]
 *
 * A pointwise kernel becomes the epilogue of the kernel before it in the data flow if that one's
 * generator can take it, nobody else reads what is between them, and whatever else it reads exists
 * by then.
 */
#include "passes/host/host.h"

#include <inttypes.h>
#include <stdlib.h>

static void drop_lists(struct bf_host_choice *choice) {
    free(choice->params.data);
    free(choice->packs.data);
}

static bool choose(const struct bf_host_site *site,
                   const struct bf_host_generator *const *generators, struct bf_host_step *step) {
    struct bf_host_choice *choice = step->choice;
    for (; *generators; generators++) {
        if ((*generators)->kind != site->kernels[0]->kind)
            continue;
        drop_lists(choice);
        *choice = (struct bf_host_choice){.kernels = 1, .units = 1, .grain = 1};
        step->generator = *generators;
        if ((*generators)->choose(site, choice))
            return true;
    }
    drop_lists(choice);
    return false;
}

/* A poly's lists are freed with it, a plan's are in its arena. */
static void keep_in_arena(struct bf_host_choice *choice, struct bf_arena *arena) {
    struct bf_named_int *ints = bf_arena_alloc(arena, choice->params.count * sizeof *ints);
    struct bf_host_pack *packs = bf_arena_alloc(arena, choice->packs.count * sizeof *packs);
    if (choice->params.count)
        memcpy(ints, choice->params.data, choice->params.count * sizeof *ints);
    if (choice->packs.count)
        memcpy(packs, choice->packs.data, choice->packs.count * sizeof *packs);
    free(choice->params.data);
    free(choice->packs.data);
    choice->params.data = ints;
    choice->params.capacity = choice->params.count;
    choice->packs.data = packs;
    choice->packs.capacity = choice->packs.count;
}

static void own_packs(struct bf_host_choice *choice, const struct bf_poly_kernel *kernel) {
    for (size_t i = 0; i < choice->packs.count; i++) {
        choice->packs.data[i].kernel = kernel;
        choice->packs.data[i].choice = choice;
    }
}

static bool add_steps(struct bf_host_plan *plan, const struct bf_weights *weights,
                      const struct bf_host_generator *const *generators,
                      struct bf_host_steps *steps, struct bf_diags *diags) {
    struct bf_poly *poly = plan->poly;
    for (size_t k = 0; k < poly->kernels.count;) {
        struct bf_poly_kernel *kernel = poly->kernels.data[k];
        struct bf_host_site site = {.poly = poly,
                                    .target = &plan->target,
                                    .weights = weights,
                                    .kernels = poly->kernels.data + k,
                                    .count = poly->kernels.count - k,
                                    .arena = &plan->arena};
        struct bf_host_step step = {.kernels = site.kernels};
        step.choice = bf_arena_alloc(&plan->arena, sizeof *step.choice);
        if (!choose(&site, generators, &step))
            return bf_diag_error(diags, kernel->loc, "no host code for this: %s", kernel->what);
        keep_in_arena(step.choice, &plan->arena);
        own_packs(step.choice, kernel);
        *bf_push(steps) = step;
        k += step.choice->kernels;
    }
    return true;
}

/* ---- epilogues ---- */

static const struct bf_poly_kernel *last_kernel(const struct bf_host_step *step) {
    return step->epilogue ? step->epilogue->kernel : step->kernels[step->choice->kernels - 1];
}

static bool is_whole(const struct bf_operand *operand) {
    const struct bf_buffer *buffer = operand->buffer;
    return operand->row == 0 && operand->col == 0 && operand->rows == buffer->rows &&
           operand->cols == buffer->cols;
}

/* Whether the step before writes the buffer whole, as its only output. */
static bool gives(const struct bf_host_step *step, const struct bf_buffer *buffer) {
    const struct bf_poly_kernel *kernel = last_kernel(step);
    const struct bf_operand *out = &kernel->outputs.data[0];
    return !step->fused && kernel->outputs.count == 1 && out->buffer == buffer && is_whole(out);
}

static bool same_extent(const struct bf_operand *a, const struct bf_operand *b) {
    return a->rows == b->rows && a->cols == b->cols && a->buffer->samples == b->buffer->samples;
}

/* Whether a buffer has all its elements before step `index` runs. */
static bool exists_before(const struct bf_host_steps *steps, size_t index,
                          const struct bf_buffer *buffer) {
    for (size_t s = index; s < steps->count; s++) {
        const struct bf_host_step *step = &steps->data[s];
        for (size_t k = 0; k < step->choice->kernels; k++)
            for (size_t o = 0; o < step->kernels[k]->outputs.count; o++)
                if (step->kernels[k]->outputs.data[o].buffer == buffer)
                    return false;
    }
    return true;
}

/* The input of a pointwise kernel that producer `index` gives and nobody else reads; -1: none. */
static int produced_input(const struct bf_host_plan *plan, const struct bf_host_steps *steps,
                          size_t index, const struct bf_poly_kernel *kernel) {
    int found = -1;
    for (size_t i = 0; i < kernel->inputs.count; i++) {
        const struct bf_operand *input = &kernel->inputs.data[i];
        bool produced = gives(&steps->data[index], input->buffer);
        if (!produced && !exists_before(steps, index, input->buffer))
            return -1;
        if (!produced)
            continue;
        if (found >= 0 || !is_whole(input) || !same_extent(input, &kernel->outputs.data[0]) ||
            !bf_host_only_reader(plan->poly, input->buffer, kernel))
            return -1;
        found = (int)i;
    }
    return found;
}

/* Operands of an epilogue are addressed along the columns: an axis of another extent is broadcast
 * only if that is 1. */
static bool is_pointwise(const struct bf_poly_kernel *kernel) {
    return kernel->kind == BF_KERNEL_ROWS && kernel->steps.count == 1 &&
           kernel->steps.data[0].kind == BF_STEP_MAP && kernel->outputs.count == 1 &&
           bf_ints_find(&kernel->attrs, "mask", -1) < 0;
}

static bool is_linear(const struct bf_host_plan *plan, const struct bf_operand *operand) {
    return bf_host_operand(plan->poly, operand).linear;
}

static void fuse(struct bf_host_plan *plan, struct bf_host_steps *steps, size_t index) {
    struct bf_host_step *step = &steps->data[index];
    const struct bf_poly_kernel *kernel = step->kernels[0];
    if (!is_pointwise(kernel) || !is_linear(plan, &kernel->outputs.data[0]))
        return;
    for (size_t p = index; p-- > 0;) {
        struct bf_host_step *producer = &steps->data[p];
        if (!producer->choice->epilogue || producer->epilogue)
            continue;
        int input = produced_input(plan, steps, p, kernel);
        if (input < 0)
            continue;
        producer->epilogue = bf_arena_alloc(&plan->arena, sizeof *producer->epilogue);
        *producer->epilogue = (struct bf_host_epilogue){step->kernels[0], step->choice, input};
        step->fused = true;
        return;
    }
}

bool bf_host_group(struct bf_host_plan *plan, const struct bf_weights *weights,
                   const struct bf_host_generator *const *generators, struct bf_host_steps *steps,
                   struct bf_diags *diags) {
    if (!add_steps(plan, weights, generators, steps, diags))
        return false;
    for (size_t s = 0; s < steps->count; s++)
        fuse(plan, steps, s);
    return true;
}
