/* test_safetensors.c - tensor files: what is read, what is refused, what is written; conversions.
 */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/safetensors.h"

/* A file with this header and so many bytes of data 0, 1, 2, ... */
static uint8_t *make_file(const char *header, size_t data_size, size_t *size) {
    uint64_t length = strlen(header);
    *size = 8 + length + data_size;
    uint8_t *bytes = bf_alloc(*size);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_size; i++)
        bytes[8 + length + i] = (uint8_t)i;
    return bytes;
}

static void a_file_is_read(void **state) {
    (void)state;
    size_t size;
    uint8_t *bytes =
        make_file("{\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[4,7]},"
                  "\"a\":{\"dtype\":\"F16\",\"shape\":[1,2],\"data_offsets\":[0,4]},"
                  "\"none\":{\"dtype\":\"F64\",\"shape\":[5,0],\"data_offsets\":[4,4]},"
                  "\"one\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[7,8]},"
                  "\"__metadata__\":{\"z\":\"last\",\"format\":\"pt\"}}   ",
                  8, &size);
    struct bf_error error = {0};
    struct bf_tensor_file *file = bf_tensor_file_parse(bytes, size, "f", &error);
    assert_string_equal(error.text, "");
    assert_non_null(file);
    assert_int_equal(file->tensor_count, 4);
    assert_string_equal(file->tensors[0].name, "a");
    assert_string_equal(file->tensors[1].name, "b");
    const struct bf_tensor *a = bf_tensor_file_find(file, "a"), *b = &file->tensors[1];
    assert_ptr_equal(a, &file->tensors[0]);
    assert_int_equal(a->type, BF_ELEMENT_F16);
    assert_int_equal(a->rank, 2);
    assert_int_equal(a->dims[0], 1);
    assert_int_equal(a->dims[1], 2);
    assert_int_equal(a->size, 4);
    assert_int_equal(bf_tensor_double(b, 2), 6);
    assert_int_equal(bf_tensor_elements(bf_tensor_file_find(file, "none")), 0);
    assert_int_equal(bf_tensor_elements(bf_tensor_file_find(file, "one")), 1);
    assert_null(bf_tensor_file_find(file, "c"));
    assert_int_equal(file->metadata_count, 2);
    assert_string_equal(file->metadata[0].key, "format");
    assert_string_equal(file->metadata[0].value, "pt");
    bf_tensor_file_free(file);
    free(bytes);
}

#define T(type, shape, range)                                                                      \
    "{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" range "}"

/* Each header stands over 8 bytes of data. */
static const struct {
    const char *header, *message;
} refused[] = {
    {"[]", "does not begin with '{'"},
    {" {}", "does not begin with '{'"},
    {"{\"a\":1}", "'a' is described by no object"},
    {"{", "header, byte 1"},
    {"{}{}", "end of file expected"},
    {"{}", "bytes 0 to 8 belong to no tensor"},
    {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"a\":" T("F32", "[2]", "[0,8]") "}",
     "duplicate object key"},
    {"{\"\xff\":" T("F32", "[2]", "[0,8]") "}", "unable to decode byte 0xff"},
    {"{\"\\u0000\":" T("F32", "[2]", "[0,8]") "}", "\\u0000"},
    {"{\"a\\u001b[31m\":" T("F32", "[2]", "[0,8]") "}", "control characters"},
    {"{\"a\\u009b31m\":" T("F32", "[2]", "[0,8]") "}", "control characters"},
    {"{\"a\":" T("F8_E4M3", "[8]", "[0,8]") "}", "'a' holds F8_E4M3"},
    {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", "'a' has no \"dtype\""},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", "'a' has no \"shape\""},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "'a' has no \"data_offsets\""},
    {"{\"a\":" T("F32", "[2]", "[0,4,8]") "}", "\"data_offsets\" of two numbers"},
    {"{\"a\":" T("F32", "[2]", "[8]") "}", "\"data_offsets\" of two numbers"},
    {"{\"a\":" T("F32", "[2]", "[-8,0]") "}", "\"data_offsets\" of two numbers"},
    {"{\"a\":" T("F32", "[2.0]", "[0,8]") "}", "dimension 0 is no natural number"},
    {"{\"a\":" T("F32", "[-2]", "[0,8]") "}", "dimension 0 is no natural number"},
    {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}", "has 9 dimensions"},
    {"{\"a\":" T("F32", "[2]", "[8,0]") "}", "'a' lies at bytes 8 to 0 of 8"},
    {"{\"a\":" T("F32", "[2]", "[0,9]") "}", "'a' lies at bytes 0 to 9 of 8"},
    {"{\"a\":" T("F32", "[2]", "[0,18446744073709551624]") "}", "too big integer"},
    {"{\"a\":" T("F32", "[1]", "[0,8]") "}", "'a' has 8 bytes; its type and shape need 4"},
    {"{\"a\":" T("F32", "[4611686018427387904,4]", "[0,0]") "}", "larger than any memory"},
    {"{\"a\":" T("F64", "[4611686018427387904]", "[0,0]") "}", "larger than any memory"},
    {"{\"a\":" T("U8", "[8]", "[0,8]") ",\"b\":" T("U8", "[1]", "[7,8]") "}",
     "'a' and 'b' overlap"},
    {"{\"a\":" T("U8", "[3]", "[0,3]") ",\"b\":" T("U8", "[4]", "[4,8]") "}",
     "bytes 3 to 4 belong to no tensor"},
    {"{\"a\":" T("U8", "[7]", "[0,7]") "}", "bytes 7 to 8 belong to no tensor"},
    {"{\"__metadata__\":{\"a\":1}}", "in \"__metadata__\" is no string"},
    {"{\"__metadata__\":[]}", "\"__metadata__\" is no object"},
};

