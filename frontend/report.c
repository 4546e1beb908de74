/* report.c - spans to lines, and each place reported once. */
#include "frontend/report.h"

#include <stdlib.h>

void fe_report_init(struct fe_report *report, struct bf_sources *sources, struct bf_diags *diags) {
    *report = (struct fe_report){.diags = diags, .sources = sources};
}

void fe_report_free(struct fe_report *report) {
    for (size_t i = 0; i < report->lines.count; i++)
        free(report->lines.data[i].starts);
    free(report->lines.data);
    free(report->reported.data);
}

static void push_start(struct fe_lines *lines, uint32_t start) {
    if (lines->count == lines->capacity)
        lines->starts = bf_grow(lines->starts, &lines->capacity, sizeof *lines->starts);
    lines->starts[lines->count++] = start;
}

static const struct fe_lines *lines_of(struct fe_report *report, uint32_t file) {
    while (report->lines.count <= file)
        *bf_push(&report->lines) = (struct fe_lines){0};
    struct fe_lines *lines = &report->lines.data[file];
    if (lines->starts)
        return lines;
    const struct bf_source *source = &report->sources->data[file];
    push_start(lines, 0);
    for (size_t i = 0; i < source->size; i++)
        if (source->text[i] == '\n')
            push_start(lines, (uint32_t)i + 1);
    return lines;
}

static size_t line_index(const struct fe_lines *lines, uint32_t offset) {
    size_t low = 0, high = lines->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (lines->starts[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

struct bf_loc fe_loc(struct fe_report *report, struct ast_span span) {
    const struct fe_lines *lines = lines_of(report, span.file);
    size_t line = line_index(lines, span.begin);
    return (struct bf_loc){span.file, (uint32_t)line + 1, span.begin - lines->starts[line] + 1};
}

unsigned fe_underline(struct fe_report *report, struct ast_span span) {
    const struct fe_lines *lines = lines_of(report, span.file);
    const struct bf_source *source = &report->sources->data[span.file];
    size_t line = line_index(lines, span.begin);
    size_t end = line + 1 < lines->count ? lines->starts[line + 1] : source->size;
    if (end > span.end)
        end = span.end;
    while (end > span.begin && strchr(" \t\r\n", source->text[end - 1]))
        end--;
    return (unsigned)(end - span.begin);
}

bool fe_was_reported(const struct fe_report *report, struct ast_span span) {
    for (size_t i = 0; i < report->reported.count; i++) {
        const struct ast_span *other = &report->reported.data[i];
        if (other->file == span.file && other->begin == span.begin && other->end == span.end)
            return true;
    }
    return false;
}

void fe_mark_reported(struct fe_report *report, struct ast_span span) {
    *bf_push(&report->reported) = span;
}

static void say(struct fe_report *report, enum bf_severity severity, struct ast_span span,
                const char *format, va_list args) {
    struct bf_text text = {0};
    bf_text_vprintf(&text, format, args);
    bf_diag(report->diags, severity, fe_loc(report, span), fe_underline(report, span), 0, "%s",
            text.data ? text.data : "");
    bf_text_free(&text);
}

bool fe_error(struct fe_report *report, struct ast_span span, const char *format, ...) {
    report->muted = fe_was_reported(report, span);
    if (report->muted)
        return false;
    fe_mark_reported(report, span);
    va_list args;
    va_start(args, format);
    say(report, BF_ERROR, span, format, args);
    va_end(args);
    return true;
}

void fe_warning(struct fe_report *report, struct ast_span span, const char *format, ...) {
    va_list args;
    va_start(args, format);
    report->muted = false;
    report->warned = true;
    say(report, BF_WARNING, span, format, args);
    va_end(args);
}

void fe_note(struct fe_report *report, struct ast_span span, const char *format, ...) {
    if (report->muted)
        return;
    va_list args;
    va_start(args, format);
    say(report, BF_NOTE, span, format, args);
    va_end(args);
}

void fe_suggest(const char *name, const char *candidate, const char **best) {
    size_t length = strlen(name), limit = length <= 2 ? 1 : length <= 6 ? 2 : 3;
    size_t distance = bf_edit_distance(name, candidate, limit);
    if (distance > limit || distance >= length)
        return;
    if (!*best || distance < bf_edit_distance(name, *best, limit))
        *best = candidate;
}
