/* net_parse.c - reads what net_print.c writes. Whatever the text holds, the result is a network
 * that the verifier accepts, or an error at line and column of the text. */
#include "ir/net.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

struct parser {
    struct bf_reader reader;
    struct bf_net *net;
    struct bf_diags *diags;
    /* While the text is read, operators, inputs and parameters are placed in the text itself; these
     * are the places they had when it was written. */
    struct {
        struct bf_loc *data;
        size_t count, capacity;
    } input_locs, op_locs;
    struct {
        struct bf_value **data;
        size_t count, capacity;
    } args; /* operands of the line being read */
};

static char peek(struct parser *p) {
    bf_reader_blanks(&p->reader);
    return bf_reader_at_end(&p->reader) ? 0 : *p->reader.at;
}

bool bf_type_parse(struct bf_reader *reader, struct bf_type *type) {
    *type = (struct bf_type){.dtype = BF_F32};
    const char *name = bf_reader_word(reader, "", "a type");
    if (!name)
        return false;
    type->acc = !strcmp(name, "acc");
    if (!type->acc && !bf_dtype_find(name, &type->dtype))
        return bf_reader_error(reader, "'%s' is no type", name);
    if (!bf_reader_expect(reader, "["))
        return false;
    while (!bf_reader_accept(reader, "]")) {
        if (type->rank == BF_MAX_RANK)
            return bf_reader_error(reader, "too many axes");
        if ((type->rank && !bf_reader_expect(reader, ",")) ||
            !bf_reader_int(reader, &type->dims[type->rank]))
            return false;
        type->rank++;
    }
    int64_t exponent = 0;
    if (bf_reader_accept(reader, "*2^") && !bf_reader_int(reader, &exponent))
        return false;
    if (exponent < -64 || exponent > 64 || (exponent && (type->acc || type->dtype != BF_F16)))
        return bf_reader_error(reader, "the exponent is not allowed");
    type->exponent = (int)exponent;
    return !reader->failed;
}

/* "%3" or "%x" */
static struct bf_value *parse_value(struct parser *p) {
    if (!bf_reader_expect(&p->reader, "%"))
        return NULL;
    if (isdigit((unsigned char)peek(p))) {
        int64_t number;
        if (!bf_reader_int(&p->reader, &number))
            return NULL;
        if (number >= 1 && number <= (int64_t)p->net->ops.count)
            return &p->net->ops.data[number - 1]->result;
        bf_reader_error(&p->reader, "there is no value %%%" PRId64 " above this line", number);
        return NULL;
    }
    const char *name = bf_reader_name(&p->reader, "the name of a value");
    for (size_t i = 0; name && i < p->net->inputs.count; i++)
        if (!strcmp(name, p->net->inputs.data[i]->name))
            return p->net->inputs.data[i];
    if (name)
        bf_reader_error(&p->reader, "there is no input '%s'", name);
    return NULL;
}

static bool parse_input(struct parser *p) {
    struct bf_loc here = bf_reader_loc(&p->reader);
    struct bf_type type;
    if (!bf_reader_expect(&p->reader, "%"))
        return false;
    const char *name = bf_reader_name(&p->reader, "the name of an input");
    if (!name || !bf_type_parse(&p->reader, &type))
        return false;
    if (type.acc || type.exponent)
        return bf_reader_error(&p->reader, "an input is stored as it is");
    return bf_header_parse_loc(&p->reader, &p->net->header, bf_push(&p->input_locs)) &&
           bf_net_add_input(p->net, name, type, here, p->diags);
}

static bool parse_param(struct parser *p) {
    struct bf_net *net = p->net;
    struct bf_param *param = bf_arena_alloc(&net->arena, sizeof *param);
    if (!(param->name = bf_reader_name(&p->reader, "the name of a parameter")))
        return false;
    if (!bf_type_parse(&p->reader, &param->type) ||
        !bf_header_parse_loc(&p->reader, &net->header, &param->loc))
        return false;
    if (param->type.dtype != BF_F16 || param->type.exponent)
        return bf_reader_error(&p->reader, "a parameter is f16");
    for (unsigned i = 0; i < param->type.rank; i++)
        if (param->type.dims[i] < 1 || param->type.dims[i] > INT32_MAX)
            return bf_reader_error(&p->reader, "axis %u has no valid length", i);
    if (bf_type_elements(&param->type) > BF_MAX_ELEMENTS)
        return bf_reader_error(&p->reader, "the parameter is too large");
    param->index = (unsigned)net->params.count;
    *bf_push(&net->params) = param;
    return true;
}

