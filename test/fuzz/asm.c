/* asm.c - mutated assembly texts: `asm [COUNT [SEED]]`. Each is either refused with a message, or
 * gives a program that the loader takes and that prints and reads back unchanged; build it with the
 * sanitizers. */
#include "ir/asm.h"
#include "runtime/image.h"

#include <stdlib.h>

static const char text[] =
    "bfcc asm 1 arch=default batch=2 opt=1 resident=0 weights=0123456789abcdef\n"
    "file 0 \"a.bfly\"\n"
    ".network \"n \\x41\"\n"
    ".machine array rows=2 cols=2 lanes=4\n"
    ".machine pe weight_half=8 accumulators=3\n"
    ".dram 4096\n"
    ".tensor input x f16[8,16] dram=1024 size=512\n"
    ".tensor input ids i32[4]\n"
    ".tensor output \"y z\" f32[]\n"
    ".kernel k \"what\" loc(0,1,1)\n"
    ".code pes=0-1,3 start=4\n"
    ".body one\n"
    "  fma a2, r[1].2 <- -r[0].1 * l[1:2].3 - l+1 ; comment\n"
    "  sel a1 <- r[1], 0.5, -a0\n"
    ".body two\n"
    "  exp2 a0 <- -a1\n"
    "  ldlo a1 <- r[63].2\n"
    ".block load.0 pes=0-1 trips=4,2 ram_stride=1,8 iteration_stride=1,2 iterations=3,2 to=cal.0\n"
    ".block load.1 weights=1 row=1 base=3 spm=5 spm_delta=-1,0,2\n"
    ".block cal.0 pes=0-1 need=1 body=one weights=1 chain=1 relative=0,1 delta0=1,-3 phases=0-2\n"
    ".block cal.1 pes=0,1 start=6 length=2 to=-,flow.0 swap=1 exponent=-16 phases=0-2\n"
    ".block flow.0 pes=0-1 need=1 trips=1,2 width=1 mode=abs self_shift=2 source_relative=1 "
    "phases=0-2\n"
    ".block store.0 ram=9 ram_delta=1023 lanes=rest name=\"last \\\"one\\\"\" loc(0,3,4)\n"
    ".launch label=go kernel=k window=2 context=4,8 period=3 trips=6 base=0,1,2 group_level=2\n"
    ".dma load label=in dram=x rows=8 cols=16 width=16 pad=1\n"
    ".dma gather dram=w+8 ids=ids rows=4 cols=1 limit=3 width=4 row=2\n"
    ".dma fill width=4 value=-0.25\n"
    ".dma store dram=\"y z\" width=4\n"
    ".seq\n code 1 k\n dma in\n dma 1\n waitd all\n waitk\n mark 0\n mark 1\n end\n"
    ".rodata\n.label w\n.half 1 -2 0x3c01 6e-8\n.zero 100\n.word -1 7\n.align 64\n.hex 00ff\n"
    ".net \"line\\x0a\"\n.value v0 width=16 exponent=-1\n.weights\n.hex 00\n.zero 40\n";
static const char *const pieces[] = {" ",
                                     "\n",
                                     "\"",
                                     "\\",
                                     "=",
                                     ",",
                                     "-",
                                     "0",
                                     "1",
                                     "65536",
                                     "-1",
                                     "0x",
                                     ".",
                                     ";",
                                     "loc(",
                                     "r[",
                                     "a15",
                                     "l[",
                                     "w[",
                                     ".3",
                                     "<-",
                                     "*",
                                     "all",
                                     "@",
                                     "\xc3",
                                     ".code ",
                                     ".body ",
                                     ".block ",
                                     ".kernel k",
                                     ".seq",
                                     "cal.",
                                     "\\x0",
                                     "\t",
                                     "\r",
                                     ".rodata",
                                     ".end",
                                     "body=",
                                     "trips=",
                                     "pes=",
                                     "to=",
                                     "[",
                                     "]",
                                     "f16",
                                     "+",
                                     "00000000",
                                     "4294967296",
                                     "9999999999999999999",
                                     ".zero 9999"};
enum { PIECES = sizeof pieces / sizeof *pieces };

static void mutate(struct bf_text *copy, uint64_t *seed) {
    size_t at = (size_t)(bf_random(seed) % copy->length), removed = (size_t)(bf_random(seed) % 8);
    if (bf_random(seed) % 4 == 0) { /* a whole line */
        while (at && copy->data[at - 1] != '\n')
            at--;
        removed = strcspn(copy->data + at, "\n") + 1;
    }
    removed = removed < copy->length - at ? removed : copy->length - at;
    struct bf_text result = {0};
    bf_text_add_bytes(&result, copy->data, at);
    uint64_t choice = bf_random(seed) % 4;
    if (choice < 2) {
        bf_text_add(&result, pieces[bf_random(seed) % PIECES]);
    } else if (choice == 2) {
        size_t from = (size_t)(bf_random(seed) % copy->length), left = copy->length - from;
        size_t count = (size_t)(bf_random(seed) % 40);
        bf_text_add_bytes(&result, copy->data + from, count < left ? count : left);
    }
    bf_text_add_bytes(&result, copy->data + at + removed, copy->length - at - removed);
    bf_text_free(copy);
    *copy = result;
}

static struct bf_program *parse(const struct bf_text *input, FILE *out) {
    struct bf_sources sources = {0};
    struct bf_diags diags = {.sources = &sources, .out = out, .error_limit = 20};
    char *exact = bf_alloc(input->length ? input->length : 1); /* no 0 behind it */
    if (input->length)
        memcpy(exact, input->data, input->length);
    uint32_t file = bf_source_add(&sources, "text", exact, input->length);
    struct bf_program *program = bf_asm_parse(exact, input->length, file, &diags);
    if (!program && !diags.errors)
        abort();
    bf_sources_free(&sources);
    return program;
}

/* text -> program -> bytes -> program -> text -> program: all the same. */
static void use(const struct bf_program *program) {
    size_t size, again_size;
    uint8_t *bytes = bf_program_write(program, &size);
    struct bf_program *loaded = bf_image_load(bytes, size, NULL);
    struct bf_text printed = {0};
    if (!loaded && program->net_weights) { /* checked by the loader alone */
        free(bytes);
        return;
    }
    if (!loaded)
        abort();
    bf_asm_print(loaded, &printed);
    struct bf_program *read = parse(&printed, stderr);
    if (!read)
        abort();
    uint8_t *again = bf_program_write(read, &again_size);
    if (size != again_size || memcmp(bytes, again, size))
        abort();
    free(bytes);
    free(again);
    bf_text_free(&printed);
    bf_program_free(loaded);
    bf_program_free(read);
}

int main(int argc, char **argv) {
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, accepted = 0;
    FILE *nowhere = fopen("/dev/null", "w");
    if (!nowhere)
        return 1;
    for (uint64_t i = 0; i < count; i++) {
        struct bf_text copy = {0};
        bf_text_add(&copy, text);
        for (uint64_t n = i ? bf_random(&seed) % 4 : 0; n && copy.length; n--)
            mutate(&copy, &seed);
        struct bf_program *program = parse(&copy, i ? nowhere : stderr);
        if (program) {
            accepted++;
            use(program);
            bf_program_free(program);
        }
        bf_text_free(&copy);
    }
    fclose(nowhere);
    printf("%llu texts, %llu accepted\n", (unsigned long long)count, (unsigned long long)accepted);
    return accepted ? 0 : 1;
}
