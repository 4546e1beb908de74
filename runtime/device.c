/* device.c - the list of devices, and their statistics. */
#include <stdlib.h>

#include "runtime/device.h"

const struct bf_device bf_device_host = {
    .name = "host", .what = "this CPU: the network itself in f32 (needs -embed-net, libbfhost.so)"};

static const struct bf_device *const devices[] = {&bf_device_ref, &bf_device_sim, &bf_device_host};
enum { DEVICES = sizeof devices / sizeof *devices };

const struct bf_device *bf_device_at(size_t index) {
    return index < DEVICES ? devices[index] : NULL;
}

const struct bf_device *bf_device_find(const char *name) {
    for (size_t i = 0; i < DEVICES; i++)
        if (!strcmp(devices[i]->name, name))
            return devices[i];
    return NULL;
}

struct bf_stats *bf_stats_create(const struct bf_program *program) {
    struct bf_stats *stats = bf_alloc(sizeof *stats);
    stats->kernels = bf_alloc(program->kernel_count * sizeof *stats->kernels);
    stats->blocks = bf_alloc(program->kernel_count * sizeof *stats->blocks);
    for (size_t k = 0; k < program->kernel_count; k++)
        stats->blocks[k] = bf_alloc(program->kernels[k].block_count * sizeof **stats->blocks);
    return stats;
}

void bf_stats_free(const struct bf_program *program, struct bf_stats *stats) {
    if (!stats)
        return;
    for (size_t k = 0; k < program->kernel_count; k++)
        free(stats->blocks[k]);
    free(stats->blocks);
    free(stats->kernels);
    free(stats);
}
