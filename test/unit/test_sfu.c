/* The special functions: their tables computed again, their error over every significand, their
 * special cases. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ir/isa/base.h"
#include "ir/isa/fp.h"

/* ---- the tables ---- */

static long double function(enum bf_special op, long double x) {
    return op == BF_SPECIAL_EXP2 ? exp2l(x) : op == BF_SPECIAL_RCP ? 1 / x : 1 / sqrtl(x);
}

/* Segment i of an operation is [start, start + width). */
static void segment(enum bf_special op, int i, long double *start, long double *width) {
    if (op == BF_SPECIAL_RSQRT) {
        long double octave = i < 16 ? 1 : 2;
        *start = octave * (16 + i % 16) / 16;
        *width = octave / 16;
    } else {
        *start = (op == BF_SPECIAL_RCP) + i / 32.0L;
        *width = 1 / 32.0L;
    }
}

static void tables_are_what_their_rule_gives(void **state) {
    (void)state;
    for (int op = 0; op < BF_SPECIALS; op++)
        for (int i = 0; i < BF_SPECIAL_SEGMENTS; i++) {
            long double start, width, unit = op == BF_SPECIAL_EXP2 ? 0x1p23L : 0x1p24L;
            segment((enum bf_special)op, i, &start, &width);
            long double f0 = function((enum bf_special)op, start) * unit,
                        fm = function((enum bf_special)op, start + width / 2) * unit,
                        f1 = function((enum bf_special)op, start + width) * unit;
            const struct bf_special_table *table = &bf_special_tables[op];
            assert_int_equal(table->c0[i], (int32_t)floorl(f0 + 0.5L));
            assert_int_equal(table->c1[i], (int32_t)floorl((-3 * f0 + 4 * fm - f1) / 16 + 1.25L));
            assert_int_equal(table->c2[i], (int32_t)floorl((2 * f0 - 4 * fm + 2 * f1) / 16 + 0.5L));
        }
}

/* What a hardware author may count on: field widths, and no intermediate beyond 32 bits. */
static void intermediates_fit_the_documented_widths(void **state) {
    (void)state;
    for (int op = 0; op < BF_SPECIALS; op++)
        for (int i = 0; i < BF_SPECIAL_SEGMENTS; i++) {
            const struct bf_special_table *table = &bf_special_tables[op];
            int64_t c0 = table->c0[i], c1 = table->c1[i], c2 = table->c2[i];
            assert_true(c0 >= 1 << 23 && c0 <= 1 << 24);
            assert_true(c1 >= INT16_MIN && c1 <= INT16_MAX);
            assert_true(c2 >= 0 && c2 < 1 << 11);
            for (int64_t d = 0; d < 1 << 16; d++) {
                int64_t slope = c1 + ((c2 * d) >> 16), y = c0 + ((slope * d) >> 12);
                if (slope < INT16_MIN || slope > INT16_MAX || y < 1 << 23 || y > 1 << 24)
                    fail_msg("op %d segment %d offset %d: slope %d, y %d", op, i, (int)d,
                             (int)slope, (int)y);
            }
        }
}

/* ---- errors ---- */

static double worst_error(enum bf_special op, uint32_t first, uint32_t last, uint32_t step) {
    double worst = 0;
    for (uint32_t bits = first; bits < last; bits += step) {
        float x = bf_bits_float(bits);
        double exact = op == BF_SPECIAL_EXP2  ? exp2(x)
                       : op == BF_SPECIAL_RCP ? 1.0 / x
                                              : 1 / sqrt(x);
        double error = fabs(bf_special(op, x) / exact - 1);
        worst = error > worst ? error : worst;
    }
    return worst;
}

static void errors_stay_below_the_documented_bounds(void **state) {
    (void)state;
    /* all fractions of EXP2 at 2^-23; all significands of RCP, of RSQRT in both octaves */
    assert_true(worst_error(BF_SPECIAL_EXP2, 0x3f800000, 0x40000000, 1) < 0x1p-18);
    assert_true(worst_error(BF_SPECIAL_RCP, 0x3f800000, 0x40000000, 1) < 0x1p-18);
    assert_true(worst_error(BF_SPECIAL_RSQRT, 0x3f800000, 0x40800000, 1) < 0x1.4p-18);
    /* all magnitudes whose result is normal */
    assert_true(worst_error(BF_SPECIAL_EXP2, 0x00000000, 0x43000000, 997) < 0x1p-18);
    assert_true(worst_error(BF_SPECIAL_EXP2, 0x80000000, 0xc2fc0001, 997) < 0x1p-18);
    assert_true(worst_error(BF_SPECIAL_RCP, 0x00200001, 0x7e800000, 1999) < 0x1p-18);
    assert_true(worst_error(BF_SPECIAL_RSQRT, 0x00000001, 0x7f800000, 1999) < 0x1.4p-18);
}

