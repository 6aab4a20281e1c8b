#define _POSIX_C_SOURCE 200809L /* posix_memalign, open_memstream, dup */
/* What the programs share: command lines, `info`, the JSON of `bench`. */
#include "plan_fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "tool/args.h"
#include "tool/info.h"
#include "tool/json.h"
#include "tool/terminal.h"

static const tool_option options[] = {
    {NULL, 0, NULL, "options:"},
    {"output", 'o', "PLAN", "where the plan goes"},
    {"quiet", 'q', NULL, "print nothing"},
    {"print-ir", 0, "[=after-PASS]", "print the graph\nafter a pass"},
};

enum { OPTION_OUTPUT = 1, OPTION_QUIET, OPTION_PRINT_IR };

static tool_args args_of(int argc, const char *const *argv)
{
    return (tool_args){
        .program = "mtlc",
        .version = "0.1.0",
        .usage = "MODEL -o PLAN\nMODEL --print-ir",
        .summary = "Compiles.",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .argc = argc,
        .argv = (char **)(uintptr_t)argv,
    };
}

#define ARGS(...)                                                                                                      \
    args_of(sizeof((const char *[]){"mtlc", __VA_ARGS__}) / sizeof(const char *),                                      \
            (const char *const[]){"mtlc", __VA_ARGS__})

static void command_lines_are_parsed(void **state)
{
    (void)state;
    const char *value;
    tool_args args = ARGS("model.onnx", "-qo", "a.bin", "--output=b=c", "--output", "-d", "-oe", "--print-ir",
                          "--print-ir=after-fold", "-", "--", "-q");
    static const struct {
        int option;
        const char *value;
    } expected[] = {
        {TOOL_ARGS_POSITIONAL, "model.onnx"},
        {OPTION_QUIET, NULL},
        {OPTION_OUTPUT, "a.bin"},
        {OPTION_OUTPUT, "b=c"},
        {OPTION_OUTPUT, "-d"},
        {OPTION_OUTPUT, "e"},
        {OPTION_PRINT_IR, NULL},
        {OPTION_PRINT_IR, "after-fold"},
        {TOOL_ARGS_POSITIONAL, "-"},
        {TOOL_ARGS_POSITIONAL, "-q"},
        {TOOL_ARGS_END, NULL},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_int_equal(tool_args_next(&args, &value), expected[i].option);
        if (expected[i].value == NULL) {
            assert_null(value);
        } else {
            assert_string_equal(value, expected[i].value);
        }
    }
}

/* Runs the parser with a standard stream caught; the text is to be freed. */
static char *caught(FILE *stream, tool_args args, int expected)
{
    const char *value;
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stream);
    int descriptor = fileno(stream), saved = dup(descriptor);
    dup2(fileno(file), descriptor);
    int result = tool_args_next(&args, &value);
    fflush(stream);
    dup2(saved, descriptor);
    close(saved);
    char *text = calloc(1, 4096);
    rewind(file);
    assert_true(fread(text, 1, 4095, file) > 0);
    fclose(file);
    assert_int_equal(result, expected);
    return text;
}

static void expect_error(tool_args args, const char *expected)
{
    char *text = caught(stderr, args, TOOL_ARGS_ERROR);
    assert_string_equal(text, expected);
    free(text);
}

static void wrong_command_lines_are_told(void **state)
{
    (void)state;
    expect_error(ARGS("--foo=3"), "mtlc: unknown option '--foo' (see mtlc --help)\n");
    expect_error(ARGS("-x"), "mtlc: unknown option '-x' (see mtlc --help)\n");
    expect_error(ARGS("--output"), "mtlc: option '--output' needs a value: PLAN (see mtlc --help)\n");
    expect_error(ARGS("-o"), "mtlc: option '-o' needs a value: PLAN (see mtlc --help)\n");
    expect_error(ARGS("--quiet=1"), "mtlc: option '--quiet' takes no value (see mtlc --help)\n");
    expect_error(ARGS("--out", "x"), "mtlc: unknown option '--out' (see mtlc --help)\n");
}

static void help_is_aligned(void **state)
{
    (void)state;
    char *text = caught(stdout, ARGS("--help"), TOOL_ARGS_DONE);
    assert_string_equal(text, "usage: mtlc MODEL -o PLAN\n"
                              "       mtlc MODEL --print-ir\n"
                              "\n"
                              "Compiles.\n"
                              "\n"
                              "options:\n"
                              "  -o, --output PLAN            where the plan goes\n"
                              "  -q, --quiet                  print nothing\n"
                              "      --print-ir[=after-PASS]  print the graph\n"
                              "                               after a pass\n"
                              "  -h, --help                   print this and exit\n"
                              "  -V, --version                print the version and exit\n");
    free(text);
    text = caught(stdout, ARGS("--version"), TOOL_ARGS_DONE);
    assert_string_equal(text, "mtlc 0.1.0\n");
    free(text);
}

