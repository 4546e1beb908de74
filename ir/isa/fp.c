/* fp.c - the scalar arithmetic, its lane-by-lane table, and the floating-point environment.
 *
 * Everything but the FMA and FRAC is integer code. These two need IEEE doubles and floats that are
 * rounded to their own type (so no x87), which any 64-bit target has. */
#include "ir/isa/fp.h"

#include <float.h>

#if FLT_EVAL_METHOD != 0
#error "f32 and f64 arithmetic must round to its own type (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif
#ifdef __FAST_MATH__
#error "the arithmetic of the array cannot be compiled with -ffast-math"
#endif

#define SIGN     UINT32_C(0x80000000)
#define INFINITE UINT32_C(0x7f800000)

/* ---- one rounding for all formats ---- */

/* The bits of value x 2^exponent, without sign, rounded to nearest even to a format of `precision`
 * significant bits whose smallest normal number is 2^low and whose largest exponent is -low + 1. */
static uint64_t round_pack(uint64_t value, int exponent, int precision, int low) {
    if (value == 0)
        return 0;
    int top = 63 - __builtin_clzll(value) + exponent; /* 2^top <= result */
    uint64_t infinity = (uint64_t)(2 - 2 * low + 1) << (precision - 1);
    if (top > 1 - low)
        return infinity;
    int normal = top > low ? top : low;
    int shift = normal - (precision - 1) - exponent; /* unit of the result over unit of value */
    uint64_t kept;
    if (shift <= 0) {
        kept = value << -shift;
    } else if (shift > 63) {
        kept = 0; /* less than half a unit */
    } else {
        uint64_t half = UINT64_C(1) << (shift - 1), lost = value & (half - 1);
        kept = value >> shift;
        kept += (value & half) && (lost || (kept & 1));
    }
    /* The leading bit of a normal number adds 1 to the exponent field; so does a carry. */
    return ((uint64_t)(normal - low) << (precision - 1)) + kept;
}

static bf_half pack_half(uint32_t sign, uint64_t value, int exponent) {
    return (bf_half)(sign >> 16 | round_pack(value, exponent, 11, -14));
}

static float pack_float(uint32_t sign, uint64_t value, int exponent) {
    return bf_bits_float(sign | (uint32_t)round_pack(value, exponent, 24, -126));
}

/* |x| = result x 2^exponent for finite x, given |x|'s bits. */
static uint32_t unpack_float(uint32_t magnitude, int *exponent) {
    uint32_t field = magnitude >> 23;
    *exponent = (field ? (int)field : 1) - 150;
    return (magnitude & 0x7fffff) | (field ? 0x800000 : 0);
}

static float float_nan(void) {
    return bf_bits_float(BF_FLOAT_NAN);
}

/* Far enough to overflow or vanish in every format, near enough not to overflow an int. */
static int clamp_exponent(int exponent) {
    return exponent < -1000 ? -1000 : exponent > 1000 ? 1000 : exponent;
}

/* ---- conversions ---- */

float bf_half_to_float(bf_half h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, field = h >> 10 & 31, fraction = h & 0x3ff;
    if (field == 31)
        return bf_bits_float(fraction ? BF_FLOAT_NAN : sign | INFINITE);
    if (field)
        return bf_bits_float(sign | (field + 112) << 23 | fraction << 13);
    return pack_float(sign, fraction, -24);
}

double bf_half_to_double(bf_half h) {
    return bf_half_to_float(h);
}

bf_half bf_round_exp(float x, int exponent) {
    uint32_t bits = bf_float_bits(x), sign = bits & SIGN, magnitude = bits & ~SIGN;
    if (magnitude > INFINITE)
        return BF_HALF_NAN;
    if (magnitude == INFINITE)
        return (bf_half)(sign >> 16 | BF_HALF_INFINITY);
    int unit;
    uint32_t value = unpack_float(magnitude, &unit);
    return pack_half(sign, value, unit + clamp_exponent(exponent));
}

bf_half bf_half_from_float(float x) {
    return bf_round_exp(x, 0);
}

bf_half bf_half_from_double(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = (uint32_t)(bits >> 32) & SIGN;
    uint64_t field = bits >> 52 & 0x7ff, fraction = bits & ((UINT64_C(1) << 52) - 1);
    if (field == 0x7ff)
        return fraction ? BF_HALF_NAN : (bf_half)(sign >> 16 | BF_HALF_INFINITY);
    if (field == 0) /* below 2^-1022: far less than half the smallest half */
        return (bf_half)(sign >> 16);
    return pack_half(sign, fraction | UINT64_C(1) << 52, (int)field - 1075);
}

