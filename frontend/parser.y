/* parser.y - the grammar of .bfly.
 *
 * What a grammar can only say with conflicts is accepted here in a wider form and checked by
 * names.c: a label is any postfix expression before ':', an assignment's target any expression.
 * After an error the parser goes on behind the next ';' or '}' (statements) or ')' (arguments), so
 * that one run reports many.
 */
%code requires {
#include "frontend/parse.h"

struct fe_items { struct ast_item *head, *tail; };
struct fe_args { struct ast_arg *head, *tail; };
struct fe_indices { struct ast_index *head, *tail; };
struct fe_stmts { struct ast_stmt *head, *tail; };
struct fe_params { struct ast_param *head, *tail; };
}

%code provides {
/* The names by which the scanner knows the types of a token's value and place. */
#define YYSTYPE FE_YYSTYPE
#define YYLTYPE FE_YYLTYPE
}

%define api.prefix {fe_yy}
%define api.pure full
%define api.location.type {struct ast_span}
%define parse.error custom
%define parse.lac full
%locations
%param {void *scanner}
%parse-param {struct fe_parse *parse}

%union {
    const char *string;
    int64_t integer;
    double real;
    struct ast_expr *expr;
    struct ast_item *item;
    struct ast_arg *arg;
    struct ast_index *index;
    struct ast_stmt *stmt;
    struct ast_param *param;
    struct fe_items items;
    struct fe_args args;
    struct fe_indices indices;
    struct fe_stmts stmts;
    struct fe_params params;
}

%code {
#include "frontend/lexer.h"

#define YYLLOC_DEFAULT(result, rhs, count)                                                         \
    ((result) = (count) ? ast_join(YYRHSLOC(rhs, 1), YYRHSLOC(rhs, count))                         \
                        : (struct ast_span){YYRHSLOC(rhs, 0).file, YYRHSLOC(rhs, 0).end,           \
                                            YYRHSLOC(rhs, 0).end})

#define APPEND(list, node)                                                                         \
    do {                                                                                           \
        if ((list).tail)                                                                           \
            (list).tail->next = (node);                                                            \
        else                                                                                       \
            (list).head = (node);                                                                  \
        (list).tail = (node);                                                                      \
    } while (0)

static void fe_yyerror(struct ast_span *span, void *scanner, struct fe_parse *parse,
                       const char *message);

static struct ast_expr *leaf(struct fe_parse *parse, enum ast_expr_kind kind,
                             struct ast_span span) {
    return ast_expr_new(parse->arena, kind, span);
}

static struct ast_expr *named(struct fe_parse *parse, enum ast_expr_kind kind,
                              struct ast_span span, const char *text) {
    struct ast_expr *expr = leaf(parse, kind, span);
    expr->text = text;
    return expr;
}

/* Checks the depth of a finished node. */
static struct ast_expr *closed(struct fe_parse *parse, struct ast_expr *expr) {
    if (!ast_expr_close(expr))
        fe_parse_too_deep(parse, expr->span);
    return expr;
}

static struct ast_expr *binary(struct fe_parse *parse, enum ast_operator op,
                               struct ast_expr *left, struct ast_expr *right) {
    return closed(parse, ast_binary(parse->arena, op, left, right));
}

static struct ast_expr *unary(struct fe_parse *parse, enum ast_operator op, struct ast_span span,
                              struct ast_expr *operand) {
    struct ast_expr *expr = leaf(parse, AST_UNARY, span);
    expr->op = op;
    expr->left = operand;
    return closed(parse, expr);
}

static struct ast_expr *labelled(struct fe_parse *parse, struct ast_span span, bool shared,
                                 struct ast_expr *label, struct ast_expr *call) {
    struct ast_expr *expr = leaf(parse, AST_LABELLED, span);
    expr->shared = shared;
    expr->left = label;
    expr->right = call;
    return closed(parse, expr);
}

static struct ast_expr *call(struct fe_parse *parse, struct ast_span span, const char *callee,
                             struct ast_span callee_span, struct ast_arg *args) {
    struct ast_expr *expr = named(parse, AST_CALL, span, callee);
    expr->name_span = callee_span;
    expr->args = args;
    return closed(parse, expr);
}

static struct ast_item *item(struct fe_parse *parse, struct ast_expr *value) {
    struct ast_item *new_item = bf_arena_alloc(parse->arena, sizeof *new_item);
    new_item->value = value;
    return new_item;
}

static struct ast_arg *argument(struct fe_parse *parse, struct ast_span span, const char *name,
                                struct ast_expr *value) {
    struct ast_arg *arg = bf_arena_alloc(parse->arena, sizeof *arg);
    *arg = (struct ast_arg){NULL, name, span, value};
    return arg;
}

static struct ast_index *index_of(struct fe_parse *parse, struct ast_span span, bool range,
                                  struct ast_expr *low, struct ast_expr *high) {
    struct ast_index *index = bf_arena_alloc(parse->arena, sizeof *index);
    *index = (struct ast_index){NULL, span, range, low, high};
    return index;
}

static struct ast_stmt *statement(struct fe_parse *parse, enum ast_stmt_kind kind,
                                  struct ast_span span) {
    return ast_stmt_new(parse->arena, kind, span);
}

static struct ast_stmt *finished(struct fe_parse *parse, struct ast_stmt *stmt) {
    if (!ast_stmt_close(stmt))
        fe_parse_too_deep(parse, stmt->span);
    return stmt;
}

static struct ast_name name_of(const char *text, struct ast_span span) {
    return (struct ast_name){text, span};
}

static void declare(struct fe_parse *parse, enum ast_decl_kind kind, struct ast_name name,
                    struct ast_param *params, struct ast_stmt *body, struct ast_expr *value) {
    struct ast_decl *decl = bf_arena_alloc(parse->arena, sizeof *decl);
    decl->kind = kind;
    decl->name = name;
    decl->params = params;
    decl->body = body;
    decl->value = value;
    *parse->decl_tail = decl;
    parse->decl_tail = &decl->next;
}

static void include(struct fe_parse *parse, const char *path, bool shipped, struct ast_span span) {
    struct ast_include *node = bf_arena_alloc(parse->arena, sizeof *node);
    *node = (struct ast_include){NULL, shipped, path, span};
    *parse->include_tail = node;
    parse->include_tail = &node->next;
}
}

