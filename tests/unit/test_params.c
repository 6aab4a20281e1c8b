#define _POSIX_C_SOURCE 200809L /* posix_memalign */
/* Params: the rules of the plan's checker, and what a session makes of them. */
#include "plan_fixture.h"
#include "runtime_helpers.h"

#include <pthread.h>

#include "runtime/internal.h"

/* Tensors and steps of the plan, in order:
 *     y = sum over t of alpha_t p_t + bias               (row program; alpha seen as (1, 3))
 *     z = -alpha (request program) times p */
enum { P_P, P_ALPHA, P_BIAS, P_ALPHA_DEFAULT, P_BIAS_DEFAULT, P_VIEW, P_NEGATED, P_PRODUCT, P_SUM, P_Y, P_Z };
enum { P_NEG, P_MUL, P_REDUCE, P_ADD, P_SCALE };
enum { SIGNATURE_PARAM = 3, SIGNATURE_DEFAULT = 5, REQUEST_BYTES = 64, PARAM_BYTES = 128, ROW_BYTES = 16 };

static const float alpha_default[3] = {0.5f, 0.25f, 2};
static const float bias_default = -1;

static uint32_t add_param(maker *m, const char *name, uint32_t index, uint64_t offset, const int64_t *shape, int rank)
{
    return maker_tensor(
        m, name, (plan_tensor){.dtype = MTL_F32, .storage = PLAN_STORAGE_PARAM, .index = index, .offset = offset},
        shape, rank);
}

static void build(maker *m, const void **data, size_t *size)
{
    const int64_t three[] = {3}, one_row[] = {1, 3}, table[] = {B, 3}, rows_only[] = {B};
    maker_begin(m);
    uint32_t p = maker_input(m, "p", MTL_F32, table, 2);
    uint32_t alpha = add_param(m, "alpha", 0, 0, three, 1);
    uint32_t bias = add_param(m, "bias", 1, 64, NULL, 0);
    require(plan_add_param(m->builder, alpha, maker_const(m, MTL_F32, three, 1, alpha_default)), &m->error);
    require(plan_add_param(m->builder, bias, maker_const(m, MTL_F32, NULL, 0, &bias_default)), &m->error);
    uint32_t view = add_param(m, "", 0, 0, one_row, 2);
    uint32_t negated = maker_request(m, MTL_F32, three, 1);
    uint32_t product = maker_row(m, MTL_F32, table, 2), sum = maker_row(m, MTL_F32, rows_only, 1);
    uint32_t y = maker_output(m, "y", MTL_F32, rows_only, 1), z = maker_output(m, "z", MTL_F32, table, 2);
    assert_int_equal(z, P_Z);
    maker_step(m, PLAN_OP_unary, PLAN_UNARY_neg, &alpha, 1, negated, (int64_t[]){0, 0}, 2);
    maker_step(m, PLAN_OP_binary, PLAN_BINARY_mul, (uint32_t[]){p, view}, 2, product, NULL, 0);
    maker_step(m, PLAN_OP_reduce, PLAN_REDUCE_sum, &product, 1, sum, (int64_t[]){1, 2}, 2);
    maker_step(m, PLAN_OP_binary, PLAN_BINARY_add, (uint32_t[]){sum, bias}, 2, y, NULL, 0);
    maker_step(m, PLAN_OP_binary, PLAN_BINARY_mul, (uint32_t[]){p, negated}, 2, z, NULL, 0);
    m->meta.request_step_count = 1;
    maker_finish(m, data, size);
}

/* --- the checker ---------------------------------------------------------------------------------------------- */

typedef struct damage {
    const char *expected;
    int kind; /* of the section; 0: the header */
    size_t at, size;
    uint64_t value;
} damage;

#define FIELD(type, field) offsetof(type, field), sizeof(((type *)0)->field)
#define TENSOR_FIELD(i, field)                                                                                         \
    PLAN_SECTION_TENSORS, (i) * sizeof(plan_tensor) + offsetof(plan_tensor, field), sizeof(((plan_tensor *)0)->field)
