/* main_bfas.c - the assembler: text to .bfx. */
#define _POSIX_C_SOURCE 200809L
#include "backend/asm.h"
#include "runtime/image.h"

#include <stdlib.h>
#include <unistd.h>

static const char help_text[] =
    "usage: bfas [options] FILE.bfs\n"
    "\n"
    "Assembles the text of an array program into a .bfx file. '-' is standard input.\n"
    "\n"
    "  -o FILE            write to FILE; '-' is standard output (default: FILE.bfx)\n"
    "  -fsyntax-only      check the text, write nothing\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done, 1 the text is wrong, 70 bfas is wrong.\n";

struct options {
    const char *input, *output;
    bool syntax_only;
};

static int complain(const char *what, const char *word) {
    fprintf(stderr, "bfas: error: %s%s%s\n", what, *word ? " " : "", word);
    return 1;
}

/* -1: go on; else the exit status. */
static int parse_options(struct options *options, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!strncmp(word, "--", 2) && word[2])
            word++; /* one dash or two */
        if (!strcmp(word, "-help")) {
            fputs(help_text, stdout);
            return 0;
        }
        if (!strcmp(word, "-version")) {
            puts("bfas " BF_VERSION);
            return 0;
        }
        if (!strcmp(word, "-fsyntax-only")) {
            options->syntax_only = true;
        } else if (!strncmp(word, "-o", 2)) {
            options->output = word[2] ? word + 2 : i + 1 < argc ? argv[++i] : NULL;
            if (!options->output)
                return complain("-o needs a file name", "");
        } else if (word[0] == '-' && word[1]) {
            return complain("unknown option", word);
        } else if (options->input) {
            return complain("more than one input:", word);
        } else {
            options->input = word;
        }
    }
    return options->input ? -1 : complain("no input; try --help", "");
}

/* "a/b.bfs" to "b.bfx" beside where bfas runs, as compilers do. */
static char *default_output(const char *input) {
    const char *slash = strrchr(input, '/');
    const char *name = strcmp(input, "-") ? (slash ? slash + 1 : input) : "a.bfs";
    const char *dot = strrchr(name, '.');
    size_t stem = dot && dot != name ? (size_t)(dot - name) : strlen(name);
    struct bf_text output = {0};
    bf_text_add_bytes(&output, name, stem);
    bf_text_add(&output, ".bfx");
    return output.data;
}

static bool write_program(const struct bf_program *program, const struct options *options) {
    struct bf_error error = {0};
    size_t size;
    uint8_t *bytes = bf_program_write(program, &size);
    /* Embedded weights are a file of their own kind, which only the loader knows. */
    struct bf_program *loaded = bf_image_load(bytes, size, &error);
    if (!loaded) {
        complain(error.text, "");
        free(bytes);
        return false;
    }
    bf_program_free(loaded);
    char *name = options->output ? bf_strdup(options->output) : default_output(options->input);
    bool good = bf_write_file(name, bytes, size, &error);
    if (!good)
        complain(error.text, "");
    free(name);
    free(bytes);
    return good;
}

int main(int argc, char **argv) {
    struct options options = {0};
    int status = parse_options(&options, argc, argv);
    if (status >= 0)
        return status;
    struct bf_error error = {0};
    size_t size;
    char *text = bf_read_file(options.input, &size, &error);
    if (!text)
        return complain(error.text, "");
    struct bf_sources sources = {0};
    struct bf_diags diags = {.sources = &sources,
                             .out = stderr,
                             .color = isatty(2) && !getenv("NO_COLOR"),
                             .error_limit = 20};
    const char *name = strcmp(options.input, "-") ? options.input : "<stdin>";
    uint32_t file = bf_source_add(&sources, name, text, size);
    struct bf_program *program = bf_asm_parse(text, size, file, &diags);
    bf_diag_summary(&diags);
    status = program && (options.syntax_only || write_program(program, &options)) ? 0 : 1;
    bf_program_free(program);
    bf_sources_free(&sources);
    return status;
}
