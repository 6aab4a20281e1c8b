/* Several threads on one call: pools, executors, equal bits, errors, and what a pool leaves alone. */
#define _GNU_SOURCE /* RTLD_NEXT, sched_getaffinity */
#include "tests/unit/runtime_ranker.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "runtime/wanted.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define INTERPOSE 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INTERPOSE 0
#endif
#endif
#ifndef INTERPOSE
#define INTERPOSE 1
#endif

static atomic_long malloc_calls;

#if INTERPOSE
static atomic_int failing_start; /* the start of a thread that fails: 1 is the next; 0: none */

/* Ours come before libc's for the whole process; glibc keeps its own under this name. */
void *__libc_malloc(size_t size);

void *malloc(size_t size)
{
    malloc_calls++;
    return __libc_malloc(size);
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*start)(void *),
                   void *restrict argument)
{
    typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    create *next;
    memcpy(&next, &symbol, sizeof next);
    if (failing_start > 0 && --failing_start == 0) {
        return EAGAIN;
    }
    return next(thread, attributes, start, argument);
}
#endif

enum { MOST_ROWS = 2000, THREADS = 4 };

/* Outputs of one call. */
typedef struct scores {
    float y[MOST_ROWS * HIDDEN], z[2 * MOST_ROWS];
    int64_t n;
} scores;

typedef struct fixture {
    maker m;
    const void *data;
    size_t size;
    float x[MOST_ROWS * FEATURES], user[USER];
    int32_t id[MOST_ROWS];
    scores want, got;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    uint64_t seed = 7;
    build_ranker(&f->m);
    maker_finish(&f->m, &f->data, &f->size);
    fill_random(&seed, MTL_F32, f->x, MOST_ROWS * FEATURES);
    fill_random(&seed, MTL_F32, f->user, USER);
    for (int i = 0; i < MOST_ROWS; i++) {
        f->id[i] = (int32_t)random_below(&seed, 2 * TABLE) - TABLE;
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    base_arena_free(&f->m.arena);
    free(f);
    return 0;
}

static mtl_status run(mtl_session *session, int64_t rows, const fixture *f, scores *out, mtl_error *error)
{
    const void *inputs[] = {f->x, f->id, f->user};
    void *outputs[] = {out->y, out->z, &out->n};
    memset(out, 0xee, sizeof *out);
    return mtl_session_run(session, rows, inputs, outputs, error);
}

static mtl_session *session_with(mtl_plan *plan, mtl_session_options options)
{
    mtl_error error;
    mtl_session *session;
    options.struct_size = sizeof options;
    options.rows_per_thread = options.rows_per_thread > 0 ? options.rows_per_thread : 1;
    require(mtl_session_create(plan, &options, &session, &error), &error);
    return session;
}

static mtl_pool *pool_of(size_t threads)
{
    mtl_pool_options options = {.struct_size = sizeof options, .threads = threads};
    mtl_error error;
    mtl_pool *pool;
    require(mtl_pool_create(&options, &pool, &error), &error);
    assert_int_equal(mtl_pool_threads(pool), threads);
    return pool;
}

/* --- executors --- */

typedef struct host {
    void (*task)(void *argument, size_t index);
    void *argument;
    size_t count, ran;
} host;

static void in_order(void *context, size_t count, void (*task)(void *, size_t), void *argument)
{
    host *h = context;
    for (h->ran = 0; h->ran < count; h->ran++) {
        task(argument, h->ran);
    }
}

static void in_reverse(void *context, size_t count, void (*task)(void *, size_t), void *argument)
{
    ((host *)context)->ran = count;
    while (count > 0) {
        task(argument, --count);
    }
}

typedef struct other_thread {
    const host *of;
    size_t index;
    pthread_t id;
} other_thread;

static void *run_task(void *argument)
{
    other_thread *t = argument;
    t->of->task(t->of->argument, t->index);
    return NULL;
}

static void elsewhere(void *context, size_t count, void (*task)(void *, size_t), void *argument)
{
    host *h = context;
    other_thread threads[THREADS];
    pthread_attr_t attributes;
    assert_int_equal(pthread_attr_init(&attributes), 0);
#if INTERPOSE /* no more than a task may ask for; sanitizers want more */
    assert_int_equal(pthread_attr_setstacksize(&attributes, 64 << 10), 0);
#endif
    *h = (host){.task = task, .argument = argument, .count = count, .ran = count};
    for (size_t i = 0; i < count; i++) {
        threads[i] = (other_thread){.of = h, .index = i};
        assert_int_equal(pthread_create(&threads[i].id, &attributes, run_task, &threads[i]), 0);
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pthread_join(threads[i].id, NULL), 0);
    }
    pthread_attr_destroy(&attributes);
}

