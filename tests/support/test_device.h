// SPDX-License-Identifier: MIT
#pragma once

#include <cstdlib>
#include <string>

namespace moe::test {

// Where the tests of this program run: "cpu", or what CTest sets MOE_TEST_DEVICE to.
inline std::string test_device() {
  const char* name = std::getenv("MOE_TEST_DEVICE");
  return name == nullptr ? "cpu" : name;
}

}  // namespace moe::test