static bool parse_ints(struct parser *p, struct bf_attr *attr) {
    if (!bf_reader_expect(&p->reader, "["))
        return false;
    while (!bf_reader_accept(&p->reader, "]")) {
        if (attr->ints.count == BF_MAX_INTS)
            return bf_reader_error(&p->reader, "too many entries");
        if ((attr->ints.count && !bf_reader_expect(&p->reader, ",")) ||
            !bf_reader_int(&p->reader, &attr->ints.v[attr->ints.count]))
            return false;
        attr->ints.count++;
    }
    return true;
}

/* What follows "name=". */
static bool parse_attr(struct parser *p, const struct bf_attr_info *info, struct bf_attr *attr) {
    if (attr->type != BF_ATTR_UNSET)
        return bf_reader_error(&p->reader, "'%s' is given twice", info->name);
    attr->type = info->type;
    switch (info->type) {
    case BF_ATTR_INT:
        return bf_reader_int(&p->reader, &attr->i);
    case BF_ATTR_FLOAT:
        return bf_reader_double(&p->reader, &attr->f);
    case BF_ATTR_WORD:
        return (attr->s = bf_reader_word(&p->reader, "", "a word"));
    case BF_ATTR_STRING:
        return (attr->s = bf_reader_string(&p->reader));
    case BF_ATTR_INTS:
        return parse_ints(p, attr);
    default:
        return bf_reader_error(&p->reader, "'%s' takes no value", info->name);
    }
}

/* "name=%4": an optional operand. */
static bool parse_named_arg(struct parser *p, const struct bf_op_info *info, const char *name) {
    int i = bf_op_arg_index(info, name);
    if (i < 0 || info->args[i].presence != BF_OPTIONAL)
        return bf_reader_error(&p->reader, "%s has no optional operand '%s'", info->name, name);
    while (p->args.count <= (size_t)i)
        *bf_push(&p->args) = NULL;
    if (p->args.data[i])
        return bf_reader_error(&p->reader, "'%s' is given twice", name);
    return (p->args.data[i] = parse_value(p));
}

/* One of "name=%4", "name=value", "name"; *name was read. */
static bool parse_item(struct parser *p, const struct bf_op_info *info, const char *name,
                       struct bf_attrs *attrs) {
    int i = bf_op_attr_index(info, name);
    bool shown = i >= 0 && info->attrs[i].presence != BF_HIDDEN;
    if (bf_reader_accept(&p->reader, "=")) {
        if (peek(p) == '%')
            return parse_named_arg(p, info, name);
        if (shown)
            return parse_attr(p, &info->attrs[i], &attrs->v[i]);
    } else if (shown && info->attrs[i].type == BF_ATTR_BOOL) {
        attrs->v[i].type = BF_ATTR_BOOL;
        attrs->v[i].b = true;
        return true;
    }
    return bf_reader_error(&p->reader, "%s has no attribute '%s'", info->name, name);
}

/* Named operands, label and attributes, up to the type, which is read as well. */
static bool parse_items(struct parser *p, const struct bf_op_info *info, struct bf_attrs *attrs,
                        const char **label, struct bf_type *type) {
    *label = "";
    for (;;) {
        if (!**label && bf_reader_accept(&p->reader, "@") &&
            !(*label = bf_reader_name(&p->reader, "a label")))
            return false;
        bf_reader_blanks(&p->reader);
        const char *before = p->reader.at;
        const char *name = bf_reader_word(&p->reader, "", "an attribute or the type");
        if (!name)
            return false;
        if (peek(p) == '[') {
            p->reader.at = before;
            return bf_type_parse(&p->reader, type);
        }
        if (!parse_item(p, info, name, attrs))
            return false;
    }
}

static bool parse_operands(struct parser *p, const struct bf_op_info *info) {
    bool variadic = info->arg_count && info->args[0].presence == BF_VARIADIC;
    unsigned required = 0;
    while (required < info->arg_count && info->args[required].presence == BF_REQUIRED)
        required++;
    p->args.count = 0;
    for (unsigned i = 0; variadic ? i == 0 || bf_reader_accept(&p->reader, ",") : i < required;
         i++) {
        if (!variadic && i && !bf_reader_expect(&p->reader, ","))
            return false;
        struct bf_value *value = parse_value(p);
        if (!value)
            return false;
        *bf_push(&p->args) = value;
    }
    return true;
}

/* The text's own statements about the result are what inference says. */
static bool check_result(struct parser *p, struct bf_op *op, const struct bf_attrs *given,
                         const struct bf_type *type) {
    const struct bf_op_info *info = bf_op_info(op->kind);
    for (unsigned i = 0; i < info->attr_count; i++)
        if (info->attrs[i].presence == BF_DERIVED && given->v[i].type != BF_ATTR_UNSET &&
            given->v[i].i != op->attrs.v[i].i)
            return bf_reader_error(&p->reader, "%s is %" PRId64 ", not %" PRId64,
                                   info->attrs[i].name, op->attrs.v[i].i, given->v[i].i);
    if (!bf_net_type_allowed(op, &op->result.type, type))
        return bf_reader_error(&p->reader, "the result is %s, not %s",
                               bf_type_text(&p->net->arena, &op->result.type),
                               bf_type_text(&p->net->arena, type));
    op->result.type = *type;
    return true;
}

