// SPDX-License-Identifier: MIT
// Starting kernels. One call for all, so that a launch that fails is reported where it was made, and so that
// the emulation (tests/emulated_cuda) can take its place.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "base/error.h"
#include "gpu/check.h"

namespace moe::gpu {

struct Grid {
  dim3 blocks;
  dim3 threads;
  size_t shared_bytes = 0;  // of dynamic shared memory
};

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// A number of blocks or threads; CUDA takes up to 2^31 - 1 in x.
inline unsigned blocks(int64_t count) {
  CHECK(count > 0 && count < (int64_t{1} << 31), "a grid of " + std::to_string(count) + " blocks");
  return static_cast<unsigned>(count);
}

template <class... Parameters, class... Arguments>
void launch(cudaStream_t stream, void (*kernel)(Parameters...), const Grid& grid, Arguments&&... arguments) {
  // Every kernel gets 48 KiB without asking, in which what it declares itself has to fit, too.
  if (grid.shared_bytes > (40 << 10))
    CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(grid.shared_bytes)));
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = stream;
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

}  // namespace moe::gpu
