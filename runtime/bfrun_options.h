/* bfrun_options.h - the command line of bfrun. */
#ifndef BF_RUNTIME_BFRUN_OPTIONS_H
#define BF_RUNTIME_BFRUN_OPTIONS_H

#include "ir/isa/base.h"
#include "runtime/bfrt.h"

enum bf_stats_form { BF_STATS_NONE, BF_STATS_TEXT, BF_STATS_JSON };

struct bf_run_options {
    const char *model; /* "-": standard input */
    struct {
        const char **data;
        size_t count, capacity;
    } inputs;
    const char *output; /* NULL: none */
    const char *device;
    const char *trace, *trace_text;              /* NULL: none */
    uint64_t trace_from, trace_to;               /* cycles; trace_to 0: to the end */
    const char *profile, *report, *from_profile; /* NULL: none */
    struct {
        const char **data;
        size_t count, capacity;
    } sources; /* folders; NULL-terminated after parsing */
    struct {
        const char **data;
        size_t count, capacity;
    } network; /* options of bfcc for a network; NULL-terminated after parsing */
    enum bf_stats_form stats;
    uint64_t cycle_limit;
    bool random_inputs;
    uint64_t seed;
    bool exact, compare, describe, check, quiet, warnings_are_errors, help, version;
    bool color; /* standard error is a terminal that may be coloured */
    struct bf_arena arena;
};

/* False with the reason. `@file` arguments are replaced by the words of the file. */
bool bf_run_options_parse(struct bf_run_options *options, int argc, char **argv,
                          struct bf_error *error);
/* Is the model a network, not a program? By its name: .bfly, .net */
bool bf_run_options_network(const struct bf_run_options *options);
/* Does it write a timeline of the run? */
bool bf_run_options_profiles(const struct bf_run_options *options);
void bf_run_options_free(struct bf_run_options *options);
void bf_run_options_help(FILE *out);

/* bfrun_random.c: binds every input to a batch of pseudo-random values: about standard normal, ids
 * 0 or 1, masks that keep all. The same seed gives the same values. */
bool bf_bind_random(struct bfrt_session *session, const struct bfrt_model *model, uint64_t seed,
                    struct bfrt_error *error);

#endif
