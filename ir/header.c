/* header.c - the header line of all texts, and the reader of their lines. See header.h. */
#include "ir/header.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

void bf_header_init(struct bf_header *header) {
    *header = (struct bf_header){.arch = "default", .batch = 1};
}

void bf_header_set_files(struct bf_header *header, const struct bf_sources *sources,
                         struct bf_arena *arena) {
    header->file_base = 0;
    header->file_count = sources->count;
    header->files = bf_arena_alloc(arena, sources->count * sizeof *header->files);
    for (size_t i = 0; i < sources->count; i++)
        header->files[i] = bf_arena_strdup(arena, sources->data[i].name);
}

/* ---- writing ---- */

void bf_header_print(const struct bf_header *header, const char *level, struct bf_text *text) {
    bf_text_printf(text, "bfcc %s %d arch=", level, BF_TEXT_VERSION);
    bf_text_add_name(text, header->arch);
    bf_text_printf(text, ":%016" PRIx64 " batch=%" PRId64 " opt=%u resident=%d weights=",
                   header->arch_hash, header->batch, header->opt, header->resident);
    if (header->bound)
        bf_text_printf(text, "%016" PRIx64 "\n", header->weights_hash);
    else
        bf_text_add(text, "none\n");
    for (size_t i = 0; i < header->file_count; i++) {
        bf_text_printf(text, "file %zu ", i);
        bf_text_add_quoted(text, header->files[i]);
        bf_text_add(text, "\n");
    }
}

void bf_header_print_loc(const struct bf_header *header, struct bf_loc loc, struct bf_text *text) {
    uint32_t file = loc.file - header->file_base;
    if (loc.line && file < header->file_count)
        bf_text_printf(text, "loc(%u,%u,%u)", file, loc.line, loc.column);
}

void bf_text_add_quoted(struct bf_text *text, const char *s) {
    bf_text_add(text, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            bf_text_printf(text, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            bf_text_printf(text, "\\x%02x", c);
        else
            bf_text_add_bytes(text, s, 1);
    }
    bf_text_add(text, "\"");
}

static bool starts_word(char c) {
    return isalpha((unsigned char)c) || c == '_';
}
static bool inside_word(char c, const char *extra) {
    return c && (isalnum((unsigned char)c) || c == '_' || strchr(extra, c));
}

void bf_text_add_name(struct bf_text *text, const char *name) {
    bool plain = starts_word(*name);
    for (const char *s = name; *s; s++)
        plain = plain && inside_word(*s, ".-");
    if (plain)
        bf_text_add(text, name);
    else
        bf_text_add_quoted(text, name);
}

void bf_text_add_double(struct bf_text *text, double value) {
    char digits[40];
    if (value != value) {
        bf_text_add(text, "nan");
        return;
    }
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    /* 1e-05 -> 1e-5, 1e+10 -> 1e10 */
    char *e = strchr(digits, 'e');
    if (e) {
        char *from = e + 1, *to = e + 1;
        if (*from == '-')
            to++;
        from++;
        while (*from == '0' && from[1])
            from++;
        memmove(to, from, strlen(from) + 1);
    }
    bf_text_add(text, digits);
}

/* ---- reading ---- */

static const char *const levels[] = {"net", "poly", "map", "asm"};

const char *bf_header_level(const char *text, size_t size) {
    for (const char *end; size && *text == ';' && (end = memchr(text, '\n', size));) {
        size -= (size_t)(end + 1 - text);
        text = end + 1;
    }
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        size_t length = strlen(levels[i]);
        if (size > 5 + length && !memcmp(text, "bfcc ", 5) &&
            !memcmp(text + 5, levels[i], length) && text[5 + length] == ' ')
            return levels[i];
    }
    return NULL;
}

void bf_reader_init(struct bf_reader *reader, const char *text, size_t size, uint32_t file,
                    struct bf_diags *diags, struct bf_arena *arena) {
    *reader = (struct bf_reader){.text = text,
                                 .end = text + size,
                                 .at = text,
                                 .line_start = text,
                                 .file = file,
                                 .line = 1,
                                 .diags = diags,
                                 .arena = arena};
}

struct bf_loc bf_reader_loc(const struct bf_reader *reader) {
    return (struct bf_loc){reader->file, reader->line,
                           (uint32_t)(reader->at - reader->line_start) + 1};
}

bool bf_reader_error(struct bf_reader *reader, const char *format, ...) {
    if (reader->failed)
        return false;
    reader->failed = true;
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return bf_diag_error(reader->diags, bf_reader_loc(reader), "%s", message);
}

void bf_reader_blanks(struct bf_reader *reader) {
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t'))
        reader->at++;
}

