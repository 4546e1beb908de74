/* test_frontend.c - from .bfly to a net, through the public interface. What single programs give is
 * tested in test/lit/frontend; here is what a tool can't show: lists of files, options, limits of
 * memory use, and texts that are broken at random. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "frontend/frontend.h"
#include "frontend/library.h"

/* One compilation and what it said. */
struct session {
    struct bf_sources sources;
    struct bf_diags diags;
    struct bf_frontend_files files;
    char *said;
    size_t said_size;
    struct bf_net *net;
};

static void compile(struct session *session, const struct bf_frontend_options *options) {
    *session = (struct session){0};
    session->diags = (struct bf_diags){.sources = &session->sources,
                                       .out = open_memstream(&session->said, &session->said_size),
                                       .error_limit = 20};
    assert_non_null(session->diags.out);
    session->net =
        bf_frontend_compile(options, &session->sources, &session->diags, &session->files);
    fflush(session->diags.out);
}

static void compile_text(struct session *session, const char *text) {
    struct bf_frontend_options options = {.name = "model.bfly", .text = text, .size = strlen(text)};
    compile(session, &options);
}

static void finish(struct session *session) {
    fclose(session->diags.out);
    free(session->said);
    bf_net_free(session->net);
    bf_frontend_files_free(&session->files);
    bf_sources_free(&session->sources);
}

static const char fabnet[] =
    "include <transformer.bfly>;\n"
    "block Encoder(x, heads, dense) {\n"
    "    if (dense) m = attn: SelfAttention(x, heads);\n"
    "    else       m = fourier(x);\n"
    "    x = norm1: layernorm(x + m);\n"
    "    return norm2: layernorm(x + ffn: ButterflyFeedForward(x, 4 * dim(x, -1)));\n"
    "}\n"
    "network fabnet(seq = 128, hidden = 768, layers = 12, dense = 0) {\n"
    "    input x: f16[seq, hidden];\n"
    "    for (l in 0 .. layers)\n"
    "        x = encoder[l]: Encoder(x, heads = 12, dense = (l >= layers - dense));\n"
    "    output y = x;\n"
    "}\n";

static size_t count_ops(const struct bf_net *net, enum bf_op_kind kind) {
    size_t count = 0;
    for (size_t i = 0; i < net->ops.count; i++)
        count += net->ops.data[i]->kind == kind;
    return count;
}

static void assert_param(const struct bf_net *net, const char *name, const char *type) {
    const struct bf_param *param = bf_net_find_param(net, name);
    struct bf_text text = {0};
    assert_non_null(param);
    bf_type_print(&param->type, &text);
    assert_string_equal(text.data, type);
    bf_text_free(&text);
}

static void a_network(void **state) {
    (void)state;
    struct session session;
    compile_text(&session, fabnet);
    assert_string_equal(session.said ? session.said : "", "");
    assert_non_null(session.net);
    assert_true(bf_net_verify(session.net, &session.diags));
    assert_string_equal(session.net->name, "fabnet");
    assert_int_equal(session.net->inputs.count, 1);
    assert_int_equal(session.net->outputs.count, 1);
    assert_int_equal(count_ops(session.net, BF_OP_FOURIER), 12);
    assert_int_equal(count_ops(session.net, BF_OP_BUTTERFLY), 24);
    assert_int_equal(count_ops(session.net, BF_OP_LAYERNORM), 24);
    assert_int_equal(count_ops(session.net, BF_OP_GELU), 12);
    assert_int_equal(count_ops(session.net, BF_OP_ADD), 24);
    assert_int_equal(session.net->ops.count, 96);
    assert_int_equal(session.net->params.count, 12 * 8);
    assert_param(session.net, "encoder.11.ffn.up.twiddle", "f16[3,1,10,512,2,2]");
    assert_param(session.net, "encoder.11.ffn.down.twiddle", "f16[1,1,12,2048,2,2]");
    assert_param(session.net, "encoder.0.norm2.bias", "f16[768]");
    finish(&session);
}

