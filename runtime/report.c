/* report.c - `bfrun -stats text` and `-stats json`. See report.h. */
#include "runtime/report.h"
#include "runtime/profile.h"

#include <inttypes.h>
#include <stdlib.h>

static unsigned pe_count(const struct bfrt_info *info) {
    return info->rows * info->cols;
}

/* The share of issue slots of a unit that were used. */
static double occupancy(const struct bfrt_kernel_stats *kernel, enum bfrt_unit unit, unsigned pes) {
    return kernel->cycles ? (double)kernel->issued[unit] / ((double)kernel->cycles * pes) : 0;
}

/* Of all kernels, weighted with their cycles. */
static struct bfrt_kernel_stats sum_kernels(const struct bfrt_stats *stats) {
    struct bfrt_kernel_stats sum = {0};
    for (size_t k = 0; k < stats->kernel_count; k++) {
        sum.runs += stats->kernels[k].runs;
        sum.cycles += stats->kernels[k].cycles;
        for (int u = 0; u < BFRT_UNITS; u++) {
            sum.issued[u] += stats->kernels[k].issued[u];
            for (int s = 0; s < BFRT_STALLS; s++)
                sum.stalled[u][s] += stats->kernels[k].stalled[u][s];
        }
    }
    return sum;
}

/* ---- text ---- */

/* ".962", as three digits are all that count. */
static void add_share(struct bf_table *table, double share) {
    char number[32];
    snprintf(number, sizeof number, "%.3f", share);
    bf_table_cell(table, "%s", number[0] == '0' ? number + 1 : number);
}

/* "drain 2 %, ports 1 %": where the CAL slots went that issued nothing, the largest first. */
static void add_losses(struct bf_text *text, const struct bfrt_kernel_stats *kernel, unsigned pes) {
    bool told[BFRT_STALLS] = {[BFRT_STALL_NONE] = true};
    double slots = (double)kernel->cycles * pes;
    for (int n = 0; n < 3; n++) {
        int worst = 0;
        for (int s = 1; s < BFRT_STALLS; s++)
            if (!told[s] &&
                (!worst || kernel->stalled[BFRT_CAL][s] > kernel->stalled[BFRT_CAL][worst]))
                worst = s;
        double share = slots > 0 ? (double)kernel->stalled[BFRT_CAL][worst] / slots : 0;
        if (!worst || share < 0.005)
            break;
        told[worst] = true;
        bf_text_printf(text, "%s%s %.0f %%", n ? ", " : "", bfrt_stall_name((enum bfrt_stall)worst),
                       100 * share);
    }
}

/* Path and operator: "encoder.0.mix fourier" is shown in two columns. */
static void add_kernel_name(struct bf_table *table, const struct bfrt_kernel *kernel) {
    const char *space = strrchr(kernel->what, ' ');
    if (!kernel->what[0]) {
        bf_table_cell(table, "%s", kernel->name);
        bf_table_cell(table, "%s", "");
    } else if (!space) {
        bf_table_cell(table, "%s", kernel->name);
        bf_table_cell(table, "%s", kernel->what);
    } else {
        bf_table_cell(table, "%.*s", (int)(space - kernel->what), kernel->what);
        bf_table_cell(table, "%s", space + 1);
    }
}

/* "12 x 13 492" for 12 launches a group; totals where they do not divide. */
static void add_kernel_cycles(struct bf_table *table, const struct bfrt_kernel_stats *kernel,
                              uint64_t groups) {
    struct bf_text cycles = {0};
    uint64_t launches = groups ? kernel->runs / groups : 0;
    if (launches > 1)
        bf_text_printf(&cycles, "%" PRIu64 " x ", launches);
    bf_text_add_count(&cycles, kernel->runs ? kernel->cycles / kernel->runs : 0);
    bf_table_cell(table, "%s", cycles.data);
    bf_text_free(&cycles);
}

