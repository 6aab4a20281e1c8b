/* Rates: what each rule says, and that what it says is true: a graph is evaluated twice, with one candidate changed,
 * and only that candidate's elements may differ. */
#include "infer_helpers.h"

static void expect_rate(lab *t, ir_value value, const char *text)
{
    static const char *const kinds[] = {"const", "request", "row", "batch"};
    char found[64];
    assert_int_equal(ir_infer_rates(t->graph, &t->diag), MTL_OK);
    ir_rate rate = ir_info(t->graph, value)->rate;
    if (rate.kind == IR_RATE_ROW) {
        snprintf(found, sizeof found, "row %d %d %d%s", (int)rate.axis, (int)rate.before, (int)rate.after,
                 rate.per_user ? " per user" : "");
    } else {
        snprintf(found, sizeof found, "%s", kinds[rate.kind]);
    }
    assert_string_equal(found, text);
}

static void inputs_and_elementwise(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,4]"), u = add_input(&t, "f32[1,4]"), w = add_weights(&t, "f32[4]");
    ir_value users = add_input(&t, "f32[U,4]"), odd = add_input(&t, "f32[2*B,4]"), second = add_input(&t, "f32[3,B]");
    ir_value square = add_input(&t, "f32[B,B]");
    expect_rate(&t, x, "row 0 1 1");
    expect_rate(&t, u, "request");
    expect_rate(&t, users, "request");
    expect_rate(&t, w, "const");
    expect_rate(&t, odd, "batch");
    expect_rate(&t, square, "batch");
    expect_rate(&t, second, "row 1 1 1");
    expect_rate(&t, node(&t, IR_OP_relu, NULL, V(x), NO_ATTRS), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_add, NULL, V(w, w), NO_ATTRS), "const");
    expect_rate(&t, node(&t, IR_OP_add, NULL, V(u, w), NO_ATTRS), "request");
    expect_rate(&t, node(&t, IR_OP_add, NULL, V(w, x), NO_ATTRS), "row 0 1 1");
    ir_value deep = add_input(&t, "f32[B,1,1]");
    expect_rate(&t, node(&t, IR_OP_mul, NULL, V(deep, u), NO_ATTRS), "row 0 1 1");
    ir_value experts = node(&t, IR_OP_reshape, "f32[B,1,4]", V(x), NO_ATTRS);
    expect_rate(&t, node(&t, IR_OP_mul, NULL, V(experts, deep), NO_ATTRS), "row 0 1 1");
    ir_value pairs = node(&t, IR_OP_sub, NULL, V(experts, x), NO_ATTRS);
    expect_type(&t, pairs, "f32[B, B, 4]");
    expect_rate(&t, pairs, "batch");
    ir_value where = node(&t, IR_OP_where, NULL, V(node(&t, IR_OP_less, NULL, V(u, w), NO_ATTRS), x, w), NO_ATTRS);
    expect_rate(&t, where, "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_tanh, NULL, V(odd), NO_ATTRS), "batch");
    lab_close(&t);
}

/* The same for all candidates, but not known: whatever is made of one is made anew in every call. */
static void params(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,4]"), alpha = add_weights(&t, "f32[4]"), w = add_weights(&t, "f32[4]");
    assert_int_equal(ir_make_param(t.graph, alpha, &t.diag), MTL_OK);
    expect_rate(&t, alpha, "request");
    expect_rate(&t, node(&t, IR_OP_exp, NULL, V(alpha), NO_ATTRS), "request");
    expect_rate(&t, node(&t, IR_OP_mul, NULL, V(alpha, w), NO_ATTRS), "request");
    expect_rate(&t, node(&t, IR_OP_mul, NULL, V(x, alpha), NO_ATTRS), "row 0 1 1");
    ir_value column = node(&t, IR_OP_reshape, "f32[4,1]", V(alpha), NO_ATTRS);
    expect_rate(&t, node(&t, IR_OP_matmul, NULL, V(x, column), NO_ATTRS), "row 0 1 1");
    assert_int_equal(ir_verify(t.graph, &t.diag), MTL_OK);
    assert_int_equal(ir_param_behind(t.graph, column), alpha);
    assert_int_equal(ir_param_behind(t.graph, w), 0);
    assert_int_equal(ir_param_behind(t.graph, node(&t, IR_OP_mul, NULL, V(x, alpha), NO_ATTRS)), 0);
    lab_close(&t);
}

