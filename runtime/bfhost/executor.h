/* executor.h - who runs the pieces of a network: handed to NAME_run_on of generated code. Generated
 * headers carry a copy of this text. */
#ifndef BF_EXECUTOR_H
#define BF_EXECUTOR_H

#include <stdint.h>

/* `run` calls task(argument, worker, index) once for each index below count, in any order, on up to
 * `threads` threads at once, the caller's among them, and returns when all are done. Calls that run
 * at one time have different workers, all below `threads`; `threads` stays the same during a run of
 * a network. A task neither fails nor blocks. */
struct bf_executor {
    void *self;
    unsigned threads;
    void (*run)(void *self, void (*task)(void *argument, unsigned worker, int64_t index),
                void *argument, int64_t count);
};

#endif
