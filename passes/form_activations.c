/* Activations that exporters spell out become one operation again.
 *
 *     const %root : f32 = 1.4142135f
 *     %d = div(%x, %root)                         : f32[B, 4]
 *     %e = erf(%d)                                : f32[B, 4]
 *     %a = add(%e, %one)                          : f32[B, 4]
 *     %m = mul(%x, %a)                            : f32[B, 4]
 *     %y = mul(%m, %half)                         : f32[B, 4]
 *
 * becomes
 *
 *     %y = gelu(%x) approximate=0                 : f32[B, 4]
 *
 * and so do x sigmoid(x) (swish), x tanh(softplus(x)) (mish), x hard_sigmoid(x) (hard_swish) and the tanh form of gelu,
 * 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), whatever the order of the factors; log(1 + exp(x)) (softplus); and
 * clip(x + 3, 0, 6) / 6 or clip(x / 6 + 1/2, 0, 1) (hard_sigmoid). Only when nobody else reads what is in between.
 *
 * A softplus that is x itself above a threshold, where(x > 20, x, softplus(x)), is softplus(x): from 16 on the
 * difference, log(1 + exp(-x)), is less than half of what tells neighbouring float32 apart. max(x, 1) and min(x, 1) are
 * clips, as other exporters write them.
 */
#include <math.h>

#include "passes/passes.h"
#include "passes/rewrite.h"

enum { MAX_FACTORS = 8, MAX_INNER = 24 };

/* A product as its factors: a number times values. */
typedef struct product {
    double number;
    ir_value factors[MAX_FACTORS];
    int count;
} product;

typedef struct matcher {
    passes_rewriter *r;
    ir_node inner[MAX_INNER]; /* the nodes that the activation does the work of */
    int inner_count;
} matcher;

static bool near(double a, double b)
{
    return fabs(a - b) <= 3e-7 * fabs(b); /* constants of source models are rounded to float32 */
}

/* The node that makes `value`, when it has this op and this is its only use. */
static const ir_node_info *inner(matcher *m, ir_value value, ir_op op)
{
    const ir_node_info *node = ir_producer_op(m->r->graph, value, op);
    if (node == NULL || !passes_single_use(m->r, value) || m->inner_count == MAX_INNER) {
        return NULL;
    }
    m->inner[m->inner_count++] = ir_info(m->r->graph, value)->node;
    return node;
}

static bool add_factor(matcher *m, ir_value value, product *p)
{
    double number;
    if (ir_const_scalar(m->r->graph, value, &number)) {
        p->number *= number;
        return true;
    }
    if (p->count == MAX_FACTORS) {
        return false;
    }
    p->factors[p->count++] = value;
    return true;
}

/* One factor that is a product itself becomes its factors. */
static bool split_factor(matcher *m, product *p, int i)
{
    ir_value value = p->factors[i];
    const ir_node_info *node = inner(m, value, IR_OP_mul);
    double number;
    if (node != NULL) {
        p->factors[i] = p->factors[--p->count];
        return add_factor(m, node->inputs[0], p) && add_factor(m, node->inputs[1], p);
    }
    node = ir_producer_op(m->r->graph, value, IR_OP_div);
    if (node != NULL && ir_const_scalar(m->r->graph, node->inputs[1], &number) && inner(m, value, IR_OP_div) != NULL) {
        p->number /= number;
        p->factors[i] = p->factors[--p->count];
        return add_factor(m, node->inputs[0], p);
    }
    node = ir_producer_op(m->r->graph, value, IR_OP_pow);
    if (node != NULL && ir_const_scalar(m->r->graph, node->inputs[1], &number) && number == 3 &&
        inner(m, value, IR_OP_pow) != NULL) {
        p->factors[i] = node->inputs[0];
        return add_factor(m, node->inputs[0], p) && add_factor(m, node->inputs[0], p);
    }
    return false;
}

/* All factors of `value`; `x` is not split. */
static product factors_of(matcher *m, ir_value value, ir_value x)
{
    product p = {.number = 1, .factors = {value}, .count = 1};
    for (int i = 0; i < p.count;) {
        if (p.factors[i] == x || !split_factor(m, &p, i)) {
            i++;
        }
    }
    return p;
}

static bool is_power(const product *p, double number, ir_value x, int exponent)
{
    bool same = p->count == exponent && near(p->number, number);
    for (int i = 0; i < p->count; i++) {
        same = same && p->factors[i] == x;
    }
    return same;
}

