/* sim.h - the cycle-level device: what its parts share. docs/machine.md is the contract; comments
 * name its rules (B4, C6, ...).
 *
 * How a cycle is simulated. Decisions must read the state at the start of the cycle (T1), so each
 * queue is looked at by its producer before the consumer's pop is applied, and pushes are applied
 * so late that no consumer sees them in the same cycle:
 *
 *     scratchpad   grants heads of request queues; pops are deferred to the commit
 *     mesh         decides which words move; moves are deferred to the commit
 *     each PE      CAL reads | FLOW and STORE read, issue | LOAD issues | CAL issues | RAM writes
 *     sequencer, DMA
 *     commit       pops, moves, retires, completions and tokens, the advance pulse, launch, idle
 *
 * A PE in which nothing can happen is not visited (`active`).
 */
#ifndef BF_RUNTIME_SIM_H
#define BF_RUNTIME_SIM_H

#include "ir/isa/fp.h"
#include "runtime/recorder.h"

enum {
    SIM_FLIGHTS = 32,   /* CAL instructions under way: at most 3 + 12 + 2, a power of two */
    SIM_RESPONSES = 32, /* the largest response_queue */
    SIM_QUEUE = 16,     /* the largest router, eject and request queue */
    SIM_ACCUMULATORS = 16,
    SIM_NONE = 0xffff,
};
#define SIM_NEVER UINT64_MAX

/* ---- code, decoded ---- */

enum sim_kind { SIM_NO, SIM_RAM, SIM_ACC, SIM_ZERO, SIM_ONE, SIM_LANE, SIM_WEIGHT, SIM_CONST };

struct sim_op {
    uint8_t op, flags; /* flags of struct bf_lane_ops */
    bool valid, special, to_acc, to_ram;
    bool raw; /* LDLO, LDHI: reads the accumulator it writes */
    uint8_t acc;
    uint8_t a_kind, b_kind, c_kind; /* enum sim_kind */
    uint8_t a_class, b_class, c_class, d_class;
    uint16_t a, b, c, d;
};

/* The code store of one or more PEs that hold the same words. */
struct sim_image {
    struct sim_op *ops; /* [code_words] */
};

struct sim_kernel {
    bool decoded;
    struct sim_image *images;
    size_t image_count;
    uint8_t image_of[BF_MAX_PES];
};

/* ---- one PE ---- */

struct sim_block {
    const struct bf_descriptor *d; /* NULL: the PE has no such block */
    const struct sim_op *body;     /* CAL */
    uint32_t index;                /* in kernel->blocks */
    bool chained;                  /* block id - 1 chains to it */
    uint64_t next; /* next iteration (weight LOAD: group) it was not yet chosen in */
    uint16_t counter[BF_MAX_WINDOW];
};

/* A unit and the block it runs. */
struct sim_unit {
    struct sim_block *block; /* NULL: it waits */
    uint8_t id, slot;
    uint8_t cause;             /* enum bf_stall, while it waits */
    uint64_t since;            /* first cycle of that wait */
    uint64_t iteration, begun; /* first cycle in which the block may issue */
    uint16_t level[BF_LEVELS];
    uint16_t position;           /* CAL: next word of the body */
    uint32_t offset[BF_CLASSES]; /* CAL: with the context base; others: 0 RAM or source, 1 spm or
                                    destination */
    uint32_t weight_base, weight_mask; /* CAL, weight LOAD: in lanes, in words */
    uint32_t spm;                      /* LOAD, STORE: everything but the loop offset */
};

/* A CAL instruction from its first read to its write. */
struct sim_flight {
    const struct sim_op *op;
    uint64_t start; /* H of rule C6 */
    uint64_t write_at;
    uint8_t extra;    /* n of rule C6 */
    uint8_t step[3];  /* in which of the read cycles A, C, B are read */
    bool last;        /* ends its block */
    uint8_t id, slot; /* of the block */
    int8_t exponent;
    uint16_t swap; /* mask, 0: none */
    uint16_t a, b, c, d;
    uint32_t weight;      /* lane address */
    uint16_t claims[3];   /* banks read in each step */
    bf_half lane, c_lane; /* weight lanes of B and C */
    bf_half result[BF_MAX_LANES];
};

