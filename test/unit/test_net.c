/* test_net.c - networks: shape inference and its messages, texts, verifier. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ir/net.h"

struct fixture {
    struct bf_net *net;
    struct bf_sources sources;
    struct bf_diags diags;
    char *messages; /* what was reported */
    size_t size;
};

static const char source[] = "line 1\nline 2\nline 3\nline 4\n";

static int set_up(void **state) {
    struct fixture *f = bf_alloc(sizeof *f);
    bf_source_add(&f->sources, "test.bfly", bf_strdup(source), sizeof source - 1);
    FILE *out = open_memstream(&f->messages, &f->size);
    f->diags = (struct bf_diags){.sources = &f->sources, .out = out, .error_limit = 20};
    f->net = bf_net_create("test");
    bf_header_set_files(&f->net->header, &f->sources, &f->net->arena);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    bf_net_free(f->net);
    bf_sources_free(&f->sources);
    fclose(f->diags.out);
    free(f->messages);
    free(f);
    return 0;
}

static void assert_said(struct fixture *f, const char *part) {
    fflush(f->diags.out);
    if (!strstr(f->messages, part))
        fail_msg("expected '%s' in:\n%s", part, f->messages);
}

static struct bf_loc at(uint32_t line) {
    return (struct bf_loc){0, line, 1};
}

static struct bf_value *input(struct fixture *f, const char *name, enum bf_dtype dtype,
                              unsigned rank, const int64_t *dims) {
    struct bf_value *value =
        bf_net_add_input(f->net, name, bf_type_make(dtype, rank, dims), at(1), &f->diags);
    assert_non_null(value);
    return value;
}
#define DIMS(...)                                                                                  \
    sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]) {                              \
        __VA_ARGS__                                                                                \
    }

static struct bf_value *op(struct fixture *f, enum bf_op_kind kind, const struct bf_attrs *attrs,
                           const char *label, struct bf_value *a, struct bf_value *b,
                           struct bf_value *c) {
    struct bf_value *args[] = {a, b, c};
    return bf_net_add_op(f->net, kind, args, c ? 3 : b ? 2 : 1, attrs, label, at(2), &f->diags);
}

static void assert_type(struct fixture *f, const struct bf_value *value, const char *text) {
    assert_non_null(value);
    assert_string_equal(bf_type_text(&f->net->arena, &value->type), text);
}

static void assert_param(struct fixture *f, const char *name, const char *text) {
    struct bf_param *param = bf_net_find_param(f->net, name);
    assert_non_null(param);
    assert_string_equal(bf_type_text(&f->net->arena, &param->type), text);
}

static struct bf_attrs with_int(enum bf_op_kind kind, const char *name, int64_t value) {
    struct bf_attrs attrs = {0};
    bf_attrs_set_int(&attrs, kind, name, value);
    return attrs;
}

/* ---- the table ---- */

static void table_is_consistent(void **state) {
    (void)state;
    for (unsigned i = 0; i < BF_OP_COUNT; i++) {
        const struct bf_op_info *info = bf_op_info((enum bf_op_kind)i);
        enum bf_op_kind kind;
        assert_true(bf_op_find(info->name, &kind));
        assert_int_equal(kind, i);
        for (unsigned j = 0; j < info->attr_count; j++)
            assert_int_equal(bf_op_attr_index(info, info->attrs[j].name), j);
        for (unsigned j = 0; j < info->param_count; j++)
            assert_true(!*info->params[j].condition ||
                        bf_op_attr_index(info, info->params[j].condition) >= 0);
    }
    const struct bf_op_info *attention = bf_op_info(BF_OP_ATTENTION);
    assert_int_equal(attention->arg_count, 4);
    assert_int_equal(attention->attr_count, 4);
    assert_string_equal(attention->args[3].name, "mask");
    assert_int_equal(attention->args[3].presence, BF_OPTIONAL);
    assert_string_equal(bf_op_suggest("layernrom"), "layernorm");
    assert_string_equal(bf_op_suggest("buterfly"), "butterfly");
    assert_null(bf_op_suggest("completely_different"));
}

/* ---- shapes and parameters ---- */

static void rectangular_butterfly_has_stacks(void **state) {
    struct fixture *f = *state;
    struct bf_value *x = input(f, "x", BF_F16, DIMS(128, 768));
    struct bf_attrs attrs = with_int(BF_OP_BUTTERFLY, "out", 3072);
    struct bf_value *y = op(f, BF_OP_BUTTERFLY, &attrs, "encoder.0.ffn.fc1", x, NULL, NULL);
    assert_type(f, y, "f16[128,3072]");
    assert_int_equal(bf_op_int(y->op, "n"), 1024);
    assert_int_equal(bf_op_int(y->op, "stacks"), 3);
    assert_param(f, "encoder.0.ffn.fc1.twiddle", "f16[3,1,10,512,2,2]");
    assert_param(f, "encoder.0.ffn.fc1.bias", "f16[3072]");
    assert_string_equal(bf_op_param(y->op, "bias")->owner, "butterfly(768 -> 3072)");
}

