/* mini.h - small programs built in C, for the tests of devices and checks. */
#ifndef BF_TEST_MINI_H
#define BF_TEST_MINI_H

#include <stdlib.h>

#include "ir/isa/fp.h"
#include "runtime/device.h"

enum { MINI_DRAM = 1 << 16 };

struct mini {
    struct bf_program program;
    struct bf_kernel kernel;
    struct bf_block blocks[64];
    struct bf_segment segment;
    uint64_t words[256];
    struct bf_launch launch[2];
    struct bf_dma dmas[8];
    struct bf_seq sequence[32];
    uint8_t dram[MINI_DRAM];
    struct bf_kernel_stats kernel_stats;
    struct bf_block_stats block_stats[64], *block_stats_of;
    struct bf_stats stats;
};

/* An empty kernel "k0" on 2 x 2 PEs of 4 lanes, launched once with a window of 2. */
static inline struct mini *mini_create(void) {
    struct mini *m = bf_alloc(sizeof *m);
    struct bf_program *p = &m->program;
    p->machine = bf_machine_default();
    p->machine.rows = p->machine.cols = 2;
    p->machine.lanes = 4;
    p->machine.spm_words = 1024;
    p->network = (char *)"mini";
    p->batch = 1;
    p->kernels = &m->kernel;
    p->kernel_count = 1;
    p->launches = m->launch;
    p->launch_count = 1;
    p->dmas = m->dmas;
    p->sequence = m->sequence;
    p->dram_size = MINI_DRAM;
    m->kernel = (struct bf_kernel){.name = (char *)"k0",
                                   .what = (char *)"test",
                                   .segments = &m->segment,
                                   .segment_count = 1,
                                   .blocks = m->blocks};
    m->segment = (struct bf_segment){.pes = 0xf, .words = m->words};
    for (unsigned k = 0; k < 2; k++)
        m->launch[k] = (struct bf_launch){
            .window = 2, .context_base = 64, .context_size = 32, .period = 1, .trips = {1, 1, 1}};
    m->stats.kernels = &m->kernel_stats;
    m->block_stats_of = m->block_stats;
    m->stats.blocks = &m->block_stats_of;
    return m;
}

static inline void mini_seq(struct mini *m, uint8_t op, uint8_t x, uint32_t y) {
    m->sequence[m->program.sequence_count++] = (struct bf_seq){op, x, y};
}

/* A block of all PEs that runs once, needs and gives no token, and is relative to the context. */
static inline struct bf_descriptor *mini_block(struct mini *m, unsigned id, const char *name) {
    struct bf_block *block = &m->blocks[m->kernel.block_count++];
    *block = (struct bf_block){.pes = 0xf, .id = (uint8_t)id, .name = (char *)name};
    struct bf_descriptor *d = &block->d;
    d->unit = (uint8_t)bf_block_unit(id);
    d->trips[0] = d->trips[1] = d->trips[2] = 1;
    memset(d->target, BF_NO_BLOCK, sizeof d->target);
    d->flow.token = BF_NO_BLOCK;
    d->cal.start = (uint8_t)m->segment.count;
    d->cal.relative = 1;
    d->mem.relative = true;
    d->flow.source_relative = d->flow.destination_relative = true;
    return d;
}

/* Adds a word to the body of the CAL block made last. */
static inline void mini_cal(struct mini *m, struct bf_cal cal) {
    m->words[m->segment.count++] = bf_cal_encode(&cal);
    m->blocks[m->kernel.block_count - 1].d.cal.length++;
}

/* rows x cols halves between DRAM byte `dram` and scratchpad word `spm`, dense. */
static inline unsigned mini_dma(struct mini *m, uint8_t kind, uint64_t dram, uint32_t spm,
                                uint32_t rows, uint32_t cols) {
    m->dmas[m->program.dma_count] = (struct bf_dma){
        .kind = kind,
        .dram = dram,
        .pitch = 2 * (int64_t)cols,
        .rows = rows,
        .cols = cols,
        .spm = spm,
        .width = (uint32_t)bf_round_up(cols, m->program.machine.lanes),
    };
    return (unsigned)m->program.dma_count++;
}

