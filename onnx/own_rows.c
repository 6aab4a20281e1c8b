/* x[arange(B), i], as exporters write it: each candidate takes an element of its own. */
#include "onnx/internal.h"

enum { MAX_MOVES = 32 };

static bool is_integer_constant(const ir_graph *graph, ir_value value, int64_t number)
{
    int64_t found;
    size_t count;
    return ir_content_ints(graph, value, &found, 1, &count) && count == 1 && found == number;
}

/* Whether the extents before the candidates' axis, and behind it, are 1: then reshapes and broadcasts along other axes
 * keep the candidates in their order, one number each. */
static bool one_a_row(const ir_type *type, ir_dim rows)
{
    int found = 0;
    for (int i = 0; i < type->rank; i++) {
        found += ir_dim_equal(type->dim[i], rows);
        if (!ir_dim_is(type->dim[i], 1) && !ir_dim_equal(type->dim[i], rows)) {
            return false;
        }
    }
    return found == 1;
}

/* Element `start` along `axis`, alone. */
static bool takes_part_of(const ir_graph *graph, const ir_node_info *slice, ir_value *part)
{
    const ir_node_info *all = ir_producer_op(graph, slice->inputs[0], IR_OP_concat);
    const ir_type *from = ir_type_of(graph, slice->inputs[0]), *to = ir_type_of(graph, slice->outputs[0]);
    const int64_t *starts = ir_find_attr(slice, IR_ATTR_starts)->ints;
    int64_t axis = all != NULL ? ir_attr_int(all, IR_ATTR_axis) : 0, begin = 0;
    for (int i = 0; i < from->rank; i++) {
        if (all == NULL || (i != axis && !ir_dim_equal(from->dim[i], to->dim[i]))) {
            return false;
        }
    }
    for (uint32_t i = 0; i < all->input_count; i++) {
        ir_dim extent = ir_type_of(graph, all->inputs[i])->dim[axis];
        if (ir_dim_equal(extent, to->dim[axis]) && begin == starts[axis]) {
            *part = all->inputs[i];
            return true;
        }
        if (!ir_dim_is_const(extent)) {
            return false;
        }
        begin += extent.c;
    }
    return false;
}

bool onnx_counts_rows(const ir_graph *graph, ir_value value, ir_dim rows)
{
    for (int moves = 0; moves < MAX_MOVES; moves++) {
        const ir_node_info *node = ir_producer(graph, value);
        if (node == NULL || !one_a_row(ir_type_of(graph, value), rows)) {
            return false;
        }
        switch (node->op) {
        case IR_OP_range:
            return is_integer_constant(graph, node->inputs[0], 0) && is_integer_constant(graph, node->inputs[2], 1);
        case IR_OP_cast:
            if (ir_dtype_is_float(ir_type_of(graph, value)->dtype)) {
                return false;
            }
            value = node->inputs[0];
            break;
        case IR_OP_identity:
        case IR_OP_reshape:
        case IR_OP_expand: value = node->inputs[0]; break;
        case IR_OP_slice:
            if (!takes_part_of(graph, node, &value)) {
                return false;
            }
            break;
        default: return false;
        }
    }
    return false;
}

/* value = range x factor; with factor 1 the range alone. */
static bool counts_rows_by(const ir_graph *graph, ir_value value, ir_dim rows, int64_t factor)
{
    const ir_node_info *node = ir_producer_op(graph, value, IR_OP_mul);
    for (uint32_t i = 0; node != NULL && i < 2; i++) {
        if (is_integer_constant(graph, node->inputs[1 - i], factor) && onnx_counts_rows(graph, node->inputs[i], rows)) {
            return true;
        }
    }
    return factor == 1 && onnx_counts_rows(graph, value, rows);
}

/* Before a reshape, moved or not, that joined the candidates' axis with the next: data (B, factor, rest..). */
static bool joined_rows(const ir_graph *graph, ir_value flat, ir_value *data, int64_t *factor)
{
    const ir_type *to = ir_type_of(graph, flat);
    for (int moves = 0; moves < MAX_MOVES; moves++) {
        const ir_node_info *node = ir_producer(graph, flat);
        if (node == NULL || (node->op != IR_OP_reshape && node->op != IR_OP_identity)) {
            return false;
        }
        flat = node->inputs[0];
        const ir_type *from = ir_type_of(graph, flat);
        ir_dim product;
        if (from->rank >= 2 && ir_dim_is_const(from->dim[1]) && from->dim[1].c > 0 &&
            ir_dim_mul(from->dim[0], from->dim[1], &product) && ir_dim_equal(product, to->dim[0])) {
            *factor = from->dim[1].c;
            *data = flat;
            return true;
        }
    }
    return false;
}

bool onnx_find_own_rows(const ir_graph *graph, ir_value flat, ir_value indices, ir_value *data, ir_value *index)
{
    const ir_node_info *sum = ir_producer_op(graph, indices, IR_OP_add);
    int64_t factor;
    if (sum == NULL || ir_type_of(graph, flat)->rank == 0 || !joined_rows(graph, flat, data, &factor)) {
        return false;
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (counts_rows_by(graph, sum->inputs[i], ir_type_of(graph, *data)->dim[0], factor) &&
            ir_type_equal(ir_type_of(graph, sum->inputs[1 - i]), ir_type_of(graph, indices))) {
            *index = sum->inputs[1 - i];
            return true;
        }
    }
    return false;
}
