/* From a graph to a plan: what no plan can express is an error that names the node, never an internal one. The cases
 * are what fuzzing found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "compiler/legalize.h"
#include "compiler/lower.h"
#include "passes/passes.h"
#include "plan/plan.h"

static mtl_status compile(ir_graph *graph, base_arena *arena, base_diag *diag, compiler_lowered *lowered)
{
    const compiler_provenance provenance = {.producer = "test", .compiler = "test"};
    BASE_TRY(passes_run(graph, diag, NULL, NULL));
    BASE_TRY(compiler_legalize(graph, diag));
    BASE_TRY(ir_verify(graph, diag));
    BASE_TRY(ir_infer_rates(graph, diag));
    return compiler_lower(graph, &provenance, arena, diag, lowered);
}

static void check_steps(const compiler_lowered *lowered, const char *steps)
{
    plan_view view;
    char found[512] = "";
    assert_int_equal(plan_check(lowered->plan, lowered->plan_size, false, NULL, &view), MTL_OK);
    for (size_t i = 0; i < view.step_count; i++) {
        const plan_step *step = &view.steps[i];
        char function[64];
        plan_step_function(&view, step, function, sizeof function);
        size_t length = strlen(found);
        (void)snprintf(found + length, sizeof found - length, "%s%s%s%s%s", i > 0 ? ", " : "", plan_op_name(step->op),
                       function[0] != '\0' ? " " : "", function, step->span != 0 ? " *" : "");
    }
    assert_string_equal(found, steps);
}

/* `steps` of the plan that comes out, when not NULL; or `expected` in the message why there is none. */
static void check_plan(const char *text, const char *expected, const char *steps)
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
    if (steps != NULL) {
        check_steps(&lowered, steps);
    }
    base_arena_free(&arena);
}

