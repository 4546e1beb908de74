/* options.c - reads the command line of bfcc. */
#define _POSIX_C_SOURCE 200809L
#include "frontend/driver/options.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static bool complain(const char *format, const char *what) {
    fputs("bfcc: error: ", stderr);
    fprintf(stderr, format, what); /* NOLINT: formats are literals of this file */
    fputs("\n", stderr);
    return false;
}

/* Arguments with @files replaced by their words. */
struct arguments {
    struct bf_strings words;
    size_t at;
    struct bf_arena *arena;
};

/* The next word of a file of arguments, in place: blanks separate, quotes and backslashes keep
 * them. NULL at the end. */
static char *next_word(char **text) {
    char *in = *text, *out, *word, quote = '\0';
    in += strspn(in, " \t\r\n");
    if (!*in)
        return NULL;
    for (word = out = in; *in && (quote || !strchr(" \t\r\n", *in)); in++) {
        if (*in == '\\' && in[1] && quote != '\'')
            *out++ = *++in;
        else if (quote ? *in == quote : *in == '\'' || *in == '"')
            quote = quote ? '\0' : *in;
        else
            *out++ = *in;
    }
    *text = *in ? in + 1 : in;
    *out = '\0';
    return word;
}

static bool expand(struct arguments *arguments, const char *word, int depth) {
    if (word[0] != '@' || !word[1]) {
        *bf_push(&arguments->words) = word;
        return true;
    }
    struct bf_error error = {0};
    size_t size;
    if (depth == 8)
        return complain("'%s': files of arguments are nested too deep", word);
    char *text = bf_read_file(word + 1, &size, &error);
    if (!text)
        return complain("%s", error.text);
    char *copy = bf_arena_strdup(arguments->arena, text);
    free(text);
    for (char *w; (w = next_word(&copy));)
        if (!expand(arguments, w, depth + 1))
            return false;
    return true;
}

/* The value of an option: after '=', glued on, or the next word. NULL after an error. */
static const char *value_of(struct arguments *arguments, const char *option) {
    if (arguments->at < arguments->words.count)
        return arguments->words.data[arguments->at++];
    complain("option '%s' needs a value", option);
    return NULL;
}

static bool number(const char *text, const char *option, int64_t low, int64_t high,
                   int64_t *value) {
    char *end;
    errno = 0;
    long long n = text ? strtoll(text, &end, 10) : 0;
    if (!text)
        return false;
    if (errno || end == text || *end || n < low || n > high) {
        fprintf(stderr,
                "bfcc: error: option '%s' needs a whole number from %lld to %lld, not '%s'\n",
                option, (long long)low, (long long)high, text);
        return false;
    }
    *value = n;
    return true;
}

static bool emit_level(struct bf_options *options, const char *level) {
    static const char *const names[] = {"bfx", "net",  "poly", "map",
                                        "asm", "host", "obj",  "header"};
    for (size_t i = 0; level && i < sizeof names / sizeof *names; i++) {
        if (!strcmp(level, names[i])) {
            options->emit = (enum bf_emit)i;
            options->text_to_stdout = options->emit != BF_EMIT_BFX &&
                                      options->emit != BF_EMIT_OBJ &&
                                      options->emit != BF_EMIT_HEADER;
            return true;
        }
    }
    return level &&
           complain("there is no level '%s': net, poly, map, asm, bfx, obj, header or host", level);
}

static bool define(struct bf_options *options, const char *text) {
    const char *equal = strchr(text, '=');
    if (!equal || equal == text)
        return complain("option '-D%s' needs the form -Dname=value", text);
    *bf_push(&options->defines) = (struct bf_frontend_define){
        bf_arena_printf(&options->arena, "%.*s", (int)(equal - text), text), equal + 1};
    return true;
}

