/* From a graph to a plan: what no plan can express is an error that names the node, never an internal one. The cases
 * are what fuzzing found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "compiler/legalize.h"
#include "compiler/lower.h"
#include "passes/passes.h"

static mtl_status compile(ir_graph *graph, base_arena *arena, base_diag *diag, compiler_lowered *lowered)
{
    const compiler_provenance provenance = {.producer = "test", .compiler = "test"};
    BASE_TRY(passes_run(graph, diag, NULL, NULL));
    BASE_TRY(compiler_legalize(graph, diag));
    BASE_TRY(ir_verify(graph, diag));
    BASE_TRY(ir_infer_rates(graph, diag));
    return compiler_lower(graph, &provenance, arena, diag, lowered);
}

/* `expected` NULL: a plan comes out. */
static void check(const char *text, const char *expected)
{
    base_arena arena = {0};
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    ir_graph *graph;
    compiler_lowered lowered;
    if (ir_parse(text, strlen(text), NULL, &arena, &diag, &graph) != MTL_OK) {
        fail_msg("%s", error.message);
    }
    mtl_status status = compile(graph, &arena, &diag, &lowered);
    if (expected == NULL ? status != MTL_OK : status != MTL_UNSUPPORTED || strstr(error.message, expected) == NULL) {
        fail_msg("expected %s, found %s: %s", expected != NULL ? expected : "a plan", mtl_status_name(status),
                 error.message);
    }
    base_arena_free(&arena);
}

static void parameters_are_numbers(void **state)
{
    (void)state;
    check("graph \"g\" (B) {\n"
          "  input %x : f32[B, 2]\n"
          "  %h : f32[B, 2] = hard_sigmoid %x {alpha=0.2, beta=nan}\n"
          "  output \"h\" = %h\n"
          "}\n",
          "beta is nan");
    check("graph \"g\" (B) {\n"
          "  input %x : f32[B, 2]\n"
          "  %h : f32[B, 2] = layer_norm %x {axis=1, epsilon=-1}\n"
          "  output \"h\" = %h\n"
          "}\n",
          "epsilon is -1");
    check("graph \"g\" (B) {\n"
          "  input %x : f32[B, 2]\n"
          "  %h : f32[B, 2] = clip %x {low=-inf, high=inf}\n"
          "  output \"h\" = %h\n"
          "}\n",
          NULL);
}

/* Extents that only a hostile model has. */
static void sizes_have_limits(void **state)
{
    (void)state;
    check("graph \"g\" (B) {\n"
          "  input %x : f32[B, 3, 9223372036854775807]\n"
          "  input %z : f32[B, 2]\n"
          "  %y : f32[B, 2] = relu %z\n"
          "  output \"y\" = %y\n"
          "}\n",
          "'x' is too large");
    check("graph \"g\" (B) {\n"
          "  input %x : f32[B, 1]\n"
          "  %e : f32[B, 1099511627776] = expand %x\n"
          "  %y : f32[B, 1099511627776] = relu %e\n"
          "  %s : f32[B] = reduce_sum %y {axes=[1], keepdims=0}\n"
          "  output \"s\" = %s\n"
          "}\n",
          "the workspace needs");
    check("graph \"g\" (B) {\n"
          "  input %x : f32[B, B]\n"
          "  input %z : f32[B, 2]\n"
          "  %y : f32[B, 2] = relu %z\n"
          "  output \"y\" = %y\n"
          "}\n",
          "'x' has extent B on axis 1");
}

static void empty_axes(void **state)
{
    (void)state;
    check("graph \"g\" (B) {\n"
          "  input %x : f32[B, 0]\n"
          "  %y : f32[B] = reduce_max %x {axes=[1], keepdims=0}\n"
          "  output \"y\" = %y\n"
          "}\n",
          "axis 1 is empty: it has no max");
    check("graph \"g\" (B) {\n"
          "  input %x : f32[B, 0]\n"
          "  const %w : f32[0, 3] = []\n"
          "  const %e : f32[3, 0] = []\n"
          "  %s : f32[B] = reduce_sum %x {axes=[1], keepdims=0}\n"
          "  %y : f32[B, 3] = matmul %x, %w\n"
          "  %z : f32[B, 0] = matmul %y, %e\n"
          "  output \"s\" = %s\n"
          "  output \"y\" = %y\n"
          "  output \"z\" = %z\n"
          "}\n",
          NULL);
}

static void no_step(void **state)
{
    (void)state;
    check("graph \"g\" (B) {\n"
          "  input %x : i64[B, 2]\n"
          "  %y : i64[B, 2] = clip %x {low=0, high=3}\n"
          "  output \"y\" = %y\n"
          "}\n",
          "operand 0 is int64, expected float32");
    check("graph \"g\" (B) {\n"
          "  input %x : f32[B, 0]\n"
          "  const %w : f32[0, 3] = []\n"
          "  %y : f32[B, 3] = linear %x, %w {act=\"relu\"}\n"
          "  output \"y\" = %y\n"
          "}\n",
          "its weights have no elements");
}

static void candidates_lead_in_inputs(void **state)
{
    (void)state;
    check("graph \"g\" (B) {\n"
          "  input %v : f32[3, B]\n"
          "  %y : f32[3, B] = tanh %v\n"
          "  output \"y\" = %y\n"
          "}\n",
          "input 'v': its axes before that of the candidates must have extent 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_numbers),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(empty_axes),
        cmocka_unit_test(no_step),
        cmocka_unit_test(candidates_lead_in_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
