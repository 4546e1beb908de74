/* operator.c - calls of operators, checked against the table of ir/net_ops.def. */
#include "frontend/sema.h"

#include <stdlib.h>

/* ---- appending to the net ---- */

struct fe_value fe_append(struct fe_sema *sema, struct fe_frame *frame, enum bf_op_kind kind,
                          struct bf_value *const *args, unsigned arg_count, struct bf_attrs *attrs,
                          const struct fe_label *label, struct ast_span span) {
    if (sema->stopped || fe_was_reported(&sema->report, span))
        return fe_broken();
    if (++sema->operators > FE_MAX_OPERATORS) {
        fe_wrong(sema, NULL, span, "the network has more than %d operators", FE_MAX_OPERATORS);
        sema->stopped = true;
        return fe_broken();
    }
    attrs->shared = label ? label->shared : frame->shared;
    attrs->length = fe_underline(&sema->report, span);
    struct bf_value *result =
        bf_net_add_op(sema->net, kind, args, arg_count, attrs, label ? label->path : frame->path,
                      fe_loc(&sema->report, span), sema->report.diags);
    if (!result) {
        fe_mark_reported(&sema->report, span);
        fe_note_callers(sema, frame);
    }
    return fe_tensor(result);
}

/* ---- tensors in expressions ---- */

static struct fe_value constant_tensor(struct fe_sema *sema, struct fe_frame *frame, double value,
                                       struct ast_span span) {
    struct bf_attrs attrs = {0};
    bf_attrs_set_float(&attrs, BF_OP_CONSTANT, "value", value);
    return fe_append(sema, frame, BF_OP_CONSTANT, NULL, 0, &attrs, NULL, span);
}

static bool as_number(const struct fe_value *value, double *number) {
    if (value->kind != FE_INT && value->kind != FE_FLOAT)
        return false;
    *number = value->kind == FE_INT ? (double)value->i : value->f;
    return true;
}

static bool operator_of(enum ast_operator op, enum bf_op_kind *kind) {
    switch (op) {
    case AST_ADD:
        *kind = BF_OP_ADD;
        return true;
    case AST_SUBTRACT:
        *kind = BF_OP_SUB;
        return true;
    case AST_MULTIPLY:
        *kind = BF_OP_MUL;
        return true;
    case AST_DIVIDE:
        *kind = BF_OP_DIV;
        return true;
    default:
        return false;
    }
}

struct fe_value fe_tensor_arithmetic(struct fe_sema *sema, struct fe_frame *frame,
                                     const struct ast_expr *expr, struct fe_value left,
                                     struct fe_value right) {
    enum bf_op_kind kind;
    double number = 0;
    bool left_is_number = as_number(&left, &number), right_is_number = as_number(&right, &number);
    bool fits =
        (left.kind == FE_TENSOR || left_is_number) && (right.kind == FE_TENSOR || right_is_number);
    if (!operator_of(expr->op, &kind) || !fits) {
        fe_wrong(sema, frame, expr->span, "'%s' does not go with %s and %s",
                 ast_operator_text(expr->op), fe_describe(sema, &left), fe_describe(sema, &right));
        return fe_broken();
    }
    struct bf_attrs attrs = {0};
    bool scales = kind == BF_OP_MUL ? left_is_number || right_is_number
                                    : kind == BF_OP_DIV && right_is_number;
    if (scales && kind == BF_OP_DIV && number == 0) {
        fe_wrong(sema, frame, expr->span, "division by zero");
        return fe_broken();
    }
    if (scales) {
        struct bf_value *tensor = left_is_number ? right.tensor : left.tensor;
        bf_attrs_set_float(&attrs, BF_OP_SCALE, "by", kind == BF_OP_DIV ? 1 / number : number);
        return fe_append(sema, frame, BF_OP_SCALE, &tensor, 1, &attrs, NULL, expr->span);
    }
    if (left_is_number)
        left = constant_tensor(sema, frame, number, expr->left->span);
    if (right_is_number)
        right = constant_tensor(sema, frame, number, expr->right->span);
    if (left.kind == FE_BROKEN || right.kind == FE_BROKEN)
        return fe_broken();
    struct bf_value *args[2] = {left.tensor, right.tensor};
    return fe_append(sema, frame, kind, args, 2, &attrs, NULL, expr->span);
}

/* ---- calls ---- */

/* A call whose arguments are being matched with the table entry. */
struct matching {
    struct fe_sema *sema;
    struct fe_frame *frame;
    const struct ast_expr *call;
    const struct bf_op_info *info;
    struct {
        struct bf_value **data;
        size_t count, capacity;
    } args; /* by entry, or variadic */
    struct bf_attrs attrs;
    bool arg_given[BF_MAX_ATTRS], attr_given[BF_MAX_ATTRS];
    unsigned next_arg, next_attr; /* of the next positional argument */
    bool broken;
};

