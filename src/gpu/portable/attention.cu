// SPDX-License-Identifier: MIT
// attention_forward: matrix units for bf16 and f16 at head widths 64 and 128, a warp a row for the rest; the
// gate after these.
#include "gpu/attention_window.h"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/portable/attention_forward_mma.cuh"
#include "gpu/portable/attention_rows.cuh"
#include "gpu/portable/gate.h"

namespace moe::gpu {
namespace {

template <class T, int dim>
void forward_mma(cudaStream_t stream, Tensor& o, Tensor& lse, const Tensor& q, const Tensor& k, const T* v,
                 const int32_t* first_BT, const AttentionShape& s) {
  using Tile = ForwardTile<dim>;
  const dim3 grid(blocks(s.heads), blocks(s.batch), blocks(ceil_div(s.length, Tile::kQueries)));
  launch(stream, forward_mma_kernel<T, dim>, {grid, kAttentionThreads, Tile::kSharedBytes}, pointer<T>(o),
         pointer<float>(lse), pointer<T>(q), pointer<T>(k), v, first_BT, s);
}

}  // namespace

void GpuOps::attention_forward(AttentionForward op) {
  op.check();
  const Heads& heads = op.heads;
  if (op.o_NHd.numel() == 0) return;
  if (provider_->attention_forward(op)) return;
  const int32_t* const first_BT = first_keys(stream_, workspace_.carve(), op.doc_start_BT, op.window);
  const AttentionShape s(op.q_NHd, op.k_NGd, heads.packed(), op.doc_start_BT.dim(0));
  CHECK(s.dim <= kMaxDim, op.q_NHd.describe());
  with_activation(op.q_NHd.dtype(), [&]<class T>() {
    const T* const v = pointer<T>(op.packed_NP) + heads.values();
    const bool wide = vector_width<T>(s.dim, op.o_NHd.data(), op.q_NHd.data(), op.k_NGd.data(), v) > 1;
    if constexpr (sizeof(T) == 2) {
      if (wide && s.dim == 64)
        return forward_mma<T, 64>(stream_, op.o_NHd, op.lse_NH, op.q_NHd, op.k_NGd, v, first_BT, s);
      if (wide && s.dim == 128)
        return forward_mma<T, 128>(stream_, op.o_NHd, op.lse_NH, op.q_NHd, op.k_NGd, v, first_BT, s);
    }
    const RowsShape rows{op.q_NHd.dim(0), s.length, nullptr, s.length, 1, 0};
    launch(stream_, wide ? attention_rows_kernel<T, true> : attention_rows_kernel<T, false>,
           {blocks(ceil_div(rows.tokens * s.heads, kRowWarps)), 32 * kRowWarps}, pointer<T>(op.o_NHd),
           pointer<float>(op.lse_NH), pointer<T>(op.q_NHd), pointer<T>(op.k_NGd), v, first_BT, s, rows);
  });
  if (heads.gated) apply_gate(stream_, op.y_NHd, op.o_NHd, op.packed_NP, heads);
}

}  // namespace moe::gpu
