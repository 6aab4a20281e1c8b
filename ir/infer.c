/* The dispatcher of inference, and what its functions share. */
#include "ir/infer.h"

#include <string.h>

#include "base/checked.h"

static ir_infer_function *const functions[IR_OP_COUNT] = {
#define OP(name, min, max, outputs, infer, rate, eval, attrs) [IR_OP_##name] = ir_infer_##infer,
#include "ir/ops.def"
#undef OP
};

/* --- texts --------------------------------------------------------------------------------------------------- */

const char *ir_infer_dim_text(const ir_infer_context *c, ir_dim dim)
{
    const char *text = ir_dim_text(dim, &c->graph->symbols, c->graph->arena);
    return text == NULL ? "(no memory)" : text;
}

const char *ir_infer_text(const ir_infer_context *c, const ir_type *type)
{
    const char *text = ir_type_text(type, &c->graph->symbols, c->graph->arena);
    return text == NULL ? "(no memory)" : text;
}

const char *ir_infer_operands_text(const ir_infer_context *c)
{
    enum { SHOWN = 4 };
    uint32_t count = c->info->input_count;
    const char *text = count == 1 ? "operand" : "operands";
    for (uint32_t i = 0; i < count && i < SHOWN && text != NULL; i++) {
        const char *type = ir_infer_has_operand(c, i) ? ir_infer_text(c, ir_infer_operand(c, i)) : "(none)";
        const char *before = i == 0 ? " " : i + 1 == count ? " and " : ", ";
        text = base_arena_format(c->graph->arena, "%s%s%s", text, before, type);
    }
    if (count > SHOWN && text != NULL) {
        text = base_arena_format(c->graph->arena, "%s and %u more", text, (unsigned)(count - SHOWN));
    }
    return text == NULL ? "(no memory)" : text;
}

/* --- broadcasting and checks --------------------------------------------------------------------------------- */

mtl_status ir_infer_join(const ir_infer_context *c, ir_type *type, const ir_type *other)
{
    ir_type joined = *type;
    joined.rank = type->rank > other->rank ? type->rank : other->rank;
    for (int32_t i = 0; i < joined.rank; i++) {
        int32_t a = i - (joined.rank - type->rank), b = i - (joined.rank - other->rank);
        if (a < 0 || (b >= 0 && ir_dim_is(type->dim[a], 1))) {
            joined.dim[i] = other->dim[b];
        } else if (b < 0 || ir_dim_is(other->dim[b], 1) || ir_dim_equal(type->dim[a], other->dim[b])) {
            joined.dim[i] = type->dim[a];
        } else {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "%s do not broadcast at axis %d",
                           ir_infer_operands_text(c), (int)i);
        }
    }
    *type = joined;
    return MTL_OK;
}

mtl_status ir_infer_one_dtype(const ir_infer_context *c)
{
    for (uint32_t i = 1; i < c->info->input_count; i++) {
        if (ir_infer_has_operand(c, i) && ir_infer_operand(c, i)->dtype != ir_infer_operand(c, 0)->dtype) {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "%s differ in type",
                           ir_infer_operands_text(c));
        }
    }
    return MTL_OK;
}

static mtl_status wrong_dtype(const ir_infer_context *c, uint32_t operand, const char *expected)
{
    return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "operand %u is %s, expected %s", (unsigned)operand,
                   ir_infer_text(c, ir_infer_operand(c, operand)), expected);
}

mtl_status ir_infer_check_numeric(const ir_infer_context *c, uint32_t operand)
{
    return ir_infer_operand(c, operand)->dtype == MTL_BOOL ? wrong_dtype(c, operand, "numbers") : MTL_OK;
}

mtl_status ir_infer_check_float(const ir_infer_context *c, uint32_t operand)
{
    return ir_dtype_is_float(ir_infer_operand(c, operand)->dtype) ? MTL_OK : wrong_dtype(c, operand, "floats");
}

mtl_status ir_infer_check_bool(const ir_infer_context *c, uint32_t operand)
{
    return ir_infer_operand(c, operand)->dtype == MTL_BOOL ? MTL_OK : wrong_dtype(c, operand, "booleans");
}

mtl_status ir_infer_check_axis(const ir_infer_context *c, int64_t axis, int32_t rank)
{
    if (axis < 0 || axis >= rank) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "axis %lld is out of range for rank %d",
                       (long long)axis, (int)rank);
    }
    return MTL_OK;
}

