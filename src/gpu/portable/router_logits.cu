// SPDX-License-Identifier: MIT
// The router's matrix products, in f32 whatever the type of x. With x in 16 bits the matrix units compute
// them from the parts of what is f32 (router_products.cuh); else f32_product.cuh.
#include <algorithm>

#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/column_sums.cuh"
#include "gpu/portable/f32_product.cuh"
#include "gpu/portable/router_products.cuh"

namespace moe::gpu {
namespace {

constexpr int64_t kTokensOfPart = 1024;  // that one block adds up for the weights' gradient
constexpr int64_t kMostSums = 8 << 20;   // of all parts: a quarter of the workspace

// c[m, n] = v or c[m, n] += v, `columns` to a row.
template <class T, bool accumulate>
struct PutRows {
  T* c;
  int64_t columns;
  bool aligned;  // 4 elements may be moved at once

  __device__ void operator()(int64_t, int64_t m, int64_t n, const Vec<float, 4>& v) const {
    T* const at = c + m * columns + n;
    if (aligned) {
      Vec<T, 4> out{};
      if (accumulate) out = load<4>(at);
#pragma unroll
      for (int j = 0; j < 4; ++j) out.v[j] = from_float<T>(accumulate ? to_float(out.v[j]) + v.v[j] : v.v[j]);
      store(at, out);
      return;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (n + j < columns) at[j] = from_float<T>(accumulate ? to_float(at[j]) + v.v[j] : v.v[j]);
  }
};

// Part z of the product's transpose: parts[z][n][m] = v, n < `experts`.
struct PutPart {
  float* parts_ZED;
  int64_t experts, columns;

  __device__ void operator()(unsigned z, int64_t m, int64_t n, const Vec<float, 4>& v) const {
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (n + j < experts) parts_ZED[(z * experts + n + j) * columns + m] = v.v[j];
  }
};

template <class T, bool accumulate>
PutRows<T, accumulate> rows_of(Tensor& c) {
  T* const p = pointer<T>(c);
  return {p, c.dim(1), c.dim(1) % 4 == 0 && reinterpret_cast<uintptr_t>(p) % 16 == 0};
}

template <class T>
void split_forward(cudaStream_t stream, Workspace::Carving carving, Gemm& gemm, RouterLogitsForward& op) {
  const int64_t n = op.x_ND.dim(0), e = op.w_ED.dim(0);
  const float* const parts = logits_in_parts<T>(stream, carving, gemm, op);
  launch(stream, add_column_parts_kernel<T>, one_thread_each(n * e / 4), pointer<float>(op.logits_NE), parts,
         n, static_cast<int>(e));
}

template <class T>
void split_backward(cudaStream_t stream, Workspace::Carving carving, Gemm& gemm, RouterLogitsBackward& op) {
  const int64_t n = op.x_ND.dim(0), e = op.w_ED.dim(0);
  T* const dlogits = carving.take<T>(n * kParts * e);
  launch(stream, parts_of_columns_kernel<T>, one_thread_each(n * e / 4), dlogits,
         pointer<float>(op.dlogits_NE), n, static_cast<int>(e));
  multiply_parts(stream, carving, gemm, dlogits, op);
}

}  // namespace

void GpuOps::router_logits_forward(RouterLogitsForward op) {
  op.check();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1), e = op.w_ED.dim(0);
  if (n == 0) return;
  if (splits(op.x_ND, op.w_ED))
    return with_half(op.x_ND.dtype(),
                     [&]<class T>() { split_forward<T>(stream_, workspace_.carve(), gemm_, op); });
  with_activation(op.x_ND.dtype(), [&]<class T>() {
    const Operand<T, true> x{pointer<T>(op.x_ND), n, d};
    const Operand<float, true> w{pointer<float>(op.w_ED), e, d};
    f32_product::multiply(stream_, x, w, d, 1, rows_of<float, false>(op.logits_NE));
  });
}

void GpuOps::router_logits_backward(RouterLogitsBackward op) {
  op.check();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1), e = op.w_ED.dim(0);
  if (n == 0) return;
  if (splits(op.x_ND, op.w_ED))
    return with_half(op.x_ND.dtype(),
                     [&]<class T>() { split_backward<T>(stream_, workspace_.carve(), gemm_, op); });
  const int64_t parts = std::min(ceil_div(n, kTokensOfPart), std::max<int64_t>(1, kMostSums / (e * d)));
  float* const dw_parts = workspace_.carve().take<float>(parts * e * d);
  const float* const dlogits = pointer<float>(op.dlogits_NE);
  with_activation(op.x_ND.dtype(), [&]<class T>() {
    f32_product::multiply(stream_, Operand<T, false>{pointer<T>(op.x_ND), d, d},
                          Operand<float, false>{dlogits, e, e}, n, parts, PutPart{dw_parts, e, d});
    const auto multiply_dx = [&](const auto& put) {
      f32_product::multiply(stream_, Operand<float, true>{dlogits, n, e},
                            Operand<float, false>{pointer<float>(op.w_ED), d, d}, e, 1, put);
    };
    if (op.add_to_dx)
      multiply_dx(rows_of<T, true>(op.dx_ND));
    else
      multiply_dx(rows_of<T, false>(op.dx_ND));
  });
  add_columns(stream_, pointer<float>(op.dw_ED), dw_parts, parts, e * d);
}

}  // namespace moe::gpu
