/* Element types: sizes and names, shared by compiler and runtime. */
#include "mtlc/runtime.h"

static const struct {
    size_t size;
    const char *name;
} dtypes[] = {
    [MTL_F32] = {4, "float32"}, [MTL_F64] = {8, "float64"}, [MTL_F16] = {2, "float16"}, [MTL_BF16] = {2, "bfloat16"},
    [MTL_I64] = {8, "int64"},   [MTL_I32] = {4, "int32"},   [MTL_I16] = {2, "int16"},   [MTL_I8] = {1, "int8"},
    [MTL_U64] = {8, "uint64"},  [MTL_U32] = {4, "uint32"},  [MTL_U16] = {2, "uint16"},  [MTL_U8] = {1, "uint8"},
    [MTL_BOOL] = {1, "bool"},
};

static int known(mtl_dtype dtype)
{
    return (int)dtype > 0 && (size_t)dtype < sizeof dtypes / sizeof dtypes[0];
}

size_t mtl_dtype_size(mtl_dtype dtype)
{
    return known(dtype) ? dtypes[dtype].size : 0;
}

const char *mtl_dtype_name(mtl_dtype dtype)
{
    return known(dtype) ? dtypes[dtype].name : "?";
}
