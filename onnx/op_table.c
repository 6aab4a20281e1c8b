/* The dispatch table. */
#include <string.h>

#include "onnx/internal.h"

static const onnx_operator operators[] = {
#define OPERATOR(name, handler, op, note) {#name, onnx_import_##handler, IR_OP_##op},
#include "onnx/operators.def"
#undef OPERATOR
};

const onnx_operator *onnx_operator_find(const char *name)
{
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (strcmp(operators[i].name, name) == 0) {
            return &operators[i];
        }
    }
    return NULL;
}
