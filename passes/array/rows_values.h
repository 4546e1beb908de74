/* rows_values.h - the value check of row kernels, by running what was emitted. */
#ifndef BF_PASSES_ARRAY_ROWS_VALUES_H
#define BF_PASSES_ARRAY_ROWS_VALUES_H

#include "passes/array/rows.h"

/* Base registers of a launch: inputs from 0 on, outputs, the weight area. */
enum { BF_ROWS_BASE_IN = 0, BF_ROWS_BASE_OUT = 8, BF_ROWS_BASE_WEIGHTS = 15 };

/* Checks all plans of the kernel. Reports the first element that is not what the steps say, or that
 * is not stored once. */
bool bf_rows_check_values(struct bf_map *map, const struct bf_poly_kernel *kernel,
                          struct bf_diags *diags);

#endif
