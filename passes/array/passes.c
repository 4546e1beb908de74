/* passes.c - the map passes: each walks the kernels or plans and asks the family. */
#include "passes/passes.h"

#include <stdlib.h>

#include "passes/array/alike.h"
#include "passes/array/family.h"

const struct bf_family *bf_family_of(enum bf_kernel_kind kind) {
    switch (kind) {
    case BF_KERNEL_BUTTERFLY:
        return &bf_family_butterfly;
    case BF_KERNEL_FFT:
        return &bf_family_fft;
    case BF_KERNEL_DENSE:
        return &bf_family_dense;
    case BF_KERNEL_ROWS:
        return &bf_family_rows;
    case BF_KERNEL_ATTENTION:
        return &bf_family_attention;
    case BF_KERNEL_BLOCK_DENSE:
        return &bf_family_block_dense;
    case BF_KERNEL_BLOCK_BUTTERFLY:
        return &bf_family_block_butterfly;
    case BF_KERNEL_TRANSPOSE:
        return &bf_family_transpose;
    case BF_KERNEL_COPY:
        break;
    }
    return NULL;
}

/* divide: requires a verified poly; adds plans in the order of execution, and temporaries between
 * the passes of a kernel. */
bool bf_pass_divide(struct bf_map *map, struct bf_diags *diags) {
    bool ok = true;
    for (size_t k = 0; k < map->poly->kernels.count; k++) {
        struct bf_poly_kernel *kernel = map->poly->kernels.data[k];
        const struct bf_family *family = bf_family_of(kernel->kind);
        if (family) {
            ok &= family->divide(map, kernel, diags);
            continue;
        }
        struct bf_plan *plan = bf_map_add_plan(map, kernel, 0);
        for (size_t i = 0; i < kernel->inputs.count; i++)
            *bf_push(&plan->inputs) = kernel->inputs.data[i];
        for (size_t i = 0; i < kernel->outputs.count; i++)
            *bf_push(&plan->outputs) = kernel->outputs.data[i];
    }
    return ok;
}

/* Rows of a sample start at a tile, so that a tile never mixes samples; single rows are packed. */
static void shape_places(struct bf_map *map) {
    int64_t v = map->machine.lanes;
    map->places = bf_alloc(map->poly->buffers.count * sizeof *map->places);
    for (size_t b = 0; b < map->poly->buffers.count; b++) {
        const struct bf_buffer *buffer = map->poly->buffers.data[b];
        struct bf_place_of_buffer *place = &map->places[b];
        place->spm = -1;
        place->width = (int64_t)bf_round_up((uint64_t)buffer->cols, (uint64_t)v);
        place->pitch =
            buffer->rows == 1 ? 1 : (int64_t)bf_round_up((uint64_t)buffer->rows, (uint64_t)v);
        place->height =
            (int64_t)bf_round_up((uint64_t)(buffer->samples * place->pitch), (uint64_t)v);
        place->first = place->last = -1;
    }
}

typedef bool plan_function(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags);

static bool each_plan(struct bf_map *map, struct bf_diags *diags, size_t member) {
    bool ok = true;
    for (size_t p = 0; p < map->plans.count; p++) {
        struct bf_plan *plan = map->plans.data[p];
        const struct bf_family *family = bf_family_of(plan->kernel->kind);
        plan_function *function =
            family ? *(plan_function *const *)((const char *)family + member) : NULL;
        if (function)
            ok &= function(map, plan, diags);
    }
    return ok;
}

/* tile: fixes how buffers are tiled; decides which PEs work on which tiles in which iteration. */
bool bf_pass_tile(struct bf_map *map, struct bf_diags *diags) {
    shape_places(map);
    return each_plan(map, diags, offsetof(struct bf_family, tile));
}

/* partition: fixes where every digit lies while each statement runs. */
bool bf_pass_partition(struct bf_map *map, struct bf_diags *diags) {
    return each_plan(map, diags, offsetof(struct bf_family, partition));
}

/* stream: fixes RAM regions, contexts, the window, and how many weight words a plan has. */
bool bf_pass_stream(struct bf_map *map, struct bf_diags *diags) {
    return each_plan(map, diags, offsetof(struct bf_family, stream));
}

bool bf_sequence(struct bf_map *map, struct bf_diags *diags);

/* schedule: requires all addresses; emits the code of every plan, then the sequencer program. */
bool bf_pass_schedule(struct bf_map *map, struct bf_diags *diags) {
    return each_plan(map, diags, offsetof(struct bf_family, schedule)) && bf_sequence(map, diags);
}

/* ---- verify ---- */

/* Kernels that passed the value check, and whose likes need not be looked at again. */
struct proved {
    struct bf_kernel_plans *data;
    size_t count, capacity;
};

static bool is_proved(const struct bf_map *map, const struct proved *proved,
                      const struct bf_kernel_plans *plans) {
    for (size_t i = 0; i < proved->count; i++)
        if (bf_kernel_plans_alike(map, &proved->data[i], plans))
            return true;
    return false;
}

static bool verify_kernel(struct bf_map *map, struct proved *proved, struct bf_kernel_plans plans,
                          struct bf_diags *diags) {
    const struct bf_family *family = bf_family_of(map->plans.data[plans.first]->kernel->kind);
    if (!family || !family->verify || is_proved(map, proved, &plans))
        return true;
    bool ok = true;
    for (size_t p = plans.first; p < plans.end; p++)
        ok &= family->verify(map, map->plans.data[p], diags);
    if (ok && bf_kernel_plans_areas(map, &plans))
        *bf_push(proved) = plans;
    return ok;
}

/* verify: every dependence of every plan has a carrier in the emitted code. */
bool bf_pass_verify(struct bf_map *map, struct bf_diags *diags) {
    struct proved proved = {0};
    bool ok = true;
    for (size_t p = 0; p < map->plans.count;) {
        struct bf_kernel_plans plans = bf_kernel_plans_at(map, p);
        ok &= verify_kernel(map, &proved, plans, diags);
        p = plans.end;
    }
    for (size_t i = 0; i < proved.count; i++)
        free(proved.data[i].areas);
    free(proved.data);
    return ok;
}
