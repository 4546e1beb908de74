/* ref_device.h - the storage of the functional device. Internal to runtime/ref*.c. */
#ifndef BF_RUNTIME_REF_DEVICE_H
#define BF_RUNTIME_REF_DEVICE_H

#include "ir/isa/fp.h"
#include "runtime/device.h"
#include "runtime/ref.h"

struct bf_ref_word {
    struct bf_cal cal;
    uint8_t reads; /* bits 1, 2, 4: A, B, C */
    bool special;
};
/* The code of a kernel, decoded once. */
struct bf_ref_code {
    struct bf_ref_word *words;     /* of all segments */
    const struct bf_ref_word **at; /* [PE x code_words + address]; NULL where nothing is loaded */
};

struct bf_ref {
    const struct bf_program *program;
    const struct bf_machine *machine;
    const struct bf_device_options *options;
    const struct bf_lane_ops *ops;
    unsigned lanes, lane_bits; /* V and its logarithm */
    uint8_t *dram;
    bf_half *spm;             /* [word][lane] in column access */
    bf_half *ram;             /* [PE][word][lane] */
    bf_half *weights;         /* [PE][half][word][lane] */
    float *acc;               /* [PE][accumulator][lane] */
    struct bf_ref_code *code; /* by kernel; filled when first launched */
    struct bf_stats *stats;
    uint32_t kernel;                      /* the running one */
    struct bf_kernel_stats *kernel_stats; /* of the running kernel */
    struct bf_block_stats *block_stats;
    uint64_t issued; /* instructions of all kernels, all PEs */
};

static inline bf_half *bf_ref_ram(struct bf_ref *ref, unsigned pe, uint32_t word) {
    return ref->ram + ((size_t)pe * ref->machine->data_ram + word) * ref->lanes;
}
/* Weight word `word` of the half that iteration (or group) uses [W2]; wraps inside it. */
static inline bf_half *bf_ref_weights(struct bf_ref *ref, const struct bf_launch *launch,
                                      unsigned pe, uint64_t group, uint32_t word) {
    uint32_t half = ref->machine->weight_half, both = 2 * half;
    uint32_t at = launch->one_weight_set ? word & (both - 1)
                                         : (uint32_t)(group % 2) * half + (word & (half - 1));
    return ref->weights + ((size_t)pe * both + at) * ref->lanes;
}

bool bf_ref_cal(struct bf_ref *ref, struct bf_walk *walk, unsigned pe, const struct bf_block *block,
                uint64_t iteration, struct bf_error *error);
bool bf_ref_mem(struct bf_ref *ref, struct bf_walk *walk, unsigned pe, const struct bf_block *block,
                uint64_t number, struct bf_error *error);
bool bf_ref_flow(struct bf_ref *ref, struct bf_walk *walk, unsigned pe,
                 const struct bf_block *block, uint64_t iteration, struct bf_error *error);
bool bf_ref_dma(struct bf_ref *ref, uint32_t job, struct bf_error *error);

#endif
