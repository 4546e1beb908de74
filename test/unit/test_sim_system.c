/* test_sim_system.c - around the processing elements of the cycle-level device: scratchpad, DMA,
 * sequencer, traps, deadlocks, the trace. */
#define _POSIX_C_SOURCE 200809L
#include "test/unit/traced.h"

/* ---- S, M5: scratchpad ---- */

static struct mini *loads(unsigned pes, unsigned words, bool same) {
    struct mini *m = mini_create();
    for (unsigned pe = 0; pe < pes; pe++) {
        struct bf_descriptor *d = mini_load(m, 32, pe, 0, words);
        if (same)
            d->mem.spm = 0;
        else
            d->mem.spm = 64 * pe * 4; /* banks equal: 8 tiles of 4 words a round, folded */
        d->mem.spm_delta[0] = 0;
    }
    mini_sequence(m, 0);
    return m;
}

static void equal_words_are_granted_together(void **state) {
    (void)state;
    struct mini *m = loads(4, 3, true);
    struct traced t = run(m);
    assert_int_equal(m->kernel_stats.spm_words, 3);
    assert_int_equal(at(&t, "0 load grant", 2), at(&t, "3 load grant", 2));
    end(&t);
    m = loads(4, 3, true);
    m->blocks[3].d.mem.row = true; /* the same address, but another word */
    t = run(m);
    assert_int_equal(m->kernel_stats.spm_words, 6);
    end(&t);
}

static void a_bank_takes_turns(void **state) {
    (void)state;
    struct mini *m = loads(2, 6, false);
    m->blocks[1].d.mem.spm = 4; /* PE 1: another bank at first */
    uint32_t bank = bf_spm_bank(0, 4, 8), other = 4;
    while (bf_spm_bank(other, 4, 8) != bank)
        other += 4;
    m->blocks[1].d.mem.spm = other;
    struct traced t = run(m);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(at(&t, "1 load grant", i), at(&t, "0 load grant", i) + 1);
        assert_int_equal(at(&t, "0 load grant", i + 1), at(&t, "0 load grant", i) + 2);
    }
    assert_int_equal(m->kernel_stats.spm_words, 12);
    end(&t);
}

static void outstanding_loads_are_bounded(void **state) {
    (void)state;
    struct mini *m = loads(1, 4, false);
    m->program.machine.response_queue = 1;
    struct traced t = run(m);
    assert_int_equal(at(&t, "0 load issue", 1), at(&t, "0 load issue", 0) + 7);
    assert_int_equal(m->kernel_stats.stalled[BF_UNIT_LOAD][BF_STALL_QUEUE], 18);
    end(&t);
    m = loads(1, 12, false);
    t = run(m);
    assert_int_equal(at(&t, "0 load issue", 11), at(&t, "0 load issue", 0) + 11);
    end(&t);
}

/* Entries of a queue before a cycle: events `in` less events `out`. */
static unsigned held(const struct traced *t, const char *in, const char *out, long cycle) {
    unsigned entered = 0, left = 0;
    while (find(t, in, entered) >= 0 && find(t, in, entered) < cycle)
        entered++;
    while (find(t, out, left) >= 0 && find(t, out, left) < cycle)
        left++;
    return entered - left;
}

static void request_queues_are_bounded(void **state) {
    (void)state;
    for (unsigned depth = 1; depth < 5; depth++) {
        struct mini *m = loads(4, 10, false);
        for (unsigned pe = 0; pe < 4; pe++)
            m->blocks[pe].d.mem.spm = pe; /* one bank, different words */
        m->program.machine.request_queue = depth;
        m->program.machine.response_queue = 32;
        struct traced t = run(m);
        bool full = false;
        for (unsigned k = 0; k < 10; k++) {
            unsigned count = held(&t, "2 load issue", "2 load grant", at(&t, "2 load issue", k));
            assert_true(count < depth);
            full |= count + 1 == depth;
        }
        for (unsigned k = 0; find(&t, "2 load stall queue", k) >= 0; k++)
            assert_int_equal(
                held(&t, "2 load issue", "2 load grant", at(&t, "2 load stall queue", k)), depth);
        assert_true(full);
        end(&t);
    }
}

/* ---- D, Q: DMA and sequencer ---- */

