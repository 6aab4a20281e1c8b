/* Passes on made-up graphs: the pipeline keeps the numbers of random graphs, leaves them valid after every pass, is
 * deterministic, says what became of every source node, and takes a large graph. */
#define _POSIX_C_SOURCE 200809L /* open_memstream */
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

enum { ROWS = 3, MAX_VALUES = 256 };

typedef struct lab {
    base_arena arena;
    mtl_error error;
    base_diag diag;
    ir_graph *graph;
    uint32_t seed;
    ir_value values[MAX_VALUES];
    size_t count;
} lab;

static uint32_t draw(lab *t, uint32_t limit)
{
    t->seed = t->seed * 1664525 + 1013904223;
    return (t->seed >> 10) % limit;
}

static void lab_open(lab *t, uint32_t seed)
{
    memset(t, 0, sizeof *t);
    t->diag.error = &t->error;
    t->seed = seed;
    assert_int_equal(ir_graph_new(&t->arena, &t->diag, &t->graph), MTL_OK);
}

static void lab_close(lab *t)
{
    base_arena_free(&t->arena);
}

/* Quarters, ones, zeros and equal vectors are likely: they are what passes look for. */
static ir_value add_const(lab *t, int rank, const int64_t *shape, bool positive)
{
    ir_tensor tensor = {.dtype = MTL_F32, .rank = rank, .count = 1};
    for (int i = 0; i < rank; i++) {
        tensor.shape[i] = shape[i];
        tensor.count *= (size_t)shape[i];
    }
    double *f = BASE_NEW_ARRAY(&t->arena, double, tensor.count);
    uint32_t kind = draw(t, 4);
    for (size_t i = 0; i < tensor.count; i++) {
        f[i] = kind == 0 ? 1 : kind == 1 && !positive ? 0 : ((double)draw(t, 16) - (positive ? -1 : 8)) / 8;
    }
    tensor.f = f;
    ir_value value = 0;
    assert_int_equal(ir_add_const(t->graph, NULL, &tensor, &t->diag, &value), MTL_OK);
    return value;
}

/* Adds a node when it is a valid one. */
static ir_value try_node(lab *t, ir_op op, const ir_value *inputs, size_t input_count, const ir_attr *attrs,
                         size_t attr_count, const ir_type *type)
{
    ir_value value = 0;
    uint32_t source;
    t->diag.failed = 0;
    assert_int_equal(ir_add_source(t->graph, "n", ir_op_table(op)->name, &t->diag, &source), MTL_OK);
    t->graph->current_source = source;
    mtl_status status =
        type != NULL
            ? ir_insert_typed(t->graph, 0, op, NULL, inputs, input_count, attrs, attr_count, type, &t->diag, &value)
            : ir_insert(t->graph, 0, op, NULL, inputs, input_count, attrs, attr_count, &t->diag, &value);
    t->graph->current_source = UINT32_MAX;
    if (status != MTL_OK) {
        t->graph->sources[source].fate = "was refused";
        return 0;
    }
    if (t->count < MAX_VALUES) {
        t->values[t->count++] = value;
    }
    return value;
}

static ir_value pick(lab *t)
{
    uint32_t recent = draw(t, 3) > 0 && t->count > 3 ? 3 : (uint32_t)t->count;
    return t->values[t->count - 1 - draw(t, recent)];
}

/* Extents of x from the right, each perhaps 1, perhaps fewer: a constant that broadcasts to it. */
static ir_value const_like(lab *t, ir_value x)
{
    const ir_type *type = ir_type_of(t->graph, x);
    int64_t shape[MTL_MAX_RANK] = {0};
    int rank = (int)draw(t, (uint32_t)type->rank + 1);
    for (int i = 0; i < rank; i++) {
        ir_dim dim = type->dim[type->rank - rank + i];
        shape[i] = ir_dim_is_const(dim) && draw(t, 3) > 0 ? dim.c : 1;
    }
    return add_const(t, rank, shape, draw(t, 2) == 0);
}

