/* attention_move.c - LOAD and STORE blocks of attention, and the scratchpad addresses of jobs. */
#include "passes/array/attention_code.h"

enum { BASE_Q, BASE_K, BASE_V, BASE_MASK, BASE_Y, BASE_CONST, BASE_STATE };

struct bf_descriptor bf_attention_block(enum bf_unit unit, int64_t first, int64_t last) {
    struct bf_descriptor d = bf_descriptor_new(unit);
    d.first = (uint8_t)first;
    d.last = (uint8_t)last;
    return d;
}

void bf_attention_trips(struct bf_descriptor *d, int64_t t0, int64_t t1, int64_t t2) {
    d->trips[0] = (uint16_t)t0;
    d->trips[1] = (uint16_t)t1;
    d->trips[2] = (uint16_t)t2;
}

/* Ids of LOAD and STORE blocks; a PE that has none left is reported at the end. */
static void move_block(struct bf_attention_build *b, unsigned id, const char *name,
                       const struct bf_descriptor *d) {
    if (id < (d->unit == BF_UNIT_LOAD ? BF_FIRST_FLOW : BF_BLOCKS))
        bf_code_block(&b->code, UINT64_C(1) << b->pe, id, name, d);
}

/* ---- addresses ---- */

/* How far job numbers move an operand, in scratchpad words. */
struct strides {
    int64_t of[BF_JOB_DIMS];
};

static struct strides sample_strides(const struct bf_attention_build *b,
                                     const struct bf_operand *operand) {
    const struct bf_place_of_buffer *place = &b->map->places[operand->buffer->index];
    struct strides s = {{0}};
    if (operand->buffer->samples > 1) {
        s.of[BF_JOB_SAMPLE] = place->pitch / b->a.lanes * place->width;
        s.of[BF_JOB_BATCH] = b->a.lanes * s.of[BF_JOB_SAMPLE];
    }
    return s;
}

/* q, y and the state: columns of a head, lanes are queries. */
static struct strides query_strides(const struct bf_attention_build *b,
                                    const struct bf_operand *operand) {
    struct strides s = sample_strides(b, operand);
    s.of[BF_JOB_GROUP] = operand->cols / b->a.heads;
    s.of[BF_JOB_HEAD] = b->a.heads / b->a.kv_heads * s.of[BF_JOB_GROUP];
    s.of[BF_JOB_TILE] = b->map->places[operand->buffer->index].width;
    return s;
}

static struct strides mask_strides(const struct bf_attention_build *b) {
    struct strides s = sample_strides(b, b->a.mask);
    int64_t width = b->map->places[b->a.mask->buffer->index].width;
    if (b->a.row_mask)
        s.of[BF_JOB_TILE] = width;
    else
        s.of[BF_JOB_SAMPLE] = 0, s.of[BF_JOB_BATCH] = b->a.mask->buffer->samples > 1 ? width : 0;
    return s;
}

int64_t bf_attention_mask_lane(const struct bf_attention_build *b) {
    int64_t sample = b->jobs.first[BF_JOB_SAMPLE] + b->index[BF_JOB_SAMPLE];
    return b->a.mask->buffer->samples > 1 ? sample % b->a.lanes : 0;
}

static int64_t first_offset(const struct bf_attention_build *b, const struct strides *s) {
    int64_t offset = 0;
    for (int d = 0; d < BF_JOB_DIMS; d++)
        offset += b->jobs.first[d] * s->of[d];
    return offset;
}

