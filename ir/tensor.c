/* Elements of tensors: reading any dtype, rounding once when they are stored. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "base/hash.h"
#include "ir/graph.h"

/* Raw bytes come from files: no alignment is promised, so every load is a copy. */
#define LOAD(type) (memcpy(&(type##_value), bytes + index * sizeof(type##_value), sizeof(type##_value)), type##_value)

static double load_float(mtl_dtype dtype, const unsigned char *bytes, size_t index)
{
    float f32_value;
    double f64_value;
    uint16_t u16_value;
    switch (dtype) {
    case MTL_F32: return LOAD(f32);
    case MTL_F64: return LOAD(f64);
    case MTL_F16: return base_f16_to_f32(LOAD(u16));
    case MTL_BF16: return base_bf16_to_f32(LOAD(u16));
    default: return 0;
    }
}

static int64_t load_int(mtl_dtype dtype, const unsigned char *bytes, size_t index)
{
    int64_t i64_value;
    int32_t i32_value;
    int16_t i16_value;
    int8_t i8_value;
    uint32_t u32_value;
    uint16_t u16_value;
    switch (dtype) {
    case MTL_I64:
    case MTL_U64: return LOAD(i64);
    case MTL_I32: return LOAD(i32);
    case MTL_I16: return LOAD(i16);
    case MTL_I8: return LOAD(i8);
    case MTL_U32: return LOAD(u32);
    case MTL_U16: return LOAD(u16);
    case MTL_U8: return bytes[index];
    case MTL_BOOL: return bytes[index] != 0;
    default: return 0;
    }
}

/* C leaves float to integer undefined when the result does not fit; here it is the nearest, and of NaN the smallest. */
static int64_t truncated(double number)
{
    return number >= 0x1p63 ? INT64_MAX : number >= -0x1p63 ? (int64_t)number : INT64_MIN;
}

double ir_tensor_at(const ir_tensor *tensor, size_t index)
{
    if (tensor->f != NULL) {
        return tensor->f[index];
    }
    if (tensor->i == NULL && ir_dtype_is_float(tensor->dtype)) {
        return load_float(tensor->dtype, tensor->raw, index);
    }
    int64_t number = tensor->i != NULL ? tensor->i[index] : load_int(tensor->dtype, tensor->raw, index);
    return tensor->dtype == MTL_U64 ? (double)(uint64_t)number : (double)number;
}

int64_t ir_tensor_int_at(const ir_tensor *tensor, size_t index)
{
    if (tensor->i != NULL) {
        return tensor->i[index];
    }
    if (tensor->f != NULL || ir_dtype_is_float(tensor->dtype)) {
        return truncated(ir_tensor_at(tensor, index));
    }
    return load_int(tensor->dtype, tensor->raw, index);
}

const double *ir_tensor_floats(const ir_tensor *tensor, base_arena *arena)
{
    if (tensor->f != NULL) {
        return tensor->f;
    }
    double *numbers = BASE_NEW_ARRAY(arena, double, tensor->count);
    for (size_t i = 0; numbers != NULL && i < tensor->count; i++) {
        numbers[i] = ir_tensor_at(tensor, i);
    }
    return numbers;
}

const int64_t *ir_tensor_ints(const ir_tensor *tensor, base_arena *arena)
{
    if (tensor->i != NULL) {
        return tensor->i;
    }
    int64_t *numbers = BASE_NEW_ARRAY(arena, int64_t, tensor->count);
    for (size_t i = 0; numbers != NULL && i < tensor->count; i++) {
        numbers[i] = ir_tensor_int_at(tensor, i);
    }
    return numbers;
}

/* The float32 next to `number`, rounded to odd: towards zero, and the last bit set when that cut something off. A second
 * rounding to a narrower format then gives what one rounding would have given. */
static float to_odd(double number)
{
    float nearest = (float)number;
    if ((double)nearest == number || isnan(number)) {
        return nearest;
    }
    uint32_t bits;
    memcpy(&bits, &nearest, sizeof bits);
    if (fabs((double)nearest) > fabs(number)) {
        bits--; /* one step towards zero; from infinity to the largest number */
    }
    bits |= 1;
    memcpy(&nearest, &bits, sizeof nearest);
    return nearest;
}

/* An int64 (or the uint64 of its bits) as a double with at most 53 bits, rounded to odd below them. */
static double int_to_odd(int64_t number, bool is_unsigned)
{
    bool minus = !is_unsigned && number < 0;
    uint64_t magnitude = minus ? 0 - (uint64_t)number : (uint64_t)number;
    if (magnitude >= UINT64_C(1) << 53) {
        uint64_t rest = magnitude & 0xfff;
        magnitude -= rest;
        magnitude |= rest != 0 ? 0x1000 : 0;
    }
    return minus ? -(double)magnitude : (double)magnitude;
}

