/* Angles and powers without libm: here they are compared with it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "ir/angles.h"
#include "ir/isa/base.h"

static void assert_near(double got, double want, double error) {
    if (!(fabs(got - want) <= error))
        fail_msg("%.17g is not %.17g", got, want);
}

static void check_angle(double x) {
    double c, s;
    bf_cos_sin(x, &c, &s);
    assert_near(c, cos(x), 1e-15 + x * 0x1p-53);
    assert_near(s, sin(x), 1e-15 + x * 0x1p-53);
}

static void test_cos_sin(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 100000; i++)
        check_angle((double)(bf_random(&seed) >> 32) * 0x1p-20); /* below 4096 */
    for (int i = 0; i < 10000; i++)
        check_angle(i * 0.78539816339744830962);
    check_angle(0);
    check_angle(1e6);
    check_angle(2147483647);
}

static void test_power(void **state) {
    (void)state;
    static const double bases[] = {1, 1.5, 2, 500, 10000, 5e5, 1e12};
    for (int b = 0; b < 7; b++)
        for (int i = 0; i <= 256; i++) {
            double want = pow(bases[b], -2.0 * i / 512);
            assert_near(bf_power(bases[b], -2.0 * i / 512), want, want * 1e-14);
        }
}

static void test_roots(void **state) {
    (void)state;
    for (int64_t n = 1; n < 200; n++)
        for (int64_t a = 0; a < n; a++) {
            double c, s, angle = 6.28318530717958647693 * (double)a / (double)n;
            bf_root_of_unity(a, n, &c, &s);
            assert_near(c, cos(angle), 2e-15);
            assert_near(s, sin(angle), 2e-15);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cos_sin), cmocka_unit_test(test_power),
                                       cmocka_unit_test(test_roots)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
