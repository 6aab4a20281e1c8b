/* The order of the steps, and where each value lies. */
#include <inttypes.h>

#include "compiler/lowering.h"
#include "compiler/memory.h"
#include "plan/plan.h"

bool compiler_rows_lead(const ir_type *type)
{
    for (int32_t axis = 0; axis < type->rank && type->dim[axis].k[IR_SYMBOL_ROWS] == 0; axis++) {
        bool rows_follow = false;
        for (int32_t later = axis + 1; later < type->rank; later++) {
            rows_follow |= type->dim[later].k[IR_SYMBOL_ROWS] != 0;
        }
        if (rows_follow && !ir_dim_is(type->dim[axis], 1)) {
            return false;
        }
    }
    return true;
}

/* Whether all candidates come several times on their axis, one set after the other: in the caller's memory, a tile of
 * such a value is several pieces that no shape of a plan tells apart. */
static bool rows_repeat(const ir_graph *graph, ir_value value)
{
    const ir_rate *rate = &ir_info(graph, value)->rate;
    return rate->kind == IR_RATE_ROW && rate->before > 1;
}

static bool is_computed(const compiler_lowering *lowering, ir_value value)
{
    return ir_info(lowering->graph, value)->kind == IR_VALUE_NODE;
}

/* What a plan can hold: extents that are fixed or a multiple of the candidates, the candidates on one axis. */
static mtl_status check_type(const compiler_lowering *lowering, ir_value value)
{
    const ir_graph *graph = lowering->graph;
    const ir_value_info *info = ir_info(graph, value);
    int row_axes = 0;
    for (int32_t axis = 0; axis < info->type.rank; axis++) {
        ir_dim dim = info->type.dim[axis];
        for (int symbol = 0; symbol < graph->symbols.count; symbol++) {
            if (symbol != IR_SYMBOL_ROWS && dim.k[symbol] != 0) {
                return base_fail(lowering->diag, MTL_UNSUPPORTED,
                                 "'%s': symbolic dim '%s' must be fixed (--dim %s=NUMBER)", info->name,
                                 graph->symbols.name[symbol], graph->symbols.name[symbol]);
            }
        }
        if (dim.k[IR_SYMBOL_ROWS] == 0) {
            continue;
        }
        row_axes++;
        if (row_axes > 1 || dim.c != 0 || dim.k[IR_SYMBOL_ROWS] < 0) {
            char *text = ir_dim_text(dim, &graph->symbols, lowering->arena);
            return ir_fail(graph, info->node, lowering->diag, MTL_UNSUPPORTED,
                           "'%s' has extent %s on axis %d; plans hold values with one axis that is a multiple "
                           "of the candidates",
                           info->name, text != NULL ? text : "?", (int)axis);
        }
    }
    return MTL_OK;
}

static mtl_status check_input(const compiler_lowering *lowering, ir_value value)
{
    BASE_TRY(check_type(lowering, value));
    if (!compiler_rows_lead(ir_type_of(lowering->graph, value))) {
        return base_fail(lowering->diag, MTL_UNSUPPORTED,
                         "input '%s': its axes before that of the candidates must have extent 1",
                         ir_info(lowering->graph, value)->name);
    }
    return MTL_OK;
}

static mtl_status check_values(const compiler_lowering *lowering)
{
    const ir_graph *graph = lowering->graph;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        BASE_TRY(check_input(lowering, graph->inputs[i]));
    }
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        const ir_node_info *info = ir_node_of(graph, node);
        for (uint32_t i = 0; i < info->output_count; i++) {
            if (info->outputs[i] != 0) {
                BASE_TRY(check_type(lowering, info->outputs[i]));
            }
        }
    }
    return MTL_OK;
}

uint64_t compiler_row_elements(const ir_type *type)
{
    uint64_t elements = 1;
    for (int32_t axis = 0; axis < type->rank; axis++) {
        uint64_t extent = (uint64_t)type->dim[axis].c + (uint64_t)type->dim[axis].k[IR_SYMBOL_ROWS];
        if (__builtin_mul_overflow(elements, extent, &elements)) {
            return UINT64_MAX;
        }
    }
    return elements;
}

