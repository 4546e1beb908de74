/* generators.c - every generator; for one kind, the first that takes a site gets it. */
#include "backend/host/gen.h"

extern const struct bf_host_generator bf_gen_attention, bf_gen_block_dense, bf_gen_dense;
extern const struct bf_host_generator bf_gen_butterfly;

const struct bf_host_generator *const bf_host_generators[] = {
    &bf_gen_dense, &bf_gen_attention, &bf_gen_block_dense, &bf_gen_butterfly, NULL,
};
