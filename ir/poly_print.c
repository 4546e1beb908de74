/* poly_print.c - the text of a poly. Lines of words; an isl object is the rest of its line. */
#include <inttypes.h>
#include <stdlib.h>

#include "ir/poly.h"
#include "ir/poly_names.h"

static void add_loc(const struct bf_poly *poly, struct bf_loc loc, struct bf_text *text) {
    if (loc.line)
        bf_text_add(text, " ");
    bf_header_print_loc(&poly->header, loc, text);
    bf_text_add(text, "\n");
}

void bf_view_print(const struct bf_param_view *view, struct bf_text *text) {
    bf_text_add_quoted(text, view->param->name);
    bf_text_add(text, "[");
    for (unsigned a = 0; a < view->rank; a++)
        bf_text_printf(text, "%s%" PRId64 ":%" PRId64, a ? "," : "", view->begin[a],
                       view->extent[a]);
    bf_text_add(text, "]");
}

static void print_tables(const struct bf_poly *poly, struct bf_text *text) {
    for (size_t i = 0; i < poly->tensors.count; i++) {
        const struct bf_poly_tensor *tensor = &poly->tensors.data[i];
        bf_text_printf(text, "tensor %s ", tensor->output ? "output" : "input");
        bf_text_add_quoted(text, tensor->name);
        bf_text_add(text, " ");
        bf_type_print(&tensor->type, text);
        bf_text_add(text, "\n");
    }
    for (size_t i = 0; i < poly->params.count; i++) {
        const struct bf_param *param = poly->params.data[i];
        bf_text_add(text, "param ");
        bf_text_add_quoted(text, param->name);
        bf_text_add(text, " ");
        bf_type_print(&param->type, text);
        if (param->rotary) {
            bf_text_add(text, param->rotary->interleaved ? " interleaved base=" : " rotary base=");
            bf_text_add_double(text, param->rotary->base);
        }
        bf_text_add(text, " owner ");
        bf_text_add_quoted(text, param->owner);
        add_loc(poly, param->loc, text);
    }
}

static void print_buffer(const struct bf_poly *poly, const struct bf_buffer *buffer,
                         struct bf_text *text) {
    bf_text_add(text, "buffer ");
    bf_text_add_quoted(text, buffer->name);
    bf_text_printf(text, " %s %s samples=%" PRId64 " rows=%" PRId64 " cols=%" PRId64 " exponent=%d",
                   bf_buffer_words[buffer->kind], bf_dtype_name(buffer->dtype), buffer->samples,
                   buffer->rows, buffer->cols, buffer->exponent);
    if (buffer->tensor) {
        bf_text_add(text, " tensor=");
        bf_text_add_quoted(text, buffer->tensor);
        bf_text_printf(text, "+%" PRId64, buffer->origin);
    }
    if (buffer->in_dram)
        bf_text_add(text, " in_dram");
    if (buffer->view.param) {
        bf_text_add(text, " view=");
        bf_view_print(&buffer->view, text);
    }
    add_loc(poly, buffer->loc, text);
}

void bf_operand_print(const struct bf_operand *operand, const char *word, struct bf_text *text) {
    bf_text_printf(text, "  %s ", word);
    bf_text_add_quoted(text, operand->buffer->name);
    bf_text_printf(text, "[%" PRId64 "+%" PRId64 ",%" PRId64 "+%" PRId64 "]\n", operand->row,
                   operand->rows, operand->col, operand->cols);
}

void bf_ints_print(const struct bf_ints *ints, const char *word, struct bf_text *text) {
    if (!ints->count)
        return;
    bf_text_printf(text, "  %s", word);
    for (size_t i = 0; i < ints->count; i++)
        bf_text_printf(text, " %s=%" PRId64, ints->data[i].name, ints->data[i].value);
    bf_text_add(text, "\n");
}

/* (add (arg 0) (const 0.5)) */
static void print_expr(const struct bf_expr *expr, struct bf_text *text) {
    bf_text_printf(text, "(%s", bf_expr_words[expr->kind]);
    if (expr->kind == BF_EXPR_CONST) {
        bf_text_add(text, " ");
        bf_text_add_double(text, expr->value);
    } else if (expr->kind <= BF_EXPR_ROW || expr->kind == BF_EXPR_SHIFT) {
        bf_text_printf(text, " %d", expr->index);
    }
    const struct bf_expr *const operands[] = {expr->a, expr->b, expr->c};
    for (int i = 0; i < 3 && operands[i]; i++) {
        bf_text_add(text, " ");
        print_expr(operands[i], text);
    }
    bf_text_add(text, ")");
}

