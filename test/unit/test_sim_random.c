/* test_sim_random.c - random programs on random machines: the cycle-level and the functional device
 * must leave the same bytes in DRAM and count the same events.
 *
 * A program keeps to the machine's rules by construction: a pipeline of blocks joined by tokens,
 * with random operations, addresses, loops, phases, weight sets and exchange. In a context words
 * 0..47 belong to the blocks before the exchange, 48..111 are received, 112..159 belong to the
 * block after it; addresses stay inside their part, whatever loops and swaps do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "ir/isa/fp.h"
#include "runtime/device.h"

enum {
    PART = 48,
    RECEIVED = 48,
    AFTER = 112,
    CONTEXT = 160,
    AREA = 64,      /* scratchpad words for what a STORE block writes in an iteration */
    STORED = 16384, /* first of them */
    LOADED = 2048,  /* scratchpad words loaded at the start */
};

struct maker {
    uint64_t random;
    struct bf_program program;
    struct bf_kernel kernel;
    struct {
        struct bf_block *data;
        size_t count, capacity;
    } blocks;
    struct bf_segment segment;
    uint64_t words[256];
    struct bf_launch launch;
    struct bf_dma dmas[2];
    struct bf_seq sequence[10];
    unsigned v, pes, weight_lanes;
    bool strict;
    uint32_t valid_acc; /* accumulators written in the body so far */
};

static unsigned below(struct maker *k, unsigned n) {
    return (unsigned)(bf_random(&k->random) >> 8) % n;
}

/* ---- the machine ---- */

static void make_machine(struct maker *k) {
    struct bf_machine *m = &k->program.machine;
    *m = bf_machine_default();
    bool large = !below(k, 6);
    m->rows = 1u << below(k, large ? 4 : 2);
    m->cols = 1u << below(k, large ? 4 : 3);
    m->lanes = 4u << below(k, 4);
    m->ram_banks = 1u << below(k, 5);
    m->weight_half = 8u << below(k, 3);
    m->fma_latency = 2 + below(k, 11);
    m->special_latency = 4 + below(k, 20);
    m->special_interval = 1 + below(k, 8);
    m->retire_latency = 1 + below(k, 15);
    m->router_queue = 1 + below(k, 5);
    m->eject_queue = 1 + below(k, 3);
    m->spm_words = 65536;
    m->spm_ports = 1u << below(k, 5);
    m->spm_latency = 1 + below(k, 8);
    m->request_queue = 1 + below(k, 5);
    m->response_queue = 1 + below(k, 12);
    m->dma_setup = below(k, 20);
    m->dram_tenth_bytes = 100 + below(k, 2000);
    k->v = m->lanes;
    k->pes = bf_machine_pes(m);
}

/* ---- blocks ---- */

static uint64_t all_pes(const struct maker *k) {
    return k->pes == 64 ? ~UINT64_C(0) : (UINT64_C(1) << k->pes) - 1;
}

static struct bf_descriptor *block(struct maker *k, unsigned id, unsigned need, unsigned phase) {
    struct bf_block *b = bf_push(&k->blocks);
    *b = (struct bf_block){.pes = all_pes(k), .id = (uint8_t)id, .name = (char *)"random"};
    struct bf_descriptor *d = &b->d;
    d->unit = (uint8_t)bf_block_unit(id);
    d->need = (uint16_t)need;
    d->first = d->last = (uint8_t)phase;
    for (unsigned l = 0; l < BF_LEVELS; l++)
        d->trips[l] = 1;
    memset(d->target, BF_NO_BLOCK, sizeof d->target);
    d->flow.token = BF_NO_BLOCK;
    d->cal.start = (uint8_t)k->segment.count;
    return d;
}

static void add_word(struct maker *k, struct bf_descriptor *d, const struct bf_cal *cal) {
    k->words[k->segment.count++] = bf_cal_encode(cal);
    d->cal.length++;
}