%token INCLUDE_WORD "'include'" CONST "'const'" BLOCK "'block'" NETWORK "'network'"
%token INPUT "'input'" OUTPUT "'output'" IF "'if'" ELSE "'else'" FOR "'for'" IN "'in'"
%token RETURN "'return'" SHARED "'shared'" TRUE "'true'" FALSE "'false'"
%token DOTS "'..'" OR "'||'" AND "'&&'" EQUAL "'=='" UNEQUAL "'!='" AT_MOST "'<='"
%token AT_LEAST "'>='"
%token <string> NAME "a name" STRING "a string" SHIPPED "<file>"
%token <integer> INT "an integer"
%token <real> FLOAT "a number"

%type <expr> expr and_expr equality comparison sum product unary postfix primary call
%type <items> exprs dimensions
%type <args> args some_args
%type <arg> arg
%type <indices> indices
%type <index> index
%type <stmt> stmt
%type <stmts> stmts
%type <stmts> body
%type <params> params some_params
%type <param> param

/* `else` belongs to the nearest `if`. */
%precedence THEN
%precedence ELSE

%%
file: decls

decls: %empty | decls decl

decl: INCLUDE_WORD SHIPPED ';'                 { include(parse, $2, true, @2); }
    | INCLUDE_WORD STRING ';'                  { include(parse, $2, false, @2); }
    | CONST NAME '=' expr ';' {
        declare(parse, AST_DECL_CONST, name_of($2, @2), NULL, NULL, $4);
      }
    | BLOCK NAME '(' params ')' body {
        declare(parse, AST_DECL_BLOCK, name_of($2, @2), $4.head, $6.head, NULL);
      }
    | NETWORK NAME '(' params ')' body {
        declare(parse, AST_DECL_NETWORK, name_of($2, @2), $4.head, $6.head, NULL);
      }
    | error ';'
    | error '}'

params: %empty                                 { $$ = (struct fe_params){0}; }
    | some_params
    | some_params ','
    | error                                    { $$ = (struct fe_params){0}; }

some_params: param                             { $$ = (struct fe_params){$1, $1}; }
    | some_params ',' param                    { $$ = $1; APPEND($$, $3); }

