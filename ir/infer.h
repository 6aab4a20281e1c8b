/* Private to infer*.c, content.c and rate.c: what the functions of one node share. */
#ifndef IR_INFER_H
#define IR_INFER_H

#include "ir/graph.h"

typedef struct ir_infer_context {
    ir_graph *graph;
    ir_node node;
    const ir_node_info *info;
    base_diag *diag;
} ir_infer_context;

/* The type of the node's result. On entry *type is the type that the result was given, dtype 0: none. Sets the
 * result's content too. */
typedef mtl_status ir_infer_function(const ir_infer_context *c, ir_type *type);

#define OP(name, min, max, outputs, infer, rate, eval, attrs) ir_infer_function ir_infer_##infer;
#include "ir/ops.def"
#undef OP

/* --- helpers (infer.c) --------------------------------------------------------------------------------------- */

static inline const ir_type *ir_infer_operand(const ir_infer_context *c, uint32_t index)
{
    return &c->graph->values[c->info->inputs[index]].type;
}

static inline bool ir_infer_has_operand(const ir_infer_context *c, uint32_t index)
{
    return index < c->info->input_count && c->info->inputs[index] != 0;
}

/* "f32[B, 4]"; "(no memory)" when there is none. */
const char *ir_infer_text(const ir_infer_context *c, const ir_type *type);
/* "operands f32[B, 4] and f32[B, 5]" of all operands of the node. */
const char *ir_infer_operands_text(const ir_infer_context *c);
const char *ir_infer_dim_text(const ir_infer_context *c, ir_dim dim);

/* *type becomes the multidirectional broadcast of *type and `other` (its dtype stays). */
mtl_status ir_infer_join(const ir_infer_context *c, ir_type *type, const ir_type *other);

/* All present operands must have the dtype of the first. */
mtl_status ir_infer_one_dtype(const ir_infer_context *c);
mtl_status ir_infer_check_numeric(const ir_infer_context *c, uint32_t operand);
mtl_status ir_infer_check_float(const ir_infer_context *c, uint32_t operand);
mtl_status ir_infer_check_bool(const ir_infer_context *c, uint32_t operand);
/* `act`, if it is there: "" or a unary op on floats. */
mtl_status ir_infer_check_act(const ir_infer_context *c);
mtl_status ir_infer_check_axis(const ir_infer_context *c, int64_t axis, int32_t rank);

/* A product of extents that need not be linear: a number times primitive linear expressions. */
typedef struct ir_product {
    int64_t number;
    int count;
    ir_dim factor[2 * MTL_MAX_RANK];
} ir_product;

static inline ir_product ir_product_one(void)
{
    return (ir_product){.number = 1};
}
/* False: overflow, or too many factors. */
bool ir_product_multiply(ir_product *product, ir_dim dim);
bool ir_product_equal(const ir_product *a, const ir_product *b);
/* The exact quotient a / b when it is linear. */
bool ir_product_divide(const ir_product *a, const ir_product *b, ir_dim *quotient);

/* --- contents (content.c) ------------------------------------------------------------------------------------ */

/* Whether a >= b for all symbols >= 1. Unlike ir_dim_compare it also proves B >= 1. */
bool ir_dim_at_least(ir_dim a, ir_dim b);
/* Integer division that truncates towards zero, where the result is linear. */
bool ir_dim_truncated_div(ir_dim a, ir_dim b, ir_dim *result);

/* Every one below sets the content of the node's result, of type `type`, where it is linear, and leaves it unset
 * where not: that is no error. */
mtl_status ir_content_elementwise(const ir_infer_context *c, const ir_type *type);
mtl_status ir_content_where(const ir_infer_context *c, const ir_type *type);
mtl_status ir_content_cast(const ir_infer_context *c, const ir_type *type);
mtl_status ir_content_shape(const ir_infer_context *c);
/* Same elements in the same order (reshape), or the same everywhere (expand). */
mtl_status ir_content_spread(const ir_infer_context *c, const ir_type *type);
mtl_status ir_content_slice(const ir_infer_context *c, const ir_type *type);
mtl_status ir_content_concat(const ir_infer_context *c, const ir_type *type);
mtl_status ir_content_range(const ir_infer_context *c, const ir_type *type);
mtl_status ir_content_reduce(const ir_infer_context *c, const ir_type *type);
/* Also an error: a known index that is out of range. */
mtl_status ir_content_gather(const ir_infer_context *c, const ir_type *type);

#endif
