/* Windows of rows in plans: what the checker proves of the columns that flow between steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "plan/build.h"
#include "plan/plan.h"

enum { OFFSETS = 12, MOST_WIDE = 6, WRITES = 12, ROUNDS = 20000 };

typedef struct part {
    uint32_t offset, pitch, start, width; /* elements of a row; pitch 0: dense */
} part;

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 20) % below;
}

static uint32_t add_part(plan_builder *builder, plan_storage storage, part of)
{
    mtl_dim dims[] = {{.per_row = 1}, {.fixed = of.width}};
    plan_tensor record = {.dtype = MTL_F32,
                          .rank = 2,
                          .storage = (uint8_t)storage,
                          .offset = storage == PLAN_STORAGE_ROW ? of.offset * 4 : 0,
                          .start = of.start,
                          .pitch = of.pitch};
    uint32_t tensor;
    assert_int_equal(plan_add_string(builder, storage == PLAN_STORAGE_INPUT ? "x" : "y", &record.name), MTL_OK);
    assert_int_equal(plan_add_tensor(builder, &record, dims, &tensor), MTL_OK);
    return tensor;
}

static void add_expand(plan_builder *builder, uint32_t from, uint32_t to)
{
    assert_int_equal(plan_add_step(builder, PLAN_OP_expand, 0, &from, 1, to, NULL, 0, ""), MTL_OK);
}

static mtl_status build(plan_builder *builder, uint32_t input, uint32_t output)
{
    plan_meta meta = {.row_bytes = (OFFSETS + MOST_WIDE) * 4};
    const void *data;
    size_t size;
    assert_int_equal(plan_add_input(builder, input), MTL_OK);
    assert_int_equal(plan_add_output(builder, output), MTL_OK);
    return plan_build(builder, &meta, &data, &size);
}

static part random_part(void)
{
    part of = {.offset = draw(OFFSETS) / 3 * 3, .width = 1 + draw(MOST_WIDE)};
    if (draw(4) != 0) {
        of.pitch = draw(2) != 0 ? MOST_WIDE : of.width;
        of.start = draw(of.pitch - of.width + 1);
    }
    return of;
}

static uint32_t width_of(part of)
{
    return of.pitch != 0 ? of.pitch : of.width;
}

/* Which groups of rows live, and which of their columns are written, by going through all. */
typedef struct group {
    uint32_t offset, width;
    int live, written[MOST_WIDE];
} group;

static void write_part(group *groups, size_t count, part of)
{
    group *own = NULL;
    for (size_t i = 0; i < count; i++) {
        group *other = &groups[i];
        if (other->live && other->offset == of.offset && other->width == width_of(of)) {
            own = other;
        } else if (other->offset < of.offset + width_of(of) && of.offset < other->offset + other->width) {
            other->live = 0;
        }
    }
    for (size_t i = 0; own == NULL; i++) {
        if (!groups[i].live) {
            own = &groups[i];
            *own = (group){.offset = of.offset, .width = width_of(of), .live = 1};
        }
    }
    for (uint32_t column = 0; column < of.width; column++) {
        own->written[of.start + column] = 1;
    }
}

static int is_written(const group *groups, size_t count, part of)
{
    for (size_t i = 0; i < count; i++) {
        if (groups[i].live && groups[i].offset == of.offset && groups[i].width == width_of(of)) {
            for (uint32_t column = 0; column < of.width; column++) {
                if (!groups[i].written[of.start + column]) {
                    return 0;
                }
            }
            return 1;
        }
    }
    return 0;
}

static void columns_are_read_after_they_are_written(void **state)
{
    (void)state;
    int whole = 0;
    seed = 88172645463325252;
    for (int round = 0; round < ROUNDS; round++) {
        base_arena arena = {0};
        plan_builder *builder;
        group groups[WRITES + 1] = {{0}};
        assert_int_equal(plan_builder_new(&arena, NULL, &builder), MTL_OK);
        uint32_t input = add_part(builder, PLAN_STORAGE_INPUT, (part){.width = 1});
        uint32_t writes = 1 + draw(WRITES);
        for (uint32_t i = 0; i < writes; i++) {
            part of = random_part();
            add_expand(builder, input, add_part(builder, PLAN_STORAGE_ROW, of));
            write_part(groups, WRITES + 1, of);
        }
        part of = random_part();
        uint32_t output = add_part(builder, PLAN_STORAGE_OUTPUT, (part){.width = of.width});
        uint32_t read = add_part(builder, PLAN_STORAGE_ROW, of);
        assert_int_equal(plan_add_step(builder, PLAN_OP_copy, 0, &read, 1, output, NULL, 0, ""), MTL_OK);
        int expected = is_written(groups, WRITES + 1, of);
        assert_int_equal(build(builder, input, output), expected ? MTL_OK : MTL_INTERNAL);
        whole += expected;
        base_arena_free(&arena);
    }
    assert_true(whole > ROUNDS / 20 && whole < ROUNDS / 2);
}

