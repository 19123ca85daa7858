// SPDX-License-Identifier: MIT
// A dense model as a Mixture of Experts: each expert begins as the layer's SwiGLU (sparse upcycling,
// Komatsuzaki et al., arXiv 2212.05055). The weights of the chosen experts sum to one, so the first outputs
// are those of the dense model.
#pragma once

#include <cstdint>
#include <vector>

#include "checkpoint/safetensors.h"
#include "model/config.h"

namespace moe::interop {

struct Upcycling {
  int64_t experts = 8, top_k = 2;
  double noise = 0;   // standard deviation of what is added to experts, over that of the matrix
  uint64_t seed = 0;  // of the routers and the noise
};

// The settings of the result: experts in each layer, dropless. Throws UserError where `dense` has experts.
model::ModelConfig upcycled_config(const model::ModelConfig& dense, const Upcycling& how);

// The tensors of the result, in the types of the dense ones (routers in f32). dense: a checkpoint's weights;
// it must outlive the streams. Routers are normal with init_std, as in a new run.
std::vector<checkpoint::TensorStream> upcycled_streams(const checkpoint::Safetensors& dense,
                                                       const model::ModelConfig& config,
                                                       const Upcycling& how);

}  // namespace moe::interop
