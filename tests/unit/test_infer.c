/* Types and symbolic contents of nodes: what every operation accepts, gives and refuses. */
#include "infer_helpers.h"

static void broadcasting(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,4]"), y = add_input(&t, "f32[B,5]"), one = add_input(&t, "f32[3,1,4]");
    ir_value bias = add_weights(&t, "f32[4]"), scalar = add_weights(&t, "f32"), id = add_input(&t, "i64[B,4]");
    expect_type(&t, node(&t, IR_OP_add, NULL, V(x, bias), NO_ATTRS), "f32[B, 4]");
    expect_type(&t, node(&t, IR_OP_mul, NULL, V(one, x), NO_ATTRS), "f32[3, B, 4]");
    expect_type(&t, node(&t, IR_OP_div, NULL, V(scalar, x), NO_ATTRS), "f32[B, 4]");
    expect_refused(&t, try_node(&t, IR_OP_add, NULL, V(x, y), NO_ATTRS),
                   "operands f32[B, 4] and f32[B, 5] do not broadcast at axis 1");
    expect_refused(&t, try_node(&t, IR_OP_add, NULL, V(x, id), NO_ATTRS), "differ in type");
    expect_refused(&t, try_node(&t, IR_OP_prelu, NULL, V(bias, x), NO_ATTRS), "slope");
    expect_type(&t, node(&t, IR_OP_prelu, NULL, V(x, bias), NO_ATTRS), "f32[B, 4]");
    expect_type(&t, node(&t, IR_OP_pow, NULL, V(x, id), NO_ATTRS), "f32[B, 4]");
    ir_value less = node(&t, IR_OP_less, NULL, V(x, scalar), NO_ATTRS);
    expect_type(&t, less, "bool[B, 4]");
    expect_type(&t, node(&t, IR_OP_and, NULL, V(less, less), NO_ATTRS), "bool[B, 4]");
    expect_refused(&t, try_node(&t, IR_OP_and, NULL, V(less, x), NO_ATTRS), "expected booleans");
    expect_refused(&t, try_node(&t, IR_OP_less, NULL, V(less, less), NO_ATTRS), "expected numbers");
    expect_type(&t, node(&t, IR_OP_equal, NULL, V(less, less), NO_ATTRS), "bool[B, 4]");
    expect_type(&t, node(&t, IR_OP_where, NULL, V(less, scalar, one), NO_ATTRS), "f32[3, B, 4]");
    expect_refused(&t, try_node(&t, IR_OP_where, NULL, V(less, x, id), NO_ATTRS), "differ in type");
    expect_refused(&t, try_node(&t, IR_OP_where, NULL, V(x, x, x), NO_ATTRS), "expected booleans");
    ir_value symbolic = add_input(&t, "f32[B,2*B]"), user = add_input(&t, "f32[U,4]");
    expect_refused(&t, try_node(&t, IR_OP_add, NULL, V(symbolic, x), NO_ATTRS), "axis 1");
    expect_refused(&t, try_node(&t, IR_OP_add, NULL, V(user, x), NO_ATTRS), "axis 0");
    lab_close(&t);
}

static void unary(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,4]"), id = add_input(&t, "i64[B]"), byte = add_input(&t, "u8[B]");
    expect_type(&t, node(&t, IR_OP_sigmoid, NULL, V(x), NO_ATTRS), "f32[B, 4]");
    expect_type(&t, node(&t, IR_OP_neg, NULL, V(id), NO_ATTRS), "i64[B]");
    expect_type(&t, node(&t, IR_OP_isnan, NULL, V(x), NO_ATTRS), "bool[B, 4]");
    expect_type(&t, node(&t, IR_OP_cast, NULL, V(id), A(IR_DTYPE(to, MTL_F32))), "f32[B]");
    expect_refused(&t, try_node(&t, IR_OP_cast, NULL, V(id), A(IR_DTYPE(to, 99))), "no element type");
    expect_refused(&t, try_node(&t, IR_OP_sigmoid, NULL, V(id), NO_ATTRS), "operand 0 is i64[B], expected floats");
    expect_refused(&t, try_node(&t, IR_OP_neg, NULL, V(byte), NO_ATTRS), "signed");
    expect_refused(&t, try_node(&t, IR_OP_not, NULL, V(x), NO_ATTRS), "booleans");
    expect_type(&t, node(&t, IR_OP_softmax, NULL, V(x), A(IR_INT(axis, 1))), "f32[B, 4]");
    expect_refused(&t, try_node(&t, IR_OP_softmax, NULL, V(x), A(IR_INT(axis, 3))),
                   "(softmax): axis 3 is out of range for rank 2");
    expect_refused(&t, try_node(&t, IR_OP_softmax, NULL, V(x), NO_ATTRS), "axis");
    expect_refused(&t, try_node(&t, IR_OP_softmax, NULL, V(0), A(IR_INT(axis, 1))), "operand");
    lab_close(&t);
}

