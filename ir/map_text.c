/* map_text.c - the text of a map: the poly, then places, plans and recipes, then the program. */
#include <inttypes.h>
#include <stdlib.h>

#include "ir/asm.h"
#include "ir/map.h"

/* In the order of enum bf_where. */
static const char *const where_words[] = {"lane", "tile", "pe", "local"};

/* ---- printing ---- */

static void print_places(const struct bf_map *map, struct bf_text *text) {
    bf_text_printf(text, "constants zeros=%" PRId64 " ones=%" PRId64 "\n", map->zero_spm,
                   map->one_spm);
    for (size_t b = 0; map->places && b < map->poly->buffers.count; b++) {
        const struct bf_place_of_buffer *place = &map->places[b];
        bf_text_add(text, "place ");
        bf_text_add_quoted(text, map->poly->buffers.data[b]->name);
        bf_text_printf(text,
                       " spm=%" PRId64 " width=%" PRId64 " pitch=%" PRId64 " height=%" PRId64
                       " first=%d last=%d\n",
                       place->spm, place->width, place->pitch, place->height, place->first,
                       place->last);
    }
}

static void print_layout(const struct bf_plan *plan, const struct bf_layout *layout,
                         struct bf_text *text) {
    bf_text_printf(text, "  layout %d %d", layout->first, layout->last);
    for (size_t d = 0; d < layout->digits.count; d++) {
        const struct bf_layout_digit *at = &layout->digits.data[d];
        bf_text_printf(text, " %s %s %" PRId64, plan->kernel->digits.data[at->digit].name,
                       where_words[at->where], at->position);
    }
    bf_text_add(text, "\n");
}

static void print_plan(const struct bf_plan *plan, struct bf_text *text) {
    bf_text_printf(text,
                   "plan %s kernel=%u part=%d first=%d last=%d window=%" PRId64 " base=%" PRId64
                   " context=%" PRId64 " recipe=%d weights=%" PRId64 " code=%d launch=%d\n",
                   plan->name, plan->kernel->index, plan->part, plan->first, plan->last,
                   plan->window, plan->context_base, plan->context_size, plan->recipe,
                   plan->weight_spm, plan->code, plan->launch);
    for (size_t i = 0; i < plan->inputs.count; i++)
        bf_operand_print(&plan->inputs.data[i], "in", text);
    for (size_t i = 0; i < plan->outputs.count; i++)
        bf_operand_print(&plan->outputs.data[i], "out", text);
    bf_ints_print(&plan->ints, "numbers", text);
    for (size_t i = 0; i < plan->layouts.count; i++)
        print_layout(plan, &plan->layouts.data[i], text);
    for (size_t i = 0; i < plan->regions.count; i++) {
        const struct bf_region *region = &plan->regions.data[i];
        bf_text_add(text, "  region ");
        bf_text_add_quoted(text, region->name);
        bf_text_printf(text, " at=%" PRId64 " words=%" PRId64 " relative=%d\n", region->base,
                       region->words, region->relative);
    }
    for (size_t i = 0; i < plan->notes.count; i++) {
        const struct bf_block_note *note = &plan->notes.data[i];
        bf_text_printf(text, "  does block=%d stmt=%d layout=%d ", note->id, note->stmt,
                       note->layout);
        bf_text_add_quoted(text, note->from);
        bf_text_add(text, " ");
        bf_text_add_quoted(text, note->to);
        bf_text_add(text, "\n");
    }
}

static void print_recipe(const struct bf_recipe *recipe, struct bf_text *text) {
    bf_text_printf(
        text,
        "recipe %s plan=%d sets=%" PRId64 " pes=%" PRId64 " words=%" PRId64 " at=%" PRIu64 " ",
        recipe->kind, recipe->plan, recipe->sets, recipe->pes, recipe->words, recipe->rodata);
    bf_text_add_quoted(text, recipe->name);
    if (recipe->plan < 0) {
        bf_text_add(text, " ");
        bf_view_print(&recipe->view, text);
    }
    bf_text_add(text, "\n");
}

void bf_map_print(const struct bf_map *map, struct bf_text *text) {
    bf_header_print(&map->poly->header, "map", text);
    bf_poly_print_body(map->poly, text);
    if (*map->after)
        bf_text_printf(text, "after %s\n", map->after);
    print_places(map, text);
    for (size_t p = 0; p < map->plans.count; p++)
        print_plan(map->plans.data[p], text);
    for (size_t r = 0; r < map->recipes.count; r++)
        print_recipe(&map->recipes.data[r], text);
    bf_text_printf(text, "program rodata=%" PRIu64 " dram=%" PRIu64 "\n", map->program->rodata_size,
                   map->program->dram_size);
    bf_asm_print_body(map->program, text);
}

/* ---- reading ---- */

static bool int_field(struct bf_reader *r, const char *name, int *value) {
    int64_t wide;
    if (!bf_reader_field(r, name, &wide))
        return false;
    if (wide < INT32_MIN || wide > INT32_MAX)
        return bf_reader_error(r, "%s is out of range", name);
    *value = (int)wide;
    return true;
}

