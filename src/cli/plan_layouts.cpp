// SPDX-License-Identifier: MIT
#include "cli/plan_layouts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/format.h"
#include "text/tokenizer.h"
#include "train/rank_groups.h"
#include "train/state.h"

namespace moe::cli {
namespace {

struct Choice {
  std::string name;
  RunConfig config;
  bool chosen = false;
  std::string trouble;  // why so many ranks cannot have it
  double memory = 0;
  std::optional<StepTime> time;
};

// Expert parallelism stays within a machine, unless the settings say otherwise.
std::vector<Choice> choices(const RunConfig& config, int ranks, const GpuRates* gpu) {
  std::vector<Choice> list;
  for (const char* const layout : {"data_parallel", "zero1", "expert"}) {
    Choice choice{layout, config, layout == chosen_layout(config.distributed), "", 0, {}};
    DistributedConfig& distributed = choice.config.distributed;
    distributed.layout = layout;
    if (choice.name == "expert") {
      const int near = gpu == nullptr ? ranks : std::min(ranks, gpu->gpus_of_machine);
      if (!choice.chosen && distributed.expert_parallel == 0) distributed.expert_parallel = near;
      choice.name +=
          fmt::format(" ({} share)", distributed.expert_parallel == 0 ? ranks : distributed.expert_parallel);
    }
    list.push_back(std::move(choice));
  }
  return list;
}

void measure(Choice& choice, int ranks, const GpuRates* gpu, Device& device, Ops& ops) {
  Arena plan;
  try {
    plan_training(choice.config, Tokenizer::kVocabulary, ranks, device, ops, plan);
  } catch (const UserError& error) {
    if (choice.chosen) throw;
    choice.trouble = error.what();
    return;
  }
  choice.memory = static_cast<double>(plan.used());
  if (gpu != nullptr) choice.time = predict_step(choice.config, ranks, *gpu);
}

std::string line_of(const Choice& choice, double tokens, const GpuRates* gpu) {
  if (!choice.trouble.empty()) return fmt::format("  {:<20}{:>12}  {}\n", choice.name, "-", choice.trouble);
  std::string line = fmt::format("  {:<20}{:>12}", choice.name, format_bytes(choice.memory));
  if (choice.time) {
    const StepTime& time = *choice.time;
    line += fmt::format("{:>12}{:>12}{:>11.1f} %{:>11.1f} %", fmt::format("{:.1f} ms", 1e3 * time.total()),
                        format_count(tokens / time.total()), 100 * time.transfers() / time.total(),
                        100 * time.optimizer / time.total());
  }
  if (gpu != nullptr && choice.memory > gpu->memory) line += "  too large";
  return line + (choice.chosen ? "  <- distributed.layout\n" : "\n");
}

// In what the chosen one is better than another, or worse.
std::string compared(const Choice& chosen, const Choice& other) {
  const auto difference = [](double a, double b, const char* more, const char* less) {
    return fmt::format("{:.0f} % {}", 100 * std::abs(a / b - 1), a > b ? more : less);
  };
  std::string text = fmt::format(
      "{} than {}", difference(chosen.memory, other.memory, "more memory", "less memory"), other.name);
  if (chosen.time && other.time)
    text += ", and a step is " + difference(chosen.time->total(), other.time->total(), "longer", "shorter");
  return text;
}

std::string reason(const std::vector<Choice>& list, const DistributedConfig& distributed,
                   const GpuRates* gpu) {
  const auto found = std::find_if(list.begin(), list.end(), [](const Choice& c) { return c.chosen; });
  std::string text;
  if (distributed.layout == "auto")
    text +=
        "  auto is zero1: no layout without expert parallelism moves fewer bytes, and none does less work "
        "twice\n";
  for (const Choice& other : list)
    if (!other.chosen && other.trouble.empty())
      text += fmt::format("  {}: {}\n", found->name, compared(*found, other));
  const auto fits = [&](const Choice& c) {
    return c.trouble.empty() && (gpu == nullptr || c.memory <= gpu->memory);
  };
  for (const Choice& other : list) {
    if (other.chosen || !fits(other)) continue;
    if (!fits(*found))
      text += fmt::format("  {} does not fit, {} does\n", found->name, other.name);
    else if (found->time && other.time && other.time->total() < 0.98 * found->time->total())
      text += fmt::format("  faster, by this prediction: distributed.layout={}\n",
                          other.config.distributed.layout);
  }
  return text;
}

}  // namespace

std::string layouts_table(const RunConfig& config, int ranks, const GpuRates* gpu, Device& device, Ops& ops) {
  std::vector<Choice> list = choices(config, ranks, gpu);
  if (ranks == 1)
    std::erase_if(list, [](const Choice& choice) { return !choice.chosen; });  // they do not differ
  for (Choice& choice : list) measure(choice, ranks, gpu, device, ops);
  const bool timed =
      std::any_of(list.begin(), list.end(), [](const Choice& c) { return c.time.has_value(); });
  const auto tokens = static_cast<double>(config.training.batch_size * config.model.max_seq_len *
                                          config.training.gradient_accumulation_steps * ranks);
  std::string text = fmt::format("layouts        of {} rank{}", ranks, ranks == 1 ? "" : "s");
  if (timed)
    text += fmt::format(", predicted for {} (docs/scaling.md)\n  {:<20}{:>12}{:>12}{:>12}{:>13}{:>13}\n",
                        gpu->name, "", "memory", "a step", "tokens/s", "transfers", "optimizer");
  else
    text += fmt::format(
        "; times are predicted with --gpu and training.mixed_precision=bf16 only\n  {:<20}{:>12}\n", "",
        "memory");
  for (const Choice& choice : list) text += line_of(choice, tokens, gpu);
  return ranks == 1 ? text : text + reason(list, config.distributed, gpu);
}

}  // namespace moe::cli
