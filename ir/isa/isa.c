/* isa.c - the words of the array to bits and back. See isa.h.
 *
 * A block descriptor is one string of 256 bits, bit i of it bit i mod 64 of word i / 64. Fields
 * follow each other from bit 0 on without gaps; what is left at the top is zero.
 *
 *     all units   unit 2 | trips-1 3 x 10 | need 10 | first 8 | last 8 | targets 3 x 7          79
 *     CAL         start 8 | length-1 5 | relative 4 | uses_weights 1 | delta 4 x 3 x 11 |
 *                 swap 4 | exponent 5 | chain 1                                               +160
 *     LOAD,       weights 1 | row 1 | reverse 4 | relative 1 | ram 10 | ram_delta 3 x 10 |
 *     STORE       spm 18 | spm_delta 3 x 18 | iteration_delta 3 x 18 | base 4                 +177
 *     FLOW        source_relative 1 | destination_relative 1 | source 10 | destination 10 |
 *                 source_delta 3 x 10 | destination_delta 3 x 10 | mode 2 | shift 3 |
 *                 width 3 | destination_shift 4 | self_shift 4 | token 7                      +105
 *
 * Arrays: element 0 first; delta[class][level]. A block id in a target or token is 64 + id, 0:
 * none.
 */
#include "ir/isa/isa.h"

#include <inttypes.h>

/* ---- opcode tables ---- */

enum result { ANY = BF_DST_ACC | BF_DST_RAM, ACC = BF_DST_ACC, RAM = BF_DST_RAM };
enum operand { A = 1, B = 2, C = 4 };

struct operation {
    const char *name;
    uint8_t operands, result;
};
static const struct operation operations[32] = {
#define BF_CAL(NAME, code, text, operands, result, what) [code] = {text, operands, result},
#include "ir/isa/opcodes.def"
};

static const char *const seq_names[256] = {
#define BF_SEQ(NAME, code, text, what) [code] = text,
#include "ir/isa/opcodes.def"
};

const char *bf_cal_name(enum bf_cal_op op) {
    return (unsigned)op < 32 ? operations[op].name : NULL;
}

const char *bf_seq_name(enum bf_seq_op op) {
    return (unsigned)op < 256 ? seq_names[op] : NULL;
}

unsigned bf_cal_operands(enum bf_cal_op op) {
    return (unsigned)op < 32 ? operations[op].operands : 0;
}

unsigned bf_cal_results(enum bf_cal_op op) {
    return (unsigned)op < 32 ? operations[op].result : 0;
}

bool bf_cal_special(enum bf_cal_op op) {
    return op == BF_CAL_EXP2 || op == BF_CAL_RCP || op == BF_CAL_RSQRT;
}

/* Operations on raw bits of accumulators know no signs. */
static bool is_raw(unsigned op) {
    return op == BF_CAL_CVTF || op == BF_CAL_STLO || op == BF_CAL_STHI || op == BF_CAL_LDLO ||
           op == BF_CAL_LDHI;
}

/* ---- CAL ---- */

uint64_t bf_cal_encode(const struct bf_cal *cal) {
    return (uint64_t)(cal->op & 31) << 59 | (uint64_t)cal->negate_product << 58 |
           (uint64_t)cal->negate_addend << 57 | (uint64_t)(cal->dst & 3) << 55 |
           (uint64_t)(cal->acc & 15) << 51 | (uint64_t)(cal->d & 1023) << 41 |
           (uint64_t)(cal->d_class & 3) << 39 | (uint64_t)(cal->a & 1023) << 29 |
           (uint64_t)(cal->a_class & 3) << 27 | (uint64_t)(cal->c & 1023) << 17 |
           (uint64_t)(cal->c_class & 3) << 15 | (uint64_t)(cal->b_kind & 3) << 13 |
           (uint64_t)(cal->b & 2047) << 2 | (uint64_t)(cal->b_class & 3);
}

static unsigned bits(uint64_t word, unsigned low, unsigned width) {
    return (unsigned)(word >> low) & ((1u << width) - 1);
}

