// SPDX-License-Identifier: MIT
#include "backend/ranks.h"

#include <algorithm>

#include "backend/nccl.h"
#include "base/threads.h"
#include "comm/mpi.h"
#include "comm/solo.h"

namespace moe::backend {

std::unique_ptr<comm::Communicator> make_communicator(const comm::Launch& launch, Backend& backend,
                                                      std::chrono::milliseconds timeout) {
  if (launch.alone()) return std::make_unique<comm::SoloCommunicator>();
  if (backend.on_gpu) return make_gpu_communicator(launch, backend, timeout);
  return comm::make_mpi(launch, timeout);
}

int threads_of_rank(int64_t asked_for, const comm::Launch& launch) {
  if (asked_for > 0 || launch.alone()) return static_cast<int>(asked_for);
  return std::max(1, available_cores() / launch.local_size);
}

}  // namespace moe::backend
