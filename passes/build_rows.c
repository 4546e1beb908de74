/* build_rows.c - the polyhedral kernel of pointwise and row operators.
 *
 *   digits  s (sample), t (row), c (column); with heads: c (pair of a head), g (head)
 *   Rk      reduction or row scalar of step k: one element a row (a column, with lanes along
 * columns) Pk      parameter vector k, along the columns
 *
 * A reduction is one instance a row that reads the whole row: its order is that of the columns.
 */
#include "passes/build.h"

#include <stdio.h>

enum { S = 1, T = 2, C = 4, G = 8 };

static void add_digit(const struct bf_build *build, struct bf_poly_kernel *kernel, const char *name,
                      int64_t radix, int64_t weight) {
    *bf_push(&kernel->digits) =
        (struct bf_digit){bf_arena_strdup(&build->poly->arena, name), radix, weight, weight};
}

/* Digits of an operand's columns; one no wider than a head has the same for every head. */
static uint64_t columns_of(const struct bf_poly_kernel *kernel, const struct bf_operand *operand) {
    uint64_t digits = operand->cols > 1 ? C : 0;
    if (operand->cols > bf_ints_find(&kernel->attrs, "head", INT64_MAX))
        digits |= G;
    return digits;
}

static void read_input(const struct bf_build *build, struct bf_poly_kernel *kernel,
                       struct bf_stmt *stmt, int index) {
    const struct bf_operand *operand = &kernel->inputs.data[index];
    uint64_t rows = operand->rows > 1 ? T : 0, cols = columns_of(kernel, operand);
    if (bf_ints_find(&kernel->attrs, "mask", -1) == index) {
        rows = 0;
        cols = operand->cols > 1 ? T : 0;
    }
    bf_poly_add_boundary(build->poly, kernel, stmt, BF_READ, operand,
                         operand->buffer->samples > 1 ? 0 : -1, rows, cols);
}

/* Accesses of every leaf, each once. */
struct leaves {
    uint64_t inputs, params, rows;
};

static void find_leaves(const struct bf_expr *expr, struct leaves *leaves) {
    if (!expr)
        return;
    if (expr->kind == BF_EXPR_ARG)
        leaves->inputs |= UINT64_C(1) << expr->index;
    else if (expr->kind == BF_EXPR_PARAM)
        leaves->params |= UINT64_C(1) << expr->index;
    else if (expr->kind == BF_EXPR_ROW)
        leaves->rows |= UINT64_C(1) << expr->index;
    find_leaves(expr->a, leaves);
    find_leaves(expr->b, leaves);
    find_leaves(expr->c, leaves);
}

static void array_access(const struct bf_build *build, struct bf_poly_kernel *kernel,
                         struct bf_stmt *stmt, enum bf_role role, const char *letter, int index,
                         uint64_t mask) {
    char array[24];
    snprintf(array, sizeof array, "%s%d", letter, index);
    bf_poly_add_access(build->poly, kernel, stmt, role, array, mask, 0, -1, 0);
}

static void write_output(const struct bf_build *build, struct bf_poly_kernel *kernel,
                         struct bf_stmt *stmt, int index) {
    const struct bf_operand *out = &kernel->outputs.data[index];
    uint64_t rows = out->rows > 1 ? T : 0, cols = columns_of(kernel, out);
    bool rowmap = kernel->steps.data[stmt->step].kind == BF_STEP_ROWMAP;
    if (rowmap && kernel->lanes == BF_LANES_ROWS) { /* [s, 1], or [s] written along its columns */
        rows = out->rows > 1 ? T : 0;
        cols = out->cols > 1 ? T : 0;
    }
    bf_poly_add_boundary(build->poly, kernel, stmt, BF_WRITE, out,
                         out->buffer->samples > 1 ? 0 : -1, rows, cols);
}

