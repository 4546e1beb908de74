/* stages_verify.c - the value check of butterflies and FFTs, exact and in isl, on what was emitted.
 *
 * A layout says where the elements of an array lie: Loc = { X[digits] -> [pe, word] }. From the
 * emitted code come
 *     C = { [pe, word written] -> [pe, word read] }   a block's bodies, through accumulators
 *     F = { [pe, word] -> [pe, word] }                a FLOW block's descriptor
 * and from the poly statement E = W^-1 . R, result element -> elements it depends on. Checked:
 *     stage      C = Loc_after^-1 . E . Loc_before   both ways: nothing missing, nothing wrong
 *     exchange   F = Loc_before^-1 . Loc_after
 * and in stages_values.c, step by step:
 *     products     each result is the right sum of weights x words
 *     LOAD, STORE  every word meets the scratchpad word of its element
 * A FLOW counts k = counter XOR self over all of the field, so that { self -> k } is all pairs.
 * Sample, lane and stack digits are 0 throughout: every access is the same for each of them.
 */
#include <stdlib.h>

#include "ir/stages.h"
#include "passes/array/stages.h"
#include "passes/array/tiles.h"

struct verify {
    struct bf_map *map;
    struct bf_plan *plan;
    struct bf_diags *diags;
    const struct bf_kernel *code;
    isl_ctx *isl;
    int64_t g, words;
    int64_t pes; /* how many values of the field have elements */
};

/* ---- layouts as relations ---- */

/* Reads printf'd isl text. */
static __isl_give isl_map *read_map(struct verify *v, struct bf_text *text) {
    isl_map *map = isl_map_read_from_str(v->isl, text->data);
    bf_text_free(text);
    return map;
}

/* { [digits] -> [pe, word] }, with the digits that are not of the element 0. The PE digits and
 * those that a pass leaves alone make up (set << g) + PE. */
static __isl_give isl_map *location(struct verify *v, const struct bf_layout *layout) {
    const struct bf_poly_kernel *kernel = v->plan->kernel;
    struct bf_text text = {0}, pe = {0}, word = {0}, box = {0};
    int64_t set = bf_plan_int(v->plan, "set");
    bf_text_add(&text, "{ [");
    for (size_t d = 0; d < kernel->digits.count; d++)
        bf_text_printf(&text, "%sx%zu", d ? "," : "", d);
    for (size_t i = 0; i < layout->digits.count; i++) {
        const struct bf_layout_digit *at = &layout->digits.data[i];
        if (at->where == BF_AT_LANE || (at->where == BF_AT_TILE && at->position == 0)) {
            bf_text_printf(&box, " and x%d = 0", at->digit);
            continue;
        }
        bf_text_printf(&box, " and 0 <= x%d < %lld", at->digit,
                       (long long)kernel->digits.data[at->digit].radix);
        int64_t weight = at->where == BF_AT_PE ? INT64_C(1) << at->position : at->position;
        bf_text_printf(at->where == BF_AT_LOCAL ? &word : &pe, " + %lldx%d", (long long)weight,
                       at->digit);
    }
    const char *pe_sum = pe.data ? pe.data : "";
    bf_text_printf(&text, "] -> [p, 0%s] : p = 0%s - %lld and 0 <= p < %lld%s }",
                   word.data ? word.data : "", pe_sum, (long long)(set << v->g), 1LL << v->g,
                   box.data);
    bf_text_free(&pe);
    bf_text_free(&word);
    bf_text_free(&box);
    return read_map(v, &text);
}

/* ---- dataflow of a body ---- */

/* Words of the RAM that a value depends on, as operand addresses. */
struct reads {
    int64_t word[BF_MAX_BODY * 2];
    unsigned class[BF_MAX_BODY * 2];
    int count;
};

static void add_read(struct reads *reads, int64_t word, unsigned class) {
    for (int i = 0; i < reads->count; i++)
        if (reads->word[i] == word && reads->class[i] == class)
            return;
    if (reads->count < BF_MAX_BODY * 2) {
        reads->word[reads->count] = word;
        reads->class[reads->count++] = class;
    }
}

