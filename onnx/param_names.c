/* Which constants --param can name: the list of them, and what is nearest to a name that is none. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/internal.h"

enum { MOST_NUMBERS = 8 }; /* printed of one constant */

typedef struct candidate {
    const char *name;
    size_t order; /* in the file */
    int32_t elem;
    int32_t rank;
    int64_t dims[MTL_MAX_RANK];
    size_t count;                    /* elements */
    const Onnx__TensorProto *tensor; /* NULL: `numbers` */
    const float *numbers;
} candidate;

typedef struct candidates {
    candidate *all;
    size_t count;
} candidates;

/* Only sound ones: what is wrong with others is told when somebody reads them. */
static void add_candidate(candidates *list, candidate found)
{
    found.order = list->count;
    found.count = 1;
    for (int32_t i = 0; i < found.rank; i++) {
        if (found.dims[i] < 1 || __builtin_mul_overflow(found.count, (size_t)found.dims[i], &found.count)) {
            return;
        }
    }
    mtl_dtype dtype = onnx_dtype(found.elem);
    if (dtype != 0 && ir_dtype_is_float(dtype)) {
        list->all[list->count++] = found;
    }
}

static void add_tensor(candidates *list, const char *name, const Onnx__TensorProto *tensor)
{
    if (tensor->n_dims <= MTL_MAX_RANK) {
        candidate found = {.name = name, .tensor = tensor, .rank = (int32_t)tensor->n_dims};
        found.elem = tensor->has_data_type ? tensor->data_type : 0;
        for (size_t i = 0; i < tensor->n_dims; i++) {
            found.dims[i] = tensor->dims[i];
        }
        add_candidate(list, found);
    }
}

static void add_constant(candidates *list, const Onnx__NodeProto *node)
{
    if (node->op_type == NULL || strcmp(node->op_type, "Constant") != 0 || node->n_output != 1 ||
        node->n_attribute != 1 || node->attribute[0]->name == NULL) {
        return;
    }
    const Onnx__AttributeProto *attr = node->attribute[0];
    candidate found = {.name = node->output[0], .elem = onnx_elem_of(MTL_F32)};
    if (strcmp(attr->name, "value") == 0 && attr->t != NULL) {
        add_tensor(list, node->output[0], attr->t);
    } else if (strcmp(attr->name, "value_float") == 0) {
        found.numbers = &attr->f;
        add_candidate(list, found);
    } else if (strcmp(attr->name, "value_floats") == 0) {
        found.numbers = attr->floats;
        found.rank = 1;
        found.dims[0] = (int64_t)attr->n_floats;
        add_candidate(list, found);
    }
}

/* Exporters store equal constants once; the other's name is that of an Identity. */
static void add_identity(candidates *list, const onnx_scope *scope, const Onnx__NodeProto *node)
{
    if (node->op_type != NULL && strcmp(node->op_type, "Identity") == 0 && node->n_input == 1 && node->n_output == 1) {
        const onnx_scope_entry *entry = onnx_scope_find(scope, node->input[0]);
        if (entry != NULL && entry->pending != NULL) {
            add_tensor(list, node->output[0], entry->pending);
        }
    }
}

static mtl_status find_candidates(const onnx_importer *importer, const onnx_scope *scope, candidates *list)
{
    const Onnx__GraphProto *graph = importer->model->graph;
    list->count = 0;
    list->all = BASE_NEW_ARRAY(importer->arena, candidate, graph->n_initializer + graph->n_node);
    BASE_TRY_MEMORY(list->all, importer->diag);
    for (size_t i = 0; i < graph->n_initializer; i++) {
        add_tensor(list, graph->initializer[i]->name, graph->initializer[i]);
    }
    for (size_t i = 0; i < graph->n_node; i++) {
        add_constant(list, graph->node[i]);
        add_identity(list, scope, graph->node[i]);
    }
    return MTL_OK;
}

/* --- unknown names -------------------------------------------------------------------------------------------- */

mtl_status onnx_param_unknown(const onnx_importer *importer, const onnx_scope *scope, const char *name)
{
    candidates list;
    BASE_TRY(find_candidates(importer, scope, &list));
    const char **names = BASE_NEW_ARRAY(importer->arena, const char *, list.count);
    BASE_TRY_MEMORY(names, importer->diag);
    for (size_t i = 0; i < list.count; i++) {
        names[i] = list.all[i].name;
    }
    char text[ONNX_NEAR_TEXT];
    bool all;
    BASE_TRY(onnx_near_names(importer, name, names, list.count, text, &all));
    if (list.count == 0) {
        return onnx_param_fail(importer, name, "the graph has no float constant");
    }
    return onnx_param_fail(importer, name, "no constant of the graph has this name%s%s", text,
                           all ? "" : " (--print-params lists them)");
}

/* --- the list ------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    const candidate *left = a, *right = b;
    if (left->count != right->count) {
        return left->count < right->count ? -1 : 1;
    }
    return left->order < right->order ? -1 : 1;
}

static mtl_status print_numbers(onnx_importer *importer, const candidate *constant, FILE *out)
{
    ir_tensor tensor = {.count = constant->count};
    if (constant->tensor != NULL) {
        const char *what = base_arena_format(importer->arena, "constant '%s'", constant->name);
        BASE_TRY_MEMORY(what, importer->diag);
        BASE_TRY(onnx_tensor(importer, constant->tensor, what, &tensor));
    }
    for (size_t i = 0; i < tensor.count; i++) {
        double number = constant->tensor != NULL ? ir_tensor_at(&tensor, i) : (double)constant->numbers[i];
        fprintf(out, "%s%.9g", i == 0 ? "" : ",", number);
    }
    return MTL_OK;
}

/* Names come from the file: what would move a terminal's cursor is shown as '?'. */
static void print_name(const char *name, FILE *out)
{
    size_t length = 0;
    for (; name[length] != '\0'; length++) {
        unsigned char c = (unsigned char)name[length];
        fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
    }
    fprintf(out, "%*s", length < 40 ? (int)(40 - length) : 0, "");
}

mtl_status onnx_param_print(onnx_importer *importer, const onnx_scope *scope, FILE *out)
{
    candidates list;
    BASE_TRY(find_candidates(importer, scope, &list));
    if (list.count > 1) {
        qsort(list.all, list.count, sizeof *list.all, by_size); /* what people tune is small */
    }
    for (size_t i = 0; i < list.count; i++) {
        const candidate *constant = &list.all[i];
        char shape[MTL_MAX_RANK * 24 + 4] = "(";
        size_t used = 1;
        for (int32_t axis = 0; axis < constant->rank; axis++) {
            used += (size_t)snprintf(shape + used, sizeof shape - used, "%s%" PRId64, axis > 0 ? ", " : "",
                                     constant->dims[axis]);
        }
        snprintf(shape + used, sizeof shape - used, constant->rank == 1 ? ",)" : ")");
        print_name(constant->name, out);
        fprintf(out, " %-8s %-16s", onnx_elem_name(constant->elem), shape);
        if (constant->count <= MOST_NUMBERS) {
            fputc(' ', out);
            BASE_TRY(print_numbers(importer, constant, out));
        }
        fputc('\n', out);
    }
    return fflush(out) != 0 || ferror(out) ? base_fail(importer->diag, MTL_IO, "cannot print the constants") : MTL_OK;
}
