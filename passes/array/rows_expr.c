/* rows_expr.c - from expressions to CAL instructions of one element, or of one row. */
#include "passes/array/rows_gen.h"

static int log2_up(double x) {
    int e = 0;
    for (x = x < 0 ? -x : x; x > 1; x /= 2)
        e++;
    for (; x > 0 && x <= 0.5; x *= 2)
        e--;
    return e;
}

/* |value| < 2^bound as far as it is known; what is not known is taken to be an fp16 number. So is
 * the product of two elements, but for the exponents they are stored with: a bound that a product
 * can't exceed would scale those that occur down to subnormal pieces. One that does exceed it
 * becomes infinite, which is counted. */
int bf_rows_bound(const struct bf_rows_gen *g, const struct bf_expr *e) {
    int a = e->a ? bf_rows_bound(g, e->a) : 0, b = e->b ? bf_rows_bound(g, e->b) : 0;
    switch (e->kind) {
    case BF_EXPR_CONST:
        return e->value == 0 ? 0 : log2_up(e->value);
    case BF_EXPR_ROW: {
        const struct bf_step *step = &g->kernel->steps.data[e->index];
        int terms = step->kind == BF_STEP_SUM ? log2_up((double)g->shape->n) : 0;
        return bf_rows_bound(g, step->expr) + terms;
    }
    case BF_EXPR_ADD:
    case BF_EXPR_SUB:
        return (a > b ? a : b) + 1;
    case BF_EXPR_MUL: {
        int factor = a > b ? a : b, most = factor > 16 ? factor : 16;
        bool scaled = e->a->kind == BF_EXPR_CONST || e->b->kind == BF_EXPR_CONST;
        return scaled || a + b < most ? a + b : most;
    }
    case BF_EXPR_MAX:
        return a > b ? a : b;
    case BF_EXPR_SHIFT:
        return a + e->index;
    case BF_EXPR_NEG:
    case BF_EXPR_ABS:
    case BF_EXPR_RELU:
    case BF_EXPR_GELU:
    case BF_EXPR_GELU_TANH:
    case BF_EXPR_SILU:
        return a;
    case BF_EXPR_TANH:
    case BF_EXPR_SIGMOID:
        return 0;
    case BF_EXPR_EXP2:
    case BF_EXPR_RCP:
    case BF_EXPR_RSQRT:
        return 15;
    default:
        return 16;
    }
}

static value input_value(struct bf_rows_gen *g, int input) {
    switch (bf_rows_class(g->shape, input)) {
    case BF_ROWS_FULL:
    case BF_ROWS_WORD:
        return at(BF_IN_INPUT, input);
    default:
        return at(BF_IN_VECTOR, bf_rows_vector(g->shape, input));
    }
}

int bf_rows_pair(struct bf_rows_gen *g, int step) {
    if (g->pair[step] < 0) {
        g->pair[step] = g->program->keep;
        g->program->keep += 2;
    }
    return g->pair[step];
}

value bf_rows_load_pair(struct bf_rows_gen *g, int pair, struct bf_rows_operand acc) {
    for (int half = 0; half < 2; half++) {
        struct bf_rows_ins *ins = bf_push(g->list);
        memset(ins, 0, sizeof *ins);
        ins->op = half ? BF_CAL_LDHI : BF_CAL_LDLO;
        ins->c = (struct bf_rows_operand){BF_IN_KEEP, pair + half};
        ins->acc = acc;
    }
    return at(acc.place, acc.index);
}

static value row_value(struct bf_rows_gen *g, int step) {
    if (g->row_level && g->live[step].at.place != BF_IN_NONE) {
        bf_rows_hold(g, g->live[step]);
        return g->live[step];
    }
    if (g->row_level)
        return bf_rows_load_pair(g, bf_rows_pair(g, step), bf_rows_new_temp(g, false).at);
    if (g->row_acc[step] < 0)
        g->row_acc[step] = g->pass->row_accs++;
    return at(BF_IN_ROW_ACC, g->row_acc[step]);
}

bool bf_rows_is_product(const struct bf_expr *e) {
    return e->kind == BF_EXPR_MUL || e->kind == BF_EXPR_SHIFT;
}

bool bf_rows_same_expr(const struct bf_expr *a, const struct bf_expr *b) {
    if (!a || !b || a == b)
        return a == b;
    return a->kind == b->kind && a->index == b->index && a->value == b->value &&
           bf_rows_same_expr(a->a, b->a) && bf_rows_same_expr(a->b, b->b) &&
           bf_rows_same_expr(a->c, b->c);
}

/* A MUL or SHIFT, plus c. A row scalar that only multiplies f32 values needs no accumulator. */
value bf_rows_generate_product(struct bf_rows_gen *g, const struct bf_expr *e, bool negative,
                               value c) {
    value a = bf_rows_generate(g, e->a), b;
    int bound = 16;
    if (e->kind == BF_EXPR_SHIFT) {
        double power = 1;
        for (int i = 0; i < e->index; i++)
            power *= 2;
        for (int i = 0; i > e->index; i--)
            power /= 2;
        b = bf_rows_number(power);
    } else if (bf_rows_same_expr(e->a, e->b)) {
        b = a;
        bf_rows_hold(g, b);
        bound = bf_rows_bound(g, e->b);
    } else if (e->b->kind == BF_EXPR_ROW && !g->row_level && !bf_rows_is_factor(a) &&
               !is_number(a)) {
        value r = bf_rows_times_row(g, a, e->b->index, negative);
        return c.at.place == BF_IN_NUMBER && !c.at.index ? r : bf_rows_add(g, r, c);
    } else {
        b = bf_rows_generate(g, e->b);
        bound = bf_rows_bound(g, e->b);
    }
    return bf_rows_product(g, negative ? bf_rows_negated(a) : a, b, c, bound);
}

