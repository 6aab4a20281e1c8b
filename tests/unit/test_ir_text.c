/* The text form: print(parse(t)) == t, by hand and at random; what the parser says to people; what it survives. */
#define _POSIX_C_SOURCE 200809L /* open_memstream */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/graph.h"
#include "ir/text.h"

static char *print(const ir_graph *graph)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(ir_print(graph, out), MTL_OK);
    assert_int_equal(fclose(out), 0);
    char *copy = strdup(text); /* or gcc 12 takes what it knows only through the stream for a dangling pointer */
    assert_non_null(copy);
    free(text);
    return copy;
}

/* Gives the constants of another graph. */
static mtl_status find_in_graph(void *context, const char *name, base_arena *arena, base_diag *diag, ir_tensor *tensor)
{
    (void)arena;
    const ir_graph *graph = context;
    ir_value value = ir_find_value(graph, name);
    if (value == 0 || ir_info(graph, value)->tensor == NULL) {
        return base_fail(diag, MTL_INVALID_DATA, "there is no constant '%s'", name);
    }
    *tensor = *ir_info(graph, value)->tensor;
    return MTL_OK;
}

static void check_same_text(const char *text, ir_graph *origin)
{
    base_arena arena = {0};
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    ir_constants constants = {.context = origin, .find = find_in_graph};
    ir_graph *graph;
    if (ir_parse(text, strlen(text), origin != NULL ? &constants : NULL, &arena, &diag, &graph) != MTL_OK) {
        fail_msg("%s\n%s", error.message, text);
    }
    if (ir_verify(graph, &diag) != MTL_OK) {
        fail_msg("%s\n%s", error.message, text);
    }
    char *again = print(graph);
    assert_string_equal(again, text);
    free(again);
    base_arena_free(&arena);
}

static const char mmoe[] = "graph \"mmoe \\\"small\\\"\" (B) {\n"
                           "  input %x : f32[B, 3]\n"
                           "  input %\"user/id\" : i64[B]\n"
                           "  const %w : f32[3, 2] = [0.5, 0.1f, -1, 0.1, 3.4028235e+38f, 1e-40]\n"
                           "  const %b : f32[2] = [inf, nan]\n"
                           "  const %none : f32[0, 3] = []\n"
                           "  const %limit : f64 = -inf\n"
                           "  const %u : u64[2] = [0, 18446744073709551615]\n"
                           "  const %flags : bool[2] = [true, false]\n"
                           "  const %i : i8 = -128\n"
                           "  %h : f32[B, 2] = linear %x, %w, %b {act=\"relu\"}\n"
                           "  %\"gate 0/Softmax\" : f32[B, 2] = softmax %h {axis=1}\n"
                           "  %t : f32[2, B] = transpose %\"gate 0/Softmax\" {perm=[1, 0]}\n"
                           "  %n : f32[2, B] = layer_norm %t {axis=1, epsilon=1e-05}\n"
                           "  %c : f64[2, B] = cast %n {to=f64}\n"
                           "  %twice : f32[2*B, 3] = concat %x, %none, %x {axis=0}\n"
                           "  output \"ctr\" = %c\n"
                           "  output \"id\" = %\"user/id\"\n"
                           "  output \"a\\x01b\" = %limit\n"
                           "  output \"u\" = %u\n"
                           "  output \"flags\" = %flags\n"
                           "  output \"i\" = %i\n"
                           "  output \"twice\" = %twice\n"
                           "}\n";

