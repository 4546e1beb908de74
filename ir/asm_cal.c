/* asm_cal.c - the text of one CAL instruction, both ways.
 *
 *     fma    a3, r[5].1 <- -r[3] * l[0:4].2 - a1        DST <- A * B + C
 *     sel    a1 <- r[1], w[3], -a2                      DST <- operands that it reads, in order
 */
#include "ir/asm_read.h"

#include <inttypes.h>

enum { READS_A = 1, READS_B = 2, READS_C = 4 };

/* ---- printing ---- */

static void print_ram(unsigned address, unsigned class, struct bf_text *text) {
    bf_text_printf(text, "r[%u]", address);
    if (class)
        bf_text_printf(text, ".%u", class);
}

static void print_a(const struct bf_cal *cal, struct bf_text *text) {
    bf_text_add(text, cal->negate_product ? "-" : "");
    if (cal->a_class == BF_CLASS_SPECIAL)
        bf_text_printf(text, "a%u", cal->a);
    else
        print_ram(cal->a, cal->a_class, text);
}

static void print_b(const struct bf_cal *cal, unsigned lanes, struct bf_text *text) {
    static const char *const constants[] = {"0", "1", "2", "0.5"};
    if (cal->b_kind == BF_B_CONST) {
        bf_text_add(text, constants[cal->b & 3]);
        return;
    }
    if (cal->b_kind == BF_B_DATA) {
        print_ram(cal->b, cal->b_class, text);
        return;
    }
    if (cal->b_kind == BF_B_LANE)
        bf_text_printf(text, "l[%u:%u]", cal->b / lanes, cal->b % lanes);
    else
        bf_text_printf(text, "w[%u]", cal->b);
    if (cal->b_class)
        bf_text_printf(text, ".%u", cal->b_class);
}

static void print_c(const struct bf_cal *cal, struct bf_text *text) {
    if (cal->c_class != BF_CLASS_SPECIAL) {
        print_ram(cal->c, cal->c_class, text);
        return;
    }
    switch (cal->c >> 8) {
    case BF_C_ACC:
        bf_text_printf(text, "a%u", cal->c & 15);
        break;
    case BF_C_LANE:
        bf_text_printf(text, "l+%u", cal->c & 31);
        break;
    default:
        bf_text_add(text, cal->c >> 8 == BF_C_ONE ? "1" : "0");
    }
}

void bf_asm_print_cal(uint64_t word, const struct bf_machine *machine, struct bf_text *text) {
    struct bf_cal cal;
    if (!bf_cal_decode(word, &cal, NULL)) {
        bf_text_printf(text, "; %016" PRIx64, word);
        return;
    }
    unsigned operands = bf_cal_operands(cal.op);
    const char *separator = " ";
    bf_text_printf(text, "%-5s ", bf_cal_name(cal.op));
    if (cal.dst & BF_DST_ACC)
        bf_text_printf(text, "a%u", cal.acc);
    if (cal.dst == (BF_DST_ACC | BF_DST_RAM))
        bf_text_add(text, ", ");
    if (cal.dst & BF_DST_RAM)
        print_ram(cal.d, cal.d_class, text);
    bf_text_add(text, " <-");
    if (operands & READS_A) {
        bf_text_add(text, separator);
        print_a(&cal, text);
        separator = cal.op == BF_CAL_FMA ? " * " : ", ";
    }
    if (operands & READS_B) {
        bf_text_add(text, separator);
        print_b(&cal, machine->lanes, text);
        separator = ", ";
    }
    if (operands & READS_C) {
        bool fma = cal.op == BF_CAL_FMA;
        bf_text_add(text, fma ? cal.negate_addend ? " - " : " + " : separator);
        bf_text_add(text, !fma && cal.negate_addend ? "-" : "");
        print_c(&cal, text);
    }
}

/* ---- reading ---- */

static bool read_class(struct bf_asm *a, int64_t high, uint8_t *class) {
    int64_t value = 0;
    if (a->at < a->end && *a->at == '.') {
        a->at++;
        if (!bf_asm_number(a, "a class", 0, high, &value))
            return false;
    }
    *class = (uint8_t)value;
    return true;
}

/* The rest of "r[ADDRESS].CLASS", behind the bracket. */
static bool read_ram(struct bf_asm *a, int64_t high_class, uint16_t *address, uint8_t *class) {
    int64_t value;
    if (!bf_asm_number(a, "a RAM address", 0, 1023, &value) || !bf_asm_expect(a, "]") ||
        !read_class(a, high_class, class))
        return false;
    *address = (uint16_t)value;
    return true;
}

/* "aN", if it comes next. */
static bool at_acc(struct bf_asm *a) {
    bf_asm_blanks(a);
    return a->end - a->at > 1 && a->at[0] == 'a' && a->at[1] >= '0' && a->at[1] <= '9';
}

static bool read_acc(struct bf_asm *a, uint16_t *acc) {
    int64_t value;
    a->at++;
    if (!bf_asm_number(a, "an accumulator", 0, 15, &value))
        return false;
    *acc = (uint16_t)value;
    return true;
}

static bool read_destination(struct bf_asm *a, struct bf_cal *cal) {
    uint16_t acc;
    if (at_acc(a)) {
        if (!read_acc(a, &acc))
            return false;
        cal->acc = (uint8_t)acc;
        cal->dst = BF_DST_ACC;
        if (!bf_asm_accept(a, ","))
            return true;
    }
    if (!bf_asm_accept(a, "r["))
        return bf_asm_error(a, a->at, "expected a destination: aN, r[..] or both");
    cal->dst |= BF_DST_RAM;
    return read_ram(a, 3, &cal->d, &cal->d_class);
}

