/* tensor.h - named tensors as files have them, and their way to the types of the array. */
#ifndef BF_RUNTIME_TENSOR_H
#define BF_RUNTIME_TENSOR_H

#include "ir/isa/base.h"
#include "ir/isa/fp.h"

/* Element types of files: ELEMENT(NAME, safetensors name, bytes). */
#define BF_ELEMENTS(ELEMENT)                                                                       \
    ELEMENT(F16, "F16", 2)                                                                         \
    ELEMENT(BF16, "BF16", 2)                                                                       \
    ELEMENT(F32, "F32", 4)                                                                         \
    ELEMENT(F64, "F64", 8)                                                                         \
    ELEMENT(I32, "I32", 4)                                                                         \
    ELEMENT(I64, "I64", 8)                                                                         \
    ELEMENT(U8, "U8", 1)                                                                           \
    ELEMENT(BOOL, "BOOL", 1)

enum bf_element {
#define BF_ELEMENT_CONSTANT(NAME, text, bytes) BF_ELEMENT_##NAME,
    BF_ELEMENTS(BF_ELEMENT_CONSTANT)
#undef BF_ELEMENT_CONSTANT
        BF_ELEMENT_COUNT
};
const char *bf_element_name(enum bf_element type); /* "BF16" */
size_t bf_element_size(enum bf_element type);      /* bytes */
bool bf_element_is_float(enum bf_element type);

enum { BF_TENSOR_MAX_RANK = 8 };

/* Row-major, little-endian; the data need not be aligned. Names are UTF-8. */
struct bf_tensor {
    const char *name;
    enum bf_element type;
    unsigned rank;
    uint64_t dims[BF_TENSOR_MAX_RANK];
    const void *data;
    size_t size; /* bytes: the product of the dims times bf_element_size */
};

/* The product of the dims; 1 for rank 0. False if it does not fit 64 bits. */
bool bf_shape_elements(unsigned rank, const uint64_t *dims, uint64_t *elements);
uint64_t bf_tensor_elements(const struct bf_tensor *tensor);
/* "[128, 768]", appended. */
void bf_text_add_shape(struct bf_text *text, unsigned rank, const uint64_t *dims);

/* Element number `index` in row-major order. Exact, but for I64 beyond 2^53, rounded once. */
double bf_tensor_double(const struct bf_tensor *tensor, uint64_t index);

/* The conversions take elements first .. first + count - 1 of a tensor; errors name the tensor and
 * the place of the first offending element. */

/* What rounding to fp16 did: finite values that became infinite, infinities and NaNs that were in
 * the tensor already, and where the first of any of them is. */
struct bf_range_count {
    uint64_t overflowed, infinities, nans;
    uint64_t first; /* element number in the tensor; meaningful if any count is not 0 */
};
/* Floats, U8 and BOOL to fp16, rounded once. Integers wider than that are refused: they are ids.
 * `counts` is added to. */
bool bf_tensor_to_half(const struct bf_tensor *tensor, uint64_t first, uint64_t count, bf_half *out,
                       struct bf_range_count *counts, struct bf_error *error);
/* Integers and BOOL to i32; a value that does not fit is an error, a float tensor too. */
bool bf_tensor_to_i32(const struct bf_tensor *tensor, uint64_t first, uint64_t count, int32_t *out,
                      struct bf_error *error);
/* A mask: integers and BOOL, 0 or 1, to fp16 0.0 or 1.0; any other value is an error. */
bool bf_tensor_to_mask(const struct bf_tensor *tensor, uint64_t first, uint64_t count, bf_half *out,
                       struct bf_error *error);
/* Any type to f32, rounded once. */
void bf_tensor_to_float(const struct bf_tensor *tensor, uint64_t first, uint64_t count, float *out);

#endif
