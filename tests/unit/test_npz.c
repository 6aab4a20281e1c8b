#define _POSIX_C_SOURCE 200809L /* mkdtemp */
/* .npz files: to NumPy and back, and every kind of damage. $MTL_PYTHON (else python3) needs NumPy for the first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tool/npy.h"
#include "tool/npz.h"

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mtl-npz-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"a.npz", "b.npz", "script.py"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        remove(path_of(names[i]));
    }
    return rmdir(folder); /* fails when anything else was left behind */
}

static unsigned char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    unsigned char *bytes = malloc(1 << 20);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static mtl_status open_npz(const char *path, tool_npz **npz, mtl_error *error)
{
    base_diag diag = {.error = error};
    error->message[0] = '\0';
    mtl_status status = tool_npz_open(path, &diag, npz);
    assert_int_equal(status == MTL_OK, *npz != NULL);
    assert_int_equal(status == MTL_OK, error->message[0] == '\0');
    return status;
}

static const float matrix[2][3] = {{1, 2, 3}, {4, 5, 6.5f}};
static const int64_t ids[4] = {1, -2, INT64_MAX, 0};

static void write_sample(const char *path)
{
    static const uint16_t half = 0x3f80;
    static const unsigned char flags[2] = {1, 0};
    const tool_array arrays[] = {
        {.name = "matrix", .dtype = MTL_F32, .rank = 2, .shape = {2, 3}, .data = matrix, .bytes = sizeof matrix},
        {.name = "ids", .dtype = MTL_I64, .rank = 1, .shape = {4}, .data = ids, .bytes = sizeof ids},
        {.name = "a/b.c", .dtype = MTL_BF16, .rank = 0, .data = &half, .bytes = 2},
        {.name = "flags", .dtype = MTL_BOOL, .rank = 2, .shape = {2, 1}, .data = flags, .bytes = 2},
        {.name = "empty", .dtype = MTL_F64, .rank = 2, .shape = {0, 7}, .data = NULL, .bytes = 0},
    };
    tool_npz_writer *writer;
    assert_int_equal(tool_npz_writer_new(path, NULL, &writer), MTL_OK);
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        assert_int_equal(tool_npz_writer_add(writer, &arrays[i]), MTL_OK);
    }
    assert_int_equal(tool_npz_writer_commit(writer), MTL_OK);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    tool_npz *npz;
    mtl_error error;
    write_sample(path_of("a.npz"));
    assert_int_equal(open_npz(path_of("a.npz"), &npz, &error), MTL_OK);
    assert_int_equal(tool_npz_count(npz), 5);
    const tool_array *array = tool_npz_find(npz, "matrix");
    assert_ptr_equal(array, tool_npz_at(npz, 0));
    assert_int_equal(array->dtype, MTL_F32);
    assert_int_equal(array->rank, 2);
    assert_int_equal(array->shape[1], 3);
    assert_memory_equal(array->data, matrix, sizeof matrix);
    assert_int_equal((uintptr_t)array->data % 64, 0);
    assert_memory_equal(tool_npz_find(npz, "ids")->data, ids, sizeof ids);
    assert_int_equal(tool_npz_find(npz, "a/b.c")->dtype, MTL_BF16);
    assert_int_equal(tool_npz_find(npz, "empty")->shape[1], 7);
    assert_null(tool_npz_find(npz, "matri"));
    assert_null(tool_npz_at(npz, 5));
    tool_npz_close(npz);
}

static void equal_arrays_give_equal_files(void **state)
{
    (void)state;
    size_t size, again_size;
    write_sample(path_of("a.npz"));
    write_sample(path_of("b.npz"));
    unsigned char *bytes = read_file(path_of("a.npz"), &size), *again = read_file(path_of("b.npz"), &again_size);
    assert_int_equal(size, again_size);
    assert_memory_equal(bytes, again, size);
    free(bytes);
    free(again);
}

