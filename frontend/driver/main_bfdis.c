/* main_bfdis.c - the disassembler: .bfx to text. */
#include "backend/asm.h"
#include "frontend/driver/provenance.h"
#include "runtime/image.h"

#include <stdlib.h>

static const char help_text[] =
    "usage: bfdis [options] FILE.bfx\n"
    "\n"
    "Prints a .bfx file as text that bfas turns back into the same bytes. '-' is standard input.\n"
    "\n"
    "  -line [FILE:]N     only what source line N became: blocks, their PEs and words\n"
    "  -profile FILE      only which line costs how much, from what bfrun -profile wrote;\n"
    "                     with -line: in which cycles\n"
    "  -word ADDRESS      only what a word of section .bf.code belongs to\n"
    "  -o FILE            write to FILE (default: '-', standard output)\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done, 1 the file is not valid, 70 bfdis is wrong.\n";

static int complain(const char *what, const char *word) {
    fprintf(stderr, "bfdis: error: %s%s%s\n", what, *word ? " " : "", word);
    return 1;
}

struct options {
    const char *input, *output, *line, *word, *profile;
};

/* The value of `-name value` or `-name=value`; NULL: the word is another option. */
static const char *value_of(const char *name, int argc, char **argv, int *at, bool *missing) {
    const char *word = argv[*at] + (argv[*at][0] == '-' && argv[*at][1] == '-');
    size_t length = strlen(name);
    if (strncmp(word, name, length) || (word[length] && word[length] != '='))
        return NULL;
    if (word[length])
        return word + length + 1;
    *missing = *at + 1 >= argc;
    return *missing ? NULL : argv[++*at];
}

/* Sets an option with a value; false if the word is none. */
static bool set_valued(struct options *options, int argc, char **argv, int *at, bool *missing) {
    const char **const fields[] = {&options->line, &options->word, &options->profile,
                                   &options->output};
    static const char *const names[] = {"-line", "-word", "-profile", "-o"};
    for (size_t i = 0; i < sizeof names / sizeof *names && !*missing; i++) {
        const char *value = value_of(names[i], argc, argv, at, missing);
        if (value)
            *fields[i] = value;
        if (value)
            return true;
    }
    if (!strncmp(argv[*at], "-o", 2) && argv[*at][2]) {
        options->output = argv[*at] + 2;
        return true;
    }
    return false;
}

/* -1: go on; else the exit status. */
static int parse_options(struct options *options, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        bool missing = false;
        if (!strncmp(word, "--", 2) && word[2])
            word++; /* one dash or two */
        if (!strcmp(word, "-help")) {
            fputs(help_text, stdout);
            return 0;
        }
        if (!strcmp(word, "-version")) {
            puts("bfdis " BF_VERSION);
            return 0;
        }
        if (word[0] != '-' || !word[1]) {
            if (options->input)
                return complain("more than one input:", word);
            options->input = word;
        } else if (!set_valued(options, argc, argv, &i, &missing)) {
            return complain(missing ? "a value is missing behind" : "unknown option", word);
        }
    }
    if (options->line && options->word)
        return complain("-line and -word are two questions", "");
    if (options->profile && options->word)
        return complain("-profile goes with -line, or alone", "");
    return options->input ? -1 : complain("no input; try --help", "");
}

static bool print(const struct options *options, const struct bf_program *program,
                  struct bf_text *text, struct bf_error *error) {
    if (options->line)
        return bf_provenance_line(program, options->line, options->profile, text, error);
    if (options->word)
        return bf_provenance_word(program, options->word, text, error);
    if (options->profile)
        return bf_provenance_lines(program, options->profile, text, error);
    bf_asm_print(program, text);
    return true;
}

int main(int argc, char **argv) {
    struct options options = {.output = "-"};
    int status = parse_options(&options, argc, argv);
    if (status >= 0)
        return status;
    struct bf_error error = {0};
    size_t size;
    char *bytes = bf_read_file(options.input, &size, &error);
    if (!bytes)
        return complain(error.text, "");
    struct bf_program *program = bf_image_load(bytes, size, &error);
    free(bytes);
    if (!program) {
        fprintf(stderr, "%s: error: %s\n", options.input, error.text);
        return error.code == BF_ERROR_INTERNAL ? 70 : 1;
    }
    struct bf_text text = {0};
    bool good = print(&options, program, &text, &error) &&
                bf_write_file(options.output, text.data, text.length, &error);
    if (!good)
        complain(error.text, "");
    bf_text_free(&text);
    bf_program_free(program);
    return good ? 0 : 1;
}
