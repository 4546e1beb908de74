/* slice.c - networks whose activations do not fit the scratchpad.
 *
 * Requires a verified poly. Where the buffers alive at some kernel need more than the share of the
 * scratchpad that is theirs, kernels are grouped by the axis along which they can be cut, and each
 * group runs a slice at a time:
 *
 *     k1 k2 k3 along rows, x and y in DRAM          k1(x) -> a, k2(a) -> b, k3(b, x) -> y
 *       for each slice i:  x.i <- x[rows of i]      copy
 *                          a.i, b.i, y.i            the kernels, on buffers of a slice's size
 *                          y[rows of i] <- y.i      copy
 *
 * Only what is read outside its group is ever whole, and then in DRAM (buffer->in_dram). Networks
 * that fit are left alone. Keeps the meaning of every output; kernels are numbered anew.
 */
#include <stdlib.h>

#include "passes/build.h"
#include "passes/passes.h"

/* Along what a kernel can be cut into independent parts. */
enum axis { AXIS_NONE, AXIS_ROWS, AXIS_COLS, AXIS_HEADS };

/* Part of every operand that runs along the group's axis. */
struct slice {
    int64_t sample, samples; /* of a batch; samples 0: all */
    int64_t first, count;    /* rows, columns, or heads; count 0: all */
};

/* What a buffer of the original poly is to the group being rewritten. */
struct use {
    int first, last; /* kernels that touch it, over the whole poly; -1: none */
    int writer;
};

struct slicer {
    struct bf_poly *poly;
    const struct bf_machine *machine;
    struct bf_diags *diags;
    struct bf_poly_kernel **kernels; /* the original ones */
    int count;
    struct use *uses; /* by buffer index */
    int64_t capacity; /* scratchpad words that buffers may take */
    /* In a slice: the buffer that stands for an operand's rectangle. */
    struct {
        struct stand_in {
            struct bf_operand of;
            struct bf_buffer *is;
        } *data;
        size_t count, capacity;
    } stand_ins;
};

struct group {
    int first, last; /* kernels */
    enum axis axis;
    int64_t samples, extent; /* of the axis */
    int64_t unit;            /* slices are multiples of it: V rows or columns, one head or sample */
    bool by_sample;
    int64_t parts;
};

static int64_t words_of(const struct slicer *s, int64_t samples, int64_t rows, int64_t cols) {
    uint64_t v = s->machine->lanes;
    int64_t pitch = rows == 1 ? 1 : (int64_t)bf_round_up((uint64_t)rows, v);
    return (int64_t)(bf_round_up((uint64_t)(samples * pitch), v) * bf_round_up((uint64_t)cols, v) /
                     v);
}

static int64_t buffer_words(const struct slicer *s, const struct bf_buffer *b) {
    return b->dtype == BF_I32 || b->in_dram ? 0 : words_of(s, b->samples, b->rows, b->cols);
}

/* ---- lifetimes ---- */

static void touch(struct slicer *s, const struct bf_operand *operand, int kernel, bool write) {
    struct use *use = &s->uses[operand->buffer->index];
    if (use->first < 0)
        use->first = kernel;
    use->last = kernel;
    if (write && use->writer < 0)
        use->writer = kernel;
}

static void find_uses(struct slicer *s) {
    s->uses = bf_alloc(s->poly->buffers.count * sizeof *s->uses);
    for (size_t b = 0; b < s->poly->buffers.count; b++)
        s->uses[b] = (struct use){-1, -1, -1};
    for (int k = 0; k < s->count; k++) {
        for (size_t i = 0; i < s->kernels[k]->inputs.count; i++)
            touch(s, &s->kernels[k]->inputs.data[i], k, false);
        for (size_t i = 0; i < s->kernels[k]->outputs.count; i++)
            touch(s, &s->kernels[k]->outputs.data[i], k, true);
    }
    for (size_t b = 0; b < s->poly->buffers.count; b++) {
        if (s->poly->buffers.data[b]->kind == BF_BUFFER_INPUT && s->uses[b].first >= 0)
            s->uses[b].first = 0;
        if (s->poly->buffers.data[b]->kind == BF_BUFFER_OUTPUT && s->uses[b].first >= 0)
            s->uses[b].last = s->count;
    }
}