static void all_but_one(void *context, size_t count, void (*task)(void *, size_t), void *argument)
{
    in_order(context, count - 1, task, argument);
}

/* --- tests --- */

static void test_cut(void **state)
{
    (void)state;
    for (int64_t rows = 1; rows < 700; rows++) {
        for (int64_t height = 16; height <= 256; height *= 2) {
            for (int64_t threads = 1; threads <= 5; threads++) {
                for (int onednn = 0; onednn < 2; onednn++) {
                    runtime_tiling t = runtime_cut(rows, height, threads, onednn != 0);
                    int64_t least = rows, most = 0;
                    assert_int_equal(runtime_tile_begin(&t, 0), 0);
                    assert_int_equal(runtime_tile_begin(&t, t.tiles), rows);
                    for (int64_t tile = 0; tile < t.tiles; tile++) {
                        int64_t here = runtime_tile_begin(&t, tile + 1) - runtime_tile_begin(&t, tile);
                        assert_in_range(here, 1, height);
                        least = here < least && tile + 1 < t.tiles ? here : least; /* the last may lack rows */
                        most = here > most ? here : most;
                    }
                    assert_true(t.tiles == 1 || most - least <= t.block);
                    assert_true(t.tiles % threads == 0 || t.tiles == (rows + t.block - 1) / t.block);
                }
            }
        }
    }
    runtime_tiling even = runtime_cut(256, 256, 2, false);
    assert_int_equal(even.tiles, 4);
    assert_int_equal(runtime_tile_begin(&even, 2), 128);
    runtime_tiling many = runtime_cut((int64_t)1 << 40, 16, 1024, true); /* the most that a call may have */
    assert_int_equal(runtime_tile_begin(&many, many.tiles), (int64_t)1 << 40);
}

static const int64_t row_counts[] = {1, 2, 3, 7, 16, 17, 63, 64, 65, 255, 256, 1000};
enum { ROW_COUNTS = sizeof row_counts / sizeof row_counts[0] };

/* Against one thread, bit for bit, y and both lines of z. */
static void compare(mtl_session *session, mtl_session *alone, fixture *f)
{
    mtl_error error;
    for (size_t i = 0; i < ROW_COUNTS; i++) {
        require(run(alone, row_counts[i], f, &f->want, &error), &error);
        require(run(session, row_counts[i], f, &f->got, &error), &error);
        assert_int_equal(f->got.n, row_counts[i]);
        assert_memory_equal(&f->got, &f->want, sizeof f->got); /* beyond the rows too: nothing is written there */
    }
}

static void test_equal_bits(void **state)
{
    fixture *f = *state;
    static const struct {
        void (*run)(void *, size_t, void (*)(void *, size_t), void *);
    } executors[] = {{in_order}, {in_reverse}, {elsewhere}};
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_session *alone = open_session(plan, 0, 0);
    for (size_t threads = 1; threads <= THREADS; threads++) {
        mtl_pool *pool = pool_of(threads);
        for (size_t height = 16; height <= 64; height += 48) {
            mtl_session *session = session_with(plan, (mtl_session_options){.pool = pool, .tile_rows = height});
            assert_int_equal(mtl_session_threads(session), threads);
            compare(session, alone, f);
            mtl_session_destroy(session);
        }
        mtl_pool_destroy(pool);
        for (size_t i = 0; i < sizeof executors / sizeof executors[0]; i++) {
            host h = {0};
            mtl_executor executor = {&h, executors[i].run};
            mtl_session *session =
                session_with(plan, (mtl_session_options){.executor = &executor, .threads = threads, .tile_rows = 16});
            compare(session, alone, f);
            assert_int_equal(h.ran, threads > 1 ? threads : 0); /* of the last call; one thread needs no executor */
            mtl_session_destroy(session);
        }
    }
    mtl_session_destroy(alone);
    mtl_plan_close(plan);
}

