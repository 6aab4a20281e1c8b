/* ir/tensor.c: every dtype in and out, unaligned bytes, rounding once, hashes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/hash.h"
#include "ir/graph.h"

static ir_tensor vector(mtl_dtype dtype, size_t count)
{
    return (ir_tensor){.dtype = dtype, .rank = 1, .shape = {(int64_t)count}, .count = count};
}

/* The bytes of `count` numbers as `dtype`, one byte off any alignment. */
static void round_trip(mtl_dtype dtype, const void *bytes, size_t count, const double *expected)
{
    unsigned char shifted[128], stored[128];
    size_t size = mtl_dtype_size(dtype);
    memcpy(shifted + 1, bytes, count * size);
    ir_tensor tensor = vector(dtype, count);
    tensor.raw = shifted + 1;
    base_arena arena = {0};
    for (size_t i = 0; i < count; i++) {
        assert_true(ir_tensor_at(&tensor, i) == expected[i]);
    }
    ir_tensor converted = vector(dtype, count);
    if (ir_dtype_is_float(dtype)) {
        converted.f = ir_tensor_floats(&tensor, &arena);
    } else {
        converted.i = ir_tensor_ints(&tensor, &arena);
    }
    uint64_t a, b;
    ir_tensor_hash(&tensor, &a);
    ir_tensor_hash(&converted, &b);
    assert_true(a == b);
    ir_tensor_store(&converted, dtype, stored);
    assert_memory_equal(stored, bytes, count * size);
    ir_tensor_store(&tensor, dtype, stored);
    assert_memory_equal(stored, bytes, count * size);
    base_arena_free(&arena);
}

static void test_dtypes(void **state)
{
    (void)state;
    round_trip(MTL_F32, (float[]){1, -0.1f, INFINITY}, 3, (double[]){1, (double)-0.1f, INFINITY});
    round_trip(MTL_F64, (double[]){1, -0.1}, 2, (double[]){1, -0.1});
    round_trip(MTL_F16, (uint16_t[]){0x3c00, 0x0001, 0xfc00}, 3, (double[]){1, 0x1p-24, -INFINITY});
    round_trip(MTL_BF16, (uint16_t[]){0x3f80, 0x0001, 0xff80}, 3, (double[]){1, 0x1p-133, -INFINITY});
    round_trip(MTL_I64, (int64_t[]){-1, INT64_MIN}, 2, (double[]){-1, -0x1p63});
    round_trip(MTL_I32, (int32_t[]){-1, INT32_MIN}, 2, (double[]){-1, -0x1p31});
    round_trip(MTL_I16, (int16_t[]){-1, INT16_MIN}, 2, (double[]){-1, -32768});
    round_trip(MTL_I8, (int8_t[]){-1, INT8_MIN}, 2, (double[]){-1, -128});
    round_trip(MTL_U64, (uint64_t[]){1, UINT64_C(1) << 63}, 2, (double[]){1, 0x1p63});
    round_trip(MTL_U32, (uint32_t[]){1, UINT32_MAX}, 2, (double[]){1, UINT32_MAX});
    round_trip(MTL_U16, (uint16_t[]){1, UINT16_MAX}, 2, (double[]){1, UINT16_MAX});
    round_trip(MTL_U8, (uint8_t[]){1, UINT8_MAX}, 2, (double[]){1, UINT8_MAX});
    round_trip(MTL_BOOL, (uint8_t[]){1, 0}, 2, (double[]){1, 0});
}

static void test_bool_bytes(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0, 1, 2, 255}, expected[] = {0, 1, 1, 1};
    uint8_t stored[4];
    ir_tensor tensor = vector(MTL_BOOL, 4);
    tensor.raw = bytes;
    ir_tensor_store(&tensor, MTL_BOOL, stored);
    assert_memory_equal(stored, expected, 4);
}

