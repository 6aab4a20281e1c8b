/* Common subexpressions: equal nodes on equal operands become one, and so do equal constants.
 *
 *     const %a : f32[] = 2
 *     const %b : f32[] = 2
 *     %p = mul(%x, %a)                            : f32[B, 4]
 *     %q = mul(%b, %x)                            : f32[B, 4]
 *     %y = add(%p, %q)                            : f32[B, 4]
 *
 * becomes
 *
 *     const %a : f32[] = 2
 *     %p = mul(%x, %a)                            : f32[B, 4]
 *     %y = add(%p, %p)                            : f32[B, 4]
 *
 * Duplicate gates and experts merge in this way. Outputs keep their names.
 */
#include <string.h>

#include "base/hash.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

/* Open addressing; an entry is a value that stands for all equal ones. */
typedef struct table {
    size_t mask;
    uint64_t *hashes;
    ir_value *values; /* 0: free */
} table;

typedef bool equal_function(const ir_graph *graph, ir_value a, ir_value b);

static mtl_status new_table(passes_rewriter *r, size_t entries, table *t)
{
    size_t size = 16;
    while (size < 2 * entries) {
        size *= 2;
    }
    t->mask = size - 1;
    t->hashes = BASE_NEW_ARRAY(&r->scratch, uint64_t, size);
    t->values = BASE_NEW_ARRAY(&r->scratch, ir_value, size);
    BASE_TRY_MEMORY(t->hashes, r->diag);
    BASE_TRY_MEMORY(t->values, r->diag);
    return MTL_OK;
}

/* The first value that equals `value`; adds it when there is none. */
static ir_value find_or_add(table *t, const ir_graph *graph, ir_value value, uint64_t hash, equal_function *equal)
{
    size_t at = (size_t)hash & t->mask;
    for (; t->values[at] != 0; at = (at + 1) & t->mask) {
        if (t->hashes[at] == hash && equal(graph, t->values[at], value)) {
            return t->values[at];
        }
    }
    t->values[at] = value;
    t->hashes[at] = hash;
    return value;
}

static bool equal_bytes(const void *a, const void *b, size_t size)
{
    return a == b || size == 0 || memcmp(a, b, size) == 0;
}

/* The same bits in float64 or int64, whatever the representation. */
static bool equal_constants(const ir_graph *graph, ir_value left, ir_value right)
{
    const ir_tensor *a = ir_info(graph, left)->tensor, *b = ir_info(graph, right)->tensor;
    if (a->dtype != b->dtype || a->rank != b->rank || a->count != b->count ||
        !equal_bytes(a->shape, b->shape, (size_t)a->rank * sizeof a->shape[0])) {
        return false;
    }
    if (a->raw != NULL && b->raw != NULL) {
        return equal_bytes(a->raw, b->raw, a->count * mtl_dtype_size(a->dtype));
    }
    for (size_t i = 0; i < a->count; i++) {
        double x = ir_tensor_at(a, i), y = ir_tensor_at(b, i);
        if (ir_dtype_is_float(a->dtype) ? memcmp(&x, &y, sizeof x) != 0
                                        : ir_tensor_int_at(a, i) != ir_tensor_int_at(b, i)) {
            return false;
        }
    }
    return true;
}

static bool is_commutative(ir_op op)
{
    switch (op) {
    case IR_OP_add:
    case IR_OP_mul:
    case IR_OP_and:
    case IR_OP_or:
    case IR_OP_xor:
    case IR_OP_equal: return true;
    default: return false;
    }
}

static bool equal_nodes(const ir_graph *graph, ir_value left, ir_value right)
{
    const ir_node_info *a = ir_producer(graph, left), *b = ir_producer(graph, right);
    if (a->op != b->op || a->input_count != b->input_count ||
        !ir_type_equal(ir_type_of(graph, left), ir_type_of(graph, right)) || !passes_equal_attrs(a, b)) {
        return false;
    }
    if (equal_bytes(a->inputs, b->inputs, a->input_count * sizeof *a->inputs)) {
        return true;
    }
    return is_commutative(a->op) && a->inputs[0] == b->inputs[1] && a->inputs[1] == b->inputs[0];
}

static uint64_t hash_node(const ir_graph *graph, const ir_node_info *node)
{
    base_hash hash;
    base_hash_begin(&hash);
    base_hash_add(&hash, &node->op, sizeof node->op);
    const ir_type *type = ir_type_of(graph, node->outputs[0]);
    base_hash_add(&hash, type->dim, (size_t)type->rank * sizeof type->dim[0]);
    if (is_commutative(node->op) && node->inputs[0] > node->inputs[1]) {
        base_hash_add(&hash, &node->inputs[1], sizeof node->inputs[1]);
        base_hash_add(&hash, &node->inputs[0], sizeof node->inputs[0]);
    } else {
        base_hash_add(&hash, node->inputs, node->input_count * sizeof *node->inputs);
    }
    passes_hash_attrs(&hash, node);
    return base_hash_end64(&hash);
}

static mtl_status merge(passes_rewriter *r)
{
    static const char fate[] = "merged with an equal node";
    ir_graph *graph = r->graph;
    table t;
    BASE_TRY(new_table(r, graph->value_count, &t));
    for (ir_value v = 1; v < graph->value_count; v++) {
        uint64_t hash;
        if (ir_is_const(graph, v) && r->uses[v] > 0) {
            ir_tensor_hash(ir_info(graph, v)->tensor, &hash);
            ir_value first = find_or_add(&t, graph, v, hash, equal_constants);
            if (first != v) {
                passes_substitute(r, v, first, NULL);
            }
        }
    }
    BASE_TRY(new_table(r, graph->node_count, &t));
    for (ir_node n = graph->first_node, next; n != 0; n = next) {
        passes_visit(r, n);
        const ir_node_info *node = ir_node_of(graph, n);
        next = node->next;
        if (node->output_count != 1) {
            continue;
        }
        ir_value v = node->outputs[0], first = find_or_add(&t, graph, v, hash_node(graph, node), equal_nodes);
        if (first != v) {
            passes_substitute(r, v, first, fate);
            passes_kill(r, n, fate);
        }
    }
    return MTL_OK;
}

mtl_status passes_merge_equal(ir_graph *graph, base_diag *diag)
{
    passes_rewriter r;
    BASE_TRY(passes_begin(graph, diag, &r));
    mtl_status status = merge(&r);
    return status == MTL_OK ? passes_end(&r) : passes_abandon(&r, status);
}
