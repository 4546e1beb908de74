/* tensor.c - elements and their conversions. See tensor.h. */
#include "runtime/tensor.h"

#include <inttypes.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensors are read as they lie in files");

static const struct {
    const char *name;
    size_t size;
} elements[BF_ELEMENT_COUNT] = {
#define BF_ELEMENT_ROW(NAME, text, bytes) [BF_ELEMENT_##NAME] = {text, bytes},
    BF_ELEMENTS(BF_ELEMENT_ROW)
#undef BF_ELEMENT_ROW
};

const char *bf_element_name(enum bf_element type) {
    return elements[type].name;
}

size_t bf_element_size(enum bf_element type) {
    return elements[type].size;
}

bool bf_element_is_float(enum bf_element type) {
    return type == BF_ELEMENT_F16 || type == BF_ELEMENT_BF16 || type == BF_ELEMENT_F32 ||
           type == BF_ELEMENT_F64;
}

bool bf_shape_elements(unsigned rank, const uint64_t *dims, uint64_t *count) {
    *count = 1;
    for (unsigned i = 0; i < rank; i++)
        if (__builtin_mul_overflow(*count, dims[i], count))
            return false;
    return true;
}

uint64_t bf_tensor_elements(const struct bf_tensor *tensor) {
    uint64_t count;
    bf_shape_elements(tensor->rank, tensor->dims, &count);
    return count;
}

void bf_text_add_shape(struct bf_text *text, unsigned rank, const uint64_t *dims) {
    bf_text_add(text, "[");
    for (unsigned i = 0; i < rank; i++)
        bf_text_printf(text, "%s%" PRIu64, i ? ", " : "", dims[i]);
    bf_text_add(text, "]");
}

/* ---- one element ---- */

static const unsigned char *element_at(const struct bf_tensor *tensor, uint64_t index) {
    return (const unsigned char *)tensor->data + index * elements[tensor->type].size;
}

static uint16_t load_u16(const unsigned char *at) {
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return bits;
}

static float load_f32(const unsigned char *at) {
    float x;
    memcpy(&x, at, sizeof x);
    return x;
}

static double load_f64(const unsigned char *at) {
    double x;
    memcpy(&x, at, sizeof x);
    return x;
}

/* Integer types only. */
static int64_t load_integer(const struct bf_tensor *tensor, uint64_t index) {
    const unsigned char *at = element_at(tensor, index);
    int64_t wide;
    int32_t narrow;
    switch (tensor->type) {
    case BF_ELEMENT_I64:
        memcpy(&wide, at, sizeof wide);
        return wide;
    case BF_ELEMENT_I32:
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    case BF_ELEMENT_BOOL:
        return *at != 0;
    default:
        return *at;
    }
}

double bf_tensor_double(const struct bf_tensor *tensor, uint64_t index) {
    const unsigned char *at = element_at(tensor, index);
    switch (tensor->type) {
    case BF_ELEMENT_F16:
        return bf_half_to_double(load_u16(at));
    case BF_ELEMENT_BF16:
        return (double)bf_bits_float((uint32_t)load_u16(at) << 16);
    case BF_ELEMENT_F32:
        return (double)load_f32(at);
    case BF_ELEMENT_F64:
        return load_f64(at);
    default:
        return (double)load_integer(tensor, index);
    }
}

/* ---- many elements ---- */

/* "'x'[3, 17]": the place of an element, for messages. */
static void describe_place(struct bf_text *text, const struct bf_tensor *tensor, uint64_t index) {
    uint64_t place[BF_TENSOR_MAX_RANK];
    for (unsigned i = tensor->rank; i-- > 0;) {
        place[i] = index % tensor->dims[i];
        index /= tensor->dims[i];
    }
    bf_text_printf(text, "'%s'", tensor->name);
    if (tensor->rank)
        bf_text_add_shape(text, tensor->rank, place);
}

static bool bad_value(const struct bf_tensor *tensor, uint64_t index, const char *wanted,
                      struct bf_error *error) {
    struct bf_text place = {0};
    describe_place(&place, tensor, index);
    bf_fail(error, BF_ERROR_INPUT, "%s is %" PRId64 "; %s", place.data, load_integer(tensor, index),
            wanted);
    bf_text_free(&place);
    return false;
}

