/* texts.c - mutated poly and map texts: `texts [COUNT [SEED]]`. Each is refused with a message, or
 * is a program that prints and reads back; a map then goes through the checks and is encoded, as
 * bfcc does it. Build it with the sanitizers. isl is slow: a text in 20 of COUNT. */
#include <stdlib.h>

#include "backend/encode.h"
#include "ir/map.h"
#include "passes/passes.h"
#include "runtime/check.h"

/* isl loses a little memory of its own when a relation is no relation; other tests watch ours. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libisl\n";
}

static FILE *nowhere;

static struct bf_diags silent(struct bf_sources *sources) {
    return (struct bf_diags){.sources = sources, .out = nowhere, .error_limit = 20};
}

/* ---- texts to start from: a butterfly and a transform of 4, a product ---- */

static struct bf_value *operate(struct bf_net *net, enum bf_op_kind kind, struct bf_value *x,
                                const char *path, struct bf_diags *diags) {
    struct bf_attrs attrs = {0};
    if (kind != BF_OP_FOURIER)
        bf_attrs_set_int(&attrs, kind, "out", 4);
    return bf_net_add_op(net, kind, &x, 1, &attrs, path, (struct bf_loc){0}, diags);
}

static struct bf_map *compile(struct bf_diags *diags) {
    struct bf_machine machine = bf_machine_default();
    struct bf_net *net = bf_net_create("n");
    net->header.arch_hash = bf_machine_hash(&machine);
    struct bf_value *x = bf_net_add_input(net, "x", bf_type_make(BF_F16, 2, (int64_t[]){4, 4}),
                                          (struct bf_loc){0}, diags);
    x = operate(net, BF_OP_BUTTERFLY, x, "b", diags);
    x = operate(net, BF_OP_FOURIER, x, "", diags);
    x = operate(net, BF_OP_LINEAR, x, "l", diags);
    bf_net_add_output(net, "y", x, (struct bf_loc){0}, diags);
    struct bf_poly *poly = bf_pass_select(net, diags);
    struct bf_map *map = bf_map_create(poly, &machine);
    bool ok = bf_pass_divide(map, diags) && bf_pass_tile(map, diags) &&
              bf_pass_partition(map, diags) && bf_pass_stream(map, diags) &&
              bf_pass_place(map, diags) && bf_pass_schedule(map, diags) &&
              bf_pass_verify(map, diags);
    map->after = "verify";
    bf_net_free(net);
    if (!ok) {
        fprintf(stderr, "texts: the network to start from does not compile\n");
        exit(1);
    }
    return map;
}

/* ---- mutations ---- */

static const char *const pieces[] = {
    " ",          "\n",
    "\"",         "=",
    ",",          "-",
    "0",          "1",
    "-1",         "[",
    "]",          "{ }",
    "->",         "48",
    "65536",      "2",
    "2147483647", "-9223372036854775807",
    "d0",         "x0",
    "pe 0",       "local 1",
    "tile 0",     "after place",
    "plan k0",    "does block=0",
    "stmt=0",     "layout=9",
    "words=0",    "unroll=0",
    "pe_bits=9",  "recipe=-1",
    "code=7",     "launch=-1",
};
enum { PIECES = sizeof pieces / sizeof *pieces };

static size_t below(uint64_t *state, size_t limit) {
    return limit ? (size_t)(bf_random(state) % limit) : 0;
}

/* Another number in the place of one: most hostile texts are right but for that. */
static void change_number(struct bf_text *text, uint64_t *state) {
    static const char *const numbers[] = {"0", "1",  "-1",      "2",         "3",
                                          "7", "63", "1000000", "4294967296"};
    size_t at = below(state, text->length);
    while (at < text->length && (text->data[at] < '0' || text->data[at] > '9'))
        at++;
    size_t end = at;
    while (end < text->length && text->data[end] >= '0' && text->data[end] <= '9')
        end++;
    const char *number = numbers[below(state, sizeof numbers / sizeof *numbers)];
    struct bf_text changed = {0};
    bf_text_add_bytes(&changed, text->data, at);
    bf_text_add(&changed, number);
    bf_text_add_bytes(&changed, text->data + end, text->length - end);
    bf_text_free(text);
    *text = changed;
}

static void splice(struct bf_text *text, uint64_t *state) {
    size_t at = below(state, text->length), skip = below(state, 40), left = text->length - at;
    struct bf_text changed = {0};
    bf_text_add_bytes(&changed, text->data, at);
    if (bf_random(state) % 2)
        bf_text_add(&changed, pieces[below(state, PIECES)]);
    skip = skip < left ? skip : left;
    bf_text_add_bytes(&changed, text->data + at + skip, left - skip);
    bf_text_free(text);
    *text = changed;
}

