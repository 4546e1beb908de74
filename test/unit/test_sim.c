/* test_sim.c - the cycle-level device, rule by rule of docs/machine.md: latencies, hazards, choice,
 * window, mesh, scratchpad, DMA, sequencer, traps, deadlocks, trace, statistics. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test/unit/mini.h"

/* ---- running and looking at the trace ---- */

struct traced {
    struct mini *m;
    char *text;
    bool ok;
    struct bf_error error;
};

/* Every unit of every PE has one state in each cycle of a kernel. */
static void check_accounts(const struct mini *m) {
    const struct bf_kernel_stats *k = &m->kernel_stats;
    for (unsigned u = 0; u < 4; u++) {
        uint64_t sum = 0;
        for (unsigned c = 0; c < BF_STALL_COUNT; c++)
            sum += k->stalled[u][c];
        assert_int_equal(sum, k->cycles * bf_machine_pes(&m->program.machine));
        assert_int_equal(k->stalled[u][BF_STALL_NONE], k->issued[u]);
    }
}

static struct traced run_any(struct mini *m) {
    struct traced t = {.m = m};
    size_t size;
    FILE *file = open_memstream(&t.text, &size);
    struct bf_device_options options = {.trace = file, .cycle_limit = 1000000};
    t.ok = bf_device_sim.run(&m->program, m->dram, &options, &m->stats, &t.error);
    fclose(file);
    return t;
}

static struct traced run(struct mini *m) {
    struct traced t = run_any(m);
    if (!t.ok)
        fail_msg("%s", t.error.text);
    check_accounts(m);
    return t;
}

static void end(struct traced *t) {
    free(t->text);
    free(t->m);
}

static void must_fail(struct mini *m, const char *first, const char *second) {
    struct traced t = run_any(m);
    assert_false(t.ok);
    assert_int_equal(t.error.code, BF_ERROR_MACHINE);
    if (!strstr(t.error.text, first) || !strstr(t.error.text, second))
        fail_msg("no '%s' or no '%s' in: %s", first, second, t.error.text);
    end(&t);
}

/* Cycle of the nth line (from 0) that goes on with `event` after its cycle; -1: none. */
static long find(const struct traced *t, const char *event, unsigned nth) {
    for (const char *line = t->text; line && *line;) {
        char *rest;
        long cycle = strtol(line, &rest, 10);
        const char *newline = strchr(rest, '\n');
        size_t length = strlen(event);
        if (!strncmp(rest + 1, event, length) &&
            (rest[1 + length] == ' ' || rest[1 + length] == '\n') && !nth--)
            return cycle;
        line = newline ? newline + 1 : NULL;
    }
    return -1;
}

static long at(const struct traced *t, const char *event, unsigned nth) {
    long cycle = find(t, event, nth);
    if (cycle < 0)
        fail_msg("no line %u '%s' in the trace:\n%s", nth, event, t->text);
    return cycle;
}

/* One PE with a CAL block of the words given, after a LOAD of 16 words. */
static struct mini *cal_program(const struct bf_cal *words, unsigned count) {
    struct mini *m = mini_create();
    m->program.machine.rows = m->program.machine.cols = 1;
    mini_load(m, 32, 0, 0, 16)->target[0] = 0;
    struct bf_descriptor *d = mini_block(m, 0, "body");
    d->need = 1;
    for (unsigned i = 0; i < count; i++)
        mini_cal(m, words[i]);
    for (unsigned b = 0; b < m->kernel.block_count; b++)
        m->blocks[b].pes = 1;
    m->segment.pes = 1;
    mini_dma(m, BF_DMA_LOAD, 0, 0, 4, 16);
    mini_sequence(m, 1);
    for (unsigned k = 0; k < 64; k++)
        mini_put(m, 0, k, 1);
    return m;
}

/* Cycles from the issue of the first word to that of the last. */
static long distance(struct mini *m) {
    struct traced t = run(m);
    unsigned count = m->blocks[1].d.cal.length;
    long cycles = at(&t, "0 cal issue", count - 1) - at(&t, "0 cal issue", 0);
    end(&t);
    return cycles;
}

static struct bf_cal special(enum bf_cal_op op, unsigned acc, unsigned a) {
    return (struct bf_cal){
        .op = (uint8_t)op, .dst = BF_DST_ACC, .acc = (uint8_t)acc, .a = (uint16_t)a};
}

