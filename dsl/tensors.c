/* What a ranker does to tensors: operations of the IR by name, arithmetic, parts. */
#include <math.h>
#include <string.h>

#include "dsl/elaborate.h"

enum { MOST_OPERANDS = 256 };

bool dsl_has_rows(const dsl_elaborator *e, ir_value tensor)
{
    const ir_type *type = ir_type_of(e->graph, tensor);
    return type->rank > 0 && type->dim[0].k[IR_SYMBOL_ROWS] != 0;
}

/* A number becomes a constant of the dtype of what it meets. */
static bool operand(dsl_elaborator *e, dsl_span at, const dsl_value *value, mtl_dtype like, ir_value *result)
{
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    mtl_status status = MTL_OK;
    switch (value->type) {
    case DSL_T_TENSOR: *result = value->tensor; return true;
    case DSL_T_NONE: *result = 0; return true;
    case DSL_T_INT:
    case DSL_T_FLOAT:
        if (ir_dtype_is_int(like) && value->type == DSL_T_INT) {
            status = ir_add_const_ints(e->graph, &value->integer, 1, 0, &inner, result);
        } else {
            status =
                ir_add_const_float(e->graph, value->number, ir_dtype_is_float(like) ? like : MTL_F32, &inner, result);
        }
        break;
    case DSL_T_BAD: return false;
    default: dsl_bad(e, at, "expected a tensor or a number, found %s", dsl_describe(e, value)); return false;
    }
    if (status != MTL_OK) {
        dsl_failed(e, at, status, &inner);
    }
    return status == MTL_OK;
}

/* Of the last tensor: the first one of where(condition, a, b) says nothing of a number beside it. */
static mtl_dtype dtype_among(const dsl_elaborator *e, const dsl_value *values, size_t count)
{
    while (count-- > 0) {
        if (values[count].type == DSL_T_TENSOR) {
            return ir_type_of(e->graph, values[count].tensor)->dtype;
        }
    }
    return MTL_F32;
}

static dsl_value insert(dsl_elaborator *e, dsl_span at, ir_op op, const ir_value *inputs, size_t count,
                        const ir_attr *attrs, size_t attr_count, const ir_type *type)
{
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    ir_value result = 0;
    if (e->graph->node_count >= DSL_MAX_NODES) {
        return dsl_bad(e, at, "more than %d operations", DSL_MAX_NODES);
    }
    mtl_status status =
        type != NULL ? ir_insert_typed(e->graph, 0, op, NULL, inputs, count, attrs, attr_count, type, &inner, &result)
                     : ir_insert(e->graph, 0, op, NULL, inputs, count, attrs, attr_count, &inner, &result);
    return status == MTL_OK ? dsl_tensor(result) : dsl_failed(e, at, status, &inner);
}

/* --- attributes ------------------------------------------------------------------------------------------------ */

static bool whole_numbers(dsl_elaborator *e, dsl_span at, const dsl_value *list, int64_t **ints)
{
    *ints = BASE_NEW_ARRAY(e->arena, int64_t, list->count);
    if (*ints == NULL) {
        e->status = base_fail_memory(e->diag);
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].type != DSL_T_INT) {
            dsl_bad(e, at, "expected whole numbers, found %s", dsl_describe(e, &list->items[i]));
            return false;
        }
        (*ints)[i] = list->items[i].integer;
    }
    return true;
}

/* Axes count from the end when negative. */
static int64_t from_end(int64_t axis, int32_t rank)
{
    return axis < 0 ? axis + rank : axis;
}

static bool attribute(dsl_elaborator *e, dsl_span at, ir_attr_key key, const dsl_value *value, int32_t rank,
                      ir_attr *attr)
{
    *attr = (ir_attr){.key = key};
    const char *expected = NULL;
    switch (ir_attr_key_kind(key)) {
    case IR_KIND_INT:
        expected = value->type != DSL_T_INT && value->type != DSL_T_BOOL ? "a whole number" : NULL;
        attr->i = key == IR_ATTR_axis ? from_end(value->integer, rank) : value->integer;
        break;
    case IR_KIND_FLOAT:
        expected = value->type != DSL_T_INT && value->type != DSL_T_FLOAT ? "a number" : NULL;
        attr->f = value->number;
        break;
    case IR_KIND_STRING:
        expected = value->type != DSL_T_TEXT ? "a string" : NULL;
        attr->text = value->text;
        break;
    case IR_KIND_DTYPE: {
        mtl_dtype dtype = MTL_F32;
        expected = value->type != DSL_T_TEXT || !ir_dtype_find(value->text, &dtype)
                       ? "an element type (\"f32\", \"i64\", ..)"
                       : NULL;
        attr->i = (int64_t)dtype;
        break;
    }
    case IR_KIND_INTS: {
        int64_t *ints = NULL;
        if (value->type != DSL_T_LIST) {
            expected = "a list of whole numbers";
            break;
        }
        if (!whole_numbers(e, at, value, &ints)) {
            return false;
        }
        for (size_t i = 0; i < value->count && key == IR_ATTR_axes; i++) {
            ints[i] = from_end(ints[i], rank);
        }
        attr->ints = ints;
        attr->count = value->count;
        break;
    }
    }
    if (expected != NULL && value->type != DSL_T_BAD) {
        dsl_bad(e, at, "'%s' is %s, expected %s", ir_attr_name(key), dsl_describe(e, value), expected);
    }
    return expected == NULL;
}

