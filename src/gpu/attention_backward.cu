// SPDX-License-Identifier: MIT
// attention_backward: the queries' statistics, then dk and dv, then dq; kernels chosen as for attention_forward.
#include "gpu/attention_backward_mma.cuh"
#include "gpu/attention_backward_rows.cuh"
#include "gpu/attention_hopper.h"
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "ops/contracts/attention.h"

namespace moe::gpu {
namespace {

constexpr int kStatisticsThreads = 128;

template <class T>
struct Backward {
  T *dq, *dk, *dv;
  const T *dout, *q, *k, *v;
  const int32_t* first_BT;
  Statistics statistics;
  AttentionShape s;

  template <int dim>
  void run_mma(cudaStream_t stream) const {
    using Tile = BackwardTile<dim>;
    const unsigned tiles = blocks(ceil_div(s.length, Tile::kRows)), sequences = blocks(s.batch);
    const Grid keys{dim3(blocks(s.kv_heads), sequences, tiles), kAttentionThreads, Tile::kSharedBytes};
    const Grid queries{dim3(blocks(s.heads), sequences, tiles), kAttentionThreads, Tile::kSharedBytes};
    launch(stream, dkv_mma_kernel<T, dim>, keys, dk, dv, dout, q, k, v, first_BT, statistics, s);
    launch(stream, dq_mma_kernel<T, dim>, queries, dq, dout, q, k, v, first_BT, statistics, s);
  }

  template <bool wide>
  void run_rows(cudaStream_t stream) const {
    const int64_t tokens = int64_t{s.batch} * s.length;
    launch(stream, dkv_rows_kernel<T, wide>,
           {blocks(ceil_div(tokens * s.kv_heads, kRowWarps)), 32 * kRowWarps}, dk, dv, dout, q, k, v,
           first_BT, statistics, s);
    launch(stream, dq_rows_kernel<T, wide>, {blocks(ceil_div(tokens * s.heads, kRowWarps)), 32 * kRowWarps},
           dq, dout, q, k, v, statistics, s);
  }
};

}  // namespace

void GpuOps::attention_backward(Tensor dq_NHd, Tensor dk_NGd, Tensor dv_NGd, const Tensor& do_NHd,
                                const Tensor& q_NHd, const Tensor& k_NGd, const Tensor& v_NGd,
                                const Tensor& o_NHd, const Tensor& lse_NH, const Tensor& first_BT) {
  contracts::attention_backward(dq_NHd, dk_NGd, dv_NGd, do_NHd, q_NHd, k_NGd, v_NGd, o_NHd, lse_NH, first_BT);
  if (dq_NHd.numel() == 0) return;
  const AttentionShape s(q_NHd, k_NGd, first_BT.dim(0));
  CHECK(s.dim <= kMaxDim, q_NHd.describe());
  const auto padded = static_cast<int>(ceil_div(s.length, kStatisticsTile) * kStatisticsTile);
  const int64_t rows = int64_t{s.batch} * s.heads * padded;
  auto carving = workspace_.carve();
  const Statistics statistics{carving.take<float>(rows), carving.take<float>(rows),
                              carving.take<int32_t>(int64_t{s.batch} * padded),
                              carving.take<int32_t>(int64_t{s.batch} * padded), padded};
  with_activation(q_NHd.dtype(), [&]<class T>() {
    launch(stream_, statistics_kernel<T>,
           {blocks(ceil_div(rows * 32, kStatisticsThreads)), kStatisticsThreads}, statistics,
           pointer<T>(do_NHd), pointer<T>(o_NHd), pointer<float>(lse_NH), pointer<int32_t>(first_BT), s);
    if (hopper_ && hopper_takes_attention(q_NHd))
      return hopper_attention_backward(stream_, processors_, carving.take<int>(2), statistics, dq_NHd, dk_NGd,
                                       dv_NGd, do_NHd, q_NHd, k_NGd, v_NGd, first_BT);
    const Backward<T> backward{pointer<T>(dq_NHd), pointer<T>(dk_NGd),
                               pointer<T>(dv_NGd), pointer<T>(do_NHd),
                               pointer<T>(q_NHd),  pointer<T>(k_NGd),
                               pointer<T>(v_NGd),  pointer<int32_t>(first_BT),
                               statistics,         s};
    const bool wide = vector_width<T>(s.dim, dq_NHd.data(), dk_NGd.data(), dv_NGd.data(), do_NHd.data(),
                                      q_NHd.data(), k_NGd.data(), v_NGd.data()) > 1;
    if constexpr (sizeof(T) == 2) {
      if (wide && s.dim == 64) return backward.template run_mma<64>(stream_);
      if (wide && s.dim == 128) return backward.template run_mma<128>(stream_);
    }
    if (wide) return backward.template run_rows<true>(stream_);
    backward.template run_rows<false>(stream_);
  });
}

}  // namespace moe::gpu
