/* A node against its schema: version, attributes, arity, types. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "onnx/once.h"

mtl_status onnx_fail(const onnx_node *node, mtl_status status, const char *format, ...)
{
    char message[MTL_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return base_fail(node->importer->diag, status, "node '%s' (%s): %s", node->name, node->op, message);
}

/* --- attributes ----------------------------------------------------------------------------------------------- */

static bool refers(const Onnx__AttributeProto *attr)
{
    return attr->ref_attr_name != NULL && attr->ref_attr_name[0] != '\0';
}

static const Onnx__AttributeProto *find_named(Onnx__AttributeProto *const *attrs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (attrs[i]->name != NULL && strcmp(attrs[i]->name, name) == 0) {
            return attrs[i];
        }
    }
    return NULL;
}

mtl_status onnx_resolve_attr(onnx_node *node, const onnx_frame *frame, const Onnx__AttributeProto *attr,
                             const Onnx__AttributeProto **resolved)
{
    *resolved = attr;
    while (*resolved != NULL && refers(*resolved)) {
        const char *name = (*resolved)->ref_attr_name;
        if (frame->function == NULL) {
            return onnx_fail(node, MTL_INVALID_DATA, "attribute refers to '%s' outside of a function", name);
        }
        const Onnx__FunctionProto *function = frame->function;
        *resolved = find_named(frame->call->attribute, frame->call->n_attribute, name);
        frame = frame->call_frame;
        if (*resolved == NULL) {
            *resolved = find_named(function->attribute_proto, function->n_attribute_proto, name);
            if (*resolved != NULL && refers(*resolved)) {
                return onnx_fail(node, MTL_INVALID_DATA, "the default of attribute '%s' is a reference", name);
            }
        }
    }
    return MTL_OK;
}

static mtl_status check_attr_value(onnx_node *node, const char *name, const Onnx__AttributeProto *attr)
{
    if (attr->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR && attr->t == NULL) {
        return onnx_fail(node, MTL_INVALID_DATA, "attribute '%s' has no tensor", name);
    }
    if (attr->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH && attr->g == NULL) {
        return onnx_fail(node, MTL_INVALID_DATA, "attribute '%s' has no graph", name);
    }
    if (attr->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING && attr->s.len > 0 &&
        memchr(attr->s.data, 0, attr->s.len) != NULL) {
        return onnx_fail(node, MTL_INVALID_DATA, "attribute '%s' has NUL within its text", name);
    }
    return MTL_OK;
}

static mtl_status read_attr(onnx_node *node, const Onnx__AttributeProto *attr)
{
    const char *name = attr->name != NULL ? attr->name : "";
    const onnx_schema_attr *row = onnx_schema_attr_find(node->schema, name);
    if (row == NULL) {
        return onnx_fail(node, MTL_INVALID_DATA, "attribute '%s' is not one of the operator's at opset %lld", name,
                         (long long)node->opset);
    }
    const Onnx__AttributeProto **place = &node->attrs[row - node->schema->attrs];
    if (*place != NULL) {
        return onnx_fail(node, MTL_INVALID_DATA, "attribute '%s' is there twice", name);
    }
    const Onnx__AttributeProto *value;
    BASE_TRY(onnx_resolve_attr(node, node->frame, attr, &value));
    if (value == NULL) {
        return MTL_OK;
    }
    if (!value->has_type || (int)value->type != row->type) {
        return onnx_fail(node, MTL_INVALID_DATA, "attribute '%s' is of type %s, expected %s", name,
                         onnx_attr_type_name(value->has_type ? (int)value->type : 0), onnx_attr_type_name(row->type));
    }
    *place = value;
    return check_attr_value(node, name, value);
}

