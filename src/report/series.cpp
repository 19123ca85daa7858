// SPDX-License-Identifier: MIT
#include "report/series.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace moe::report {
namespace {

void merge(Series::Point& into, const Series::Point& other) {
  if (other.count > 0) {
    into.low = into.count > 0 ? std::min(into.low, other.low) : other.low;
    into.high = into.count > 0 ? std::max(into.high, other.high) : other.high;
  }
  into.step = other.step;
  into.sum += other.sum;
  into.count += other.count;
  into.taken += other.taken;
}

void merge(Map::Slice& into, const Map::Slice& other) {
  into.step = other.step;
  for (size_t i = 0; i < into.sum.size(); ++i) into.sum[i] += other.sum[i];
  into.count += other.count;
}

// Two and two together.
template <class Item>
void halve(std::vector<Item>& items) {
  for (size_t i = 0; i < items.size(); i += 2) {
    if (i > 0) items[i / 2] = std::move(items[i]);
    if (i + 1 < items.size()) merge(items[i / 2], items[i + 1]);
  }
  items.resize((items.size() + 1) / 2);
}

}  // namespace

void Series::add(int64_t step, double value) {
  last_ = value;
  Point point{.step = step, .sum = 0, .low = value, .high = value, .count = 0, .taken = 1};
  if (std::isfinite(value)) point.sum = value, point.count = 1;
  if (!points_.empty() && points_.back().taken < per_point_) {
    merge(points_.back(), point);
    return;
  }
  if (points_.size() == kMost) {
    halve(points_);
    per_point_ *= 2;
  }
  points_.push_back(point);
}

std::vector<CurvePoint> smoothed(const Series& series, double keep) {
  constexpr size_t kFew = 40;
  if (series.points().size() < kFew) keep = 0;
  std::vector<CurvePoint> curve;
  double sum = 0, weight = 0;
  for (const Series::Point& point : series.points()) {
    if (point.count == 0) continue;
    sum = keep * sum + (1 - keep) * point.mean();
    weight = keep * weight + (1 - keep);
    curve.push_back({.step = point.step, .value = sum / weight});
  }
  return curve;
}

void Map::add(int64_t step, size_t rows, size_t columns, std::span<const double> table) {
  if (table.empty()) return;
  if (slices_.empty()) rows_ = rows, columns_ = columns;
  if (rows != rows_ || columns != columns_) return;
  const auto finite = [](double value) { return std::isfinite(value) ? value : 0; };
  if (!slices_.empty() && slices_.back().count < per_slice_) {
    Slice& into = slices_.back();
    into.step = step;
    for (size_t i = 0; i < table.size(); ++i) into.sum[i] += finite(table[i]);
    ++into.count;
    return;
  }
  if (slices_.size() == most_) {
    halve(slices_);
    per_slice_ *= 2;
  }
  Slice& slice = slices_.emplace_back(Slice{.step = step, .sum = {}, .count = 1});
  for (const double value : table) slice.sum.push_back(finite(value));
}

}  // namespace moe::report
