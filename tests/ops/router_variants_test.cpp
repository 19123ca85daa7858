// SPDX-License-Identifier: MIT
// Routers with sigmoids, scaled weights, a biased choice and a balance loss of rows, against PyTorch
// (tools/make_router_goldens.py) and against finite differences.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/gradcheck.h"

namespace moe::test {
namespace {

constexpr float kScale = 0.5F, kBalance = 0.3F, kZ = 0.7F, kSequence = 0.9F;

struct Variant {
  const char* name;
  RouterRule rule;
  bool biased;
  float sequence;  // weight of the loss
};
// The same as in the script.
constexpr Variant kVariants[] = {
    {"sigmoid", {RouterScore::sigmoid, true, 2.5F}, false, 0},
    {"sigmoid_raw", {RouterScore::sigmoid, false, 1.5F}, true, kSequence},
    {"biased", {RouterScore::softmax, true, 2}, true, kSequence},
    {"scaled", {RouterScore::softmax, false, 3}, false, 0},
};

// All tensors of a router for B rows of T tokens, E experts, K choices.
struct Router {
  Tensor logits, first, bias, probability, lse, expert, weight, loss, mean, share, sequence, dweight, dlogits,
      scale;
  RoutePlan plan;
  RouterRule rule;
  float sequence_weight;