static void test_canonical(void **state)
{
    (void)state;
    check_same_text(mmoe, NULL);
    check_same_text("graph \"\" (\"batch size\", L) {\n"
                    "  input %x : f32[\"batch size\", 4*L+1, 8]\n"
                    "  const %b : f32[8] = [0, 0, 0, 0, 0, 0, 0, 0]\n"
                    "  %y : f32[\"batch size\", 4*L+1, 8] = layer_norm %x, _, %b {axis=2, epsilon=0.001}\n"
                    "  %z : f32[\"batch size\", 32*L+8] = reshape %y\n"
                    "  output \"y\" = %z\n"
                    "}\n",
                    NULL);
    check_same_text("graph \"params\" (B) {\n"
                    "  input %x : f32[B, 2]\n"
                    "  param %\"fusion/alpha\" : f32[2] = [0.5, 0.1f]\n"
                    "  param %unread : f32 = nan\n"
                    "  const %c : f32[2] = [1, 2]\n"
                    "  %m : f32[B, 2] = mul %x, %\"fusion/alpha\"\n"
                    "  %y : f32[B, 2] = add %m, %c\n"
                    "  output \"y\" = %y\n"
                    "}\n",
                    NULL);
    check_same_text("graph \"users\" (B) {\n"
                    "  input %u : i64[B, 5] per_user\n"
                    "  input %x : f32[B, 2]\n"
                    "  output \"y\" = %x\n"
                    "}\n",
                    NULL);
    check_same_text("graph \"empty\" (B) {\n}\n", NULL);
}

/* Spaces, comments, the order of attributes and of constants are free. */
static void test_free_form(void **state)
{
    (void)state;
    const char *text =
        "# a comment\ngraph \"g\"(B){input %x:f32[1+B - 1,-0+3]%y:f32[B,3]=layer_norm %x{epsilon=1e-5,axis=1}\r\n"
        "const %unused : i32[2] = [1,\n-2] # all of it\n output \"y\"=%y}";
    base_arena arena = {0};
    ir_graph *graph;
    assert_int_equal(ir_parse(text, strlen(text), NULL, &arena, NULL, &graph), MTL_OK);
    char *printed = print(graph);
    assert_string_equal(printed, "graph \"g\" (B) {\n  input %x : f32[B, 3]\n"
                                 "  %y : f32[B, 3] = layer_norm %x {axis=1, epsilon=1e-05}\n  output \"y\" = %y\n}\n");
    free(printed);
    base_arena_free(&arena);
}

static void check_error(const char *text, const char *expected)
{
    base_arena arena = {0};
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    ir_graph *graph;
    assert_int_not_equal(ir_parse(text, strlen(text), NULL, &arena, &diag, &graph), MTL_OK);
    assert_string_equal(error.message, expected);
    base_arena_free(&arena);
}

