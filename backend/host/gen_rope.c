/* gen_rope.c - pointwise kernels over pairs of columns, counted by head: a unit is a row.
 *
 *     for each row: for each head g: for each pair c: outputs at g x head + c x step
 *
 * Operands no wider than a head are the same for all of them. Pairs that are next to each other are
 * vectors, interleaved ones single elements.
 */
#include "backend/host/gen.h"

enum { MOST_OPERANDS = 8 };

struct rope {
    struct bf_gen *gen;
    struct bf_ll *ll;
    int64_t rows, heads, head, step;
    struct bf_host_operand shapes[MOST_OPERANDS]; /* outputs, inputs */
    LLVMValueRef row_of[MOST_OPERANDS];
    LLVMValueRef group, pair;
};

static bool choose(const struct bf_host_site *site, struct bf_host_choice *choice) {
    const struct bf_poly_kernel *kernel = site->kernels[0];
    size_t operands = kernel->inputs.count + kernel->outputs.count;
    if (!bf_ints_find(&kernel->attrs, "head", 0) || operands > MOST_OPERANDS)
        return false;
    int64_t cols = kernel->outputs.data[0].cols;
    choice->units = kernel->digits.data[0].radix * kernel->digits.data[1].radix;
    choice->unit_rows = bf_host_operand(site->poly, &kernel->outputs.data[0]).linear;
    choice->grain = 8192 / cols > 1 ? 8192 / cols : 1;
    bf_gen_vector_packs(kernel, choice);
    return true;
}

static LLVMValueRef place(struct rope *r, size_t operand) {
    struct bf_ll *ll = r->ll;
    const struct bf_host_operand *shape = &r->shapes[operand];
    LLVMValueRef at = bf_ll_mul_int(ll, r->pair, r->step);
    if (shape->cols > r->head)
        at = bf_ll_add(ll, at, bf_ll_mul_int(ll, r->group, r->head));
    return bf_gen_element(ll, shape, r->row_of[operand], at);
}

static LLVMValueRef leaf(void *user, const struct bf_expr *expr, unsigned count) {
    struct rope *r = user;
    size_t operand = r->gen->first->outputs.count + (size_t)expr->index;
    return bf_ll_load_element(r->ll, r->shapes[operand].element, place(r, operand), count);
}

static void compute(struct rope *r, unsigned count) {
    const struct bf_poly_kernel *kernel = r->gen->first;
    struct bf_gen_leaves leaves = {leaf, r};
    for (size_t i = 0; i < kernel->steps.count; i++) {
        const struct bf_step *step = &kernel->steps.data[i];
        LLVMValueRef value = bf_gen_expr(r->ll, step->expr, count, &leaves);
        size_t operand = (size_t)step->index;
        bf_ll_store_element(r->ll, r->shapes[operand].element, value, place(r, operand));
    }
}

static void compute_head(struct rope *r) {
    struct bf_ll *ll = r->ll;
    int64_t pairs = r->head / 2, lanes = r->step == 1 ? r->gen->target->lanes : 1;
    int64_t full = pairs / lanes * lanes;
    if (full) {
        struct bf_ll_loop loop;
        bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0), bf_ll_int(ll, full), lanes);
        r->pair = loop.index;
        compute(r, (unsigned)lanes);
        bf_ll_loop_end(ll, &loop);
    }
    if (pairs > full) {
        r->pair = bf_ll_int(ll, full);
        compute(r, (unsigned)(pairs - full));
    }
}

static void generate(struct bf_gen *gen) {
    const struct bf_poly_kernel *kernel = gen->first;
    struct bf_ll *ll = gen->ll;
    struct rope r = {.gen = gen,
                     .ll = ll,
                     .rows = kernel->digits.data[1].radix,
                     .heads = bf_ints_get(&kernel->attrs, "heads"),
                     .head = bf_ints_get(&kernel->attrs, "head"),
                     .step = bf_ints_get(&kernel->attrs, "step")};
    size_t outputs = kernel->outputs.count;
    struct bf_ll_loop rows, groups;
    bf_ll_loop_begin(ll, &rows, gen->begin, gen->end, 1);
    for (size_t i = 0; i < outputs + kernel->inputs.count; i++) {
        r.shapes[i] = i < outputs ? bf_gen_output_shape(gen, (unsigned)i)
                                  : bf_gen_input_shape(gen, (unsigned)(i - outputs));
        LLVMValueRef sample = bf_ll_div_int(ll, rows.index, r.rows);
        LLVMValueRef row = bf_ll_rem_int(ll, rows.index, r.rows);
        LLVMValueRef at = bf_gen_offset(ll, &r.shapes[i], sample, row, bf_ll_int(ll, 0));
        r.row_of[i] = bf_gen_element(ll, &r.shapes[i], gen->pointers[i], at);
    }
    bf_ll_loop_begin(ll, &groups, bf_ll_int(ll, 0), bf_ll_int(ll, r.heads), 1);
    r.group = groups.index;
    compute_head(&r);
    bf_ll_loop_end(ll, &groups);
    bf_ll_loop_end(ll, &rows);
}

const struct bf_host_generator bf_gen_rope = {"rope", BF_KERNEL_ROWS, choose, generate};
