// SPDX-License-Identifier: MIT
#include "train/step_guard.h"

#include <algorithm>

#include "tensor/fetch.h"

namespace moe::train {

StepGuard::StepGuard(double sigma, int64_t window, Arena& arena) : sigma_(sigma), window_(window) {
  if (!enabled()) return;
  history_2H_ = arena.allocate("small", DType::f64, {2, window});
  seen_1_ = arena.allocate("small", DType::i32, {1});
}

void StepGuard::clear(Ops& ops) const {
  if (!enabled()) return;
  ops.fill(history_2H_, 0);
  ops.fill(seen_1_, 0);
}

void StepGuard::look(const Tensor& scale_1, const Tensor& loss_sum_1, const Tensor& squares_n,
                     int64_t targets, float loss_scale, Ops& ops) const {
  if (!enabled()) return;
  ops.spike_guard({.scale_1 = scale_1,
                   .history_2H = history_2H_,
                   .seen_1 = seen_1_,
                   .loss_sum_1 = loss_sum_1,
                   .squares_n = squares_n,
                   .targets = targets,
                   .loss_scale = loss_scale,
                   .sigma = sigma_});
}

StepGuardState StepGuard::state(Device& device) const {
  StepGuardState state{.losses = {}, .norms = {}, .skipped = skipped_};
  if (!enabled()) return state;
  const auto history = fetch<double>(history_2H_, device);
  const int64_t seen = fetch<int32_t>(seen_1_, device).front();
  for (int64_t i = std::max<int64_t>(0, seen - window_); i < seen; ++i) {
    state.losses.push_back(history[static_cast<size_t>(i % window_)]);
    state.norms.push_back(history[static_cast<size_t>(window_ + i % window_)]);
  }
  return state;
}

void StepGuard::restore(const StepGuardState& state, Device& device) {
  skipped_ = state.skipped;
  if (!enabled()) return;
  CHECK(state.losses.size() == state.norms.size());
  const auto H = static_cast<size_t>(window_), n = std::min(state.losses.size(), H);
  std::vector<double> history(2 * H);
  std::copy(state.losses.end() - static_cast<std::ptrdiff_t>(n), state.losses.end(), history.begin());
  std::copy(state.norms.end() - static_cast<std::ptrdiff_t>(n), state.norms.end(),
            history.begin() + static_cast<std::ptrdiff_t>(H));
  const auto seen = static_cast<int32_t>(n);
  device.to_device(history_2H_, history.data());
  device.to_device(seen_1_, &seen);
}

}  // namespace moe::train