/* A loop of three levels whose stride s_l is random and whose travel stays below 16. */
static void strides(struct maker *k, const uint16_t *trips, int16_t *delta) {
    int travel = 0;
    for (unsigned l = 0; l < BF_LEVELS; l++) {
        int stride = (int)below(k, 3);
        delta[l] = (int16_t)(stride - travel);
        travel += stride * (trips[l] - 1);
    }
}

/* An address of the part that begins at `part`, 16 below its end. */
static uint16_t address(struct maker *k, unsigned part) {
    return (uint16_t)(part + below(k, PART - 16));
}

static unsigned readable_acc(struct maker *k) {
    if (k->strict)
        return below(k, 4);
    unsigned acc = below(k, 4);
    while (!(k->valid_acc >> acc & 1))
        acc = (acc + 1) % 4;
    return acc;
}

static void operand_a(struct maker *k, struct bf_cal *cal, unsigned part) {
    if ((k->strict || k->valid_acc) && below(k, 2)) {
        cal->a_class = BF_CLASS_SPECIAL;
        cal->a = (uint16_t)readable_acc(k);
    } else {
        cal->a = address(k, part);
    }
}

static void operand_b(struct maker *k, struct bf_cal *cal, unsigned part) {
    cal->b_kind = (uint8_t)below(k, 4);
    switch (cal->b_kind) {
    case BF_B_LANE:
        cal->b = (uint16_t)below(k, k->weight_lanes > 2048 ? 2048 : k->weight_lanes);
        cal->b_class = 2;
        break;
    case BF_B_WEIGHT:
        cal->b = (uint16_t)below(k, k->weight_lanes / k->v);
        cal->b_class = 2;
        break;
    case BF_B_DATA:
        cal->b = address(k, part);
        break;
    default:
        cal->b = (uint16_t)below(k, 4);
        break;
    }
}

static void operand_c(struct maker *k, struct bf_cal *cal, unsigned part) {
    unsigned kind = below(k, 5);
    bool weight = cal->b_kind == BF_B_LANE || cal->b_kind == BF_B_WEIGHT;
    if (kind == 0 && (k->strict || k->valid_acc)) {
        cal->c_class = BF_CLASS_SPECIAL;
        cal->c = (uint16_t)readable_acc(k);
    } else if (kind == 1) {
        cal->c_class = BF_CLASS_SPECIAL;
        cal->c = (uint16_t)((below(k, 2) ? BF_C_ONE : BF_C_ZERO) << 8);
    } else if (kind == 2 && weight && cal->op == BF_CAL_FMA) {
        cal->c_class = BF_CLASS_SPECIAL;
        cal->c = (uint16_t)(BF_C_LANE << 8 | below(k, k->v));
    } else {
        cal->c = address(k, part);
        cal->c_class = (uint8_t)below(k, 2);
    }
}

static void destination(struct maker *k, struct bf_cal *cal, unsigned part, unsigned allowed) {
    do
        cal->dst = (uint8_t)(1 + below(k, 3));
    while (cal->dst & ~allowed);
    if (cal->dst & BF_DST_RAM)
        cal->d = address(k, part);
    if (cal->dst & BF_DST_ACC) {
        cal->acc = (uint8_t)below(k, 4);
        k->valid_acc |= 1u << cal->acc;
    }
}

