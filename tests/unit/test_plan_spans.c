/* Spans in plans: what the checker proves of steps that compute some positions only, and of those who read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "plan/build.h"
#include "plan/plan.h"

enum { LENGTH = 10, WIDTH = 4, SOFTMAX = 9 };

/* The plan: x (B, 10, 4) and the masks k, l (B, 10) come in;
 *     0 equal k, l -> m           1 tanh x -> a          2 linear a -> b    3 add b, places -> b
 *     4 attention b, b, b -> d    5 layer_norm d -> e    6 mix shares, e -> y
 * Steps 1 to 6 are in the span of m. */
enum { S_MASK, S_TANH, S_LINEAR, S_ADD, S_ATTENTION, S_NORM, S_MIX, S_COUNT };
enum { X, K, L, SHARES, M, A, B, D, E, Y, PLACES, ALIKE, W, OTHER, FLAT, WINDOW, USER, T_COUNT };

typedef struct damage {
    const char *expected; /* in the message; NULL: it is a plan */
    int step;             /* what is changed there: */
    int span;             /* its span, -1: it has none */
    int input, operand;   /* input `input`, -1: none, is tensor `operand` */
    int output;           /* its output, 0: as it is */
    int64_t axis; /* of layer_norm, 0: as it is, SOFTMAX: it is one; of mix: not 0: all weights are of vector 0 */
    int again;    /* this is written once more before it, from an input; 0: nothing is */
    bool whole;
} damage;

typedef struct plan {
    base_arena arena;
    plan_builder *builder;
    uint32_t tensor[T_COUNT];
    uint64_t row_bytes;
    int named;
} plan;

static uint32_t add_tensor(plan *p, plan_tensor record, const mtl_dim *dims)
{
    const char name[] = {(char)('a' + p->named++), '\0'};
    uint32_t tensor;
    assert_int_equal(plan_add_string(p->builder, name, &record.name), MTL_OK);
    assert_int_equal(plan_add_tensor(p->builder, &record, dims, &tensor), MTL_OK);
    return tensor;
}

/* (B, 10, 4), or of another width, or (B, 10). */
static uint32_t add_rows(plan *p, plan_storage storage, uint32_t index, mtl_dtype dtype, int64_t width)
{
    const mtl_dim dims[] = {{.per_row = 1}, {.fixed = LENGTH}, {.fixed = width}};
    plan_tensor record = {.dtype = (uint8_t)dtype,
                          .rank = width == 0 ? 2 : 3,
                          .storage = (uint8_t)storage,
                          .index = index,
                          .offset = storage == PLAN_STORAGE_ROW ? p->row_bytes : 0};
    if (storage == PLAN_STORAGE_ROW) {
        p->row_bytes += (LENGTH * (width == 0 ? 1 : (uint64_t)width) * mtl_dtype_size(dtype) + 3) / 4 * 4;
    }
    return add_tensor(p, record, dims);
}

static uint32_t add_const(plan *p, plan_layout layout, int rank, mtl_dim a, mtl_dim b, mtl_dim c)
{
    static const float zeros[256];
    const mtl_dim dims[] = {a, b, c};
    plan_tensor record = {
        .dtype = MTL_F32, .rank = (uint8_t)rank, .storage = PLAN_STORAGE_CONST, .layout = (uint8_t)layout};
    assert_int_equal(plan_add_const(p->builder, zeros, sizeof zeros, &record.offset), MTL_OK);
    return add_tensor(p, record, dims);
}

