// SPDX-License-Identifier: MIT
// Ranks on GPUs; CMake builds nccl_present.cpp or nccl_absent.cpp.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "backend/backend.h"
#include "base/cuda_libraries.h"
#include "comm/communicator.h"
#include "comm/launch.h"

namespace moe::backend {

// Throws UserError when this build or this machine has no NCCL.
std::unique_ptr<comm::Communicator> make_gpu_communicator(const comm::Launch& launch, Backend& backend,
                                                          std::chrono::milliseconds timeout);

// Of those ranks; nothing where the build has no NCCL.
std::optional<CudaLibraryState> ranks_library();

}  // namespace moe::backend
