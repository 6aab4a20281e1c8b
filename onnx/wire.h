/* A look over a protobuf message's bytes before protobuf-c, which recurses without limit and cuts strings at NUL, gets
 * to see them. */
#ifndef ONNX_WIRE_H
#define ONNX_WIRE_H

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#include "base/diag.h"

enum { ONNX_WIRE_MAX_DEPTH = 64 }; /* messages within messages, the outermost included */

/* Checks that `size` bytes at `data` are a well-formed message of type `descriptor`: tags, varints and lengths complete
 * and within their message, known fields with the wire type of their declaration, no NUL in a string, nesting of at most
 * ONNX_WIRE_MAX_DEPTH. Iterative; allocates nothing. Errors (MTL_INVALID_DATA) name the byte offset. */
mtl_status onnx_wire_check(const void *data, size_t size, const ProtobufCMessageDescriptor *descriptor,
                           base_diag *diag);

#endif
