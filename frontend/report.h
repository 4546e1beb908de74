/* report.h - diagnostics of the frontend: spans instead of lines, and each place only once.
 *
 * A block may be instantiated many times and a loop body many more; what is wrong at one place of
 * the source is reported for the first instance alone.
 */
#ifndef BF_FRONTEND_REPORT_H
#define BF_FRONTEND_REPORT_H

#include "frontend/ast.h"
#include "ir/diag.h"

struct fe_lines {
    uint32_t *starts; /* byte offset of each line; NULL until the file is first asked for */
    size_t count, capacity;
};

struct fe_report {
    struct bf_diags *diags;
    struct bf_sources *sources;
    struct {
        struct fe_lines *data;
        size_t count, capacity;
    } lines; /* by file */
    struct {
        struct ast_span *data;
        size_t count, capacity;
    } reported;
    bool warned; /* at least once */
    bool muted;  /* the last message was a repetition: its notes are dropped */
};

void fe_report_init(struct fe_report *report, struct bf_sources *sources, struct bf_diags *diags);
void fe_report_free(struct fe_report *report);

/* Line and column of the span's first byte. */
struct bf_loc fe_loc(struct fe_report *report, struct ast_span span);
/* Bytes of the span that lie on its first line: what a message underlines. */
unsigned fe_underline(struct fe_report *report, struct ast_span span);

/* Whether an error was reported for exactly this span. */
bool fe_was_reported(const struct fe_report *report, struct ast_span span);
/* Notes that one was. */
void fe_mark_reported(struct fe_report *report, struct ast_span span);

/* Reports unless the span was reported before; then a note that follows is dropped as well. Returns
 * whether it did. */
bool fe_error(struct fe_report *report, struct ast_span span, const char *format, ...)
    BF_PRINTF(3, 4);
void fe_warning(struct fe_report *report, struct ast_span span, const char *format, ...)
    BF_PRINTF(3, 4);
void fe_note(struct fe_report *report, struct ast_span span, const char *format, ...)
    BF_PRINTF(3, 4);

/* Keeps in *best the candidate nearest to `name` that is near enough to be meant. Start with *best
 * NULL, then call it once for each candidate. */
void fe_suggest(const char *name, const char *candidate, const char **best);

#endif