/* Extents are written in the order of the tensors: 2 of p, 1 of alpha, none of bias, 1 of alpha's default, ... */
enum { DIM_ALPHA = 2, DIM_DEFAULT = 3, DIM_VIEW = 4 };
#define DIM_FIELD(i, field) PLAN_SECTION_DIMS, (i) * sizeof(mtl_dim) + offsetof(mtl_dim, field), sizeof(int64_t)
#define SIGNATURE_AT(i) PLAN_SECTION_SIGNATURE, (i) * sizeof(uint32_t), sizeof(uint32_t)
#define OPERAND_AT(i) PLAN_SECTION_OPERANDS, (i) * sizeof(uint32_t), sizeof(uint32_t)

static const damage damages[] = {
    {"is older than this reader reads (1.1)", 0, FIELD(plan_header, reader_minor), 0},
    {"1 params with defaults, but 7 in the signature", PLAN_SECTION_META, FIELD(plan_meta, param_count), 1},
    {"4294967295 params with defaults", PLAN_SECTION_META, FIELD(plan_meta, param_count), UINT32_MAX},
    {"param 0 is tensor 99, which is none", SIGNATURE_AT(SIGNATURE_PARAM), 99},
    {"param 0 is tensor 2, which is none", SIGNATURE_AT(SIGNATURE_PARAM), P_BIAS},
    {"param 1 is tensor 0, which is none", SIGNATURE_AT(SIGNATURE_PARAM + 1), P_P},
    {"default 0 is tensor 1, which is none", SIGNATURE_AT(SIGNATURE_DEFAULT), P_ALPHA},
    {"default 1 is tensor 4294967295, which is none", SIGNATURE_AT(SIGNATURE_DEFAULT + 1), UINT32_MAX},
    {"its default, tensor 4, has another shape", SIGNATURE_AT(SIGNATURE_DEFAULT), P_BIAS_DEFAULT},
    {"its default, tensor 3, has another shape", DIM_FIELD(DIM_DEFAULT, fixed), 2},
    {"its default, tensor 3, has another shape, dtype", TENSOR_FIELD(P_ALPHA_DEFAULT, dtype), MTL_I32},
    {"two params are called", TENSOR_FIELD(P_ALPHA, name), 0},
    {"param 2 of 2", TENSOR_FIELD(P_VIEW, index), 2},
    {"param 4294967295 of 2", TENSOR_FIELD(P_VIEW, index), UINT32_MAX},
    {"float32 (1, 3) at 0 views param 1, which is float32 () at 64", TENSOR_FIELD(P_VIEW, index), 1},
    {"(1, 3) at 64 views param 0", TENSOR_FIELD(P_VIEW, offset), 64},
    {"at 18446744073709551552 views param 0", TENSOR_FIELD(P_VIEW, offset), UINT64_MAX - 63},
    {"int32 (1, 3) at 0 views param 0", TENSOR_FIELD(P_VIEW, dtype), MTL_I32},
    {"(2, 3) at 0 views param 0", DIM_FIELD(DIM_VIEW, fixed), 2},
    {"axis 0 of a param is not fixed", DIM_FIELD(DIM_VIEW, per_user), 1},
    {"axis 0 of a param is not fixed", DIM_FIELD(DIM_ALPHA, per_user), 1},
    {"only float32 constants are packed", TENSOR_FIELD(P_VIEW, layout), PLAN_LAYOUT_PADDED},
    {"param 1 begins at 0, expected 64", TENSOR_FIELD(P_BIAS, offset), 0},
    {"param 1 begins at 128, expected 64", TENSOR_FIELD(P_BIAS, offset), 128},
    {"unknown storage 7", TENSOR_FIELD(P_VIEW, storage), 7},
    {"the output is a param", OPERAND_AT(1), P_ALPHA},
};

