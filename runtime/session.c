/* session.c - sessions: binding, running, fetching. See bfrt.h. */
#include "runtime/session.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- life ---- */

static const struct bf_device *find_device(const char *name, struct bf_error *error) {
    const struct bf_device *device = bf_device_find(name);
    struct bf_text known = {0};
    for (size_t i = 0; !device && bf_device_at(i); i++)
        bf_text_printf(&known, "%s'%s'", i ? ", " : "", bf_device_at(i)->name);
    if (!device)
        bf_fail(error, BF_ERROR_INPUT, "there is no device '%s', but %s", name, known.data);
    bf_text_free(&known);
    return device;
}

static struct bfrt_session *create(const struct bfrt_model *model, const char *name,
                                   const struct bfrt_options *options, struct bf_error *error) {
    const struct bf_device *device = find_device(name, error);
    if (!device)
        return NULL;
    const struct bf_program *program = model->program;
    if (device->run && !program->sequence_count) {
        bf_fail(error, BF_ERROR_INPUT,
                "network '%s' was not compiled for the array: it runs on the device 'host'",
                program->network);
        return NULL;
    }
    struct bfrt_session *session = bf_alloc(sizeof *session);
    session->model = model;
    session->device = device;
    if (options)
        session->options = *options;
    session->bindings = bf_alloc(model->inputs.count * sizeof *session->bindings);
    session->outputs = bf_alloc(model->outputs.count * sizeof *session->outputs);
    session->kernel_stats = bf_alloc(program->kernel_count * sizeof *session->kernel_stats);
    session->blocks = bf_alloc(program->kernel_count * sizeof *session->blocks);
    for (size_t k = 0; k < program->kernel_count; k++)
        session->blocks[k] = bf_alloc(program->kernels[k].block_count * sizeof **session->blocks);
    return session;
}

struct bfrt_session *bfrt_session_create(const struct bfrt_model *model, const char *device,
                                         const struct bfrt_options *options,
                                         struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error)) {
        bf_leave(&entry, false);
        return NULL;
    }
    struct bfrt_session *session = create(model, device, options, &entry.error);
    bf_leave(&entry, session != NULL);
    return session;
}

static void drop_results(struct bfrt_session *session) {
    for (size_t i = 0; i < session->model->outputs.count; i++) {
        free(session->outputs[i]);
        session->outputs[i] = NULL;
    }
    session->samples = 0;
    bf_session_clear_stats(session);
}

/* What a run needs only while it runs. */
static void drop_working_memory(struct bfrt_session *session) {
    free(session->dram);
    session->dram = NULL;
    bf_stats_free(session->model->program, session->group_stats);
    session->group_stats = NULL;
}

void bfrt_session_free(struct bfrt_session *session) {
    if (!session)
        return;
    drop_working_memory(session);
    drop_results(session);
    for (size_t i = 0; i < session->model->inputs.count; i++) {
        free(session->bindings[i].data);
        free(session->bindings[i].exact);
        free(session->bindings[i].origin);
    }
    bf_host_run_free(session->host);
    for (size_t k = 0; k < session->model->program->kernel_count; k++)
        free(session->blocks[k]);
    free(session->blocks);
    free(session->kernel_stats);
    bf_comparison_free(session->comparison);
    bf_recorder_free(session->recorder);
    free(session->outputs);
    free(session->bindings);
    free(session);
}

void bfrt_session_trace(struct bfrt_session *session, FILE *trace) {
    session->options.trace = trace;
}

/* ---- binding ---- */

/* The tensor has the declared shape, or one dimension of samples more. */
static bool match_shape(const struct bfrt_tensor *declared, const struct bf_tensor *tensor,
                        bool *leading, uint64_t *samples) {
    unsigned more = tensor->rank - declared->rank;
    if (tensor->rank < declared->rank || more > 1)
        return false;
    for (unsigned d = 0; d < declared->rank; d++)
        if (tensor->dims[more + d] != declared->dims[d])
            return false;
    *leading = more == 1;
    *samples = more ? tensor->dims[0] : 1;
    return true;
}

