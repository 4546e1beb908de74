/* Words: each table of lane operations against the scalar functions, bit for bit, for every width
 * and sign flag; and a hash over all of it, which every compiler, -O and processor must reach.
 * With --bench: the speed of each operation. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "ir/isa/base.h"
#include "ir/isa/fp.h"

enum { LANES = 32, WORDS = 20000 };

/* The operations as one list: what `ops` does to a word, and the scalar function of one lane. */
enum operation { FMA, MAX, SEL, FRAC, LDEXP, CVTI, CVTF, EXP2, RCP, RSQRT, OPERATIONS };
static const char *const operation_name[OPERATIONS] = {"fma",  "max",  "sel",  "frac", "ldexp",
                                                       "cvti", "cvtf", "exp2", "rcp",  "rsqrt"};

static void run(const struct bf_lane_ops *ops, enum operation operation, float *d, const float *a,
                const float *b, const float *c, unsigned flags, unsigned lanes) {
    switch (operation) {
    case FMA:
        ops->fma(d, a, b, c, flags, lanes);
        break;
    case MAX:
        ops->max(d, a, c, flags, lanes);
        break;
    case SEL:
        ops->sel(d, a, b, c, flags, lanes);
        break;
    case FRAC:
        ops->frac(d, a, flags, lanes);
        break;
    case LDEXP:
        ops->ldexp(d, a, c, flags, lanes);
        break;
    case CVTI:
        ops->cvti(d, a, flags, lanes);
        break;
    case CVTF:
        ops->cvtf(d, a, lanes);
        break;
    default:
        ops->special((enum bf_special)(operation - EXP2), d, a, flags, lanes);
    }
}

static float scalar(enum operation operation, float a, float b, float c, unsigned flags) {
    float raw = a;
    if (flags & BF_NEGATE_A)
        a = bf_bits_float(bf_float_bits(a) ^ 0x80000000);
    if (flags & BF_NEGATE_C)
        c = bf_bits_float(bf_float_bits(c) ^ 0x80000000);
    switch (operation) {
    case FMA:
        return bf_fma32(a, b, c);
    case MAX:
        return bf_max32(a, c);
    case SEL:
        return bf_sel(a, b, c);
    case FRAC:
        return bf_frac32(a);
    case LDEXP:
        return bf_ldexp_lane(a, c);
    case CVTI:
        return bf_bits_float((uint32_t)bf_cvt_f32_to_i32(a));
    case CVTF:
        return bf_cvt_i32_to_f32((int32_t)bf_float_bits(raw));
    default:
        return bf_special((enum bf_special)(operation - EXP2), a);
    }
}

/* ---- operands ---- */

static uint64_t seed;

/* One float: any bits, near 1, small enough for 2^x, a rounded boundary, or special. */
static float operand(unsigned kind) {
    static const uint32_t special[] = {0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000,
                                       0x7fc00001, 0x7f800001, 0xffffffff, 0x3f800000, 0xbf000000,
                                       0x40200000, 0x4b000000, 0x4f000000, 0xcf000000, 0x00000001,
                                       0x807fffff, 0x7f7fffff, 0xb3000000, 0x43160000, 0xc3160000};
    uint32_t bits = (uint32_t)(bf_random(&seed) >> 32);
    switch (kind) {
    case 0:
        return bf_bits_float(bits);
    case 1:
        return bf_bits_float((bits & 0x83ffffff) | 0x3c000000);
    case 2:
        return (float)((int32_t)bits >> 8) * 0x1p-16f;
    case 3:
        return bf_bits_float((bits & 0x87fff000) | 0x38000000);
    default:
        return bf_bits_float(special[bits % (sizeof special / sizeof *special)]);
    }
}

/* Words of one kind take the fast paths whole, mixed words (kind 5) break out of them. */
static void fill(float *x, unsigned word) {
    for (unsigned i = 0; i < LANES; i++) {
        unsigned kind = word % 6;
        x[i] = operand(kind < 5 ? kind : (unsigned)(bf_random(&seed) >> 40) % 5);
    }
}

/* ---- the checks ---- */

static void assert_same_bits(const void *actual, const void *expected, size_t size,
                             const struct bf_lane_ops *ops, const char *what, unsigned lanes) {
    if (memcmp(actual, expected, size))
        fail_msg("%s, %s, %u lanes: differs from the scalar function", ops->name, what, lanes);
}

static void check_operations(const struct bf_lane_ops *ops, uint64_t *hash) {
    float a[LANES], b[LANES], c[LANES], d[LANES + 1], expected[LANES];
    for (unsigned word = 0; word < WORDS; word++) {
        fill(a, word), fill(b, word / 6), fill(c, word / 36);
        unsigned lanes = 4u << word % 4, flags = word / 4 % 4;
        for (int operation = 0; operation < OPERATIONS; operation++) {
            for (unsigned i = 0; i < lanes; i++)
                expected[i] = scalar((enum operation)operation, a[i], b[i], c[i], flags);
            d[lanes] = 12345;
            run(ops, (enum operation)operation, d, a, b, c, flags, lanes);
            assert_same_bits(d, expected, lanes * sizeof *d, ops, operation_name[operation], lanes);
            assert_true(d[lanes] == 12345);
            *hash = bf_hash(*hash, d, lanes * sizeof *d);
            memcpy(d, operation % 2 ? a : c, sizeof a); /* in place */
            run(ops, (enum operation)operation, d, operation % 2 ? d : a, b, operation % 2 ? c : d,
                flags, lanes);
            assert_same_bits(d, expected, lanes * sizeof *d, ops, operation_name[operation], lanes);
        }
    }
}

