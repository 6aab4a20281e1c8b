/* Tensor records, constants, the signature, and the whole. */
#include "compiler/lower.h"

#include "base/checked.h"
#include "compiler/lowering.h"

static void plan_shape(const ir_type *type, mtl_dim *dims)
{
    for (int32_t axis = 0; axis < type->rank && axis < MTL_MAX_RANK; axis++) {
        dims[axis] = (mtl_dim){.fixed = type->dim[axis].c, .per_row = type->dim[axis].k[IR_SYMBOL_ROWS]};
    }
}

/* A record of the given shape on the storage that `value` was given. */
static mtl_status add_record(compiler_lowering *lowering, const char *name, const ir_type *type, compiler_slot slot,
                             plan_layout layout, uint32_t *tensor)
{
    plan_tensor record = {.dtype = (uint8_t)type->dtype,
                          .rank = (uint8_t)type->rank,
                          .storage = (uint8_t)slot.storage,
                          .layout = (uint8_t)layout,
                          .index = slot.index,
                          .offset = slot.offset};
    mtl_dim dims[MTL_MAX_RANK];
    plan_shape(type, dims);
    BASE_TRY(plan_add_string(lowering->builder, name, &record.name));
    return plan_add_tensor(lowering->builder, &record, dims, tensor);
}

/* The bytes of a constant go into the plan once, however many records view them. */
static mtl_status place_const(compiler_lowering *lowering, ir_value value)
{
    compiler_slot *slot = &lowering->slots[value];
    if (slot->storage != 0) {
        return MTL_OK;
    }
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

mtl_status compiler_tensor(compiler_lowering *lowering, ir_value value, uint32_t *tensor)
{
    if (lowering->tensors[value] == PLAN_NONE) {
        const ir_value_info *info = ir_info(lowering->graph, value);
        ir_value root = lowering->root[value];
        if (ir_is_const(lowering->graph, root)) {
            BASE_TRY(place_const(lowering, root));
        }
        BASE_TRY(add_record(lowering, info->name, &info->type, lowering->slots[root], PLAN_LAYOUT_DENSE,
                            &lowering->tensors[value]));
    }
    *tensor = lowering->tensors[value];
    return MTL_OK;
}

mtl_status compiler_view_tensor(compiler_lowering *lowering, ir_value value, const ir_type *type, uint32_t *tensor)
{
    return add_record(lowering, ir_info(lowering->graph, value)->name, type, lowering->slots[lowering->root[value]],
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
    return add_record(lowering, name, &type, slot, layout, tensor);
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

static mtl_status output_record(compiler_lowering *lowering, uint32_t index, uint32_t *tensor)
{
    const ir_output *output = &lowering->graph->outputs[index];
    return add_record(lowering, output->name, ir_type_of(lowering->graph, output->value),
                      (compiler_slot){.storage = PLAN_STORAGE_OUTPUT, .index = index}, PLAN_LAYOUT_DENSE, tensor);
}

static mtl_status emit_signature(compiler_lowering *lowering, uint32_t *outputs)
{
    const ir_graph *graph = lowering->graph;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        uint32_t tensor;
        BASE_TRY(compiler_tensor(lowering, graph->inputs[i], &tensor));
        BASE_TRY(plan_add_input(lowering->builder, tensor));
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        BASE_TRY(output_record(lowering, i, &outputs[i]));
        BASE_TRY(plan_add_output(lowering->builder, outputs[i]));
    }
    return MTL_OK;
}

static mtl_status emit_output_copy(compiler_lowering *lowering, uint32_t index, const uint32_t *outputs)
{
    const ir_output *output = &lowering->graph->outputs[index];
    uint32_t source;
    BASE_TRY(compiler_tensor(lowering, output->value, &source));
    bool leads = compiler_rows_lead(ir_type_of(lowering->graph, output->value));
    return plan_add_step(lowering->builder, leads ? PLAN_OP_copy : PLAN_OP_store, 0, &source, 1, outputs[index], NULL,
                         0, output->name);
}

static mtl_status emit_steps(compiler_lowering *lowering, const uint32_t *outputs, compiler_lowered *result)
{
    for (uint32_t step = 0; step < lowering->item_count; step++) {
        const compiler_item *item = &lowering->items[step];
        if (item->node == 0) {
            BASE_TRY(emit_output_copy(lowering, (uint32_t)item->output, outputs));
            continue;
        }
        result->node_step[item->node] = step;
        BASE_TRY(compiler_emit_node(lowering, item->node));
    }
    return MTL_OK;
}

static mtl_status finish(compiler_lowering *lowering, const compiler_provenance *provenance, compiler_lowered *result)
{
    plan_meta meta = {.flags = lowering->whole_batch ? PLAN_FLAG_WHOLE_BATCH : 0,
                      .request_step_count = lowering->request_count,
                      .request_bytes = lowering->request_bytes,
                      .row_bytes = lowering->row_bytes,
                      .source_hash = {provenance->source_hash[0], provenance->source_hash[1]}};
    BASE_TRY(plan_add_string(lowering->builder, lowering->graph->name, &meta.model_name));
    BASE_TRY(plan_add_string(lowering->builder, provenance->producer, &meta.producer));
    BASE_TRY(plan_add_string(lowering->builder, provenance->compiler, &meta.compiler));
    return plan_build(lowering->builder, &meta, &result->plan, &result->plan_size);
}

mtl_status compiler_lower(const ir_graph *graph, const compiler_provenance *provenance, base_arena *arena,
                          base_diag *diag, compiler_lowered *result)
{
    compiler_lowering lowering = {.graph = graph, .arena = arena, .diag = diag};
    lowering.tensors = BASE_NEW_ARRAY(arena, uint32_t, graph->value_count);
    result->node_step = BASE_NEW_ARRAY(arena, uint32_t, graph->node_count);
    uint32_t *outputs = BASE_NEW_ARRAY(arena, uint32_t, graph->output_count);
    BASE_TRY_MEMORY(lowering.tensors, diag);
    BASE_TRY_MEMORY(result->node_step, diag);
    BASE_TRY_MEMORY(outputs, diag);
    for (uint32_t i = 0; i < graph->value_count; i++) {
        lowering.tensors[i] = PLAN_NONE;
    }
    for (uint32_t i = 0; i < graph->node_count; i++) {
        result->node_step[i] = COMPILER_NO_STEP;
    }
    BASE_TRY(plan_builder_new(arena, diag, &lowering.builder));
    BASE_TRY(compiler_schedule(&lowering));
    BASE_TRY(emit_signature(&lowering, outputs));
    BASE_TRY(emit_steps(&lowering, outputs, result));
    result->whole_batch = lowering.whole_batch_value;
    return finish(&lowering, provenance, result);
}