/* Read register of FLOW and STORE (M7). */
struct sim_register {
    bool valid, last;
    uint8_t id, slot;
    uint16_t ram, destination;
    uint8_t to, token;
    uint32_t spm;
};

struct sim_request {
    uint32_t spm;
    uint16_t ram;
    uint8_t bank, id, slot;
    bool row, weights, last;
    bf_half data[BF_MAX_LANES]; /* STORE */
};

struct sim_requests {
    uint8_t head, count;
    struct sim_request entry[SIM_QUEUE];
};

struct sim_response {
    uint64_t at;
    uint16_t ram;
    uint8_t id, slot;
    bool weights, last;
    bf_half data[BF_MAX_LANES];
};

/* Reasons to visit a PE. */
enum {
    SIM_BUSY = 1,   /* something is under way in it */
    SIM_CHOOSE = 2, /* << unit: a waiting unit should look for a block again */
    SIM_EJECT = 32,
    SIM_RETIRE = 64, /* the oldest iteration may be complete */
    SIM_WEIGHT_WRITE = 128,
};

struct sim_pe {
    uint32_t active; /* SIM_BUSY | ... */
    uint8_t number;
    uint16_t read_claims, write_claims; /* banks, in this cycle */

    uint64_t ready;                 /* blocks that B3 calls ready */
    uint64_t present, weight_loads; /* blocks it has; those that are weight LOADs */
    struct sim_unit unit[4];
    struct sim_block block[BF_BLOCKS];

    uint64_t retired;                     /* iterations */
    uint8_t remaining[BF_MAX_WINDOW];     /* blocks not yet complete, by slot */
    uint8_t present_count[BF_MAX_PERIOD]; /* blocks that exist, by phase */
    uint64_t set_group[2];                /* group last begun to load into each half, plus one */
    uint64_t set_done[2];                 /* group complete in each half, plus one */
    uint8_t set_left[2];                  /* weight LOADs of that group not complete */

    uint8_t hold;                  /* cycles of a bank stall still to come */
    bf_half held[3][BF_MAX_LANES]; /* words of A, C, B read before the last read cycle */
    bf_half held_weight[BF_MAX_LANES];
    uint32_t flight_read, flight_write, flight_tail; /* counts, modulo SIM_FLIGHTS */
    struct sim_flight flight[SIM_FLIGHTS];

    struct sim_register flow, store;
    struct sim_requests load_queue, store_queue;
    uint8_t outstanding;
    uint8_t response_head, response_count;
    struct sim_response response[SIM_RESPONSES];
    struct { /* a weight write whose value reads of the next cycle see (they are done a cycle late)
              */
        uint16_t word;
        bf_half data[BF_MAX_LANES];
    } late;

    uint8_t eject_head, eject_count;
    uint16_t eject[SIM_QUEUE]; /* words of the mesh */

    bf_half *ram, *weights; /* [data_ram][V], [2 weight_half][V] */
    /* What follows survives a launch. */
    float acc[SIM_ACCUMULATORS][BF_MAX_LANES];
    uint64_t acc_ready[SIM_ACCUMULATORS]; /* first cycle in which a reader may issue */
    uint64_t special_free;                /* first cycle in which a special function may issue */
};

/* ---- mesh ---- */

enum sim_side { SIM_LOCAL, SIM_W, SIM_E, SIM_N, SIM_S, SIM_SIDES };

struct sim_word {
    uint8_t to, token, slot;
    uint16_t ram;
    bf_half data[BF_MAX_LANES];
};

struct sim_router {
    uint8_t head[SIM_SIDES], count[SIM_SIDES], pointer[SIM_SIDES];
    uint8_t neighbour[SIM_SIDES]; /* PE number, by output */
    uint16_t queue[SIM_SIDES][SIM_QUEUE];
};

