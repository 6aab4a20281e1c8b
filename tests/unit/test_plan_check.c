#define _POSIX_C_SOURCE 200809L /* posix_memalign */
/* Damaged plans: every byte flipped, every length cut, and each rule of the checker broken behind right checksums. */
#include "plan_fixture.h"

#include <stdio.h>

static mtl_status check(const unsigned char *file, size_t size, mtl_error *error)
{
    base_diag diag = {.error = error, .file = "plan.bin"};
    plan_view view;
    error->message[0] = '\0';
    mtl_status status = plan_check(file, size, false, &diag, &view);
    assert_int_equal(status != MTL_OK, error->message[0] != '\0');
    return status;
}

static void every_flipped_byte_is_found(void **state)
{
    (void)state;
    size_t size;
    mtl_error error;
    unsigned char *file = fixture_plan(&size);
    static const unsigned char masks[] = {0xff, 0x01, 0x80};
    for (size_t i = 0; i < size; i++) {
        for (size_t mask = 0; mask < sizeof masks; mask++) {
            file[i] ^= masks[mask];
            assert_int_not_equal(check(file, size, &error), MTL_OK);
            file[i] ^= masks[mask];
        }
    }
    assert_int_equal(check(file, size, &error), MTL_OK);
    free(file);
}

static void every_truncation_is_found(void **state)
{
    (void)state;
    size_t size;
    mtl_error error;
    unsigned char *file = fixture_plan(&size);
    for (size_t length = 0; length < size; length++) {
        void *cut; /* of its own, so that a sanitizer sees a read behind it */
        assert_int_equal(posix_memalign(&cut, PLAN_ALIGNMENT, length > 0 ? length : 1), 0);
        memcpy(cut, file, length);
        assert_int_equal(check(cut, length, &error), MTL_INVALID_DATA);
        free(cut);
    }
    free(file);
}

static void constants_can_be_checked_later(void **state)
{
    (void)state;
    size_t size;
    mtl_error error;
    base_diag diag = {.error = &error};
    plan_view view;
    unsigned char *file = fixture_plan(&size);
    assert_int_equal(plan_check(file, size, true, &diag, &view), MTL_OK);
    assert_int_equal(plan_check_consts(&view, &diag), MTL_OK);
    file[size - 100] ^= 1;
    assert_int_equal(plan_check(file, size, true, &diag, &view), MTL_OK);
    assert_int_equal(plan_check_consts(&view, &diag), MTL_INVALID_DATA);
    assert_non_null(strstr(error.message, "checksum"));
    free(file);
}

/* A number written over a field: at `field` of record `record` of a section; kind 0 is the header, -1 its table. */
typedef struct patch {
    int kind;
    size_t record, record_size, field, size;
    uint64_t value;
} patch;

#define HEADER(field_, value_)                                                                                         \
    {                                                                                                                  \
        0, 0, 0, offsetof(plan_header, field_), sizeof(((plan_header *)0)->field_), value_                             \
    }
#define SECTION(kind_, field_, value_)                                                                                 \
    {                                                                                                                  \
        -1, kind_ - 1, sizeof(plan_section), offsetof(plan_section, field_), sizeof(((plan_section *)0)->field_),      \
            value_                                                                                                     \
    }
#define META(field_, value_)                                                                                           \
    {                                                                                                                  \
        PLAN_SECTION_META, 0, 0, offsetof(plan_meta, field_), sizeof(((plan_meta *)0)->field_), value_                 \
    }
#define TENSOR(i, field_, value_)                                                                                      \
    {                                                                                                                  \
        PLAN_SECTION_TENSORS, i, sizeof(plan_tensor), offsetof(plan_tensor, field_),                                   \
            sizeof(((plan_tensor *)0)->field_), (uint64_t)(value_)                                                     \
    }
#define COLUMNS(i, field_, value_)                                                                                     \
    {                                                                                                                  \
        PLAN_SECTION_COLUMNS, i, sizeof(plan_columns), offsetof(plan_columns, field_),                                 \
            sizeof(((plan_columns *)0)->field_), value_                                                                \
    }
#define STEP(i, field_, value_)                                                                                        \
    {                                                                                                                  \
        PLAN_SECTION_STEPS, i, sizeof(plan_step), offsetof(plan_step, field_), sizeof(((plan_step *)0)->field_),       \
            value_                                                                                                     \
    }
