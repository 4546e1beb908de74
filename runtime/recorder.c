/* recorder.c - see recorder.h. */
#include "runtime/recorder.h"

#include <stdlib.h>

#include "runtime/ref.h"

enum { SAMPLES = 2048, FIRST_INTERVAL = 64 };

/* ---- the budget of slices ---- */

static uint64_t runs_of(const struct bf_block *block, const struct bf_launch *launch) {
    uint64_t iterations = bf_launch_iterations(launch), group = bf_launch_group(launch);
    uint64_t units = bf_is_weight_load(block) ? iterations / group : iterations, count = 0;
    uint64_t step = bf_is_weight_load(block) ? group : 1;
    if (launch->period == 1)
        return block->d.first == 0 ? units : 0;
    for (unsigned phase = block->d.first; phase <= block->d.last && phase < launch->period; phase++)
        count += units * step > phase ? (units * step - phase - 1) / launch->period + 1 : 0;
    return count / step + (count % step != 0);
}

static uint64_t slices_of(const struct bf_program *program, const struct bf_launch *launch) {
    const struct bf_kernel *kernel = &program->kernels[launch->kernel];
    uint64_t sum = 0;
    for (size_t b = 0; b < kernel->block_count; b++)
        sum += runs_of(&kernel->blocks[b], launch) *
               (uint64_t)__builtin_popcountll(kernel->blocks[b].pes);
    return sum;
}

static void find_runs(struct bf_recorder *r) {
    for (size_t i = 0; i < r->program->sequence_count; i++)
        r->run_count += r->program->sequence[i].op == BF_SEQ_LAUNCH;
    r->runs = bf_alloc(r->run_count * sizeof *r->runs);
    size_t n = 0;
    for (size_t i = 0; i < r->program->sequence_count; i++)
        if (r->program->sequence[i].op == BF_SEQ_LAUNCH) {
            uint32_t launch = r->program->sequence[i].y;
            r->runs[n++] = (struct bf_launch_run){
                .launch = launch, .needs = slices_of(r->program, &r->program->launches[launch])};
        }
}

static uint32_t kernel_of(const struct bf_recorder *r, size_t run) {
    return r->program->launches[r->runs[run].launch].kernel;
}

/* First launches of kernels get equal shares or what they need. */
uint64_t *bf_recorder_quotas(const struct bf_recorder *r, uint64_t budget) {
    uint64_t *quota = bf_alloc(r->run_count * sizeof *quota), left = budget;
    bool *first = bf_alloc(r->run_count * sizeof *first);
    bool *met = bf_alloc(r->program->kernel_count * sizeof *met);
    size_t open = 0;
    for (size_t i = 0; i < r->run_count; i++)
        if (!met[kernel_of(r, i)]) {
            met[kernel_of(r, i)] = first[i] = true;
            open++;
        }
    for (uint64_t share; open && (share = left / open) > 0;)
        for (size_t i = 0; i < r->run_count && open; i++) {
            uint64_t more = r->runs[i].needs - quota[i];
            if (!first[i])
                continue;
            quota[i] += more < share ? more : share;
            left -= more < share ? more : share;
            first[i] = more > share;
            open -= more <= share;
        }
    free(met);
    free(first);
    return quota;
}

/* What first launches leave goes to others that fit whole. In a range of cycles, the first come. */
static void divide_budget(struct bf_recorder *r) {
    uint64_t *quota = bf_recorder_quotas(r, r->budget), left = r->budget;
    for (size_t i = 0; i < r->run_count; i++)
        left -= r->runs[i].quota = quota[i];
    for (size_t i = 0; i < r->run_count; i++) {
        struct bf_launch_run *run = &r->runs[i];
        if (!run->quota && run->needs <= left)
            left -= run->quota = run->needs;
        if (r->from || r->to)
            run->quota = r->budget;
    }
    free(quota);
}

/* ---- life ---- */