static void products(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,8]"), w = add_weights(&t, "f32[8,5]"), v = add_weights(&t, "f32[8]");
    ir_value xs = add_input(&t, "f32[3,B,8]"), ws = add_weights(&t, "f32[3,8,5]");
    ir_value gate = add_input(&t, "f32[B,1,6]"), experts = add_input(&t, "f32[B,6,5]");
    expect_type(&t, node(&t, IR_OP_matmul, NULL, V(x, w), NO_ATTRS), "f32[B, 5]");
    expect_type(&t, node(&t, IR_OP_matmul, NULL, V(x, v), NO_ATTRS), "f32[B]");
    expect_type(&t, node(&t, IR_OP_matmul, NULL, V(v, v), NO_ATTRS), "f32");
    expect_type(&t, node(&t, IR_OP_matmul, NULL, V(v, w), NO_ATTRS), "f32[5]");
    expect_type(&t, node(&t, IR_OP_matmul, NULL, V(v, ws), NO_ATTRS), "f32[3, 5]");
    expect_type(&t, node(&t, IR_OP_matmul, NULL, V(x, ws), NO_ATTRS), "f32[3, B, 5]");
    expect_type(&t, node(&t, IR_OP_matmul, NULL, V(xs, ws), NO_ATTRS), "f32[3, B, 5]");
    expect_type(&t, node(&t, IR_OP_matmul, NULL, V(xs, v), NO_ATTRS), "f32[3, B]");
    expect_type(&t, node(&t, IR_OP_matmul, NULL, V(gate, experts), NO_ATTRS), "f32[B, 1, 5]");
    expect_refused(&t, try_node(&t, IR_OP_matmul, NULL, V(w, x), NO_ATTRS), "inner extents 5 and B");
    expect_refused(&t, try_node(&t, IR_OP_matmul, NULL, V(gate, xs), NO_ATTRS), "inner extents 6 and B");
    expect_refused(&t, try_node(&t, IR_OP_matmul, NULL, V(x, add_weights(&t, "f32")), NO_ATTRS), "no matrix product");
    expect_refused(&t, try_node(&t, IR_OP_matmul, NULL, V(experts, ws), NO_ATTRS), "inner extents 5 and 8");
    ir_value deep = add_input(&t, "f32[B,6,8]");
    expect_refused(&t, try_node(&t, IR_OP_matmul, NULL, V(deep, ws), NO_ATTRS), "broadcast at axis 0");
    ir_attr act[] = {IR_STRING(act, "relu")}, none[] = {IR_STRING(act, "")}, bad[] = {IR_STRING(act, "matmul")};
    ir_value bias = add_weights(&t, "f32[5]"), grouped = add_input(&t, "f32[B,3,8]"),
             biases = add_weights(&t, "f32[3,5]");
    expect_type(&t, node(&t, IR_OP_linear, NULL, V(x, w, bias), act, 1), "f32[B, 5]");
    expect_type(&t, node(&t, IR_OP_linear, NULL, V(grouped, w), none, 1), "f32[B, 3, 5]");
    expect_type(&t, node(&t, IR_OP_linear, NULL, V(grouped, ws, biases), none, 1), "f32[B, 3, 5]");
    ir_value start = add_input(&t, "f32[B,5]"), starts = add_input(&t, "f32[B,3,5]"), one = add_input(&t, "f32[1,5]");
    expect_type(&t, node(&t, IR_OP_linear, NULL, V(x, w, bias, start), act, 1), "f32[B, 5]");
    expect_type(&t, node(&t, IR_OP_linear, NULL, V(x, w, 0, one), act, 1), "f32[B, 5]");
    expect_type(&t, node(&t, IR_OP_linear, NULL, V(grouped, ws, biases, starts), none, 1), "f32[B, 3, 5]");
    expect_type(&t, node(&t, IR_OP_linear, NULL, V(grouped, w, 0, add_input(&t, "f32[B,1,5]")), none, 1),
                "f32[B, 3, 5]");
    expect_refused(&t, try_node(&t, IR_OP_linear, NULL, V(grouped, ws, biases, start), none, 1),
                   "the start is f32[B, 5]");
    expect_refused(&t, try_node(&t, IR_OP_linear, NULL, V(grouped, ws, 0, add_input(&t, "f32[B,1,5]")), none, 1),
                   "expected f32[B, 3, 5], or 1 for extents before the last 2");
    expect_refused(&t, try_node(&t, IR_OP_linear, NULL, V(x, w, 0, add_input(&t, "f32[B,1]")), none, 1),
                   "the start is");
    expect_refused(&t, try_node(&t, IR_OP_linear, NULL, V(grouped, ws, bias), none, 1), "expected f32[3, 5]");
    expect_refused(&t, try_node(&t, IR_OP_linear, NULL, V(xs, ws), none, 1), "no matrix product");
    expect_refused(&t, try_node(&t, IR_OP_linear, NULL, V(x, w), bad, 1), "'matmul' is no activation");
    expect_refused(&t, try_node(&t, IR_OP_linear, NULL, V(x, add_input(&t, "f32[8,5]")), none, 1), "not a constant");
    lab_close(&t);
}

static void along_axes(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,3,8]"), c = add_weights(&t, "f32[3]"), n = add_weights(&t, "f32[8]");
    expect_type(&t, node(&t, IR_OP_reduce_sum, NULL, V(x), A(INTS(axes, 1), IR_INT(keepdims, 0))), "f32[B, 8]");
    expect_type(&t, node(&t, IR_OP_reduce_mean, NULL, V(x), A(INTS(axes, 1, 2), IR_INT(keepdims, 1))), "f32[B, 1, 1]");
    expect_type(&t, node(&t, IR_OP_reduce_max, NULL, V(x), A(INTS(axes, 0, 1, 2), IR_INT(keepdims, 0))), "f32");
    expect_refused(&t, try_node(&t, IR_OP_reduce_sum, NULL, V(x), A(INTS(axes, 3), IR_INT(keepdims, 0))), "axis 3");
    expect_refused(&t, try_node(&t, IR_OP_reduce_sum, NULL, V(x), A(INTS(axes, 1, 1), IR_INT(keepdims, 0))), "follows");
    expect_type(&t, node(&t, IR_OP_layer_norm, NULL, V(x, n, n), A(IR_INT(axis, 2), IR_FLOAT(epsilon, 1e-5))),
                "f32[B, 3, 8]");
    expect_refused(&t, try_node(&t, IR_OP_layer_norm, NULL, V(x, c), A(IR_INT(axis, 2), IR_FLOAT(epsilon, 1e-5))),
                   "the scale is f32[3], expected f32[8]");
    expect_type(&t, node(&t, IR_OP_batch_norm, NULL, V(x, c, c, c, c), A(IR_FLOAT(epsilon, 1e-5))), "f32[B, 3, 8]");
    expect_refused(&t, try_node(&t, IR_OP_batch_norm, NULL, V(x, c, c, n, c), A(IR_FLOAT(epsilon, 1e-5))),
                   "the mean is f32[8]");
    expect_refused(&t, try_node(&t, IR_OP_batch_norm, NULL, V(c, c, c, c, c), A(IR_FLOAT(epsilon, 1e-5))),
                   "no axis of channels");
    expect_type(&t, node(&t, IR_OP_cumsum, NULL, V(x), A(IR_INT(axis, 1), IR_INT(exclusive, 0), IR_INT(reverse, 0))),
                "f32[B, 3, 8]");
    expect_type(&t, node(&t, IR_OP_cumprod, NULL, V(x), A(IR_INT(axis, 1), IR_INT(exclusive, 0), IR_INT(reverse, 0))),
                "f32[B, 3, 8]");
    lab_close(&t);
}

