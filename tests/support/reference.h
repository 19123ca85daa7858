// SPDX-License-Identifier: MIT
// Definitions in double precision, for operations that no outside library defines better: the matrix product
// and softmax attention, written the slow way.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace moe::test {

using Values = std::vector<double>;

// Where row-major matrices keep element (i, j); transposed: (j, i).
struct Layout {
  size_t stride;
  bool transposed = false;
  size_t at(size_t i, size_t j) const { return transposed ? j * stride + i : i * stride + j; }
};

// op(a)[m,k] op(b)[k,n].
inline Values reference_product(const Values& a, Layout a_layout, const Values& b, Layout b_layout, size_t m,
                                size_t n, size_t k) {
  Values c(m * n);
  for (size_t i = 0; i < m; ++i)
    for (size_t j = 0; j < n; ++j)
      for (size_t l = 0; l < k; ++l) c[i * n + j] += a[a_layout.at(i, l)] * b[b_layout.at(l, j)];
  return c;
}

// Attention of one row of `length` tokens; token t sees keys [first[t], t], none when first[t] is -1.
struct ReferenceAttention {
  Values output;  // [length, heads, dim]
  Values lse;     // [length, heads]
};
inline ReferenceAttention reference_attention(const double* q, const double* k, const double* v,
                                              const std::vector<int32_t>& first, size_t heads,
                                              size_t kv_heads, size_t dim) {
  const size_t length = first.size();
  ReferenceAttention result{Values(length * heads * dim), Values(length * heads)};
  for (size_t t = 0; t < length; ++t)
    for (size_t h = 0; h < heads && first[t] >= 0; ++h) {
      const size_t kv = h / (heads / kv_heads), low = static_cast<size_t>(first[t]);
      Values score(t + 1 - low);
      for (size_t s = low; s <= t; ++s) {
        for (size_t i = 0; i < dim; ++i)
          score[s - low] += q[(t * heads + h) * dim + i] * k[(s * kv_heads + kv) * dim + i];
        score[s - low] /= std::sqrt(static_cast<double>(dim));
      }
      const double largest = *std::max_element(score.begin(), score.end());
      double total = 0;
      for (double& x : score) total += (x = std::exp(x - largest));
      result.lse[t * heads + h] = largest + std::log(total);
      for (size_t s = low; s <= t; ++s)
        for (size_t i = 0; i < dim; ++i)
          result.output[(t * heads + h) * dim + i] +=
              score[s - low] / total * v[(s * kv_heads + kv) * dim + i];
    }
  return result;
}

}  // namespace moe::test
