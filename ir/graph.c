/* Nodes, values, constants: building a graph and changing it. Reading it is in read.c. */
#include "ir/graph.h"

#include <string.h>

#include "base/checked.h"
#include "ir/names.h"

/* What ir_graph.names points to. */
typedef struct name_tables {
    ir_names *values, *outputs;
} name_tables;

static ir_names *value_names(const ir_graph *graph)
{
    return ((const name_tables *)graph->names)->values;
}

static ir_names *output_names(const ir_graph *graph)
{
    return ((const name_tables *)graph->names)->outputs;
}

/* An array of `count` elements with room for one more; *capacity grows by doubling. NULL: no memory. */
static void *grow(base_arena *arena, void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    uint32_t larger = *capacity == 0 ? 16 : *capacity * 2;
    if (larger <= *capacity) {
        return NULL; /* 2^32 of them */
    }
    void *copy = base_arena_alloc_array(arena, larger, size);
    if (copy != NULL && count > 0) {
        memcpy(copy, array, count * size);
    }
    if (copy != NULL) {
        *capacity = larger;
    }
    return copy;
}

/* The same for the few arrays that have no capacity of their own: they are full at 0 and at powers of two. */
static void *grow_small(base_arena *arena, void *array, uint32_t count, size_t size)
{
    bool full = (count & (count - 1)) == 0;
    if (!full) {
        return array;
    }
    void *copy = base_arena_alloc_array(arena, count == 0 ? 1 : (size_t)count * 2, size);
    if (copy != NULL && count > 0) {
        memcpy(copy, array, count * size);
    }
    return copy;
}

mtl_status ir_graph_new(base_arena *arena, base_diag *diag, ir_graph **result)
{
    ir_graph *graph = BASE_NEW(arena, ir_graph);
    BASE_TRY_MEMORY(graph, diag);
    graph->arena = arena;
    graph->name = "";
    graph->symbols.name[IR_SYMBOL_ROWS] = "B";
    graph->symbols.count = 1;
    graph->value_count = graph->node_count = 0;
    graph->current_source = UINT32_MAX;
    name_tables *names = BASE_NEW(arena, name_tables);
    BASE_TRY_MEMORY(names, diag);
    names->values = ir_names_new(arena);
    BASE_TRY_MEMORY(names->values, diag);
    names->outputs = ir_names_new(arena);
    BASE_TRY_MEMORY(names->outputs, diag);
    graph->names = names;
    graph->values = grow(arena, NULL, 0, &graph->value_capacity, sizeof *graph->values);
    BASE_TRY_MEMORY(graph->values, diag);
    graph->nodes = grow(arena, NULL, 0, &graph->node_capacity, sizeof *graph->nodes);
    BASE_TRY_MEMORY(graph->nodes, diag);
    graph->value_count = graph->node_count = 1; /* 0 is none */
    graph->values[0].name = "";
    *result = graph;
    return MTL_OK;
}

const char *ir_unique_name(ir_graph *graph, const char *wish)
{
    return ir_names_unique(value_names(graph), wish != NULL && *wish != '\0' ? wish : "v", graph->arena);
}

ir_value ir_find_value(const ir_graph *graph, const char *name)
{
    return ir_names_find(value_names(graph), name);
}

/* A new value with a name like `wish`. */
static mtl_status add_value(ir_graph *graph, const char *wish, ir_value_kind kind, base_diag *diag, ir_value *value)
{
    const char *name = ir_unique_name(graph, wish);
    BASE_TRY_MEMORY(name, diag);
    ir_value_info *values =
        grow(graph->arena, graph->values, graph->value_count, &graph->value_capacity, sizeof *graph->values);
    BASE_TRY_MEMORY(values, diag);
    graph->values = values;
    if (!ir_names_add(value_names(graph), name, graph->value_count, graph->arena)) {
        return base_fail_memory(diag);
    }
    *value = graph->value_count++;
    graph->values[*value] = (ir_value_info){.kind = kind, .name = name};
    return MTL_OK;
}

