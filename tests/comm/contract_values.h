// SPDX-License-Identifier: MIT
// The numbers that ranks start with, and what their sums must be, bit for bit.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "comm/communicator.h"

namespace moe::comm {

template <class T>
Tensor view(std::vector<T>& values) {
  return {values.data(), dtype_of<T>, {std::ssize(values)}};
}

// What rank r starts with; the same wherever it is computed.
template <class T>
std::vector<T> of_rank(int rank, size_t n) {
  const Random random(5, "rank " + std::to_string(rank));
  std::vector<T> values;
  for (size_t i = 0; i < n; ++i) values.push_back(static_cast<T>(1000 * random.normal(i)));
  return values;
}

// x_0 + x_1 + ... written out, in the type that sums have.
template <class T, class A>
std::vector<T> expected_sum(int size, size_t n) {
  std::vector<A> sum(n, A{});
  for (int r = 0; r < size; ++r) {
    const auto x = of_rank<T>(r, n);
    for (size_t i = 0; i < n; ++i) sum[i] = r == 0 ? static_cast<A>(x[i]) : sum[i] + static_cast<A>(x[i]);
  }
  std::vector<T> rounded;
  for (const A value : sum) rounded.push_back(static_cast<T>(value));
  return rounded;
}

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return std::ranges::equal(std::as_bytes(std::span(a)), std::as_bytes(std::span(b)));
}

}  // namespace moe::comm
