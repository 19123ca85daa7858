// SPDX-License-Identifier: MIT
#include "train/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "metrics/expert_load.h"
#include "metrics/meters.h"
#include "tensor/fetch.h"

namespace moe::train {
namespace {

// How the router spread its work, for StepResult's counts and losses.
void add_router(const StepResult& result, metrics::Row& row) {
  if (result.expert_count.empty()) return;  // a model without experts
  std::vector<double> entropy, cv, max_over_mean, dead_share;
  int64_t dead = 0;
  for (const auto& count : result.expert_count) {
    const metrics::ExpertLoad load = metrics::expert_load(std::vector<int64_t>(count.begin(), count.end()));
    entropy.push_back(load.entropy);
    cv.push_back(load.cv);
    max_over_mean.push_back(load.max_over_mean);
    dead_share.push_back(load.dead_share);
    dead += std::count(count.begin(), count.end(), 0.0);
  }
  // One number for each at a glance, then the layers.
  row.add("balance_loss", metrics::mean(result.balance_loss))
      .add("z_loss", metrics::mean(result.z_loss))
      .add("expert_load_cv", metrics::mean(cv))
      .add("expert_load_entropy", metrics::mean(entropy))
      .add("expert_load_max_over_mean", *std::max_element(max_over_mean.begin(), max_over_mean.end()))
      .add("dead_experts", dead)
      .add("dropped_share", metrics::mean(result.dropped_share))
      .add("layers/balance_loss", result.balance_loss)
      .add("layers/z_loss", result.z_loss)
      .add("layers/entropy", entropy)
      .add("layers/load_cv", cv)
      .add("layers/max_over_mean", max_over_mean)
      .add("layers/dead_share", dead_share)
      .add("layers/dropped_share", result.dropped_share)
      .add("layers/expert_counts", result.expert_count);
  if (!result.sequence_loss.empty())
    row.add("sequence_loss", metrics::mean(result.sequence_loss))
        .add("layers/sequence_loss", result.sequence_loss);
}

// Of the whole step: E * sum over e of P_e f_e, both means over its tokens, in f64.
void read_balance_of_step(StepResult& result, const model::StepSums& sums, Device& device) {
  const auto first = fetch<int32_t>(sums.first_LE, device);
  const auto sum = fetch<double>(sums.balance_LE1, device);
  const auto L = static_cast<size_t>(sums.first_LE.dim(0)), E = static_cast<size_t>(sums.first_LE.dim(1));
  for (size_t l = 0; l < L; ++l) {
    const auto first_E = first.begin() + static_cast<std::ptrdiff_t>(l * E);
    const double tokens =
        std::max(1.0, std::accumulate(first_E, first_E + static_cast<std::ptrdiff_t>(E), 0.0));
    double balance = 0;
    for (size_t e = 0; e < E; ++e) balance += sum[l * (E + 1) + e] / tokens * (first[l * E + e] / tokens);
    result.balance_loss.push_back(static_cast<double>(E) * balance);
    result.z_loss.push_back(sum[l * (E + 1) + E] / tokens);
  }
}

// All layers together.
void read_fp8(StepResult& result, const model::Fp8Census& census, Device& device) {
  constexpr size_t kSites = model::kFp8Sites.size(), kEntries = static_cast<size_t>(Census::kEntries);
  const auto counts = fetch<int32_t>(census.all, device);
  for (size_t site = 0; site < kSites; ++site) {
    StepResult::Fp8Site& found = result.fp8.emplace_back();
    double nonzero = 0, flushed = 0, saturated = 0;
    for (size_t at = site * kEntries; at < counts.size(); at += kSites * kEntries) {
      const auto entry = [&](Census which) { return counts[at + static_cast<size_t>(which)]; };
      found.largest =
          std::max(found.largest, static_cast<double>(std::bit_cast<float>(entry(Census::largest))));
      nonzero += entry(Census::nonzero);
      flushed += entry(Census::flushed);
      saturated += entry(Census::saturated);
    }
    if (nonzero == 0) continue;
    found.flushed_share = flushed / nonzero;
    found.saturated_share = saturated / nonzero;
  }
}

}  // namespace

bool StepResult::finite() const {
  return std::isfinite(loss) && clip_scale >= 0;
}

StepResult read_step(const model::StepSums& sums, const model::Fp8Census& census, const Tensor& squares_g,
                     const Tensor& clip_scale_1, double loss_scale, int64_t targets, int64_t micro_batches,
                     Device& device) {
  StepResult result;
  result.loss = fetch<double>(sums.loss_1, device).front() / static_cast<double>(targets);
  result.loss_scale = loss_scale;
  const double scale = fetch<float>(clip_scale_1, device).front();
  result.spike = scale == SpikeGuard::kSkip;
  result.clip_scale = result.spike ? 0 : scale < 0 ? -1 : scale * loss_scale;
  double squares = 0;
  for (const double square : fetch<double>(squares_g, device)) {
    result.group_norm.push_back(std::sqrt(square) / loss_scale);
    squares += square;
  }
  result.gradient_norm = std::sqrt(squares) / loss_scale;
  if (!census.all.empty()) read_fp8(result, census, device);

  if (sums.count_LE.empty()) return result;
  if (!sums.first_LE.empty()) read_balance_of_step(result, sums, device);
  const bool own = sums.first_LE.empty();  // each micro-batch has its own balance loss
  if (!sums.sequence_loss_L.empty())
    for (const float loss : fetch<float>(sums.sequence_loss_L, device))
      result.sequence_loss.push_back(loss / static_cast<double>(micro_batches));
  const auto losses = fetch<float>(sums.router_loss_L2, device);
  const auto counts = fetch<int32_t>(sums.count_LE, device);
  const auto offsets = fetch<int32_t>(sums.offset_LE1, device);
  const auto L = static_cast<size_t>(sums.count_LE.dim(0)), E = static_cast<size_t>(sums.count_LE.dim(1));
  for (size_t layer = 0; layer < L; ++layer) {
    if (own) {
      result.balance_loss.push_back(losses[2 * layer] / static_cast<double>(micro_batches));
      result.z_loss.push_back(losses[2 * layer + 1] / static_cast<double>(micro_batches));
    }
    const auto first = counts.begin() + static_cast<std::ptrdiff_t>(layer * E);
    result.expert_count.emplace_back(first, first + static_cast<std::ptrdiff_t>(E));
    const double asked =
        std::accumulate(result.expert_count.back().begin(), result.expert_count.back().end(), 0.0);
    const double kept = offsets[layer * (E + 1) + E];
    result.dropped_share.push_back(asked > 0 ? 1.0 - kept / asked : 0.0);
  }
  return result;
}

metrics::Row training_row(const StepResult& result, const StepContext& context) {
  metrics::Row row;
  row.step = context.step;
  row.add("loss", result.loss)
      .add("perplexity", std::exp(result.loss))
      .add("learning_rate", context.learning_rate)
      .add("gradient_norm", result.gradient_norm)
      .add("clip_scale", result.clip_scale);
  for (size_t g = 0; g < result.group_norm.size(); ++g)
    row.add("gradient_norm/" + (*context.groups)[g], result.group_norm[g]);
  if (context.loss_scale != nullptr && context.loss_scale->dynamic())
    row.add("loss_scale", result.loss_scale).add("skipped_steps", context.loss_scale->skipped());
  for (size_t i = 0; i < result.fp8.size(); ++i) {
    const std::string site = fmt::format("fp8/{}/", model::kFp8Sites[i]);
    row.add(site + "largest", result.fp8[i].largest)
        .add(site + "flushed_share", result.fp8[i].flushed_share)
        .add(site + "saturated_share", result.fp8[i].saturated_share);
  }
  if (context.micro_batches) row.add("micro_batches", *context.micro_batches);
  if (context.spikes) row.add("spikes", *context.spikes);
  row.add("tokens", context.tokens)
      .add("tokens_per_second", context.tokens_per_second)
      .add("step_seconds", context.step_seconds)
      .add("data_wait_seconds", context.data_wait_seconds)
      .add("data_queue", context.data_queue)
      .add("data_padding_share", context.data_padding_share)
      .add("data_epoch", context.data_epoch)
      .add("data_stage", context.data_stage)
      .add("data_text_bytes", context.data_text_bytes)
      .add("memory_bytes", context.memory_bytes);
  for (size_t i = 0; i < context.epochs.size() && context.epochs.size() > 1; ++i)
    row.add(fmt::format("data_epoch/{}", i + 1), context.epochs[i]);
  if (const data::NetworkCounts& network = context.network; network.requests > 0)
    row.add("network_requests", network.requests)
        .add("network_bytes", network.bytes)
        .add("network_retries", network.retries)
        .add("network_rate_limited", network.rate_limited)
        .add("network_too_slow", network.too_slow)
        .add("network_wait_seconds", network.waited_seconds);

  const double flops = context.tokens_per_second * context.flops_per_token;
  row.add("model_flops_per_second", flops);
  if (context.peak_flops) row.add("mfu", flops / *context.peak_flops);
  for (const auto& [phase, seconds] : context.phase_seconds) row.add("seconds/" + phase, seconds);
  if (context.checkpoint_write_seconds)
    row.add("checkpoint_write_seconds", *context.checkpoint_write_seconds);
  if (context.stragglers)
    row.add("ranks/slowest", context.stragglers->slowest).add("ranks/lost_seconds", context.stragglers->lost);
  if (context.memory_table != nullptr)
    for (const auto& [category, bytes] : *context.memory_table) row.add("memory/" + category, bytes);
  if (context.hardware)
    row.add("device", context.hardware->device)
        .add("parameters", context.hardware->parameters)
        .add("active_parameters", context.hardware->active_parameters);
  if (context.start != nullptr)
    for (const auto& [part, seconds] : *context.start) row.add("start_seconds/" + part, seconds);
  add_router(result, row);
  return row;
}

metrics::Row tasks_row(const std::vector<tasks::TaskSet::Measured>& measured, int64_t step, int64_t tokens) {
  metrics::Row row;
  row.step = step;
  row.add("tokens", tokens);
  for (const tasks::TaskSet::Measured& one : measured)
    for (const auto& [name, value] : one.values)
      if (std::isfinite(value))  // no standard error of a single item
        row.add(fmt::format("tasks/{}/{}/{}", name_of(one.task), name_of(one.convention), name), value);
  return row;
}

metrics::Row validation_row(const Evaluation& evaluation, int64_t step, int64_t tokens) {
  metrics::Row row;
  row.step = step;
  row.add("validation_loss", evaluation.loss())
      .add("validation_perplexity", evaluation.perplexity())
      .add("validation_bits_per_byte", evaluation.bits_per_byte())
      .add("tokens", tokens);
  return row;
}

}  // namespace moe::train
