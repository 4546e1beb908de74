/* host.h - a network as calls of generated functions: what host code is made from.
 *
 *     poly --passes/host: group, fuse, chain, choose, place--> plan --backend/host--> LLVM module
 *
 * The plan knows nothing of LLVM. A *generator* is what can make code for kernels of one kind: its
 * `choose` runs while planning and says what the function will need, its `generate` (backend) emits
 * it. Kernels of equal shape at one place of the source share a *function*; each kernel is a
 * *call*.
 *
 * Values are f32, except network inputs of type i32 and u8, and outputs of type u8, which are as
 * declared. A buffer is dense: element (sample, row, col) at (sample x rows + row) x cols + col.
 * Exponents: what is stored is the true value / 2^buffer->exponent, as everywhere in poly; only
 * results of FFT kernels have one (the net was made without).
 *
 * Memory: everything lives in plan->arena, or is poly's, which the plan owns.
 */
#ifndef BF_HOST_H
#define BF_HOST_H

#include "ir/poly.h"
#include "ir/weights.h"

#define BF_HOST_ALIGN 64 /* bytes: workspace, scratch, temporary buffers, packs */

/* What code is made for. */
struct bf_host_target {
    const char *triple, *cpu, *features; /* as LLVM wants them */
    unsigned lanes;                      /* f32 in a vector register: 4, 8 or 16 */
    unsigned registers;                  /* vector registers: 16 or 32 */
    int64_t l1, l2;                      /* data caches of one core, bytes */
};

enum bf_host_element { BF_HOST_F32, BF_HOST_U8, BF_HOST_I32 };
enum bf_host_element bf_host_element(const struct bf_buffer *buffer);
size_t bf_host_element_size(enum bf_host_element element);

/* A rectangle of a buffer as generated code sees it; the pointer it gets is that of the rectangle's
 * first element. Strides are in elements. */
struct bf_host_operand {
    enum bf_host_element element;
    int64_t samples, rows, cols;
    int64_t pitch;  /* from a row to the next */
    int64_t stride; /* from a sample to the next */
    /* Whether row r of sample s is row s x rows + r of one matrix: stride = rows x pitch. */
    bool linear;
};
struct bf_host_operand bf_host_operand(const struct bf_poly *poly,
                                       const struct bf_operand *operand);

/* A piece of the weight blob, made when compiling. Generated code gets a pointer to it, aligned to
 * BF_HOST_ALIGN. Not read-only data of the kernel's shape alone: also twiddles may be packs. */
struct bf_host_pack {
    int64_t size; /* bytes */
    /* Writes `size` bytes, zero before. `values` are the tensors; deterministic, without libm. */
    void (*fill)(const struct bf_host_pack *pack, const struct bf_weights *values, void *out);
    const struct bf_poly_kernel *kernel; /* whose params it reads; set by the plan */
    const struct bf_buffer *buffer;      /* or a PARAM buffer; set by the plan */
    const struct bf_host_choice *choice; /* likewise */
    int index;                           /* the generator's own */
    int64_t offset;                      /* in the blob; set by the plan */
};

/* What a generator decided about a site. */
struct bf_host_choice {
    size_t kernels; /* how many kernels of the site it covers; 1 unless it fuses a pair */
    int64_t units;  /* units of work that may run in any order and at once */
    int64_t
        unit_rows;   /* > 0: unit i is rows [i x unit_rows, (i + 1) x unit_rows) (cut at the end)
                        of all samples' rows, of each output and of inputs[0]; it reads no other
                        rows of inputs[0]. Only such functions can be in a chain. 0: another cut */
    int64_t grain;   /* least units worth a thread's trouble; 1 or more */
    int64_t scratch; /* bytes of scratch memory a worker */
    bool epilogue;   /* generate calls bf_gen_epilogue on each element of output 0 */
    struct bf_ints params; /* the generator's own numbers; part of the function's key. They depend
                              on shapes, target, and (butterfly forms) values */
    struct {
        struct bf_host_pack *data;
        size_t count, capacity;
    } packs;
};

/* Where a generator is asked: kernels[0] and what follows it in the poly. */
struct bf_host_site {
    const struct bf_poly *poly;
    const struct bf_host_target *target;
    const struct bf_weights *weights; /* NULL: there are no parameters */
    struct bf_poly_kernel *const *kernels;
    size_t count;
    struct bf_arena *arena; /* for choice->params */
};
/* Whether `buffer` is a TEMP that only `reader` reads: the condition for fusing a pair. */
bool bf_host_only_reader(const struct bf_poly *poly, const struct bf_buffer *buffer,
                         const struct bf_poly_kernel *reader);