static void add_move(lab *t, ir_value x)
{
    ir_type type = *ir_type_of(t->graph, x);
    int64_t perm[MTL_MAX_RANK];
    int rank = type.rank;
    for (int i = 0; i < rank; i++) {
        perm[i] = i;
    }
    for (int i = rank - 1; i > 0; i--) {
        int j = (int)draw(t, (uint32_t)i + 1);
        int64_t kept = perm[i];
        perm[i] = perm[j];
        perm[j] = kept;
    }
    switch (draw(t, 4)) {
    case 0: try_node(t, IR_OP_transpose, &x, 1, &(ir_attr)IR_INTS(perm, perm, rank), 1, NULL); break;
    case 1: /* an axis of extent 1 comes */
        if (rank < 4) {
            int at = (int)draw(t, (uint32_t)rank + 1);
            memmove(&type.dim[at + 1], &type.dim[at], (size_t)(rank - at) * sizeof type.dim[0]);
            type.dim[at] = ir_dim_const(1);
            type.rank++;
            try_node(t, IR_OP_reshape, &x, 1, NULL, 0, &type);
        }
        break;
    case 2: /* two axes become one */
        for (int i = 0; i + 1 < rank; i++) {
            ir_dim product;
            if (ir_dim_mul(type.dim[i], type.dim[i + 1], &product) && draw(t, 2) == 0) {
                type.dim[i] = product;
                memmove(&type.dim[i + 1], &type.dim[i + 2], (size_t)(rank - i - 2) * sizeof type.dim[0]);
                type.rank--;
                try_node(t, IR_OP_reshape, &x, 1, NULL, 0, &type);
                break;
            }
        }
        break;
    default: /* an axis of 4 or more splits; an axis of 1 grows */
        for (int i = 0; i < rank && rank < 5; i++) {
            if (ir_dim_is_const(type.dim[i]) && type.dim[i].c >= 4 && type.dim[i].c % 2 == 0 && draw(t, 2) == 0) {
                memmove(&type.dim[i + 1], &type.dim[i], (size_t)(rank - i) * sizeof type.dim[0]);
                type.dim[i].c = 2;
                type.dim[i + 1].c /= 2;
                type.rank++;
                try_node(t, IR_OP_reshape, &x, 1, NULL, 0, &type);
                break;
            }
            if (ir_dim_is(type.dim[i], 1) && draw(t, 2) == 0) {
                type.dim[i] = draw(t, 2) == 0 ? ir_dim_const(2) : ir_dim_symbol(IR_SYMBOL_ROWS);
                try_node(t, IR_OP_expand, &x, 1, NULL, 0, &type);
                break;
            }
        }
    }
}

static void add_product(lab *t, ir_value x)
{
    const ir_type type = *ir_type_of(t->graph, x);
    if (type.rank == 0 || !ir_dim_is_const(type.dim[type.rank - 1])) {
        return;
    }
    int64_t k = type.dim[type.rank - 1].c, n = 1 + draw(t, 4);
    int64_t g = type.rank > 2 && ir_dim_is_const(type.dim[type.rank - 3]) ? type.dim[type.rank - 3].c : 2;
    int64_t shape[4] = {1, draw(t, 4) == 0 ? 1 : g, k, n};
    int rank = 1 + (int)draw(t, 4);
    ir_value w = add_const(t, rank, rank == 1 ? &k : shape + 4 - rank, false);
    try_node(t, IR_OP_matmul, (ir_value[]){x, w}, 2, NULL, 0, NULL);
}

static void add_norm(lab *t, ir_value x)
{
    const ir_type *type = ir_type_of(t->graph, x);
    if (type->rank >= 2 && ir_dim_is_const(type->dim[1])) {
        int64_t c = type->dim[1].c;
        ir_value inputs[5] = {x};
        for (int i = 1; i < 5; i++) {
            inputs[i] = add_const(t, 1, &c, i == 4);
        }
        try_node(t, IR_OP_batch_norm, inputs, 5, &(ir_attr)IR_FLOAT(epsilon, 0.125), 1, NULL);
    }
}

static void add_random_node(lab *t)
{
    static const ir_op unary[] = {IR_OP_relu, IR_OP_tanh, IR_OP_sigmoid, IR_OP_identity, IR_OP_neg, IR_OP_abs};
    static const ir_op binary[] = {IR_OP_add, IR_OP_sub, IR_OP_mul, IR_OP_div};
    ir_value x = pick(t), y = pick(t);
    int rank = ir_type_of(t->graph, x)->rank;
    int64_t axis = rank > 0 ? draw(t, (uint32_t)rank) : 0;
    switch (draw(t, 12)) {
    case 0:
    case 1: add_product(t, x); break;
    case 2:
    case 3: add_move(t, x); break;
    case 4:
    case 5: try_node(t, unary[draw(t, 6)], &x, 1, NULL, 0, NULL); break;
    case 6:
    case 7: {
        ir_op op = binary[draw(t, 4)];
        ir_value c = const_like(t, x);
        bool swap = op != IR_OP_div && draw(t, 2) == 0;
        try_node(t, op, (ir_value[]){swap ? c : x, swap ? x : c}, 2, NULL, 0, NULL);
        break;
    }
    case 8: try_node(t, binary[draw(t, 3)], (ir_value[]){x, y}, 2, NULL, 0, NULL); break;
    case 9: add_norm(t, x); break;
    case 10:
        try_node(t, IR_OP_concat, (ir_value[]){x, y}, 1 + draw(t, 2), &(ir_attr)IR_INT(axis, axis), 1, NULL);
        break;
    default:
        try_node(t, IR_OP_reduce_max, &x, 1, (ir_attr[]){IR_INTS(axes, &axis, rank > 0), IR_INT(keepdims, draw(t, 2))},
                 2, NULL);
    }
}

