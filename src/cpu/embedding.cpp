// SPDX-License-Identifier: MIT
// Looking rows up, and adding their gradients back. Backward is cut along the columns, so that each element
// of dw is added to by one thread only, in the order of the tokens.
#include <cstring>

#include "cpu/cpu_ops.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kTokens = 64;   // per chunk, forward
constexpr int64_t kColumns = 32;  // per chunk, backward: two cache lines of dw

template <class T>
void add_columns(float* dw, const int32_t* id, const T* dx, float scale, int64_t n, int64_t d, int64_t begin,
                 int64_t end) {
  for (int64_t t = 0; t < n; ++t) {
    float* __restrict out = dw + id[t] * d;
    const T* __restrict in = dx + t * d;
    for (int64_t i = begin; i < end; ++i) out[i] += scale * to_float(in[i]);
  }
}

void check_ids(const int32_t* id, int64_t n, int64_t vocabulary) {
  int32_t low = 0, high = -1;
  for (int64_t t = 0; t < n; ++t) {
    low = std::min(low, id[t]);
    high = std::max(high, id[t]);
  }
  CHECK(low >= 0 && high < vocabulary, "token " + std::to_string(low < 0 ? low : high) +
                                           " outside the vocabulary of " + std::to_string(vocabulary));
}

// Rows as they are move as bytes; these are computed.
void scaled_rows(EmbeddingForward op, ThreadPool& pool) {
  const int64_t d = op.w_VD.dim(1);
  const int32_t* id = op.id_N.as<int32_t>();
  with_type(op.w_VD.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* x = op.x_ND.as<T>();
    const T* w = op.w_VD.as<T>();
    pool.parallel_for(op.id_N.numel(), kTokens, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        for (int64_t i = 0; i < d; ++i) x[t * d + i] = from_float<T>(op.scale * to_float(w[id[t] * d + i]));
    });
  });
}

}  // namespace

void CpuOps::embedding_forward(EmbeddingForward op) {
  op.check();
  const int32_t* id = op.id_N.as<int32_t>();
  check_ids(id, op.id_N.numel(), op.w_VD.dim(0));
  if (op.scale != 1) return scaled_rows(op, pool_);
  const int64_t row = op.w_VD.dim(1) * static_cast<int64_t>(size_of(op.w_VD.dtype()));
  char* x = static_cast<char*>(op.x_ND.data());
  const char* w = static_cast<const char*>(op.w_VD.data());
  pool_.parallel_for(op.id_N.numel(), kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) std::memcpy(x + t * row, w + id[t] * row, static_cast<size_t>(row));
  });
}

void CpuOps::embedding_backward(EmbeddingBackward op) {
  op.check();
  const int64_t n = op.dx_ND.dim(0), d = op.dx_ND.dim(1);
  const int32_t* id = op.id_N.as<int32_t>();
  check_ids(id, n, op.dw_VD.dim(0));
  float* dw = op.dw_VD.as<float>();
  with_type(op.dx_ND.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* dx = op.dx_ND.as<T>();
    pool_.parallel_for(d, kColumns, [&](int64_t begin, int64_t end) {
      add_columns(dw, id, dx, op.scale, n, d, begin, end);
    });
  });
}

}  // namespace moe::cpu
