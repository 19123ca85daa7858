// SPDX-License-Identifier: MIT
// Ranks as threads of one process, over host memory: for tests, and what the thread sanitizer looks at.
#pragma once

#include <chrono>
#include <memory>

#include "comm/communicator.h"

namespace moe::comm {

// The communicators of `size` ranks, in order; each is used by one thread. One that is destroyed while others
// wait for it is a rank that has died: they throw a UserError that names it.
std::vector<std::unique_ptr<Communicator>> thread_ranks(int size,
                                                        std::chrono::milliseconds timeout = kRankTimeout);

}  // namespace moe::comm
