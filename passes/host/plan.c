/* plan.c - functions, calls and packs from steps. See host.h. */
#include "passes/host/host.h"

#include <stdlib.h>

/* ---- equal functions ---- */

static bool same_operands(const struct bf_poly *poly, const struct bf_poly_kernel *a,
                          const struct bf_poly_kernel *b) {
    for (size_t i = 0; i < a->inputs.count + a->outputs.count; i++) {
        bool input = i < a->inputs.count;
        size_t at = input ? i : i - a->inputs.count;
        const struct bf_operand *x = input ? &a->inputs.data[at] : &a->outputs.data[at];
        const struct bf_operand *y = input ? &b->inputs.data[at] : &b->outputs.data[at];
        struct bf_host_operand p = bf_host_operand(poly, x), q = bf_host_operand(poly, y);
        if (p.element != q.element || p.samples != q.samples || p.rows != q.rows ||
            p.cols != q.cols || p.pitch != q.pitch || p.stride != q.stride ||
            x->buffer->exponent != y->buffer->exponent)
            return false;
    }
    return true;
}

static bool same_kernel(const struct bf_poly *poly, const struct bf_poly_kernel *a,
                        const struct bf_poly_kernel *b) {
    return !memcmp(&a->loc, &b->loc, sizeof a->loc) && bf_poly_same_shape(a, b) &&
           same_operands(poly, a, b);
}

static bool same_choice(const struct bf_host_choice *a, const struct bf_host_choice *b) {
    bool same = a->kernels == b->kernels && a->units == b->units && a->unit_rows == b->unit_rows &&
                a->scratch == b->scratch && a->params.count == b->params.count &&
                a->packs.count == b->packs.count;
    for (size_t i = 0; same && i < a->params.count; i++)
        same = !strcmp(a->params.data[i].name, b->params.data[i].name) &&
               a->params.data[i].value == b->params.data[i].value;
    for (size_t i = 0; same && i < a->packs.count; i++)
        same = a->packs.data[i].size == b->packs.data[i].size;
    return same;
}

static bool same_epilogue(const struct bf_poly *poly, const struct bf_host_epilogue *a,
                          const struct bf_host_epilogue *b) {
    if (!a || !b)
        return a == b;
    return a->input == b->input && same_kernel(poly, a->kernel, b->kernel);
}

static bool computes(const struct bf_poly *poly, const struct bf_host_function *function,
                     const struct bf_host_step *step) {
    if (function->generator != step->generator || !same_choice(function->choice, step->choice) ||
        !same_epilogue(poly, function->epilogue, step->epilogue))
        return false;
    for (size_t k = 0; k < step->choice->kernels; k++)
        if (!same_kernel(poly, function->kernels[k], step->kernels[k]))
            return false;
    return true;
}

static const struct bf_host_function *function_of(struct bf_host_plan *plan,
                                                  const struct bf_host_step *step) {
    for (size_t f = 0; f < plan->functions.count; f++)
        if (computes(plan->poly, plan->functions.data[f], step))
            return plan->functions.data[f];
    struct bf_host_function *function = bf_arena_alloc(&plan->arena, sizeof *function);
    *function = (struct bf_host_function){
        .name =
            bf_arena_printf(&plan->arena, "k%zu.%s", plan->functions.count, step->generator->name),
        .generator = step->generator,
        .kernels = step->kernels,
        .choice = step->choice,
        .epilogue = step->epilogue,
        .loc = step->kernels[0]->loc,
        .index = (unsigned)plan->functions.count,
    };
    *bf_push(&plan->functions) = function;
    return function;
}

/* ---- packs ---- */

static void add_pack(struct bf_host_plan *plan, struct bf_host_pack *pack) {
    pack->offset = plan->blob_size;
    plan->blob_size += (int64_t)bf_round_up((uint64_t)pack->size, BF_HOST_ALIGN);
    *bf_push(&plan->packs) = pack;
}

static void fill_buffer(const struct bf_host_pack *pack, const struct bf_weights *values,
                        void *out) {
    float *to = out;
    for (int64_t i = 0; i < pack->size / 4; i++)
        to[i] = (float)bf_host_read(values, &pack->buffer->view, i);
}