static void print_isl(struct bf_text *text, char *string) {
    bf_text_printf(text, " %s\n", string ? string : "{ }");
    free(string);
}

static void print_stmt(const struct bf_poly *poly, const struct bf_poly_kernel *kernel,
                       const struct bf_stmt *stmt, struct bf_text *text) {
    bf_text_printf(text, "  stmt %s %s digit=%s block=%d stage=%d shift=%d step=%d", stmt->name,
                   bf_stmt_words[stmt->kind],
                   stmt->digit < 0 ? "none" : kernel->digits.data[stmt->digit].name, stmt->block,
                   stmt->stage, stmt->shift, stmt->step);
    add_loc(poly, stmt->loc, text);
    bf_text_add(text, "    domain");
    print_isl(text, isl_set_to_str(stmt->domain));
    for (size_t a = 0; a < stmt->accesses.count; a++) {
        const struct bf_access *access = &stmt->accesses.data[a];
        bf_text_printf(text, "    %s ", bf_role_words[access->role]);
        bf_text_add_quoted(text, access->array);
        bf_text_printf(text, " %d", access->operand);
        print_isl(text, isl_map_to_str(access->map));
    }
}

static void print_kernel(const struct bf_poly *poly, const struct bf_poly_kernel *kernel,
                         struct bf_text *text) {
    bf_text_printf(text, "kernel %s %s ", kernel->name, bf_kernel_words[kernel->kind]);
    bf_text_add_quoted(text, kernel->what);
    bf_text_printf(text, " lanes=%s", bf_lane_words[kernel->lanes]);
    add_loc(poly, kernel->loc, text);
    for (size_t i = 0; i < kernel->inputs.count; i++)
        bf_operand_print(&kernel->inputs.data[i], "in", text);
    for (size_t i = 0; i < kernel->outputs.count; i++)
        bf_operand_print(&kernel->outputs.data[i], "out", text);
    for (size_t i = 0; i < kernel->params.count; i++) {
        bf_text_printf(text, "  uses %s ", kernel->params.data[i].role);
        bf_view_print(&kernel->params.data[i].view, text);
        bf_text_add(text, "\n");
    }
    bf_ints_print(&kernel->attrs, "attrs", text);
    for (size_t i = 0; i < kernel->digits.count; i++) {
        const struct bf_digit *digit = &kernel->digits.data[i];
        bf_text_printf(text, "  digit %s radix=%" PRId64 " weight=%" PRId64 " out=%" PRId64 "\n",
                       digit->name, digit->radix, digit->weight, digit->out_weight);
    }
    for (size_t i = 0; i < kernel->steps.count; i++) {
        const struct bf_step *step = &kernel->steps.data[i];
        bf_text_printf(text, "  step %s %d ", bf_step_words[step->kind], step->index);
        print_expr(step->expr, text);
        bf_text_add(text, "\n");
    }
    for (size_t i = 0; i < kernel->stmts.count; i++)
        print_stmt(poly, kernel, &kernel->stmts.data[i], text);
    for (size_t i = 0; i < kernel->deps.count; i++) {
        const struct bf_dep *dep = &kernel->deps.data[i];
        bf_text_printf(text, "  dep %s %s ", kernel->stmts.data[dep->from].name,
                       kernel->stmts.data[dep->to].name);
        bf_text_add_quoted(text, dep->array);
        print_isl(text, isl_map_to_str(dep->map));
    }
}

void bf_poly_print_body(const struct bf_poly *poly, struct bf_text *text) {
    bf_text_add(text, "network ");
    bf_text_add_quoted(text, poly->name);
    bf_text_add(text, "\n");
    print_tables(poly, text);
    for (size_t b = 0; b < poly->buffers.count; b++)
        print_buffer(poly, poly->buffers.data[b], text);
    for (size_t k = 0; k < poly->kernels.count; k++)
        print_kernel(poly, poly->kernels.data[k], text);
}

void bf_poly_print(const struct bf_poly *poly, struct bf_text *text) {
    bf_header_print(&poly->header, "poly", text);
    bf_poly_print_body(poly, text);
}