static struct bf_cal word(struct maker *k, unsigned part) {
    static const uint8_t plain[] = {BF_CAL_FMA, BF_CAL_FMA, BF_CAL_FMA,  BF_CAL_FMA,
                                    BF_CAL_MAX, BF_CAL_SEL, BF_CAL_FRAC, BF_CAL_LDEXP};
    static const uint8_t other[] = {BF_CAL_EXP2, BF_CAL_RCP, BF_CAL_RSQRT, BF_CAL_CVTI};
    static const uint8_t raw[] = {BF_CAL_STLO, BF_CAL_STHI, BF_CAL_LDLO, BF_CAL_LDHI, BF_CAL_CVTF};
    struct bf_cal cal = {0};
    unsigned sort = below(k, 10);
    bool has_acc = k->strict || k->valid_acc;
    if (sort < 7 || !has_acc) {
        cal.op = plain[below(k, sizeof plain)];
        unsigned reads = bf_cal_operands(cal.op);
        operand_a(k, &cal, part);
        if (reads & 2)
            operand_b(k, &cal, part);
        if (reads & 4)
            operand_c(k, &cal, part);
        cal.negate_product = below(k, 2);
        cal.negate_addend = (reads & 4) && below(k, 2);
        destination(k, &cal, part, BF_DST_ACC | BF_DST_RAM);
    } else if (sort < 9) {
        cal.op = other[below(k, sizeof other)];
        operand_a(k, &cal, part);
        destination(k, &cal, part, BF_DST_ACC);
    } else {
        cal.op = raw[below(k, sizeof raw)];
        bool loads = cal.op == BF_CAL_LDLO || cal.op == BF_CAL_LDHI;
        if (loads) {
            cal.c = address(k, part);
            cal.dst = BF_DST_ACC;
            cal.acc = (uint8_t)readable_acc(k);
        } else {
            cal.a_class = BF_CLASS_SPECIAL;
            cal.a = (uint16_t)readable_acc(k);
            destination(k, &cal, part, cal.op == BF_CAL_CVTF ? 3 : BF_DST_RAM);
        }
    }
    return cal;
}

static struct bf_descriptor *cal_block(struct maker *k, unsigned id, unsigned need, unsigned phase,
                                       unsigned part) {
    struct bf_descriptor *d = block(k, id, need, phase);
    for (unsigned l = 0; l < BF_LEVELS; l++)
        d->trips[l] = (uint16_t)(1 + below(k, 3));
    for (unsigned c = 0; c < 2; c++)
        strides(k, d->trips, d->cal.delta[c]);
    for (unsigned l = 0; l < BF_LEVELS; l++)
        d->cal.delta[2][l] = (int16_t)((int)below(k, 40) - 20);
    d->cal.relative = 3;
    d->cal.uses_weights = true;
    d->cal.swap = (uint8_t)below(k, 2);
    d->cal.exponent = (int8_t)((int)below(k, 8) - 4);
    unsigned length = 1 + below(k, 8);
    for (unsigned i = 0; i < length; i++) {
        struct bf_cal cal = word(k, part);
        add_word(k, d, &cal);
    }
    return d;
}

static void load_block(struct maker *k, unsigned id, unsigned phase, unsigned target,
                       unsigned ram) {
    struct bf_descriptor *d = block(k, id, 0, phase);
    d->trips[0] = 8;
    d->trips[1] = 3;
    d->target[0] = (uint8_t)target;
    d->mem.relative = true;
    d->mem.ram = (uint16_t)ram;
    d->mem.ram_delta[0] = d->mem.ram_delta[1] = 1;
    d->mem.row = below(k, 2);
    d->mem.reverse = (uint8_t)below(k, 4); /* of 24 offsets, so at most the low 3 bits */
    d->mem.spm = below(k, 100);
    d->mem.spm_delta[0] = (int32_t)below(k, 3);
    d->mem.spm_delta[1] = (int32_t)below(k, 9);
    d->mem.base = (uint8_t)below(k, 2);
    for (unsigned l = 0; l < BF_LEVELS; l++)
        d->mem.iteration_delta[l] = (int32_t)below(k, 5);
}

static void weight_block(struct maker *k, unsigned id, unsigned half) {
    unsigned words = k->weight_lanes / k->v;
    struct bf_descriptor *d = block(k, id, 0, 0);
    d->last = (uint8_t)(k->launch.period - 1);
    d->trips[0] = (uint16_t)(words / 2);
    d->mem.weights = true;
    d->mem.ram = (uint16_t)(half * words / 2);
    d->mem.ram_delta[0] = 1;
    d->mem.spm = below(k, 500);
    d->mem.spm_delta[0] = 1;
    for (unsigned l = 0; l < BF_LEVELS; l++)
        d->mem.iteration_delta[l] = (int32_t)below(k, 20);
}

