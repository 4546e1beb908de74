/* bfrt.h - libbfrt: loads .bfx files and runs them.
 *
 *     struct bfrt_error error = {0};
 *     struct bfrt_model *model = bfrt_load("digits.bfx", &error);
 *     struct bfrt_session *session = model ? bfrt_session_create(model, "sim", NULL, &error) :
 * NULL; if (session && bfrt_bind(session, "x", BFRT_F32, 2, (uint64_t[]){16, 4}, image, &error) &&
 *         bfrt_run(session, &error) && bfrt_fetch(session, "logits", BFRT_F32, logits, 10, &error))
 *         ...
 *     else
 *         fprintf(stderr, "%s\n", error.text);
 *     bfrt_session_free(session);
 *     bfrt_model_free(model);
 *
 * Errors. A function that can fail takes a struct bfrt_error, which may be NULL, and returns false
 * or NULL. The first error is kept: set `code` to 0 before using the struct again. The library
 * never exits or prints, and has no global state.
 * Threads. A model is constant and may be used by many threads at once; a session by one at a time.
 * Ownership. What a model or session returns a pointer to stays theirs: until the model is freed,
 * or until the session is next bound, run or freed. A session needs its model until it is freed.
 */
#ifndef BFRT_H
#define BFRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum bfrt_error_code {
    BFRT_OK = 0,
    BFRT_ERROR_INPUT = 1,     /* a file, a tensor or an argument is wrong */
    BFRT_ERROR_MACHINE = 2,   /* the program did what the array forbids: a trap, a deadlock */
    BFRT_ERROR_INTERNAL = 70, /* the library is wrong, or memory ran out */
};
struct bfrt_error {
    int code;        /* enum bfrt_error_code */
    char text[1024]; /* one message without a newline at its end; may have several lines */
};

const char *bfrt_version(void);

/* ---- models ---- */

struct bfrt_model;

/* NULL on error. The file is checked as a whole: a model that loads is safe to run. "-" reads
 * standard input. */
struct bfrt_model *bfrt_load(const char *path, struct bfrt_error *error);
/* The same from memory, which is not needed afterwards. `name` stands for the path in messages. */
struct bfrt_model *bfrt_load_memory(const void *bytes, size_t size, const char *name,
                                    struct bfrt_error *error);
/* A network instead of a program: a .bfly file or the text of a net, read by libbfhost.so with
 * options of bfcc, NULL-terminated: {"-weights", "w.safetensors", "-batch", "8", NULL}. It runs on
 * the device "host" only. */
struct bfrt_model *bfrt_load_network(const char *path, const char *const *options,
                                     struct bfrt_error *error);
void bfrt_model_free(struct bfrt_model *model); /* NULL is fine */

enum bfrt_type { BFRT_F16, BFRT_BF16, BFRT_F32, BFRT_F64, BFRT_I32, BFRT_I64, BFRT_U8, BFRT_BOOL };
const char *bfrt_type_name(enum bfrt_type type); /* "f16" */
size_t bfrt_type_size(enum bfrt_type type);      /* bytes */

enum { BFRT_MAX_RANK = 4 };

/* An input or output as the network declares it, of one sample: f16, f32, i32 or u8 (a mask). */
struct bfrt_tensor {
    const char *name;
    enum bfrt_type type;
    unsigned rank;
    uint64_t dims[BFRT_MAX_RANK]; /* row-major */
};
size_t bfrt_input_count(const struct bfrt_model *model);
size_t bfrt_output_count(const struct bfrt_model *model);
const struct bfrt_tensor *bfrt_input(const struct bfrt_model *model, size_t index);
const struct bfrt_tensor *bfrt_output(const struct bfrt_model *model, size_t index);

struct bfrt_info {
    const char *network;
    const char *machine;   /* name of the machine description */
    uint64_t machine_hash; /* over its numbers */
    unsigned rows, cols;   /* PEs */
    unsigned lanes;        /* of a word */
    unsigned clock_mhz;
    unsigned batch;        /* samples a run computes */
    unsigned optimize;     /* -O level it was compiled with */
    bool resident;         /* compiled with -resident */
    uint64_t weights_hash; /* 0: compiled without weights */
    uint64_t rodata_bytes; /* weights and tables */
    uint64_t dram_bytes;   /* all of DRAM that it uses, rodata included */
    size_t kernel_count, launch_count, dma_count;
};
const struct bfrt_info *bfrt_info(const struct bfrt_model *model);

/* A place in the source of the network; `line` is 0 if there is none. */
struct bfrt_place {
    const char *file; /* as the compiler was given it; "" if there is none */
    unsigned line, column;
};
struct bfrt_kernel {
    const char *name; /* "k3" */
    const char *what; /* "encoder.0.ffn.fc1 butterfly" */
    struct bfrt_place place;
    size_t blocks;    /* block descriptors, each counted once for all PEs that share it */
    size_t cal_words; /* CAL instructions, likewise */
    size_t launches;
};
const struct bfrt_kernel *bfrt_kernel(const struct bfrt_model *model, size_t index);

