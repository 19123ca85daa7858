// SPDX-License-Identifier: MIT
// The experts' activation, and its backward that also applies the routing weight. Only rows in use are
// touched. dh may be h, so each piece of a row is computed into local arrays and stored after.
#include <algorithm>

#include "cpu/cpu_ops.h"
#include "cpu/vector.h"

namespace moe::cpu {
namespace {

constexpr int64_t kRows = 32;
constexpr int64_t kPiece = 128;

template <class T>
void swiglu_row(T* __restrict a, const T* __restrict h, int64_t f) {
  for (int64_t i = 0; i < f; ++i) {
    const float gate = to_float(h[i]), up = to_float(h[f + i]);
    a[i] = from_float<T>(gate * up * sigmoid(up));
  }
}

// Returns <da, a>, the gradient of the row's weight w.
template <class T>
float swiglu_row_backward(T* dh, T* a_out, const T* da, const T* h, float w, int64_t f) {
  float product = 0;
  for (int64_t begin = 0; begin < f; begin += kPiece) {
    const int64_t count = std::min(kPiece, f - begin);
    float dgate[kPiece], dup[kPiece], a[kPiece], term[kPiece];
    for (int64_t i = 0; i < count; ++i) {
      const float gate = to_float(h[begin + i]), up = to_float(h[f + begin + i]);
      const float g = to_float(da[begin + i]), s = sigmoid(up);
      const float silu = up * s;
      term[i] = g * gate * silu;
      a[i] = w * gate * silu;
      dgate[i] = w * g * silu;
      dup[i] = w * g * gate * (s + silu * (1.0F - s));
    }
    product += sum_of(count, [&](int64_t i) { return term[i]; });
    store_row(dh + begin, dgate, count);
    store_row(dh + f + begin, dup, count);
    store_row(a_out + begin, a, count);
  }
  return product;
}

int64_t rows_in_use(const RoutePlan& plan) {
  return plan.offset_E1.as<int32_t>()[plan.count_E.dim(0)];
}

}  // namespace

void CpuOps::swiglu_forward(SwigluForward op) {
  op.check();
  const int64_t f = op.a_RF.dim(1);
  with_type(op.a_RF.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* a = op.a_RF.as<T>();
    const T* h = op.h_R2F.as<T>();
    pool_.parallel_for(rows_in_use(op.plan), kRows, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) swiglu_row(a + r * f, h + 2 * r * f, f);
    });
  });
}

void CpuOps::swiglu_backward(SwigluBackward op) {
  op.check();
  const int64_t f = op.a_RF.dim(1), assignments = op.dweight_NK.numel();
  const int32_t *slot = op.plan.slot_R.as<int32_t>(), *row = op.plan.row_NK.as<int32_t>();
  const float* weight = op.weight_NK.as<float>();
  float* dweight = op.dweight_NK.as<float>();
  with_type(op.a_RF.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T *dh = op.dh_R2F.as<T>(), *a = op.a_RF.as<T>();
    const T *da = op.da_RF.as<T>(), *h = op.h_R2F.as<T>();
    pool_.parallel_for(rows_in_use(op.plan), kRows, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        dweight[slot[r]] =
            swiglu_row_backward(dh + 2 * r * f, a + r * f, da + r * f, h + 2 * r * f, weight[slot[r]], f);
    });
  });
  for (int64_t i = 0; i < assignments; ++i)
    if (row[i] < 0) dweight[i] = 0;
}

}  // namespace moe::cpu
