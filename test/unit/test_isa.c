/* test_isa.c - the words of the array: where each field lies, what is canonical, what is legal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/isa/isa.h"

/* ---- CAL ---- */

/* The drawing in isa.h, once more by hand. */
static void cal_fields_lie_as_drawn(void **state) {
    (void)state;
    const struct {
        struct bf_cal cal;
        unsigned low, width;
    } fields[] = {
        {{.op = 31}, 59, 5},     {{.negate_product = true}, 58, 1},
        {{.dst = 3}, 55, 2},     {{.negate_addend = true}, 57, 1},
        {{.acc = 15}, 51, 4},    {{.d = 1023}, 41, 10},
        {{.d_class = 3}, 39, 2}, {{.a = 1023}, 29, 10},
        {{.a_class = 3}, 27, 2}, {{.c = 1023}, 17, 10},
        {{.c_class = 3}, 15, 2}, {{.b_kind = 3}, 13, 2},
        {{.b = 2047}, 2, 11},    {{.b_class = 3}, 0, 2},
    };
    uint64_t all = 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        uint64_t mask = ((UINT64_C(1) << fields[i].width) - 1) << fields[i].low;
        assert_true(bf_cal_encode(&fields[i].cal) == mask);
        assert_true((all & mask) == 0);
        all |= mask;
    }
    assert_true(all == UINT64_MAX);
}

/* Whatever decodes encodes to the same bits; of random words some of every operation do. */
static void decoding_is_exact(void **state) {
    (void)state;
    uint64_t seed = 1;
    unsigned decoded[32] = {0};
    for (int i = 0; i < 2000000; i++) {
        uint64_t word = bf_random(&seed);
        /* Thin out the bits, so that fields that must be 0 often are. */
        word &= bf_random(&seed) | UINT64_C(0xf987) << 48;
        word &= i & 1 ? ~(UINT64_C(0x3ff) << 17 | UINT64_C(0x1fff) << 2 | 3) : UINT64_MAX;
        word &= i & 2 ? ~(UINT64_C(0xfff) << 39) : ~(UINT64_C(15) << 51);
        word &= i & 4 ? ~(UINT64_C(0x3f) << 33) : UINT64_MAX;
        word &= i & 8 ? ~(UINT64_C(0x3ff) << 29 | UINT64_C(3) << 27) : UINT64_MAX;
        word &= i & 16 ? ~(UINT64_C(3) << 57 | UINT64_C(3) << 15 | UINT64_C(3) << 13) : UINT64_MAX;
        struct bf_cal cal;
        struct bf_error error = {0};
        if (!bf_cal_decode(word, &cal, &error)) {
            assert_int_equal(error.code, BF_ERROR_INPUT);
            continue;
        }
        assert_true(bf_cal_encode(&cal) == word);
        assert_non_null(bf_cal_name(cal.op));
        decoded[cal.op]++;
    }
    for (unsigned op = 0; op < 32; op++)
        assert_true(!bf_cal_name(op) == !decoded[op]);
}

static bool legal(struct bf_cal cal) {
    struct bf_cal again;
    struct bf_machine machine = bf_machine_default();
    return bf_cal_decode(bf_cal_encode(&cal), &again, NULL) && bf_cal_check(&cal, &machine, NULL);
}

