/* poly.h - a network as polyhedral kernels over linear buffers: target-neutral mathematics.
 *
 *     net  --select-->  poly: buffers, and kernels in the order in which they run
 *
 * A kernel is one operator group. Inside it an element index is a tuple of mixed-radix digits
 * (d0 is the least significant), so that a stage acts along one digit, every access is a
 * projection and no relation has a div. Kernels meet in linear two-dimensional buffers; padding is
 * a guard on the access at the boundary. Every array is written once: dependences are W . R^-1.
 *
 * Nothing here knows the array: radix 2 (3 and 5 as they are), no packing, no scaling, no tiles.
 *
 * Memory: everything lives in poly->arena, except isl objects, which poly owns and frees. isl
 * pointers may be NULL after an isl error (the context is set to continue); verify reports it.
 */
#ifndef BF_POLY_H
#define BF_POLY_H

#include <isl/ctx.h>
#include <isl/map.h>
#include <isl/set.h>

#include "ir/net.h"

/* ---- buffers ---- */

enum bf_buffer_kind {
    BF_BUFFER_INPUT,  /* a network input */
    BF_BUFFER_OUTPUT, /* a network output (also read by later kernels) */
    BF_BUFFER_PARAM,  /* a tensor of the weights used as an activation (positions, constants) */
    BF_BUFFER_TEMP,
};

/* samples x rows x cols fp16 elements, for all samples of the batch (samples = 1 for a PARAM, which
 * every sample shares). A tensor of one sample [.., r, c] has rows = r, cols = c and its leading
 * axes as further samples; [c] has rows = 1. A complex tensor is two buffers. */
struct bf_buffer {
    const char *name; /* unique: the tensor's name, "v12" for the value of operator 12, "v12.im" */
    enum bf_buffer_kind kind;
    enum bf_dtype
        dtype; /* as declared; u8 masks are fp16 0 or 1, i32 ids are read by COPY kernels only */
    int64_t samples, rows, cols;
    int exponent;              /* true value = stored value x 2^exponent */
    const char *tensor;        /* INPUT, OUTPUT: network name; the elements of a sample begin at */
    int64_t origin;            /* element `origin` of its tensor and lie row-major, row after row */
    struct bf_param_view view; /* PARAM: rank 1 or 2 */
    bool in_dram;              /* never whole in the scratchpad: only COPY kernels touch it */
    struct bf_loc loc;
    unsigned index; /* in poly->buffers */
};

/* A rectangle of a buffer, the same in every sample. */
struct bf_operand {
    struct bf_buffer *buffer;
    int64_t row, col, rows, cols;
};

/* ---- expressions of pointwise and row kernels ---- */

enum bf_expr_kind {
    BF_EXPR_ARG,   /* element of inputs[index], broadcast along axes where that operand has extent 1
                    */
    BF_EXPR_PARAM, /* element of params[index], a vector along the columns */
    BF_EXPR_ROW,   /* result of step `index` (a reduction or a row scalar) */
    BF_EXPR_CONST, /* value */
    BF_EXPR_ADD,
    BF_EXPR_SUB,
    BF_EXPR_MUL,
    BF_EXPR_MAX, /* two operands */
    BF_EXPR_NEG,
    BF_EXPR_EXP2,
    BF_EXPR_RCP,
    BF_EXPR_RSQRT,
    BF_EXPR_ABS,    /* one operand */
    BF_EXPR_SELECT, /* a >= 0 ? b : c */
    BF_EXPR_SHIFT,  /* a x 2^index */
    BF_EXPR_GELU,
    BF_EXPR_GELU_TANH,
    BF_EXPR_RELU,
    BF_EXPR_SILU,
    BF_EXPR_TANH,
    BF_EXPR_SIGMOID,
};
struct bf_expr {
    enum bf_expr_kind kind;
    struct bf_expr *a, *b, *c;
    int index;
    double value;
};