static void labels_name_parameters(void **state) {
    struct fixture *f = *state;
    struct bf_value *x = input(f, "x", BF_F16, DIMS(8, 16));
    assert_non_null(op(f, BF_OP_LAYERNORM, NULL, "", x, NULL, NULL));
    assert_param(f, "weight", "f16[16]");
    assert_param(f, "bias", "f16[16]");
    assert_null(op(f, BF_OP_LAYERNORM, NULL, "", x, NULL, NULL));
    assert_said(f, "test.bfly:2:1: error: the parameter 'weight' exists already");
    struct bf_attrs shared = {.shared = true};
    struct bf_value *tied = op(f, BF_OP_LAYERNORM, &shared, "", x, NULL, NULL);
    assert_ptr_equal(bf_op_param(tied->op, "weight"), bf_net_find_param(f->net, "weight"));
    assert_int_equal(f->net->params.count, 2);
}

static void packed_weights_are_views(void **state) {
    struct fixture *f = *state;
    struct bf_value *x = input(f, "x", BF_F16, DIMS(8, 16));
    struct bf_value *w =
        bf_net_add_param(f->net, "attn", "in_proj_weight", DIMS(48, 16), false, at(1), &f->diags);
    assert_type(f, w, "f16[48,16]");
    struct bf_attrs rows = {0};
    bf_attrs_set_ints(&rows, BF_OP_SLICE, "begin", (int64_t[]){16, 0}, 2);
    bf_attrs_set_ints(&rows, BF_OP_SLICE, "end", (int64_t[]){32, 16}, 2);
    struct bf_value *k = op(f, BF_OP_SLICE, &rows, "", w, NULL, NULL);
    assert_type(f, k, "f16[16,16]");
    assert_true(k->is_static);
    struct bf_attrs attrs = {0};
    bf_attrs_set_bool(&attrs, BF_OP_LINEAR, "bias", false);
    struct bf_value *y = op(f, BF_OP_LINEAR, &attrs, "", x, k, NULL);
    assert_type(f, y, "f16[8,16]");
    struct bf_param_view view;
    assert_true(bf_op_weight_view(y->op, "weight", &view));
    assert_string_equal(view.param->name, "attn.in_proj_weight");
    assert_int_equal(view.begin[0], 16);
    assert_int_equal(view.begin[1], 0);
    assert_int_equal(view.extent[0], 16);
    assert_false(bf_op_weight_view(y->op, "bias", &view));
    assert_null(op(f, BF_OP_LINEAR, &attrs, "", x, x, NULL));
    assert_said(f, "linear: weight must be a parameter, or a slice of one");
}

