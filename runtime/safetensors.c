/* safetensors.c - reads and writes tensor files. See safetensors.h. */
#include "runtime/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

enum { LENGTH_BYTES = 8, LONGEST_HEADER = 100000000, HEADER_ALIGNMENT = 8 };

/* Fails with "NAME: " before the message. */
static bool BF_PRINTF(3, 4)
    refuse(struct bf_error *error, const char *name, const char *format, ...) {
    struct bf_text text = {0};
    bf_text_printf(&text, "%s: ", name);
    va_list args;
    va_start(args, format);
    bf_text_vprintf(&text, format, args);
    va_end(args);
    bf_fail(error, BF_ERROR_INPUT, "%s", text.data);
    bf_text_free(&text);
    return false;
}

/* C0 and C1 control characters in valid UTF-8: a name with them could command a terminal. */
static bool has_control(const char *s) {
    for (const unsigned char *at = (const unsigned char *)s; *at; at++)
        if (*at < 0x20 || *at == 0x7f || (at[0] == 0xc2 && at[1] < 0xa0))
            return true;
    return false;
}

/* ---- reading ---- */

/* What an entry of the header says, before it is believed. */
struct entry {
    struct bf_tensor tensor;
    uint64_t begin, end; /* bytes from the start of the data */
};

struct reader {
    const char *name; /* of the file, for messages */
    const uint8_t *data;
    uint64_t data_size;
    struct entry *entries;
    struct bf_tensor_file *file;
    struct bf_error *error;
};

/* A JSON integer that is not negative. */
static bool read_natural(const json_t *value, uint64_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static bool read_type(struct reader *r, const json_t *json, struct bf_tensor *tensor) {
    const char *type = json_string_value(json_object_get(json, "dtype"));
    if (!type)
        return refuse(r->error, r->name, "tensor '%s' has no \"dtype\"", tensor->name);
    for (int i = 0; i < BF_ELEMENT_COUNT; i++)
        if (strcmp(type, bf_element_name((enum bf_element)i)) == 0) {
            tensor->type = (enum bf_element)i;
            return true;
        }
    return refuse(r->error, r->name,
                  "tensor '%s' holds %s; bfcc knows F16, BF16, F32, F64, I32, I64, U8 and BOOL",
                  tensor->name, has_control(type) ? "elements of an unknown type" : type);
}

static bool read_shape(struct reader *r, const json_t *json, struct bf_tensor *tensor) {
    const json_t *shape = json_object_get(json, "shape");
    if (!json_is_array(shape))
        return refuse(r->error, r->name, "tensor '%s' has no \"shape\"", tensor->name);
    size_t rank = json_array_size(shape);
    if (rank > BF_TENSOR_MAX_RANK)
        return refuse(r->error, r->name, "tensor '%s' has %zu dimensions; at most %d are possible",
                      tensor->name, rank, BF_TENSOR_MAX_RANK);
    tensor->rank = (unsigned)rank;
    for (size_t i = 0; i < rank; i++)
        if (!read_natural(json_array_get(shape, i), &tensor->dims[i]))
            return refuse(r->error, r->name, "tensor '%s': dimension %zu is no natural number",
                          tensor->name, i);
    return true;
}

static bool read_range(struct reader *r, const json_t *json, struct entry *entry) {
    const char *name = entry->tensor.name;
    const json_t *range = json_object_get(json, "data_offsets");
    if (json_array_size(range) != 2 || !read_natural(json_array_get(range, 0), &entry->begin) ||
        !read_natural(json_array_get(range, 1), &entry->end))
        return refuse(r->error, r->name, "tensor '%s' has no \"data_offsets\" of two numbers",
                      name);
    if (entry->begin > entry->end || entry->end > r->data_size)
        return refuse(r->error, r->name,
                      "tensor '%s' lies at bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64, name,
                      entry->begin, entry->end, r->data_size);
    uint64_t count, size;
    if (!bf_shape_elements(entry->tensor.rank, entry->tensor.dims, &count) ||
        __builtin_mul_overflow(count, (uint64_t)bf_element_size(entry->tensor.type), &size))
        return refuse(r->error, r->name, "tensor '%s' is larger than any memory", name);
    if (size != entry->end - entry->begin)
        return refuse(r->error, r->name,
                      "tensor '%s' has %" PRIu64 " bytes; its type and shape need %" PRIu64, name,
                      entry->end - entry->begin, size);
    entry->tensor.size = (size_t)size;
    entry->tensor.data = r->data + entry->begin;
    return true;
}

static bool read_metadata(struct reader *r, json_t *json) {
    if (!json_is_object(json))
        return refuse(r->error, r->name, "\"__metadata__\" is no object");
    struct bf_tensor_file *file = r->file;
    file->metadata = bf_arena_alloc(&file->arena, json_object_size(json) * sizeof *file->metadata);
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value) {
        if (!json_is_string(value))
            return refuse(r->error, r->name, "a value in \"__metadata__\" is no string");
        file->metadata[file->metadata_count++] =
            (struct bf_metadata){bf_arena_strdup(&file->arena, key),
                                 bf_arena_strdup(&file->arena, json_string_value(value))};
    }
    return true;
}

