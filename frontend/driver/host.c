/* host.c - libbfhost: runs the network that a program carries. See runtime/host.h.
 *
 *     program->net, net_weights --open--> net, weights --run--> bf_net_eval, a sample in float64
 *
 * Everything here may come from a file that nobody checked but for its form: the text goes through
 * parser and verifier, the weights are bound like any, and both must fit the program.
 */
#define _POSIX_C_SOURCE 200809L
#include "runtime/host.h"

#include <inttypes.h>
#include <stdlib.h>

#include "backend/host/gen.h"
#include "backend/host/module.h"
#include "frontend/driver/compile.h"
#include "frontend/driver/options.h"
#include "frontend/library.h"
#include "ir/weights.h"
#include "passes/host/host.h"
#include "runtime/safetensors.h"

struct host {
    struct bf_host_net shown; /* the first member: what callers hold */
    struct bf_net *net;
    struct bf_weights *weights; /* NULL: the net has no parameters */
    struct bf_tensor_file *file;
    struct bf_sources sources;
    struct bf_arena arena;
    struct bf_host_plan *plan; /* of compiled code; NULL before */
    struct bf_host_jit *jit;
    void *blob, *workspace;
};

/* ---- messages ---- */

/* Diagnostics that end up in a bf_error. */
struct messages {
    struct bf_diags diags;
    char *text;
    size_t size;
};

static bool begin_messages(struct messages *m, struct bf_sources *sources, struct bf_error *error) {
    *m = (struct messages){.diags = {.sources = sources, .error_limit = 3}};
    m->diags.out = open_memstream(&m->text, &m->size);
    return m->diags.out || bf_fail(error, BF_ERROR_INTERNAL, "memory ran out");
}

static bool end_messages(struct messages *m, bool ok, struct bf_error *error) {
    fclose(m->diags.out);
    for (size_t end = m->size; end && m->text[end - 1] == '\n';)
        m->text[--end] = '\0';
    if (!ok)
        bf_fail(error, BF_ERROR_INPUT, "the embedded network: %s", m->text);
    free(m->text);
    return ok;
}

/* ---- opening ---- */

static enum bf_weight_type weight_type(enum bf_element element) {
    static const enum bf_weight_type types[BF_ELEMENT_COUNT] = {
        [BF_ELEMENT_F16] = BF_WEIGHT_F16, [BF_ELEMENT_BF16] = BF_WEIGHT_BF16,
        [BF_ELEMENT_F32] = BF_WEIGHT_F32, [BF_ELEMENT_F64] = BF_WEIGHT_F64,
        [BF_ELEMENT_I32] = BF_WEIGHT_I32, [BF_ELEMENT_I64] = BF_WEIGHT_I64,
        [BF_ELEMENT_U8] = BF_WEIGHT_U8,   [BF_ELEMENT_BOOL] = BF_WEIGHT_U8};
    return types[element];
}

static bool read_weights(struct host *host, const struct bf_program *program,
                         struct bf_error *error) {
    host->weights = bf_weights_create(".bf.weights");
    if (!program->net_weights)
        return true;
    host->file = bf_tensor_file_parse(program->net_weights, (size_t)program->net_weights_size,
                                      ".bf.weights", error);
    for (size_t i = 0; host->file && i < host->file->tensor_count; i++) {
        const struct bf_tensor *tensor = &host->file->tensors[i];
        int64_t dims[BF_TENSOR_MAX_RANK];
        for (unsigned a = 0; a < tensor->rank; a++)
            dims[a] = (int64_t)tensor->dims[a];
        if (!bf_weights_add(host->weights, tensor->name, weight_type(tensor->type), tensor->rank,
                            dims, tensor->data, error))
            return false;
    }
    return host->file != NULL;
}

static bool parse(struct host *host, const struct bf_program *program, struct messages *m) {
    uint32_t file =
        bf_source_add(&host->sources, ".bf.net", bf_strdup(program->net), strlen(program->net));
    host->net = bf_net_parse(program->net, strlen(program->net), file, &m->diags);
    return host->net && bf_net_verify(host->net, &m->diags) &&
           bf_weights_bind(host->net, host->weights, false, &m->diags);
}

