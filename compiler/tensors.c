/* Tensor records, and the bytes of constants as the kernels read them. */
#include "base/checked.h"
#include "compiler/lowering.h"
#include "plan/plan.h"

/* False: more than a plan's tensor may hold. An extent of 0 hides no large ones beside it. */
static bool plan_shape(const ir_type *type, bool per_user, mtl_dim *dims)
{
    uint64_t bytes = mtl_dtype_size(type->dtype);
    bool fits = true;
    for (int32_t axis = 0; axis < type->rank && axis < MTL_MAX_RANK; axis++) {
        int64_t rows = type->dim[axis].k[IR_SYMBOL_ROWS];
        dims[axis] =
            (mtl_dim){.fixed = type->dim[axis].c, .per_row = per_user ? 0 : rows, .per_user = per_user ? rows : 0};
        uint64_t once = (uint64_t)dims[axis].fixed + (uint64_t)rows;
        fits &= !__builtin_mul_overflow(bytes, once == 0 ? 1 : once, &bytes) && bytes <= PLAN_MAX_TENSOR_BYTES;
    }
    return fits;
}

/* A record of the given shape on the storage that `value` was given. */
mtl_status compiler_record(compiler_lowering *lowering, const char *name, const ir_type *type, compiler_slot slot,
                           plan_layout layout, uint32_t *tensor)
{
    plan_tensor record = {.dtype = (uint8_t)type->dtype,
                          .rank = (uint8_t)type->rank,
                          .storage = (uint8_t)slot.storage,
                          .layout = (uint8_t)layout,
                          .index = slot.index,
                          .offset = slot.offset,
                          .start = slot.window.start,
                          .pitch = slot.window.pitch};
    mtl_dim dims[MTL_MAX_RANK];
    if (!plan_shape(type, slot.per_user, dims)) {
        return base_fail(lowering->diag, MTL_UNSUPPORTED, "'%s' is too large: more than 2^48 bytes for one row", name);
    }
    BASE_TRY(plan_add_string(lowering->builder, name, &record.name));
    return plan_add_tensor(lowering->builder, &record, dims, tensor);
}

static mtl_status store_tensor(compiler_lowering *lowering, ir_value value, compiler_slot *slot)
{
    const ir_tensor *tensor = ir_info(lowering->graph, value)->tensor;
    size_t bytes;
    if (!base_mul_size(tensor->count, mtl_dtype_size(tensor->dtype), &bytes)) {
        return base_fail_memory(lowering->diag);
    }
    void *data = base_arena_alloc(lowering->arena, bytes);
    BASE_TRY_MEMORY(data, lowering->diag);
    ir_tensor_store(tensor, tensor->dtype, data);
    BASE_TRY(plan_add_const(lowering->builder, data, bytes, &slot->offset));
    slot->storage = PLAN_STORAGE_CONST;
    return MTL_OK;
}

/* The bytes of a constant go into the plan once, however many records view them. */
static mtl_status place_const(compiler_lowering *lowering, ir_value value)
{
    compiler_slot *slot = &lowering->slots[value];
    return slot->storage != 0 ? MTL_OK : store_tensor(lowering, value, slot);
}

mtl_status compiler_default_tensor(compiler_lowering *lowering, ir_value param, uint32_t *tensor)
{
    const ir_value_info *info = ir_info(lowering->graph, param);
    compiler_slot slot = {0};
    BASE_TRY(store_tensor(lowering, param, &slot));
    return compiler_record(lowering, info->name, &info->type, slot, PLAN_LAYOUT_DENSE, tensor);
}

mtl_status compiler_tensor(compiler_lowering *lowering, ir_value value, uint32_t *tensor)
{
    if (lowering->tensors[value] == PLAN_NONE) {
        const ir_value_info *info = ir_info(lowering->graph, value);
        ir_value root = lowering->root[value];
        if (ir_is_const(lowering->graph, root)) {
            BASE_TRY(place_const(lowering, root));
        }
        BASE_TRY(compiler_record(lowering, info->name, &info->type, compiler_slot_of(lowering, value),
                                 PLAN_LAYOUT_DENSE, &lowering->tensors[value]));
    }
    *tensor = lowering->tensors[value];
    return MTL_OK;
}

mtl_status compiler_view_tensor(compiler_lowering *lowering, ir_value value, const ir_type *type, uint32_t *tensor)
{
    return compiler_record(lowering, ir_info(lowering->graph, value)->name, type, compiler_slot_of(lowering, value),
                           PLAN_LAYOUT_DENSE, tensor);
}

static mtl_status constant_floats(compiler_lowering *lowering, const ir_tensor *tensor, float **floats)
{
    *floats = BASE_NEW_ARRAY(lowering->arena, float, tensor->count);
    BASE_TRY_MEMORY(*floats, lowering->diag);
    ir_tensor_store(tensor, MTL_F32, *floats);
    return MTL_OK;
}

static mtl_status add_packed(compiler_lowering *lowering, const char *name, const int64_t *extents, int32_t rank,
                             plan_layout layout, const float *packed, size_t count, uint32_t *tensor)
{
    ir_type type = {.dtype = MTL_F32, .rank = rank};
    for (int32_t axis = 0; axis < rank; axis++) {
        type.dim[axis] = ir_dim_const(extents[axis]);
    }
    compiler_slot slot = {.storage = PLAN_STORAGE_CONST};
    BASE_TRY(plan_add_const(lowering->builder, packed, count * sizeof *packed, &slot.offset));
    return compiler_record(lowering, name, &type, slot, layout, tensor);
}

mtl_status compiler_panels_tensor(compiler_lowering *lowering, ir_value weights, uint32_t *tensor)
{
    const ir_value_info *info = ir_info(lowering->graph, weights);
    const int64_t *shape = info->tensor->shape;
    int grouped = info->tensor->rank == 3;
    int64_t extents[3] = {grouped ? shape[0] : 1, shape[grouped], shape[grouped + 1]};
    size_t count = plan_panels_count((size_t)extents[0], (size_t)extents[1], (size_t)extents[2]);
    float *floats, *packed = BASE_NEW_ARRAY(lowering->arena, float, count);
    BASE_TRY_MEMORY(packed, lowering->diag);
    BASE_TRY(constant_floats(lowering, info->tensor, &floats));
    plan_pack_panels(floats, (size_t)extents[0], (size_t)extents[1], (size_t)extents[2], packed);
    return add_packed(lowering, info->name, extents, 3, PLAN_LAYOUT_PANELS, packed, count, tensor);
}

mtl_status compiler_padded_tensor(compiler_lowering *lowering, ir_value bias, uint32_t *tensor)
{
    const ir_value_info *info = ir_info(lowering->graph, bias);
    const int64_t *shape = info->tensor->shape;
    int grouped = info->tensor->rank == 2;
    int64_t extents[2] = {grouped ? shape[0] : 1, shape[grouped]};
    size_t count = plan_panels_count((size_t)extents[0], 1, (size_t)extents[1]);
    float *floats, *packed = BASE_NEW_ARRAY(lowering->arena, float, count);
    BASE_TRY_MEMORY(packed, lowering->diag);
    BASE_TRY(constant_floats(lowering, info->tensor, &floats));
    plan_pack_padded(floats, (size_t)extents[0], (size_t)extents[1], packed);
    return add_packed(lowering, info->name, extents, 2, PLAN_LAYOUT_PADDED, packed, count, tensor);
}
