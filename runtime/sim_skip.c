/* sim_skip.c - steady states: a launch whose iterations have settled into a pattern is not
 * simulated to its end.
 *
 *     fill      sights, one a period           skipped: whole stretches      rest, drain
 *     |------|---|---|---|---|---|---|---|- - - - - - - - - - - - - - - -|-----------|
 *                 window 1    window 2
 *                 `------ stretch ------'
 *
 * Timing does not depend on data, so a launch repeats itself but for what moves with the iteration:
 * the banks that its addresses fall into, and the DMA beside it. A sight is taken each time that
 * the oldest iteration begins a period (a multiple of the window, of the period of phases, and of
 * two weight sets where these are short). When two windows of at least W + 3 iterations take the
 * same time within 1/512, and as many scratchpad accesses within 1/64 (PEs that drift apart share
 * fewer), while the sequencer stands still and the DMA is idle or in the middle of one job, the
 * state moves ahead by whole stretches: iteration numbers, cycles and addresses are shifted,
 * counters grow by what the stretch counted, the DMA job by the words it moved. The end of the
 * launch is simulated again.
 *
 * No data is moved in such a run; ref computes the values (and finds what a skipped iteration would
 * trap on), and its counts of instructions and words, which do not depend on timing, replace the
 * extrapolated ones. */
#include <stdlib.h>

#include "runtime/sim.h"

/* ---- what to watch for ---- */

static uint64_t common_multiple(uint64_t a, uint64_t b) {
    uint64_t x = a, y = b;
    while (y) {
        uint64_t rest = x % y;
        x = y;
        y = rest;
    }
    return a / x * b;
}

/* Sights in a window, so that it has at least W + 3 iterations. */
static uint64_t window_of(const struct sim *sim, uint64_t period) {
    return bf_divide_up(sim->launch->window + 3u, period);
}

static bool long_enough(const struct sim *sim, uint64_t period, uint64_t iterations) {
    return 4 * window_of(sim, period) * period + sim->launch->window <= iterations;
}

static bool has_weight_loads(const struct sim *sim) {
    for (unsigned p = 0; p < sim->pes; p++)
        if (sim->pe[p].weight_loads)
            return true;
    return false;
}

void sim_watch_launch(struct sim *sim) {
    struct sim_watch *watch = &sim->watch;
    sim_watch_free(sim);
    if (sim->values)
        return;
    uint64_t period = common_multiple(sim->launch->window, sim->launch->period);
    uint64_t iterations = sim->total;
    if (sim->group_size < sim->total && has_weight_loads(sim)) {
        uint64_t sets = common_multiple(period, 2 * sim->group_size);
        if (long_enough(sim, sets, sim->total)) {
            period = sets;
        } else {
            watch->reach = sim->group_size;
            iterations = sim->group_size;
        }
    }
    if (!long_enough(sim, period, iterations))
        return;
    watch->period = period;
    watch->window = window_of(sim, period);
    watch->sights = bf_alloc((2 * watch->window + 1) * sizeof *watch->sights);
}

void sim_watch_free(struct sim *sim) {
    free(sim->watch.sights);
    sim->watch = (struct sim_watch){0};
}

/* ---- sights ---- */

static bool dma_is_idle(const struct sim *sim) {
    return sim->dma.state == SIM_DMA_FREE && !sim->dma.queue_count && !sim->job_pending;
}

/* In the middle of a job that moves words? */
static bool dma_transfers(const struct sim *sim) {
    const struct sim_dma *dma = &sim->dma;
    return dma->state == SIM_DMA_TRANSFER && !dma->exhausted && !sim->job_pending &&
           sim->program->sequence[dma->job].op == BF_SEQ_DMA;
}

/* Is a set after those of the window being loaded, or could it be? Then a stretch inside one set
 * repeats nothing. */
static bool loads_weights(const struct sim *sim) {
    uint64_t group = sim_group(sim, sim->low);
    for (unsigned p = 0; p < sim->pes; p++) {
        const struct sim_pe *pe = &sim->pe[p];
        if (pe->set_left[0] || pe->set_left[1])
            return true;
        for (uint64_t left = pe->weight_loads; left; left &= left - 1)
            if (pe->block[__builtin_ctzll(left)].next <= group + 1)
                return true;
    }
    return false;
}

static struct sim_sight *sight(struct sim_watch *watch, uint64_t number) {
    return &watch->sights[number % (2 * watch->window + 1)];
}

/* False if nothing that began before this sight can be part of a stretch. */
static bool take_sight(struct sim *sim) {
    struct sim_watch *watch = &sim->watch;
    bool busy = dma_transfers(sim);
    if (!busy && !dma_is_idle(sim))
        return false;
    if (watch->reach && loads_weights(sim))
        return false;
    sim_flush_waits(sim);
    for (unsigned p = 0; p < sim->pes; p++)
        for (unsigned u = 0; u < 4; u++)
            if (!sim->pe[p].unit[u].block && sim->pe[p].unit[u].since <= sim->cycle)
                sim->pe[p].unit[u].since = sim->cycle + 1;
    *sight(watch, watch->count++) = (struct sim_sight){.cycle = sim->cycle,
                                                       .completed = sim->dma.completed,
                                                       .words = busy ? sim_dma_position(sim) : 0,
                                                       .pc = sim->pc,
                                                       .dma_busy = busy,
                                                       .stats = *sim->ks};
    return true;
}