static void add_step(const struct bf_build *build, struct bf_poly_kernel *kernel, int index) {
    static const char letters[] = {
        [BF_STEP_SUM] = 'A', [BF_STEP_MAX] = 'M',    [BF_STEP_ROW] = 'V',
        [BF_STEP_MAP] = 'E', [BF_STEP_ROWMAP] = 'O',
    };
    static const enum bf_stmt_kind kinds[] = {
        [BF_STEP_SUM] = BF_STMT_REDUCE, [BF_STEP_MAX] = BF_STMT_REDUCE, [BF_STEP_ROW] = BF_STMT_ROW,
        [BF_STEP_MAP] = BF_STMT_POINT,  [BF_STEP_ROWMAP] = BF_STMT_ROW,
    };
    const struct bf_step *step = &kernel->steps.data[index];
    uint64_t row = kernel->lanes == BF_LANES_ROWS ? S | T : S | C;
    uint64_t heads = kernel->digits.count > 3 ? G : 0;
    uint64_t domain = step->kind == BF_STEP_MAP ? S | T | C | heads : row;
    const char *name = bf_arena_printf(&build->poly->arena, "%c%d", letters[step->kind], index);
    struct bf_stmt *stmt = bf_poly_add_stmt(build->poly, kernel, name, kinds[step->kind], domain);
    stmt->step = index;
    struct leaves leaves = {0};
    find_leaves(step->expr, &leaves);
    for (int i = 0; i < 64; i++) {
        if (leaves.inputs >> i & 1)
            read_input(build, kernel, stmt, i);
        if (leaves.params >> i & 1)
            array_access(build, kernel, stmt, BF_READ, "P", i, C);
        if (leaves.rows >> i & 1)
            array_access(build, kernel, stmt, BF_READ, "R", i, row);
    }
    if (step->kind == BF_STEP_MAP || step->kind == BF_STEP_ROWMAP)
        write_output(build, kernel, stmt, step->index);
    else
        array_access(build, kernel, stmt, BF_WRITE, "R", index, row);
}

/* The extent of the kernel's rectangle: the largest of its operands. A mask runs along the rows. */
static void find_shape(const struct bf_poly_kernel *kernel, int64_t *samples, int64_t *rows,
                       int64_t *cols) {
    int64_t mask = bf_ints_find(&kernel->attrs, "mask", -1);
    *samples = *rows = *cols = 1;
    for (size_t i = 0; i < kernel->inputs.count + kernel->outputs.count; i++) {
        const struct bf_operand *operand = i < kernel->inputs.count
                                               ? &kernel->inputs.data[i]
                                               : &kernel->outputs.data[i - kernel->inputs.count];
        bool rowmap = false;
        for (size_t s = 0; s < kernel->steps.count && i >= kernel->inputs.count; s++)
            rowmap |= kernel->steps.data[s].kind == BF_STEP_ROWMAP &&
                      (size_t)kernel->steps.data[s].index == i - kernel->inputs.count;
        if (operand->buffer->samples > *samples)
            *samples = operand->buffer->samples;
        if ((int64_t)i == mask || rowmap)
            continue;
        *rows = operand->rows > *rows ? operand->rows : *rows;
        *cols = operand->cols > *cols ? operand->cols : *cols;
    }
}

void bf_build_rows(const struct bf_build *build, struct bf_poly_kernel *kernel) {
    int64_t samples, rows, cols;
    kernel->what = bf_arena_strdup(&build->poly->arena, build->what);
    kernel->loc = build->loc;
    if (bf_poly_share_structure(build->poly, kernel))
        return;
    find_shape(kernel, &samples, &rows, &cols);
    int64_t heads = bf_ints_find(&kernel->attrs, "heads", 1);
    int64_t head = bf_ints_find(&kernel->attrs, "head", 0);
    add_digit(build, kernel, "s", samples, 1);
    add_digit(build, kernel, "t", rows, 1);
    add_digit(build, kernel, "c", head ? head / 2 : cols, bf_ints_find(&kernel->attrs, "step", 1));
    if (heads > 1)
        add_digit(build, kernel, "g", heads, head);
    for (size_t i = 0; i < kernel->steps.count; i++)
        add_step(build, kernel, (int)i);
    bf_poly_compute_deps(build->poly, kernel);
}