static bool fits(const struct slicer *s) {
    for (int k = 0; k < s->count; k++) {
        int64_t alive = 0;
        for (size_t b = 0; b < s->poly->buffers.count; b++)
            if (s->uses[b].first >= 0 && s->uses[b].first <= k && k <= s->uses[b].last)
                alive += buffer_words(s, s->poly->buffers.data[b]);
        if (alive > s->capacity)
            return false;
    }
    return true;
}

/* ---- groups ---- */

/* A copy of whole rows to as many rows: columns stay where they are. */
static bool copies_rows(const struct bf_poly_kernel *kernel) {
    const struct bf_operand *in = &kernel->inputs.data[0], *out = &kernel->outputs.data[0];
    return !kernel->attrs.count && !kernel->params.count && in->rows == out->rows &&
           in->cols == out->cols && in->buffer->samples == out->buffer->samples &&
           in->cols == in->buffer->cols && out->cols == out->buffer->cols;
}

static enum axis axis_of(const struct bf_poly_kernel *kernel) {
    switch (kernel->kind) {
    case BF_KERNEL_BUTTERFLY:
    case BF_KERNEL_DENSE:
    case BF_KERNEL_BLOCK_DENSE:
    case BF_KERNEL_BLOCK_BUTTERFLY:
        return AXIS_ROWS;
    case BF_KERNEL_FFT:
    case BF_KERNEL_ROWS:
        return kernel->lanes == BF_LANES_ROWS ? AXIS_ROWS : AXIS_COLS;
    case BF_KERNEL_ATTENTION:
        return AXIS_HEADS;
    case BF_KERNEL_COPY:
        return copies_rows(kernel) ? AXIS_COLS : AXIS_NONE;
    default:
        return AXIS_NONE;
    }
}

static int64_t extent_of(const struct bf_poly_kernel *kernel, enum axis axis) {
    const struct bf_operand *y = &kernel->outputs.data[0];
    switch (axis) {
    case AXIS_ROWS:
        return y->rows;
    case AXIS_COLS:
        return y->cols;
    case AXIS_HEADS:
        return bf_ints_get(&kernel->attrs, "kv_heads");
    case AXIS_NONE:
        break;
    }
    return 1;
}

/* The group that begins at kernel `first`: as many as are cut alike. */
static struct group group_at(const struct slicer *s, int first) {
    const struct bf_poly_kernel *kernel = s->kernels[first];
    struct group g = {.first = first, .last = first, .axis = axis_of(kernel), .parts = 1};
    g.samples = kernel->outputs.data[0].buffer->samples;
    g.extent = extent_of(kernel, g.axis);
    g.by_sample = g.samples > 1 && g.axis != AXIS_NONE;
    g.unit = g.axis == AXIS_HEADS || g.by_sample ? 1 : s->machine->lanes;
    while (g.axis != AXIS_HEADS && g.axis != AXIS_NONE && g.last + 1 < s->count) {
        const struct bf_poly_kernel *next = s->kernels[g.last + 1];
        if (axis_of(next) != g.axis || extent_of(next, g.axis) != g.extent ||
            next->outputs.data[0].buffer->samples != g.samples)
            break;
        g.last++;
    }
    return g;
}

/* The part of an operand that a slice needs; what does not run along the axis is needed whole. */
static struct bf_operand cut(const struct group *g, const struct bf_poly_kernel *kernel,
                             const struct bf_operand *operand, const struct slice *slice) {
    struct bf_operand part = *operand;
    if (!slice->count)
        return part;
    if (g->axis == AXIS_ROWS && operand->rows == g->extent) {
        part.row += slice->first;
        part.rows = slice->count;
    } else if (g->axis == AXIS_COLS && operand->cols == g->extent) {
        part.col += slice->first;
        part.cols = slice->count;
    } else if (g->axis == AXIS_HEADS && operand->buffer->dtype != BF_U8) {
        int64_t head = operand->cols / bf_ints_get(&kernel->attrs, "kv_heads");
        part.col += slice->first * head;
        part.cols = slice->count * head;
    }
    return part;
}

