/* gen_move.c - kernels that only move elements: gather, copy, transpose. */
#include "backend/host/gen.h"

/* ---- gather: rows of a table chosen by ids, which the module has checked ---- */

static int64_t table_columns(const struct bf_poly_kernel *kernel) {
    return kernel->outputs.data[0].cols;
}

static bool choose_gather(const struct bf_host_site *site, struct bf_host_choice *choice) {
    const struct bf_poly_kernel *kernel = site->kernels[0];
    if (!bf_kernel_find_param(kernel, "table"))
        return false;
    struct bf_host_operand out = bf_host_operand(site->poly, &kernel->outputs.data[0]);
    choice->units = out.samples * out.rows;
    choice->grain = 8192 / out.cols > 1 ? 8192 / out.cols : 1;
    bf_gen_vector_packs(kernel, choice);
    return true;
}

/* Copies `cols` floats, vector by vector. */
static void copy_floats(struct bf_gen *gen, LLVMValueRef to, LLVMValueRef from, int64_t cols) {
    struct bf_ll *ll = gen->ll;
    unsigned lanes = gen->target->lanes, rest = (unsigned)(cols % lanes);
    int64_t full = cols - rest;
    if (full) {
        struct bf_ll_loop loop;
        bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, full), lanes);
        LLVMValueRef value = bf_ll_load(ll, bf_ll_at(ll, from, loop.index), lanes, 4);
        bf_ll_store(ll, value, bf_ll_at(ll, to, loop.index), 4);
        bf_ll_loop_end(ll, &loop);
    }
    if (rest) {
        LLVMValueRef value = bf_ll_load(ll, bf_ll_at_int(ll, from, full), rest, 4);
        bf_ll_store(ll, value, bf_ll_at_int(ll, to, full), 4);
    }
}

static LLVMValueRef id_at(struct bf_gen *gen, LLVMValueRef index) {
    struct bf_ll *ll = gen->ll;
    struct bf_host_operand ids = bf_gen_input_shape(gen, 0);
    bool bytes = ids.element == BF_HOST_U8;
    LLVMValueRef at = bf_gen_element(ll, &ids, bf_gen_input(gen, 0), index);
    LLVMValueRef id = LLVMBuildLoad2(ll->builder, bytes ? ll->i8 : ll->i32, at, "");
    LLVMSetAlignment(id, bytes ? 1 : 4);
    return LLVMBuildZExt(ll->builder, id, ll->i64, "");
}

static void generate_gather(struct bf_gen *gen) {
    struct bf_ll *ll = gen->ll;
    struct bf_host_operand out = bf_gen_output_shape(gen, 0);
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, gen->begin, gen->end, 1);
    LLVMValueRef sample = bf_ll_div_int(ll, loop.index, out.rows);
    LLVMValueRef row = bf_ll_rem_int(ll, loop.index, out.rows);
    LLVMValueRef at = bf_gen_offset(ll, &out, sample, row, bf_ll_int(ll, 0));
    LLVMValueRef from = bf_ll_mul_int(ll, id_at(gen, loop.index), table_columns(gen->first));
    LLVMValueRef to = bf_ll_at(ll, bf_gen_output(gen, 0), at);
    copy_floats(gen, to, bf_ll_at(ll, bf_gen_pack(gen, 0), from), out.cols);
    bf_ll_loop_end(ll, &loop);
}

const struct bf_host_generator bf_gen_gather = {"gather", BF_KERNEL_COPY, choose_gather,
                                                generate_gather};

/* ---- copy: the elements of both rectangles in row-major order, or rows in another order ---- */

static int64_t elements(const struct bf_host_operand *shape) {
    return shape->samples * shape->rows * shape->cols;
}

static bool choose_copy(const struct bf_host_site *site, struct bf_host_choice *choice) {
    const struct bf_poly_kernel *kernel = site->kernels[0];
    struct bf_host_operand out = bf_host_operand(site->poly, &kernel->outputs.data[0]);
    int64_t stride = bf_ints_find(&kernel->attrs, "to_stride", 0);
    if (stride)
        out.samples = out.samples / stride * bf_ints_get(&kernel->attrs, "to_inner");
    choice->units = out.samples * out.rows;
    choice->grain = 8192 / out.cols > 1 ? 8192 / out.cols : 1;
    return true;
}

/* The sample that copied sample i becomes, where they are some of the output's. */
static LLVMValueRef sample_written(struct bf_gen *gen, LLVMValueRef i) {
    struct bf_ll *ll = gen->ll;
    const struct bf_ints *attrs = &gen->first->attrs;
    int64_t stride = bf_ints_find(attrs, "to_stride", 0);
    if (!stride)
        return i;
    int64_t inner = bf_ints_get(attrs, "to_inner");
    LLVMValueRef block = bf_ll_div_int(ll, i, inner);
    LLVMValueRef at = bf_ll_dot(ll, block, stride, bf_ll_rem_int(ll, i, inner), 1);
    return bf_ll_add_int(ll, at, bf_ints_get(attrs, "to_first"));
}

