// SPDX-License-Identifier: MIT
#include "gpu/gpu_ops.h"

#include "gpu/graph.h"

namespace moe::gpu {
namespace {

// For partial sums and indices of the largest micro-batches; the ops CHECK that theirs fit.
constexpr int64_t kWorkspaceBytes = 128 << 20;

}  // namespace

GpuOps::GpuOps(GpuDevice& device, Kernels kernels)
    : device_(device),
      stream_(device.stream()),
      processors_(device.properties().multiProcessorCount),
      hopper_(device.properties().major == 9 && kernels == Kernels::best),
      workspace_(device, kWorkspaceBytes),
      gemm_(device) {}

std::string GpuOps::describe() const {
  return gemm_.describe() + (hopper_ ? ", Hopper kernels" : ", portable kernels");
}

std::unique_ptr<Sequence> GpuOps::sequence() {
  return std::make_unique<Graph>(stream_);
}

}  // namespace moe::gpu