static void test_errors(void **state)
{
    (void)state;
    static const char *cases[][2] = {
        {"", "1:1: expected graph, found the end of the text"},
        {"graph mmoe", "1:7: expected the graph's name in quotes, found mmoe"},
        {"graph \"g\" ()", "1:12: expected the name of an extent, found )"},
        {"graph \"g\" (B, B)", "1:15: symbol 'B' is there twice"},
        {"graph \"g\" (A, B, C, D, E)", "1:24: more than 4 symbols"},
        {"graph \"g\" (B) {",
         "1:16: expected input, param, const, output, a value (%name) or '}', found the end of the "
         "text"},
        {"graph \"g\" (B) {} x", "1:18: expected the end of the text, found x"},
        {"graph \"\xc3\xa4\" (B) ;", "1:15: expected a word of the text form, found ;"},
        {"graph \"g", "1:7: expected \" at the end of the string, found the end of the line"},
        {"graph \"g\\q\"", "1:7: expected \\\" \\\\ \\n \\t or \\x01 to \\xff in the string, found another escape"},
        {"graph \"g\\x00\"", "1:7: expected \\\" \\\\ \\n \\t or \\x01 to \\xff in the string, found another escape"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_error(cases[i][0], cases[i][1]);
    }
}

/* Errors inside of the braces: the second line is the case. */
static void test_statement_errors(void **state)
{
    (void)state;
    static const char *cases[][2] = {
        {"input x : f32", "2:7: expected a value (%name), found x"},
        {"input % : f32", "2:7: expected a name behind %"},
        {"input %x : f33", "2:12: expected an element type (f32, i64, bool, ...), found f33"},
        {"input %x : f32[]", "2:16: expected an extent, found ]"},
        {"input %x : f32[L]", "2:16: symbol 'L' is not in the list behind the graph's name"},
        {"input %x : f32[B 3]", "2:18: expected ',' or ']', found 3"},
        {"input %x : f32[-3]", "2:16: the extent is -3, expected 0 or more"},
        {"input %x : f32[99999999999999999999]", "2:16: 99999999999999999999 is out of range"},
        {"input %x : f32[9223372036854775807+1]", "2:16: the extent is out of range"},
        {"input %x : f32[1,1,1,1,1,1,1,1,1]", "2:32: more than 8 axes"},
        {"input %x : f32[2, B] per_user",
         "2:22: 'x' cannot be per_user: expected an input whose first axis is the candidates"},
        {"input %x : f32 input %x : f32", "2:22: value 'x' is defined twice"},
        {"const %c : i8 = 128", "2:17: 128 is out of range for i8"},
        {"const %c : u8 = -1", "2:18: -1 is out of range for u8"},
        {"const %c : i8 = 1.5", "2:17: expected a whole number, found 1.5"},
        {"const %c : f32 = 1..5", "2:18: expected a number, found 1..5"},
        {"const %c : f32 = 1e400", "2:18: expected a number, found 1e400"},
        {"const %c : bool = 1", "2:19: expected true or false, found 1"},
        {"const %c : i64[2] = [1]", "2:21: expected 2 elements, found 1"},
        {"param %p : f32[2] = [1]", "2:21: expected 2 elements, found 1"},
        {"param %p : f32[B] = [1]", "2:7: constant 'p' has a symbol in its type"},
        {"param %p : i64[2] = [1, 2]", "2:7: param 'p' is i64, expected a constant of type f32"},
        {"param %p : f32[0] = []", "2:7: param 'p' has no elements"},
        {"input %p : f32 param %p : f32 = 1", "2:22: value 'p' is defined twice"},
        {"const %c : i64[2] = [1, 2, 3]", "2:28: expected 2 elements, found more"},
        {"const %c : i64[B] = [1]", "2:7: constant 'c' has a symbol in its type"},
        {"const %c : i64[4611686018427387904, 4] = []", "2:7: constant 'c' is too large"},
        {"const %c : i64[4611686018427387904] = []", "2:39: expected 4611686018427387904 elements, found fewer"},
        {"const %c : f32[100] = xxh3:0123", "2:28: expected 16 hexadecimal digits, found 0123"},
        {"const %c : f32[100] = xxh3:0123456789abcdef",
         "2:23: the elements of 'c' are not in the text, and no constants came with it"},
        {"%y : f32 = relu %x", "2:17: value 'x' is not defined above"},
        {"input %x : f32[B] %y : f32[B] = rely %x", "2:33: expected an operation, found rely"},
        {"input %x : f32[B] %y : f32[B] = relu %x, %x", "2:33: node 'y' (relu): 2 operands, expected 1"},
        {"input %x : f32[B] %y : f32[B] = add %x, _", "2:33: node 'y' (add): 1 operand, expected 2"},
        {"input %x : f32[B] %y : f32[B] = relu %x {axis=1}",
         "2:33: node 'y' (relu): attribute axis is not one of this operation"},
        {"input %x : f32[B] %y : f32[B] = elu %x", "2:33: node 'y' (elu): attribute alpha is missing"},
        {"input %x : f32[B] %y : f32[B] = elu %x {alpha=1, alpha=1}", "2:50: attribute alpha is there twice"},
        {"input %x : f32[B] %y : f32[B] = elu %x {alfa=1}", "2:41: expected an attribute's name, found alfa"},
        {"input %x : f32[B] %y : f32[2*B] = relu %x", "2:35: node 'y' (relu): the result is f32[B], not f32[2*B]"},
        {"input %x : f32[B] output y = %x", "2:26: expected the output's name in quotes, found y"},
        {"input %x : f32[B] output \"y\" = %x output \"y\" = %x", "2:42: output 'y' is there twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "graph \"g\" (B) {\n%s\n}\n", cases[i][0]);
        check_error(text, cases[i][1]);
    }
}

/* Constants that come from outside: found, not found, of another type, with other numbers. */
static void test_companions(void **state)
{
    (void)state;
    base_arena arena = {0};
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    ir_graph *origin, *graph;
    ir_value value;
    assert_int_equal(ir_graph_new(&arena, &diag, &origin), MTL_OK);
    double *numbers = BASE_NEW_ARRAY(&arena, double, 70);
    ir_tensor tensor = {.dtype = MTL_F32, .rank = 2, .shape = {7, 10}, .count = 70, .f = numbers};
    assert_int_equal(ir_add_const(origin, "w", &tensor, &diag, &value), MTL_OK);
    assert_int_equal(ir_add_output(origin, "w", value, &diag), MTL_OK);
    char *text = print(origin);
    check_same_text(text, origin);

    ir_constants constants = {.context = origin, .find = find_in_graph};
    numbers[69] = 1;
    assert_int_equal(ir_parse(text, strlen(text), &constants, &arena, &diag, &graph), MTL_INVALID_DATA);
    assert_non_null(strstr(error.message, "2:27: the constant that came for 'w' has hash "));
    numbers[69] = 0;
    diag.failed = 0;
    char *extent = strstr(text, "[7, ");
    assert_non_null(extent);
    extent[1] = '8';
    assert_int_equal(ir_parse(text, strlen(text), &constants, &arena, &diag, &graph), MTL_INVALID_DATA);
    assert_string_equal(error.message, "2:27: the constant that came for 'w' has another type");
    extent[1] = '7';
    diag.failed = 0;
    strstr(text, "%w")[1] = 'u';
    assert_int_equal(ir_parse(text, strlen(text), &constants, &arena, &diag, &graph), MTL_INVALID_DATA);
    assert_string_equal(error.message, "2:27: there is no constant 'u'");
    free(text);
    base_arena_free(&arena);
}

static void check_float(double number)
{
    char text[IR_TEXT_FLOAT_SIZE];
    double back = 1;
    ir_text_float(number, text);
    assert_true(ir_text_to_float(text, strlen(text), &back));
    assert_true(isnan(number) ? isnan(back) : memcmp(&back, &number, sizeof back) == 0);
}

static uint64_t random_bits(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void test_floats(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {0.5, "0.5"},
        {0.1, "0.1"},
        {(double)0.1f, "0.1f"},
        {1e22, "1e+22"},
        {16777217, "16777217"},
        {1.0 / 3, "0.3333333333333333"},
        {(double)(1.0f / 3), "0.33333334f"},
        {0x1p-1074, "5e-324"},
        {0x1p-149, "1e-45f"},
        {-INFINITY, "-inf"},
        {NAN, "nan"},
        {100, "100"},
        {1e15, "1e+15"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[IR_TEXT_FLOAT_SIZE];
        ir_text_float(cases[i].number, text);
        assert_string_equal(text, cases[i].text);
    }
    uint64_t seed = 42;
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = random_bits(&seed);
        uint32_t low = (uint32_t)bits;
        double number;
        float narrow;
        memcpy(&number, &bits, sizeof number);
        memcpy(&narrow, &low, sizeof narrow);
        check_float(number);
        check_float(narrow);
        check_float((double)(int64_t)(bits >> 50));
    }
    static const char *bad[] = {"",    "f",   "-",        ".",    "e5",    "1e",    "1e+", "0x10",
                                "1_0", "1ff", "infinity", "nanf", "1e400", "1e40f", "--1", "1 "};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double number;
        assert_false(ir_text_to_float(bad[i], strlen(bad[i]), &number));
    }
}

