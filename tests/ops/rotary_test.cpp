// SPDX-License-Identifier: MIT
// QK-norm with rotary positions against PyTorch (complex numbers there), and against finite differences.
// Norms over the whole projection, and none, meet PyTorch in tests/model/golden_test.cpp.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/gradcheck.h"

namespace moe::test {
namespace {

constexpr float kEps = 1e-5F;
constexpr QkNorm kNorms[] = {QkNorm::head, QkNorm::projection, QkNorm::none};

Heads heads_of(int64_t query, int64_t kv, int64_t dim, QkNorm norm, bool gated = true) {
  return {query, kv, dim, gated, norm};
}

// All tensors of one call, for `n` tokens.
struct Rotary {
  Heads heads;
  Tensor packed, wq, wk, rope, position, q, k, rstd, dpacked, dwq, dwk, dq, dk;

  Rotary(Machine& machine, DType dtype, int64_t n, Heads h) : heads(h) {
    const int64_t d = h.dim;
    packed = machine.normal("packed", dtype, {n, h.packed()});
    if (h.norms() > 0) {
      wq = machine.normal("wq", DType::f32, {h.query_norm()});
      wk = machine.normal("wk", DType::f32, {h.key_norm()});
      rstd = machine.zeros(DType::f32, {n, h.norms()});
      dwq = machine.zeros(DType::f32, {h.query_norm()});
      dwk = machine.zeros(DType::f32, {h.key_norm()});
    }
    std::vector<double> table, positions;
    for (int64_t t = 0; t < 19; ++t)
      for (int64_t i = 0; i < d; ++i) {
        const double angle =
            static_cast<double>(t) *
            std::pow(100.0, -2.0 * static_cast<double>(i % (d / 2)) / static_cast<double>(d));
        table.push_back(i < d / 2 ? std::cos(angle) : std::sin(angle));
      }
    for (int64_t t = 0; t < n; ++t) positions.push_back(static_cast<double>((t * 7) % 19));
    rope = machine.of(DType::f32, {19, d}, table);
    position = machine.of(DType::i32, {n}, positions);
    q = machine.zeros(dtype, {n, h.query, d});
    k = machine.zeros(dtype, {n, h.kv, d});
    dq = machine.normal("dq", dtype, {n, h.query, d});
    dk = machine.normal("dk", dtype, {n, h.kv, d});
    dpacked = machine.zeros(dtype, {n, h.packed()});
  }
  void forward(Machine& machine) {
    machine.ops().qk_norm_rope_forward({q, k, rstd, packed, wq, wk, rope, position, heads, kEps});
  }
  void backward(Machine& machine) {
    machine.ops().qk_norm_rope_backward(
        {dpacked, dwq, dwk, dq, dk, packed, wq, wk, rope, position, rstd, heads});
  }
};

class RotaryTest : public OpsTest {};

TEST_F(RotaryTest, MatchesTorch) {
  const Golden golden("ops.safetensors", "rotary.");
  Rotary r(*this, DType::f32, 7, {4, 2, 10});
  const std::vector<std::pair<Tensor*, std::string>> inputs = {
      {&r.packed, "packed"},     {&r.wq, "wq"}, {&r.wk, "wk"}, {&r.rope, "rope"},
      {&r.position, "position"}, {&r.dq, "dq"}, {&r.dk, "dk"}};
  for (const auto& [tensor, name] : inputs) *tensor = golden.tensor(*this, name);
  // dpacked is whole only with the parts of the values and the gate, which are other ops'.
  const auto v = golden.values(*this, "v"), dv = golden.values(*this, "dv");
  auto dpacked = values(r.dpacked);
  const auto packed = values(r.packed);
  for (size_t i = 0; i < v.size(); ++i) {
    const size_t at = i / 20 * 120 + static_cast<size_t>(r.heads.values()) + i % 20;
    EXPECT_EQ(packed[at], v[i]);
    dpacked[at] = dv[i];
  }
  set(r.dpacked, dpacked);
  r.forward(*this);
  r.backward(*this);
  ops().gate_backward({zeros(DType::f32, {7, 4, 10}), zeros(DType::f32, {7, 4}), r.dpacked,
                       golden.tensor(*this, "dy"), golden.tensor(*this, "y"), r.packed, r.heads});
  const std::vector<std::pair<Tensor, std::string>> outputs = {
      {r.q, "q"}, {r.k, "k"}, {r.dwq, "dwq"}, {r.dwk, "dwk"}, {r.dpacked, "dpacked"}};
  for (const auto& [tensor, name] : outputs)
    EXPECT_TRUE(close(values(tensor), golden.values(*this, name), kBoundF32)) << name;
}

TEST_F(RotaryTest, GradientsAgreeWithFiniteDifferences) {
  for (const QkNorm norm : kNorms)
    for (const int64_t n : {1, 3}) {
      Rotary r(*this, DType::f32, n, heads_of(2, 1, 6, norm, n == 1));
      const auto scalar = [&] {
        r.forward(*this);
        return inner(*this, r.q, r.dq) + inner(*this, r.k, r.dk);
      };
      scalar();
      r.backward(*this);
      EXPECT_TRUE(gradient_agrees(*this, r.dpacked, r.packed, scalar)) << name_of(norm);
      if (norm == QkNorm::none) continue;
      EXPECT_TRUE(gradient_agrees(*this, r.dwq, r.wq, scalar)) << name_of(norm);
      EXPECT_TRUE(gradient_agrees(*this, r.dwk, r.wk, scalar)) << name_of(norm);
    }
}

// With one head of each kind the projection is the head.
TEST_F(RotaryTest, OneHeadIsTheWholeProjection) {
  Rotary head(*this, DType::f32, 40, heads_of(1, 1, 12, QkNorm::head));
  Rotary whole(*this, DType::f32, 40, heads_of(1, 1, 12, QkNorm::projection));
  for (Rotary* r : {&head, &whole}) r->forward(*this), r->backward(*this);
  for (const auto member :
       {&Rotary::q, &Rotary::k, &Rotary::rstd, &Rotary::dpacked, &Rotary::dwq, &Rotary::dwk})
    EXPECT_TRUE(close(values(whole.*member), values(head.*member), kBoundF32));
}

TEST_F(RotaryTest, LeavesGatesAndValuesAlone) {
  for (const QkNorm norm : kNorms) {
    Rotary r(*this, DType::f32, 5, heads_of(2, 1, 4, norm));
    ops().fill(r.dpacked, 7);
    r.forward(*this);
    r.backward(*this);
    const auto got = values(r.dpacked);
    for (size_t i = 0; i < got.size(); ++i) {
      const size_t column = i % 24;
      if ((column < 16 && column % 8 >= 4) || column >= 20) {
        EXPECT_EQ(got[i], 7) << column;
      } else {
        EXPECT_NE(got[i], 7) << column;
      }
    }
  }
}

TEST_F(RotaryTest, RoundedTypesMatchF32OnTheSameInputs) {
  for (const DType dtype : kHalves)
    for (const QkNorm norm : kNorms)
      for (const auto& [n, d] : {std::pair<int64_t, int64_t>{1, 16}, {33, 64}, {5, 136}, {5, 34}}) {
        Rotary half(*this, dtype, n, heads_of(4, 2, d, norm)),
            full(*this, DType::f32, n, heads_of(4, 2, d, norm));
        set(full.packed, values(half.packed));
        set(full.dq, values(half.dq));
        set(full.dk, values(half.dk));
        for (Rotary* r : {&half, &full}) r->forward(*this), r->backward(*this);
        EXPECT_TRUE(close(values(half.q), values(full.q), bound_of(dtype)));
        EXPECT_TRUE(close(values(half.k), values(full.k), bound_of(dtype)));
        EXPECT_TRUE(close(values(half.dpacked), values(full.dpacked), bound_of(dtype)));
        if (norm == QkNorm::none) continue;
        // The same sums in f32, but compilers may fuse multiplications and additions differently for the two
        // types.
        EXPECT_TRUE(close(values(half.dwq), values(full.dwq), kBoundF32));
        EXPECT_TRUE(close(values(half.dwk), values(full.dwk), kBoundF32));
      }
}

TEST_F(RotaryTest, SameBitsWithAnyNumberOfThreads) {
  for (const QkNorm norm : {QkNorm::head, QkNorm::projection})
    expect_same_bits([norm](Machine& machine) {
      Rotary r(machine, DType::bf16, 300, heads_of(4, 2, 16, norm));
      r.forward(machine);
      r.backward(machine);
      return std::vector{r.q, r.k, r.rstd, r.dpacked, r.dwq, r.dwk};
    });
}

TEST_F(RotaryTest, RefusesWrongShapes) {
  const Rotary good(*this, DType::f32, 3, {4, 2, 6});
  const auto refused = [&](auto change, bool also_backward) {
    Rotary bad = good;
    change(bad);
    EXPECT_THROW(bad.forward(*this), InternalError);
    if (also_backward) {
      EXPECT_THROW(bad.backward(*this), InternalError);
    }
  };
  refused([&](Rotary& r) { r.q = zeros(DType::f32, {3, 4, 8}); }, false);
  refused([&](Rotary& r) { r.rstd = zeros(DType::f32, {3, 4}); }, true);
  refused([&](Rotary& r) { r.packed = zeros(DType::bf16, {3, 72}); }, true);
  refused([&](Rotary& r) { r.heads.kv = 3; }, true);
  refused([&](Rotary& r) { r.heads.dim = 5; }, true);
  refused([&](Rotary& r) { r.rope = zeros(DType::f32, {19, 3}); }, true);
  refused([&](Rotary& r) { r.heads.norm = QkNorm::projection; }, true);
  refused([&](Rotary& r) { r.heads.norm = QkNorm::none; }, true);
  Rotary bad = good;
  bad.dk = zeros(DType::f32, {3, 4, 6});
  EXPECT_THROW(bad.backward(*this), InternalError);
}

TEST_F(RotaryTest, APositionOutsideTheTableIsAnError) {
  for (const auto& [wrong, norm] :
       {std::pair{19, QkNorm::head}, {-1, QkNorm::projection}, {-1, QkNorm::head}, {19, QkNorm::none}}) {
    Rotary r(*this, DType::f32, 3, heads_of(4, 2, 6, norm));
    r.position = of<int>(DType::i32, {3}, {0, wrong, 1});
    if (test_device() == "cpu") {
      EXPECT_THROW(r.forward(*this), InternalError);
      EXPECT_THROW(r.backward(*this), InternalError);
      continue;
    }
    r.forward(*this);  // a kernel cannot throw
    r.backward(*this);
    const auto q = values(r.q), dpacked = values(r.dpacked);
    for (size_t t = 0; t < 3; ++t) {
      EXPECT_EQ(std::isnan(q[t * 24]), t == 1);
      EXPECT_EQ(std::isnan(dpacked[t * 72]), t == 1);
    }
  }
}

}  // namespace
}  // namespace moe::test
