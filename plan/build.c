#include "plan/build.h"

#include <string.h>

#include "base/checked.h"
#include "base/hash.h"
#include "plan/plan.h"
#include "plan/shape.h"

/* A growing array in the arena. What it outgrows stays there until the arena goes: at most as much again. */
typedef struct array {
    void *items;
    size_t count, capacity;
} array;

/* Equal keys share one entry. Open addressing; `slots` holds entry + 1, 0 is free. */
typedef struct table {
    uint32_t *slots;
    size_t capacity; /* a power of two */
} table;

typedef struct text_entry {
    uint64_t hash;
    uint32_t offset, length;
} text_entry;

typedef struct const_entry {
    uint64_t hash;
    uint64_t offset;
    size_t bytes;
    const void *data;
} const_entry;

struct plan_builder {
    base_arena *arena;
    base_diag *diag;
    array strings, tensors, dims, steps, operands, attrs, inputs, outputs, params, defaults,
        columns;         /* as in the file */
    array texts, consts; /* text_entry, const_entry */
    table text_table, const_table;
    uint64_t const_bytes;
    uint16_t reader_minor; /* the oldest reader that knows all that was added */
};

static mtl_status reserve(plan_builder *builder, array *to, size_t more, size_t item_size)
{
    size_t needed, capacity = to->capacity == 0 ? 16 : to->capacity;
    /* The format counts records and names them with 32 bits. */
    if (!base_add_size(to->count, more, &needed) || needed >= PLAN_NONE) {
        return base_fail(builder->diag, MTL_UNSUPPORTED, "the plan has too many records (%zu)", to->count);
    }
    if (needed <= to->capacity) {
        return MTL_OK;
    }
    while (capacity < needed) {
        capacity *= 2;
    }
    void *items = base_arena_alloc_array(builder->arena, capacity, item_size);
    BASE_TRY_MEMORY(items, builder->diag);
    if (to->count > 0) {
        memcpy(items, to->items, to->count * item_size);
    }
    to->items = items;
    to->capacity = capacity;
    return MTL_OK;
}

static mtl_status append(plan_builder *builder, array *to, const void *items, size_t count, size_t item_size)
{
    BASE_TRY(reserve(builder, to, count, item_size));
    if (count > 0) {
        memcpy((char *)to->items + to->count * item_size, items, count * item_size);
    }
    to->count += count;
    return MTL_OK;
}

/* Doubles a table that is three quarters full; `hash_at` is the hash inside of entry 0. */
static mtl_status table_grow(plan_builder *builder, table *of, size_t entries, const char *hash_at, size_t entry_size)
{
    if (entries + 1 <= of->capacity / 4 * 3) {
        return MTL_OK;
    }
    size_t capacity = of->capacity == 0 ? 64 : of->capacity * 2;
    uint32_t *slots = BASE_NEW_ARRAY(builder->arena, uint32_t, capacity);
    BASE_TRY_MEMORY(slots, builder->diag);
    for (size_t i = 0; i < entries; i++) {
        uint64_t hash;
        memcpy(&hash, hash_at + i * entry_size, sizeof hash);
        size_t slot = (size_t)hash & (capacity - 1);
        while (slots[slot] != 0) {
            slot = (slot + 1) & (capacity - 1);
        }
        slots[slot] = (uint32_t)i + 1;
    }
    of->slots = slots;
    of->capacity = capacity;
    return MTL_OK;
}

mtl_status plan_builder_new(base_arena *arena, base_diag *diag, plan_builder **builder)
{
    plan_builder *made = BASE_NEW(arena, plan_builder);
    BASE_TRY_MEMORY(made, diag);
    made->arena = arena;
    made->diag = diag;
    made->reader_minor = PLAN_VERSION_MINOR_LEAST;
    uint32_t empty;
    BASE_TRY(plan_add_string(made, "", &empty));
    *builder = made;
    return MTL_OK;
}

