/* attention_verify.c - the value check of attention: every PE's emitted words are run on symbols.
 *
 * A scratchpad word stands for elements of q, k, v, a mask or y; a RAM word for what the CAL words
 * make of them; an accumulator for a partial result with the set of columns or keys it has summed.
 * In parts the state is joined to maximum, sum and outputs, and what goes back to it is checked
 * likewise.
 *
 * A wrong operand, a term left out or counted twice, a word stored at a wrong place: each is
 * reported with PE, phase and block. The first and last jobs of every PE are run; in between
 * addresses advance by constants.
 */
#include "passes/array/attention_verify.h"

#include <stdlib.h>

static bool wrong(struct bf_attention_check *v, const char *what) {
    return bf_diag_error(v->diags, v->plan->kernel->loc,
                         "mapping of %s: PE %u, phase %lld, block %u \"%s\": %s",
                         v->plan->kernel->what, v->pe, (long long)v->phase, v->id,
                         v->block[v->id] ? v->block[v->id]->name : "", what);
}

/* ---- LOAD, STORE ---- */

static int64_t iteration_register(const struct bf_attention_check *v,
                                  const struct bf_descriptor *d) {
    int64_t period = v->launch->trips[0], rounds = v->launch->trips[1];
    int64_t jobs = v->round1 + v->round2 * rounds;
    return (jobs * (period - 1) + v->phase) * d->mem.iteration_delta[0] +
           (v->round2 * (rounds - 1) + v->round1) * d->mem.iteration_delta[1] +
           v->round2 * d->mem.iteration_delta[2];
}

struct element {
    int64_t sample, row, column;
};

/* Which element of the operand lane 0 of a scratchpad word is; false if it is none of its buffer.
 */
static bool element_at(const struct bf_attention_check *v, const struct bf_operand *operand,
                       int64_t spm, bool row, struct element *e) {
    const struct bf_place_of_buffer *place = &v->map->places[operand->buffer->index];
    int64_t lanes = v->a.lanes, at = spm - place->spm;
    if (at < 0 || at >= place->width * place->height / lanes)
        return false;
    int64_t r = at / place->width * lanes + (row ? at % lanes : 0);
    int64_t c = row ? at % place->width / lanes * lanes : at % place->width;
    *e = (struct element){r / place->pitch, r % place->pitch - operand->row, c - operand->col};
    return true;
}

static bool of_sample(const struct bf_attention_check *v, const struct bf_operand *operand,
                      const struct element *e) {
    return e->sample == (operand->buffer->samples > 1 ? v->sample : 0);
}

/* q, y, mask of queries: the column, if it is of the job's tile. */
static bool query_column(const struct bf_attention_check *v, const struct bf_operand *operand,
                         int64_t spm, int64_t *column) {
    struct element e;
    if (!element_at(v, operand, spm, false, &e) || !of_sample(v, operand, &e) ||
        e.row != v->tile * v->a.lanes)
        return false;
    *column = e.column;
    return true;
}

/* First column of the job's head. */
static int64_t query_head(const struct bf_attention_check *v, const struct bf_operand *operand) {
    return (v->head * (v->a.heads / v->a.kv_heads) + v->group) * (operand->cols / v->a.heads);
}

/* What a word of the constants is to this job. */
static struct bf_symbol constant_at(const struct bf_attention_check *v, int64_t word) {
    if (word < BF_CONST_WORDS)
        return (struct bf_symbol){.tag = BF_SYM_CONSTANT, .index = word};
    int64_t key = v->tile * v->a.lanes - (word - BF_CONST_WORDS - v->a.keys + 1);
    return (struct bf_symbol){.tag = BF_SYM_POSITIONS, .index = key};
}