static void a_failed_write_leaves_nothing(void **state)
{
    (void)state;
    mtl_error error = {.message = ""};
    base_diag diag = {.error = &error};
    tool_npz_writer *writer;
    tool_array array = {.name = "x", .dtype = MTL_F32, .rank = 1, .shape = {3}, .data = matrix, .bytes = 8};
    assert_int_equal(tool_npz_writer_new("/nonexistent/out.npz", &diag, &writer), MTL_OK);
    assert_int_equal(tool_npz_writer_add(writer, &array), MTL_INVALID_ARGUMENT);
    tool_npz_writer_discard(writer);
    diag.failed = 0;
    array.bytes = 12;
    assert_int_equal(tool_npz_writer_new("/nonexistent/out.npz", &diag, &writer), MTL_OK);
    assert_int_equal(tool_npz_writer_add(writer, &array), MTL_OK);
    assert_int_equal(tool_npz_writer_commit(writer), MTL_IO);
    assert_non_null(strstr(error.message, "/nonexistent/out.npz"));
}

static void every_truncation_is_found(void **state)
{
    (void)state;
    size_t size;
    tool_npz *npz;
    mtl_error error;
    write_sample(path_of("a.npz"));
    unsigned char *bytes = read_file(path_of("a.npz"), &size);
    for (size_t length = 0; length < size; length++) {
        write_file(path_of("b.npz"), bytes, length);
        assert_int_not_equal(open_npz(path_of("b.npz"), &npz, &error), MTL_OK);
        assert_non_null(strstr(error.message, "b.npz"));
    }
    free(bytes);
}

/* A flip in a name or a date may pass; one in the data never does. */
static void flipped_data_is_found(void **state)
{
    (void)state;
    size_t size;
    tool_npz *npz;
    mtl_error error;
    write_sample(path_of("a.npz"));
    unsigned char *bytes = read_file(path_of("a.npz"), &size);
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 0x11;
        write_file(path_of("b.npz"), bytes, size);
        if (open_npz(path_of("b.npz"), &npz, &error) == MTL_OK) {
            const tool_array *array = tool_npz_find(npz, "matrix");
            if (array != NULL) {
                assert_memory_equal(array->data, matrix, sizeof matrix);
            }
            tool_npz_close(npz);
        }
        bytes[i] ^= 0x11;
    }
    free(bytes);
}

/* Offset of the `skip`-th place where `text` stands. */
static size_t find_bytes(const unsigned char *bytes, size_t size, const char *text, int skip)
{
    size_t length = strlen(text);
    for (size_t i = 0; i + length <= size; i++) {
        if (memcmp(bytes + i, text, length) == 0 && skip-- == 0) {
            return i;
        }
    }
    fail_msg("'%s' is not there", text);
    return 0;
}

static void expect_damage(size_t at, const char *text, size_t length, const char *expected)
{
    size_t size;
    tool_npz *npz;
    mtl_error error;
    unsigned char *bytes = read_file(path_of("a.npz"), &size);
    memcpy(bytes + at, text, length);
    write_file(path_of("b.npz"), bytes, size);
    free(bytes);
    assert_int_not_equal(open_npz(path_of("b.npz"), &npz, &error), MTL_OK);
    if (strstr(error.message, expected) == NULL) {
        fail_msg("expected '%s', got '%s'", expected, error.message);
    }
}

