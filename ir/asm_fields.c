/* asm_fields.c - the attributes of blocks, launches and DMA records, in the order in which they are
 * printed; one table for both directions. */
#include "ir/asm_read.h"

#include <inttypes.h>

const char *const bf_asm_unit_names[4] = {"cal", "load", "flow", "store"};
const char *const bf_asm_tensor_kinds[] = {"input", "output", "weight", "spill", NULL};
const char *const bf_asm_dtypes[] = {"f16", "f32", "i32", "u8", NULL};
const char *const bf_asm_dma_kinds[] = {"load", "store", "gather", "fill", NULL};
static const char *const lane_words[] = {"all", "first", "rest", NULL};
static const char *const mode_words[] = {"xor", "abs", NULL};

enum {
    CAL = 1 << BF_UNIT_CAL,
    LOAD = 1 << BF_UNIT_LOAD,
    FLOW = 1 << BF_UNIT_FLOW,
    STORE = 1 << BF_UNIT_STORE,
    MEM = LOAD | STORE,
    ALL = 15
};

#define AT(record, member) offsetof(struct record, member), sizeof(((struct record *)0)->member)
#define LIST(record, member, n)                                                                    \
    offsetof(struct record, member), sizeof(((struct record *)0)->member) / (n)
#define NUMBER(key, units, record, member, initial, low, high)                                     \
    {key, BF_FIELD_NUMBER, units, AT(record, member), 1, initial, low, high, NULL, false}
#define FLAG(key, units, record, member) NUMBER(key, units, record, member, 0, 0, 1)
#define DELTA(key, units, member, bits)                                                            \
    {key,  BF_FIELD_MODULO, units, LIST(bf_block, member, BF_LEVELS), BF_LEVELS, 0, 0, bits, NULL, \
     false}

const struct bf_asm_field bf_asm_block_fields[] = {
    {"pes", BF_FIELD_PES, ALL, AT(bf_block, pes), 1, 0, 0, 0, NULL, true},
    {"trips", BF_FIELD_NUMBER, ALL, LIST(bf_block, d.trips, BF_LEVELS), BF_LEVELS, 1, 1,
     BF_MAX_TRIPS, NULL, false},
    NUMBER("need", ALL, bf_block, d.need, 0, 0, BF_MAX_NEED),
    {"phases", BF_FIELD_PHASES, ALL, offsetof(struct bf_block, d.first), 1, 2, 0, 0, 255, NULL,
     false},
    {"to", BF_FIELD_BLOCK, ALL, LIST(bf_block, d.target, BF_TARGETS), BF_TARGETS, BF_NO_BLOCK, 0, 0,
     NULL, false},
    {"length", BF_FIELD_NUMBER, CAL, AT(bf_block, d.cal.length), 1, 0, 1, BF_MAX_BODY, NULL, true},
    {"relative", BF_FIELD_CLASSES, CAL, AT(bf_block, d.cal.relative), 1, 0, 0, BF_CLASSES - 1, NULL,
     false},
    FLAG("weights", CAL, bf_block, d.cal.uses_weights),
    DELTA("delta0", CAL, d.cal.delta[0], 11),
    DELTA("delta1", CAL, d.cal.delta[1], 11),
    DELTA("delta2", CAL, d.cal.delta[2], 11),
    DELTA("delta3", CAL, d.cal.delta[3], 11),
    NUMBER("swap", CAL, bf_block, d.cal.swap, 0, 0, 15),
    {"exponent", BF_FIELD_MODULO, CAL, AT(bf_block, d.cal.exponent), 1, 0, 0, 5, NULL, false},
    FLAG("chain", CAL, bf_block, d.cal.chain),
    FLAG("weights", LOAD, bf_block, d.mem.weights),
    FLAG("row", MEM, bf_block, d.mem.row),
    NUMBER("reverse", LOAD, bf_block, d.mem.reverse, 0, 0, 10),
    {"lanes", BF_FIELD_WORD, STORE, AT(bf_block, d.mem.reverse), 1, 0, 0, 0, lane_words, false},
    FLAG("relative", MEM, bf_block, d.mem.relative),
    NUMBER("ram", MEM, bf_block, d.mem.ram, 0, 0, 1023),
    DELTA("ram_delta", MEM, d.mem.ram_delta, 10),
    NUMBER("spm", MEM, bf_block, d.mem.spm, 0, 0, (1 << 18) - 1),
    DELTA("spm_delta", MEM, d.mem.spm_delta, 18),
    DELTA("iteration_delta", MEM, d.mem.iteration_delta, 18),
    NUMBER("base", MEM, bf_block, d.mem.base, 0, 0, BF_BASES - 1),
    FLAG("source_relative", FLOW, bf_block, d.flow.source_relative),
    NUMBER("source", FLOW, bf_block, d.flow.source, 0, 0, 1023),
    DELTA("source_delta", FLOW, d.flow.source_delta, 10),
    FLAG("destination_relative", FLOW, bf_block, d.flow.destination_relative),
    NUMBER("destination", FLOW, bf_block, d.flow.destination, 0, 0, 1023),
    DELTA("destination_delta", FLOW, d.flow.destination_delta, 10),
    {"mode", BF_FIELD_WORD, FLOW, AT(bf_block, d.flow.mode), 1, 0, 0, 0, mode_words, false},
    NUMBER("shift", FLOW, bf_block, d.flow.shift, 0, 0, 7),
    NUMBER("width", FLOW, bf_block, d.flow.width, 0, 0, 7),
    NUMBER("destination_shift", FLOW, bf_block, d.flow.destination_shift, 0, 0, 15),
    NUMBER("self_shift", FLOW, bf_block, d.flow.self_shift, 0, 0, 15),
    {"token", BF_FIELD_BLOCK, FLOW, AT(bf_block, d.flow.token), 1, BF_NO_BLOCK, 0, 0, NULL, false},
    {.key = NULL},
};

