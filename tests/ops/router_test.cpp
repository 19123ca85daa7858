// SPDX-License-Identifier: MIT
// The choice of experts, its losses and their gradient, against PyTorch and against finite differences.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/gradcheck.h"
#include "support/reference.h"

namespace moe::test {
namespace {

constexpr float kBalance = 0.3F, kZ = 0.7F;

// All tensors of the router for n tokens, e experts, k choices.
struct Router {
  Tensor logits, first, probability, lse, expert, weight, loss, mean, share, dweight, dlogits, scale;
  RoutePlan plan;

  Router(Machine& machine, int64_t n, int64_t e, int64_t k) {
    logits = machine.normal("logits", DType::f32, {n, e}, 2);
    first = machine.zeros(DType::i32, {n});
    probability = machine.zeros(DType::f32, {n, e});
    lse = machine.zeros(DType::f32, {n});
    expert = machine.zeros(DType::i32, {n, k});
    weight = machine.zeros(DType::f32, {n, k});
    loss = machine.zeros(DType::f32, {2});
    mean = machine.zeros(DType::f32, {e});
    share = machine.zeros(DType::f32, {e});
    dweight = machine.normal("dweight", DType::f32, {n, k});
    dlogits = machine.zeros(DType::f32, {n, e});
    scale = machine.of<float>(DType::f32, {1}, {0.5F});
    plan = {machine.zeros(DType::i32, {e + 1}), machine.zeros(DType::i32, {n * k}),
            machine.zeros(DType::i32, {n, k}), machine.zeros(DType::i32, {e}),
            machine.zeros(DType::i32, {e})};
  }
  void forward(Machine& machine, bool renormalise) {
    machine.ops().route({probability, lse, expert, weight, logits, first, {.renormalise = renormalise}});
    machine.ops().route_plan(plan, expert, {});
    machine.ops().router_losses({loss, mean, share, probability, lse, plan.top1_count_E, first});
  }
  void backward(Machine& machine, bool renormalise) {
    machine.ops().route_backward({dlogits,
                                  dweight,
                                  probability,
                                  lse,
                                  expert,
                                  weight,
                                  share,
                                  first,
                                  scale,
                                  kBalance,
                                  kZ,
                                  {.renormalise = renormalise}});
  }
};

class RouterTest : public OpsTest {};

TEST_F(RouterTest, MatchesTorch) {
  for (const bool renormalise : {true, false}) {
    const Golden golden("ops.safetensors", renormalise ? "renormalised." : "raw.");
    Router r(*this, 13, 5, 2);
    r.logits = golden.tensor(*this, "logits");
    r.first = golden.tensor(*this, "first");
    r.dweight = golden.tensor(*this, "dweight");
    r.forward(*this, renormalise);
    r.backward(*this, renormalise);
    EXPECT_EQ(values(r.expert), golden.values(*this, "expert"));
    EXPECT_EQ(values(r.plan.top1_count_E), golden.values(*this, "first_choices"));
    const std::vector<std::pair<Tensor, std::string>> outputs = {{r.probability, "probability"},
                                                                 {r.lse, "lse"},
                                                                 {r.weight, "weight"},
                                                                 {r.mean, "mean"},
                                                                 {r.share, "share"},
                                                                 {r.loss, "loss"},
                                                                 {r.dlogits, "dlogits"}};
    for (const auto& [tensor, name] : outputs)
      EXPECT_TRUE(close(values(tensor), golden.values(*this, name), kBoundF32)) << name;
  }
}

// Small steps and f32 values: errors of 1e-7 / 0.003 in a derivative; no step here changes a choice.
TEST_F(RouterTest, GradientAgreesWithFiniteDifferences) {
  for (const bool renormalise : {true, false})
    for (const int64_t n : {1, 7}) {
      Router r(*this, n, 6, 3);
      if (n == 7) set(r.first, std::vector<int>{0, 0, 0, -1, 4, 4, -1});
      r.forward(*this, renormalise);
      r.backward(*this, renormalise);
      const auto chosen = bytes(r.expert);
      const auto scalar = [&] {
        r.forward(*this, renormalise);
        EXPECT_EQ(bytes(r.expert), chosen) << "a tie too near for this test";
        const auto loss = values(r.loss);
        return inner(*this, r.weight, r.dweight) + 0.5 * (kBalance * loss[0] + kZ * loss[1]);
      };
      EXPECT_TRUE(gradient_agrees(*this, r.dlogits, r.logits, scalar, 0.003));
    }
}

TEST_F(RouterTest, TiesGoToTheLowerIndex) {
  Router r(*this, 3, 7, 3);
  set(r.logits, std::vector<double>{1, 1, 1, 1, 1, 1, 1,  //
                                    0, 2, 1, 2, 0, 1, 2,  //
                                    0, 0, 0, 0, 3, 3, 0});
  r.forward(*this, true);
  EXPECT_EQ(values(r.expert), (std::vector<double>{0, 1, 2, 1, 3, 6, 4, 5, 0}));
}

// More experts than a warp has lanes, more tokens than one partial sum takes.
TEST_F(RouterTest, ChoosesAmongManyExperts) {
  const size_t n = 300, e = 70, k = 40;
  Router r(*this, n, e, k);
  r.forward(*this, true);
  const auto logits = values(r.logits), p = values(r.probability), expert = values(r.expert);
  const auto lse = values(r.lse);
  std::vector<double> mean(e);
  double squares = 0;
  for (size_t t = 0; t < n; ++t) {
    std::vector<size_t> order(e);
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return logits[t * e + a] > logits[t * e + b]; });
    for (size_t j = 0; j < k; ++j) ASSERT_EQ(expert[t * k + j], static_cast<double>(order[j]));
    for (size_t i = 0; i < e; ++i) {
      ASSERT_NEAR(p[t * e + i], std::exp(logits[t * e + i] - lse[t]), 1e-6);
      mean[i] += p[t * e + i] / static_cast<double>(n);
    }
    squares += lse[t] * lse[t] / static_cast<double>(n);
  }
  EXPECT_TRUE(close(values(r.mean), mean, kBoundF32));
  EXPECT_NEAR(values(r.loss)[1] / squares, 1, 1e-6);
}

