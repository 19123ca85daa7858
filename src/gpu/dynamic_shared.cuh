// SPDX-License-Identifier: MIT
// A block's dynamic shared memory as T, aligned to 1,024 bytes by the launch (nothing static may be before it
// in a kernel that uses TMA). The emulated build has its own file of this name.
#pragma once

namespace moe::gpu {

template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
}

}  // namespace moe::gpu