static void shapes_of_every_kind(void **state) {
    struct fixture *f = *state;
    struct bf_value *x = input(f, "x", BF_F16, DIMS(16, 64));
    struct bf_value *ids = input(f, "ids", BF_I32, DIMS(16));
    struct bf_value *mask = input(f, "mask", BF_U8, DIMS(16));
    struct bf_value *z = input(f, "z", BF_F16, DIMS(2, 16, 64));
    struct bf_attrs attrs = {0};
    assert_type(f, op(f, BF_OP_FOURIER, NULL, "", x, NULL, NULL), "f16[16,64]");
    assert_type(f, op(f, BF_OP_FFT, NULL, "", z, NULL, NULL), "f16[2,16,64]");
    assert_type(f, op(f, BF_OP_SOFTMAX, NULL, "", x, NULL, NULL), "f16[16,64]");
    attrs = with_int(BF_OP_MEAN, "axis", -2);
    struct bf_value *mean = op(f, BF_OP_MEAN, &attrs, "", x, mask, NULL);
    assert_type(f, mean, "f16[64]");
    assert_int_equal(bf_op_int(mean->op, "axis"), 0);
    assert_type(f, op(f, BF_OP_ADD, NULL, "", x, mean, NULL), "f16[16,64]");
    attrs = with_int(BF_OP_EMBEDDING, "num", 100);
    bf_attrs_set_int(&attrs, BF_OP_EMBEDDING, "dim", 64);
    assert_type(f, op(f, BF_OP_EMBEDDING, &attrs, "e", ids, NULL, NULL), "f16[16,64]");
    assert_param(f, "e.weight", "f16[100,64]");
    struct bf_attrs shape = {0};
    bf_attrs_set_ints(&shape, BF_OP_RESHAPE, "shape", (int64_t[]){4, -1, 8}, 3);
    struct bf_value *r = op(f, BF_OP_RESHAPE, &shape, "", x, NULL, NULL);
    assert_type(f, r, "f16[4,32,8]");
    assert_type(f, op(f, BF_OP_TRANSPOSE, NULL, "", r, NULL, NULL), "f16[4,8,32]");
    assert_type(f, op(f, BF_OP_CONCAT, NULL, "", x, x, x), "f16[16,192]");
    assert_type(f, op(f, BF_OP_MONARCH, NULL, "m", x, NULL, NULL), "f16[16,64]");
    assert_param(f, "m.blkdiag1", "f16[8,8,8]");
    attrs = with_int(BF_OP_BLOCK_BUTTERFLY, "out", 128);
    bf_attrs_set_int(&attrs, BF_OP_BLOCK_BUTTERFLY, "tile", 32);
    assert_type(f, op(f, BF_OP_BLOCK_BUTTERFLY, &attrs, "b", x, NULL, NULL), "f16[16,128]");
    assert_param(f, "b.twiddle", "f16[4,2,1,5,16,2,2]");
    attrs = with_int(BF_OP_FFT_COMPRESS, "chunk", 8);
    bf_attrs_set_int(&attrs, BF_OP_FFT_COMPRESS, "keep", 4);
    assert_type(f, op(f, BF_OP_FFT_COMPRESS, &attrs, "", x, NULL, NULL), "f16[8,64]");
    attrs = with_int(BF_OP_ROPE, "heads", 4);
    assert_type(f, op(f, BF_OP_ROPE, &attrs, "", x, NULL, NULL), "f16[16,64]");
    assert_true(bf_net_verify(f->net, &f->diags));
    assert_int_equal(f->diags.errors, 0);
}

static void messages_name_both_sides(void **state) {
    struct fixture *f = *state;
    struct bf_value *x = input(f, "x", BF_F16, DIMS(16, 64));
    struct bf_value *y = input(f, "y", BF_F16, DIMS(16, 63));
    struct bf_value *ids = input(f, "ids", BF_I32, DIMS(16));
    struct bf_attrs attrs = with_int(BF_OP_ATTENTION, "heads", 5);
    attrs.v[0].loc = (struct bf_loc){0, 3, 1};
    attrs.v[0].length = 4;
    attrs.v[0].caret = 3;
    assert_null(op(f, BF_OP_ATTENTION, &attrs, "", x, x, x));
    assert_said(f, "test.bfly:3:4: error: attention: heads = 5 does not divide the query width 64\n"
                   "    3 | line 3\n"
                   "      | ~~~^\n"
                   "test.bfly:1:1: note: the width 64 comes from here\n");
    assert_null(op(f, BF_OP_ADD, NULL, "", x, y, NULL));
    assert_said(f, "add: the shapes of f16[16,64] and f16[16,63] do not fit");
    assert_null(op(f, BF_OP_GELU, NULL, "", ids, NULL, NULL));
    assert_said(f, "gelu: x is i32[16], must be f16 or f32");
    assert_null(op(f, BF_OP_LINEAR, NULL, "", x, NULL, NULL));
    assert_said(f, "linear: 'out' is missing");
    attrs = with_int(BF_OP_SOFTMAX, "axis", 2);
    assert_null(op(f, BF_OP_SOFTMAX, &attrs, "", x, NULL, NULL));
    assert_said(f, "softmax: axis 2 is outside of 2 axes");
    struct bf_attrs word = {0};
    bf_attrs_set_string(&word, BF_OP_GELU, "approximate", "an");
    assert_null(op(f, BF_OP_GELU, &word, "", x, NULL, NULL));
    assert_said(f, "gelu: approximate = an, must be one of none|tanh");
    unsigned errors = f->diags.errors;
    assert_null(op(f, BF_OP_GELU, NULL, "", NULL, NULL, NULL));
    assert_int_equal(f->diags.errors, errors);
}

/* ---- texts ---- */

