/* ll.h - a thin layer over LLVM-C for generated kernels: floats, vectors, loops.
 *
 * Portable vector IR only, no target intrinsics. Of the arguments of one call, one at most may add
 * instructions: C does not say which of two would come first (test/check_sequence.py). Vectors have
 * any number of lanes: a tail of 5 columns is <5 x float>, whose loads and stores touch exactly 20
 * bytes. A count of 1 is a scalar.
 */
#ifndef BF_HOST_LL_H
#define BF_HOST_LL_H

#include <stdbool.h>
#include <stdint.h>

#include <llvm-c/Core.h>
#include <llvm-c/DebugInfo.h>

#include "ir/host.h"

struct bf_ll {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder; /* where the next instruction goes */
    LLVMTypeRef i1, i8, i32, i64, f32, ptr, nothing;
    unsigned fma_id, fabs_id, sqrt_id, floor_id; /* intrinsics, overloaded */
    LLVMValueRef loop_metadata;                  /* llvm.loop.unroll.disable etc. */
};
void bf_ll_init(struct bf_ll *ll, LLVMContextRef context, LLVMModuleRef module,
                LLVMBuilderRef builder);

/* ---- integers (i64) and pointers ---- */

LLVMValueRef bf_ll_int(struct bf_ll *ll, int64_t value);
LLVMValueRef bf_ll_add(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef bf_ll_sub(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef bf_ll_mul(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef bf_ll_add_int(struct bf_ll *ll, LLVMValueRef a, int64_t b);
LLVMValueRef bf_ll_mul_int(struct bf_ll *ll, LLVMValueRef a, int64_t b);
LLVMValueRef bf_ll_div_int(struct bf_ll *ll, LLVMValueRef a, int64_t b); /* a >= 0 */
LLVMValueRef bf_ll_rem_int(struct bf_ll *ll, LLVMValueRef a, int64_t b);
LLVMValueRef bf_ll_min(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b); /* signed i64 */
LLVMValueRef bf_ll_max(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef bf_ll_less(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b); /* i1 */
LLVMValueRef bf_ll_dot(struct bf_ll *ll, LLVMValueRef a, int64_t a_factor, LLVMValueRef b,
                       int64_t b_factor); /* a x a_factor + b x b_factor */
/* pointer + index floats / bytes; `index` is an i64. */
LLVMValueRef bf_ll_at(struct bf_ll *ll, LLVMValueRef pointer, LLVMValueRef index);
LLVMValueRef bf_ll_at_int(struct bf_ll *ll, LLVMValueRef pointer, int64_t index);
LLVMValueRef bf_ll_at_row(struct bf_ll *ll, LLVMValueRef pointer, LLVMValueRef row, int64_t pitch);
LLVMValueRef bf_ll_at_byte(struct bf_ll *ll, LLVMValueRef pointer, LLVMValueRef offset);

/* ---- floats: all take and give f32 or vectors of f32 ---- */

LLVMTypeRef bf_ll_floats(struct bf_ll *ll, unsigned count); /* f32, or <count x f32> */
unsigned bf_ll_lanes(LLVMValueRef value);                   /* 1: scalar */
LLVMValueRef bf_ll_const(struct bf_ll *ll, unsigned count,
                         double value); /* the same in each lane */
LLVMValueRef bf_ll_undef(struct bf_ll *ll, unsigned count);
LLVMValueRef bf_ll_load(struct bf_ll *ll, LLVMValueRef pointer, unsigned count, unsigned align);
void bf_ll_store(struct bf_ll *ll, LLVMValueRef value, LLVMValueRef pointer, unsigned align);
/* Asks for a cache line that will be read; any address is fine. */
void bf_ll_prefetch(struct bf_ll *ll, LLVMValueRef pointer);
/* Elements of a kind as floats: u8 0..255 and i32 are converted. */
LLVMValueRef bf_ll_load_element(struct bf_ll *ll, enum bf_host_element element,
                                LLVMValueRef pointer, unsigned count);
void bf_ll_store_element(struct bf_ll *ll, enum bf_host_element element, LLVMValueRef value,
                         LLVMValueRef pointer);
/* A scalar in each of `count` lanes. */
LLVMValueRef bf_ll_splat(struct bf_ll *ll, LLVMValueRef scalar, unsigned count);
LLVMValueRef bf_ll_load_splat(struct bf_ll *ll, LLVMValueRef pointer, unsigned count);
LLVMValueRef bf_ll_fadd(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef bf_ll_fsub(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef bf_ll_fmul(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef bf_ll_fdiv(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef bf_ll_fneg(struct bf_ll *ll, LLVMValueRef a);
LLVMValueRef bf_ll_fabs(struct bf_ll *ll, LLVMValueRef a);
LLVMValueRef bf_ll_sqrt(struct bf_ll *ll, LLVMValueRef a);
LLVMValueRef bf_ll_floor(struct bf_ll *ll, LLVMValueRef a);
LLVMValueRef bf_ll_fma(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c); /* ab+c */
/* a > b ? a : b, lane by lane: one instruction; b where one is NaN. */
LLVMValueRef bf_ll_fmax(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef bf_ll_fmin(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b);
/* condition >= 0 ? a : b */
LLVMValueRef bf_ll_select(struct bf_ll *ll, LLVMValueRef condition, LLVMValueRef a, LLVMValueRef b);
/* Lane i of the result is lane picks[i] of a, or lane picks[i] - lanes(a) of b (NULL: of a only).
 */
LLVMValueRef bf_ll_shuffle(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b, const int *picks,
                           unsigned count);
/* Lanes [0, count). */
LLVMValueRef bf_ll_first(struct bf_ll *ll, LLVMValueRef vector, unsigned count);
LLVMValueRef bf_ll_extract(struct bf_ll *ll, LLVMValueRef vector, unsigned lane);
LLVMValueRef bf_ll_insert(struct bf_ll *ll, LLVMValueRef vector, LLVMValueRef scalar,
                          unsigned lane);
/* The first `count` lanes; those the value does not have are 0. */
LLVMValueRef bf_ll_resize(struct bf_ll *ll, LLVMValueRef value, unsigned count);
/* Sum or maximum of all lanes, halves first: a scalar. */
LLVMValueRef bf_ll_sum(struct bf_ll *ll, LLVMValueRef vector);
LLVMValueRef bf_ll_maximum(struct bf_ll *ll, LLVMValueRef vector);
/* rows[i] becomes column i: count vectors of count lanes, a power of two. */
void bf_ll_transpose(struct bf_ll *ll, LLVMValueRef *rows, unsigned count);

/* ---- memory on the stack ---- */

/* At the entry of the current function, aligned to BF_HOST_ALIGN; for scalars that loops carry
 * (mem2reg makes registers of them) and small tables. */
LLVMValueRef bf_ll_local(struct bf_ll *ll, LLVMTypeRef type, const char *name);

/* ---- loops: for (index = begin; index < end; index += step) { ... } ----
 *
 *     struct bf_ll_loop loop;
 *     bf_ll_loop_begin(ll, &loop, begin, end, 16);
 *     ... uses loop.index; carries values with bf_ll_carry ...
 *     bf_ll_loop_end(ll, &loop);
 *
 * Never unrolled. A loop whose range may be empty is fine. */
enum { BF_LL_MOST_CARRIED = 64 };
struct bf_ll_loop {
    LLVMValueRef index; /* i64 */
    LLVMValueRef end;
    int64_t step;
    LLVMBasicBlockRef before, body, done;
    unsigned carried_count;
    /* In the loop: the values of this round, and those for the next, to be set. */
    LLVMValueRef carried[BF_LL_MOST_CARRIED], next[BF_LL_MOST_CARRIED], start[BF_LL_MOST_CARRIED];
};
void bf_ll_loop_begin(struct bf_ll *ll, struct bf_ll_loop *loop, LLVMValueRef begin,
                      LLVMValueRef end, int64_t step);
/* Right after bf_ll_loop_begin: a value carried from round to round, `start` in the first. Gives
 * its number. Read loop->carried[number] inside, set loop->next[number] before the end; after the
 * end loop->carried[number] is the last value. */
unsigned bf_ll_carry(struct bf_ll *ll, struct bf_ll_loop *loop, LLVMValueRef start);
void bf_ll_loop_end(struct bf_ll *ll, struct bf_ll_loop *loop);

/* if (condition) { ... } */
struct bf_ll_if {
    LLVMBasicBlockRef done;
};
void bf_ll_if_begin(struct bf_ll *ll, struct bf_ll_if *branch, LLVMValueRef condition);
void bf_ll_if_end(struct bf_ll *ll, struct bf_ll_if *branch);

#endif
