/* session_stats.c - what a run cost: sums over groups, bounds, energy, infinities by operator. */
#include "runtime/session.h"

#include <stdlib.h>

_Static_assert((int)BFRT_STALLS == (int)BF_STALL_COUNT && (int)BFRT_STALL_PORT == BF_STALL_PORT &&
                   (int)BFRT_CAL == BF_UNIT_CAL && (int)BFRT_STORE == BF_UNIT_STORE,
               "units and stall causes are those of the devices");

const char *bfrt_unit_name(enum bfrt_unit unit) {
    static const char *const names[] = {"CAL", "LOAD", "FLOW", "STORE"};
    return (unsigned)unit < BFRT_UNITS ? names[unit] : "?";
}

const char *bfrt_stall_name(enum bfrt_stall stall) {
    static const char *const names[] = {"issued", "drain",   "tokens", "weights", "hazards",
                                        "banks",  "special", "queues", "ports"};
    return (unsigned)stall < BFRT_STALLS ? names[stall] : "?";
}

void bf_session_clear_stats(struct bfrt_session *session) {
    const struct bf_program *program = session->model->program;
    free(session->findings);
    session->findings = NULL;
    session->finding_count = 0;
    memset(session->kernel_stats, 0, program->kernel_count * sizeof *session->kernel_stats);
    for (size_t k = 0; k < program->kernel_count; k++)
        memset(session->blocks[k], 0, program->kernels[k].block_count * sizeof **session->blocks);
    session->stats = (struct bfrt_stats){.kernel_count = program->kernel_count,
                                         .kernels = session->kernel_stats};
}

static void add_kernel(struct bfrt_kernel_stats *sum, const struct bf_kernel_stats *group) {
    sum->runs += group->runs;
    sum->cycles += group->cycles;
    for (int u = 0; u < BFRT_UNITS; u++) {
        sum->issued[u] += group->issued[u];
        for (int s = 0; s < BFRT_STALLS; s++)
            sum->stalled[u][s] += group->stalled[u][s];
    }
    sum->special += group->special;
    sum->ram_words += group->ram_words;
    sum->hops += group->hops;
    sum->scratchpad_words += group->spm_words;
    sum->infinities += group->infinities;
    sum->nans += group->nans;
}

void bf_session_add_stats(struct bfrt_session *session, const struct bf_stats *group) {
    const struct bf_program *program = session->model->program;
    struct bfrt_stats *sum = &session->stats;
    sum->timed = group->timed;
    sum->groups++;
    sum->cycles += group->cycles;
    sum->measured += group->measured;
    sum->dram_read += group->dram_read;
    sum->dram_written += group->dram_written;
    sum->dram_measured += group->dram_measured;
    sum->dma_wait += group->dma_wait;
    sum->skipped += group->skipped;
    for (size_t k = 0; k < program->kernel_count; k++) {
        add_kernel(&session->kernel_stats[k], &group->kernels[k]);
        for (size_t b = 0; b < program->kernels[k].block_count; b++) {
            session->blocks[k][b].infinities += group->blocks[k][b].infinities;
            session->blocks[k][b].nans += group->blocks[k][b].nans;
        }
    }
}

/* ---- bounds ---- */

static void raise_bound(uint64_t *bound, const char **by, uint64_t cycles, const char *what) {
    if (cycles > *bound || !*by) {
        *bound = cycles;
        *by = what;
    }
}

static void set_bound(struct bfrt_kernel_stats *kernel, const struct bf_machine *machine) {
    unsigned pes = bf_machine_pes(machine);
    for (int u = 0; u < BFRT_UNITS; u++)
        raise_bound(&kernel->bound, &kernel->bound_by, bf_divide_up(kernel->issued[u], pes),
                    bfrt_unit_name((enum bfrt_unit)u));
    raise_bound(&kernel->bound, &kernel->bound_by,
                bf_divide_up(kernel->special * machine->special_interval, pes),
                "special functions");
    raise_bound(&kernel->bound, &kernel->bound_by,
                bf_divide_up(kernel->scratchpad_words, machine->spm_ports), "scratchpad ports");
}

