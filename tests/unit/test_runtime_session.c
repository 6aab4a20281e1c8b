/* Plans and sessions as a host sees them: memory, threads, providers, tiles, errors. */
#define _GNU_SOURCE /* syscall, mkstemp */
#include "tests/unit/runtime_ranker.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#endif

#include "runtime/wanted.h"

#if defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__)
#define HAVE_MALLOC_COUNT 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define HAVE_MALLOC_COUNT 0
#endif
#endif
#ifndef HAVE_MALLOC_COUNT
#define HAVE_MALLOC_COUNT 1
#endif

static atomic_long malloc_calls;

#if HAVE_MALLOC_COUNT
/* Ours come before libc's for the whole process, oneDNN's library included; glibc keeps its own under these names. */
#pragma GCC visibility push(default)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    malloc_calls++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    malloc_calls++;
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    malloc_calls++;
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    malloc_calls++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    malloc_calls++;
    *memory = __libc_memalign(alignment, size);
    return *memory != NULL ? 0 : ENOMEM;
}
#pragma GCC visibility pop
#endif

/* Inputs and outputs for up to so many rows. */
enum { MOST_ROWS = 10000 };

typedef struct tensors {
    float *x, *user, *y, *z;
    int32_t *id;
    int64_t n;
    const void *inputs[3];
    void *outputs[3];
} tensors;

static void tensors_new(tensors *t)
{
    uint64_t seed = 7;
    t->x = malloc(MOST_ROWS * FEATURES * sizeof(float));
    t->user = malloc(USER * sizeof(float));
    t->id = malloc(MOST_ROWS * sizeof(int32_t));
    t->y = malloc(MOST_ROWS * HIDDEN * sizeof(float));
    t->z = malloc(2 * MOST_ROWS * sizeof(float));
    fill_random(&seed, MTL_F32, t->x, MOST_ROWS * FEATURES);
    fill_random(&seed, MTL_F32, t->user, USER);
    for (int i = 0; i < MOST_ROWS; i++) {
        t->id[i] = (int32_t)random_below(&seed, 2 * TABLE) - TABLE;
    }
    t->inputs[0] = t->x;
    t->inputs[1] = t->id;
    t->inputs[2] = t->user;
    t->outputs[0] = t->y;
    t->outputs[1] = t->z;
    t->outputs[2] = &t->n;
}

static void tensors_free(tensors *t)
{
    free(t->x);
    free(t->user);
    free(t->id);
    free(t->y);
    free(t->z);
}

typedef struct fixture {
    maker m;
    const void *data;
    size_t size;
    tensors t;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    build_ranker(&f->m);
    maker_finish(&f->m, &f->data, &f->size);
    tensors_new(&f->t);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    tensors_free(&f->t);
    base_arena_free(&f->m.arena);
    free(f);
    return 0;
}

static void run(mtl_session *session, int64_t rows, const tensors *t)
{
    mtl_error error;
    require(mtl_session_run(session, rows, t->inputs, t->outputs, &error), &error);
}

/* --- tests --- */

static void test_signature(void **state)
{
    fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    assert_int_equal(mtl_plan_input_count(plan), 3);
    assert_int_equal(mtl_plan_output_count(plan), 3);
    const mtl_tensor_info *id = mtl_plan_input(plan, 1), *z = mtl_plan_output(plan, 1);
    assert_string_equal(id->name, "item_id");
    assert_int_equal(id->dtype, MTL_I32);
    assert_int_equal(id->rank, 2);
    assert_int_equal(mtl_dim_extent(id->shape[0], 5, 1), 5);
    assert_string_equal(z->name, "z");
    assert_int_equal(mtl_dim_extent(z->shape[1], 9, 1), 9);
    assert_null(mtl_plan_input(plan, 3));
    assert_null(mtl_plan_output(plan, 3));
    mtl_plan_close(plan);
}

static void test_tiles(void **state)
{
    fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_session *session = open_session(plan, 0, 0);
    run(session, 1000, &f->t);
    assert_int_equal(f->t.n, 1000);
    float *y = malloc(1000 * HIDDEN * sizeof *y), *z = malloc(2000 * sizeof *z);
    memcpy(y, f->t.y, 1000 * HIDDEN * sizeof *y);
    memcpy(z, f->t.z, 2000 * sizeof *z);
    mtl_session_destroy(session);
    for (size_t height = 1; height <= 300; height += 61) {
        session = open_session(plan, height, 0);
        assert_int_equal(mtl_session_tile_rows(session), (height + 15) / 16 * 16);
        for (int64_t rows = 1; rows <= 1000; rows += rows < 70 ? 23 : 311) {
            run(session, rows, &f->t);
            assert_int_equal(f->t.n, rows);
            assert_memory_equal(f->t.y, y, (size_t)rows * HIDDEN * sizeof *y);
            assert_memory_equal(f->t.z, z, (size_t)rows * sizeof *z); /* (2, rows): the second line follows the first */
            assert_memory_equal(f->t.z + rows, z + 1000, (size_t)rows * sizeof *z);
        }
        mtl_session_destroy(session);
    }
    free(y);
    free(z);
    mtl_plan_close(plan);
}

