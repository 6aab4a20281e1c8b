/* plan_check, first part: the frame of the file. */
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"
#include "plan/check.h"

/* docs/plan-format.md gives the offsets; what would move them shows here. */
_Static_assert(sizeof(plan_header) == 64 && offsetof(plan_header, checksum) == 32, "plan_header");
_Static_assert(sizeof(plan_section) == 32 && offsetof(plan_section, checksum) == 24, "plan_section");
_Static_assert(sizeof(plan_meta) == 64 && offsetof(plan_meta, source_hash) == 32, "plan_meta");
_Static_assert(sizeof(plan_tensor) == 32 && offsetof(plan_tensor, pitch) == 28, "plan_tensor");
_Static_assert(sizeof(plan_step) == 24 && offsetof(plan_step, label) == 16, "plan_step");
_Static_assert(sizeof(plan_columns) == 24 && offsetof(plan_columns, width) == 16, "plan_columns");
_Static_assert(sizeof(mtl_dim) == 24, "mtl_dim");

/* Newer minor versions may add kinds of sections; a reader knows its own and skips the others. */
enum { MAX_SECTIONS = 64 };

typedef struct frame {
    const unsigned char *data;
    size_t size;
    base_diag *diag;
    plan_header header;
    const plan_section *sections;
} frame;

static mtl_status check_magic(const frame *file)
{
    const plan_header *header = &file->header;
    if (file->size < sizeof *header) {
        return base_fail(file->diag, MTL_INVALID_DATA, "byte %zu: the file ends inside of the header (%zu bytes)",
                         file->size, sizeof *header);
    }
    if (memcmp(header->magic, PLAN_MAGIC, sizeof header->magic) != 0) {
        return base_fail(file->diag, MTL_INVALID_DATA, "byte 0: not a plan (no magic number)");
    }
    if (header->byte_order != PLAN_BYTE_ORDER) {
        return base_fail(file->diag, MTL_INVALID_DATA, "byte 16: byte order is 0x%08" PRIx32 ", expected 0x%08x",
                         header->byte_order, PLAN_BYTE_ORDER);
    }
    if (header->reader_major > PLAN_VERSION_MAJOR ||
        (header->reader_major == PLAN_VERSION_MAJOR && header->reader_minor > PLAN_VERSION_MINOR)) {
        return base_fail(file->diag, MTL_UNSUPPORTED,
                         "plan format %u.%u needs a reader of format %u.%u or newer; this one reads up to %d.%d",
                         header->version_major, header->version_minor, header->reader_major, header->reader_minor,
                         PLAN_VERSION_MAJOR, PLAN_VERSION_MINOR);
    }
    if (header->version_major != PLAN_VERSION_MAJOR || header->reader_major != PLAN_VERSION_MAJOR ||
        header->reader_minor > header->version_minor) {
        return base_fail(file->diag, MTL_INVALID_DATA, "byte 8: format %u.%u for readers of %u.%u is none",
                         header->version_major, header->version_minor, header->reader_major, header->reader_minor);
    }
    if (header->reader_minor < PLAN_VERSION_MINOR_LEAST) {
        return base_fail(file->diag, MTL_UNSUPPORTED,
                         "plan format %u.%u for readers of %u.%u is older than this reader reads (%d.%d): compile the "
                         "model again",
                         header->version_major, header->version_minor, header->reader_major, header->reader_minor,
                         PLAN_VERSION_MAJOR, PLAN_VERSION_MINOR_LEAST);
    }
    return MTL_OK;
}