/* The usual sequence: code and the first `before` DMA jobs, the launch, the other jobs, end. */
static inline void mini_sequence(struct mini *m, unsigned before) {
    mini_seq(m, BF_SEQ_CODE, 0, 0);
    for (unsigned k = 0; k < before; k++)
        mini_seq(m, BF_SEQ_DMA, 0, k);
    mini_seq(m, BF_SEQ_WAITD, 0, before + 1);
    mini_seq(m, BF_SEQ_LAUNCH, 0, 0);
    mini_seq(m, BF_SEQ_WAITK, 0, 0);
    for (unsigned k = before; k < m->program.dma_count; k++)
        mini_seq(m, BF_SEQ_DMA, 0, k);
    mini_seq(m, BF_SEQ_WAITD, 0, (uint32_t)m->program.dma_count + 1);
    mini_seq(m, BF_SEQ_END, 0, 0);
}

static inline void mini_put(struct mini *m, uint64_t dram, unsigned index, double value) {
    bf_half h = bf_half_from_double(value);
    memcpy(m->dram + dram + 2 * index, &h, 2);
}
static inline bf_half mini_bits(const struct mini *m, uint64_t dram, unsigned index) {
    bf_half h;
    memcpy(&h, m->dram + dram + 2 * index, 2);
    return h;
}
static inline double mini_get(const struct mini *m, uint64_t dram, unsigned index) {
    return bf_half_to_double(mini_bits(m, dram, index));
}

/* D of class 0 <- A of class 0 x weight lane b + C of class 0. */
static inline struct bf_cal mini_fma(unsigned d, unsigned a, unsigned b, unsigned c) {
    return (struct bf_cal){.op = BF_CAL_FMA,
                           .dst = BF_DST_RAM,
                           .d = (uint16_t)d,
                           .a = (uint16_t)a,
                           .b = (uint16_t)b,
                           .b_kind = BF_B_LANE,
                           .b_class = 3,
                           .c = (uint16_t)c};
}
/* D <- A x constant b + 0, or + accumulator 0. */
static inline struct bf_cal mini_scale(unsigned d, unsigned a, unsigned b) {
    return (struct bf_cal){.op = BF_CAL_FMA,
                           .dst = BF_DST_RAM,
                           .d = (uint16_t)d,
                           .a = (uint16_t)a,
                           .b = (uint16_t)b,
                           .b_kind = BF_B_CONST,
                           .c_class = BF_CLASS_SPECIAL,
                           .c = BF_C_ZERO << 8};
}
/* accumulator acc <- A x 1 + 0. */
static inline struct bf_cal mini_to_acc(unsigned acc, unsigned a) {
    struct bf_cal cal = mini_scale(0, a, BF_B_ONE);
    cal.dst = BF_DST_ACC;
    cal.acc = (uint8_t)acc;
    return cal;
}
/* D <- accumulator acc x 1 + 0. */
static inline struct bf_cal mini_from_acc(unsigned d, unsigned acc) {
    struct bf_cal cal = mini_scale(d, acc, BF_B_ONE);
    cal.a_class = BF_CLASS_SPECIAL;
    return cal;
}

/* ---- programs ---- */

/* LOAD of `words` words at context word 0 from scratchpad `spm` on, PE p at p x words. */
static inline struct bf_descriptor *mini_load(struct mini *m, unsigned id, unsigned pe,
                                              uint32_t spm, unsigned words) {
    struct bf_descriptor *d = mini_block(m, id, "load");
    m->blocks[m->kernel.block_count - 1].pes = UINT64_C(1) << pe;
    d->trips[0] = (uint16_t)words;
    d->mem.ram_delta[0] = 1;
    d->mem.spm = spm + pe * words;
    d->mem.spm_delta[0] = 1;
    return d;
}

