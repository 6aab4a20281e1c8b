/* Running the parts of one call side by side: on the threads of a pool or by the host's executor. */
#ifndef RUNTIME_POOL_H
#define RUNTIME_POOL_H

#include "mtlc/runtime.h"

/* As mtl_executor.parallel_for, with an mtl_pool as its context. The caller takes indices like the pool's threads do,
 * 0 always, so that the call ends whatever they are busy with. Any number of threads may call it at once. */
void runtime_pool_parallel_for(void *pool, size_t count, void (*task)(void *argument, size_t index), void *argument);

#endif
