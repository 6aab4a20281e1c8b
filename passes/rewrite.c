#include "passes/rewrite.h"

#include <math.h>
#include <string.h>

/* Room for the values that were added to the graph. */
static mtl_status grow(passes_rewriter *r)
{
    if (r->graph->value_count <= r->capacity) {
        return MTL_OK;
    }
    uint32_t capacity = r->graph->value_count < UINT32_MAX / 2 ? r->graph->value_count * 2 : UINT32_MAX;
    uint32_t *uses = BASE_NEW_ARRAY(&r->scratch, uint32_t, capacity);
    ir_value *replaced = BASE_NEW_ARRAY(&r->scratch, ir_value, capacity);
    const char **fates = BASE_NEW_ARRAY(&r->scratch, const char *, capacity);
    bool *owned = BASE_NEW_ARRAY(&r->scratch, bool, capacity);
    BASE_TRY_MEMORY(owned, r->diag);
    BASE_TRY_MEMORY(uses, r->diag);
    BASE_TRY_MEMORY(replaced, r->diag);
    BASE_TRY_MEMORY(fates, r->diag);
    if (r->capacity > 0) {
        memcpy(uses, r->uses, r->capacity * sizeof *uses);
        memcpy(replaced, r->replaced, r->capacity * sizeof *replaced);
        memcpy(fates, r->fates, r->capacity * sizeof *fates);
        memcpy(owned, r->owned, r->capacity * sizeof *owned);
    }
    r->uses = uses;
    r->replaced = replaced;
    r->fates = fates;
    r->owned = owned;
    r->capacity = capacity;
    return MTL_OK;
}

ir_value passes_resolve(passes_rewriter *r, ir_value value)
{
    ir_value end = value;
    while (r->replaced[end] != 0) {
        end = r->replaced[end];
    }
    while (r->replaced[value] != 0) { /* shortens the path for the next reader */
        ir_value next = r->replaced[value];
        r->replaced[value] = end;
        value = next;
    }
    return end;
}

static void release(passes_rewriter *r, ir_value value, const char *fate)
{
    if (value != 0 && --r->uses[value] == 0) {
        r->fates[value] = fate;
    }
}

mtl_status passes_begin(ir_graph *graph, base_diag *diag, passes_rewriter *r)
{
    *r = (passes_rewriter){.graph = graph, .diag = diag};
    graph->current_source = UINT32_MAX;
    uint32_t *uses;
    mtl_status status = grow(r);
    if (status == MTL_OK) {
        status = ir_count_uses(graph, &r->scratch, diag, &uses);
    }
    if (status != MTL_OK) {
        return passes_abandon(r, status);
    }
    memcpy(r->uses, uses, graph->value_count * sizeof *uses);
    return MTL_OK;
}

mtl_status passes_abandon(passes_rewriter *r, mtl_status status)
{
    base_arena_free(&r->scratch);
    return status;
}

void passes_visit(passes_rewriter *r, ir_node node)
{
    ir_node_info *info = &r->graph->nodes[node];
    for (uint32_t i = 0; i < info->input_count; i++) {
        info->inputs[i] = passes_resolve(r, info->inputs[i]);
    }
}

/* Whether the node dies, and of what. */
static bool is_dead(const passes_rewriter *r, const ir_node_info *node, const char **fate)
{
    *fate = NULL;
    for (uint32_t j = 0; j < node->output_count; j++) {
        if (r->uses[node->outputs[j]] > 0) {
            return false;
        }
        *fate = r->fates[node->outputs[j]] != NULL ? r->fates[node->outputs[j]] : *fate;
    }
    return *fate != NULL;
}

/* Redirects all readers. */
static void redirect(passes_rewriter *r)
{
    ir_graph *graph = r->graph;
    for (ir_node n = graph->first_node; n != 0; n = graph->nodes[n].next) {
        passes_visit(r, n);
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        graph->outputs[i].value = passes_resolve(r, graph->outputs[i].value);
    }
}

mtl_status passes_sort(passes_rewriter *r)
{
    redirect(r);
    return ir_sort(r->graph, r->diag);
}

mtl_status passes_end(passes_rewriter *r)
{
    ir_graph *graph = r->graph;
    redirect(r);
    for (ir_node n = graph->last_node, previous; n != 0; n = previous) {
        const ir_node_info *node = &graph->nodes[n];
        previous = node->previous;
        const char *fate;
        if (!is_dead(r, node, &fate)) {
            continue;
        }
        for (uint32_t i = 0; i < node->input_count; i++) {
            release(r, node->inputs[i], fate);
        }
        ir_set_fate(graph, n, fate);
        ir_remove(graph, n);
    }
    /* A source can have several nodes, or nodes that took it over: while one lives, it has no fate. */
    for (ir_node n = graph->first_node; n != 0; n = graph->nodes[n].next) {
        ir_set_fate(graph, n, NULL);
    }
    return passes_abandon(r, MTL_OK);
}