static void add_tensors(plan *p)
{
    const mtl_dim one = {.fixed = 1}, width = {.fixed = WIDTH}, length = {.fixed = LENGTH}, rows = {.per_row = 1};
    uint32_t *t = p->tensor;
    t[X] = add_rows(p, PLAN_STORAGE_INPUT, 0, MTL_F32, WIDTH);
    t[K] = add_rows(p, PLAN_STORAGE_INPUT, 1, MTL_BOOL, 0);
    t[L] = add_rows(p, PLAN_STORAGE_INPUT, 2, MTL_BOOL, 0);
    t[SHARES] = add_tensor(p, (plan_tensor){.dtype = MTL_F32, .rank = 3, .storage = PLAN_STORAGE_INPUT, .index = 3},
                           (mtl_dim[]){rows, one, length});
    t[USER] = add_tensor(p, (plan_tensor){.dtype = MTL_F32, .rank = 3, .storage = PLAN_STORAGE_INPUT, .index = 4},
                         (mtl_dim[]){rows, one, width});
    t[M] = add_rows(p, PLAN_STORAGE_ROW, 0, MTL_BOOL, 0);
    for (int i = A; i <= E; i++) {
        t[i] = add_rows(p, PLAN_STORAGE_ROW, 0, MTL_F32, WIDTH);
    }
    t[OTHER] = add_rows(p, PLAN_STORAGE_ROW, 0, MTL_BOOL, 0);
    t[FLAT] = add_tensor(p, (plan_tensor){.dtype = MTL_F32, .rank = 2, .storage = PLAN_STORAGE_ROW},
                         (mtl_dim[]){rows, {.fixed = LENGTH * WIDTH}});
    t[WINDOW] = add_tensor(
        p, (plan_tensor){.dtype = MTL_BOOL, .rank = 2, .storage = PLAN_STORAGE_INPUT, .index = 5, .pitch = 2 * LENGTH},
        (mtl_dim[]){rows, length});
    t[Y] = add_tensor(p, (plan_tensor){.dtype = MTL_F32, .rank = 3, .storage = PLAN_STORAGE_OUTPUT},
                      (mtl_dim[]){rows, one, width});
    t[PLACES] = add_const(p, PLAN_LAYOUT_DENSE, 2, length, width, one);
    t[ALIKE] = add_const(p, PLAN_LAYOUT_DENSE, 3, one, length, width);
    t[W] = add_const(p, PLAN_LAYOUT_PANELS, 3, one, width, width);
    const uint32_t inputs[] = {t[X], t[K], t[L], t[SHARES], t[USER]};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        assert_int_equal(plan_add_input(p->builder, inputs[i]), MTL_OK);
    }
    const uint32_t both =
        add_tensor(p, (plan_tensor){.dtype = MTL_BOOL, .rank = 2, .storage = PLAN_STORAGE_INPUT, .index = 5},
                   (mtl_dim[]){rows, {.fixed = 2 * LENGTH}});
    assert_int_equal(plan_add_input(p->builder, both), MTL_OK);
    assert_int_equal(plan_add_output(p->builder, t[Y]), MTL_OK);
}

static void add_step(plan *p, const damage *d, int step)
{
    static const struct {
        plan_op op;
        unsigned function, input_count, attr_count;
        int inputs[3], output;
    } steps[] = {
        [S_MASK] = {PLAN_OP_binary, PLAN_BINARY_equal, 2, 0, {K, L}, M},
        [S_TANH] = {PLAN_OP_unary, PLAN_UNARY_tanh, 1, 2, {X}, A},
        [S_LINEAR] = {PLAN_OP_linear, 0, 2, 3, {A, W}, B},
        [S_ADD] = {PLAN_OP_binary, PLAN_BINARY_add, 2, 0, {B, PLACES}, B},
        [S_ATTENTION] = {PLAN_OP_attention, 0, 3, PLAN_ATTENTION_ATTRS, {B, B, B}, D},
        [S_NORM] = {PLAN_OP_layer_norm, 0, 1, 2, {D}, E},
        [S_MIX] = {PLAN_OP_mix, 0, 2, LENGTH, {SHARES, E}, Y},
    };
    int64_t attrs[LENGTH] = {0};
    uint32_t inputs[3];
    bool here = d->step == step;
    for (unsigned i = 0; i < steps[step].input_count; i++) {
        inputs[i] = p->tensor[here && d->input == (int)i ? d->operand : steps[step].inputs[i]];
    }
    for (int i = 0; step == S_MIX && i < LENGTH; i++) {
        attrs[i] = here && d->axis != 0 ? 0 : i;
    }
    if (step == S_NORM) {
        attrs[0] = here && d->axis != 0 ? d->axis : 2;
    } else if (step == S_ATTENTION) {
        attrs[PLAN_ATTENTION_HEADS] = 1;
        attrs[PLAN_ATTENTION_SIZE] = attrs[PLAN_ATTENTION_VALUE_SIZE] = WIDTH;
    }
    if (here && d->again != 0) {
        const bool mask = d->again == M;
        const uint32_t from = p->tensor[mask ? L : X];
        assert_int_equal(plan_add_step(p->builder, PLAN_OP_unary, mask ? PLAN_UNARY_not : PLAN_UNARY_tanh, &from, 1,
                                       p->tensor[d->again], (int64_t[2]){0}, 2, "again"),
                         MTL_OK);
    }
    const bool softmax = step == S_NORM && here && d->axis == SOFTMAX;
    attrs[0] = softmax ? 2 : attrs[0];
    assert_int_equal(plan_add_step(p->builder, softmax ? PLAN_OP_softmax : steps[step].op,
                                   softmax ? PLAN_SOFTMAX_softmax : steps[step].function, inputs,
                                   steps[step].input_count,
                                   p->tensor[here && d->output != 0 ? d->output : steps[step].output], attrs,
                                   softmax ? 1 : steps[step].attr_count, "node"),
                     MTL_OK);
    int span = here ? d->span : step == S_MASK ? -1 : M;
    if (span >= 0) {
        plan_add_span(p->builder, span < T_COUNT ? p->tensor[span] : (uint32_t)span, here && d->whole);
    }
}

