/* The rules of the ops that compute: dtypes, shapes, attributes. See ops.def and docs/plan-format.md. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "plan/check_steps.h"

mtl_status plan_expect_float_input(const plan_step_check *check, unsigned i, unsigned least_rank)
{
    char what[32];
    const plan_tensor *tensor = plan_in(check, i);
    (void)snprintf(what, sizeof what, "input %u", i);
    BASE_TRY(plan_expect_dtype(check, what, tensor, MTL_F32));
    if (tensor->rank < least_rank) {
        return plan_fail_here(check, "input %u has rank %d, expected at least %u", i, tensor->rank, least_rank);
    }
    return MTL_OK;
}

bool plan_is_activation(unsigned function)
{
    bool known = function == 0 || plan_function_name(PLAN_OP_unary, function)[0] != '\0';
    return known && function != PLAN_UNARY_not && function != PLAN_UNARY_isnan && function != PLAN_UNARY_isinf;
}

/* w is (G, K, N) with nothing empty; a bias is (G, N). */
static mtl_status check_weights(const plan_step_check *check, const mtl_dim **weights)
{
    const plan_tensor *w = plan_in(check, 1), *bias = check->step->input_count > 2 ? plan_in(check, 2) : NULL;
    if (w->layout != PLAN_LAYOUT_PANELS) {
        return plan_fail_here(check, "input 1 is not in panels");
    }
    const mtl_dim *dims = plan_dims_of(check, w);
    if (dims[0].fixed == 0 || dims[1].fixed == 0 || dims[2].fixed == 0) {
        return plan_fail_here(check, "input 1 has no elements");
    }
    if (bias != NULL) {
        if (bias->layout != PLAN_LAYOUT_PADDED) {
            return plan_fail_here(check, "input 2 is not a padded bias");
        }
        const mtl_dim *bias_dims = plan_dims_of(check, bias);
        if (!plan_dim_equal(bias_dims[0], dims[0]) || !plan_dim_equal(bias_dims[1], dims[2])) {
            return plan_fail_here(check, "input 2 is (%" PRId64 ", %" PRId64 "), expected (%" PRId64 ", %" PRId64 ")",
                                  bias_dims[0].fixed, bias_dims[1].fixed, dims[0].fixed, dims[2].fixed);
        }
    }
    *weights = dims;
    return MTL_OK;
}

/* The activation ends where a panel ends. */
static mtl_status check_active_columns(const plan_step_check *check, int64_t n)
{
    int64_t columns = check->view->attrs[check->step->attrs + 2];
    if (columns < 0 || columns > n || columns % PLAN_PANEL != 0 || (columns > 0 && check->step->function == 0)) {
        return plan_fail_here(check,
                              "the activation is for %" PRId64 " columns of %" PRId64 ", expected a multiple of %d",
                              columns, n, PLAN_PANEL);
    }
    return MTL_OK;
}

/* A start has the extents of the result, of rank `rank`, or, where candidates lead, 1 for all between them and the layer's
 * own axes, or 1 for them: a candidate's rows then follow each other with one stride, or share one start. */
static mtl_status check_start(const plan_step_check *check, const plan_shape *result, unsigned layer_axes)
{
    BASE_TRY(plan_expect_float_input(check, 3, result->rank));
    plan_shape start = plan_shape_of(check, plan_in(check, 3));
    mtl_dim seen[MTL_MAX_RANK];
    const mtl_dim *dims = plan_seen_dims(check, 3, seen); /* those of users as if they were candidates */
    unsigned rows = plan_row_axis(result->dims, result->rank), first = result->rank - layer_axes;
    bool leads = rows < first && plan_candidates_lead(result->dims, result->rank), equal = true, ones = true;
    bool fits = start.rank == result->rank && (dims != seen || leads);
    for (unsigned axis = 0; fits && axis < start.rank; axis++) {
        bool same = plan_dim_equal(dims[axis], result->dims[axis]), one = plan_dim_is(dims[axis], 1);
        if (axis > rows && axis < first) {
            equal = equal && same;
            ones = ones && one;
        } else {
            fits = same || (one && axis == rows);
        }
        fits = fits && (same || leads);
    }
    if (!fits || !(equal || ones)) {
        char found[PLAN_SHAPE_TEXT], expected[PLAN_SHAPE_TEXT];
        return plan_fail_here(check, "input 3 is %s, which the result %s cannot begin with",
                              plan_shape_text(start.dims, start.rank, found, sizeof found),
                              plan_shape_text(result->dims, result->rank, expected, sizeof expected));
    }
    return MTL_OK;
}