mtl_status ir_infer_check_act(const ir_infer_context *c)
{
    const ir_attr *attr = ir_find_attr(c->info, IR_ATTR_act);
    const char *act = attr == NULL ? "" : attr->text;
    ir_op op;
    if (act != NULL && (act[0] == '\0' || (ir_op_find(act, &op) && ir_op_is_unary(op) && op != IR_OP_not))) {
        return MTL_OK;
    }
    return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "'%s' is no activation", act == NULL ? "" : act);
}

/* --- products of extents ------------------------------------------------------------------------------------- */

static int64_t magnitude_gcd(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a < 0 ? -a : a;
}

/* dim = number x primitive: coefficients without common divisor, the first one positive. */
static bool split_dim(ir_dim dim, int64_t *number, ir_dim *primitive)
{
    int64_t divisor = dim.c == INT64_MIN ? 0 : magnitude_gcd(dim.c, 0);
    int sign = 0;
    for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
        if (dim.k[i] == INT64_MIN) {
            return false;
        }
        divisor = magnitude_gcd(divisor, dim.k[i]);
        if (sign == 0 && dim.k[i] != 0) {
            sign = dim.k[i] < 0 ? -1 : 1;
        }
    }
    if (dim.c == INT64_MIN || divisor == 0) {
        return false;
    }
    *number = sign < 0 ? -divisor : divisor;
    *primitive = dim;
    primitive->c /= *number;
    for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
        primitive->k[i] /= *number;
    }
    return true;
}

bool ir_product_multiply(ir_product *product, ir_dim dim)
{
    if (ir_dim_is_const(dim)) {
        return base_mul_i64(product->number, dim.c, &product->number);
    }
    int64_t number;
    ir_dim primitive;
    if (product->count == (int)(sizeof product->factor / sizeof product->factor[0]) ||
        !split_dim(dim, &number, &primitive) || !base_mul_i64(product->number, number, &product->number)) {
        return false;
    }
    product->factor[product->count++] = primitive;
    return true;
}

/* Takes the factors of `b` out of `a`; false when one is not there. */
static bool cancel(ir_product *a, const ir_product *b)
{
    for (int i = 0; i < b->count; i++) {
        int j = 0;
        while (j < a->count && !ir_dim_equal(a->factor[j], b->factor[i])) {
            j++;
        }
        if (j == a->count) {
            return false;
        }
        a->factor[j] = a->factor[--a->count];
    }
    return true;
}

bool ir_product_equal(const ir_product *a, const ir_product *b)
{
    if (a->number == 0 || b->number == 0) {
        return a->number == b->number;
    }
    ir_product rest = *a;
    return a->number == b->number && cancel(&rest, b) && rest.count == 0;
}

bool ir_product_divide(const ir_product *a, const ir_product *b, ir_dim *quotient)
{
    ir_product rest = *a;
    if (b->number == 0 || (a->number == INT64_MIN && b->number == -1) || a->number % b->number != 0) {
        return false;
    }
    if (a->number == 0) {
        *quotient = ir_dim_const(0);
        return true;
    }
    if (!cancel(&rest, b) || rest.count > 1) {
        return false;
    }
    ir_dim factor = rest.count == 0 ? ir_dim_const(1) : rest.factor[0];
    return ir_dim_mul(ir_dim_const(a->number / b->number), factor, quotient);
}

/* --- the dispatcher ------------------------------------------------------------------------------------------ */

mtl_status ir_infer(ir_graph *graph, ir_node node, base_diag *diag)
{
    ir_infer_context c = {.graph = graph, .node = node, .info = ir_node_of(graph, node), .diag = diag};
    BASE_TRY(ir_check_form(graph, node, diag)); /* the functions take operands and attributes for granted */
    ir_value result = c.info->outputs[0];
    ir_type type = graph->values[result].type;
    if (type.dtype == 0) {
        memset(&type, 0, sizeof type);
    }
    graph->values[result].content = NULL;
    graph->values[result].content_count = 0;
    BASE_TRY(functions[c.info->op](&c, &type));
    for (int32_t i = 0; i < type.rank; i++) {
        if (ir_dim_is_const(type.dim[i]) && type.dim[i].c < 0) {
            return ir_fail(graph, node, diag, MTL_INVALID_DATA, "the result would be %s", ir_infer_text(&c, &type));
        }
    }
    graph->values[result].type = type;
    return MTL_OK;
}