TEST_F(RouterTest, NanAndInfiniteLogitsGiveDifferentExpertsInRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  Router r(*this, 4, 5, 3);
  set(r.logits, std::vector<double>{nan,  nan,  nan,  nan,  nan,   //
                                    0,    nan,  2,    nan,  1,     //
                                    -inf, -inf, -inf, -inf, -inf,  //
                                    inf,  0,    inf,  1,    nan});
  r.forward(*this, true);
  const auto expert = values(r.expert);
  for (size_t n = 0; n < 4; ++n) {
    const std::set<double> chosen(expert.begin() + static_cast<long>(3 * n),
                                  expert.begin() + static_cast<long>(3 * n) + 3);
    EXPECT_EQ(chosen.size(), 3U) << n;
    EXPECT_GE(*chosen.begin(), 0) << n;
    EXPECT_LT(*chosen.rbegin(), 5) << n;
  }
}

TEST_F(RouterTest, HugeLogitsDoNotOverflow) {
  Router r(*this, 1, 3, 1);
  set(r.logits, std::vector<double>{1e30, -1e30, 0});
  r.forward(*this, false);
  EXPECT_EQ(values(r.probability), (std::vector<double>{1, 0, 0}));
  EXPECT_EQ(values(r.weight), (std::vector<double>{1}));
}

TEST_F(RouterTest, PaddingAloneGivesZeroes) {
  Router r(*this, 2, 3, 2);
  set(r.first, std::vector<int>{-1, -1});
  r.forward(*this, true);
  r.backward(*this, true);
  for (const Tensor& tensor : {r.probability, r.weight, r.lse, r.loss, r.mean, r.share, r.dlogits})
    EXPECT_EQ(values(tensor), std::vector<double>(static_cast<size_t>(tensor.numel())));
  EXPECT_EQ(values(r.expert), std::vector<double>(4, -1.0));
}

