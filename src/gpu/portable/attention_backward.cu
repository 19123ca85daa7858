// SPDX-License-Identifier: MIT
// attention_backward: the queries' statistics, then dk and dv, then dq; kernels chosen as for
// attention_forward.
#include "gpu/gpu_ops.h"
#include "gpu/launch.h"
#include "gpu/portable/attention_backward_mma.cuh"
#include "gpu/portable/attention_backward_rows.cuh"

namespace moe::gpu {
namespace {

// Tokens and heads of a block, which turns them: tokens are last in the statistics, heads in lse_NH and
// delta_NH.
constexpr int kStatisticsTokens = 16, kStatisticsHeads = 16;

// Grid: pieces of the padded time, of the heads, sequences.
__global__ void __launch_bounds__(kStatisticsTokens* kStatisticsHeads)
    statistics_kernel(Statistics statistics, const float* lse_NH, const float* delta_NH,
                      const int32_t* doc_start_BT, AttentionShape s) {
  __shared__ float lse[kStatisticsTokens][kStatisticsHeads + 1];
  __shared__ float delta[kStatisticsTokens][kStatisticsHeads + 1];
  const int i = static_cast<int>(threadIdx.x), b = static_cast<int>(blockIdx.z);
  const int begin = static_cast<int>(blockIdx.x) * kStatisticsTokens;
  const int first_head = static_cast<int>(blockIdx.y) * kStatisticsHeads;
  const int64_t sequence = int64_t{b} * s.length;
  {
    const int t = i / kStatisticsHeads, h = i % kStatisticsHeads;
    const bool inside = begin + t < s.length && first_head + h < s.heads;
    const bool sees = inside && doc_start_BT[sequence + begin + t] >= 0;
    const int64_t at = (sequence + begin + t) * s.heads + first_head + h;
    lse[t][h] = sees ? lse_NH[at] * kLog2E : INFINITY;
    delta[t][h] = sees ? delta_NH[at] : 0;
  }
  __syncthreads();
  const int h = i / kStatisticsTokens, t = i % kStatisticsTokens;
  if (first_head + h < s.heads) {
    const int64_t at = statistics.at(b, s.heads, first_head + h, begin + t);
    statistics.lse_BHT[at] = lse[t][h];
    statistics.delta_BHT[at] = delta[t][h];
  }
  if (first_head + h != 0) return;
  const int token = begin + t, first = token < s.length ? doc_start_BT[sequence + token] : -1;
  statistics.first_BT[statistics.at(b, 1, 0, token)] =
      first < 0 ? kSeesNothing : first_key(first, token, statistics.window);
  if (first >= 0 && (token + 1 == s.length || doc_start_BT[sequence + token + 1] != first))
    statistics.last_BT[statistics.at(b, 1, 0, first)] = token;
}

template <class T>
struct Backward {
  T *dq, *dk, *dv;
  const T *dout, *q, *k, *v;
  const int32_t* doc_start_BT;
  Statistics statistics;
  AttentionShape s;

  template <class Number, int dim>
  void run_mma(cudaStream_t stream) const {
    using Tile = BackwardTile<Number, dim>;
    const auto to = [](T* x) { return reinterpret_cast<Number*>(x); };
    const auto from = [](const T* x) { return reinterpret_cast<const Number*>(x); };
    const unsigned tiles = blocks(ceil_div(s.length, Tile::kRows)), sequences = blocks(s.batch);
    const Grid keys{dim3(blocks(s.kv_heads), sequences, tiles), kAttentionThreads, Tile::kSharedBytes};
    const Grid queries{dim3(blocks(s.heads), sequences, tiles), kAttentionThreads, Tile::kSharedBytes};
    launch(stream, dkv_mma_kernel<Number, dim>, keys, to(dk), to(dv), from(dout), from(q), from(k), from(v),
           doc_start_BT, statistics, s);
    launch(stream, dq_mma_kernel<Number, dim>, queries, to(dq), from(dout), from(q), from(k), from(v),
           statistics, s);
  }

  template <bool wide>
  void run_rows(cudaStream_t stream) const {
    const int64_t tokens = int64_t{s.batch} * s.length;
    launch(stream, dkv_rows_kernel<T, wide>,
           {blocks(ceil_div(tokens * s.kv_heads, kRowWarps)), 32 * kRowWarps}, dk, dv, dout, q, k, v,
           doc_start_BT, statistics, s);
    launch(stream, dq_rows_kernel<T, wide>, {blocks(ceil_div(tokens * s.heads, kRowWarps)), 32 * kRowWarps},
           dq, dout, q, k, v, statistics, s);
  }
};

}  // namespace

void GpuOps::attention_backward(AttentionBackward op) {
  op.check();
  const Heads& heads = op.heads;
  if (op.dq_NHd.numel() == 0) return;
  const AttentionShape s(op.q_NHd, op.k_NGd, heads.packed(), op.doc_start_BT.dim(0));
  CHECK(s.dim <= kMaxDim, op.q_NHd.describe());
  const auto padded = static_cast<int>(ceil_div(s.length, kStatisticsTile) * kStatisticsTile);
  const int64_t rows = int64_t{s.batch} * s.heads * padded;
  auto carving = workspace_.carve();
  const Statistics statistics{carving.take<float>(rows),
                              carving.take<float>(rows),
                              carving.take<int32_t>(int64_t{s.batch} * padded),
                              carving.take<int32_t>(int64_t{s.batch} * padded),
                              padded,
                              pointer<int32_t>(op.doc_start_BT),
                              static_cast<int>(op.window)};
  launch(
      stream_, statistics_kernel,
      {dim3(blocks(padded / kStatisticsTokens), blocks(ceil_div(s.heads, kStatisticsHeads)), blocks(s.batch)),
       kStatisticsTokens * kStatisticsHeads},
      statistics, pointer<float>(op.lse_NH), pointer<float>(op.delta_NH), pointer<int32_t>(op.doc_start_BT),
      s);
  if (provider_->attention_backward(op, statistics, carving)) return;
  with_activation(op.q_NHd.dtype(), [&]<class T>() {
    const Backward<T> backward{pointer<T>(op.dq_NHd),
                               pointer<T>(op.dk_NGd),
                               pointer<T>(op.dpacked_NP) + heads.values(),
                               pointer<T>(op.do_NHd),
                               pointer<T>(op.q_NHd),
                               pointer<T>(op.k_NGd),
                               pointer<T>(op.packed_NP) + heads.values(),
                               pointer<int32_t>(op.doc_start_BT),
                               statistics,
                               s};
    const bool wide = vector_width<T>(s.dim, backward.dq, backward.dk, backward.dv, backward.dout, backward.q,
                                      backward.k, backward.v) > 1;
    if (wide && with_matrix_units<T, BackwardTile>(
                    s.dim, arithmetic_.tf32, shared_of_block_,
                    [&]<class Number, int dim>() { backward.template run_mma<Number, dim>(stream_); }))
      return;
    if (wide) return backward.template run_rows<true>(stream_);
    backward.template run_rows<false>(stream_);
  });
}

}  // namespace moe::gpu