static void every_rule_of_params_is_checked(void **state)
{
    (void)state;
    maker m;
    const void *data;
    size_t size;
    int wrong = 0;
    build(&m, &data, &size);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        void *file;
        mtl_error error = {.message = ""};
        base_diag diag = {.error = &error};
        plan_view view;
        assert_int_equal(posix_memalign(&file, PLAN_ALIGNMENT, size), 0);
        memcpy(file, data, size);
        unsigned char *at = file;
        at += damages[i].kind == 0 ? 0 : section_of(file, (plan_section_kind)damages[i].kind)->offset;
        memcpy(at + damages[i].at, &damages[i].value, damages[i].size);
        reseal(file, size);
        if (plan_check(file, size, false, &diag, &view) == MTL_OK ||
            strstr(error.message, damages[i].expected) == NULL) {
            print_error("damage %zu: expected '%s', got '%s'\n", i, damages[i].expected, error.message);
            wrong++;
        }
        free(file);
    }
    base_arena_free(&m.arena);
    assert_int_equal(wrong, 0);
}

/* Whatever random damage does to the records that params are made of, nothing outside of the file is read, and a
 * plan that passes can be run. */
static void random_damage_never_crashes(void **state)
{
    (void)state;
    maker m;
    const void *data;
    void *file;
    size_t size, passed = 0;
    uint64_t seed = 11;
    static const plan_section_kind kinds[] = {PLAN_SECTION_META, PLAN_SECTION_TENSORS, PLAN_SECTION_DIMS,
                                              PLAN_SECTION_SIGNATURE, PLAN_SECTION_OPERANDS};
    build(&m, &data, &size);
    assert_int_equal(posix_memalign(&file, PLAN_ALIGNMENT, size), 0);
    for (int round = 0; round < 20000; round++) {
        memcpy(file, data, size);
        for (int k = 0; k <= round % 3; k++) {
            const plan_section *section = section_of(file, kinds[random_below(&seed, 5)]);
            unsigned char *at = (unsigned char *)file + section->offset + random_below(&seed, (int64_t)section->size);
            *at = (unsigned char)(random_below(&seed, 4) == 0 ? random_u32(&seed) : *at + 1u);
        }
        reseal(file, size);
        mtl_plan *plan;
        mtl_plan_options options = {.struct_size = sizeof options, .private_copy = 1};
        if (mtl_plan_open_memory(file, size, &options, &plan, NULL) == MTL_OK) {
            mtl_session *session;
            mtl_session_options small = {.struct_size = sizeof small, .tile_rows = 16};
            const plan_meta *meta = plan->view.meta;
            assert_true(plan_param_bytes(&plan->view) < size); /* the defaults are in the file */
            if (meta->row_bytes < 4096 && meta->request_bytes < 4096 &&
                mtl_session_create(plan, &small, &session, NULL) == MTL_OK) {
                mtl_session_destroy(session);
                passed++;
            }
            mtl_plan_close(plan);
        }
    }
    free(file);
    base_arena_free(&m.arena);
    assert_true(passed > 0 && passed < 20000);
}

static void plans_without_params_need_no_new_reader(void **state)
{
    (void)state;
    size_t size;
    unsigned char *file = fixture_plan(&size);
    const plan_header *header = (const plan_header *)(const void *)file;
    assert_int_equal(header->reader_minor, PLAN_VERSION_MINOR_LEAST);
    free(file);

    maker m;
    const void *data;
    build(&m, &data, &size);
    header = data;
    assert_int_equal(header->reader_minor, 1);
    base_arena_free(&m.arena);
}

/* --- sessions ------------------------------------------------------------------------------------------------- */

enum { ROWS = 50 };