static mtl_status read_attrs(onnx_node *node)
{
    const onnx_schema *schema = node->schema;
    node->attrs = BASE_NEW_ARRAY(node->importer->arena, const Onnx__AttributeProto *, schema->attr_count);
    BASE_TRY_MEMORY(node->attrs, node->importer->diag);
    for (size_t i = 0; i < node->proto->n_attribute; i++) {
        BASE_TRY(read_attr(node, node->proto->attribute[i]));
    }
    for (size_t i = 0; i < schema->attr_count; i++) {
        if (schema->attrs[i].required && node->attrs[i] == NULL) {
            return onnx_fail(node, MTL_INVALID_DATA, "attribute '%s' (%s) is missing", schema->attrs[i].name,
                             onnx_attr_type_name(schema->attrs[i].type));
        }
    }
    return MTL_OK;
}

/* --- operands ------------------------------------------------------------------------------------------------- */

mtl_status onnx_node_operands(onnx_node *node)
{
    onnx_importer *importer = node->importer;
    size_t count = node->proto->n_input;
    while (count > 0 && node->proto->input[count - 1][0] == '\0') {
        count--;
    }
    node->input_count = count;
    node->inputs = BASE_NEW_ARRAY(importer->arena, onnx_value, count);
    BASE_TRY_MEMORY(node->inputs, importer->diag);
    node->output_count = node->proto->n_output;
    node->outputs = BASE_NEW_ARRAY(importer->arena, onnx_value, node->output_count + 1);
    BASE_TRY_MEMORY(node->outputs, importer->diag);
    node->constant = true;
    for (size_t i = 0; i < count; i++) {
        const char *name = node->proto->input[i];
        if (name[0] == '\0') {
            continue;
        }
        bool found;
        BASE_TRY(onnx_lookup(importer, node->frame->scope, name, &node->inputs[i], &found));
        if (!found) {
            return onnx_fail(node, MTL_INVALID_DATA,
                             "input %zu '%s' is made by no input, initializer or node before it", i, name);
        }
        if (node->inputs[i].refused != NULL) {
            return onnx_fail(node, MTL_UNSUPPORTED, "input %zu '%s' is %s", i, name, node->inputs[i].refused);
        }
        node->constant = node->constant && (node->inputs[i].constant || node->inputs[i].value == 0);
    }
    while (node->input_count > 0 && node->inputs[node->input_count - 1].value == 0) {
        node->input_count--; /* absent operands of a function that the body passes on */
    }
    return MTL_OK;
}

static const char *types_text(const onnx_node *node, uint32_t types)
{
    const char *text = "";
    for (int32_t elem = 1; elem < 32 && text != NULL; elem++) {
        if ((types >> elem & 1) != 0 && onnx_dtype(elem) != 0) {
            text = base_arena_format(node->importer->arena, "%s%s%s", text, text[0] == '\0' ? "" : ", ",
                                     onnx_elem_name(elem));
        }
    }
    return text == NULL ? "(no memory)" : text[0] == '\0' ? "no tensor type that is supported" : text;
}

/* The type of operand `index` against its formal; binds the formal's type variable. */
static mtl_status check_type(onnx_node *node, size_t index, const onnx_schema_formal *formal)
{
    int32_t elem = node->inputs[index].elem;
    if ((formal->types >> elem & 1) == 0) {
        return onnx_fail(node, MTL_INVALID_DATA, "input %zu (%s) is %s, expected %s", index, formal->name,
                         onnx_elem_name(elem), types_text(node, formal->types));
    }
    if (formal->variable == 0 || (formal->option == ONNX_VARIADIC && !formal->homogeneous)) {
        return MTL_OK;
    }
    int32_t *bound = &node->bound[formal->variable];
    if (*bound != 0 && *bound != elem) {
        return onnx_fail(node, MTL_INVALID_DATA, "input %zu (%s) is %s, expected %s as the operand before it", index,
                         formal->name, onnx_elem_name(elem), onnx_elem_name(*bound));
    }
    *bound = elem;
    return MTL_OK;
}

