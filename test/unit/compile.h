/* compile.h - for tests: a net with random weights through all passes and onto a device, compared
 * with bf_net_eval. */
#ifndef BF_TEST_COMPILE_H
#define BF_TEST_COMPILE_H

#include <math.h>
#include <stdlib.h>

#include "backend/encode.h"
#include "ir/isa/fp.h"
#include "passes/passes.h"
#include "runtime/check.h"
#include "runtime/device.h"

struct compiled {
    struct bf_sources sources;
    struct bf_diags diags;
    struct bf_weights *weights;
    struct bf_map *map;
};

static inline struct bf_diags test_diags(struct bf_sources *sources) {
    return (struct bf_diags){.sources = sources, .out = stderr, .error_limit = 20};
}

/* What tests may change: the weights, before any pass reads them; whether rewrite runs. */
static void (*change_weights)(struct bf_weights *weights);
static bool without_rewrite;

/* False if a pass refused. The net stays the caller's. */
static inline bool compile_net(struct compiled *c, struct bf_net *net,
                               const struct bf_machine *machine, int64_t batch, uint64_t seed) {
    memset(c, 0, sizeof *c);
    c->diags = test_diags(&c->sources);
    net->header.batch = batch;
    c->weights = bf_weights_random(net, seed);
    if (change_weights)
        change_weights(c->weights);
    if (!bf_pass_fold(net, &c->diags) || !bf_pass_simplify(net, &c->diags) ||
        !bf_pass_axes(net, &c->diags) || !bf_pass_exponents(net, &c->diags))
        return false;
    struct bf_poly *poly = bf_pass_select(net, &c->diags);
    if (!poly || (!without_rewrite && !bf_pass_rewrite(poly, c->weights, &c->diags)) ||
        !bf_pass_slice(poly, machine, &c->diags) || !bf_poly_verify(poly, &c->diags)) {
        bf_poly_free(poly);
        return false;
    }
    c->map = bf_map_create(poly, machine);
    return bf_pass_divide(c->map, &c->diags) && bf_pass_tile(c->map, &c->diags) &&
           bf_pass_partition(c->map, &c->diags) && bf_pass_stream(c->map, &c->diags) &&
           bf_pass_place(c->map, &c->diags) && bf_pass_schedule(c->map, &c->diags) &&
           bf_pass_verify(c->map, &c->diags) && bf_encode(c->map, c->weights, &c->diags);
}

static inline void compiled_free(struct compiled *c) {
    bf_map_free(c->map);
    bf_weights_free(c->weights);
    bf_sources_free(&c->sources);
}

static inline const struct bf_tensor_place *test_tensor(const struct bf_program *program,
                                                        const char *name) {
    for (size_t i = 0; i < program->tensor_count; i++)
        if (program->tensors[i].kind <= BF_TENSOR_OUTPUT && !strcmp(program->tensors[i].name, name))
            return &program->tensors[i];
    return NULL;
}

/* Relative L2 error of output `output` against bf_net_eval, over the batch; 1e9 if the run fails.
 * Inputs are f16 tensors: inputs[i] holds batch x elements values that fp16 represents. */
static inline double run_net(struct compiled *c, const struct bf_net *net,
                             const struct bf_device *device, double *const *inputs, int output,
                             struct bf_stats **stats_out) {
    const struct bf_program *program = c->map->program;
    struct bf_error error = {0};
    uint8_t *dram = bf_alloc(program->dram_size);
    if (!bf_program_check(program, &error)) {
        fprintf(stderr, "program check: %s\n", error.text);
        return 1e9;
    }
    if (!bf_check_program(program, &error)) {
        fprintf(stderr, "order and storage: %s\n", error.text);
        return 1e9;
    }
    memcpy(dram, program->rodata, program->rodata_size);
    int64_t batch = program->batch;
    for (size_t i = 0; i < net->inputs.count; i++) {
        const struct bf_tensor_place *t = test_tensor(program, net->inputs.data[i]->name);
        int64_t count = bf_type_elements(&net->inputs.data[i]->type) * batch;
        for (int64_t e = 0; e < count; e++) {
            if (net->inputs.data[i]->type.dtype == BF_I32) {
                int32_t id = (int32_t)inputs[i][e];
                memcpy(dram + t->dram + 4 * e, &id, 4);
            } else {
                uint16_t half = bf_half_from_double(inputs[i][e]);
                memcpy(dram + t->dram + 2 * e, &half, 2);
            }
        }
    }
    struct bf_stats *stats = bf_stats_create(program);
    struct bf_device_options options = {.cycle_limit = 100000000};
    double top = 0, bottom = 0;
    if (!device->run(program, dram, &options, stats, &error)) {
        fprintf(stderr, "%s: %s\n", device->name, error.text);
        top = 1e18, bottom = 1;
    }
    const struct bf_output *out = &net->outputs.data[output];
    const struct bf_tensor_place *t = test_tensor(program, out->name);
    int64_t elements = bf_type_elements(&out->value->type);
    bool failed = top > 0;
    for (int64_t s = 0; s < batch && !failed; s++) {
        const double *in[8];
        double *want[8];
        for (size_t i = 0; i < net->inputs.count; i++)
            in[i] = inputs[i] + s * bf_type_elements(&net->inputs.data[i]->type);
        for (size_t o = 0; o < net->outputs.count; o++)
            want[o] = bf_alloc((size_t)bf_type_elements(&net->outputs.data[o].value->type) * 8);
        if (!bf_net_eval(net, c->weights, in, want, NULL, NULL, &error))
            fprintf(stderr, "eval: %s\n", error.text);
        for (int64_t e = 0; e < elements; e++) {
            uint16_t half;
            memcpy(&half, dram + t->dram + 2 * (s * elements + e), 2);
            double d = bf_half_to_double(half) - want[output][e];
            top += isnan(d) ? 1e18 : d * d;
            bottom += want[output][e] * want[output][e];
        }
        for (size_t o = 0; o < net->outputs.count; o++)
            free(want[o]);
    }
    free(dram);
    if (stats_out)
        *stats_out = stats;
    else
        bf_stats_free(program, stats);
    return sqrt(top / (bottom > 0 ? bottom : 1));
}

/* Standard-normal-like numbers that fp16 represents. */
static inline double *random_tensor(int64_t count, uint64_t seed) {
    double *x = bf_alloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int k = 0; k < 12; k++)
            sum += (double)(bf_random(&seed) >> 11) / 9007199254740992.0;
        x[i] = bf_half_to_double(bf_half_from_double(sum - 6));
    }
    return x;
}

#endif
