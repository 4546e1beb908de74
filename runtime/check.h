/* check.h - proof that what a program computes cannot depend on timing.
 *
 * Two checks, on any program, wherever it comes from; they look at decoded words only:
 *
 *   order     producers come before consumers in a happens-before relation made only of what the
 *             machine promises: order inside a block, token counters, order of a block's
 * iterations, strict and chained order, retirement of iteration i - W before i, weight sets, waits
 *             of the sequencer.
 *   storage   no word of data RAM, weight RAM or scratchpad, and no accumulator, is overwritten
 *             while an instance that is not ordered against the write may still read or write it.
 *
 * Two more findings have names of their own: `deadlock`, blocks that wait for each other, and
 * `uninitialised`, a read that nothing writes before it.
 */
#ifndef BF_RUNTIME_CHECK_H
#define BF_RUNTIME_CHECK_H

#include "ir/isa/program.h"

/* `program` must have passed bf_program_check. False with the first finding, for example
 *   k3: storage: RAM word 37 of PE (1,2) is written by block 4 "stages 5-8" in iteration 6 while
 *   block 2 "stages 0-4" in iteration 4 may still read it: no token, chain or retirement orders
 * them A program too large to be walked through (some 10^9 accesses) is refused too. */
bool bf_check_program(const struct bf_program *program, struct bf_error *error);

#endif
