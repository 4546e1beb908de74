/* fp.h - the arithmetic of the array: fp16 and f32, bit for bit. docs/numbers.md states every rule.
 *
 * All results are those of IEEE 754 with round to nearest even and subnormals, one rounding an
 * operation, and these additions:
 *   - an operation that yields NaN yields the canonical one: BF_HALF_NAN or BF_FLOAT_NAN;
 *   - BF_HALF_POISON and BF_FLOAT_POISON fill uninitialised storage; they are NaNs, so that
 *     arithmetic turns them into the canonical one and only moves keep them apart from it.
 * Nothing here uses libm, and no result depends on compiler, optimisation or processor. Operations
 * on f32 rely on the floating-point environment that C programs start with; a library that cannot
 * trust its caller brackets its work with bf_fp_begin and bf_fp_end.
 */
#ifndef BF_ISA_FP_H
#define BF_ISA_FP_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ir/isa/sfu.h"

typedef uint16_t bf_half; /* the 16 bits of a binary16 number */

#define BF_HALF_ZERO     ((bf_half)0x0000)
#define BF_HALF_ONE      ((bf_half)0x3c00)
#define BF_HALF_MAX      ((bf_half)0x7bff) /* 65504 */
#define BF_HALF_INFINITY ((bf_half)0x7c00)
#define BF_HALF_NAN      ((bf_half)0x7e00)
#define BF_HALF_POISON   ((bf_half)0x7e01)
#define BF_FLOAT_NAN     UINT32_C(0x7fc00000)
#define BF_FLOAT_POISON  UINT32_C(0x7fc00001)

static inline uint32_t bf_float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float bf_bits_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline bool bf_half_is_nan(bf_half h) {
    return (h & 0x7fff) > 0x7c00;
}
static inline bool bf_half_is_infinity(bf_half h) {
    return (h & 0x7fff) == 0x7c00;
}

/* ---- conversions; widening is exact, narrowing rounds once, overflow gives an infinity ---- */

float bf_half_to_float(bf_half h);
double bf_half_to_double(bf_half h);
bf_half bf_half_from_float(float x);
bf_half bf_half_from_double(double x);
/* x times 2^exponent, rounded once: how a result goes to RAM. */
bf_half bf_round_exp(float x, int exponent);

/* ---- one lane of each CAL operation (signs already applied) ---- */

float bf_fma32(float a, float b, float c); /* a x b + c, one rounding */
/* NaN if either is; -0 < +0. */
float bf_max32(float a, float c);
/* c >= 0 ? a : b. -0 counts as >= 0; NaN c gives NaN; a NaN not chosen does not matter. */
float bf_sel(float a, float b, float c);
/* x - floor(x), rounded once, so in [0, 1] including both ends: negative x nearer to 0 than 2^-25
 * gives 1. Never -0. Infinities give 0, as every integer does. */
float bf_frac32(float x);
float bf_ldexp32(float x, int exponent); /* x 2^exponent, one rounding, any exponent */
/* LDEXP: a x 2^int(c), int as bf_cvt_f32_to_i32; NaN if a or c is. */
float bf_ldexp_lane(float a, float c);
int32_t bf_cvt_f32_to_i32(float x); /* nearest even, saturating; NaN gives 0 */
float bf_cvt_i32_to_f32(int32_t x); /* nearest even */

/* ---- words: `lanes` is 4, 8, 16 or 32 ---- */

/* Change the sign of A (of the product), of C, before anything else happens. */
enum { BF_NEGATE_A = 1, BF_NEGATE_C = 2 };

/* An output may be the same array as an input, else arrays do not overlap. No alignment needed.
 * Results equal those of the scalar functions above, bit for bit, whatever table is used. */
struct bf_lane_ops {
    const char *name; /* "portable", "avx2" */
    void (*half_to_float)(float *out, const bf_half *in, unsigned lanes);
    void (*splat)(float *out, bf_half in, unsigned lanes); /* one lane, widened, to all */
    void (*round)(bf_half *out, const float *in, int exponent, unsigned lanes);
    void (*fma)(float *d, const float *a, const float *b, const float *c, unsigned flags,
                unsigned lanes);
    void (*max)(float *d, const float *a, const float *c, unsigned flags, unsigned lanes);
    void (*sel)(float *d, const float *a, const float *b, const float *c, unsigned flags,
                unsigned lanes);
    void (*frac)(float *d, const float *a, unsigned flags, unsigned lanes);
    void (*ldexp)(float *d, const float *a, const float *c, unsigned flags, unsigned lanes);
    void (*cvti)(float *d, const float *a, unsigned flags, unsigned lanes); /* d: raw int32 bits */
    void (*cvtf)(float *d, const float *a, unsigned lanes);                 /* a: raw int32 bits */
    void (*special)(enum bf_special op, float *d, const float *a, unsigned flags, unsigned lanes);
    /* Raw bits, nothing canonicalised: the low or high half of f32 words out to fp16 words, and
     * fp16 words into that half, the other half kept. */
    void (*split)(bf_half *out, const float *in, bool high, unsigned lanes);
    void (*join)(float *inout, const bf_half *in, bool high, unsigned lanes);
    /* Adds the number of infinities and NaNs among the lanes. */
    void (*count)(const bf_half *in, unsigned lanes, uint64_t *infinities, uint64_t *nans);
};

const struct bf_lane_ops *bf_lane_ops_portable(void);
/* The table that uses F16C, FMA and AVX2; NULL where the processor has not all three. */
const struct bf_lane_ops *bf_lane_ops_simd(void);
/* The fastest table for this processor, found out once. */
const struct bf_lane_ops *bf_lane_ops(void);

/* ---- the floating-point environment ---- */

/* Sets this thread to round to nearest even, keep subnormals and trap nothing; end restores what
 * was set before. */
struct bf_fp_environment {
    uint64_t saved;
};
void bf_fp_begin(struct bf_fp_environment *environment);
void bf_fp_end(const struct bf_fp_environment *environment);

#endif
