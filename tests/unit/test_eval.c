/* The reference evaluator: every op against onnx.reference and NumPy (eval_cases.inc), errors that name the node, and
 * whole graphs with symbols. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ir/graph.h"

typedef struct eval_case {
    const char *name, *text, *want;
} eval_case;

static const eval_case cases[] = {
#include "eval_cases.inc"
};

enum { TEXT_SIZE = 1 << 14, CASES = sizeof cases / sizeof cases[0] };

typedef struct lab {
    base_arena arena;
    mtl_error error;
    base_diag diag;
    ir_graph *graph;
    ir_tensor outputs[4];
} lab;

static void lab_open(lab *t, const char *text)
{
    memset(t, 0, sizeof *t);
    t->diag.error = &t->error;
    if (ir_parse(text, strlen(text), NULL, &t->arena, &t->diag, &t->graph) != MTL_OK) {
        fail_msg("%s\n%s", t->error.message, text);
    }
}

static void lab_close(lab *t)
{
    base_arena_free(&t->arena);
}

static void expect_near(const ir_tensor *got, const ir_tensor *want)
{
    assert_int_equal(got->dtype, want->dtype);
    assert_int_equal(got->count, want->count);
    for (size_t i = 0; i < want->count; i++) {
        double x = ir_tensor_at(got, i), y = ir_tensor_at(want, i);
        if (x != y && !(isnan(x) && isnan(y)) && !(fabs(x - y) <= 1e-13 * fmax(1, fabs(y)))) {
            fail_msg("element %zu is %.17g, expected %.17g", i, x, y);
        }
        if (x == 0 && y == 0 && signbit(x) != signbit(y)) {
            fail_msg("element %zu is a zero of the wrong sign", i);
        }
    }
}

static void test_case(void **state)
{
    const eval_case *c = *state;
    char text[TEXT_SIZE];
    lab t;
    snprintf(text, sizeof text,
             "graph \"g\" (B) {\n%sconst %%want : %s\noutput \"y\" = %%y\noutput \"want\" = %%want\n}\n", c->text,
             c->want);
    lab_open(&t, text);
    if (ir_eval(t.graph, NULL, &t.arena, &t.diag, t.outputs) != MTL_OK) {
        fail_msg("%s", t.error.message);
    }
    expect_near(&t.outputs[0], &t.outputs[1]);
    lab_close(&t);
}

/* Evaluation fails with `message` somewhere in what it says. */
static void expect_error(const char *body, const char *message)
{
    char text[TEXT_SIZE];
    lab t;
    snprintf(text, sizeof text, "graph \"g\" (B) {\n%soutput \"y\" = %%y\n}\n", body);
    lab_open(&t, text);
    assert_int_equal(ir_eval(t.graph, NULL, &t.arena, &t.diag, t.outputs), MTL_INVALID_DATA);
    if (strstr(t.error.message, message) == NULL) {
        fail_msg("'%s' is not in '%s'", message, t.error.message);
    }
    lab_close(&t);
}

static void test_errors(void **state)
{
    (void)state;
    expect_error("const %a : i32[2] = [1, 2]\nconst %b : i32[2] = [1, 0]\n%y : i32[2] = div %a, %b\n",
                 "node 'y' (div): division of 2 by zero");
    expect_error("const %a : i32 = 1\nconst %b : i32 = 0\n%y : i32 = mod %a, %b {fmod=0}\n",
                 "node 'y' (mod): division");
    expect_error("const %a : i64 = 0\nconst %b : i64 = -1\n%y : i64 = pow %a, %b\n", "node 'y' (pow)");
    expect_error("const %a : f32[2] = [1, 2]\nconst %b : i64[1, 1] = [-3]\n"
                 "%y : f32[1, 1] = gather %a, %b {axis=0}\n",
                 "node 'y' (gather): index -3 at element 0 is out of range for 2 rows");
}

static const char layer[] = "graph \"g\" (B) {\n"
                            "input %x : f32[2*B, 2]\n"
                            "const %w : f32[2, 1] = [1, 10]\n"
                            "%h : f32[2*B, 1] = linear %x, %w {act=\"\"}\n"
                            "%y : f32[B, 2] = reshape %h\n"
                            "%s : i64[2] = shape %y\n"
                            "output \"y\" = %y\n"
                            "output \"s\" = %s\n"
                            "}\n";

static void test_symbols(void **state)
{
    (void)state;
    static const double x[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    static const double y[6] = {21, 43, 65, 87, 109, 131};
    lab t;
    lab_open(&t, layer);
    ir_tensor input = {.dtype = MTL_F32, .rank = 2, .shape = {6, 2}, .count = 12, .f = x};
    assert_int_equal(ir_eval(t.graph, &input, &t.arena, &t.diag, t.outputs), MTL_OK);
    ir_tensor want = {.dtype = MTL_F32, .rank = 2, .shape = {3, 2}, .count = 6, .f = y};
    expect_near(&t.outputs[0], &want);
    assert_int_equal(ir_tensor_int_at(&t.outputs[1], 0), 3);
    input.shape[0] = 5; /* not 2*B for any B */
    input.count = 10;
    assert_int_equal(ir_eval(t.graph, &input, &t.arena, &t.diag, t.outputs), MTL_INVALID_ARGUMENT);
    assert_string_equal(t.error.message, "input 'x': axis 0 has extent 5, expected 4");
    t.diag.failed = 0;
    input.rank = 1;
    assert_int_equal(ir_eval(t.graph, &input, &t.arena, &t.diag, t.outputs), MTL_INVALID_ARGUMENT);
    lab_close(&t);
}

int main(void)
{
    static struct CMUnitTest tests[CASES + 2];
    static char names[CASES][64];
    for (size_t i = 0; i < CASES; i++) {
        snprintf(names[i], sizeof names[i], "%s %zu", cases[i].name, i);
        tests[i] = (struct CMUnitTest){
            .name = names[i], .test_func = test_case, .initial_state = (void *)(uintptr_t)&cases[i]};
    }
    tests[CASES] = (struct CMUnitTest){.name = "errors", .test_func = test_errors};
    tests[CASES + 1] = (struct CMUnitTest){.name = "symbols", .test_func = test_symbols};
    return _cmocka_run_group_tests("eval", tests, CASES + 2, NULL, NULL);
}