static void refuse(struct matching *match, struct ast_span span, const char *format, ...)
    BF_PRINTF(3, 4);
static void refuse(struct matching *match, struct ast_span span, const char *format, ...) {
    struct bf_text text = {0};
    va_list args;
    va_start(args, format);
    bf_text_vprintf(&text, format, args);
    va_end(args);
    fe_wrong(match->sema, match->frame, span, "%s: %s", match->info->name, text.data);
    bf_text_free(&text);
    match->broken = true;
}

static bool is_variadic(const struct matching *match) {
    return match->info->arg_count && match->info->args[0].presence == BF_VARIADIC;
}

static bool is_given_by_user(const struct bf_attr_info *attr) {
    return attr->presence == BF_REQUIRED || attr->presence == BF_OPTIONAL;
}

/* The attribute of that name which a call may give, or -1. */
static int find_attr(const struct matching *match, const char *name) {
    int i = bf_op_attr_index(match->info, name);
    return i >= 0 && is_given_by_user(&match->info->attrs[i]) ? i : -1;
}

static void set_arg(struct matching *match, unsigned i, const struct ast_arg *arg,
                    struct bf_value *tensor) {
    if (is_variadic(match)) {
        *bf_push(&match->args) = tensor;
        match->arg_given[0] = true;
        return;
    }
    if (match->arg_given[i])
        refuse(match, arg->span, "'%s' is given twice", match->info->args[i].name);
    match->arg_given[i] = true;
    match->args.data[i] = tensor;
}

static const char *type_words(enum bf_attr_type type) {
    switch (type) {
    case BF_ATTR_INT:
        return "an integer";
    case BF_ATTR_FLOAT:
        return "a number";
    case BF_ATTR_BOOL:
        return "true or false";
    case BF_ATTR_INTS:
        return "a list of integers";
    case BF_ATTR_STRING:
        return "a string";
    default:
        return "a word";
    }
}

/* "none or tanh". */
static void add_choices(struct bf_text *text, const char *choices) {
    for (const char *at = choices; *at;) {
        size_t length = strcspn(at, "|");
        const char *after = at + length + (at[length] == '|');
        bf_text_printf(text, "%s%.*s",
                       at == choices        ? ""
                       : strchr(after, '|') ? ", "
                                            : " or ",
                       (int)length, at);
        at = after;
    }
}

static bool has_choice(const char *choices, const char *word) {
    size_t length = strlen(word);
    for (const char *at = choices; *at; at += strcspn(at, "|"), at += *at == '|')
        if (strcspn(at, "|") == length && !memcmp(at, word, length))
            return true;
    return false;
}

static bool set_word(struct matching *match, const struct bf_attr_info *info, struct bf_attr *attr,
                     const struct ast_arg *arg, const char *word) {
    struct bf_text choices = {0};
    if (!has_choice(info->choices, word)) {
        add_choices(&choices, info->choices);
        refuse(match, arg->span, "%s is %s, not '%s'", info->name, choices.data, word);
        bf_text_free(&choices);
        return false;
    }
    attr->s = word;
    return true;
}

static bool set_ints(struct bf_attr *attr, const struct fe_value *items, size_t count) {
    if (count > BF_MAX_INTS)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind != FE_INT)
            return false;
        attr->ints.v[i] = items[i].i;
    }
    attr->ints.count = (unsigned)count;
    return true;
}

/* Whether the value has the type of the attribute; then it is stored. */
static bool convert(const struct bf_attr_info *info, struct bf_attr *attr,
                    const struct fe_value *value) {
    double number;
    switch (info->type) {
    case BF_ATTR_INT:
        attr->i = value->i;
        return value->kind == FE_INT;
    case BF_ATTR_FLOAT:
        if (!as_number(value, &number))
            return false;
        attr->f = number;
        return true;
    case BF_ATTR_BOOL:
        return (value->kind == FE_BOOL || (value->kind == FE_INT && (value->i | 1) == 1)) &&
               fe_truth(value, &attr->b);
    case BF_ATTR_INTS:
        return value->kind == FE_LIST ? set_ints(attr, value->list.items, value->list.count)
                                      : set_ints(attr, value, 1);
    case BF_ATTR_STRING:
        attr->s = value->s;
        return value->kind == FE_STRING;
    default:
        return false;
    }
}

