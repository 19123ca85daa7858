// SPDX-License-Identifier: MIT
// The experts' FP8 products where the GPU has no kernels of its own for them: operands are widened to bf16,
// exactly, and the products of bf16 run.
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/numbers.cuh"

namespace moe::gpu {
namespace {

constexpr int kThreads = 256;

// Neighbours of a row, so many that they fill 16 bytes as bf16.
template <int width>
__global__ void __launch_bounds__(kThreads)
    widen_kernel(bf16* out, const uint8_t* value, const float* scale, int64_t vectors, int64_t columns) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= vectors) return;
  const int64_t first = index * width;
  const auto in = load<width>(value + first);
  const float factor = scale[first / columns];
  Vec<bf16, width> wide;
#pragma unroll
  for (int j = 0; j < width; ++j) wide.v[j] = from_float<bf16>(factor * fp8_value<kE4M3>(in.v[j]));
  store(out + first, wide);
}

// memory: of the operands, which the operations that read them do not carve.
Tensor widened(cudaStream_t stream, Workspace::Carving& memory, const ScaledRows& in) {
  const Tensor& value = in.value;
  const int64_t columns = value.dim(value.rank() - 1);
  bf16* const out = memory.take<bf16>(value.numel());
  const bool wide = columns % 8 == 0 && reinterpret_cast<uintptr_t>(value.data()) % 8 == 0;
  if (value.numel() > 0) {
    const int64_t vectors = value.numel() / (wide ? 8 : 1);
    launch(stream, wide ? widen_kernel<8> : widen_kernel<1>, {blocks(ceil_div(vectors, kThreads)), kThreads},
           out, static_cast<const uint8_t*>(value.data()), pointer<float>(in.scale), vectors, columns);
  }
  return {out, DType::bf16, value.shape(), value.rank()};
}

template <class Op>
void widen(cudaStream_t stream, Ops& ops, Workspace::Carving memory, const Op& op, const ScaledRows& tokens,
           const ScaledRows& weights) {
  const int64_t rows = op.a_RF.dim(0), d = tokens.value.dim(1);
  const Tensor x = widened(stream, memory, tokens), w = widened(stream, memory, weights);
  run_widened(ops, op, x, w, Tensor(memory.take<bf16>(rows * d), DType::bf16, {rows, d}));
}

}  // namespace

void GpuOps::fp8_expert_up(Fp8ExpertUp op) {
  op.check();
  if (!provider_->fp8_expert_up(op)) widen(stream_, *this, widened_.carve(), op, op.x_ND, op.w_E2FD);
}

void GpuOps::fp8_expert_down_backward(Fp8ExpertDownBackward op) {
  op.check();
  if (!provider_->fp8_expert_down_backward(op))
    widen(stream_, *this, widened_.carve(), op, op.dy_ND, op.w_EFD);
}

}  // namespace moe::gpu
