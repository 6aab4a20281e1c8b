/* The signature, the steps in order, and the whole. */
#include "compiler/lower.h"

#include "compiler/lowering.h"

static mtl_status output_record(compiler_lowering *lowering, uint32_t index, uint32_t *tensor)
{
    const ir_output *output = &lowering->graph->outputs[index];
    return compiler_record(lowering, output->name, ir_type_of(lowering->graph, output->value),
                           (compiler_slot){.storage = PLAN_STORAGE_OUTPUT, .index = index}, PLAN_LAYOUT_DENSE, tensor);
}

/* Of an input that is still there: a plan of some outputs may not need it. */
static mtl_status emit_columns(compiler_lowering *lowering, const ir_columns *columns)
{
    const ir_graph *graph = lowering->graph;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        if (graph->inputs[i] == columns->input && columns->width <= UINT32_MAX) {
            const plan_columns record = {.input = i,
                                         .from = (uint32_t)columns->from,
                                         .count = (uint32_t)columns->count,
                                         .width = (uint32_t)columns->width};
            return plan_add_columns(lowering->builder, columns->source, &record);
        }
    }
    return MTL_OK;
}

static mtl_status emit_signature(compiler_lowering *lowering, uint32_t *outputs)
{
    const ir_graph *graph = lowering->graph;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        uint32_t tensor;
        BASE_TRY(compiler_tensor(lowering, graph->inputs[i], &tensor));
        BASE_TRY(plan_add_input(lowering->builder, tensor));
    }
    for (uint32_t i = 0; i < graph->column_count; i++) {
        BASE_TRY(emit_columns(lowering, &graph->columns[i]));
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        BASE_TRY(output_record(lowering, i, &outputs[i]));
        BASE_TRY(plan_add_output(lowering->builder, outputs[i]));
    }
    for (uint32_t i = 0; i < graph->param_count; i++) {
        uint32_t tensor, value;
        BASE_TRY(compiler_tensor(lowering, graph->params[i], &tensor));
        BASE_TRY(compiler_default_tensor(lowering, graph->params[i], &value));
        BASE_TRY(plan_add_param(lowering->builder, tensor, value));
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
        if (item->operand < 0) {
            result->node_step[item->node] = step;
            BASE_TRY(compiler_emit_node(lowering, item->node));
        } else {
            BASE_TRY(compiler_emit_operand(lowering, item->node, (uint32_t)item->operand));
        }
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
