/* Writing a plan: collects records and constants, then lays them out. The compiler's half of plan/. */
#ifndef PLAN_BUILD_H
#define PLAN_BUILD_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/file.h"
#include "plan/format.h"

typedef struct plan_builder plan_builder;

mtl_status plan_builder_new(base_arena *arena, base_diag *diag, plan_builder **builder);

/* Interned: equal texts share bytes. */
mtl_status plan_add_string(plan_builder *builder, const char *text, uint32_t *offset);

/* `record->dims` is filled in; `dims` has record->rank entries. */
mtl_status plan_add_tensor(plan_builder *builder, const plan_tensor *record, const mtl_dim *dims, uint32_t *index);

/* A constant of `bytes` bytes, equal ones shared; returns its offset in CONSTS. The bytes are copied. */
mtl_status plan_add_const(plan_builder *builder, const void *data, size_t bytes, uint64_t *offset);

/* Steps in order; the first `meta.request_step_count` are the request program. */
mtl_status plan_add_step(plan_builder *builder, plan_op op, unsigned function, const uint32_t *inputs,
                         size_t input_count, uint32_t output, const int64_t *attrs, size_t attr_count,
                         const char *label);
/* Gives the last step a span: tensor `mask` says which, and `whole` what it is where that says none. */
void plan_add_span(plan_builder *builder, uint32_t mask, bool whole);
int64_t plan_float_attr(double number);

mtl_status plan_add_input(plan_builder *builder, uint32_t tensor);
mtl_status plan_add_output(plan_builder *builder, uint32_t tensor);

/* `columns->source` is filled in. Those of one input come in order. */
mtl_status plan_add_columns(plan_builder *builder, const char *source, const plan_columns *columns);

/* Param records come in order; `value` is a constant of the same shape. */
mtl_status plan_add_param(plan_builder *builder, uint32_t tensor, uint32_t value);

/* input_count, output_count and param_count of `meta` are filled in. Lays everything out with checksums; *data (aligned to 64, in
 * the arena) holds *size bytes. The result has passed plan_check. Equal calls give equal bytes. */
mtl_status plan_build(plan_builder *builder, const plan_meta *meta, const void **data, size_t *size);

/* Packs w (G, K, N), row-major float32, into PANELS; `out` holds plan_panels_count floats. */
size_t plan_panels_count(size_t groups, size_t k, size_t n); /* 0: overflow */
void plan_pack_panels(const float *w, size_t groups, size_t k, size_t n, float *out);
/* Packs bias (G, N) into PADDED. */
void plan_pack_padded(const float *bias, size_t groups, size_t n, float *out);

#endif
