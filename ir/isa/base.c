/* base.c - errors, memory, arrays, text, files, hashes. See base.h. */
#define _POSIX_C_SOURCE 200809L

#include "ir/isa/base.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool bf_fail(struct bf_error *error, enum bf_error_code code, const char *format, ...) {
    if (!error || error->code != BF_OK)
        return false;
    error->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return false;
}

/* ---- memory ---- */

static _Thread_local struct bf_guard *innermost_guard;

void bf_guard_push(struct bf_guard *guard) {
    guard->outer = innermost_guard;
    innermost_guard = guard;
}

void bf_guard_pop(struct bf_guard *guard) {
    innermost_guard = guard->outer;
}

void bf_out_of_memory(size_t size) {
    struct bf_guard *guard = innermost_guard;
    if (guard) {
        innermost_guard = guard->outer;
        longjmp(guard->target, 1);
    }
    fprintf(stderr, "out of memory: %zu bytes more were needed\n", size);
    exit(BF_ERROR_INTERNAL);
}

void *bf_alloc(size_t size) {
    void *memory = calloc(1, size ? size : 1);
    if (!memory)
        bf_out_of_memory(size);
    return memory;
}

void *bf_resize(void *old, size_t size) {
    void *memory = realloc(old, size ? size : 1);
    if (!memory)
        bf_out_of_memory(size);
    return memory;
}

char *bf_strndup(const char *s, size_t n) {
    if (!s)
        return NULL;
    n = strnlen(s, n);
    char *copy = bf_alloc(n + 1);
    memcpy(copy, s, n);
    return copy;
}

char *bf_strdup(const char *s) {
    return bf_strndup(s, SIZE_MAX - 1);
}

/* A chunk's payload is a whole number of 16-byte units; the newest chunk comes first. */
struct bf_arena_chunk {
    struct bf_arena_chunk *next;
    size_t used, size;
    _Alignas(16) unsigned char payload[];
};

enum { FIRST_CHUNK = 4096, LARGEST_CHUNK = 1 << 20 };

void *bf_arena_alloc(struct bf_arena *arena, size_t size) {
    if (size > SIZE_MAX - sizeof(struct bf_arena_chunk) - 16)
        bf_out_of_memory(size);
    size = (size_t)bf_round_up(size ? size : 1, 16);
    struct bf_arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->size - chunk->used < size) {
        size_t payload = chunk ? 2 * chunk->size : FIRST_CHUNK;
        if (payload > LARGEST_CHUNK)
            payload = LARGEST_CHUNK;
        if (payload < size)
            payload = size;
        chunk = bf_alloc(sizeof *chunk + payload);
        chunk->size = payload;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    void *memory = chunk->payload + chunk->used;
    chunk->used += size;
    return memory;
}

char *bf_arena_strdup(struct bf_arena *arena, const char *s) {
    if (!s)
        return NULL;
    size_t length = strlen(s);
    return memcpy(bf_arena_alloc(arena, length + 1), s, length + 1);
}

char *bf_arena_printf(struct bf_arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        bf_out_of_memory(0);
    char *string = bf_arena_alloc(arena, (size_t)length + 1);
    va_start(args, format);
    vsnprintf(string, (size_t)length + 1, format, args);
    va_end(args);
    return string;
}

