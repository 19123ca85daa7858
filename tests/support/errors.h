// SPDX-License-Identifier: MIT
// What a piece of code complains about: the whole message of its UserError, for golden strings.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace moe::test {

// "" when body does not throw.
template <class Body>
std::string user_error_of(Body&& body) {
  try {
    body();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

}  // namespace moe::test
