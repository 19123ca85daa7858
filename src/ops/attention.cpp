// SPDX-License-Identifier: MIT
// Shapes, types and costs of attention's operations. Values are for the implementations: that positions are
// rows of the table, and where sequences start in a cache.
#include "ops/attention.h"

#include <cstdint>
#include <string>

#include "ops/cost.h"
#include "ops/expect.h"

namespace moe {
namespace {

// A norm's weight or its gradient: nothing where there is no norm.
void expect_norm(const Tensor& w, const char* name, int64_t width) {
  if (width > 0) return expect(w, name, DType::f32, {width});
  CHECK(w.empty(), std::string(name) + " without a norm");
}

// What forward and backward of QK-norm read alike. Returns the activation type.
template <class Op>
DType check_qk_norm_rope(const Op& op) {
  const Heads& heads = op.heads;
  const DType type = expect_activation(op.packed_NP, "qk_norm_rope: packed", 2);
  CHECK(heads.query > 0 && heads.kv > 0 && heads.query % heads.kv == 0,
        "qk_norm_rope: query heads must be a multiple of key/value heads");
  CHECK(heads.dim > 0 && heads.dim % 2 == 0 && heads.dim <= kMaxHeadDim,
        "qk_norm_rope: the head width must be even, at most 256");
  const int64_t n = op.packed_NP.dim(0);
  expect(op.packed_NP, "qk_norm_rope: packed", type, {n, heads.packed()});
  expect_norm(op.wq_d, "qk_norm_rope: wq", heads.query_norm());
  expect_norm(op.wk_d, "qk_norm_rope: wk", heads.key_norm());
  CHECK(op.rope_Td.rank() == 2, "qk_norm_rope: rope must be a matrix");
  expect(op.rope_Td, "qk_norm_rope: rope", DType::f32, {op.rope_Td.dim(0), heads.dim});
  expect(op.position_N, "qk_norm_rope: position", DType::i32, {n});
  if (heads.norms() > 0)
    expect(op.rstd_NJ, "qk_norm_rope: rstd", DType::f32, {n, heads.norms()});
  else
    CHECK(op.rstd_NJ.empty(), "qk_norm_rope: rstd without a norm");
  return type;
}

// q [N,H,d], k [N,G,d], packed [N,P], all of one activation type.
template <class Op>
void check_heads(const Op& op) {
  const Heads& heads = op.heads;
  const std::string shapes =
      op.q_NHd.describe() + ", " + op.k_NGd.describe() + ", " + op.packed_NP.describe();
  CHECK(is_activation(op.q_NHd.dtype()), shapes);
  CHECK(op.k_NGd.dtype() == op.q_NHd.dtype() && op.packed_NP.dtype() == op.q_NHd.dtype(), shapes);
  CHECK(op.q_NHd.rank() == 3 && op.k_NGd.rank() == 3, shapes);
  CHECK(heads.kv > 0 && heads.query % heads.kv == 0, shapes);
  const int64_t n = op.q_NHd.dim(0);
  CHECK(op.q_NHd.has_shape({n, heads.query, heads.dim}), shapes);
  CHECK(op.k_NGd.has_shape({n, heads.kv, heads.dim}), shapes);
  CHECK(op.packed_NP.has_shape({n, heads.packed()}), shapes);
}

void check_same(const Tensor& a, const Tensor& b) {
  CHECK(a.dtype() == b.dtype() && a.rank() == b.rank(), a.describe() + " and " + b.describe());
  for (int i = 0; i < a.rank(); ++i) CHECK(a.dim(i) == b.dim(i), a.describe() + " and " + b.describe());
}

void check_rows(const Tensor& lse_NH, const Tensor& q_NHd, const Tensor& doc_start_BT) {
  CHECK(lse_NH.dtype() == DType::f32 && lse_NH.has_shape({q_NHd.dim(0), q_NHd.dim(1)}), lse_NH.describe());
  CHECK(doc_start_BT.dtype() == DType::i32 && doc_start_BT.rank() == 2, doc_start_BT.describe());
  CHECK(doc_start_BT.numel() == q_NHd.dim(0), doc_start_BT.describe() + " and " + q_NHd.describe());
}

// One of attention's products over whole causal rows; document masks make it less.
double causal_product(const Tensor& q_NHd, const Tensor& doc_start_BT, int64_t window) {
  return 2 * static_cast<double>(q_NHd.numel()) * visible_keys(doc_start_BT.dim(1), window);
}

void check_window(int64_t window) {
  CHECK(window >= 0 && window <= INT32_MAX, std::to_string(window));
}

}  // namespace

double visible_keys(int64_t T, int64_t window) {
  const auto length = static_cast<double>(T), seen = static_cast<double>(window);
  return window == 0 || window >= T ? length / 2 : seen - seen * seen / (2 * length);
}

void QkNormRopeForward::check() const {
  const DType type = check_qk_norm_rope(*this);
  const int64_t n = packed_NP.dim(0);
  expect(q_NHd, "qk_norm_rope_forward: q", type, {n, heads.query, heads.dim});
  expect(k_NGd, "qk_norm_rope_forward: k", type, {n, heads.kv, heads.dim});
}

double QkNormRopeForward::bytes() const {
  // Of the packed rows q and k alone.
  return bytes_of({q_NHd, k_NGd, rstd_NJ, q_NHd, k_NGd, wq_d, wk_d, rope_Td, position_N});
}

void QkNormRopeBackward::check() const {
  const DType type = check_qk_norm_rope(*this);
  const int64_t n = packed_NP.dim(0);
  expect(dpacked_NP, "qk_norm_rope_backward: dpacked", type, {n, heads.packed()});
  expect_norm(dwq_d, "qk_norm_rope_backward: dwq", heads.query_norm());
  expect_norm(dwk_d, "qk_norm_rope_backward: dwk", heads.key_norm());
  expect(dq_NHd, "qk_norm_rope_backward: dq", type, {n, heads.query, heads.dim});
  expect(dk_NGd, "qk_norm_rope_backward: dk", type, {n, heads.kv, heads.dim});
}

double QkNormRopeBackward::bytes() const {
  // Of the packed rows and their gradient q and k alone.
  return bytes_of({dq_NHd, dk_NGd, dq_NHd, dk_NGd, dq_NHd, dk_NGd, dwq_d, dwk_d, wq_d, wk_d, rope_Td,
                   position_N, rstd_NJ});
}

void AttentionForward::check() const {
  check_heads(*this);
  check_same(y_NHd, q_NHd);
  check_rows(lse_NH, q_NHd, doc_start_BT);
  check_window(window);
}

double AttentionForward::flops() const {
  return 2 * causal_product(q_NHd, doc_start_BT, window);
}

double AttentionForward::bytes() const {
  // Of the packed rows the gates and the values: as much as q and k.
  return bytes_of({y_NHd, lse_NH, q_NHd, k_NGd, k_NGd, heads.gated ? q_NHd : Tensor()});
}

void GateBackward::check() const {
  const DType type = expect_activation(packed_NP, "gate_backward: packed", 2);
  const int64_t n = packed_NP.dim(0);
  expect(packed_NP, "gate_backward: packed", type, {n, heads.packed()});
  expect(dpacked_NP, "gate_backward: dpacked", type, {n, heads.packed()});
  expect(delta_NH, "gate_backward: delta", DType::f32, {n, heads.query});
  expect(do_NHd, "gate_backward: do", type, {n, heads.query, heads.dim});
  expect(y_NHd, "gate_backward: y", type, {n, heads.query, heads.dim});
  expect(dy_NHd, "gate_backward: dy", type, {n, heads.query, heads.dim});
  CHECK(heads.gated || do_NHd.data() == dy_NHd.data(), "gate_backward: without a gate d_o is dy");
}

double GateBackward::bytes() const {
  if (!heads.gated) return bytes_of({delta_NH, dy_NHd, y_NHd});
  // Of the packed rows and their gradient the gates.
  return bytes_of({do_NHd, delta_NH, dy_NHd, y_NHd, y_NHd, y_NHd});
}

void AttentionBackward::check() const {
  check_heads(*this);
  check_same(dq_NHd, q_NHd);
  check_same(dk_NGd, k_NGd);
  check_same(dpacked_NP, packed_NP);
  check_same(do_NHd, q_NHd);
  check_rows(lse_NH, q_NHd, doc_start_BT);
  check_rows(delta_NH, q_NHd, doc_start_BT);
  check_window(window);
}

double AttentionBackward::flops() const {
  return 5 * causal_product(q_NHd, doc_start_BT, window);
}

double AttentionBackward::bytes() const {
  // v and dv are as large as k.
  return bytes_of({dq_NHd, dk_NGd, dk_NGd, do_NHd, q_NHd, k_NGd, k_NGd, lse_NH, delta_NH});
}

void AttentionCached::check() const {
  check_heads(*this);
  check_same(y_NHd, q_NHd);
  check_same(k_cache_BSGd, v_cache_BSGd);
  const std::string shapes = k_cache_BSGd.describe() + ", " + k_NGd.describe();
  CHECK(k_cache_BSGd.dtype() == k_NGd.dtype() && k_cache_BSGd.rank() == 4, shapes);
  const int64_t batch = k_cache_BSGd.dim(0), rows = k_NGd.dim(0);
  CHECK(k_cache_BSGd.dim(2) == heads.kv && k_cache_BSGd.dim(3) == heads.dim, shapes);
  CHECK(batch > 0 && rows % batch == 0, shapes);
  CHECK(rows / batch <= k_cache_BSGd.dim(1), shapes);
  CHECK(start_B.dtype() == DType::i32 && start_B.has_shape({batch}), start_B.describe());
  check_window(window);
}

double AttentionCached::bytes() const {
  return bytes_of({y_NHd, k_cache_BSGd, v_cache_BSGd, q_NHd, k_NGd});
}

}  // namespace moe