param: NAME {
        $$ = bf_arena_alloc(parse->arena, sizeof *$$);
        $$->name = name_of($1, @1);
      }
    | NAME '=' expr {
        $$ = bf_arena_alloc(parse->arena, sizeof *$$);
        $$->name = name_of($1, @1);
        $$->value = $3;
      }

body: '{' stmts '}'                            { $$ = $2; }
    | '{' stmts error '}'                      { $$ = $2; }

stmts: %empty                                  { $$ = (struct fe_stmts){0}; }
    | stmts stmt                               { $$ = $1; if ($2) APPEND($$, $2); }

stmt: INPUT NAME ':' NAME dimensions ';' {
        $$ = statement(parse, AST_INPUT, @$);
        $$->name = name_of($2, @2);
        $$->type = name_of($4, @4);
        $$->items = $5.head;
        finished(parse, $$);
      }
    | OUTPUT NAME '=' expr ';' {
        $$ = statement(parse, AST_OUTPUT, @$);
        $$->name = name_of($2, @2);
        $$->value = $4;
        finished(parse, $$);
      }
    | CONST NAME '=' expr ';' {
        $$ = statement(parse, AST_CONST, @$);
        $$->name = name_of($2, @2);
        $$->value = $4;
        finished(parse, $$);
      }
    | expr '=' expr ';' {
        $$ = statement(parse, AST_ASSIGN, @$);
        $$->items = item(parse, $1);
        $$->value = $3;
        finished(parse, $$);
      }
    | '(' expr ',' exprs ')' '=' expr ';' {
        struct fe_items targets = {item(parse, $2), NULL};
        targets.head->next = $4.head;
        $$ = statement(parse, AST_ASSIGN, @$);
        $$->items = targets.head;
        $$->value = $7;
        finished(parse, $$);
      }
    | expr ';' {
        $$ = statement(parse, AST_EVALUATE, @$);
        $$->value = $1;
        finished(parse, $$);
      }
    | IF '(' expr ')' stmt %prec THEN {
        $$ = statement(parse, AST_IF, @$);
        $$->value = $3;
        $$->body = $5;
        finished(parse, $$);
      }
    | IF '(' expr ')' stmt ELSE stmt {
        $$ = statement(parse, AST_IF, @$);
        $$->value = $3;
        $$->body = $5;
        $$->else_body = $7;
        finished(parse, $$);
      }
    | FOR '(' NAME IN expr DOTS expr ')' stmt {
        $$ = statement(parse, AST_FOR, @$);
        $$->name = name_of($3, @3);
        $$->value = $5;
        $$->high = $7;
        $$->body = $9;
        finished(parse, $$);
      }
    | IF '(' error ')' stmt                    { $$ = NULL; }
    | FOR '(' error ')' stmt                   { $$ = NULL; }
    | RETURN exprs ';' {
        $$ = statement(parse, AST_RETURN, @$);
        $$->items = $2.head;
        finished(parse, $$);
      }
    | body {
        $$ = statement(parse, AST_GROUP, @$);
        $$->body = $1.head;
        finished(parse, $$);
      }
    | ';'                                      { $$ = NULL; }
    | error ';'                                { $$ = NULL; }

dimensions: %empty                             { $$ = (struct fe_items){0}; }
    | '[' exprs ']'                            { $$ = $2; }
    | '[' ']'                                  { $$ = (struct fe_items){0}; }

exprs: expr                                    { $$.head = $$.tail = item(parse, $1); }
    | exprs ',' expr {
        struct ast_item *next = item(parse, $3);
        $$ = $1;
        APPEND($$, next);
      }

expr: and_expr
    | expr OR and_expr                         { $$ = binary(parse, AST_OR, $1, $3); }

and_expr: equality
    | and_expr AND equality                    { $$ = binary(parse, AST_AND, $1, $3); }

equality: comparison
    | equality EQUAL comparison                { $$ = binary(parse, AST_EQUAL, $1, $3); }
    | equality UNEQUAL comparison              { $$ = binary(parse, AST_UNEQUAL, $1, $3); }

