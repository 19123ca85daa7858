// SPDX-License-Identifier: MIT
#include "metrics/alerts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace moe::metrics {

void AlertLimits::describe(Fields& fields) {
  fields
      .add("alert_loss_spike", loss_spike, "alert when the loss is so many standard deviations up; 0: never")
      .at_least(0);
  fields
      .add("alert_dead_steps", dead_steps,
           "alert when an expert has had no token for so many steps; 0: never")
      .at_least(0);
  fields.add("alert_dropped_share", dropped_share, "alert when more of the assignments are dropped; 0: never")
      .range(0, 1);
  fields
      .add("alert_data_wait_share", data_wait_share,
           "alert when more of the time goes in waiting for data; 0: never")
      .range(0, 1);
  fields
      .add("alert_fp8_lost_share", fp8_lost_share,
           "alert when FP8 loses more of the numbers at a place; 0: never")
      .range(0, 1);
}

Row alert_row(int64_t step, const std::string& kind, const std::string& text) {
  Row row{step, {}};
  row.add("alert", kind).add("alert_text", text);
  return row;
}

bool Alerts::quiet(int64_t step, const std::string& kind) const {
  const auto before = told_.find(kind);
  return before != told_.end() && step < before->second + kQuiet;
}

void Alerts::tell(int64_t step, const std::string& kind, const std::string& text) {
  told_[kind] = step;
  out_.write(alert_row(step, kind, text));
}

void Alerts::write(const Row& row) {
  const auto loss = row.number("loss");
  if (!loss || row.find("alert") != nullptr) return;
  ++rows_;
  step_ = row.step;
  look_at_loss(row, *loss);
  if (limits_.dead_steps > 0) look_at_experts(row);
  if (limits_.fp8_lost_share > 0) look_at_fp8(row);
  if (const auto dropped = row.number("dropped_share"))
    look_at_share(
        row, "dropped", limits_.dropped_share, dropped_, *dropped,
        "{:.0f} % of the assignments are dropped: raise model.aux_loss_weight (more even experts) or "
        "model.capacity_factor (0 drops none)");
  const auto waited = row.number("data_wait_seconds"), step = row.number("step_seconds");
  if (waited && step && *step > 0)
    look_at_share(
        row, "data_starved", limits_.data_wait_share, waiting_, *waited / *step,
        "{:.0f} % of the time is spent waiting for data: raise data.num_workers and data.read_threads, or "
        "tokenize once with `moe tokenize`");
}

void Alerts::look_at_loss(const Row& row, double loss) {
  if (!std::isfinite(loss)) return;  // the trainer tells
  const double mean = loss_.value().value_or(loss);
  const double deviation = std::sqrt(std::max(squares_.value().value_or(0), 1e-6));
  if (limits_.loss_spike > 0 && rows_ > kWarmUp && loss - mean > limits_.loss_spike * deviation &&
      !quiet(row.step, "loss_spike")) {
    tell(row.step, "loss_spike",
         fmt::format("the loss is {:.3f}, {:.1f} standard deviations over its running mean {:.3f}: if it "
                     "does not come "
                     "back, resume from the checkpoint before with a lower training.learning_rate",
                     loss, (loss - mean) / deviation, mean));
  }
  // A spike must not hide the next one: it counts as no more than three deviations.
  const double counted = rows_ > kWarmUp ? std::min(loss, mean + 3 * deviation) : loss;
  if (rows_ > 1) squares_.add((counted - mean) * (counted - mean));
  loss_.add(counted);
}

// Of all places, the one that loses the largest share.
void Alerts::look_at_fp8(const Row& row) {
  constexpr std::string_view kBegin = "fp8/", kFlushed = "/flushed_share", kSaturated = "/saturated_share";
  double most = 0;
  std::string text;
  for (const auto& [name, value] : row.values) {
    const bool flushed = name.ends_with(kFlushed);
    if (!name.starts_with(kBegin) || !(flushed || name.ends_with(kSaturated))) continue;
    // What vanishes there is less than 2^-32 of the largest: 50,000 of them are nothing beside it.
    if (flushed && name == "fp8/logits_gradient/flushed_share") continue;
    const double share = row.number(name).value_or(0);
    if (share <= std::max(most, limits_.fp8_lost_share)) continue;
    most = share;
    const size_t end = (flushed ? kFlushed : kSaturated).size();
    text = fmt::format(
        "{:.1f} % of the numbers of {} {} in FP8: set training.mixed_precision to bf16, or keep "
        "the layers at both ends in bf16 with training.fp8_bf16_layers",
        100 * share, name.substr(kBegin.size(), name.size() - kBegin.size() - end),
        flushed ? "become 0" : "are too large or not finite");
  }
  if (most > 0 && !quiet(row.step, "fp8_lost")) tell(row.step, "fp8_lost", text);
}

void Alerts::look_at_experts(const Row& row) {
  const Row::Value* value = row.find("layers/expert_counts");
  const auto* counts = value ? std::get_if<std::vector<std::vector<double>>>(value) : nullptr;
  if (!counts) return;
  ++looks_;
  idle_.resize(counts->size());
  for (size_t layer = 0; layer < counts->size(); ++layer) {
    idle_[layer].resize((*counts)[layer].size());
    for (size_t expert = 0; expert < idle_[layer].size(); ++expert) {
      int64_t& idle = idle_[layer][expert];
      idle = (*counts)[layer][expert] > 0 ? 0 : idle + 1;
    }
  }
  if (!quiet(row.step, "dead_experts")) tell_of_experts(row.step);
}

// All that are dead, if one of them died since that was told last.
void Alerts::tell_of_experts(int64_t step) {
  int64_t dead = 0;
  bool fresh = false;
  std::string where;
  for (size_t layer = 0; layer < idle_.size(); ++layer) {
    for (size_t expert = 0; expert < idle_[layer].size(); ++expert) {
      const int64_t dead_for = idle_[layer][expert] - limits_.dead_steps;
      if (dead_for < 0) continue;
      fresh |= looks_ - dead_for > looks_told_;
      if (++dead <= 4)
        where += fmt::format("{}layer {} expert {}", where.empty() ? "" : ", ",
                             first_layer_ + static_cast<int64_t>(layer), expert);
    }
  }
  if (!fresh) return;
  looks_told_ = looks_;
  tell(step, "dead_experts",
       fmt::format("{} experts have had no token for {} steps ({}{}): raise model.aux_loss_weight", dead,
                   limits_.dead_steps, where, dead > 4 ? ", ..." : ""));
}

void Alerts::finish(int /*exit_code*/) {
  if (limits_.dead_steps > 0) tell_of_experts(step_);
}

void Alerts::look_at_share(const Row& row, const std::string& kind, double limit, Smoothed& share, double now,
                           const std::string& text) {
  if (!std::isfinite(now)) return;
  share.add(now);
  const double mean = *share.value();
  if (limit > 0 && rows_ > kWarmUp && mean > limit && !quiet(row.step, kind))
    tell(row.step, kind, fmt::format(fmt::runtime(text), 100 * mean));
}

}  // namespace moe::metrics
