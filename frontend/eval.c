/* eval.c - expressions. */
#include "frontend/sema.h"

#include <stdlib.h>

const char *fe_describe(struct fe_sema *sema, const struct fe_value *value) {
    switch (value->kind) {
    case FE_BROKEN:
        return "an error";
    case FE_INT:
        return bf_arena_printf(&sema->arena, "the integer %lld", (long long)value->i);
    case FE_FLOAT:
        return bf_arena_printf(&sema->arena, "the number %g", value->f);
    case FE_BOOL:
        return value->b ? "true" : "false";
    case FE_STRING:
        return bf_arena_printf(&sema->arena, "the string \"%.40s\"", value->s);
    case FE_LIST:
        return "a list";
    case FE_ABSENT:
        return "none";
    case FE_TENSOR:
        return bf_arena_printf(&sema->arena, "a tensor %s",
                               bf_type_text(&sema->arena, &value->tensor->type));
    case FE_TUPLE:
        return bf_arena_printf(&sema->arena, "%zu values", value->list.count);
    case FE_VOID:
        return "nothing";
    }
    return "";
}

struct fe_value fe_list_of(struct fe_sema *sema, enum fe_kind kind, const struct fe_value *items,
                           size_t count) {
    struct fe_value *copy = bf_arena_alloc(&sema->arena, count * sizeof *copy + 1);
    if (count)
        memcpy(copy, items, count * sizeof *copy);
    return (struct fe_value){.kind = kind, .list = {copy, count}};
}

bool fe_step(struct fe_sema *sema, struct ast_span span) {
    if (sema->stopped || sema->report.diags->stopped)
        return false;
    if (++sema->steps > FE_MAX_STEPS)
        fe_error(&sema->report, span, "compiling this network takes more than %d steps",
                 FE_MAX_STEPS);
    else if (sema->depth > FE_MAX_DEPTH)
        fe_error(&sema->report, span, "blocks and expressions are nested deeper than %d levels",
                 FE_MAX_DEPTH);
    else
        return true;
    sema->stopped = true;
    return false;
}

/* ---- names ---- */

static struct fe_value global_constant(struct fe_sema *sema, struct fe_constant *constant,
                                       struct ast_span span) {
    if (constant->state == FE_RUNNING) {
        fe_error(&sema->report, span, "the value of '%s' depends on itself",
                 constant->decl->name.text);
        return fe_broken();
    }
    if (constant->state == FE_DONE)
        return constant->value;
    constant->state = FE_RUNNING;
    constant->value = fe_eval_one(sema, NULL, constant->decl->value);
    constant->state = FE_DONE;
    return constant->value;
}

static struct fe_value eval_name(struct fe_sema *sema, struct fe_frame *frame,
                                 const struct ast_expr *expr) {
    const struct fe_binding *binding = fe_find(frame, expr->text);
    if (binding && binding->bound)
        return binding->value;
    struct fe_constant *constant = fe_find_constant(sema, expr->text);
    if (constant)
        return global_constant(sema, constant, expr->span);
    if (!strcmp(expr->text, "none"))
        return (struct fe_value){.kind = FE_ABSENT};
    fe_wrong(sema, frame, expr->span,
             binding ? "'%s' has a value only inside its loop"
                     : "'%s' has no value here: nothing on the way assigned it",
             expr->text);
    return fe_broken();
}

bool fe_is_bare(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *expr) {
    return expr->kind == AST_NAME && !fe_find(frame, expr->text) &&
           !fe_find_constant(sema, expr->text);
}

/* ---- operators ---- */

bool fe_truth(const struct fe_value *value, bool *truth) {
    if (value->kind != FE_BOOL && value->kind != FE_INT)
        return false;
    *truth = value->kind == FE_BOOL ? value->b : value->i != 0;
    return true;
}

bool fe_eval_condition(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *expr,
                       bool *truth) {
    struct fe_value value = fe_eval_one(sema, frame, expr);
    if (value.kind == FE_BROKEN)
        return false;
    if (fe_truth(&value, truth))
        return true;
    fe_wrong(sema, frame, expr->span, "a condition is true, false or an integer, not %s%s",
             fe_describe(sema, &value),
             value.kind == FE_TENSOR   ? ", which is known only when the network runs"
             : value.kind == FE_ABSENT ? "; compare with '== none'"
                                       : "");
    return false;
}

static struct fe_value eval_logical(struct fe_sema *sema, struct fe_frame *frame,
                                    const struct ast_expr *expr) {
    bool left, right;
    if (!fe_eval_condition(sema, frame, expr->left, &left))
        return fe_broken();
    if (left == (expr->op == AST_OR))
        return fe_bool(left);
    if (!fe_eval_condition(sema, frame, expr->right, &right))
        return fe_broken();
    return fe_bool(right);
}

