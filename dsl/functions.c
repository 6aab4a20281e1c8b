/* The functions that are no blocks and no operations: lists and numbers, weights, kinds of inputs, shapes. */
#include <string.h>

#include "dsl/elaborate.h"

enum { MOST = 4 };

typedef struct call call;

typedef struct function {
    const char *name;
    dsl_value (*run)(const call *c);
    int least; /* arguments that must be there, the first ones */
    const char *params[MOST];
} function;

/* The arguments by place, absent ones with type NONE. */
struct call {
    const function *function;
    dsl_elaborator *e;
    dsl_span at, spans[MOST];
    dsl_value v[MOST];
};

static int params_of(const function *f)
{
    int count = 0;
    while (count < MOST && f->params[count] != NULL) {
        count++;
    }
    return count;
}

static dsl_value wants(const call *c, int i, const char *what)
{
    if (c->v[i].type == DSL_T_BAD) {
        return c->v[i];
    }
    return dsl_bad(c->e, c->spans[i], "expected %s, found %s", what, dsl_describe(c->e, &c->v[i]));
}

static dsl_value f_len(const call *c)
{
    return c->v[0].type == DSL_T_LIST ? dsl_int((int64_t)c->v[0].count) : wants(c, 0, "a list");
}

static dsl_value pair(const call *c, dsl_value first, dsl_value second)
{
    dsl_value both = dsl_list(c->e, c->at, 2);
    if (both.type == DSL_T_LIST) {
        both.items[0] = first;
        both.items[1] = second;
    }
    return both;
}

/* Pairs of number and item, for loops with two names. */
static dsl_value f_enumerate(const call *c)
{
    if (c->v[0].type != DSL_T_LIST) {
        return wants(c, 0, "a list");
    }
    dsl_value pairs = dsl_list(c->e, c->at, c->v[0].count);
    for (size_t i = 0; pairs.type == DSL_T_LIST && i < pairs.count; i++) {
        pairs.items[i] = pair(c, dsl_int((int64_t)i), c->v[0].items[i]);
    }
    return pairs;
}

/* Items of the same place in two lists of one length. */
static dsl_value f_zip(const call *c)
{
    if (c->v[0].type != DSL_T_LIST || c->v[1].type != DSL_T_LIST) {
        return wants(c, c->v[0].type == DSL_T_LIST, "a list");
    }
    if (c->v[0].count != c->v[1].count) {
        return dsl_bad(c->e, c->at, "lists of %zu and %zu items", c->v[0].count, c->v[1].count);
    }
    dsl_value pairs = dsl_list(c->e, c->at, c->v[0].count);
    for (size_t i = 0; pairs.type == DSL_T_LIST && i < pairs.count; i++) {
        pairs.items[i] = pair(c, c->v[0].items[i], c->v[1].items[i]);
    }
    return pairs;
}

static dsl_value f_width(const call *c)
{
    if (c->v[0].type != DSL_T_TENSOR) {
        return wants(c, 0, "a tensor");
    }
    const ir_type *type = ir_type_of(c->e->graph, c->v[0].tensor);
    if (type->rank == 0 || !ir_dim_is_const(type->dim[type->rank - 1])) {
        return dsl_bad(c->e, c->at, "%s has no columns", dsl_describe(c->e, &c->v[0]));
    }
    return dsl_int(type->dim[type->rank - 1].c);
}

/* A type of the extents in a list; `rows`: with the candidates in front. */
static bool type_from(const call *c, int i, bool rows, ir_type *type)
{
    const dsl_value *list = &c->v[i];
    type->rank = 0;
    if (rows) {
        type->dim[type->rank++] = ir_dim_symbol(IR_SYMBOL_ROWS);
    }
    if (list->type != DSL_T_LIST || list->count + (size_t)type->rank > MTL_MAX_RANK) {
        wants(c, i, "a list of extents, at most 8");
        return false;
    }
    for (size_t j = 0; j < list->count; j++) {
        if (list->items[j].type != DSL_T_INT || list->items[j].integer < 0) {
            dsl_bad(c->e, c->spans[i], "expected extents, found %s", dsl_describe(c->e, &list->items[j]));
            return false;
        }
        type->dim[type->rank++] = ir_dim_const(list->items[j].integer);
    }
    return true;
}