typedef struct fixture {
    maker m;
    mtl_plan *plan;
    float p[ROWS * 3], y[ROWS], z[ROWS * 3];
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    const void *data;
    size_t size;
    uint64_t seed = 3;
    build(&f->m, &data, &size);
    f->plan = open_plan(data, size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    fill_random(&seed, MTL_F32, f->p, ROWS * 3);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    mtl_plan_close(f->plan);
    base_arena_free(&f->m.arena);
    free(f);
    return 0;
}

static void expect_scores(fixture *f, mtl_session *session, const float *alpha, float bias)
{
    mtl_error error;
    require(mtl_session_run(session, ROWS, (const void *[]){f->p}, (void *[]){f->y, f->z}, &error), &error);
    for (int row = 0; row < ROWS; row++) {
        double sum = (double)bias;
        for (int task = 0; task < 3; task++) {
            double p = (double)f->p[row * 3 + task];
            sum += (double)alpha[task] * p;
            assert_true(fabs(-(double)alpha[task] * p - (double)f->z[row * 3 + task]) < 1e-5);
        }
        assert_true(fabs(sum - (double)f->y[row]) < 1e-5);
    }
}

static void the_plan_lists_its_params(void **state)
{
    fixture *f = *state;
    assert_int_equal(mtl_plan_param_count(f->plan), 2);
    const mtl_tensor_info *alpha = mtl_plan_param_info(f->plan, 0), *bias = mtl_plan_param_info(f->plan, 1);
    assert_string_equal(alpha->name, "alpha");
    assert_int_equal(alpha->dtype, MTL_F32);
    assert_int_equal(alpha->rank, 1);
    assert_int_equal(alpha->shape[0].fixed, 3);
    assert_string_equal(bias->name, "bias");
    assert_int_equal(bias->rank, 0);
    assert_null(mtl_plan_param_info(f->plan, 2));
    assert_null(mtl_plan_param_info(f->plan, MTL_NO_PARAM));
    assert_int_equal(mtl_plan_find_param(f->plan, "bias"), 1);
    assert_true(mtl_plan_find_param(f->plan, "y") == MTL_NO_PARAM);
    assert_true(mtl_plan_find_param(f->plan, "") == MTL_NO_PARAM);
    assert_true(mtl_plan_find_param(f->plan, NULL) == MTL_NO_PARAM);
    assert_memory_equal(mtl_plan_param_default(f->plan, 0), alpha_default, sizeof alpha_default);
    assert_null(mtl_plan_param_default(f->plan, 2));
    assert_int_equal(mtl_plan_input_count(f->plan), 1);
    assert_int_equal(mtl_plan_output_count(f->plan), 2);
}

static void each_session_has_values_of_its_own(void **state)
{
    fixture *f = *state;
    const float alpha[3] = {-1, 3, 0.125f}, bias = 7;
    mtl_error error;
    mtl_session *one = open_session(f->plan, 16, 0), *other = open_session(f->plan, 64, 0);
    expect_scores(f, one, alpha_default, bias_default);
    require(mtl_session_set_param(one, 0, alpha, &error), &error);
    expect_scores(f, one, alpha, bias_default);
    expect_scores(f, other, alpha_default, bias_default);
    require(mtl_session_set_param(other, 1, &bias, &error), &error);
    expect_scores(f, other, alpha_default, bias);
    expect_scores(f, one, alpha, bias_default);
    require(mtl_session_set_param(one, 0, mtl_plan_param_default(f->plan, 0), &error), &error);
    expect_scores(f, one, alpha_default, bias_default);
    mtl_session_destroy(one);
    mtl_session_destroy(other);
}

static void values_are_taken_as_they_are(void **state)
{
    fixture *f = *state;
    mtl_session *session = open_session(f->plan, 16, 0);
    mtl_error error;
    float alpha[3] = {NAN, 0, INFINITY};
    require(mtl_session_set_param(session, 0, alpha, &error), &error);
    alpha[0] = 1; /* what was given was copied */
    require(mtl_session_run(session, ROWS, (const void *[]){f->p}, (void *[]){f->y, f->z}, &error), &error);
    assert_true(isnan(f->y[0]) && isnan(f->z[0]) && isinf(f->z[2]));
    assert_true(f->z[1] == 0);
    mtl_session_destroy(session);
}

static void wrong_calls_say_so(void **state)
{
    fixture *f = *state;
    mtl_session *session = open_session(f->plan, 16, 0);
    const float alpha[3] = {9, 9, 9};
    mtl_error error;
    assert_int_equal(mtl_session_set_param(NULL, 0, alpha, &error), MTL_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "session is NULL"));
    assert_int_equal(mtl_session_set_param(session, 2, alpha, &error), MTL_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "no param 2, the plan has 2"));
    assert_int_equal(mtl_session_set_param(session, mtl_plan_find_param(f->plan, "alhpa"), alpha, &error),
                     MTL_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "no param of that name"));
    assert_int_equal(mtl_session_set_param(session, 0, NULL, &error), MTL_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "'alpha' are NULL"));
    assert_int_equal(mtl_session_set_param(session, 0, NULL, NULL), MTL_INVALID_ARGUMENT);
    expect_scores(f, session, alpha_default, bias_default);
    mtl_session_destroy(session);
}

