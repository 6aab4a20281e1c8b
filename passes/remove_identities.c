/* Nodes that change nothing are bypassed, and moves that undo or repeat each other become one.
 *
 *     const %one : f32[] = 1
 *     %a = identity(%x)                           : f32[B, 4]
 *     %b = transpose(%a) perm=[1, 0]              : f32[4, B]
 *     %c = transpose(%b) perm=[1, 0]              : f32[B, 4]
 *     %d = mul(%c, %one)                          : f32[B, 4]
 *     %y = relu(%d)                               : f32[B, 4]
 *
 * becomes
 *
 *     %y = relu(%x)                               : f32[B, 4]
 *
 * A reshape of the rows of a linear layer's operand moves behind the layer, where it meets others:
 *
 *     %r = reshape(%x)                            : f32[B, 1, 4]
 *     %y = linear(%r, %w) act="relu"              : f32[B, 1, 2]
 *
 * becomes
 *
 *     %y.1 = linear(%x, %w) act="relu"            : f32[B, 2]
 *     %y = reshape(%y.1)                          : f32[B, 1, 2]
 *
 * An expand that only repeats what its reader would broadcast anyway is bypassed too, constants that broadcast lose axes
 * of extent 1 in front (a slope f32[1, 4] becomes f32[4]), and a transpose or reduction that only concerns axes of extent
 * 1 becomes a reshape. Everything here is exact: x + 0 stays, since it turns -0 into +0.
 */
#include <math.h>
#include <string.h>

#include "passes/passes.h"
#include "passes/rewrite.h"

static const char removed[] = "changes nothing";
static const char undone[] = "merged with the move that follows it";

/* --- reshape, transpose, reductions -------------------------------------------------------------------------- */

static bool same_type(const ir_graph *graph, ir_value a, ir_value b)
{
    return ir_type_equal(ir_type_of(graph, a), ir_type_of(graph, b));
}

static void bypass(passes_rewriter *r, ir_node n, ir_value x)
{
    passes_substitute(r, ir_node_of(r->graph, n)->outputs[0], x, removed);
    passes_kill(r, n, removed);
}

/* Operand 0 of `n` becomes the operand of what made it, whose work `n` now does too. */
static mtl_status skip_producer(passes_rewriter *r, ir_node n, const ir_node_info *producer)
{
    ir_node from = ir_info(r->graph, producer->outputs[0])->node;
    if (passes_single_use(r, producer->outputs[0])) {
        BASE_TRY(passes_take_sources(r, n, from));
    }
    passes_set_input(r, n, 0, producer->inputs[0], undone);
    return MTL_OK;
}

static mtl_status simplify_reshape(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    if (node->input_count != 1) {
        return MTL_OK;
    }
    const ir_node_info *inner = ir_producer_op(r->graph, node->inputs[0], IR_OP_reshape);
    if (inner != NULL && inner->input_count == 1) { /* its operand is no reshape: it was visited before */
        BASE_TRY(skip_producer(r, n, inner));
    }
    if (same_type(r->graph, node->inputs[0], node->outputs[0])) {
        bypass(r, n, node->inputs[0]);
    }
    return MTL_OK;
}

static mtl_status become_reshape(passes_rewriter *r, ir_node n)
{
    ir_value x = ir_node_of(r->graph, n)->inputs[0];
    BASE_TRY(passes_become(r, n, IR_OP_reshape, &x, 1, NULL, 0, NULL));
    return simplify_reshape(r, n);
}

/* The last `tail` axes are equal. */
static bool same_tail(const ir_type *a, const ir_type *b, int tail)
{
    bool same = a->rank >= tail && b->rank >= tail;
    for (int axis = 1; same && axis <= tail; axis++) {
        same = ir_dim_equal(a->dim[a->rank - axis], b->dim[b->rank - axis]);
    }
    return same;
}

