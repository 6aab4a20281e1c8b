/* TensorProto to ir_tensor: every encoding of every type that the IR has. */
#include <string.h>

#include "base/checked.h"
#include "base/half.h"
#include "onnx/internal.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are used in place: this needs a little-endian machine"
#endif

static const struct {
    const char *name;
    mtl_dtype dtype; /* 0: the IR has none */
} elements[] = {
    [0] = {"undefined", 0},
    [1] = {"float32", MTL_F32},
    [2] = {"uint8", MTL_U8},
    [3] = {"int8", MTL_I8},
    [4] = {"uint16", MTL_U16},
    [5] = {"int16", MTL_I16},
    [6] = {"int32", MTL_I32},
    [7] = {"int64", MTL_I64},
    [8] = {"string", 0},
    [9] = {"bool", MTL_BOOL},
    [10] = {"float16", MTL_F16},
    [11] = {"float64", MTL_F64},
    [12] = {"uint32", MTL_U32},
    [13] = {"uint64", MTL_U64},
    [14] = {"complex64", 0},
    [15] = {"complex128", 0},
    [16] = {"bfloat16", MTL_BF16},
    [17] = {"float8e4m3fn", 0},
    [18] = {"float8e4m3fnuz", 0},
    [19] = {"float8e5m2", 0},
    [20] = {"float8e5m2fnuz", 0},
    [21] = {"uint4", 0},
    [22] = {"int4", 0},
    [23] = {"float4e2m1", 0},
    [24] = {"float8e8m0", 0},
    [25] = {"uint2", 0},
    [26] = {"int2", 0},
    [27] = {"float6e2m3", 0},
    [28] = {"float6e3m2", 0},
};
enum { ELEMENT_COUNT = sizeof elements / sizeof elements[0] };

mtl_dtype onnx_dtype(int32_t elem)
{
    return elem >= 0 && elem < (int32_t)ELEMENT_COUNT ? elements[elem].dtype : 0;
}

const char *onnx_elem_name(int32_t elem)
{
    return elem >= 0 && elem < (int32_t)ELEMENT_COUNT ? elements[elem].name : "unknown";
}

int32_t onnx_elem_of(mtl_dtype dtype)
{
    for (int32_t i = 1; i < (int32_t)ELEMENT_COUNT; i++) {
        if (elements[i].dtype == dtype) {
            return i;
        }
    }
    return 0;
}

mtl_dtype onnx_compute_dtype(mtl_dtype dtype)
{
    return ir_dtype_is_float(dtype) ? MTL_F32 : dtype;
}

typedef struct source {
    onnx_importer *importer;
    const Onnx__TensorProto *proto;
    const char *what;
    mtl_dtype dtype;
    size_t count;
} source;

/* Which typed field carries a type's elements, and how many it holds. */
static const char *typed_field(const source *s, size_t *length)
{
    const Onnx__TensorProto *p = s->proto;
    switch (s->dtype) {
    case MTL_F32: *length = p->n_float_data; return "float_data";
    case MTL_F64: *length = p->n_double_data; return "double_data";
    case MTL_I64: *length = p->n_int64_data; return "int64_data";
    case MTL_U64:
    case MTL_U32: *length = p->n_uint64_data; return "uint64_data";
    default: *length = p->n_int32_data; return "int32_data";
    }
}

/* The elements of a typed field as `dtype`'s bytes, in place when they have that form. NULL: no memory. */
static const void *typed_bytes(const source *s)
{
    const Onnx__TensorProto *p = s->proto;
    switch (s->dtype) {
    case MTL_F32: return p->float_data;
    case MTL_F64: return p->double_data;
    case MTL_I64: return p->int64_data;
    case MTL_U64: return p->uint64_data;
    case MTL_I32: return p->int32_data;
    default: break;
    }
    size_t size = mtl_dtype_size(s->dtype);
    char *bytes = base_arena_alloc_array(s->importer->arena, s->count, size);
    for (size_t i = 0; bytes != NULL && i < s->count; i++) {
        /* The low bytes of a little-endian number are the number in the narrower type. */
        if (s->dtype == MTL_U32) {
            memcpy(bytes + i * size, &p->uint64_data[i], size);
        } else {
            memcpy(bytes + i * size, &p->int32_data[i], size);
        }
    }
    return bytes;
}

