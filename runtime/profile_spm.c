/* profile_spm.c - the scratchpad over time: which value lies where, from its writer to its last
 * reader.
 *
 * The unit is a tile of V words, which row and column accesses share. Launches and DMA jobs are
 * taken in the order in which they began: each closes the values that it overwrites. Programs are
 * free of races (bfrun -check), so that concurrent ones touch different values.
 *
 *     tile  0   1   2   3   4        A and B: who wrote them last
 *           A   A   B   B   B        a buffer: neighbouring tiles of one writer
 */
#include "runtime/profile.h"

#include <stdlib.h>

#include "runtime/ref.h"

enum { NOBODY = -1 };

/* A launch or a DMA job, and the tiles that it touches. */
struct event {
    uint64_t begin, end;
    int32_t number; /* launches: index; DMA jobs: -2 - index */
};

struct tile {
    int32_t writer, reader; /* events; NOBODY */
};

/* Tiles first .. first + count - 1 while they held what `writer` wrote. */
struct value {
    uint32_t first, count;
    int32_t writer, reader;
};

struct map {
    const struct bf_recorder *r;
    uint32_t v, tiles;
    struct tile *tile;
    uint8_t *reads, *writes; /* of the present event */
    struct {
        struct value *data;
        size_t count, capacity;
    } values; /* closed ones */
};

/* ---- what an event touches ---- */

static void touch_block(struct map *map, const struct bf_launch *launch,
                        const struct bf_block *block) {
    const struct bf_descriptor *d = &block->d;
    bool weights = bf_is_weight_load(block);
    uint64_t group = bf_launch_group(launch), step = weights ? group : 1;
    uint8_t *set = d->unit == BF_UNIT_LOAD ? map->reads : map->writes;
    for (uint64_t i = 0; i < bf_launch_iterations(launch); i += step) {
        if (!bf_block_in_phase(block, bf_launch_phase(launch, i)))
            continue;
        uint32_t word = bf_mem_start(launch, d, i / step);
        struct bf_loop loop = {{0}};
        for (int level = 0; level >= 0;) {
            if (word / map->v < map->tiles)
                set[word / map->v] = 1;
            level = bf_loop_next(&loop, d->trips);
            if (level >= 0)
                word = (word + (uint32_t)d->mem.spm_delta[level]) & BF_SPM_MASK;
        }
    }
}

static void touch_launch(struct map *map, const struct bf_launch *launch) {
    const struct bf_kernel *kernel = &map->r->program->kernels[launch->kernel];
    for (size_t b = 0; b < kernel->block_count; b++) {
        unsigned unit = kernel->blocks[b].d.unit;
        if (unit == BF_UNIT_LOAD || unit == BF_UNIT_STORE)
            touch_block(map, launch, &kernel->blocks[b]);
    }
}

static void touch_dma(struct map *map, const struct bf_dma *d) {
    uint8_t *set = d->kind == BF_DMA_STORE ? map->reads : map->writes;
    if (!d->rows || !d->cols)
        return;
    for (uint32_t r = d->row / map->v; r <= (d->row + d->rows - 1) / map->v; r++)
        for (uint32_t c = d->col / map->v; c <= (d->col + d->cols - 1) / map->v; c++) {
            uint64_t tile = (d->spm + (uint64_t)r * d->width + (uint64_t)c * map->v) / map->v;
            if (tile < map->tiles)
                set[tile] = 1;
        }
}

/* ---- values ---- */

static void close_values(struct map *map, const uint8_t *which) {
    for (uint32_t t = 0, n; t < map->tiles; t += n) {
        struct tile value = map->tile[t];
        n = 1;
        if (value.writer == NOBODY || (which && !which[t]))
            continue;
        while (t + n < map->tiles && (!which || which[t + n]) &&
               map->tile[t + n].writer == value.writer && map->tile[t + n].reader == value.reader)
            n++;
        *bf_push(&map->values) = (struct value){t, n, value.writer, value.reader};
    }
}