/* Extent `axis` of tensor i, operand or attribute `n` of step i: resolved when applied. */
enum { DIM = 100, OPERAND = 101, ATTR = 102 };
#define DIMENSION(i, axis, field_, value_)                                                                             \
    {                                                                                                                  \
        DIM, i, axis, offsetof(mtl_dim, field_), sizeof(int64_t), (uint64_t)(value_)                                   \
    }
#define OPERAND_OF(i, n, value_)                                                                                       \
    {                                                                                                                  \
        OPERAND, i, n, 0, sizeof(uint32_t), value_                                                                     \
    }
#define ATTR_OF(i, n, value_)                                                                                          \
    {                                                                                                                  \
        ATTR, i, n, 0, sizeof(int64_t), (uint64_t)(value_)                                                             \
    }

static unsigned char *find_patch(unsigned char *file, const patch *one)
{
    const plan_tensor *tensors = (plan_tensor *)(void *)(file + section_of(file, PLAN_SECTION_TENSORS)->offset);
    const plan_step *steps = (plan_step *)(void *)(file + section_of(file, PLAN_SECTION_STEPS)->offset);
    switch (one->kind) {
    case 0: return file + one->field;
    case -1: return file + sizeof(plan_header) + one->record * one->record_size + one->field;
    case DIM:
        return file + section_of(file, PLAN_SECTION_DIMS)->offset +
               (tensors[one->record].dims + one->record_size) * sizeof(mtl_dim) + one->field;
    case OPERAND:
        return file + section_of(file, PLAN_SECTION_OPERANDS)->offset +
               (steps[one->record].operands + one->record_size) * sizeof(uint32_t);
    case ATTR:
        return file + section_of(file, PLAN_SECTION_ATTRS)->offset +
               (steps[one->record].attrs + one->record_size) * sizeof(int64_t);
    default: return file + section_of(file, one->kind)->offset + one->record * one->record_size + one->field;
    }
}

typedef struct damage {
    const char *expected; /* in the message */
    patch patches[6];     /* up to the first of size 0 */
} damage;

#define HUGE_NUMBER 0x7fffffffffffffff

