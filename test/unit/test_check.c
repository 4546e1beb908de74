/* test_check.c - the order and storage checks: programs that are right pass, and each planted fault
 * is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "runtime/check.h"
#include "test/unit/mini.h"

static void passes(struct mini *m) {
    struct bf_error error = {0};
    if (!bf_check_program(&m->program, &error))
        fail_msg("%s", error.text);
    free(m);
}

static void refused(struct mini *m, const char *want) {
    struct bf_error error = {0};
    if (bf_check_program(&m->program, &error))
        fail_msg("passed; expected: %s", want);
    assert_int_equal(error.code, BF_ERROR_MACHINE);
    assert_string_equal(error.text, want);
    free(m);
}

static void right_programs_pass(void **state) {
    (void)state;
    passes(mini_doubling());
    passes(mini_all_to_all());
    passes(mini_weighted());
    for (unsigned window = 1; window <= 8; window++) {
        struct mini *m = mini_weighted();
        m->launch[0].window = (uint8_t)window;
        passes(m);
    }
}

/* ---- tokens ---- */

static void missing_token(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->blocks[0].d.target[0] = BF_NO_BLOCK;
    refused(m, "k0: order: block 0 \"double\" of PE (0,0) needs 1 tokens and gets 0 in phase 0: a "
               "token is missing");
    m = mini_doubling(); /* consistently forgotten on both sides */
    m->blocks[0].d.target[0] = BF_NO_BLOCK;
    m->blocks[1].d.need = 0;
    refused(m,
            "k0: order: RAM word 64 of PE (0,0) is read by block 0 \"double\" in iteration 0, and "
            "nothing orders that after block 32 \"load\" in iteration 0, which writes it");
    m = mini_all_to_all();
    m->blocks[4].d.flow.token = BF_NO_BLOCK;
    refused(m, "k0: order: block 48 \"exchange\" of PE (0,0) gives no token for its words: nothing "
               "says when they have arrived");
    m = mini_all_to_all();
    m->blocks[6].d.need = 5;
    refused(m, "k0: order: block 56 \"store\" of PE (0,1) needs 5 tokens and gets 4 in phase 0: a "
               "token is missing");
    m = mini_all_to_all();
    m->blocks[4].d.flow.token = 57;
    refused(m,
            "k0: order: block 48 \"exchange\" of PE (0,0) gives a token to block 57 of PE (0,0), "
            "which is absent in phase 0");
}

static void cyclic_wait(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->blocks[0].d.need = 1;
    m->blocks[2].d.target[0] = 32;
    refused(m, "k0: deadlock:\n"
               "  block 0 \"double\" of PE (0,0) in iteration 0 has 0 of 1 tokens; it waits for\n"
               "  block 32 \"load\" of PE (0,0) in iteration 0 has 0 of 1 tokens; it waits for\n"
               "  block 56 \"store\" of PE (0,0) in iteration 0 has 0 of 1 tokens; it waits for\n"
               "  block 0 \"double\" of PE (0,0) in iteration 0: a circle");
}

/* ---- data RAM ---- */

static void overwritten_live_word(void **state) {
    (void)state;
    struct mini *m = mini_doubling(); /* contexts overlap by four words: the results */
    m->launch[0].context_size = 8;
    refused(m, "k0: storage: RAM word 72 of PE (0,0) is written by block 0 \"double\" in iteration "
               "0 while block 32 \"load\" in iteration 1 may still write it: no token, chain or "
               "retirement orders them");
    m = mini_doubling(); /* one word too many */
    m->launch[0].context_size = 12;
    m->blocks[0].d.trips[0] = 5;
    m->dmas[0].cols = 17;
    m->dmas[0].width = 20;
    m->blocks[2].d.mem.spm = 128;
    m->dmas[1].spm = 128;
    m->dmas[0].pad = true;
    passes(m);
    m = mini_doubling(); /* a buffer outside the contexts is shared by all iterations in flight */
    m->blocks[0].d.mem.relative = false;
    m->blocks[1].d.cal.relative = 0;
    m->blocks[2].d.mem.relative = false;
    refused(m, "k0: storage: RAM word 0 of PE (0,0) is written by block 32 \"load\" in iteration 1 "
               "while block 0 \"double\" in iteration 0 may still read it: no token, chain or "
               "retirement orders them");
    m = mini_doubling(); /* ... unless there is but one */
    m->launch[0].window = 1;
    m->blocks[0].d.mem.relative = false;
    m->blocks[1].d.cal.relative = 0;
    m->blocks[2].d.mem.relative = false;
    passes(m);
}

static void early_reuse_of_a_receive_buffer(void **state) {
    (void)state;
    refused(mini_two_exchanges(false),
            "k0: storage: RAM word 73 of PE (0,0) is written by block 49 \"exchange back\" in "
            "iteration 0 of PE (0,1) while block 0 \"negate\" in iteration 0 may still read it: no "
            "token, chain or retirement orders them");
    passes(mini_two_exchanges(true));
}