static void parameters_from_outside(void **state) {
    (void)state;
    struct session session;
    struct bf_frontend_define defines[] = {{"layers", "9"}, {"layers", "3"}, {"dense", "1"}};
    struct bf_frontend_options options = {.name = "model.bfly",
                                          .text = fabnet,
                                          .size = strlen(fabnet),
                                          .defines = defines,
                                          .define_count = 3};
    compile(&session, &options);
    assert_non_null(session.net);
    assert_int_equal(count_ops(session.net, BF_OP_FOURIER), 2);
    assert_int_equal(count_ops(session.net, BF_OP_ATTENTION), 1);
    assert_param(session.net, "encoder.2.attn.output.weight", "f16[768,768]");
    finish(&session);
    for (size_t i = 0; i < 3; i++) {
        static const char *const bad[] = {"0.5", "many", ""};
        defines[0] = (struct bf_frontend_define){"seq", bad[i]};
        options.define_count = 1;
        compile(&session, &options);
        assert_null(session.net);
        assert_int_equal(session.diags.errors, 1);
        finish(&session);
    }
}

static void the_text_is_the_same_every_time(void **state) {
    (void)state;
    struct bf_text texts[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        struct session session;
        compile_text(&session, fabnet);
        bf_net_print(session.net, &texts[i]);
        finish(&session);
    }
    assert_string_equal(texts[0].data, texts[1].data);
    assert_non_null(strstr(texts[0].data, "\nfile 0 \"model.bfly\"\n"
                                          "file 1 \"<transformer.bfly>\"\n"));
    bf_text_free(&texts[0]);
    bf_text_free(&texts[1]);
}

static void put_file(const char *folder, const char *name, const char *text) {
    struct bf_error error = {0};
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_true(bf_write_file(path, text, strlen(text), &error));
}

static void files_that_were_read(void **state) {
    (void)state;
    char folder[] = "/tmp/test_frontend_XXXXXX", path[200];
    assert_non_null(mkdtemp(folder));
    put_file(folder, "main.bfly",
             "include <transformer.bfly>;\ninclude \"./part.bfly\";\n"
             "include \"part.bfly\";\n"
             "network n() { input x: f16[4, 8]; output y = P(x); }\n");
    put_file(folder, "part.bfly", "block P(x) { return linear(x, 2); }\n");
    snprintf(path, sizeof path, "%s/main.bfly", folder);
    struct bf_frontend_options options = {.name = path};
    struct session session;
    compile(&session, &options);
    assert_non_null(session.net);
    assert_int_equal(session.files.paths.count, 2);
    assert_string_equal(session.files.paths.data[0], path);
    assert_string_equal(strrchr(session.files.paths.data[1], '/'), "/part.bfly");
    assert_int_equal(access(session.files.paths.data[1], R_OK), 0);
    assert_int_equal(session.sources.count, 3);
    assert_string_equal(session.sources.data[2].name, "part.bfly");
    assert_string_equal(session.net->header.files[0], "main.bfly");
    finish(&session);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, i ? "main.bfly" : "part.bfly");
        unlink(path);
    }
    rmdir(folder);
}

static void a_file_that_is_not_there(void **state) {
    (void)state;
    struct bf_frontend_options options = {.name = "/nonexistent/model.bfly"};
    struct session session;
    compile(&session, &options);
    assert_null(session.net);
    assert_int_equal(session.diags.errors, 1);
    assert_non_null(strstr(session.said, "/nonexistent/model.bfly"));
    finish(&session);
}

