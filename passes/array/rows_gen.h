/* rows_gen.h - what the files that generate code for rows share: the state of generating one list
 * of instructions, and values. */
#ifndef BF_PASSES_ARRAY_ROWS_GEN_H
#define BF_PASSES_ARRAY_ROWS_GEN_H

#include "ir/isa/fp.h"
#include "passes/array/rows.h"

typedef struct bf_rows_value value;

struct bf_rows_gen {
    const struct bf_rows_shape *shape;
    const struct bf_poly_kernel *kernel;
    struct bf_rows_program *program;
    struct bf_rows_pass *pass;
    struct bf_rows_list *list;
    int64_t lanes;  /* of a word */
    bool row_level; /* code of finish: once a row */
    int acc_holds[16], word_holds[16];
    int acc_peak, word_peak;
    int row_acc[BF_ROWS_STEPS]; /* accumulator of a step's scalar in this pass, -1 */
    int pair[BF_ROWS_STEPS];    /* keep words: raw low and high half, -1 */
    int factor[BF_ROWS_STEPS];  /* keep words: hi, lo, exponent, -1 */
    int part[BF_ROWS_STEPS];    /* number of the reduction in its pass */
    int ready[BF_ROWS_STEPS];   /* pass at whose end the step is known */
    int loop_acc[BF_ROWS_PASSES + 1][BF_ROWS_STEPS]; /* row_acc of every pass */
    value live[BF_ROWS_STEPS]; /* where code between passes has the scalar already; else a number */
    int scale[BF_ROWS_STEPS];  /* partial results are the step's times 2^-scale */
};

static inline value at(enum bf_rows_place place, int index) {
    return (value){{place, index}, false, 0};
}

static inline bool is_number(value v) {
    return v.at.place == BF_IN_NONE;
}

static inline value nothing(void) {
    return bf_rows_number(0);
}

/* ---- rows_compile.c ---- */

void bf_rows_begin(struct bf_rows_gen *g, int pass, struct bf_rows_list *list, bool row_level);
/* Makes the last instruction write `to` instead of a temporary; adds one if it can't. */
void bf_rows_send(struct bf_rows_gen *g, value v, enum bf_rows_place place, int index);
/* The raw halves of an accumulator into two words. */
void bf_rows_store_pair(struct bf_rows_gen *g, value v, enum bf_rows_place place, int index);
/* The pieces and the exponent of an accumulator, which it releases, into three words. */
void bf_rows_store_factor(struct bf_rows_gen *g, value v, int index);
/* What a partial result of a step begins with, to accumulator `index` of a kind. */
void bf_rows_start_part(struct bf_rows_gen *g, int step, enum bf_rows_place place, int index);

/* ---- rows_sums.c ---- */

/* The code between the passes of a program across PEs; its loops are there. */
void bf_rows_generate_sums(struct bf_rows_gen *g);

/* ---- rows_value.c ---- */

value bf_rows_new_temp(struct bf_rows_gen *g, bool word);
/* A constant as factor B, rounded to fp16. */
value bf_rows_factor(struct bf_rows_gen *g, double number);
/* In a RAM word or an accumulator, as operand A or C (`may_be_special`: 0 and 1 are C's own). */
value bf_rows_as_addend(struct bf_rows_gen *g, value v, bool may_be_special);
/* Whether it can be operand B, and as that. */
bool bf_rows_is_factor(value v);
value bf_rows_as_factor(struct bf_rows_gen *g, value v);
value bf_rows_plain_fma(struct bf_rows_gen *g, value a, value b, value c);
value bf_rows_add(struct bf_rows_gen *g, value a, value c);
value bf_rows_scaled(struct bf_rows_gen *g, value a, int by); /* a x 2^by */
/* Stores the pieces of m, an accumulator, in two words; releases m. */
void bf_rows_split(struct bf_rows_gen *g, value m, value *hi, value *lo);
/* A row scalar b as m x 2^e: the word of e, and m in an accumulator. */
value bf_rows_normalised(struct bf_rows_gen *g, value b, value *exponent);
/* a x the scalar of step `step`. */
value bf_rows_times_row(struct bf_rows_gen *g, value a, int step, bool negative);
/* a x b + c, |b| < 2^bound; c an addend. */
value bf_rows_product(struct bf_rows_gen *g, value a, value b, value c, int bound);

/* ---- rows_expr.c ---- */

value bf_rows_generate(struct bf_rows_gen *g, const struct bf_expr *e);
bool bf_rows_is_product(const struct bf_expr *e); /* MUL or SHIFT */
value bf_rows_generate_product(struct bf_rows_gen *g, const struct bf_expr *e, bool negative,
                               value c);
bool bf_rows_same_expr(const struct bf_expr *a, const struct bf_expr *b);
/* |value| < 2^bound as far as it is known; what is not known is taken to be an fp16 number. */
int bf_rows_bound(const struct bf_rows_gen *g, const struct bf_expr *e);
/* The keep words of a step's raw halves, made when first wanted; and loading them. */
int bf_rows_pair(struct bf_rows_gen *g, int step);
value bf_rows_load_pair(struct bf_rows_gen *g, int pair, struct bf_rows_operand acc);

#endif