enum bf_step_kind {
    BF_STEP_SUM, /* over the reduced axis, of expr; f32, in order of the columns (rows) */
    BF_STEP_MAX,
    BF_STEP_ROW,    /* expr of earlier steps and constants: once a row (column) */
    BF_STEP_MAP,    /* outputs[index] = expr, one rounding */
    BF_STEP_ROWMAP, /* outputs[index] (extent 1 along the reduced axis) = expr of earlier steps */
};
struct bf_step {
    enum bf_step_kind kind;
    struct bf_expr *expr;
    int index; /* MAP, ROWMAP: which output */
};

/* ---- statements ---- */

/* In the order of a tuple: "s" (samples), "t" (rows), then "d9" .. "d0". */
struct bf_digit {
    const char *name; /* the index is the sum of weight x digit */
    int64_t radix;
    int64_t weight;     /* in the operands that are read */
    int64_t out_weight; /* in those written: other than weight where an FFT reverses its digits */
};

enum bf_stmt_kind {
    BF_STMT_LOAD,   /* buffer element -> digits; the guard is the padding (0 outside) */
    BF_STMT_BPMM,   /* 2x2 butterfly along one digit */
    BF_STMT_FFT,    /* radix-r DFT stage along one digit */
    BF_STMT_STORE,  /* digits -> buffer element */
    BF_STMT_DOT,    /* P[.., k+1] = P[.., k] + x w */
    BF_STMT_POINT,  /* a MAP step */
    BF_STMT_REDUCE, /* a SUM or MAX step */
    BF_STMT_ROW,    /* a ROW step */
    BF_STMT_COPY,
};
enum bf_role { BF_READ, BF_WRITE };
struct bf_access {
    enum bf_role role;
    const char *array; /* SSA array "X3" inside the kernel, "W3" weights; at the boundary "in0",
                          "out1": an operand's buffer (bf_is_boundary) */
    int operand;       /* which operand of the statement: e of a pair, 0.. */
    isl_map *map;      /* domain -> array element; one basic map */
};
struct bf_stmt {
    const char *name; /* "B3" */
    enum bf_stmt_kind kind;
    int digit;        /* acted digit (index in digits), -1 if none */
    int block, stage; /* BPMM: twiddle[stack][block][stage] */
    int shift;        /* results are multiplied by 2^-shift before they are stored */
    int step;         /* POINT, REDUCE, ROW: index in steps */
    isl_set *domain;
    struct {
        struct bf_access *data;
        size_t count, capacity;
    } accesses;
    struct bf_loc loc;
};
struct bf_dep {
    int from, to; /* statement indices */
    const char *array;
    isl_map *map; /* instance of `from` -> instance of `to` */
};

/* ---- kernels ---- */

enum bf_kernel_kind {
    BF_KERNEL_BUTTERFLY, /* inputs: x; params: twiddle, bias?; attrs n, stacks, blocks, increasing
                          */
    BF_KERNEL_FFT,       /* inputs: re, im?; outputs: re?, im?; attrs n, inverse */
    BF_KERNEL_DENSE,     /* inputs: x; params: weight, bias? */
    BF_KERNEL_ROWS, /* inputs, params, steps: pointwise operators and reductions along one axis;
                       attrs heads, head, step of a rope: operands begin at an element of the first
                       pair, heads are `head` columns apart, pairs `step` */
    BF_KERNEL_ATTENTION, /* inputs: q, k, v, mask?; attrs heads, kv_heads, causal, window (-1: none)
                          */
    /* inputs: x; params: weight [blocks, out, in], bias?; attr blocks: output o of block b is
     * column o x blocks + b */
    BF_KERNEL_BLOCK_DENSE,
    /* inputs: x; params: twiddle [out tiles, in tiles, 1, ..], bias?; attrs tile, increasing */
    BF_KERNEL_BLOCK_BUTTERFLY,
    BF_KERNEL_TRANSPOSE, /* inputs: x; outputs: rows and columns of x swapped, sample by sample */
    BF_KERNEL_COPY, /* by DMA alone: inputs: ids, params: table (gather), or one input (copy) */
};

/* Along which axis of its operands the lanes of the array lie: independent rows or independent
 * columns. The other axis is worked along: transformed, summed. */
