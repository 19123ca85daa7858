// SPDX-License-Identifier: MIT
// The losses on held-out text of a run, with what it had spent by then, from its record (docs/metrics.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace moe::report {

struct LossCurve {
  struct Point {
    int64_t step = 0;
    double tokens = 0;   // trained on
    double seconds = 0;  // in steps, waits for data included; without validations, samples and checkpoints
    double loss = 0;     // validation_loss, nats a token
  };
  std::vector<Point> points;  // by step
  double seconds = 0;         // of all steps

  // Of a curve with points: the last loss, and the least.
  double last() const { return points.back().loss; }
  double best() const;
  bool reaches_step(int64_t step) const { return !points.empty() && points.back().step >= step; }
};

// metrics: metrics.jsonl of a run. No points where there is no such file. A step that was made again counts
// once.
LossCurve read_loss_curve(const std::filesystem::path& metrics);

// Where the curve first comes down to this loss, on straight lines between its points. Nothing where it never
// does. Its first point has no point before it: a curve that begins at or below the loss is there at once.
std::optional<LossCurve::Point> first_at(const LossCurve& curve, double loss);

}  // namespace moe::report
