/* call.c - calls of blocks, which are inlined, and the labels on calls. */
#include "frontend/sema.h"

#include <stdlib.h>

/* ---- labels ---- */

/* "encoder.3": the path below `frame` that the label names; NULL after an error. */
static const char *label_path(struct fe_sema *sema, struct fe_frame *frame,
                              const struct ast_expr *label) {
    struct bf_arena *arena = &sema->arena;
    if (label->kind != AST_INDEX)
        return frame->path[0] ? bf_arena_printf(arena, "%s.%s", frame->path, label->text)
                              : label->text;
    const char *path = label_path(sema, frame, label->left);
    for (const struct ast_index *i = label->indices; path && i; i = i->next) {
        int64_t number;
        if (!fe_eval_int(sema, frame, i->low, "the index of a label", &number))
            return NULL;
        path = bf_arena_printf(arena, "%s.%lld", path, (long long)number);
    }
    return path;
}

struct fe_value fe_call_labelled(struct fe_sema *sema, struct fe_frame *frame,
                                 const struct ast_expr *expr) {
    if (!frame) {
        fe_wrong(sema, frame, expr->span, "a constant at the top of a file calls no operator");
        return fe_broken();
    }
    struct fe_label label = {label_path(sema, frame, expr->left), frame->shared || expr->shared};
    if (!label.path || expr->right->kind == AST_BAD)
        return fe_broken();
    const struct ast_span *first = fe_path_claim(&sema->paths, label.path, expr->left->span);
    if (!first || label.shared)
        return fe_call(sema, frame, expr->right, &label);
    fe_wrong(sema, frame, expr->left->span,
             "the path '%s' is used twice; write 'shared' before the label to use the same "
             "parameters again",
             label.path);
    if (first->file == expr->left->span.file && first->begin == expr->left->span.begin)
        fe_note(
            &sema->report, *first,
            "it was used in an earlier round of the loop; an index makes it another path, as in "
            "'label[i]: ...'");
    else
        fe_note(&sema->report, *first, "it was used first here");
    return fe_broken();
}

/* ---- blocks ---- */

/* The arguments of a call, by parameter of the block. */
struct matching {
    struct fe_sema *sema;
    struct fe_frame *frame; /* of the caller */
    const struct ast_expr *call;
    const struct ast_decl *decl;
    struct fe_frame *callee;
    bool broken;
};

static const struct ast_param *find_param(const struct ast_decl *decl, const char *name) {
    for (const struct ast_param *p = decl->params; p; p = p->next)
        if (!strcmp(p->name.text, name))
            return p;
    return NULL;
}

static void give(struct matching *match, const struct ast_param *param, struct ast_span span,
                 struct fe_value value) {
    if (fe_find(match->callee, param->name.text)) {
        fe_wrong(match->sema, match->frame, span, "%s: '%s' is given twice", match->decl->name.text,
                 param->name.text);
        match->broken = true;
        return;
    }
    fe_bind(match->callee, param->name.text, value, span, false);
}

static void unknown_param(struct matching *match, const struct ast_arg *arg) {
    const char *best = NULL;
    for (const struct ast_param *p = match->decl->params; p; p = p->next)
        fe_suggest(arg->name, p->name.text, &best);
    match->broken = true;
    if (best)
        fe_wrong(match->sema, match->frame, arg->span,
                 "%s has no parameter '%s'; did you mean '%s'?", match->decl->name.text, arg->name,
                 best);
    else
        fe_wrong(match->sema, match->frame, arg->span, "%s has no parameter '%s'",
                 match->decl->name.text, arg->name);
    fe_note(&match->sema->report, match->decl->name.span, "%s is declared here",
            match->decl->name.text);
}

/* A yes/no parameter of this name: `Encoder(x, causal)` sets it. */
static const struct ast_param *flag_param(const struct matching *match,
                                          const struct ast_expr *value) {
    if (value->kind != AST_NAME)
        return NULL;
    const struct ast_param *param = find_param(match->decl, value->text);
    return param && param->value && param->value->kind == AST_BOOL ? param : NULL;
}