/* The type without axes of extent 1 before the last `tail`, one axis at least being left there. */
static ir_type without_ones(const ir_type *type, int tail)
{
    ir_type result = {.dtype = type->dtype};
    int rows = type->rank - tail;
    for (int axis = 0; axis < type->rank; axis++) {
        bool last = axis == rows - 1 && result.rank == 0;
        if (axis >= rows || last || !ir_dim_is(type->dim[axis], 1)) {
            result.dim[result.rank++] = type->dim[axis];
        }
    }
    return result;
}

/* linear(reshape(x)) = reshape(linear(x)) when the axes that the weights contract stay; when they do not, axes of
 * extent 1 wait until after the layer. */
static mtl_status sink_reshape(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    const ir_node_info *move = ir_producer_op(r->graph, node->inputs[0], IR_OP_reshape);
    int tail = ir_type_of(r->graph, node->inputs[1])->rank - 1;
    if (move == NULL || move->input_count != 1 || ir_operand(node, 3) != 0) {
        return MTL_OK;
    }
    ir_value x = move->inputs[0], layer;
    const ir_type *after = ir_type_of(r->graph, node->inputs[0]);
    ir_type shorter = without_ones(after, tail);
    bool sinks = ir_type_of(r->graph, x)->rank >= 2 && same_tail(ir_type_of(r->graph, x), after, tail);
    if (!sinks && shorter.rank == after->rank) {
        return MTL_OK;
    }
    ir_value inputs[3] = {x, node->inputs[1], node->input_count > 2 ? node->inputs[2] : 0};
    uint32_t input_count = node->input_count, attr_count = node->attr_count;
    const ir_attr *attrs = node->attrs;
    if (passes_single_use(r, node->inputs[0])) {
        BASE_TRY(passes_take_sources(r, n, ir_info(r->graph, node->inputs[0])->node));
    }
    if (!sinks) {
        BASE_TRY(passes_insert(r, n, IR_OP_reshape, NULL, &x, 1, NULL, 0, &shorter, &inputs[0]));
    }
    BASE_TRY(passes_insert(r, n, IR_OP_linear, NULL, inputs, input_count, attrs, attr_count, NULL, &layer));
    return passes_become(r, n, IR_OP_reshape, &layer, 1, NULL, 0, undone);
}

/* Whether the axes that are not known to have extent 1 keep their order. */
static bool keeps_order(const ir_type *x, const int64_t *perm)
{
    int64_t last = -1;
    for (int i = 0; i < x->rank; i++) {
        if (!ir_dim_is(x->dim[perm[i]], 1)) {
            if (perm[i] < last) {
                return false;
            }
            last = perm[i];
        }
    }
    return true;
}

static mtl_status simplify_transpose(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    const ir_node_info *inner = ir_producer_op(r->graph, node->inputs[0], IR_OP_transpose);
    if (inner != NULL) {
        const int64_t *outer_perm = ir_find_attr(node, IR_ATTR_perm)->ints;
        const ir_attr *inner_perm = ir_find_attr(inner, IR_ATTR_perm);
        int64_t *perm = BASE_NEW_ARRAY(r->graph->arena, int64_t, inner_perm->count);
        BASE_TRY_MEMORY(perm, r->diag);
        for (size_t i = 0; i < inner_perm->count; i++) {
            perm[i] = inner_perm->ints[outer_perm[i]];
        }
        node->attrs[0].ints = perm;
        BASE_TRY(skip_producer(r, n, inner));
    }
    bool identity = true;
    const ir_attr *perm = ir_find_attr(node, IR_ATTR_perm);
    for (size_t i = 0; i < perm->count; i++) {
        identity = identity && perm->ints[i] == (int64_t)i;
    }
    if (identity) {
        bypass(r, n, node->inputs[0]);
        return MTL_OK;
    }
    return keeps_order(ir_type_of(r->graph, node->inputs[0]), perm->ints) ? become_reshape(r, n) : MTL_OK;
}

