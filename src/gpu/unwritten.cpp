// SPDX-License-Identifier: MIT
// Operations without a kernel yet.
#include "gpu/gpu_ops.h"

namespace moe::gpu {

void GpuOps::router_logits_forward(Tensor, const Tensor&, const Tensor&) {
  CHECK(false, "router_logits_forward has no kernel yet");
}
void GpuOps::router_logits_backward(Tensor, Tensor, const Tensor&, const Tensor&, const Tensor&) {
  CHECK(false, "router_logits_backward has no kernel yet");
}
void GpuOps::route(Tensor, Tensor, Tensor, Tensor, const Tensor&, const Tensor&, bool) {
  CHECK(false, "route has no kernel yet");
}
void GpuOps::router_losses(Tensor, Tensor, Tensor, const Tensor&, const Tensor&, const Tensor&,
                           const Tensor&) {
  CHECK(false, "router_losses has no kernel yet");
}
void GpuOps::route_backward(Tensor, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                            const Tensor&, const Tensor&, const Tensor&, float, float, bool) {
  CHECK(false, "route_backward has no kernel yet");
}
void GpuOps::adamw8(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, const Tensor&, const AdamW&) {
  CHECK(false, "adamw8 has no kernel yet");
}
void GpuOps::adamw32(Tensor, Tensor, Tensor, Tensor, Tensor, const Tensor&, const AdamW&) {
  CHECK(false, "adamw32 has no kernel yet");
}

}  // namespace moe::gpu