struct sim_move {
    uint8_t from, input; /* input SIM_SIDES: a new word, pushed into `from`'s local queue */
    uint8_t to, side;    /* side SIM_LOCAL as target of a move: the eject queue */
    uint16_t word;
};

struct sim_mesh {
    uint64_t busy; /* routers with words */
    struct sim_router router[BF_MAX_PES];
    uint8_t route[BF_MAX_PES][BF_MAX_PES]; /* output at a PE towards another */
    struct sim_word *words;
    uint16_t *free;
    uint32_t free_count, word_count;
    struct sim_move moves[BF_MAX_PES * (SIM_SIDES + 1)];
    uint32_t move_count;
};

/* ---- DMA, sequencer ---- */

enum sim_dma_state { SIM_DMA_FREE, SIM_DMA_SETUP, SIM_DMA_TRANSFER };

struct sim_dma_word {
    bool valid;
    uint32_t spm;
    uint64_t dram;        /* of its first element inside the rectangle */
    uint8_t first, count; /* lanes inside the rectangle */
    bool whole;           /* with pad: the other lanes become 0 */
    bool last;
    bf_half data[BF_MAX_LANES];
};

struct sim_dma {
    uint32_t queue[64]; /* sequencer positions */
    uint32_t queue_head, queue_count;
    enum sim_dma_state state;
    uint32_t job; /* sequencer position */
    uint32_t setup_left;
    uint64_t credit; /* tenths of a byte; CODE: what has been moved */
    uint64_t completed;
    uint32_t row, tile; /* position in the job, from its first touched row and tile */
    bool exhausted;     /* all its words are taken */
    struct sim_dma_word word;
};

/* What the search for a steady state saw when iteration `low` began (sim_skip.c). */
struct sim_sight {
    uint64_t cycle, completed, words; /* DMA jobs done, words of the present job */
    uint32_t pc;
    bool dma_busy;
    struct bf_kernel_stats stats;
};

struct sim_watch {
    uint64_t period; /* iterations between sights; 0: this launch is too short to skip any */
    uint64_t reach;  /* a period that does not span weight sets must end with its set: size of it,
                        0 if the period spans sets */
    uint64_t window; /* sights in the stretch that must repeat */
    uint64_t count;  /* sights since the launch or the last skip */
    struct sim_sight *sights; /* ring of 2 x window + 1 */
};

/* A completion or a token, applied at the end of the cycle. */
struct sim_event {
    uint8_t pe, id, slot;
    bool completion;
    uint64_t iteration; /* weight LOADs: group */
};

struct sim {
    const struct bf_program *program;
    const struct bf_machine *m;
    const struct bf_lane_ops *lanes;
    const struct bf_device_options *options;
    bool values; /* false: only timing is simulated, no data is moved */
    struct bf_error *error;
    struct bf_stats *stats;
    uint8_t *dram;
    bool failed;

    uint32_t v, pes, ram_mask, router_depth, eject_depth;
    uint8_t *ram_bank; /* [data_ram] */
    uint8_t *spm_bank; /* by tile */
    bf_half *spm;      /* tiles; word w of a tile in column access at w x V; NULL without values */
    bf_half *storage;  /* of all RAMs */
    struct sim_pe *pe;
    struct sim_mesh mesh;
    struct sim_dma dma;
    struct sim_kernel *kernels;

    uint64_t cycle;
    /* sequencer */
    uint32_t pc;
    bool ended, launch_pending, job_pending;
    int64_t bank_kernel[2]; /* -1: none */
    uint64_t mark[2], dram_mark[2];

    /* the running kernel */
    bool running;
    const struct bf_kernel *kernel;
    const struct bf_launch *launch;
    struct bf_kernel_stats *ks;
    struct bf_block_stats *block_stats;
    uint64_t launched; /* cycle */
    struct sim_watch watch;
    struct sim_memo *memo; /* NULL before the first launch */
    uint64_t low, total, group_size;
    uint8_t retire_count[BF_MAX_WINDOW]; /* PEs that retired the iteration of a slot */
    uint64_t pulse[BF_MAX_WINDOW];       /* cycles of pulses to come */
    uint32_t pulse_head, pulse_count;

