/* place.c - scratchpad and DRAM addresses.
 *
 * Requires plans with pitches, widths and recipes; gives every buffer, weight area and tensor its
 * address. Keeps everything else.
 *
 *   scratchpad   | zeros | ones | buffer .. weights of plan i .. | .. first fit, reused when dead
 *   DRAM         | recipes and tensors (rodata) | inputs | outputs |
 *
 * Time is counted in plans. What arrives by DMA has its words from several launches before it is
 * used, what leaves keeps them for some after, and weights that several plans use stay: as far as
 * all that finds room. A resident network has all of its weights from the start.
 */
#include "passes/passes.h"

#include <stdlib.h>

enum { DRAM_ALIGN = 64 };

/* Something that needs scratchpad words from plan `first` to plan `last`. */
struct item {
    int64_t words;
    int first, last;
    int64_t *address;
    const char *name;
    int recipe, plan;     /* weights: of which recipe (else -1), first wanted by which plan */
    bool arrives, leaves; /* by DMA, before `first` or after `last` */
    int ahead;            /* launches by which it has its words longer for that, ... */
    int from, to;         /* ... so that it is alive from plan `from` to `to` */
};
enum {
    AHEAD = 12, /* most of them */
    KEEP = 64   /* weights stay where they are wanted again within so many launches */
};
struct items {
    struct item *data;
    size_t count, capacity;
};

static void live(struct bf_map *map, const struct bf_operand *operand, int plan) {
    if (operand->buffer->in_dram)
        return;
    struct bf_place_of_buffer *place = &map->places[operand->buffer->index];
    if (place->first < 0)
        place->first = plan;
    place->last = plan;
}

/* Whether words of the buffer are left that its producer does not write: they are filled with zeros
 * beforehand. */
bool bf_place_has_pads(const struct bf_map *map, const struct bf_buffer *buffer) {
    const struct bf_place_of_buffer *place = &map->places[buffer->index];
    return buffer->cols != place->width || buffer->samples * buffer->rows != place->height;
}

static void find_lifetimes(struct bf_map *map) {
    int end = (int)map->plans.count;
    for (int p = 0; p < end; p++) {
        const struct bf_plan *plan = map->plans.data[p];
        for (size_t i = 0; i < plan->inputs.count; i++)
            if (plan->inputs.data[i].buffer->dtype != BF_I32)
                live(map, &plan->inputs.data[i], p);
        for (size_t i = 0; i < plan->outputs.count; i++)
            live(map, &plan->outputs.data[i], p);
    }
    for (size_t b = 0; b < map->poly->buffers.count; b++) {
        const struct bf_buffer *buffer = map->poly->buffers.data[b];
        struct bf_place_of_buffer *place = &map->places[b];
        if (place->first < 0)
            continue;
        if (buffer->kind == BF_BUFFER_INPUT || map->poly->header.resident)
            place->first = 0;
        else if (place->first > 0)
            place->first--; /* a parameter or zeros arrive while the plan before runs */
        if (buffer->kind == BF_BUFFER_OUTPUT)
            place->last = end;
    }
}

/* Whether a COPY writes or reads the buffer from or to DRAM. */
static void find_copies(const struct bf_map *map, bool *arrives, bool *leaves) {
    for (size_t p = 0; p < map->plans.count; p++) {
        const struct bf_plan *plan = map->plans.data[p];
        if (plan->kernel->kind != BF_KERNEL_COPY)
            continue;
        const struct bf_buffer *from = plan->inputs.data[0].buffer;
        const struct bf_buffer *to = plan->outputs.data[0].buffer;
        arrives[to->index] = from->in_dram || from->dtype == BF_I32;
        leaves[from->index] = to->in_dram;
    }
}

/* The plan that is `launches` launches before (after, if negative) plan p. */
static int launches_away(const struct bf_map *map, int p, int launches) {
    int step = launches > 0 ? -1 : 1, left = launches > 0 ? launches : -launches;
    while (left > 0 && p + step >= 0 && p + step < (int)map->plans.count) {
        p += step;
        left -= map->plans.data[p]->kernel->kind != BF_KERNEL_COPY;
    }
    return p;
}

/* Weights of plan p: in the same words as those of an earlier plan that wants the same ones, unless
 * their recipe is `alone`. */