static void test_workspace(void **state)
{
    fixture *f = *state;
    counter count = {.fail_at = -1};
    mtl_allocator allocator = {&count, counted_allocate, counted_release};
    mtl_plan_options options = {.struct_size = sizeof options, .allocator = &allocator};
    mtl_plan *plan;
    mtl_error error;
    require(mtl_plan_open_memory(f->data, f->size, &options, &plan, &error), &error);
    for (size_t height = 16; height <= 64; height += 16) {
        long calls = count.calls;
        mtl_session *session = open_session(plan, height, 0);
        size_t expected = height * (size_t)f->m.meta.row_bytes + (size_t)f->m.meta.request_bytes;
        assert_int_equal(count.calls, calls + 1);
        assert_int_equal(mtl_session_workspace_size(session), expected);
        size_t choice;
        assert_true(runtime_wanted_bytes(plan, height, 1, &choice));
        assert_int_equal(count.last_bytes, expected + RUNTIME_SESSION_HEADER + choice);
        long mallocs = malloc_calls;
        run(session, MOST_ROWS, &f->t); /* the workspace of 10,000 rows is that of one tile */
        run(session, 1, &f->t);
        assert_int_equal(mtl_session_want(session, (const unsigned char[]){1, 0, 0}, NULL), MTL_OK);
        run(session, MOST_ROWS, &f->t);
        assert_int_equal(malloc_calls, mallocs);
        assert_int_equal(count.calls, calls + 1);
        mtl_session_destroy(session);
    }
    mtl_plan_close(plan);
    assert_int_equal(count.live, 0);
    assert_int_equal(count.live_bytes, 0);
}

/* oneDNN allocates in every execution of a primitive, and frees it again: told here, and in docs/kernels.md. */
static void test_onednn_allocations(void **state)
{
    fixture *f = *state;
    enum { CALLS = 20 };
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_ONEDNN, MTL_ISA_AUTO);
    mtl_session *session = open_session(plan, 64, 0);
    long primitives = 0;
    for (size_t i = 0; i < plan->view.step_count; i++) {
        primitives += strncmp(plan->steps[i].kernel, "onednn", 6) == 0;
    }
    assert_true(primitives >= 4);
    run(session, 1, &f->t); /* what it sets up once */
    long first = malloc_calls;
    run(session, 1, &f->t);
    long each = malloc_calls - first;
    for (int i = 0; i < CALLS; i++) {
        run(session, 1, &f->t);
    }
    assert_int_equal(malloc_calls - first, (CALLS + 1) * each);
    printf("# note oneDNN: %ld allocations in a call of %ld primitives\n", each, primitives);
    assert_true(HAVE_MALLOC_COUNT ? each > 0 && each <= 16 * primitives : each == 0);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
}

static mtl_status open_and_create(const fixture *f, const mtl_plan_options *options, mtl_error *error)
{
    mtl_plan *plan;
    mtl_session *session;
    mtl_status status = mtl_plan_open_memory(f->data, f->size, options, &plan, error);
    if (status != MTL_OK) {
        assert_null(plan);
        return status;
    }
    status = mtl_session_create(plan, NULL, &session, error);
    if (status == MTL_OK) {
        status = mtl_session_run(session, 3, f->t.inputs, f->t.outputs, error);
    } else {
        assert_null(session);
    }
    mtl_session_destroy(session);
    mtl_plan_close(plan);
    return status;
}

