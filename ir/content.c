/* Symbolic contents: what exporters compute from shapes, evaluated as linear expressions over the symbols. */
#include "base/checked.h"
#include "ir/infer.h"

/* --- arithmetic on linear expressions ------------------------------------------------------------------------- */

bool ir_dim_at_least(ir_dim a, ir_dim b)
{
    ir_dim d;
    if (!ir_dim_sub(a, b, &d)) {
        return false;
    }
    int64_t least = d.c; /* where every symbol is 1 */
    for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
        if (d.k[i] < 0 || !base_add_i64(least, d.k[i], &least)) {
            return false;
        }
    }
    return least >= 0;
}

/* a > b for all symbols. */
static bool is_above(ir_dim a, ir_dim b)
{
    ir_dim next;
    return ir_dim_add(b, ir_dim_const(1), &next) && ir_dim_at_least(a, next);
}

static int64_t floor_mod(int64_t a, int64_t b)
{
    int64_t rest = b == -1 ? 0 : a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/* Splits a = b x *quotient + *rest with 0 <= *rest < b. */
static bool split_by(ir_dim a, int64_t b, ir_dim *quotient, int64_t *rest)
{
    *rest = floor_mod(a.c, b);
    return base_sub_i64(a.c, *rest, &a.c) && ir_dim_div(a, ir_dim_const(b), quotient);
}

bool ir_dim_truncated_div(ir_dim a, ir_dim b, ir_dim *result)
{
    const ir_dim zero = ir_dim_const(0);
    int64_t rest;
    if (ir_dim_div(a, b, result)) {
        return true;
    }
    if (ir_dim_is_const(a) && ir_dim_is_const(b)) {
        if (b.c == 0 || b.c == -1) { /* -1: only INT64_MIN is not exact */
            return false;
        }
        *result = ir_dim_const(a.c / b.c);
        return true;
    }
    if (!ir_dim_at_least(a, zero)) {
        return false;
    }
    if (is_above(b, a)) {
        *result = zero;
        return true;
    }
    return ir_dim_is_const(b) && b.c > 0 && split_by(a, b.c, result, &rest);
}

/* --- elements ------------------------------------------------------------------------------------------------- */

/* Element-wise operations: false when the result is not linear or not known. */
typedef bool unary_function(ir_dim a, const ir_node_info *node, ir_dim *result);
typedef bool binary_function(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result);

static bool say(bool truth, ir_dim *result)
{
    *result = ir_dim_const(truth);
    return true;
}

static bool do_identity(ir_dim a, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    *result = a;
    return true;
}

static bool do_neg(ir_dim a, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    return ir_dim_sub(ir_dim_const(0), a, result);
}

static bool do_abs(ir_dim a, const ir_node_info *node, ir_dim *result)
{
    const ir_dim zero = ir_dim_const(0);
    return ir_dim_at_least(a, zero) ? do_identity(a, node, result)
                                    : ir_dim_at_least(zero, a) && do_neg(a, node, result);
}

static bool do_sign(ir_dim a, const ir_node_info *node, ir_dim *result)
{
    const ir_dim zero = ir_dim_const(0);
    (void)node;
    if (is_above(a, zero) || is_above(zero, a)) {
        *result = ir_dim_const(is_above(a, zero) ? 1 : -1);
        return true;
    }
    *result = zero;
    return ir_dim_is(a, 0);
}

static bool do_min(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    *result = ir_dim_at_least(a, b) ? b : a;
    return ir_dim_at_least(a, b) || ir_dim_at_least(b, a);
}

static bool do_max(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    *result = ir_dim_at_least(a, b) ? a : b;
    return ir_dim_at_least(a, b) || ir_dim_at_least(b, a);
}

static bool do_relu(ir_dim a, const ir_node_info *node, ir_dim *result)
{
    return do_max(a, ir_dim_const(0), node, result);
}

static bool do_clip(ir_dim a, const ir_node_info *node, ir_dim *result)
{
    const double exact = 9007199254740992.0, beyond = 9223372036854775807.0;
    double low = ir_attr_float(node, IR_ATTR_low), high = ir_attr_float(node, IR_ATTR_high);
    *result = a;
    if (low > -beyond) {
        if (!(low >= -exact && low <= exact && low == (double)(int64_t)low) ||
            !do_max(*result, ir_dim_const((int64_t)low), node, result)) {
            return false;
        }
    }
    if (high < beyond) {
        return high >= -exact && high <= exact && high == (double)(int64_t)high &&
               do_min(*result, ir_dim_const((int64_t)high), node, result);
    }
    return low == low && high == high; /* no NaN */
}

static bool do_not(ir_dim a, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    return say(ir_dim_is(a, 0), result);
}

static bool do_add(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    return ir_dim_add(a, b, result);
}

static bool do_sub(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    return ir_dim_sub(a, b, result);
}

static bool do_mul(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    return ir_dim_mul(a, b, result);
}

static bool do_div(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    return ir_dim_truncated_div(a, b, result);
}

static bool do_mod(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    bool c_sign = ir_attr_int(node, IR_ATTR_fmod) != 0;
    bool natural = ir_dim_at_least(a, ir_dim_const(0));
    int64_t rest;
    ir_dim quotient;
    if (ir_dim_div(a, b, &quotient)) {
        *result = ir_dim_const(0);
        return true;
    }
    if (ir_dim_is_const(a) && ir_dim_is_const(b)) {
        if (b.c == 0) {
            return false;
        }
        *result = ir_dim_const(c_sign ? (b.c == -1 ? 0 : a.c % b.c) : floor_mod(a.c, b.c));
        return true;
    }
    if (natural && is_above(b, a)) {
        *result = a;
        return true;
    }
    if ((c_sign && !natural) || !ir_dim_is_const(b) || b.c <= 0 || !split_by(a, b.c, &quotient, &rest)) {
        return false;
    }
    *result = ir_dim_const(rest);
    return true;
}

static bool do_equal(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    return say(ir_dim_equal(a, b), result) && (result->c != 0 || is_above(a, b) || is_above(b, a));
}

static bool do_less(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    return say(is_above(b, a), result) && (result->c != 0 || ir_dim_at_least(a, b));
}

static bool do_greater(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    return do_less(b, a, node, result);
}

static bool do_less_or_equal(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    return do_less(b, a, node, result) && do_not(*result, node, result);
}

static bool do_greater_or_equal(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    return do_less(a, b, node, result) && do_not(*result, node, result);
}

static bool do_and(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    return say(!ir_dim_is(a, 0) && !ir_dim_is(b, 0), result);
}

static bool do_or(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    return say(!ir_dim_is(a, 0) || !ir_dim_is(b, 0), result);
}

static bool do_xor(ir_dim a, ir_dim b, const ir_node_info *node, ir_dim *result)
{
    (void)node;
    return say(ir_dim_is(a, 0) != ir_dim_is(b, 0), result);
}

/* Which operations have contents; others have none, which is never wrong. */
static unary_function *const unary_functions[IR_OP_COUNT] = {
    [IR_OP_identity] = do_identity, [IR_OP_neg] = do_neg,   [IR_OP_abs] = do_abs, [IR_OP_sign] = do_sign,
    [IR_OP_relu] = do_relu,         [IR_OP_clip] = do_clip, [IR_OP_not] = do_not,
};

static binary_function *const binary_functions[IR_OP_COUNT] = {
    [IR_OP_add] = do_add,
    [IR_OP_sub] = do_sub,
    [IR_OP_mul] = do_mul,
    [IR_OP_div] = do_div,
    [IR_OP_mod] = do_mod,
    [IR_OP_min] = do_min,
    [IR_OP_max] = do_max,
    [IR_OP_and] = do_and,
    [IR_OP_or] = do_or,
    [IR_OP_xor] = do_xor,
    [IR_OP_equal] = do_equal,
    [IR_OP_less] = do_less,
    [IR_OP_less_or_equal] = do_less_or_equal,
    [IR_OP_greater] = do_greater,
    [IR_OP_greater_or_equal] = do_greater_or_equal,
};

/* --- the content of a result ----------------------------------------------------------------------------------- */

static const ir_dim *content_of(const ir_infer_context *c, uint32_t operand, size_t *count)
{
    const ir_value_info *info = ir_info(c->graph, c->info->inputs[operand]);
    *count = info->content_count;
    return info->type.dtype == MTL_U64 ? NULL : info->content; /* elements of u64 may be beyond int64 */
}

/* Whether a result of this type can have a content, and how many elements. */
static bool has_room(const ir_type *type, size_t *count)
{
    if (ir_dtype_is_float(type->dtype) || type->rank > 1) {
        return false;
    }
    ir_dim extent = type->rank == 0 ? ir_dim_const(1) : type->dim[0];
    if (!ir_dim_is_const(extent) || extent.c < 0 || extent.c > IR_CONTENT_MAX) {
        return false;
    }
    *count = (size_t)extent.c;
    return true;
}

/* Whether a value of `dtype` holds the number without wrapping. Shapes are taken to fit into 32 bits. */
static bool fits_dtype(ir_dim dim, mtl_dtype dtype)
{
    if (!ir_dim_is_const(dim)) {
        return dtype == MTL_I64 || dtype == MTL_I32 ||
               ((dtype == MTL_U64 || dtype == MTL_U32) && ir_dim_at_least(dim, ir_dim_const(0)));
    }
    switch (dtype) {
    case MTL_I64: return true;
    case MTL_I32: return dim.c >= INT32_MIN && dim.c <= INT32_MAX;
    case MTL_I16: return dim.c >= INT16_MIN && dim.c <= INT16_MAX;
    case MTL_I8: return dim.c >= INT8_MIN && dim.c <= INT8_MAX;
    case MTL_U64: return dim.c >= 0;
    case MTL_U32: return dim.c >= 0 && dim.c <= UINT32_MAX;
    case MTL_U16: return dim.c >= 0 && dim.c <= UINT16_MAX;
    case MTL_U8: return dim.c >= 0 && dim.c <= UINT8_MAX;
    case MTL_BOOL: return dim.c == 0 || dim.c == 1;
    default: return false;
    }
}

static mtl_status set_content(const ir_infer_context *c, mtl_dtype dtype, const ir_dim *elements, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!fits_dtype(elements[i], dtype)) {
            return MTL_OK;
        }
    }
    ir_value_info *result = &c->graph->values[c->info->outputs[0]];
    result->content = base_arena_copy(c->graph->arena, elements, count * sizeof *elements);
    BASE_TRY_MEMORY(result->content, c->diag);
    result->content_count = count;
    return MTL_OK;
}

