/* parse.c - around the generated scanner and parser: files that are no text, brackets, and the
 * words of syntax errors. */
#include "frontend/parse.h"
#include "frontend/parser.h"
#include "frontend/lexer.h"

#include <stdlib.h>

void fe_parse_error(struct fe_parse *parse, struct ast_span span, const char *format, ...) {
    parse->failed = true;
    if (parse->stopped)
        return;
    struct bf_text text = {0};
    va_list args;
    va_start(args, format);
    bf_text_vprintf(&text, format, args);
    va_end(args);
    fe_error(parse->report, span, "%s", text.data);
    bf_text_free(&text);
}

void fe_parse_bad_character(struct fe_parse *parse, struct ast_span span, const char *text,
                            const char *hint) {
    uint32_t last = parse->bad_character;
    parse->bad_character = span.end;
    parse->failed = true;
    if (!last || memchr(parse->text + last, '\n', span.begin - last))
        fe_parse_error(parse, span, "unexpected character '%.4s'%s", text, hint);
}

void fe_parse_too_deep(struct fe_parse *parse, struct ast_span span) {
    if (!parse->too_deep)
        fe_parse_error(parse, span, "this is nested deeper than %d levels", AST_MAX_DEPTH);
    parse->too_deep = parse->stopped = parse->failed = true;
}

bool fe_parse_open(struct fe_parse *parse, char kind, struct ast_span span) {
    if (parse->open_count == AST_MAX_DEPTH)
        return false;
    parse->open[parse->open_count++] = (struct fe_bracket){kind, span};
    return true;
}

/* A bracket that closes the wrong kind closes what is inside as well, so that one missing bracket
 * is not blamed on all that follow. */
void fe_parse_close(struct fe_parse *parse, char kind) {
    char opening = kind == ')' ? '(' : kind == ']' ? '[' : '{';
    for (unsigned i = parse->open_count; i > 0; i--)
        if (parse->open[i - 1].kind == opening) {
            parse->open_count = i - 1;
            return;
        }
}

/* ---- syntax errors ---- */

static bool is_one_of(const char *name, const char *const *set) {
    for (; *set; set++)
        if (!strcmp(name, *set))
            return true;
    return false;
}

static const char *const expression_starts[] = {"an integer", "a number", "a string", "a name",
                                                "'true'",     "'false'",  "'shared'", "'('",
                                                "'['",        "'-'",      "'!'",      NULL};
static const char *const statement_starts[] = {"'input'",  "'output'", "'const'", "'if'", "'for'",
                                               "'return'", "'{'",      "';'",     NULL};
static const char *const declaration_starts[] = {"'include'", "'const'", "'block'", "'network'",
                                                 NULL};
/* What may follow any operand; said only when nothing else may. */
static const char *const continuations[] = {"'||'", "'&&'", "'=='", "'!='", "'<'", "'<='",
                                            "'>'",  "'>='", "'+'",  "'-'",  "'*'", "'/'",
                                            "'%'",  "'['",  "'('",  "':'",  NULL};

static bool expects(const char *const *expected, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (!strcmp(expected[i], name))
            return true;
    return false;
}

/* "'=' or ';'", "an expression", "a statement or '}'". */
static void describe(struct bf_text *text, const char *const *expected, int count) {
    const char *words[64];
    unsigned used = 0;
    bool expression = expects(expected, count, "an integer");
    bool statement = expects(expected, count, "'input'");
    bool declaration = expects(expected, count, "'network'");
    /* In a list of arguments or parameters a comma is more likely to be missing than a value. */
    bool list = expects(expected, count, "')'") && expects(expected, count, "','");
    if (statement)
        words[used++] = "a statement";
    else if (expression)
        words[used++] = "an expression";
    if (declaration)
        words[used++] = "include, const, block or network";
    unsigned phrases = used;
    for (int pass = 0; pass < 2 && used == phrases && (pass == 0 || !phrases); pass++)
        for (int i = 0; i < count && used < 64; i++) {
            if (((expression || statement) && is_one_of(expected[i], expression_starts)) ||
                (statement && is_one_of(expected[i], statement_starts)) ||
                (declaration && is_one_of(expected[i], declaration_starts)) ||
                (pass == 0 && is_one_of(expected[i], continuations)) ||
                (statement && !strcmp(expected[i], "'else'")) ||
                (list && !strcmp(expected[i], "'='")) || !strcmp(expected[i], "end of file"))
                continue;
            words[used++] = expected[i];
        }
    for (unsigned i = 0; i < used; i++)
        bf_text_printf(text, "%s%s", i == 0 ? "" : i + 1 == used ? " or " : ", ", words[i]);
}

