/* The text form, written. docs/ir.md says what it means; parse.c reads it. */
#include <inttypes.h>
#include <stdio.h>

#include "ir/graph.h"
#include "ir/text.h"

/* Returns MTL_OUT_OF_MEMORY from the calling function when a fresh text is NULL: there is no diag here. */
#define TRY_TEXT(text)                                                                                                 \
    do {                                                                                                               \
        if ((text) == NULL) {                                                                                          \
            return MTL_OUT_OF_MEMORY;                                                                                  \
        }                                                                                                              \
    } while (0)

typedef struct printer {
    const ir_graph *graph;
    base_arena *arena; /* of this call */
    FILE *out;         /* its error flag is looked at once, at the end */
} printer;

static mtl_status print_value(printer *p, ir_value value)
{
    if (value == 0) {
        fputs("_", p->out);
        return MTL_OK;
    }
    const char *name = ir_text_name(p->graph->values[value].name, p->arena);
    TRY_TEXT(name);
    fprintf(p->out, "%%%s", name);
    return MTL_OK;
}

/* "%h : f32[B, 512]" */
static mtl_status print_typed(printer *p, ir_value value)
{
    BASE_TRY(print_value(p, value));
    const char *type = ir_type_text(&p->graph->values[value].type, &p->graph->symbols, p->arena);
    TRY_TEXT(type);
    fprintf(p->out, " : %s", type);
    return MTL_OK;
}

static void print_float(printer *p, double number)
{
    char text[IR_TEXT_FLOAT_SIZE];
    ir_text_float(number, text);
    fputs(text, p->out);
}

static void print_element(printer *p, const ir_tensor *tensor, size_t index)
{
    if (ir_dtype_is_float(tensor->dtype)) {
        print_float(p, ir_tensor_at(tensor, index));
        return;
    }
    int64_t number = ir_tensor_int_at(tensor, index);
    switch (tensor->dtype) {
    case MTL_BOOL: fputs(number != 0 ? "true" : "false", p->out); break;
    case MTL_U64: fprintf(p->out, "%" PRIu64, (uint64_t)number); break;
    default: fprintf(p->out, "%" PRId64, number); break;
    }
}

/* `what` is "const" or "param". */
static mtl_status print_const(printer *p, const char *what, ir_value value)
{
    const ir_tensor *tensor = p->graph->values[value].tensor;
    fprintf(p->out, "  %s ", what);
    BASE_TRY(print_typed(p, value));
    fputs(" = ", p->out);
    if (tensor->count > IR_CONTENT_MAX) {
        uint64_t hash;
        ir_tensor_hash(tensor, &hash);
        fprintf(p->out, "xxh3:%016" PRIx64, hash);
    } else if (tensor->rank == 0) {
        print_element(p, tensor, 0);
    } else {
        fputs("[", p->out);
        for (size_t i = 0; i < tensor->count; i++) {
            fputs(i > 0 ? ", " : "", p->out);
            print_element(p, tensor, i);
        }
        fputs("]", p->out);
    }
    fputs("\n", p->out);
    return MTL_OK;
}

static mtl_status print_attr(printer *p, const ir_attr *attr)
{
    fprintf(p->out, "%s=", ir_attr_name(attr->key));
    const char *text;
    switch (ir_attr_key_kind(attr->key)) {
    case IR_KIND_INT: fprintf(p->out, "%" PRId64, attr->i); break;
    case IR_KIND_FLOAT: print_float(p, attr->f); break;
    case IR_KIND_INTS:
        fputs("[", p->out);
        for (size_t i = 0; i < attr->count; i++) {
            fprintf(p->out, "%s%" PRId64, i > 0 ? ", " : "", attr->ints[i]);
        }
        fputs("]", p->out);
        break;
    case IR_KIND_STRING:
        text = ir_text_quote(attr->text, p->arena);
        TRY_TEXT(text);
        fputs(text, p->out);
        break;
    case IR_KIND_DTYPE: fputs(ir_dtype_name((mtl_dtype)attr->i), p->out); break;
    }
    return MTL_OK;
}

static mtl_status print_node(printer *p, const ir_node_info *node)
{
    fputs("  ", p->out);
    for (uint32_t i = 0; i < node->output_count; i++) {
        fputs(i > 0 ? ", " : "", p->out);
        BASE_TRY(print_typed(p, node->outputs[i]));
    }
    fprintf(p->out, " = %s", ir_op_table(node->op)->name);
    for (uint32_t i = 0; i < node->input_count; i++) {
        fputs(i > 0 ? ", " : " ", p->out);
        BASE_TRY(print_value(p, node->inputs[i]));
    }
    for (uint32_t i = 0; i < node->attr_count; i++) {
        fputs(i > 0 ? ", " : " {", p->out);
        BASE_TRY(print_attr(p, &node->attrs[i]));
    }
    fputs(node->attr_count > 0 ? "}\n" : "\n", p->out);
    return MTL_OK;
}

static mtl_status print_head(printer *p)
{
    const ir_graph *graph = p->graph;
    const char *name = ir_text_quote(graph->name, p->arena);
    TRY_TEXT(name);
    fprintf(p->out, "graph %s (", name);
    for (int i = 0; i < graph->symbols.count; i++) {
        const char *symbol = ir_text_name(graph->symbols.name[i], p->arena);
        TRY_TEXT(symbol);
        fprintf(p->out, "%s%s", i > 0 ? ", " : "", symbol);
    }
    fputs(") {\n", p->out);
    return MTL_OK;
}

static mtl_status print_graph(printer *p)
{
    const ir_graph *graph = p->graph;
    uint32_t *uses;
    BASE_TRY(ir_count_uses(graph, p->arena, NULL, &uses));
    BASE_TRY(print_head(p));
    for (uint32_t i = 0; i < graph->input_count; i++) {
        fputs("  input ", p->out);
        BASE_TRY(print_typed(p, graph->inputs[i]));
        fputs(ir_info(graph, graph->inputs[i])->per_user ? " per_user\n" : "\n", p->out);
    }
    for (uint32_t i = 0; i < graph->param_count; i++) {
        BASE_TRY(print_const(p, "param", graph->params[i]));
    }
    for (ir_value value = 1; value < graph->value_count; value++) {
        if (graph->values[value].kind == IR_VALUE_CONST && uses[value] > 0) {
            BASE_TRY(print_const(p, "const", value));
        }
    }
    for (ir_node node = graph->first_node; node != 0; node = graph->nodes[node].next) {
        BASE_TRY(print_node(p, &graph->nodes[node]));
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        const char *name = ir_text_quote(graph->outputs[i].name, p->arena);
        TRY_TEXT(name);
        fprintf(p->out, "  output %s = ", name);
        BASE_TRY(print_value(p, graph->outputs[i].value));
        fputs("\n", p->out);
    }
    fputs("}\n", p->out);
    return MTL_OK;
}

mtl_status ir_print(const ir_graph *graph, FILE *out)
{
    base_arena arena = {0};
    printer p = {.graph = graph, .arena = &arena, .out = out};
    mtl_status status = print_graph(&p);
    base_arena_free(&arena);
    return status == MTL_OK && ferror(out) ? MTL_IO : status;
}