/* What only depends on inputs that are declared per user. */
static void users(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,4]"), u = add_input(&t, "f32[B,4]"), w = add_weights(&t, "f32[4]");
    ir_value copies = node(&t, IR_OP_expand, "f32[B,4]", V(w), NO_ATTRS);
    expect_rate(&t, copies, "row 0 1 1"); /* without users nothing is theirs */
    assert_int_equal(ir_set_per_user(t.graph, u, &t.diag), MTL_OK);
    expect_rate(&t, u, "row 0 1 1 per user");
    expect_rate(&t, x, "row 0 1 1");
    expect_rate(&t, copies, "row 0 1 1 per user");
    expect_rate(&t, w, "const");
    ir_value mine = node(&t, IR_OP_add, NULL, V(u, w), NO_ATTRS);
    expect_rate(&t, mine, "row 0 1 1 per user");
    expect_rate(&t, node(&t, IR_OP_add, NULL, V(mine, x), NO_ATTRS), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_concat, NULL, V(mine, x), A(IR_INT(axis, 1))), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_transpose, NULL, V(mine), A(INTS(perm, 1, 0))), "row 1 1 1 per user");
    expect_rate(&t, node(&t, IR_OP_softmax, NULL, V(mine), A(IR_INT(axis, 0))), "batch");
    assert_int_not_equal(ir_set_per_user(t.graph, mine, &t.diag), MTL_OK);
    assert_non_null(strstr(t.error.message, "expected an input whose first axis is the candidates"));
    lab_close(&t);
}

static void shapes_as_data(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,4]"), zero = SCALAR(&t, 0), one = SCALAR(&t, 1);
    ir_value shape = node(&t, IR_OP_shape, NULL, V(x), NO_ATTRS);
    expect_rate(&t, shape, "batch");
    ir_value rows = node(&t, IR_OP_gather, NULL, V(shape, zero), A(IR_INT(axis, 0)));
    ir_value width = node(&t, IR_OP_gather, NULL, V(shape, one), A(IR_INT(axis, 0)));
    expect_rate(&t, rows, "batch");
    expect_rate(&t, width, "const");
    ir_value range = node(&t, IR_OP_range, NULL, V(zero, rows, one), NO_ATTRS);
    expect_rate(&t, range, "batch");
    expect_rate(&t, node(&t, IR_OP_range, NULL, V(zero, width, one), NO_ATTRS), "const");
    ir_value number = node(&t, IR_OP_cast, NULL, V(rows), A(IR_DTYPE(to, MTL_F32)));
    expect_rate(&t, node(&t, IR_OP_div, NULL, V(x, number), NO_ATTRS), "batch");
    expect_rate(&t, node(&t, IR_OP_reshape, NULL, V(x, shape), NO_ATTRS), "row 0 1 1");
    ir_value emb = add_weights(&t, "f32[4]");
    expect_rate(&t, node(&t, IR_OP_expand, NULL, V(emb, shape), NO_ATTRS), "row 0 1 1");
    lab_close(&t);
}

static void moves(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,3,8]");
    ir_value flat = node(&t, IR_OP_reshape, "f32[3*B,8]", V(x), NO_ATTRS);
    expect_rate(&t, flat, "row 0 1 3");
    expect_rate(&t, node(&t, IR_OP_reshape, "f32[B,3,8]", V(flat), NO_ATTRS), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_reshape, "f32[24*B]", V(flat), NO_ATTRS), "row 0 1 24");
    expect_rate(&t, node(&t, IR_OP_reshape, "f32[3,B,8]", V(flat), NO_ATTRS), "batch");
    ir_value first = node(&t, IR_OP_transpose, NULL, V(x), A(INTS(perm, 1, 0, 2)));
    expect_rate(&t, first, "row 1 1 1");
    ir_value tb = node(&t, IR_OP_reshape, "f32[3*B,8]", V(first), NO_ATTRS);
    expect_rate(&t, tb, "row 0 3 1");
    expect_rate(&t, node(&t, IR_OP_reshape, "f32[3,B,8]", V(tb), NO_ATTRS), "row 1 1 1");
    expect_rate(&t, node(&t, IR_OP_reshape, "f32[3,4*B,2]", V(tb), NO_ATTRS), "row 1 1 4");
    expect_rate(&t, node(&t, IR_OP_reshape, "f32[B,3,8]", V(tb), NO_ATTRS), "batch");
    expect_rate(&t, node(&t, IR_OP_add, NULL, V(tb, flat), NO_ATTRS), "batch"); /* (T, B) meets (B, T) */
    expect_rate(&t, node(&t, IR_OP_add, NULL, V(tb, tb), NO_ATTRS), "row 0 3 1");
    expect_rate(&t, node(&t, IR_OP_concat, NULL, V(x, x), A(IR_INT(axis, 1))), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_concat, NULL, V(x, x), A(IR_INT(axis, 0))), "row 0 2 1");
    expect_rate(&t, node(&t, IR_OP_concat, NULL, V(tb, flat), A(IR_INT(axis, 0))), "batch");
    expect_rate(&t, node(&t, IR_OP_concat, NULL, V(x, add_weights(&t, "f32[1,3,8]")), A(IR_INT(axis, 0))), "batch");
    expect_rate(&t, node(&t, IR_OP_slice, "f32[B,1,8]", V(x), A(INTS(starts, 0, 2, 0), INTS(steps, 1, 1, 1))),
                "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_slice, "f32[1,3,8]", V(x), A(INTS(starts, 0, 0, 0), INTS(steps, 1, 1, 1))), "batch");
    expect_rate(&t, node(&t, IR_OP_slice, "f32[B,8]", V(tb), A(INTS(starts, 0, 0), INTS(steps, 1, 1))), "batch");
    expect_rate(&t, node(&t, IR_OP_expand, "f32[2,B,3,8]", V(x), NO_ATTRS), "row 1 1 1");
    ir_value w = add_weights(&t, "f32[3,8]");
    expect_rate(&t, node(&t, IR_OP_expand, "f32[B,3,8]", V(w), NO_ATTRS), "row 0 1 1");
    ir_value w1 = add_weights(&t, "f32[1,8]"), u = add_input(&t, "f32[8]");
    expect_rate(&t, node(&t, IR_OP_expand, "f32[3*B,8]", V(w1), NO_ATTRS), "row 0 1 3");
    expect_rate(&t, node(&t, IR_OP_expand, "f32[3,8]", V(u), NO_ATTRS), "request");
    expect_rate(&t, node(&t, IR_OP_expand, "f32[B,B,8]", V(u), NO_ATTRS), "batch");
    lab_close(&t);
}