void passes_substitute(passes_rewriter *r, ir_value old, ir_value new_value, const char *fate)
{
    r->substitutions++;
    r->replaced[old] = new_value;
    r->uses[new_value] += r->uses[old];
    r->uses[old] = 0;
    r->fates[old] = fate;
}

mtl_status passes_take_sources(passes_rewriter *r, ir_node into, ir_node from)
{
    enum { MANY = 64 }; /* more would make long chains quadratic, and nobody reads such a list */
    if (ir_node_of(r->graph, from)->source_count > MANY) {
        ir_set_fate(r->graph, from, "merged with its neighbours");
        return MTL_OK;
    }
    return ir_take_sources(r->graph, into, from, r->diag);
}

void passes_kill(passes_rewriter *r, ir_node node, const char *fate)
{
    const ir_node_info *info = &r->graph->nodes[node];
    for (uint32_t i = 0; i < info->input_count; i++) {
        release(r, info->inputs[i], fate);
    }
    if (fate != NULL) {
        ir_set_fate(r->graph, node, fate);
    }
    ir_remove(r->graph, node);
}

mtl_status passes_make_const(passes_rewriter *r, ir_node node, const ir_tensor *tensor, const char *fate)
{
    const ir_tensor *copy = base_arena_copy(r->graph->arena, tensor, sizeof *tensor);
    BASE_TRY_MEMORY(copy, r->diag);
    ir_value_info *value = &r->graph->values[r->graph->nodes[node].outputs[0]];
    passes_kill(r, node, fate);
    value->kind = IR_VALUE_CONST;
    value->node = 0;
    value->tensor = copy;
    return MTL_OK;
}

void passes_set_input(passes_rewriter *r, ir_node node, uint32_t i, ir_value value, const char *fate)
{
    ir_value *input = &r->graph->nodes[node].inputs[i];
    r->uses[value]++;
    release(r, *input, fate);
    *input = value;
}

mtl_status passes_set_inputs(passes_rewriter *r, ir_node node, const ir_value *inputs, uint32_t count, const char *fate)
{
    ir_value *copy = base_arena_copy(r->graph->arena, inputs, count * sizeof *inputs);
    BASE_TRY_MEMORY(copy, r->diag);
    ir_node_info *info = &r->graph->nodes[node];
    for (uint32_t i = 0; i < count; i++) {
        r->uses[copy[i]]++;
    }
    for (uint32_t i = 0; i < info->input_count; i++) {
        release(r, info->inputs[i], fate);
    }
    info->inputs = copy;
    info->input_count = count;
    return MTL_OK;
}

mtl_status passes_insert(passes_rewriter *r, ir_node before, ir_op op, const char *name, const ir_value *inputs,
                         size_t input_count, const ir_attr *attrs, size_t attr_count, const ir_type *type,
                         ir_value *result)
{
    name = name != NULL ? name : ir_info(r->graph, ir_node_of(r->graph, before)->outputs[0])->name;
    if (type != NULL) {
        BASE_TRY(
            ir_insert_typed(r->graph, before, op, name, inputs, input_count, attrs, attr_count, type, r->diag, result));
    } else {
        BASE_TRY(ir_insert(r->graph, before, op, name, inputs, input_count, attrs, attr_count, r->diag, result));
    }
    BASE_TRY(grow(r));
    const ir_node_info *node = ir_producer(r->graph, *result); /* `result` may have been among the inputs */
    for (uint32_t i = 0; i < node->input_count; i++) {
        r->uses[node->inputs[i]]++;
    }
    return passes_take_sources(r, ir_info(r->graph, *result)->node, before);
}

mtl_status passes_add_const(passes_rewriter *r, const char *name, const ir_tensor *tensor, ir_value *value)
{
    BASE_TRY(ir_add_const(r->graph, name, tensor, r->diag, value));
    return grow(r);
}

mtl_status passes_cut_const(passes_rewriter *r, ir_value c, int64_t rows, const passes_cut *cuts, size_t count,
                            int rank, const int64_t *shape, ir_value *value)
{
    const ir_tensor *old = ir_info(r->graph, c)->tensor;
    ir_tensor tensor = {.dtype = old->dtype, .rank = rank};
    memcpy(tensor.shape, shape, (size_t)rank * sizeof *shape);
    for (size_t i = 0; i < count; i++) {
        tensor.count += (size_t)(rows * cuts[i].width);
    }
    const size_t size = old->raw != NULL ? mtl_dtype_size(old->dtype) : sizeof(double);
    const size_t row = old->count / (size_t)rows * size;
    const unsigned char *from = old->raw != NULL ? old->raw : (const unsigned char *)ir_tensor_floats(old, &r->scratch);
    unsigned char *to = base_arena_alloc_array(r->graph->arena, tensor.count, size);
    BASE_TRY_MEMORY(from, r->diag);
    BASE_TRY_MEMORY(to, r->diag);
    tensor.raw = old->raw != NULL ? to : NULL;
    tensor.f = old->raw != NULL ? NULL : (const double *)(const void *)to;
    for (int64_t i = 0; i < rows; i++, from += row) {
        for (size_t j = 0; j < count; j++) {
            const size_t bytes = (size_t)cuts[j].width * size;
            memcpy(to, from + (size_t)cuts[j].begin * size, bytes);
            to += bytes;
        }
    }
    return passes_add_const(r, ir_info(r->graph, c)->name, &tensor, value);
}

