// SPDX-License-Identifier: MIT
// Ends the network calls of one owner, and no others': the threads of a loader hold a StopScope over its
// stop_token, and every call that such a thread makes, or waits in, throws Cancelled as soon as a stop is
// requested.
#pragma once

#include <stdexcept>
#include <stop_token>

namespace moe::net {

// The caller asked for it: no error of the user's, and nothing to print.
struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("cancelled") {}
};

// Holds for the thread that made it, while it lives. Scopes nest; the innermost counts.
class StopScope {
 public:
  explicit StopScope(std::stop_token token);
  ~StopScope();
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;

  // The innermost of this thread; one that never stops without any.
  static std::stop_token current();

 private:
  std::stop_token token_;
  StopScope* outer_;
};

}  // namespace moe::net