static void recurrent_layers(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value p = add_input(&t, "f32[B,5,12]"), r = add_weights(&t, "f32[3,4,4]"), b = add_weights(&t, "f32[4]");
    ir_value h = add_input(&t, "f32[B,4]"), long_r = add_weights(&t, "f32[3,4,5]"), flat = add_input(&t, "f32[B,12]");
    ir_value narrow = add_input(&t, "f32[B,5,11]"), wide_h = add_input(&t, "f32[B,5]");
    ir_value any = add_input(&t, "f32[B,U,12]");
    ir_attr forward[] = {IR_INT(reverse, 0)}, other[] = {IR_INT(reverse, 2)};
    expect_type(&t, node(&t, IR_OP_gru, NULL, V(p, r), forward, 1), "f32[B, 5, 4]");
    expect_type(&t, node(&t, IR_OP_gru, NULL, V(p, r, b, h), forward, 1), "f32[B, 5, 4]");
    expect_type(&t, node(&t, IR_OP_gru, NULL, V(p, r, 0, h), forward, 1), "f32[B, 5, 4]");
    expect_refused(&t, try_node(&t, IR_OP_gru, NULL, V(p, r), other, 1), "reverse 0 or 1");
    expect_refused(&t, try_node(&t, IR_OP_gru, NULL, V(p, long_r), forward, 1), "expected (B, L, 3 H)");
    expect_refused(&t, try_node(&t, IR_OP_gru, NULL, V(flat, r), forward, 1), "expected (B, L, 3 H)");
    expect_refused(&t, try_node(&t, IR_OP_gru, NULL, V(narrow, r), forward, 1), "expected (B, L, 3 H)");
    expect_refused(&t, try_node(&t, IR_OP_gru, NULL, V(any, r), forward, 1), "with fixed L and H");
    expect_refused(&t, try_node(&t, IR_OP_gru, NULL, V(p, r, r), forward, 1), "expected (B, L, 3 H)");
    expect_refused(&t, try_node(&t, IR_OP_gru, NULL, V(p, r, b, wide_h), forward, 1), "expected (B, L, 3 H)");
    lab_close(&t);
}

static void lookups(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value table = add_weights(&t, "f32[10,8]"), ids = add_input(&t, "i64[B,5]"), w = add_input(&t, "f32[B,5]");
    ir_value wide = add_input(&t, "f64[B,5]"), many = add_input(&t, "i64[B,U]"), empty = add_input(&t, "i64[B,0]");
    ir_attr sum[] = {IR_STRING(function, "sum")}, max[] = {IR_STRING(function, "max")};
    ir_attr mean[] = {IR_FLOAT(low, 1), IR_STRING(function, "mean"), INTS(padding, 0, 0)};
    ir_attr low[] = {IR_FLOAT(low, 1), IR_STRING(function, "sum")}, other[] = {IR_STRING(function, "min")};
    ir_attr fill[] = {IR_STRING(function, "sum"), IR_FLOAT(fill, 1)};
    ir_attr turned[] = {IR_STRING(function, "sum"), INTS(padding, 1, 0)};
    ir_attr row[] = {IR_STRING(function, "sum"), IR_STRING(policy, "row"), IR_INT(row, 10)};
    expect_type(&t, node(&t, IR_OP_bag, NULL, V(table, ids), sum, 1), "f32[B, 8]");
    expect_type(&t, node(&t, IR_OP_bag, NULL, V(table, ids, w), max, 1), "f32[B, 8]");
    expect_type(&t, node(&t, IR_OP_bag, NULL, V(table, ids), mean, 3), "f32[B, 8]");
    expect_type(&t, node(&t, IR_OP_bag, NULL, V(table, empty), sum, 1), "f32[B, 8]");
    expect_refused(&t, try_node(&t, IR_OP_bag, NULL, V(table, empty), max, 1), "of a fixed L");
    expect_refused(&t, try_node(&t, IR_OP_bag, NULL, V(table, many), sum, 1), "of a fixed L");
    expect_refused(&t, try_node(&t, IR_OP_bag, NULL, V(table, w), sum, 1), "expected i32 or i64");
    expect_refused(&t, try_node(&t, IR_OP_bag, NULL, V(table, ids, wide), sum, 1), "weights of their shape");
    expect_refused(&t, try_node(&t, IR_OP_bag, NULL, V(table, ids, w), mean, 3), "weights go with sum and max");
    expect_refused(&t, try_node(&t, IR_OP_bag, NULL, V(table, ids), low, 2), "epsilon and low with mean");
    expect_refused(&t, try_node(&t, IR_OP_bag, NULL, V(table, ids), fill, 2), "fill with max");
    expect_refused(&t, try_node(&t, IR_OP_bag, NULL, V(table, ids), other, 1), "function 'min', expected");
    expect_refused(&t, try_node(&t, IR_OP_bag, NULL, V(table, ids), turned, 2), "the first and the last");
    expect_refused(&t, try_node(&t, IR_OP_bag, NULL, V(table, ids), row, 3), "row 10 is outside of a table of 10");
    ir_attr zero[] = {IR_INT(axis, 0), IR_STRING(policy, "zero")};
    ir_attr none[] = {IR_INT(axis, 0), IR_STRING(policy, "wrap")}, bare[] = {IR_INT(axis, 0), IR_INT(row, 1)};
    ir_attr named[] = {IR_INT(axis, 0), IR_STRING(input, "x")};
    expect_type(&t, node(&t, IR_OP_gather, NULL, V(table, ids), zero, 2), "f32[B, 5, 8]");
    expect_refused(&t, try_node(&t, IR_OP_gather, NULL, V(table, ids), none, 2), "policy 'wrap', expected");
    expect_refused(&t, try_node(&t, IR_OP_gather, NULL, V(table, ids), bare, 2), "row without policy");
    expect_refused(&t, try_node(&t, IR_OP_gather, NULL, V(table, ids), named, 2), "go with a policy");
    lab_close(&t);
}

static void attention(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value q = add_input(&t, "f32[B,5,9]"), k = add_input(&t, "f32[B,4,7]"), v = add_input(&t, "f32[1,4,2]");
    ir_value keep = add_input(&t, "bool[B,1,1,4]"), bias = add_input(&t, "f32[1,2,5,4]");
    ir_value any = add_input(&t, "f32[B,U,9]"), few = add_input(&t, "f32[B,3,2]");
#define ATTENTION(first, size, text)                                                                                   \
    A(INTS(starts, first, 1, 0), IR_INT(heads, 2), INTS(sizes, size, 1), IR_FLOAT(scale, 1), IR_STRING(empty, text),   \
      IR_FLOAT(fill, 0))
    expect_type(&t, node(&t, IR_OP_attention, NULL, V(q, k, v), ATTENTION(3, 3, "nan")), "f32[B, 5, 2]");
    expect_type(&t, node(&t, IR_OP_attention, NULL, V(q, k, v, bias, keep), ATTENTION(0, 3, "zero")), "f32[B, 5, 2]");
    expect_type(&t, node(&t, IR_OP_attention, NULL, V(q, k, v, 0, keep), ATTENTION(0, 3, "nan_is_zero")),
                "f32[B, 5, 2]");
    expect_refused(&t, try_node(&t, IR_OP_attention, NULL, V(q, k, v), ATTENTION(4, 3, "nan")), "as many columns");
    expect_refused(&t, try_node(&t, IR_OP_attention, NULL, V(q, k, v), ATTENTION(0, 4, "nan")), "as many columns");
    expect_refused(&t, try_node(&t, IR_OP_attention, NULL, V(q, k, v), ATTENTION(0, 3, "one")), "for what is empty");
    expect_refused(&t, try_node(&t, IR_OP_attention, NULL, V(any, k, v), ATTENTION(0, 3, "nan")), "with fixed L");
    expect_refused(&t, try_node(&t, IR_OP_attention, NULL, V(q, k, few), ATTENTION(0, 3, "nan")), "v (B, M, .)");
    expect_refused(&t, try_node(&t, IR_OP_attention, NULL, V(q, k, v, keep), ATTENTION(0, 3, "nan")),
                   "masks (B, H, L, M)");
#undef ATTENTION
    lab_close(&t);
}

