/* Runs a ranker: see elaborate.h. */
#include "dsl/elaborate.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What a statement does to those after it. */
typedef enum flow { GO_ON, RETURNED } flow;

static flow run_body(dsl_elaborator *e, dsl_scope *scope, const dsl_node *body, dsl_value *result);

/* --- values and errors ----------------------------------------------------------------------------------------- */

static const dsl_value none = {.type = DSL_T_NONE}, bad = {.type = DSL_T_BAD};

dsl_value dsl_int(int64_t integer)
{
    return (dsl_value){.type = DSL_T_INT, .integer = integer, .number = (double)integer};
}

dsl_value dsl_float(double number)
{
    return (dsl_value){.type = DSL_T_FLOAT, .number = number};
}

dsl_value dsl_text_value(const char *text)
{
    return (dsl_value){.type = DSL_T_TEXT, .text = text};
}

dsl_value dsl_tensor(ir_value tensor)
{
    return (dsl_value){.type = DSL_T_TENSOR, .tensor = tensor};
}

static dsl_value boolean(bool truth)
{
    return (dsl_value){.type = DSL_T_BOOL, .integer = truth};
}

const char *dsl_describe(const dsl_elaborator *e, const dsl_value *value)
{
    const char *text = NULL;
    switch (value->type) {
    case DSL_T_BAD: return "something wrong";
    case DSL_T_NONE: return "none";
    case DSL_T_BOOL: return value->integer != 0 ? "true" : "false";
    case DSL_T_INT: text = base_arena_format(e->arena, "%lld", (long long)value->integer); break;
    case DSL_T_FLOAT: text = base_arena_format(e->arena, "%g", value->number); break;
    case DSL_T_TEXT: text = base_arena_format(e->arena, "the string \"%.40s\"", value->text); break;
    case DSL_T_LIST: text = base_arena_format(e->arena, "a list of %zu", value->count); break;
    case DSL_T_TENSOR: {
        const char *type = ir_type_text(ir_type_of(e->graph, value->tensor), &e->graph->symbols, e->arena);
        text = type != NULL ? base_arena_format(e->arena, "a tensor %s", type) : NULL;
        break;
    }
    case DSL_T_TASK: text = base_arena_format(e->arena, "the task '%s'", value->text); break;
    case DSL_T_KIND: text = base_arena_format(e->arena, "the kind '%s'", value->kind->name); break;
    case DSL_T_BLOCK: text = base_arena_format(e->arena, "the block '%s'", value->block->text); break;
    }
    return text != NULL ? text : "?";
}