compiler_slot compiler_slot_of(const compiler_lowering *lowering, ir_value value)
{
    compiler_slot slot = lowering->slots[lowering->root[value]];
    slot.window = lowering->windows[value];
    slot.per_user = ir_info(lowering->graph, value)->rate.per_user;
    return slot;
}

/* An output whose value is computed straight into the caller's memory: the first output of a group of views that all
 * keep the candidates in front. The other outputs are copied. */
static void place_outputs(compiler_lowering *lowering, const bool *scattered)
{
    const ir_graph *graph = lowering->graph;
    for (uint32_t i = 0; i < graph->output_count; i++) {
        ir_value value = graph->outputs[i].value, root = lowering->root[value];
        bool whole = lowering->windows[value].pitch == 0;
        if (is_computed(lowering, root) && whole && !scattered[root] && lowering->slots[root].storage == 0) {
            lowering->slots[root] = (compiler_slot){.storage = PLAN_STORAGE_OUTPUT, .index = i};
            lowering->direct[i] = 1;
        }
    }
}

/* One behind the other, as docs/plan-format.md says. Their bytes are in memory already, so that nothing overflows. */
static void place_params(compiler_lowering *lowering)
{
    const ir_graph *graph = lowering->graph;
    uint64_t offset = 0;
    for (uint32_t i = 0; i < graph->param_count; i++) {
        uint64_t bytes = ir_info(graph, graph->params[i])->tensor->count * sizeof(float);
        lowering->slots[graph->params[i]] =
            (compiler_slot){.storage = PLAN_STORAGE_PARAM, .index = i, .offset = offset};
        offset += (bytes + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    }
}

static mtl_status place_callers_memory(compiler_lowering *lowering)
{
    const ir_graph *graph = lowering->graph;
    bool *scattered = BASE_NEW_ARRAY(lowering->arena, bool, graph->value_count);
    BASE_TRY_MEMORY(scattered, lowering->diag);
    for (ir_value value = 1; value < graph->value_count; value++) {
        if (!compiler_rows_lead(ir_type_of(graph, value))) {
            scattered[lowering->root[value]] = true;
        }
    }
    for (uint32_t i = 0; i < graph->input_count; i++) {
        lowering->slots[graph->inputs[i]] = (compiler_slot){.storage = PLAN_STORAGE_INPUT, .index = i};
    }
    place_params(lowering);
    place_outputs(lowering, scattered);
    return MTL_OK;
}

static bool runs_per_row(const compiler_lowering *lowering, ir_value value)
{
    const ir_rate *rate = &ir_info(lowering->graph, value)->rate;
    return (rate->kind == IR_RATE_ROW && !rate->per_user) || rate->kind == IR_RATE_BATCH;
}

static void add_node(compiler_lowering *lowering, ir_node node, bool row)
{
    if (!lowering->in_place[node]) {
        lowering->items[lowering->item_count++] =
            (compiler_item){.node = node, .output = -1, .operand = -1, .row = row};
        return;
    }
    for (uint32_t i = 0; i < ir_node_of(lowering->graph, node)->input_count; i++) {
        compiler_window to;
        if (compiler_copies_operand(lowering, node, i, &to)) {
            lowering->items[lowering->item_count++] =
                (compiler_item){.node = node, .output = -1, .operand = (int32_t)i, .row = row};
        }
    }
}

/* Adds the node that makes `value`, unless it is there, behind those that it needs: a mask, and few nodes (spans.c). */
static void add_before(compiler_lowering *lowering, ir_value value, bool *added)
{
    ir_node node = value != 0 ? ir_info(lowering->graph, value)->node : 0;
    if (node == 0 || added[node]) {
        return;
    }
    const ir_node_info *info = ir_node_of(lowering->graph, node);
    added[node] = true;
    for (uint32_t i = 0; i < info->input_count; i++) {
        add_before(lowering, info->inputs[i], added);
    }
    if (!lowering->viewed[info->outputs[0]]) {
        add_node(lowering, node, runs_per_row(lowering, info->outputs[0]));
    }
}

/* `added`: by node, those of the request program and those that are there already. */
static void add_items(compiler_lowering *lowering, bool row, bool *added)
{
    const ir_graph *graph = lowering->graph;
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        ir_value result = ir_node_of(graph, node)->outputs[0];
        if (runs_per_row(lowering, result) != row || added[node]) {
            continue;
        }
        added[node] = true;
        add_before(lowering, lowering->spans[node], added);
        if (!lowering->viewed[result]) {
            add_node(lowering, node, row);
        }
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        if (runs_per_row(lowering, graph->outputs[i].value) == row && !lowering->direct[i]) {
            lowering->items[lowering->item_count++] = (compiler_item){.output = (int32_t)i, .operand = -1, .row = row};
        }
    }
}