static void build_sample(struct fixture *f) {
    struct bf_value *x = input(f, "x", BF_F16, DIMS(128, 768));
    struct bf_value *m = input(f, "odd name", BF_U8, DIMS(128));
    struct bf_value *r = op(f, BF_OP_FOURIER, NULL, "encoder.0", x, NULL, NULL);
    r->type.exponent = 7;
    struct bf_value *a = op(f, BF_OP_ADD, NULL, "encoder.0", x, r, NULL);
    a->type.acc = true;
    a->type.dtype = BF_F32;
    struct bf_attrs attrs = {0};
    bf_attrs_set_float(&attrs, BF_OP_LAYERNORM, "eps", 1.0 / 3);
    struct bf_value *n = op(f, BF_OP_LAYERNORM, &attrs, "encoder.0.norm1", a, NULL, NULL);
    struct bf_value *w =
        bf_net_add_param(f->net, "encoder.0", "a \"b\"", DIMS(96, 768), false, at(3), &f->diags);
    attrs = with_int(BF_OP_LINEAR, "out", 96);
    struct bf_value *l = op(f, BF_OP_LINEAR, &attrs, "", n, w, NULL);
    attrs = with_int(BF_OP_MEAN, "axis", 0);
    struct bf_value *p = op(f, BF_OP_MEAN, &attrs, "", l, m, NULL);
    assert_true(bf_net_add_output(f->net, "y", p, at(4), &f->diags));
    assert_true(
        bf_net_add_output(f->net, "z", op(f, BF_OP_CONCAT, NULL, "", l, l, l), at(4), &f->diags));
    f->net->header.arch_hash = 0x0123456789abcdef;
    assert_true(bf_net_verify(f->net, &f->diags));
}

static void text_reads_back_unchanged(void **state) {
    struct fixture *f = *state;
    build_sample(f);
    struct bf_text first = {0}, second = {0};
    bf_net_print(f->net, &first);
    uint32_t file = bf_source_add(&f->sources, "test.net", NULL, 0);
    struct bf_net *again = bf_net_parse(first.data, first.length, file, &f->diags);
    assert_non_null(again);
    bf_net_print(again, &second);
    assert_string_equal(first.data, second.data);
    assert_non_null(strstr(first.data, "file 0 \"test.bfly\"\nnet test\ninput %x "));
    assert_non_null(strstr(first.data, "f16[128,768]*2^7 "));
    assert_non_null(strstr(first.data, " acc[128,768] "));
    assert_non_null(strstr(first.data, "eps=0.3333333333333333 affine"));
    assert_non_null(strstr(first.data, "linear %3 weight=%4 "));
    /* A place keeps pointing into the original file, whose name was added to the sources. */
    struct bf_loc loc = again->ops.data[0]->loc;
    assert_int_equal(loc.line, 2);
    assert_string_equal(f->sources.data[loc.file].name, "test.bfly");
    bf_net_free(again);
    bf_text_free(&first);
    bf_text_free(&second);
}

static const char head[] = "bfcc net 1 arch=default:0000000000000000 batch=1 opt=2 resident=0 "
                           "weights=none\nnet n\ninput %x f16[4,8]\n";

static void text_errors_have_places(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *body, *message;
    } cases[] = {
        {"%1 = relu %y f16[4,8]\n", "t.net:4:13: error: there is no input 'y'"},
        {"%1 = relo %x f16[4,8]\n", "t.net:4:10: error: unknown operator 'relo'"},
        {"%2 = relu %x f16[4,8]\n", "t.net:4:3: error: expected %1"},
        {"%1 = relu %1 f16[4,8]\n", "there is no value %1 above this line"},
        {"%1 = relu %x f16[4,9]\n", "the result is f16[4,8], not f16[4,9]"},
        {"%1 = relu %x f16[4,8] x\n", "unexpected text at the end of the line"},
        {"%1 = slice %x begin=[0,0] end=[4,4] f16[4,4]*2^3\n", "the result is f16[4,4], not"},
        {"%1 = layernorm %x eps=1e-5 affine f16[4,8]\n",
         "the parameter 'weight' is not listed above"},
        {"param weight f16[8]\nparam weight f16[8]\n",
         "net: the parameter 'weight' is listed twice"},
        {"%1 = layernorm %x eps=nan f16[4,8]\n", "'eps' is not a finite number"},
        {"%1 = butterfly %x out=8 increasing nblocks=1 n=16 stacks=1 f16[4,8]\n",
         "the parameter 'twiddle' is not listed above"},
        {"%1 = add %x, %x acc[4,8]\noutput y = %1 acc[4,8]\n", "output 'y' is never stored"},
        {"%1 = relu %x f16[4,8] loc(0,1,1)\n", "loc(0,1,1) is no place in the files listed above"},
        {"output y = %x f16[8,4]\n", "the output is f16[4,8], not f16[8,4]"},
    };
    uint32_t file = bf_source_add(&f->sources, "t.net", NULL, 0);
    f->diags.error_limit = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bf_text text = {0};
        bf_text_printf(&text, "%s%s", head, cases[i].body);
        assert_null(bf_net_parse(text.data, text.length, file, &f->diags));
        assert_said(f, cases[i].message);
        bf_text_free(&text);
    }
}

