/* The reference evaluator, inside: one function for each name in the EVAL column of ops.def. Private to
 * ir/eval*.c. */
#ifndef IR_EVAL_H
#define IR_EVAL_H

#include "ir/graph.h"

/* One node being evaluated. */
typedef struct ir_eval_call {
    const ir_graph *graph;
    ir_node id;
    const ir_node_info *node;
    const ir_tensor *const *inputs; /* shapes were checked against the operands' types; NULL: absent */
    base_arena *arena;
    base_diag *diag;
    ir_tensor *output; /* dtype, rank, shape and count are there; the function allocates and fills f or i */
} ir_eval_call;

typedef mtl_status ir_eval_function(const ir_eval_call *call);

#define OP(name, min_inputs, max_inputs, outputs, infer, rate, eval, attrs) ir_eval_function ir_eval_##eval;
#include "ir/ops.def"
#undef OP

/* Records an error that begins with the node's name and operator. */
mtl_status ir_eval_fail(const ir_eval_call *call, mtl_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Numbers of operand `i`, converted when needed. */
mtl_status ir_eval_floats(const ir_eval_call *call, size_t i, const double **numbers);
mtl_status ir_eval_ints(const ir_eval_call *call, size_t i, const int64_t **numbers);
/* Room for the result, also set as its data. */
mtl_status ir_eval_new_floats(const ir_eval_call *call, double **numbers);
mtl_status ir_eval_new_ints(const ir_eval_call *call, int64_t **numbers);

/* Walks all elements of a shape in row-major order and follows them in up to three operands. */
enum { IR_WALK_OPERANDS = 3 };
typedef struct ir_walk {
    int rank;
    int64_t shape[MTL_MAX_RANK], index[MTL_MAX_RANK];
    int64_t stride[IR_WALK_OPERANDS][MTL_MAX_RANK];
    int64_t at[IR_WALK_OPERANDS]; /* the current element of every operand */
} ir_walk;

void ir_walk_start(ir_walk *walk, const ir_tensor *shape);
/* Operand `k` is `tensor`, broadcast to the shape from the right. */
void ir_walk_broadcast(ir_walk *walk, int k, const ir_tensor *tensor);
void ir_walk_next(ir_walk *walk);

/* Elements before, along and after an axis: the tensor read as (outer, extent, inner). */
typedef struct ir_axis_view {
    int64_t outer, extent, inner;
} ir_axis_view;
ir_axis_view ir_view_axis(const ir_tensor *tensor, int axis);

/* An integer as `dtype` holds it: wrapped to its width, 0 or 1 for booleans. */
int64_t ir_wrap_int(int64_t number, mtl_dtype dtype);

/* The float operation `op` (one of the unary ones) with the attributes of `node`, on one number. */
double ir_eval_unary_float(ir_op op, const ir_node_info *node, double x);
/* The same of one of the binary ones that give numbers. */
double ir_eval_binary_float(const ir_node_info *node, double a, double b);

#endif