static int64_t cut_words(const struct slicer *s, const struct group *g,
                         const struct bf_poly_kernel *kernel, const struct bf_operand *operand,
                         const struct slice *slice) {
    struct bf_operand part = cut(g, kernel, operand, slice);
    int64_t samples = operand->buffer->samples;
    if (slice->samples && samples > 1)
        samples = slice->samples;
    return operand->buffer->dtype == BF_I32 ? 0 : words_of(s, samples, part.rows, part.cols);
}

/* Room for what a long transform keeps between its passes through the scratchpad: one buffer of all
 * its points (two planes of a complex one), once more while a pass reads one and writes another. */
static int64_t pass_words(const struct slicer *s, const struct group *g,
                          const struct bf_poly_kernel *kernel, const struct slice *slice) {
    enum { ONE_PASS = 1024 };
    int64_t n = bf_ints_find(&kernel->attrs, "n", 0);
    if (n <= ONE_PASS)
        return 0;
    struct bf_operand part = cut(g, kernel, &kernel->outputs.data[0], slice);
    int64_t samples = slice->samples ? slice->samples : part.buffer->samples;
    bool fft = kernel->kind == BF_KERNEL_FFT, rows = kernel->lanes == BF_LANES_ROWS;
    int64_t words = words_of(s, samples, rows ? part.rows : n, rows ? n : part.cols);
    return fft ? 4 * words : words;
}

/* Words alive in a group's slice when kernel `at` runs; buffers are counted by their largest view.
 */
static int64_t slice_words(const struct slicer *s, const struct group *g, const struct slice *slice,
                           int at) {
    int64_t total = pass_words(s, g, s->kernels[at], slice);
    for (size_t b = 0; b < s->poly->buffers.count; b++) {
        int first = -1, last = -1;
        int64_t most = 0;
        for (int k = g->first; k <= g->last; k++) {
            const struct bf_poly_kernel *kernel = s->kernels[k];
            for (size_t i = 0; i < kernel->inputs.count + kernel->outputs.count; i++) {
                const struct bf_operand *o = i < kernel->inputs.count
                                                 ? &kernel->inputs.data[i]
                                                 : &kernel->outputs.data[i - kernel->inputs.count];
                if (o->buffer->index != b)
                    continue;
                int64_t words = cut_words(s, g, kernel, o, slice);
                most = words > most ? words : most;
                first = first < 0 ? k : first;
                last = k;
            }
        }
        bool outside = s->uses[b].last > g->last;
        if (first >= 0 && (s->uses[b].writer >= g->first ? first <= at : true) &&
            (at <= last || outside))
            total += most;
    }
    return total;
}

static struct slice slice_number(const struct group *g, int64_t parts, int64_t number) {
    int64_t units = g->by_sample ? g->samples : (g->extent + g->unit - 1) / g->unit;
    int64_t from = units * number / parts, to = units * (number + 1) / parts;
    struct slice slice = {0};
    if (parts == 1)
        return slice;
    if (g->by_sample) {
        slice.sample = from;
        slice.samples = to - from;
        return slice;
    }
    slice.first = from * g->unit;
    slice.count = (to * g->unit < g->extent ? to * g->unit : g->extent) - slice.first;
    return slice;
}

/* Fewest parts that fit; a unit each if none do, as place may still find room. */
static void choose_parts(const struct slicer *s, struct group *g, int64_t capacity) {
    int64_t units = g->by_sample ? g->samples : (g->extent + g->unit - 1) / g->unit;
    if (g->axis == AXIS_NONE)
        units = 1;
    for (g->parts = 1; g->parts <= units; g->parts++) {
        struct slice largest = slice_number(g, g->parts, g->parts - 1);
        int64_t most = 0;
        for (int k = g->first; k <= g->last; k++) {
            int64_t words = slice_words(s, g, &largest, k);
            most = words > most ? words : most;
        }
        if (most <= capacity)
            return;
    }
    g->parts = units;
}