/* Which element of the packed input is the first of an output row. */
static LLVMValueRef source_of(struct bf_gen *gen, const struct bf_host_operand *out,
                              LLVMValueRef sample, LLVMValueRef row) {
    struct bf_ll *ll = gen->ll;
    const struct bf_ints *attrs = &gen->first->attrs;
    int64_t inner = bf_ints_find(attrs, "inner", 0);
    if (!inner) {
        LLVMValueRef rows = bf_ll_add(ll, bf_ll_mul_int(ll, sample, out->rows), row);
        return bf_ll_mul_int(ll, rows, out->cols);
    }
    int64_t outer = bf_ints_get(attrs, "outer");
    LLVMValueRef above = bf_ll_div_int(ll, sample, inner);
    LLVMValueRef at =
        bf_ll_mul_int(ll, bf_ll_rem_int(ll, sample, inner), bf_ints_get(attrs, "inner_stride"));
    at = bf_ll_add(
        ll, at,
        bf_ll_mul_int(ll, bf_ll_rem_int(ll, above, outer), bf_ints_get(attrs, "outer_stride")));
    int64_t each = bf_ints_find(attrs, "sample_stride", inner * outer * out->rows * out->cols);
    at = bf_ll_add(ll, at, bf_ll_mul_int(ll, bf_ll_div_int(ll, above, outer), each));
    at = bf_ll_add_int(ll, at, bf_ints_find(attrs, "start", 0));
    return bf_ll_add(ll, at, bf_ll_mul_int(ll, row, bf_ints_get(attrs, "pitch")));
}

/* Offset in the rectangle of element `packed` of its elements in order. */
static LLVMValueRef unpack(struct bf_ll *ll, const struct bf_host_operand *in,
                           LLVMValueRef packed) {
    LLVMValueRef col = bf_ll_rem_int(ll, packed, in->cols);
    LLVMValueRef rows = bf_ll_div_int(ll, packed, in->cols);
    LLVMValueRef sample = bf_ll_div_int(ll, rows, in->rows);
    return bf_gen_offset(ll, in, sample, bf_ll_rem_int(ll, rows, in->rows), col);
}

static bool is_packed(const struct bf_host_operand *shape) {
    bool rows = shape->cols == shape->pitch || shape->rows == 1;
    return rows && (shape->samples == 1 || shape->stride == shape->rows * shape->cols);
}

static void copy_one(struct bf_gen *gen, const struct bf_host_operand *in, LLVMValueRef from,
                     const struct bf_host_operand *out, LLVMValueRef to, unsigned count) {
    struct bf_ll *ll = gen->ll;
    LLVMValueRef at = bf_gen_element(ll, in, bf_gen_input(gen, 0), from);
    LLVMValueRef value = bf_ll_load_element(ll, in->element, at, count);
    bf_ll_store_element(ll, out->element, value,
                        bf_gen_element(ll, out, bf_gen_output(gen, 0), to));
}

/* One row of the output: vectors where its elements are next to each other in the input. */
static void copy_row(struct bf_gen *gen, const struct bf_host_operand *in,
                     const struct bf_host_operand *out, LLVMValueRef from, LLVMValueRef to) {
    struct bf_ll *ll = gen->ll;
    bool packed = is_packed(in), together = packed || in->cols == out->cols;
    unsigned step = together ? gen->target->lanes : 1, rest = (unsigned)(out->cols % step);
    LLVMValueRef base = packed ? from : unpack(ll, in, from);
    int64_t full = out->cols - rest;
    if (full) {
        struct bf_ll_loop loop;
        bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, full), step);
        LLVMValueRef at = together ? bf_ll_add(ll, base, loop.index)
                                   : unpack(ll, in, bf_ll_add(ll, from, loop.index));
        copy_one(gen, in, at, out, bf_ll_add(ll, to, loop.index), step);
        bf_ll_loop_end(ll, &loop);
    }
    if (rest) {
        base = bf_ll_add_int(ll, base, full);
        copy_one(gen, in, base, out, bf_ll_add_int(ll, to, full), rest);
    }
}

static void generate_copy(struct bf_gen *gen) {
    struct bf_ll *ll = gen->ll;
    struct bf_host_operand in = bf_gen_input_shape(gen, 0), out = bf_gen_output_shape(gen, 0);
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, gen->begin, gen->end, 1);
    LLVMValueRef sample = bf_ll_div_int(ll, loop.index, out.rows);
    LLVMValueRef row = bf_ll_rem_int(ll, loop.index, out.rows);
    bool shared = in.samples == 1 && elements(&in) != elements(&out); /* by every sample */
    bool strides = bf_ints_find(&gen->first->attrs, "inner", 0) > 0;
    bool some = bf_ints_find(&gen->first->attrs, "to_stride", 0) > 0;
    LLVMValueRef read = sample;
    if (some)
        read = bf_ll_rem_int(ll, sample, in.samples);
    else if (shared && !strides)
        read = bf_ll_int(ll, 0);
    LLVMValueRef from = source_of(gen, &out, read, row);
    LLVMValueRef to = bf_gen_offset(ll, &out, sample_written(gen, sample), row, bf_ll_int(ll, 0));
    copy_row(gen, &in, &out, from, to);
    bf_ll_loop_end(ll, &loop);
}

