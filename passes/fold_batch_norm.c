/* Batch normalisation with constant parameters, s = scale / sqrt(variance + epsilon), t = bias - mean s, disappears.
 *
 * Behind a linear layer without activation and other reader it goes into that layer, W' = W diag(s), b' = b s + t:
 *
 *     %l = linear(%x, %w, %b) act=""              : f32[B, 4]
 *     %n = batch_norm(%l, %scale, %bias, %mean, %variance) epsilon=1e-05 : f32[B, 4]
 *     %y = relu(%n)                               : f32[B, 4]
 *
 * becomes
 *
 *     %n = linear(%x, %w', %b') act=""            : f32[B, 4]
 *     %y = relu(%n)                               : f32[B, 4]
 *
 * Elsewhere (behind an activation, say), when all its readers are linear layers, it goes into those, W' = diag(s) W,
 * b' = t W + b:
 *
 *     %n = batch_norm(%r, %scale, %bias, %mean, %variance) epsilon=1e-05 : f32[B, 4]
 *     %y = linear(%n, %w, %b) act=""              : f32[B, 2]
 *
 * becomes
 *
 *     %y = linear(%r, %w', %b') act=""            : f32[B, 2]
 *
 * What remains becomes a multiplication and an addition; where the mean is many deviations from 0, a subtraction first. All in float64, rounded once when the plan is written.
 * Maths: Ioffe, Szegedy 2015; ONNX BatchNormalization at inference.
 */
#include <math.h>

#include "passes/layer.h"
#include "passes/passes.h"

typedef struct folder {
    passes_rewriter r;
    uint32_t capacity;
    uint32_t *layer_uses; /* by value: as operand x of linear layers */
    ir_node *pending;     /* by value: the batch_norm whose readers take it over; 0: none */
} folder;

typedef struct affine {
    int64_t channels;
    double *scale, *shift; /* in the scratch arena */
    bool far;              /* the mean is many deviations from 0: to be subtracted first, see PASSES_NEAR */
} affine;

static bool has_constant_parameters(const ir_graph *graph, const ir_node_info *node)
{
    for (uint32_t i = 1; i < 5; i++) {
        if (!ir_is_const(graph, node->inputs[i])) {
            return false;
        }
    }
    return ir_type_of(graph, node->inputs[0])->rank >= 2;
}

/* s and t of a batch_norm node, one for each channel. */
static mtl_status read_norm(passes_rewriter *r, const ir_node_info *node, affine *a)
{
    const ir_tensor *p[5];
    for (uint32_t i = 1; i < 5; i++) {
        p[i] = ir_info(r->graph, node->inputs[i])->tensor;
    }
    double epsilon = ir_attr_float(node, IR_ATTR_epsilon);
    a->far = false;
    a->channels = (int64_t)p[1]->count;
    a->scale = BASE_NEW_ARRAY(&r->scratch, double, p[1]->count);
    a->shift = BASE_NEW_ARRAY(&r->scratch, double, p[1]->count);
    BASE_TRY_MEMORY(a->scale, r->diag);
    BASE_TRY_MEMORY(a->shift, r->diag);
    for (size_t i = 0; i < p[1]->count; i++) {
        a->scale[i] = ir_tensor_at(p[1], i) / sqrt(ir_tensor_at(p[4], i) + epsilon);
        a->shift[i] = ir_tensor_at(p[2], i) - ir_tensor_at(p[3], i) * a->scale[i];
        a->far = a->far || fabs(ir_tensor_at(p[3], i) * a->scale[i]) > PASSES_NEAR;
    }
    return MTL_OK;
}

/* s and t as constants (C, 1, ...) that broadcast to the operand. */
static mtl_status add_parameters(passes_rewriter *r, const ir_node_info *node, const affine *a, ir_value *scale,
                                 ir_value *shift)
{
    ir_value scale_like = node->inputs[1], shift_like = node->inputs[2];
    const ir_type *x = ir_type_of(r->graph, node->inputs[0]);
    mtl_dtype dtype = x->dtype;
    int rank = x->rank - 1;
    int64_t shape[MTL_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        shape[i] = i == 0 ? a->channels : 1;
    }
    size_t bytes = (size_t)a->channels * sizeof(double);
    const double *s = base_arena_copy(r->graph->arena, a->scale, bytes);
    const double *t = base_arena_copy(r->graph->arena, a->shift, bytes);
    BASE_TRY_MEMORY(s, r->diag);
    BASE_TRY_MEMORY(t, r->diag);
    BASE_TRY(passes_add_floats(r, scale_like, dtype, rank, shape, s, scale));
    return passes_add_floats(r, shift_like, dtype, rank, shape, t, shift);
}

/* Into the layer before it. */
static mtl_status fold_back(passes_rewriter *r, ir_node n, ir_value scale, ir_value shift, bool *folded)
{
    passes_layer layer;
    double *s, *t;
    *folded = false;
    if (!passes_find_layer(r, ir_node_of(r->graph, n)->inputs[0], &layer)) {
        return MTL_OK;
    }
    BASE_TRY(passes_layer_vector(r, &layer, scale, &s));
    BASE_TRY(passes_layer_vector(r, &layer, shift, &t));
    if (s == NULL || t == NULL) {
        return MTL_OK;
    }
    *folded = true;
    return passes_absorb_affine(r, &layer, n, s, t, shift);
}

/* Whether every reader is a linear layer that contracts the channels, or has one channel for each group. */
static bool folds_forward(const folder *f, const ir_node_info *node)
{
    ir_value y = node->outputs[0];
    return y < f->capacity && f->layer_uses[y] > 0 && f->layer_uses[y] == f->r.uses[y];
}

