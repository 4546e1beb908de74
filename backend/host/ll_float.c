/* ll_float.c - floats and vectors of floats. See ll.h. */
#include "backend/host/ll.h"

LLVMTypeRef bf_ll_floats(struct bf_ll *ll, unsigned count) {
    return count == 1 ? ll->f32 : LLVMVectorType(ll->f32, count);
}

unsigned bf_ll_lanes(LLVMValueRef value) {
    LLVMTypeRef type = LLVMTypeOf(value);
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetVectorSize(type) : 1;
}

static LLVMTypeRef vector_of(LLVMTypeRef element, unsigned count) {
    return count == 1 ? element : LLVMVectorType(element, count);
}

LLVMValueRef bf_ll_const(struct bf_ll *ll, unsigned count, double value) {
    LLVMValueRef scalar = LLVMConstReal(ll->f32, value), lanes[64];
    for (unsigned i = 0; i < count; i++)
        lanes[i] = scalar;
    return count == 1 ? scalar : LLVMConstVector(lanes, count);
}

LLVMValueRef bf_ll_undef(struct bf_ll *ll, unsigned count) {
    return LLVMGetPoison(bf_ll_floats(ll, count));
}

/* ---- memory ---- */

LLVMValueRef bf_ll_load(struct bf_ll *ll, LLVMValueRef pointer, unsigned count, unsigned align) {
    LLVMValueRef value = LLVMBuildLoad2(ll->builder, bf_ll_floats(ll, count), pointer, "");
    LLVMSetAlignment(value, align);
    return value;
}

void bf_ll_store(struct bf_ll *ll, LLVMValueRef value, LLVMValueRef pointer, unsigned align) {
    LLVMSetAlignment(LLVMBuildStore(ll->builder, value, pointer), align);
}

void bf_ll_prefetch(struct bf_ll *ll, LLVMValueRef pointer) {
    unsigned id = LLVMLookupIntrinsicID("llvm.prefetch", 13);
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(ll->module, id, &ll->ptr, 1);
    LLVMTypeRef type = LLVMIntrinsicGetType(ll->context, id, &ll->ptr, 1);
    enum { READ, SECOND_LEVEL = 2, DATA = 1 };
    LLVMValueRef arguments[] = {pointer, LLVMConstInt(ll->i32, READ, false),
                                LLVMConstInt(ll->i32, SECOND_LEVEL, false),
                                LLVMConstInt(ll->i32, DATA, false)};
    LLVMBuildCall2(ll->builder, type, function, arguments, 4, "");
}

LLVMValueRef bf_ll_load_element(struct bf_ll *ll, enum bf_host_element element,
                                LLVMValueRef pointer, unsigned count) {
    if (element == BF_HOST_F32)
        return bf_ll_load(ll, pointer, count, 4);
    bool bytes = element == BF_HOST_U8;
    LLVMTypeRef type = vector_of(bytes ? ll->i8 : ll->i32, count);
    LLVMValueRef value = LLVMBuildLoad2(ll->builder, type, pointer, "");
    LLVMSetAlignment(value, bytes ? 1 : 4);
    return bytes ? LLVMBuildUIToFP(ll->builder, value, bf_ll_floats(ll, count), "")
                 : LLVMBuildSIToFP(ll->builder, value, bf_ll_floats(ll, count), "");
}

void bf_ll_store_element(struct bf_ll *ll, enum bf_host_element element, LLVMValueRef value,
                         LLVMValueRef pointer) {
    unsigned count = bf_ll_lanes(value), align = 4;
    if (element == BF_HOST_I32)
        value = LLVMBuildFPToSI(ll->builder, value, vector_of(ll->i32, count), "");
    if (element == BF_HOST_U8) {
        value = LLVMBuildFPToUI(ll->builder, value, vector_of(ll->i32, count), "");
        value = LLVMBuildTrunc(ll->builder, value, vector_of(ll->i8, count), "");
        align = 1;
    }
    bf_ll_store(ll, value, pointer, align);
}

LLVMValueRef bf_ll_splat(struct bf_ll *ll, LLVMValueRef scalar, unsigned count) {
    if (count == 1)
        return scalar;
    LLVMValueRef poison = bf_ll_undef(ll, count);
    LLVMValueRef one =
        LLVMBuildInsertElement(ll->builder, poison, scalar, LLVMConstInt(ll->i32, 0, false), "");
    return LLVMBuildShuffleVector(ll->builder, one, poison,
                                  LLVMConstNull(LLVMVectorType(ll->i32, count)), "");
}

LLVMValueRef bf_ll_load_splat(struct bf_ll *ll, LLVMValueRef pointer, unsigned count) {
    return bf_ll_splat(ll, bf_ll_load(ll, pointer, 1, 4), count);
}

/* ---- arithmetic ---- */

LLVMValueRef bf_ll_fadd(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildFAdd(ll->builder, a, b, "");
}
LLVMValueRef bf_ll_fsub(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildFSub(ll->builder, a, b, "");
}
LLVMValueRef bf_ll_fmul(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildFMul(ll->builder, a, b, "");
}
LLVMValueRef bf_ll_fdiv(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildFDiv(ll->builder, a, b, "");
}
LLVMValueRef bf_ll_fneg(struct bf_ll *ll, LLVMValueRef a) {
    return LLVMBuildFNeg(ll->builder, a, "");
}

static LLVMValueRef call(struct bf_ll *ll, unsigned id, LLVMValueRef *arguments, unsigned count) {
    LLVMTypeRef type = LLVMTypeOf(arguments[0]);
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(ll->module, id, &type, 1);
    LLVMTypeRef signature = LLVMIntrinsicGetType(ll->context, id, &type, 1);
    return LLVMBuildCall2(ll->builder, signature, function, arguments, count, "");
}

