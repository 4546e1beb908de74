/* alike.c - kernels that are an earlier one with other places: layers and slices of a network.
 *
 * What a value check of a kernel looks at is its code, its launches, its plans, its statements,
 * and, through base registers, which words of which operand the code touches:
 *
 *     a    base 0 -> x + 0      base 1 -> y + 16      base 2 -> weights + 0
 *     b    base 0 -> x' + 0     base 1 -> y' + 16     base 2 -> weights' + 0
 *
 * If all that is equal, the check of b would repeat that of a step by step. Which area a register
 * leads to is found by running a's address generators through all iterations.
 */
#include <stdlib.h>

#include "passes/array/alike.h"

struct bf_kernel_plans bf_kernel_plans_at(const struct bf_map *map, size_t first) {
    struct bf_kernel_plans plans = {first, first + 1, NULL};
    while (plans.end < map->plans.count &&
           map->plans.data[plans.end]->kernel == map->plans.data[first]->kernel)
        plans.end++;
    return plans;
}

/* ---- areas: operands in order, weights, the tiles of zeros and ones ---- */

struct area {
    int64_t first, words;
};
enum { WEIGHTS_AREA = 64, ZERO_AREA, ONE_AREA, AREAS };

static const struct bf_operand *operand_at(const struct bf_plan *plan, size_t i) {
    return i < plan->inputs.count ? &plan->inputs.data[i]
                                  : &plan->outputs.data[i - plan->inputs.count];
}

static struct area area_at(const struct bf_map *map, const struct bf_plan *plan, int area) {
    int64_t v = map->machine.lanes;
    if (area == ZERO_AREA || area == ONE_AREA)
        return (struct area){area == ZERO_AREA ? map->zero_spm : map->one_spm, v};
    if (area == WEIGHTS_AREA)
        return (struct area){plan->weight_spm,
                             plan->recipe < 0 ? 0
                                              : bf_recipe_words(&map->recipes.data[plan->recipe])};
    if ((size_t)area >= plan->inputs.count + plan->outputs.count)
        return (struct area){0, 0};
    const struct bf_place_of_buffer *place =
        &map->places[operand_at(plan, (size_t)area)->buffer->index];
    return (struct area){place->spm, place->spm < 0 ? 0 : place->width * place->height / v};
}

static int area_of(const struct bf_map *map, const struct bf_plan *plan, int64_t word) {
    for (int i = 0; i < AREAS; i++) {
        struct area area = area_at(map, plan, i);
        if (area.first <= word && word < area.first + area.words)
            return i;
    }
    return BF_NO_AREA;
}

/* ---- what registers lead to ---- */

struct walk {
    const struct bf_map *map;
    const struct bf_plan *plan;
    const struct bf_launch *launch;
    int8_t *areas;
    struct area known[BF_BASES];
};

static bool touch(struct walk *w, unsigned base, int64_t word) {
    const struct area *known = &w->known[base];
    if (known->first <= word && word < known->first + known->words)
        return true;
    int area = area_of(w->map, w->plan, word);
    if (area == BF_NO_AREA || w->areas[base] != BF_NO_AREA)
        return false;
    w->areas[base] = (int8_t)area;
    w->known[base] = area_at(w->map, w->plan, area);
    return true;
}

enum { SPM_MASK = (1 << 18) - 1 };

/* One run of a block. */
static bool touch_block(struct walk *w, const struct bf_descriptor *d, uint32_t word) {
    for (unsigned i = 0; i < d->trips[2]; i++)
        for (unsigned j = 0; j < d->trips[1]; j++)
            for (unsigned k = 0; k < d->trips[0]; k++) {
                if (!touch(w, d->mem.base, word))
                    return false;
                int level = k + 1 < d->trips[0] ? 0 : j + 1 < d->trips[1] ? 1 : 2;
                word = (word + (uint32_t)d->mem.spm_delta[level]) & SPM_MASK;
            }
    return true;
}

/* All iterations, or for weights all groups, in which the block exists. */
static bool touch_all(struct walk *w, const struct bf_descriptor *d) {
    const uint32_t *trips = w->launch->trips;
    unsigned from = d->mem.weights ? w->launch->group_level : 0;
    uint32_t at[BF_LEVELS] = {0}, word = (w->launch->base[d->mem.base] + d->mem.spm) & SPM_MASK;
    uint64_t number = 0, length = 1;
    for (unsigned level = 0; level < from; level++)
        length *= trips[level];
    for (unsigned level = from; level <= BF_LEVELS;) {
        unsigned phase = (unsigned)(number * length % w->launch->period);
        if (d->first <= phase && phase <= d->last && !touch_block(w, d, word))
            return false;
        number++;
        for (level = from; level < BF_LEVELS && ++at[level] == trips[level]; level++)
            at[level] = 0;
        if (level >= BF_LEVELS)
            return true;
        word = (word + (uint32_t)d->mem.iteration_delta[level]) & SPM_MASK;
    }
    return true;
}