static bool bad_type(const struct bf_tensor *tensor, const char *wanted, struct bf_error *error) {
    return bf_fail(error, BF_ERROR_INPUT, "'%s' holds %s; %s", tensor->name,
                   bf_element_name(tensor->type), wanted);
}

static bf_half round_element(const struct bf_tensor *tensor, uint64_t index) {
    const unsigned char *at = element_at(tensor, index);
    switch (tensor->type) {
    case BF_ELEMENT_F16:
        return load_u16(at);
    case BF_ELEMENT_BF16:
        return bf_half_from_float(bf_bits_float((uint32_t)load_u16(at) << 16));
    case BF_ELEMENT_F32:
        return bf_half_from_float(load_f32(at));
    default:
        return bf_half_from_double(bf_tensor_double(tensor, index));
    }
}

static bool source_is_infinite(const struct bf_tensor *tensor, uint64_t index) {
    double x = bf_tensor_double(tensor, index);
    return x - x != 0; /* NaN for infinities; NaNs are not asked */
}

static void count_special(const struct bf_tensor *tensor, uint64_t index, bf_half h,
                          struct bf_range_count *counts) {
    if (!(counts->overflowed | counts->infinities | counts->nans))
        counts->first = index;
    if (bf_half_is_nan(h))
        counts->nans++;
    else if (source_is_infinite(tensor, index))
        counts->infinities++;
    else
        counts->overflowed++;
}

bool bf_tensor_to_half(const struct bf_tensor *tensor, uint64_t first, uint64_t count, bf_half *out,
                       struct bf_range_count *counts, struct bf_error *error) {
    if (tensor->type == BF_ELEMENT_I32 || tensor->type == BF_ELEMENT_I64)
        return bad_type(tensor, "an input of numbers takes F16, BF16, F32, F64, U8 or BOOL", error);
    for (uint64_t i = 0; i < count; i++) {
        out[i] = round_element(tensor, first + i);
        if (bf_half_is_nan(out[i]) || bf_half_is_infinity(out[i])) {
            count_special(tensor, first + i, out[i], counts);
            if (bf_half_is_nan(out[i]))
                out[i] = BF_HALF_NAN; /* not the pattern that marks uninitialised storage */
        }
    }
    return true;
}

bool bf_tensor_to_i32(const struct bf_tensor *tensor, uint64_t first, uint64_t count, int32_t *out,
                      struct bf_error *error) {
    if (bf_element_is_float(tensor->type))
        return bad_type(tensor, "an input of ids takes I32, I64, U8 or BOOL", error);
    for (uint64_t i = 0; i < count; i++) {
        int64_t value = load_integer(tensor, first + i);
        if (value < INT32_MIN || value > INT32_MAX)
            return bad_value(tensor, first + i, "an i32 cannot hold it", error);
        out[i] = (int32_t)value;
    }
    return true;
}

bool bf_tensor_to_mask(const struct bf_tensor *tensor, uint64_t first, uint64_t count, bf_half *out,
                       struct bf_error *error) {
    if (bf_element_is_float(tensor->type))
        return bad_type(tensor, "a mask takes U8, BOOL, I32 or I64", error);
    for (uint64_t i = 0; i < count; i++) {
        int64_t value = load_integer(tensor, first + i);
        if (value != 0 && value != 1)
            return bad_value(tensor, first + i, "a mask holds 0 or 1", error);
        out[i] = value ? BF_HALF_ONE : BF_HALF_ZERO;
    }
    return true;
}

void bf_tensor_to_float(const struct bf_tensor *tensor, uint64_t first, uint64_t count,
                        float *out) {
    /* I64 goes straight to float: by way of double it would be rounded twice. */
    for (uint64_t i = 0; i < count; i++)
        out[i] = tensor->type == BF_ELEMENT_I64 ? (float)load_integer(tensor, first + i)
                                                : (float)bf_tensor_double(tensor, first + i);
}
