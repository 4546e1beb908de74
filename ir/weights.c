/* weights.c - tensors by name: look-up, reading, binding to a network, random ones. See weights.h.
 */
#include "ir/weights.h"

#include <inttypes.h>
#include <stdlib.h>

#include "ir/isa/fp.h"

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [BF_WEIGHT_F16] = {"f16", 2}, [BF_WEIGHT_BF16] = {"bf16", 2}, [BF_WEIGHT_F32] = {"f32", 4},
    [BF_WEIGHT_F64] = {"f64", 8}, [BF_WEIGHT_I32] = {"i32", 4},   [BF_WEIGHT_I64] = {"i64", 8},
    [BF_WEIGHT_U8] = {"u8", 1},
};

const char *bf_weight_type_name(enum bf_weight_type type) {
    return types[type].name;
}

size_t bf_weight_type_size(enum bf_weight_type type) {
    return types[type].size;
}

int64_t bf_weight_elements(const struct bf_weight *weight) {
    int64_t count = 1;
    for (unsigned i = 0; i < weight->rank; i++)
        count *= weight->dims[i];
    return count;
}

/* ---- by name ---- */

struct bf_weights *bf_weights_create(const char *source) {
    struct bf_weights *weights = bf_alloc(sizeof *weights);
    weights->source = bf_arena_strdup(&weights->arena, source);
    return weights;
}

void bf_weights_free(struct bf_weights *weights) {
    if (!weights)
        return;
    free(weights->tensors.data);
    free(weights->slots);
    bf_arena_free(&weights->arena);
    free(weights);
}

/* The slot that holds `name`, or the empty one where it belongs. Slots hold index + 1. */
static uint32_t *find_slot(const struct bf_weights *weights, const char *name) {
    size_t at = bf_hash(BF_HASH_START, name, strlen(name)) & (weights->slot_count - 1);
    while (weights->slots[at] &&
           strcmp(weights->tensors.data[weights->slots[at] - 1].name, name) != 0)
        at = (at + 1) & (weights->slot_count - 1);
    return &weights->slots[at];
}

static void make_room(struct bf_weights *weights) {
    if (2 * (weights->tensors.count + 1) <= weights->slot_count)
        return;
    weights->slot_count = weights->slot_count ? 2 * weights->slot_count : 64;
    free(weights->slots);
    weights->slots = bf_alloc(weights->slot_count * sizeof *weights->slots);
    for (size_t i = 0; i < weights->tensors.count; i++)
        *find_slot(weights, weights->tensors.data[i].name) = (uint32_t)(i + 1);
}

bool bf_weights_add(struct bf_weights *weights, const char *name, enum bf_weight_type type,
                    unsigned rank, const int64_t *dims, const void *data, struct bf_error *error) {
    if (rank > BF_MAX_RANK)
        return bf_fail(error, BF_ERROR_INPUT, "%s: tensor '%s' has %u axes, the limit is %d",
                       weights->source, name, rank, BF_MAX_RANK);
    make_room(weights);
    uint32_t *slot = find_slot(weights, name);
    if (*slot)
        return bf_fail(error, BF_ERROR_INPUT, "%s: tensor '%s' is there twice", weights->source,
                       name);
    struct bf_weight weight = {bf_arena_strdup(&weights->arena, name), type, rank, {0}, data, NULL};
    for (unsigned i = 0; i < rank; i++)
        weight.dims[i] = dims[i];
    *bf_push(&weights->tensors) = weight;
    *slot = (uint32_t)weights->tensors.count;
    return true;
}

const struct bf_weight *bf_weights_find(const struct bf_weights *weights, const char *name) {
    if (!weights->slot_count)
        return NULL;
    uint32_t index = *find_slot(weights, name);
    return index ? &weights->tensors.data[index - 1] : NULL;
}

/* ---- elements ---- */

