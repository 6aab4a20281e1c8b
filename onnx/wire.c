#include "onnx/wire.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LENGTH = 2, WIRE_FIXED32 = 5 };

/* protobuf's own limit on one length-prefixed field. */
#define MAX_LENGTH ((uint64_t)INT32_MAX)

typedef struct frame {
    size_t end; /* offset of the first byte after the message */
    const ProtobufCMessageDescriptor *descriptor;
} frame;

typedef struct scan {
    const uint8_t *data;
    size_t at; /* offset of the next byte */
    base_diag *diag;
    frame stack[ONNX_WIRE_MAX_DEPTH];
    int depth;
} scan;

static mtl_status read_varint(scan *s, size_t end, const char *what, uint64_t *number)
{
    uint64_t result = 0;
    size_t start = s->at;
    for (int shift = 0; shift < 70; shift += 7) {
        if (s->at >= end) {
            return base_fail(s->diag, MTL_INVALID_DATA, "byte %zu: truncated: %s ends within its number", start, what);
        }
        uint8_t byte = s->data[s->at++];
        if (shift == 63 && byte > 1) {
            break;
        }
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *number = result;
            return MTL_OK;
        }
    }
    return base_fail(s->diag, MTL_INVALID_DATA, "byte %zu: %s has a number of more than 64 bits", start, what);
}

static mtl_status skip_bytes(scan *s, size_t end, uint64_t count, const char *what)
{
    if (count > end - s->at) {
        return base_fail(s->diag, MTL_INVALID_DATA, "byte %zu: truncated: %s needs %llu bytes and %zu are left", s->at,
                         what, (unsigned long long)count, end - s->at);
    }
    s->at += (size_t)count;
    return MTL_OK;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *descriptor, uint64_t number)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (descriptor->fields[i].id == number) {
            return &descriptor->fields[i];
        }
    }
    return NULL;
}

/* The wire type of one element of a type. */
static int wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT: return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return WIRE_LENGTH;
    default: return WIRE_VARINT;
    }
}

static mtl_status check_packed(scan *s, const ProtobufCFieldDescriptor *field, size_t end)
{
    int type = wire_type_of(field->type);
    if (type == WIRE_VARINT) {
        while (s->at < end) {
            uint64_t ignored;
            BASE_TRY(read_varint(s, end, field->name, &ignored));
        }
        return MTL_OK;
    }
    size_t width = type == WIRE_FIXED32 ? 4 : 8;
    if ((end - s->at) % width != 0) {
        return base_fail(s->diag, MTL_INVALID_DATA, "byte %zu: field '%s' has %zu bytes, not a multiple of %zu", s->at,
                         field->name, end - s->at, width);
    }
    s->at = end;
    return MTL_OK;
}

static mtl_status check_string(scan *s, const ProtobufCFieldDescriptor *field, size_t end)
{
    const uint8_t *nul = end > s->at ? memchr(s->data + s->at, 0, end - s->at) : NULL;
    if (nul != NULL) {
        return base_fail(s->diag, MTL_INVALID_DATA, "byte %zu: NUL within the string '%s'", (size_t)(nul - s->data),
                         field->name);
    }
    s->at = end;
    return MTL_OK;
}

/* A length-prefixed field; s->at is at its length. A message is entered, all else is stepped over. */
static mtl_status check_length(scan *s, const ProtobufCFieldDescriptor *field, size_t end)
{
    const char *what = field != NULL ? field->name : "an unknown field";
    size_t start = s->at;
    uint64_t length;
    BASE_TRY(read_varint(s, end, what, &length));
    if (length > MAX_LENGTH) {
        return base_fail(s->diag, MTL_INVALID_DATA, "byte %zu: '%s' has %llu bytes, more than protobuf's 2 GiB", start,
                         what, (unsigned long long)length);
    }
    size_t body = s->at;
    BASE_TRY(skip_bytes(s, end, length, what));
    size_t body_end = s->at;
    if (field == NULL || field->type == PROTOBUF_C_TYPE_BYTES) {
        return MTL_OK;
    }
    s->at = body;
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        return check_string(s, field, body_end);
    }
    if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
        return check_packed(s, field, body_end);
    }
    if (s->depth == ONNX_WIRE_MAX_DEPTH) {
        return base_fail(s->diag, MTL_INVALID_DATA, "byte %zu: messages nest deeper than %d", start,
                         ONNX_WIRE_MAX_DEPTH);
    }
    s->stack[s->depth++] = (frame){body_end, field->descriptor};
    return MTL_OK;
}

static mtl_status check_field(scan *s)
{
    frame top = s->stack[s->depth - 1];
    size_t start = s->at;
    uint64_t tag;
    BASE_TRY(read_varint(s, top.end, "a field's tag", &tag));
    uint64_t number = tag >> 3;
    int type = (int)(tag & 7);
    if (number == 0 || number > 0x1fffffff) {
        return base_fail(s->diag, MTL_INVALID_DATA, "byte %zu: field number %llu in '%s' is out of range", start,
                         (unsigned long long)number, top.descriptor->short_name);
    }
    const ProtobufCFieldDescriptor *field = find_field(top.descriptor, number);
    const char *what = field != NULL ? field->name : "an unknown field";
    if (field != NULL && type != wire_type_of(field->type) &&
        !(type == WIRE_LENGTH && field->label == PROTOBUF_C_LABEL_REPEATED)) {
        return base_fail(s->diag, MTL_INVALID_DATA, "byte %zu: field '%s' of '%s' has wire type %d, expected %d", start,
                         field->name, top.descriptor->short_name, type, wire_type_of(field->type));
    }
    uint64_t ignored;
    switch (type) {
    case WIRE_VARINT: return read_varint(s, top.end, what, &ignored);
    case WIRE_FIXED64: return skip_bytes(s, top.end, 8, what);
    case WIRE_FIXED32: return skip_bytes(s, top.end, 4, what);
    case WIRE_LENGTH: return check_length(s, field, top.end);
    default:
        return base_fail(s->diag, MTL_INVALID_DATA, "byte %zu: wire type %d in '%s' is no wire type of ONNX", start,
                         type, top.descriptor->short_name);
    }
}

mtl_status onnx_wire_check(const void *data, size_t size, const ProtobufCMessageDescriptor *descriptor, base_diag *diag)
{
    scan s = {.data = data, .diag = diag, .depth = 1};
    s.stack[0] = (frame){size, descriptor};
    while (s.depth > 0) {
        if (s.at == s.stack[s.depth - 1].end) {
            s.depth--;
        } else {
            BASE_TRY(check_field(&s));
        }
    }
    return MTL_OK;
}
