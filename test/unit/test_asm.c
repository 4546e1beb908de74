/* test_asm.c - assembly text: reading, printing, and what programs are refused for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "ir/asm.h"
#include "ir/header.h"
#include "runtime/image.h"

/* A program that uses every kind of statement; tests change single lines of it. */
static const char *const base[] = {
    "bfcc asm 1 arch=default batch=2",
    "file 0 \"a.bfly\"",
    ".network \"n\"",
    ".tensor input x f16[8,16] dram=1024",
    ".tensor input ids i32[4]",
    ".tensor output y f32[8,16]",
    ".tensor weight w f16[16] dram=0",
    ".kernel k \"what\" loc(0,1,1)",
    ".code pes=0-3",
    ".body one",
    "  fma r[1] <- r[0] * l[1:2].3 + 0",
    "  fma a1 <- r[1] * 2 - a0",
    ".body two",
    "  max r[2] <- a1, r[0]",
    ".code pes=4 start=0",
    "  frac r[3] <- r[0]",
    ".block load.0 pes=0-3 trips=4 to=cal.0",
    ".block load.1 pes=0-3 weights=1",
    ".block cal.0 pes=0-3 need=1 body=one weights=1 chain=1",
    ".block cal.1 pes=0-3 body=two to=flow.0",
    ".block flow.0 pes=0-3 need=1 trips=1,4 width=2 token=store.0",
    ".block store.0 pes=0-3 need=4 spm=64 phases=0",
    ".launch label=go kernel=k window=2 context=0,4",
    ".dma load label=in dram=x rows=8 cols=16 width=16",
    ".dma gather label=rows dram=w ids=ids rows=4 cols=1 limit=16 width=16",
    ".dma store label=out dram=y rows=8 cols=16 width=16 spm=64",
    ".seq",
    "  code 0 k",
    "  dma in",
    "  waitd all",
    "  mark 0",
    "  launch go",
    "  mark 1",
    "  waitk",
    "  dma out",
    "  waitd all",
    "  end",
    ".rodata",
    ".label zeros",
    ".half 1 -2 0x3c01 6e-8",
    ".zero 100",
    ".word -1 7",
    ".align 64",
};
enum { LINES = sizeof base / sizeof *base };

/* The base with the line that begins with `from` (up to the length of `from`) replaced. */
static char *changed(const char *from, const char *to) {
    struct bf_text text = {0};
    bool found = !*from;
    for (int i = 0; i < LINES; i++) {
        bool hit = *from && !found && !strncmp(base[i], from, strlen(from));
        bf_text_add(&text, hit ? to : base[i]);
        bf_text_add(&text, "\n");
        found = found || hit;
    }
    assert_true(found);
    return text.data;
}

/* Reads the text, which it frees; what was reported in *messages. */
static struct bf_program *parse(char *text, char **messages) {
    struct bf_sources sources = {0};
    FILE *out = tmpfile();
    struct bf_diags diags = {.sources = &sources, .out = out, .error_limit = 20};
    size_t size = strlen(text);
    uint32_t file = bf_source_add(&sources, "t.bfs", text, size);
    struct bf_program *program = bf_asm_parse(text, size, file, &diags);
    assert_int_equal(program == NULL, diags.errors > 0);
    long length = ftell(out);
    *messages = calloc(1, (size_t)length + 1);
    rewind(out);
    assert_int_equal(fread(*messages, 1, (size_t)length, out), length);
    fclose(out);
    bf_sources_free(&sources);
    return program;
}

static struct bf_program *parse_good(char *text) {
    char *messages;
    struct bf_program *program = parse(text, &messages);
    if (!program)
        fail_msg("%s", messages);
    free(messages);
    return program;
}

