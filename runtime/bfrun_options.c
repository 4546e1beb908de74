/* bfrun_options.c - reads the command line of bfrun. One table feeds parser, help and suggestions.
 */
#define _POSIX_C_SOURCE 200809L
#include "runtime/bfrun_options.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/bfrt.h"

enum option_id {
    IN,
    RANDOM,
    OUT,
    DEVICE,
    STATS,
    TRACE,
    TRACE_CYCLES,
    TRACE_TEXT,
    PROFILE,
    REPORT,
    FROM_PROFILE,
    SOURCE,
    LIMIT,
    WEIGHTS,
    RANDOM_WEIGHTS,
    BATCH,
    EXACT,
    COMPARE,
    DESCRIBE,
    CHECK,
    QUIET,
    WERROR,
    HELP,
    VERSION
};

static const struct option {
    const char *name, *argument, *help; /* argument NULL: a flag */
    enum option_id id;
} table[] = {
    {"-in", "FILE", "take inputs from a safetensors file; may be repeated", IN},
    {"-random-inputs", "SEED", "take pseudo-random inputs; -in replaces them one by one", RANDOM},
    {"-out", "FILE", "write the outputs to a safetensors file", OUT},
    {"-o", "FILE", NULL, OUT},
    {"-device", "NAME", "what it runs on (default: sim; with -compare: ref)", DEVICE},
    {"-stats", "text|json", "report what the run cost", STATS},
    {"-report", "FILE", "write a page that shows where the cycles went (sim)", REPORT},
    {"-profile", "FILE", "write what the page shows, as JSON (sim)", PROFILE},
    {"-from-profile", "FILE", "with -report: show this profile; run nothing", FROM_PROFILE},
    {"-source", "DIR", "a folder with the sources that a report shows; may be repeated", SOURCE},
    {"-trace", "FILE", "write a timeline for Perfetto (sim)", TRACE},
    {"-trace-cycles", "A:B", "of cycles A to B only; either may be missing", TRACE_CYCLES},
    {"-trace-text", "FILE", "write what every unit does in every cycle (sim)", TRACE_TEXT},
    {"-cycle-limit", "N", "give up after N cycles", LIMIT},
    {"-weights", "FILE", "of a .bfly or .net: its parameters; may be repeated", WEIGHTS},
    {"-random-weights", "SEED", "of a .bfly or .net: pseudo-random ones", RANDOM_WEIGHTS},
    {"-batch", "N", "of a .bfly or .net: samples a run", BATCH},
    {"-exact", NULL, "simulate every cycle: skip no steady state (sim)", EXACT},
    {"-compare", NULL, "show each operator's error against float64 (ref; needs bfcc -embed-net)",
     COMPARE},
    {"-describe", NULL, "show inputs, outputs, machine and kernels; run nothing", DESCRIBE},
    {"-check", NULL, "prove that results cannot depend on timing; run nothing", CHECK},
    {"-q", NULL, "no progress, no warnings", QUIET},
    {"-Werror", NULL, "warnings are errors", WERROR},
    {"-help", NULL, NULL, HELP},
    {"-h", NULL, NULL, HELP},
    {"-version", NULL, NULL, VERSION},
};
enum { OPTIONS = sizeof table / sizeof *table, DEEPEST_FILE = 8 };

void bf_run_options_help(FILE *out) {
    fputs("usage: bfrun [options] MODEL.bfx|NETWORK.bfly|NETWORK.net\n"
          "\n"
          "Runs a compiled network on a device, or a network itself on this CPU. '-' is standard\n"
          "input or output.\n"
          "\n",
          out);
    for (size_t i = 0; i < OPTIONS; i++) {
        char left[40];
        snprintf(left, sizeof left, "%s %s", table[i].name,
                 table[i].argument ? table[i].argument : "");
        if (table[i].help)
            fprintf(out, "  %-22s %s\n", left, table[i].help);
    }
    fputs("  @FILE                  read further arguments from FILE\n"
          "  --help, --version\n"
          "\n"
          "Devices:\n",
          out);
    for (size_t i = 0; bfrt_device_name(i); i++)
        fprintf(out, "  %-22s %s\n", bfrt_device_name(i), bfrt_device_what(i));
    fputs("\n"
          "Exit status: 0 done, 1 the input is wrong or the program is, 70 bfrun is wrong.\n",
          out);
}

/* All arguments, with those of @files in their places. */
struct words {
    struct {
        const char **data;
        size_t count, capacity;
    } list;
    size_t at;
    struct bf_arena *arena;
    struct bf_error *error;
};

