// SPDX-License-Identifier: MIT
// The probe's numbers against a plain computation from the tensors: here the whole softmax of each query,
// where the probe trusts the log-sum-exp that attention left.
#include "train/probe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "comm/solo.h"
#include "support/configs.h"
#include "support/tiny_model.h"
#include "tensor/host_floats.h"

namespace moe::train {
namespace {

constexpr int64_t kB = 3, kT = 24, kV = 50;

class ProbeTest : public ::testing::TestWithParam<DType> {
 protected:
  explicit ProbeTest(const model::ModelConfig& settings = config()) : model_(settings, kB, kV, GetParam()) {
    model_.weights->initialise(5, *model_.backend.ops);
    model::cast_weights(*model_.weights, *model_.backend.ops);
    for (const Parameter& parameter : model_.weights->list())
      if (std::find(groups_.begin(), groups_.end(), parameter.group) == groups_.end())
        groups_.push_back(parameter.group);
    arena_ = std::make_unique<Arena>(*model_.backend.device, 4096);
    squares_ = arena_->allocate("small", DType::f64, {static_cast<int64_t>(groups_.size())});
    probe_ = std::make_unique<Probe>(model_.config, kT, *model_.weights, groups_, squares_, replicas_,
                                     *model_.backend.device, *model_.backend.ops);
  }
  static model::ModelConfig config() {
    return test::tiny_config({.expert_intermediate_dim = 16,
                              .capacity_factor = 1,
                              .vocab_size = kV,
                              .max_seq_len = kT,
                              .init_std = 0.5});
  }
  std::vector<double> fetch(const Tensor& tensor) {
    const std::vector<float> values = host_floats(tensor, *model_.backend.device);
    return {values.begin(), values.end()};
  }
  static double number(const metrics::Row& row, const std::string& name) {
    const metrics::Row::Value* value = row.find(name);
    EXPECT_NE(value, nullptr) << name;
    return value ? std::get<double>(*value) : 0;
  }

