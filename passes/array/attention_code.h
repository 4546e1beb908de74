/* attention_code.h - what attention_code.c (CAL blocks) and attention_move.c (LOAD and STORE
 * blocks) share while the blocks of a plan are made. */
#ifndef BF_PASSES_ARRAY_ATTENTION_CODE_H
#define BF_PASSES_ARRAY_ATTENTION_CODE_H

#include "passes/array/attention.h"

/* Address classes: words of the own context | absolute, stepped by loops | absolute | weights. */
enum { BF_CLASS_OWN, BF_CLASS_STEP, BF_CLASS_FIXED, BF_CLASS_WEIGHT };
enum {
    BF_LOAD_Q = BF_FIRST_LOAD,
    BF_LOAD_START,
    BF_LOAD_BIG,
    BF_LOAD_SOFTMAX,
    BF_LOAD_STATE,
    BF_LOAD_FREE,
};

struct bf_attention_build {
    struct bf_map *map;
    struct bf_plan *plan;
    struct bf_code code;
    struct bf_attention a;
    struct bf_jobs jobs;
    unsigned pe;
    int64_t index[BF_JOB_DIMS]; /* of the PE's first job, from `first` on */
    int64_t k_offset, v_offset; /* lanes before a head's first column in its first word */
    struct bf_column_chunk columns[BF_ATTENTION_COLUMNS];
    int64_t column_count;
    unsigned cal, load, store; /* next free ids */
    struct bf_cal body[2 * BF_MAX_BODY];
    unsigned length;
};

struct bf_descriptor bf_attention_block(enum bf_unit unit, int64_t first, int64_t last);
void bf_attention_trips(struct bf_descriptor *d, int64_t t0, int64_t t1, int64_t t2);
/* The longest run of phases from `first` on with equal keys and addresses that advance by a
 * constant: how many, and the constant. */
int64_t bf_attention_run(const int64_t *address, const int64_t *key, int64_t first, int64_t count,
                         int64_t *step);

/* Blocks of the PE at hand; `target` is the CAL block that waits for them. */
void bf_attention_load_constants(struct bf_attention_build *b, unsigned id, int64_t first,
                                 int64_t last, int from, int to, int64_t words, unsigned target);
void bf_attention_load_q(struct bf_attention_build *b, unsigned target);
void bf_attention_load_keys(struct bf_attention_build *b);
/* One value a key and sample: words after the keys, lanes are samples; and the PE's lane. */
void bf_attention_load_lane_mask(struct bf_attention_build *b);
int64_t bf_attention_mask_lane(const struct bf_attention_build *b);
/* A word a key: a mask of queries and keys, or of positions (constants). */
void bf_attention_load_word_mask(struct bf_attention_build *b, bool positions, unsigned target);
/* Word `word` of the head's columns, of all keys, in `count` phases; `step` words on in each. */
void bf_attention_load_values(struct bf_attention_build *b, int64_t phase, int64_t count,
                              int64_t word, int64_t step);
/* `count` words of the state of the job, from column `column` on, to or from word `ram` of the own
 * context. */
void bf_attention_load_state(struct bf_attention_build *b, unsigned id, int64_t first, int64_t last,
                             int64_t column, int64_t step, int64_t count, int64_t ram,
                             unsigned target);
void bf_attention_store(struct bf_attention_build *b, const struct bf_operand *operand,
                        int64_t first, int64_t last, int64_t column, int64_t step, int64_t count,
                        int64_t ram);
void bf_attention_bases(struct bf_attention_build *b, struct bf_launch *launch);

#endif
