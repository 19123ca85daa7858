// SPDX-License-Identifier: MIT
// Kernels that one generation of GPUs has beside the portable ones. GpuOps chooses one provider for its GPU
// (gpu_ops.cpp), and the bodies of ops ask it first.
#pragma once

#include <string>

#include "gpu/workspace.h"
#include "ops/ops.h"

namespace moe::gpu {

struct Statistics;

// What a provider's kernels run with.
struct Launcher {
  cudaStream_t stream;
  int num_sms;  // streaming multiprocessors
  const Workspace& workspace;
};

// The arguments of each method are checked. It queues the op and returns true. Where the provider has no
// kernel for these tensors it does nothing and returns false: the portable kernels run then. This class has
// no kernels.
class Provider {
 public:
  virtual ~Provider() = default;
  // For the start of a run with activations of this type, bf16 or f16.
  virtual std::string describe(DType) const { return "portable kernels"; }

  virtual bool attention_forward(AttentionForward) { return false; }
  // memory: what is left of the workspace beside the statistics.
  virtual bool attention_backward(AttentionBackward, const Statistics&, Workspace::Carving& /*memory*/) {
    return false;
  }
  virtual bool grouped_matmul(GroupedMatmul) { return false; }
  virtual bool expert_up(ExpertUp) { return false; }
  virtual bool expert_down_backward(ExpertDownBackward) { return false; }
  virtual bool fp8_expert_up(Fp8ExpertUp) { return false; }
  virtual bool fp8_expert_down_backward(Fp8ExpertDownBackward) { return false; }
  virtual bool expert_down_gradient(ExpertDownGradient) { return false; }
  virtual bool expert_up_gradient(ExpertUpGradient) { return false; }
};

}  // namespace moe::gpu