/* More threads than rows; and calls that are not worth a second thread. */
static void test_small_calls(void **state)
{
    fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_session *alone = open_session(plan, 0, 0);
    mtl_pool *pool = pool_of(16);
    mtl_session *session = session_with(plan, (mtl_session_options){.pool = pool});
    compare(session, alone, f);
    mtl_session_destroy(session);
    mtl_pool_destroy(pool);

    host h = {0};
    mtl_error error;
    mtl_executor executor = {&h, in_order};
    mtl_session_options options = {.executor = &executor, .threads = 3, .rows_per_thread = 100};
    session = session_with(plan, options);
    static const size_t expected[][2] = {{199, 0}, {200, 2}, {299, 2}, {300, 3}, {1000, 3}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        h.ran = 0;
        require(run(session, (int64_t)expected[i][0], f, &f->got, &error), &error);
        assert_int_equal(h.ran, expected[i][1]);
    }
    mtl_session_destroy(session);
    options.struct_size = sizeof options;
    options.rows_per_thread = 0; /* by FLOPs: some 2,000 a row are not worth it */
    require(mtl_session_create(plan, &options, &session, &error), &error);
    h.ran = 0;
    require(run(session, 1000, f, &f->got, &error), &error);
    assert_int_equal(h.ran, 0);
    assert_in_range(session->rows_per_thread, 1000, 10000);
    mtl_session_destroy(session);
    mtl_session_destroy(alone);
    mtl_plan_close(plan);
}

static void test_workspace(void **state)
{
    fixture *f = *state;
    counter count = {.fail_at = -1};
    mtl_allocator allocator = {&count, counted_allocate, counted_release};
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_pool *pool = pool_of(THREADS);
    mtl_error error;
    for (size_t threads = 0; threads <= THREADS + 1; threads++) {
        mtl_session *session =
            session_with(plan, (mtl_session_options){.pool = pool, .threads = threads, .allocator = &allocator});
        size_t used = threads == 0 || threads > THREADS ? THREADS : threads; /* no more than the pool's */
        size_t tile = mtl_session_tile_rows(session) * (size_t)f->m.meta.row_bytes;
        size_t expected = (size_t)f->m.meta.request_bytes + used * tile;
        assert_int_equal(mtl_session_threads(session), used);
        assert_int_equal(mtl_session_workspace_size(session), expected);
        size_t choice;
        assert_true(runtime_wanted_bytes(plan, mtl_session_tile_rows(session), used, &choice));
        assert_int_equal(count.last_bytes, expected + RUNTIME_SESSION_HEADER + choice);
        require(run(session, MOST_ROWS, f, &f->want, &error), &error);
        long mallocs = malloc_calls, calls = count.calls;
        for (int i = 0; i < 100; i++) {
            require(run(session, MOST_ROWS, f, &f->got, &error), &error);
        }
        assert_int_equal(malloc_calls, mallocs);
        assert_int_equal(count.calls, calls);
        mtl_session_destroy(session);
    }
    mtl_pool_destroy(pool);
    mtl_plan_close(plan);
    assert_int_equal(count.live, 0);
}

/* --- several callers on one pool --- */

typedef struct caller {
    mtl_plan *plan;
    mtl_pool *pool;
    const fixture *f;
    scores got;
    int different;
    pthread_t id;
} caller;

static void *call_often(void *argument)
{
    caller *c = argument;
    mtl_session_options options = {
        .struct_size = sizeof options, .pool = c->pool, .tile_rows = 16, .rows_per_thread = 1};
    mtl_session *session = NULL;
    c->different = mtl_session_create(c->plan, &options, &session, NULL) != MTL_OK;
    for (int i = 0; i < 100 && c->different == 0; i++) {
        int64_t rows = 1 + (i * 37) % 997;
        c->different = run(session, rows, c->f, &c->got, NULL) != MTL_OK;
        c->different += memcmp(c->got.y, c->f->want.y, (size_t)rows * HIDDEN * sizeof(float)) != 0;
        c->different += c->got.n != rows;
    }
    mtl_session_destroy(session);
    return NULL;
}

