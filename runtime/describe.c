/* describe.c - `bfrun -describe`. See report.h. */
#include "runtime/report.h"

#include <inttypes.h>
#include <stdlib.h>

static void add_head(struct bf_text *text, const struct bfrt_info *info) {
    bf_text_printf(text, "network  %s   batch %u   -O%u%s\n", info->network, info->batch,
                   info->optimize, info->resident ? "   -resident" : "");
    bf_text_printf(text, "machine  %s:%016" PRIx64 "   ", info->machine, info->machine_hash);
    bf_text_add_machine(text, info);
    bf_text_add(text, "\nweights  ");
    if (info->weights_hash)
        bf_text_printf(text, "%016" PRIx64 "   ", info->weights_hash);
    else
        bf_text_add(text, "none   ");
    bf_text_add_amount(text, (double)info->rodata_bytes, "B");
    bf_text_add(text, " with tables   ");
    bf_text_add_amount(text, (double)info->dram_bytes, "B");
    bf_text_add(text, " of DRAM in all\n");
}

static void add_tensor(struct bf_table *table, const char *what, const struct bfrt_tensor *tensor) {
    struct bf_text shape = {0};
    for (unsigned d = 0; d < tensor->rank; d++)
        bf_text_printf(&shape, "%s%" PRIu64, d ? ", " : "", tensor->dims[d]);
    bf_table_cell(table, "%s", what);
    bf_table_cell(table, "%s", tensor->name);
    bf_table_cell(table, "%s[%s]", bfrt_type_name(tensor->type), shape.data ? shape.data : "");
    bf_text_free(&shape);
}

static void add_kernels(struct bf_text *text, const struct bfrt_model *model) {
    const struct bfrt_info *info = bfrt_info(model);
    struct bf_table table = {.columns = 6, .left = 0x23};
    static const char *const heads[] = {"kernel", "", "launches", "blocks", "CAL words", "source"};
    for (unsigned c = 0; c < table.columns; c++)
        bf_table_cell(&table, "%s", heads[c]);
    for (size_t k = 0; k < info->kernel_count; k++) {
        const struct bfrt_kernel *kernel = bfrt_kernel(model, k);
        bf_table_cell(&table, "%s", kernel->name);
        bf_table_cell(&table, "%s", kernel->what);
        bf_table_cell(&table, "%zu", kernel->launches);
        bf_table_cell(&table, "%zu", kernel->blocks);
        bf_table_cell(&table, "%zu", kernel->cal_words);
        if (kernel->place.line)
            bf_table_cell(&table, "%s:%u:%u", kernel->place.file, kernel->place.line,
                          kernel->place.column);
        else
            bf_table_cell(&table, "-");
    }
    bf_table_finish(&table, "", text);
    bf_text_printf(text, "%zu kernel%s   %zu launch%s   %zu DMA job%s\n", info->kernel_count,
                   info->kernel_count == 1 ? "" : "s", info->launch_count,
                   info->launch_count == 1 ? "" : "es", info->dma_count,
                   info->dma_count == 1 ? "" : "s");
}

void bf_describe(struct bf_text *text, const struct bfrt_model *model) {
    add_head(text, bfrt_info(model));
    struct bf_table table = {.columns = 3, .left = 7};
    for (size_t i = 0; i < bfrt_input_count(model); i++)
        add_tensor(&table, "input  ", bfrt_input(model, i));
    for (size_t i = 0; i < bfrt_output_count(model); i++)
        add_tensor(&table, "output ", bfrt_output(model, i));
    bf_table_finish(&table, "", text);
    bf_text_add(text, "\n");
    add_kernels(text, model);
}
