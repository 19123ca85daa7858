// SPDX-License-Identifier: MIT
#include "backend/gpu.h"
#include "base/error.h"

namespace moe::backend {

GpuState gpu_state() {
  return {};
}

bool built_for_gpus() {
  return false;
}

std::optional<CudaLibraryState> products_library() {
  return std::nullopt;
}

Backend make_gpu(Arithmetic, int) {
  throw UserError(
      "training.device", "auto or cpu", "gpu, and this build has no GPU support",
      "in a clone, make train PRESET=gpu builds it with that; `moe doctor` says what is missing here; or use "
      "training.device=cpu");
}

}  // namespace moe::backend
