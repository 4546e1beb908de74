/* main_bfcc.c - the program bfcc: a command line around libbfcc. */
#include <stdlib.h>

#include "frontend/driver/crash.h"
#include "frontend/driver/explain.h"
#include "ir/arch.h"

static void list_passes(void) {
    for (const struct bf_pass_info *pass = bf_pass_list(); pass->name; pass++)
        printf("%-10s %-4s %s%s\n", pass->name, pass->level, pass->sentence,
               pass->optional ? " (optional)" : "");
}

static void list_arch(void) {
    for (size_t i = 0; i < bf_arch_file_count; i++)
        puts(bf_arch_files[i].name);
}

static int print_arch(const char *name) {
    struct bf_machine machine;
    struct bf_error error = {0};
    struct bf_text text = {0};
    if (!bf_arch_load(name, &machine, NULL, &error)) {
        fprintf(stderr, "bfcc: error: %s\n", error.text);
        return 1;
    }
    bf_arch_print(&machine, &text);
    fputs(text.data, stdout);
    bf_text_free(&text);
    return 0;
}

/* The level of a text by its first line; source if it can't be read now. */
static enum bf_level peek_level(const char *path) {
    static const char *const names[] = {"net", "poly", "map", "asm"};
    char start[4096] = "";
    FILE *file = strcmp(path, "-") ? fopen(path, "rb") : NULL;
    size_t size = file ? fread(start, 1, sizeof start, file) : 0;
    const char *level = bf_header_level(start, size);
    if (file)
        fclose(file);
    for (int i = 0; level && i < 4; i++)
        if (!strcmp(level, names[i]))
            return (enum bf_level)(BF_LEVEL_NET + i);
    return BF_LEVEL_SOURCE;
}

/* -###: what would be done. */
static void say_steps(const struct bf_options *options) {
    fprintf(stderr, "bfcc %s\n input: %s\n", BF_VERSION, options->input);
    bf_pass_plan_print(options, peek_level(options->input), stderr);
    fprintf(stderr, "output: %s\n",
            options->emit == BF_EMIT_NOTHING ? "none"
            : options->output                ? options->output
            : options->text_to_stdout        ? "-"
                                             : "named after the input");
}

static bool explain(const struct bf_compilation *c) {
    struct bf_text text = {0};
    struct bf_error error = {0};
    bool ok = bf_explain(c, c->options->explain, &text) &&
              bf_write_file(c->options->output ? c->options->output : "-", text.data, text.length,
                            &error);
    if (error.code)
        bf_diag_error(c->diags, (struct bf_loc){0}, "%s", error.text);
    bf_text_free(&text);
    return ok;
}

static void explain_refusal(const struct bf_compilation *c) {
    struct bf_text text = {0};
    bf_explain_refusal(c->options, &c->machine, &text);
    fputs(text.data ? text.data : "", stdout);
    bf_text_free(&text);
}

static int compile(const struct bf_options *options) {
    struct bf_sources sources = {0};
    struct bf_diags diags = {.sources = &sources,
                             .out = stderr,
                             .color = options->color,
                             .warnings_as_errors = options->werror,
                             .error_limit = 20};
    struct bf_compilation compilation = {.options = options};
    bf_crash_watch(&compilation);
    if (options->verbose)
        say_steps(options);
    bool ok = bf_compile(&compilation, options, &diags) &&
              (options->explain ? explain(&compilation) : bf_emit(&compilation));
    bf_times_add(&compilation.times, "write");
    bf_diag_summary(&diags);
    if (options->time_passes)
        bf_times_print(&compilation.times, stderr);
    if (compilation.internal)
        bf_crash_report();
    else if (!ok && options->explain && (compilation.poly || compilation.map))
        explain_refusal(&compilation);
    int status = ok ? 0 : compilation.internal ? BF_EXIT_INTERNAL : 1;
    bf_crash_watch(NULL);
    bf_compilation_free(&compilation);
    bf_sources_free(&sources);
    return status;
}

int main(int argc, char **argv) {
    struct bf_options options;
    int status = 0;
    bf_crash_install(argc, argv);
    if (!bf_options_parse(&options, argc, argv))
        status = 1;
    else if (options.help)
        bf_options_help(stdout);
    else if (options.version)
        printf("bfcc %s\n", BF_VERSION);
    else if (options.list_passes)
        list_passes();
    else if (options.list_arch)
        list_arch();
    else if (options.print_arch)
        status = print_arch(options.print_arch);
    else if (options.dry_run)
        say_steps(&options);
    else
        status = compile(&options);
    bf_options_free(&options);
    return status;
}