static void damage_is_named(void **state)
{
    (void)state;
    size_t size;
    write_sample(path_of("a.npz"));
    unsigned char *bytes = read_file(path_of("a.npz"), &size);
    size_t shape = find_bytes(bytes, size, "(2, 3)", 0), descr = find_bytes(bytes, size, "<f4", 0);
    size_t magic = find_bytes(bytes, size, "\x93NUMPY", 0), central = find_bytes(bytes, size, "PK\x01\x02", 0);
    free(bytes);
    expect_damage(shape, "(2, 4)", 6, "'matrix.npy': it has 24 bytes behind its header, which its shape");
    expect_damage(descr, ">f4", 3, "'matrix.npy': dtype '>f4' is big-endian");
    expect_damage(descr, "<c8", 3, "'matrix.npy': dtype '<c8' is not supported");
    expect_damage(magic, "X", 1, "'matrix.npy': not an array in NumPy's .npy format");
    expect_damage(magic + 6, "\x04", 1, "version 4.0 of the .npy format is unknown");
    expect_damage(central + 24, "\xff\xff\xff\x7f", 4, "bytes cannot come from");
    expect_damage(central + 10, "\x0c", 1, "compression method 12");
    expect_damage(central + 46 + 7, "npz", 3, "not an array (.npy)");
    write_file(path_of("b.npz"), "hello", 5);
    tool_npz *npz;
    mtl_error error;
    assert_int_equal(open_npz(path_of("b.npz"), &npz, &error), MTL_INVALID_DATA);
    assert_int_equal(open_npz("/nonexistent.npz", &npz, &error), MTL_IO);
    assert_non_null(strstr(error.message, "/nonexistent.npz: "));
}

typedef struct header_case {
    const char *text, *expected; /* NULL: accepted */
} header_case;

static const header_case headers[] = {
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", NULL},
    {"{\"shape\": (2L,), 'descr': '|b1', 'fortran_order': True}\n", NULL},
    {"{'descr': '=i8', 'fortran_order': False, 'shape': ()}", NULL},
    {"{'descr': '|V2', 'fortran_order': False, 'shape': (1,)}", NULL},
    {"{'descr': 'bfloat16', 'fortran_order': False, 'shape': (1,)}", NULL},
    {"", "not a dict"},
    {"{", "no string"},
    {"{'descr': '<f4'", "not a dict"},
    {"{'descr", "does not end"},
    {"{'descr': '<f4', 'descr': '<f4'}", "unexpected key 'descr'"},
    {"{'color': 3}", "unexpected key 'color'"},
    {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}", "records"},
    {"{'descr': '<U7', 'fortran_order': False, 'shape': ()}", "'<U7' is not supported"},
    {"{'descr': '', 'fortran_order': False, 'shape': ()}", "'' is not supported"},
    {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': ()}", "neither True nor False"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': 3}", "not a tuple"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (3", "not a tuple"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}", "not a tuple"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}", "not a tuple"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "too large"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", "more than 8 axes"},
};

static void headers_are_parsed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        tool_npy_header header;
        char message[TOOL_NPY_MESSAGE] = "";
        size_t length = strlen(headers[i].text);
        char *exact = malloc(length + 1); /* of its own, so that a sanitizer sees a read behind it */
        memcpy(exact, headers[i].text, length);
        mtl_status status = tool_npy_parse(exact, length, &header, message);
        free(exact);
        if (headers[i].expected == NULL ? status != MTL_OK : strstr(message, headers[i].expected) == NULL) {
            fail_msg("header %zu: '%s'", i, message);
        }
    }
    tool_npy_header big = {.dtype = MTL_F32, .rank = 3, .shape = {INT64_MAX, INT64_MAX, 0}};
    size_t bytes;
    assert_false(tool_npy_bytes(&big, &bytes));
    for (int axis = 0; axis < 8; axis++) {
        big.shape[axis] = INT64_MAX;
    }
    big.rank = 8;
    unsigned char written[TOOL_NPY_WRITTEN];
    assert_int_equal(tool_npy_write(&big, written) % 64, 0);
}

static int python(const char *script, const char *file)
{
    const char *program = getenv("MTL_PYTHON");
    char command[512], path[128];
    snprintf(path, sizeof path, "%s", path_of("script.py"));
    write_file(path, script, strlen(script));
    snprintf(command, sizeof command, "'%s' '%s' '%s'", program != NULL ? program : "python3", path, file);
    return system(command);
}

