// SPDX-License-Identifier: MIT
#include "report/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/format.h"

namespace moe::report {
namespace {

// A value of each run, as an estimate.
template <class Value>
Estimate over_runs(const std::vector<ComparedRun>& runs, const Value& value) {
  std::vector<double> values;
  values.reserve(runs.size());
  for (const ComparedRun& run : runs) values.push_back(value(run));
  return estimate(values);
}

double tokens_per_second(const LossCurve& curve) {
  return curve.seconds > 0 ? curve.points.back().tokens / curve.seconds : 0;
}

ArmSummary summary_of(const ComparedArm& arm, const ComparedArm& first) {
  CHECK(arm.runs.size() == first.runs.size());
  ArmSummary summary{.loss = over_runs(arm.runs, [](const ComparedRun& run) { return run.curve.last(); }),
                     .best = over_runs(arm.runs, [](const ComparedRun& run) { return run.curve.best(); }),
                     .tokens_per_second = over_runs(
                         arm.runs, [](const ComparedRun& run) { return tokens_per_second(run.curve); }),
                     .seconds = over_runs(arm.runs, [](const ComparedRun& run) { return run.curve.seconds; }),
                     .difference = {},
                     .tokens_share = {},
                     .seconds_share = {}};
  std::vector<double> differences, tokens, seconds;
  for (size_t i = 0; i < arm.runs.size(); ++i) {
    const LossCurve &mine = arm.runs[i].curve, &other = first.runs[i].curve;
    differences.push_back(mine.last() - other.last());
    const auto here = first_at(mine, other.last()), there = first_at(other, other.last());
    if (!here || !there) continue;
    if (there->tokens > 0) tokens.push_back(here->tokens / there->tokens);
    if (there->seconds > 0) seconds.push_back(here->seconds / there->seconds);
  }
  summary.difference = estimate(differences);
  summary.tokens_share = estimate(tokens);
  summary.seconds_share = estimate(seconds);
  return summary;
}

// JSON has no infinity.
OrderedJson number(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson();
}

OrderedJson to_json(const Estimate& estimate) {
  if (estimate.n == 0) return {};
  OrderedJson json{{"n", estimate.n}, {"mean", number(estimate.mean)}};
  json["standard_error"] = estimate.spread ? number(estimate.spread->error) : OrderedJson();
  json["interval_95"] = estimate.spread
                            ? OrderedJson{number(estimate.spread->low), number(estimate.spread->high)}
                            : OrderedJson();
  return json;
}

OrderedJson to_json(const LossCurve& curve) {
  OrderedJson json{{"step", OrderedJson::array()},
                   {"tokens", OrderedJson::array()},
                   {"seconds", OrderedJson::array()},
                   {"validation_loss", OrderedJson::array()}};
  for (const LossCurve::Point& point : curve.points) {
    json["step"].push_back(point.step);
    json["tokens"].push_back(point.tokens);
    json["seconds"].push_back(point.seconds);
    json["validation_loss"].push_back(number(point.loss));
  }
  return json;
}

OrderedJson to_json(const ComparedRun& run, const ComparedRun& first) {
  const auto reached = first_at(run.curve, first.curve.last());
  return {{"seed", run.seed},
          {"folder", run.folder},
          {"loss", number(run.curve.last())},
          {"best_loss", number(run.curve.best())},
          {"difference", number(run.curve.last() - first.curve.last())},
          {"tokens", run.curve.points.back().tokens},
          {"seconds", run.curve.seconds},
          {"tokens_per_second", tokens_per_second(run.curve)},
          {"tokens_to_equal_loss", reached ? OrderedJson(reached->tokens) : OrderedJson()},
          {"seconds_to_equal_loss", reached ? OrderedJson(reached->seconds) : OrderedJson()},
          {"curve", to_json(run.curve)}};
}

const char* name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::better:
      return "better";
    case Verdict::worse:
      return "worse";
    case Verdict::not_shown:
      return "not_shown";
  }
  CHECK(false, "a verdict without a name");
}

// "high is better than low: its loss is 0.1200 lower (95 %: 0.1000 to 0.1400)".
std::string verdict_words(const std::string& name, const std::string& first, const ArmSummary& summary) {
  const Estimate& difference = summary.difference;
  const Verdict verdict = verdict_of(summary);
  const double mean = std::abs(difference.mean);
  const char* const side = difference.mean < 0 ? "lower" : "higher";
  if (!difference.spread)
    return fmt::format(
        "{} against {} is open: its loss is {:.4f} {}, but one seed tells no spread (--seeds 3)", name, first,
        mean, side);
  if (verdict == Verdict::not_shown)
    return fmt::format("{} against {} is open: its loss is {:.4f} {}, but {} seeds allow {:+.4f} to {:+.4f}",
                       name, first, mean, side, difference.n, difference.spread->low,
                       difference.spread->high);
  const double low = std::abs(difference.spread->low), high = std::abs(difference.spread->high);
  return fmt::format("{} is {} than {}: its loss is {:.4f} {} (95 %: {:.4f} to {:.4f})", name,
                     name_of(verdict), first, mean, side, std::min(low, high), std::max(low, high));
}