/* How the value of an option is kept. */
enum kind {
    TEXT,     /* const char * */
    MAYBE,    /* the same, "" when no value follows '=' */
    LIST,     /* struct bf_strings */
    FLAG,     /* bool */
    YES,      /* int, 1 */
    OPTIMIZE, /* the digit of the name */
    SEED,
    BATCH,
    DEFINE,
    EMIT,
    ASM_FILE,
    BFX,
    NOTHING,
    NONE, /* accepted as others know it, without effect */
};

static const struct option {
    const char *name, *value;
    enum kind kind;
    size_t field;
    const char *help;
} table[] = {
#define BF_OPTION(name, value, kind, field, help)                                                  \
    {name, value, kind, offsetof(struct bf_options, field), help},
#include "frontend/driver/options.def"
#undef BF_OPTION
};
enum { OPTION_COUNT = sizeof table / sizeof *table, HELP_COLUMN = 25 };

/* "  -name VALUE" and, from HELP_COLUMN on, the lines of the help text. */
static void print_option(const struct option *option, FILE *out) {
    bool glued = option->kind == DEFINE;
    int width =
        fprintf(out, "  %s%s%s", option->name, *option->value && !glued ? " " : "", option->value);
    for (const char *line = option->help; *line; line += *line == '\n') {
        int length = (int)strcspn(line, "\n");
        if (width >= HELP_COLUMN)
            fprintf(out, "\n%*s", HELP_COLUMN, "");
        else
            fprintf(out, "%*s", HELP_COLUMN - width, "");
        fprintf(out, "%.*s", length, line);
        width = HELP_COLUMN + length;
        line += length;
    }
    fputs("\n", out);
}

void bf_options_help(FILE *out) {
    fputs("usage: bfcc [options] FILE\n"
          "\n"
          "Compiles a network (.bfly, or a text of any level) for a dataflow array.\n"
          "\n",
          out);
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (*table[i].help)
            print_option(&table[i], out);
    fputs("  @FILE                  read further arguments from FILE\n"
          "  --help, --version\n"
          "\n"
          "Exit status: 0 done, 1 the input is wrong or can't be mapped, 70 bfcc is wrong.\n",
          out);
}

static bool unknown(const char *word, const char *name) {
    const char *near = NULL;
    size_t least = 4;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const char *option = table[i].name;
        size_t distance = strlen(option) > 3 ? bf_edit_distance(name, option, least) : least;
        near = distance < least ? option : near;
        least = distance < least ? distance : least;
    }
    fprintf(stderr, "bfcc: error: unknown option '%s'%s%s%s\n", word,
            near ? "; did you mean '" : "; --help lists them", near ? near : "", near ? "'?" : "");
    return false;
}

static bool set_seed(struct bf_options *options, const char *name, const char *value) {
    int64_t n = 0;
    if (!number(value, name, 0, INT64_MAX, &n))
        return false;
    options->random_weights = true;
    options->seed = (uint64_t)n;
    return true;
}

static bool set(struct bf_options *options, const struct option *option, const char *value) {
    void *field = (char *)options + option->field;
    switch (option->kind) {
    case TEXT:
    case MAYBE:
        *(const char **)field = value;
        return true;
    case LIST:
        *bf_push((struct bf_strings *)field) = value;
        return true;
    case FLAG:
        *(bool *)field = true;
        return true;
    case YES:
        *(int *)field = 1;
        return true;
    case OPTIMIZE:
        options->optimize = option->name[2] - '0';
        return true;
    case SEED:
        return set_seed(options, option->name, value);
    case BATCH:
        return number(value, option->name, 1, 1 << 20, &options->batch);
    case DEFINE:
        return define(options, value);
    case EMIT:
        return emit_level(options, value);
    case ASM_FILE:
        options->text_to_stdout = false;
        options->emit = BF_EMIT_ASM;
        return true;
    case BFX:
        options->emit = BF_EMIT_BFX;
        return true;
    case NOTHING:
        options->emit = BF_EMIT_NOTHING;
        return true;
    case NONE:
        break;
    }
    return true;
}