static void quote(const struct fe_parse *parse, struct ast_span span, struct bf_text *text) {
    if (span.begin >= parse->size)
        bf_text_add(text, "the end of the file");
    else if (span.end - span.begin > 40)
        bf_text_printf(text, "'%.40s...'", parse->text + span.begin);
    else
        bf_text_printf(text, "'%.*s'", (int)(span.end - span.begin), parse->text + span.begin);
}

static bool on_different_lines(const struct fe_parse *parse) {
    uint32_t from = parse->previous.end, to = parse->current.begin;
    return parse->previous.end && to > from && memchr(parse->text + from, '\n', to - from);
}

static bool spells(const struct fe_parse *parse, struct ast_span span, const char *word) {
    return span.end - span.begin == strlen(word) &&
           !memcmp(parse->text + span.begin, word, strlen(word));
}

/* Habits from other languages that deserve a word. */
static const char *advice(const struct fe_parse *parse, const char *const *expected, int count) {
    if (spells(parse, parse->current, "=") && expects(expected, count, "'=='"))
        return parse->previous.end && expects(expected, count, "')'") ? "; equality is '=='" : "";
    if (spells(parse, parse->previous, "and") || spells(parse, parse->current, "and"))
        return "; the logical operator is &&";
    if (spells(parse, parse->previous, "or") || spells(parse, parse->current, "or"))
        return "; the logical operator is ||";
    if (spells(parse, parse->current, "def") || spells(parse, parse->current, "class"))
        return "; a block begins with 'block'";
    return "";
}

void fe_parse_unexpected(struct fe_parse *parse, const char *const *expected, int count) {
    struct bf_text wanted = {0}, found = {0};
    if (parse->stopped) {
        parse->failed = true;
        return;
    }
    describe(&wanted, expected, count);
    bool at_end = parse->current.begin >= parse->size;
    const char *hint = advice(parse, expected, count);
    if (expects(expected, count, "';'") && !expects(expected, count, "an integer") && !at_end &&
        on_different_lines(parse)) {
        struct ast_span behind = {parse->file, parse->previous.end, parse->previous.end};
        quote(parse, parse->previous, &found);
        fe_parse_error(parse, behind, "expected %s after %s%s", wanted.data, found.data, hint);
    } else {
        quote(parse, parse->current, &found);
        if (wanted.length)
            fe_parse_error(parse, parse->current, "expected %s, found %s%s", wanted.data,
                           found.data, hint);
        else
            fe_parse_error(parse, parse->current, "unexpected %s%s", found.data, hint);
        if (at_end && parse->open_count) {
            const struct fe_bracket *open = &parse->open[parse->open_count - 1];
            fe_note(parse->report, open->span, "this '%c' is still open", open->kind);
        }
    }
    bf_text_free(&wanted);
    bf_text_free(&found);
}

/* ---- a file ---- */

/* Refuses what can't be a source text: a NUL byte, or more bytes than a span can count. */
static bool is_text(struct fe_parse *parse) {
    const char *nul = memchr(parse->text, 0, parse->size);
    if (parse->size > UINT32_MAX / 4) {
        fe_parse_error(parse, (struct ast_span){parse->file, 0, 0}, "the file is too large");
        return false;
    }
    if (!nul)
        return true;
    uint32_t at = (uint32_t)(nul - parse->text);
    fe_parse_error(parse, (struct ast_span){parse->file, at, at},
                   "NUL byte: this is not a UTF-8 text file");
    return false;
}

bool fe_parse_file(struct bf_arena *arena, struct fe_report *report, uint32_t file,
                   struct ast_file *result) {
    const struct bf_source *source = &report->sources->data[file];
    struct fe_parse parse = {
        .arena = arena, .report = report, .file = file, .text = source->text, .size = source->size};
    parse.include_tail = &parse.result.includes;
    parse.decl_tail = &parse.result.decls;
    parse.current = parse.previous = (struct ast_span){file, 0, 0};
    *result = parse.result;
    if (!is_text(&parse))
        return false;
    if (parse.size >= 3 && !memcmp(parse.text, "\xef\xbb\xbf", 3))
        parse.offset = 3;
    yyscan_t scanner;
    fe_yylex_init_extra(&parse, &scanner);
    fe_yy_scan_bytes(parse.text + parse.offset, (int)(parse.size - parse.offset), scanner);
    if (fe_yyparse(scanner, &parse))
        parse.failed = true;
    fe_yylex_destroy(scanner);
    bf_text_free(&parse.string);
    *result = parse.result;
    return !parse.failed;
}
