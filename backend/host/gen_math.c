/* gen_math.c - functions of one argument on vectors, by polynomials. See gen.h.
 *
 * Coefficients are minimax fits in f64 (Lawson's iteration; for quotients on linearised residuals),
 * rounded to f32. test/python/test_host.py measures the errors.
 */
#include "backend/host/gen.h"

static LLVMValueRef number(struct bf_ll *ll, LLVMValueRef like, double value) {
    return bf_ll_const(ll, bf_ll_lanes(like), value);
}

/* c[0] + c[1] x + c[2] x^2 .. */
static LLVMValueRef polynomial(struct bf_ll *ll, LLVMValueRef x, const double *c, int count) {
    LLVMValueRef sum = number(ll, x, c[count - 1]);
    for (int i = count - 2; i >= 0; i--)
        sum = bf_ll_fma(ll, sum, x, number(ll, x, c[i]));
    return sum;
}

/* x between -most and most; NaN stays. */
static LLVMValueRef clamp(struct bf_ll *ll, LLVMValueRef x, double most) {
    return bf_ll_fmin(ll, number(ll, x, most), bf_ll_fmax(ll, number(ll, x, -most), x));
}

/* 2^x = 2^n 2^f, n integer, |f| <= 1/2: the exponent bits of a polynomial's value are raised by n.
 */
LLVMValueRef bf_gen_exp2(struct bf_ll *ll, LLVMValueRef x) {
    static const double c[] = {1.0,
                               0.6931469775977814,
                               0.24022242084449516,
                               0.055507337452370964,
                               0.009671512682110122,
                               0.0013264726600308863};
    unsigned count = bf_ll_lanes(x);
    LLVMTypeRef ints = count == 1 ? ll->i32 : LLVMVectorType(ll->i32, count);
    x = bf_ll_fmin(ll, number(ll, x, 128), bf_ll_fmax(ll, number(ll, x, -127), x));
    LLVMValueRef n = bf_ll_floor(ll, bf_ll_fadd(ll, x, number(ll, x, 0.5)));
    LLVMValueRef value = polynomial(ll, bf_ll_fsub(ll, x, n), c, 6);
    LLVMValueRef power = LLVMBuildFPToSI(ll->builder, n, ints, "");
    LLVMValueRef shift = LLVMConstInt(ll->i32, 23, false), lanes[64];
    for (unsigned i = 0; i < count; i++)
        lanes[i] = shift;
    power =
        LLVMBuildShl(ll->builder, power, count == 1 ? shift : LLVMConstVector(lanes, count), "");
    LLVMValueRef bits = LLVMBuildBitCast(ll->builder, value, ints, "");
    bits = LLVMBuildAdd(ll->builder, bits, power, "");
    LLVMValueRef result = LLVMBuildBitCast(ll->builder, bits, bf_ll_floats(ll, count), "");
    LLVMValueRef small = LLVMBuildFCmp(ll->builder, LLVMRealOLT, x, number(ll, x, -126), "");
    result = LLVMBuildSelect(ll->builder, small, number(ll, x, 0), result, "");
    LLVMValueRef nan = LLVMBuildFCmp(ll->builder, LLVMRealUNO, x, x, "");
    return LLVMBuildSelect(ll->builder, nan, x, result, "");
}

LLVMValueRef bf_gen_rcp(struct bf_ll *ll, LLVMValueRef x) {
    return bf_ll_fdiv(ll, number(ll, x, 1), x);
}

LLVMValueRef bf_gen_rsqrt(struct bf_ll *ll, LLVMValueRef x) {
    return bf_ll_fdiv(ll, number(ll, x, 1), bf_ll_sqrt(ll, x));
}

/* x P(x^2) / Q(x^2) */
static LLVMValueRef odd_quotient(struct bf_ll *ll, LLVMValueRef x, const double *p, const double *q,
                                 int count) {
    LLVMValueRef t = bf_ll_fmul(ll, x, x);
    LLVMValueRef above = bf_ll_fmul(ll, x, polynomial(ll, t, p, count));
    return bf_ll_fdiv(ll, above, polynomial(ll, t, q, count));
}

/* x/2 (1 + erf(x / sqrt 2)), where the function of x is 1 in f32 from 5.4 on. */
LLVMValueRef bf_gen_gelu(struct bf_ll *ll, LLVMValueRef x) {
    static const double p[] = {0.7978844907301292,     0.06674453769620693,
                               0.00930170800062367,    0.00032864430010995247,
                               1.2720054308415023e-05, 4.6773464730515274e-08};
    static const double q[] = {1.0,
                               0.2503179616087262,
                               0.028378711380335486,
                               0.0018589840582482534,
                               7.240035184602473e-05,
                               1.2165914448070191e-06};
    LLVMValueRef erf = odd_quotient(ll, clamp(ll, x, 5.4), p, q, 6);
    LLVMValueRef half = bf_ll_fmul(ll, x, number(ll, x, 0.5));
    return bf_ll_fma(ll, half, erf, half);
}

LLVMValueRef bf_gen_tanh(struct bf_ll *ll, LLVMValueRef x) {
    static const double p[] = {0.9999999792303798, 0.1338037141264384, 0.003494810866686856,
                               2.0596271796167855e-05, 1.3336846435898909e-08};
    static const double q[] = {1.0, 0.46713686827948325, 0.02587402597038458,
                               0.00032843629702516324, 7.769282073628386e-07};
    return odd_quotient(ll, clamp(ll, x, 9.01), p, q, 5);
}

/* x / (1 + 2^(-u log2 e)) */
static LLVMValueRef over_one_plus_exp(struct bf_ll *ll, LLVMValueRef x, LLVMValueRef u) {
    LLVMValueRef e = bf_gen_exp2(ll, bf_ll_fmul(ll, u, number(ll, u, -1.4426950408889634074)));
    return bf_ll_fdiv(ll, x, bf_ll_fadd(ll, e, number(ll, u, 1)));
}

LLVMValueRef bf_gen_sigmoid(struct bf_ll *ll, LLVMValueRef x) {
    return over_one_plus_exp(ll, number(ll, x, 1), x);
}

LLVMValueRef bf_gen_silu(struct bf_ll *ll, LLVMValueRef x) {
    return over_one_plus_exp(ll, x, x);
}

/* x/2 (1 + tanh v) = x / (1 + exp(-2 v)), v = sqrt(2 / pi) (x + 0.044715 x^3) */
LLVMValueRef bf_gen_gelu_tanh(struct bf_ll *ll, LLVMValueRef x) {
    double root = 2 * 0.7978845608028654;
    LLVMValueRef square = bf_ll_fmul(ll, x, x);
    LLVMValueRef factor =
        bf_ll_fma(ll, square, number(ll, x, root * 0.044715), number(ll, x, root));
    return over_one_plus_exp(ll, x, bf_ll_fmul(ll, x, factor));
}
