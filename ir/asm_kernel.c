/* asm_kernel.c - reading .kernel, .code, .body, instructions and .block. */
#include "ir/asm_read.h"

#include <stdlib.h>

/* ---- the end of things: growing arrays become those of the program ---- */

/* Trims to size, so that AddressSanitizer sees a read behind the end. */
static void *finished(void *data, size_t count, size_t element) {
    return count ? bf_resize(data, count * element) : data;
}

void bf_asm_end_segment(struct bf_asm *a) {
    if (a->mode != BF_IN_CODE)
        return;
    struct bf_segment *segment = &a->segments.data[a->segments.count - 1];
    segment->words = finished(a->words.data, a->words.count, sizeof *a->words.data);
    segment->count = (uint16_t)a->words.count;
    memset(&a->words, 0, sizeof a->words);
    unsigned end = segment->start + segment->count;
    for (size_t i = a->labels.count; i-- > a->first_label;) {
        bool last = i + 1 == a->labels.count;
        const struct bf_asm_label *next = last ? NULL : &a->labels.data[i + 1];
        struct bf_asm_label *label = &a->labels.data[i];
        label->end = last ? end : next->start > label->start ? next->start : next->end;
    }
    a->mode = BF_IN_TOP;
}

static const struct bf_asm_label *find_label(const struct bf_asm *a, const char *name) {
    for (size_t i = 0; i < a->labels.count; i++)
        if (!strcmp(a->labels.data[i].name, name))
            return &a->labels.data[i];
    return NULL;
}

static void resolve_bodies(struct bf_asm *a) {
    for (size_t i = 0; i < a->body_uses.count; i++) {
        const struct bf_asm_body_use *use = &a->body_uses.data[i];
        struct bf_descriptor *d = &a->blocks.data[use->block].d;
        const struct bf_asm_label *label = find_label(a, use->name);
        if (!label) {
            bf_diag_error(a->diags, use->loc, "there is no .body %s in this kernel", use->name);
            continue;
        }
        unsigned length = label->end - label->start;
        d->cal.start = (uint8_t)label->start;
        if (d->cal.length && label->start < 256)
            continue;
        if (length < 1 || length > BF_MAX_BODY)
            bf_diag_error(a->diags, use->loc, "body %s has %u words; a block runs 1 .. %d",
                          use->name, length, BF_MAX_BODY);
        else
            d->cal.length = (uint8_t)length;
    }
    a->body_uses.count = 0;
}

void bf_asm_end_kernel(struct bf_asm *a) {
    bf_asm_end_segment(a);
    if (!a->open)
        return;
    a->open = false;
    resolve_bodies(a);
    struct bf_kernel *kernel = &a->kernels.data[a->kernels.count - 1];
    kernel->segments = finished(a->segments.data, a->segments.count, sizeof *a->segments.data);
    kernel->segment_count = a->segments.count;
    kernel->blocks = finished(a->blocks.data, a->blocks.count, sizeof *a->blocks.data);
    kernel->block_count = a->blocks.count;
    memset(&a->segments, 0, sizeof a->segments);
    memset(&a->blocks, 0, sizeof a->blocks);
    a->labels.count = 0;
}

/* ---- statements ---- */

static bool in_kernel(struct bf_asm *a, const char *what) {
    return a->open || bf_asm_error(a, a->line_start, "%s belongs behind a .kernel", what);
}

bool bf_asm_kernel(struct bf_asm *a) {
    bf_asm_end_kernel(a);
    bf_asm_add_part(a, BF_PART_KERNEL, a->kernels.count, 0, 0);
    struct bf_kernel *kernel = bf_push(&a->kernels);
    *kernel = (struct bf_kernel){0};
    a->open = true; /* even if the rest is wrong: what follows belongs to it */
    const char *name = bf_asm_name(a, "the name of the kernel"), *what = "";
    kernel->name = bf_strdup(name ? name : "");
    bf_asm_blanks(a);
    if (a->at < a->end && *a->at == '"')
        what = bf_asm_string(a);
    kernel->what = bf_strdup(what ? what : "");
    return name && what && (!bf_asm_accept(a, "loc(") || bf_asm_place(a, &kernel->place));
}