static void add_reads(struct reads *reads, const struct reads *more) {
    for (int i = 0; i < more->count; i++)
        add_read(reads, more->word[i], more->class[i]);
}

static void operand_reads(const struct bf_cal *cal, const struct reads accs[16],
                          struct reads *result) {
    result->count = 0;
    if (cal->a_class == BF_CLASS_SPECIAL)
        add_reads(result, &accs[cal->a & 15]);
    else
        add_read(result, cal->a, cal->a_class);
    if (cal->c_class != BF_CLASS_SPECIAL)
        add_read(result, cal->c, cal->c_class);
    else if (cal->c >> 8 == BF_C_ACC)
        add_reads(result, &accs[cal->c & 15]);
}

/* " + 4c0 + 32c1": what a class adds in iteration (c0, c1, c2) of the block. */
static void add_travel(struct bf_text *text, const struct bf_descriptor *d, unsigned class) {
    int64_t travel = 0;
    for (int l = 0; l < BF_LEVELS; l++) {
        int64_t stride = d->cal.delta[class][l] + travel;
        bf_text_printf(text, " + %lldc%d", (long long)(d->trips[l] > 1 ? stride : 0), l);
        travel += (d->trips[l] - 1) * (d->trips[l] > 1 ? stride : 0);
    }
}

/* { [pe, written] -> [pe, read] : some iteration of the block }, words of the regions and planes.
 */
static __isl_give isl_map *one_flow(struct verify *v, const struct bf_descriptor *d, int64_t to,
                                    unsigned to_class, int64_t from, unsigned from_class) {
    struct bf_text text = {0};
    bf_text_printf(&text, "{ [p, w] -> [p, r] : exists c0, c1, c2 : 0 <= p < %lld and w = %lld",
                   (long long)v->pes, (long long)to);
    add_travel(&text, d, to_class);
    bf_text_printf(&text, " and r = %lld", (long long)from);
    add_travel(&text, d, from_class);
    for (int l = 0; l < BF_LEVELS; l++)
        bf_text_printf(&text, " and 0 <= c%d < %d", l, d->trips[l]);
    bf_text_add(&text, " }");
    return read_map(v, &text);
}

static const struct bf_block *find_block(const struct verify *v, int id) {
    for (size_t i = 0; i < v->code->block_count; i++)
        if (v->code->blocks[i].id == id)
            return &v->code->blocks[i];
    return NULL;
}

/* Which word a body's result is computed from: both counted from the start of a plane. */
struct edge {
    int64_t to, from;
    unsigned to_class, from_class;
};
struct edges {
    struct edge *data;
    size_t count, capacity;
};

/* The planes of a complex stage give the same edges. */
static void add_edge(struct edges *edges, struct edge edge) {
    for (size_t i = 0; i < edges->count; i++) {
        const struct edge *e = &edges->data[i];
        if (e->to == edge.to && e->from == edge.from && e->to_class == edge.to_class &&
            e->from_class == edge.from_class)
            return;
    }
    *bf_push(edges) = edge;
}

static struct edges body_edges(const struct verify *v, const struct bf_block *block) {
    struct reads accs[16] = {0}, reads;
    struct edges edges = {0};
    const uint64_t *words = v->code->segments[0].words + block->d.cal.start;
    for (unsigned i = 0; i < block->d.cal.length; i++) {
        struct bf_cal cal;
        struct bf_error error = {0};
        if (!bf_cal_decode(words[i], &cal, &error))
            continue;
        operand_reads(&cal, accs, &reads);
        if (cal.dst & BF_DST_ACC)
            accs[cal.acc] = reads;
        for (int r = 0; (cal.dst & BF_DST_RAM) && r < reads.count; r++)
            add_edge(&edges, (struct edge){cal.d % v->words, reads.word[r] % v->words, cal.d_class,
                                           reads.class[r]});
    }
    return edges;
}

/* C of a block. Words are counted from the start of their region's plane: regions begin at a
 * multiple of the words of a plane. */