static const damage damages[] = {
    {"not a plan", {HEADER(magic[0], 'X')}},
    {"byte order", {HEADER(byte_order, 0x04030201)}},
    {"needs a reader of format 2.1", {HEADER(version_major, 2), HEADER(reader_major, 2)}},
    {"needs a reader of format 1.4", {HEADER(version_minor, 4), HEADER(reader_minor, 4)}},
    {"is older than this reader reads (1.1)", {HEADER(version_minor, 0), HEADER(reader_minor, 0)}},
    {"is none", {HEADER(version_major, 0)}},
    {"is none", {HEADER(reader_major, 0)}},
    {"byte 20: 8 sections", {HEADER(section_count, 8)}},
    {"byte 20: 11 sections", {HEADER(section_count, 11)}},
    {"header says 1", {HEADER(file_size, 1)}},
    {"byte 48: reserved", {HEADER(reserved[1], 1)}},
    {"kinds ascend", {SECTION(PLAN_SECTION_DIMS, kind, 9)}},
    {"reserved bytes of section 4", {SECTION(PLAN_SECTION_DIMS, reserved, 1)}},
    {"section 4 runs past the end", {SECTION(PLAN_SECTION_DIMS, size, UINT64_MAX)}},
    {"section 4 runs past the end", {SECTION(PLAN_SECTION_DIMS, offset, UINT64_MAX)}},
    {"section 4 starts at 64", {SECTION(PLAN_SECTION_DIMS, offset, 64)}},
    {"goes on behind its last section", {SECTION(PLAN_SECTION_COLUMNS, size, 24)}},
    {"format 1.3 has no section of kind 11", {SECTION(PLAN_SECTION_COLUMNS, kind, 11)}},
    {"columns 7..12 of 11", {COLUMNS(1, width, 11)}},
    {"columns 8..13 of 12", {COLUMNS(1, from, 8)}},
    {"columns 0..0 of 12", {COLUMNS(0, count, 0)}},
    {"columns 0..3 of 12 are input 3's", {COLUMNS(0, input, 3)}},
    {"or have no name", {COLUMNS(0, source, 0)}},
    {"or have no name", {COLUMNS(0, source, 1 << 20)}},
    {"or have no name", {COLUMNS(0, reserved, 1)}},
    {"input 0 does not have 7 columns", {COLUMNS(0, count, 2)}},
    {"input 2 does not have 8 columns", {COLUMNS(0, input, 2), COLUMNS(1, input, 2)}},
    {"section 3 has", {SECTION(PLAN_SECTION_TENSORS, size, 19 * sizeof(plan_tensor) - 1)}},
    {"gap before section 2",
     {META(param_count, 0), {PLAN_SECTION_STRINGS, 0, 0, 0, 1, 0}, SECTION(2, size, 1), SECTION(2, offset, 512)}},
    {"strings begin", {{PLAN_SECTION_STRINGS, 0, 0, 0, 1, 'x'}}},
    {"control character", {{PLAN_SECTION_STRINGS, 0, 0, 1, 1, '\n'}}},
    {"unknown flags", {META(flags, 2)}},
    {"in the signature", {META(input_count, 4)}},
    {"in the signature", {META(input_count, 6), META(output_count, 0)}},
    {"request steps", {META(request_step_count, S_COUNT + 1)}},
    {"request workspace", {META(request_bytes, 65)}},
    {"request workspace", {META(request_bytes, HUGE_NUMBER - 63)}},
    {"workspace a row", {META(row_bytes, 102)}},
    {"workspace a row", {META(row_bytes, (uint64_t)1 << 62)}},
    {"no string", {META(producer, 2)}},
    {"in the signature", {META(param_count, 1)}},
    {"is no string", {TENSOR(T_X, name, 99999)}},
    {"unknown dtype", {TENSOR(T_X, dtype, 14)}},
    {"rank 9", {TENSOR(T_X, rank, 9)}},
    {"from extent 4294967295", {TENSOR(T_X, dims, UINT32_MAX)}},
    {"unknown storage", {TENSOR(T_X, storage, 7)}},
    {"unknown storage", {TENSOR(T_X, storage, 0)}},
    {"unknown layout", {TENSOR(T_W1, layout, 3)}},
    {"only float32 constants", {TENSOR(T_X, layout, PLAN_LAYOUT_PANELS)}},
    {"only float32 constants", {TENSOR(T_W1, dtype, MTL_I32)}},
    {"do not fit its storage", {TENSOR(T_X, offset, 64)}},
    {"do not fit its storage", {TENSOR(T_HIDDEN, index, 1)}},
    {"input 3 of 3", {TENSOR(T_HIDDEN_GROUPS, storage, PLAN_STORAGE_INPUT), TENSOR(T_HIDDEN_GROUPS, index, 3)}},
    {"views input 0", {TENSOR(T_HIDDEN_GROUPS, storage, PLAN_STORAGE_INPUT)}},
    {"coefficients", {DIMENSION(T_X, 1, fixed, -1)}},
    {"coefficients", {DIMENSION(T_X, 0, per_row, HUGE_NUMBER)}},
    {"coefficients", {DIMENSION(T_X, 0, per_user, -8)}},
    {"tiles of rows cannot hold", {DIMENSION(T_HIDDEN, 0, fixed, 1)}},
    {"2^48 bytes",
     {DIMENSION(T_HIDDEN, 0, per_row, (int64_t)1 << 40), DIMENSION(T_HIDDEN, 1, fixed, (int64_t)1 << 40)}},
    {"2^48 bytes",
     {DIMENSION(T_EXPERTS, 1, fixed, 0), DIMENSION(T_EXPERTS, 0, per_row, (int64_t)1 << 40),
      DIMENSION(T_EXPERTS, 2, fixed, (int64_t)1 << 40)}},
    {"2 axes grow", {DIMENSION(T_HIDDEN, 1, fixed, 0), DIMENSION(T_HIDDEN, 1, per_row, 20)}},
    {"grows with users", {DIMENSION(T_HIDDEN, 0, per_row, 0), DIMENSION(T_HIDDEN, 0, per_user, 1)}},
    {"axis 0 grows with rows and users", {DIMENSION(T_HIDDEN, 0, per_user, 1)}},
    {"axis 0 of an output grows with users", {DIMENSION(T_OUT_Y, 0, per_row, 0), DIMENSION(T_OUT_Y, 0, per_user, 1)}},
    {"grows with rows, but", {DIMENSION(T_USER_RELU, 0, fixed, 0), DIMENSION(T_USER_RELU, 0, per_row, 4)}},
    {"of a constant is not fixed", {DIMENSION(T_W1, 0, fixed, 0), DIMENSION(T_W1, 0, per_row, 1)}},
    {"does not fit its layout", {TENSOR(T_W1, rank, 2)}},
    {"of constants", {TENSOR(T_W1, offset, 1 << 20)}},
    {"of constants", {TENSOR(T_W1, offset, 32)}},
    {"of constants", {TENSOR(T_W1, offset, UINT64_MAX - 63)}},
    {"of constants", {DIMENSION(T_TABLE, 0, fixed, 100000)}},
    {"of a workspace of 104", {TENSOR(T_HIDDEN, offset, 28)}},
    {"of a workspace of 104", {TENSOR(T_HIDDEN, offset, 2)}},
    {"of a workspace of 104", {TENSOR(T_HIDDEN, offset, UINT64_MAX - 3)}},
    {"of a workspace of 64", {TENSOR(T_USER_RELU, offset, 64)}},
    {"of a workspace of 64", {TENSOR(T_USER_RELU, offset, 16)}},
    {"before the candidates' of an input",
     {DIMENSION(T_X, 0, fixed, 2), DIMENSION(T_X, 0, per_row, 0), DIMENSION(T_X, 1, fixed, 0),
      DIMENSION(T_X, 1, per_row, 1)}},
    {"which is none", {{PLAN_SECTION_SIGNATURE, 0, 4, 0, 4, 99}}},
    {"which is none", {{PLAN_SECTION_SIGNATURE, 1, 4, 0, 4, T_X}}},
    {"two inputs are called", {TENSOR(T_USER, name, 0)}},
    {"unknown op 0", {STEP(S_SUM, op, 0)}},
    {"unknown op 999", {STEP(S_SUM, op, 999)}},
    {"operands from", {STEP(S_SUM, operands, 0)}},
    {"attributes from", {STEP(S_SUM, attrs, UINT32_MAX)}},
    {"operands from", {STEP(S_STORE, input_count, 2)}},
    {"belong to no step",
     {STEP(S_STORE, input_count, 0), STEP(S_STORE, op, PLAN_OP_extents), OPERAND_OF(S_STORE, 0, T_OUT_EXPERTS),
      TENSOR(T_OUT_EXPERTS, dtype, MTL_I64), TENSOR(T_OUT_EXPERTS, rank, 1), DIMENSION(T_OUT_EXPERTS, 0, fixed, 0)}},
    {"spans are of format 1.3", {STEP(S_SUM, span, 1)}},
    {"the span's mask is tensor 2147483646 of", {HEADER(reader_minor, 3), STEP(S_SUM, span, 0xffffffff)}},
    {"is no string", {STEP(S_SUM, label, 4)}},
    {"function 9 is none", {STEP(S_SUM, function, 9)}},
    {"function 0 is none", {STEP(S_SUM, function, 0)}},
    {"function 1 is none", {STEP(S_CONCAT, function, 1)}},
    {"expected 2", {STEP(S_SUM, op, PLAN_OP_matmul)}},
    {"operand 0 is tensor 77", {OPERAND_OF(S_SUM, 0, 77)}},
    {"operand 0 is tensor 4294967295", {OPERAND_OF(S_SUM, 0, PLAN_NONE)}},
    {"operand 1 is tensor 4294967295", {OPERAND_OF(S_SUM, 1, PLAN_NONE)}},
    {"operand 1 is tensor 4294967295", {OPERAND_OF(S_CONCAT, 1, PLAN_NONE)}},
    {"is packed", {OPERAND_OF(S_GATHER, 0, T_W1)}},
    {"the output is a constant", {OPERAND_OF(S_GATHER, 2, T_TABLE)}},
    {"the output is an input", {OPERAND_OF(S_LINEAR, 3, T_X)}},
    {"not in panels", {OPERAND_OF(S_LINEAR, 1, T_TABLE)}},
    {"not a padded bias", {OPERAND_OF(S_LINEAR, 2, T_TABLE)}},
    {"input 2 is (1, 17), expected (1, 20)", {DIMENSION(T_B1, 1, fixed, 17)}},
    {"input 1 has 7 rows of weights, expected 8", {DIMENSION(T_W1, 1, fixed, 7)}},
    {"has no elements", {DIMENSION(T_W1, 1, fixed, 0)}},
    {"input 1 has 3 groups", {DIMENSION(T_W2, 0, fixed, 3), DIMENSION(T_W2, 2, fixed, 2), META(row_bytes, 104)}},
    {"is no activation", {STEP(S_LINEAR, function, PLAN_UNARY_not)}},
    {"parameter 0 is not used, but not 0", {STEP(S_LINEAR, function, PLAN_UNARY_relu)}},
    {"parameter 0 is not a number", {ATTR_OF(S_LINEAR, 0, 0x7ff8000000000001)}},
    {"the output has shape", {DIMENSION(T_SUM, 1, fixed, 2)}},
    {"axes 1 up to 4 of rank 3", {ATTR_OF(S_SUM, 1, 4)}},
    {"axes 2 up to 2 of rank 3", {ATTR_OF(S_SUM, 0, 2)}},
    {"candidates, which a plan of tiles does not mix", {ATTR_OF(S_SUM, 0, 0)}},
    {"axis 2 of an input of rank 2", {ATTR_OF(S_CONCAT, 0, 2)}},
    {"axis -1 of an input", {ATTR_OF(S_CONCAT, 0, -1)}},
    {"does not fit", {ATTR_OF(S_CONCAT, 0, 0)}},
    {"expected int32 or int64", {OPERAND_OF(S_GATHER, 1, T_X)}},
    {"has axis 1 twice", {ATTR_OF(S_TRANSPOSE, 1, 1)}},
    {"expected float32", {TENSOR(T_TILED, dtype, MTL_I32), OPERAND_OF(S_ADD, 0, T_IDS)}},
    {"grows with rows in the request program", {META(request_step_count, 3)}},
    {"writes a request value", {META(request_step_count, 0)}},
    {"written by no step", {OPERAND_OF(S_ADD, 2, T_CONCAT)}},
    {"read before it is written", {OPERAND_OF(S_GROUPED, 0, T_HIDDEN_GROUPS), TENSOR(T_HIDDEN_GROUPS, offset, 20)}},
    {"(B, 4) was written there", {TENSOR(T_TILED, offset, 80)}},
    {"was overwritten", {TENSOR(T_TILED, offset, 76)}},
    {"overlaps input 1", {TENSOR(T_CONCAT, offset, 24)}},
    {"only store writes it", {OPERAND_OF(S_TRANSPOSE, 1, T_OUT_EXPERTS)}},
    {"is written by no step",
     {OPERAND_OF(S_USER_COPY, 1, T_USER_RELU), STEP(S_USER_COPY, op, PLAN_OP_expand),
      OPERAND_OF(S_USER_COPY, 0, T_USER)}},
    {"is an output that has not been written", {OPERAND_OF(S_USER_RELU, 0, T_OUT_USER)}},
    {"start 4 without a pitch", {TENSOR(T_HIDDEN, start, 4)}},
    {"windows are of inputs", {TENSOR(T_TABLE, pitch, 7)}},
    {"a window has shape", {TENSOR(T_USER_RELU, pitch, 4)}},
    {"windows are of inputs", {META(flags, PLAN_FLAG_WHOLE_BATCH), TENSOR(T_HIDDEN, pitch, 20)}},
    {"a window has shape", {TENSOR(T_SCATTERED, pitch, 6)}},
    {"a window has shape", {TENSOR(T_HIDDEN, pitch, 20), DIMENSION(T_HIDDEN, 0, per_row, 2)}},
    {"20 columns from 5 on of rows of 24", {TENSOR(T_HIDDEN, pitch, 24), TENSOR(T_HIDDEN, start, 5)}},
    {"of a workspace of 104", {TENSOR(T_HIDDEN, pitch, 27)}},
    {"which is none", {TENSOR(T_OUT_Y, pitch, 7)}},
    {"rows of 24 elements are no rows",
     {TENSOR(T_HIDDEN_GROUPS, storage, PLAN_STORAGE_INPUT), TENSOR(T_HIDDEN_GROUPS, pitch, 24)}},
    {"operand 0 is a window", {OPERAND_OF(S_STORE, 0, T_TILED), TENSOR(T_TILED, pitch, 4)}},
    {"beside a window the candidates lead", {TENSOR(T_EXPERTS, pitch, 6)}},
    {"was written there", {TENSOR(T_HIDDEN, pitch, 26)}},
    {"read before it is written",
     {TENSOR(T_HIDDEN, pitch, 26), TENSOR(T_HIDDEN_GROUPS, pitch, 26), TENSOR(T_HIDDEN_GROUPS, start, 1)}},
};

