/* bfrt.c - models: loading and describing them; how the library is entered and left. See bfrt.h. */
#include "runtime/bfrt.h"

#include <stdlib.h>

#include "runtime/check.h"
#include "runtime/host.h"
#include "runtime/image.h"
#include "runtime/session.h"

#ifndef BF_VERSION
#define BF_VERSION "unversioned"
#endif

const char *bfrt_version(void) {
    return BF_VERSION;
}

/* ---- entry points ---- */

_Static_assert((int)BFRT_ERROR_INPUT == (int)BF_ERROR_INPUT &&
                   (int)BFRT_ERROR_MACHINE == (int)BF_ERROR_MACHINE &&
                   (int)BFRT_ERROR_INTERNAL == (int)BF_ERROR_INTERNAL,
               "the public error codes are the private ones");

void bf_enter(struct bf_entry *entry, struct bfrt_error *out) {
    entry->error = (struct bf_error){0};
    entry->out = out;
    entry->inside = true;
    bf_fp_begin(&entry->environment);
    bf_guard_push(&entry->guard);
}

bool bf_enter_failed(struct bf_entry *entry) {
    entry->inside = false;
    entry->error.code = BF_OK;
    bf_fail(&entry->error, BF_ERROR_INTERNAL, "out of memory");
    return true;
}

bool bf_leave(struct bf_entry *entry, bool ok) {
    if (entry->inside)
        bf_guard_pop(&entry->guard);
    bf_fp_end(&entry->environment);
    if (!ok && entry->out && entry->out->code == BFRT_OK) {
        entry->out->code = entry->error.code ? (int)entry->error.code : BFRT_ERROR_INTERNAL;
        snprintf(entry->out->text, sizeof entry->out->text, "%s", entry->error.text);
    }
    return ok;
}

/* ---- types ---- */

_Static_assert((int)BFRT_F16 == BF_ELEMENT_F16 && (int)BFRT_BF16 == BF_ELEMENT_BF16 &&
                   (int)BFRT_F32 == BF_ELEMENT_F32 && (int)BFRT_F64 == BF_ELEMENT_F64 &&
                   (int)BFRT_I32 == BF_ELEMENT_I32 && (int)BFRT_I64 == BF_ELEMENT_I64 &&
                   (int)BFRT_U8 == BF_ELEMENT_U8 && (int)BFRT_BOOL == BF_ELEMENT_BOOL,
               "the public element types are the private ones");
_Static_assert((int)BFRT_MAX_RANK == (int)BF_TENSOR_RANK, "ranks of the format");

const char *bfrt_type_name(enum bfrt_type type) {
    static const char *const names[] = {"f16", "bf16", "f32", "f64", "i32", "i64", "u8", "bool"};
    return (unsigned)type < BF_ELEMENT_COUNT ? names[type] : "?";
}

size_t bfrt_type_size(enum bfrt_type type) {
    return (unsigned)type < BF_ELEMENT_COUNT ? bf_element_size((enum bf_element)type) : 0;
}

static enum bfrt_type declared_type(uint8_t dtype) {
    static const enum bfrt_type types[] = {
        [BF_F16] = BFRT_F16, [BF_F32] = BFRT_F32, [BF_I32] = BFRT_I32, [BF_U8] = BFRT_U8};
    return types[dtype];
}

/* ---- inputs and outputs ---- */

static void collect_ports(struct bf_ports *ports, const struct bf_program *program,
                          enum bf_tensor_kind kind) {
    ports->tensors = bf_alloc(program->tensor_count * sizeof *ports->tensors);
    ports->places = bf_alloc(program->tensor_count * sizeof *ports->places);
    for (size_t i = 0; i < program->tensor_count; i++) {
        const struct bf_tensor_place *place = &program->tensors[i];
        if (place->kind != kind)
            continue;
        struct bfrt_tensor *tensor = &ports->tensors[ports->count];
        ports->places[ports->count++] = place;
        tensor->name = place->name;
        tensor->type = declared_type(place->dtype);
        tensor->rank = place->rank;
        for (unsigned d = 0; d < place->rank; d++)
            tensor->dims[d] = place->dims[d];
    }
}

size_t bf_ports_find(const struct bf_ports *ports, const char *name) {
    size_t i = 0;
    while (i < ports->count && strcmp(ports->tensors[i].name, name) != 0)
        i++;
    return i;
}

void bf_text_add_ports(struct bf_text *text, const struct bf_ports *ports) {
    for (size_t i = 0; i < ports->count; i++) {
        const struct bfrt_tensor *tensor = &ports->tensors[i];
        bf_text_printf(text, "%s%s %s", i ? ", " : "", tensor->name, bfrt_type_name(tensor->type));
        bf_text_add_shape(text, tensor->rank, tensor->dims);
    }
    if (!ports->count)
        bf_text_add(text, "none");
}

/* ---- loading ---- */

static struct bfrt_place public_place(const struct bf_program *program, struct bf_place place) {
    if (!place.line)
        return (struct bfrt_place){.file = ""};
    return (struct bfrt_place){program->files[place.file], place.line, place.column};
}

