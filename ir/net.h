/* net.h - a network as a graph of operators.
 *
 * A net is a list of operators in SSA order for ONE sample; the batch is a field of the header.
 * Every operator has exactly one result, a value with a static type. Tensors that come from the
 * weights are parameters with a full path name; operators own the parameters that the table
 * net_ops.def gives them and name them by their label:
 *
 *     %4 = butterfly %3 @encoder.0.ffn.fc1 ...  owns  encoder.0.ffn.fc1.twiddle and .bias
 *
 * Two operators with the same label share their parameters (tied weights). A complex tensor is a
 * real one with a leading axis of 2 (real and imaginary plane).
 *
 * Memory: everything a net refers to lives in its arena; bf_net_free releases it all.
 */
#ifndef BF_NET_H
#define BF_NET_H

#include "ir/header.h"
#include "ir/isa/dtype.h"

/* ---- types ---- */

#define BF_VALUE_RANK 4 /* of values */
#define BF_MAX_RANK   8 /* of parameters: twiddles have up to 7 axes */
#define BF_MAX_ELEMENTS                                                                            \
    (INT64_C(1) << 40) /* of any tensor; also no axis is longer than INT32_MAX */

/* `f16[128,768]*2^8`: the true value is the stored one times 2^exponent (0 unless f16).
 * `acc[128,768]`: f32 in the accumulators, never stored: every reader is in the same kernel; dtype
 * is BF_F32 and exponent 0. */
struct bf_type {
    enum bf_dtype dtype;
    bool acc;
    int exponent;
    unsigned rank;
    int64_t dims[BF_MAX_RANK];
};

const char *bf_dtype_name(enum bf_dtype dtype); /* "f16" */
bool bf_dtype_find(const char *name, enum bf_dtype *dtype);
size_t bf_dtype_size(enum bf_dtype dtype); /* bytes */
struct bf_type bf_type_make(enum bf_dtype dtype, unsigned rank, const int64_t *dims);
bool bf_type_same_shape(const struct bf_type *a, const struct bf_type *b);
bool bf_type_equal(const struct bf_type *a, const struct bf_type *b);
int64_t bf_type_elements(const struct bf_type *type); /* INT64_MAX if that overflows */
void bf_type_print(const struct bf_type *type, struct bf_text *text); /* "f16[128,768]*2^8" */
/* Reads one back, with any number of axes up to BF_MAX_RANK. */
bool bf_type_parse(struct bf_reader *reader, struct bf_type *type);
/* The same as bf_type_print in memory of `arena`, for messages. */
const char *bf_type_text(struct bf_arena *arena, const struct bf_type *type);

/* ---- the operator table (net_ops.def) ---- */

enum bf_op_kind {
#define BF_OP(kind, name, class, sentence) BF_OP_##kind,
#include "ir/net_ops.def"
    BF_OP_COUNT
};

enum bf_op_class {
    BF_CLASS_SOURCE,    /* param, constant: no operands */
    BF_CLASS_LINEAR,    /* a linear map along the last axis, with weights */
    BF_CLASS_TRANSFORM, /* a fixed linear map: fourier, fft, fft_compress */
    BF_CLASS_ATTENTION,
    BF_CLASS_ROWWISE,     /* keeps the shape, an element depends on others of its row */
    BF_CLASS_ELEMENTWISE, /* an element depends on one (broadcast) element of each operand */
    BF_CLASS_REDUCTION,   /* removes an axis */
    BF_CLASS_GATHER,
    BF_CLASS_LAYOUT, /* moves elements, computes nothing */
};

enum bf_presence {
    BF_REQUIRED,
    BF_OPTIONAL,
    BF_VARIADIC, /* arguments: one or more */
    BF_DERIVED,  /* attributes: set by shape inference, shown in texts, not by the user */
    BF_HIDDEN,   /* attributes: derived and not shown */
};

enum bf_attr_type {
    BF_ATTR_UNSET,
    BF_ATTR_INT,
    BF_ATTR_FLOAT,
    BF_ATTR_BOOL,
    BF_ATTR_WORD,
    BF_ATTR_INTS,
    BF_ATTR_STRING
};

struct bf_arg_info {
    const char *name;
    enum bf_presence presence;
    const char *sentence;
};

struct bf_attr_info {
    const char *name;
    enum bf_attr_type type;
    enum bf_presence presence;
    const char *initial; /* default as text; "" if none: then inference fills it in */
    const char *choices; /* of a word: "none|tanh" */
    const char *sentence;
};

struct bf_param_info {
    const char *name;
    const char *shape;     /* "stacks, nblocks, m, n/2, 2, 2" over the attributes */
    const char *condition; /* name of a boolean attribute, or "" */
    const char *sentence;
};

struct bf_op_info {
    enum bf_op_kind kind;
    const char *name;
    enum bf_op_class class;
    const char *sentence;
    const struct bf_arg_info *args;
    const struct bf_attr_info *attrs;
    const struct bf_param_info *params;
    unsigned arg_count, attr_count, param_count;
};