static mtl_status simplify_reduce(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    const ir_type *x = ir_type_of(r->graph, node->inputs[0]);
    const ir_attr *axes = ir_find_attr(node, IR_ATTR_axes);
    for (size_t i = 0; i < axes->count; i++) {
        if (!ir_dim_is(x->dim[axes->ints[i]], 1)) {
            return MTL_OK;
        }
    }
    return become_reshape(r, n);
}

static void simplify_slice(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    const ir_attr *starts = ir_find_attr(node, IR_ATTR_starts), *steps = ir_find_attr(node, IR_ATTR_steps);
    bool whole = same_type(r->graph, node->inputs[0], node->outputs[0]);
    for (size_t i = 0; i < starts->count; i++) {
        bool one = ir_dim_is(ir_type_of(r->graph, node->inputs[0])->dim[i], 1);
        whole = whole && (one || (starts->ints[i] == 0 && steps->ints[i] == 1));
    }
    if (whole) {
        bypass(r, n, node->inputs[0]);
    }
}

/* --- expand -------------------------------------------------------------------------------------------------- */

static mtl_status simplify_expand(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    const ir_node_info *inner = ir_producer_op(r->graph, node->inputs[0], IR_OP_expand);
    if (node->input_count == 1 && inner != NULL) {
        BASE_TRY(skip_producer(r, n, inner));
    }
    if (same_type(r->graph, node->inputs[0], node->outputs[0])) {
        bypass(r, n, node->inputs[0]);
    }
    return MTL_OK;
}

/* The extents of axes [0, rank - tail) of the broadcast of all operands, with `value` in place of operand `i`, are
 * those of the result. */
