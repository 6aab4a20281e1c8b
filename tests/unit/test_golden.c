/* The goldens of the passes: tests/golden/PASS/NAME.in, a graph in the text form, is parsed, rewritten by the pass and
 * compared with NAME.want. The graph must be valid before and after, running the pass again must change nothing, and
 * reading the result back must give the same text, and the reference evaluator must find the same numbers before and
 * after. The folder `all` runs the whole pipeline.
 *
 *     test_golden             from the source root, as `./dev test` and meson do
 *     test_golden --update    writes the .want files anew: read the diff before you commit it
 */
#define _POSIX_C_SOURCE 200809L /* open_memstream, scandir */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "passes/passes.h"

static const char folder[] = "tests/golden";
static int update;

typedef struct golden {
    char pass[64];
    char input[256], want[256]; /* paths */
} golden;

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t size = 0;
    if (file == NULL) {
        return NULL;
    }
    FILE *copy = open_memstream(&text, &size);
    assert_non_null(copy);
    for (int c; (c = getc(file)) != EOF;) {
        putc(c, copy);
    }
    fclose(copy);
    fclose(file);
    return text;
}

static char *print(const ir_graph *graph)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(ir_print(graph, out), MTL_OK);
    fclose(out);
    return text;
}

static void check(mtl_status status, const char *what, const mtl_error *error)
{
    if (status != MTL_OK) {
        fail_msg("%s: %s", what, error->message);
    }
}

static mtl_status verify_after(void *context, const char *pass, ir_graph *graph)
{
    (void)pass;
    return ir_verify(graph, context);
}

static mtl_status run_pass(const golden *g, ir_graph *graph, base_diag *diag)
{
    if (strcmp(g->pass, "all") == 0) {
        return passes_run(graph, diag, verify_after, diag);
    }
    const passes_entry *entry = passes_find(g->pass);
    if (entry == NULL) {
        fail_msg("there is no pass '%s'", g->pass);
        return MTL_INTERNAL;
    }
    return entry->run(graph, diag);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* --- the same numbers ---------------------------------------------------------------------------------------- */

enum { ROWS = 3, LARGE = 1 << 20 };

/* Some numbers for an input; the same ones for every call. */
static ir_tensor make_input(const ir_type *type, uint32_t seed, base_arena *arena)
{
    const int64_t symbols[IR_MAX_SYMBOLS] = {ROWS, ROWS, ROWS, ROWS};
    ir_tensor tensor = {.dtype = type->dtype, .rank = type->rank, .count = 1};
    for (int i = 0; i < type->rank; i++) {
        assert_true(ir_dim_eval(type->dim[i], symbols, &tensor.shape[i]));
        tensor.count *= (size_t)tensor.shape[i];
    }
    double *f = BASE_NEW_ARRAY(arena, double, tensor.count);
    int64_t *n = BASE_NEW_ARRAY(arena, int64_t, tensor.count);
    for (size_t i = 0; i < tensor.count; i++) {
        seed = seed * 1664525 + 1013904223;
        f[i] = (double)(seed >> 8) / (1 << 22) - 2;
        n[i] = seed >> 31;
    }
    if (ir_dtype_is_float(type->dtype)) {
        tensor.f = f;
    } else {
        tensor.i = n;
    }
    return tensor;
}

static ir_tensor *evaluate(const ir_graph *graph, base_arena *arena)
{
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    ir_tensor *inputs = BASE_NEW_ARRAY(arena, ir_tensor, graph->input_count);
    ir_tensor *outputs = BASE_NEW_ARRAY(arena, ir_tensor, graph->output_count);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        inputs[i] = make_input(ir_type_of(graph, graph->inputs[i]), i + 1, arena);
    }
    check(ir_eval(graph, inputs, arena, &diag, outputs), "evaluation", &error);
    return outputs;
}

static bool is_large(const ir_graph *graph)
{
    ir_dim count;
    for (ir_value v = 1; v < graph->value_count; v++) {
        if (ir_type_count(ir_type_of(graph, v), &count) && ir_dim_is_const(count) && count.c > LARGE) {
            return true;
        }
    }
    return false;
}