static int by_begin(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int by_name(const void *a, const void *b) {
    const struct bf_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int by_key(const void *a, const void *b) {
    const struct bf_metadata *x = a, *y = b;
    return strcmp(x->key, y->key);
}

/* The ranges must tile the data from its first byte to its last. */
static bool check_tiling(struct reader *r) {
    size_t count = r->file->tensor_count;
    qsort(r->entries, count, sizeof *r->entries, by_begin);
    uint64_t reached = 0;
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = &r->entries[i];
        if (entry->begin < reached)
            return refuse(r->error, r->name, "tensors '%s' and '%s' overlap",
                          r->entries[i - 1].tensor.name, entry->tensor.name);
        if (entry->begin > reached)
            return refuse(r->error, r->name, "bytes %" PRIu64 " to %" PRIu64 " belong to no tensor",
                          reached, entry->begin);
        reached = entry->end;
    }
    if (reached != r->data_size)
        return refuse(r->error, r->name, "bytes %" PRIu64 " to %" PRIu64 " belong to no tensor",
                      reached, r->data_size);
    return true;
}

static bool read_tensor(struct reader *r, const char *name, const json_t *json) {
    if (has_control(name))
        return refuse(r->error, r->name, "a tensor's name has control characters in it");
    struct entry *entry = &r->entries[r->file->tensor_count++];
    entry->tensor.name = bf_arena_strdup(&r->file->arena, name);
    if (!json_is_object(json))
        return refuse(r->error, r->name, "tensor '%s' is described by no object", name);
    return read_type(r, json, &entry->tensor) && read_shape(r, json, &entry->tensor) &&
           read_range(r, json, entry);
}

static bool read_entries(struct reader *r, json_t *header) {
    if (!json_is_object(header))
        return refuse(r->error, r->name, "the header is no JSON object");
    struct bf_tensor_file *file = r->file;
    r->entries = bf_arena_alloc(&file->arena, json_object_size(header) * sizeof *r->entries);
    const char *name;
    json_t *json;
    json_object_foreach(header, name, json) {
        if (!(strcmp(name, "__metadata__") == 0 ? read_metadata(r, json)
                                                : read_tensor(r, name, json)))
            return false;
    }
    if (!check_tiling(r))
        return false;
    file->tensors = bf_arena_alloc(&file->arena, file->tensor_count * sizeof *file->tensors);
    for (size_t i = 0; i < file->tensor_count; i++)
        file->tensors[i] = r->entries[i].tensor;
    qsort(file->tensors, file->tensor_count, sizeof *file->tensors, by_name);
    if (file->metadata_count)
        qsort(file->metadata, file->metadata_count, sizeof *file->metadata, by_key);
    return true;
}

static bool read_all(struct reader *r, const uint8_t *bytes, size_t size) {
    uint64_t length;
    if (size < LENGTH_BYTES)
        return refuse(r->error, r->name, "%zu bytes are too few for a safetensors file", size);
    memcpy(&length, bytes, LENGTH_BYTES);
    if (length > LONGEST_HEADER || length > size - LENGTH_BYTES)
        return refuse(r->error, r->name,
                      "no safetensors file, or cut off: a header of %" PRIu64
                      " bytes in a file of %zu",
                      length, size);
    const char *text = (const char *)bytes + LENGTH_BYTES;
    if (length == 0 || text[0] != '{')
        return refuse(r->error, r->name, "no safetensors file: the header does not begin with '{'");
    r->data = bytes + LENGTH_BYTES + length;
    r->data_size = size - LENGTH_BYTES - length;
    json_error_t where;
    json_t *header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &where);
    if (!header) {
        /* The text quotes the file. */
        for (char *at = where.text; *at; at++)
            if ((unsigned char)*at < 0x20 || *at == 0x7f)
                *at = '?';
        return refuse(r->error, r->name, "header, byte %d: %s", where.position, where.text);
    }
    bool ok = read_entries(r, header);
    json_decref(header);
    return ok;
}

