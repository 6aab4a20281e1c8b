#include "onnx/schema.h"

#include <string.h>

const char *onnx_domain(const char *domain)
{
    return domain == NULL || strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

static int compare(const onnx_schema *schema, const char *domain, const char *name)
{
    int order = strcmp(schema->domain, domain);
    return order != 0 ? order : strcmp(schema->name, name);
}

const onnx_schema *onnx_schema_find(const char *domain, const char *name, int64_t opset, int32_t *known)
{
    size_t low = 0;
    size_t high = onnx_schema_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&onnx_schemas[middle], domain, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const onnx_schema *found = NULL;
    *known = 0;
    for (size_t i = low; i < onnx_schema_count && compare(&onnx_schemas[i], domain, name) == 0; i++) {
        if (*known == 0) {
            *known = onnx_schemas[i].since;
        }
        if (onnx_schemas[i].since <= opset) {
            found = &onnx_schemas[i];
        }
    }
    return found;
}

const onnx_schema_attr *onnx_schema_attr_find(const onnx_schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->attr_count; i++) {
        if (strcmp(schema->attrs[i].name, name) == 0) {
            return &schema->attrs[i];
        }
    }
    return NULL;
}

static const onnx_schema_formal *formal(const onnx_schema_formal *formals, size_t count, size_t index)
{
    if (count == 0) {
        return NULL;
    }
    return &formals[index < count ? index : count - 1];
}

const onnx_schema_formal *onnx_schema_input(const onnx_schema *schema, size_t index)
{
    return formal(schema->inputs, schema->input_count, index);
}

const onnx_schema_formal *onnx_schema_output(const onnx_schema *schema, size_t index)
{
    return formal(schema->outputs, schema->output_count, index);
}

const char *onnx_attr_type_name(int type)
{
    static const char *const names[] = {
        "undefined", "float",   "int",    "string",        "tensor",         "graph", "floats", "ints",
        "strings",   "tensors", "graphs", "sparse tensor", "sparse tensors", "type",  "types",
    };
    return type >= 0 && (size_t)type < sizeof names / sizeof names[0] ? names[type] : "unknown";
}