mtl_status passes_become(passes_rewriter *r, ir_node node, ir_op op, const ir_value *inputs, uint32_t input_count,
                         const ir_attr *attrs, size_t attr_count, const char *fate)
{
    ir_attr *copy = base_arena_copy(r->graph->arena, attrs, attr_count * sizeof *attrs);
    BASE_TRY_MEMORY(copy, r->diag);
    BASE_TRY(passes_set_inputs(r, node, inputs, input_count, fate));
    ir_node_info *info = &r->graph->nodes[node];
    info->op = op;
    info->attrs = copy;
    info->attr_count = (uint32_t)attr_count;
    return MTL_OK;
}

bool passes_const_is(const ir_graph *graph, ir_value value, double number)
{
    if (!ir_is_const(graph, value)) {
        return false;
    }
    const ir_tensor *tensor = ir_info(graph, value)->tensor;
    for (size_t i = 0; i < tensor->count; i++) {
        double element = ir_tensor_at(tensor, i);
        if (element != number || signbit(element) != signbit(number)) {
            return false;
        }
    }
    return tensor->count > 0;
}

mtl_status passes_each(ir_graph *graph, base_diag *diag, mtl_status (*look)(passes_rewriter *r, ir_node node))
{
    passes_rewriter r;
    BASE_TRY(passes_begin(graph, diag, &r));
    for (ir_node node = graph->first_node, next; node != 0; node = next) {
        passes_visit(&r, node);
        next = ir_node_of(graph, node)->next;
        mtl_status status = look(&r, node);
        if (status != MTL_OK) {
            return passes_abandon(&r, status);
        }
    }
    return passes_end(&r);
}

static bool equal_attr(const ir_attr *a, const ir_attr *b)
{
    if (a->key != b->key) {
        return false;
    }
    switch (ir_attr_key_kind(a->key)) {
    case IR_KIND_FLOAT: return memcmp(&a->f, &b->f, sizeof a->f) == 0;
    case IR_KIND_INTS:
        return a->count == b->count && (a->count == 0 || memcmp(a->ints, b->ints, a->count * sizeof *a->ints) == 0);
    case IR_KIND_STRING: return strcmp(a->text, b->text) == 0;
    default: return a->i == b->i;
    }
}

bool passes_equal_attrs(const ir_node_info *a, const ir_node_info *b)
{
    if (a->attr_count != b->attr_count) {
        return false;
    }
    for (uint32_t i = 0; i < a->attr_count; i++) {
        if (!equal_attr(&a->attrs[i], &b->attrs[i])) {
            return false;
        }
    }
    return true;
}

void passes_hash_attrs(base_hash *hash, const ir_node_info *node)
{
    for (uint32_t i = 0; i < node->attr_count; i++) {
        const ir_attr *attr = &node->attrs[i];
        base_hash_add(hash, &attr->key, sizeof attr->key);
        switch (ir_attr_key_kind(attr->key)) {
        case IR_KIND_FLOAT: base_hash_add(hash, &attr->f, sizeof attr->f); break;
        case IR_KIND_INTS: base_hash_add(hash, attr->ints, attr->count * sizeof *attr->ints); break;
        case IR_KIND_STRING: base_hash_add(hash, attr->text, strlen(attr->text)); break;
        default: base_hash_add(hash, &attr->i, sizeof attr->i); break;
        }
    }
}

void passes_spread_const(const ir_tensor *c, const ir_type *type, int first, double *numbers)
{
    size_t count = 1;
    for (int axis = first; axis < type->rank; axis++) {
        count *= (size_t)type->dim[axis].c;
    }
    for (size_t i = 0; i < count; i++) {
        size_t rest = i, at = 0, stride = 1;
        for (int axis = type->rank - 1, own = c->rank - 1; axis >= first && own >= 0; axis--, own--) {
            size_t extent = (size_t)type->dim[axis].c;
            at += c->shape[own] == 1 ? 0 : rest % extent * stride;
            stride *= (size_t)c->shape[own];
            rest /= extent;
        }
        numbers[i] = ir_tensor_at(c, at);
    }
}
