#include "compiler/ids.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "ir/lookup.h"

enum { LISTED = 16 }; /* names that are kept for an error */

/* "NAME=POLICY", "NAME=row:N"; in the name "*" stands for every lookup. */
typedef struct option {
    const char *text, *name, *policy; /* the policy as IR attributes spell it */
    bool has_row, used;
    int64_t row;
} option;

typedef struct finder {
    ir_graph *graph;
    base_diag *diag;
    ir_value *source; /* by value: the nearest input that it depends on (of halves, their whole), 0: none */
    option *options;
    size_t count;
} finder;

static mtl_status bad_option(const finder *f, const option *o, const char *what)
{
    return base_fail(f->diag, MTL_INVALID_ARGUMENT, "--ids %.100s: %s", o->text, what);
}

static mtl_status read_option(const finder *f, const char *text, option *o)
{
    static const char expected[] = "expected NAME=error, NAME=clamp, NAME=zero or NAME=row:NUMBER";
    const char *equals = strrchr(text, '=');
    ir_id_policy policy;
    *o = (option){.text = text};
    if (equals == NULL || equals == text) {
        return bad_option(f, o, expected);
    }
    char *name = base_arena_copy(f->graph->arena, text, (size_t)(equals - text) + 1);
    BASE_TRY_MEMORY(name, f->diag);
    name[equals - text] = '\0';
    o->name = name;
    o->policy = equals + 1;
    o->has_row = strncmp(o->policy, "row:", strlen("row:")) == 0;
    if (o->has_row) {
        char *end;
        errno = 0;
        o->row = strtoll(o->policy + strlen("row:"), &end, 10);
        bool digits = o->policy[strlen("row:")] >= '0' && o->policy[strlen("row:")] <= '9';
        if (!digits || *end != '\0' || errno != 0) {
            return bad_option(f, o, expected);
        }
        o->policy = "row";
    } else if (!ir_id_policy_find(o->policy, &policy) || policy == IR_IDS_ROW) {
        return bad_option(f, o, expected);
    }
    return MTL_OK;
}

static mtl_status read_options(finder *f, const char *const *ids, size_t count)
{
    f->options = BASE_NEW_ARRAY(f->graph->arena, option, count);
    BASE_TRY_MEMORY(f->options, f->diag);
    f->count = count;
    for (size_t i = 0; i < count; i++) {
        BASE_TRY(read_option(f, ids[i], &f->options[i]));
        for (size_t j = 0; j < i; j++) {
            if (strcmp(f->options[j].name, f->options[i].name) == 0) {
                return bad_option(f, &f->options[i], "the name is there twice");
            }
        }
    }
    return MTL_OK;
}

/* Of what a node computes: an operand's, the condition of a `where` last. An extent is no id of the input's. */
static ir_value source_of(const finder *f, const ir_node_info *node)
{
    uint32_t first = node->op == IR_OP_where ? 1 : 0;
    for (uint32_t i = 0; i < node->input_count && node->op != IR_OP_shape; i++) {
        ir_value operand = node->inputs[(first + i) % node->input_count];
        if (operand != 0 && f->source[operand] != 0) {
            return f->source[operand];
        }
    }
    return 0;
}