dsl_value dsl_bad(dsl_elaborator *e, dsl_span at, const char *format, ...)
{
    char message[MTL_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    e->wrong++;
    if (at.text < e->library && e->inside != NULL) {
        dsl_wrong(e->sources, e->site, "%s: %s", e->inside, message);
    } else {
        dsl_wrong(e->sources, at, "%s", message);
    }
    return bad;
}

dsl_value dsl_failed(dsl_elaborator *e, dsl_span at, mtl_status status, const base_diag *inner)
{
    if (status == MTL_OUT_OF_MEMORY) {
        e->status = base_fail_memory(e->diag);
        return bad;
    }
    return dsl_bad(e, at, "%s", inner->error->message);
}

dsl_value dsl_list(dsl_elaborator *e, dsl_span at, size_t count)
{
    dsl_value list = {.type = DSL_T_LIST, .count = count};
    if (count > DSL_MAX_LIST) {
        return dsl_bad(e, at, "a list of %zu items, expected at most %d", count, DSL_MAX_LIST);
    }
    list.items = BASE_NEW_ARRAY(e->arena, dsl_value, count);
    if (list.items == NULL) {
        e->status = base_fail_memory(e->diag);
        return bad;
    }
    return list;
}

/* --- names ----------------------------------------------------------------------------------------------------- */

dsl_value *dsl_look_up(const dsl_scope *scope, const char *name)
{
    for (size_t i = scope->count; i-- > 0;) {
        if (strcmp(scope->names[i], name) == 0) {
            return &scope->values[i];
        }
    }
    return NULL;
}

void dsl_set(dsl_elaborator *e, dsl_scope *scope, const char *name, dsl_value value)
{
    dsl_value *old = dsl_look_up(scope, name);
    if (old != NULL) {
        *old = value;
        return;
    }
    if (scope->count == scope->capacity) {
        size_t capacity = scope->capacity == 0 ? 16 : 2 * scope->capacity;
        const char **names = BASE_NEW_ARRAY(e->arena, const char *, capacity);
        dsl_value *values = BASE_NEW_ARRAY(e->arena, dsl_value, capacity);
        if (names == NULL || values == NULL) {
            e->status = base_fail_memory(e->diag);
            return;
        }
        if (scope->count > 0) {
            memcpy(names, scope->names, scope->count * sizeof *names);
            memcpy(values, scope->values, scope->count * sizeof *values);
        }
        *scope = (dsl_scope){names, values, scope->count, capacity};
    }
    scope->names[scope->count] = name;
    scope->values[scope->count++] = value;
}

/* In a block: its own names, then tasks and blocks of the file; not the ranker's other names. */
static dsl_value *find_name(dsl_elaborator *e, const dsl_scope *scope, const char *name)
{
    dsl_value *value = dsl_look_up(scope, name);
    if (value == NULL && scope != &e->file) {
        value = dsl_look_up(&e->file, name);
        bool shared = value != NULL && (value->type == DSL_T_BLOCK || value->type == DSL_T_TASK ||
                                        (value->type == DSL_T_LIST && strcmp(name, "tasks") == 0));
        value = shared ? value : NULL;
    }
    return value;
}

static dsl_value unknown(dsl_elaborator *e, const dsl_scope *scope, const dsl_node *node)
{
    enum { MOST = 1024 };
    const char *names[MOST];
    size_t count = dsl_function_names(names, MOST);
    for (size_t i = 0; i < scope->count && count < MOST; i++) {
        names[count++] = scope->names[i];
    }
    for (size_t i = 0; i < e->file.count && count < MOST && scope != &e->file; i++) {
        names[count++] = e->file.names[i];
    }
    for (int op = 0; op < IR_OP_COUNT && count < MOST; op++) {
        names[count++] = ir_op_table((ir_op)op)->name;
    }
    const char *near = dsl_nearest(node->text, names, count);
    return near == NULL ? dsl_bad(e, node->span, "there is no '%.60s'", node->text)
                        : dsl_bad(e, node->span, "there is no '%.60s'; did you mean '%s'?", node->text, near);
}

/* --- calls ----------------------------------------------------------------------------------------------------- */

static dsl_value call_block(dsl_elaborator *e, const dsl_node *block, const dsl_arguments *a)
{
    dsl_scope scope = {NULL, NULL, 0, 0};
    size_t params = block->count - 1, given = 0;
    if (e->calls == DSL_MAX_CALLS) {
        return dsl_bad(e, a->at, "blocks call each other more than %d deep", DSL_MAX_CALLS);
    }
    for (size_t p = 0; p < params; p++) {
        const dsl_node *param = block->child[p + 1];
        const dsl_value *value = NULL;
        for (size_t i = 0; i < a->count; i++) {
            bool mine = a->names[i] != NULL ? strcmp(a->names[i], param->text) == 0 : i == p;
            if (mine && value != NULL) {
                return dsl_bad(e, a->spans[i], "'%s' has its argument '%s' twice", block->text, param->text);
            }
            given += mine;
            value = mine ? &a->values[i] : value;
        }
        if (value == NULL && param->child[0] == NULL) {
            return dsl_bad(e, a->at, "'%s' needs its argument '%s'", block->text, param->text);
        }
        dsl_set(e, &scope, param->text, value != NULL ? *value : dsl_evaluate(e, &scope, param->child[0]));
    }
    for (size_t i = 0; i < a->count && given < a->count; i++) { /* one of them belongs to none */
        bool known = a->names[i] == NULL && i < params;
        for (size_t p = 0; p < params && a->names[i] != NULL; p++) {
            known = known || strcmp(a->names[i], block->child[p + 1]->text) == 0;
        }
        if (!known) {
            return a->names[i] != NULL
                       ? dsl_bad(e, a->spans[i], "'%s' has no argument '%.60s'", block->text, a->names[i])
                       : dsl_bad(e, a->spans[i], "'%s' takes %zu arguments", block->text, params);
        }
    }
    dsl_span site = e->site;
    const char *inside = e->inside;
    if (a->at.text >= e->library) {
        e->site = a->at;
        e->inside = block->text;
    }
    dsl_value result = none;
    e->calls++;
    run_body(e, &scope, block->child[0], &result);
    e->calls--;
    e->site = site;
    e->inside = inside;
    return result;
}

static dsl_value call(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node)
{
    const dsl_node *callee = node->child[0];
    size_t count = node->count - 1;
    const char **names = BASE_NEW_ARRAY(e->arena, const char *, count);
    dsl_value *values = BASE_NEW_ARRAY(e->arena, dsl_value, count), result;
    dsl_span *spans = BASE_NEW_ARRAY(e->arena, dsl_span, count);
    if (names == NULL || values == NULL || spans == NULL) {
        e->status = base_fail_memory(e->diag);
        return bad;
    }
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        const dsl_node *given = node->child[i + 1];
        bool named = given->kind == DSL_NAMED;
        names[i] = named ? given->text : NULL;
        spans[i] = given->span;
        values[i] = dsl_evaluate(e, scope, named ? given->child[0] : given);
        good = good && values[i].type != DSL_T_BAD;
    }
    const dsl_arguments arguments = {node->span, names, values, spans, count};
    if (callee->kind != DSL_NAME) {
        dsl_value what = dsl_evaluate(e, scope, callee);
        if (what.type != DSL_T_BLOCK) {
            return what.type == DSL_T_BAD ? bad
                                          : dsl_bad(e, callee->span, "%s cannot be called", dsl_describe(e, &what));
        }
        return good ? call_block(e, what.block, &arguments) : bad;
    }
    const dsl_value *found = find_name(e, scope, callee->text);
    if (found != NULL && found->type == DSL_T_BLOCK) {
        return good ? call_block(e, found->block, &arguments) : bad;
    }
    if (found != NULL) {
        return found->type == DSL_T_BAD ? bad : dsl_bad(e, callee->span, "%s cannot be called", dsl_describe(e, found));
    }
    if (!good) {
        return bad;
    }
    if (dsl_call_function(e, callee->text, &arguments, &result) || dsl_call_op(e, callee->text, &arguments, &result)) {
        return result;
    }
    return unknown(e, scope, callee);
}

