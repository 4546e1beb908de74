/* rows_expr.c - from expressions to CAL instructions of one element and of one row.
 *
 * Values are f32 in accumulators or fp16 in RAM words and weight lanes, which widen exactly. An FMA
 * wants one factor of 11 bits, so that a product of two f32 values takes one factor in two fp16
 * pieces; so do constants that are no fp16 numbers:
 *
 *     a x b = a x hi + a x lo,   hi = fp16(b), lo = fp16(b - hi)
 *
 * A row scalar is scaled by a power of two near its own first, so that no piece is subnormal; it is
 * found from the exponent field of the scalar, as round(bits x 2^-23 - 127). Elements have no such
 * scale: they are scaled by what is known of their range when compiling.
 */
#include <stdlib.h>

#include "ir/isa/fp.h"
#include "passes/array/rows.h"

typedef struct bf_rows_value value;

struct bf_rows_gen {
    const struct bf_rows_shape *shape;
    const struct bf_poly_kernel *kernel;
    struct bf_rows_program *program;
    struct bf_rows_pass *pass;
    struct bf_rows_list *list;
    int64_t lanes;            /* of a word */
    bool row_level;           /* code of finish: once a row */
    int acc_holds[16], word_holds[16];
    int acc_peak, word_peak;
    int row_acc[BF_ROWS_STEPS];  /* accumulator of a step's scalar in this pass, -1 */
    int pair[BF_ROWS_STEPS];     /* keep words: raw low and high half, -1 */
    int factor[BF_ROWS_STEPS];   /* keep words: hi, lo, exponent, -1 */
    int part[BF_ROWS_STEPS];     /* number of the reduction in its pass */
    int ready[BF_ROWS_STEPS];    /* pass at whose end the step is known */
    int scale[BF_ROWS_STEPS];    /* partial results are the step's times 2^-scale */
};

/* ---- values ---- */

value bf_rows_number(double number) {
    return (value){{BF_IN_NONE, 0}, false, number};
}

static value at(enum bf_rows_place place, int index) {
    return (value){{place, index}, false, 0};
}

static bool is_number(value v) {
    return v.at.place == BF_IN_NONE;
}

value bf_rows_negated(value v) {
    if (is_number(v))
        v.number = -v.number;
    else
        v.negative = !v.negative;
    return v;
}

static bool is_half(double x) {
    return bf_half_to_double(bf_half_from_double(x)) == x;
}

static int *holds_of(struct bf_rows_gen *g, value v) {
    if (v.at.place == BF_IN_TEMP_ACC)
        return &g->acc_holds[v.at.index];
    return v.at.place == BF_IN_TEMP_WORD ? &g->word_holds[v.at.index] : NULL;
}

void bf_rows_hold(struct bf_rows_gen *g, value v) {
    int *holds = holds_of(g, v);
    if (holds)
        ++*holds;
}

void bf_rows_release(struct bf_rows_gen *g, value v) {
    int *holds = holds_of(g, v);
    if (holds)
        --*holds;
}

static value new_temp(struct bf_rows_gen *g, bool word) {
    int *holds = word ? g->word_holds : g->acc_holds, *peak = word ? &g->word_peak : &g->acc_peak;
    int i = 0;
    while (i < 15 && holds[i])
        i++;
    holds[i]++;
    if (i + 1 > *peak)
        *peak = i + 1;
    return at(word ? BF_IN_TEMP_WORD : BF_IN_TEMP_ACC, i);
}

/* ---- constants ---- */

static int pool(uint16_t *bits, int *count, int most, double number) {
    uint16_t half = bf_half_from_double(number);
    for (int i = 0; i < *count; i++)
        if (bits[i] == half)
            return i;
    if (*count == most)
        return 0; /* compile reports it: the count stays at the limit */
    bits[*count] = half;
    return (*count)++;
}

value bf_rows_constant(struct bf_rows_gen *g, double number) {
    return at(BF_IN_CONSTANT,
              pool(g->program->word, &g->program->words, BF_ROWS_WORDS, number));
}

/* A constant as factor B, rounded to fp16. */
static value constant_factor(struct bf_rows_gen *g, double number) {
    static const double builtin[] = {[BF_B_ZERO] = 0, [BF_B_ONE] = 1, [BF_B_TWO] = 2,
                                     [BF_B_HALF] = 0.5};
    for (int i = 0; i < 4; i++)
        if (number == builtin[i] && (number != 0 || i == BF_B_ZERO))
            return at(BF_IN_NUMBER, i);
    return at(BF_IN_LANE, pool(g->program->lane, &g->program->lanes, BF_ROWS_LANES, number));
}

