/* ir/graph.c, read.c, names.c, tables.c and verify.c: building, changing, asking; every invariant broken once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ir/graph.h"

typedef struct fixture {
    base_arena arena;
    mtl_error error;
    base_diag diag;
    ir_graph *graph;
    ir_value x, w, h, y; /* y = relu(h), h = matmul(x, w) */
} fixture;

static int setup(void **state)
{
    static fixture f;
    f = (fixture){0};
    f.diag.error = &f.error;
    *state = &f;
    static const double numbers[6] = {1, 2, 3, 4, 5, 6};
    ir_type type = {.dtype = MTL_F32, .rank = 2, .dim = {ir_dim_symbol(0), ir_dim_const(3)}};
    ir_tensor tensor = {.dtype = MTL_F32, .rank = 2, .shape = {3, 2}, .count = 6, .f = numbers};
    return ir_graph_new(&f.arena, &f.diag, &f.graph) != MTL_OK ||
           ir_add_input(f.graph, "x", &type, &f.diag, &f.x) != MTL_OK ||
           ir_add_const(f.graph, "w", &tensor, &f.diag, &f.w) != MTL_OK ||
           ir_insert(f.graph, 0, IR_OP_matmul, "h", (ir_value[]){f.x, f.w}, 2, NULL, 0, &f.diag, &f.h) != MTL_OK ||
           ir_insert(f.graph, 0, IR_OP_relu, "y", &f.h, 1, NULL, 0, &f.diag, &f.y) != MTL_OK ||
           ir_add_output(f.graph, "score", f.y, &f.diag) != MTL_OK;
}

static int teardown(void **state)
{
    fixture *f = *state;
    base_arena_free(&f->arena);
    return 0;
}

static void check_broken(fixture *f, const char *expected)
{
    f->diag.failed = 0;
    assert_int_equal(ir_verify(f->graph, &f->diag), MTL_INTERNAL);
    assert_string_equal(f->error.message, expected);
    f->diag.failed = 0;
}

static void check_valid(fixture *f)
{
    if (ir_verify(f->graph, &f->diag) != MTL_OK) {
        fail_msg("%s", f->error.message);
    }
}

static void test_tables(void **state)
{
    (void)state;
    for (int i = 0; i < IR_OP_COUNT; i++) {
        ir_op op = IR_OP_COUNT;
        assert_true(ir_op_find(ir_op_table((ir_op)i)->name, &op));
        assert_int_equal(op, i);
    }
    ir_op op;
    assert_false(ir_op_find("gemm", &op));
    assert_true(ir_op_is_unary(IR_OP_relu) && ir_op_is_unary(IR_OP_clip) && ir_op_is_unary(IR_OP_not));
    assert_false(ir_op_is_unary(IR_OP_isnan) || ir_op_is_unary(IR_OP_cast) || ir_op_is_unary(IR_OP_identity));
    assert_true(ir_op_is_binary(IR_OP_prelu) && !ir_op_is_binary(IR_OP_where) && !ir_op_is_binary(IR_OP_relu));
    const ir_op_info *linear = ir_op_table(IR_OP_linear);
    assert_int_equal(linear->required, UINT64_C(1) << IR_ATTR_act);
    assert_int_equal(linear->optional, UINT64_C(1) << IR_ATTR_alpha | UINT64_C(1) << IR_ATTR_beta |
                                           UINT64_C(1) << IR_ATTR_low | UINT64_C(1) << IR_ATTR_high |
                                           UINT64_C(1) << IR_ATTR_approximate | UINT64_C(1) << IR_ATTR_act_columns);
    for (int i = 0; i < IR_ATTR_COUNT; i++) {
        ir_attr_key key = IR_ATTR_COUNT;
        assert_true(ir_attr_find(ir_attr_name((ir_attr_key)i), &key));
        assert_int_equal(key, i);
    }
    for (int i = MTL_F32; i <= MTL_BOOL; i++) {
        mtl_dtype dtype;
        assert_true(ir_dtype_find(ir_dtype_name((mtl_dtype)i), &dtype));
        assert_int_equal(dtype, i);
    }
}

