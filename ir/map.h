/* map.h - a network on the array: how each kernel lies on PEs, RAM and time, and the array program
 * that follows, complete but for the values of weights.
 *
 *     poly  --divide, tile, partition, stream, place-->  plans  --schedule-->  program + recipes
 *
 * A plan is one launch sequence of a kernel: the whole kernel, one stack or output block of it, or
 * one pass of a kernel that is divided through the scratchpad. The passes fill it from top to
 * bottom; the family's schedule turns it into blocks, bodies and a launch of map->program.
 *
 * The map's text is the poly text, then `after PASS`, places, plans and recipes, then the program
 * without its rodata. It can be printed after each pass; resuming runs the passes that are left.
 */
#ifndef BF_MAP_H
#define BF_MAP_H

#include "ir/isa/program.h"
#include "ir/poly.h"

/* Where a digit of an element index lies while a range of stages runs. */
enum bf_where {
    BF_AT_LANE,  /* in the lanes of a word */
    BF_AT_TILE,  /* in the iteration (or in which group of PEs) */
    BF_AT_PE,    /* bit `position` and up of the PE number */
    BF_AT_LOCAL, /* stride `position` in the words of the region */
};
struct bf_layout_digit {
    int digit; /* index in kernel->digits */
    enum bf_where where;
    int64_t position;
};
/* The layout of the arrays between statements first .. last (inclusive; statement indices). */
struct bf_layout {
    int first, last;
    struct {
        struct bf_layout_digit *data;
        size_t count, capacity;
    } digits;
};

/* A range of data RAM words of every PE; with `relative`, in the context of each iteration. */
struct bf_region {
    const char *name;
    int64_t base, words;
    bool relative;
};

/* Which block of the emitted code computes (moves) what: the truth that verify reads the bodies
 * against. */
struct bf_block_note {
    int id;     /* block id in the plan's kernel */
    int stmt;   /* statement it executes; -1 for FLOW */
    int layout; /* layout its reads are in; FLOW: source layout, destination is layout + 1 */
    const char *from, *to; /* regions read and written; "" for the scratchpad */
};

/* How weight words are made from named tensors, when encoding: no values in the map. The words of
 * set s and PE p begin at (s x pes + p) x words of the area; a shared set has pes = 1. */
struct bf_recipe {
    const char *kind; /* "butterfly", "twiddle", "dense", "rows", "tensor": ir/recipe.c's table */
    int plan;         /* whose layouts and ints it follows; -1: a tensor as it is */
    const char *name; /* of the plan or the tensor: the symbol of its words */
    struct bf_param_view view; /* "tensor": row-major elements */
    int64_t sets, pes, words;
    uint64_t rodata; /* byte offset of the area in rodata; place decides it */
    unsigned index;
};

struct bf_plan {
    const char *name; /* "k3", or "k3.1" for its second part */
    struct bf_poly_kernel *kernel;
    int part;        /* 0 .. */
    int first, last; /* statements of the kernel that this part runs */
    /* tile, partition: family-specific numbers, each explained where the family's file sets it. */
    struct bf_ints ints;
    struct {
        struct bf_layout *data;
        size_t count, capacity;
    } layouts;
    /* stream */
    int64_t window, context_base, context_size;
    struct {
        struct bf_region *data;
        size_t count, capacity;
    } regions;
    /* place: the part's operands in the scratchpad; temporaries that divide added are buffers too.
     */
    struct {
        struct bf_operand *data;
        size_t count, capacity;
    } inputs, outputs;
    int recipe;         /* weights of this plan, -1 if none */
    int64_t weight_spm; /* scratchpad word of its weight area, -1 if none */
    /* schedule */
    int code;   /* index in program->kernels, -1 for a COPY */
    int launch; /* index in program->launches, -1 for a COPY */
    struct {
        struct bf_block_note *data;
        size_t count, capacity;
    } notes;
    unsigned index;
};

/* Where a buffer lies in the scratchpad: V x V tiles, width columns (multiple of V); row r of
 * sample s is buffer row s x pitch + r. pitch is rows rounded up to V, or 1 when rows is 1. */
struct bf_place_of_buffer {
    int64_t spm;                  /* first word, -1: not in the scratchpad */
    int64_t width, pitch, height; /* height: all rows, multiple of V */
    int first, last;              /* plans between which it is alive */
};

struct bf_map {
    struct bf_poly *poly; /* owned */
    const char *after;    /* the last pass that ran, "" before the first */
    struct bf_machine machine;
    struct bf_arena arena;
    struct {
        struct bf_plan **data;
        size_t count, capacity;
    } plans; /* order of execution */
    struct {
        struct bf_recipe *data;
        size_t count, capacity;
    } recipes;
    struct bf_place_of_buffer *places; /* [poly->buffers.count], from `tile` on */
    int64_t zero_spm, one_spm;  /* a V x V tile of zeros and one of ones, filled at the start */
    struct bf_program *program; /* owned; rodata is NULL until encoding */
};

