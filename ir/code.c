/* code.c - building the array code of one plan: bodies, blocks, and the launch. */
#include "ir/map.h"

#include <stdlib.h>

uint64_t bf_all_pes(const struct bf_machine *machine) {
    unsigned pes = bf_machine_pes(machine);
    return pes == 64 ? UINT64_MAX : (UINT64_C(1) << pes) - 1;
}

bool bf_one_weight_set(const struct bf_machine *machine) {
    return 2 * machine->weight_half * machine->lanes <= 2048;
}

int64_t bf_weight_set_lanes(const struct bf_machine *machine) {
    return (int64_t)machine->weight_half * machine->lanes * (bf_one_weight_set(machine) ? 2 : 1);
}

struct bf_descriptor bf_descriptor_new(enum bf_unit unit) {
    struct bf_descriptor d;
    memset(&d, 0, sizeof d);
    d.unit = (uint8_t)unit;
    for (int l = 0; l < BF_LEVELS; l++)
        d.trips[l] = 1;
    for (int t = 0; t < BF_TARGETS; t++)
        d.target[t] = BF_NO_BLOCK;
    d.flow.token = BF_NO_BLOCK;
    return d;
}

/* Level l advances after the inner levels have travelled (trips - 1) x stride each. */
void bf_deltas(const uint16_t trips[3], const int64_t strides[3], int64_t deltas[3]) {
    int64_t travel = 0;
    for (int l = 0; l < BF_LEVELS; l++) {
        deltas[l] = trips[l] > 1 ? strides[l] - travel : 0;
        travel += (trips[l] - 1) * strides[l];
    }
}

void bf_code_begin(struct bf_code *code, struct bf_map *map, struct bf_plan *plan) {
    code->map = map;
    code->plan = plan;
    code->words = 0;
    code->kernel = bf_alloc(sizeof *code->kernel);
    struct bf_loc loc = plan->kernel->loc;
    code->kernel->name = bf_strdup(plan->name);
    code->kernel->what = bf_strdup(plan->kernel->what);
    if (loc.line)
        code->kernel->place =
            (struct bf_place){loc.file - map->poly->header.file_base, loc.line, loc.column};
    code->kernel->segments = bf_alloc(sizeof *code->kernel->segments);
    code->kernel->segment_count = 1;
    code->kernel->segments[0].pes = bf_all_pes(&map->machine);
}

unsigned bf_code_body(struct bf_code *code, const struct bf_cal *cal, unsigned count) {
    struct bf_segment *segment = &code->kernel->segments[0];
    uint64_t *body = bf_alloc(count * sizeof *body);
    for (unsigned i = 0; i < count; i++)
        body[i] = bf_cal_encode(&cal[i]);
    for (unsigned start = 0; start + count <= code->words; start++) {
        if (!memcmp(&segment->words[start], body, count * sizeof *body)) {
            free(body);
            return start;
        }
    }
    segment->words = bf_resize(segment->words, (code->words + count) * sizeof *body);
    memcpy(&segment->words[code->words], body, count * sizeof *body);
    free(body);
    code->words += count;
    segment->count = (uint16_t)code->words;
    return code->words - count;
}

static bool same_descriptor(const struct bf_descriptor *a, const struct bf_descriptor *b) {
    uint64_t x[4], y[4];
    bf_descriptor_encode(a, x);
    bf_descriptor_encode(b, y);
    return !memcmp(x, y, sizeof x);
}

void bf_code_block(struct bf_code *code, uint64_t pes, unsigned id, const char *name,
                   const struct bf_descriptor *d) {
    struct bf_kernel *kernel = code->kernel;
    for (size_t i = 0; i < kernel->block_count; i++) {
        struct bf_block *block = &kernel->blocks[i];
        if (block->id == id && !strcmp(block->name, name) && same_descriptor(&block->d, d)) {
            block->pes |= pes;
            return;
        }
    }
    kernel->blocks = bf_resize(kernel->blocks, (kernel->block_count + 1) * sizeof *kernel->blocks);
    struct bf_block *block = &kernel->blocks[kernel->block_count++];
    memset(block, 0, sizeof *block);
    block->pes = pes;
    block->id = (uint8_t)id;
    block->d = *d;
    block->name = bf_strdup(name);
    block->place = kernel->place;
}

static void free_kernel(struct bf_kernel *kernel) {
    bf_kernel_clear(kernel);
    free(kernel);
}

void bf_code_abandon(struct bf_code *code) {
    free_kernel(code->kernel);
    code->kernel = NULL;
}

/* Equal code for the same PEs; layers of one network share it whatever their names are, but only
 * within one source place, so that reports name the right line. */
static bool same_kernel(const struct bf_kernel *a, const struct bf_kernel *b) {
    if (a->segment_count != b->segment_count || a->block_count != b->block_count ||
        memcmp(&a->place, &b->place, sizeof a->place))
        return false;
    for (size_t i = 0; i < a->segment_count; i++) {
        const struct bf_segment *s = &a->segments[i], *t = &b->segments[i];
        if (s->pes != t->pes || s->start != t->start || s->count != t->count ||
            (s->count && memcmp(s->words, t->words, s->count * sizeof *s->words)))
            return false;
    }
    for (size_t i = 0; i < a->block_count; i++) {
        const struct bf_block *s = &a->blocks[i], *t = &b->blocks[i];
        if (s->pes != t->pes || s->id != t->id || strcmp(s->name, t->name) ||
            !same_descriptor(&s->d, &t->d))
            return false;
    }
    return true;
}

static int share_kernel(struct bf_program *program, struct bf_kernel *kernel) {
    for (size_t i = 0; i < program->kernel_count; i++) {
        if (same_kernel(&program->kernels[i], kernel)) {
            free_kernel(kernel);
            return (int)i;
        }
    }
    program->kernels =
        bf_resize(program->kernels, (program->kernel_count + 1) * sizeof *program->kernels);
    program->kernels[program->kernel_count] = *kernel;
    free(kernel);
    return (int)program->kernel_count++;
}

/* Drops the empty segment of a kernel without CAL words. */
static void trim_segments(struct bf_code *code) {
    struct bf_kernel *kernel = code->kernel;
    if (code->words == 0) {
        free(kernel->segments);
        kernel->segments = NULL;
        kernel->segment_count = 0;
    }
}

bool bf_code_finish(struct bf_code *code, const struct bf_launch *launch, struct bf_diags *diags) {
    struct bf_map *map = code->map;
    struct bf_plan *plan = code->plan;
    if (code->words > map->machine.code_words) {
        bf_diag_error(diags, plan->kernel->loc,
                      "cannot map %s on '%s': it needs %u CAL words of code, the array has %u",
                      plan->kernel->what, map->machine.name, code->words, map->machine.code_words);
        free_kernel(code->kernel);
        return false;
    }
    trim_segments(code);
    plan->code = share_kernel(map->program, code->kernel);
    code->kernel = NULL;

    struct bf_program *program = map->program;
    program->launches =
        bf_resize(program->launches, (program->launch_count + 1) * sizeof *program->launches);
    program->launches[program->launch_count] = *launch;
    program->launches[program->launch_count].kernel = (uint32_t)plan->code;
    plan->launch = (int)program->launch_count++;
    return true;
}
