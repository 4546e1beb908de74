/* rows.h - the family of pointwise and row kernels, split by pass.
 *
 * A PE takes a tile of V lanes (rows; columns with lanes along columns) and works along the other
 * axis, a chunk of elements an iteration. Reductions divide a kernel into passes over the axis:
 *
 *     pass 0   init | element loop: sum of x         | finish: mean
 *     pass 1   init | element loop: sum of (x - m)^2 | finish: 1 / deviation
 *     pass 2   init | element loop: y
 *
 * init runs with the first chunk of a pass, finish with the last. Where the axis is one chunk, all
 * passes are one iteration; else every pass reads its operands again. Accumulators live on across
 * blocks and iterations: these kernels are strict.
 *
 * Where reductions are and PEs to spare, the axis lies across a group of PEs, a share on each: then
 * all passes are one iteration and not strict. Partial results are exchanged in pairs of words,
 * first along the rows of the mesh, then along its columns, and added in the same order everywhere,
 * so that all PEs of the group go on with the same bits (rows_sums.c, rows_chains.c).
 */
#ifndef BF_PASSES_ARRAY_ROWS_H
#define BF_PASSES_ARRAY_ROWS_H

#include "passes/array/family.h"

/* ---- shape ---- */

enum bf_rows_class {
    BF_ROWS_FULL,   /* an element for each lane and position */
    BF_ROWS_WORD,   /* the same along the axis: one word a tile */
    BF_ROWS_VECTOR, /* the same in all lanes: lanes of weight words */
    BF_ROWS_SCALAR, /* one number a sample: a lane of a weight word */
};

/* How iterations count. Passes are those of a reduction, or the heads of a rope, which has none. */
enum { BF_ROWS_AXES = 4 }; /* chunk, pass, inner tile, outer tile */

struct bf_rows_shape {
    const struct bf_poly_kernel *kernel;
    int64_t samples, rows, cols;
    int64_t n;           /* length of the axis worked along */
    bool columns;        /* lanes along columns */
    int64_t heads, head; /* of a rope: `cols` pairs each, a head `head` columns after another, */
    int64_t step;        /* a pair `step` columns; else 1, 0, 1 */
    bool packed;         /* lanes along rows, of samples with one row: lanes are samples */
    bool by_sample;      /* outer tiles are samples; else row tiles of all samples */
    int64_t pitch;       /* rows of a sample in its buffers */
};

struct bf_rows_shape bf_rows_shape(const struct bf_poly_kernel *kernel, int64_t lanes);
enum bf_rows_class bf_rows_class(const struct bf_rows_shape *shape, int input);
/* Whether output `index` is written once a tile, by a ROWMAP step. */
bool bf_rows_is_row_output(const struct bf_rows_shape *shape, int index);
/* Number of a VECTOR or SCALAR input among the weight vectors, after the parameters. */
int bf_rows_vector(const struct bf_rows_shape *shape, int input);
int bf_rows_vectors(const struct bf_rows_shape *shape);
/* Parameters alternate in the weight lanes, element by element, every `interleave` lanes: so the
 * lanes of an element are in one word, and one can be the addend of another's product. 1: one after
 * the other. */
int64_t bf_rows_interleave(const struct bf_rows_shape *shape, int64_t lanes);
/* Whether vector `v` has an element for each position (else it is one number). */
bool bf_rows_vector_moves(const struct bf_rows_shape *shape, int v);

/* ---- code for one element and for one row ---- */

