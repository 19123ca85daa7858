// SPDX-License-Identifier: MIT
// The sequence-wise balance loss is linear in the probabilities: its slopes, for the loss and its gradient.
// Internal to cpu/.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/threads.h"
#include "tensor/tensor.h"

namespace moe::cpu {

inline int64_t count_tokens(const int32_t* first, int64_t count) {
  return std::count_if(first, first + count, [](int32_t f) { return f >= 0; });
}

// slope_BE[b, e] = d(SequenceLoss) / d(probability_NE[n, e]), the same for all tokens n of row b that are not
// padding.
inline void sequence_slopes(ThreadPool& pool, float* slope_BE, const Tensor& expert_NK,
                            const Tensor& doc_start_BT, int64_t experts) {
  const int64_t B = doc_start_BT.dim(0), T = doc_start_BT.dim(1), K = expert_NK.dim(1);
  const int32_t *first = doc_start_BT.as<int32_t>(), *expert = expert_NK.as<int32_t>();
  int64_t rows = 0;  // that have tokens
  for (int64_t b = 0; b < B; ++b) rows += count_tokens(first + b * T, T) > 0 ? 1 : 0;
  pool.parallel_for(B, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* slope = slope_BE + b * experts;
      std::fill(slope, slope + experts, 0.0F);
      // Counts of fewer than 2^24 choices are exact in f32.
      for (int64_t i = b * T * K; i < (b + 1) * T * K; ++i)
        if (expert[i] >= 0) ++slope[expert[i]];
      const auto tokens = static_cast<double>(std::max<int64_t>(1, count_tokens(first + b * T, T)));
      const double factor = static_cast<double>(experts) /
                            (static_cast<double>(K * std::max<int64_t>(1, rows)) * tokens * tokens);
      for (int64_t e = 0; e < experts; ++e)
        slope[e] = static_cast<float>(static_cast<double>(slope[e]) * factor);
    }
  });
}

}  // namespace moe::cpu