static void add_weights(struct bf_map *map, struct items *items, int p, const bool *alone) {
    struct bf_plan *plan = map->plans.data[p];
    bool resident = map->poly->header.resident;
    for (size_t i = items->count; i-- > 0 && !alone[plan->recipe];) {
        struct item *item = &items->data[i];
        if (item->recipe != plan->recipe)
            continue;
        if (resident || launches_away(map, p, KEEP) <= item->last) {
            item->last = p;
            return;
        }
        break;
    }
    *bf_push(items) = (struct item){.words = bf_recipe_words(&map->recipes.data[plan->recipe]),
                                    .first = resident || p == 0 ? 0 : p - 1,
                                    .last = p,
                                    .address = &plan->weight_spm,
                                    .name = plan->name,
                                    .recipe = plan->recipe,
                                    .plan = p,
                                    .arrives = true};
}

static struct items collect(struct bf_map *map, const bool *alone) {
    struct items items = {0};
    int64_t v = map->machine.lanes;
    int end = (int)map->plans.count;
    size_t count = map->poly->buffers.count;
    bool *arrives = bf_alloc((count + 1) * sizeof *arrives);
    bool *leaves = bf_alloc((count + 1) * sizeof *leaves);
    find_copies(map, arrives, leaves);
    *bf_push(&items) = (struct item){
        .words = v, .last = end, .address = &map->zero_spm, .name = "zeros", .recipe = -1};
    *bf_push(&items) = (struct item){
        .words = v, .last = end, .address = &map->one_spm, .name = "ones", .recipe = -1};
    for (size_t b = 0; b < count; b++) {
        struct bf_place_of_buffer *place = &map->places[b];
        const struct bf_buffer *buffer = map->poly->buffers.data[b];
        if (place->first >= 0)
            *bf_push(&items) =
                (struct item){.words = place->width * place->height / v,
                              .first = place->first,
                              .last = place->last,
                              .address = &place->spm,
                              .name = buffer->name,
                              .recipe = -1,
                              .arrives = arrives[b] || buffer->kind == BF_BUFFER_PARAM,
                              .leaves = leaves[b]};
    }
    free(arrives);
    free(leaves);
    for (int p = 0; p < end; p++)
        if (map->plans.data[p]->recipe >= 0)
            add_weights(map, &items, p, alone);
    return items;
}

/* Lets what moves by DMA have its words longer. */
static void extend(const struct bf_map *map, struct item *item, int ahead) {
    bool resident = map->poly->header.resident;
    item->ahead = item->arrives || item->leaves ? ahead : 0;
    item->from =
        item->arrives && !resident ? launches_away(map, item->first, item->ahead) : item->first;
    item->to = item->leaves ? launches_away(map, item->last, -item->ahead / 2) : item->last;
}

/* Stable: insertion, as the items are few and nearly in order. */
static void sort(struct items *items, bool (*before)(const struct item *, const struct item *)) {
    for (size_t i = 1; i < items->count; i++) {
        struct item item = items->data[i];
        size_t j = i;
        for (; j > 0 && before(&item, &items->data[j - 1]); j--)
            items->data[j] = items->data[j - 1];
        items->data[j] = item;
    }
}

static bool earlier(const struct item *a, const struct item *b) {
    return a->from < b->from;
}

static bool larger(const struct item *a, const struct item *b) {
    return a->words > b->words;
}

static bool together(const struct item *a, const struct item *b) {
    return a->from <= b->to && b->from <= a->to;
}

/* Lowest address at which `item` meets none of those placed at an overlapping time. */
static int64_t first_fit(const struct items *items, const struct item *item, const size_t *placed,
                         size_t count, int64_t v) {
    int64_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < count; i++) {
            const struct item *other = &items->data[placed[i]];
            if (together(item, other) && at < *other->address + other->words &&
                *other->address < at + item->words) {
                at = (int64_t)bf_round_up((uint64_t)(*other->address + other->words), (uint64_t)v);
                moved = true;
            }
        }
    }
    return at;
}

static bool no_room(struct bf_map *map, const struct items *items, size_t index,
                    struct bf_diags *diags) {
    const struct item *item = &items->data[index];
    int64_t need = 0;
    for (size_t i = 0; i <= index; i++)
        if (items->data[i].from <= item->from && item->from <= items->data[i].to)
            need += items->data[i].words;
    if (need <= map->machine.spm_words) /* there are gaps */
        need = *item->address + item->words;
    int at = item->from < (int)map->plans.count ? item->from : (int)map->plans.count - 1;
    const struct bf_poly_kernel *kernel = map->plans.data[at]->kernel;
    bf_diag_error(diags, kernel->loc,
                  "cannot map %s on '%s': at %s the buffers and weights alive need %lld "
                  "words of scratchpad (the last one is '%s', %lld), the array has %u",
                  map->poly->name, map->machine.name, kernel->what, (long long)need, item->name,
                  (long long)item->words, map->machine.spm_words);
    bf_diag_note(diags, kernel->loc,
                 "a smaller -batch or a shorter sequence needs less; an -arch with "
                 "scratchpad: words: %lld has the room",
                 (long long)need);
    return false;
}