/* A comma as the decimal point must not reach the text. Machines without such a locale skip this. */
static void test_locale(void **state)
{
    (void)state;
    static const char *names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8", "de_DE", "fr_FR"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !found; i++) {
        found = setlocale(LC_NUMERIC, names[i]) != NULL;
    }
    if (!found) {
        skip();
    }
    check_same_text(mmoe, NULL);
    setlocale(LC_NUMERIC, "C");
}

/* --- at random ----------------------------------------------------------------------------------------------- */

static const char *random_name(uint64_t *seed, char *name)
{
    static const char letters[] = "abcxyz_/. \"\\%\n\xc3\xa4";
    size_t length = random_bits(seed) % 6;
    for (size_t i = 0; i < length; i++) {
        name[i] = letters[random_bits(seed) % (sizeof letters - 1)];
    }
    name[length] = '\0';
    return name;
}

static double random_number(uint64_t *seed)
{
    uint64_t bits = random_bits(seed);
    double number;
    memcpy(&number, &bits, sizeof number);
    return bits % 3 == 0   ? number
           : bits % 3 == 1 ? (double)(float)(bits % 1000) / 8
                           : (double)(0.1f * (float)(bits % 99));
}

static void random_const(ir_graph *graph, uint64_t *seed)
{
    ir_tensor tensor = {.dtype = (mtl_dtype)(1 + random_bits(seed) % 13), .rank = (int32_t)(random_bits(seed) % 3)};
    tensor.count = 1;
    for (int i = 0; i < tensor.rank; i++) {
        tensor.shape[i] = (int64_t)(random_bits(seed) % 13);
        tensor.count *= (size_t)tensor.shape[i];
    }
    unsigned char *raw = base_arena_alloc(graph->arena, tensor.count * 8 + 1);
    double *floats = BASE_NEW_ARRAY(graph->arena, double, tensor.count);
    for (size_t i = 0; i < tensor.count * 8; i++) {
        raw[i] = (unsigned char)random_bits(seed);
    }
    for (size_t i = 0; i < tensor.count; i++) {
        floats[i] = random_number(seed);
    }
    bool raws = random_bits(seed) % 2 == 0 || !ir_dtype_is_float(tensor.dtype);
    tensor.raw = raws ? raw : NULL;
    tensor.f = raws ? NULL : floats;
    char name[8];
    ir_value value;
    assert_int_equal(ir_add_const(graph, random_name(seed, name), &tensor, NULL, &value), MTL_OK);
    if (tensor.dtype == MTL_F32 && tensor.count > 0) {
        assert_int_equal(ir_make_param(graph, value, NULL), MTL_OK);
    }
}

