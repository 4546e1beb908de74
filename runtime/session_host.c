/* session_host.c - the device host: the network itself, compiled for this CPU by libbfhost.
 *
 *     program->net, net_weights --plug-in: open, compile--> code --run32, a group at a time-->
 *
 * Inputs that are fp16 on the array are f32 here, as they were given; outputs are f32.
 */
#include "runtime/host.h"
#include "runtime/session.h"

#include <stdlib.h>

struct bf_host_run {
    const struct bf_host_plugin *plugin;
    struct bf_host_net *net;
    const void **inputs; /* one group, in the order of the network */
    void **outputs;
};

void bf_host_run_free(struct bf_host_run *host) {
    if (!host)
        return;
    if (host->net)
        host->plugin->close(host->net);
    free(host->inputs);
    free(host->outputs);
    free(host);
}

static bool open_host(struct bfrt_session *session, struct bf_error *error) {
    const struct bf_program *program = session->model->program;
    if (session->host)
        return true;
    if (!program->net)
        return bf_fail(error, BF_ERROR_INPUT,
                       "network '%s' cannot run on a host: compile it with -embed-net",
                       program->network);
    struct bf_host_run *host = session->host = bf_alloc(sizeof *host);
    host->inputs = bf_alloc(session->model->inputs.count * sizeof *host->inputs);
    host->outputs = bf_alloc(session->model->outputs.count * sizeof *host->outputs);
    host->plugin = bf_host_load(error);
    host->net = host->plugin ? host->plugin->open(program, error) : NULL;
    if (host->net && host->plugin->compile(host->net, error))
        return true;
    bf_host_run_free(host);
    session->host = NULL;
    return false;
}

static uint64_t elements_of(const struct bfrt_tensor *tensor) {
    uint64_t elements;
    bf_shape_elements(tensor->rank, tensor->dims, &elements);
    return elements;
}

/* Sample `sample` of an input to place `at` of a group. */
static void copy_sample(const struct bfrt_session *session, size_t index, uint64_t sample,
                        uint32_t at, void *group) {
    const struct bfrt_tensor *tensor = &session->model->inputs.tensors[index];
    const struct bf_binding *binding = &session->bindings[index];
    uint64_t n = elements_of(tensor);
    if (tensor->type == BFRT_I32) {
        memcpy((int32_t *)group + at * n, (const int32_t *)(const void *)binding->data + sample * n,
               n * sizeof(int32_t));
    } else if (tensor->type == BFRT_U8) { /* masks are bound as 0.0 and 1.0 */
        const bf_half *mask = (const bf_half *)(const void *)binding->data + sample * n;
        for (uint64_t i = 0; i < n; i++)
            ((uint8_t *)group)[at * n + i] = mask[i] != 0;
    } else {
        memcpy((float *)group + at * n, binding->exact + sample * n, n * sizeof(float));
    }
}

/* The last sample again where there are less than a batch. */
static void fill_group(struct bfrt_session *session) {
    uint32_t batch = session->model->program->batch;
    for (size_t i = 0; i < session->model->inputs.count; i++)
        for (uint32_t b = 0; b < batch; b++) {
            uint64_t sample = session->group * batch + b;
            if (sample >= session->samples)
                sample = session->samples - 1;
            copy_sample(session, i, sample, b, (void *)session->host->inputs[i]);
        }
}

static void take_group(struct bfrt_session *session) {
    uint32_t batch = session->model->program->batch;
    uint64_t first = session->group * batch, count = session->samples - first;
    count = count > batch ? batch : count;
    for (size_t i = 0; i < session->model->outputs.count; i++) {
        const struct bfrt_tensor *tensor = &session->model->outputs.tensors[i];
        uint64_t size = elements_of(tensor) * bf_host_output_size(tensor);
        memcpy(session->outputs[i] + first * size, session->host->outputs[i],
               (size_t)(count * size));
    }
}

static void allocate_group(struct bfrt_session *session) {
    const struct bfrt_model *model = session->model;
    for (size_t i = 0; i < model->inputs.count; i++)
        session->host->inputs[i] =
            bf_alloc(4 * (size_t)(elements_of(&model->inputs.tensors[i]) * model->program->batch));
    for (size_t i = 0; i < model->outputs.count; i++)
        session->host->outputs[i] =
            bf_alloc(4 * (size_t)(elements_of(&model->outputs.tensors[i]) * model->program->batch));
}

static void free_group(struct bfrt_session *session) {
    for (size_t i = 0; i < session->model->inputs.count; i++)
        free((void *)session->host->inputs[i]);
    for (size_t i = 0; i < session->model->outputs.count; i++)
        free(session->host->outputs[i]);
}

bool bf_session_run_host(struct bfrt_session *session, struct bf_error *error) {
    if (!open_host(session, error))
        return false;
    struct bf_host_run *host = session->host;
    bool ok = true;
    allocate_group(session);
    for (session->group = 0; ok && session->group < session->groups; session->group++) {
        if (session->options.progress)
            session->options.progress(session->options.user,
                                      (double)session->group / (double)session->groups);
        fill_group(session);
        ok = host->plugin->run32(host->net, host->inputs, host->outputs, error);
        if (ok)
            take_group(session);
    }
    free_group(session);
    session->stats.samples = session->samples;
    session->stats.groups = session->groups;
    return ok;
}
