/* session_profile.c - profiling a session, and what can be written of it. See bfrt.h. */
#include <errno.h>
#include <stdlib.h>

#include "runtime/profile.h"

static bool ask(struct bfrt_session *session, const struct bfrt_profile_options *options,
                struct bf_error *error) {
    if (!session->device->records)
        return bf_fail(error, BF_ERROR_INPUT,
                       "device '%s' has no timeline; traces and profiles need the device 'sim'",
                       session->device->name);
    bf_recorder_free(session->recorder);
    session->recorder = bf_recorder_create(session->model->program, options->from, options->to,
                                           options->trace ? BF_TRACE_SLICES : BF_PROFILE_SLICES);
    return true;
}

bool bfrt_session_profile(struct bfrt_session *session, const struct bfrt_profile_options *options,
                          struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error))
        return bf_leave(&entry, false);
    return bf_leave(&entry, ask(session, options, &entry.error));
}

static bool recorded(const struct bfrt_session *session, struct bf_error *error) {
    return (session->recorder && session->recorder->groups) ||
           bf_fail(error, BF_ERROR_INPUT, "there is no timeline before a run with a profile");
}

/* ---- trace ---- */

static bool write_trace(const struct bfrt_session *session, const char *path,
                        struct bf_error *error) {
    if (!recorded(session, error))
        return false;
    bool standard = strcmp(path, "-") == 0;
    FILE *out = standard ? stdout : fopen(path, "w");
    bool ok = out && bf_trace_write(session->recorder, out);
    if (out && (standard ? fflush(out) : fclose(out)) != 0)
        ok = false;
    return ok || bf_fail(error, BF_ERROR_INPUT, "cannot write '%s': %s", path, strerror(errno));
}

bool bfrt_write_trace(const struct bfrt_session *session, const char *path,
                      struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error))
        return bf_leave(&entry, false);
    return bf_leave(&entry, write_trace(session, path, &entry.error));
}

/* ---- profile, report ---- */

static bool write_json(const char *path, json_t *profile, struct bf_error *error) {
    char *dump = json_dumps(profile, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!dump)
        bf_out_of_memory(0);
    bool ok = bf_write_file(path, dump, strlen(dump), error);
    free(dump);
    json_decref(profile);
    return ok;
}

bool bfrt_write_profile(const struct bfrt_session *session, const struct bfrt_session *layers,
                        const char *const *folders, const char *path, struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error))
        return bf_leave(&entry, false);
    bool ok = recorded(session, &entry.error) &&
              write_json(path, bf_profile_object(session, layers, folders), &entry.error);
    return bf_leave(&entry, ok);
}

bool bfrt_write_report(const struct bfrt_session *session, const struct bfrt_session *layers,
                       const char *const *folders, const char *path, struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error))
        return bf_leave(&entry, false);
    bool ok = recorded(session, &entry.error) &&
              bf_page_write(path, bf_profile_object(session, layers, folders), &entry.error);
    return bf_leave(&entry, ok);
}

static bool page_of_file(const char *from, const char *path, struct bf_error *error) {
    size_t size;
    char *text = bf_read_file(from, &size, error);
    if (!text)
        return false;
    json_error_t reason;
    json_t *profile = json_loadb(text, size, 0, &reason);
    free(text);
    if (json_integer_value(json_object_get(profile, "profile")) != BF_PROFILE_VERSION) {
        json_decref(profile);
        return bf_fail(error, BF_ERROR_INPUT, "'%s' is no profile of version %d: %s", from,
                       BF_PROFILE_VERSION, profile ? "bfrun -profile writes one" : reason.text);
    }
    return bf_page_write(path, profile, error);
}

bool bfrt_report_file(const char *profile, const char *path, struct bfrt_error *error) {
    struct bf_entry entry;
    if (BF_ENTER(entry, error))
        return bf_leave(&entry, false);
    return bf_leave(&entry, page_of_file(profile, path, &entry.error));
}