static const damage damages[] = {
    {NULL, S_TANH, M, -1, 0, 0, 0, 0, false},
    {NULL, S_TANH, -1, -1, 0, 0, 0, 0, false},
    /* the mask */
    {"this operation has no span", S_NORM, M, -1, 0, 0, SOFTMAX, 0, false},
    {"the output is bool (B, 10)", S_MASK, K, -1, 0, 0, 0, 0, false},
    {"the span's mask is tensor 1000 of", S_TANH, 1000, -1, 0, 0, 0, 0, false},
    {"the span's mask is float32 (B, 10, 4)", S_TANH, X, -1, 0, 0, 0, 0, false},
    {"the span's mask is float32 (B, 40)", S_TANH, FLAT, -1, 0, 0, 0, 0, false},
    {"the span's mask is bool (B, 10), expected a dense", S_TANH, WINDOW, -1, 0, 0, 0, 0, false},
    {"is read before it is written", S_TANH, OTHER, -1, 0, 0, 0, 0, false},
    /* operands */
    {"input 1 has neither the positions", S_ADD, M, 1, USER, 0, 0, 0, false},
    {"input 1 does not have the positions", S_ATTENTION, M, 1, ALIKE, 0, 0, 0, false},
    {"axis 1 is not one of a position", S_NORM, M, -1, 0, 0, 1, 0, false},
    {"a weight of its own for each position", S_MIX, M, -1, 0, 0, 1, 0, false},
    /* what flows */
    {"computed in a span only", S_LINEAR, -1, -1, 0, 0, 0, 0, false},
    {"computed in a span only", S_ATTENTION, -1, -1, 0, 0, 0, 0, false},
    {"computed in a span only", S_MIX, -1, -1, 0, 0, 0, 0, false},
    {"computed in a span only", S_LINEAR, K, -1, 0, 0, 0, 0, false},
    {"computed in a span only", S_NORM, L, -1, 0, 0, 0, 0, false},
    {"computed in a span only", S_ADD, M, -1, 0, 0, 0, M, false}, /* by a mask that is not what it was */
    {NULL, S_ADD, M, -1, 0, 0, 0, B, false},                      /* another whole value in its place */
    {NULL, S_ADD, -1, -1, 0, 0, 0, B, false},
    {"computed in a span only", S_LINEAR, M, -1, 0, 0, 0, 0, true},
};

static mtl_status build(const damage *d, mtl_error *error)
{
    plan p = {.builder = NULL};
    base_diag diag = {.error = error};
    const void *data;
    size_t size;
    assert_int_equal(plan_builder_new(&p.arena, &diag, &p.builder), MTL_OK);
    add_tensors(&p);
    for (int step = 0; step < S_COUNT; step++) {
        add_step(&p, d, step);
    }
    plan_meta meta = {.row_bytes = p.row_bytes};
    mtl_status status = plan_build(p.builder, &meta, &data, &size);
    if (status == MTL_OK) {
        assert_int_equal(((const plan_header *)data)->reader_minor, PLAN_SPAN_SINCE);
    }
    base_arena_free(&p.arena);
    return status;
}

static void spans_are_proved(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        const damage *d = &damages[i];
        mtl_error error = {0};
        mtl_status status = build(d, &error);
        if (d->expected == NULL ? status != MTL_OK : status == MTL_OK || strstr(error.message, d->expected) == NULL) {
            fail_msg("%zu: expected %s, found %s: %s", i, d->expected != NULL ? d->expected : "a plan",
                     mtl_status_name(status), error.message);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(spans_are_proved)};
    return cmocka_run_group_tests_name("plan_spans", tests, NULL, NULL);
}
