/* gen_rows.c - pointwise kernels and kernels with reductions: the steps one after the other.
 *
 *   along rows     vectors lie along the columns; a unit is a row, whose reductions end in one sum
 *                  over the lanes:      for each row: for each step: for each vector of columns
 *   along columns  a unit is a tile of columns, each lane reduces a column of its own:
 *                                       for each tile: for each step: for each row
 */
#include "backend/host/gen.h"

#include <math.h>

enum { MOST_OPERANDS = 16, MOST_STEPS = 16, ACCUMULATORS = 4 };

struct rows {
    struct bf_gen *gen;
    struct bf_ll *ll;
    const struct bf_poly_kernel *kernel;
    bool along_rows;
    int64_t samples, rows, cols;
    int64_t mask; /* input that lies across the axis worked along; -1 */
    struct bf_host_operand inputs[MOST_OPERANDS], outputs[MOST_OPERANDS];
    LLVMValueRef sample, row, col;          /* where the code is */
    LLVMValueRef row_of[2 * MOST_OPERANDS]; /* along rows: pointers to the row, outputs first */
    LLVMValueRef results[MOST_STEPS], accumulator;
};

/* ---- choosing ---- */

static int64_t radix(const struct bf_poly_kernel *kernel, int digit) {
    return kernel->digits.data[digit].radix;
}

/* Columns in a tile, where each lane has a column of its own. */
static int64_t tile_columns(const struct bf_host_target *target) {
    return 2 * target->lanes;
}

/* Whether a unit is one row of each output. */
static bool row_by_row(const struct bf_poly *poly, const struct bf_poly_kernel *kernel) {
    for (size_t i = 0; i < kernel->outputs.count; i++) {
        struct bf_host_operand shape = bf_host_operand(poly, &kernel->outputs.data[i]);
        if (!shape.linear || shape.rows != radix(kernel, 1) || shape.samples != radix(kernel, 0))
            return false;
    }
    return kernel->inputs.count > 0;
}

static bool choose(const struct bf_host_site *site, struct bf_host_choice *choice) {
    const struct bf_poly_kernel *kernel = site->kernels[0];
    int64_t samples = radix(kernel, 0), rows = radix(kernel, 1), cols = radix(kernel, 2);
    if (bf_ints_find(&kernel->attrs, "head", 0) || /* see gen_rope.c */
        kernel->inputs.count + kernel->outputs.count > MOST_OPERANDS ||
        kernel->steps.count > MOST_STEPS)
        return false;
    int64_t unit = cols; /* elements of a unit */
    if (kernel->lanes == BF_LANES_ROWS) {
        choice->units = samples * rows;
        choice->unit_rows = row_by_row(site->poly, kernel);
    } else {
        int64_t width = tile_columns(site->target);
        choice->units = samples * (int64_t)bf_divide_up((uint64_t)cols, (uint64_t)width);
        unit = rows * width;
    }
    choice->grain = 8192 / unit > 1 ? 8192 / unit : 1;
    bf_gen_vector_packs(kernel, choice);
    return true;
}

/* ---- leaves ---- */

static LLVMValueRef argument(struct rows *r, int index, unsigned count) {
    struct bf_ll *ll = r->ll;
    const struct bf_host_operand *shape = &r->inputs[index];
    if (r->along_rows) {
        LLVMValueRef base = r->row_of[r->kernel->outputs.count + (size_t)index];
        return bf_gen_load(ll, shape, base, shape->cols > 1 ? r->col : bf_ll_int(ll, 0), count);
    }
    LLVMValueRef pointer = bf_gen_input(r->gen, (unsigned)index);
    if (index != r->mask) {
        LLVMValueRef at = bf_gen_offset(ll, shape, r->sample, r->row, r->col);
        return bf_gen_load(ll, shape, pointer, at, count);
    }
    LLVMValueRef at = bf_gen_offset(ll, shape, r->sample, bf_ll_int(ll, 0), r->row);
    LLVMValueRef element = bf_gen_element(ll, shape, pointer, at);
    return bf_ll_splat(ll, bf_ll_load_element(ll, shape->element, element, 1), count);
}

