// SPDX-License-Identifier: MIT
// Operations without a kernel yet.
#include "gpu/gpu_ops.h"

namespace moe::gpu {

void GpuOps::adamw8(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, const Tensor&, const AdamW&) {
  CHECK(false, "adamw8 has no kernel yet");
}
void GpuOps::adamw32(Tensor, Tensor, Tensor, Tensor, Tensor, const Tensor&, const AdamW&) {
  CHECK(false, "adamw32 has no kernel yet");
}

}  // namespace moe::gpu