const struct bf_op_info *bf_op_info(enum bf_op_kind kind);
bool bf_op_find(const char *name, enum bf_op_kind *kind);
/* The most similar operator name, or NULL if nothing is near. */
const char *bf_op_suggest(const char *name);
/* Index in info->args / info->attrs, or -1. */
int bf_op_arg_index(const struct bf_op_info *info, const char *name);
int bf_op_attr_index(const struct bf_op_info *info, const char *name);

/* ---- attributes ---- */

#define BF_MAX_ATTRS  8
#define BF_MAX_PARAMS 3
#define BF_MAX_INTS   BF_MAX_RANK

struct bf_attr {
    enum bf_attr_type type; /* BF_ATTR_UNSET: the default is used */
    union {
        int64_t i;
        double f;
        bool b;
        const char *s; /* WORD and STRING; copied by bf_net_add_op */
        struct {
            int64_t v[BF_MAX_INTS];
            unsigned count;
        } ints;
    };
    /* Where the call gives it, for messages; line 0: the place of the operator. */
    struct bf_loc loc;
    unsigned length, caret;
};

/* In the order of info->attrs. A zeroed struct means "all defaults". */
struct bf_attrs {
    struct bf_attr v[BF_MAX_ATTRS];
    bool shared;     /* the label says `shared`: its parameters may exist already */
    unsigned length; /* bytes of the call to underline in messages; 0: caret alone */
};

void bf_attrs_set_int(struct bf_attrs *attrs, enum bf_op_kind kind, const char *name, int64_t i);
void bf_attrs_set_float(struct bf_attrs *attrs, enum bf_op_kind kind, const char *name, double f);
void bf_attrs_set_bool(struct bf_attrs *attrs, enum bf_op_kind kind, const char *name, bool b);
void bf_attrs_set_string(struct bf_attrs *attrs, enum bf_op_kind kind, const char *name,
                         const char *s); /* WORD and STRING */
void bf_attrs_set_ints(struct bf_attrs *attrs, enum bf_op_kind kind, const char *name,
                       const int64_t *v, unsigned count);

/* ---- the graph ---- */

/* A table that is computed: row p has the angles p base^(-2i/h) of position p, columns lie as the
 * elements of a head of h: the cosine of pair i where its first element is, the sine where its
 * second one is. */
#define BF_ROTARY_BASE 1e12 /* the largest base; the least is 1 */
struct bf_rotary {
    double base;
    bool interleaved; /* pair i is (2i, 2i + 1), else (i, i + h/2) */
};

struct bf_param {
    const char *name;               /* full path: "encoder.0.ffn.fc1.twiddle" */
    struct bf_type type;            /* f16 */
    struct bf_loc loc;              /* of the operator that declared it */
    unsigned index;                 /* in net->params */
    const char *owner;              /* "butterfly(768 -> 3072)": for messages */
    const struct bf_rotary *rotary; /* only in polys: no tensor of the weights, but this */
};

struct bf_value {
    struct bf_type type;
    struct bf_op *op;  /* producer; NULL for a network input */
    const char *name;  /* of a network input, else NULL */
    unsigned index;    /* in net->inputs, or in net->ops of its producer */
    bool is_static;    /* depends on parameters and constants only */
    struct bf_loc loc; /* for "comes from here" */
};

struct bf_op {
    enum bf_op_kind kind;
    const char
        *label; /* chain of labels, "" if none; an unlabelled operator has that of its block */
    struct bf_value **args; /* one per entry of info->args (NULL: absent); variadic: all of them */
    unsigned arg_count;
    struct bf_attrs
        attrs; /* complete and normal: defaults filled in, axes >= 0, derived ones set */
    struct bf_param *params[BF_MAX_PARAMS]; /* one per entry of info->params (NULL: absent); a
                                             * param operator has its own as the first */
    struct bf_value result;
    struct bf_loc loc;
};

struct bf_output {
    const char *name;
    struct bf_value *value;
    struct bf_loc loc;
};

struct bf_net {
    struct bf_arena arena;
    const char *name;
    struct bf_header header;

    struct {
        struct bf_value **data;
        size_t count, capacity;
    } inputs;
    struct {
        struct bf_param **data;
        size_t count, capacity;
    } params; /* order of declaration */
    struct {
        struct bf_op **data;
        size_t count, capacity;
    } ops; /* SSA order */
    struct {
        struct bf_output *data;
        size_t count, capacity;
    } outputs;
};

struct bf_net *bf_net_create(const char *name);
void bf_net_free(struct bf_net *net); /* NULL is fine */

/* Each reports through `diags` and returns NULL (false) when it can't: a name used twice, a type
 * that is not allowed, shapes that do not fit. NULL among `args` where a value is required is taken
 * as an error that was reported before and gives NULL silently. */
