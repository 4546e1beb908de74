/* arith.c - arithmetic on what is known when compiling: checked 64-bit integers, doubles, strings.
 * Only operations that IEEE 754 rounds correctly are used, so that a network never depends on the
 * machine it is compiled on. */
#include "frontend/sema.h"

#include <math.h>

static struct fe_value wrong(struct fe_sema *sema, struct fe_frame *frame,
                             const struct ast_expr *expr, const char *reason) {
    fe_wrong(sema, frame, expr->span, "%s", reason);
    return fe_broken();
}

/* C's rules: a quotient is cut towards zero, a remainder has the sign of the dividend. */
static struct fe_value on_integers(struct fe_sema *sema, struct fe_frame *frame,
                                   const struct ast_expr *expr, int64_t a, int64_t b) {
    int64_t result = 0;
    bool overflow = false;
    switch (expr->op) {
    case AST_ADD:
        overflow = __builtin_add_overflow(a, b, &result);
        break;
    case AST_SUBTRACT:
        overflow = __builtin_sub_overflow(a, b, &result);
        break;
    case AST_MULTIPLY:
        overflow = __builtin_mul_overflow(a, b, &result);
        break;
    case AST_DIVIDE:
    case AST_REMAINDER:
        if (b == 0)
            return wrong(sema, frame, expr, "division by zero");
        overflow = a == INT64_MIN && b == -1;
        if (!overflow)
            result = expr->op == AST_DIVIDE ? a / b : a % b;
        break;
    case AST_EQUAL:
        return fe_bool(a == b);
    case AST_UNEQUAL:
        return fe_bool(a != b);
    case AST_LESS:
        return fe_bool(a < b);
    case AST_LESS_EQUAL:
        return fe_bool(a <= b);
    case AST_GREATER:
        return fe_bool(a > b);
    default:
        return fe_bool(a >= b);
    }
    return overflow ? wrong(sema, frame, expr, "the result does not fit in 64 bits")
                    : fe_int(result);
}

static struct fe_value on_floats(struct fe_sema *sema, struct fe_frame *frame,
                                 const struct ast_expr *expr, double a, double b) {
    double result;
    switch (expr->op) {
    case AST_ADD:
        result = a + b;
        break;
    case AST_SUBTRACT:
        result = a - b;
        break;
    case AST_MULTIPLY:
        result = a * b;
        break;
    case AST_DIVIDE:
        if (b == 0)
            return wrong(sema, frame, expr, "division by zero");
        result = a / b;
        break;
    case AST_REMAINDER:
        return wrong(sema, frame, expr, "'%' works on integers");
    case AST_EQUAL:
        return fe_bool(a == b);
    case AST_UNEQUAL:
        return fe_bool(a != b);
    case AST_LESS:
        return fe_bool(a < b);
    case AST_LESS_EQUAL:
        return fe_bool(a <= b);
    case AST_GREATER:
        return fe_bool(a > b);
    default:
        return fe_bool(a >= b);
    }
    return isfinite(result) ? fe_float(result)
                            : wrong(sema, frame, expr, "the result is too large");
}

/* A string, or an integer beside one: "layer" + 3. */
static const char *as_text(struct fe_sema *sema, const struct fe_value *value) {
    return value->kind == FE_INT ? bf_arena_printf(&sema->arena, "%lld", (long long)value->i)
                                 : value->s;
}

static struct fe_value on_strings(struct fe_sema *sema, struct fe_frame *frame,
                                  const struct ast_expr *expr, const struct fe_value *left,
                                  const struct fe_value *right) {
    const char *a = as_text(sema, left), *b = as_text(sema, right);
    if (strlen(a) + strlen(b) > FE_MAX_STRING)
        return wrong(sema, frame, expr, "the string is too long");
    return fe_string(bf_arena_printf(&sema->arena, "%s%s", a, b));
}

static bool is_number(const struct fe_value *value) {
    return value->kind == FE_INT || value->kind == FE_FLOAT;
}

static double as_double(const struct fe_value *value) {
    return value->kind == FE_INT ? (double)value->i : value->f;
}

static bool equal(const struct fe_value *a, const struct fe_value *b) {
    if (is_number(a) && is_number(b))
        return a->kind == FE_INT && b->kind == FE_INT ? a->i == b->i : as_double(a) == as_double(b);
    if (a->kind != b->kind)
        return false;
    if (a->kind == FE_STRING)
        return !strcmp(a->s, b->s);
    if (a->kind != FE_LIST)
        return a->kind != FE_BOOL || a->b == b->b;
    for (size_t i = 0; a->list.count == b->list.count && i < a->list.count; i++)
        if (!equal(&a->list.items[i], &b->list.items[i]))
            return false;
    return a->list.count == b->list.count;
}

struct fe_value fe_arithmetic(struct fe_sema *sema, struct fe_frame *frame,
                              const struct ast_expr *expr, struct fe_value left,
                              struct fe_value right) {
    if (left.kind == FE_INT && right.kind == FE_INT)
        return on_integers(sema, frame, expr, left.i, right.i);
    if (is_number(&left) && is_number(&right))
        return on_floats(sema, frame, expr, as_double(&left), as_double(&right));
    bool text = left.kind == FE_STRING || right.kind == FE_STRING;
    if (text && expr->op == AST_ADD && (left.kind == FE_STRING || left.kind == FE_INT) &&
        (right.kind == FE_STRING || right.kind == FE_INT))
        return on_strings(sema, frame, expr, &left, &right);
    if (left.kind == right.kind && (expr->op == AST_EQUAL || expr->op == AST_UNEQUAL))
        return fe_bool(equal(&left, &right) == (expr->op == AST_EQUAL));
    fe_wrong(sema, frame, expr->span, "'%s' does not go with %s and %s",
             ast_operator_text(expr->op), fe_describe(sema, &left), fe_describe(sema, &right));
    return fe_broken();
}

struct fe_value fe_negate(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *expr,
                          struct fe_value operand) {
    if (operand.kind == FE_FLOAT)
        return fe_float(-operand.f);
    if (operand.kind == FE_INT)
        return operand.i == INT64_MIN
                   ? wrong(sema, frame, expr, "the result does not fit in 64 bits")
                   : fe_int(-operand.i);
    fe_wrong(sema, frame, expr->span, "'-' does not go with %s", fe_describe(sema, &operand));
    return fe_broken();
}
