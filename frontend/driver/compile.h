/* compile.h - libbfcc: the whole compiler as one call. The only code that calls frontend, passes
 * and backend; main_bfcc.c and the host device are thin callers of it.
 *
 *     options --compile.c--> compilation: source or text of a level
 *             --pipeline.c--> net -> poly -> map -> program
 *             --emit.c--> files
 */
#ifndef BF_DRIVER_COMPILE_H
#define BF_DRIVER_COMPILE_H

#include "frontend/driver/checkpoint.h"
#include "frontend/driver/times.h"
#include "frontend/frontend.h"
#include "passes/passes.h"

/* In the order in which a compilation goes through them. */
enum bf_level { BF_LEVEL_SOURCE, BF_LEVEL_NET, BF_LEVEL_POLY, BF_LEVEL_MAP, BF_LEVEL_PROGRAM };

/* Everything of one compilation; what a level was made from is freed with it. */
struct bf_compilation {
    const struct bf_options *options;
    struct bf_diags *diags;
    struct bf_machine machine;
    struct bf_text arch_path;        /* the file of -arch, empty: a shipped one */
    struct bf_frontend_files files;  /* for -MD */
    char *standard_input;            /* what it held, if a source came from there */
    struct bf_weights *weights;      /* NULL: none given */
    struct bf_checkpoint checkpoint; /* what the weights point into */
    enum bf_level level;             /* of what was read */
    struct bf_net *net;
    struct bf_poly *poly; /* until map takes it */
    struct bf_map *map;
    struct bf_program *program; /* read from an asm text; else map->program */
    char *net_text;             /* -embed-net: the net after its passes */
    uint8_t *net_weights;       /* likewise: its parameters, a safetensors file */
    size_t net_weights_size;
    struct bf_times times;
    bool internal; /* it failed because bfcc is wrong: exit 70 */
};

/* Runs the pipeline as far as options->emit asks. False after errors. The caller frees it. */
bool bf_compile(struct bf_compilation *compilation, const struct bf_options *options,
                struct bf_diags *diags);
void bf_compilation_free(struct bf_compilation *compilation);

/* ---- pipeline.c ---- */

/* Pass names and sentences, for -list-passes; NULL-terminated by `name`. */
struct bf_pass_info {
    const char *name, *sentence;
    const char *level; /* of its result: "net" .. */
    bool optional;
};
const struct bf_pass_info *bf_pass_list(void);
/* Whether the names that -print-after and -passes give are passes. Reports those that are not. */
bool bf_pass_names_check(const struct bf_options *options, struct bf_diags *diags);
/* Runs what is left between the level that was read and what options->emit asks. */
bool bf_run_passes(struct bf_compilation *compilation);
/* -###: the passes that would run on a text of `level`. */
void bf_pass_plan_print(const struct bf_options *options, enum bf_level level, FILE *out);

/* ---- weights.c ---- */

/* Fills compilation->weights from -weights or -random-weights. Random weights depend on the
 * operators that have the parameters, so they need a net. */
bool bf_load_weights(struct bf_compilation *compilation);

/* ---- calibrate.c ---- */

/* -calibrate: sets the exponents of transforms from the samples it names; does nothing without. */
bool bf_calibrate(struct bf_compilation *compilation);

/* ---- embed.c ---- */

/* -embed-net: keeps the text of the net as it is now, and the parameters; does nothing without. */
bool bf_embed_net(struct bf_compilation *compilation);
/* Puts both into the program, with the places of stored values. */
void bf_embed_finish(struct bf_compilation *compilation);

/* ---- native.c ---- */

/* -emit obj, header, host: what is made of the poly. */
bool bf_emit_host(struct bf_compilation *compilation, const char *path);
/* Takes exponents out of a net's types: on a host nothing overflows without them. */
void bf_drop_exponents(struct bf_net *net);

/* ---- emit.c ---- */

/* What -emit asks for, to -o; the dependency file. Nothing is left behind on error. */
bool bf_emit(struct bf_compilation *compilation);
/* The text of the current level: after a pass, for dumps. */
void bf_print_level(const struct bf_compilation *compilation, struct bf_text *text);

#endif