/* Of a storage group: from the first step that writes to it to the last that reads. */
typedef struct lifetime {
    uint32_t first, last;
    bool begun, placed;
} lifetime;

static void note_written(const compiler_lowering *lowering, lifetime *lifetimes, ir_value value, uint32_t step)
{
    lifetime *of = &lifetimes[lowering->root[value]];
    if (!of->begun) {
        *of = (lifetime){.first = step, .begun = true};
    }
    of->last = step;
}

static void note_read(const compiler_lowering *lowering, lifetime *lifetimes, ir_value value, uint32_t step)
{
    if (value == 0) {
        return;
    }
    ir_value root = lowering->root[value];
    bool crosses = step >= lowering->request_count && !runs_per_row(lowering, root);
    lifetimes[root].last = crosses ? UINT32_MAX : step; /* request values stay for every tile */
}

static uint64_t bytes_of(const ir_type *type, bool *overflow)
{
    uint64_t bytes = mtl_dtype_size(type->dtype);
    for (int32_t axis = 0; axis < type->rank; axis++) {
        uint64_t extent = (uint64_t)type->dim[axis].c + (uint64_t)type->dim[axis].k[IR_SYMBOL_ROWS];
        *overflow |= __builtin_mul_overflow(bytes, extent, &bytes);
    }
    *overflow |= bytes > PLAN_MAX_TENSOR_BYTES;
    return bytes;
}

/* Places the groups of one program in one space. `unit`: sizes are rounded up to it. */
static mtl_status place_space(compiler_lowering *lowering, lifetime *lifetimes, bool row, uint64_t unit,
                              uint64_t *total)
{
    const ir_graph *graph = lowering->graph;
    compiler_block *blocks = BASE_NEW_ARRAY(lowering->arena, compiler_block, graph->value_count);
    ir_value *owners = BASE_NEW_ARRAY(lowering->arena, ir_value, graph->value_count);
    BASE_TRY_MEMORY(blocks, lowering->diag);
    BASE_TRY_MEMORY(owners, lowering->diag);
    size_t count = 0;
    for (uint32_t step = 0; step < lowering->item_count; step++) {
        const compiler_item *item = &lowering->items[step];
        if (item->node == 0 || item->row != row) {
            continue;
        }
        ir_value value = lowering->root[ir_node_of(graph, item->node)->outputs[0]];
        if (lowering->slots[value].storage != 0 || lifetimes[value].placed) {
            continue;
        }
        lifetimes[value].placed = true;
        bool overflow = false;
        uint64_t bytes = bytes_of(ir_type_of(graph, value), &overflow);
        if (overflow) {
            return ir_fail(graph, item->node, lowering->diag, MTL_UNSUPPORTED, "result '%s' is too large",
                           ir_info(graph, value)->name);
        }
        owners[count] = value;
        blocks[count++] = (compiler_block){
            .size = (bytes + unit - 1) / unit * unit, .first = lifetimes[value].first, .last = lifetimes[value].last};
    }
    BASE_TRY(compiler_plan_memory(blocks, count, lowering->arena, lowering->diag, total));
    if (*total > (row ? PLAN_MAX_ROW_BYTES : PLAN_MAX_REQUEST_BYTES)) {
        return base_fail(lowering->diag, MTL_UNSUPPORTED,
                         "the workspace needs %" PRIu64 " bytes%s, expected at most 2^%d", *total, row ? " a row" : "",
                         row ? 40 : 46);
    }
    for (size_t i = 0; i < count; i++) {
        lowering->slots[owners[i]] =
            (compiler_slot){.storage = row ? PLAN_STORAGE_ROW : PLAN_STORAGE_REQUEST, .offset = blocks[i].offset};
    }
    return MTL_OK;
}

