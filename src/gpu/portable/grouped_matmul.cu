// SPDX-License-Identifier: MIT
// grouped_matmul with portable kernels: matrix units for bf16, f16 and TF32, plain arithmetic
// for f32.
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"
#include "gpu/portable/grouped_matmul_mma.cuh"
#include "gpu/portable/grouped_matmul_simt.cuh"
#include "gpu/portable/grouped_matmul_tf32.cuh"

namespace moe::gpu {
namespace {

template <class T, class C>
GroupedProduct<T, C> grouped_product(Tensor& c, const Tensor& a, const Tensor& b, const Tensor& offset_E1,
                                     MatmulLayout layout, bool accumulate) {
  const bool rows_are_inner = layout == MatmulLayout::TN;
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

// Calls body.template operator()<layout>().
template <class Body>
void with_form(MatmulLayout layout, Body&& body) {
  switch (layout) {
    case MatmulLayout::NT:
      return body.template operator()<MatmulLayout::NT>();
    case MatmulLayout::NN:
      return body.template operator()<MatmulLayout::NN>();
    case MatmulLayout::TN:
      return body.template operator()<MatmulLayout::TN>();
  }
}

template <MatmulLayout layout, class T, class C>
void multiply_mma(cudaStream_t stream, const GroupedProduct<T, C>& p, int64_t a_stride, int64_t b_stride) {
  using Tile = MmaTile;
  const bool wide = vector_width<T>(a_stride, p.a) > 1 && vector_width<T>(b_stride, p.b) > 1;
  const auto kernel = wide ? grouped_mma_kernel<layout, true, T, C> : grouped_mma_kernel<layout, false, T, C>;
  launch(stream, kernel,
         {blocks(expert_tiles<layout, Tile::kM, Tile::kN>(p)), Tile::kThreads, Tile::kSharedBytes}, p,
         a_stride, b_stride, vector_width<C>(p.n, p.c) > 1);
}

template <MatmulLayout layout>
void multiply_f32(cudaStream_t stream, bool tf32, const GroupedProduct<float, float>& p, int64_t a_stride,
                  int64_t b_stride) {
  if (tf32) {
    using Tile = Tf32Tile;
    const bool wide = vector_width<float>(a_stride, p.a) > 1 && vector_width<float>(b_stride, p.b) > 1;
    return launch(stream, wide ? grouped_tf32_kernel<layout, true> : grouped_tf32_kernel<layout, false>,
                  {blocks(expert_tiles<layout, Tile::kM, Tile::kN>(p)), Tile::kThreads, Tile::kSharedBytes},
                  p, a_stride, b_stride);
  }
  launch(stream, grouped_simt_kernel<layout>,
         {blocks(expert_tiles<layout, SimtTile::kM, SimtTile::kN>(p)), SimtTile::kThreads}, p, a_stride,
         b_stride);
}

}  // namespace

void GpuOps::grouped_matmul(GroupedMatmul op) {
  op.check();
  if (op.c.numel() == 0) return;
  if (provider_->grouped_matmul(op)) return;
  const int64_t a_stride = op.a.dim(1), b_stride = op.b.dim(op.b.rank() - 1);
  with_form(op.layout, [&]<MatmulLayout known>() {
    with_activation(op.a.dtype(), [&]<class T>() {
      if constexpr (sizeof(T) == 4)
        multiply_f32<known>(stream_, arithmetic_.tf32,
                            grouped_product<T, T>(op.c, op.a, op.b, op.offset_E1, op.layout, op.accumulate),
                            a_stride, b_stride);
      else if (op.c.dtype() == DType::f32)
        multiply_mma<known>(
            stream_, grouped_product<T, float>(op.c, op.a, op.b, op.offset_E1, op.layout, op.accumulate),
            a_stride, b_stride);
      else
        multiply_mma<known>(stream_,
                            grouped_product<T, T>(op.c, op.a, op.b, op.offset_E1, op.layout, op.accumulate),
                            a_stride, b_stride);
    });
  });
}

}  // namespace moe::gpu
