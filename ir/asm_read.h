/* asm_read.h - private to ir/asm*.c: the state of a reader of assembly text, and the table of
 * attributes that printing and reading share. */
#ifndef BF_ASM_READ_H
#define BF_ASM_READ_H

#include "ir/asm.h"

/* ---- attributes ---- */

enum bf_asm_kind {
    BF_FIELD_NUMBER,  /* low .. high */
    BF_FIELD_MODULO,  /* signed, modulo 2^bits */
    BF_FIELD_WORD,    /* one of words[] */
    BF_FIELD_BLOCK,   /* block ids, "-" is none */
    BF_FIELD_CLASSES, /* bit mask, printed as a list */
    BF_FIELD_PES,     /* bit mask, printed as ranges */
    BF_FIELD_PHASES,  /* two bytes, first and last */
    BF_FIELD_ADDRESS, /* DRAM byte; a name by hand */
    BF_FIELD_HALF,    /* fp16 bits; a number with a point by hand */
};
struct bf_asm_field {
    const char *key;
    enum bf_asm_kind kind;
    unsigned units; /* blocks: bit enum bf_unit for those that have it */
    size_t offset;
    unsigned size, count; /* bytes of an element; elements */
    int64_t initial;      /* when left out */
    int64_t low, high;    /* NUMBER; MODULO: high is the number of bits */
    const char *const *words;
    bool always; /* printed even when it has the initial value */
};
/* Each ends in an entry without key. Offsets are those of bf_block, bf_launch, bf_dma and
 * bf_value_place. */
extern const struct bf_asm_field bf_asm_block_fields[], bf_asm_launch_fields[], bf_asm_dma_fields[],
    bf_asm_value_fields[];

/* Fields of the table that belong to `unit` get their initial values. */
void bf_asm_fields_init(const struct bf_asm_field *fields, unsigned unit, void *record);
void bf_asm_fields_print(const struct bf_asm_field *fields, unsigned unit, const void *record,
                         struct bf_text *text);
int64_t bf_asm_field_get(const struct bf_asm_field *field, const void *record, unsigned i);
void bf_asm_field_set(const struct bf_asm_field *field, void *record, unsigned i, int64_t value);

extern const char *const bf_asm_unit_names[4];
extern const char *const bf_asm_tensor_kinds[], *const bf_asm_dtypes[], *const bf_asm_dma_kinds[];

/* ---- the reader ---- */

struct bf_asm_label { /* .body */
    const char *name;
    unsigned start, end;
};
enum bf_asm_symbol_kind { BF_SYMBOL_DATA, BF_SYMBOL_LAUNCH, BF_SYMBOL_DMA };
struct bf_asm_symbol {
    enum bf_asm_symbol_kind kind;
    const char *name;
    uint64_t value;
};
/* A name that can be used before it is known: resolved at the end. */
enum bf_asm_use { BF_USE_LAUNCH_KERNEL, BF_USE_SEQ, BF_USE_DMA_DRAM, BF_USE_DMA_IDS };
struct bf_asm_fixup {
    enum bf_asm_use use;
    size_t index; /* of the launch, sequencer instruction, DMA record */
    const char *name;
    uint64_t addend;
    struct bf_loc loc;
};
struct bf_asm_body_use { /* body=NAME of a block of the current kernel */
    size_t block;
    const char *name;
    struct bf_loc loc;
};
struct bf_asm_part { /* where a part of the program came from */
    struct bf_program_part part;
    struct bf_loc loc;
};

#define BF_VECTOR(T)                                                                               \
    struct {                                                                                       \
        T *data;                                                                                   \
        size_t count, capacity;                                                                    \
    }
struct bf_asm {
    struct bf_program *program;
    struct bf_diags *diags;
    struct bf_arena arena;
    const char *at, *end, *line_start;
    uint32_t file, line;