/* One PE: y = 2 x for two rows of four tiles, one tile an iteration, through LOAD, CAL, STORE. */
static inline struct mini *mini_doubling(void) {
    struct mini *m = mini_create();
    m->launch[0].trips[0] = 2;
    m->launch[0].trips[1] = 2;
    struct bf_descriptor *d = mini_load(m, 32, 0, 0, 4);
    d->target[0] = 0;
    d->mem.iteration_delta[0] = 4;
    d->mem.iteration_delta[1] = 4;
    d = mini_block(m, 0, "double");
    m->blocks[1].pes = 1;
    d->trips[0] = 4;
    d->need = 1;
    d->target[0] = 56;
    d->cal.delta[0][0] = 1;
    mini_cal(m, mini_scale(8, 0, BF_B_TWO));
    d = mini_block(m, 56, "store");
    m->blocks[2].pes = 1;
    d->trips[0] = 4;
    d->need = 1;
    d->mem.ram = 8;
    d->mem.ram_delta[0] = 1;
    d->mem.spm = 64;
    d->mem.spm_delta[0] = 1;
    d->mem.iteration_delta[0] = 4;
    d->mem.iteration_delta[1] = 4;
    mini_dma(m, BF_DMA_LOAD, 0, 0, 4, 16);
    mini_dma(m, BF_DMA_STORE, 4096, 64, 4, 16);
    mini_sequence(m, 1);
    for (unsigned k = 0; k < 64; k++)
        mini_put(m, 0, k, k + 1);
    return m;
}

/* Each PE sends word k to PE k, into its own place there; then the words go out. */
static inline struct mini *mini_all_to_all(void) {
    struct mini *m = mini_create();
    for (unsigned pe = 0; pe < 4; pe++)
        mini_load(m, 32, pe, 0, 4)->target[0] = 48;
    struct bf_descriptor *d = mini_block(m, 48, "exchange");
    d->need = 1;
    d->trips[1] = 4;
    d->flow.width = 2;
    d->flow.destination = 8;
    d->flow.token = 56;
    d = mini_block(m, 56, "store");
    m->kernel.block_count--;
    for (unsigned pe = 0; pe < 4; pe++) {
        struct bf_block *block = &m->blocks[m->kernel.block_count++];
        *block = m->blocks[5];
        block->pes = UINT64_C(1) << pe;
        block->id = 56;
        block->d = *d;
        block->d.unit = BF_UNIT_STORE;
        block->d.need = 4;
        block->d.trips[0] = 4;
        block->d.mem.ram = 8;
        block->d.mem.ram_delta[0] = 1;
        block->d.mem.spm = 64 + 4 * pe;
        block->d.mem.spm_delta[0] = 1;
    }
    mini_dma(m, BF_DMA_LOAD, 0, 0, 4, 16);
    mini_dma(m, BF_DMA_STORE, 4096, 64, 4, 16);
    mini_sequence(m, 1);
    for (unsigned k = 0; k < 64; k++)
        mini_put(m, 0, k, k + 1);
    return m;
}

/* One iteration a weight set: y = w[i] x, sets of one word, alternating halves. */
static inline struct mini *mini_weighted(void) {
    struct mini *m = mini_doubling();
    m->launch[0].window = 4;
    m->blocks[1].d.cal.uses_weights = true;
    m->segment.count = 0;
    m->blocks[1].d.cal.length = 0;
    m->kernel.block_count = 2;
    struct bf_cal cal = mini_fma(8, 0, 1, 0);
    cal.c_class = BF_CLASS_SPECIAL;
    cal.c = BF_C_LANE << 8 | 2; /* + lane 3 of the same word */
    mini_cal(m, cal);
    m->kernel.block_count = 3;
    struct bf_descriptor *d = mini_block(m, 33, "weights");
    m->blocks[3].pes = 1;
    d->mem.weights = true;
    d->mem.relative = false;
    d->mem.row = true;
    d->mem.spm = 128;
    d->mem.iteration_delta[0] = 1;
    d->mem.iteration_delta[1] = 1;
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
    for (unsigned k = 0; k < 16; k++)
        mini_put(m, 1024, k, k);
    return m;
}