static bool parse_op(struct parser *p) {
    struct bf_loc here = bf_reader_loc(&p->reader);
    struct bf_net *net = p->net;
    int64_t number;
    if (!bf_reader_expect(&p->reader, "%") || !bf_reader_int(&p->reader, &number))
        return false;
    if (number != (int64_t)net->ops.count + 1)
        return bf_reader_error(&p->reader, "expected %%%zu", net->ops.count + 1);
    if (!bf_reader_expect(&p->reader, "="))
        return false;
    const char *name = bf_reader_word(&p->reader, "", "an operator"), *label;
    enum bf_op_kind kind;
    struct bf_attrs attrs = {.shared = true};
    struct bf_type type;
    if (!name)
        return false;
    if (!bf_op_find(name, &kind))
        return bf_reader_error(&p->reader, "unknown operator '%s'", name);
    const struct bf_op_info *info = bf_op_info(kind);
    if (!parse_operands(p, info) || !parse_items(p, info, &attrs, &label, &type))
        return false;
    for (unsigned i = 0; i < info->attr_count; i++) /* an absent boolean is false */
        if (info->attrs[i].type == BF_ATTR_BOOL && attrs.v[i].type == BF_ATTR_UNSET)
            attrs.v[i].type = BF_ATTR_BOOL;
    size_t params = net->params.count;
    struct bf_value *value = bf_net_add_op(net, kind, p->args.data, (unsigned)p->args.count, &attrs,
                                           label, here, p->diags);
    if (!value)
        return false;
    if (net->params.count > params)
        return bf_reader_error(&p->reader, "the parameter '%s' is not listed above",
                               net->params.data[params]->name);
    return check_result(p, value->op, &attrs, &type) &&
           bf_header_parse_loc(&p->reader, &net->header, bf_push(&p->op_locs));
}

static bool parse_output(struct parser *p) {
    struct bf_loc here = bf_reader_loc(&p->reader), loc;
    struct bf_value *value;
    struct bf_type type;
    const char *name = bf_reader_name(&p->reader, "the name of an output");
    if (!name || !bf_reader_expect(&p->reader, "=") || !(value = parse_value(p)) ||
        !bf_type_parse(&p->reader, &type) ||
        !bf_header_parse_loc(&p->reader, &p->net->header, &loc))
        return false;
    if (!bf_type_equal(&type, &value->type))
        return bf_reader_error(&p->reader, "the output is %s, not %s",
                               bf_type_text(&p->net->arena, &value->type),
                               bf_type_text(&p->net->arena, &type));
    if (!bf_net_add_output(p->net, name, value, here, p->diags))
        return false;
    p->net->outputs.data[p->net->outputs.count - 1].loc = loc;
    return true;
}

static bool parse_body(struct parser *p) {
    struct bf_reader *reader = &p->reader;
    if (!bf_header_parse(reader, "net", &p->net->header) || !bf_reader_expect(reader, "net") ||
        !(p->net->name = bf_reader_name(reader, "the name of the network")))
        return false;
    while (bf_reader_next_line(reader)) {
        bool ok = peek(p) == '%'                      ? parse_op(p)
                  : bf_reader_accept(reader, "input") ? parse_input(p)
                  : bf_reader_accept(reader, "param") ? parse_param(p)
                  : bf_reader_accept(reader, "output")
                      ? parse_output(p)
                      : bf_reader_error(reader, "expected input, param, output or a value");
        if (!ok)
            return false;
    }
    return !reader->failed;
}

struct bf_net *bf_net_parse(const char *text, size_t size, uint32_t file, struct bf_diags *diags) {
    struct parser p = {.net = bf_net_create(""), .diags = diags};
    bf_reader_init(&p.reader, text, size, file, diags, &p.net->arena);
    bool ok = parse_body(&p) && bf_net_verify(p.net, diags);
    for (size_t i = 0; ok && i < p.net->inputs.count; i++)
        p.net->inputs.data[i]->loc = p.input_locs.data[i];
    for (size_t i = 0; ok && i < p.net->ops.count; i++)
        p.net->ops.data[i]->loc = p.net->ops.data[i]->result.loc = p.op_locs.data[i];
    free(p.input_locs.data);
    free(p.op_locs.data);
    free(p.args.data);
    if (ok)
        return p.net;
    bf_net_free(p.net);
    return NULL;
}