/* Every prefix, and every text with one byte changed, is read or refused without harm. */
static void damaged_texts_are_refused(void **state) {
    struct fixture *f = *state;
    build_sample(f);
    struct bf_text text = {0};
    bf_net_print(f->net, &text);
    f->diags.error_limit = 1;
    f->diags.stopped = true;
    for (size_t i = 0; i < text.length; i++) {
        char *copy = bf_alloc(i);
        memcpy(copy, text.data, i);
        bf_net_free(bf_net_parse(copy, i, 0, &f->diags));
        free(copy);
    }
    uint64_t random = 1;
    for (size_t i = 0; i < 4000; i++) {
        char *copy = bf_alloc(text.length);
        memcpy(copy, text.data, text.length);
        static const char bytes[] = "%=,[]0129 \n\"@x-*^\0\xff";
        for (uint64_t changes = 1 + bf_random(&random) % 3; changes; changes--)
            copy[bf_random(&random) % text.length] = bytes[bf_random(&random) % sizeof bytes];
        bf_net_free(bf_net_parse(copy, text.length, 0, &f->diags));
        free(copy);
    }
    bf_text_free(&text);
}

static void level_is_recognised(void **state) {
    (void)state;
    assert_string_equal(bf_header_level(head, sizeof head - 1), "net");
    assert_string_equal(bf_header_level("bfcc poly 1", 11), "poly");
    assert_null(bf_header_level("bfcc nets 1", 11));
    assert_null(bf_header_level("bfcc net", 8));
}

static void doubles_read_back(void **state) {
    (void)state;
    uint64_t random = 7;
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t bits = bf_random(&random);
        double x, y;
        memcpy(&x, &bits, sizeof x);
        if (x - x != 0)
            continue;
        struct bf_text text = {0};
        struct bf_reader reader;
        bf_text_add_double(&text, x);
        bf_reader_init(&reader, text.data, text.length, 0, NULL, NULL);
        assert_true(bf_reader_double(&reader, &y));
        assert_memory_equal(&x, &y, sizeof x);
        bf_text_free(&text);
    }
    struct bf_text text = {0};
    bf_text_add_double(&text, 1e-5);
    bf_text_add_double(&text, 1e30);
    bf_text_add_double(&text, 0);
    bf_text_add_double(&text, 1e100);
    assert_string_equal(text.data, "1e-51e3001e100");
    bf_text_free(&text);
}

/* ---- verifier ---- */

static void verifier_finds_planted_faults(void **state) {
    struct fixture *f = *state;
    build_sample(f);
    struct bf_op **ops = f->net->ops.data;
    f->diags.error_limit = 0;

    struct bf_op *first = ops[0];
    ops[0] = ops[1];
    ops[1] = first;
    bf_net_renumber(f->net);
    assert_false(bf_net_verify(f->net, &f->diags));
    assert_said(f, "(add): reads a value that is not defined before it");
    ops[1] = ops[0];
    ops[0] = first;
    bf_net_renumber(f->net);
    assert_true(bf_net_verify(f->net, &f->diags));

    ops[2]->result.type.dims[0]++;
    assert_false(bf_net_verify(f->net, &f->diags));
    assert_said(f, "its type is not what its operands give");
    ops[2]->result.type.dims[0]--;

    struct bf_param *weight = ops[2]->params[0];
    ops[2]->params[0] = NULL;
    assert_false(bf_net_verify(f->net, &f->diags));
    assert_said(f, "has a parameter too many or too few");
    ops[2]->params[0] = f->net->params.data[2];
    assert_false(bf_net_verify(f->net, &f->diags));
    assert_said(f, "has a parameter of another shape");
    ops[2]->params[0] = weight;

    f->net->outputs.data[0].value = &ops[1]->result;
    assert_false(bf_net_verify(f->net, &f->diags));
    assert_said(f, "output 'y' is never stored");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_consistent),
        cmocka_unit_test_setup_teardown(rectangular_butterfly_has_stacks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(labels_name_parameters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(packed_weights_are_views, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shapes_of_every_kind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messages_name_both_sides, set_up, tear_down),
        cmocka_unit_test_setup_teardown(text_reads_back_unchanged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(text_errors_have_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_texts_are_refused, set_up, tear_down),
        cmocka_unit_test(level_is_recognised),
        cmocka_unit_test(doubles_read_back),
        cmocka_unit_test_setup_teardown(verifier_finds_planted_faults, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