/* Kernels run one after the other; DRAM may be busy all the while. The whole is named after what
 * binds most of its cycles. */
static void set_total_bound(struct bfrt_stats *stats, const struct bf_machine *machine) {
    uint64_t most = 0;
    for (size_t k = 0; k < stats->kernel_count; k++) {
        uint64_t cycles = 0;
        for (size_t other = 0; other < stats->kernel_count; other++)
            if (stats->kernels[other].bound_by == stats->kernels[k].bound_by)
                cycles += stats->kernels[other].bound;
        if (cycles > most) {
            most = cycles;
            stats->bound_by = stats->kernels[k].bound_by;
        }
        stats->bound += stats->kernels[k].bound;
    }
    raise_bound(
        &stats->bound, &stats->bound_by,
        bf_divide_up((stats->dram_read + stats->dram_written) * 10, machine->dram_tenth_bytes),
        "DRAM");
}

/* ---- energy ---- */

/* In femtojoules, as the machine description has them; a double holds 2^53 of these exactly, 9 J.
 */
static double energy(const struct bfrt_stats *stats, const struct bf_machine *machine) {
    double sum = (double)stats->cycles * machine->energy_static +
                 (double)(stats->dram_read + stats->dram_written) * machine->energy_dram;
    for (size_t k = 0; k < stats->kernel_count; k++) {
        const struct bfrt_kernel_stats *kernel = &stats->kernels[k];
        sum += (double)(kernel->issued[BFRT_CAL] * machine->lanes) * machine->energy_cal;
        sum += (double)kernel->ram_words * machine->energy_ram;
        sum += (double)kernel->hops * machine->energy_hop;
        sum += (double)kernel->scratchpad_words * machine->energy_spm;
    }
    return sum / 1e15;
}

/* ---- infinities and NaNs ---- */

static bool same_place(struct bf_place a, struct bf_place b) {
    return a.file == b.file && a.line == b.line && a.column == b.column;
}

static void add_finding(struct bfrt_session *session, size_t k, size_t b) {
    const struct bf_program *program = session->model->program;
    const struct bf_kernel *kernel = &program->kernels[k];
    const struct bf_block *block = &kernel->blocks[b];
    const struct bf_block_stats *count = &session->blocks[k][b];
    if (!count->infinities && !count->nans)
        return;
    struct bf_place place = block->place.line ? block->place : kernel->place;
    const char *file = place.line ? program->files[place.file] : "";
    struct bfrt_finding *finding = NULL;
    for (size_t i = 0; i < session->finding_count && !finding; i++) {
        struct bfrt_finding *f = &session->findings[i];
        struct bf_place there = {place.file, f->place.line, f->place.column};
        if (f->kernel == k && f->place.file == file && same_place(place, there))
            finding = f;
    }
    if (!finding) {
        session->findings =
            bf_resize(session->findings, (session->finding_count + 1) * sizeof *session->findings);
        finding = &session->findings[session->finding_count++];
        *finding = (struct bfrt_finding){
            .kernel = k, .block = block->name, .place = {file, place.line, place.column}};
    }
    finding->infinities += count->infinities;
    finding->nans += count->nans;
}

void bf_session_finish_stats(struct bfrt_session *session) {
    const struct bf_program *program = session->model->program;
    struct bfrt_stats *stats = &session->stats;
    stats->samples = session->samples;
    for (size_t k = 0; k < program->kernel_count; k++) {
        set_bound(&session->kernel_stats[k], &program->machine);
        stats->infinities += session->kernel_stats[k].infinities;
        stats->nans += session->kernel_stats[k].nans;
        for (size_t b = 0; b < program->kernels[k].block_count; b++)
            add_finding(session, k, b);
    }
    set_total_bound(stats, &program->machine);
    stats->energy = energy(stats, &program->machine);
}

const struct bfrt_stats *bfrt_stats(const struct bfrt_session *session) {
    return &session->stats;
}

size_t bfrt_finding_count(const struct bfrt_session *session) {
    return session->finding_count;
}

const struct bfrt_finding *bfrt_finding(const struct bfrt_session *session, size_t index) {
    return index < session->finding_count ? &session->findings[index] : NULL;
}
