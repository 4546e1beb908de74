/* dump.c - texts between passes. See dump.h. */
#include "frontend/driver/dump.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "frontend/driver/options.h"

/* ---- what there is of a level ---- */

static void add(struct bf_counts *counts, const char *what, size_t number) {
    counts->data[counts->count].what = what;
    counts->data[counts->count++].number = number;
}

static void count_program(const struct bf_program *program, struct bf_counts *counts) {
    size_t words = 0, blocks = 0;
    for (size_t k = 0; k < program->kernel_count; k++) {
        blocks += program->kernels[k].block_count;
        for (size_t s = 0; s < program->kernels[k].segment_count; s++)
            words += program->kernels[k].segments[s].count;
    }
    add(counts, "codes", program->kernel_count);
    add(counts, "words", words);
    add(counts, "blocks", blocks);
    add(counts, "launches", program->launch_count);
    add(counts, "DMA records", program->dma_count);
    add(counts, "bytes of weights", program->rodata ? program->rodata_size : 0);
}

static void count_poly(const struct bf_poly *poly, struct bf_counts *counts) {
    size_t stmts = 0, deps = 0;
    for (size_t k = 0; k < poly->kernels.count; k++) {
        stmts += poly->kernels.data[k]->stmts.count;
        deps += poly->kernels.data[k]->deps.count;
    }
    add(counts, "kernels", poly->kernels.count);
    add(counts, "statements", stmts);
    add(counts, "dependences", deps);
    add(counts, "buffers", poly->buffers.count);
}

static void count_map(const struct bf_map *map, struct bf_counts *counts) {
    size_t layouts = 0, regions = 0;
    for (size_t p = 0; p < map->plans.count; p++) {
        layouts += map->plans.data[p]->layouts.count;
        regions += map->plans.data[p]->regions.count;
    }
    add(counts, "kernels", map->poly->kernels.count);
    add(counts, "plans", map->plans.count);
    add(counts, "buffers", map->poly->buffers.count);
    add(counts, "layouts", layouts);
    add(counts, "regions", regions);
    add(counts, "recipes", map->recipes.count);
    count_program(map->program, counts);
}

static const char *level_of(const struct bf_compilation *c) {
    return c->program ? "asm" : c->map ? "map" : c->poly ? "poly" : "net";
}

static const char *count_level(const struct bf_compilation *c, struct bf_counts *counts) {
    if (c->program) {
        count_program(c->program, counts);
    } else if (c->map) {
        count_map(c->map, counts);
    } else if (c->poly) {
        count_poly(c->poly, counts);
    } else {
        add(counts, "operators", c->net->ops.count);
        add(counts, "parameters", c->net->params.count);
    }
    return level_of(c);
}

/* ---- comments and files ---- */

/* "; operators 26 -> 24, parameters 16; 2 lines gone, 1 new"; `before` NULL: a level begins. */
static void describe(const struct bf_counts *before, const struct bf_counts *after,
                     struct bf_difference lines, struct bf_text *text) {
    const char *between = "; ";
    for (size_t i = 0; i < after->count; i++) {
        size_t now = after->data[i].number, then = before ? before->data[i].number : now;
        if (!then && !now)
            continue;
        bf_text_printf(text, "%s%s %zu", between, after->data[i].what, then);
        if (then != now)
            bf_text_printf(text, " -> %zu", now);
        between = ", ";
    }
    if (before && (lines.gone || lines.added))
        bf_text_printf(text, "; lines: %zu gone, %zu new", lines.gone, lines.added);
    else if (before)
        bf_text_add(text, "; nothing changed");
    bf_text_add(text, "\n");
}

static bool write_file(struct bf_compilation *c, int number, const char *name, const char *level,
                       const struct bf_text *comment, const struct bf_text *text) {
    const char *folder = c->options->dump_dir;
    struct bf_error error = {0};
    struct bf_text path = {0}, all = {0};
    if (mkdir(folder, 0777) && errno != EEXIST)
        return bf_diag_error(c->diags, (struct bf_loc){0}, "cannot make '%s': %s", folder,
                             strerror(errno));
    bf_text_printf(&path, "%s/%02d-%s.%s", folder, number, name,
                   strcmp(level, "asm") ? level : "bfs");
    bf_text_add_bytes(&all, comment->data, comment->length);
    bf_text_add_bytes(&all, text->data, text->length);
    bool ok = bf_write_file(path.data, all.data, all.length, &error) ||
              bf_diag_error(c->diags, (struct bf_loc){0}, "%s", error.text);
    bf_text_free(&path);
    bf_text_free(&all);
    return ok;
}

