/* session_files.c - inputs from and outputs to safetensors files. See bfrt.h. */
#include "runtime/safetensors.h"
#include "runtime/session.h"

#include <stdlib.h>

static const char prefix[] = "input.";

static bool has_prefix(const char *name) {
    return strncmp(name, prefix, sizeof prefix - 1) == 0;
}

/* Names the tensors of the file that no input takes, and the inputs there are. */
static bool surplus(const struct bfrt_session *session, const struct bf_tensor *tensor,
                    const char *path, struct bf_error *error) {
    const struct bf_ports *inputs = &session->model->inputs;
    struct bf_text known = {0}, shape = {0};
    bf_text_add_ports(&known, inputs);
    bf_text_add_shape(&shape, tensor->rank, tensor->dims);
    const char *bare = tensor->name + (has_prefix(tensor->name) ? sizeof prefix - 1 : 0);
    const char *meant = NULL;
    size_t nearest = 3;
    for (size_t i = 0; i < inputs->count; i++) {
        size_t distance = bf_edit_distance(bare, inputs->tensors[i].name, nearest);
        if (distance < nearest) {
            nearest = distance;
            meant = inputs->tensors[i].name;
        }
    }
    bf_fail(error, BF_ERROR_INPUT, "%s: '%s' %s is no input of network '%s'%s%s%s\nits inputs: %s",
            path, tensor->name, shape.data, session->model->program->network,
            meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "", known.data);
    bf_text_free(&known);
    bf_text_free(&shape);
    return false;
}

static bool bind_tensors(struct bfrt_session *session, const struct bf_tensor_file *file,
                         const char *path, struct bf_error *error) {
    const struct bf_ports *inputs = &session->model->inputs;
    bool prefixed = false;
    for (size_t i = 0; i < file->tensor_count; i++)
        prefixed = prefixed || has_prefix(file->tensors[i].name);
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct bf_tensor *tensor = &file->tensors[i];
        if (prefixed && !has_prefix(tensor->name))
            continue;
        size_t index = bf_ports_find(inputs, tensor->name);
        if (index == inputs->count && prefixed)
            index = bf_ports_find(inputs, tensor->name + sizeof prefix - 1);
        if (index == inputs->count)
            return surplus(session, tensor, path, error);
        const char *earlier = session->bindings[index].origin;
        if (earlier && strcmp(earlier, path) != 0)
            return bf_fail(error, BF_ERROR_INPUT, "input '%s' is in both %s and %s",
                           inputs->tensors[index].name, earlier, path);
        if (!bf_session_bind(session, index, tensor, path, error))
            return false;
    }
    return true;
}

static bool bind_file(struct bfrt_session *session, const char *path, struct bf_error *error) {
    struct bf_tensor_file *file = bf_tensor_file_read(path, error);
    if (!file)
        return false;
    bool ok = bind_tensors(session, file, strcmp(path, "-") ? path : "<stdin>", error);
    bf_tensor_file_free(file);
    return ok;
}

bool bfrt_bind_file(struct bfrt_session *session, const char *path, struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error))
        return bf_leave(&entry, false);
    return bf_leave(&entry, bind_file(session, path, &entry.error));
}

/* The values of an output in its declared type; `tensor->data` is allocated. */
static void export_output(const struct bfrt_session *session, size_t index,
                          struct bf_tensor *tensor) {
    const struct bfrt_tensor *declared = &session->model->outputs.tensors[index];
    tensor->name = declared->name;
    tensor->type = (enum bf_element)declared->type;
    if (bf_session_on_host(session) && declared->type == BFRT_F16)
        tensor->type = BF_ELEMENT_F32; /* nothing was rounded */
    tensor->rank = bfrt_output_shape(session, index, tensor->dims);
    uint64_t count = bf_tensor_elements(tensor);
    tensor->size = (size_t)count * bf_element_size(tensor->type);
    void *data = bf_alloc(tensor->size);
    tensor->data = data;
    struct bf_tensor stored = {.type = bf_session_element(session, declared),
                               .data = session->outputs[index]};
    if (tensor->type == BF_ELEMENT_F32)
        bf_tensor_to_float(&stored, 0, count, data);
    else if (declared->type == BFRT_U8)
        for (uint64_t i = 0; i < count; i++)
            ((uint8_t *)data)[i] = bf_tensor_double(&stored, i) != 0;
    else
        memcpy(data, session->outputs[index], tensor->size);
}

static bool write_file(const struct bfrt_session *session, const char *path,
                       struct bf_error *error) {
    size_t count = session->model->outputs.count;
    if (!session->samples)
        return bf_fail(error, BF_ERROR_INPUT, "there are no outputs before a run");
    struct bf_tensor *tensors = bf_alloc(count * sizeof *tensors);
    for (size_t i = 0; i < count; i++)
        export_output(session, i, &tensors[i]);
    bool ok = bf_tensor_file_write(path, tensors, count, NULL, 0, error);
    for (size_t i = 0; i < count; i++)
        free((void *)tensors[i].data);
    free(tensors);
    return ok;
}

bool bfrt_write_file(const struct bfrt_session *session, const char *path,
                     struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error))
        return bf_leave(&entry, false);
    return bf_leave(&entry, write_file(session, path, &entry.error));
}