static bool find_areas(const struct bf_map *map, const struct bf_plan *plan, int8_t *areas) {
    memset(areas, BF_NO_AREA, BF_BASES);
    if (plan->code < 0 || plan->launch < 0)
        return false;
    struct walk w = {map, plan, &map->program->launches[plan->launch], areas, {{0}}};
    const struct bf_kernel *code = &map->program->kernels[plan->code];
    bool ok = plan->inputs.count + plan->outputs.count <= WEIGHTS_AREA;
    for (size_t b = 0; b < code->block_count && ok; b++) {
        enum bf_unit unit = (enum bf_unit)code->blocks[b].d.unit;
        if (unit == BF_UNIT_LOAD || unit == BF_UNIT_STORE)
            ok = touch_all(&w, &code->blocks[b].d);
    }
    return ok;
}

bool bf_kernel_plans_areas(const struct bf_map *map, struct bf_kernel_plans *plans) {
    plans->areas = bf_alloc((plans->end - plans->first) * sizeof *plans->areas);
    for (size_t p = plans->first; p < plans->end; p++)
        if (!find_areas(map, map->plans.data[p], plans->areas[p - plans->first])) {
            free(plans->areas);
            plans->areas = NULL;
            return false;
        }
    return true;
}

/* ---- comparing ---- */

static bool same_stmts(const struct bf_poly_kernel *a, const struct bf_poly_kernel *b) {
    bool same = a->stmts.count == b->stmts.count && a->deps.count == b->deps.count &&
                a->digits.count == b->digits.count;
    for (size_t i = 0; same && i < a->digits.count; i++) {
        const struct bf_digit *d = &a->digits.data[i], *e = &b->digits.data[i];
        same = !strcmp(d->name, e->name) && d->radix == e->radix && d->weight == e->weight &&
               d->out_weight == e->out_weight;
    }
    for (size_t s = 0; same && s < a->stmts.count; s++) {
        const struct bf_stmt *x = &a->stmts.data[s], *y = &b->stmts.data[s];
        same = x->kind == y->kind && x->digit == y->digit && x->block == y->block &&
               x->stage == y->stage && x->shift == y->shift && x->step == y->step &&
               !strcmp(x->name, y->name) && x->accesses.count == y->accesses.count &&
               isl_set_plain_is_equal(x->domain, y->domain) == isl_bool_true;
        for (size_t i = 0; same && i < x->accesses.count; i++) {
            const struct bf_access *f = &x->accesses.data[i], *g = &y->accesses.data[i];
            same = f->role == g->role && f->operand == g->operand && !strcmp(f->array, g->array) &&
                   isl_map_plain_is_equal(f->map, g->map) == isl_bool_true;
        }
    }
    for (size_t i = 0; same && i < a->deps.count; i++) {
        const struct bf_dep *x = &a->deps.data[i], *y = &b->deps.data[i];
        same = x->from == y->from && x->to == y->to && !strcmp(x->array, y->array) &&
               isl_map_plain_is_equal(x->map, y->map) == isl_bool_true;
    }
    return same;
}

static bool same_notes(const struct bf_plan *a, const struct bf_plan *b) {
    bool same = a->notes.count == b->notes.count && a->regions.count == b->regions.count;
    for (size_t i = 0; same && i < a->notes.count; i++) {
        const struct bf_block_note *x = &a->notes.data[i], *y = &b->notes.data[i];
        same = x->id == y->id && x->stmt == y->stmt && x->layout == y->layout &&
               !strcmp(x->from, y->from) && !strcmp(x->to, y->to);
    }
    for (size_t i = 0; same && i < a->regions.count; i++) {
        const struct bf_region *x = &a->regions.data[i], *y = &b->regions.data[i];
        same = !strcmp(x->name, y->name) && x->base == y->base && x->words == y->words &&
               x->relative == y->relative;
    }
    return same;
}

/* The weights of each are made for it, in the same form. */
static bool same_recipe(const struct bf_map *map, const struct bf_plan *a,
                        const struct bf_plan *b) {
    if (a->recipe < 0 || b->recipe < 0)
        return a->recipe == b->recipe;
    const struct bf_recipe *r = &map->recipes.data[a->recipe], *q = &map->recipes.data[b->recipe];
    return !strcmp(r->kind, q->kind) && r->sets == q->sets && r->pes == q->pes &&
           r->words == q->words && r->plan >= 0 && q->plan >= 0 &&
           bf_plan_same_weights(map->plans.data[r->plan], a) &&
           bf_plan_same_weights(map->plans.data[q->plan], b);
}

