/* frontend.h - from a .bfly file to a net.
 *
 *     text --lexer.l, parser.y--> AST --names.c--> checked --sema.c, eval.c, call.c--> struct
 * bf_net
 *
 * The language is described in docs/language.md.
 */
#ifndef BF_FRONTEND_H
#define BF_FRONTEND_H

#include "ir/diag.h"
#include "ir/net.h"

/* -Dname=value: sets a parameter of the network. */
struct bf_frontend_define {
    const char *name, *value;
};

struct bf_frontend_options {
    const char
        *name; /* main file, as printed in messages; relative includes start from its folder */
    const char *text; /* its contents; NULL: `name` is read ("-" is standard input) */
    size_t size;
    const char *const *include_dirs; /* searched for what is not beside the including file */
    size_t include_dir_count;
    const struct bf_frontend_define *defines;
    size_t define_count;
    const char *network; /* which one; NULL if the main file has only one */
};

/* Files that were read, as they can be opened from here: for -MD. Shipped ones are not listed. */
struct bf_frontend_files {
    struct {
        char **data;
        size_t count, capacity;
    } paths;
};
void bf_frontend_files_free(struct bf_frontend_files *files);

/* Compiles the network; NULL after errors, all of which are reported through `diags`. `sources`
 * must be empty and be diags->sources; it receives every file, the main one first, and owns the
 * texts. `files` may be NULL. The net's header has its file table set and defaults elsewhere. The
 * caller frees the net. */
struct bf_net *bf_frontend_compile(const struct bf_frontend_options *options,
                                   struct bf_sources *sources, struct bf_diags *diags,
                                   struct bf_frontend_files *files);

#endif