  test::TinyModel model_;
  std::vector<std::string> groups_;
  std::unique_ptr<Arena> arena_;
  Tensor squares_;
  comm::SoloCommunicator alone_;
  RankGroups groups_of_one_{{}, model_.config, alone_, *model_.backend.device};
  Replicas replicas_{*model_.weights, groups_of_one_};
  std::unique_ptr<Probe> probe_;
};

TEST_P(ProbeTest, LooksLikeAPlainComputation) {
  std::vector<int32_t> input(kB * kT), target(kB * kT, 1), first(kB * kT, 0);
  for (size_t n = 0; n < input.size(); ++n) input[n] = static_cast<int32_t>(n * 7 % kV);
  for (int64_t t = 10; t < kT; ++t) first[static_cast<size_t>(t)] = 10;       // a second document in row 0
  for (int64_t t = 20; t < kT; ++t) first[static_cast<size_t>(kT + t)] = -1;  // padding in row 1
  model_.transformer->upload(*model_.backend.device, input.data(), target.data(), first.data());

  const int64_t H = 4, G = 2, d = 8, P = 2 * H * d + 2 * G * d, D = 32, E = 4;
  double sink = 0, gate = 0, confidence = 0, largest = 0;
  int64_t queries = 0, gates = 0, tokens = 0;
  const model::BlockObserver probe = probe_->observer();
  model_.transformer->forward(*model_.backend.ops, [&](int64_t layer, const model::BlockView& block) {
    probe(layer, block);
    const auto q = fetch(block.attention.q_NHd), k = fetch(block.attention.k_NGd), y = fetch(block.y_ND);
    const auto packed = fetch(block.attention.packed_NP), probability = fetch(block.router->probability_NE);
    for (int64_t n = 0; n < Probe::kRows * kT; ++n) {
      const int64_t start = first[static_cast<size_t>(n)], t = n % kT, row = n - t;
      if (start < 0) continue;
      ++tokens;
      const auto token = probability.begin() + n * E;
      confidence += *std::max_element(token, token + E);
      for (int64_t i = 0; i < D; ++i)
        largest = std::max(largest, std::abs(y[static_cast<size_t>(n * D + i)]));
      for (int64_t h = 0; h < H; ++h) {
        for (int64_t i = 0; i < d; ++i, ++gates)
          gate += 1 / (1 + std::exp(-packed[static_cast<size_t>(n * P + h * 2 * d + d + i)]));
        if (t - start < Probe::kFirstQuery) continue;
        double total = 0, of_first = 0;
        for (int64_t s = start; s <= t; ++s) {
          double score = 0;
          for (int64_t i = 0; i < d; ++i)
            score += q[static_cast<size_t>((n * H + h) * d + i)] *
                     k[static_cast<size_t>(((row + s) * G + h / 2) * d + i)];
          const double weight = std::exp(score / std::sqrt(static_cast<double>(d)));
          total += weight;
          if (s == start) of_first = weight;
        }
        sink += of_first / total;
        ++queries;
      }
    }
  });
  metrics::Row row;
  probe_->report(row);
  const double bound = GetParam() == DType::f32 ? 1e-5 : 2e-2;
  EXPECT_NEAR(number(row, "attention_sink"), sink / static_cast<double>(queries), bound);
  EXPECT_NEAR(number(row, "gate_mean"), gate / static_cast<double>(gates), 1e-9);
  EXPECT_NEAR(number(row, "router_confidence"), confidence / static_cast<double>(tokens), 1e-9);
  EXPECT_EQ(number(row, "max_activation"), largest);
  double uniform = 0;
  int64_t rows = 0;
  for (const int64_t length : {10, 14, 20})
    for (int64_t t = Probe::kFirstQuery; t < length; ++t, ++rows) uniform += 1 / static_cast<double>(t + 1);
  EXPECT_NEAR(number(row, "attention_sink_uniform"), uniform / static_cast<double>(rows), 1e-12);
  EXPECT_EQ(std::get<std::vector<double>>(*row.find("layers/gate_mean")).size(), 2U);
}

TEST_P(ProbeTest, NormsAndUpdatesOfTheWeights) {
  std::map<std::string, double> squares;
  double gates = 0;
  int64_t gate_count = 0;
  probe_->before_update();
  for (const Parameter& parameter : model_.weights->list()) {
    auto values = model_.fetch<float>(parameter.weight);
    for (float& value : values) value *= 1.5F;
    for (const float value : values)
      squares[parameter.group] += static_cast<double>(value) * static_cast<double>(value);
    model_.backend.device->to_device(parameter.weight, values.data());
    const std::vector<float> gradient(values.size(), 3.0F);
    if (parameter.gradient.dtype() == DType::f32)
      model_.backend.device->to_device(parameter.gradient, gradient.data());
    if (!parameter.name.ends_with("qkvg.weight")) continue;
    const int64_t H = 4, d = 8, D = 32;  // rows of one head: [q_h | gate_h]
    for (int64_t h = 0; h < H; ++h)
      for (int64_t i = (h * 2 + 1) * d * D; i < (h * 2 + 2) * d * D; ++i) {
        const double value = values[static_cast<size_t>(i)];
        gates += value * value, ++gate_count;
      }
  }
  probe_->after_update(2);
  metrics::Row row;
  probe_->report(row);
  double all = 0;
  for (const std::string& group : groups_) {
    EXPECT_NEAR(number(row, "weight_norm/" + group), std::sqrt(squares[group]),
                1e-9 * std::sqrt(squares[group]));
    EXPECT_NEAR(number(row, "update_ratio/" + group), 0.5, 1e-6);
    all += squares[group];
  }
  EXPECT_NEAR(number(row, "weight_norm"), std::sqrt(all), 1e-9 * std::sqrt(all));
  EXPECT_NEAR(number(row, "weight_norm/gate"), std::sqrt(gates), 1e-9 * std::sqrt(gates));
  EXPECT_NEAR(number(row, "update_ratio/gate"), 0.5, 1e-6);
  EXPECT_NEAR(number(row, "gradient_norm/gate"), 1.5 * std::sqrt(static_cast<double>(gate_count)), 1e-9);
  metrics::Row again;
  probe_->report(again);
  EXPECT_EQ(again.find("update_ratio/experts"), nullptr);
  EXPECT_EQ(again.find("attention_sink"), nullptr);
}

class DenseProbeTest : public ProbeTest {
 protected:
  DenseProbeTest() : ProbeTest(with_a_dense_layer()) {}
  static model::ModelConfig with_a_dense_layer() {
    model::ModelConfig config = ProbeTest::config();
    config.n_layers = 3;
    config.first_dense_layers = 1;
    return config;
  }
};

TEST_P(DenseProbeTest, ALayerWithoutARouterHasNoConfidence) {
  const std::vector<int32_t> input(kB * kT, 1), first(kB * kT, 0);
  model_.transformer->upload(*model_.backend.device, input.data(), input.data(), first.data());
  model_.transformer->forward(*model_.backend.ops, probe_->observer());
  metrics::Row row;
  probe_->report(row);
  EXPECT_EQ(std::get<std::vector<double>>(*row.find("layers/gate_mean")).size(), 3U);
  const auto confidence = std::get<std::vector<double>>(*row.find("layers/router_confidence"));
  ASSERT_EQ(confidence.size(), 2U);
  for (const double value : confidence) EXPECT_GE(value, 0.25);
}

INSTANTIATE_TEST_SUITE_P(Types, DenseProbeTest, ::testing::Values(DType::f32));
INSTANTIATE_TEST_SUITE_P(Types, ProbeTest, ::testing::Values(DType::f32, DType::bf16));

}  // namespace
}  // namespace moe::train
