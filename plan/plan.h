/* Reading a plan: the checked view, names of its enums, and what steps cost. No state; only plan_check allocates,
 * scratch that it frees before it returns. */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/diag.h"
#include "plan/format.h"

/* Most bytes of one tensor for one row and one user, of the request's workspace and of the workspace of one row: far
 * beyond memory, far below overflow when multiplied by the rows of a tile. */
#define PLAN_MAX_TENSOR_BYTES ((uint64_t)1 << 48)
#define PLAN_MAX_REQUEST_BYTES ((uint64_t)1 << 46)
#define PLAN_MAX_ROW_BYTES ((uint64_t)1 << 40)
#define PLAN_MAX_PARAM_BYTES ((uint64_t)1 << 46)

/* Pointers into the bytes of a checked plan; valid as long as those are. */
typedef struct plan_view {
    const plan_header *header;
    const plan_meta *meta;
    const char *strings;
    const plan_tensor *tensors;
    const mtl_dim *dims;
    const plan_step *steps;
    const uint32_t *operands;
    const int64_t *attrs;
    const uint32_t *signature;
    const unsigned char *consts;
    const plan_columns *columns;
    size_t column_count;
    size_t string_bytes, tensor_count, dim_count, step_count, operand_count, attr_count, signature_count, const_bytes;
    uint64_t const_checksum;
} plan_view;

/* Verifies every byte that the runtime will rely on and fills the view: header, section table, checksums, ids, shapes
 * (each step's extents follow from its inputs' for any number of rows), storage (each tensor lies in its
 * space, no step writes a constant or an input, values are written before they are read), functions and attributes.
 * `data` is aligned to 64. `lazily` skips the checksum of CONSTS, which plan_check_consts then does.
 * Errors: MTL_INVALID_DATA with a byte offset, tensor or step; MTL_UNSUPPORTED for a newer version;
 * MTL_OUT_OF_MEMORY; MTL_INVALID_ARGUMENT for data that is not aligned. Time is near-linear in `size`. */
mtl_status plan_check(const void *data, size_t size, bool lazily, base_diag *diag, plan_view *view);
mtl_status plan_check_consts(const plan_view *view, base_diag *diag);

const char *plan_op_name(unsigned op);                          /* "?" for what is none */
const char *plan_function_name(unsigned op, unsigned function); /* "" for none */
/* The function of a step for people, of a chain all of them: "prelu, mul, add", cut to `size` bytes (4 or more). */
void plan_step_function(const plan_view *view, const plan_step *step, char *text, size_t size);
unsigned plan_unary_parameters(unsigned function);
unsigned plan_op_since(unsigned op);                          /* the minor version of the format that brought it */
unsigned plan_function_since(unsigned op, unsigned function); /* the same of the op with that function */
unsigned plan_operands_since(unsigned op, size_t inputs);     /* the same of the op with so many inputs */
/* What a span leaves out of a step of the op (plan/ops.def). */
typedef enum plan_span_kind {
    PLAN_SPAN_NONE = 0, /* the op has none */
    PLAN_SPAN_POSITIONS,
    PLAN_SPAN_KEYS,
    PLAN_SPAN_SUM,
} plan_span_kind;
plan_span_kind plan_span_kind_of(unsigned op);
/* Whether input `i` of the op may be a tensor that was computed in the span only. */
bool plan_span_takes(unsigned op, unsigned i);
/* Whether input `i` of the op, or its result, may be a window (plan/ops.def). */
bool plan_takes_window(unsigned op, size_t i);
bool plan_gives_window(unsigned op);
/* Whether input `i` of the op may be per user in the row program (plan/ops.def). */
bool plan_takes_users(unsigned op, size_t i);

static inline const char *plan_string(const plan_view *view, uint32_t offset)
{
    return view->strings + offset;
}
static inline const mtl_dim *plan_dims(const plan_view *view, const plan_tensor *tensor)
{
    return view->dims + tensor->dims;
}
static inline const plan_tensor *plan_operand(const plan_view *view, const plan_step *step, unsigned i)
{
    uint32_t id = view->operands[step->operands + i];
    return id == PLAN_NONE ? NULL : &view->tensors[id];
}
static inline const plan_tensor *plan_result(const plan_view *view, const plan_step *step)
{
    return plan_operand(view, step, step->input_count);
}
/* The mask of a step's span, NULL: it has none. */
static inline const plan_tensor *plan_span(const plan_view *view, const plan_step *step)
{
    return step->span == 0 ? NULL : &view->tensors[(step->span & ~PLAN_SPAN_WHOLE) - 1];
}
/* Whether an extent grows with users: a tensor of that shape is per user. */
bool plan_grows_with_users(const mtl_dim *dims, unsigned rank);
/* Param `i`, and the constant of the same shape that it is until a host sets another. */
static inline const plan_tensor *plan_param(const plan_view *view, size_t i)
{
    return &view->tensors[view->signature[(size_t)view->meta->input_count + view->meta->output_count + i]];
}
static inline const plan_tensor *plan_param_default(const plan_view *view, size_t i)
{
    return plan_param(view, view->meta->param_count + i);
}
/* Bytes of all params of a session: each begins at a multiple of PLAN_ALIGNMENT, in order. */
uint64_t plan_param_bytes(const plan_view *view);
static inline bool plan_is_window(const plan_tensor *tensor)
{
    return tensor->pitch != 0;
}
double plan_attr_float(const plan_view *view, const plan_step *step, unsigned i);

/* Bytes of a constant tensor in its layout. False: overflow. */
bool plan_const_bytes(const plan_tensor *tensor, const mtl_dim *dims, uint64_t *bytes);

/* "(4*B, 512)" and "4*B": B are the candidates, U the users. Cut when it does not fit; returns `text`. */
enum { PLAN_SHAPE_TEXT = 256 }; /* bytes that hold the shapes of people's models */
const char *plan_shape_text(const mtl_dim *dims, unsigned rank, char *text, size_t size);
const char *plan_dim_text(mtl_dim dim, char *text, size_t size);

/* What a step costs: FLOPs (an addition or multiplication is one; exp, tanh and the like count as one) and bytes of
 * operands read and results written, as fixed + per_row x rows. */
typedef struct plan_cost {
    uint64_t flops_fixed, flops_per_row;
    uint64_t bytes_fixed, bytes_per_row; /* weights count as fixed */
    uint64_t weight_bytes;               /* of bytes_fixed: constants that are read whole */
} plan_cost;
plan_cost plan_step_cost(const plan_view *view, const plan_step *step);

#endif
