// SPDX-License-Identifier: MIT
#include "gpu/gpu_ops.h"

#include "gpu/graph.h"

namespace moe::gpu {
namespace {

// For partial sums and indices of the largest micro-batches; the ops CHECK that theirs fit.
constexpr int64_t kWorkspaceBytes = 128 << 20;

}  // namespace

GpuOps::GpuOps(GpuDevice& device, Kernels kernels, Arithmetic arithmetic)
    : device_(device),
      stream_(device.stream()),
      arithmetic_(arithmetic),
      num_sms_(device.properties().multiProcessorCount),
      shared_of_processor_(device.properties().sharedMemPerMultiprocessor),
      sm90_(device.properties().major == 9 && kernels == Kernels::best),
      workspace_(device, kWorkspaceBytes),
      gemm_(device, arithmetic.tf32) {}

std::string GpuOps::describe() const {
  const std::string head = std::string(name_of(arithmetic_.type)) + ", " + gemm_.describe();
  switch (arithmetic_.type) {
    case DType::bf16:
      return head + (sm90_ ? ", Hopper kernels" : ", portable kernels");
    case DType::f16:
      return head + ", portable kernels" + (sm90_ ? " (Hopper's own are for bf16)" : "");
    default:
      return head +
             (arithmetic_.tf32 ? ", TF32 matrix products, attention in plain f32" : ", plain f32 kernels");
  }
}

std::unique_ptr<CapturedRegion> GpuOps::captured_region() {
  return std::make_unique<Graph>(stream_);
}

}  // namespace moe::gpu