/* Proves that no result can depend on timing: that every producer comes before its consumers and
 * no word is overwritten too early. False with the first finding. Takes seconds for a large model.
 */
bool bfrt_check(const struct bfrt_model *model, struct bfrt_error *error);

/* ---- sessions ---- */

/* Device number `index`, "ref" (functional) or "sim" (cycle by cycle); NULL after the last. */
const char *bfrt_device_name(size_t index);
const char *bfrt_device_what(size_t index); /* a sentence about it */

struct bfrt_options {
    FILE *trace;          /* NULL, or where a line for each cycle and active unit goes (sim) */
    uint64_t cycle_limit; /* of one group of samples; 0: none. Reaching it is an error */
    bool exact;           /* sim simulates every cycle, even those of a steady state */
    void (*progress)(void *user, double done); /* 0 to 1, never less than before; may be NULL */
    void *user;
};

struct bfrt_session;
struct bfrt_session *bfrt_session_create(const struct bfrt_model *model, const char *device,
                                         const struct bfrt_options *options, /* may be NULL */
                                         struct bfrt_error *error);
void bfrt_session_free(struct bfrt_session *session); /* NULL is fine */
/* Sends the trace of later runs to another stream; NULL: none. */
void bfrt_session_trace(struct bfrt_session *session, FILE *trace);

/* Gives an input its values, which are converted and copied. The shape is the declared one, or has
 * the number of samples N as an additional leading dimension; all inputs must agree in that. N need
 * not be the batch of the model: samples go through in groups of the batch, and the last group is
 * filled up with copies of the last sample.
 *   f16, f32   from F16, BF16, F32, F64, U8 or BOOL, rounded once to fp16
 *   i32        from I32, I64, U8 or BOOL; every value must fit
 *   u8         from U8, BOOL, I32 or I64; every value must be 0 or 1
 * Binding an input again replaces its values. */
bool bfrt_bind(struct bfrt_session *session, const char *input, enum bfrt_type type, unsigned rank,
               const uint64_t *dims, const void *data, struct bfrt_error *error);
/* Binds inputs to the tensors of a safetensors file; "-" reads standard input. If names in it begin
 * with "input.", those are the inputs and other tensors are ignored; if not, all tensors must be
 * inputs. Inputs that the file lacks stay as they are. */
bool bfrt_bind_file(struct bfrt_session *session, const char *path, struct bfrt_error *error);

/* Values of an input that were infinite or NaN when they reached fp16. */
struct bfrt_range {
    uint64_t overflowed;       /* finite values beyond 65504, now infinities */
    uint64_t infinities, nans; /* as given */
    uint64_t first;            /* row-major number of the first of any of them */
};
struct bfrt_range bfrt_input_range(const struct bfrt_session *session, size_t index);
/* Shape of the values that an input was bound to; rank 0 before. Returns the rank. */
unsigned bfrt_input_shape(const struct bfrt_session *session, size_t index,
                          uint64_t dims[BFRT_MAX_RANK + 1]);

/* Runs all samples. Every input must be bound. */
bool bfrt_run(struct bfrt_session *session, struct bfrt_error *error);

/* Shape of an output after a run: with the leading N if the inputs had one. Returns the rank. */
unsigned bfrt_output_shape(const struct bfrt_session *session, size_t index,
                           uint64_t dims[BFRT_MAX_RANK + 1]);
/* Copies an output out, all samples, exactly `count` elements: as F32 any output; as F16, the bits
 * the array computed, any but i32; as I32 an i32 output. */
bool bfrt_fetch(const struct bfrt_session *session, const char *output, enum bfrt_type type,
                void *data, size_t count, struct bfrt_error *error);
/* Writes all outputs to a safetensors file, under their names and in their declared types; the file
 * appears whole or not at all. "-" is standard output. */
bool bfrt_write_file(const struct bfrt_session *session, const char *path,
                     struct bfrt_error *error);

/* ---- where precision is lost ---- */

/* The result of an operator on the array beside the same in float64, over all samples. */
struct bfrt_layer {
    const char *kind, *label; /* "butterfly", "encoder.0.ffn.fc1"; the label may be "" */
    struct bfrt_place place;
    unsigned rank; /* of one sample; complex results have a leading axis of 2 */
    uint64_t dims[8];
    bool stored; /* false: it stays in a kernel or is only moved; nothing below is known */
    uint64_t infinities, nans; /* stored elements, left out below */
    double largest;            /* of the float64 results, by magnitude */
    double max_error;
    double relative_l2; /* |array - float64| / |float64|; 0 if both are 0 */
    double operands;    /* the largest relative_l2 among the stored values that it reads */
    bool loses;         /* relative_l2 is above 2^-9 and 4 x operands, or it has infinities
                           or NaNs that no operand has */
};

/* As bfrt_run, and computes the network itself in float64, slowly, from the inputs as they reach
 * the array and the weights as the compiler was given them. The model must have been compiled with
 * -embed-net; the session's device must be "ref"; needs libbfhost.so of the same version. */