/* Constants of an activation that is spelled out are rounded to float32, those of the activation are not. */
static void check_numbers(const ir_graph *before, const ir_graph *after, base_arena *arena)
{
    if (is_large(before)) {
        return;
    }
    const ir_tensor *a = evaluate(before, arena), *b = evaluate(after, arena);
    assert_int_equal(before->output_count, after->output_count);
    for (uint32_t i = 0; i < before->output_count; i++) {
        assert_string_equal(before->outputs[i].name, after->outputs[i].name);
        assert_int_equal(a[i].count, b[i].count);
        for (size_t k = 0; k < a[i].count; k++) {
            double x = ir_tensor_at(&a[i], k), y = ir_tensor_at(&b[i], k);
            if (!(fabs(x - y) <= 1e-8 * fmax(1, fabs(x))) && !(isnan(x) && isnan(y)) && x != y) {
                fail_msg("output '%s', element %zu: %.17g before, %.17g after", before->outputs[i].name, k, x, y);
            }
        }
    }
}

static void test_one(void **state)
{
    const golden *g = *state;
    base_arena arena = {0}, again = {0};
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    ir_graph *graph, *copy, *origin;
    char *text = read_text(g->input), *want = read_text(g->want);
    assert_non_null(text);
    check(ir_parse(text, strlen(text), NULL, &arena, &diag, &graph), g->input, &error);
    check(ir_verify(graph, &diag), g->input, &error);
    check(ir_parse(text, strlen(text), NULL, &again, &diag, &origin), g->input, &error);
    check(run_pass(g, graph, &diag), "the pass", &error);
    check(ir_verify(graph, &diag), "after the pass", &error);
    char *got = print(graph);
    if (update) {
        write_text(g->want, got);
    } else {
        assert_non_null(want);
        if (strcmp(got, want) != 0) {
            fail_msg("got\n%swanted\n%s", got, want);
        }
    }
    check(run_pass(g, graph, &diag), "the pass again", &error);
    check(ir_verify(graph, &diag), "after the pass again", &error);
    char *second = print(graph);
    assert_string_equal(second, got);
    check(ir_parse(got, strlen(got), NULL, &again, &diag, &copy), g->want, &error);
    char *third = print(copy);
    assert_string_equal(third, got);
    check_numbers(origin, graph, &again);
    free(text);
    free(want);
    free(got);
    free(second);
    free(third);
    base_arena_free(&arena);
    base_arena_free(&again);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int is_input(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 3 && strcmp(entry->d_name + length - 3, ".in") == 0;
}

enum { MAX_GOLDENS = 512 };
static golden goldens[MAX_GOLDENS];
static char names[MAX_GOLDENS][256];
static struct CMUnitTest tests[MAX_GOLDENS];

static size_t find_in(const char *pass, size_t count)
{
    char path[192];
    struct dirent **entries;
    snprintf(path, sizeof path, "%s/%.63s", folder, pass);
    int found = scandir(path, &entries, is_input, alphasort);
    for (int i = 0; i < found; i++) {
        if (count < MAX_GOLDENS) {
            golden *g = &goldens[count];
            int length = (int)strlen(entries[i]->d_name) - 3;
            snprintf(g->pass, sizeof g->pass, "%.63s", pass);
            snprintf(g->input, sizeof g->input, "%s/%.*s.in", path, length > 50 ? 50 : length, entries[i]->d_name);
            snprintf(g->want, sizeof g->want, "%s/%.*s.want", path, length > 50 ? 50 : length, entries[i]->d_name);
            snprintf(names[count], sizeof names[count], "%.63s/%.*s", pass, length, entries[i]->d_name);
            tests[count] = (struct CMUnitTest){.name = names[count], .test_func = test_one, .initial_state = g};
            count++;
        }
        free(entries[i]);
    }
    if (found >= 0) {
        free(entries);
    }
    return count;
}

int main(int argc, char **argv)
{
    size_t count = 0;
    struct dirent **entries;
    update = argc > 1 && strcmp(argv[1], "--update") == 0;
    int found = scandir(folder, &entries, is_visible, alphasort);
    for (int i = 0; i < found; i++) {
        count = find_in(entries[i]->d_name, count);
        free(entries[i]);
    }
    if (found >= 0) {
        free(entries);
    }
    if (count == 0) {
        fprintf(stderr, "no goldens in %s: run this from the source root\n", folder);
        return 1;
    }
    return _cmocka_run_group_tests("golden", tests, count, NULL, NULL);
}
