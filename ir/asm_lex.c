/* asm_lex.c - words, numbers and attributes of assembly text, with messages at their place. */
#include "ir/asm_read.h"

#include "ir/isa/fp.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- places and messages ---- */

struct bf_loc bf_asm_loc(const struct bf_asm *a, const char *at) {
    return (struct bf_loc){a->file, a->line, (uint32_t)(at - a->line_start) + 1};
}

bool bf_asm_error(struct bf_asm *a, const char *from, const char *format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    unsigned length = a->at > from ? (unsigned)(a->at - from) : 0;
    bf_diag(a->diags, BF_ERROR, bf_asm_loc(a, from), length, 0, "%s", message);
    return false;
}

void bf_asm_add_part(struct bf_asm *a, enum bf_part_kind kind, size_t index, size_t item,
                     size_t word) {
    const char *at = a->line_start;
    while (at < a->at && (*at == ' ' || *at == '\t'))
        at++;
    *bf_push(&a->parts) = (struct bf_asm_part){{kind, index, item, word}, bf_asm_loc(a, at)};
}

/* ---- words ---- */

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_inside(char c) {
    return is_letter(c) || is_digit(c) || c == '.' || c == '-';
}

void bf_asm_blanks(struct bf_asm *a) {
    while (a->at < a->end && (*a->at == ' ' || *a->at == '\t' || *a->at == '\r'))
        a->at++;
}

bool bf_asm_line_end(struct bf_asm *a) {
    bf_asm_blanks(a);
    return a->at >= a->end || *a->at == '\n' || *a->at == ';' || *a->at == '#';
}

bool bf_asm_accept(struct bf_asm *a, const char *token) {
    bf_asm_blanks(a);
    size_t length = strlen(token), left = (size_t)(a->end - a->at);
    if (left < length || memcmp(a->at, token, length))
        return false;
    if (is_letter(token[length - 1]) && left > length && is_inside(a->at[length]))
        return false;
    a->at += length;
    return true;
}

bool bf_asm_expect(struct bf_asm *a, const char *token) {
    return bf_asm_accept(a, token) || bf_asm_error(a, a->at, "expected '%s'", token);
}

static const char *copy(struct bf_asm *a, const char *from, size_t length) {
    char *word = bf_arena_alloc(&a->arena, length + 1);
    memcpy(word, from, length);
    return word;
}

const char *bf_asm_word(struct bf_asm *a) {
    bf_asm_blanks(a);
    const char *from = a->at;
    while (a->at < a->end && is_inside(*a->at))
        a->at++;
    return a->at > from ? copy(a, from, (size_t)(a->at - from)) : NULL;
}