static void test_allocation_failures(void **state)
{
    fixture *f = *state;
    for (int provider = MTL_PROVIDER_AUTO; provider <= MTL_PROVIDER_ONEDNN; provider++) {
        mtl_status status = MTL_OUT_OF_MEMORY;
        long at = 0;
        for (; status == MTL_OUT_OF_MEMORY; at++) {
            counter count = {.fail_at = at};
            mtl_allocator allocator = {&count, counted_allocate, counted_release};
            mtl_plan_options options = {.struct_size = sizeof options,
                                        .allocator = &allocator,
                                        .private_copy = 1,
                                        .provider = (mtl_provider)provider};
            mtl_error error;
            status = open_and_create(f, &options, &error);
            assert_true(status == MTL_OK || status == MTL_OUT_OF_MEMORY);
            if (status != MTL_OK) {
                assert_int_equal(error.status, MTL_OUT_OF_MEMORY);
            }
            assert_int_equal(count.live, 0);
        }
        assert_int_equal(status, MTL_OK);
        assert_true(at > 3);
    }
}

typedef struct worker {
    mtl_plan *plan;
    const tensors *shared;
    float *y, *z;
    int64_t n;
    float tolerance; /* 0: equal bits */
    int different;
} worker;

static void *work(void *argument)
{
    worker *w = argument;
    mtl_session *session = NULL;
    void *outputs[] = {w->y, w->z, &w->n};
    w->different = mtl_session_create(w->plan, NULL, &session, NULL) != MTL_OK;
    for (int i = 0; i < 50 && w->different == 0; i++) {
        int64_t rows = 1 + i * 19;
        w->different = mtl_session_run(session, rows, w->shared->inputs, outputs, NULL) != MTL_OK;
        for (int64_t j = 0; j < rows * HIDDEN; j++) {
            w->different += !(fabsf(w->y[j] - w->shared->y[j]) <= w->tolerance);
        }
    }
    mtl_session_destroy(session);
    return NULL;
}

static void run_threads(fixture *f, mtl_provider provider, float tolerance)
{
    mtl_plan *plan = open_plan(f->data, f->size, provider, MTL_ISA_AUTO);
    mtl_session *session = open_session(plan, 0, 0);
    run(session, 1000, &f->t);
    worker workers[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        workers[i] = (worker){.plan = plan, .shared = &f->t, .tolerance = tolerance};
        workers[i].y = malloc(1000 * HIDDEN * sizeof(float));
        workers[i].z = malloc(2000 * sizeof(float));
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(workers[i].different, 0);
        free(workers[i].y);
        free(workers[i].z);
    }
    mtl_session_destroy(session);
    mtl_plan_close(plan);
}

static void test_threads(void **state)
{
    run_threads(*state, MTL_PROVIDER_AUTO, 0);
    run_threads(*state, MTL_PROVIDER_ONEDNN, 1e-5f); /* only equal calls have equal bits there */
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Mapped or copied, verified lazily or not; and a plan stays usable when its file is replaced by rename. */
static void test_files(void **state)
{
    fixture *f = *state;
    char path[] = P_tmpdir "/mtlc-test-XXXXXX", other[sizeof path + 8];
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    snprintf(other, sizeof other, "%s.next", path);
    write_file(path, f->data, f->size);
    for (int way = 0; way < 4; way++) {
        mtl_plan_options options = {.struct_size = sizeof options, .private_copy = way % 2, .verify_lazily = way / 2};
        mtl_error error;
        mtl_plan *plan;
        require(mtl_plan_open(path, &options, &plan, &error), &error);
        write_file(other, f->data, f->size);
        assert_int_equal(rename(other, path), 0);
        mtl_session *session = open_session(plan, 0, 0);
        run(session, 20, &f->t);
        assert_int_equal(f->t.n, 20);
        mtl_session_destroy(session);
        mtl_plan_close(plan);
    }
    remove(path);
}

static void test_providers(void **state)
{
    fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_NATIVE, MTL_ISA_GENERIC);
    mtl_session *session = open_session(plan, 0, 0);
    assert_null(plan->onednn);
    for (size_t i = 0; runtime_step_kernel(plan, i) != NULL; i++) {
        const char *kernel = runtime_step_kernel(plan, i);
        assert_true(strcmp(kernel, "plain") == 0 || strcmp(kernel, "native generic") == 0);
    }
    run(session, 77, &f->t);
    float *y = malloc(77 * HIDDEN * sizeof *y);
    memcpy(y, f->t.y, 77 * HIDDEN * sizeof *y);
    mtl_session_destroy(session);
    mtl_plan_close(plan);

    /* Forced, every product runs in oneDNN: a native one fails the test. */
    plan = open_plan(f->data, f->size, MTL_PROVIDER_ONEDNN, MTL_ISA_AUTO);
    for (size_t i = 0; i < plan->view.step_count; i++) {
        if (plan->view.steps[i].op == PLAN_OP_linear) {
            assert_memory_equal(runtime_step_kernel(plan, i), "onednn ", 7);
        }
    }
    session = open_session(plan, 0, 0);
    run(session, 77, &f->t);
    for (int i = 0; i < 77 * HIDDEN; i++) {
        assert_true(fabsf(f->t.y[i] - y[i]) <= 1e-5f);
    }
    free(y);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
}

