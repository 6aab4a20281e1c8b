/* Attention, as its parts: products, scale, masks, softmax. Passes find it again, however it is written. */
#include <math.h>

#include "onnx/internal.h"

enum { Q, K, V, MASK, PAST_KEY, PAST_VALUE, KEYS };

typedef struct attention {
    ir_value in[3]; /* (batch, heads, length, width) */
    ir_dim batch, heads, queries, keys;
    bool flat; /* the operands are (batch, length, heads x width) */
    bool masked;
} attention;

static const int64_t heads_first[] = {0, 2, 1, 3};

static mtl_status turn(onnx_node *node, const int64_t *perm, ir_value *value)
{
    ir_attr attr = IR_INTS(perm, perm, 4);
    return onnx_emit(node, IR_OP_transpose, value, 1, &attr, 1, value);
}

static const ir_type *type_of(const onnx_node *node, ir_value value)
{
    return ir_type_of(node->importer->graph, value);
}

static mtl_status refuse_what_is_missing(onnx_node *node)
{
    static const char *const outputs[] = {NULL, "which is a cache", "which is a cache", "which is for debugging"};
    for (size_t i = PAST_KEY; i <= PAST_VALUE; i++) {
        if (onnx_in(node, i) != 0) {
            return onnx_fail(node, MTL_UNSUPPORTED, "input %zu (past_%s) is not supported", i,
                             i == PAST_KEY ? "key" : "value");
        }
    }
    for (size_t i = 1; i < node->output_count; i++) {
        onnx_refuse_output(node, i, outputs[i]);
    }
    for (size_t i = Q; i <= V; i++) {
        int rank = onnx_in_type(node, i)->rank;
        if ((rank != 3 && rank != 4) || rank != onnx_in_type(node, 0)->rank) {
            return onnx_fail(node, MTL_INVALID_DATA, "input %zu is %s, expected rank 3 or 4, as the others", i,
                             onnx_shape_text(node, onnx_in_type(node, i)));
        }
    }
    return MTL_OK;
}

/* (batch, length, heads x width) to (batch, heads, length, width). */
static mtl_status split_heads(onnx_node *node, const char *attr, ir_value *value)
{
    ir_type type = *type_of(node, *value);
    int64_t heads = onnx_int(node, attr);
    if (heads < 1 || !ir_dim_div(type.dim[2], ir_dim_const(heads), &type.dim[3])) {
        return onnx_fail(node, MTL_INVALID_DATA, "%s is %lld, which does not divide the last axis of %s", attr,
                         (long long)heads, onnx_shape_text(node, type_of(node, *value)));
    }
    type.rank = 4;
    type.dim[2] = ir_dim_const(heads);
    BASE_TRY(onnx_reshape(node, *value, &type, false, value));
    return turn(node, heads_first, value);
}

/* Heads of keys and values that several heads of queries share: each as often, one after the other. */
static mtl_status repeat_heads(onnx_node *node, int64_t times, ir_value *value)
{
    const ir_type type = *type_of(node, *value);
    ir_type split = {.dtype = type.dtype, .rank = 5, .dim = {type.dim[0], type.dim[1], {.c = 1}}}, wide, joined = type;
    split.dim[3] = type.dim[2];
    split.dim[4] = type.dim[3];
    wide = split;
    wide.dim[2] = ir_dim_const(times);
    BASE_TRY(onnx_reshape(node, *value, &split, false, value));
    BASE_TRY(onnx_emit_typed(node, IR_OP_expand, *value, NULL, 0, &wide, value));
    if (!ir_dim_mul(type.dim[1], ir_dim_const(times), &joined.dim[1])) {
        return onnx_fail(node, MTL_UNSUPPORTED, "too many heads");
    }
    return onnx_reshape(node, *value, &joined, false, value);
}

static mtl_status read_operands(onnx_node *node, attention *a)
{
    a->flat = onnx_in_type(node, Q)->rank == 3;
    for (size_t i = Q; i <= V; i++) {
        a->in[i] = onnx_in(node, i);
        if (a->flat) {
            BASE_TRY(split_heads(node, i == Q ? "q_num_heads" : "kv_num_heads", &a->in[i]));
        }
    }
    const ir_type *q = type_of(node, a->in[Q]);
    a->batch = q->dim[0];
    a->heads = q->dim[1];
    a->queries = q->dim[2];
    a->keys = type_of(node, a->in[K])->dim[2];
    ir_dim shared = type_of(node, a->in[K])->dim[1], times;
    if (!ir_dim_equal(shared, type_of(node, a->in[V])->dim[1]) || !ir_dim_div(a->heads, shared, &times) ||
        !ir_dim_is_const(times)) {
        return onnx_fail(node, MTL_INVALID_DATA, "the heads of K and V do not divide those of Q");
    }
    for (size_t i = K; i <= V && !ir_dim_is(times, 1); i++) {
        BASE_TRY(repeat_heads(node, times.c, &a->in[i]));
    }
    return MTL_OK;
}