struct bf_recorder *bf_recorder_create(const struct bf_program *program, uint64_t from, uint64_t to,
                                       uint64_t budget) {
    struct bf_recorder *r = bf_alloc(sizeof *r);
    *r = (struct bf_recorder){.program = program, .from = from, .to = to, .budget = budget};
    find_runs(r);
    r->samples = bf_alloc(SAMPLES * sizeof *r->samples);
    r->blocks = bf_alloc(program->kernel_count * sizeof *r->blocks);
    r->pes = bf_alloc(program->kernel_count * sizeof *r->pes);
    for (size_t k = 0; k < program->kernel_count; k++) {
        r->blocks[k] = bf_alloc(program->kernels[k].block_count * sizeof **r->blocks);
        r->pes[k] = bf_alloc(bf_machine_pes(&program->machine) * sizeof **r->pes);
    }
    if (program->kernel_count)
        divide_budget(r);
    return r;
}

void bf_recorder_free(struct bf_recorder *r) {
    if (!r)
        return;
    for (size_t k = 0; k < r->program->kernel_count; k++) {
        free(r->blocks[k]);
        free(r->pes[k]);
    }
    free(r->blocks);
    free(r->pes);
    free(r->samples);
    free(r->slices.data);
    free(r->waits.data);
    free(r->jobs.data);
    free(r->runs);
    free(r);
}

void bf_recorder_clear(struct bf_recorder *r) {
    const struct bf_program *program = r->program;
    for (size_t k = 0; k < program->kernel_count; k++) {
        memset(r->blocks[k], 0, program->kernels[k].block_count * sizeof **r->blocks);
        memset(r->pes[k], 0, bf_machine_pes(&program->machine) * sizeof **r->pes);
    }
    for (size_t i = 0; i < r->run_count; i++)
        r->runs[i].slice_count = r->runs[i].wait_count = 0;
    r->slices.count = r->waits.count = r->jobs.count = r->sample_count = 0;
    r->groups = r->end = 0;
    r->interval = FIRST_INTERVAL;
}

/* ---- samples ---- */

static void add_difference(struct bf_recorder *r, const struct bf_kernel_stats *now) {
    for (unsigned u = 0; u < 4; u++)
        r->open.series[u] += now->issued[u] - r->seen.issued[u];
    r->open.series[BF_SERIES_SPM] += now->spm_words - r->seen.spm_words;
    r->open.series[BF_SERIES_HOPS] += now->hops - r->seen.hops;
    r->seen = *now;
}

static void add_dram(struct bf_recorder *r, const struct bf_stats *stats) {
    r->open.series[BF_SERIES_DRAM_READ] += stats->dram_read - r->seen_read;
    r->open.series[BF_SERIES_DRAM_WRITTEN] += stats->dram_written - r->seen_written;
    r->seen_read = stats->dram_read;
    r->seen_written = stats->dram_written;
}

static void halve_rate(struct bf_recorder *r) {
    for (size_t i = 0; i < SAMPLES / 2; i++)
        for (unsigned s = 0; s < BF_SERIES; s++)
            r->samples[i].series[s] = r->samples[2 * i].series[s] + r->samples[2 * i + 1].series[s];
    r->sample_count = SAMPLES / 2;
    r->interval *= 2;
}

static void close_sample(struct bf_recorder *r) {
    r->samples[r->sample_count++] = r->open;
    r->open = (struct bf_sample){0};
    if (r->sample_count == SAMPLES)
        halve_rate(r);
    r->next_sample = (r->sample_count + 1) * r->interval;
}

void bf_record_sample(struct bf_recorder *r, uint64_t cycle, const struct bf_stats *stats,
                      const struct bf_kernel_stats *kernel) {
    if (!r->timeline || cycle + 1 < r->next_sample)
        return;
    if (kernel)
        add_difference(r, kernel);
    add_dram(r, stats);
    close_sample(r);
}

/* ---- groups, launches ---- */

void bf_record_group(struct bf_recorder *r) {
    r->timeline = r->groups++ == 0;
    r->run = 0;
    r->next_sample = r->interval;
    r->open = (struct bf_sample){0};
    r->seen = (struct bf_kernel_stats){0};
    r->seen_read = r->seen_written = 0;
}

void bf_record_end(struct bf_recorder *r, uint64_t cycle, const struct bf_stats *stats) {
    if (!r->timeline)
        return;
    add_dram(r, stats);
    close_sample(r);
    r->end = cycle;
}

