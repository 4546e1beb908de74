/* test_ref.c - the functional device: operands, loops, contexts, weight sets, exchange, chained and
 * strict order, scratchpad access, DMA, poison, traps, deadlocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test/unit/mini.h"

static void run(struct mini *m) {
    struct bf_error error = {0};
    bool ok = bf_device_ref.run(&m->program, m->dram, NULL, &m->stats, &error);
    if (!ok)
        fail_msg("%s", error.text);
}

static void must_fail(struct mini *m, const char *first, const char *second) {
    struct bf_error error = {0};
    assert_false(bf_device_ref.run(&m->program, m->dram, NULL, &m->stats, &error));
    if (!strstr(error.text, first) || !strstr(error.text, second))
        fail_msg("neither '%s' nor '%s' in: %s", first, second, error.text);
    free(m);
}

static void iterations_walk_through_the_scratchpad(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    run(m);
    for (unsigned k = 0; k < 64; k++)
        assert_true(mini_get(m, 4096, k) == 2.0 * (k + 1));
    assert_int_equal(m->kernel_stats.runs, 1);
    assert_int_equal(m->kernel_stats.issued[BF_UNIT_CAL], 16);
    assert_int_equal(m->kernel_stats.issued[BF_UNIT_LOAD], 16);
    assert_int_equal(m->kernel_stats.issued[BF_UNIT_STORE], 16);
    assert_int_equal(m->kernel_stats.ram_words, 64);
    assert_int_equal(m->stats.dram_read, 128 + 8 + 3 * 32);
    assert_int_equal(m->stats.dram_written, 128);
    assert_int_equal(m->kernel_stats.nans, 0);
    free(m);
}

static void uneven_iteration_levels(void **state) {
    (void)state;
    struct mini *m = mini_doubling(); /* the tiles are read in the order 0, 1, 3, 0 */
    m->blocks[0].d.mem.iteration_delta[1] = 8;
    m->blocks[0].d.mem.iteration_delta[0] = 4;
    m->launch[0].trips[0] = 2;
    m->launch[0].trips[1] = 2;
    m->blocks[0].d.mem.spm = 0;
    m->dmas[0].rows = 4;
    m->dmas[0].width = 16;
    run(m);
    for (unsigned row = 0; row < 4; row++)
        for (unsigned c = 0; c < 8; c++) {
            assert_true(mini_get(m, 4096, 16 * row + c) == 2.0 * (16 * row + c + 1));
            if (c < 4) /* third iteration: tile 1 + 2 */
                assert_true(mini_get(m, 4096, 16 * row + 8 + c) == 2.0 * (16 * row + 12 + c + 1));
            else /* fourth: tile 4, never loaded */
                assert_int_equal(mini_bits(m, 4096, 16 * row + 8 + c), BF_HALF_NAN);
        }
    assert_int_equal(m->kernel_stats.nans, 16);
    assert_int_equal(m->block_stats[2].nans, 16);
    free(m);
}

static void row_access_transposes(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->blocks[0].d.mem.row = true;
    run(m);
    for (unsigned tile = 0; tile < 4; tile++)
        for (unsigned r = 0; r < 4; r++)
            for (unsigned c = 0; c < 4; c++)
                assert_true(mini_get(m, 4096, 16 * r + 4 * tile + c) ==
                            2.0 * (16 * c + 4 * tile + r + 1));
    free(m);
}

static void load_reverses_and_store_masks(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->blocks[0].d.mem.reverse = 2;
    m->blocks[2].d.mem.reverse = BF_LANES_REST;
    run(m);
    static const unsigned reversed[4] = {0, 2, 1, 3};
    for (unsigned tile = 0; tile < 4; tile++)
        for (unsigned r = 0; r < 4; r++)
            for (unsigned c = 0; c < 4; c++) {
                double want = 2.0 * (16 * r + 4 * tile + reversed[c] + 1);
                if (r == 0) /* lane 0 was not stored: still poison, moved raw by the DMA */
                    assert_int_equal(mini_bits(m, 4096, 4 * tile + c), BF_HALF_POISON);
                else
                    assert_true(mini_get(m, 4096, 16 * r + 4 * tile + c) == want);
            }
    free(m);
}