/* ---- T4: latencies ---- */

static void latencies_of_load_cal_store(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->launch[0].trips[0] = m->launch[0].trips[1] = 1;
    struct traced t = run(m);
    long load = at(&t, "0 load issue", 3);
    assert_int_equal(at(&t, "- array launch", 0) + 2, at(&t, "0 load issue", 0));
    assert_int_equal(at(&t, "0 load grant", 3), load + 1);
    assert_int_equal(at(&t, "0 load write", 3), load + 6);
    assert_int_equal(at(&t, "0 cal choose", 0), load + 7);
    assert_int_equal(at(&t, "0 cal issue", 0), load + 8);
    long cal = at(&t, "0 cal issue", 3);
    assert_int_equal(cal, load + 11);
    assert_int_equal(at(&t, "0 cal write", 3), cal + 7);
    assert_int_equal(at(&t, "0 store choose", 0), cal + 8);
    assert_int_equal(at(&t, "0 store issue", 0), cal + 9);
    long store = at(&t, "0 store issue", 3);
    assert_int_equal(at(&t, "0 store read", 3), store + 1);
    assert_int_equal(at(&t, "0 store grant", 3), store + 2);
    assert_int_equal(at(&t, "0 pe retire", 0), store + 3);
    assert_int_equal(at(&t, "- array advance", 0), store + 13);
    assert_int_equal(at(&t, "- array idle", 0), store + 13);
    assert_int_equal(m->kernel_stats.cycles, store + 13 - at(&t, "- array launch", 0));
    assert_int_equal(m->stats.cycles, at(&t, "- seq end", 0));
    end(&t);
}

static void latencies_follow_the_description(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->launch[0].trips[0] = m->launch[0].trips[1] = 1;
    m->program.machine.fma_latency = 7;
    m->program.machine.spm_latency = 9;
    m->program.machine.response_queue = 32;
    m->program.machine.retire_latency = 3;
    struct traced t = run(m);
    long load = at(&t, "0 load issue", 3), cal = at(&t, "0 cal issue", 3);
    assert_int_equal(at(&t, "0 cal issue", 0), load + 4 + 9);
    assert_int_equal(at(&t, "0 store issue", 0), cal + 5 + 7);
    assert_int_equal(at(&t, "- array advance", 0), at(&t, "0 pe retire", 0) + 3);
    end(&t);
}

/* ---- L4 to L6: window ---- */

static void next_iteration_loads_after_the_pulse(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->launch[0].window = 1;
    struct traced t = run(m);
    assert_int_equal(at(&t, "0 load issue block=32.1", 0),
                     at(&t, "0 store issue block=56.0", 3) + 15);
    end(&t);
}

static void the_window_bounds_iterations(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    struct traced t = run(m);
    assert_true(at(&t, "0 load choose block=32.1", 0) < at(&t, "0 store choose block=56.0", 0));
    assert_int_equal(at(&t, "0 load choose block=32.2", 0), at(&t, "- array advance low=1", 0) + 1);
    assert_int_equal(at(&t, "0 load choose block=32.3", 0), at(&t, "- array advance low=2", 0) + 1);
    /* The PEs without blocks retire at once, but no further than the window. */
    assert_int_equal(at(&t, "3 pe retire iteration=1", 0),
                     at(&t, "3 pe retire iteration=0", 0) + 1);
    assert_int_equal(at(&t, "3 pe retire iteration=2", 0), at(&t, "- array advance low=1", 0) + 1);
    end(&t);
}

/* ---- F: the mesh ---- */

/* PEs of a mask each load a word and send it to PE 0, which stores it. */
static struct mini *to_zero(uint64_t senders, unsigned words) {
    struct mini *m = mini_create();
    unsigned count = 0;
    for (unsigned pe = 0; pe < 4; pe++) {
        if (!(senders >> pe & 1))
            continue;
        mini_load(m, 32, pe, 0, words)->target[0] = 48;
        struct bf_descriptor *d = mini_block(m, 48, "send");
        m->blocks[m->kernel.block_count - 1].pes = UINT64_C(1) << pe;
        d->need = 1;
        d->trips[0] = (uint16_t)words;
        d->flow.width = 2;
        d->flow.mode = BF_FLOW_ABS;
        d->flow.source_delta[0] = d->flow.destination_delta[0] = 1;
        d->flow.destination = 16;
        d->flow.self_shift = 2;
        d->flow.token = 56;
        count += words;
    }
    struct bf_descriptor *d = mini_block(m, 56, "store");
    m->blocks[m->kernel.block_count - 1].pes = 1;
    d->need = (uint16_t)count;
    d->mem.ram = 16;
    d->mem.spm = 64;
    mini_dma(m, BF_DMA_LOAD, 0, 0, 4, 16);
    mini_sequence(m, 1);
    return m;
}