static bool broadcasts_equal(const ir_graph *graph, const ir_node_info *node, uint32_t i, ir_value value, int tail)
{
    const ir_type *result = ir_type_of(graph, node->outputs[0]);
    for (int axis = 0; axis < result->rank - tail; axis++) {
        bool found = ir_dim_is(result->dim[axis], 1);
        for (uint32_t k = 0; k < node->input_count && !found; k++) {
            const ir_type *operand = ir_type_of(graph, k == i ? value : node->inputs[k]);
            int own = axis - (result->rank - operand->rank);
            found = own >= 0 && ir_dim_equal(operand->dim[own], result->dim[axis]);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

/* The rank that broadcasting gives with `value` in place of operand `i`. */
static int broadcast_rank(const ir_graph *graph, const ir_node_info *node, uint32_t i, ir_value value)
{
    int rank = 0;
    for (uint32_t k = 0; k < node->input_count; k++) {
        int own = ir_type_of(graph, k == i ? value : node->inputs[k])->rank;
        rank = own > rank ? own : rank;
    }
    return rank;
}

/* Operands that are expanded for a reader that broadcasts: `tail` axes at the end do not broadcast. */
static mtl_status bypass_expands(passes_rewriter *r, ir_node n, int tail)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    int rank = ir_type_of(r->graph, node->outputs[0])->rank;
    for (uint32_t i = 0; i < node->input_count; i++) {
        const ir_node_info *expand = ir_producer_op(r->graph, node->inputs[i], IR_OP_expand);
        if (expand == NULL) {
            continue;
        }
        ir_value x = expand->inputs[0];
        const ir_type *before = ir_type_of(r->graph, x), *after = ir_type_of(r->graph, node->inputs[i]);
        bool fits = before->rank >= tail && broadcast_rank(r->graph, node, i, x) == rank &&
                    broadcasts_equal(r->graph, node, i, x, tail);
        for (int axis = 1; fits && axis <= tail; axis++) {
            fits = ir_dim_equal(before->dim[before->rank - axis], after->dim[after->rank - axis]);
        }
        if (!fits) {
            continue;
        }
        if (passes_single_use(r, node->inputs[i])) {
            BASE_TRY(passes_take_sources(r, n, ir_info(r->graph, node->inputs[i])->node));
        }
        passes_set_input(r, n, i, x, "broadcast by its reader");
    }
    return MTL_OK;
}

/* Constants that broadcast do without their first axes of extent 1; one axis stays. */
static mtl_status shorten_constants(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    for (uint32_t i = 0; i < node->input_count; i++) {
        ir_value c = node->inputs[i];
        int rank = ir_type_of(r->graph, c)->rank, first = 0;
        if (!ir_is_const(r->graph, c) || rank < 2) {
            continue;
        }
        ir_tensor tensor = *ir_info(r->graph, c)->tensor;
        while (first < rank - 1 && tensor.shape[first] == 1) {
            first++;
        }
        int others = 0; /* the rank that broadcasting gives without it */
        for (uint32_t k = 0; k < node->input_count; k++) {
            int own = k == i ? 1 : ir_type_of(r->graph, node->inputs[k])->rank;
            others = own > others ? own : others;
        }
        if (first == 0 || others < ir_type_of(r->graph, node->outputs[0])->rank) {
            continue;
        }
        tensor.rank = rank - first;
        memmove(tensor.shape, tensor.shape + first, (size_t)tensor.rank * sizeof tensor.shape[0]);
        memset(tensor.shape + tensor.rank, 0, (size_t)first * sizeof tensor.shape[0]);
        BASE_TRY(passes_add_const(r, ir_info(r->graph, c)->name, &tensor, &c));
        passes_set_input(r, n, i, c, NULL);
    }
    return MTL_OK;
}

static bool is_matrix_product(const ir_graph *graph, const ir_node_info *node)
{
    return ir_type_of(graph, node->inputs[0])->rank >= 2 && ir_type_of(graph, node->inputs[1])->rank >= 2;
}

/* --- casts --------------------------------------------------------------------------------------------------- */

/* What a dtype holds exactly: integers of so many bits, and floats whose exponents fit. */
typedef struct dtype_range {
    bool is_float, is_signed;
    int bits;     /* of the significand, or of the magnitude */
    int exponent; /* bits of the exponent */
} dtype_range;

static dtype_range range_of(mtl_dtype dtype)
{
    switch (dtype) {
    case MTL_F64: return (dtype_range){true, true, 53, 11};
    case MTL_F32: return (dtype_range){true, true, 24, 8};
    case MTL_F16: return (dtype_range){true, true, 11, 5};
    case MTL_BF16: return (dtype_range){true, true, 8, 8};
    case MTL_I64: return (dtype_range){false, true, 63, 0};
    case MTL_I32: return (dtype_range){false, true, 31, 0};
    case MTL_I16: return (dtype_range){false, true, 15, 0};
    case MTL_I8: return (dtype_range){false, true, 7, 0};
    case MTL_U64: return (dtype_range){false, false, 64, 0};
    case MTL_U32: return (dtype_range){false, false, 32, 0};
    case MTL_U16: return (dtype_range){false, false, 16, 0};
    case MTL_U8: return (dtype_range){false, false, 8, 0};
    default: return (dtype_range){false, false, 1, 0};
    }
}

static bool is_exact_cast(mtl_dtype from, mtl_dtype to)
{
    dtype_range a = range_of(from), b = range_of(to);
    if (from == to) {
        return true;
    }
    if (to == MTL_BOOL || (a.is_float && !b.is_float) || (a.is_signed && !b.is_signed)) {
        return false;
    }
    if (a.is_float) {
        return a.bits <= b.bits && a.exponent <= b.exponent;
    }
    return a.bits <= b.bits; /* 11 bits and fewer stay below the largest float16 */
}

static mtl_status simplify_cast(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    const ir_node_info *inner = ir_producer_op(r->graph, node->inputs[0], IR_OP_cast);
    if (inner != NULL &&
        is_exact_cast(ir_type_of(r->graph, inner->inputs[0])->dtype, ir_type_of(r->graph, inner->outputs[0])->dtype)) {
        BASE_TRY(skip_producer(r, n, inner));
    }
    if (same_type(r->graph, node->inputs[0], node->outputs[0])) {
        bypass(r, n, node->inputs[0]);
    }
    return MTL_OK;
}

/* --- arithmetic ---------------------------------------------------------------------------------------------- */

/* f(f(x)) = f(x). */
static bool is_idempotent(ir_op op)
{
    switch (op) {
    case IR_OP_relu:
    case IR_OP_abs:
    case IR_OP_sign:
    case IR_OP_floor:
    case IR_OP_ceil:
    case IR_OP_round: return true;
    default: return false;
    }
}

static void simplify_unary(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    const ir_node_info *inner = ir_producer_op(r->graph, node->inputs[0], node->op);
    if (inner != NULL && is_idempotent(node->op)) {
        bypass(r, n, node->inputs[0]);
    } else if (inner != NULL && (node->op == IR_OP_neg || node->op == IR_OP_not)) {
        bypass(r, n, inner->inputs[0]);
    }
}

/* The constant that leaves every operand as it is, bit for bit. */
static bool neutral_element(ir_op op, bool is_float, double *number)
{
    switch (op) {
    case IR_OP_mul:
    case IR_OP_div:
    case IR_OP_pow: *number = 1; return true;
    case IR_OP_sub: *number = 0; return true;
    case IR_OP_add: *number = is_float ? -0.0 : 0; return true;
    default: return false;
    }
}

static void simplify_binary(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    double number;
    if (!neutral_element(node->op, ir_dtype_is_float(ir_type_of(r->graph, node->outputs[0])->dtype), &number)) {
        return;
    }
    bool commutes = node->op == IR_OP_mul || node->op == IR_OP_add;
    for (uint32_t k = 0; k < (commutes ? 2 : 1); k++) {
        if (same_type(r->graph, node->inputs[k], node->outputs[0]) &&
            passes_const_is(r->graph, node->inputs[1 - k], number)) {
            bypass(r, n, node->inputs[k]);
            return;
        }
    }
}

/* --- the pass ------------------------------------------------------------------------------------------------ */

static mtl_status simplify(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    switch (node->op) {
    case IR_OP_identity: bypass(r, n, node->inputs[0]); return MTL_OK;
    case IR_OP_reshape: return simplify_reshape(r, n);
    case IR_OP_transpose: return simplify_transpose(r, n);
    case IR_OP_expand: return simplify_expand(r, n);
    case IR_OP_slice: simplify_slice(r, n); return MTL_OK;
    case IR_OP_cast: return simplify_cast(r, n);
    case IR_OP_matmul: return is_matrix_product(r->graph, node) ? bypass_expands(r, n, 2) : MTL_OK;
    case IR_OP_linear: return sink_reshape(r, n);
    case IR_OP_where: BASE_TRY(bypass_expands(r, n, 0)); return shorten_constants(r, n);
    case IR_OP_concat:
        if (node->input_count == 1) {
            bypass(r, n, node->inputs[0]);
        }
        return MTL_OK;
    case IR_OP_reduce_sum:
    case IR_OP_reduce_mean:
    case IR_OP_reduce_max:
    case IR_OP_reduce_min:
    case IR_OP_reduce_prod: return simplify_reduce(r, n);
    default: break;
    }
    if (ir_op_is_binary(node->op)) {
        BASE_TRY(bypass_expands(r, n, 0));
        BASE_TRY(shorten_constants(r, n));
        simplify_binary(r, n);
    } else if (ir_op_is_unary(node->op)) {
        simplify_unary(r, n);
    }
    return MTL_OK;
}

mtl_status passes_remove_identities(ir_graph *graph, base_diag *diag)
{
    return passes_each(graph, diag, simplify);
}
