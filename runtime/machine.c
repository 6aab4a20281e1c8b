/* The best of many repetitions, as a machine has other things to do: FLOP/s of plain products that stay in cache, and
 * the read bandwidth of each level of the memory with the widest vectors of the ISA. */
#define _GNU_SOURCE /* _SC_LEVEL1_DCACHE_SIZE */
#include "runtime/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/profile.h"

/* One vector is one register of the ISA: compilers lower wider ones badly. */
typedef uint64_t lanes16 __attribute__((vector_size(16), may_alias));
typedef uint64_t lanes32 __attribute__((vector_size(32), may_alias));
typedef uint64_t lanes64 __attribute__((vector_size(64), may_alias));

enum { STREAMS = 4, STEP = STREAMS * 64 }; /* independent sums: loads, not additions, are the limit */

/* Reads `bytes`, a multiple of STEP, and gives something that depends on all of them. */
#define READ_FUNCTION(name, lanes, attributes)                                                                         \
    attributes static uint64_t name(const unsigned char *data, size_t bytes)                                           \
    {                                                                                                                  \
        lanes a = {0}, b = {0}, c = {0}, d = {0};                                                                      \
        for (const lanes *p = (const void *)data, *end = (const void *)(data + bytes); p < end; p += STREAMS) {        \
            a += p[0];                                                                                                 \
            b += p[1];                                                                                                 \
            c += p[2];                                                                                                 \
            d += p[3];                                                                                                 \
        }                                                                                                              \
        uint64_t sum = 0;                                                                                              \
        a = (a + b) + (c + d);                                                                                         \
        for (size_t i = 0; i < sizeof a / sizeof sum; i++) {                                                           \
            sum ^= a[i];                                                                                               \
        }                                                                                                              \
        return sum;                                                                                                    \
    }

READ_FUNCTION(read_generic, lanes16, )
#ifdef __x86_64__
READ_FUNCTION(read_avx2, lanes32, __attribute__((target("avx2"))))
READ_FUNCTION(read_avx512, lanes64, __attribute__((target("avx512f"))))
#endif

typedef uint64_t (*reader)(const unsigned char *data, size_t bytes);

static reader reader_for(mtl_isa isa)
{
#ifdef __x86_64__
    if (isa == MTL_ISA_AVX2) {
        return read_avx2;
    }
    if (isa == MTL_ISA_AVX512) {
        return read_avx512;
    }
#endif
    (void)isa;
    return read_generic;
}

enum { MEASURE_NS = 150 * 1000 * 1000, SAMPLE_NS = 200 * 1000, FLOATS_ALIGNMENT = 64 };

/* Bytes a second: the best sample of at least SAMPLE_NS or one pass. */
static double read_speed(reader read, const unsigned char *data, size_t bytes)
{
    double best = 0;
    size_t passes = 1;
    uint64_t until = runtime_profile_now() + MEASURE_NS;
    for (uint64_t now = 0; now < until || best == 0;) {
        uint64_t begin = runtime_profile_now(), sum = 0;
        for (size_t i = 0; i < passes; i++) {
            sum += read(data, bytes);
            __asm__ volatile("" : : "r"(data), "r"(sum) : "memory"); /* each pass reads again */
        }
        now = runtime_profile_now();
        uint64_t took = now - begin > 0 ? now - begin : 1;
        if (took < SAMPLE_NS && passes < (size_t)1 << 30) {
            passes *= 2;
            continue;
        }
        double speed = (double)bytes * (double)passes * 1e9 / (double)took;
        best = speed > best ? speed : best;
    }
    return best;
}

/* Linux's own list of caches, level 1 to 3 of data: sysconf counts the last level wrongly on some virtual machines. 0
 * where it says nothing. */
static uint64_t listed_cache(int level)
{
    for (int index = 0; index < 8; index++) {
        char path[80], type[16] = "";
        int found = 0;
        unsigned long long kib = 0;
        static const char *const keys[] = {"level", "type", "size"};
        for (int key = 0; key < 3; key++) {
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, keys[key]);
            FILE *file = fopen(path, "r");
            if (file == NULL) {
                return 0;
            }
            int read = key == 0   ? fscanf(file, "%d", &found)
                       : key == 1 ? fscanf(file, "%15s", type)
                                  : fscanf(file, "%lluK", &kib);
            fclose(file);
            if (read != 1) {
                return 0;
            }
        }
        if (found == level && strcmp(type, "Instruction") != 0) {
            return kib * 1024;
        }
    }
    return 0;
}