static bool bad_shape(const struct bfrt_session *session, const struct bfrt_tensor *declared,
                      const struct bf_tensor *tensor, const char *origin, struct bf_error *error) {
    struct bf_text given = {0}, wanted = {0};
    bf_text_add_shape(&given, tensor->rank, tensor->dims);
    bf_text_add_shape(&wanted, declared->rank, declared->dims);
    bf_fail(error, BF_ERROR_INPUT,
            "'%s' is %s%s%s\nthe input '%s' of network '%s' is %s%s, or [N%s%s of N samples",
            tensor->name, given.data, origin ? " in " : "", origin ? origin : "", declared->name,
            session->model->program->network, bfrt_type_name(declared->type), wanted.data,
            declared->rank ? ", " : "", wanted.data + 1);
    bf_text_free(&given);
    bf_text_free(&wanted);
    return false;
}

static bool convert(const struct bfrt_tensor *declared, const struct bf_tensor *tensor,
                    struct bf_binding *binding, struct bf_error *error) {
    uint64_t count = bf_tensor_elements(tensor);
    void *data = binding->data;
    switch (declared->type) {
    case BFRT_I32:
        return bf_tensor_to_i32(tensor, 0, count, data, error);
    case BFRT_U8:
        return bf_tensor_to_mask(tensor, 0, count, data, error);
    default:
        return bf_tensor_to_half(tensor, 0, count, data, &binding->range, error);
    }
}

bool bf_session_bind(struct bfrt_session *session, size_t index, const struct bf_tensor *tensor,
                     const char *origin, struct bf_error *error) {
    const struct bf_ports *inputs = &session->model->inputs;
    const struct bfrt_tensor *declared = &inputs->tensors[index];
    struct bf_binding binding = {0};
    if (!match_shape(declared, tensor, &binding.leading, &binding.samples))
        return bad_shape(session, declared, tensor, origin, error);
    if (binding.samples == 0)
        return bf_fail(error, BF_ERROR_INPUT, "'%s' has no samples", tensor->name);
    uint64_t size;
    if (__builtin_mul_overflow(
            binding.samples, bf_sample_size(inputs->places[index], session->model->program->batch),
            &size) ||
        size > SIZE_MAX / 2)
        return bf_fail(error, BF_ERROR_INPUT, "'%s' has too many samples", tensor->name);
    binding.data = bf_alloc((size_t)size);
    struct bf_error reason = {0};
    if (!convert(declared, tensor, &binding, &reason)) {
        free(binding.data);
        return bf_fail(error, reason.code, "%s%s%s", origin ? origin : "", origin ? ": " : "",
                       reason.text);
    }
    if (bf_session_on_host(session) && declared->type != BFRT_I32 && declared->type != BFRT_U8) {
        uint64_t count = bf_tensor_elements(tensor);
        binding.exact = bf_alloc((size_t)count * sizeof *binding.exact);
        bf_tensor_to_float(tensor, 0, count, binding.exact);
    }
    binding.origin = bf_strdup(origin);
    free(session->bindings[index].data);
    free(session->bindings[index].exact);
    free(session->bindings[index].origin);
    session->bindings[index] = binding;
    drop_results(session);
    return true;
}

static bool bind_named(struct bfrt_session *session, const char *name, struct bf_tensor *tensor,
                       struct bf_error *error) {
    const struct bf_ports *inputs = &session->model->inputs;
    size_t index = bf_ports_find(inputs, name);
    if (index == inputs->count) {
        struct bf_text text = {0};
        bf_text_add_ports(&text, inputs);
        bf_fail(error, BF_ERROR_INPUT, "network '%s' has no input '%s'; its inputs: %s",
                session->model->program->network, name, text.data);
        bf_text_free(&text);
        return false;
    }
    if ((unsigned)tensor->type >= BF_ELEMENT_COUNT || tensor->rank > BF_TENSOR_MAX_RANK)
        return bf_fail(error, BF_ERROR_INPUT, "'%s': unknown element type or too high a rank",
                       name);
    tensor->name = inputs->tensors[index].name;
    return bf_session_bind(session, index, tensor, NULL, error);
}