typedef struct counter {
    size_t calls, bytes;
} counter;

static void *counted_allocate(void *context, size_t size, size_t alignment)
{
    counter *c = context;
    void *memory;
    c->calls++;
    c->bytes += size;
    return posix_memalign(&memory, alignment, size) == 0 ? memory : NULL;
}

static void counted_release(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    free(memory);
}

static void the_workspace_holds_the_params(void **state)
{
    fixture *f = *state;
    counter count = {0};
    mtl_allocator allocator = {&count, counted_allocate, counted_release};
    mtl_session_options options = {.struct_size = sizeof options, .allocator = &allocator, .tile_rows = 32};
    mtl_session *session;
    mtl_error error;
    require(mtl_session_create(f->plan, &options, &session, &error), &error);
    assert_int_equal(mtl_session_workspace_size(session), PARAM_BYTES + REQUEST_BYTES + 32 * ROW_BYTES);
    assert_int_equal(count.calls, 1);
    require(mtl_session_set_param(session, 0, (const float[]){1, 2, 3}, &error), &error);
    expect_scores(f, session, (const float[]){1, 2, 3}, bias_default);
    assert_int_equal(count.calls, 1);
    mtl_session_destroy(session);
}

typedef struct worker {
    fixture *f;
    int number;
    bool right;
} worker;

static void *work(void *argument)
{
    worker *w = argument;
    float y[ROWS], z[ROWS * 3], alpha[3];
    mtl_session *session = open_session(w->f->plan, 16, 0);
    w->right = true;
    for (int turn = 0; turn < 500; turn++) {
        for (int i = 0; i < 3; i++) {
            alpha[i] = (float)(w->number * 1000 + turn + i);
        }
        w->right &= mtl_session_set_param(session, 0, alpha, NULL) == MTL_OK &&
                    mtl_session_run(session, ROWS, (const void *[]){w->f->p}, (void *[]){y, z}, NULL) == MTL_OK;
        for (int i = 0; i < ROWS * 3; i++) {
            w->right &= z[i] == -alpha[i % 3] * w->f->p[i];
        }
    }
    mtl_session_destroy(session);
    return NULL;
}

static void sessions_of_one_plan_run_at_once(void **state)
{
    enum { THREADS = 4 };
    worker workers[THREADS];
    pthread_t ids[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.f = *state, .number = i + 1};
        assert_int_equal(pthread_create(&ids[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(ids[i], NULL);
        assert_true(workers[i].right);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_of_params_is_checked),
        cmocka_unit_test(random_damage_never_crashes),
        cmocka_unit_test(plans_without_params_need_no_new_reader),
        TEST(the_plan_lists_its_params),
        TEST(each_session_has_values_of_its_own),
        TEST(values_are_taken_as_they_are),
        TEST(wrong_calls_say_so),
        TEST(the_workspace_holds_the_params),
        TEST(sessions_of_one_plan_run_at_once),
    };
#undef TEST
    return cmocka_run_group_tests_name("params", tests, NULL, NULL);
}
