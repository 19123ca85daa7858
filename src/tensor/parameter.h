// SPDX-License-Identifier: MIT
// A learnt tensor with all its copies: what the model, the optimizer and the checkpoint agree on.
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace moe {

struct Parameter {
  std::string name;  // "layers.0.attention.qkvg.weight": the name in a checkpoint (docs/model.md lists all)
  std::string
      group;      // embedding, attention, gate, router, experts or norms: the rows of the gradient-norm table
  bool decays;    // weight decay applies (matrices, not norms)
  Tensor weight;  // f32 master
  Tensor compute;   // what the ops read: bf16 copy, or the same view as weight
  Tensor gradient;  // f32, accumulated
};

// A tensor under a name, for reading and writing files.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace moe