static LLVMValueRef leaf(void *user, const struct bf_expr *expr, unsigned count) {
    struct rows *r = user;
    if (expr->kind == BF_EXPR_ARG)
        return argument(r, expr->index, count);
    if (expr->kind == BF_EXPR_PARAM)
        return bf_gen_vector(r->ll, &r->kernel->params.data[expr->index],
                             bf_gen_pack(r->gen, (unsigned)expr->index), r->col, count);
    LLVMValueRef value = expr->index < 0 ? r->accumulator : r->results[expr->index];
    return bf_ll_lanes(value) == count ? value : bf_ll_splat(r->ll, value, count);
}

static LLVMValueRef evaluate(struct rows *r, const struct bf_expr *expr, unsigned count) {
    struct bf_gen_leaves leaves = {leaf, r};
    return bf_gen_expr(r->ll, expr, count, &leaves);
}

/* accumulator + expr, or their maximum. */
static LLVMValueRef accumulate(struct rows *r, const struct bf_step *step, LLVMValueRef before,
                               unsigned count) {
    struct bf_expr sum_so_far = {.kind = BF_EXPR_ROW, .index = -1};
    struct bf_expr sum = {.kind = BF_EXPR_ADD, .a = step->expr, .b = &sum_so_far};
    r->accumulator = before;
    if (step->kind == BF_STEP_SUM)
        return evaluate(r, &sum, count);
    return bf_ll_fmax(r->ll, evaluate(r, step->expr, count), before);
}

static LLVMValueRef nothing_yet(struct rows *r, const struct bf_step *step, unsigned count) {
    return bf_ll_const(r->ll, count, step->kind == BF_STEP_SUM ? 0 : -INFINITY);
}

static LLVMValueRef join(struct rows *r, const struct bf_step *step, LLVMValueRef a,
                         LLVMValueRef b) {
    return step->kind == BF_STEP_SUM ? bf_ll_fadd(r->ll, a, b) : bf_ll_fmax(r->ll, a, b);
}

/* ---- along rows ---- */

/* Four accumulators while there are vectors enough, then one, then the lanes, then the tail. */
static LLVMValueRef reduce_row(struct rows *r, const struct bf_step *step) {
    struct bf_ll *ll = r->ll;
    unsigned lanes = r->gen->target->lanes;
    int64_t block = lanes * ACCUMULATORS, main = r->cols / block * block;
    int64_t full = r->cols / lanes * lanes;
    LLVMValueRef sums[ACCUMULATORS];
    struct bf_ll_loop loop;
    for (int i = 0; i < ACCUMULATORS; i++)
        sums[i] = nothing_yet(r, step, lanes);
    if (main) {
        bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, main), block);
        for (int i = 0; i < ACCUMULATORS; i++)
            bf_ll_carry(ll, &loop, sums[i]);
        for (int i = 0; i < ACCUMULATORS; i++) {
            r->col = bf_ll_add_int(ll, loop.index, i * (int64_t)lanes);
            loop.next[i] = accumulate(r, step, loop.carried[i], lanes);
        }
        bf_ll_loop_end(ll, &loop);
        for (int i = 0; i < ACCUMULATORS; i++)
            sums[i] = loop.carried[i];
    }
    LLVMValueRef sum = join(r, step, sums[0], sums[1]);
    sum = join(r, step, sum, join(r, step, sums[2], sums[3]));
    if (full > main) {
        bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, main), bf_ll_int(ll, full), lanes);
        bf_ll_carry(ll, &loop, sum);
        r->col = loop.index;
        loop.next[0] = accumulate(r, step, loop.carried[0], lanes);
        bf_ll_loop_end(ll, &loop);
        sum = loop.carried[0];
    }
    sum = step->kind == BF_STEP_SUM ? bf_ll_sum(ll, sum) : bf_ll_maximum(ll, sum);
    if (r->cols > full) {
        unsigned rest = (unsigned)(r->cols - full);
        r->col = bf_ll_int(ll, full);
        LLVMValueRef tail = accumulate(r, step, nothing_yet(r, step, rest), rest);
        tail = step->kind == BF_STEP_SUM ? bf_ll_sum(ll, tail) : bf_ll_maximum(ll, tail);
        sum = join(r, step, sum, tail);
    }
    return sum;
}

