/* net_print.c - the text of a network:
 *
 *     bfcc net 1 arch=default:0123456789abcdef batch=1 opt=2 resident=0 weights=none
 *     file 0 "fabnet.bfly"
 *     net fabnet
 *     input %x                    f16[128,768]                                         loc(0,12,5)
 *     param encoder.0.norm1.bias  f16[768]                                             loc(0,13,9)
 *     %1  = fourier %x            @encoder.0 axes=[0,1]         f16[128,768]*2^7       loc(0,12,14)
 *     output y = %1               f16[128,768]                                         loc(0,14,5)
 *
 * Operand, `@label`, attributes, type, place. Required operands come first, optional ones are given
 * as name=%value. A boolean attribute is printed as its bare name when true. See net_parse.c.
 */
#include "ir/net.h"

#include <inttypes.h>

enum { SECOND = 30, TYPE = 72, PLACE = 96 };

/* Blanks up to `column` of the line that began at `start`, at least two. */
static void pad(struct bf_text *text, size_t start, size_t column) {
    size_t at = text->length - start;
    bf_text_printf(text, "%*s", at + 2 > column ? 2 : (int)(column - at), "");
}

static void print_place(const struct bf_net *net, struct bf_loc loc, size_t start,
                        struct bf_text *text) {
    size_t before = text->length;
    pad(text, start, PLACE);
    size_t padded = text->length;
    bf_header_print_loc(&net->header, loc, text);
    if (text->length == padded) {
        text->length = before;
        text->data[before] = 0;
    }
    bf_text_add(text, "\n");
}

static void print_value(const struct bf_value *value, struct bf_text *text) {
    bf_text_add(text, "%");
    if (value->op)
        bf_text_printf(text, "%u", value->index + 1);
    else
        bf_text_add_name(text, value->name);
}

static void print_attr(const struct bf_attr_info *info, const struct bf_attr *attr,
                       const char *separator, struct bf_text *text) {
    if (info->presence == BF_HIDDEN || attr->type == BF_ATTR_UNSET ||
        (attr->type == BF_ATTR_BOOL && !attr->b))
        return;
    bf_text_printf(text, "%s%s", separator, info->name);
    switch (attr->type) {
    case BF_ATTR_INT:
        bf_text_printf(text, "=%" PRId64, attr->i);
        break;
    case BF_ATTR_FLOAT:
        bf_text_add(text, "=");
        bf_text_add_double(text, attr->f);
        break;
    case BF_ATTR_WORD:
        bf_text_printf(text, "=%s", attr->s);
        break;
    case BF_ATTR_STRING:
        bf_text_add(text, "=");
        bf_text_add_quoted(text, attr->s);
        break;
    case BF_ATTR_INTS:
        bf_text_add(text, "=[");
        for (unsigned i = 0; i < attr->ints.count; i++)
            bf_text_printf(text, "%s%" PRId64, i ? "," : "", attr->ints.v[i]);
        bf_text_add(text, "]");
        break;
    default:
        break;
    }
}

static void print_op(const struct bf_net *net, const struct bf_op *op, struct bf_text *text) {
    const struct bf_op_info *info = bf_op_info(op->kind);
    size_t start = text->length;
    char number[24];
    snprintf(number, sizeof number, "%%%u", op->result.index + 1);
    bf_text_printf(text, "%-4s = %s", number, info->name);
    bool variadic = info->arg_count && info->args[0].presence == BF_VARIADIC;
    const char *separator = " ";
    for (unsigned i = 0; i < op->arg_count; i++) {
        if (!op->args[i])
            continue;
        if (variadic || info->args[i].presence == BF_REQUIRED)
            bf_text_add(text, separator);
        else
            bf_text_printf(text, " %s=", info->args[i].name);
        print_value(op->args[i], text);
        separator = ", ";
    }
    pad(text, start, SECOND);
    size_t second = text->length;
    if (*op->label) {
        bf_text_add(text, "@");
        bf_text_add_name(text, op->label);
    }
    for (unsigned i = 0; i < info->attr_count; i++)
        print_attr(&info->attrs[i], &op->attrs.v[i], text->length > second ? " " : "", text);
    pad(text, start, TYPE);
    bf_type_print(&op->result.type, text);
    print_place(net, op->loc, start, text);
}

/* "input %x", "param name", "output y = %3": a head, a type, a place. */
static void finish(const struct bf_net *net, const struct bf_type *type, struct bf_loc loc,
                   size_t start, struct bf_text *text) {
    pad(text, start, TYPE);
    bf_type_print(type, text);
    print_place(net, loc, start, text);
}

void bf_net_print(const struct bf_net *net, struct bf_text *text) {
    bf_header_print(&net->header, "net", text);
    bf_text_add(text, "net ");
    bf_text_add_name(text, net->name);
    bf_text_add(text, "\n");
    for (size_t i = 0; i < net->inputs.count; i++) {
        const struct bf_value *value = net->inputs.data[i];
        size_t start = text->length;
        bf_text_add(text, "input ");
        print_value(value, text);
        finish(net, &value->type, value->loc, start, text);
    }
    for (size_t i = 0; i < net->params.count; i++) {
        const struct bf_param *param = net->params.data[i];
        size_t start = text->length;
        bf_text_add(text, "param ");
        bf_text_add_name(text, param->name);
        finish(net, &param->type, param->loc, start, text);
    }
    for (size_t i = 0; i < net->ops.count; i++)
        print_op(net, net->ops.data[i], text);
    for (size_t i = 0; i < net->outputs.count; i++) {
        const struct bf_output *output = &net->outputs.data[i];
        size_t start = text->length;
        bf_text_add(text, "output ");
        bf_text_add_name(text, output->name);
        bf_text_add(text, " = ");
        print_value(output->value, text);
        finish(net, &output->value->type, output->loc, start, text);
    }
}
