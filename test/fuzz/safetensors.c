/* safetensors.c - mutated tensor files: `safetensors [COUNT [SEED]]`. Each is either refused with a
 * message or wholly usable; build it with the sanitizers. */
#include "runtime/safetensors.h"

#include <stdlib.h>

static const char *const headers[] = {
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
    "\"b\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[24,32]}}",
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"m\":{\"dtype\":\"BOOL\",\"shape\":[8],\"data_offsets\":[24,32]},"
    "\"x\":{\"dtype\":\"BF16\",\"shape\":[3,4],\"data_offsets\":[0,24]}}",
    "{\"a\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]},"
    "\"b\":{\"dtype\":\"F16\",\"shape\":[0,4611686018427387904],\"data_offsets\":[8,8]},"
    "\"c\":{\"dtype\":\"I32\",\"shape\":[6],\"data_offsets\":[8,32]}}",
};
/* What the grammar of the header is made of: more of it survives than of random bytes. */
static const char *const pieces[] = {"0",     "8",       "24",   "32",      "9223372036854775807",
                                     "-1",    "[",       "]",    "{",       "}",
                                     "\"a\"", ":",       ",",    "\"F16\"", "\"U8\"",
                                     "1e9",   "\\u0000", "\xff", "null",    "\"shape\""};
enum { DATA = 32, PIECES = sizeof pieces / sizeof *pieces };

static void mutate(struct bf_text *text, uint64_t *seed) {
    size_t at = (size_t)(bf_random(seed) % text->length);
    size_t removed = (size_t)(bf_random(seed) % 6);
    if (removed > text->length - at)
        removed = text->length - at;
    struct bf_text result = {0};
    bf_text_add_bytes(&result, text->data, at);
    uint64_t choice = bf_random(seed) % 4;
    if (choice < 2)
        bf_text_add(&result, pieces[bf_random(seed) % PIECES]);
    else if (choice == 2) {
        char byte = (char)bf_random(seed);
        bf_text_add_bytes(&result, &byte, 1);
    }
    bf_text_add_bytes(&result, text->data + at + removed, text->length - at - removed);
    bf_text_free(text);
    *text = result;
}

/* Touches every byte that the file promises. */
static double use(const struct bf_tensor_file *file) {
    double sum = 0;
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct bf_tensor *tensor = &file->tensors[i];
        uint64_t count = bf_tensor_elements(tensor);
        for (uint64_t k = 0; k < count; k++)
            sum += bf_tensor_double(tensor, k);
        if (bf_tensor_file_find(file, tensor->name) != tensor)
            abort();
    }
    for (size_t i = 0; i < file->metadata_count; i++)
        sum += (double)(strlen(file->metadata[i].key) + strlen(file->metadata[i].value));
    return sum;
}

int main(int argc, char **argv) {
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, accepted = 0;
    volatile double sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct bf_text header = {0};
        bf_text_add(&header, headers[bf_random(&seed) % 3]);
        for (uint64_t n = bf_random(&seed) % 4; n && header.length; n--)
            mutate(&header, &seed);
        uint64_t length = header.length;
        if (bf_random(&seed) % 16 == 0)
            length ^= UINT64_C(1) << bf_random(&seed) % 64;
        size_t size = 8 + header.length + DATA;
        if (bf_random(&seed) % 16 == 0)
            size = (size_t)(bf_random(&seed) % (size + 1));
        uint8_t *bytes = bf_alloc(8 + header.length + DATA), *exact = bf_alloc(size);
        memcpy(bytes, &length, 8);
        if (header.length)
            memcpy(bytes + 8, header.data, header.length);
        memcpy(exact, bytes, size);
        struct bf_error error = {0};
        struct bf_tensor_file *file = bf_tensor_file_parse(exact, size, "f", &error);
        if (file) {
            accepted++;
            sum += use(file);
        } else if (error.code != BF_ERROR_INPUT || !error.text[0]) {
            abort();
        }
        bf_tensor_file_free(file);
        free(bytes);
        free(exact);
        bf_text_free(&header);
    }
    printf("%llu files, %llu accepted, %llu refused\n", (unsigned long long)count,
           (unsigned long long)accepted, (unsigned long long)(count - accepted));
    return 0;
}
