// SPDX-License-Identifier: MIT
// The tokens of a micro-batch as the blocks see them.
#pragma once

#include "model/dense_ffn.h"
#include "tensor/tensor.h"

namespace moe::model {

// On the device; all i32 but rope.
struct Tokens {
  Tensor input_N, target_N;
  Tensor doc_start_BT;  // start of the token's document in its row; -1: padding
  Tensor doc_start_N;   // the same memory, flat
  Tensor position_N;    // index in the row
  Tensor rope_Td;       // f32, the table of rotations
  DensePlan dense;      // of shared experts and dense layers, where there are any
};

}  // namespace moe::model