value bf_rows_zero(void) {
    return at(BF_IN_NUMBER, 0);
}

/* ---- instructions ---- */

value bf_rows_op(struct bf_rows_gen *g, enum bf_cal_op op, value a, value b, value c, bool word) {
    struct bf_rows_ins *ins = bf_push(g->list);
    memset(ins, 0, sizeof *ins);
    ins->op = op;
    ins->a = a.at;
    ins->b = b.at;
    ins->c = c.at;
    ins->negate_product = a.negative ^ b.negative;
    ins->negate_addend = c.negative;
    bf_rows_release(g, a);
    bf_rows_release(g, b);
    bf_rows_release(g, c);
    value result = new_temp(g, word);
    *(word ? &ins->word : &ins->acc) = result.at;
    return result;
}

static value nothing(void) {
    return bf_rows_number(0);
}

/* In a RAM word or an accumulator, as operand A or C. */
static value as_addend(struct bf_rows_gen *g, value v, bool may_be_special) {
    if (v.at.place == BF_IN_LANE || v.at.place == BF_IN_VECTOR)
        return bf_rows_op(g, BF_CAL_FMA, bf_rows_constant(g, 1), v, bf_rows_zero(), false);
    if (!is_number(v))
        return v;
    if (may_be_special && (v.number == 0 || v.number == 1))
        return at(BF_IN_NUMBER, (int)v.number);
    if (is_half(v.number))
        return bf_rows_constant(g, v.number);
    return bf_rows_fma(g, bf_rows_constant(g, 1), v, bf_rows_zero());
}

static bool is_factor(value v) {
    switch (v.at.place) {
    case BF_IN_NONE:
        return is_half(v.number);
    case BF_IN_TEMP_ACC:
    case BF_IN_ROW_ACC:
    case BF_IN_PART:
        return false;
    default:
        return true;
    }
}

static value as_factor(struct bf_rows_gen *g, value v) {
    return is_number(v) ? constant_factor(g, v.number) : v;
}

static value plain_fma(struct bf_rows_gen *g, value a, value b, value c) {
    return bf_rows_op(g, BF_CAL_FMA, a, b, c, false);
}

static value add(struct bf_rows_gen *g, value a, value c) {
    if (is_number(c) && c.number == 0)
        return a;
    return plain_fma(g, as_addend(g, a, false), at(BF_IN_NUMBER, BF_B_ONE),
                     as_addend(g, c, true));
}

static value scaled(struct bf_rows_gen *g, value a, int by) {
    return by ? bf_rows_op(g, BF_CAL_LDEXP, a, nothing(), bf_rows_constant(g, by), false) : a;
}

/* a x (hi + lo) + c. */
static value two_pieces(struct bf_rows_gen *g, value a, value hi, value lo, value c) {
    bf_rows_hold(g, a);
    value r = plain_fma(g, a, hi, c);
    return plain_fma(g, a, lo, r);
}

/* a x number + c, where number is no fp16 number. */
static value times_number(struct bf_rows_gen *g, value a, double number, value c) {
    int e = 0;
    double m = number;
    while (m != 0 && e > -200 && e < 200 && (m >= 2 || m <= -2 || (m > -1 && m < 1))) {
        bool big = m >= 2 || m <= -2;
        m = big ? m / 2 : m * 2;
        e += big ? 1 : -1;
    }
    if (e >= -2 && e <= 10) { /* the second piece is exact enough as it is */
        m = number;
        e = 0;
    }
    double hi = bf_half_to_double(bf_half_from_double(m));
    value zero = bf_rows_zero();
    value r = two_pieces(g, a, constant_factor(g, hi), constant_factor(g, m - hi), e ? zero : c);
    return e ? add(g, scaled(g, r, e), c.at.place == BF_IN_NUMBER && !c.at.index ? nothing() : c)
             : r;
}

/* ---- products of two f32 values ---- */

/* Stores the pieces of m, an accumulator, in two words; releases m. */
static void split(struct bf_rows_gen *g, value m, value *hi, value *lo) {
    value one = at(BF_IN_NUMBER, BF_B_ONE);
    m = as_addend(g, m, false);
    bf_rows_hold(g, m);
    *hi = bf_rows_op(g, BF_CAL_FMA, m, one, bf_rows_zero(), true);
    bf_rows_hold(g, *hi);
    *lo = bf_rows_op(g, BF_CAL_FMA, m, one, bf_rows_negated(*hi), true);
}

