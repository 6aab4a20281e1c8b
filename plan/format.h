/* Plan format 1.2: the bytes. docs/plan-format.md is the prose; this header is the truth.
 *
 * Little-endian, fixed-size records, every section aligned to 64 bytes, so that a map of the file is used in place.
 * Nothing here is trusted before plan_check has passed.
 */
#ifndef PLAN_FORMAT_H
#define PLAN_FORMAT_H

#include <stdint.h>

#include "mtlc/runtime.h" /* mtl_dtype, mtl_dim, MTL_MAX_RANK */

#define PLAN_MAGIC "MTLPLAN\x1a" /* 8 bytes; the last stops `type plan.bin` on a terminal */

enum {
    PLAN_VERSION_MAJOR = 1,
    PLAN_VERSION_MINOR = 3,
    PLAN_USERS_SINCE = 3,         /* minor version from which on a call has more than one user */
    PLAN_SPAN_SINCE = 3,          /* the minor version that brought spans */
    PLAN_VERSION_MINOR_LEAST = 1, /* of what is read: records had another size before */
    PLAN_ALIGNMENT = 64,          /* of sections and of each constant */
    PLAN_PANEL = 16,              /* columns of a weight panel */

    PLAN_CONSTS_ALIGNMENT = 4096, /* of the CONSTS section; its size is a multiple of PLAN_ALIGNMENT */
    PLAN_BYTE_ORDER = 0x01020304, /* plan_header.byte_order, read as a little-endian uint32 */
};

typedef enum plan_section_kind {
    PLAN_SECTION_META = 1,      /* one plan_meta */
    PLAN_SECTION_STRINGS = 2,   /* NUL-terminated UTF-8, offset 0 is "" */
    PLAN_SECTION_TENSORS = 3,   /* plan_tensor[] */
    PLAN_SECTION_DIMS = 4,      /* mtl_dim[] */
    PLAN_SECTION_STEPS = 5,     /* plan_step[]: the request program, then the row program */
    PLAN_SECTION_OPERANDS = 6,  /* uint32 tensor indices; PLAN_NONE: absent */
    PLAN_SECTION_ATTRS = 7,     /* int64; floats as the bits of a double */
    PLAN_SECTION_SIGNATURE = 8, /* uint32 tensor indices: inputs, outputs, params, the params' defaults */
    PLAN_SECTION_CONSTS = 9,    /* bytes of the constants; starts on a 4,096-byte boundary */
    PLAN_SECTION_COLUMNS = 10,  /* plan_columns[]; may be absent. Since 1.3; older readers skip it */
} plan_section_kind;

enum { PLAN_SECTION_COUNT = 9, PLAN_SECTION_MOST = 10 }; /* that every plan has; that there may be */

#define PLAN_NONE UINT32_MAX

/* At offset 0. `checksum` is XXH3-64 of the header with this field 0, followed by the section table. */
typedef struct plan_header {
    char magic[8];
    uint16_t version_major, version_minor;
    uint16_t reader_major, reader_minor; /* the oldest reader that understands this file */
    uint32_t byte_order;                 /* 0x01020304 as the writer's uint32 */
    uint32_t section_count;
    uint64_t file_size;
    uint64_t checksum;
    uint64_t reserved[3]; /* 0 */
} plan_header;

/* The table follows the header. Sections lie in ascending order without overlap; gaps are zero. */
typedef struct plan_section {
    uint32_t kind;
    uint32_t reserved; /* 0 */
    uint64_t offset, size;
    uint64_t checksum; /* XXH3-64 of its bytes */
} plan_section;

enum { PLAN_FLAG_WHOLE_BATCH = 1 }; /* some value mixes candidates: the row program runs once over all rows */

typedef struct plan_meta {
    uint32_t flags;
    uint32_t input_count, output_count;
    uint32_t request_step_count; /* the rest of the steps is the row program */
    uint64_t request_bytes;      /* workspace of request values of one user; a multiple of 64 */
    uint64_t row_bytes;          /* workspace of one tile row; a multiple of 4 */
    uint64_t source_hash[2];     /* XXH3-128 of the source file, low word first; external data not included */
    uint32_t model_name, producer, compiler; /* strings: graph's name, who exported it, "mtlc 0.1.0" */
    uint32_t param_count;                    /* since 1.1; 0 before */
} plan_meta;

