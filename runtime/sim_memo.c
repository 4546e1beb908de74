/* sim_memo.c - launches that repeat an earlier one are not simulated again.
 *
 * A launch begins with empty units, queues and tokens, and timing does not depend on data. So its
 * cycles follow from: the kernel and the launch record; the banks that the scratchpad addresses of
 * its LOADs and STOREs fall into; and the DMA beside it: the job under way, the queue, and the jobs
 * that the sequencer adds while it waits for the array. All that makes the key, or is compared
 * before a record is used; addresses themselves differ from layer to layer. What a record gives
 * back is the state after the launch: the cycle, the counters, where sequencer and DMA stand.
 *
 * Positions in the sequencer's program are kept relative to where it stood at the launch. */
#include <stdlib.h>

#include "runtime/sim.h"

/* A DMA engine, without what it moves. */
struct engine {
    enum sim_dma_state state;
    uint32_t job; /* relative, as is queue[] */
    uint32_t queue[64];
    uint32_t queue_count;
    uint32_t setup_left, row, tile;
    uint64_t credit;
    bool exhausted, word;
};

struct record {
    uint64_t key;
    uint32_t kernel, first; /* first: absolute position of the sequencer at the launch */
    uint64_t completed;     /* DMA jobs done before it */
    /* until the array was idle again */
    bool usable;
    uint32_t steps;
    uint64_t cycles, jobs, dram_read, dram_written;
    struct bf_kernel_stats stats;
    struct engine engine;
};

struct sim_memo {
    struct {
        struct record *data;
        size_t count, capacity;
    } records;
    size_t open; /* the record of the running launch, plus one; 0: none */
};

/* ---- hashing ---- */

