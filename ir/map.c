#include "ir/map.h"

#include <stdlib.h>

struct bf_map *bf_map_create(struct bf_poly *poly, const struct bf_machine *machine) {
    struct bf_map *map = bf_alloc(sizeof *map);
    map->poly = poly;
    map->machine = *machine;
    map->zero_spm = map->one_spm = -1;
    map->program = bf_program_create();
    map->program->machine = *machine;
    map->after = "";
    bf_program_set_header(map->program, poly->name, &poly->header);
    return map;
}

static void free_plan(struct bf_plan *plan) {
    for (size_t i = 0; i < plan->layouts.count; i++)
        free(plan->layouts.data[i].digits.data);
    free(plan->layouts.data);
    free(plan->ints.data);
    free(plan->regions.data);
    free(plan->inputs.data);
    free(plan->outputs.data);
    free(plan->notes.data);
}

void bf_map_free(struct bf_map *map) {
    if (!map)
        return;
    for (size_t i = 0; i < map->plans.count; i++)
        free_plan(map->plans.data[i]);
    free(map->plans.data);
    free(map->recipes.data);
    free(map->places);
    bf_program_free(map->program);
    bf_arena_free(&map->arena);
    bf_poly_free(map->poly);
    free(map);
}

struct bf_plan *bf_map_add_plan(struct bf_map *map, struct bf_poly_kernel *kernel, int part) {
    struct bf_plan *plan = bf_arena_alloc(&map->arena, sizeof *plan);
    plan->kernel = kernel;
    plan->part = part;
    plan->name = part ? bf_arena_printf(&map->arena, "%s.%d", kernel->name, part)
                      : bf_arena_strdup(&map->arena, kernel->name);
    plan->last = (int)kernel->stmts.count - 1;
    plan->recipe = plan->code = plan->launch = -1;
    plan->weight_spm = -1;
    plan->index = (unsigned)map->plans.count;
    *bf_push(&map->plans) = plan;
    return plan;
}

static bool same_view(const struct bf_param_view *a, const struct bf_param_view *b) {
    bool same = a->param == b->param && a->rank == b->rank;
    for (unsigned i = 0; same && i < a->rank; i++)
        same = a->begin[i] == b->begin[i] && a->extent[i] == b->extent[i];
    return same;
}

static bool same_numbers(const struct bf_ints *a, const struct bf_ints *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = !strcmp(a->data[i].name, b->data[i].name) && a->data[i].value == b->data[i].value;
    return same;
}

static bool same_layouts(const struct bf_plan *a, const struct bf_plan *b) {
    if (a->layouts.count != b->layouts.count || a->first != b->first || a->last != b->last)
        return false;
    for (size_t i = 0; i < a->layouts.count; i++) {
        const struct bf_layout *x = &a->layouts.data[i], *y = &b->layouts.data[i];
        if (x->first != y->first || x->last != y->last || x->digits.count != y->digits.count)
            return false;
        for (size_t d = 0; d < x->digits.count; d++)
            if (x->digits.data[d].digit != y->digits.data[d].digit ||
                x->digits.data[d].where != y->digits.data[d].where ||
                x->digits.data[d].position != y->digits.data[d].position)
                return false;
    }
    return true;
}

bool bf_plan_same_numbers(const struct bf_plan *a, const struct bf_plan *b) {
    return same_numbers(&a->ints, &b->ints) && same_layouts(a, b);
}

bool bf_plan_same_weights(const struct bf_plan *a, const struct bf_plan *b) {
    bool same = bf_poly_same_shape(a->kernel, b->kernel) && bf_plan_same_numbers(a, b);
    for (size_t i = 0; same && i < a->kernel->params.count; i++)
        same = same_view(&a->kernel->params.data[i].view, &b->kernel->params.data[i].view);
    return same;
}

static const struct bf_recipe *find_recipe(const struct bf_map *map, const char *kind,
                                           const struct bf_plan *plan) {
    for (size_t i = 0; i < map->recipes.count; i++) {
        const struct bf_recipe *recipe = &map->recipes.data[i];
        if (recipe->plan >= 0 && !strcmp(recipe->kind, kind) &&
            bf_plan_same_weights(map->plans.data[recipe->plan], plan))
            return recipe;
    }
    return NULL;
}

