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
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontend/driver/options.h"

static struct {
    int argc;
    char **argv;
    const struct bf_compilation *compilation;
    const char *input;
    size_t input_size;
    char folder[2048]; /* where bfcc was started */
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

/* ---- paths ---- */

/* Appends `path` without ".", ".." and doubled slashes, absolute, as if nothing were a link. */
static void add_absolute(struct line *line, const char *path) {
    size_t root = line->length;
    if (*path != '/')
        add(line, crash.folder);
    while (*path) {
        size_t length = strcspn(path, "/");
        if (length == 2 && !strncmp(path, "..", 2)) {
            while (line->length > root && line->data[--line->length] != '/')
                ;
            line->data[line->length] = '\0';
        } else if (length && !(length == 1 && *path == '.')) {
            add(line, "/");
            for (size_t i = 0; i < length; i++)
                add(line, (char[]){path[i], '\0'});
        }
        path += length + (path[length] == '/');
    }
}

static void make_folders(const char *path) {
    struct line part = {.length = 0};
    for (; *path; path++) {
        if (*path == '/' && part.length)
            mkdir(part.data, 0777);
        add(&part, (char[]){*path, '\0'});
    }
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

static int create(const struct line *folder, const char *name, mode_t mode) {
    struct line path = {.length = 0};
    add(&path, folder->data);
    add(&path, "/");
    add(&path, name);
    return open(path.data, O_WRONLY | O_CREAT | O_EXCL, mode);
}

/* FOLDER/files/ABSOLUTE PATH gets the bytes of a file, once. */
static void keep(const struct line *folder, const char *path) {
    static char buffer[65536];
    struct line name = {.length = 0}, whole = {.length = 0};
    int from = open(path, O_RDONLY);
    if (from < 0)
        return; /* the name of a shipped machine description, a file that is gone */
    add(&name, "files");
    add_absolute(&name, path);
    add(&whole, folder->data);
    add(&whole, "/");
    add(&whole, name.data);
    make_folders(whole.data);
    int to = create(folder, name.data, 0666);
    for (ssize_t got; to >= 0 && (got = read(from, buffer, sizeof buffer)) > 0;)
        put(to, buffer, (size_t)got);
    close(to);
    close(from);
}

static void keep_inputs(const struct line *folder) {
    const struct bf_compilation *c = crash.compilation;
    const struct bf_options *o = c ? c->options : NULL;
    if (crash.input) {
        int to = create(folder, "stdin", 0666);
        put(to, crash.input, crash.input_size);
        close(to);
    }
    if (!o)
        return;
    if (strcmp(o->input, "-"))
        keep(folder, o->input);
    for (size_t i = 0; i < c->files.paths.count; i++)
        keep(folder, c->files.paths.data[i]);
    for (size_t i = 0; i < o->weights.count; i++)
        keep(folder, o->weights.data[i]);
    for (size_t i = 0; i < c->checkpoint.files.count; i++) /* shards, which no option names */
        keep(folder, c->checkpoint.files.data[i].path);
    for (size_t i = 0; i < o->calibrate.count; i++)
        keep(folder, o->calibrate.data[i]);
    if (c->arch_path.length)
        keep(folder, c->arch_path.data);
    else if (o->arch)
        keep(folder, o->arch); /* before it was read */
}

/* ---- run.sh ---- */

/* A word for the shell in which an absolute path, behind `-I`, `-name=` or nothing, leads to the
 * folder's copy. */
static void add_moved(struct line *line, const char *word) {
    size_t before = !strncmp(word, "-I", 2) ? 2 : *word == '-' ? strcspn(word, "=") : 0;
    before += *word == '-' && word[before] == '=';
    if (word[before] != '/') {
        add_quoted(line, word);
        return;
    }
    struct line option = {.length = 0}, path = {.length = 0};
    for (size_t i = 0; i < before; i++)
        add(&option, (char[]){word[i], '\0'});
    if (before)
        add_quoted(line, option.data);
    add(line, "\"$here\"/files");
    add_absolute(&path, word + before);
    add_quoted(line, path.data);
}

/* Folders of BFCC_PATH, moved likewise. */
static void add_search_path(struct line *line) {
    const char *path = getenv("BFCC_PATH");
    if (!path || !*path)
        return;
    add(line, "BFCC_PATH=");
    for (; *path; path += strcspn(path, ":")) {
        path += *path == ':';
        struct line folder = {.length = 0};
        for (size_t i = 0; path[i] && path[i] != ':'; i++)
            add(&folder, (char[]){path[i], '\0'});
        add_moved(line, folder.data);
        add(line, ":");
    }
    add(line, "\nexport BFCC_PATH\n");
}

static void add_program(struct line *line) {
    char path[2048];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    add(line, "exec \"${BFCC:-");
    add(line, length > 0 ? path : "bfcc");
    add(line, "}\"");
}

static void write_words(int file) {
    const struct bf_options *o = crash.compilation ? crash.compilation->options : NULL;
    size_t count = o ? o->words.count : (size_t)crash.argc - 1;
    for (size_t i = 0; i < count; i++) {
        struct line word = {.length = 0};
        add(&word, " ");
        add_moved(&word, o ? o->words.data[i] : crash.argv[i + 1]);
        put_line(file, &word);
    }
    struct line end = {.length = 0};
    add(&end, " -o \"$here/output\"");
    if (o && o->dump_dir)
        add(&end, " -dump-dir \"$here/dumps\"");
    if (o && o->dependency_file)
        add(&end, " -MF \"$here/output.d\"");
    add(&end, crash.input ? " < \"$here/stdin\"\n" : "\n");
    put_line(file, &end);
}

/* Runs bfcc (or $BFCC) with the same options on the copies, in their place of the copied folders;
 * what it writes goes to the reproducer's own folder. */
static void write_script(const struct line *folder) {
    int file = create(folder, "run.sh", 0777);
    struct line start = {.length = 0}, where = {.length = 0};
    add(&start, "#!/bin/sh\n# bfcc " BF_VERSION "\nhere=$(cd \"$(dirname \"$0\")\" && pwd)\n");
    add(&where, folder->data);
    add(&where, "/files");
    add(&where, crash.folder);
    add(&where, "/");
    make_folders(where.data);
    add(&start, "cd \"$here\"/files");
    add_quoted(&start, crash.folder);
    add(&start, " || exit\n");
    add_search_path(&start);
    add_program(&start);
    put_line(file, &start);
    write_words(file);
    close(file);
}

void bf_crash_report(void) {
    struct line folder = {.length = 0}, message = {.length = 0};
    add(&message, "bfcc: note: this is an error of bfcc, not of its input; ");
    if (!make_folder(&folder)) {
        add(&message, "no folder for the inputs could be made here\n");
        put_line(STDERR_FILENO, &message);
        return;
    }
    write_script(&folder);
    keep_inputs(&folder);
    add(&message, folder.data);
    add(&message, "/run.sh repeats it, on copies of all inputs\n");
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
    if (!getcwd(crash.folder, sizeof crash.folder))
        crash.folder[0] = '\0';
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