mtl_status plan_check_linear(const plan_step_check *check)
{
    const mtl_dim *w = NULL;
    BASE_TRY(check_weights(check, &w));
    BASE_TRY(plan_expect_float_input(check, 0, 1));
    plan_shape shape = plan_shape_of(check, plan_in(check, 0));
    bool grouped = w[0].fixed != 1;
    if (!plan_dim_equal(shape.dims[shape.rank - 1], w[1])) {
        char text[64];
        return plan_fail_here(check, "input 1 has %" PRId64 " rows of weights, expected %s", w[1].fixed,
                              plan_dim_text(shape.dims[shape.rank - 1], text, sizeof text));
    }
    if (grouped && (shape.rank < 2 || !plan_dim_equal(shape.dims[shape.rank - 2], w[0]))) {
        char text[PLAN_SHAPE_TEXT];
        return plan_fail_here(check, "input 1 has %" PRId64 " groups, but input 0 is %s", w[0].fixed,
                              plan_shape_text(shape.dims, shape.rank, text, sizeof text));
    }
    if (!plan_is_activation(check->step->function)) {
        return plan_fail_here(check, "'%s' is no activation",
                              plan_function_name(PLAN_OP_linear, check->step->function));
    }
    BASE_TRY(plan_expect_parameters(check, check->step->function, 0));
    BASE_TRY(check_active_columns(check, w[2].fixed));
    shape.dims[shape.rank - 1] = w[2];
    if (check->step->input_count > 3 && plan_in(check, 3) != NULL) {
        BASE_TRY(check_start(check, &shape, grouped ? 2 : 1));
    }
    return plan_expect_output(check, MTL_F32, &shape);
}

mtl_status plan_check_matmul(const plan_step_check *check)
{
    BASE_TRY(plan_expect_float_input(check, 0, 2));
    BASE_TRY(plan_expect_float_input(check, 1, 2));
    plan_shape a = plan_shape_of(check, plan_in(check, 0)), b = plan_shape_of(check, plan_in(check, 1));
    mtl_dim m = a.dims[a.rank - 2], k = a.dims[a.rank - 1], n = b.dims[b.rank - 1];
    if (!plan_dim_equal(k, b.dims[b.rank - 2])) {
        char left[PLAN_SHAPE_TEXT], right[PLAN_SHAPE_TEXT];
        return plan_fail_here(check, "no product of %s and %s", plan_shape_text(a.dims, a.rank, left, sizeof left),
                              plan_shape_text(b.dims, b.rank, right, sizeof right));
    }
    BASE_TRY(plan_mixes(check, plan_in(check, 0), a.rank - 1));
    a.rank -= 2;
    b.rank -= 2;
    BASE_TRY(plan_broadcast(check, &a, &b));
    BASE_TRY(plan_shape_add(check, &a, m));
    BASE_TRY(plan_shape_add(check, &a, n));
    return plan_expect_output(check, MTL_F32, &a);
}

mtl_status plan_check_unary(const plan_step_check *check)
{
    const plan_tensor *x = plan_in(check, 0);
    plan_shape shape = plan_shape_of(check, x);
    mtl_dtype expected = MTL_F32, result = x->dtype;
    BASE_TRY(plan_expect_function(check, false));
    switch ((plan_unary)check->step->function) {
    case PLAN_UNARY_neg:
    case PLAN_UNARY_abs:
    case PLAN_UNARY_sign: expected = plan_is_number(x->dtype) ? x->dtype : MTL_F32; break;
    case PLAN_UNARY_not: expected = MTL_BOOL; break;
    case PLAN_UNARY_isnan:
    case PLAN_UNARY_isinf: result = MTL_BOOL; break;
    default: break;
    }
    BASE_TRY(plan_expect_dtype(check, "input 0", x, expected));
    BASE_TRY(plan_expect_parameters(check, check->step->function, 0));
    return plan_expect_output(check, result, &shape);
}

typedef enum binary_result { RESULT_NONE, RESULT_SAME, RESULT_BOOL, RESULT_LOGIC, RESULT_BITS } binary_result;

static const unsigned char binary_results[] = {
#define PLAN_BINARY(number, name, result) [number] = RESULT_##result,
#include "plan/ops.def"
#undef PLAN_BINARY
};

mtl_status plan_check_binary(const plan_step_check *check)
{
    BASE_TRY(plan_expect_function(check, false));
    const plan_tensor *a = plan_in(check, 0), *b = plan_in(check, 1);
    unsigned function = check->step->function;
    binary_result result = binary_results[function];
    bool takes_bool = result == RESULT_LOGIC || function == PLAN_BINARY_equal;
    bool takes_numbers = result == RESULT_BITS ? a->dtype != MTL_F32 : result != RESULT_LOGIC;
    if (!(a->dtype == MTL_BOOL ? takes_bool : takes_numbers && plan_is_number(a->dtype))) {
        return plan_fail_here(check, "'%s' does not take %s", plan_function_name(PLAN_OP_binary, function),
                              mtl_dtype_name(a->dtype));
    }
    BASE_TRY(plan_expect_dtype(check, "input 1", b, a->dtype));
    plan_shape shape = plan_shape_of(check, a), other = plan_shape_of(check, b);
    BASE_TRY(plan_broadcast(check, &shape, &other));
    return plan_expect_output(check, result == RESULT_SAME || result == RESULT_BITS ? (mtl_dtype)a->dtype : MTL_BOOL,
                              &shape);
}

