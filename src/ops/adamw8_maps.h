// SPDX-License-Identifier: MIT
// The two 256-entry maps of 8-bit optimizer states: code -> value as a fraction of its block's largest
// magnitude. Bit for bit the "dynamic" maps of bitsandbytes (Dettmers et al., "8-bit Optimizers via
// Block-wise Quantization", arXiv 2110.02861): seven decades, 10^-7 to 1, each cut evenly, twice as finely
// from one decade to the next. tests/ops/adamw8_test.cpp holds their SHA-256 against the values torch
// computes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

namespace moe::adamw8 {

using Map = std::array<float, 256>;

// j-th of count + 1 boundaries spread evenly from 0.1 to 1, as torch.linspace rounds them: from both ends,
// with a fused multiply-add in f32. Products of these small factors are exact in double, so the one rounding
// is the fused one.
constexpr float boundary(int j, int count) {
  const float first = 0.1F, step = (1.0F - first) / static_cast<float>(count);
  if (j < (count + 1) / 2)
    return static_cast<float>(static_cast<double>(step) * j + static_cast<double>(first));
  return static_cast<float>(static_cast<double>(-step) * (count - j) + 1.0);
}

constexpr Map make_map(bool with_sign) {
  constexpr std::array<float, 7> kDecade = {1e-6F, 1e-5F, 1e-4F, 1e-3F, 1e-2F, 1e-1F, 1.0F};
  Map map{};  // one entry stays 0
  size_t used = 1;
  map[0] = 1.0F;
  for (size_t i = 0; i < kDecade.size(); ++i) {
    const int count = 1 << (with_sign ? i : i + 1);
    for (int j = 0; j < count; ++j) {
      const float value = kDecade[i] * ((boundary(j, count) + boundary(j + 1, count)) / 2.0F);
      map[used++] = value;
      if (with_sign) map[used++] = -value;
    }
  }
  std::sort(map.begin(), map.end());
  return map;
}

inline constexpr Map kSigned = make_map(true);     // first moment: 0 is code 127, 1 is 255, there is no -1
inline constexpr Map kUnsigned = make_map(false);  // second moment: 0 is code 0, 1 is 255

}  // namespace moe::adamw8
