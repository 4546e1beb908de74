/* session.h - what the files of libbfrt share and bfrt.h hides. */
#ifndef BF_RUNTIME_SESSION_H
#define BF_RUNTIME_SESSION_H

#include "runtime/bfrt.h"
#include "runtime/recorder.h"
#include "runtime/tensor.h"

/* Inputs or outputs of a model: how they are shown, and where they lie in DRAM. */
struct bf_ports {
    struct bfrt_tensor *tensors;
    const struct bf_tensor_place **places;
    size_t count;
};

struct bfrt_model {
    struct bf_program *program;
    struct bf_ports inputs, outputs;
    struct bfrt_kernel *kernels;
    struct bfrt_info info;
};

/* An input's values, in the form in which DRAM holds them. */
struct bf_binding {
    uint8_t *data; /* NULL: not bound */
    bool leading;  /* given with a dimension of samples */
    uint64_t samples;
    float *exact; /* device host, of a float input: the values unrounded */
    struct bf_range_count range;
    char *origin; /* file it came from, or NULL */
};

struct bfrt_session {
    const struct bfrt_model *model;
    const struct bf_device *device;
    struct bfrt_options options;
    struct bf_binding *bindings; /* one an input */
    uint8_t **outputs;           /* one an output: all samples, as in DRAM, or on the device host
                                    f32, i32 and u8; NULL before a run */
    uint8_t *dram;
    uint64_t samples; /* of the last run */
    bool leading;
    uint64_t group, groups;         /* the one that runs, of how many */
    struct bf_stats *group_stats;   /* of that group */
    struct bf_block_stats **blocks; /* [kernel][block], over all groups */
    struct bfrt_stats stats;
    struct bfrt_kernel_stats *kernel_stats;
    struct bfrt_finding *findings;
    size_t finding_count;
    struct bf_recorder *recorder;     /* NULL: bfrt_session_profile was not called */
    struct bf_comparison *comparison; /* NULL: bfrt_compare was not called */
    struct bf_host_run *host;         /* device host: the compiled network; NULL before a run */
};

/* Bytes of one sample of an input or output in DRAM. */
static inline uint64_t bf_sample_size(const struct bf_tensor_place *place, uint32_t batch) {
    return place->size / batch;
}

/* Index of the tensor of that name; `count` if there is none. */
size_t bf_ports_find(const struct bf_ports *ports, const char *name);
/* "x f16[16, 4], mask u8[16]": all of them, for messages. */
void bf_text_add_ports(struct bf_text *text, const struct bf_ports *ports);

/* Binds input number `index`; `tensor->name` is what messages call the tensor, `origin` the file it
 * comes from or NULL. */
bool bf_session_bind(struct bfrt_session *session, size_t index, const struct bf_tensor *tensor,
                     const char *origin, struct bf_error *error);

/* All groups of the samples that are bound. What a failure leaves is dropped by the caller. */
bool bf_session_run(struct bfrt_session *session, struct bf_error *error);
void bf_session_drop(struct bfrt_session *session, bool results); /* working memory; and results */

/* Statistics: cleared before a run, a group added at a time, completed at the end. */
void bf_session_clear_stats(struct bfrt_session *session);
void bf_session_add_stats(struct bfrt_session *session, const struct bf_stats *group);
void bf_session_finish_stats(struct bfrt_session *session);

/* Comparing with the embedded network (session_compare.c), while a group runs: after a launch, and
 * after the group, whose samples are then computed in float64. */
void bf_comparison_launched(void *session, uint32_t launch, const bf_half *scratchpad);
bool bf_comparison_group(struct bfrt_session *session, struct bf_error *error);
void bf_comparison_free(struct bf_comparison *comparison); /* NULL is fine */

/* The device host (session_host.c): all groups. It has no DRAM and no bf_device.run. */
bool bf_session_run_host(struct bfrt_session *session, struct bf_error *error);
void bf_host_run_free(struct bf_host_run *host); /* NULL is fine */
static inline bool bf_session_on_host(const struct bfrt_session *session) {
    return !session->device->run;
}
/* What session->outputs hold of an output. */
enum bf_element bf_session_element(const struct bfrt_session *session,
                                   const struct bfrt_tensor *declared);
/* Bytes of an element of an output there. */
static inline size_t bf_host_output_size(const struct bfrt_tensor *tensor) {
    return tensor->type == BFRT_U8 ? 1 : 4;
}

/* ---- entry points ----
 * Every function of bfrt.h that allocates or computes runs between these, so that lack of memory
 * comes out as an error and the caller's floating-point modes neither matter nor change:
 *
 *     struct bf_entry entry;
 *     if (BF_ENTER(entry, error))
 *         return bf_leave(&entry, false);
 *     return bf_leave(&entry, work(..., &entry.error));
 *
 * Nothing that is changed in between may be used after the jump. */
struct bf_entry {
    struct bf_guard guard;
    struct bf_fp_environment environment;
    struct bf_error error;
    struct bfrt_error *out;
    bool inside; /* the guard is still there */
};
#define BF_ENTER(entry, out)                                                                       \
    (bf_enter(&(entry), out), setjmp((entry).guard.target) && bf_enter_failed(&(entry)))
void bf_enter(struct bf_entry *entry, struct bfrt_error *out);
bool bf_enter_failed(struct bf_entry *entry);   /* true */
bool bf_leave(struct bf_entry *entry, bool ok); /* returns `ok` */

#endif
