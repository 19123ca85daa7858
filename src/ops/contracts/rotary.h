// SPDX-License-Identifier: MIT
// Shapes and types of QK-norm with rotary positions. That positions are rows of the table is for the
// implementation, which sees the values.
#pragma once

#include "ops/contracts/expect.h"
#include "ops/ops.h"

namespace moe::contracts {

inline constexpr int64_t kMaxHeadDim = 256;

// What forward and backward read alike. Returns the activation type.
inline DType check_qk_norm_rope(const Tensor& packed_NP, const Tensor& wq_d, const Tensor& wk_d,
                                const Tensor& rope_Td, const Tensor& position_N, const Tensor& rstd_NJ,
                                const Heads& heads) {
  const DType type = expect_activation(packed_NP, "qk_norm_rope: packed", 2);
  CHECK(heads.query > 0 && heads.kv > 0 && heads.query % heads.kv == 0,
        "qk_norm_rope: query heads must be a multiple of key/value heads");
  CHECK(heads.dim > 0 && heads.dim % 2 == 0 && heads.dim <= kMaxHeadDim,
        "qk_norm_rope: the head width must be even, at most 256");
  const int64_t n = packed_NP.dim(0);
  expect(packed_NP, "qk_norm_rope: packed", type, {n, heads.packed()});
  expect(wq_d, "qk_norm_rope: wq", DType::f32, {heads.dim});
  expect(wk_d, "qk_norm_rope: wk", DType::f32, {heads.dim});
  CHECK(rope_Td.rank() == 2, "qk_norm_rope: rope must be a matrix");
  expect(rope_Td, "qk_norm_rope: rope", DType::f32, {rope_Td.dim(0), heads.dim});
  expect(position_N, "qk_norm_rope: position", DType::i32, {n});
  expect(rstd_NJ, "qk_norm_rope: rstd", DType::f32, {n, heads.query + heads.kv});
  return type;
}

inline void check_qk_norm_rope_forward(const Tensor& q_NHd, const Tensor& k_NGd, const Tensor& rstd_NJ,
                                       const Tensor& packed_NP, const Tensor& wq_d, const Tensor& wk_d,
                                       const Tensor& rope_Td, const Tensor& position_N, const Heads& heads) {
  const DType type = check_qk_norm_rope(packed_NP, wq_d, wk_d, rope_Td, position_N, rstd_NJ, heads);
  const int64_t n = packed_NP.dim(0);
  expect(q_NHd, "qk_norm_rope_forward: q", type, {n, heads.query, heads.dim});
  expect(k_NGd, "qk_norm_rope_forward: k", type, {n, heads.kv, heads.dim});
}

inline void check_qk_norm_rope_backward(const Tensor& dpacked_NP, const Tensor& dwq_d, const Tensor& dwk_d,
                                        const Tensor& dq_NHd, const Tensor& dk_NGd, const Tensor& packed_NP,
                                        const Tensor& wq_d, const Tensor& wk_d, const Tensor& rope_Td,
                                        const Tensor& position_N, const Tensor& rstd_NJ, const Heads& heads) {
  const DType type = check_qk_norm_rope(packed_NP, wq_d, wk_d, rope_Td, position_N, rstd_NJ, heads);
  const int64_t n = packed_NP.dim(0);
  expect(dpacked_NP, "qk_norm_rope_backward: dpacked", type, {n, heads.packed()});
  expect(dwq_d, "qk_norm_rope_backward: dwq", DType::f32, {heads.dim});
  expect(dwk_d, "qk_norm_rope_backward: dwk", DType::f32, {heads.dim});
  expect(dq_NHd, "qk_norm_rope_backward: dq", type, {n, heads.query, heads.dim});
  expect(dk_NGd, "qk_norm_rope_backward: dk", type, {n, heads.kv, heads.dim});
}

}  // namespace moe::contracts
