// SPDX-License-Identifier: MIT
// For durations: seconds of the system's steady clock, since some time before.
#pragma once

#include <chrono>

namespace moe {

inline double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace moe
