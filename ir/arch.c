/* arch.c - reads and prints machine descriptions. libcyaml checks the YAML against a schema that is
 * made of machine.def; what it logs is turned into one message with file, line and key. */
#include "ir/arch.h"

#include <cyaml/cyaml.h>
#include <ctype.h>
#include <stdlib.h>

/* ---- the schema: a mapping a group, an unsigned number a key, all optional ---- */

/* The fields of all groups follow each other in one table; each group's run ends in a field end. */
enum { MAX_FIELDS = 96, MAX_GROUPS = 16 };

struct schema {
    cyaml_schema_field_t fields[MAX_FIELDS], groups[MAX_GROUPS];
    cyaml_schema_value_t top;
};

static cyaml_schema_field_t number_field(const struct bf_machine_number *number) {
    cyaml_schema_field_t field = {
        .key = number->key,
        .value = {.type = CYAML_UINT, .flags = CYAML_FLAG_OPTIONAL, .data_size = sizeof(uint32_t)},
        .data_offset = (uint32_t)number->offset,
    };
    return field;
}

static void make_schema(struct schema *schema) {
    memset(schema, 0, sizeof *schema); /* zero fields are field ends */
    static const cyaml_schema_field_t name =
        CYAML_FIELD_STRING("name", CYAML_FLAG_DEFAULT, struct bf_machine, name, 1);
    size_t field = 0, group = 0;
    schema->groups[group++] = name;
    for (size_t i = 0; i < bf_machine_number_count; i++) {
        const struct bf_machine_number *number = &bf_machine_numbers[i];
        if (i == 0 || strcmp(number->group, bf_machine_numbers[i - 1].group)) {
            field += i > 0; /* the end of the group before */
            cyaml_schema_field_t *entry = &schema->groups[group++];
            entry->key = number->group;
            entry->value.type = CYAML_MAPPING;
            entry->value.flags = CYAML_FLAG_OPTIONAL;
            entry->value.data_size = sizeof(struct bf_machine);
            entry->value.mapping.fields = &schema->fields[field];
        }
        schema->fields[field++] = number_field(number);
    }
    schema->top.type = CYAML_MAPPING;
    schema->top.flags = CYAML_FLAG_POINTER;
    schema->top.data_size = sizeof(struct bf_machine);
    schema->top.mapping.fields = schema->groups;
}

/* ---- messages ---- */

/* What libcyaml logged: its first line says what is wrong, the innermost place where. */
struct complaint {
    char what[512], key[64];
    unsigned line, column;
};

static void note_complaint(cyaml_log_t level, void *context, const char *format, va_list args) {
    struct complaint *complaint = context;
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    (void)level;
    const char *place = strstr(text, "(line: ");
    if (!place && !complaint->what[0] && !strstr(text, "Backtrace")) {
        const char *start = strncmp(text, "Load: ", 6) ? text : text + 6;
        snprintf(complaint->what, sizeof complaint->what, "%s", start);
        complaint->what[strcspn(complaint->what, "\n")] = '\0';
    }
    if (place && !complaint->line) {
        const char *quote = strchr(text, '\'');
        if (quote)
            sscanf(quote + 1, "%63[^']", complaint->key);
        sscanf(place, "(line: %u, column: %u)", &complaint->line, &complaint->column);
    }
}

/* Line of a key inside its group, for what the schema can't say; 0 if it is not there. */
static unsigned line_of(const char *text, const char *group, const char *key) {
    unsigned line = 1;
    bool inside = group == NULL;
    size_t key_length = strlen(key), group_length = group ? strlen(group) : 0;
    for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL, line++) {
        const char *word = at + strspn(at, " ");
        if (group && word == at && isalpha((unsigned char)*word))
            inside = !strncmp(word, group, group_length) && word[group_length] == ':';
        else if (inside && !strncmp(word, key, key_length) && word[key_length] == ':')
            return line;
    }
    return 0;
}

static bool out_of_range(const char *file, const char *text, const struct bf_machine_number *number,
                         uint32_t value, struct bf_error *error) {
    unsigned line = line_of(text, number->group, number->key);
    return bf_fail(error, BF_ERROR_INPUT,
                   "%s:%u: error: %s.%s: %u is not allowed; %s from %u to %u%s%s", file, line,
                   number->group, number->key, value,
                   number->power_of_two ? "it must be a power of two" : "it must be a number",
                   number->low, number->high, *number->unit ? " " : "", number->unit);
}

