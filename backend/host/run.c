/* run.c - NAME_run, NAME_run_on and NAME_workspace_size: checks, then the calls in order.
 *
 *   struct in { const T *input..; (const void *weights;) }   struct out { T *output..; }
 *   struct executor { void *self; unsigned threads; void (*run)(self, task, argument, count); }
 *
 * A call's units are one range without an executor, else pieces that its threads take.
 */
#include "backend/host/build.h"

/* Members of struct bf_executor and of the argument of a task, in bytes. */
enum { SELF = 0, THREADS = 8, RUN = 16 };
enum { KERNEL = 0, OPERANDS = 8, SCRATCH = 16, PIECE = 24, UNITS = 32, TASK_SIZE = 40 };
enum { PIECES_A_THREAD = 16 };

static LLVMValueRef load(struct bf_ll *ll, LLVMTypeRef type, LLVMValueRef base, int64_t offset) {
    LLVMValueRef at = bf_ll_at_byte(ll, base, bf_ll_int(ll, offset));
    return LLVMBuildLoad2(ll->builder, type, at, "");
}
static void store(struct bf_ll *ll, LLVMValueRef value, LLVMValueRef base, int64_t offset) {
    LLVMBuildStore(ll->builder, value, bf_ll_at_byte(ll, base, bf_ll_int(ll, offset)));
}

/* The place of the first kernel. */
static struct bf_loc start_of(const struct bf_build_module *b) {
    return b->plan->functions.count ? b->plan->functions.data[0]->loc : (struct bf_loc){0};
}

/* ---- sharing out the units of a call ---- */

/* void task(argument, worker, index): piece `index` of the units. */
static LLVMTypeRef task_type(struct bf_ll *ll) {
    LLVMTypeRef arguments[] = {ll->ptr, ll->i32, ll->i64};
    return LLVMFunctionType(ll->nothing, arguments, 3, false);
}

static LLVMValueRef build_task(struct bf_build_module *b) {
    struct bf_ll *ll = &b->ll;
    const char *name = bf_arena_printf(&b->arena, "%s.task", b->name);
    LLVMValueRef task = bf_build_function(b, name, task_type(ll), false, (struct bf_loc){0});
    LLVMValueRef argument = LLVMGetParam(task, 0);
    LLVMValueRef worker = LLVMBuildZExt(ll->builder, LLVMGetParam(task, 1), ll->i64, "");
    LLVMValueRef piece = load(ll, ll->i64, argument, PIECE);
    LLVMValueRef begin = bf_ll_mul(ll, LLVMGetParam(task, 2), piece);
    LLVMValueRef end = bf_ll_add(ll, begin, piece);
    end = bf_ll_min(ll, end, load(ll, ll->i64, argument, UNITS));
    LLVMValueRef scratch = load(ll, ll->ptr, argument, SCRATCH);
    scratch = bf_ll_at_byte(ll, scratch, bf_ll_mul_int(ll, worker, b->plan->scratch));
    LLVMValueRef operands = load(ll, ll->ptr, argument, OPERANDS);
    LLVMValueRef kernel = load(ll, ll->ptr, argument, KERNEL);
    LLVMValueRef arguments[] = {operands, scratch, begin, end};
    LLVMBuildCall2(ll->builder, b->kernel_type, kernel, arguments, 4, "");
    LLVMBuildRetVoid(ll->builder);
    return task;
}

/* Units a piece: a few pieces a thread, but no smaller than the grain. */
static LLVMValueRef piece_size(struct bf_ll *ll, LLVMValueRef executor, LLVMValueRef units,
                               LLVMValueRef grain) {
    LLVMValueRef threads = load(ll, ll->i32, executor, THREADS);
    threads = LLVMBuildZExt(ll->builder, threads, ll->i64, "");
    LLVMValueRef pieces =
        bf_ll_max(ll, bf_ll_mul_int(ll, threads, PIECES_A_THREAD), bf_ll_int(ll, 1));
    LLVMValueRef rounded = bf_ll_add_int(ll, bf_ll_add(ll, units, pieces), -1);
    return bf_ll_max(ll, LLVMBuildUDiv(ll->builder, rounded, pieces, ""), grain);
}

