/* poly_share.c - kernels of one shape have the same statements: layers of a network are built and
 * proved once. What is shared holds no name of a buffer, so that equal means equal. */
#include "ir/poly.h"

static bool same_operand(const struct bf_operand *a, const struct bf_operand *b) {
    const struct bf_buffer *x = a->buffer, *y = b->buffer;
    return a->row == b->row && a->col == b->col && a->rows == b->rows && a->cols == b->cols &&
           x->samples == y->samples && x->rows == y->rows && x->cols == y->cols &&
           x->exponent == y->exponent && x->dtype == y->dtype;
}

static bool same_ints(const struct bf_ints *a, const struct bf_ints *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = !strcmp(a->data[i].name, b->data[i].name) && a->data[i].value == b->data[i].value;
    return same;
}

static bool same_param(const struct bf_kernel_param *a, const struct bf_kernel_param *b) {
    bool same = !strcmp(a->role, b->role) && a->view.rank == b->view.rank;
    for (unsigned i = 0; same && i < a->view.rank; i++)
        same = a->view.extent[i] == b->view.extent[i];
    return same;
}

static bool same_expr(const struct bf_expr *a, const struct bf_expr *b) {
    if (!a || !b)
        return a == b;
    return a->kind == b->kind && a->index == b->index &&
           !memcmp(&a->value, &b->value, sizeof a->value) && same_expr(a->a, b->a) &&
           same_expr(a->b, b->b) && same_expr(a->c, b->c);
}

bool bf_poly_same_shape(const struct bf_poly_kernel *a, const struct bf_poly_kernel *b) {
    if (a->kind != b->kind || a->lanes != b->lanes || a->inputs.count != b->inputs.count ||
        a->outputs.count != b->outputs.count || a->params.count != b->params.count ||
        a->steps.count != b->steps.count || !same_ints(&a->attrs, &b->attrs))
        return false;
    bool same = true;
    for (size_t i = 0; same && i < a->inputs.count; i++)
        same = same_operand(&a->inputs.data[i], &b->inputs.data[i]);
    for (size_t i = 0; same && i < a->outputs.count; i++)
        same = same_operand(&a->outputs.data[i], &b->outputs.data[i]);
    for (size_t i = 0; same && i < a->params.count; i++)
        same = same_param(&a->params.data[i], &b->params.data[i]);
    for (size_t i = 0; same && i < a->steps.count; i++)
        same = a->steps.data[i].kind == b->steps.data[i].kind &&
               a->steps.data[i].index == b->steps.data[i].index &&
               same_expr(a->steps.data[i].expr, b->steps.data[i].expr);
    return same;
}

static void copy_stmt(struct bf_poly_kernel *kernel, const struct bf_stmt *from) {
    struct bf_stmt *stmt = bf_push(&kernel->stmts);
    *stmt = *from;
    stmt->loc = kernel->loc;
    stmt->domain = isl_set_copy(from->domain);
    memset(&stmt->accesses, 0, sizeof stmt->accesses);
    for (size_t a = 0; a < from->accesses.count; a++) {
        struct bf_access *access = bf_push(&stmt->accesses);
        *access = from->accesses.data[a];
        access->map = isl_map_copy(access->map);
    }
}

/* Whether two buffers that are one here are one there: the names of boundary arrays say which. */
static bool same_aliases(const struct bf_poly_kernel *a, const struct bf_poly_kernel *b) {
    for (size_t i = 0; i < a->inputs.count; i++)
        for (size_t j = 0; j < i; j++)
            if ((a->inputs.data[i].buffer == a->inputs.data[j].buffer) !=
                (b->inputs.data[i].buffer == b->inputs.data[j].buffer))
                return false;
    return true;
}

bool bf_poly_share_structure(struct bf_poly *poly, struct bf_poly_kernel *kernel) {
    const struct bf_poly_kernel *like = NULL;
    for (unsigned k = 0; k < kernel->index && !like; k++) {
        const struct bf_poly_kernel *other = poly->kernels.data[k];
        if (other->stmts.count && bf_poly_same_shape(other, kernel) && same_aliases(other, kernel))
            like = other;
    }
    if (!like)
        return false;
    for (size_t d = 0; d < like->digits.count; d++)
        *bf_push(&kernel->digits) = like->digits.data[d];
    for (size_t s = 0; s < like->stmts.count; s++)
        copy_stmt(kernel, &like->stmts.data[s]);
    for (size_t d = 0; d < like->deps.count; d++) {
        struct bf_dep dep = like->deps.data[d];
        dep.map = isl_map_copy(dep.map);
        *bf_push(&kernel->deps) = dep;
    }
    kernel->shared = true;
    return true;
}