static ir_attr random_attr(ir_attr_key key, uint64_t *seed, int64_t ints[4])
{
    ir_attr attr = {.key = key, .i = (int64_t)(random_bits(seed) % 3), .f = random_number(seed), .text = "relu"};
    attr.ints = ints;
    attr.count = 1 + random_bits(seed) % 3;
    for (size_t i = 0; i < 4; i++) {
        ints[i] = (int64_t)(random_bits(seed) % 3);
    }
    if (ir_attr_key_kind(key) == IR_KIND_DTYPE) {
        attr.i = (int64_t)(1 + random_bits(seed) % 13);
    }
    return attr;
}

/* Tries a random operation on random values; most do not fit, and must say so without harm. */
static void random_node(ir_graph *graph, uint64_t *seed)
{
    ir_op op = (ir_op)(random_bits(seed) % IR_OP_COUNT);
    const ir_op_info *info = ir_op_table(op);
    ir_value inputs[5], result;
    size_t count = (size_t)info->min_inputs + (info->max_inputs != info->min_inputs ? random_bits(seed) % 2 : 0);
    for (size_t i = 0; i < count; i++) {
        do {
            inputs[i] = (ir_value)(random_bits(seed) % graph->value_count);
        } while (inputs[i] != 0 && graph->values[inputs[i]].kind == IR_VALUE_NODE &&
                 graph->values[inputs[i]].type.dtype == 0);
    }
    ir_attr attrs[IR_ATTR_COUNT];
    int64_t ints[IR_ATTR_COUNT][4];
    size_t attr_count = 0;
    for (int key = IR_ATTR_COUNT - 1; key >= 0; key--) {
        if (((info->required >> key) & 1) != 0 || ((info->optional >> key) & random_bits(seed) & 1) != 0) {
            attrs[attr_count] = random_attr((ir_attr_key)key, seed, ints[attr_count]);
            attr_count++;
        }
    }
    char name[8];
    uint32_t values = graph->value_count;
    mtl_status status =
        ir_insert(graph, 0, op, random_name(seed, name), inputs, count, attrs, attr_count, NULL, &result);
    if (status != MTL_OK) {
        for (uint32_t i = values; i < graph->value_count; i++) {
            graph->values[i].type.dtype = 0; /* of the node that was not inserted: not to be used above */
        }
    }
}

