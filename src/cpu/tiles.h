// SPDX-License-Identifier: MIT
// From a product of tensors to tasks of the thread pool: the output is cut into tiles by its size alone,
// never by the number of threads, and never along k, so each element has one fixed order of summation.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/gemm.h"
#include "ops/ops.h"
#include "tensor/tensor.h"

namespace moe::cpu {

struct Tiles {
  int64_t height = 0, width = 0;  // of a tile; the last ones may be smaller
  int64_t down = 0, across = 0;   // number of tiles

  int64_t count() const { return down * across; }
};

// Tiles for `copies` outputs of m x n. A tile of 128 x 128 reaches about 90 % of the speed of a whole product
// on one core and larger ones more, so large outputs get large tiles, and small ones as many as 128 x 128
// allows.
inline Tiles cut(int64_t m, int64_t n, int64_t copies = 1) {
  constexpr int64_t kEnough = 32;
  Tiles tiles{512, 256, 0, 0};
  const auto divide = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const auto count = [&] {
    tiles.down = divide(m, tiles.height);
    tiles.across = divide(n, tiles.width);
    return copies * tiles.count();
  };
  while (count() < kEnough && std::max(tiles.height, tiles.width) > 128)
    (tiles.height >= tiles.width ? tiles.height : tiles.width) /= 2;
  return tiles;
}

// The product of whole matrices; shapes have been checked. c stays the caller's to write.
inline Product product(Tensor c_MN, const Tensor& a, const Tensor& b, MatmulLayout layout, bool accumulate) {
  Product p;
  p.m = c_MN.dim(0), p.n = c_MN.dim(1), p.k = a.dim(layout == MatmulLayout::TN ? 0 : 1);
  p.a = a.data(), p.b = b.data(), p.c = c_MN.data();
  p.a_stride = a.dim(1), p.b_stride = b.dim(1), p.c_stride = c_MN.dim(1);
  p.a_transposed = layout == MatmulLayout::TN, p.b_transposed = layout == MatmulLayout::NT,
  p.accumulate = accumulate;
  p.in = a.dtype(), p.out = c_MN.dtype();
  return p;
}

// The part of `whole` that writes tile `index`, counted along rows of tiles.
inline Product tile(const Product& whole, const Tiles& tiles, int64_t index) {
  const int64_t row = index / tiles.across * tiles.height, column = index % tiles.across * tiles.width;
  const auto in = static_cast<int64_t>(size_of(whole.in)), out = static_cast<int64_t>(size_of(whole.out));
  Product p = whole;
  p.m = std::min(tiles.height, whole.m - row);
  p.n = std::min(tiles.width, whole.n - column);
  p.a = static_cast<const char*>(whole.a) + row * (whole.a_transposed ? 1 : whole.a_stride) * in;
  p.b = static_cast<const char*>(whole.b) + column * (whole.b_transposed ? whole.b_stride : 1) * in;
  p.c = static_cast<char*>(whole.c) + (row * whole.c_stride + column) * out;
  return p;
}

}  // namespace moe::cpu
