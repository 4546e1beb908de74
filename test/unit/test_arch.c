/* test_arch.c - machine descriptions: shipped ones, defaults, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ir/arch.h"

static bool parse(const char *text, struct bf_machine *machine, struct bf_error *error) {
    memset(error, 0, sizeof *error);
    return bf_arch_parse("a.arch", text, strlen(text), machine, error);
}

static void shipped_descriptions_load(void **state) {
    (void)state;
    static const char *const names[] = {"default", "mlx-reduced", "mlx-full", "mesh8x8"};
    static const unsigned lanes[] = {16, 8, 32, 16}, pes[] = {16, 16, 16, 64};
    for (size_t i = 0; i < 4; i++) {
        struct bf_machine machine;
        struct bf_error error = {0};
        assert_true(bf_arch_load(names[i], &machine, NULL, &error));
        assert_string_equal(machine.name, names[i]);
        assert_int_equal(machine.lanes, lanes[i]);
        assert_int_equal(bf_machine_pes(&machine), pes[i]);
    }
}

static void default_is_the_built_in_machine(void **state) {
    (void)state;
    struct bf_machine machine, standard = bf_machine_default();
    struct bf_error error = {0};
    assert_true(bf_arch_load("default", &machine, NULL, &error));
    assert_true(bf_machine_hash(&machine) == bf_machine_hash(&standard));
}

static void printing_reads_back(void **state) {
    (void)state;
    struct bf_machine machine, again;
    struct bf_error error = {0};
    struct bf_text text = {0};
    assert_true(bf_arch_load("mesh8x8", &machine, NULL, &error));
    machine.dma_setup = 0;
    bf_arch_print(&machine, &text);
    assert_true(parse(text.data, &again, &error));
    assert_true(bf_machine_hash(&machine) == bf_machine_hash(&again));
    bf_text_free(&text);
}

static void errors_name_line_and_key(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"name: a\narray:\n  lnes: 16\n", "a.arch:3:3: error: Unexpected key: lnes"},
        {"name: a\narray:\n  lanes: abc\n",
         "a.arch:3:10: error: lanes: Invalid uint64_t value: 'abc'"},
        {"name: a\narray:\n  rows: 4\n  lanes: 12\n",
         "a.arch:4: error: array.lanes: 12 is not allowed; it must be a power of two from 4 to 32"},
        {"name: a\npe:\n  accumulators: 40\n",
         "a.arch:3: error: pe.accumulators: 40 is not allowed; it must be a number from 2 to 16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bf_machine machine;
        struct bf_error error;
        assert_false(parse(cases[i].text, &machine, &error));
        assert_string_equal(error.text, cases[i].message);
    }
}

static void unknown_names_get_a_suggestion(void **state) {
    (void)state;
    struct bf_machine machine;
    struct bf_error error = {0};
    assert_false(bf_arch_load("mlx-ful", &machine, NULL, &error));
    assert_string_equal(error.text, "unknown machine 'mlx-ful'; did you mean 'mlx-full'?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shipped_descriptions_load),
        cmocka_unit_test(default_is_the_built_in_machine),
        cmocka_unit_test(printing_reads_back),
        cmocka_unit_test(errors_name_line_and_key),
        cmocka_unit_test(unknown_names_get_a_suggestion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
