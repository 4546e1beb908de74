/* names.c - what can be said of every block without evaluating it, called or not: names that mean
 * nothing, names that nothing reads, statements out of place, blocks that call themselves. */
#include "frontend/library.h"
#include "frontend/sema.h"

#include <stdlib.h>

struct local {
    const char *name;
    struct ast_span span;
    const char *what; /* "parameter", "input"; NULL for an assigned name */
    bool used;
    bool quiet; /* no warning when unused: a loop variable */
};

struct edge {
    const struct ast_decl *callee;
    struct ast_span call;
};

struct checker {
    struct fe_sema *sema;
    const struct ast_decl *decl; /* NULL within a constant at the top of a file */
    struct {
        struct local *data;
        size_t count, capacity;
    } locals; /* of decl */
    struct {
        struct edge *data;
        size_t count, capacity;
    } edges;            /* decl by decl */
    size_t *first_edge; /* by declaration; one more at the end */
    bool returns;
    bool failed;
};

/* ---- finding names ---- */

struct ast_decl *fe_find_decl(const struct fe_sema *sema, const char *name) {
    for (size_t i = 0; i < sema->decls.count; i++) {
        struct ast_decl *decl = sema->decls.data[i];
        if (decl->kind != AST_DECL_CONST && !strcmp(decl->name.text, name))
            return decl;
    }
    return NULL;
}

struct fe_constant *fe_find_constant(struct fe_sema *sema, const char *name) {
    for (size_t i = 0; i < sema->constants.count; i++)
        if (!strcmp(sema->constants.data[i].decl->name.text, name))
            return &sema->constants.data[i];
    return NULL;
}

static struct local *find_local(struct checker *checker, const char *name) {
    for (size_t i = 0; i < checker->locals.count; i++)
        if (!strcmp(checker->locals.data[i].name, name))
            return &checker->locals.data[i];
    return NULL;
}

static void fail(struct checker *checker, struct ast_span span, const char *format, ...)
    BF_PRINTF(3, 4);
static void fail(struct checker *checker, struct ast_span span, const char *format, ...) {
    struct bf_text text = {0};
    va_list args;
    va_start(args, format);
    bf_text_vprintf(&text, format, args);
    va_end(args);
    fe_error(&checker->sema->report, span, "%s", text.data);
    bf_text_free(&text);
    checker->failed = true;
}

/* ---- expressions ---- */

static void check_expr(struct checker *checker, const struct ast_expr *expr);

static bool is_known(struct checker *checker, const char *name) {
    struct local *local = find_local(checker, name);
    if (local)
        local->used = true;
    return local || fe_find_constant(checker->sema, name) || !strcmp(name, "none");
}

static void unknown_name(struct checker *checker, const struct ast_expr *expr) {
    const char *best = NULL;
    enum bf_op_kind kind;
    const struct ast_decl *decl = fe_find_decl(checker->sema, expr->text);
    if (bf_op_find(expr->text, &kind) || decl || fe_is_builtin(expr->text)) {
        fail(checker, expr->span, "'%s' is %s; it has a value only when called: %s(...)",
             expr->text,
             decl                        ? "a block"
             : fe_is_builtin(expr->text) ? "a function"
                                         : "an operator",
             expr->text);
        return;
    }
    for (size_t i = 0; i < checker->locals.count; i++)
        fe_suggest(expr->text, checker->locals.data[i].name, &best);
    for (size_t i = 0; i < checker->sema->constants.count; i++)
        fe_suggest(expr->text, checker->sema->constants.data[i].decl->name.text, &best);
    if (best)
        fail(checker, expr->span, "unknown name '%s'; did you mean '%s'?", expr->text, best);
    else
        fail(checker, expr->span, "unknown name '%s'", expr->text);
}

/* The shipped file that declares the block, or NULL. */
static const char *shipped_with(const char *block) {
    struct bf_text words = {0};
    const char *found = NULL;
    bf_text_printf(&words, "\nblock %s(", block);
    for (size_t i = 0; i < bf_library_file_count && !found; i++)
        if (strstr(bf_library_files[i].text, words.data))
            found = bf_library_files[i].name;
    bf_text_free(&words);
    return found;
}