static void reads_what_is_written(void **state) {
    (void)state;
    struct bf_program *p = parse_good(changed("", ""));
    assert_int_equal(p->batch, 2);
    assert_int_equal(p->kernels[0].segments[0].count, 3);
    assert_int_equal(p->kernels[0].segments[1].count, 1);
    assert_int_equal(p->kernels[0].blocks[2].d.cal.length, 2);
    assert_int_equal(p->kernels[0].blocks[3].d.cal.start, 2);
    assert_int_equal(p->kernels[0].blocks[3].d.cal.length, 1);
    assert_int_equal(p->kernels[0].blocks[0].d.target[0], 0);
    assert_int_equal(p->kernels[0].blocks[4].d.flow.token, 56);
    struct bf_cal cal;
    assert_true(bf_cal_decode(p->kernels[0].segments[0].words[0], &cal, NULL));
    assert_int_equal(cal.b, 1 * 16 + 2);
    assert_int_equal(cal.b_class, 3);
    assert_int_equal(p->dmas[0].dram, 1024);
    assert_int_equal(p->dmas[0].pitch, 32);
    assert_int_equal(p->tensors[0].size, 2 * 8 * 16 * 2); /* batch 2, fp16 */
    assert_int_equal(p->tensors[1].dram, 1024 + 512);
    assert_int_equal(p->dmas[1].ids, p->tensors[1].dram);
    assert_int_equal(p->sequence[2].y, 2);
    static const uint8_t data[] = {0, 0x3c, 0, 0xc0, 1, 0x3c, 1, 0};
    assert_memory_equal(p->rodata, data, sizeof data);
    assert_int_equal(p->rodata[108], 0xff);
    assert_int_equal(p->rodata_size, 128);
    bf_program_free(p);
}

/* text -> program -> text -> program -> ELF -> program -> text */
static void printing_and_reading_are_inverse(void **state) {
    (void)state;
    struct bf_program *p = parse_good(changed("", ""));
    struct bf_text first = {0}, second = {0}, third = {0};
    bf_asm_print(p, &first);
    struct bf_program *q = parse_good(bf_strdup(first.data));
    bf_asm_print(q, &second);
    assert_string_equal(first.data, second.data);
    size_t size, again_size;
    uint8_t *bytes = bf_program_write(p, &size), *again = bf_program_write(q, &again_size);
    assert_int_equal(size, again_size);
    assert_memory_equal(bytes, again, size);
    struct bf_program *r = bf_image_load(bytes, size, NULL);
    assert_non_null(r);
    bf_asm_print(r, &third);
    assert_string_equal(first.data, third.data);
    bf_text_free(&first);
    bf_text_free(&second);
    bf_text_free(&third);
    free(bytes);
    free(again);
    bf_program_free(p);
    bf_program_free(q);
    bf_program_free(r);
}

/* Every operation and every form of every operand. */
static void every_instruction_reads_back(void **state) {
    (void)state;
    struct bf_program *p = parse_good(changed("", ""));
    struct bf_machine machine = p->machine;
    bf_program_free(p);
    uint64_t seed = 3;
    unsigned tried[32] = {0};
    for (int i = 0; i < 400000; i++) {
        uint64_t word = bf_random(&seed) & (bf_random(&seed) | UINT64_C(0xf987) << 48);
        word &= i & 1 ? ~(UINT64_C(0x3ff) << 17 | UINT64_C(0x1fff) << 2 | 3) : UINT64_MAX;
        word &= i & 2 ? ~(UINT64_C(0xfff) << 39) : ~(UINT64_C(15) << 51);
        word &= ~(UINT64_C(0x3f) << 33) &
                (i & 4 ? ~(UINT64_C(0x3ff) << 29 | UINT64_C(3) << 27) : UINT64_MAX);
        word &= i & 8 ? ~(UINT64_C(3) << 57 | UINT64_C(3) << 15 | UINT64_C(3) << 13) : UINT64_MAX;
        struct bf_cal cal;
        if (!bf_cal_decode(word, &cal, NULL) || !bf_cal_check(&cal, &machine, NULL) ||
            tried[cal.op]++ > 40)
            continue;
        struct bf_text line = {0};
        bf_text_add(&line, "  ");
        bf_asm_print_cal(word, &machine, &line);
        p = parse_good(changed("  frac", line.data));
        assert_true(p->kernels[0].segments[1].words[0] == word);
        bf_program_free(p);
        bf_text_free(&line);
    }
    for (unsigned op = 0; op < 32; op++)
        assert_true(!bf_cal_name(op) == !tried[op]);
}

static void strides_become_deltas(void **state) {
    (void)state;
    struct bf_program *p = parse_good(changed(
        ".block load.0", ".block load.0 pes=0-3 ram_stride=1,-8,100 spm_delta=262143 trips=4,3,2 "
                         "iteration_stride=1,10 iterations=5,2 to=cal.0"));
    const struct bf_descriptor *d = &p->kernels[0].blocks[0].d;
    assert_int_equal(d->mem.ram_delta[0], 1);
    assert_int_equal(d->mem.ram_delta[1], -8 - 3);
    assert_int_equal(d->mem.ram_delta[2], 100 - 3 - 2 * -8);
    assert_int_equal(d->mem.spm_delta[0], -1);
    assert_int_equal(d->mem.iteration_delta[1], 10 - 4);
    assert_int_equal(d->mem.iteration_delta[2], 0);
    bf_program_free(p);
}

