/* profile.h - where the cycles went: what bfrun's -trace, -profile and -report write. The profile
 * is one JSON object; docs/profile.md has its keys. Internal to runtime/. */
#ifndef BF_RUNTIME_PROFILE_H
#define BF_RUNTIME_PROFILE_H

#include <jansson.h>

#include "runtime/session.h"

enum {
    BF_PROFILE_VERSION = 1,
    BF_PROFILE_SLICES = 24000, /* what a page holds */
    BF_TRACE_SLICES = 120000,  /* and twice as many waits: under 50 MB of trace */
};

/* Chrome trace event format. False if the stream has an error. */
bool bf_trace_write(const struct bf_recorder *recorder, FILE *out);

/* What `bfrun -stats json` prints (report.c). `layers` is the session that compared, or NULL. */
json_t *bf_stats_object(const struct bfrt_model *model, const char *device,
                        const struct bfrt_session *session, const struct bfrt_session *layers);

/* The same and where the cycles went. `folders` (NULL-terminated) are searched for sources. */
json_t *bf_profile_object(const struct bfrt_session *session, const struct bfrt_session *layers,
                          const char *const *folders);
/* Who held which words of the scratchpad when (profile_spm.c). */
json_t *bf_profile_buffers(const struct bf_recorder *recorder);
/* Text of the files of the file table, or null (profile_source.c). */
json_t *bf_profile_files(const struct bf_program *program, const char *const *folders);

/* A self-contained page that shows a profile. Takes the object. */
bool bf_page_write(const char *path, json_t *profile, struct bf_error *error);

#endif
