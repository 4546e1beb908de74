/* attention.h - how attention lies on the array; shared by the files of the family.
 *
 * Lanes are queries. A job is one tile of V queries of one head of one sample: a PE works on one at
 * a time, and its scores never leave the PE. A job is a period of iterations, a phase each:
 *
 *   phase 0 .. chunks - 1   scores of `unroll` keys; rows of K are the weight set: B = k[key][c]
 *   phase chunks ..         out[c] of `unroll` columns; V is, a column word of all keys; the first
 *                           of these phases does the softmax before
 *   the others              idle, so that the window W divides the period: phase i always runs in
 *                           slot i mod W
 *
 *   data RAM  | q: columns words | 1/sum: hi, lo | context 0 | context 1 | ..
 *   context   | scores (f32 pairs) of the phase's keys, then p | constants | mask words | y |
 *
 * Phase i leaves its scores in the context of slot i; later phases read them there. The kernel is
 * strict, so CAL blocks of all phases run in order, and only LOAD and STORE need tokens. q is
 * loaded when the first block of a job says that the job before is done.
 *
 * Where the keys do not fit a job, a plan is a part of them, and the parts run one after the other.
 * Between parts a job's maximum, sum and unfinished outputs rest in the scratchpad, each as the sum
 * of two fp16 numbers:
 *
 *   state of a head  | maximum | sum | output 0 | output 1 | ..   two columns each, lanes: queries
 *
 * The maximum is then an integer, in units of log2, so that LDEXP brings what was summed before to
 * a new one. A part leaves its sum near 1, and the maximum larger by as much: so outputs are as
 * large as the values they are means of, and neither overflow nor lose their small ones.
 *
 * Jobs are counted by five numbers, each spread over PEs and rounds: index = first + PE + round x
 * across. Two of the numbers of rounds are the levels 1 and 2 of the launch; the others' are plans.
 */
#ifndef BF_PASSES_ARRAY_ATTENTION_H
#define BF_PASSES_ARRAY_ATTENTION_H

#include "passes/array/family.h"

/* Head of K, query head among those that read it, tile of queries, sample + V x batch. */
enum bf_job_dim {
    BF_JOB_HEAD,
    BF_JOB_GROUP,
    BF_JOB_TILE,
    BF_JOB_SAMPLE,
    BF_JOB_BATCH,
    BF_JOB_DIMS
};
struct bf_jobs {
    int64_t across[BF_JOB_DIMS], rounds[BF_JOB_DIMS], first[BF_JOB_DIMS];
    int level1, level2; /* which rounds a launch counts; -1: none */
};
void bf_jobs_save(struct bf_map *map, struct bf_plan *plan, const struct bf_jobs *jobs);
struct bf_jobs bf_jobs_load(const struct bf_plan *plan);

enum { BF_ATTENTION_CHUNKS = BF_MAX_WINDOW, BF_ATTENTION_COLUMNS = 64 };
/* Words of the recipe; those from SHRINK on are for parts. */
enum {
    BF_CONST_HIGH,
    BF_CONST_EPSILON,
    BF_CONST_BIG,
    BF_CONST_SHRINK, /* 1 - 1 / (1 + epsilon) */
    BF_CONST_LEAST,  /* less than any sum but that of no keys */
    BF_CONST_BITS,   /* 2^-23: the bits of a float as a fixed-point logarithm */
    BF_CONST_BIAS,
    BF_CONST_WORDS
};

/* Everything that follows from the kernel and the machine alone. */
struct bf_attention {
    const struct bf_operand *q, *k, *v, *mask, *y; /* mask NULL: none */
    const struct bf_operand *state;                /* NULL: the keys are one part */
    int64_t lanes, heads, kv_heads, queries, columns;
    int64_t all_keys, first_key, keys; /* of the kernel; of the part */
    bool begins, ends;                 /* the part with the first, with the last keys */
    int64_t first_column, end_column;  /* of every head: those that the plan computes */
    bool lane_mask, row_mask,
        table;      /* one mask value a key | one a query and key | from positions */
    int64_t unroll; /* keys of a phase, and columns */
    int64_t cover;  /* words that cover a row of a head of K, at most */
    int64_t chunks; /* phases of scores */
    int64_t column_phases, period, window;
    int64_t constant_words, constants, state_words, row_words, table_words, y_words,
        context_size;                       /* in a context */
    int64_t q_words, inverse, context_base; /* absolute */
};
struct bf_attention bf_attention_of(const struct bf_map *map, const struct bf_plan *plan);

/* First key of a chunk, from that of the part on, and how many it has. */
struct bf_key_chunk {
    int64_t key, count;
};
struct bf_key_chunk bf_attention_chunk(const struct bf_attention *a, int64_t chunk);
/* Columns of a head that one phase computes: lanes `lane`.. of word `word` of those that cover it.
 */
struct bf_column_chunk {
    int64_t word, lane, count;
};
/* Of a head that begins `offset` lanes into its first word; how many phases. */
int64_t bf_attention_columns(const struct bf_attention *a, int64_t offset,
                             struct bf_column_chunk chunks[BF_ATTENTION_COLUMNS]);

/* Whether the plan's blocks and bodies fit the array; before anything has an address. */
bool bf_attention_fits(struct bf_map *map, struct bf_plan *plan);
bool bf_attention_schedule(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);
bool bf_attention_verify(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);

#endif
