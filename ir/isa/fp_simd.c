/* fp_simd.c - the words' operations with F16C, FMA and AVX2, and the choice of a table.
 *
 * Compiled into every x86-64 build by target attributes and chosen at run time. Results are those
 * of fp.c: each function below says why where it is not plain. Eight lanes at a time; a rest of
 * four, or lanes outside the range that a fast path treats, go to the portable table. */
#include "ir/isa/fp.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <cpuid.h>
#include <immintrin.h>

#define WIDE __attribute__((target("avx2,fma,f16c")))
enum { STEP = 8 };

/* ---- parts ---- */

WIDE static inline __m256 canonical(__m256 x) {
    __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32((int)BF_FLOAT_NAN));
    return _mm256_blendv_ps(x, nan, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

/* The bits to xor into an operand whose sign a flag may change. */
WIDE static inline __m256 sign_of(unsigned negate) {
    return _mm256_castsi256_ps(_mm256_set1_epi32(negate ? INT32_MIN : 0));
}

WIDE static inline __m256 load(const float *p, __m256 sign) {
    return _mm256_xor_ps(_mm256_loadu_ps(p), sign);
}

WIDE static inline __m256 widen(const bf_half *p) {
    return canonical(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* ---- conversions ---- */

WIDE static void half_to_float_lanes(float *out, const bf_half *in, unsigned lanes) {
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP)
        _mm256_storeu_ps(out + i, widen(in + i));
    if (i < lanes)
        bf_lane_ops_portable()->half_to_float(out + i, in + i, lanes - i);
}

WIDE static void splat_lanes(float *out, bf_half in, unsigned lanes) {
    __m256 x = canonical(_mm256_cvtph_ps(_mm_set1_epi16((short)in)));
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP)
        _mm256_storeu_ps(out + i, x);
    for (; i < lanes; i++)
        out[i] = _mm256_cvtss_f32(x);
}

/* The multiplication is exact, or overflows to what also overflows fp16, or is subnormal and then
 * far below half the smallest fp16 number: so the conversion does the only rounding that counts. */
WIDE static void round_lanes(bf_half *out, const float *in, int exponent, unsigned lanes) {
    unsigned i = 0;
    if (exponent >= -64 && exponent <= 64) {
        __m256 factor = _mm256_set1_ps(bf_bits_float((uint32_t)(exponent + 127) << 23));
        for (; i + STEP <= lanes; i += STEP) {
            __m256 x = canonical(_mm256_mul_ps(_mm256_loadu_ps(in + i), factor));
            __m128i half = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
            _mm_storeu_si128((__m128i *)(void *)(out + i), half);
        }
    }
    if (i < lanes)
        bf_lane_ops_portable()->round(out + i, in + i, exponent, lanes - i);
}

/* ---- operations ---- */

WIDE static void fma_lanes(float *d, const float *a, const float *b, const float *c, unsigned flags,
                           unsigned lanes) {
    __m256 sign_a = sign_of(flags & BF_NEGATE_A), sign_c = sign_of(flags & BF_NEGATE_C);
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP)
        _mm256_storeu_ps(d + i,
                         canonical(_mm256_fmadd_ps(load(a + i, sign_a), _mm256_loadu_ps(b + i),
                                                   load(c + i, sign_c))));
    if (i < lanes)
        bf_lane_ops_portable()->fma(d + i, a + i, b + i, c + i, flags, lanes - i);
}

/* Equal operands differ at most as +0 and -0 do; their and is then +0. */
WIDE static void max_lanes(float *d, const float *a, const float *c, unsigned flags,
                           unsigned lanes) {
    __m256 sign_a = sign_of(flags & BF_NEGATE_A), sign_c = sign_of(flags & BF_NEGATE_C);
    __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32((int)BF_FLOAT_NAN));
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP) {
        __m256 x = load(a + i, sign_a), y = load(c + i, sign_c);
        __m256 larger = _mm256_blendv_ps(_mm256_max_ps(x, y), _mm256_and_ps(x, y),
                                         _mm256_cmp_ps(x, y, _CMP_EQ_OQ));
        _mm256_storeu_ps(d + i, _mm256_blendv_ps(larger, nan, _mm256_cmp_ps(x, y, _CMP_UNORD_Q)));
    }
    if (i < lanes)
        bf_lane_ops_portable()->max(d + i, a + i, c + i, flags, lanes - i);
}