    /* scratchpad */
    uint64_t load_heads, store_heads; /* PEs whose queue is not empty */
    uint8_t pointer[64];
    uint64_t load_pops, store_pops;

    struct sim_event *events;
    uint32_t event_count;
    struct sim_trace *trace;
    struct bf_recorder *recorder;
};

/* ---- sim_load.c: decoding, launch ---- */
bool sim_decode_kernel(struct sim *sim, uint32_t index);
bool sim_launch(struct sim *sim, const struct bf_launch *launch);

/* ---- sim_block.c: choice, tokens, retire, window ---- */
struct sim_block *sim_choose(struct sim *sim, struct sim_pe *pe, unsigned unit);
void sim_begin(struct sim *sim, struct sim_pe *pe, unsigned unit, struct sim_block *block);
void sim_wait(struct sim *sim, struct sim_pe *pe, unsigned unit);      /* a cycle without a block */
void sim_end_block(struct sim *sim, struct sim_pe *pe, unsigned unit); /* its last issue */
void sim_complete(struct sim *sim, struct sim_pe *pe, unsigned id, unsigned slot);
void sim_token(struct sim *sim, unsigned pe, unsigned id, unsigned slot);
void sim_commit_blocks(struct sim *sim);
void sim_update_ready(struct sim *sim, struct sim_pe *pe, unsigned id);
uint64_t sim_next_present(const struct sim *sim, const struct bf_descriptor *d, uint64_t from);
bool sim_weights_complete(const struct sim *sim, const struct sim_pe *pe, uint64_t group);
void sim_flush_waits(struct sim *sim);
/* What the iteration register holds on arrival at iteration `i` (weight LOADs: group). */
uint32_t sim_iteration_offset(const struct sim *sim, const struct bf_descriptor *d, uint64_t i);

/* Advances the loops of a block by one run; the level that advanced, or -1 at the end. */
static inline int sim_advance(struct sim_unit *unit) {
    const uint16_t *trips = unit->block->d->trips;
    for (int l = 0; l < BF_LEVELS; l++) {
        if (++unit->level[l] < trips[l])
            return l;
        unit->level[l] = 0;
    }
    return -1;
}

static inline void sim_stall(struct sim *sim, struct sim_pe *pe, unsigned unit,
                             enum bf_stall cause);
static inline void sim_issued(struct sim *sim, unsigned unit) {
    sim->ks->issued[unit]++;
    sim->ks->stalled[unit][BF_STALL_NONE]++;
}

static inline uint64_t sim_group(const struct sim *sim, uint64_t iteration) {
    return sim->group_size == 1 ? iteration : iteration / sim->group_size;
}

/* ---- sim_memo.c: launches that repeat others ---- */
bool sim_memo_launch(struct sim *sim);
void sim_memo_finish(struct sim *sim);
void sim_memo_free(struct sim *sim);

/* ---- sim_skip.c: steady states ---- */
/* Adds `times` times what was counted, cycles and runs apart, between two states of a count. */
void sim_add_counts(struct bf_kernel_stats *to, const struct bf_kernel_stats *from,
                    const struct bf_kernel_stats *until, uint64_t times);
void sim_watch_launch(struct sim *sim);
void sim_watch_advance(struct sim *sim); /* the window has moved; may skip ahead */
void sim_watch_free(struct sim *sim);
/* A run with options->skip. */
bool sim_run_skipping(const struct bf_program *program, uint8_t *dram,
                      const struct bf_device_options *options, struct bf_stats *stats,
                      struct bf_error *error);

/* ---- sim.c ---- */
bool sim_run(const struct bf_program *program, uint8_t *dram, bool values,
             const struct bf_device_options *options, struct bf_stats *stats,
             struct bf_error *error);

/* ---- sim_cal.c, sim_units.c ---- */
void sim_cal_read(struct sim *sim, struct sim_pe *pe);
void sim_cal_issue(struct sim *sim, struct sim_pe *pe);
void sim_cal_write(struct sim *sim, struct sim_pe *pe);
void sim_execute(struct sim *sim, struct sim_pe *pe, struct sim_flight *flight);
void sim_pe_cycle(struct sim *sim, struct sim_pe *pe);