struct bf_map *bf_map_create(struct bf_poly *poly /* taken */, const struct bf_machine *machine);
void bf_map_free(struct bf_map *map); /* NULL is fine; frees poly and program */
struct bf_plan *bf_map_add_plan(struct bf_map *map, struct bf_poly_kernel *kernel, int part);
/* Whether two plans have equal named numbers and layouts. */
bool bf_plan_same_numbers(const struct bf_plan *a, const struct bf_plan *b);
/* Whether two plans pack the same words: the same numbers and layouts for kernels of one shape with
 * the same parameters, as slices of a sequence and loops over one layer have. */
bool bf_plan_same_weights(const struct bf_plan *a, const struct bf_plan *b);
/* For a plan whose numbers and layouts are final; the same one for a plan that packs the same
 * words. */
int bf_map_add_recipe(struct bf_map *map, const char *kind, const struct bf_plan *plan,
                      int64_t sets, int64_t pes, int64_t words);
/* The tensor itself, for DMA; the same one for the same view. */
int bf_map_add_tensor(struct bf_map *map, const struct bf_param_view *view);
int64_t bf_recipe_words(const struct bf_recipe *recipe);
int64_t bf_plan_int(const struct bf_plan *plan, const char *name); /* must exist */
void bf_plan_set(struct bf_map *map, struct bf_plan *plan, const char *name, int64_t value);
const struct bf_region *bf_plan_region(const struct bf_plan *plan, const char *name);
void bf_plan_add_region(struct bf_map *map, struct bf_plan *plan, const char *name, int64_t base,
                        int64_t words, bool relative);

/* Copies what a program shows of its compilation: name, options, file table. */
void bf_program_set_header(struct bf_program *program, const char *name,
                           const struct bf_header *header);

/* First scratchpad word of row `row` of sample `sample` of an operand's rectangle: column access
 * (the word of column 0; column c is c words further) or row access (columns 0 .. V-1). */
int64_t bf_map_column_word(const struct bf_map *map, const struct bf_operand *operand,
                           int64_t sample, int64_t row, int64_t column);
int64_t bf_map_row_word(const struct bf_map *map, const struct bf_operand *operand, int64_t sample,
                        int64_t row, int64_t column);

/* ---- building array code (ir/code.c): what the families' schedules share ---- */

struct bf_code {
    struct bf_map *map;
    struct bf_plan *plan;
    struct bf_kernel *kernel; /* being built */
    unsigned words;           /* CAL words so far */
};
void bf_code_begin(struct bf_code *code, struct bf_map *map, struct bf_plan *plan);
/* Adds a body (shared by all PEs) and returns its start; equal bodies are found again. */
unsigned bf_code_body(struct bf_code *code, const struct bf_cal *cal, unsigned count);
/* Adds a block for the PEs of the mask; joins an equal one of the same id. `d` is copied. */
void bf_code_block(struct bf_code *code, uint64_t pes, unsigned id, const char *name,
                   const struct bf_descriptor *d);
/* Gives up what was built, after an error. */
void bf_code_abandon(struct bf_code *code);
/* Checks limits of the machine (code words, block ids), shares the kernel if an equal one exists,
 * appends the launch; fills plan->code and plan->launch. Reports at the kernel's place what does
 * not fit: the resource, the need and the limit. */
bool bf_code_finish(struct bf_code *code, const struct bf_launch *launch, struct bf_diags *diags);
/* A descriptor with all trips 1, no targets, phases 0 .. 0. */
struct bf_descriptor bf_descriptor_new(enum bf_unit unit);
/* Turns strides of three loop levels (level 0 innermost) into the deltas that descriptors hold. */
void bf_deltas(const uint16_t trips[3], const int64_t strides[3], int64_t deltas[3]);
uint64_t bf_all_pes(const struct bf_machine *machine);
/* Whether a single weight set may span both halves: if a lane address (11 bits) reaches them; and
 * how many lanes such a set has then, else one half. */
bool bf_one_weight_set(const struct bf_machine *machine);
int64_t bf_weight_set_lanes(const struct bf_machine *machine);

/* ---- text and verification ---- */

void bf_map_print(const struct bf_map *map, struct bf_text *text);
/* What passes and checks may rely on: plans, operands, layouts, regions, places and indices, as far
 * as the passes up to map->after have filled them. */
bool bf_map_verify(const struct bf_map *map, struct bf_diags *diags);
/* The machine comes from the text's program. NULL with errors. */
struct bf_map *bf_map_parse(const char *text, size_t size, uint32_t file, struct bf_diags *diags);

#endif
