/* crash.c - the reproducer of an internal error. See crash.h.
 *
 * It may run in a signal handler, on a heap that is broken: system calls and buffers of its own
 * only.
 */
#define _GNU_SOURCE
#include "frontend/driver/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    int argc;
    char **argv;
    const struct bf_compilation *compilation;
    const char *input;
    size_t input_size;
    unsigned copied;
} crash;

static char handler_stack[64 * 1024];

/* ---- text without the heap ---- */

struct line {
    char data[4096];
    size_t length;
};

static void add(struct line *line, const char *s) {
    for (; *s && line->length + 1 < sizeof line->data; s++)
        line->data[line->length++] = *s;
    line->data[line->length] = '\0';
}

static void add_number(struct line *line, unsigned long value, int digits) {
    char text[24];
    int at = sizeof text;
    text[--at] = '\0';
    for (; value || digits > 0; value /= 10, digits--)
        text[--at] = (char)('0' + value % 10);
    add(line, text + at);
}

/* A word as a shell reads it. */
static void add_quoted(struct line *line, const char *word) {
    add(line, "'");
    for (; *word; word++) {
        char letter[2] = {*word, '\0'};
        add(line, *word == '\'' ? "'\\''" : letter);
    }
    add(line, "'");
}

static void put(int file, const char *data, size_t size) {
    while (size) {
        ssize_t done = write(file, data, size);
        if (done <= 0)
            return;
        data += done;
        size -= (size_t)done;
    }
}

static void put_line(int file, const struct line *line) {
    put(file, line->data, line->length);
}

/* ---- the folder ---- */

/* bfcc-crash-NNNNNN where bfcc runs; the first number from the process's own on that is free. */
static bool make_folder(struct line *folder) {
    for (unsigned long i = 0; i < 100; i++) {
        folder->length = 0;
        add(folder, "bfcc-crash-");
        add_number(folder, ((unsigned long)getpid() + i) % 1000000, 6);
        if (mkdir(folder->data, 0777) == 0)
            return true;
        if (errno != EEXIST)
            return false;
    }
    return false;
}

static int create(const struct line *folder, const char *name) {
    struct line path = {.length = 0};
    add(&path, folder->data);
    add(&path, "/");
    add(&path, name);
    return open(path.data, O_WRONLY | O_CREAT | O_EXCL, 0666);
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "0-digits.bfly = nets/digits.bfly" goes to the list, the bytes to the folder. */
static void keep(const struct line *folder, int list, const char *path, const char *bytes,
                 size_t size) {
    static char buffer[65536];
    struct line name = {.length = 0}, entry = {.length = 0};
    int from = bytes ? -1 : open(path, O_RDONLY);
    if (!bytes && from < 0)
        return; /* the name of a shipped machine description, a file that is gone */
    add_number(&name, crash.copied++, 1);
    add(&name, "-");
    add(&name, base_name(path));
    int to = create(folder, name.data);
    if (to >= 0 && bytes)
        put(to, bytes, size);
    for (ssize_t got; to >= 0 && from >= 0 && (got = read(from, buffer, sizeof buffer)) > 0;)
        put(to, buffer, (size_t)got);
    close(to);
    close(from);
    add(&entry, "# ");
    add(&entry, name.data);
    add(&entry, " = ");
    add(&entry, path);
    add(&entry, "\n");
    put_line(list, &entry);
}

static void keep_inputs(const struct line *folder, int list) {
    const struct bf_compilation *c = crash.compilation;
    if (crash.input)
        keep(folder, list, "stdin", crash.input, crash.input_size);
    if (!c || !c->options)
        return;
    const struct bf_options *o = c->options;
    bool listed = false;
    for (size_t i = 0; i < c->files.paths.count; i++) {
        keep(folder, list, c->files.paths.data[i], NULL, 0);
        listed |= !strcmp(c->files.paths.data[i], o->input);
    }
    if (!listed && strcmp(o->input, "-"))
        keep(folder, list, o->input, NULL, 0);
    for (size_t i = 0; i < o->weights.count; i++)
        keep(folder, list, o->weights.data[i], NULL, 0);
    for (size_t i = 0; i < c->checkpoint.files.count; i++) { /* shards, which no option names */
        const char *path = c->checkpoint.files.data[i].path;
        bool named = false;
        for (size_t j = 0; j < o->weights.count; j++)
            named |= !strcmp(path, o->weights.data[j]);
        if (!named)
            keep(folder, list, path, NULL, 0);
    }
    for (size_t i = 0; i < o->calibrate.count; i++)
        keep(folder, list, o->calibrate.data[i], NULL, 0);
    if (o->arch)
        keep(folder, list, o->arch, NULL, 0);
}

void bf_crash_report(void) {
    struct line folder = {.length = 0}, message = {.length = 0};
    add(&message, "bfcc: note: this is an error of bfcc, not of its input; ");
    if (!make_folder(&folder)) {
        add(&message, "no folder for the inputs could be made here\n");
        put_line(STDERR_FILENO, &message);
        return;
    }
    int list = create(&folder, "command");
    for (int i = 0; i < crash.argc; i++) {
        struct line word = {.length = 0};
        add_quoted(&word, crash.argv[i]);
        add(&word, i + 1 < crash.argc ? " " : "\n");
        put_line(list, &word);
    }
    struct line version = {.length = 0};
    add(&version, "# bfcc " BF_VERSION "\n");
    put_line(list, &version);
    keep_inputs(&folder, list);
    close(list);
    add(&message, "the command line and its inputs are in ");
    add(&message, folder.data);
    add(&message, "\n");
    put_line(STDERR_FILENO, &message);
}

/* ---- signals ---- */

static void on_signal(int number) {
    struct line message = {.length = 0};
    add(&message, "bfcc: error: internal error: ");
    add(&message, number == SIGSEGV || number == SIGBUS ? "a wild memory access"
                  : number == SIGABRT                   ? "a broken assumption"
                                                        : "an impossible instruction");
    add(&message, "\n");
    put_line(STDERR_FILENO, &message);
    bf_crash_report();
    _exit(BF_EXIT_INTERNAL);
}

/* Instrumented code has handlers of its own for these, which say more. */
#ifdef __SANITIZE_ADDRESS__
#define CAUGHT {SIGABRT}
#else
#define CAUGHT {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}
#endif

void bf_crash_install(int argc, char **argv) {
    static const int numbers[] = CAUGHT;
    crash.argc = argc;
    crash.argv = argv;
    /* A stack of its own, as an overflow of the stack is one of the errors. */
    stack_t stack = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | (int)SA_RESETHAND};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
}

void bf_crash_watch(const struct bf_compilation *compilation) {
    crash.compilation = compilation;
}

void bf_crash_keep_input(const char *text, size_t size) {
    crash.input = text;
    crash.input_size = size;
}