/* ---- sim_mesh.c ---- */
void sim_mesh_init(struct sim *sim);
void sim_mesh_reset(struct sim *sim);
void sim_mesh_cycle(struct sim *sim);
void sim_mesh_commit(struct sim *sim);
struct sim_word *sim_mesh_inject(struct sim *sim, unsigned pe); /* the word appears next cycle */
void sim_mesh_release(struct sim *sim, uint16_t word);

/* ---- sim_spm.c ---- */
void sim_spm_cycle(struct sim *sim);
void sim_spm_commit(struct sim *sim);
void sim_spm_read(const struct sim *sim, uint32_t word, bool row, bf_half *data);
/* Lanes first .. first + count - 1. */
void sim_spm_write(struct sim *sim, uint32_t word, bool row, unsigned first, unsigned count,
                   const bf_half *data);

/* ---- sim_dma.c ---- */
void sim_sequencer_cycle(struct sim *sim);
void sim_dma_cycle(struct sim *sim);
void sim_dma_grant(struct sim *sim);
uint64_t sim_dma_position(const struct sim *sim); /* words of its job that it has taken */
uint64_t sim_dma_left(const struct sim *sim);     /* words of its job to be taken */
void sim_dma_skip(struct sim *sim, uint64_t words);
void sim_dma_restore_word(struct sim *sim); /* the word before the engine's position */
uint64_t sim_code_bytes(const struct bf_kernel *kernel);

/* ---- sim_report.c: traps, waiting for ever ---- */
void sim_trap(struct sim *sim, const char *format, ...) BF_PRINTF(2, 3);
/* In a block of the running kernel. */
void sim_trap_block(struct sim *sim, unsigned pe, unsigned id, uint64_t iteration,
                    const char *format, ...) BF_PRINTF(5, 6);
void sim_report_stuck(struct sim *sim);
/* `block 3 "name" of PE 5` */
void sim_describe_block(const struct sim *sim, unsigned pe, unsigned id, struct bf_text *text);
uint64_t sim_slot_iteration(const struct sim *sim, unsigned slot);

/* ---- sim_trace.c ---- */
enum {
    SIM_TRACE_PE,
    SIM_TRACE_CAL,
    SIM_TRACE_LOAD,
    SIM_TRACE_FLOW,
    SIM_TRACE_STORE,
    SIM_TRACE_ARRAY,
    SIM_TRACE_DMA,
    SIM_TRACE_SEQ
};
/* Order of events inside a unit. */
enum {
    SIM_EVENT_RETIRE,
    SIM_EVENT_GRANT,
    SIM_EVENT_READ,
    SIM_EVENT_WRITE,
    SIM_EVENT_ISSUE,
    SIM_EVENT_CHOOSE
};
void sim_trace_create(struct sim *sim);
void sim_trace_free(struct sim *sim);
void sim_trace_flush(struct sim *sim);
void sim_note(struct sim *sim, int pe, unsigned unit, unsigned event, const char *format, ...)
    BF_PRINTF(5, 6);
void sim_note_stall(struct sim *sim, const struct sim_pe *pe, unsigned unit, enum bf_stall cause);

static inline void sim_stall(struct sim *sim, struct sim_pe *pe, unsigned unit,
                             enum bf_stall cause) {
    sim->ks->stalled[unit][cause]++;
    if (sim->trace)
        sim_note_stall(sim, pe, unit, cause);
    if (sim->recorder)
        bf_record_stall(sim->recorder, pe->number, unit, cause);
}

/* A wait without a block is over; it lasted `cycles`. */
static inline void sim_waited(struct sim *sim, const struct sim_pe *pe, unsigned unit,
                              enum bf_stall cause, uint64_t cycles) {
    sim->ks->stalled[unit][cause] += cycles;
    if (sim->recorder)
        bf_record_wait(sim->recorder, pe->number, unit, cause, pe->unit[unit].since, cycles);
}

#endif
