/* gen.h - what a generator of kernels works with.
 *
 *     plan --module.c--> for each function: bf_gen with a builder inside an empty function
 *                        --generator->generate--> its body
 *
 * A generator file gen_NAME.c defines one `const struct bf_host_generator bf_gen_NAME` (or several)
 * and is listed in generators.c, better ones before general ones. What its `choose` promises
 * (units, unit_rows, scratch, packs) is its contract with the plan; see ir/host.h.
 */
#ifndef BF_HOST_GEN_H
#define BF_HOST_GEN_H

#include "backend/host/ll.h"

struct bf_gen {
    struct bf_ll *ll;
    const struct bf_poly *poly;
    const struct bf_host_target *target;
    const struct bf_host_function *function;
    const struct bf_poly_kernel *first,
        *last; /* kernels that the function covers: one, or a pair */
    const struct bf_host_choice *choice;
    LLVMValueRef self;                /* the function */
    LLVMValueRef scratch, begin, end; /* its arguments; operands are loaded at the entry */
    LLVMValueRef *pointers;           /* in the order of the operands */
    struct bf_build_module *build;    /* for places of instructions (build.h) */
};

/* A chosen number: must exist. */
int64_t bf_gen_param(const struct bf_gen *gen, const char *name);
/* Pointers to the first element of operands, and their shapes. Output 0 is the epilogue's where
 * there is one: equal to last->outputs[0] in shape, not in pitch. */
LLVMValueRef bf_gen_output(const struct bf_gen *gen, unsigned index);
LLVMValueRef bf_gen_input(const struct bf_gen *gen, unsigned index);
LLVMValueRef bf_gen_pack(const struct bf_gen *gen, unsigned index);
struct bf_host_operand bf_gen_output_shape(const struct bf_gen *gen, unsigned index);
struct bf_host_operand bf_gen_input_shape(const struct bf_gen *gen, unsigned index);

/* What results must be multiplied by, because of the exponents of buffers: a power of two, 1 nearly
 * always. */
double bf_gen_scale(const struct bf_gen *gen);

/* Offset, in elements, of an element of an operand; an axis of extent 1 is broadcast. */
LLVMValueRef bf_gen_offset(struct bf_ll *ll, const struct bf_host_operand *shape,
                           LLVMValueRef sample, LLVMValueRef row, LLVMValueRef col);
/* Address of the element, and `count` elements from there on along the columns as floats (the one
 * element in all lanes if there is one column). */
LLVMValueRef bf_gen_element(struct bf_ll *ll, const struct bf_host_operand *shape,
                            LLVMValueRef pointer, LLVMValueRef offset);
LLVMValueRef bf_gen_load(struct bf_ll *ll, const struct bf_host_operand *shape,
                         LLVMValueRef pointer, LLVMValueRef offset, unsigned count);

/* A pack of each parameter of the kernel, a vector of floats (bias, gamma, beta); and its elements
 * at columns [col, col + count). */
void bf_gen_vector_packs(const struct bf_poly_kernel *kernel, struct bf_host_choice *choice);
LLVMValueRef bf_gen_vector(struct bf_ll *ll, const struct bf_kernel_param *param,
                           LLVMValueRef pointer, LLVMValueRef col, unsigned count);

/* The value to store in output 0 instead of `value`: columns [col, col + lanes) of row `row` (of
 * all samples' rows: sample x rows + row). The identity where nothing was fused. */
LLVMValueRef bf_gen_epilogue(struct bf_gen *gen, LLVMValueRef value, LLVMValueRef row,
                             LLVMValueRef col);

/* ---- functions of one argument, on f32 vectors (gen_math.c); errors are relative unless said ----
 */

LLVMValueRef bf_gen_exp2(struct bf_ll *ll, LLVMValueRef x);  /* 0 below -126, inf above 128 */
LLVMValueRef bf_gen_rcp(struct bf_ll *ll, LLVMValueRef x);   /* 1 / x, rounded correctly */
LLVMValueRef bf_gen_rsqrt(struct bf_ll *ll, LLVMValueRef x); /* 1 / sqrt(x) */
LLVMValueRef bf_gen_gelu(struct bf_ll *ll, LLVMValueRef x);  /* erf form */
LLVMValueRef bf_gen_gelu_tanh(struct bf_ll *ll, LLVMValueRef x);
LLVMValueRef bf_gen_silu(struct bf_ll *ll, LLVMValueRef x);
LLVMValueRef bf_gen_tanh(struct bf_ll *ll, LLVMValueRef x);
LLVMValueRef bf_gen_sigmoid(struct bf_ll *ll, LLVMValueRef x);

/* ---- expressions (gen_expr.c) ---- */

/* Values of leaves: ARG, PARAM and ROW nodes; CONST and what is computed is done here. */
struct bf_gen_leaves {
    LLVMValueRef (*leaf)(void *user, const struct bf_expr *leaf, unsigned count);
    void *user;
};
/* The expression on `count` lanes. Equal subtrees that are one node are computed once. */
LLVMValueRef bf_gen_expr(struct bf_ll *ll, const struct bf_expr *expr, unsigned count,
                         const struct bf_gen_leaves *leaves);

/* ---- generators ---- */

/* NULL-terminated; for one kind, the first that chooses a site gets it. */
extern const struct bf_host_generator *const bf_host_generators[];

#endif
