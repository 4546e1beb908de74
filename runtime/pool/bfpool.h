/* bfpool.h - threads for the code that bfcc makes: one pool for all networks of a program.
 *
 *     struct bf_pool *pool = bf_pool_create(0);
 *     mixer_run_on(&in, &out, workspace, bf_pool_executor(pool));
 *
 * Any number of threads may run networks on the pool at once; each works on its own network and is
 * helped by what threads of the pool are free. Without work those sleep. A program that has
 * threads of its own fills in a struct bf_executor instead and needs none of this.
 */
#ifndef BF_POOL_H
#define BF_POOL_H

#ifdef __cplusplus
extern "C" {
#endif

struct bf_pool;
struct bf_executor; /* defined in the generated header */

/* `threads` counts the one that runs the network: 1 makes none; 0: as many as there are processors
 * for this process. A pool of fewer threads if the system grants no more; NULL: no memory. */
struct bf_pool *bf_pool_create(unsigned threads);
/* Nothing may be running on it. NULL is fine. */
void bf_pool_free(struct bf_pool *pool);
/* Valid until bf_pool_free. */
const struct bf_executor *bf_pool_executor(const struct bf_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