void bf_record_launch(struct bf_recorder *r, const struct bf_launch *launch, uint64_t cycle,
                      const struct bf_kernel_stats *stats) {
    struct bf_launch_run *run = &r->runs[r->run++];
    r->kernel = launch->kernel;
    if (!r->timeline)
        return;
    run->begin = run->end = cycle;
    run->first = r->slices.count;
    run->first_wait = r->waits.count;
    r->seen = *stats;
}

void bf_record_idle(struct bf_recorder *r, uint64_t cycle, const struct bf_kernel_stats *stats) {
    if (!r->timeline)
        return;
    r->runs[r->run - 1].end = cycle;
    add_difference(r, stats);
}

/* ---- blocks ---- */

/* Instructions that one run of a block issues. */
static uint64_t instructions(const struct bf_descriptor *d) {
    uint64_t runs = (uint64_t)d->trips[0] * d->trips[1] * d->trips[2];
    return d->unit == BF_UNIT_CAL ? runs * d->cal.length : runs;
}

void bf_record_block(struct bf_recorder *r, unsigned pe, uint32_t block, uint64_t iteration,
                     uint64_t begin, uint64_t last) {
    const struct bf_descriptor *d = &r->program->kernels[r->kernel].blocks[block].d;
    struct bf_block_time *time = &r->blocks[r->kernel][block];
    time->runs++;
    time->held += last + 1 - begin;
    r->pes[r->kernel][pe].issued[d->unit] += instructions(d);
    struct bf_launch_run *run = &r->runs[r->run - 1];
    bool outside = last < r->from || (r->to && begin >= r->to);
    if (!r->timeline || outside || run->slice_count >= run->quota || r->slices.count >= r->budget)
        return;
    run->slice_count++;
    *bf_push(&r->slices) = (struct bf_slice){.begin = begin,
                                             .iteration = iteration,
                                             .length = (uint32_t)(last + 1 - begin),
                                             .block = (uint16_t)block,
                                             .pe = (uint8_t)pe,
                                             .unit = d->unit};
}

void bf_record_wait(struct bf_recorder *r, unsigned pe, unsigned unit, enum bf_stall cause,
                    uint64_t begin, uint64_t cycles) {
    r->pes[r->kernel][pe].stalled[unit][cause] += cycles;
    struct bf_launch_run *run = &r->runs[r->run - 1];
    bool outside = begin + cycles <= r->from || (r->to && begin >= r->to);
    if (!cycles || !r->timeline || outside || run->wait_count >= BF_WAITS * run->quota ||
        r->waits.count >= BF_WAITS * r->budget)
        return;
    run->wait_count++;
    *bf_push(&r->waits) = (struct bf_wait){.begin = begin,
                                           .length = cycles,
                                           .pe = (uint8_t)pe,
                                           .unit = (uint8_t)unit,
                                           .cause = (uint8_t)cause};
}

/* ---- DMA ---- */

static uint64_t bytes_of(const struct bf_program *program, const struct bf_seq *job) {
    if (job->op == BF_SEQ_CODE) {
        const struct bf_kernel *kernel = &program->kernels[job->y];
        uint64_t bytes = 32 * (uint64_t)kernel->block_count;
        for (size_t s = 0; s < kernel->segment_count; s++)
            bytes += 8 * (uint64_t)kernel->segments[s].count;
        return bytes;
    }
    const struct bf_dma *d = &program->dmas[job->y];
    uint64_t elements = (uint64_t)d->rows * d->cols;
    return d->kind == BF_DMA_FILL ? 0 : 2 * elements + (d->kind == BF_DMA_GATHER ? 4 * d->rows : 0);
}

void bf_record_job(struct bf_recorder *r, uint32_t position, uint64_t cycle) {
    if (r->timeline)
        *bf_push(&r->jobs) =
            (struct bf_job_run){.position = position,
                                .begin = cycle,
                                .end = cycle,
                                .bytes = bytes_of(r->program, &r->program->sequence[position])};
}

void bf_record_job_done(struct bf_recorder *r, uint64_t cycle) {
    if (r->timeline && r->jobs.count)
        r->jobs.data[r->jobs.count - 1].end = cycle + 1;
}
