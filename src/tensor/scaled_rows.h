// SPDX-License-Identifier: MIT
// A matrix in FP8 (base/fp8.h): bytes, with one scale for each row.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace moe {

// What became of a matrix when it was quantised: i32 [4], which whoever quantises adds to. Of every 16th row
// of each matrix (kCensusRows): the bits of its largest size (a maximum), and how many numbers were not zero,
// of these became zero, and were too large or not finite.
enum class Census : uint8_t { largest, nonzero, flushed, saturated, kEntries };
inline constexpr int64_t kCensusRows = 16;

// x[r, c] = scale[r] * value[r, c]. value: e4m3 or e5m2, [R, C] or [E, R, C]; scale: f32, [R] or [E, R]. A
// row with a number that is not finite has the scale NaN. census: none, or as above.
struct ScaledRows {
  Tensor value, scale;
  Tensor census = {};

  bool empty() const { return value.empty(); }
  ScaledRows rows(int64_t begin, int64_t end) const {
    return {value.rows(begin, end), scale.rows(begin, end), census};
  }
  void check(const char* what) const;
};

}  // namespace moe