void bf_arena_free(struct bf_arena *arena) {
    for (struct bf_arena_chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    arena->chunks = NULL;
}

void *bf_grow(void *data, size_t *capacity, size_t element) {
    size_t count = *capacity ? *capacity : 4;
    if (count > SIZE_MAX / 2 / element)
        bf_out_of_memory(count);
    if (*capacity)
        count *= 2;
    data = bf_resize(data, count * element);
    *capacity = count;
    return data;
}

/* ---- growing text ---- */

/* Makes room for `count` more bytes and a NUL. */
static void text_reserve(struct bf_text *text, size_t count) {
    if (count >= SIZE_MAX / 2 - text->length)
        bf_out_of_memory(count);
    size_t needed = text->length + count + 1;
    if (needed <= text->capacity)
        return;
    size_t capacity = text->capacity ? 2 * text->capacity : 64;
    if (capacity < needed)
        capacity = needed;
    text->data = bf_resize(text->data, capacity);
    text->capacity = capacity;
}

void bf_text_add_bytes(struct bf_text *text, const void *bytes, size_t count) {
    text_reserve(text, count);
    if (count)
        memcpy(text->data + text->length, bytes, count);
    text->length += count;
    text->data[text->length] = '\0';
}

void bf_text_add(struct bf_text *text, const char *s) {
    bf_text_add_bytes(text, s, strlen(s));
}

void bf_text_vprintf(struct bf_text *text, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    size_t room = text->capacity - text->length;
    int length = vsnprintf(room ? text->data + text->length : NULL, room, format, args);
    if (length < 0)
        bf_out_of_memory(0);
    if ((size_t)length >= room) {
        text_reserve(text, (size_t)length);
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
    }
    text->length += (size_t)length;
    va_end(again);
}

void bf_text_printf(struct bf_text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    bf_text_vprintf(text, format, args);
    va_end(args);
}

void bf_text_free(struct bf_text *text) {
    free(text->data);
    *text = (struct bf_text){0};
}

/* ---- files and hashes ---- */

char *bf_read_file(const char *path, size_t *size, struct bf_error *error) {
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    struct bf_text content = {0};
    if (file) {
        size_t count;
        do {
            text_reserve(&content, content.length < 65536 ? 65536 : content.length);
            count = fread(content.data + content.length, 1, content.capacity - content.length - 1,
                          file);
            content.length += count;
        } while (count);
        content.data[content.length] = '\0';
    }
    if (!file || ferror(file)) {
        bf_fail(error, BF_ERROR_INPUT, "cannot read '%s': %s", standard ? "<stdin>" : path,
                strerror(errno));
        bf_text_free(&content);
    } else if (size) {
        *size = content.length;
    }
    if (file && !standard)
        fclose(file);
    return content.data;
}

static bool write_and_close(FILE *file, const void *data, size_t size) {
    bool written = file && (!size || fwrite(data, 1, size, file) == size);
    if (!file)
        return false;
    return (file == stdout ? fflush(file) : fclose(file)) == 0 && written;
}

bool bf_write_file(const char *path, const void *data, size_t size, struct bf_error *error) {
    bool standard = strcmp(path, "-") == 0;
    struct stat status;
    bool written;
    /* What is no plain file (/dev/null, a pipe, a symbolic link) must not be renamed over. */
    if (standard || (lstat(path, &status) == 0 && !S_ISREG(status.st_mode))) {
        written = write_and_close(standard ? stdout : fopen(path, "wb"), data, size);
    } else {
        struct bf_text beside = {0};
        sigset_t ending, before;
        bf_text_printf(&beside, "%s.%ld.tmp", path, (long)getpid());
        sigemptyset(&ending);
        sigaddset(&ending, SIGINT);
        sigaddset(&ending, SIGTERM);
        sigaddset(&ending, SIGHUP);
        pthread_sigmask(SIG_BLOCK, &ending, &before);
        FILE *file = fopen(beside.data, "wbx");
        written = write_and_close(file, data, size) && rename(beside.data, path) == 0;
        if (file && !written) {
            int reason = errno;
            remove(beside.data);
            errno = reason;
        }
        int reason = errno;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        errno = reason;
        bf_text_free(&beside);
    }
    if (!written)
        return bf_fail(error, BF_ERROR_INPUT, "cannot write '%s': %s", standard ? "<stdout>" : path,
                       strerror(errno));
    return true;
}

bool bf_search_path(const char *name, struct bf_text *path) {
    const char *folders = getenv("BFCC_PATH");
    for (const char *at = folders ? folders : ""; *at; at += strspn(at, ":")) {
        size_t length = strcspn(at, ":");
        struct bf_text file = {0};
        bf_text_printf(&file, "%.*s/%s", (int)length, at, name);
        bool found = length && access(file.data, R_OK) == 0;
        if (found)
            bf_text_add(path, file.data);
        bf_text_free(&file);
        if (found)
            return true;
        at += length;
    }
    return false;
}

uint64_t bf_hash(uint64_t hash, const void *data, size_t size) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t bf_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Optimal string alignment, three rows of the table at a time: `before` is two rows up. */
size_t bf_edit_distance(const char *a, const char *b, size_t limit) {
    size_t na = strlen(a), nb = strlen(b);
    if ((na > nb ? na - nb : nb - na) > limit)
        return limit + 1;
    size_t *rows = bf_alloc(3 * (nb + 1) * sizeof *rows);
    size_t *before = rows, *above = rows + nb + 1, *row = above + nb + 1;
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    size_t best = 0;
    for (size_t i = 1; i <= na && best <= limit; i++) {
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
        best = row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            row[j] =
                smaller(above[j - 1] + (a[i - 1] != b[j - 1]), smaller(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smaller(row[j], before[j - 2] + 1);
            best = smaller(best, row[j]);
        }
    }
    size_t distance = best > limit ? limit + 1 : smaller(row[nb], limit + 1);
    free(rows);
    return distance;
}