static void share_out(struct bf_build_module *b, LLVMValueRef task, LLVMValueRef dispatch,
                      LLVMValueRef piece) {
    struct bf_ll *ll = &b->ll;
    LLVMValueRef executor = LLVMGetParam(dispatch, 5), units = LLVMGetParam(dispatch, 3);
    LLVMValueRef argument = bf_ll_local(ll, LLVMArrayType2(ll->i8, TASK_SIZE), "task");
    for (unsigned i = 0; i < 3; i++)
        store(ll, LLVMGetParam(dispatch, i), argument, (int64_t)i * 8);
    store(ll, piece, argument, PIECE);
    store(ll, units, argument, UNITS);
    LLVMTypeRef types[] = {ll->ptr, ll->ptr, ll->ptr, ll->i64};
    LLVMValueRef rounded = bf_ll_add_int(ll, bf_ll_add(ll, units, piece), -1);
    LLVMValueRef count = LLVMBuildUDiv(ll->builder, rounded, piece, "");
    LLVMValueRef arguments[] = {load(ll, ll->ptr, executor, SELF), task, argument, count};
    LLVMBuildCall2(ll->builder, LLVMFunctionType(ll->nothing, types, 4, false),
                   load(ll, ll->ptr, executor, RUN), arguments, 4, "");
}

/* void dispatch(kernel, operands, scratch, units, grain, executor) */
void bf_build_dispatch(struct bf_build_module *b) {
    struct bf_ll *ll = &b->ll;
    LLVMValueRef task = build_task(b);
    LLVMTypeRef types[] = {ll->ptr, ll->ptr, ll->ptr, ll->i64, ll->i64, ll->ptr};
    const char *name = bf_arena_printf(&b->arena, "%s.dispatch", b->name);
    LLVMValueRef self = bf_build_function(b, name, LLVMFunctionType(ll->nothing, types, 6, false),
                                          false, (struct bf_loc){0});
    LLVMValueRef executor = LLVMGetParam(self, 5), units = LLVMGetParam(self, 3);
    struct bf_ll_if several;
    LLVMValueRef given =
        LLVMBuildICmp(ll->builder, LLVMIntNE, executor, LLVMConstNull(ll->ptr), "");
    bf_ll_if_begin(ll, &several, given);
    LLVMValueRef piece = piece_size(ll, executor, units, LLVMGetParam(self, 4));
    struct bf_ll_if worth;
    bf_ll_if_begin(ll, &worth, bf_ll_less(ll, piece, units));
    share_out(b, task, self, piece);
    LLVMBuildRetVoid(ll->builder);
    LLVMPositionBuilderAtEnd(ll->builder, worth.done);
    bf_ll_if_end(ll, &several);
    LLVMValueRef arguments[] = {LLVMGetParam(self, 1), LLVMGetParam(self, 2), bf_ll_int(ll, 0),
                                units};
    LLVMBuildCall2(ll->builder, b->kernel_type, LLVMGetParam(self, 0), arguments, 4, "");
    LLVMBuildRetVoid(ll->builder);
    b->dispatch = self;
}

/* ---- NAME_run_on ---- */

struct run {
    struct bf_build_module *b;
    struct bf_ll *ll;
    LLVMValueRef self, workspace, executor, weights;
    LLVMValueRef *ports; /* by index in poly->tensors */
    LLVMValueRef operands;
};

static void fail_if(struct run *r, LLVMValueRef condition, int code) {
    struct bf_ll_if branch;
    bf_ll_if_begin(r->ll, &branch, condition);
    LLVMBuildRet(r->ll->builder, LLVMConstInt(r->ll->i32, (unsigned long long)code, false));
    LLVMPositionBuilderAtEnd(r->ll->builder, branch.done);
}

static LLVMValueRef checked(struct run *r, LLVMValueRef pointer) {
    fail_if(r, LLVMBuildIsNull(r->ll->builder, pointer, ""), BF_RUN_NULL);
    return pointer;
}

