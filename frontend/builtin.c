/* builtin.c - functions that are evaluated when compiling. */
#include "frontend/sema.h"

#include <math.h>

#define MAX_ARGS 8

struct call {
    struct fe_sema *sema;
    struct fe_frame *frame;
    const struct ast_expr *expr;
    struct fe_value args[MAX_ARGS];
    struct ast_span spans[MAX_ARGS];
    unsigned count;
};

static struct fe_value refuse(const struct call *call, unsigned i, const char *wanted) {
    fe_wrong(call->sema, call->frame, call->spans[i], "%s takes %s here, not %s", call->expr->text,
             wanted, fe_describe(call->sema, &call->args[i]));
    return fe_broken();
}

static struct fe_value call_dim(const struct call *call) {
    unsigned axis;
    if (call->args[0].kind != FE_TENSOR)
        return refuse(call, 0, "a tensor");
    if (call->args[1].kind != FE_INT)
        return refuse(call, 1, "the number of an axis");
    const struct bf_type *type = &call->args[0].tensor->type;
    if (!fe_axis(call->sema, call->frame, call->spans[1], call->args[1].i, type->rank, &axis))
        return fe_broken();
    return fe_int(type->dims[axis]);
}

static struct fe_value call_rank(const struct call *call) {
    if (call->args[0].kind != FE_TENSOR)
        return refuse(call, 0, "a tensor");
    return fe_int(call->args[0].tensor->type.rank);
}

static struct fe_value call_shape(const struct call *call) {
    struct fe_value dims[BF_MAX_RANK];
    if (call->args[0].kind != FE_TENSOR)
        return refuse(call, 0, "a tensor");
    const struct bf_type *type = &call->args[0].tensor->type;
    for (unsigned i = 0; i < type->rank; i++)
        dims[i] = fe_int(type->dims[i]);
    return fe_list_of(call->sema, FE_LIST, dims, type->rank);
}

static double number(const struct fe_value *value) {
    return value->kind == FE_INT ? (double)value->i : value->f;
}

static struct fe_value call_extreme(const struct call *call) {
    bool smallest = call->expr->text[1] == 'i';
    struct fe_value best = call->args[0];
    for (unsigned i = 0; i < call->count; i++) {
        const struct fe_value *arg = &call->args[i];
        if (arg->kind != FE_INT && arg->kind != FE_FLOAT)
            return refuse(call, i, "numbers");
        bool integers = arg->kind == FE_INT && best.kind == FE_INT;
        bool less = integers ? arg->i < best.i : number(arg) < number(&best);
        bool more = integers ? arg->i > best.i : number(arg) > number(&best);
        if (smallest ? less : more)
            best = *arg;
    }
    return best;
}

/* The exponent of the smallest power of two that is not below the argument. */
static struct fe_value call_log2(const struct call *call) {
    if (call->args[0].kind != FE_INT || call->args[0].i < 1)
        return refuse(call, 0, "a positive integer");
    uint64_t value = (uint64_t)call->args[0].i;
    return fe_int(bf_log2_floor(value) + !bf_is_power_of_two(value));
}

/* sqrt is correctly rounded by IEEE 754. */
static struct fe_value call_sqrt(const struct call *call) {
    const struct fe_value *arg = &call->args[0];
    if ((arg->kind != FE_INT && arg->kind != FE_FLOAT) || number(arg) < 0)
        return refuse(call, 0, "a number that is not negative");
    return fe_float(sqrt(number(arg)));
}

static struct fe_value call_int(const struct call *call) {
    const struct fe_value *arg = &call->args[0];
    if (arg->kind == FE_INT)
        return *arg;
    if (arg->kind == FE_BOOL)
        return fe_int(arg->b);
    if (arg->kind != FE_FLOAT || !(fabs(arg->f) < 9e18))
        return refuse(call, 0, "a number");
    return fe_int((int64_t)arg->f);
}

static struct fe_value call_assert(const struct call *call) {
    bool truth;
    if (!fe_truth(&call->args[0], &truth))
        return refuse(call, 0, "a condition");
    if (call->count == 2 && call->args[1].kind != FE_STRING)
        return refuse(call, 1, "a string");
    if (truth)
        return (struct fe_value){.kind = FE_VOID};
    fe_wrong(call->sema, call->frame, call->expr->span, "%s",
             call->count == 2 ? call->args[1].s : "this does not hold");
    if (call->frame) { /* what follows relies on it */
        call->frame->returned = true;
        call->frame->result = fe_broken();
    }
    return fe_broken();
}

static const struct builtin {
    const char *name, *usage;
    unsigned least, most;
    struct fe_value (*run)(const struct call *call);
} builtins[] = {
    {"dim", "dim(tensor, axis)", 2, 2, call_dim},
    {"rank", "rank(tensor)", 1, 1, call_rank},
    {"shape", "shape(tensor)", 1, 1, call_shape},
    {"min", "min(a, b, ..)", 1, MAX_ARGS, call_extreme},
    {"max", "max(a, b, ..)", 1, MAX_ARGS, call_extreme},
    {"log2", "log2(n)", 1, 1, call_log2},
    {"sqrt", "sqrt(x)", 1, 1, call_sqrt},
    {"int", "int(x)", 1, 1, call_int},
    {"assert", "assert(condition, \"message\")", 1, 2, call_assert},
};
#define BUILTIN_COUNT (sizeof builtins / sizeof *builtins)

const char *fe_builtin_name(size_t index) {
    return index < BUILTIN_COUNT ? builtins[index].name : NULL;
}

static const struct builtin *find(const char *name) {
    for (size_t i = 0; i < BUILTIN_COUNT; i++)
        if (!strcmp(builtins[i].name, name))
            return &builtins[i];
    return NULL;
}

bool fe_is_builtin(const char *name) {
    return find(name);
}

struct fe_value fe_call_builtin(struct fe_sema *sema, struct fe_frame *frame,
                                const struct ast_expr *expr, const struct fe_value *first) {
    const struct builtin *builtin = find(expr->text);
    struct call call = {.sema = sema, .frame = frame, .expr = expr};
    bool broken = false;
    for (const struct ast_arg *arg = expr->args; arg; arg = arg->next) {
        if (arg->name || call.count == builtin->most) {
            fe_wrong(sema, frame, arg->span, "it is %s", builtin->usage);
            return fe_broken();
        }
        call.spans[call.count] = arg->value->span;
        call.args[call.count] =
            first && arg == expr->args ? *first : fe_eval_one(sema, frame, arg->value);
        broken |= call.args[call.count++].kind == FE_BROKEN;
    }
    if (call.count < builtin->least) {
        fe_wrong(sema, frame, expr->span, "too few arguments: it is %s", builtin->usage);
        return fe_broken();
    }
    return broken ? fe_broken() : builtin->run(&call);
}