bool bf_reader_at_end(struct bf_reader *reader) {
    return reader->at >= reader->end;
}

bool bf_reader_at_line_end(struct bf_reader *reader) {
    bf_reader_blanks(reader);
    return reader->at >= reader->end || *reader->at == '\n' || *reader->at == ';' ||
           (*reader->at == '\r' && reader->at + 1 < reader->end && reader->at[1] == '\n');
}

bool bf_reader_next_line(struct bf_reader *reader) {
    if (reader->failed)
        return false;
    if (!bf_reader_at_line_end(reader))
        return bf_reader_error(reader, "unexpected text at the end of the line");
    do {
        while (reader->at < reader->end && *reader->at != '\n')
            reader->at++;
        if (reader->at >= reader->end)
            return false;
        reader->line_start = ++reader->at;
        reader->line++;
    } while (bf_reader_at_line_end(reader));
    return true;
}

bool bf_reader_accept(struct bf_reader *reader, const char *word) {
    bf_reader_blanks(reader);
    size_t length = strlen(word), left = (size_t)(reader->end - reader->at);
    if (reader->failed || left < length || memcmp(reader->at, word, length))
        return false;
    if (inside_word(word[length - 1], "") && left > length && inside_word(reader->at[length], "-"))
        return false;
    reader->at += length;
    return true;
}

bool bf_reader_expect(struct bf_reader *reader, const char *word) {
    return bf_reader_accept(reader, word) || bf_reader_error(reader, "expected '%s'", word);
}

const char *bf_reader_word(struct bf_reader *reader, const char *extra, const char *what) {
    bf_reader_blanks(reader);
    const char *start = reader->at, *at = start;
    if (reader->failed)
        return NULL;
    if (at < reader->end && starts_word(*at))
        while (at < reader->end && inside_word(*at, extra))
            at++;
    if (at == start) {
        bf_reader_error(reader, "expected %s", what);
        return NULL;
    }
    reader->at = at;
    char *word = bf_arena_alloc(reader->arena, (size_t)(at - start) + 1);
    memcpy(word, start, (size_t)(at - start));
    return word;
}

const char *bf_reader_name(struct bf_reader *reader, const char *what) {
    bf_reader_blanks(reader);
    if (reader->at < reader->end && *reader->at == '"')
        return bf_reader_string(reader);
    return bf_reader_word(reader, ".-", what);
}

/* A number, copied so that the conversions of libc can't run past the end of the text. */
static size_t number_token(struct bf_reader *reader, const char *extra, char token[64]) {
    bf_reader_blanks(reader);
    size_t length = 0, left = (size_t)(reader->end - reader->at);
    while (length < left && length < 63 && inside_word(reader->at[length], extra)) {
        token[length] = reader->at[length];
        length++;
    }
    token[length] = 0;
    return reader->failed ? 0 : length;
}

bool bf_reader_int(struct bf_reader *reader, int64_t *value) {
    char token[64];
    size_t length = number_token(reader, "-", token), i = token[0] == '-';
    uint64_t magnitude = 0;
    if (i >= length)
        return bf_reader_error(reader, "expected an integer");
    for (; i < length; i++) {
        if (!isdigit((unsigned char)token[i]))
            return bf_reader_error(reader, "expected an integer, not '%s'", token);
        magnitude = magnitude * 10 + (uint64_t)(token[i] - '0');
        if (magnitude > INT64_MAX / 10)
            return bf_reader_error(reader, "the integer %s is too large", token);
    }
    *value = token[0] == '-' ? -(int64_t)magnitude : (int64_t)magnitude;
    reader->at += length;
    return true;
}