static void add_timed_kernels(struct bf_text *text, const struct bfrt_model *model,
                              const struct bfrt_stats *stats) {
    static const char *const heads[] = {"kernel", "",     "cycles", "of bound", "CAL",
                                        "LOAD",   "FLOW", "STORE",  "lost to"};
    unsigned pes = pe_count(bfrt_info(model));
    struct bf_table table = {.columns = 9, .left = 0x103};
    for (unsigned c = 0; c < table.columns; c++)
        bf_table_cell(&table, "%s", heads[c]);
    for (size_t k = 0; k < stats->kernel_count; k++) {
        const struct bfrt_kernel_stats *kernel = &stats->kernels[k];
        if (!kernel->runs)
            continue;
        add_kernel_name(&table, bfrt_kernel(model, k));
        add_kernel_cycles(&table, kernel, stats->groups);
        bf_table_cell(&table, "%.2f",
                      kernel->cycles ? (double)kernel->bound / (double)kernel->cycles : 0);
        for (int u = 0; u < BFRT_UNITS; u++)
            add_share(&table, occupancy(kernel, (enum bfrt_unit)u, pes));
        struct bf_text losses = {0};
        add_losses(&losses, kernel, pes);
        bf_table_cell(&table, "%s", losses.data ? losses.data : "");
        bf_text_free(&losses);
    }
    bf_table_finish(&table, "", text);
}

static void add_untimed_kernels(struct bf_text *text, const struct bfrt_model *model,
                                const struct bfrt_stats *stats) {
    static const char *const heads[] = {"kernel", "", "launches", "CAL", "LOAD", "FLOW", "STORE"};
    struct bf_table table = {.columns = 7, .left = 3};
    for (unsigned c = 0; c < table.columns; c++)
        bf_table_cell(&table, "%s", heads[c]);
    for (size_t k = 0; k < stats->kernel_count; k++) {
        const struct bfrt_kernel_stats *kernel = &stats->kernels[k];
        if (!kernel->runs)
            continue;
        add_kernel_name(&table, bfrt_kernel(model, k));
        bf_table_cell(&table, "%" PRIu64, kernel->runs);
        for (int u = 0; u < BFRT_UNITS; u++) {
            struct bf_text count = {0};
            bf_text_add_count(&count, kernel->issued[u]);
            bf_table_cell(&table, "%s", count.data);
            bf_text_free(&count);
        }
    }
    bf_table_finish(&table, "", text);
}

static double seconds_of(const struct bfrt_stats *stats, const struct bfrt_info *info) {
    return (double)stats->cycles / (info->clock_mhz * 1e6);
}

static void add_head(struct bf_text *text, const struct bfrt_info *info, const char *device,
                     const struct bfrt_stats *stats) {
    bf_text_printf(text, "%s  %" PRIu64 " sample%s", info->network, stats->samples,
                   stats->samples == 1 ? "" : "s");
    if (stats->groups > 1)
        bf_text_printf(text, " in %" PRIu64 " groups", stats->groups);
    bf_text_add(text, "  ");
    bf_text_add_machine(text, info);
    bf_text_printf(text, "  %s", device);
    if (stats->timed) {
        bf_text_add(text, "   ");
        bf_text_add_count(text, stats->cycles);
        bf_text_add(text, " cycles   ");
        bf_text_add_amount(text, seconds_of(stats, info), "s");
        bf_text_add(text, "   ");
        bf_text_add_amount(text, stats->energy, "J");
    }
    bf_text_add(text, "\n");
}

/* What is per sample, per cycle, or of all kernels together. */
static void add_timed_totals(struct bf_text *text, const struct bfrt_info *info,
                             const struct bfrt_stats *stats) {
    if (!stats->cycles || !stats->samples)
        return;
    struct bfrt_kernel_stats sum = sum_kernels(stats);
    bf_text_add_count(text, stats->cycles / stats->samples);
    bf_text_add(text, " cycles/sample   CAL ");
    sum.cycles = stats->cycles;
    bf_text_printf(text, "%.1f %%   bound ", 100 * occupancy(&sum, BFRT_CAL, pe_count(info)));
    bf_text_add_count(text, stats->bound);
    bf_text_printf(text, " (%s)", stats->bound_by ? stats->bound_by : "nothing");
    if (stats->dma_wait)
        bf_text_printf(text, "   waiting for DRAM %.1f %%",
                       100 * (double)stats->dma_wait / (double)stats->cycles);
    if (stats->measured != stats->cycles) {
        bf_text_add(text, "   marked ");
        bf_text_add_count(text, stats->measured);
    }
    bf_text_add(text, "\n");
    if (!stats->skipped)
        return;
    bf_text_add_count(text, stats->cycles - stats->skipped);
    bf_text_add(text, " cycles simulated, ");
    bf_text_add_count(text, stats->skipped);
    bf_text_add(text, " skipped in steady states (-exact simulates all)\n");
}