static void every_rule_is_checked_behind_the_checksums(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        size_t size;
        mtl_error error;
        unsigned char *file = fixture_plan(&size);
        unsigned char *places[6] = {NULL};
        for (size_t k = 0; k < 6 && damages[i].patches[k].size > 0; k++) {
            places[k] = find_patch(file, &damages[i].patches[k]); /* before any of them moves a table */
        }
        for (size_t k = 0; k < 6 && places[k] != NULL; k++) {
            memcpy(places[k], &damages[i].patches[k].value, damages[i].patches[k].size);
        }
        reseal(file, size);
        mtl_status status = check(file, size, &error);
        if (status == MTL_OK || strstr(error.message, damages[i].expected) == NULL) {
            print_error("damage %zu: expected '%s', got '%s'\n", i, damages[i].expected, error.message);
            wrong++;
        }
        free(file);
    }
    assert_int_equal(wrong, 0);
}

/* Sections that random damage goes to; whatever comes of it, the checker reads nothing outside of the file. */
static void random_damage_never_crashes(void **state)
{
    (void)state;
    size_t size, passed = 0;
    mtl_error error;
    unsigned char *file = fixture_plan(&size);
    unsigned char *damaged;
    assert_int_equal(posix_memalign((void **)&damaged, PLAN_ALIGNMENT, size), 0);
    uint64_t seed = 0x9e3779b97f4a7c15;
    for (int round = 0; round < 30000; round++) {
        memcpy(damaged, file, size);
        for (int k = 0; k < 1 + round % 3; k++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            const plan_section *section = section_of(file, 1 + (int)(seed % (PLAN_SECTION_COUNT - 1)));
            section = round % 16 == 0 ? section_of(file, PLAN_SECTION_COLUMNS) : section;
            size_t at = (size_t)(section->offset + (seed >> 8) % section->size);
            damaged[at] = (seed >> 40 & 3) == 0 ? (unsigned char)(seed >> 48) : (unsigned char)(damaged[at] + 1);
        }
        reseal(damaged, size);
        passed += check(damaged, size, &error) == MTL_OK;
    }
    assert_true(passed > 0 && passed < 30000);
    free(damaged);
    free(file);
}