bool bfrt_bind(struct bfrt_session *session, const char *input, enum bfrt_type type, unsigned rank,
               const uint64_t *dims, const void *data, struct bfrt_error *error) {
    struct bf_tensor tensor = {.type = (enum bf_element)type, .rank = rank, .data = data};
    for (unsigned d = 0; d < rank && d < BF_TENSOR_MAX_RANK; d++)
        tensor.dims[d] = dims[d];
    struct bf_entry entry;
    if (BF_ENTER(entry, error))
        return bf_leave(&entry, false);
    return bf_leave(&entry, bind_named(session, input, &tensor, &entry.error));
}

/* Dimensions beyond the rank are 0. */
static unsigned full_shape(const struct bfrt_tensor *declared, bool leading, uint64_t samples,
                           uint64_t dims[BFRT_MAX_RANK + 1]) {
    unsigned rank = 0;
    for (unsigned d = 0; d <= BFRT_MAX_RANK; d++)
        dims[d] = 0;
    if (leading)
        dims[rank++] = samples;
    for (unsigned d = 0; d < declared->rank; d++)
        dims[rank++] = declared->dims[d];
    return rank;
}

unsigned bfrt_input_shape(const struct bfrt_session *session, size_t index,
                          uint64_t dims[BFRT_MAX_RANK + 1]) {
    const struct bf_binding *binding = &session->bindings[index];
    struct bfrt_tensor unbound = {0};
    return full_shape(binding->data ? &session->model->inputs.tensors[index] : &unbound,
                      binding->leading, binding->samples, dims);
}

struct bfrt_range bfrt_input_range(const struct bfrt_session *session, size_t index) {
    struct bf_range_count range = session->bindings[index].range;
    return (struct bfrt_range){range.overflowed, range.infinities, range.nans, range.first};
}

/* ---- running ---- */

static bool name_unbound(const struct bfrt_session *session, struct bf_error *error) {
    const struct bf_ports *inputs = &session->model->inputs;
    struct bf_text missing = {0};
    for (size_t i = 0; i < inputs->count; i++)
        if (!session->bindings[i].data) {
            struct bf_ports one = {&inputs->tensors[i], NULL, 1};
            bf_text_add(&missing, missing.length ? ", " : "");
            bf_text_add_ports(&missing, &one);
        }
    if (missing.length)
        bf_fail(error, BF_ERROR_INPUT, "no tensor was given for these inputs of network '%s': %s",
                session->model->program->network, missing.data);
    bool none = missing.length == 0;
    bf_text_free(&missing);
    return none;
}

/* All inputs must have the same samples; a network without inputs runs one full group. */
static bool count_samples(struct bfrt_session *session, struct bf_error *error) {
    const struct bf_ports *inputs = &session->model->inputs;
    uint32_t batch = session->model->program->batch;
    if (!name_unbound(session, error))
        return false;
    session->samples = inputs->count ? session->bindings[0].samples : batch;
    session->leading = inputs->count ? session->bindings[0].leading : batch > 1;
    for (size_t i = 1; i < inputs->count; i++) {
        const struct bf_binding *binding = &session->bindings[i];
        if (binding->samples != session->samples || binding->leading != session->leading)
            return bf_fail(
                error, BF_ERROR_INPUT,
                "input '%s' has %" PRIu64 " sample%s%s, but '%s' has %" PRIu64 "%s",
                inputs->tensors[0].name, session->samples, session->samples == 1 ? "" : "s",
                session->leading ? "" : " without a leading dimension", inputs->tensors[i].name,
                binding->samples, binding->leading ? "" : " without a leading dimension");
    }
    session->groups = bf_divide_up(session->samples, batch);
    return true;
}

