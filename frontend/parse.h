/* parse.h - what scanner and grammar share. Only lexer.l, parser.y and parse.c include this. */
#ifndef BF_FRONTEND_PARSE_H
#define BF_FRONTEND_PARSE_H

#include "frontend/ast.h"
#include "frontend/report.h"

struct fe_bracket {
    char kind; /* '(', '[' or '{' */
    struct ast_span span;
};

struct fe_parse {
    struct bf_arena *arena;
    struct fe_report *report;
    uint32_t file;
    const char *text;
    size_t size;
    uint32_t offset;          /* of the scanner: end of the last match */
    uint32_t start;           /* of a comment or string that is being scanned */
    struct bf_text string;    /* the string being scanned, decoded */
    struct ast_span current;  /* last token handed to the parser */
    struct ast_span previous; /* the one before it */
    struct fe_bracket open[AST_MAX_DEPTH];
    unsigned open_count;
    uint32_t bad_character; /* behind the last one; 0: none so far */
    bool failed;            /* an error was reported */
    bool stopped;           /* no use to go on: the scanner says end of file from now on */
    bool too_deep;          /* reported */
    struct ast_file result;
    struct ast_include **include_tail;
    struct ast_decl **decl_tail;
};

/* Parses source `file` of report->sources. False after errors (all reported); *result is then
 * what could be understood. */
bool fe_parse_file(struct bf_arena *arena, struct fe_report *report, uint32_t file,
                   struct ast_file *result);

/* Reports and sets parse->failed. */
void fe_parse_error(struct fe_parse *parse, struct ast_span span, const char *format, ...)
    BF_PRINTF(3, 4);
/* The same for a character that no token begins with: once a line. */
void fe_parse_bad_character(struct fe_parse *parse, struct ast_span span, const char *text,
                            const char *hint);
/* "expected ';', found 'x'" at the current token, or "expected ';' after 'y'" behind the one before
 * it where that reads better. `expected` holds the names of all tokens that could come here. */
void fe_parse_unexpected(struct fe_parse *parse, const char *const *expected, int count);
/* Reports, once a file, that the nesting is too deep. */
void fe_parse_too_deep(struct fe_parse *parse, struct ast_span span);
/* The brackets that are open, kept by the scanner; false when there are too many. */
bool fe_parse_open(struct fe_parse *parse, char kind, struct ast_span span);
void fe_parse_close(struct fe_parse *parse, char kind);

#endif
