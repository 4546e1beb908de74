/* The scalar arithmetic against methods that share nothing with it: nearest neighbour in a sorted
 * list of all fp16 numbers for conversions, exact 128-bit integers for the FMA, doubles for the
 * rest. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "ir/isa/base.h"
#include "ir/isa/fp.h"

enum { FINITE = 0x7c00, RANDOM_RUN = 1000000 };

static uint64_t seed = 1;

static uint32_t random_bits(void) {
    return (uint32_t)(bf_random(&seed) >> 32);
}

/* Random bits; half of them near 1, so that sums cancel and round in interesting places. */
static float random_float(void) {
    uint32_t bits = random_bits();
    if (random_bits() & 1)
        bits = (bits & 0x87ffffff) | 0x38000000;
    if (!(random_bits() & 7)) /* few significant bits: exact results and ties */
        bits &= 0xfff80000;
    return bf_bits_float(bits);
}

static const uint32_t corner[] = {
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x807fffff, 0x00800000, 0x80800000,
    0x00800001, 0x3f800000, 0xbf800000, 0x3f800001, 0x3f7fffff, 0xbf7fffff, 0x3f000000, 0xbf000000,
    0x3fc00000, 0xbfc00000, 0x40200000, 0x33800000, 0xb3000000, 0xb3000001, 0xb2ffffff, 0x4a7fffff,
    0xca7fffff, 0x4affffff, 0xcaffffff, 0x4b000000, 0x4b800000, 0x4effffff, 0x4f000000, 0xcf000000,
    0xcf000001, 0x477fefff, 0x477ff000, 0x42fc0000, 0xc2fc0000, 0x43000000, 0xc3150000, 0xc3160000,
    0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0x7fc00001,
};
enum { CORNERS = sizeof corner / sizeof *corner };

static void same(float actual, float expected) {
    uint32_t bits = isnan(expected) ? 0x7fc00000 : bf_float_bits(expected);
    assert_int_equal(bf_float_bits(actual), bits);
}

/* ---- conversions ---- */

/* Value of each finite non-negative half by its definition, then 2^16, where the next one would be.
 */
static double half_value[FINITE + 1];

static int fill_half_values(void **state) {
    (void)state;
    for (int h = 0; h < FINITE; h++)
        half_value[h] = h < 0x400 ? ldexp(h, -24) : ldexp(0x400 + h % 0x400, h / 0x400 - 25);
    half_value[FINITE] = 65536;
    return 0;
}

/* Nearest half by binary search; a tie goes to the even code, and past the middle of 65504 and
 * 65536 lies infinity, whose code follows. */
static bf_half nearest_half(double x) {
    if (isnan(x))
        return 0x7e00;
    double magnitude = fabs(x);
    unsigned low = 0, high = FINITE;
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        if (half_value[middle] <= magnitude)
            low = middle;
        else
            high = middle;
    }
    double tie = (half_value[low] + half_value[high]) / 2; /* exact */
    unsigned code = magnitude > tie || (magnitude == tie && low % 2) ? high : low;
    return (bf_half)(code | (signbit(x) ? 0x8000 : 0));
}

static void every_half_widens_exactly(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        unsigned magnitude = h & 0x7fff;
        double value = magnitude < FINITE    ? half_value[magnitude]
                       : magnitude == FINITE ? INFINITY
                                             : NAN;
        same(bf_half_to_float((bf_half)h), (float)(h & 0x8000 ? -value : value));
        assert_true(isnan(value) ? isnan(bf_half_to_double((bf_half)h))
                                 : bf_half_to_double((bf_half)h) == (h & 0x8000 ? -value : value));
        bf_half back = magnitude > FINITE ? 0x7e00 : (bf_half)h;
        assert_int_equal(bf_half_from_float(bf_half_to_float((bf_half)h)), back);
        assert_int_equal(bf_half_from_double(bf_half_to_double((bf_half)h)), back);
        assert_int_equal(bf_half_is_nan((bf_half)h), magnitude > FINITE);
        assert_int_equal(bf_half_is_infinity((bf_half)h), magnitude == FINITE);
    }
}

static void check_narrowing(double x) {
    for (int sign = 0; sign < 2; sign++, x = -x) {
        assert_int_equal(bf_half_from_double(x), nearest_half(x));
        assert_int_equal(bf_half_from_float((float)x), nearest_half((float)x));
    }
}

