/* The tables that kernels.c defines, one for each ISA of the build (NATIVE_HAS_X, from Meson). */
#ifndef RUNTIME_NATIVE_TABLES_H
#define RUNTIME_NATIVE_TABLES_H

#include "runtime/native/native.h"

extern const native_kernels native_kernels_generic, native_kernels_avx2, native_kernels_avx512;

#endif
