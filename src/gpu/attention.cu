// SPDX-License-Identifier: MIT
// attention_forward: matrix units for bf16 and f16 at head widths 64 (bf16 on Hopper: its own, with the gate
// in it) and 128, a warp a row for the rest; the gate after these.
#include "gpu/attention_forward_mma.cuh"
#include "gpu/attention_rows.cuh"
#include "gpu/attention_sm90.h"
#include "gpu/gate.h"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "ops/contracts/attention.h"

namespace moe::gpu {
namespace {

template <class T, int dim>
void forward_mma(cudaStream_t stream, Tensor& o, Tensor& lse, const Tensor& q, const Tensor& k, const T* v,
                 const Tensor& doc_start_BT, const AttentionShape& s) {
  using Tile = ForwardTile<dim>;
  const dim3 grid(blocks(s.heads), blocks(s.batch), blocks(ceil_div(s.length, Tile::kQueries)));
  launch(stream, forward_mma_kernel<T, dim>, {grid, kAttentionThreads, Tile::kSharedBytes}, pointer<T>(o),
         pointer<float>(lse), pointer<T>(q), pointer<T>(k), v, pointer<int32_t>(doc_start_BT), s);
}

}  // namespace

void GpuOps::attention_forward(Tensor y_NHd, Tensor o_NHd, Tensor lse_NH, const Tensor& q_NHd,
                               const Tensor& k_NGd, const Tensor& packed_NP, const Tensor& doc_start_BT) {
  const Heads heads =
      contracts::attention_forward(y_NHd, o_NHd, lse_NH, q_NHd, k_NGd, packed_NP, doc_start_BT);
  if (o_NHd.numel() == 0) return;
  if (sm90_ && sm90_takes_attention(q_NHd))
    return sm90_attention_forward(stream_, num_sms_, workspace_.carve().take<int>(1), y_NHd, o_NHd, lse_NH,
                                  q_NHd, k_NGd, packed_NP, doc_start_BT);
  const AttentionShape s(q_NHd, k_NGd, heads.packed(), doc_start_BT.dim(0));
  CHECK(s.dim <= kMaxDim, q_NHd.describe());
  with_activation(q_NHd.dtype(), [&]<class T>() {
    const T* const v = pointer<T>(packed_NP) + heads.values();
    const bool wide = vector_width<T>(s.dim, o_NHd.data(), q_NHd.data(), k_NGd.data(), v) > 1;
    if constexpr (sizeof(T) == 2) {
      if (wide && s.dim == 64)
        return forward_mma<T, 64>(stream_, o_NHd, lse_NH, q_NHd, k_NGd, v, doc_start_BT, s);
      if (wide && s.dim == 128)
        return forward_mma<T, 128>(stream_, o_NHd, lse_NH, q_NHd, k_NGd, v, doc_start_BT, s);
    }
    const RowsShape rows{q_NHd.dim(0), s.length, nullptr, s.length, 1};
    launch(stream_, wide ? attention_rows_kernel<T, true> : attention_rows_kernel<T, false>,
           {blocks(ceil_div(rows.tokens * s.heads, kRowWarps)), 32 * kRowWarps}, pointer<T>(o_NHd),
           pointer<float>(lse_NH), pointer<T>(q_NHd), pointer<T>(k_NGd), v, pointer<int32_t>(doc_start_BT), s,
           rows);
  });
  apply_gate(stream_, y_NHd, o_NHd, packed_NP, heads);
}

}  // namespace moe::gpu