static void lookups_and_axes(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,3,8]"), ids = add_input(&t, "i64[B,2]"), history = add_input(&t, "i64[1,50]");
    ir_value table = add_weights(&t, "f32[100,16]");
    expect_rate(&t, node(&t, IR_OP_gather, NULL, V(table, ids), A(IR_INT(axis, 0))), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_gather, NULL, V(table, ids), A(IR_INT(axis, 1))), "row 1 1 1");
    expect_rate(&t, node(&t, IR_OP_batch_gather, NULL, V(x, ids), A(IR_INT(axis, 1))), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_batch_gather, NULL, V(table, ids), A(IR_INT(axis, 0))), "row 0 1 1");
    ir_value many = add_input(&t, "i64[B,3,2]");
    expect_rate(&t, node(&t, IR_OP_batch_gather, NULL, V(x, many), A(IR_INT(axis, 0))), "batch");
    ir_value across = node(&t, IR_OP_transpose, NULL, V(x), A(INTS(perm, 1, 2, 0))), one = add_input(&t, "i64[3,2]");
    expect_rate(&t, node(&t, IR_OP_batch_gather, NULL, V(across, one), A(IR_INT(axis, 1))), "row 2 1 1");
    expect_rate(&t, node(&t, IR_OP_top_k, NULL, V(x), A(IR_INT(axis, 1), IR_INT(k, 1), IR_INT(largest, 1))),
                "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_gather, NULL, V(table, history), A(IR_INT(axis, 0))), "request");
    expect_rate(&t, node(&t, IR_OP_gather, NULL, V(x, SCALAR(&t, 1)), A(IR_INT(axis, 1))), "row 0 1 1");
    ir_value last = node(&t, IR_OP_transpose, NULL, V(x), A(INTS(perm, 1, 2, 0)));
    expect_rate(&t, node(&t, IR_OP_gather, NULL, V(last, SCALAR(&t, 1)), A(IR_INT(axis, 0))), "row 1 1 1");
    expect_rate(&t, node(&t, IR_OP_gather, NULL, V(last, history), A(IR_INT(axis, 0))), "row 3 1 1");
    expect_rate(&t, node(&t, IR_OP_gather, NULL, V(x, SCALAR(&t, 0)), A(IR_INT(axis, 0))), "batch");
    expect_rate(&t, node(&t, IR_OP_gather, NULL, V(x, ids), A(IR_INT(axis, 1))), "batch");
    expect_rate(&t, node(&t, IR_OP_reduce_sum, NULL, V(x), A(INTS(axes, 1), IR_INT(keepdims, 0))), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_reduce_sum, NULL, V(last), A(INTS(axes, 0), IR_INT(keepdims, 0))), "row 1 1 1");
    expect_rate(&t, node(&t, IR_OP_reduce_sum, NULL, V(last), A(INTS(axes, 0), IR_INT(keepdims, 1))), "row 2 1 1");
    expect_rate(&t, node(&t, IR_OP_reduce_mean, NULL, V(x), A(INTS(axes, 0), IR_INT(keepdims, 1))), "batch");
    expect_rate(&t, node(&t, IR_OP_softmax, NULL, V(x), A(IR_INT(axis, 2))), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_softmax, NULL, V(x), A(IR_INT(axis, 0))), "batch");
    ir_attr cumsum[] = {IR_INT(axis, 0), IR_INT(exclusive, 0), IR_INT(reverse, 0)};
    expect_rate(&t, node(&t, IR_OP_cumsum, NULL, V(x), cumsum, 3), "batch");
    expect_rate(&t, node(&t, IR_OP_layer_norm, NULL, V(x), A(IR_INT(axis, 1), IR_FLOAT(epsilon, 1e-5))), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_layer_norm, NULL, V(x), A(IR_INT(axis, 0), IR_FLOAT(epsilon, 1e-5))), "batch");
    ir_value c = add_weights(&t, "f32[3]");
    expect_rate(&t, node(&t, IR_OP_batch_norm, NULL, V(x, c, c, c, c), A(IR_FLOAT(epsilon, 1e-5))), "row 0 1 1");
    lab_close(&t);
}