/* Whether both have a tensor of this name and size. */
static bool fits(const struct bf_program *program, enum bf_tensor_kind kind, const char *name,
                 const struct bf_type *type) {
    for (size_t i = 0; i < program->tensor_count; i++) {
        const struct bf_tensor_place *tensor = &program->tensors[i];
        if (tensor->kind != kind || strcmp(tensor->name, name))
            continue;
        bool ids = type->dtype == BF_U8 && tensor->dtype == BF_I32; /* bytes come in as integers */
        bool same = (ids || tensor->dtype == (uint8_t)type->dtype) && tensor->rank == type->rank;
        for (unsigned a = 0; same && a < tensor->rank; a++)
            same = tensor->dims[a] == type->dims[a];
        return same;
    }
    return false;
}

static bool check(const struct host *host, const struct bf_program *program,
                  struct bf_error *error) {
    const struct bf_net *net = host->net;
    const char *other = NULL;
    size_t ports = 0;
    for (size_t i = 0; i < program->tensor_count; i++)
        ports += program->tensors[i].kind <= BF_TENSOR_OUTPUT;
    for (size_t i = 0; i < net->inputs.count; i++)
        if (!fits(program, BF_TENSOR_INPUT, net->inputs.data[i]->name, &net->inputs.data[i]->type))
            other = net->inputs.data[i]->name;
    for (size_t i = 0; i < net->outputs.count; i++)
        if (!fits(program, BF_TENSOR_OUTPUT, net->outputs.data[i].name,
                  &net->outputs.data[i].value->type))
            other = net->outputs.data[i].name;
    if (other || ports != net->inputs.count + net->outputs.count)
        return bf_fail(error, BF_ERROR_INPUT,
                       "the embedded network is another one than the program's: '%s' differs",
                       other ? other : net->name);
    if (net->header.batch != (int64_t)program->batch)
        return bf_fail(error, BF_ERROR_INPUT,
                       "the embedded network is another one than the program's: its batch is "
                       "%" PRId64 ", the program's %u",
                       net->header.batch, program->batch);
    uint64_t hash = bf_weights_hash(net, host->weights);
    if (net->params.count && hash != program->weights_hash)
        return bf_fail(error, BF_ERROR_INPUT,
                       "the embedded network is another one than the program's: its weights "
                       "have the hash %016" PRIx64 ", the program says %016" PRIx64,
                       hash, program->weights_hash);
    return true;
}

/* ---- what callers see ---- */

static void show_op(struct host *host, const struct bf_op *op, struct bf_host_op *shown) {
    int64_t *args = bf_arena_alloc(&host->arena, op->arg_count * sizeof *args);
    *shown =
        (struct bf_host_op){.kind = bf_op_info(op->kind)->name,
                            .label = op->label,
                            .place = {op->loc.line ? op->loc.file - host->net->header.file_base : 0,
                                      op->loc.line, op->loc.column},
                            .rank = op->result.type.rank,
                            .elements = bf_type_elements(&op->result.type),
                            .exponent = op->result.type.exponent,
                            .args = args,
                            .is_static = op->result.is_static};
    for (unsigned a = 0; a < shown->rank; a++)
        shown->dims[a] = op->result.type.dims[a];
    for (unsigned a = 0; a < op->arg_count; a++)
        if (op->args[a] && op->args[a]->op)
            args[shown->arg_count++] = op->args[a]->index;
}

static void show(struct host *host) {
    const struct bf_net *net = host->net;
    struct bf_host_net *shown = &host->shown;
    shown->op_count = net->ops.count;
    shown->input_count = net->inputs.count;
    shown->output_count = net->outputs.count;
    shown->ops = bf_arena_alloc(&host->arena, net->ops.count * sizeof *shown->ops);
    shown->inputs = bf_arena_alloc(&host->arena, net->inputs.count * sizeof *shown->inputs);
    shown->outputs = bf_arena_alloc(&host->arena, net->outputs.count * sizeof *shown->outputs);
    for (size_t i = 0; i < net->ops.count; i++)
        show_op(host, net->ops.data[i], &shown->ops[i]);
    for (size_t i = 0; i < net->inputs.count; i++)
        shown->inputs[i] = (struct bf_host_port){net->inputs.data[i]->name,
                                                 bf_type_elements(&net->inputs.data[i]->type), -1};
    for (size_t i = 0; i < net->outputs.count; i++) {
        const struct bf_value *value = net->outputs.data[i].value;
        shown->outputs[i] =
            (struct bf_host_port){net->outputs.data[i].name, bf_type_elements(&value->type),
                                  value->op ? (int64_t)value->index : -1};
    }
}

/* ---- the plug-in: memory that runs out is an error here, as in libbfrt ---- */