/* --- expressions ----------------------------------------------------------------------------------------------- */

/* "experts.{e}": texts, whole numbers, and tasks by name. */
static dsl_value string(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node)
{
    const char *text = "";
    for (size_t i = 0; i < node->count; i++) {
        const dsl_node *part = node->child[i];
        if (part->kind == DSL_PIECE) {
            text = base_arena_format(e->arena, "%s%s", text, part->text);
        } else {
            dsl_value value = dsl_evaluate(e, scope, part);
            switch (value.type) {
            case DSL_T_BAD: return bad;
            case DSL_T_TASK:
            case DSL_T_TEXT: text = base_arena_format(e->arena, "%s%s", text, value.text); break;
            case DSL_T_INT: text = base_arena_format(e->arena, "%s%lld", text, (long long)value.integer); break;
            default: return dsl_bad(e, part->span, "%s cannot be part of a string", dsl_describe(e, &value));
            }
        }
        if (text == NULL) {
            e->status = base_fail_memory(e->diag);
            return bad;
        }
    }
    return dsl_text_value(text);
}

/* Gives the names of a loop or comprehension the item: one name all of it, several a list of as many. */
static bool unpack(dsl_elaborator *e, dsl_scope *scope, dsl_node *const *names, size_t count, dsl_value item)
{
    if (count == 1) {
        dsl_set(e, scope, names[0]->text, item);
        return true;
    }
    if (item.type != DSL_T_LIST || item.count != count) {
        if (item.type != DSL_T_BAD) {
            dsl_bad(e, names[0]->span, "%zu names for %s", count, dsl_describe(e, &item));
        }
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        dsl_set(e, scope, names[i]->text, item.items[i]);
    }
    return true;
}

