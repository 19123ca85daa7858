// SPDX-License-Identifier: MIT
#include "ops/clocked_ops.h"

#include <algorithm>

#include "base/steady_seconds.h"

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
  const double started = steady_seconds();
  body();
  device_.synchronize();
  Entry& entry = entries_[operation.name];
  entry.seconds += steady_seconds() - started;
  ++entry.calls;
  entry.phase = operation.phase;
  entry.flops += operation.flops;
  entry.bytes += operation.bytes;
  if (energy_seconds_ > 0) entry.joules += joules_of(operation, body);
}

double ClockedOps::joules_of(const Operation& operation, const std::function<void()>& body) {
  constexpr double kBatchSeconds = 50e-3, kWarmUpSeconds = 0.2, kStuckSeconds = 2;
  constexpr int64_t kMostRuns = 100'000;
  const auto [place, is_new] = joules_.try_emplace({operation.name, operation.flops, operation.bytes}, 0.0);
  if (!is_new || !device_.joules()) return place->second;
  const auto seconds_of = [&](int64_t runs) {
    const double started = steady_seconds();
    for (int64_t i = 0; i < runs; ++i) body();
    device_.synchronize();
    return steady_seconds() - started;
  };
  // Without the counter: reading it takes longer than a short operation.
  int64_t runs = 1, done = 0;
  while (runs < kMostRuns && seconds_of(runs) < kBatchSeconds) runs *= 2;
  // A batch of runs, and what the counter says. It is read while the device works: a device that waits for
  // the reader uses energy, too.
  const auto counter_beside = [&] {
    for (int64_t i = 0; i < runs; ++i) body();
    const double joules = *device_.joules();
    device_.synchronize();
    done += runs;
    return joules;
  };
  // What the counter says when it moves for the first time after so many seconds of runs. A counter that has
  // stopped does not hold the caller for ever.
  const auto counter_after = [&](double seconds) {
    const double started = steady_seconds();
    double last = *device_.joules();
    while (true) {
      const double now = counter_beside(), elapsed = steady_seconds() - started;
      if ((now != last && elapsed >= seconds) || elapsed > seconds + kStuckSeconds) return now;
      last = now;
    }
  };
  const double before = counter_after(kWarmUpSeconds);
  const int64_t done_before = done;
  const double after = counter_after(energy_seconds_);
  return place->second = (after - before) / static_cast<double>(done - done_before);
}

}  // namespace moe
