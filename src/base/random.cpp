// SPDX-License-Identifier: MIT
#include "base/random.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

namespace moe {
namespace {

__extension__ using uint128 = unsigned __int128;  // gcc and clang both have it; ISO C++ does not

}  // namespace

std::array<uint32_t, 4> Random::block(uint64_t index) const {
  return philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                 static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32)},
                {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
}

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
  const auto r = block(index);
  const double u = (static_cast<double>(r[0]) + 1.0) * 0x1.0p-32;  // (0, 1]: the logarithm is finite
  const double v = static_cast<double>(r[1]) * 0x1.0p-32;
  return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v));
}

std::vector<uint32_t> Random::permutation(uint32_t n) const {
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  for (uint32_t i = n; i > 1; --i) std::swap(order[i - 1], order[below(i, i)]);
  return order;
}

}  // namespace moe
