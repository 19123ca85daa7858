// SPDX-License-Identifier: MIT
// The experts' operations: one pass each where the GPU has kernels for it, else what Ops makes of others.
#include "gpu/gpu_ops.h"

namespace moe::gpu {

void GpuOps::expert_up(ExpertUp op) {
  op.check();
  if (!provider_->expert_up(op)) Ops::expert_up(op);
}

void GpuOps::expert_down_backward(ExpertDownBackward op) {
  op.check();
  if (!provider_->expert_down_backward(op)) Ops::expert_down_backward(op);
}

void GpuOps::expert_down_gradient(ExpertDownGradient op) {
  op.check();
  if (!provider_->expert_down_gradient(op)) Ops::expert_down_gradient(op);
}

void GpuOps::expert_up_gradient(ExpertUpGradient op) {
  op.check();
  if (!provider_->expert_up_gradient(op)) Ops::expert_up_gradient(op);
}

}  // namespace moe::gpu
