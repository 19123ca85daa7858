// SPDX-License-Identifier: MIT
// The decision of the op spike_guard, for the CPU and the GPU: one thread's work, in one order.
#pragma once

#include <cstdint>

namespace moe {

// Whether `now` is more than sigma standard deviations (of n - 1) above the mean of the last
// n = min(seen, H) entries of a ring. No spike with fewer than H / 2.
constexpr bool is_spike(const double* ring_H, int64_t H, int64_t seen, double now, double sigma) {
  const int64_t n = seen < H ? seen : H;
  if (n < H / 2) return false;
  double mean = 0, squares = 0;
  for (int64_t i = seen - n; i < seen; ++i) mean += ring_H[i % H];
  mean /= static_cast<double>(n);
  for (int64_t i = seen - n; i < seen; ++i) squares += (ring_H[i % H] - mean) * (ring_H[i % H] - mean);
  const double above = now - mean;
  return above > 0 && above * above > sigma * sigma * squares / static_cast<double>(n - 1);
}

// Looks at loss and norm, then remembers them. scale becomes `skip` for a spike.
constexpr void guard_step(float& scale, double* history_2H, int32_t& seen, int64_t H, double loss,
                          double norm, double sigma, float skip) {
  if (scale < 0) return;
  double* const norms = history_2H + H;
  if (is_spike(history_2H, H, seen, loss, sigma) || is_spike(norms, H, seen, norm, sigma)) scale = skip;
  history_2H[seen % H] = loss;
  norms[seen % H] = norm;
  ++seen;
}

}  // namespace moe
