/* A pool of threads that sleep until a call has work for them.
 *
 * Work is a queue of calls, each with `count` indices to give out; a call leaves the queue when all are given out. A
 * thread of the pool takes one index of the oldest call at a time. A caller takes indices of its own call, then waits
 * for those that threads of the pool have begun, and for nothing else.
 */
#define _GNU_SOURCE /* pthread_setname_np, sched_getcpu */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/cpus.h"
#include "runtime/internal.h"
#include "runtime/pool.h"

enum {
    ALIGNMENT = 64,
    MOST_THREADS = 1024,
    NAME_SIZE = 32, /* the kernel takes names of 15 characters: "mtlrt-1024" fits */
    /* Looks before sleeping, of some 25 ns. A caller whose last part is still at work elsewhere looks for about as long
     * as waking it would take, 50 us. A thread without work looks for 100 us, so that it is awake for calls that follow
     * each other: until the next one the caller has its last tile to finish, and on a virtual machine a CPU that fell
     * idle can take longer to come back than a call takes. */
    CALLER_SPINS = 2000,
    IDLE_SPINS = 4000,
};

typedef struct pool_call {
    struct pool_call *next;
    void (*task)(void *argument, size_t index);
    void *argument;
    size_t count, given; /* indices, and how many have been given out */
    atomic_size_t begun; /* parts that threads of the pool are at work on; changed under the lock */
    bool waiting;        /* the caller sleeps on `done` */
    pthread_cond_t done;
} pool_call;

typedef struct pool_thread {
    mtl_pool *pool;
    pthread_t id;
    char name[NAME_SIZE];
} pool_thread;

struct mtl_pool {
    mtl_allocator allocator;
    size_t bytes;   /* of this block */
    size_t threads; /* that work on a call, the caller included */
    pthread_mutex_t lock;
    pthread_cond_t work;      /* for idle threads */
    pool_call *first, **last; /* calls with indices left, oldest first */
    atomic_size_t queued;     /* how many; changed under the lock */
    atomic_int caller_cpu;    /* where the last caller was; -1: not known */
    size_t idle;              /* threads that sleep on `work` */
    bool stop;
    size_t started;
    pool_thread thread[];
};

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Gives out an index of a call that has one left. Under the lock. */
static size_t give(mtl_pool *pool, pool_call *call)
{
    size_t index = call->given++;
    if (call->given == call->count) { /* out of the queue */
        pool_call **at = &pool->first;
        while (*at != call) {
            at = &(*at)->next;
        }
        *at = call->next;
        atomic_fetch_sub(&pool->queued, 1);
        pool->last = call->next == NULL ? at : pool->last;
    }
    return index;
}