static unsigned exchange_width(const struct maker *k) {
    return bf_log2_floor(k->pes > 16 ? 16 : k->pes);
}

/* Every PE sends four words to each of up to 16. */
static void flow_block(struct maker *k, unsigned id, unsigned phase, unsigned token) {
    struct bf_descriptor *d = block(k, id, 1, phase);
    unsigned width = exchange_width(k), shift = below(k, 2);
    d->trips[0] = 4;
    d->trips[1] = (uint16_t)(1u << width);
    d->flow.mode = (uint8_t)below(k, 2);
    d->flow.shift = (uint8_t)below(k, bf_log2_floor(k->pes) - width + 1);
    d->flow.width = (uint8_t)width;
    d->flow.source_relative = d->flow.destination_relative = true;
    d->flow.source = (uint16_t)below(k, 8);
    d->flow.source_delta[0] = d->flow.destination_delta[0] = 1;
    d->flow.source_delta[1] = (int16_t)(shift ? -3 : -2);
    d->flow.destination = RECEIVED;
    d->flow.destination_delta[1] = -3;
    d->flow.destination_shift = (uint8_t)shift;
    d->flow.self_shift = 2;
    d->flow.token = (uint8_t)token;
}

/* Each PE and iteration has a place of its own. */
static void store_blocks(struct maker *k, unsigned id, unsigned phase, unsigned part,
                         unsigned area) {
    for (unsigned pe = 0; pe < k->pes; pe++) {
        struct bf_descriptor *d = block(k, id, 1, phase);
        k->blocks.data[k->blocks.count - 1].pes = UINT64_C(1) << pe;
        d->trips[0] = PART;
        d->mem.relative = true;
        d->mem.ram = (uint16_t)part;
        d->mem.ram_delta[0] = 1;
        d->mem.reverse = (uint8_t)(area ? below(k, 3) : 0);
        d->mem.spm = STORED + (area * k->pes + pe) * AREA;
        d->mem.spm_delta[0] = 1;
        for (unsigned l = 0; l < BF_LEVELS; l++)
            d->mem.iteration_delta[l] = (int32_t)(2 * k->pes * AREA);
    }
}

/* The blocks of one phase of the period. */
static void pipeline(struct maker *k, unsigned phase) {
    unsigned c = 8 * phase, l = 32 + 2 * phase, f = 48 + phase, s = 56 + 2 * phase;
    load_block(k, l, phase, c, 0);
    load_block(k, l + 1, phase, c, 24);
    k->valid_acc = 0;
    struct bf_descriptor *d = cal_block(k, c, 2, phase, 0);
    if (below(k, 2)) { /* accumulators live on in a chain */
        d->cal.chain = true;
        d = cal_block(k, c + 1, 0, phase, 0);
    }
    d->target[0] = (uint8_t)(c + 3);
    k->valid_acc = 0;
    d = cal_block(k, c + 3, 1, phase, 0);
    d->target[0] = (uint8_t)f;
    d->target[1] = (uint8_t)s;
    flow_block(k, f, phase, c + 4);
    k->valid_acc = 0;
    d = cal_block(k, c + 4, 4u << exchange_width(k), phase, AFTER);
    d->target[0] = (uint8_t)(s + 1);
    for (unsigned i = 0; i < 4; i++) { /* what was received goes out, too */
        struct bf_cal cal = {.op = BF_CAL_MAX, .dst = BF_DST_RAM};
        cal.d = address(k, AFTER);
        cal.a = (uint16_t)(RECEIVED + below(k, AFTER - RECEIVED - 16));
        cal.c = address(k, AFTER);
        add_word(k, d, &cal);
    }
    store_blocks(k, s, phase, 0, 0);
    store_blocks(k, s + 1, phase, AFTER, 1);
}

/* ---- programs ---- */