static void latency_of_flow_by_distance(void **state) {
    (void)state;
    static const struct {
        unsigned pe;
        long hops;
        const char *issue;
    } senders[] = {{0, 0, "0 flow issue"},
                   {1, 1, "1 flow issue"},
                   {2, 1, "2 flow issue"},
                   {3, 2, "3 flow issue"}};
    for (unsigned i = 0; i < 4; i++) {
        struct traced t = run(to_zero(UINT64_C(1) << senders[i].pe, 1));
        long issue = at(&t, senders[i].issue, 0);
        assert_int_equal(at(&t, "0 flow arrive", 0), issue + 3 + senders[i].hops);
        assert_int_equal(at(&t, "0 store issue", 0), issue + 5 + senders[i].hops);
        assert_int_equal(t.m->kernel_stats.hops, senders[i].hops);
        end(&t);
    }
}

/* PE 2 and, through PE 2, PE 3 compete for PE 2's link north: the words take turns. */
static void routers_take_turns(void **state) {
    (void)state;
    struct traced t = run(to_zero(0xc, 4));
    unsigned swaps = 0, last = 9;
    for (unsigned i = 0; i < 8; i++) {
        long cycle = at(&t, "0 flow arrive", i);
        char line[40];
        unsigned from = 9;
        for (unsigned pe = 2; pe < 4; pe++)
            for (unsigned k = 0; k < 4; k++) {
                snprintf(line, sizeof line, "0 flow arrive ram=%u", 64 + 16 + 4 * pe + k);
                if (find(&t, line, 0) == cycle)
                    from = pe;
            }
        assert_true(from == 2 || from == 3);
        swaps += from != last;
        last = from;
    }
    assert_true(swaps >= 6);
    assert_int_equal(t.m->kernel_stats.hops, 4 + 8);
    end(&t);
}

static void a_full_mesh_stalls_and_loses_nothing(void **state) {
    (void)state;
    for (unsigned depth = 1; depth <= 4; depth += 3) {
        struct mini *m = mini_all_to_all();
        m->program.machine.router_queue = m->program.machine.eject_queue = depth;
        struct traced t = run(m);
        for (unsigned r = 0; r < 4; r++)
            for (unsigned to = 0; to < 4; to++)
                for (unsigned from = 0; from < 4; from++)
                    assert_true(mini_get(m, 4096, 16 * r + 4 * to + from) ==
                                16 * r + 4 * from + to + 1);
        if (depth == 1)
            assert_true(m->kernel_stats.stalled[BF_UNIT_FLOW][BF_STALL_QUEUE] > 0);
        end(&t);
    }
}

/* ---- C4: hazards ---- */

static void distance_of_dependent_words(void **state) {
    (void)state;
    struct bf_cal ram[2] = {mini_scale(20, 0, BF_B_TWO), mini_scale(21, 20, BF_B_TWO)};
    assert_int_equal(distance(cal_program(ram, 2)), 6);
    struct bf_cal acc[2] = {mini_to_acc(1, 0), mini_from_acc(20, 1)};
    assert_int_equal(distance(cal_program(acc, 2)), 4);
    struct bf_cal other[2] = {mini_to_acc(1, 0), mini_from_acc(20, 2)};
    assert_int_equal(distance(cal_program(other, 2)), 1);
    struct bf_cal over[2] = {mini_scale(20, 0, BF_B_TWO), mini_scale(20, 1, BF_B_TWO)};
    assert_int_equal(distance(cal_program(over, 2)), 1);
    struct bf_cal half[2] = {mini_to_acc(1, 0),
                             {.op = BF_CAL_LDHI, .dst = BF_DST_ACC, .acc = 1, .c = 3}};
    assert_int_equal(distance(cal_program(half, 2)), 4);
    struct mini *m = cal_program(ram, 2);
    m->program.machine.fma_latency = 9;
    assert_int_equal(distance(m), 11);
    m = cal_program(acc, 2);
    m->program.machine.fma_latency = 9;
    assert_int_equal(distance(m), 9);
}