static mtl_status check_table(const frame *file)
{
    const plan_header *header = &file->header;
    if (header->file_size != file->size) {
        return base_fail(file->diag, MTL_INVALID_DATA, "byte 24: the file has %zu bytes, its header says %" PRIu64,
                         file->size, header->file_size);
    }
    bool newer = header->version_minor > PLAN_VERSION_MINOR;
    if (header->section_count < PLAN_SECTION_COUNT ||
        header->section_count > (newer ? MAX_SECTIONS : PLAN_SECTION_MOST)) {
        return base_fail(file->diag, MTL_INVALID_DATA, "byte 20: %" PRIu32 " sections, expected %d",
                         header->section_count, PLAN_SECTION_COUNT);
    }
    size_t table = header->section_count * sizeof(plan_section);
    if (file->size - sizeof *header < table) {
        return base_fail(file->diag, MTL_INVALID_DATA, "byte %zu: the file ends inside of the section table",
                         file->size);
    }
    unsigned char copy[sizeof(plan_header) + MAX_SECTIONS * sizeof(plan_section)];
    memcpy(copy, file->data, sizeof *header + table);
    memset(copy + offsetof(plan_header, checksum), 0, sizeof header->checksum);
    if (base_hash64(copy, sizeof *header + table) != header->checksum) {
        return base_fail(file->diag, MTL_INVALID_DATA, "byte 32: header and section table do not match their checksum");
    }
    for (size_t i = 0; i < sizeof header->reserved / sizeof header->reserved[0]; i++) {
        if (header->reserved[i] != 0) {
            return base_fail(file->diag, MTL_INVALID_DATA, "byte %zu: reserved bytes of the header are not 0",
                             offsetof(plan_header, reserved) + i * sizeof header->reserved[0]);
        }
    }
    return MTL_OK;
}

/* Section `i` lies behind `*end`, which moves behind it. */
static mtl_status check_section(const frame *file, size_t i, uint64_t *end)
{
    const plan_section *section = &file->sections[i];
    size_t at = sizeof(plan_header) + i * sizeof *section;
    if (i < PLAN_SECTION_COUNT ? section->kind != i + 1 : section->kind <= file->sections[i - 1].kind) {
        return base_fail(file->diag, MTL_INVALID_DATA,
                         "byte %zu: section %zu has kind %" PRIu32 "; kinds ascend from 1", at, i + 1, section->kind);
    }
    if (section->kind > PLAN_SECTION_MOST && file->header.version_minor <= PLAN_VERSION_MINOR) {
        return base_fail(file->diag, MTL_INVALID_DATA, "byte %zu: format %u.%u has no section of kind %" PRIu32, at,
                         file->header.version_major, file->header.version_minor, section->kind);
    }
    if (section->reserved != 0) {
        return base_fail(file->diag, MTL_INVALID_DATA, "byte %zu: reserved bytes of section %" PRIu32 " are not 0",
                         at + offsetof(plan_section, reserved), section->kind);
    }
    uint64_t alignment = section->kind == PLAN_SECTION_CONSTS ? PLAN_CONSTS_ALIGNMENT : PLAN_ALIGNMENT;
    at += offsetof(plan_section, offset);
    if (!base_range_fits(section->offset, section->size, file->size)) {
        return base_fail(file->diag, MTL_INVALID_DATA,
                         "byte %zu: section %" PRIu32 " runs past the end of the file (offset %" PRIu64
                         ", size %" PRIu64 ", file %zu)",
                         at, section->kind, section->offset, section->size, file->size);
    }
    if (section->offset < *end || section->offset % alignment != 0) {
        return base_fail(file->diag, MTL_INVALID_DATA,
                         "byte %zu: section %" PRIu32 " starts at %" PRIu64 ", expected a multiple of %" PRIu64
                         " from %" PRIu64 " on",
                         at, section->kind, section->offset, alignment, *end);
    }
    for (uint64_t gap = *end; gap < section->offset; gap++) {
        if (file->data[gap] != 0) {
            return base_fail(file->diag, MTL_INVALID_DATA,
                             "byte %" PRIu64 ": the gap before section %" PRIu32 " is not 0", gap, section->kind);
        }
    }
    *end = section->offset + section->size;
    return MTL_OK;
}

static mtl_status check_sections(const frame *file, bool lazily)
{
    uint64_t end = sizeof(plan_header) + file->header.section_count * sizeof(plan_section);
    for (size_t i = 0; i < file->header.section_count; i++) {
        BASE_TRY(check_section(file, i, &end));
    }
    if (end != file->size) {
        return base_fail(file->diag, MTL_INVALID_DATA, "byte %" PRIu64 ": the file goes on behind its last section",
                         end);
    }
    for (size_t i = 0; i < file->header.section_count; i++) {
        const plan_section *section = &file->sections[i];
        if (section->kind == PLAN_SECTION_CONSTS && lazily) {
            continue;
        }
        if (base_hash64(file->data + section->offset, (size_t)section->size) != section->checksum) {
            return base_fail(file->diag, MTL_INVALID_DATA,
                             "byte %" PRIu64 ": section %" PRIu32 " (%" PRIu64 " bytes) does not match its checksum",
                             section->offset, section->kind, section->size);
        }
    }
    return MTL_OK;
}

