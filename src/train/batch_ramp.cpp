// SPDX-License-Identifier: MIT
#include "train/batch_ramp.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/parse_number.h"

namespace moe::train {
namespace {

constexpr const char* kSetting = "training.batch_ramp";
constexpr const char* kExample =
    "[\"4:20000000\", \"8:60000000\"] has 4 micro-batches a step for 20 M tokens, 8 until 60 M, and then "
    "training.gradient_accumulation_steps";

}  // namespace

BatchRamp::BatchRamp(const std::vector<std::string>& stages, int64_t full) : full_(full) {
  for (const std::string& text : stages) {
    const size_t colon = text.find(':');
    const std::string_view view = text;
    const auto count = parse_number<int64_t>(view.substr(0, colon));
    const auto until =
        colon == std::string::npos ? std::nullopt : parse_number<int64_t>(view.substr(colon + 1));
    if (!count || !until || *count < 1 || *until < 1)
      throw UserError(kSetting, "MICRO_BATCHES:TOKENS, both above 0", text, kExample);
    const Stage before = stages_.empty() ? Stage{} : stages_.back();
    if (*count <= before.micro_batches || *until <= before.until)
      throw UserError(kSetting, "numbers that rise from each stage to the next",
                      fmt::format("{}:{} and then {}", before.micro_batches, before.until, text), kExample);
    stages_.push_back({*count, *until});
  }
  if (!stages_.empty() && stages_.back().micro_batches >= full)
    throw UserError(kSetting, fmt::format("fewer than training.gradient_accumulation_steps ({})", full),
                    stages.back(), kExample);
}

int64_t BatchRamp::micro_batches(int64_t tokens) const {
  for (const Stage& stage : stages_)
    if (tokens < stage.until) return stage.micro_batches;
  return full_;
}

int64_t BatchRamp::steps(int64_t tokens, int64_t end, int64_t each) const {
  int64_t steps = 0;
  const auto go = [&](int64_t until, int64_t micro_batches) {
    const int64_t left = std::max<int64_t>(0, until - tokens), size = micro_batches * each;
    const int64_t count = (left + size - 1) / size;
    steps += count;
    tokens += count * size;
  };
  for (const Stage& stage : stages_) go(std::min(stage.until, end), stage.micro_batches);
  go(end, full_);
  return steps;
}

int64_t BatchRamp::place(int64_t step, int64_t tokens, int64_t each) const {
  return constant() ? step : tokens / (full_ * each);
}

double BatchRamp::rate_scale(int64_t tokens) const {
  return std::sqrt(static_cast<double>(micro_batches(tokens)) / static_cast<double>(full_));
}

}  // namespace moe::train