static bool index_field(struct bf_reader *r, const char *name, int64_t low, size_t count,
                        int *value) {
    if (!int_field(r, name, value))
        return false;
    return (*value >= low && *value < (int64_t)count) ||
           bf_reader_error(r, "%s is out of range", name);
}

static bool parse_place(struct bf_reader *r, struct bf_map *map) {
    const char *name = bf_reader_string(r);
    struct bf_buffer *buffer = name ? bf_poly_find_buffer(map->poly, name) : NULL;
    if (!buffer)
        return bf_reader_error(r, "there is no such buffer");
    if (!map->places)
        map->places = bf_alloc(map->poly->buffers.count * sizeof *map->places);
    struct bf_place_of_buffer *place = &map->places[buffer->index];
    return bf_reader_field(r, "spm", &place->spm) && bf_reader_field(r, "width", &place->width) &&
           bf_reader_field(r, "pitch", &place->pitch) &&
           bf_reader_field(r, "height", &place->height) && int_field(r, "first", &place->first) &&
           int_field(r, "last", &place->last);
}

static bool parse_plan(struct bf_reader *r, struct bf_map *map) {
    const char *name = bf_reader_word(r, ".", "a plan");
    int kernel = 0, part = 0;
    if (!name || !index_field(r, "kernel", 0, map->poly->kernels.count, &kernel) ||
        !int_field(r, "part", &part))
        return false;
    struct bf_plan *plan = bf_map_add_plan(map, map->poly->kernels.data[kernel], part);
    size_t stmts = plan->kernel->stmts.count;
    plan->name = name;
    return index_field(r, "first", 0, stmts + 1, &plan->first) &&
           index_field(r, "last", -1, stmts, &plan->last) &&
           bf_reader_field(r, "window", &plan->window) &&
           bf_reader_field(r, "base", &plan->context_base) &&
           bf_reader_field(r, "context", &plan->context_size) &&
           int_field(r, "recipe", &plan->recipe) &&
           bf_reader_field(r, "weights", &plan->weight_spm) && int_field(r, "code", &plan->code) &&
           int_field(r, "launch", &plan->launch);
}

static bool parse_layout(struct bf_reader *r, struct bf_plan *plan) {
    struct bf_layout layout = {0};
    int64_t first = 0, last = 0;
    if (!bf_reader_int(r, &first) || !bf_reader_int(r, &last))
        return false;
    layout.first = (int)first;
    layout.last = (int)last;
    bool ok = true;
    while (ok && !bf_reader_at_line_end(r)) {
        const char *digit = bf_reader_word(r, "", "a digit");
        const char *where = digit ? bf_reader_word(r, "", "lane, tile, pe or local") : NULL;
        struct bf_layout_digit at = {.digit = -1};
        for (size_t d = 0; where && d < plan->kernel->digits.count; d++)
            if (!strcmp(plan->kernel->digits.data[d].name, digit))
                at.digit = (int)d;
        int word = 0;
        while (where && word < 4 && strcmp(where_words[word], where))
            word++;
        ok = where && bf_reader_int(r, &at.position);
        if (ok &&
            (at.digit < 0 || word == 4 || at.position < 0 ||
             (word == BF_AT_LOCAL && at.position == 0) || (word == BF_AT_PE && at.position > 5)))
            ok = bf_reader_error(r, "this is no place of a digit");
        at.where = (enum bf_where)word;
        *bf_push(&layout.digits) = at;
    }
    *bf_push(&plan->layouts) = layout;
    return ok;
}

static bool parse_region(struct bf_reader *r, struct bf_map *map, struct bf_plan *plan) {
    const char *name = bf_reader_string(r);
    int64_t base = 0, words = 0, relative = 0;
    if (!name || !bf_reader_field(r, "at", &base) || !bf_reader_field(r, "words", &words) ||
        !bf_reader_field(r, "relative", &relative))
        return false;
    bf_plan_add_region(map, plan, name, base, words, relative != 0);
    return true;
}

static bool parse_note(struct bf_reader *r, struct bf_plan *plan) {
    struct bf_block_note note;
    if (!index_field(r, "block", 0, BF_BLOCKS, &note.id) ||
        !index_field(r, "stmt", -1, plan->kernel->stmts.count, &note.stmt) ||
        !int_field(r, "layout", &note.layout) || !(note.from = bf_reader_string(r)) ||
        !(note.to = bf_reader_string(r)))
        return false;
    *bf_push(&plan->notes) = note;
    return true;
}

static bool parse_recipe(struct bf_reader *r, struct bf_map *map) {
    struct bf_recipe recipe = {.index = (unsigned)map->recipes.count};
    int64_t at = 0;
    recipe.kind = bf_reader_word(r, "", "a recipe");
    if (!recipe.kind || !index_field(r, "plan", -1, map->plans.count, &recipe.plan) ||
        !bf_reader_field(r, "sets", &recipe.sets) || !bf_reader_field(r, "pes", &recipe.pes) ||
        !bf_reader_field(r, "words", &recipe.words) || !bf_reader_field(r, "at", &at) ||
        !(recipe.name = bf_reader_string(r)))
        return false;
    recipe.rodata = (uint64_t)at;
    if (recipe.plan < 0 && !bf_view_parse(r, map->poly, &recipe.view))
        return false;
    if (recipe.sets < 1 || recipe.pes < 1 || recipe.words < 1 || at < 0 || recipe.sets > 1 << 20 ||
        recipe.pes > BF_MAX_PES || recipe.words > 1 << 24)
        return bf_reader_error(r, "the sizes of this recipe are out of range");
    *bf_push(&map->recipes) = recipe;
    return true;
}