/* (x - mean) s + bias. */
static mtl_status subtract_first(passes_rewriter *r, ir_node n, affine *a)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    const ir_tensor *bias = ir_info(r->graph, node->inputs[2])->tensor,
                    *mean = ir_info(r->graph, node->inputs[3])->tensor;
    affine centre = {.channels = a->channels, .scale = a->scale, .shift = a->shift};
    ir_value scale, shift, means, x = node->inputs[0], y;
    for (size_t i = 0; i < bias->count; i++) {
        centre.shift[i] = ir_tensor_at(mean, i);
    }
    BASE_TRY(add_parameters(r, node, &centre, &scale, &means));
    for (size_t i = 0; i < bias->count; i++) {
        centre.shift[i] = ir_tensor_at(bias, i);
    }
    node = ir_node_of(r->graph, n);
    BASE_TRY(add_parameters(r, node, &centre, &scale, &shift));
    BASE_TRY(passes_insert(r, n, IR_OP_sub, NULL, (ir_value[]){x, means}, 2, NULL, 0, NULL, &y));
    BASE_TRY(passes_insert(r, n, IR_OP_mul, NULL, (ir_value[]){y, scale}, 2, NULL, 0, NULL, &y));
    return passes_become(r, n, IR_OP_add, (ir_value[]){y, shift}, 2, NULL, 0, NULL);
}

static mtl_status visit_norm(folder *f, ir_node n)
{
    passes_rewriter *r = &f->r;
    const ir_node_info *node = ir_node_of(r->graph, n);
    if (!has_constant_parameters(r->graph, node)) {
        return MTL_OK;
    }
    affine a;
    ir_value scale, shift, x = node->inputs[0], product;
    BASE_TRY(read_norm(r, node, &a));
    BASE_TRY(add_parameters(r, node, &a, &scale, &shift));
    bool folded;
    BASE_TRY(fold_back(r, n, scale, shift, &folded));
    if (folded) {
        return MTL_OK;
    }
    if (a.far) {
        return subtract_first(r, n, &a);
    }
    if (folds_forward(f, node)) {
        f->pending[node->outputs[0]] = n;
        return MTL_OK;
    }
    BASE_TRY(passes_insert(r, n, IR_OP_mul, NULL, (ir_value[]){x, scale}, 2, NULL, 0, NULL, &product));
    return passes_become(r, n, IR_OP_add, (ir_value[]){product, shift}, 2, NULL, 0, NULL);
}

/* Into a layer that reads the result: its rows of weights, or its groups, are the channels. */
static mtl_status fold_forward(passes_rewriter *r, ir_node n, ir_node norm)
{
    affine a;
    BASE_TRY(read_norm(r, ir_node_of(r->graph, norm), &a));
    const ir_tensor *w = ir_info(r->graph, ir_node_of(r->graph, n)->inputs[1])->tensor;
    size_t k = (size_t)w->shape[w->rank - 2], rows = w->count / (size_t)w->shape[w->rank - 1];
    double *scale = BASE_NEW_ARRAY(&r->scratch, double, rows), *shift = BASE_NEW_ARRAY(&r->scratch, double, rows);
    BASE_TRY_MEMORY(scale, r->diag);
    BASE_TRY_MEMORY(shift, r->diag);
    for (size_t row = 0; row < rows; row++) {
        size_t channel = w->rank == 3 ? row / k : row;
        scale[row] = a.scale[channel];
        shift[row] = a.shift[channel];
    }
    const ir_node_info *node = ir_node_of(r->graph, norm);
    return passes_feed_affine(r, n, norm, node->inputs[0], scale, shift, node->inputs[2]);
}

static bool contracts_channels(const ir_graph *graph, const ir_node_info *node)
{
    int x = ir_type_of(graph, node->inputs[0])->rank, w = ir_type_of(graph, node->inputs[1])->rank;
    return x == w;
}

static mtl_status fold(folder *f)
{
    ir_graph *graph = f->r.graph;
    f->capacity = graph->value_count;
    f->layer_uses = BASE_NEW_ARRAY(&f->r.scratch, uint32_t, f->capacity);
    f->pending = BASE_NEW_ARRAY(&f->r.scratch, ir_node, f->capacity);
    BASE_TRY_MEMORY(f->layer_uses, f->r.diag);
    BASE_TRY_MEMORY(f->pending, f->r.diag);
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        if (node->op == IR_OP_linear && contracts_channels(graph, node)) {
            f->layer_uses[node->inputs[0]]++;
        }
    }
    for (ir_node n = graph->first_node, next; n != 0; n = next) {
        passes_visit(&f->r, n);
        const ir_node_info *node = ir_node_of(graph, n);
        next = node->next;
        if (node->op == IR_OP_batch_norm) {
            BASE_TRY(visit_norm(f, n));
        } else if (node->op == IR_OP_linear && node->inputs[0] < f->capacity && f->pending[node->inputs[0]] != 0) {
            BASE_TRY(fold_forward(&f->r, n, f->pending[node->inputs[0]]));
        }
    }
    return MTL_OK;
}

mtl_status passes_fold_batch_norm(ir_graph *graph, base_diag *diag)
{
    folder f = {.capacity = 0};
    BASE_TRY(passes_begin(graph, diag, &f.r));
    mtl_status status = fold(&f);
    return status == MTL_OK ? passes_end(&f.r) : passes_abandon(&f.r, status);
}
