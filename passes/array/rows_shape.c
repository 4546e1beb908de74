/* rows_shape.c - what kind of operand each is, and where it lies in the scratchpad. */
#include "passes/array/rows.h"

static int64_t round_up(int64_t x, int64_t to) {
    return (int64_t)bf_round_up((uint64_t)x, (uint64_t)to);
}

static struct bf_digit digit(const struct bf_poly_kernel *kernel, const char *name) {
    for (size_t d = 0; d < kernel->digits.count; d++)
        if (!strcmp(kernel->digits.data[d].name, name))
            return kernel->digits.data[d];
    return (struct bf_digit){name, 1, 0, 0};
}

static bool is_mask(const struct bf_poly_kernel *kernel, int input) {
    return bf_ints_find(&kernel->attrs, "mask", -1) == input;
}

enum bf_rows_class bf_rows_class(const struct bf_rows_shape *shape, int input) {
    const struct bf_operand *operand = &shape->kernel->inputs.data[input];
    if (is_mask(shape->kernel, input))
        return BF_ROWS_VECTOR;
    bool across, along;
    if (shape->columns) {
        across = operand->cols > 1 || shape->cols == 1;
        along = operand->rows > 1 || shape->rows == 1;
    } else {
        across =
            shape->packed ? operand->buffer->samples > 1 || shape->samples == 1 : operand->rows > 1;
        along = operand->cols > 1 || shape->cols == 1;
    }
    if (across)
        return along ? BF_ROWS_FULL : BF_ROWS_WORD;
    return along ? BF_ROWS_VECTOR : BF_ROWS_SCALAR;
}

bool bf_rows_is_row_output(const struct bf_rows_shape *shape, int index) {
    for (size_t s = 0; s < shape->kernel->steps.count; s++)
        if (shape->kernel->steps.data[s].kind == BF_STEP_ROWMAP &&
            shape->kernel->steps.data[s].index == index)
            return true;
    return false;
}

static bool is_vector(const struct bf_rows_shape *shape, int input) {
    enum bf_rows_class class = bf_rows_class(shape, input);
    return class == BF_ROWS_VECTOR || class == BF_ROWS_SCALAR;
}

int bf_rows_vector(const struct bf_rows_shape *shape, int input) {
    int v = (int)shape->kernel->params.count;
    for (int i = 0; i < input; i++)
        v += is_vector(shape, i);
    return v;
}

int bf_rows_vectors(const struct bf_rows_shape *shape) {
    return bf_rows_vector(shape, (int)shape->kernel->inputs.count);
}

bool bf_rows_vector_moves(const struct bf_rows_shape *shape, int v) {
    const struct bf_poly_kernel *kernel = shape->kernel;
    if ((size_t)v < kernel->params.count) {
        const struct bf_param_view *view = &kernel->params.data[v].view;
        return view->extent[view->rank - 1] > 1;
    }
    for (int i = 0; i < (int)kernel->inputs.count; i++)
        if (is_vector(shape, i) && bf_rows_vector(shape, i) == v)
            return bf_rows_class(shape, i) == BF_ROWS_VECTOR && shape->n > 1;
    return false;
}

int64_t bf_rows_interleave(const struct bf_rows_shape *shape, int64_t lanes) {
    int64_t stride = 1;
    for (int i = 0; i < (int)shape->kernel->inputs.count; i++)
        if (bf_rows_class(shape, i) == BF_ROWS_VECTOR)
            return 1; /* it has its lanes one after the other */
    while (stride < (int64_t)shape->kernel->params.count)
        stride *= 2;
    return stride <= lanes ? stride : 1;
}

/* A row of every sample follows the one before; larger samples begin at a tile. */
static int64_t pitch_of(const struct bf_buffer *buffer, int64_t lanes) {
    return buffer->rows == 1 ? 1 : round_up(buffer->rows, lanes);
}

