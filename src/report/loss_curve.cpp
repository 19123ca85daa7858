// SPDX-License-Identifier: MIT
#include "report/loss_curve.h"

#include <algorithm>
#include <cmath>

#include "report/rows.h"

namespace moe::report {

double LossCurve::best() const {
  return std::min_element(points.begin(), points.end(),
                          [](const Point& a, const Point& b) { return a.loss < b.loss; })
      ->loss;
}

LossCurve read_loss_curve(const std::filesystem::path& metrics) {
  LossCurve curve;
  RowFile(metrics).read([&] { curve = {}; },
                        [&](const metrics::Row& row) {
                          if (const auto seconds = row.number("step_seconds")) curve.seconds += *seconds;
                          const auto loss = row.number("validation_loss"), tokens = row.number("tokens");
                          if (loss && tokens)
                            curve.points.push_back({row.step, *tokens, curve.seconds, *loss});
                        });
  return curve;
}

std::optional<LossCurve::Point> first_at(const LossCurve& curve, double loss) {
  const auto& points = curve.points;
  const auto found = std::find_if(points.begin(), points.end(),
                                  [&](const LossCurve::Point& point) { return point.loss <= loss; });
  if (found == points.end()) return std::nullopt;
  if (found == points.begin()) return *found;
  const LossCurve::Point &before = *std::prev(found), &after = *found;
  const double drop = before.loss - after.loss;
  // A loss that is not finite has no line to the next.
  const double share = std::isfinite(drop) ? (before.loss - loss) / drop : 1;
  const auto between = [share](double a, double b) { return std::lerp(a, b, share); };
  return LossCurve::Point{.step = after.step,
                          .tokens = between(before.tokens, after.tokens),
                          .seconds = between(before.seconds, after.seconds),
                          .loss = loss};
}

}  // namespace moe::report