LLVMValueRef bf_ll_fabs(struct bf_ll *ll, LLVMValueRef a) {
    return call(ll, ll->fabs_id, &a, 1);
}
LLVMValueRef bf_ll_sqrt(struct bf_ll *ll, LLVMValueRef a) {
    return call(ll, ll->sqrt_id, &a, 1);
}
LLVMValueRef bf_ll_floor(struct bf_ll *ll, LLVMValueRef a) {
    return call(ll, ll->floor_id, &a, 1);
}
LLVMValueRef bf_ll_fma(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
    LLVMValueRef arguments[] = {a, b, c};
    return call(ll, ll->fma_id, arguments, 3);
}
LLVMValueRef bf_ll_fmax(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    LLVMValueRef above = LLVMBuildFCmp(ll->builder, LLVMRealOGT, a, b, "");
    return LLVMBuildSelect(ll->builder, above, a, b, "");
}
LLVMValueRef bf_ll_fmin(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b) {
    LLVMValueRef below = LLVMBuildFCmp(ll->builder, LLVMRealOLT, a, b, "");
    return LLVMBuildSelect(ll->builder, below, a, b, "");
}
LLVMValueRef bf_ll_select(struct bf_ll *ll, LLVMValueRef condition, LLVMValueRef a,
                          LLVMValueRef b) {
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(condition));
    LLVMValueRef above = LLVMBuildFCmp(ll->builder, LLVMRealOGE, condition, zero, "");
    return LLVMBuildSelect(ll->builder, above, a, b, "");
}

/* ---- lanes ---- */

LLVMValueRef bf_ll_shuffle(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b, const int *picks,
                           unsigned count) {
    LLVMValueRef lanes[64];
    for (unsigned i = 0; i < count; i++)
        lanes[i] = LLVMConstInt(ll->i32, (unsigned long long)picks[i], false);
    if (!b)
        b = LLVMGetPoison(LLVMTypeOf(a));
    return LLVMBuildShuffleVector(ll->builder, a, b, LLVMConstVector(lanes, count), "");
}

LLVMValueRef bf_ll_extract(struct bf_ll *ll, LLVMValueRef vector, unsigned lane) {
    if (bf_ll_lanes(vector) == 1)
        return vector;
    return LLVMBuildExtractElement(ll->builder, vector, LLVMConstInt(ll->i32, lane, false), "");
}

LLVMValueRef bf_ll_insert(struct bf_ll *ll, LLVMValueRef vector, LLVMValueRef scalar,
                          unsigned lane) {
    return LLVMBuildInsertElement(ll->builder, vector, scalar, LLVMConstInt(ll->i32, lane, false),
                                  "");
}

LLVMValueRef bf_ll_resize(struct bf_ll *ll, LLVMValueRef value, unsigned count) {
    unsigned have = bf_ll_lanes(value);
    int picks[64];
    if (have == count)
        return value;
    if (count == 1)
        return bf_ll_extract(ll, value, 0);
    if (have == 1)
        return bf_ll_insert(ll, bf_ll_const(ll, count, 0), value, 0);
    for (unsigned l = 0; l < count; l++)
        picks[l] = (int)(l < have ? l : have);
    return bf_ll_shuffle(ll, value, bf_ll_const(ll, have, 0), picks, count);
}

/* Lanes [first, first + count). */
static LLVMValueRef part(struct bf_ll *ll, LLVMValueRef vector, unsigned first, unsigned count) {
    int picks[64];
    for (unsigned i = 0; i < count; i++)
        picks[i] = (int)(first + i);
    return count == 1 ? bf_ll_extract(ll, vector, first)
                      : bf_ll_shuffle(ll, vector, NULL, picks, count);
}

LLVMValueRef bf_ll_first(struct bf_ll *ll, LLVMValueRef vector, unsigned count) {
    return part(ll, vector, 0, count);
}

typedef LLVMValueRef combine(struct bf_ll *ll, LLVMValueRef a, LLVMValueRef b);

static LLVMValueRef fold(struct bf_ll *ll, LLVMValueRef vector, combine *join) {
    unsigned count = bf_ll_lanes(vector);
    if (count == 1)
        return vector;
    unsigned half = count / 2;
    LLVMValueRef low = part(ll, vector, 0, half);
    LLVMValueRef sum = fold(ll, join(ll, low, part(ll, vector, half, half)), join);
    return count % 2 ? join(ll, sum, bf_ll_extract(ll, vector, count - 1)) : sum;
}

LLVMValueRef bf_ll_sum(struct bf_ll *ll, LLVMValueRef vector) {
    return fold(ll, vector, bf_ll_fadd);
}
LLVMValueRef bf_ll_maximum(struct bf_ll *ll, LLVMValueRef vector) {
    return fold(ll, vector, bf_ll_fmax);
}

/* Swaps bit `distance` of the row number with the same bit of the lane, bit after bit. */
void bf_ll_transpose(struct bf_ll *ll, LLVMValueRef *rows, unsigned count) {
    for (unsigned distance = 1; distance < count; distance *= 2)
        for (unsigned r = 0; r < count; r++) {
            if (r & distance)
                continue;
            int low[64], high[64];
            for (unsigned lane = 0; lane < count; lane++) {
                bool second = lane & distance;
                low[lane] = (int)(second ? count + lane - distance : lane);
                high[lane] = (int)(second ? count + lane : lane + distance);
            }
            LLVMValueRef a = rows[r], b = rows[r + distance];
            rows[r] = bf_ll_shuffle(ll, a, b, low, count);
            rows[r + distance] = bf_ll_shuffle(ll, a, b, high, count);
        }
}
