/* report_layers.c - what bfrun -compare prints. */
#include <inttypes.h>

#include "runtime/report.h"

static void add_shape(struct bf_text *text, const struct bfrt_layer *layer) {
    bf_text_add(text, "[");
    for (unsigned a = 0; a < layer->rank; a++)
        bf_text_printf(text, "%s%" PRIu64, a ? ", " : "", layer->dims[a]);
    bf_text_add(text, "]");
}

static void add_place(struct bf_text *text, const struct bfrt_layer *layer) {
    if (layer->place.line)
        bf_text_printf(text, "%s:%u:%u", layer->place.file, layer->place.line, layer->place.column);
    else
        bf_text_add(text, "-");
}

/* "encoder.0.ffn.fc1 butterfly", "gelu", "output y". */
static void add_name(struct bf_text *text, const struct bfrt_layer *layer) {
    bool output = !strcmp(layer->kind, "output");
    const char *first = output ? layer->kind : layer->label;
    bf_text_printf(text, "%s%s%s", first, *first ? " " : "", output ? layer->label : layer->kind);
}

static void add_row(struct bf_table *table, const struct bfrt_layer *layer) {
    struct bf_text cells[3] = {0};
    add_place(&cells[0], layer);
    add_name(&cells[1], layer);
    add_shape(&cells[2], layer);
    for (int i = 0; i < 3; i++) {
        bf_table_cell(table, "%s", cells[i].data);
        bf_text_free(&cells[i]);
    }
    if (!layer->stored) {
        for (int i = 0; i < 4; i++)
            bf_table_cell(table, "%s", i == 3 ? "not stored" : "");
        return;
    }
    bf_table_cell(table, "%.3g", layer->largest);
    bf_table_cell(table, "%.2e", layer->max_error);
    bf_table_cell(table, "%.2e", layer->relative_l2);
    struct bf_text note = {0};
    bf_text_add(&note, layer->loses ? "<-" : "");
    if (layer->infinities)
        bf_text_printf(&note, " %" PRIu64 " infinite", layer->infinities);
    if (layer->nans)
        bf_text_printf(&note, " %" PRIu64 " NaN", layer->nans);
    bf_table_cell(table, "%s", note.data);
    bf_text_free(&note);
}

static void add_verdict(struct bf_text *text, const struct bfrt_session *session) {
    const struct bfrt_layer *layer = NULL;
    for (size_t i = 0; i < bfrt_layer_count(session) && !layer; i++)
        if (bfrt_layer(session, i)->loses)
            layer = bfrt_layer(session, i);
    if (!layer) {
        bf_text_add(text, "no operator loses precision: none has four times the relative error of "
                          "what it reads, above 2^-9\n");
        return;
    }
    bf_text_add(text, "precision is lost first at ");
    add_place(text, layer);
    bf_text_add(text, " in ");
    add_name(text, layer);
    if (layer->infinities || layer->nans)
        bf_text_printf(text, ": %" PRIu64 " infinities, %" PRIu64 " NaNs\n", layer->infinities,
                       layer->nans);
    else
        bf_text_printf(text, ": relative L2 %.2e, from operands with %.2e\n", layer->relative_l2,
                       layer->operands);
}

void bf_report_layers(struct bf_text *text, const struct bfrt_session *session) {
    static const char *const titles[] = {"place",     "operator",    "result", "largest",
                                         "max error", "relative L2", ""};
    struct bf_table table = {.columns = 7, .left = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 6};
    uint64_t samples = bfrt_stats(session)->samples;
    bf_text_printf(text, "%" PRIu64 " sample%s on the array, compared with float64\n", samples,
                   samples == 1 ? "" : "s");
    for (int i = 0; i < 7; i++)
        bf_table_cell(&table, "%s", titles[i]);
    for (size_t i = 0; i < bfrt_layer_count(session); i++)
        add_row(&table, bfrt_layer(session, i));
    bf_table_finish(&table, "", text);
    add_verdict(text, session);
}
