/* profile.c - the profile of a run as JSON: statistics, and where in program and time they arose.
 * docs/profile.md has its keys. Figures are counts of the simulator; nothing is estimated. */
#include "runtime/profile.h"

#include <stdlib.h>

static void put(json_t *object, const char *key, uint64_t value) {
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void put_string(json_t *object, const char *key, const char *value) {
    json_t *string = json_string(value);
    json_object_set_new(object, key, string ? string : json_string("?")); /* not UTF-8 */
}

static void push_string(json_t *array, const char *value) {
    json_t *string = json_string(value);
    json_array_append_new(array, string ? string : json_string("?")); /* not UTF-8 */
}

static void push(json_t *array, uint64_t value) {
    json_array_append_new(array, json_integer((json_int_t)value));
}

/* ---- groups: blocks that differ only in their PEs ---- */

struct group {
    const struct bf_block *block; /* the first */
    struct bf_place place;        /* its own or its kernel's */
    uint64_t pes, runs, held;
};

struct groups {
    struct group *data;
    size_t count;
    uint16_t *of; /* [block of the kernel] */
};

static bool same(const struct group *g, const struct bf_block *b, struct bf_place place) {
    return g->block->id == b->id && !strcmp(g->block->name, b->name) &&
           g->place.file == place.file && g->place.line == place.line;
}

static struct groups find_groups(const struct bf_recorder *r, size_t k) {
    const struct bf_kernel *kernel = &r->program->kernels[k];
    struct groups groups = {.data = bf_alloc(kernel->block_count * sizeof *groups.data),
                            .of = bf_alloc(kernel->block_count * sizeof *groups.of)};
    for (size_t b = 0; b < kernel->block_count; b++) {
        const struct bf_block *block = &kernel->blocks[b];
        struct bf_place place = block->place.line ? block->place : kernel->place;
        size_t g = 0;
        while (g < groups.count && !same(&groups.data[g], block, place))
            g++;
        if (g == groups.count)
            groups.data[groups.count++] = (struct group){.block = block, .place = place};
        groups.of[b] = (uint16_t)g;
        groups.data[g].pes |= block->pes;
        groups.data[g].runs += r->blocks[k][b].runs;
        groups.data[g].held += r->blocks[k][b].held;
    }
    return groups;
}

static void free_groups(struct groups *groups) {
    free(groups->data);
    free(groups->of);
}

/* ---- a kernel ---- */

static uint64_t issued_by(const struct group *group) {
    const struct bf_descriptor *d = &group->block->d;
    uint64_t each = (uint64_t)d->trips[0] * d->trips[1] * d->trips[2];
    return group->runs * each * (d->unit == BF_UNIT_CAL ? d->cal.length : 1u);
}

static json_t *group_json(const struct group *group) {
    json_t *object = json_object(), *pes = json_array();
    put(object, "id", group->block->id);
    put_string(object, "unit", bfrt_unit_name((enum bfrt_unit)group->block->d.unit));
    put_string(object, "name", group->block->name);
    if (group->place.line) {
        put(object, "file", group->place.file);
        put(object, "line", group->place.line);
    }
    for (unsigned p = 0; p < BF_MAX_PES; p++)
        if (group->pes >> p & 1)
            push(pes, p);
    json_object_set_new(object, "pes", pes);
    put(object, "runs", group->runs);
    put(object, "issued", issued_by(group));
    put(object, "held", group->held);
    return object;
}

/* [PE][unit][issued, then stalls by cause] */
static json_t *pes_json(const struct bf_recorder *r, size_t k) {
    json_t *pes = json_array();
    for (unsigned p = 0; p < bf_machine_pes(&r->program->machine); p++) {
        json_t *units = json_array();
        for (unsigned u = 0; u < 4; u++) {
            json_t *counts = json_array();
            push(counts, r->pes[k][p].issued[u]);
            for (unsigned s = 1; s < BF_STALL_COUNT; s++)
                push(counts, r->pes[k][p].stalled[u][s]);
            json_array_append_new(units, counts);
        }
        json_array_append_new(pes, units);
    }
    return pes;
}

static double joules(double events, uint32_t femtojoules) {
    return events * femtojoules / 1e15;
}

static json_t *energy_json(const struct bfrt_kernel_stats *stats, const struct bf_machine *m) {
    return json_pack("{s:f,s:f,s:f,s:f,s:f}", "cal",
                     joules((double)stats->issued[BFRT_CAL] * m->lanes, m->energy_cal), "ram",
                     joules((double)stats->ram_words, m->energy_ram), "hops",
                     joules((double)stats->hops, m->energy_hop), "scratchpad",
                     joules((double)stats->scratchpad_words, m->energy_spm), "static",
                     joules((double)stats->cycles, m->energy_static));
}

/* ---- lines: every PE-cycle of a kernel is charged to one ---- */

struct line {
    struct bf_place place;
    uint64_t cycles;
};
struct lines {
    struct line *data;
    size_t count, capacity;
};

static void charge(struct lines *lines, struct bf_place place, uint64_t cycles) {
    size_t i = 0;
    while (i < lines->count &&
           (lines->data[i].place.file != place.file || lines->data[i].place.line != place.line))
        i++;
    if (i == lines->count)
        *bf_push(lines) = (struct line){.place = place};
    lines->data[i].cycles += cycles;
}

static int by_place(const void *a, const void *b) {
    const struct bf_place *x = &((const struct line *)a)->place;
    const struct bf_place *y = &((const struct line *)b)->place;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

/* While a block is its CAL unit's, to the block's line; while the unit waits, to the kernel's. */
static void charge_kernel(const struct bf_recorder *r, size_t k, const struct groups *groups,
                          uint64_t cycles, struct lines *own, struct lines *all) {
    uint64_t left = cycles * bf_machine_pes(&r->program->machine);
    for (size_t g = 0; g < groups->count; g++) {
        const struct group *group = &groups->data[g];
        if (group->block->d.unit != BF_UNIT_CAL)
            continue;
        charge(own, group->place, group->held);
        charge(all, group->place, group->held);
        left -= group->held < left ? group->held : left;
    }
    charge(own, r->program->kernels[k].place, left);
    charge(all, r->program->kernels[k].place, left);
}

static json_t *lines_json(struct lines *lines) {
    json_t *array = json_array();
    if (lines->count)
        qsort(lines->data, lines->count, sizeof *lines->data, by_place);
    for (size_t i = 0; i < lines->count; i++) {
        json_t *line = json_array();
        push(line, lines->data[i].place.file);
        push(line, lines->data[i].place.line);
        push(line, lines->data[i].cycles);
        json_array_append_new(array, line);
    }
    free(lines->data);
    return array;
}

/* ---- the timeline ---- */

static json_t *launches_json(const struct bf_recorder *r) {
    json_t *array = json_array();
    for (size_t i = 0; i < r->run_count; i++) {
        const struct bf_launch_run *run = &r->runs[i];
        json_array_append_new(array,
                              json_pack("[i,I,I]", (int)r->program->launches[run->launch].kernel,
                                        (json_int_t)run->begin, (json_int_t)run->end));
    }
    return array;
}

static const char *tensor_at(const struct bf_program *program, uint64_t address) {
    for (size_t t = 0; t < program->tensor_count; t++)
        if (address >= program->tensors[t].dram &&
            address - program->tensors[t].dram < program->tensors[t].size)
            return program->tensors[t].name;
    return "";
}

/* [kind, begin, end, bytes, what] */
static json_t *jobs_json(const struct bf_recorder *r) {
    static const char *const kinds[] = {"load", "store", "gather", "fill"};
    json_t *array = json_array();
    for (size_t i = 0; i < r->jobs.count; i++) {
        const struct bf_job_run *job = &r->jobs.data[i];
        const struct bf_seq *seq = &r->program->sequence[job->position];
        bool code = seq->op == BF_SEQ_CODE;
        const struct bf_dma *d = code ? NULL : &r->program->dmas[seq->y];
        const char *what = code                     ? r->program->kernels[seq->y].name
                           : d->kind == BF_DMA_FILL ? ""
                                                    : tensor_at(r->program, d->dram);
        json_t *row = json_array();
        push_string(row, code ? "code" : kinds[d->kind & 3]);
        push(row, job->begin);
        push(row, job->end);
        push(row, job->bytes);
        push_string(row, what);
        json_array_append_new(array, row);
    }
    return array;
}

static json_t *series_json(const struct bf_recorder *r) {
    static const char *const names[BF_SERIES] = {
        "CAL", "LOAD", "FLOW", "STORE", "dram_read", "dram_written", "scratchpad_words", "hops"};
    json_t *object = json_object();
    put(object, "interval", r->interval);
    for (unsigned s = 0; s < BF_SERIES; s++) {
        json_t *series = json_array();
        for (size_t i = 0; i < r->sample_count; i++)
            push(series, r->samples[i].series[s]);
        json_object_set_new(object, names[s], series);
    }
    return object;
}

/* Flat arrays. Slices: PE, block, begin less the launch's, length, iteration; waits: PE, unit,
 * cause, begin, length. */
static json_t *slices_json(const struct bf_recorder *r, size_t number, const struct groups *groups,
                           uint64_t limit) {
    const struct bf_launch_run *run = &r->runs[number];
    json_t *object = json_object(), *flat = json_array(), *waits = json_array();
    size_t count = run->slice_count < limit ? run->slice_count : (size_t)limit;
    put(object, "launch", number);
    json_object_set_new(object, "complete", json_boolean(count == run->needs));
    for (size_t i = run->first; i < run->first + count; i++) {
        const struct bf_slice *slice = &r->slices.data[i];
        push(flat, slice->pe);
        push(flat, groups->of[slice->block]);
        push(flat, slice->begin - run->begin);
        push(flat, slice->length);
        push(flat, slice->iteration);
    }
    for (size_t i = run->first_wait; i < run->first_wait + run->wait_count; i++) {
        const struct bf_wait *wait = &r->waits.data[i];
        if (i - run->first_wait == BF_WAITS * limit)
            break;
        push(waits, wait->pe);
        push(waits, wait->unit);
        push(waits, wait->cause);
        push(waits, wait->begin - run->begin);
        push(waits, wait->length);
    }
    json_object_set_new(object, "slices", flat);
    json_object_set_new(object, "waits", waits);
    return object;
}

static size_t first_run(const struct bf_recorder *r, size_t k) {
    size_t i = 0;
    while (i + 1 < r->run_count && r->program->launches[r->runs[i].launch].kernel != k)
        i++;
    return i;
}

/* Of the first launch of the kernel that has any, as much as the budget of a page allows. */
static json_t *detail_json(const struct bf_recorder *r, size_t k, const struct groups *groups) {
    uint64_t *quota = bf_recorder_quotas(r, BF_PROFILE_SLICES);
    json_t *detail = NULL;
    for (size_t i = 0; i < r->run_count && !detail; i++)
        if (r->program->launches[r->runs[i].launch].kernel == k && r->runs[i].slice_count)
            detail = slices_json(r, i, groups, quota[first_run(r, k)]);
    free(quota);
    return detail ? detail : json_null();
}

/* ---- the whole ---- */

static void add_kernel(const struct bf_recorder *r, size_t k, const struct bfrt_kernel_stats *stats,
                       json_t *kernel, struct lines *all) {
    struct groups groups = find_groups(r, k);
    struct lines own = {0};
    json_t *blocks = json_array();
    for (size_t g = 0; g < groups.count; g++)
        json_array_append_new(blocks, group_json(&groups.data[g]));
    charge_kernel(r, k, &groups, stats->cycles, &own, all);
    json_object_set_new(kernel, "energy", energy_json(stats, &r->program->machine));
    json_object_set_new(kernel, "lines", lines_json(&own));
    json_object_set_new(kernel, "blocks", blocks);
    json_object_set_new(kernel, "pes", pes_json(r, k));
    json_object_set_new(kernel, "detail", detail_json(r, k, &groups));
    free_groups(&groups);
}

static json_t *machine_json(const struct bf_machine *m) {
    json_t *object = json_object();
    put_string(object, "name", m->name);
    for (size_t i = 0; i < bf_machine_number_count; i++) {
        const struct bf_machine_number *number = &bf_machine_numbers[i];
        uint32_t value;
        memcpy(&value, (const char *)m + number->offset, sizeof value);
        json_t *group = json_object_get(object, number->group);
        if (!group) {
            group = json_object();
            json_object_set_new(object, number->group, group);
        }
        put(group, number->key, value);
    }
    return object;
}

json_t *bf_profile_object(const struct bfrt_session *session, const struct bfrt_session *layers,
                          const char *const *folders) {
    const struct bf_recorder *r = session->recorder;
    const struct bfrt_stats *stats = bfrt_stats(session);
    const struct bf_machine *m = &r->program->machine;
    json_t *root = bf_stats_object(session->model, session->device->name, session, layers);
    json_t *kernels = json_object_get(root, "kernels"), *causes = json_array();
    struct lines lines = {0};
    put(root, "profile", BF_PROFILE_VERSION);
    json_object_set_new(root, "description", machine_json(m));
    json_object_set_new(root, "files", bf_profile_files(r->program, folders));
    for (int s = 1; s < BFRT_STALLS; s++)
        json_array_append_new(causes, json_string(bfrt_stall_name((enum bfrt_stall)s)));
    json_object_set_new(root, "causes", causes);
    for (size_t k = 0; k < stats->kernel_count; k++)
        add_kernel(r, k, &stats->kernels[k], json_array_get(kernels, k), &lines);
    json_object_set_new(root, "lines", lines_json(&lines));
    json_object_set_new(
        root, "energy",
        json_pack("{s:f,s:f}", "dram",
                  joules((double)(stats->dram_read + stats->dram_written), m->energy_dram),
                  "static", joules((double)stats->cycles, m->energy_static)));
    put(root, "timeline_cycles", r->end);
    json_object_set_new(root, "launches", launches_json(r));
    json_object_set_new(root, "jobs", jobs_json(r));
    json_object_set_new(root, "series", series_json(r));
    json_object_set_new(root, "buffers", bf_profile_buffers(r));
    return root;
}
