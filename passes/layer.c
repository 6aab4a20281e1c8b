#include "passes/layer.h"

#include <math.h>

#include <string.h>

#include "base/checked.h"

/* --- which axes are columns ---------------------------------------------------------------------------------- */

/* One step of matching axes of a reshape from the right: the group of axes (i, i0] of x and (j, j0] of y with equal
 * products. False: there is no such split. */
static bool next_group(const ir_type *x, const ir_type *y, int *i, int *j)
{
    ir_dim a = x->dim[*i], b = y->dim[*j];
    while (!ir_dim_equal(a, b)) {
        int order;
        bool grow_x;
        if (ir_dim_is_const(a) != ir_dim_is_const(b)) {
            grow_x = ir_dim_is_const(a);
        } else if (ir_dim_compare(a, b, &order)) {
            grow_x = order < 0;
        } else {
            return false;
        }
        int *next = grow_x ? i : j;
        ir_dim *product = grow_x ? &a : &b;
        if (--*next < 0 || !ir_dim_mul(*product, (grow_x ? x : y)->dim[*next], product)) {
            return false;
        }
    }
    --*i;
    --*j;
    return true;
}

/* Axes (from, to] of one group: either all rows, or columns that follow each other with *stride at the right end. */
static bool read_group(const ir_type *x, const passes_axis *axes, int from, int to, bool *column, int64_t *stride)
{
    bool first = true;
    int64_t expected = 0;
    for (int axis = to; axis > from; axis--) {
        if (ir_dim_is(x->dim[axis], 1)) {
            continue;
        }
        if (first) {
            *column = axes[axis].column;
            *stride = expected = axes[axis].stride;
            first = false;
        } else if (axes[axis].column != *column || (*column && axes[axis].stride != expected)) {
            return false;
        }
        if (*column && !base_mul_i64(expected, x->dim[axis].c, &expected)) {
            return false;
        }
    }
    return !first;
}

static bool track_reshape(const ir_type *x, const ir_type *y, passes_axis *axes)
{
    passes_axis result[MTL_MAX_RANK] = {{false, 0}};
    int i = x->rank - 1, j = y->rank - 1;
    while (i >= 0 || j >= 0) {
        if (i >= 0 && ir_dim_is(x->dim[i], 1)) {
            i--;
        } else if (j >= 0 && ir_dim_is(y->dim[j], 1)) {
            j--;
        } else {
            int i0 = i, j0 = j;
            bool column = false;
            int64_t stride = 0;
            if (i < 0 || j < 0 || !next_group(x, y, &i, &j) || !read_group(x, axes, i, i0, &column, &stride)) {
                return false;
            }
            for (int axis = j0; axis > j; axis--) {
                result[axis] = (passes_axis){column, stride};
                if (column && !base_mul_i64(stride, y->dim[axis].c, &stride)) {
                    return false;
                }
            }
        }
    }
    memcpy(axes, result, sizeof result);
    return true;
}

static void track_transpose(const ir_node_info *node, passes_axis *axes)
{
    passes_axis result[MTL_MAX_RANK] = {{false, 0}};
    const ir_attr *perm = ir_find_attr(node, IR_ATTR_perm);
    for (size_t i = 0; i < perm->count; i++) {
        result[i] = axes[perm->ints[i]];
    }
    memcpy(axes, result, sizeof result);
}

static bool is_linear_without_activation(const ir_node_info *node)
{
    return node->op == IR_OP_linear && ir_operand(node, 3) == 0 && ir_find_attr(node, IR_ATTR_act)->text[0] == '\0';
}