static void make_launch(struct maker *k) {
    struct bf_launch *launch = &k->launch;
    *launch = (struct bf_launch){.window = (uint8_t)(1 + below(k, 6)),
                                 .strict = below(k, 2),
                                 .context_base = (uint16_t)(2 * below(k, 30)),
                                 .context_size = CONTEXT,
                                 .period = (uint16_t)(1 + below(k, 2)),
                                 .group_level = (uint8_t)below(k, 4),
                                 .base = {0, 7}};
    unsigned most = k->pes <= 4 ? 3 : k->pes <= 16 ? 2 : 1;
    for (unsigned l = 0; l < BF_LEVELS; l++)
        launch->trips[l] = 1 + below(k, most);
    if (k->pes <= 32)
        launch->trips[0]++;
    launch->one_weight_set = launch->group_level == BF_LEVELS && below(k, 2);
    k->strict = launch->strict;
    k->weight_lanes = k->program.machine.weight_half * k->v * (launch->one_weight_set ? 2 : 1);
}

static unsigned iterations(const struct maker *k) {
    return k->launch.trips[0] * k->launch.trips[1] * k->launch.trips[2];
}

static void make_sequence(struct maker *k) {
    unsigned stored = iterations(k) * 2 * k->pes * AREA;
    k->dmas[0] =
        (struct bf_dma){.rows = k->v, .cols = LOADED, .width = LOADED, .pitch = 2 * LOADED};
    k->dmas[1] = (struct bf_dma){.kind = BF_DMA_STORE,
                                 .rows = k->v,
                                 .cols = stored,
                                 .width = stored,
                                 .pitch = 2 * (int64_t)stored,
                                 .spm = STORED};
    static const struct bf_seq sequence[] = {
        {BF_SEQ_DMA, 0, 0},    {BF_SEQ_CODE, 0, 0}, {BF_SEQ_WAITD, 0, 2}, {BF_SEQ_LAUNCH, 0, 0},
        {BF_SEQ_LAUNCH, 0, 0}, /* again: RAM and accumulators keep their contents */
        {BF_SEQ_WAITK, 0, 0},  {BF_SEQ_DMA, 0, 1},  {BF_SEQ_WAITD, 0, 3}, {BF_SEQ_END, 0, 0}};
    memcpy(k->sequence, sequence, sizeof sequence);
    k->program.sequence_count = sizeof sequence / sizeof *sequence;
    k->program.dram_size = 2 * (uint64_t)k->v * (stored > LOADED ? stored : LOADED);
}

static struct maker *make(uint64_t seed) {
    struct maker *k = bf_alloc(sizeof *k);
    k->random = seed;
    make_machine(k);
    make_launch(k);
    k->segment = (struct bf_segment){.pes = all_pes(k), .words = k->words};
    for (unsigned phase = 0; phase < k->launch.period; phase++)
        pipeline(k, phase);
    weight_block(k, 40, 0);
    weight_block(k, 41, 1);
    k->kernel = (struct bf_kernel){.name = (char *)"k0",
                                   .what = (char *)"random",
                                   .segments = &k->segment,
                                   .segment_count = 1,
                                   .blocks = k->blocks.data,
                                   .block_count = k->blocks.count};
    make_sequence(k);
    struct bf_program *p = &k->program;
    p->network = (char *)"random";
    p->batch = 1;
    p->kernels = &k->kernel;
    p->kernel_count = 1;
    p->launches = &k->launch;
    p->launch_count = 1;
    p->dmas = k->dmas;
    p->dma_count = 2;
    p->sequence = k->sequence;
    return k;
}

/* Small numbers, so that infinities stay few. */
static uint8_t *make_dram(const struct maker *k, uint64_t seed) {
    uint8_t *dram = bf_alloc(k->program.dram_size);
    for (uint64_t i = 0; i < k->program.dram_size; i += 2) {
        uint64_t r = bf_random(&seed);
        bf_half h = (bf_half)((r & 0x83ff) | (11 + (r >> 32) % 6) << 10);
        memcpy(dram + i, &h, 2);
    }
    return dram;
}

/* ---- comparison ---- */