static void expect_error(mtl_status status, mtl_status expected, const mtl_error *error, const char *text)
{
    assert_int_equal(status, expected);
    assert_int_equal(error->status, expected);
    if (strstr(error->message, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error->message, text);
    }
}

static void test_call_errors(void **state)
{
    fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_session *session = open_session(plan, 16, 0);
    mtl_error error;
    const void *inputs[3] = {f->t.x, f->t.id, f->t.user};
    void *outputs[3] = {f->t.y, f->t.z, &f->t.n};
    assert_int_equal(mtl_session_run(session, 0, NULL, NULL, &error), MTL_OK);
    expect_error(mtl_session_run(session, -1, inputs, outputs, &error), MTL_INVALID_ARGUMENT, &error, "rows is -1");
    expect_error(mtl_session_run(NULL, 1, inputs, outputs, &error), MTL_INVALID_ARGUMENT, &error, "session is NULL");
    expect_error(mtl_session_run(session, 1, NULL, outputs, &error), MTL_INVALID_ARGUMENT, &error, "inputs is NULL");
    expect_error(mtl_session_run(session, 1, inputs, NULL, &error), MTL_INVALID_ARGUMENT, &error, "outputs is NULL");
    inputs[1] = NULL;
    expect_error(mtl_session_run(session, 1, inputs, outputs, &error), MTL_INVALID_ARGUMENT, &error,
                 "input 'item_id' is NULL");
    inputs[1] = f->t.id;
    outputs[1] = NULL;
    expect_error(mtl_session_run(session, 1, inputs, outputs, &error), MTL_INVALID_ARGUMENT, &error,
                 "output 'z' is NULL");
    outputs[1] = f->t.z;
    int32_t kept = f->t.id[37];
    f->t.id[37] = TABLE;
    expect_error(mtl_session_run(session, 100, inputs, outputs, &error), MTL_INVALID_DATA, &error,
                 "input 'item_id': row 37: id 11 is outside 0..10, or -11..-1 from the end");
    f->t.id[37] = -TABLE - 1;
    expect_error(mtl_session_run(session, 38, inputs, outputs, &error), MTL_INVALID_DATA, &error, "id -12 ");
    assert_int_equal(mtl_session_run(session, 38, inputs, outputs, NULL), MTL_INVALID_DATA);
    assert_int_equal(mtl_session_run(session, 37, inputs, outputs, &error), MTL_OK); /* the session is still usable */
    f->t.id[37] = kept;
    run(session, 38, &f->t);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
}

static void test_open_errors(void **state)
{
    fixture *f = *state;
    mtl_plan *plan = (mtl_plan *)f;
    mtl_error error;
    expect_error(mtl_plan_open("/nonexistent/plan.bin", NULL, &plan, &error), MTL_IO, &error, "/nonexistent/plan.bin");
    assert_null(plan);
    expect_error(mtl_plan_open(NULL, NULL, &plan, &error), MTL_INVALID_ARGUMENT, &error, "path is NULL");
    expect_error(mtl_plan_open_memory((const char *)f->data + 1, f->size - 1, NULL, &plan, &error),
                 MTL_INVALID_ARGUMENT, &error, "aligned to 64");
    mtl_plan_options options = {.struct_size = 4};
    expect_error(mtl_plan_open_memory(f->data, f->size, &options, &plan, &error), MTL_INVALID_ARGUMENT, &error,
                 "struct_size");
    options = (mtl_plan_options){.struct_size = sizeof options, .isa = (mtl_isa)17};
    expect_error(mtl_plan_open_memory(f->data, f->size, &options, &plan, &error), MTL_INVALID_ARGUMENT, &error, "isa");
    mtl_allocator half = {NULL, counted_allocate, NULL};
    options = (mtl_plan_options){.struct_size = sizeof options, .allocator = &half};
    expect_error(mtl_plan_open_memory(f->data, f->size, &options, &plan, &error), MTL_INVALID_ARGUMENT, &error,
                 "allocator");
    assert_int_equal(mtl_session_create(NULL, NULL, NULL, NULL), MTL_INVALID_ARGUMENT);
    mtl_plan_close(NULL);
    mtl_session_destroy(NULL);
}