static struct bf_symbol loaded(const struct bf_attention_check *v, const struct bf_descriptor *d,
                               int64_t spm) {
    struct bf_symbol none = {.tag = BF_SYM_NOTHING};
    struct element e;
    int64_t column;
    if (d->mem.weights) {
        for (int i = 0; i < 2; i++) {
            const struct bf_operand *operand = i ? v->a.v : v->a.k;
            bool use = d->mem.row && i == (v->phase >= v->a.chunks);
            if (use && element_at(v, operand, spm, true, &e) && of_sample(v, operand, &e))
                return (struct bf_symbol){.tag = i ? BF_SYM_V : BF_SYM_K,
                                          .index = e.row - v->a.first_key,
                                          .column = e.column - v->head * v->a.columns};
        }
        if (v->a.lane_mask && !d->mem.row && element_at(v, v->a.mask, spm, false, &e))
            return (struct bf_symbol){
                .tag = BF_SYM_LANE_MASK, .index = e.column - v->a.first_key, .column = e.sample};
        return none;
    }
    if (d->mem.row)
        return constant_at(v, spm - v->plan->weight_spm);
    if (v->a.row_mask && query_column(v, v->a.mask, spm, &column))
        return (struct bf_symbol){.tag = BF_SYM_ROW_MASK, .index = column - v->a.first_key};
    if (query_column(v, v->a.q, spm, &column))
        return (struct bf_symbol){.tag = BF_SYM_Q, .index = column - query_head(v, v->a.q)};
    if (!v->a.begins && query_column(v, v->a.state, spm, &column))
        return (struct bf_symbol){.tag = BF_SYM_STATE, .index = column - query_head(v, v->a.state)};
    return none;
}

static int64_t context(const struct bf_attention_check *v) {
    return v->launch->context_base + v->phase % v->launch->window * v->launch->context_size;
}

static bool store(struct bf_attention_check *v, int64_t ram, int64_t spm) {
    int64_t column;
    const struct bf_symbol *x = &v->ram[ram];
    const struct bf_operand *to = v->a.ends ? v->a.y : v->a.state;
    if (!query_column(v, to, spm, &column))
        return wrong(v, "it stores to a place that is not of its queries");
    column -= query_head(v, to);
    if (x->tag != (v->a.ends ? BF_SYM_Y : BF_SYM_KEEP) || x->index != column ||
        x->shifted != !v->a.ends)
        return wrong(v, "it stores a word that is not this column");
    if (v->stored[column / 64] >> column % 64 & 1)
        return wrong(v, "it stores a column twice");
    v->stored[column / 64] |= UINT64_C(1) << column % 64;
    return true;
}

static bool move(struct bf_attention_check *v, const struct bf_descriptor *d) {
    int64_t ram = d->mem.ram + (d->mem.relative ? context(v) : 0);
    int64_t spm = v->launch->base[d->mem.base] + d->mem.spm + iteration_register(v, d);
    int64_t size = d->mem.weights ? v->map->machine.weight_half : v->map->machine.data_ram;
    for (int64_t i2 = 0; i2 < d->trips[2]; i2++) {
        for (int64_t i1 = 0; i1 < d->trips[1]; i1++) {
            for (int64_t i0 = 0; i0 < d->trips[0]; i0++) {
                int64_t word = ((ram % size) + size) % size, at = spm & ((1 << 18) - 1);
                if (d->unit == BF_UNIT_STORE && !store(v, word, at))
                    return false;
                if (d->unit == BF_UNIT_LOAD)
                    (d->mem.weights ? v->weights : v->ram)[word] = loaded(v, d, at);
                int l = i0 + 1 < d->trips[0] ? 0 : i1 + 1 < d->trips[1] ? 1 : 2;
                ram += d->mem.ram_delta[l];
                spm += d->mem.spm_delta[l];
            }
        }
    }
    return true;
}

/* ---- CAL ---- */

/* One lane of a weight word: a column of a key, a sample of a mask. */
static struct bf_symbol weight_lane(const struct bf_attention_check *v, int64_t lane) {
    struct bf_symbol x = v->weights[lane / v->a.lanes % v->map->machine.weight_half];
    x.column += lane % v->a.lanes;
    if (x.tag == BF_SYM_LANE_MASK && x.column != (v->a.mask->buffer->samples > 1 ? v->sample : 0))
        x.masks = 8;
    return x;
}

/* RAM word of an operand in this run of the body. */
static int64_t word_of(const struct bf_attention_check *v, const struct bf_descriptor *d,
                       unsigned class, int64_t address, const int64_t offset[BF_CLASSES]) {
    int64_t size = v->map->machine.data_ram;
    int64_t word = address + offset[class] + (d->cal.relative >> class & 1 ? context(v) : 0);
    return (word % size + size) % size;
}

