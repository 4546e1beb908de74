/* options.c - reads the command line of bfcc. */
#define _POSIX_C_SOURCE 200809L
#include "frontend/driver/options.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const char help_text[] =
    "usage: bfcc [options] FILE\n"
    "\n"
    "Compiles a network (.bfly, or a text of any level) for a dataflow array.\n"
    "\n"
    "  -o FILE                write to FILE; '-' is standard output\n"
    "  -weights FILE          bind parameters to the tensors of a safetensors file, or of an "
    "index\n"
    "                         of shards (.json); may be repeated\n"
    "  -weights-prefix PATH   take PATH from the names of tensors that begin with it\n"
    "  -weights-rename A=B    call tensor A B; '*' stands for any part of a name; may be repeated\n"
    "  -random-weights SEED   bind parameters to pseudo-random numbers\n"
    "  -allow-unused          tensors that no parameter names are no error\n"
    "  -calibrate FILE        choose exponents of transforms from samples of the inputs\n"
    "  -arch FILE|NAME        machine description (default: default)\n"
    "  -batch N               samples a run (default: 1)\n"
    "  -O0 -O1 -O2            how much to optimise (default: -O1)\n"
    "  -Dname=value           set a parameter of the network\n"
    "  -network NAME          which network of the file\n"
    "  -I DIR                 search DIR for included files\n"
    "  -resident              inputs, weights and outputs start and end in the scratchpad\n"
    "  -emit LEVEL            net, poly, map or asm as text to standard output, or bfx (default);\n"
    "                         obj or header: code for a CPU, its C header; host: the plan of it\n"
    "  -march=CPU             CPU of host code: native (default), x86-64, x86-64-v2, -v3, -v4, "
    "armv8-a\n"
    "  -target TRIPLE         system of host code (default: this one)\n"
    "  -shared                with -emit obj: a shared object, linked with cc\n"
    "  -weights-out FILE      with -emit obj: weights go to FILE; the caller hands them over\n"
    "  -S                     asm, to a file named after the input\n"
    "  -c                     the same as -emit bfx\n"
    "  -embed-net             keep the network in the .bfx, for devices that run it directly\n"
    "  -fsyntax-only          check the source, write nothing\n"
    "  -print-after=PASS|all  print the text of the level after a pass, to standard error\n"
    "  -dump-dir DIR          write the text after every pass to DIR\n"
    "  -passes=A,B            which optional passes run; empty: none\n"
    "  -verify-each           verify the level after every pass, not only after its last\n"
    "  -list-passes           list the passes\n"
    "  -print-arch NAME       print a machine description\n"
    "  -MD [-MF FILE]         write the dependencies of the output for make\n"
    "  -Werror                warnings are errors\n"
    "  -v                     say what is done; -### says it and does nothing\n"
    "  @FILE                  read further arguments from FILE\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done, 1 the input is wrong or can't be mapped, 70 bfcc is wrong.\n";

void bf_options_help(FILE *out) {
    fputs(help_text, out);
}

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
    if (!text)
        return false;
    const char *equal = strchr(text, '=');
    if (!equal || equal == text)
        return complain("option '-D%s' needs the form -Dname=value", text);
    *bf_push(&options->defines) = (struct bf_frontend_define){
        bf_arena_printf(&options->arena, "%.*s", (int)(equal - text), text), equal + 1};
    return true;
}

/* Options that stand alone. */
static bool set_flag(struct bf_options *options, const char *word, bool *known) {
    *known = true;
    if (!strcmp(word, "-S")) {
        options->emit = BF_EMIT_ASM;
        options->text_to_stdout = false;
    } else if (!strcmp(word, "-c"))
        options->emit = BF_EMIT_BFX;
    else if (!strcmp(word, "-fsyntax-only"))
        options->emit = BF_EMIT_NOTHING;
    else if (!strcmp(word, "-resident"))
        options->resident = 1;
    else if (!strcmp(word, "-embed-net"))
        options->embed_net = true;
    else if (!strcmp(word, "-shared"))
        options->shared = true;
    else if (!strcmp(word, "-allow-unused"))
        options->allow_unused = true;
    else if (!strcmp(word, "-MD"))
        options->make_dependencies = true;
    else if (!strcmp(word, "-Werror"))
        options->werror = true;
    else if (!strcmp(word, "-v"))
        options->verbose = true;
    else if (!strcmp(word, "-###"))
        options->dry_run = true;
    else if (!strcmp(word, "-g"))
        return true; /* places are always kept */
    else if (!strcmp(word, "-verify-each"))
        options->verify_each = true;
    else if (!strcmp(word, "-list-passes"))
        options->list_passes = true;
    else if (!strcmp(word, "--help") || !strcmp(word, "-help") || !strcmp(word, "-h"))
        options->help = true;
    else if (!strcmp(word, "--version"))
        options->version = true;
    else if (word[1] == 'O' && word[2] >= '0' && word[2] <= '2' && !word[3])
        options->optimize = word[2] - '0';
    else
        *known = false;
    return true;
}