/* Without a system call where it matters, in the caller. */
static int current_cpu(void)
{
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

/* A thread that was woken on its caller's CPU would run when the caller is done, call after call: the kernel sees no
 * imbalance that lasts. It moves once, and may then be anywhere that it may be. */
static void step_aside(const mtl_pool *pool)
{
#if defined(__linux__)
    int cpu = current_cpu();
    cpu_set_t allowed, elsewhere;
    if (cpu < 0 || cpu >= CPU_SETSIZE || cpu != atomic_load(&pool->caller_cpu) ||
        sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) {
        return;
    }
    elsewhere = allowed;
    CPU_CLR(cpu, &elsewhere);
    if (sched_setaffinity(0, sizeof elsewhere, &elsewhere) == 0) {
        (void)sched_setaffinity(0, sizeof allowed, &allowed);
    }
#else
    (void)pool;
#endif
}

static void *serve(void *argument)
{
    pool_thread *self = argument;
    mtl_pool *pool = self->pool;
#if defined(__linux__)
    pthread_setname_np(pthread_self(), self->name);
#endif
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        if (pool->first == NULL && !pool->stop) {
            pthread_mutex_unlock(&pool->lock);
            for (int i = 0; i < IDLE_SPINS && atomic_load(&pool->queued) == 0; i++) {
                relax();
            }
            pthread_mutex_lock(&pool->lock);
        }
        while (pool->first == NULL && !pool->stop) {
            pool->idle++;
            pthread_cond_wait(&pool->work, &pool->lock);
            pool->idle--;
            pthread_mutex_unlock(&pool->lock);
            step_aside(pool);
            pthread_mutex_lock(&pool->lock);
        }
        if (pool->first == NULL) {
            break;
        }
        pool_call *call = pool->first;
        size_t index = give(pool, call);
        atomic_fetch_add(&call->begun, 1);
        pthread_mutex_unlock(&pool->lock);
        call->task(call->argument, index);
        pthread_mutex_lock(&pool->lock);
        if (atomic_fetch_sub(&call->begun, 1) == 1 && call->waiting) {
            pthread_cond_signal(&call->done);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Puts a call with indices left into the queue and wakes as many threads as it has use for. */
static void offer(mtl_pool *pool, pool_call *call)
{
    atomic_store(&pool->caller_cpu, current_cpu());
    pthread_mutex_lock(&pool->lock);
    *pool->last = call;
    pool->last = &call->next;
    atomic_fetch_add(&pool->queued, 1);
    size_t wake = call->count - call->given < pool->idle ? call->count - call->given : pool->idle;
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < wake; i++) { /* not under the lock, which they take first */
        pthread_cond_signal(&pool->work);
    }
}

void runtime_pool_parallel_for(void *context, size_t count, void (*task)(void *argument, size_t index), void *argument)
{
    mtl_pool *pool = context;
    if (count == 0) {
        return;
    }
    pool_call call = {.task = task, .argument = argument, .count = count, .given = 1};
    if (count == 1 || pool->started == 0 || pthread_cond_init(&call.done, NULL) != 0) {
        for (size_t i = 0; i < count; i++) {
            task(argument, i);
        }
        return;
    }
    offer(pool, &call);
    task(argument, 0);
    pthread_mutex_lock(&pool->lock);
    while (call.given < count) {
        size_t index = give(pool, &call);
        pthread_mutex_unlock(&pool->lock);
        task(argument, index);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < CALLER_SPINS && atomic_load(&call.begun) > 0; i++) {
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&call.begun) > 0) {
        call.waiting = true;
        pthread_cond_wait(&call.done, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_destroy(&call.done);
}

/* Options of an older or newer caller: what both know, zeros for the rest. */
static mtl_status read_options(const mtl_pool_options *given, base_diag *diag, mtl_pool_options *options)
{
    *options = (mtl_pool_options){.struct_size = sizeof *options};
    if (given != NULL) {
        if (given->struct_size < sizeof given->struct_size) {
            return base_fail(diag, MTL_INVALID_ARGUMENT, "mtl_pool_options.struct_size is %zu, expected %zu",
                             given->struct_size, sizeof *options);
        }
        memcpy(options, given, given->struct_size < sizeof *options ? given->struct_size : sizeof *options);
    }
    if (options->threads > MOST_THREADS) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "mtl_pool_options.threads is %zu, expected at most %d",
                         options->threads, MOST_THREADS);
    }
    if (options->threads == 0) {
        size_t cpus = base_cpus_available();
        options->threads = cpus < MOST_THREADS ? cpus : MOST_THREADS;
    }
    return MTL_OK;
}

/* The host's signal handlers never run on a thread of the pool: all are blocked there, which a thread has from the one
 * that starts it. */
static mtl_status start_threads(mtl_pool *pool, base_diag *diag)
{
    sigset_t all, before;
    int error = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->started + 1 < pool->threads && error == 0) {
        pool_thread *thread = &pool->thread[pool->started];
        thread->pool = pool;
        snprintf(thread->name, sizeof thread->name, "mtlrt-%zu", pool->started + 1);
        error = pthread_create(&thread->id, NULL, serve, thread);
        pool->started += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0 ? MTL_OK
                      : base_fail(diag, MTL_OUT_OF_MEMORY, "cannot start thread %zu of a pool of %zu: %s",
                                  pool->started + 1, pool->threads - 1, strerror(error));
}

static mtl_status pool_new(const mtl_pool_options *options, base_diag *diag, mtl_pool **result)
{
    mtl_allocator allocator;
    if (!runtime_allocator(options->allocator, NULL, &allocator)) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "an allocator needs both allocate and release");
    }
    size_t bytes = sizeof(mtl_pool) + (options->threads - 1) * sizeof(pool_thread);
    mtl_pool *pool = allocator.allocate(allocator.context, bytes, ALIGNMENT);
    BASE_TRY_MEMORY(pool, diag);
    *pool = (mtl_pool){.allocator = allocator, .bytes = bytes, .threads = options->threads};
    pool->last = &pool->first;
    atomic_init(&pool->caller_cpu, -1);
    if (pthread_mutex_init(&pool->lock, NULL) != 0) {
        allocator.release(allocator.context, pool, bytes);
        return base_fail_memory(diag);
    }
    if (pthread_cond_init(&pool->work, NULL) != 0) {
        pthread_mutex_destroy(&pool->lock);
        allocator.release(allocator.context, pool, bytes);
        return base_fail_memory(diag);
    }
    *result = pool;
    return MTL_OK;
}

mtl_status mtl_pool_create(const mtl_pool_options *given, mtl_pool **result, mtl_error *error)
{
    base_diag diag = {.error = error};
    if (result == NULL) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_pool_create: pool is NULL");
    }
    *result = NULL;
    mtl_pool_options options;
    mtl_pool *pool = NULL;
    BASE_TRY(read_options(given, &diag, &options));
    BASE_TRY(pool_new(&options, &diag, &pool));
    mtl_status status = start_threads(pool, &diag);
    if (status != MTL_OK) {
        mtl_pool_destroy(pool);
        return status;
    }
    *result = pool;
    return MTL_OK;
}

void mtl_pool_destroy(mtl_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_broadcast(&pool->work);
    for (size_t i = 0; i < pool->started; i++) {
        pthread_join(pool->thread[i].id, NULL);
    }
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    mtl_allocator allocator = pool->allocator;
    allocator.release(allocator.context, pool, pool->bytes);
}

size_t mtl_pool_threads(const mtl_pool *pool)
{
    return pool->threads;
}