/* Every half and every middle between two, with the floats and doubles next to them. A double just
 * beside a middle would round wrong by way of float. */
static void every_boundary_narrows_right(void **state) {
    (void)state;
    for (unsigned h = 0; h < FINITE; h++) {
        double middle = (half_value[h] + half_value[h + 1]) / 2;
        double around[] = {half_value[h], middle};
        for (int i = 0; i < 2; i++) {
            check_narrowing(around[i]);
            check_narrowing(nextafter(around[i], INFINITY));
            check_narrowing(nextafter(around[i], 0));
            check_narrowing(nextafterf((float)around[i], INFINITY));
            check_narrowing(nextafterf((float)around[i], 0));
        }
    }
    check_narrowing(INFINITY);
    check_narrowing(1e300);
    check_narrowing(1e-310);
    check_narrowing(NAN);
}

static void random_numbers_narrow_right(void **state) {
    (void)state;
    for (int i = 0; i < 3 * RANDOM_RUN; i++) {
        float x = bf_bits_float(random_bits());
        assert_int_equal(bf_half_from_float(x), nearest_half(x));
        uint32_t near = (random_bits() & 0x8fffffff) | 0x30000000; /* 2^-31 to 2 */
        int exponent = (int)(random_bits() % 33) - 16;
        x = bf_bits_float(near);
        assert_int_equal(bf_round_exp(x, exponent), nearest_half(ldexp(x, exponent)));
    }
}

static void rounding_takes_any_exponent(void **state) {
    (void)state;
    static const int exponents[] = {-2000000000, -300, -149, -65, -64, -16,       0,
                                    15,          64,   65,   149, 300, 2000000000};
    for (size_t e = 0; e < sizeof exponents / sizeof *exponents; e++)
        for (int i = 0; i < CORNERS + 1000; i++) {
            float x = i < CORNERS ? bf_bits_float(corner[i]) : random_float();
            int exponent = exponents[e] < -500 ? -500 : exponents[e] > 500 ? 500 : exponents[e];
            assert_int_equal(bf_round_exp(x, exponents[e]), nearest_half(ldexp(x, exponent)));
            same(bf_ldexp32(x, exponents[e]), (float)ldexp(x, exponent));
        }
}

static void poison_and_signalling_nans_become_canonical(void **state) {
    (void)state;
    same(bf_half_to_float(BF_HALF_POISON), NAN);
    float poison = bf_bits_float(BF_FLOAT_POISON);
    assert_int_equal(bf_half_from_float(poison), BF_HALF_NAN);
    same(bf_fma32(poison, 0, 1), NAN);
    same(bf_fma32(1, 0, poison), NAN);
    same(bf_max32(poison, INFINITY), NAN);
    same(bf_max32(INFINITY, poison), NAN);
    same(bf_sel(poison, 1, 0), NAN);
    same(bf_sel(1, poison, 0), 1);
    same(bf_sel(1, 2, poison), NAN);
    same(bf_frac32(poison), NAN);
    same(bf_ldexp32(poison, 1), NAN);
    same(bf_ldexp_lane(1, poison), NAN);
    assert_int_equal(bf_cvt_f32_to_i32(poison), 0);
    same(bf_special(BF_SPECIAL_EXP2, poison), NAN);
    same(bf_special(BF_SPECIAL_RCP, poison), NAN);
    same(bf_special(BF_SPECIAL_RSQRT, poison), NAN);
}

/* ---- the FMA ---- */

typedef unsigned __int128 wide;

/* |x| = value x 2^exponent, the top bit of value at place `top`; x finite, not 0. */
static wide widened(double x, int top, int *exponent) {
    double fraction = frexp(fabs(x), exponent); /* [0.5, 1) */
    *exponent -= top + 1;
    return (wide)ldexp(fraction, top + 1);
}

/* Rounds value x 2^exponent one bit at a time. */
static float rounded(bool negative, wide value, int exponent) {
    int top = -1;
    for (wide rest = value; rest; rest >>= 1)
        top++;
    int unit = top + exponent - 23 > -149 ? top + exponent - 23 : -149;
    bool guard = false, sticky = false;
    for (; exponent < unit; exponent++, value >>= 1) {
        sticky |= guard;
        guard = value & 1;
    }
    value += guard && (sticky || (value & 1));
    double result = ldexp((double)(uint64_t)value, exponent); /* at most 24 bits: exact */
    return (float)(negative ? -result : result);
}

