/* report.h - what bfrun prints about a model and a run. */
#ifndef BF_RUNTIME_REPORT_H
#define BF_RUNTIME_REPORT_H

#include "ir/isa/base.h"
#include "runtime/bfrt.h"

/* The model: inputs, outputs, machine, kernels. */
void bf_describe(struct bf_text *text, const struct bfrt_model *model);

/* The last run: one line for the whole, one a kernel, and totals. */
void bf_report_text(struct bf_text *text, const struct bfrt_model *model, const char *device,
                    const struct bfrt_stats *stats);
/* The same and all counters, as one JSON object. docs/man/bfrun.1 lists the keys. `layers`: the
 * session that compared, or NULL. */
void bf_report_json(struct bf_text *text, const struct bfrt_model *model, const char *device,
                    const struct bfrt_session *session, const struct bfrt_session *layers);

/* bfrt_compare: a line an operator, and where precision is lost first. */
void bf_report_layers(struct bf_text *text, const struct bfrt_session *session);

/* ---- how numbers look ---- */

/* "1 033 412", appended. */
void bf_text_add_count(struct bf_text *text, uint64_t number);
/* Three digits and a prefixed unit: "3.10 mJ", "34.0 KB" (steps of 1000), "0 B". */
void bf_text_add_amount(struct bf_text *text, double amount, const char *unit);
/* "4x4 PEs x 16 lanes @ 1 GHz". */
void bf_text_add_machine(struct bf_text *text, const struct bfrt_info *info);
/* Replaces control characters other than newline: names from a file must not command a terminal. */
void bf_text_make_printable(struct bf_text *text);

/* Columns that are as wide as their widest cell, two spaces apart. Cells come row by row. */
struct bf_table {
    unsigned columns;
    uint64_t left; /* bit c: column c is aligned to the left */
    struct {
        char **data;
        size_t count, capacity;
    } cells;
};
void bf_table_cell(struct bf_table *table, const char *format, ...) BF_PRINTF(2, 3);
/* Appends the rows, without spaces at their ends, each after `indent`, and frees the cells. */
void bf_table_finish(struct bf_table *table, const char *indent, struct bf_text *text);

#endif