/* Any truncation and any flipped bit is refused, without a crash. */
static void test_damage(void **state)
{
    fixture *f = *state;
    unsigned char *copy = malloc(f->size);
    mtl_plan_options options = {.struct_size = sizeof options, .private_copy = 1};
    mtl_plan *plan;
    mtl_error error;
    for (size_t size = 0; size < f->size; size += size < 600 ? 1 : 97) {
        memcpy(copy, f->data, size);
        assert_int_equal(mtl_plan_open_memory(copy, size, &options, &plan, &error), MTL_INVALID_DATA);
    }
    uint64_t seed = 3;
    for (int i = 0; i < 1000; i++) {
        size_t bit = (size_t)random_below(&seed, (int64_t)f->size * 8);
        memcpy(copy, f->data, f->size);
        copy[bit / 8] ^= (unsigned char)(1u << bit % 8);
        mtl_status status = mtl_plan_open_memory(copy, f->size, &options, &plan, &error);
        assert_true(status == MTL_INVALID_DATA || status == MTL_UNSUPPORTED);
    }
    free(copy);
}

/* What verify_lazily leaves out, mtl_plan_verify finds: a damaged constant. */
static void test_verify(void **state)
{
    fixture *f = *state;
    unsigned char *copy = malloc(f->size);
    mtl_plan_options options = {.struct_size = sizeof options, .private_copy = 1, .verify_lazily = 1};
    mtl_plan *plan;
    mtl_error error;
    memcpy(copy, f->data, f->size);
    require(mtl_plan_open_memory(copy, f->size, &options, &plan, &error), &error);
    require(mtl_plan_verify(plan, &error), &error);
    mtl_plan_close(plan);
    copy[f->size - 1] ^= 1;
    require(mtl_plan_open_memory(copy, f->size, &options, &plan, &error), &error);
    assert_int_equal(mtl_plan_verify(plan, &error), MTL_INVALID_DATA);
    mtl_plan_close(plan);
    assert_int_equal(mtl_plan_verify(NULL, NULL), MTL_INVALID_ARGUMENT);
    free(copy);
}

/* y = x - mean over all candidates: a whole batch at once. */
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
    mtl_session *session = open_session(plan, 0, 100);
    assert_int_equal(mtl_session_tile_rows(session), 112);
    float in[100 * 3], out[100 * 3];
    uint64_t seed = 5;
    fill_random(&seed, MTL_F32, in, 300);
    require(mtl_session_run(session, 100, (const void *[]){in}, (void *[]){out}, &error), &error);
    for (int column = 0; column < 3; column++) {
        double sum = 0;
        for (int row = 0; row < 100; row++) {
            sum += (double)in[row * 3 + column];
        }
        for (int row = 0; row < 100; row++) {
            assert_true(fabs((double)in[row * 3 + column] - sum / 100 - (double)out[row * 3 + column]) < 1e-5);
        }
    }
    expect_error(mtl_session_run(session, 101, (const void *[]){in}, (void *[]){out}, &error), MTL_INVALID_ARGUMENT,
                 &error, "rows is 101, expected at most the session's max_rows, 100");
    mtl_session_destroy(session);
    session = open_session(plan, 0, 0);
    assert_int_equal(mtl_session_tile_rows(session), 1024);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
    base_arena_free(&m.arena);
}

#if defined(__linux__) && HAVE_MALLOC_COUNT
/* A child that may only read, write and exit scores: any system call of run kills it. */
static void test_no_system_calls(void **state)
{
    fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_session *session = open_session(plan, 0, 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) {
            syscall(SYS_exit, 77);
        }
        mtl_status status = mtl_session_run(session, 1000, f->t.inputs, f->t.outputs, NULL);
        mtl_status chosen = mtl_session_want(session, (const unsigned char[]){0, 1, 0}, NULL);
        mtl_status again = mtl_session_run(session, 1000, f->t.inputs, f->t.outputs, NULL);
        syscall(SYS_exit, status == MTL_OK && chosen == MTL_OK && again == MTL_OK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        skip();
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}
#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_signature),
        TEST(test_tiles),
        TEST(test_workspace),
        TEST(test_onednn_allocations),
        TEST(test_allocation_failures),
        TEST(test_threads),
        TEST(test_files),
        TEST(test_providers),
        TEST(test_call_errors),
        TEST(test_open_errors),
        TEST(test_damage),
        TEST(test_verify),
        cmocka_unit_test(test_whole_batch),
#if defined(__linux__) && HAVE_MALLOC_COUNT
        TEST(test_no_system_calls),
#endif
    };
#undef TEST
    return cmocka_run_group_tests_name("runtime session", tests, NULL, NULL);
}