/* A long chain over one workspace must not take quadratic time: a minute would tell. */
static void a_long_plan_is_checked_in_time(void **state)
{
    (void)state;
    enum { STEPS = 200000 };
    base_arena arena = {0};
    mtl_error error = {.message = ""};
    base_diag diag = {.error = &error};
    plan_builder *builder;
    mtl_dim shape[] = {rows(1), fixed(1)};
    uint32_t previous, next;
    assert_int_equal(plan_builder_new(&arena, &diag, &builder), MTL_OK);
    plan_tensor record = {.dtype = MTL_F32, .rank = 2, .storage = PLAN_STORAGE_INPUT};
    assert_int_equal(plan_add_string(builder, "x", &record.name), MTL_OK);
    assert_int_equal(plan_add_tensor(builder, &record, shape, &previous), MTL_OK);
    assert_int_equal(plan_add_input(builder, previous), MTL_OK);
    for (uint64_t i = 0; i < STEPS; i++) {
        record.storage = i + 1 < STEPS ? PLAN_STORAGE_ROW : PLAN_STORAGE_OUTPUT;
        record.offset = i + 1 < STEPS ? i * 4 : 0;
        assert_int_equal(plan_add_tensor(builder, &record, shape, &next), MTL_OK);
        assert_int_equal(
            plan_add_step(builder, PLAN_OP_unary, PLAN_UNARY_relu, &previous, 1, next, (int64_t[]){0, 0}, 2, ""),
            MTL_OK);
        previous = next;
    }
    assert_int_equal(plan_add_output(builder, previous), MTL_OK);
    plan_meta meta = {.row_bytes = (uint64_t)STEPS * 4};
    const void *data;
    size_t size;
    assert_int_equal(plan_build(builder, &meta, &data, &size), MTL_OK);
    base_arena_free(&arena);
}

