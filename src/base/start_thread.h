// SPDX-License-Identifier: MIT
// How threads are started, in all folders.
#pragma once

#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"

namespace moe {

// A thread (or std::jthread) that runs body. UserError where the system gives no more: a limit on processes
// or memory.
template <class Thread = std::thread, class Body>
Thread start_thread(Body&& body) {
  try {
    return Thread(std::forward<Body>(body));
  } catch (const std::system_error& error) {
    throw UserError(
        "threads", "to be able to start another one", error.code().message(),
        "raise the limit on processes (ulimit -u, or that of the container) or on memory (ulimit -v)");
  }
}

}  // namespace moe