static void map_columns(struct rows *r, const struct bf_step *step, unsigned count) {
    struct bf_ll *ll = r->ll;
    const struct bf_host_operand *out = &r->outputs[step->index];
    LLVMValueRef value = evaluate(r, step->expr, count);
    LLVMValueRef at =
        bf_gen_element(ll, out, r->row_of[step->index], out->cols > 1 ? r->col : bf_ll_int(ll, 0));
    bf_ll_store_element(ll, out->element, value, at);
}

static void map_row(struct rows *r, const struct bf_step *step) {
    struct bf_ll *ll = r->ll;
    unsigned lanes = r->gen->target->lanes;
    int64_t full = r->cols / lanes * lanes;
    if (full) {
        struct bf_ll_loop loop;
        bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, full), lanes);
        r->col = loop.index;
        map_columns(r, step, lanes);
        bf_ll_loop_end(ll, &loop);
    }
    if (r->cols > full) {
        r->col = bf_ll_int(ll, full);
        map_columns(r, step, (unsigned)(r->cols - full));
    }
}

/* The one result of a row: in a column [s, 1], or along the columns of [s]. */
static void map_result(struct rows *r, const struct bf_step *step) {
    struct bf_ll *ll = r->ll;
    const struct bf_host_operand *out = &r->outputs[step->index];
    LLVMValueRef value = evaluate(r, step->expr, 1);
    LLVMValueRef at = bf_gen_offset(ll, out, r->sample, r->row, r->row);
    if (out->rows > 1 && out->cols > 1)
        at = bf_gen_offset(ll, out, r->sample, r->row, bf_ll_int(ll, 0));
    at = bf_gen_element(ll, out, bf_gen_output(r->gen, (unsigned)step->index), at);
    bf_ll_store_element(ll, out->element, value, at);
}

static void find_rows(struct rows *r) {
    size_t outputs = r->kernel->outputs.count;
    for (size_t i = 0; i < outputs + r->kernel->inputs.count; i++) {
        const struct bf_host_operand *shape =
            i < outputs ? &r->outputs[i] : &r->inputs[i - outputs];
        LLVMValueRef at = bf_gen_offset(r->ll, shape, r->sample, r->row, bf_ll_int(r->ll, 0));
        r->row_of[i] = bf_gen_element(r->ll, shape, r->gen->pointers[i], at);
    }
}

static void generate_rows(struct rows *r) {
    struct bf_ll *ll = r->ll;
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, r->gen->begin, r->gen->end, 1);
    r->sample = bf_ll_div_int(ll, loop.index, r->rows);
    r->row = bf_ll_rem_int(ll, loop.index, r->rows);
    find_rows(r);
    for (size_t i = 0; i < r->kernel->steps.count; i++) {
        const struct bf_step *step = &r->kernel->steps.data[i];
        if (step->kind == BF_STEP_SUM || step->kind == BF_STEP_MAX)
            r->results[i] = reduce_row(r, step);
        else if (step->kind == BF_STEP_ROW)
            r->results[i] = evaluate(r, step->expr, 1);
        else if (step->kind == BF_STEP_MAP)
            map_row(r, step);
        else
            map_result(r, step);
    }
    bf_ll_loop_end(ll, &loop);
}

/* ---- along columns ---- */

static LLVMValueRef reduce_columns(struct rows *r, const struct bf_step *step, unsigned count) {
    struct bf_ll *ll = r->ll;
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, r->rows), 1);
    bf_ll_carry(ll, &loop, nothing_yet(r, step, count));
    r->row = loop.index;
    loop.next[0] = accumulate(r, step, loop.carried[0], count);
    bf_ll_loop_end(ll, &loop);
    return loop.carried[0];
}