enum bf_rows_place {
    BF_IN_NONE,
    BF_IN_TEMP_ACC,  /* temporary accumulator of the element */
    BF_IN_ROW_ACC,   /* accumulator that holds a row scalar during a pass */
    BF_IN_PART,      /* partial result of a reduction */
    BF_IN_INPUT,     /* FULL input: its element; WORD input: its word */
    BF_IN_OUTPUT,    /* output: its element, or its word */
    BF_IN_CONSTANT,  /* data RAM word with a constant in all lanes */
    BF_IN_KEEP,      /* data RAM word that keeps (part of) a row scalar between passes */
    BF_IN_TEMP_WORD, /* temporary data RAM word of the element */
    BF_IN_LANE,      /* constant in a weight lane */
    BF_IN_VECTOR,    /* VECTOR: the lane of the element; SCALAR: its lane */
    BF_IN_EXCHANGE,  /* data RAM word sent to, or received from, the PEs that share the tile */
    BF_IN_NUMBER,    /* index: enum bf_b_const as B; 0 or 1 as C */
};
struct bf_rows_operand {
    enum bf_rows_place place;
    int index;
};
struct bf_rows_ins {
    enum bf_cal_op op;
    bool negate_product, negate_addend;
    struct bf_rows_operand a, b, c, acc, word; /* acc, word: destinations */
    int stage;                                 /* of a loop */
};
struct bf_rows_list {
    struct bf_rows_ins *data;
    size_t count, capacity;
};

enum { BF_ROWS_PASSES = 6, BF_ROWS_LANES = 48, BF_ROWS_WORDS = 40, BF_ROWS_STEPS = 16 };

struct bf_rows_pass {
    struct bf_rows_list init, loop, finish;
    int row_accs;          /* accumulators that hold row scalars */
    int reductions, parts; /* partial accumulators of each reduction */
    int temp_accs;         /* of an element */
    int temp_words;        /* of an element */
    int stages;            /* of the loop: elements go through its body in so many trips */
    int finish_accs;       /* temporary accumulators of init and finish */
    int unroll;            /* elements of a loop body */
    int exponent;          /* words that the loop writes are scaled by 2^exponent */
    uint64_t outputs;      /* written by the loop */
    uint64_t row_outputs;  /* written by finish */
    /* Across PEs: init is all that runs between an exchange and the loop, finish is empty. */
    struct bf_rows_list send, relay; /* after the loop; between the exchanges of two levels */
    int exchange[2];                 /* words of the exchange of each level */
    int unit;                        /* words that one PE sends; a power of two */
    int init_accs, relay_accs;       /* temporary accumulators of init and relay */
};

struct bf_rows_program {
    struct bf_rows_pass pass[BF_ROWS_PASSES + 1]; /* across PEs, one more init follows the last */
    int passes;
    uint16_t lane[BF_ROWS_LANES], word[BF_ROWS_WORDS]; /* constants, fp16 */
    int lanes, words;
    int keep;               /* words that live on between passes */
    int temp_words;         /* for all elements of a body */
    int across;             /* PEs that share a tile; 1: a tile lies on one PE */
    int levels, members[2]; /* exchanges of a pass, PEs in each: along mesh rows, along columns */
    int exchange_words;
    int in_place; /* input whose words the output takes, -1: none */
};

/* An instruction of element u of a body. */
struct bf_rows_slot {
    const struct bf_rows_ins *ins;
    int u;
};
/* Orders a body so that it stalls little; returns the cycles of a trip in the long run. Uses parts
 * of the pass. */
int bf_rows_order(const struct bf_machine *machine, const struct bf_rows_pass *pass,
                  struct bf_rows_slot *slots, int count);

/* Instructions of stages first .. last, `unroll` elements each; `skewed`: each stage one group
 * behind the one before. Returns how many. */
int bf_rows_slots(const struct bf_rows_ins *items, int count, int first, int last, bool skewed,
                  int unroll, struct bf_rows_slot slots[BF_MAX_BODY]);
/* Chooses unroll, parts and stages of a pass, with bodies of at most `budget` words together, and
 * numbers the temporaries of its loop anew. */
void bf_rows_choose_body(const struct bf_machine *machine, struct bf_rows_pass *pass,
                         int most_stages, int budget);

/* For tiles that `group` PEs share, if there are reductions. Refuses with resource, need and limit
 * what does not fit a body or the accumulators; says nothing where `diags` is NULL. */
bool bf_rows_compile(const struct bf_map *map, const struct bf_rows_shape *shape, int64_t group,
                     struct bf_rows_program *program, struct bf_diags *diags);