/* a p + q of two parameters whose lanes share a word: one instruction. */
static bool is_scale_and_shift(const struct bf_rows_gen *g, const struct bf_expr *e) {
    const struct bf_expr *p = e->a->kind == BF_EXPR_MUL ? e->a->b : NULL, *q = e->b;
    return p && p->kind == BF_EXPR_PARAM && q->kind == BF_EXPR_PARAM &&
           bf_rows_interleave(g->shape, g->lanes) > 1 && bf_rows_vector_moves(g->shape, p->index) &&
           bf_rows_vector_moves(g->shape, q->index);
}

static value generate_sum(struct bf_rows_gen *g, const struct bf_expr *e) {
    bool minus = e->kind == BF_EXPR_SUB;
    if (is_scale_and_shift(g, e)) {
        value a = bf_rows_as_addend(g, bf_rows_generate(g, e->a->a), false),
              q = at(BF_IN_VECTOR, e->b->index);
        q.negative = minus;
        return bf_rows_plain_fma(g, a, at(BF_IN_VECTOR, e->a->b->index), q);
    }
    if (bf_rows_is_product(e->a)) {
        value c = bf_rows_as_addend(g, bf_rows_generate(g, e->b), true);
        return bf_rows_generate_product(g, e->a, false, minus ? bf_rows_negated(c) : c);
    }
    if (bf_rows_is_product(e->b)) {
        value c = bf_rows_as_addend(g, bf_rows_generate(g, e->a), true);
        return bf_rows_generate_product(g, e->b, minus, c);
    }
    value a = bf_rows_generate(g, e->a), b = bf_rows_generate(g, e->b);
    if (is_number(a))
        return bf_rows_add(g, minus ? bf_rows_negated(b) : b, a);
    return bf_rows_add(g, a, minus ? bf_rows_negated(b) : b);
}

static value generate_select(struct bf_rows_gen *g, const struct bf_expr *e) {
    value c = bf_rows_as_addend(g, bf_rows_generate(g, e->a), true);
    value a = bf_rows_as_addend(g, bf_rows_generate(g, e->b), false), b = bf_rows_generate(g, e->c);
    if (!bf_rows_is_factor(b))
        b = bf_rows_op(g, BF_CAL_FMA, bf_rows_as_addend(g, b, false), at(BF_IN_NUMBER, BF_B_ONE),
                       bf_rows_zero(), true);
    b = bf_rows_as_factor(g, b);
    if (b.negative) { /* SEL does not change the sign of B */
        b = bf_rows_op(g, BF_CAL_FMA, b, at(BF_IN_NUMBER, BF_B_ONE), bf_rows_zero(), true);
    }
    struct bf_rows_value r = bf_rows_op(g, BF_CAL_SEL, a, b, c, false);
    return r;
}

static value special(struct bf_rows_gen *g, enum bf_cal_op op, const struct bf_expr *a) {
    return bf_rows_op(g, op, bf_rows_as_addend(g, bf_rows_generate(g, a), false), nothing(),
                      nothing(), false);
}

value bf_rows_generate(struct bf_rows_gen *g, const struct bf_expr *e) {
    switch (e->kind) {
    case BF_EXPR_ARG:
        return input_value(g, e->index);
    case BF_EXPR_PARAM:
        return at(BF_IN_VECTOR, e->index);
    case BF_EXPR_ROW:
        return row_value(g, e->index);
    case BF_EXPR_CONST:
        return bf_rows_number(e->value);
    case BF_EXPR_ADD:
    case BF_EXPR_SUB:
        return generate_sum(g, e);
    case BF_EXPR_MUL:
    case BF_EXPR_SHIFT:
        return bf_rows_generate_product(g, e, false, bf_rows_zero());
    case BF_EXPR_NEG:
        return bf_rows_negated(bf_rows_generate(g, e->a));
    case BF_EXPR_MAX: {
        value a = bf_rows_as_addend(g, bf_rows_generate(g, e->a), false);
        return bf_rows_op(g, BF_CAL_MAX, a, nothing(),
                          bf_rows_as_addend(g, bf_rows_generate(g, e->b), true), false);
    }
    case BF_EXPR_ABS: {
        value a = bf_rows_as_addend(g, bf_rows_generate(g, e->a), false);
        bf_rows_hold(g, a);
        return bf_rows_op(g, BF_CAL_MAX, a, nothing(), bf_rows_negated(a), false);
    }
    case BF_EXPR_EXP2:
        return special(g, BF_CAL_EXP2, e->a);
    case BF_EXPR_RCP:
        return special(g, BF_CAL_RCP, e->a);
    case BF_EXPR_RSQRT:
        return special(g, BF_CAL_RSQRT, e->a);
    case BF_EXPR_SELECT:
        return generate_select(g, e);
    default:
        return bf_rows_function(g, e->kind, bf_rows_as_addend(g, bf_rows_generate(g, e->a), false));
    }
}