/* Element `index` of an integer tensor as `dtype`, a float. */
static void store_int_as_float(const ir_tensor *tensor, size_t index, mtl_dtype dtype, void *out)
{
    int64_t number = ir_tensor_int_at(tensor, index);
    bool is_unsigned = tensor->dtype == MTL_U64;
    float f32 = is_unsigned ? (float)(uint64_t)number : (float)number;
    double f64 = is_unsigned ? (double)(uint64_t)number : (double)number;
    float odd = to_odd(int_to_odd(number, is_unsigned));
    uint16_t half = dtype == MTL_F16 ? base_f16_from_f32(odd) : base_bf16_from_f32(odd);
    switch (dtype) {
    case MTL_F32: memcpy(out, &f32, sizeof f32); break;
    case MTL_F64: memcpy(out, &f64, sizeof f64); break;
    default: memcpy(out, &half, sizeof half); break;
    }
}

static void store_float(double number, mtl_dtype dtype, void *out)
{
    float f32 = (float)number;
    uint16_t half;
    switch (dtype) {
    case MTL_F32: memcpy(out, &f32, sizeof f32); break;
    case MTL_F64: memcpy(out, &number, sizeof number); break;
    case MTL_F16:
        half = base_f16_from_f32(to_odd(number));
        memcpy(out, &half, sizeof half);
        break;
    default:
        half = base_bf16_from_f32(to_odd(number));
        memcpy(out, &half, sizeof half);
        break;
    }
}

/* The low bytes of the number, in this machine's (and the plan's) little-endian order. */
static void store_int(int64_t number, mtl_dtype dtype, void *out)
{
    uint64_t bits = (uint64_t)number;
    if (dtype == MTL_BOOL) {
        bits = number != 0;
    }
    unsigned char *bytes = out;
    for (size_t i = 0; i < mtl_dtype_size(dtype); i++) {
        bytes[i] = (unsigned char)(bits >> (8 * i));
    }
}

static void store_range(const ir_tensor *tensor, size_t start, size_t count, mtl_dtype dtype, unsigned char *out)
{
    size_t size = mtl_dtype_size(dtype);
    if (tensor->raw != NULL && dtype == tensor->dtype && dtype != MTL_BOOL) { /* booleans: any nonzero byte becomes 1 */
        if (count > 0) {
            memcpy(out, (const unsigned char *)tensor->raw + start * size, count * size);
        }
        return;
    }
    bool from_float = tensor->f != NULL || (tensor->i == NULL && ir_dtype_is_float(tensor->dtype));
    bool to_float = ir_dtype_is_float(dtype);
    for (size_t i = start; i < start + count; i++, out += size) {
        if (!to_float) {
            bool is_true = dtype == MTL_BOOL && from_float && ir_tensor_at(tensor, i) != 0; /* 0.5 is true */
            store_int(is_true ? 1 : ir_tensor_int_at(tensor, i), dtype, out);
        } else if (from_float) {
            store_float(ir_tensor_at(tensor, i), dtype, out);
        } else {
            store_int_as_float(tensor, i, dtype, out);
        }
    }
}

void ir_tensor_store(const ir_tensor *tensor, mtl_dtype dtype, void *out)
{
    store_range(tensor, 0, tensor->count, dtype, out);
}

void ir_tensor_hash(const ir_tensor *tensor, uint64_t *result)
{
    enum { CHUNK = 512 };
    unsigned char buffer[CHUNK * 8];
    base_hash hash;
    base_hash_begin(&hash);
    uint32_t head[2] = {(uint32_t)tensor->dtype, (uint32_t)tensor->rank};
    base_hash_add(&hash, head, sizeof head);
    base_hash_add(&hash, tensor->shape, (size_t)tensor->rank * sizeof tensor->shape[0]);
    size_t size = mtl_dtype_size(tensor->dtype);
    if (tensor->raw != NULL && tensor->dtype != MTL_BOOL) {
        base_hash_add(&hash, tensor->raw, tensor->count * size);
    } else {
        for (size_t i = 0; i < tensor->count; i += CHUNK) {
            size_t count = tensor->count - i < CHUNK ? tensor->count - i : CHUNK;
            store_range(tensor, i, count, tensor->dtype, buffer);
            base_hash_add(&hash, buffer, count * size);
        }
    }
    *result = base_hash_end64(&hash);
}
