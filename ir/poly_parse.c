/* poly_parse.c - reads what poly_print.c writes. Names are resolved as they come; whatever the text
 * holds, the result is a poly for the verifier to judge, or an error at its line and column. */
#include <stdlib.h>

#include "ir/poly.h"
#include "ir/poly_names.h"

static int word_of(struct bf_reader *r, const char *const *words, int count, const char *what) {
    for (int i = 0; i < count; i++)
        if (bf_reader_accept(r, words[i]))
            return i;
    bf_reader_error(r, "expected %s", what);
    return -1;
}

bool bf_reader_field(struct bf_reader *r, const char *name, int64_t *value) {
    return bf_reader_expect(r, name) && bf_reader_expect(r, "=") && bf_reader_int(r, value);
}

static bool int_field(struct bf_reader *r, const char *name, int *value) {
    int64_t wide;
    if (!bf_reader_field(r, name, &wide))
        return false;
    if (wide < -1000000 || wide > 1000000)
        return bf_reader_error(r, "%s is out of range", name);
    *value = (int)wide;
    return true;
}

/* A value that counts something: 1 .. 2^31 - 1. */
static bool count_field(struct bf_reader *r, const char *name, int64_t *value) {
    if (!bf_reader_field(r, name, value))
        return false;
    return (*value >= 1 && *value <= INT32_MAX) || bf_reader_error(r, "%s is out of range", name);
}

bool bf_view_parse(struct bf_reader *r, const struct bf_poly *poly, struct bf_param_view *view) {
    const char *name = bf_reader_string(r);
    if (!name)
        return false;
    for (size_t i = 0; i < poly->params.count; i++)
        if (!strcmp(poly->params.data[i]->name, name))
            view->param = poly->params.data[i];
    if (!view->param)
        return bf_reader_error(r, "there is no parameter '%s'", name);
    view->rank = view->param->type.rank;
    if (!bf_reader_expect(r, "["))
        return false;
    for (unsigned a = 0; a < view->rank; a++) {
        if ((a && !bf_reader_expect(r, ",")) || !bf_reader_int(r, &view->begin[a]) ||
            !bf_reader_expect(r, ":") || !bf_reader_int(r, &view->extent[a]))
            return false;
        if (view->begin[a] < 0 || view->extent[a] < 0 ||
            view->extent[a] > view->param->type.dims[a] - view->begin[a])
            return bf_reader_error(r, "the view of '%s' leaves the parameter", name);
    }
    return bf_reader_expect(r, "]");
}

static bool parse_tensor(struct bf_reader *r, struct bf_poly *poly) {
    struct bf_poly_tensor tensor = {.output = bf_reader_accept(r, "output")};
    if (!tensor.output && !bf_reader_expect(r, "input"))
        return false;
    tensor.name = bf_reader_string(r);
    if (!tensor.name || !bf_type_parse(r, &tensor.type))
        return false;
    *bf_push(&poly->tensors) = tensor;
    return true;
}

static bool parse_param(struct bf_reader *r, struct bf_poly *poly) {
    struct bf_param param = {.name = bf_reader_string(r)};
    struct bf_rotary rotary = {0};
    if (!param.name || !bf_type_parse(r, &param.type))
        return false;
    rotary.interleaved = bf_reader_accept(r, "interleaved");
    if (rotary.interleaved || bf_reader_accept(r, "rotary")) {
        param.rotary = &rotary;
        if (!bf_reader_expect(r, "base") || !bf_reader_expect(r, "=") ||
            !bf_reader_double(r, &rotary.base))
            return false;
        if (!(rotary.base >= 1 && rotary.base <= BF_ROTARY_BASE) || param.type.rank != 2 ||
            param.type.dims[1] % 2)
            return bf_reader_error(r, "'%s' is no table of a rope", param.name);
    }
    if (!bf_reader_expect(r, "owner") || !(param.owner = bf_reader_string(r)) ||
        !bf_header_parse_loc(r, &poly->header, &param.loc))
        return false;
    bf_poly_param(poly, &param);
    return true;
}