static bool read_a(struct bf_asm *a, struct bf_cal *cal) {
    cal->negate_product = bf_asm_accept(a, "-");
    if (at_acc(a)) {
        cal->a_class = BF_CLASS_SPECIAL;
        return read_acc(a, &cal->a);
    }
    if (bf_asm_accept(a, "r["))
        return read_ram(a, 2, &cal->a, &cal->a_class);
    return bf_asm_error(a, a->at, "expected operand A: aN or r[..]");
}

static bool read_lane(struct bf_asm *a, struct bf_cal *cal) {
    unsigned lanes = a->program->machine.lanes;
    int64_t word, lane;
    const char *from = a->at;
    if (!bf_asm_number(a, "a weight lane", 0, 2047, &word))
        return false;
    if (bf_asm_accept(a, ":")) {
        if (!bf_asm_number(a, "a lane", 0, lanes - 1, &lane))
            return false;
        word = word * lanes + lane;
        if (word > 2047)
            return bf_asm_error(a, from, "a lane address has 11 bits");
    }
    cal->b_kind = BF_B_LANE;
    cal->b = (uint16_t)word;
    return bf_asm_expect(a, "]") && read_class(a, 3, &cal->b_class);
}

static bool read_b(struct bf_asm *a, struct bf_cal *cal) {
    int64_t value;
    if (bf_asm_accept(a, "l["))
        return read_lane(a, cal);
    if (bf_asm_accept(a, "w[")) {
        cal->b_kind = BF_B_WEIGHT;
        if (!bf_asm_number(a, "a weight word", 0, 2047, &value))
            return false;
        cal->b = (uint16_t)value;
        return bf_asm_expect(a, "]") && read_class(a, 3, &cal->b_class);
    }
    if (bf_asm_accept(a, "r[")) {
        cal->b_kind = BF_B_DATA;
        return read_ram(a, 3, &cal->b, &cal->b_class);
    }
    cal->b_kind = BF_B_CONST;
    cal->b = bf_asm_accept(a, "0.5") ? BF_B_HALF
             : bf_asm_accept(a, "0") ? BF_B_ZERO
             : bf_asm_accept(a, "1") ? BF_B_ONE
             : bf_asm_accept(a, "2") ? BF_B_TWO
                                     : BF_B_HALF + 1;
    return cal->b <= BF_B_HALF ||
           bf_asm_error(a, a->at, "expected operand B: l[W:L], w[..], r[..], 0, 1, 2 or 0.5");
}

static bool read_c(struct bf_asm *a, struct bf_cal *cal) {
    int64_t lane;
    if (bf_asm_accept(a, "r["))
        return read_ram(a, 2, &cal->c, &cal->c_class);
    cal->c_class = BF_CLASS_SPECIAL;
    if (at_acc(a))
        return read_acc(a, &cal->c);
    if (bf_asm_accept(a, "l+")) {
        if (!bf_asm_number(a, "a lane distance", 0, a->program->machine.lanes - 1, &lane))
            return false;
        cal->c = (uint16_t)(BF_C_LANE << 8 | lane);
        return true;
    }
    bool one = bf_asm_accept(a, "1");
    cal->c = (one ? BF_C_ONE : BF_C_ZERO) << 8;
    return one || bf_asm_accept(a, "0") ||
           bf_asm_error(a, a->at, "expected operand C: aN, r[..], l+N, 0 or 1");
}

static bool read_fma(struct bf_asm *a, struct bf_cal *cal) {
    if (!read_a(a, cal) || !bf_asm_expect(a, "*") || !read_b(a, cal))
        return false;
    if (bf_asm_line_end(a)) {
        cal->c_class = BF_CLASS_SPECIAL;
        cal->c = BF_C_ZERO << 8;
        return true;
    }
    cal->negate_addend = bf_asm_accept(a, "-");
    return (cal->negate_addend || bf_asm_expect(a, "+")) && read_c(a, cal);
}

static bool read_operands(struct bf_asm *a, struct bf_cal *cal) {
    unsigned operands = bf_cal_operands(cal->op);
    if (cal->op == BF_CAL_FMA)
        return read_fma(a, cal);
    if (operands & READS_A) {
        if (!read_a(a, cal))
            return false;
        operands &= ~(unsigned)READS_A;
        if (operands && !bf_asm_expect(a, ","))
            return false;
    }
    if (operands & READS_B) {
        if (!read_b(a, cal))
            return false;
        operands &= ~(unsigned)READS_B;
        if (operands && !bf_asm_expect(a, ","))
            return false;
    }
    if (!(operands & READS_C))
        return true;
    cal->negate_addend = bf_asm_accept(a, "-");
    return read_c(a, cal);
}

static bool find_operation(const char *name, uint8_t *op) {
    for (unsigned i = 0; i < 32; i++)
        if (bf_cal_name(i) && !strcmp(bf_cal_name(i), name)) {
            *op = (uint8_t)i;
            return true;
        }
    return false;
}

bool bf_asm_cal(struct bf_asm *a, uint64_t *word) {
    bf_asm_blanks(a);
    const char *from = a->at, *name = bf_asm_word(a);
    struct bf_cal cal = {0}, again;
    if (!name || !find_operation(name, &cal.op))
        return bf_asm_error(a, from, name ? "unknown operation '%s'" : "expected an operation",
                            name);
    if (!read_destination(a, &cal) || !bf_asm_expect(a, "<-") || !read_operands(a, &cal))
        return false;
    *word = bf_cal_encode(&cal);
    struct bf_error error = {0};
    if (bf_cal_decode(*word, &again, &error) && bf_cal_check(&cal, &a->program->machine, &error))
        return true;
    const char *reason = strstr(error.text, "): ");
    return bf_asm_error(a, from, "%s: %s", name, reason ? reason + 3 : error.text);
}
