/* poly_verify.c - what every poly must satisfy, checked after each pass and after reading a text.
 */
#include <stdlib.h>

#include "ir/poly.h"

struct verifier {
    struct bf_poly *poly;
    struct bf_diags *diags;
    const struct bf_poly_kernel *kernel;
};

static bool wrong(struct verifier *v, const char *what, const char *which) {
    return bf_diag_error(v->diags, v->kernel->loc, "poly: kernel %s: %s (%s)", v->kernel->name,
                         what, which);
}

/* A point of a relation, for messages: "[...] -> [...]". */
static bool wrong_at(struct verifier *v, const char *what, __isl_take isl_map *witness) {
    isl_basic_map *point = isl_map_sample(witness);
    char *text = isl_basic_map_to_str(point);
    isl_basic_map_free(point);
    wrong(v, what, text ? text : "?");
    free(text);
    return false;
}

/* ---- relations ---- */

static bool check_stmt(struct verifier *v, const struct bf_stmt *stmt) {
    if (!stmt->domain)
        return wrong(v, "isl failed on the domain of", stmt->name);
    for (size_t a = 0; a < stmt->accesses.count; a++) {
        const struct bf_access *access = &stmt->accesses.data[a];
        if (!access->map)
            return wrong(v, "isl failed on an access to", access->array);
        isl_set *domain = isl_map_domain(isl_map_copy(access->map));
        isl_bool inside = isl_set_is_subset(domain, stmt->domain);
        isl_set_free(domain);
        if (inside != isl_bool_true)
            return wrong(v, "an access leaves the domain of its statement", access->array);
        if (access->role == BF_WRITE && isl_map_is_injective(access->map) != isl_bool_true)
            return wrong(v, "an element is written twice", access->array);
    }
    return true;
}

/* Every element a kernel reads of an array of its own was written by an earlier statement. */
static bool check_reads(struct verifier *v, size_t reader) {
    const struct bf_poly_kernel *kernel = v->kernel;
    const struct bf_stmt *stmt = &kernel->stmts.data[reader];
    for (size_t a = 0; a < stmt->accesses.count; a++) {
        const char *array = stmt->accesses.data[a].array;
        if (stmt->accesses.data[a].role != BF_READ || bf_is_boundary(array))
            continue;
        isl_set *written = NULL;
        for (size_t w = 0; w < reader; w++) {
            isl_map *writes = bf_stmt_accesses(&kernel->stmts.data[w], BF_WRITE, array);
            isl_set *range = writes ? isl_map_range(writes) : NULL;
            written = !written ? range : range ? isl_set_union(written, range) : written;
        }
        if (!written) /* weights */
            continue;
        isl_map *outside =
            isl_map_subtract_range(isl_map_copy(stmt->accesses.data[a].map), written);
        if (isl_map_is_empty(outside) != isl_bool_true)
            return wrong_at(v, "an element is read that nothing writes", outside);
        isl_map_free(outside);
    }
    return true;
}

/* The listed dependences between two statements on an array, as one map; NULL if there are none. */
static __isl_give isl_map *listed_deps(const struct bf_poly_kernel *kernel, int from, int to,
                                       const char *array) {
    isl_map *all = NULL;
    for (size_t d = 0; d < kernel->deps.count; d++) {
        const struct bf_dep *dep = &kernel->deps.data[d];
        if (dep->from != from || dep->to != to || strcmp(dep->array, array))
            continue;
        isl_map *map = isl_map_copy(dep->map);
        all = all ? isl_map_union(all, map) : map;
    }
    return all;
}