comparison: sum
    | comparison '<' sum                       { $$ = binary(parse, AST_LESS, $1, $3); }
    | comparison AT_MOST sum                   { $$ = binary(parse, AST_LESS_EQUAL, $1, $3); }
    | comparison '>' sum                       { $$ = binary(parse, AST_GREATER, $1, $3); }
    | comparison AT_LEAST sum                  { $$ = binary(parse, AST_GREATER_EQUAL, $1, $3); }

sum: product
    | sum '+' product                          { $$ = binary(parse, AST_ADD, $1, $3); }
    | sum '-' product                          { $$ = binary(parse, AST_SUBTRACT, $1, $3); }

product: unary
    | product '*' unary                        { $$ = binary(parse, AST_MULTIPLY, $1, $3); }
    | product '/' unary                        { $$ = binary(parse, AST_DIVIDE, $1, $3); }
    | product '%' unary                        { $$ = binary(parse, AST_REMAINDER, $1, $3); }

unary: postfix
    | postfix ':' call                         { $$ = labelled(parse, @$, false, $1, $3); }
    | SHARED postfix ':' call                  { $$ = labelled(parse, @$, true, $2, $4); }
    | '-' unary                                { $$ = unary(parse, AST_NEGATE, @$, $2); }
    | '!' unary                                { $$ = unary(parse, AST_NOT, @$, $2); }

postfix: primary
    | call
    | postfix '[' indices ']' {
        $$ = leaf(parse, AST_INDEX, @$);
        $$->left = $1;
        $$->indices = $3.head;
        closed(parse, $$);
      }

primary: INT                                   { $$ = leaf(parse, AST_INT, @$); $$->integer = $1; }
    | FLOAT                                    { $$ = leaf(parse, AST_FLOAT, @$); $$->real = $1; }
    | TRUE                                     { $$ = leaf(parse, AST_BOOL, @$); $$->integer = 1; }
    | FALSE                                    { $$ = leaf(parse, AST_BOOL, @$); }
    | STRING                                   { $$ = named(parse, AST_STRING, @$, $1); }
    | NAME                                     { $$ = named(parse, AST_NAME, @$, $1); }
    | '(' expr ')'                             { $$ = $2; }
    | '[' exprs ']' {
        $$ = leaf(parse, AST_LIST, @$);
        $$->items = $2.head;
        closed(parse, $$);
      }
    | '[' ']'                                  { $$ = leaf(parse, AST_LIST, @$); }

call: NAME '(' args ')'                        { $$ = call(parse, @$, $1, @1, $3.head); }
    | NAME '(' error ')'                       { $$ = leaf(parse, AST_BAD, @$); }

args: %empty                                   { $$ = (struct fe_args){0}; }
    | some_args
    | some_args ','

some_args: arg                                 { $$ = (struct fe_args){$1, $1}; }
    | some_args ',' arg                        { $$ = $1; APPEND($$, $3); }

arg: expr                                      { $$ = argument(parse, @$, NULL, $1); }
    | NAME '=' expr                            { $$ = argument(parse, @$, $1, $3); }

indices: index                                 { $$ = (struct fe_indices){$1, $1}; }
    | indices ',' index                        { $$ = $1; APPEND($$, $3); }

index: expr                                    { $$ = index_of(parse, @$, false, $1, NULL); }
    | expr DOTS expr                           { $$ = index_of(parse, @$, true, $1, $3); }
    | expr DOTS                                { $$ = index_of(parse, @$, true, $1, NULL); }
    | DOTS expr                                { $$ = index_of(parse, @$, true, NULL, $2); }
    | DOTS                                     { $$ = index_of(parse, @$, true, NULL, NULL); }
%%
/* Only for what is no syntax error: the parser's stack is full. */
static void fe_yyerror(struct ast_span *span, void *scanner, struct fe_parse *parse,
                       const char *message) {
    (void)scanner;
    (void)message;
    fe_parse_too_deep(parse, *span);
}

static int yyreport_syntax_error(const yypcontext_t *context, void *scanner,
                                 struct fe_parse *parse) {
    yysymbol_kind_t kinds[YYNTOKENS];
    const char *names[YYNTOKENS];
    int count = yypcontext_expected_tokens(context, kinds, YYNTOKENS);
    (void)scanner;
    for (int i = 0; i < count; i++)
        names[i] = yysymbol_name(kinds[i]);
    fe_parse_unexpected(parse, names, count);
    return 0;
}
