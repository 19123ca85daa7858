// SPDX-License-Identifier: MIT
#include "ops/clocked_ops.h"

#include <chrono>

namespace moe {

class ClockedOps::ClockedSequence final : public Sequence {
 public:
  explicit ClockedSequence(ClockedOps& owner) : owner_(owner), inner_(owner.inner().sequence()) {}
  void run(const std::function<void()>& body) override { owner_.on_ ? body() : inner_->run(body); }
  void between(const std::function<void()>& work) override { inner_->between(work); }

 private:
  ClockedOps& owner_;
  std::unique_ptr<Sequence> inner_;
};

std::unique_ptr<Sequence> ClockedOps::sequence() {
  return std::make_unique<ClockedSequence>(*this);
}

void ClockedOps::run(const Operation& operation, const std::function<void()>& body) {
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