static void test_shared_pool(void **state)
{
    fixture *f = *state;
    mtl_error error;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_session *alone = open_session(plan, 0, 0);
    require(run(alone, 1000, f, &f->want, &error), &error);
    mtl_pool *pool = pool_of(3);
    caller *callers = calloc(THREADS, sizeof *callers);
    for (int i = 0; i < THREADS; i++) {
        callers[i].plan = plan;
        callers[i].pool = pool;
        callers[i].f = f;
        assert_int_equal(pthread_create(&callers[i].id, NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(callers[i].id, NULL), 0);
        assert_int_equal(callers[i].different, 0);
    }
    free(callers);
    mtl_pool_destroy(pool);
    mtl_session_destroy(alone);
    mtl_plan_close(plan);
}

/* All threads of the pool are in tasks that end only after another call has ended: that one goes on alone. */
typedef struct blocked {
    atomic_int inside, release;
} blocked;

static void wait_for_release(void *argument, size_t index)
{
    (void)index;
    blocked *b = argument;
    atomic_fetch_add(&b->inside, 1);
    while (!atomic_load(&b->release)) {
        sched_yield();
    }
}

typedef struct blocking_caller {
    mtl_session *session;
    blocked *blocked;
} blocking_caller;

static void *block_pool(void *argument)
{
    blocking_caller *c = argument;
    c->session->executor.parallel_for(c->session->executor.context, 3, wait_for_release, c->blocked);
    return NULL;
}

static void test_busy_pool(void **state)
{
    fixture *f = *state;
    mtl_error error;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_pool *pool = pool_of(3);
    mtl_session *session = session_with(plan, (mtl_session_options){.pool = pool, .tile_rows = 16});
    blocked b = {0};
    blocking_caller other = {session, &b};
    pthread_t id;
    assert_int_equal(pthread_create(&id, NULL, block_pool, &other), 0);
    while (atomic_load(&b.inside) < 3) {
        sched_yield();
    }
    require(run(session, 1000, f, &f->got, &error), &error); /* hangs if it waits for the pool */
    atomic_store(&b.release, 1);
    assert_int_equal(pthread_join(id, NULL), 0);
    mtl_session_destroy(session);
    mtl_pool_destroy(pool);
    mtl_plan_close(plan);
}

/* --- errors --- */

static void test_first_error(void **state)
{
    fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    static const int32_t wrong[][2] = {{931, 500}, {40, 77}, {37, TABLE}, {39, -TABLE - 1}, {1, 99}};
    mtl_error error;
    for (size_t threads = 1; threads <= THREADS; threads++) {
        mtl_pool *pool = pool_of(threads);
        mtl_session *session = session_with(plan, (mtl_session_options){.pool = pool, .tile_rows = 16 * threads});
        int32_t kept[MOST_ROWS];
        memcpy(kept, f->id, sizeof kept);
        int32_t first = MOST_ROWS;
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
            f->id[wrong[i][0]] = wrong[i][1];
            first = wrong[i][0] < first ? wrong[i][0] : first;
            char expected[128];
            snprintf(expected, sizeof expected,
                     "input 'item_id': row %d: id %d is outside 0..10, or -11..-1 from the end", first, f->id[first]);
            for (int again = 0; again < 20; again++) {
                assert_int_equal(run(session, 1000, f, &f->got, &error), MTL_INVALID_DATA);
                assert_int_equal(error.status, MTL_INVALID_DATA);
                assert_string_equal(error.message, expected);
            }
            assert_int_equal(run(session, 1000, f, &f->got, NULL), MTL_INVALID_DATA);
            require(run(session, first, f, &f->got, &error), &error); /* still usable */
        }
        memcpy(f->id, kept, sizeof kept);
        require(run(session, 1000, f, &f->got, &error), &error);
        mtl_session_destroy(session);
        mtl_pool_destroy(pool);
    }
    mtl_plan_close(plan);
}

static void refuse(mtl_plan *plan, mtl_session_options options, const char *text)
{
    mtl_error error;
    mtl_session *session = (mtl_session *)plan;
    options.struct_size = sizeof options;
    assert_int_equal(mtl_session_create(plan, &options, &session, &error), MTL_INVALID_ARGUMENT);
    assert_null(session);
    if (strstr(error.message, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.message, text);
    }
}