/* A row scalar b as m x 2^e: the word of e, and m in an accumulator. */
static value normalised(struct bf_rows_gen *g, value b, value *exponent) {
    bf_rows_hold(g, b);
    bf_rows_hold(g, b);
    value size = bf_rows_op(g, BF_CAL_MAX, b, nothing(), bf_rows_negated(b), false);
    bf_rows_hold(g, b);
    size = bf_rows_op(g, BF_CAL_CVTF, size, nothing(), nothing(), false);
    *exponent = bf_rows_op(g, BF_CAL_FMA, size, constant_factor(g, 0x1p-23),
                           bf_rows_constant(g, -127), true);
    bf_rows_release(g, b);
    bf_rows_hold(g, *exponent);
    return bf_rows_op(g, BF_CAL_LDEXP, b, nothing(), bf_rows_negated(*exponent), false);
}

static value row_product(struct bf_rows_gen *g, value a, value b) {
    value exponent, hi, lo;
    split(g, normalised(g, as_addend(g, b, false), &exponent), &hi, &lo);
    value r = two_pieces(g, as_addend(g, a, false), hi, lo, bf_rows_zero());
    return bf_rows_op(g, BF_CAL_LDEXP, r, nothing(), exponent, false);
}

/* Both are elements; |b| < 2^bound. */
static value element_product(struct bf_rows_gen *g, value a, value b, int bound) {
    int scale = bound > 15 ? bound - 15 : 0;
    value hi, lo;
    if (scale)
        b = plain_fma(g, b, constant_factor(g, 1 / (double)(INT64_C(1) << scale)), bf_rows_zero());
    split(g, b, &hi, &lo);
    return scaled(g, two_pieces(g, a, hi, lo, bf_rows_zero()), scale);
}

/* a x the scalar of step `step`. */
static value times_row(struct bf_rows_gen *g, value a, int step, bool negative) {
    if (g->factor[step] < 0) {
        g->factor[step] = g->program->keep;
        g->program->keep += 3;
    }
    int k = g->factor[step];
    value hi = at(BF_IN_KEEP, k), lo = at(BF_IN_KEEP, k + 1);
    hi.negative = lo.negative = negative;
    value r = two_pieces(g, as_addend(g, a, false), hi, lo, bf_rows_zero());
    return bf_rows_op(g, BF_CAL_LDEXP, r, nothing(), at(BF_IN_KEEP, k + 2), false);
}

/* Which step's scalar an accumulator of the pass holds. */
static int step_of(const struct bf_rows_gen *g, value v) {
    for (int s = 0; s < BF_ROWS_STEPS; s++)
        if (g->row_acc[s] == v.at.index)
            return s;
    return -1;
}

static value product(struct bf_rows_gen *g, value a, value b, value c, int bound) {
    bool plain = c.at.place == BF_IN_NUMBER && !c.at.index;
    bool swapped = is_number(a) && !is_number(b);
    if (!swapped && !is_number(b) && !is_factor(b))
        swapped = is_factor(a) || a.at.place == BF_IN_ROW_ACC;
    if (swapped) {
        value swap = a;
        a = b;
        b = swap;
    }
    if (is_factor(b))
        return plain_fma(g, as_addend(g, a, false), as_factor(g, b), c);
    if (is_number(b))
        return times_number(g, as_addend(g, a, false), b.number, c);
    value r;
    if (b.at.place == BF_IN_ROW_ACC)
        r = times_row(g, a, step_of(g, b), b.negative);
    else if (g->row_level)
        r = row_product(g, a, b);
    else
        r = element_product(g, a, b, bound);
    return plain ? r : add(g, r, c);
}

value bf_rows_fma(struct bf_rows_gen *g, value a, value b, value c) {
    return product(g, a, b, as_addend(g, c, true), 16);
}

/* ---- expressions ---- */

static int log2_up(double x) {
    int e = 0;
    for (x = x < 0 ? -x : x; x > 1; x /= 2)
        e++;
    for (; x > 0 && x <= 0.5; x *= 2)
        e--;
    return e;
}