static void make_random_graph(lab *t, uint32_t seed)
{
    static const ir_type types[] = {
        {.dtype = MTL_F32, .rank = 2, .dim = {{0, {1}}, {4, {0}}}},
        {.dtype = MTL_F32, .rank = 3, .dim = {{0, {1}}, {2, {0}}, {4, {0}}}},
    };
    lab_open(t, seed);
    for (int i = 0; i < 2; i++) {
        ir_value value = 0;
        assert_int_equal(ir_add_input(t->graph, i == 0 ? "x" : "z", &types[i], &t->diag, &value), MTL_OK);
        t->values[t->count++] = value;
    }
    for (int i = 0; i < 40; i++) {
        add_random_node(t);
    }
    t->diag.failed = 0;
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "o%d", i);
        assert_int_equal(ir_add_output(t->graph, name, i == 0 ? t->values[t->count - 1] : pick(t), &t->diag), MTL_OK);
    }
}

static void fail_of(const lab *t, const char *what)
{
    fail_msg("%s: %s", what, t->error.message);
}

static ir_tensor *evaluate(lab *t)
{
    ir_graph *graph = t->graph;
    ir_tensor inputs[2], *outputs = BASE_NEW_ARRAY(&t->arena, ir_tensor, graph->output_count);
    for (uint32_t i = 0; i < 2; i++) {
        const ir_type *type = ir_type_of(graph, graph->inputs[i]);
        inputs[i] = (ir_tensor){.dtype = MTL_F32, .rank = type->rank, .shape = {ROWS}, .count = ROWS};
        for (int k = 1; k < type->rank; k++) {
            inputs[i].shape[k] = type->dim[k].c;
            inputs[i].count *= (size_t)type->dim[k].c;
        }
        double *f = BASE_NEW_ARRAY(&t->arena, double, inputs[i].count);
        for (size_t k = 0; k < inputs[i].count; k++) {
            f[k] = sin((double)k + i);
        }
        inputs[i].f = f;
    }
    if (ir_eval(graph, inputs, &t->arena, &t->diag, outputs) != MTL_OK) {
        fail_of(t, "evaluation");
    }
    return outputs;
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

static mtl_status verify_after(void *context, const char *pass, ir_graph *graph)
{
    lab *t = context;
    if (ir_verify(graph, &t->diag) != MTL_OK) {
        fail_of(t, pass);
    }
    return MTL_OK;
}

/* Every source is done by a node, or says why not, and not both. Nodes that compute do somebody's work. */
static void check_fates(const ir_graph *graph)
{
    bool *done = calloc(graph->source_count + 1, sizeof *done);
    assert_non_null(done);
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        assert_true(node->source_count > 0 || node->op == IR_OP_reshape || node->op == IR_OP_slice);
        for (uint32_t i = 0; i < node->source_count; i++) {
            done[node->sources[i]] = true;
        }
    }
    for (uint32_t i = 0; i < graph->source_count; i++) {
        assert_true(done[i] == (graph->sources[i].fate == NULL));
    }
    free(done);
}

static void check_near(const ir_tensor *a, const ir_tensor *b, uint32_t output, uint32_t seed)
{
    double largest = 1;
    assert_int_equal(a->count, b->count);
    for (size_t k = 0; k < a->count; k++) {
        largest = isfinite(a->f[k]) ? fmax(largest, fabs(a->f[k])) : largest;
    }
    for (size_t k = 0; k < a->count; k++) {
        if (isfinite(a->f[k]) && !(fabs(a->f[k] - b->f[k]) <= 1e-9 * largest)) {
            fail_msg("seed %u, output %u, element %zu: %.17g before, %.17g after", seed, output, k, a->f[k], b->f[k]);
        }
    }
}

