// SPDX-License-Identifier: MIT
// The way of rows to experts on other ranks and back, with one rank that sends everything to itself: the same
// rows in the same order to the same products, so the same bits as without it, on every device.
// Several ranks are in tests/train/layouts_test.cpp.
#include "model/all_to_all_dispatcher.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/random.h"
#include "support/fixture.h"
#include "support/tiny_model.h"

namespace moe::model {
namespace {

constexpr int64_t kVocabulary = 90, kB = 2, kT = 20, kN = kB * kT;

// By way of the host, as ranks do, with the counts that the plan has.
class Loopback final : public AllToAll {
 public:
  explicit Loopback(Device& device) : device_(device) {}
  int ranks() const override { return 1; }
  int64_t max_recv_tokens(int64_t, int64_t most) const override { return most; }
  void exchange_counts(const RoutePlan& plan) override {
    offset_.resize(static_cast<size_t>(plan.offset_E1.numel()));
    device_.to_host(offset_.data(), plan.offset_E1);
  }
  TokenCounts recv_counts(Tensor expert_X) override {
    std::vector<int32_t> expert;
    for (size_t e = 0; e + 1 < offset_.size(); ++e)
      expert.insert(expert.end(), static_cast<size_t>(offset_[e + 1] - offset_[e]), static_cast<int32_t>(e));
    device_.to_device(expert_X.rows(0, std::ssize(expert)), expert.data());
    return {{std::ssize(expert)}, {std::ssize(expert)}};
  }
  void dispatch(Tensor received, const Tensor& rows, const TokenCounts& counts) override {
    move(received, rows, counts.recv[0]);
  }
  void combine(Tensor rows, const Tensor& received, const TokenCounts& counts) override {
    move(rows, received, counts.send[0]);
  }
  void wait() override {}
  void broadcast(Tensor) override {}

 private:
  void move(const Tensor& to, const Tensor& from, int64_t rows) {
    std::vector<char> bytes(static_cast<size_t>(from.bytes() / from.dim(0) * rows));
    device_.to_host(bytes.data(), from.rows(0, rows));
    device_.to_device(to.rows(0, rows), bytes.data());
  }
  Device& device_;
  std::vector<int32_t> offset_;
};

class ExpertsDealt : public ::testing::TestWithParam<std::tuple<DType, double, bool>> {
 protected:
  static ModelConfig config() {
    ModelConfig config = test::tiny_config();
    config.capacity_factor = std::get<1>(GetParam());
    config.aux_loss_weight = 0.1;
    config.expert_intermediate_dim = 16;
    if (std::get<2>(GetParam())) config.first_dense_layers = 1, config.shared_expert_dim = 8;
    config.max_seq_len = kT;
    return config;
  }
  // Loss and gradients of two micro-steps; the second adds.
  static std::vector<float> learn(Transformer& transformer, test::TinyModel& model) {
    std::vector<int32_t> input, target, first(kN, 0);
    const Random random(5, "ids");
    for (uint64_t n = 0; n < kN; ++n) {
      input.push_back(static_cast<int32_t>(random.below(n, kVocabulary)));
      target.push_back(static_cast<int32_t>(random.below(n + kN, kVocabulary)));
    }
    for (size_t n = kN - 5; n < kN; ++n) first[n] = target[n] = -1;  // padding
    Device& device = *model.backend.device;
    transformer.upload(device, input.data(), target.data(), first.data());
    transformer.set_gradient_scales(device, 1.0F / kN, 1);
    transformer.zero_sums(*model.backend.ops);
    transformer.forward_backward(GradientMode::overwrite, *model.backend.ops);
    transformer.forward_backward(GradientMode::accumulate, *model.backend.ops);
    std::vector<float> all = model.gradients();
    for (const double loss : model.fetch<double>(transformer.sums().loss_1))
      all.push_back(static_cast<float>(loss));
    return all;
  }
};

TEST_P(ExpertsDealt, ToOneRankChangeNoBit) {
  const DType type = std::get<0>(GetParam());
  const auto modes = type == DType::f32 ? std::vector{Recompute::none, Recompute::selective, Recompute::full}
                                        : std::vector{Recompute::full};
  for (const Recompute recompute : modes) {
    test::TinyModel model(config(), kB, kVocabulary, type, 2, recompute);
    model.weights->initialise(1, *model.backend.ops);
    cast_weights(*model.weights, *model.backend.ops);
    const auto expected = learn(*model.transformer, model);

    Loopback all_to_all(*model.backend.device);
    const MicroBatch shape{
        .B = kB, .T = kT, .type = type, .vocabulary = kVocabulary, .head_rows = 7, .recompute = recompute};
    Arena plan;
    { const Transformer counted(model.config, shape, *model.weights, plan, &all_to_all); }
    Arena arena(*model.backend.device, plan.used());
    Transformer sharded(model.config, shape, *model.weights, arena, &all_to_all);
    sharded.prepare(*model.backend.device);
    EXPECT_EQ(learn(sharded, model), expected) << static_cast<int>(recompute);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, ExpertsDealt,
                         ::testing::Combine(::testing::ValuesIn(test::kActivations),
                                            ::testing::Values(0.0, 1.0), ::testing::Bool()),
                         [](const auto& values) {
                           return std::string(name_of(std::get<0>(values.param))) +
                                  (std::get<1>(values.param) > 0 ? "_capacity" : "_dropless") +
                                  (std::get<2>(values.param) ? "_dense" : "");
                         });

}  // namespace
}  // namespace moe::model
