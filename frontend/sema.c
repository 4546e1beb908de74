/* sema.c - statements, the network's parameters, and the whole run. */
#include "frontend/sema.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* ---- errors inside blocks ---- */

void fe_note_callers(struct fe_sema *sema, struct fe_frame *frame) {
    for (unsigned shown = 0; frame && frame->caller && shown < 3; frame = frame->caller, shown++)
        fe_note(&sema->report, frame->call, "in '%s', called here", frame->decl->name.text);
}

void fe_wrong(struct fe_sema *sema, struct fe_frame *frame, struct ast_span span,
              const char *format, ...) {
    struct bf_text text = {0};
    va_list args;
    va_start(args, format);
    bf_text_vprintf(&text, format, args);
    va_end(args);
    if (!sema->stopped && fe_error(&sema->report, span, "%s", text.data))
        fe_note_callers(sema, frame);
    bf_text_free(&text);
}

/* ---- statements ---- */

static void assign(struct fe_sema *sema, struct fe_frame *frame, const struct ast_name *name,
                   struct fe_value value, bool constant) {
    const struct fe_binding *old = fe_find(frame, name->text);
    bool again = old && constant && old->span.file == name->span.file &&
                 old->span.begin == name->span.begin; /* the same statement, in a loop */
    if (old && old->constant && old->bound && !again) {
        fe_wrong(sema, frame, name->span, "'%s' is constant and can't be assigned to", name->text);
        fe_note(&sema->report, old->span, "it is bound here");
        return;
    }
    fe_bind(frame, name->text, value, name->span, constant);
}

static void run_assign(struct fe_sema *sema, struct fe_frame *frame, const struct ast_stmt *stmt) {
    size_t targets = 0;
    for (const struct ast_item *t = stmt->items; t; t = t->next)
        targets++;
    struct fe_value value =
        targets == 1 ? fe_eval_one(sema, frame, stmt->value) : fe_eval(sema, frame, stmt->value);
    if (targets > 1 && value.kind != FE_BROKEN &&
        (value.kind != FE_TUPLE || value.list.count != targets)) {
        fe_wrong(sema, frame, stmt->span, "%zu names for %s", targets,
                 value.kind == FE_TUPLE ? fe_describe(sema, &value) : "one value");
        value = fe_broken();
    }
    size_t i = 0;
    for (const struct ast_item *t = stmt->items; t; t = t->next, i++) {
        struct ast_name name = {t->value->text, t->value->span};
        assign(sema, frame, &name,
               targets == 1 || value.kind == FE_BROKEN ? value : value.list.items[i], false);
    }
}

static void run_input(struct fe_sema *sema, struct fe_frame *frame, const struct ast_stmt *stmt) {
    enum bf_dtype dtype;
    int64_t dims[BF_VALUE_RANK];
    unsigned rank = 0;
    bool good = bf_dtype_find(stmt->type.text, &dtype);
    if (!good)
        fe_wrong(sema, frame, stmt->type.span, "unknown type '%s'; there are f16, f32, i32 and u8",
                 stmt->type.text);
    for (const struct ast_item *item = stmt->items; item; item = item->next) {
        int64_t size = 0;
        if (rank == BF_VALUE_RANK) {
            fe_wrong(sema, frame, item->value->span, "a tensor has at most %d axes", BF_VALUE_RANK);
            good = false;
            break;
        }
        good &= fe_eval_int(sema, frame, item->value, "a size", &size);
        dims[rank++] = size;
    }
    struct bf_value *input = NULL;
    if (good && !fe_was_reported(&sema->report, stmt->span)) {
        input = bf_net_add_input(sema->net, stmt->name.text, bf_type_make(dtype, rank, dims),
                                 fe_loc(&sema->report, stmt->name.span), sema->report.diags);
        if (!input)
            fe_mark_reported(&sema->report, stmt->span);
    }
    assign(sema, frame, &stmt->name, fe_tensor(input), false);
}

static void run_output(struct fe_sema *sema, struct fe_frame *frame, const struct ast_stmt *stmt) {
    struct fe_value value = fe_eval_one(sema, frame, stmt->value);
    if (value.kind == FE_BROKEN || fe_was_reported(&sema->report, stmt->span))
        return;
    if (value.kind != FE_TENSOR)
        fe_wrong(sema, frame, stmt->value->span, "an output is a tensor, not %s",
                 fe_describe(sema, &value));
    else if (!bf_net_add_output(sema->net, stmt->name.text, value.tensor,
                                fe_loc(&sema->report, stmt->name.span), sema->report.diags))
        fe_mark_reported(&sema->report, stmt->span);
}

