// SPDX-License-Identifier: MIT
#include "train/loss_scale.h"

#include "base/error.h"

namespace moe::train {

LossScale::LossScale(double first, int64_t growth_every) : dynamic_(true), growth_every_(growth_every) {
  CHECK(first >= 1 && first <= kMost && growth_every >= 0);
  state_.value = first;
}

bool LossScale::update(bool finite) {
  if (!dynamic_) return finite;
  if (!finite) {
    state_.good_steps = 0;
    if (state_.value <= 1) return false;
    state_.value /= 2;
    ++state_.skipped;
    return true;
  }
  ++state_.good_steps;
  if (growth_every_ > 0 && state_.good_steps >= growth_every_ && state_.value < kMost) {
    state_.value *= 2;
    state_.good_steps = 0;
  }
  return true;
}

}  // namespace moe::train