static void test_build(void **state)
{
    fixture *f = *state;
    check_valid(f);
    const ir_graph *graph = f->graph;
    assert_string_equal(ir_type_text(ir_type_of(graph, f->y), &graph->symbols, &f->arena), "f32[B, 2]");
    assert_ptr_equal(ir_producer(graph, f->y), ir_producer_op(graph, f->y, IR_OP_relu));
    assert_null(ir_producer_op(graph, f->y, IR_OP_exp));
    assert_null(ir_producer(graph, f->x));
    assert_null(ir_producer(graph, 0));
    assert_true(ir_is_const(graph, f->w) && !ir_is_const(graph, f->x) && !ir_is_const(graph, 0));
    uint32_t *uses;
    assert_int_equal(ir_count_uses(graph, &f->arena, &f->diag, &uses), MTL_OK);
    assert_int_equal(uses[f->x], 1);
    assert_int_equal(uses[f->y], 1);
    assert_int_equal(ir_find_value(graph, "h"), f->h);
    assert_int_equal(ir_find_value(graph, "z"), 0);
}

/* Thousands of nodes and wishes for one name: arrays and the table grow, the names differ. */
static void test_growth(void **state)
{
    fixture *f = *state;
    ir_value value = f->x;
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(
            ir_insert(f->graph, 0, IR_OP_neg, i % 2 == 0 ? "x" : NULL, &value, 1, NULL, 0, &f->diag, &value), MTL_OK);
    }
    check_valid(f);
    assert_string_equal(ir_info(f->graph, value)->name, "v.2499");
    assert_string_equal(ir_unique_name(f->graph, "fresh"), "fresh");
    assert_string_equal(ir_unique_name(f->graph, "x"), "x.2501");
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "o%d", i);
        assert_int_equal(ir_add_output(f->graph, name, value, &f->diag), MTL_OK);
        snprintf(name, sizeof name, "i%d", i);
        assert_int_equal(ir_add_input(f->graph, name, ir_type_of(f->graph, f->x), &f->diag, &value), MTL_OK);
    }
    check_valid(f);
}

static void test_replace_and_remove(void **state)
{
    fixture *f = *state;
    uint32_t source;
    assert_int_equal(ir_add_source(f->graph, "/gate/Relu", "Relu", &f->diag, &source), MTL_OK);
    f->graph->current_source = source;
    ir_node relu = ir_info(f->graph, f->y)->node;
    ir_value z;
    assert_int_equal(ir_insert(f->graph, relu, IR_OP_tanh, "z", &f->h, 1, NULL, 0, &f->diag, &z), MTL_OK);
    ir_replace(f->graph, f->h, z);
    ir_node tanh_node = ir_info(f->graph, z)->node;
    assert_int_equal(ir_node_of(f->graph, tanh_node)->inputs[0], z); /* so does the node itself: set it back */
    ir_node_of(f->graph, tanh_node)->inputs[0] = f->h;
    check_valid(f);
    ir_replace(f->graph, f->y, z);
    ir_remove(f->graph, relu);
    check_valid(f);
    assert_int_equal(f->graph->outputs[0].value, z);
    assert_string_equal(f->graph->outputs[0].name, "score");
    assert_int_equal(f->graph->last_node, tanh_node);
    ir_node matmul = ir_info(f->graph, f->h)->node;
    assert_int_equal(ir_take_sources(f->graph, matmul, tanh_node, &f->diag), MTL_OK);
    assert_int_equal(ir_take_sources(f->graph, matmul, tanh_node, &f->diag), MTL_OK);
    assert_int_equal(ir_node_of(f->graph, matmul)->source_count, 1);
    ir_set_fate(f->graph, matmul, "folded");
    assert_string_equal(f->graph->sources[source].fate, "folded");
    ir_replace(f->graph, z, f->x);
    ir_remove(f->graph, tanh_node);
    ir_remove(f->graph, matmul);
    assert_int_equal(f->graph->first_node, 0);
    assert_int_equal(f->graph->last_node, 0);
    check_valid(f);
}

