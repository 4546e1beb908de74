/* isa.h - the words of the array: CAL instructions (64 bit), block descriptors (256 bit), DMA
 * descriptors, launches, sequencer instructions; their fields and their encodings.
 *
 * docs/machine.md gives the meaning of every event; the comments here give that of every field.
 *
 * Addresses. Every RAM address is a word address modulo the RAM. Iteration i runs in slot i mod W;
 * its context begins at context_base + slot x context_size. A weight operand is addressed inside
 * the half that the slot's group uses (inside both halves as one when the launch has one weight
 * set), as word x V + lane for a lane, as the word number for a word.
 *
 * Loops. A block runs its body trips[0] x trips[1] x trips[2] times, level 0 innermost. Four
 * address classes each keep an offset, 0 at the start of the block. When a level advances (the
 * levels below it wrap to 0), delta[level] is ADDED: what is stored is the stride of the level
 * minus the travel of the inner levels.
 */
#ifndef BF_ISA_ISA_H
#define BF_ISA_ISA_H

#include "ir/isa/base.h"
#include "ir/isa/machine.h"

/* ---- CAL instructions ----
 *
 *  63 59 58 57 56 55 54 51 50   41 40 39 38   29 28 27 26   17 16 15 14 13 12       2 1 0
 * +-----+--+--+-----+-----+-------+-----+-------+-----+-------+-----+-----+----------+---+
 * | op  |np|na| dst | acc |   D   | cD  |   A   | cA  |   C   | cC  |kindB|    B     |cB |
 * +-----+--+--+-----+-----+-------+-----+-------+-----+-------+-----+-----+----------+---+
 */
enum bf_cal_op {
#define BF_CAL(NAME, code, text, operands, result, what) BF_CAL_##NAME = (code),
#include "ir/isa/opcodes.def"
};

enum { BF_DST_ACC = 1, BF_DST_RAM = 2 }; /* or'ed; never 0 */
enum { BF_CLASSES = 4, BF_LEVELS = 3 };

/* Class 3 of A: the operand is accumulator A[3:0].
 * Class 3 of C: C[9:8] chooses; an accumulator in C[3:0], or the lane C[4:0] after B's (modulo V,
 * same weight word; B must then be a lane or a weight word, whose own lane counts as 0). */
enum { BF_CLASS_SPECIAL = 3 };
enum bf_c_kind { BF_C_ACC = 0, BF_C_ZERO = 1, BF_C_ONE = 2, BF_C_LANE = 3 };

enum bf_b_kind {
    BF_B_LANE = 0,   /* one lane of a weight word, broadcast; B = word x V + lane */
    BF_B_DATA = 1,   /* a word of the data RAM */
    BF_B_WEIGHT = 2, /* a word of the weight RAM, lane by lane */
    BF_B_CONST = 3,  /* B[1:0]: 0, 1, 2, 0.5 */
};
enum bf_b_const { BF_B_ZERO = 0, BF_B_ONE = 1, BF_B_TWO = 2, BF_B_HALF = 3 };

struct bf_cal {
    uint8_t op; /* enum bf_cal_op */
    bool negate_product, negate_addend;
    uint8_t dst;      /* BF_DST_ACC | BF_DST_RAM */
    uint8_t acc;      /* 0..15, destination accumulator */
    uint16_t d, a, c; /* 10 bit */
    uint8_t d_class, a_class, c_class;
    uint8_t b_kind; /* enum bf_b_kind */
    uint16_t b;     /* 11 bit */
    uint8_t b_class;
};

/* Fields an operation does not read must be 0 (canonical form; decode refuses others), an unused
 * destination too. */
uint64_t bf_cal_encode(const struct bf_cal *cal);
bool bf_cal_decode(uint64_t word, struct bf_cal *cal, struct bf_error *error);
/* Legal on this machine: op known and its destinations allowed, accumulators exist, special
 * functions exist, addresses inside the RAMs. */
bool bf_cal_check(const struct bf_cal *cal, const struct bf_machine *machine,
                  struct bf_error *error);
