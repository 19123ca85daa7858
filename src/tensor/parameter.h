// SPDX-License-Identifier: MIT
// A learnt tensor with all its copies: what the model, the optimizer and the checkpoint agree on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace moe {

struct Parameter {
  // Tensors that lie one after another in memory begin at multiples of this many elements: so many of them are one flat
  // tensor to the optimizer, whose blocks of 256 elements are then still each tensor's own.
  static constexpr int64_t kAlignment = 256;

  std::string name;   // "layers.0.attention.qkvg.weight": the name in a checkpoint (docs/model.md lists all)
  std::string group;  // embedding, attention, router, experts or norms: the rows of the gradient-norm table
  bool decays;        // weight decay applies (matrices, not norms)
  Tensor weight;      // the master: f32, or bf16
  Tensor compute;     // what the ops read: bf16 copy, or the same view as weight
  Tensor gradient;    // f32 or bf16; written by the first micro-batch of a step, added to by the others

  int64_t padded() const { return (weight.numel() + kAlignment - 1) / kAlignment * kAlignment; }
};

// A tensor under a name, for reading and writing files.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace moe
