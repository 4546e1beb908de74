/* sema.h - what the parts of semantic analysis share. Only files of frontend/ include this.
 *
 * A network is evaluated like a program: every statement runs once per instance of its block, with
 * numbers, strings and tensors as values. Tensors are values of the net that is being built.
 */
#ifndef BF_FRONTEND_SEMA_H
#define BF_FRONTEND_SEMA_H

#include "frontend/frontend.h"
#include "frontend/report.h"

/* Limits that turn a runaway program into one clear error. */
#define FE_MAX_OPERATORS 100000  /* of a net */
#define FE_MAX_STEPS     5000000 /* statements and expressions evaluated */
#define FE_MAX_CALLS     64      /* blocks inside blocks */
#define FE_MAX_DEPTH     1000    /* nested evaluations: bounds the C stack */
#define FE_MAX_STRING    4096    /* bytes */

/* ---- values ---- */

enum fe_kind {
    FE_BROKEN, /* an error was reported; whatever uses it stays silent */
    FE_INT,
    FE_FLOAT,
    FE_BOOL,
    FE_STRING,
    FE_LIST,   /* of compile-time values */
    FE_ABSENT, /* `none` */
    FE_TENSOR,
    FE_TUPLE, /* several results of a block */
    FE_VOID,  /* assert(...) */
};

struct fe_value {
    enum fe_kind kind;
    union {
        int64_t i;
        double f;
        bool b;
        const char *s;
        struct {
            const struct fe_value *items;
            size_t count;
        } list; /* FE_LIST and FE_TUPLE */
        struct bf_value *tensor;
    };
};

/* "an integer", "a tensor f16[64,128]"; in the arena. */
struct fe_sema;
const char *fe_describe(struct fe_sema *sema, const struct fe_value *value);

static inline struct fe_value fe_int(int64_t i) {
    return (struct fe_value){.kind = FE_INT, .i = i};
}
static inline struct fe_value fe_float(double f) {
    return (struct fe_value){.kind = FE_FLOAT, .f = f};
}
static inline struct fe_value fe_bool(bool b) {
    return (struct fe_value){.kind = FE_BOOL, .b = b};
}
static inline struct fe_value fe_string(const char *s) {
    return (struct fe_value){.kind = FE_STRING, .s = s};
}
static inline struct fe_value fe_broken(void) {
    return (struct fe_value){.kind = FE_BROKEN};
}
/* NULL (an error was reported) gives a broken value. */
static inline struct fe_value fe_tensor(struct bf_value *tensor) {
    return tensor ? (struct fe_value){.kind = FE_TENSOR, .tensor = tensor} : fe_broken();
}

/* ---- scopes and paths ---- */

struct fe_binding {
    const char *name;
    struct fe_value value;
    struct ast_span span; /* where it was bound last */
    bool constant;        /* `const`, or the variable of a running loop */
    bool bound;           /* false: a loop variable after its loop */
};

/* One instance of a block, or the network. Its names are local; branches and loop bodies share
 * them. */
struct fe_frame {
    struct fe_frame *caller;
    const struct ast_decl *decl;
    struct ast_span call; /* the call that made it */
    const char *path;     /* chain of labels, "" at the top */
    bool shared;          /* within a `shared` label: parameters may exist already */
    struct {
        struct fe_binding *data;
        size_t count, capacity;
    } bindings;
    struct fe_value result; /* of `return` */
    bool returned;
};

struct fe_binding *fe_find(struct fe_frame *frame, const char *name);
void fe_bind(struct fe_frame *frame, const char *name, struct fe_value value, struct ast_span span,
             bool constant);

/* Label paths in use, and where each was used first. */
struct fe_paths {
    struct fe_path_entry *entries;
    size_t count, capacity; /* open addressing; capacity is a power of two */
};
/* Span of the first use of `path`, or NULL if this is it. */
const struct ast_span *fe_path_claim(struct fe_paths *paths, const char *path,
                                     struct ast_span span);
void fe_paths_free(struct fe_paths *paths);

/* ---- the analysis ---- */

struct fe_constant {
    const struct ast_decl *decl;
    struct fe_value value;
    enum { FE_UNTOUCHED, FE_RUNNING, FE_DONE } state;
};

struct fe_sema {
    const struct bf_frontend_options *options;
    struct bf_frontend_files *files; /* may be NULL */
    struct fe_report report;
    struct bf_arena arena;
    struct bf_net *net;
    struct {
        struct ast_decl **data;
        size_t count, capacity;
    } decls; /* of all files */
    struct {
        struct fe_constant *data;
        size_t count, capacity;
    } constants;
    struct fe_paths paths;
    size_t operators, steps, calls, depth;
    bool stopped; /* a limit was passed: unwind silently */
};