/* A LOAD or STORE in phases first .. last, `step` words on in each; word `at` in the first. */
static void follow(const struct bf_attention_build *b, struct bf_descriptor *d,
                   const struct strides *s, int64_t at, int64_t step) {
    const struct bf_jobs *jobs = &b->jobs;
    int64_t strides[BF_LEVELS] = {step, 0, 0}, rounds[BF_LEVELS] = {b->a.period, 1, 1}, travel = 0;
    int levels[BF_LEVELS] = {-1, jobs->level1, jobs->level2};
    for (int l = 1; l < BF_LEVELS; l++) {
        if (levels[l] < 0)
            continue;
        rounds[l] = jobs->rounds[levels[l]];
        strides[l] = s->of[levels[l]] * jobs->across[levels[l]];
    }
    for (int l = 0; l < BF_LEVELS; l++) {
        d->mem.iteration_delta[l] = (int32_t)(rounds[l] > 1 ? strides[l] - travel : 0);
        travel += (rounds[l] - 1) * strides[l];
    }
    for (int dim = 0; dim < BF_JOB_DIMS; dim++)
        at += b->index[dim] * s->of[dim];
    d->mem.spm = (uint32_t)(at - step * d->first) & ((1u << 18) - 1);
}

static void mem_loops(struct bf_descriptor *d, const int64_t ram_strides[3],
                      const int64_t spm_strides[3]) {
    int64_t deltas[BF_LEVELS];
    bf_deltas(d->trips, ram_strides, deltas);
    for (int l = 0; l < BF_LEVELS; l++)
        d->mem.ram_delta[l] = (int16_t)deltas[l];
    bf_deltas(d->trips, spm_strides, deltas);
    for (int l = 0; l < BF_LEVELS; l++)
        d->mem.spm_delta[l] = (int32_t)deltas[l];
}

/* The longest run of phases from `first` on with equal keys and addresses that advance by a
 * constant; returns how many and the constant. */
int64_t bf_attention_run(const int64_t *address, const int64_t *key, int64_t first, int64_t count,
                         int64_t *step) {
    int64_t last = first;
    *step =
        first + 1 < count && key[first + 1] == key[first] ? address[first + 1] - address[first] : 0;
    while (last + 1 < count && key[last + 1] == key[first] &&
           address[last + 1] - address[last] == *step)
        last++;
    return last - first + 1;
}

/* ---- loads ---- */

void bf_attention_load_constants(struct bf_attention_build *b, unsigned id, int64_t first,
                                 int64_t last, int from, int to, int64_t words, unsigned target) {
    struct bf_descriptor d = bf_attention_block(BF_UNIT_LOAD, first, last);
    bf_attention_trips(&d, words, 1, 1);
    mem_loops(&d, (int64_t[]){1, 0, 0}, (int64_t[]){1, 0, 0});
    d.target[0] = (uint8_t)target;
    d.mem.row = d.mem.relative = true;
    d.mem.ram = (uint16_t)(b->a.constants + to);
    d.mem.spm = (uint32_t)from;
    d.mem.base = BASE_CONST;
    move_block(b, id, "load constants", &d);
}

void bf_attention_load_q(struct bf_attention_build *b, unsigned target) {
    struct strides s = query_strides(b, b->a.q);
    struct bf_descriptor d = bf_attention_block(BF_UNIT_LOAD, 0, 0);
    d.need = 1;
    d.target[0] = (uint8_t)target;
    bf_attention_trips(&d, b->a.columns, 1, 1);
    mem_loops(&d, (int64_t[]){1, 0, 0}, (int64_t[]){1, 0, 0});
    d.mem.ram = (uint16_t)b->a.q_words;
    d.mem.base = BASE_Q;
    follow(b, &d, &s, 0, 0);
    move_block(b, BF_LOAD_Q, "load q", &d);
}

/* Scratchpad word of the head's first column word, from that of the plan's first head on. */
static int64_t head_word(const struct bf_attention_build *b, const struct bf_operand *operand) {
    int64_t first = operand->col + b->jobs.first[BF_JOB_HEAD] * b->a.columns;
    int64_t here = first + b->index[BF_JOB_HEAD] * b->a.columns;
    return (here / b->a.lanes - first / b->a.lanes) * b->a.lanes;
}