bool passes_find_layer(const passes_rewriter *r, ir_value value, passes_layer *layer)
{
    const ir_graph *graph = r->graph;
    const ir_node_info *moves[PASSES_LAYER_DEPTH];
    *layer = (passes_layer){.value = value, .tracked = true};
    const ir_node_info *node = ir_producer(graph, value);
    while (node != NULL && passes_single_use(r, node->outputs[0]) && layer->depth < PASSES_LAYER_DEPTH &&
           (node->op == IR_OP_transpose || (node->op == IR_OP_reshape && node->input_count == 1))) {
        moves[layer->depth++] = node;
        node = ir_producer(graph, node->inputs[0]);
    }
    if (node == NULL || !passes_single_use(r, node->outputs[0]) || !is_linear_without_activation(node)) {
        return false;
    }
    layer->node = ir_info(graph, node->outputs[0])->node;
    const ir_type *w = ir_type_of(graph, node->inputs[1]), *y = ir_type_of(graph, node->outputs[0]);
    layer->groups = w->rank == 3 ? w->dim[0].c : 1;
    layer->k = w->dim[w->rank - 2].c;
    layer->n = w->dim[w->rank - 1].c;
    layer->axes[y->rank - 1] = (passes_axis){true, 1};
    if (w->rank == 3) {
        layer->axes[y->rank - 2] = (passes_axis){true, layer->n};
    }
    for (int i = layer->depth - 1; i >= 0 && layer->tracked; i--) {
        if (moves[i]->op == IR_OP_transpose) {
            track_transpose(moves[i], layer->axes);
        } else {
            layer->tracked = track_reshape(ir_type_of(graph, moves[i]->inputs[0]),
                                           ir_type_of(graph, moves[i]->outputs[0]), layer->axes);
        }
    }
    return true;
}

mtl_status passes_layer_vector(passes_rewriter *r, const passes_layer *layer, ir_value c, double **vector)
{
    *vector = NULL;
    const ir_tensor *tensor = ir_info(r->graph, c)->tensor;
    const ir_type *type = ir_type_of(r->graph, layer->value);
    int offset = type->rank - tensor->rank;
    if (!layer->tracked || offset < 0 || layer->groups * layer->n == 0) {
        return MTL_OK;
    }
    for (int i = 0; i < tensor->rank; i++) {
        if (tensor->shape[i] != 1 &&
            (!layer->axes[offset + i].column || !ir_dim_is(type->dim[offset + i], tensor->shape[i]))) {
            return MTL_OK;
        }
    }
    int64_t columns = layer->groups * layer->n;
    double *numbers = BASE_NEW_ARRAY(&r->scratch, double, (size_t)columns);
    BASE_TRY_MEMORY(numbers, r->diag);
    for (int64_t column = 0; column < columns; column++) {
        int64_t at = 0;
        for (int i = 0; i < tensor->rank; i++) {
            int64_t extent = tensor->shape[i];
            at = at * extent + (extent == 1 ? 0 : column / layer->axes[offset + i].stride % extent);
        }
        numbers[column] = ir_tensor_at(tensor, (size_t)at);
    }
    *vector = numbers;
    return MTL_OK;
}

/* --- changing the layer -------------------------------------------------------------------------------------- */

mtl_status passes_add_floats(passes_rewriter *r, ir_value like, mtl_dtype dtype, int rank, const int64_t *shape,
                             const double *numbers, ir_value *value)
{
    ir_tensor tensor = {.dtype = dtype, .rank = rank, .count = 1, .f = numbers};
    for (int i = 0; i < rank; i++) {
        tensor.shape[i] = shape[i];
        tensor.count *= (size_t)shape[i];
    }
    BASE_TRY(passes_add_const(r, like != 0 ? ir_info(r->graph, like)->name : NULL, &tensor, value));
    r->owned[*value] = true;
    return MTL_OK;
}

/* The layer gets other operands and attributes and takes over what `reader` does. Without moves in between, `reader`
 * becomes the layer and so keeps the name of its result. */
static mtl_status absorb(passes_rewriter *r, const passes_layer *layer, ir_node reader, const ir_value *inputs,
                         uint32_t input_count, const ir_attr *attrs, size_t attr_count)
{
    if (layer->depth == 0) {
        BASE_TRY(passes_take_sources(r, reader, layer->node));
        BASE_TRY(passes_become(r, reader, IR_OP_linear, inputs, input_count, attrs, attr_count, NULL));
        passes_kill(r, layer->node, NULL);
        return MTL_OK;
    }
    BASE_TRY(passes_take_sources(r, layer->node, reader));
    BASE_TRY(passes_become(r, layer->node, IR_OP_linear, inputs, input_count, attrs, attr_count, NULL));
    passes_substitute(r, ir_node_of(r->graph, reader)->outputs[0], layer->value, NULL);
    passes_kill(r, reader, NULL);
    return MTL_OK;
}

