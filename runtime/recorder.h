/* recorder.h - what happened in a run of sim, in time: the memory behind traces and profiles.
 *
 *     sim --bf_record_...--> recorder --> trace (trace.c), profile (profile.c), report page
 *
 * A device that has a recorder calls it when a block, a launch or a DMA job begins or ends, when a
 * unit waits, and to sample its counters: rarely, beside the work of a cycle. What it keeps is
 * bounded: launches and jobs, all; samples, by halving their rate; slices (a block's stay in a
 * unit), by a budget that is divided among launches beforehand, first launches of kernels first.
 * Counts cover all groups of samples, the timeline only the first group.
 */
#ifndef BF_RUNTIME_RECORDER_H
#define BF_RUNTIME_RECORDER_H

#include "ir/isa/program.h"
#include "runtime/device.h"

enum { BF_WAITS = 2 };
enum { BF_SERIES_DRAM_READ = 4, BF_SERIES_DRAM_WRITTEN, BF_SERIES_SPM, BF_SERIES_HOPS, BF_SERIES };

/* A block in a unit of a PE: cycles begin .. begin + length - 1. */
struct bf_slice {
    uint64_t begin, iteration; /* weight LOADs: group */
    uint32_t length;
    uint16_t block; /* in kernel->blocks */
    uint8_t pe, unit;
};

/* A unit without a block, and why. */
struct bf_wait {
    uint64_t begin, length;
    uint8_t pe, unit, cause; /* enum bf_stall */
};

/* A run of a launch, in the order of the sequence. Idle at cycle `end`. */
struct bf_launch_run {
    uint32_t launch;
    uint64_t begin, end;
    uint64_t needs, quota;         /* slices it would take, and may */
    size_t first, slice_count;     /* in bf_recorder.slices */
    size_t first_wait, wait_count; /* in bf_recorder.waits: at most BF_WAITS a slice */
};

/* A DMA job: the engine took it at `begin` and was done at `end`. */
struct bf_job_run {
    uint32_t position; /* in program->sequence: DMA or CODE */
    uint64_t begin, end, bytes;
};

/* Of one interval: instructions issued by unit over all PEs, bytes, words. */
struct bf_sample {
    uint64_t series[BF_SERIES];
};

/* A block of a kernel, summed over PEs. */
struct bf_block_time {
    uint64_t runs, held; /* cycles in which it was its unit's block */
};

struct bf_pe_time {
    uint64_t issued[4];
    uint64_t stalled[4][BF_STALL_COUNT]; /* as in bf_kernel_stats, of one PE; [u][0] is unused */
};

struct bf_recorder {
    const struct bf_program *program;
    uint64_t from, to; /* slices and samples that lie in these cycles are kept; to 0: no end */
    uint64_t budget;   /* slices */

    struct bf_launch_run *runs; /* [run_count], from the sequence */
    size_t run_count, run;      /* `run`: the present one, plus one */
    struct {
        struct bf_slice *data;
        size_t count, capacity;
    } slices;
    struct {
        struct bf_wait *data;
        size_t count, capacity;
    } waits;
    struct {
        struct bf_job_run *data;
        size_t count, capacity;
    } jobs;
    uint64_t interval, next_sample; /* cycles */
    struct bf_sample *samples;
    size_t sample_count;
    struct bf_sample open; /* the interval that is under way */
    struct bf_kernel_stats seen;
    uint64_t seen_read, seen_written;

    uint32_t kernel;               /* the running one */
    struct bf_block_time **blocks; /* [kernel][block] */
    struct bf_pe_time **pes;       /* [kernel][PE] */
    bool timeline;                 /* of the present group */
    uint64_t groups, end;          /* `end`: cycles of the first group */
};

struct bf_recorder *bf_recorder_create(const struct bf_program *program, uint64_t from, uint64_t to,
                                       uint64_t budget);
void bf_recorder_free(struct bf_recorder *recorder);  /* NULL is fine */
void bf_recorder_clear(struct bf_recorder *recorder); /* before a run of groups */

/* How a budget of slices is divided among the first launches of kernels: an entry a run, others 0.
 * Caller frees. */
uint64_t *bf_recorder_quotas(const struct bf_recorder *recorder, uint64_t budget);

/* ---- called by the device ---- */
void bf_record_group(struct bf_recorder *recorder); /* a group begins, at cycle 0 */
void bf_record_end(struct bf_recorder *recorder, uint64_t cycle, const struct bf_stats *stats);
void bf_record_launch(struct bf_recorder *recorder, const struct bf_launch *launch, uint64_t cycle,
                      const struct bf_kernel_stats *stats);
void bf_record_idle(struct bf_recorder *recorder, uint64_t cycle,
                    const struct bf_kernel_stats *stats);
/* The block issued last in cycle `last`. */
void bf_record_block(struct bf_recorder *recorder, unsigned pe, uint32_t block, uint64_t iteration,
                     uint64_t begin, uint64_t last);
/* The unit had no block in `cycles` cycles from `begin` on. */
void bf_record_wait(struct bf_recorder *recorder, unsigned pe, unsigned unit, enum bf_stall cause,
                    uint64_t begin, uint64_t cycles);
void bf_record_job(struct bf_recorder *recorder, uint32_t position, uint64_t cycle);
void bf_record_job_done(struct bf_recorder *recorder, uint64_t cycle);
/* In each cycle: `kernel` is the running kernel's or NULL. */
void bf_record_sample(struct bf_recorder *recorder, uint64_t cycle, const struct bf_stats *stats,
                      const struct bf_kernel_stats *kernel);
/* A cycle in which the unit's block did not issue. */
static inline void bf_record_stall(struct bf_recorder *recorder, unsigned pe, unsigned unit,
                                   enum bf_stall cause) {
    recorder->pes[recorder->kernel][pe].stalled[unit][cause]++;
}

#endif