static void illegal_words_are_refused(void **state) {
    (void)state;
    const struct bf_cal good = {.op = BF_CAL_FMA, .dst = BF_DST_RAM, .d = 5, .b = 2047};
    assert_true(legal(good));
    struct bf_cal cal = good;
    cal.dst = 0;
    assert_false(legal(cal));
    cal = good;
    cal.acc = 1; /* no accumulator is written */
    assert_false(legal(cal));
    cal.dst = 3;
    assert_true(legal(cal));
    cal.acc = 8; /* there are 8 */
    assert_false(legal(cal));
    cal = good;
    cal.a_class = 3;
    cal.a = 7;
    assert_true(legal(cal));
    cal.a = 16;
    assert_false(legal(cal));
    cal = good;
    cal.c_class = 3;
    cal.c = BF_C_LANE << 8 | 15;
    assert_true(legal(cal));
    cal.c = BF_C_LANE << 8 | 16; /* a word has 16 lanes */
    assert_false(legal(cal));
    cal.c = BF_C_LANE << 8 | 15;
    cal.b_kind = BF_B_CONST;
    cal.b = 1;
    assert_false(legal(cal));
    cal.c = BF_C_ONE << 8;
    assert_true(legal(cal));
    cal.c |= 1;
    assert_false(legal(cal));
    assert_false(legal((struct bf_cal){.op = BF_CAL_EXP2, .dst = BF_DST_RAM}));
    assert_true(legal((struct bf_cal){.op = BF_CAL_EXP2, .dst = BF_DST_ACC, .negate_product = 1}));
    assert_false(legal((struct bf_cal){.op = BF_CAL_EXP2, .dst = BF_DST_ACC, .c = 1}));
    assert_false(legal((struct bf_cal){.op = BF_CAL_MAX, .dst = BF_DST_ACC, .b = 1}));
    assert_false(legal((struct bf_cal){.op = BF_CAL_STLO, .dst = BF_DST_RAM, .a = 1}));
    assert_true(legal((struct bf_cal){.op = BF_CAL_STLO, .dst = BF_DST_RAM, .a_class = 3}));
    assert_false(legal(
        (struct bf_cal){.op = BF_CAL_STLO, .dst = BF_DST_RAM, .a_class = 3, .negate_product = 1}));
    assert_false(legal((struct bf_cal){.op = BF_CAL_LDLO, .dst = BF_DST_ACC, .c_class = 3}));
    assert_false(legal((struct bf_cal){.op = 7, .dst = BF_DST_ACC}));
}

static void machines_limit_what_is_legal(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    struct bf_cal exp2 = {.op = BF_CAL_EXP2, .dst = BF_DST_ACC};
    struct bf_cal high = {.op = BF_CAL_FMA, .dst = BF_DST_RAM, .d = 512};
    assert_true(bf_cal_check(&exp2, &machine, NULL) && bf_cal_check(&high, &machine, NULL));
    machine.special = 0;
    machine.data_ram = 512;
    assert_false(bf_cal_check(&exp2, &machine, NULL));
    assert_false(bf_cal_check(&high, &machine, NULL));
}

/* ---- descriptors ---- */

static struct bf_descriptor zero(enum bf_unit unit) {
    struct bf_descriptor d;
    memset(&d, 0, sizeof d);
    d.unit = (uint8_t)unit;
    for (int i = 0; i < 3; i++) {
        d.trips[i] = 1;
        d.target[i] = BF_NO_BLOCK;
    }
    d.cal.length = 1;
    d.flow.token = BF_NO_BLOCK;
    return d;
}