static struct bf_symbols operands_of(const struct bf_attention_check *v,
                                     const struct bf_descriptor *d, const struct bf_cal *cal,
                                     const int64_t offset[BF_CLASSES]) {
    static const struct bf_symbol nothing = {.tag = BF_SYM_ZERO},
                                  one = {.tag = BF_SYM_CONSTANT, .index = -1};
    struct bf_symbols o = {nothing, nothing, nothing};
    unsigned reads = bf_cal_operands((enum bf_cal_op)cal->op);
    if (reads & 1)
        o.a = cal->a_class == BF_CLASS_SPECIAL
                  ? v->acc[cal->a & 15]
                  : v->ram[word_of(v, d, cal->a_class, cal->a, offset)];
    if (reads & 2 && cal->b_kind == BF_B_LANE)
        o.b = weight_lane(v, cal->b + offset[cal->b_class]);
    if (reads & 2 && cal->b_kind == BF_B_DATA)
        o.b = v->ram[word_of(v, d, cal->b_class, cal->b, offset)];
    if (reads & 4 && cal->c_class != BF_CLASS_SPECIAL)
        o.c = v->ram[word_of(v, d, cal->c_class, cal->c, offset)];
    else if (reads & 4 && cal->c >> 8 == BF_C_ACC)
        o.c = v->acc[cal->c & 15];
    else if (reads & 4 && cal->c >> 8 == BF_C_ONE)
        o.c = one;
    return o;
}

static bool run_body(struct bf_attention_check *v, const struct bf_descriptor *d,
                     const int64_t offset[BF_CLASSES]) {
    for (int w = 0; w < d->cal.length; w++) {
        struct bf_cal cal;
        struct bf_error error;
        struct bf_symbol result;
        if (!bf_cal_decode(v->code->segments[0].words[d->cal.start + w], &cal, &error))
            return wrong(v, error.text);
        struct bf_symbols o = operands_of(v, d, &cal, offset);
        const char *reason = bf_attention_operate(v, &cal, &o, &result);
        if (reason)
            return wrong(v, reason);
        if (cal.dst & BF_DST_ACC)
            v->acc[cal.acc] = result;
        if (cal.dst & BF_DST_RAM)
            v->ram[word_of(v, d, cal.d_class, cal.d, offset)] = result;
    }
    return true;
}

static bool run_cal(struct bf_attention_check *v, const struct bf_descriptor *d) {
    int64_t offset[BF_CLASSES] = {0};
    for (int64_t i2 = 0; i2 < d->trips[2]; i2++) {
        for (int64_t i1 = 0; i1 < d->trips[1]; i1++) {
            for (int64_t i0 = 0; i0 < d->trips[0]; i0++) {
                if (!run_body(v, d, offset))
                    return false;
                int l = i0 + 1 < d->trips[0] ? 0 : i1 + 1 < d->trips[1] ? 1 : 2;
                for (int c = 0; c < BF_CLASSES; c++)
                    offset[c] += d->cal.delta[c][l];
            }
        }
    }
    return true;
}

/* ---- a job ---- */

/* Blocks of a phase in an order in which they can run: LOAD, CAL by index, STORE. q is loaded
 * between CAL blocks, but its words are not touched by those before. */
static bool run_phase(struct bf_attention_check *v) {
    static const unsigned order[] = {BF_FIRST_LOAD, BF_FIRST_FLOW,  0,
                                     BF_FIRST_LOAD, BF_FIRST_STORE, BF_BLOCKS};
    memset(v->weights, 0, v->map->machine.weight_half * sizeof *v->weights);
    for (int o = 0; o < 6; o += 2) {
        for (v->id = order[o]; v->id < order[o + 1]; v->id++) {
            const struct bf_block *block = v->block[v->id];
            if (!block || v->phase < block->d.first || v->phase > block->d.last)
                continue;
            if (!(block->d.unit == BF_UNIT_CAL ? run_cal(v, &block->d) : move(v, &block->d)))
                return false;
        }
    }
    return true;
}

