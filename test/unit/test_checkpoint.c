/* Renames of tensors of a checkpoint. Reading is tested with files, in test/lit/driver. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "frontend/driver/checkpoint.h"

static void renames_whole_names(void **state) {
    (void)state;
    static const struct {
        const char *rename, *name, *expected; /* expected NULL: it does not fit */
    } cases[] = {
        {"a=b", "a", "b"},
        {"a=b", "aa", NULL},
        {"a=b", "", NULL},
        {"a.*=*", "a.x.y", "x.y"},
        {"a.*=*", "a.", NULL},
        {"a.*=*", "b.x", NULL},
        {"*.gamma=*.weight", "l.0.norm.gamma", "l.0.norm.weight"},
        {"*.gamma=*.weight", ".gamma", NULL},
        {"layer.*.attn.*=*.*", "layer.11.attn.q.weight", "11.q.weight"},
        {"*.*=*/*", "a.b.c", "a/b.c"},
        {"*a=<*>", "aaa", "<aa>"},
        {"*ab*ab=*-*", "xabyabab", "x-yab"},
        {"a=b=c", "a", "b=c"},
    };
    struct bf_arena arena = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(bf_rename_check(cases[i].rename, NULL));
        const char *got = bf_rename_apply(cases[i].rename, cases[i].name, &arena);
        if (cases[i].expected)
            assert_string_equal(got, cases[i].expected);
        else
            assert_null(got);
    }
    bf_arena_free(&arena);
}

static void refuses_bad_renames(void **state) {
    (void)state;
    static const char *const bad[] = {"", "a", "=a", "a=", "*=a", "a=*", "*.*=*", "*****=*****"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct bf_error error = {0};
        assert_false(bf_rename_check(bad[i], &error));
        assert_int_equal(error.code, BF_ERROR_INPUT);
    }
}

/* A checkpoint of tensors without data. */
static void add(struct bf_checkpoint *checkpoint, struct bf_tensor *tensor) {
    *bf_push(&checkpoint->tensors) =
        (struct bf_checkpoint_tensor){tensor, "file", tensor->name, false};
}

static void applies_prefix_then_renames_in_order(void **state) {
    (void)state;
    struct bf_tensor tensors[] = {{.name = "m.a"}, {.name = "m.b"}, {.name = "c"}, {.name = "m."}};
    struct bf_checkpoint checkpoint = {0};
    for (size_t i = 0; i < 4; i++)
        add(&checkpoint, &tensors[i]);
    const char *list[] = {"a=x", "b=a", "x=b"};
    struct bf_strings renames = {list, 3, 3};
    struct bf_error error = {0};
    assert_true(bf_checkpoint_rename(&checkpoint, "m", &renames, &error));
    assert_string_equal(checkpoint.tensors.data[0].name, "b");
    assert_string_equal(checkpoint.tensors.data[1].name, "a");
    assert_string_equal(checkpoint.tensors.data[2].name, "c");
    assert_string_equal(checkpoint.tensors.data[3].name, "m.");
    assert_true(checkpoint.tensors.data[0].touched && !checkpoint.tensors.data[2].touched);
    assert_false(bf_checkpoint_rename(&checkpoint, "n", &renames, &error));
    assert_non_null(strstr(error.text, "no name begins so"));
    bf_checkpoint_free(&checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renames_whole_names),
        cmocka_unit_test(refuses_bad_renames),
        cmocka_unit_test(applies_prefix_then_renames_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
