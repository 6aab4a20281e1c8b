/* Any bytes as a plan, with the checksums put right so that the fuzzer gets behind them. A plan that passes the check is
 * run on exact-size buffers: whatever the checker lets through, the runtime must survive. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "mtlc/runtime.h"
#include "plan/plan.h"

enum { ROWS = 19, MOST_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fix_checksums(unsigned char *plan, size_t size)
{
    plan_header header;
    if (size < sizeof header) {
        return;
    }
    memcpy(&header, plan, sizeof header);
    size_t table = sizeof header, count = header.section_count;
    if (count > PLAN_SECTION_COUNT || size - table < count * sizeof(plan_section)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        plan_section section;
        unsigned char *place = plan + table + i * sizeof section;
        memcpy(&section, place, sizeof section);
        if (section.offset <= size && section.size <= size - section.offset) {
            section.checksum = base_hash64(plan + section.offset, section.size);
            memcpy(place, &section, sizeof section);
        }
    }
    header.file_size = size;
    header.checksum = 0;
    memcpy(plan, &header, sizeof header);
    header.checksum = base_hash64(plan, table + count * sizeof(plan_section));
    memcpy(plan, &header, sizeof header);
}

static void *tensor_memory(const mtl_tensor_info *info)
{
    size_t bytes = mtl_dtype_size(info->dtype);
    for (int32_t axis = 0; axis < info->rank; axis++) {
        int64_t extent = mtl_dim_extent(info->shape[axis], ROWS, 1);
        if (extent < 0 || __builtin_mul_overflow(bytes, (size_t)extent, &bytes) || bytes > MOST_BYTES) {
            return NULL;
        }
    }
    return calloc(bytes > 0 ? bytes : 1, 1);
}

static void run(mtl_plan *plan, mtl_session *session)
{
    size_t inputs = mtl_plan_input_count(plan), outputs = mtl_plan_output_count(plan);
    void **tensors = calloc(inputs + outputs + 1, sizeof *tensors);
    int ready = tensors != NULL;
    for (size_t i = 0; ready && i < inputs + outputs; i++) {
        tensors[i] = tensor_memory(i < inputs ? mtl_plan_input(plan, i) : mtl_plan_output(plan, i - inputs));
        ready = tensors[i] != NULL;
    }
    if (ready) {
        mtl_session_run(session, ROWS, (const void *const *)tensors, tensors + inputs, NULL);
    }
    for (size_t i = 0; tensors != NULL && i < inputs + outputs; i++) {
        free(tensors[i]);
    }
    free(tensors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *copy = aligned_alloc(64, (size + 64) & ~(size_t)63);
    if (copy == NULL || size > MOST_BYTES) {
        free(copy);
        return 0;
    }
    memcpy(copy, data, size);
    fix_checksums(copy, size);
    plan_view view;
    mtl_plan *plan = NULL;
    if (plan_check(copy, size, false, NULL, &view) == MTL_OK && view.meta->row_bytes < MOST_BYTES &&
        view.meta->request_bytes < MOST_BYTES && mtl_plan_open_memory(copy, size, NULL, &plan, NULL) == MTL_OK) {
        mtl_session *session = NULL;
        mtl_session_options options = {.struct_size = sizeof options, .tile_rows = 16, .max_rows = ROWS};
        if (mtl_session_create(plan, &options, &session, NULL) == MTL_OK) {
            run(plan, session);
        }
        mtl_session_destroy(session);
    }
    mtl_plan_close(plan);
    free(copy);
    return 0;
}
