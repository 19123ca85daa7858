// SPDX-License-Identifier: MIT
// Sizes of an attention, as its kernels take them.
#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/tensor.h"

namespace moe::gpu {

inline constexpr float kLog2E = 1.44269504088896340736F, kLn2 = 0.69314718055994530942F;

struct AttentionShape {
  int batch, length;  // sequences, tokens of each
  int heads, kv_heads, dim;
  int v_stride;  // from a token's values to the next one's, in elements
  float scale;   // of scores: 1 / sqrt(dim)

  AttentionShape(const Tensor& q_NHd, const Tensor& k_NGd, int64_t v_width, int64_t sequences)
      : batch(static_cast<int>(sequences)),
        length(static_cast<int>(q_NHd.dim(0) / sequences)),
        heads(static_cast<int>(q_NHd.dim(1))),
        kv_heads(static_cast<int>(k_NGd.dim(1))),
        dim(static_cast<int>(q_NHd.dim(2))),
        v_stride(static_cast<int>(v_width)),
        scale(1.0F / std::sqrt(static_cast<float>(dim))) {}
};

// Offset of a token's values for one kv head, from those of token 0 and head 0.
constexpr int64_t v_offset(int64_t token, const AttentionShape& s, int kv_head) {
  return token * s.v_stride + int64_t{kv_head} * s.dim;
}

// Offset of row (token, head) of a [N, heads, dim] tensor.
constexpr int64_t row_offset(int64_t token, int heads, int head, int dim) {
  return (token * heads + head) * dim;
}

}  // namespace moe::gpu