struct outcome {
    uint8_t *dram;
    struct bf_stats *stats;
};

static struct outcome run(const struct bf_device *device, const struct maker *k, uint64_t seed,
                          bool portable) {
    struct outcome o = {make_dram(k, seed), bf_stats_create(&k->program)};
    struct bf_error error = {0};
    struct bf_device_options options = {.portable = portable, .cycle_limit = 10000000};
    if (!device->run(&k->program, o.dram, &options, o.stats, &error))
        fail_msg("seed %llu, %s: %s", (unsigned long long)seed, device->name, error.text);
    return o;
}

static void release(const struct maker *k, struct outcome *o) {
    free(o->dram);
    bf_stats_free(&k->program, o->stats);
}

static void compare(const struct maker *k, uint64_t seed, const struct outcome *a,
                    const struct outcome *b) {
    for (uint64_t i = 0; i < k->program.dram_size; i++)
        if (a->dram[i] != b->dram[i])
            fail_msg("seed %llu: DRAM byte %llu of %llu is %02x and %02x", (unsigned long long)seed,
                     (unsigned long long)i, (unsigned long long)k->program.dram_size, a->dram[i],
                     b->dram[i]);
    const struct bf_kernel_stats *x = a->stats->kernels, *y = b->stats->kernels;
    assert_int_equal(x->runs, y->runs);
    for (unsigned u = 0; u < 4; u++)
        assert_int_equal(x->issued[u], y->issued[u]);
    assert_int_equal(x->special, y->special);
    assert_int_equal(x->ram_words, y->ram_words);
    assert_int_equal(x->hops, y->hops);
    assert_int_equal(x->infinities, y->infinities);
    assert_int_equal(x->nans, y->nans);
    assert_int_equal(a->stats->dram_read, b->stats->dram_read);
    assert_int_equal(a->stats->dram_written, b->stats->dram_written);
    assert_memory_equal(a->stats->blocks[0], b->stats->blocks[0],
                        k->kernel.block_count * sizeof **a->stats->blocks);
}

static void check_accounts(const struct maker *k, const struct bf_kernel_stats *stats) {
    for (unsigned u = 0; u < 4; u++) {
        uint64_t sum = 0;
        for (unsigned c = 0; c < BF_STALL_COUNT; c++)
            sum += stats->stalled[u][c];
        assert_int_equal(sum, stats->cycles * k->pes);
    }
}

static void try_seed(uint64_t seed) {
    struct maker *k = make(seed);
    struct bf_error error = {0};
    if (!bf_program_check(&k->program, &error))
        fail_msg("seed %llu: %s", (unsigned long long)seed, error.text);
    struct outcome ref = run(&bf_device_ref, k, seed, true);
    struct outcome sim = run(&bf_device_sim, k, seed, false);
    compare(k, seed, &ref, &sim);
    check_accounts(k, sim.stats->kernels);
    release(k, &ref);
    release(k, &sim);
    free(k->blocks.data);
    free(k);
}

static void devices_agree_on_random_programs(void **state) {
    (void)state;
    const char *from = getenv("BF_SEED"), *count = getenv("BF_COUNT");
    uint64_t first = from ? strtoull(from, NULL, 10) : 1;
    uint64_t last = first + (count ? strtoull(count, NULL, 10) : 40);
    for (uint64_t seed = first; seed < last; seed++)
        try_seed(seed);
}

/* Timing must not depend on data: the same program on other numbers takes the same cycles. */
static void timing_does_not_depend_on_data(void **state) {
    (void)state;
    for (uint64_t seed = 500; seed < 508; seed++) {
        struct maker *k = make(seed);
        struct outcome a = run(&bf_device_sim, k, seed, false);
        struct outcome b = run(&bf_device_sim, k, seed + 1000, true);
        assert_int_equal(a.stats->cycles, b.stats->cycles);
        assert_memory_equal(a.stats->kernels->stalled, b.stats->kernels->stalled,
                            sizeof a.stats->kernels->stalled);
        assert_memory_not_equal(a.dram, b.dram, k->program.dram_size);
        release(k, &a);
        release(k, &b);
        free(k->blocks.data);
        free(k);
    }
}