/* deps is W . R^-1, no more and no less. */
static bool check_dep(struct verifier *v, int from, int to, const char *array) {
    const struct bf_poly_kernel *kernel = v->kernel;
    isl_map *write = bf_stmt_accesses(&kernel->stmts.data[from], BF_WRITE, array);
    isl_map *read = bf_stmt_accesses(&kernel->stmts.data[to], BF_READ, array);
    isl_map *listed = listed_deps(kernel, from, to, array);
    bool ok = true;
    if (write && read) {
        isl_map *exact = isl_map_apply_range(write, isl_map_reverse(read));
        bool empty = isl_map_is_empty(exact) == isl_bool_true;
        ok = listed ? isl_map_is_equal(exact, listed) == isl_bool_true : empty;
        isl_map_free(exact);
    } else {
        isl_map_free(write);
        isl_map_free(read);
        ok = !listed;
    }
    isl_map_free(listed);
    return ok || wrong(v, "the listed dependences are not those of the accesses", array);
}

static bool check_deps(struct verifier *v) {
    const struct bf_poly_kernel *kernel = v->kernel;
    for (size_t from = 0; from < kernel->stmts.count; from++) {
        const struct bf_stmt *stmt = &kernel->stmts.data[from];
        for (size_t a = 0; a < stmt->accesses.count; a++) {
            const struct bf_access *access = &stmt->accesses.data[a];
            if (access->role != BF_WRITE || bf_is_boundary(access->array))
                continue;
            for (size_t to = 0; to < kernel->stmts.count; to++)
                if (!check_dep(v, (int)from, (int)to, access->array))
                    return false;
        }
    }
    return true;
}

/* ---- operands and shape ---- */

static bool check_operand(struct verifier *v, const struct bf_operand *operand) {
    return bf_operand_inside(operand) ||
           wrong(v, "an operand leaves its buffer", operand->buffer->name);
}

static bool check_operands(struct verifier *v, bool *written) {
    const struct bf_poly_kernel *kernel = v->kernel;
    if (!kernel->inputs.count && kernel->kind != BF_KERNEL_ROWS)
        return wrong(v, "there is no input", "0");
    if (!kernel->outputs.count)
        return wrong(v, "there is no output", "0");
    for (size_t i = 0; i < kernel->inputs.count; i++) {
        const struct bf_buffer *buffer = kernel->inputs.data[i].buffer;
        bool given = buffer->kind == BF_BUFFER_INPUT || buffer->kind == BF_BUFFER_PARAM;
        if (!check_operand(v, &kernel->inputs.data[i]))
            return false;
        if (!given && !written[buffer->index])
            return wrong(v, "a buffer is read before it is written", buffer->name);
    }
    for (size_t i = 0; i < kernel->outputs.count; i++) {
        const struct bf_buffer *buffer = kernel->outputs.data[i].buffer;
        if (!check_operand(v, &kernel->outputs.data[i]))
            return false;
        if (buffer->kind == BF_BUFFER_INPUT || buffer->kind == BF_BUFFER_PARAM)
            return wrong(v, "an input is written", buffer->name);
        written[buffer->index] = true;
    }
    return true;
}

static bool has_attrs(struct verifier *v, const char *const *names) {
    for (; *names; names++)
        if (bf_ints_find(&v->kernel->attrs, *names, INT64_MIN) == INT64_MIN)
            return wrong(v, "an attribute is missing", *names);
    return true;
}