static void unknown_callee(struct checker *checker, const struct ast_expr *call) {
    const char *best = NULL, *name = shipped_with(call->text);
    if (name) {
        fail(checker, call->name_span, "unknown operator or block '%s'; it is a block of <%s>",
             call->text, name);
        return;
    }
    for (size_t i = 0; (name = fe_builtin_name(i)); i++)
        fe_suggest(call->text, name, &best);
    for (int kind = 0; kind < BF_OP_COUNT; kind++)
        fe_suggest(call->text, bf_op_info((enum bf_op_kind)kind)->name, &best);
    for (size_t i = 0; i < checker->sema->decls.count; i++)
        if (checker->sema->decls.data[i]->kind == AST_DECL_BLOCK)
            fe_suggest(call->text, checker->sema->decls.data[i]->name.text, &best);
    if (best)
        fail(checker, call->name_span, "unknown operator or block '%s'; did you mean '%s'?",
             call->text, best);
    else
        fail(checker, call->name_span, "unknown operator or block '%s'%s", call->text,
             find_local(checker, call->text) ? ", which is the name of a value" : "");
}

static bool has_choice(const char *choices, const char *word) {
    size_t length = strlen(word);
    for (const char *at = choices; *at; at += strcspn(at, "|"), at += *at == '|')
        if (strcspn(at, "|") == length && !memcmp(at, word, length))
            return true;
    return false;
}

/* Whether an unbound name may stand in this argument for itself: the word of a choice
 * (approximate = tanh) or a flag (causal). */
static bool may_be_bare(struct checker *checker, const struct ast_expr *call,
                        const struct ast_arg *arg) {
    enum bf_op_kind kind;
    const char *word = arg->value->text;
    const struct ast_decl *decl = fe_find_decl(checker->sema, call->text);
    if (decl) {
        for (const struct ast_param *p = decl->params; p; p = p->next)
            if (p->value &&
                (arg->name ? !strcmp(p->name.text, arg->name) && p->value->kind == AST_STRING
                           : !strcmp(p->name.text, word) && p->value->kind == AST_BOOL))
                return true;
        return false;
    }
    if (!bf_op_find(call->text, &kind))
        return false;
    const struct bf_op_info *info = bf_op_info(kind);
    for (unsigned i = 0; i < info->attr_count; i++) {
        const struct bf_attr_info *attr = &info->attrs[i];
        if (arg->name && attr->type == BF_ATTR_WORD && !strcmp(attr->name, arg->name))
            return true; /* a wrong word is reported with its choices */
        if (!arg->name && attr->type == BF_ATTR_WORD && has_choice(attr->choices, word))
            return true;
        if (!arg->name && attr->type == BF_ATTR_BOOL && !strcmp(attr->name, word))
            return true;
    }
    return false;
}

static void check_call(struct checker *checker, const struct ast_expr *call) {
    enum bf_op_kind kind;
    const struct ast_decl *decl = fe_find_decl(checker->sema, call->text);
    if (decl && decl->kind == AST_DECL_NETWORK)
        fail(checker, call->name_span, "'%s' is a network; only blocks can be called", call->text);
    else if (decl)
        *bf_push(&checker->edges) = (struct edge){decl, call->span};
    else if (!fe_is_builtin(call->text) && !bf_op_find(call->text, &kind))
        unknown_callee(checker, call);
    for (const struct ast_arg *arg = call->args; arg; arg = arg->next) {
        const struct ast_expr *value = arg->value;
        if (value->kind != AST_NAME)
            check_expr(checker, value);
        else if (!is_known(checker, value->text) && !may_be_bare(checker, call, arg))
            unknown_name(checker, value);
    }
}

static bool is_path_text(const char *text) {
    for (const char *at = text; *at; at++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", *at) ||
            (*at == '.' && (at == text || !at[1] || at[1] == '.')))
            return false;
    return *text;
}

static void check_label(struct checker *checker, const struct ast_expr *expr) {
    const struct ast_expr *label = expr->left;
    bool good = true;
    while (label->kind == AST_INDEX) {
        for (const struct ast_index *i = label->indices; i; i = i->next) {
            good &= !i->range;
            if (i->low)
                check_expr(checker, i->low);
        }
        label = label->left;
    }
    if (label->kind == AST_STRING && !is_path_text(label->text))
        fail(checker, label->span, "a label holds letters, digits, '_', '-' and single dots");
    else if (!good || (label->kind != AST_NAME && label->kind != AST_STRING))
        fail(checker, expr->left->span,
             "a label is a name, or name[index] where there are several");
    if (expr->right->kind == AST_CALL && !fe_find_decl(checker->sema, expr->right->text) &&
        fe_is_builtin(expr->right->text) && strcmp(expr->right->text, "max"))
        fail(checker, expr->left->span, "'%s' is no operator or block and takes no label",
             expr->right->text);
}