/* What is wrong in a block is said once, with the first call, not for each of its instances. */
static void an_error_is_said_once(void **state) {
    (void)state;
    struct session session;
    compile_text(&session, "block F(x) {\n"
                           "    y = attention(x, x, x, heads = 5);\n"
                           "    return linear(y, 8);\n"
                           "}\n"
                           "network n() {\n"
                           "    input x: f16[4, 8];\n"
                           "    for (l in 0 .. 12) x = layer[l]: F(x);\n"
                           "    output y = gelu(x, approximate = tan);\n"
                           "}\n");
    assert_null(session.net);
    assert_int_equal(session.diags.errors, 2);
    assert_non_null(strstr(session.said, "model.bfly:2:36: error: attention: heads = 5"));
    assert_non_null(strstr(session.said, "model.bfly:7:38: note: in 'F', called here"));
    assert_non_null(strstr(session.said, "model.bfly:8:24: error: gelu: approximate is none or"));
    finish(&session);
}

/* Every operator of the table can be called by its name, and refuses a call without arguments with
 * a message that names it. */
static void every_operator_is_known(void **state) {
    (void)state;
    for (int kind = 0; kind < BF_OP_COUNT; kind++) {
        char text[200], message[100];
        const char *name = bf_op_info((enum bf_op_kind)kind)->name;
        snprintf(text, sizeof text, "network n() { input x: f16[4]; output y = x + %s(); }", name);
        struct session session;
        compile_text(&session, text);
        snprintf(message, sizeof message, "error: %s: ", name);
        assert_null(session.net);
        assert_int_equal(session.diags.errors, 1);
        if (kind == BF_OP_MAX)
            assert_non_null(strstr(session.said, "max(a, b, ..)"));
        else
            assert_non_null(strstr(session.said, message));
        finish(&session);
    }
}

/* Changes a few bytes, cuts, doubles and moves pieces. */
static size_t mutate(char *text, size_t size, size_t room, uint64_t *seed) {
    for (uint64_t changes = 1 + bf_random(seed) % 4; changes > 0 && size > 8; changes--) {
        size_t at = bf_random(seed) % size;
        size_t length = 1 + bf_random(seed) % (size - at < 12 ? size - at : 12);
        size_t other = bf_random(seed) % (size - length + 1);
        switch (bf_random(seed) % 5) {
        case 0:
            text[at] = (char)bf_random(seed);
            break;
        case 1:
            text[at] = "(){}[]=,;:.\"/*-+!<0a"[bf_random(seed) % 20];
            break;
        case 2:
            memmove(text + at, text + at + length, size - at - length);
            size -= length;
            break;
        case 3:
            memmove(text + other, text + at, length);
            break;
        default:
            if (size + length > room)
                break;
            memmove(text + at + length, text + at, size - at);
            size += length;
        }
    }
    return size;
}

/* Whatever the text, the result is a net or an error, never a crash (or, under ASan, a stray access
 * or a leak). */
static void broken_texts(void **state) {
    (void)state;
    static char text[1 << 16];
    const char *originals[] = {fabnet, NULL};
    for (size_t i = 0; i < bf_library_file_count; i++)
        if (!strcmp(bf_library_files[i].name, "transformer.bfly"))
            originals[1] = bf_library_files[i].text;
    assert_non_null(originals[1]);
    uint64_t seed = 1;
    size_t nets = 0, refused = 0;
    for (int round = 0; round < 3000; round++) {
        const char *original = originals[round % 4 == 3];
        size_t size = strlen(original);
        memcpy(text, original, size);
        size = mutate(text, size, sizeof text, &seed);
        struct bf_frontend_define small = {"layers", "1"};
        struct bf_frontend_options options = {
            .name = "model.bfly", .text = text, .size = size, .defines = &small, .define_count = 1};
        struct session session;
        compile(&session, &options);
        assert_true(!session.net == (session.diags.errors > 0));
        nets += session.net != NULL;
        refused += !session.net;
        finish(&session);
    }
    assert_true(nets > 20 && refused > 1000); /* neither harmless nor hopeless */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network),
        cmocka_unit_test(parameters_from_outside),
        cmocka_unit_test(the_text_is_the_same_every_time),
        cmocka_unit_test(files_that_were_read),
        cmocka_unit_test(a_file_that_is_not_there),
        cmocka_unit_test(an_error_is_said_once),
        cmocka_unit_test(every_operator_is_known),
        cmocka_unit_test(broken_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