const struct bf_asm_field bf_asm_launch_fields[] = {
    NUMBER("bank", ALL, bf_launch, bank, 0, 0, 1),
    NUMBER("window", ALL, bf_launch, window, 1, 1, BF_MAX_WINDOW),
    FLAG("strict", ALL, bf_launch, strict),
    FLAG("one_weight_set", ALL, bf_launch, one_weight_set),
    /* context_base and context_size */
    {"context", BF_FIELD_NUMBER, ALL, AT(bf_launch, context_base), 2, 0, 0, 1024, NULL, false},
    NUMBER("period", ALL, bf_launch, period, 1, 1, BF_MAX_PERIOD),
    NUMBER("group_level", ALL, bf_launch, group_level, 0, 0, BF_LEVELS),
    {"trips", BF_FIELD_NUMBER, ALL, LIST(bf_launch, trips, BF_LEVELS), BF_LEVELS, 1, 1, 1 << 20,
     NULL, false},
    {"base", BF_FIELD_NUMBER, ALL, LIST(bf_launch, base, BF_BASES), BF_BASES, 0, 0, (1 << 18) - 1,
     NULL, false},
    {.key = NULL},
};

#define WIDE INT64_C(0x3fffffffffffffff)
const struct bf_asm_field bf_asm_dma_fields[] = {
    {"dram", BF_FIELD_ADDRESS, ALL, AT(bf_dma, dram), 1, 0, 0, WIDE, NULL, false},
    {"pitch", BF_FIELD_NUMBER, ALL, AT(bf_dma, pitch), 1, 0, -WIDE, WIDE, NULL, true},
    NUMBER("rows", ALL, bf_dma, rows, 1, 0, UINT32_MAX),
    NUMBER("cols", ALL, bf_dma, cols, 1, 0, UINT32_MAX),
    NUMBER("spm", ALL, bf_dma, spm, 0, 0, UINT32_MAX),
    NUMBER("width", ALL, bf_dma, width, 0, 0, UINT32_MAX),
    NUMBER("row", ALL, bf_dma, row, 0, 0, UINT32_MAX),
    NUMBER("col", ALL, bf_dma, col, 0, 0, UINT32_MAX),
    FLAG("pad", ALL, bf_dma, pad),
    {"ids", BF_FIELD_ADDRESS, ALL, AT(bf_dma, ids), 1, 0, 0, WIDE, NULL, false},
    NUMBER("limit", ALL, bf_dma, limit, 0, 0, UINT32_MAX),
    {"value", BF_FIELD_HALF, ALL, AT(bf_dma, value), 1, 0, 0, 0, NULL, false},
    {.key = NULL},
};

const struct bf_asm_field bf_asm_value_fields[] = {
    NUMBER("launch", ALL, bf_value_place, launch, 0, 0, UINT32_MAX),
    NUMBER("samples", ALL, bf_value_place, samples, 1, 0, UINT32_MAX),
    NUMBER("rows", ALL, bf_value_place, rows, 1, 0, UINT32_MAX),
    NUMBER("cols", ALL, bf_value_place, cols, 1, 0, UINT32_MAX),
    NUMBER("spm", ALL, bf_value_place, word, 0, 0, UINT32_MAX),
    NUMBER("width", ALL, bf_value_place, width, 0, 0, UINT32_MAX),
    NUMBER("pitch", ALL, bf_value_place, pitch, 1, 0, UINT32_MAX),
    {"exponent", BF_FIELD_MODULO, ALL, AT(bf_value_place, exponent), 1, 0, 0, 8, NULL, false},
    {.key = NULL},
};

/* ---- access ---- */