/* Options with a value: `-name value` or `-name=value`. */
static const char *const valued[] = {
    "-o",          "-weights",     "-random-weights", "-arch",           "-batch",
    "-network",    "-I",           "-emit",           "-dump-dir",       "-MF",
    "-print-arch", "-print-after", "-passes",         "-weights-prefix", "-weights-rename",
    "-calibrate",  "-march",       "-target",         "-weights-out",
};
enum { VALUED_COUNT = sizeof valued / sizeof *valued };

/* Other options that a typo may have meant. */
static const char *const alone[] = {"-resident", "-embed-net", "-allow-unused", "-fsyntax-only",
                                    "-Werror",   "-MD",        "-list-passes",  "-verify-each",
                                    "-shared",   "--help",     "--version"};

static bool unknown(const char *word, const char *name) {
    const char *near = NULL;
    size_t least = 4;
    for (size_t i = 0; i < VALUED_COUNT + sizeof alone / sizeof *alone; i++) {
        const char *option = i < VALUED_COUNT ? valued[i] : alone[i - VALUED_COUNT];
        size_t distance = strlen(option) > 3 ? bf_edit_distance(name, option, least) : least;
        near = distance < least ? option : near;
        least = distance < least ? distance : least;
    }
    fprintf(stderr, "bfcc: error: unknown option '%s'%s%s%s\n", word,
            near ? "; did you mean '" : "; --help lists them", near ? near : "", near ? "'?" : "");
    return false;
}

static bool set_valued(struct bf_options *options, struct arguments *arguments, const char *word) {
    const char *equal = strchr(word, '=');
    const char *name =
        equal ? bf_arena_printf(&options->arena, "%.*s", (int)(equal - word), word) : word;
    size_t which = 0;
    while (which < VALUED_COUNT && strcmp(name, valued[which]))
        which++;
    if (which == VALUED_COUNT)
        return unknown(word, name);
    const char *value = equal ? equal + 1 : value_of(arguments, name);
    int64_t n = 0;
    if (!value)
        return false;
    switch (which) {
    case 0:
        options->output = value;
        return true;
    case 1:
        *bf_push(&options->weights) = value;
        return true;
    case 2:
        options->random_weights = true;
        if (!number(value, name, 0, INT64_MAX, &n))
            return false;
        options->seed = (uint64_t)n;
        return true;
    case 3:
        options->arch = value;
        return true;
    case 4:
        return number(value, name, 1, 1 << 20, &options->batch);
    case 5:
        options->network = value;
        return true;
    case 6:
        *bf_push(&options->include_dirs) = value;
        return true;
    case 7:
        return emit_level(options, value);
    case 8:
        options->dump_dir = value;
        return true;
    case 9:
        options->dependency_file = value;
        return true;
    case 10:
        options->print_arch = value;
        return true;
    case 11:
        *bf_push(&options->print_after) = value;
        return true;
    case 12:
        options->passes = value;
        return true;
    case 13:
        options->weights_prefix = value;
        return true;
    case 14:
        *bf_push(&options->weights_renames) = value;
        return true;
    case 15:
        *bf_push(&options->calibrate) = value;
        return true;
    case 16:
        options->march = value;
        return true;
    case 17:
        options->target = value;
        return true;
    default:
        options->weights_out = value;
        return true;
    }
}

static bool set_option(struct bf_options *options, struct arguments *arguments, const char *word) {
    bool known, ok = set_flag(options, word, &known);
    if (known)
        return ok;
    if (!strncmp(word, "-D", 2))
        return define(options, word[2] ? word + 2 : value_of(arguments, word));
    if (!strncmp(word, "-I", 2) && word[2] && word[2] != '=') {
        *bf_push(&options->include_dirs) = word + 2;
        return true;
    }
    bool long_form = word[0] == '-' && word[1] == '-' && word[2];
    return set_valued(options, arguments, word + long_form);
}

static bool check(const struct bf_options *options) {
    bool asks = options->help || options->version || options->list_passes || options->print_arch;
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
    free(arguments.words.data);
    return ok && check(options);
}

void bf_options_free(struct bf_options *options) {
    free(options->weights.data);
    free(options->weights_renames.data);
    free(options->calibrate.data);
    free(options->defines.data);
    free(options->include_dirs.data);
    free(options->print_after.data);
    bf_arena_free(&options->arena);
}
