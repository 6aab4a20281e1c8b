/* Reference evaluation of products. */
#include <math.h>

#include "ir/eval.h"

/* a (m, k) x b (k, n), rows `a_row`, `b_row` apart, into y (m, n). */
static void product_floats(const double *a, const double *b, int64_t m, int64_t k, int64_t n, double *y)
{
    for (int64_t row = 0; row < m; row++) {
        for (int64_t p = 0; p < k; p++) {
            double factor = a[row * k + p];
            for (int64_t column = 0; column < n; column++) {
                y[row * n + column] += factor * b[p * n + column];
            }
        }
    }
}

static void product_ints(const int64_t *a, const int64_t *b, int64_t m, int64_t k, int64_t n, int64_t *y)
{
    for (int64_t row = 0; row < m; row++) {
        for (int64_t p = 0; p < k; p++) {
            for (int64_t column = 0; column < n; column++) {
                uint64_t term = (uint64_t)a[row * k + p] * (uint64_t)b[p * n + column];
                y[row * n + column] = (int64_t)((uint64_t)y[row * n + column] + term);
            }
        }
    }
}

/* An operand without its last two axes, for broadcasting; strides are then in matrices. */
static ir_tensor leading_axes(const ir_tensor *tensor)
{
    ir_tensor leading = *tensor;
    leading.rank = tensor->rank > 2 ? tensor->rank - 2 : 0;
    return leading;
}

/* A vector on the left is a row, on the right a column; the result then lacks that axis. */
typedef struct product_shape {
    int64_t m, k, n, batches;
    ir_walk walk; /* over the batches */
} product_shape;

static product_shape shape_product(const ir_tensor *a, const ir_tensor *b, const ir_tensor *y)
{
    product_shape p = {.batches = 1};
    p.m = a->rank >= 2 ? a->shape[a->rank - 2] : 1;
    p.k = a->shape[a->rank - 1];
    p.n = b->rank >= 2 ? b->shape[b->rank - 1] : 1;
    ir_tensor batch = *y;
    batch.rank -= (a->rank >= 2) + (b->rank >= 2);
    for (int j = 0; j < batch.rank; j++) {
        p.batches *= batch.shape[j];
    }
    ir_tensor left = leading_axes(a), right = leading_axes(b);
    ir_walk_start(&p.walk, &batch);
    ir_walk_broadcast(&p.walk, 0, &left);
    ir_walk_broadcast(&p.walk, 1, &right);
    return p;
}

mtl_status ir_eval_matmul(const ir_eval_call *call)
{
    product_shape p = shape_product(call->inputs[0], call->inputs[1], call->output);
    int64_t a_size = p.m * p.k, b_size = p.k * p.n, y_size = p.m * p.n;
    if (ir_dtype_is_float(call->output->dtype)) {
        const double *a, *b;
        double *y;
        BASE_TRY(ir_eval_floats(call, 0, &a));
        BASE_TRY(ir_eval_floats(call, 1, &b));
        BASE_TRY(ir_eval_new_floats(call, &y));
        for (int64_t i = 0; i < p.batches; i++, ir_walk_next(&p.walk)) {
            product_floats(a + p.walk.at[0] * a_size, b + p.walk.at[1] * b_size, p.m, p.k, p.n, y + i * y_size);
        }
        return MTL_OK;
    }
    const int64_t *a, *b;
    int64_t *y;
    BASE_TRY(ir_eval_ints(call, 0, &a));
    BASE_TRY(ir_eval_ints(call, 1, &b));
    BASE_TRY(ir_eval_new_ints(call, &y));
    for (int64_t i = 0; i < p.batches; i++, ir_walk_next(&p.walk)) {
        product_ints(a + p.walk.at[0] * a_size, b + p.walk.at[1] * b_size, p.m, p.k, p.n, y + i * y_size);
    }
    for (size_t i = 0; i < call->output->count; i++) {
        y[i] = ir_wrap_int(y[i], call->output->dtype);
    }
    return MTL_OK;
}

/* y becomes what the sums of a layer begin with. */
static mtl_status begin_sums(const ir_eval_call *call, double *y)
{
    const double *start;
    ir_walk walk;
    BASE_TRY(ir_eval_floats(call, 3, &start));
    ir_walk_start(&walk, call->output);
    ir_walk_broadcast(&walk, 0, call->inputs[3]);
    for (size_t i = 0; i < call->output->count; i++, ir_walk_next(&walk)) {
        y[i] = start[walk.at[0]];
    }
    return MTL_OK;
}

