/* test_base.c - errors, memory, text, files, hashes. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ir/isa/base.h"

static void first_error_is_kept(void **state) {
    (void)state;
    struct bf_error error = {0};
    assert_false(bf_fail(&error, BF_ERROR_MACHINE, "block %d waits for block %d", 3, 4));
    assert_false(bf_fail(&error, BF_ERROR_INPUT, "and then this"));
    assert_int_equal(error.code, BF_ERROR_MACHINE);
    assert_string_equal(error.text, "block 3 waits for block 4");
    assert_false(bf_fail(NULL, BF_ERROR_INPUT, "nobody listens"));
}

static void long_error_is_cut(void **state) {
    (void)state;
    char long_text[3000];
    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    struct bf_error error = {0};
    bf_fail(&error, BF_ERROR_INPUT, "%s", long_text);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
}

static void memory_is_zeroed(void **state) {
    (void)state;
    unsigned char *memory = bf_alloc(100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(memory[i], 0);
    memory = bf_resize(memory, 1000);
    for (int i = 0; i < 100; i++)
        assert_int_equal(memory[i], 0);
    free(memory);
    void *one = bf_alloc(0), *two = bf_alloc(0);
    assert_non_null(one);
    assert_ptr_not_equal(one, two);
    free(one);
    free(two);
}

static void strings_are_copied(void **state) {
    (void)state;
    char *whole = bf_strdup("butterfly"), *part = bf_strndup("butterfly", 6);
    char *all = bf_strndup("fly", 100);
    assert_string_equal(whole, "butterfly");
    assert_string_equal(part, "butter");
    assert_string_equal(all, "fly");
    assert_null(bf_strdup(NULL));
    assert_null(bf_strndup(NULL, 3));
    free(whole);
    free(part);
    free(all);
}

/* More than any machine has, but not so much that malloc's argument itself is absurd. */
static const size_t too_much = SIZE_MAX / 4;

static void guard_catches_out_of_memory(void **state) {
    (void)state;
    struct bf_guard outer, inner;
    volatile int caught = 0;
    bf_guard_push(&outer);
    if (setjmp(outer.target) == 0) {
        bf_guard_push(&inner);
        if (setjmp(inner.target) == 0) {
            bf_out_of_memory(too_much);
        } else {
            caught = 1;
            bf_guard_pop(&inner); /* popped by the jump already: must do no harm */
            struct bf_text text = {0};
            bf_text_add_bytes(&text, "", SIZE_MAX - 1);
        }
        fail();
    } else {
        assert_int_equal(caught, 1);
        bf_guard_pop(&outer);
        caught = 2;
    }
    assert_int_equal(caught, 2);
}

static void arena_is_aligned_and_zeroed(void **state) {
    (void)state;
    struct bf_arena arena = {0};
    unsigned char *earlier[200];
    for (size_t i = 0; i < 200; i++) {
        size_t size = i * i;
        unsigned char *memory = bf_arena_alloc(&arena, size);
        assert_int_equal((uintptr_t)memory % 16, 0);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(memory[k], 0);
        memset(memory, (int)i, size);
        earlier[i] = memory;
    }
    for (size_t i = 1; i < 200; i++) {
        assert_int_equal(earlier[i][0], i);
        assert_int_equal(earlier[i][i * i - 1], i);
    }
    assert_string_equal(bf_arena_strdup(&arena, "stage"), "stage");
    assert_null(bf_arena_strdup(&arena, NULL));
    assert_string_equal(bf_arena_printf(&arena, "%s.%d", "encoder", 3), "encoder.3");
    bf_arena_free(&arena);
    assert_null(arena.chunks);
}