static void test_option_errors(void **state)
{
    fixture *f = *state;
    mtl_error error;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_pool *pool = pool_of(2);
    host h = {0};
    mtl_executor executor = {&h, in_order}, none = {0}, broken = {&h, all_but_one};
    refuse(plan, (mtl_session_options){.threads = 2}, "neither a pool nor an executor");
    refuse(plan, (mtl_session_options){.threads = 2, .pool = pool, .executor = &executor}, "not both");
    refuse(plan, (mtl_session_options){.threads = 2, .executor = &none}, "needs parallel_for");
    refuse(plan, (mtl_session_options){.executor = &executor}, "threads is 0");
    refuse(plan, (mtl_session_options){.executor = &executor, .threads = 1025}, "threads is 1025");
    mtl_session *session = session_with(plan, (mtl_session_options){.threads = 1}); /* without anybody: this thread */
    assert_int_equal(mtl_session_threads(session), 1);
    assert_int_equal(run(session, ((int64_t)1 << 40) + 1, f, &f->got, &error), MTL_INVALID_ARGUMENT);
    mtl_session_destroy(session);

    session = session_with(plan, (mtl_session_options){.executor = &broken, .threads = 3});
    assert_int_equal(run(session, 1000, f, &f->got, &error), MTL_INTERNAL);
    assert_string_equal(error.message, "the executor returned when 2 of 3 tasks had run");
    mtl_session_destroy(session);
    mtl_pool_destroy(pool);
    mtl_pool_destroy(NULL);

    mtl_pool_options options = {.struct_size = 4};
    assert_int_equal(mtl_pool_create(&options, &pool, &error), MTL_INVALID_ARGUMENT);
    assert_null(pool);
    options = (mtl_pool_options){.struct_size = sizeof options, .threads = 1025};
    assert_int_equal(mtl_pool_create(&options, &pool, &error), MTL_INVALID_ARGUMENT);
    mtl_allocator half = {NULL, counted_allocate, NULL};
    options = (mtl_pool_options){.struct_size = sizeof options, .allocator = &half};
    assert_int_equal(mtl_pool_create(&options, &pool, &error), MTL_INVALID_ARGUMENT);
    assert_int_equal(mtl_pool_create(NULL, NULL, &error), MTL_INVALID_ARGUMENT);
    mtl_plan_close(plan);
}

/* Options of a host that was built before there were threads: its struct ends at max_rows. */
static void test_older_host(void **state)
{
    fixture *f = *state;
    mtl_error error;
    mtl_session *session;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_session_options options;
    memset(&options, 0xff, sizeof options);
    options.struct_size = offsetof(mtl_session_options, pool);
    options.allocator = NULL;
    options.tile_rows = 32;
    options.max_rows = 0;
    require(mtl_session_create(plan, &options, &session, &error), &error);
    assert_int_equal(mtl_session_threads(session), 1);
    require(run(session, 100, f, &f->got, &error), &error);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
}

static mtl_status make_all(const fixture *f, mtl_plan *plan, const mtl_allocator *allocator, scores *got,
                           mtl_error *error)
{
    mtl_pool_options options = {.struct_size = sizeof options, .allocator = allocator, .threads = 3};
    mtl_session_options session_options = {.struct_size = sizeof session_options, .allocator = allocator};
    mtl_session *session = NULL;
    mtl_status status = mtl_pool_create(&options, &session_options.pool, error);
    if (status == MTL_OK) {
        session_options.rows_per_thread = 1;
        status = mtl_session_create(plan, &session_options, &session, error);
        assert_true((status == MTL_OK) == (session != NULL));
    } else {
        assert_null(session_options.pool);
    }
    if (status == MTL_OK) {
        status = run(session, 100, f, got, error);
    }
    mtl_session_destroy(session);
    mtl_pool_destroy(session_options.pool);
    return status;
}