static const char *bad_a(const struct bf_cal *cal) {
    if (!(operations[cal->op].operands & A))
        return cal->a || cal->a_class ? "operand A is not read, so it must be 0" : NULL;
    if (cal->a_class == BF_CLASS_SPECIAL)
        return cal->a > 15 ? "unused bits of accumulator operand A must be 0" : NULL;
    bool needs_acc = is_raw(cal->op);
    return needs_acc ? "operand A must be an accumulator" : NULL;
}

static const char *bad_b(const struct bf_cal *cal) {
    if (!(operations[cal->op].operands & B))
        return cal->b || cal->b_class || cal->b_kind ? "operand B is not read, so it must be 0"
                                                     : NULL;
    if (cal->b_kind == BF_B_CONST && (cal->b > 3 || cal->b_class))
        return "unused bits of constant operand B must be 0";
    if (cal->b_kind == BF_B_DATA && cal->b > 1023)
        return "the RAM address of operand B is too large";
    return NULL;
}

static const char *bad_c(const struct bf_cal *cal) {
    if (!(operations[cal->op].operands & C))
        return cal->c || cal->c_class ? "operand C is not read, so it must be 0" : NULL;
    if (cal->c_class != BF_CLASS_SPECIAL)
        return NULL;
    if (is_raw(cal->op))
        return "operand C must be a RAM word";
    static const uint8_t used[] = {
        [BF_C_ACC] = 15, [BF_C_ZERO] = 0, [BF_C_ONE] = 0, [BF_C_LANE] = 31};
    unsigned kind = cal->c >> 8;
    if (cal->c & 255 & ~used[kind])
        return "unused bits of operand C must be 0";
    if (kind == BF_C_LANE && (!(operations[cal->op].operands & B) ||
                              (cal->b_kind != BF_B_LANE && cal->b_kind != BF_B_WEIGHT)))
        return "a lane operand C needs a lane or a weight word as operand B";
    return NULL;
}

static const char *bad_result(const struct bf_cal *cal) {
    if (!cal->dst)
        return "it has no destination";
    if (cal->dst & ~operations[cal->op].result)
        return operations[cal->op].result == ACC ? "the result can only go to an accumulator"
                                                 : "the result can only go to a RAM word";
    if (!(cal->dst & BF_DST_ACC) && cal->acc)
        return "the accumulator field must be 0 when nothing goes to an accumulator";
    if (!(cal->dst & BF_DST_RAM) && (cal->d || cal->d_class))
        return "destination D must be 0 when nothing goes to RAM";
    return NULL;
}

static const char *bad_cal(const struct bf_cal *cal) {
    if (!operations[cal->op].name)
        return "unknown operation";
    const char *reason = bad_result(cal);
    if (!reason)
        reason = bad_a(cal);
    if (!reason)
        reason = bad_b(cal);
    if (!reason)
        reason = bad_c(cal);
    unsigned operands = operations[cal->op].operands;
    if (!reason && cal->negate_product && (!(operands & A) || is_raw(cal->op)))
        reason = "there is no product to negate";
    if (!reason && cal->negate_addend && (!(operands & C) || is_raw(cal->op)))
        reason = "there is no addend to negate";
    return reason;
}

bool bf_cal_decode(uint64_t word, struct bf_cal *cal, struct bf_error *error) {
    *cal = (struct bf_cal){
        .op = (uint8_t)bits(word, 59, 5),
        .negate_product = bits(word, 58, 1),
        .negate_addend = bits(word, 57, 1),
        .dst = (uint8_t)bits(word, 55, 2),
        .acc = (uint8_t)bits(word, 51, 4),
        .d = (uint16_t)bits(word, 41, 10),
        .d_class = (uint8_t)bits(word, 39, 2),
        .a = (uint16_t)bits(word, 29, 10),
        .a_class = (uint8_t)bits(word, 27, 2),
        .c = (uint16_t)bits(word, 17, 10),
        .c_class = (uint8_t)bits(word, 15, 2),
        .b_kind = (uint8_t)bits(word, 13, 2),
        .b = (uint16_t)bits(word, 2, 11),
        .b_class = (uint8_t)bits(word, 0, 2),
    };
    const char *reason = bad_cal(cal);
    if (reason)
        return bf_fail(error, BF_ERROR_INPUT, "CAL word %016" PRIx64 " (%s): %s", word,
                       operations[cal->op].name ? operations[cal->op].name : "?", reason);
    return true;
}

