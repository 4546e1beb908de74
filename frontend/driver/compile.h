/* compile.h - libbfcc: the whole compiler as one call. The only code that calls frontend, passes and
 * backend; main_bfcc.c and the host device are thin callers of it.
 *
 *     options --compile.c--> compilation: net -> poly -> map -> program --emit.c--> files
 */
#ifndef BF_DRIVER_COMPILE_H
#define BF_DRIVER_COMPILE_H

#include "frontend/driver/options.h"
#include "frontend/frontend.h"
#include "passes/passes.h"
#include "runtime/safetensors.h"

enum bf_level { BF_LEVEL_SOURCE, BF_LEVEL_NET, BF_LEVEL_POLY, BF_LEVEL_MAP, BF_LEVEL_PROGRAM };

/* Everything of one compilation; what a level was made from is freed with it. */
struct bf_compilation {
    const struct bf_options *options;
    struct bf_diags *diags;
    struct bf_machine machine;
    struct bf_frontend_files files;      /* for -MD */
    struct bf_weights *weights;          /* NULL: none given */
    struct bf_tensor_file **weight_files;/* whose bytes the weights point into */
    size_t weight_file_count;
    enum bf_level level;                 /* of what was read */
    struct bf_net *net;
    struct bf_poly *poly;                /* until map takes it */
    struct bf_map *map;
    struct bf_program *program;          /* read from an asm text; else map->program */
};

/* Runs the pipeline as far as options->emit asks. False after errors. The caller frees it. */
bool bf_compile(struct bf_compilation *compilation, const struct bf_options *options,
                struct bf_diags *diags);
void bf_compilation_free(struct bf_compilation *compilation);

/* Pass names and sentences, for -list-passes; NULL-terminated by `name`. */
struct bf_pass_info {
    const char *name, *sentence;
    bool optional;
};
const struct bf_pass_info *bf_pass_list(void);

/* weights.c: fills compilation->weights from -weights or -random-weights; the net is known. */
bool bf_load_weights(struct bf_compilation *compilation);

/* emit.c: what -emit asks for, to -o; the dependency file. Nothing is left behind on error. */
bool bf_emit(struct bf_compilation *compilation);
/* The text of the current level: after a pass, for dumps. */
void bf_print_level(const struct bf_compilation *compilation, struct bf_text *text);

#endif
