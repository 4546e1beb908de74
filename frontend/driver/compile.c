/* compile.c - what is compiled: reads the input, settles machine, options and
 * weights, and runs the pipeline on it. */
#include "frontend/driver/compile.h"

#include <stdlib.h>

#include "frontend/driver/crash.h"
#include "ir/arch.h"
#include "ir/asm.h"

static const struct bf_loc nowhere = {0};

/* ---- reading the input ---- */

static bool read_source(struct bf_compilation *c, const char *text, size_t size) {
    const struct bf_options *options = c->options;
    struct bf_frontend_options frontend = {
        .name = options->input,
        .text = text,
        .size = size,
        .include_dirs = options->include_dirs.data,
        .include_dir_count = options->include_dirs.count,
        .defines = options->defines.data,
        .define_count = options->defines.count,
        .network = options->network,
    };
    c->net = bf_frontend_compile(&frontend, c->diags->sources, c->diags, &c->files);
    return c->net != NULL;
}

static bool read_text(struct bf_compilation *c, const char *level, char *text, size_t size) {
    const char *name = strcmp(c->options->input, "-") ? c->options->input : "<stdin>";
    uint32_t file = bf_source_add(c->diags->sources, name, text, size);
    if (strcmp(c->options->input, "-"))
        *bf_push(&c->files.paths) = bf_strdup(c->options->input);
    if (!strcmp(level, "net")) {
        c->level = BF_LEVEL_NET;
        return (c->net = bf_net_parse(text, size, file, c->diags)) != NULL;
    }
    if (!strcmp(level, "poly")) {
        c->level = BF_LEVEL_POLY;
        return (c->poly = bf_poly_parse(text, size, file, c->diags)) != NULL;
    }
    if (!strcmp(level, "map")) {
        c->level = BF_LEVEL_MAP;
        return (c->map = bf_map_parse(text, size, file, c->diags)) != NULL;
    }
    c->level = BF_LEVEL_PROGRAM;
    return (c->program = bf_asm_parse(text, size, file, c->diags)) != NULL;
}

/* The level is the text's own first line; what has none is source. */
static bool read_input(struct bf_compilation *c) {
    struct bf_error error = {0};
    size_t size;
    char *text = bf_read_file(c->options->input, &size, &error);
    if (!text)
        return bf_diag_error(c->diags, nowhere, "%s", error.text);
    if (!strcmp(c->options->input, "-"))
        bf_crash_keep_input(text, size);
    const char *level = bf_header_level(text, size);
    if (level)
        return read_text(c, level, text, size); /* the sources own the text now */
    bool ok = false;
    if (size >= 4 && !memcmp(text, "\177ELF", 4))
        bf_diag_error(c->diags, nowhere,
                      "'%s' is compiled already; bfrun runs it, bfdis prints its text",
                      c->options->input);
    else
        ok = read_source(c, text, size);
    if (strcmp(c->options->input, "-"))
        free(text);
    else
        c->standard_input = text;
    return ok;
}

/* ---- what the options say and what the text says ---- */

static struct bf_header *header_of(struct bf_compilation *c) {
    if (c->net)
        return &c->net->header;
    if (c->poly)
        return &c->poly->header;
    return c->map ? &c->map->poly->header : NULL;
}

/* A map carries its machine; a net or poly text names it. */
static bool load_machine(struct bf_compilation *c) {
    struct bf_error error = {0};
    const struct bf_header *header = header_of(c);
    const char *option = c->options->arch;
    if (!option && !header)
        c->machine = c->program->machine;
    else if (!option && c->map)
        c->machine = c->map->machine;
    else if (c->options->machine)
        c->machine = *c->options->machine;
    else if (!bf_arch_load(option ? option : header->arch, &c->machine, &c->arch_path, &error)) {
        bf_diag_error(c->diags, nowhere, "%s", error.text);
        if (!option && c->level != BF_LEVEL_SOURCE)
            bf_diag_note(c->diags, nowhere,
                         "the text was compiled for it; -arch FILE gives its description");
        return false;
    }
    return true;
}