bool bfrt_compare(struct bfrt_session *session, struct bfrt_error *error);
/* After bfrt_compare, in the order of the network: every operator that depends on an input, then
 * the outputs as they were fetched, whose kind is "output". */
size_t bfrt_layer_count(const struct bfrt_session *session);
const struct bfrt_layer *bfrt_layer(const struct bfrt_session *session, size_t index);

/* ---- statistics of the last run ---- */

enum bfrt_unit { BFRT_CAL, BFRT_LOAD, BFRT_FLOW, BFRT_STORE, BFRT_UNITS };

/* Why a unit did not issue in a cycle. */
enum bfrt_stall {
    BFRT_STALL_NONE,    /* it issued */
    BFRT_STALL_IDLE,    /* no block left in the window */
    BFRT_STALL_TOKEN,   /* blocks wait for tokens */
    BFRT_STALL_WEIGHTS, /* blocks wait for their weights */
    BFRT_STALL_HAZARD,  /* a result is still in the pipeline */
    BFRT_STALL_BANK,    /* two operands in one bank */
    BFRT_STALL_SPECIAL, /* the special-function unit is busy */
    BFRT_STALL_QUEUE,   /* a queue is full */
    BFRT_STALL_PORT,    /* a RAM port is taken by another unit */
    BFRT_STALLS
};
const char *bfrt_unit_name(enum bfrt_unit unit);    /* "CAL" */
const char *bfrt_stall_name(enum bfrt_stall stall); /* "tokens" */

/* All counts are sums over all groups of samples and all PEs; the copies that fill up the last
 * group count like other samples. */
struct bfrt_kernel_stats {
    uint64_t runs;                             /* launches */
    uint64_t cycles;                           /* from launch to idle */
    uint64_t issued[BFRT_UNITS];               /* instructions */
    uint64_t stalled[BFRT_UNITS][BFRT_STALLS]; /* cycles of a PE, inside `cycles` */
    uint64_t special;                          /* CAL slots that were special functions */
    uint64_t ram_words, hops, scratchpad_words;
    uint64_t infinities, nans; /* fp16 elements that were stored */
    /* The least number of cycles that these instructions take on this array, and what sets it:
     * "CAL", "special functions", "LOAD", "FLOW", "STORE", "scratchpad ports". */
    uint64_t bound;
    const char *bound_by;
};
struct bfrt_stats {
    bool timed; /* false: the device counts no cycles */
    uint64_t samples, groups;
    uint64_t cycles;   /* start to end, of all groups */
    uint64_t measured; /* between the two marks of a -resident program; else equal to cycles */
    uint64_t dram_read, dram_written, dram_measured; /* bytes */
    uint64_t dma_wait;                               /* cycles in which only the DMA was busy */
    uint64_t skipped; /* cycles, of `cycles`, that a steady state let sim leave out */
    uint64_t bound;   /* sum of the kernels' bounds, or the DRAM's if that is more */
    const char *bound_by;
    double energy; /* joules, from the energies in the machine description */
    uint64_t infinities, nans;
    size_t kernel_count;
    const struct bfrt_kernel_stats *kernels; /* in the order of bfrt_kernel */
};
const struct bfrt_stats *bfrt_stats(const struct bfrt_session *session);

/* Where infinities and NaNs were stored: one entry an operator (kernel and source place). */
struct bfrt_finding {
    size_t kernel;
    const char *block; /* what the first such block does; may be "" */
    struct bfrt_place place;
    uint64_t infinities, nans;
};
size_t bfrt_finding_count(const struct bfrt_session *session);
const struct bfrt_finding *bfrt_finding(const struct bfrt_session *session, size_t index);

/* ---- where the cycles went ---- */

struct bfrt_profile_options {
    uint64_t from, to; /* cycles of the timeline that are kept in detail; `to` 0: to the end */
    bool trace;        /* keep as much as a trace file of 50 MB shows, not just a report */
};
/* Later runs keep a timeline, which needs the device "sim". */
bool bfrt_session_profile(struct bfrt_session *session, const struct bfrt_profile_options *options,
                          struct bfrt_error *error);
/* After a run: Chrome trace events, which Perfetto opens. "-" is standard output. */
bool bfrt_write_trace(const struct bfrt_session *session, const char *path,
                      struct bfrt_error *error);
/* After a run: a JSON object, and a self-contained page that shows it. `layers` is a session on
 * which bfrt_compare ran, or NULL; `folders` hold the sources of the network and end in NULL, or
 * are NULL. */
bool bfrt_write_profile(const struct bfrt_session *session, const struct bfrt_session *layers,
                        const char *const *folders, const char *path, struct bfrt_error *error);
bool bfrt_write_report(const struct bfrt_session *session, const struct bfrt_session *layers,
                       const char *const *folders, const char *path, struct bfrt_error *error);
/* The page of a profile that was written before. */
bool bfrt_report_file(const char *profile, const char *path, struct bfrt_error *error);

#ifdef __cplusplus
}
#endif

#endif
