// SPDX-License-Identifier: MIT
// Dynamic loss scaling (Micikevicius et al., arXiv 1710.03740): gradients of activations in f16 would lose
// what is below 2^-24, so all are computed times a factor, which the optimizer divides out again. When
// gradients overflow, the step is skipped and the factor halved; after enough steps without that it is
// doubled. Always a power of two: no bit is lost.
#pragma once

#include <cstdint>

namespace moe::train {

// What a checkpoint keeps of it.
struct LossScaleState {
  double value = 1;        // of the next step
  int64_t good_steps = 0;  // since the value last changed
  int64_t skipped = 0;     // steps, in the whole run
};

class LossScale {
 public:
  // A factor that stays 1, for types that need none.
  LossScale() = default;
  // first: a power of two, from 1 to kMost. growth_every: steps before the factor doubles; 0: it never does.
  LossScale(double first, int64_t growth_every);

  static constexpr double kMost = 4294967296.0;  // 2^32: f32 gradients of weights still have room above it

  bool dynamic() const { return dynamic_; }
  double value() const { return state_.value; }
  int64_t skipped() const { return state_.skipped; }

  // Takes note of a step that was done with value(), and whether its loss and gradients were finite. True
  // where that is all there is to do; false for a step that is not finite for another reason than the factor:
  // it is 1 already.
  bool update(bool finite);

  const LossScaleState& state() const { return state_; }
  void restore(const LossScaleState& state) { state_ = state; }

 private:
  bool dynamic_ = false;
  int64_t growth_every_ = 0;
  LossScaleState state_;
};

}  // namespace moe::train