enum { WRITES = 300, OFFSETS = 5000 };

typedef struct write {
    uint32_t tensor;
    uint64_t offset, end; /* in floats of a row */
} write;

static uint32_t add_row_tensor(plan_builder *builder, plan_storage storage, uint64_t offset, uint64_t width)
{
    mtl_dim dims[] = {rows(1), fixed((int64_t)width)};
    plan_tensor record = {
        .dtype = MTL_F32, .rank = width > 0 ? 2 : 1, .storage = (uint8_t)storage, .offset = offset * 4};
    uint32_t tensor;
    assert_int_equal(plan_add_string(builder, "t", &record.name), MTL_OK);
    assert_int_equal(plan_add_tensor(builder, &record, dims, &tensor), MTL_OK);
    return tensor;
}

/* Writes at random places, then a read of one of them: right unless a later write touched it, which is found here
 * by comparing all. `extra` is a tensor at every offset, so that the checker's bitmap has three levels. */
static void what_was_overwritten_is_found(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252;
    int kept = 0;
    for (int round = 0; round < 200; round++) {
        base_arena arena = {0};
        plan_builder *builder;
        write writes[WRITES];
        assert_int_equal(plan_builder_new(&arena, NULL, &builder), MTL_OK);
        for (uint64_t extra = 0; extra < OFFSETS; extra++) {
            add_row_tensor(builder, PLAN_STORAGE_ROW, extra, 1);
        }
        uint32_t input = add_row_tensor(builder, PLAN_STORAGE_INPUT, 0, 1);
        uint32_t output = add_row_tensor(builder, PLAN_STORAGE_OUTPUT, 0, 0);
        for (int i = 0; i < WRITES; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            uint64_t width = seed % 40 == 0 ? 500 : 1 + seed % 7, offset = (seed >> 20) % (OFFSETS - 500);
            writes[i] = (write){add_row_tensor(builder, PLAN_STORAGE_ROW, offset, width), offset, offset + width};
            assert_int_equal(plan_add_step(builder, PLAN_OP_expand, 0, &input, 1, writes[i].tensor, NULL, 0, ""),
                             MTL_OK);
        }
        size_t read = (size_t)(seed >> 33) % WRITES;
        bool whole = true;
        for (size_t i = read + 1; i < WRITES; i++) {
            whole = whole && (writes[i].end <= writes[read].offset || writes[i].offset >= writes[read].end);
        }
        assert_int_equal(plan_add_step(builder, PLAN_OP_reduce, PLAN_REDUCE_sum, &writes[read].tensor, 1, output,
                                       (int64_t[]){1, 2}, 2, ""),
                         MTL_OK);
        assert_int_equal(plan_add_input(builder, input), MTL_OK);
        assert_int_equal(plan_add_output(builder, output), MTL_OK);
        plan_meta meta = {.row_bytes = OFFSETS * 4};
        const void *data;
        size_t size;
        assert_int_equal(plan_build(builder, &meta, &data, &size), whole ? MTL_OK : MTL_INTERNAL);
        kept += whole;
        base_arena_free(&arena);
    }
    assert_true(kept > 20 && kept < 180);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_byte_is_found),    cmocka_unit_test(every_truncation_is_found),
        cmocka_unit_test(constants_can_be_checked_later), cmocka_unit_test(every_rule_is_checked_behind_the_checksums),
        cmocka_unit_test(random_damage_never_crashes),    cmocka_unit_test(a_long_plan_is_checked_in_time),
        cmocka_unit_test(what_was_overwritten_is_found),
    };
    return cmocka_run_group_tests_name("plan_check", tests, NULL, NULL);
}