static void products(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,8]"), w = add_weights(&t, "f32[8,5]"), u = add_input(&t, "f32[8]");
    ir_value ws = add_weights(&t, "f32[3,8,5]"), gates = add_input(&t, "f32[B,2,3]"),
             experts = add_input(&t, "f32[B,3,5]");
    expect_rate(&t, node(&t, IR_OP_matmul, NULL, V(x, w), NO_ATTRS), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_matmul, NULL, V(x, u), NO_ATTRS), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_matmul, NULL, V(u, w), NO_ATTRS), "request");
    expect_rate(&t, node(&t, IR_OP_matmul, NULL, V(x, ws), NO_ATTRS), "row 1 1 1");
    expect_rate(&t, node(&t, IR_OP_matmul, NULL, V(gates, experts), NO_ATTRS), "row 0 1 1");
    expect_rate(
        &t, node(&t, IR_OP_matmul, NULL, V(u, node(&t, IR_OP_transpose, NULL, V(x), A(INTS(perm, 1, 0)))), NO_ATTRS),
        "row 0 1 1");
    ir_value turned = node(&t, IR_OP_transpose, NULL, V(x), A(INTS(perm, 1, 0)));
    expect_rate(&t, node(&t, IR_OP_matmul, NULL, V(x, turned), NO_ATTRS), "batch");
    expect_rate(&t, node(&t, IR_OP_matmul, NULL, V(turned, x), NO_ATTRS), "batch");
    expect_rate(&t, node(&t, IR_OP_matmul, NULL, V(add_weights(&t, "f32[5,8]"), turned), NO_ATTRS), "row 1 1 1");
    ir_value many = node(&t, IR_OP_matmul, NULL, V(x, ws), NO_ATTRS);
    expect_rate(&t, node(&t, IR_OP_matmul, NULL, V(many, add_weights(&t, "f32[5]")), NO_ATTRS), "row 1 1 1");
    ir_attr program[] = {IR_STRING(program, "add 1; sigmoid")};
    ir_value behind = node(&t, IR_OP_transpose, NULL, V(add_input(&t, "f32[B,4]")), A(INTS(perm, 1, 0)));
    expect_rate(&t, node(&t, IR_OP_chain, NULL, V(x, x), program, 1), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_chain, NULL, V(behind, behind), program, 1), "row 1 1 1");
    expect_rate(&t, node(&t, IR_OP_chain, NULL, V(w, w), program, 1), "const");
    expect_rate(&t, node(&t, IR_OP_chain, NULL, V(w, add_input(&t, "f32[1,1]")), program, 1), "request");
    expect_rate(&t, node(&t, IR_OP_linear, NULL, V(x, w), A(IR_STRING(act, "relu"))), "row 0 1 1");
    ir_attr plain[] = {IR_STRING(act, "")};
    ir_value start = add_input(&t, "f32[1,5]"), alone = add_input(&t, "f32[1,8]");
    expect_rate(&t, node(&t, IR_OP_linear, NULL, V(x, w, 0, add_input(&t, "f32[B,5]")), plain, 1), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_linear, NULL, V(x, w, 0, start), plain, 1), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_linear, NULL, V(alone, w, 0, start), plain, 1), "request");
    ir_value eb = add_input(&t, "f32[B,3,8]");
    expect_rate(&t, node(&t, IR_OP_linear, NULL, V(eb, ws), A(IR_STRING(act, ""))), "row 0 1 1");
    ir_attr mix[] = {IR_STRING(function, ""), INTS(index, 0, 1, 2, 0, 1, 2)};
    ir_value fixed = add_weights(&t, "f32[1,2,3]"), user = add_input(&t, "f32[1,2,3]"),
             own = add_input(&t, "f32[1,3,5]");
    expect_rate(&t, node(&t, IR_OP_mix, NULL, V(gates, experts), mix, 2), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_mix, NULL, V(fixed, experts), mix, 2), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_mix, NULL, V(user, experts), mix, 2), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_mix, NULL, V(user, own), mix, 2), "request");
    ir_value sixth = node(&t, IR_OP_reshape, "f32[2*B,3,5]", V(add_input(&t, "f32[B,6,5]")), NO_ATTRS);
    expect_rate(&t, node(&t, IR_OP_mix, NULL, V(fixed, sixth), mix, 2), "row 0 1 2");
    ir_value vectors = add_weights(&t, "f32[9,4]"), events = add_input(&t, "i64[B,5]"), past = add_input(&t, "i64[5]");
    ir_attr sum[] = {IR_STRING(function, "sum")};
    expect_rate(&t, node(&t, IR_OP_bag, NULL, V(vectors, events), sum, 1), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_bag, NULL, V(vectors, past), sum, 1), "request");
    expect_rate(&t, node(&t, IR_OP_bag, NULL, V(vectors, events, add_input(&t, "f32[B,5]")), sum, 1), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_bag, NULL, V(add_input(&t, "f32[B,4]"), past), sum, 1), "batch");
    ir_attr attend[] = {INTS(starts, 0, 0, 0), IR_INT(heads, 1),        INTS(sizes, 5, 5),
                        IR_FLOAT(scale, 1),    IR_STRING(empty, "nan"), IR_FLOAT(fill, 0)};
    ir_value keep = add_input(&t, "bool[B,1,1,3]");
    expect_rate(&t, node(&t, IR_OP_attention, NULL, V(own, experts, experts), attend, 6), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_attention, NULL, V(own, own, experts, 0, keep), attend, 6), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_attention, NULL, V(own, own, own), attend, 6), "request");
    ir_value steps = add_input(&t, "f32[B,5,12]"), r = add_weights(&t, "f32[3,4,4]"),
             before = add_input(&t, "f32[B,4]");
    ir_value twice = node(&t, IR_OP_reshape, "f32[2*B,5,12]", V(add_input(&t, "f32[B,10,12]")), NO_ATTRS);
    ir_value last = node(&t, IR_OP_reshape, "f32[2*B,4]", V(add_input(&t, "f32[2,B,4]")), NO_ATTRS);
    expect_rate(&t, node(&t, IR_OP_gru, NULL, V(steps, r), A(IR_INT(reverse, 0))), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_gru, NULL, V(steps, r, 0, before), A(IR_INT(reverse, 0))), "row 0 1 1");
    expect_rate(&t, node(&t, IR_OP_gru, NULL, V(twice, r), A(IR_INT(reverse, 0))), "row 0 1 2");
    expect_rate(&t, node(&t, IR_OP_gru, NULL, V(twice, r, 0, last), A(IR_INT(reverse, 0))), "batch");
    ir_value across = add_input(&t, "f32[3,5,B]");
    expect_rate(&t,
                node(&t, IR_OP_mix, NULL, V(fixed, across), A(IR_STRING(function, ""), INTS(index, 0, 1, 2, 0, 1, 2))),
                "batch");
    lab_close(&t);
}

