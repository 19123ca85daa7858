// SPDX-License-Identifier: MIT
// Looks at the rows of a run for what a person should know about, and adds rows that say so: {"alert": kind,
// "alert_text": what was seen and what to try}. Kinds: loss_spike, spike_skipped, not_finite, dead_experts,
// dropped, data_starved, data_late.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/fields.h"
#include "metrics/meters.h"
#include "metrics/sink.h"

namespace moe::metrics {

// 0 turns an alert off.
struct AlertLimits {
  double loss_spike = 6;         // standard deviations over the running mean of the loss
  int64_t dead_steps = 100;      // successive rows without a token for an expert
  double dropped_share = 0.3;    // running mean
  double data_wait_share = 0.2;  // running mean of the share of a step spent waiting for data
  double fp8_lost_share = 0.05;  // of the numbers at one place that became 0 or too large in FP8

  void describe(Fields& fields);
};

// For what the trainer tells itself: steps that it skips or ends with (spike_skipped, not_finite), and text
// that it waits for (data_late).
Row alert_row(int64_t step, const std::string& kind, const std::string& text);

class Alerts final : public Sink {
 public:
  // Steps before the same kind is told again. What began within them and is still so at their end is told
  // then, or at the end of the run if that comes first.
  static constexpr int64_t kQuiet = 200;
  static constexpr int64_t kWarmUp = 50;  // rows before running means count

  // out: gets the alerts; outlives this object. Rows with "alert" are ignored, so it may write to this one as
  // well. first_layer: the layer of the first list in layers/expert_counts.
  Alerts(const AlertLimits& limits, Sink& out, int64_t first_layer = 0)
      : limits_(limits), out_(out), first_layer_(first_layer) {}
  void write(const Row& row) override;
  void finish(int exit_code) override;

 private:
  void look_at_loss(const Row& row, double loss);
  void look_at_experts(const Row& row);
  void tell_of_experts(int64_t step);
  void look_at_fp8(const Row& row);
  void look_at_share(const Row& row, const std::string& kind, double limit, Smoothed& share, double now,
                     const std::string& text);
  bool quiet(int64_t step, const std::string& kind) const;
  void tell(int64_t step, const std::string& kind, const std::string& text);

  AlertLimits limits_;
  Sink& out_;
  int64_t first_layer_;
  int64_t rows_ = 0, step_ = 0;
  Smoothed loss_{0.98}, squares_{0.98}, dropped_{0.95}, waiting_{0.95};
  std::vector<std::vector<int64_t>> idle_;  // rows since an expert had a token
  int64_t looks_ = 0, looks_told_ = 0;      // rows that idle_ counts; how many when its alert was told
  std::map<std::string, int64_t> told_;     // kind -> step
};

}  // namespace moe::metrics
