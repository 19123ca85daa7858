// SPDX-License-Identifier: MIT
// MOE_VERSION comes from CMake, for this file alone: a new version recompiles nothing else.
#include "base/version.h"

namespace moe {

std::string program_version() {
  return "moe " MOE_VERSION;
}

}  // namespace moe