int32_t bf_cvt_f32_to_i32(float x) {
    uint32_t bits = bf_float_bits(x), sign = bits & SIGN, magnitude = bits & ~SIGN;
    if (magnitude > INFINITE)
        return 0;
    if (magnitude >= UINT32_C(0x4f000000)) /* |x| >= 2^31 */
        return sign ? INT32_MIN : INT32_MAX;
    int unit;
    int64_t value = unpack_float(magnitude, &unit);
    if (unit >= 0) {
        value <<= unit;
    } else if (unit < -25) {
        value = 0;
    } else {
        int64_t half = INT64_C(1) << (-unit - 1), whole = value >> -unit,
                lost = value - (whole << -unit);
        value = whole + (lost > half || (lost == half && (whole & 1)));
    }
    return (int32_t)(sign ? -value : value);
}

float bf_cvt_i32_to_f32(int32_t x) {
    int64_t wide = x;
    return pack_float(x < 0 ? SIGN : 0, (uint64_t)(x < 0 ? -wide : wide), 0);
}

/* ---- operations ---- */

/* The product of two floats is exact in a double. The sum is rounded to odd there: its error (which
 * TwoSum gives exactly) turns an even last bit to the neighbour on the error's side. A result
 * rounded to odd with at least two bits more than the next format rounds as the exact one does. */
float bf_fma32(float a, float b, float c) {
    double product = (double)a * b;
    double sum = product + c;
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    if ((bits >> 52 & 0x7ff) == 0x7ff)
        return sum != sum ? float_nan() : (float)sum;
    double back = sum - product;
    double error = (product - (sum - back)) + (c - back);
    if (error != 0 && !(bits & 1)) {
        bits += (error > 0) == (sum > 0) ? 1 : UINT64_MAX;
        memcpy(&sum, &bits, sizeof sum);
    }
    return (float)sum;
}

float bf_max32(float a, float c) {
    uint32_t x = bf_float_bits(a), y = bf_float_bits(c);
    if ((x & ~SIGN) > INFINITE || (y & ~SIGN) > INFINITE)
        return float_nan();
    /* sign and magnitude in the order of two's complement */
    uint32_t x_key = x & SIGN ? ~x : x | SIGN, y_key = y & SIGN ? ~y : y | SIGN;
    return x_key > y_key ? a : c;
}

float bf_sel(float a, float b, float c) {
    uint32_t bits = bf_float_bits(c), magnitude = bits & ~SIGN;
    if (magnitude > INFINITE)
        return float_nan();
    float chosen = !(bits & SIGN) || magnitude == 0 ? a : b;
    return (bf_float_bits(chosen) & ~SIGN) > INFINITE ? float_nan() : chosen;
}

float bf_frac32(float x) {
    uint32_t magnitude = bf_float_bits(x) & ~SIGN;
    if (magnitude > INFINITE)
        return float_nan();
    if (magnitude >= UINT32_C(0x4b000000)) /* |x| >= 2^23: an integer, or infinite */
        return 0;
    int32_t whole = (int32_t)x;
    if ((float)whole > x)
        whole--;
    return x == (float)whole ? 0 : x - (float)whole; /* -0 - 0 would be -0 */
}

float bf_ldexp32(float x, int exponent) {
    uint32_t bits = bf_float_bits(x), magnitude = bits & ~SIGN;
    if (magnitude > INFINITE)
        return float_nan();
    if (magnitude == INFINITE)
        return x;
    int unit;
    uint32_t value = unpack_float(magnitude, &unit);
    return pack_float(bits & SIGN, value, unit + clamp_exponent(exponent));
}

float bf_ldexp_lane(float a, float c) {
    return (bf_float_bits(c) & ~SIGN) > INFINITE ? float_nan()
                                                 : bf_ldexp32(a, bf_cvt_f32_to_i32(c));
}

/* ---- the portable table ---- */

static float flip(float x, unsigned negate) {
    return negate ? bf_bits_float(bf_float_bits(x) ^ SIGN) : x;
}

static void half_to_float_lanes(float *out, const bf_half *in, unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++)
        out[i] = bf_half_to_float(in[i]);
}

static void splat_lanes(float *out, bf_half in, unsigned lanes) {
    float x = bf_half_to_float(in);
    for (unsigned i = 0; i < lanes; i++)
        out[i] = x;
}