mtl_status ir_eval_linear(const ir_eval_call *call)
{
    const ir_tensor *w = call->inputs[1];
    int64_t groups = w->rank == 3 ? w->shape[0] : 1;
    int64_t k = w->shape[w->rank - 2], n = w->shape[w->rank - 1];
    const double *x, *weights, *bias = NULL;
    double *y;
    BASE_TRY(ir_eval_floats(call, 0, &x));
    BASE_TRY(ir_eval_floats(call, 1, &weights));
    if (call->node->input_count > 2 && call->inputs[2] != NULL) {
        BASE_TRY(ir_eval_floats(call, 2, &bias));
    }
    BASE_TRY(ir_eval_new_floats(call, &y));
    if (call->node->input_count > 3 && call->inputs[3] != NULL) {
        BASE_TRY(begin_sums(call, y));
    }
    const ir_attr *act = ir_find_attr(call->node, IR_ATTR_act);
    ir_op op = IR_OP_identity;
    if (act != NULL && act->text != NULL && act->text[0] != '\0' && !ir_op_find(act->text, &op)) {
        return ir_eval_fail(call, MTL_INTERNAL, "unknown activation '%s'", act->text);
    }
    if (n == 0) {
        return MTL_OK;
    }
    const ir_attr *act_columns = ir_find_attr(call->node, IR_ATTR_act_columns);
    int64_t rows = (int64_t)call->output->count / n, active = act_columns != NULL ? act_columns->i : n;
    for (int64_t row = 0; row < rows; row++) {
        int64_t group = row % groups;
        double *out = y + row * n;
        product_floats(x + row * k, weights + group * k * n, 1, k, n, out);
        for (int64_t column = 0; column < n; column++) {
            double sum = bias != NULL ? out[column] + bias[group * n + column] : out[column];
            out[column] = column < active ? ir_eval_unary_float(op, call->node, sum) : sum;
        }
    }
    return MTL_OK;
}

/* The weights of one task as its sum takes them. */
static void probabilities(const double *weights, int64_t experts, bool softmax, double *p)
{
    double largest = -INFINITY, sum = 0;
    for (int64_t e = 0; e < experts; e++) {
        largest = isnan(weights[e]) || weights[e] > largest ? weights[e] : largest;
    }
    for (int64_t e = 0; e < experts; e++) {
        p[e] = softmax ? exp(weights[e] - largest) : weights[e];
        sum += p[e];
    }
    for (int64_t e = 0; e < experts && softmax; e++) {
        p[e] /= sum;
    }
}

mtl_status ir_eval_mix(const ir_eval_call *call)
{
    const ir_tensor *w = call->inputs[0], *v = call->inputs[1];
    const int64_t *index = ir_find_attr(call->node, IR_ATTR_index)->ints;
    bool softmax = ir_find_attr(call->node, IR_ATTR_function)->text[0] != '\0';
    int64_t tasks = w->shape[1], experts = w->shape[2], count = v->shape[1], width = v->shape[2];
    const double *weights, *values;
    double *y, *p = BASE_NEW_ARRAY(call->arena, double, (size_t)experts);
    BASE_TRY_MEMORY(p, call->diag);
    BASE_TRY(ir_eval_floats(call, 0, &weights));
    BASE_TRY(ir_eval_floats(call, 1, &values));
    BASE_TRY(ir_eval_new_floats(call, &y));
    for (int64_t row = 0; row < v->shape[0]; row++) {
        for (int64_t task = 0; task < tasks; task++) {
            int64_t gate = (w->shape[0] == 1 ? 0 : row * tasks) + task;
            double *out = y + (row * tasks + task) * width;
            probabilities(weights + gate * experts, experts, softmax, p);
            for (int64_t e = 0; e < experts; e++) {
                product_floats(p + e, values + (row * count + index[task * experts + e]) * width, 1, 1, width, out);
            }
        }
    }
    return MTL_OK;
}

static double sigmoid(double x)
{
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}

/* One step of one candidate: p (3 H), h (H, NULL: zeros) to out (H). `sums` is room for 3 H numbers. */
static void gru_step(const double *p, const double *r, const double *b, const double *h, int64_t hidden, double *sums,
                     double *out)
{
    for (int64_t gate = 0; gate < 3; gate++) {
        for (int64_t j = 0; j < hidden; j++) {
            sums[gate * hidden + j] = gate == 2 && b != NULL ? b[j] : 0;
        }
        if (h != NULL) {
            product_floats(h, r + gate * hidden * hidden, 1, hidden, hidden, sums + gate * hidden);
        }
    }
    for (int64_t j = 0; j < hidden; j++) {
        double z = sigmoid(p[j] + sums[j]), reset = sigmoid(p[hidden + j] + sums[hidden + j]);
        double n = tanh(p[2 * hidden + j] + reset * sums[2 * hidden + j]);
        out[j] = h != NULL ? (1 - z) * n + z * h[j] : (1 - z) * n;
    }
}

mtl_status ir_eval_gru(const ir_eval_call *call)
{
    const ir_tensor *y = call->output;
    int64_t steps = y->shape[1], hidden = y->shape[2];
    bool reverse = ir_attr_int(call->node, IR_ATTR_reverse) != 0;
    const double *p, *r, *b = NULL, *h = NULL;
    double *out, *sums = BASE_NEW_ARRAY(call->arena, double, 3 * (size_t)hidden);
    BASE_TRY_MEMORY(sums, call->diag);
    BASE_TRY(ir_eval_floats(call, 0, &p));
    BASE_TRY(ir_eval_floats(call, 1, &r));
    if (call->node->input_count > 2 && call->inputs[2] != NULL) {
        BASE_TRY(ir_eval_floats(call, 2, &b));
    }
    if (call->node->input_count > 3 && call->inputs[3] != NULL) {
        BASE_TRY(ir_eval_floats(call, 3, &h));
    }
    BASE_TRY(ir_eval_new_floats(call, &out));
    for (int64_t row = 0; row < y->shape[0]; row++) {
        const double *state = h != NULL ? h + row * hidden : NULL;
        for (int64_t i = 0; i < steps; i++) {
            int64_t at = row * steps + (reverse ? steps - 1 - i : i);
            gru_step(p + at * 3 * hidden, r, b, state, hidden, sums, out + at * hidden);
            state = out + at * hidden;
        }
    }
    return MTL_OK;
}