/* An output is written when its windows cover it. */
static void outputs_are_covered(void **state)
{
    (void)state;
    static const struct {
        part parts[3];
        int covered;
    } cases[] = {
        {{{.pitch = 6, .start = 0, .width = 4}, {.pitch = 6, .start = 4, .width = 2}}, 1},
        {{{.pitch = 6, .start = 3, .width = 3},
          {.pitch = 6, .start = 0, .width = 2},
          {.pitch = 6, .start = 1, .width = 2}},
         1},
        {{{.pitch = 6, .start = 0, .width = 5}}, 0},
        {{{.pitch = 6, .start = 1, .width = 5}}, 0},
        {{{.pitch = 6, .start = 0, .width = 2}, {.pitch = 6, .start = 3, .width = 3}}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        base_arena arena = {0};
        plan_builder *builder;
        assert_int_equal(plan_builder_new(&arena, NULL, &builder), MTL_OK);
        uint32_t input = add_part(builder, PLAN_STORAGE_INPUT, (part){.width = 1});
        uint32_t output = add_part(builder, PLAN_STORAGE_OUTPUT, (part){.width = 6});
        for (size_t k = 0; k < 3 && cases[i].parts[k].width > 0; k++) {
            add_expand(builder, input, add_part(builder, PLAN_STORAGE_OUTPUT, cases[i].parts[k]));
        }
        assert_int_equal(build(builder, input, output), cases[i].covered ? MTL_OK : MTL_INTERNAL);
        base_arena_free(&arena);
    }
}

/* What a step reads and writes does not overlap, but element by element where that is allowed. */
static void steps_do_not_write_what_they_read(void **state)
{
    (void)state;
    static const struct {
        part from, to;
        int allowed;
    } cases[] = {
        {{.pitch = 6, .width = 3}, {.pitch = 6, .start = 3, .width = 3}, 1},
        {{.pitch = 6, .width = 3}, {.pitch = 6, .width = 3}, 1},
        {{.pitch = 6, .width = 3}, {.pitch = 6, .start = 2, .width = 3}, 0},
        {{.pitch = 6, .width = 3}, {.pitch = 4, .width = 3}, 0},
        {{.pitch = 6, .width = 3}, {.offset = 3, .width = 3}, 0},
        {{.pitch = 6, .width = 3}, {.offset = 6, .width = 3}, 1},
        {{.pitch = 3, .width = 3}, {.width = 3}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        base_arena arena = {0};
        plan_builder *builder;
        assert_int_equal(plan_builder_new(&arena, NULL, &builder), MTL_OK);
        uint32_t input = add_part(builder, PLAN_STORAGE_INPUT, (part){.width = 1});
        uint32_t output = add_part(builder, PLAN_STORAGE_OUTPUT, (part){.width = 3});
        uint32_t from = add_part(builder, PLAN_STORAGE_ROW, cases[i].from);
        uint32_t to = add_part(builder, PLAN_STORAGE_ROW, cases[i].to);
        const int64_t none[2] = {0};
        add_expand(builder, input, from);
        assert_int_equal(plan_add_step(builder, PLAN_OP_unary, PLAN_UNARY_relu, &from, 1, to, none, 2, ""), MTL_OK);
        assert_int_equal(plan_add_step(builder, PLAN_OP_copy, 0, &to, 1, output, NULL, 0, ""), MTL_OK);
        assert_int_equal(build(builder, input, output), cases[i].allowed ? MTL_OK : MTL_INTERNAL);
        base_arena_free(&arena);
    }
}

/* Many columns of one group, from both ends, and a read of all after each: a minute would tell quadratic time. */
static void many_columns_are_checked_in_time(void **state)
{
    (void)state;
    enum { COLUMNS = 100000 };
    base_arena arena = {0};
    plan_builder *builder;
    assert_int_equal(plan_builder_new(&arena, NULL, &builder), MTL_OK);
    uint32_t input = add_part(builder, PLAN_STORAGE_INPUT, (part){.width = 1});
    uint32_t output = add_part(builder, PLAN_STORAGE_OUTPUT, (part){.width = COLUMNS});
    for (uint32_t i = 0; i < COLUMNS; i++) { /* every other one, then those between */
        uint32_t column = i < COLUMNS / 2 ? 2 * i : 2 * (COLUMNS - 1 - i) + 1;
        add_expand(builder, input,
                   add_part(builder, PLAN_STORAGE_OUTPUT, (part){.pitch = COLUMNS, .start = column, .width = 1}));
    }
    assert_int_equal(build(builder, input, output), MTL_OK);
    base_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_read_after_they_are_written),
        cmocka_unit_test(outputs_are_covered),
        cmocka_unit_test(steps_do_not_write_what_they_read),
        cmocka_unit_test(many_columns_are_checked_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