static void check_expr(struct checker *checker, const struct ast_expr *expr) {
    if (expr->kind == AST_NAME) {
        if (!is_known(checker, expr->text))
            unknown_name(checker, expr);
        return;
    }
    if (expr->kind == AST_LABELLED)
        check_label(checker, expr);
    else if (expr->left)
        check_expr(checker, expr->left);
    if (expr->right)
        check_expr(checker, expr->right);
    for (const struct ast_item *item = expr->items; item; item = item->next)
        check_expr(checker, item->value);
    for (const struct ast_index *i = expr->indices; i; i = i->next) {
        if (i->low)
            check_expr(checker, i->low);
        if (i->high)
            check_expr(checker, i->high);
    }
    if (expr->kind == AST_CALL)
        check_call(checker, expr);
}

/* ---- statements ---- */

static void add_local(struct checker *checker, const char *name, struct ast_span span,
                      const char *what, bool quiet) {
    if (!find_local(checker, name))
        *bf_push(&checker->locals) =
            (struct local){name, span, what, false, quiet || name[0] == '_'};
}

/* All names that the statements bind, wherever: a branch may bind what is read after it. */
static void collect(struct checker *checker, const struct ast_stmt *body) {
    for (const struct ast_stmt *stmt = body; stmt; stmt = stmt->next) {
        if (stmt->kind == AST_INPUT)
            add_local(checker, stmt->name.text, stmt->name.span, "input ", false);
        else if (stmt->kind == AST_CONST)
            add_local(checker, stmt->name.text, stmt->name.span, "constant ", false);
        else if (stmt->kind == AST_FOR)
            add_local(checker, stmt->name.text, stmt->name.span, "loop variable ", true);
        else if (stmt->kind == AST_ASSIGN)
            for (const struct ast_item *target = stmt->items; target; target = target->next)
                if (target->value->kind == AST_NAME)
                    add_local(checker, target->value->text, target->value->span, "", false);
        collect(checker, stmt->body);
        collect(checker, stmt->else_body);
    }
}

static void check_place(struct checker *checker, const struct ast_stmt *stmt) {
    bool network = checker->decl->kind == AST_DECL_NETWORK;
    if (!network && (stmt->kind == AST_INPUT || stmt->kind == AST_OUTPUT))
        fail(checker, stmt->span,
             "an %s belongs to a network; a block has parameters and returns "
             "values",
             stmt->kind == AST_INPUT ? "input" : "output");
    if (network && stmt->kind == AST_RETURN)
        fail(checker, stmt->span, "a network returns nothing; write 'output y = ...;'");
}

static void check_body(struct checker *checker, const struct ast_stmt *body) {
    for (const struct ast_stmt *stmt = body; stmt; stmt = stmt->next) {
        check_place(checker, stmt);
        if (stmt->kind == AST_ASSIGN) {
            for (const struct ast_item *target = stmt->items; target; target = target->next)
                if (target->value->kind != AST_NAME)
                    fail(checker, target->value->span, "only a name can be assigned to");
        } else {
            for (const struct ast_item *item = stmt->items; item; item = item->next)
                check_expr(checker, item->value);
        }
        if (stmt->kind == AST_EVALUATE && stmt->value->kind != AST_BAD &&
            !(stmt->value->kind == AST_CALL && !strcmp(stmt->value->text, "assert")))
            fail(checker, stmt->value->span, "the value of this is not used; write 'name = ...;'");
        if (stmt->value)
            check_expr(checker, stmt->value);
        if (stmt->high)
            check_expr(checker, stmt->high);
        checker->returns |= stmt->kind == AST_RETURN;
        check_body(checker, stmt->body);
        check_body(checker, stmt->else_body);
    }
}

static void check_params(struct checker *checker, const struct ast_decl *decl) {
    const struct ast_param *optional = NULL;
    for (const struct ast_param *p = decl->params; p; p = p->next) {
        if (find_local(checker, p->name.text))
            fail(checker, p->name.span, "parameter '%s' is there twice", p->name.text);
        if (p->value) {
            check_expr(checker, p->value); /* sees the parameters before it */
            optional = p;
        } else if (optional) {
            fail(checker, p->name.span, "parameter '%s' needs a default, as '%s' before it has one",
                 p->name.text, optional->name.text);
        }
        add_local(checker, p->name.text, p->name.span, "parameter ", false);
    }
}

