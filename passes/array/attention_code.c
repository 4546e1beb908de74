/* attention_code.c - blocks and bodies of attention. See attention.h for where things lie and
 * docs/machine.md for the rules the comments name.
 *
 *   scores    acc[u] = 0, or -2^30 where a mask hides key u; += q[c] k[u][c] over c
 *   softmax   m = max; p = exp2((s - m) h (1 + e)); sum of p as rounded; inverse = 1 / sum in two
 * parts values    acc[u] += p[key] v[key][c0 + u] over keys; y = acc x inverse, one rounding
 *
 * Accumulators in the softmax: 0 .. 3 four keys, 4 maximum, 5 maximum x h, 6 and 7 sum.
 */
#include "passes/array/attention.h"

#include <stdlib.h>

enum { BASE_Q, BASE_K, BASE_V, BASE_MASK, BASE_Y, BASE_CONST };
/* Address classes: words of the own context | absolute, stepped by loops | absolute | weights. */
enum { OWN, STEP, FIXED, WEIGHT };
enum { LOAD_Q = BF_FIRST_LOAD, LOAD_START, LOAD_BIG, LOAD_SOFTMAX, FREE_LOAD };
enum { MAXIMUM = 4, SCALED = 5, SUM = 6 };

struct build {
    struct bf_map *map;
    struct bf_plan *plan;
    struct bf_code code;
    struct bf_attention a;
    struct bf_jobs jobs;
    struct bf_diags *diags;
    unsigned pe;
    int64_t index[BF_JOB_DIMS]; /* of the PE's first job, from `first` on */
    int64_t k_offset, v_offset; /* lanes before a head's first column in its first word */
    struct bf_column_chunk columns[BF_ATTENTION_COLUMNS];
    int64_t column_count;
    unsigned cal, load, store; /* next free ids */
    struct bf_cal body[2 * BF_MAX_BODY];
    unsigned length;
};

/* ---- instructions ---- */

struct source {
    uint16_t address;
    uint8_t class;
};

static struct source ram(int class, int64_t word) {
    return (struct source){(uint16_t)word, (uint8_t)class};
}

static struct source acc(int64_t number) {
    return (struct source){(uint16_t)number, BF_CLASS_SPECIAL};
}

static struct source zero(void) {
    return (struct source){BF_C_ZERO << 8, BF_CLASS_SPECIAL};
}

static struct bf_cal *push(struct build *b, enum bf_cal_op op) {
    struct bf_cal *cal = &b->body[b->length++];
    memset(cal, 0, sizeof *cal);
    cal->op = (uint8_t)op;
    return cal;
}

/* D = A x (B: one) + C to an accumulator; B is set by the caller afterwards. */
static struct bf_cal *fma_acc(struct build *b, int64_t to, struct source x, struct source c) {
    struct bf_cal *cal = push(b, BF_CAL_FMA);
    cal->dst = BF_DST_ACC;
    cal->acc = (uint8_t)to;
    cal->a = x.address;
    cal->a_class = x.class;
    cal->b_kind = BF_B_CONST;
    cal->b = BF_B_ONE;
    cal->c = c.address;
    cal->c_class = c.class;
    return cal;
}

static struct bf_cal *fma_ram(struct build *b, struct source to, struct source x, struct source c) {
    struct bf_cal *cal = fma_acc(b, 0, x, c);
    cal->dst = BF_DST_RAM;
    cal->d = to.address;
    cal->d_class = to.class;
    return cal;
}

static void by_lane(struct bf_cal *cal, int64_t lane) {
    cal->b_kind = BF_B_LANE;
    cal->b = (uint16_t)lane;
    cal->b_class = WEIGHT;
}

static void by_word(struct bf_cal *cal, struct source word) {
    cal->b_kind = BF_B_DATA;
    cal->b = word.address;
    cal->b_class = word.class;
}

static void by_const(struct bf_cal *cal, enum bf_b_const value) {
    cal->b = (uint16_t)value;
}

static void max_acc(struct build *b, int64_t to, int64_t x, struct source c) {
    struct bf_cal *cal = push(b, BF_CAL_MAX);
    cal->dst = BF_DST_ACC;
    cal->acc = (uint8_t)to;
    cal->a = (uint16_t)x;
    cal->a_class = BF_CLASS_SPECIAL;
    cal->c = c.address;
    cal->c_class = c.class;
}

static void special(struct build *b, enum bf_cal_op op, int64_t to) {
    struct bf_cal *cal = push(b, op);
    cal->dst = BF_DST_ACC;
    cal->acc = (uint8_t)to;
    cal->a = (uint16_t)to;
    cal->a_class = BF_CLASS_SPECIAL;
}