static void bad_files_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        size_t size;
        uint8_t *bytes = make_file(refused[i].header, 8, &size);
        struct bf_error error = {0};
        assert_null(bf_tensor_file_parse(bytes, size, "bad.safetensors", &error));
        assert_int_equal(error.code, BF_ERROR_INPUT);
        if (!strstr(error.text, refused[i].message))
            fail_msg("%s: got \"%s\"", refused[i].header, error.text);
        assert_ptr_equal(strstr(error.text, "bad.safetensors: "), error.text);
        free(bytes);
    }
}

static void cut_files_are_refused(void **state) {
    (void)state;
    size_t size;
    uint8_t *bytes = make_file("{\"a\":" T("F32", "[2]", "[0,8]") "}", 8, &size);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = bf_alloc(cut); /* exact size, so that a sanitizer sees a read beyond it */
        memcpy(part, bytes, cut);
        struct bf_error error = {0};
        assert_null(bf_tensor_file_parse(part, cut, "f", &error));
        assert_int_equal(error.code, BF_ERROR_INPUT);
        free(part);
    }
    struct bf_error error = {0};
    memset(bytes, 0xff, 8);
    assert_null(bf_tensor_file_parse(bytes, size, "f", &error));
    assert_non_null(strstr(error.text, "a header of 18446744073709551615 bytes in a file of"));
    free(bytes);
}

static void deep_headers_are_refused(void **state) {
    (void)state;
    size_t depth = 200000, size;
    char *header = bf_alloc(depth + 10);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', depth);
    uint8_t *bytes = make_file(header, 0, &size);
    struct bf_error error = {0};
    assert_null(bf_tensor_file_parse(bytes, size, "f", &error));
    assert_non_null(strstr(error.text, "depth"));
    free(bytes);
    free(header);
}

static void missing_files_are_named(void **state) {
    (void)state;
    struct bf_error error = {0};
    assert_null(bf_tensor_file_read("/nowhere/x.safetensors", &error));
    assert_non_null(strstr(error.text, "/nowhere/x.safetensors"));
}

static void written_bytes_are_canonical(void **state) {
    (void)state;
    const uint8_t b[] = {1, 2, 3};
    const int32_t a[] = {-1, 7};
    const struct bf_tensor tensors[] = {
        {.name = "b\"\\", .type = BF_ELEMENT_U8, .rank = 1, .dims = {3}, .data = b, .size = 3},
        {.name = "c", .type = BF_ELEMENT_I32, .rank = 2, .dims = {2, 1}, .data = a, .size = 8},
    };
    const struct bf_metadata metadata[] = {{"z", "1"}, {"k", "line\n"}};
    /* The wider type first, and the header padded to 8 bytes. */
    const char *header = "{\"__metadata__\":{\"k\":\"line\\u000a\",\"z\":\"1\"},"
                         "\"b\\\"\\\\\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]},"
                         "\"c\":{\"dtype\":\"I32\",\"shape\":[2,1],\"data_offsets\":[0,8]}}";
    size_t length = (strlen(header) + 7) / 8 * 8, size;
    struct bf_error error = {0};
    uint8_t *bytes = bf_tensor_file_encode(tensors, 2, metadata, 2, &size, &error);
    assert_non_null(bytes);
    assert_int_equal(size, 8 + length + 11);
    assert_int_equal(bytes[0] | bytes[1] << 8, length);
    assert_memory_equal(bytes + 8, header, strlen(header));
    for (size_t i = strlen(header); i < length; i++)
        assert_int_equal(bytes[8 + i], ' ');
    assert_memory_equal(bytes + 8 + length, a, 8);
    assert_memory_equal(bytes + 8 + length + 8, b, 3);

    const struct bf_tensor other_order[] = {tensors[1], tensors[0]};
    size_t other_size;
    uint8_t *other = bf_tensor_file_encode(other_order, 2, metadata, 2, &other_size, &error);
    assert_int_equal(other_size, size);
    assert_memory_equal(other, bytes, size);
    free(other);
    free(bytes);
}