mtl_status plan_add_string(plan_builder *builder, const char *text, uint32_t *offset)
{
    size_t length = strlen(text);
    uint64_t hash = base_hash64(text, length);
    const text_entry *entries = builder->texts.items;
    BASE_TRY(table_grow(builder, &builder->text_table, builder->texts.count, (const char *)entries, sizeof *entries));
    table *texts = &builder->text_table;
    size_t slot = (size_t)hash & (texts->capacity - 1);
    for (; texts->slots[slot] != 0; slot = (slot + 1) & (texts->capacity - 1)) {
        const text_entry *entry = &entries[texts->slots[slot] - 1];
        if (entry->hash == hash && entry->length == length &&
            memcmp((char *)builder->strings.items + entry->offset, text, length) == 0) {
            *offset = entry->offset;
            return MTL_OK;
        }
    }
    text_entry entry = {.hash = hash, .offset = (uint32_t)builder->strings.count, .length = (uint32_t)length};
    BASE_TRY(append(builder, &builder->strings, text, length + 1, 1));
    /* Names come from models; a control character would break the lines that show them. */
    for (unsigned char *c = (unsigned char *)builder->strings.items + entry.offset; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            builder->strings.count = entry.offset;
            return base_fail(builder->diag, MTL_UNSUPPORTED, "the name '%.100s' holds a control character", text);
        }
    }
    BASE_TRY(append(builder, &builder->texts, &entry, 1, sizeof entry));
    texts->slots[slot] = (uint32_t)builder->texts.count;
    *offset = entry.offset;
    return MTL_OK;
}

mtl_status plan_add_tensor(plan_builder *builder, const plan_tensor *record, const mtl_dim *dims, uint32_t *index)
{
    if (record->rank > MTL_MAX_RANK) {
        return base_fail(builder->diag, MTL_UNSUPPORTED, "a tensor has rank %d; plans go up to %d", record->rank,
                         MTL_MAX_RANK);
    }
    plan_tensor tensor = *record;
    tensor.dims = (uint32_t)builder->dims.count;
    if (plan_grows_with_users(dims, record->rank) && builder->reader_minor < PLAN_USERS_SINCE) {
        builder->reader_minor = PLAN_USERS_SINCE;
    }
    BASE_TRY(append(builder, &builder->dims, dims, record->rank, sizeof *dims));
    BASE_TRY(append(builder, &builder->tensors, &tensor, 1, sizeof tensor));
    *index = (uint32_t)(builder->tensors.count - 1);
    return MTL_OK;
}

mtl_status plan_add_const(plan_builder *builder, const void *data, size_t bytes, uint64_t *offset)
{
    uint64_t hash = base_hash64(data, bytes);
    const const_entry *entries = builder->consts.items;
    BASE_TRY(table_grow(builder, &builder->const_table, builder->consts.count, (const char *)entries, sizeof *entries));
    table *consts = &builder->const_table;
    size_t slot = (size_t)hash & (consts->capacity - 1);
    for (; consts->slots[slot] != 0; slot = (slot + 1) & (consts->capacity - 1)) {
        const const_entry *entry = &entries[consts->slots[slot] - 1];
        if (entry->hash == hash && entry->bytes == bytes && (bytes == 0 || memcmp(entry->data, data, bytes) == 0)) {
            *offset = entry->offset;
            return MTL_OK;
        }
    }
    const_entry entry = {.hash = hash, .offset = builder->const_bytes, .bytes = bytes};
    entry.data = base_arena_copy(builder->arena, data, bytes);
    BASE_TRY_MEMORY(entry.data, builder->diag);
    if (bytes > ((uint64_t)1 << 46) || entry.offset > ((uint64_t)1 << 46)) {
        return base_fail(builder->diag, MTL_UNSUPPORTED, "the plan's constants are larger than 64 TiB");
    }
    builder->const_bytes += (bytes + PLAN_ALIGNMENT - 1) & ~(uint64_t)(PLAN_ALIGNMENT - 1);
    BASE_TRY(append(builder, &builder->consts, &entry, 1, sizeof entry));
    consts->slots[slot] = (uint32_t)builder->consts.count;
    *offset = entry.offset;
    return MTL_OK;
}