/* Errors name the node, and a node that does not fit leaves the graph as it was. */
static void test_insert_errors(void **state)
{
    fixture *f = *state;
    ir_value z;
    ir_node last = f->graph->last_node;
    assert_int_equal(ir_insert(f->graph, 0, IR_OP_matmul, "bad", (ir_value[]){f->w, f->w}, 2, NULL, 0, &f->diag, &z),
                     MTL_INVALID_DATA);
    assert_non_null(strstr(f->error.message, "node 'bad' (matmul): "));
    assert_non_null(strstr(f->error.message, "f32[3, 2]"));
    assert_int_equal(f->graph->last_node, last);
    check_valid(f);

    f->diag.failed = 0;
    uint32_t source;
    assert_int_equal(ir_add_source(f->graph, "/gate/Gemm", "Gemm", &f->diag, &source), MTL_OK);
    f->graph->current_source = source;
    assert_int_equal(ir_insert(f->graph, 0, IR_OP_add, NULL, &f->x, 1, NULL, 0, &f->diag, &z), MTL_INVALID_DATA);
    assert_string_equal(f->error.message, "node '/gate/Gemm' (Gemm): 1 operand, expected 2");
    f->diag.failed = 0;
    assert_int_equal(ir_fail(f->graph, 0, &f->diag, MTL_UNSUPPORTED, "%d", 7), MTL_UNSUPPORTED);
    assert_string_equal(f->error.message, "node '/gate/Gemm' (Gemm): 7");
    f->graph->current_source = UINT32_MAX;
    f->diag.failed = 0;
    ir_fail(f->graph, 0, &f->diag, MTL_UNSUPPORTED, "%d", 7);
    assert_string_equal(f->error.message, "7");

    f->diag.failed = 0;
    ir_type type = *ir_type_of(f->graph, f->x);
    assert_int_equal(ir_insert_typed(f->graph, 0, IR_OP_relu, "t", &f->h, 1, NULL, 0, &type, &f->diag, &z),
                     MTL_INVALID_DATA);
    assert_string_equal(f->error.message, "node 't' (relu): the result is f32[B, 2], not f32[B, 3]");
    f->diag.failed = 0;
    assert_int_equal(ir_insert(f->graph, 0, IR_OP_reshape, "r", &f->h, 1, NULL, 0, &f->diag, &z), MTL_INVALID_ARGUMENT);
    check_valid(f);
}

static void test_input_errors(void **state)
{
    fixture *f = *state;
    ir_value value;
    ir_type type = {.dtype = MTL_F32, .rank = 9};
    static const int64_t numbers[2] = {1, 2};
    assert_int_equal(ir_add_input(f->graph, "big", &type, &f->diag, &value), MTL_UNSUPPORTED);
    assert_string_equal(f->error.message, "input 'big': rank 9, at most 8 is supported");
    type.rank = 1;
    type.dim[0] = ir_dim_const(-1);
    f->diag.failed = 0;
    assert_int_equal(ir_add_input(f->graph, "n", &type, &f->diag, &value), MTL_INVALID_DATA);
    assert_string_equal(f->error.message, "input 'n': extent -1 of axis 0 is negative");
    f->diag.failed = 0;
    assert_int_equal(ir_add_input(f->graph, "x", &type, &f->diag, &value), MTL_INVALID_DATA);
    assert_int_equal(ir_add_output(f->graph, "score", f->x, &f->diag), MTL_INVALID_DATA);
    ir_tensor tensor = {.dtype = MTL_I64, .rank = 1, .shape = {3}, .count = 2, .i = numbers};
    assert_int_equal(ir_add_const(f->graph, "c", &tensor, &f->diag, &value), MTL_INTERNAL);
    tensor.shape[0] = 2;
    tensor.dtype = MTL_F32;
    assert_int_equal(ir_add_const(f->graph, "c", &tensor, &f->diag, &value), MTL_INTERNAL);
    tensor.shape[0] = -2;
    assert_int_equal(ir_add_const(f->graph, "c", &tensor, &f->diag, &value), MTL_INVALID_DATA);
    check_valid(f);
}

