// SPDX-License-Identifier: MIT
// A window on attention, for forward kernels, which know the first key of each query and no more.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "gpu/workspace.h"
#include "tensor/tensor.h"

namespace moe::gpu {

// The first key that each token of doc_start_BT sees, -1 for padding; in `memory`. Without a window that is
// doc_start_BT itself.
const int32_t* first_keys(cudaStream_t stream, Workspace::Carving memory, const Tensor& doc_start_BT,
                          int64_t window);

}  // namespace moe::gpu
