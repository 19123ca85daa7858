// SPDX-License-Identifier: MIT
#include "ops/clocked_ops.h"

#include <chrono>

namespace moe {

class ClockedOps::ClockedRegion final : public CapturedRegion {
 public:
  explicit ClockedRegion(ClockedOps& owner) : owner_(owner), inner_(owner.inner().captured_region()) {}
  void run(const std::function<void()>& body) override { owner_.on_ ? body() : inner_->run(body); }
  void host_callback(const std::function<void()>& work) override { inner_->host_callback(work); }

 private:
  ClockedOps& owner_;
  std::unique_ptr<CapturedRegion> inner_;
};

std::unique_ptr<CapturedRegion> ClockedOps::captured_region() {
  return std::make_unique<ClockedRegion>(*this);
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