int bf_map_add_recipe(struct bf_map *map, const char *kind, const struct bf_plan *plan,
                      int64_t sets, int64_t pes, int64_t words) {
    const struct bf_recipe *known = find_recipe(map, kind, plan);
    if (known && known->sets == sets && known->pes == pes && known->words == words)
        return (int)known->index;
    struct bf_recipe *recipe = bf_push(&map->recipes);
    memset(recipe, 0, sizeof *recipe);
    recipe->kind = bf_arena_strdup(&map->arena, kind);
    recipe->plan = (int)plan->index;
    recipe->name = plan->name;
    recipe->sets = sets;
    recipe->pes = pes;
    recipe->words = words;
    recipe->index = (unsigned)map->recipes.count - 1;
    return (int)recipe->index;
}

/* The parameter's name, with the part of it that the view is: "position.weight[16:16,0:64]". */
static const char *view_name(struct bf_map *map, const struct bf_param_view *view) {
    bool whole = true;
    for (unsigned a = 0; a < view->rank; a++)
        whole = whole && view->begin[a] == 0 && view->extent[a] == view->param->type.dims[a];
    if (whole)
        return view->param->name;
    struct bf_text text = {0};
    bf_text_add(&text, view->param->name);
    for (unsigned a = 0; a < view->rank; a++)
        bf_text_printf(&text, "%s%lld:%lld", a ? "," : "[", (long long)view->begin[a],
                       (long long)view->extent[a]);
    bf_text_add(&text, "]");
    const char *name = bf_arena_strdup(&map->arena, text.data);
    bf_text_free(&text);
    return name;
}

int bf_map_add_tensor(struct bf_map *map, const struct bf_param_view *view) {
    int64_t elements = 1;
    for (size_t i = 0; i < map->recipes.count; i++)
        if (map->recipes.data[i].plan < 0 && same_view(&map->recipes.data[i].view, view))
            return (int)i;
    for (unsigned a = 0; a < view->rank; a++)
        elements *= view->extent[a];
    struct bf_recipe *recipe = bf_push(&map->recipes);
    memset(recipe, 0, sizeof *recipe);
    recipe->kind = "tensor";
    recipe->plan = -1;
    recipe->name = view_name(map, view);
    recipe->view = *view;
    recipe->sets = recipe->pes = 1;
    recipe->words = (int64_t)bf_divide_up((uint64_t)elements, map->machine.lanes);
    recipe->index = (unsigned)map->recipes.count - 1;
    return (int)recipe->index;
}

int64_t bf_recipe_words(const struct bf_recipe *recipe) {
    return recipe->sets * recipe->pes * recipe->words;
}

int64_t bf_plan_int(const struct bf_plan *plan, const char *name) {
    return bf_ints_get(&plan->ints, name);
}

void bf_plan_set(struct bf_map *map, struct bf_plan *plan, const char *name, int64_t value) {
    bf_ints_set(&plan->ints, &map->arena, name, value);
}

const struct bf_region *bf_plan_region(const struct bf_plan *plan, const char *name) {
    for (size_t i = 0; i < plan->regions.count; i++)
        if (!strcmp(plan->regions.data[i].name, name))
            return &plan->regions.data[i];
    return NULL;
}

void bf_plan_add_region(struct bf_map *map, struct bf_plan *plan, const char *name, int64_t base,
                        int64_t words, bool relative) {
    *bf_push(&plan->regions) =
        (struct bf_region){bf_arena_strdup(&map->arena, name), base, words, relative};
}

int64_t bf_map_column_word(const struct bf_map *map, const struct bf_operand *operand,
                           int64_t sample, int64_t row, int64_t column) {
    const struct bf_place_of_buffer *place = &map->places[operand->buffer->index];
    int64_t v = map->machine.lanes, r = sample * place->pitch + operand->row + row;
    return place->spm + r / v * place->width + operand->col + column;
}

int64_t bf_map_row_word(const struct bf_map *map, const struct bf_operand *operand, int64_t sample,
                        int64_t row, int64_t column) {
    const struct bf_place_of_buffer *place = &map->places[operand->buffer->index];
    int64_t v = map->machine.lanes, r = sample * place->pitch + operand->row + row;
    int64_t c = operand->col + column;
    return place->spm + r / v * place->width + c / v * v + r % v;
}

void bf_program_set_header(struct bf_program *program, const char *name,
                           const struct bf_header *header) {
    free(program->network);
    for (size_t i = 0; i < program->file_count; i++)
        free(program->files[i]);
    free(program->files);
    program->network = bf_strdup(name);
    program->batch = (uint32_t)header->batch;
    program->optimize = (uint8_t)header->opt;
    program->resident = header->resident;
    program->weights_hash = header->bound ? header->weights_hash : 0;
    program->file_count = header->file_count;
    program->files = bf_alloc(header->file_count * sizeof *program->files);
    for (size_t i = 0; i < header->file_count; i++)
        program->files[i] = bf_strdup(header->files[i]);
}