bool bf_asm_code(struct bf_asm *a) {
    bf_asm_end_segment(a);
    if (!in_kernel(a, ".code"))
        return false;
    struct bf_segment segment = {0};
    int64_t start = 0;
    if (a->segments.count) {
        const struct bf_segment *before = &a->segments.data[a->segments.count - 1];
        start = before->start + before->count;
    }
    unsigned pes = bf_machine_pes(&a->program->machine);
    segment.pes = pes == 64 ? UINT64_MAX : (UINT64_C(1) << pes) - 1;
    bool good = true;
    while (good && !bf_asm_line_end(a)) {
        const char *from = a->at, *key = bf_asm_key(a);
        if (key && !strcmp(key, "pes"))
            good = bf_asm_pes(a, &segment.pes);
        else if (key && !strcmp(key, "start"))
            good = bf_asm_number(a, "a CAL word", 0, a->program->machine.code_words - 1, &start);
        else
            good = key &&
                   bf_asm_error(a, from, "unknown attribute '%s'; .code has pes and start", key);
    }
    segment.start = (uint16_t)start;
    bf_asm_add_part(a, BF_PART_SEGMENT, a->kernels.count - 1, a->segments.count, 0);
    *bf_push(&a->segments) = segment;
    a->first_label = a->labels.count;
    a->mode = BF_IN_CODE; /* also after an error: what follows is code */
    return good;
}

static unsigned next_word(const struct bf_asm *a) {
    return a->segments.data[a->segments.count - 1].start + (unsigned)a->words.count;
}

bool bf_asm_body(struct bf_asm *a) {
    if (a->mode != BF_IN_CODE)
        return bf_asm_error(a, a->line_start, ".body belongs behind a .code");
    bf_asm_blanks(a);
    const char *from = a->at, *name = bf_asm_name(a, "the name of the body");
    if (!name)
        return false;
    const struct bf_asm_label *label = find_label(a, name);
    if (label && label->start != next_word(a))
        return bf_asm_error(a, from, "there is a .body %s already, at word %u", name, label->start);
    *bf_push(&a->labels) = (struct bf_asm_label){name, next_word(a), 0};
    return true;
}

bool bf_asm_instruction(struct bf_asm *a) {
    uint64_t word;
    if (!bf_asm_cal(a, &word))
        return false;
    if (next_word(a) >= a->program->machine.code_words)
        return bf_asm_error(a, a->line_start, "the code store has %u words",
                            a->program->machine.code_words);
    bf_asm_add_part(a, BF_PART_WORD, a->kernels.count - 1, a->segments.count - 1, a->words.count);
    *bf_push(&a->words) = word;
    return true;
}

/* ---- blocks ---- */

/* A stride attribute, kept until the line, and with it the trips, is complete. */
struct stride {
    const struct bf_asm_field *field;
    int64_t steps[BF_LEVELS];
};
struct block_line {
    struct bf_block block;
    unsigned unit;
    struct stride strides[BF_CLASSES + 3];
    unsigned stride_count;
    int64_t iterations[BF_LEVELS];
    bool body;
};

/* "stride0" is "delta0", "ram_stride" is "ram_delta"; NULL if the key is no stride. */
static const struct bf_asm_field *find_stride(struct bf_asm *a, unsigned unit, const char *key) {
    const char *at = strstr(key, "stride");
    if (!at)
        return NULL;
    const char *delta = bf_arena_printf(&a->arena, "%.*sdelta%s", (int)(at - key), key, at + 6);
    const struct bf_asm_field *field = bf_asm_field_find(bf_asm_block_fields, unit, delta);
    return field && field->kind == BF_FIELD_MODULO && field->count == BF_LEVELS ? field : NULL;
}

static bool read_three(struct bf_asm *a, const char *what, int64_t low, int64_t values[3]) {
    unsigned count = 0;
    do {
        if (count == BF_LEVELS)
            return bf_asm_error(a, a->at, "there are %d levels", BF_LEVELS);
        if (!bf_asm_number(a, what, low, 1 << 20, &values[count++]))
            return false;
    } while (bf_asm_accept(a, ","));
    return true;
}

static bool read_stride(struct bf_asm *a, struct block_line *line, const struct bf_asm_field *field,
                        const char *from) {
    if (line->stride_count == sizeof line->strides / sizeof *line->strides)
        return bf_asm_error(a, from, "too many strides");
    struct stride *stride = &line->strides[line->stride_count++];
    *stride = (struct stride){.field = field};
    return read_three(a, "a stride", -(1 << 20), stride->steps);
}