int64_t bf_asm_field_get(const struct bf_asm_field *field, const void *record, unsigned i) {
    const char *at = (const char *)record + field->offset + i * field->size;
    bool is_signed = field->kind == BF_FIELD_MODULO;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    int64_t i64;
    switch (field->size) {
    case 1:
        memcpy(&u8, at, 1);
        return is_signed ? (int8_t)u8 : u8;
    case 2:
        memcpy(&u16, at, 2);
        return is_signed ? (int16_t)u16 : u16;
    case 4:
        memcpy(&u32, at, 4);
        return is_signed ? (int32_t)u32 : (int64_t)u32;
    default:
        memcpy(&i64, at, 8);
        return i64;
    }
}

void bf_asm_field_set(const struct bf_asm_field *field, void *record, unsigned i, int64_t value) {
    char *at = (char *)record + field->offset + i * field->size;
    if (field->kind == BF_FIELD_MODULO) {
        int64_t modulus = INT64_C(1) << field->high;
        value &= modulus - 1;
        value -= value >= modulus / 2 ? modulus : 0;
    }
    uint8_t u8 = (uint8_t)value;
    uint16_t u16 = (uint16_t)value;
    uint32_t u32 = (uint32_t)value;
    memcpy(at,
           field->size == 1   ? (void *)&u8
           : field->size == 2 ? (void *)&u16
           : field->size == 4 ? (void *)&u32
                              : (void *)&value,
           field->size);
}

void bf_asm_fields_init(const struct bf_asm_field *fields, unsigned unit, void *record) {
    for (; fields->key; fields++)
        for (unsigned i = 0; (fields->units >> unit & 1) && i < fields->count; i++)
            bf_asm_field_set(fields, record, i, fields->initial);
}

const struct bf_asm_field *bf_asm_field_find(const struct bf_asm_field *fields, unsigned unit,
                                             const char *key) {
    for (; fields->key; fields++)
        if ((fields->units >> unit & 1) && !strcmp(fields->key, key))
            return fields;
    return NULL;
}

/* ---- printing ---- */

void bf_asm_print_block_id(unsigned id, struct bf_text *text) {
    static const uint8_t first[] = {BF_FIRST_CAL, BF_FIRST_LOAD, BF_FIRST_FLOW, BF_FIRST_STORE};
    unsigned unit = bf_block_unit(id);
    bf_text_printf(text, "%s.%u", bf_asm_unit_names[unit], id - first[unit]);
}

/* Set bits of a mask: "0-3,8". */
static void print_bits(uint64_t mask, bool ranges, struct bf_text *text) {
    const char *separator = "";
    for (unsigned i = 0; i < 64; i++) {
        if (!(mask >> i & 1))
            continue;
        unsigned last = i;
        while (ranges && last < 63 && (mask >> (last + 1) & 1))
            last++;
        bf_text_printf(text, "%s%u", separator, i);
        if (last > i)
            bf_text_printf(text, "-%u", last);
        separator = ",";
        i = last;
    }
}

static void print_element(const struct bf_asm_field *field, int64_t value, struct bf_text *text) {
    if (field->kind == BF_FIELD_WORD)
        bf_text_add(text, field->words[value]);
    else if (field->kind == BF_FIELD_BLOCK && value == BF_NO_BLOCK)
        bf_text_add(text, "-");
    else if (field->kind == BF_FIELD_BLOCK)
        bf_asm_print_block_id((unsigned)value, text);
    else if (field->kind == BF_FIELD_HALF)
        bf_text_printf(text, "0x%04" PRIx64, (uint64_t)value);
    else
        bf_text_printf(text, "%" PRId64, value);
}

static void print_field(const struct bf_asm_field *field, const void *record,
                        struct bf_text *text) {
    unsigned count = field->count;
    while (count && bf_asm_field_get(field, record, count - 1) == field->initial)
        count--;
    if (!count && !field->always)
        return;
    bf_text_printf(text, " %s=", field->key);
    uint64_t first = (uint64_t)bf_asm_field_get(field, record, 0);
    if (field->kind == BF_FIELD_PES || field->kind == BF_FIELD_CLASSES) {
        print_bits(first, field->kind == BF_FIELD_PES, text);
    } else if (field->kind == BF_FIELD_PHASES) {
        uint64_t last = (uint64_t)bf_asm_field_get(field, record, 1);
        bf_text_printf(text, "%" PRIu64 "-%" PRIu64, first, last);
    } else {
        for (unsigned i = 0; i < (count ? count : 1); i++) {
            bf_text_add(text, i ? "," : "");
            print_element(field, bf_asm_field_get(field, record, i), text);
        }
    }
}

void bf_asm_fields_print(const struct bf_asm_field *fields, unsigned unit, const void *record,
                         struct bf_text *text) {
    for (; fields->key; fields++)
        if (fields->units >> unit & 1)
            print_field(fields, record, text);
}