TEST_F(RouterTest, LogitsAreF32ProductsWhateverTheTypeOfX) {
  for (const DType half : kHalves)
    for (const auto& [n, e, d] :
         {std::array<int64_t, 3>{1, 5, 40}, {7, 6, 33}, {133, 70, 136}, {1100, 6, 9}}) {
      const Tensor x = normal("x", half, {n, d}), w = normal("w", DType::f32, {e, d});
      const Tensor same = of(DType::f32, {n, d}, values(x));
      const Tensor logits16 = zeros(DType::f32, {n, e}), logits32 = zeros(DType::f32, {n, e});
      ops().router_logits_forward(logits16, x, w);
      ops().router_logits_forward(logits32, same, w);
      EXPECT_EQ(bytes(logits16), bytes(logits32));
      const auto N = static_cast<size_t>(n), E = static_cast<size_t>(e), D = static_cast<size_t>(d);
      const auto product = reference_product(values(x), {D}, values(w), {D, true}, N, E, D);
      EXPECT_TRUE(close(values(logits32), product, kBoundF32));

      const Tensor dlogits = normal("dlogits", DType::f32, {n, e});
      const Tensor dx16 = normal("dx", half, {n, d}), dx32 = of(DType::f32, {n, d}, values(dx16));
      const Tensor dw16 = normal("dw", DType::f32, {e, d}), dw32 = of(DType::f32, {e, d}, values(dw16));
      auto dx = reference_product(values(dlogits), {E}, values(w), {D}, N, D, E), before = values(dx16);
      for (size_t i = 0; i < dx.size(); ++i) dx[i] += before[i];
      auto dw = reference_product(values(dlogits), {E, true}, values(x), {D}, E, D, N);
      before = values(dw16);
      for (size_t i = 0; i < dw.size(); ++i) dw[i] += before[i];
      ops().router_logits_backward({dx16, dw16, dlogits, x, w});
      ops().router_logits_backward({dx32, dw32, dlogits, same, w});
      EXPECT_EQ(bytes(dw16), bytes(dw32));
      EXPECT_TRUE(close(values(dw32), dw, kBoundF32));
      EXPECT_TRUE(close(values(dx32), dx, kBoundF32));
      EXPECT_TRUE(close(values(dx16), dx, bound_of(half)));
      const Tensor added = zeros(half, {n, d}), written = normal("dx", half, {n, d});
      ops().router_logits_backward({added, dw16, dlogits, x, w});
      ops().router_logits_backward({written, dw16, dlogits, x, w, false});
      EXPECT_EQ(bytes(written), bytes(added));
    }
}

// Widths that the matrix units take. Numbers as small as a router's in training must keep their bits, too.
TEST_F(RouterTest, LogitsOfPartsAreF32Products) {
  constexpr int64_t n = 133, e = 64, d = 136;
  for (const DType half : kHalves)
    for (const float small : {1.0F, 1e-2F, 1e-4F}) {
      const Tensor x = normal("x", half, {n, d}), w = normal("w", DType::f32, {e, d}, small);
      const Tensor logits = zeros(DType::f32, {n, e});
      ops().router_logits_forward(logits, x, w);
      const auto product = reference_product(values(x), {d}, values(w), {d, true}, n, e, d);
      EXPECT_TRUE(close(values(logits), product, kBoundF32)) << small;

      const Tensor dlogits = normal("dlogits", DType::f32, {n, e}, small);
      const Tensor dx = normal("dx", half, {n, d}), dw = zeros(DType::f32, {e, d});
      ops().router_logits_backward({dx, dw, dlogits, x, w, false});
      const auto dw_exact = reference_product(values(dlogits), {e, true}, values(x), {d}, e, d, n);
      EXPECT_TRUE(close(values(dw), dw_exact, kBoundF32)) << small;
      if (small < 1e-3F) continue;  // dx would be below the normal numbers of f16
      const auto dx_exact = reference_product(values(dlogits), {e}, values(w), {d}, n, d, e);
      EXPECT_TRUE(close(values(dx), dx_exact, 2 * bound_of(half))) << small;
    }
}

// In one pass or two: the choices are the same, and what is not kept does not count.
TEST_F(RouterTest, ProductAndChoiceTogetherAreTheTwo) {
  for (const DType dtype : kActivations)
    for (const auto& [n, e, k, d] : {std::array<int64_t, 4>{133, 64, 2, 136}, {33, 8, 8, 16}, {40, 6, 2, 16}})
      for (const RouterScore score : {RouterScore::softmax, RouterScore::sigmoid}) {
        const bool sigmoid = score == RouterScore::sigmoid;
        const Tensor x = normal("x", dtype, {n, d}), w = normal("w", DType::f32, {e, d}, 0.1F);
        const Tensor bias = sigmoid ? normal("bias", DType::f32, {e}, 0.1F) : Tensor();
        const RouterRule rule{.score = score, .renormalise = true, .scale = 1.5F};
        Router two(*this, n, e, k), one(*this, n, e, k);
        std::vector<int> first(static_cast<size_t>(n));
        for (size_t t = 4; t < first.size(); t += 7) first[t] = -1;
        for (Router* r : {&two, &one}) set(r->first, first);
        ops().router_logits_forward(two.logits, x, w);
        ops().route({two.probability, two.lse, two.expert, two.weight, two.logits, two.first, rule, bias});
        ops().router_forward(
            {{one.logits, x, w},
             {one.probability, one.lse, one.expert, one.weight, one.logits, one.first, rule, bias},
             sigmoid});
        EXPECT_EQ(bytes(one.expert), bytes(two.expert));
        if (sigmoid) {
          EXPECT_EQ(bytes(one.logits), bytes(two.logits));
        }
        const auto equal = [&](const Tensor& a, const Tensor& b, double bound) {
          EXPECT_TRUE(close(values(a), values(b), bound)) << n;
        };
        equal(one.probability, two.probability, kBoundF32);
        equal(one.weight, two.weight, kBoundF32);
        equal(one.lse, two.lse, kBoundF32);

        ops().route_plan(two.plan, two.expert, {});
        ops().router_losses(
            {two.loss, two.mean, two.share, two.probability, two.lse, two.plan.top1_count_E, two.first});
        std::vector<Tensor> dx, dw;
        for (const bool together : {false, true}) {
          dx.push_back(normal("dx", dtype, {n, d}));
          dw.push_back(normal("dw", DType::f32, {e, d}));
          const Tensor dlogits = zeros(DType::f32, {n, e}), rows = two.first.reshape({1, n});
          const RouteBackward route{dlogits,
                                    two.dweight,
                                    two.probability,
                                    two.lse,
                                    two.expert,
                                    two.weight,
                                    two.share,
                                    rows,
                                    two.scale,
                                    kBalance,
                                    kZ,
                                    rule,
                                    0.2F,
                                    sigmoid ? two.logits : Tensor()};
          const RouterLogitsBackward logits{dx.back(), dw.back(), dlogits, x, w};
          if (together) {
            ops().router_backward({route, logits, two.plan.top1_count_E});
          } else {
            ops().route_backward(route);
            ops().router_logits_backward(logits);
          }
        }
        equal(dx[1], dx[0], bound_of(dtype));
        equal(dw[1], dw[0], kBoundF32);
      }
}

