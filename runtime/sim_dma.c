/* sim_dma.c - the DMA engine (D1 to D6) and the sequencer (Q1 to Q3). */
#include <inttypes.h>

#include "runtime/sim.h"

/* ---- words of a job ---- */

static const struct bf_seq *job_of(const struct sim *sim) {
    return &sim->program->sequence[sim->dma.job];
}

static const struct bf_dma *transfer_of(const struct sim *sim) {
    return &sim->program->dmas[job_of(sim)->y];
}

static bool pads(const struct bf_dma *d) {
    return d->pad && d->kind != BF_DMA_STORE;
}

/* Which rows and tile columns of the buffer a job touches. */
struct extent {
    uint32_t row, rows, tile, tiles;
};

static struct extent extent_of(const struct sim *sim, const struct bf_dma *d) {
    uint32_t v = sim->v, tile = d->col / v;
    struct extent e = {d->row, d->rows, tile, (d->col + d->cols + v - 1) / v - tile};
    if (pads(d)) {
        e.row = d->row / v * v;
        e.rows = (uint32_t)bf_round_up((uint64_t)d->row + d->rows, v) - e.row;
    }
    return e;
}

static bool dram_reaches(struct sim *sim, uint64_t address, uint64_t size) {
    if (address <= sim->program->dram_size && size <= sim->program->dram_size - address)
        return true;
    sim_trap(sim, "DMA descriptor %u: DRAM byte %" PRIu64 ", DRAM has %" PRIu64, job_of(sim)->y,
             address, sim->program->dram_size);
    return false;
}

/* Where a row of the rectangle begins in DRAM. */
static bool row_address(struct sim *sim, const struct bf_dma *d, uint32_t row, uint64_t *address) {
    uint64_t times = row;
    if (d->kind == BF_DMA_GATHER) {
        uint64_t at = d->ids + 4 * (uint64_t)row;
        if (!dram_reaches(sim, at, 4))
            return false;
        const uint8_t *b = sim->dram + at;
        uint32_t id = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
        if (id >= d->limit || id > INT32_MAX) {
            sim_trap(sim, "DMA descriptor %u: row %u has id %" PRId32 ", not one of 0 to %u",
                     job_of(sim)->y, row, (int32_t)id, d->limit - 1);
            return false;
        }
        times = id;
    }
    *address = d->dram + times * (uint64_t)d->pitch;
    return true;
}

/* The word at the engine's position, and its cost (D2, D3). */
static bool next_word(struct sim *sim, const struct bf_dma *d, const struct extent *e,
                      struct sim_dma_word *w, uint64_t *cost, uint64_t *bytes) {
    uint32_t v = sim->v, r = e->row + sim->dma.row, c = (e->tile + sim->dma.tile) * v;
    uint64_t spm = (uint64_t)d->spm + (uint64_t)(r / v) * d->width + c + r % v;
    bool inside = r >= d->row && r - d->row < d->rows;
    uint32_t from = d->col > c ? d->col - c : 0;
    uint32_t to = d->col + d->cols < c + v ? d->col + d->cols - c : v;
    *w = (struct sim_dma_word){.valid = true,
                               .first = (uint8_t)from,
                               .count = (uint8_t)(inside ? to - from : 0),
                               .whole = pads(d)};
    *cost = *bytes = 0;
    if (spm >= sim->m->spm_words) {
        sim_trap(sim, "DMA descriptor %u: scratchpad word %" PRIu64 ", the scratchpad has %u",
                 job_of(sim)->y, spm, sim->m->spm_words);
        return false;
    }
    w->spm = (uint32_t)spm;
    w->last = sim->dma.row + 1 == e->rows && sim->dma.tile + 1 == e->tiles;
    if (!inside || d->kind == BF_DMA_FILL)
        return true;
    uint64_t address;
    if (!row_address(sim, d, r - d->row, &address))
        return false;
    w->dram = address + 2 * (uint64_t)(c + from - d->col);
    *bytes = 2 * (uint64_t)w->count;
    if (!dram_reaches(sim, w->dram, *bytes))
        return false;
    if (d->kind == BF_DMA_GATHER && !sim->dma.tile)
        *bytes += 4;
    *cost = 10 * *bytes;
    return true;
}

/* LOAD, GATHER and FILL know a word's value when it is taken. */
static void fetch(struct sim *sim, const struct bf_dma *d, struct sim_dma_word *w) {
    if (!sim->values)
        return;
    memset(w->data, 0, sizeof w->data);
    if (d->kind == BF_DMA_STORE)
        return;
    for (unsigned i = 0; i < w->count; i++) {
        const uint8_t *b = sim->dram + w->dram + 2 * i;
        w->data[w->first + i] = d->kind == BF_DMA_FILL ? d->value : (bf_half)(b[0] | b[1] << 8);
    }
}