/* Strides for follow; the PE's own head is in head_word, a round of heads is whole words. */
static struct strides key_strides(const struct bf_attention_build *b,
                                  const struct bf_operand *operand) {
    struct strides s = sample_strides(b, operand);
    s.of[BF_JOB_HEAD] = b->a.columns;
    return s;
}

void bf_attention_load_keys(struct bf_attention_build *b) {
    int64_t address[BF_ATTENTION_CHUNKS], same[BF_ATTENTION_CHUNKS] = {0}, step, v = b->a.lanes;
    int64_t width = b->map->places[b->a.k->buffer->index].width;
    struct strides s = key_strides(b, b->a.k);
    for (int64_t i = 0; i < b->a.chunks; i++) {
        int64_t key = bf_attention_chunk(&b->a, i).key;
        address[i] = key / v * width + key % v;
    }
    for (int64_t i = 0, n; i < b->a.chunks; i += n) {
        n = bf_attention_run(address, same, i, b->a.chunks, &step);
        struct bf_descriptor d = bf_attention_block(BF_UNIT_LOAD, i, i + n - 1);
        bf_attention_trips(&d, b->a.unroll, (b->k_offset + b->a.columns + v - 1) / v, 1);
        mem_loops(&d, (int64_t[]){b->a.cover, 1, 0}, (int64_t[]){1, v, 0});
        d.mem.weights = d.mem.row = true;
        d.mem.base = BASE_K;
        follow(b, &d, &s, address[i] + head_word(b, b->a.k) - b->index[BF_JOB_HEAD] * b->a.columns,
               step);
        move_block(b, b->load++, "load k", &d);
    }
}

void bf_attention_load_lane_mask(struct bf_attention_build *b) {
    struct strides s = mask_strides(b);
    struct bf_descriptor d = bf_attention_block(BF_UNIT_LOAD, 0, b->a.chunks - 1);
    bf_attention_trips(&d, b->a.unroll, 1, 1);
    mem_loops(&d, (int64_t[]){1, 0, 0}, (int64_t[]){1, 0, 0});
    d.mem.weights = true;
    d.mem.ram = (uint16_t)(b->a.unroll * b->a.cover);
    d.mem.base = BASE_MASK;
    follow(b, &d, &s, 0, b->a.unroll);
    move_block(b, b->load++, "load mask", &d);
}

/* All chunks have as many words: of keys that do not exist they are any words, which nothing reads.
 */
void bf_attention_load_word_mask(struct bf_attention_build *b, bool positions, unsigned target) {
    int64_t last = b->a.keys - 1, step = positions ? -b->a.unroll : b->a.unroll;
    int64_t tile = b->jobs.first[BF_JOB_TILE] * b->a.lanes;
    struct strides s = {{0}};
    if (positions)
        s.of[BF_JOB_TILE] = b->a.lanes;
    else
        s = mask_strides(b);
    struct bf_descriptor d = bf_attention_block(BF_UNIT_LOAD, 0, b->a.chunks - 1);
    bf_attention_trips(&d, b->a.unroll, 1, 1);
    mem_loops(&d, (int64_t[]){1, 0, 0}, (int64_t[]){positions ? -1 : 1, 0, 0});
    d.target[0] = (uint8_t)target;
    d.mem.row = positions;
    d.mem.relative = true;
    d.mem.ram = (uint16_t)(positions ? b->a.table_words : b->a.row_words);
    d.mem.base = positions ? BASE_CONST : BASE_MASK;
    follow(b, &d, &s, positions ? BF_CONST_WORDS + last + tile : 0, step);
    move_block(b, b->load++, positions ? "load positions" : "load mask", &d);
}