static void collect_kernels(struct bfrt_model *model) {
    const struct bf_program *program = model->program;
    model->kernels = bf_alloc(program->kernel_count * sizeof *model->kernels);
    for (size_t k = 0; k < program->kernel_count; k++) {
        const struct bf_kernel *kernel = &program->kernels[k];
        struct bfrt_kernel *shown = &model->kernels[k];
        shown->name = kernel->name;
        shown->what = kernel->what;
        shown->place = public_place(program, kernel->place);
        shown->blocks = kernel->block_count;
        for (size_t s = 0; s < kernel->segment_count; s++)
            shown->cal_words += kernel->segments[s].count;
    }
    /* What is launched, not what is listed: the sequencer may use a launch record again. */
    for (size_t i = 0; i < program->sequence_count; i++)
        if (program->sequence[i].op == BF_SEQ_LAUNCH) {
            model->kernels[program->launches[program->sequence[i].y].kernel].launches++;
            model->info.launch_count++;
        }
}

static void collect_info(struct bfrt_model *model) {
    const struct bf_program *program = model->program;
    const struct bf_machine *machine = &program->machine;
    model->info = (struct bfrt_info){
        .network = program->network,
        .machine = machine->name,
        .machine_hash = bf_machine_hash(machine),
        .rows = machine->rows,
        .cols = machine->cols,
        .lanes = machine->lanes,
        .clock_mhz = machine->clock_mhz,
        .batch = program->batch,
        .optimize = program->optimize,
        .resident = program->resident,
        .weights_hash = program->weights_hash,
        .rodata_bytes = program->rodata_size,
        .dram_bytes = program->dram_size,
        .kernel_count = program->kernel_count,
        .dma_count = program->dma_count,
    };
}

static struct bfrt_model *model_of(struct bf_program *program) {
    struct bfrt_model *model = bf_alloc(sizeof *model);
    model->program = program;
    collect_ports(&model->inputs, program, BF_TENSOR_INPUT);
    collect_ports(&model->outputs, program, BF_TENSOR_OUTPUT);
    collect_info(model);
    collect_kernels(model);
    return model;
}

static struct bfrt_model *load(const void *bytes, size_t size, const char *name,
                               struct bf_error *error) {
    struct bf_error reason = {0};
    struct bf_program *program = bf_image_load(bytes, size, &reason);
    if (!program) {
        bf_fail(error, reason.code, "%s: %s", name, reason.text);
        return NULL;
    }
    return model_of(program);
}

static struct bfrt_model *read_network(const char *path, const char *const *options,
                                       struct bf_error *error) {
    const struct bf_host_plugin *plugin = bf_host_load(error);
    struct bf_program *program = plugin ? plugin->read(path, options, error) : NULL;
    return program ? model_of(program) : NULL;
}

static struct bfrt_model *read_and_load(const char *path, struct bf_error *error) {
    size_t size;
    char *bytes = bf_read_file(path, &size, error);
    if (!bytes)
        return NULL;
    struct bfrt_model *model = load(bytes, size, strcmp(path, "-") ? path : "<stdin>", error);
    free(bytes);
    return model;
}

struct bfrt_model *bfrt_load_memory(const void *bytes, size_t size, const char *name,
                                    struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error)) {
        bf_leave(&entry, false);
        return NULL;
    }
    struct bfrt_model *model = load(bytes, size, name, &entry.error);
    bf_leave(&entry, model != NULL);
    return model;
}

struct bfrt_model *bfrt_load(const char *path, struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error)) {
        bf_leave(&entry, false);
        return NULL;
    }
    struct bfrt_model *model = read_and_load(path, &entry.error);
    bf_leave(&entry, model != NULL);
    return model;
}

struct bfrt_model *bfrt_load_network(const char *path, const char *const *options,
                                     struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error)) {
        bf_leave(&entry, false);
        return NULL;
    }
    struct bfrt_model *model = read_network(path, options, &entry.error);
    bf_leave(&entry, model != NULL);
    return model;
}

void bfrt_model_free(struct bfrt_model *model) {
    if (!model)
        return;
    free(model->inputs.tensors);
    free(model->inputs.places);
    free(model->outputs.tensors);
    free(model->outputs.places);
    free(model->kernels);
    bf_program_free(model->program);
    free(model);
}

bool bfrt_check(const struct bfrt_model *model, struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error))
        return bf_leave(&entry, false);
    return bf_leave(&entry, bf_check_program(model->program, &entry.error));
}

/* ---- describing ---- */

size_t bfrt_input_count(const struct bfrt_model *model) {
    return model->inputs.count;
}

size_t bfrt_output_count(const struct bfrt_model *model) {
    return model->outputs.count;
}

const struct bfrt_tensor *bfrt_input(const struct bfrt_model *model, size_t index) {
    return index < model->inputs.count ? &model->inputs.tensors[index] : NULL;
}

const struct bfrt_tensor *bfrt_output(const struct bfrt_model *model, size_t index) {
    return index < model->outputs.count ? &model->outputs.tensors[index] : NULL;
}

const struct bfrt_info *bfrt_info(const struct bfrt_model *model) {
    return &model->info;
}

const struct bfrt_kernel *bfrt_kernel(const struct bfrt_model *model, size_t index) {
    return index < model->info.kernel_count ? &model->kernels[index] : NULL;
}

const char *bfrt_device_name(size_t index) {
    const struct bf_device *device = bf_device_at(index);
    return device ? device->name : NULL;
}

const char *bfrt_device_what(size_t index) {
    const struct bf_device *device = bf_device_at(index);
    return device ? device->what : NULL;
}