mtl_status ir_add_input(ir_graph *graph, const char *name, const ir_type *type, base_diag *diag, ir_value *value)
{
    if (name == NULL || *name == '\0') {
        return base_fail(diag, MTL_INVALID_DATA, "input %u has no name", graph->input_count);
    }
    if (ir_find_value(graph, name) != 0) {
        return base_fail(diag, MTL_INVALID_DATA, "input '%s': the name is taken", name);
    }
    if (mtl_dtype_size(type->dtype) == 0 || type->rank < 0 || type->rank > MTL_MAX_RANK) {
        return base_fail(diag, MTL_UNSUPPORTED, "input '%s': rank %d, at most %d is supported", name, type->rank,
                         MTL_MAX_RANK);
    }
    for (int i = 0; i < type->rank; i++) {
        if (ir_dim_is_const(type->dim[i]) && type->dim[i].c < 0) {
            return base_fail(diag, MTL_INVALID_DATA, "input '%s': extent %lld of axis %d is negative", name,
                             (long long)type->dim[i].c, i);
        }
    }
    ir_value *inputs = grow_small(graph->arena, graph->inputs, graph->input_count, sizeof *inputs);
    BASE_TRY_MEMORY(inputs, diag);
    graph->inputs = inputs;
    BASE_TRY(add_value(graph, name, IR_VALUE_INPUT, diag, value));
    graph->values[*value].type = *type;
    graph->inputs[graph->input_count++] = *value;
    return MTL_OK;
}

static mtl_status check_tensor(const char *name, const ir_tensor *tensor, base_diag *diag)
{
    bool is_float = ir_dtype_is_float(tensor->dtype);
    if (mtl_dtype_size(tensor->dtype) == 0 || tensor->rank < 0 || tensor->rank > MTL_MAX_RANK) {
        return base_fail(diag, MTL_UNSUPPORTED, "constant '%s': rank %d, at most %d is supported", name, tensor->rank,
                         MTL_MAX_RANK);
    }
    size_t count = 1;
    for (int i = 0; i < tensor->rank; i++) {
        if (tensor->shape[i] < 0 || !base_mul_size(count, (size_t)tensor->shape[i], &count)) {
            return base_fail(diag, MTL_INVALID_DATA, "constant '%s': extent %lld of axis %d is out of range", name,
                             (long long)tensor->shape[i], i);
        }
    }
    if (count != tensor->count) {
        return base_fail(diag, MTL_INTERNAL, "constant '%s': %zu elements, but its shape has %zu", name, tensor->count,
                         count);
    }
    int holders = (tensor->raw != NULL) + (tensor->f != NULL) + (tensor->i != NULL);
    if (holders != 1 || (tensor->f != NULL && !is_float) || (tensor->i != NULL && is_float)) {
        return base_fail(diag, MTL_INTERNAL, "constant '%s': not exactly one of raw, f and i fits %s", name,
                         ir_dtype_name(tensor->dtype));
    }
    return MTL_OK;
}

/* Content of a small integer constant, for inference. */
static mtl_status add_content(ir_graph *graph, ir_value value, base_diag *diag)
{
    const ir_tensor *tensor = graph->values[value].tensor;
    if (ir_dtype_is_float(tensor->dtype) || tensor->rank > 1 || tensor->count > IR_CONTENT_MAX) {
        return MTL_OK;
    }
    ir_dim *content = BASE_NEW_ARRAY(graph->arena, ir_dim, tensor->count);
    BASE_TRY_MEMORY(content, diag);
    for (size_t i = 0; i < tensor->count; i++) {
        content[i] = ir_dim_const(ir_tensor_int_at(tensor, i));
        if (tensor->dtype == MTL_U64 && content[i].c < 0) {
            return MTL_OK; /* 2^63 and more: no ir_dim can say that */
        }
    }
    graph->values[value].content = content;
    graph->values[value].content_count = tensor->count;
    return MTL_OK;
}

mtl_status ir_add_columns(ir_graph *graph, const ir_columns *columns, base_diag *diag)
{
    ir_columns *all = grow_small(graph->arena, graph->columns, graph->column_count, sizeof *all);
    BASE_TRY_MEMORY(all, diag);
    graph->columns = all;
    ir_columns *added = &all[graph->column_count];
    *added = *columns;
    added->source = base_arena_format(graph->arena, "%s", columns->source);
    BASE_TRY_MEMORY(added->source, diag);
    graph->column_count++;
    return MTL_OK;
}