static mtl_status place_workspace(compiler_lowering *lowering)
{
    const ir_graph *graph = lowering->graph;
    lifetime *lifetimes = BASE_NEW_ARRAY(lowering->arena, lifetime, graph->value_count);
    BASE_TRY_MEMORY(lifetimes, lowering->diag);
    for (uint32_t step = 0; step < lowering->item_count; step++) {
        const compiler_item *item = &lowering->items[step];
        if (item->node == 0) {
            note_read(lowering, lifetimes, graph->outputs[item->output].value, step);
            continue;
        }
        const ir_node_info *node = ir_node_of(graph, item->node);
        note_written(lowering, lifetimes, node->outputs[0], step);
        for (uint32_t i = 0; i < node->input_count; i++) {
            if (item->operand < 0 || item->operand == (int32_t)i) {
                note_read(lowering, lifetimes, node->inputs[i], step);
            }
        }
        note_read(lowering, lifetimes, lowering->spans[item->node], step);
    }
    BASE_TRY(place_space(lowering, lifetimes, false, PLAN_ALIGNMENT, &lowering->request_bytes));
    /* Tiles are multiples of 16 rows high, so 4 bytes a row keep every value on a 64-byte boundary. */
    return place_space(lowering, lifetimes, true, PLAN_ALIGNMENT / 16, &lowering->row_bytes);
}

static void need_whole_batch(compiler_lowering *lowering, ir_value value)
{
    if (!lowering->whole_batch) {
        lowering->whole_batch = true;
        lowering->whole_batch_value = value;
    }
}

static void find_whole_batch(compiler_lowering *lowering)
{
    const ir_graph *graph = lowering->graph;
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        ir_value result = ir_node_of(graph, node)->outputs[0];
        if (ir_info(graph, result)->rate.kind == IR_RATE_BATCH) {
            need_whole_batch(lowering, result);
        }
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        if (rows_repeat(graph, graph->outputs[i].value)) {
            need_whole_batch(lowering, graph->outputs[i].value);
        }
    }
}

/* Nodes, outputs, and the operands of concatenations. */
static size_t most_items(const ir_graph *graph)
{
    size_t count = (size_t)graph->node_count + graph->output_count;
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        count += ir_node_of(graph, node)->op == IR_OP_concat ? ir_node_of(graph, node)->input_count : 0;
    }
    return count;
}

mtl_status compiler_schedule(compiler_lowering *lowering)
{
    const ir_graph *graph = lowering->graph;
    lowering->root = BASE_NEW_ARRAY(lowering->arena, ir_value, graph->value_count);
    lowering->windows = BASE_NEW_ARRAY(lowering->arena, compiler_window, graph->value_count);
    lowering->viewed = BASE_NEW_ARRAY(lowering->arena, bool, graph->value_count);
    lowering->in_place = BASE_NEW_ARRAY(lowering->arena, bool, graph->node_count);
    lowering->spans = BASE_NEW_ARRAY(lowering->arena, ir_value, graph->node_count);
    bool *added = BASE_NEW_ARRAY(lowering->arena, bool, graph->node_count);
    lowering->slots = BASE_NEW_ARRAY(lowering->arena, compiler_slot, graph->value_count);
    lowering->direct = BASE_NEW_ARRAY(lowering->arena, int32_t, graph->output_count);
    lowering->items = BASE_NEW_ARRAY(lowering->arena, compiler_item, most_items(graph));
    BASE_TRY_MEMORY(lowering->root, lowering->diag);
    BASE_TRY_MEMORY(lowering->windows, lowering->diag);
    BASE_TRY_MEMORY(lowering->viewed, lowering->diag);
    BASE_TRY_MEMORY(lowering->in_place, lowering->diag);
    BASE_TRY_MEMORY(lowering->spans, lowering->diag);
    BASE_TRY_MEMORY(added, lowering->diag);
    BASE_TRY_MEMORY(lowering->slots, lowering->diag);
    BASE_TRY_MEMORY(lowering->direct, lowering->diag);
    BASE_TRY_MEMORY(lowering->items, lowering->diag);
    find_whole_batch(lowering);
    BASE_TRY(check_values(lowering));
    BASE_TRY(compiler_find_views(lowering));
    BASE_TRY(place_callers_memory(lowering));
    BASE_TRY(compiler_find_spans(lowering));
    add_items(lowering, false, added);
    lowering->request_count = lowering->item_count;
    add_items(lowering, true, added);
    return place_workspace(lowering);
}