static __isl_give isl_map *body_flow(struct verify *v, const struct bf_block *block) {
    struct edges edges = body_edges(v, block);
    isl_map *all = NULL;
    for (size_t i = 0; i < edges.count; i++) {
        const struct edge *e = &edges.data[i];
        isl_map *flow = one_flow(v, &block->d, e->to, e->to_class, e->from, e->from_class);
        all = all ? isl_map_union(all, flow) : flow;
    }
    free(edges.data);
    return all;
}

/* ---- what the poly says ---- */

static __isl_give isl_map *untagged(__isl_take isl_map *map) {
    map = isl_map_reset_tuple_id(map, isl_dim_in);
    return isl_map_reset_tuple_id(map, isl_dim_out);
}

/* E: result element -> element it depends on, planes taken together. */
static __isl_give isl_map *dependence(const struct bf_stmt *stmt) {
    isl_map *writes = NULL, *reads = NULL;
    for (size_t a = 0; a < stmt->accesses.count; a++) {
        const struct bf_access *access = &stmt->accesses.data[a];
        if (access->array[0] != 'X' && access->array[0] != 'Y')
            continue;
        isl_map **side = access->role == BF_WRITE ? &writes : &reads;
        isl_map *map = isl_map_reset_tuple_id(isl_map_copy(access->map), isl_dim_out);
        *side = *side ? isl_map_union(*side, map) : map;
    }
    return isl_map_apply_range(isl_map_reverse(writes), reads);
}

/* A stack digit is free in what the first stage reads; all digits of a layout's relation are 0. */
static __isl_give isl_map *pad_inputs(const struct bf_poly_kernel *kernel, __isl_take isl_map *e) {
    isl_size missing = (isl_size)kernel->digits.count - isl_map_dim(e, isl_dim_out);
    for (size_t d = 0; d < kernel->digits.count && missing > 0; d++) {
        if (kernel->digits.data[d].name[0] != 'j')
            continue;
        e = isl_map_insert_dims(e, isl_dim_out, (unsigned)d, 1);
        e = isl_map_fix_si(e, isl_dim_out, (unsigned)d, 0);
        missing--;
    }
    return e;
}

/* ---- the three checks ---- */

/* Coordinates of a point of { [pe, word] -> [pe, word] }. */
static bool sample(__isl_take isl_map *map, long at[4]) {
    isl_point *point = isl_set_sample_point(isl_map_wrap(map));
    bool ok = true;
    for (int i = 0; i < 4 && ok; i++) {
        isl_val *value = isl_point_get_coordinate_val(point, isl_dim_set, i);
        ok = value && isl_val_is_int(value) == isl_bool_true;
        at[i] = ok ? isl_val_get_num_si(value) : 0;
        isl_val_free(value);
    }
    isl_point_free(point);
    return ok;
}

/* What two relations between words are about. */
struct question {
    const char *stage; /* NULL: an exchange */
    const struct bf_layout *out, *in;
};

/* Names a pair (out, in) of words by the elements that lie there. */
static bool report(struct verify *v, const struct question *q, bool missing,
                   __isl_take isl_map *wrong) {
    long at[4] = {0};
    struct bf_text text = {0};
    sample(wrong, at);
    if (q->stage)
        bf_text_printf(&text, missing ? "stage %s does not compute " : "stage %s computes ",
                       q->stage);
    else
        bf_text_add(&text, missing ? "no exchange brings " : "the exchange brings ");
    bf_stages_add_element(v->plan, q->out, (unsigned)at[0], at[1] % v->words, &text);
    if (q->stage) {
        bf_text_add(&text, missing ? ", from what it needs, " : ", from what it must not, ");
        bf_stages_add_element(v->plan, q->in, (unsigned)at[2], at[3] % v->words, &text);
    } else if (missing) {
        bf_text_printf(&text, ", to word %ld of PE %ld", at[3] % v->words, at[2]);
    } else {
        bf_text_add(&text, ", to the place of ");
        bf_stages_add_element(v->plan, q->in, (unsigned)at[2], at[3] % v->words, &text);
    }
    bf_diag_error(v->diags, v->plan->kernel->loc, "value check of %s (%s): %s", v->plan->name,
                  v->plan->kernel->what, text.data);
    bf_text_free(&text);
    return false;
}