mtl_status ir_content_elementwise(const ir_infer_context *c, const ir_type *type)
{
    unary_function *unary = unary_functions[c->info->op];
    binary_function *binary = binary_functions[c->info->op];
    ir_dim elements[IR_CONTENT_MAX];
    size_t count, count_a, count_b = 1;
    const ir_dim *a = content_of(c, 0, &count_a), *b = binary == NULL ? a : content_of(c, 1, &count_b);
    if ((unary == NULL && binary == NULL) || a == NULL || b == NULL || !has_room(type, &count)) {
        return MTL_OK;
    }
    for (size_t i = 0; i < count; i++) {
        const ir_dim *x = &a[count_a == 1 ? 0 : i], *y = &b[count_b == 1 ? 0 : i];
        if (unary != NULL ? !unary(*x, c->info, &elements[i]) : !binary(*x, *y, c->info, &elements[i])) {
            return MTL_OK;
        }
    }
    return set_content(c, type->dtype, elements, count);
}

mtl_status ir_content_where(const ir_infer_context *c, const ir_type *type)
{
    ir_dim elements[IR_CONTENT_MAX];
    size_t count, counts[3];
    const ir_dim *condition = content_of(c, 0, &counts[0]);
    if (condition == NULL || !has_room(type, &count)) {
        return MTL_OK;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t taken = ir_dim_is(condition[counts[0] == 1 ? 0 : i], 0) ? 2 : 1;
        const ir_dim *value = content_of(c, taken, &counts[taken]);
        if (value == NULL) {
            return MTL_OK;
        }
        elements[i] = value[counts[taken] == 1 ? 0 : i];
    }
    return set_content(c, type->dtype, elements, count);
}