/* --- the truth of it -------------------------------------------------------------------------------------------- */

enum { ROWS = 3, POOL = 48 };

static uint32_t seed;

static uint32_t random_below(uint32_t bound)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % bound;
}

/* Numbers of an input for ROWS candidates. Those of candidate `changed` (-1: of none) are other ones. */
static void fill_input(lab *t, ir_value value, int changed, ir_tensor *tensor)
{
    const int64_t symbols[IR_MAX_SYMBOLS] = {ROWS, 2, 1, 1};
    const ir_value_info *info = ir_info(t->graph, value);
    size_t inner = 1;
    *tensor = (ir_tensor){.dtype = info->type.dtype, .rank = info->type.rank, .count = 1};
    for (int32_t i = 0; i < info->type.rank; i++) {
        assert_true(ir_dim_eval(info->type.dim[i], symbols, &tensor->shape[i]));
        tensor->count *= (size_t)tensor->shape[i];
        inner *= i > 0 ? (size_t)tensor->shape[i] : 1;
    }
    double *f = BASE_NEW_ARRAY(&t->arena, double, tensor->count);
    int64_t *n = BASE_NEW_ARRAY(&t->arena, int64_t, tensor->count);
    for (size_t i = 0; i < tensor->count; i++) {
        bool other = info->rate.kind == IR_RATE_ROW && (int)(i / inner) == changed;
        n[i] = (int64_t)((i * 5 + value * 3 + (other ? 1 : 0)) % 2);
        f[i] = (double)((i * 7 + value) % 13) * 0.25 - 1.5 + (other ? 0.375 : 0);
    }
    bool is_float = ir_dtype_is_float(info->type.dtype);
    tensor->f = is_float ? f : NULL;
    tensor->i = is_float ? NULL : n;
}

/* The candidate of element `index`. */
static int candidate_of(const ir_tensor *tensor, const ir_rate *rate, size_t index)
{
    size_t inner = 1;
    for (int32_t i = rate->axis + 1; i < tensor->rank; i++) {
        inner *= (size_t)tensor->shape[i];
    }
    size_t along = index / inner % (size_t)tensor->shape[rate->axis];
    return (int)(along / (size_t)rate->after % ROWS);
}

static bool same_element(const ir_tensor *a, const ir_tensor *b, size_t i)
{
    if (a->f != NULL) {
        return a->f[i] == b->f[i] || (a->f[i] != a->f[i] && b->f[i] != b->f[i]);
    }
    return a->i[i] == b->i[i];
}

