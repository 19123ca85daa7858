// SPDX-License-Identifier: MIT
#include "gpu/gpu_ops.h"

#include "gpu/graph.h"
#include "gpu/sm90/provider.h"

namespace moe::gpu {
namespace {

// For partial sums and indices of the largest micro-batches; the ops CHECK that theirs fit.
constexpr int64_t kWorkspaceBytes = 128 << 20;
// Most runs have none of them, so they come when they are asked for.
constexpr int64_t kLeastWidenedBytes = 256;

std::unique_ptr<Provider> provider_for(const GpuDevice& device, Kernels kernels, const Launcher& launcher) {
  if (kernels == Kernels::best && device.properties().major == 9) return sm90_provider(launcher);
  return std::make_unique<Provider>();
}

}  // namespace

GpuOps::GpuOps(GpuDevice& device, Kernels kernels, Arithmetic arithmetic)
    : device_(device),
      stream_(device.stream()),
      arithmetic_(arithmetic),
      num_sms_(device.properties().multiProcessorCount),
      shared_of_processor_(device.properties().sharedMemPerMultiprocessor),
      shared_of_block_(device.properties().sharedMemPerBlockOptin),
      workspace_(device, kWorkspaceBytes),
      widened_(device, kLeastWidenedBytes),
      provider_(provider_for(device, kernels, {stream_, num_sms_, workspace_})),
      gemm_(device, arithmetic.tf32) {}

std::string GpuOps::describe() const {
  const std::string head = std::string(name_of(arithmetic_.type)) + ", " + gemm_.describe();
  switch (arithmetic_.type) {
    case DType::bf16:
    case DType::f16:
      return head + ", " + provider_->describe(arithmetic_.type) + (arithmetic_.fp8 ? ", FP8 products" : "");
    default:
      return head +
             (arithmetic_.tf32 ? ", TF32 matrix products" : ", plain f32 kernels, attention of TF32 pairs");
  }
}

std::unique_ptr<CapturedRegion> GpuOps::captured_region() {
  return std::make_unique<Graph>(stream_);
}

}  // namespace moe::gpu