static void load_ports(struct run *r) {
    const struct bf_poly *poly = r->b->plan->poly;
    int64_t at[2] = {0, 0};
    LLVMValueRef structs[2];
    for (unsigned i = 0; i < 2; i++)
        structs[i] = checked(r, LLVMGetParam(r->self, i));
    checked(r, r->workspace);
    LLVMValueRef address = LLVMBuildPtrToInt(r->ll->builder, r->workspace, r->ll->i64, "");
    LLVMValueRef low =
        LLVMBuildAnd(r->ll->builder, address, bf_ll_int(r->ll, BF_HOST_ALIGN - 1), "");
    fail_if(r, LLVMBuildICmp(r->ll->builder, LLVMIntNE, low, bf_ll_int(r->ll, 0), ""),
            BF_RUN_MISALIGNED);
    for (size_t i = 0; i < poly->tensors.count; i++) {
        bool output = poly->tensors.data[i].output;
        r->ports[i] = checked(r, load(r->ll, r->ll->ptr, structs[output], at[output]));
        at[output] += 8;
    }
    r->weights = r->b->weights_global;
    if (r->b->weights == BF_WEIGHTS_GIVEN && r->b->plan->blob_size)
        r->weights = checked(r, load(r->ll, r->ll->ptr, structs[0], at[0]));
}

static LLVMValueRef port_of(struct run *r, const struct bf_buffer *buffer) {
    const struct bf_poly *poly = r->b->plan->poly;
    for (size_t i = 0; i < poly->tensors.count; i++)
        if (poly->tensors.data[i].output == (buffer->kind == BF_BUFFER_OUTPUT) &&
            !strcmp(poly->tensors.data[i].name, buffer->tensor))
            return r->ports[i];
    return LLVMConstNull(r->ll->ptr);
}

static LLVMValueRef pointer_of(struct run *r, const struct bf_host_pointer *pointer) {
    const struct bf_buffer *buffer = pointer->buffer;
    LLVMValueRef base = r->workspace;
    int64_t offset = pointer->offset;
    if (pointer->place == BF_HOST_PACK) {
        base = r->weights;
    } else if (buffer->kind == BF_BUFFER_TEMP) {
        const struct bf_host_temp *temp = &r->b->plan->temps[buffer->index];
        if (temp->in_chain)
            return LLVMConstNull(r->ll->ptr);
        offset += temp->offset;
    } else {
        base = port_of(r, buffer);
    }
    return bf_ll_at_byte(r->ll, base, bf_ll_int(r->ll, offset));
}

/* Ids of gathers that are no row of the table. */
static void check_ids(struct run *r, const struct bf_host_call *call) {
    struct bf_ll *ll = r->ll;
    const struct bf_poly_kernel *kernel = call->kernels[0];
    const struct bf_kernel_param *table =
        kernel->kind == BF_KERNEL_COPY ? bf_kernel_find_param(kernel, "table") : NULL;
    if (!table)
        return;
    const struct bf_buffer *ids = kernel->inputs.data[0].buffer;
    bool bytes = bf_host_element(ids) == BF_HOST_U8;
    LLVMTypeRef type = bytes ? ll->i8 : ll->i32;
    LLVMValueRef pointer = pointer_of(r, &call->operands.data[1]);
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, bf_ll_int(ll, 0),
                     bf_ll_int(ll, ids->samples * ids->rows * ids->cols), 1);
    unsigned most = bf_ll_carry(ll, &loop, bf_ll_int(ll, 0));
    LLVMValueRef at = bf_ll_at_byte(ll, pointer, bf_ll_mul_int(ll, loop.index, bytes ? 1 : 4));
    LLVMValueRef id = LLVMBuildLoad2(ll->builder, type, at, "");
    LLVMSetAlignment(id, bytes ? 1 : 4);
    id = LLVMBuildZExt(ll->builder, id, ll->i64, "");
    loop.next[most] = bf_ll_max(ll, loop.carried[most], id);
    bf_ll_loop_end(ll, &loop);
    fail_if(r, bf_ll_less(ll, bf_ll_int(ll, table->view.extent[0] - 1), loop.carried[most]),
            BF_RUN_ID);
}

/* A call, or all calls of a chain, whose operands follow each other. */
static void build_call(struct run *r, const struct bf_host_call *call) {
    struct bf_ll *ll = r->ll;
    size_t at = 0;
    for (size_t c = 0; c < call->length; c++)
        for (size_t o = 0; o < call[c].operands.count; o++)
            store(ll, pointer_of(r, &call[c].operands.data[o]), r->operands, (int64_t)at++ * 8);
    int64_t units = call->choice->units, grain = call->choice->grain;
    LLVMValueRef function = r->b->kernels[call->function->index];
    if (call->length > 1) {
        function = bf_build_chain(r->b, call, &units);
        bf_build_place(r->b, r->self, call->function->loc);
        grain = 1;
    }
    LLVMValueRef scratch = bf_ll_at_byte(ll, r->workspace, bf_ll_int(ll, r->b->plan->temp_bytes));
    LLVMValueRef arguments[] = {
        function, r->operands, scratch, bf_ll_int(ll, units), bf_ll_int(ll, grain), r->executor};
    LLVMTypeRef type = LLVMGlobalGetValueType(r->b->dispatch);
    LLVMBuildCall2(ll->builder, type, r->b->dispatch, arguments, 6, "");
}

