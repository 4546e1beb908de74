/* weights.c - where parameters get their values: checkpoints, or a seed. */
#include "frontend/driver/compile.h"

#include <stdlib.h>

static enum bf_weight_type weight_type(enum bf_element element) {
    switch (element) {
    case BF_ELEMENT_F16:
        return BF_WEIGHT_F16;
    case BF_ELEMENT_BF16:
        return BF_WEIGHT_BF16;
    case BF_ELEMENT_F32:
        return BF_WEIGHT_F32;
    case BF_ELEMENT_F64:
        return BF_WEIGHT_F64;
    case BF_ELEMENT_I32:
        return BF_WEIGHT_I32;
    case BF_ELEMENT_I64:
        return BF_WEIGHT_I64;
    default:
        return BF_WEIGHT_U8;
    }
}

static bool is_param(const struct bf_compilation *c, const char *name) {
    const struct bf_poly *poly = c->poly ? c->poly : c->map ? c->map->poly : NULL;
    if (c->net)
        return bf_net_find_param(c->net, name) != NULL;
    for (size_t i = 0; poly && i < poly->params.count; i++)
        if (!strcmp(poly->params.data[i]->name, name))
            return !poly->params.data[i]->rotary;
    return false;
}

/* Files of test cases also hold tensors "input.x" and "output.y", which are no weights, unless an
 * operator has that label. */
static bool is_weight(const struct bf_compilation *c, const char *name) {
    return (strncmp(name, "input.", 6) && strncmp(name, "output.", 7)) || is_param(c, name);
}

/* "model-1.safetensors", or "model-1.safetensors (there 'bert.fc.weight')". */
static const char *origin(struct bf_compilation *c, const struct bf_checkpoint_tensor *tensor) {
    if (!tensor->touched)
        return tensor->path;
    return bf_arena_printf(&c->checkpoint.arena, "%s (there '%s')", tensor->path,
                           tensor->tensor->name);
}

static bool add_tensor(struct bf_compilation *c, const struct bf_checkpoint_tensor *from) {
    const struct bf_tensor *tensor = from->tensor;
    int64_t dims[BF_TENSOR_MAX_RANK];
    struct bf_error error = {0};
    if (!is_weight(c, from->name))
        return true;
    const struct bf_weight *other = bf_weights_find(c->weights, from->name);
    if (other)
        return bf_diag_error(c->diags, (struct bf_loc){0},
                             "weights: tensor '%s' is there twice: in %s and in %s", from->name,
                             other->origin, origin(c, from));
    for (unsigned a = 0; a < tensor->rank; a++)
        dims[a] = (int64_t)tensor->dims[a];
    if (!bf_weights_add(c->weights, from->name, weight_type(tensor->type), tensor->rank, dims,
                        tensor->data, &error))
        return bf_diag_error(c->diags, (struct bf_loc){0}, "weights: %s", error.text);
    c->weights->tensors.data[c->weights->tensors.count - 1].origin = origin(c, from);
    return true;
}

static bool read_checkpoint(struct bf_compilation *c) {
    const struct bf_options *o = c->options;
    struct bf_error error = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < o->weights.count; i++)
        ok = bf_checkpoint_read(&c->checkpoint, o->weights.data[i], o->allow_unused, &error);
    ok = ok && bf_checkpoint_rename(&c->checkpoint, o->weights_prefix, &o->weights_renames, &error);
    return ok || bf_diag_error(c->diags, (struct bf_loc){0}, "weights: %s", error.text);
}

bool bf_load_weights(struct bf_compilation *c) {
    const struct bf_options *options = c->options;
    if (options->random_weights) {
        if (!c->net)
            return bf_diag_error(c->diags, (struct bf_loc){0},
                                 "-random-weights needs a network (.bfly or net): later levels "
                                 "don't know which operator a parameter belongs to");
        c->weights = bf_weights_random(c->net, options->seed);
        return true;
    }
    if (!options->weights.count)
        return true;
    struct bf_text names = {0};
    for (size_t i = 0; i < options->weights.count; i++) {
        bf_text_add(&names, i ? ", " : "");
        bf_text_add(&names, options->weights.data[i]);
    }
    c->weights = bf_weights_create(names.data);
    bf_text_free(&names);
    if (!read_checkpoint(c))
        return false;
    for (size_t i = 0; i < c->checkpoint.tensors.count; i++)
        if (!add_tensor(c, &c->checkpoint.tensors.data[i]))
            return false;
    return true;
}