struct bf_gen; /* backend/host/gen.h */
struct bf_host_generator {
    const char *name;         /* "butterfly": in names of functions, dumps */
    enum bf_kernel_kind kind; /* of kernels[0] */
    /* False: not for this site; the next generator of the kind is asked. `choice` is zeroed but for
     * kernels = units = grain = 1. */
    bool (*choose)(const struct bf_host_site *site, struct bf_host_choice *choice);
    void (*generate)(struct bf_gen *gen);
};

/* A pointwise kernel (one MAP step) fused into the producer of one of its inputs. */
struct bf_host_epilogue {
    struct bf_poly_kernel *kernel;
    struct bf_host_choice *choice; /* whose packs are the kernel's params */
    int input;                     /* the input that is the producer's result */
};

/* One generated function:
 *
 *   void NAME.kI(const void *const *operands, void *scratch, int64_t begin, int64_t end)
 *
 * operands: outputs of the last kernel (of the epilogue, if there is one), inputs of the first
 * kernel, packs; inputs of the epilogue but for the produced one, packs of the epilogue. */
struct bf_host_function {
    const char *name;                          /* "k3.butterfly" */
    const struct bf_host_generator *generator; /* NULL: a chain */
    struct bf_poly_kernel *const *kernels;     /* of the first call */
    const struct bf_host_choice *choice;       /* likewise */
    const struct bf_host_epilogue *epilogue;   /* NULL: none */
    struct bf_loc loc;
    unsigned index;
};

enum bf_host_place { BF_HOST_BUFFER, BF_HOST_PACK };
struct bf_host_pointer {
    enum bf_host_place place;
    const struct bf_buffer *buffer;
    int64_t offset; /* bytes: in the buffer, or in the blob */
};

/* Calls that run one after the other. A chain runs them tile of rows by tile of rows: `length`
 * calls from here on, `chain_rows` rows a tile, so that buffers that live only in the chain need
 * only a tile of memory, in scratch. */
struct bf_host_call {
    const struct bf_host_function *function;
    struct bf_poly_kernel *const *kernels;
    const struct bf_host_choice *choice;
    const struct bf_host_epilogue *epilogue;
    struct {
        struct bf_host_pointer *data;
        size_t count, capacity;
    } operands;
    size_t length;      /* 1; more: the first of a chain; 0: a later one of a chain */
    int64_t chain_rows; /* of the first of a chain: a multiple of every unit_rows */
};

/* Where a TEMP buffer is. */
struct bf_host_temp {
    int64_t offset; /* in the workspace; in a chain's scratch; -1: nowhere (fused away) */
    bool in_chain;  /* then it holds a tile of rows */
};

struct bf_host_plan {
    struct bf_arena arena;
    struct bf_poly *poly;
    struct bf_host_target target;
    struct {
        struct bf_host_function **data;
        size_t count, capacity;
    } functions;
    struct {
        struct bf_host_call *data;
        size_t count, capacity;
    } calls;
    struct bf_host_temp *temps; /* by buffer->index */
    int64_t temp_bytes; /* of TEMP buffers: the workspace is this and the workers' scratch */
    int64_t scratch;    /* bytes a worker: the most that any call needs */
    struct {
        const struct bf_host_pack **data;
        size_t count, capacity;
    } packs;           /* in the order of the blob */
    int64_t blob_size; /* bytes */
};

struct bf_host_plan *bf_host_plan_create(struct bf_poly *poly /* owned */,
                                         const struct bf_host_target *target);
void bf_host_plan_free(struct bf_host_plan *plan); /* NULL is fine */
/* The blob, aligned to BF_HOST_ALIGN; the caller frees it. */
void *bf_host_blob(const struct bf_host_plan *plan, const struct bf_weights *weights);
/* One line a call: for people and tests. */
void bf_host_plan_print(const struct bf_host_plan *plan, struct bf_text *text);

/* Element [i..] of a parameter view as f64: `index` counts the view's elements, row-major. */
double bf_host_read(const struct bf_weights *values, const struct bf_param_view *view,
                    int64_t index);

#endif