static size_t most_operands(const struct bf_host_plan *plan) {
    size_t most = 1, sum = 0;
    for (size_t i = 0; i < plan->calls.count; i++) {
        const struct bf_host_call *call = &plan->calls.data[i];
        sum = call->length ? call->operands.count : sum + call->operands.count;
        most = sum > most ? sum : most;
    }
    return most;
}

static void build_run_on(struct bf_build_module *b) {
    struct bf_ll *ll = &b->ll;
    LLVMTypeRef types[] = {ll->ptr, ll->ptr, ll->ptr, ll->ptr};
    const struct bf_host_plan *plan = b->plan;
    struct run r = {.b = b, .ll = ll};
    r.self = bf_build_function(b, bf_arena_printf(&b->arena, "%s_run_on", b->name),
                               LLVMFunctionType(ll->i32, types, 4, false), true, start_of(b));
    r.workspace = LLVMGetParam(r.self, 2);
    r.executor = LLVMGetParam(r.self, 3);
    r.ports = bf_arena_alloc(&b->arena, (plan->poly->tensors.count + 1) * sizeof *r.ports);
    r.operands = bf_ll_local(ll, LLVMArrayType2(ll->ptr, most_operands(plan)), "operands");
    load_ports(&r);
    for (size_t i = 0; i < plan->calls.count; i++)
        check_ids(&r, &plan->calls.data[i]);
    for (size_t i = 0; i < plan->calls.count; i++) {
        if (!plan->calls.data[i].length) /* of a chain */
            continue;
        bf_build_place(b, r.self, plan->calls.data[i].function->loc);
        build_call(&r, &plan->calls.data[i]);
    }
    LLVMBuildRet(ll->builder, LLVMConstInt(ll->i32, 0, false));
}

/* NAME_run is NAME_run_on without an executor. */
static void build_run_alone(struct bf_build_module *b) {
    struct bf_ll *ll = &b->ll;
    LLVMTypeRef types[] = {ll->ptr, ll->ptr, ll->ptr};
    LLVMValueRef on =
        LLVMGetNamedFunction(ll->module, bf_arena_printf(&b->arena, "%s_run_on", b->name));
    LLVMValueRef self =
        bf_build_function(b, bf_arena_printf(&b->arena, "%s_run", b->name),
                          LLVMFunctionType(ll->i32, types, 3, false), true, (struct bf_loc){0});
    LLVMValueRef arguments[] = {LLVMGetParam(self, 0), LLVMGetParam(self, 1), LLVMGetParam(self, 2),
                                LLVMConstNull(ll->ptr)};
    LLVMBuildRet(ll->builder,
                 LLVMBuildCall2(ll->builder, LLVMGlobalGetValueType(on), on, arguments, 4, ""));
}

static void build_workspace_size(struct bf_build_module *b) {
    struct bf_ll *ll = &b->ll;
    LLVMValueRef self =
        bf_build_function(b, bf_arena_printf(&b->arena, "%s_workspace_size", b->name),
                          LLVMFunctionType(ll->i64, &ll->i32, 1, false), true, (struct bf_loc){0});
    LLVMValueRef threads = LLVMBuildZExt(ll->builder, LLVMGetParam(self, 0), ll->i64, "");
    threads = bf_ll_max(ll, threads, bf_ll_int(ll, 1));
    LLVMValueRef bytes =
        bf_ll_add_int(ll, bf_ll_mul_int(ll, threads, b->plan->scratch), b->plan->temp_bytes);
    LLVMBuildRet(ll->builder, bf_ll_max(ll, bytes, bf_ll_int(ll, BF_HOST_ALIGN)));
}

void bf_build_run(struct bf_build_module *b) {
    build_run_on(b);
    build_run_alone(b);
    build_workspace_size(b);
}