/* Where columns of an input come from that the model has in one with others: the next `count` columns of the last axis of input
 * `input` are columns `from`.. of the model's input `source`, of whose last axis `width` is the extent. Those of one input
 * are in order, side by side. For tools: no step reads it. */
typedef struct plan_columns {
    uint32_t source; /* string */
    uint32_t input;
    uint32_t from, count, width;
    uint32_t reserved; /* 0 */
} plan_columns;

typedef enum plan_storage {
    PLAN_STORAGE_CONST = 1,   /* offset: bytes into CONSTS */
    PLAN_STORAGE_INPUT = 2,   /* index: which input; offset 0 */
    PLAN_STORAGE_OUTPUT = 3,  /* index: which output; offset 0 */
    PLAN_STORAGE_REQUEST = 4, /* offset: bytes into the request workspace */
    PLAN_STORAGE_ROW = 5,     /* offset: bytes per tile row: the tensor starts at offset x (height of the tile) */
    PLAN_STORAGE_PARAM = 6,   /* index: which param; offset: bytes into the session's params. Since 1.1 */
} plan_storage;

/* DENSE: row-major. PANELS: float32 (G, K, N) as G x ceil(N / 16) panels of K x 16, columns beyond N zero.
 * PADDED: (G, N) with N padded to a multiple of 16 by zeros. */
typedef enum plan_layout { PLAN_LAYOUT_DENSE = 0, PLAN_LAYOUT_PANELS = 1, PLAN_LAYOUT_PADDED = 2 } plan_layout;

/* Several records may view the same storage with other shapes (reshape costs nothing). Extents have at most one axis
 * with per_row; INPUT, OUTPUT tensors with per_row have extent 1 on all axes before that one, unless the tensor is only
 * the target of `store`. A ROW tensor needs (product of (fixed + per_row) of its axes) x element size bytes per row.
 *
 * A pitch other than 0 makes the record a window: some columns of rows that are `pitch` elements wide. Its shape is (1,
 * .., 1, B, fixed extents), the product W of the fixed ones is its width, and element (b, j) lies at element
 * start + b x pitch + j of what it windows: a ROW tensor of `pitch` elements a row, or an input or output of that many. */
typedef struct plan_tensor {
    uint32_t name; /* string */
    uint8_t dtype, rank, storage, layout;
    uint32_t dims;  /* first of `rank` entries of DIMS */
    uint32_t index; /* of the input, output or param, else 0 */
    uint64_t offset;
    uint32_t start, pitch; /* of a window, in elements; both 0: dense */
} plan_tensor;

/* Of plan_step.span: where the mask is false everywhere, all positions are in the span; else none. */
#define PLAN_SPAN_WHOLE ((uint32_t)1 << 31)

typedef struct plan_step {
    uint16_t op;       /* plan_op */
    uint16_t function; /* of its list in ops.def, or 0 */
    uint16_t input_count, attr_count;
    uint32_t operands; /* first in OPERANDS: the inputs, then the output */
    uint32_t attrs;    /* first in ATTRS */
    uint32_t label;    /* string: source nodes, for people */
    uint32_t span;     /* 0: all positions; else 1 + the tensor that says which, and PLAN_SPAN_WHOLE. Since 1.3 */
} plan_step;

/* The attributes of each function of a chain, which begins with its input 0. OPERAND: the input that a binary function takes
 * besides what the functions before it gave; 0: the function is unary. SIDE: 1 puts the operand first. A and B are the
 * parameters of a unary function. */
typedef enum plan_chain_attr {
    PLAN_CHAIN_FUNCTION = 0, /* plan_unary or plan_binary, floats to floats */
    PLAN_CHAIN_OPERAND = 1,
    PLAN_CHAIN_SIDE = 2,
    PLAN_CHAIN_A = 3,
    PLAN_CHAIN_B = 4,
} plan_chain_attr;

enum { PLAN_CHAIN_ATTRS = 5 };

