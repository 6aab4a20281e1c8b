/* The operator schemas of the ONNX standard, as generated at build time from the `onnx` package by gen_schema.py: the
 * one source of operator names, versions, arity, attributes with defaults, and type constraints. */
#ifndef ONNX_SCHEMA_H
#define ONNX_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbered as AttributeProto.AttributeType. */
typedef enum onnx_attr_type {
    ONNX_ATTR_FLOAT = 1,
    ONNX_ATTR_INT = 2,
    ONNX_ATTR_STRING = 3,
    ONNX_ATTR_TENSOR = 4,
    ONNX_ATTR_GRAPH = 5,
    ONNX_ATTR_FLOATS = 6,
    ONNX_ATTR_INTS = 7,
    ONNX_ATTR_STRINGS = 8,
} onnx_attr_type;

typedef struct onnx_schema_attr {
    const char *name;
    uint8_t type; /* AttributeProto.AttributeType, more than the enum above names */
    bool required, has_default;
    int64_t i;           /* default of INT */
    double f;            /* default of FLOAT: the float32 of the schema */
    const char *s;       /* default of STRING */
    const int64_t *ints; /* default of INTS */
    size_t count;        /* of INTS */
} onnx_schema_attr;

typedef enum onnx_formal_option { ONNX_SINGLE, ONNX_OPTIONAL, ONNX_VARIADIC } onnx_formal_option;

typedef struct onnx_schema_formal {
    const char *name;
    uint8_t option;   /* onnx_formal_option */
    uint8_t variable; /* 0: a type of its own; else operands with the same number have the same type */
    bool homogeneous; /* VARIADIC: all have the same type */
    uint32_t types;   /* bit 1 << TensorProto.DataType for tensors; bit 0 for sequences, maps, optionals */
} onnx_schema_formal;

typedef struct onnx_schema {
    const char *domain, *name;
    int32_t since;
    bool deprecated;
    int32_t min_inputs, max_inputs, min_outputs, max_outputs; /* max: INT32_MAX for any number */
    const onnx_schema_attr *attrs;
    const onnx_schema_formal *inputs, *outputs;
    uint16_t attr_count, input_count, output_count; /* lengths of the arrays */
} onnx_schema;

/* Sorted by domain, name, since. */
extern const onnx_schema onnx_schemas[];
extern const size_t onnx_schema_count;
extern const int32_t onnx_schema_newest_opset; /* of the default domain */
extern const char onnx_schema_package[];       /* "onnx 1.23.2" */

/* "ai.onnx" and NULL are the default domain, "". */
const char *onnx_domain(const char *domain);

/* The schema that holds for `name` at `opset`: the newest that is not newer. NULL when there is none; then *known says
 * whether the operator came later (its first version) or never (0). */
const onnx_schema *onnx_schema_find(const char *domain, const char *name, int64_t opset, int32_t *known);

/* The row of an attribute, or NULL. */
const onnx_schema_attr *onnx_schema_attr_find(const onnx_schema *schema, const char *name);

/* The formal of operand `index`, the last one for what a variadic takes. NULL: the operator has none at all. */
const onnx_schema_formal *onnx_schema_input(const onnx_schema *schema, size_t index);
const onnx_schema_formal *onnx_schema_output(const onnx_schema *schema, size_t index);

const char *onnx_attr_type_name(int type);

#endif