/* A reader in between does not shorten the distance; a block boundary neither. */
static void hazards_look_past_other_words(void **state) {
    (void)state;
    struct bf_cal words[3] = {mini_scale(20, 0, BF_B_TWO), mini_scale(22, 1, BF_B_TWO),
                              mini_scale(21, 20, BF_B_TWO)};
    assert_int_equal(distance(cal_program(words, 3)), 6);
}

static void special_functions_take_their_time(void **state) {
    (void)state;
    struct bf_cal use[2] = {special(BF_CAL_EXP2, 0, 0), mini_from_acc(20, 0)};
    assert_int_equal(distance(cal_program(use, 2)), 12);
    struct bf_cal two[2] = {special(BF_CAL_EXP2, 0, 0), special(BF_CAL_RCP, 1, 1)};
    assert_int_equal(distance(cal_program(two, 2)), 4);
    struct bf_cal pass[2] = {special(BF_CAL_EXP2, 0, 0), mini_to_acc(1, 0)};
    assert_int_equal(distance(cal_program(pass, 2)), 1);
    struct bf_cal over[2] = {special(BF_CAL_EXP2, 0, 0), mini_to_acc(0, 0)};
    assert_int_equal(distance(cal_program(over, 2)), 9);
    struct mini *m = cal_program(use, 2);
    m->program.machine.special_latency = 20;
    assert_int_equal(distance(m), 20);
    m = cal_program(two, 2);
    m->program.machine.special_interval = 7;
    struct traced t = run(m);
    assert_int_equal(at(&t, "0 cal issue", 1) - at(&t, "0 cal issue", 0), 7);
    assert_int_equal(m->kernel_stats.special, 2);
    assert_int_equal(m->kernel_stats.stalled[BF_UNIT_CAL][BF_STALL_SPECIAL], 6);
    end(&t);
}

/* An instruction that may swap waits for either of its words, whatever the weight says. */
static void swapped_hazards_do_not_depend_on_data(void **state) {
    (void)state;
    for (unsigned swapped = 0; swapped < 2; swapped++) {
        struct bf_cal words[2] = {mini_scale(20, 0, BF_B_TWO), mini_fma(24, 21, 0, 5)};
        struct mini *m = cal_program(words, 2);
        m->blocks[1].d.cal.swap = 1; /* word 21 or word 20 */
        m->blocks[1].d.cal.uses_weights = true;
        struct bf_descriptor *d = mini_block(m, 33, "weights");
        m->blocks[2].pes = 1;
        d->mem.weights = true;
        d->mem.relative = false;
        if (swapped)
            mini_put(m, 0, 0, 2.0); /* the lane whose bit 14 is set */
        assert_int_equal(distance(m), 6);
    }
}

/* ---- C6, P1: banks ---- */

static void operands_of_one_bank_are_read_in_turn(void **state) {
    (void)state;
    static const struct {
        unsigned a, b, c;
        long extra;
    } cases[] = {{0, 1, 2, 0}, {0, 0, 0, 0},  {0, 1, 5, 1}, {0, 5, 1, 1},
                 {1, 0, 5, 1}, {0, 5, 10, 2}, {0, 5, 5, 1}, {0, 0, 5, 1}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bf_cal words[3] = {mini_scale(16, 0, 1), mini_fma(20, cases[i].a, 0, cases[i].c),
                                  mini_scale(17, 0, 1)};
        words[1].b_kind = BF_B_DATA;
        words[1].b = (uint16_t)cases[i].b;
        words[1].b_class = 0;
        struct mini *m = cal_program(words, 3);
        struct traced t = run(m);
        assert_int_equal(at(&t, "0 cal issue", 1) - at(&t, "0 cal issue", 0), 1 + cases[i].extra);
        assert_int_equal(at(&t, "0 cal write", 1) - at(&t, "0 cal issue", 1), 7);
        assert_int_equal(at(&t, "0 cal issue", 2) - at(&t, "0 cal issue", 1), 1);
        assert_int_equal(m->kernel_stats.stalled[BF_UNIT_CAL][BF_STALL_BANK], cases[i].extra);
        end(&t);
    }
}

