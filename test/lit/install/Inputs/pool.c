/* A pool of two threads, made and freed. */
#include <bfpool.h>

int main(void) {
    struct bf_pool *pool = bf_pool_create(2);
    int failed = !pool || !bf_pool_executor(pool);
    bf_pool_free(pool);
    return failed;
}
