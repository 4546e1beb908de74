/* ast.h - the syntax tree of a .bfly file.
 *
 * Everything lives in one arena and is freed with it. Trees are immutable once parsed. Lists keep
 * source order. Nodes carry a span (file and byte range), which becomes line and column only when
 * a message or a net operator needs it.
 */
#ifndef BF_FRONTEND_AST_H
#define BF_FRONTEND_AST_H

#include "ir/isa/base.h"

/* Bytes [begin, end) of source `file` (index into struct bf_sources). */
struct ast_span {
    uint32_t file, begin, end;
};

struct ast_name {
    const char *text;
    struct ast_span span;
};

enum ast_expr_kind {
    AST_INT,
    AST_FLOAT,
    AST_BOOL,
    AST_STRING,
    AST_NAME,     /* name */
    AST_LIST,     /* items: [a, b] */
    AST_UNARY,    /* op left */
    AST_BINARY,   /* left op right */
    AST_CALL,     /* name(args) */
    AST_INDEX,    /* left[indices] */
    AST_LABELLED, /* left: right, where left is the label as written and right a call */
    AST_BAD,      /* stands where the parser recovered; an error was reported */
};

enum ast_operator {
    AST_OR,
    AST_AND,
    AST_EQUAL,
    AST_UNEQUAL,
    AST_LESS,
    AST_LESS_EQUAL,
    AST_GREATER,
    AST_GREATER_EQUAL,
    AST_ADD,
    AST_SUBTRACT,
    AST_MULTIPLY,
    AST_DIVIDE,
    AST_REMAINDER,
    AST_NEGATE,
    AST_NOT,
};

/* The operator as written: "+", "&&". */
const char *ast_operator_text(enum ast_operator op);

/* An argument of a call. `name` is NULL for a positional one. */
struct ast_arg {
    struct ast_arg *next;
    const char *name;
    struct ast_span span;
    struct ast_expr *value;
};

/* One index of x[...]. A range has `range` set and may lack either end. */
struct ast_index {
    struct ast_index *next;
    struct ast_span span;
    bool range;
    struct ast_expr *low, *high; /* an index alone is `low` */
};

struct ast_item {
    struct ast_item *next;
    struct ast_expr *value;
};

struct ast_expr {
    enum ast_expr_kind kind;
    enum ast_operator op;
    bool shared;    /* AST_LABELLED: `shared name: call` */
    unsigned depth; /* 1 for a leaf; at most AST_MAX_DEPTH */
    struct ast_span span;
    const char *text;          /* AST_NAME, AST_STRING (decoded), AST_CALL (the callee) */
    struct ast_span name_span; /* AST_CALL: the callee */
    int64_t integer;           /* AST_INT, AST_BOOL */
    double real;
    struct ast_expr *left, *right;
    struct ast_arg *args;
    struct ast_index *indices;
    struct ast_item *items;
};

enum ast_stmt_kind {
    AST_INPUT,    /* name: type[dims] */
    AST_OUTPUT,   /* name = value */
    AST_CONST,    /* name = value */
    AST_ASSIGN,   /* targets = value */
    AST_EVALUATE, /* value; only assert(...) is useful here */
    AST_IF,       /* value, then_body, else_body */
    AST_FOR,      /* name in value .. high, then_body */
    AST_RETURN,   /* items */
    AST_GROUP,    /* { body } */
};

struct ast_stmt {
    struct ast_stmt *next;
    enum ast_stmt_kind kind;
    unsigned depth;
    struct ast_span span;
    struct ast_name name;
    struct ast_name type;   /* AST_INPUT: f16 ... */
    struct ast_item *items; /* AST_INPUT: dimensions; AST_RETURN: values; AST_ASSIGN: targets */
    struct ast_expr *value, *high;
    struct ast_stmt *body, *else_body;
};

struct ast_param {
    struct ast_param *next;
    struct ast_name name;
    struct ast_expr *value; /* the default; NULL if there is none */
};

enum ast_decl_kind { AST_DECL_CONST, AST_DECL_BLOCK, AST_DECL_NETWORK };

struct ast_decl {
    struct ast_decl *next;
    enum ast_decl_kind kind;
    struct ast_name name;
    struct ast_param *params;
    struct ast_stmt *body;
    struct ast_expr *value; /* AST_DECL_CONST */
    size_t index;           /* among the declarations of all files */
};

struct ast_include {
    struct ast_include *next;
    bool shipped; /* <name> rather than "name" */
    const char *path;
    struct ast_span span;
};

/* What one file says. Includes are resolved by the caller. */
struct ast_file {
    struct ast_include *includes;
    struct ast_decl *decls;
};

/* Deepest tree that is accepted; every walk over the tree may recurse this far. */
#define AST_MAX_DEPTH 200

/* Joins two spans of one file. */
struct ast_span ast_join(struct ast_span first, struct ast_span last);

/* Constructors; `arena` owns the result. */
struct ast_expr *ast_expr_new(struct bf_arena *arena, enum ast_expr_kind kind,
                              struct ast_span span);
struct ast_expr *ast_binary(struct bf_arena *arena, enum ast_operator op, struct ast_expr *left,
                            struct ast_expr *right);
struct ast_stmt *ast_stmt_new(struct bf_arena *arena, enum ast_stmt_kind kind,
                              struct ast_span span);
/* Sets node->depth from the children; false when it passes AST_MAX_DEPTH. */
bool ast_expr_close(struct ast_expr *expr);
bool ast_stmt_close(struct ast_stmt *stmt);

#endif
