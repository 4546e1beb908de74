/* diag.c - printing diagnostics the way clang does. See diag.h. */
#include "ir/diag.h"

#include <stdlib.h>

uint32_t bf_source_add(struct bf_sources *sources, const char *name, char *text, size_t size) {
    *bf_push(sources) = (struct bf_source){bf_strdup(name), text, size};
    return (uint32_t)(sources->count - 1);
}

void bf_sources_free(struct bf_sources *sources) {
    for (size_t i = 0; i < sources->count; i++) {
        free(sources->data[i].name);
        free(sources->data[i].text);
    }
    free(sources->data);
    *sources = (struct bf_sources){0};
}

static const char *const severity_names[] = {
    [BF_ERROR] = "error", [BF_WARNING] = "warning", [BF_NOTE] = "note"};
static const char *const severity_colors[] = {
    [BF_ERROR] = "\033[1;31m", [BF_WARNING] = "\033[1;35m", [BF_NOTE] = "\033[1;36m"};

static const char *style(const struct bf_diags *diags, const char *code) {
    return diags->color ? code : "";
}
#define BOLD  "\033[1m"
#define GREEN "\033[1;32m"
#define PLAIN "\033[0m"

static const struct bf_source *source_of(const struct bf_diags *diags, struct bf_loc loc) {
    if (!loc.line || !diags->sources || loc.file >= diags->sources->count)
        return NULL;
    return &diags->sources->data[loc.file];
}

/* The bytes of line `number` without its end of line; false when the file is shorter. */
static bool find_line(const struct bf_source *source, uint32_t number, const char **line,
                      size_t *length) {
    if (!source->text)
        return false;
    const char *at = source->text, *end = source->text + source->size;
    for (uint32_t i = 1; i < number; i++) {
        at = memchr(at, '\n', (size_t)(end - at));
        if (!at)
            return false;
        at++;
    }
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    if (!stop)
        stop = end;
    if (stop > at && stop[-1] == '\r')
        stop--;
    *line = at;
    *length = (size_t)(stop - at);
    return true;
}

/* Two lines: the source line, and below it '~' under `count` bytes from `first` (0-based) and '^'
 * under byte `caret`. A tab stays a tab, and a UTF-8 sequence is one column wide. */
static void print_snippet(struct bf_diags *diags, const char *line, size_t length, uint32_t number,
                          size_t first, size_t count, size_t caret) {
    if (caret > length)
        caret = length;
    if (first + count > length)
        count = first < length ? length - first : 0;
    size_t end = first + count > caret ? first + count : caret + 1;
    struct bf_text marks = {0};
    for (size_t i = 0; i < end; i++) {
        char byte = i < length ? line[i] : ' ';
        if (((unsigned char)byte & 0xc0) == 0x80)
            continue;
        const char *blank = byte == '\t' ? "\t" : " ";
        bf_text_add(&marks, i == caret ? "^" : i >= first && i - first < count ? "~" : blank);
    }
    fprintf(diags->out, "%5u | %.*s\n      | %s%s%s\n", number, (int)length, line,
            style(diags, GREEN), marks.data, style(diags, PLAIN));
    bf_text_free(&marks);
}

/* Counts the diagnostic; false when it is to be dropped. */
static bool admit(struct bf_diags *diags, enum bf_severity severity) {
    if (diags->stopped)
        return false;
    if (severity == BF_WARNING)
        diags->warnings++;
    if (severity != BF_ERROR)
        return true;
    if (diags->error_limit && diags->errors == diags->error_limit) {
        diags->stopped = true;
        fprintf(diags->out, "%sbfcc: %serror: %stoo many errors, stopping now%s\n",
                style(diags, BOLD), style(diags, severity_colors[BF_ERROR]),
                style(diags, PLAIN BOLD), style(diags, PLAIN));
        return false;
    }
    diags->errors++;
    return true;
}

/* Whether it says the same as the one before: the kernels that one operator became, for example,
 * may all be refused for one reason. Notes of a repetition are repetitions, too. */
static bool repeats(struct bf_diags *diags, enum bf_severity severity, struct bf_loc loc,
                    const struct bf_text *message) {
    if (severity == BF_NOTE)
        return diags->repeated;
    uint64_t place[] = {(uint64_t)severity, loc.file, loc.line, loc.column};
    uint64_t hash = bf_hash(BF_HASH_START, place, sizeof place);
    hash = bf_hash(hash, message->data, message->length);
    diags->repeated = hash == diags->last;
    diags->last = hash;
    return diags->repeated;
}

static void print(struct bf_diags *diags, enum bf_severity severity, bool promoted,
                  struct bf_loc loc, unsigned length, unsigned caret, const char *message) {
    const struct bf_source *source = source_of(diags, loc);
    fputs(style(diags, BOLD), diags->out);
    if (source)
        fprintf(diags->out, "%s:%u:%u: ", source->name, loc.line, loc.column + caret);
    else
        fputs("bfcc: ", diags->out);
    fprintf(diags->out, "%s%s: %s", style(diags, severity_colors[severity]),
            severity_names[severity], style(diags, PLAIN));
    if (severity != BF_NOTE)
        fputs(style(diags, BOLD), diags->out);
    fprintf(diags->out, "%s%s%s\n", message, promoted ? " [-Werror]" : "", style(diags, PLAIN));

    const char *line;
    size_t line_length;
    if (source && loc.column && find_line(source, loc.line, &line, &line_length))
        print_snippet(diags, line, line_length, loc.line, loc.column - 1, length,
                      loc.column - 1 + caret);
}

static void report(struct bf_diags *diags, enum bf_severity severity, struct bf_loc loc,
                   unsigned length, unsigned caret, const char *format, va_list args) {
    bool promoted = severity == BF_WARNING && diags->warnings_as_errors;
    if (promoted)
        severity = BF_ERROR;
    struct bf_text message = {0};
    bf_text_vprintf(&message, format, args);
    if (!repeats(diags, severity, loc, &message) && admit(diags, severity))
        print(diags, severity, promoted, loc, length, caret, message.data);
    bf_text_free(&message);
}

void bf_diag(struct bf_diags *diags, enum bf_severity severity, struct bf_loc loc, unsigned length,
             unsigned caret, const char *format, ...) {
    va_list args;
    va_start(args, format);
    report(diags, severity, loc, length, caret, format, args);
    va_end(args);
}

bool bf_diag_error(struct bf_diags *diags, struct bf_loc loc, const char *format, ...) {
    va_list args;
    va_start(args, format);
    report(diags, BF_ERROR, loc, 0, 0, format, args);
    va_end(args);
    return false;
}

void bf_diag_note(struct bf_diags *diags, struct bf_loc loc, const char *format, ...) {
    va_list args;
    va_start(args, format);
    report(diags, BF_NOTE, loc, 0, 0, format, args);
    va_end(args);
}

static void print_count(struct bf_text *text, unsigned count, const char *noun) {
    if (!count)
        return;
    bf_text_printf(text, "%s%u %s%s", text->length ? " and " : "", count, noun,
                   count == 1 ? "" : "s");
}

void bf_diag_summary(struct bf_diags *diags) {
    struct bf_text text = {0};
    print_count(&text, diags->warnings, "warning");
    print_count(&text, diags->errors, "error");
    if (text.length)
        fprintf(diags->out, "%s generated.\n", text.data);
    bf_text_free(&text);
}