static uint64_t little_endian(const unsigned char *bytes, size_t count) {
    uint64_t value = 0;
    for (size_t i = count; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

static double float_from(uint32_t bits) {
    return (double)bf_bits_float(bits);
}

double bf_weight_read(const struct bf_weight *weight, int64_t index) {
    size_t size = types[weight->type].size;
    uint64_t bits = little_endian((const unsigned char *)weight->data + (size_t)index * size, size);
    double value;
    switch (weight->type) {
    case BF_WEIGHT_F16:
        return bf_half_to_double((bf_half)bits);
    case BF_WEIGHT_BF16:
        return float_from((uint32_t)bits << 16);
    case BF_WEIGHT_F32:
        return float_from((uint32_t)bits);
    case BF_WEIGHT_F64:
        memcpy(&value, &bits, sizeof value);
        return value;
    case BF_WEIGHT_I32:
        return (double)(int32_t)(uint32_t)bits;
    case BF_WEIGHT_I64:
        return (double)(int64_t)bits;
    case BF_WEIGHT_U8:
        return (double)bits;
    }
    return 0;
}

/* ---- binding ---- */

static void add_shape(struct bf_text *text, unsigned rank, const int64_t *dims) {
    bf_text_add(text, "[");
    for (unsigned i = 0; i < rank; i++)
        bf_text_printf(text, "%s%" PRId64, i ? ", " : "", dims[i]);
    bf_text_add(text, "]");
}

/* "this butterfly(768 -> 3072) needs [3, 1, 10, 512, 2, 2]", at the operator. */
static void note_need(const struct bf_param *param, struct bf_diags *diags) {
    struct bf_text shape = {0};
    add_shape(&shape, param->type.rank, param->type.dims);
    if (param->loc.line)
        bf_diag_note(diags, param->loc, "this %s needs %s",
                     param->owner ? param->owner : "operator", shape.data);
    bf_text_free(&shape);
}

static const char *place_of(const struct bf_weights *weights, const struct bf_weight *weight) {
    return weight->origin ? weight->origin : weights->source;
}

/* The tensor with the most similar name that no parameter has, or NULL. */
static const char *similar(const struct bf_net *net, const struct bf_weights *weights,
                           const char *name) {
    size_t best = strlen(name) / 4 + 2;
    const char *found = NULL;
    for (size_t i = 0; i < weights->tensors.count; i++) {
        const char *other = weights->tensors.data[i].name;
        size_t distance = bf_edit_distance(name, other, best);
        if (distance < best && !bf_net_find_param(net, other)) {
            best = distance;
            found = other;
        }
    }
    return found;
}

static void bind_one(const struct bf_net *net, const struct bf_weights *weights,
                     const struct bf_param *param, struct bf_diags *diags) {
    const struct bf_loc nowhere = {0};
    const struct bf_weight *weight = bf_weights_find(weights, param->name);
    if (!weight) {
        const char *other = similar(net, weights, param->name);
        bf_diag_error(diags, nowhere, "'%s' is not in %s%s%s%s", param->name, weights->source,
                      other ? "; did you mean '" : "", other ? other : "", other ? "'?" : "");
        note_need(param, diags);
        return;
    }
    if (weight->type == BF_WEIGHT_I32 || weight->type == BF_WEIGHT_I64 ||
        weight->type == BF_WEIGHT_U8) {
        bf_diag_error(diags, nowhere, "'%s' is %s in %s, must be f16, bf16, f32 or f64",
                      param->name, types[weight->type].name, place_of(weights, weight));
        note_need(param, diags);
    }
    if (weight->rank == param->type.rank &&
        !memcmp(weight->dims, param->type.dims, weight->rank * sizeof *weight->dims))
        return;
    struct bf_text shape = {0};
    add_shape(&shape, weight->rank, weight->dims);
    bf_diag_error(diags, nowhere, "'%s' is %s in %s", param->name, shape.data,
                  place_of(weights, weight));
    note_need(param, diags);
    bf_text_free(&shape);
}

/* A tensor that no parameter is called like, and the parameter without a tensor that it may mean.
 */
static void report_surplus(const struct bf_net *net, const struct bf_weights *weights,
                           const struct bf_weight *weight, struct bf_diags *diags) {
    const struct bf_param *meant = NULL;
    size_t best = strlen(weight->name) / 4 + 2;
    for (size_t i = 0; i < net->params.count; i++) {
        const struct bf_param *param = net->params.data[i];
        size_t distance = bf_edit_distance(weight->name, param->name, best);
        if (distance < best && !bf_weights_find(weights, param->name)) {
            best = distance;
            meant = param;
        }
    }
    struct bf_text shape = {0};
    add_shape(&shape, weight->rank, weight->dims);
    bf_diag_error(diags, (struct bf_loc){0},
                  "'%s' %s of %s belongs to no operator of '%s'%s%s%s (-allow-unused ignores it)",
                  weight->name, shape.data, place_of(weights, weight), net->name,
                  meant ? "; did you mean '" : "", meant ? meant->name : "", meant ? "'?" : "");
    if (meant)
        note_need(meant, diags);
    bf_text_free(&shape);
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(const struct bf_param *const *)a)->name,
                  (*(const struct bf_param *const *)b)->name);
}

/* The net's parameters by name; the caller frees the array. */
static const struct bf_param **sorted_params(const struct bf_net *net) {
    const struct bf_param **sorted = bf_alloc(net->params.count * sizeof *sorted);
    for (size_t i = 0; i < net->params.count; i++)
        sorted[i] = net->params.data[i];
    qsort(sorted, net->params.count, sizeof *sorted, compare_names);
    return sorted;
}

