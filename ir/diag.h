/* diag.h - diagnostics of the compiler: many a run, each with place, caret and notes.
 *
 *     digits.bfly:14:27: error: attention: heads = 5 does not divide the query width 64
 *        14 |         m = attention(q, k, v, heads = 5);
 *           |                                ~~~~~~~~^
 *     digits.bfly:11:13: note: the width 64 comes from here
 *
 * A place is a byte range of a source file (struct bf_span, resolved to line and column only when
 * printed) or, after a resume from a text, a struct bf_loc that the text carries.
 */
#ifndef BF_DIAG_H
#define BF_DIAG_H

#include "ir/isa/base.h"

/* A source place as every IR level carries it: index into the file table, 1-based line and
 * column (columns count bytes). line 0: no place. */
struct bf_loc {
    uint32_t file, line, column;
};

struct bf_source {
    char *name; /* as printed: relative to the main file's folder when included */
    char *text; /* NUL-terminated; NULL when only the name is known (resumed from a text) */
    size_t size;
};

/* All files of a compilation; index 0 is the main file. */
struct bf_sources {
    struct bf_source *data;
    size_t count, capacity;
};

uint32_t bf_source_add(struct bf_sources *sources, const char *name, char *text /* owned */,
                       size_t size);
void bf_sources_free(struct bf_sources *sources);

enum bf_severity { BF_ERROR, BF_WARNING, BF_NOTE };

struct bf_diags {
    struct bf_sources *sources;
    FILE *out; /* normally stderr */
    bool color;
    bool warnings_as_errors;
    unsigned error_limit; /* 20; 0 means no limit */
    unsigned errors, warnings;
    bool stopped;  /* error_limit was reached */
    uint64_t last; /* hash of the last error or warning, so that it is not said twice in a row */
    bool repeated;
};

/* Prints "FILE:LINE:COL: SEVERITY: message", the source line and a caret line when the source text
 * is known. `length` bytes from loc are underlined with '~' (0 or 1: caret alone); the caret stands
 * at `loc` + `caret` bytes, and COL is the caret's column. A loc with line 0 prints "bfcc:
 * SEVERITY: message". A note belongs to the diagnostic before it and is dropped with it. */
void bf_diag(struct bf_diags *diags, enum bf_severity severity, struct bf_loc loc, unsigned length,
             unsigned caret, const char *format, ...) BF_PRINTF(6, 7);

/* Shorthand with no underline. Return false. */
bool bf_diag_error(struct bf_diags *diags, struct bf_loc loc, const char *format, ...)
    BF_PRINTF(3, 4);
void bf_diag_note(struct bf_diags *diags, struct bf_loc loc, const char *format, ...)
    BF_PRINTF(3, 4);

/* "2 errors generated." as clang prints it; nothing when there is nothing to say. */
void bf_diag_summary(struct bf_diags *diags);

#endif
