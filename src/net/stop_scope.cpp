// SPDX-License-Identifier: MIT
#include "net/stop_scope.h"

#include <utility>

namespace moe::net {
namespace {

// Of this thread only: reads come through Input, which knows nothing of stopping.
thread_local StopScope* innermost = nullptr;

}  // namespace

StopScope::StopScope(std::stop_token token)
    : token_(std::move(token)), outer_(std::exchange(innermost, this)) {}

StopScope::~StopScope() {
  innermost = outer_;
}

std::stop_token StopScope::current() {
  return innermost ? innermost->token_ : std::stop_token();
}

}  // namespace moe::net
