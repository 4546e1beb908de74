/* net.c - types, the operator table, attributes, and building a network. See net.h. */
#include "ir/net.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- types ---- */

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [BF_F16] = {"f16", 2}, [BF_F32] = {"f32", 4}, [BF_I32] = {"i32", 4}, [BF_U8] = {"u8", 1}};

const char *bf_dtype_name(enum bf_dtype dtype) {
    return dtypes[dtype].name;
}

size_t bf_dtype_size(enum bf_dtype dtype) {
    return dtypes[dtype].size;
}

bool bf_dtype_find(const char *name, enum bf_dtype *dtype) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (!strcmp(name, dtypes[i].name)) {
            *dtype = (enum bf_dtype)i;
            return true;
        }
    return false;
}

struct bf_type bf_type_make(enum bf_dtype dtype, unsigned rank, const int64_t *dims) {
    assert(rank <= BF_MAX_RANK);
    struct bf_type type = {.dtype = dtype, .rank = rank};
    for (unsigned i = 0; i < rank; i++)
        type.dims[i] = dims[i];
    return type;
}

bool bf_type_same_shape(const struct bf_type *a, const struct bf_type *b) {
    return a->rank == b->rank && !memcmp(a->dims, b->dims, a->rank * sizeof *a->dims);
}

bool bf_type_equal(const struct bf_type *a, const struct bf_type *b) {
    return a->dtype == b->dtype && a->acc == b->acc && a->exponent == b->exponent &&
           bf_type_same_shape(a, b);
}

int64_t bf_type_elements(const struct bf_type *type) {
    int64_t count = 1;
    for (unsigned i = 0; i < type->rank; i++)
        if (__builtin_mul_overflow(count, type->dims[i], &count))
            return INT64_MAX;
    return count;
}

void bf_type_print(const struct bf_type *type, struct bf_text *text) {
    bf_text_printf(text, "%s[", type->acc ? "acc" : bf_dtype_name(type->dtype));
    for (unsigned i = 0; i < type->rank; i++)
        bf_text_printf(text, "%s%" PRId64, i ? "," : "", type->dims[i]);
    bf_text_add(text, "]");
    if (type->exponent)
        bf_text_printf(text, "*2^%d", type->exponent);
}

const char *bf_type_text(struct bf_arena *arena, const struct bf_type *type) {
    struct bf_text text = {0};
    bf_type_print(type, &text);
    const char *copy = bf_arena_strdup(arena, text.data);
    bf_text_free(&text);
    return copy;
}

/* ---- the operator table ---- */

/* Position of every entry in its flat array below: FIRST_k .. END_k are those of operator k. The
 * extra constants step the enumeration back by one, so that FIRST and END take no position. */
enum {
#define BF_OP(kind, name, class, sentence)     ARG_FIRST_##kind, ARG_STEP_##kind = ARG_FIRST_##kind - 1,
#define BF_ARG(kind, name, presence, sentence) ARG_##kind##_##name,
#define BF_OP_END(kind)                        ARG_END_##kind, ARG_BACK_##kind = ARG_END_##kind - 1,
#include "ir/net_ops.def"
};
enum {
#define BF_OP(kind, name, class, sentence)                                                         \
    ATTR_FIRST_##kind, ATTR_STEP_##kind = ATTR_FIRST_##kind - 1,
#define BF_ATTR(kind, name, type, presence, initial, choices, sentence) ATTR_##kind##_##name,
#define BF_OP_END(kind)                                                 ATTR_END_##kind, ATTR_BACK_##kind = ATTR_END_##kind - 1,
#include "ir/net_ops.def"
};
enum {
#define BF_OP(kind, name, class, sentence)                                                         \
    PARAM_FIRST_##kind, PARAM_STEP_##kind = PARAM_FIRST_##kind - 1,
#define BF_PARAM(kind, name, shape, condition, sentence) PARAM_##kind##_##name,
#define BF_OP_END(kind)                                  PARAM_END_##kind, PARAM_BACK_##kind = PARAM_END_##kind - 1,
#include "ir/net_ops.def"
};

