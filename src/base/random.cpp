// SPDX-License-Identifier: MIT
#include "base/random.h"

#include <cmath>
#include <numeric>
#include <utility>

namespace moe {
namespace {

__extension__ using uint128 = unsigned __int128;  // gcc and clang both have it; ISO C++ does not

struct HostMath {
  double sqrt(double x) const { return std::sqrt(x); }
  double log(double x) const { return std::log(x); }
  double cos(double x) const { return std::cos(x); }
};

}  // namespace

uint64_t Random::bits(uint64_t index) const {
  const auto r = block(index);
  return (uint64_t{r[1]} << 32) | r[0];
}

float Random::uniform(uint64_t index) const {
  return static_cast<float>(block(index)[0] >> 8) * 0x1.0p-24f;
}

uint64_t Random::below(uint64_t index, uint64_t n) const {
  return static_cast<uint64_t>((static_cast<uint128>(bits(index)) * n) >> 64);
}

float Random::normal(uint64_t index) const {
  return static_cast<float>(normal_of(block(index), HostMath()));
}

std::vector<uint32_t> Random::permutation(uint32_t n) const {
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  for (uint32_t i = n; i > 1; --i) std::swap(order[i - 1], order[below(i, i)]);
  return order;
}

}  // namespace moe
