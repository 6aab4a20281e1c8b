/* The scan of protobuf's wire format before protobuf-c sees it, and import from memory of what passes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "onnx/onnx.h"

static mtl_error error;

static mtl_status import(const void *bytes, size_t size)
{
    base_arena arena = {0};
    base_diag diag = {.error = &error};
    onnx_model model;
    error = (mtl_error){0};
    /* A copy of the exact size, so that AddressSanitizer sees any byte read beyond it. */
    void *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    mtl_status status = onnx_import_memory(copy, size, NULL, NULL, &arena, &diag, &model);
    if (status == MTL_OK) {
        onnx_close(&model);
        onnx_close(&model);
    } else {
        assert_int_equal(error.status, status);
        assert_null(model.graph);
        assert_null(model.maps);
    }
    free(copy);
    base_arena_free(&arena);
    return status;
}

static void refuse(const void *bytes, size_t size, const char *place)
{
    assert_int_equal(import(bytes, size), MTL_INVALID_DATA);
    if (strstr(error.message, place) == NULL) {
        fail_msg("'%s' is not in: %s", place, error.message);
    }
}

#define REFUSE(text, place) refuse("" text, sizeof(text) - 1, place)

static void test_malformed(void **state)
{
    (void)state;
    REFUSE("", "no graph");
    REFUSE("\x08", "byte 1: truncated");                                   /* a tag without its number */
    REFUSE("\x08\x80\x80", "byte 1: truncated");                           /* a number without its end */
    REFUSE("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "64 bits");     /* 65 bits */
    REFUSE("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "64 bits"); /* eleven bytes */
    REFUSE("\x00\x01", "byte 0: field number 0");
    REFUSE("\x0b", "byte 0: ");                        /* ir_version as a group */
    REFUSE("\xfb\x7f\xfc\x7f", "byte 0: wire type 3"); /* an unknown group */
    REFUSE("\xfe\x7f", "byte 0: wire type 6");
    REFUSE("\x0d\x00\x00\x00\x00", "byte 0: field 'ir_version'"); /* of fixed 32 bits */
    REFUSE("\x12\x05"
           "abcd",
           "byte 2: truncated"); /* producer_name */
    REFUSE("\x12\x05"
           "ab\0cd",
           "byte 4: NUL within the string 'producer_name'");
    REFUSE("\x12\xff\xff\xff\xff\x0f", "2 GiB");
    REFUSE("\x3a\x02\x0a\x05", "byte 4: truncated"); /* a node longer than its graph */
    REFUSE("\xfd\x7f\x00\x00", "truncated");         /* an unknown field of fixed 32 bits */
    REFUSE("\xf9\x7f\x00\x00", "truncated");         /* and of 64 */
    /* graph { initializer { float_data: 3 bytes } }, then a varint that does not end in packed int64_data */
    REFUSE("\x3a\x07\x2a\x05\x22\x03"
           "abc",
           "multiple of 4");
    REFUSE("\x3a\x06\x2a\x04\x3a\x02\x01\x80", "truncated");
}

/* Nodes within graphs within attributes, `depth` messages in all. */
static size_t nest(unsigned char *bytes, size_t capacity, int depth)
{
    static const unsigned char tags[] = {0x0a, 0x2a, 0x32}; /* graph.node, node.attribute, attribute.g */
    size_t at = capacity;
    size_t size = 0;
    for (int level = depth - 1; level >= 1; level--) {
        unsigned char header[8];
        size_t length = 0;
        header[length++] = level == 1 ? 0x3a : tags[(level - 2) % 3]; /* model.graph first */
        for (size_t rest = size; length == 1 || rest > 0; rest >>= 7) {
            header[length++] = (unsigned char)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
        }
        at -= length;
        memcpy(bytes + at, header, length);
        size += length;
    }
    memmove(bytes, bytes + at, size);
    return size;
}

static void test_nesting(void **state)
{
    (void)state;
    enum { CAPACITY = 1 << 20 };
    unsigned char *bytes = malloc(CAPACITY);
    assert_non_null(bytes);
    size_t size = nest(bytes, CAPACITY, 64);
    assert_int_not_equal(import(bytes, size), MTL_OK); /* passes the scan, but makes no sense */
    assert_null(strstr(error.message, "nest deeper"));
    size = nest(bytes, CAPACITY, 65);
    refuse(bytes, size, "nest deeper than 64");
    size = nest(bytes, CAPACITY, 100000);
    refuse(bytes, size, "nest deeper than 64");
    free(bytes);
}

/* Empty messages are small on the wire and large in memory. */
static void test_expansion(void **state)
{
    (void)state;
    enum { COUNT = 4 << 20 };
    unsigned char *bytes = malloc(2 * COUNT + 6);
    assert_non_null(bytes);
    static const unsigned char head[] = {0x3a, 0x80, 0x80, 0x80, 0x04}; /* a graph of 8 MiB */
    memcpy(bytes, head, sizeof head);
    for (size_t i = 0; i < COUNT; i++) {
        bytes[sizeof head + 2 * i] = 0x0a; /* node {} */
        bytes[sizeof head + 2 * i + 1] = 0;
    }
    refuse(bytes, sizeof head + 2 * COUNT, "unpacks to more than");
    free(bytes);
}

/* graph { node { Relu x -> y }, input x: float [B, 4], output y: float [B, 4] }, opset 17 */
static const unsigned char small[] = "\x08\x08\x3a\x3c"
                                     "\x0a\x0c\x0a\x01x\x12\x01y\"\x04Relu\x12\x00"
                                     "\x5a\x14\x0a\x01x\x12\x0f\x0a\x0d\x08\x01\x12\x09\x0a\x03\x12\x01"
                                     "B\x0a\x02\x08\x04"
                                     "\x62\x14\x0a\x01y\x12\x0f\x0a\x0d\x08\x01\x12\x09\x0a\x03\x12\x01"
                                     "B\x0a\x02\x08\x04"
                                     "\x42\x04\x0a\x00\x10\x11";

static void test_small(void **state)
{
    (void)state;
    assert_int_equal(import(small, sizeof small - 1), MTL_OK);
}

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t size = 0; size < sizeof small - 1; size++) {
        import(small, size);
    }
}

static void test_every_bit(void **state)
{
    (void)state;
    unsigned char bytes[sizeof small];
    for (size_t bit = 0; bit < 8 * (sizeof small - 1); bit++) {
        memcpy(bytes, small, sizeof small);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        import(bytes, sizeof small - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_malformed), cmocka_unit_test(test_nesting),   cmocka_unit_test(test_expansion),
        cmocka_unit_test(test_small),     cmocka_unit_test(test_every_cut), cmocka_unit_test(test_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