static void add_totals(struct bf_text *text, const struct bfrt_stats *stats) {
    uint64_t launches = sum_kernels(stats).runs / (stats->groups ? stats->groups : 1);
    bf_text_printf(text, "%" PRIu64 " launch%s of %zu kernel%s   DRAM ", launches,
                   launches == 1 ? "" : "es", stats->kernel_count,
                   stats->kernel_count == 1 ? "" : "s");
    bf_text_add_amount(text, (double)stats->dram_read, "B");
    bf_text_add(text, " read, ");
    bf_text_add_amount(text, (double)stats->dram_written, "B");
    bf_text_printf(text, " written   %" PRIu64 " infinit%s   %" PRIu64 " NaN%s\n",
                   stats->infinities, stats->infinities == 1 ? "y" : "ies", stats->nans,
                   stats->nans == 1 ? "" : "s");
}

void bf_report_text(struct bf_text *text, const struct bfrt_model *model, const char *device,
                    const struct bfrt_stats *stats) {
    const struct bfrt_info *info = bfrt_info(model);
    add_head(text, info, device, stats);
    if (stats->timed) {
        add_timed_kernels(text, model, stats);
        add_timed_totals(text, info, stats);
    } else {
        add_untimed_kernels(text, model, stats);
    }
    add_totals(text, stats);
}

/* ---- JSON ---- */

static void put(json_t *object, const char *key, uint64_t value) {
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void put_place(json_t *object, struct bfrt_place place) {
    if (!place.line)
        return;
    json_object_set_new(object, "file", json_string(place.file));
    put(object, "line", place.line);
    put(object, "column", place.column);
}

static json_t *unit_json(const struct bfrt_kernel_stats *kernel, enum bfrt_unit unit, bool timed) {
    json_t *object = json_object();
    put(object, "issued", kernel->issued[unit]);
    if (!timed)
        return object;
    json_t *stalled = json_object();
    for (int s = 1; s < BFRT_STALLS; s++)
        put(stalled, bfrt_stall_name((enum bfrt_stall)s), kernel->stalled[unit][s]);
    json_object_set_new(object, "stalled", stalled);
    return object;
}

static json_t *kernel_json(const struct bfrt_kernel *kernel, const struct bfrt_kernel_stats *stats,
                           bool timed) {
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(kernel->name));
    json_object_set_new(object, "what", json_string(kernel->what));
    put_place(object, kernel->place);
    put(object, "runs", stats->runs);
    if (timed) {
        put(object, "cycles", stats->cycles);
        put(object, "bound", stats->bound);
        json_object_set_new(object, "bound_by", json_string(stats->bound_by));
    }
    for (int u = 0; u < BFRT_UNITS; u++)
        json_object_set_new(object, bfrt_unit_name((enum bfrt_unit)u),
                            unit_json(stats, (enum bfrt_unit)u, timed));
    put(object, "special", stats->special);
    put(object, "ram_words", stats->ram_words);
    put(object, "hops", stats->hops);
    put(object, "scratchpad_words", stats->scratchpad_words);
    put(object, "infinities", stats->infinities);
    put(object, "nans", stats->nans);
    return object;
}

static json_t *machine_json(const struct bfrt_info *info) {
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(info->machine));
    put(object, "rows", info->rows);
    put(object, "cols", info->cols);
    put(object, "lanes", info->lanes);
    put(object, "clock_mhz", info->clock_mhz);
    return object;
}

