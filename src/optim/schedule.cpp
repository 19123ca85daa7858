// SPDX-License-Identifier: MIT
#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace moe::optim {
namespace {

// Progress in [0, 1] of a decay over the steps [first, end): (step - first) / (end - first), but 1 at the
// last of them, so that the run arrives where its settings say.
double progress(int64_t step, int64_t first, int64_t end) {
  if (step >= end || (step >= first && step == end - 1)) return 1;
  return step <= first ? 0 : static_cast<double>(step - first) / static_cast<double>(end - first);
}

// Of wsd. A share that rounds to no step is one: only 0 is none.
int64_t decay_steps(const Schedule& s) {
  if (s.decay_fraction == 0) return 0;
  return std::max<int64_t>(1, std::llround(s.decay_fraction * static_cast<double>(s.max_steps)));
}

// What the kind's decay leaves of the peak, warm-up aside.
double decay_factor(const Schedule& s, int64_t step) {
  switch (s.kind) {
    case Schedule::Kind::constant:
      return 1;
    case Schedule::Kind::cosine: {
      const double p = progress(step, s.warmup_steps, s.max_steps);
      return s.ratio + (1 - s.ratio) * 0.5 * (1 + std::cos(std::numbers::pi * p));
    }
    case Schedule::Kind::wsd: {
      const double p = progress(step, s.max_steps - decay_steps(s), s.max_steps);
      return 1 - (1 - s.ratio) * (s.decay == Schedule::Decay::linear ? p : std::sqrt(p));
    }
  }
  CHECK(false, "unknown schedule");
  return 0;
}

}  // namespace

double learning_rate(const Schedule& schedule, int64_t step) {
  CHECK(step >= 0);
  const double warmup = step < schedule.warmup_steps
                            ? static_cast<double>(step + 1) / static_cast<double>(schedule.warmup_steps)
                            : 1;
  return schedule.peak * std::min(warmup, decay_factor(schedule, step));
}

double weight_decay_scale(DecaySchedule kind, const Schedule& schedule, int64_t step) {
  switch (kind) {
    case DecaySchedule::constant:
      return 1;
    case DecaySchedule::with_lr:
      return schedule.peak == 0 ? 0 : learning_rate(schedule, step) / schedule.peak;
    case DecaySchedule::cosine_to_zero: {
      const double done = static_cast<double>(step) / static_cast<double>(schedule.max_steps);
      return 0.5 * (1 + std::cos(std::numbers::pi * std::min(done, 1.0)));
    }
  }
  CHECK(false, "unknown schedule");
  return 0;
}

}  // namespace moe::optim
