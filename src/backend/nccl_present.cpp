// SPDX-License-Identifier: MIT
#include "backend/nccl.h"
#include "base/error.h"
#include "gpu/libraries.h"
#include "gpu/nccl_communicator.h"

namespace moe::backend {

std::unique_ptr<comm::Communicator> make_gpu_communicator(const comm::Launch& launch, Backend& backend,
                                                          std::chrono::milliseconds timeout) {
  auto* const device = dynamic_cast<gpu::GpuDevice*>(backend.device.get());
  CHECK(device != nullptr);
  return gpu::make_nccl(launch, *device, timeout);
}

std::optional<CudaLibraryState> ranks_library() {
  return gpu::nccl_state();
}

}  // namespace moe::backend
