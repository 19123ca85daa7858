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
#include "train/rank_groups.h"
#include "train/state.h"

namespace moe::cli {
namespace {

// Expert parallelism stays within a machine, unless the settings say otherwise.
std::vector<PlannedLayout> candidates(const train::RunConfig& config, int ranks, const train::GpuRates* gpu) {
  std::vector<PlannedLayout> list;
  const train::ParallelLayout chosen = train::chosen_layout(config.distributed);
  for (const auto layout :
       {train::ParallelLayout::data_parallel, train::ParallelLayout::zero1, train::ParallelLayout::expert}) {
    PlannedLayout candidate{std::string(name_of(layout)), config, layout == chosen, "", 0, {}};
    train::DistributedConfig& distributed = candidate.config.distributed;
    distributed.layout = layout;
    if (layout == train::ParallelLayout::expert) {
      const int near = gpu == nullptr ? ranks : std::min(ranks, gpu->gpus_of_machine);
      if (!candidate.chosen && distributed.expert_parallel == 0) distributed.expert_parallel = near;
      candidate.name +=
          fmt::format(" ({} share)", distributed.expert_parallel == 0 ? ranks : distributed.expert_parallel);
    }
    list.push_back(std::move(candidate));
  }
  return list;
}

void measure(PlannedLayout& candidate, int ranks, const train::GpuRates* gpu, Device& device, Ops& ops) {
  Arena plan;
  try {
    train::plan_training(candidate.config, candidate.config.vocabulary(), ranks, device, ops, plan);
  } catch (const UserError& error) {
    if (candidate.chosen) throw;
    candidate.trouble = error.what();
    return;
  }
  candidate.memory = static_cast<double>(plan.used());
  if (gpu != nullptr) candidate.time = train::predict_step(candidate.config, ranks, *gpu);
}

std::string line_of(const PlannedLayout& candidate, double tokens, const train::GpuRates* gpu) {
  if (!candidate.trouble.empty())
    return fmt::format("  {:<20}{:>12}  {}\n", candidate.name, "-", candidate.trouble);
  std::string line = fmt::format("  {:<20}{:>12}", candidate.name, format_bytes(candidate.memory));
  if (candidate.time) {
    const train::StepTime& time = *candidate.time;
    line += fmt::format("{:>12}{:>12}{:>11.1f} %{:>11.1f} %", fmt::format("{:.1f} ms", 1e3 * time.total()),
                        format_count(tokens / time.total()), 100 * time.transfers() / time.total(),
                        100 * time.optimizer / time.total());
  }
  if (gpu != nullptr && candidate.memory > gpu->memory) line += "  too large";
  return line + (candidate.chosen ? "  <- distributed.layout\n" : "\n");
}

// A large batch makes its share small.
std::string newton_schulz_line(const std::vector<PlannedLayout>& list) {
  for (const PlannedLayout& candidate : list)
    if (candidate.chosen && candidate.time && candidate.time->newton_schulz > 0)
      return fmt::format(
          "  Muon's Newton-Schulz iteration is {:.1f} % of a step; its time does not depend on the batch\n",
          100 * candidate.time->newton_schulz / candidate.time->total());
  return "";
}

// In what the chosen one is better than another, or worse.
std::string compared(const PlannedLayout& chosen, const PlannedLayout& other) {
  const auto difference = [](double a, double b, const char* more, const char* less) {
    return fmt::format("{:.0f} % {}", 100 * std::abs(a / b - 1), a > b ? more : less);
  };
  std::string text = fmt::format(
      "{} than {}", difference(chosen.memory, other.memory, "more memory", "less memory"), other.name);
  if (chosen.time && other.time)
    text += ", and a step is " + difference(chosen.time->total(), other.time->total(), "longer", "shorter");
  return text;
}

std::string reason(const std::vector<PlannedLayout>& list, const train::DistributedConfig& distributed,
                   const train::GpuRates* gpu) {
  const auto found = std::find_if(list.begin(), list.end(), [](const PlannedLayout& c) { return c.chosen; });
  std::string text;
  if (distributed.layout == train::ParallelLayout::automatic)
    text +=
        "  auto is zero1: no layout without expert parallelism moves fewer bytes, and none does less work "
        "twice\n";
  for (const PlannedLayout& other : list)
    if (!other.chosen && other.trouble.empty())
      text += fmt::format("  {}: {}\n", found->name, compared(*found, other));
  const auto fits = [&](const PlannedLayout& c) {
    return c.trouble.empty() && (gpu == nullptr || c.memory <= gpu->memory);
  };
  for (const PlannedLayout& other : list) {
    if (other.chosen || !fits(other)) continue;
    if (!fits(*found))
      text += fmt::format("  {} does not fit, {} does\n", found->name, other.name);
    else if (found->time && other.time && other.time->total() < 0.98 * found->time->total())
      text += fmt::format("  faster, by this prediction: distributed.layout={}\n",
                          name_of(other.config.distributed.layout));
  }
  return text;
}

}  // namespace

std::vector<PlannedLayout> plan_layouts(const train::RunConfig& config, int ranks, const train::GpuRates* gpu,
                                        Device& device, Ops& ops) {
  std::vector<PlannedLayout> list = candidates(config, ranks, gpu);
  if (ranks == 1)
    std::erase_if(list, [](const PlannedLayout& one) { return !one.chosen; });  // they do not differ
  for (PlannedLayout& one : list) measure(one, ranks, gpu, device, ops);
  return list;
}

std::string layouts_table(const std::vector<PlannedLayout>& list, const train::RunConfig& config, int ranks,
                          const train::GpuRates* gpu) {
  const bool timed =
      std::any_of(list.begin(), list.end(), [](const PlannedLayout& one) { return one.time.has_value(); });
  const auto tokens = static_cast<double>(config.tokens_of_step(ranks));
  std::string text = fmt::format("layouts        of {} rank{}", ranks, ranks == 1 ? "" : "s");
  if (timed)
    text += fmt::format(", predicted for {} (docs/scaling.md)\n  {:<20}{:>12}{:>12}{:>12}{:>13}{:>13}\n",
                        gpu->name, "", "memory", "a step", "tokens/s", "transfers", "optimizer");
  else
    text += fmt::format(
        "; times are predicted with --gpu and training.mixed_precision=bf16 only\n  {:<20}{:>12}\n", "",
        "memory");
  for (const PlannedLayout& one : list) text += line_of(one, tokens, gpu);
  text += newton_schulz_line(list);
  return ranks == 1 ? text : text + reason(list, config.distributed, gpu);
}

}  // namespace moe::cli
