/* program.h - a whole array program: what a .bfx file holds, decoded. The encoder makes one, the
 * disassembler prints it, the assembler reads it back, the loader hands it to a device.
 *
 * DRAM is one byte-addressed space of dram_size bytes: rodata at 0, then tensors and spill areas.
 */
#ifndef BF_ISA_PROGRAM_H
#define BF_ISA_PROGRAM_H

#include "ir/isa/dtype.h"
#include "ir/isa/isa.h"

enum { BF_PROGRAM_VERSION = 1, BF_TENSOR_RANK = 4 };

/* A source place: index into the program's file table, 1-based line and column; line 0: none. */
struct bf_place {
    uint32_t file, line, column;
};

/* CAL words at `start` of the code store, for the PEs of a mask. */
struct bf_segment {
    uint64_t pes; /* bit PE number */
    uint16_t start, count;
    uint64_t *words;
};

struct bf_block {
    uint64_t pes;
    uint8_t id;
    struct bf_descriptor d;
    char *name;            /* what it does, for traces and errors: "stages 0-4", may be "" */
    struct bf_place place; /* the statement it came from */
};

/* One launchable code image. At most one block per (PE, id) and one CAL word per (PE, address). */
struct bf_kernel {
    char *name; /* "k3" */
    char *what; /* "encoder.0.ffn.fc1 butterfly", for reports */
    struct bf_place place;
    struct bf_segment *segments;
    size_t segment_count;
    struct bf_block *blocks;
    size_t block_count;
};

enum bf_tensor_kind {
    BF_TENSOR_INPUT = 0,
    BF_TENSOR_OUTPUT = 1,
    BF_TENSOR_WEIGHT = 2,
    BF_TENSOR_SPILL = 3
};
/* A named tensor in DRAM, row-major. `dtype` is what the network declares; DRAM holds fp16 for
 * f16, f32 and u8 (a mask: 0.0 or 1.0), int32 for i32. An input or output has the program's batch
 * as an additional leading dimension, also when it is 1. */
struct bf_tensor_place {
    char *name;
    uint8_t kind, dtype, rank;
    uint32_t dims[BF_TENSOR_RANK]; /* of one sample */
    uint64_t dram, size;           /* bytes */
};

/* Where the scratchpad holds an operator's result once a launch has run, for comparisons with the
 * embedded network: an element of row r of sample s in column c is lane R % V of the column word
 * word + R / V x width + c, where R = s x pitch + r. Leading axes of a tensor count as samples. */
struct bf_value_place {
    char *name; /* "v12": operator 12 of the net text; "v12.re", "v12.im"; or an output's name */
    uint32_t launch; /* index of the launch that completes it */
    uint32_t samples, rows, cols;
    uint32_t word, width, pitch;
    int8_t exponent; /* the true value is the stored one x 2^exponent */
};

struct bf_program {
    struct bf_machine machine;
    char *network; /* its name */
    uint32_t batch;
    uint8_t optimize;
    bool resident;
    uint64_t weights_hash; /* 0: none */
    char **files;          /* the file table of places */
    size_t file_count;

    struct bf_kernel *kernels;
    size_t kernel_count;
    struct bf_seq *sequence;
    size_t sequence_count;
    struct bf_launch *launches;
    size_t launch_count;
    struct bf_dma *dmas;
    size_t dma_count;
    struct bf_tensor_place *tensors;
    size_t tensor_count;
    uint8_t *rodata; /* DRAM 0 .. rodata_size - 1 at the start */
    uint64_t rodata_size, dram_size;
    /* Only of programs that were compiled with -embed-net: */
    char *net;            /* the network after its own passes, as a text; or NULL */
    uint8_t *net_weights; /* its parameters as they were given: a safetensors file; or NULL */
    uint64_t net_weights_size;
    struct bf_value_place *values;
    size_t value_count;
};

struct bf_program *bf_program_create(void);
void bf_program_free(struct bf_program *program); /* NULL is fine */
void bf_kernel_clear(struct bf_kernel *kernel);   /* frees what it holds, not the kernel */

/* Everything a device may rely on: words legal on the machine, ids and targets in range and present
 * in the same phases, bodies inside the loaded code, trips and windows in range, DMA inside DRAM
 * and scratchpad, indices valid, code banks loaded before their launch. Says which word and why. */
bool bf_program_check(const struct bf_program *program, struct bf_error *error);

/* The same, and which part is at fault, so that an assembler can say where: `index` in the array of
 * that kind, for parts of kernels the kernel's, with `item` the segment or block and `word` the
 * word of the segment. */
enum bf_part_kind {
    BF_PART_WHOLE,
    BF_PART_FILE,
    BF_PART_KERNEL,
    BF_PART_SEGMENT,
    BF_PART_WORD,
    BF_PART_BLOCK,
    BF_PART_LAUNCH,
    BF_PART_DMA,
    BF_PART_TENSOR,
    BF_PART_SEQ,
    BF_PART_VALUE,
};
struct bf_program_part {
    enum bf_part_kind kind;
    size_t index, item, word;
};
bool bf_program_check_part(const struct bf_program *program, struct bf_program_part *part,
                           struct bf_error *error);

/* Over opcodes, machine numbers and field layouts: files with another one mean something else. */
uint64_t bf_program_schema(void);

/* The header line and the file table, as texts begin: "bfcc asm 1 arch=...", "file 0 ...". */
void bf_program_header(const struct bf_program *program, struct bf_text *text);

/* The canonical bytes of the .bfx file: ELF64, fixed section order, zero padding. Caller frees. */
uint8_t *bf_program_write(const struct bf_program *program, size_t *size);

#endif
