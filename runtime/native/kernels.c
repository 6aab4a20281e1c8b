/* The kernels of one ISA. Meson compiles this file once for each, with that ISA's flags and NATIVE_ISA, and with
 * -ffp-contract=fast in all: whether a multiply-add is fused depends on the ISA, never on where it stands. */
#include "runtime/native/attention.inc.h"
#include "runtime/native/bag.inc.h"
#include "runtime/native/elementwise.inc.h"
#include "runtime/native/gru.inc.h"
#include "runtime/native/lanes.inc.h"
#include "runtime/native/linear.inc.h"
#include "runtime/native/math.inc.h"
#include "runtime/native/matmul.inc.h"
#include "runtime/native/mix.inc.h"
#include "runtime/native/native.h"
#include "runtime/native/reduce.inc.h"
#include "runtime/native/scan.inc.h"
#include "runtime/native/softmax.inc.h"
#include "runtime/native/tables.h"
#include "runtime/native/vec.inc.h"

#define JOIN(a, b) a##b
#define TABLE(isa) JOIN(native_kernels_, isa)
#define TEXT_OF(isa) #isa
#define TEXT(isa) TEXT_OF(isa)

/* NATIVE_ISA is generic, avx2 or avx512; the number of the public list is found by its lower-case name. */
enum { generic = MTL_ISA_GENERIC, avx2 = MTL_ISA_AVX2, avx512 = MTL_ISA_AVX512 };

const native_kernels TABLE(NATIVE_ISA) = {
    .isa = (mtl_isa)NATIVE_ISA,
    .name = TEXT(NATIVE_ISA),
    .lanes = LANES,
    .linear = linear,
    .unary = unary,
    .binary = binary,
    .compare = compare,
    .softmax = softmax,
    .reduce = reduce,
    .matmul = matmul,
    .layer_norm = layer_norm,
    .mix = mix,
    .gru = gru,
    .scan = scan,
    .bag = bag,
    .attention = attention,
};