mtl_status plan_add_step(plan_builder *builder, plan_op op, unsigned function, const uint32_t *inputs,
                         size_t input_count, uint32_t output, const int64_t *attrs, size_t attr_count,
                         const char *label)
{
    if (input_count > UINT16_MAX || attr_count > UINT16_MAX || function > UINT16_MAX) {
        return base_fail(builder->diag, MTL_UNSUPPORTED,
                         "step %zu (%s): %zu inputs and %zu attributes; plans go up to %d", builder->steps.count,
                         plan_op_name(op), input_count, attr_count, UINT16_MAX);
    }
    plan_step step = {
        .op = (uint16_t)op,
        .function = (uint16_t)function,
        .input_count = (uint16_t)input_count,
        .attr_count = (uint16_t)attr_count,
        .operands = (uint32_t)builder->operands.count,
        .attrs = (uint32_t)builder->attrs.count,
    };
    unsigned since = plan_function_since(op, function), operands_since = plan_operands_since(op, input_count);
    since = operands_since > since ? operands_since : since;
    if (since > builder->reader_minor) {
        builder->reader_minor = (uint16_t)since;
    }
    BASE_TRY(plan_add_string(builder, label == NULL ? "" : label, &step.label));
    BASE_TRY(append(builder, &builder->operands, inputs, input_count, sizeof *inputs));
    BASE_TRY(append(builder, &builder->operands, &output, 1, sizeof output));
    BASE_TRY(append(builder, &builder->attrs, attrs, attr_count, sizeof *attrs));
    return append(builder, &builder->steps, &step, 1, sizeof step);
}

void plan_add_span(plan_builder *builder, uint32_t mask, bool whole)
{
    plan_step *steps = builder->steps.items;
    steps[builder->steps.count - 1].span = (mask + 1) | (whole ? PLAN_SPAN_WHOLE : 0);
    if (builder->reader_minor < PLAN_SPAN_SINCE) {
        builder->reader_minor = PLAN_SPAN_SINCE;
    }
}