static bool contradicts(struct bf_compilation *c, const char *option, const char *says) {
    return bf_diag_error(c->diags, nowhere, "option '%s' contradicts the text, which says %s",
                         option, says);
}

/* What a text of a level, or a program, was compiled with. */
struct settings {
    const char *arch, *network;
    uint64_t arch_hash;
    int64_t batch;
    unsigned opt;
    bool resident;
};

static struct settings settings_of(struct bf_compilation *c) {
    const struct bf_header *h = header_of(c);
    if (!h) {
        const struct bf_program *p = c->program;
        return (struct settings){p->machine.name, p->network,  bf_machine_hash(&p->machine),
                                 p->batch,        p->optimize, p->resident};
    }
    const char *name = c->net ? c->net->name : c->poly ? c->poly->name : c->map->poly->name;
    return (struct settings){h->arch, name, h->arch_hash, h->batch, h->opt, h->resident};
}

/* Of a text, options may only repeat what it says. */
static bool agree(struct bf_compilation *c) {
    const struct bf_options *o = c->options;
    struct settings s = settings_of(c);
    struct bf_arena arena = {0};
    bool ok = true;
    if (s.arch_hash != bf_machine_hash(&c->machine))
        ok =
            contradicts(c, "-arch",
                        bf_arena_printf(&arena, "arch=%s:%016llx; the numbers of '%s' give %016llx",
                                        s.arch, (unsigned long long)s.arch_hash, c->machine.name,
                                        (unsigned long long)bf_machine_hash(&c->machine)));
    if (o->batch && o->batch != s.batch)
        ok = contradicts(c, "-batch", bf_arena_printf(&arena, "batch=%lld", (long long)s.batch));
    if (o->optimize >= 0 && (unsigned)o->optimize != s.opt)
        ok = contradicts(c, "-O", bf_arena_printf(&arena, "opt=%u", s.opt));
    if (o->resident > 0 && !s.resident)
        ok = contradicts(c, "-resident", "resident=0");
    if (o->network && strcmp(o->network, s.network))
        ok = contradicts(c, "-network", bf_arena_printf(&arena, "network %s", s.network));
    if (o->defines.count)
        ok = bf_diag_error(c->diags, nowhere,
                           "option '-D%s' comes too late: in a text of a level parameters of the "
                           "network have become numbers",
                           o->defines.data[0].name);
    bf_arena_free(&arena);
    return ok;
}

static bool settle_header(struct bf_compilation *c) {
    const struct bf_options *o = c->options;
    if (c->level != BF_LEVEL_SOURCE)
        return agree(c);
    struct bf_header *header = header_of(c);
    header->batch = o->batch ? o->batch : 1;
    header->opt = o->optimize < 0 ? 1 : (unsigned)o->optimize;
    header->resident = o->resident > 0;
    header->arch = bf_arena_strdup(&c->net->arena, c->machine.name);
    header->arch_hash = bf_machine_hash(&c->machine);
    return true;
}

/* The text must not be past what is asked of it. */
static bool can_become(struct bf_compilation *c) {
    static const char *const names[] = {"source", "net", "poly", "map", "asm"};
    static const char *const words[] = {"bfx",  "net", "poly",   "map",    "asm",
                                        "host", "obj", "header", "nothing"};
    static const enum bf_level of[] = {
        [BF_EMIT_BFX] = BF_LEVEL_PROGRAM, [BF_EMIT_NET] = BF_LEVEL_NET,
        [BF_EMIT_POLY] = BF_LEVEL_POLY,   [BF_EMIT_MAP] = BF_LEVEL_MAP,
        [BF_EMIT_ASM] = BF_LEVEL_PROGRAM, [BF_EMIT_NOTHING] = BF_LEVEL_PROGRAM,
        [BF_EMIT_HOST] = BF_LEVEL_NET,    [BF_EMIT_OBJ] = BF_LEVEL_NET,
        [BF_EMIT_HEADER] = BF_LEVEL_NET};
    enum bf_level target = of[c->options->emit];
    if (c->level > target)
        return bf_diag_error(c->diags, nowhere, "'%s' is a text of level %s: -emit %s is behind it",
                             c->options->input, names[c->level], words[c->options->emit]);
    if (c->options->calibrate.count && c->level > BF_LEVEL_NET)
        return bf_diag_error(c->diags, nowhere,
                             "-calibrate needs a network (.bfly or net), not a text of level %s",
                             names[c->level]);
    if (c->options->embed_net && c->level > BF_LEVEL_NET)
        return bf_diag_error(c->diags, nowhere,
                             "-embed-net needs a network (.bfly or net), not a text of level %s",
                             names[c->level]);
    return true;
}

