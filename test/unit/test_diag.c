/* test_diag.c - what a user sees when something is wrong. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "ir/diag.h"

static const char program[] = "network digits() {\n"
                              "    m = attention(q, heads = 5);\n"
                              "\tn = m;\r\n"
                              "    \"\xc3\xa9\xc3\xa9\" = n;\n"
                              "last";

struct session {
    struct bf_sources sources;
    struct bf_diags diags;
    char *printed;
    size_t size;
};

static int begin(void **state) {
    struct session *session = bf_alloc(sizeof *session);
    size_t size = sizeof program - 1;
    bf_source_add(&session->sources, "digits.bfly", bf_strndup(program, size), size);
    bf_source_add(&session->sources, "lost.bfly", NULL, 0);
    session->diags = (struct bf_diags){.sources = &session->sources,
                                       .out = open_memstream(&session->printed, &session->size),
                                       .error_limit = 20};
    *state = session;
    return session->diags.out ? 0 : -1;
}

static int end(void **state) {
    struct session *session = *state;
    fclose(session->diags.out);
    free(session->printed);
    bf_sources_free(&session->sources);
    free(session);
    return 0;
}

static void expect(struct session *session, const char *text) {
    fflush(session->diags.out);
    assert_string_equal(session->printed, text);
}

static void caret_and_underline(void **state) {
    struct session *session = *state;
    struct bf_loc heads = {0, 2, 22};
    bf_diag(&session->diags, BF_ERROR, heads, 9, 8, "heads = %d does not divide %d", 5, 64);
    expect(session, "digits.bfly:2:30: error: heads = 5 does not divide 64\n"
                    "    2 |     m = attention(q, heads = 5);\n"
                    "      |                      ~~~~~~~~^\n");
    assert_int_equal(session->diags.errors, 1);
}

static void caret_at_the_start_of_a_range(void **state) {
    struct session *session = *state;
    bf_diag(&session->diags, BF_WARNING, (struct bf_loc){0, 1, 1}, 7, 0, "small");
    expect(session, "digits.bfly:1:1: warning: small\n"
                    "    1 | network digits() {\n"
                    "      | ^~~~~~~\n");
    assert_int_equal(session->diags.errors, 0);
    assert_int_equal(session->diags.warnings, 1);
}

static void tabs_and_carriage_returns(void **state) {
    struct session *session = *state;
    assert_false(bf_diag_error(&session->diags, (struct bf_loc){0, 3, 6}, "no m"));
    expect(session, "digits.bfly:3:6: error: no m\n"
                    "    3 | \tn = m;\n"
                    "      | \t    ^\n");
}

static void utf8_is_one_column_a_character(void **state) {
    struct session *session = *state;
    bf_diag(&session->diags, BF_ERROR, (struct bf_loc){0, 4, 5}, 6, 0, "string");
    expect(session, "digits.bfly:4:5: error: string\n"
                    "    4 |     \"\xc3\xa9\xc3\xa9\" = n;\n"
                    "      |     ^~~~\n");
}

static void range_past_the_line_is_clipped(void **state) {
    struct session *session = *state;
    bf_diag(&session->diags, BF_ERROR, (struct bf_loc){0, 5, 3}, 50, 2, "missing ';'");
    expect(session, "digits.bfly:5:5: error: missing ';'\n"
                    "    5 | last\n"
                    "      |   ~~^\n");
}

static void places_without_text(void **state) {
    struct session *session = *state;
    bf_diag_error(&session->diags, (struct bf_loc){1, 7, 3}, "from a text");
    bf_diag_error(&session->diags, (struct bf_loc){0, 0, 0}, "from nowhere");
    bf_diag_error(&session->diags, (struct bf_loc){9, 1, 1}, "from no file");
    bf_diag_error(&session->diags, (struct bf_loc){0, 99, 1}, "past the end");
    expect(session, "lost.bfly:7:3: error: from a text\n"
                    "bfcc: error: from nowhere\n"
                    "bfcc: error: from no file\n"
                    "digits.bfly:99:1: error: past the end\n");
}

static void limit_stops_and_drops_notes(void **state) {
    struct session *session = *state;
    session->diags.error_limit = 2;
    struct bf_loc nowhere = {0};
    bf_diag_error(&session->diags, nowhere, "one");
    bf_diag_note(&session->diags, nowhere, "about one");
    bf_diag_error(&session->diags, nowhere, "two");
    bf_diag_note(&session->diags, nowhere, "about two");
    assert_false(session->diags.stopped);
    bf_diag_error(&session->diags, nowhere, "three");
    bf_diag_note(&session->diags, nowhere, "about three");
    bf_diag(&session->diags, BF_WARNING, nowhere, 0, 0, "late");
    assert_true(session->diags.stopped);
    bf_diag_summary(&session->diags);
    expect(session, "bfcc: error: one\n"
                    "bfcc: note: about one\n"
                    "bfcc: error: two\n"
                    "bfcc: note: about two\n"
                    "bfcc: error: too many errors, stopping now\n"
                    "2 errors generated.\n");
}

static void no_limit(void **state) {
    struct session *session = *state;
    session->diags.error_limit = 0;
    for (int i = 0; i < 100; i++)
        bf_diag_error(&session->diags, (struct bf_loc){0}, "again %d", i);
    assert_int_equal(session->diags.errors, 100);
    assert_false(session->diags.stopped);
}

static void repetitions_are_dropped(void **state) {
    struct session *session = *state;
    struct bf_loc nowhere = {0};
    for (int i = 0; i < 3; i++) {
        bf_diag_error(&session->diags, nowhere, "one");
        bf_diag_note(&session->diags, nowhere, "about one");
    }
    bf_diag_error(&session->diags, nowhere, "two");
    bf_diag_error(&session->diags, nowhere, "one");
    bf_diag_summary(&session->diags);
    expect(session, "bfcc: error: one\n"
                    "bfcc: note: about one\n"
                    "bfcc: error: two\n"
                    "bfcc: error: one\n"
                    "3 errors generated.\n");
}

static void warnings_can_be_errors(void **state) {
    struct session *session = *state;
    session->diags.warnings_as_errors = true;
    bf_diag(&session->diags, BF_WARNING, (struct bf_loc){0}, 0, 0, "odd");
    assert_int_equal(session->diags.errors, 1);
    assert_int_equal(session->diags.warnings, 0);
    expect(session, "bfcc: error: odd [-Werror]\n");
}

static void summary_counts(void **state) {
    struct session *session = *state;
    bf_diag_summary(&session->diags);
    session->diags.warnings = 1;
    bf_diag_summary(&session->diags);
    session->diags.errors = 2;
    bf_diag_summary(&session->diags);
    expect(session, "1 warning generated.\n1 warning and 2 errors generated.\n");
}

static void colors(void **state) {
    struct session *session = *state;
    session->diags.color = true;
    bf_diag_error(&session->diags, (struct bf_loc){0, 5, 1}, "red");
    expect(session, "\033[1mdigits.bfly:5:1: \033[1;31merror: \033[0m\033[1mred\033[0m\n"
                    "    5 | last\n"
                    "      | \033[1;32m^\033[0m\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(caret_and_underline),
        TEST(caret_at_the_start_of_a_range),
        TEST(tabs_and_carriage_returns),
        TEST(utf8_is_one_column_a_character),
        TEST(range_past_the_line_is_clipped),
        TEST(places_without_text),
        TEST(limit_stops_and_drops_notes),
        TEST(no_limit),
        TEST(repetitions_are_dropped),
        TEST(warnings_can_be_errors),
        TEST(summary_counts),
        TEST(colors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