static void set_attr(struct matching *match, unsigned i, const struct ast_arg *arg,
                     const struct fe_value *value) {
    const struct bf_attr_info *info = &match->info->attrs[i];
    struct bf_attr attr = {.type = info->type};
    if (match->attr_given[i]) {
        refuse(match, arg->span, "'%s' is given twice", info->name);
        return;
    }
    match->attr_given[i] = true;
    if (value->kind == FE_ABSENT && info->presence == BF_OPTIONAL)
        return;
    if (info->type == BF_ATTR_WORD && value->kind == FE_STRING) {
        if (!set_word(match, info, &attr, arg, value->s))
            return;
    } else if (!convert(info, &attr, value)) {
        refuse(match, arg->span, "%s is %s, not %s", info->name, type_words(info->type),
               fe_describe(match->sema, value));
        return;
    }
    attr.loc = fe_loc(&match->sema->report, arg->span);
    attr.length = fe_underline(&match->sema->report, arg->span);
    uint32_t value_at = arg->value->span.begin - arg->span.begin;
    attr.caret = value_at < attr.length ? value_at : 0;
    match->attrs.v[i] = attr;
}

static void unknown_argument(struct matching *match, const struct ast_arg *arg) {
    const struct bf_op_info *info = match->info;
    const char *best = NULL;
    if (bf_op_attr_index(info, arg->name) >= 0) {
        refuse(match, arg->span, "'%s' follows from the operands and is not given", arg->name);
        return;
    }
    for (unsigned i = 0; i < info->arg_count; i++)
        fe_suggest(arg->name, info->args[i].name, &best);
    for (unsigned i = 0; i < info->attr_count; i++)
        if (is_given_by_user(&info->attrs[i]))
            fe_suggest(arg->name, info->attrs[i].name, &best);
    if (best) {
        refuse(match, arg->span, "there is no argument '%s'; did you mean '%s'?", arg->name, best);
        return;
    }
    struct bf_text names = {0};
    for (unsigned i = 0; i < info->arg_count; i++)
        bf_text_printf(&names, "%s%s", names.length ? ", " : "", info->args[i].name);
    for (unsigned i = 0; i < info->attr_count; i++)
        if (is_given_by_user(&info->attrs[i]))
            bf_text_printf(&names, "%s%s", names.length ? ", " : "", info->attrs[i].name);
    refuse(match, arg->span, "there is no argument '%s'; it takes %s", arg->name,
           names.length ? names.data : "none");
    bf_text_free(&names);
}

/* Gives `value` to the operand or the attribute `name`, whichever it fits. */
static void set_by_name(struct matching *match, const char *name, const struct ast_arg *arg,
                        const struct fe_value *value) {
    int operand = bf_op_arg_index(match->info, name), attr = find_attr(match, name);
    if (value->kind == FE_TENSOR && operand >= 0)
        set_arg(match, (unsigned)operand, arg, value->tensor);
    else if (value->kind == FE_ABSENT && operand >= 0 && attr < 0 &&
             match->info->args[operand].presence == BF_OPTIONAL)
        return;
    else if (attr >= 0)
        set_attr(match, (unsigned)attr, arg, value);
    else
        refuse(match, arg->span, "%s is a tensor, not %s", name, fe_describe(match->sema, value));
}

static bool operands_are_complete(const struct matching *match) {
    for (unsigned i = 0; i < match->info->arg_count; i++)
        if (match->info->args[i].presence != BF_OPTIONAL && !match->arg_given[i])
            return false;
    return true;
}

/* A positional argument that is a mere name may name what it is for: a word (tanh), a flag
 * (causal), an optional operand (mask). The name of that operand or attribute, or NULL. */
static const char *named_by_itself(const struct matching *match, const struct ast_expr *value,
                                   bool bare) {
    const struct bf_op_info *info = match->info;
    if (value->kind != AST_NAME || !operands_are_complete(match))
        return NULL;
    for (unsigned i = 0; bare && i < info->attr_count; i++)
        if (info->attrs[i].type == BF_ATTR_WORD && has_choice(info->attrs[i].choices, value->text))
            return info->attrs[i].name;
    int attr = find_attr(match, value->text), arg = bf_op_arg_index(info, value->text);
    if (attr >= 0 && info->attrs[attr].type == BF_ATTR_BOOL)
        return value->text;
    return arg >= 0 && info->args[arg].presence == BF_OPTIONAL ? value->text : NULL;
}

/* An integer at the place of a list begins one: param("w", 3 * d, d). */
static struct fe_value gather(struct matching *match, const struct ast_arg **arg,
                              struct fe_value value) {
    struct fe_value items[BF_MAX_INTS + 1];
    size_t count = 0;
    items[count++] = value;
    while (value.kind == FE_INT && (*arg)->next && !(*arg)->next->name && count <= BF_MAX_INTS) {
        *arg = (*arg)->next;
        value = fe_eval_one(match->sema, match->frame, (*arg)->value);
        items[count++] = value;
        match->broken |= value.kind == FE_BROKEN;
    }
    return fe_list_of(match->sema, FE_LIST, items, count);
}