static int hex_value(char c) {
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The byte an escape stands for, -1 if it is none; `at` is behind the backslash. */
static int escape(struct bf_asm *a) {
    size_t left = (size_t)(a->end - a->at);
    if (left && (*a->at == '"' || *a->at == '\\'))
        return *a->at++;
    if (left < 3 || *a->at != 'x' || hex_value(a->at[1]) < 0 || hex_value(a->at[2]) < 0)
        return -1;
    int byte = hex_value(a->at[1]) * 16 + hex_value(a->at[2]);
    a->at += 3;
    return byte ? byte : -1;
}

const char *bf_asm_string(struct bf_asm *a) {
    bf_asm_blanks(a);
    const char *from = a->at;
    struct bf_text text = {0};
    const char *problem = "expected a string in quotes";
    if (bf_asm_accept(a, "\"")) {
        problem = "the string does not end";
        while (a->at < a->end && *a->at != '\n' && *a->at) {
            int byte = (unsigned char)*a->at++;
            if (byte == '"') {
                problem = NULL;
                break;
            }
            if (byte == '\\' && (byte = escape(a)) < 0) {
                problem = "unknown escape: there are \\\", \\\\ and \\xHH, not 00";
                break;
            }
            char c = (char)byte;
            bf_text_add_bytes(&text, &c, 1);
        }
    }
    const char *result = problem ? NULL : copy(a, text.data ? text.data : "", text.length);
    bf_text_free(&text);
    if (problem)
        bf_asm_error(a, from, "%s", problem);
    return result;
}

const char *bf_asm_name(struct bf_asm *a, const char *what) {
    bf_asm_blanks(a);
    if (a->at < a->end && *a->at == '"')
        return bf_asm_string(a);
    if (a->at < a->end && is_letter(*a->at))
        return bf_asm_word(a);
    bf_asm_error(a, a->at, "expected %s", what);
    return NULL;
}

/* ---- numbers ---- */

bool bf_asm_at_number(const struct bf_asm *a) {
    const char *at = a->at;
    if (at < a->end && *at == '-')
        at++;
    return at < a->end && is_digit(*at);
}

bool bf_asm_number(struct bf_asm *a, const char *what, int64_t low, int64_t high, int64_t *value) {
    bf_asm_blanks(a);
    const char *from = a->at;
    if (!bf_asm_at_number(a))
        return bf_asm_error(a, from, "expected a number for %s", what);
    bool negative = *a->at == '-';
    a->at += negative;
    unsigned base = a->end - a->at > 2 && a->at[0] == '0' && a->at[1] == 'x' ? 16 : 10;
    a->at += base == 16 ? 2 : 0;
    uint64_t magnitude = 0;
    bool huge = false, any = false;
    for (; a->at < a->end && hex_value(*a->at) >= 0 && hex_value(*a->at) < (int)base; a->at++) {
        huge = huge || magnitude > (UINT64_C(1) << 58);
        magnitude = huge ? 0 : magnitude * base + (unsigned)hex_value(*a->at);
        any = true;
    }
    if (!any || (a->at < a->end && is_letter(*a->at)))
        return bf_asm_error(a, from, "this is no number");
    *value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    if (huge || *value < low || *value > high)
        return bf_asm_error(a, from, "%s must be in %" PRId64 " .. %" PRId64, what, low, high);
    return true;
}

bool bf_asm_half(struct bf_asm *a, uint16_t *bits) {
    bf_asm_blanks(a);
    const char *from = a->at;
    int64_t value;
    if (a->end - from > 2 && from[0] == '0' && from[1] == 'x') {
        if (!bf_asm_number(a, "the bits of an fp16 number", 0, 65535, &value))
            return false;
        *bits = (uint16_t)value;
        return true;
    }
    char token[64] = "";
    size_t length = 0;
    while (a->at < a->end && (is_inside(*a->at) || *a->at == '+') && length < sizeof token - 1)
        token[length++] = *a->at++;
    char *stop;
    double number = strtod(token, &stop);
    if (!length || *stop)
        return bf_asm_error(a, from, "expected an fp16 number");
    *bits = bf_half_from_double(number);
    return true;
}

bool bf_asm_place(struct bf_asm *a, struct bf_place *place) {
    int64_t file, line, column;
    if (!bf_asm_number(a, "a file", 0, UINT32_MAX, &file) || !bf_asm_expect(a, ",") ||
        !bf_asm_number(a, "a line", 1, UINT32_MAX, &line) || !bf_asm_expect(a, ",") ||
        !bf_asm_number(a, "a column", 0, UINT32_MAX, &column) || !bf_asm_expect(a, ")"))
        return false;
    *place = (struct bf_place){(uint32_t)file, (uint32_t)line, (uint32_t)column};
    return true;
}

/* ---- values of attributes ---- */

bool bf_asm_block_id(struct bf_asm *a, bool none, uint8_t *id) {
    static const uint8_t first[] = {BF_FIRST_CAL, BF_FIRST_LOAD, BF_FIRST_FLOW, BF_FIRST_STORE,
                                    BF_BLOCKS};
    int64_t number;
    if (none && bf_asm_accept(a, "-")) {
        *id = BF_NO_BLOCK;
        return true;
    }
    bf_asm_blanks(a);
    if (bf_asm_at_number(a)) {
        if (!bf_asm_number(a, "a block id", 0, BF_BLOCKS - 1, &number))
            return false;
        *id = (uint8_t)number;
        return true;
    }
    for (unsigned unit = 0; unit < 4; unit++) {
        size_t length = strlen(bf_asm_unit_names[unit]);
        if ((size_t)(a->end - a->at) <= length || a->at[length] != '.' ||
            memcmp(a->at, bf_asm_unit_names[unit], length))
            continue;
        a->at += length + 1;
        if (!bf_asm_number(a, "the number of a block", 0, first[unit + 1] - first[unit] - 1,
                           &number))
            return false;
        *id = (uint8_t)(first[unit] + number);
        return true;
    }
    return bf_asm_error(a, a->at, "expected a block: cal.N, load.N, flow.N or store.N");
}

bool bf_asm_pes(struct bf_asm *a, uint64_t *pes) {
    unsigned count = bf_machine_pes(&a->program->machine);
    *pes = 0;
    if (bf_asm_accept(a, "all")) {
        *pes = count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
        return true;
    }
    do {
        int64_t first, last;
        if (!bf_asm_number(a, "a PE", 0, count - 1, &first))
            return false;
        last = first;
        if (bf_asm_accept(a, "-") && !bf_asm_number(a, "a PE", first, count - 1, &last))
            return false;
        for (int64_t pe = first; pe <= last; pe++)
            *pes |= UINT64_C(1) << pe;
    } while (bf_asm_accept(a, ","));
    return true;
}

static bool read_word(struct bf_asm *a, const struct bf_asm_field *field, int64_t *value) {
    const char *from = a->at, *word = bf_asm_word(a);
    for (int64_t i = 0; word && field->words[i]; i++)
        if (!strcmp(word, field->words[i])) {
            *value = i;
            return true;
        }
    struct bf_text choices = {0};
    for (int i = 0; field->words[i]; i++)
        bf_text_printf(&choices, "%s%s", i ? ", " : "", field->words[i]);
    bf_asm_error(a, from, "%s is one of %s", field->key, choices.data);
    bf_text_free(&choices);
    return false;
}

static bool read_element(struct bf_asm *a, const struct bf_asm_field *field, int64_t *value) {
    uint8_t id;
    uint16_t half;
    switch (field->kind) {
    case BF_FIELD_WORD:
        return read_word(a, field, value);
    case BF_FIELD_BLOCK:
        if (!bf_asm_block_id(a, true, &id))
            return false;
        *value = id;
        return true;
    case BF_FIELD_HALF:
        if (!bf_asm_half(a, &half))
            return false;
        *value = half;
        return true;
    case BF_FIELD_MODULO:
        return bf_asm_number(a, field->key, -(INT64_C(1) << (field->high - 1)),
                             (INT64_C(1) << field->high) - 1, value);
    default:
        return bf_asm_number(a, field->key, field->low, field->high, value);
    }
}

static bool read_phases(struct bf_asm *a, const struct bf_asm_field *field, void *record) {
    int64_t first, last;
    if (!bf_asm_number(a, field->key, 0, field->high, &first))
        return false;
    last = first;
    if (bf_asm_accept(a, "-") && !bf_asm_number(a, "the last phase", first, field->high, &last))
        return false;
    bf_asm_field_set(field, record, 0, first);
    bf_asm_field_set(field, record, 1, last);
    return true;
}

bool bf_asm_field_read(struct bf_asm *a, const struct bf_asm_field *field, void *record) {
    uint64_t mask = 0;
    int64_t value;
    if (field->kind == BF_FIELD_PHASES)
        return read_phases(a, field, record);
    if (field->kind == BF_FIELD_PES) {
        if (!bf_asm_pes(a, &mask))
            return false;
        bf_asm_field_set(field, record, 0, (int64_t)mask);
        return true;
    }
    unsigned count = 0, limit = field->kind == BF_FIELD_CLASSES ? BF_CLASSES : field->count;
    do {
        if (count == limit)
            return bf_asm_error(a, a->at, "%s has at most %u values", field->key, limit);
        if (!read_element(a, field, &value))
            return false;
        if (field->kind == BF_FIELD_CLASSES)
            mask |= UINT64_C(1) << value;
        else
            bf_asm_field_set(field, record, count, value);
        count++;
    } while (bf_asm_accept(a, ","));
    if (field->kind == BF_FIELD_CLASSES)
        bf_asm_field_set(field, record, 0, (int64_t)mask);
    return true;
}

const char *bf_asm_key(struct bf_asm *a) {
    bf_asm_blanks(a);
    const char *from = a->at, *key = bf_asm_word(a);
    if (key && bf_asm_accept(a, "="))
        return key;
    bf_asm_error(a, from, "expected an attribute, key=value");
    return NULL;
}

static void consider(const char *key, const char *other, size_t *nearest, const char **best) {
    size_t distance = bf_edit_distance(key, other, *nearest);
    if (distance < *nearest) {
        *nearest = distance;
        *best = other;
    }
}

bool bf_asm_unknown_key(struct bf_asm *a, const char *from, const char *key,
                        const struct bf_asm_field *fields, unsigned unit) {
    const char *best = NULL;
    size_t nearest = 3;
    bool block = fields == bf_asm_block_fields;
    consider(key, block ? "name" : "label", &nearest, &best);
    if (block && unit == BF_UNIT_CAL)
        consider(key, "body", &nearest, &best);
    for (; fields->key; fields++)
        if (fields->units >> unit & 1)
            consider(key, fields->key, &nearest, &best);
    if (best)
        return bf_asm_error(a, from, "unknown attribute '%s'; did you mean '%s'?", key, best);
    return bf_asm_error(a, from, "unknown attribute '%s'", key);
}