static void dma_keeps_its_rate(void **state) {
    (void)state;
    struct mini *m = mini_create();
    m->program.machine.dram_tenth_bytes = 40; /* half a word of 4 lanes */
    mini_dma(m, BF_DMA_LOAD, 0, 0, 4, 16);
    mini_dma(m, BF_DMA_STORE, 4096, 0, 4, 16);
    mini_seq(m, BF_SEQ_DMA, 0, 0);
    mini_seq(m, BF_SEQ_DMA, 0, 1);
    mini_seq(m, BF_SEQ_MARK, 0, 0);
    mini_seq(m, BF_SEQ_WAITD, 0, 2);
    mini_seq(m, BF_SEQ_MARK, 0, 1);
    mini_seq(m, BF_SEQ_END, 0, 0);
    for (unsigned k = 0; k < 64; k++)
        mini_put(m, 0, k, k);
    struct traced t = run(m);
    assert_int_equal(at(&t, "- dma take job=0", 0), 1);
    assert_int_equal(at(&t, "- dma word", 0), 1 + 100 + 2);
    assert_int_equal(at(&t, "- dma done job=0", 0), 1 + 100 + 2 * 16 + 1);
    assert_int_equal(at(&t, "- dma take job=1", 0), at(&t, "- dma done job=0", 0) + 1);
    for (unsigned k = 0; k < 64; k++)
        assert_true(mini_get(m, 4096, k) == k);
    assert_int_equal(m->stats.dram_read, 128);
    assert_int_equal(m->stats.dram_written, 128);
    assert_int_equal(m->stats.measured, m->stats.cycles - 3);
    assert_int_equal(m->stats.dram_measured, 256);
    assert_int_equal(m->stats.dma_wait, at(&t, "- dma done job=1", 0));
    end(&t);
}

/* 25.6 bytes a cycle against words of 32: four words in five cycles. */
static void dma_counts_in_tenths(void **state) {
    (void)state;
    struct mini *m = mini_create();
    m->program.machine.lanes = 16;
    mini_dma(m, BF_DMA_LOAD, 0, 0, 20, 16);
    mini_dma(m, BF_DMA_LOAD, 0, 0, 18, 16);
    m->dmas[1].rows = 18;
    mini_sequence(m, 2);
    struct traced t = run(m);
    /* No credit is left over from job to job. */
    assert_int_equal(at(&t, "- dma word", 20) - at(&t, "- dma take job=2", 0),
                     at(&t, "- dma word", 0) - at(&t, "- dma take job=1", 0));
    for (unsigned k = 0; k + 4 < 20; k++)
        assert_int_equal(at(&t, "- dma word", k + 4), at(&t, "- dma word", k) + 5);
    end(&t);
}

static void a_full_dma_queue_stalls_the_sequencer(void **state) {
    (void)state;
    struct mini *m = mini_create();
    m->program.machine.dma_queue = 1;
    mini_dma(m, BF_DMA_FILL, 0, 0, 4, 4);
    for (unsigned i = 0; i < 4; i++)
        mini_seq(m, BF_SEQ_DMA, 0, 0);
    mini_seq(m, BF_SEQ_WAITD, 0, 4);
    mini_seq(m, BF_SEQ_END, 0, 0);
    struct traced t = run(m);
    assert_int_equal(at(&t, "- dma take", 0), 1);
    assert_int_equal(at(&t, "- seq dma", 1), 2);
    assert_int_equal(at(&t, "- seq dma", 2), at(&t, "- dma take", 1) + 1);
    assert_int_equal(at(&t, "- seq dma", 3), at(&t, "- dma take", 2) + 1);
    end(&t);
}

static void dma_and_array_share_the_banks(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->launch[0].trips[1] = 40;
    m->blocks[0].d.mem.iteration_delta[0] = m->blocks[0].d.mem.iteration_delta[1] = 0;
    m->blocks[2].d.mem.iteration_delta[0] = m->blocks[2].d.mem.iteration_delta[1] = 0;
    mini_dma(m, BF_DMA_FILL, 0, 512, 16, 32);
    m->sequence[4] = (struct bf_seq){BF_SEQ_DMA, 0, 2};
    m->sequence[5] = (struct bf_seq){BF_SEQ_WAITK, 0, 0};
    m->sequence[6] = (struct bf_seq){BF_SEQ_DMA, 0, 1};
    m->sequence[7] = (struct bf_seq){BF_SEQ_WAITD, 0, 4};
    m->sequence[8] = (struct bf_seq){BF_SEQ_END, 0, 0};
    m->program.sequence_count = 9;
    struct traced t = run(m);
    assert_true(at(&t, "- dma done job=4", 0) < at(&t, "- array idle", 0));
    for (unsigned k = 0; k < 4; k++)
        assert_true(mini_get(m, 4096, k) == 2.0 * (k + 1));
    end(&t);
}