static void test_contents(void **state)
{
    fixture *f = *state;
    ir_value value;
    int64_t numbers[100], many[100];
    size_t count;
    double number;
    for (int i = 0; i < 100; i++) {
        many[i] = i;
    }
    assert_int_equal(ir_add_const_ints(f->graph, many + 5, 2, 1, &f->diag, &value), MTL_OK);
    assert_true(ir_info(f->graph, value)->content_count == 2 && ir_dim_is(ir_info(f->graph, value)->content[1], 6));
    assert_true(ir_content_ints(f->graph, value, numbers, 2, &count) && count == 2 && numbers[0] == 5);
    assert_false(ir_content_ints(f->graph, value, numbers, 1, &count));
    assert_false(ir_const_scalar(f->graph, value, &number));
    assert_int_equal(ir_add_const_ints(f->graph, many, 100, 1, &f->diag, &value), MTL_OK);
    assert_null(ir_info(f->graph, value)->content);
    assert_true(ir_content_ints(f->graph, value, numbers, 100, &count) && count == 100 && numbers[99] == 99);
    assert_int_equal(ir_add_const_ints(f->graph, many + 7, 1, 0, &f->diag, &value), MTL_OK);
    assert_true(ir_const_scalar(f->graph, value, &number) && number == 7);
    assert_int_equal(ir_add_const_float(f->graph, 0.1, MTL_F32, &f->diag, &value), MTL_OK);
    assert_true(ir_const_scalar(f->graph, value, &number) && number == 0.1);
    assert_null(ir_info(f->graph, value)->content);
    assert_false(ir_content_ints(f->graph, value, numbers, 100, &count));
    assert_false(ir_content_ints(f->graph, 0, numbers, 100, &count));
    static const uint64_t large[1] = {UINT64_MAX};
    ir_tensor tensor = {.dtype = MTL_U64, .rank = 1, .shape = {1}, .count = 1, .raw = large};
    assert_int_equal(ir_add_const(f->graph, NULL, &tensor, &f->diag, &value), MTL_OK);
    assert_null(ir_info(f->graph, value)->content);
    assert_false(ir_content_ints(f->graph, value, numbers, 100, &count));
    check_valid(f);
    ir_type type = {.dtype = MTL_F32, .rank = 3, .dim = {ir_dim_symbol(0), ir_dim_symbol(1), ir_dim_const(0)}};
    ir_dim product;
    assert_true(ir_type_count(&type, &product) && ir_dim_is(product, 0));
    type.dim[2] = ir_dim_const(2);
    assert_false(ir_type_count(&type, &product));
}

static void test_verify_nodes(void **state)
{
    fixture *f = *state;
    ir_graph *graph = f->graph;
    ir_node relu = ir_info(graph, f->y)->node, matmul = ir_info(graph, f->h)->node;
    graph->values[f->y].type.dim[1] = ir_dim_const(5);
    check_broken(f, "node 'y' (relu): the result is f32[B, 5], expected f32[B, 2]");
    graph->values[f->y].type.dim[1] = ir_dim_const(2);
    graph->nodes[relu].inputs[0] = f->y;
    check_broken(f, "node 'y' (relu): operand 0, 'y', is not defined before it");
    graph->nodes[relu].inputs[0] = 99;
    check_broken(f, "node 'y' (relu): operand 0 is no value");
    graph->nodes[relu].inputs[0] = f->h;
    graph->nodes[relu].previous = 0;
    check_broken(f, "the list of nodes is broken behind node 1");
    graph->nodes[relu].previous = matmul;
    graph->nodes[relu].next = matmul;
    check_broken(f, "the list of nodes is broken behind node 2");
    graph->nodes[relu].next = 0;
    graph->last_node = matmul;
    check_broken(f, "the list of nodes ends with node 2, not 1");
    graph->last_node = relu;
    graph->nodes[relu].op = IR_OP_elu;
    check_broken(f, "node 'y' (elu): attribute alpha is missing");
    graph->nodes[relu].op = IR_OP_relu;
    graph->nodes[relu].outputs[0] = f->h;
    check_broken(f, "node 2 (relu): result 0 is not its own");
    graph->nodes[relu].outputs[0] = f->y;
    graph->nodes[relu].source_count = 1;
    graph->nodes[relu].sources = (uint32_t[]){3};
    check_broken(f, "node 2 (relu): source 3 does not exist");
    graph->nodes[relu].source_count = 0;
    ir_remove(graph, relu);
    check_broken(f, "output 'score' has no defined value");
}