static bool truth(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node, bool *result)
{
    dsl_value value = dsl_evaluate(e, scope, node);
    if (value.type != DSL_T_BOOL) {
        if (value.type != DSL_T_BAD) {
            dsl_bad(e, node->span, "expected true or false, found %s", dsl_describe(e, &value));
        }
        return false;
    }
    *result = value.integer != 0;
    return true;
}

static dsl_value each(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node)
{
    dsl_value source = dsl_evaluate(e, scope, node->child[1]);
    if (source.type != DSL_T_LIST) {
        return source.type == DSL_T_BAD
                   ? bad
                   : dsl_bad(e, node->child[1]->span, "expected a list, found %s", dsl_describe(e, &source));
    }
    dsl_value list = dsl_list(e, node->span, source.count);
    size_t kept = 0;
    for (size_t i = 0; i < list.count; i++) {
        bool wanted = true;
        if (e->status != MTL_OK || !unpack(e, scope, node->child + 3, node->count - 3, source.items[i]) ||
            (node->child[2] != NULL && !truth(e, scope, node->child[2], &wanted))) {
            return bad;
        }
        if (wanted) {
            list.items[kept] = dsl_evaluate(e, scope, node->child[0]);
            if (list.items[kept++].type == DSL_T_BAD) {
                return bad; /* the others would be wrong in the same way */
            }
        }
    }
    list.count = list.type == DSL_T_LIST ? kept : 0;
    return list;
}

static dsl_value range(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node)
{
    dsl_value from = dsl_evaluate(e, scope, node->child[0]), to = dsl_evaluate(e, scope, node->child[1]);
    if (from.type != DSL_T_INT || to.type != DSL_T_INT) {
        bool noted = from.type == DSL_T_BAD || to.type == DSL_T_BAD;
        return noted ? bad : dsl_bad(e, node->span, "a range goes from one whole number to another");
    }
    uint64_t count = to.integer > from.integer ? (uint64_t)to.integer - (uint64_t)from.integer : 0;
    dsl_value list = dsl_list(e, node->span, count > SIZE_MAX ? SIZE_MAX : (size_t)count);
    for (size_t i = 0; list.type == DSL_T_LIST && i < list.count; i++) {
        list.items[i] = dsl_int(from.integer + (int64_t)i);
    }
    return list;
}

static dsl_value item_of(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node, const dsl_value *list)
{
    const dsl_node *index = node->child[1];
    if (node->count != 2 || index == NULL || index->kind == DSL_SLICE) {
        return dsl_bad(e, node->span, "a list takes one index");
    }
    dsl_value i = dsl_evaluate(e, scope, index);
    if (i.type != DSL_T_INT && i.type != DSL_T_TASK) {
        return i.type == DSL_T_BAD ? bad : dsl_bad(e, index->span, "expected an index, found %s", dsl_describe(e, &i));
    }
    int64_t at = i.integer < 0 ? i.integer + (int64_t)list->count : i.integer;
    if (at < 0 || at >= (int64_t)list->count) {
        return dsl_bad(e, index->span, "index %lld of a list of %zu", (long long)i.integer, list->count);
    }
    return list->items[at];
}

/* One bound of a slice; NULL: open. */
static bool bound(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node, bool *has, int64_t *number)
{
    if (node == NULL) {
        *has = false;
        return true;
    }
    dsl_value value = dsl_evaluate(e, scope, node);
    *has = true;
    *number = value.integer;
    if (value.type != DSL_T_INT && value.type != DSL_T_BAD) {
        dsl_bad(e, node->span, "expected a whole number, found %s", dsl_describe(e, &value));
    }
    return value.type == DSL_T_INT;
}