/* A number just above half way between two halves must go up; through float32 it would fall on the tie and go down. */
static void test_no_double_rounding(void **state)
{
    (void)state;
    const double numbers[] = {1 + 0x1p-11 + 0x1p-40,
                              1 + 0x1p-11,
                              1 + 3 * 0x1p-11,
                              1 + 3 * 0x1p-11 - 0x1p-40,
                              65519.999999999,
                              65520,
                              -0x1p-25,
                              -0x1p-25 - 0x1p-60,
                              1e300,
                              -1e300};
    const uint16_t f16[] = {0x3c01, 0x3c00, 0x3c02, 0x3c01, 0x7bff, 0x7c00, 0x8000, 0x8001, 0x7c00, 0xfc00};
    uint16_t stored[10];
    ir_tensor tensor = vector(MTL_F32, 10);
    tensor.f = numbers;
    ir_tensor_store(&tensor, MTL_F16, stored);
    assert_memory_equal(stored, f16, sizeof f16);

    const double wide[] = {1 + 0x1p-8 + 0x1p-40, 1 + 0x1p-8, 1 + 3 * 0x1p-8, 1 + 3 * 0x1p-8 - 0x1p-40, 0x1p-134,
                           0x1p-134 + 0x1p-180,  3.4e38,     -1e39};
    const uint16_t bf16[] = {0x3f81, 0x3f80, 0x3f82, 0x3f81, 0x0000, 0x0001, 0x7f80, 0xff80};
    tensor = vector(MTL_F32, 8);
    tensor.f = wide;
    ir_tensor_store(&tensor, MTL_BF16, stored);
    assert_memory_equal(stored, bf16, sizeof bf16);

    /* 2^24 + 1 is a tie in float32; 2^60 + 2^36 + 1 is not, and in float64 it would have become one. */
    const int64_t integers[] = {(1 << 24) + 1, (INT64_C(1) << 60) + (INT64_C(1) << 36) + 1, -((1 << 24) + 1)};
    float floats[3];
    ir_tensor ints = vector(MTL_I64, 3);
    ints.i = integers;
    ir_tensor_store(&ints, MTL_F32, floats);
    assert_true(floats[0] == 0x1p24f && floats[1] == 0x1p60f + 0x1p37f && floats[2] == -0x1p24f);
    const int64_t tie[] = {(INT64_C(1) << 60) + (INT64_C(1) << 52) + 1, -(INT64_C(1) << 60) - (INT64_C(1) << 52)};
    const uint16_t tie_bf16[] = {0x5d81, 0xdd80};
    ints = vector(MTL_I64, 2);
    ints.i = tie;
    ir_tensor_store(&ints, MTL_BF16, stored);
    assert_memory_equal(stored, tie_bf16, sizeof tie_bf16);
}

/* All halves, through float64 and back. */
static void test_all_halves(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint16_t in = (uint16_t)bits, out;
        double f16 = base_f16_to_f32(in), bf16 = base_bf16_to_f32(in);
        ir_tensor tensor = vector(MTL_F64, 1);
        tensor.f = &f16;
        ir_tensor_store(&tensor, MTL_F16, &out);
        assert_true(out == in || isnan(f16));
        tensor.f = &bf16;
        ir_tensor_store(&tensor, MTL_BF16, &out);
        assert_true(out == in || isnan(bf16));
    }
}

static void test_hash(void **state)
{
    (void)state;
    double many[2000];
    float same[2000];
    for (int i = 0; i < 2000; i++) {
        many[i] = i * 0.25;
        same[i] = (float)many[i];
    }
    ir_tensor a = vector(MTL_F32, 2000), b = a;
    a.f = many;
    b.raw = same;
    uint64_t x, y;
    ir_tensor_hash(&a, &x);
    ir_tensor_hash(&b, &y);
    assert_true(x == y);
    unsigned char bytes[8 + 8 + sizeof same];
    uint32_t head[2] = {MTL_F32, 1};
    memcpy(bytes, head, 8);
    memcpy(bytes + 8, b.shape, 8);
    memcpy(bytes + 16, same, sizeof same);
    assert_true(base_hash64(bytes, sizeof bytes) == x);
    b.rank = 2;
    b.shape[0] = 40;
    b.shape[1] = 50;
    ir_tensor_hash(&b, &y);
    assert_true(x != y);
    uint64_t whole[2], parts[2];
    base_hash hash;
    base_hash128(bytes, sizeof bytes, whole);
    base_hash_begin(&hash);
    base_hash_add(&hash, bytes, 3);
    base_hash_add(&hash, NULL, 0);
    base_hash_add(&hash, bytes + 3, sizeof bytes - 3);
    base_hash_end128(&hash, parts);
    assert_memory_equal(whole, parts, sizeof whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtypes),     cmocka_unit_test(test_bool_bytes), cmocka_unit_test(test_no_double_rounding),
        cmocka_unit_test(test_all_halves), cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