static mtl_status scale_weights(passes_rewriter *r, const passes_layer *layer, const double *scale, ir_value *w)
{
    const ir_tensor *old = ir_info(r->graph, *w)->tensor;
    bool in_place = r->owned[*w] && passes_single_use(r, *w);
    double *numbers = in_place ? (double *)(uintptr_t)old->f : BASE_NEW_ARRAY(r->graph->arena, double, old->count);
    BASE_TRY_MEMORY(numbers, r->diag);
    size_t n = (size_t)layer->n, matrix = (size_t)layer->k * n;
    for (size_t i = 0; i < old->count; i++) {
        numbers[i] = ir_tensor_at(old, i) * scale[i / matrix * n + i % n];
    }
    return in_place ? MTL_OK : passes_add_floats(r, *w, old->dtype, old->rank, old->shape, numbers, w);
}

/* Whether the constant is a bias of that shape already, with these numbers. */
static bool is_bias(const ir_graph *graph, ir_value c, int rank, const int64_t *shape, const double *numbers)
{
    const ir_tensor *tensor = ir_is_const(graph, c) ? ir_info(graph, c)->tensor : NULL;
    if (tensor == NULL || tensor->rank != rank || memcmp(tensor->shape, shape, (size_t)rank * sizeof *shape) != 0) {
        return false;
    }
    for (size_t i = 0; i < tensor->count; i++) {
        if (ir_tensor_at(tensor, i) != numbers[i]) {
            return false;
        }
    }
    return true;
}

static mtl_status change_bias(passes_rewriter *r, const passes_layer *layer, const double *scale, const double *shift,
                              ir_value like, mtl_dtype dtype, int weights_rank, ir_value *bias)
{
    size_t columns = (size_t)(layer->groups * layer->n);
    const int64_t shape[2] = {layer->groups, layer->n};
    int rank = weights_rank - 1;
    if (*bias == 0 && is_bias(r->graph, like, rank, rank == 2 ? shape : shape + 1, shift)) {
        *bias = like;
        return MTL_OK;
    }
    const ir_tensor *old = *bias != 0 ? ir_info(r->graph, *bias)->tensor : NULL;
    bool in_place = old != NULL && r->owned[*bias] && passes_single_use(r, *bias);
    double *numbers = in_place ? (double *)(uintptr_t)old->f : BASE_NEW_ARRAY(r->graph->arena, double, columns);
    BASE_TRY_MEMORY(numbers, r->diag);
    for (size_t i = 0; i < columns; i++) {
        double number = old != NULL ? ir_tensor_at(old, i) : 0;
        number = scale != NULL ? number * scale[i] : number;
        numbers[i] = shift == NULL ? number : old != NULL ? number + shift[i] : shift[i];
    }
    if (in_place) {
        return MTL_OK;
    }
    return passes_add_floats(r, old != NULL ? *bias : like, dtype, rank, rank == 2 ? shape : shape + 1, numbers, bias);
}

mtl_status passes_absorb_affine(passes_rewriter *r, const passes_layer *layer, ir_node reader, const double *scale,
                                const double *shift, ir_value like)
{
    const ir_node_info *node = ir_node_of(r->graph, layer->node);
    ir_value inputs[3] = {node->inputs[0], node->inputs[1], node->input_count > 2 ? node->inputs[2] : 0};
    mtl_dtype dtype = ir_type_of(r->graph, inputs[1])->dtype;
    int weights_rank = ir_type_of(r->graph, inputs[1])->rank;
    if (scale != NULL) {
        BASE_TRY(scale_weights(r, layer, scale, &inputs[1]));
    }
    if (inputs[2] != 0 || shift != NULL) {
        BASE_TRY(change_bias(r, layer, scale, shift, like, dtype, weights_rank, &inputs[2]));
    }
    ir_attr act = IR_STRING(act, "");
    return absorb(r, layer, reader, inputs, inputs[2] != 0 ? 3 : 2, &act, 1);
}