  Router(Machine& machine, const Variant& variant, int64_t B, int64_t T, int64_t E, int64_t K)
      : rule(variant.rule), sequence_weight(variant.sequence) {
    const int64_t N = B * T;
    logits = machine.normal("logits", DType::f32, {N, E}, 2);
    first = machine.zeros(DType::i32, {B, T});
    if (variant.biased) bias = machine.normal("bias", DType::f32, {E}, 0.2F);
    probability = machine.zeros(DType::f32, {N, E});
    lse = machine.zeros(DType::f32, {N});
    expert = machine.zeros(DType::i32, {N, K});
    weight = machine.zeros(DType::f32, {N, K});
    loss = machine.zeros(DType::f32, {2});
    mean = machine.zeros(DType::f32, {E});
    share = machine.zeros(DType::f32, {E});
    sequence = machine.zeros(DType::f32, {1});
    dweight = machine.normal("dweight", DType::f32, {N, K});
    dlogits = machine.zeros(DType::f32, {N, E});
    scale = machine.of<float>(DType::f32, {1}, {kScale});
    plan = {machine.zeros(DType::i32, {E + 1}), machine.zeros(DType::i32, {N * K}),
            machine.zeros(DType::i32, {N, K}), machine.zeros(DType::i32, {E}),
            machine.zeros(DType::i32, {E})};
  }
  void forward(Machine& machine) {
    machine.ops().route({probability, lse, expert, weight, logits, first, rule, bias});
    machine.ops().route_plan(plan, expert, {});
    machine.ops().router_losses({loss, mean, share, probability, lse, plan.top1_count_E, first});
    machine.ops().sequence_loss({sequence, probability, expert, first});
  }
  void backward(Machine& machine) {
    machine.ops().route_backward({dlogits, dweight, probability, lse, expert, weight, share, first, scale,
                                  kBalance, kZ, rule, sequence_weight, logits});
  }
  std::vector<Tensor> results() const {
    return {probability, lse, expert, weight, loss, mean, share, sequence, dlogits};
  }
};

class RouterVariants : public OpsTest {};

TEST_F(RouterVariants, MatchTorch) {
  for (const Variant& variant : kVariants) {
    const Golden golden("router.safetensors", std::string(variant.name) + ".");
    Router r(*this, variant, 3, 7, 5, 2);
    r.logits = golden.tensor(*this, "logits");
    r.first = golden.tensor(*this, "first");
    r.dweight = golden.tensor(*this, "dweight");
    if (variant.biased) r.bias = golden.tensor(*this, "bias");
    r.forward(*this);
    r.backward(*this);
    EXPECT_EQ(values(r.expert), golden.values(*this, "expert")) << variant.name;
    const std::vector<std::pair<Tensor, std::string>> outputs = {{r.probability, "probability"},
                                                                 {r.lse, "lse"},
                                                                 {r.weight, "weight"},
                                                                 {r.mean, "mean"},
                                                                 {r.share, "share"},
                                                                 {r.loss, "loss"},
                                                                 {r.sequence, "sequence_loss"},
                                                                 {r.dlogits, "dlogits"}};
    for (const auto& [tensor, name] : outputs)
      EXPECT_TRUE(close(values(tensor), golden.values(*this, name), kBoundF32))
          << variant.name << ": " << name;
  }
}

// No step here changes a choice, and so no share: the losses are smooth.
TEST_F(RouterVariants, GradientsAgreeWithFiniteDifferences) {
  for (const Variant& variant : kVariants) {
    Router r(*this, variant, 2, 4, 6, 3);
    set(r.first, std::vector<int>{0, 0, 0, -1, 0, 1, 1, 1});
    r.forward(*this);
    r.backward(*this);
    const auto chosen = bytes(r.expert);
    const auto scalar = [&] {
      r.forward(*this);
      EXPECT_EQ(bytes(r.expert), chosen) << "a tie too near for this test";
      const auto loss = values(r.loss);
      const double losses = kBalance * loss[0] + kZ * loss[1] + r.sequence_weight * values(r.sequence)[0];
      return inner(*this, r.weight, r.dweight) + kScale * losses;
    };
    EXPECT_TRUE(gradient_agrees(*this, r.dlogits, r.logits, scalar, 0.003)) << variant.name;
  }
}

// More experts than a warp has lanes, more tokens than a block of a kernel takes. A bias decides who is
// chosen; weights are the scores without it.
TEST_F(RouterVariants, ABiasChoosesAndDoesNotWeigh) {
  for (const Variant& variant : kVariants) {
    if (!variant.biased) continue;
    const size_t n = 300, e = 70, k = 9;
    Router r(*this, variant, 3, 100, e, k);
    r.forward(*this);
    Router plain(*this, {variant.name, variant.rule, false, 0}, 3, 100, e, e);  // the scores of all experts
    plain.rule.renormalise = false;
    plain.forward(*this);
    const auto order = values(plain.expert), scores = values(plain.weight), bias = values(r.bias);
    const auto expert = values(r.expert), weight = values(r.weight);
    for (size_t t = 0; t < n; ++t) {
      std::vector<double> score(e), ranked(e);
      for (size_t i = 0; i < e; ++i)
        score[static_cast<size_t>(order[t * e + i])] = scores[t * e + i] / variant.rule.scale;
      for (size_t i = 0; i < e; ++i) ranked[i] = score[i] + bias[i];
      double sum = 0;
      for (size_t j = 0; j < k; ++j) sum += score[static_cast<size_t>(expert[t * k + j])];
      for (size_t j = 0; j < k; ++j) {
        const auto chosen = static_cast<size_t>(expert[t * k + j]);
        const double share = variant.rule.renormalise ? score[chosen] / sum : score[chosen];
        ASSERT_NEAR(weight[t * k + j], variant.rule.scale * share, 1e-6);
        // Rounding may exchange what is this near.
        const auto better =
            std::count_if(ranked.begin(), ranked.end(), [&](double x) { return x > ranked[chosen] + 1e-6; });
        ASSERT_LE(better, static_cast<std::ptrdiff_t>(j));
      }
    }
  }
}

TEST_F(RouterVariants, ABiasOfZeroChoosesAsNone) {
  for (const RouterScore score : {RouterScore::softmax, RouterScore::sigmoid}) {
    const Variant variant{"zero", {score, true, 1}, false, kSequence};
    Router r(*this, variant, 2, 20, 16, 3), biased(*this, variant, 2, 20, 16, 3);
    biased.bias = zeros(DType::f32, {16});
    r.forward(*this);
    biased.forward(*this);
    EXPECT_EQ(bytes(biased.expert), bytes(r.expert));
    EXPECT_EQ(bytes(biased.weight), bytes(r.weight));
    set(r.logits, std::vector<double>(40 * 16, 1.5));  // ties go to the lower index
    biased.logits = r.logits;
    biased.forward(*this);
    EXPECT_EQ(values(biased.expert.rows(0, 1)), (std::vector<double>{0, 1, 2}));
  }
}

TEST_F(RouterVariants, SigmoidsOfHugeLogitsAreFinite) {
  const Variant variant{"huge", {RouterScore::sigmoid, true, 1}, false, kSequence};
  Router r(*this, variant, 1, 3, 3, 2);
  set(r.logits, std::vector<double>{1e30, -1e30, 0,    //
                                    -1e4, -1e4, -1e4,  //
                                    90, 80, -90});
  r.forward(*this);
  r.backward(*this);
  EXPECT_EQ(values(r.weight.rows(0, 1)), (std::vector<double>{1 / 1.5F, 0.5F / 1.5F}));
  EXPECT_EQ(values(r.weight.rows(1, 2)), (std::vector<double>{0, 0})) << "nobody is worth anything";
  for (const Tensor& tensor : {r.probability, r.weight, r.dlogits, r.sequence})
    for (const double value : values(tensor)) EXPECT_TRUE(std::isfinite(value));
}

TEST_F(RouterVariants, PaddingAloneGivesZeroes) {
  for (const Variant& variant : kVariants) {
    Router r(*this, variant, 2, 2, 3, 2);
    set(r.first, std::vector<int>(4, -1));
    r.forward(*this);
    r.backward(*this);
    for (const Tensor& tensor : {r.probability, r.weight, r.lse, r.loss, r.sequence, r.dlogits})
      EXPECT_EQ(values(tensor), std::vector<double>(static_cast<size_t>(tensor.numel())));
    EXPECT_EQ(values(r.expert), std::vector<double>(8, -1.0));
  }
}

TEST_F(RouterVariants, SameBitsWithAnyNumberOfThreads) {
  for (const Variant& variant : kVariants)
    expect_same_bits([&](Machine& machine) {
      Router r(machine, variant, 10, 100, 16, 2);
      r.forward(machine);
      r.backward(machine);
      return r.results();
    });
}

TEST_F(RouterVariants, RefuseWrongShapesAndTypes) {
  const auto refused = [&](auto change) {
    Router r(*this, kVariants[1], 2, 2, 5, 2);
    change(r);
    EXPECT_THROW((r.forward(*this), r.backward(*this)), InternalError);
  };
  refused([&](Router& r) { r.bias = zeros(DType::f32, {4}); });
  refused([&](Router& r) { r.bias = zeros(DType::i32, {5}); });
  refused([&](Router& r) { r.rule.scale = 0; });
  refused([&](Router& r) { r.first = zeros(DType::i32, {4}); });
  refused([&](Router& r) { r.first = zeros(DType::i32, {2, 3}); });
  refused([&](Router& r) { r.sequence = zeros(DType::f32, {2}); });
  Router r(*this, kVariants[1], 2, 2, 5, 2);
  r.forward(*this);
  r.logits = Tensor();
  EXPECT_THROW(r.backward(*this), InternalError);
}

}  // namespace
}  // namespace moe::test