static void exchange_transposes_over_pes(void **state) {
    (void)state;
    for (unsigned mode = BF_FLOW_XOR; mode <= BF_FLOW_ABS; mode++) {
        struct mini *m = mini_all_to_all();
        m->blocks[4].d.flow.mode = (uint8_t)mode;
        run(m);
        for (unsigned r = 0; r < 4; r++)
            for (unsigned to = 0; to < 4; to++)
                for (unsigned from = 0; from < 4; from++)
                    assert_true(mini_get(m, 4096, 16 * r + 4 * to + from) ==
                                16 * r + 4 * from + to + 1);
        assert_int_equal(m->kernel_stats.issued[BF_UNIT_FLOW], 16);
        assert_int_equal(m->kernel_stats.hops, 16);
        free(m);
    }
}

static void weight_sets_follow_the_groups(void **state) {
    (void)state;
    struct mini *m = mini_weighted();
    run(m);
    for (unsigned r = 0; r < 4; r++)
        for (unsigned c = 0; c < 16; c++)
            assert_true(mini_get(m, 4096, 16 * r + c) ==
                        (4 * (c / 4) + 1) * (16 * r + c + 1.0) + 4 * (c / 4) + 3);
    free(m);
}

static void swap_takes_the_other_operand(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->segment.count = 0;
    m->kernel.block_count = 2;
    struct bf_descriptor *d = &m->blocks[1].d;
    d->cal.length = 0;
    d->cal.swap = 1;
    d->cal.exponent = -1;
    d->cal.uses_weights = true;
    d->cal.delta[3][0] = 1;
    mini_cal(m, mini_fma(8, 1, 0, 0)); /* word t + 1 x weight + word t, or with both inverted */
    m->kernel.block_count = 3;
    d->trips[0] = 2;
    m->blocks[2].d.trips[0] = 2;
    m->launch[0].trips[0] = m->launch[0].trips[1] = 1;
    d = mini_block(m, 33, "weights");
    m->blocks[3].pes = 1;
    d->mem.weights = true;
    d->mem.relative = false;
    d->mem.row = true;
    d->mem.spm = 128;
    m->dmas[1].cols = 2;
    m->dmas[1].pitch = 4;
    m->dmas[2] = m->dmas[1];
    m->dmas[1] = (struct bf_dma){.kind = BF_DMA_LOAD,
                                 .dram = 1024,
                                 .pitch = 8,
                                 .rows = 4,
                                 .cols = 4,
                                 .spm = 128,
                                 .width = 4};
    m->program.dma_count = 3;
    m->program.sequence_count = 0;
    mini_sequence(m, 2);
    d = &m->blocks[1].d;
    d->cal.delta[0][0] = 1;
    bf_half plain = bf_half_from_double(0.5), swapped = plain | 0x4000;
    memcpy(m->dram + 1024, &plain, 2);
    memcpy(m->dram + 1026, &swapped, 2);
    run(m);
    for (unsigned r = 0; r < 4; r++) {
        double x0 = 16 * r + 1, x1 = x0 + 1, x2 = x0 + 2;
        double first = (0.5 * x1 + x0) / 2;
        /* second run: A is word 2, C word 1; the swap makes them 3 and 0 */
        double second = (0.5 * (x2 + 1) + x0) / 2;
        assert_true(mini_get(m, 4096, 2 * r) == first);
        assert_true(mini_get(m, 4096, 2 * r + 1) == second);
    }
    free(m);
}