/* scores where `keep` is true, else -infinity. */
static mtl_status keep_only(onnx_node *node, attention *a, ir_value keep, ir_value *scores)
{
    ir_value operands[3] = {keep, *scores, 0};
    BASE_TRY(onnx_emit_number(node, -INFINITY, &operands[2]));
    a->masked = true;
    return onnx_emit(node, IR_OP_where, operands, 3, NULL, 0, scores);
}

/* The mask of is_causal and of the windows: which keys each query may see by their positions. */
static mtl_status mask_positions(onnx_node *node, attention *a, ir_value *scores)
{
    bool windows = node->schema->since >= 25;
    int64_t before = windows ? onnx_int(node, "left_window_size") : -1;
    int64_t after = windows ? onnx_int(node, "right_window_size") : -1;
    bool causal = onnx_int(node, "is_causal") != 0;
    if (!causal && before < 0 && after < 0) {
        return MTL_OK;
    }
    int64_t n = a->queries.c, m = a->keys.c, count;
    if (!ir_dim_is_const(a->queries) || !ir_dim_is_const(a->keys)) {
        return onnx_fail(node, MTL_UNSUPPORTED, "is_causal and windows need fixed lengths");
    }
    if (onnx_in(node, KEYS) != 0) {
        return onnx_fail(node, MTL_UNSUPPORTED, "is_causal and windows are not supported with nonpad_kv_seqlen");
    }
    if (__builtin_mul_overflow(n, m, &count) || count > 1 << 24) {
        return onnx_fail(node, MTL_UNSUPPORTED, "a mask of positions of %lld x %lld is too large", (long long)n,
                         (long long)m);
    }
    int64_t *keep = base_arena_alloc_array(node->importer->arena, (size_t)count + 1, sizeof *keep);
    BASE_TRY_MEMORY(keep, node->importer->diag);
    for (int64_t i = 0; i < count; i++) {
        int64_t query = i / m, key = i % m;
        keep[i] =
            (!causal || key <= query) && (before < 0 || key >= query - before) && (after < 0 || key <= query + after);
    }
    const ir_tensor tensor = {.dtype = MTL_BOOL, .rank = 2, .shape = {n, m}, .count = (size_t)count, .i = keep};
    ir_value mask;
    BASE_TRY(ir_add_const(node->importer->graph, NULL, &tensor, node->importer->diag, &mask));
    return keep_only(node, a, mask, scores);
}

/* nonpad_kv_seqlen: so many keys of each candidate are there. */
static mtl_status mask_lengths(onnx_node *node, attention *a, ir_value *scores)
{
    ir_value lengths = onnx_in(node, KEYS), operands[2];
    if (lengths == 0) {
        return MTL_OK;
    }
    if (!ir_dim_is_const(a->keys) || a->keys.c > 1 << 20) {
        return onnx_fail(node, MTL_UNSUPPORTED, "nonpad_kv_seqlen needs a fixed number of keys");
    }
    size_t count = (size_t)a->keys.c;
    int64_t *positions = base_arena_alloc_array(node->importer->arena, count + 1, sizeof *positions);
    BASE_TRY_MEMORY(positions, node->importer->diag);
    for (size_t i = 0; i < count; i++) {
        positions[i] = (int64_t)i;
    }
    ir_type type = *onnx_in_type(node, KEYS);
    const ir_tensor tensor = {
        .dtype = type.dtype, .rank = 4, .shape = {1, 1, 1, a->keys.c}, .count = count, .i = positions};
    if (type.rank != 1 || !ir_dim_equal(type.dim[0], a->batch)) {
        return onnx_fail(node, MTL_INVALID_DATA, "input %d (nonpad_kv_seqlen) is %s, expected one length a row", KEYS,
                         onnx_shape_text(node, &type));
    }
    type.rank = 4;
    type.dim[1] = type.dim[2] = type.dim[3] = ir_dim_const(1);
    BASE_TRY(ir_add_const(node->importer->graph, NULL, &tensor, node->importer->diag, &operands[0]));
    BASE_TRY(onnx_reshape(node, lengths, &type, false, &operands[1]));
    BASE_TRY(onnx_emit(node, IR_OP_less, operands, 2, NULL, 0, &operands[0]));
    return keep_only(node, a, operands[0], scores);
}

