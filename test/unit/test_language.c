/* test_language.c - the operator reference in docs/language.md says what the operator table says.
 *
 * After a change of ir/net_ops.def, `test_language --write` puts the new text into the page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "frontend/library.h"
#include "ir/net.h"

#define PAGE  "docs/language.md"
#define BEGIN "<!-- operators: made by test_language --write from ir/net_ops.def -->\n"
#define END   "<!-- end of operators -->\n"

static const char *const class_titles[] = {
    [BF_CLASS_SOURCE] = "Sources",
    [BF_CLASS_LINEAR] = "Linear maps",
    [BF_CLASS_TRANSFORM] = "Transforms",
    [BF_CLASS_ATTENTION] = "Attention",
    [BF_CLASS_ROWWISE] = "Along an axis, keeping the shape",
    [BF_CLASS_ELEMENTWISE] = "Element by element",
    [BF_CLASS_REDUCTION] = "Reductions",
    [BF_CLASS_GATHER] = "Gather",
    [BF_CLASS_LAYOUT] = "Layout",
};
#define CLASS_COUNT (sizeof class_titles / sizeof *class_titles)

static bool given_by_user(const struct bf_attr_info *attr) {
    return attr->presence == BF_REQUIRED || attr->presence == BF_OPTIONAL;
}

/* "linear(x, out, bias, weight=, bias=)": by position first, then what needs its name. */
static void signature(const struct bf_op_info *info, struct bf_text *text) {
    const char *separator = "";
    bf_text_printf(text, "#### `%s(", info->name);
    for (unsigned i = 0; i < info->arg_count; i++)
        if (info->args[i].presence != BF_OPTIONAL) {
            bf_text_printf(text, "%s%s%s", separator, info->args[i].name,
                           info->args[i].presence == BF_VARIADIC ? ", .." : "");
            separator = ", ";
        }
    for (unsigned i = 0; i < info->attr_count; i++)
        if (given_by_user(&info->attrs[i])) {
            bf_text_printf(text, "%s%s", separator, info->attrs[i].name);
            separator = ", ";
        }
    for (unsigned i = 0; i < info->arg_count; i++)
        if (info->args[i].presence == BF_OPTIONAL) {
            bf_text_printf(text, "%s%s =", separator, info->args[i].name);
            separator = ", ";
        }
    bf_text_printf(text, ")`\n%s\n\n", info->sentence);
}

static const char *type_words(enum bf_attr_type type) {
    switch (type) {
    case BF_ATTR_INT:
        return "integer";
    case BF_ATTR_FLOAT:
        return "number";
    case BF_ATTR_BOOL:
        return "true or false";
    case BF_ATTR_INTS:
        return "integers";
    case BF_ATTR_STRING:
        return "string";
    default:
        return "word";
    }
}

static void attribute(const struct bf_attr_info *attr, struct bf_text *text) {
    bf_text_printf(text, "- `%s`, ", attr->name);
    if (attr->type == BF_ATTR_WORD)
        for (const char *at = attr->choices; *at; at += *at == '|') {
            int length = (int)strcspn(at, "|");
            bf_text_printf(text, "`%.*s`", length, at);
            at += length;
            bf_text_add(text, *at ? " or " : "");
        }
    else
        bf_text_add(text, type_words(attr->type));
    if (attr->presence == BF_OPTIONAL && *attr->initial)
        bf_text_printf(text, ", default `%s`", attr->initial);
    else if (attr->presence == BF_OPTIONAL)
        bf_text_add(text, ", optional");
    bf_text_printf(text, ": %s\n", attr->sentence);
}

static void operator_text(const struct bf_op_info *info, struct bf_text *text) {
    signature(info, text);
    for (unsigned i = 0; i < info->arg_count; i++)
        bf_text_printf(text, "- `%s`, tensor%s: %s\n", info->args[i].name,
                       info->args[i].presence == BF_VARIADIC   ? "s"
                       : info->args[i].presence == BF_OPTIONAL ? ", optional"
                                                               : "",
                       info->args[i].sentence);
    for (unsigned i = 0; i < info->attr_count; i++)
        if (given_by_user(&info->attrs[i]))
            attribute(&info->attrs[i], text);
    for (unsigned i = 0; i < info->attr_count; i++)
        if (info->attrs[i].presence == BF_DERIVED)
            bf_text_printf(text, "- `%s` in net texts: %s\n", info->attrs[i].name,
                           info->attrs[i].sentence);
    for (unsigned i = 0; i < info->param_count; i++)
        bf_text_printf(text, "- parameter `%s` [%s]%s%s%s: %s\n", info->params[i].name,
                       info->params[i].shape, *info->params[i].condition ? " if `" : "",
                       info->params[i].condition, *info->params[i].condition ? "`" : "",
                       info->params[i].sentence);
    bf_text_add(text, "\n");
}

static void reference(struct bf_text *text) {
    bf_text_add(text, BEGIN "\n");
    for (size_t class = 0; class < CLASS_COUNT; class ++) {
        bf_text_printf(text, "### %s\n\n", class_titles[class]);
        for (int kind = 0; kind < BF_OP_COUNT; kind++)
            if (bf_op_info((enum bf_op_kind)kind)->class == class)
                operator_text(bf_op_info((enum bf_op_kind)kind), text);
    }
    bf_text_add(text, END);
}

static char *read_page(void) {
    struct bf_error error = {0};
    size_t size;
    char *page = bf_read_file(PAGE, &size, &error);
    if (!page)
        fprintf(stderr, "%s\n", error.text);
    return page;
}

static void operators_are_described(void **state) {
    (void)state;
    struct bf_text text = {0};
    reference(&text);
    char *page = read_page();
    assert_non_null(page);
    char *begin = strstr(page, BEGIN);
    assert_non_null(begin);
    char *end = strstr(begin, END);
    assert_non_null(end);
    end[strlen(END)] = '\0';
    assert_string_equal(begin, text.data);
    free(page);
    bf_text_free(&text);
}

/* Every shipped block is mentioned in the page: a line `block NAME(` of the library. */
static void shipped_blocks_are_described(void **state) {
    (void)state;
    char *page = read_page();
    assert_non_null(page);
    size_t blocks = 0;
    for (size_t i = 0; i < bf_library_file_count; i++)
        for (const char *at = bf_library_files[i].text; (at = strstr(at, "\nblock ")); blocks++) {
            at += strlen("\nblock ");
            char name[80];
            snprintf(name, sizeof name, "`%.*s", (int)strcspn(at, "(") + 1, at);
            if (!strstr(page, name))
                fail_msg("%s says nothing of block %s..)", PAGE, name);
        }
    assert_true(blocks > 0);
    free(page);
}

static int write_page(void) {
    struct bf_text text = {0};
    struct bf_error error = {0};
    char *page = read_page();
    char *begin = page ? strstr(page, BEGIN) : NULL;
    char *end = begin ? strstr(begin, END) : NULL;
    if (!end)
        return 1;
    bf_text_add_bytes(&text, page, (size_t)(begin - page));
    reference(&text);
    bf_text_add(&text, end + strlen(END));
    bool written = bf_write_file(PAGE, text.data, text.length, &error);
    free(page);
    bf_text_free(&text);
    return !written;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "--write"))
        return write_page();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_are_described),
        cmocka_unit_test(shipped_blocks_are_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