struct bf_tensor_file *bf_tensor_file_parse(const void *bytes, size_t size, const char *name,
                                            struct bf_error *error) {
    struct bf_tensor_file *file = bf_alloc(sizeof *file);
    struct reader r = {.name = name, .file = file, .error = error};
    if (!read_all(&r, bytes, size)) {
        bf_tensor_file_free(file);
        return NULL;
    }
    return file;
}

struct bf_tensor_file *bf_tensor_file_read(const char *path, struct bf_error *error) {
    size_t size;
    char *bytes = bf_read_file(path, &size, error);
    if (!bytes)
        return NULL;
    const char *name = strcmp(path, "-") == 0 ? "<stdin>" : path;
    struct bf_tensor_file *file = bf_tensor_file_parse(bytes, size, name, error);
    if (file)
        file->bytes = bytes;
    else
        free(bytes);
    return file;
}

void bf_tensor_file_free(struct bf_tensor_file *file) {
    if (!file)
        return;
    free(file->bytes);
    bf_arena_free(&file->arena);
    free(file);
}

const struct bf_tensor *bf_tensor_file_find(const struct bf_tensor_file *file, const char *name) {
    struct bf_tensor key = {.name = name};
    if (!file->tensor_count)
        return NULL;
    return bsearch(&key, file->tensors, file->tensor_count, sizeof *file->tensors, by_name);
}

/* ---- writing ---- */

