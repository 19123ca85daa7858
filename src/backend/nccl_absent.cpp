// SPDX-License-Identifier: MIT
#include "backend/nccl.h"
#include "base/error.h"

namespace moe::backend {

std::unique_ptr<comm::Communicator> make_gpu_communicator(const comm::Launch& launch, Backend&,
                                                          std::chrono::milliseconds) {
  throw UserError(launch.by, "a build with NCCL for ranks on GPUs", "one without",
                  "install libnccl-dev, or name a folder with nccl.h in it: cmake --preset gpu "
                  "-DNCCL_INCLUDE_DIR=...; or "
                  "use training.device=cpu");
}

std::optional<CudaLibraryState> ranks_library() {
  return std::nullopt;
}

}  // namespace moe::backend