static void mixtures(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value gates = add_input(&t, "f32[B,2,3]"), experts = add_input(&t, "f32[B,4,8]");
    ir_value fixed = add_weights(&t, "f32[1,2,3]"), many = add_input(&t, "f32[B,U,8]");
    ir_value user = add_input(&t, "f32[U,2,3]"), wide = add_input(&t, "f64[B,4,8]"), flat = add_input(&t, "f32[B,3]");
    ir_attr softmax[] = {IR_STRING(function, "softmax"), INTS(index, 0, 1, 2, 3, 1, 2)};
    ir_attr plain[] = {IR_STRING(function, ""), INTS(index, 0, 1, 2, 3, 1, 2)};
    ir_attr other[] = {IR_STRING(function, "relu"), INTS(index, 0, 1, 2, 3, 1, 2)};
    ir_attr beyond[] = {IR_STRING(function, ""), INTS(index, 0, 1, 2, 4, 1, 2)};
    ir_attr before[] = {IR_STRING(function, ""), INTS(index, 0, 1, 2, -1, 1, 2)};
    ir_attr fewer[] = {IR_STRING(function, ""), INTS(index, 0, 1, 2, 3, 1)};
    expect_type(&t, node(&t, IR_OP_mix, NULL, V(gates, experts), softmax, 2), "f32[B, 2, 8]");
    expect_type(&t, node(&t, IR_OP_mix, NULL, V(fixed, experts), plain, 2), "f32[B, 2, 8]");
    expect_refused(&t, try_node(&t, IR_OP_mix, NULL, V(gates, experts), other, 2), "function 'relu', expected");
    expect_refused(&t, try_node(&t, IR_OP_mix, NULL, V(gates, experts), beyond, 2), "index 4 is out of range for 4");
    expect_refused(&t, try_node(&t, IR_OP_mix, NULL, V(gates, experts), before, 2), "index -1 is out of range");
    expect_refused(&t, try_node(&t, IR_OP_mix, NULL, V(gates, experts), fewer, 2),
                   "5 numbers in index, expected 2 x 3");
    expect_refused(&t, try_node(&t, IR_OP_mix, NULL, V(user, experts), plain, 2), "expected weights (B, T, E)");
    expect_refused(&t, try_node(&t, IR_OP_mix, NULL, V(gates, many), plain, 2), "with fixed T, E and M");
    expect_refused(&t, try_node(&t, IR_OP_mix, NULL, V(flat, experts), plain, 2), "expected weights (B, T, E)");
    expect_refused(&t, try_node(&t, IR_OP_mix, NULL, V(gates, wide), plain, 2), "differ in type");
    expect_refused(&t, try_node(&t, IR_OP_mix, NULL, V(gates, experts), softmax, 1), "index");
    lab_close(&t);
}

static ir_value chain(lab *t, const char *program, const ir_value *operands, size_t count)
{
    return try_node(t, IR_OP_chain, NULL, operands, count, (ir_attr[]){IR_STRING(program, program)}, 1);
}

static void chains(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,2,3]"), r = add_input(&t, "f32[B,2,3]"), gate = add_input(&t, "f32[B,1,1]");
    ir_value each = add_weights(&t, "f32[1,2,3]"), column = add_weights(&t, "f32[3]"), number = add_weights(&t, "f32");
    ir_value group = add_weights(&t, "f32[2,1]"), wide = add_weights(&t, "f64[3]"), n = add_input(&t, "i64[B,2,3]");
    ir_value more = add_input(&t, "f32[1,B,2,3]"), user = add_input(&t, "f32[U,3]"), last = add_input(&t, "f32[2,U,3]");
    expect_type(&t, chain(&t, "prelu 1; 2 sub; mul 3; add 4; clip(-1, 1); fmod 2; relu", V(x, column, each, number, r)),
                "f32[B, 2, 3]");
    expect_type(&t, chain(&t, "selu(1.5, 0.1f); gelu(1)", V(user)), "f32[U, 3]");
    static const char *const broken[] = {
        "",         "relu;",       "relu; ",   "relu;exp", " relu",        "relu ",     "relu 1",    "add",
        "add 0",    "add 01",      "add -1",   "0 add",    "1 relu",       "1add",      "add  1",    "less 1",
        "and 1",    "not",         "identity", "softmax",  "clip",         "clip(1)",   "clip(1,2)", "clip(1, 2",
        "elu(nan)", "elu(1, 2)",   "elu()",    "elu 1",    "relu(1)",      "gelu(0.5)", "mod(1) 1",  "mod 1 1",
        "add 1; 1", "gelu(1e300)", "isnan",    "where 1",  "add 99999999", "sigmoid,",
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        expect_refused(&t, chain(&t, broken[i], V(x, r)), "program '");
    }
    expect_refused(&t, chain(&t, "relu; subb 1", V(x, r)), "at character 7, expected a function");
    expect_refused(&t, chain(&t, "relu; add 2", V(x, r)), "has operand 2 of 2");
    expect_refused(&t, chain(&t, "add 1", V(x, gate)), "operand 1 is f32[B, 1, 1], expected f32[B, 2, 3] or its last");
    expect_refused(&t, chain(&t, "add 1", V(x, group)), "operand 1 is f32[2, 1]");
    expect_refused(&t, chain(&t, "add 1", V(x, wide)), "operand 1 is f64[3]");
    expect_refused(&t, chain(&t, "add 1", V(x, more)), "operand 1 is f32[1, B, 2, 3]");
    expect_refused(&t, chain(&t, "add 1", V(last, user)), "operand 1 is f32[U, 3]");
    expect_refused(&t, chain(&t, "add 1", V(column, x)), "operand 1 is f32[B, 2, 3]");
    expect_refused(&t, chain(&t, "neg", V(n)), "operand 0 is i64[B, 2, 3], expected floats");
    char many[512] = "relu";
    for (int i = 1; i < 32; i++) {
        strcat(many, "; relu");
    }
    expect_type(&t, chain(&t, many, V(x)), "f32[B, 2, 3]");
    expect_refused(&t, chain(&t, strcat(many, "; relu"), V(x)), "expected a function");
    lab_close(&t);
}