int64_t plan_float_attr(double number)
{
    int64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

mtl_status plan_add_input(plan_builder *builder, uint32_t tensor)
{
    return append(builder, &builder->inputs, &tensor, 1, sizeof tensor);
}

mtl_status plan_add_output(plan_builder *builder, uint32_t tensor)
{
    return append(builder, &builder->outputs, &tensor, 1, sizeof tensor);
}

mtl_status plan_add_columns(plan_builder *builder, const char *source, const plan_columns *columns)
{
    plan_columns record = *columns;
    BASE_TRY(plan_add_string(builder, source, &record.source));
    return append(builder, &builder->columns, &record, 1, sizeof record);
}

mtl_status plan_add_param(plan_builder *builder, uint32_t tensor, uint32_t value)
{
    BASE_TRY(append(builder, &builder->params, &tensor, 1, sizeof tensor));
    return append(builder, &builder->defaults, &value, 1, sizeof value);
}

static size_t section_count(const plan_builder *builder)
{
    return PLAN_SECTION_COUNT + (builder->columns.count > 0);
}

/* Offsets of the sections behind header and table, and the size of the file. Section i has kind i + 1. */
static mtl_status lay_out(plan_builder *builder, plan_section *sections, size_t *size)
{
    uint64_t at = sizeof(plan_header) + section_count(builder) * sizeof(plan_section);
    for (size_t i = 0; i < section_count(builder); i++) {
        uint64_t alignment = i + 1 == PLAN_SECTION_CONSTS ? PLAN_CONSTS_ALIGNMENT : PLAN_ALIGNMENT;
        at = (at + alignment - 1) & ~(alignment - 1); /* 10 sections below 2^47 bytes each: no overflow */
        sections[i].kind = (uint32_t)i + 1;
        sections[i].offset = at;
        at += sections[i].size;
    }
    if (at > SIZE_MAX) {
        return base_fail_memory(builder->diag);
    }
    *size = (size_t)at;
    return MTL_OK;
}

static void put(unsigned char *file, plan_section *sections, plan_section_kind kind, size_t skip, const void *items,
                size_t bytes)
{
    if (bytes > 0) {
        memcpy(file + sections[kind - 1].offset + skip, items, bytes);
    }
}

static void put_all(const plan_builder *builder, const plan_meta *meta, unsigned char *file, plan_section *sections)
{
    put(file, sections, PLAN_SECTION_META, 0, meta, sizeof *meta);
    put(file, sections, PLAN_SECTION_STRINGS, 0, builder->strings.items, builder->strings.count);
    put(file, sections, PLAN_SECTION_TENSORS, 0, builder->tensors.items, builder->tensors.count * sizeof(plan_tensor));
    put(file, sections, PLAN_SECTION_DIMS, 0, builder->dims.items, builder->dims.count * sizeof(mtl_dim));
    put(file, sections, PLAN_SECTION_STEPS, 0, builder->steps.items, builder->steps.count * sizeof(plan_step));
    put(file, sections, PLAN_SECTION_OPERANDS, 0, builder->operands.items, builder->operands.count * sizeof(uint32_t));
    put(file, sections, PLAN_SECTION_ATTRS, 0, builder->attrs.items, builder->attrs.count * sizeof(int64_t));
    const array *const signature[] = {&builder->inputs, &builder->outputs, &builder->params, &builder->defaults};
    for (size_t i = 0, at = 0; i < sizeof signature / sizeof signature[0]; i++) {
        size_t bytes = signature[i]->count * sizeof(uint32_t);
        put(file, sections, PLAN_SECTION_SIGNATURE, at, signature[i]->items, bytes);
        at += bytes;
    }
    put(file, sections, PLAN_SECTION_COLUMNS, 0, builder->columns.items, builder->columns.count * sizeof(plan_columns));
    const const_entry *consts = builder->consts.items;
    for (size_t i = 0; i < builder->consts.count; i++) {
        put(file, sections, PLAN_SECTION_CONSTS, (size_t)consts[i].offset, consts[i].data, consts[i].bytes);
    }
}

/* Header, table and checksums over the finished sections. */
static void seal(const plan_builder *builder, unsigned char *file, size_t size, plan_section *sections)
{
    plan_header header = {
        .version_major = PLAN_VERSION_MAJOR,
        .version_minor = PLAN_VERSION_MINOR,
        .reader_major = PLAN_VERSION_MAJOR,
        .reader_minor = builder->reader_minor,
        .byte_order = PLAN_BYTE_ORDER,
        .section_count = (uint32_t)section_count(builder),
        .file_size = size,
    };
    size_t table_bytes = section_count(builder) * sizeof *sections;
    memcpy(header.magic, PLAN_MAGIC, sizeof header.magic);
    for (size_t i = 0; i < section_count(builder); i++) {
        sections[i].checksum = base_hash64(file + sections[i].offset, (size_t)sections[i].size);
    }
    memcpy(file, &header, sizeof header);
    memcpy(file + sizeof header, sections, table_bytes);
    header.checksum = base_hash64(file, sizeof header + table_bytes);
    memcpy(file, &header, sizeof header);
}

mtl_status plan_build(plan_builder *builder, const plan_meta *meta, const void **data, size_t *size)
{
    plan_meta filled = *meta;
    filled.input_count = (uint32_t)builder->inputs.count;
    filled.output_count = (uint32_t)builder->outputs.count;
    filled.param_count = (uint32_t)builder->params.count;
    plan_section sections[PLAN_SECTION_MOST] = {
        [PLAN_SECTION_META - 1].size = sizeof filled,
        [PLAN_SECTION_STRINGS - 1].size = builder->strings.count,
        [PLAN_SECTION_TENSORS - 1].size = (uint64_t)builder->tensors.count * sizeof(plan_tensor),
        [PLAN_SECTION_DIMS - 1].size = (uint64_t)builder->dims.count * sizeof(mtl_dim),
        [PLAN_SECTION_STEPS - 1].size = (uint64_t)builder->steps.count * sizeof(plan_step),
        [PLAN_SECTION_OPERANDS - 1].size = (uint64_t)builder->operands.count * sizeof(uint32_t),
        [PLAN_SECTION_ATTRS - 1].size = (uint64_t)builder->attrs.count * sizeof(int64_t),
        [PLAN_SECTION_SIGNATURE - 1].size =
            (builder->inputs.count + builder->outputs.count + 2 * (uint64_t)builder->params.count) * sizeof(uint32_t),
        [PLAN_SECTION_CONSTS - 1].size = builder->const_bytes,
        [PLAN_SECTION_COLUMNS - 1].size = (uint64_t)builder->columns.count * sizeof(plan_columns),
    };
    size_t bytes;
    BASE_TRY(lay_out(builder, sections, &bytes));
    unsigned char *file = base_arena_alloc(builder->arena, bytes);
    BASE_TRY_MEMORY(file, builder->diag);
    put_all(builder, &filled, file, sections);
    seal(builder, file, bytes, sections);

    mtl_error error = {.status = MTL_OK};
    base_diag inner = {.error = &error};
    plan_view view;
    mtl_status status = plan_check(file, bytes, true, &inner, &view);
    if (status == MTL_OUT_OF_MEMORY) {
        return base_fail_memory(builder->diag);
    }
    if (status != MTL_OK) {
        return base_fail(builder->diag, MTL_INTERNAL, "the plan that was built is not valid: %s", error.message);
    }
    *data = file;
    *size = bytes;
    return MTL_OK;
}
