// SPDX-License-Identifier: MIT
#include "metrics/shown.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace moe::metrics {
namespace {

constexpr ShownMetric kShown[] = {
    {"loss", "train/loss", Best::lowest},
    {"perplexity", "train/perplexity"},
    {"learning_rate", "train/learning_rate"},
    {"gradient_norm", "train/gradient_norm"},
    {"gradient_norm/*", "train/gradient_norm/*"},
    {"clip_scale", "train/clip_scale"},
    {"loss_scale", "train/loss_scale"},
    {"skipped_steps", "train/skipped_steps"},
    {"fp8/*", "fp8/*"},
    {"micro_batches", "train/micro_batches"},
    {"spikes", "train/spikes"},
    {"tokens", "train/tokens"},
    {"validation_loss", "val/loss", Best::lowest},
    {"validation_perplexity", "val/perplexity", Best::lowest},
    {"validation_bits_per_byte", "val/bits_per_byte", Best::lowest},
    {"sample", "val/sample"},
    {"tasks/*", "tasks/*"},
    {"balance_loss", "router/balance_loss"},
    {"z_loss", "router/z_loss"},
    {"sequence_loss", "router/sequence_loss"},
    {"expert_load_cv", "router/load_cv"},
    {"expert_load_entropy", "router/load_entropy"},
    {"expert_load_max_over_mean", "router/load_max_over_mean"},
    {"dead_experts", "router/dead_experts"},
    {"dropped_share", "router/dropped_share"},
    {"router_confidence", "router/confidence"},
    {"layers/expert_counts", "router/layers/expert_load"},
    {"layers/attention_sink", "model/layers/attention_sink"},
    {"layers/gate_mean", "model/layers/gate_mean"},
    {"layers/max_activation", "model/layers/max_activation"},
    {"layers/router_confidence", "router/layers/confidence"},
    {"layers/*", "router/layers/*"},
    {"tokens_per_second", "perf/tokens_per_second"},
    {"step_seconds", "perf/step_seconds"},
    {"data_wait_seconds", "perf/data_wait_seconds"},
    {"model_flops_per_second", "perf/model_flops_per_second"},
    {"mfu", "perf/mfu"},
    {"memory_bytes", "perf/memory_bytes"},
    {"memory/*", "perf/memory/*"},
    {"seconds/*", "perf/seconds/*"},
    {"start_seconds/*", "perf/start_seconds/*"},
    {"checkpoint_write_seconds", "perf/checkpoint_write_seconds"},
    {"ranks/*", "perf/ranks/*"},
    {"device", "perf/device"},
    {"data_queue", "data/queue"},
    {"data_padding_share", "data/padding_share"},
    {"data_epoch", "data/epoch"},
    {"data_epoch/*", "data/epoch/*"},
    {"data_stage", "data/stage"},
    {"data_text_bytes", "data/text_bytes"},
    {"network_*", "data/network_*"},
    {"parameters", "model/parameters"},
    {"active_parameters", "model/active_parameters"},
    {"weight_norm", "model/weight_norm"},
    {"weight_norm/*", "model/weight_norm/*"},
    {"update_ratio/*", "model/update_ratio/*"},
    {"attention_sink", "model/attention_sink"},
    {"attention_sink_uniform", "model/attention_sink_uniform"},
    {"gate_mean", "model/gate_mean"},
    {"max_activation", "model/max_activation"},
};

bool stands_for_many(std::string_view name) {
  return name.ends_with('*');
}

bool matches(std::string_view pattern, std::string_view name) {
  return stands_for_many(pattern) ? name.starts_with(pattern.substr(0, pattern.size() - 1)) : name == pattern;
}

// Of which a number a layer is worth a curve: the others are in heat maps.
constexpr std::array<std::string_view, 2> kByLayer = {"layers/entropy", "layers/max_over_mean"};

void add_layers(Row& row, const std::string& name, const std::vector<double>& values, int64_t first_layer) {
  const std::string_view what = std::string_view(name).substr(name.find('/') + 1);
  for (size_t i = 0; i < values.size(); ++i)
    row.add(fmt::format("router_layers/{}/{:02}", what, first_layer + static_cast<int64_t>(i)), values[i]);
}

}  // namespace

std::span<const ShownMetric> shown_metrics() {
  return kShown;
}

std::string shown_name(std::string_view name) {
  const auto* const found =
      std::ranges::find_if(kShown, [name](const ShownMetric& metric) { return matches(metric.name, name); });
  if (found == std::end(kShown)) return std::string(name);
  if (!stands_for_many(found->name)) return std::string(found->shown);
  return std::string(found->shown.substr(0, found->shown.size() - 1))
      .append(name.substr(found->name.size() - 1));
}

Best best_of(std::string_view shown) {
  if (shown.starts_with("tasks/") && (shown.ends_with("/acc") || shown.ends_with("/acc_norm")))
    return Best::highest;
  const auto* const found =
      std::ranges::find_if(kShown, [shown](const ShownMetric& metric) { return metric.shown == shown; });
  return found == std::end(kShown) ? Best::none : found->best;
}

void ShownNames::write(const Row& row) {
  if (row.find("alert") != nullptr) return sink_->write(row);
  Row shown{.step = row.step, .values = {}};
  shown.values.reserve(row.values.size());
  for (const auto& [name, value] : row.values) shown.values.emplace_back(shown_name(name), value);
  for (const std::string_view name : kByLayer)
    if (const Row::Value* value = row.find(name); value != nullptr)
      if (const auto* list = std::get_if<std::vector<double>>(value))
        add_layers(shown, std::string(name), *list, first_layer_);
  sink_->write(shown);
}

}  // namespace moe::metrics