void bf_rows_program_free(struct bf_rows_program *program);

/* ---- generating code (rows_expr.c), used by the functions of rows_functions.c ---- */

struct bf_rows_value {
    struct bf_rows_operand at; /* BF_IN_NONE: a number */
    bool negative;             /* stands for minus what lies there */
    double number;
};
struct bf_rows_gen;
struct bf_rows_value bf_rows_number(double number);
struct bf_rows_value bf_rows_constant(struct bf_rows_gen *gen,
                                      double number); /* a RAM word, fp16 */
struct bf_rows_value bf_rows_zero(void);              /* as operand C */
struct bf_rows_value bf_rows_negated(struct bf_rows_value value);
/* One instruction; its operands are released (temporaries can be used again), but for those that
 * bf_rows_hold protects. The result is in a temporary accumulator or, `word`, in a temporary RAM
 * word, rounded. */
struct bf_rows_value bf_rows_op(struct bf_rows_gen *gen, enum bf_cal_op op, struct bf_rows_value a,
                                struct bf_rows_value b, struct bf_rows_value c, bool word);
/* a x b + c with all the pieces that exact f32 constants need. */
struct bf_rows_value bf_rows_fma(struct bf_rows_gen *gen, struct bf_rows_value a,
                                 struct bf_rows_value b, struct bf_rows_value c);
void bf_rows_hold(struct bf_rows_gen *gen, struct bf_rows_value value);
void bf_rows_release(struct bf_rows_gen *gen, struct bf_rows_value value);
/* gelu, silu, ...: of x, which it releases. */
struct bf_rows_value bf_rows_function(struct bf_rows_gen *gen, enum bf_expr_kind kind,
                                      struct bf_rows_value x);

/* ---- plans ----
 *
 * Numbers of a plan: "chunk" elements an iteration; "chunks", "inner", "outer" how many of each
 * axis, "first" outer tile; "chunk_groups", "inner_groups", "outer_groups" how many at the same
 * time, PE = ((outer x inner_groups + inner) x head_groups + head) x chunk_groups + chunk; "passes"
 * that are iterations of their own, or heads; "lanes", "words" and "lane0" .. the constants (fp16
 * bits) of its recipe.
 */

struct bf_rows_plan {
    int64_t chunk, first;
    int64_t last; /* elements of the last chunk */
    int64_t count[BF_ROWS_AXES], groups[BF_ROWS_AXES], rounds[BF_ROWS_AXES];
    int64_t vector_words;            /* weight words of a vector */
    int64_t interleave, param_words; /* how parameters lie, words of all of them */
    int64_t lane_words;              /* weight words of constants: they come first */
    int64_t set_words; /* words of a set of the recipe: constants, parameters, constant words */
};
struct bf_rows_plan bf_rows_plan(const struct bf_rows_shape *shape, const struct bf_plan *plan,
                                 int64_t lanes);
/* Columns from one head of an operand to the next: 0 if all have the same. */
int64_t bf_rows_head_stride(const struct bf_rows_shape *shape, const struct bf_operand *operand);
/* Whether weights change from iteration to iteration. */
bool bf_rows_weights_vary(const struct bf_rows_shape *shape, const struct bf_rows_plan *plan);

/* Whether a lane address reaches both weight halves. */
bool bf_rows_one_set(const struct bf_machine *machine);

/* Where an operand lies: word of its first tile, how far the next one of each axis is. */
struct bf_rows_access {
    int64_t base, stride[BF_ROWS_AXES];
    bool row;
};
struct bf_rows_access bf_rows_input_access(const struct bf_map *map,
                                           const struct bf_rows_shape *shape,
                                           const struct bf_rows_plan *plan, int input);
struct bf_rows_access bf_rows_output_access(const struct bf_map *map,
                                            const struct bf_rows_shape *shape,
                                            const struct bf_rows_plan *plan, int output);

/* ---- passes ---- */

bool bf_rows_schedule(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);
bool bf_rows_verify(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);

#endif