static bool acc_exists(unsigned acc, const struct bf_machine *machine, struct bf_error *error) {
    if (acc < machine->accumulators)
        return true;
    return bf_fail(error, BF_ERROR_INPUT, "accumulator a%u does not exist; '%s' has %u", acc,
                   machine->name, machine->accumulators);
}

static bool word_exists(const char *what, unsigned address, unsigned size,
                        const struct bf_machine *machine, struct bf_error *error) {
    if (address < size)
        return true;
    return bf_fail(error, BF_ERROR_INPUT, "%s %u does not exist; '%s' has %u", what, address,
                   machine->name, size);
}

bool bf_cal_check(const struct bf_cal *cal, const struct bf_machine *machine,
                  struct bf_error *error) {
    const char *reason = cal->op > 31 || cal->b > 2047 || (cal->d | cal->a | cal->c) > 1023 ||
                                 cal->acc > 15 || cal->dst > 3 || cal->b_kind > 3 ||
                                 (cal->d_class | cal->a_class | cal->b_class | cal->c_class) > 3
                             ? "a field is too large"
                             : bad_cal(cal);
    if (reason)
        return bf_fail(error, BF_ERROR_INPUT, "%s", reason);
    if (bf_cal_special(cal->op) && !machine->special)
        return bf_fail(error, BF_ERROR_INPUT, "'%s' has no special functions", machine->name);
    unsigned operands = operations[cal->op].operands, ram = machine->data_ram;
    bool a_acc = cal->a_class == BF_CLASS_SPECIAL, c_acc = cal->c_class == BF_CLASS_SPECIAL;
    if ((cal->dst & BF_DST_ACC) && !acc_exists(cal->acc, machine, error))
        return false;
    if (!word_exists("RAM word", cal->d, ram, machine, error))
        return false;
    if ((operands & A) && !(a_acc ? acc_exists(cal->a, machine, error)
                                  : word_exists("RAM word", cal->a, ram, machine, error)))
        return false;
    if ((operands & C) && !c_acc && !word_exists("RAM word", cal->c, ram, machine, error))
        return false;
    if (c_acc && cal->c >> 8 == BF_C_ACC && !acc_exists(cal->c & 15, machine, error))
        return false;
    if (c_acc && cal->c >> 8 == BF_C_LANE &&
        !word_exists("lane", cal->c & 31, machine->lanes, machine, error))
        return false;
    /* A kernel with one weight set addresses both halves. */
    unsigned words = 2 * machine->weight_half;
    if (cal->b_kind == BF_B_DATA)
        return word_exists("RAM word", cal->b, ram, machine, error);
    if (cal->b_kind == BF_B_LANE)
        return word_exists("weight lane", cal->b, words * machine->lanes, machine, error);
    return cal->b_kind != BF_B_WEIGHT || word_exists("weight word", cal->b, words, machine, error);
}

/* ---- descriptors ---- */

/* One pass over all fields serves to write them, to read them, and to see whether they fit. */
struct transfer {
    enum { ENCODE, DECODE, MEASURE } mode;
    uint64_t words[4];
    unsigned at;
    const char *field;  /* being transferred: for the message */
    const char *misfit; /* MEASURE: the first that does not fit */
};

static uint64_t transfer_bits(struct transfer *t, int64_t value, unsigned width, bool is_signed) {
    unsigned word = t->at / 64, shift = t->at % 64, low = 64 - shift;
    uint64_t mask = (UINT64_C(1) << width) - 1, field = (uint64_t)value & mask;
    t->at += width;
    if (t->mode == DECODE) {
        field = t->words[word] >> shift;
        if (low < width)
            field |= t->words[word + 1] << low;
        field &= mask;
    } else {
        t->words[word] |= field << shift;
        if (low < width)
            t->words[word + 1] |= field >> low;
    }
    if (is_signed && field >> (width - 1))
        field |= ~mask;
    if ((int64_t)field != value && t->mode == MEASURE && !t->misfit)
        t->misfit = t->field;
    return field;
}

