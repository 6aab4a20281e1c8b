#define _GNU_SOURCE /* mkdtemp */
/* Half floats against the definition, checked arithmetic, the arena, files that are written beside and renamed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/checked.h"
#include "base/cpus.h"
#include "base/file.h"
#include "base/half.h"
#include "base/names.h"

/* The value of a binary16 from its definition. */
static double f16_value(uint16_t bits)
{
    int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
    double magnitude = exponent == 0    ? ldexp(mantissa, -24)
                       : exponent == 31 ? (mantissa != 0 ? NAN : INFINITY)
                                        : ldexp(1024 + mantissa, exponent - 25);
    return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

static void f16_reads_and_writes_every_value(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        double want = f16_value((uint16_t)bits), got = base_f16_to_f32((uint16_t)bits);
        if (isnan(want)) {
            assert_true(isnan(got));
            assert_true(isnan(base_f16_to_f32(base_f16_from_f32((float)got))));
            continue;
        }
        assert_true(want == got && signbit(want) == signbit(got));
        assert_int_equal(base_f16_from_f32((float)got), bits);
    }
}

static void f16_rounds_halves_to_even(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x7bff; bits++) {
        float low = base_f16_to_f32((uint16_t)bits), high = base_f16_to_f32((uint16_t)(bits + 1));
        float middle = (low + high) / 2; /* exact in binary32 */
        assert_int_equal(base_f16_from_f32(middle), bits % 2 == 0 ? bits : bits + 1);
        assert_int_equal(base_f16_from_f32(nextafterf(middle, low)), bits);
        assert_int_equal(base_f16_from_f32(nextafterf(middle, high)), bits + 1);
    }
    assert_int_equal(base_f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(base_f16_from_f32(65520.0f), 0x7c00);
}

static void bf16_rounds_halves_to_even(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x7f7f; bits++) {
        float low = base_bf16_to_f32((uint16_t)bits), high = base_bf16_to_f32((uint16_t)(bits + 1));
        float middle = low / 2 + high / 2;
        if (low / 2 * 2 != low || high / 2 * 2 != high || middle <= low || middle >= high) {
            continue; /* subnormals lose their half */
        }
        assert_int_equal(base_bf16_from_f32(low), bits);
        assert_int_equal(base_bf16_from_f32(middle), bits % 2 == 0 ? bits : bits + 1);
    }
    assert_true(isnan(base_bf16_to_f32(base_bf16_from_f32(NAN))));
}

static void arithmetic_says_when_it_overflows(void **state)
{
    (void)state;
    size_t size;
    int64_t number;
    assert_true(base_add_size(SIZE_MAX - 1, 1, &size) && size == SIZE_MAX);
    assert_false(base_add_size(SIZE_MAX, 1, &size));
    assert_false(base_mul_size(SIZE_MAX / 2 + 1, 2, &size));
    assert_false(base_mul_i64(INT64_MIN, -1, &number));
    assert_false(base_sub_i64(INT64_MIN, 1, &number));
    assert_true(base_range_fits(10, 0, 10) && base_range_fits(0, 10, 10));
    assert_false(base_range_fits(11, 0, 10) || base_range_fits(1, UINT64_MAX, 10));
}

static void arena_memory_is_zeroed_and_aligned(void **state)
{
    (void)state;
    base_arena arena = {0};
    for (size_t size = 0; size < 5000; size += 37) {
        unsigned char *memory = base_arena_alloc(&arena, size);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % (size >= 64 ? 64 : 16), 0);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(memory[i], 0);
        }
        memset(memory, 0xff, size);
    }
    assert_non_null(base_arena_alloc(&arena, 1 << 20));
    assert_null(base_arena_alloc_array(&arena, SIZE_MAX / 2, 3));
    assert_null(base_arena_alloc(&arena, SIZE_MAX - 10));
    assert_string_equal(base_arena_format(&arena, "%d-%s", 7, "x"), "7-x");
    base_arena_free(&arena);
}

static void a_file_appears_whole_or_not_at_all(void **state)
{
    (void)state;
    char folder[] = "/tmp/mtlc-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    base_output *output;
    assert_int_equal(base_output_open(path, NULL, &output), MTL_OK);
    assert_int_equal(base_output_write(output, "abc", 3), MTL_OK);
    assert_int_equal(access(path, F_OK), -1);
    base_output_discard(output);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(base_output_open(path, NULL, &output), MTL_OK);
    assert_int_equal(base_output_write(output, "abc", 3), MTL_OK);
    assert_int_equal(base_output_commit(output), MTL_OK);
    base_map map;
    assert_int_equal(base_map_file(path, NULL, &map), MTL_OK);
    assert_true(map.size == 3 && memcmp(map.data, "abc", 3) == 0);
    base_unmap(&map);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left in it */
}