/* Evaluates the graph, all of whose values are outputs. False: an index is out of range. */
static bool evaluate(lab *t, int changed, ir_tensor **outputs)
{
    ir_tensor *inputs = BASE_NEW_ARRAY(&t->arena, ir_tensor, t->graph->input_count);
    *outputs = BASE_NEW_ARRAY(&t->arena, ir_tensor, t->graph->output_count);
    for (uint32_t i = 0; i < t->graph->input_count; i++) {
        fill_input(t, t->graph->inputs[i], changed, &inputs[i]);
    }
    t->diag.failed = 0;
    return ir_eval(t->graph, inputs, &t->arena, &t->diag, *outputs) == MTL_OK;
}

/* Returns how many values were checked to be ROW. */
static size_t check_truth(lab *t)
{
    ir_tensor *plain, *other;
    size_t rows = 0;
    assert_int_equal(ir_infer_rates(t->graph, &t->diag), MTL_OK);
    if (!evaluate(t, -1, &plain)) {
        return 0;
    }
    for (int changed = 0; changed < ROWS; changed++) {
        if (!evaluate(t, changed, &other)) {
            return 0;
        }
        for (uint32_t o = 0; o < t->graph->output_count; o++) {
            const ir_rate *rate = &ir_info(t->graph, t->graph->outputs[o].value)->rate;
            rows += rate->kind == IR_RATE_ROW ? 1 : 0;
            for (size_t i = 0; i < plain[o].count && rate->kind != IR_RATE_BATCH; i++) {
                bool mine = rate->kind == IR_RATE_ROW && candidate_of(&plain[o], rate, i) == changed;
                assert_true(mine || same_element(&plain[o], &other[o], i));
            }
        }
    }
    return rows;
}

static const ir_op unaries[] = {IR_OP_relu, IR_OP_tanh, IR_OP_neg, IR_OP_identity};
static const ir_op binaries[] = {IR_OP_add, IR_OP_mul, IR_OP_max, IR_OP_matmul, IR_OP_sub};

/* A reshape that merges two axes, or splits an axis. */
static ir_value random_reshape(lab *t, ir_value x)
{
    ir_type type = *ir_type_of(t->graph, x);
    ir_value result = 0;
    if (type.rank == 0) {
        return 0;
    }
    int32_t axis = (int32_t)random_below((uint32_t)type.rank);
    if (random_below(2) == 0 && axis + 1 < type.rank) {
        if (!ir_dim_mul(type.dim[axis], type.dim[axis + 1], &type.dim[axis])) {
            return 0;
        }
        for (int32_t i = axis + 1; i + 1 < type.rank; i++) {
            type.dim[i] = type.dim[i + 1];
        }
        type.rank--;
    } else if (type.rank < 6) {
        int64_t part = (int64_t)random_below(3) + 1;
        ir_dim rest;
        if (!ir_dim_div(type.dim[axis], ir_dim_const(part), &rest)) {
            return 0;
        }
        memmove(&type.dim[axis + 1], &type.dim[axis], (size_t)(type.rank - axis) * sizeof type.dim[0]);
        bool first = random_below(2) == 0;
        type.dim[axis] = first ? ir_dim_const(part) : rest;
        type.dim[axis + 1] = first ? rest : ir_dim_const(part);
        type.rank++;
    }
    t->diag.failed = 0;
    return ir_insert_typed(t->graph, 0, IR_OP_reshape, NULL, &x, 1, NULL, 0, &type, &t->diag, &result) == MTL_OK
               ? result
               : 0;
}

static ir_value random_transpose(lab *t, ir_value x)
{
    int64_t perm[MTL_MAX_RANK];
    int32_t rank = ir_type_of(t->graph, x)->rank;
    for (int32_t i = 0; i < rank; i++) {
        int32_t j = (int32_t)random_below((uint32_t)i + 1);
        perm[i] = perm[j];
        perm[j] = i;
    }
    return try_node(t, IR_OP_transpose, NULL, V(x), A(IR_INTS(perm, perm, rank)));
}

static ir_value random_expand(lab *t, ir_value x)
{
    ir_type type = *ir_type_of(t->graph, x);
    ir_value result = 0;
    if (type.rank >= 5) {
        return 0;
    }
    memmove(&type.dim[1], &type.dim[0], (size_t)type.rank * sizeof type.dim[0]);
    type.rank++;
    type.dim[0] = random_below(2) == 0 ? ir_dim_const(2) : ir_dim_symbol(IR_SYMBOL_ROWS);
    t->diag.failed = 0;
    return ir_insert_typed(t->graph, 0, IR_OP_expand, NULL, &x, 1, NULL, 0, &type, &t->diag, &result) == MTL_OK ? result
                                                                                                                : 0;
}