static bool allocate_outputs(struct bfrt_session *session, struct bf_error *error) {
    const struct bf_ports *outputs = &session->model->outputs;
    for (size_t i = 0; i < outputs->count; i++) {
        uint64_t size = bf_sample_size(outputs->places[i], session->model->program->batch);
        if (bf_session_on_host(session))
            bf_shape_elements(outputs->tensors[i].rank, outputs->tensors[i].dims, &size);
        if (bf_session_on_host(session))
            size *= bf_host_output_size(&outputs->tensors[i]);
        if (__builtin_mul_overflow(size, session->samples, &size) || size > SIZE_MAX / 2)
            return bf_fail(error, BF_ERROR_INPUT, "output '%s' is larger than any memory",
                           outputs->tensors[i].name);
        session->outputs[i] = bf_alloc((size_t)size);
    }
    return true;
}

/* DRAM as the group finds it: constants, poison, the group's samples. Where the last group has
 * fewer samples than the batch, the last sample is repeated: zeros might be no legal input. */
static void fill_dram(struct bfrt_session *session) {
    const struct bf_program *program = session->model->program;
    const struct bf_ports *inputs = &session->model->inputs;
    const bf_half poison = BF_HALF_POISON;
    if (program->rodata_size)
        memcpy(session->dram, program->rodata, (size_t)program->rodata_size);
    for (uint64_t at = program->rodata_size; at + sizeof poison <= program->dram_size;
         at += sizeof poison)
        memcpy(session->dram + at, &poison, sizeof poison);
    for (size_t i = 0; i < inputs->count; i++) {
        uint64_t size = bf_sample_size(inputs->places[i], program->batch);
        for (uint32_t b = 0; b < program->batch; b++) {
            uint64_t sample = session->group * program->batch + b;
            if (sample >= session->samples)
                sample = session->samples - 1;
            memcpy(session->dram + inputs->places[i]->dram + b * size,
                   session->bindings[i].data + sample * size, (size_t)size);
        }
    }
}

static void take_outputs(struct bfrt_session *session) {
    const struct bf_program *program = session->model->program;
    const struct bf_ports *outputs = &session->model->outputs;
    uint64_t first = session->group * program->batch, count = session->samples - first;
    if (count > program->batch)
        count = program->batch;
    for (size_t i = 0; i < outputs->count; i++) {
        uint64_t size = bf_sample_size(outputs->places[i], program->batch);
        memcpy(session->outputs[i] + first * size, session->dram + outputs->places[i]->dram,
               (size_t)(count * size));
    }
}

static void group_progress(void *user, double done) {
    struct bfrt_session *session = user;
    session->options.progress(session->options.user,
                              ((double)session->group + done) / (double)session->groups);
}

static bool run_group(struct bfrt_session *session, struct bf_error *error) {
    const struct bf_program *program = session->model->program;
    struct bf_device_options options = {
        .trace = session->options.trace,
        .recorder = session->recorder,
        .cycle_limit = session->options.cycle_limit,
        .skip = !session->options.exact && !session->recorder,
        .progress = session->options.progress ? group_progress : NULL,
        .user = session,
        .launched = session->comparison ? bf_comparison_launched : NULL,
        .launched_user = session,
    };
    if (session->options.progress)
        group_progress(session, 0);
    fill_dram(session);
    session->group_stats = bf_stats_create(program);
    if (!session->device->run(program, session->dram, &options, session->group_stats, error))
        return false;
    take_outputs(session);
    if (session->comparison && !bf_comparison_group(session, error))
        return false;
    bf_session_add_stats(session, session->group_stats);
    bf_stats_free(program, session->group_stats);
    session->group_stats = NULL;
    return true;
}

bool bf_session_run(struct bfrt_session *session, struct bf_error *error) {
    drop_working_memory(session);
    drop_results(session);
    if (!count_samples(session, error) || !allocate_outputs(session, error))
        return false;
    if (bf_session_on_host(session))
        return bf_session_run_host(session, error);
    if (session->recorder)
        bf_recorder_clear(session->recorder);
    session->dram = bf_alloc((size_t)session->model->program->dram_size);
    for (session->group = 0; session->group < session->groups; session->group++)
        if (!run_group(session, error))
            return false;
    bf_session_finish_stats(session);
    return true;
}