/* Row tiles can be counted through all samples if every operand has the same ones. */
static bool counts_by_sample(const struct bf_rows_shape *shape, int64_t lanes) {
    const struct bf_poly_kernel *kernel = shape->kernel;
    if (shape->columns)
        return true;
    if (shape->packed)
        return false;
    for (int i = 0; i < (int)kernel->inputs.count; i++) {
        const struct bf_buffer *buffer = kernel->inputs.data[i].buffer;
        if (is_vector(shape, i) ? buffer->samples > 1
                                : (buffer->samples == 1 && shape->samples > 1) ||
                                      pitch_of(buffer, lanes) != shape->pitch)
            return true;
    }
    for (size_t i = 0; i < kernel->outputs.count; i++)
        if (pitch_of(kernel->outputs.data[i].buffer, lanes) != shape->pitch)
            return true;
    return false;
}

struct bf_rows_shape bf_rows_shape(const struct bf_poly_kernel *kernel, int64_t lanes) {
    struct bf_rows_shape shape = {.kernel = kernel, .columns = kernel->lanes == BF_LANES_COLS};
    struct bf_digit columns = digit(kernel, "c"), heads = digit(kernel, "g");
    shape.samples = digit(kernel, "s").radix;
    shape.rows = digit(kernel, "t").radix;
    shape.cols = columns.radix;
    shape.step = columns.weight;
    shape.heads = heads.radix;
    shape.head = heads.weight;
    shape.n = shape.columns ? shape.rows : shape.cols;
    shape.packed = !shape.columns && shape.rows == 1;
    shape.pitch = shape.rows == 1 ? 1 : round_up(shape.rows, lanes);
    shape.by_sample = counts_by_sample(&shape, lanes);
    return shape;
}

struct bf_rows_plan bf_rows_plan(const struct bf_rows_shape *shape, const struct bf_plan *plan,
                                 int64_t lanes) {
    struct bf_rows_plan p = {.chunk = bf_plan_int(plan, "chunk"),
                             .first = bf_plan_int(plan, "first")};
    static const char *const counts[] = {"chunks", "passes", "inner", "outer"};
    static const char *const groups[] = {"chunk_groups", "head_groups", "inner_groups",
                                         "outer_groups"};
    for (int a = 0; a < BF_ROWS_AXES; a++) {
        p.count[a] = bf_plan_int(plan, counts[a]);
        p.groups[a] = a == 1 && !shape->head ? 1 : bf_plan_int(plan, groups[a]);
        p.rounds[a] = (p.count[a] + p.groups[a] - 1) / p.groups[a];
    }
    p.last = shape->n - (p.count[0] - 1) * p.chunk;
    p.vector_words = round_up(p.chunk, lanes) / lanes;
    p.lane_words = round_up(bf_plan_int(plan, "lanes"), lanes) / lanes;
    p.interleave = bf_plan_int(plan, "interleave");
    p.param_words = p.interleave > 1 ? round_up(p.chunk * p.interleave, lanes) / lanes
                                     : (int64_t)shape->kernel->params.count * p.vector_words;
    p.set_words = p.lane_words + p.param_words + bf_plan_int(plan, "words");
    return p;
}

bool bf_rows_one_set(const struct bf_machine *machine) {
    return 2 * machine->weight_half * machine->lanes <= 2048; /* a lane address has 11 bits */
}

bool bf_rows_weights_vary(const struct bf_rows_shape *shape, const struct bf_rows_plan *plan) {
    bool vary = false;
    for (int v = 0; v < bf_rows_vectors(shape); v++)
        vary |= plan->rounds[0] > 1 && bf_rows_vector_moves(shape, v);
    for (int i = 0; i < (int)shape->kernel->inputs.count; i++)
        vary |= is_vector(shape, i) && shape->kernel->inputs.data[i].buffer->samples > 1 &&
                plan->rounds[3] > 1;
    return vary;
}

int64_t bf_rows_head_stride(const struct bf_rows_shape *shape, const struct bf_operand *operand) {
    return operand->cols > shape->head ? shape->head : 0;
}

/* ---- addresses ---- */