/* ---- rewriting ---- */

static bool crosses(const struct slicer *s, const struct group *g, const struct bf_buffer *b) {
    const struct use *use = &s->uses[b->index];
    return b->kind != BF_BUFFER_TEMP || use->first < g->first || use->last > g->last;
}

static void mark(const struct slicer *s, const struct group *g, struct bf_operand *operands,
                 size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct bf_buffer *b = operands[i].buffer;
        if (b->kind != BF_BUFFER_PARAM && b->dtype != BF_I32 && crosses(s, g, b))
            b->in_dram = true;
    }
}

/* A rectangle in DRAM to or from a buffer of its size; `sample`: the first one there. */
static void add_copy(struct slicer *s, const struct bf_poly_kernel *for_kernel,
                     struct bf_operand from, struct bf_operand to, int64_t sample) {
    struct bf_poly_kernel *copy = bf_poly_add_kernel(s->poly, BF_KERNEL_COPY);
    copy->what = bf_arena_printf(&s->poly->arena, "%s", for_kernel->what);
    copy->loc = for_kernel->loc;
    bf_ints_set(&copy->attrs, &s->poly->arena, "sample", sample);
    *bf_push(&copy->inputs) = from;
    *bf_push(&copy->outputs) = to;
}

static struct stand_in *find_stand_in(struct slicer *s, const struct bf_operand *of) {
    for (size_t i = 0; i < s->stand_ins.count; i++) {
        struct stand_in *stand_in = &s->stand_ins.data[i];
        if (stand_in->of.buffer == of->buffer && stand_in->of.row == of->row &&
            stand_in->of.rows == of->rows && stand_in->of.col == of->col &&
            stand_in->of.cols == of->cols)
            return stand_in;
    }
    return NULL;
}

static struct bf_buffer *slice_buffer(struct slicer *s, const struct bf_buffer *of,
                                      const struct bf_operand *part, int64_t samples) {
    bool param = of->kind == BF_BUFFER_PARAM;
    struct bf_buffer *b = bf_poly_add_buffer(
        s->poly, bf_arena_printf(&s->poly->arena, "%s.%zu", of->name, s->poly->buffers.count),
        param ? BF_BUFFER_PARAM : BF_BUFFER_TEMP);
    b->dtype = of->dtype;
    b->samples = samples;
    b->rows = part->rows;
    b->cols = part->cols;
    b->exponent = of->exponent;
    b->loc = of->loc;
    if (param) {
        b->view = of->view;
        unsigned rank = b->view.rank;
        b->view.begin[rank - 1] += part->col;
        b->view.extent[rank - 1] = part->cols;
        if (rank > 1) {
            b->view.begin[rank - 2] += part->row;
            b->view.extent[rank - 2] = part->rows;
        }
    }
    return b;
}

/* Operands of one kernel that overlap, as the halves of heads do, count as the rectangle around
 * them: copied apart, one would bring back what the other one has written. */
static struct bf_operand around(const struct bf_poly_kernel *kernel, bool input, size_t index) {
    size_t count = input ? kernel->inputs.count : kernel->outputs.count;
    const struct bf_operand *all = input ? kernel->inputs.data : kernel->outputs.data;
    struct bf_operand hull = all[index];
    for (size_t i = 0; i < count; i++) {
        const struct bf_operand *o = &all[i];
        bool apart = o->buffer != hull.buffer || o->row >= hull.row + hull.rows ||
                     hull.row >= o->row + o->rows || o->col >= hull.col + hull.cols ||
                     hull.col >= o->col + o->cols;
        if (apart)
            continue;
        int64_t row = hull.row < o->row ? hull.row : o->row;
        int64_t col = hull.col < o->col ? hull.col : o->col;
        int64_t end_row =
            hull.row + hull.rows > o->row + o->rows ? hull.row + hull.rows : o->row + o->rows;
        int64_t end_col =
            hull.col + hull.cols > o->col + o->cols ? hull.col + hull.cols : o->col + o->cols;
        hull = (struct bf_operand){hull.buffer, row, col, end_row - row, end_col - col};
    }
    return hull;
}