/* Word `word` of the head's columns, of all keys. */
void bf_attention_load_values(struct bf_attention_build *b, int64_t phase, int64_t count,
                              int64_t word, int64_t step) {
    int64_t v = b->a.lanes, width = b->map->places[b->a.v->buffer->index].width;
    struct strides s = key_strides(b, b->a.v);
    struct bf_descriptor d = bf_attention_block(BF_UNIT_LOAD, phase, phase + count - 1);
    bf_attention_trips(&d, v, (b->a.keys + v - 1) / v, 1);
    mem_loops(&d, (int64_t[]){1, v, 0}, (int64_t[]){1, width, 0});
    d.mem.weights = d.mem.row = true;
    d.mem.base = BASE_V;
    follow(b, &d, &s, word * v + head_word(b, b->a.v) - b->index[BF_JOB_HEAD] * b->a.columns,
           step * v);
    move_block(b, b->load++, "load v", &d);
}

static void move_columns(struct bf_attention_build *b, struct bf_descriptor *d,
                         const struct bf_operand *operand, int64_t column, int64_t step,
                         int64_t count, int64_t ram) {
    struct strides s = query_strides(b, operand);
    bf_attention_trips(d, count, 1, 1);
    mem_loops(d, (int64_t[]){1, 0, 0}, (int64_t[]){1, 0, 0});
    d->mem.relative = true;
    d->mem.ram = (uint16_t)ram;
    d->mem.base = operand == b->a.y ? BASE_Y : BASE_STATE;
    follow(b, d, &s, column, step);
}

void bf_attention_load_state(struct bf_attention_build *b, unsigned id, int64_t first, int64_t last,
                             int64_t column, int64_t step, int64_t count, int64_t ram,
                             unsigned target) {
    struct bf_descriptor d = bf_attention_block(BF_UNIT_LOAD, first, last);
    d.target[0] = (uint8_t)target;
    move_columns(b, &d, b->a.state, column, step, count, ram);
    move_block(b, id, "load state", &d);
}

void bf_attention_store(struct bf_attention_build *b, const struct bf_operand *operand,
                        int64_t first, int64_t last, int64_t column, int64_t step, int64_t count,
                        int64_t ram) {
    struct bf_descriptor d = bf_attention_block(BF_UNIT_STORE, first, last);
    d.need = 1;
    move_columns(b, &d, operand, column, step, count, ram);
    move_block(b, b->store++, operand == b->a.y ? "store y" : "store state", &d);
}

void bf_attention_bases(struct bf_attention_build *b, struct bf_launch *launch) {
    const struct bf_map *map = b->map;
    const struct bf_attention *a = &b->a;
    int64_t head = b->jobs.first[BF_JOB_HEAD] * a->columns;
    struct strides q = query_strides(b, a->q), y = query_strides(b, a->y);
    struct strides k = sample_strides(b, a->k), v = sample_strides(b, a->v);
    launch->base[BASE_Q] = (uint32_t)(bf_map_column_word(map, a->q, 0, 0, 0) + first_offset(b, &q));
    launch->base[BASE_K] =
        (uint32_t)(bf_map_row_word(map, a->k, 0, a->first_key, head) + first_offset(b, &k));
    launch->base[BASE_V] =
        (uint32_t)(bf_map_row_word(map, a->v, 0, a->first_key, head) + first_offset(b, &v));
    if (a->mask) {
        struct strides mask = mask_strides(b);
        int64_t sample =
            a->lane_mask && a->mask->buffer->samples > 1 ? b->jobs.first[BF_JOB_SAMPLE] : 0;
        launch->base[BASE_MASK] =
            (uint32_t)(bf_map_column_word(map, a->mask, sample, 0, a->first_key) +
                       first_offset(b, &mask));
    }
    launch->base[BASE_Y] = (uint32_t)(bf_map_column_word(map, a->y, 0, 0, 0) + first_offset(b, &y));
    launch->base[BASE_CONST] = (uint32_t)b->plan->weight_spm;
    if (a->state) {
        struct strides state = query_strides(b, a->state);
        launch->base[BASE_STATE] =
            (uint32_t)(bf_map_column_word(map, a->state, 0, 0, 0) + first_offset(b, &state));
    }
}