static int by_key(const ir_attr *a, const ir_attr *b)
{
    return (int)a->key - (int)b->key;
}

/* In the order of their table. */
static void sort_attrs(ir_attr *attrs, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        ir_attr one = attrs[i];
        size_t j = i;
        for (; j > 0 && by_key(&attrs[j - 1], &one) > 0; j--) {
            attrs[j] = attrs[j - 1];
        }
        attrs[j] = one;
    }
}

/* Lists of tensors are as many operands. */
static bool operands(dsl_elaborator *e, const dsl_arguments *a, mtl_dtype like, ir_value *inputs, size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < a->count; i++) {
        if (a->names[i] != NULL) {
            continue;
        }
        const dsl_value *values = a->values[i].type == DSL_T_LIST ? a->values[i].items : &a->values[i];
        size_t more = a->values[i].type == DSL_T_LIST ? a->values[i].count : 1;
        for (size_t j = 0; j < more; j++) {
            if (*count == MOST_OPERANDS) {
                dsl_bad(e, a->spans[i], "more than %d operands", MOST_OPERANDS);
                return false;
            }
            if (!operand(e, a->spans[i], &values[j], like, &inputs[(*count)++])) {
                return false;
            }
        }
    }
    while (*count > 0 && inputs[*count - 1] == 0) {
        --*count; /* absent ones at the end are not written */
    }
    return true;
}

bool dsl_call_op(dsl_elaborator *e, const char *name, const dsl_arguments *a, dsl_value *result)
{
    ir_op op;
    ir_value inputs[MOST_OPERANDS];
    ir_attr attrs[IR_ATTR_COUNT];
    size_t count, attr_count = 0;
    bool spelled = strcmp(name, "reshape") == 0 || strcmp(name, "expand") == 0 || strcmp(name, "slice") == 0 ||
                   strcmp(name, "shape") == 0 || strcmp(name, "spread") == 0;
    if (spelled || !ir_op_find(name, &op)) {
        return false;
    }
    *result = (dsl_value){.type = DSL_T_BAD};
    if (!operands(e, a, dtype_among(e, a->values, a->count), inputs, &count)) {
        return true;
    }
    int32_t rank = count > 0 && inputs[0] != 0 ? ir_type_of(e->graph, inputs[0])->rank : 0;
    for (size_t i = 0; i < a->count; i++) {
        ir_attr_key key;
        if (a->names[i] == NULL) {
            continue;
        }
        uint64_t known = ir_op_table(op)->required | ir_op_table(op)->optional;
        if (!ir_attr_find(a->names[i], &key) || (known >> key & 1) == 0) {
            *result = dsl_bad(e, a->spans[i], "'%s' takes no '%s'", name, a->names[i]);
            return true;
        }
        if (!attribute(e, a->spans[i], key, &a->values[i], rank, &attrs[attr_count])) {
            return true;
        }
        attr_count++;
    }
    bool activated = op != IR_OP_linear; /* its node always says; a ranker need not */
    for (size_t i = 0; i < attr_count; i++) {
        activated = activated || attrs[i].key == IR_ATTR_act;
    }
    if (!activated) {
        attrs[attr_count++] = (ir_attr)IR_STRING(act, "");
    }
    sort_attrs(attrs, attr_count);
    *result = insert(e, a->at, op, inputs, count, attrs, attr_count, NULL);
    return true;
}

/* --- arithmetic ------------------------------------------------------------------------------------------------ */

