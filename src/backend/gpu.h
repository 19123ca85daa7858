// SPDX-License-Identifier: MIT
// The GPU half of make_backend; CMake builds gpu_present.cpp or gpu_absent.cpp.
#pragma once

#include <optional>
#include <string>

#include "backend/backend.h"
#include "base/cuda_libraries.h"

namespace moe::backend {

struct GpuState {
  bool usable = false;
  std::string reason;  // why not, where this build could use one
};
GpuState gpu_state();
bool built_for_gpus();
// Of products, which a GPU cannot do without; nothing where the build is for CPUs.
std::optional<CudaLibraryState> products_library();
// Throws UserError when there is none. The environment variable MOE_GPU_KERNELS=portable keeps a Hopper GPU
// from its own kernels: for tests of the others there, and to tell where a difference comes from.
Backend make_gpu(Arithmetic arithmetic, int number);

}  // namespace moe::backend