/* A NaN c is or'ed into the result, which stays a NaN and becomes the canonical one. */
WIDE static void sel_lanes(float *d, const float *a, const float *b, const float *c, unsigned flags,
                           unsigned lanes) {
    __m256 sign_a = sign_of(flags & BF_NEGATE_A), sign_c = sign_of(flags & BF_NEGATE_C);
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP) {
        __m256 x = load(a + i, sign_a), y = _mm256_loadu_ps(b + i), z = load(c + i, sign_c);
        __m256 chosen = _mm256_blendv_ps(y, x, _mm256_cmp_ps(z, _mm256_setzero_ps(), _CMP_GE_OQ));
        chosen = _mm256_or_ps(chosen, _mm256_cmp_ps(z, z, _CMP_UNORD_Q));
        _mm256_storeu_ps(d + i, canonical(chosen));
    }
    if (i < lanes)
        bf_lane_ops_portable()->sel(d + i, a + i, b + i, c + i, flags, lanes - i);
}

/* An infinity minus itself would be NaN: 0 takes its place. */
WIDE static void frac_lanes(float *d, const float *a, unsigned flags, unsigned lanes) {
    __m256 sign_a = sign_of(flags & BF_NEGATE_A);
    __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MAX));
    __m256 infinity = _mm256_castsi256_ps(_mm256_set1_epi32(0x7f800000));
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP) {
        __m256 x = load(a + i, sign_a);
        __m256 infinite = _mm256_cmp_ps(_mm256_and_ps(x, magnitude), infinity, _CMP_EQ_OQ);
        __m256 fraction = _mm256_sub_ps(x, _mm256_floor_ps(x));
        _mm256_storeu_ps(d + i, canonical(_mm256_andnot_ps(infinite, fraction)));
    }
    if (i < lanes)
        bf_lane_ops_portable()->frac(d + i, a + i, flags, lanes - i);
}

/* Four lanes of x 2^n, |n| <= 512: exact in doubles, so that narrowing is the only rounding. */
WIDE static inline __m128 scale(__m128 x, __m128i n) {
    __m256i field = _mm256_add_epi64(_mm256_cvtepi32_epi64(n), _mm256_set1_epi64x(1023));
    __m256d factor = _mm256_castsi256_pd(_mm256_slli_epi64(field, 52));
    return _mm256_cvtpd_ps(_mm256_mul_pd(_mm256_cvtps_pd(x), factor));
}

/* 2^+-512 takes every f32 to infinity or 0, so that the exponent may be clamped there. */
WIDE static void ldexp_lanes(float *d, const float *a, const float *c, unsigned flags,
                             unsigned lanes) {
    __m256 sign_a = sign_of(flags & BF_NEGATE_A), sign_c = sign_of(flags & BF_NEGATE_C);
    __m256 limit = _mm256_set1_ps(512);
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP) {
        __m256 x = load(a + i, sign_a), y = load(c + i, sign_c);
        __m256 near = _mm256_round_ps(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        near = _mm256_max_ps(_mm256_min_ps(near, limit), _mm256_sub_ps(_mm256_setzero_ps(), limit));
        __m256i n = _mm256_cvttps_epi32(near);
        __m256 scaled =
            _mm256_set_m128(scale(_mm256_extractf128_ps(x, 1), _mm256_extracti128_si256(n, 1)),
                            scale(_mm256_castps256_ps128(x), _mm256_castsi256_si128(n)));
        scaled = _mm256_or_ps(scaled, _mm256_cmp_ps(y, y, _CMP_UNORD_Q));
        _mm256_storeu_ps(d + i, canonical(scaled));
    }
    if (i < lanes)
        bf_lane_ops_portable()->ldexp(d + i, a + i, c + i, flags, lanes - i);
}

/* The conversion gives INT32_MIN for whatever does not fit: right below, wrong above and for NaN.
 */
WIDE static void cvti_lanes(float *d, const float *a, unsigned flags, unsigned lanes) {
    __m256 sign_a = sign_of(flags & BF_NEGATE_A);
    __m256 most = _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MAX));
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP) {
        __m256 x = load(a + i, sign_a);
        __m256 near = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        __m256 whole = _mm256_castsi256_ps(_mm256_cvttps_epi32(near));
        __m256 above = _mm256_cmp_ps(x, _mm256_set1_ps(2147483648.0f), _CMP_GE_OQ);
        whole = _mm256_blendv_ps(whole, most, above);
        _mm256_storeu_ps(d + i, _mm256_and_ps(whole, _mm256_cmp_ps(x, x, _CMP_ORD_Q)));
    }
    if (i < lanes)
        bf_lane_ops_portable()->cvti(d + i, a + i, flags, lanes - i);
}