void sim_dma_grant(struct sim *sim) {
    struct sim_dma_word *w = &sim->dma.word;
    const struct bf_dma *d = transfer_of(sim);
    if (!sim->values) {
        w->valid = false;
        return;
    }
    if (d->kind == BF_DMA_STORE) {
        bf_half data[BF_MAX_LANES];
        sim_spm_read(sim, w->spm, true, data);
        for (unsigned i = 0; i < w->count; i++) {
            sim->dram[w->dram + 2 * i] = (uint8_t)(data[w->first + i] & 0xff);
            sim->dram[w->dram + 2 * i + 1] = (uint8_t)(data[w->first + i] >> 8);
        }
    } else {
        sim_spm_write(sim, w->spm, true, w->whole ? 0 : w->first, w->whole ? sim->v : w->count,
                      w->data);
    }
    if (sim->trace)
        sim_note(sim, -1, SIM_TRACE_DMA, SIM_EVENT_GRANT, "grant spm=%u", w->spm);
    w->valid = false;
}

/* ---- the engine ---- */

static void finish_job(struct sim *sim) {
    struct sim_dma *dma = &sim->dma;
    const struct bf_seq *job = job_of(sim);
    if (job->op == BF_SEQ_CODE)
        sim->bank_kernel[job->x & 1] = job->y;
    dma->completed++;
    dma->state = SIM_DMA_FREE;
    if (sim->trace)
        sim_note(sim, -1, SIM_TRACE_DMA, SIM_EVENT_CHOOSE, "done job=%u", dma->job);
    if (sim->recorder)
        bf_record_job_done(sim->recorder, sim->cycle);
}

uint64_t sim_code_bytes(const struct bf_kernel *kernel) {
    uint64_t bytes = 32 * (uint64_t)kernel->block_count;
    for (size_t s = 0; s < kernel->segment_count; s++)
        bytes += 8 * (uint64_t)kernel->segments[s].count;
    return bytes;
}

static void transfer_code(struct sim *sim) {
    uint64_t bytes = sim_code_bytes(&sim->program->kernels[job_of(sim)->y]);
    sim->dma.credit += sim->m->dram_tenth_bytes;
    if (sim->dma.credit < 10 * bytes)
        return;
    sim->stats->dram_read += bytes;
    finish_job(sim);
}

static void advance_word(struct sim_dma *dma, const struct extent *e) {
    if (++dma->tile < e->tiles)
        return;
    dma->tile = 0;
    dma->row++;
}

static void count_bytes(struct sim *sim, const struct bf_dma *d, uint64_t bytes) {
    if (d->kind == BF_DMA_STORE)
        sim->stats->dram_written += bytes;
    else
        sim->stats->dram_read += bytes;
}

/* D4, D5 */
static void transfer_words(struct sim *sim) {
    struct sim_dma *dma = &sim->dma;
    const struct bf_dma *d = transfer_of(sim);
    if (dma->exhausted) {
        if (!dma->word.valid)
            finish_job(sim);
        return;
    }
    struct extent e = extent_of(sim, d);
    struct sim_dma_word w;
    uint64_t cost, bytes;
    if (!next_word(sim, d, &e, &w, &cost, &bytes))
        return;
    if (dma->credit < cost)
        dma->credit += sim->m->dram_tenth_bytes;
    if (dma->credit < cost || dma->word.valid)
        return;
    dma->credit -= cost;
    fetch(sim, d, &w);
    dma->word = w;
    dma->exhausted = w.last;
    count_bytes(sim, d, bytes);
    advance_word(dma, &e);
    if (sim->trace)
        sim_note(sim, -1, SIM_TRACE_DMA, SIM_EVENT_ISSUE, "word spm=%u", w.spm);
}

/* ---- skipping: while the engine transfers words of one job ---- */

uint64_t sim_dma_position(const struct sim *sim) {
    struct extent e = extent_of(sim, transfer_of(sim));
    return (uint64_t)sim->dma.row * e.tiles + sim->dma.tile;
}

uint64_t sim_dma_left(const struct sim *sim) {
    struct extent e = extent_of(sim, transfer_of(sim));
    return (uint64_t)e.rows * e.tiles - sim_dma_position(sim);
}

void sim_dma_skip(struct sim *sim, uint64_t words) {
    const struct bf_dma *d = transfer_of(sim);
    struct extent e = extent_of(sim, d);
    struct sim_dma_word w;
    uint64_t cost, bytes;
    for (; words && next_word(sim, d, &e, &w, &cost, &bytes); words--) {
        count_bytes(sim, d, bytes);
        advance_word(&sim->dma, &e);
    }
}

void sim_dma_restore_word(struct sim *sim) {
    struct sim_dma *dma = &sim->dma;
    const struct bf_dma *d = transfer_of(sim);
    struct extent e = extent_of(sim, d);
    uint64_t cost, bytes, before = sim_dma_position(sim) - 1;
    uint32_t row = dma->row, tile = dma->tile;
    dma->row = (uint32_t)(before / e.tiles);
    dma->tile = (uint32_t)(before % e.tiles);
    next_word(sim, d, &e, &dma->word, &cost, &bytes);
    dma->row = row;
    dma->tile = tile;
}

