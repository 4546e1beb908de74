/* main_bfrun.c - bfrun: runs a .bfx on a device. A thin user of bfrt.h. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "runtime/bfrt.h"
#include "runtime/bfrun_options.h"
#include "runtime/report.h"

/* ---- messages ---- */

/* "bfrun: error: text"; further lines of the text are notes. */
static void say(const struct bf_run_options *options, const char *place, const char *severity,
                const char *message) {
    const char *bold = options->color ? "\033[1m" : "", *plain = options->color ? "\033[0m" : "";
    const char *tint = !options->color ? "" : *severity == 'e' ? "\033[31m" : "\033[35m";
    struct bf_text text = {0}, where = {0};
    bf_text_add(&text, message);
    bf_text_make_printable(&text);
    bf_text_add(&where, place);
    bf_text_make_printable(&where);
    for (const char *line = text.data, *end; line; line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        int length = end ? (int)(end - line) : (int)strlen(line);
        fprintf(stderr, "%s%s:%s %s%s%s:%s %.*s\n", bold, where.data, plain, bold, tint, severity,
                plain, length, line);
        severity = "note";
        tint = "";
    }
    bf_text_free(&text);
    bf_text_free(&where);
}

static int fail(const struct bf_run_options *options, int code, const char *text) {
    say(options, "bfrun", "error", text);
    return code == BFRT_ERROR_INTERNAL ? 70 : 1;
}

/* ---- progress ---- */

struct progress {
    const char *network;
    struct timespec start;
    double drawn; /* seconds after the start */
    bool visible;
};

static double seconds_since(const struct timespec *start) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

/* digits  [##########                    ]   34 %   2.8 s */
static void draw_progress(void *user, double done) {
    struct progress *progress = user;
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    double now = seconds_since(&progress->start);
    if (now - progress->drawn < 0.1)
        return;
    progress->drawn = now;
    progress->visible = true;
    done = done < 0 ? 0 : done > 1 ? 1 : done;
    for (int i = 0; i < WIDTH; i++)
        bar[i] = i < (int)(done * WIDTH) ? '#' : ' ';
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r%s  [%s]  %3d %%   %.1f s", progress->network, bar, (int)(done * 100), now);
    fflush(stderr);
}

static void clear_progress(struct progress *progress) {
    if (progress->visible)
        fputs("\r\033[K", stderr);
}

/* ---- warnings ---- */

/* ", 3 NaNs" or nothing. */
static void add_some(struct bf_text *text, uint64_t count, const char *one, const char *many) {
    if (count)
        bf_text_printf(text, "%s %" PRIu64 " %s", text->length ? "," : "", count,
                       count == 1 ? one : many);
}

/* "[1, 17]": the place of element number `index`. */
static void add_place(struct bf_text *text, const struct bfrt_session *session, size_t input,
                      uint64_t index) {
    uint64_t dims[BFRT_MAX_RANK + 1], place[BFRT_MAX_RANK + 1];
    unsigned rank = bfrt_input_shape(session, input, dims);
    for (unsigned d = rank; d-- > 0; index /= dims[d])
        place[d] = index % dims[d];
    for (unsigned d = 0; d < rank; d++)
        bf_text_printf(text, "%s%" PRIu64, d ? ", " : "[", place[d]);
    bf_text_add(text, rank ? "]" : "[]");
}

static int warn_inputs(const struct bf_run_options *options, const struct bfrt_model *model,
                       const struct bfrt_session *session) {
    int warnings = 0;
    for (size_t i = 0; i < bfrt_input_count(model); i++) {
        struct bfrt_range range = bfrt_input_range(session, i);
        struct bf_text what = {0}, text = {0};
        add_some(&what, range.overflowed, "value beyond 65504, infinite in fp16",
                 "values beyond 65504, infinite in fp16");
        add_some(&what, range.infinities, "infinity", "infinities");
        add_some(&what, range.nans, "NaN", "NaNs");
        if (!what.length)
            continue;
        bf_text_printf(&text, "input '%s' has%s; the first is at ", bfrt_input(model, i)->name,
                       what.data);
        add_place(&text, session, i, range.first);
        say(options, "bfrun", "warning", text.data);
        bf_text_free(&what);
        bf_text_free(&text);
        warnings++;
    }
    return warnings;
}

