/* attention_verify.h - symbols of the value check of attention: what words and accumulators stand
 * for. attention_verify.c runs blocks on them, attention_symbols.c is what one instruction does. */
#ifndef BF_PASSES_ARRAY_ATTENTION_VERIFY_H
#define BF_PASSES_ARRAY_ATTENTION_VERIFY_H

#include "passes/array/attention.h"

enum bf_symbol_tag {
    BF_SYM_NOTHING,
    BF_SYM_ZERO,
    BF_SYM_Q,
    BF_SYM_K,
    BF_SYM_V,
    BF_SYM_CONSTANT,
    BF_SYM_LANE_MASK,
    BF_SYM_ROW_MASK,
    BF_SYM_POSITIONS,
    BF_SYM_VISIBLE,
    BF_SYM_HIDE,
    BF_SYM_HIDDEN,
    BF_SYM_SCORE,
    BF_SYM_LOW,
    BF_SYM_HIGH,
    BF_SYM_FLOOR,
    BF_SYM_MAXIMUM,
    BF_SYM_SCALED,
    BF_SYM_LOG2,
    BF_SYM_INTEGER_BITS,
    BF_SYM_INTEGER,
    BF_SYM_WHOLE_MAXIMUM,
    BF_SYM_SHIFT,     /* from the maximum before to this one */
    BF_SYM_KEEP_HALF, /* the maximum, read again */
    BF_SYM_BITS,      /* logarithm of the sum, */
    BF_SYM_LOG2_SUM,
    BF_SYM_EXPONENT_BITS,
    BF_SYM_EXPONENT,  /* as an integer */
    BF_SYM_SHIFT_OUT, /* and its negative */
    BF_SYM_SHIFTED_MAXIMUM,
    BF_SYM_X_FIRST,
    BF_SYM_X,
    BF_SYM_EXP,
    BF_SYM_P,
    BF_SYM_SUM,
    BF_SYM_BOUNDED,
    BF_SYM_INVERSE,
    BF_SYM_INVERSE_HIGH,
    BF_SYM_INVERSE_LOW,
    BF_SYM_OUT,
    BF_SYM_FIRST_Y,
    BF_SYM_Y,
    BF_SYM_STATE,      /* a word of the state before */
    BF_SYM_STATE_HALF, /* the first of its two words */
    BF_SYM_STATE_SUM,  /* both; index: 0 maximum, 1 sum, 2 + column */
    BF_SYM_KEEP,       /* a word of the state after */
};
enum { BF_SET_OF_COLUMNS = BF_MAX_TRIPS / 64 };

struct bf_symbol {
    enum bf_symbol_tag tag;
    int64_t index;  /* key, column, or which constant */
    int64_t column; /* of keys and values: of lane 0, from the head's first on; masks: sample of
                       lane 0 */
    unsigned masks; /* that are in it: bit 0 lanes, 1 rows, 2 positions, 3 of another
                       sample */
    bool joined;    /* what the state had is in it */
    bool shifted;   /* by the logarithm of the sum */
    uint64_t set[BF_SET_OF_COLUMNS]; /* columns or keys summed so far */
};

struct bf_attention_check {
    struct bf_map *map;
    struct bf_plan *plan;
    struct bf_attention a;
    struct bf_jobs jobs;
    const struct bf_kernel *code;
    const struct bf_launch *launch;
    struct bf_diags *diags;
    const struct bf_block *block[BF_BLOCKS];
    unsigned pe;
    int64_t phase, round1, round2;
    int64_t head, group, tile, sample; /* of the job */
    unsigned id;
    struct bf_symbol *ram, *weights, acc[16];
    uint64_t stored[2 * BF_SET_OF_COLUMNS + 1]; /* columns of y or of the state */
};

/* A, B and C of an instruction; what it has not is ZERO, the constant 1 a CONSTANT of index -1. */
struct bf_symbols {
    struct bf_symbol a, b, c;
};

/* What `cal` makes of its operands: NULL and the result, or why that is wrong. */
const char *bf_attention_operate(const struct bf_attention_check *v, const struct bf_cal *cal,
                                 const struct bf_symbols *o, struct bf_symbol *d);

#endif
