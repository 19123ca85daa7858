// SPDX-License-Identifier: MIT
// Kernels that begin while the one before them ends (programmatic dependent launch, from Hopper on; elsewhere
// they begin when it has ended). So the start of a kernel, and bringing its weights near, cost no time of
// their own. The emulated build has its own file of this name.
#pragma once

#include <cuda_runtime.h>

#include <nv/target>
#include <utility>

#include "gpu/check.h"
#include "gpu/launch.h"

namespace moe::gpu {

// Every thread calls it before it reads what other kernels write, and before it writes anything. All earlier
// kernels have ended then, if they do the same.
__device__ __forceinline__ void wait_for_earlier_kernels() {
  NV_IF_TARGET(NV_PROVIDES_SM_90, (asm volatile("griddepcontrol.wait;" ::: "memory");))
}

// The next kernel's blocks may take what room is left beside this one's.
__device__ __forceinline__ void let_next_kernel_start() {
  NV_IF_TARGET(NV_PROVIDES_SM_90, (asm volatile("griddepcontrol.launch_dependents;" ::: "memory");))
}

// Brings what lies there into the second-level cache. It is not read, so other kernels may still write it.
__device__ __forceinline__ void prefetch(const void* global) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global));
}

// Whether the kernel was compiled with the two above. One that was compiled for an older GPU runs on newer
// ones, too.
template <class... Parameters>
bool starts_early(void (*kernel)(Parameters...)) {
  cudaFuncAttributes attributes{};
  CUDA_CHECK(cudaFuncGetAttributes(&attributes, kernel));
  return attributes.ptxVersion >= 90;
}

// launch() of a kernel that calls wait_for_earlier_kernels().
template <class... Parameters, class... Arguments>
void launch_early(cudaStream_t stream, void (*kernel)(Parameters...), const Grid& grid,
                  Arguments&&... arguments) {
  if (!starts_early(kernel)) return launch(stream, kernel, grid, std::forward<Arguments>(arguments)...);
  if (grid.shared_bytes > (48 << 10))
    CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(grid.shared_bytes)));
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = 1;
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

}  // namespace moe::gpu
