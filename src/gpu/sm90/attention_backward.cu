// SPDX-License-Identifier: MIT
// Attention backward on Hopper in two kernels, so that every sum has one owner and a fixed order: one owns
// keys and loops over the queries (of all heads that share them) that see them, the other owns queries and
// loops over keys. Both compute the weights again. One kernel would need 5 products in place of 7, but would
// have to add its parts of dq in memory, in an order kept between blocks, with ds and the sums going through
// shared memory.
#include "gpu/launch.h"
#include "gpu/sm90/attention.h"
#include "gpu/sm90/attention_backward.cuh"
#include "ops/ops.h"

namespace moe::gpu {

void sm90_attention_backward(cudaStream_t stream, int num_sms, int* next_2, const Statistics& statistics,
                             AttentionBackward op) {
  using namespace sm90;
  const Shape shape = shape_of(op.doc_start_BT, op.heads);
  const BackwardMaps maps{map_of_heads(op.q_NHd), map_of_heads(op.k_NGd),
                          map_of_packed(op.packed_NP, op.heads.values(), op.heads.kv * op.heads.dim),
                          map_of_heads(op.do_NHd)};
  CUDA_CHECK(cudaMemsetAsync(next_2, 0, 2 * sizeof(int), stream));
  launch_key_gradients(stream, num_sms, maps, op, {statistics, shape, next_2});
  launch_query_gradients(stream, num_sms, maps, op, {statistics, shape, next_2 + 1});
}

}  // namespace moe::gpu
