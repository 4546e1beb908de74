/* generators.c - every generator; for one kind, the first that takes a site gets it. */
#include "backend/host/gen.h"

const struct bf_host_generator *const bf_host_generators[] = {NULL};