/* `expected` NULL: a plan comes out. */
static void check(const char *text, const char *expected)
{
    check_plan(text, expected, NULL);
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

/* A mixture is one step, unless its vectors are as long as there are candidates. */
static void mixtures_and_scans(void **state)
{
    (void)state;
    check_plan("graph \"g\" (B) {\n"
               "  input %w : f32[B, 2, 3]\n"
               "  input %x : f32[B, 4, 8]\n"
               "  %y : f32[B, 2, 8] = mix %w, %x {function=\"softmax\", index=[0, 1, 3, 2, 0, 2]}\n"
               "  %s : f32[B, 2, 8] = cumsum %y {axis=1, exclusive=0, reverse=1}\n"
               "  output \"s\" = %s\n"
               "}\n",
               NULL, "mix softmax, scan sum");
    check_plan("graph \"g\" (B) {\n"
               "  input %x : f32[B, 2, 3]\n"
               "  const %w : f32[1, 1, 2] = [0.5, 0.25]\n"
               "  %y : f32[B, 1, 3] = mix %w, %x {function=\"\", index=[1, 0]}\n"
               "  %p : f32[B, 1, 3] = cumprod %y {axis=2, exclusive=1, reverse=0}\n"
               "  output \"p\" = %p\n"
               "}\n",
               NULL, "mix, scan prod");
    check_plan("graph \"g\" (B) {\n"
               "  input %x : f32[B, 1, 2]\n"
               "  const %w : f32[1, 1, 2] = [0.5, 0.25]\n"
               "  %t : f32[1, 2, B] = transpose %x {perm=[1, 2, 0]}\n"
               "  %y : f32[1, 1, B] = mix %w, %t {function=\"\", index=[1, 0]}\n"
               "  output \"y\" = %y\n"
               "}\n",
               NULL, "transpose, gather, matmul");
    check_plan("graph \"g\" (B) {\n"
               "  input %x : f32[B, 2, 3]\n"
               "  input %r : f32[B, 2, 3]\n"
               "  const %c : f32[3] = [1, 2, 3]\n"
               "  %y : f32[B, 2, 3] = chain %x, %c, %r {program=\"prelu 1; 2 sub; clip(-1, 1)\"}\n"
               "  %s : f32[B, 2, 3] = cumsum %y {axis=1, exclusive=0, reverse=0, act=\"sigmoid\"}\n"
               "  output \"s\" = %s\n"
               "}\n",
               NULL, "chain prelu, sub, clip, scan sum");
}

/* The steps of a graph's plan, in order, and nothing else: "linear unary". */
static void check_operations(const char *text, const char *expected)
{
    base_arena arena = {0};
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    ir_graph *graph;
    compiler_lowered lowered;
    plan_view view;
    char found[256] = "";
    if (ir_parse(text, strlen(text), NULL, &arena, &diag, &graph) != MTL_OK ||
        compile(graph, &arena, &diag, &lowered) != MTL_OK ||
        plan_check(lowered.plan, lowered.plan_size, false, &diag, &view) != MTL_OK) {
        fail_msg("%s", error.message);
        return;
    }
    for (size_t i = 0; i < view.step_count; i++) {
        size_t used = strlen(found);
        (void)snprintf(found + used, sizeof found - used, "%s%s", i > 0 ? " " : "", plan_op_name(view.steps[i].op));
    }
    assert_string_equal(found, expected);
    base_arena_free(&arena);
}

/* Levels of experts that are joined, and towers that split what is wide. */
static void columns_cost_no_step(void **state)
{
    (void)state;
    check_operations("graph \"g\" (B) {\n"
                     "  input %a : f32[B, 2]\n"
                     "  input %b : f32[B, 3]\n"
                     "  %p : f32[B, 2] = tanh %a\n"
                     "  %q : f32[B, 3] = exp %b\n"
                     "  %c : f32[B, 5] = concat %p, %q {axis=1}\n"
                     "  %s : f32[B, 1] = slice %c {starts=[0, 1], steps=[1, 1]}\n"
                     "  %t : f32[B, 4] = slice %c {starts=[0, 1], steps=[1, 1]}\n"
                     "  %u : f32[B, 2, 2] = reshape %t\n"
                     "  %y : f32[B, 1] = sigmoid %s\n"
                     "  %z : f32[B, 2, 2] = softmax %u {axis=2}\n"
                     "  output \"y\" = %y\n"
                     "  output \"z\" = %z\n"
                     "}\n",
                     "unary unary unary softmax");
    /* Nested, into the caller's memory, with a reader of a part. */
    check_operations("graph \"g\" (B) {\n"
                     "  input %a : f32[B, 2]\n"
                     "  %p : f32[B, 2] = tanh %a\n"
                     "  %q : f32[B, 2] = exp %p\n"
                     "  %c : f32[B, 4] = concat %p, %q {axis=1}\n"
                     "  %r : f32[B, 1] = reduce_max %c {axes=[1], keepdims=1}\n"
                     "  %d : f32[B, 5] = concat %r, %c {axis=1}\n"
                     "  output \"d\" = %d\n"
                     "}\n",
                     "unary unary reduce");
}

/* What is no window of its own: it is copied into the result, or concatenated as ever. */
static void other_operands_are_copied(void **state)
{
    (void)state;
    check_operations("graph \"g\" (B) {\n" /* an input, and one value twice */
                     "  input %a : f32[B, 2]\n"
                     "  %p : f32[B, 2] = tanh %a\n"
                     "  %c : f32[B, 6] = concat %p, %a, %p {axis=1}\n"
                     "  output \"c\" = %c\n"
                     "}\n",
                     "unary copy copy");
    check_operations("graph \"g\" (B) {\n" /* in two concatenations: the first has it */
                     "  input %a : f32[B, 2]\n"
                     "  %p : f32[B, 2] = tanh %a\n"
                     "  %q : f32[B, 2] = exp %a\n"
                     "  %c : f32[B, 4] = concat %p, %q {axis=1}\n"
                     "  %d : f32[B, 4] = concat %q, %p {axis=1}\n"
                     "  output \"c\" = %c\n"
                     "  output \"d\" = %d\n"
                     "}\n",
                     "unary unary concat");
    check_operations("graph \"g\" (B) {\n" /* an output itself */
                     "  input %a : f32[B, 2]\n"
                     "  %p : f32[B, 2] = tanh %a\n"
                     "  %q : f32[B, 2] = exp %a\n"
                     "  %c : f32[B, 4] = concat %p, %q {axis=1}\n"
                     "  output \"c\" = %c\n"
                     "  output \"p\" = %p\n"
                     "}\n",
                     "unary unary copy");
    check_operations("graph \"g\" (B) {\n" /* elements of a candidate are not one run of the result */
                     "  input %a : f32[B, 2, 3]\n"
                     "  %p : f32[B, 2, 3] = tanh %a\n"
                     "  %q : f32[B, 2, 3] = exp %a\n"
                     "  %c : f32[B, 2, 6] = concat %p, %q {axis=2}\n"
                     "  output \"c\" = %c\n"
                     "}\n",
                     "unary unary concat");
}

static void slices_that_are_steps(void **state)
{
    (void)state;
    check_operations("graph \"g\" (B) {\n" /* every other element; a part of each of several rows */
                     "  input %a : f32[B, 4]\n"
                     "  input %b : f32[B, 3, 4]\n"
                     "  %s : f32[B, 2] = slice %a {starts=[0, 0], steps=[1, 2]}\n"
                     "  %t : f32[B, 3, 2] = slice %b {starts=[0, 0, 0], steps=[1, 1, 1]}\n"
                     "  %y : f32[B, 2] = tanh %s\n"
                     "  %z : f32[B, 3, 2] = tanh %t\n"
                     "  output \"y\" = %y\n"
                     "  output \"z\" = %z\n"
                     "}\n",
                     "slice slice unary unary");
    check_operations(
        "graph \"g\" (B) {\n" /* a reader that needs the candidates behind; a reshape that splits their axis */
        "  input %a : f32[B, 3, 4]\n"
        "  %s : f32[B, 2, 4] = slice %a {starts=[0, 1, 0], steps=[1, 1, 1]}\n"
        "  %t : f32[2, B, 4] = transpose %s {perm=[1, 0, 2]}\n"
        "  %u : f32[B, 1, 4] = slice %a {starts=[0, 1, 0], steps=[1, 1, 1]}\n"
        "  %v : f32[2*B, 2] = reshape %u\n"
        "  %w : f32[2*B, 2] = tanh %v\n"
        "  %z : f32[B, 4] = reshape %w\n"
        "  output \"t\" = %t\n"
        "  output \"z\" = %z\n"
        "}\n",
        "slice transpose slice unary store");
    check_operations("graph \"g\" (B) {\n" /* whole batches */
                     "  input %a : f32[B, 4]\n"
                     "  %s : f32[B, 2] = slice %a {starts=[0, 1], steps=[1, 1]}\n"
                     "  %y : f32[B, 2] = softmax %s {axis=0}\n"
                     "  output \"y\" = %y\n"
                     "}\n",
                     "slice softmax");
}

/* A layer `u` of x, attention `a` among its positions, tanh of that, and the sum `y` of what the mask keeps. */
static char *sequence(char *text, size_t size, const char *before, const char *attention, const char *after)
{
    (void)snprintf(
        text, size,
        "graph \"g\" (B) {\n"
        "  input %%x : f32[B, 8, 40]\n"
        "  input %%ids : i64[B, 8]\n"
        "  input %%other : bool[B, 8]\n"
        "  const %%zero : i64[1] = [0]\n"
        "  const %%two : f32[40] = [%s]\n"
        "%s"
        "  %%u : f32[B, 8, 40] = softsign %%x\n"
        "  %%none : bool[B, 8] = equal %%ids, %%zero\n"
        "  %%some : bool[B, 8] = not %%none\n"
        "  %%keys : bool[B, 1, 1, 8] = reshape %%some\n"
        "  const %%nothing : f32[1] = [0]\n"
        "  const %%much : f32[1] = [-1e9]\n"
        "  %%outside : f32[B, 8] = where %%none, %%much, %%nothing\n"
        "  %%minus : f32[B, 1, 1, 8] = reshape %%outside\n"
        "  %%padding : bool[B, 1, 1, 8] = reshape %%none\n"
        "  %%marks : f32[B, 1, 1, 8] = cast %%padding {to=f32}\n"
        "  %%marked : f32[B, 1, 1, 8] = mul %%much, %%marks\n"
        "  %%inside : f32[B, 8] = where %%some, %%much, %%nothing\n"
        "  %%wrong : f32[B, 1, 1, 8] = reshape %%inside\n"
        "  %%others : bool[B, 1, 1, 8] = reshape %%other\n"
        "  %%a : f32[B, 8, 40] = attention %%u, %%u, %%u%s\n"
        "  %%v : f32[B, 8, 40] = layer_norm %%a, %%two {axis=2, epsilon=1e-05}\n"
        "  %%numbers : f32[B, 8] = cast %%some {to=f32}\n"
        "  %%shares : f32[B, 1, 8] = reshape %%numbers\n"
        "  %%y : f32[B, 1, 40] = mix %%shares, %%v {function=\"\", index=[0, 1, 2, 3, 4, 5, 6, 7]}\n"
        "%s"
        "  output \"y\" = %%y\n"
        "}\n",
        "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "
        "1, 1, 1, 1, 1, 3",
        before, attention, after);
    return text;
}

#define ATTENTION "{starts=[0, 0, 0], heads=4, sizes=[10, 10], scale=0.5, empty=\"nan\", fill="

/* What a mask leaves out everywhere is not computed; --explain and this test write such steps with an asterisk. */
static void padding_is_left_out(void **state)
{
    (void)state;
    static const struct {
        const char *before, *attention, *after, *steps;
    } cases[] = {
        /* The mask is there in time: it is computed before the first step that needs it. */
        {"", ", _, %keys " ATTENTION "-1e9}", "",
         "binary equal, unary not, unary softsign *, attention *, layer_norm *, cast, mix *"},
        {"", ", _, %keys " ATTENTION "-inf}", "",
         "binary equal, unary not, unary softsign *, attention *, layer_norm *, cast, mix *"},
        /* Masks that are added. */
        {"", ", %minus " ATTENTION "0}", "",
         "binary equal, unary not, unary softsign *, where, attention *, layer_norm *, cast, mix *"},
        {"", ", %marked " ATTENTION "0}", "",
         "binary equal, unary not, unary softsign *, cast, binary mul, attention *, layer_norm *, cast, mix *"},
        {"", ", %wrong " ATTENTION "0}", "",
         "unary softsign, binary equal, unary not, where, attention, layer_norm *, cast, mix *"},
        /* Scores may be as low as that. */
        {"", ", _, %keys " ATTENTION "-1e4}", "",
         "unary softsign, binary equal, unary not, attention, layer_norm *, cast, mix *"},
        /* All positions are keys, or others are. */
        {"", " " ATTENTION "-inf}", "",
         "unary softsign, binary equal, unary not, attention, layer_norm *, cast, mix *"},
        {"", ", _, %others " ATTENTION "-inf}", "",
         "unary softsign, binary equal, unary not, attention, layer_norm *, cast, mix *"},
        /* Somebody reads all positions. */
        {"", ", _, %keys " ATTENTION "-inf}",
         "  %all : f32[B, 40] = reduce_max %v {axes=[1], keepdims=0}\n  output \"all\" = %all\n",
         "unary softsign, binary equal, unary not, attention, layer_norm, cast, mix *, reduce max"},
        {"", ", _, %keys " ATTENTION "-inf}", "  output \"a\" = %a\n",
         "unary softsign, binary equal, unary not, attention, layer_norm, cast, mix *"},
        {"", ", _, %keys " ATTENTION "-inf}",
         "  %last : f32[B, 1, 40] = slice %u {starts=[0, 7, 0], steps=[1, 1, 1]}\n"
         "  %z : f32[B, 1, 40] = exp %last\n  output \"z\" = %z\n",
         "unary softsign, binary equal, unary not, attention *, layer_norm *, cast, mix *, unary exp"},
    };
    char text[4096];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_plan(sequence(text, sizeof text, cases[i].before, cases[i].attention, cases[i].after), NULL,
                   cases[i].steps);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_numbers),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(empty_axes),
        cmocka_unit_test(no_step),
        cmocka_unit_test(candidates_lead_in_inputs),
        cmocka_unit_test(mixtures_and_scans),
        cmocka_unit_test(columns_cost_no_step),
        cmocka_unit_test(other_operands_are_copied),
        cmocka_unit_test(slices_that_are_steps),
        cmocka_unit_test(padding_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
