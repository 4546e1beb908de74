/* network.h - what NAME_describe of generated code returns. Generated headers carry a copy. */
#ifndef BF_NETWORK_DESCRIPTION_H
#define BF_NETWORK_DESCRIPTION_H

#include <stdint.h>

enum bf_tensor_kind_of { BF_TENSOR_FLOAT, BF_TENSOR_INT32, BF_TENSOR_UINT8 };

/* A tensor of one sample; a batch lies sample after sample. */
struct bf_tensor_description {
    const char *name;
    int32_t kind; /* enum bf_tensor_kind_of */
    uint32_t rank;
    int64_t dims[8];
};

struct bf_network_description {
    const char *name;
    const char *cpu; /* that the code is for, as LLVM calls it */
    int64_t batch;   /* samples a run */
    int64_t input_count, output_count;
    const struct bf_tensor_description *inputs, *outputs; /* in the order of the structs */
    int64_t workspace_size, workspace_align;              /* for one thread, bytes */
    int64_t weights_size;                                 /* bytes */
};

#endif