static mtl_status find_bytes(const source *s, const void **bytes)
{
    const Onnx__TensorProto *p = s->proto;
    base_diag *diag = s->importer->diag;
    size_t size;
    if (!base_mul_size(s->count, mtl_dtype_size(s->dtype), &size)) {
        return base_fail(diag, MTL_INVALID_DATA, "%s: its size overflows", s->what);
    }
    if (p->has_data_location && p->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        return onnx_files_bytes(s->importer->files, p, size, diag, bytes);
    }
    if (p->has_data_location && p->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT) {
        return base_fail(diag, MTL_INVALID_DATA, "%s: data_location %d is unknown", s->what, (int)p->data_location);
    }
    if (p->has_raw_data) {
        if (p->raw_data.len != size) {
            return base_fail(diag, MTL_INVALID_DATA, "%s: raw_data has %zu bytes, its shape and type need %zu", s->what,
                             p->raw_data.len, size);
        }
        *bytes = p->raw_data.data;
        return MTL_OK;
    }
    size_t length;
    const char *field = typed_field(s, &length);
    if (length != s->count) {
        return base_fail(diag, MTL_INVALID_DATA, "%s: %s has %zu elements, its shape needs %zu", s->what, field, length,
                         s->count);
    }
    *bytes = s->count > 0 ? typed_bytes(s) : "";
    BASE_TRY_MEMORY(*bytes, diag);
    return MTL_OK;
}

static const float *widen_half(const source *s, const unsigned char *bytes)
{
    float *numbers = BASE_NEW_ARRAY(s->importer->arena, float, s->count);
    for (size_t i = 0; numbers != NULL && i < s->count; i++) {
        uint16_t bits = (uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
        numbers[i] = s->dtype == MTL_F16 ? base_f16_to_f32(bits) : base_bf16_to_f32(bits);
    }
    return numbers;
}

/* Booleans are 0 or 1 in the IR; a file may hold others. */
static const void *normal_bools(const source *s, const unsigned char *bytes)
{
    size_t i = 0;
    while (i < s->count && bytes[i] <= 1) {
        i++;
    }
    if (i == s->count) {
        return bytes;
    }
    unsigned char *copy = base_arena_copy(s->importer->arena, bytes, s->count);
    for (i = 0; copy != NULL && i < s->count; i++) {
        copy[i] = copy[i] != 0;
    }
    return copy;
}

static mtl_status place(const source *s, const void *bytes, ir_tensor *tensor)
{
    base_arena *arena = s->importer->arena;
    size_t size = mtl_dtype_size(s->dtype);
    if (bytes == NULL || s->count == 0) {
        bytes = "";                            /* no elements; the IR wants a pointer that is not NULL */
    } else if ((uintptr_t)bytes % size != 0) { /* external data at an odd offset */
        bytes = base_arena_copy(arena, bytes, s->count * size);
        BASE_TRY_MEMORY(bytes, s->importer->diag);
    }
    tensor->dtype = onnx_compute_dtype(s->dtype);
    if (s->count > 0 && s->dtype == MTL_F64) {
        tensor->f = bytes; /* keeps its digits: constants are rounded once, when the plan is written */
        return MTL_OK;
    }
    if (s->count > 0 && (s->dtype == MTL_F16 || s->dtype == MTL_BF16)) {
        bytes = widen_half(s, bytes);
    } else if (s->dtype == MTL_BOOL) {
        bytes = normal_bools(s, bytes);
    }
    tensor->raw = bytes;
    BASE_TRY_MEMORY(bytes, s->importer->diag);
    return MTL_OK;
}

mtl_status onnx_tensor(onnx_importer *importer, const Onnx__TensorProto *proto, const char *what, ir_tensor *tensor)
{
    base_diag *diag = importer->diag;
    int32_t elem = proto->has_data_type ? proto->data_type : 0;
    source s = {importer, proto, what, onnx_dtype(elem), 1};
    *tensor = (ir_tensor){0};
    if (elem <= 0 || elem >= (int32_t)ELEMENT_COUNT) {
        return base_fail(diag, MTL_INVALID_DATA, "%s: element type %d is unknown", what, (int)elem);
    }
    if (s.dtype == 0) {
        return base_fail(diag, MTL_UNSUPPORTED, "%s: element type %s is not supported", what, onnx_elem_name(elem));
    }
    if (proto->segment != NULL) {
        return base_fail(diag, MTL_UNSUPPORTED, "%s: tensors in segments are not supported", what);
    }
    if (proto->n_dims > MTL_MAX_RANK) {
        return base_fail(diag, MTL_UNSUPPORTED, "%s: rank %zu, at most %d is supported", what, proto->n_dims,
                         MTL_MAX_RANK);
    }
    tensor->rank = (int32_t)proto->n_dims;
    for (size_t i = 0; i < proto->n_dims; i++) {
        tensor->shape[i] = proto->dims[i];
        if (proto->dims[i] < 0) {
            return base_fail(diag, MTL_INVALID_DATA, "%s: dim %zu is %lld, expected at least 0", what, i,
                             (long long)proto->dims[i]);
        }
        if (!base_mul_size(s.count, (size_t)proto->dims[i], &s.count) || s.count > INT64_MAX / 16) {
            return base_fail(diag, MTL_INVALID_DATA, "%s: the product of its dims overflows", what);
        }
    }
    tensor->count = s.count;
    const void *bytes = NULL;
    BASE_TRY(find_bytes(&s, &bytes));
    return place(&s, bytes, tensor);
}