static void uninitialised_read(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->blocks[0].d.trips[0] = 3;
    refused(m, "k0: uninitialised: RAM word 67 of PE (0,0) is read by block 0 \"double\" in "
               "iteration 0, and nothing in this kernel writes it before");
    m = mini_doubling();
    m->blocks[0].d.mem.spm = 4;
    refused(m, "k0: uninitialised: scratchpad word 16 is read by block 32 \"load\" in iteration 3, "
               "and nothing writes all of its lanes before");
    m = mini_doubling();
    m->dmas[0].rows = 3;
    refused(m, "k0: uninitialised: scratchpad word 0 is read by block 32 \"load\" in iteration 0, "
               "and nothing writes all of its lanes before");
    m = mini_doubling();
    m->dmas[1].spm = 68;
    refused(m, "dma 1: uninitialised: it stores scratchpad word 80, and nothing writes all of that "
               "before");
}

/* ---- accumulators ---- */

static void unstrict_accumulator(void **state) {
    (void)state;
    passes(mini_two_blocks(true, false));
    passes(mini_two_blocks(false, true));
    refused(mini_two_blocks(false, false),
            "k0: storage: accumulator 1 of PE (0,0) is read by block 4 \"empty\" before the block "
            "writes it: across the end of a block only a chain or a strict launch keeps it");
    struct mini *m = mini_two_blocks(false, true);
    m->blocks[1].d.target[0] = BF_NO_BLOCK; /* strict order alone is enough in the CAL unit */
    m->blocks[2].d.need = 0;
    passes(m);
    m = mini_two_blocks(false, true);
    struct bf_cal cal = mini_from_acc(8, 2);
    m->words[m->blocks[2].d.cal.start] = bf_cal_encode(&cal);
    refused(m, "k0: uninitialised: accumulator 2 of PE (0,0) is read by block 4 \"empty\", and no "
               "block before it in strict order writes it");
}

/* ---- weights ---- */

static void weights_without_waiting(void **state) {
    (void)state;
    struct mini *m = mini_weighted();
    m->blocks[1].d.cal.uses_weights = false;
    refused(m, "k0: order: weight word 0 of PE (0,0) is read by block 0 \"double\", which does not "
               "wait for its weight set");
    m = mini_weighted();
    m->blocks[3].d.mem.ram = 1;
    refused(m,
            "k0: uninitialised: weight word 0 of PE (0,0) is read by block 0 \"double\" in group "
            "0, and nothing in this kernel loads it");
}

/* ---- scratchpad and sequencer ---- */

static void scratchpad_words_are_ordered(void **state) {
    (void)state;
    struct mini *m = mini_doubling(); /* in place: each iteration over its own tile */
    m->blocks[2].d.mem.spm = 0;
    m->dmas[1].spm = 0;
    passes(m);
    m = mini_doubling(); /* over the next iteration's tile */
    m->blocks[2].d.mem.spm = 4;
    m->dmas[1].spm = 4;
    refused(m,
            "k0: storage: scratchpad word 4 is written by block 56 \"store\" in iteration 0 while "
            "block 32 \"load\" in iteration 1 may still read it: no token, chain or retirement "
            "orders them");
    m = mini_doubling(); /* two iterations on: iteration 0 has retired then */
    m->blocks[2].d.mem.spm = 8;
    m->dmas[1].spm = 8;
    passes(m);
    m = mini_doubling();
    m->launch[0].window = 3;
    m->blocks[2].d.mem.spm = 8;
    m->dmas[1].spm = 8;
    refused(m,
            "k0: storage: scratchpad word 8 is written by block 56 \"store\" in iteration 0 while "
            "block 32 \"load\" in iteration 2 may still read it: no token, chain or retirement "
            "orders them");
    m = mini_doubling(); /* all iterations into one tile */
    m->blocks[2].d.mem.iteration_delta[0] = m->blocks[2].d.mem.iteration_delta[1] = 0;
    m->dmas[1].cols = 4;
    passes(m);
    m = mini_doubling(); /* two PEs into one tile */
    m->blocks[0].pes = m->blocks[1].pes = m->blocks[2].pes = 3;
    refused(m, "k0: storage: scratchpad word 64 is written by block 56 \"store\" in iteration 0 "
               "while block 56 \"store\" in iteration 0 may still write it: no token, chain or "
               "retirement orders them");
}

/* The doubling, and once more: from where `from` points to where `to` does. The store goes through
 * base register 1. */
static struct mini *doubled_twice(uint32_t from, uint32_t to) {
    struct mini *m = mini_doubling();
    m->blocks[2].d.mem.base = 1;
    m->program.launch_count = 2;
    m->launch[1] = m->launch[0];
    m->launch[1].base[0] = from;
    m->launch[1].base[1] = to;
    memmove(&m->sequence[6], &m->sequence[4], 4 * sizeof *m->sequence);
    m->program.sequence_count += 2;
    m->sequence[4] = (struct bf_seq){BF_SEQ_LAUNCH, 0, 1};
    m->sequence[5] = (struct bf_seq){BF_SEQ_MARK, 0, 0};
    return m;
}

