// SPDX-License-Identifier: MIT
// Curves and maps of a bounded size, however many rows a run has: neighbours are put together as more come,
// and each point keeps the mean, the smallest and the largest of what went into it, so that no spike gets
// lost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace moe::report {

class Series {
 public:
  static constexpr size_t kMost = 1200;  // points
  struct Point {
    int64_t step = 0;  // of the last value in it
    double sum = 0, low = 0, high = 0;
    int64_t count = 0;  // finite values
    int64_t taken = 0;  // values, those that are no numbers included
    double mean() const { return sum / static_cast<double>(count); }  // count > 0
  };

  void add(int64_t step, double value);
  const std::vector<Point>& points() const { return points_; }
  bool merged() const { return per_point_ > 1; }
  double last() const { return last_; }  // value added

 private:
  std::vector<Point> points_;
  int64_t per_point_ = 1;
  double last_ = 0;
};

// A point of a curve.
struct CurvePoint {
  int64_t step = 0;
  double value = 0;
};
// The curve of the points' means, those without a finite value left out. keep in [0, 1): each is an
// exponential mean, keep of the one before and 1 - keep of its own, unbiased from the first point on. The
// page does the same (smoothed() in assets/report/report.js). A curve of less than 40 points stays as it is.
std::vector<CurvePoint> smoothed(const Series& series, double keep);

// Tables [rows][columns] over time.
class Map {
 public:
  explicit Map(size_t most = 120) : most_(most) {}
  struct Slice {
    int64_t step = 0;
    std::vector<double> sum;  // row by row
    int64_t count = 0;
  };

  // table: row by row, rows * columns numbers. Tables of another shape than the first are left out.
  void add(int64_t step, size_t rows, size_t columns, std::span<const double> table);
  const std::vector<Slice>& slices() const { return slices_; }
  size_t rows() const { return rows_; }
  size_t columns() const { return columns_; }

 private:
  size_t most_, rows_ = 0, columns_ = 0;
  std::vector<Slice> slices_;
  int64_t per_slice_ = 1;
};

}  // namespace moe::report
