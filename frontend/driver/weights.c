/* weights.c - where parameters get their values: safetensors files, or a seed. */
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

/* Tensors of test cases that are not weights. */
static bool is_weight(const struct bf_tensor *tensor) {
    return strncmp(tensor->name, "input.", 6) && strncmp(tensor->name, "output.", 7);
}

static bool add_file(struct bf_compilation *c, const char *path) {
    struct bf_error error = {0};
    struct bf_tensor_file *file = bf_tensor_file_read(path, &error);
    c->weight_files =
        bf_resize(c->weight_files, (c->weight_file_count + 1) * sizeof(struct bf_tensor_file *));
    c->weight_files[c->weight_file_count++] = file;
    for (size_t i = 0; file && i < file->tensor_count; i++) {
        const struct bf_tensor *tensor = &file->tensors[i];
        int64_t dims[BF_TENSOR_MAX_RANK];
        for (unsigned a = 0; a < tensor->rank; a++)
            dims[a] = (int64_t)tensor->dims[a];
        if (is_weight(tensor) &&
            !bf_weights_add(c->weights, tensor->name, weight_type(tensor->type), tensor->rank, dims,
                            tensor->data, &error))
            break;
    }
    if (error.code)
        return bf_diag_error(c->diags, (struct bf_loc){0}, "weights: %s", error.text);
    return true;
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
    for (size_t i = 0; i < options->weights.count; i++)
        if (!add_file(c, options->weights.data[i]))
            return false;
    return true;
}