static void array_grows(void **state) {
    (void)state;
    struct {
        struct {
            int a, b, c;
        } *data;
        size_t count, capacity;
    } array = {0};
    for (int i = 0; i < 1000; i++)
        bf_push(&array)->b = i;
    assert_int_equal(array.count, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(array.data[i].b, i);
    free(array.data);
}

static void text_grows(void **state) {
    (void)state;
    struct bf_text text = {0}, expected = {0};
    for (int i = 0; i < 1000; i++)
        bf_text_printf(&text, "%d ", i);
    for (int i = 0; i < 1000; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        bf_text_add(&expected, number);
        bf_text_add_bytes(&expected, " \0x", 1);
    }
    assert_string_equal(text.data, expected.data);
    assert_int_equal(text.length, strlen(text.data));
    bf_text_free(&expected);
    bf_text_free(&text);
    assert_null(text.data);
    bf_text_add(&text, "");
    assert_string_equal(text.data, "");
    bf_text_free(&text);
}

/* A formatted piece that exactly fills the room, or misses it by one, must not be cut. */
static void text_at_the_edge(void **state) {
    (void)state;
    for (int before = 0; before < 130; before++)
        for (int added = 0; added < 70; added++) {
            struct bf_text text = {0};
            bf_text_printf(&text, "%*s", before, "");
            bf_text_printf(&text, "%*s", added, "");
            assert_int_equal(text.length, before + added);
            assert_int_equal(strlen(text.data), before + added);
            bf_text_free(&text);
        }
}

static char folder[] = "/tmp/bf_test_base.XXXXXX";

static char *in_folder(const char *name) {
    struct bf_text path = {0};
    bf_text_printf(&path, "%s/%s", folder, name);
    return path.data;
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return rmdir(folder);
}

static void file_comes_back(void **state) {
    (void)state;
    enum { SIZE = 300001 };
    char *path = in_folder("file"), *data = bf_alloc(SIZE);
    for (int i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7 >> 3);
    struct bf_error error = {0};
    assert_true(bf_write_file(path, "old", 3, &error));
    assert_true(bf_write_file(path, data, SIZE, &error));
    size_t size = 0;
    char *back = bf_read_file(path, &size, &error);
    assert_int_equal(error.code, BF_OK);
    assert_int_equal(size, SIZE);
    assert_memory_equal(back, data, SIZE);
    assert_int_equal(back[SIZE], 0);
    free(back);

    assert_true(bf_write_file(path, NULL, 0, &error));
    back = bf_read_file(path, &size, NULL);
    assert_int_equal(size, 0);
    assert_string_equal(back, "");
    free(back);
    assert_int_equal(unlink(path), 0); /* remove_folder finds out if anything else was left */
    free(data);
    free(path);
}

static void file_errors_say_why(void **state) {
    (void)state;
    char *missing = in_folder("missing"), *under = in_folder("no/such/folder");
    struct bf_error error = {0};
    size_t size;
    assert_null(bf_read_file(missing, &size, &error));
    assert_int_equal(error.code, BF_ERROR_INPUT);
    assert_non_null(strstr(error.text, "missing': No such file"));
    error = (struct bf_error){0};
    assert_null(bf_read_file(folder, &size, &error));
    assert_non_null(strstr(error.text, "directory"));
    error = (struct bf_error){0};
    assert_false(bf_write_file(under, "x", 1, &error));
    assert_non_null(strstr(error.text, "cannot write"));
    assert_non_null(strstr(error.text, "No such file"));
    free(missing);
    free(under);
}

static void devices_and_links_are_kept(void **state) {
    (void)state;
    char *path = in_folder("target"), *link_path = in_folder("link");
    struct stat status;
    assert_true(bf_write_file("/dev/null", "x", 1, NULL));
    assert_int_equal(stat("/dev/null", &status), 0);
    assert_true(S_ISCHR(status.st_mode));
    assert_int_equal(symlink("target", link_path), 0);
    assert_true(bf_write_file(link_path, "through", 7, NULL));
    assert_int_equal(lstat(link_path, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    char *back = bf_read_file(path, NULL, NULL);
    assert_string_equal(back, "through");
    free(back);
    struct bf_error error = {0};
    assert_false(bf_write_file("/dev/full", "x", 1, &error));
    assert_non_null(strstr(error.text, "No space"));
    unlink(link_path);
    unlink(path);
    free(path);
    free(link_path);
}

/* From the FNV authors' test suite. */
static void hash_is_fnv1a(void **state) {
    (void)state;
    assert_true(bf_hash(BF_HASH_START, "", 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(bf_hash(BF_HASH_START, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(bf_hash(BF_HASH_START, "foobar", 6) == UINT64_C(0x85944171f73967e8));
    uint64_t half = bf_hash(BF_HASH_START, "foo", 3);
    assert_true(bf_hash(half, "bar", 3) == UINT64_C(0x85944171f73967e8));
}

/* The first values of Vigna's splitmix64.c for seed 1234567. */
static void random_is_splitmix64(void **state) {
    (void)state;
    static const uint64_t expected[] = {
        UINT64_C(6457827717110365317), UINT64_C(3203168211198807973), UINT64_C(9817491932198370423),
        UINT64_C(4593380528125082431), UINT64_C(16408922859458223821)};
    uint64_t seed = 1234567;
    for (int i = 0; i < 5; i++)
        assert_true(bf_random(&seed) == expected[i]);
}

static void edit_distance_counts_slips(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        size_t distance;
    } cases[] = {
        {"", "", 0},
        {"", "abc", 3},
        {"layernrom", "layernorm", 1}, /* a transposition is one slip */
        {"kitten", "sitting", 3},
        {"buterfly", "butterfly", 1},
        {"ca", "abc", 3}, /* no edit inside a transposition */
        {"fourier", "fourier", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(bf_edit_distance(cases[i].a, cases[i].b, 10), cases[i].distance);
        assert_int_equal(bf_edit_distance(cases[i].b, cases[i].a, 10), cases[i].distance);
    }
    assert_true(bf_edit_distance("attention", "embedding", 2) > 2);
    assert_true(bf_edit_distance("a", "abcdefgh", 2) > 2);
    assert_int_equal(bf_edit_distance("kitten", "sitting", 3), 3);
    assert_true(bf_edit_distance("kitten", "sitting", 2) > 2);
}

static void integer_helpers(void **state) {
    (void)state;
    assert_int_equal(bf_round_up(0, 16), 0);
    assert_int_equal(bf_round_up(17, 16), 32);
    assert_int_equal(bf_divide_up(17, 16), 2);
    assert_true(bf_is_power_of_two(64));
    assert_false(bf_is_power_of_two(0));
    assert_false(bf_is_power_of_two(65));
    assert_int_equal(bf_log2_floor(1), 0);
    assert_int_equal(bf_log2_floor(1023), 9);
    assert_int_equal(bf_log2_floor(UINT64_MAX), 63);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_error_is_kept),
        cmocka_unit_test(long_error_is_cut),
        cmocka_unit_test(memory_is_zeroed),
        cmocka_unit_test(strings_are_copied),
        cmocka_unit_test(guard_catches_out_of_memory),
        cmocka_unit_test(arena_is_aligned_and_zeroed),
        cmocka_unit_test(array_grows),
        cmocka_unit_test(text_grows),
        cmocka_unit_test(text_at_the_edge),
        cmocka_unit_test(file_comes_back),
        cmocka_unit_test(file_errors_say_why),
        cmocka_unit_test(devices_and_links_are_kept),
        cmocka_unit_test(hash_is_fnv1a),
        cmocka_unit_test(random_is_splitmix64),
        cmocka_unit_test(edit_distance_counts_slips),
        cmocka_unit_test(integer_helpers),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