mtl_status ir_set_per_user(ir_graph *graph, ir_value input, base_diag *diag)
{
    ir_value_info *info = &graph->values[input];
    if (info->kind != IR_VALUE_INPUT || info->type.rank == 0 ||
        !ir_dim_equal(info->type.dim[0], ir_dim_symbol(IR_SYMBOL_ROWS))) {
        return base_fail(diag, MTL_INVALID_DATA,
                         "'%s' cannot be per_user: expected an input whose first axis is the candidates", info->name);
    }
    info->per_user = true;
    return MTL_OK;
}

mtl_status ir_add_const(ir_graph *graph, const char *name, const ir_tensor *tensor, base_diag *diag, ir_value *value)
{
    const char *wish = name != NULL && *name != '\0' ? name : "c";
    BASE_TRY(check_tensor(wish, tensor, diag));
    ir_tensor *copy = base_arena_copy(graph->arena, tensor, sizeof *tensor);
    BASE_TRY_MEMORY(copy, diag);
    BASE_TRY(add_value(graph, wish, IR_VALUE_CONST, diag, value));
    ir_value_info *info = &graph->values[*value];
    info->tensor = copy;
    info->type = (ir_type){.dtype = tensor->dtype, .rank = tensor->rank};
    for (int i = 0; i < tensor->rank; i++) {
        info->type.dim[i] = ir_dim_const(tensor->shape[i]);
    }
    return add_content(graph, *value, diag);
}

mtl_status ir_make_param(ir_graph *graph, ir_value value, base_diag *diag)
{
    ir_value_info *info = &graph->values[value];
    if (info->kind != IR_VALUE_CONST || info->type.dtype != MTL_F32) {
        return base_fail(diag, MTL_UNSUPPORTED, "param '%s' is %s, expected a constant of type f32", info->name,
                         ir_dtype_name(info->type.dtype));
    }
    if (info->tensor->count == 0) {
        return base_fail(diag, MTL_UNSUPPORTED, "param '%s' has no elements", info->name);
    }
    ir_value *params = grow_small(graph->arena, graph->params, graph->param_count, sizeof *params);
    BASE_TRY_MEMORY(params, diag);
    graph->params = params;
    graph->params[graph->param_count++] = value;
    info->kind = IR_VALUE_PARAM;
    return MTL_OK;
}

mtl_status ir_add_param(ir_graph *graph, const char *name, const ir_tensor *tensor, base_diag *diag, ir_value *value)
{
    if (name == NULL || *name == '\0') {
        return base_fail(diag, MTL_INVALID_DATA, "param %u has no name", graph->param_count);
    }
    if (ir_find_value(graph, name) != 0) {
        return base_fail(diag, MTL_INVALID_DATA, "param '%s': the name is taken", name);
    }
    BASE_TRY(ir_add_const(graph, name, tensor, diag, value));
    return ir_make_param(graph, *value, diag);
}

mtl_status ir_add_const_ints(ir_graph *graph, const int64_t *values, size_t count, int rank, base_diag *diag,
                             ir_value *value)
{
    const int64_t *copy = base_arena_copy(graph->arena, values, count * sizeof *values);
    BASE_TRY_MEMORY(copy, diag);
    ir_tensor tensor = {.dtype = MTL_I64, .rank = rank, .shape = {(int64_t)count}, .count = count, .i = copy};
    return ir_add_const(graph, NULL, &tensor, diag, value);
}

mtl_status ir_add_const_float(ir_graph *graph, double number, mtl_dtype dtype, base_diag *diag, ir_value *value)
{
    const double *copy = base_arena_copy(graph->arena, &number, sizeof number);
    BASE_TRY_MEMORY(copy, diag);
    ir_tensor tensor = {.dtype = dtype, .count = 1, .f = copy};
    return ir_add_const(graph, NULL, &tensor, diag, value);
}