static float exact_fma(float a, float b, float c) {
    double product = (double)a * b; /* 48 bits: exact */
    if (!isfinite(product) || !isfinite(c) || product == 0 || c == 0)
        return (float)(product + c); /* no rounding but, for c = 0, that to float */
    int p_exponent, c_exponent;
    wide p = widened(product, 47, &p_exponent), q = widened(c, 23, &c_exponent);
    int distance = p_exponent - c_exponent;
    if (distance > 70) { /* c only tells on which side of p the sum lies */
        p <<= 3, p_exponent -= 3;
        q = 1, c_exponent = p_exponent;
    } else if (distance < -70) {
        q <<= 40, c_exponent -= 40;
        p = 1, p_exponent = c_exponent;
    } else if (distance > 0) {
        p <<= distance, p_exponent -= distance;
    } else {
        q <<= -distance, c_exponent += distance;
    }
    bool p_negative = signbit(product), c_negative = signbit(c);
    if (p_negative == c_negative)
        return rounded(p_negative, p + q, p_exponent);
    if (p == q)
        return 0;
    return p > q ? rounded(p_negative, p - q, p_exponent) : rounded(c_negative, q - p, p_exponent);
}

static void fma_rounds_once_at_corners(void **state) {
    (void)state;
    for (int i = 0; i < CORNERS; i++)
        for (int j = 0; j < CORNERS; j++)
            for (int k = 0; k < CORNERS; k++) {
                float a = bf_bits_float(corner[i]), b = bf_bits_float(corner[j]),
                      c = bf_bits_float(corner[k]);
                same(bf_fma32(a, b, c), exact_fma(a, b, c));
            }
}

static void fma_rounds_once_at_random(void **state) {
    (void)state;
    for (int i = 0; i < RANDOM_RUN; i++) {
        float a = random_float(), b = random_float(), c = random_float();
        same(bf_fma32(a, b, c), exact_fma(a, b, c));
        a = bf_half_to_float((bf_half)random_bits()), b = bf_half_to_float((bf_half)random_bits());
        same(bf_fma32(a, b, c), exact_fma(a, b, c));
    }
}

/* The addend close to the product's negative, or so far below it that only its sign decides a tie:
 * two roundings go wrong here. */
static void fma_cancels_and_breaks_ties(void **state) {
    (void)state;
    for (int i = 0; i < RANDOM_RUN / 4; i++) {
        float a = random_float(), b = random_float();
        float c = bf_bits_float(bf_float_bits(-(a * b)) + random_bits() % 5 - 2);
        same(bf_fma32(a, b, c), exact_fma(a, b, c));
        a = bf_bits_float(0x3f800000 | (random_bits() & 0x007ff000)); /* 12 bits */
        b = bf_bits_float(0x3f800000 | (random_bits() & 0x007ff800)); /* 13: product has up to 25 */
        int down = -1 - (int)(random_bits() % 120);
        c = bf_ldexp32(random_bits() & 1 ? 1.0f : -1.0f, down);
        same(bf_fma32(a, b, c), exact_fma(a, b, c));
        float shrunk = bf_ldexp32(a, -126 - (int)(random_bits() % 26)); /* subnormal results */
        same(bf_fma32(shrunk, b, bf_ldexp32(c, -126)), exact_fma(shrunk, b, bf_ldexp32(c, -126)));
    }
}

/* ---- the other operations ---- */

static void check_unary(float x) {
    float fraction = isinf(x) ? 0 : exact_fma(x, 1, -floorf(x));
    same(bf_frac32(x), fraction == 0 ? 0 : fraction);
    double near = nearbyint((double)x);
    int32_t whole = isnan(x)                ? 0
                    : near >= 2147483647    ? INT32_MAX
                    : near <= -2147483648.0 ? INT32_MIN
                                            : (int32_t)near;
    assert_int_equal(bf_cvt_f32_to_i32(x), whole);
    int32_t bits = (int32_t)bf_float_bits(x);
    same(bf_cvt_i32_to_f32(bits), (float)(double)bits);
}

