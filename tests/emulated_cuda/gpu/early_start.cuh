// SPDX-License-Identifier: MIT
// Stands for src/gpu/early_start.cuh in the emulated build, where a kernel begins when the last one has
// ended.
#pragma once

#include <utility>

#include "gpu/launch.h"

namespace moe::gpu {

inline void wait_for_earlier_kernels() {}
inline void let_next_kernel_start() {}
inline void prefetch(const void*) {}

template <class... Parameters, class... Arguments>
void launch_early(cudaStream_t stream, void (*kernel)(Parameters...), const Grid& grid,
                  Arguments&&... arguments) {
  launch(stream, kernel, grid, std::forward<Arguments>(arguments)...);
}

}  // namespace moe::gpu