/* Whether an input holds columns of the model's input `name` (onnx/per_user.c). */
static bool is_half(const finder *f, ir_value input, const char *name)
{
    for (uint32_t i = 0; i < f->graph->column_count; i++) {
        const ir_columns *columns = &f->graph->columns[i];
        if (columns->input == input && strcmp(columns->source, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether a node puts the halves of an input together: it has the name that the model knows. */
static bool is_whole(const finder *f, const ir_node_info *node)
{
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (node->op != IR_OP_concat ||
            !is_half(f, f->source[node->inputs[i]], ir_info(f->graph, node->outputs[0])->name)) {
            return false;
        }
    }
    return node->input_count > 1;
}

/* The constant or param that a table is, or is made of. */
static const char *table_name(const ir_graph *graph, ir_value table)
{
    for (const ir_node_info *node; (node = ir_producer(graph, table)) != NULL && ir_operand(node, 0) != 0;) {
        table = node->inputs[0];
    }
    return ir_info(graph, table)->name;
}

/* A name of the input goes before one of the table, and that before "*". */
static option *choose(const finder *f, const char *input, const char *table)
{
    const char *const names[] = {input, table, "*"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (size_t j = 0; j < f->count; j++) {
            if (strcmp(f->options[j].name, names[i]) == 0) {
                return &f->options[j];
            }
        }
    }
    return NULL;
}

/* Names that are there are used, even where a more special one goes before. */
static void mark_used(const finder *f, const char *input, const char *table)
{
    for (size_t j = 0; j < f->count; j++) {
        const char *name = f->options[j].name;
        f->options[j].used |= strcmp(name, input) == 0 || strcmp(name, table) == 0 || strcmp(name, "*") == 0;
    }
}

static mtl_status set_policy(const finder *f, ir_node node, const option *o, const char *input, const char *table)
{
    ir_node_info *info = &f->graph->nodes[node];
    ir_dim extent = ir_type_of(f->graph, info->inputs[0])->dim[ir_attr_int(info, IR_ATTR_axis)];
    int64_t rows = ir_dim_is_const(extent) ? extent.c : -1;
    ir_attr added[4] = {IR_STRING(policy, o->policy)};
    size_t count = 1;
    if (o->has_row) {
        added[count++] = (ir_attr)IR_INT(row, o->row);
    }
    added[count++] = (ir_attr)IR_STRING(input, input);
    added[count++] = (ir_attr)IR_STRING(table, table);
    ir_attr *attrs = BASE_NEW_ARRAY(f->graph->arena, ir_attr, info->attr_count + count);
    BASE_TRY_MEMORY(attrs, f->diag);
    memcpy(attrs, info->attrs, info->attr_count * sizeof *attrs);
    memcpy(attrs + info->attr_count, added, count * sizeof *attrs); /* they come last in attrs.def, in this order */
    info->attrs = attrs;
    info->attr_count += (uint32_t)count;
    if (o->has_row && rows >= 0 && o->row >= rows) {
        return base_fail(f->diag, MTL_INVALID_ARGUMENT, "--ids %.100s: table '%.100s' has rows 0..%" PRId64, o->text,
                         table, rows - 1);
    }
    return ir_check_lookup(f->graph, node, rows, f->diag);
}

static mtl_status visit(const finder *f, ir_node node, const char **listed, size_t *count)
{
    const ir_node_info *info = ir_node_of(f->graph, node);
    if (info->op != IR_OP_gather || f->source[info->inputs[0]] != 0 || f->source[info->inputs[1]] == 0) {
        return MTL_OK;
    }
    const char *input = ir_info(f->graph, f->source[info->inputs[1]])->name;
    const char *table = table_name(f->graph, info->inputs[0]);
    option *chosen = choose(f, input, table);
    mark_used(f, input, table);
    for (size_t i = 0; i < 2 && *count < LISTED; i++) {
        const char *name = i == 0 ? input : table;
        bool known = false;
        for (size_t j = 0; j < *count; j++) {
            known |= strcmp(listed[j], name) == 0;
        }
        if (!known) {
            listed[(*count)++] = name;
        }
    }
    return chosen != NULL ? set_policy(f, node, chosen, input, table) : MTL_OK;
}

/* What could have been meant. */
static mtl_status unknown_name(const finder *f, const option *o, const char *const *listed, size_t count)
{
    base_name_list list = {0};
    for (size_t i = 0; i < count; i++) {
        base_list_name(&list, listed[i]);
    }
    if (count == 0) {
        return bad_option(f, o, "the model looks nothing up in a table");
    }
    return base_fail(f->diag, MTL_INVALID_ARGUMENT,
                     "--ids %.100s: no input whose ids are looked up, and no table, has that name; there are %s",
                     o->text, list.text);
}

mtl_status compiler_set_ids(ir_graph *graph, const char *const *ids, size_t count, base_diag *diag)
{
    finder f = {.graph = graph, .diag = diag};
    const char *listed[LISTED];
    size_t listed_count = 0;
    if (count == 0) {
        return MTL_OK;
    }
    BASE_TRY(read_options(&f, ids, count));
    f.source = BASE_NEW_ARRAY(graph->arena, ir_value, graph->value_count);
    BASE_TRY_MEMORY(f.source, diag);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        f.source[graph->inputs[i]] = graph->inputs[i];
    }
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        const ir_node_info *info = ir_node_of(graph, node);
        BASE_TRY(visit(&f, node, listed, &listed_count));
        for (uint32_t i = 0; i < info->output_count; i++) {
            if (info->outputs[i] != 0) {
                f.source[info->outputs[i]] = is_whole(&f, info) ? info->outputs[i] : source_of(&f, info);
            }
        }
    }
    for (size_t i = 0; i < f.count; i++) {
        if (!f.options[i].used) {
            return unknown_name(&f, &f.options[i], listed, listed_count);
        }
    }
    return MTL_OK;
}