static bool parse_buffer(struct bf_reader *r, struct bf_poly *poly) {
    const char *name = bf_reader_string(r);
    if (!name)
        return false;
    if (bf_poly_find_buffer(poly, name))
        return bf_reader_error(r, "two buffers are named '%s'", name);
    int kind = word_of(r, bf_buffer_words, BF_WORDS(bf_buffer_words), "a kind of buffer");
    const char *dtype = kind < 0 ? NULL : bf_reader_word(r, "", "a type");
    if (!dtype)
        return false;
    struct bf_buffer *buffer = bf_poly_add_buffer(poly, name, (enum bf_buffer_kind)kind);
    if (!bf_dtype_find(dtype, &buffer->dtype))
        return bf_reader_error(r, "'%s' is no type", dtype);
    if (!count_field(r, "samples", &buffer->samples) || !count_field(r, "rows", &buffer->rows) ||
        !count_field(r, "cols", &buffer->cols) || !int_field(r, "exponent", &buffer->exponent))
        return false;
    if (bf_reader_accept(r, "tensor") &&
        (!bf_reader_expect(r, "=") || !(buffer->tensor = bf_reader_string(r)) ||
         !bf_reader_expect(r, "+") || !bf_reader_int(r, &buffer->origin)))
        return false;
    buffer->in_dram = bf_reader_accept(r, "in_dram");
    if (bf_reader_accept(r, "view") &&
        (!bf_reader_expect(r, "=") || !bf_view_parse(r, poly, &buffer->view)))
        return false;
    return bf_header_parse_loc(r, &poly->header, &buffer->loc);
}

bool bf_operand_parse(struct bf_reader *r, const struct bf_poly *poly, struct bf_operand *operand) {
    const char *name = bf_reader_string(r);
    if (!name)
        return false;
    operand->buffer = bf_poly_find_buffer(poly, name);
    if (!operand->buffer)
        return bf_reader_error(r, "there is no buffer '%s'", name);
    return bf_reader_expect(r, "[") && bf_reader_int(r, &operand->row) &&
           bf_reader_expect(r, "+") && bf_reader_int(r, &operand->rows) &&
           bf_reader_expect(r, ",") && bf_reader_int(r, &operand->col) &&
           bf_reader_expect(r, "+") && bf_reader_int(r, &operand->cols) && bf_reader_expect(r, "]");
}

bool bf_ints_parse(struct bf_reader *r, struct bf_ints *ints) {
    while (!bf_reader_at_line_end(r)) {
        const char *name = bf_reader_word(r, "", "a name");
        int64_t value;
        if (!name || !bf_reader_expect(r, "=") || !bf_reader_int(r, &value))
            return false;
        bf_ints_set(ints, r->arena, name, value);
    }
    return true;
}

enum { MAX_DEPTH = 100 };

static struct bf_expr *parse_expr(struct bf_reader *r, struct bf_poly *poly, int depth) {
    if (depth > MAX_DEPTH)
        bf_reader_error(r, "the expression is nested too deep");
    if (r->failed || !bf_reader_expect(r, "("))
        return NULL;
    const char *name = bf_reader_word(r, "", "an operation");
    int kind = 0;
    while (name && kind < BF_WORDS(bf_expr_words) && strcmp(bf_expr_words[kind], name))
        kind++;
    if (!name || kind == BF_WORDS(bf_expr_words)) {
        bf_reader_error(r, "unknown operation");
        return NULL;
    }
    struct bf_expr *expr = bf_expr_new(poly, (enum bf_expr_kind)kind, NULL, NULL);
    int64_t index = 0;
    if (kind == BF_EXPR_CONST)
        bf_reader_double(r, &expr->value);
    else if (kind <= BF_EXPR_ROW || kind == BF_EXPR_SHIFT)
        bf_reader_int(r, &index);
    expr->index = (int)index;
    struct bf_expr **operands[] = {&expr->a, &expr->b, &expr->c};
    for (int i = 0; i < 3 && !r->failed && !bf_reader_accept(r, ")"); i++) {
        *operands[i] = parse_expr(r, poly, depth + 1);
        if (i == 2 && !bf_reader_expect(r, ")"))
            break;
    }
    return r->failed ? NULL : expr;
}

static bool parse_step(struct bf_reader *r, struct bf_poly *poly, struct bf_poly_kernel *kernel) {
    int kind = word_of(r, bf_step_words, BF_WORDS(bf_step_words), "a kind of step");
    int64_t index = 0;
    if (kind < 0 || !bf_reader_int(r, &index))
        return false;
    struct bf_expr *expr = parse_expr(r, poly, 0);
    if (expr)
        *bf_push(&kernel->steps) = (struct bf_step){(enum bf_step_kind)kind, expr, (int)index};
    return expr != NULL;
}

