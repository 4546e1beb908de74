/* sim.c - the cycle-level device: set-up, the loop over cycles, the end. See sim.h. */
#include <inttypes.h>
#include <stdlib.h>

#include "runtime/sim.h"

/* ---- set-up ---- */

static void poison(bf_half *data, size_t count) {
    for (size_t i = 0; i < count; i++)
        data[i] = BF_HALF_POISON;
}

static void create_pes(struct sim *sim) {
    size_t ram = (size_t)sim->m->data_ram * sim->v;
    size_t weights = (size_t)2 * sim->m->weight_half * sim->v;
    if (!sim->values)
        ram = weights = 0;
    sim->storage = bf_alloc(sim->pes * (ram + weights) * sizeof *sim->storage);
    poison(sim->storage, sim->pes * (ram + weights));
    sim->pe = bf_alloc(sim->pes * sizeof *sim->pe);
    for (unsigned p = 0; p < sim->pes; p++) {
        struct sim_pe *pe = &sim->pe[p];
        pe->number = (uint8_t)p;
        pe->ram = sim->storage + p * (ram + weights);
        pe->weights = pe->ram + ram;
        for (unsigned a = 0; a < SIM_ACCUMULATORS; a++)
            for (unsigned lane = 0; lane < BF_MAX_LANES; lane++)
                pe->acc[a][lane] = bf_bits_float(BF_FLOAT_POISON);
    }
}

static void create_tables(struct sim *sim) {
    sim->ram_bank = bf_alloc(sim->m->data_ram);
    for (uint32_t w = 0; w < sim->m->data_ram; w++)
        sim->ram_bank[w] = (uint8_t)bf_ram_bank(w, sim->m->ram_banks);
    uint32_t tiles = (sim->m->spm_words + sim->v - 1) / sim->v;
    sim->spm_bank = bf_alloc(tiles);
    for (uint32_t t = 0; t < tiles; t++)
        sim->spm_bank[t] = (uint8_t)bf_spm_bank(t * sim->v, sim->v, sim->m->spm_ports);
    if (!sim->values)
        return;
    sim->spm = bf_alloc((size_t)tiles * sim->v * sim->v * sizeof *sim->spm);
    poison(sim->spm, (size_t)tiles * sim->v * sim->v);
}

static void create(struct sim *sim, const struct bf_program *program,
                   const struct bf_device_options *options) {
    static const struct bf_device_options none = {0};
    sim->program = program;
    sim->m = &program->machine;
    sim->options = options ? options : &none;
    sim->recorder = sim->options->recorder;
    sim->lanes = sim->options->portable ? bf_lane_ops_portable() : bf_lane_ops();
    sim->v = sim->m->lanes;
    sim->pes = bf_machine_pes(sim->m);
    sim->ram_mask = sim->m->data_ram - 1;
    sim->router_depth = sim->m->router_queue;
    sim->eject_depth = sim->m->eject_queue;
    sim->bank_kernel[0] = sim->bank_kernel[1] = -1;
    sim->mark[0] = sim->mark[1] = SIM_NEVER;
    sim->kernels = bf_alloc(program->kernel_count * sizeof *sim->kernels);
    sim->events = bf_alloc(8 * (size_t)sim->pes * sizeof *sim->events);
    create_tables(sim);
    create_pes(sim);
    sim_mesh_init(sim);
    if (sim->options->trace)
        sim_trace_create(sim);
}

static void destroy(struct sim *sim) {
    for (size_t k = 0; k < sim->program->kernel_count; k++) {
        for (size_t i = 0; i < sim->kernels[k].image_count; i++)
            free(sim->kernels[k].images[i].ops);
        free(sim->kernels[k].images);
    }
    free(sim->kernels);
    free(sim->events);
    free(sim->ram_bank);
    free(sim->spm_bank);
    free(sim->spm);
    free(sim->storage);
    free(sim->pe);
    sim_watch_free(sim);
    sim_memo_free(sim);
    free(sim->mesh.words);
    free(sim->mesh.free);
    if (sim->trace)
        sim_trace_free(sim);
}

/* ---- the end of a kernel ---- */

static bool under_way(const struct sim *sim) {
    if (sim->mesh.busy || sim->load_heads || sim->store_heads)
        return true;
    for (unsigned p = 0; p < sim->pes; p++)
        if (sim->pe[p].active & (SIM_BUSY | SIM_EJECT) || sim->pe[p].outstanding)
            return true;
    return false;
}

/* Could anything still happen without a further event from outside the array? */
static bool stuck(const struct sim *sim) {
    if (sim->pulse_count)
        return false;
    for (unsigned p = 0; p < sim->pes; p++)
        if (sim->pe[p].active)
            return false;
    return !under_way(sim);
}

static void finish_kernel(struct sim *sim) {
    sim_flush_waits(sim);
    sim->ks->cycles += sim->cycle - sim->launched;
    sim_memo_finish(sim);
    if (sim->trace)
        sim_note(sim, -1, SIM_TRACE_ARRAY, 1, "idle kernel=%s", sim->kernel->name);
    if (sim->recorder)
        bf_record_idle(sim->recorder, sim->cycle, sim->ks);
    sim->running = false;
}