/* Butterflies and FFTs: a load, stages that act along digits d.., a store. */
static bool check_stages(struct verifier *v) {
    static const char *const butterfly[] = {"n", "stacks", "blocks", "increasing", NULL};
    static const char *const fft[] = {"n", "inverse", NULL};
    const struct bf_poly_kernel *kernel = v->kernel;
    if (!has_attrs(v, kernel->kind == BF_KERNEL_FFT ? fft : butterfly))
        return false;
    size_t last = kernel->stmts.count - 1;
    if (kernel->stmts.count < 2 || kernel->stmts.data[0].kind != BF_STMT_LOAD ||
        kernel->stmts.data[last].kind != BF_STMT_STORE)
        return wrong(v, "its statements are not a load, stages and a store", "stmt");
    enum bf_stmt_kind stage = kernel->kind == BF_KERNEL_FFT ? BF_STMT_FFT : BF_STMT_BPMM;
    for (size_t s = 1; s < last; s++) {
        const struct bf_stmt *stmt = &kernel->stmts.data[s];
        bool factors = stage == BF_STMT_FFT && stmt->digit < 0 && (s == 1 || s + 1 == last);
        if (stmt->kind != stage || (stmt->digit < 0 && !factors) ||
            (stmt->digit >= 0 && kernel->digits.data[stmt->digit].name[0] != 'd'))
            return wrong(v, "a stage does not act along a digit of the element", stmt->name);
    }
    int64_t n = 1;
    for (size_t d = 0; d < kernel->digits.count; d++)
        if (kernel->digits.data[d].name[0] == 'd')
            n *= kernel->digits.data[d].radix;
    if (n != bf_ints_get(&kernel->attrs, "n"))
        return wrong(v, "the digits do not make up n elements", "n");
    return kernel->kind == BF_KERNEL_FFT || bf_kernel_find_param(kernel, "twiddle") ||
           wrong(v, "a parameter is missing", "twiddle");
}

/* Elements taken with strides lie inside the operand. */
static bool check_gather(struct verifier *v) {
    static const char *const names[] = {"inner",        "inner_stride", "outer",
                                        "outer_stride", "pitch",        NULL};
    const struct bf_operand *in = &v->kernel->inputs.data[0], *out = &v->kernel->outputs.data[0];
    const struct bf_ints *attrs = &v->kernel->attrs;
    if (!has_attrs(v, names))
        return false;
    for (size_t i = 0; i < attrs->count; i++)
        if (attrs->data[i].value < 0 || attrs->data[i].value > INT32_MAX)
            return wrong(v, "an attribute is out of range", attrs->data[i].name);
    int64_t inner = bf_ints_get(attrs, "inner"), outer = bf_ints_get(attrs, "outer");
    int64_t each =
        bf_ints_find(attrs, "sample_stride", inner * outer * out->buffer->rows * out->buffer->cols);
    if (inner < 1 || outer < 1 || inner > out->buffer->samples || outer > out->buffer->samples ||
        out->buffer->samples % (inner * outer) || out->rows != out->buffer->rows ||
        out->cols != out->buffer->cols)
        return wrong(v, "samples are not gathered as a whole", out->buffer->name);
    int64_t last = bf_ints_find(attrs, "start", 0) +
                   (inner - 1) * bf_ints_get(attrs, "inner_stride") +
                   (outer - 1) * bf_ints_get(attrs, "outer_stride") +
                   (out->buffer->samples / inner / outer - 1) * each +
                   (out->rows - 1) * bf_ints_get(attrs, "pitch") + out->cols;
    return last <= in->buffer->samples * in->rows * in->cols ||
           wrong(v, "elements outside of the operand are copied", in->buffer->name);
}

static bool check_samples(struct verifier *v) {
    static const char *const names[] = {"to_first", "to_inner", "to_stride", NULL};
    const struct bf_operand *in = &v->kernel->inputs.data[0], *out = &v->kernel->outputs.data[0];
    const struct bf_ints *attrs = &v->kernel->attrs;
    if (!has_attrs(v, names))
        return false;
    int64_t first = bf_ints_get(attrs, "to_first"), inner = bf_ints_get(attrs, "to_inner");
    int64_t stride = bf_ints_get(attrs, "to_stride");
    if (first < 0 || inner < 1 || stride < 1 || stride > out->buffer->samples ||
        first > stride - inner || out->buffer->samples % stride)
        return wrong(v, "samples are copied outside of the buffer", out->buffer->name);
    return (in->rows == out->rows && in->cols == out->cols) ||
           wrong(v, "a copy changes the number of elements", out->buffer->name);
}

/* A gather has a table; any other copy keeps the number of elements, or gives every sample those
 * of a parameter. */