static dsl_value numbers(dsl_elaborator *e, dsl_span at, const char *word, const dsl_value *left,
                         const dsl_value *right)
{
    double a = left->number, b = right->number;
    bool whole = left->type == DSL_T_INT && right->type == DSL_T_INT;
    int64_t i = left->integer, j = right->integer, r = 0;
    bool over = false;
    switch (*word) {
    case '+':
        over = __builtin_add_overflow(i, j, &r);
        a += b;
        break;
    case '-':
        over = __builtin_sub_overflow(i, j, &r);
        a -= b;
        break;
    case '*':
        over = __builtin_mul_overflow(i, j, &r);
        a *= b;
        break;
    case '/':
        if (b == 0) {
            return dsl_bad(e, at, "division by 0");
        }
        whole = whole && j != -1 && i % j == 0; /* 7 / 2 is 3.5 */
        r = whole ? i / j : 0;
        a /= b;
        break;
    default:
        if (!whole || j <= 0) {
            return dsl_bad(e, at, "'%%' takes whole numbers, the second above 0");
        }
        r = (i % j + j) % j;
        break;
    }
    if (whole && over) {
        return dsl_bad(e, at, "the result is out of range");
    }
    return whole ? dsl_int(r) : dsl_float(a);
}

dsl_value dsl_arithmetic(dsl_elaborator *e, dsl_span at, const char *word, const dsl_value *left,
                         const dsl_value *right)
{
    static const struct {
        const char *word;
        ir_op op;
    } ops[] = {{"+", IR_OP_add},     {"-", IR_OP_sub},
               {"*", IR_OP_mul},     {"/", IR_OP_div},
               {"<", IR_OP_less},    {"<=", IR_OP_less_or_equal},
               {">", IR_OP_greater}, {">=", IR_OP_greater_or_equal},
               {"==", IR_OP_equal}};
    bool numeric = (left->type == DSL_T_INT || left->type == DSL_T_FLOAT) &&
                   (right->type == DSL_T_INT || right->type == DSL_T_FLOAT);
    if (numeric && strchr("+-*/%", *word) != NULL) {
        return numbers(e, at, word, left, right);
    }
    const dsl_value both[2] = {*left, *right};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        if (strcmp(ops[i].word, word) == 0) {
            ir_value inputs[2];
            mtl_dtype like = dtype_among(e, both, 2);
            if (!operand(e, at, left, like, &inputs[0]) || !operand(e, at, right, like, &inputs[1]) || inputs[0] == 0 ||
                inputs[1] == 0) {
                return (dsl_value){.type = DSL_T_BAD};
            }
            return insert(e, at, ops[i].op, inputs, 2, NULL, 0, NULL);
        }
    }
    return dsl_bad(e, at, "'%s' does not take %s and %s", word, dsl_describe(e, left), dsl_describe(e, right));
}

/* --- parts ----------------------------------------------------------------------------------------------------- */

dsl_value dsl_part_of(dsl_elaborator *e, dsl_span at, const dsl_value *of, const dsl_part *parts, size_t count)
{
    ir_type type = *ir_type_of(e->graph, of->tensor), kept = {.dtype = type.dtype};
    int64_t starts[MTL_MAX_RANK] = {0}, steps[MTL_MAX_RANK];
    if (count > (size_t)type.rank) {
        return dsl_bad(e, at, "%zu indices of %s", count, dsl_describe(e, of));
    }
    for (int32_t axis = 0; axis < type.rank; axis++) {
        const dsl_part *part = (size_t)axis < count ? &parts[axis] : &(const dsl_part){.whole = true};
        steps[axis] = 1;
        if (part->whole) {
            kept.dim[kept.rank++] = type.dim[axis];
            continue;
        }
        if (!ir_dim_is_const(type.dim[axis])) {
            return dsl_bad(e, at, "axis %d holds the candidates: it takes ':' only", (int)axis);
        }
        int64_t extent = type.dim[axis].c;
        int64_t from = part->has_from || part->single ? from_end(part->from, (int32_t)extent) : 0;
        int64_t to = part->single ? from + 1 : part->has_to ? from_end(part->to, (int32_t)extent) : extent;
        if (from < 0 || to > extent || from >= to) {
            return dsl_bad(e, at, "axis %d has %lld elements", (int)axis, (long long)extent);
        }
        starts[axis] = from;
        type.dim[axis] = ir_dim_const(to - from);
        if (!part->single) {
            kept.dim[kept.rank++] = type.dim[axis];
        }
    }
    ir_attr attrs[] = {IR_INTS(starts, starts, type.rank), IR_INTS(steps, steps, type.rank)};
    dsl_value cut = insert(e, at, IR_OP_slice, &of->tensor, 1, attrs, 2, &type);
    return cut.type == DSL_T_TENSOR && kept.rank < type.rank
               ? insert(e, at, IR_OP_reshape, &cut.tensor, 1, NULL, 0, &kept)
               : cut;
}
