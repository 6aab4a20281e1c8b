/* cast: every mtl_dtype to every other.
 *
 * Elements go in chunks through a wide number: double for floats, int64 for integers and bool (uint64 as its bits).
 * Floats to int32 and int64 truncate and saturate, and NaN is the least number, so that no id becomes another one; to
 * narrower integers they keep the low bits of that, and NaN gives 0. Anything but 0 is true. Floats to halves round twice from float64 only.
 */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "runtime/internal.h"
#include "runtime/rows.h"

enum { CHUNK = 128 };

typedef struct cast_state {
    runtime_ref x, y;
    runtime_affine count;
    runtime_rows rows;
    mtl_dtype from, to;
    size_t from_size, to_size;
} cast_state;

static bool is_float(mtl_dtype dtype)
{
    return dtype == MTL_F32 || dtype == MTL_F64 || dtype == MTL_F16 || dtype == MTL_BF16;
}

static void load_floats(mtl_dtype from, const void *x, double *wide, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        switch (from) {
        case MTL_F64: wide[i] = ((const double *)x)[i]; break;
        case MTL_F16: wide[i] = (double)base_f16_to_f32(((const uint16_t *)x)[i]); break;
        case MTL_BF16: wide[i] = (double)base_bf16_to_f32(((const uint16_t *)x)[i]); break;
        default: wide[i] = (double)((const float *)x)[i]; break;
        }
    }
}

#define LOAD(type)                                                                                                     \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        wide[i] = (int64_t)((const type *)x)[i];                                                                       \
    }                                                                                                                  \
    break

static void load_integers(mtl_dtype from, const void *x, int64_t *wide, size_t n)
{
    switch (from) {
    case MTL_I32: LOAD(int32_t);
    case MTL_I16: LOAD(int16_t);
    case MTL_I8: LOAD(int8_t);
    case MTL_U32: LOAD(uint32_t);
    case MTL_U16: LOAD(uint16_t);
    case MTL_U8:
    case MTL_BOOL: LOAD(uint8_t);
    default: memcpy(wide, x, n * sizeof *wide); break; /* int64, and the bits of uint64 */
    }
}
#undef LOAD

static int64_t truncated(double value, mtl_dtype to)
{
    if (isnan(value)) {
        return to == MTL_I64 ? INT64_MIN : to == MTL_I32 ? INT32_MIN : 0;
    }
    if (to == MTL_I32) {
        return value >= 0x1p31 ? INT32_MAX : value < -0x1p31 ? INT32_MIN : (int64_t)value;
    }
    if (to == MTL_U64 && value >= 0x1p63) {
        return (int64_t)(value >= 0x1p64 ? UINT64_MAX : (uint64_t)value);
    }
    return value >= 0x1p63 ? INT64_MAX : value < -0x1p63 ? INT64_MIN : (int64_t)value;
}

#define STORE(type)                                                                                                    \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        ((type *)y)[i] = (type)wide[i];                                                                                \
    }                                                                                                                  \
    break

/* Narrower integers keep the low bits, which every compiler that builds this does for signed ones too. */
static void store_integers(mtl_dtype to, const int64_t *wide, void *y, size_t n)
{
    switch (to) {
    case MTL_I32: STORE(int32_t);
    case MTL_I16: STORE(int16_t);
    case MTL_I8: STORE(int8_t);
    case MTL_U32: STORE(uint32_t);
    case MTL_U16: STORE(uint16_t);
    case MTL_U8: STORE(uint8_t);
    default: memcpy(y, wide, n * sizeof *wide); break;
    }
}
#undef STORE

static void store_floats(mtl_dtype to, const double *wide, void *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        switch (to) {
        case MTL_F64: ((double *)y)[i] = wide[i]; break;
        case MTL_F16: ((uint16_t *)y)[i] = base_f16_from_f32((float)wide[i]); break;
        case MTL_BF16: ((uint16_t *)y)[i] = base_bf16_from_f32((float)wide[i]); break;
        default: ((float *)y)[i] = (float)wide[i]; break;
        }
    }
}

static void cast_from_floats(const cast_state *s, const void *x, void *y, size_t n)
{
    double wide[CHUNK];
    load_floats(s->from, x, wide, n);
    if (is_float(s->to)) {
        store_floats(s->to, wide, y, n);
        return;
    }
    if (s->to == MTL_BOOL) {
        for (size_t i = 0; i < n; i++) {
            ((uint8_t *)y)[i] = wide[i] != 0;
        }
        return;
    }
    int64_t integers[CHUNK];
    for (size_t i = 0; i < n; i++) {
        integers[i] = truncated(wide[i], s->to);
    }
    store_integers(s->to, integers, y, n);
}

/* To float32 in one rounding: int64 by way of double would take two. */
static void cast_from_integers(const cast_state *s, const void *x, void *y, size_t n)
{
    int64_t wide[CHUNK];
    load_integers(s->from, x, wide, n);
    if (s->to == MTL_BOOL) {
        for (size_t i = 0; i < n; i++) {
            ((uint8_t *)y)[i] = wide[i] != 0;
        }
        return;
    }
    if (!is_float(s->to)) {
        store_integers(s->to, wide, y, n);
        return;
    }
    double floats[CHUNK];
    bool is_unsigned = s->from == MTL_U64, to_double = s->to == MTL_F64;
    for (size_t i = 0; i < n; i++) {
        if (to_double) {
            floats[i] = is_unsigned ? (double)(uint64_t)wide[i] : (double)wide[i];
        } else {
            floats[i] = (double)(is_unsigned ? (float)(uint64_t)wide[i] : (float)wide[i]);
        }
    }
    store_floats(s->to, floats, y, n);
}

static void cast_call(const void *state, const runtime_frame *frame, const void *from, void *to, int64_t rows)
{
    (void)frame;
    const cast_state *s = state;
    const unsigned char *x = from;
    unsigned char *y = to;
    size_t count = (size_t)runtime_at(s->count, rows);
    bool floats = is_float(s->from);
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        if (floats) {
            cast_from_floats(s, x + done * s->from_size, y + done * s->to_size, n);
        } else {
            cast_from_integers(s, x + done * s->from_size, y + done * s->to_size, n);
        }
    }
}

static mtl_status cast_run(const void *state, const runtime_frame *frame)
{
    const cast_state *s = state;
    runtime_rows_run(&s->rows, frame, runtime_in(frame, &s->x), runtime_out(frame, &s->y), cast_call, s);
    return MTL_OK;
}

mtl_status runtime_prepare_cast(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *x = plan_operand(view, context->step, 0), *y = plan_result(view, context->step);
    cast_state *s = RUNTIME_NEW(context->memory, cast_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->x = runtime_ref_of(view, x);
    s->y = runtime_ref_of(view, y);
    s->count = runtime_elements(view, x, 0, x->rank);
    s->rows = runtime_rows_of(context);
    s->from = (mtl_dtype)x->dtype;
    s->to = (mtl_dtype)y->dtype;
    s->from_size = mtl_dtype_size(s->from);
    s->to_size = mtl_dtype_size(s->to);
    *result = (runtime_step){.run = cast_run, .state = s, .kernel = "plain"};
    return MTL_OK;
}