static void set_by_position(struct matching *match, const struct ast_arg **arg,
                            struct fe_value value) {
    const struct bf_op_info *info = match->info;
    const struct ast_arg *first = *arg;
    while (match->next_arg < info->arg_count && info->args[match->next_arg].presence == BF_OPTIONAL)
        match->next_arg++;
    if (match->next_arg < info->arg_count) {
        if (value.kind == FE_TENSOR) {
            set_arg(match, match->next_arg, first, value.tensor);
            match->next_arg += !is_variadic(match);
            return;
        }
        if (!is_variadic(match)) {
            refuse(match, first->span, "%s is a tensor, not %s", info->args[match->next_arg++].name,
                   fe_describe(match->sema, &value));
            return;
        }
    }
    while (match->next_attr < info->attr_count && !is_given_by_user(&info->attrs[match->next_attr]))
        match->next_attr++;
    if (match->next_attr == info->attr_count) {
        refuse(match, first->span, "too many arguments");
        return;
    }
    unsigned attr = match->next_attr++;
    int operand = bf_op_arg_index(info, info->attrs[attr].name);
    if (info->attrs[attr].type == BF_ATTR_INTS && value.kind == FE_INT)
        value = gather(match, arg, value);
    if (value.kind == FE_TENSOR && operand >= 0)
        set_arg(match, (unsigned)operand, first, value.tensor);
    else
        set_attr(match, attr, first, &value);
}

/* A value that could not be evaluated takes a place all the same. */
static void skip_place(struct matching *match) {
    while (match->next_arg < match->info->arg_count &&
           match->info->args[match->next_arg].presence == BF_OPTIONAL)
        match->next_arg++;
    if (match->next_arg < match->info->arg_count)
        match->next_arg++;
    else
        match->next_attr++;
}

static void match_arg(struct matching *match, const struct ast_arg **arg,
                      const struct fe_value *first) {
    const struct ast_arg *given = *arg;
    bool bare = fe_is_bare(match->sema, match->frame, given->value);
    if (given->name && bf_op_arg_index(match->info, given->name) < 0 &&
        find_attr(match, given->name) < 0) {
        unknown_argument(match, given);
        return;
    }
    const char *own = given->name ? NULL : named_by_itself(match, given->value, bare);
    const char *name = given->name ? given->name : own;
    int attr = name ? find_attr(match, name) : -1;
    struct fe_value value;
    if (bare && attr >= 0 && match->info->attrs[attr].type == BF_ATTR_WORD)
        value = fe_string(given->value->text);
    else if (bare && own)
        value = fe_bool(true);
    else
        value = first ? *first : fe_eval_one(match->sema, match->frame, given->value);
    if (value.kind == FE_BROKEN)
        match->broken = true;
    if (value.kind == FE_BROKEN && !name)
        skip_place(match);
    else if (value.kind != FE_BROKEN && name)
        set_by_name(match, name, given, &value);
    else if (value.kind != FE_BROKEN)
        set_by_position(match, arg, value);
}

static void check_complete(struct matching *match) {
    const struct bf_op_info *info = match->info;
    for (unsigned i = 0; !match->broken && i < info->arg_count; i++)
        if (info->args[i].presence != BF_OPTIONAL && !match->arg_given[i])
            refuse(match, match->call->span, "the tensor '%s' must be given", info->args[i].name);
    for (unsigned i = 0; !match->broken && i < info->attr_count; i++)
        if (info->attrs[i].presence == BF_REQUIRED && !match->attr_given[i])
            refuse(match, match->call->span, "'%s' must be given", info->attrs[i].name);
}

struct fe_value fe_call_operator(struct fe_sema *sema, struct fe_frame *frame, enum bf_op_kind kind,
                                 const struct ast_expr *call, const struct fe_value *first,
                                 const struct fe_label *label) {
    struct matching match = {.sema = sema, .frame = frame, .call = call, .info = bf_op_info(kind)};
    for (unsigned i = 0; !is_variadic(&match) && i < match.info->arg_count; i++)
        *bf_push(&match.args) = NULL;
    for (const struct ast_arg *arg = call->args; arg; arg = arg->next)
        match_arg(&match, &arg, arg == call->args ? first : NULL);
    check_complete(&match);
    struct fe_value result = fe_broken();
    if (!match.broken)
        result = fe_append(sema, frame, kind, match.args.data, (unsigned)match.args.count,
                           &match.attrs, label, call->span);
    free(match.args.data);
    return result;
}
