/* main_bfdis.c - the disassembler: .bfx to text. */
#include "backend/asm.h"
#include "runtime/image.h"

#include <stdlib.h>

static const char help_text[] =
    "usage: bfdis [options] FILE.bfx\n"
    "\n"
    "Prints a .bfx file as text that bfas turns back into the same bytes. '-' is standard input.\n"
    "\n"
    "  -o FILE            write to FILE (default: '-', standard output)\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done, 1 the file is not valid, 70 bfdis is wrong.\n";

static int complain(const char *what, const char *word) {
    fprintf(stderr, "bfdis: error: %s%s%s\n", what, *word ? " " : "", word);
    return 1;
}

/* -1: go on; else the exit status. */
static int parse_options(const char **input, const char **output, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
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
        if (!strncmp(word, "-o", 2)) {
            *output = word[2] ? word + 2 : i + 1 < argc ? argv[++i] : NULL;
            if (!*output)
                return complain("-o needs a file name", "");
        } else if (word[0] == '-' && word[1]) {
            return complain("unknown option", word);
        } else if (*input) {
            return complain("more than one input:", word);
        } else {
            *input = word;
        }
    }
    return *input ? -1 : complain("no input; try --help", "");
}

int main(int argc, char **argv) {
    const char *input = NULL, *output = "-";
    int status = parse_options(&input, &output, argc, argv);
    if (status >= 0)
        return status;
    struct bf_error error = {0};
    size_t size;
    char *bytes = bf_read_file(input, &size, &error);
    if (!bytes)
        return complain(error.text, "");
    struct bf_program *program = bf_image_load(bytes, size, &error);
    free(bytes);
    if (!program) {
        fprintf(stderr, "%s: error: %s\n", input, error.text);
        return error.code == BF_ERROR_INTERNAL ? 70 : 1;
    }
    struct bf_text text = {0};
    bf_asm_print(program, &text);
    bool good = bf_write_file(output, text.data, text.length, &error);
    if (!good)
        complain(error.text, "");
    bf_text_free(&text);
    bf_program_free(program);
    return good ? 0 : 1;
}
