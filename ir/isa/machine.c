/* machine.c - the numbers of a machine as a table, their limits, their hash. See machine.h. */
#include "ir/isa/machine.h"

#include <ctype.h>

enum kind { ANY, POW2 };

const struct bf_machine_number bf_machine_numbers[] = {
#define BF_NUMBER(group, field, key, value, low, high, kind, unit, what)                           \
    {#group, #key, unit, what, offsetof(struct bf_machine, field), value, low, high, kind},
#include "ir/isa/machine.def"
};
const size_t bf_machine_number_count = sizeof bf_machine_numbers / sizeof *bf_machine_numbers;

static uint32_t number(const struct bf_machine *machine, size_t i) {
    uint32_t value;
    memcpy(&value, (const char *)machine + bf_machine_numbers[i].offset, sizeof value);
    return value;
}

struct bf_machine bf_machine_default(void) {
    struct bf_machine machine = {.name = "default"};
    for (size_t i = 0; i < bf_machine_number_count; i++)
        memcpy((char *)&machine + bf_machine_numbers[i].offset, &bf_machine_numbers[i].value,
               sizeof(uint32_t));
    return machine;
}

static bool name_is_good(const char *name) {
    size_t length = 0;
    for (; length < BF_MACHINE_NAME && name[length]; length++)
        if (!isalnum((unsigned char)name[length]) && !strchr("-_.", name[length]))
            return false;
    return length > 0 && length < BF_MACHINE_NAME;
}

static bool numbers_fit_together(const struct bf_machine *machine, struct bf_error *error) {
    uint32_t lanes = machine->weight_half * machine->lanes;
    if (lanes > 2048)
        return bf_fail(error, BF_ERROR_INPUT,
                       "pe.weight_half x array.lanes = %u, but a lane address has 11 bits (2048)",
                       lanes);
    if (machine->spm_words % machine->lanes)
        return bf_fail(error, BF_ERROR_INPUT,
                       "scratchpad.words = %u is not a multiple of array.lanes = %u",
                       machine->spm_words, machine->lanes);
    return true;
}

bool bf_machine_check(const struct bf_machine *machine, struct bf_error *error) {
    if (!name_is_good(machine->name))
        return bf_fail(error, BF_ERROR_INPUT,
                       "the name of a machine is 1 to %d letters, digits, '-', '_' or '.'",
                       BF_MACHINE_NAME - 1);
    for (size_t i = 0; i < bf_machine_number_count; i++) {
        const struct bf_machine_number *n = &bf_machine_numbers[i];
        uint32_t value = number(machine, i);
        if (value < n->low || value > n->high)
            return bf_fail(error, BF_ERROR_INPUT, "%s.%s = %u is not in %u .. %u", n->group, n->key,
                           value, n->low, n->high);
        if (n->power_of_two && !bf_is_power_of_two(value))
            return bf_fail(error, BF_ERROR_INPUT, "%s.%s = %u is not a power of two", n->group,
                           n->key, value);
    }
    return numbers_fit_together(machine, error);
}

uint64_t bf_machine_hash(const struct bf_machine *machine) {
    uint64_t hash = BF_HASH_START;
    for (size_t i = 0; i < bf_machine_number_count; i++) {
        uint32_t value = number(machine, i);
        uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                            (uint8_t)(value >> 24)};
        hash = bf_hash(hash, bytes, sizeof bytes);
    }
    return hash;
}