/* Only bits low .. low + width - 1 (and the unit) differ from those of an empty descriptor. */
static void expect_bits(const struct bf_descriptor *d, unsigned low, unsigned width) {
    struct bf_descriptor empty = zero(d->unit);
    uint64_t before[4], after[4];
    bf_descriptor_encode(&empty, before);
    bf_descriptor_encode(d, after);
    for (unsigned i = 0; i < 256; i++) {
        bool differs = ((before[i / 64] ^ after[i / 64]) >> i % 64) & 1;
        assert_int_equal(differs, i >= low && i < low + width);
    }
}
#define EXPECT(unit_, field, value, low, width)                                                    \
    do {                                                                                           \
        struct bf_descriptor d = zero(BF_UNIT_##unit_);                                            \
        d.field = (value);                                                                         \
        expect_bits(&d, (low), (width));                                                           \
    } while (0)

/* First bits counted by hand from the table in docs/format.md. */
static void descriptor_fields_lie_as_documented(void **state) {
    (void)state;
    EXPECT(CAL, trips[0], 1024, 2, 10);
    EXPECT(CAL, trips[2], 1024, 22, 10);
    EXPECT(LOAD, need, 1023, 32, 10);
    EXPECT(FLOW, first, 255, 42, 8);
    EXPECT(STORE, last, 255, 50, 8);
    EXPECT(CAL, target[0], 63, 58, 7);
    EXPECT(CAL, target[2], 63, 72, 7);
    EXPECT(CAL, cal.start, 255, 79, 8);
    EXPECT(CAL, cal.length, 32, 87, 5);
    EXPECT(CAL, cal.relative, 15, 92, 4);
    EXPECT(CAL, cal.uses_weights, true, 96, 1);
    EXPECT(CAL, cal.delta[0][0], -1, 97, 11);
    EXPECT(CAL, cal.delta[3][2], -1, 218, 11);
    EXPECT(CAL, cal.swap, 15, 229, 4);
    EXPECT(CAL, cal.exponent, -1, 233, 5);
    EXPECT(CAL, cal.chain, true, 238, 1);
    EXPECT(LOAD, mem.weights, true, 79, 1);
    EXPECT(LOAD, mem.row, true, 80, 1);
    EXPECT(LOAD, mem.reverse, 15, 81, 4);
    EXPECT(LOAD, mem.relative, true, 85, 1);
    EXPECT(STORE, mem.ram, 1023, 86, 10);
    EXPECT(STORE, mem.ram_delta[2], -1, 116, 10);
    EXPECT(STORE, mem.spm, (1 << 18) - 1, 126, 18);
    EXPECT(STORE, mem.spm_delta[0], -1, 144, 18);
    EXPECT(STORE, mem.iteration_delta[2], -1, 234, 18);
    EXPECT(STORE, mem.base, 15, 252, 4);
    EXPECT(FLOW, flow.source_relative, true, 79, 1);
    EXPECT(FLOW, flow.destination_relative, true, 80, 1);
    EXPECT(FLOW, flow.source, 1023, 81, 10);
    EXPECT(FLOW, flow.destination, 1023, 91, 10);
    EXPECT(FLOW, flow.source_delta[0], -1, 101, 10);
    EXPECT(FLOW, flow.destination_delta[2], -1, 151, 10);
    EXPECT(FLOW, flow.mode, 3, 161, 2);
    EXPECT(FLOW, flow.shift, 7, 163, 3);
    EXPECT(FLOW, flow.width, 7, 166, 3);
    EXPECT(FLOW, flow.destination_shift, 15, 169, 4);
    EXPECT(FLOW, flow.self_shift, 15, 173, 4);
    EXPECT(FLOW, flow.token, 63, 177, 7);
}

static void descriptors_decode_exactly(void **state) {
    (void)state;
    uint64_t seed = 2;
    unsigned decoded[4] = {0};
    for (int i = 0; i < 400000; i++) {
        uint64_t words[4], again[4];
        for (int w = 0; w < 4; w++)
            words[w] = bf_random(&seed) & bf_random(&seed);
        words[3] &= UINT64_MAX >> (bf_random(&seed) % 64);
        words[2] &= i & 1 ? UINT64_MAX : UINT64_MAX >> 8;
        words[0] &= (bf_random(&seed) & bf_random(&seed)) | 3;
        words[1] &= i & 2 ? UINT64_MAX : ~UINT64_C(0xffff);
        struct bf_descriptor d;
        if (!bf_descriptor_decode(words, &d, NULL))
            continue;
        assert_true(bf_descriptor_fits(&d, NULL));
        bf_descriptor_encode(&d, again);
        assert_memory_equal(words, again, sizeof words);
        decoded[d.unit]++;
    }
    for (int unit = 0; unit < 4; unit++)
        assert_true(decoded[unit] > 0);
}

static void what_does_not_fit_is_said(void **state) {
    (void)state;
    struct bf_descriptor d = zero(BF_UNIT_STORE);
    assert_true(bf_descriptor_fits(&d, NULL));
    d.mem.ram_delta[1] = 512; /* 10 bits reach 511 */
    struct bf_error error = {0};
    assert_false(bf_descriptor_fits(&d, &error));
    assert_non_null(strstr(error.text, "mem.ram_delta"));
    d = zero(BF_UNIT_CAL);
    d.trips[1] = 1025;
    assert_false(bf_descriptor_fits(&d, NULL));
    d = zero(BF_UNIT_CAL);
    d.cal.length = 0;
    assert_false(bf_descriptor_fits(&d, NULL));
    d = zero(BF_UNIT_CAL);
    d.first = 2;
    assert_false(bf_descriptor_fits(&d, NULL)); /* it ends before it begins */
    d = zero(BF_UNIT_LOAD);
    d.mem.weights = true;
    d.need = 1;
    assert_false(bf_descriptor_fits(&d, NULL));
    d = zero(BF_UNIT_FLOW);
    d.flow.shift = 5;
    d.flow.width = 2;
    assert_false(bf_descriptor_fits(&d, NULL));
}

static void units_follow_from_ids(void **state) {
    (void)state;
    assert_int_equal(bf_block_unit(0), BF_UNIT_CAL);
    assert_int_equal(bf_block_unit(31), BF_UNIT_CAL);
    assert_int_equal(bf_block_unit(32), BF_UNIT_LOAD);
    assert_int_equal(bf_block_unit(47), BF_UNIT_LOAD);
    assert_int_equal(bf_block_unit(48), BF_UNIT_FLOW);
    assert_int_equal(bf_block_unit(55), BF_UNIT_FLOW);
    assert_int_equal(bf_block_unit(56), BF_UNIT_STORE);
    assert_int_equal(bf_block_unit(63), BF_UNIT_STORE);
}

/* ---- banks ---- */

/* Bit b of the bank is the parity of the address bits b, b + n, b + 2n, ... */
static uint32_t parity_bank(uint32_t address, uint32_t banks) {
    unsigned n = bf_log2_floor(banks);
    uint32_t bank = 0;
    for (unsigned bit = 0; n && bit < 32; bit++)
        bank ^= (address >> bit & 1) << bit % n;
    return bank;
}

static void banks_fold_the_address(void **state) {
    (void)state;
    for (uint32_t banks = 1; banks <= 16; banks *= 2)
        for (uint32_t address = 0; address < 1024; address++)
            assert_int_equal(bf_ram_bank(address, banks), parity_bank(address, banks));
    for (uint32_t ports = 1; ports <= 64; ports *= 2)
        for (uint32_t address = 0; address < 1u << 18; address += 37)
            assert_int_equal(bf_spm_bank(address, 16, ports), parity_bank(address / 16, ports));
    /* Words that differ in one address bit never share one of four banks: butterflies. */
    for (uint32_t address = 0; address < 1024; address++)
        for (unsigned bit = 0; bit < 10; bit++)
            assert_int_not_equal(bf_ram_bank(address, 4), bf_ram_bank(address ^ 1u << bit, 4));
}

/* ---- machines ---- */

static void numbers_have_limits(void **state) {
    (void)state;
    struct bf_machine good = bf_machine_default();
    assert_true(bf_machine_check(&good, NULL));
    assert_string_equal(good.name, "default");
    assert_int_equal(good.lanes, 16);
    for (size_t i = 0; i < bf_machine_number_count; i++) {
        const struct bf_machine_number *number = &bf_machine_numbers[i];
        uint32_t wrong[3] = {number->high + 1, number->low - 1, 3};
        for (int w = 0; w < 3; w++) {
            struct bf_machine machine = good;
            struct bf_error error = {0};
            if ((w == 1 && !number->low) || (w == 2 && !number->power_of_two))
                continue;
            memcpy((char *)&machine + number->offset, &wrong[w], sizeof wrong[w]);
            assert_false(bf_machine_check(&machine, &error));
            assert_non_null(strstr(error.text, number->key));
            assert_true(bf_machine_hash(&machine) != bf_machine_hash(&good));
        }
    }
}

static void numbers_fit_together(void **state) {
    (void)state;
    struct bf_machine machine = bf_machine_default();
    machine.lanes = 32;
    assert_true(bf_machine_check(&machine, NULL)); /* 64 x 32 lanes: 11 bits */
    machine.spm_words = 1000;
    assert_false(bf_machine_check(&machine, NULL)); /* not in tiles of 32 words */
    machine = bf_machine_default();
    uint64_t hash = bf_machine_hash(&machine);
    memcpy(machine.name, "other", 6);
    assert_true(bf_machine_hash(&machine) == hash); /* names don't matter */
    memcpy(machine.name, "a b", 4);
    assert_false(bf_machine_check(&machine, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cal_fields_lie_as_drawn),
        cmocka_unit_test(decoding_is_exact),
        cmocka_unit_test(illegal_words_are_refused),
        cmocka_unit_test(machines_limit_what_is_legal),
        cmocka_unit_test(descriptor_fields_lie_as_documented),
        cmocka_unit_test(descriptors_decode_exactly),
        cmocka_unit_test(what_does_not_fit_is_said),
        cmocka_unit_test(units_follow_from_ids),
        cmocka_unit_test(banks_fold_the_address),
        cmocka_unit_test(numbers_have_limits),
        cmocka_unit_test(numbers_fit_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