static json_t *findings_json(const struct bfrt_model *model, const struct bfrt_session *session) {
    json_t *array = json_array();
    for (size_t i = 0; i < bfrt_finding_count(session); i++) {
        const struct bfrt_finding *finding = bfrt_finding(session, i);
        const struct bfrt_kernel *kernel = bfrt_kernel(model, finding->kernel);
        json_t *object = json_object();
        json_object_set_new(object, "kernel", json_string(kernel->name));
        json_object_set_new(object, "what", json_string(kernel->what));
        json_object_set_new(object, "block", json_string(finding->block));
        put_place(object, finding->place);
        put(object, "infinities", finding->infinities);
        put(object, "nans", finding->nans);
        json_array_append_new(array, object);
    }
    return array;
}

static json_t *layers_json(const struct bfrt_session *session) {
    json_t *array = json_array();
    for (size_t i = 0; i < bfrt_layer_count(session); i++) {
        const struct bfrt_layer *layer = bfrt_layer(session, i);
        json_t *object = json_object(), *shape = json_array();
        json_object_set_new(object, "kind", json_string(layer->kind));
        json_object_set_new(object, "label", json_string(layer->label));
        put_place(object, layer->place);
        for (unsigned a = 0; a < layer->rank; a++)
            json_array_append_new(shape, json_integer((json_int_t)layer->dims[a]));
        json_object_set_new(object, "shape", shape);
        json_object_set_new(object, "stored", json_boolean(layer->stored));
        if (layer->stored) {
            put(object, "infinities", layer->infinities);
            put(object, "nans", layer->nans);
            /* json_real refuses infinity, which is then null */
            json_object_set_new(object, "largest", json_real(layer->largest));
            json_object_set_new(object, "max_error", json_real(layer->max_error));
            json_t *relative = json_real(layer->relative_l2);
            json_object_set_new(object, "relative_l2", relative ? relative : json_null());
            json_object_set_new(object, "loses", json_boolean(layer->loses));
        }
        json_array_append_new(array, object);
    }
    return array;
}

json_t *bf_stats_object(const struct bfrt_model *model, const char *device,
                        const struct bfrt_session *session, const struct bfrt_session *layers) {
    const struct bfrt_stats *stats = bfrt_stats(session);
    const struct bfrt_info *info = bfrt_info(model);
    json_t *root = json_object();
    json_object_set_new(root, "network", json_string(info->network));
    json_object_set_new(root, "device", json_string(device));
    json_object_set_new(root, "machine", machine_json(info));
    put(root, "samples", stats->samples);
    put(root, "batch", info->batch);
    put(root, "groups", stats->groups);
    if (stats->timed) {
        put(root, "cycles", stats->cycles);
        put(root, "measured_cycles", stats->measured);
        put(root, "dma_wait_cycles", stats->dma_wait);
        put(root, "skipped_cycles", stats->skipped);
        put(root, "bound", stats->bound);
        json_object_set_new(root, "bound_by", json_string(stats->bound_by ? stats->bound_by : ""));
        json_object_set_new(root, "seconds", json_real(seconds_of(stats, info)));
        json_object_set_new(root, "joules", json_real(stats->energy));
    }
    put(root, "dram_read_bytes", stats->dram_read);
    put(root, "dram_written_bytes", stats->dram_written);
    put(root, "dram_measured_bytes", stats->dram_measured);
    put(root, "infinities", stats->infinities);
    put(root, "nans", stats->nans);
    json_t *kernels = json_array();
    for (size_t k = 0; k < stats->kernel_count; k++)
        json_array_append_new(kernels,
                              kernel_json(bfrt_kernel(model, k), &stats->kernels[k], stats->timed));
    json_object_set_new(root, "kernels", kernels);
    json_object_set_new(root, "special_values", findings_json(model, session));
    if (layers && bfrt_layer_count(layers))
        json_object_set_new(root, "layers", layers_json(layers));
    return root;
}

void bf_report_json(struct bf_text *text, const struct bfrt_model *model, const char *device,
                    const struct bfrt_session *session, const struct bfrt_session *layers) {
    json_t *root = bf_stats_object(model, device, session, layers);
    char *dump = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    bf_text_add(text, dump ? dump : "{}");
    bf_text_add(text, "\n");
    free(dump);
    json_decref(root);
}