/* |value| < 2^bound as far as it is known; what is not known is taken to be an fp16 number. */
static int bound_of(const struct bf_rows_gen *g, const struct bf_expr *e) {
    int a = e->a ? bound_of(g, e->a) : 0, b = e->b ? bound_of(g, e->b) : 0;
    switch (e->kind) {
    case BF_EXPR_CONST:
        return e->value == 0 ? 0 : log2_up(e->value);
    case BF_EXPR_ROW: {
        const struct bf_step *step = &g->kernel->steps.data[e->index];
        int terms = step->kind == BF_STEP_SUM ? log2_up((double)g->shape->n) : 0;
        return bound_of(g, step->expr) + terms;
    }
    case BF_EXPR_ADD:
    case BF_EXPR_SUB:
        return (a > b ? a : b) + 1;
    case BF_EXPR_MUL:
        return a + b;
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

static value generate(struct bf_rows_gen *g, const struct bf_expr *e);

static value input_value(struct bf_rows_gen *g, int input) {
    switch (bf_rows_class(g->shape, input)) {
    case BF_ROWS_FULL:
    case BF_ROWS_WORD:
        return at(BF_IN_INPUT, input);
    default:
        return at(BF_IN_VECTOR, bf_rows_vector(g->shape, input));
    }
}

static int pair_of(struct bf_rows_gen *g, int step) {
    if (g->pair[step] < 0) {
        g->pair[step] = g->program->keep;
        g->program->keep += 2;
    }
    return g->pair[step];
}

static value load_pair(struct bf_rows_gen *g, int pair, struct bf_rows_operand acc) {
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
    if (g->row_level)
        return load_pair(g, pair_of(g, step), new_temp(g, false).at);
    if (g->row_acc[step] < 0)
        g->row_acc[step] = g->pass->row_accs++;
    return at(BF_IN_ROW_ACC, g->row_acc[step]);
}

static bool is_product(const struct bf_expr *e) {
    return e->kind == BF_EXPR_MUL || e->kind == BF_EXPR_SHIFT;
}

static bool same_expr(const struct bf_expr *a, const struct bf_expr *b) {
    if (!a || !b || a == b)
        return a == b;
    return a->kind == b->kind && a->index == b->index && a->value == b->value &&
           same_expr(a->a, b->a) && same_expr(a->b, b->b) && same_expr(a->c, b->c);
}

/* A MUL or SHIFT, plus c. A row scalar that only multiplies f32 values needs no accumulator. */
static value generate_product(struct bf_rows_gen *g, const struct bf_expr *e, bool negative,
                              value c) {
    value a = generate(g, e->a), b;
    int bound = 16;
    if (e->kind == BF_EXPR_SHIFT) {
        double power = 1;
        for (int i = 0; i < e->index; i++)
            power *= 2;
        for (int i = 0; i > e->index; i--)
            power /= 2;
        b = bf_rows_number(power);
    } else if (same_expr(e->a, e->b)) {
        b = a;
        bf_rows_hold(g, b);
        bound = bound_of(g, e->b);
    } else if (e->b->kind == BF_EXPR_ROW && !g->row_level && !is_factor(a) && !is_number(a)) {
        value r = times_row(g, a, e->b->index, negative);
        return c.at.place == BF_IN_NUMBER && !c.at.index ? r : add(g, r, c);
    } else {
        b = generate(g, e->b);
        bound = bound_of(g, e->b);
    }
    return product(g, negative ? bf_rows_negated(a) : a, b, c, bound);
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
        value a = as_addend(g, generate(g, e->a->a), false), q = at(BF_IN_VECTOR, e->b->index);
        q.negative = minus;
        return plain_fma(g, a, at(BF_IN_VECTOR, e->a->b->index), q);
    }
    if (is_product(e->a)) {
        value c = as_addend(g, generate(g, e->b), true);
        return generate_product(g, e->a, false, minus ? bf_rows_negated(c) : c);
    }
    if (is_product(e->b)) {
        value c = as_addend(g, generate(g, e->a), true);
        return generate_product(g, e->b, minus, c);
    }
    value a = generate(g, e->a), b = generate(g, e->b);
    if (is_number(a))
        return add(g, minus ? bf_rows_negated(b) : b, a);
    return add(g, a, minus ? bf_rows_negated(b) : b);
}

static value generate_select(struct bf_rows_gen *g, const struct bf_expr *e) {
    value c = as_addend(g, generate(g, e->a), true);
    value a = as_addend(g, generate(g, e->b), false), b = generate(g, e->c);
    if (!is_factor(b))
        b = bf_rows_op(g, BF_CAL_FMA, as_addend(g, b, false), at(BF_IN_NUMBER, BF_B_ONE), bf_rows_zero(),
                       true);
    b = as_factor(g, b);
    if (b.negative) { /* SEL does not change the sign of B */
        b = bf_rows_op(g, BF_CAL_FMA, b, at(BF_IN_NUMBER, BF_B_ONE), bf_rows_zero(), true);
    }
    struct bf_rows_value r = bf_rows_op(g, BF_CAL_SEL, a, b, c, false);
    return r;
}

static value special(struct bf_rows_gen *g, enum bf_cal_op op, const struct bf_expr *a) {
    return bf_rows_op(g, op, as_addend(g, generate(g, a), false), nothing(), nothing(), false);
}

static value generate(struct bf_rows_gen *g, const struct bf_expr *e) {
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
        return generate_product(g, e, false, bf_rows_zero());
    case BF_EXPR_NEG:
        return bf_rows_negated(generate(g, e->a));
    case BF_EXPR_MAX: {
        value a = as_addend(g, generate(g, e->a), false);
        return bf_rows_op(g, BF_CAL_MAX, a, nothing(), as_addend(g, generate(g, e->b), true),
                          false);
    }
    case BF_EXPR_ABS: {
        value a = as_addend(g, generate(g, e->a), false);
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
        return bf_rows_function(g, e->kind, as_addend(g, generate(g, e->a), false));
    }
}

/* ---- results ---- */

static bool in_loop(const struct bf_step *step) {
    return step->kind == BF_STEP_SUM || step->kind == BF_STEP_MAX || step->kind == BF_STEP_MAP;
}

/* Made of additions and shifts alone, which write no words. */
static bool is_simple(const struct bf_expr *e) {
    switch (e->kind) {
    case BF_EXPR_ARG:
    case BF_EXPR_ROW:
        return true;
    case BF_EXPR_ADD:
    case BF_EXPR_SUB:
        return is_simple(e->a) && is_simple(e->b);
    case BF_EXPR_SHIFT:
        return is_simple(e->a);
    default:
        return false;
    }
}

/* Makes the last instruction write `to` instead of a temporary; adds one if it can't. */
static void send(struct bf_rows_gen *g, value v, enum bf_rows_place place, int index) {
    struct bf_rows_ins *last = g->list->count ? &g->list->data[g->list->count - 1] : NULL;
    bool word = place != BF_IN_PART;
    unsigned results = word ? BF_DST_RAM : BF_DST_ACC;
    bool own = last && v.at.place == BF_IN_TEMP_ACC && last->acc.place == BF_IN_TEMP_ACC &&
               last->acc.index == v.at.index && (bf_cal_results(last->op) & results);
    if (own && v.negative && last->op == BF_CAL_FMA) {
        last->negate_product = !last->negate_product;
        last->negate_addend = !last->negate_addend;
        v.negative = false;
    }
    if (!own || v.negative) {
        v = plain_fma(g, as_addend(g, v, false), at(BF_IN_NUMBER, BF_B_ONE), bf_rows_zero());
        last = &g->list->data[g->list->count - 1];
    }
    last->acc.place = BF_IN_NONE;
    *(word ? &last->word : &last->acc) = (struct bf_rows_operand){place, index};
    bf_rows_release(g, v);
}

/* The sum of squares of an f32 value d. Words of the loop are scaled by 2^-scale, so that its pieces
 * don't overflow, and so is the sum until finish:
 *     hi = d 2^-scale, lo = (d - hi 2^scale) 2^-scale, part += d hi + d lo */
static void add_square(struct bf_rows_gen *g, const struct bf_expr *e, int index) {
    value part = at(BF_IN_PART, g->part[index]);
    int bound = bound_of(g, e), scale = bound > 15 ? bound - 15 : 0;
    value d = generate(g, e), hi = new_temp(g, true);
    g->list->data[g->list->count - 1].word = hi.at;
    g->pass->exponent = -scale;
    g->scale[index] = scale;
    bf_rows_hold(g, d);
    bf_rows_hold(g, d);
    bf_rows_hold(g, hi);
    value lo = bf_rows_op(g, BF_CAL_FMA, hi,
                          constant_factor(g, -(double)(INT64_C(1) << scale)), d, true);
    bf_rows_hold(g, d);
    send(g, plain_fma(g, d, hi, part), BF_IN_PART, part.at.index);
    send(g, plain_fma(g, d, lo, part), BF_IN_PART, part.at.index);
    bf_rows_release(g, d);
}

/* Whether a pass sums squares of one f32 value and nothing else: no other word is scaled then. */
static bool sums_squares(const struct bf_rows_gen *g, int index) {
    const struct bf_step *step = &g->kernel->steps.data[index];
    if (step->kind != BF_STEP_SUM || step->expr->kind != BF_EXPR_MUL ||
        !same_expr(step->expr->a, step->expr->b))
        return false;
    const struct bf_expr *d = step->expr->a;
    bool sum = (d->kind == BF_EXPR_ADD || d->kind == BF_EXPR_SUB) && bound_of(g, d) <= 30;
    for (int s = 0; s < (int)g->kernel->steps.count; s++)
        if (s != index && in_loop(&g->kernel->steps.data[s]) && g->ready[s] == g->ready[index])
            return false;
    return sum && is_simple(d->a) && is_simple(d->b);
}

static void loop_step(struct bf_rows_gen *g, int index) {
    const struct bf_step *step = &g->kernel->steps.data[index];
    value part = at(BF_IN_PART, g->part[index]);
    if (sums_squares(g, index)) {
        add_square(g, step->expr->a, index);
    } else if (step->kind == BF_STEP_MAP) {
        send(g, generate(g, step->expr), BF_IN_OUTPUT, step->index);
    } else if (step->kind == BF_STEP_MAX) {
        value a = as_addend(g, generate(g, step->expr), false);
        send(g, bf_rows_op(g, BF_CAL_MAX, a, nothing(), part, false), BF_IN_PART, part.at.index);
    } else if (is_product(step->expr)) {
        send(g, generate_product(g, step->expr, false, part), BF_IN_PART, part.at.index);
    } else {
        send(g, add(g, generate(g, step->expr), part), BF_IN_PART, part.at.index);
    }
}

/* Keeps a row scalar, an accumulator, for later passes. */
static void keep(struct bf_rows_gen *g, int step, value v) {
    v = as_addend(g, v, false);
    if (v.negative)
        v = plain_fma(g, v, at(BF_IN_NUMBER, BF_B_ONE), bf_rows_zero());
    for (int half = 0; half < 2 && g->pair[step] >= 0; half++) {
        struct bf_rows_ins *ins = bf_push(g->list);
        memset(ins, 0, sizeof *ins);
        ins->op = half ? BF_CAL_STHI : BF_CAL_STLO;
        ins->a = v.at;
        ins->word = (struct bf_rows_operand){BF_IN_KEEP, g->pair[step] + half};
    }
    if (g->factor[step] < 0) {
        bf_rows_release(g, v);
        return;
    }
    value exponent, hi, lo;
    split(g, normalised(g, v, &exponent), &hi, &lo);
    value pieces[] = {hi, lo, exponent};
    for (int i = 0; i < 3; i++)
        send(g, plain_fma(g, pieces[i], at(BF_IN_NUMBER, BF_B_ONE), bf_rows_zero()), BF_IN_KEEP,
             g->factor[step] + i);
}

/* Adds (compares) the partial results in a fixed order. */
static value combine(struct bf_rows_gen *g, int step, int parts) {
    value part[8];
    bool max = g->kernel->steps.data[step].kind == BF_STEP_MAX;
    for (int i = 0; i < parts; i++)
        part[i] = at(BF_IN_PART, g->part[step] * parts + i);
    for (; parts > 1; parts /= 2)
        for (int i = 0; i < parts / 2; i++)
            part[i] = max ? bf_rows_op(g, BF_CAL_MAX, part[2 * i], nothing(), part[2 * i + 1], false)
                          : plain_fma(g, part[2 * i], at(BF_IN_NUMBER, BF_B_ONE), part[2 * i + 1]);
    return scaled(g, part[0], g->scale[step]);
}

/* ---- passes ---- */

static int last_ready(const struct bf_rows_gen *g, const struct bf_expr *e) {
    if (!e)
        return -1;
    int last = e->kind == BF_EXPR_ROW ? g->ready[e->index] : -1;
    int parts[] = {last_ready(g, e->a), last_ready(g, e->b), last_ready(g, e->c)};
    for (int i = 0; i < 3; i++)
        last = parts[i] > last ? parts[i] : last;
    return last;
}

/* Pass of a loop step; pass after which a row step is known. */
static void assign_passes(struct bf_rows_gen *g) {
    for (size_t s = 0; s < g->kernel->steps.count; s++) {
        const struct bf_step *step = &g->kernel->steps.data[s];
        int last = last_ready(g, step->expr);
        g->ready[s] = in_loop(step) ? last + 1 : last < 0 ? 0 : last;
        if (g->ready[s] + 1 > g->program->passes)
            g->program->passes = g->ready[s] + 1;
    }
}

static void mark_rows(struct bf_rows_gen *g, const struct bf_expr *e) {
    if (!e)
        return;
    if (e->kind == BF_EXPR_ROW)
        pair_of(g, e->index);
    mark_rows(g, e->a);
    mark_rows(g, e->b);
    mark_rows(g, e->c);
}

static void begin(struct bf_rows_gen *g, int pass, struct bf_rows_list *list, bool row_level) {
    memset(g->acc_holds, 0, sizeof g->acc_holds);
    memset(g->word_holds, 0, sizeof g->word_holds);
    g->acc_peak = g->word_peak = 0;
    g->pass = &g->program->pass[pass];
    g->list = list;
    g->row_level = row_level;
}

/* Cycles an element takes in bodies of `unroll`, times 840 (a multiple of 1 .. 8); 0: not possible. */
static int element_cycles(const struct bf_machine *machine, struct bf_rows_pass *pass) {
    struct bf_rows_slot slots[BF_MAX_BODY];
    int length = (int)pass->loop.count, count = 0;
    int accs = pass->row_accs + pass->reductions * pass->parts + pass->unroll * pass->temp_accs;
    if (pass->unroll * length > BF_MAX_BODY || accs > (int)machine->accumulators ||
        pass->unroll % pass->parts)
        return 0;
    for (int i = 0; i < length; i++)
        for (int u = 0; u < pass->unroll; u++)
            slots[count++] = (struct bf_rows_slot){&pass->loop.data[i], u};
    return bf_rows_order(machine, pass, slots, count) * 840 / pass->unroll;
}

/* Elements of a body and partial accumulators: what takes the fewest cycles. */
static void choose_unroll(const struct bf_machine *machine, struct bf_rows_pass *pass) {
    int best = INT32_MAX, unroll = 1, parts = 1;
    for (pass->unroll = 1; pass->unroll <= 8; pass->unroll++)
        for (pass->parts = 1; pass->parts <= (pass->reductions ? 8 : 1); pass->parts *= 2) {
            int cycles = element_cycles(machine, pass);
            if (cycles && cycles < best) {
                best = cycles;
                unroll = pass->unroll;
                parts = pass->parts;
            }
        }
    pass->unroll = unroll;
    pass->parts = parts;
}

static void generate_loop(struct bf_rows_gen *g, int p, const struct bf_machine *machine,
                          int *words) {
    struct bf_rows_pass *pass = &g->program->pass[p];
    begin(g, p, &pass->loop, false);
    for (int s = 0; s < BF_ROWS_STEPS; s++)
        g->row_acc[s] = -1;
    for (int s = 0; s < (int)g->kernel->steps.count; s++) {
        const struct bf_step *step = &g->kernel->steps.data[s];
        if (!in_loop(step) || g->ready[s] != p)
            continue;
        if (step->kind == BF_STEP_MAP)
            pass->outputs |= UINT64_C(1) << step->index;
        else
            g->part[s] = pass->reductions++;
        loop_step(g, s);
    }
    pass->temp_accs = g->acc_peak;
    choose_unroll(machine, pass);
    int temp_words = g->word_peak * pass->unroll;
    *words = temp_words > *words ? temp_words : *words;
    begin(g, p, &pass->init, true);
    for (int s = 0; s < (int)g->kernel->steps.count; s++)
        if (g->row_acc[s] >= 0)
            load_pair(g, pair_of(g, s), (struct bf_rows_operand){BF_IN_ROW_ACC, g->row_acc[s]});
}

/* Partial results begin at 0, or below every f32 that can come. */
static void generate_start(struct bf_rows_gen *g, int p) {
    struct bf_rows_pass *pass = &g->program->pass[p];
    begin(g, p, &pass->init, true);
    for (int s = 0; s < (int)g->kernel->steps.count; s++) {
        const struct bf_step *step = &g->kernel->steps.data[s];
        bool reduces = step->kind == BF_STEP_SUM || step->kind == BF_STEP_MAX;
        for (int i = 0; i < pass->parts && reduces && g->ready[s] == p; i++) {
            value v = step->kind == BF_STEP_MAX
                          ? scaled(g, bf_rows_constant(g, -65504), 100)
                          : plain_fma(g, bf_rows_constant(g, 1), at(BF_IN_NUMBER, BF_B_ZERO), bf_rows_zero());
            send(g, v, BF_IN_PART, g->part[s] * pass->parts + i);
        }
    }
}

static void generate_finish(struct bf_rows_gen *g, int p, int *words) {
    struct bf_rows_pass *pass = &g->program->pass[p];
    int before = g->acc_peak;
    begin(g, p, &pass->finish, true);
    for (int s = 0; s < (int)g->kernel->steps.count; s++) {
        const struct bf_step *step = &g->kernel->steps.data[s];
        if (g->ready[s] != p || step->kind == BF_STEP_MAP)
            continue;
        if (step->kind == BF_STEP_ROWMAP) {
            send(g, generate(g, step->expr), BF_IN_OUTPUT, step->index);
            pass->row_outputs |= UINT64_C(1) << step->index;
        } else {
            keep(g, s, step->kind == BF_STEP_ROW ? generate(g, step->expr)
                                                 : combine(g, s, pass->parts));
        }
    }
    pass->finish_accs = g->acc_peak > before ? g->acc_peak : before;
    *words = g->word_peak > *words ? g->word_peak : *words;
}

static bool too_big(const struct bf_map *map, const struct bf_rows_shape *shape,
                    struct bf_diags *diags, const char *what, int need, int limit) {
    return bf_diag_error(diags, shape->kernel->loc,
                         "cannot map %s on '%s': it needs %d %s, the array has %d",
                         shape->kernel->what, map->machine.name, need, what, limit);
}

static bool fits(const struct bf_map *map, const struct bf_rows_shape *shape,
                 const struct bf_rows_program *program, struct bf_diags *diags) {
    int accs = (int)map->machine.accumulators;
    for (int p = 0; p < program->passes; p++) {
        const struct bf_rows_pass *pass = &program->pass[p];
        int fixed = pass->row_accs + pass->reductions * pass->parts;
        int temps = pass->unroll * pass->temp_accs;
        temps = temps > pass->finish_accs ? temps : pass->finish_accs;
        temps = temps > 0 ? temps : 1; /* the start block's */
        if (fixed + temps > accs)
            return too_big(map, shape, diags, "accumulators", fixed + temps, accs);
        if (pass->loop.count > BF_MAX_BODY)
            return too_big(map, shape, diags, "CAL words in a loop body", (int)pass->loop.count,
                           BF_MAX_BODY);
    }
    if (program->words >= BF_ROWS_WORDS || program->lanes >= BF_ROWS_LANES)
        return too_big(map, shape, diags, "constants", BF_ROWS_WORDS + 1, BF_ROWS_WORDS);
    return true;
}

/* Whether an expression of the kernel uses the special-function unit. */
static bool uses_special(const struct bf_rows_program *program) {
    for (int p = 0; p < program->passes; p++) {
        const struct bf_rows_list *lists[] = {&program->pass[p].loop, &program->pass[p].finish};
        for (int l = 0; l < 2; l++)
            for (size_t i = 0; i < lists[l]->count; i++)
                if (bf_cal_special(lists[l]->data[i].op))
                    return true;
    }
    return false;
}

bool bf_rows_compile(const struct bf_map *map, const struct bf_rows_shape *shape,
                     struct bf_rows_program *program, struct bf_diags *diags) {
    struct bf_rows_gen g = {.shape = shape, .kernel = shape->kernel, .program = program};
    g.lanes = map->machine.lanes;
    memset(program, 0, sizeof *program);
    int steps = (int)shape->kernel->steps.count;
    if (steps > BF_ROWS_STEPS)
        return too_big(map, shape, diags, "steps", steps, BF_ROWS_STEPS);
    for (int s = 0; s < BF_ROWS_STEPS; s++)
        g.pair[s] = g.factor[s] = -1;
    assign_passes(&g);
    if (program->passes > BF_ROWS_PASSES)
        return too_big(map, shape, diags, "passes over its rows", program->passes, BF_ROWS_PASSES);
    for (int p = 0; p < program->passes; p++)
        generate_loop(&g, p, &map->machine, &program->temp_words);
    for (int s = 0; s < steps; s++)
        if (!in_loop(&shape->kernel->steps.data[s]))
            mark_rows(&g, shape->kernel->steps.data[s].expr);
    for (int p = 0; p < program->passes; p++) {
        generate_start(&g, p);
        generate_finish(&g, p, &program->temp_words);
    }
    if (!map->machine.special && uses_special(program))
        return bf_diag_error(diags, shape->kernel->loc,
                             "cannot map %s on '%s': it needs special functions (pe "
                             "special_functions), the array has none",
                             shape->kernel->what, map->machine.name);
    return fits(map, shape, program, diags);
}

void bf_rows_program_free(struct bf_rows_program *program) {
    for (int p = 0; p < BF_ROWS_PASSES; p++) {
        free(program->pass[p].init.data);
        free(program->pass[p].loop.data);
        free(program->pass[p].finish.data);
    }
    memset(program, 0, sizeof *program);
}