static void check_decl(struct checker *checker, const struct ast_decl *decl) {
    checker->decl = decl;
    checker->locals.count = 0;
    checker->returns = false;
    check_params(checker, decl);
    collect(checker, decl->body);
    check_body(checker, decl->body);
    if (decl->kind == AST_DECL_BLOCK && !checker->returns)
        fail(checker, decl->name.span, "block '%s' returns nothing; end it with 'return ...;'",
             decl->name.text);
    for (size_t i = 0; !checker->failed && i < checker->locals.count; i++) {
        const struct local *local = &checker->locals.data[i];
        if (!local->used && !local->quiet)
            fe_warning(&checker->sema->report, local->span, "%s'%s' is never used", local->what,
                       local->name);
    }
}

/* Names of blocks, networks and constants: once each, and not those of operators. */
static void check_duplicates(struct checker *checker) {
    struct fe_paths names = {0};
    enum bf_op_kind kind;
    for (size_t i = 0; i < checker->sema->decls.count; i++) {
        const struct ast_decl *decl = checker->sema->decls.data[i];
        const char *name = decl->name.text;
        bool callable = decl->kind != AST_DECL_CONST;
        if (callable && (bf_op_find(name, &kind) || fe_is_builtin(name)))
            fail(checker, decl->name.span, "'%s' is %s already; choose another name", name,
                 fe_is_builtin(name) ? "a function of the language" : "an operator");
        const struct ast_span *first = fe_path_claim(&names, name, decl->name.span);
        if (!first)
            continue;
        fail(checker, decl->name.span, "'%s' is declared twice", name);
        fe_note(&checker->sema->report, *first, "the first declaration is here");
    }
    fe_paths_free(&names);
}

/* ---- recursion ---- */

struct visit {
    const struct ast_decl *decl;
    size_t edge; /* next one to follow */
};

static void report_recursion(struct checker *checker, const struct visit *stack, size_t from,
                             size_t count, struct ast_span call) {
    struct bf_text text = {0};
    for (size_t i = from; i < count; i++)
        bf_text_printf(&text, "%s -> ", stack[i].decl->name.text);
    fail(checker, call, "recursion: %s%s", text.data, stack[from].decl->name.text);
    bf_text_free(&text);
}

/* Depth-first over the calls with a stack of its own: a chain of calls may be long. */
static void check_recursion(struct checker *checker) {
    size_t count = checker->sema->decls.count;
    enum { NEW, ACTIVE, DONE } *state = bf_alloc(count * sizeof *state);
    struct {
        struct visit *data;
        size_t count, capacity;
    } stack = {0};
    for (size_t root = 0; root < count; root++) {
        if (state[root] != NEW)
            continue;
        state[root] = ACTIVE;
        *bf_push(&stack) =
            (struct visit){checker->sema->decls.data[root], checker->first_edge[root]};
        while (stack.count) {
            struct visit *top = &stack.data[stack.count - 1];
            if (top->edge == checker->first_edge[top->decl->index + 1]) {
                state[top->decl->index] = DONE;
                stack.count--;
                continue;
            }
            const struct edge *edge = &checker->edges.data[top->edge++];
            size_t callee = edge->callee->index;
            if (state[callee] == ACTIVE) {
                size_t from = stack.count - 1;
                while (stack.data[from].decl != edge->callee)
                    from--;
                report_recursion(checker, stack.data, from, stack.count, edge->call);
            } else if (state[callee] == NEW) {
                state[callee] = ACTIVE;
                *bf_push(&stack) = (struct visit){edge->callee, checker->first_edge[callee]};
            }
        }
    }
    free(state);
    free(stack.data);
}

bool fe_check_names(struct fe_sema *sema) {
    struct checker checker = {.sema = sema};
    checker.first_edge = bf_alloc((sema->decls.count + 1) * sizeof *checker.first_edge);
    for (size_t i = 0; i < sema->decls.count; i++)
        sema->decls.data[i]->index = i;
    check_duplicates(&checker);
    for (size_t i = 0; i < sema->decls.count; i++) {
        const struct ast_decl *decl = sema->decls.data[i];
        checker.first_edge[i] = checker.edges.count;
        if (decl->kind == AST_DECL_CONST) {
            checker.locals.count = 0;
            check_expr(&checker, decl->value);
        } else {
            check_decl(&checker, decl);
        }
        checker.first_edge[i + 1] = checker.edges.count;
    }
    check_recursion(&checker);
    free(checker.first_edge);
    free(checker.locals.data);
    free(checker.edges.data);
    return !checker.failed;
}