/* Names that statements would have bound, had their condition or bounds not been wrong, become
 * broken, so that nothing is reported for them. */
static void break_targets(struct fe_frame *frame, const struct ast_stmt *body) {
    for (const struct ast_stmt *stmt = body; stmt; stmt = stmt->next) {
        for (const struct ast_item *t = stmt->kind == AST_ASSIGN ? stmt->items : NULL; t;
             t = t->next)
            fe_bind(frame, t->value->text, fe_broken(), t->value->span, false);
        if (stmt->kind == AST_RETURN && !frame->returned) {
            frame->result = fe_broken();
            frame->returned = true;
        }
        break_targets(frame, stmt->body);
        break_targets(frame, stmt->else_body);
    }
}

static void run_for(struct fe_sema *sema, struct fe_frame *frame, const struct ast_stmt *stmt) {
    int64_t low, high;
    if (!fe_eval_int(sema, frame, stmt->value, "the bound of a loop", &low) ||
        !fe_eval_int(sema, frame, stmt->high, "the bound of a loop", &high)) {
        break_targets(frame, stmt->body);
        return;
    }
    const struct fe_binding *outer = fe_find(frame, stmt->name.text);
    if (outer && outer->bound) {
        fe_wrong(sema, frame, stmt->name.span,
                 "'%s' is in use already; choose another name for "
                 "the loop variable",
                 stmt->name.text);
        fe_note(&sema->report, outer->span, "it is bound here");
        break_targets(frame, stmt->body);
        return;
    }
    for (int64_t i = low; i < high && !frame->returned; i++) {
        if (!fe_step(sema, stmt->span))
            break;
        fe_bind(frame, stmt->name.text, fe_int(i), stmt->name.span, true);
        fe_run(sema, frame, stmt->body);
    }
    struct fe_binding *variable = fe_find(frame, stmt->name.text);
    if (variable)
        variable->bound = false;
}

static void run_return(struct fe_sema *sema, struct fe_frame *frame, const struct ast_stmt *stmt) {
    struct {
        struct fe_value *data;
        size_t count, capacity;
    } values = {0};
    bool broken = false;
    for (const struct ast_item *item = stmt->items; item; item = item->next) {
        struct fe_value value = stmt->items->next ? fe_eval_one(sema, frame, item->value)
                                                  : fe_eval(sema, frame, item->value);
        if (value.kind == FE_VOID) {
            fe_wrong(sema, frame, item->value->span, "this has no value");
            value = fe_broken();
        }
        broken |= value.kind == FE_BROKEN;
        *bf_push(&values) = value;
    }
    if (broken)
        frame->result = fe_broken();
    else if (values.count == 1)
        frame->result = values.data[0];
    else
        frame->result = fe_list_of(sema, FE_TUPLE, values.data, values.count);
    frame->returned = true;
    free(values.data);
}

static void run_one(struct fe_sema *sema, struct fe_frame *frame, const struct ast_stmt *stmt) {
    bool truth;
    switch (stmt->kind) {
    case AST_INPUT:
        run_input(sema, frame, stmt);
        break;
    case AST_OUTPUT:
        run_output(sema, frame, stmt);
        break;
    case AST_CONST: {
        struct fe_value value = fe_eval_one(sema, frame, stmt->value);
        if (value.kind == FE_TENSOR) {
            fe_wrong(sema, frame, stmt->value->span,
                     "a constant is known when compiling; a tensor "
                     "is not");
            value = fe_broken();
        }
        assign(sema, frame, &stmt->name, value, true);
        break;
    }
    case AST_ASSIGN:
        run_assign(sema, frame, stmt);
        break;
    case AST_EVALUATE:
        fe_eval(sema, frame, stmt->value);
        break;
    case AST_IF:
        if (fe_eval_condition(sema, frame, stmt->value, &truth)) {
            fe_run(sema, frame, truth ? stmt->body : stmt->else_body);
        } else {
            break_targets(frame, stmt->body);
            break_targets(frame, stmt->else_body);
        }
        break;
    case AST_FOR:
        run_for(sema, frame, stmt);
        break;
    case AST_RETURN:
        run_return(sema, frame, stmt);
        break;
    case AST_GROUP:
        fe_run(sema, frame, stmt->body);
        break;
    }
}