/* What to do about the first of the findings, which the others mostly follow from. */
static const char *remedy(const struct bfrt_kernel *kernel, const struct bfrt_finding *finding) {
    if (strstr(kernel->what, "fourier") || strstr(kernel->what, "fft"))
        return "fp16 ends at 65504; bfcc -calibrate FILE chooses an exponent that keeps the result "
               "below it from data, unless it is an output or read by attention";
    if (!finding->infinities)
        return "NaNs come of infinities inside it; bfrun -compare shows where values grow";
    return "fp16 ends at 65504; bfrun -compare shows where values grow, scale there";
}

static int warn_findings(const struct bf_run_options *options, const struct bfrt_model *model,
                         const struct bfrt_session *session) {
    for (size_t i = 0; i < bfrt_finding_count(session); i++) {
        const struct bfrt_finding *finding = bfrt_finding(session, i);
        const struct bfrt_kernel *kernel = bfrt_kernel(model, finding->kernel);
        struct bf_text place = {0}, text = {0};
        if (finding->place.line)
            bf_text_printf(&place, "%s:%u:%u", finding->place.file, finding->place.line,
                           finding->place.column);
        bf_text_printf(&text, "%s stored ", kernel->what[0] ? kernel->what : kernel->name);
        if (finding->infinities)
            bf_text_printf(&text, "%" PRIu64 " infinit%s", finding->infinities,
                           finding->infinities == 1 ? "y" : "ies");
        if (finding->nans)
            bf_text_printf(&text, "%s%" PRIu64 " NaN%s", finding->infinities ? " and " : "",
                           finding->nans, finding->nans == 1 ? "" : "s");
        if (finding->block[0])
            bf_text_printf(&text, " (%s)", finding->block);
        if (i == 0)
            bf_text_printf(&text, "\n%s", remedy(kernel, finding));
        say(options, place.data ? place.data : "bfrun", "warning", text.data);
        bf_text_free(&place);
        bf_text_free(&text);
    }
    return (int)bfrt_finding_count(session);
}

/* ---- one run ---- */

static bool is_standard(const char *path) {
    return path && strcmp(path, "-") == 0;
}

/* `layers`: the session that compared, if one did. */
static void report(const struct bf_run_options *options, const struct bfrt_model *model,
                   const struct bfrt_session *session, const struct bfrt_session *layers) {
    struct bf_text text = {0};
    if (layers && options->stats != BF_STATS_JSON)
        bf_report_layers(&text, layers);
    if (options->stats == BF_STATS_TEXT)
        bf_report_text(&text, model, options->device, bfrt_stats(session));
    else if (options->stats == BF_STATS_JSON)
        bf_report_json(&text, model, options->device, session, layers);
    bool taken = is_standard(options->output) || is_standard(options->trace) ||
                 is_standard(options->trace_text) || is_standard(options->profile) ||
                 is_standard(options->report);
    bf_text_make_printable(&text);
    if (text.length)
        fputs(text.data, taken ? stderr : stdout);
    bf_text_free(&text);
}

static bool bind_inputs(const struct bf_run_options *options, const struct bfrt_model *model,
                        struct bfrt_session *session, struct bfrt_error *error) {
    if (options->random_inputs && !bf_bind_random(session, model, options->seed, error))
        return false;
    for (size_t i = 0; i < options->inputs.count; i++)
        if (!bfrt_bind_file(session, options->inputs.data[i], error))
            return false;
    return true;
}

static bool write_files(const struct bf_run_options *options, const struct bfrt_session *session,
                        const struct bfrt_session *layers, struct bfrt_error *error) {
    const char *const *folders = options->sources.data;
    return (!options->output || bfrt_write_file(session, options->output, error)) &&
           (!options->trace || bfrt_write_trace(session, options->trace, error)) &&
           (!options->profile ||
            bfrt_write_profile(session, layers, folders, options->profile, error)) &&
           (!options->report ||
            bfrt_write_report(session, layers, folders, options->report, error));
}

/* What has run: warns, writes, reports. */
static int conclude(const struct bf_run_options *options, const struct bfrt_model *model,
                    const struct bfrt_session *session, const struct bfrt_session *layers) {
    struct bfrt_error error = {0};
    int warnings = 0;
    if (!options->quiet || options->warnings_are_errors)
        warnings = warn_inputs(options, model, session) + warn_findings(options, model, session);
    if (warnings && options->warnings_are_errors)
        return fail(options, BFRT_ERROR_INPUT, "warnings are errors (-Werror)");
    if (!write_files(options, session, layers, &error))
        return fail(options, error.code, error.text);
    report(options, model, session, layers);
    return 0;
}

