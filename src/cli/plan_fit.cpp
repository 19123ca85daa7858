// SPDX-License-Identifier: MIT
#include "cli/plan_fit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/format.h"
#include "train/state.h"

namespace moe::cli {
namespace {

using Settings = std::vector<std::string>;

// Nothing where the settings contradict one another, or so many ranks cannot have the layout.
std::optional<double> memory_of(const train::RunConfig& config, int ranks, Device& device, Ops& ops) {
  try {
    config.validate();
    Arena plan;
    train::plan_training(config, config.vocabulary(), ranks, device, ops, plan);
    return static_cast<double>(plan.used());
  } catch (const UserError&) {
    return std::nullopt;
  }
}

train::RunConfig with(train::RunConfig config, const Settings& settings) {
  auto sections = config.sections();
  for (const std::string& setting : settings) apply_override(setting, sections);
  return config;
}

// Those that change something.
std::vector<Settings> steps_of(const train::RunConfig& config) {
  const train::TrainingConfig& training = config.training;
  std::vector<Settings> steps;
  if (training.batch_size > 1)
    steps.push_back(
        {"training.batch_size=1", fmt::format("training.gradient_accumulation_steps={}",
                                              training.gradient_accumulation_steps * training.batch_size)});
  if (training.recompute != model::Recompute::full) steps.push_back({"training.recompute=full"});
  if (!train::eight_bit(training.optimizer))
    steps.push_back({training.optimizer == train::OptimizerKind::muon ? "training.optimizer=muon8bit"
                                                                      : "training.optimizer=adamw8bit"});
  if (training.mixed_precision == train::MixedPrecision::no ||
      training.mixed_precision == train::MixedPrecision::tf32)
    steps.push_back({"training.mixed_precision=bf16"});
  if (training.master_weights != train::StoredType::bf16 ||
      training.gradient_type != train::StoredType::bf16) {
    Settings bf16{"training.mixed_precision=bf16", "training.master_weights=bf16",
                  "training.gradient_type=bf16"};
    if (training.ema_decay > 0) bf16.emplace_back("training.ema_decay=0");  // no average of such masters
    steps.push_back(std::move(bf16));
  }
  steps.push_back({"training.embedding_8bit=true"});
  for (int64_t T = config.model.max_seq_len / 2; T >= 1024; T /= 2)
    steps.push_back({fmt::format("model.max_seq_len={}", T)});
  return steps;
}

constexpr double kHelps = 0.98;  // of the memory: what saves less is not worth its price

std::string line_of(const std::string& name, double memory, double free) {
  return fmt::format("  {:>10}  {}{}\n", format_bytes(memory), name, memory <= free ? "   <- fits" : "");
}

}  // namespace

std::string ways_to_fit(train::RunConfig config, int ranks, double free, Device& device, Ops& ops) {
  std::string text = "with           one after the other, together with those above\n";
  std::optional<double> last = memory_of(config, ranks, device, ops);
  for (const Settings& step : steps_of(config)) {
    train::RunConfig changed = with(config, step);
    const std::optional<double> memory = memory_of(changed, ranks, device, ops);
    if (!memory || (last && *memory > kHelps * *last && *memory > free)) continue;
    text += line_of(fmt::format("{}", fmt::join(step, " ")), *memory, free);
    config = std::move(changed);
    last = memory;
    if (*memory <= free) return text;
  }
  const bool experts = config.model.moe_layers() > 0;
  constexpr int kMostRanks = 512;
  for (int more = std::max(2, 2 * ranks); more <= kMostRanks; more *= 2) {
    const std::string layout = experts ? "distributed.layout=expert" : "distributed.layout=zero1";
    const std::optional<double> memory = memory_of(with(config, {layout}), more, device, ops);
    if (!memory) continue;
    const bool fits = *memory <= free;
    if (!fits && more * 2 <= kMostRanks) continue;
    text += line_of(fmt::format("{} ranks like this one, {}", more, layout), *memory, free);
    if (fits) break;
  }
  return text;
}

}  // namespace moe::cli