void bf_session_drop(struct bfrt_session *session, bool results) {
    drop_working_memory(session);
    if (results)
        drop_results(session);
}

bool bfrt_run(struct bfrt_session *session, struct bfrt_error *error) {
    struct bf_entry entry;
    bf_comparison_free(session->comparison);
    session->comparison = NULL;
    bool ok = !BF_ENTER(entry, error) && bf_session_run(session, &entry.error);
    bf_session_drop(session, !ok);
    return bf_leave(&entry, ok);
}

/* ---- fetching ---- */

unsigned bfrt_output_shape(const struct bfrt_session *session, size_t index,
                           uint64_t dims[BFRT_MAX_RANK + 1]) {
    return full_shape(&session->model->outputs.tensors[index], session->leading, session->samples,
                      dims);
}

enum bf_element bf_session_element(const struct bfrt_session *session,
                                   const struct bfrt_tensor *declared) {
    if (declared->type == BFRT_I32)
        return BF_ELEMENT_I32;
    if (!bf_session_on_host(session))
        return BF_ELEMENT_F16;
    return declared->type == BFRT_U8 ? BF_ELEMENT_U8 : BF_ELEMENT_F32;
}

static bool copy_out(const struct bfrt_session *session, size_t index, enum bfrt_type type,
                     void *to, size_t count, struct bf_error *error) {
    const struct bfrt_tensor *declared = &session->model->outputs.tensors[index];
    const uint8_t *from = session->outputs[index];
    struct bf_tensor tensor = {.name = declared->name,
                               .type = bf_session_element(session, declared),
                               .rank = 1,
                               .dims = {count},
                               .data = from};
    if (type == BFRT_F32) {
        bf_tensor_to_float(&tensor, 0, count, to);
        return true;
    }
    if (type == BFRT_F16 && declared->type != BFRT_I32 && bf_session_on_host(session)) {
        struct bf_range_count range = {0};
        return bf_tensor_to_half(&tensor, 0, count, to, &range, error);
    }
    if (type == (declared->type == BFRT_I32 ? BFRT_I32 : BFRT_F16)) {
        memcpy(to, from, count * bfrt_type_size(type));
        return true;
    }
    return bf_fail(error, BF_ERROR_INPUT, "output '%s' is %s and cannot be fetched as %s",
                   declared->name, bfrt_type_name(declared->type), bfrt_type_name(type));
}

static bool fetch(const struct bfrt_session *session, const char *name, enum bfrt_type type,
                  void *data, size_t count, struct bf_error *error) {
    const struct bf_ports *outputs = &session->model->outputs;
    size_t index = bf_ports_find(outputs, name);
    if (index == outputs->count) {
        struct bf_text text = {0};
        bf_text_add_ports(&text, outputs);
        bf_fail(error, BF_ERROR_INPUT, "network '%s' has no output '%s'; its outputs: %s",
                session->model->program->network, name, text.data);
        bf_text_free(&text);
        return false;
    }
    if (!session->outputs[index])
        return bf_fail(error, BF_ERROR_INPUT, "output '%s' has no values before a run", name);
    const struct bfrt_tensor *declared = &outputs->tensors[index];
    uint64_t elements;
    bf_shape_elements(declared->rank, declared->dims, &elements);
    elements *= session->samples;
    if (count != elements)
        return bf_fail(error, BF_ERROR_INPUT, "output '%s' has %" PRIu64 " elements, not %zu", name,
                       elements, count);
    return copy_out(session, index, type, data, count, error);
}

bool bfrt_fetch(const struct bfrt_session *session, const char *output, enum bfrt_type type,
                void *data, size_t count, struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error))
        return bf_leave(&entry, false);
    return bf_leave(&entry, fetch(session, output, type, data, count, &entry.error));
}