static void test_verify_values(void **state)
{
    fixture *f = *state;
    ir_graph *graph = f->graph;
    const char *name = graph->values[f->h].name;
    graph->values[f->h].name = "y";
    check_broken(f, "value 'y' (3): its name is empty or another value's");
    graph->values[f->h].name = name;
    graph->values[f->x].type.dim[1] = ir_dim_symbol(2);
    check_broken(f, "value 'x' (1): an extent has a symbol that the graph does not have");
    graph->values[f->x].type.dim[1] = ir_dim_const(3);
    graph->values[f->w].type.dim[1] = ir_dim_const(3);
    check_broken(f, "value 'w' (2): its tensor does not fit its type");
    graph->values[f->w].type.dim[1] = ir_dim_const(2);
    graph->values[f->y].content = (ir_dim[]){{0}};
    graph->values[f->y].content_count = 1;
    check_broken(f, "value 'y' (4): its content does not fit its type");
    graph->values[f->y].content = NULL;
    graph->input_count = 0;
    check_broken(f, "1 input values, but the graph lists 0");
    graph->input_count = 1;
    graph->inputs[0] = f->w;
    check_broken(f, "input 0 is no input value");
    graph->inputs[0] = f->x;
    graph->symbols.count = 0;
    check_broken(f, "0 symbols, expected 1 to 4");
    graph->symbols.count = 1;
    static const int64_t number[1] = {300};
    ir_tensor tensor = {.dtype = MTL_I8, .count = 1, .i = number};
    ir_value value;
    assert_int_equal(ir_add_const(graph, "wide", &tensor, &f->diag, &value), MTL_OK);
    check_broken(f, "value 'wide' (5): an element is out of the range of its dtype");
}

static void test_verify_params(void **state)
{
    fixture *f = *state;
    ir_graph *graph = f->graph;
    static const double number[1] = {0.5};
    ir_tensor tensor = {.dtype = MTL_F32, .count = 1, .f = number};
    ir_value param, value;
    assert_int_equal(ir_add_param(graph, "alpha", &tensor, &f->diag, &param), MTL_OK);
    assert_int_equal(ir_verify(graph, &f->diag), MTL_OK);
    assert_false(ir_is_const(graph, param));
    assert_null(ir_producer(graph, param));
    graph->param_count = 0;
    check_broken(f, "1 params, but the graph lists 0");
    graph->param_count = 1;
    graph->params[0] = f->w;
    check_broken(f, "param 0 is no param value");
    graph->params[0] = param;
    graph->values[param].content = (ir_dim[]){{0}};
    check_broken(f, "value 'alpha' (5): a param is f32 and has no content");
    graph->values[param].content = NULL;
    graph->values[param].type.rank = 1;
    check_broken(f, "value 'alpha' (5): its tensor does not fit its type");
    graph->values[param].type.rank = 0;
    assert_int_equal(ir_verify(graph, &f->diag), MTL_OK);

    assert_int_equal(ir_add_param(graph, "alpha", &tensor, NULL, &value), MTL_INVALID_DATA); /* the name is taken */
    assert_int_equal(ir_add_param(graph, "", &tensor, NULL, &value), MTL_INVALID_DATA);
    assert_int_equal(ir_make_param(graph, param, NULL), MTL_UNSUPPORTED); /* it is one */
    assert_int_equal(ir_make_param(graph, f->x, NULL), MTL_UNSUPPORTED);  /* an input */
    assert_int_equal(graph->param_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test_setup_teardown(test_build, setup, teardown),
        cmocka_unit_test_setup_teardown(test_growth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replace_and_remove, setup, teardown),
        cmocka_unit_test_setup_teardown(test_insert_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_input_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_contents, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verify_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verify_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verify_params, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