/* Sums of four words: set accumulator 1, add into it in a loop, round it. */
static void chain_keeps_accumulators(void **state) {
    (void)state;
    struct mini *m = mini_create();
    m->launch[0].trips[0] = 4;
    struct bf_descriptor *d = mini_load(m, 32, 0, 0, 4);
    d->target[0] = 3;
    d->mem.iteration_delta[0] = 4;
    static const char *const names[3] = {"first", "add", "round"};
    for (unsigned k = 0; k < 3; k++) {
        d = mini_block(m, 3 + k, names[k]);
        m->blocks[1 + k].pes = 1;
        struct bf_cal cal = mini_to_acc(1, k);
        if (k == 0)
            d->need = 1;
        if (k == 1) {
            d->trips[0] = 3;
            d->cal.delta[0][0] = 1;
            cal.c = BF_C_ACC << 8 | 1;
        }
        if (k == 2) {
            cal = mini_from_acc(8, 1);
            d->target[0] = 56;
        }
        d->cal.chain = k < 2;
        mini_cal(m, cal);
    }
    d = mini_block(m, 56, "store");
    m->blocks[4].pes = 1;
    d->need = 1;
    d->mem.ram = 8;
    d->mem.spm = 64;
    d->mem.iteration_delta[0] = 1;
    mini_dma(m, BF_DMA_LOAD, 0, 0, 4, 16);
    mini_dma(m, BF_DMA_STORE, 4096, 64, 4, 4);
    mini_sequence(m, 1);
    for (unsigned k = 0; k < 64; k++)
        mini_put(m, 0, k, k);
    run(m);
    for (unsigned r = 0; r < 4; r++)
        for (unsigned tile = 0; tile < 4; tile++)
            assert_true(mini_get(m, 4096, 4 * r + tile) == 4 * (16 * r + 4 * tile) + 6);
    free(m);
}

/* In a strict launch block 0 runs before block 1 though both are ready and 1 has the higher id. */
static void strict_runs_in_index_order(void **state) {
    (void)state;
    for (unsigned strict = 0; strict < 2; strict++) {
        struct mini *m = mini_doubling();
        m->launch[0].strict = strict;
        m->kernel.block_count = 3;
        m->blocks[0].d.target[1] = 1;
        m->blocks[2].d.need = 2;
        struct bf_descriptor *d = mini_block(m, 1, "negate");
        m->blocks[3].pes = 1;
        *d = m->blocks[1].d;
        d->cal.start = (uint8_t)m->segment.count;
        d->cal.length = 0;
        struct bf_cal cal = mini_scale(8, 0, BF_B_ONE);
        cal.negate_product = true;
        mini_cal(m, cal);
        run(m);
        assert_true(mini_get(m, 4096, 5) == (strict ? -6.0 : 12.0));
        free(m);
    }
}

static void f32_travels_as_two_words(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->segment.count = 0;
    m->kernel.block_count = 2;
    m->blocks[1].d.cal.length = 0;
    m->blocks[1].d.trips[0] = 1;
    struct bf_cal store = {.op = BF_CAL_STLO, .dst = BF_DST_RAM, .d = 4, .a_class = 3, .a = 1};
    struct bf_cal fetch = {.op = BF_CAL_LDLO, .dst = BF_DST_ACC, .acc = 2, .c = 4};
    struct bf_cal square = mini_to_acc(1, 0);
    square.b_kind = BF_B_DATA, square.b = 0; /* x^2 needs more than 11 bits */
    mini_cal(m, square);
    mini_cal(m, store);
    store.op = BF_CAL_STHI, store.d = 5;
    mini_cal(m, store);
    mini_cal(m, fetch);
    fetch.op = BF_CAL_LDHI, fetch.c = 5;
    mini_cal(m, fetch);
    struct bf_cal rest = mini_from_acc(8, 2); /* x^2 - x x = 0 only if nothing was lost */
    rest.c_class = 0, rest.c = 1, rest.negate_addend = true;
    rest.b_kind = BF_B_CONST;
    mini_cal(m, rest);
    m->kernel.block_count = 3;
    m->blocks[2].d.trips[0] = 1;
    for (unsigned k = 0; k < 64; k++)
        mini_put(m, 0, k, k % 4 ? 2048 * 3 : 78.375); /* 78.375^2 = 6142.640625 */
    run(m);
    assert_true(mini_get(m, 4096, 0) == -1.359375);
    free(m);
}

static void gather_reads_rows_by_id(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    static const int32_t ids[4] = {3, 0, 3, 1};
    memcpy(m->dram + 2048, ids, sizeof ids);
    m->dmas[0].kind = BF_DMA_GATHER;
    m->dmas[0].ids = 2048;
    m->dmas[0].limit = 4;
    run(m);
    for (unsigned k = 0; k < 64; k++)
        assert_true(mini_get(m, 4096, k) == 2.0 * (16 * ids[k / 16] + k % 16 + 1));
    m->dmas[0].limit = 3;
    must_fail(m, "dma 0: trap", "id 3 is not in 0 .. 3 - 1");
}