mtl_status ir_add_output(ir_graph *graph, const char *name, ir_value value, base_diag *diag)
{
    if (name == NULL || *name == '\0') {
        return base_fail(diag, MTL_INVALID_DATA, "output %u has no name", graph->output_count);
    }
    if (ir_names_find(output_names(graph), name) != 0) {
        return base_fail(diag, MTL_INVALID_DATA, "output '%s' is there twice", name);
    }
    ir_output *outputs = grow_small(graph->arena, graph->outputs, graph->output_count, sizeof *outputs);
    BASE_TRY_MEMORY(outputs, diag);
    graph->outputs = outputs;
    const char *copy = base_arena_string(graph->arena, name);
    BASE_TRY_MEMORY(copy, diag);
    if (!ir_names_add(output_names(graph), copy, graph->output_count + 1, graph->arena)) {
        return base_fail_memory(diag);
    }
    graph->outputs[graph->output_count++] = (ir_output){.name = copy, .value = value};
    return MTL_OK;
}

mtl_status ir_add_source(ir_graph *graph, const char *name, const char *op, base_diag *diag, uint32_t *source)
{
    ir_source *sources =
        grow(graph->arena, graph->sources, graph->source_count, &graph->source_capacity, sizeof *graph->sources);
    BASE_TRY_MEMORY(sources, diag);
    graph->sources = sources;
    const char *name_copy = base_arena_string(graph->arena, name);
    BASE_TRY_MEMORY(name_copy, diag);
    const char *op_copy = base_arena_string(graph->arena, op);
    BASE_TRY_MEMORY(op_copy, diag);
    *source = graph->source_count++;
    graph->sources[*source] = (ir_source){.name = name_copy, .op = op_copy};
    return MTL_OK;
}

/* --- inserting ----------------------------------------------------------------------------------------------- */

static void link_node(ir_graph *graph, ir_node node, ir_node before)
{
    ir_node previous = before == 0 ? graph->last_node : graph->nodes[before].previous;
    graph->nodes[node].previous = previous;
    graph->nodes[node].next = before;
    *(previous == 0 ? &graph->first_node : &graph->nodes[previous].next) = node;
    *(before == 0 ? &graph->last_node : &graph->nodes[before].previous) = node;
}

static void unlink_node(ir_graph *graph, ir_node node)
{
    ir_node_info *info = &graph->nodes[node];
    *(info->previous == 0 ? &graph->first_node : &graph->nodes[info->previous].next) = info->next;
    *(info->next == 0 ? &graph->last_node : &graph->nodes[info->next].previous) = info->previous;
    info->previous = info->next = 0;
}

static mtl_status check_operands(const ir_graph *graph, ir_node node, base_diag *diag)
{
    const ir_node_info *info = &graph->nodes[node];
    const ir_op_info *op = ir_op_table(info->op);
    bool few = info->input_count < (uint32_t)op->min_inputs;
    if (few || (op->max_inputs >= 0 && info->input_count > (uint32_t)op->max_inputs)) {
        const char *bound = op->max_inputs == op->min_inputs ? "" : few ? "at least " : "at most ";
        return ir_fail(graph, node, diag, MTL_INVALID_DATA, "%u operand%s, expected %s%d", info->input_count,
                       info->input_count == 1 ? "" : "s", bound, few ? op->min_inputs : op->max_inputs);
    }
    for (uint32_t i = 0; i < info->input_count; i++) {
        if (info->inputs[i] >= graph->value_count) {
            return ir_fail(graph, node, diag, MTL_INTERNAL, "operand %u is no value", i);
        }
        if (info->inputs[i] == 0 && (op->max_inputs < 0 || i < (uint32_t)op->min_inputs)) {
            return ir_fail(graph, node, diag, MTL_INVALID_DATA, "operand %u is absent", i);
        }
    }
    return MTL_OK;
}

mtl_status ir_check_form(const ir_graph *graph, ir_node node, base_diag *diag)
{
    BASE_TRY(check_operands(graph, node, diag));
    const ir_node_info *info = &graph->nodes[node];
    const ir_op_info *op = ir_op_table(info->op);
    uint64_t present = 0;
    for (uint32_t i = 0; i < info->attr_count; i++) {
        uint64_t bit = UINT64_C(1) << info->attrs[i].key;
        if (((op->required | op->optional) & bit) == 0 || (present & bit) != 0) {
            return ir_fail(graph, node, diag, MTL_INVALID_DATA, "attribute %s %s", ir_attr_name(info->attrs[i].key),
                           (present & bit) != 0 ? "is there twice" : "is not one of this operation");
        }
        present |= bit;
    }
    for (int key = 0; key < IR_ATTR_COUNT; key++) {
        if ((op->required & ~present & UINT64_C(1) << key) != 0) {
            return ir_fail(graph, node, diag, MTL_INVALID_DATA, "attribute %s is missing",
                           ir_attr_name((ir_attr_key)key));
        }
    }
    return MTL_OK;
}

