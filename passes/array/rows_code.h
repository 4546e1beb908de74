/* rows_code.h - what the files that schedule row kernels share. */
#ifndef BF_PASSES_ARRAY_ROWS_CODE_H
#define BF_PASSES_ARRAY_ROWS_CODE_H

#include "passes/array/rows.h"

enum { ELEMENT = 0, FIXED = 1, CONTEXT = 2, LANES = 3 }; /* address classes */

/* CAL blocks of which each chooses the next. */
struct bf_rows_chain {
    struct bf_descriptor blocks[BF_FIRST_LOAD];
    const char *names[BF_FIRST_LOAD];
    int count; /* blocks wanted, also beyond those that there are */
};

struct bf_rows_build {
    struct bf_map *map;
    struct bf_plan *plan;
    struct bf_code code;
    struct bf_rows_shape shape;
    struct bf_rows_plan p;
    struct bf_rows_program program;
    struct bf_diags *diags;
    uint64_t pes; /* that work */
    int64_t period;
    int next_cal, next_load, next_weight, next_store, next_flow;
    int loads;                   /* data LOADs an iteration */
    struct bf_rows_chain *chain; /* where CAL blocks go; NULL: out */
    uint64_t row_stores;         /* STOREs that only the first PE of a group has */
};

struct bf_rows_phases {
    int64_t first, last;
};

/* Which STOREs wait for the loops of a pass's parts, and for its finish. */
struct bf_rows_stores {
    uint8_t part[2][BF_TARGETS], finish[BF_TARGETS];
};

/* ---- rows_code.c ---- */

bool bf_rows_works(const struct bf_rows_build *b, unsigned pe);
/* Whether some PEs are absent in the last round of outer tiles: then phases are iterations, and
 * tell nothing else apart. */
bool bf_rows_is_uneven(const struct bf_rows_build *b);
uint8_t bf_rows_last_iteration(const struct bf_rows_build *b, unsigned pe);
/* A block for the PEs that work; where these differ in how long, in its phases too. */
void bf_rows_emit(struct bf_rows_build *b, struct bf_descriptor *d, const char *name);
void bf_rows_row_blocks(struct bf_rows_build *b, const struct bf_rows_pass *pass,
                        const struct bf_rows_list *list, struct bf_rows_phases phases,
                        const char *name, const uint8_t targets[BF_TARGETS]);
void bf_rows_loop_blocks(struct bf_rows_build *b, int p, const struct bf_rows_stores *stores);
void bf_rows_store_blocks(struct bf_rows_build *b, int p, struct bf_rows_stores *stores);

/* ---- rows_chains.c: tiles across PEs ---- */

void bf_rows_chain_add(struct bf_rows_build *b, const struct bf_descriptor *d, const char *name);
/* All CAL, FLOW and STORE blocks. */
void bf_rows_chains(struct bf_rows_build *b);

#endif