/* The operand of a slice: what the group makes itself, or a copy of what lies in DRAM. */
static struct bf_operand sliced(struct slicer *s, const struct group *g,
                                const struct bf_poly_kernel *kernel, size_t index,
                                const struct slice *slice, bool input) {
    const struct bf_operand *operand =
        input ? &kernel->inputs.data[index] : &kernel->outputs.data[index];
    struct bf_buffer *b = operand->buffer;
    if (b->dtype == BF_I32)
        return *operand;
    bool inside = !crosses(s, g, b);
    if (!inside && !b->in_dram && g->parts == 1)
        return *operand; /* whole, in the scratchpad */
    /* Inside the group a buffer keeps its columns, so that views of it stay views. */
    struct bf_operand whole = inside ? bf_operand_whole(b) : around(kernel, input, index);
    struct bf_operand part = cut(g, kernel, &whole, slice);
    struct stand_in *known = find_stand_in(s, &part);
    if (!known) {
        int64_t samples = slice->samples && b->samples > 1 ? slice->samples : b->samples;
        struct bf_buffer *is = slice_buffer(s, b, &part, samples);
        known = bf_push(&s->stand_ins);
        *known = (struct stand_in){part, is};
        if (input && b->in_dram)
            add_copy(s, kernel, part, bf_operand_whole(is), b->samples > 1 ? slice->sample : 0);
    }
    struct bf_operand own = cut(g, kernel, operand, slice);
    return (struct bf_operand){known->is, own.row - part.row, own.col - part.col, own.rows,
                               own.cols};
}

static const struct bf_param_view *param_of(const struct bf_poly_kernel *kernel, const char *role) {
    const struct bf_kernel_param *param = bf_kernel_find_param(kernel, role);
    return param ? &param->view : NULL;
}

static void clone_rows(const struct bf_build *build, const struct bf_poly_kernel *kernel,
                       const struct bf_operand *in, const struct bf_operand *out) {
    struct bf_poly_kernel *clone = bf_poly_add_kernel(build->poly, BF_KERNEL_ROWS);
    clone->lanes = kernel->lanes;
    for (size_t i = 0; i < kernel->inputs.count; i++)
        *bf_push(&clone->inputs) = in[i];
    for (size_t i = 0; i < kernel->outputs.count; i++)
        *bf_push(&clone->outputs) = out[i];
    for (size_t i = 0; i < kernel->params.count; i++)
        *bf_push(&clone->params) = kernel->params.data[i];
    for (size_t i = 0; i < kernel->steps.count; i++)
        *bf_push(&clone->steps) = kernel->steps.data[i];
    for (size_t i = 0; i < kernel->attrs.count; i++)
        bf_ints_set(&clone->attrs, &build->poly->arena, kernel->attrs.data[i].name,
                    kernel->attrs.data[i].value);
    bf_build_rows(build, clone);
}

/* Parameters along the columns are cut with them. */
static void cut_params(struct bf_poly_kernel *clone, const struct group *g,
                       const struct slice *slice) {
    if (g->axis != AXIS_COLS || !slice->count)
        return;
    for (size_t i = 0; i < clone->params.count; i++) {
        struct bf_param_view *view = &clone->params.data[i].view;
        if (view->rank && view->extent[view->rank - 1] == g->extent) {
            view->begin[view->rank - 1] += slice->first;
            view->extent[view->rank - 1] = slice->count;
        }
    }
}