/* ---- DMA alone ---- */

enum { JOBS = 12, DMA_DRAM = 8192, IDS = 6144 };

static void random_dma(struct maker *k, struct bf_dma *d) {
    unsigned v = k->v, wide = 1 + below(k, 3);
    *d = (struct bf_dma){.kind = (uint8_t)below(k, 4), .pad = below(k, 2), .limit = 5};
    d->width = v * (wide + below(k, 2));
    d->col = below(k, v * wide);
    d->cols = 1 + below(k, v * wide - d->col);
    d->row = below(k, 2 * v);
    d->rows = 1 + below(k, 2 * v);
    d->spm = v * below(k, 8);
    d->ids = IDS + 4 * (uint64_t)below(k, 64);
    d->value = (uint16_t)below(k, 0x7c00);
    d->pitch = 2 * (int64_t)(below(k, 8) * 5);
    d->dram = 2 * (uint64_t)below(k, 300);
    if (d->kind != BF_DMA_GATHER && below(k, 2)) { /* rows from the last to the first */
        d->dram += (uint64_t)d->pitch * (d->rows - 1);
        d->pitch = -d->pitch;
    }
}

static void dma_jobs_agree(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct maker *k = bf_alloc(sizeof *k);
        k->random = seed;
        make_machine(k);
        struct bf_dma dmas[JOBS + 1];
        struct bf_seq sequence[JOBS + 3];
        for (unsigned i = 0; i < JOBS; i++) {
            random_dma(k, &dmas[i]);
            sequence[i] = (struct bf_seq){BF_SEQ_DMA, 0, i};
        }
        dmas[JOBS] = (struct bf_dma){.kind = BF_DMA_STORE,
                                     .dram = DMA_DRAM,
                                     .pitch = 32 * (int64_t)k->v,
                                     .rows = 4 * k->v,
                                     .cols = 16 * k->v,
                                     .width = 16 * k->v};
        sequence[JOBS] = (struct bf_seq){BF_SEQ_DMA, 0, JOBS};
        sequence[JOBS + 1] = (struct bf_seq){BF_SEQ_WAITD, 0, JOBS + 1};
        sequence[JOBS + 2] = (struct bf_seq){BF_SEQ_END, 0, 0};
        k->program.dmas = dmas;
        k->program.dma_count = JOBS + 1;
        k->program.sequence = sequence;
        k->program.sequence_count = JOBS + 3;
        k->program.dram_size = DMA_DRAM + 128 * (uint64_t)k->v * k->v;
        struct outcome o[2];
        for (unsigned i = 0; i < 2; i++) {
            o[i] = (struct outcome){make_dram(k, seed), bf_stats_create(&k->program)};
            for (unsigned n = 0; n < 256; n++) /* ids 0 .. 4 */
                memcpy(o[i].dram + IDS + 4 * n, (uint8_t[4]){(uint8_t)(n % 5)}, 4);
            struct bf_error error = {0};
            const struct bf_device *device = i ? &bf_device_sim : &bf_device_ref;
            if (!device->run(&k->program, o[i].dram, NULL, o[i].stats, &error))
                fail_msg("seed %llu, %s: %s", (unsigned long long)seed, device->name, error.text);
        }
        assert_memory_equal(o[0].dram, o[1].dram, k->program.dram_size);
        assert_int_equal(o[0].stats->dram_read, o[1].stats->dram_read);
        assert_int_equal(o[0].stats->dram_written, o[1].stats->dram_written);
        release(k, &o[0]);
        release(k, &o[1]);
        free(k);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_agree_on_random_programs),
        cmocka_unit_test(dma_jobs_agree),
        cmocka_unit_test(timing_does_not_depend_on_data),
    };
    return cmocka_run_group_tests_name("sim-random", tests, NULL, NULL);
}