static uint64_t mix(uint64_t hash, uint64_t value) {
    return (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
}

static uint64_t hash_bank(const struct sim *sim, uint64_t hash, uint32_t spm) {
    return mix(hash, spm < sim->m->spm_words ? sim->spm_bank[spm / sim->v] : 255u);
}

/* The banks of a LOAD's or STORE's trips in one iteration (weight LOAD: group). */
static uint64_t hash_trips(const struct sim *sim, uint64_t hash, const struct bf_descriptor *d,
                           uint64_t iteration) {
    uint32_t start = sim->launch->base[d->mem.base & (BF_BASES - 1)] + d->mem.spm +
                     sim_iteration_offset(sim, d, iteration);
    uint16_t level[BF_LEVELS] = {0};
    for (;;) {
        hash = hash_bank(sim, hash, start & 0x3ffff);
        int l = 0;
        while (l < BF_LEVELS && ++level[l] == d->trips[l])
            level[l++] = 0;
        if (l == BF_LEVELS)
            return hash;
        start += (uint32_t)d->mem.spm_delta[l];
    }
}

static uint64_t hash_addresses(const struct sim *sim, uint64_t hash) {
    for (size_t i = 0; i < sim->kernel->block_count; i++) {
        const struct bf_descriptor *d = &sim->kernel->blocks[i].d;
        if (d->unit != BF_UNIT_LOAD && d->unit != BF_UNIT_STORE)
            continue;
        for (uint64_t n = sim_next_present(sim, d, 0); n != SIM_NEVER;
             n = sim_next_present(sim, d, n + 1))
            hash = hash_trips(sim, hash, d, n);
    }
    return hash;
}

static uint64_t hash_launch(const struct sim *sim, uint64_t hash) {
    const struct bf_launch *l = sim->launch;
    const uint64_t fields[] = {l->kernel,         l->bank,         l->window,       l->strict,
                               l->one_weight_set, l->context_base, l->context_size, l->period,
                               l->group_level,    l->trips[0],     l->trips[1],     l->trips[2]};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        hash = mix(hash, fields[i]);
    /* LOADs from one buffer through two registers may share words; those from two may not. */
    for (unsigned a = 0; a < BF_BASES; a++)
        for (unsigned b = a + 1; b < BF_BASES; b++)
            hash = mix(hash, l->base[a] == l->base[b]);
    return hash_addresses(sim, hash);
}

/* What a sequencer's instruction costs, apart from WAITD. */
static uint64_t hash_step(const struct sim *sim, uint64_t hash, uint32_t at) {
    const struct bf_seq *seq = &sim->program->sequence[at];
    hash = mix(hash, seq->op);
    if (seq->op == BF_SEQ_CODE)
        return mix(mix(hash, seq->x), sim_code_bytes(&sim->program->kernels[seq->y]));
    if (seq->op != BF_SEQ_DMA)
        return hash;
    const struct bf_dma *d = &sim->program->dmas[seq->y];
    const uint64_t fields[] = {d->kind, d->pad, d->rows, d->cols, d->row % sim->v, d->col % sim->v};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        hash = mix(hash, fields[i]);
    uint32_t rows = d->row % sim->v + d->rows, cols = d->col % sim->v + d->cols;
    for (uint32_t r = 0; r < rows; r += sim->v)
        for (uint32_t c = 0; c < cols; c += sim->v)
            hash = hash_bank(sim, hash, d->spm + (d->row + r) / sim->v * d->width + d->col + c);
    return hash;
}

/* ---- the DMA engine ---- */

static struct engine engine_at(const struct sim *sim, uint32_t origin) {
    const struct sim_dma *dma = &sim->dma;
    struct engine e;
    memset(&e, 0, sizeof e); /* padding too: engines are hashed as bytes */
    e.state = dma->state;
    e.queue_count = dma->queue_count;
    for (uint32_t i = 0; i < dma->queue_count; i++)
        e.queue[i] = dma->queue[(dma->queue_head + i) % 64] - origin;
    if (dma->state == SIM_DMA_FREE)
        return e;
    e.job = dma->job - origin;
    e.setup_left = dma->setup_left;
    e.row = dma->row;
    e.tile = dma->tile;
    e.credit = dma->credit;
    e.exhausted = dma->exhausted;
    e.word = dma->word.valid;
    return e;
}

static uint64_t hash_engine(const struct sim *sim, uint64_t hash) {
    struct engine e = engine_at(sim, sim->pc);
    hash = bf_hash(hash, &e, sizeof e);
    if (e.state != SIM_DMA_FREE)
        hash = hash_step(sim, hash, sim->pc + e.job);
    for (uint32_t i = 0; i < e.queue_count; i++)
        hash = hash_step(sim, hash, sim->pc + e.queue[i]);
    return e.word ? hash_bank(sim, hash, sim->dma.word.spm) : hash;
}

static void restore_engine(struct sim *sim, const struct engine *e, uint32_t origin) {
    struct sim_dma *dma = &sim->dma;
    dma->state = e->state;
    dma->queue_head = 0;
    dma->queue_count = e->queue_count;
    for (uint32_t i = 0; i < e->queue_count; i++)
        dma->queue[i] = e->queue[i] + origin;
    dma->word.valid = false;
    if (e->state == SIM_DMA_FREE)
        return;
    dma->job = e->job + origin;
    dma->setup_left = e->setup_left;
    dma->credit = e->credit;
    dma->exhausted = e->exhausted;
    dma->row = e->row;
    dma->tile = e->tile;
    if (e->word)
        sim_dma_restore_word(sim);
}

/* ---- steps of the sequencer during a launch ---- */

static bool same_step(const struct sim *sim, const struct record *r, uint32_t step) {
    uint32_t here = sim->pc + step, there = r->first + step;
    if (here >= sim->program->sequence_count)
        return false;
    const struct bf_seq *a = &sim->program->sequence[here], *b = &sim->program->sequence[there];
    if (a->op == BF_SEQ_WAITD && b->op == BF_SEQ_WAITD)
        return a->y - sim->dma.completed == b->y - r->completed;
    return hash_step(sim, 0, here) == hash_step(sim, 0, there);
}

/* The last one is where the sequencer waits when the array becomes idle. */
static bool same_steps(const struct sim *sim, const struct record *r) {
    for (uint32_t step = 0; step <= r->steps; step++)
        if (!same_step(sim, r, step))
            return false;
    return true;
}

/* MARK notes a cycle, END ends: such launches are simulated. */
static bool plain_steps(const struct sim *sim, uint32_t from, uint32_t to) {
    for (uint32_t at = from; at <= to; at++) {
        if (at >= sim->program->sequence_count)
            return false;
        unsigned op = sim->program->sequence[at].op;
        if (op == BF_SEQ_MARK || op == BF_SEQ_END)
            return false;
    }
    return true;
}

/* The banks of the code store after the jobs that were done, or begun, in the launch. They are, in
 * order: the one under way at the launch, those queued, those that the sequencer has added. */
static void replay_code(struct sim *sim, const struct engine *before, const struct record *r) {
    uint64_t done = 0;
    bool begun = r->engine.state != SIM_DMA_FREE;
    uint32_t waiting = before->queue_count + (before->state != SIM_DMA_FREE), added = 0;
    for (uint64_t n = 0; n < r->jobs + begun; n++) {
        uint32_t at;
        if (n < waiting) {
            uint64_t queued = n - (before->state != SIM_DMA_FREE);
            at = before->state != SIM_DMA_FREE && n == 0 ? before->job : before->queue[queued];
        } else {
            while (sim->program->sequence[sim->pc + added].op != BF_SEQ_CODE &&
                   sim->program->sequence[sim->pc + added].op != BF_SEQ_DMA)
                added++;
            at = added++;
        }
        const struct bf_seq *job = &sim->program->sequence[sim->pc + at];
        if (job->op == BF_SEQ_CODE)
            sim->bank_kernel[job->x & 1] = done < r->jobs ? (int64_t)job->y : -1;
        done++;
    }
}

/* ---- records ---- */

static const struct record *find(const struct sim *sim, uint64_t key) {
    for (size_t i = 0; i < sim->memo->records.count; i++) {
        const struct record *r = &sim->memo->records.data[i];
        if (r->usable && r->key == key && same_steps(sim, r))
            return r;
    }
    return NULL;
}

static void replay(struct sim *sim, const struct record *r) {
    struct engine before = engine_at(sim, sim->pc);
    replay_code(sim, &before, r);
    restore_engine(sim, &r->engine, sim->pc);
    sim->pc += r->steps;
    sim->dma.completed += r->jobs;
    sim->cycle += r->cycles;
    sim->stats->skipped += r->cycles;
    sim->stats->dram_read += r->dram_read;
    sim->stats->dram_written += r->dram_written;
    sim_add_counts(sim->ks, &(struct bf_kernel_stats){0}, &r->stats, 1);
    sim->ks->cycles += r->cycles;
}

/* At a launch, when everything is in place: true if it is done already. */
bool sim_memo_launch(struct sim *sim) {
    if (sim->values)
        return false;
    if (!sim->memo)
        sim->memo = bf_alloc(sizeof *sim->memo);
    struct sim_memo *memo = sim->memo;
    memo->open = 0;
    if (sim->job_pending || sim->options->cycle_limit)
        return false;
    uint64_t key = hash_engine(sim, hash_launch(sim, BF_HASH_START));
    const struct record *known = find(sim, key);
    if (known) {
        replay(sim, known);
        return true;
    }
    *bf_push(&memo->records) = (struct record){.key = key,
                                               .kernel = sim->launch->kernel,
                                               .first = sim->pc,
                                               .completed = sim->dma.completed,
                                               .dram_read = sim->stats->dram_read,
                                               .dram_written = sim->stats->dram_written,
                                               .stats = *sim->ks};
    memo->open = memo->records.count;
    return false;
}

/* The array is idle again. */
void sim_memo_finish(struct sim *sim) {
    struct sim_memo *memo = sim->memo;
    if (!memo || !memo->open)
        return;
    struct record *r = &memo->records.data[memo->open - 1];
    memo->open = 0;
    if (sim->job_pending || !plain_steps(sim, r->first, sim->pc))
        return;
    struct bf_kernel_stats before = r->stats;
    r->stats = (struct bf_kernel_stats){0};
    sim_add_counts(&r->stats, &before, sim->ks, 1);
    r->steps = sim->pc - r->first;
    r->cycles = sim->cycle - sim->launched;
    r->jobs = sim->dma.completed - r->completed;
    r->dram_read = sim->stats->dram_read - r->dram_read;
    r->dram_written = sim->stats->dram_written - r->dram_written;
    r->engine = engine_at(sim, r->first);
    r->usable = true;
}

void sim_memo_free(struct sim *sim) {
    if (sim->memo)
        free(sim->memo->records.data);
    free(sim->memo);
}