/* Element `i` of what is cast, as an integer. */
static bool cast_element(const ir_infer_context *c, size_t i, ir_dim *element)
{
    const ir_value_info *operand = ir_info(c->graph, c->info->inputs[0]);
    if (!ir_dtype_is_float(operand->type.dtype)) {
        *element = operand->content[i];
        return true;
    }
    double number = ir_tensor_at(operand->tensor, i);
    if (!(number > -9223372036854775808.0 && number < 9223372036854775808.0)) {
        return false;
    }
    *element = ir_dim_const((int64_t)number);
    return (double)element->c == number || ir_attr_int(c->info, IR_ATTR_to) != MTL_BOOL; /* 0.5 is true */
}

mtl_status ir_content_cast(const ir_infer_context *c, const ir_type *type)
{
    const ir_value_info *operand = ir_info(c->graph, c->info->inputs[0]);
    ir_dim elements[IR_CONTENT_MAX];
    size_t count;
    bool known = ir_dtype_is_float(operand->type.dtype) ? operand->kind == IR_VALUE_CONST : operand->content != NULL;
    if (!known || !has_room(type, &count)) {
        return MTL_OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (!cast_element(c, i, &elements[i])) {
            return MTL_OK;
        }
        if (type->dtype == MTL_BOOL) {
            if (!do_equal(elements[i], ir_dim_const(0), c->info, &elements[i])) {
                return MTL_OK;
            }
            do_not(elements[i], c->info, &elements[i]);
        }
    }
    return set_content(c, type->dtype, elements, count);
}

mtl_status ir_content_shape(const ir_infer_context *c)
{
    const ir_type *operand = ir_infer_operand(c, 0);
    return set_content(c, MTL_I64, operand->dim, (size_t)operand->rank);
}