static dsl_value index_of(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node)
{
    dsl_value of = dsl_evaluate(e, scope, node->child[0]);
    dsl_part parts[MTL_MAX_RANK];
    size_t count = node->count - 1;
    if (of.type == DSL_T_LIST) {
        return item_of(e, scope, node, &of);
    }
    if (of.type != DSL_T_TENSOR || count > MTL_MAX_RANK) {
        return of.type == DSL_T_BAD ? bad : dsl_bad(e, node->span, "%s has no parts", dsl_describe(e, &of));
    }
    for (size_t i = 0; i < count; i++) {
        const dsl_node *axis = node->child[i + 1];
        dsl_part *part = &parts[i];
        *part = (dsl_part){.single = axis->kind != DSL_SLICE};
        bool good = part->single ? bound(e, scope, axis, &part->has_from, &part->from)
                                 : bound(e, scope, axis->child[0], &part->has_from, &part->from) &&
                                       bound(e, scope, axis->child[1], &part->has_to, &part->to);
        if (!good) {
            return bad;
        }
        part->whole = !part->has_from && !part->has_to;
    }
    return dsl_part_of(e, node->span, &of, parts, count);
}

static dsl_value shape_of(dsl_elaborator *e, const dsl_node *node, ir_value tensor)
{
    const ir_type *type = ir_type_of(e->graph, tensor);
    int32_t first = dsl_has_rows(e, tensor);
    dsl_value list = dsl_list(e, node->span, (size_t)(type->rank - first));
    for (size_t i = 0; list.type == DSL_T_LIST && i < list.count; i++) {
        list.items[i] = dsl_int(type->dim[first + (int32_t)i].c);
    }
    return list;
}

/* t.name, t.index, t.kind; x.shape; id.size, hist.length */
static dsl_value dot(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node)
{
    dsl_value of = dsl_evaluate(e, scope, node->child[0]);
    const char *field = node->text;
    if (of.type == DSL_T_BAD) {
        return bad;
    }
    if (of.type == DSL_T_TASK && strcmp(field, "index") == 0) {
        return dsl_int(of.integer);
    }
    if (of.type == DSL_T_TASK && strcmp(field, "name") == 0) {
        return dsl_text_value(of.text);
    }
    if (of.type == DSL_T_TENSOR && strcmp(field, "shape") == 0) {
        return shape_of(e, node, of.tensor);
    }
    if (of.kind != NULL && strcmp(field, "kind") == 0) {
        return dsl_text_value(of.kind->name);
    }
    if (of.kind != NULL && of.kind->size > 0 && strcmp(field, "size") == 0) {
        return dsl_int(of.kind->size);
    }
    if (of.kind != NULL && of.kind->length > 0 && strcmp(field, "length") == 0) {
        return dsl_int(of.kind->length);
    }
    return dsl_bad(e, node->span, "%s has no '%.60s'", dsl_describe(e, &of), field);
}

static dsl_value unary(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node)
{
    if (strcmp(node->text, "not") == 0) {
        bool result;
        return truth(e, scope, node->child[0], &result) ? boolean(!result) : bad;
    }
    dsl_value operand = dsl_evaluate(e, scope, node->child[0]);
    const dsl_value zero = dsl_int(0);
    if (operand.type == DSL_T_BAD) {
        return bad;
    }
    if (operand.type == DSL_T_FLOAT) {
        return dsl_float(-operand.number);
    }
    if (operand.type == DSL_T_TENSOR) {
        dsl_value result;
        const char *name = NULL;
        const dsl_arguments arguments = {node->span, &name, &operand, &node->span, 1};
        dsl_call_op(e, "neg", &arguments, &result);
        return result;
    }
    return dsl_arithmetic(e, node->span, "-", &zero, &operand);
}

/* Whether two values are the same number, text, task, or none. */
static bool equal(const dsl_value *a, const dsl_value *b)
{
    bool numbers = (a->type == DSL_T_INT || a->type == DSL_T_FLOAT) && (b->type == DSL_T_INT || b->type == DSL_T_FLOAT);
    if (numbers) {
        return a->number == b->number;
    }
    if (a->type != b->type) {
        return false;
    }
    switch (a->type) {
    case DSL_T_TEXT: return strcmp(a->text, b->text) == 0;
    case DSL_T_BOOL:
    case DSL_T_TASK: return a->integer == b->integer;
    case DSL_T_NONE: return true;
    case DSL_T_BLOCK: return a->block == b->block;
    default: return false;
    }
}

