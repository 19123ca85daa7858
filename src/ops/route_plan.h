// SPDX-License-Identifier: MIT
// Which rows go to which expert. Letters as in ops/ops.h.
#pragma once

#include <cstdint>
#include <limits>

#include "tensor/tensor.h"

namespace moe {

// Written by Ops::route_plan, read by the ops after it. All i32.
// Rows of expert e are [offset[e], offset[e+1]): first choices in token order, then second choices, and so
// on. Offsets out of order and experts that do not exist are found on the CPU only; a GPU does not look.
struct RoutePlan {
  Tensor offset_E1;     // [E+1]; offset[E] = rows in use, at most R
  Tensor slot_R;        // row -> assignment n*K + k; entries past offset[E] are unspecified
  Tensor row_NK;        // assignment -> row, or -1 where dropped or padding
  Tensor count_E;       // assignments asked for, the dropped ones included
  Tensor top1_count_E;  // of these, first choices
};

// How many rows an expert may take; what more it is asked for is dropped.
struct Capacity {
  // A limit that nobody reaches. No number of rows stands for "none": a share that is rounded down must not
  // become it.
  static constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
  int64_t rows = kNoLimit;  // counted in the order of RoutePlan; at least 1
  int64_t tokens = 0;       // from each so many consecutive tokens, which divide N; 0: from all
};

// The parts of a plan agree with each other. rows: R = N*K.
void check_plan(const RoutePlan& plan, int64_t rows);

}  // namespace moe