mtl_status plan_check_where(const plan_step_check *check)
{
    const plan_tensor *a = plan_in(check, 1), *b = plan_in(check, 2);
    BASE_TRY(plan_expect_dtype(check, "input 0", plan_in(check, 0), MTL_BOOL));
    if (!plan_is_number(a->dtype) && a->dtype != MTL_BOOL) {
        return plan_fail_here(check, "input 1 is %s, expected float32, int32, int64 or bool", mtl_dtype_name(a->dtype));
    }
    BASE_TRY(plan_expect_dtype(check, "input 2", b, a->dtype));
    plan_shape shape = plan_shape_of(check, plan_in(check, 0));
    for (unsigned i = 1; i < 3; i++) {
        plan_shape other = plan_shape_of(check, plan_in(check, i));
        BASE_TRY(plan_broadcast(check, &shape, &other));
    }
    return plan_expect_output(check, a->dtype, &shape);
}

mtl_status plan_check_cast(const plan_step_check *check)
{
    plan_shape shape = plan_shape_of(check, plan_in(check, 0));
    return plan_expect_output(check, plan_out(check)->dtype, &shape);
}

mtl_status plan_check_softmax(const plan_step_check *check)
{
    unsigned axis;
    BASE_TRY(plan_expect_function(check, false));
    BASE_TRY(plan_expect_float_input(check, 0, 1));
    BASE_TRY(plan_axis(check, 0, plan_in(check, 0), &axis));
    BASE_TRY(plan_mixes(check, plan_in(check, 0), axis));
    plan_shape shape = plan_shape_of(check, plan_in(check, 0));
    return plan_expect_output(check, MTL_F32, &shape);
}

mtl_status plan_check_reduce(const plan_step_check *check)
{
    const plan_tensor *x = plan_in(check, 0);
    const mtl_dim *dims = plan_dims_of(check, x);
    int64_t first = plan_attr(check, 0), end = plan_attr(check, 1);
    plan_reduce function = check->step->function;
    BASE_TRY(plan_expect_function(check, false));
    if (!plan_is_number(x->dtype)) {
        return plan_fail_here(check, "input 0 is %s, expected float32, int32 or int64", mtl_dtype_name(x->dtype));
    }
    if (first < 0 || first >= end || end > x->rank) {
        return plan_fail_here(check, "axes %" PRId64 " up to %" PRId64 " of rank %d", first, end, x->rank);
    }
    plan_shape shape = {.rank = 0};
    for (unsigned axis = 0; axis < x->rank; axis++) {
        if (axis < first || axis >= end) {
            BASE_TRY(plan_shape_add(check, &shape, dims[axis]));
            continue;
        }
        BASE_TRY(plan_mixes(check, x, axis));
        if (plan_dim_once(dims[axis]) == 0 && function != PLAN_REDUCE_sum && function != PLAN_REDUCE_prod) {
            return plan_fail_here(check, "axis %u is empty: it has no %s", axis,
                                  plan_function_name(PLAN_OP_reduce, function));
        }
    }
    return plan_expect_output(check, x->dtype, &shape);
}

mtl_status plan_check_layer_norm(const plan_step_check *check)
{
    const plan_tensor *x = plan_in(check, 0);
    plan_shape shape = plan_shape_of(check, x);
    unsigned first;
    BASE_TRY(plan_expect_float_input(check, 0, 1));
    BASE_TRY(plan_axis(check, 0, x, &first));
    double epsilon = plan_attr_float(check->view, check->step, 1);
    if (!(epsilon >= 0 && isfinite(epsilon))) {
        return plan_fail_here(check, "epsilon is %g", epsilon);
    }
    for (unsigned axis = first; axis < x->rank; axis++) {
        BASE_TRY(plan_mixes(check, x, axis));
    }
    for (unsigned i = 1; i < check->step->input_count; i++) {
        const plan_tensor *by = plan_in(check, i);
        if (by == NULL) {
            continue;
        }
        BASE_TRY(plan_expect_float_input(check, i, 0));
        const mtl_dim *dims = plan_dims_of(check, by);
        bool equal = by->rank == x->rank - first;
        for (unsigned axis = 0; equal && axis < by->rank; axis++) {
            equal = plan_dim_equal(dims[axis], shape.dims[first + axis]);
        }
        if (!equal) {
            char found[PLAN_SHAPE_TEXT], expected[PLAN_SHAPE_TEXT];
            return plan_fail_here(check, "input %u has shape %s, expected %s", i,
                                  plan_shape_text(dims, by->rank, found, sizeof found),
                                  plan_shape_text(shape.dims + first, x->rank - first, expected, sizeof expected));
        }
    }
    return plan_expect_output(check, MTL_F32, &shape);
}