static const struct bf_arg_info arg_table[] = {
#define BF_ARG(kind, name, presence, sentence) {#name, BF_##presence, sentence},
#include "ir/net_ops.def"
};
static const struct bf_attr_info attr_table[] = {
#define BF_ATTR(kind, name, type, presence, initial, choices, sentence)                            \
    {#name, BF_ATTR_##type, BF_##presence, initial, choices, sentence},
#include "ir/net_ops.def"
};
static const struct bf_param_info param_table[] = {
#define BF_PARAM(kind, name, shape, condition, sentence) {#name, shape, condition, sentence},
#include "ir/net_ops.def"
};

#define BF_OP(kind, name, class, sentence)                                                         \
    _Static_assert(ATTR_END_##kind - ATTR_FIRST_##kind <= BF_MAX_ATTRS, #name ": attributes");     \
    _Static_assert(PARAM_END_##kind - PARAM_FIRST_##kind <= BF_MAX_PARAMS, #name ": parameters");
#include "ir/net_ops.def"

static const struct bf_op_info op_table[] = {
#define BF_OP(kind, name, class, sentence)                                                         \
    {BF_OP_##kind,                                                                                 \
     #name,                                                                                        \
     BF_CLASS_##class,                                                                             \
     sentence,                                                                                     \
     arg_table + ARG_FIRST_##kind,                                                                 \
     attr_table + ATTR_FIRST_##kind,                                                               \
     param_table + PARAM_FIRST_##kind,                                                             \
     ARG_END_##kind - ARG_FIRST_##kind,                                                            \
     ATTR_END_##kind - ATTR_FIRST_##kind,                                                          \
     PARAM_END_##kind - PARAM_FIRST_##kind},
#include "ir/net_ops.def"
};

const struct bf_op_info *bf_op_info(enum bf_op_kind kind) {
    return &op_table[kind];
}

bool bf_op_find(const char *name, enum bf_op_kind *kind) {
    for (unsigned i = 0; i < BF_OP_COUNT; i++)
        if (!strcmp(name, op_table[i].name)) {
            *kind = (enum bf_op_kind)i;
            return true;
        }
    return false;
}

const char *bf_op_suggest(const char *name) {
    size_t best = strlen(name) / 3 + 2;
    const char *suggestion = NULL;
    for (unsigned i = 0; i < BF_OP_COUNT; i++) {
        size_t distance = bf_edit_distance(name, op_table[i].name, best);
        if (distance < best) {
            best = distance;
            suggestion = op_table[i].name;
        }
    }
    return suggestion;
}

int bf_op_arg_index(const struct bf_op_info *info, const char *name) {
    for (unsigned i = 0; i < info->arg_count; i++)
        if (!strcmp(name, info->args[i].name))
            return (int)i;
    return -1;
}

int bf_op_attr_index(const struct bf_op_info *info, const char *name) {
    for (unsigned i = 0; i < info->attr_count; i++)
        if (!strcmp(name, info->attrs[i].name))
            return (int)i;
    return -1;
}

/* ---- attributes ---- */

static struct bf_attr *attr_slot(struct bf_attrs *attrs, enum bf_op_kind kind, const char *name,
                                 enum bf_attr_type type) {
    int i = bf_op_attr_index(bf_op_info(kind), name);
    assert(i >= 0);
    attrs->v[i].type = type;
    return &attrs->v[i];
}

void bf_attrs_set_int(struct bf_attrs *attrs, enum bf_op_kind kind, const char *name, int64_t i) {
    attr_slot(attrs, kind, name, BF_ATTR_INT)->i = i;
}

void bf_attrs_set_float(struct bf_attrs *attrs, enum bf_op_kind kind, const char *name, double f) {
    attr_slot(attrs, kind, name, BF_ATTR_FLOAT)->f = f;
}

void bf_attrs_set_bool(struct bf_attrs *attrs, enum bf_op_kind kind, const char *name, bool b) {
    attr_slot(attrs, kind, name, BF_ATTR_BOOL)->b = b;
}

void bf_attrs_set_string(struct bf_attrs *attrs, enum bf_op_kind kind, const char *name,
                         const char *s) {
    int i = bf_op_attr_index(bf_op_info(kind), name);
    assert(i >= 0);
    attr_slot(attrs, kind, name, bf_op_info(kind)->attrs[i].type)->s = s;
}

void bf_attrs_set_ints(struct bf_attrs *attrs, enum bf_op_kind kind, const char *name,
                       const int64_t *v, unsigned count) {
    assert(count <= BF_MAX_INTS);
    struct bf_attr *attr = attr_slot(attrs, kind, name, BF_ATTR_INTS);
    attr->ints.count = count;
    for (unsigned i = 0; i < count; i++)
        attr->ints.v[i] = v[i];
}

const struct bf_attr *bf_op_attr(const struct bf_op *op, const char *name) {
    int i = bf_op_attr_index(bf_op_info(op->kind), name);
    assert(i >= 0);
    return &op->attrs.v[i];
}

int64_t bf_op_int(const struct bf_op *op, const char *name) {
    return bf_op_attr(op, name)->i;
}

double bf_op_float(const struct bf_op *op, const char *name) {
    return bf_op_attr(op, name)->f;
}

bool bf_op_bool(const struct bf_op *op, const char *name) {
    return bf_op_attr(op, name)->b;
}

const char *bf_op_word(const struct bf_op *op, const char *name) {
    return bf_op_attr(op, name)->s;
}

struct bf_value *bf_op_arg(const struct bf_op *op, const char *name) {
    int i = bf_op_arg_index(bf_op_info(op->kind), name);
    return i < 0 || (unsigned)i >= op->arg_count ? NULL : op->args[i];
}

struct bf_param *bf_op_param(const struct bf_op *op, const char *name) {
    const struct bf_op_info *info = bf_op_info(op->kind);
    for (unsigned i = 0; i < info->param_count; i++)
        if (!strcmp(name, info->params[i].name))
            return op->params[i];
    return NULL;
}

/* ---- tensors that operators read ---- */

bool bf_value_param_view(const struct bf_value *value, struct bf_param_view *view) {
    *view = (struct bf_param_view){.rank = value->type.rank};
    memcpy(view->extent, value->type.dims, sizeof view->extent);
    for (; value->op && value->op->kind == BF_OP_SLICE; value = value->op->args[0])
        for (unsigned i = 0; i < view->rank; i++)
            view->begin[i] += bf_op_attr(value->op, "begin")->ints.v[i];
    if (!value->op || value->op->kind != BF_OP_PARAM)
        return false;
    view->param = value->op->params[0];
    return true;
}

bool bf_op_weight_view(const struct bf_op *op, const char *name, struct bf_param_view *view) {
    struct bf_param *param = bf_op_param(op, name);
    if (param) {
        *view = (struct bf_param_view){.param = param, .rank = param->type.rank};
        memcpy(view->extent, param->type.dims, sizeof view->extent);
        return true;
    }
    struct bf_value *value = bf_op_arg(op, name);
    return value && bf_value_param_view(value, view);
}

/* ---- building ---- */

struct bf_net *bf_net_create(const char *name) {
    struct bf_net *net = bf_alloc(sizeof *net);
    net->name = bf_arena_strdup(&net->arena, name);
    bf_header_init(&net->header);
    return net;
}

void bf_net_free(struct bf_net *net) {
    if (!net)
        return;
    free(net->inputs.data);
    free(net->params.data);
    free(net->ops.data);
    free(net->outputs.data);
    bf_arena_free(&net->arena);
    free(net);
}

static bool check_dims(const struct bf_type *type, const char *what, struct bf_loc loc,
                       struct bf_diags *diags) {
    for (unsigned i = 0; i < type->rank; i++)
        if (type->dims[i] < 1 || type->dims[i] > INT32_MAX)
            return bf_diag_error(diags, loc,
                                 "axis %u of %s has length %" PRId64 ", must be 1 to 2^31 - 1", i,
                                 what, type->dims[i]);
    if (bf_type_elements(type) > BF_MAX_ELEMENTS)
        return bf_diag_error(diags, loc, "%s is too large", what);
    return true;
}

struct bf_value *bf_net_add_input(struct bf_net *net, const char *name, struct bf_type type,
                                  struct bf_loc loc, struct bf_diags *diags) {
    for (size_t i = 0; i < net->inputs.count; i++) {
        if (strcmp(name, net->inputs.data[i]->name))
            continue;
        bf_diag_error(diags, loc, "input '%s' is declared twice", name);
        bf_diag_note(diags, net->inputs.data[i]->loc, "it was declared here");
        return NULL;
    }
    const char *what = bf_arena_printf(&net->arena, "input '%s'", name);
    if (type.rank > BF_VALUE_RANK) {
        bf_diag_error(diags, loc, "%s has %u axes, the limit is %d", what, type.rank,
                      BF_VALUE_RANK);
        return NULL;
    }
    if (!check_dims(&type, what, loc, diags))
        return NULL;
    struct bf_value *value = bf_arena_alloc(&net->arena, sizeof *value);
    *value = (struct bf_value){.type = type,
                               .name = bf_arena_strdup(&net->arena, name),
                               .index = (unsigned)net->inputs.count,
                               .loc = loc};
    *bf_push(&net->inputs) = value;
    return value;
}

bool bf_net_add_output(struct bf_net *net, const char *name, struct bf_value *value,
                       struct bf_loc loc, struct bf_diags *diags) {
    if (!value)
        return false;
    for (size_t i = 0; i < net->outputs.count; i++) {
        if (strcmp(name, net->outputs.data[i].name))
            continue;
        bf_diag_error(diags, loc, "output '%s' is declared twice", name);
        bf_diag_note(diags, net->outputs.data[i].loc, "it was declared here");
        return false;
    }
    if (value->type.rank > BF_VALUE_RANK)
        return bf_diag_error(diags, loc, "output '%s' has %u axes, the limit is %d", name,
                             value->type.rank, BF_VALUE_RANK);
    *bf_push(&net->outputs) = (struct bf_output){bf_arena_strdup(&net->arena, name), value, loc};
    return true;
}

struct bf_param *bf_net_find_param(const struct bf_net *net, const char *name) {
    for (size_t i = 0; i < net->params.count; i++)
        if (!strcmp(name, net->params.data[i]->name))
            return net->params.data[i];
    return NULL;
}

/* Operands in table order, absent trailing ones as NULL; false if a required one is missing. */
static bool take_args(struct bf_net *net, struct bf_op *op, struct bf_value *const *args,
                      unsigned count, struct bf_diags *diags) {
    const struct bf_op_info *info = bf_op_info(op->kind);
    bool variadic = info->arg_count && info->args[0].presence == BF_VARIADIC;
    if (!variadic && count > info->arg_count)
        return bf_diag_error(diags, op->loc, "%s takes %u operand%s, not %u", info->name,
                             info->arg_count, info->arg_count == 1 ? "" : "s", count);
    if (variadic && !count)
        return bf_diag_error(diags, op->loc, "%s needs an operand", info->name);
    op->arg_count = variadic ? count : info->arg_count;
    op->args = bf_arena_alloc(&net->arena, op->arg_count * sizeof *op->args);
    for (unsigned i = 0; i < op->arg_count; i++) {
        op->args[i] = i < count ? args[i] : NULL;
        if (!op->args[i] && (variadic || info->args[i].presence == BF_REQUIRED))
            return i < count ? false
                             : bf_diag_error(diags, op->loc, "%s: operand '%s' is missing",
                                             info->name, info->args[i].name);
    }
    return true;
}

static void take_attrs(struct bf_net *net, struct bf_op *op, const struct bf_attrs *attrs) {
    const struct bf_op_info *info = bf_op_info(op->kind);
    if (attrs)
        op->attrs = *attrs;
    for (unsigned i = 0; i < info->attr_count; i++) {
        struct bf_attr *attr = &op->attrs.v[i];
        if (attr->type == BF_ATTR_WORD || attr->type == BF_ATTR_STRING)
            attr->s = bf_arena_strdup(&net->arena, attr->s);
    }
}

/* "butterfly(768 -> 3072)", for messages about weights. */
static const char *describe(struct bf_net *net, const struct bf_op *op) {
    const struct bf_op_info *info = bf_op_info(op->kind);
    const struct bf_type *type = &op->result.type;
    if (info->class == BF_CLASS_LINEAR)
        return bf_arena_printf(&net->arena, "%s(%" PRId64 " -> %" PRId64 ")", info->name,
                               bf_op_int(op, "in"), type->dims[type->rank - 1]);
    if (op->kind == BF_OP_PARAM)
        return info->name;
    return bf_arena_printf(&net->arena, "%s of %s", info->name,
                           bf_type_text(&net->arena, &(op->args[0]->type)));
}

static const char *param_path(struct bf_net *net, const struct bf_op *op, unsigned slot) {
    const char *name =
        op->kind == BF_OP_PARAM ? bf_op_word(op, "name") : bf_op_info(op->kind)->params[slot].name;
    return *op->label ? bf_arena_printf(&net->arena, "%s.%s", op->label, name) : name;
}

static bool report_shared(struct bf_net *net, const struct bf_op *op, const struct bf_param *old,
                          const struct bf_type *type, struct bf_diags *diags) {
    if (!op->attrs.shared)
        bf_diag(diags, BF_ERROR, op->loc, op->attrs.length, 0,
                "the parameter '%s' exists already; label this %s differently, or say `shared`",
                old->name, bf_op_info(op->kind)->name);
    else
        bf_diag(diags, BF_ERROR, op->loc, op->attrs.length, 0,
                "this %s needs '%s' as %s, but it is shared and is %s", bf_op_info(op->kind)->name,
                old->name, bf_type_text(&net->arena, type), bf_type_text(&net->arena, &old->type));
    bf_diag_note(diags, old->loc, "'%s' belongs to the %s here", old->name, old->owner);
    return false;
}

static bool declare_params(struct bf_net *net, struct bf_op *op, struct bf_diags *diags) {
    for (unsigned slot = 0; slot < BF_MAX_PARAMS; slot++) {
        struct bf_type type;
        if (!bf_net_param_type(op, slot, &type))
            continue;
        const char *name = param_path(net, op, slot);
        struct bf_param *param = bf_net_find_param(net, name);
        if (param && (!op->attrs.shared || !bf_type_equal(&type, &param->type)))
            return report_shared(net, op, param, &type, diags);
        if (!param) {
            if (!check_dims(&type, bf_arena_printf(&net->arena, "parameter '%s'", name), op->loc,
                            diags))
                return false;
            param = bf_arena_alloc(&net->arena, sizeof *param);
            *param = (struct bf_param){bf_arena_strdup(&net->arena, name), type, op->loc,
                                       (unsigned)net->params.count,        NULL, NULL};
            *bf_push(&net->params) = param;
        }
        if (!param->owner)
            param->owner = describe(net, op);
        op->params[slot] = param;
    }
    return true;
}

struct bf_value *bf_net_add_op(struct bf_net *net, enum bf_op_kind kind,
                               struct bf_value *const *args, unsigned arg_count,
                               const struct bf_attrs *attrs, const char *label, struct bf_loc loc,
                               struct bf_diags *diags) {
    struct bf_op *op = bf_arena_alloc(&net->arena, sizeof *op);
    op->kind = kind;
    op->loc = op->result.loc = loc;
    op->label = bf_arena_strdup(&net->arena, label ? label : "");
    op->result.op = op;
    op->result.index = (unsigned)net->ops.count;
    if (!take_args(net, op, args, arg_count, diags))
        return NULL;
    take_attrs(net, op, attrs);
    if (!bf_net_infer(net, op, diags) || !declare_params(net, op, diags))
        return NULL;
    op->result.is_static = kind != BF_OP_EMBEDDING;
    for (unsigned i = 0; i < op->arg_count; i++)
        if (op->args[i] && !op->args[i]->is_static)
            op->result.is_static = false;
    *bf_push(&net->ops) = op;
    return &op->result;
}

struct bf_value *bf_net_add_param(struct bf_net *net, const char *label, const char *name,
                                  unsigned rank, const int64_t *dims, bool shared,
                                  struct bf_loc loc, struct bf_diags *diags) {
    struct bf_attrs attrs = {.shared = shared};
    bf_attrs_set_string(&attrs, BF_OP_PARAM, "name", name);
    bf_attrs_set_ints(&attrs, BF_OP_PARAM, "shape", dims, rank);
    return bf_net_add_op(net, BF_OP_PARAM, NULL, 0, &attrs, label, loc, diags);
}

void bf_net_renumber(struct bf_net *net) {
    for (size_t i = 0; i < net->ops.count; i++)
        net->ops.data[i]->result.index = (unsigned)i;
}

void bf_net_replace(struct bf_net *net, struct bf_value *old, struct bf_value *replacement) {
    for (size_t i = 0; i < net->ops.count; i++) {
        struct bf_op *op = net->ops.data[i];
        for (unsigned j = 0; j < op->arg_count; j++)
            if (op->args[j] == old)
                op->args[j] = replacement;
    }
    for (size_t i = 0; i < net->outputs.count; i++)
        if (net->outputs.data[i].value == old)
            net->outputs.data[i].value = replacement;
}
