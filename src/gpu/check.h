// SPDX-License-Identifier: MIT
// Errors of CUDA's calls. Out of memory is the user's (another program, a batch too large); everything else
// is ours.
#pragma once

#include <cuda_runtime.h>

namespace moe::gpu {

[[noreturn]] void fail_cuda(const char* file, int line, const char* call, cudaError_t error);

}  // namespace moe::gpu

#define CUDA_CHECK(call)                                             \
  do {                                                               \
    const cudaError_t cuda_error_ = (call);                          \
    if (cuda_error_ != cudaSuccess) [[unlikely]]                     \
      ::moe::gpu::fail_cuda(__FILE__, __LINE__, #call, cuda_error_); \
  } while (false)