static void pads_are_zero(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->dmas[0].rows = 3;
    m->dmas[0].cols = 14;
    m->dmas[0].pad = true;
    run(m);
    for (unsigned k = 0; k < 64; k++)
        assert_true(mini_get(m, 4096, k) == (k / 16 < 3 && k % 16 < 14 ? 2.0 * (k + 1) : 0.0));
    m->dmas[0].kind = BF_DMA_FILL;
    m->dmas[0].value = BF_HALF_ONE;
    m->dmas[0].pad = false;
    run(m);
    assert_true(mini_get(m, 4096, 0) == 2.0);
    assert_int_equal(mini_bits(m, 4096, 15), BF_HALF_NAN); /* doubled poison */
    free(m);
}

/* ---- traps ---- */

static void surplus_token_traps(void **state) {
    (void)state;
    struct mini *m = mini_all_to_all();
    for (unsigned pe = 0; pe < 4; pe++)
        m->blocks[5 + pe].d.need = 3;
    must_fail(m, "k0: trap: block 56 \"store\" of PE (", "too many tokens in iteration 0");
}

static void token_for_an_absent_block_traps(void **state) {
    (void)state;
    struct mini *m = mini_all_to_all();
    m->blocks[4].d.flow.token = 57;
    must_fail(m, "k0: trap", "gets a token for block 57, which is absent in iteration 0");
}

static void address_outside_the_scratchpad_traps(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->blocks[0].d.mem.spm = 1022;
    must_fail(m, "block 32 \"load\" of PE (0,0), iteration 0",
              "scratchpad word 1024 is outside its 1024 words");
}

static void deadlock_names_the_circle(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->blocks[0].d.need = 1; /* the LOAD waits for the STORE, which waits for CAL, ... */
    m->blocks[2].d.target[0] = 32;
    must_fail(m,
              "k0: deadlock:\n  block 0 \"double\" of PE (0,0) in iteration 0 has 0 of 1 tokens; "
              "it waits for\n  block 32 \"load\"",
              "  block 0 \"double\" of PE (0,0) in iteration 0: a circle");
    m = mini_doubling();
    m->blocks[1].d.need = 2;
    must_fail(m, "block 0 \"double\" of PE (0,0) in iteration 0 has 1 of 2 tokens",
              "and nobody is left to send more");
}

static void bank_without_the_kernel_traps(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->launch[0].bank = 1;
    must_fail(m, "sequencer: trap: launch 0", "bank 1 does not hold kernel k0");
}

static void cycle_limit_ends_long_programs(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        struct mini *m = mini_doubling();
        if (kind) /* nothing but iterations */
            m->kernel.block_count = 0, m->launch[0].trips[2] = 1 << 20;
        m->blocks[1].d.trips[1] = m->blocks[1].d.trips[2] = BF_MAX_TRIPS;
        struct bf_device_options options = {.cycle_limit = 10000};
        struct bf_error error = {0};
        assert_false(bf_device_ref.run(&m->program, m->dram, &options, &m->stats, &error));
        assert_string_equal(error.text, "k0: it would take more than 10000 cycles");
        free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(iterations_walk_through_the_scratchpad),
        cmocka_unit_test(uneven_iteration_levels),
        cmocka_unit_test(row_access_transposes),
        cmocka_unit_test(load_reverses_and_store_masks),
        cmocka_unit_test(exchange_transposes_over_pes),
        cmocka_unit_test(weight_sets_follow_the_groups),
        cmocka_unit_test(swap_takes_the_other_operand),
        cmocka_unit_test(chain_keeps_accumulators),
        cmocka_unit_test(strict_runs_in_index_order),
        cmocka_unit_test(f32_travels_as_two_words),
        cmocka_unit_test(gather_reads_rows_by_id),
        cmocka_unit_test(pads_are_zero),
        cmocka_unit_test(surplus_token_traps),
        cmocka_unit_test(token_for_an_absent_block_traps),
        cmocka_unit_test(address_outside_the_scratchpad_traps),
        cmocka_unit_test(deadlock_names_the_circle),
        cmocka_unit_test(bank_without_the_kernel_traps),
        cmocka_unit_test(cycle_limit_ends_long_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