bool bf_weights_bind(const struct bf_net *net, const struct bf_weights *weights, bool allow_unused,
                     struct bf_diags *diags) {
    unsigned before = diags->errors;
    for (size_t i = 0; i < net->params.count; i++)
        bind_one(net, weights, net->params.data[i], diags);
    const struct bf_param **sorted = sorted_params(net);
    for (size_t i = 0; !allow_unused && i < weights->tensors.count; i++) {
        const struct bf_weight *weight = &weights->tensors.data[i];
        struct bf_param key = {.name = weight->name}, *pointer = &key;
        if (bsearch(&pointer, sorted, net->params.count, sizeof *sorted, compare_names))
            continue;
        report_surplus(net, weights, weight, diags);
    }
    free(sorted);
    return diags->errors == before && !diags->stopped;
}

static uint64_t hash_int(uint64_t hash, uint64_t value) {
    unsigned char bytes[8];
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    return bf_hash(hash, bytes, sizeof bytes);
}

uint64_t bf_weights_hash(const struct bf_net *net, const struct bf_weights *weights) {
    const struct bf_param **sorted = sorted_params(net);
    uint64_t hash = BF_HASH_START;
    for (size_t i = 0; i < net->params.count; i++) {
        const struct bf_weight *weight = bf_weights_find(weights, sorted[i]->name);
        if (!weight)
            continue;
        hash = bf_hash(hash, weight->name, strlen(weight->name) + 1);
        hash = hash_int(hash, weight->type);
        hash = hash_int(hash, weight->rank);
        for (unsigned j = 0; j < weight->rank; j++)
            hash = hash_int(hash, (uint64_t)weight->dims[j]);
        hash = bf_hash(hash, weight->data,
                       (size_t)bf_weight_elements(weight) * types[weight->type].size);
    }
    free(sorted);
    return hash;
}

/* ---- random weights ---- */

/* Mean and standard deviation of the elements of a parameter. */
struct spread {
    double mean, deviation;
};

/* 1/sqrt(n) to 16 bits, by integers. */
static double inverse_root(int64_t n) {
    uint64_t target = (uint64_t)n << 32, root = 0;
    for (uint64_t bit = UINT64_C(1) << 31; bit; bit >>= 1)
        if ((root | bit) * (root | bit) <= target)
            root |= bit;
    return 65536.0 / (double)root;
}

static struct spread choose_spread(const struct bf_op *op, unsigned slot,
                                   const struct bf_param *param) {
    const struct bf_type *type = &param->type;
    const char *name = op->kind == BF_OP_PARAM ? "" : bf_op_info(op->kind)->params[slot].name;
    if (!strcmp(name, "twiddle"))
        return (struct spread){0, op->kind == BF_OP_BLOCK_BUTTERFLY
                                      ? inverse_root(2) * inverse_root(bf_op_int(op, "cols"))
                                      : inverse_root(2)};
    if (op->kind == BF_OP_LAYERNORM || op->kind == BF_OP_RMSNORM)
        return (struct spread){!strcmp(name, "weight"), 0.1};
    if (op->kind == BF_OP_EMBEDDING)
        return (struct spread){0, 1};
    if (type->rank < 2)
        return (struct spread){0, 0.1};
    return (struct spread){0, inverse_root(type->dims[type->rank - 1])};
}

/* The sum of four uniform 16-bit numbers is close to normal: mean 131070, deviation 37837.2. */
static double next_normal(uint64_t *state) {
    uint64_t bits = bf_random(state);
    int64_t sum =
        (int64_t)((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
    return (double)(sum - 131070) / 37837.2;
}

static void draw(struct bf_weights *weights, const struct bf_param *param, struct spread spread,
                 uint64_t seed) {
    int64_t count = bf_type_elements(&param->type);
    unsigned char *data = bf_arena_alloc(&weights->arena, (size_t)count * 2);
    uint64_t state = hash_int(bf_hash(BF_HASH_START, param->name, strlen(param->name)), seed);
    for (int64_t i = 0; i < count; i++) {
        bf_half half = bf_half_from_double(spread.mean + spread.deviation * next_normal(&state));
        data[2 * i] = (unsigned char)half;
        data[2 * i + 1] = (unsigned char)(half >> 8);
    }
    bf_weights_add(weights, param->name, BF_WEIGHT_F16, param->type.rank, param->type.dims, data,
                   NULL);
}

struct bf_weights *bf_weights_random(const struct bf_net *net, uint64_t seed) {
    struct bf_weights *weights = bf_weights_create("random weights");
    struct spread *spreads = bf_alloc(net->params.count * sizeof *spreads);
    for (size_t i = 0; i < net->params.count; i++)
        spreads[i] = (struct spread){0, 0.1}; /* of parameters that no operator has */
    for (size_t i = 0; i < net->ops.count; i++)
        for (unsigned slot = 0; slot < BF_MAX_PARAMS; slot++) {
            const struct bf_param *param = net->ops.data[i]->params[slot];
            if (param)
                spreads[param->index] = choose_spread(net->ops.data[i], slot, param);
        }
    for (size_t i = 0; i < net->params.count; i++)
        draw(weights, net->params.data[i], spreads[i], seed);
    free(spreads);
    return weights;
}