enum bf_lane_axis { BF_LANES_ROWS, BF_LANES_COLS };

struct bf_named_int {
    const char *name;
    int64_t value;
};
struct bf_ints {
    struct bf_named_int *data;
    size_t count, capacity;
};
int64_t bf_ints_get(const struct bf_ints *ints, const char *name); /* must exist, else aborts */
/* While a text is resumed, whose numbers may be missing, bf_ints_get jumps to the guard instead. */
struct bf_ints_guard {
    jmp_buf target;
    char missing[64]; /* the name */
};
void bf_ints_set_guard(struct bf_ints_guard *guard); /* NULL: none */
int64_t bf_ints_find(const struct bf_ints *ints, const char *name, int64_t missing);
void bf_ints_set(struct bf_ints *ints, struct bf_arena *arena, const char *name, int64_t value);

struct bf_kernel_param {
    const char *role; /* "twiddle", "weight", "bias", "gamma", "table" */
    struct bf_param_view view;
};

struct bf_poly_kernel {
    const char *name; /* "k3" */
    const char *what; /* "encoder.0.ffn.fc1 butterfly" */
    enum bf_kernel_kind kind;
    enum bf_lane_axis lanes;
    struct {
        struct bf_operand *data;
        size_t count, capacity;
    } inputs, outputs;
    struct {
        struct bf_kernel_param *data;
        size_t count, capacity;
    } params;
    struct bf_ints attrs;
    struct {
        struct bf_step *data;
        size_t count, capacity;
    } steps;
    struct {
        struct bf_digit *data;
        size_t count, capacity;
    } digits;
    struct {
        struct bf_stmt *data;
        size_t count, capacity;
    } stmts;
    struct {
        struct bf_dep *data;
        size_t count, capacity;
    } deps;
    struct bf_loc loc;
    unsigned index;
    bool
        shared; /* digits, statements and dependences are those of an earlier kernel of its shape */
};

struct bf_poly {
    struct bf_arena arena;
    isl_ctx *isl;
    const char *name; /* of the network */
    struct bf_header header;
    /* All parameters of the net, in its order. */
    struct {
        struct bf_param **data;
        size_t count, capacity;
    } params;
    struct {
        struct bf_buffer **data;
        size_t count, capacity;
    } buffers;
    struct {
        struct bf_poly_kernel **data;
        size_t count, capacity;
    } kernels; /* order of execution */
    /* Network inputs and outputs as declared, in order: name, dtype, shape of one sample. */
    struct {
        struct bf_poly_tensor {
            const char *name;
            bool output;
            struct bf_type type;
        } *data;
        size_t count, capacity;
    } tensors;
};

struct bf_poly *bf_poly_create(const char *name);
void bf_poly_free(
    struct bf_poly *poly); /* NULL is fine; frees the isl context: a leak aborts tests */
/* Copies a header, and a view whose parameter becomes one of poly->params, into poly's arena. */
void bf_poly_set_header(struct bf_poly *poly, const struct bf_header *header);
struct bf_param *bf_poly_param(struct bf_poly *poly, const struct bf_param *param);
struct bf_param_view bf_poly_view(struct bf_poly *poly, const struct bf_param_view *view);
struct bf_buffer *bf_poly_add_buffer(struct bf_poly *poly, const char *name,
                                     enum bf_buffer_kind kind);
struct bf_buffer *bf_poly_find_buffer(const struct bf_poly *poly, const char *name);
struct bf_poly_kernel *bf_poly_add_kernel(struct bf_poly *poly, enum bf_kernel_kind kind);
/* Frees what a kernel holds of isl and lists, when it is taken out of poly->kernels. */
void bf_poly_drop_kernel(struct bf_poly_kernel *kernel);
struct bf_operand bf_operand_whole(struct bf_buffer *buffer);
bool bf_operand_inside(const struct bf_operand *operand); /* of its buffer, and not empty */
const struct bf_kernel_param *bf_kernel_find_param(const struct bf_poly_kernel *kernel,
                                                   const char *role); /* NULL if absent */
