/* Private to plan/: arithmetic on extents, which are linear forms fixed + per_row x rows + per_user x users with rows
 * and users >= 1, and the texts of shapes in messages. */
#ifndef PLAN_SHAPE_H
#define PLAN_SHAPE_H

#include "plan/plan.h"

static inline bool plan_dim_equal(mtl_dim a, mtl_dim b)
{
    return a.fixed == b.fixed && a.per_row == b.per_row && a.per_user == b.per_user;
}
static inline bool plan_dim_is_fixed(mtl_dim dim)
{
    return dim.per_row == 0 && dim.per_user == 0;
}
static inline bool plan_dim_is(mtl_dim dim, int64_t number)
{
    return plan_dim_is_fixed(dim) && dim.fixed == number;
}
static inline mtl_dim plan_dim_fixed(int64_t number)
{
    return (mtl_dim){.fixed = number};
}

/* For one row and one user. The coefficients of a checked tensor are at most PLAN_MAX_TENSOR_BYTES each. */
static inline int64_t plan_dim_once(mtl_dim dim)
{
    return dim.fixed + dim.per_row + dim.per_user;
}

/* The elements of axes [from, to): exact for tensors with at most one axis that is not fixed, which checked ones are.
 * Their coefficients have passed the limit above, so nothing overflows. */
mtl_dim plan_count(const mtl_dim *dims, unsigned from, unsigned to);

/* Bytes of a param in a session, with what follows it up to a multiple of PLAN_ALIGNMENT. */
uint64_t plan_param_room(const plan_view *view, const plan_tensor *param);

/* Whether all extents are fixed, or they are (1, .., 1, B, fixed ones), or the same with U: the elements of a candidate,
 * or of a user, are one piece. */
bool plan_candidates_lead(const mtl_dim *dims, unsigned rank);

/* The axis that grows with rows or users, or `rank`. */
unsigned plan_row_axis(const mtl_dim *dims, unsigned rank);

#endif
