/* Private to plan_check's third part: the step at hand, and what the rules of the ops are made of. */
#ifndef PLAN_CHECK_STEPS_H
#define PLAN_CHECK_STEPS_H

#include "plan/check.h"

typedef struct plan_step_check {
    const plan_view *view;
    const plan_step *step;
    base_diag *diag;
} plan_step_check;

/* A shape that a result must have. */
typedef struct plan_shape {
    unsigned rank;
    mtl_dim dims[MTL_MAX_RANK];
} plan_shape;

/* The rule of one op. */
typedef mtl_status (*plan_op_check)(const plan_step_check *check);

#define plan_fail_here(check, ...) plan_fail_step((check)->view, (check)->step, (check)->diag, __VA_ARGS__)

static inline const plan_tensor *plan_in(const plan_step_check *check, unsigned i)
{
    return plan_operand(check->view, check->step, i); /* NULL: absent */
}
static inline const plan_tensor *plan_out(const plan_step_check *check)
{
    return plan_result(check->view, check->step);
}
static inline const mtl_dim *plan_dims_of(const plan_step_check *check, const plan_tensor *tensor)
{
    return plan_dims(check->view, tensor);
}
static inline int64_t plan_attr(const plan_step_check *check, unsigned i)
{
    return check->view->attrs[check->step->attrs + i];
}

/* `what` is "input 1" or "the output". */
mtl_status plan_expect_dtype(const plan_step_check *check, const char *what, const plan_tensor *tensor,
                             mtl_dtype dtype);
mtl_status plan_expect_output(const plan_step_check *check, mtl_dtype dtype, const plan_shape *shape);
/* float32, int32 or int64. */
bool plan_is_number(mtl_dtype dtype);
plan_shape plan_shape_of(const plan_step_check *check, const plan_tensor *tensor);
/* The extents of input `i` as the rows of the step see them: of one that is per user in the row program, with B for U.
 * `seen` has room for MTL_MAX_RANK; the result is that, or the tensor's own. */
const mtl_dim *plan_seen_dims(const plan_step_check *check, unsigned i, mtl_dim *seen);
/* Appends an axis; fails beyond MTL_MAX_RANK. */
mtl_status plan_shape_add(const plan_step_check *check, plan_shape *shape, mtl_dim dim);
/* *shape becomes what it and `with` broadcast to. */
mtl_status plan_broadcast(const plan_step_check *check, plan_shape *shape, const plan_shape *with);
/* Attribute `i` is an axis of `tensor`. */
mtl_status plan_axis(const plan_step_check *check, unsigned i, const plan_tensor *tensor, unsigned *axis);
/* The step mixes the elements of an axis: in a plan of tiles it cannot be the candidates'. */
mtl_status plan_mixes(const plan_step_check *check, const plan_tensor *tensor, unsigned axis);
/* A function of the op's list that has `function` 0 only where `none`. */
mtl_status plan_expect_function(const plan_step_check *check, bool none);
/* Attributes `first` and the next are the parameters of a unary function: unused ones are 0. */
mtl_status plan_expect_parameters(const plan_step_check *check, unsigned function, unsigned first);
/* Input `i` is float32 of at least that rank. */
mtl_status plan_expect_float_input(const plan_step_check *check, unsigned i, unsigned least_rank);
/* Functions of float32 to float32, and 0: what a linear layer or a scan can end with. */
bool plan_is_activation(unsigned function);

/* The rule of spans, after that of the op. */
mtl_status plan_check_span(const plan_step_check *check);

/* One function an op: the shapes, dtypes and attributes that ops.def states. Counts have been checked. */
#define PLAN_OP(number, name, ...) mtl_status plan_check_##name(const plan_step_check *check);
#include "plan/ops.def"
#undef PLAN_OP

#endif
