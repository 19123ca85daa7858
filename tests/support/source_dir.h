// SPDX-License-Identifier: MIT
#pragma once

#include <cstdlib>
#include <filesystem>

namespace moe::test {

// The repository with tests/golden: where the tests were built, unless MOE_SOURCE_DIR says where it is now.
inline std::filesystem::path source_dir() {
  const char* const moved = std::getenv("MOE_SOURCE_DIR");
  return moved == nullptr ? MOE_SOURCE_DIR : moved;
}

}  // namespace moe::test
