/* ast.c - nodes of the syntax tree. */
#include "frontend/ast.h"

const char *ast_operator_text(enum ast_operator op) {
    static const char *const texts[] = {
        [AST_OR] = "||",       [AST_AND] = "&&",           [AST_EQUAL] = "==",
        [AST_UNEQUAL] = "!=",  [AST_LESS] = "<",           [AST_LESS_EQUAL] = "<=",
        [AST_GREATER] = ">",   [AST_GREATER_EQUAL] = ">=", [AST_ADD] = "+",
        [AST_SUBTRACT] = "-",  [AST_MULTIPLY] = "*",       [AST_DIVIDE] = "/",
        [AST_REMAINDER] = "%", [AST_NEGATE] = "-",         [AST_NOT] = "!",
    };
    return texts[op];
}

struct ast_span ast_join(struct ast_span first, struct ast_span last) {
    return (struct ast_span){first.file, first.begin, last.end};
}

struct ast_expr *ast_expr_new(struct bf_arena *arena, enum ast_expr_kind kind,
                              struct ast_span span) {
    struct ast_expr *expr = bf_arena_alloc(arena, sizeof *expr);
    expr->kind = kind;
    expr->span = span;
    expr->depth = 1;
    return expr;
}

struct ast_expr *ast_binary(struct bf_arena *arena, enum ast_operator op, struct ast_expr *left,
                            struct ast_expr *right) {
    struct ast_expr *expr = ast_expr_new(arena, AST_BINARY, ast_join(left->span, right->span));
    expr->op = op;
    expr->left = left;
    expr->right = right;
    return expr;
}

struct ast_stmt *ast_stmt_new(struct bf_arena *arena, enum ast_stmt_kind kind,
                              struct ast_span span) {
    struct ast_stmt *stmt = bf_arena_alloc(arena, sizeof *stmt);
    stmt->kind = kind;
    stmt->span = span;
    stmt->depth = 1;
    return stmt;
}

static void deepen(unsigned *depth, const struct ast_expr *child) {
    if (child && child->depth >= *depth)
        *depth = child->depth + 1;
}

static void deepen_by_items(unsigned *depth, const struct ast_item *items) {
    for (; items; items = items->next)
        deepen(depth, items->value);
}

bool ast_expr_close(struct ast_expr *expr) {
    deepen(&expr->depth, expr->left);
    deepen(&expr->depth, expr->right);
    deepen_by_items(&expr->depth, expr->items);
    for (const struct ast_arg *a = expr->args; a; a = a->next)
        deepen(&expr->depth, a->value);
    for (const struct ast_index *i = expr->indices; i; i = i->next) {
        deepen(&expr->depth, i->low);
        deepen(&expr->depth, i->high);
    }
    return expr->depth <= AST_MAX_DEPTH;
}

static void deepen_by_body(unsigned *depth, const struct ast_stmt *body) {
    for (; body; body = body->next)
        if (body->depth >= *depth)
            *depth = body->depth + 1;
}

bool ast_stmt_close(struct ast_stmt *stmt) {
    deepen(&stmt->depth, stmt->value);
    deepen(&stmt->depth, stmt->high);
    deepen_by_items(&stmt->depth, stmt->items);
    deepen_by_body(&stmt->depth, stmt->body);
    deepen_by_body(&stmt->depth, stmt->else_body);
    return stmt->depth <= AST_MAX_DEPTH;
}