static bool same_launch(const struct bf_map *map, const struct bf_plan *a, const struct bf_plan *b,
                        const int8_t *areas) {
    const struct bf_launch *x = &map->program->launches[a->launch];
    const struct bf_launch *y = &map->program->launches[b->launch];
    bool same = x->kernel == y->kernel && x->window == y->window && x->strict == y->strict &&
                x->one_weight_set == y->one_weight_set && x->context_base == y->context_base &&
                x->context_size == y->context_size && x->period == y->period &&
                x->group_level == y->group_level && !memcmp(x->trips, y->trips, sizeof x->trips);
    for (unsigned base = 0; same && base < BF_BASES; base++) {
        if (areas[base] == BF_NO_AREA)
            continue;
        struct area here = area_at(map, a, areas[base]), there = area_at(map, b, areas[base]);
        same = x->base[base] - here.first == y->base[base] - there.first &&
               here.words == there.words && here.first % map->machine.lanes == 0 &&
               there.first % map->machine.lanes == 0;
    }
    return same;
}

static bool same_operand(const struct bf_map *map, const struct bf_operand *a,
                         const struct bf_operand *b) {
    const struct bf_place_of_buffer *x = &map->places[a->buffer->index];
    const struct bf_place_of_buffer *y = &map->places[b->buffer->index];
    return a->row == b->row && a->col == b->col && a->rows == b->rows && a->cols == b->cols &&
           a->buffer->samples == b->buffer->samples && a->buffer->rows == b->buffer->rows &&
           a->buffer->cols == b->buffer->cols && a->buffer->dtype == b->buffer->dtype &&
           a->buffer->exponent == b->buffer->exponent && x->width == y->width &&
           x->pitch == y->pitch && x->height == y->height && (x->spm < 0) == (y->spm < 0);
}

static bool same_plan(const struct bf_map *map, const struct bf_plan *a, const struct bf_plan *b,
                      const int8_t *areas) {
    bool same = a->code == b->code && a->launch >= 0 && b->launch >= 0 && a->part == b->part &&
                a->first == b->first && a->last == b->last && a->window == b->window &&
                a->context_base == b->context_base && a->context_size == b->context_size &&
                a->inputs.count == b->inputs.count && a->outputs.count == b->outputs.count &&
                bf_plan_same_numbers(a, b) && same_notes(a, b) && same_recipe(map, a, b);
    for (size_t i = 0; same && i < a->inputs.count + a->outputs.count; i++)
        same = same_operand(map, operand_at(a, i), operand_at(b, i));
    return same && same_launch(map, a, b, areas);
}

/* Buffer i of all operands of a kernel's plans, then of the kernel; NULL after the last. */
static const struct bf_buffer *buffer_at(const struct bf_map *map,
                                         const struct bf_kernel_plans *plans, size_t i) {
    for (size_t p = plans->first; p < plans->end; p++) {
        const struct bf_plan *plan = map->plans.data[p];
        size_t count = plan->inputs.count + plan->outputs.count;
        if (i < count)
            return operand_at(plan, i)->buffer;
        i -= count;
    }
    const struct bf_poly_kernel *kernel = map->plans.data[plans->first]->kernel;
    if (i < kernel->inputs.count)
        return kernel->inputs.data[i].buffer;
    i -= kernel->inputs.count;
    return i < kernel->outputs.count ? kernel->outputs.data[i].buffer : NULL;
}

/* One buffer there where there is one here, and two where there are two. */
static bool same_aliases(const struct bf_map *map, const struct bf_kernel_plans *a,
                         const struct bf_kernel_plans *b) {
    const struct bf_buffer *x, *y;
    for (size_t i = 0; (x = buffer_at(map, a, i)) && (y = buffer_at(map, b, i)); i++)
        for (size_t j = 0; j < i; j++)
            if ((buffer_at(map, a, j) == x) != (buffer_at(map, b, j) == y))
                return false;
    return true;
}

bool bf_kernel_plans_alike(const struct bf_map *map, const struct bf_kernel_plans *a,
                           const struct bf_kernel_plans *b) {
    const struct bf_poly_kernel *x = map->plans.data[a->first]->kernel;
    const struct bf_poly_kernel *y = map->plans.data[b->first]->kernel;
    bool same = a->areas && a->end - a->first == b->end - b->first && bf_poly_same_shape(x, y);
    for (size_t p = 0; same && p < a->end - a->first; p++)
        same = same_plan(map, map->plans.data[a->first + p], map->plans.data[b->first + p],
                         a->areas[p]);
    return same && same_aliases(map, a, b) && same_stmts(x, y);
}
