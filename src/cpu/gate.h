// SPDX-License-Identifier: MIT
// The gate on attention's output, shared by training and generation. Internal to cpu/.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/vector.h"
#include "ops/ops.h"

namespace moe::cpu {

inline constexpr int64_t kGatePiece = 64;

// y = sigmoid(gate) * y. Each piece is computed into a local array first and stored after, so that the
// compiler knows that nothing overlaps, and vectorises.
template <class T>
void gate_row(T* y, const T* gate, int64_t d) {
  for (int64_t begin = 0; begin < d; begin += kGatePiece) {
    const int64_t count = std::min(kGatePiece, d - begin);
    float out[kGatePiece];
    for (int64_t i = 0; i < count; ++i) out[i] = to_float(y[begin + i]) * sigmoid(to_float(gate[begin + i]));
    store_row(y + begin, out, count);
  }
}

// The same for `tokens` tokens and the heads of a kv head. y: the first of these heads, `stride` from a
// token to the next. packed: the row of the first token.
template <class T>
void gate_block(T* y, int64_t stride, const T* packed, const Heads& heads, int64_t kv_head, int64_t tokens) {
  const int64_t group = heads.query / heads.kv, d = heads.dim;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t h = 0; h < group; ++h)
      gate_row(y + t * stride + h * d, packed + t * heads.packed() + heads.gate(kv_head * group + h), d);
}

}  // namespace moe::cpu