/* What is added when level l advances: its step, less the way of the levels below. */
static void set_strides(struct block_line *line) {
    for (unsigned i = 0; i < line->stride_count; i++) {
        const struct stride *stride = &line->strides[i];
        bool launch = !strcmp(stride->field->key, "iteration_delta");
        int64_t travel = 0;
        for (unsigned l = 0; l < BF_LEVELS; l++) {
            int64_t trips = launch ? line->iterations[l] : line->block.d.trips[l];
            int64_t delta = trips > 1 ? stride->steps[l] - travel : 0;
            bf_asm_field_set(stride->field, &line->block, l, delta);
            travel += (trips - 1) * stride->steps[l];
        }
    }
}

static bool read_body(struct bf_asm *a, struct block_line *line) {
    bf_asm_blanks(a);
    struct bf_loc loc = bf_asm_loc(a, a->at);
    const char *name = bf_asm_name(a, "the name of a .body");
    if (!name)
        return false;
    line->body = true;
    *bf_push(&a->body_uses) = (struct bf_asm_body_use){a->blocks.count, name, loc};
    return true;
}

static bool read_name(struct bf_asm *a, struct block_line *line) {
    const char *name = bf_asm_string(a);
    if (!name)
        return false;
    free(line->block.name);
    line->block.name = bf_strdup(name);
    return true;
}

static bool read_start(struct bf_asm *a, struct block_line *line) {
    int64_t start;
    if (!bf_asm_number(a, "a CAL word", 0, 255, &start))
        return false;
    line->block.d.cal.start = (uint8_t)start;
    line->body = true;
    return true;
}

static bool read_attribute(struct bf_asm *a, struct block_line *line) {
    const char *from = a->at;
    if (bf_asm_accept(a, "loc("))
        return bf_asm_place(a, &line->block.place);
    const char *key = bf_asm_key(a);
    if (!key)
        return false;
    const struct bf_asm_field *field = bf_asm_field_find(bf_asm_block_fields, line->unit, key);
    if (field)
        return bf_asm_field_read(a, field, &line->block);
    if ((field = find_stride(a, line->unit, key)))
        return read_stride(a, line, field, from);
    if (!strcmp(key, "iterations"))
        return read_three(a, "a trip count", 1, line->iterations);
    if (!strcmp(key, "name"))
        return read_name(a, line);
    if (line->unit == BF_UNIT_CAL && !strcmp(key, "body"))
        return read_body(a, line);
    if (line->unit == BF_UNIT_CAL && !strcmp(key, "start"))
        return read_start(a, line);
    return bf_asm_unknown_key(a, from, key, bf_asm_block_fields, line->unit);
}

static bool read_block(struct bf_asm *a, struct block_line *line) {
    const char *from = a->at;
    if (!bf_asm_block_id(a, false, &line->block.id))
        return false;
    line->unit = bf_block_unit(line->block.id);
    line->block.d.unit = (uint8_t)line->unit;
    for (int i = 0; i < BF_LEVELS; i++)
        line->iterations[i] = 1;
    for (unsigned unit = 0; unit < 4; unit++)
        bf_asm_fields_init(bf_asm_block_fields, unit, &line->block);
    while (!bf_asm_line_end(a))
        if (!read_attribute(a, line))
            return false;
    if (line->unit == BF_UNIT_CAL && !line->body)
        return bf_asm_error(a, from, "the block has no body");
    return true;
}

bool bf_asm_block(struct bf_asm *a) {
    bf_asm_end_segment(a);
    if (!in_kernel(a, ".block"))
        return false;
    struct block_line line = {.block.name = bf_strdup("")};
    size_t uses = a->body_uses.count;
    bf_asm_blanks(a);
    if (!read_block(a, &line)) {
        free(line.block.name);
        a->body_uses.count = uses;
        return false;
    }
    set_strides(&line);
    if (!line.block.pes)
        line.block.pes = bf_machine_pes(&a->program->machine) == 64
                             ? UINT64_MAX
                             : (UINT64_C(1) << bf_machine_pes(&a->program->machine)) - 1;
    bf_asm_add_part(a, BF_PART_BLOCK, a->kernels.count - 1, a->blocks.count, 0);
    *bf_push(&a->blocks) = line.block;
    return true;
}
