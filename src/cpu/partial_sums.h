// SPDX-License-Identifier: MIT
// A vector summed over many rows on many threads, to the same bits each time: every block of rows has a
// partial sum of its own in scratch, and the partial sums are added in the order of the blocks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/threads.h"
#include "cpu/scratch.h"

namespace moe::cpu {

class PartialSums {
 public:
  // Sums of `width` floats over `rows` rows, `block` rows at a time.
  PartialSums(ThreadPool& pool, Scratch& scratch, int64_t rows, int64_t block, int64_t width)
      : pool_(pool),
        rows_(rows),
        block_(block),
        width_(width),
        blocks_((rows + block - 1) / block),
        lease_(scratch.borrow(Scratch::padded<float>(blocks_ * width))),
        sums_(lease_.take<float>(blocks_ * width)) {}

  // body(sum, begin, end) adds rows [begin, end) to sum[0..width), which starts at zero.
  template <class Body>
  void for_each_block(Body&& body) {
    pool_.parallel_for(rows_, block_, [&](int64_t begin, int64_t end) {
      float* sum = sums_ + begin / block_ * width_;
      std::fill(sum, sum + width_, 0.0F);
      body(sum, begin, end);
    });
  }

  // total[0..width) += columns [first, first + width) of all rows.
  void add_to(float* total, int64_t first, int64_t width) const {
    pool_.parallel_for(width, kColumns, [&](int64_t begin, int64_t end) {
      double column[kColumns] = {};
      const int64_t count = end - begin;
      for (int64_t b = 0; b < blocks_; ++b) {
        const float* sum = sums_ + b * width_ + first + begin;
        for (int64_t i = 0; i < count; ++i) column[i] += static_cast<double>(sum[i]);
      }
      for (int64_t i = 0; i < count; ++i)
        total[begin + i] = static_cast<float>(static_cast<double>(total[begin + i]) + column[i]);
    });
  }

 private:
  static constexpr int64_t kColumns = 64;

  ThreadPool& pool_;
  int64_t rows_, block_, width_, blocks_;
  Scratch::Lease lease_;
  float* sums_;
};

}  // namespace moe::cpu
