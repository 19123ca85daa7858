// SPDX-License-Identifier: MIT
// The gate on attention's output, for the kernels that do not have it in them.
#pragma once

#include <cuda_runtime.h>

#include "ops/ops.h"

namespace moe::gpu {

// y = sigmoid(gate) * y.
void apply_gate(cudaStream_t stream, Tensor& y_NHd, const Tensor& packed_NP, const Heads& heads);

}  // namespace moe::gpu
