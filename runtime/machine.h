/* What this machine can do, measured: the peak that a profile compares steps with. Not part of any library. */
#ifndef RUNTIME_MACHINE_H
#define RUNTIME_MACHINE_H

#include "base/diag.h"
#include "runtime/native/native.h"
#include "tool/profile.h"

/* Speeds of one thread with the kernels of `native`; takes about a second. Errors: MTL_OUT_OF_MEMORY. */
mtl_status runtime_machine_measure(const native_kernels *native, base_diag *diag, tool_machine *machine);

#endif
