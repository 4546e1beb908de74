/* weights.h - tensors by name, as the compiler sees them, whatever they were read from.
 *
 * The driver fills a bf_weights from safetensors files or from bf_weights_random; passes look
 * tensors up by the full path names of net parameters.
 */
#ifndef BF_WEIGHTS_H
#define BF_WEIGHTS_H

#include "ir/net.h"

/* Element types as checkpoints have them; data is little-endian and row-major. */
enum bf_weight_type {
    BF_WEIGHT_F16,
    BF_WEIGHT_BF16,
    BF_WEIGHT_F32,
    BF_WEIGHT_F64,
    BF_WEIGHT_I32,
    BF_WEIGHT_I64,
    BF_WEIGHT_U8,
};

struct bf_weight {
    const char *name;
    enum bf_weight_type type;
    unsigned rank;
    int64_t dims[BF_MAX_RANK];
    const void *data;   /* need not be aligned */
    const char *origin; /* where it is, for messages; NULL: the source of all */
};

struct bf_weights {
    struct {
        struct bf_weight *data;
        size_t count, capacity;
    } tensors;
    const char *source;    /* file name for messages, or "random" */
    struct bf_arena arena; /* names, and the data of random weights */
    uint32_t *slots;       /* hash table over names */
    size_t slot_count;
};

struct bf_weights *bf_weights_create(const char *source);
void bf_weights_free(struct bf_weights *weights);
/* Copies the name; `data` stays the caller's and must outlive the weights. False with an error if
 * the name is there already or the rank is above BF_MAX_RANK. */
bool bf_weights_add(struct bf_weights *weights, const char *name, enum bf_weight_type type,
                    unsigned rank, const int64_t *dims, const void *data, struct bf_error *error);
/* NULL if there is none. */
const struct bf_weight *bf_weights_find(const struct bf_weights *weights, const char *name);

const char *bf_weight_type_name(enum bf_weight_type type); /* "f16" */
size_t bf_weight_type_size(enum bf_weight_type type);
int64_t bf_weight_elements(const struct bf_weight *weight);
/* Element number `index` in row-major order; exact. */
double bf_weight_read(const struct bf_weight *weight, int64_t index);

/* Each parameter of the net has a tensor of its shape, and (unless allow_unused) each tensor is a
 * parameter's. Every mismatch is an error that names both sides. */
bool bf_weights_bind(const struct bf_net *net, const struct bf_weights *weights, bool allow_unused,
                     struct bf_diags *diags);

/* Over names, types, shapes and bytes of the net's parameters, in order of name. All parameters
 * must be there. */
uint64_t bf_weights_hash(const struct bf_net *net, const struct bf_weights *weights);

/* Weights for every parameter of the net: f16, a function of seed and name only, made with integer
 * arithmetic. Matrices are scaled by 1/sqrt(fan-in), 2 x 2 butterfly matrices so that a stage keeps
 * the variance, biases are small, normalisation weights near 1. */
struct bf_weights *bf_weights_random(const struct bf_net *net, uint64_t seed);

#endif