void fe_run(struct fe_sema *sema, struct fe_frame *frame, const struct ast_stmt *body) {
    sema->depth++;
    for (const struct ast_stmt *stmt = body; stmt && !frame->returned; stmt = stmt->next)
        if (fe_step(sema, stmt->span))
            run_one(sema, frame, stmt);
    sema->depth--;
}

/* ---- parameters of the network ---- */

static struct fe_value parse_define(struct fe_sema *sema, const char *text) {
    char *end;
    errno = 0;
    long long integer = strtoll(text, &end, 10);
    if (*text && !*end && !errno && !strchr(" \t\n", *text))
        return fe_int(integer);
    double real = strtod(text, &end);
    if (*text && !*end && isfinite(real) && strspn(text, "+-.0123456789eE") == strlen(text))
        return fe_float(real);
    if (!strcmp(text, "true") || !strcmp(text, "false"))
        return fe_bool(text[0] == 't');
    return fe_string(bf_arena_strdup(&sema->arena, text));
}

/* Whether a value from the command line may replace the default. */
static bool same_kind(const struct fe_value *initial, struct fe_value *value) {
    bool truth;
    if (initial->kind == FE_FLOAT && value->kind == FE_INT)
        *value = fe_float((double)value->i);
    if (initial->kind == FE_BOOL && value->kind == FE_INT && fe_truth(value, &truth))
        *value = fe_bool(truth);
    if (initial->kind == FE_INT && value->kind == FE_BOOL)
        *value = fe_int(value->b);
    return initial->kind == value->kind || initial->kind == FE_BROKEN;
}

static const char *kind_words(enum fe_kind kind) {
    return kind == FE_INT     ? "an integer"
           : kind == FE_FLOAT ? "a number"
           : kind == FE_BOOL  ? "true or false"
                              : "a string";
}

static const struct bf_frontend_define *find_define(const struct bf_frontend_options *options,
                                                    const char *name) {
    const struct bf_frontend_define *found = NULL; /* the last one wins */
    for (size_t i = 0; i < options->define_count; i++)
        if (!strcmp(options->defines[i].name, name))
            found = &options->defines[i];
    return found;
}

static void bind_param(struct fe_sema *sema, struct fe_frame *frame,
                       const struct ast_param *param) {
    const struct bf_frontend_define *define = find_define(sema->options, param->name.text);
    struct fe_value value = fe_broken();
    if (param->value)
        value = fe_eval_one(sema, frame, param->value);
    if (define) {
        struct fe_value given = parse_define(sema, define->value);
        if (param->value && !same_kind(&value, &given))
            bf_diag_error(sema->report.diags, (struct bf_loc){0}, "-D%s=%s: '%s' is %s",
                          define->name, define->value, define->name, kind_words(value.kind));
        value = given;
    } else if (!param->value) {
        fe_error(&sema->report, param->name.span, "'%s' has no default; set it with -D%s=...",
                 param->name.text, param->name.text);
    }
    fe_bind(frame, param->name.text, value, param->name.span, false);
}

static void check_defines(struct fe_sema *sema, const struct ast_decl *network) {
    for (size_t i = 0; i < sema->options->define_count; i++) {
        const char *name = sema->options->defines[i].name, *best = NULL;
        bool known = false;
        for (const struct ast_param *p = network->params; p; p = p->next) {
            known |= !strcmp(p->name.text, name);
            fe_suggest(name, p->name.text, &best);
        }
        if (!known)
            bf_diag_error(sema->report.diags, (struct bf_loc){0},
                          "-D%s: network '%s' has no parameter '%s'%s%s%s", name,
                          network->name.text, name, best ? "; did you mean '" : "",
                          best ? best : "", best ? "'?" : "");
    }
}

/* ---- the run ---- */

static const struct ast_decl *named_network(struct fe_sema *sema, const char *name) {
    const char *best = NULL;
    for (size_t i = 0; i < sema->decls.count; i++) {
        const struct ast_decl *decl = sema->decls.data[i];
        if (decl->kind != AST_DECL_NETWORK)
            continue;
        if (!strcmp(decl->name.text, name))
            return decl;
        fe_suggest(name, decl->name.text, &best);
    }
    bf_diag_error(sema->report.diags, (struct bf_loc){0}, "there is no network '%s' in %s%s%s%s",
                  name, sema->options->name, best ? "; did you mean '" : "", best ? best : "",
                  best ? "'?" : "");
    return NULL;
}