static ir_value random_slice(lab *t, ir_value x)
{
    ir_type type = *ir_type_of(t->graph, x);
    int64_t starts[MTL_MAX_RANK] = {0}, steps[MTL_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1};
    ir_value result = 0;
    if (type.rank == 0) {
        return 0;
    }
    uint32_t axis = random_below((uint32_t)type.rank);
    starts[axis] = (int64_t)random_below(2);
    type.dim[axis] = ir_dim_const(1);
    t->diag.failed = 0;
    return ir_insert_typed(t->graph, 0, IR_OP_slice, NULL, &x, 1,
                           A(IR_INTS(starts, starts, type.rank), IR_INTS(steps, steps, type.rank)), &type, &t->diag,
                           &result) == MTL_OK
               ? result
               : 0;
}

static ir_value random_node(lab *t, ir_value x, ir_value y, ir_value ids)
{
    int32_t rank = ir_type_of(t->graph, x)->rank;
    int64_t axis = rank == 0 ? 0 : (int64_t)random_below((uint32_t)rank);
    switch (random_below(14)) {
    case 0: return try_node(t, unaries[random_below(4)], NULL, V(x), NO_ATTRS);
    case 1:
    case 2:
    case 3: return try_node(t, binaries[random_below(5)], NULL, V(x, y), NO_ATTRS);
    case 4: return try_node(t, IR_OP_softmax, NULL, V(x), A(IR_INT(axis, axis)));
    case 5: return try_node(t, IR_OP_concat, NULL, V(x, random_below(2) == 0 ? x : y), A(IR_INT(axis, axis)));
    case 6:
        return try_node(t, IR_OP_reduce_sum, NULL, V(x),
                        A(INTS(axes, axis), IR_INT(keepdims, (int64_t)random_below(2))));
    case 7: return try_node(t, IR_OP_gather, NULL, V(x, ids), A(IR_INT(axis, axis)));
    case 8: return try_node(t, IR_OP_layer_norm, NULL, V(x), A(IR_INT(axis, axis), IR_FLOAT(epsilon, 1e-5)));
    case 9:
    case 10: return random_reshape(t, x);
    case 11: return random_transpose(t, x);
    case 12: return random_expand(t, x);
    default: return random_slice(t, x);
    }
}

static bool is_small(lab *t, ir_value value)
{
    const int64_t symbols[IR_MAX_SYMBOLS] = {ROWS, 2, 1, 1};
    const ir_type *type = ir_type_of(t->graph, value);
    int64_t count = 1;
    for (int32_t i = 0; i < type->rank; i++) {
        int64_t extent = 0;
        assert_true(ir_dim_eval(type->dim[i], symbols, &extent));
        count *= extent;
    }
    return count <= 2000;
}

static void random_graphs_never_mix_candidates(void **state)
{
    static const char *const inputs[] = {"f32[B,4]", "f32[B,2,4]", "f32[B]", "f32[1,4]", "f32[2,4]"};
    static const char *const indices[] = {"i64[B]", "i64[B,1]", "i64[2]"};
    size_t rows = 0;
    (void)state;
    for (uint32_t round = 0; round < 1500; round++) {
        lab t;
        ir_value pool[POOL], ids[4];
        uint32_t count = 0, id_count = 0;
        seed = round * 7919u + 1u;
        lab_open(&t);
        for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
            pool[count++] = add_input(&t, inputs[i]);
        }
        for (size_t i = 0; i < sizeof indices / sizeof indices[0]; i++) {
            ids[id_count++] = add_input(&t, indices[i]);
        }
        ids[id_count++] = SCALAR(&t, 1);
        pool[count++] = add_weights(&t, "f32[4,4]");
        pool[count++] = add_weights(&t, "f32[2,1]");
        for (int tries = 0; tries < 60 && count < 24; tries++) {
            ir_value made = random_node(&t, pool[random_below(count)], pool[random_below(count)], ids[random_below(4)]);
            if (made != 0 && is_small(&t, made)) {
                char name[16];
                snprintf(name, sizeof name, "y%u", (unsigned)count);
                pool[count++] = made;
                assert_int_equal(ir_add_output(t.graph, name, made, &t.diag), MTL_OK);
            }
        }
        rows += check_truth(&t);
        lab_close(&t);
    }
    assert_true(rows > 10000); /* the test is not empty */
}

/* --- what exporters make of MMoE and PLE ------------------------------------------------------------------------- */

static ir_value layer(lab *t, ir_value x, const char *weight)
{
    return node(t, IR_OP_relu, NULL, V(node(t, IR_OP_matmul, NULL, V(x, add_weights(t, weight)), NO_ATTRS)), NO_ATTRS);
}

static ir_value gate(lab *t, ir_value x)
{
    return node(t, IR_OP_softmax, NULL, V(layer(t, x, "f32[4,3]")), A(IR_INT(axis, 1)));
}

/* Experts (B, 5) stacked on `axis`, each with extent 1 there as `type`. */
static ir_value stack(lab *t, ir_value x, const char *type, int64_t axis)
{
    ir_value experts[3];
    for (int i = 0; i < 3; i++) {
        experts[i] = node(t, IR_OP_reshape, type, V(layer(t, x, "f32[4,5]")), NO_ATTRS);
    }
    return node(t, IR_OP_concat, NULL, experts, 3, A(IR_INT(axis, axis)));
}