/* Where the functions are not monotone, they step back by less than 2^-19. */
static void steps_back_are_small(void **state) {
    (void)state;
    float last[BF_SPECIALS] = {0, 2, 2};
    for (uint32_t bits = 0x3f800000; bits < 0x40800000; bits++) {
        float x = bf_bits_float(bits);
        float exp2_now = bf_exp2_32(x), rcp_now = bf_rcp32(x), rsqrt_now = bf_rsqrt32(x);
        if (exp2_now < last[0] * (1 - 0x1p-19f) || rcp_now > last[1] * (1 + 0x1p-19f) ||
            rsqrt_now > last[2] * (1 + 0x1p-19f))
            fail_msg("at %a", (double)x);
        last[0] = exp2_now, last[1] = rcp_now, last[2] = rsqrt_now;
    }
}

/* y is what the unit computes before it is shifted into a subnormal. */
static void subnormal_results_round_to_nearest_even(void **state) {
    (void)state;
    for (int32_t i = -150 * 4096; i < -126 * 4096; i++) {
        float x = (float)i / 4096;
        float y = bf_exp2_32(x + 100), result = bf_exp2_32(x);
        assert_true(result == (float)((double)y * 0x1p-100));
    }
    for (uint32_t bits = 0x7e800000; bits < 0x7f800000; bits += 101) {
        float x = bf_bits_float(bits);
        float y = bf_rcp32(bf_ldexp32(x, -100));
        assert_true(bf_rcp32(x) == (float)((double)y * 0x1p-100));
        assert_true(bf_rcp32(-x) == -bf_rcp32(x));
    }
}

/* ---- special cases ---- */

static void same(float actual, float expected) {
    uint32_t bits = isnan(expected) ? 0x7fc00000 : bf_float_bits(expected);
    assert_int_equal(bf_float_bits(actual), bits);
}

static void powers_are_exact(void **state) {
    (void)state;
    for (int k = -160; k <= 140; k++) {
        float power = (float)ldexp(1, k);
        same(bf_exp2_32((float)k), power);
        if (power != 0 && !isinf(power)) {
            same(bf_rcp32(power), (float)ldexp(1, -k));
            same(bf_rcp32(-power), (float)-ldexp(1, -k));
            if (k % 2 == 0)
                same(bf_rsqrt32(power), (float)ldexp(1, -k / 2));
        }
    }
}

static void special_arguments_have_their_results(void **state) {
    (void)state;
    same(bf_exp2_32(0.0f), 1);
    same(bf_exp2_32(-0.0f), 1);
    same(bf_exp2_32(0x1p-149f), 1);
    same(bf_exp2_32(-0x1p-149f), 1);
    same(bf_exp2_32(INFINITY), INFINITY);
    same(bf_exp2_32(-INFINITY), 0);
    same(bf_exp2_32(128), INFINITY);
    same(bf_exp2_32(1e30f), INFINITY);
    same(bf_exp2_32(-150), 0);
    same(bf_exp2_32(-149.5f), 0x1p-149f);
    same(bf_exp2_32(-1e30f), 0);
    same(bf_rcp32(0.0f), INFINITY);
    same(bf_rcp32(-0.0f), -INFINITY);
    same(bf_rcp32(INFINITY), 0.0f);
    same(bf_rcp32(-INFINITY), -0.0f);
    same(bf_rcp32(0x1p-128f), INFINITY);
    same(bf_rcp32(0x1p-149f), INFINITY);
    same(bf_rsqrt32(0.0f), INFINITY);
    same(bf_rsqrt32(-0.0f), -INFINITY);
    same(bf_rsqrt32(INFINITY), 0.0f);
    same(bf_rsqrt32(-INFINITY), NAN);
    same(bf_rsqrt32(-1), NAN);
    same(bf_rsqrt32(-0x1p-149f), NAN);
    for (int op = 0; op < BF_SPECIALS; op++) {
        same(bf_special((enum bf_special)op, bf_bits_float(0x7f800001)), NAN);
        same(bf_special((enum bf_special)op, bf_bits_float(0xffc12345)), NAN);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_what_their_rule_gives),
        cmocka_unit_test(intermediates_fit_the_documented_widths),
        cmocka_unit_test(errors_stay_below_the_documented_bounds),
        cmocka_unit_test(steps_back_are_small),
        cmocka_unit_test(subnormal_results_round_to_nearest_even),
        cmocka_unit_test(powers_are_exact),
        cmocka_unit_test(special_arguments_have_their_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
