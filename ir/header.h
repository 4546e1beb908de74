/* header.h - the first lines that the texts of every level (net, poly, map, asm) share:
 *
 *     bfcc net 1 arch=default:0123456789abcdef batch=8 opt=2 resident=0 weights=none
 *     file 0 "digits.bfly"
 *     file 1 "transformer.bfly"
 *
 * Comments go from a ';' to the end of the line, and may stand above the header.
 * The reader recognises the level by the second word. `loc(file, line, column)` attributes in the
 * text refer to the file table.
 */
#ifndef BF_HEADER_H
#define BF_HEADER_H

#include "ir/diag.h"

#define BF_TEXT_VERSION 1

/* What a compilation was configured with; carried unchanged from level to level. Strings belong to
 * the arena of whoever holds the header. */
struct bf_header {
    const char *arch;   /* name of the machine description; an identifier */
    uint64_t arch_hash; /* over its values */
    int64_t batch;      /* samples a run; 1 or more */
    unsigned opt;       /* -O level, 0..2 */
    bool resident;      /* inputs, weights and outputs start and end in the scratchpad */
    bool bound;         /* weights are bound; weights_hash is valid */
    uint64_t weights_hash;

    /* File table, names relative to the main file's folder. Entry i is entry file_base + i of the
     * bf_sources that diagnostics use; a bf_loc held in memory always indexes bf_sources. */
    const char **files;
    size_t file_count;
    uint32_t file_base;
};

/* arch "default", batch 1, everything else zero. */
void bf_header_init(struct bf_header *header);

/* Copies the names of all `sources` into the file table (file_base 0). */
void bf_header_set_files(struct bf_header *header, const struct bf_sources *sources,
                         struct bf_arena *arena);

void bf_header_print(const struct bf_header *header, const char *level, struct bf_text *text);

/* "loc(0,14,9)"; nothing is added for a loc without a line. */
void bf_header_print_loc(const struct bf_header *header, struct bf_loc loc, struct bf_text *text);

/* The level word ("net", "poly", ...) of a text, or NULL if it is not one of bfcc's texts. The
 * result is a static string. */
const char *bf_header_level(const char *text, size_t size);

/* A reader of texts made of lines of words. It never reads past the end, and reports errors at
 * line and column of the text itself. */
struct bf_reader {
    const char *text, *end, *at;
    const char *line_start;
    uint32_t file, line; /* file: index in diags->sources of the text being read */
    struct bf_diags *diags;
    struct bf_arena *arena; /* owner of the strings that are returned */
    bool failed;
};

/* `file` was obtained from bf_source_add by the caller. */
void bf_reader_init(struct bf_reader *reader, const char *text, size_t size, uint32_t file,
                    struct bf_diags *diags, struct bf_arena *arena);
struct bf_loc bf_reader_loc(const struct bf_reader *reader);
/* Reports at the current place, once a text; returns false. */
bool bf_reader_error(struct bf_reader *reader, const char *format, ...) BF_PRINTF(2, 3);

void bf_reader_blanks(struct bf_reader *reader);      /* skips blanks inside the line */
bool bf_reader_at_end(struct bf_reader *reader);      /* end of the text */
bool bf_reader_at_line_end(struct bf_reader *reader); /* after blanks */
/* Moves to the next line that is not empty; an error if the current one has words left. */
bool bf_reader_next_line(struct bf_reader *reader);
/* Consumes `word` (after blanks) if it comes next, as a whole word when it ends in a letter. */
bool bf_reader_accept(struct bf_reader *reader, const char *word);
bool bf_reader_expect(struct bf_reader *reader, const char *word);
/* [A-Za-z_][A-Za-z0-9_-]*, with further characters of `extra` allowed inside; NULL with an error
 * that names `what`. */
const char *bf_reader_word(struct bf_reader *reader, const char *extra, const char *what);
bool bf_reader_int(struct bf_reader *reader, int64_t *value);
bool bf_reader_hex(struct bf_reader *reader, uint64_t *value); /* 16 digits, no prefix */
bool bf_reader_double(struct bf_reader *reader, double *value);
/* "quoted", with \\ \" and \xHH. */
const char *bf_reader_string(struct bf_reader *reader);
void bf_text_add_quoted(struct bf_text *text, const char *s);
/* A name of letters, digits, '_', '.' and '-' as it is, any other quoted; and its reader. */
void bf_text_add_name(struct bf_text *text, const char *name);
const char *bf_reader_name(struct bf_reader *reader, const char *what);
/* Shortest decimal that reads back as the same double: "1e-5", "0.5", "-inf". */
void bf_text_add_double(struct bf_text *text, double value);

/* Reads the header line and the file table; adds the files to diags->sources. */
bool bf_header_parse(struct bf_reader *reader, const char *level, struct bf_header *header);
/* An optional loc(...); leaves *loc with line 0 if there is none. */
bool bf_header_parse_loc(struct bf_reader *reader, const struct bf_header *header,
                         struct bf_loc *loc);

#endif
