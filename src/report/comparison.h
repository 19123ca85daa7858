// SPDX-License-Identifier: MIT
// Configurations ("arms") side by side, each trained with the same seeds: differences are taken seed by seed,
// where both arms had the same batches, so that what a seed does to both cancels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "report/estimate.h"
#include "report/loss_curve.h"

namespace moe::report {

struct ComparedRun {
  int64_t seed = 0;
  std::string folder;
  LossCurve curve;  // with one point at least
};

struct ComparedArm {
  std::string name;
  std::vector<std::string> differences;  // of its settings from those of the first arm, in words
  int64_t steps = 0;
  std::vector<ComparedRun> runs;  // the same seeds in the same order for each arm
};

struct Comparison {
  std::string length;             // how long runs are and why, in words
  std::vector<ComparedArm> arms;  // differences are to the first
};

// How an arm does over its seeds.
struct ArmSummary {
  Estimate loss, best;         // nats a token, at the end and at the lowest
  Estimate tokens_per_second;  // tokens over seconds in steps
  Estimate seconds;            // in steps
  Estimate difference;         // loss less that of the first arm with the same seed
  // To the final loss of the first arm with the same seed, over what the first arm took to come down to it;
  // of the seeds with which the arm comes there (n).
  Estimate tokens_share, seconds_share;
};
std::vector<ArmSummary> summarise(const Comparison& comparison);

// What the comparison shows of an arm against the first.
enum class Verdict : uint8_t {
  better,    // the interval of its difference lies below 0
  worse,     // above 0
  not_shown  // it holds 0, or there is one seed
};
Verdict verdict_of(const ArmSummary& summary);

// Lines for the terminal: first a verdict for each arm but the first, then a table, then in what settings the
// arms differ. most_differences: of an arm; further ones are counted.
std::string comparison_table(const Comparison& comparison, size_t most_differences);
// compare.json, and what the page draws: length, arms with their summaries, runs with their curves.
OrderedJson comparison_json(const Comparison& comparison);

}  // namespace moe::report