static void join(struct build *b, enum bf_cal_op half, int64_t to, struct source word) {
    struct bf_cal *cal = push(b, half);
    cal->dst = BF_DST_ACC;
    cal->acc = (uint8_t)to;
    cal->c = word.address;
    cal->c_class = word.class;
}

static void split(struct build *b, enum bf_cal_op half, int64_t from, struct source word) {
    struct bf_cal *cal = push(b, half);
    cal->dst = BF_DST_RAM;
    cal->a = (uint16_t)from;
    cal->a_class = BF_CLASS_SPECIAL;
    cal->d = word.address;
    cal->d_class = word.class;
}

static struct source constant(const struct build *b, int which) {
    return ram(OWN, b->a.constants + which);
}

/* ---- blocks ---- */

static struct bf_descriptor new_block(enum bf_unit unit, int64_t first, int64_t last) {
    struct bf_descriptor d = bf_descriptor_new(unit);
    d.first = (uint8_t)first;
    d.last = (uint8_t)last;
    return d;
}

static void loop_class(struct bf_descriptor *d, int class, int64_t s0, int64_t s1, int64_t s2) {
    int64_t deltas[BF_LEVELS];
    bf_deltas(d->trips, (int64_t[]){s0, s1, s2}, deltas);
    for (int l = 0; l < BF_LEVELS; l++)
        d->cal.delta[class][l] = (int16_t)deltas[l];
}

static void set_trips(struct bf_descriptor *d, int64_t t0, int64_t t1, int64_t t2) {
    d->trips[0] = (uint16_t)t0;
    d->trips[1] = (uint16_t)t1;
    d->trips[2] = (uint16_t)t2;
}

/* Ends the body: a CAL block with the next id, which runs after those before. Returns the id. */
static unsigned end_block(struct build *b, const char *name, struct bf_descriptor *d) {
    d->cal.relative = 1 << OWN;
    d->cal.length = (uint8_t)b->length;
    d->cal.start = (uint8_t)bf_code_body(&b->code, b->body, b->length);
    b->length = 0;
    if (b->cal < BF_FIRST_LOAD)
        bf_code_block(&b->code, UINT64_C(1) << b->pe, b->cal, name, d);
    return b->cal++;
}

/* Ids of LOAD and STORE blocks; a PE that has none left is reported at the end. */
static void move_block(struct build *b, unsigned id, const char *name,
                       const struct bf_descriptor *d) {
    if (id < (d->unit == BF_UNIT_LOAD ? BF_FIRST_FLOW : BF_BLOCKS))
        bf_code_block(&b->code, UINT64_C(1) << b->pe, id, name, d);
}

/* ---- addresses ---- */

/* How far job numbers move an operand, in scratchpad words. */
struct strides {
    int64_t of[BF_JOB_DIMS];
};

static struct strides sample_strides(const struct build *b, const struct bf_operand *operand) {
    const struct bf_place_of_buffer *place = &b->map->places[operand->buffer->index];
    struct strides s = {{0}};
    if (operand->buffer->samples > 1) {
        s.of[BF_JOB_SAMPLE] = place->pitch / b->a.lanes * place->width;
        s.of[BF_JOB_BATCH] = b->a.lanes * s.of[BF_JOB_SAMPLE];
    }
    return s;
}

/* q and y: columns of a head, lanes are queries. */
static struct strides query_strides(const struct build *b, const struct bf_operand *operand) {
    struct strides s = sample_strides(b, operand);
    s.of[BF_JOB_HEAD] = b->a.heads / b->a.kv_heads * b->a.columns;
    s.of[BF_JOB_GROUP] = b->a.columns;
    s.of[BF_JOB_TILE] = b->map->places[operand->buffer->index].width;
    return s;
}

static struct strides mask_strides(const struct build *b) {
    struct strides s = sample_strides(b, b->a.mask);
    int64_t width = b->map->places[b->a.mask->buffer->index].width;
    if (b->a.row_mask) {
        s.of[BF_JOB_TILE] = width;
    } else if (b->a.mask->buffer->samples > 1) {
        s.of[BF_JOB_SAMPLE] = 1;
        s.of[BF_JOB_BATCH] = width;
    }
    return s;
}

static int64_t first_offset(const struct build *b, const struct strides *s) {
    int64_t offset = 0;
    for (int d = 0; d < BF_JOB_DIMS; d++)
        offset += b->jobs.first[d] * s->of[d];
    return offset;
}