/* The one network of the main file, or of the files it includes if it has none. */
static const struct ast_decl *only_network(struct fe_sema *sema) {
    const struct ast_decl *found = NULL, *second = NULL;
    for (int included = 0; included < 2 && !found; included++)
        for (size_t i = 0; i < sema->decls.count; i++) {
            const struct ast_decl *decl = sema->decls.data[i];
            if (decl->kind != AST_DECL_NETWORK || (decl->name.span.file != 0) != included)
                continue;
            if (!found)
                found = decl;
            else if (!second)
                second = decl;
        }
    if (second) {
        fe_error(&sema->report, second->name.span,
                 "there are several networks; choose one with -network NAME");
        fe_note(&sema->report, found->name.span, "another one is here");
        return NULL;
    }
    if (!found)
        bf_diag_error(sema->report.diags, (struct bf_loc){0}, "%s: no network is declared here",
                      sema->options->name);
    return found;
}

/* Operators that no output depends on: most often a name bound twice by mistake. Each place once.
 */
static void warn_dead(struct fe_sema *sema) {
    const struct bf_net *net = sema->net;
    bool *live = bf_alloc(net->ops.count);
    struct bf_loc last = {0};
    for (size_t i = 0; i < net->outputs.count; i++)
        if (net->outputs.data[i].value->op)
            live[net->outputs.data[i].value->index] = true;
    for (size_t i = net->ops.count; i-- > 0;)
        for (unsigned a = 0; live[i] && a < net->ops.data[i]->arg_count; a++) {
            const struct bf_value *arg = net->ops.data[i]->args[a];
            if (arg && arg->op)
                live[arg->index] = true;
        }
    for (size_t i = 0; i < net->ops.count; i++) {
        const struct bf_op *op = net->ops.data[i];
        if (live[i] || op->kind == BF_OP_PARAM || op->kind == BF_OP_CONSTANT ||
            !memcmp(&op->loc, &last, sizeof last))
            continue;
        last = op->loc;
        bf_diag(sema->report.diags, BF_WARNING, op->loc, op->attrs.length, 0,
                "no output depends on this %s", bf_op_info(op->kind)->name);
    }
    free(live);
}

static void run_network(struct fe_sema *sema, const struct ast_decl *network) {
    struct fe_frame frame = {.decl = network, .call = network->name.span, .path = ""};
    unsigned errors = sema->report.diags->errors;
    sema->net = bf_net_create(network->name.text);
    check_defines(sema, network);
    for (const struct ast_param *p = network->params; p; p = p->next)
        bind_param(sema, &frame, p);
    if (errors == sema->report.diags->errors)
        fe_run(sema, &frame, network->body);
    if (errors == sema->report.diags->errors && !sema->net->outputs.count)
        fe_error(&sema->report, network->name.span,
                 "network '%s' has no output; write 'output y = ...;'", network->name.text);
    else if (errors == sema->report.diags->errors && !sema->report.warned)
        warn_dead(sema);
    free(frame.bindings.data);
}

/* The file table of the net's texts: the main file without its folder. */
static void set_files(struct bf_net *net, const struct bf_sources *sources) {
    bf_header_set_files(&net->header, sources, &net->arena);
    const char *slash = strrchr(net->header.files[0], '/');
    if (slash)
        net->header.files[0] = slash + 1;
}

struct bf_net *bf_frontend_compile(const struct bf_frontend_options *options,
                                   struct bf_sources *sources, struct bf_diags *diags,
                                   struct bf_frontend_files *files) {
    struct fe_sema sema = {.options = options, .files = files};
    unsigned errors = diags->errors;
    fe_report_init(&sema.report, sources, diags);
    if (fe_load(&sema) && fe_check_names(&sema)) {
        const struct ast_decl *network =
            options->network ? named_network(&sema, options->network) : only_network(&sema);
        if (network)
            run_network(&sema, network);
    }
    struct bf_net *net = sema.net;
    if (diags->errors != errors) {
        bf_net_free(net);
        net = NULL;
    }
    if (net)
        set_files(net, sources);
    fe_paths_free(&sema.paths);
    free(sema.decls.data);
    free(sema.constants.data);
    fe_report_free(&sema.report);
    bf_arena_free(&sema.arena);
    return net;
}