/* Bits 1, 2, 4: reads A, B, C. */
unsigned bf_cal_operands(enum bf_cal_op op);
unsigned bf_cal_results(enum bf_cal_op op); /* BF_DST_ACC, BF_DST_RAM: where results may go */
bool bf_cal_special(enum bf_cal_op op);     /* runs on the special-function unit */
const char *bf_cal_name(enum bf_cal_op op); /* NULL if there is none */

/* ---- block descriptors, 256 bit each ---- */

enum bf_unit { BF_UNIT_CAL = 0, BF_UNIT_LOAD = 1, BF_UNIT_FLOW = 2, BF_UNIT_STORE = 3 };
enum {
    BF_BLOCKS = 64, /* descriptor ids of a bank; the unit follows from the id */
    BF_FIRST_CAL = 0,
    BF_FIRST_LOAD = 32,
    BF_FIRST_FLOW = 48,
    BF_FIRST_STORE = 56,
    BF_TARGETS = 3,
    BF_MAX_TRIPS = 1024,
    BF_MAX_NEED = 1023,
    BF_MAX_BODY = 32,
    BF_MAX_PERIOD = 256,
};
enum { BF_NO_BLOCK = 0xff };

enum bf_flow_mode {
    BF_FLOW_XOR = 0, /* k = counter of level 1 XOR self */
    BF_FLOW_ABS = 1, /* k = counter of level 1 */
};
enum bf_store_lanes { BF_LANES_ALL = 0, BF_LANES_FIRST = 1, BF_LANES_REST = 2 };

struct bf_descriptor {
    uint8_t unit;               /* enum bf_unit */
    uint16_t trips[BF_LEVELS];  /* 1..1024 */
    uint16_t need;              /* tokens before it may start, 0..1023 */
    uint8_t first, last;        /* phases of the kernel's period in which it exists */
    uint8_t target[BF_TARGETS]; /* block ids that get a token on completion, or BF_NO_BLOCK */

    struct {                                  /* CAL */
        uint8_t start;                        /* first CAL word of the body */
        uint8_t length;                       /* 1..32 */
        uint8_t relative;                     /* bit c: class c starts at the context base */
        bool uses_weights;                    /* waits until the slot's weight set is complete */
        int16_t delta[BF_CLASSES][BF_LEVELS]; /* 11 bit, signed */
        uint8_t swap; /* k > 0: bit 14 of a lane B, cleared before use, XORs 2^(k-1) into A and C */
        int8_t exponent; /* -16..15: results rounded to RAM are first multiplied by 2^exponent */
        bool chain;      /* the next block is id + 1 of the same slot; accumulators live on */
    } cal;

    struct {             /* LOAD, STORE */
        bool weights;    /* LOAD into the weight RAM, once a group instead of once an iteration */
        bool row;        /* row access: lanes are V columns of one row; else V rows of one column */
        uint8_t reverse; /* LOAD: low bits of the RAM offset to reverse; STORE: bf_store_lanes */
        bool relative;   /* the RAM address starts at the context base */
        uint16_t ram;    /* 10 bit */
        int16_t ram_delta[BF_LEVELS];       /* 10 bit, signed modulo the RAM */
        uint32_t spm;                       /* 18 bit word address, added to the base register */
        int32_t spm_delta[BF_LEVELS];       /* 18 bit, signed */
        int32_t iteration_delta[BF_LEVELS]; /* 18 bit, signed: added when that level of the launch's
                                               iteration counter advances (for weights: at a group's
                                               end) */
        uint8_t base;                       /* base register 0..15 */
    } mem;

    struct { /* FLOW: one word from the data RAM to another PE, a trip each */
        bool source_relative, destination_relative;
        uint16_t source, destination; /* 10 bit */
        int16_t source_delta[BF_LEVELS], destination_delta[BF_LEVELS];
        uint8_t mode;         /* enum bf_flow_mode */
        uint8_t shift, width; /* the field of the PE number (row x cols + col) that varies: 0..7 */
        uint8_t destination_shift; /* source address += k << destination_shift */
        uint8_t self_shift;        /* destination address += self << self_shift */
        uint8_t token; /* the receiver's block that gets a token per word, or BF_NO_BLOCK */
    } flow;
};
/* self = bits [shift, shift + width) of the sender's PE number; k counts destinations: the receiver
 * is the sender's PE number with that field replaced by k. Level 1 counts destinations. */