static bool check_ranges(const char *file, const char *text, const struct bf_machine *machine,
                         struct bf_error *error) {
    for (size_t i = 0; i < bf_machine_number_count; i++) {
        const struct bf_machine_number *number = &bf_machine_numbers[i];
        uint32_t value;
        memcpy(&value, (const char *)machine + number->offset, sizeof value);
        if (value < number->low || value > number->high ||
            (number->power_of_two && !bf_is_power_of_two(value)))
            return out_of_range(file, text, number, value, error);
    }
    struct bf_error whole = {0};
    if (!bf_machine_check(machine, &whole))
        return bf_fail(error, BF_ERROR_INPUT, "%s: error: %s", file, whole.text);
    return true;
}

/* ---- reading ---- */

/* Keys that are missing keep their default: cyaml reads into zeros, so what the text does not name
 * is filled in afterwards. */
static void fill_defaults(const char *text, struct bf_machine *machine) {
    struct bf_machine standard = bf_machine_default();
    for (size_t i = 0; i < bf_machine_number_count; i++) {
        const struct bf_machine_number *number = &bf_machine_numbers[i];
        if (!line_of(text, number->group, number->key))
            memcpy((char *)machine + number->offset, (const char *)&standard + number->offset,
                   sizeof(uint32_t));
    }
}

bool bf_arch_parse(const char *file, const char *text, size_t size, struct bf_machine *machine,
                   struct bf_error *error) {
    struct schema schema;
    struct complaint complaint = {0};
    make_schema(&schema);
    cyaml_config_t config = {.log_fn = note_complaint,
                             .log_ctx = &complaint,
                             .mem_fn = cyaml_mem,
                             .log_level = CYAML_LOG_WARNING};
    struct bf_machine *loaded = NULL;
    cyaml_err_t result = cyaml_load_data((const uint8_t *)text, size, &config, &schema.top,
                                         (cyaml_data_t **)&loaded, NULL);
    if (result != CYAML_OK || !loaded) {
        const char *what = complaint.what[0] ? complaint.what : cyaml_strerror(result);
        return bf_fail(error, BF_ERROR_INPUT, "%s:%u:%u: error: %s%s%s", file, complaint.line,
                       complaint.column, complaint.key, complaint.key[0] ? ": " : "", what);
    }
    *machine = *loaded;
    cyaml_free(&config, &schema.top, loaded, 0);
    fill_defaults(text, machine);
    return check_ranges(file, text, machine, error);
}

static const char *suggest(const char *name) {
    const char *best = NULL;
    size_t least = 4;
    for (size_t i = 0; i < bf_arch_file_count; i++) {
        size_t distance = bf_edit_distance(name, bf_arch_files[i].name, least);
        if (distance < least) {
            least = distance;
            best = bf_arch_files[i].name;
        }
    }
    return best;
}

static bool load_file(const char *path, struct bf_machine *machine, struct bf_text *found,
                      struct bf_error *error) {
    size_t size;
    char *text = bf_read_file(path, &size, error);
    if (!text)
        return false;
    if (found)
        bf_text_add(found, path);
    bool ok = bf_arch_parse(path, text, size, machine, error);
    free(text);
    return ok;
}

bool bf_arch_load(const char *arch, struct bf_machine *machine, struct bf_text *path,
                  struct bf_error *error) {
    if (strpbrk(arch, "/."))
        return load_file(arch, machine, path, error);
    struct bf_text name = {0}, file = {0};
    bf_text_printf(&name, "%s.arch", arch);
    bool ok, found = bf_search_path(name.data, &file);
    if (found)
        ok = load_file(file.data, machine, path, error);
    bf_text_free(&name);
    bf_text_free(&file);
    if (found)
        return ok;
    for (size_t i = 0; i < bf_arch_file_count; i++)
        if (!strcmp(arch, bf_arch_files[i].name))
            return bf_arch_parse(arch, bf_arch_files[i].text, strlen(bf_arch_files[i].text),
                                 machine, error);
    const char *near = suggest(arch);
    return bf_fail(error, BF_ERROR_INPUT, "unknown machine '%s'%s%s%s", arch,
                   near ? "; did you mean '" : "; bfcc -list-arch lists them", near ? near : "",
                   near ? "'?" : "");
}

/* ---- printing ---- */

void bf_arch_print(const struct bf_machine *machine, struct bf_text *text) {
    bf_text_printf(text, "name: %s\n", machine->name);
    for (size_t i = 0; i < bf_machine_number_count; i++) {
        const struct bf_machine_number *number = &bf_machine_numbers[i];
        uint32_t value;
        memcpy(&value, (const char *)machine + number->offset, sizeof value);
        if (i == 0 || strcmp(number->group, bf_machine_numbers[i - 1].group))
            bf_text_printf(text, "%s:\n", number->group);
        struct bf_text pair = {0};
        bf_text_printf(&pair, "  %s: %u", number->key, value);
        bf_text_printf(text, "%-32s # %s%s%s\n", pair.data, number->unit, *number->unit ? ": " : "",
                       number->what);
        bf_text_free(&pair);
    }
}