/* Deep copies, in the order of attrs.def whatever the order of `attrs`. */
static mtl_status copy_attrs(ir_graph *graph, const ir_attr *attrs, size_t count, base_diag *diag, ir_attr **result)
{
    ir_attr *copies = BASE_NEW_ARRAY(graph->arena, ir_attr, count);
    BASE_TRY_MEMORY(copies, diag);
    for (size_t i = 0; i < count; i++) {
        ir_attr attr = attrs[i];
        if (ir_attr_key_kind(attr.key) == IR_KIND_INTS) {
            attr.ints = base_arena_copy(graph->arena, attr.ints, attr.count * sizeof *attr.ints);
            BASE_TRY_MEMORY(attr.ints, diag);
        } else if (ir_attr_key_kind(attr.key) == IR_KIND_STRING) {
            attr.text = base_arena_string(graph->arena, attr.text != NULL ? attr.text : "");
            BASE_TRY_MEMORY(attr.text, diag);
        }
        size_t place = i;
        for (; place > 0 && copies[place - 1].key > attr.key; place--) {
            copies[place] = copies[place - 1];
        }
        copies[place] = attr;
    }
    *result = copies;
    return MTL_OK;
}

/* Fills in a new node at the end of the array; it is not linked yet. */
static mtl_status new_node(ir_graph *graph, ir_op op, const ir_value *inputs, size_t input_count, const ir_attr *attrs,
                           size_t attr_count, base_diag *diag, ir_node *node)
{
    while (input_count > 0 && inputs[input_count - 1] == 0) {
        input_count--;
    }
    if (input_count > UINT32_MAX || attr_count > UINT32_MAX) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "more than 2^32 operands");
    }
    ir_node_info *nodes =
        grow(graph->arena, graph->nodes, graph->node_count, &graph->node_capacity, sizeof *graph->nodes);
    BASE_TRY_MEMORY(nodes, diag);
    graph->nodes = nodes;
    ir_node_info info = {.op = op, .input_count = (uint32_t)input_count, .attr_count = (uint32_t)attr_count};
    info.inputs = base_arena_copy(graph->arena, inputs, input_count * sizeof *inputs);
    BASE_TRY_MEMORY(info.inputs, diag);
    info.outputs = BASE_NEW_ARRAY(graph->arena, ir_value, (size_t)ir_op_table(op)->outputs);
    BASE_TRY_MEMORY(info.outputs, diag);
    BASE_TRY(copy_attrs(graph, attrs, attr_count, diag, &info.attrs));
    if (graph->current_source != UINT32_MAX) {
        info.sources = base_arena_copy(graph->arena, &graph->current_source, sizeof graph->current_source);
        BASE_TRY_MEMORY(info.sources, diag);
        info.source_count = 1;
    }
    *node = graph->node_count++;
    graph->nodes[*node] = info;
    return MTL_OK;
}

/* Results, arity and types of a node that is linked already. `type` (may be NULL) is what the first result must be. */
static mtl_status finish_node(ir_graph *graph, ir_node node, const char *name, const ir_type *type, base_diag *diag)
{
    ir_node_info *info = &graph->nodes[node];
    uint32_t outputs = (uint32_t)ir_op_table(info->op)->outputs;
    for (uint32_t i = 0; i < outputs; i++) {
        BASE_TRY(add_value(graph, name, IR_VALUE_NODE, diag, &info->outputs[i]));
        graph->values[info->outputs[i]].node = node;
        info->output_count = i + 1;
    }
    BASE_TRY(ir_check_form(graph, node, diag));
    if (type != NULL) {
        graph->values[info->outputs[0]].type = *type;
    }
    BASE_TRY(ir_infer(graph, node, diag));
    const ir_type *inferred = &graph->values[graph->nodes[node].outputs[0]].type;
    if (mtl_dtype_size(inferred->dtype) == 0) {
        return ir_fail(graph, node, diag, MTL_INTERNAL, "its type was not inferred");
    }
    if (type != NULL && !ir_type_equal(type, inferred)) {
        const char *given_text = ir_type_text(type, &graph->symbols, graph->arena);
        BASE_TRY_MEMORY(given_text, diag);
        const char *inferred_text = ir_type_text(inferred, &graph->symbols, graph->arena);
        BASE_TRY_MEMORY(inferred_text, diag);
        return ir_fail(graph, node, diag, MTL_INVALID_DATA, "the result is %s, not %s", inferred_text, given_text);
    }
    return MTL_OK;
}