static void test_allocation_failures(void **state)
{
    fixture *f = *state;
    mtl_error error;
    for (int provider = MTL_PROVIDER_AUTO; provider <= MTL_PROVIDER_ONEDNN; provider++) {
        mtl_plan *plan = open_plan(f->data, f->size, (mtl_provider)provider, MTL_ISA_AUTO);
        mtl_status status = MTL_OUT_OF_MEMORY;
        long at = 0;
        for (; status != MTL_OK; at++) {
            counter count = {.fail_at = at};
            mtl_allocator allocator = {&count, counted_allocate, counted_release};
            status = make_all(f, plan, &allocator, &f->got, &error);
            assert_true(status == MTL_OK || (status == MTL_OUT_OF_MEMORY && error.status == status));
            assert_int_equal(count.live, 0);
        }
        assert_int_equal(at, provider == MTL_PROVIDER_ONEDNN ? 6 : 3); /* pool, session, oneDNN's for each thread */
        mtl_plan_close(plan);
    }
#if INTERPOSE
    for (int last = 1; last <= 3; last++) { /* the system starts no more threads */
        mtl_pool_options options = {.struct_size = sizeof options, .threads = 4};
        mtl_pool *pool;
        failing_start = last;
        assert_int_equal(mtl_pool_create(&options, &pool, &error), MTL_OUT_OF_MEMORY);
        char expected[64];
        snprintf(expected, sizeof expected, "cannot start thread %d of a pool of 3", last);
        assert_memory_equal(error.message, expected, strlen(expected));
        assert_null(pool);
        failing_start = 0;
    }
#endif
}

/* A plan that runs whole batches has one tile, and one thread for it. */
static void test_whole_batch(void **state)
{
    (void)state;
    maker m;
    const void *data;
    size_t size;
    mtl_error error;
    maker_begin(&m);
    m.meta.flags = PLAN_FLAG_WHOLE_BATCH;
    uint32_t x = maker_input(&m, "x", MTL_F32, (int64_t[]){B, 3}, 2);
    uint32_t mean = maker_row(&m, MTL_F32, (int64_t[]){3}, 1);
    uint32_t y = maker_output(&m, "y", MTL_F32, (int64_t[]){B, 3}, 2);
    maker_step(&m, PLAN_OP_reduce, PLAN_REDUCE_mean, &x, 1, mean, (int64_t[]){0, 1}, 2);
    maker_step(&m, PLAN_OP_binary, PLAN_BINARY_sub, (uint32_t[]){x, mean}, 2, y, NULL, 0);
    maker_finish(&m, &data, &size);
    mtl_plan *plan = open_plan(data, size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_pool *pool = pool_of(2);
    mtl_session *session = session_with(plan, (mtl_session_options){.pool = pool, .max_rows = 100});
    assert_int_equal(mtl_session_threads(session), 1);
    assert_int_equal(mtl_session_workspace_size(session), 112 * m.meta.row_bytes);
    float in[300], out[300];
    for (int i = 0; i < 300; i++) {
        in[i] = (float)(i / 3);
    }
    require(mtl_session_run(session, 100, (const void *[]){in}, (void *[]){out}, &error), &error);
    for (int i = 0; i < 300; i++) {
        assert_true(fabsf(out[i] - (in[i] - 49.5f)) < 1e-4f);
    }
    mtl_session_destroy(session);
    mtl_pool_destroy(pool);
    mtl_plan_close(plan);
    base_arena_free(&m.arena);
}

#if defined(__linux__)
/* Threads of this process; of each whose name begins with "mtlrt-" the signals that it blocks, all together. */
static int count_threads(int *ours, uint64_t *blocked_signals)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    *ours = 0;
    *blocked_signals = UINT64_MAX;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[300], line[256];
        bool named = false;
        snprintf(path, sizeof path, "/proc/self/task/%.200s/status", entry->d_name);
        FILE *file = entry->d_name[0] != '.' ? fopen(path, "r") : NULL;
        if (file == NULL) {
            continue;
        }
        count++;
        while (fgets(line, sizeof line, file) != NULL) {
            unsigned long long mask;
            named = named || strncmp(line, "Name:\tmtlrt-", 12) == 0;
            if (named && sscanf(line, "SigBlk: %llx", &mask) == 1) {
                *blocked_signals &= mask;
            }
        }
        *ours += named;
        fclose(file);
    }
    closedir(folder);
    return count;
}

static bool named_soon(int count, uint64_t *blocked_signals)
{
    int ours = -1;
    for (int i = 0; i < 2000 && ours != count; i++) { /* a new thread names itself when it first runs */
        count_threads(&ours, blocked_signals);
        usleep(1000);
    }
    return ours == count;
}

