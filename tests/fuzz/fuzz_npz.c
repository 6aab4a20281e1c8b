/* Any bytes as an npz file: reading must end in arrays or an error. Every byte of every array is touched. */
#define _GNU_SOURCE /* memfd_create */
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/support.h"
#include "tool/npz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int descriptor = memfd_create("npz", 0);
    tool_npz *npz = NULL;
    if (descriptor < 0) {
        return 0;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    if (write(descriptor, data, size) == (ssize_t)size && tool_npz_open(path, NULL, &npz) == MTL_OK) {
        unsigned sum = 0;
        for (size_t i = 0; i < tool_npz_count(npz); i++) {
            const tool_array *array = tool_npz_at(npz, i);
            for (size_t byte = 0; byte < array->bytes; byte++) {
                sum += ((const unsigned char *)array->data)[byte];
            }
        }
        volatile unsigned sink = sum;
        (void)sink;
    }
    tool_npz_close(npz);
    close(descriptor);
    return 0;
}
