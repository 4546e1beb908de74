/* chain.c - a chain of calls as one function: for each tile of rows, the kernels one after the
 * other.
 *
 *   operands: those of all members, one after the other; buffers that live only in the chain have
 *   none. Their tiles lie in scratch memory, before the members' own; a kernel gets the address at
 *   which row 0 would be.
 */
#include "backend/host/build.h"

struct chain_function {
    struct bf_build_module *b;
    const struct bf_host_call *calls;
    size_t count;
    int64_t rows, tile, tile_bytes;
    LLVMValueRef self, local, first, end; /* rows of the tile */
};

static int64_t round_up(int64_t x) {
    return (int64_t)bf_round_up((uint64_t)x, BF_HOST_ALIGN);
}

static const struct bf_host_temp *temp_of(const struct bf_build_module *b,
                                          const struct bf_host_pointer *pointer) {
    if (pointer->place != BF_HOST_BUFFER || pointer->buffer->kind != BF_BUFFER_TEMP)
        return NULL;
    const struct bf_host_temp *temp = &b->plan->temps[pointer->buffer->index];
    return temp->in_chain ? temp : NULL;
}

/* What decides the code: members, and where their operands are in the chain. */
static const char *key_of(struct bf_build_module *b, const struct bf_host_call *calls) {
    struct bf_text key = {0};
    bf_text_printf(&key, "%lld", (long long)calls->chain_rows);
    for (size_t c = 0; c < calls->length; c++) {
        bf_text_printf(&key, " %u:", calls[c].function->index);
        for (size_t o = 0; o < calls[c].operands.count; o++) {
            const struct bf_host_pointer *pointer = &calls[c].operands.data[o];
            const struct bf_host_temp *temp = temp_of(b, pointer);
            if (temp)
                bf_text_printf(&key, "%lld+%lld", (long long)temp->offset,
                               (long long)pointer->offset);
            bf_text_add(&key, ",");
        }
    }
    const char *copy = bf_arena_strdup(&b->arena, key.data);
    bf_text_free(&key);
    return copy;
}

static void measure(struct chain_function *f) {
    const struct bf_host_call *call = f->calls;
    const struct bf_poly_kernel *last = call->kernels[call->choice->kernels - 1];
    if (call->epilogue)
        last = call->epilogue->kernel;
    const struct bf_operand *out = &last->outputs.data[0];
    f->rows = out->buffer->samples * out->rows;
    for (size_t c = 0; c < f->count; c++)
        for (size_t o = 0; o < f->calls[c].operands.count; o++) {
            const struct bf_host_pointer *pointer = &f->calls[c].operands.data[o];
            const struct bf_host_temp *temp = temp_of(f->b, pointer);
            int64_t end = temp ? temp->offset + round_up(f->tile * pointer->buffer->cols * 4) : 0;
            f->tile_bytes = end > f->tile_bytes ? end : f->tile_bytes;
        }
}

static LLVMValueRef slot(struct bf_ll *ll, LLVMValueRef array, size_t index) {
    return bf_ll_at_byte(ll, array, bf_ll_int(ll, (int64_t)index * 8));
}

static void call_member(struct chain_function *f, const struct bf_host_call *call, size_t base) {
    struct bf_ll *ll = &f->b->ll;
    LLVMValueRef scratch = LLVMGetParam(f->self, 1);
    for (size_t o = 0; o < call->operands.count; o++) {
        const struct bf_host_pointer *pointer = &call->operands.data[o];
        const struct bf_host_temp *temp = temp_of(f->b, pointer);
        LLVMValueRef value;
        if (temp) {
            LLVMValueRef before = bf_ll_mul_int(ll, f->first, pointer->buffer->cols * 4);
            LLVMValueRef at = bf_ll_sub(ll, bf_ll_int(ll, temp->offset + pointer->offset), before);
            value = bf_ll_at_byte(ll, scratch, at);
        } else {
            value = LLVMBuildLoad2(ll->builder, ll->ptr,
                                   slot(ll, LLVMGetParam(f->self, 0), base + o), "");
        }
        LLVMBuildStore(ll->builder, value, slot(ll, f->local, o));
    }
    int64_t unit = call->choice->unit_rows;
    LLVMValueRef own = bf_ll_at_byte(ll, scratch, bf_ll_int(ll, f->tile_bytes));
    LLVMValueRef begin = bf_ll_div_int(ll, f->first, unit);
    LLVMValueRef end = bf_ll_div_int(ll, bf_ll_add_int(ll, f->end, unit - 1), unit);
    LLVMValueRef arguments[] = {f->local, own, begin, end};
    LLVMBuildCall2(ll->builder, f->b->kernel_type, f->b->kernels[call->function->index], arguments,
                   4, "");
}

static void build_body(struct chain_function *f) {
    struct bf_ll *ll = &f->b->ll;
    size_t most = 0, base = 0;
    for (size_t c = 0; c < f->count; c++)
        most = f->calls[c].operands.count > most ? f->calls[c].operands.count : most;
    f->local = bf_ll_local(ll, LLVMArrayType2(ll->ptr, most), "operands");
    struct bf_ll_loop loop;
    bf_ll_loop_begin(ll, &loop, LLVMGetParam(f->self, 2), LLVMGetParam(f->self, 3), 1);
    f->first = bf_ll_mul_int(ll, loop.index, f->tile);
    f->end = bf_ll_min(ll, bf_ll_add_int(ll, f->first, f->tile), bf_ll_int(ll, f->rows));
    for (size_t c = 0; c < f->count; c++) {
        bf_build_place(f->b, f->self, f->calls[c].function->loc);
        call_member(f, &f->calls[c], base);
        base += f->calls[c].operands.count;
    }
    bf_ll_loop_end(ll, &loop);
    LLVMBuildRetVoid(ll->builder);
}

LLVMValueRef bf_build_chain(struct bf_build_module *b, const struct bf_host_call *calls,
                            int64_t *units) {
    struct chain_function f = {
        .b = b, .calls = calls, .count = calls->length, .tile = calls->chain_rows};
    measure(&f);
    *units = (f.rows + f.tile - 1) / f.tile;
    const char *key = key_of(b, calls);
    for (size_t i = 0; i < b->chains.count; i++)
        if (!strcmp(b->chains.data[i].key, key))
            return b->chains.data[i].function;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(b->ll.builder);
    const char *name = bf_arena_printf(&b->arena, "%s.chain%zu", b->name, b->chains.count);
    f.self = bf_build_function(b, name, b->kernel_type, false, calls->function->loc);
    build_body(&f);
    LLVMPositionBuilderAtEnd(b->ll.builder, here);
    *bf_push(&b->chains) = (struct bf_chain_made){key, f.self};
    return f.self;
}