static void test_threads_of_a_pool(void **state)
{
    (void)state;
    int ours;
    uint64_t blocked_signals;
    sigset_t before, after;
    memset(&before, 0, sizeof before); /* the system fills in a part of it */
    memset(&after, 0, sizeof after);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    int alone = count_threads(&ours, &blocked_signals);
    assert_int_equal(ours, 0);
    mtl_pool *pool = pool_of(4);
    assert_true(named_soon(3, &blocked_signals));
    assert_int_equal(count_threads(&ours, &blocked_signals), alone + 3);
    for (int signal = 1; signal < 32; signal++) {
        if (signal != SIGKILL && signal != SIGSTOP) {
            assert_true((blocked_signals >> (signal - 1) & 1) != 0);
        }
    }
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_memory_equal(&before, &after, sizeof before); /* of the thread that made it */
    mtl_pool_destroy(pool);
    assert_int_equal(count_threads(&ours, &blocked_signals), alone);

    cpu_set_t mask, one;
    mtl_error error;
    assert_int_equal(sched_getaffinity(0, sizeof mask, &mask), 0);
    require(mtl_pool_create(NULL, &pool, &error), &error);
    assert_in_range(mtl_pool_threads(pool), 1, CPU_COUNT(&mask));
    mtl_pool_destroy(pool);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof one, &one) == 0) { /* one CPU: the calling thread, and nobody else */
        require(mtl_pool_create(NULL, &pool, &error), &error);
        assert_int_equal(mtl_pool_threads(pool), 1);
        assert_int_equal(count_threads(&ours, &blocked_signals), alone);
        mtl_pool_destroy(pool);
        assert_int_equal(sched_setaffinity(0, sizeof mask, &mask), 0);
    }
}

/* Idle threads sleep: a second of them costs next to no processor time. */
static void test_idle_pool_sleeps(void **state)
{
    fixture *f = *state;
    mtl_error error;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_pool *pool = pool_of(THREADS);
    mtl_session *session = session_with(plan, (mtl_session_options){.pool = pool});
    require(run(session, 1000, f, &f->got, &error), &error);
    usleep(20000);
    struct timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    usleep(300000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    double used = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) * 1e-9;
    assert_true(used < 0.03);
    mtl_session_destroy(session);
    mtl_pool_destroy(pool);
    mtl_plan_close(plan);
}

/* oneDNN brings no threads of its own, and each of ours has its own memory objects and scratch. */
static void test_onednn(void **state)
{
    fixture *f = *state;
    mtl_error error;
    int ours;
    uint64_t blocked_signals;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_NATIVE, MTL_ISA_AUTO);
    mtl_session *alone = open_session(plan, 0, 0);
    require(run(alone, 1000, f, &f->want, &error), &error);
    mtl_session_destroy(alone);
    mtl_plan_close(plan);
    plan = open_plan(f->data, f->size, MTL_PROVIDER_ONEDNN, MTL_ISA_AUTO);
    int before = count_threads(&ours, &blocked_signals);
    for (size_t threads = 2; threads <= 3; threads++) {
        mtl_pool *pool = pool_of(threads);
        mtl_session *session = session_with(plan, (mtl_session_options){.pool = pool, .tile_rows = 32});
        for (int i = 0; i < 20; i++) {
            require(run(session, 1000, f, &f->got, &error), &error);
            for (int j = 0; j < 1000 * HIDDEN; j++) {
                assert_true(fabsf(f->got.y[j] - f->want.y[j]) <= 1e-5f);
            }
        }
        assert_true(named_soon((int)threads - 1, &blocked_signals));
        assert_int_equal(count_threads(&ours, &blocked_signals), before + (int)threads - 1);
        mtl_session_destroy(session);
        mtl_pool_destroy(pool);
    }
    assert_int_equal(count_threads(&ours, &blocked_signals), before);
    mtl_plan_close(plan);
}
#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        TEST(test_equal_bits),
        TEST(test_small_calls),
        TEST(test_workspace),
        TEST(test_shared_pool),
        TEST(test_busy_pool),
        TEST(test_first_error),
        TEST(test_option_errors),
        TEST(test_older_host),
        TEST(test_allocation_failures),
        cmocka_unit_test(test_whole_batch),
#if defined(__linux__)
        cmocka_unit_test(test_threads_of_a_pool),
        TEST(test_idle_pool_sleeps),
        TEST(test_onednn),
#endif
    };
#undef TEST
    return cmocka_run_group_tests_name("runtime threads", tests, NULL, NULL);
}