/* A LOAD or STORE in phases first .. last, `step` words on in each; word `at` in the first. */
static void follow(const struct build *b, struct bf_descriptor *d, const struct strides *s,
                   int64_t at, int64_t step) {
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
static int64_t run_length(const int64_t *address, const int64_t *key, int64_t first, int64_t count,
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

static void load_constants(struct build *b, unsigned id, int64_t first, int64_t last, int from,
                           int to, int64_t words, unsigned target) {
    struct bf_descriptor d = new_block(BF_UNIT_LOAD, first, last);
    set_trips(&d, words, 1, 1);
    mem_loops(&d, (int64_t[]){1, 0, 0}, (int64_t[]){1, 0, 0});
    d.target[0] = (uint8_t)target;
    d.mem.row = d.mem.relative = true;
    d.mem.ram = (uint16_t)(b->a.constants + to);
    d.mem.spm = (uint32_t)from;
    d.mem.base = BASE_CONST;
    move_block(b, id, "load constants", &d);
}

static void load_q(struct build *b, unsigned target) {
    struct strides s = query_strides(b, b->a.q);
    struct bf_descriptor d = new_block(BF_UNIT_LOAD, 0, 0);
    d.need = 1;
    d.target[0] = (uint8_t)target;
    set_trips(&d, b->a.columns, 1, 1);
    mem_loops(&d, (int64_t[]){1, 0, 0}, (int64_t[]){1, 0, 0});
    d.mem.ram = (uint16_t)b->a.q_words;
    d.mem.base = BASE_Q;
    follow(b, &d, &s, 0, 0);
    move_block(b, LOAD_Q, "load q", &d);
}

/* Scratchpad word of the head's first column word, from that of the plan's first head on. */
static int64_t head_word(const struct build *b, const struct bf_operand *operand) {
    int64_t first = operand->col + b->jobs.first[BF_JOB_HEAD] * b->a.columns;
    int64_t here = first + b->index[BF_JOB_HEAD] * b->a.columns;
    return (here / b->a.lanes - first / b->a.lanes) * b->a.lanes;
}

/* Strides for follow; the PE's own head is in head_word, a round of heads is whole words. */
static struct strides key_strides(const struct build *b, const struct bf_operand *operand) {
    struct strides s = sample_strides(b, operand);
    s.of[BF_JOB_HEAD] = b->a.columns;
    return s;
}

static void load_keys(struct build *b) {
    int64_t address[BF_ATTENTION_CHUNKS], same[BF_ATTENTION_CHUNKS] = {0}, step, v = b->a.lanes;
    int64_t width = b->map->places[b->a.k->buffer->index].width;
    struct strides s = key_strides(b, b->a.k);
    for (int64_t i = 0; i < b->a.chunks; i++) {
        int64_t key = bf_attention_chunk(&b->a, i).key;
        address[i] = key / v * width + key % v;
    }
    for (int64_t i = 0, n; i < b->a.chunks; i += n) {
        n = run_length(address, same, i, b->a.chunks, &step);
        struct bf_descriptor d = new_block(BF_UNIT_LOAD, i, i + n - 1);
        set_trips(&d, b->a.unroll, (b->k_offset + b->a.columns + v - 1) / v, 1);
        mem_loops(&d, (int64_t[]){b->a.cover, 1, 0}, (int64_t[]){1, v, 0});
        d.mem.weights = d.mem.row = true;
        d.mem.base = BASE_K;
        follow(b, &d, &s, address[i] + head_word(b, b->a.k) - b->index[BF_JOB_HEAD] * b->a.columns,
               step);
        move_block(b, b->load++, "load k", &d);
    }
}

/* One value a key, as lanes of the word after the keys. */
static void load_lane_mask(struct build *b) {
    int64_t address[BF_ATTENTION_CHUNKS], same[BF_ATTENTION_CHUNKS] = {0}, step, v = b->a.lanes;
    struct strides s = mask_strides(b);
    for (int64_t i = 0; i < b->a.chunks; i++)
        address[i] = bf_attention_chunk(&b->a, i).key / v * v;
    for (int64_t i = 0, n; i < b->a.chunks; i += n) {
        n = run_length(address, same, i, b->a.chunks, &step);
        struct bf_descriptor d = new_block(BF_UNIT_LOAD, i, i + n - 1);
        d.mem.weights = d.mem.row = true;
        d.mem.ram = (uint16_t)(b->a.unroll * b->a.cover);
        d.mem.base = BASE_MASK;
        follow(b, &d, &s, address[i], step);
        move_block(b, b->load++, "load mask", &d);
    }
}

/* A word a key: a mask of queries and keys (columns of its buffer), or of positions (constants). */
static void load_word_mask(struct build *b, bool positions, unsigned target) {
    int64_t address[BF_ATTENTION_CHUNKS], count[BF_ATTENTION_CHUNKS], step;
    struct strides s = {{0}};
    if (positions)
        s.of[BF_JOB_TILE] = b->a.lanes;
    else
        s = mask_strides(b);
    for (int64_t i = 0; i < b->a.chunks; i++) {
        struct bf_key_chunk chunk = bf_attention_chunk(&b->a, i);
        address[i] = positions ? BF_CONST_WORDS + b->a.keys - 1 - chunk.key : chunk.key;
        count[i] = chunk.count;
        if (positions)
            address[i] += b->jobs.first[BF_JOB_TILE] * b->a.lanes;
    }
    for (int64_t i = 0, n; i < b->a.chunks; i += n) {
        n = run_length(address, count, i, b->a.chunks, &step);
        struct bf_descriptor d = new_block(BF_UNIT_LOAD, i, i + n - 1);
        set_trips(&d, count[i], 1, 1);
        mem_loops(&d, (int64_t[]){1, 0, 0}, (int64_t[]){positions ? -1 : 1, 0, 0});
        d.target[0] = (uint8_t)target;
        d.mem.row = positions;
        d.mem.relative = true;
        d.mem.ram = (uint16_t)(positions ? b->a.table_words : b->a.row_words);
        d.mem.base = positions ? BASE_CONST : BASE_MASK;
        follow(b, &d, &s, address[i], step);
        move_block(b, b->load++, positions ? "load positions" : "load mask", &d);
    }
}

/* Word `word` of the head's columns, of all keys. */
static void load_values(struct build *b, int64_t phase, int64_t count, int64_t word, int64_t step) {
    int64_t v = b->a.lanes, width = b->map->places[b->a.v->buffer->index].width;
    struct strides s = key_strides(b, b->a.v);
    struct bf_descriptor d = new_block(BF_UNIT_LOAD, phase, phase + count - 1);
    set_trips(&d, v, (b->a.keys + v - 1) / v, 1);
    mem_loops(&d, (int64_t[]){1, v, 0}, (int64_t[]){1, width, 0});
    d.mem.weights = d.mem.row = true;
    d.mem.base = BASE_V;
    follow(b, &d, &s, word * v + head_word(b, b->a.v) - b->index[BF_JOB_HEAD] * b->a.columns,
           step * v);
    move_block(b, b->load++, "load v", &d);
}

/* ---- scores ---- */

/* An instruction that does nothing, where only the order matters. */
static void nothing(struct build *b, int word) {
    by_const(fma_acc(b, 0, constant(b, word), zero()), BF_B_ZERO);
}

/* The job before has read its last q when this runs; then q may be loaded. */
static void start_job(struct build *b) {
    struct bf_descriptor d = new_block(BF_UNIT_CAL, 0, 0);
    d.need = 1;
    d.target[0] = LOAD_Q;
    nothing(b, 0);
    load_constants(b, LOAD_START, 0, 0, BF_CONST_BIG, 0, 1, end_block(b, "start", &d));
    d.target[0] = BF_NO_BLOCK;
    nothing(b, 0);
    load_q(b, end_block(b, "q is there", &d));
}

static bool masked(const struct build *b) {
    return b->a.lane_mask || b->a.row_mask || b->a.table;
}

/* Waits for the words of masks. */
static void await_masks(struct build *b) {
    struct bf_descriptor d = new_block(BF_UNIT_CAL, 0, b->a.chunks - 1);
    d.need = (uint16_t)(1 + b->a.row_mask + b->a.table);
    nothing(b, BF_CONST_BIG);
    unsigned id = end_block(b, "masks are there", &d);
    load_constants(b, LOAD_BIG, 0, b->a.chunks - 1, BF_CONST_BIG, BF_CONST_BIG, 1, id);
    if (b->a.row_mask)
        load_word_mask(b, false, id);
    if (b->a.table)
        load_word_mask(b, true, id);
    if (b->a.lane_mask)
        load_lane_mask(b);
}

/* acc[u] = 2^15 visible - 2^15, where visible is a product of masks. */
static void mask_body(struct build *b, int64_t lane, int64_t count) {
    bool first_is_row = b->a.row_mask, both = b->a.table && (b->a.lane_mask || b->a.row_mask);
    for (int64_t u = 0; u < count; u++) {
        struct source big = constant(b, BF_CONST_BIG);
        struct source word = ram(OWN, (b->a.table ? b->a.table_words : b->a.row_words) + u);
        struct bf_cal *cal = fma_acc(b, u, both ? word : big, both ? zero() : big);
        cal->negate_addend = !both;
        if (b->a.lane_mask)
            by_lane(cal, b->a.unroll * b->a.cover * b->a.lanes + lane + u);
        else
            by_word(cal, both && first_is_row ? ram(OWN, b->a.row_words + u) : word);
    }
    if (!both)
        return;
    for (int64_t u = 0; u < count; u++) {
        struct bf_cal *cal = fma_acc(b, u, acc(u), constant(b, BF_CONST_BIG));
        cal->negate_addend = true;
        by_word(cal, constant(b, BF_CONST_BIG));
    }
}

static void begin_masked(struct build *b) {
    int64_t lane[BF_ATTENTION_CHUNKS], key[BF_ATTENTION_CHUNKS], count[BF_ATTENTION_CHUNKS], step;
    for (int64_t i = 0; i < b->a.chunks; i++) {
        struct bf_key_chunk chunk = bf_attention_chunk(&b->a, i);
        lane[i] = b->a.lane_mask ? chunk.key % b->a.lanes : 0;
        count[i] = chunk.count;
        key[i] = lane[i] * BF_MAX_BODY + count[i];
    }
    for (int64_t i = 0, n; i < b->a.chunks; i += n) {
        n = run_length(key, key, i, b->a.chunks, &step);
        struct bf_descriptor d = new_block(BF_UNIT_CAL, i, i + n - 1);
        d.cal.uses_weights = b->a.lane_mask;
        mask_body(b, lane[i], count[i]);
        end_block(b, "mask", &d);
    }
}

/* 0 or -2^15 becomes 0 or -2^30. */
static void amplify(struct build *b, int64_t first, int64_t last, int64_t count) {
    struct bf_descriptor d = new_block(BF_UNIT_CAL, first, last);
    for (int64_t u = 0; u < count; u++)
        by_word(fma_acc(b, u, acc(u), zero()), constant(b, BF_CONST_BIG));
    end_block(b, "hide", &d);
}

static void dot(struct build *b, int64_t first, int64_t last, int64_t count, int64_t from,
                int64_t columns) {
    struct bf_descriptor d = new_block(BF_UNIT_CAL, first, last);
    if (columns < 1)
        return;
    d.cal.uses_weights = true;
    set_trips(&d, columns, 1, 1);
    loop_class(&d, STEP, 1, 0, 0);
    loop_class(&d, WEIGHT, 1, 0, 0);
    bool begins = from == 0 && !masked(b);
    for (int64_t u = 0; u < count; u++)
        by_lane(fma_acc(b, u, ram(STEP, b->a.q_words + from), begins ? zero() : acc(u)),
                u * b->a.cover * b->a.lanes + b->k_offset + from);
    end_block(b, begins ? "first column" : "scores", &d);
}

/* The scores of `count` keys in phases first .. last. */
static void score_chunk(struct build *b, int64_t first, int64_t last, int64_t count) {
    if (first > last)
        return;
    if (masked(b)) {
        amplify(b, first, last, count);
        dot(b, first, last, count, 0, b->a.columns);
    } else {
        dot(b, first, last, count, 0, 1);
        dot(b, first, last, count, 1, b->a.columns - 1);
    }
    struct bf_descriptor d = new_block(BF_UNIT_CAL, first, last);
    for (int64_t u = 0; u < count; u++) {
        split(b, BF_CAL_STLO, u, ram(OWN, 2 * u));
        split(b, BF_CAL_STHI, u, ram(OWN, 2 * u + 1));
    }
    end_block(b, "keep scores", &d);
}

/* ---- softmax ---- */

static int64_t score_word(const struct build *b, int64_t chunk) {
    return b->a.context_base + chunk * b->a.context_size;
}

static void load_scores(struct build *b, int64_t word, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        join(b, BF_CAL_LDLO, i, ram(STEP, word + 2 * i));
    for (int64_t i = 0; i < count; i++)
        join(b, BF_CAL_LDHI, i, ram(STEP, word + 2 * i + 1));
}

/* A block over all keys of whole chunks, four a time, and one over the keys of the last, one a
 * time. */
static void over_keys(struct build *b, const char *name,
                      void (*body)(struct build *b, int64_t word, int64_t count)) {
    int64_t whole = b->a.keys / b->a.unroll, rest = b->a.keys % b->a.unroll, at = b->a.chunks;
    struct bf_descriptor d = new_block(BF_UNIT_CAL, at, at);
    if (whole) {
        body(b, score_word(b, 0), 4);
        set_trips(&d, b->a.unroll / 4, whole, 1);
        loop_class(&d, STEP, 8, b->a.context_size, 0);
        end_block(b, name, &d);
    }
    if (rest) {
        body(b, score_word(b, whole), 1);
        set_trips(&d, rest, 1, 1);
        loop_class(&d, STEP, 2, 0, 0);
        end_block(b, name, &d);
    }
}

static void max_body(struct build *b, int64_t word, int64_t count) {
    load_scores(b, word, count);
    for (int64_t i = 0; i < count; i++)
        max_acc(b, MAXIMUM + i, MAXIMUM + i, acc(i));
}

static void exp_body(struct build *b, int64_t word, int64_t count) {
    load_scores(b, word, count);
    for (int64_t i = 0; i < count; i++) {
        struct bf_cal *cal = fma_acc(b, i, acc(i), acc(SCALED));
        by_word(cal, constant(b, BF_CONST_HIGH));
        cal->negate_addend = true;
    }
    for (int64_t i = 0; i < count; i++)
        by_word(fma_acc(b, i, acc(i), acc(i)), constant(b, BF_CONST_EPSILON));
    for (int64_t i = 0; i < count; i++)
        special(b, BF_CAL_EXP2, i);
    for (int64_t i = 0; i < count; i++)
        fma_ram(b, ram(STEP, word + 2 * i), acc(i), zero());
    for (int64_t i = 0; i < count; i++)
        fma_acc(b, SUM + i % 2, ram(STEP, word + 2 * i), acc(SUM + i % 2));
}

/* The maximum of no keys: below every score, above every hidden one. */
static void begin_softmax(struct build *b) {
    struct bf_descriptor d = new_block(BF_UNIT_CAL, b->a.chunks, b->a.chunks);
    d.need = 1;
    for (int i = 0; i < 4; i++) {
        struct bf_cal *cal = fma_acc(b, MAXIMUM + i, constant(b, BF_CONST_BIG), zero());
        by_word(cal, constant(b, BF_CONST_BIG));
        cal->negate_product = true;
    }
    for (int i = 0; i < 4; i++)
        by_const(fma_acc(b, MAXIMUM + i, acc(MAXIMUM + i), zero()), BF_B_HALF);
    load_constants(b, LOAD_SOFTMAX, b->a.chunks, b->a.chunks, 0, 0, BF_CONST_WORDS,
                   end_block(b, "begin softmax", &d));
}

static void end_maximum(struct build *b) {
    struct bf_descriptor d = new_block(BF_UNIT_CAL, b->a.chunks, b->a.chunks);
    max_acc(b, MAXIMUM, MAXIMUM, acc(MAXIMUM + 1));
    max_acc(b, MAXIMUM + 2, MAXIMUM + 2, acc(MAXIMUM + 3));
    max_acc(b, MAXIMUM, MAXIMUM, acc(MAXIMUM + 2));
    by_word(fma_acc(b, SCALED, acc(MAXIMUM), zero()), constant(b, BF_CONST_HIGH));
    for (int i = 0; i < 2; i++)
        by_const(fma_acc(b, SUM + i, constant(b, 0), zero()), BF_B_ZERO);
    end_block(b, "end maximum", &d);
}

/* A visible key has p = 1, so a sum below 1 is that of no keys: dividing by 1 gives 0. */
static void end_sum(struct build *b) {
    struct bf_descriptor d = new_block(BF_UNIT_CAL, b->a.chunks, b->a.chunks);
    struct source high = ram(FIXED, b->a.inverse), low = ram(FIXED, b->a.inverse + 1);
    fma_acc(b, SUM, acc(SUM), acc(SUM + 1));
    max_acc(b, SUM, SUM, (struct source){BF_C_ONE << 8, BF_CLASS_SPECIAL});
    special(b, BF_CAL_RCP, SUM);
    fma_ram(b, high, acc(SUM), zero());
    fma_ram(b, low, high, acc(SUM))->negate_product = true;
    for (int64_t u = 0; u < b->a.unroll; u++)
        by_const(fma_acc(b, u, high, zero()), BF_B_ZERO);
    end_block(b, "invert sum", &d);
}

/* ---- values ---- */

/* Lanes of the weight set: row = key, from column `lane` of the word on. */
static void value_keys(struct build *b, struct bf_descriptor d, int64_t chunk, int64_t lane,
                       int64_t columns) {
    int64_t row = bf_attention_chunk(&b->a, chunk).key * b->a.lanes + lane;
    d.cal.uses_weights = true;
    for (int64_t u = 0; u < columns; u++)
        by_lane(fma_acc(b, u, ram(STEP, score_word(b, chunk)), acc(u)), row + u);
    end_block(b, "values", &d);
}

/* All keys: those of whole chunks in loops that follow both orders, of p and of v. */
static void value_blocks(struct build *b, int64_t first, int64_t last, int64_t lane,
                         int64_t columns) {
    int64_t v = b->a.lanes, u = b->a.unroll, parts = v / u, size = b->a.context_size;
    int64_t whole = b->a.keys / u, tiles = b->a.natural ? 0 : b->a.keys / v;
    struct bf_descriptor d = new_block(BF_UNIT_CAL, first, last);
    if (tiles) {
        set_trips(&d, u, parts, tiles);
        loop_class(&d, STEP, 2, tiles * size, size);
        loop_class(&d, WEIGHT, v, u * v, v * v);
        value_keys(b, d, 0, lane, columns);
    }
    if (whole > tiles * parts) {
        set_trips(&d, u, whole - tiles * parts, 1);
        loop_class(&d, STEP, 2, size, 0);
        loop_class(&d, WEIGHT, v, u * v, 0);
        value_keys(b, d, tiles * parts, lane, columns);
    }
    if (b->a.keys % u) {
        set_trips(&d, b->a.keys % u, 1, 1);
        loop_class(&d, STEP, 2, 0, 0);
        loop_class(&d, WEIGHT, v, 0, 0);
        value_keys(b, d, whole, lane, columns);
    }
}

/* y = acc x (hi + lo), of which the smaller product goes first; then acc = 0 for the next phase. */
static void finish_columns(struct build *b, int64_t first, int64_t last, int64_t columns) {
    struct bf_descriptor d = new_block(BF_UNIT_CAL, first, last);
    struct source high = ram(FIXED, b->a.inverse), low = ram(FIXED, b->a.inverse + 1);
    d.target[0] = (uint8_t)b->store;
    for (int64_t u = 0; u < columns; u++)
        by_word(fma_ram(b, ram(OWN, b->a.y_words + u), acc(u), zero()), low);
    for (int64_t u = 0; u < columns; u++) {
        struct source y = ram(OWN, b->a.y_words + u);
        by_word(fma_ram(b, y, acc(u), y), high);
    }
    for (int64_t u = 0; u < columns; u++)
        by_const(fma_acc(b, u, high, zero()), BF_B_ZERO);
    end_block(b, "divide by sum", &d);
}

static void store_y(struct build *b, int64_t first, int64_t last, int64_t column, int64_t step,
                    int64_t columns) {
    struct strides s = query_strides(b, b->a.y);
    struct bf_descriptor d = new_block(BF_UNIT_STORE, first, last);
    d.need = 1;
    set_trips(&d, columns, 1, 1);
    mem_loops(&d, (int64_t[]){1, 0, 0}, (int64_t[]){1, 0, 0});
    d.mem.relative = true;
    d.mem.ram = (uint16_t)b->a.y_words;
    d.mem.base = BASE_Y;
    follow(b, &d, &s, column, step);
    move_block(b, b->store++, "store y", &d);
}

static void column_blocks(struct build *b) {
    int64_t word[BF_ATTENTION_COLUMNS], key[BF_ATTENTION_COLUMNS], step;
    for (int64_t i = 0; i < b->column_count; i++) {
        word[i] = b->columns[i].word;
        key[i] = b->columns[i].lane * BF_MAX_BODY + b->columns[i].count;
    }
    for (int64_t i = 0, n; i < b->column_count; i += n) {
        n = run_length(word, key, i, b->column_count, &step);
        const struct bf_column_chunk *c = &b->columns[i];
        int64_t first = b->a.chunks + i, last = first + n - 1;
        load_values(b, first, n, c->word, step);
        value_blocks(b, first, last, c->lane, c->count);
        finish_columns(b, first, last, c->count);
        store_y(b, first, last, c->word * b->a.lanes + c->lane - b->v_offset, step * b->a.lanes,
                c->count);
    }
}

/* ---- a PE ---- */

static bool place_pe(struct build *b, unsigned pe) {
    int64_t rest = pe;
    for (int d = 0; d < BF_JOB_DIMS; d++) {
        b->index[d] = rest % b->jobs.across[d];
        rest /= b->jobs.across[d];
    }
    int64_t head = b->jobs.first[BF_JOB_HEAD] + b->index[BF_JOB_HEAD];
    b->pe = pe;
    b->k_offset = (b->a.k->col + head * b->a.columns) % b->a.lanes;
    b->v_offset = (b->a.v->col + head * b->a.columns) % b->a.lanes;
    b->column_count = bf_attention_columns(&b->a, b->v_offset, b->columns);
    b->cal = BF_FIRST_CAL;
    b->load = FREE_LOAD;
    b->store = BF_FIRST_STORE;
    return rest == 0;
}

static bool emit_pe(struct build *b) {
    int64_t whole = b->a.keys / b->a.unroll;
    start_job(b);
    if (masked(b)) {
        await_masks(b);
        begin_masked(b);
    }
    load_keys(b);
    score_chunk(b, 0, whole - 1, b->a.unroll);
    score_chunk(b, whole, b->a.chunks - 1, b->a.keys % b->a.unroll);
    begin_softmax(b);
    over_keys(b, "maximum", max_body);
    end_maximum(b);
    over_keys(b, "exponentials", exp_body);
    end_sum(b);
    column_blocks(b);
    if (b->cal <= BF_FIRST_LOAD && b->load <= BF_FIRST_FLOW && b->store <= BF_BLOCKS)
        return true;
    return bf_diag_error(
        b->diags, b->plan->kernel->loc,
        "cannot map %s on '%s': it needs %u CAL, %u LOAD and %u STORE blocks, a PE "
        "has %d, %d and %d",
        b->plan->kernel->what, b->map->machine.name, b->cal, b->load - BF_FIRST_LOAD,
        b->store - BF_FIRST_STORE, BF_FIRST_LOAD, BF_FIRST_FLOW - BF_FIRST_LOAD,
        BF_BLOCKS - BF_FIRST_STORE);
}

static void set_bases(struct build *b, struct bf_launch *launch) {
    const struct bf_map *map = b->map;
    const struct bf_attention *a = &b->a;
    int64_t head = b->jobs.first[BF_JOB_HEAD] * a->columns;
    struct strides q = query_strides(b, a->q), y = query_strides(b, a->y);
    struct strides k = sample_strides(b, a->k), v = sample_strides(b, a->v);
    launch->base[BASE_Q] = (uint32_t)(bf_map_column_word(map, a->q, 0, 0, 0) + first_offset(b, &q));
    launch->base[BASE_K] = (uint32_t)(bf_map_row_word(map, a->k, 0, 0, head) + first_offset(b, &k));
    launch->base[BASE_V] = (uint32_t)(bf_map_row_word(map, a->v, 0, 0, head) + first_offset(b, &v));
    if (a->mask) {
        struct strides mask = mask_strides(b);
        int64_t sample = a->mask->buffer->samples > 1
                             ? b->jobs.first[BF_JOB_SAMPLE] + a->lanes * b->jobs.first[BF_JOB_BATCH]
                             : 0;
        launch->base[BASE_MASK] =
            (uint32_t)(a->lane_mask
                           ? bf_map_row_word(map, a->mask, sample, 0, 0)
                           : bf_map_column_word(map, a->mask, 0, 0, 0) + first_offset(b, &mask));
    }
    launch->base[BASE_Y] = (uint32_t)(bf_map_column_word(map, a->y, 0, 0, 0) + first_offset(b, &y));
    launch->base[BASE_CONST] = (uint32_t)b->plan->weight_spm;
}

bool bf_attention_schedule(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct build b = {.map = map,
                      .plan = plan,
                      .a = bf_attention_of(map, plan),
                      .jobs = bf_jobs_load(plan),
                      .diags = diags};
    bf_code_begin(&b.code, map, plan);
    for (unsigned pe = 0; pe < bf_machine_pes(&map->machine); pe++) {
        if (place_pe(&b, pe) && !emit_pe(&b)) {
            bf_code_abandon(&b.code);
            return false;
        }
    }
    struct bf_launch launch = {
        .window = (uint8_t)b.a.window,
        .strict = true,
        .context_base = (uint16_t)b.a.context_base,
        .context_size = (uint16_t)b.a.context_size,
        .period = (uint16_t)b.a.period,
        .group_level = 0,
        .trips = {(uint32_t)b.a.period,
                  (uint32_t)(b.jobs.level1 < 0 ? 1 : b.jobs.rounds[b.jobs.level1]),
                  (uint32_t)(b.jobs.level2 < 0 ? 1 : b.jobs.rounds[b.jobs.level2])}};
    set_bases(&b, &launch);
    return bf_code_finish(&b.code, &launch, diags);
}
