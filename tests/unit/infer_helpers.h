/* Small graphs for the tests of inference, rates and einsum. */
#ifndef INFER_HELPERS_H
#define INFER_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ir/graph.h"

typedef struct lab {
    base_arena arena;
    ir_graph *graph;
    mtl_error error;
    base_diag diag;
} lab;

#define V(...) (const ir_value[]){__VA_ARGS__}, sizeof((const ir_value[]){__VA_ARGS__}) / sizeof(ir_value)
#define A(...) (const ir_attr[]){__VA_ARGS__}, sizeof((const ir_attr[]){__VA_ARGS__}) / sizeof(ir_attr)
#define NO_ATTRS NULL, 0
#define INTS(name, ...)                                                                                                \
    IR_INTS(name, ((const int64_t[]){__VA_ARGS__}), sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* A graph with the symbols B (rows) and U. */
static inline void lab_open(lab *t)
{
    memset(t, 0, sizeof *t);
    t->diag.error = &t->error;
    assert_int_equal(ir_graph_new(&t->arena, &t->diag, &t->graph), MTL_OK);
    t->graph->symbols.name[1] = "U";
    t->graph->symbols.count = 2;
}

static inline void lab_close(lab *t)
{
    base_arena_free(&t->arena);
}

/* "f32[B,4,2*B]", "i64": a dtype and extents, each a number, a symbol, or a number times a symbol. */
static inline ir_type type_of(const char *text)
{
    ir_type type = {0};
    char dtype[8] = {0};
    size_t length = strcspn(text, "[");
    memcpy(dtype, text, length);
    assert_true(ir_dtype_find(dtype, &type.dtype));
    const char *p = text + length;
    while (*p == '[' || *p == ',' || *p == ' ') {
        p += strspn(p, "[, ");
        if (*p == ']') {
            break;
        }
        char *end;
        long number = strtol(p, &end, 10);
        number = end == p ? 1 : number;
        p = end + (*end == '*' ? 1 : 0);
        ir_dim dim = ir_dim_const(number);
        if (*p == 'B' || *p == 'U') {
            assert_true(ir_dim_mul(ir_dim_symbol(*p == 'B' ? 0 : 1), dim, &dim));
            p++;
        }
        type.dim[type.rank++] = dim;
    }
    return type;
}

static inline ir_value add_input(lab *t, const char *type_text)
{
    static unsigned number;
    char name[32];
    ir_type type = type_of(type_text);
    ir_value value = 0;
    snprintf(name, sizeof name, "in%u", number++);
    assert_int_equal(ir_add_input(t->graph, name, &type, &t->diag, &value), MTL_OK);
    return value;
}

/* Floats that differ from each other. */
static inline ir_value add_weights(lab *t, const char *type_text)
{
    ir_type type = type_of(type_text);
    ir_tensor tensor = {.dtype = type.dtype, .rank = type.rank, .count = 1};
    for (int i = 0; i < type.rank; i++) {
        tensor.shape[i] = type.dim[i].c;
        tensor.count *= (size_t)type.dim[i].c;
    }
    double *numbers = BASE_NEW_ARRAY(&t->arena, double, tensor.count);
    for (size_t i = 0; i < tensor.count; i++) {
        numbers[i] = (double)((i * 7 + 3) % 11) - 4.5;
    }
    tensor.f = numbers;
    ir_value value = 0;
    assert_int_equal(ir_add_const(t->graph, "w", &tensor, &t->diag, &value), MTL_OK);
    return value;
}

static inline ir_value add_ints(lab *t, int rank, size_t count, const int64_t *numbers)
{
    ir_value value = 0;
    assert_int_equal(ir_add_const_ints(t->graph, numbers, count, rank, &t->diag, &value), MTL_OK);
    return value;
}

#define VECTOR(t, ...) add_ints((t), 1, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[]){__VA_ARGS__})
#define SCALAR(t, number) add_ints((t), 0, 1, (int64_t[]){(number)})

/* A node; `type` may be NULL. Returns 0 when it is refused: the reason is in t->error. */
static inline ir_value try_node(lab *t, ir_op op, const char *type_text, const ir_value *inputs, size_t input_count,
                                const ir_attr *attrs, size_t attr_count)
{
    ir_type type;
    ir_value value = 0;
    t->diag.failed = 0;
    t->error.message[0] = '\0';
    if (type_text != NULL) {
        type = type_of(type_text);
    }
    mtl_status status = ir_insert_typed(t->graph, 0, op, NULL, inputs, input_count, attrs, attr_count,
                                        type_text == NULL ? NULL : &type, &t->diag, &value);
    assert_true((status == MTL_OK) == (value != 0));
    return value;
}

static inline ir_value node(lab *t, ir_op op, const char *type_text, const ir_value *inputs, size_t input_count,
                            const ir_attr *attrs, size_t attr_count)
{
    ir_value value = try_node(t, op, type_text, inputs, input_count, attrs, attr_count);
    if (value == 0) {
        fail_msg("%s", t->error.message);
    }
    return value;
}

static inline void expect_type(lab *t, ir_value value, const char *text)
{
    assert_string_equal(ir_type_text(ir_type_of(t->graph, value), &t->graph->symbols, &t->arena), text);
}

/* The last node was refused with this text somewhere in the message. */
static inline void expect_refused(lab *t, ir_value value, const char *text)
{
    assert_int_equal(value, 0);
    if (strstr(t->error.message, text) == NULL) {
        fail_msg("'%s' is not in '%s'", text, t->error.message);
    }
}

/* "B 4 2*B", "" for no elements, NULL for no content. */
static inline void expect_content(lab *t, ir_value value, const char *text)
{
    const ir_value_info *info = ir_info(t->graph, value);
    char found[512] = {0};
    if (text == NULL || info->content == NULL) {
        assert_true(text == NULL && info->content == NULL);
        return;
    }
    for (size_t i = 0; i < info->content_count; i++) {
        size_t used = strlen(found);
        snprintf(found + used, sizeof found - used, "%s%s", i == 0 ? "" : " ",
                 ir_dim_text(info->content[i], &t->graph->symbols, &t->arena));
    }
    assert_string_equal(found, text);
}

#endif
