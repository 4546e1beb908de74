/* program.c - making and freeing array programs. See program.h. */
#include "ir/isa/program.h"

#include <stdlib.h>

struct bf_program *bf_program_create(void) {
    struct bf_program *program = bf_alloc(sizeof *program);
    program->machine = bf_machine_default();
    program->network = bf_strdup("");
    program->batch = 1;
    return program;
}

void bf_kernel_clear(struct bf_kernel *kernel) {
    for (size_t i = 0; i < kernel->segment_count; i++)
        free(kernel->segments[i].words);
    for (size_t i = 0; i < kernel->block_count; i++)
        free(kernel->blocks[i].name);
    free(kernel->segments);
    free(kernel->blocks);
    free(kernel->name);
    free(kernel->what);
}

void bf_program_free(struct bf_program *program) {
    if (!program)
        return;
    for (size_t i = 0; i < program->file_count; i++)
        free(program->files[i]);
    for (size_t i = 0; i < program->kernel_count; i++)
        bf_kernel_clear(&program->kernels[i]);
    for (size_t i = 0; i < program->tensor_count; i++)
        free(program->tensors[i].name);
    for (size_t i = 0; i < program->value_count; i++)
        free(program->values[i].name);
    free(program->network);
    free(program->files);
    free(program->kernels);
    free(program->sequence);
    free(program->launches);
    free(program->dmas);
    free(program->tensors);
    free(program->rodata);
    free(program->net);
    free(program->net_weights);
    free(program->values);
    free(program);
}