static struct fe_value eval_binary(struct fe_sema *sema, struct fe_frame *frame,
                                   const struct ast_expr *expr) {
    if (expr->op == AST_OR || expr->op == AST_AND)
        return eval_logical(sema, frame, expr);
    struct fe_value left = fe_eval_one(sema, frame, expr->left);
    struct fe_value right = fe_eval_one(sema, frame, expr->right);
    if (left.kind == FE_BROKEN || right.kind == FE_BROKEN)
        return fe_broken();
    bool compares = expr->op == AST_EQUAL || expr->op == AST_UNEQUAL;
    if (compares && (left.kind == FE_ABSENT || right.kind == FE_ABSENT))
        return fe_bool((left.kind == right.kind) == (expr->op == AST_EQUAL));
    if (left.kind == FE_TENSOR || right.kind == FE_TENSOR)
        return fe_tensor_arithmetic(sema, frame, expr, left, right);
    return fe_arithmetic(sema, frame, expr, left, right);
}

static struct fe_value eval_unary(struct fe_sema *sema, struct fe_frame *frame,
                                  const struct ast_expr *expr) {
    bool truth;
    if (expr->op == AST_NOT)
        return fe_eval_condition(sema, frame, expr->left, &truth) ? fe_bool(!truth) : fe_broken();
    struct fe_value value = fe_eval_one(sema, frame, expr->left);
    if (value.kind == FE_BROKEN)
        return value;
    if (value.kind != FE_TENSOR)
        return fe_negate(sema, frame, expr, value);
    struct bf_attrs attrs = {0};
    bf_attrs_set_float(&attrs, BF_OP_SCALE, "by", -1);
    return fe_append(sema, frame, BF_OP_SCALE, &value.tensor, 1, &attrs, NULL, expr->span);
}

static struct fe_value eval_list(struct fe_sema *sema, struct fe_frame *frame,
                                 const struct ast_expr *expr) {
    struct {
        struct fe_value *data;
        size_t count, capacity;
    } items = {0};
    bool broken = false;
    for (const struct ast_item *item = expr->items; item; item = item->next) {
        struct fe_value value = fe_eval_one(sema, frame, item->value);
        if (value.kind == FE_TENSOR)
            fe_wrong(sema, frame, item->value->span, "a list holds numbers and strings, not %s",
                     fe_describe(sema, &value));
        broken |= value.kind == FE_BROKEN || value.kind == FE_TENSOR;
        *bf_push(&items) = value;
    }
    struct fe_value list =
        broken ? fe_broken() : fe_list_of(sema, FE_LIST, items.data, items.count);
    free(items.data);
    return list;
}

static struct fe_value eval_kind(struct fe_sema *sema, struct fe_frame *frame,
                                 const struct ast_expr *expr) {
    switch (expr->kind) {
    case AST_INT:
        return fe_int(expr->integer);
    case AST_FLOAT:
        return fe_float(expr->real);
    case AST_BOOL:
        return fe_bool(expr->integer);
    case AST_STRING:
        return fe_string(expr->text);
    case AST_NAME:
        return eval_name(sema, frame, expr);
    case AST_LIST:
        return eval_list(sema, frame, expr);
    case AST_UNARY:
        return eval_unary(sema, frame, expr);
    case AST_BINARY:
        return eval_binary(sema, frame, expr);
    case AST_CALL:
        return fe_call(sema, frame, expr, NULL);
    case AST_INDEX:
        return fe_eval_index(sema, frame, expr);
    case AST_LABELLED:
        return fe_call_labelled(sema, frame, expr);
    case AST_BAD:
        break;
    }
    return fe_broken();
}

struct fe_value fe_eval(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *expr) {
    if (!fe_step(sema, expr->span))
        return fe_broken();
    sema->depth++;
    struct fe_value value = eval_kind(sema, frame, expr);
    sema->depth--;
    return value;
}

struct fe_value fe_eval_one(struct fe_sema *sema, struct fe_frame *frame,
                            const struct ast_expr *expr) {
    struct fe_value value = fe_eval(sema, frame, expr);
    if (value.kind == FE_TUPLE)
        fe_wrong(sema, frame, expr->span,
                 "this block returns %zu values; take them with (a, b) = ...", value.list.count);
    else if (value.kind == FE_VOID)
        fe_wrong(sema, frame, expr->span, "this has no value");
    else
        return value;
    return fe_broken();
}

bool fe_eval_int(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *expr,
                 const char *what, int64_t *value) {
    struct fe_value result = fe_eval_one(sema, frame, expr);
    if (result.kind == FE_INT) {
        *value = result.i;
        return true;
    }
    if (result.kind != FE_BROKEN)
        fe_wrong(sema, frame, expr->span, "%s is an integer, not %s", what,
                 fe_describe(sema, &result));
    return false;
}
