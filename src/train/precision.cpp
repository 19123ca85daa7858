// SPDX-License-Identifier: MIT
#include "train/precision.h"

#include <fmt/format.h>

namespace moe::train {

std::string settle_precision(TrainingConfig& training, bool fast_bf16, const std::string& why) {
  if (training.mixed_precision != MixedPrecision::automatic) return "";
  training.mixed_precision = fast_bf16 ? MixedPrecision::bf16 : MixedPrecision::no;
  return fmt::format("{}, of auto: {}", name_of(training.mixed_precision), why);
}

}  // namespace moe::train
