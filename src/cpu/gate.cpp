// SPDX-License-Identifier: MIT
// The gate on the attention output. Outputs may be inputs here, so each piece of a row is computed into local
// arrays first and stored after: the compiler then knows that nothing overlaps, and vectorises.
#include "ops/contracts/gate.h"

#include <algorithm>

#include "cpu/cpu_ops.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kTokens = 32;
constexpr int64_t kPiece = 64;

template <class T>
void gate_row(T* y, const T* o, const T* gate, int64_t d) {
  for (int64_t begin = 0; begin < d; begin += kPiece) {
    const int64_t count = std::min(kPiece, d - begin);
    float out[kPiece];
    for (int64_t i = 0; i < count; ++i) out[i] = to_float(o[begin + i]) * sigmoid(to_float(gate[begin + i]));
    store_row(y + begin, out, count);
  }
}

template <class T>
void gate_row_backward(T* d_o, T* dgate, const T* dy, const T* o, const T* gate, int64_t d) {
  for (int64_t begin = 0; begin < d; begin += kPiece) {
    const int64_t count = std::min(kPiece, d - begin);
    float to_o[kPiece], to_gate[kPiece];
    for (int64_t i = 0; i < count; ++i) {
      const float s = sigmoid(to_float(gate[begin + i])), g = to_float(dy[begin + i]);
      to_o[i] = g * s;
      to_gate[i] = g * to_float(o[begin + i]) * s * (1.0F - s);
    }
    store_row(d_o + begin, to_o, count);
    store_row(dgate + begin, to_gate, count);
  }
}

}  // namespace

void CpuOps::gate_forward(Tensor y_NHd, const Tensor& o_NHd, const Tensor& packed_NP, Heads heads) {
  contracts::check_gate_forward(y_NHd, o_NHd, packed_NP, heads);
  const int64_t d = heads.dim, query = heads.query, width = heads.packed();
  with_type(packed_NP.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* y = y_NHd.as<T>();
    const T *o = o_NHd.as<T>(), *packed = packed_NP.as<T>();
    pool_.parallel_for(packed_NP.dim(0), kTokens, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        for (int64_t h = 0; h < query; ++h) {
          const int64_t at = (t * query + h) * d;
          gate_row(y + at, o + at, packed + t * width + (2 * h + 1) * d, d);
        }
    });
  });
}

void CpuOps::gate_backward(Tensor do_NHd, Tensor dpacked_NP, const Tensor& dy_NHd, const Tensor& o_NHd,
                           const Tensor& packed_NP, Heads heads) {
  contracts::check_gate_backward(do_NHd, dpacked_NP, dy_NHd, o_NHd, packed_NP, heads);
  const int64_t d = heads.dim, query = heads.query, width = heads.packed();
  with_type(packed_NP.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T *d_o = do_NHd.as<T>(), *dpacked = dpacked_NP.as<T>();
    const T *dy = dy_NHd.as<T>(), *o = o_NHd.as<T>(), *packed = packed_NP.as<T>();
    pool_.parallel_for(packed_NP.dim(0), kTokens, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        for (int64_t h = 0; h < query; ++h) {
          const int64_t at = (t * query + h) * d, gate = t * width + (2 * h + 1) * d;
          gate_row_backward(d_o + at, dpacked + gate, dy + at, o + at, packed + gate, d);
        }
    });
  });
}

}  // namespace moe::cpu
