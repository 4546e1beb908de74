/* host.h - the network itself, beside the program made from it: what libbfhost.so gives to libbfrt.
 *
 *     libbfrt --dlopen--> libbfhost.so: bf_host_plugin --open--> net text and weights of a program
 *
 * libbfrt must not need the compiler; only what runs an embedded network (compiled with -embed-net)
 * loads it. Both must be of one version.
 */
#ifndef BF_RUNTIME_HOST_H
#define BF_RUNTIME_HOST_H

#include "ir/isa/program.h"

/* An operator and its result, of one sample. */
struct bf_host_op {
    const char *kind, *label;
    struct bf_place place; /* in the program's file table */
    unsigned rank;
    int64_t dims[8];
    int64_t elements;
    int exponent;        /* the true value is what is stored x 2^exponent */
    const int64_t *args; /* operators that it reads; inputs are not listed */
    size_t arg_count;
    bool is_static; /* no input takes part in it */
};
struct bf_host_port {
    const char *name;
    int64_t elements; /* of one sample */
    int64_t op;       /* outputs: the operator that gives it, -1: an input as it is */
};

struct bf_host_net {
    struct bf_host_op *ops;
    struct bf_host_port *inputs, *outputs; /* in the order of the network */
    size_t op_count, input_count, output_count;
};

struct bf_host_plugin {
    const char *version;      /* BF_VERSION of both */
    uint64_t (*schema)(void); /* bf_program_schema of both */
    /* Reads program->net and net_weights, which must stay. NULL on error. */
    struct bf_host_net *(*open)(const struct bf_program *program, struct bf_error *error);
    void (*close)(struct bf_host_net *net);
    /* One sample in float64, nothing rounded. `observe` sees each result, in order; `elements` are
     * its own until it returns. */
    bool (*run)(struct bf_host_net *net, const double *const *inputs, double *const *outputs,
                void (*observe)(void *user, size_t op, const double *elements), void *user,
                struct bf_error *error);
    /* A program of nothing but a network: source file and options of bfcc (weights, batch; NULL-
     * terminated) give its net, weights, inputs and outputs. bf_program_free frees it. */
    struct bf_program *(*read)(const char *path, const char *const *options,
                               struct bf_error *error);
    /* Makes code for this CPU; once, before run32. */
    bool (*compile)(struct bf_host_net *net, struct bf_error *error);
    /* A batch in f32; i32 and u8 tensors as declared. */
    bool (*run32)(struct bf_host_net *net, const void *const *inputs, void *const *outputs,
                  struct bf_error *error);
    /* Text of a file that bfcc carries inside, "transformer.bfly"; NULL if there is none. */
    const char *(*library)(const char *name);
};

/* The plug-in: libbfhost.so beside the program or library that asks, in ../lib of there, or where
 * the system looks. NULL with the reason. It stays loaded. */
const struct bf_host_plugin *bf_host_load(struct bf_error *error);

#endif