bool bf_reader_hex(struct bf_reader *reader, uint64_t *value) {
    char token[64];
    size_t length = number_token(reader, "", token);
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        char c = token[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            length = 0;
        else
            *value = *value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (length != 16)
        return bf_reader_error(reader, "expected 16 hexadecimal digits");
    reader->at += length;
    return true;
}

bool bf_reader_double(struct bf_reader *reader, double *value) {
    char token[64], *stop;
    size_t length = number_token(reader, ".+-", token);
    *value = strtod(token, &stop);
    if (!length || *stop)
        return bf_reader_error(reader, "expected a number");
    reader->at += length;
    return true;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that the escape at reader->at (behind the backslash) stands for, or -1. */
static int escape(struct bf_reader *reader) {
    size_t left = (size_t)(reader->end - reader->at);
    if (left && (*reader->at == '"' || *reader->at == '\\'))
        return *reader->at++;
    if (left < 3 || *reader->at != 'x')
        return -1;
    int high = hex_digit(reader->at[1]), low = hex_digit(reader->at[2]);
    reader->at += 3;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

const char *bf_reader_string(struct bf_reader *reader) {
    if (!bf_reader_expect(reader, "\""))
        return NULL;
    struct bf_text text = {0};
    const char *result = NULL;
    while (reader->at < reader->end && *reader->at != '\n' && *reader->at) {
        int c = (unsigned char)*reader->at++;
        if (c == '"') {
            result = bf_arena_strdup(reader->arena, text.data ? text.data : "");
            break;
        }
        if (c == '\\' && (c = escape(reader)) <= 0)
            break;
        char byte = (char)c;
        bf_text_add_bytes(&text, &byte, 1);
    }
    bf_text_free(&text);
    if (!result)
        bf_reader_error(reader, "the string does not end, or holds what is not allowed in one");
    return result;
}

/* ---- the header ---- */

static bool parse_files(struct bf_reader *reader, struct bf_header *header) {
    struct {
        const char **data;
        size_t count, capacity;
    } files = {0};
    bool more;
    while ((more = bf_reader_next_line(reader)) && bf_reader_accept(reader, "file")) {
        int64_t index;
        const char *name;
        if (!bf_reader_int(reader, &index) || !(name = bf_reader_string(reader)))
            break;
        if (index != (int64_t)files.count) {
            bf_reader_error(reader, "expected file %zu", files.count);
            break;
        }
        *bf_push(&files) = name;
    }
    header->file_count = files.count;
    header->files = bf_arena_alloc(reader->arena, files.count * sizeof *header->files);
    for (size_t i = 0; i < files.count; i++)
        header->files[i] = files.data[i];
    free(files.data);
    if (!reader->failed && !more)
        bf_reader_error(reader, "the text ends after its header");
    return !reader->failed;
}

bool bf_header_parse(struct bf_reader *reader, const char *level, struct bf_header *header) {
    bf_header_init(header);
    if (bf_reader_at_line_end(reader))
        bf_reader_next_line(reader); /* comments stand above */
    int64_t version = 0, opt = 0, resident = 0;
    if (!bf_reader_expect(reader, "bfcc") || !bf_reader_expect(reader, level) ||
        !bf_reader_int(reader, &version))
        return false;
    if (version != BF_TEXT_VERSION)
        return bf_reader_error(reader, "this bfcc reads version %d of %s texts, not %lld",
                               BF_TEXT_VERSION, level, (long long)version);
    if (!bf_reader_expect(reader, "arch=") ||
        !(header->arch = bf_reader_name(reader, "the name of an array")) ||
        !bf_reader_expect(reader, ":") || !bf_reader_hex(reader, &header->arch_hash) ||
        !bf_reader_expect(reader, "batch=") || !bf_reader_int(reader, &header->batch) ||
        !bf_reader_expect(reader, "opt=") || !bf_reader_int(reader, &opt) ||
        !bf_reader_expect(reader, "resident=") || !bf_reader_int(reader, &resident) ||
        !bf_reader_expect(reader, "weights="))
        return false;
    if (header->batch < 1 || header->batch > INT32_MAX || opt < 0 || opt > 9 || resident < 0 ||
        resident > 1)
        return bf_reader_error(reader, "batch, opt or resident is out of range");
    header->opt = (unsigned)opt;
    header->resident = resident;
    header->bound = !bf_reader_accept(reader, "none");
    if (header->bound && !bf_reader_hex(reader, &header->weights_hash))
        return false;
    if (!parse_files(reader, header))
        return false;
    struct bf_sources *sources = reader->diags->sources;
    header->file_base = sources ? (uint32_t)sources->count : 0;
    for (size_t i = 0; sources && i < header->file_count; i++)
        bf_source_add(sources, header->files[i], NULL, 0);
    return true;
}

bool bf_header_parse_loc(struct bf_reader *reader, const struct bf_header *header,
                         struct bf_loc *loc) {
    *loc = (struct bf_loc){0};
    if (!bf_reader_accept(reader, "loc("))
        return !reader->failed;
    int64_t file, line, column;
    if (!bf_reader_int(reader, &file) || !bf_reader_expect(reader, ",") ||
        !bf_reader_int(reader, &line) || !bf_reader_expect(reader, ",") ||
        !bf_reader_int(reader, &column) || !bf_reader_expect(reader, ")"))
        return false;
    if (file < 0 || file >= (int64_t)header->file_count || line < 1 || line > UINT32_MAX ||
        column < 0 || column > UINT32_MAX)
        return bf_reader_error(reader, "loc(%lld,%lld,%lld) is no place in the files listed above",
                               (long long)file, (long long)line, (long long)column);
    *loc = (struct bf_loc){header->file_base + (uint32_t)file, (uint32_t)line, (uint32_t)column};
    return true;
}