static bool agree(uint64_t a, uint64_t b, uint64_t part) {
    return (a > b ? a - b : b - a) <= (a < b ? a : b) / part;
}

/* Do the two windows before the last sight repeat each other? */
static bool repeats(struct sim_watch *watch) {
    if (watch->count < 2 * watch->window + 1)
        return false;
    const struct sim_sight *last = sight(watch, watch->count - 1);
    const struct sim_sight *middle = sight(watch, watch->count - 1 - watch->window);
    const struct sim_sight *first = sight(watch, watch->count - 1 - 2 * watch->window);
    if (first->pc != last->pc || first->completed != last->completed ||
        first->dma_busy != last->dma_busy)
        return false;
    if (!agree(last->cycle - middle->cycle, middle->cycle - first->cycle, 512))
        return false;
    return agree(last->words - middle->words, middle->words - first->words, 64) &&
           agree(last->stats.spm_words - middle->stats.spm_words,
                 middle->stats.spm_words - first->stats.spm_words, 64);
}

/* ---- moving ahead ---- */

void sim_add_counts(struct bf_kernel_stats *to, const struct bf_kernel_stats *from,
                    const struct bf_kernel_stats *until, uint64_t times) {
    for (unsigned u = 0; u < 4; u++) {
        to->issued[u] += times * (until->issued[u] - from->issued[u]);
        for (unsigned s = 0; s < BF_STALL_COUNT; s++)
            to->stalled[u][s] += times * (until->stalled[u][s] - from->stalled[u][s]);
    }
    to->special += times * (until->special - from->special);
    to->ram_words += times * (until->ram_words - from->ram_words);
    to->hops += times * (until->hops - from->hops);
    to->spm_words += times * (until->spm_words - from->spm_words);
}

/* By how much the scratchpad addresses of a block's iteration (weight LOAD: group) change. */
static uint32_t address_shift(const struct sim *sim, const struct bf_descriptor *d, uint64_t from,
                              uint64_t by) {
    return sim_iteration_offset(sim, d, from + by) - sim_iteration_offset(sim, d, from);
}

static uint32_t shift_address(const struct sim *sim, uint32_t spm, uint32_t shift) {
    spm = (spm + shift) & 0x3ffff;
    return spm < sim->m->spm_words ? spm : 0; /* ref traps on it */
}

static void shift_queue(const struct sim *sim, const struct sim_pe *pe, struct sim_requests *queue,
                        uint64_t iterations) {
    for (unsigned i = 0; i < queue->count; i++) {
        struct sim_request *r = &queue->entry[(queue->head + i) % SIM_QUEUE];
        if (r->weights)
            continue;
        uint64_t iteration = sim_slot_iteration(sim, r->slot);
        r->spm = shift_address(sim, r->spm,
                               address_shift(sim, pe->block[r->id].d, iteration, iterations));
        r->bank = sim->spm_bank[r->spm / sim->v];
    }
}

static void shift_unit(const struct sim *sim, struct sim_unit *unit, uint64_t iterations,
                       uint64_t groups, uint64_t cycles) {
    unit->since += cycles;
    if (!unit->block)
        return;
    const struct bf_descriptor *d = unit->block->d;
    bool memory = d->unit == BF_UNIT_LOAD || d->unit == BF_UNIT_STORE;
    uint64_t by = d->unit == BF_UNIT_LOAD && d->mem.weights ? groups : iterations;
    if (memory)
        unit->spm += address_shift(sim, d, unit->iteration, by);
    unit->iteration += by;
}

static void shift_pe(const struct sim *sim, struct sim_pe *pe, uint64_t iterations, uint64_t groups,
                     uint64_t cycles) {
    shift_queue(sim, pe, &pe->load_queue, iterations);
    shift_queue(sim, pe, &pe->store_queue, iterations);
    if (pe->store.valid)
        pe->store.spm =
            shift_address(sim, pe->store.spm,
                          address_shift(sim, pe->block[pe->store.id].d,
                                        sim_slot_iteration(sim, pe->store.slot), iterations));
    for (unsigned u = 0; u < 4; u++)
        shift_unit(sim, &pe->unit[u], iterations, groups, cycles);
    for (uint64_t left = pe->present; left; left &= left - 1) {
        unsigned id = (unsigned)__builtin_ctzll(left);
        if (pe->block[id].next != SIM_NEVER)
            pe->block[id].next += pe->weight_loads >> id & 1 ? groups : iterations;
    }
    pe->retired += iterations;
    for (unsigned half = 0; half < 2; half++) {
        pe->set_group[half] += pe->set_group[half] ? groups : 0;
        pe->set_done[half] += pe->set_done[half] ? groups : 0;
    }
    for (unsigned f = 0; f < SIM_FLIGHTS; f++) {
        pe->flight[f].start += cycles;
        pe->flight[f].write_at += cycles;
    }
    for (unsigned r = 0; r < SIM_RESPONSES; r++)
        pe->response[r].at += cycles;
    for (unsigned a = 0; a < SIM_ACCUMULATORS; a++)
        pe->acc_ready[a] += cycles;
    pe->special_free += cycles;
}