static void clone_attention(const struct bf_build *build, const struct bf_poly_kernel *kernel,
                            const struct bf_operand *in, const struct bf_operand *out,
                            const struct slice *slice) {
    int64_t heads = bf_ints_get(&kernel->attrs, "heads");
    int64_t kv_heads = bf_ints_get(&kernel->attrs, "kv_heads"), kept = kv_heads;
    if (slice->count)
        kept = slice->count;
    int64_t window = bf_ints_get(&kernel->attrs, "window");
    bf_build_attention(build, in[0], in[1], in[2], kernel->inputs.count > 3 ? &in[3] : NULL, out[0],
                       heads / kv_heads * kept, kept, bf_ints_get(&kernel->attrs, "causal") != 0,
                       window > 0 ? window : 0);
}

static void clone_copy(const struct bf_build *build, struct bf_operand in, struct bf_operand out) {
    struct bf_poly_kernel *clone = bf_poly_add_kernel(build->poly, BF_KERNEL_COPY);
    clone->what = bf_arena_strdup(&build->poly->arena, build->what);
    clone->loc = build->loc;
    *bf_push(&clone->inputs) = in;
    *bf_push(&clone->outputs) = out;
}

/* What a slice must have in common with its kernel: all but sizes, and the heads it has. */
static bool computes_alike(struct slicer *s, const struct bf_poly_kernel *kernel,
                           const struct bf_poly_kernel *clone) {
    bool alike = clone->kind == kernel->kind && clone->lanes == kernel->lanes &&
                 clone->inputs.count == kernel->inputs.count &&
                 clone->outputs.count == kernel->outputs.count &&
                 clone->params.count == kernel->params.count &&
                 clone->attrs.count == kernel->attrs.count &&
                 clone->stmts.count == kernel->stmts.count;
    for (size_t i = 0; alike && i < kernel->attrs.count; i++) {
        const struct bf_named_int *attr = &kernel->attrs.data[i];
        bool heads = kernel->kind == BF_KERNEL_ATTENTION && strstr(attr->name, "heads");
        alike = heads || bf_ints_find(&clone->attrs, attr->name, ~attr->value) == attr->value;
    }
    for (size_t i = 0; alike && i < kernel->stmts.count; i++) {
        const struct bf_stmt *a = &kernel->stmts.data[i], *b = &clone->stmts.data[i];
        alike = a->kind == b->kind && a->digit == b->digit && a->stage == b->stage &&
                a->shift == b->shift && a->accesses.count == b->accesses.count;
    }
    return alike || bf_diag_error(s->diags, kernel->loc,
                                  "poly: kernel %s: a slice of it computes something else (%s)",
                                  kernel->name, kernel->what);
}

enum { MAX_OPERANDS = 64 };