static void activations_of_scans(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,3]"), n = add_input(&t, "i64[B,3]");
    ir_attr attrs[] = {IR_INT(axis, 1), IR_INT(exclusive, 0), IR_INT(reverse, 0), IR_STRING(act, "sigmoid")};
    expect_type(&t, node(&t, IR_OP_cumsum, NULL, V(x), attrs, 4), "f32[B, 3]");
    expect_refused(&t, try_node(&t, IR_OP_cumsum, NULL, V(n), attrs, 4), "operand 0 is i64[B, 3], expected floats");
    attrs[3].text = "softmax";
    expect_refused(&t, try_node(&t, IR_OP_cumprod, NULL, V(x), attrs, 4), "'softmax' is no activation");
    lab_close(&t);
}

static void moving_elements(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,3,8]"), ids = add_input(&t, "i64[B,2]"), table = add_weights(&t, "f32[100,16]");
    expect_type(&t, node(&t, IR_OP_transpose, NULL, V(x), A(INTS(perm, 1, 0, 2))), "f32[3, B, 8]");
    expect_refused(&t, try_node(&t, IR_OP_transpose, NULL, V(x), A(INTS(perm, 1, 1, 2))), "no permutation");
    expect_refused(&t, try_node(&t, IR_OP_transpose, NULL, V(x), A(INTS(perm, 1, 0))), "no permutation");
    expect_type(&t, node(&t, IR_OP_concat, NULL, V(x, x), A(IR_INT(axis, 0))), "f32[2*B, 3, 8]");
    expect_type(&t, node(&t, IR_OP_concat, NULL, V(x, x, x), A(IR_INT(axis, 2))), "f32[B, 3, 24]");
    expect_refused(&t, try_node(&t, IR_OP_concat, NULL, V(x, add_input(&t, "f32[B,4,8]")), A(IR_INT(axis, 2))),
                   "operand 1 is f32[B, 4, 8], which does not fit to f32[B, 3, 8] along axis 2");
    expect_type(&t, node(&t, IR_OP_gather, NULL, V(table, ids), A(IR_INT(axis, 0))), "f32[B, 2, 16]");
    expect_type(&t, node(&t, IR_OP_gather, NULL, V(x, SCALAR(&t, -1)), A(IR_INT(axis, 1))), "f32[B, 8]");
    expect_refused(&t, try_node(&t, IR_OP_gather, NULL, V(x, SCALAR(&t, 3)), A(IR_INT(axis, 1))),
                   "index 3 is out of range for extent 3");
    expect_refused(&t, try_node(&t, IR_OP_gather, NULL, V(x, x), A(IR_INT(axis, 1))), "expected i32 or i64");
    ir_value places = add_input(&t, "i64[B]"), wrong = add_input(&t, "i64[3]");
    expect_type(&t, node(&t, IR_OP_batch_gather, NULL, V(x, places), A(IR_INT(axis, 1))), "f32[B, 8]");
    expect_type(&t, node(&t, IR_OP_batch_gather, NULL, V(x, ids), A(IR_INT(axis, 1))), "f32[B, 2, 8]");
    expect_refused(&t, try_node(&t, IR_OP_batch_gather, NULL, V(x, wrong), A(IR_INT(axis, 1))), "the first 1 axes of");
    expect_refused(&t, try_node(&t, IR_OP_batch_gather, NULL, V(x, x), A(IR_INT(axis, 1))), "expected i32 or i64");
    expect_refused(&t, try_node(&t, IR_OP_batch_gather, NULL, V(x, places), A(IR_INT(axis, 2))), "the first 2 axes");
    expect_type(&t, node(&t, IR_OP_top_k, NULL, V(x), A(IR_INT(axis, 2), IR_INT(k, 5), IR_INT(largest, 1))),
                "i64[B, 3, 5]");
    expect_refused(&t, try_node(&t, IR_OP_top_k, NULL, V(x), A(IR_INT(axis, 1), IR_INT(k, 4), IR_INT(largest, 1))),
                   "at least one of the fixed extent of axis 1");
    expect_refused(&t, try_node(&t, IR_OP_top_k, NULL, V(x), A(IR_INT(axis, 0), IR_INT(k, 1), IR_INT(largest, 1))),
                   "fixed extent of axis 0");
    expect_refused(&t, try_node(&t, IR_OP_top_k, NULL, V(x), A(IR_INT(axis, 1), IR_INT(k, 0), IR_INT(largest, 0))),
                   "k 0");
    expect_refused(&t, try_node(&t, IR_OP_top_k, NULL, V(x), A(IR_INT(axis, 1), IR_INT(k, 1), IR_INT(largest, 2))),
                   "largest 2");
    expect_type(&t, node(&t, IR_OP_slice, "f32[B,2,4]", V(x), A(INTS(starts, 0, 1, 7), INTS(steps, 1, 1, -2))),
                "f32[B, 2, 4]");
    expect_refused(&t, try_node(&t, IR_OP_slice, "f32[B,3,4]", V(x), A(INTS(starts, 0, 1, 0), INTS(steps, 1, 1, 2))),
                   "start 1, step 1 and extent 3 at axis 1 leave f32[B, 3, 8]");
    expect_refused(&t, try_node(&t, IR_OP_slice, "f32[2,3,8]", V(x), A(INTS(starts, 0, 0, 0), INTS(steps, 1, 1, 1))),
                   "axis 0");
    expect_refused(&t, try_node(&t, IR_OP_slice, "f32[B,3,5]", V(x), A(INTS(starts, 0, 0, 0), INTS(steps, 1, 1, 2))),
                   "axis 2");
    expect_type(&t, node(&t, IR_OP_slice, "f32[1,3,8]", V(x), A(INTS(starts, 0, 0, 0), INTS(steps, 1, 1, 1))),
                "f32[1, 3, 8]");
    expect_refused(&t, try_node(&t, IR_OP_slice, NULL, V(x), A(INTS(starts, 0, 0, 0), INTS(steps, 1, 1, 1))),
                   "missing");
    lab_close(&t);
}

static void given_targets(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,3,8]"), one = add_input(&t, "f32[B,1,8]"), both = add_input(&t, "f32[B,U]");
    expect_type(&t, node(&t, IR_OP_reshape, "f32[24*B]", V(x), NO_ATTRS), "f32[24*B]");
    expect_type(&t, node(&t, IR_OP_reshape, "f32[4,6*B]", V(x), NO_ATTRS), "f32[4, 6*B]");
    expect_type(&t, node(&t, IR_OP_reshape, "f32[U,1,B]", V(both), NO_ATTRS), "f32[U, 1, B]");
    expect_refused(&t, try_node(&t, IR_OP_reshape, "f32[B,23]", V(x), NO_ATTRS),
                   "f32[B, 3, 8] cannot be reshaped to f32[B, 23]");
    expect_refused(&t, try_node(&t, IR_OP_reshape, "f32[B,B]", V(both), NO_ATTRS), "cannot be reshaped");
    expect_refused(&t, try_node(&t, IR_OP_reshape, "f32[24]", V(x), NO_ATTRS), "cannot be reshaped");
    expect_refused(&t, try_node(&t, IR_OP_reshape, NULL, V(x), NO_ATTRS), "missing");
    expect_type(&t, node(&t, IR_OP_expand, "f32[2,B,3,8]", V(one), NO_ATTRS), "f32[2, B, 3, 8]");
    expect_refused(&t, try_node(&t, IR_OP_expand, "f32[B,6,8]", V(x), NO_ATTRS), "cannot be expanded");
    expect_refused(&t, try_node(&t, IR_OP_expand, "f32[3,8]", V(x), NO_ATTRS), "cannot be expanded");
    lab_close(&t);
}