/* STORE reads words of the bank that CAL reads in every cycle: it gets none before CAL ends. */
static void cal_reads_first(void **state) {
    (void)state;
    struct bf_cal word = mini_scale(20, 0, BF_B_TWO);
    struct mini *m = cal_program(&word, 1);
    m->blocks[1].d.trips[0] = 50;
    m->blocks[0].d.target[1] = 56;
    struct bf_descriptor *d = mini_block(m, 56, "store");
    m->blocks[2].pes = 1;
    d->need = 1;
    d->trips[0] = 3;
    d->mem.spm = 64;
    struct traced t = run(m);
    long last = at(&t, "0 cal issue", 49);
    /* Reads begin two cycles after CAL's first issue; the first word slips through. */
    assert_int_equal(at(&t, "0 store read", 0), at(&t, "0 cal issue", 0) + 1);
    assert_int_equal(at(&t, "0 store read", 1), last + 3);
    assert_true(m->kernel_stats.stalled[BF_UNIT_STORE][BF_STALL_PORT] > 40);
    end(&t);
}

/* An instruction that may swap keeps others from the banks of both of its words. */
static void possible_swaps_claim_their_port(void **state) {
    (void)state;
    for (unsigned swap = 0; swap < 2; swap++) {
        struct bf_cal word = mini_fma(20, 0, 0, 0);
        struct mini *m = cal_program(&word, 1);
        m->blocks[1].d.trips[0] = 50;
        m->blocks[1].d.cal.swap = (uint8_t)swap; /* word 0 or word 1 */
        m->blocks[0].d.target[1] = 56;
        struct bf_descriptor *d = mini_block(m, 56, "store");
        m->blocks[2].pes = 1;
        d->need = 1;
        d->trips[0] = 3;
        d->mem.ram = 1;
        d->mem.spm = 64;
        struct traced t = run(m);
        long first = at(&t, "0 store read", 0), last = at(&t, "0 cal issue", 49);
        assert_int_equal(at(&t, "0 store read", 2), swap ? last + 4 : first + 2);
        end(&t);
    }
}

/* ---- T2, P2: writes ---- */

/* CAL copies one word again and again, while a LOAD without regard for it writes that word: who
 * reads before the end of that cycle gets the old word. */
static void a_read_in_the_cycle_of_a_write_gets_the_old_word(void **state) {
    (void)state;
    for (unsigned weights = 0; weights < 2; weights++) {
        struct bf_cal word = mini_scale(16, 0, BF_B_ONE);
        if (weights) {
            word = mini_fma(16, 4, 0, 4);
            word.c_class = BF_CLASS_SPECIAL;
            word.c = BF_C_ZERO << 8;
            word.a_class = BF_CLASS_SPECIAL; /* an accumulator that holds 1 */
            word.a = 0;
        }
        struct bf_cal one = {.op = BF_CAL_SEL, /* -1 >= 0 ? a0 : 1 */
                             .dst = BF_DST_ACC,
                             .a_class = BF_CLASS_SPECIAL,
                             .b_kind = BF_B_CONST,
                             .b = BF_B_ONE,
                             .negate_addend = true,
                             .c_class = BF_CLASS_SPECIAL,
                             .c = BF_C_ONE << 8};
        struct mini *m = cal_program(&word, 1);
        m->launch[0].context_size = 0;
        m->blocks[1].d.trips[0] = 16;
        m->blocks[1].d.cal.delta[1][0] = 1;
        word.d_class = 1;
        m->segment.count = 0;
        m->blocks[1].d.cal.length = 0;
        m->blocks[1].d.cal.relative = 3;
        m->kernel.block_count = 2;
        mini_cal(m, word);
        m->blocks[1].d.need = 0;
        m->blocks[1].d.target[0] = 56;
        m->blocks[0].d.target[0] = BF_NO_BLOCK;
        m->blocks[0].d.trips[0] = 1;
        m->blocks[0].d.mem.weights = weights;
        m->blocks[0].d.mem.relative = !weights;
        m->program.machine.spm_latency = 6; /* so that the write falls into the block */
        m->program.machine.retire_latency = 20;
        struct bf_descriptor *d = mini_block(m, 56, "store");
        m->blocks[2].pes = 1;
        d->need = 1;
        d->trips[0] = 16;
        d->mem.ram = 16;
        d->mem.ram_delta[0] = 1;
        d->mem.spm = 64;
        d->mem.spm_delta[0] = 1;
        d = mini_block(m, 1, "one"); /* chosen before block 0: higher index */
        m->blocks[3].pes = 1;
        mini_cal(m, one);
        mini_dma(m, BF_DMA_STORE, 4096, 64, 4, 16);
        m->program.sequence_count = 0;
        mini_sequence(m, 1);
        bf_half nan = BF_HALF_NAN;
        struct traced t = run(m);
        long write = at(&t, weights ? "0 load write weight=0" : "0 load write ram=64", 0);
        unsigned fresh = 0;
        for (unsigned k = 0; k < 16; k++) {
            long read = at(&t, "0 cal issue block=0.0", k) + (weights ? 1 : 2);
            bf_half want = read > write ? BF_HALF_ONE : nan;
            assert_int_equal(mini_bits(m, 4096, k), want);
            fresh += read > write;
        }
        assert_true(fresh > 0 && fresh < 16);
        end(&t);
    }
}