/* The attributes of a gather whose function says what ids outside of the axis do, and of a bag. ROW: of that function, else
 * 0. INPUT and TABLE: strings, where the ids come from and what the table is called, for people and for counters; 0
 * without such a function. FIRST and LAST: the ids that are left out, both 0 for none. A: mean, a number (binary64)
 * that is added to the count; max, what stands for an id that is left out. B: mean, the least divisor. */
typedef enum plan_gather_attr {
    PLAN_GATHER_AXIS = 0,
    PLAN_GATHER_ROW = 1,
    PLAN_GATHER_INPUT = 2,
    PLAN_GATHER_TABLE = 3,
} plan_gather_attr;

enum { PLAN_GATHER_ATTRS = 4 };

typedef enum plan_bag_attr {
    PLAN_BAG_POLICY = 0, /* plan_ids */
    PLAN_BAG_ROW = 1,
    PLAN_BAG_INPUT = 2,
    PLAN_BAG_TABLE = 3,
    PLAN_BAG_PADDED = 4, /* 1: FIRST and LAST are ids that are left out; 0: none are */
    PLAN_BAG_FIRST = 5,
    PLAN_BAG_LAST = 6,
    PLAN_BAG_A = 7,
    PLAN_BAG_B = 8,
} plan_bag_attr;

/* The attributes of attention. */
typedef enum plan_attention_attr {
    PLAN_ATTENTION_HEADS = 0,
    PLAN_ATTENTION_Q = 1, /* the first columns of q, k, v that belong to it */
    PLAN_ATTENTION_K = 2,
    PLAN_ATTENTION_V = 3,
    PLAN_ATTENTION_SIZE = 4,       /* columns of a head of q and k */
    PLAN_ATTENTION_VALUE_SIZE = 5, /* columns of a head of v and y */
    PLAN_ATTENTION_SCALE = 6,      /* binary64 */
    PLAN_ATTENTION_FILL = 7,       /* binary64: the score where keep is false */
    PLAN_ATTENTION_EMPTY = 8,      /* 0..2: queries without keys, see docs/plan-format.md */
} plan_attention_attr;

enum { PLAN_ATTENTION_ATTRS = 9, PLAN_ATTENTION_KEYS = 512, PLAN_ATTENTION_WIDTH = 256 };

typedef enum plan_op {
#define PLAN_OP(number, name, ...) PLAN_OP_##name = number,
#include "plan/ops.def"
#undef PLAN_OP
} plan_op;

typedef enum plan_unary {
    PLAN_UNARY_none = 0,
#define PLAN_UNARY(number, name, parameters) PLAN_UNARY_##name = number,
#include "plan/ops.def"
#undef PLAN_UNARY
} plan_unary;

typedef enum plan_binary {
#define PLAN_BINARY(number, name, result) PLAN_BINARY_##name = number,
#include "plan/ops.def"
#undef PLAN_BINARY
} plan_binary;

typedef enum plan_reduce {
#define PLAN_REDUCE(number, name) PLAN_REDUCE_##name = number,
#include "plan/ops.def"
#undef PLAN_REDUCE
} plan_reduce;

typedef enum plan_softmax {
#define PLAN_SOFTMAX(number, name) PLAN_SOFTMAX_##name = number,
#include "plan/ops.def"
#undef PLAN_SOFTMAX
} plan_softmax;

typedef enum plan_mix {
    PLAN_MIX_none = 0,
#define PLAN_MIX(number, name) PLAN_MIX_##name = number,
#include "plan/ops.def"
#undef PLAN_MIX
} plan_mix;

typedef enum plan_scan {
#define PLAN_SCAN(number, name) PLAN_SCAN_##name = number,
#include "plan/ops.def"
#undef PLAN_SCAN
} plan_scan;

typedef enum plan_ids {
    PLAN_IDS_onnx = 0,
#define PLAN_IDS(number, name) PLAN_IDS_##name = number,
#include "plan/ops.def"
#undef PLAN_IDS
} plan_ids;

typedef enum plan_bag {
#define PLAN_BAG(number, name) PLAN_BAG_##name = number,
#include "plan/ops.def"
#undef PLAN_BAG
} plan_bag;

#endif