static bool clone_kernel(struct slicer *s, const struct group *g,
                         const struct bf_poly_kernel *kernel, const struct slice *slice) {
    struct bf_operand in[MAX_OPERANDS], out[MAX_OPERANDS];
    if (kernel->inputs.count > MAX_OPERANDS || kernel->outputs.count > MAX_OPERANDS)
        return bf_diag_error(s->diags, kernel->loc, "cannot map %s: it has more than %d operands",
                             kernel->what, MAX_OPERANDS);
    for (size_t i = 0; i < kernel->inputs.count; i++)
        in[i] = sliced(s, g, kernel, i, slice, true);
    for (size_t i = 0; i < kernel->outputs.count; i++)
        out[i] = sliced(s, g, kernel, i, slice, false);
    struct bf_build build = {s->poly, kernel->what, kernel->loc};
    switch (kernel->kind) {
    case BF_KERNEL_BUTTERFLY:
        bf_build_butterfly(&build, in[0], out[0], param_of(kernel, "twiddle"),
                           param_of(kernel, "bias"), bf_ints_get(&kernel->attrs, "increasing") != 0,
                           kernel);
        break;
    case BF_KERNEL_DENSE:
        bf_build_dense(&build, in[0], out[0], param_of(kernel, "weight"), param_of(kernel, "bias"));
        break;
    case BF_KERNEL_BLOCK_DENSE:
        bf_build_block_dense(&build, in[0], out[0], param_of(kernel, "weight"),
                             param_of(kernel, "bias"));
        break;
    case BF_KERNEL_BLOCK_BUTTERFLY:
        bf_build_block_butterfly(&build, in[0], out[0], param_of(kernel, "twiddle"),
                                 param_of(kernel, "bias"),
                                 bf_ints_get(&kernel->attrs, "increasing") != 0);
        break;
    case BF_KERNEL_FFT:
        bf_build_fft_like(&build, kernel, &in[0], kernel->inputs.count > 1 ? &in[1] : NULL, &out[0],
                          kernel->outputs.count > 1 ? &out[1] : NULL);
        break;
    case BF_KERNEL_ROWS:
        clone_rows(&build, kernel, in, out);
        cut_params(s->poly->kernels.data[s->poly->kernels.count - 1], g, slice);
        break;
    case BF_KERNEL_ATTENTION:
        clone_attention(&build, kernel, in, out, slice);
        break;
    case BF_KERNEL_COPY:
        if (copies_rows(kernel)) {
            clone_copy(&build, in[0], out[0]);
            break;
        } /* fall through */
    default:
        return bf_diag_error(s->diags, kernel->loc,
                             "cannot map %s on '%s': its operands do not fit the scratchpad of %u "
                             "words, and it can't be cut",
                             kernel->what, s->machine->name, s->machine->spm_words);
    }
    if (!computes_alike(s, kernel, s->poly->kernels.data[s->poly->kernels.count - 1]))
        return false;
    for (size_t i = 0; i < kernel->outputs.count; i++) {
        struct bf_buffer *b = kernel->outputs.data[i].buffer;
        struct bf_operand hull = around(kernel, false, i), to = cut(g, kernel, &hull, slice);
        struct bf_operand own = cut(g, kernel, &kernel->outputs.data[i], slice);
        struct bf_operand from = {out[i].buffer, out[i].row + to.row - own.row,
                                  out[i].col + to.col - own.col, to.rows, to.cols};
        bool copied = false; /* with an earlier output that it overlaps */
        for (size_t j = 0; j < i; j++) {
            struct bf_operand other = around(kernel, false, j);
            copied |= other.buffer == b && other.row == hull.row && other.col == hull.col;
        }
        if (b->in_dram && !copied)
            add_copy(s, kernel, from, to, b->samples > 1 ? slice->sample : 0);
    }
    return true;
}

static void keep_kernel(struct slicer *s, struct bf_poly_kernel *kernel) {
    kernel->index = (unsigned)s->poly->kernels.count;
    kernel->name = bf_arena_printf(&s->poly->arena, "k%u", kernel->index);
    *bf_push(&s->poly->kernels) = kernel;
}

static bool touches_dram(const struct bf_poly_kernel *kernel) {
    for (size_t i = 0; i < kernel->inputs.count; i++)
        if (kernel->inputs.data[i].buffer->in_dram)
            return true;
    for (size_t i = 0; i < kernel->outputs.count; i++)
        if (kernel->outputs.data[i].buffer->in_dram)
            return true;
    return false;
}

static bool rewrite_group(struct slicer *s, const struct group *g) {
    bool dram = false, ok = true;
    for (int k = g->first; k <= g->last; k++)
        dram |= touches_dram(s->kernels[k]);
    if (!dram && g->parts == 1) {
        for (int k = g->first; k <= g->last; k++)
            keep_kernel(s, s->kernels[k]);
        return true;
    }
    for (int64_t part = 0; part < g->parts && ok; part++) {
        struct slice slice = slice_number(g, g->parts, part);
        s->stand_ins.count = 0;
        for (int k = g->first; k <= g->last && ok; k++)
            ok = clone_kernel(s, g, s->kernels[k], &slice);
    }
    for (int k = g->first; k <= g->last; k++)
        bf_poly_drop_kernel(s->kernels[k]);
    return ok;
}

/* Scratchpad words that running a group moves to and from DRAM: its weights once a slice, and what
 * it reads and writes of other groups. */