static void check_binary(float x, float y) {
    float larger = isnan(x) || isnan(y) ? NAN : x > y || (x == y && !signbit(x)) ? x : y;
    same(bf_max32(x, y), larger);
    same(bf_sel(x, 42, y), isnan(y) ? NAN : y < 0 ? 42 : x);
    same(bf_sel(42, x, y), isnan(y) ? NAN : y < 0 ? x : 42);
    double near = nearbyint((double)y);
    int exponent = near > 500 ? 500 : near < -500 ? -500 : isnan(near) ? 0 : (int)near;
    same(bf_ldexp_lane(x, y), isnan(y) ? NAN : (float)ldexp(x, exponent));
}

static void operations_keep_their_rules(void **state) {
    (void)state;
    for (int i = 0; i < CORNERS; i++) {
        check_unary(bf_bits_float(corner[i]));
        for (int j = 0; j < CORNERS; j++)
            check_binary(bf_bits_float(corner[i]), bf_bits_float(corner[j]));
    }
    for (int i = 0; i < RANDOM_RUN; i++) {
        float x = random_float(), y = random_float();
        check_unary(x);
        check_unary(bf_ldexp32(x, (int)(random_bits() % 40)));
        check_binary(x, y);
        check_binary(x, bf_ldexp32(y, (int)(random_bits() % 16)));
    }
}

static void zeros_and_fractions_have_the_documented_signs(void **state) {
    (void)state;
    same(bf_max32(-0.0f, 0.0f), 0.0f);
    same(bf_max32(0.0f, -0.0f), 0.0f);
    same(bf_max32(-0.0f, -0.0f), -0.0f);
    same(bf_sel(1, 2, -0.0f), 1);
    same(bf_sel(-0.0f, 2, 1), -0.0f);
    same(bf_frac32(-0.0f), 0.0f);
    same(bf_frac32(-3.0f), 0.0f);
    same(bf_frac32(-0.25f), 0.75f);
    same(bf_frac32(-0x1p-149f), 1.0f);
    same(bf_frac32(-0x1p-25f), 1.0f); /* a tie, to even */
    same(bf_frac32(-0x1.000002p-25f), 0x1.fffffep-1f);
    same(bf_fma32(1, -1, 1), 0.0f);
    same(bf_fma32(-0.0f, 1, -0.0f), -0.0f);
    assert_int_equal(bf_cvt_f32_to_i32(2.5f), 2);
    assert_int_equal(bf_cvt_f32_to_i32(-3.5f), -4);
}

/* A caller that flushes subnormals and rounds down gets the same bits inside begin and end, and its
 * own environment back. */
static void environment_is_set_and_restored(void **state) {
    (void)state;
#if defined(__SSE__)
    struct bf_fp_environment caller, outer;
    volatile float tiny = 0x1p-126f, half = 0.5f;
    bf_fp_begin(&caller);
    outer = (struct bf_fp_environment){0x1f80 | 0x8040 | 0x2000}; /* FTZ, DAZ, down */
    bf_fp_end(&outer);
    float flushed = tiny * half;
    struct bf_fp_environment mine;
    bf_fp_begin(&mine);
    float kept = bf_fma32(tiny, half, 0);
    bf_fp_end(&mine);
    float flushed_again = tiny * half;
    bf_fp_end(&caller);
    same(flushed, 0);
    same(kept, 0x1p-127f);
    same(flushed_again, 0);
    same(tiny * half, 0x1p-127f);
#else
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_widens_exactly),
        cmocka_unit_test(every_boundary_narrows_right),
        cmocka_unit_test(random_numbers_narrow_right),
        cmocka_unit_test(rounding_takes_any_exponent),
        cmocka_unit_test(poison_and_signalling_nans_become_canonical),
        cmocka_unit_test(fma_rounds_once_at_corners),
        cmocka_unit_test(fma_rounds_once_at_random),
        cmocka_unit_test(fma_cancels_and_breaks_ties),
        cmocka_unit_test(operations_keep_their_rules),
        cmocka_unit_test(zeros_and_fractions_have_the_documented_signs),
        cmocka_unit_test(environment_is_set_and_restored),
    };
    return cmocka_run_group_tests(tests, fill_half_values, NULL);
}