/* files.c: parses the main file and what it includes into sema->decls. False after errors. */
bool fe_load(struct fe_sema *sema);

/* names.c: what can be said without evaluating: unknown and unused names, recursion, misplaced
 * statements. False after errors. */
bool fe_check_names(struct fe_sema *sema);
/* The declaration of a block or network, or NULL. */
struct ast_decl *fe_find_decl(const struct fe_sema *sema, const char *name);
struct fe_constant *fe_find_constant(struct fe_sema *sema, const char *name);

/* Reports at `span`, with a note for each block instance around it. */
void fe_wrong(struct fe_sema *sema, struct fe_frame *frame, struct ast_span span,
              const char *format, ...) BF_PRINTF(4, 5);
/* The notes alone, after an error that was reported by other means. */
void fe_note_callers(struct fe_sema *sema, struct fe_frame *frame);
/* Counts one evaluation; false when a limit is passed. */
bool fe_step(struct fe_sema *sema, struct ast_span span);

/* sema.c */
void fe_run(struct fe_sema *sema, struct fe_frame *frame, const struct ast_stmt *body);

/* eval.c. A frame of NULL is the top level of a file. */
struct fe_value fe_eval(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *expr);
/* A value that is neither a tuple nor nothing. */
struct fe_value fe_eval_one(struct fe_sema *sema, struct fe_frame *frame,
                            const struct ast_expr *expr);
bool fe_eval_condition(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *expr,
                       bool *truth);
bool fe_eval_int(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *expr,
                 const char *what, int64_t *value);
/* Whether the value can be seen as a truth value: a bool or an integer. */
bool fe_truth(const struct fe_value *value, bool *truth);
struct fe_value fe_list_of(struct fe_sema *sema, enum fe_kind kind, const struct fe_value *items,
                           size_t count);

/* arith.c: numbers and strings. `operands` are no tensors. */
struct fe_value fe_arithmetic(struct fe_sema *sema, struct fe_frame *frame,
                              const struct ast_expr *expr, struct fe_value left,
                              struct fe_value right);
struct fe_value fe_negate(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *expr,
                          struct fe_value operand);

/* builtin.c: dim, rank, shape, min, max, log2, sqrt, int, assert. */
bool fe_is_builtin(const char *name);
const char *fe_builtin_name(size_t index); /* NULL after the last */
/* `first`: the value of the first argument if it was evaluated already, else NULL. */
struct fe_value fe_call_builtin(struct fe_sema *sema, struct fe_frame *frame,
                                const struct ast_expr *call, const struct fe_value *first);

/* call.c */
struct fe_label {
    const char *path; /* of what is called */
    bool shared;
};
struct fe_value fe_call(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *call,
                        const struct fe_label *label);
struct fe_value fe_call_labelled(struct fe_sema *sema, struct fe_frame *frame,
                                 const struct ast_expr *expr);
/* A name that stands for itself: written bare and bound to nothing. */
bool fe_is_bare(struct fe_sema *sema, struct fe_frame *frame, const struct ast_expr *expr);

/* operator.c: operators of the net. `first` as for fe_call_builtin. */
struct fe_value fe_call_operator(struct fe_sema *sema, struct fe_frame *frame, enum bf_op_kind kind,
                                 const struct ast_expr *call, const struct fe_value *first,
                                 const struct fe_label *label);
/* Appends an operator, whose types the net infers and checks. A label of NULL is that of the frame.
 */
struct fe_value fe_append(struct fe_sema *sema, struct fe_frame *frame, enum bf_op_kind kind,
                          struct bf_value *const *args, unsigned arg_count, struct bf_attrs *attrs,
                          const struct fe_label *label, struct ast_span span);
/* left op right where at least one is a tensor. */
struct fe_value fe_tensor_arithmetic(struct fe_sema *sema, struct fe_frame *frame,
                                     const struct ast_expr *expr, struct fe_value left,
                                     struct fe_value right);

/* slice.c */
struct fe_value fe_eval_index(struct fe_sema *sema, struct fe_frame *frame,
                              const struct ast_expr *expr);
/* axis < 0 counts from the end; reports and returns false if out of range. */
bool fe_axis(struct fe_sema *sema, struct fe_frame *frame, struct ast_span span, int64_t axis,
             unsigned rank, unsigned *result);

#endif
