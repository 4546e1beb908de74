/* test_sim.c - the processing element of the cycle-level device, rule by rule of docs/machine.md:
 * latencies, window, mesh, hazards, banks, ports, choice, weight sets, stall causes. */
#define _POSIX_C_SOURCE 200809L
#include "test/unit/traced.h"

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

/* STORE reads one word again and again, while CAL writes it. */
static void store_sees_a_write_from_the_next_cycle_on(void **state) {
    (void)state;
    struct bf_cal words[2] = {mini_scale(20, 0, BF_B_TWO), mini_scale(20, 0, BF_B_ONE)};
    struct mini *m = cal_program(words, 2);
    m->blocks[0].d.target[1] = 56;
    struct bf_descriptor *d = mini_block(m, 56, "store");
    m->blocks[2].pes = 1;
    d->need = 1;
    d->trips[0] = 16;
    d->mem.ram = 20;
    d->mem.spm = 64;
    d->mem.spm_delta[0] = 1;
    mini_dma(m, BF_DMA_STORE, 4096, 64, 4, 16);
    m->program.sequence_count = 0;
    mini_sequence(m, 1);
    struct traced t = run(m);
    long two = at(&t, "0 cal write", 0), one = at(&t, "0 cal write", 1);
    assert_int_equal(one, two + 1);
    unsigned seen[3] = {0};
    for (unsigned k = 0; k < 16; k++) {
        long read = at(&t, "0 store read", k);
        unsigned kind = (read > two) + (read > one);
        static const bf_half want[3] = {BF_HALF_POISON, 0x4000, BF_HALF_ONE};
        assert_int_equal(mini_bits(m, 4096, k), want[kind]);
        seen[kind]++;
    }
    assert_true(seen[0] && seen[1] == 1 && seen[2]);
    end(&t);
}

/* FLOW and STORE want the same bank in every cycle. */
static void flow_reads_before_store(void **state) {
    (void)state;
    struct mini *m = mini_create();
    struct bf_descriptor *d = mini_load(m, 32, 0, 0, 1);
    d->target[0] = 48;
    d->target[1] = 56;
    d = mini_block(m, 48, "send");
    m->blocks[1].pes = 1;
    d->need = 1;
    d->trips[0] = 20;
    d->flow.destination = 17;
    d = mini_block(m, 56, "store");
    m->blocks[2].pes = 1;
    d->need = 1;
    d->trips[0] = 2;
    d->mem.spm = 64;
    mini_sequence(m, 0);
    struct traced t = run(m);
    assert_int_equal(at(&t, "0 flow read", 0), at(&t, "0 flow issue", 0) + 1);
    assert_int_equal(at(&t, "0 flow read", 19), at(&t, "0 flow read", 0) + 19);
    assert_int_equal(at(&t, "0 store read", 0), at(&t, "0 flow read", 19) + 1);
    assert_true(m->kernel_stats.stalled[BF_UNIT_STORE][BF_STALL_PORT] > 15);
    end(&t);
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
    for (unsigned k = 0; k < 60; k++) { /* not in the same cycle: it is the same bank */
        long write = at(&t, "0 load write", k);
        assert_true(write < first || write >= first + 20);
    }
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
    /* A set loads behind the data of its first iteration, before those of the next; group 2 waits
     * until this PE has retired iteration 0. */
    assert_true(at(&t, "0 load issue block=32.0", 0) < at(&t, "0 load issue block=33.0", 0));
    assert_true(at(&t, "0 load issue block=33.0", 0) < at(&t, "0 load issue block=32.1", 0));
    assert_true(at(&t, "0 load choose block=33.2", 0) > at(&t, "0 pe retire iteration=0", 0));
    assert_true(at(&t, "0 load choose block=33.3", 0) > at(&t, "0 pe retire iteration=1", 0));
    assert_true(at(&t, "0 cal issue block=0.2", 0) >= at(&t, "0 load write weight=0", 1) + 2);
    assert_true(m->kernel_stats.stalled[BF_UNIT_CAL][BF_STALL_WEIGHTS] > 0);
    end(&t);
}

/* ---- 14: stall causes ---- */

/* The second block's token is counted in the cycle after the first block's last issue. */
static void waits_have_their_cause(void **state) {
    (void)state;
    struct bf_cal word = mini_scale(20, 0, BF_B_TWO);
    struct mini *m = cal_program(&word, 1);
    m->blocks[1].d.trips[0] = 3;
    m->blocks[0].d.trips[0] = 4;
    struct bf_descriptor *d = mini_block(m, 1, "first");
    m->blocks[2].pes = 1;
    d->need = 1;
    d->trips[0] = 3;
    d->cal.start = 0;
    d->cal.length = 1;
    mini_load(m, 33, 0, 0, 4)->target[0] = 1;
    struct traced t = run(m);
    long launch = at(&t, "- array launch", 0), first = at(&t, "0 cal issue block=1.0", 0);
    assert_int_equal(at(&t, "0 cal issue block=0.0", 0), first + 4);
    assert_int_equal(at(&t, "0 cal choose block=0.0", 0), first + 3);
    const uint64_t *cal = m->kernel_stats.stalled[BF_UNIT_CAL];
    assert_int_equal(cal[BF_STALL_TOKEN], first - launch - 1 + 1);
    assert_int_equal(cal[BF_STALL_NONE], 6);
    assert_int_equal(cal[BF_STALL_IDLE], at(&t, "- array idle", 0) - (first + 6));
    assert_int_equal(m->kernel_stats.stalled[BF_UNIT_FLOW][BF_STALL_IDLE], m->kernel_stats.cycles);
    end(&t);
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
        cmocka_unit_test(store_sees_a_write_from_the_next_cycle_on),
        cmocka_unit_test(flow_reads_before_store),
        cmocka_unit_test(words_wait_behind_cal_in_bounded_queues),
        cmocka_unit_test(arrivals_go_before_loaded_words),
        cmocka_unit_test(highest_index_first),
        cmocka_unit_test(oldest_iteration_first),
        cmocka_unit_test(chained_blocks_follow_at_once),
        cmocka_unit_test(weight_sets_alternate),
        cmocka_unit_test(waits_have_their_cause),
    };
    return cmocka_run_group_tests_name("sim", tests, NULL, NULL);
}
