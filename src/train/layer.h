// SPDX-License-Identifier: MIT
// What a file or the command line lays over the settings before it. Two settings may say one thing, of which
// the second counts where both are given, as eval_tokens does beside eval_batches. Where a layer gives the
// first alone, it ends the second of an earlier one.
#pragma once

#include <array>
#include <cstdint>

#include "train/run_config.h"

namespace moe::train {

struct TwoForOne {
  const char *first, *second;  // of the section training
  int64_t TrainingConfig::*first_place, TrainingConfig::*second_place;
};
inline constexpr std::array<TwoForOne, 4> kTwoForOne{
    {{"eval_batches", "eval_tokens", &TrainingConfig::eval_batches, &TrainingConfig::eval_tokens},
     {"max_steps", "max_tokens", &TrainingConfig::max_steps, &TrainingConfig::max_tokens},
     {"warmup_steps", "warmup_tokens", &TrainingConfig::warmup_steps, &TrainingConfig::warmup_tokens},
     {"gradient_accumulation_steps", "global_batch_size", &TrainingConfig::gradient_accumulation_steps,
      &TrainingConfig::global_batch_size}}};

// Made before a layer is read into the settings.
class Layer {
 public:
  explicit Layer(TrainingConfig& training);
  void settle() const;  // after it was read

 private:
  TrainingConfig& training_;
  TrainingConfig before_;
};

}  // namespace moe::train