WIDE static void cvtf_lanes(float *d, const float *a, unsigned lanes) {
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP)
        _mm256_storeu_ps(d + i, _mm256_cvtepi32_ps(_mm256_castps_si256(_mm256_loadu_ps(a + i))));
    if (i < lanes)
        bf_lane_ops_portable()->cvtf(d + i, a + i, lanes - i);
}

/* ---- special functions: sfu.c with eight lanes, where argument and result are normal ---- */

WIDE static inline __m256i evaluate(enum bf_special op, __m256i index, __m256i d) {
    const struct bf_special_table *table = &bf_special_tables[op];
    __m256i slope = _mm256_mullo_epi32(_mm256_i32gather_epi32(table->c2, index, 4), d);
    slope =
        _mm256_add_epi32(_mm256_i32gather_epi32(table->c1, index, 4), _mm256_srai_epi32(slope, 16));
    return _mm256_add_epi32(_mm256_i32gather_epi32(table->c0, index, 4),
                            _mm256_srai_epi32(_mm256_mullo_epi32(slope, d), 12));
}

WIDE static inline __m256i all(int x) {
    return _mm256_set1_epi32(x);
}

/* Shift counts beyond 31 give 0, so that of the two shifts only the right one counts, and none for
 * tiny and subnormal x. */
WIDE static inline bool exp2_step(float *d, __m256 x) {
    __m256 inside = _mm256_and_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-126), _CMP_GE_OQ),
                                  _mm256_cmp_ps(x, _mm256_set1_ps(128), _CMP_LT_OQ));
    if (_mm256_movemask_ps(inside) != 0xff)
        return false;
    __m256i bits = _mm256_castps_si256(x), sign = _mm256_srai_epi32(bits, 31);
    __m256i field = _mm256_and_si256(_mm256_srli_epi32(bits, 23), all(0xff));
    __m256i mantissa = _mm256_or_si256(_mm256_and_si256(bits, all(0x7fffff)), all(0x800000));
    __m256i left = _mm256_sub_epi32(field, all(129)), right = _mm256_sub_epi32(all(129), field);
    __m256i fixed =
        _mm256_or_si256(_mm256_sllv_epi32(mantissa, left), _mm256_srlv_epi32(mantissa, right));
    fixed = _mm256_sub_epi32(_mm256_xor_si256(fixed, sign), sign);
    __m256i index = _mm256_and_si256(_mm256_srli_epi32(fixed, 16), all(31));
    __m256i y = evaluate(BF_SPECIAL_EXP2, index, _mm256_and_si256(fixed, all(0xffff)));
    __m256i exponent = _mm256_add_epi32(_mm256_srai_epi32(fixed, 21), all(126));
    y = _mm256_add_epi32(_mm256_slli_epi32(exponent, 23), y);
    _mm256_storeu_ps(d, _mm256_castsi256_ps(y));
    return true;
}

WIDE static inline bool rcp_step(float *d, __m256 x) {
    __m256i bits = _mm256_castps_si256(x);
    __m256i field = _mm256_and_si256(_mm256_srli_epi32(bits, 23), all(0xff));
    __m256i outside =
        _mm256_or_si256(_mm256_cmpgt_epi32(all(1), field), _mm256_cmpgt_epi32(field, all(252)));
    if (!_mm256_testz_si256(outside, outside))
        return false;
    __m256i index = _mm256_and_si256(_mm256_srli_epi32(bits, 18), all(31));
    __m256i offset = _mm256_and_si256(_mm256_srli_epi32(bits, 2), all(0xffff));
    __m256i y = evaluate(BF_SPECIAL_RCP, index, offset);
    y = _mm256_add_epi32(_mm256_slli_epi32(_mm256_sub_epi32(all(252), field), 23), y);
    y = _mm256_or_si256(y, _mm256_and_si256(bits, all(INT32_MIN)));
    _mm256_storeu_ps(d, _mm256_castsi256_ps(y));
    return true;
}

