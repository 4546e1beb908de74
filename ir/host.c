/* host.c - a plan of host code: shapes, memory, text. See host.h. */
#include "ir/host.h"

#include <inttypes.h>
#include <stdlib.h>

#include "ir/recipe.h"

enum bf_host_element bf_host_element(const struct bf_buffer *buffer) {
    bool port = buffer->kind == BF_BUFFER_INPUT || buffer->kind == BF_BUFFER_OUTPUT;
    if (port && buffer->dtype == BF_U8)
        return BF_HOST_U8;
    return port && buffer->dtype == BF_I32 ? BF_HOST_I32 : BF_HOST_F32;
}

size_t bf_host_element_size(enum bf_host_element element) {
    return element == BF_HOST_U8 ? 1 : 4;
}

/* Elements of a sample of the network input or output that the buffer is a plane of. */
static int64_t tensor_elements(const struct bf_poly *poly, const struct bf_buffer *buffer) {
    for (size_t i = 0; i < poly->tensors.count; i++)
        if (poly->tensors.data[i].output == (buffer->kind == BF_BUFFER_OUTPUT) &&
            !strcmp(poly->tensors.data[i].name, buffer->tensor))
            return bf_type_elements(&poly->tensors.data[i].type);
    return buffer->rows * buffer->cols;
}

struct bf_host_operand bf_host_operand(const struct bf_poly *poly,
                                       const struct bf_operand *operand) {
    const struct bf_buffer *buffer = operand->buffer;
    int64_t stride = buffer->rows * buffer->cols;
    if (buffer->tensor && buffer->samples == poly->header.batch)
        stride = tensor_elements(poly, buffer);
    return (struct bf_host_operand){
        .element = bf_host_element(buffer),
        .samples = buffer->samples,
        .rows = operand->rows,
        .cols = operand->cols,
        .pitch = buffer->cols,
        .stride = stride,
        .linear = buffer->samples == 1 || operand->rows * buffer->cols == stride,
    };
}

bool bf_host_only_reader(const struct bf_poly *poly, const struct bf_buffer *buffer,
                         const struct bf_poly_kernel *reader) {
    if (buffer->kind != BF_BUFFER_TEMP)
        return false;
    for (size_t k = 0; k < poly->kernels.count; k++) {
        const struct bf_poly_kernel *kernel = poly->kernels.data[k];
        for (size_t i = 0; i < kernel->inputs.count; i++)
            if (kernel->inputs.data[i].buffer == buffer && kernel != reader)
                return false;
    }
    return true;
}

struct bf_host_plan *bf_host_plan_create(struct bf_poly *poly,
                                         const struct bf_host_target *target) {
    struct bf_host_plan *plan = bf_alloc(sizeof *plan);
    plan->poly = poly;
    plan->target = *target;
    plan->temps = bf_alloc(poly->buffers.count * sizeof *plan->temps);
    for (size_t b = 0; b < poly->buffers.count; b++)
        plan->temps[b].offset = -1;
    return plan;
}

void bf_host_plan_free(struct bf_host_plan *plan) {
    if (!plan)
        return;
    for (size_t i = 0; i < plan->calls.count; i++)
        free(plan->calls.data[i].operands.data);
    free(plan->functions.data);
    free(plan->calls.data);
    free(plan->packs.data);
    free(plan->temps);
    bf_poly_free(plan->poly);
    bf_arena_free(&plan->arena);
    free(plan);
}

void *bf_host_blob(const struct bf_host_plan *plan, const struct bf_weights *weights) {
    size_t size = (size_t)bf_round_up((uint64_t)plan->blob_size + 1, BF_HOST_ALIGN);
    char *blob = aligned_alloc(BF_HOST_ALIGN, size);
    if (!blob)
        bf_out_of_memory(size);
    memset(blob, 0, size);
    for (size_t i = 0; i < plan->packs.count; i++)
        plan->packs.data[i]->fill(plan->packs.data[i], weights, blob + plan->packs.data[i]->offset);
    return blob;
}

double bf_host_read(const struct bf_weights *values, const struct bf_param_view *view,
                    int64_t index) {
    int64_t at[BF_MAX_RANK] = {0};
    for (unsigned a = view->rank; a-- > 0;) {
        at[a] = index % view->extent[a];
        index /= view->extent[a];
    }
    if (view->param->rotary)
        return bf_rotary_read(view, at);
    return bf_view_read(bf_weights_find(values, view->param->name), view, at);
}

static void print_pointer(const struct bf_host_plan *plan, const struct bf_host_pointer *pointer,
                          struct bf_text *text) {
    if (pointer->place == BF_HOST_PACK) {
        bf_text_printf(text, " pack+%" PRId64, pointer->offset);
        return;
    }
    bf_text_printf(text, " %s", pointer->buffer->name);
    if (pointer->offset)
        bf_text_printf(text, "+%" PRId64, pointer->offset);
    const struct bf_host_temp *temp = &plan->temps[pointer->buffer->index];
    if (pointer->buffer->kind == BF_BUFFER_TEMP)
        bf_text_printf(text, "@%s%" PRId64, temp->in_chain ? "chain+" : "", temp->offset);
}

void bf_host_plan_print(const struct bf_host_plan *plan, struct bf_text *text) {
    bf_text_printf(text,
                   "host %s lanes=%u workspace=%" PRId64 " scratch=%" PRId64 " weights=%" PRId64
                   " functions=%zu\n",
                   plan->target.cpu, plan->target.lanes, plan->temp_bytes, plan->scratch,
                   plan->blob_size, plan->functions.count);
    for (size_t i = 0; i < plan->calls.count; i++) {
        const struct bf_host_call *call = &plan->calls.data[i];
        const struct bf_host_choice *choice = call->choice;
        if (call->length > 1)
            bf_text_printf(text, "chain of %zu, %" PRId64 " rows a tile\n", call->length,
                           call->chain_rows);
        bf_text_printf(text, "%scall %s units=%" PRId64, call->length == 1 ? "" : "  ",
                       call->function->name, choice->units);
        if (choice->unit_rows)
            bf_text_printf(text, "x%" PRId64, choice->unit_rows);
        bf_text_printf(text, " (%s)", call->kernels[0]->what);
        for (size_t o = 0; o < call->operands.count; o++)
            print_pointer(plan, &call->operands.data[o], text);
        bf_text_add(text, "\n");
    }
}
