// SPDX-License-Identifier: MIT
// attention_forward: one task per sequence, kv head and block of queries (attention.h).
#include "cpu/attention.h"

#include "cpu/cpu_ops.h"
#include "cpu/gate.h"

namespace moe::cpu {

void CpuOps::attention_forward(AttentionForward op) {
  op.check();
  const Heads& layout = op.heads;
  const int64_t length = op.doc_start_BT.dim(1), heads = layout.query, kv_heads = layout.kv, dim = layout.dim;
  const int64_t group = heads / kv_heads, step = block_tokens(group), blocks = (length + step - 1) / step;
  with_type(op.q_NHd.dtype(), [&](auto type) {
    using T = decltype(type);
    const int64_t q_stride = heads * dim, k_stride = kv_heads * dim, packed = layout.packed();
    pool_.parallel_for(op.doc_start_BT.dim(0) * kv_heads * blocks, 1, [&](int64_t task, int64_t) {
      // Late blocks see the most keys: they come first, so that threads end together.
      const int64_t start = (blocks - 1 - task % blocks) * step;
      const int64_t kv_head = task / blocks % kv_heads, row = task / blocks / kv_heads * length;
      const int64_t at = (row + start) * q_stride + kv_head * group * dim;
      const QueryBlock<T> block{.tokens = std::min(step, length - start),
                                .group = group,
                                .dim = dim,
                                .position = start,
                                .first = op.doc_start_BT.as<int32_t>() + row + start,
                                .q = op.q_NHd.as<T>() + at,
                                .k = op.k_NGd.as<T>() + row * k_stride + kv_head * dim,
                                .v = op.packed_NP.as<T>() + row * packed + layout.values() + kv_head * dim,
                                .q_stride = q_stride,
                                .k_stride = k_stride,
                                .v_stride = packed,
                                .window = op.window};
      float* lse = op.lse_NH.as<float>() + (row + start) * heads + kv_head * group;
      BlockAttention<T>(gemm_, scratch_, block.rows(), dim)
          .run(block, op.y_NHd.as<T>() + at, q_stride, lse, heads);
      if (!layout.gated) return;
      gate_block(op.y_NHd.as<T>() + at, q_stride, op.packed_NP.as<T>() + (row + start) * packed, layout,
                 kv_head, block.tokens);
    });
  });
}

}  // namespace moe::cpu