/* ---- printing ---- */

static bool listed(const struct bf_strings *names, const char *name) {
    for (size_t i = 0; i < names->count; i++)
        if (!strcmp(names->data[i], name) || !strcmp(names->data[i], "all"))
            return true;
    return false;
}

static void print(const struct bf_options *o, const char *comment, const char *text) {
    struct bf_text part = {0};
    if (o->filter_kernel)
        bf_filter_kernel(text, o->filter_kernel, &part);
    fprintf(stderr, "%s%s", comment, !o->filter_kernel ? text : part.data ? part.data : "");
    bf_text_free(&part);
}

/* What two texts of a level differ in, of a kernel only if one is asked for. */
static void print_change(const struct bf_options *o, const char *comment, const char *before,
                         const char *after) {
    struct bf_text a = {0}, b = {0}, out = {0};
    if (o->filter_kernel) {
        bf_filter_kernel(before, o->filter_kernel, &a);
        bf_filter_kernel(after, o->filter_kernel, &b);
        before = a.data ? a.data : "";
        after = b.data ? b.data : "";
    }
    bf_differ(before, after, &out);
    fprintf(stderr, "%s%s", comment, out.data ? out.data : "");
    bf_text_free(&a);
    bf_text_free(&b);
    bf_text_free(&out);
}

/* ---- around a pass ---- */

/* Whether texts of one pass are compared with those of the next. */
static bool compares(const struct bf_options *o) {
    return o->dump_dir || o->print_changed || o->print_after.count;
}

bool bf_dump_before(struct bf_compilation *c, struct bf_dumps *dumps,
                    const struct bf_pass_info *pass) {
    const struct bf_options *o = c->options;
    bool first = compares(o) && !dumps->level, ok = true;
    bool print_it = listed(&o->print_before, pass->name);
    if (!print_it && !first)
        return true;
    struct bf_text text = {0}, comment = {0};
    bf_print_level(c, &text);
    bf_text_printf(&comment, "; before %s\n", pass->name);
    if (print_it)
        print(o, comment.data, text.data);
    if (first && o->dump_dir)
        ok = write_file(c, 0, "input", level_of(c), &comment, &text);
    if (first) {
        dumps->level = count_level(c, &dumps->counts);
        dumps->before = text;
    } else {
        bf_text_free(&text);
    }
    bf_text_free(&comment);
    return ok;
}

bool bf_dump_after(struct bf_compilation *c, struct bf_dumps *dumps,
                   const struct bf_pass_info *pass, int number) {
    const struct bf_options *o = c->options;
    bool ok = true;
    if (!compares(o))
        return true;
    struct bf_text text = {0}, comment = {0};
    struct bf_counts counts = {0};
    bf_print_level(c, &text);
    const char *level = count_level(c, &counts);
    bool same_level = dumps->level && !strcmp(dumps->level, level);
    struct bf_difference lines = {0};
    if (same_level)
        lines = bf_differ(dumps->before.data, text.data, NULL);
    bf_text_printf(&comment, "; after %s: %s\n", pass->name, pass->sentence);
    describe(same_level ? &dumps->counts : NULL, &counts, lines, &comment);
    if (listed(&o->print_after, pass->name))
        print(o, comment.data, text.data);
    if (o->print_changed && same_level)
        print_change(o, comment.data, dumps->before.data, text.data);
    else if (o->print_changed)
        print(o, comment.data, text.data);
    if (o->dump_dir)
        ok = write_file(c, number, pass->name, level, &comment, &text);
    bf_text_free(&comment);
    bf_text_free(&dumps->before);
    *dumps = (struct bf_dumps){counts, text, level};
    return ok;
}

void bf_dumps_free(struct bf_dumps *dumps) {
    bf_text_free(&dumps->before);
}