TEST_F(RouterTest, LogitGradientsAgreeWithFiniteDifferences) {
  const Tensor x = normal("x", DType::f32, {7, 9}), w = normal("w", DType::f32, {5, 9});
  const Tensor logits = zeros(DType::f32, {7, 5}), r = normal("r", DType::f32, {7, 5});
  const Tensor dx = zeros(DType::f32, {7, 9}), dw = zeros(DType::f32, {5, 9});
  const auto scalar = [&] {
    ops().router_logits_forward(logits, x, w);
    return inner(*this, logits, r);
  };
  ops().router_logits_backward({dx, dw, r, x, w});
  EXPECT_TRUE(gradient_agrees(*this, dx, x, scalar));
  EXPECT_TRUE(gradient_agrees(*this, dw, w, scalar));
}

TEST_F(RouterTest, SameBitsWithAnyNumberOfThreads) {
  expect_same_bits([](Machine& machine) {
    Router r(machine, 1000, 16, 2);
    r.forward(machine, true);
    r.backward(machine, true);
    return std::vector{r.probability, r.lse, r.expert, r.weight, r.loss, r.mean, r.share, r.dlogits};
  });
}

TEST_F(RouterTest, RefusesWrongShapesAndTypes) {
  const auto refused = [&](auto change) {
    Router r(*this, 4, 5, 2);
    change(r);
    EXPECT_THROW((r.forward(*this, true), r.backward(*this, true)), InternalError);
  };
  refused([&](Router& r) { r.logits = zeros(DType::f32, {4, 6}); });
  refused([&](Router& r) { r.logits = zeros(DType::bf16, {4, 5}); });
  refused([&](Router& r) { r.expert = zeros(DType::i32, {4, 6}); });
  refused([&](Router& r) { r.expert = zeros(DType::f32, {4, 2}); });
  refused([&](Router& r) { r.first = zeros(DType::i32, {5}); });
  refused([&](Router& r) { r.lse = zeros(DType::f32, {5}); });
  refused([&](Router& r) { r.loss = zeros(DType::f32, {1}); });
  refused([&](Router& r) { r.mean = zeros(DType::f32, {4}); });
  refused([&](Router& r) { r.share = Tensor(); });
  refused([&](Router& r) { r.dweight = zeros(DType::f32, {4, 3}); });
  refused([&](Router& r) { r.dlogits = zeros(DType::f32, {5, 4}); });
  refused([&](Router& r) { r.scale = zeros(DType::f32, {2}); });
  const Tensor x = zeros(DType::f32, {4, 3}), w = zeros(DType::f32, {5, 3}),
               logits = zeros(DType::f32, {4, 5});
  EXPECT_THROW(ops().router_logits_forward(logits, x, zeros(DType::f32, {5, 4})), InternalError);
  EXPECT_THROW(ops().router_logits_forward(x, x, w), InternalError);
  EXPECT_THROW(ops().router_logits_backward({x, zeros(DType::f32, {4, 3}), logits, x, w}), InternalError);
  EXPECT_THROW(ops().router_logits_backward({zeros(DType::bf16, {4, 3}), w, logits, x, w}), InternalError);
}

}  // namespace
}  // namespace moe::test