/* A line is left out, or moved to another place. */
static void move_line(struct bf_text *text, uint64_t *state) {
    size_t at = below(state, text->length);
    while (at > 0 && text->data[at - 1] != '\n')
        at--;
    size_t end = at;
    while (end < text->length && text->data[end++] != '\n') {
    }
    struct bf_text line = {0}, changed = {0};
    bf_text_add_bytes(&line, text->data + at, end - at);
    bf_text_add_bytes(&changed, text->data, at);
    bf_text_add_bytes(&changed, text->data + end, text->length - end);
    if (bf_random(state) % 2) {
        size_t to = below(state, changed.length);
        while (to > 0 && changed.data[to - 1] != '\n')
            to--;
        struct bf_text both = {0};
        bf_text_add_bytes(&both, changed.data, to);
        bf_text_add_bytes(&both, line.data, line.length);
        bf_text_add_bytes(&both, changed.data + to, changed.length - to);
        bf_text_free(&changed);
        changed = both;
    }
    bf_text_free(&line);
    bf_text_free(text);
    *text = changed;
}

static void mutate(struct bf_text *text, uint64_t *state) {
    for (size_t n = 1 + below(state, 3); n > 0 && text->length > 200; n--) {
        size_t kind = below(state, 8);
        if (kind < 5)
            change_number(text, state);
        else if (kind < 7)
            move_line(text, state);
        else
            splice(text, state);
    }
}

/* ---- what bfcc does with a text ---- */

/* With nothing behind it, so that reading on is seen. */
static char *exact_copy(const struct bf_text *text) {
    char *copy = bf_alloc(text->length);
    memcpy(copy, text->data, text->length);
    return copy;
}

static void try_poly(const struct bf_text *text) {
    struct bf_sources sources = {0};
    struct bf_diags diags = silent(&sources);
    char *exact = exact_copy(text);
    uint32_t file = bf_source_add(&sources, "t", exact, text->length);
    struct bf_poly *poly = bf_poly_parse(exact, text->length, file, &diags);
    if (poly) {
        struct bf_text again = {0};
        bf_poly_print(poly, &again);
        bf_text_free(&again);
    } else if (!diags.errors) {
        abort();
    }
    bf_poly_free(poly);
    bf_sources_free(&sources);
}

static void check_map(struct bf_map *map, struct bf_diags *diags) {
    struct bf_error error = {0};
    struct bf_program *program = map->program;
    program->rodata = bf_alloc(program->rodata_size);
    bool ok = bf_program_check(program, &error) && bf_pass_verify(map, diags) &&
              bf_check_program(program, &error);
    free(program->rodata);
    program->rodata = NULL;
    struct bf_net params = {.params = {map->poly->params.data, map->poly->params.count, 0}};
    struct bf_weights *weights = ok ? bf_weights_random(&params, 1) : NULL;
    if (ok)
        bf_encode(map, weights, diags);
    bf_weights_free(weights);
}

static void try_map(const struct bf_text *text) {
    struct bf_sources sources = {0};
    struct bf_diags diags = silent(&sources);
    char *exact = exact_copy(text);
    uint32_t file = bf_source_add(&sources, "t", exact, text->length);
    struct bf_map *map = bf_map_parse(exact, text->length, file, &diags);
    if (!map && !diags.errors)
        abort();
    struct bf_ints_guard guard;
    bf_ints_set_guard(&guard);
    if (map && setjmp(guard.target) == 0)
        check_map(map, &diags);
    bf_ints_set_guard(NULL);
    bf_map_free(map);
    bf_sources_free(&sources);
}

int main(int argc, char **argv) {
    long count = argc > 1 ? atol(argv[1]) / 20 : 100;
    uint64_t state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    nowhere = fopen("/dev/null", "w");
    struct bf_diags diags = {.out = stderr};
    struct bf_map *map = compile(&diags);
    struct bf_text poly_text = {0}, map_text = {0};
    bf_poly_print(map->poly, &poly_text);
    bf_map_print(map, &map_text);
    for (long i = 0; i < count; i++) {
        bool is_map = i % 3 != 0;
        const struct bf_text *from = is_map ? &map_text : &poly_text;
        struct bf_text text = {0};
        bf_text_add_bytes(&text, from->data, from->length);
        mutate(&text, &state);
        if (getenv("BF_FUZZ_KEEP")) {
            struct bf_error error = {0};
            bf_write_file(getenv("BF_FUZZ_KEEP"), text.data, text.length, &error);
        }
        if (is_map)
            try_map(&text);
        else
            try_poly(&text);
        bf_text_free(&text);
    }
    bf_text_free(&poly_text);
    bf_text_free(&map_text);
    bf_map_free(map);
    fclose(nowhere);
    return 0;
}