static const char makes[] =
    "import sys, numpy as np\n"
    "a = {n: (np.arange(24) % 7).astype(n).reshape(2, 3, 4) for n in 'float16 float32 float64 int8 int16 int32 int64 "
    "uint8 uint16 uint32 uint64 bool'.split()}\n"
    "a['fortran'] = np.asfortranarray(np.arange(24, dtype=np.int32).reshape(2, 3, 4))\n"
    "a['scalar'] = np.float32(2.5)\n"
    "a['empty'] = np.zeros((0, 5), np.float32)\n"
    "a['brain'] = np.array([0x3f80, 0x4000], '<u2').view('V2')\n"
    "np.savez(sys.argv[1], **a) if 'a.npz' in sys.argv[1] else np.savez_compressed(sys.argv[1], **a)\n";

static const char reads[] =
    "import sys, numpy as np\n"
    "z = np.load(sys.argv[1])\n"
    "assert z.files == ['matrix', 'ids', 'a/b.c', 'flags', 'empty'], z.files\n"
    "assert z['matrix'].dtype == np.float32 and z['matrix'].tolist() == [[1, 2, 3], [4, 5, 6.5]]\n"
    "assert z['ids'].dtype == np.int64 and z['ids'].tolist() == [1, -2, 2**63 - 1, 0]\n"
    "assert z['a/b.c'].dtype.itemsize == 2 and z['a/b.c'].shape == () and z['a/b.c'].tobytes() == b'\\x80\\x3f'\n"
    "assert z['flags'].dtype == bool and z['flags'].tolist() == [[True], [False]]\n"
    "assert z['empty'].dtype == np.float64 and z['empty'].shape == (0, 7)\n";

static void check_numpy_file(const char *path)
{
    static const char *const names[] = {"float32", "float64", "float16", "int64",  "int32", "int16",
                                        "int8",    "uint64",  "uint32",  "uint16", "uint8", "bool"};
    tool_npz *npz;
    mtl_error error;
    if (open_npz(path, &npz, &error) != MTL_OK) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(tool_npz_count(npz), 16);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const tool_array *array = tool_npz_find(npz, names[i]);
        assert_string_equal(mtl_dtype_name(array->dtype), names[i]);
        assert_int_equal(array->bytes, 24 * mtl_dtype_size(array->dtype));
        assert_int_equal(array->shape[2], 4);
    }
    const int32_t *ordered = tool_npz_find(npz, "fortran")->data;
    for (int32_t i = 0; i < 24; i++) {
        assert_int_equal(ordered[i], i);
    }
    assert_int_equal(((const int64_t *)tool_npz_find(npz, "int64")->data)[13], 6);
    assert_true(((const float *)tool_npz_find(npz, "scalar")->data)[0] == 2.5f);
    assert_int_equal(tool_npz_find(npz, "scalar")->rank, 0);
    assert_int_equal(tool_npz_find(npz, "empty")->bytes, 0);
    assert_int_equal(tool_npz_find(npz, "brain")->dtype, MTL_BF16);
    tool_npz_close(npz);
}

static void numpy_understands_us_and_we_numpy(void **state)
{
    (void)state;
    if (python("import numpy\n", "") != 0) {
        skip();
    }
    write_sample(path_of("a.npz"));
    char path[128];
    snprintf(path, sizeof path, "%s", path_of("a.npz"));
    assert_int_equal(python(reads, path), 0);
    assert_int_equal(python(makes, path), 0);
    check_numpy_file(path);
    snprintf(path, sizeof path, "%s", path_of("b.npz"));
    assert_int_equal(python(makes, path), 0);
    check_numpy_file(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(equal_arrays_give_equal_files),
        cmocka_unit_test(a_failed_write_leaves_nothing),
        cmocka_unit_test(every_truncation_is_found),
        cmocka_unit_test(flipped_data_is_found),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(headers_are_parsed),
        cmocka_unit_test(numpy_understands_us_and_we_numpy),
    };
    return cmocka_run_group_tests_name("npz", tests, make_folder, remove_folder);
}
