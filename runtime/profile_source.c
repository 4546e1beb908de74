/* profile_source.c - the sources that a program's places name: files in the folders that are
 * searched, and those that the compiler carries inside, which libbfhost.so knows. */
#include "runtime/host.h"
#include "runtime/profile.h"

#include <stdlib.h>

/* A name comes from a .bfx that anybody may have written: only sources of networks are read. */
static bool is_source(const char *name) {
    size_t length = strlen(name);
    return length > 5 && strcmp(name + length - 5, ".bfly") == 0;
}

static json_t *read_source(const char *folder, const char *name) {
    struct bf_text path = {0};
    if (*folder && name[0] != '/')
        bf_text_printf(&path, "%s/", folder);
    bf_text_add(&path, name);
    char *text = bf_read_file(path.data, NULL, NULL);
    json_t *string = text ? json_string(text) : NULL; /* NULL: not UTF-8 */
    free(text);
    bf_text_free(&path);
    return string;
}

/* "<transformer.bfly>" */
static json_t *library_source(const char *name) {
    struct bf_error ignored = {0};
    const struct bf_host_plugin *plugin = bf_host_load(&ignored);
    char bare[128];
    if (!plugin || !plugin->library || strlen(name) >= sizeof bare)
        return NULL;
    snprintf(bare, sizeof bare, "%.*s", (int)strlen(name) - 2, name + 1);
    const char *text = plugin->library(bare);
    return text ? json_string(text) : NULL;
}

json_t *bf_profile_files(const struct bf_program *program, const char *const *folders) {
    json_t *files = json_array();
    for (size_t i = 0; i < program->file_count; i++) {
        const char *name = program->files[i];
        json_t *text = *name == '<' ? library_source(name) : NULL;
        for (size_t f = 0; !text && is_source(name) && folders && folders[f]; f++)
            text = read_source(folders[f], name);
        json_t *file = json_object();
        json_t *shown = json_string(name); /* NULL: not UTF-8 */
        json_object_set_new(file, "name", shown ? shown : json_string("?"));
        json_object_set_new(file, "text", text ? text : json_null());
        json_array_append_new(files, file);
    }
    return files;
}
