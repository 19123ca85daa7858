// SPDX-License-Identifier: MIT
// The operations of attention: QK-norm with rotary positions, softmax attention, its gate. Letters, types and
// what holds for every op: ops/ops.h.
#pragma once

#include <cstdint>

#include "base/choices.h"
#include "tensor/tensor.h"

namespace moe {

inline constexpr int64_t kMaxHeadDim = 256;

// The RMSNorm of queries and keys before their rotation.
enum class QkNorm : uint8_t {
  head,        // over each head's d values, with weights [d] that heads share (Henry et al. 2020, Qwen3)
  projection,  // over all H d values of q, and all G d of k (OLMoE, arXiv 2409.02060)
  none,        // rotation alone (Mixtral, Llama)
};
constexpr auto choices_of(QkNorm) {
  return choices<QkNorm>(
      {{QkNorm::head, "head"}, {QkNorm::projection, "projection"}, {QkNorm::none, "none"}});
}

// One packed row of the fused projection: per query head [q_h (d) | gate_h (d)], then G keys, then G values.
// Without a gate there is no gate_h.
struct Heads {
  int64_t query = 0, kv = 0, dim = 0;  // H, G, d
  bool gated = true;
  QkNorm norm = QkNorm::head;
  int64_t query_stride() const { return (gated ? 2 : 1) * dim; }  // from a query head to the next
  int64_t packed() const { return keys() + 2 * kv * dim; }
  int64_t keys() const { return query * query_stride(); }  // where the keys begin
  int64_t values() const { return keys() + kv * dim; }     // where the values begin
  int64_t gate(int64_t head) const {                       // where head's gate begins
    return head * query_stride() + dim;
  }
  // Widths of the norm's weights for queries and for keys; 0: there is no norm.
  int64_t query_norm() const { return norm_width(query); }
  int64_t key_norm() const { return norm_width(kv); }
  // How many 1 / rms a token has: J.
  int64_t norms() const { return norm == QkNorm::head ? query + kv : norm == QkNorm::projection ? 2 : 0; }

 private:
  int64_t norm_width(int64_t heads) const {
    return norm == QkNorm::head ? dim : norm == QkNorm::projection ? heads * dim : 0;
  }
};

// Keys that a token of a row of T tokens sees on average: T / 2 without a window.
double visible_keys(int64_t T, int64_t window);

// From packed rows: q = rope(norm(q)), k = rope(norm(k)). Values and gates stay where they are.
// norm is RMSNorm with weight wq or wk, as heads.norm says: over d, where heads share the weight; over the
// whole projection, with wq [H d] and wk [G d]; or none, where wq, wk and rstd are empty.
// rope is rotate-half (Su et al. 2021) on the pairs (i, i + d/2):
//   y_i = x_i cos - x_{i+d/2} sin,  y_{i+d/2} = x_{i+d/2} cos + x_i sin.
// Row t of rope_Td f32 is [cos (d/2) | sin (d/2)]; position_N i32 picks the row.
// rstd_NJ f32 is kept for backward: one for each of the H+G heads, or that of q and that of k. q and k are
// rounded once.
struct QkNormRopeForward {
  static constexpr const char* name = "qk_norm_rope_forward";
  static constexpr const char* phase = "attention";
  Tensor q_NHd, k_NGd, rstd_NJ;
  const Tensor packed_NP, wq_d, wk_d, rope_Td, position_N;
  Heads heads;
  float eps;

  void check() const;
  double bytes() const;
};

// Writes the q and k parts of dpacked; dwq +=, dwk += (empty without a norm). The other parts of dpacked are
// written by GateBackward and AttentionBackward.
struct QkNormRopeBackward {
  static constexpr const char* name = "qk_norm_rope_backward";
  static constexpr const char* phase = "attention";
  Tensor dpacked_NP, dwq_d, dwk_d;
  const Tensor dq_NHd, dk_NGd, packed_NP, wq_d, wk_d, rope_Td, position_N, rstd_NJ;
  Heads heads;

  void check() const;
  double bytes() const;
};

// o = softmax(q k^T / sqrt(d) + mask) v for each row of B x T tokens and each head. Query head h reads kv
// head h / (H/G). y = sigmoid(gate) * o, elementwise: the G1 gate (arXiv 2505.06708); without a gate y is o.
// v and gate are read from the packed rows. o is not kept: GateBackward needs y alone. Where o is rounded
// before the gate, y is rounded twice.
// The mask is causal and by document: token t of row b sees the keys s with doc_start[b,t] <= s <= t. With a
// window w > 0 it sees the last w of them, its own included (Beltagy et al. 2020); 0 is no window.
// doc_start_BT is the place in the row where the token's document begins. It is the same for all tokens of a
// document: doc_start[b,t] <= t, and doc_start[b,s] == doc_start[b,t] for doc_start[b,t] <= s <= t.
// doc_start = -1 marks padding: its output is zero, and no token sees it.
// lse_NH f32 = log sum exp of the scaled scores, 0 for padding. No T x T matrix is kept (Dao et al. 2022).
struct AttentionForward {
  static constexpr const char* name = "attention_forward";
  static constexpr const char* phase = "attention";
  Tensor y_NHd, lse_NH;
  const Tensor q_NHd, k_NGd, packed_NP, doc_start_BT;
  Heads heads;
  int64_t window = 0;

  void check() const;
  double flops() const;
  double bytes() const;
};

// The gate's part of backward, which comes first. With s = sigmoid(gate) and y = s * o of forward:
//   d_o = dy * s,  the gate part of dpacked = dy * o * s * (1 - s) = dy * y * (1 - s).
// It also writes what is needed next: delta_NH f32 = sum over d of d_o * o = sum over d of dy * y.
// Nothing is divided by s, which may be 0. d_o may be dy.
// Without a gate only delta is written: d_o is dy.
struct GateBackward {
  static constexpr const char* name = "gate_backward";
  static constexpr const char* phase = "attention";
  Tensor do_NHd, delta_NH, dpacked_NP;
  const Tensor dy_NHd, y_NHd, packed_NP;
  Heads heads;

  void check() const;
  double bytes() const;
};

// From do and delta of GateBackward: dq, dk, and the v part of dpacked. The probabilities p are computed
// again from lse. Rounds twice: p and ds are rounded to A.
struct AttentionBackward {
  static constexpr const char* name = "attention_backward";
  static constexpr const char* phase = "attention";
  Tensor dq_NHd, dk_NGd, dpacked_NP;
  const Tensor do_NHd, q_NHd, k_NGd, packed_NP, lse_NH, delta_NH, doc_start_BT;
  Heads heads;
  int64_t window = 0;

  void check() const;
  double flops() const;
  double bytes() const;
};

// Generation. The keys and values (of the packed rows) of `count` new tokens of sequence b are written at
// [start[b], start[b] + count) of its cache. Then query i of it sees the cache entries [0, start[b] + i], or
// the last `window` of these, and y is as in AttentionForward.
// N = B * count; start_B i32; start[b] + count <= S.
struct AttentionCached {
  static constexpr const char* name = "attention_cached";
  static constexpr const char* phase = "attention";
  Tensor y_NHd, k_cache_BSGd, v_cache_BSGd;
  const Tensor q_NHd, k_NGd, packed_NP, start_B;
  Heads heads;
  int64_t window = 0;

  void check() const;
  double bytes() const;
};

}  // namespace moe