/* A second exchange into the receive buffer of the first. */
static inline struct mini *mini_two_exchanges(bool done_token) {
    struct mini *m = mini_all_to_all();
    struct bf_descriptor *d = &m->blocks[4].d;
    for (unsigned pe = 0; pe < 4; pe++) { /* received words go through CAL into the second */
        d = &m->blocks[5 + pe].d;
        d->need = 4;
    }
    d = mini_block(m, 0, "negate");
    d->need = 4;
    d->trips[0] = 4;
    d->target[0] = 49;
    d->cal.delta[0][0] = 1;
    struct bf_cal cal = mini_scale(16, 8, BF_B_ONE);
    cal.negate_product = true;
    mini_cal(m, cal);
    m->blocks[4].d.flow.token = 0;
    d = mini_block(m, 49, "exchange back");
    *d = m->blocks[4].d;
    d->need = 1;
    d->flow.source = 16;
    d->flow.token = 56;
    if (done_token) { /* everyone tells everyone that it has read its buffer */
        d->need = 5;
        d = mini_block(m, 50, "done");
        *d = m->blocks[4].d;
        d->need = 1;
        d->flow.destination = 24;
        d->flow.source = 16;
        d->flow.token = 49;
        m->blocks[9].d.target[1] = 50;
    }
    return m;
}

/* Block 3 puts a word into accumulator 1, block 4 takes it out. */
static inline struct mini *mini_two_blocks(bool chain, bool strict) {
    struct mini *m = mini_doubling();
    m->launch[0].strict = strict;
    struct bf_block store = m->blocks[2];
    m->kernel.block_count = 1;
    m->blocks[0].d.target[0] = 3;
    struct bf_descriptor *d = mini_block(m, 3, "fill");
    m->blocks[1].pes = 1;
    d->need = 1;
    d->cal.chain = chain;
    d->target[0] = chain ? BF_NO_BLOCK : 4;
    mini_cal(m, mini_to_acc(1, 0));
    d = mini_block(m, 4, "empty");
    m->blocks[2].pes = 1;
    d->need = !chain;
    d->target[0] = 56;
    mini_cal(m, mini_from_acc(8, 1));
    *mini_block(m, 56, "store") = store.d;
    m->blocks[3].pes = 1;
    m->blocks[3].d.trips[0] = 1;
    m->blocks[3].d.mem.iteration_delta[0] = m->blocks[3].d.mem.iteration_delta[1] = 1;
    m->dmas[1].cols = 4;
    return m;
}

/* A period of two iterations: the first sets word 0, which no context holds, the second adds to it
 * and stores the sum. */
static inline struct mini *mini_pairs(bool strict) {
    struct mini *m = mini_doubling();
    struct bf_descriptor load = m->blocks[0].d, store = m->blocks[2].d;
    m->launch[0].period = 2;
    m->launch[0].strict = strict;
    m->kernel.block_count = 0;
    static const char *const loads[2] = {"first", "second"}, *const cals[2] = {"set", "add"};
    for (unsigned phase = 0; phase < 2; phase++) {
        struct bf_descriptor *d = mini_block(m, 32 + phase, loads[phase]);
        *d = load;
        d->first = d->last = (uint8_t)phase;
        d->target[0] = (uint8_t)(3 + phase);
        d = mini_block(m, 3 + phase, cals[phase]);
        d->first = d->last = (uint8_t)phase;
        d->need = 1;
        struct bf_cal cal = mini_scale(0, 0, BF_B_ONE);
        cal.d_class = 1;
        if (phase)
            cal.c_class = 1, cal.c = 0, d->target[0] = 56;
        mini_cal(m, cal);
    }
    struct bf_descriptor *d = mini_block(m, 56, "store");
    *d = store;
    d->first = d->last = 1;
    d->trips[0] = 1;
    d->mem.relative = false;
    d->mem.ram = 0;
    for (unsigned b = 0; b < m->kernel.block_count; b++)
        m->blocks[b].pes = 1;
    d->mem.iteration_delta[0] = 1;
    d->mem.iteration_delta[1] = 0;
    m->dmas[1].spm = 65;
    m->dmas[1].cols = 1;
    return m;
}

#endif
