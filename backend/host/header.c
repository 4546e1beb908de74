/* header.c - the C header of a network. See module.h. */
#include "backend/host/header.h"

#include <ctype.h>
#include <inttypes.h>

#include "backend/host/module.h"

static const char *type_of(const struct bf_type *type) {
    return type->dtype == BF_U8 ? "uint8_t" : type->dtype == BF_I32 ? "int32_t" : "float";
}

static const char *upper(struct bf_arena *arena, const char *name) {
    char *copy = bf_arena_strdup(arena, name);
    for (char *c = copy; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    return copy;
}

/* Tensors may have names that C reserves. */
static const char *member(struct bf_arena *arena, const char *name) {
    static const char *const reserved[] = {
        "auto",      "break",   "case",      "char",     "const",    "continue", "default",
        "do",        "double",  "else",      "enum",     "extern",   "float",    "for",
        "goto",      "if",      "inline",    "int",      "long",     "register", "restrict",
        "return",    "short",   "signed",    "sizeof",   "static",   "struct",   "switch",
        "typedef",   "union",   "unsigned",  "void",     "volatile", "while",    "class",
        "new",       "delete",  "this",      "template", "operator", "private",  "public",
        "protected", "virtual", "namespace", "using",    "try",      "catch",    "throw",
        "true",      "false",   "bool",      "typename", "weights"};
    const char *symbol = bf_host_symbol(arena, name);
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (!strcmp(symbol, reserved[i]))
            return bf_arena_printf(arena, "%s_", symbol);
    return symbol;
}

struct writer {
    const struct bf_host_plan *plan;
    struct bf_arena arena;
    const char *name, *upper;
    struct bf_text *text;
};

static void write_struct(struct writer *w, bool output, enum bf_host_weights weights) {
    const struct bf_poly *poly = w->plan->poly;
    bf_text_printf(w->text, "struct %s_%s {\n", w->name, output ? "out" : "in");
    for (size_t i = 0; i < poly->tensors.count; i++) {
        const struct bf_poly_tensor *tensor = &poly->tensors.data[i];
        if (tensor->output != output)
            continue;
        bf_text_printf(w->text, "    %s%s *%s; /* ", output ? "" : "const ", type_of(&tensor->type),
                       member(&w->arena, tensor->name));
        if (poly->header.batch > 1)
            bf_text_printf(w->text, "[%" PRId64 "]", poly->header.batch);
        for (unsigned a = 0; a < tensor->type.rank; a++)
            bf_text_printf(w->text, "[%" PRId64 "]", tensor->type.dims[a]);
        bf_text_add(w->text, tensor->type.rank ? " */\n" : "one */\n");
    }
    if (!output && weights == BF_WEIGHTS_GIVEN && w->plan->blob_size)
        bf_text_printf(w->text,
                       "    const void *weights; /* the file of -weights-out, %" PRId64
                       " bytes, aligned to %d */\n",
                       w->plan->blob_size, BF_HOST_ALIGN);
    bf_text_add(w->text, "};\n");
}

/* #define NAME_X_SHAPE {4, 8}: of one sample; NAME_X_SIZE: elements of all samples. */
static void write_shapes(struct writer *w) {
    const struct bf_poly *poly = w->plan->poly;
    for (size_t i = 0; i < poly->tensors.count; i++) {
        const struct bf_poly_tensor *tensor = &poly->tensors.data[i];
        const char *name = upper(&w->arena, bf_host_symbol(&w->arena, tensor->name));
        bf_text_printf(w->text, "#define %s_%s_RANK %u\n", w->upper, name, tensor->type.rank);
        bf_text_printf(w->text, "#define %s_%s_SHAPE {", w->upper, name);
        for (unsigned a = 0; a < tensor->type.rank; a++)
            bf_text_printf(w->text, "%s%" PRId64, a ? ", " : "", tensor->type.dims[a]);
        bf_text_printf(w->text, "%s}\n", tensor->type.rank ? "" : "1");
        bf_text_printf(w->text, "#define %s_%s_SIZE %" PRId64 "\n", w->upper, name,
                       poly->header.batch * bf_type_elements(&tensor->type));
    }
}

static void write_functions(struct writer *w) {
    const char *n = w->name;
    bf_text_printf(w->text,
                   "/* Results of %s_run: 0, or why it did nothing. */\n"
                   "enum {\n"
                   "    %s_ERROR_NULL = %d,       /* a pointer is NULL */\n"
                   "    %s_ERROR_MISALIGNED = %d, /* the workspace */\n"
                   "    %s_ERROR_ID = %d          /* an id is no row of its table */\n"
                   "};\n\n",
                   n, w->upper, BF_RUN_NULL, w->upper, BF_RUN_MISALIGNED, w->upper, BF_RUN_ID);
    bf_text_printf(
        w->text,
        "/* One batch. Outputs overlap neither inputs nor the workspace, which holds\n"
        " * %s_WORKSPACE_SIZE bytes of any content, aligned to %s_WORKSPACE_ALIGN. Threads\n"
        " * may run at once, each with a workspace of its own. */\n"
        "int %s_run(const struct %s_in *in, const struct %s_out *out, void *workspace);\n"
        "/* The same on the executor's threads (NULL: on the caller's alone), in a workspace of\n"
        " * %s_workspace_size(executor->threads) bytes. */\n"
        "int %s_run_on(const struct %s_in *in, const struct %s_out *out, void *workspace,\n"
        "              const struct bf_executor *executor);\n"
        "int64_t %s_workspace_size(unsigned threads);\n"
        "const struct bf_network_description *%s_describe(void);\n",
        w->upper, w->upper, n, n, n, n, n, n, n, n, n);
}

void bf_host_header(const struct bf_host_plan *plan, enum bf_host_weights weights,
                    struct bf_text *text) {
    struct writer w = {.plan = plan, .text = text};
    w.name = bf_host_symbol(&w.arena, plan->poly->name);
    w.upper = upper(&w.arena, w.name);
    bf_text_printf(text, "/* The network '%s', compiled by bfcc " BF_VERSION ". */\n",
                   plan->poly->name);
    bf_text_printf(text, "#ifndef %s_H\n#define %s_H\n\n", w.upper, w.upper);
    for (size_t i = 0; i < bf_host_header_file_count; i++)
        bf_text_printf(text, "%s\n", bf_host_header_files[i].text);
    bf_text_add(text, "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    bf_text_printf(text, "#define %s_BATCH %" PRId64 "\n", w.upper, plan->poly->header.batch);
    write_shapes(&w);
    bf_text_printf(text, "#define %s_WORKSPACE_SIZE %" PRId64 "\n", w.upper,
                   bf_host_workspace(plan, 1));
    bf_text_printf(text, "#define %s_WORKSPACE_ALIGN %d\n\n", w.upper, BF_HOST_ALIGN);
    write_struct(&w, false, weights);
    write_struct(&w, true, weights);
    bf_text_add(text, "\n");
    write_functions(&w);
    bf_text_add(text, "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
    bf_arena_free(&w.arena);
}