/* Stretches that can be skipped: the last iterations, and the end of a DMA job, are simulated. */
static uint64_t stretches_left(struct sim *sim) {
    struct sim_watch *watch = &sim->watch;
    uint64_t stretch = 2 * watch->window * watch->period;
    uint64_t end = sim->total;
    if (watch->reach) {
        uint64_t set = (sim->low / watch->reach + 1) * watch->reach;
        end = set < end ? set : end;
    }
    uint64_t keep = sim->low + sim->launch->window + sim->launch->period;
    if (!watch->reach && sim->group_size < sim->total)
        keep += 3 * sim->group_size; /* of which two are being loaded */
    uint64_t count = end > keep ? (end - keep) / stretch : 0;
    const struct sim_sight *last = sight(watch, watch->count - 1);
    const struct sim_sight *first = sight(watch, watch->count - 1 - 2 * watch->window);
    if (last->words > first->words) {
        uint64_t jobs = (sim_dma_left(sim) - 1) / (last->words - first->words);
        count = jobs < count ? jobs : count;
    }
    return count;
}

static void skip(struct sim *sim, uint64_t times) {
    struct sim_watch *watch = &sim->watch;
    const struct sim_sight *last = sight(watch, watch->count - 1);
    const struct sim_sight *first = sight(watch, watch->count - 1 - 2 * watch->window);
    uint64_t cycles = times * (last->cycle - first->cycle);
    uint64_t iterations = times * 2 * watch->window * watch->period;
    uint64_t groups = watch->reach ? 0 : iterations / sim->group_size;
    if (last->words > first->words)
        sim_dma_skip(sim, times * (last->words - first->words));
    for (unsigned p = 0; p < sim->pes; p++)
        shift_pe(sim, &sim->pe[p], iterations, groups, cycles);
    for (unsigned i = 0; i < BF_MAX_WINDOW; i++)
        sim->pulse[i] += cycles;
    sim_add_counts(sim->ks, &first->stats, &last->stats, times);
    sim->low += iterations;
    sim->cycle += cycles;
    sim->stats->skipped += cycles;
    watch->count = 0;
}

void sim_watch_advance(struct sim *sim) {
    struct sim_watch *watch = &sim->watch;
    if (!watch->period || sim->low % watch->period)
        return;
    if (watch->count && watch->reach && sim->low % watch->reach < watch->period)
        watch->count = 0; /* another weight set */
    if (!take_sight(sim)) {
        watch->count = 0;
        return;
    }
    if (!repeats(watch))
        return;
    uint64_t times = stretches_left(sim);
    if (times)
        skip(sim, times);
}

/* ---- a run ---- */

static void half_progress(void *user, double done) {
    const struct bf_device_options *options = user;
    options->progress(options->user, done / 2);
}

static void last_half_progress(void *user, double done) {
    const struct bf_device_options *options = user;
    options->progress(options->user, 0.5 + done / 2);
}

/* What does not depend on timing is ref's. Where that makes a difference in instructions, the
 * cycles of the units must still add up. */
static void take_counts(struct bf_stats *stats, const struct bf_program *program,
                        const struct bf_stats *ref) {
    for (size_t k = 0; k < program->kernel_count; k++) {
        struct bf_kernel_stats *to = &stats->kernels[k];
        const struct bf_kernel_stats *from = &ref->kernels[k];
        for (unsigned u = 0; u < 4; u++) {
            uint64_t *cycles = to->stalled[u], *wait = &cycles[BF_STALL_TOKEN];
            uint64_t sum = to->issued[u] + *wait;
            *wait = sum > from->issued[u] ? sum - from->issued[u] : 0;
            to->issued[u] = cycles[BF_STALL_NONE] = from->issued[u];
        }
        to->special = from->special;
        to->ram_words = from->ram_words;
        to->hops = from->hops;
        to->infinities = from->infinities;
        to->nans = from->nans;
        memcpy(stats->blocks[k], ref->blocks[k],
               program->kernels[k].block_count * sizeof *stats->blocks[k]);
    }
}

bool sim_run_skipping(const struct bf_program *program, uint8_t *dram,
                      const struct bf_device_options *options, struct bf_stats *stats,
                      struct bf_error *error) {
    struct bf_device_options timing = *options, values = *options;
    timing.user = values.user = (void *)(uintptr_t)options;
    timing.progress = options->progress ? half_progress : NULL;
    values.progress = options->progress ? last_half_progress : NULL;
    values.cycle_limit = 0;
    if (!sim_run(program, dram, false, &timing, stats, error))
        return false;
    struct bf_stats *ref = bf_stats_create(program);
    bool ok = bf_device_ref.run(program, dram, &values, ref, error);
    if (ok)
        take_counts(stats, program, ref);
    bf_stats_free(program, ref);
    return ok;
}
