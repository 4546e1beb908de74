/* embed.c - what -embed-net adds to a program: the network as a text, its parameters as they were
 * given, and where the array stores the results of operators.
 *
 * Devices that run the network itself need the first two, and comparing with the array the third.
 */
#include "frontend/driver/compile.h"

#include <stdlib.h>

static enum bf_element element_of(enum bf_weight_type type) {
    switch (type) {
    case BF_WEIGHT_F16:
        return BF_ELEMENT_F16;
    case BF_WEIGHT_BF16:
        return BF_ELEMENT_BF16;
    case BF_WEIGHT_F32:
        return BF_ELEMENT_F32;
    case BF_WEIGHT_F64:
        return BF_ELEMENT_F64;
    case BF_WEIGHT_I32:
        return BF_ELEMENT_I32;
    case BF_WEIGHT_I64:
        return BF_ELEMENT_I64;
    default:
        return BF_ELEMENT_U8;
    }
}

/* The net's parameters under their own names, neither rounded nor packed. */
static bool embed_weights(struct bf_compilation *c) {
    size_t count = c->net->params.count;
    struct bf_tensor *tensors = bf_alloc(count * sizeof *tensors);
    struct bf_error error = {0};
    for (size_t i = 0; i < count; i++) {
        const struct bf_weight *weight = bf_weights_find(c->weights, c->net->params.data[i]->name);
        tensors[i] = (struct bf_tensor){.name = weight->name,
                                        .type = element_of(weight->type),
                                        .rank = weight->rank,
                                        .data = weight->data};
        for (unsigned a = 0; a < weight->rank; a++)
            tensors[i].dims[a] = (uint64_t)weight->dims[a];
        tensors[i].size = (size_t)bf_weight_elements(weight) * bf_weight_type_size(weight->type);
    }
    size_t size;
    c->net_weights = bf_tensor_file_encode(tensors, count, NULL, 0, &size, &error);
    c->net_weights_size = size;
    free(tensors);
    return c->net_weights || bf_diag_error(c->diags, (struct bf_loc){0}, "weights: %s", error.text);
}

bool bf_embed_net(struct bf_compilation *c) {
    struct bf_text text = {0};
    if (!c->options->embed_net || !c->net || c->net_text)
        return true;
    bf_net_print(c->net, &text);
    c->net_text = text.data;
    return !c->weights || !c->net->params.count || embed_weights(c);
}

/* The plan that writes the last part of a buffer, or NULL. */
static const struct bf_plan *last_writer(const struct bf_map *map, const struct bf_buffer *buffer) {
    for (size_t p = map->plans.count; p-- > 0;) {
        const struct bf_plan *plan = map->plans.data[p];
        for (size_t i = 0; i < plan->outputs.count; i++)
            if (plan->outputs.data[i].buffer == buffer)
                return plan;
    }
    return NULL;
}

/* What DMA moves is exact, and not waited for before the next launch: only results of launches
 * count. */
static void add_values(const struct bf_map *map, struct bf_program *program) {
    size_t buffers = map->poly->buffers.count;
    program->values = bf_alloc(buffers * sizeof *program->values);
    for (size_t b = 0; b < buffers; b++) {
        const struct bf_buffer *buffer = map->poly->buffers.data[b];
        const struct bf_place_of_buffer *place = &map->places[b];
        const struct bf_plan *plan = last_writer(map, buffer);
        bool result = buffer->kind == BF_BUFFER_TEMP || buffer->kind == BF_BUFFER_OUTPUT;
        if (!result || buffer->in_dram || !plan || plan->launch < 0 || place->spm < 0)
            continue;
        program->values[program->value_count++] = (struct bf_value_place){
            .name = bf_strdup(buffer->name),
            .launch = (uint32_t)plan->launch,
            .samples = (uint32_t)buffer->samples,
            .rows = (uint32_t)buffer->rows,
            .cols = (uint32_t)buffer->cols,
            .word = (uint32_t)place->spm,
            .width = (uint32_t)place->width,
            .pitch = (uint32_t)place->pitch,
            .exponent = (int8_t)buffer->exponent,
        };
    }
}

void bf_embed_finish(struct bf_compilation *c) {
    struct bf_program *program = c->map->program;
    if (!c->net_text)
        return;
    program->net = c->net_text;
    program->net_weights = c->net_weights;
    program->net_weights_size = c->net_weights_size;
    c->net_text = NULL;
    c->net_weights = NULL;
    add_values(c->map, program);
}