static dsl_value reshaped(const call *c, ir_op op)
{
    if (c->v[0].type != DSL_T_TENSOR) {
        return wants(c, 0, "a tensor");
    }
    ir_type type = *ir_type_of(c->e->graph, c->v[0].tensor);
    if (!type_from(c, 1, dsl_has_rows(c->e, c->v[0].tensor), &type)) {
        return (dsl_value){.type = DSL_T_BAD};
    }
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    ir_value result;
    mtl_status status = ir_insert_typed(c->e->graph, 0, op, NULL, &c->v[0].tensor, 1, NULL, 0, &type, &inner, &result);
    return status == MTL_OK ? dsl_tensor(result) : dsl_failed(c->e, c->at, status, &inner);
}

/* reshape(x, [8, 64]): extents of one candidate's elements; of constants, all. */
static dsl_value f_reshape(const call *c)
{
    return reshaped(c, IR_OP_reshape);
}

static dsl_value f_expand(const call *c)
{
    return reshaped(c, IR_OP_expand);
}

/* For a weight that is not there: one number of that shape, so that all others that are missing are told, too. */
static dsl_value stand_in(const call *c, const ir_type *type)
{
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    ir_value number, result;
    c->e->wrong--; /* what was noted just before */
    mtl_status status = ir_add_const_float(c->e->graph, 0, type->dtype, &inner, &number);
    if (status == MTL_OK) {
        status = ir_insert_typed(c->e->graph, 0, IR_OP_expand, NULL, &number, 1, NULL, 0, type, &inner, &result);
    }
    return status == MTL_OK ? dsl_tensor(result) : dsl_failed(c->e, c->at, status, &inner);
}

static dsl_value f_weight(const call *c)
{
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    ir_tensor tensor;
    ir_type type = {.dtype = MTL_F32};
    if (c->v[0].type != DSL_T_TEXT) {
        return wants(c, 0, "the weight's name");
    }
    if (!type_from(c, 1, false, &type)) {
        return (dsl_value){.type = DSL_T_BAD};
    }
    ir_dim count;
    if (!ir_type_count(&type, &count) || count.c > DSL_MAX_ELEMENTS) {
        return dsl_bad(c->e, c->at, "weight '%s' has more than 2^31 elements", c->v[0].text);
    }
    if (c->e->weights == NULL) {
        return dsl_bad(c->e, c->at, "there are no weights to take '%s' from", c->v[0].text);
    }
    ir_value found = ir_find_value(c->e->graph, c->v[0].text);
    if (found == 0) {
        mtl_status status =
            c->e->weights->find(c->e->weights->context, c->v[0].text, &type, c->e->arena, &inner, &tensor);
        if (status == MTL_OK) {
            status = ir_add_const(c->e->graph, c->v[0].text, &tensor, &inner, &found);
        }
        if (status != MTL_OK) {
            dsl_failed(c->e, c->at, status, &inner);
            return stand_in(c, &type);
        }
    }
    const ir_type *real = ir_type_of(c->e->graph, found);
    type.dtype = real->dtype;
    if (!ir_type_equal(real, &type)) {
        dsl_bad(c->e, c->at, "weight '%s' is %s, expected %s", c->v[0].text,
                ir_type_text(real, &c->e->graph->symbols, c->e->arena),
                ir_type_text(&type, &c->e->graph->symbols, c->e->arena));
        return stand_in(c, &type);
    }
    return dsl_tensor(found);
}