/* Shape, Gather, Concat, Reshape, as exporters write `x.view(x.size(0), -1)` and its relatives. */
static void shape_chains(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value x = add_input(&t, "f32[B,6,8]");
    ir_value shape = node(&t, IR_OP_shape, NULL, V(x), NO_ATTRS);
    expect_content(&t, shape, "B 6 8");
    ir_value rows = node(&t, IR_OP_gather, NULL, V(shape, SCALAR(&t, 0)), A(IR_INT(axis, 0)));
    expect_content(&t, rows, "B");
    ir_value row1 = node(&t, IR_OP_reshape, NULL, V(rows, VECTOR(&t, 1)), NO_ATTRS);
    expect_type(&t, row1, "i64[1]");
    ir_value target = node(&t, IR_OP_concat, NULL, V(row1, VECTOR(&t, -1)), A(IR_INT(axis, 0)));
    expect_content(&t, target, "B -1");
    expect_type(&t, node(&t, IR_OP_reshape, NULL, V(x, target), NO_ATTRS), "f32[B, 48]");
    ir_value wide = node(&t, IR_OP_mul, NULL, V(row1, VECTOR(&t, 6)), NO_ATTRS);
    target = node(&t, IR_OP_concat, NULL, V(wide, VECTOR(&t, -1)), A(IR_INT(axis, 0)));
    ir_value flat = node(&t, IR_OP_reshape, NULL, V(x, target), NO_ATTRS);
    expect_type(&t, flat, "f32[6*B, 8]");
    target = node(&t, IR_OP_concat, NULL, V(VECTOR(&t, -1, 6), VECTOR(&t, 8)), A(IR_INT(axis, 0)));
    expect_type(&t, node(&t, IR_OP_reshape, NULL, V(flat, target), NO_ATTRS), "f32[B, 6, 8]");
    expect_type(&t, node(&t, IR_OP_reshape, NULL, V(flat, VECTOR(&t, 2, -1)), NO_ATTRS), "f32[2, 24*B]");
    expect_refused(&t, try_node(&t, IR_OP_reshape, NULL, V(flat, VECTOR(&t, -1, 7)), NO_ATTRS),
                   "no extent at axis 0 fits");
    expect_refused(&t, try_node(&t, IR_OP_reshape, NULL, V(flat, VECTOR(&t, -1, -1)), NO_ATTRS), "axes 0 and 1");
    ir_value data = add_input(&t, "i64[2]");
    expect_refused(&t, try_node(&t, IR_OP_reshape, NULL, V(x, data), NO_ATTRS), "the target shape depends on data");
    expect_refused(&t, try_node(&t, IR_OP_expand, NULL, V(x, data), NO_ATTRS), "the target shape depends on data");
    expect_refused(&t, try_node(&t, IR_OP_reshape, NULL, V(x, rows), NO_ATTRS), "expected i64[rank]");
    /* to a scalar, with an empty shape */
    ir_value empty = add_ints(&t, 1, 0, (int64_t[]){0});
    expect_type(&t, node(&t, IR_OP_reshape, NULL, V(add_weights(&t, "f32[1,1]"), empty), NO_ATTRS), "f32");
    /* expand: where(shape == -1, ones, shape), as torch writes it */
    ir_value wish = node(&t, IR_OP_concat, NULL, V(row1, VECTOR(&t, -1, 8)), A(IR_INT(axis, 0)));
    ir_value open = node(&t, IR_OP_equal, NULL, V(wish, VECTOR(&t, -1)), NO_ATTRS);
    expect_content(&t, open, "0 1 0");
    ir_value extents = node(&t, IR_OP_where, NULL, V(open, VECTOR(&t, 1, 1, 1), wish), NO_ATTRS);
    expect_content(&t, extents, "B 1 8");
    expect_type(&t, node(&t, IR_OP_expand, NULL, V(add_weights(&t, "f32[6,8]"), extents), NO_ATTRS), "f32[B, 6, 8]");
    expect_refused(&t, try_node(&t, IR_OP_expand, NULL, V(x, wish), NO_ATTRS), "-1 at axis 1");
    expect_refused(&t, try_node(&t, IR_OP_expand, NULL, V(add_weights(&t, "f32[6,7]"), extents), NO_ATTRS),
                   "does not broadcast with the target shape");
    lab_close(&t);
}

static ir_value rows_of(lab *t)
{
    ir_value shape = node(t, IR_OP_shape, NULL, V(add_input(t, "f32[B,6]")), NO_ATTRS);
    return node(t, IR_OP_gather, NULL, V(shape, VECTOR(t, 0)), A(IR_INT(axis, 0)));
}

