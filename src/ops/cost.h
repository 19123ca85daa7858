// SPDX-License-Identifier: MIT
// What an op costs, for `moe bench` and profilers: arithmetic of its products, traffic of its tensors.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "tensor/tensor.h"

namespace moe {

// Each tensor moved once. A tensor that is read and written is named twice; an empty one costs nothing.
inline double bytes_of(std::initializer_list<Tensor> tensors) {
  double bytes = 0;
  for (const Tensor& tensor : tensors) bytes += static_cast<double>(tensor.bytes());
  return bytes;
}

// Of an M x N x K product.
inline double product_flops(int64_t m, int64_t n, int64_t k) {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

}  // namespace moe