/* The field's name is the expression without "d->". */
#define UNSIGNED(x, width) (t->field = &#x[3], (x) = transfer_bits(t, (int64_t)(x), (width), false))
#define LESS_ONE(x, width)                                                                         \
    (t->field = &#x[3], (x) = 1 + transfer_bits(t, (int64_t)(x) - 1, (width), false))
#define SIGNED(x, width) (t->field = &#x[3], (x) = (int64_t)transfer_bits(t, (x), (width), true))

static void transfer_block_id(struct transfer *t, uint8_t *id) {
    bool some = *id != BF_NO_BLOCK;
    t->field = "a block id";
    if (some && *id >= BF_BLOCKS && !t->misfit)
        t->misfit = t->field;
    uint64_t field = transfer_bits(t, some ? BF_BLOCKS | *id : 0, 7, false);
    *id = (uint8_t)(field & BF_BLOCKS ? field & (BF_BLOCKS - 1) : BF_NO_BLOCK);
}

static void transfer_cal(struct transfer *t, struct bf_descriptor *d) {
    UNSIGNED(d->cal.start, 8);
    LESS_ONE(d->cal.length, 5);
    UNSIGNED(d->cal.relative, 4);
    UNSIGNED(d->cal.uses_weights, 1);
    for (int c = 0; c < BF_CLASSES; c++)
        for (int l = 0; l < BF_LEVELS; l++)
            SIGNED(d->cal.delta[c][l], 11);
    UNSIGNED(d->cal.swap, 4);
    SIGNED(d->cal.exponent, 5);
    UNSIGNED(d->cal.chain, 1);
}

static void transfer_mem(struct transfer *t, struct bf_descriptor *d) {
    UNSIGNED(d->mem.weights, 1);
    UNSIGNED(d->mem.row, 1);
    UNSIGNED(d->mem.reverse, 4);
    UNSIGNED(d->mem.relative, 1);
    UNSIGNED(d->mem.ram, 10);
    for (int l = 0; l < BF_LEVELS; l++)
        SIGNED(d->mem.ram_delta[l], 10);
    UNSIGNED(d->mem.spm, 18);
    for (int l = 0; l < BF_LEVELS; l++)
        SIGNED(d->mem.spm_delta[l], 18);
    for (int l = 0; l < BF_LEVELS; l++)
        SIGNED(d->mem.iteration_delta[l], 18);
    UNSIGNED(d->mem.base, 4);
}

static void transfer_flow(struct transfer *t, struct bf_descriptor *d) {
    UNSIGNED(d->flow.source_relative, 1);
    UNSIGNED(d->flow.destination_relative, 1);
    UNSIGNED(d->flow.source, 10);
    UNSIGNED(d->flow.destination, 10);
    for (int l = 0; l < BF_LEVELS; l++)
        SIGNED(d->flow.source_delta[l], 10);
    for (int l = 0; l < BF_LEVELS; l++)
        SIGNED(d->flow.destination_delta[l], 10);
    UNSIGNED(d->flow.mode, 2);
    UNSIGNED(d->flow.shift, 3);
    UNSIGNED(d->flow.width, 3);
    UNSIGNED(d->flow.destination_shift, 4);
    UNSIGNED(d->flow.self_shift, 4);
    transfer_block_id(t, &d->flow.token);
}

static void transfer_descriptor(struct transfer *t, struct bf_descriptor *d) {
    UNSIGNED(d->unit, 2);
    for (int l = 0; l < BF_LEVELS; l++)
        LESS_ONE(d->trips[l], 10);
    UNSIGNED(d->need, 10);
    UNSIGNED(d->first, 8);
    UNSIGNED(d->last, 8);
    for (int i = 0; i < BF_TARGETS; i++)
        transfer_block_id(t, &d->target[i]);
    if (d->unit == BF_UNIT_CAL)
        transfer_cal(t, d);
    else if (d->unit == BF_UNIT_FLOW)
        transfer_flow(t, d);
    else
        transfer_mem(t, d);
}

void bf_descriptor_encode(const struct bf_descriptor *descriptor, uint64_t words[4]) {
    struct bf_descriptor copy = *descriptor;
    struct transfer t = {.mode = ENCODE};
    transfer_descriptor(&t, &copy);
    memcpy(words, t.words, sizeof t.words);
}

/* Rules that need neither machine nor kernel. */
static const char *bad_descriptor(const struct bf_descriptor *d) {
    if (d->first > d->last)
        return "its first phase is after its last";
    if (d->unit == BF_UNIT_LOAD && d->mem.reverse > 10)
        return "it reverses more than 10 bits";
    if (d->unit == BF_UNIT_LOAD && d->mem.weights &&
        (d->mem.relative || d->need || d->target[0] != BF_NO_BLOCK || d->target[1] != BF_NO_BLOCK ||
         d->target[2] != BF_NO_BLOCK))
        return "a weight LOAD has no context, no tokens and no targets";
    if (d->unit == BF_UNIT_STORE && d->mem.weights)
        return "a STORE cannot reach the weight RAM";
    if (d->unit == BF_UNIT_STORE && d->mem.reverse > BF_LANES_REST)
        return "its lane mask is unknown";
    if (d->unit == BF_UNIT_FLOW && d->flow.mode > BF_FLOW_ABS)
        return "its mode is unknown";
    if (d->unit == BF_UNIT_FLOW && d->flow.shift + d->flow.width > 6)
        return "its PE field lies outside the 6 bits of a PE number";
    return NULL;
}

bool bf_descriptor_decode(const uint64_t words[4], struct bf_descriptor *descriptor,
                          struct bf_error *error) {
    struct transfer t = {.mode = DECODE};
    memcpy(t.words, words, sizeof t.words);
    memset(descriptor, 0, sizeof *descriptor);
    transfer_descriptor(&t, descriptor);
    if (descriptor->unit != BF_UNIT_FLOW)
        descriptor->flow.token = BF_NO_BLOCK;
    uint64_t again[4];
    bf_descriptor_encode(descriptor, again);
    if (memcmp(again, words, sizeof again))
        return bf_fail(error, BF_ERROR_INPUT, "unused bits of a descriptor must be 0");
    const char *reason = bad_descriptor(descriptor);
    return !reason || bf_fail(error, BF_ERROR_INPUT, "%s", reason);
}

bool bf_descriptor_fits(const struct bf_descriptor *descriptor, struct bf_error *error) {
    struct bf_descriptor copy = *descriptor;
    struct transfer t = {.mode = MEASURE};
    transfer_descriptor(&t, &copy);
    if (t.misfit)
        return bf_fail(error, BF_ERROR_INPUT, "%s does not fit its bits", t.misfit);
    const char *reason = bad_descriptor(descriptor);
    return !reason || bf_fail(error, BF_ERROR_INPUT, "%s", reason);
}

enum bf_unit bf_block_unit(unsigned id) {
    return id >= BF_FIRST_STORE  ? BF_UNIT_STORE
           : id >= BF_FIRST_FLOW ? BF_UNIT_FLOW
           : id >= BF_FIRST_LOAD ? BF_UNIT_LOAD
                                 : BF_UNIT_CAL;
}

/* ---- banks ---- */

static uint32_t fold(uint32_t address, uint32_t banks) {
    unsigned width = bf_log2_floor(banks);
    uint32_t bank = 0;
    for (; width && address; address >>= width)
        bank ^= address & (banks - 1);
    return bank;
}

uint32_t bf_spm_bank(uint32_t address, uint32_t lanes, uint32_t ports) {
    return fold(address / lanes, ports);
}

uint32_t bf_ram_bank(uint32_t address, uint32_t banks) {
    return fold(address, banks);
}