struct bf_value *bf_net_add_input(struct bf_net *net, const char *name, struct bf_type type,
                                  struct bf_loc loc, struct bf_diags *diags);
bool bf_net_add_output(struct bf_net *net, const char *name, struct bf_value *value,
                       struct bf_loc loc, struct bf_diags *diags);
/* `args` has `arg_count` entries in the order of info->args; trailing optional ones may be left
 * out. `attrs` may be NULL. Runs shape inference, declares the operator's parameters, and appends
 * it. `label` is the full path of the operator. */
struct bf_value *bf_net_add_op(struct bf_net *net, enum bf_op_kind kind,
                               struct bf_value *const *args, unsigned arg_count,
                               const struct bf_attrs *attrs, const char *label, struct bf_loc loc,
                               struct bf_diags *diags);
/* A parameter used as a value: operator `param` with the given name below `label`. */
struct bf_value *bf_net_add_param(struct bf_net *net, const char *label, const char *name,
                                  unsigned rank, const int64_t *dims, bool shared,
                                  struct bf_loc loc, struct bf_diags *diags);
struct bf_param *bf_net_find_param(const struct bf_net *net, const char *name);

/* Attributes of a finished operator. The name must be one of its table entry. */
const struct bf_attr *bf_op_attr(const struct bf_op *op, const char *name);
int64_t bf_op_int(const struct bf_op *op, const char *name);
double bf_op_float(const struct bf_op *op, const char *name);
bool bf_op_bool(const struct bf_op *op, const char *name);
const char *bf_op_word(const struct bf_op *op, const char *name);
/* The operand called `name`, or NULL if it is absent. */
struct bf_value *bf_op_arg(const struct bf_op *op, const char *name);
/* The operator's own parameter called `name`, or NULL if it is absent. */
struct bf_param *bf_op_param(const struct bf_op *op, const char *name);

/* A part of a parameter: element index i of the view is index begin[i] + i of the parameter. */
struct bf_param_view {
    struct bf_param *param;
    unsigned rank;
    int64_t begin[BF_MAX_RANK], extent[BF_MAX_RANK];
};
/* The tensor an operator uses as `name` ("weight", "bias", "twiddle"): its own parameter, or the
 * operand of that name if it is a param operator or slices of one. False if absent or not such. */
bool bf_op_weight_view(const struct bf_op *op, const char *name, struct bf_param_view *view);
bool bf_value_param_view(const struct bf_value *value, struct bf_param_view *view);

/* Passes: after editing net->ops, sets every index again. */
void bf_net_renumber(struct bf_net *net);
/* Makes every reader (operators and outputs) of `old` read `replacement`. */
void bf_net_replace(struct bf_net *net, struct bf_value *old, struct bf_value *replacement);

/* ---- shape inference ---- */

/* Fills in attributes and result type of `op` from its operands. Used by bf_net_add_op, the parser
 * and the verifier. */
bool bf_net_infer(struct bf_net *net, struct bf_op *op, struct bf_diags *diags);
/* The shape of parameter number `slot` of an inferred operator; false if the operator has not got
 * it. */
bool bf_net_param_type(const struct bf_op *op, unsigned slot, struct bf_type *type);
/* numpy broadcasting of two shapes; false if they do not fit. */
bool bf_broadcast(const struct bf_type *a, const struct bf_type *b, struct bf_type *result);
/* Exponent that a transform of length n accumulates when it shifts right by one after every second
 * radix-2 stage: floor(log2(n) / 2). */
int bf_fourier_exponent(int64_t n);

/* ---- text and verifier ---- */

void bf_net_print(const struct bf_net *net, struct bf_text *text);
/* NULL after errors. `file`: index of the text in diags->sources. print(parse(print(n))) is
 * print(n), byte for byte. */
struct bf_net *bf_net_parse(const char *text, size_t size, uint32_t file, struct bf_diags *diags);

/* Whether a result of `op` whose inferred type is `inferred` may be annotated as `type`: the same
 * shape, and an exponent or `acc` only where the operator computes. */
bool bf_net_type_allowed(const struct bf_op *op, const struct bf_type *inferred,
                         const struct bf_type *type);

/* SSA order, types as inferred, parameters unique and of the shape their operators need, names
 * unique, accumulator values neither stored nor output. */
bool bf_net_verify(struct bf_net *net, struct bf_diags *diags);

/* ---- evaluation ---- */

struct bf_weights;

/* Every value of one sample in double, never rounded: short, slow, obvious. inputs[i] holds the
 * elements of net->inputs.data[i] (row-major); outputs[i] receives those of net->outputs.data[i].
 * `observe` (may be NULL) sees each operator's result. An id out of range, or an operator without
 * its weights, is an error. */
bool bf_net_eval(const struct bf_net *net, const struct bf_weights *weights,
                 const double *const *inputs, double *const *outputs,
                 void (*observe)(void *user, const struct bf_op *op, const double *elements),
                 void *user, struct bf_error *error);

#endif