static bool expand(struct words *words, const char *word, int depth) {
    if (word[0] != '@' || !word[1]) {
        *bf_push(&words->list) = word;
        return true;
    }
    if (depth == DEEPEST_FILE)
        return bf_fail(words->error, BF_ERROR_INPUT, "arguments from files are nested too deep");
    char *text = bf_read_file(word + 1, NULL, words->error);
    if (!text)
        return false;
    char *copy = bf_arena_strdup(words->arena, text), *state = NULL;
    free(text);
    for (char *w = strtok_r(copy, " \t\r\n", &state); w; w = strtok_r(NULL, " \t\r\n", &state))
        if (!expand(words, w, depth + 1))
            return false;
    return true;
}

static bool unknown(const char *word, struct bf_error *error) {
    const char *nearest = NULL;
    size_t best = 3;
    for (size_t i = 0; i < OPTIONS; i++) {
        size_t distance = bf_edit_distance(word, table[i].name, best);
        if (distance < best) {
            best = distance;
            nearest = table[i].name;
        }
    }
    return bf_fail(error, BF_ERROR_INPUT, "unknown option '%s'%s%s%s", word,
                   nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

/* The option that `word` is, with one or two dashes and perhaps "=value". NULL if there is none. */
static const struct option *find(const char *word, const char **value) {
    const char *name = word[1] == '-' ? word + 1 : word;
    const char *equal = strchr(name, '=');
    size_t length = equal ? (size_t)(equal - name) : strlen(name);
    *value = equal ? equal + 1 : NULL;
    for (size_t i = 0; i < OPTIONS; i++)
        if (strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0)
            return &table[i];
    return NULL;
}

static bool once(const char **slot, const char *value, const char *what, struct bf_error *error) {
    if (*slot)
        return bf_fail(error, BF_ERROR_INPUT, "%s is given twice: '%s' and '%s'", what, *slot,
                       value);
    *slot = value;
    return true;
}

static bool set_stats(struct bf_run_options *options, const char *value, struct bf_error *error) {
    if (strcmp(value, "text") == 0)
        options->stats = BF_STATS_TEXT;
    else if (strcmp(value, "json") == 0)
        options->stats = BF_STATS_JSON;
    else
        return bf_fail(error, BF_ERROR_INPUT, "'-stats' takes text or json, not '%s'", value);
    return true;
}

static bool whole_number(const char *value, uint64_t *number) {
    char *end;
    errno = 0;
    *number = strtoull(value, &end, 10);
    return !errno && !*end && value[0] >= '0' && value[0] <= '9';
}

static bool set_limit(struct bf_run_options *options, const char *value, struct bf_error *error) {
    return whole_number(value, &options->cycle_limit) ||
           bf_fail(error, BF_ERROR_INPUT, "'-cycle-limit' takes a number of cycles, not '%s'",
                   value);
}

static bool set_seed(struct bf_run_options *options, const char *value, struct bf_error *error) {
    options->random_inputs = true;
    return whole_number(value, &options->seed) ||
           bf_fail(error, BF_ERROR_INPUT, "'-random-inputs' takes a whole number, not '%s'", value);
}

static bool set_range(struct bf_run_options *options, const char *value, struct bf_error *error) {
    const char *colon = strchr(value, ':');
    char *first = bf_arena_printf(&options->arena, "%.*s", colon ? (int)(colon - value) : 0, value);
    options->trace_from = options->trace_to = 0;
    if (colon && (colon[1] || *first) && (!*first || whole_number(first, &options->trace_from)) &&
        (!colon[1] || whole_number(colon + 1, &options->trace_to)) &&
        (!colon[1] || options->trace_to > options->trace_from))
        return true;
    return bf_fail(error, BF_ERROR_INPUT,
                   "'-trace-cycles' takes two cycles as in 1000:2000, not '%s'", value);
}

static bool apply(struct bf_run_options *options, const struct option *option, const char *value,
                  struct bf_error *error) {
    switch (option->id) {
    case IN:
        *bf_push(&options->inputs) = value;
        return true;
    case OUT:
        return once(&options->output, value, "'-out'", error);
    case DEVICE:
        options->device = value;
        return true;
    case STATS:
        return set_stats(options, value, error);
    case TRACE:
        return once(&options->trace, value, "'-trace'", error);
    case TRACE_CYCLES:
        return set_range(options, value, error);
    case TRACE_TEXT:
        return once(&options->trace_text, value, "'-trace-text'", error);
    case PROFILE:
        return once(&options->profile, value, "'-profile'", error);
    case REPORT:
        return once(&options->report, value, "'-report'", error);
    case FROM_PROFILE:
        return once(&options->from_profile, value, "'-from-profile'", error);
    case SOURCE:
        *bf_push(&options->sources) = value;
        return true;
    case LIMIT:
        return set_limit(options, value, error);
    case RANDOM:
        return set_seed(options, value, error);
    case WEIGHTS:
    case RANDOM_WEIGHTS:
    case BATCH:
        *bf_push(&options->network) = option->name;
        *bf_push(&options->network) = value;
        return true;
    case EXACT:
        options->exact = true;
        return true;
    case COMPARE:
        return options->compare = true;
    case DESCRIBE:
        return options->describe = true;
    case CHECK:
        return options->check = true;
    case QUIET:
        return options->quiet = true;
    case WERROR:
        return options->warnings_are_errors = true;
    case HELP:
        return options->help = true;
    case VERSION:
        return options->version = true;
    }
    return true;
}

static bool take(struct bf_run_options *options, struct words *words, struct bf_error *error) {
    const char *word = words->list.data[words->at++], *value;
    if (word[0] != '-' || !word[1])
        return once(&options->model, word, "the model", error);
    const struct option *option = find(word, &value);
    if (!option)
        return unknown(word, error);
    if (!option->argument && value)
        return bf_fail(error, BF_ERROR_INPUT, "option '%s' takes no value", option->name);
    if (option->argument && !value) {
        if (words->at == words->list.count)
            return bf_fail(error, BF_ERROR_INPUT, "option '%s' needs a value: %s", option->name,
                           option->argument);
        value = words->list.data[words->at++];
    }
    return apply(options, option, value, error);
}

static bool check_outputs(const struct bf_run_options *options, struct bf_error *error) {
    const char *const files[] = {options->output, options->trace, options->trace_text,
                                 options->profile, options->report};
    int to_stdout = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        to_stdout += files[i] && strcmp(files[i], "-") == 0;
    return to_stdout < 2 || bf_fail(error, BF_ERROR_INPUT, "only one file can be standard output");
}

/* What cannot go together. */
static bool check(const struct bf_run_options *options, struct bf_error *error) {
    if (options->from_profile)
        return (options->report && !options->model) ||
               bf_fail(error, BF_ERROR_INPUT, "'-from-profile' goes with -report and no model");
    if (!options->model)
        return bf_fail(error, BF_ERROR_INPUT, "no model: give a .bfx file, or --help");
    if (options->network.count > 1 && !bf_run_options_network(options))
        return bf_fail(error, BF_ERROR_INPUT,
                       "'%s' goes with a .bfly or .net: a program has its own",
                       options->network.data[0]);
    int from_stdin = strcmp(options->model, "-") == 0;
    for (size_t i = 0; i < options->inputs.count; i++)
        from_stdin += strcmp(options->inputs.data[i], "-") == 0;
    if (from_stdin > 1)
        return bf_fail(error, BF_ERROR_INPUT, "only one file can be standard input");
    return check_outputs(options, error);
}

bool bf_run_options_network(const struct bf_run_options *options) {
    const char *dot = options->model ? strrchr(options->model, '.') : NULL;
    return dot && (!strcmp(dot, ".bfly") || !strcmp(dot, ".net"));
}

bool bf_run_options_profiles(const struct bf_run_options *options) {
    return options->trace || options->profile || options->report;
}

/* Where a name of the file table is looked for: folders given, here, beside the model. */
static void complete_sources(struct bf_run_options *options) {
    const char *slash = options->model ? strrchr(options->model, '/') : NULL;
    *bf_push(&options->sources) = "";
    if (slash)
        *bf_push(&options->sources) =
            bf_arena_printf(&options->arena, "%.*s", (int)(slash - options->model), options->model);
    *bf_push(&options->sources) = NULL;
}

bool bf_run_options_parse(struct bf_run_options *options, int argc, char **argv,
                          struct bf_error *error) {
    *options = (struct bf_run_options){0};
    options->color = !getenv("NO_COLOR") && isatty(STDERR_FILENO);
    struct words words = {.arena = &options->arena, .error = error};
    bool ok = true;
    for (int i = 1; ok && i < argc; i++)
        ok = expand(&words, argv[i], 0);
    while (ok && words.at < words.list.count)
        ok = take(options, &words, error);
    free(words.list.data);
    complete_sources(options);
    *bf_push(&options->network) = NULL;
    if (!options->device && bf_run_options_network(options))
        options->device = "host";
    if (!options->device)
        options->device = options->compare && !bf_run_options_profiles(options) ? "ref" : "sim";
    return ok && (options->help || options->version || check(options, error));
}

void bf_run_options_free(struct bf_run_options *options) {
    free(options->inputs.data);
    free(options->sources.data);
    free(options->network.data);
    bf_arena_free(&options->arena);
}