static void close_net(struct bf_host_net *net) {
    struct host *host = (struct host *)net;
    if (!host)
        return;
    bf_host_jit_free(host->jit);
    bf_host_plan_free(host->plan);
    free(host->blob);
    free(host->workspace);
    bf_net_free(host->net);
    bf_weights_free(host->weights);
    bf_tensor_file_free(host->file);
    bf_sources_free(&host->sources);
    bf_arena_free(&host->arena);
    free(host);
}

static struct bf_host_net *open_net(const struct bf_program *program, struct bf_error *error) {
    struct bf_guard guard;
    struct messages messages;
    struct host *volatile host = NULL;
    bf_guard_push(&guard);
    if (setjmp(guard.target)) {
        bf_fail(error, BF_ERROR_INTERNAL, "memory ran out");
        return NULL;
    }
    host = bf_alloc(sizeof *host);
    bool ok = read_weights(host, program, error) &&
              begin_messages(&messages, &host->sources, error) &&
              end_messages(&messages, parse(host, program, &messages), error) &&
              check(host, program, error);
    if (ok)
        show(host);
    bf_guard_pop(&guard);
    if (ok)
        return &host->shown;
    close_net(&host->shown);
    return NULL;
}

struct observer {
    void (*observe)(void *user, size_t op, const double *elements);
    void *user;
};

static void pass_on(void *user, const struct bf_op *op, const double *elements) {
    const struct observer *observer = user;
    if (observer->observe)
        observer->observe(observer->user, op->result.index, elements);
}

static bool run(struct bf_host_net *net, const double *const *inputs, double *const *outputs,
                void (*observe)(void *user, size_t op, const double *elements), void *user,
                struct bf_error *error) {
    struct host *host = (struct host *)net;
    struct observer observer = {observe, user};
    struct bf_guard guard;
    bf_guard_push(&guard);
    if (setjmp(guard.target))
        return bf_fail(error, BF_ERROR_INTERNAL, "memory ran out");
    bool ok = bf_net_eval(host->net, host->weights, inputs, outputs, pass_on, &observer, error);
    bf_guard_pop(&guard);
    return ok;
}

static const char *library(const char *name) {
    for (size_t i = 0; i < bf_library_file_count; i++)
        if (!strcmp(bf_library_files[i].name, name))
            return bf_library_files[i].text;
    return NULL;
}

/* ---- code ---- */

static bool plan(struct host *host, struct messages *m, struct bf_error *error) {
    struct bf_host_target target;
    if (!bf_host_target_find(&target, "native", NULL, &host->arena, error))
        return false;
    bf_drop_exponents(host->net);
    struct bf_poly *poly = bf_pass_select(host->net, &m->diags);
    if (poly)
        host->plan = bf_pass_host(poly, host->weights, &target, bf_host_generators, &m->diags);
    return host->plan != NULL;
}

static bool make_code(struct host *host, struct bf_error *error) {
    struct messages messages;
    if (!begin_messages(&messages, &host->sources, error) ||
        !end_messages(&messages, plan(host, &messages, error), error))
        return false;
    host->blob = bf_host_blob(host->plan, host->weights);
    size_t size = (size_t)bf_host_workspace(host->plan, 1);
    host->workspace = aligned_alloc(BF_HOST_ALIGN, bf_round_up(size, BF_HOST_ALIGN));
    if (!host->workspace)
        bf_out_of_memory(size);
    host->jit = bf_host_jit_create(host->plan, &host->sources, host->blob, error);
    return host->jit != NULL;
}

static bool compile(struct bf_host_net *net, struct bf_error *error) {
    struct bf_guard guard;
    bf_guard_push(&guard);
    if (setjmp(guard.target))
        return bf_fail(error, BF_ERROR_INTERNAL, "memory ran out");
    bool ok = make_code((struct host *)net, error);
    bf_guard_pop(&guard);
    return ok;
}

static bool run32(struct bf_host_net *net, const void *const *inputs, void *const *outputs,
                  struct bf_error *error) {
    const struct host *host = (const struct host *)net;
    int code = bf_host_jit_run(host->jit, inputs, outputs, host->workspace, NULL);
    if (code == BF_RUN_ID)
        return bf_fail(error, BF_ERROR_INPUT, "an id is no row of its table");
    return code == 0 || bf_fail(error, BF_ERROR_INTERNAL, "the code returns %d", code);
}