/* number x clip(u, 0, 1 / number) with number x u = x / 6 + 1 / 2. `clip` may be NULL. */
static bool is_hard_sigmoid(matcher *m, const ir_node_info *clip, double number, ir_value *x)
{
    if (clip == NULL || !(number > 0) || ir_attr_float(clip, IR_ATTR_low) != 0 ||
        !near(ir_attr_float(clip, IR_ATTR_high) * number, 1)) {
        return false;
    }
    const ir_node_info *add = inner(m, clip->inputs[0], IR_OP_add);
    double shift;
    for (uint32_t k = 0; add != NULL && k < 2; k++) {
        int start = m->inner_count;
        if (ir_const_scalar(m->r->graph, add->inputs[k], &shift) && near(shift * number, 0.5)) {
            product p = {.number = number, .factors = {add->inputs[1 - k]}, .count = 1};
            while (p.count == 1 && !near(p.number, 1.0 / 6) && split_factor(m, &p, 0)) {
                continue;
            }
            if (p.count == 1 && near(p.number, 1.0 / 6)) {
                *x = p.factors[0];
                return true;
            }
        }
        m->inner_count = start;
    }
    return false;
}

/* 1 + f(u): the operand u. */
static bool one_plus(matcher *m, ir_value value, ir_op op, ir_value *u)
{
    const ir_node_info *add = inner(m, value, IR_OP_add);
    double number;
    for (uint32_t k = 0; add != NULL && k < 2; k++) {
        if (ir_const_scalar(m->r->graph, add->inputs[k], &number) && number == 1) {
            const ir_node_info *function = inner(m, add->inputs[1 - k], op);
            if (function != NULL) {
                *u = function->inputs[0];
                return true;
            }
        }
    }
    return false;
}

/* sqrt(2/pi) (x + 0.044715 x^3) */
static bool is_tanh_argument(matcher *m, ir_value u, ir_value x)
{
    product outer = factors_of(m, u, 0);
    if (outer.count != 1 || !near(outer.number, 0.79788456080286535588)) {
        return false;
    }
    const ir_node_info *sum = inner(m, outer.factors[0], IR_OP_add);
    for (uint32_t k = 0; sum != NULL && k < 2; k++) {
        if (sum->inputs[k] == x) {
            product cube = factors_of(m, sum->inputs[1 - k], x);
            return is_power(&cube, 0.044715, x, 3);
        }
    }
    return false;
}

/* What x times `gate` times `number` is; false: nothing that we know. */
static bool match_gate(matcher *m, ir_value x, ir_value gate, double number, ir_op *op, ir_attr *attr)
{
    int start = m->inner_count;
    const ir_node_info *node;
    ir_value u;
    if (number == 1 && (node = inner(m, gate, IR_OP_sigmoid)) != NULL && node->inputs[0] == x) {
        *op = IR_OP_swish;
        *attr = (ir_attr)IR_FLOAT(alpha, 1);
        return true;
    }
    m->inner_count = start;
    if (number == 1 && (node = inner(m, gate, IR_OP_hard_sigmoid)) != NULL && node->inputs[0] == x &&
        near(ir_attr_float(node, IR_ATTR_alpha), 1.0 / 6) && ir_attr_float(node, IR_ATTR_beta) == 0.5) {
        *op = IR_OP_hard_swish;
        return true;
    }
    m->inner_count = start;
    if (is_hard_sigmoid(m, inner(m, gate, IR_OP_clip), number, &u) && u == x) {
        *op = IR_OP_hard_swish;
        return true;
    }
    m->inner_count = start;
    if (number == 1 && (node = inner(m, gate, IR_OP_tanh)) != NULL &&
        (node = inner(m, node->inputs[0], IR_OP_softplus)) != NULL && node->inputs[0] == x) {
        *op = IR_OP_mish;
        return true;
    }
    m->inner_count = start;
    *op = IR_OP_gelu;
    if (number == 0.5 && one_plus(m, gate, IR_OP_erf, &u)) {
        product argument = factors_of(m, u, x);
        *attr = (ir_attr)IR_INT(approximate, 0);
        return is_power(&argument, 0.70710678118654752440, x, 1);
    }
    m->inner_count = start;
    *attr = (ir_attr)IR_INT(approximate, 1);
    return number == 0.5 && one_plus(m, gate, IR_OP_tanh, &u) && is_tanh_argument(m, u, x);
}

/* `n` becomes op(x) and does the work of what was matched. */
static mtl_status become(matcher *m, ir_node n, ir_op op, ir_value x, const ir_attr *attrs, size_t attr_count)
{
    for (int i = 0; i < m->inner_count; i++) {
        BASE_TRY(passes_take_sources(m->r, n, m->inner[i]));
    }
    return passes_become(m->r, n, op, &x, 1, attrs, attr_count, "part of an activation");
}

static bool same_type(const passes_rewriter *r, ir_value x, ir_node n)
{
    return ir_type_equal(ir_type_of(r->graph, x), ir_type_of(r->graph, ir_node_of(r->graph, n)->outputs[0]));
}

static mtl_status form_hard_sigmoid(matcher *m, ir_node n, const ir_node_info *clip, double number)
{
    ir_value x;
    if (!is_hard_sigmoid(m, clip, number, &x) || !same_type(m->r, x, n)) {
        return MTL_OK;
    }
    return become(m, n, IR_OP_hard_sigmoid, x, (ir_attr[]){IR_FLOAT(alpha, 1.0 / 6), IR_FLOAT(beta, 0.5)}, 2);
}