static void store_columns(struct rows *r, const struct bf_step *step, unsigned count) {
    struct bf_ll *ll = r->ll;
    const struct bf_host_operand *out = &r->outputs[step->index];
    LLVMValueRef value = evaluate(r, step->expr, count);
    LLVMValueRef at = bf_gen_offset(ll, out, r->sample, r->row, r->col);
    at = bf_gen_element(ll, out, bf_gen_output(r->gen, (unsigned)step->index), at);
    bf_ll_store_element(ll, out->element, value, at);
}

static void generate_tile(struct rows *r, LLVMValueRef col, unsigned count) {
    struct bf_ll *ll = r->ll;
    for (size_t i = 0; i < r->kernel->steps.count; i++) {
        const struct bf_step *step = &r->kernel->steps.data[i];
        r->col = col;
        r->row = bf_ll_int(ll, 0);
        if (step->kind == BF_STEP_SUM || step->kind == BF_STEP_MAX) {
            r->results[i] = reduce_columns(r, step, count);
        } else if (step->kind == BF_STEP_ROW) {
            r->results[i] = evaluate(r, step->expr, count);
        } else if (step->kind == BF_STEP_ROWMAP) {
            store_columns(r, step, count);
        } else {
            struct bf_ll_loop loop;
            bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, r->rows), 1);
            r->row = loop.index;
            store_columns(r, step, count);
            bf_ll_loop_end(ll, &loop);
        }
    }
}

/* Whole tiles and the last one, which is narrower, are code of their own. */
static void generate_columns(struct rows *r) {
    struct bf_ll *ll = r->ll;
    int64_t width = tile_columns(r->gen->target), whole = r->cols / width;
    unsigned rest = (unsigned)(r->cols % width);
    int64_t tiles = whole + (rest > 0);
    struct bf_ll_loop loop;
    struct bf_ll_if branch;
    bf_ll_loop_begin(ll, &loop, r->gen->begin, r->gen->end, 1);
    r->sample = bf_ll_div_int(ll, loop.index, tiles);
    LLVMValueRef tile = bf_ll_rem_int(ll, loop.index, tiles);
    LLVMValueRef col = bf_ll_mul_int(ll, tile, width), border = bf_ll_int(ll, whole);
    if (whole) {
        bf_ll_if_begin(ll, &branch, bf_ll_less(ll, tile, border));
        generate_tile(r, col, (unsigned)width);
        bf_ll_if_end(ll, &branch);
    }
    if (rest) {
        bf_ll_if_begin(ll, &branch, bf_ll_less(ll, bf_ll_int(ll, whole - 1), tile));
        generate_tile(r, col, rest);
        bf_ll_if_end(ll, &branch);
    }
    bf_ll_loop_end(ll, &loop);
}

static void generate(struct bf_gen *gen) {
    const struct bf_poly_kernel *kernel = gen->first;
    struct rows r = {
        .gen = gen,
        .ll = gen->ll,
        .kernel = kernel,
        .along_rows = kernel->lanes == BF_LANES_ROWS,
        .samples = radix(kernel, 0),
        .rows = radix(kernel, 1),
        .cols = radix(kernel, 2),
        .mask = bf_ints_find(&kernel->attrs, "mask", -1),
    };
    for (size_t i = 0; i < kernel->inputs.count; i++)
        r.inputs[i] = bf_gen_input_shape(gen, (unsigned)i);
    for (size_t i = 0; i < kernel->outputs.count; i++)
        r.outputs[i] = bf_gen_output_shape(gen, (unsigned)i);
    if (r.along_rows)
        generate_rows(&r);
    else
        generate_columns(&r);
}

const struct bf_host_generator bf_gen_rows = {"rows", BF_KERNEL_ROWS, choose, generate};