static dsl_value compare(dsl_elaborator *e, const dsl_node *node, const dsl_value *a, const dsl_value *b)
{
    if (strcmp(node->text, "==") == 0 || strcmp(node->text, "!=") == 0) {
        return boolean(equal(a, b) == (*node->text == '='));
    }
    bool numbers = (a->type == DSL_T_INT || a->type == DSL_T_FLOAT) && (b->type == DSL_T_INT || b->type == DSL_T_FLOAT);
    if (!numbers) {
        return dsl_bad(e, node->span, "'%s' does not compare %s and %s", node->text, dsl_describe(e, a),
                       dsl_describe(e, b));
    }
    bool less = a->number < b->number, same = a->number == b->number;
    bool with = node->text[1] == '=';
    return boolean((*node->text == '<' ? less : !less && !same) || (with && same));
}

static dsl_value binary(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node)
{
    if (strcmp(node->text, "and") == 0 || strcmp(node->text, "or") == 0) {
        bool first, second, stops = *node->text == 'o';
        if (!truth(e, scope, node->child[0], &first)) {
            return bad;
        }
        if (first == stops) {
            return boolean(first);
        }
        return truth(e, scope, node->child[1], &second) ? boolean(second) : bad;
    }
    dsl_value left = dsl_evaluate(e, scope, node->child[0]), right = dsl_evaluate(e, scope, node->child[1]);
    if (left.type == DSL_T_BAD || right.type == DSL_T_BAD) {
        return bad;
    }
    bool tensors = left.type == DSL_T_TENSOR || right.type == DSL_T_TENSOR;
    bool absent = left.type == DSL_T_NONE || right.type == DSL_T_NONE; /* x == none, of an optional argument */
    if (strchr("=!<>", *node->text) != NULL && (!tensors || absent)) {
        return compare(e, node, &left, &right);
    }
    if (left.type == DSL_T_LIST && right.type == DSL_T_LIST && *node->text == '+') {
        dsl_value list = dsl_list(e, node->span, left.count + right.count);
        for (size_t i = 0; list.type == DSL_T_LIST && i < list.count; i++) {
            list.items[i] = i < left.count ? left.items[i] : right.items[i - left.count];
        }
        return list;
    }
    return dsl_arithmetic(e, node->span, node->text, &left, &right);
}

dsl_value dsl_evaluate(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node)
{
    if (e->status != MTL_OK || node == NULL) {
        return bad;
    }
    if (++e->steps > DSL_MAX_STEPS) {
        if (e->steps == DSL_MAX_STEPS + 1) {
            dsl_bad(e, node->span, "more than %d steps: does a loop go over too much?", DSL_MAX_STEPS);
        }
        return bad;
    }
    switch (node->kind) {
    case DSL_NAME: {
        const dsl_value *found = find_name(e, scope, node->text);
        return found != NULL ? *found : unknown(e, scope, node);
    }
    case DSL_INT: return dsl_int(node->integer);
    case DSL_FLOAT: return dsl_float(node->number);
    case DSL_WORD: return strcmp(node->text, "none") == 0 ? none : boolean(*node->text == 't');
    case DSL_STRING: return string(e, scope, node);
    case DSL_LIST: {
        dsl_value list = dsl_list(e, node->span, node->count);
        for (size_t i = 0; list.type == DSL_T_LIST && i < node->count; i++) {
            list.items[i] = dsl_evaluate(e, scope, node->child[i]);
            if (list.items[i].type == DSL_T_BAD) {
                list.type = DSL_T_BAD;
            }
        }
        return list;
    }
    case DSL_EACH: return each(e, scope, node);
    case DSL_CALL: return call(e, scope, node);
    case DSL_INDEX: return index_of(e, scope, node);
    case DSL_DOT: return dot(e, scope, node);
    case DSL_UNARY: return unary(e, scope, node);
    case DSL_BINARY: return binary(e, scope, node);
    case DSL_RANGE: return range(e, scope, node);
    case DSL_CHOICE: {
        bool first;
        if (!truth(e, scope, node->child[0], &first)) {
            return bad;
        }
        return first                    ? dsl_evaluate(e, scope, node->child[1])
               : node->child[2] != NULL ? dsl_evaluate(e, scope, node->child[2])
                                        : none;
    }
    default: return dsl_bad(e, node->span, "expected a value");
    }
}

