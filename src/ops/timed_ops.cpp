// SPDX-License-Identifier: MIT
#include "ops/timed_ops.h"

#include <chrono>

namespace moe {

class TimedOps::TimedSequence final : public Sequence {
 public:
  explicit TimedSequence(TimedOps& owner) : owner_(owner), inner_(owner.inner().sequence()) {}
  void run(const std::function<void()>& body) override { owner_.on_ ? body() : inner_->run(body); }

 private:
  TimedOps& owner_;
  std::unique_ptr<Sequence> inner_;
};

std::unique_ptr<Sequence> TimedOps::sequence() {
  return std::make_unique<TimedSequence>(*this);
}

void TimedOps::run(const Operation& operation, const std::function<void()>& body) {
  if (!on_) return body();
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  body();
  device_.synchronize();
  Entry& entry = entries_[operation.name];
  entry.seconds += std::chrono::duration<double>(Clock::now() - start).count();
  ++entry.calls;
  entry.phase = operation.phase;
  entry.flops += operation.flops;
  entry.bytes += operation.bytes;
}

}  // namespace moe