/* dense(512), binary(): the function's name, and up to two extents. */
static dsl_value f_kind(const call *c)
{
    int64_t extents[2] = {0, 0};
    for (int i = 0; i < params_of(c->function); i++) {
        if (c->v[i].type != DSL_T_INT || c->v[i].integer < 1) {
            return wants(c, i, "a whole number above 0");
        }
        extents[i] = c->v[i].integer;
    }
    dsl_shape_kind *kind = BASE_NEW(c->e->arena, dsl_shape_kind);
    if (kind == NULL) {
        c->e->status = base_fail_memory(c->e->diag);
        return (dsl_value){.type = DSL_T_BAD};
    }
    *kind = (dsl_shape_kind){.name = c->function->name, .size = extents[0], .length = extents[1]};
    return (dsl_value){.type = DSL_T_KIND, .kind = kind};
}

/* check(condition, "message"): a block's own word about its arguments. */
static dsl_value f_check(const call *c)
{
    if (c->v[0].type != DSL_T_BOOL || c->v[1].type != DSL_T_TEXT) {
        return wants(c, c->v[0].type == DSL_T_BOOL, c->v[0].type == DSL_T_BOOL ? "a message" : "a condition");
    }
    return c->v[0].integer != 0 ? (dsl_value){.type = DSL_T_NONE} : dsl_bad(c->e, c->at, "%s", c->v[1].text);
}

static const function functions[] = {
    {"len", f_len, 1, {"list"}},
    {"enumerate", f_enumerate, 1, {"list"}},
    {"zip", f_zip, 2, {"first", "second"}},
    {"width", f_width, 1, {"x"}},
    {"reshape", f_reshape, 2, {"x", "shape"}},
    {"expand", f_expand, 2, {"x", "shape"}},
    {"weight", f_weight, 2, {"name", "shape"}},
    {"dense", f_kind, 1, {"width"}},
    {"id", f_kind, 1, {"size"}},
    {"bag", f_kind, 2, {"size", "length"}},
    {"sequence", f_kind, 2, {"size", "length"}},
    {"binary", f_kind, 0, {NULL}},
    {"regression", f_kind, 0, {NULL}},
    {"classes", f_kind, 1, {"count"}},
    {"check", f_check, 2, {"condition", "message"}},
};

enum { FUNCTIONS = sizeof functions / sizeof functions[0] };

size_t dsl_function_names(const char **names, size_t most)
{
    size_t count = 0;
    for (; count < FUNCTIONS && count < most; count++) {
        names[count] = functions[count].name;
    }
    return count;
}

/* Puts each argument to its place. */
static bool bind(call *c, const dsl_arguments *a)
{
    const function *f = c->function;
    int most = params_of(f);
    bool given[MOST] = {false};
    for (size_t i = 0; i < a->count; i++) {
        int place = a->names[i] == NULL && i < MOST ? (int)i : -1;
        for (int p = 0; p < most && a->names[i] != NULL; p++) {
            place = strcmp(f->params[p], a->names[i]) == 0 ? p : place;
        }
        bool known = place >= 0 && place < most;
        if (!known || given[place]) {
            dsl_bad(c->e, a->spans[i], known ? "'%s' has this argument twice" : "'%s' has no such argument", f->name);
            return false;
        }
        given[place] = true;
        c->v[place] = a->values[i];
        c->spans[place] = a->spans[i];
    }
    for (int p = 0; p < f->least; p++) {
        if (!given[p]) {
            dsl_bad(c->e, a->at, "'%s' needs its argument '%s'", f->name, f->params[p]);
            return false;
        }
    }
    return true;
}

bool dsl_call_function(dsl_elaborator *e, const char *name, const dsl_arguments *a, dsl_value *result)
{
    for (size_t f = 0; f < FUNCTIONS; f++) {
        if (strcmp(functions[f].name, name) == 0) {
            call c = {.function = &functions[f], .e = e, .at = a->at};
            for (int i = 0; i < MOST; i++) {
                c.v[i].type = DSL_T_NONE;
                c.spans[i] = a->at;
            }
            *result = bind(&c, a) ? functions[f].run(&c) : (dsl_value){.type = DSL_T_BAD};
            return true;
        }
    }
    return false;
}