static bool check_copy(struct verifier *v) {
    if (bf_kernel_find_param(v->kernel, "table"))
        return true;
    const struct bf_operand *in = &v->kernel->inputs.data[0], *out = &v->kernel->outputs.data[0];
    if (in->buffer->in_dram || out->buffer->in_dram)
        return (in->rows == out->rows && in->cols == out->cols) ||
               wrong(v, "a slice changes its shape", out->buffer->name);
    if (bf_ints_find(&v->kernel->attrs, "inner", 0))
        return check_gather(v);
    if (bf_ints_find(&v->kernel->attrs, "to_stride", 0))
        return check_samples(v);
    int64_t samples = in->buffer->samples == 1 ? out->buffer->samples : in->buffer->samples;
    return samples * in->rows * in->cols == out->buffer->samples * out->rows * out->cols ||
           in->buffer->samples * in->rows * in->cols ==
               out->buffer->samples * out->rows * out->cols ||
           wrong(v, "a copy changes the number of elements", out->buffer->name);
}

/* Every block takes its columns of x and gives its columns of the result. */
static bool check_block_dense(struct verifier *v) {
    const struct bf_kernel_param *weight = bf_kernel_find_param(v->kernel, "weight");
    int64_t blocks = bf_ints_get(&v->kernel->attrs, "blocks");
    if (!weight || weight->view.rank != 3 || blocks != weight->view.extent[0])
        return wrong(v, "a parameter is missing or has another shape", "weight");
    return (v->kernel->inputs.data[0].cols == blocks * weight->view.extent[2] &&
            v->kernel->outputs.data[0].cols == blocks * weight->view.extent[1]) ||
           wrong(v, "the blocks are not the columns", "blocks");
}

static bool check_block_butterfly(struct verifier *v) {
    const struct bf_kernel_param *twiddle = bf_kernel_find_param(v->kernel, "twiddle");
    int64_t tile = bf_ints_get(&v->kernel->attrs, "tile");
    if (!twiddle || twiddle->view.rank != 7 || tile < 2 || tile != 2 * twiddle->view.extent[4])
        return wrong(v, "a parameter is missing or has another shape", "twiddle");
    return (v->kernel->inputs.data[0].cols == tile * twiddle->view.extent[1] &&
            v->kernel->outputs.data[0].cols == tile * twiddle->view.extent[0]) ||
           wrong(v, "the tiles are not the columns", "tile");
}

static bool check_transpose(struct verifier *v) {
    const struct bf_operand *x = &v->kernel->inputs.data[0], *y = &v->kernel->outputs.data[0];
    return (x->rows == y->cols && x->cols == y->rows && x->buffer->samples == y->buffer->samples) ||
           wrong(v, "the result is no transposition of the input", y->buffer->name);
}

/* Parameters have the number of axes that recipes index them by. */
static bool check_ranks(struct verifier *v) {
    static const struct {
        enum bf_kernel_kind kind;
        const char *role;
        unsigned rank;
    } ranks[] = {{BF_KERNEL_BUTTERFLY, "twiddle", 6},
                 {BF_KERNEL_BUTTERFLY, "bias", 1},
                 {BF_KERNEL_DENSE, "weight", 2},
                 {BF_KERNEL_DENSE, "bias", 1}};
    int64_t exponent = bf_ints_find(&v->kernel->attrs, "exponent", 0);
    if (exponent < -64 || exponent > 64)
        return wrong(v, "an attribute is out of range", "exponent");
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        const struct bf_kernel_param *param = bf_kernel_find_param(v->kernel, ranks[i].role);
        if (v->kernel->kind == ranks[i].kind && param && param->view.rank != ranks[i].rank)
            return wrong(v, "a parameter has the wrong number of axes", ranks[i].role);
    }
    return true;
}