static void data_may_be_any_bytes(void **state) {
    (void)state;
    for (size_t size = 0; size < 200; size += 7) {
        struct bf_program *p = parse_good(changed("", ""));
        p->rodata = bf_resize(p->rodata, size + 1);
        p->rodata_size = size;
        for (size_t i = 0; i < size; i++)
            p->rodata[i] = i % 96 < 70 ? 0 : (uint8_t)(i * 37);
        p->net = bf_strdup(size & 1 ? "net \"x\\\"\n\x01\xff\n" : "");
        p->net_weights_size = size & 1 ? 200 - size : 0;
        p->net_weights = size % 3 ? bf_alloc(p->net_weights_size) : NULL;
        p->net_weights_size = p->net_weights ? p->net_weights_size : 0;
        for (size_t i = 0; i < p->net_weights_size; i += 50)
            p->net_weights[i] = (uint8_t)(i + 1);
        p->value_count = 1;
        free(p->values);
        p->values = bf_alloc(sizeof *p->values);
        *p->values = (struct bf_value_place){
            bf_strdup("v\"1"), 0, 1, (uint32_t)size + 1, 3, 32, 16, 1, (int8_t)(size - 100)};
        struct bf_text text = {0};
        bf_asm_print(p, &text);
        struct bf_program *q = parse_good(text.data);
        assert_int_equal(!q->net_weights, !p->net_weights);
        assert_int_equal(q->net_weights_size, p->net_weights_size);
        if (p->net_weights)
            assert_memory_equal(p->net_weights, q->net_weights, p->net_weights_size);
        assert_int_equal(q->value_count, 1);
        assert_string_equal(q->values[0].name, "v\"1");
        assert_memory_equal(&q->values[0].launch, &p->values[0].launch,
                            offsetof(struct bf_value_place, exponent) + 1 -
                                offsetof(struct bf_value_place, launch));
        assert_int_equal(q->rodata_size, size);
        assert_memory_equal(p->rodata, q->rodata, size);
        assert_string_equal(p->net, q->net);
        bf_program_free(p);
        bf_program_free(q);
    }
}

/* A map keeps everything but header and values. */
static void bodies_stand_alone(void **state) {
    (void)state;
    struct bf_program *p = parse_good(changed("", ""));
    free(p->rodata);
    p->rodata = NULL;
    struct bf_text text = {0}, again = {0};
    bf_asm_print_body(p, &text);
    struct bf_program *q = bf_program_create();
    struct bf_sources sources = {0};
    struct bf_diags diags = {.sources = &sources, .out = stderr};
    assert_true(bf_asm_parse_body(text.data, text.length, 0, 10, q, &diags));
    bf_asm_print_body(q, &again);
    assert_string_equal(text.data, again.data);
    assert_int_equal(q->rodata_size, 128);
    bf_text_free(&text);
    bf_text_free(&again);
    bf_program_free(p);
    bf_program_free(q);
}

/* The header is that of all levels. */
static void headers_are_common(void **state) {
    (void)state;
    struct bf_program *p = parse_good(changed("", ""));
    struct bf_text text = {0}, again = {0};
    for (int i = 0; i < 2; i++) {
        text.length = again.length = 0;
        p->weights_hash = i ? 0x0123456789abcdef : 0;
        p->resident = i;
        p->optimize = 2;
        if (i)
            memcpy(p->machine.name, "4x4", 4);
        bf_program_header(p, &text);
        assert_string_equal(bf_header_level(text.data, text.length), "asm");
        bf_text_add(&text, "more\n");
        struct bf_sources sources = {0};
        struct bf_diags diags = {.sources = &sources, .out = stderr};
        struct bf_arena arena = {0};
        struct bf_reader reader;
        struct bf_header header;
        bf_reader_init(&reader, text.data, text.length, 0, &diags, &arena);
        assert_true(bf_header_parse(&reader, "asm", &header));
        bf_header_print(&header, "asm", &again);
        bf_text_add(&again, "more\n");
        assert_string_equal(text.data, again.data);
        bf_arena_free(&arena);
        bf_sources_free(&sources);
    }
    bf_text_free(&text);
    bf_text_free(&again);
    bf_program_free(p);
}

