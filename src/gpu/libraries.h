// SPDX-License-Identifier: MIT
// Which of CUDA's libraries this machine has: opens them, computes nothing.
#pragma once

#include "base/cuda_libraries.h"

namespace moe::gpu {

CudaLibraryState cublas_state();
CudaLibraryState nccl_state();  // where the build saw NCCL's header

}  // namespace moe::gpu
