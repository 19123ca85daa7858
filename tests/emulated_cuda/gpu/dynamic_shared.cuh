// SPDX-License-Identifier: MIT
// Stands for src/gpu/dynamic_shared.cuh in the emulated build.
#pragma once

#include "emulated_cuda/block.h"

namespace moe::gpu {

template <class T>
T* dynamic_shared() {
  return static_cast<T*>(emulated_cuda::dynamic_shared_memory());
}

}  // namespace moe::gpu