/* Index of the first item, in their order, that finds no room; items->count if all do. `timed`:
 * they are sorted by time, so that what is over when an item begins need not be looked at again. */
static size_t fit_all(struct bf_map *map, const struct items *items, bool timed) {
    size_t *placed = bf_alloc((items->count + 1) * sizeof *placed), count = 0, i;
    for (i = 0; i < items->count; i++) {
        const struct item *item = &items->data[i];
        size_t kept = 0;
        for (size_t k = 0; k < count; k++)
            if (!timed || items->data[placed[k]].to >= item->from)
                placed[kept++] = placed[k];
        count = kept;
        *item->address = first_fit(items, item, placed, count, map->machine.lanes);
        if (*item->address + item->words > map->machine.spm_words)
            break;
        placed[count++] = i;
    }
    free(placed);
    return i;
}

static bool fits_in_time(struct bf_map *map, struct items *items, size_t *failed) {
    sort(items, earlier);
    *failed = fit_all(map, items, true);
    return *failed == items->count;
}

/* Weights that stay between plans: less of them where something finds no room. */
static bool fit_kept(struct bf_map *map, struct items *items, bool *alone, size_t *failed) {
    for (;;) {
        *items = collect(map, alone);
        for (size_t i = 0; i < items->count; i++)
            extend(map, &items->data[i], 0);
        if (fits_in_time(map, items, failed))
            return true;
        bool changed = false;
        for (size_t i = 0; i < items->count; i++) {
            const struct item *item = &items->data[i];
            if (item->recipe >= 0 && !alone[item->recipe] && item->last > item->plan &&
                together(item, &items->data[*failed]))
                alone[item->recipe] = changed = true;
        }
        if (!changed)
            return false;
        free(items->data);
    }
}

/* Room for what moves by DMA to come earlier and go later: less where something finds none. */
static void fit_ahead(struct bf_map *map, struct items *items) {
    size_t failed, size = items->count * sizeof *items->data;
    struct item *before = bf_alloc(size);
    memcpy(before, items->data, size);
    for (size_t i = 0; i < items->count; i++)
        extend(map, &items->data[i], AHEAD);
    while (!fits_in_time(map, items, &failed)) {
        struct item at = items->data[failed];
        bool changed = false;
        for (size_t i = 0; i < items->count; i++)
            if (items->data[i].ahead && together(&items->data[i], &at)) {
                extend(map, &items->data[i], items->data[i].ahead * 2 / 3);
                changed = true;
            }
        if (!changed) { /* the rest came to lie differently: as they were */
            memcpy(items->data, before, size);
            fit_all(map, items, true);
            break;
        }
    }
    free(before);
}

static void share_addresses(struct bf_map *map, const struct items *items) {
    for (size_t i = 0; i < items->count; i++)
        for (int p = items->data[i].plan; items->data[i].recipe >= 0 && p <= items->data[i].last;
             p++)
            if (map->plans.data[p]->recipe == items->data[i].recipe)
                map->plans.data[p]->weight_spm = *items->data[i].address;
}

/* In order of time, which leaves gaps; else by size, which leaves fewer. */
static bool place_scratchpad(struct bf_map *map, struct bf_diags *diags) {
    bool *alone = bf_alloc((map->recipes.count + 1) * sizeof *alone);
    struct items items;
    size_t failed;
    bool ok = fit_kept(map, &items, alone, &failed);
    if (ok) {
        fit_ahead(map, &items);
    } else {
        sort(&items, larger);
        ok = fit_all(map, &items, false) == items.count;
    }
    if (ok)
        share_addresses(map, &items);
    else if (!fits_in_time(map, &items, &failed))
        no_room(map, &items, failed, diags);
    free(items.data);
    free(alone);
    return ok;
}

/* ---- DRAM ---- */