static mtl_status apply_mask(onnx_node *node, attention *a, ir_value *scores)
{
    ir_value mask = onnx_in(node, MASK), operands[2] = {*scores, mask};
    if (mask == 0) {
        return MTL_OK;
    }
    const ir_type *type = onnx_in_type(node, MASK);
    if (type->rank > 0 && !ir_dim_equal(type->dim[type->rank - 1], a->keys) &&
        !ir_dim_is(type->dim[type->rank - 1], 1)) {
        return onnx_fail(node, MTL_UNSUPPORTED, "input 3 (attn_mask) is %s, which is shorter than the keys",
                         onnx_shape_text(node, type));
    }
    if (type->dtype == MTL_BOOL) {
        return keep_only(node, a, mask, scores);
    }
    a->masked = true;
    return onnx_emit(node, IR_OP_add, operands, 2, NULL, 0, scores);
}

/* scale * Q K', softcap, masks. */
static mtl_status make_scores(onnx_node *node, attention *a, ir_value *scores)
{
    static const int64_t transposed[] = {0, 1, 3, 2};
    ir_value product[2] = {a->in[Q], a->in[K]};
    ir_dim width = type_of(node, a->in[Q])->dim[3];
    double scale = onnx_float(node, "scale"), cap = onnx_float(node, "softcap");
    if (!onnx_has(node, "scale")) {
        if (!ir_dim_is_const(width) || width.c < 1) {
            return onnx_fail(node, MTL_UNSUPPORTED, "the width of a head must be known while compiling");
        }
        scale = 1 / sqrt((double)width.c);
    }
    BASE_TRY(turn(node, transposed, &product[1]));
    BASE_TRY(onnx_emit(node, IR_OP_matmul, product, 2, NULL, 0, &product[0]));
    BASE_TRY(onnx_emit_number(node, scale, &product[1]));
    BASE_TRY(onnx_emit(node, IR_OP_mul, product, 2, NULL, 0, &product[0]));
    if (cap > 0) {
        BASE_TRY(onnx_emit_number(node, cap, &product[1]));
        BASE_TRY(onnx_emit(node, IR_OP_div, product, 2, NULL, 0, &product[0]));
        BASE_TRY(onnx_emit(node, IR_OP_tanh, product, 1, NULL, 0, &product[0]));
        BASE_TRY(onnx_emit(node, IR_OP_mul, product, 2, NULL, 0, &product[0]));
    }
    *scores = product[0];
    const ir_type type = *type_of(node, *scores);
    BASE_TRY(apply_mask(node, a, scores));
    BASE_TRY(mask_positions(node, a, scores));
    BASE_TRY(mask_lengths(node, a, scores));
    if (!ir_type_equal(&type, type_of(node, *scores))) {
        return onnx_fail(node, MTL_INVALID_DATA, "input 3 (attn_mask) %s does not broadcast to %s",
                         onnx_shape_text(node, onnx_in_type(node, MASK)), onnx_shape_text(node, &type));
    }
    return MTL_OK;
}

/* The softmax over the keys; zeros for a query without any. */
static mtl_status make_shares(onnx_node *node, const attention *a, ir_value scores, ir_value *shares)
{
    ir_attr axis = IR_INT(axis, 3);
    BASE_TRY(onnx_emit(node, IR_OP_softmax, &scores, 1, &axis, 1, shares));
    if (!a->masked) {
        return MTL_OK;
    }
    static const int64_t keys[] = {3};
    ir_attr attrs[] = {IR_INTS(axes, keys, 1), IR_INT(keepdims, 1)};
    ir_value none[2], zeros[3] = {0, 0, *shares};
    BASE_TRY(onnx_emit(node, IR_OP_reduce_max, &scores, 1, attrs, 2, &none[0]));
    BASE_TRY(onnx_emit_number(node, -INFINITY, &none[1]));
    BASE_TRY(onnx_emit(node, IR_OP_equal, none, 2, NULL, 0, &zeros[0]));
    BASE_TRY(onnx_emit_number(node, 0, &zeros[1]));
    return onnx_emit(node, IR_OP_where, zeros, 3, NULL, 0, shares);
}

mtl_status onnx_import_attention(onnx_node *node)
{
    attention a = {.masked = false};
    ir_value scores, product[2];
    BASE_TRY(refuse_what_is_missing(node));
    BASE_TRY(read_operands(node, &a));
    BASE_TRY(make_scores(node, &a, &scores));
    BASE_TRY(make_shares(node, &a, scores, &product[0]));
    product[1] = a.in[V];
    if (!a.flat) {
        return onnx_last(node, IR_OP_matmul, product, 2, NULL, 0);
    }
    BASE_TRY(onnx_emit(node, IR_OP_matmul, product, 2, NULL, 0, &product[0]));
    BASE_TRY(turn(node, heads_first, &product[0]));
    const ir_type split = *type_of(node, product[0]);
    ir_type type = {.dtype = split.dtype, .rank = 3, .dim = {split.dim[0], split.dim[1]}};
    BASE_TRY(onnx_product(node, &split, 2, 4, &type.dim[2]));
    return onnx_reshape(node, product[0], &type, true, NULL);
}