/* The records of a section and how many there are. `items` is the address of a pointer to them. */
static mtl_status records(const frame *file, plan_section_kind kind, size_t record_size, size_t limit, void *items,
                          size_t *count)
{
    const plan_section *section = &file->sections[kind - 1];
    if (section->size % record_size != 0 || section->size / record_size > limit) {
        return base_fail(file->diag, MTL_INVALID_DATA,
                         "byte %" PRIu64 ": section %d has %" PRIu64 " bytes, expected at most %zu records of %zu",
                         section->offset, (int)kind, section->size, limit, record_size);
    }
    const void *at = file->data + section->offset;
    memcpy(items, &at, sizeof at);
    *count = (size_t)section->size / record_size;
    return MTL_OK;
}

/* Only the first of the sections that may be absent has a known place. */
static bool header_has_columns(const frame *file)
{
    return file->header.section_count > PLAN_SECTION_COUNT &&
           file->sections[PLAN_SECTION_COUNT].kind == PLAN_SECTION_COLUMNS;
}

mtl_status plan_check_header(const void *data, size_t size, bool lazily, base_diag *diag, plan_view *view)
{
    if ((uintptr_t)data % PLAN_ALIGNMENT != 0) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "the plan's bytes are not aligned to %d", PLAN_ALIGNMENT);
    }
    frame file = {.data = data, .size = size, .diag = diag};
    memcpy(&file.header, data, size < sizeof file.header ? size : sizeof file.header);
    BASE_TRY(check_magic(&file));
    BASE_TRY(check_table(&file));
    file.sections = (const plan_section *)((const plan_header *)data + 1);
    BASE_TRY(check_sections(&file, lazily));

    *view = (plan_view){.header = data, .const_checksum = file.sections[PLAN_SECTION_CONSTS - 1].checksum};
    const size_t records_limit = (size_t)1 << 24, values_limit = (size_t)1 << 28;
    size_t meta_count = 0;
    BASE_TRY(records(&file, PLAN_SECTION_META, sizeof(plan_meta), 1, &view->meta, &meta_count));
    BASE_TRY(records(&file, PLAN_SECTION_STRINGS, 1, UINT32_MAX, &view->strings, &view->string_bytes));
    BASE_TRY(
        records(&file, PLAN_SECTION_TENSORS, sizeof(plan_tensor), records_limit, &view->tensors, &view->tensor_count));
    BASE_TRY(records(&file, PLAN_SECTION_DIMS, sizeof(mtl_dim), values_limit, &view->dims, &view->dim_count));
    BASE_TRY(records(&file, PLAN_SECTION_STEPS, sizeof(plan_step), records_limit, &view->steps, &view->step_count));
    BASE_TRY(
        records(&file, PLAN_SECTION_OPERANDS, sizeof(uint32_t), values_limit, &view->operands, &view->operand_count));
    BASE_TRY(records(&file, PLAN_SECTION_ATTRS, sizeof(int64_t), values_limit, &view->attrs, &view->attr_count));
    BASE_TRY(
        records(&file, PLAN_SECTION_SIGNATURE, sizeof(uint32_t), 1 << 16, &view->signature, &view->signature_count));
    BASE_TRY(records(&file, PLAN_SECTION_CONSTS, PLAN_ALIGNMENT, SIZE_MAX, &view->consts, &view->const_bytes));
    view->const_bytes *= PLAN_ALIGNMENT;
    if (header_has_columns(&file)) {
        BASE_TRY(
            records(&file, PLAN_SECTION_COLUMNS, sizeof(plan_columns), 1 << 16, &view->columns, &view->column_count));
    }
    if (meta_count != 1) {
        return base_fail(diag, MTL_INVALID_DATA, "byte %zu: section 1 is empty, expected one record of %zu bytes",
                         (size_t)((const unsigned char *)view->meta - file.data), sizeof(plan_meta));
    }
    return MTL_OK;
}