static struct bf_tensor_place *add_tensor(struct bf_program *program, const char *name,
                                          enum bf_tensor_kind kind, enum bf_dtype dtype) {
    program->tensors =
        bf_resize(program->tensors, (program->tensor_count + 1) * sizeof *program->tensors);
    struct bf_tensor_place *tensor = &program->tensors[program->tensor_count++];
    memset(tensor, 0, sizeof *tensor);
    tensor->name = bf_strdup(name);
    tensor->kind = (uint8_t)kind;
    tensor->dtype = (uint8_t)dtype;
    return tensor;
}

static void place_rodata(struct bf_map *map) {
    struct bf_program *program = map->program;
    for (size_t b = 0; b < map->poly->buffers.count; b++)
        if (map->poly->buffers.data[b]->kind == BF_BUFFER_PARAM)
            bf_map_add_tensor(map, &map->poly->buffers.data[b]->view);
    for (size_t p = 0; p < map->plans.count; p++) {
        const struct bf_kernel_param *table =
            bf_kernel_find_param(map->plans.data[p]->kernel, "table");
        if (table)
            bf_map_add_tensor(map, &table->view);
    }
    for (size_t r = 0; r < map->recipes.count; r++) {
        struct bf_recipe *recipe = &map->recipes.data[r];
        uint64_t size = (uint64_t)bf_recipe_words(recipe) * map->machine.lanes * 2;
        recipe->rodata = program->rodata_size;
        struct bf_tensor_place *tensor =
            add_tensor(program, recipe->name, BF_TENSOR_WEIGHT, BF_F16);
        tensor->rank = 1;
        tensor->dims[0] = (uint32_t)(size / 2);
        tensor->dram = recipe->rodata;
        tensor->size = size;
        program->rodata_size = bf_round_up(recipe->rodata + size, DRAM_ALIGN);
    }
}

static void place_tensors(struct bf_map *map) {
    struct bf_program *program = map->program;
    uint64_t at = program->rodata_size;
    for (size_t i = 0; i < map->poly->tensors.count; i++) {
        const struct bf_poly_tensor *named = &map->poly->tensors.data[i];
        struct bf_tensor_place *tensor =
            add_tensor(program, named->name, named->output ? BF_TENSOR_OUTPUT : BF_TENSOR_INPUT,
                       named->type.dtype);
        tensor->rank = (uint8_t)named->type.rank;
        for (unsigned a = 0; a < named->type.rank; a++)
            tensor->dims[a] = (uint32_t)named->type.dims[a];
        tensor->dram = at;
        tensor->size = (uint64_t)(bf_type_elements(&named->type) * map->poly->header.batch) *
                       (named->type.dtype == BF_I32 ? 4 : 2);
        at = bf_round_up(at + tensor->size, DRAM_ALIGN);
    }
    program->dram_size = at;
}

static void add_spill(struct bf_program *program, const char *name, int64_t elements) {
    struct bf_tensor_place *spill = add_tensor(program, name, BF_TENSOR_SPILL, BF_F16);
    spill->rank = 1;
    spill->dims[0] = (uint32_t)elements;
    spill->dram = program->dram_size;
    spill->size = 2 * (uint64_t)elements;
    program->dram_size = bf_round_up(spill->dram + spill->size, DRAM_ALIGN);
}

/* Temporaries that are never whole in the scratchpad. */
static void place_spills(struct bf_map *map) {
    for (size_t b = 0; b < map->poly->buffers.count; b++) {
        const struct bf_buffer *buffer = map->poly->buffers.data[b];
        if (buffer->in_dram && buffer->kind == BF_BUFFER_TEMP)
            add_spill(map->program, buffer->name, buffer->samples * buffer->rows * buffer->cols);
    }
}

/* Elements an operand has in all samples. */
static int64_t operand_elements(const struct bf_operand *operand) {
    return operand->buffer->samples * operand->rows * operand->cols;
}

/* A copy inside the scratchpad goes through DRAM: its elements, packed, in an area of their own. */
static void place_copies(struct bf_map *map) {
    for (size_t p = 0; p < map->plans.count; p++) {
        const struct bf_plan *plan = map->plans.data[p];
        if (plan->kernel->kind == BF_KERNEL_COPY && !bf_kernel_find_param(plan->kernel, "table") &&
            !plan->inputs.data[0].buffer->in_dram && !plan->outputs.data[0].buffer->in_dram)
            add_spill(map->program, plan->name, operand_elements(&plan->inputs.data[0]));
    }
}

bool bf_pass_place(struct bf_map *map, struct bf_diags *diags) {
    find_lifetimes(map);
    if (!place_scratchpad(map, diags))
        return false;
    place_rodata(map);
    place_tensors(map);
    place_spills(map);
    place_copies(map);
    return true;
}