static void errors_name_the_path(void **state)
{
    (void)state;
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    base_map map;
    assert_int_equal(base_map_file("/nonexistent/model.onnx", &diag, &map), MTL_IO);
    assert_non_null(strstr(error.message, "/nonexistent/model.onnx"));
    base_fail(&diag, MTL_INTERNAL, "what follows from it");
    assert_null(strstr(error.message, "what follows"));
    base_diag line = {.error = &error};
    base_fail(&line, MTL_INVALID_DATA, "name '%s'", "two\nlines\x1b[31m");
    assert_string_equal(error.message, "name 'two?lines?[31m'");
}

/* --- quotas of control groups, from files as Linux has them --- */

typedef struct fake_file {
    const char *path, *text; /* NULL: the end */
} fake_file;

enum { MOST_FILES = 8 };

static void make_folders(const char *path)
{
    char part[512];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(part, 0777);
        *slash = '/';
    }
}

static void remove_folders(const char *root, const char *path)
{
    char part[512];
    snprintf(part, sizeof part, "%s%s", root, path);
    for (char *slash; strlen(part) > strlen(root) && (slash = strrchr(part, '/')) != NULL;) {
        *slash = '\0';
        rmdir(part); /* not empty yet: the last file will do it */
    }
}

static size_t quota_with(const fake_file *files)
{
    char root[] = "/tmp/mtlc-test-XXXXXX", path[512];
    assert_non_null(mkdtemp(root));
    for (const fake_file *f = files; f->path != NULL; f++) {
        snprintf(path, sizeof path, "%s%s", root, f->path);
        make_folders(path);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(f->text, file);
        fclose(file);
    }
    size_t quota = base_cpus_quota(root);
    for (const fake_file *f = files; f->path != NULL; f++) {
        snprintf(path, sizeof path, "%s%s", root, f->path);
        assert_int_equal(unlink(path), 0);
    }
    for (const fake_file *f = files; f->path != NULL; f++) {
        remove_folders(root, f->path);
    }
    rmdir(root);
    assert_int_equal(access(root, F_OK), -1);
    return quota;
}

#define CGROUP "/proc/self/cgroup"
#define MOUNTS "/proc/self/mountinfo"
#define MOUNT_V2 "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define MOUNT_V1                                                                                                       \
    "24 1 8:1 / / rw - ext4 /dev/sda1 rw,cpu=1\n"                                                                      \
    "33 30 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"                                                \
    "34 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct\n"