/* A product, or a quotient by a number. */
static mtl_status form_gated(passes_rewriter *r, ir_node n)
{
    matcher m = {.r = r};
    const ir_node_info *node = ir_node_of(r->graph, n);
    product p = {.number = 1};
    double divisor = 1;
    if (node->op == IR_OP_div && !ir_const_scalar(r->graph, node->inputs[1], &divisor)) {
        return MTL_OK;
    }
    p.number /= divisor;
    add_factor(&m, node->inputs[0], &p);
    if (node->op == IR_OP_mul) {
        add_factor(&m, node->inputs[1], &p);
    }
    if (p.count == 1 && ir_producer_op(r->graph, p.factors[0], IR_OP_clip) != NULL) {
        return form_hard_sigmoid(&m, n, inner(&m, p.factors[0], IR_OP_clip), p.number);
    }
    for (int splits = 0; splits < 2; splits++) { /* x may be a product, too: as little as possible is split */
        for (int k = 0; k < 2 && p.count == 2; k++) {
            int start = m.inner_count;
            ir_value x = p.factors[k];
            ir_op op = IR_OP_identity;
            ir_attr attr = {0};
            if (same_type(r, x, n) && match_gate(&m, x, p.factors[1 - k], p.number, &op, &attr)) {
                return become(&m, n, op, x, &attr, op == IR_OP_swish || op == IR_OP_gelu ? 1 : 0);
            }
            m.inner_count = start;
        }
        bool split = false;
        for (int i = 0; i < p.count && !split; i++) {
            split = split_factor(&m, &p, i);
        }
    }
    return MTL_OK;
}

/* log(1 + exp(x)) */
static mtl_status form_softplus(passes_rewriter *r, ir_node n)
{
    matcher m = {.r = r};
    ir_value x;
    if (!one_plus(&m, ir_node_of(r->graph, n)->inputs[0], IR_OP_exp, &x) || !same_type(r, x, n)) {
        return MTL_OK;
    }
    return become(&m, n, IR_OP_softplus, x, NULL, 0);
}

/* where(x > threshold, x, softplus(x)) */
static mtl_status drop_threshold(passes_rewriter *r, ir_node n)
{
    const ir_graph *graph = r->graph;
    const ir_node_info *node = ir_node_of(graph, n), *compare = ir_producer_op(graph, node->inputs[0], IR_OP_greater);
    const ir_node_info *softplus = ir_producer_op(graph, node->inputs[2], IR_OP_softplus);
    ir_value x = node->inputs[1];
    double threshold;
    if (compare == NULL || softplus == NULL || compare->inputs[0] != x || softplus->inputs[0] != x ||
        !ir_const_scalar(graph, compare->inputs[1], &threshold) || !(threshold >= 16) || !same_type(r, x, n) ||
        ir_type_of(graph, x)->dtype == MTL_F64) {
        return MTL_OK;
    }
    matcher m = {.r = r};
    inner(&m, node->inputs[0], IR_OP_greater);
    inner(&m, node->inputs[2], IR_OP_softplus);
    return become(&m, n, IR_OP_softplus, x, NULL, 0);
}

/* max(x, number) and min(x, number): one bound of a clip, which a layer can take in. */
static mtl_status form_bound(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    double number;
    int at = ir_const_scalar(r->graph, node->inputs[1], &number) ? 1 : 0;
    ir_value x = node->inputs[1 - at];
    if ((at == 0 && !ir_const_scalar(r->graph, node->inputs[0], &number)) || !isfinite(number) || !same_type(r, x, n) ||
        !ir_dtype_is_float(ir_type_of(r->graph, x)->dtype)) {
        return MTL_OK;
    }
    bool above = node->op == IR_OP_max;
    const ir_attr attrs[2] = {IR_FLOAT(low, above ? number : -INFINITY), IR_FLOAT(high, above ? INFINITY : number)};
    return become(&(matcher){.r = r}, n, IR_OP_clip, x, attrs, 2);
}

static mtl_status form(passes_rewriter *r, ir_node n)
{
    switch (ir_node_of(r->graph, n)->op) {
    case IR_OP_max:
    case IR_OP_min: return form_bound(r, n);
    case IR_OP_mul:
    case IR_OP_div: return form_gated(r, n);
    case IR_OP_clip: return form_hard_sigmoid(&(matcher){.r = r}, n, ir_node_of(r->graph, n), 1);
    case IR_OP_log: return form_softplus(r, n);
    case IR_OP_where: return drop_threshold(r, n);
    default: return MTL_OK;
    }
}

mtl_status passes_form_activations(ir_graph *graph, base_diag *diag)
{
    return passes_each(graph, diag, form);
}