/* Takes both relations; true if they are equal. */
static bool same(struct verify *v, const struct question *question, __isl_take isl_map *emitted,
                 __isl_take isl_map *wanted) {
    bool ok = true;
    emitted = isl_map_coalesce(emitted);
    wanted = isl_map_coalesce(wanted);
    isl_map *less = isl_map_subtract(isl_map_copy(wanted), isl_map_copy(emitted));
    isl_map *more = isl_map_subtract(emitted, wanted);
    if (isl_map_is_empty(less) != isl_bool_true)
        ok = report(v, question, true, isl_map_copy(less));
    else if (isl_map_is_empty(more) != isl_bool_true)
        ok = report(v, question, false, isl_map_copy(more));
    isl_map_free(less);
    isl_map_free(more);
    return ok;
}

static bool verify_stage(struct verify *v, const struct bf_block_note *note) {
    const struct bf_stmt *stmt = &v->plan->kernel->stmts.data[note->stmt];
    const struct bf_block *block = find_block(v, note->id);
    const struct bf_layout *before = &v->plan->layouts.data[note->layout];
    const struct bf_layout *after = bf_stage_result_layout(v->plan, note->stmt);
    if (before != bf_stage_layout(v->plan, note->stmt))
        return bf_diag_error(v->diags, v->plan->kernel->loc,
                             "value check of %s (%s): stage %s runs in another layout",
                             v->plan->name, v->plan->kernel->what, stmt->name);
    isl_map *wanted = untagged(pad_inputs(v->plan->kernel, dependence(stmt)));
    wanted = isl_map_apply_domain(wanted, location(v, after));
    wanted = isl_map_apply_range(wanted, location(v, before));
    isl_map *emitted = block ? body_flow(v, block) : NULL;
    if (!emitted)
        emitted = isl_map_empty(isl_map_get_space(wanted));
    struct question question = {stmt->name, after, before};
    return same(v, &question, emitted, wanted) &&
           bf_stages_check_products(v->map, v->plan, note, block, v->diags);
}

/* { [pe, word] -> [pe, word] } of a FLOW descriptor, planes apart from each other. */
static __isl_give isl_map *flow_relation(struct verify *v, const struct bf_descriptor *d,
                                         int64_t source, int64_t destination) {
    struct bf_text text = {0};
    int64_t near[3], far[3], travel_near = 0, travel_far = 0;
    for (int l = 0; l < BF_LEVELS; l++) {
        near[l] = d->trips[l] > 1 ? d->flow.source_delta[l] + travel_near : 0;
        far[l] = d->trips[l] > 1 ? d->flow.destination_delta[l] + travel_far : 0;
        travel_near += (d->trips[l] - 1) * near[l];
        travel_far += (d->trips[l] - 1) * far[l];
    }
    bf_text_printf(&text,
                   "{ [p, s] -> [k, d] : exists c0, c1, c2 : 0 <= p < %lld and 0 <= k < %d and "
                   "s = %lld + %lldk + %lldc0 + %lldc2 and d = %lld + %lldp + %lldc0 + %lldc2 and "
                   "0 <= c0 < %d and 0 <= c2 < %d and c1 = 0 }",
                   1LL << v->g, d->trips[1], (long long)(d->flow.source - source),
                   1LL << d->flow.destination_shift, (long long)near[0], (long long)near[2],
                   (long long)(d->flow.destination - destination), 1LL << d->flow.self_shift,
                   (long long)far[0], (long long)far[2], d->trips[0], d->trips[2]);
    return read_map(v, &text);
}

