// SPDX-License-Identifier: MIT
// The ranks of a run on the hardware of this one: the one place that knows the implementations of
// Communicator.
#pragma once

#include <chrono>
#include <memory>

#include "backend/backend.h"
#include "comm/communicator.h"
#include "comm/launch.h"

namespace moe::backend {

// Waits for the others. The backend must outlive the communicator. Throws UserError when this build or this
// start cannot join them.
std::unique_ptr<comm::Communicator> make_communicator(const comm::Launch& launch, Backend& backend,
                                                      std::chrono::milliseconds timeout);

// CPU threads of one rank: what the user asked for, or its share of the cores that this machine's ranks have.
int threads_of_rank(int64_t asked_for, const comm::Launch& launch);

}  // namespace moe::backend