static void arithmetic_contents(void **state)
{
    static const struct {
        ir_op op;
        int64_t times, plus, operand; /* op(times x B + plus, operand) */
        const char *want;
    } cases[] = {
        {IR_OP_add, 1, 0, 3, "B+3"},
        {IR_OP_sub, 2, 0, 3, "2*B-3"},
        {IR_OP_mul, 2, 1, 3, "6*B+3"},
        {IR_OP_div, 4, 0, 4, "B"},
        {IR_OP_div, 4, 3, 4, "B"},
        {IR_OP_div, 4, 0, 3, NULL},
        {IR_OP_div, 4, 4, 4, "B+1"},
        {IR_OP_div, 4, -1, 4, "B-1"},
        {IR_OP_div, 1, -5, 1, "B-5"},
        {IR_OP_div, 4, 0, 0, NULL},
        {IR_OP_mod, 4, 0, 4, "0"},
        {IR_OP_mod, 4, 3, 4, "3"},
        {IR_OP_mod, 4, -1, 4, "3"},
        {IR_OP_mod, 1, 0, 2, NULL},
        {IR_OP_min, 1, 0, 1, "1"},
        {IR_OP_max, 1, 0, 1, "B"},
        {IR_OP_max, 1, 0, 2, NULL},
        {IR_OP_equal, 1, 0, 1, NULL},
        {IR_OP_equal, 2, 0, 1, "0"},
        {IR_OP_equal, 0, 7, 7, "1"},
        {IR_OP_less, 1, 0, 1, "0"},
        {IR_OP_less, 1, 0, 2, NULL},
        {IR_OP_greater, 1, 0, 0, "1"},
        {IR_OP_less_or_equal, 1, 0, 0, "0"},
        {IR_OP_greater_or_equal, 1, 0, 1, "1"},
        {IR_OP_div, 0, -7, 2, "-3"},
        {IR_OP_mod, 0, -7, 2, "1"},
        {IR_OP_mod, 0, 7, -2, "-1"},
        {IR_OP_mul, 1, 0, INT64_MAX, "9223372036854775807*B"},
        {IR_OP_mul, 2, 0, INT64_MAX, NULL},
        {IR_OP_mul, 0, INT64_MIN, -1, NULL},
        {IR_OP_div, 0, INT64_MIN, -1, NULL},
        {IR_OP_mod, 0, INT64_MIN, -1, "0"},
    };
    lab t;
    (void)state;
    lab_open(&t);
    ir_value rows = rows_of(&t);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ir_attr fmod[] = {IR_INT(fmod, 0)};
        ir_value a = node(&t, IR_OP_mul, NULL, V(rows, VECTOR(&t, cases[i].times)), NO_ATTRS);
        a = node(&t, IR_OP_add, NULL, V(a, VECTOR(&t, cases[i].plus)), NO_ATTRS);
        ir_value result =
            node(&t, cases[i].op, NULL, V(a, VECTOR(&t, cases[i].operand)), fmod, cases[i].op == IR_OP_mod ? 1 : 0);
        expect_content(&t, result, cases[i].want);
    }
    ir_value squared = node(&t, IR_OP_mul, NULL, V(rows, rows), NO_ATTRS);
    expect_content(&t, squared, NULL);
    expect_content(&t, node(&t, IR_OP_div, NULL, V(rows, rows), NO_ATTRS), "1");
    expect_content(&t, node(&t, IR_OP_sub, NULL, V(rows, rows), NO_ATTRS), "0");
    expect_content(&t, node(&t, IR_OP_mod, NULL, V(VECTOR(&t, -7), VECTOR(&t, 2)), A(IR_INT(fmod, 1))), "-1");
    lab_close(&t);
}

static void other_contents(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value shape = node(&t, IR_OP_shape, NULL, V(add_input(&t, "f32[B,6,8]")), NO_ATTRS);
    ir_value tail = node(&t, IR_OP_slice, "i64[2]", V(shape), A(INTS(starts, 1), INTS(steps, 1)));
    expect_content(&t, tail, "6 8");
    expect_content(&t, node(&t, IR_OP_slice, "i64[3]", V(shape), A(INTS(starts, 2), INTS(steps, -1))), "8 6 B");
    expect_content(&t, node(&t, IR_OP_reduce_prod, NULL, V(tail), A(INTS(axes, 0), IR_INT(keepdims, 0))), "48");
    expect_content(&t, node(&t, IR_OP_reduce_prod, NULL, V(shape), A(INTS(axes, 0), IR_INT(keepdims, 1))), "48*B");
    expect_content(&t, node(&t, IR_OP_reduce_sum, NULL, V(shape), A(INTS(axes, 0), IR_INT(keepdims, 1))), "B+14");
    expect_content(&t, node(&t, IR_OP_reduce_max, NULL, V(tail), A(INTS(axes, 0), IR_INT(keepdims, 1))), "8");
    expect_content(&t, node(&t, IR_OP_reduce_min, NULL, V(shape), A(INTS(axes, 0), IR_INT(keepdims, 1))), NULL);
    expect_content(&t, node(&t, IR_OP_reduce_mean, NULL, V(tail), A(INTS(axes, 0), IR_INT(keepdims, 1))), NULL);
    expect_content(&t, node(&t, IR_OP_transpose, NULL, V(shape), A(INTS(perm, 0))), "B 6 8");
    ir_value narrow = node(&t, IR_OP_cast, NULL, V(shape), A(IR_DTYPE(to, MTL_I32)));
    expect_content(&t, narrow, "B 6 8");
    expect_content(&t, node(&t, IR_OP_cast, NULL, V(shape), A(IR_DTYPE(to, MTL_BOOL))), "1 1 1");
    expect_content(&t, node(&t, IR_OP_cast, NULL, V(shape), A(IR_DTYPE(to, MTL_U8))), NULL);
    expect_content(&t, node(&t, IR_OP_cast, NULL, V(VECTOR(&t, 300)), A(IR_DTYPE(to, MTL_I8))), NULL);
    expect_content(&t, node(&t, IR_OP_cast, NULL, V(shape), A(IR_DTYPE(to, MTL_F32))), NULL);
    expect_content(&t, node(&t, IR_OP_cast, NULL, V(add_weights(&t, "f32[3]")), A(IR_DTYPE(to, MTL_I64))), "-1 5 1");
    expect_content(&t, node(&t, IR_OP_neg, NULL, V(shape), NO_ATTRS), "-B -6 -8");
    expect_content(&t, node(&t, IR_OP_abs, NULL, V(VECTOR(&t, -3, 0, 3)), NO_ATTRS), "3 0 3");
    expect_content(&t, node(&t, IR_OP_sign, NULL, V(VECTOR(&t, -3, 0, 3)), NO_ATTRS), "-1 0 1");
    expect_content(&t, node(&t, IR_OP_sign, NULL, V(shape), NO_ATTRS), "1 1 1");
    expect_content(&t, node(&t, IR_OP_clip, NULL, V(shape), A(IR_FLOAT(low, 1), IR_FLOAT(high, 1e300))), "B 6 8");
    expect_content(&t, node(&t, IR_OP_expand, NULL, V(SCALAR(&t, 5), VECTOR(&t, 3)), NO_ATTRS), "5 5 5");
    expect_content(&t, node(&t, IR_OP_gather, NULL, V(shape, VECTOR(&t, -1, 0)), A(IR_INT(axis, 0))), "8 B");
    expect_refused(&t, try_node(&t, IR_OP_gather, NULL, V(shape, VECTOR(&t, 0, -4)), A(IR_INT(axis, 0))), "index -4");
    lab_close(&t);
}

