// SPDX-License-Identifier: MIT
// The learning rate as a pure function of the step: nothing to save in a checkpoint.
#pragma once

#include <cstdint>

#include "base/choices.h"

namespace moe::optim {

struct Schedule {
  enum class Kind : uint8_t {
    constant,
    cosine,  // half a cosine from the peak to ratio * peak (Loshchilov & Hutter 2017, SGDR, one cycle)
    wsd,     // warm-up, stable, decay (Hu et al. 2024, MiniCPM): flat, then down over the last decay_fraction
  };
  enum class Decay : uint8_t {
    linear,
    one_minus_sqrt,  // 1 - sqrt(progress) (Haegele et al. 2024, arXiv 2405.18392)
  };

  Kind kind = Kind::cosine;
  Decay decay = Decay::linear;  // wsd only
  double peak = 6e-4;
  double ratio = 0.1;  // final rate / peak
  int64_t warmup_steps = 100, max_steps = 1000;
  double decay_fraction = 0.2;  // wsd only: share of max_steps spent in decay
};

constexpr auto choices_of(Schedule::Kind) {
  return choices<Schedule::Kind>({{Schedule::Kind::cosine, "cosine"},
                                  {Schedule::Kind::wsd, "wsd"},
                                  {Schedule::Kind::constant, "constant"}});
}

// step counts from 0. Steps below warmup_steps: peak * (step + 1) / warmup_steps. Then by kind, with a
// progress of i / n at the i-th of the n steps of the decay, i from 0, but 1 at the last one: that step,
// max_steps - 1, has the rate ratio * peak, as have all from max_steps on (constant: peak). Without any step
// of decay none has. When warm-up and decay overlap, the lower of the two rates counts.
double learning_rate(const Schedule& schedule, int64_t step);

// What weight decay is multiplied by, beside the learning rate that it is always multiplied by.
enum class DecaySchedule : uint8_t {
  constant,
  with_lr,         // learning_rate(step) / peak
  cosine_to_zero,  // half a cosine from 1 at step 0 to 0 at max_steps
};

constexpr auto choices_of(DecaySchedule) {
  return choices<DecaySchedule>({{DecaySchedule::constant, "constant"},
                                 {DecaySchedule::with_lr, "with_lr"},
                                 {DecaySchedule::cosine_to_zero, "cosine_to_zero"}});
}

double weight_decay_scale(DecaySchedule kind, const Schedule& schedule, int64_t step);

}  // namespace moe::optim