static bool verify_exchange(struct verify *v, const struct bf_block_note *note) {
    const struct bf_block *block = find_block(v, note->id);
    const struct bf_region *from = bf_plan_region(v->plan, note->from);
    const struct bf_region *to = bf_plan_region(v->plan, note->to);
    int64_t planes = bf_plan_int(v->plan, "planes");
    isl_map *before = location(v, &v->plan->layouts.data[note->layout]);
    isl_map *after = location(v, &v->plan->layouts.data[note->layout + 1]);
    isl_map *wanted =
        isl_map_apply_range(isl_map_reverse(isl_map_copy(before)), isl_map_copy(after));
    /* The plane goes along: lift both ends and keep the pairs of equal planes. */
    isl_map *lifted = isl_map_empty(isl_map_get_space(wanted));
    for (int64_t q = 0; q < planes; q++) {
        struct bf_text shift = {0};
        bf_text_printf(&shift, "{ [p, w] -> [p, w + %lld] }", (long long)(q * v->words));
        isl_map *up = read_map(v, &shift);
        isl_map *one = isl_map_apply_domain(isl_map_copy(wanted), isl_map_copy(up));
        lifted = isl_map_union(lifted, isl_map_apply_range(one, up));
    }
    isl_map_free(wanted);
    isl_map *emitted = block ? flow_relation(v, &block->d, from->base, to->base)
                             : isl_map_empty(isl_map_get_space(lifted));
    isl_map_free(before);
    isl_map_free(after);
    struct question question = {NULL, &v->plan->layouts.data[note->layout],
                                &v->plan->layouts.data[note->layout + 1]};
    return same(v, &question, emitted, lifted);
}

/* An earlier plan with the same code, layouts and regions proves this one: the set is the same for
 * all elements of a plan. */
static bool proved_before(const struct bf_map *map, const struct bf_plan *plan) {
    for (unsigned i = 0; i < plan->index; i++) {
        const struct bf_plan *other = map->plans.data[i];
        if (other->code != plan->code || other->kernel->kind != plan->kernel->kind ||
            other->first != plan->first || other->last != plan->last ||
            other->kernel->digits.count != plan->kernel->digits.count)
            continue;
        bool same_n =
            bf_ints_get(&other->kernel->attrs, "n") == bf_ints_get(&plan->kernel->attrs, "n");
        if (same_n && other->kernel->stmts.count == plan->kernel->stmts.count)
            return true;
    }
    return false;
}

/* Every stage has a block, and an exchange lies between every two layouts. */
static bool complete(struct verify *v) {
    const struct bf_plan *plan = v->plan;
    for (int stmt = plan->first; stmt <= plan->last; stmt++) {
        bool found = !bf_stage_computes(plan, stmt);
        for (size_t i = 0; i < plan->notes.count; i++)
            found |= plan->notes.data[i].stmt == stmt;
        if (!found)
            return bf_diag_error(v->diags, plan->kernel->loc,
                                 "value check of %s (%s): no block computes stage %s", plan->name,
                                 plan->kernel->what, plan->kernel->stmts.data[stmt].name);
    }
    for (int l = 0; l + 1 < (int)plan->layouts.count; l++) {
        bool found = bf_ints_find(&plan->ints, "sorted", 0);
        for (size_t i = 0; i < plan->notes.count; i++)
            found |= plan->notes.data[i].stmt < 0 && plan->notes.data[i].layout == l;
        if (!found)
            return bf_diag_error(v->diags, plan->kernel->loc,
                                 "value check of %s (%s): no exchange lies before stage %s, where "
                                 "the elements change their places",
                                 plan->name, plan->kernel->what,
                                 plan->kernel->stmts.data[plan->layouts.data[l + 1].first].name);
    }
    return true;
}

bool bf_stages_verify(struct bf_map *map, struct bf_plan *plan, struct bf_diags *diags) {
    if (!bf_stages_check(map, plan, diags))
        return false;
    struct verify v = {.map = map,
                       .plan = plan,
                       .diags = diags,
                       .code = &map->program->kernels[plan->code],
                       .isl = map->poly->isl,
                       .g = bf_plan_int(plan, "pe_bits"),
                       .words = bf_plan_int(plan, "words")};
    while (v.pes < INT64_C(1) << v.g && bf_stages_present(plan, (unsigned)v.pes))
        v.pes++;
    if (!bf_stages_check_memory(map, plan, diags))
        return false;
    if (proved_before(map, plan))
        return true;
    bool ok = complete(&v);
    for (size_t i = 0; i < plan->notes.count && ok; i++) {
        const struct bf_block_note *note = &plan->notes.data[i];
        if (note->stmt < 0)
            ok = verify_exchange(&v, note);
        else if (note->id < BF_FIRST_LOAD)
            ok = verify_stage(&v, note);
    }
    return ok;
}
