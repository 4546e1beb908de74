/* table.c - numbers and aligned columns. See report.h. */
#include "runtime/report.h"

#include <inttypes.h>
#include <stdlib.h>

void bf_text_add_count(struct bf_text *text, uint64_t number) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, number);
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            bf_text_add(text, " ");
        bf_text_add_bytes(text, &digits[i], 1);
    }
}

void bf_text_add_amount(struct bf_text *text, double amount, const char *unit) {
    static const char prefixes[] = "fpnum kMGT";
    size_t p = 5;
    while (amount != 0 && amount < 0.9995 && p > 0) {
        amount *= 1000;
        p--;
    }
    while (amount >= 999.5 && p < sizeof prefixes - 2) {
        amount /= 1000;
        p++;
    }
    int digits = amount == 0 || amount >= 99.95 ? 0 : amount >= 9.995 ? 1 : 2;
    bf_text_printf(text, "%.*f %.*s%s", digits, amount, prefixes[p] == ' ' ? 0 : 1, &prefixes[p],
                   unit);
}

void bf_text_add_machine(struct bf_text *text, const struct bfrt_info *info) {
    bf_text_printf(text, "%ux%u PEs x %u lanes @ ", info->rows, info->cols, info->lanes);
    if (info->clock_mhz % 1000 == 0)
        bf_text_printf(text, "%u GHz", info->clock_mhz / 1000);
    else
        bf_text_printf(text, "%u MHz", info->clock_mhz);
}

void bf_text_make_printable(struct bf_text *text) {
    for (size_t i = 0; i < text->length; i++) {
        unsigned char c = (unsigned char)text->data[i], next = (unsigned char)text->data[i + 1];
        bool two_bytes = c == 0xc2 && next >= 0x80 && next < 0xa0;
        if ((c < 0x20 && c != '\n') || c == 0x7f || two_bytes)
            text->data[i] = '?';
        if (two_bytes)
            text->data[++i] = '?';
    }
}

/* ---- tables ---- */

void bf_table_cell(struct bf_table *table, const char *format, ...) {
    struct bf_text cell = {0};
    va_list args;
    va_start(args, format);
    bf_text_vprintf(&cell, format, args);
    va_end(args);
    *bf_push(&table->cells) = cell.data ? cell.data : bf_strdup("");
}

/* Code points, which is what a terminal gives a column each for the names there are here. */
static size_t width_of(const char *s) {
    size_t width = 0;
    for (; *s; s++)
        width += ((unsigned char)*s & 0xc0) != 0x80;
    return width;
}

static void add_padding(struct bf_text *text, size_t count) {
    while (count-- > 0)
        bf_text_add(text, " ");
}

static void add_row(const struct bf_table *table, size_t row, const size_t *widths,
                    struct bf_text *text) {
    for (unsigned c = 0; c < table->columns; c++) {
        const char *cell = table->cells.data[row * table->columns + c];
        size_t padding = widths[c] - width_of(cell);
        bool left = table->left >> c & 1;
        if (c)
            bf_text_add(text, "  ");
        if (!left)
            add_padding(text, padding);
        bf_text_add(text, cell);
        if (left)
            add_padding(text, padding);
    }
    while (text->length && text->data[text->length - 1] == ' ')
        text->data[--text->length] = '\0';
    bf_text_add(text, "\n");
}

void bf_table_finish(struct bf_table *table, const char *indent, struct bf_text *text) {
    size_t *widths = bf_alloc(table->columns * sizeof *widths);
    for (size_t i = 0; i < table->cells.count; i++) {
        size_t width = width_of(table->cells.data[i]);
        if (width > widths[i % table->columns])
            widths[i % table->columns] = width;
    }
    for (size_t row = 0; row < table->cells.count / table->columns; row++) {
        bf_text_add(text, indent);
        add_row(table, row, widths, text);
    }
    for (size_t i = 0; i < table->cells.count; i++)
        free(table->cells.data[i]);
    free(table->cells.data);
    table->cells.data = NULL;
    table->cells.count = table->cells.capacity = 0;
    free(widths);
}