mtl_status ir_insert_typed(ir_graph *graph, ir_node before, ir_op op, const char *name, const ir_value *inputs,
                           size_t input_count, const ir_attr *attrs, size_t attr_count, const ir_type *type,
                           base_diag *diag, ir_value *result)
{
    ir_node node = 0;
    BASE_TRY(new_node(graph, op, inputs, input_count, attrs, attr_count, diag, &node));
    link_node(graph, node, before);
    mtl_status status = finish_node(graph, node, name, type, diag);
    if (status != MTL_OK) {
        unlink_node(graph, node); /* its values stay as dead ones, which is harmless */
        return status;
    }
    *result = graph->nodes[node].outputs[0];
    return MTL_OK;
}

mtl_status ir_insert(ir_graph *graph, ir_node before, ir_op op, const char *name, const ir_value *inputs,
                     size_t input_count, const ir_attr *attrs, size_t attr_count, base_diag *diag, ir_value *result)
{
    return ir_insert_typed(graph, before, op, name, inputs, input_count, attrs, attr_count, NULL, diag, result);
}

/* --- changing ------------------------------------------------------------------------------------------------ */

void ir_replace(ir_graph *graph, ir_value old, ir_value new_value)
{
    for (ir_node node = graph->first_node; node != 0; node = graph->nodes[node].next) {
        ir_node_info *info = &graph->nodes[node];
        for (uint32_t i = 0; i < info->input_count; i++) {
            if (info->inputs[i] == old) {
                info->inputs[i] = new_value;
            }
        }
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        if (graph->outputs[i].value == old) {
            graph->outputs[i].value = new_value;
        }
    }
}

void ir_remove(ir_graph *graph, ir_node node)
{
    unlink_node(graph, node);
}

/* Room in a node's list of `count` sources: a power of two, so that a node that takes over many does not copy them all each
 * time. */
static size_t source_room(size_t count)
{
    size_t room = 1;
    while (room < count) {
        room *= 2;
    }
    return count == 0 ? 0 : room;
}

mtl_status ir_set_sources(ir_graph *graph, ir_node node, const uint32_t *sources, uint32_t count, base_diag *diag)
{
    ir_node_info *info = &graph->nodes[node];
    info->sources = BASE_NEW_ARRAY(graph->arena, uint32_t, source_room(count));
    BASE_TRY_MEMORY(info->sources, diag);
    if (count > 0) {
        memcpy(info->sources, sources, count * sizeof *sources);
    }
    info->source_count = count;
    return MTL_OK;
}

mtl_status ir_take_sources(ir_graph *graph, ir_node into, ir_node from, base_diag *diag)
{
    const ir_node_info *giver = &graph->nodes[from];
    ir_node_info *taker = &graph->nodes[into];
    uint32_t *sources = taker->sources;
    uint32_t count = taker->source_count;
    size_t most = (size_t)count + giver->source_count;
    if (most > source_room(count)) {
        sources = BASE_NEW_ARRAY(graph->arena, uint32_t, source_room(most));
        BASE_TRY_MEMORY(sources, diag);
        if (count > 0) {
            memcpy(sources, taker->sources, count * sizeof *sources);
        }
    }
    for (uint32_t i = 0; i < giver->source_count; i++) {
        bool there = false;
        for (uint32_t j = 0; j < taker->source_count; j++) {
            there = there || taker->sources[j] == giver->sources[i];
        }
        if (!there) {
            sources[count++] = giver->sources[i];
        }
    }
    taker->sources = sources;
    taker->source_count = count;
    return MTL_OK;
}

void ir_set_fate(ir_graph *graph, ir_node node, const char *fate)
{
    const ir_node_info *info = &graph->nodes[node];
    for (uint32_t i = 0; i < info->source_count; i++) {
        graph->sources[info->sources[i]].fate = fate;
    }
}