static void ranges(void **state)
{
    lab t;
    (void)state;
    lab_open(&t);
    ir_value rows = node(&t, IR_OP_reshape, "i64", V(rows_of(&t)), NO_ATTRS);
    ir_value zero = SCALAR(&t, 0), one = SCALAR(&t, 1), two = SCALAR(&t, 2), seven = SCALAR(&t, 7);
    ir_value range = node(&t, IR_OP_range, NULL, V(zero, seven, two), NO_ATTRS);
    expect_type(&t, range, "i64[4]");
    expect_content(&t, range, "0 2 4 6");
    range = node(&t, IR_OP_range, NULL, V(seven, zero, SCALAR(&t, -3)), NO_ATTRS);
    expect_content(&t, range, "7 4 1");
    expect_type(&t, node(&t, IR_OP_range, NULL, V(seven, zero, one), NO_ATTRS), "i64[0]");
    range = node(&t, IR_OP_range, NULL, V(zero, rows, one), NO_ATTRS);
    expect_type(&t, range, "i64[B]");
    expect_content(&t, range, NULL);
    ir_value twice = node(&t, IR_OP_add, NULL, V(rows, two), NO_ATTRS);
    expect_content(&t, node(&t, IR_OP_range, NULL, V(rows, twice, one), NO_ATTRS), "B B+1");
    expect_refused(&t, try_node(&t, IR_OP_range, NULL, V(zero, rows, two), NO_ATTRS), "not linear");
    expect_refused(&t, try_node(&t, IR_OP_range, NULL, V(zero, rows, zero), NO_ATTRS), "not linear");
    expect_refused(&t, try_node(&t, IR_OP_range, NULL, V(zero, add_input(&t, "i64"), one), NO_ATTRS),
                   "depends on data");
    expect_refused(&t, try_node(&t, IR_OP_range, NULL, V(zero, VECTOR(&t, 1, 2), one), NO_ATTRS), "expected a scalar");
    ir_value half = 0, five = 0;
    assert_int_equal(ir_add_const_float(t.graph, 0.5, MTL_F32, &t.diag, &half), MTL_OK);
    assert_int_equal(ir_add_const_float(t.graph, 5, MTL_F32, &t.diag, &five), MTL_OK);
    expect_type(&t, node(&t, IR_OP_range, NULL, V(half, five, half), NO_ATTRS), "f32[9]");
    lab_close(&t);
}

/* --- any operation on anything: refused with words, or valid ------------------------------------------------------- */

static uint32_t seed = 1;

static uint32_t random_below(uint32_t bound)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % bound;
}

static int64_t random_number(void)
{
    static const int64_t odd[] = {INT64_MIN, INT64_MAX, INT64_MIN + 1, -2, -1, 63, 64, INT32_MAX};
    return random_below(4) == 0 ? odd[random_below(8)] : (int64_t)random_below(4);
}

/* All attributes that `op` must have, with random values in `ints` (8 an attribute). */
static size_t random_attrs(ir_op op, ir_attr *attrs, int64_t *ints)
{
    static const char *const texts[] = {"", "relu", "not", "nonsense"};
    size_t count = 0;
    for (int key = 0; key < IR_ATTR_COUNT; key++) {
        if ((ir_op_table(op)->required >> key & 1u) == 0) {
            continue;
        }
        ir_attr *attr = &attrs[count];
        *attr =
            (ir_attr){.key = (ir_attr_key)key, .i = random_number(), .f = (double)random_number(), .text = texts[0]};
        attr->text = texts[random_below(4)];
        attr->ints = ints + 8 * count;
        attr->count = random_below(5);
        for (size_t i = 0; i < 8; i++) {
            ints[8 * count + i] = random_number();
        }
        count++;
    }
    return count;
}

static ir_type random_type(lab *t, ir_value like)
{
    ir_type type = *ir_type_of(t->graph, like);
    for (int32_t i = 0; i < type.rank; i++) {
        if (random_below(3) == 0) {
            type.dim[i] = random_below(2) == 0 ? ir_dim_symbol(IR_SYMBOL_ROWS) : ir_dim_const(random_number());
        }
    }
    return type;
}

static void any_operation_on_anything(void **state)
{
    static const char *const inputs[] = {"f32[B,3]", "f32[3]", "f32",   "i64[B]",     "bool[3]",   "i64[3]",
                                         "i32[2,B]", "f32[0]", "u8[3]", "f32[B,1,3]", "f32[U,B,B]"};
    size_t made = 0;
    (void)state;
    for (uint32_t round = 0; round < 400; round++) {
        lab t;
        ir_value pool[64];
        uint32_t count = 0;
        lab_open(&t);
        for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
            pool[count++] = add_input(&t, inputs[i]);
        }
        pool[count++] = VECTOR(&t, random_number(), random_number(), random_number());
        pool[count++] = VECTOR(&t, 0, 1, -1);
        pool[count++] = SCALAR(&t, random_number());
        pool[count++] = SCALAR(&t, 1);
        pool[count++] = add_weights(&t, "f32[3,3]");
        pool[count++] = node(&t, IR_OP_shape, NULL, V(pool[0]), NO_ATTRS);
        for (int tries = 0; tries < 300 && count < 64; tries++) {
            ir_op op = (ir_op)random_below(IR_OP_COUNT);
            const ir_op_info *info = ir_op_table(op);
            ir_attr attrs[IR_ATTR_COUNT];
            int64_t ints[8 * IR_ATTR_COUNT];
            ir_value operands[5], result = 0;
            size_t attr_count = random_attrs(op, attrs, ints);
            size_t operand_count =
                (size_t)(random_below(2) == 0 || info->max_inputs < 0 ? info->min_inputs : info->max_inputs);
            for (size_t i = 0; i < 5; i++) {
                operands[i] = pool[random_below(count)];
            }
            ir_type type = random_type(&t, operands[0]);
            bool typed = (op == IR_OP_slice || op == IR_OP_reshape || op == IR_OP_expand) && operand_count == 1;
            t.diag.failed = 0;
            t.error.message[0] = '\0';
            mtl_status status = ir_insert_typed(t.graph, 0, op, NULL, operands, operand_count, attrs, attr_count,
                                                typed ? &type : NULL, &t.diag, &result);
            assert_true(status == MTL_OK || strstr(t.error.message, info->name) != NULL);
            assert_true(status != MTL_INTERNAL);
            if (status == MTL_OK) {
                pool[count++] = result;
                made++;
            }
        }
        t.diag.failed = 0;
        if (ir_verify(t.graph, &t.diag) != MTL_OK || ir_infer_rates(t.graph, &t.diag) != MTL_OK) {
            fail_msg("%s", t.error.message);
        }
        lab_close(&t);
    }
    assert_true(made > 5000); /* the test is not empty */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broadcasting),
        cmocka_unit_test(unary),
        cmocka_unit_test(products),
        cmocka_unit_test(along_axes),
        cmocka_unit_test(recurrent_layers),
        cmocka_unit_test(attention),
        cmocka_unit_test(mixtures),
        cmocka_unit_test(lookups),
        cmocka_unit_test(moving_elements),
        cmocka_unit_test(chains),
        cmocka_unit_test(activations_of_scans),
        cmocka_unit_test(given_targets),
        cmocka_unit_test(shape_chains),
        cmocka_unit_test(arithmetic_contents),
        cmocka_unit_test(other_contents),
        cmocka_unit_test(ranges),
        cmocka_unit_test(any_operation_on_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