WIDE static inline bool rsqrt_step(float *d, __m256 x) {
    __m256i bits = _mm256_castps_si256(x);
    __m256i outside = _mm256_or_si256(_mm256_cmpgt_epi32(all(0x00800000), bits),
                                      _mm256_cmpgt_epi32(bits, all(0x7f7fffff)));
    if (!_mm256_testz_si256(outside, outside))
        return false;
    /* field = exponent + 127: an odd exponent has an even field; half = (exponent - odd) / 2 */
    __m256i field = _mm256_srli_epi32(bits, 23);
    __m256i odd = _mm256_andnot_si256(field, all(1));
    __m256i half = _mm256_srai_epi32(_mm256_sub_epi32(_mm256_sub_epi32(field, all(127)), odd), 1);
    __m256i index = _mm256_or_si256(_mm256_slli_epi32(odd, 4),
                                    _mm256_and_si256(_mm256_srli_epi32(bits, 19), all(15)));
    __m256i offset = _mm256_and_si256(_mm256_srli_epi32(bits, 3), all(0xffff));
    __m256i y = evaluate(BF_SPECIAL_RSQRT, index, offset);
    y = _mm256_add_epi32(_mm256_slli_epi32(_mm256_sub_epi32(all(125), half), 23), y);
    _mm256_storeu_ps(d, _mm256_castsi256_ps(y));
    return true;
}

WIDE static void special_lanes(enum bf_special op, float *d, const float *a, unsigned flags,
                               unsigned lanes) {
    __m256 sign_a = sign_of(flags & BF_NEGATE_A);
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP) {
        __m256 x = load(a + i, sign_a);
        bool done = op == BF_SPECIAL_EXP2  ? exp2_step(d + i, x)
                    : op == BF_SPECIAL_RCP ? rcp_step(d + i, x)
                                           : rsqrt_step(d + i, x);
        if (!done)
            bf_lane_ops_portable()->special(op, d + i, a + i, flags, STEP);
    }
    if (i < lanes)
        bf_lane_ops_portable()->special(op, d + i, a + i, flags, lanes - i);
}

/* ---- moves ---- */

WIDE static void split_lanes(bf_half *out, const float *in, bool high, unsigned lanes) {
    __m128i count = _mm_cvtsi32_si128(high ? 16 : 0);
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP) {
        __m256i bits = _mm256_castps_si256(_mm256_loadu_ps(in + i));
        bits = _mm256_and_si256(_mm256_srl_epi32(bits, count), all(0xffff));
        bits = _mm256_permute4x64_epi64(_mm256_packus_epi32(bits, bits), 0x08);
        _mm_storeu_si128((__m128i *)(void *)(out + i), _mm256_castsi256_si128(bits));
    }
    if (i < lanes)
        bf_lane_ops_portable()->split(out + i, in + i, high, lanes - i);
}

WIDE static void join_lanes(float *inout, const bf_half *in, bool high, unsigned lanes) {
    __m128i count = _mm_cvtsi32_si128(high ? 16 : 0);
    __m256i kept = all(high ? 0x0000ffff : (int)0xffff0000);
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP) {
        __m256i half =
            _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(in + i)));
        __m256i bits = _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(inout + i)), kept);
        bits = _mm256_or_si256(bits, _mm256_sll_epi32(half, count));
        _mm256_storeu_ps(inout + i, _mm256_castsi256_ps(bits));
    }
    if (i < lanes)
        bf_lane_ops_portable()->join(inout + i, in + i, high, lanes - i);
}

WIDE static void count_lanes(const bf_half *in, unsigned lanes, uint64_t *infinities,
                             uint64_t *nans) {
    __m128i infinity = _mm_set1_epi16(0x7c00), magnitude = _mm_set1_epi16(0x7fff);
    unsigned i = 0;
    for (; i + STEP <= lanes; i += STEP) {
        __m128i h =
            _mm_and_si128(_mm_loadu_si128((const __m128i *)(const void *)(in + i)), magnitude);
        unsigned infinite = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi16(h, infinity));
        unsigned nan = (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi16(h, infinity));
        if (infinite | nan) { /* two bits a lane */
            *infinities += (unsigned)__builtin_popcount(infinite) / 2;
            *nans += (unsigned)__builtin_popcount(nan) / 2;
        }
    }
    if (i < lanes)
        bf_lane_ops_portable()->count(in + i, lanes - i, infinities, nans);
}

/* ---- the table ---- */

static const struct bf_lane_ops simd = {
    .name = "avx2",
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

const struct bf_lane_ops *bf_lane_ops_simd(void) {
    unsigned a, b, c = 0, d;
    __builtin_cpu_init();
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
    return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &simd : NULL;
}

#else

const struct bf_lane_ops *bf_lane_ops_simd(void) {
    return NULL;
}

#endif

const struct bf_lane_ops *bf_lane_ops(void) {
    static const struct bf_lane_ops *_Atomic chosen; /* every thread would store the same */
    const struct bf_lane_ops *ops = chosen;
    if (!ops) {
        ops = bf_lane_ops_simd();
        if (!ops)
            ops = bf_lane_ops_portable();
        chosen = ops;
    }
    return ops;
}
