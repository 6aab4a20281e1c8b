/* What ops.def and attrs.def say, as data. */
#include <string.h>

#include "ir/graph.h"

/* The rows are read twice: an A(name) counts for required attributes, an O(name) for optional ones. */
static const ir_op_info ops[] = {
#define A(name) (UINT64_C(1) << IR_ATTR_##name)
#define O(name) UINT64_C(0)
#define OP(op, min, max, count, infer, rate, eval, attrs)                                                              \
    [IR_OP_##op].name = #op, [IR_OP_##op].min_inputs = (min), [IR_OP_##op].max_inputs = (max),                         \
    [IR_OP_##op].outputs = (count), [IR_OP_##op].required = (attrs),
#include "ir/ops.def"
#undef OP
#undef A
#undef O
#define A(name) UINT64_C(0)
#define O(name) (UINT64_C(1) << IR_ATTR_##name)
#define OP(op, min, max, count, infer, rate, eval, attrs) [IR_OP_##op].optional = (attrs),
#include "ir/ops.def"
#undef OP
#undef A
#undef O
};

static const struct {
    const char *infer, *eval;
} families[] = {
#define OP(name, min, max, outputs, infer, rate, eval, attrs) {#infer, #eval},
#include "ir/ops.def"
#undef OP
};

static const struct {
    const char *name;
    ir_attr_kind kind;
} attrs[] = {
#define ATTR(name, kind) {#name, IR_KIND_##kind},
#include "ir/attrs.def"
#undef ATTR
};

_Static_assert(IR_ATTR_COUNT <= 64, "attribute sets are 64 bits wide");

static const struct {
    mtl_dtype dtype;
    const char *name;
} dtypes[] = {
    {MTL_F32, "f32"}, {MTL_F64, "f64"}, {MTL_F16, "f16"},   {MTL_BF16, "bf16"}, {MTL_I64, "i64"},
    {MTL_I32, "i32"}, {MTL_I16, "i16"}, {MTL_I8, "i8"},     {MTL_U64, "u64"},   {MTL_U32, "u32"},
    {MTL_U16, "u16"}, {MTL_U8, "u8"},   {MTL_BOOL, "bool"},
};

const ir_op_info *ir_op_table(ir_op op)
{
    return &ops[op];
}

bool ir_op_find(const char *name, ir_op *op)
{
    for (int i = 0; i < IR_OP_COUNT; i++) {
        if (strcmp(ops[i].name, name) == 0) {
            *op = (ir_op)i;
            return true;
        }
    }
    return false;
}

bool ir_op_is_unary(ir_op op)
{
    return strcmp(families[op].eval, "unary") == 0 && strcmp(families[op].infer, "to_bool") != 0;
}

bool ir_op_is_binary(ir_op op)
{
    return strcmp(families[op].eval, "binary") == 0;
}

bool ir_op_is_float_function(ir_op op)
{
    const char *infer = families[op].infer;
    bool numbers = strcmp(infer, "broadcast") == 0 || strcmp(infer, "pow") == 0;
    return ir_op_is_binary(op) ? numbers : ir_op_is_unary(op) && strcmp(infer, "same_bool") != 0;
}

const char *ir_attr_name(ir_attr_key key)
{
    return attrs[key].name;
}

ir_attr_kind ir_attr_key_kind(ir_attr_key key)
{
    return attrs[key].kind;
}

bool ir_attr_find(const char *name, ir_attr_key *key)
{
    for (int i = 0; i < IR_ATTR_COUNT; i++) {
        if (strcmp(attrs[i].name, name) == 0) {
            *key = (ir_attr_key)i;
            return true;
        }
    }
    return false;
}

const char *ir_dtype_name(mtl_dtype dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (dtypes[i].dtype == dtype) {
            return dtypes[i].name;
        }
    }
    return "?";
}

bool ir_dtype_find(const char *name, mtl_dtype *dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            *dtype = dtypes[i].dtype;
            return true;
        }
    }
    return false;
}

bool ir_dtype_is_float(mtl_dtype dtype)
{
    return dtype == MTL_F32 || dtype == MTL_F64 || dtype == MTL_F16 || dtype == MTL_BF16;
}

bool ir_dtype_is_int(mtl_dtype dtype)
{
    return mtl_dtype_size(dtype) != 0 && !ir_dtype_is_float(dtype) && dtype != MTL_BOOL;
}

bool ir_type_equal(const ir_type *a, const ir_type *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank) {
        return false;
    }
    for (int i = 0; i < a->rank; i++) {
        if (!ir_dim_equal(a->dim[i], b->dim[i])) {
            return false;
        }
    }
    return true;
}

bool ir_type_is_fixed(const ir_type *type)
{
    for (int i = 0; i < type->rank; i++) {
        if (!ir_dim_is_const(type->dim[i])) {
            return false;
        }
    }
    return true;
}

bool ir_type_count(const ir_type *type, ir_dim *count)
{
    ir_dim product = ir_dim_const(1);
    for (int i = 0; i < type->rank; i++) {
        if (ir_dim_is(type->dim[i], 0)) {
            *count = ir_dim_const(0); /* even when the other extents have no linear product */
            return true;
        }
    }
    for (int i = 0; i < type->rank; i++) {
        if (!ir_dim_mul(product, type->dim[i], &product)) {
            return false;
        }
    }
    *count = product;
    return true;
}

char *ir_type_text(const ir_type *type, const ir_symbols *symbols, base_arena *arena)
{
    char *text = base_arena_format(arena, "%s%s", ir_dtype_name(type->dtype), type->rank > 0 ? "[" : "");
    for (int i = 0; text != NULL && i < type->rank; i++) {
        char *dim = ir_dim_text(type->dim[i], symbols, arena);
        text = dim == NULL ? NULL : base_arena_format(arena, "%s%s%s", text, i > 0 ? ", " : "", dim);
    }
    return text == NULL || type->rank == 0 ? text : base_arena_format(arena, "%s]", text);
}