/* A line between the poly and the program; *known says whether it was one. */
static bool parse_line(struct bf_reader *r, struct bf_map *map, bool *known) {
    struct bf_plan *plan = map->plans.count ? map->plans.data[map->plans.count - 1] : NULL;
    struct bf_operand operand;
    *known = true;
    if (bf_reader_accept(r, "after"))
        return (map->after = bf_reader_word(r, "", "a pass")) != NULL;
    if (bf_reader_accept(r, "constants"))
        return bf_reader_field(r, "zeros", &map->zero_spm) &&
               bf_reader_field(r, "ones", &map->one_spm);
    if (bf_reader_accept(r, "place"))
        return parse_place(r, map);
    if (bf_reader_accept(r, "plan"))
        return parse_plan(r, map);
    if (bf_reader_accept(r, "recipe"))
        return parse_recipe(r, map);
    if (plan && bf_reader_accept(r, "numbers"))
        return bf_ints_parse(r, &plan->ints);
    if (plan && bf_reader_accept(r, "layout"))
        return parse_layout(r, plan);
    if (plan && bf_reader_accept(r, "region"))
        return parse_region(r, map, plan);
    if (plan && bf_reader_accept(r, "does"))
        return parse_note(r, plan);
    if (plan && bf_reader_accept(r, "in")) {
        if (!bf_operand_parse(r, map->poly, &operand))
            return false;
        *bf_push(&plan->inputs) = operand;
        return true;
    }
    if (plan && bf_reader_accept(r, "out")) {
        if (!bf_operand_parse(r, map->poly, &operand))
            return false;
        *bf_push(&plan->outputs) = operand;
        return true;
    }
    *known = false;
    return true;
}

/* From `place` on every recipe has its bytes of rodata. */
static bool recipes_fit(struct bf_reader *r, const struct bf_map *map) {
    if (map->zero_spm < 0)
        return true;
    for (size_t i = 0; i < map->recipes.count; i++) {
        const struct bf_recipe *recipe = &map->recipes.data[i];
        uint64_t size = (uint64_t)bf_recipe_words(recipe) * map->machine.lanes * 2;
        if (recipe->rodata > map->program->rodata_size ||
            size > map->program->rodata_size - recipe->rodata)
            return bf_reader_error(r, "recipe %zu leaves the program's rodata", i);
    }
    return true;
}

/* The rest of the text is the program. */
static bool parse_program(struct bf_reader *r, struct bf_map *map) {
    struct bf_program *program = map->program;
    int64_t rodata = 0, dram = 0;
    if (!bf_reader_expect(r, "program") || !bf_reader_field(r, "rodata", &rodata) ||
        !bf_reader_field(r, "dram", &dram) || !bf_reader_next_line(r))
        return false;
    if (rodata < 0 || rodata > dram || dram > 1 << 30)
        return bf_reader_error(r, "the sizes of the program are out of range");
    program->rodata_size = (uint64_t)rodata;
    program->dram_size = (uint64_t)dram;
    bf_program_set_header(program, map->poly->name, &map->poly->header);
    snprintf(program->machine.name, sizeof program->machine.name, "%s",
             map->poly->header.arch); /* the body has its numbers only */
    if (!bf_asm_parse_body(r->at, (size_t)(r->end - r->at), r->file, r->line, program, r->diags))
        return false;
    map->machine = program->machine;
    if (bf_machine_hash(&map->machine) != map->poly->header.arch_hash)
        return bf_diag_error(r->diags, (struct bf_loc){r->file, 1, 0},
                             "the machine of the map is not that of its first line");
    return recipes_fit(r, map);
}

struct bf_map *bf_map_parse(const char *text, size_t size, uint32_t file, struct bf_diags *diags) {
    struct bf_machine machine = bf_machine_default();
    struct bf_map *map = bf_map_create(bf_poly_create(""), &machine);
    struct bf_reader reader;
    bf_reader_init(&reader, text, size, file, diags, &map->poly->arena);
    bool known = true, ok = bf_header_parse(&reader, "map", &map->poly->header) &&
                            bf_poly_parse_body(&reader, map->poly) &&
                            bf_poly_verify(map->poly, diags);
    while (ok && known && !bf_reader_at_end(&reader)) {
        ok = parse_line(&reader, map, &known);
        if (ok && known)
            ok = bf_reader_next_line(&reader) || bf_reader_error(&reader, "the program is missing");
    }
    if (ok && parse_program(&reader, map) && bf_map_verify(map, diags))
        return map;
    bf_map_free(map);
    return NULL;
}