static void round_lanes(bf_half *out, const float *in, int exponent, unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++)
        out[i] = bf_round_exp(in[i], exponent);
}

static void fma_lanes(float *d, const float *a, const float *b, const float *c, unsigned flags,
                      unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++)
        d[i] = bf_fma32(flip(a[i], flags & BF_NEGATE_A), b[i], flip(c[i], flags & BF_NEGATE_C));
}

static void max_lanes(float *d, const float *a, const float *c, unsigned flags, unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++)
        d[i] = bf_max32(flip(a[i], flags & BF_NEGATE_A), flip(c[i], flags & BF_NEGATE_C));
}

static void sel_lanes(float *d, const float *a, const float *b, const float *c, unsigned flags,
                      unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++)
        d[i] = bf_sel(flip(a[i], flags & BF_NEGATE_A), b[i], flip(c[i], flags & BF_NEGATE_C));
}

static void frac_lanes(float *d, const float *a, unsigned flags, unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++)
        d[i] = bf_frac32(flip(a[i], flags & BF_NEGATE_A));
}

static void ldexp_lanes(float *d, const float *a, const float *c, unsigned flags, unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++)
        d[i] = bf_ldexp_lane(flip(a[i], flags & BF_NEGATE_A), flip(c[i], flags & BF_NEGATE_C));
}

static void cvti_lanes(float *d, const float *a, unsigned flags, unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++)
        d[i] = bf_bits_float((uint32_t)bf_cvt_f32_to_i32(flip(a[i], flags & BF_NEGATE_A)));
}

static void cvtf_lanes(float *d, const float *a, unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++)
        d[i] = bf_cvt_i32_to_f32((int32_t)bf_float_bits(a[i]));
}

static void special_lanes(enum bf_special op, float *d, const float *a, unsigned flags,
                          unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++)
        d[i] = bf_special(op, flip(a[i], flags & BF_NEGATE_A));
}

static void split_lanes(bf_half *out, const float *in, bool high, unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++)
        out[i] = (bf_half)(bf_float_bits(in[i]) >> (high ? 16 : 0));
}

static void join_lanes(float *inout, const bf_half *in, bool high, unsigned lanes) {
    for (unsigned i = 0; i < lanes; i++) {
        uint32_t bits = bf_float_bits(inout[i]);
        bits = high ? (bits & 0xffff) | (uint32_t)in[i] << 16 : (bits & 0xffff0000) | in[i];
        inout[i] = bf_bits_float(bits);
    }
}

static void count_lanes(const bf_half *in, unsigned lanes, uint64_t *infinities, uint64_t *nans) {
    for (unsigned i = 0; i < lanes; i++) {
        *infinities += bf_half_is_infinity(in[i]);
        *nans += bf_half_is_nan(in[i]);
    }
}

static const struct bf_lane_ops portable = {
    .name = "portable",
    .half_to_float = half_to_float_lanes,
    .splat = splat_lanes,
    .round = round_lanes,
    .fma = fma_lanes,
    .max = max_lanes,
    .sel = sel_lanes,
    .frac = frac_lanes,
    .ldexp = ldexp_lanes,
    .cvti = cvti_lanes,
    .cvtf = cvtf_lanes,
    .special = special_lanes,
    .split = split_lanes,
    .join = join_lanes,
    .count = count_lanes,
};

const struct bf_lane_ops *bf_lane_ops_portable(void) {
    return &portable;
}

/* ---- the floating-point environment ---- */

#if defined(__SSE__)
#include <xmmintrin.h>
void bf_fp_begin(struct bf_fp_environment *environment) {
    environment->saved = _mm_getcsr();
    _mm_setcsr(0x1f80); /* all exceptions masked, nearest even, no FTZ, no DAZ */
}
void bf_fp_end(const struct bf_fp_environment *environment) {
    _mm_setcsr((unsigned)environment->saved);
}
#elif defined(__aarch64__)
void bf_fp_begin(struct bf_fp_environment *environment) {
    uint64_t initial = 0;
    __asm__ volatile("mrs %0, fpcr" : "=r"(environment->saved));
    __asm__ volatile("msr fpcr, %0" : : "r"(initial));
}
void bf_fp_end(const struct bf_fp_environment *environment) {
    __asm__ volatile("msr fpcr, %0" : : "r"(environment->saved));
}
#else
void bf_fp_begin(struct bf_fp_environment *environment) {
    environment->saved = 0;
}
void bf_fp_end(const struct bf_fp_environment *environment) {
    (void)environment;
}
#endif
