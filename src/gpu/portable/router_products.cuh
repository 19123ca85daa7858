// SPDX-License-Identifier: MIT
// The router's matrix products on the matrix units, from the parts of what is f32 (split_parts.cuh). x has 16
// bits.
#pragma once

#include <cstdint>

#include "gpu/gemm.h"
#include "gpu/portable/split_parts.cuh"
#include "gpu/workspace.h"
#include "ops/router.h"

namespace moe::gpu {

// Whether the matrix units take these operands.
inline bool splits(const Tensor& x_ND, const Tensor& w_ED) {
  return x_ND.dtype() != DType::f32 && x_ND.dim(1) % 8 == 0 && w_ED.dim(0) % 8 == 0;
}

// The logits' three parts [N, 3 E], in the workspace.
template <class T>
const float* logits_in_parts(cudaStream_t stream, Workspace::Carving& carving, Gemm& gemm,
                             const RouterLogitsForward& op) {
  const DType type = op.x_ND.dtype();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1), e = op.w_ED.dim(0);
  Tensor parts_ED(carving.take<T>(kParts * e * d), type, {kParts * e, d});
  Tensor logits(carving.take<float>(n * kParts * e), DType::f32, {n, kParts * e});
  launch(stream, parts_of_rows_kernel<T>, one_thread_each(e * d), pointer<T>(parts_ED),
         pointer<float>(op.w_ED), e * d);
  gemm.multiply(logits, op.x_ND, parts_ED, MatmulLayout::NT, Tensor());
  return pointer<float>(logits);
}

// Both products take all of dlogits, in three parts [N, 3 E]. dx takes the rounded w, as every product in T
// does: its terms are off by half a unit in the last place at most, and the sum by as much again. dw is exact
// to f32, as x is.
template <class T>
void multiply_parts(cudaStream_t stream, Workspace::Carving& carving, Gemm& gemm, T* dlogits_N3E,
                    RouterLogitsBackward& op) {
  const DType type = op.x_ND.dtype();
  const int64_t n = op.x_ND.dim(0), d = op.x_ND.dim(1), e = op.w_ED.dim(0);
  const Tensor dlogits(dlogits_N3E, type, {n, kParts * e});
  Tensor w(carving.take<T>(kParts * e * d), type, {kParts * e, d});
  Tensor dw(carving.take<float>(kParts * e * d), DType::f32, {kParts * e, d});
  launch(stream, factors_of_parts_kernel<T>, one_thread_each(e * d), pointer<T>(w), pointer<float>(op.w_ED),
         e * d);
  gemm.multiply(op.dx_ND, dlogits, w, MatmulLayout::NN, op.add_to_dx ? op.dx_ND : Tensor());
  gemm.multiply(dw, dlogits, op.x_ND, MatmulLayout::TN, Tensor());
  launch(stream, add_row_parts_kernel<T>, one_thread_each(e * d), pointer<float>(op.dw_ED),
         static_cast<const float*>(pointer<float>(dw)), e * d);
}

// Calls body.template operator()<T>() with the type T of 16 bits.
template <class Body>
void with_half(DType dtype, Body&& body) {
  if (dtype == DType::bf16) return body.template operator()<bf16>();
  body.template operator()<f16>();
}

}  // namespace moe::gpu
