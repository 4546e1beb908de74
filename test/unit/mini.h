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

#endif