mtl_status passes_absorb_activation(passes_rewriter *r, const passes_layer *layer, ir_node reader)
{
    const ir_node_info *node = ir_node_of(r->graph, layer->node), *function = ir_node_of(r->graph, reader);
    ir_attr attrs[IR_ATTR_COUNT];
    size_t count = 0;
    for (uint32_t i = 0; i < function->attr_count; i++) {
        attrs[count++] = function->attrs[i];
    }
    attrs[count++] = (ir_attr)IR_STRING(act, ir_op_table(function->op)->name); /* the last one of attrs.def */
    return absorb(r, layer, reader, node->inputs, node->input_count, attrs, count);
}

uint32_t passes_layer_operands(const ir_value *operands)
{
    return operands[3] != 0 ? 4 : operands[2] != 0 ? 3 : 2;
}

/* --- what stands before the layer ---------------------------------------------------------------------------- */

static bool all_finite(const double *numbers, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(numbers[i])) {
            return false;
        }
    }
    return true;
}

bool passes_as_affine(ir_op op, bool constant_last, double *vector, int64_t count, double *ones, const double **scale,
                      const double **shift)
{
    *scale = *shift = NULL;
    for (int64_t i = 0; i < count; i++) {
        ones[i] = -1;
        if (op == IR_OP_div) {
            vector[i] = 1 / vector[i];
        } else if (op == IR_OP_sub && constant_last) {
            vector[i] = -vector[i];
        }
    }
    if (op == IR_OP_mul || op == IR_OP_div) {
        *scale = vector;
        return all_finite(vector, count) && (op == IR_OP_mul || constant_last);
    }
    *scale = op == IR_OP_sub && !constant_last ? ones : NULL;
    *shift = vector;
    return true;
}

mtl_status passes_feed_affine(passes_rewriter *r, ir_node layer, ir_node maker, ir_value x, const double *scale,
                              const double *shift, ir_value like)
{
    static const char fate[] = "folded into the weights of the layers that read it";
    const ir_node_info *node = ir_node_of(r->graph, layer);
    ir_value inputs[4] = {x, node->inputs[1], ir_operand(node, 2), ir_operand(node, 3)};
    const ir_tensor *w = ir_info(r->graph, inputs[1])->tensor;
    const ir_tensor *b = inputs[2] != 0 ? ir_info(r->graph, inputs[2])->tensor : NULL;
    int rank = w->rank;
    mtl_dtype dtype = w->dtype;
    const int64_t shape[3] = {rank == 3 ? w->shape[0] : 1, w->shape[rank - 2], w->shape[rank - 1]};
    const int64_t bias_shape[2] = {shape[0], shape[2]};
    size_t k = (size_t)shape[1], n = (size_t)shape[2];
    double *weights = BASE_NEW_ARRAY(r->graph->arena, double, w->count);
    double *bias = BASE_NEW_ARRAY(r->graph->arena, double, (size_t)shape[0] * n);
    BASE_TRY_MEMORY(weights, r->diag);
    BASE_TRY_MEMORY(bias, r->diag);
    for (size_t i = 0; b != NULL && i < b->count; i++) {
        bias[i] = ir_tensor_at(b, i);
    }
    for (size_t i = 0; i < w->count; i++) {
        size_t row = i / n; /* of all groups */
        double number = ir_tensor_at(w, i);
        weights[i] = scale != NULL ? number * scale[row] : number;
        bias[row / k * n + i % n] += shift != NULL ? number * shift[row] : 0;
    }
    BASE_TRY(passes_add_floats(r, inputs[1], dtype, rank, rank == 3 ? shape : shape + 1, weights, &inputs[1]));
    if (b != NULL || shift != NULL) {
        BASE_TRY(passes_add_floats(r, b != NULL ? inputs[2] : like, dtype, rank - 1,
                                   rank == 3 ? bias_shape : bias_shape + 1, bias, &inputs[2]));
    }
    BASE_TRY(passes_take_sources(r, layer, maker));
    return passes_set_inputs(r, layer, inputs, passes_layer_operands(inputs), fate);
}
