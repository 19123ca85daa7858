// SPDX-License-Identifier: MIT
// The router's matrix products, in f32 whatever the type of x. With x in 16 bits the matrix units compute
// them from the parts of what is f32 (split_parts.cuh); else f32_product.cuh.
#include <algorithm>

#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/column_sums.cuh"
#include "gpu/portable/f32_product.cuh"
#include "gpu/portable/split_parts.cuh"

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

// Whether the matrix units take these operands.
bool splits(const Tensor& x_ND, const Tensor& w_ED) {
  return x_ND.dtype() != DType::f32 && x_ND.dim(1) % 8 == 0 && w_ED.dim(0) % 8 == 0;
}

// With x and the parts of w in T.
template <class T>
void split_forward(cudaStream_t stream, Workspace::Carving carving, Gemm& gemm, RouterLogitsForward& op) {
  const DType type = op.x_ND.dtype();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1), e = op.w_ED.dim(0);
  Tensor parts_ED(carving.take<T>(kParts * e * d), type, {kParts * e, d});
  Tensor logits(carving.take<float>(n * kParts * e), DType::f32, {n, kParts * e});
  launch(stream, parts_of_rows_kernel<T>, one_thread_each(e * d), pointer<T>(parts_ED),
         pointer<float>(op.w_ED), e * d);
  gemm.multiply(logits, op.x_ND, parts_ED, MatmulLayout::NT, Tensor());
  launch(stream, add_column_parts_kernel<T>, one_thread_each(n * e / 4), pointer<float>(op.logits_NE),
         static_cast<const float*>(pointer<float>(logits)), n, static_cast<int>(e));
}

// Both products take all of dlogits, in three parts. dx takes the rounded w, as every product in T does: its
// terms are off by half a unit in the last place at most, and the sum by as much again. dw is exact to f32,
// as x is.
template <class T>
void split_backward(cudaStream_t stream, Workspace::Carving carving, Gemm& gemm, RouterLogitsBackward& op) {
  const DType type = op.x_ND.dtype();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1), e = op.w_ED.dim(0);
  Tensor dlogits(carving.take<T>(n * kParts * e), type, {n, kParts * e});
  Tensor w(carving.take<T>(kParts * e * d), type, {kParts * e, d});
  Tensor dw(carving.take<float>(kParts * e * d), DType::f32, {kParts * e, d});
  launch(stream, parts_of_columns_kernel<T>, one_thread_each(n * e / 4), pointer<T>(dlogits),
         pointer<float>(op.dlogits_NE), n, static_cast<int>(e));
  launch(stream, factors_of_parts_kernel<T>, one_thread_each(e * d), pointer<T>(w), pointer<float>(op.w_ED),
         e * d);
  gemm.multiply(op.dx_ND, dlogits, w, MatmulLayout::NN, op.add_to_dx ? op.dx_ND : Tensor());
  gemm.multiply(dw, dlogits, op.x_ND, MatmulLayout::TN, Tensor());
  launch(stream, add_row_parts_kernel<T>, one_thread_each(e * d), pointer<float>(op.dw_ED),
         static_cast<const float*>(pointer<float>(dw)), e * d);
}

}  // namespace

void GpuOps::router_logits_forward(RouterLogitsForward op) {
  op.check();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1), e = op.w_ED.dim(0);
  if (n == 0) return;
  if (splits(op.x_ND, op.w_ED))
    return op.x_ND.dtype() == DType::bf16 ? split_forward<bf16>(stream_, workspace_.carve(), gemm_, op)
                                          : split_forward<f16>(stream_, workspace_.carve(), gemm_, op);
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
    return op.x_ND.dtype() == DType::bf16 ? split_backward<bf16>(stream_, workspace_.carve(), gemm_, op)
                                          : split_backward<f16>(stream_, workspace_.carve(), gemm_, op);
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