static bool all_finite(const ir_tensor *outputs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        for (size_t k = 0; k < outputs[i].count; k++) {
            if (!(fabs(outputs[i].f[k]) < 1e6)) {
                return false;
            }
        }
    }
    return true;
}

static void test_random_graphs(void **state)
{
    (void)state;
    uint32_t compared = 0;
    for (uint32_t seed = 1; seed <= 400; seed++) {
        lab t;
        make_random_graph(&t, seed);
        if (ir_verify(t.graph, &t.diag) != MTL_OK) {
            fail_of(&t, "the random graph");
        }
        const ir_tensor *before = evaluate(&t);
        if (passes_run(t.graph, &t.diag, verify_after, &t) != MTL_OK) {
            fail_of(&t, "passes");
        }
        const ir_tensor *after = evaluate(&t);
        /* Dividing by 0 and the like amplifies roundings without bound: such graphs are only run. */
        for (uint32_t i = 0; i < t.graph->output_count && all_finite(before, t.graph->output_count); i++) {
            check_near(&before[i], &after[i], i, seed);
            compared++;
        }
        check_fates(t.graph);
        char *once = print(t.graph);
        lab_close(&t);
        make_random_graph(&t, seed);
        assert_int_equal(passes_run(t.graph, &t.diag, NULL, NULL), MTL_OK);
        char *again = print(t.graph);
        assert_string_equal(once, again);
        free(once);
        free(again);
        lab_close(&t);
    }
    assert_true(compared > 400);
}

static ir_value must(lab *t, ir_op op, const ir_value *inputs, size_t count, const ir_attr *attrs, size_t attr_count,
                     const ir_type *type)
{
    ir_value value = try_node(t, op, inputs, count, attrs, attr_count, type);
    if (value == 0) {
        fail_of(t, "a node");
    }
    return value;
}

/* 20,000 nodes in layers that merge, fold, cancel and form layers. */
static void test_large_graph(void **state)
{
    (void)state;
    enum { LAYERS = 2000 };
    lab t;
    lab_open(&t, 1);
    ir_type type = {.dtype = MTL_F32, .rank = 2, .dim = {{0, {1}}, {4, {0}}}};
    ir_type folded = {.dtype = MTL_F32, .rank = 3, .dim = {{0, {1}}, {2, {0}}, {2, {0}}}};
    ir_value x, one = add_const(&t, 0, NULL, true);
    ir_attr perm = IR_INTS(perm, ((int64_t[]){1, 0}), 2);
    assert_int_equal(ir_add_input(t.graph, "x", &type, &t.diag, &x), MTL_OK);
    for (int i = 0; i < LAYERS; i++) {
        ir_value w = add_const(&t, 2, (int64_t[]){4, 4}, false), b = add_const(&t, 1, (int64_t[]){4}, false);
        ir_value turned = must(&t, IR_OP_transpose, &w, 1, &perm, 1, NULL);
        ir_value left = must(&t, IR_OP_matmul, (ir_value[]){x, turned}, 2, NULL, 0, NULL);
        ir_value right = must(&t, IR_OP_matmul, (ir_value[]){x, turned}, 2, NULL, 0, NULL);
        left = must(&t, IR_OP_add, (ir_value[]){left, b}, 2, NULL, 0, NULL);
        right = must(&t, IR_OP_add, (ir_value[]){b, right}, 2, NULL, 0, NULL);
        ir_value sum = must(&t, IR_OP_add, (ir_value[]){left, right}, 2, NULL, 0, NULL);
        sum = must(&t, IR_OP_mul, (ir_value[]){sum, one}, 2, NULL, 0, NULL);
        sum = must(&t, IR_OP_reshape, &sum, 1, NULL, 0, &folded);
        sum = must(&t, IR_OP_reshape, &sum, 1, NULL, 0, &type);
        x = must(&t, IR_OP_tanh, &sum, 1, NULL, 0, NULL);
    }
    assert_int_equal(ir_add_output(t.graph, "y", x, &t.diag), MTL_OK);
    assert_int_equal(passes_run(t.graph, &t.diag, NULL, NULL), MTL_OK);
    assert_int_equal(ir_verify(t.graph, &t.diag), MTL_OK);
    check_fates(t.graph);
    lab_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_graphs),
        cmocka_unit_test(test_large_graph),
    };
    return cmocka_run_group_tests_name("passes", tests, NULL, NULL);
}