std::string with_error(const Estimate& estimate) {
  return estimate.spread ? fmt::format("{:.4f} +- {:.4f}", estimate.mean, estimate.spread->error)
                         : fmt::format("{:.4f}", estimate.mean);
}

std::string with_interval(const Estimate& estimate) {
  return estimate.spread ? fmt::format("{:+.4f} [{:+.4f}, {:+.4f}]", estimate.mean, estimate.spread->low,
                                       estimate.spread->high)
                         : fmt::format("{:+.4f}", estimate.mean);
}

// reached: seeds of all.
std::string share(const Estimate& estimate, int64_t seeds) {
  if (estimate.n == 0) return "not reached";
  const std::string mean = fmt::format("{:.1f} %", 100 * estimate.mean);
  return estimate.n == seeds ? mean : fmt::format("{} ({} of {})", mean, estimate.n, seeds);
}

}  // namespace

std::vector<ArmSummary> summarise(const Comparison& comparison) {
  std::vector<ArmSummary> summaries;
  summaries.reserve(comparison.arms.size());
  for (const ComparedArm& arm : comparison.arms)
    summaries.push_back(summary_of(arm, comparison.arms.front()));
  return summaries;
}

Verdict verdict_of(const ArmSummary& summary) {
  const auto& spread = summary.difference.spread;
  if (!spread || !std::isfinite(spread->low) || !std::isfinite(spread->high)) return Verdict::not_shown;
  return spread->high < 0 ? Verdict::better : spread->low > 0 ? Verdict::worse : Verdict::not_shown;
}

std::string comparison_table(const Comparison& comparison, size_t most_differences) {
  const std::vector<ComparedArm>& arms = comparison.arms;
  const std::string& first = arms.front().name;
  const std::vector<ArmSummary> summaries = summarise(comparison);
  size_t wide = 4;
  for (const ComparedArm& arm : arms) wide = std::max(wide, arm.name.size() + 1);
  const int64_t seeds = std::ssize(arms.front().runs);
  std::string text;
  for (size_t i = 1; i < arms.size(); ++i)
    text += fmt::format("verdict: {}\n", verdict_words(arms[i].name, first, summaries[i]));
  text +=
      fmt::format("{} arms, {} seed{}; {}\n", arms.size(), seeds, seeds == 1 ? "" : "s", comparison.length);
  const auto line = [&](const std::string& name, const auto&... cells) {
    text += fmt::format("{:<{}}{:>8}{:>18}{:>9}{:>29}{:>17}{:>17}{:>11}{:>12}\n", name, wide, cells...);
  };
  line("", "steps", "loss", "best", "difference, 95 %", "tokens to equal", "seconds to equal", "tokens/s",
       "time");
  for (size_t i = 0; i < arms.size(); ++i) {
    const ArmSummary& summary = summaries[i];
    line(arms[i].name, arms[i].steps, with_error(summary.loss), fmt::format("{:.4f}", summary.best.mean),
         i == 0 ? "-" : with_interval(summary.difference), share(summary.tokens_share, seeds),
         share(summary.seconds_share, seeds), format_count(summary.tokens_per_second.mean),
         format_duration(summary.seconds.mean));
  }
  text += fmt::format(
      "loss: validation_loss, nats a token, +- its standard error. difference: to {0} with the same seed. to "
      "equal:\nto the final loss of {0}, as a share of what {0} took. time: in steps\n",
      first);
  for (const ComparedArm& arm : arms) {
    const size_t shown = std::min(most_differences, arm.differences.size());
    for (size_t i = 0; i < shown; ++i)
      text += fmt::format("  {:<{}}{}\n", arm.name, wide, arm.differences[i]);
    if (const size_t more = arm.differences.size() - shown; more > 0)
      text += fmt::format("  {:<{}}and {} more (--verbose)\n", arm.name, wide, more);
  }
  return text;
}

OrderedJson comparison_json(const Comparison& comparison) {
  const std::vector<ArmSummary> summaries = summarise(comparison);
  OrderedJson arms = OrderedJson::array();
  for (size_t i = 0; i < summaries.size(); ++i) {
    const ComparedArm& arm = comparison.arms[i];
    const ArmSummary& summary = summaries[i];
    OrderedJson runs = OrderedJson::array();
    for (size_t k = 0; k < arm.runs.size(); ++k)
      runs.push_back(to_json(arm.runs[k], comparison.arms.front().runs[k]));
    arms.push_back(
        {{"name", arm.name},
         {"settings", arm.differences},
         {"steps", arm.steps},
         {"loss", to_json(summary.loss)},
         {"best_loss", to_json(summary.best)},
         {"difference", to_json(summary.difference)},
         {"verdict", i == 0 ? OrderedJson() : OrderedJson(name_of(verdict_of(summary)))},
         {"verdict_words", i == 0 ? "" : verdict_words(arm.name, comparison.arms.front().name, summary)},
         {"tokens_to_equal_loss_share", to_json(summary.tokens_share)},
         {"seconds_to_equal_loss_share", to_json(summary.seconds_share)},
         {"tokens_per_second", to_json(summary.tokens_per_second)},
         {"seconds", to_json(summary.seconds)},
         {"runs", runs}});
  }
  return {{"length", comparison.length}, {"arms", arms}};
}

}  // namespace moe::report