static int64_t traffic(const struct slicer *s, const struct group *g) {
    struct slice all = {0};
    int64_t words = 0;
    for (int k = g->first; k <= g->last; k++) {
        const struct bf_poly_kernel *kernel = s->kernels[k];
        for (size_t i = 0; i < kernel->params.count; i++) {
            const struct bf_param_view *view = &kernel->params.data[i].view;
            int64_t elements = 1;
            for (unsigned a = 0; a < view->rank; a++)
                elements *= view->extent[a];
            words += g->parts * elements / s->machine->lanes;
        }
        for (size_t i = 0; i < kernel->inputs.count; i++)
            if (s->uses[kernel->inputs.data[i].buffer->index].writer < g->first)
                words += cut_words(s, g, kernel, &kernel->inputs.data[i], &all);
        for (size_t i = 0; i < kernel->outputs.count; i++)
            if (s->uses[kernel->outputs.data[i].buffer->index].last > g->last)
                words += cut_words(s, g, kernel, &kernel->outputs.data[i], &all);
    }
    return words;
}

/* A group in many slices loads its weights as often. Where it moves less to keep the results
 * between kernels in DRAM, since a kernel alone needs fewer slices, each is a group of its own. */
static void add_group(const struct slicer *s, struct group g, struct group *groups, size_t *count) {
    int64_t alone = 0;
    size_t before = *count;
    choose_parts(s, &g, s->capacity);
    for (int k = g.first; k <= g.last; k++) {
        struct group one = g;
        one.first = one.last = k;
        choose_parts(s, &one, s->capacity);
        alone += traffic(s, &one);
        groups[(*count)++] = one;
    }
    if (g.parts > 1 && alone < traffic(s, &g))
        return;
    groups[before] = g;
    *count = before + 1;
}

/* Which groups are cut how often, and so which buffers go to DRAM. */
static struct group *plan_groups(struct slicer *s, size_t *count) {
    struct group *groups = bf_alloc((size_t)s->count * sizeof *groups);
    *count = 0;
    for (int k = 0; k < s->count; k = groups[*count - 1].last + 1)
        add_group(s, group_at(s, k), groups, count);
    for (size_t i = 0; i < *count; i++) {
        struct group *g = &groups[i];
        for (int k = g->first; g->parts > 1 && k <= g->last; k++) {
            mark(s, g, s->kernels[k]->inputs.data, s->kernels[k]->inputs.count);
            mark(s, g, s->kernels[k]->outputs.data, s->kernels[k]->outputs.count);
        }
    }
    /* What stays alive over several groups would take room from each: it goes to DRAM, too. */
    for (size_t b = 0; b < s->poly->buffers.count; b++) {
        struct bf_buffer *buffer = s->poly->buffers.data[b];
        if (s->uses[b].first >= 0 && buffer->kind != BF_BUFFER_PARAM &&
            buffer_words(s, buffer) > s->capacity / 16)
            for (size_t i = 0; i < *count; i++)
                if (s->uses[b].first < groups[i].first && groups[i].first <= s->uses[b].last)
                    buffer->in_dram = true;
    }
    return groups;
}

bool bf_pass_slice(struct bf_poly *poly, const struct bf_machine *machine, struct bf_diags *diags) {
    struct slicer s = {.poly = poly,
                       .machine = machine,
                       .diags = diags,
                       .kernels = poly->kernels.data,
                       .count = (int)poly->kernels.count,
                       .capacity = (int64_t)machine->spm_words / 2};
    find_uses(&s);
    bool ok = true;
    if (!fits(&s)) {
        size_t count;
        struct group *groups = plan_groups(&s, &count);
        memset(&poly->kernels, 0, sizeof poly->kernels);
        for (size_t i = 0; i < count && ok; i++)
            ok = rewrite_group(&s, &groups[i]);
        free(groups);
        free(s.kernels);
    }
    free(s.uses);
    free(s.stand_ins.data);
    return ok;
}