static bool parse_digit(struct bf_reader *r, struct bf_poly_kernel *kernel) {
    struct bf_digit digit = {.name = bf_reader_word(r, "", "a digit")};
    if (!digit.name || !count_field(r, "radix", &digit.radix) ||
        !bf_reader_field(r, "weight", &digit.weight) ||
        !bf_reader_field(r, "out", &digit.out_weight))
        return false;
    if (kernel->digits.count == 48)
        return bf_reader_error(r, "too many digits");
    *bf_push(&kernel->digits) = digit;
    return true;
}

/* The rest of the line, for isl. */
static char *rest_of_line(struct bf_reader *r) {
    bf_reader_blanks(r);
    const char *start = r->at;
    while (!bf_reader_at_end(r) && *r->at != '\n')
        r->at++;
    return bf_strndup(start, (size_t)(r->at - start));
}

static __isl_give isl_map *parse_map(struct bf_reader *r, struct bf_poly *poly) {
    char *text = rest_of_line(r);
    isl_map *map = isl_map_read_from_str(poly->isl, text);
    if (!map)
        bf_reader_error(r, "isl can't read this relation");
    free(text);
    return map;
}

static int find_digit(const struct bf_poly_kernel *kernel, const char *name) {
    for (size_t d = 0; d < kernel->digits.count; d++)
        if (!strcmp(kernel->digits.data[d].name, name))
            return (int)d;
    return -1;
}

static bool parse_stmt(struct bf_reader *r, struct bf_poly *poly, struct bf_poly_kernel *kernel) {
    struct bf_stmt stmt = {.name = bf_reader_word(r, "", "a statement")};
    int kind = stmt.name ? word_of(r, bf_stmt_words, BF_WORDS(bf_stmt_words), "a kind") : -1;
    if (kind < 0 || !bf_reader_expect(r, "digit") || !bf_reader_expect(r, "="))
        return false;
    const char *digit = bf_reader_word(r, "", "a digit");
    if (!digit)
        return false;
    stmt.kind = (enum bf_stmt_kind)kind;
    stmt.digit = find_digit(kernel, digit);
    if (stmt.digit < 0 && strcmp(digit, "none"))
        return bf_reader_error(r, "there is no digit '%s'", digit);
    if (!int_field(r, "block", &stmt.block) || !int_field(r, "stage", &stmt.stage) ||
        !int_field(r, "shift", &stmt.shift) || !int_field(r, "step", &stmt.step) ||
        !bf_header_parse_loc(r, &poly->header, &stmt.loc) || !bf_reader_next_line(r) ||
        !bf_reader_expect(r, "domain"))
        return false;
    char *text = rest_of_line(r);
    stmt.domain = isl_set_read_from_str(poly->isl, text);
    free(text);
    if (!stmt.domain)
        return bf_reader_error(r, "isl can't read this set");
    *bf_push(&kernel->stmts) = stmt;
    return true;
}

static bool parse_access(struct bf_reader *r, struct bf_poly *poly, struct bf_poly_kernel *kernel,
                         enum bf_role role) {
    int64_t operand = 0;
    const char *array = bf_reader_string(r);
    if (!array || !bf_reader_int(r, &operand))
        return false;
    if (!kernel->stmts.count)
        return bf_reader_error(r, "an access outside a statement");
    isl_map *map = parse_map(r, poly);
    struct bf_stmt *stmt = &kernel->stmts.data[kernel->stmts.count - 1];
    *bf_push(&stmt->accesses) = (struct bf_access){role, array, (int)operand, map};
    return map != NULL;
}

static int find_stmt(struct bf_reader *r, const struct bf_poly_kernel *kernel) {
    const char *name = bf_reader_word(r, "", "a statement");
    for (size_t s = 0; name && s < kernel->stmts.count; s++)
        if (!strcmp(kernel->stmts.data[s].name, name))
            return (int)s;
    bf_reader_error(r, "there is no such statement");
    return -1;
}

static bool parse_dep(struct bf_reader *r, struct bf_poly *poly, struct bf_poly_kernel *kernel) {
    struct bf_dep dep = {.from = find_stmt(r, kernel)};
    if (r->failed)
        return false;
    dep.to = find_stmt(r, kernel);
    if (r->failed || !(dep.array = bf_reader_string(r)))
        return false;
    dep.map = parse_map(r, poly);
    *bf_push(&kernel->deps) = dep;
    return dep.map != NULL;
}

