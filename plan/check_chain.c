/* The rule of chain. */
#include <inttypes.h>
#include <stdio.h>

#include "plan/check_steps.h"

/* Input `i` has the shape of x, or it is fixed and, but for leading extents of 1, the last axes of that shape. */
static mtl_status check_operand(const plan_step_check *check, unsigned i)
{
    const plan_tensor *x = plan_in(check, 0), *operand = plan_in(check, i);
    const mtl_dim *dims = plan_dims_of(check, x), *own = plan_dims_of(check, operand);
    BASE_TRY(plan_expect_float_input(check, i, 0));
    bool same = operand->rank == x->rank, columns = true, fits = operand->rank <= x->rank;
    for (unsigned axis = 0; same && axis < x->rank; axis++) {
        same = plan_dim_equal(own[axis], dims[axis]);
    }
    for (unsigned axis = 1; !same && fits && axis <= operand->rank; axis++) {
        mtl_dim dim = own[operand->rank - axis];
        columns = columns && plan_dim_equal(dim, dims[x->rank - axis]);
        fits = plan_dim_is_fixed(dim) && (columns || plan_dim_is(dim, 1));
    }
    if (!fits) {
        char found[PLAN_SHAPE_TEXT], expected[PLAN_SHAPE_TEXT];
        return plan_fail_here(check, "input %u has shape %s, expected %s or its last axes", i,
                              plan_shape_text(own, operand->rank, found, sizeof found),
                              plan_shape_text(dims, x->rank, expected, sizeof expected));
    }
    return MTL_OK;
}

/* Functions of PLAN_BINARY that give float32 of float32. */
static const bool is_arithmetic[] = {
#define RESULT_SAME true
#define RESULT_BOOL false
#define RESULT_LOGIC false
#define RESULT_BITS false
#define PLAN_BINARY(number, name, result) [number] = RESULT_##result,
#include "plan/ops.def"
#undef PLAN_BINARY
#undef RESULT_SAME
#undef RESULT_BOOL
#undef RESULT_LOGIC
#undef RESULT_BITS
};

/* The function whose attributes begin with number `first`. */
static mtl_status check_function(const plan_step_check *check, unsigned first)
{
    int64_t function = plan_attr(check, first + PLAN_CHAIN_FUNCTION);
    int64_t operand = plan_attr(check, first + PLAN_CHAIN_OPERAND), side = plan_attr(check, first + PLAN_CHAIN_SIDE);
    unsigned number = first / PLAN_CHAIN_ATTRS;
    if (operand < 0 || operand >= check->step->input_count) {
        return plan_fail_here(check, "function %u takes input %" PRId64 " of %d", number, operand,
                              check->step->input_count);
    }
    bool binary = operand != 0;
    if (side < 0 || side > binary) {
        return plan_fail_here(check, "the side of function %u is %" PRId64 ", expected %s", number, side,
                              binary ? "0 or 1" : "0");
    }
    const int64_t count = sizeof is_arithmetic / sizeof is_arithmetic[0];
    bool known = binary ? function > 0 && function < count && is_arithmetic[function]
                        : function > 0 && function <= UINT16_MAX && plan_is_activation((unsigned)function);
    if (!known) {
        return plan_fail_here(check, "function %u is %s %" PRId64 ", which does not give float32 of float32", number,
                              binary ? "binary" : "unary", function);
    }
    return plan_expect_parameters(check, binary ? PLAN_UNARY_none : (unsigned)function, first + PLAN_CHAIN_A);
}

mtl_status plan_check_chain(const plan_step_check *check)
{
    unsigned count = check->step->attr_count;
    if (count == 0 || count % PLAN_CHAIN_ATTRS != 0) {
        return plan_fail_here(check, "%u attributes, expected %d for each function, and a function", count,
                              PLAN_CHAIN_ATTRS);
    }
    for (unsigned i = 0; i < check->step->input_count; i++) {
        BASE_TRY(check_operand(check, i));
    }
    for (unsigned first = 0; first < count; first += PLAN_CHAIN_ATTRS) {
        BASE_TRY(check_function(check, first));
    }
    plan_shape shape = plan_shape_of(check, plan_in(check, 0));
    return plan_expect_output(check, MTL_F32, &shape);
}
