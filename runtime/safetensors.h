/* safetensors.h - tensor files of the safetensors format: 8 bytes of header length (little-endian),
 * a JSON header that gives each tensor's type, shape and byte range, then the data. The format is
 * Hugging Face's: https://github.com/huggingface/safetensors#format.
 *
 * The reader trusts nothing. It refuses a file unless header and data fill it exactly: byte ranges
 * may touch but neither overlap nor leave gaps, and each is as long as type and shape say. Element
 * types that bfcc has no use for, ranks above BF_TENSOR_MAX_RANK, duplicate names and control
 * characters in names are refused too.
 */
#ifndef BF_RUNTIME_SAFETENSORS_H
#define BF_RUNTIME_SAFETENSORS_H

#include "runtime/tensor.h"

/* One string of the header's "__metadata__". */
struct bf_metadata {
    const char *key, *value;
};

/* A whole file in memory. */
struct bf_tensor_file {
    struct bf_tensor *tensors; /* in order of name (bytes) */
    size_t tensor_count;
    struct bf_metadata *metadata; /* in order of key */
    size_t metadata_count;
    void *bytes; /* what the tensors' data points into; NULL if the caller keeps it */
    struct bf_arena arena;
};

/* "-" is standard input. NULL on error, which begins with the path. */
struct bf_tensor_file *bf_tensor_file_read(const char *path, struct bf_error *error);
/* The same from memory, which must outlive the result; `name` stands for the path in messages. */
struct bf_tensor_file *bf_tensor_file_parse(const void *bytes, size_t size, const char *name,
                                            struct bf_error *error);
void bf_tensor_file_free(struct bf_tensor_file *file); /* NULL is fine */
/* NULL if there is none of that name. */
const struct bf_tensor *bf_tensor_file_find(const struct bf_tensor_file *file, const char *name);

/* The bytes of the canonical file: tensors by name whatever their order, data in the same order,
 * no spaces in the header but those that pad it to 8 bytes; the same tensors give the same bytes.
 * Fails if a name appears twice or is not UTF-8. Caller frees. */
uint8_t *bf_tensor_file_encode(const struct bf_tensor *tensors, size_t count,
                               const struct bf_metadata *metadata, size_t metadata_count,
                               size_t *size, struct bf_error *error);
/* The same to a file, which appears whole or not at all; "-" is standard output. */
bool bf_tensor_file_write(const char *path, const struct bf_tensor *tensors, size_t count,
                          const struct bf_metadata *metadata, size_t metadata_count,
                          struct bf_error *error);

#endif