mtl_status ir_content_spread(const ir_infer_context *c, const ir_type *type)
{
    ir_dim elements[IR_CONTENT_MAX];
    size_t count, known;
    const ir_dim *content = content_of(c, 0, &known);
    if (content == NULL || !has_room(type, &count)) {
        return MTL_OK;
    }
    for (size_t i = 0; i < count; i++) {
        elements[i] = content[known == 1 ? 0 : i];
    }
    return set_content(c, type->dtype, elements, count);
}

mtl_status ir_content_slice(const ir_infer_context *c, const ir_type *type)
{
    ir_dim elements[IR_CONTENT_MAX];
    size_t count, known;
    const ir_dim *content = content_of(c, 0, &known);
    if (content == NULL || type->rank != 1 || !has_room(type, &count)) {
        return MTL_OK;
    }
    int64_t start = ir_find_attr(c->info, IR_ATTR_starts)->ints[0],
            step = ir_find_attr(c->info, IR_ATTR_steps)->ints[0];
    for (size_t i = 0; i < count; i++) {
        elements[i] = content[start + (int64_t)i * step]; /* in range: inference checked the ends */
    }
    return set_content(c, type->dtype, elements, count);
}

mtl_status ir_content_concat(const ir_infer_context *c, const ir_type *type)
{
    ir_dim elements[IR_CONTENT_MAX];
    size_t count, used = 0;
    if (!has_room(type, &count)) {
        return MTL_OK;
    }
    for (uint32_t i = 0; i < c->info->input_count; i++) {
        size_t known;
        const ir_dim *content = content_of(c, i, &known);
        if (content == NULL || known > count - used) {
            return MTL_OK;
        }
        for (size_t j = 0; j < known; j++) {
            elements[used++] = content[j];
        }
    }
    return set_content(c, type->dtype, elements, used);
}

mtl_status ir_content_range(const ir_infer_context *c, const ir_type *type)
{
    ir_dim elements[IR_CONTENT_MAX];
    size_t count, known;
    const ir_dim *start = content_of(c, 0, &known), *delta = content_of(c, 2, &known);
    if (start == NULL || delta == NULL || !has_room(type, &count)) {
        return MTL_OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (!ir_dim_mul(*delta, ir_dim_const((int64_t)i), &elements[i]) ||
            !ir_dim_add(elements[i], *start, &elements[i])) {
            return MTL_OK;
        }
    }
    return set_content(c, type->dtype, elements, count);
}

mtl_status ir_content_reduce(const ir_infer_context *c, const ir_type *type)
{
    static const struct {
        ir_op reduce, step;
    } steps[] = {
        {IR_OP_reduce_sum, IR_OP_add},
        {IR_OP_reduce_prod, IR_OP_mul},
        {IR_OP_reduce_max, IR_OP_max},
        {IR_OP_reduce_min, IR_OP_min},
    };
    size_t count, known;
    const ir_dim *content = content_of(c, 0, &known);
    if (content == NULL || !has_room(type, &count)) {
        return MTL_OK;
    }
    if (ir_find_attr(c->info, IR_ATTR_axes)->count == 0) {
        return ir_content_spread(c, type);
    }
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (steps[i].reduce != c->info->op || (known == 0 && i > 1)) {
            continue;
        }
        ir_dim total = known == 0 ? ir_dim_const(i == 0 ? 0 : 1) : content[0];
        for (size_t j = 1; j < known; j++) {
            if (!binary_functions[steps[i].step](total, content[j], c->info, &total)) {
                return MTL_OK;
            }
        }
        return set_content(c, type->dtype, &total, 1);
    }
    return MTL_OK;
}

mtl_status ir_content_gather(const ir_infer_context *c, const ir_type *type)
{
    ir_dim elements[IR_CONTENT_MAX];
    size_t count, known, index_count;
    const ir_dim *content = content_of(c, 0, &known), *indices = content_of(c, 1, &index_count);
    const ir_type *data = ir_infer_operand(c, 0);
    ir_dim extent = data->dim[ir_attr_int(c->info, IR_ATTR_axis)];
    bool knows = content != NULL && has_room(type, &count);
    for (size_t i = 0; i < index_count && indices != NULL && ir_dim_is_const(extent); i++) {
        int64_t index = indices[i].c;
        if (!ir_dim_is_const(indices[i])) {
            return MTL_OK;
        }
        if (index < -extent.c || index >= extent.c) {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "index %lld is out of range for extent %lld",
                           (long long)index, (long long)extent.c);
        }
        if (knows) {
            elements[i] = content[index < 0 ? index + extent.c : index];
        }
    }
    return knows && indices != NULL ? set_content(c, type->dtype, elements, index_count) : MTL_OK;
}