/* A second session, as comparing needs another device than a timeline does. */
static struct bfrt_session *compare_beside(const struct bf_run_options *options,
                                           const struct bfrt_model *model,
                                           struct bfrt_error *error) {
    struct bfrt_session *session = bfrt_session_create(model, "ref", NULL, error);
    if (session && bind_inputs(options, model, session, error) && bfrt_compare(session, error))
        return session;
    bfrt_session_free(session);
    return NULL;
}

/* After binding. */
static int run(const struct bf_run_options *options, const struct bfrt_model *model,
               struct bfrt_session *session, struct progress *progress) {
    struct bfrt_error error = {0};
    struct bfrt_session *beside = NULL;
    bool profiles = bf_run_options_profiles(options);
    struct bfrt_profile_options how = {options->trace_from, options->trace_to,
                                       options->trace != NULL};
    bool ran = !profiles || bfrt_session_profile(session, &how, &error);
    if (ran)
        ran = options->compare && !profiles ? bfrt_compare(session, &error)
                                            : bfrt_run(session, &error);
    clear_progress(progress);
    if (ran && options->compare && profiles)
        ran = (beside = compare_beside(options, model, &error)) != NULL;
    if (!ran)
        return fail(options, error.code, error.text);
    int status = conclude(options, model, session,
                          beside             ? beside
                          : options->compare ? session
                                             : NULL);
    bfrt_session_free(beside);
    return status;
}

/* The trace of a run that fails is kept: it ends where the failure is. */
static int open_and_run(const struct bf_run_options *options, const struct bfrt_model *model) {
    struct bfrt_error error = {0};
    struct progress progress = {.network = bfrt_info(model)->network};
    struct bfrt_options how = {
        .cycle_limit = options->cycle_limit, .exact = options->exact, .user = &progress};
    clock_gettime(CLOCK_MONOTONIC, &progress.start);
    if (isatty(STDERR_FILENO) && !options->quiet)
        how.progress = draw_progress;
    /* Inputs are tried before the trace file is made. */
    struct bfrt_session *session = bfrt_session_create(model, options->device, &how, &error);
    if (!session || !bind_inputs(options, model, session, &error)) {
        bfrt_session_free(session);
        return fail(options, error.code, error.text);
    }
    FILE *trace = NULL;
    if (options->trace_text) {
        trace = is_standard(options->trace_text) ? stdout : fopen(options->trace_text, "w");
        if (!trace) {
            struct bf_error reason = {0};
            bf_fail(&reason, BF_ERROR_INPUT, "cannot write '%s': %s", options->trace_text,
                    strerror(errno));
            bfrt_session_free(session);
            return fail(options, BFRT_ERROR_INPUT, reason.text);
        }
        bfrt_session_trace(session, trace);
    }
    int status = run(options, model, session, &progress);
    bfrt_session_free(session);
    if (trace && (trace == stdout ? fflush(trace) : fclose(trace)) != 0 && status == 0)
        status = fail(options, BFRT_ERROR_INPUT, "cannot write the trace");
    return status;
}

static int describe_or_check(const struct bf_run_options *options, const struct bfrt_model *model) {
    if (options->describe) {
        struct bf_text text = {0};
        bf_describe(&text, model);
        bf_text_make_printable(&text);
        fputs(text.data, stdout);
        bf_text_free(&text);
    }
    struct bfrt_error error = {0};
    if (options->check && !bfrt_check(model, &error))
        return fail(options, error.code, error.text);
    return 0;
}

static int load_and_run(const struct bf_run_options *options) {
    struct bfrt_error error = {0};
    if (options->from_profile)
        return bfrt_report_file(options->from_profile, options->report, &error)
                   ? 0
                   : fail(options, error.code, error.text);
    struct bfrt_model *model =
        bf_run_options_network(options)
            ? bfrt_load_network(options->model, options->network.data, &error)
            : bfrt_load(options->model, &error);
    if (!model)
        return fail(options, error.code, error.text);
    int status = options->describe || options->check ? describe_or_check(options, model)
                                                     : open_and_run(options, model);
    bfrt_model_free(model);
    return status;
}

int main(int argc, char **argv) {
    struct bf_run_options options;
    struct bf_error error = {0};
    int status = 0;
    if (!bf_run_options_parse(&options, argc, argv, &error))
        status = fail(&options, error.code, error.text);
    else if (options.help)
        bf_run_options_help(stdout);
    else if (options.version)
        printf("bfrun %s\n", bfrt_version());
    else
        status = load_and_run(&options);
    bf_run_options_free(&options);
    if (fflush(stdout) != 0 && status == 0)
        status = fail(&options, BFRT_ERROR_INPUT, "cannot write to standard output");
    return status;
}
