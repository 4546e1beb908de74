/* place.c - scratchpad and DRAM addresses.
 *
 * Requires plans with pitches, widths and recipes; gives every buffer, weight area and tensor its
 * address. Keeps everything else.
 *
 *   scratchpad   | zeros | ones | buffer .. weights of plan i .. | .. first fit, reused when dead
 *   DRAM         | recipes and tensors (rodata) | inputs | outputs |
 *
 * Time is counted in plans. The weights of plan i arrive while plan i - 1 runs, so they are alive
 * in both; a resident network has all of them from the start.
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

static struct items collect(struct bf_map *map) {
    struct items items = {0};
    int64_t v = map->machine.lanes;
    int end = (int)map->plans.count;
    *bf_push(&items) = (struct item){v, 0, end, &map->zero_spm, "zeros"};
    *bf_push(&items) = (struct item){v, 0, end, &map->one_spm, "ones"};
    for (size_t b = 0; b < map->poly->buffers.count; b++) {
        struct bf_place_of_buffer *place = &map->places[b];
        if (place->first >= 0)
            *bf_push(&items) =
                (struct item){place->width * place->height / v, place->first, place->last,
                              &place->spm, map->poly->buffers.data[b]->name};
    }
    for (int p = 0; p < end; p++) {
        struct bf_plan *plan = map->plans.data[p];
        if (plan->recipe < 0)
            continue;
        int first = map->poly->header.resident || p == 0 ? 0 : p - 1;
        int64_t words = bf_recipe_words(&map->recipes.data[plan->recipe]);
        *bf_push(&items) = (struct item){words, first, p, &plan->weight_spm, plan->name};
    }
    return items;
}

/* By time, stable: insertion, as the items are few and nearly in order. */
static void sort_by_first(struct items *items) {
    for (size_t i = 1; i < items->count; i++) {
        struct item item = items->data[i];
        size_t j = i;
        for (; j > 0 && items->data[j - 1].first > item.first; j--)
            items->data[j] = items->data[j - 1];
        items->data[j] = item;
    }
}

/* Lowest address at which `item` meets no earlier item of an overlapping time. */
static int64_t first_fit(const struct items *items, size_t index, int64_t v) {
    const struct item *item = &items->data[index];
    int64_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < index; i++) {
            const struct item *other = &items->data[i];
            bool together = other->first <= item->last && item->first <= other->last;
            if (together && at < *other->address + other->words &&
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
        if (items->data[i].first <= item->first && item->first <= items->data[i].last)
            need += items->data[i].words;
    if (need <= map->machine.spm_words) /* there are gaps */
        need = *item->address + item->words;
    int at = item->first < (int)map->plans.count ? item->first : (int)map->plans.count - 1;
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

/* Large ones first, otherwise in order. */
static void sort_by_size(struct items *items) {
    for (size_t i = 1; i < items->count; i++) {
        struct item item = items->data[i];
        size_t j = i;
        for (; j > 0 && items->data[j - 1].words < item.words; j--)
            items->data[j] = items->data[j - 1];
        items->data[j] = item;
    }
}

/* Index of the first item that finds no room; items->count if all do. */
static size_t fit_all(struct bf_map *map, const struct items *items) {
    for (size_t i = 0; i < items->count; i++) {
        *items->data[i].address = first_fit(items, i, map->machine.lanes);
        if (*items->data[i].address + items->data[i].words > map->machine.spm_words)
            return i;
    }
    return items->count;
}

/* In order of time, which leaves gaps; then by size, which leaves fewer. */
static bool place_scratchpad(struct bf_map *map, struct bf_diags *diags) {
    struct items items = collect(map);
    sort_by_first(&items);
    bool ok = fit_all(map, &items) == items.count;
    if (!ok) {
        sort_by_size(&items);
        ok = fit_all(map, &items) == items.count;
    }
    if (!ok) {
        sort_by_first(&items);
        no_room(map, &items, fit_all(map, &items), diags);
    }
    free(items.data);
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
