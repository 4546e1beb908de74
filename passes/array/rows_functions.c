/* rows_functions.c - gelu and its kin as CAL instructions.
 *
 * All but relu and tanh near 0 are x / (1 + 2^-q(x)), or that without the x. x is an fp16 number in
 * a RAM word (or becomes one), so that powers of it cost one FMA each. It is clamped where the
 * result is 0 in fp16 anyway, so that nothing overflows before it is multiplied by 0.
 */
#include "passes/array/rows_gen.h"

static const double log2_e = 1.4426950408889634074;

static value number(double x) {
    return bf_rows_number(x);
}

static value hold(struct bf_rows_gen *g, value v) {
    bf_rows_hold(g, v);
    return v;
}

/* max(x, least) as an fp16 word, held `holds` times more. */
static value clamped(struct bf_rows_gen *g, value x, double least, int holds) {
    value bound = bf_rows_constant(g, least);
    value v = bf_rows_op(g, BF_CAL_MAX, x, number(0), bound, true);
    for (int i = 0; i < holds; i++)
        bf_rows_hold(g, v);
    return v;
}

/* x in a RAM word, held `holds` times more. */
static value as_word(struct bf_rows_gen *g, value x, int holds) {
    bool there = x.at.place == BF_IN_INPUT || x.at.place == BF_IN_TEMP_WORD;
    value v = there ? x
                    : bf_rows_op(g, BF_CAL_FMA, bf_rows_as_addend(g, x, false),
                                 at(BF_IN_NUMBER, BF_B_ONE), bf_rows_zero(), true);
    for (int i = 0; i < holds; i++)
        bf_rows_hold(g, v);
    return v;
}

/* 1 / (1 + 2^q) */
static value logistic(struct bf_rows_gen *g, value q) {
    value e = bf_rows_op(g, BF_CAL_EXP2, q, number(0), number(0), false);
    value d = bf_rows_fma(g, e, number(1), number(1));
    return bf_rows_op(g, BF_CAL_RCP, d, number(0), number(0), false);
}

/* x Phi(x) = x / (1 + 2^(x P(|x|))), P a polynomial fitted to -log2(Phi(x) / Phi(-x)) / x on
 * [0, 5.8] with fp16 coefficients, so that gelu is off by less than 0.15 fp16 ulp before rounding.
 * Below -5.8 gelu rounds to 0. */
static value gelu_erf(struct bf_rows_gen *g, value x) {
    static const double p[] = {-0x1.264p+1, -0x1.f9cp-7,  -0x1.3d4p-4, -0x1.664p-6,
                               0x1.0ccp-7,  -0x1.ffcp-11, 0x1.4e0p-15};
    const double p0_low = -0x1.198p-11;
    value low = clamped(g, x, -5.80078125, 1);
    value minus = clamped(g, bf_rows_negated(low), -5.80078125, 3); /* -min(low, 5.8) */
    value size = bf_rows_op(g, BF_CAL_MAX, minus, number(0), bf_rows_negated(minus), true);
    value sum = bf_rows_constant(g, p[6]);
    for (int i = 5; i >= 0; i--)
        sum = bf_rows_op(g, BF_CAL_FMA, sum, i > 0 ? hold(g, size) : size,
                         bf_rows_constant(g, p[i]), false);
    value q = bf_rows_fma(g, minus, number(p0_low), number(0));
    q = bf_rows_op(g, BF_CAL_FMA, sum, minus, q, false);
    return bf_rows_fma(g, logistic(g, bf_rows_negated(q)), low, number(0));
}

/* 0.5 x (1 + tanh(u)) = x / (1 + 2^(-2 log2(e) u)), u = sqrt(2 / pi) (x + 0.044715 x^3). Far from 0
 * the power overflows to infinity or vanishes, and x / infinity and x / 1 are right. The linear
 * coefficient needs two pieces. */
static value gelu_tanh(struct bf_rows_gen *g, value x) {
    const double c = 2 * 1.4426950408889634074 * 0.79788456080286535588;
    const double cubic = bf_half_to_double(bf_half_from_double(c * 0.044715));
    const double linear = c + 12 * (c * 0.044715 - cubic); /* exact at x^2 = 12: off by 0.94 ulp */
    const double high = bf_half_to_double(bf_half_from_double(linear));
    value word = as_word(g, x, 3);
    value sum = bf_rows_plain_fma(g, word, word, bf_rows_zero());
    sum = bf_rows_plain_fma(g, sum, bf_rows_factor(g, -cubic), bf_rows_constant(g, -high));
    sum = bf_rows_plain_fma(g, sum, at(BF_IN_NUMBER, BF_B_ONE), bf_rows_constant(g, high - linear));
    value q = bf_rows_plain_fma(g, sum, word, bf_rows_zero());
    return bf_rows_plain_fma(g, logistic(g, q), word, bf_rows_zero());
}

static value sigmoid(struct bf_rows_gen *g, value x) {
    return logistic(g, bf_rows_fma(g, x, number(-log2_e), number(0)));
}

static value silu(struct bf_rows_gen *g, value x) {
    value low = clamped(g, x, -24, 1);
    return bf_rows_fma(g, sigmoid(g, low), low, number(0));
}

/* 2 / (1 + 2^(-2 log2(e) x)) - 1; below 1/2, where that cancels, the odd Taylor polynomial. */
static value tanh_of(struct bf_rows_gen *g, value x) {
    static const double t[] = {1, -1 / 3.0, 2 / 15.0, -17 / 315.0, 62 / 2835.0};
    value low = clamped(g, x, -16, 6);
    value square = bf_rows_op(g, BF_CAL_FMA, low, low, bf_rows_zero(), true);
    value sum = bf_rows_constant(g, t[4]);
    for (int i = 3; i >= 0; i--)
        sum = bf_rows_op(g, BF_CAL_FMA, sum, i > 0 ? hold(g, square) : square,
                         bf_rows_constant(g, t[i]), false);
    value small = bf_rows_op(g, BF_CAL_FMA, sum, low, bf_rows_zero(), true);
    value size = bf_rows_op(g, BF_CAL_MAX, low, number(0), bf_rows_negated(low), false);
    value large = logistic(g, bf_rows_fma(g, low, number(-2 * log2_e), number(0)));
    large = bf_rows_fma(g, large, number(2), number(-1));
    size = bf_rows_fma(g, size, number(1), number(-0.5));
    bf_rows_release(g, low);
    return bf_rows_op(g, BF_CAL_SEL, large, small, size, false);
}

value bf_rows_function(struct bf_rows_gen *g, enum bf_expr_kind kind, value x) {
    switch (kind) {
    case BF_EXPR_GELU:
        return gelu_erf(g, x);
    case BF_EXPR_GELU_TANH:
        return gelu_tanh(g, x);
    case BF_EXPR_SILU:
        return silu(g, x);
    case BF_EXPR_TANH:
        return tanh_of(g, x);
    case BF_EXPR_SIGMOID:
        return sigmoid(g, x);
    default:
        return bf_rows_op(g, BF_CAL_MAX, x, number(0), bf_rows_zero(), false);
    }
}