/* The option that a word begins with: the whole word up to '=', or -Dname and -Ifolder. */
static const struct option *find_option(const char *word, size_t length) {
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (strlen(table[i].name) == length && !strncmp(word, table[i].name, length))
            return &table[i];
    return NULL;
}

/* `-name value`, `-name=value`, `-Dname=value`, `-Ifolder`; with one dash or two. */
static bool set_option(struct bf_options *options, struct arguments *arguments,
                       const char *original) {
    bool long_form = original[0] == '-' && original[1] == '-' && original[2];
    const char *word = original + long_form;
    size_t length = strcspn(word, "=");
    const struct option *option = find_option(word, length);
    const char *value = option && word[length] ? word + length + 1 : NULL;
    if (!option && (!strncmp(word, "-D", 2) || !strncmp(word, "-I", 2))) {
        option = find_option(word, 2);
        value = word + 2;
    }
    if (!option || (value && !*option->value))
        return unknown(original, bf_arena_printf(&options->arena, "%.*s", (int)length, word));
    if (!value && option->kind == MAYBE)
        value = "";
    if (!value && *option->value)
        value = value_of(arguments, option->name);
    return (value || !*option->value) && set(options, option, value);
}

static bool check(const struct bf_options *options) {
    bool asks = options->help || options->version || options->list_passes || options->list_arch ||
                options->print_arch;
    if (!options->input && !asks)
        return complain("%s", "no input file");
    if (options->random_weights && options->weights.count)
        return complain("%s", "-weights and -random-weights exclude each other");
    if ((options->weights_prefix || options->weights_renames.count) && !options->weights.count)
        return complain("%s", "-weights-prefix and -weights-rename need -weights");
    if (options->dependency_file && !options->make_dependencies)
        return complain("%s", "-MF needs -MD");
    if (!bf_emits_host(options->emit) && (options->march || options->target))
        return complain("%s",
                        "-march and -target need -emit obj, header or host: the array has -arch");
    if (options->shared && options->emit != BF_EMIT_OBJ)
        return complain("%s", "-shared needs -emit obj");
    if (options->weights_out && options->emit != BF_EMIT_OBJ && options->emit != BF_EMIT_HEADER)
        return complain("%s", "-weights-out needs -emit obj or header");
    if (options->phony_dependencies && !options->make_dependencies)
        return complain("%s", "-MP needs -MD");
    if (options->explain && options->emit != BF_EMIT_BFX)
        return complain("%s", "-explain is about the array program: it goes with no -emit");
    if (options->embed_net && options->emit != BF_EMIT_BFX && options->emit != BF_EMIT_ASM)
        return complain("%s", "-embed-net needs -emit bfx or asm: no other text keeps the network");
    return true;
}

bool bf_options_parse(struct bf_options *options, int argc, char **argv) {
    memset(options, 0, sizeof *options);
    options->optimize = options->resident = -1;
    options->color = !getenv("NO_COLOR") && isatty(2);
    struct arguments arguments = {.arena = &options->arena};
    bool ok = true;
    for (int i = 1; i < argc && ok; i++)
        ok = expand(&arguments, argv[i], 0);
    while (ok && arguments.at < arguments.words.count) {
        const char *word = arguments.words.data[arguments.at++];
        if (word[0] == '-' && word[1])
            ok = set_option(options, &arguments, word);
        else if (options->input)
            ok = complain("one input file at a time: '%s' is another", word);
        else
            options->input = word;
    }
    options->words = arguments.words;
    ok = ok && check(options);
    if (options->explain)
        options->emit = BF_EMIT_MAP; /* what is looked at; nothing is written */
    return ok;
}

void bf_options_free(struct bf_options *options) {
    free(options->words.data);
    free(options->weights.data);
    free(options->weights_renames.data);
    free(options->calibrate.data);
    free(options->defines.data);
    free(options->include_dirs.data);
    free(options->print_before.data);
    free(options->print_after.data);
    bf_arena_free(&options->arena);
}