static void test_random(void **state)
{
    (void)state;
    int nodes = 0;
    for (uint64_t round = 1; round <= 400; round++) {
        uint64_t seed = round * 0x9e3779b97f4a7c15u;
        base_arena arena = {0};
        mtl_error error = {0};
        base_diag diag = {.error = &error};
        ir_graph *graph;
        assert_int_equal(ir_graph_new(&arena, &diag, &graph), MTL_OK);
        graph->symbols = (ir_symbols){.name = {"B", "a b"}, .count = 2};
        for (int i = 0; i < 4; i++) {
            ir_type type = {.dtype = i < 2 ? MTL_F32 : MTL_I64, .rank = i};
            for (int j = 0; j < i; j++) {
                type.dim[j] = (ir_dim){.c = (int64_t)(random_bits(&seed) % 4), .k = {random_bits(&seed) % 3 == 0}};
            }
            ir_value value;
            char name[16];
            snprintf(name, sizeof name, "in%d", i);
            assert_int_equal(ir_add_input(graph, name, &type, &diag, &value), MTL_OK);
        }
        for (int i = 0; i < 10; i++) {
            random_const(graph, &seed);
        }
        for (int i = 0; i < 300; i++) {
            random_node(graph, &seed);
        }
        for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
            char name[24];
            snprintf(name, sizeof name, "out\n%d", nodes++);
            assert_int_equal(ir_add_output(graph, name, ir_node_of(graph, node)->outputs[0], &diag), MTL_OK);
        }
        if (ir_verify(graph, &diag) != MTL_OK) {
            fail_msg("round %d: %s", (int)round, error.message);
        }
        char *text = print(graph);
        check_same_text(text, graph);
        free(text);
        base_arena_free(&arena);
    }
    assert_true(nodes > 1000);
}

/* Texts with bytes changed, cut, doubled: an error or a graph, never harm. */
static void test_garbage(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        char text[sizeof mmoe + 64];
        size_t length = sizeof mmoe - 1;
        memcpy(text, mmoe, length);
        for (uint64_t i = random_bits(&seed) % 4; i > 0; i--) {
            size_t at = random_bits(&seed) % length, from = random_bits(&seed) % length;
            size_t size = random_bits(&seed) % 16;
            switch (random_bits(&seed) % 3) {
            case 0: text[at] = (char)random_bits(&seed); break;
            case 1: length = at + 1; break;
            default:
                size = size > length - at ? length - at : size > length - from ? length - from : size;
                size = size > length - from ? length - from : size;
                memmove(text + at, text + from, size);
            }
        }
        char *exact = malloc(length); /* so that a read behind the end is seen */
        assert_non_null(exact);
        memcpy(exact, text, length);
        base_arena arena = {0};
        mtl_error error = {0};
        base_diag diag = {.error = &error};
        ir_graph *graph;
        if (ir_parse(exact, length, NULL, &arena, &diag, &graph) == MTL_OK) {
            assert_int_equal(ir_verify(graph, &diag), MTL_OK);
        } else {
            assert_true(error.message[0] >= '1' && error.message[0] <= '9');
        }
        free(exact);
        base_arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical),        cmocka_unit_test(test_free_form), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_statement_errors), cmocka_unit_test(test_floats),    cmocka_unit_test(test_locale),
        cmocka_unit_test(test_companions),       cmocka_unit_test(test_random),    cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