/* ---- a network instead of a program ---- */

static void add_port(struct bf_program *program, enum bf_tensor_kind kind, const char *name,
                     const struct bf_type *type) {
    struct bf_tensor_place *place = &program->tensors[program->tensor_count++];
    place->name = bf_strdup(name);
    place->kind = (uint8_t)kind;
    place->dtype = (uint8_t)type->dtype;
    place->rank = (uint8_t)type->rank;
    for (unsigned a = 0; a < type->rank; a++)
        place->dims[a] = (uint32_t)type->dims[a];
    place->size =
        (uint64_t)bf_type_elements(type) * program->batch * (type->dtype == BF_I32 ? 4 : 2);
}

static struct bf_program *program_of(struct bf_compilation *c) {
    const struct bf_net *net = c->net;
    struct bf_program *program = bf_program_create();
    program->machine = c->machine;
    program->network = bf_strdup(net->name);
    program->batch = (uint32_t)net->header.batch;
    program->weights_hash = net->header.bound ? net->header.weights_hash : 0;
    program->net = c->net_text;
    program->net_weights = c->net_weights;
    program->net_weights_size = c->net_weights_size;
    c->net_text = NULL;
    c->net_weights = NULL;
    program->tensors =
        bf_alloc((net->inputs.count + net->outputs.count) * sizeof *program->tensors);
    for (size_t i = 0; i < net->inputs.count; i++)
        add_port(program, BF_TENSOR_INPUT, net->inputs.data[i]->name, &net->inputs.data[i]->type);
    for (size_t i = 0; i < net->outputs.count; i++)
        add_port(program, BF_TENSOR_OUTPUT, net->outputs.data[i].name,
                 &net->outputs.data[i].value->type);
    return program;
}

static bool parse_options(struct bf_options *parsed, const char *path, const char *const *options) {
    struct bf_strings words = {0};
    *bf_push(&words) = "bfcc";
    *bf_push(&words) = path;
    for (; *options; options++)
        *bf_push(&words) = *options;
    bool ok = bf_options_parse(parsed, (int)words.count, (char **)words.data);
    free(words.data);
    parsed->emit = BF_EMIT_NET;
    parsed->embed_net = true;
    return ok;
}

static bool compile_net(struct bf_compilation *c, const struct bf_options *options,
                        struct bf_diags *diags) {
    if (!bf_compile(c, options, diags))
        return false;
    if (c->net->params.count && !c->weights)
        return bf_diag_error(diags, (struct bf_loc){0},
                             "network '%s' has %zu parameters: give -weights FILE or "
                             "-random-weights SEED",
                             c->net->name, c->net->params.count);
    return bf_embed_net(c);
}

static struct bf_program *read_net(const char *path, const char *const *options,
                                   struct bf_error *error) {
    struct bf_options parsed = {0};
    struct bf_sources sources = {0};
    struct bf_compilation c = {0};
    struct bf_program *program = NULL;
    char *text = NULL;
    size_t size;
    struct bf_diags diags = {.sources = &sources, .error_limit = 20};
    diags.out = open_memstream(&text, &size);
    bool ok = diags.out && parse_options(&parsed, path, options);
    if (ok && compile_net(&c, &parsed, &diags))
        program = program_of(&c);
    if (diags.out)
        fclose(diags.out);
    for (size_t end = text ? strlen(text) : 0; end && text[end - 1] == '\n';)
        text[--end] = '\0';
    if (!program)
        bf_fail(error, BF_ERROR_INPUT, "%s: %s", path, text && *text ? text : "wrong options");
    free(text);
    bf_compilation_free(&c);
    bf_options_free(&parsed);
    bf_sources_free(&sources);
    return program;
}

static struct bf_program *read_program(const char *path, const char *const *options,
                                       struct bf_error *error) {
    struct bf_guard guard;
    bf_guard_push(&guard);
    if (setjmp(guard.target)) {
        bf_fail(error, BF_ERROR_INTERNAL, "memory ran out");
        return NULL;
    }
    struct bf_program *program = read_net(path, options, error);
    bf_guard_pop(&guard);
    return program;
}

extern const struct bf_host_plugin bf_host_plugin;
const struct bf_host_plugin bf_host_plugin = {
    .version = BF_VERSION,
    .schema = bf_program_schema,
    .open = open_net,
    .close = close_net,
    .run = run,
    .read = read_program,
    .compile = compile,
    .run32 = run32,
    .library = library,
};
