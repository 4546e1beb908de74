/* device.h - what runs programs. Each device (ref, sim, host, later rtl) is one
 * struct bf_device; libbfrt knows no more about it than this. */
#ifndef BF_RUNTIME_DEVICE_H
#define BF_RUNTIME_DEVICE_H

#include "ir/isa/fp.h"
#include "ir/isa/program.h"

/* Why a unit did not issue in a cycle, in the order in which a trace names them. */
enum bf_stall {
    BF_STALL_NONE,    /* it issued */
    BF_STALL_IDLE,    /* no block left in the window */
    BF_STALL_TOKEN,   /* blocks wait for tokens */
    BF_STALL_WEIGHTS, /* blocks wait for their weight set */
    BF_STALL_HAZARD,  /* a result is still in the pipeline */
    BF_STALL_BANK,    /* two operands in one bank */
    BF_STALL_SPECIAL, /* the special-function unit is busy */
    BF_STALL_QUEUE,   /* router, request or response queue full */
    BF_STALL_PORT,    /* a RAM port is taken by another unit */
    BF_STALL_COUNT
};

struct bf_kernel_stats {
    uint64_t runs;                       /* launches of this kernel */
    uint64_t cycles;                     /* launch to idle, summed over runs */
    uint64_t issued[4];                  /* instructions by enum bf_unit, over all PEs */
    uint64_t stalled[4][BF_STALL_COUNT]; /* PE-cycles by unit and cause, inside `cycles` */
    uint64_t special;                    /* CAL slots that were special functions */
    uint64_t ram_words, hops, spm_words; /* events for energy */
    uint64_t infinities, nans;           /* elements STORE wrote */
};

/* Infinities and NaNs of one block's STOREs. */
struct bf_block_stats {
    uint64_t infinities, nans;
};

struct bf_stats {
    bool timed;                       /* false: the device has no notion of cycles */
    uint64_t cycles;                  /* start to END */
    uint64_t measured;                /* between the two MARKs; equal to cycles without them */
    uint64_t dram_read, dram_written; /* bytes, whole program */
    uint64_t dram_measured;           /* bytes between the MARKs */
    uint64_t dma_wait;                /* cycles in which only the DMA was busy */
    uint64_t skipped;                 /* cycles that were extrapolated, not simulated */
    struct bf_kernel_stats *kernels;  /* [program->kernel_count] */
    struct bf_block_stats **blocks;   /* [kernel][block] */
};
struct bf_stats *bf_stats_create(const struct bf_program *program);
void bf_stats_free(const struct bf_program *program, struct bf_stats *stats);

struct bf_recorder;

struct bf_device_options {
    FILE *trace; /* NULL, or where -trace-text goes: one line per cycle and active unit */
    struct bf_recorder *recorder; /* sim: what keeps the timeline of the run, or NULL */
    uint64_t cycle_limit;         /* 0: none; reaching it is an error */
    void (*progress)(void *user, double done); /* may be NULL */
    void *user;
    bool portable; /* never use SIMD: for tests */
    /* sim: where a kernel has settled into a steady state, skip whole periods of it; ref computes
     * the values. Ignored with a trace. */
    bool skip;
    /* After each launch: the scratchpad, lane l of column word w at [w x lanes + l]. May be NULL;
     * devices whose `observable` is false never call it. */
    void (*launched)(void *user, uint32_t launch, const bf_half *scratchpad);
    void *launched_user;
};

struct bf_device {
    const char *name, *what;
    bool observable, records; /* records: it serves options->recorder */
    /* One run of a checked program: `dram` (program->dram_size bytes, rodata already in place) is
     * read and written in place; all other storage starts poisoned. Fills stats. On a trap or a
     * deadlock returns false with the cause, naming kernel, PE, block and source place. NULL: not a
     * device for programs; the session runs the embedded network (session_host.c). */
    bool (*run)(const struct bf_program *program, uint8_t *dram,
                const struct bf_device_options *options, struct bf_stats *stats,
                struct bf_error *error);
};

extern const struct bf_device bf_device_ref, bf_device_sim, bf_device_host;

/* NULL if there is none of that name. */
const struct bf_device *bf_device_find(const char *name);
/* Device number `index`; NULL after the last. */
const struct bf_device *bf_device_at(size_t index);

#endif