static void quotas_of_control_groups(void **state)
{
    (void)state;
    static const struct {
        size_t quota;
        fake_file files[MOST_FILES];
    } cases[] = {
        {0, {{CGROUP, "0::/\n"}}}, /* nothing is mounted */
        {0, {{MOUNTS, MOUNT_V2}}},
        {0, {{CGROUP, "0::/a\n"}, {MOUNTS, MOUNT_V2}, {"/sys/fs/cgroup/a/cpu.max", "max 100000\n"}}},
        {2, {{CGROUP, "0::/a\n"}, {MOUNTS, MOUNT_V2}, {"/sys/fs/cgroup/a/cpu.max", "200000 100000\n"}}},
        {2, {{CGROUP, "0::/a\n"}, {MOUNTS, MOUNT_V2}, {"/sys/fs/cgroup/a/cpu.max", "299999 100000"}}}, /* down */
        {1, {{CGROUP, "0::/a\n"}, {MOUNTS, MOUNT_V2}, {"/sys/fs/cgroup/a/cpu.max", "20000 100000\n"}}},
        {0, {{CGROUP, "0::/a\n"}, {MOUNTS, MOUNT_V2}, {"/sys/fs/cgroup/a/cpu.max", "-7 -1\n"}}},
        {0, {{CGROUP, "0::/a\n"}, {MOUNTS, MOUNT_V2}, {"/sys/fs/cgroup/a/cpu.max", ""}}},
        {0, {{CGROUP, "0:/a\nx\n:\n::\n"}, {MOUNTS, "1 2 - cgroup2\n- - -\n\n - cgroup2"}}},
        /* the smallest of the groups above */
        {3,
         {{CGROUP, "0::/a/b\n"},
          {MOUNTS, MOUNT_V2},
          {"/sys/fs/cgroup/a/b/cpu.max", "800000 100000\n"},
          {"/sys/fs/cgroup/a/cpu.max", "300000 100000\n"},
          {"/sys/fs/cgroup/b/cpu.max", "100000 100000\n"}}}, /* not ours */
        /* a container with its part of the hierarchy, and one with a namespace of its own */
        {4,
         {{CGROUP, "0::/docker/42\n"},
          {MOUNTS, "29 23 0:26 /docker/42 /sys/fs/cgroup ro - cgroup2 cgroup rw\n"},
          {"/sys/fs/cgroup/cpu.max", "400000 100000\n"}}},
        {4,
         {{CGROUP, "0::/../../elsewhere\n"},
          {MOUNTS, "29 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n"},
          {"/sys/fs/cgroup/cpu.max", "400000 100000\n"}}},
        /* version 1 */
        {5,
         {{CGROUP, "5:cpuset:/x\n4:cpu,cpuacct:/pod\n1:name=systemd:/x\n0::/\n"},
          {MOUNTS, MOUNT_V1},
          {"/sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", "550000\n"},
          {"/sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us", "100000\n"}}},
        {0,
         {{CGROUP, "4:cpu,cpuacct:/\n"},
          {MOUNTS, MOUNT_V1},
          {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"},
          {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"}}},
        {0,
         {{CGROUP, "4:cpuset,cpuacct:/\n"}, /* no "cpu" among them */
          {MOUNTS, MOUNT_V1},
          {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n"},
          {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"}}},
        /* both: version 1 has the controller */
        {6,
         {{CGROUP, "4:cpu:/\n0::/\n"},
          {MOUNTS, MOUNT_V1 "35 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"},
          {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "300000\n"},
          {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "50000\n"}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t quota = quota_with(cases[i].files);
        if (quota != cases[i].quota) {
            fail_msg("case %zu: %zu CPUs, expected %zu", i, quota, cases[i].quota);
        }
    }
    assert_true(base_cpus_available() >= 1);
}

static void names_match_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {{"ctr", "ctr", true},
                 {"ctr", "ctrs", false},
                 {"ctrs", "ctr", false},
                 {"*", "", true},
                 {"", "", true},
                 {"", "a", false},
                 {"user_*", "user_id", true},
                 {"user_*", "user_", true},
                 {"user_*", "item_id", false},
                 {"*a*b*", "aab", true},
                 {"*ab", "aaab", true},
                 {"a?c", "abc", true},
                 {"a?c", "ac", false},
                 {"?", "", false},
                 {"*b?d", "bbcbcd", true},
                 {"gate*", "gate*", true},
                 {"a**b", "ab", true},
                 {"*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (base_name_matches(cases[i].pattern, cases[i].name) != cases[i].matches) {
            fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].name);
        }
    }
}

static void names_are_listed_while_there_is_room(void **state)
{
    (void)state;
    base_name_list list = {0};
    base_list_name(&list, "a");
    assert_string_equal(list.text, "'a'");
    base_list_name(&list, "b");
    assert_string_equal(list.text, "'a', 'b'");
    for (int i = 0; i < 20; i++) {
        base_list_name(&list, "c");
    }
    assert_string_equal(list.text, "'a', 'b', 'c', 'c', 'c', 'c', 'c', 'c', ...");
    char name[1000];
    for (size_t length = 300; length < sizeof name; length++) {
        memset(name, 'n', length);
        name[length] = '\0';
        base_name_list first = {0};
        base_list_name(&first, name);
        base_list_name(&first, name);
        base_list_name(&first, "x");
        assert_true(strlen(first.text) < sizeof first.text);
        assert_string_equal(first.text + strlen(first.text) - 3, "...");
    }
}

/* Of names that people mistype. */
static void names_have_a_distance(void **state)
{
    static const struct {
        const char *a, *b;
        size_t distance;
    } cases[] = {{"", "", 0},           {"gate", "", 4},     {"gate", "gate", 0},   {"gate", "gates", 1},
                 {"gate", "ate", 1},    {"gate", "mate", 1}, {"reul", "relu", 1},   {"experst", "experts", 1},
                 {"mlp", "mixture", 6}, {"ca", "abc", 3},    {"tower", "twoers", 2}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(base_name_distance(cases[i].a, cases[i].b), cases[i].distance);
        assert_int_equal(base_name_distance(cases[i].b, cases[i].a), cases[i].distance);
    }
    char longer[300];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(base_name_distance(longer, "a"), 99); /* of 100 letters */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_reads_and_writes_every_value),
        cmocka_unit_test(f16_rounds_halves_to_even),
        cmocka_unit_test(bf16_rounds_halves_to_even),
        cmocka_unit_test(arithmetic_says_when_it_overflows),
        cmocka_unit_test(arena_memory_is_zeroed_and_aligned),
        cmocka_unit_test(a_file_appears_whole_or_not_at_all),
        cmocka_unit_test(errors_name_the_path),
        cmocka_unit_test(quotas_of_control_groups),
        cmocka_unit_test(names_match_patterns),
        cmocka_unit_test(names_are_listed_while_there_is_room),
        cmocka_unit_test(names_have_a_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
