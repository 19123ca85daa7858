// SPDX-License-Identifier: MIT
// RMSNorm by rows. The gradient of the weight is a sum over all tokens: each block of kTokens sums its own in
// scratch, then the blocks are added in order.
#include <cmath>
#include <cstring>

#include "cpu/cpu_ops.h"
#include "cpu/partial_sums.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kTokens = 32;

template <class T>
float norm_row(T* __restrict y, const T* __restrict x, const float* __restrict w, int64_t d, float eps) {
  const float rstd = 1.0F / std::sqrt(dot(x, x, d) / static_cast<float>(d) + eps);
  for (int64_t i = 0; i < d; ++i) y[i] = from_float<T>(w[i] * (to_float(x[i]) * rstd));
  return rstd;
}

// dx += the gradient through the norm; dw (a partial sum) += its share.
template <class T>
void norm_row_backward(T* __restrict dx, float* __restrict dw, const T* __restrict dy, const T* __restrict x,
                       const float* __restrict w, float rstd, int64_t d) {
  const float mean = rstd / static_cast<float>(d) *
                     sum_of(d, [=](int64_t i) { return to_float(dy[i]) * w[i] * to_float(x[i]); });
  for (int64_t i = 0; i < d; ++i) {
    const float g = to_float(dy[i]), normed = to_float(x[i]) * rstd;
    dw[i] += g * normed;
    dx[i] = from_float<T>(to_float(dx[i]) + rstd * (g * w[i] - normed * mean));
  }
}

}  // namespace

void CpuOps::rms_norm_forward(RmsNormForward op) {
  op.check();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1);
  const float* w = op.w_D.as<float>();
  float* rstd = op.rstd_N.as<float>();
  with_type(op.x_ND.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* y = op.y_ND.as<T>();
    const T* x = op.x_ND.as<T>();
    pool_.parallel_for(n, kTokens, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) rstd[t] = norm_row(y + t * d, x + t * d, w, d, op.eps);
    });
  });
  if (!op.y8_ND.empty()) quantise_rows({op.y8_ND, op.y_ND});
}

void CpuOps::rms_norm_backward(RmsNormBackward op) {
  op.check();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1);
  const float* w = op.w_D.as<float>();
  const float* rstd = op.rstd_N.as<float>();
  PartialSums partial(pool_, scratch_, n, kTokens, d);
  with_type(op.x_ND.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* dx = op.dx_ND.as<T>();
    const T* dy = op.dy_ND.as<T>();
    const T* x = op.x_ND.as<T>();
    const T* residual = op.residual_ND.empty() ? nullptr : op.residual_ND.as<T>();
    partial.for_each_block([&](float* dw, int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        T* row = dx + t * d;
        if (residual == nullptr)
          std::fill(row, row + d, T{});
        else if (residual != dx)
          std::memcpy(row, residual + t * d, static_cast<size_t>(d) * sizeof(T));
        norm_row_backward(row, dw, dy + t * d, x + t * d, w, rstd[t], d);
      }
    });
  });
  partial.add_to(op.dw_D.as<float>(), 0, d);
  if (!op.dx8_ND.empty()) quantise_rows({op.dx8_ND, op.dx_ND});
}

}  // namespace moe::cpu
