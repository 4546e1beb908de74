/* crash.h - what bfcc leaves behind when it is bfcc that is wrong: a folder bfcc-crash-NNNNNN with
 * a copy of every input, below `files` in folders like those they came from, and `run.sh`, which
 * runs the same command on them, so that somebody else can see the same thing.
 */
#ifndef BF_DRIVER_CRASH_H
#define BF_DRIVER_CRASH_H

#include "frontend/driver/compile.h"

enum { BF_EXIT_INTERNAL = 70 };

/* From here on SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT leave a reproducer and exit 70. The
 * arguments must live as long as the program. */
void bf_crash_install(int argc, char **argv);
/* Whose inputs are copied; what standard input held, where it was the input. NULL: nothing. */
void bf_crash_watch(const struct bf_compilation *compilation);
void bf_crash_keep_input(const char *text, size_t size);
/* Writes the reproducer and says on stderr where it is. Safe in a signal handler. */
void bf_crash_report(void);

#endif
