/* ref.h - what the functional device and the order and storage checks share: a walk over the block
 * instances of a launch in one legal order, and the addresses they use. Internal to runtime/ref*.c
 * and runtime/check*.c; profiles use the addresses. The cycle simulator has its own of everything.
 *
 * Letters and numbers in brackets, [B3], are the rules of docs/machine.md.
 */
#ifndef BF_RUNTIME_REF_H
#define BF_RUNTIME_REF_H

#include "ir/isa/program.h"

/* ---- names for messages ---- */

struct bf_label {
    char text[192];
};
/* `block 4 "stages 0-4" (digits.bfly:9:14)`; name and place only where there are any. */
struct bf_label bf_block_label(const struct bf_program *program, const struct bf_block *block);
/* `PE (row,column)` */
struct bf_label bf_pe_label(const struct bf_program *program, unsigned pe);

/* ---- launches ---- */

uint64_t bf_launch_iterations(const struct bf_launch *launch);
uint64_t bf_launch_group(const struct bf_launch *launch); /* iterations of a weight set [L2] */
static inline unsigned bf_launch_phase(const struct bf_launch *launch, uint64_t iteration) {
    return (unsigned)(iteration % launch->period);
}
static inline bool bf_block_in_phase(const struct bf_block *block, unsigned phase) {
    return block->d.first <= phase && phase <= block->d.last;
}
static inline bool bf_is_weight_load(const struct bf_block *block) {
    return block->d.unit == BF_UNIT_LOAD && block->d.mem.weights;
}
/* First RAM word of the context of iteration `iteration` [L1]. */
static inline uint32_t bf_context(const struct bf_launch *launch, uint64_t iteration) {
    return launch->context_base + (uint32_t)(iteration % launch->window) * launch->context_size;
}
/* Where the scratchpad addresses of a LOAD or STORE begin in iteration `number` (for a weight LOAD:
 * in group `number`): base register + word address + iteration register, modulo 2^18 [M1, M2]. */
uint32_t bf_mem_start(const struct bf_launch *launch, const struct bf_descriptor *d,
                      uint64_t number);
enum { BF_SPM_MASK = (1 << 18) - 1 };

/* A three-level loop, level 0 innermost [B1]. */
struct bf_loop {
    uint16_t at[BF_LEVELS];
};
/* Moves to the next run; the level whose delta is to be added, or -1 after the last run. */
int bf_loop_next(struct bf_loop *loop, const uint16_t trips[BF_LEVELS]);

/* RAM word of a LOAD or STORE at a loop offset [M1, M3]; `words` is the size of that RAM. */
uint32_t bf_mem_ram(const struct bf_launch *launch, const struct bf_descriptor *d,
                    uint64_t iteration, uint32_t offset, uint32_t words);

/* One word of a FLOW [F1]. */
struct bf_hop {
    unsigned receiver; /* may lie outside the mesh */
    uint32_t source, destination;
};
struct bf_hop bf_flow_hop(const struct bf_program *program, const struct bf_launch *launch,
                          const struct bf_descriptor *d, unsigned sender, uint64_t iteration,
                          const struct bf_loop *loop, uint32_t source, uint32_t destination);

/* ---- the walk ----
 * Runs the blocks of a launch to completion one after the other: in each PE the oldest iteration
 * first, then the highest block id, as far as tokens, weight sets, strict and chained order let it;
 * iterations retire as soon as all PEs have run all their blocks. Tokens arrive at once. */
struct bf_walk_pe {
    const struct bf_block *block[BF_BLOCKS];
    uint64_t weight_loads;           /* ids: LOADs into the weight RAM */
    uint64_t with_weights;           /* ids: blocks that wait for their weight set */
    uint64_t next_group;             /* the weight sets before it are loaded */
    uint64_t present[BF_MAX_WINDOW]; /* ids by slot: exist in the slot's iteration */
    uint64_t entered[BF_MAX_WINDOW]; /* of those: only entered by the chain from id - 1 */
    uint64_t chosen[BF_MAX_WINDOW];  /* of those: have run */
    uint64_t full[BF_MAX_WINDOW];    /* of those: tokens = need */
    uint16_t tokens[BF_MAX_WINDOW][BF_BLOCKS];
};

struct bf_walk {
    const struct bf_program *program;
    const struct bf_launch *launch;
    const struct bf_kernel *kernel;
    unsigned pes;
    uint64_t iterations, group;
    uint64_t low; /* iterations low .. low + window - 1 may run */
    struct bf_walk_pe *pe;

    /* Does the work of a block. `number` is its iteration, for a weight LOAD its group. A FLOW
     * calls bf_walk_tokens for what it sends; the tokens of targets are the walk's. False: stop. */
    bool (*run)(void *user, struct bf_walk *walk, unsigned pe, const struct bf_block *block,
                uint64_t number, struct bf_error *error);
    void *user;
};

/* Of program->launches[launch]; `run` and `user` are then to be set. */
struct bf_walk *bf_walk_create(const struct bf_program *program, uint32_t launch);
void bf_walk_free(struct bf_walk *walk);
/* All iterations, or the first `limit`. False on a trap, a deadlock, or when `run` returned false;
 * a deadlock names the blocks that wait for each other and for what. */
bool bf_walk_run(struct bf_walk *walk, uint64_t limit, struct bf_error *error);
/* `count` tokens for block `id` of `pe` in `iteration`; traps as in [B10]. */
bool bf_walk_tokens(struct bf_walk *walk, unsigned pe, unsigned id, uint64_t iteration,
                    uint32_t count, struct bf_error *error);
/* What the walk waits for when nothing can run. Always false. */
bool bf_walk_deadlock(struct bf_walk *walk, struct bf_error *error);

#endif