static void code_banks_are_guarded(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->sequence[4] = (struct bf_seq){BF_SEQ_CODE, 0, 0};
    m->program.machine.dma_setup = 0;
    must_fail(m, "CODE loads kernel k0 into bank 0", "in which kernel k0 runs");
    m = mini_doubling();
    m->launch[0].bank = 1;
    must_fail(m, "launches kernel k0", "bank 1 does not hold");
    m = mini_doubling();
    m->sequence[4].op = BF_SEQ_END;
    must_fail(m, "ends the program", "array runs");
    m = mini_doubling();
    m->sequence[1] = (struct bf_seq){BF_SEQ_END, 0, 0};
    must_fail(m, "ends the program", "DMA works");
    m = mini_doubling();
    m->sequence[2].y = 5;
    must_fail(m, "deadlock: sequencer word 2 waits for 5 DMA jobs", "only 2 were queued");
}

/* ---- traps and deadlocks ---- */

static void token_faults_trap(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->blocks[0].d.target[1] = 0;
    must_fail(m, "block 0 \"double\" of PE (0,0), iteration 0", "more tokens than the 1 it needs");
    m = mini_doubling();
    m->blocks[0].d.target[1] = 7;
    must_fail(m, "block 7 of PE (0,0)", "no such block");
    m = mini_doubling();
    m->launch[0].period = 2;
    m->blocks[0].d.last = 1;
    must_fail(m, "block 0 \"double\" of PE (0,0), iteration 1", "absent in this iteration");
    m = mini_doubling();
    m->blocks[0].d.mem.spm = 1021;
    must_fail(m, "block 32 \"load\" of PE (0,0), iteration 0", "scratchpad word 1024");
}

static void a_missing_token_is_named(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->blocks[2].d.need = 2;
    must_fail(m, "deadlock in kernel k0",
              "block 56 \"store\" of PE (0,0), iteration 0, has 1 of 2 tokens");
    m = mini_doubling();
    m->blocks[2].d.need = 2;
    must_fail(m, "no block is left that would send one", "blocks wait");
}

static void a_circle_is_named(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->blocks[0].d.need = 1;
    m->blocks[2].d.target[0] = 32;
    must_fail(m,
              "block 0 \"double\" of PE (0,0), iteration 0, has 0 of 1 tokens\n"
              "  and waits for block 32 \"load\" of PE (0,0), iteration 0, has 0 of 1 tokens\n"
              "  and waits for block 56 \"store\" of PE (0,0), iteration 0, has 0 of 1 tokens\n",
              "  and waits for block 0 \"double\" of PE (0,0): a circle");
}

static void a_circle_over_pes_is_named(void **state) {
    (void)state;
    struct mini *m = mini_all_to_all();
    for (unsigned pe = 0; pe < 4; pe++) {
        m->blocks[5 + pe].d.target[0] = 48;
        m->blocks[pe].d.target[0] = BF_NO_BLOCK;
    }
    must_fail(m, "block 48 \"exchange\" of PE (0,0), iteration 0, has 0 of 1 tokens", "a circle");
}

static void strict_order_can_block(void **state) {
    (void)state;
    struct bf_cal word = mini_scale(20, 0, BF_B_TWO);
    struct mini *m = cal_program(&word, 1);
    struct bf_descriptor *d = mini_block(m, 1, "first");
    m->blocks[2].pes = 1;
    m->launch[0].strict = true;
    m->blocks[0].d.target[0] = 1;
    d->need = 1;
    d->target[0] = 0; /* block 0 must run before 1, which feeds it */
    mini_cal(m, word);
    must_fail(m, "block 0 \"body\" of PE (0,0), iteration 0, has 0 of 1 tokens", "a circle");
}

