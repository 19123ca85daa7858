// SPDX-License-Identifier: MIT
// Shapes and types of attention (ops/ops.h), checked first by every implementation.
#pragma once

#include <string>

#include "base/error.h"
#include "ops/ops.h"

namespace moe::contracts {

// q, and the outputs shaped like it, [N,H,d]; k [N,G,d]; packed [N,P]; all of one activation type.
inline Heads check_heads(const Tensor& q_NHd, const Tensor& k_NGd, const Tensor& packed_NP) {
  const std::string shapes = q_NHd.describe() + ", " + k_NGd.describe() + ", " + packed_NP.describe();
  CHECK(is_activation(q_NHd.dtype()), shapes);
  CHECK(k_NGd.dtype() == q_NHd.dtype() && packed_NP.dtype() == q_NHd.dtype(), shapes);
  CHECK(q_NHd.rank() == 3 && k_NGd.rank() == 3, shapes);
  CHECK(k_NGd.dim(0) == q_NHd.dim(0) && k_NGd.dim(2) == q_NHd.dim(2), shapes);
  CHECK(k_NGd.dim(1) > 0 && q_NHd.dim(1) % k_NGd.dim(1) == 0, shapes);
  const Heads heads{q_NHd.dim(1), k_NGd.dim(1), q_NHd.dim(2)};
  CHECK(packed_NP.has_shape({q_NHd.dim(0), heads.packed()}), shapes);
  return heads;
}

inline void check_same(const Tensor& a, const Tensor& b) {
  CHECK(a.dtype() == b.dtype() && a.rank() == b.rank(), a.describe() + " and " + b.describe());
  for (int i = 0; i < a.rank(); ++i) CHECK(a.dim(i) == b.dim(i), a.describe() + " and " + b.describe());
}

inline void check_rows(const Tensor& lse_NH, const Tensor& q_NHd, const Tensor& doc_start_BT) {
  CHECK(lse_NH.dtype() == DType::f32 && lse_NH.has_shape({q_NHd.dim(0), q_NHd.dim(1)}), lse_NH.describe());
  CHECK(doc_start_BT.dtype() == DType::i32 && doc_start_BT.rank() == 2, doc_start_BT.describe());
  CHECK(doc_start_BT.numel() == q_NHd.dim(0), doc_start_BT.describe() + " and " + q_NHd.describe());
}

// These return what the shapes say of the heads.
inline Heads attention_forward(const Tensor& y_NHd, const Tensor& o_NHd, const Tensor& lse_NH,
                               const Tensor& q_NHd, const Tensor& k_NGd, const Tensor& packed_NP,
                               const Tensor& doc_start_BT) {
  const Heads heads = check_heads(q_NHd, k_NGd, packed_NP);
  check_same(y_NHd, q_NHd);
  check_same(o_NHd, q_NHd);
  check_rows(lse_NH, q_NHd, doc_start_BT);
  return heads;
}

inline Heads attention_backward(const Tensor& dq_NHd, const Tensor& dk_NGd, const Tensor& dpacked_NP,
                                const Tensor& do_NHd, const Tensor& q_NHd, const Tensor& k_NGd,
                                const Tensor& packed_NP, const Tensor& lse_NH, const Tensor& delta_NH,
                                const Tensor& doc_start_BT) {
  const Heads heads = check_heads(q_NHd, k_NGd, packed_NP);
  check_same(dq_NHd, q_NHd);
  check_same(dk_NGd, k_NGd);
  check_same(dpacked_NP, packed_NP);
  check_same(do_NHd, q_NHd);
  check_rows(lse_NH, q_NHd, doc_start_BT);
  check_rows(delta_NH, q_NHd, doc_start_BT);
  return heads;
}

inline Heads attention_cached(const Tensor& y_NHd, const Tensor& k_cache_BSGd, const Tensor& v_cache_BSGd,
                              const Tensor& q_NHd, const Tensor& k_NGd, const Tensor& packed_NP,
                              const Tensor& start_B) {
  const Heads heads = check_heads(q_NHd, k_NGd, packed_NP);
  check_same(y_NHd, q_NHd);
  check_same(k_cache_BSGd, v_cache_BSGd);
  const std::string shapes = k_cache_BSGd.describe() + ", " + k_NGd.describe();
  CHECK(k_cache_BSGd.dtype() == k_NGd.dtype() && k_cache_BSGd.rank() == 4, shapes);
  const int64_t batch = k_cache_BSGd.dim(0), rows = k_NGd.dim(0);
  CHECK(k_cache_BSGd.dim(2) == k_NGd.dim(1) && k_cache_BSGd.dim(3) == k_NGd.dim(2), shapes);
  CHECK(batch > 0 && rows % batch == 0, shapes);
  CHECK(rows / batch <= k_cache_BSGd.dim(1), shapes);
  CHECK(start_B.dtype() == DType::i32 && start_B.has_shape({batch}), start_B.describe());
  return heads;
}

}  // namespace moe::contracts
