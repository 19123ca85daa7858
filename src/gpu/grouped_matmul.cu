// SPDX-License-Identifier: MIT
// grouped_matmul with portable kernels: matrix units for bf16, plain arithmetic for f32.
#include "gpu/gpu_ops.h"
#include "gpu/grouped_matmul_hopper.h"
#include "gpu/grouped_matmul_mma.cuh"
#include "gpu/grouped_matmul_simt.cuh"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "ops/contracts/matmul.h"

namespace moe::gpu {
namespace {

template <class T, class C>
GroupedProduct<T, C> grouped_product(Tensor& c, const Tensor& a, const Tensor& b, const Tensor& offset_E1,
                                     Form form, bool accumulate) {
  const bool rows_are_inner = form == Form::TN;
  return {.c = pointer<C>(c),
          .a = pointer<T>(a),
          .b = pointer<T>(b),
          .offset_E1 = pointer<int32_t>(offset_E1),
          .m = rows_are_inner ? a.dim(1) : 0,
          .n = c.dim(c.rank() - 1),
          .inner = rows_are_inner ? 0 : a.dim(1),
          .rows = a.dim(0),
          .experts = static_cast<int>(offset_E1.dim(0)) - 1,
          .accumulate = accumulate};
}

// Calls body.template operator()<form>().
template <class Body>
void with_form(Form form, Body&& body) {
  switch (form) {
    case Form::NT:
      return body.template operator()<Form::NT>();
    case Form::NN:
      return body.template operator()<Form::NN>();
    case Form::TN:
      return body.template operator()<Form::TN>();
  }
}

template <Form form, class T, class C>
void multiply_mma(cudaStream_t stream, const GroupedProduct<T, C>& p, int64_t a_stride, int64_t b_stride) {
  using Tile = MmaTile;
  const bool wide = vector_width<T>(a_stride, p.a) > 1 && vector_width<T>(b_stride, p.b) > 1;
  const auto kernel = wide ? grouped_mma_kernel<form, true, T, C> : grouped_mma_kernel<form, false, T, C>;
  launch(stream, kernel,
         {blocks(expert_tiles<form, Tile::kM, Tile::kN>(p)), Tile::kThreads, Tile::kSharedBytes}, p, a_stride,
         b_stride, vector_width<C>(p.n, p.c) > 1);
}

}  // namespace

void GpuOps::grouped_matmul(Tensor c, const Tensor& a, const Tensor& b, const Tensor& offset_E1, Form form,
                            bool accumulate) {
  contracts::grouped_matmul(c, a, b, offset_E1, form);
  if (c.numel() == 0) return;
  if (hopper_ && hopper_takes(c, a, b, offset_E1.numel() - 1, form))
    return hopper_grouped_matmul(stream_, processors_, c, a, b, offset_E1, form, accumulate,
                                 form == Form::TN ? Schedule::turns : Schedule::together);
  const int64_t a_stride = a.dim(1), b_stride = b.dim(b.rank() - 1);
  with_form(form, [&]<Form known>() {
    if (a.dtype() == DType::f32) {
      const auto p = grouped_product<float, float>(c, a, b, offset_E1, form, accumulate);
      launch(stream_, grouped_simt_kernel<known>,
             {blocks(expert_tiles<known, SimtTile::kM, SimtTile::kN>(p)), SimtTile::kThreads}, p, a_stride,
             b_stride);
    } else if (c.dtype() == DType::f32) {
      multiply_mma<known>(stream_, grouped_product<bf16, float>(c, a, b, offset_E1, form, accumulate),
                          a_stride, b_stride);
    } else {
      multiply_mma<known>(stream_, grouped_product<bf16, bf16>(c, a, b, offset_E1, form, accumulate),
                          a_stride, b_stride);
    }
  });
}

}  // namespace moe::gpu
