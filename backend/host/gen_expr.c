/* gen_expr.c - expression trees as vector instructions. See gen.h. */
#include "backend/host/gen.h"

#include <stdlib.h>

#include "ir/recipe.h"

/* Nodes that are done: a node may be reached on several ways. */
struct state {
    struct bf_ll *ll;
    unsigned count;
    const struct bf_gen_leaves *leaves;
    struct {
        struct done {
            const struct bf_expr *expr;
            LLVMValueRef value;
        } *data;
        size_t count, capacity;
    } done;
};

static LLVMValueRef evaluate(struct state *state, const struct bf_expr *expr);

/* a b + c in one instruction, where a sum has a product. */
static LLVMValueRef sum(struct state *state, const struct bf_expr *expr) {
    const struct bf_expr *product = expr->a, *rest = expr->b;
    if (product->kind != BF_EXPR_MUL) {
        product = expr->b;
        rest = expr->a;
    }
    bool fused = product->kind == BF_EXPR_MUL;
    LLVMValueRef a = evaluate(state, fused ? product->a : expr->a);
    LLVMValueRef b = evaluate(state, fused ? product->b : expr->b);
    return fused ? bf_ll_fma(state->ll, a, b, evaluate(state, rest)) : bf_ll_fadd(state->ll, a, b);
}

static LLVMValueRef of_two(struct state *state, const struct bf_expr *expr) {
    struct bf_ll *ll = state->ll;
    LLVMValueRef a = evaluate(state, expr->a), b = evaluate(state, expr->b);
    switch (expr->kind) {
    case BF_EXPR_SUB:
        return bf_ll_fsub(ll, a, b);
    case BF_EXPR_MUL:
        return bf_ll_fmul(ll, a, b);
    case BF_EXPR_MAX:
        return bf_ll_fmax(ll, a, b);
    default:
        return bf_ll_select(ll, a, b, evaluate(state, expr->c));
    }
}

static LLVMValueRef of_one(struct state *state, const struct bf_expr *expr) {
    struct bf_ll *ll = state->ll;
    LLVMValueRef a = evaluate(state, expr->a);
    switch (expr->kind) {
    case BF_EXPR_NEG:
        return bf_ll_fneg(ll, a);
    case BF_EXPR_EXP2:
        return bf_gen_exp2(ll, a);
    case BF_EXPR_RCP:
        return bf_gen_rcp(ll, a);
    case BF_EXPR_RSQRT:
        return bf_gen_rsqrt(ll, a);
    case BF_EXPR_ABS:
        return bf_ll_fabs(ll, a);
    case BF_EXPR_SHIFT:
        return bf_ll_fmul(ll, a, bf_ll_const(ll, state->count, bf_power_of_two(expr->index)));
    case BF_EXPR_GELU:
        return bf_gen_gelu(ll, a);
    case BF_EXPR_GELU_TANH:
        return bf_gen_gelu_tanh(ll, a);
    case BF_EXPR_RELU:
        return bf_ll_fmax(ll, a, bf_ll_const(ll, state->count, 0));
    case BF_EXPR_SILU:
        return bf_gen_silu(ll, a);
    case BF_EXPR_TANH:
        return bf_gen_tanh(ll, a);
    default:
        return bf_gen_sigmoid(ll, a);
    }
}

static LLVMValueRef compute(struct state *state, const struct bf_expr *expr) {
    switch (expr->kind) {
    case BF_EXPR_ARG:
    case BF_EXPR_PARAM:
    case BF_EXPR_ROW:
        return state->leaves->leaf(state->leaves->user, expr, state->count);
    case BF_EXPR_CONST:
        return bf_ll_const(state->ll, state->count, expr->value);
    case BF_EXPR_ADD:
        return sum(state, expr);
    case BF_EXPR_SUB:
    case BF_EXPR_MUL:
    case BF_EXPR_MAX:
    case BF_EXPR_SELECT:
        return of_two(state, expr);
    default:
        return of_one(state, expr);
    }
}

static LLVMValueRef evaluate(struct state *state, const struct bf_expr *expr) {
    for (size_t i = 0; i < state->done.count; i++)
        if (state->done.data[i].expr == expr)
            return state->done.data[i].value;
    LLVMValueRef value = compute(state, expr);
    *bf_push(&state->done) = (struct done){expr, value};
    return value;
}

LLVMValueRef bf_gen_expr(struct bf_ll *ll, const struct bf_expr *expr, unsigned count,
                         const struct bf_gen_leaves *leaves) {
    struct state state = {.ll = ll, .count = count, .leaves = leaves};
    LLVMValueRef value = evaluate(&state, expr);
    free(state.done.data);
    return value;
}
