// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <string>
#include <thread>

#include "backend/gpu.h"
#include "base/error.h"
#include "base/start_thread.h"
#include "gpu/gpu_device.h"
#include "gpu/gpu_ops.h"
#include "gpu/libraries.h"
#include "gpu/nvtx.h"
#include "ops/marked_ops.h"

namespace moe::backend {
namespace {

gpu::Kernels allowed_kernels() {
  const char* const value = std::getenv("MOE_GPU_KERNELS");
  const std::string name = value == nullptr ? "" : value;
  if (name.empty() || name == "best") return gpu::Kernels::best;
  if (name == "portable") return gpu::Kernels::portable;
  throw UserError("MOE_GPU_KERNELS (environment)", "best or portable", "'" + name + "'");
}

}  // namespace

GpuState gpu_state() {
  CudaLibraryState products;
  std::string reason;
  {
    const auto opening =
        start_thread<std::jthread>([&] { products = gpu::cublas_state(); });  // beside the driver's start
    reason = gpu::why_unusable(0);
  }
  if (reason.empty() && !products.problem.empty())
    reason = products.name + " is missing (`moe doctor` says what brings it)";
  return {reason.empty(), reason};
}

bool built_for_gpus() {
  return true;
}

std::optional<CudaLibraryState> products_library() {
  return gpu::cublas_state();
}

Backend make_gpu(Arithmetic arithmetic, int number) {
  const auto opening = start_thread<std::jthread>(gpu::Gemm::open_library);  // beside CUDA's context
  auto device = std::make_unique<gpu::GpuDevice>(number);
  if (const auto& gpu = device->properties(); arithmetic.fp8 && (gpu.major != 9 || gpu.minor != 0))
    throw UserError("training.mixed_precision",
                    "bf16 on this GPU: fp8 is for compute capability 9.0 (H100, H200)",
                    "fp8 on " + device->name(), "set training.mixed_precision to bf16");
  auto kernels = std::make_unique<gpu::GpuOps>(*device, allowed_kernels(), arithmetic);
  std::string description = device->name() + ", " + kernels->describe();
  auto take_notes = [&gpu_ops = *kernels] { return gpu_ops.take_notes(); };  // which the backend owns
  std::unique_ptr<Ops> ops = std::move(kernels);
  if (gpu::profiled()) {
    ops = std::make_unique<MarkedOps>(std::move(ops), MarkedOps::Marker{gpu::begin_range, gpu::end_range});
    description += ", marked for a profiler";
  }
  return {std::move(device), std::move(ops), true, std::move(description), std::move(take_notes)};
}

}  // namespace moe::backend
