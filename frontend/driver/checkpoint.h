/* checkpoint.h - weights as people have them: one safetensors file, several, or an index of shards;
 * and the names their tensors get.
 *
 *     model.safetensors.index.json        {"weight_map": {"a.weight": "model-1.safetensors", ...}}
 *     model-1.safetensors, ...            beside it
 *
 * The index format is that of Hugging Face's transformers library.
 */
#ifndef BF_DRIVER_CHECKPOINT_H
#define BF_DRIVER_CHECKPOINT_H

#include "frontend/driver/options.h"
#include "runtime/safetensors.h"

/* Everything that -weights options name. A zeroed struct is empty; all of it stays in memory until
 * it is freed (regular files are mapped, so that only what is used is read). */
struct bf_checkpoint {
    struct bf_strings paths; /* every file that was read, an index before its shards */
    struct {
        struct bf_checkpoint_tensor {
            const struct bf_tensor *tensor;
            const char *path; /* of its file */
            const char *name; /* after prefix and renames; at first the file's own */
            bool touched;     /* prefix or renames changed it */
        } *data;
        size_t count, capacity;
    } tensors;
    struct {
        struct bf_checkpoint_file {
            const char *path;
            struct bf_tensor_file *file;
            void *mapped; /* NULL: the file has its bytes itself */
            size_t size;
        } *data;
        size_t count, capacity;
    } files;
    struct bf_arena arena;
};

/* Adds the tensors of a safetensors file ("-": standard input) or, if the name ends in ".json", of
 * the shards of an index: each tensor must be in the shard that the index gives, a shard beside its
 * index and, unless `allow_unused`, every tensor of a shard in the index. */
bool bf_checkpoint_read(struct bf_checkpoint *checkpoint, const char *path, bool allow_unused,
                        struct bf_error *error);
void bf_checkpoint_free(struct bf_checkpoint *checkpoint);

/* Takes `prefix` (NULL: none; a path, with or without the dot behind it) from the names that begin
 * with it, then applies each rename "FROM=TO" to what the one before left. A prefix or rename that
 * changes no name is an error. */
bool bf_checkpoint_rename(struct bf_checkpoint *checkpoint, const char *prefix,
                          const struct bf_strings *renames, struct bf_error *error);

/* ---- one rename (rename.c) ---- */

enum { BF_RENAME_STARS = 4 };

/* FROM=TO: each '*' of FROM stands for one character or more, as few as possible from the left, and
 * the '*' of TO, as many, for what these stood for. False with a message if that is not its form.
 */
bool bf_rename_check(const char *rename, struct bf_error *error);
/* The new name, in memory of `arena`, or NULL if FROM is not the whole of `name`. */
const char *bf_rename_apply(const char *rename, const char *name, struct bf_arena *arena);

#endif