static mtl_status check_operands(onnx_node *node)
{
    const onnx_schema *schema = node->schema;
    if (node->input_count > (size_t)schema->max_inputs) {
        return onnx_fail(node, MTL_INVALID_DATA, "%zu inputs, expected at most %d", node->input_count,
                         schema->max_inputs);
    }
    if (node->input_count < (size_t)schema->min_inputs) {
        const onnx_schema_formal *missing = onnx_schema_input(schema, node->input_count);
        return onnx_fail(node, MTL_INVALID_DATA, "input %zu (%s) is missing", node->input_count,
                         missing != NULL ? missing->name : "");
    }
    if (node->output_count < 1 || node->output_count > (size_t)schema->max_outputs) {
        return onnx_fail(node, MTL_INVALID_DATA, "%zu outputs, expected %d to %d", node->output_count,
                         schema->min_outputs, schema->max_outputs);
    }
    for (size_t i = 0; i < node->input_count; i++) {
        const onnx_schema_formal *formal = onnx_schema_input(schema, i);
        if (node->inputs[i].value != 0) {
            BASE_TRY(check_type(node, i, formal));
        } else if (formal->option != ONNX_OPTIONAL) {
            return onnx_fail(node, MTL_INVALID_DATA, "input %zu (%s) is missing", i, formal->name);
        }
    }
    return MTL_OK;
}

static mtl_status find_schema(onnx_node *node)
{
    const char *domain = onnx_domain(node->proto->domain);
    if (domain[0] != '\0') {
        return onnx_fail(node, MTL_UNSUPPORTED, "operators of domain '%s' are not supported", domain);
    }
    node->opset = onnx_opset(node->frame->opsets, node->frame->opset_count, "");
    if (node->opset == 0) {
        return onnx_fail(node, MTL_INVALID_DATA, "no opset_import names a version of the default domain");
    }
    int32_t known;
    node->schema = onnx_schema_find(domain, node->op, node->opset, &known);
    if (node->schema == NULL && known > 0) {
        return onnx_fail(node, MTL_INVALID_DATA, "the operator came with opset %d, the model is of opset %lld", known,
                         (long long)node->opset);
    }
    if (node->schema == NULL) {
        return onnx_fail(node, MTL_UNSUPPORTED, "the operator is unknown to ONNX up to opset %d",
                         onnx_schema_newest_opset);
    }
    if (node->schema->deprecated) {
        return onnx_fail(node, MTL_UNSUPPORTED, "the operator is deprecated since opset %d", node->schema->since);
    }
    return MTL_OK;
}

mtl_status onnx_node_check(onnx_node *node)
{
    BASE_TRY(find_schema(node));
    BASE_TRY(read_attrs(node));
    return check_operands(node);
}

/* The element type of output `index` in the model's terms. */
static int32_t output_elem(const onnx_node *node, size_t index)
{
    mtl_dtype dtype = ir_type_of(node->importer->graph, node->outputs[index].value)->dtype;
    if (!ir_dtype_is_float(dtype)) {
        return onnx_elem_of(dtype);
    }
    const onnx_schema_formal *formal = onnx_schema_output(node->schema, index);
    int32_t bound = formal != NULL && formal->variable != 0 ? node->bound[formal->variable] : 0;
    if (node->outputs[index].elem != 0) {
        return node->outputs[index].elem;
    }
    return bound != 0 && ir_dtype_is_float(onnx_dtype(bound)) ? bound : onnx_elem_of(MTL_F32);
}

mtl_status onnx_node_finish(onnx_node *node)
{
    if (node->nested) {
        return MTL_OK; /* its nodes have been here */
    }
    BASE_TRY(onnx_once_finish(node));
    for (size_t i = 0; i < node->output_count; i++) {
        onnx_value *output = &node->outputs[i];
        if (output->value == 0) {
            continue;
        }
        output->elem = output_elem(node, i);
        output->constant = node->constant;
        if (onnx_dtype(output->elem) == MTL_F64 && !output->constant && !node->importer->options->allow_f32) {
            return onnx_fail(node, MTL_UNSUPPORTED, "computes in float64; --allow-f32 computes it in float32");
        }
    }
    return MTL_OK;
}