/* The pack of a PARAM buffer; each has one, made when it is first read. */
static struct bf_host_pack *pack_of_buffer(struct bf_host_plan *plan,
                                           const struct bf_buffer *buffer) {
    for (size_t i = 0; i < plan->packs.count; i++)
        if (plan->packs.data[i]->buffer == buffer)
            return (struct bf_host_pack *)plan->packs.data[i];
    struct bf_host_pack *pack = bf_arena_alloc(&plan->arena, sizeof *pack);
    *pack = (struct bf_host_pack){.size = buffer->samples * buffer->rows * buffer->cols * 4,
                                  .fill = fill_buffer,
                                  .buffer = buffer};
    add_pack(plan, pack);
    return pack;
}

/* ---- calls ---- */

static void push_operand(struct bf_host_plan *plan, struct bf_host_call *call,
                         const struct bf_operand *operand) {
    struct bf_buffer *buffer = operand->buffer;
    int64_t size = (int64_t)bf_host_element_size(bf_host_element(buffer));
    int64_t offset = (operand->row * buffer->cols + operand->col + buffer->origin) * size;
    struct bf_host_pointer pointer = {BF_HOST_BUFFER, buffer, offset};
    if (buffer->kind == BF_BUFFER_PARAM)
        pointer = (struct bf_host_pointer){BF_HOST_PACK, buffer,
                                           offset + pack_of_buffer(plan, buffer)->offset};
    *bf_push(&call->operands) = pointer;
}

/* Packs of kernels without parameters (roots of unity) are those of the function's first call. */
static void push_packs(struct bf_host_plan *plan, struct bf_host_call *call,
                       struct bf_host_choice *choice) {
    const struct bf_host_choice *first = call->function->choice;
    bool shared = choice == call->choice && choice != first && !call->kernels[0]->params.count &&
                  choice->kernels == 1;
    for (size_t i = 0; i < choice->packs.count; i++) {
        if (shared)
            choice->packs.data[i].offset = first->packs.data[i].offset;
        else
            add_pack(plan, &choice->packs.data[i]);
        *bf_push(&call->operands) =
            (struct bf_host_pointer){BF_HOST_PACK, NULL, choice->packs.data[i].offset};
    }
}

static void add_call(struct bf_host_plan *plan, const struct bf_host_step *step) {
    struct bf_host_call call = {.function = function_of(plan, step),
                                .kernels = step->kernels,
                                .choice = step->choice,
                                .epilogue = step->epilogue,
                                .length = 1};
    const struct bf_poly_kernel *first = step->kernels[0];
    const struct bf_poly_kernel *last = step->kernels[step->choice->kernels - 1];
    const struct bf_host_epilogue *epilogue = step->epilogue;
    const struct bf_poly_kernel *writer = epilogue ? epilogue->kernel : last;
    for (size_t i = 0; i < writer->outputs.count; i++)
        push_operand(plan, &call, &writer->outputs.data[i]);
    for (size_t i = 0; i < first->inputs.count; i++)
        push_operand(plan, &call, &first->inputs.data[i]);
    push_packs(plan, &call, step->choice);
    for (size_t i = 0; epilogue && i < epilogue->kernel->inputs.count; i++)
        if ((int)i != epilogue->input)
            push_operand(plan, &call, &epilogue->kernel->inputs.data[i]);
    if (epilogue)
        push_packs(plan, &call, epilogue->choice);
    *bf_push(&plan->calls) = call;
}

struct bf_host_plan *bf_pass_host(struct bf_poly *poly, const struct bf_weights *weights,
                                  const struct bf_host_target *target,
                                  const struct bf_host_generator *const *generators,
                                  struct bf_diags *diags) {
    struct bf_host_plan *plan = bf_host_plan_create(poly, target);
    struct bf_host_steps steps = {0};
    bool ok = bf_host_group(plan, weights, generators, &steps, diags);
    for (size_t s = 0; ok && s < steps.count; s++)
        if (!steps.data[s].fused)
            add_call(plan, &steps.data[s]);
    free(steps.data);
    if (!ok) {
        bf_host_plan_free(plan);
        return NULL;
    }
    bf_host_chain(plan);
    bf_host_place(plan);
    return plan;
}
