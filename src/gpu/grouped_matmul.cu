// SPDX-License-Identifier: MIT
// grouped_matmul with portable kernels: matrix units for bf16, f16 and TF32, plain arithmetic
// for f32.
#include "gpu/gpu_ops.h"
#include "gpu/grouped_matmul_hopper.h"
#include "gpu/grouped_matmul_mma.cuh"
#include "gpu/grouped_matmul_simt.cuh"
#include "gpu/grouped_matmul_tf32.cuh"
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

template <Form form>
void multiply_f32(cudaStream_t stream, bool tf32, const GroupedProduct<float, float>& p, int64_t a_stride,
                  int64_t b_stride) {
  if (tf32) {
    using Tile = Tf32Tile;
    const bool wide = vector_width<float>(a_stride, p.a) > 1 && vector_width<float>(b_stride, p.b) > 1;
    return launch(stream, wide ? grouped_tf32_kernel<form, true> : grouped_tf32_kernel<form, false>,
                  {blocks(expert_tiles<form, Tile::kM, Tile::kN>(p)), Tile::kThreads, Tile::kSharedBytes}, p,
                  a_stride, b_stride);
  }
  launch(stream, grouped_simt_kernel<form>,
         {blocks(expert_tiles<form, SimtTile::kM, SimtTile::kN>(p)), SimtTile::kThreads}, p, a_stride,
         b_stride);
}

}  // namespace

void GpuOps::grouped_matmul(Tensor c, const Tensor& a, const Tensor& b, const Tensor& offset_E1, Form form,
                            bool accumulate) {
  contracts::grouped_matmul(c, a, b, offset_E1, form);
  if (c.numel() == 0) return;
  if (hopper_ && hopper_takes(c, a, b, offset_E1.numel() - 1, form))
    return hopper_grouped_matmul(stream_, processors_, c, a, b, offset_E1, form, accumulate, Schedule::turns);
  const int64_t a_stride = a.dim(1), b_stride = b.dim(b.rank() - 1);
  with_form(form, [&]<Form known>() {
    with_activation(a.dtype(), [&]<class T>() {
      if constexpr (sizeof(T) == 4)
        multiply_f32<known>(stream_, arithmetic_.tf32,
                            grouped_product<T, T>(c, a, b, offset_E1, form, accumulate), a_stride, b_stride);
      else if (c.dtype() == DType::f32)
        multiply_mma<known>(stream_, grouped_product<T, float>(c, a, b, offset_E1, form, accumulate),
                            a_stride, b_stride);
      else
        multiply_mma<known>(stream_, grouped_product<T, T>(c, a, b, offset_E1, form, accumulate), a_stride,
                            b_stride);
    });
  });
}

}  // namespace moe::gpu