/* --- statements ------------------------------------------------------------------------------------------------ */

static void output(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node)
{
    dsl_value name = dsl_evaluate(e, scope, node->child[0]), value = dsl_evaluate(e, scope, node->child[1]);
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    if (name.type == DSL_T_BAD || value.type == DSL_T_BAD) {
        return;
    }
    if (name.type != DSL_T_TEXT && name.type != DSL_T_TASK) {
        dsl_bad(e, node->child[0]->span, "expected a task or a name in quotes, found %s", dsl_describe(e, &name));
    } else if (value.type != DSL_T_TENSOR) {
        dsl_bad(e, node->child[1]->span, "expected a tensor, found %s", dsl_describe(e, &value));
    } else {
        for (uint32_t i = 0; i < e->graph->output_count; i++) {
            if (strcmp(e->graph->outputs[i].name, name.text) == 0) {
                dsl_bad(e, node->child[0]->span, "there are two outputs '%.60s'", name.text);
                return;
            }
        }
        mtl_status status = ir_add_output(e->graph, name.text, value.tensor, &inner);
        if (status != MTL_OK) {
            dsl_failed(e, node->span, status, &inner);
        }
    }
}

static flow run_for(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node, dsl_value *result)
{
    dsl_value source = dsl_evaluate(e, scope, node->child[0]);
    if (source.type != DSL_T_LIST) {
        if (source.type != DSL_T_BAD) {
            dsl_bad(e, node->child[0]->span, "expected a list, found %s", dsl_describe(e, &source));
        }
        return GO_ON;
    }
    for (size_t i = 0; i < source.count && e->status == MTL_OK; i++) {
        size_t wrong = e->wrong;
        if (!unpack(e, scope, node->child + 2, node->count - 2, source.items[i])) {
            return GO_ON;
        }
        if (run_body(e, scope, node->child[1], result) == RETURNED) {
            return RETURNED;
        }
        if (e->wrong > wrong) {
            return GO_ON; /* the other rounds would be wrong in the same way */
        }
    }
    return GO_ON;
}

static flow run_return(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node, dsl_value *result)
{
    if (node->count == 1) {
        *result = dsl_evaluate(e, scope, node->child[0]);
        return RETURNED;
    }
    *result = dsl_list(e, node->span, node->count);
    for (size_t i = 0; result->type == DSL_T_LIST && i < node->count; i++) {
        result->items[i] = dsl_evaluate(e, scope, node->child[i]);
    }
    return RETURNED;
}

static flow run(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node, dsl_value *result)
{
    bool first;
    switch (node->kind) {
    case DSL_ASSIGN: {
        dsl_value value = dsl_evaluate(e, scope, node->child[0]);
        if (!unpack(e, scope, node->child + 1, node->count - 1, value)) {
            for (size_t i = 1; i < node->count; i++) {
                dsl_set(e, scope, node->child[i]->text, bad);
            }
        }
        return GO_ON;
    }
    case DSL_FOR: return run_for(e, scope, node, result);
    case DSL_IF:
        if (truth(e, scope, node->child[0], &first) && (first || node->child[2] != NULL)) {
            const dsl_node *taken = node->child[first ? 1 : 2];
            return taken->kind == DSL_IF ? run(e, scope, taken, result) : run_body(e, scope, taken, result);
        }
        return GO_ON;
    case DSL_RETURN: return run_return(e, scope, node, result);
    case DSL_OUTPUT: output(e, scope, node); return GO_ON;
    case DSL_DO: dsl_evaluate(e, scope, node->child[0]); return GO_ON;
    default: dsl_bad(e, node->span, "this stands at the top of a file, not in a block"); return GO_ON;
    }
}

static flow run_body(dsl_elaborator *e, dsl_scope *scope, const dsl_node *body, dsl_value *result)
{
    for (size_t i = 0; i < body->count && e->status == MTL_OK; i++) {
        if (run(e, scope, body->child[i], result) == RETURNED) {
            return RETURNED;
        }
    }
    return GO_ON;
}

void dsl_run(dsl_elaborator *e, const dsl_node *statement)
{
    dsl_value nothing = none;
    run(e, &e->file, statement, &nothing);
}
