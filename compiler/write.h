/* Plans to files. */
#ifndef COMPILER_WRITE_H
#define COMPILER_WRITE_H

#include "compiler/lower.h"

/* Writes `count` plans to their paths: all beside them first, then all by rename. On failure no path is new: what was
 * renamed already is removed, and where that had not begun the old files are there. Errors are MTL_IO with the path. */
mtl_status compiler_write_plans(const char *const *paths, const compiler_lowered *plans, size_t count, base_diag *diag);

#endif
