// SPDX-License-Identifier: MIT
// Ranks on GPUs over NCCL, on the stream of their device. A lost rank would keep NCCL's kernels waiting for
// ever: comm/watchdog.h ends the process then.
#pragma once

#include <chrono>
#include <memory>

#include "comm/communicator.h"
#include "comm/rendezvous.h"
#include "gpu/gpu_device.h"

namespace moe::gpu {

// Waits for all ranks at the rendezvous. device must outlive it.
std::unique_ptr<comm::Communicator> make_nccl(const comm::Launch& launch, GpuDevice& device,
                                              std::chrono::milliseconds timeout);

}  // namespace moe::gpu
