/* machine.h - the numbers of one array: what an .arch file describes, .bf.arch stores and every
 * device obeys. The list is ir/isa/machine.def. */
#ifndef BF_ISA_MACHINE_H
#define BF_ISA_MACHINE_H

#include "ir/isa/base.h"

enum { BF_MACHINE_NAME = 32, BF_MAX_PES = 64, BF_MAX_LANES = 32 };

struct bf_machine {
    char name[BF_MACHINE_NAME]; /* letters, digits, '-', '_', '.' */
#define BF_NUMBER(group, field, key, value, low, high, kind, unit, what) uint32_t field;
#include "ir/isa/machine.def"
};

struct bf_machine_number {
    const char *group, *key, *unit, *what;
    size_t offset; /* of the uint32_t in struct bf_machine */
    uint32_t value, low, high;
    bool power_of_two;
};
extern const struct bf_machine_number bf_machine_numbers[];
extern const size_t bf_machine_number_count;

struct bf_machine bf_machine_default(void); /* named "default" */

/* Every number inside its limits, powers of two where required, and the numbers fit together
 * (weight_half x 2 x lanes lane addresses in 11 bits, rows x cols <= 64, ...). */
bool bf_machine_check(const struct bf_machine *machine, struct bf_error *error);

/* Over all numbers, not the name: what `arch=NAME:HASH` shows and a loader compares. */
uint64_t bf_machine_hash(const struct bf_machine *machine);

static inline unsigned bf_machine_pes(const struct bf_machine *machine) {
    return machine->rows * machine->cols;
}

#endif