struct bf_expr *bf_expr_new(struct bf_poly *poly, enum bf_expr_kind kind, struct bf_expr *a,
                            struct bf_expr *b);

/* ---- statements and dependences (ir/poly_stmt.c) ---- */

/* Appends a statement over the digits of `mask` (bit i: digit i) with a box domain. */
struct bf_stmt *bf_poly_add_stmt(struct bf_poly *poly, struct bf_poly_kernel *kernel,
                                 const char *name, enum bf_stmt_kind kind, uint64_t mask);
/* An access of `stmt` to array[digits of mask, in order]: digits the statement does not have are
 * free within their radix, those it has are equal; `fixed` >= 0 fixes digit `fixed_digit` to it. */
void bf_poly_add_access(struct bf_poly *poly, struct bf_poly_kernel *kernel, struct bf_stmt *stmt,
                        enum bf_role role, const char *array, uint64_t mask, int operand,
                        int fixed_digit, int64_t fixed);
/* An access to a linear buffer: array[sample, row, column], where row and column are the origin of
 * the operand plus the sum of weight x digit over row_mask and column_mask, guarded by the
 * operand's rows and cols. `sample` is the digit that counts samples, -1: sample 0 (a PARAM). */
void bf_poly_add_boundary(struct bf_poly *poly, struct bf_poly_kernel *kernel, struct bf_stmt *stmt,
                          enum bf_role role, const struct bf_operand *operand, int sample,
                          uint64_t row_mask, uint64_t column_mask);
/* All accesses of a statement to an array in a role, as one map; NULL if there is none. */
__isl_give isl_map *bf_stmt_accesses(const struct bf_stmt *stmt, enum bf_role role,
                                     const char *array);
/* Whether an access goes to a buffer. */
bool bf_is_boundary(const char *array);
/* Equal but for which buffers and parameters of equal shape they use. */
bool bf_poly_same_shape(const struct bf_poly_kernel *a, const struct bf_poly_kernel *b);
/* If an earlier kernel has the same shape (kind, attributes, operands, steps), takes over its
 * digits, statements and dependences. For builders, before they make their own. */
bool bf_poly_share_structure(struct bf_poly *poly, struct bf_poly_kernel *kernel);
/* Fills kernel->deps: W . R^-1 for every array of the kernel that is written and read in it. */
void bf_poly_compute_deps(struct bf_poly *poly, struct bf_poly_kernel *kernel);

/* ---- text and verification ---- */

void bf_poly_print(const struct bf_poly *poly, struct bf_text *text);
/* NULL with errors. `file` names the text in diags->sources. */
struct bf_poly *bf_poly_parse(const char *text, size_t size, uint32_t file, struct bf_diags *diags);
/* The body without header and file table: also the first part of a map text. */
void bf_poly_print_body(const struct bf_poly *poly, struct bf_text *text);
/* Stops at the first line that is none of a poly text. */
bool bf_poly_parse_body(struct bf_reader *reader, struct bf_poly *poly);
/* Pieces that map texts have too: an operand after `word`, named numbers, `name=value`. */
void bf_operand_print(const struct bf_operand *operand, const char *word, struct bf_text *text);
bool bf_operand_parse(struct bf_reader *reader, const struct bf_poly *poly,
                      struct bf_operand *operand);
void bf_view_print(const struct bf_param_view *view, struct bf_text *text);
bool bf_view_parse(struct bf_reader *reader, const struct bf_poly *poly,
                   struct bf_param_view *view);
void bf_ints_print(const struct bf_ints *ints, const char *word, struct bf_text *text);
bool bf_ints_parse(struct bf_reader *reader, struct bf_ints *ints);
bool bf_reader_field(struct bf_reader *reader, const char *name, int64_t *value);

/* Writes are injective; deps are exactly W . R^-1; reads of a kernel's arrays lie inside what is
 * written; boundary accesses stay inside their operands; operands inside buffers; a buffer is
 * written once (each element by one kernel) before it is read; names unique. */
bool bf_poly_verify(const struct bf_poly *poly, struct bf_diags *diags);

#endif