static void take_job(struct sim *sim) {
    struct sim_dma *dma = &sim->dma;
    dma->job = dma->queue[dma->queue_head];
    dma->queue_head = (dma->queue_head + 1) % 64;
    dma->queue_count--;
    dma->state = sim->m->dma_setup ? SIM_DMA_SETUP : SIM_DMA_TRANSFER;
    dma->setup_left = sim->m->dma_setup;
    dma->credit = 0;
    dma->row = dma->tile = 0;
    const struct bf_seq *job = job_of(sim);
    dma->exhausted = job->op == BF_SEQ_DMA && (!transfer_of(sim)->rows || !transfer_of(sim)->cols);
    if (sim->trace)
        sim_note(sim, -1, SIM_TRACE_DMA, SIM_EVENT_READ, "take job=%u", dma->job);
    if (sim->recorder)
        bf_record_job(sim->recorder, dma->job, sim->cycle);
    if (job->op != BF_SEQ_CODE)
        return;
    unsigned bank = job->x & 1;
    if ((sim->running || sim->launch_pending) && sim->launch->bank == bank) {
        sim_trap(sim, "CODE loads kernel %s into bank %u, in which kernel %s runs",
                 sim->program->kernels[job->y].name, bank,
                 sim->program->kernels[sim->launch->kernel].name);
        return;
    }
    sim->bank_kernel[bank] = -1;
}

void sim_dma_cycle(struct sim *sim) {
    struct sim_dma *dma = &sim->dma;
    switch (dma->state) {
    case SIM_DMA_FREE:
        if (dma->queue_count)
            take_job(sim);
        break;
    case SIM_DMA_SETUP:
        if (!--dma->setup_left)
            dma->state = SIM_DMA_TRANSFER;
        break;
    case SIM_DMA_TRANSFER:
        if (job_of(sim)->op == BF_SEQ_CODE)
            transfer_code(sim);
        else
            transfer_words(sim);
        break;
    }
    if (sim->job_pending) {
        dma->queue[(dma->queue_head + dma->queue_count++) % 64] = sim->pc - 1;
        sim->job_pending = false;
    }
}

/* ---- sequencer ---- */

static bool try_launch(struct sim *sim, const struct bf_seq *seq) {
    if (sim->running)
        return false;
    const struct bf_launch *launch = &sim->program->launches[seq->y];
    if (sim->bank_kernel[launch->bank & 1] != launch->kernel) {
        sim_trap(sim, "sequencer word %u launches kernel %s, which bank %u does not hold", sim->pc,
                 sim->program->kernels[launch->kernel].name, launch->bank);
        return false;
    }
    sim->launch = launch;
    sim->launch_pending = true;
    return true;
}

static bool try_wait_dma(struct sim *sim, const struct bf_seq *seq) {
    const struct sim_dma *dma = &sim->dma;
    if (dma->completed >= seq->y)
        return true;
    uint64_t queued = dma->completed + dma->queue_count + (dma->state != SIM_DMA_FREE);
    if (queued < seq->y)
        sim_trap(sim,
                 "deadlock: sequencer word %u waits for %u DMA jobs, only %" PRIu64 " were queued",
                 sim->pc, seq->y, queued);
    return false;
}

static bool try_end(struct sim *sim) {
    bool dma = sim->dma.state != SIM_DMA_FREE || sim->dma.queue_count;
    if (sim->running || dma)
        sim_trap(sim, "sequencer word %u ends the program while the %s", sim->pc,
                 sim->running ? "array runs" : "DMA works");
    else
        sim->ended = true;
    return !sim->failed;
}

static void mark(struct sim *sim, unsigned which) {
    sim->mark[which] = sim->cycle;
    sim->dram_mark[which] = sim->stats->dram_read + sim->stats->dram_written;
}

static bool proceed(struct sim *sim, const struct bf_seq *seq) {
    switch (seq->op) {
    case BF_SEQ_END:
        return try_end(sim);
    case BF_SEQ_CODE:
    case BF_SEQ_DMA:
        sim->job_pending = sim->dma.queue_count < sim->m->dma_queue;
        return sim->job_pending;
    case BF_SEQ_WAITD:
        return try_wait_dma(sim, seq);
    case BF_SEQ_LAUNCH:
        return try_launch(sim, seq);
    case BF_SEQ_WAITK:
        return !sim->running;
    case BF_SEQ_MARK:
        mark(sim, seq->y & 1);
        return true;
    default:
        sim_trap(sim, "sequencer word %u has no meaning", sim->pc);
        return false;
    }
}

void sim_sequencer_cycle(struct sim *sim) {
    if (sim->pc >= sim->program->sequence_count) {
        sim_trap(sim, "the sequencer ran past its last word");
        return;
    }
    const struct bf_seq *seq = &sim->program->sequence[sim->pc];
    if (!proceed(sim, seq))
        return;
    if (sim->trace)
        sim_note(sim, -1, SIM_TRACE_SEQ, 0, "%s pc=%u", bf_seq_name(seq->op), sim->pc);
    sim->pc++;
}