/* PE 1 streams words into one bank of PE 0; beside it PE 0 does what `busy` says to that bank. */
static struct mini *stream(unsigned words, bool cal, bool load) {
    struct mini *m = mini_create();
    mini_load(m, 32, 1, 0, 1)->target[0] = 48;
    struct bf_descriptor *d = mini_block(m, 48, "send");
    m->blocks[1].pes = 2;
    d->need = 1;
    d->trips[0] = (uint16_t)words;
    d->flow.width = 2;
    d->flow.mode = BF_FLOW_ABS;
    d->flow.destination = 15; /* + 1, the sender's number */
    if (cal) {
        d = mini_block(m, 0, "writer");
        m->blocks[2].pes = 1;
        d->trips[0] = 200;
        mini_cal(m, mini_scale(16, 0, BF_B_ONE));
    }
    if (load) {
        d = mini_load(m, 33, 0, 0, 60);
        d->mem.ram = 16;
        d->mem.ram_delta[0] = 0;
    }
    mini_dma(m, BF_DMA_FILL, 0, 0, 4, 64);
    mini_sequence(m, 1);
    return m;
}

static void words_wait_behind_cal_in_bounded_queues(void **state) {
    (void)state;
    static const unsigned depths[][2] = {{4, 2}, {1, 1}, {3, 5}};
    for (unsigned i = 0; i < 3; i++) {
        struct mini *m = stream(40, true, false);
        m->program.machine.router_queue = depths[i][0];
        m->program.machine.eject_queue = depths[i][1];
        struct traced t = run(m);
        long arrival = at(&t, "0 flow arrive", 0);
        assert_int_equal(arrival, at(&t, "0 cal write", 199) + 1);
        unsigned read = 0; /* two routers and the eject queue are full then */
        while (find(&t, "1 flow read", read) >= 0 && find(&t, "1 flow read", read) < arrival)
            read++;
        assert_int_equal(read, 2 * depths[i][0] + depths[i][1]);
        end(&t);
    }
}

static void arrivals_go_before_loaded_words(void **state) {
    (void)state;
    struct traced t = run(stream(20, false, true));
    long first = at(&t, "0 flow arrive", 0);
    assert_true(at(&t, "0 load write", 0) < first);
    for (unsigned k = 1; k < 20; k++)
        assert_int_equal(at(&t, "0 flow arrive", k), first + k);
    assert_true(at(&t, "0 load write", 59) > first + 20);
    end(&t);
}

/* ---- B3 to B7: choice ---- */

static void highest_index_first(void **state) {
    (void)state;
    struct bf_cal word = mini_scale(20, 0, BF_B_TWO);
    struct mini *m = cal_program(&word, 1);
    m->blocks[0].d.target[1] = 1;
    *mini_block(m, 1, "other") = m->blocks[1].d;
    m->blocks[2].pes = 1;
    struct traced t = run(m);
    assert_int_equal(at(&t, "0 cal issue block=1.0", 0) + 1, at(&t, "0 cal issue block=0.0", 0));
    end(&t);
    m = cal_program(&word, 1);
    m->blocks[0].d.target[1] = 1;
    *mini_block(m, 1, "other") = m->blocks[1].d;
    m->blocks[2].pes = 1;
    m->launch[0].strict = true;
    t = run(m);
    assert_int_equal(at(&t, "0 cal issue block=0.0", 0) + 1, at(&t, "0 cal issue block=1.0", 0));
    end(&t);
}