static void check_rounding(const struct bf_lane_ops *ops, uint64_t *hash) {
    float a[LANES], wide[LANES];
    bf_half out[LANES + 1], expected[LANES];
    for (unsigned word = 0; word < WORDS; word++) {
        fill(a, word);
        unsigned lanes = 4u << word % 4;
        int exponent = word % 101 == 0 ? (int)(word / 101) * 4 - 400 : (int)(word % 33) - 16;
        for (unsigned i = 0; i < lanes; i++)
            expected[i] = bf_round_exp(a[i], exponent);
        out[lanes] = 12345;
        ops->round(out, a, exponent, lanes);
        assert_same_bits(out, expected, lanes * sizeof *out, ops, "round", lanes);
        assert_int_equal(out[lanes], 12345);
        *hash = bf_hash(*hash, out, lanes * sizeof *out);
    }
    for (unsigned h = 0; h < 0x10000; h += LANES) { /* every half */
        for (unsigned i = 0; i < LANES; i++) {
            out[i] = (bf_half)(h + i);
            a[i] = bf_half_to_float(out[i]);
        }
        for (unsigned lanes = 4; lanes <= LANES; lanes *= 2) {
            ops->half_to_float(wide, out, lanes);
            assert_same_bits(wide, a, lanes * sizeof *a, ops, "half_to_float", lanes);
        }
        ops->splat(wide, out[h / LANES % LANES], LANES);
        for (unsigned i = 0; i < LANES; i++)
            assert_memory_equal(&wide[i], &a[h / LANES % LANES], sizeof *a);
    }
}

static void check_moves(const struct bf_lane_ops *ops, uint64_t *hash) {
    float a[LANES], back[LANES];
    bf_half low[LANES], high[LANES];
    for (unsigned word = 0; word < WORDS; word++) {
        fill(a, word);
        unsigned lanes = 4u << word % 4;
        uint64_t infinities = 7, nans = 9, some_infinities = 7, some_nans = 9;
        ops->split(low, a, false, lanes);
        ops->split(high, a, true, lanes);
        for (unsigned i = 0; i < lanes; i++) {
            assert_int_equal((uint32_t)high[i] << 16 | low[i], bf_float_bits(a[i]));
            some_infinities += (high[i] & 0x7fff) == 0x7c00;
            some_nans += (high[i] & 0x7fff) > 0x7c00;
        }
        ops->count(high, lanes, &infinities, &nans);
        assert_int_equal(infinities, some_infinities);
        assert_int_equal(nans, some_nans);
        memset(back, 0x55, sizeof back);
        ops->join(back, low, false, lanes);
        for (unsigned i = 0; i < lanes; i++)
            assert_int_equal(bf_float_bits(back[i]), 0x55550000 | low[i]);
        ops->join(back, high, true, lanes);
        assert_memory_equal(back, a, lanes * sizeof *a);
        *hash = bf_hash(*hash, &infinities, sizeof infinities);
    }
}

/* What all of them come to. A change of this number is a change of the machine: programs no longer
 * give the bits they gave. */
static const uint64_t agreed_hash = UINT64_C(0x5a89e06526926796);

static void check_table(const struct bf_lane_ops *ops) {
    uint64_t hash = BF_HASH_START;
    seed = 20;
    check_operations(ops, &hash);
    check_rounding(ops, &hash);
    check_moves(ops, &hash);
    if (hash != agreed_hash)
        fail_msg("%s: hash 0x%016llx", ops->name, (unsigned long long)hash);
}

static void portable_table_equals_the_scalars(void **state) {
    (void)state;
    check_table(bf_lane_ops_portable());
}

static void simd_table_equals_the_scalars(void **state) {
    (void)state;
    if (!bf_lane_ops_simd())
        skip();
    check_table(bf_lane_ops_simd());
}

static void the_fastest_table_is_chosen(void **state) {
    (void)state;
    const struct bf_lane_ops *simd = bf_lane_ops_simd();
    assert_ptr_equal(bf_lane_ops(), simd ? simd : bf_lane_ops_portable());
    assert_ptr_equal(bf_lane_ops(), bf_lane_ops());
}

/* ---- speed ---- */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void bench_table(const struct bf_lane_ops *ops, unsigned lanes) {
    enum { TIMES = 1000000 };
    float a[LANES], b[LANES], c[LANES], d[LANES];
    bf_half h[LANES];
    for (unsigned i = 0; i < LANES; i++)
        a[i] = 1 + (float)i / 8, b[i] = 0.5f, c[i] = -(float)i / 4;
    printf("%-9s %2u lanes, ns a word:", ops->name, lanes);
    for (int operation = 0; operation < OPERATIONS + 2; operation++) {
        double start = seconds();
        for (int i = 0; i < TIMES; i++) {
            if (operation == OPERATIONS)
                ops->round(h, a, 1, lanes);
            else if (operation > OPERATIONS)
                ops->half_to_float(d, h, lanes);
            else
                run(ops, (enum operation)operation, d, a, b, c, 0, lanes);
        }
        const char *name = operation == OPERATIONS  ? "round"
                           : operation > OPERATIONS ? "widen"
                                                    : operation_name[operation];
        printf(" %s %.1f", name, (seconds() - start) * 1e9 / TIMES);
    }
    printf("\n");
}

static int bench(void) {
    for (unsigned lanes = 8; lanes <= LANES; lanes *= 2) {
        bench_table(bf_lane_ops_portable(), lanes);
        if (bf_lane_ops_simd())
            bench_table(bf_lane_ops_simd(), lanes);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(portable_table_equals_the_scalars),
        cmocka_unit_test(simd_table_equals_the_scalars),
        cmocka_unit_test(the_fastest_table_is_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