/* ---- weights ---- */

/* Texts can do without values, a program can't. */
static bool can_do_without(struct bf_compilation *c, const struct bf_net *net) {
    enum bf_emit emit = c->options->emit;
    bool program = emit == BF_EMIT_BFX || emit == BF_EMIT_ASM || bf_emits_host(emit);
    if (!program || !net->params.count)
        return true;
    const struct bf_param *first = net->params.data[0];
    bf_diag_error(c->diags, nowhere,
                  "network '%s' has %zu parameters: give -weights FILE or -random-weights SEED",
                  net->name, net->params.count);
    bf_diag_note(c->diags, first->loc, "'%s' is the first, of this %s", first->name, first->owner);
    return false;
}

/* The parameters are the net's; a later text carries them and the hash of their
 * values. */
static bool bind_weights(struct bf_compilation *c) {
    struct bf_header *header = header_of(c);
    if (!header) {
        if (c->options->weights.count || c->options->random_weights)
            bf_diag(c->diags, BF_WARNING, nowhere, 0, 0,
                    "option '%s' is not used: an asm text carries its weights",
                    c->options->random_weights ? "-random-weights" : "-weights");
        return true;
    }
    if (!bf_load_weights(c))
        return false;
    struct bf_net params = {.name = settings_of(c).network};
    const struct bf_net *net = c->net;
    if (!net) {
        struct bf_poly *poly = c->poly ? c->poly : c->map->poly;
        params.params.data =
            bf_arena_alloc(&poly->arena, poly->params.count * sizeof *params.params.data);
        for (size_t i = 0; i < poly->params.count; i++)
            if (!poly->params.data[i]->rotary)
                params.params.data[params.params.count++] = poly->params.data[i];
        net = &params;
    }
    if (!c->weights)
        return can_do_without(c, net);
    if (!bf_weights_bind(net, c->weights, c->options->allow_unused, c->diags))
        return false;
    uint64_t hash = bf_weights_hash(net, c->weights);
    if (header->bound && hash != header->weights_hash)
        return bf_diag_error(c->diags, nowhere,
                             "the weights in %s are not those of the text: their hash is %016llx, "
                             "the text says weights=%016llx",
                             c->weights->source, (unsigned long long)hash,
                             (unsigned long long)header->weights_hash);
    header->bound = true;
    header->weights_hash = hash;
    return true;
}

/* ---- all of it ---- */

bool bf_compile(struct bf_compilation *c, const struct bf_options *options,
                struct bf_diags *diags) {
    memset(c, 0, sizeof *c);
    c->options = options;
    c->diags = diags;
    bool ok = bf_pass_names_check(options, diags) && read_input(c) && can_become(c) &&
              load_machine(c) && settle_header(c);
    bf_times_add(&c->times, "read");
    ok = ok && bind_weights(c);
    bf_times_add(&c->times, "weights");
    return ok && bf_run_passes(c) && diags->errors == 0;
}

void bf_compilation_free(struct bf_compilation *c) {
    if (!c->map || c->program != c->map->program)
        bf_program_free(c->program);
    bf_map_free(c->map);
    bf_poly_free(c->poly);
    bf_net_free(c->net);
    bf_weights_free(c->weights);
    bf_checkpoint_free(&c->checkpoint);
    free(c->net_text);
    free(c->standard_input);
    bf_text_free(&c->arch_path);
    free(c->net_weights);
    bf_frontend_files_free(&c->files);
}