static void numbers_are_parsed(void **state)
{
    (void)state;
    long long numbers[3];
    size_t count;
    assert_true(tool_parse_numbers("1,16,64", 1, 100, numbers, 3, &count));
    assert_int_equal(count, 3);
    assert_int_equal(numbers[2], 64);
    static const char *const wrong[] = {
        "", "1,", ",1", "x", "1x", "0", "101", "1,2,3,4", " 1", "+1", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(tool_parse_numbers(wrong[i], 1, 100, numbers, 3, &count));
    }
    assert_true(tool_parse_number("-5", -10, 10, &numbers[0]));
    assert_int_equal(numbers[0], -5);
    assert_false(tool_parse_number("1,2", 0, 10, &numbers[0]));
}

static char *info_of(bool json, const char *const *kernels)
{
    size_t size, length;
    char *text = NULL;
    plan_view view;
    unsigned char *file = fixture_plan(&size);
    FILE *out = open_memstream(&text, &length);
    assert_int_equal(plan_check(file, size, false, NULL, &view), MTL_OK);
    assert_int_equal(tool_info_print(&view, "plan.bin", kernels, json, out, NULL), MTL_OK);
    fclose(out);
    free(file);
    return text;
}

static void expect_text(const char *text, const char *expected)
{
    if (strstr(text, expected) == NULL) {
        fail_msg("'%s' is not in:\n%s", expected, text);
    }
}

static void info_tells_a_plan(void **state)
{
    (void)state;
    const char *kernels[S_COUNT] = {[S_LINEAR] = "native avx2"};
    char *text = info_of(false, NULL);
    expect_text(text, "plan.bin: plan format 1.3, ");
    expect_text(text, "  producer   pytorch 2.13\n");
    expect_text(text, "  source     00000000000000020000000000000001\n");
    expect_text(text, "  workspace  64 bytes + threads x tile rows x 104 bytes\n");
    expect_text(text, "  x     float32  (B, 8)\n");
    expect_text(text, "request program: 2 steps, FLOPs 4, bytes 64\n");
    expect_text(text, "linear     leaky_relu  (B, 8) (1, 8, 20) (1, 20) -> (B, 20)");
    expect_text(text, "360/row");
    expect_text(text, "gemm0, leaky0\n");
    assert_null(strstr(text, "kernel"));
    free(text);
    text = info_of(false, kernels);
    expect_text(text, "native avx2");
    free(text);
    text = info_of(true, kernels);
    expect_text(text, "\"source_xxh128\": \"00000000000000020000000000000001\"");
    expect_text(text, "\"formula\": \"64 + threads x tile rows x 104\"");
    expect_text(text, "\"kernel\": \"native avx2\"");
    expect_text(text, "\"flops_per_row\": 360");
    expect_text(text, "\"storage\": \"request\"");
    free(text);
}

static void bench_prints_json(void **state)
{
    (void)state;
    const tool_bench_result results[] = {{1, 1, 2.5, 3.5, 400000}, {64, 2, 20, 21, 6.4e6}};
    const tool_bench bench = {
        .plan = "a.plan", .provider = "auto", .callers = 3, .results = results, .result_count = 2};
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    assert_int_equal(tool_bench_print_json(&bench, out, NULL), MTL_OK);
    fclose(out);
    expect_text(text, "\"plan\": \"a.plan\"");
    expect_text(text, "\"isa\": null");
    expect_text(text, "\"callers\": 3");
    expect_text(text, "\"median_us\": 2.5");
    expect_text(text, "\"rows_per_second\": 6400000.0");
    free(text);
    out = fopen("/dev/full", "w");
    if (out != NULL) {
        mtl_error error;
        base_diag diag = {.error = &error};
        assert_int_equal(tool_bench_print_json(&bench, out, &diag), MTL_IO);
        fclose(out);
    }
}

static void progress_is_silent_without_a_terminal(void **state)
{
    (void)state;
    tool_progress progress = {0};
    tool_progress_show(&progress, "fold", 0.5);
    tool_progress_end(&progress);
    assert_true(progress.started);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_lines_are_parsed),
        cmocka_unit_test(wrong_command_lines_are_told),
        cmocka_unit_test(help_is_aligned),
        cmocka_unit_test(numbers_are_parsed),
        cmocka_unit_test(info_tells_a_plan),
        cmocka_unit_test(bench_prints_json),
        cmocka_unit_test(progress_is_silent_without_a_terminal),
    };
    return cmocka_run_group_tests_name("tool", tests, NULL, NULL);
}
