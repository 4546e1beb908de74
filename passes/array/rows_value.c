/* rows_value.c - values, and the CAL instructions that multiply and add them.
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
#include "passes/array/rows_gen.h"

/* ---- values ---- */

value bf_rows_number(double number) {
    return (value){{BF_IN_NONE, 0}, false, number};
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

value bf_rows_new_temp(struct bf_rows_gen *g, bool word) {
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
    return at(BF_IN_CONSTANT, pool(g->program->word, &g->program->words, BF_ROWS_WORDS, number));
}

/* A constant as factor B, rounded to fp16. */
value bf_rows_factor(struct bf_rows_gen *g, double number) {
    static const double builtin[] = {
        [BF_B_ZERO] = 0, [BF_B_ONE] = 1, [BF_B_TWO] = 2, [BF_B_HALF] = 0.5};
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
    value result = bf_rows_new_temp(g, word);
    *(word ? &ins->word : &ins->acc) = result.at;
    return result;
}

/* In a RAM word or an accumulator, as operand A or C. */
value bf_rows_as_addend(struct bf_rows_gen *g, value v, bool may_be_special) {
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

bool bf_rows_is_factor(value v) {
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

value bf_rows_as_factor(struct bf_rows_gen *g, value v) {
    return is_number(v) ? bf_rows_factor(g, v.number) : v;
}

value bf_rows_plain_fma(struct bf_rows_gen *g, value a, value b, value c) {
    return bf_rows_op(g, BF_CAL_FMA, a, b, c, false);
}

value bf_rows_add(struct bf_rows_gen *g, value a, value c) {
    if (is_number(c) && c.number == 0)
        return a;
    a = bf_rows_as_addend(g, a, false); /* in this order, whatever that of arguments is */
    double size = c.number < 0 ? -c.number : c.number;
    if (is_number(c) && !is_half(c.number) && size >= 0.125 && size < 65504) {
        double upper = bf_half_to_double(bf_half_from_double(c.number));
        value one = at(BF_IN_NUMBER, BF_B_ONE), hi = bf_rows_constant(g, upper);
        a = bf_rows_plain_fma(g, a, one, hi);
        return bf_rows_plain_fma(g, a, one, bf_rows_constant(g, c.number - upper));
    }
    c = bf_rows_as_addend(g, c, true);
    return bf_rows_plain_fma(g, a, at(BF_IN_NUMBER, BF_B_ONE), c);
}

value bf_rows_scaled(struct bf_rows_gen *g, value a, int by) {
    return by ? bf_rows_op(g, BF_CAL_LDEXP, a, nothing(), bf_rows_constant(g, by), false) : a;
}

/* a x (hi + lo) + c. */
static value two_pieces(struct bf_rows_gen *g, value a, value hi, value lo, value c) {
    bf_rows_hold(g, a);
    value r = bf_rows_plain_fma(g, a, hi, c);
    return bf_rows_plain_fma(g, a, lo, r);
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
    double upper = bf_half_to_double(bf_half_from_double(m));
    value hi = bf_rows_factor(g, upper), lo = bf_rows_factor(g, m - upper);
    value r = two_pieces(g, a, hi, lo, e ? bf_rows_zero() : c);
    return e ? bf_rows_add(g, bf_rows_scaled(g, r, e),
                           c.at.place == BF_IN_NUMBER && !c.at.index ? nothing() : c)
             : r;
}

/* ---- products of two f32 values ---- */

/* Stores the pieces of m, an accumulator, in two words; releases m. */
void bf_rows_split(struct bf_rows_gen *g, value m, value *hi, value *lo) {
    value one = at(BF_IN_NUMBER, BF_B_ONE);
    m = bf_rows_as_addend(g, m, false);
    bf_rows_hold(g, m);
    *hi = bf_rows_op(g, BF_CAL_FMA, m, one, bf_rows_zero(), true);
    bf_rows_hold(g, *hi);
    *lo = bf_rows_op(g, BF_CAL_FMA, m, one, bf_rows_negated(*hi), true);
}

/* A row scalar b as m x 2^e: the word of e, and m in an accumulator. */
value bf_rows_normalised(struct bf_rows_gen *g, value b, value *exponent) {
    bf_rows_hold(g, b);
    bf_rows_hold(g, b);
    value size = bf_rows_op(g, BF_CAL_MAX, b, nothing(), bf_rows_negated(b), false);
    bf_rows_hold(g, b);
    size = bf_rows_op(g, BF_CAL_CVTF, size, nothing(), nothing(), false);
    value unit = bf_rows_factor(g, 0x1p-23), bias = bf_rows_constant(g, -127);
    *exponent = bf_rows_op(g, BF_CAL_FMA, size, unit, bias, true);
    bf_rows_release(g, b);
    bf_rows_hold(g, *exponent);
    return bf_rows_op(g, BF_CAL_LDEXP, b, nothing(), bf_rows_negated(*exponent), false);
}

static value row_product(struct bf_rows_gen *g, value a, value b) {
    value exponent, hi, lo;
    bf_rows_split(g, bf_rows_normalised(g, bf_rows_as_addend(g, b, false), &exponent), &hi, &lo);
    value r = two_pieces(g, bf_rows_as_addend(g, a, false), hi, lo, bf_rows_zero());
    return bf_rows_op(g, BF_CAL_LDEXP, r, nothing(), exponent, false);
}

/* Both are elements; |b| < 2^bound. */
static value element_product(struct bf_rows_gen *g, value a, value b, int bound) {
    int scale = bound > 15 ? bound - 15 : 0;
    value hi, lo;
    if (scale)
        b = bf_rows_plain_fma(g, b, bf_rows_factor(g, 1 / (double)(INT64_C(1) << scale)),
                              bf_rows_zero());
    bf_rows_split(g, b, &hi, &lo);
    return bf_rows_scaled(g, two_pieces(g, a, hi, lo, bf_rows_zero()), scale);
}

/* a x the scalar of step `step`. */
value bf_rows_times_row(struct bf_rows_gen *g, value a, int step, bool negative) {
    if (g->factor[step] < 0) {
        g->factor[step] = g->program->keep;
        g->program->keep += 3;
    }
    int k = g->factor[step];
    value hi = at(BF_IN_KEEP, k), lo = at(BF_IN_KEEP, k + 1);
    hi.negative = lo.negative = negative;
    value r = two_pieces(g, bf_rows_as_addend(g, a, false), hi, lo, bf_rows_zero());
    return bf_rows_op(g, BF_CAL_LDEXP, r, nothing(), at(BF_IN_KEEP, k + 2), false);
}

/* Which step's scalar an accumulator of the pass holds. */
static int step_of(const struct bf_rows_gen *g, value v) {
    for (int s = 0; s < BF_ROWS_STEPS; s++)
        if (g->row_acc[s] == v.at.index)
            return s;
    return -1;
}

value bf_rows_product(struct bf_rows_gen *g, value a, value b, value c, int bound) {
    bool plain = c.at.place == BF_IN_NUMBER && !c.at.index;
    bool swapped = is_number(a) && !is_number(b);
    if (!swapped && !is_number(b) && !bf_rows_is_factor(b))
        swapped = bf_rows_is_factor(a) || a.at.place == BF_IN_ROW_ACC;
    if (swapped) {
        value swap = a;
        a = b;
        b = swap;
    }
    if (bf_rows_is_factor(b)) {
        a = bf_rows_as_addend(g, a, false);
        b = bf_rows_as_factor(g, b);
        return bf_rows_plain_fma(g, a, b, c);
    }
    if (is_number(b))
        return times_number(g, bf_rows_as_addend(g, a, false), b.number, c);
    value r;
    if (b.at.place == BF_IN_ROW_ACC && !g->row_level)
        r = bf_rows_times_row(g, a, step_of(g, b), b.negative);
    else if (g->row_level)
        r = row_product(g, a, b);
    else
        r = element_product(g, a, b, bound);
    return plain ? r : bf_rows_add(g, r, c);
}

value bf_rows_fma(struct bf_rows_gen *g, value a, value b, value c) {
    return bf_rows_product(g, a, b, bf_rows_as_addend(g, c, true), 16);
}