static void apply(struct map *map, const struct event *event) {
    for (uint32_t t = 0; t < map->tiles; t++)
        if (map->reads[t] && map->tile[t].writer != NOBODY)
            map->tile[t].reader = event->number;
    close_values(map, map->writes);
    for (uint32_t t = 0; t < map->tiles; t++)
        if (map->writes[t])
            map->tile[t] = (struct tile){event->number, NOBODY};
}

static int compare(const void *a, const void *b) {
    const struct event *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static struct event *list_events(const struct bf_recorder *r, size_t *count) {
    struct event *events = bf_alloc((r->run_count + r->jobs.count) * sizeof *events);
    *count = 0;
    for (size_t i = 0; i < r->run_count; i++)
        events[(*count)++] = (struct event){r->runs[i].begin, r->runs[i].end, (int32_t)i};
    for (size_t i = 0; i < r->jobs.count; i++)
        if (r->program->sequence[r->jobs.data[i].position].op == BF_SEQ_DMA)
            events[(*count)++] =
                (struct event){r->jobs.data[i].begin, r->jobs.data[i].end, -2 - (int32_t)i};
    qsort(events, *count, sizeof *events, compare);
    return events;
}

/* ---- buffers ---- */

static int by_writer(const void *a, const void *b) {
    const struct value *x = a, *y = b;
    if (x->writer != y->writer)
        return x->writer < y->writer ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

static uint64_t end_of(const struct bf_recorder *r, int32_t event) {
    return event == NOBODY ? 0 : event >= 0 ? r->runs[event].end : r->jobs.data[-2 - event].end;
}

static const char *operator_of(const struct bf_recorder *r, int32_t run) {
    return r->program->kernels[r->program->launches[r->runs[run].launch].kernel].what;
}

/* Launches in a row that serve one operator write one result: it is the first one's. */
static int32_t first_writer(const struct bf_recorder *r, int32_t writer) {
    while (writer > 0 && !strcmp(operator_of(r, writer), operator_of(r, writer - 1)))
        writer--;
    return writer;
}

/* Neighbours of one writer become one buffer, which lives until the last of their readers. */
static json_t *list_buffers(struct map *map) {
    struct value *values = map->values.data;
    json_t *buffers = json_array();
    for (size_t i = 0; i < map->values.count; i++)
        values[i].writer = first_writer(map->r, values[i].writer);
    if (map->values.count)
        qsort(values, map->values.count, sizeof *values, by_writer);
    for (size_t i = 0, next; i < map->values.count; i = next) {
        struct value all = values[i];
        for (next = i + 1; next < map->values.count && values[next].writer == all.writer &&
                           values[next].first == all.first + all.count;
             next++) {
            all.count += values[next].count;
            if (end_of(map->r, values[next].reader) > end_of(map->r, all.reader))
                all.reader = values[next].reader;
        }
        json_array_append_new(buffers, json_pack("[i,i,i,i]", (int)(all.first * map->v),
                                                 (int)(all.count * map->v), (int)all.writer,
                                                 (int)all.reader));
    }
    return buffers;
}

json_t *bf_profile_buffers(const struct bf_recorder *r) {
    const struct bf_program *program = r->program;
    struct map map = {.r = r, .v = program->machine.lanes};
    map.tiles = (program->machine.spm_words + map.v - 1) / map.v;
    map.tile = bf_alloc(map.tiles * sizeof *map.tile);
    map.reads = bf_alloc(map.tiles);
    map.writes = bf_alloc(map.tiles);
    for (uint32_t t = 0; t < map.tiles; t++)
        map.tile[t] = (struct tile){NOBODY, NOBODY};
    size_t count;
    struct event *events = list_events(r, &count);
    for (size_t e = 0; e < count; e++) {
        int32_t n = events[e].number;
        memset(map.reads, 0, map.tiles);
        memset(map.writes, 0, map.tiles);
        if (n >= 0)
            touch_launch(&map, &program->launches[r->runs[n].launch]);
        else
            touch_dma(&map, &program->dmas[program->sequence[r->jobs.data[-2 - n].position].y]);
        apply(&map, &events[e]);
    }
    close_values(&map, NULL);
    json_t *buffers = list_buffers(&map);
    free(map.values.data);
    free(events);
    free(map.tile);
    free(map.reads);
    free(map.writes);
    return buffers;
}