    enum { BF_IN_TOP, BF_IN_CODE, BF_IN_SEQ, BF_IN_RODATA, BF_IN_WEIGHTS } mode;
    bool open;            /* a .kernel has begun and not ended */
    bool has_hash, whole; /* whole: header and data belong to the text */
    uint64_t arch_hash;
    bool dram_given, has_numbers;  /* of the machine */
    BF_VECTOR(bool) tensor_placed; /* has a dram= of its own */
    BF_VECTOR(char *) files;
    BF_VECTOR(struct bf_kernel) kernels;
    BF_VECTOR(struct bf_segment) segments; /* of the current kernel, like the next four */
    BF_VECTOR(struct bf_block) blocks;
    BF_VECTOR(uint64_t) words; /* of the current segment */
    BF_VECTOR(struct bf_asm_label) labels;
    BF_VECTOR(struct bf_asm_body_use) body_uses;
    size_t first_label; /* of the current segment */
    BF_VECTOR(struct bf_seq) sequence;
    BF_VECTOR(struct bf_launch) launches;
    BF_VECTOR(struct bf_dma) dmas;
    BF_VECTOR(struct bf_tensor_place) tensors;
    BF_VECTOR(struct bf_value_place) values;
    BF_VECTOR(struct bf_asm_symbol) symbols;
    BF_VECTOR(struct bf_asm_fixup) fixups;
    BF_VECTOR(struct bf_asm_part) parts;
    uint64_t jobs; /* DMA jobs so far: waitd all */
    struct bf_text rodata, net, weights;
    bool has_net, has_weights;
};

struct bf_loc bf_asm_loc(const struct bf_asm *a, const char *at);
/* Reports at `from`, underlining up to the current place. Returns false. */
bool bf_asm_error(struct bf_asm *a, const char *from, const char *format, ...) BF_PRINTF(3, 4);
void bf_asm_blanks(struct bf_asm *a);
bool bf_asm_line_end(struct bf_asm *a); /* after blanks and a comment */
bool bf_asm_accept(struct bf_asm *a, const char *token);
bool bf_asm_expect(struct bf_asm *a, const char *token);
/* Letters, digits, '_', '.' and '-', in the arena; NULL if there are none (no message). */
const char *bf_asm_word(struct bf_asm *a);
/* A word that begins with a letter or '_', or a quoted string; NULL after a message. */
const char *bf_asm_name(struct bf_asm *a, const char *what);
const char *bf_asm_string(struct bf_asm *a);
bool bf_asm_at_number(const struct bf_asm *a);
bool bf_asm_number(struct bf_asm *a, const char *what, int64_t low, int64_t high, int64_t *value);
bool bf_asm_half(struct bf_asm *a, uint16_t *bits);
bool bf_asm_place(struct bf_asm *a, struct bf_place *place); /* loc(F,L,C) */
/* "cal.3" or a plain id; with `none`, "-" is BF_NO_BLOCK. */
bool bf_asm_block_id(struct bf_asm *a, bool none, uint8_t *id);
bool bf_asm_pes(struct bf_asm *a, uint64_t *pes);
/* The value of an attribute whose key and '=' are read. */
bool bf_asm_field_read(struct bf_asm *a, const struct bf_asm_field *field, void *record);
const struct bf_asm_field *bf_asm_field_find(const struct bf_asm_field *fields, unsigned unit,
                                             const char *key);
/* "key=": the key, or NULL after a message. */
const char *bf_asm_key(struct bf_asm *a);
bool bf_asm_unknown_key(struct bf_asm *a, const char *from, const char *key,
                        const struct bf_asm_field *fields, unsigned unit);
void bf_asm_add_part(struct bf_asm *a, enum bf_part_kind kind, size_t index, size_t item,
                     size_t word);

/* asm_cal.c: one instruction; asm_kernel.c: what belongs to kernels. */
bool bf_asm_cal(struct bf_asm *a, uint64_t *word);
bool bf_asm_kernel(struct bf_asm *a); /* .kernel */
bool bf_asm_code(struct bf_asm *a);   /* .code */
bool bf_asm_body(struct bf_asm *a);   /* .body */
bool bf_asm_block(struct bf_asm *a);  /* .block */
bool bf_asm_instruction(struct bf_asm *a);
void bf_asm_end_segment(struct bf_asm *a);
void bf_asm_end_kernel(struct bf_asm *a);

/* asm_finish.c: hands everything over to the program, also after errors; checks it if there were
 * none but `errors` before. */
void bf_asm_finish(struct bf_asm *a, unsigned errors);

#endif
