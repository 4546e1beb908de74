#include "ir/poly.h"

#include <isl/options.h>
#include <stdlib.h>

struct bf_poly *bf_poly_create(const char *name) {
    struct bf_poly *poly = bf_alloc(sizeof *poly);
    poly->isl = isl_ctx_alloc();
    isl_options_set_on_error(poly->isl, ISL_ON_ERROR_CONTINUE);
    poly->name = bf_arena_strdup(&poly->arena, name);
    bf_header_init(&poly->header);
    return poly;
}

void bf_poly_drop_kernel(struct bf_poly_kernel *kernel) {
    for (size_t s = 0; s < kernel->stmts.count; s++) {
        struct bf_stmt *stmt = &kernel->stmts.data[s];
        isl_set_free(stmt->domain);
        for (size_t a = 0; a < stmt->accesses.count; a++)
            isl_map_free(stmt->accesses.data[a].map);
        free(stmt->accesses.data);
    }
    for (size_t d = 0; d < kernel->deps.count; d++)
        isl_map_free(kernel->deps.data[d].map);
    free(kernel->inputs.data);
    free(kernel->outputs.data);
    free(kernel->params.data);
    free(kernel->attrs.data);
    free(kernel->steps.data);
    free(kernel->digits.data);
    free(kernel->stmts.data);
    free(kernel->deps.data);
}

void bf_poly_free(struct bf_poly *poly) {
    if (!poly)
        return;
    for (size_t k = 0; k < poly->kernels.count; k++)
        bf_poly_drop_kernel(poly->kernels.data[k]);
    free(poly->kernels.data);
    free(poly->buffers.data);
    free(poly->params.data);
    free(poly->tensors.data);
    isl_ctx_free(poly->isl);
    bf_arena_free(&poly->arena);
    free(poly);
}

void bf_poly_set_header(struct bf_poly *poly, const struct bf_header *header) {
    poly->header = *header;
    poly->header.arch = bf_arena_strdup(&poly->arena, header->arch);
    poly->header.files =
        bf_arena_alloc(&poly->arena, header->file_count * sizeof *poly->header.files);
    for (size_t i = 0; i < header->file_count; i++)
        poly->header.files[i] = bf_arena_strdup(&poly->arena, header->files[i]);
}

struct bf_param *bf_poly_param(struct bf_poly *poly, const struct bf_param *param) {
    for (size_t i = 0; i < poly->params.count; i++)
        if (!strcmp(poly->params.data[i]->name, param->name))
            return poly->params.data[i];
    struct bf_param *own = bf_arena_alloc(&poly->arena, sizeof *own);
    *own = *param;
    own->name = bf_arena_strdup(&poly->arena, param->name);
    own->owner = bf_arena_strdup(&poly->arena, param->owner);
    own->index = (unsigned)poly->params.count;
    if (param->rotary) {
        struct bf_rotary *rotary = bf_arena_alloc(&poly->arena, sizeof *rotary);
        *rotary = *param->rotary;
        own->rotary = rotary;
    }
    *bf_push(&poly->params) = own;
    return own;
}

struct bf_param_view bf_poly_view(struct bf_poly *poly, const struct bf_param_view *view) {
    struct bf_param_view own = *view;
    own.param = bf_poly_param(poly, view->param);
    return own;
}

struct bf_buffer *bf_poly_add_buffer(struct bf_poly *poly, const char *name,
                                     enum bf_buffer_kind kind) {
    struct bf_buffer *buffer = bf_arena_alloc(&poly->arena, sizeof *buffer);
    buffer->name = bf_arena_strdup(&poly->arena, name);
    buffer->kind = kind;
    buffer->samples = buffer->rows = buffer->cols = 1;
    buffer->index = (unsigned)poly->buffers.count;
    *bf_push(&poly->buffers) = buffer;
    return buffer;
}

struct bf_buffer *bf_poly_find_buffer(const struct bf_poly *poly, const char *name) {
    for (size_t i = 0; i < poly->buffers.count; i++)
        if (!strcmp(poly->buffers.data[i]->name, name))
            return poly->buffers.data[i];
    return NULL;
}

struct bf_poly_kernel *bf_poly_add_kernel(struct bf_poly *poly, enum bf_kernel_kind kind) {
    struct bf_poly_kernel *kernel = bf_arena_alloc(&poly->arena, sizeof *kernel);
    kernel->index = (unsigned)poly->kernels.count;
    kernel->name = bf_arena_printf(&poly->arena, "k%u", kernel->index);
    kernel->what = "";
    kernel->kind = kind;
    *bf_push(&poly->kernels) = kernel;
    return kernel;
}

struct bf_operand bf_operand_whole(struct bf_buffer *buffer) {
    return (struct bf_operand){buffer, 0, 0, buffer->rows, buffer->cols};
}

bool bf_operand_inside(const struct bf_operand *operand) {
    const struct bf_buffer *buffer = operand->buffer;
    return operand->row >= 0 && operand->col >= 0 && operand->rows >= 1 && operand->cols >= 1 &&
           operand->rows <= buffer->rows - operand->row &&
           operand->cols <= buffer->cols - operand->col;
}

const struct bf_kernel_param *bf_kernel_find_param(const struct bf_poly_kernel *kernel,
                                                   const char *role) {
    for (size_t i = 0; i < kernel->params.count; i++)
        if (!strcmp(kernel->params.data[i].role, role))
            return &kernel->params.data[i];
    return NULL;
}

struct bf_expr *bf_expr_new(struct bf_poly *poly, enum bf_expr_kind kind, struct bf_expr *a,
                            struct bf_expr *b) {
    struct bf_expr *expr = bf_arena_alloc(&poly->arena, sizeof *expr);
    expr->kind = kind;
    expr->a = a;
    expr->b = b;
    return expr;
}

static struct bf_named_int *find_int(const struct bf_ints *ints, const char *name) {
    for (size_t i = 0; i < ints->count; i++)
        if (!strcmp(ints->data[i].name, name))
            return &ints->data[i];
    return NULL;
}

static _Thread_local struct bf_ints_guard *ints_guard;

void bf_ints_set_guard(struct bf_ints_guard *guard) {
    ints_guard = guard;
}

int64_t bf_ints_get(const struct bf_ints *ints, const char *name) {
    const struct bf_named_int *found = find_int(ints, name);
    if (found)
        return found->value;
    if (ints_guard) {
        snprintf(ints_guard->missing, sizeof ints_guard->missing, "%s", name);
        longjmp(ints_guard->target, 1);
    }
    fprintf(stderr, "bfcc: internal error: no number named '%s'\n", name);
    abort();
}

int64_t bf_ints_find(const struct bf_ints *ints, const char *name, int64_t missing) {
    const struct bf_named_int *found = find_int(ints, name);
    return found ? found->value : missing;
}

void bf_ints_set(struct bf_ints *ints, struct bf_arena *arena, const char *name, int64_t value) {
    struct bf_named_int *found = find_int(ints, name);
    if (!found) {
        found = bf_push(ints);
        found->name = bf_arena_strdup(arena, name);
    }
    found->value = value;
}
