// SPDX-License-Identifier: MIT
// gate_backward: what one pass over the gate, the gated output and its gradient gives.
#include "cpu/gate.h"

#include <algorithm>

#include "cpu/cpu_ops.h"

namespace moe::cpu {
namespace {

constexpr int64_t kTokens = 32;

// As gate_row in local arrays: d_o may be dy.
template <class T>
void gate_row_backward(T* d_o, T* dgate, const T* dy, const T* y, const T* gate, int64_t d) {
  for (int64_t begin = 0; begin < d; begin += kGatePiece) {
    const int64_t count = std::min(kGatePiece, d - begin);
    float to_o[kGatePiece], to_gate[kGatePiece];
    for (int64_t i = 0; i < count; ++i) {
      const float s = sigmoid(to_float(gate[begin + i])), g = to_float(dy[begin + i]);
      to_o[i] = g * s;
      to_gate[i] = g * to_float(y[begin + i]) * (1.0F - s);
    }
    store_row(d_o + begin, to_o, count);
    store_row(dgate + begin, to_gate, count);
  }
}

}  // namespace

void CpuOps::gate_backward(GateBackward op) {
  op.check();
  const int64_t d = op.heads.dim, query = op.heads.query, width = op.heads.packed();
  float* delta = op.delta_NH.as<float>();
  with_type(op.packed_NP.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T *d_o = op.do_NHd.as<T>(), *dpacked = op.dpacked_NP.as<T>();
    const T *dy = op.dy_NHd.as<T>(), *y = op.y_NHd.as<T>(), *packed = op.packed_NP.as<T>();
    pool_.parallel_for(op.packed_NP.dim(0), kTokens, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        for (int64_t h = 0; h < query; ++h) {
          const int64_t at = (t * query + h) * d, gate = t * width + op.heads.gate(h);
          delta[t * query + h] = dot(dy + at, y + at, d);
          if (op.heads.gated) gate_row_backward(d_o + at, dpacked + gate, dy + at, y + at, packed + gate, d);
        }
    });
  });
}

}  // namespace moe::cpu