static void launches_of_one_kernel(void **state) {
    (void)state;
    passes(doubled_twice(0, 0));
    passes(doubled_twice(0, 128));
    passes(doubled_twice(64, 128)); /* reads what the first one wrote */
    passes(doubled_twice(64, 1024 - 64 - 16));
    refused(doubled_twice(68, 128), "k0: uninitialised: scratchpad word 80 is read by block 32 "
                                    "\"load\" in iteration 3, and nothing writes all of its lanes "
                                    "before");
    refused(doubled_twice(64, 4),
            "k0: storage: scratchpad word 68 is written by block 56 \"store\" in iteration 0 while "
            "block 32 \"load\" in iteration 1 may still read it: no token, chain or retirement "
            "orders them");
    refused(doubled_twice(0, 1024 - 64 - 12),
            "k0: storage: block 56 \"store\" of PE (0,0) uses scratchpad word 1024 of 1024 in "
            "iteration 3");
    struct mini *m = doubled_twice(64, 128); /* against the job that stores the results */
    m->sequence[6] = (struct bf_seq){BF_SEQ_MARK, 0, 0};
    m->dmas[1].spm = 192;
    refused(m,
            "k0: order: scratchpad word 192 is written by block 56 \"store\" in iteration 0 while "
            "dma 1 may still read it: no waitk stands between launch and job");
    m = doubled_twice(0, 128); /* one iteration more than was proved: its own proof */
    m->launch[1].trips[0]++;
    refused(m, "k0: uninitialised: scratchpad word 16 is read by block 32 \"load\" in iteration 4, "
               "and nothing writes all of its lanes before");
}

static void sequencer_waits(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->sequence[2].y = 1;
    refused(m,
            "k0: order: scratchpad word 0 is read by block 32 \"load\" in iteration 0 while dma 0 "
            "may still write it: no waitd stands between job and launch");
    m = mini_doubling();
    m->sequence[2].y = 0;
    refused(m, "k0: order: it is launched while its code may still be loading: no waitd stands "
               "between");
    m = mini_doubling();
    m->sequence[4] = (struct bf_seq){BF_SEQ_MARK, 0, 0}; /* was waitk */
    refused(m,
            "k0: order: scratchpad word 64 is written by block 56 \"store\" in iteration 0 while "
            "dma 1 may still read it: no waitk stands between launch and job");
    m = mini_doubling();
    m->sequence[6].y = 2;
    refused(m,
            "sequencer: order: the program may end while a DMA job runs: no waitd stands before");
    m = mini_doubling();
    m->sequence[6].y = 4;
    refused(m, "sequencer: deadlock: it waits for 4 jobs, and 3 were issued");
    m = mini_doubling();
    m->sequence[4] = (struct bf_seq){BF_SEQ_CODE, 0, 0};
    refused(m, "k0: order: its code in bank 0 is overwritten by that of k0 while it may still run: "
               "no waitk stands between");
}

static void periods(void **state) {
    (void)state;
    refused(mini_pairs(false),
            "k0: order: RAM word 0 of PE (0,0) is read by block 4 \"add\" in iteration 1, and "
            "nothing orders that after block 3 \"set\" in iteration 0, which writes it");
    refused(
        mini_pairs(true),
        "k0: storage: RAM word 0 of PE (0,0) is written by block 3 \"set\" in iteration 2 while "
        "block 56 \"store\" in iteration 1 may still read it: no token, chain or retirement "
        "orders them");
    struct mini *m = mini_pairs(true); /* with one iteration in flight the STORE has retired */
    m->launch[0].window = 1;
    m->blocks[3].d.cal.delta[0][0] = 0;
    passes(m);
    m = mini_pairs(true);
    m->launch[0].window = 1;
    m->blocks[1].d.first = 1; /* set comes one iteration late */
    m->blocks[1].d.last = 1;
    refused(m,
            "k0: order: block 32 \"first\" of PE (0,0) gives a token to block 3 of PE (0,0), which "
            "is absent in phase 0");
    m = mini_pairs(true);
    m->launch[0].window = 1;
    m->blocks[1].d.need = 0;
    m->blocks[0].d.target[0] = BF_NO_BLOCK;
    struct bf_cal cal = mini_scale(0, 0, BF_B_ONE);
    cal.d_class = cal.a_class = 1;
    m->words[m->blocks[1].d.cal.start] = bf_cal_encode(&cal);
    refused(m,
            "k0: uninitialised: RAM word 0 of PE (0,0) is read by block 3 \"set\" in iteration 0, "
            "and nothing in this kernel writes it before");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_programs_pass),
        cmocka_unit_test(missing_token),
        cmocka_unit_test(cyclic_wait),
        cmocka_unit_test(overwritten_live_word),
        cmocka_unit_test(early_reuse_of_a_receive_buffer),
        cmocka_unit_test(uninitialised_read),
        cmocka_unit_test(unstrict_accumulator),
        cmocka_unit_test(weights_without_waiting),
        cmocka_unit_test(scratchpad_words_are_ordered),
        cmocka_unit_test(launches_of_one_kernel),
        cmocka_unit_test(sequencer_waits),
        cmocka_unit_test(periods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