/* With heads, the columns are pairs of elements of each. */
static bool check_rows(struct verifier *v) {
    const struct bf_poly_kernel *kernel = v->kernel;
    int64_t heads = bf_ints_find(&kernel->attrs, "heads", 0);
    int64_t head = bf_ints_find(&kernel->attrs, "head", 0);
    int64_t step = bf_ints_find(&kernel->attrs, "step", heads ? 0 : 1);
    if (!kernel->steps.count)
        return wrong(v, "there are no steps", "step");
    if (heads &&
        (heads < 1 || head < 2 || head % 2 || step < 1 || step > 2 ||
         kernel->lanes != BF_LANES_ROWS || kernel->inputs.count != 4 || kernel->outputs.count != 2))
        return wrong(v, "its heads do not make up a rope", "heads");
    bool ok = kernel->digits.count == (heads > 1 ? 4 : 3);
    for (size_t i = 0; i < 4 && ok; i++)
        ok = i >= kernel->digits.count || kernel->digits.data[i].weight == (i == 2   ? step
                                                                            : i == 3 ? head
                                                                                     : 1);
    if (ok && heads)
        ok = kernel->digits.data[2].radix == head / 2 &&
             (heads == 1 || kernel->digits.data[3].radix == heads);
    for (size_t i = 0; i < 2 && heads && ok; i++) {
        int64_t pairs = (head / 2 - 1) * step, all = (heads - 1) * head + pairs;
        int64_t table = kernel->inputs.data[2 + i].cols;
        ok = kernel->inputs.data[i].cols > all && kernel->outputs.data[i].cols > all &&
             table > pairs && table <= head;
    }
    return ok || wrong(v, "its digits are not rows and columns", kernel->name);
}

static bool check_kind(struct verifier *v) {
    static const char *const dense[] = {"exponent", NULL};
    static const char *const attention[] = {"heads", "kv_heads", "causal", "window", NULL};
    static const char *const block_dense[] = {"blocks", NULL};
    static const char *const block_butterfly[] = {"tile", "increasing", NULL};
    switch (v->kernel->kind) {
    case BF_KERNEL_BUTTERFLY:
    case BF_KERNEL_FFT:
        return check_stages(v);
    case BF_KERNEL_DENSE:
        return has_attrs(v, dense) && (bf_kernel_find_param(v->kernel, "weight") ||
                                       wrong(v, "a parameter is missing", "weight"));
    case BF_KERNEL_ATTENTION:
        return has_attrs(v, attention) &&
               (v->kernel->inputs.count >= 3 || wrong(v, "an input is missing", "q, k, v"));
    case BF_KERNEL_BLOCK_DENSE:
        return has_attrs(v, block_dense) && check_block_dense(v);
    case BF_KERNEL_BLOCK_BUTTERFLY:
        return has_attrs(v, block_butterfly) && check_block_butterfly(v);
    case BF_KERNEL_TRANSPOSE:
        return check_transpose(v);
    case BF_KERNEL_ROWS:
        return check_rows(v);
    case BF_KERNEL_COPY:
        return check_copy(v);
    }
    return false;
}

static bool unique_kernel(struct verifier *v, size_t index) {
    for (size_t k = 0; k < index; k++)
        if (!strcmp(v->poly->kernels.data[k]->name, v->kernel->name))
            return wrong(v, "two kernels have this name", v->kernel->name);
    return true;
}

bool bf_poly_verify(const struct bf_poly *poly, struct bf_diags *diags) {
    struct verifier v = {(struct bf_poly *)poly, diags, NULL};
    bool *written = bf_alloc(poly->buffers.count * sizeof *written), ok = true;
    for (size_t k = 0; k < poly->kernels.count && ok; k++) {
        v.kernel = poly->kernels.data[k];
        ok = unique_kernel(&v, k) && check_operands(&v, written) && check_ranks(&v) &&
             check_kind(&v);
        if (v.kernel->shared) /* proved with the kernel it shares them with */
            continue;
        for (size_t s = 0; s < v.kernel->stmts.count && ok; s++)
            ok = check_stmt(&v, &v.kernel->stmts.data[s]) && check_reads(&v, s);
        ok = ok && check_deps(&v);
    }
    free(written);
    return ok;
}