static bool parse_uses(struct bf_reader *r, struct bf_poly *poly, struct bf_poly_kernel *kernel) {
    struct bf_kernel_param param = {.role = bf_reader_word(r, "", "a role")};
    if (!param.role || !bf_view_parse(r, poly, &param.view))
        return false;
    *bf_push(&kernel->params) = param;
    return true;
}

static bool parse_kernel(struct bf_reader *r, struct bf_poly *poly) {
    const char *name = bf_reader_word(r, "", "a kernel");
    int kind = name ? word_of(r, bf_kernel_words, BF_WORDS(bf_kernel_words), "a kind") : -1;
    const char *what = kind < 0 ? NULL : bf_reader_string(r);
    if (!what || !bf_reader_expect(r, "lanes") || !bf_reader_expect(r, "="))
        return false;
    int lanes = word_of(r, bf_lane_words, BF_WORDS(bf_lane_words), "rows or cols");
    if (lanes < 0)
        return false;
    struct bf_poly_kernel *kernel = bf_poly_add_kernel(poly, (enum bf_kernel_kind)kind);
    kernel->name = name;
    kernel->what = what;
    kernel->lanes = (enum bf_lane_axis)lanes;
    return bf_header_parse_loc(r, &poly->header, &kernel->loc);
}

/* A line inside a kernel. */
static bool parse_part(struct bf_reader *r, struct bf_poly *poly, struct bf_poly_kernel *kernel,
                       bool *known) {
    struct bf_operand operand = {0};
    *known = true;
    if (bf_reader_accept(r, "in") || bf_reader_accept(r, "out")) {
        bool input = r->at[-1] == 'n';
        if (!bf_operand_parse(r, poly, &operand))
            return false;
        if (input)
            *bf_push(&kernel->inputs) = operand;
        else
            *bf_push(&kernel->outputs) = operand;
        return true;
    }
    if (bf_reader_accept(r, "uses"))
        return parse_uses(r, poly, kernel);
    if (bf_reader_accept(r, "attrs"))
        return bf_ints_parse(r, &kernel->attrs);
    if (bf_reader_accept(r, "digit"))
        return parse_digit(r, kernel);
    if (bf_reader_accept(r, "step"))
        return parse_step(r, poly, kernel);
    if (bf_reader_accept(r, "stmt"))
        return parse_stmt(r, poly, kernel);
    if (bf_reader_accept(r, "read"))
        return parse_access(r, poly, kernel, BF_READ);
    if (bf_reader_accept(r, "write"))
        return parse_access(r, poly, kernel, BF_WRITE);
    if (bf_reader_accept(r, "dep"))
        return parse_dep(r, poly, kernel);
    *known = false;
    return true;
}

static bool parse_line(struct bf_reader *r, struct bf_poly *poly, bool *known) {
    *known = true;
    if (bf_reader_accept(r, "tensor"))
        return parse_tensor(r, poly);
    if (bf_reader_accept(r, "param"))
        return parse_param(r, poly);
    if (bf_reader_accept(r, "buffer"))
        return parse_buffer(r, poly);
    if (bf_reader_accept(r, "kernel"))
        return parse_kernel(r, poly);
    *known = false;
    if (!poly->kernels.count)
        return true;
    return parse_part(r, poly, poly->kernels.data[poly->kernels.count - 1], known);
}

bool bf_poly_parse_body(struct bf_reader *r, struct bf_poly *poly) {
    if (!bf_reader_expect(r, "network") || !(poly->name = bf_reader_string(r)) ||
        !bf_reader_next_line(r))
        return false;
    bool known = true;
    while (!bf_reader_at_end(r) && known) {
        if (!parse_line(r, poly, &known))
            return false;
        if (known && !bf_reader_next_line(r))
            break; /* the end of the text, or an error */
    }
    return !r->failed;
}

struct bf_poly *bf_poly_parse(const char *text, size_t size, uint32_t file,
                              struct bf_diags *diags) {
    struct bf_poly *poly = bf_poly_create("");
    struct bf_reader reader;
    bf_reader_init(&reader, text, size, file, diags, &poly->arena);
    bool ok = bf_header_parse(&reader, "poly", &poly->header) && bf_poly_parse_body(&reader, poly);
    if (ok && !bf_reader_at_end(&reader))
        ok = bf_reader_error(&reader, "expected a line of a poly text");
    if (ok && bf_poly_verify(poly, diags))
        return poly;
    bf_poly_free(poly);
    return NULL;
}
