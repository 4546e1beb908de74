/* tasks.h - what the sequencer has to do, in an order in which it could be done one by one; inside
 * schedule only. sequence.c chooses the order in which it is queued. */
#ifndef BF_PASSES_ARRAY_TASKS_H
#define BF_PASSES_ARRAY_TASKS_H

#include "ir/map.h"

/* Something that a task reads or writes. */
enum bf_space {
    BF_SPACE_SPM,  /* scratchpad: words first .. end - 1; of a buffer: the rectangle of it */
    BF_SPACE_DRAM, /* samples first .. end - 1 of a buffer, the rectangle of each */
    BF_SPACE_BANK  /* instruction banks first .. end - 1 */
};
struct bf_task_access {
    enum bf_space space;
    bool write;
    const struct bf_buffer *buffer; /* NULL: no rectangle */
    int64_t first, end;
    int64_t row, row_end, col, col_end; /* in the scratchpad: rounded to tiles */
};

/* A launch, or DMA jobs that belong together. */
struct bf_task {
    bool launch;
    bool setup;   /* of a resident network: done before its time is taken */
    int plan;     /* -1: none */
    int position; /* launches before it; its own number if it is one */
    int code;     /* kernel to load, -1: `dmas` */
    unsigned bank;
    size_t dmas, dma_end;        /* of bf_tasks.dmas */
    size_t accesses, access_end; /* of bf_tasks.accesses */
    uint64_t cycles;             /* about */
    /* sequence.c */
    bool queued, wanted;
    uint32_t done; /* jobs complete when it is */
};

struct bf_tasks {
    struct bf_map *map;
    struct {
        struct bf_task *data;
        size_t count, capacity;
    } tasks;
    struct {
        struct bf_task_access *data;
        size_t count, capacity;
    } accesses;
    struct {
        struct bf_dma *data;
        size_t count, capacity;
    } dmas;
    int launches;
};

struct bf_tasks *bf_tasks_create(struct bf_map *map);
void bf_tasks_free(struct bf_tasks *tasks);
/* Whether two tasks must stay in order. */
bool bf_tasks_conflict(const struct bf_tasks *tasks, const struct bf_task *a,
                       const struct bf_task *b);

/* moves.c: append jobs to `dmas`. */
void bf_move_fill(struct bf_tasks *tasks, int64_t spm, int64_t width, int64_t height,
                  uint16_t value);
void bf_move_weights(struct bf_tasks *tasks, const struct bf_plan *plan);
void bf_move_param(struct bf_tasks *tasks, const struct bf_buffer *buffer);
/* Between an input's or output's place in DRAM and the scratchpad. */
void bf_move_tensor(struct bf_tasks *tasks, const struct bf_buffer *buffer, enum bf_dma_kind kind);
void bf_move_copy(struct bf_tasks *tasks, const struct bf_plan *plan);

#endif