/* ---- one cycle ---- */

static void array_cycle(struct sim *sim) {
    sim_mesh_cycle(sim);
    for (unsigned p = 0; p < sim->pes; p++)
        if (sim->pe[p].active & ~(uint32_t)SIM_RETIRE)
            sim_pe_cycle(sim, &sim->pe[p]);
}

static void array_commit(struct sim *sim) {
    sim_spm_commit(sim);
    sim_mesh_commit(sim);
    sim_commit_blocks(sim);
    if (sim->failed)
        return;
    if (sim->low == sim->total && !under_way(sim))
        finish_kernel(sim);
    else if (sim->low < sim->total && stuck(sim))
        sim_report_stuck(sim);
}

static void start_pending_launch(struct sim *sim) {
    sim->launch_pending = false;
    if (sim->recorder)
        bf_record_launch(sim->recorder, sim->launch, sim->cycle,
                         &sim->stats->kernels[sim->launch->kernel]);
    if (!sim_decode_kernel(sim, sim->launch->kernel) || !sim_launch(sim, sim->launch))
        return;
    if (sim->trace)
        sim_note(sim, -1, SIM_TRACE_ARRAY, 0, "launch kernel=%s", sim->kernel->name);
}

static void cycle(struct sim *sim) {
    bool running = sim->running; /* a launch of this cycle is not in it yet */
    if (running || sim->dma.word.valid)
        sim_spm_cycle(sim);
    if (running)
        array_cycle(sim);
    sim_sequencer_cycle(sim);
    if (sim->ended)
        return;
    bool dma = sim->dma.state != SIM_DMA_FREE || sim->dma.queue_count;
    sim->stats->dma_wait += dma && !running;
    if (dma || sim->job_pending)
        sim_dma_cycle(sim);
    if (running && !sim->failed)
        array_commit(sim);
    if (sim->launch_pending && !sim->failed)
        start_pending_launch(sim);
    if (sim->trace)
        sim_trace_flush(sim);
    if (sim->recorder)
        bf_record_sample(sim->recorder, sim->cycle, sim->stats, sim->running ? sim->ks : NULL);
}

/* ---- the device ---- */

static void report_progress(const struct sim *sim) {
    double done = sim->pc;
    if (sim->running && sim->total)
        done += (double)sim->low / (double)sim->total;
    done /= (double)(sim->program->sequence_count + 1);
    sim->options->progress(sim->options->user, done < 1 ? done : 1);
}

static void loop(struct sim *sim) {
    uint64_t limit = sim->options->cycle_limit;
    while (!sim->failed) {
        cycle(sim);
        if (sim->ended)
            break;
        sim->cycle++;
        if (limit && sim->cycle >= limit)
            sim_trap(sim, "the limit of %" PRIu64 " cycles was reached", limit);
        if (sim->options->progress && !(sim->cycle & 0xffff))
            report_progress(sim);
    }
    if (sim->trace)
        sim_trace_flush(sim);
}

static void finish_stats(struct sim *sim) {
    struct bf_stats *stats = sim->stats;
    stats->timed = true;
    stats->cycles = stats->measured = sim->cycle;
    stats->dram_measured = stats->dram_read + stats->dram_written;
    uint64_t begin = sim->mark[0], end = sim->mark[1];
    if (begin != SIM_NEVER && end != SIM_NEVER && end >= begin) {
        stats->measured = end - begin;
        stats->dram_measured = sim->dram_mark[1] - sim->dram_mark[0];
    }
}

bool sim_run(const struct bf_program *program, uint8_t *dram, bool values,
             const struct bf_device_options *options, struct bf_stats *stats,
             struct bf_error *error) {
    struct bf_fp_environment environment;
    struct bf_error ignored = {0};
    struct sim *sim = bf_alloc(sizeof *sim);
    sim->dram = dram;
    sim->values = values;
    sim->stats = stats;
    sim->error = error ? error : &ignored;
    bf_fp_begin(&environment);
    create(sim, program, options);
    if (sim->recorder)
        bf_record_group(sim->recorder);
    loop(sim);
    if (sim->recorder)
        bf_record_end(sim->recorder, sim->cycle, stats);
    bf_fp_end(&environment);
    finish_stats(sim);
    bool ok = !sim->failed;
    destroy(sim);
    free(sim);
    return ok;
}

static bool run(const struct bf_program *program, uint8_t *dram,
                const struct bf_device_options *options, struct bf_stats *stats,
                struct bf_error *error) {
    if (options && options->skip && !options->trace)
        return sim_run_skipping(program, dram, options, stats, error);
    return sim_run(program, dram, true, options, stats, error);
}

const struct bf_device bf_device_sim = {
    .name = "sim",
    .what = "moves the array cycle by cycle",
    .records = true,
    .run = run,
};
