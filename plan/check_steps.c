/* plan_check, third part: steps by themselves, and the pieces that the rules of the ops are made of. */
#include "plan/check_steps.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"

static const struct {
    int min_inputs, max_inputs, attrs; /* -1: any number; as the rule says */
    plan_op_check check;
} ops[] = {
#define PLAN_OP(number, name, min_inputs, max_inputs, attrs, functions)                                                \
    [number] = {min_inputs, max_inputs, attrs, plan_check_##name},
#include "plan/ops.def"
#undef PLAN_OP
};

mtl_status plan_expect_dtype(const plan_step_check *check, const char *what, const plan_tensor *tensor, mtl_dtype dtype)
{
    if (tensor->dtype != dtype) {
        return plan_fail_here(check, "%s is %s, expected %s", what, mtl_dtype_name(tensor->dtype),
                              mtl_dtype_name(dtype));
    }
    return MTL_OK;
}

mtl_status plan_expect_output(const plan_step_check *check, mtl_dtype dtype, const plan_shape *shape)
{
    const plan_tensor *out = plan_out(check);
    const mtl_dim *dims = plan_dims_of(check, out);
    BASE_TRY(plan_expect_dtype(check, "the output", out, dtype));
    bool equal = out->rank == shape->rank;
    for (unsigned axis = 0; equal && axis < shape->rank; axis++) {
        equal = plan_dim_equal(dims[axis], shape->dims[axis]);
    }
    if (!equal) {
        char found[PLAN_SHAPE_TEXT], expected[PLAN_SHAPE_TEXT];
        return plan_fail_here(check, "the output has shape %s, expected %s",
                              plan_shape_text(dims, out->rank, found, sizeof found),
                              plan_shape_text(shape->dims, shape->rank, expected, sizeof expected));
    }
    return MTL_OK;
}

bool plan_is_number(mtl_dtype dtype)
{
    return dtype == MTL_F32 || dtype == MTL_I32 || dtype == MTL_I64;
}

plan_shape plan_shape_of(const plan_step_check *check, const plan_tensor *tensor)
{
    plan_shape shape = {.rank = tensor->rank};
    if (tensor->rank > 0) {
        memcpy(shape.dims, plan_dims_of(check, tensor), tensor->rank * sizeof shape.dims[0]);
    }
    return shape;
}

const mtl_dim *plan_seen_dims(const plan_step_check *check, unsigned i, mtl_dim *seen)
{
    const plan_tensor *tensor = plan_in(check, i), *out = plan_out(check);
    const mtl_dim *dims = plan_dims_of(check, tensor), *out_dims = plan_dims_of(check, out);
    unsigned axis = plan_row_axis(out_dims, out->rank);
    bool rows = axis < out->rank && out_dims[axis].per_row != 0;
    if (!rows || !plan_takes_users(check->step->op, i) || !plan_grows_with_users(dims, tensor->rank)) {
        return dims;
    }
    for (unsigned other = 0; other < tensor->rank; other++) {
        seen[other] = (mtl_dim){.fixed = dims[other].fixed, .per_row = dims[other].per_user};
    }
    return seen;
}

mtl_status plan_shape_add(const plan_step_check *check, plan_shape *shape, mtl_dim dim)
{
    if (shape->rank == MTL_MAX_RANK) {
        return plan_fail_here(check, "the output has more than %d axes", MTL_MAX_RANK);
    }
    shape->dims[shape->rank++] = dim;
    return MTL_OK;
}

mtl_status plan_broadcast(const plan_step_check *check, plan_shape *shape, const plan_shape *with)
{
    plan_shape result = {.rank = shape->rank > with->rank ? shape->rank : with->rank};
    for (unsigned back = 1; back <= result.rank; back++) { /* axes are aligned at the end */
        mtl_dim a = back <= shape->rank ? shape->dims[shape->rank - back] : plan_dim_fixed(1);
        mtl_dim b = back <= with->rank ? with->dims[with->rank - back] : plan_dim_fixed(1);
        if (!plan_dim_equal(a, b) && !plan_dim_is(a, 1) && !plan_dim_is(b, 1)) {
            char left[PLAN_SHAPE_TEXT], right[PLAN_SHAPE_TEXT];
            return plan_fail_here(check, "shapes %s and %s do not broadcast",
                                  plan_shape_text(shape->dims, shape->rank, left, sizeof left),
                                  plan_shape_text(with->dims, with->rank, right, sizeof right));
        }
        result.dims[result.rank - back] = plan_dim_is(a, 1) ? b : a;
    }
    *shape = result;
    return MTL_OK;
}

mtl_status plan_axis(const plan_step_check *check, unsigned i, const plan_tensor *tensor, unsigned *axis)
{
    int64_t number = plan_attr(check, i);
    if (number < 0 || number >= tensor->rank) {
        return plan_fail_here(check, "axis %" PRId64 " of an input of rank %d", number, tensor->rank);
    }
    *axis = (unsigned)number;
    return MTL_OK;
}

mtl_status plan_mixes(const plan_step_check *check, const plan_tensor *tensor, unsigned axis)
{
    if (plan_is_tiled(check->view) && plan_dims_of(check, tensor)[axis].per_row != 0) {
        return plan_fail_here(check, "axis %u holds the candidates, which a plan of tiles does not mix", axis);
    }
    return MTL_OK;
}

mtl_status plan_expect_function(const plan_step_check *check, bool none)
{
    const plan_step *step = check->step;
    if (step->function == 0 ? !none : plan_function_name(step->op, step->function)[0] == '\0') {
        return plan_fail_here(check, "function %d is none", step->function);
    }
    return MTL_OK;
}

mtl_status plan_expect_parameters(const plan_step_check *check, unsigned function, unsigned first)
{
    unsigned used = plan_unary_parameters(function);
    for (unsigned i = 0; i < 2; i++) {
        double number = plan_attr_float(check->view, check->step, first + i);
        if (i >= used ? plan_attr(check, first + i) != 0 : number != number) {
            return plan_fail_here(check, "parameter %u is not %s", i, i >= used ? "used, but not 0" : "a number");
        }
    }
    return MTL_OK;
}

/* Operands and attributes follow each other without holes or sharing, so that a plan's work is bounded by its size. */
static mtl_status check_ranges(const plan_step_check *check, size_t *operands, size_t *attrs)
{
    const plan_view *view = check->view;
    const plan_step *step = check->step;
    size_t operand_count = (size_t)step->input_count + 1;
    if (step->operands != *operands || !base_range_fits(*operands, operand_count, view->operand_count)) {
        return plan_fail_here(check, "%zu operands from %" PRIu32 ", expected from %zu of %zu", operand_count,
                              step->operands, *operands, view->operand_count);
    }
    if (step->attrs != *attrs || !base_range_fits(*attrs, step->attr_count, view->attr_count)) {
        return plan_fail_here(check, "%d attributes from %" PRIu32 ", expected from %zu of %zu", step->attr_count,
                              step->attrs, *attrs, view->attr_count);
    }
    *operands += operand_count;
    *attrs += step->attr_count;
    if (step->label >= view->string_bytes || (step->label != 0 && view->strings[step->label - 1] != '\0')) {
        return plan_fail_here(check, "its label (offset %" PRIu32 ") is no string", step->label);
    }
    return MTL_OK;
}

static mtl_status check_operands(const plan_step_check *check)
{
    const plan_view *view = check->view;
    const plan_step *step = check->step;
    int least = ops[step->op].min_inputs, most = ops[step->op].max_inputs;
    if (step->input_count < least || (most >= 0 && step->input_count > most)) {
        return plan_fail_here(check, "%d inputs, expected %d%s", step->input_count, least,
                              most < 0 || most > least ? " or more" : "");
    }
    for (int i = 0; i <= step->input_count; i++) {
        uint32_t id = view->operands[step->operands + (unsigned)i];
        bool output = i == step->input_count;
        if (id == PLAN_NONE && i >= least && most >= 0 && !output) {
            continue; /* an optional input that is absent */
        }
        if (id >= view->tensor_count) {
            return plan_fail_here(check, "operand %d is tensor %" PRIu32 " of %zu", i, id, view->tensor_count);
        }
        bool packed = (step->op == PLAN_OP_linear || step->op == PLAN_OP_gru) && (i == 1 || i == 2) && !output;
        if (view->tensors[id].layout != PLAN_LAYOUT_DENSE && !packed) {
            return plan_fail_here(check, "operand %d is packed, expected a dense tensor", i);
        }
    }
    plan_storage storage = plan_out(check)->storage;
    if (storage == PLAN_STORAGE_CONST || storage == PLAN_STORAGE_INPUT || storage == PLAN_STORAGE_PARAM) {
        return plan_fail_here(check, "the output is %s",
                              storage == PLAN_STORAGE_CONST   ? "a constant"
                              : storage == PLAN_STORAGE_INPUT ? "an input"
                                                              : "a param");
    }
    return MTL_OK;
}

/* With a window among its operands, a step is the same for each candidate by itself, so that kernels may take rows one
 * after the other: the candidates lead everywhere. */
static mtl_status check_windows(const plan_step_check *check)
{
    const plan_view *view = check->view;
    const plan_step *step = check->step;
    bool any = false;
    for (unsigned i = 0; i <= step->input_count; i++) {
        const plan_tensor *tensor = plan_in(check, i);
        if (tensor == NULL || !plan_is_window(tensor)) {
            continue;
        }
        any = true;
        if (!(i < step->input_count ? plan_takes_window(step->op, i) : plan_gives_window(step->op))) {
            return plan_fail_here(check, "operand %u is a window, expected a dense tensor", i);
        }
    }
    for (unsigned i = 0; any && i <= step->input_count; i++) {
        const plan_tensor *tensor = plan_in(check, i);
        if (tensor != NULL && !plan_candidates_lead(plan_dims(view, tensor), tensor->rank)) {
            char text[PLAN_SHAPE_TEXT];
            return plan_fail_here(check, "operand %u is %s, but beside a window the candidates lead: (1, .., 1, B, ..)",
                                  i, plan_shape_text(plan_dims(view, tensor), tensor->rank, text, sizeof text));
        }
    }
    return MTL_OK;
}

mtl_status plan_check_steps(const plan_view *view, base_diag *diag)
{
    size_t operands = 0, attrs = 0;
    for (size_t i = 0; i < view->step_count; i++) {
        plan_step_check check = {.view = view, .step = &view->steps[i], .diag = diag};
        unsigned op = check.step->op;
        if (op >= sizeof ops / sizeof ops[0] || ops[op].check == NULL) {
            return base_fail(diag, MTL_INVALID_DATA, "step %zu: unknown op %u", i, op);
        }
        BASE_TRY(check_ranges(&check, &operands, &attrs));
        unsigned since = plan_function_since(op, check.step->function);
        unsigned operands_since = plan_operands_since(op, check.step->input_count);
        since = operands_since > since ? operands_since : since;
        if (since > view->header->reader_minor) {
            return plan_fail_here(&check,
                                  "the operation is of format 1.%u, but the plan is said to be for readers of 1.%d",
                                  since, view->header->reader_minor);
        }
        BASE_TRY(check_operands(&check));
        BASE_TRY(check_windows(&check));
        if (ops[op].attrs >= 0 && check.step->attr_count != ops[op].attrs) {
            return plan_fail_here(&check, "%d attributes, expected %d", check.step->attr_count, ops[op].attrs);
        }
        if (check.step->function != 0) {
            BASE_TRY(plan_expect_function(&check, true));
        }
        BASE_TRY(ops[op].check(&check));
        BASE_TRY(plan_check_span(&check));
    }
    if (operands != view->operand_count || attrs != view->attr_count) {
        return base_fail(diag, MTL_INVALID_DATA, "%zu operands and %zu attributes belong to no step",
                         view->operand_count - operands, view->attr_count - attrs);
    }
    return MTL_OK;
}
