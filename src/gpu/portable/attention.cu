// SPDX-License-Identifier: MIT
// attention_forward: matrix units at head widths 64 and 128, a warp a row for the rest; the gate after these.
#include "gpu/attention_window.h"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/portable/attention_forward_mma.cuh"
#include "gpu/portable/attention_rows.cuh"
#include "gpu/portable/gate.h"

namespace moe::gpu {
namespace {

struct Forward {
  void* o;
  float* lse;
  const void *q, *k, *v;
  const int32_t* first_BT;
  AttentionShape s;

  template <class T, int dim>
  void run(cudaStream_t stream) const {
    using Tile = ForwardTile<T, dim>;
    const dim3 grid(blocks(s.heads), blocks(s.batch), blocks(ceil_div(s.length, Tile::kQueries)));
    launch(stream, forward_mma_kernel<T, dim>, {grid, kAttentionThreads, Tile::kSharedBytes},
           static_cast<T*>(o), lse, static_cast<const T*>(q), static_cast<const T*>(k),
           static_cast<const T*>(v), first_BT, s);
  }
};

}  // namespace

void GpuOps::attention_forward(AttentionForward op) {
  op.check();
  const Heads& heads = op.heads;
  if (op.y_NHd.numel() == 0) return;
  if (provider_->attention_forward(op)) return;
  const int32_t* const first_BT = first_keys(stream_, workspace_.carve(), op.doc_start_BT, op.window);
  const AttentionShape s(op.q_NHd, op.k_NGd, heads.packed(), op.doc_start_BT.dim(0));
  CHECK(s.dim <= kMaxDim, op.q_NHd.describe());
  with_activation(op.q_NHd.dtype(), [&]<class T>() {
    const T* const v = pointer<T>(op.packed_NP) + heads.values();
    const bool wide = vector_width<T>(s.dim, op.y_NHd.data(), op.q_NHd.data(), op.k_NGd.data(), v) > 1;
    const Forward forward{
        op.y_NHd.data(), pointer<float>(op.lse_NH), op.q_NHd.data(), op.k_NGd.data(), v, first_BT, s};
    if (wide && with_matrix_units<T, ForwardTile>(
                    s.dim, arithmetic_.tf32, shared_of_block_,
                    [&]<class Number, int dim>() { forward.run<Number, dim>(stream_); }))
      return;
    const RowsShape rows{op.q_NHd.dim(0), s.length, nullptr, s.length, 1, 0};
    launch(stream_, wide ? attention_rows_kernel<T, true> : attention_rows_kernel<T, false>,
           {blocks(ceil_div(rows.tokens * s.heads, kRowWarps)), 32 * kRowWarps}, pointer<T>(op.y_NHd),
           pointer<float>(op.lse_NH), pointer<T>(op.q_NHd), pointer<T>(op.k_NGd), v, first_BT, s, rows);
  });
  if (heads.gated) apply_gate(stream_, op.y_NHd, op.packed_NP, heads);
}

}  // namespace moe::gpu
