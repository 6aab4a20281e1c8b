/* What steps cost, by formula: for people (--explain, info) and for choosing kernels; never for correctness. */
#include "plan/shape.h"

/* Linear forms of non-negative numbers that saturate; users are one. */
typedef struct form {
    uint64_t fixed, per_row;
} form;

static uint64_t add_up(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t times_up(uint64_t a, uint64_t b)
{
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static form form_of(mtl_dim dim)
{
    return (form){.fixed = (uint64_t)dim.fixed + (uint64_t)dim.per_user, .per_row = (uint64_t)dim.per_row};
}

static form scale(form of, uint64_t by)
{
    return (form){.fixed = times_up(of.fixed, by), .per_row = times_up(of.per_row, by)};
}

static form elements_of(const plan_view *view, const plan_tensor *tensor)
{
    return form_of(plan_count(plan_dims(view, tensor), 0, tensor->rank));
}

/* The rows that a bag adds up. */
static uint64_t lookups_per_bag(const plan_view *view, const plan_step *step)
{
    const plan_tensor *ids = plan_operand(view, step, 1);
    return (uint64_t)plan_dims(view, ids)[ids->rank - 1].fixed;
}

/* FLOPs of one output element; `inner` is the extent that is summed over. */
static uint64_t flops_per_element(const plan_view *view, const plan_step *step)
{
    const plan_tensor *first = step->input_count > 0 ? plan_operand(view, step, 0) : NULL;
    switch ((plan_op)step->op) {
    case PLAN_OP_linear: {
        uint64_t k = (uint64_t)plan_dims(view, first)[first->rank - 1].fixed;
        bool bias = step->input_count > 2 && plan_operand(view, step, 2) != NULL;
        bool start = step->input_count > 3 && plan_operand(view, step, 3) != NULL;
        return add_up(times_up(2, k), (uint64_t)bias + start + (step->function != 0));
    }
    case PLAN_OP_matmul: return times_up(2, (uint64_t)plan_dim_once(plan_dims(view, first)[first->rank - 1]));
    case PLAN_OP_unary:
    case PLAN_OP_binary:
    case PLAN_OP_where: return 1;
    case PLAN_OP_softmax: return 5;    /* maximum, subtract, exp, add, divide */
    case PLAN_OP_layer_norm: return 8; /* mean, centre, square, add, scale and shift */
    case PLAN_OP_reduce: return 0;     /* counted by its input */
    case PLAN_OP_bag: return times_up(lookups_per_bag(view, step), step->input_count > 2 ? 2 : 1);
    case PLAN_OP_mix: return times_up(2, (uint64_t)plan_dims(view, first)[2].fixed); /* and the softmax, by its input */
    case PLAN_OP_attention: { /* of a column of the values: its share of the scores, their softmax, its sum */
        const int64_t *attrs = view->attrs + step->attrs;
        uint64_t keys = (uint64_t)plan_dims(view, plan_operand(view, step, 1))[1].fixed;
        uint64_t size = (uint64_t)attrs[PLAN_ATTENTION_SIZE], values = (uint64_t)attrs[PLAN_ATTENTION_VALUE_SIZE];
        return times_up(keys, add_up(2, add_up(times_up(2, size), 5) / values));
    }
    case PLAN_OP_chain: return step->attr_count / PLAN_CHAIN_ATTRS;
    case PLAN_OP_gru: return add_up(times_up(6, (uint64_t)plan_dims(view, plan_result(view, step))[2].fixed), 15);
    case PLAN_OP_top_k: return 0; /* comparisons are none */
    case PLAN_OP_scan: return 1 + (view->attrs[step->attrs + 3] != 0);
    case PLAN_OP_cast:
    case PLAN_OP_transpose:
    case PLAN_OP_concat:
    case PLAN_OP_slice:
    case PLAN_OP_expand:
    case PLAN_OP_gather:
    case PLAN_OP_batch_gather:
    case PLAN_OP_copy:
    case PLAN_OP_spread:
    case PLAN_OP_store:
    case PLAN_OP_extents: return 0;
    }
    return 0;
}

/* A gather or slice touches what it gives, a bag the rows of its ids, not all of its table. */
static bool reads_part(const plan_step *step, unsigned i)
{
    bool part = step->op == PLAN_OP_gather || step->op == PLAN_OP_batch_gather || step->op == PLAN_OP_slice ||
                step->op == PLAN_OP_spread;
    return (part || step->op == PLAN_OP_bag) && i == 0;
}

static bool reads_whole_constant(const plan_view *view, const plan_step *step, unsigned i)
{
    const plan_tensor *tensor = plan_operand(view, step, i);
    return tensor != NULL && tensor->storage == PLAN_STORAGE_CONST && !reads_part(step, i);
}

/* Bytes that a step reads of input `i`. */
static form bytes_read(const plan_view *view, const plan_step *step, unsigned i, form output_bytes)
{
    const plan_tensor *tensor = plan_operand(view, step, i);
    uint64_t packed;
    if (tensor == NULL) {
        return (form){0};
    }
    if (reads_part(step, i)) {
        return step->op == PLAN_OP_bag ? scale(output_bytes, lookups_per_bag(view, step)) : output_bytes;
    }
    if (tensor->layout != PLAN_LAYOUT_DENSE) {
        return (form){.fixed = plan_const_bytes(tensor, plan_dims(view, tensor), &packed) ? packed : 0};
    }
    return scale(elements_of(view, tensor), mtl_dtype_size(tensor->dtype));
}

plan_cost plan_step_cost(const plan_view *view, const plan_step *step)
{
    const plan_tensor *out = plan_result(view, step);
    form elements = elements_of(view, out);
    form flops = scale(elements, flops_per_element(view, step));
    if (step->op == PLAN_OP_reduce) {
        flops = elements_of(view, plan_operand(view, step, 0));
    }
    if (step->op == PLAN_OP_mix && step->function == PLAN_MIX_softmax) {
        form weights = scale(elements_of(view, plan_operand(view, step, 0)), 5);
        flops = (form){add_up(flops.fixed, weights.fixed), add_up(flops.per_row, weights.per_row)};
    }
    if (step->op == PLAN_OP_gru && (step->input_count < 4 || plan_operand(view, step, 3) == NULL)) {
        uint64_t hidden = (uint64_t)plan_dims(view, out)[2].fixed; /* no product with zeros */
        form first = scale(form_of(plan_dims(view, out)[0]), times_up(6, times_up(hidden, hidden)));
        flops.fixed -= first.fixed < flops.fixed ? first.fixed : flops.fixed;
        flops.per_row -= first.per_row < flops.per_row ? first.per_row : flops.per_row;
    }
    form output_bytes = scale(elements, mtl_dtype_size(out->dtype));
    plan_cost cost = {
        .flops_fixed = flops.fixed,
        .flops_per_row = flops.per_row,
        .bytes_fixed = output_bytes.fixed,
        .bytes_per_row = output_bytes.per_row,
    };
    for (unsigned i = 0; i < step->input_count; i++) {
        form read = bytes_read(view, step, i, output_bytes);
        cost.bytes_fixed = add_up(cost.bytes_fixed, read.fixed);
        cost.bytes_per_row = add_up(cost.bytes_per_row, read.per_row);
        if (reads_whole_constant(view, step, i)) {
            cost.weight_bytes = add_up(cost.weight_bytes, read.fixed);
        }
    }
    return cost;
}
