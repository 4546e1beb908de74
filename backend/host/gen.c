/* gen.c - what every generator uses: operands, addresses, epilogues. See gen.h. */
#include "backend/host/gen.h"

#include "backend/host/build.h"
#include "ir/recipe.h"

int64_t bf_gen_param(const struct bf_gen *gen, const char *name) {
    return bf_ints_get(&gen->choice->params, name);
}

/* ---- operands: outputs, inputs, packs, inputs of the epilogue ---- */

static const struct bf_poly_kernel *writer(const struct bf_gen *gen) {
    return gen->function->epilogue ? gen->function->epilogue->kernel : gen->last;
}

LLVMValueRef bf_gen_output(const struct bf_gen *gen, unsigned index) {
    return gen->pointers[index];
}
LLVMValueRef bf_gen_input(const struct bf_gen *gen, unsigned index) {
    return gen->pointers[writer(gen)->outputs.count + index];
}
LLVMValueRef bf_gen_pack(const struct bf_gen *gen, unsigned index) {
    return gen->pointers[writer(gen)->outputs.count + gen->first->inputs.count + index];
}

struct bf_host_operand bf_gen_output_shape(const struct bf_gen *gen, unsigned index) {
    return bf_host_operand(gen->poly, &writer(gen)->outputs.data[index]);
}
struct bf_host_operand bf_gen_input_shape(const struct bf_gen *gen, unsigned index) {
    return bf_host_operand(gen->poly, &gen->first->inputs.data[index]);
}

double bf_gen_scale(const struct bf_gen *gen) {
    return bf_power_of_two(gen->first->inputs.data[0].buffer->exponent -
                           gen->last->outputs.data[0].buffer->exponent);
}

/* ---- addresses ---- */

LLVMValueRef bf_gen_offset(struct bf_ll *ll, const struct bf_host_operand *shape,
                           LLVMValueRef sample, LLVMValueRef row, LLVMValueRef col) {
    LLVMValueRef at = shape->cols > 1 ? col : bf_ll_int(ll, 0);
    if (shape->rows > 1)
        at = bf_ll_add(ll, at, bf_ll_mul_int(ll, row, shape->pitch));
    if (shape->samples > 1)
        at = bf_ll_add(ll, at, bf_ll_mul_int(ll, sample, shape->stride));
    return at;
}

LLVMValueRef bf_gen_element(struct bf_ll *ll, const struct bf_host_operand *shape,
                            LLVMValueRef pointer, LLVMValueRef offset) {
    int64_t size = (int64_t)bf_host_element_size(shape->element);
    return bf_ll_at_byte(ll, pointer, bf_ll_mul_int(ll, offset, size));
}

LLVMValueRef bf_gen_load(struct bf_ll *ll, const struct bf_host_operand *shape,
                         LLVMValueRef pointer, LLVMValueRef offset, unsigned count) {
    LLVMValueRef at = bf_gen_element(ll, shape, pointer, offset);
    if (shape->cols > 1)
        return bf_ll_load_element(ll, shape->element, at, count);
    return bf_ll_splat(ll, bf_ll_load_element(ll, shape->element, at, 1), count);
}

/* ---- parameters of ROWS kernels: a vector along the columns, or one number ---- */

static int64_t view_elements(const struct bf_param_view *view) {
    int64_t elements = 1;
    for (unsigned a = 0; a < view->rank; a++)
        elements *= view->extent[a];
    return elements;
}

static void fill_vector(const struct bf_host_pack *pack, const struct bf_weights *values,
                        void *out) {
    const struct bf_param_view *view = &pack->kernel->params.data[pack->index].view;
    float *elements = out;
    for (int64_t i = 0; i < view_elements(view); i++)
        elements[i] = (float)bf_host_read(values, view, i);
}

void bf_gen_vector_packs(const struct bf_poly_kernel *kernel, struct bf_host_choice *choice) {
    for (size_t i = 0; i < kernel->params.count; i++)
        *bf_push(&choice->packs) = (struct bf_host_pack){
            .size = view_elements(&kernel->params.data[i].view) * 4,
            .fill = fill_vector,
            .index = (int)i,
        };
}

LLVMValueRef bf_gen_vector(struct bf_ll *ll, const struct bf_kernel_param *param,
                           LLVMValueRef pointer, LLVMValueRef col, unsigned count) {
    if (view_elements(&param->view) == 1)
        return bf_ll_load_splat(ll, pointer, count);
    return bf_ll_load(ll, bf_ll_at(ll, pointer, col), count, 4);
}

/* ---- epilogues ---- */

struct place {
    struct bf_gen *gen;
    LLVMValueRef value, sample, row, col;
};

/* Operands of the epilogue follow the packs: its inputs but the produced one, then its params. */
static LLVMValueRef epilogue_leaf(void *user, const struct bf_expr *leaf, unsigned count) {
    struct place *place = user;
    struct bf_gen *gen = place->gen;
    struct bf_ll *ll = gen->ll;
    const struct bf_host_epilogue *epilogue = gen->function->epilogue;
    const struct bf_poly_kernel *kernel = epilogue->kernel;
    unsigned base =
        (unsigned)(kernel->outputs.count + gen->first->inputs.count + gen->choice->packs.count);
    if (leaf->kind == BF_EXPR_PARAM) {
        unsigned at = base + (unsigned)kernel->inputs.count - 1 + (unsigned)leaf->index;
        return bf_gen_vector(ll, &kernel->params.data[leaf->index], gen->pointers[at], place->col,
                             count);
    }
    if (leaf->index == epilogue->input)
        return place->value;
    struct bf_host_operand shape = bf_host_operand(gen->poly, &kernel->inputs.data[leaf->index]);
    unsigned at = base + (unsigned)leaf->index - (leaf->index > epilogue->input);
    LLVMValueRef offset = bf_gen_offset(ll, &shape, place->sample, place->row, place->col);
    return bf_gen_load(ll, &shape, gen->pointers[at], offset, count);
}

LLVMValueRef bf_gen_epilogue(struct bf_gen *gen, LLVMValueRef value, LLVMValueRef row,
                             LLVMValueRef col) {
    const struct bf_host_epilogue *epilogue = gen->function->epilogue;
    if (!epilogue)
        return value;
    int64_t rows = gen->last->outputs.data[0].rows;
    LLVMValueRef sample = bf_ll_div_int(gen->ll, row, rows);
    row = bf_ll_rem_int(gen->ll, row, rows);
    struct place place = {gen, value, sample, row, col};
    struct bf_gen_leaves leaves = {epilogue_leaf, &place};
    bf_build_place(gen->build, gen->self, epilogue->kernel->loc);
    value = bf_gen_expr(gen->ll, epilogue->kernel->steps.data[0].expr, bf_ll_lanes(value), &leaves);
    bf_build_place(gen->build, gen->self, gen->function->loc);
    return value;
}