static uint64_t cache_size(int level, int name, uint64_t otherwise)
{
    uint64_t listed = listed_cache(level);
    if (listed > 0) {
        return listed;
    }
    long size = sysconf(name);
    return size > 0 ? (uint64_t)size : otherwise;
}

/* The levels that the system tells of, or usual ones; the buffer of each is half of it, that of the memory four times
 * the last level, within bounds. */
static void find_levels(tool_machine *machine)
{
    enum { KIB = 1024, MIB = 1024 * 1024 };
    static const char *const names[] = {"L1", "L2", "L3"};
    uint64_t sizes[3] = {32 * KIB, 512 * KIB, 0};
#ifdef _SC_LEVEL1_DCACHE_SIZE
    sizes[0] = cache_size(1, _SC_LEVEL1_DCACHE_SIZE, sizes[0]);
    sizes[1] = cache_size(2, _SC_LEVEL2_CACHE_SIZE, sizes[1]);
    sizes[2] = cache_size(3, _SC_LEVEL3_CACHE_SIZE, sizes[2]);
#endif
    uint64_t last = 0;
    machine->read_count = 0;
    for (int i = 0; i < 3; i++) {
        if (sizes[i] > last) {
            last = sizes[i];
            machine->read[machine->read_count].name = names[i];
            machine->read[machine->read_count].capacity = last;
            machine->read[machine->read_count++].bytes = last / 2 / STEP * STEP;
        }
    }
    uint64_t memory = last < 16 * MIB ? 64 * MIB : last > 64 * MIB ? 256 * MIB : 4 * last;
    if (memory < 2 * last) {
        memory = 2 * last; /* larger than any cache that there is: at least half of it comes from memory */
    }
    machine->read[machine->read_count].name = "memory";
    machine->read[machine->read_count].capacity = 0;
    machine->read[machine->read_count++].bytes = memory / STEP * STEP;
}

static mtl_status measure_reads(const native_kernels *native, base_diag *diag, tool_machine *machine)
{
    find_levels(machine);
    uint64_t most = machine->read[machine->read_count - 1].bytes;
    unsigned char *data = most <= SIZE_MAX ? aligned_alloc(STEP, (size_t)most) : NULL;
    BASE_TRY_MEMORY(data, diag);
    memset(data, 1, (size_t)most); /* pages of its own, not the one page of zeros */
    for (size_t i = 0; i < machine->read_count; i++) {
        machine->read[i].bytes_per_second = read_speed(reader_for(native->isa), data, (size_t)machine->read[i].bytes);
    }
    free(data);
    return MTL_OK;
}

/* FLOPs a second of x (rows, k) times w (k, n): two for each multiply-add. */
static double product_speed(const native_kernels *native, const native_linear *call)
{
    double best = 0;
    uint64_t until = runtime_profile_now() + MEASURE_NS;
    for (uint64_t now = 0; now < until || best == 0;) {
        uint64_t begin = runtime_profile_now();
        native->linear(call);
        now = runtime_profile_now();
        double speed = 2e9 * (double)(call->rows * call->k * call->n) / (double)(now - begin > 0 ? now - begin : 1);
        best = speed > best ? speed : best;
    }
    return best;
}

static mtl_status measure_products(const native_kernels *native, base_diag *diag, tool_machine *machine)
{
    static const struct {
        size_t rows, k, n;
    } shapes[] = {{64, 512, 512}, {64, 256, 256}, {96, 512, 96}};
    enum { MOST = 512 * 512 };
    float *data = aligned_alloc(FLOATS_ALIGNMENT, 3 * MOST * sizeof *data);
    BASE_TRY_MEMORY(data, diag);
    for (size_t i = 0; i < (size_t)3 * MOST; i++) {
        data[i] = (float)(i % 1024) / 1024 - 0.5f; /* no subnormal numbers on the way */
    }
    machine->flops = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        size_t rows = shapes[i].rows, k = shapes[i].k, n = shapes[i].n;
        native_linear call = {data, k, data + MOST, NULL, data + 2 * MOST, n, rows, k, n, PLAN_UNARY_none, 0, 0};
        double speed = product_speed(native, &call);
        machine->flops = speed > machine->flops ? speed : machine->flops;
    }
    free(data);
    return MTL_OK;
}

mtl_status runtime_machine_measure(const native_kernels *native, base_diag *diag, tool_machine *machine)
{
    *machine = (tool_machine){.isa = native->name};
    BASE_TRY(measure_reads(native, diag, machine));
    return measure_products(native, diag, machine);
}
