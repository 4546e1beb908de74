/* options.h - the command line of bfcc. */
#ifndef BF_DRIVER_OPTIONS_H
#define BF_DRIVER_OPTIONS_H

#include "frontend/frontend.h"

enum bf_emit {
    BF_EMIT_BFX,
    BF_EMIT_NET,
    BF_EMIT_POLY,
    BF_EMIT_MAP,
    BF_EMIT_ASM,
    BF_EMIT_HOST,   /* the plan of host code, for people */
    BF_EMIT_OBJ,    /* host code */
    BF_EMIT_HEADER, /* its C header */
    BF_EMIT_NOTHING
};
/* Products for a host: other passes than for the array. */
static inline bool bf_emits_host(enum bf_emit emit) {
    return emit == BF_EMIT_HOST || emit == BF_EMIT_OBJ || emit == BF_EMIT_HEADER;
}

struct bf_strings {
    const char **data;
    size_t count, capacity;
};

struct bf_options {
    struct bf_strings words; /* all arguments, those of @files in their place */
    const char *input;       /* "-": standard input */
    const char *output;      /* -o; NULL: from the input's name */
    enum bf_emit emit;
    bool text_to_stdout;        /* -emit of a text, without -o; -S names a file after the input */
    const char *arch;           /* NULL: default, or what the text says */
    struct bf_strings weights;  /* -weights FILE, in order */
    const char *weights_prefix; /* taken from the names of tensors; NULL: none */
    struct bf_strings weights_renames; /* "FROM=TO", in order */
    struct bf_strings calibrate;       /* files with samples of the inputs */
    bool random_weights;
    uint64_t seed;
    bool allow_unused;
    const char *march, *target; /* host code: processor, triple; NULL: this machine's */
    bool shared;                /* -emit obj: a shared object */
    const char *weights_out;    /* host code: weights go to this file, not into the object */
    bool embed_net;             /* the network and its parameters go into the .bfx too */
    int64_t batch;              /* 0: not given */
    int optimize;               /* -1: not given */
    int resident;               /* -1: not given */
    struct {
        struct bf_frontend_define *data;
        size_t count, capacity;
    } defines;
    const char *network;
    struct bf_strings include_dirs;
    struct bf_strings print_before, print_after; /* pass names, or "all" */
    bool print_changed;
    const char *filter_kernel;        /* of a kernel or the path of its labels; NULL: no filter */
    const char *explain;              /* what -explain is about, "": everything; NULL: not asked */
    const struct bf_machine *machine; /* instead of -arch; NULL: none */
    const char *crash_after;          /* a pass behind which bfcc aborts; NULL: none */
    const char *dump_dir;
    const char *passes;          /* -passes=a,b: which of the optional ones run; NULL: all */
    bool verify_each;            /* after every pass, not only the last of a level */
    bool make_dependencies;      /* -MD */
    const char *dependency_file; /* -MF */
    bool phony_dependencies;     /* -MP */
    bool verbose, dry_run, werror, color;
    bool help, version, list_passes, list_arch, time_passes;
    const char *print_arch;
    struct bf_arena arena; /* strings that were made */
};

/* Reads argv (with @file arguments expanded). False after a message on stderr. */
bool bf_options_parse(struct bf_options *options, int argc, char **argv);
void bf_options_free(struct bf_options *options);
void bf_options_help(FILE *out);

#endif