/* How far a sample is from the one before. */
static int64_t sample_stride(const struct bf_map *map, const struct bf_operand *operand) {
    const struct bf_place_of_buffer *place = &map->places[operand->buffer->index];
    if (operand->buffer->samples == 1)
        return 0;
    return place->pitch == 1 ? 1 : place->pitch / map->machine.lanes * place->width;
}

static int64_t first_sample(const struct bf_rows_shape *shape, const struct bf_rows_plan *plan,
                            const struct bf_operand *operand) {
    return shape->by_sample && operand->buffer->samples > 1 ? plan->first : 0;
}

static struct bf_rows_access row_access(const struct bf_map *map, const struct bf_rows_shape *shape,
                                        const struct bf_rows_plan *plan,
                                        const struct bf_operand *operand) {
    struct bf_rows_access access = {.row = true};
    access.base = bf_map_row_word(map, operand, first_sample(shape, plan, operand), 0, 0);
    access.stride[3] = shape->by_sample ? sample_stride(map, operand) : 0;
    return access;
}

/* Words of V rows of one column. */
static struct bf_rows_access column_access(const struct bf_map *map,
                                           const struct bf_rows_shape *shape,
                                           const struct bf_rows_plan *plan,
                                           const struct bf_operand *operand) {
    int64_t width = map->places[operand->buffer->index].width;
    struct bf_rows_access access = {.row = false};
    access.base = bf_map_column_word(map, operand, first_sample(shape, plan, operand), 0, 0);
    access.stride[2] = width;
    access.stride[3] = sample_stride(map, operand);
    if (!shape->by_sample) {
        access.base += plan->first * width;
        access.stride[3] = width;
    }
    return access;
}

struct bf_rows_access bf_rows_input_access(const struct bf_map *map,
                                           const struct bf_rows_shape *shape,
                                           const struct bf_rows_plan *plan, int input) {
    const struct bf_operand *operand = &shape->kernel->inputs.data[input];
    enum bf_rows_class class = bf_rows_class(shape, input);
    int64_t v = map->machine.lanes, width = map->places[operand->buffer->index].width;
    struct bf_rows_access access;
    if (class == BF_ROWS_FULL || class == BF_ROWS_WORD) {
        access = shape->columns ? row_access(map, shape, plan, operand)
                                : column_access(map, shape, plan, operand);
        if (shape->columns)
            access.stride[2] = v;
        if (class == BF_ROWS_FULL)
            access.stride[0] = shape->columns ? plan->chunk / v * width : plan->chunk * shape->step;
        access.stride[1] = bf_rows_head_stride(shape, operand);
        return access;
    }
    if (shape->columns && !is_mask(shape->kernel, input) && operand->buffer->rows > 1) {
        access = column_access(map, shape, plan, operand);
        access.stride[2] = 0;
        access.stride[0] = plan->chunk / v * width;
    } else {
        access = row_access(map, shape, plan, operand);
        access.stride[0] = plan->chunk;
    }
    if (class == BF_ROWS_SCALAR)
        access.stride[0] = 0;
    return access;
}

struct bf_rows_access bf_rows_output_access(const struct bf_map *map,
                                            const struct bf_rows_shape *shape,
                                            const struct bf_rows_plan *plan, int output) {
    const struct bf_operand *operand = &shape->kernel->outputs.data[output];
    int64_t v = map->machine.lanes, width = map->places[operand->buffer->index].width;
    bool row_output = bf_rows_is_row_output(shape, output);
    bool turned = row_output && operand->rows == 1 && shape->rows > 1; /* [s] of [s, h] */
    struct bf_rows_access access = shape->columns || turned
                                       ? row_access(map, shape, plan, operand)
                                       : column_access(map, shape, plan, operand);
    if (shape->columns || turned)
        access.stride[2] = v;
    if (!row_output)
        access.stride[0] = shape->columns ? plan->chunk / v * width : plan->chunk * shape->step;
    access.stride[1] = bf_rows_head_stride(shape, operand);
    return access;
}
