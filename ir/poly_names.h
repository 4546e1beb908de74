/* poly_names.h - the words of poly texts, shared by printer and parser. */
#ifndef BF_POLY_NAMES_H
#define BF_POLY_NAMES_H

/* In the order of enum bf_buffer_kind. */
static const char *const bf_buffer_words[] = {"input", "output", "param", "temp"};
/* enum bf_kernel_kind */
static const char *const bf_kernel_words[] = {
    "butterfly",       "fft",       "dense", "rows", "attention", "block_dense",
    "block_butterfly", "transpose", "copy"};
/* enum bf_lane_axis */
static const char *const bf_lane_words[] = {"rows", "cols"};
/* enum bf_stmt_kind */
static const char *const bf_stmt_words[] = {"load",  "bpmm",   "fft", "store", "dot",
                                            "point", "reduce", "row", "copy"};
/* enum bf_step_kind */
static const char *const bf_step_words[] = {"sum", "max", "row", "map", "rowmap"};
/* enum bf_role */
static const char *const bf_role_words[] = {"read", "write"};
/* enum bf_expr_kind */
static const char *const bf_expr_words[] = {
    "arg",   "param", "row",       "const", "add",   "sub",  "mul",
    "max",   "neg",   "exp2",      "rcp",   "rsqrt", "abs",  "select",
    "shift", "gelu",  "gelu_tanh", "relu",  "silu",  "tanh", "sigmoid"};

#define BF_WORDS(words) ((int)(sizeof(words) / sizeof *(words)))

#endif