static void add_json_string(struct bf_text *text, const char *s) {
    bf_text_add(text, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            bf_text_printf(text, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            bf_text_printf(text, "\\u%04x", (unsigned)*s);
        else
            bf_text_add_bytes(text, s, 1);
    }
    bf_text_add(text, "\"");
}

static bool is_utf8(const char *s) {
    json_t *string = json_string(s);
    json_decref(string);
    return string != NULL;
}

static bool check_names(const struct bf_tensor *tensors, size_t count,
                        const struct bf_metadata *metadata, size_t metadata_count,
                        struct bf_error *error) {
    for (size_t i = 0; i < count; i++) {
        if (!is_utf8(tensors[i].name) || has_control(tensors[i].name) ||
            strcmp(tensors[i].name, "__metadata__") == 0)
            return bf_fail(error, BF_ERROR_INPUT, "a tensor file cannot have a tensor '%s'",
                           tensors[i].name);
        if (i && strcmp(tensors[i - 1].name, tensors[i].name) == 0)
            return bf_fail(error, BF_ERROR_INPUT, "two tensors are named '%s'", tensors[i].name);
    }
    for (size_t i = 0; i < metadata_count; i++)
        if (!is_utf8(metadata[i].key) || !is_utf8(metadata[i].value) ||
            (i && strcmp(metadata[i - 1].key, metadata[i].key) == 0))
            return bf_fail(error, BF_ERROR_INPUT, "a tensor file cannot have the metadata '%s'",
                           metadata[i].key);
    return true;
}

/* Data goes by element size, the widest first, and by name among equals, so that every tensor is
 * aligned. Fills offset[i] for the i-th tensor by name; returns the size of the data. */
static uint64_t assign_offsets(const struct bf_tensor *tensors, size_t count, uint64_t *offset) {
    uint64_t reached = 0;
    for (size_t width = 8; width; width /= 2)
        for (size_t i = 0; i < count; i++)
            if (bf_element_size(tensors[i].type) == width) {
                offset[i] = reached;
                reached += tensors[i].size;
            }
    return reached;
}

static void add_header(struct bf_text *text, const struct bf_tensor *tensors, size_t count,
                       const struct bf_metadata *metadata, size_t metadata_count,
                       const uint64_t *offset) {
    const char *comma = "";
    bf_text_add(text, "{");
    if (metadata_count) {
        bf_text_add(text, "\"__metadata__\":{");
        for (size_t i = 0; i < metadata_count; i++) {
            bf_text_add(text, i ? "," : "");
            add_json_string(text, metadata[i].key);
            bf_text_add(text, ":");
            add_json_string(text, metadata[i].value);
        }
        bf_text_add(text, "}");
        comma = ",";
    }
    for (size_t i = 0; i < count; i++, comma = ",") {
        const struct bf_tensor *tensor = &tensors[i];
        bf_text_add(text, comma);
        add_json_string(text, tensor->name);
        bf_text_printf(text, ":{\"dtype\":\"%s\",\"shape\":[", bf_element_name(tensor->type));
        for (unsigned d = 0; d < tensor->rank; d++)
            bf_text_printf(text, "%s%" PRIu64, d ? "," : "", tensor->dims[d]);
        bf_text_printf(text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offset[i],
                       offset[i] + tensor->size);
    }
    bf_text_add(text, "}");
    while (text->length % HEADER_ALIGNMENT)
        bf_text_add(text, " ");
}

static void *sorted_copy(const void *items, size_t count, size_t size,
                         int (*compare)(const void *, const void *)) {
    void *copy = bf_alloc(count * size);
    if (count) {
        memcpy(copy, items, count * size);
        qsort(copy, count, size, compare);
    }
    return copy;
}

uint8_t *bf_tensor_file_encode(const struct bf_tensor *tensors, size_t count,
                               const struct bf_metadata *metadata, size_t metadata_count,
                               size_t *size, struct bf_error *error) {
    struct bf_tensor *t = sorted_copy(tensors, count, sizeof *t, by_name);
    struct bf_metadata *m = sorted_copy(metadata, metadata_count, sizeof *m, by_key);
    uint64_t *offset = bf_alloc(count * sizeof *offset);
    uint8_t *bytes = NULL;
    if (check_names(t, count, m, metadata_count, error)) {
        uint64_t data_size = assign_offsets(t, count, offset);
        struct bf_text header = {0};
        add_header(&header, t, count, m, metadata_count, offset);
        uint64_t length = header.length;
        *size = (size_t)(LENGTH_BYTES + length + data_size);
        bytes = bf_alloc(*size);
        memcpy(bytes, &length, LENGTH_BYTES);
        memcpy(bytes + LENGTH_BYTES, header.data, header.length);
        for (size_t i = 0; i < count; i++)
            if (t[i].size)
                memcpy(bytes + LENGTH_BYTES + length + offset[i], t[i].data, t[i].size);
        bf_text_free(&header);
    }
    free(offset);
    free(m);
    free(t);
    return bytes;
}

bool bf_tensor_file_write(const char *path, const struct bf_tensor *tensors, size_t count,
                          const struct bf_metadata *metadata, size_t metadata_count,
                          struct bf_error *error) {
    size_t size;
    uint8_t *bytes = bf_tensor_file_encode(tensors, count, metadata, metadata_count, &size, error);
    bool written = bytes && bf_write_file(path, bytes, size, error);
    free(bytes);
    return written;
}
