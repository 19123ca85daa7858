// SPDX-License-Identifier: MIT
// attention_cached: generation, one task per sequence, kv head and block of new tokens (attention.h).
#include <algorithm>
#include <string>

#include "cpu/attention.h"
#include "cpu/cpu_ops.h"
#include "cpu/gate.h"

namespace moe::cpu {

void CpuOps::attention_cached(AttentionCached op) {
  op.check();
  const Heads& layout = op.heads;
  const int64_t batch = op.k_cache_BSGd.dim(0), capacity = op.k_cache_BSGd.dim(1),
                count = op.q_NHd.dim(0) / batch;
  const int64_t heads = layout.query, kv_heads = layout.kv, dim = layout.dim, group = heads / kv_heads;
  const int64_t step = block_tokens(group), blocks = (count + step - 1) / step;
  const auto* start = op.start_B.as<int32_t>();
  for (int64_t b = 0; b < batch; ++b)
    CHECK(start[b] >= 0 && start[b] + count <= capacity, std::to_string(start[b]));
  const int64_t q_stride = heads * dim, kv_stride = kv_heads * dim, packed = layout.packed();
  with_type(op.q_NHd.dtype(), [&](auto type) {
    using T = decltype(type);
    pool_.parallel_for(batch, 1, [&](int64_t b, int64_t) {
      const int64_t from = b * count * kv_stride, to = (b * capacity + start[b]) * kv_stride;
      std::copy_n(op.k_NGd.as<T>() + from, count * kv_stride, op.k_cache_BSGd.as<T>() + to);
      for (int64_t i = 0; i < count; ++i)
        std::copy_n(op.packed_NP.as<T>() + (b * count + i) * packed + layout.values(), kv_stride,
                    op.v_cache_BSGd.as<T>() + to + i * kv_stride);
    });
    pool_.parallel_for(batch * kv_heads * blocks, 1, [&](int64_t task, int64_t) {
      const int64_t begin = task % blocks * step, kv_head = task / blocks % kv_heads;
      const int64_t b = task / blocks / kv_heads;
      const int64_t at = (b * count + begin) * q_stride + kv_head * group * dim;
      const int64_t cache_at = b * capacity * kv_stride + kv_head * dim;
      const QueryBlock<T> block{.tokens = std::min(step, count - begin),
                                .group = group,
                                .dim = dim,
                                .position = start[b] + begin,
                                .first = nullptr,
                                .q = op.q_NHd.as<T>() + at,
                                .k = op.k_cache_BSGd.as<T>() + cache_at,
                                .v = op.v_cache_BSGd.as<T>() + cache_at,
                                .q_stride = q_stride,
                                .k_stride = kv_stride,
                                .v_stride = kv_stride,
                                .window = op.window};
      BlockAttention<T>(gemm_, scratch_, block.rows(), dim)
          .run(block, op.y_NHd.as<T>() + at, q_stride, nullptr, 0);
      if (!layout.gated) return;
      gate_block(op.y_NHd.as<T>() + at, q_stride, op.packed_NP.as<T>() + (b * count + begin) * packed, layout,
                 kv_head, block.tokens);
    });
  });
}

}  // namespace moe::cpu
