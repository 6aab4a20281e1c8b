/* Reference evaluation of lookups in tables: gather and bag. */
#include <math.h>
#include <string.h>

#include "ir/eval.h"
#include "ir/lookup.h"

/* The row of id `n`, or IR_ROW_ZERO. */
static mtl_status find_row(const ir_eval_call *call, const int64_t *ids, int64_t n, int64_t rows, int64_t *row)
{
    *row = ir_lookup_row(call->node, ids[n], rows);
    if (*row == IR_ROW_OUTSIDE) {
        return ir_eval_fail(call, MTL_INVALID_DATA, "index %lld at element %lld is out of range for %lld rows",
                            (long long)ids[n], (long long)n, (long long)rows);
    }
    return MTL_OK;
}

mtl_status ir_eval_gather(const ir_eval_call *call)
{
    const ir_tensor *data = call->inputs[0], *indices = call->inputs[1];
    ir_axis_view view = ir_view_axis(data, (int)ir_attr_int(call->node, IR_ATTR_axis));
    bool floats = ir_dtype_is_float(call->output->dtype);
    const int64_t *index;
    const void *x;
    void *y;
    BASE_TRY(ir_eval_ints(call, 1, &index));
    if (floats) {
        BASE_TRY(ir_eval_floats(call, 0, (const double **)&x));
        BASE_TRY(ir_eval_new_floats(call, (double **)&y));
    } else {
        BASE_TRY(ir_eval_ints(call, 0, (const int64_t **)&x));
        BASE_TRY(ir_eval_new_ints(call, (int64_t **)&y));
    }
    int64_t count = (int64_t)indices->count, row;
    size_t bytes = (size_t)view.inner * 8; /* float64 and int64 alike */
    for (int64_t n = 0; n < count; n++) {
        BASE_TRY(find_row(call, index, n, view.extent, &row));
        for (int64_t o = 0; o < view.outer && bytes > 0; o++) {
            char *to = (char *)y + (size_t)(o * count + n) * bytes;
            if (row == IR_ROW_ZERO) {
                memset(to, 0, bytes);
            } else {
                memcpy(to, (const char *)x + (size_t)(o * view.extent + row) * bytes, bytes);
            }
        }
    }
    return MTL_OK;
}

/* One bag: `ids` are the elements from `first` on. */
typedef struct bag {
    const double *table, *weights; /* weights NULL: 1 each */
    const int64_t *ids;
    int64_t rows, width, length, first;
    bool max;
    const ir_attr *padding;
    double fill;
} bag;

static void take_row(const bag *b, const double *row, double weight, double *y)
{
    for (int64_t k = 0; k < b->width; k++) {
        double x = row != NULL ? row[k] : b->fill;
        if (b->max) {
            y[k] = isnan(x) || x > y[k] ? x : y[k];
        } else {
            y[k] += weight * x;
        }
    }
}

static mtl_status sum_up(const ir_eval_call *call, const bag *b, const double *zeros, double *y, int64_t *count)
{
    *count = 0;
    for (int64_t i = b->first; i < b->first + b->length; i++) {
        double weight = b->weights != NULL ? b->weights[i] : 1;
        bool out = b->padding != NULL && b->ids[i] >= b->padding->ints[0] && b->ids[i] <= b->padding->ints[1];
        int64_t row = IR_ROW_ZERO;
        if (!out) {
            BASE_TRY(find_row(call, b->ids, i, b->rows, &row));
            *count += 1;
        }
        out |= b->max && weight == 0;
        if (!out || b->max) {
            take_row(b, out ? NULL : row == IR_ROW_ZERO ? zeros : b->table + row * b->width, weight, y);
        }
    }
    return MTL_OK;
}

mtl_status ir_eval_bag(const ir_eval_call *call)
{
    const ir_tensor *table = call->inputs[0], *ids = call->inputs[1];
    const char *function = ir_find_attr(call->node, IR_ATTR_function)->text;
    bool mean = strcmp(function, "mean") == 0;
    bag b = {.rows = table->shape[0],
             .width = table->shape[1],
             .length = ids->shape[ids->rank - 1],
             .max = strcmp(function, "max") == 0,
             .padding = ir_find_attr(call->node, IR_ATTR_padding),
             .fill = ir_attr_float(call->node, IR_ATTR_fill)};
    double *y, *zeros = BASE_NEW_ARRAY(call->arena, double, (size_t)b.width);
    BASE_TRY_MEMORY(zeros, call->diag);
    BASE_TRY(ir_eval_floats(call, 0, &b.table));
    BASE_TRY(ir_eval_ints(call, 1, &b.ids));
    if (call->node->input_count > 2) {
        BASE_TRY(ir_eval_floats(call, 2, &b.weights));
    }
    BASE_TRY(ir_eval_new_floats(call, &y));
    for (size_t at = 0; at < call->output->count; at += (size_t)b.width) {
        int64_t count;
        for (int64_t k = 0; k < b.width; k++) {
            y[at + (size_t)k] = b.max ? -INFINITY : 0;
        }
        b.first = (int64_t)(at / (size_t)b.width) * b.length;
        BASE_TRY(sum_up(call, &b, zeros, y + at, &count));
        double by =
            fmax((double)count + ir_attr_float(call->node, IR_ATTR_epsilon), ir_attr_float(call->node, IR_ATTR_low));
        for (int64_t k = 0; k < b.width && mean; k++) {
            y[at + (size_t)k] /= by;
        }
    }
    return MTL_OK;
}