/* Layout: isa.c, docs/format.md. Encoding keeps the low bits of every field; deltas and addresses
 * are modulo their storage anyway. bf_descriptor_fits says whether nothing gets lost. */
void bf_descriptor_encode(const struct bf_descriptor *descriptor, uint64_t words[4]);
bool bf_descriptor_fits(const struct bf_descriptor *descriptor, struct bf_error *error);
bool bf_descriptor_decode(const uint64_t words[4], struct bf_descriptor *descriptor,
                          struct bf_error *error);
enum bf_unit bf_block_unit(unsigned id); /* from the id's range */

/* ---- sequencer ---- */

enum bf_seq_op {
#define BF_SEQ(NAME, code, text, what) BF_SEQ_##NAME = (code),
#include "ir/isa/opcodes.def"
};
const char *bf_seq_name(enum bf_seq_op op);

struct bf_seq {
    uint8_t op;
    uint8_t x;
    uint32_t y;
};

/* One kernel run. Iterations count as a three-level number, level 0 fastest:
 * trips[0] x trips[1] x trips[2] of them. Phase = iteration mod period. A weight set (group) lasts
 * as many iterations as lie below group_level: 0: one iteration, 1: trips[0], 2: trips[0] x
 * trips[1], 3: all. Group n uses weight half n mod 2. */
enum { BF_BASES = 16, BF_MAX_WINDOW = 8 };
struct bf_launch {
    uint32_t kernel;     /* index; its code must be in `bank` */
    uint8_t bank;        /* 0, 1 */
    uint8_t window;      /* W: iterations in flight, 1..8 */
    bool strict;         /* CAL blocks run in index order */
    bool one_weight_set; /* group_level 3: the set may span both halves */
    uint16_t context_base, context_size;
    uint16_t period; /* 1..256 */
    uint8_t group_level;
    uint32_t trips[BF_LEVELS]; /* 1..2^20 each */
    uint32_t base[BF_BASES];   /* scratchpad word addresses */
};

/* One DMA job: rows x cols fp16 elements between DRAM (row r begins at dram + r x pitch bytes) and
 * a scratchpad buffer of V x V tiles: width (multiple of V) columns, first word `spm`; element (r,
 * c) goes to buffer row row + r, column col + c. */
enum bf_dma_kind {
    BF_DMA_LOAD = 0,  /* DRAM to scratchpad */
    BF_DMA_STORE = 1, /* scratchpad to DRAM */
    BF_DMA_GATHER =
        2, /* row r begins at dram + id[r] x pitch; id: int32 at `ids`, 0 <= id < limit or trap */
    BF_DMA_FILL = 3, /* scratchpad filled with the constant `value`; no DRAM traffic */
};
struct bf_dma {
    uint8_t kind;
    bool pad;      /* LOAD, GATHER, FILL: the rest of every V x V tile touched becomes 0 */
    uint64_t dram; /* bytes */
    int64_t pitch; /* bytes, may be negative or 0 */
    uint32_t rows, cols;
    uint32_t spm, width, row, col;
    uint64_t ids;   /* GATHER: bytes */
    uint32_t limit; /* GATHER */
    uint16_t value; /* FILL: fp16 bits */
};

/* ---- the scratchpad ----
 * Element (row r, column c) of a buffer lies in tile (r / V, c / V): V words from
 * spm + (r / V) x width + (c / V) x V on. In column access word w of a tile holds column w, one
 * lane a row; in row access it holds row w, one lane a column. */
static inline uint32_t bf_spm_column_word(uint32_t v, uint32_t width, uint32_t r, uint32_t c) {
    return r / v * width + c;
}
static inline uint32_t bf_spm_row_word(uint32_t v, uint32_t width, uint32_t r, uint32_t c) {
    return r / v * width + c / v * v + r % v;
}
/* Bank of a scratchpad word: xor of the log2(ports)-bit groups of address / V. */
uint32_t bf_spm_bank(uint32_t address, uint32_t lanes, uint32_t ports);
/* Bank of a data RAM word: xor of the log2(banks)-bit groups of the address. */
uint32_t bf_ram_bank(uint32_t address, uint32_t banks);

#endif