/* The target (B, ...tail) as exporters write it. */
static ir_value rows_and(lab *t, ir_value x, ir_value tail)
{
    ir_value shape = node(t, IR_OP_shape, NULL, V(x), NO_ATTRS);
    ir_value rows = node(t, IR_OP_gather, NULL, V(shape, VECTOR(t, 0)), A(IR_INT(axis, 0)));
    return node(t, IR_OP_concat, NULL, V(rows, tail), A(IR_INT(axis, 0)));
}

static void mixtures_of_experts(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,4]"), sums[6];
    ir_attr over_1[] = {INTS(axes, 1), IR_INT(keepdims, 0)}, over_0[] = {INTS(axes, 0), IR_INT(keepdims, 0)};
    /* stack on axis 1, unsqueeze, multiply, sum */
    ir_value experts = stack(&t, x, "f32[B,1,5]", 1);
    expect_rate(&t, experts, "row 0 1 1");
    ir_value column = node(&t, IR_OP_reshape, "f32[B,3,1]", V(gate(&t, x)), NO_ATTRS);
    sums[0] = node(&t, IR_OP_reduce_sum, NULL, V(node(&t, IR_OP_mul, NULL, V(experts, column), NO_ATTRS)), over_1, 2);
    /* bmm, and a squeeze whose target is computed */
    ir_value line = node(&t, IR_OP_reshape, NULL, V(gate(&t, x), rows_and(&t, x, VECTOR(&t, 1, -1))), NO_ATTRS);
    expect_type(&t, line, "f32[B, 1, 3]");
    ir_value mixed = node(&t, IR_OP_matmul, NULL, V(line, experts), NO_ATTRS);
    sums[1] = node(&t, IR_OP_reshape, NULL, V(mixed, rows_and(&t, mixed, VECTOR(&t, -1))), NO_ATTRS);
    /* stack on axis 0 */
    ir_value first = stack(&t, x, "f32[1,B,5]", 0);
    expect_rate(&t, first, "row 1 1 1");
    ir_value turned = node(&t, IR_OP_transpose, NULL, V(gate(&t, x)), A(INTS(perm, 1, 0)));
    turned = node(&t, IR_OP_reshape, "f32[3,B,1]", V(turned), NO_ATTRS);
    sums[2] = node(&t, IR_OP_reduce_sum, NULL, V(node(&t, IR_OP_mul, NULL, V(first, turned), NO_ATTRS)), over_0, 2);
    /* one 3-D parameter, x expanded to all experts */
    ir_value copies = node(&t, IR_OP_expand, NULL,
                           V(node(&t, IR_OP_reshape, "f32[1,B,4]", V(x), NO_ATTRS), VECTOR(&t, 3, 1, 1)), NO_ATTRS);
    ir_value all = layer(&t, copies, "f32[3,4,5]");
    expect_rate(&t, all, "row 1 1 1");
    sums[3] = node(&t, IR_OP_reduce_sum, NULL, V(node(&t, IR_OP_mul, NULL, V(all, turned), NO_ATTRS)), over_0, 2);
    /* einsum */
    assert_int_equal(
        ir_build_einsum(t.graph, 0, "be,beh->bh", (ir_value[]){gate(&t, x), experts}, 2, &t.diag, &sums[4]), MTL_OK);
    /* tasks one after the other in the rows (T x B), and back */
    ir_value tasks = node(&t, IR_OP_concat, NULL, V(x, layer(&t, x, "f32[4,4]")), A(IR_INT(axis, 0)));
    tasks = layer(&t, tasks, "f32[4,5]");
    expect_rate(&t, tasks, "row 0 2 1");
    tasks = node(&t, IR_OP_reshape, "f32[2,B,5]", V(tasks), NO_ATTRS);
    sums[5] = node(&t, IR_OP_gather, NULL, V(tasks, SCALAR(&t, 1)), A(IR_INT(axis, 0)));
    for (int i = 0; i < 6; i++) {
        char name[16];
        expect_type(&t, sums[i], "f32[B, 5]");
        expect_rate(&t, sums[i], "row 0 1 1");
        snprintf(name, sizeof name, "z%d", i);
        assert_int_equal(ir_add_output(t.graph, name, sums[i], &t.diag), MTL_OK);
    }
    assert_int_equal(ir_verify(t.graph, &t.diag), MTL_OK);
    assert_int_equal(check_truth(&t), 6 * ROWS);
    lab_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inputs_and_elementwise),
        cmocka_unit_test(params),
        cmocka_unit_test(users),
        cmocka_unit_test(shapes_as_data),
        cmocka_unit_test(moves),
        cmocka_unit_test(lookups_and_axes),
        cmocka_unit_test(products),
        cmocka_unit_test(random_graphs_never_mix_candidates),
        cmocka_unit_test(mixtures_of_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
