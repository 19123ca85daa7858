// SPDX-License-Identifier: MIT
// Attention backward on Hopper in two kernels, so that every sum has one owner and a fixed order: one owns
// keys and loops over the queries (of all heads that share them) that see them, the other owns queries and
// loops over keys. Both compute the weights again. One kernel would need 5 products in place of 7, but would
// have to add its parts of dq in memory, in an order kept between blocks, with ds and the sums going through
// shared memory.
#include "gpu/launch.h"
#include "gpu/sm90/attention.h"
#include "gpu/sm90/attention_backward.cuh"
#include "gpu/tensor_map.h"
#include "ops/ops.h"

namespace moe::gpu {

void sm90_attention_backward(cudaStream_t stream, int num_sms, int* next_2, const Statistics& statistics,
                             AttentionBackward op) {
  using namespace sm90;
  const int64_t N = op.q_NHd.dim(0), H = op.q_NHd.dim(1), G = op.k_NGd.dim(1);
  const Heads& heads = op.heads;
  const Shape shape = shape_of(op.doc_start_BT, H, G);
  const auto stride = static_cast<int>(heads.packed());
  const auto map = [N](const Tensor& t) { return tensor_map(t.data(), N, t.dim(1) * kWidth, kTokens); };
  const BackwardMaps maps{
      map(op.q_NHd), map(op.k_NGd),
      tensor_map(pointer<bf16>(op.packed_NP) + heads.values(), N, G * kWidth, kTokens, stride),
      map(op.do_NHd)};
  CUDA_CHECK(cudaMemsetAsync(next_2, 0, 2 * sizeof(int), stream));
  launch_key_gradients(stream, num_sms, maps, pointer<bf16>(op.dk_NGd),
                       pointer<bf16>(op.dpacked_NP) + heads.values(), stride, {statistics, shape, next_2});
  launch_query_gradients(stream, num_sms, maps, pointer<bf16>(op.dq_NHd), {statistics, shape, next_2 + 1});
}

}  // namespace moe::gpu