/* ---- what is refused ---- */

struct refusal {
    const char *from, *to, *message;
};

static const struct refusal refusals[] = {
    /* text */
    {"bfcc", "bfcc net 1", "begins 'bfcc asm 1'"},
    {"bfcc", "bfcc asm 2", "reads version 1"},
    {"bfcc", "bfcc asm 1 arch=unheard-of", "there is no machine 'unheard-of'"},
    {"bfcc", "bfcc asm 1 arch=default:0123456789abcdef", "is another one"},
    {"file 0", "file 1 \"x\"", "expected file 0"},
    {".network", ".netwrok \"n\"", "t.bfs:3:1: error: unknown statement"},
    {".body two", ".body one", "there is a .body one already"},
    {"  fma r[1]", "  fma r[1] <- r[0] * l[1:16] + 0", "a lane must be in 0 .. 15"},
    {"  fma r[1]", "  fma r[1] <- r[0] * 3 + 0", "expected operand B"},
    {"  fma r[1]", "  fma r[1] <- r[0] * 2 + l+1", "needs a lane"},
    {"  fma r[1]", "  fma a8 <- r[0] * 2 + 0", "a8 does not exist"},
    {"  fma r[1]", "  exp2 r[1] <- r[0]", "t.bfs:11:3: error: exp2: the result can only go to an"},
    {"  fma r[1]", "  mul r[1] <- r[0]", "unknown operation 'mul'"},
    {"  fma r[1]", "  fma r[1024] <- r[0] * 2", "a RAM address must be in 0 .. 1023"},
    {".block load.0", ".block load.16", "must be in 0 .. 15"},
    {".block load.0", ".block load.0 rma=4", "did you mean 'ram'?"},
    {".block load.0", ".block load.0 trips=1025", "trips must be in 1 .. 1024"},
    {".block cal.0", ".block cal.0 need=1", "the block has no body"},
    {".block cal.0", ".block cal.0 body=three", "there is no .body three"},
    {"  launch", "  launch stop", "t.bfs:32:10: error: there is no launch 'stop'"},
    {".dma load", ".dma load dram=z", "there is no tensor or label 'z'"},
    {".half", ".half 1..2", "expected an fp16 number"},
    {".half", ".hex 0", "two hexadecimal digits"},
    {".half", ".net \"n\"\n.value v0 widht=16", "did you mean 'width'?"},
    {".half", ".net \"n\"\n.value v0 width=16 launch=9", "there is no launch 9"},
    {".half", ".value v0 width=16", "a network that is not embedded"},
    {".half", ".net \"n\"\n.weights\n.half 1", "unknown statement"},
    /* code and blocks */
    {".code pes=4", ".code pes=3 start=2", "PE 3 has two words"},
    {".block load.1", ".block load.0 pes=3", "PE 3 has two blocks of this id"},
    {".block load.0", ".block load.0 pes=0-3 to=cal.2", "block 2, which PE 0 does not have"},
    {".block load.0", ".block load.0 pes=0-3 to=load.1", "which needs none"},
    {".block load.0", ".block load.0 pes=0-3 to=cal.0 phases=0-1", "does not exist in all"},
    {".block load.1", ".block load.1 pes=0-3 weights=1 need=1", "a weight LOAD has no"},
    {".block load.1", ".block load.1 pes=0-3 weights=1 ram=128", "word 128 of a RAM of 128"},
    {".block cal.1", ".block cal.1 pes=0-4 body=two", "PE 4 does not have"},
    {".block cal.1", ".block cal.1 pes=0-2 body=two", "chains to block 1, which PE 3"},
    {".block cal.1", ".block cal.1 pes=0-3 body=two need=1", "which waits for tokens"},
    {".block cal.1", ".block cal.1 pes=0-3 body=two phases=0-1", "exists in other phases"},
    {".block cal.1", ".block cal.1 pes=0-3 start=3 length=1", "needs CAL word 3"},
    {".block cal.0", ".block cal.0 pes=0-3 need=1 body=one relative=3 chain=1",
     "class 3 is relative"},
    {".block cal.0", ".block cal.0 pes=0-3 need=1 body=one swap=11 chain=1", "swaps by bit 10"},
    {".block flow", ".block flow.0 pes=0-3 need=1 trips=1,8 shift=2 width=3",
     "would send to PE 16"},
    {".block flow", ".block flow.0 pes=0-3 need=1 trips=1,8 width=3 token=store.0",
     "block 56, which PE 4 does not have"},
    /* launches, DMA, tensors */
    {".launch", ".launch label=go kernel=k window=8 context=1000,4", "do not fit the data RAM"},
    {".launch", ".launch label=go kernel=k one_weight_set=1", "needs group_level 3"},
    {".launch", ".launch label=go kernel=k trips=1048576,1048576", "2^31"},
    {".launch", ".launch label=go kernel=1", "there is no kernel 1"},
    {".block store", ".block store.0 pes=0-3 need=4 phases=0-2", "phase 2 of a period of 1"},
    {".dma load", ".dma load label=in dram=x rows=8 cols=17 width=16", "do not fit a width"},
    {".dma load", ".dma load label=in dram=x rows=8 cols=16 width=20", "multiples of 16"},
    {".dma load", ".dma load label=in dram=x rows=8 cols=16 width=16 spm=131072", "does not fit"},
    {".dma load", ".dma load label=in dram=x rows=8 cols=16 width=16 pitch=1000", "of a DRAM of"},
    {".dma load", ".dma load label=in dram=x rows=8 cols=16 width=16 pitch=-1000", "of a DRAM of"},
    {".dma load", ".dma load label=in dram=1 rows=8 cols=16 width=16", "must be even"},
    {".dma load", ".dma load label=in dram=x rows=0 cols=16 width=16", "moves nothing"},
    {".dma load", ".dma load label=in dram=x rows=8 cols=16 width=16 limit=3", "must be 0"},
    {".dma gather", ".dma gather dram=w ids=ids rows=4 cols=1 limit=4000 width=16", "of a DRAM of"},
    {".dma gather", ".dma gather dram=w ids=ids+2 rows=4 cols=1 limit=4 width=16", "ids are not"},
    {".tensor output", ".tensor output y f16[8,16]\n.tensor output y f16[1]",
     "another one is called y"},
    {".tensor input ids", ".tensor input ids i32[4] size=8", "needs 32 bytes, not 8"},
    {".tensor input ids", ".tensor input ids i32[4] dram=1073741824", "at most 1 GiB"},
    /* the sequence */
    {"  code 0 k", "  code 1 k", "bank 0 does not hold kernel k"},
    {"  waitd all", "  waitd 0", "may not be loaded yet; waitd 1 is missing"},
    {"  waitd all", "  waitd 3", "when only 2 are queued"},
    {"  waitk", "  code 0 k", "while a kernel may run"},
    {"  waitk", "  mark 1", "once each"},
    {"  mark 1", "  waitk", "mark 1 is missing"},
    {"  end", "  waitk", "does not end with end"},
    {"  waitk", "", "a kernel may still run; waitk is missing"},
    {"  end", "  dma out\n  end", "DMA jobs may still run; waitd 4 is missing"},
    {"  dma out", "  end", "nothing may follow end"},
};

