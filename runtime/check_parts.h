/* check_parts.h - what the files of the order and storage checks share. Internal to
 * runtime/check*.c. */
#ifndef BF_RUNTIME_CHECK_PARTS_H
#define BF_RUNTIME_CHECK_PARTS_H

#include "runtime/check.h"
#include "runtime/ref.h"

/* ---- block instances and happens-before (check_order.c) ----
 *
 * A block of a PE is a node number; with an iteration it is an instance, which has events:
 *   start     its first issue
 *   end       its completion
 *   arrival   FLOW only, for each receiving PE: the last of its words is in the RAM there
 */
struct bf_order_node {
    unsigned pe;
    const struct bf_block *block;
    unsigned first_arrival, arrivals; /* into the list below */
};

struct bf_order_arrival {
    unsigned node;     /* the FLOW */
    unsigned receiver; /* PE */
    uint32_t words;
};

struct bf_order {
    const struct bf_program *program;
    const struct bf_launch *launch;
    const struct bf_kernel *kernel;
    unsigned pes, window;
    uint64_t iterations;
    unsigned node_count; /* blocks of all PEs but weight LOADs, by PE and then by id */
    struct bf_order_node *nodes;
    unsigned (*node_of)[BF_BLOCKS]; /* [PE][id]; BF_NO_NODE where there is none */
    size_t arrival_count;
    struct bf_order_arrival *arrivals;
    uint64_t *
        *reached; /* [event x period + phase]: bit [node x window + distance]; made on demand */
    struct bf_arena arena;
    uint8_t *visited;
};
#define BF_NO_NODE UINT32_MAX

struct bf_order *bf_order_create(const struct bf_program *program, const struct bf_launch *launch);
void bf_order_free(struct bf_order *order);

/* Which storage an access goes through. */
struct bf_accessor {
    unsigned node;
    uint32_t
        arrival; /* index of the arrival whose words are written, or BF_NO_NODE: the block's own */
};
/* Are all accesses of x in iteration i over, in effect, before the first of y in iteration j?
 * Needs |j - i| < window; instances that are further apart are always ordered. */
bool bf_order_before(struct bf_order *order, struct bf_accessor x, uint64_t i, struct bf_accessor y,
                     uint64_t j);
static inline bool bf_order_exists(const struct bf_order *order, unsigned node,
                                   uint64_t iteration) {
    return bf_block_in_phase(order->nodes[node].block, bf_launch_phase(order->launch, iteration));
}
/* Tokens: every counter gets exactly what its block needs. */
bool bf_order_tokens(const struct bf_order *order, struct bf_error *error);

/* `block 4 "stages 0-4" of iteration 6` and, in label.text, nothing about the PE. */
struct bf_label bf_instance_label(const struct bf_order *order, unsigned node, uint64_t iteration);

/* ---- what a block touches (check_words.c) ---- */

enum { BF_SET_WORDS = 1024 / 64 };
struct bf_set { /* of RAM words */
    uint64_t bits[BF_SET_WORDS];
};
static inline void bf_set_add(struct bf_set *set, uint32_t word) {
    set->bits[word / 64] |= UINT64_C(1) << word % 64;
}
static inline bool bf_set_has(const struct bf_set *set, uint32_t word) {
    return set->bits[word / 64] >> word % 64 & 1;
}
/* First word that is in a and in b; -1 if none. */
int bf_set_common(const struct bf_set *a, const struct bf_set *b);
/* First word that is in a and not in b. */
int bf_set_missing(const struct bf_set *a, const struct bf_set *b);

struct bf_touch {
    struct bf_set reads, writes;
    struct bf_set exposed;             /* read before the instance itself has written them */
    struct bf_set weights;             /* weight words read, in the half or in both halves */
    uint32_t acc_exposed, acc_written; /* bits 2 x accumulator: low half, + 1: high half */
};

struct bf_kernel_check {
    struct bf_order *order;
    struct bf_touch **touch;   /* [node x window + slot]; shared by PEs with the same code */
    struct bf_touch **arrival; /* [arrival x window + slot]: `writes` alone */
    struct bf_arena arena;
    const uint64_t **code; /* [PE x code_words + address] */
};
/* Steps that a check may still take; shared by a whole program. */
struct bf_budget {
    uint64_t steps;
};
bool bf_budget_spend(struct bf_budget *budget, uint64_t steps, struct bf_error *error);

bool bf_touch_kernel(struct bf_kernel_check *check, struct bf_budget *budget,
                     struct bf_error *error);

/* ---- one launch, but for the scratchpad (check_kernel.c) ---- */

bool bf_check_launch(const struct bf_program *program, uint32_t launch, struct bf_budget *budget,
                     struct bf_error *error);

/* ---- the scratchpad (check_spm.c) ----
 * Masks say which lanes of each column word are meant. */
struct bf_spm_check {
    const struct bf_program *program;
    struct bf_budget *budget;
    uint32_t words;
    uint32_t *initialised;    /* written by anything so far */
    uint32_t *read, *written; /* by the launch that may be running */
    uint32_t first, end;      /* words outside are zero in both */
    uint32_t launch;
    bool running;
    struct bf_footprint **footprints; /* by kernel */
    struct bf_arena arena;
};
bool bf_spm_launch(struct bf_spm_check *check, uint32_t launch, struct bf_error *error);

/* What a launch touches, for those that differ from it in nothing but where their base registers
 * point (check_footprint.c). It is kept of launches that write no word twice and none they read. */
struct bf_run { /* words word .. word + count - 1, relative to base register `base` */
    int64_t word;
    uint32_t count, lanes;
    uint8_t base;
    bool write;
};
struct bf_footprint {
    const struct bf_launch *launch;
    struct bf_footprint *next; /* of the same kernel */
    size_t count;
    struct bf_run *runs;
};
/* Same kernel and parameters: the same accesses, but for the scratchpad. */
bool bf_launch_alike(const struct bf_launch *a, const struct bf_launch *b);
/* The footprint of an earlier launch that fits this one, or NULL. */
const struct bf_footprint *bf_footprint_find(const struct bf_spm_check *check,
                                             const struct bf_launch *launch);
/* Keeps a footprint: lanes read and written by base register, [base][word] or NULL. */
void bf_footprint_keep(struct bf_spm_check *check, const struct bf_launch *launch,
                       uint32_t *const read[BF_BASES], uint32_t *const written[BF_BASES]);
/* Marks in check->read and check->written what the launch touches. False if only a walk through its
 * accesses can tell whether it is right: runs of different registers meet, leave the scratchpad, or
 * read what has not been initialised. */
bool bf_footprint_mark(struct bf_spm_check *check, const struct bf_footprint *footprint,
                       const struct bf_launch *launch);

/* What job `job` touches is not touched by the running launch; `before` says which was first. */
bool bf_spm_against_job(struct bf_spm_check *check, uint32_t job, bool before,
                        struct bf_error *error);
/* Job `job` comes after everything so far. */
bool bf_spm_job(struct bf_spm_check *check, uint32_t job, struct bf_error *error);

#endif