static void what_is_written_reads_back(void **state) {
    (void)state;
    static const uint8_t data[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct bf_tensor tensors[BF_ELEMENT_COUNT];
    for (int i = 0; i < BF_ELEMENT_COUNT; i++) {
        enum bf_element type = (enum bf_element)i;
        tensors[i] = (struct bf_tensor){.name = bf_element_name(type),
                                        .type = type,
                                        .rank = 3,
                                        .dims = {2, 1, 4},
                                        .data = data,
                                        .size = 8 * bf_element_size(type)};
    }
    char path[] = "/tmp/bf_safetensors_XXXXXX";
    close(mkstemp(path));
    struct bf_error error = {0};
    assert_true(bf_tensor_file_write(path, tensors, BF_ELEMENT_COUNT, NULL, 0, &error));
    struct bf_tensor_file *file = bf_tensor_file_read(path, &error);
    assert_non_null(file);
    assert_int_equal(file->tensor_count, BF_ELEMENT_COUNT);
    for (int i = 0; i < BF_ELEMENT_COUNT; i++) {
        const struct bf_tensor *read = bf_tensor_file_find(file, tensors[i].name);
        assert_non_null(read);
        assert_int_equal(read->type, tensors[i].type);
        assert_int_equal(read->size, tensors[i].size);
        assert_memory_equal(read->data, data, read->size);
        assert_int_equal((uintptr_t)read->data % bf_element_size(read->type), 0);
    }
    bf_tensor_file_free(file);
    unlink(path);
}

static void bad_names_are_not_written(void **state) {
    (void)state;
    const char *bad[][2] = {{"x", "x"}, {"x", "\xc3("}, {"x", "__metadata__"}, {"x", "a\nb"}};
    for (size_t i = 0; i < 4; i++) {
        struct bf_tensor tensors[2] = {{.name = bad[i][0], .dims = {0}, .rank = 1, .data = ""},
                                       {.name = bad[i][1], .dims = {0}, .rank = 1, .data = ""}};
        struct bf_error error = {0};
        size_t size;
        assert_null(bf_tensor_file_encode(tensors, 2, NULL, 0, &size, &error));
        assert_int_equal(error.code, BF_ERROR_INPUT);
        assert_false(bf_tensor_file_write("/tmp/bf_not_written", tensors, 2, NULL, 0, NULL));
        assert_int_not_equal(access("/tmp/bf_not_written", F_OK), 0);
    }
}

static struct bf_tensor vector(enum bf_element type, const void *data, uint64_t count) {
    return (struct bf_tensor){.name = "v",
                              .type = type,
                              .rank = 1,
                              .dims = {count},
                              .data = data,
                              .size = (size_t)count * bf_element_size(type)};
}

/* 1 + 2^-11 + 2^-30 lies just above the middle of two fp16 numbers: rounding it to f32 first would
 * put it onto the middle and then, to even, down to 1. */
static void floats_round_once(void **state) {
    (void)state;
    const double wide[] = {1 + 0x1p-11 + 0x1p-30, 65519.999, -65520, 0x1p-25, INFINITY, NAN};
    bf_half half[6];
    struct bf_range_count counts = {0};
    struct bf_error error = {0};
    struct bf_tensor v = vector(BF_ELEMENT_F64, wide, 6);
    assert_true(bf_tensor_to_half(&v, 0, 6, half, &counts, &error));
    const bf_half expected[] = {0x3c01, 0x7bff, 0xfc00, 0x0000, 0x7c00, BF_HALF_NAN};
    assert_memory_equal(half, expected, sizeof half);
    assert_int_equal(counts.overflowed, 1);
    assert_int_equal(counts.infinities, 1);
    assert_int_equal(counts.nans, 1);
    assert_int_equal(counts.first, 2);

    const float narrow[] = {1.5f, 65504, 0x1p-24f};
    v = vector(BF_ELEMENT_F32, narrow, 3);
    assert_true(bf_tensor_to_half(&v, 1, 2, half, &counts, &error));
    assert_int_equal(half[0], 0x7bff);
    assert_int_equal(half[1], 0x0001);

    const uint16_t brain[] = {0x3f80, 0xc120, 0x4780}; /* 1, -10, 65536 */
    v = vector(BF_ELEMENT_BF16, brain, 3);
    counts = (struct bf_range_count){0};
    assert_true(bf_tensor_to_half(&v, 0, 3, half, &counts, &error));
    assert_int_equal(half[0], 0x3c00);
    assert_int_equal(half[1], 0xc900);
    assert_int_equal(half[2], 0x7c00);
    assert_int_equal(counts.overflowed, 1);
    assert_true(bf_tensor_double(&v, 1) == -10);

    const uint16_t halves[] = {0x7e01, 0x3c01};
    v = vector(BF_ELEMENT_F16, halves, 2);
    assert_true(bf_tensor_to_half(&v, 0, 2, half, &counts, &error));
    assert_int_equal(half[0], BF_HALF_NAN); /* never the pattern of uninitialised storage */
    assert_int_equal(half[1], 0x3c01);
}

static void integers_are_checked(void **state) {
    (void)state;
    const int64_t ids[] = {5, -3, INT32_MAX, INT32_MIN, (int64_t)INT32_MAX + 1};
    struct bf_tensor v = vector(BF_ELEMENT_I64, ids, 5);
    int32_t out[5];
    struct bf_error error = {0};
    assert_true(bf_tensor_to_i32(&v, 0, 4, out, &error));
    assert_int_equal(out[1], -3);
    assert_int_equal(out[3], INT32_MIN);
    assert_false(bf_tensor_to_i32(&v, 0, 5, out, &error));
    assert_string_equal(error.text, "'v'[4] is 2147483648; an i32 cannot hold it");

    bf_half half[5];
    struct bf_range_count counts = {0};
    error = (struct bf_error){0};
    assert_false(bf_tensor_to_half(&v, 0, 1, half, &counts, &error));
    assert_non_null(strstr(error.text, "'v' holds I64"));

    const float numbers[] = {1};
    v = vector(BF_ELEMENT_F32, numbers, 1);
    error = (struct bf_error){0};
    assert_false(bf_tensor_to_i32(&v, 0, 1, out, &error));
    assert_non_null(strstr(error.text, "'v' holds F32"));
}

static void masks_are_zero_or_one(void **state) {
    (void)state;
    const uint8_t bytes[] = {0, 1, 1, 2};
    bf_half half[4];
    struct bf_error error = {0};
    struct bf_tensor v = vector(BF_ELEMENT_U8, bytes, 4);
    v.rank = 2;
    v.dims[0] = v.dims[1] = 2;
    assert_true(bf_tensor_to_mask(&v, 0, 3, half, &error));
    assert_int_equal(half[0], 0);
    assert_int_equal(half[2], 0x3c00);
    assert_false(bf_tensor_to_mask(&v, 0, 4, half, &error));
    assert_string_equal(error.text, "'v'[1, 1] is 2; a mask holds 0 or 1");
    v.type = BF_ELEMENT_BOOL;
    error = (struct bf_error){0};
    assert_true(bf_tensor_to_mask(&v, 0, 4, half, &error));
    assert_int_equal(half[3], 0x3c00);
}

/* An i64 just above the middle of two floats, whose double lies on that middle. */
static void wide_integers_round_once(void **state) {
    (void)state;
    const int64_t wide[] = {(INT64_C(1) << 60) + (INT64_C(1) << 36) + 1};
    struct bf_tensor v = vector(BF_ELEMENT_I64, wide, 1);
    float out;
    bf_tensor_to_float(&v, 0, 1, &out);
    assert_true(out == 0x1p60f + 0x1p37f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(deep_headers_are_refused),
        cmocka_unit_test(missing_files_are_named),
        cmocka_unit_test(written_bytes_are_canonical),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(bad_names_are_not_written),
        cmocka_unit_test(floats_round_once),
        cmocka_unit_test(integers_are_checked),
        cmocka_unit_test(masks_are_zero_or_one),
        cmocka_unit_test(wide_integers_round_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