static void the_cycle_limit_ends_a_run(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    struct bf_error error = {0};
    struct bf_device_options options = {.cycle_limit = 50};
    assert_false(bf_device_sim.run(&m->program, m->dram, &options, &m->stats, &error));
    assert_non_null(strstr(error.text, "limit of 50 cycles"));
    free(m);
}

/* ---- the trace ---- */

static void the_trace_is_as_documented(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->program.machine.rows = m->program.machine.cols = 1;
    m->launch[0].trips[0] = m->launch[0].trips[1] = 1;
    m->blocks[0].d.trips[0] = m->blocks[1].d.trips[0] = m->blocks[2].d.trips[0] = 1;
    struct traced t = run(m);
    char *from = strstr(t.text, "- array launch kernel=k0\n");
    assert_non_null(from);
    static const char *const lines[] = {
        " - seq launch pc=3\n",
        " 0 cal wait token\n",
        " 0 load choose block=32.0\n",
        " 0 flow wait idle\n",
        " 0 store wait token\n",
        " 0 load issue block=32.0 ram=64 spm=0\n",
        " 0 load grant spm=0\n",
        " 0 load wait idle\n",
        " 0 load write ram=64\n",
        " 0 cal choose block=0.0\n",
        " 0 cal issue block=0.0 pc=0\n",
        " 0 cal wait idle\n",
        " 0 cal write ram=72\n",
        " 0 store choose block=56.0\n",
        " 0 store issue block=56.0 ram=72 spm=64\n",
        " 0 store read ram=72\n",
        " 0 store wait idle\n",
        " 0 store grant spm=64\n",
        " 0 pe retire iteration=0\n",
        " - array advance low=1\n",
        " - array idle kernel=k0\n",
        " - seq waitk pc=4\n",
    };
    char *line = strchr(from, '\n') + 1;
    for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++) {
        char *text = strchr(line, ' ');
        if (strncmp(text, lines[i], strlen(lines[i])))
            fail_msg("want '%s', got '%.60s' in\n%s", lines[i], text, from);
        line = strchr(line, '\n') + 1;
    }
    end(&t);
}

static void a_trace_changes_nothing(void **state) {
    (void)state;
    struct mini *a = mini_all_to_all(), *b = mini_all_to_all();
    struct traced t = run(a), again = run_any(b);
    assert_string_equal(t.text, again.text);
    struct mini *c = mini_all_to_all();
    struct bf_error error = {0};
    assert_true(bf_device_sim.run(&c->program, c->dram, NULL, &c->stats, &error));
    assert_memory_equal(&a->kernel_stats, &c->kernel_stats, sizeof a->kernel_stats);
    assert_memory_equal(a->dram, c->dram, MINI_DRAM);
    assert_int_equal(a->stats.cycles, c->stats.cycles);
    free(c);
    end(&again);
    end(&t);
}

static void devices_are_found(void **state) {
    (void)state;
    assert_ptr_equal(bf_device_find("sim"), &bf_device_sim);
    assert_ptr_equal(bf_device_find("ref"), &bf_device_ref);
    assert_null(bf_device_find("rtl"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_words_are_granted_together),
        cmocka_unit_test(a_bank_takes_turns),
        cmocka_unit_test(outstanding_loads_are_bounded),
        cmocka_unit_test(request_queues_are_bounded),
        cmocka_unit_test(dma_keeps_its_rate),
        cmocka_unit_test(dma_counts_in_tenths),
        cmocka_unit_test(a_full_dma_queue_stalls_the_sequencer),
        cmocka_unit_test(dma_and_array_share_the_banks),
        cmocka_unit_test(code_banks_are_guarded),
        cmocka_unit_test(token_faults_trap),
        cmocka_unit_test(a_missing_token_is_named),
        cmocka_unit_test(a_circle_is_named),
        cmocka_unit_test(a_circle_over_pes_is_named),
        cmocka_unit_test(strict_order_can_block),
        cmocka_unit_test(the_cycle_limit_ends_a_run),
        cmocka_unit_test(the_trace_is_as_documented),
        cmocka_unit_test(a_trace_changes_nothing),
        cmocka_unit_test(devices_are_found),
    };
    return cmocka_run_group_tests_name("sim-system", tests, NULL, NULL);
}
