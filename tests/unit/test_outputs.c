/* --outputs: what is left of a graph. */
#define _POSIX_C_SOURCE 200809L /* open_memstream */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compiler/outputs.h"

static ir_graph *parse(const char *text, base_arena *arena)
{
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    ir_graph *graph;
    if (ir_parse(text, strlen(text), NULL, arena, &diag, &graph) != MTL_OK) {
        fail_msg("%s", error.message);
    }
    return graph;
}

static void check_text(const ir_graph *graph, const char *want)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(ir_print(graph, out), MTL_OK);
    fclose(out);
    assert_string_equal(text, want);
    free(text);
}

static const char two_towers[] = "graph \"g\" (B) {\n"
                                 "  input %x : f32[B, 2]\n"
                                 "  input %z : f32[B, 2]\n"
                                 "  const %c : f32[2] = [1, 3]\n"
                                 "  %a : f32[B, 2] = mul %x, %c\n"
                                 "  %b : f32[B, 2] = mul %z, %a\n"
                                 "  %cart : f32[B, 2] = sigmoid %b\n"
                                 "  output \"a\" = %a\n"
                                 "  output \"cart\" = %cart\n"
                                 "  output \"x\" = %x\n"
                                 "}\n";

/* What nothing reads any more is gone at once; inputs stay. */
static void only_what_is_asked_for_stays(void **state)
{
    (void)state;
    base_arena arena = {0};
    ir_graph *graph = parse(two_towers, &arena);
    assert_int_equal(compiler_keep_outputs(graph, (const char *[]){"x", "a"}, 2, NULL), MTL_OK);
    check_text(graph, "graph \"g\" (B) {\n"
                      "  input %x : f32[B, 2]\n"
                      "  input %z : f32[B, 2]\n"
                      "  const %c : f32[2] = [1, 3]\n"
                      "  %a : f32[B, 2] = mul %x, %c\n"
                      "  output \"a\" = %a\n"
                      "  output \"x\" = %x\n"
                      "}\n");
    base_arena_free(&arena);
}

static void all_are_asked_for(void **state)
{
    (void)state;
    static const char *const patterns[][2] = {{NULL, NULL}, {"*", NULL}, {"?", "car?"}};
    for (size_t i = 0; i < 3; i++) {
        base_arena arena = {0};
        ir_graph *graph = parse(two_towers, &arena);
        assert_int_equal(compiler_keep_outputs(graph, patterns[i], i, NULL), MTL_OK);
        check_text(graph, two_towers);
        base_arena_free(&arena);
    }
}

static void unknown_names_are_errors(void **state)
{
    (void)state;
    static const char *const unknown[] = {"carts", "b", "", "A", "cart?", "x*x"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        base_arena arena = {0};
        mtl_error error = {0};
        base_diag diag = {.error = &error};
        char expected[128];
        (void)snprintf(expected, sizeof expected, "--outputs %s: the model has no such output, but 'a', 'cart', 'x'",
                       unknown[i]);
        ir_graph *graph = parse(two_towers, &arena);
        assert_int_equal(compiler_keep_outputs(graph, (const char *[]){"a", unknown[i]}, 2, &diag),
                         MTL_INVALID_ARGUMENT);
        assert_string_equal(error.message, expected);
        check_text(graph, two_towers);
        base_arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_asked_for_stays),
        cmocka_unit_test(all_are_asked_for),
        cmocka_unit_test(unknown_names_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
