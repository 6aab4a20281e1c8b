/* Any bytes as a plan, with the checksums put right so that the fuzzer gets behind them. The last byte chooses
 * the provider. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "plan/plan.h"
#include "tests/fuzz/support.h"

static void fix_checksums(unsigned char *plan, size_t size)
{
    plan_header header;
    if (size < sizeof header) {
        return;
    }
    memcpy(&header, plan, sizeof header);
    size_t table = sizeof header, count = header.section_count;
    if (count > PLAN_SECTION_MOST || size - table < count * sizeof(plan_section)) {
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *copy = aligned_alloc(64, (size + 64) & ~(size_t)63);
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, data, size);
    fix_checksums(copy, size);
    fuzz_score(copy, size, size > 0 ? data[size - 1] % 3 : MTL_PROVIDER_AUTO);
    free(copy);
    return 0;
}