static int64_t job_index(const struct bf_attention_check *v, int dim, int64_t place) {
    int64_t round = dim == v->jobs.level1 ? v->round1 : dim == v->jobs.level2 ? v->round2 : 0;
    return v->jobs.first[dim] + place + round * v->jobs.across[dim];
}

/* Whether every column that the plan is for was stored (in the state: both words of each, and those
 * of maximum and sum). */
static bool all_stored(struct bf_attention_check *v) {
    struct bf_column_chunk chunks[BF_ATTENTION_COLUMNS];
    int64_t offset = (v->a.v->col + v->head * v->a.columns) % v->a.lanes;
    int64_t n = bf_attention_columns(&v->a, offset, chunks);
    v->id = BF_FIRST_STORE;
    for (int64_t c = 0; c < 4 && !v->a.ends; c++)
        if (!(v->stored[0] >> c & 1))
            return wrong(v, "maximum or sum is not stored");
    for (int64_t i = 0; i < n; i++) {
        int64_t first = chunks[i].word * v->a.lanes + chunks[i].lane - offset;
        int64_t begin = v->a.ends ? first : 4 + 2 * first;
        int64_t end = begin + chunks[i].count * (v->a.ends ? 1 : 2);
        for (int64_t c = begin; c < end; c++)
            if (!(v->stored[c / 64] >> c % 64 & 1))
                return wrong(v, "a column is not stored");
    }
    return true;
}

static bool run_job(struct bf_attention_check *v) {
    int64_t rest = v->pe, index[BF_JOB_DIMS];
    for (int d = 0; d < BF_JOB_DIMS; d++) {
        index[d] = job_index(v, d, rest % v->jobs.across[d]);
        rest /= v->jobs.across[d];
    }
    v->head = index[BF_JOB_HEAD];
    v->group = index[BF_JOB_GROUP];
    v->tile = index[BF_JOB_TILE];
    v->sample = index[BF_JOB_SAMPLE] + v->a.lanes * index[BF_JOB_BATCH];
    memset(v->ram, 0, v->map->machine.data_ram * sizeof *v->ram);
    memset(v->acc, 0, sizeof v->acc);
    memset(v->stored, 0, sizeof v->stored);
    for (v->phase = 0; v->phase < v->launch->period; v->phase++)
        if (!run_phase(v))
            return false;
    return all_stored(v);
}

static bool run_pe(struct bf_attention_check *v) {
    int64_t rounds1 = v->launch->trips[1], rounds2 = v->launch->trips[2];
    memset(v->block, 0, sizeof v->block);
    for (size_t i = 0; i < v->code->block_count; i++)
        if (v->code->blocks[i].pes >> v->pe & 1)
            v->block[v->code->blocks[i].id] = &v->code->blocks[i];
    int64_t corners[3][2] = {{0, 0}, {rounds1 - 1, 0}, {rounds1 - 1, rounds2 - 1}};
    for (int i = 0; i < 3; i++) {
        v->round1 = corners[i][0];
        v->round2 = corners[i][1];
        if ((i == 0 || v->round1 || v->round2) && !run_job(v))
            return false;
    }
    return true;
}

bool bf_attention_verify(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    struct bf_attention_check v = {.map = map,
                                   .plan = plan,
                                   .a = bf_attention_of(map, plan),
                                   .jobs = bf_jobs_load(plan),
                                   .code = &map->program->kernels[plan->code],
                                   .launch = &map->program->launches[plan->launch],
                                   .diags = diags};
    int64_t pes = 1;
    bool ok = true;
    for (int d = 0; d < BF_JOB_DIMS; d++)
        pes *= v.jobs.across[d];
    v.ram = bf_alloc(map->machine.data_ram * sizeof *v.ram);
    v.weights = bf_alloc(map->machine.weight_half * sizeof *v.weights);
    if (v.launch->period % v.launch->window)
        ok = wrong(&v, "the window does not divide the period");
    for (v.pe = 0; v.pe < pes && ok; v.pe++)
        ok = run_pe(&v);
    free(v.ram);
    free(v.weights);
    return ok;
}
