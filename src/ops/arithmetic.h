// SPDX-License-Identifier: MIT
// What a run computes in. A backend chooses its kernels by it and says which at the start.
#pragma once

#include "tensor/dtype.h"

namespace moe {

struct Arithmetic {
  DType type = DType::f32;  // of activations
  // Matrix products of f32 may round their operands to TF32 (f32's exponent, 10 bits of mantissa) where the
  // device can: it allows less, and asks for nothing. Sums stay f32, and so do attention and the router.
  bool tf32 = false;
  // Some products read FP8 (ops/fp8.h). A device without such products refuses it, or computes them otherwise
  // and says so.
  bool fp8 = false;
};

}  // namespace moe
