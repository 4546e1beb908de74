/* base.h - what every part of bfcc needs and libc lacks: errors, growing text, arrays, arenas.
 *
 * Memory: these functions never return NULL; when memory runs out they call bf_out_of_memory,
 * which longjmps to the innermost bf_guard of the thread if there is one (libbfrt sets one at
 * each entry point, so that the library reports instead of exiting), else prints and exits 70.
 */
#ifndef BF_ISA_BASE_H
#define BF_ISA_BASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if defined(__GNUC__)
#define BF_PRINTF(string, first) __attribute__((format(printf, string, first)))
#define BF_NORETURN              __attribute__((noreturn))
#else
#define BF_PRINTF(string, first)
#define BF_NORETURN
#endif

/* ---- errors of the runtime side (the compiler side has ir/diag.h) ---- */

enum bf_error_code {
    BF_OK = 0,
    BF_ERROR_INPUT = 1,   /* the user's file, option or tensor is wrong: exit 1 */
    BF_ERROR_MACHINE = 2, /* the program did something the array forbids (trap, deadlock): exit 1 */
    BF_ERROR_INTERNAL = 70, /* bfcc itself is wrong: exit 70 */
};

struct bf_error {
    enum bf_error_code code;
    char text[1024]; /* one message, no trailing newline; may hold several lines */
};

/* Records the first error only; later calls are ignored. Returns false, so that a function can
 * say `return bf_fail(error, ...)`. `error` may be NULL. */
bool bf_fail(struct bf_error *error, enum bf_error_code code, const char *format, ...)
    BF_PRINTF(3, 4);

/* ---- memory ---- */

void *bf_alloc(size_t size);             /* zeroed; size 0 gives a unique pointer */
void *bf_resize(void *old, size_t size); /* realloc */
char *bf_strdup(const char *s);          /* NULL gives NULL */
char *bf_strndup(const char *s, size_t n);
BF_NORETURN void bf_out_of_memory(size_t size);

struct bf_guard {
    jmp_buf target;
    struct bf_guard *outer;
};
void bf_guard_push(struct bf_guard *guard); /* then `if (setjmp(guard.target)) ...out of memory` */
void bf_guard_pop(struct bf_guard *guard);  /* harmless after a jump, which has popped it already */

/* An arena: everything in it is freed at once. */
struct bf_arena {
    struct bf_arena_chunk *chunks;
};
void *bf_arena_alloc(struct bf_arena *arena, size_t size); /* zeroed, 16-byte aligned */
char *bf_arena_strdup(struct bf_arena *arena, const char *s);
char *bf_arena_printf(struct bf_arena *arena, const char *format, ...) BF_PRINTF(2, 3);
void bf_arena_free(struct bf_arena *arena);

/* A growing array: declare `struct { T *data; size_t count, capacity; } v = {0};`
 *   *bf_push(&v) = x;   v.data[i]   v.count   free(v.data) */
#define bf_push(v)                                                                                 \
    ((v)->count < (v)->capacity                                                                    \
         ? 0                                                                                       \
         : ((v)->data = bf_grow((v)->data, &(v)->capacity, sizeof *(v)->data), 0),                 \
     &(v)->data[(v)->count++])
void *bf_grow(void *data, size_t *capacity, size_t element);

/* ---- growing text ---- */

struct bf_text {
    char *data; /* NUL-terminated once anything was added; NULL before */
    size_t length, capacity;
};
void bf_text_add(struct bf_text *text, const char *s);
void bf_text_add_bytes(struct bf_text *text, const void *bytes, size_t count);
void bf_text_printf(struct bf_text *text, const char *format, ...) BF_PRINTF(2, 3);
void bf_text_vprintf(struct bf_text *text, const char *format, va_list args);
void bf_text_free(struct bf_text *text);

/* ---- files and hashes ---- */

/* The whole file; "-" is standard input. NULL on error. The result has a NUL after it. */
char *bf_read_file(const char *path, size_t *size, struct bf_error *error);
/* Written beside `path` and renamed, so that no half file is ever seen; "-" is standard output.
 * Signals that end a program wait until it is done, so that nothing is left beside it either. */
bool bf_write_file(const char *path, const void *data, size_t size, struct bf_error *error);

/* Adds the path of the first file `name` in the folders that BFCC_PATH lists, separated by colons.
 * False if there is none. */
bool bf_search_path(const char *name, struct bf_text *path);

/* FNV-1a, 64 bit, continued from `hash` (start with BF_HASH_START). */
#define BF_HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t bf_hash(uint64_t hash, const void *data, size_t size);

/* splitmix64: the only random source; the state is the seed. */
uint64_t bf_random(uint64_t *state);

/* Edit distance with transpositions, for "did you mean"; gives up above `limit`. */
size_t bf_edit_distance(const char *a, const char *b, size_t limit);

static inline uint64_t bf_round_up(uint64_t x, uint64_t to) {
    return (x + to - 1) / to * to;
}
static inline uint64_t bf_divide_up(uint64_t x, uint64_t by) {
    return (x + by - 1) / by;
}
static inline bool bf_is_power_of_two(uint64_t x) {
    return x && !(x & (x - 1));
}
static inline unsigned bf_log2_floor(uint64_t x) {
    unsigned n = 0;
    while (x >>= 1)
        n++;
    return n;
}

#endif