static void match_arg(struct matching *match, const struct ast_arg *arg,
                      const struct ast_param **next) {
    const struct ast_param *flag = arg->name ? NULL : flag_param(match, arg->value);
    const struct ast_param *param = arg->name ? find_param(match->decl, arg->name)
                                    : flag    ? flag
                                              : *next;
    if (arg->name && !param) {
        unknown_param(match, arg);
        return;
    }
    if (!param) {
        unsigned count = 0;
        for (const struct ast_param *p = match->decl->params; p; p = p->next)
            count++;
        fe_wrong(match->sema, match->frame, arg->span, "%s takes at most %u argument%s",
                 match->decl->name.text, count, count == 1 ? "" : "s");
        fe_note(&match->sema->report, match->decl->name.span, "%s is declared here",
                match->decl->name.text);
        match->broken = true;
        return;
    }
    if (!arg->name && (!flag || flag == *next))
        *next = param->next;
    bool bare = fe_is_bare(match->sema, match->frame, arg->value);
    struct fe_value value;
    if (bare && flag)
        value = fe_bool(true);
    else if (bare && param->value && param->value->kind == AST_STRING)
        value = fe_string(arg->value->text);
    else
        value = fe_eval_one(match->sema, match->frame, arg->value);
    give(match, param, arg->span, value);
}

/* Binds what the call left out; a default sees the parameters before it. */
static void use_defaults(struct matching *match) {
    for (const struct ast_param *p = match->decl->params; p; p = p->next) {
        if (fe_find(match->callee, p->name.text))
            continue;
        if (p->value) {
            struct fe_value value = fe_eval_one(match->sema, match->callee, p->value);
            fe_bind(match->callee, p->name.text, value, p->name.span, false);
            continue;
        }
        fe_wrong(match->sema, match->frame, match->call->span, "%s needs an argument '%s'",
                 match->decl->name.text, p->name.text);
        fe_note(&match->sema->report, p->name.span, "'%s' is declared here", p->name.text);
        match->broken = true;
    }
}

static struct fe_value call_block(struct fe_sema *sema, struct fe_frame *frame,
                                  const struct ast_decl *decl, const struct ast_expr *call,
                                  const struct fe_label *label) {
    struct fe_frame callee = {.caller = frame,
                              .decl = decl,
                              .call = call->span,
                              .path = label->path,
                              .shared = label->shared};
    struct matching match = {sema, frame, call, decl, &callee, false};
    const struct ast_param *next = decl->params;
    unsigned errors = sema->report.diags->errors;
    for (const struct ast_arg *arg = call->args; arg; arg = arg->next)
        match_arg(&match, arg, &next);
    if (sema->calls >= FE_MAX_CALLS) {
        fe_wrong(sema, NULL, call->span, "blocks are nested deeper than %d levels", FE_MAX_CALLS);
        match.broken = sema->stopped = true;
    }
    if (!match.broken)
        use_defaults(&match);
    if (!match.broken) {
        sema->calls++;
        fe_run(sema, &callee, decl->body);
        sema->calls--;
        if (!callee.returned && !sema->stopped && errors == sema->report.diags->errors)
            fe_wrong(sema, &callee, decl->name.span, "block '%s' came to its end without a return",
                     decl->name.text);
    }
    free(callee.bindings.data);
    return callee.returned ? callee.result : fe_broken();
}

struct fe_value fe_call(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *call,
                        const struct fe_label *label) {
    struct fe_value first, *first_known = NULL;
    enum bf_op_kind kind;
    const struct ast_decl *decl = fe_find_decl(sema, call->text);
    struct fe_label here = {frame ? frame->path : "", frame && frame->shared};
    bool is_operator = bf_op_find(call->text, &kind);
    if (!decl && fe_is_builtin(call->text)) {
        if (!is_operator || !call->args || call->args->name)
            return fe_call_builtin(sema, frame, call, NULL);
        /* `max` of a tensor is an operator, of numbers a function. */
        first = fe_eval_one(sema, frame, call->args->value);
        first_known = &first;
        if (first.kind == FE_BROKEN)
            return first;
        if (first.kind != FE_TENSOR)
            return fe_call_builtin(sema, frame, call, first_known);
    }
    if (!frame) {
        fe_wrong(sema, frame, call->span, "a constant at the top of a file calls no operator");
        return fe_broken();
    }
    if (decl)
        return call_block(sema, frame, decl, call, label ? label : &here);
    return is_operator
               ? fe_call_operator(sema, frame, kind, call, first_known, label ? label : &here)
               : fe_broken();
}