const struct bf_host_generator bf_gen_copy = {"copy", BF_KERNEL_COPY, choose_copy, generate_copy};

/* ---- transpose: square blocks through registers, the borders element by element ---- */

enum { BLOCK = 8 };

static bool choose_transpose(const struct bf_host_site *site, struct bf_host_choice *choice) {
    struct bf_host_operand in = bf_host_operand(site->poly, &site->kernels[0]->inputs.data[0]);
    choice->units = in.samples * (int64_t)bf_divide_up((uint64_t)in.rows, BLOCK);
    choice->grain = 1024 / in.cols > 1 ? 1024 / in.cols : 1;
    return true;
}

static void transpose_block(struct bf_gen *gen, LLVMValueRef from, LLVMValueRef to) {
    struct bf_ll *ll = gen->ll;
    struct bf_host_operand in = bf_gen_input_shape(gen, 0), out = bf_gen_output_shape(gen, 0);
    LLVMValueRef rows[BLOCK];
    for (int i = 0; i < BLOCK; i++) {
        LLVMValueRef at = bf_ll_add_int(ll, from, i * in.pitch);
        rows[i] = bf_ll_load_element(ll, in.element,
                                     bf_gen_element(ll, &in, bf_gen_input(gen, 0), at), BLOCK);
    }
    bf_ll_transpose(ll, rows, BLOCK);
    for (int i = 0; i < BLOCK; i++) {
        LLVMValueRef at = bf_ll_add_int(ll, to, i * out.pitch);
        bf_ll_store_element(ll, out.element, rows[i],
                            bf_gen_element(ll, &out, bf_gen_output(gen, 0), at));
    }
}

/* Rows [row, end) and columns [col, columns), one element at a time. */
static void transpose_border(struct bf_gen *gen, LLVMValueRef sample, LLVMValueRef row,
                             LLVMValueRef end, LLVMValueRef col) {
    struct bf_ll *ll = gen->ll;
    struct bf_host_operand in = bf_gen_input_shape(gen, 0), out = bf_gen_output_shape(gen, 0);
    struct bf_ll_loop rows, cols;
    bf_ll_loop_begin(ll, &rows, row, end, 1);
    bf_ll_loop_begin(ll, &cols, col, bf_ll_int(ll, in.cols), 1);
    LLVMValueRef from = bf_gen_offset(ll, &in, sample, rows.index, cols.index);
    LLVMValueRef to = bf_gen_offset(ll, &out, sample, cols.index, rows.index);
    copy_one(gen, &in, from, &out, to, 1);
    bf_ll_loop_end(ll, &cols);
    bf_ll_loop_end(ll, &rows);
}

static void generate_transpose(struct bf_gen *gen) {
    struct bf_ll *ll = gen->ll;
    struct bf_host_operand in = bf_gen_input_shape(gen, 0), out = bf_gen_output_shape(gen, 0);
    int64_t tiles = (int64_t)bf_divide_up((uint64_t)in.rows, BLOCK),
            whole = in.cols / BLOCK * BLOCK;
    struct bf_ll_loop loop, blocks;
    struct bf_ll_if branch;
    bf_ll_loop_begin(ll, &loop, gen->begin, gen->end, 1);
    LLVMValueRef sample = bf_ll_div_int(ll, loop.index, tiles);
    LLVMValueRef row = bf_ll_mul_int(ll, bf_ll_rem_int(ll, loop.index, tiles), BLOCK);
    LLVMValueRef end = bf_ll_min(ll, bf_ll_add_int(ll, row, BLOCK), bf_ll_int(ll, in.rows));
    LLVMValueRef last_whole = bf_ll_int(ll, in.rows - BLOCK + 1), zero = bf_ll_int(ll, 0);
    LLVMValueRef is_whole = bf_ll_less(ll, row, last_whole);
    bf_ll_if_begin(ll, &branch, is_whole);
    if (whole) {
        bf_ll_loop_begin(ll, &blocks, zero, bf_ll_int(ll, whole), BLOCK);
        LLVMValueRef from = bf_gen_offset(ll, &in, sample, row, blocks.index);
        transpose_block(gen, from, bf_gen_offset(ll, &out, sample, blocks.index, row));
        bf_ll_loop_end(ll, &blocks);
    }
    transpose_border(gen, sample, row, end, bf_ll_int(ll, whole));
    bf_ll_if_end(ll, &branch);
    bf_ll_if_begin(ll, &branch, LLVMBuildNot(ll->builder, is_whole, ""));
    transpose_border(gen, sample, row, end, zero);
    bf_ll_if_end(ll, &branch);
    bf_ll_loop_end(ll, &loop);
}

const struct bf_host_generator bf_gen_transpose = {"transpose", BF_KERNEL_TRANSPOSE,
                                                   choose_transpose, generate_transpose};