static void wrong_programs_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        char *messages;
        struct bf_program *p = parse(changed(refusals[i].from, refusals[i].to), &messages);
        if (p || !strstr(messages, refusals[i].message))
            fail_msg("'%s' for '%s' gives\n%s", refusals[i].to, refusals[i].message,
                     p ? "no error" : messages);
        free(messages);
    }
}

/* Cut anywhere, the text is refused or read, and never read behind its end. */
static void cut_texts_are_no_trouble(void **state) {
    (void)state;
    char *whole = changed("", "");
    size_t size = strlen(whole);
    struct bf_sources sources = {0};
    FILE *out = tmpfile();
    for (size_t cut = 0; cut < size; cut += 3) {
        char *part = malloc(cut + 1);
        memcpy(part, whole, cut);
        struct bf_diags diags = {.sources = &sources, .out = out, .error_limit = 20};
        char *exact = bf_resize(part, cut ? cut : 1);
        struct bf_program *p = bf_asm_parse(exact, cut, 0, &diags);
        assert_int_equal(p == NULL, diags.errors > 0);
        bf_program_free(p);
        free(exact);
    }
    fclose(out);
    free(whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_written),
        cmocka_unit_test(printing_and_reading_are_inverse),
        cmocka_unit_test(every_instruction_reads_back),
        cmocka_unit_test(strides_become_deltas),
        cmocka_unit_test(data_may_be_any_bytes),
        cmocka_unit_test(bodies_stand_alone),
        cmocka_unit_test(headers_are_common),
        cmocka_unit_test(wrong_programs_are_refused),
        cmocka_unit_test(cut_texts_are_no_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