static void oldest_iteration_first(void **state) {
    (void)state;
    struct mini *m = mini_doubling();
    m->blocks[1].d.trips[1] = 30; /* CAL is the bottleneck */
    struct traced t = run(m);
    for (unsigned i = 0; i < 3; i++) {
        char line[40], next[40];
        snprintf(line, sizeof line, "0 cal issue block=0.%u", i);
        snprintf(next, sizeof next, "0 cal issue block=0.%u", i + 1);
        assert_true(at(&t, line, 119) < at(&t, next, 0));
    }
    /* No bubble where the next block was ready in time. */
    assert_int_equal(at(&t, "0 cal issue block=0.1", 0), at(&t, "0 cal issue block=0.0", 119) + 1);
    end(&t);
}

static void chained_blocks_follow_at_once(void **state) {
    (void)state;
    struct bf_cal word = mini_to_acc(0, 0);
    struct mini *m = cal_program(&word, 1);
    m->blocks[1].d.cal.chain = true;
    m->blocks[0].d.target[1] = 2;
    struct bf_descriptor *d = mini_block(m, 1, "finish");
    m->blocks[2].pes = 1;
    mini_cal(m, mini_scale(21, 0, BF_B_TWO));
    d = mini_block(m, 2, "other"); /* ready, and its index is higher */
    m->blocks[3].pes = 1;
    d->need = 1;
    mini_cal(m, mini_scale(22, 0, BF_B_TWO));
    m->blocks[0].d.target[0] = 0;
    struct traced t = run(m);
    assert_int_equal(at(&t, "0 cal issue block=2.0", 0) + 1, at(&t, "0 cal issue block=0.0", 0));
    assert_int_equal(at(&t, "0 cal issue block=0.0", 0) + 1, at(&t, "0 cal issue block=1.0", 0));
    end(&t);
}

/* ---- G: weights ---- */

static void weight_sets_alternate(void **state) {
    (void)state;
    struct mini *m = mini_weighted();
    struct traced t = run(m);
    /* Groups 0 and 1 load behind the data; group 2 waits until this PE has retired iteration 0. */
    assert_true(at(&t, "0 load issue block=32.1", 0) < at(&t, "0 load issue block=33.0", 0));
    assert_true(at(&t, "0 load choose block=33.2", 0) > at(&t, "0 pe retire iteration=0", 0));
    assert_true(at(&t, "0 load choose block=33.3", 0) > at(&t, "0 pe retire iteration=1", 0));
    assert_true(at(&t, "0 cal issue block=0.2", 0) >= at(&t, "0 load write weight=0", 1) + 2);
    assert_true(m->kernel_stats.stalled[BF_UNIT_CAL][BF_STALL_WEIGHTS] > 0);
    end(&t);
}

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
    mini_sequence(m, 1);
    struct traced t = run(m);
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
        cmocka_unit_test(latencies_of_load_cal_store),
        cmocka_unit_test(latencies_follow_the_description),
        cmocka_unit_test(next_iteration_loads_after_the_pulse),
        cmocka_unit_test(the_window_bounds_iterations),
        cmocka_unit_test(latency_of_flow_by_distance),
        cmocka_unit_test(routers_take_turns),
        cmocka_unit_test(a_full_mesh_stalls_and_loses_nothing),
        cmocka_unit_test(distance_of_dependent_words),
        cmocka_unit_test(hazards_look_past_other_words),
        cmocka_unit_test(special_functions_take_their_time),
        cmocka_unit_test(swapped_hazards_do_not_depend_on_data),
        cmocka_unit_test(operands_of_one_bank_are_read_in_turn),
        cmocka_unit_test(cal_reads_first),
        cmocka_unit_test(possible_swaps_claim_their_port),
        cmocka_unit_test(a_read_in_the_cycle_of_a_write_gets_the_old_word),
        cmocka_unit_test(words_wait_behind_cal_in_bounded_queues),
        cmocka_unit_test(arrivals_go_before_loaded_words),
        cmocka_unit_test(highest_index_first),
        cmocka_unit_test(oldest_iteration_first),
        cmocka_unit_test(chained_blocks_follow_at_once),
        cmocka_unit_test(weight_sets_alternate),
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
    return cmocka_run_group_tests_name("sim", tests, NULL, NULL);
}
