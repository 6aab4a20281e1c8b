/* The dispatch table. */
#include <string.h>

#include "onnx/internal.h"

static const onnx_operator operators[] = {
#define OPERATOR(name, handler, op, note) {#name, onnx_import_##handler, IR_OP_##op},
#include "onnx/operators.def"
#undef OPERATOR
};

static const char bags[] =
    "the operator is not supported (nn.EmbeddingBag is exported as a loop: nn.Embedding and a sum, "
    "mean or max over its rows compile to one step, docs/ids.md)";

static const struct {
    const char *name, *why;
} refusals[] = {
    {"Bernoulli", "it draws random numbers: the scores would not follow from the inputs"},
    {"Compress", "the extents of its result depend on data"},
    {"Loop", bags},
    {"Multinomial", "it draws random numbers: the scores would not follow from the inputs"},
    {"NonZero", "the extents of its result depend on data"},
    {"RandomNormal", "it draws random numbers: the scores would not follow from the inputs"},
    {"RandomNormalLike", "it draws random numbers: the scores would not follow from the inputs"},
    {"RandomUniform", "it draws random numbers: the scores would not follow from the inputs"},
    {"RandomUniformLike", "it draws random numbers: the scores would not follow from the inputs"},
    {"SequenceEmpty", bags},
    {"Unique", "the extents of its result depend on data"},
};

const char *onnx_operator_refusal(const char *name)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        if (strcmp(refusals[i].name, name) == 0) {
            return refusals[i].why;
        }
    }
    return "the operator is not supported";
}

const onnx_operator *onnx_operator_find(const char *name)
{
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (strcmp(operators[i].name, name) == 0) {
            return &operators[i];
        }
    }
    return NULL;
}
