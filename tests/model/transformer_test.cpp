// SPDX-License-Identifier: MIT
// The model against itself: with and without the key-value cache, bf16 against f32, any number of threads,
// and one batch learnt by heart.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "model/decoder.h"
#include "model/flops.h"
#include "model/tiny_models.h"
#include "optim/optimizer_set.h"
#include "support/compare.h"
#include "support/fixture.h"
#include "tensor/fetch.h"

namespace moe::model {
namespace {

TEST(Transformer, ThreadsDoNotChangeABit) {
  const Ids ids(40);
  for (const ModelConfig& config : {test::tiny_config(), dense_config()}) {
    test::TinyModel one(config, 2, kVocabulary, DType::f32, 1), three(config, 2, kVocabulary, DType::f32, 3);
    EXPECT_EQ(gradients(one, ids), gradients(three, ids));
  }
}

TEST(Transformer, RecomputingChangesMemoryButNoBit) {
  const Ids ids(40);
  for (ModelConfig config : variants()) {
    config.n_layers = 3;
    for (const DType type : test::kActivations) {
      test::TinyModel kept(config, 2, kVocabulary, type);
      const auto expected = gradients(kept, ids);
      int64_t most = kept.arena->used();
      for (const Recompute recompute : {Recompute::selective, Recompute::full}) {
        test::TinyModel again(config, 2, kVocabulary, type, 2, recompute);
        EXPECT_EQ(gradients(again, ids), expected);
        EXPECT_LT(again.arena->used(), most);
        most = again.arena->used();
      }
    }
  }
}

TEST(Transformer, RoundedTypesAreCloseToF32) {
  const Ids ids(40);
  for (ModelConfig config : {test::tiny_config(), dense_config()}) {
    config.num_experts = config.top_k;  // all are chosen: rounding must not change who is
    test::TinyModel exact(config, 2, kVocabulary, DType::f32);
    const auto expected = gradients(exact, ids);
    test::TinyModel in_bf16(config, 2, kVocabulary, DType::bf16), in_f16(config, 2, kVocabulary, DType::f16);
    // Some forty roundings one after the other on the way there and back, each 2.8e-6 (docs/numerics.md).
    EXPECT_TRUE(test::close(gradients(in_bf16, ids), expected, 5e-4));
    // The same with 4.4e-8 each, and what is below 2^-24 is lost: these gradients carry no loss scale.
    EXPECT_TRUE(test::close(gradients(in_f16, ids), expected, 8e-6));
  }
}

constexpr WeightTypes kBf16{DType::bf16}, kLowMemory{DType::bf16, DType::bf16, DType::bf16};

// What was in the gradients before a step does not count, be it NaN.
TEST(Transformer, TheFirstMicroBatchWritesItsGradients) {
  const Ids ids(40);
  for (const ModelConfig& config : {test::tiny_config(), dense_config()})
    for (const WeightTypes& types : {WeightTypes{}, kBf16, kLowMemory}) {
      test::TinyModel clean(config, 2, kVocabulary, types), dirty(config, 2, kVocabulary, types);
      const auto expected = gradients(clean, ids);
      for (const Parameter& parameter : dirty.weights->list())
        dirty.backend.ops->fill(parameter.gradient, std::numeric_limits<float>::quiet_NaN());
      EXPECT_EQ(gradients(dirty, ids), expected);

      // The second one adds: twice the same. Elsewhere sums are in another order, and the bf16 ones are
      // rounded once more.
      clean.transformer->forward_backward(GradientMode::accumulate, *clean.backend.ops);
      auto twice = expected;
      for (float& value : twice) value *= 2;
      EXPECT_TRUE(test::close(clean.gradients(), twice, types.gradient == DType::f32 ? 1e-11 : 1e-5));
    }
}

// What goes on beside a pass may bring a layer's weights as late as it is told that they will be read, and
// take its gradients as early as it is told that they are complete.
void expect_told_in_time(const ModelConfig& config) {
  const Ids ids(40);
  for (const Recompute recompute : {Recompute::none, Recompute::full}) {
    test::TinyModel plain(config, 2, kVocabulary, DType::f32, 1, recompute),
        late(config, 2, kVocabulary, DType::f32, 1, recompute);
    const auto expected = gradients(plain, ids);
    prepare(late, ids);
    Device& device = *late.backend.device;
    const std::vector<Weights::Bucket>& buckets = late.weights->buckets();
    ASSERT_EQ(std::ssize(buckets), 3 + config.n_layers + config.moe_layers());
    std::vector<std::vector<float>> weights, taken(buckets.size());
    for (const Weights::Bucket& bucket : buckets) {
      weights.push_back(fetch<float>(bucket.compute, device));
      late.backend.ops->fill(bucket.compute, std::numeric_limits<float>::quiet_NaN());
    }
    std::vector<int64_t> order;
    const auto of_layer = [&](int64_t layer, auto body) {
      order.push_back(layer);
      for (size_t i = 0; i < buckets.size(); ++i)
        if (buckets[i].layer == layer) body(i);
    };
    late.transformer->forward_backward(
        GradientMode::overwrite, *late.backend.ops,
        {.pre_forward =
             [&](int64_t layer) {
               of_layer(layer, [&](size_t i) { device.to_device(buckets[i].compute, weights[i].data()); });
             },
         .post_backward =
             [&](int64_t layer) {
               of_layer(layer, [&](size_t i) { taken[i] = fetch<float>(buckets[i].gradient, device); });
             }});
    EXPECT_EQ(order, (std::vector<int64_t>{kNoLayer, 0, 1, 2, 2, 1, 0, kNoLayer}));
    EXPECT_EQ(late.gradients(), expected);
    for (size_t i = 0; i < buckets.size(); ++i)
      EXPECT_EQ(taken[i], fetch<float>(buckets[i].gradient, device)) << "bucket " << i;
  }
}

TEST(Transformer, WhatGoesOnBesideAPassIsToldInTime) {
  for (ModelConfig config : {test::tiny_config(), dense_config()}) {
    config.n_layers = 3;
    expect_told_in_time(config);
  }
}

// One more rounding of each gradient, and weights rounded before the model is run: of the same weights.
TEST(Transformer, LowMemoryGradientsAreTheRoundedOnes) {
  const Ids ids(40);
  test::TinyModel wide(test::tiny_config(), 2, kVocabulary, kBf16),
      narrow(test::tiny_config(), 2, kVocabulary, kLowMemory);
  EXPECT_TRUE(test::close(gradients(narrow, ids), gradients(wide, ids), 1e-5));
  EXPECT_LT(narrow.arena->used(), wide.arena->used());
}

class DecoderOf : public ::testing::TestWithParam<ModelConfig> {};

TEST_P(DecoderOf, EqualsTheTransformerInAnyPortions) {
  const ModelConfig& config = GetParam();
  const Ids ids(config.max_seq_len);
  test::TinyModel model(config, 1, kVocabulary);
  Device& device = *model.backend.device;
  Ops& ops = *model.backend.ops;
  initialise(model);
  model.transformer->upload(device, ids.input.data(), ids.target.data(), ids.first.data());
  model.transformer->forward(ops);

  Arena plan;
  { const Decoder counted(config, DType::f32, 1, config.max_seq_len, 8, *model.weights, plan); }
  Arena arena(device, plan.used());
  Decoder decoder(config, DType::f32, 1, config.max_seq_len, 8, *model.weights, arena);
  decoder.prepare(device, ops.captured_region());
  int64_t length = 0;
  for (const int64_t count : {8, 1, 3, 1, 7}) {
    const int32_t* const piece = ids.input.data() + length;
    length += count;
    const auto last = static_cast<int32_t>(length - 1);
    if (count > 1) decoder.read(piece, count - 1, length - count, device, ops);
    const auto found = model.fetch<float>(decoder.next(piece + count - 1, &last, device, ops));
    const auto expected = model.fetch<float>(model.transformer->logits(length - 1, 1, ops));
    EXPECT_TRUE(test::close(found, expected, 1e-10)) << "after " << length << " tokens";
  }
  EXPECT_EQ(length, config.max_seq_len);
}

// The same in 16 bits, where a GPU has operations for few rows. Head widths are theirs.
TEST_P(DecoderOf, EqualsTheTransformerInBf16) {
  ModelConfig config = GetParam();
  config.head_dim = 16;
  const Ids ids(config.max_seq_len);
  test::TinyModel model(config, 1, kVocabulary, DType::bf16);
  Device& device = *model.backend.device;
  Ops& ops = *model.backend.ops;
  initialise(model);
  cast_weights(*model.weights, ops);
  model.transformer->upload(device, ids.input.data(), ids.target.data(), ids.first.data());
  model.transformer->forward(ops);

  Arena plan;
  { const Decoder counted(config, DType::bf16, 1, config.max_seq_len, 8, *model.weights, plan); }
  Arena arena(device, plan.used());
  Decoder decoder(config, DType::bf16, 1, config.max_seq_len, 8, *model.weights, arena);
  decoder.prepare(device, ops.captured_region());
  decoder.read(ids.input.data(), 5, 0, device, ops);
  for (int32_t place = 5; place < 12; ++place) {
    const auto found =
        model.fetch<bf16>(decoder.next(&ids.input[static_cast<size_t>(place)], &place, device, ops));
    const auto expected = model.fetch<bf16>(model.transformer->logits(place, 1, ops));
    std::vector<float> a(found.begin(), found.end()), b(expected.begin(), expected.end());
    EXPECT_TRUE(test::close(a, b, 1e-3)) << "at " << place;
    const auto best = model.fetch<int32_t>(decoder.most_likely(kVocabulary, Decoder::kNone, ops));
    EXPECT_EQ(best.front(), std::max_element(a.begin(), a.begin() + kVocabulary) - a.begin());
    const SamplingRule rule{.temperature = 2};
    const int32_t draw = place << (kDrawBits - 4);
    const Tensor drawn = decoder.sample(&draw, rule, kVocabulary, Decoder::kNone, device, ops);
    EXPECT_EQ(model.fetch<int32_t>(drawn).front(),
              sample_row(std::span(a).first(kVocabulary), rule, static_cast<uint32_t>(draw)));
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, DecoderOf, ::testing::ValuesIn(variants()),
                         [](const auto& values) { return std::to_string(values.index); });

TEST(Decoder, SequencesOfOtherLengthsDoNotSeeEachOther) {
  const ModelConfig config = test::tiny_config();
  const Ids ids(config.max_seq_len);
  test::TinyModel model(config, 1, kVocabulary);
  Device& device = *model.backend.device;
  Ops& ops = *model.backend.ops;
  initialise(model);
  model.transformer->upload(device, ids.input.data(), ids.target.data(), ids.first.data());
  model.transformer->forward(ops);
  const auto expected = [&](int64_t at) { return model.fetch<float>(model.transformer->logits(at, 1, ops)); };

  Arena plan;
  { const Decoder counted(config, DType::f32, 2, config.max_seq_len, 8, *model.weights, plan); }
  Arena arena(device, plan.used());
  Decoder decoder(config, DType::f32, 2, config.max_seq_len, 8, *model.weights, arena);
  decoder.prepare(device, ops.captured_region());
  // The beginning of the same text, 7 and 3 tokens of it, then token by token.
  const int32_t* const text = ids.input.data();
  std::vector<int32_t> both(text, text + 7);
  both.insert(both.end(), text, text + 3);
  both.resize(14, Decoder::kNone);
  decoder.read(both.data(), 7, 0, device, ops);
  for (int32_t step = 0; step < 6; ++step) {
    const std::array<int32_t, 2> places{7 + step, 3 + step};
    const bool ended = step == 4;  // the first one is over
    const std::array<int32_t, 2> next{ended ? Decoder::kNone : text[places[0]], text[places[1]]};
    const auto found = model.fetch<float>(decoder.next(next.data(), places.data(), device, ops));
    const auto half = found.begin() + std::ssize(found) / 2;
    if (!ended) {
      EXPECT_TRUE(test::close(std::vector<float>(found.begin(), half), expected(places[0]), 1e-10)) << step;
    }
    EXPECT_TRUE(test::close(std::vector<float>(half, found.end()), expected(places[1]), 1e-10)) << step;
    if (ended) break;
  }
}

class Overfit : public ::testing::TestWithParam<WeightTypes> {};

TEST_P(Overfit, OneBatchIsLearntByHeart) {
  const Ids ids(40);
  test::TinyModel model(test::tiny_config(), 2, kVocabulary, GetParam());
  Device& device = *model.backend.device;
  Ops& ops = *model.backend.ops;
  model.weights->initialise(1, ops);
  cast_weights(*model.weights, ops);
  Arena plan;
  const optim::OptimizerConfig config{.weight_decay = 0};
  { const optim::OptimizerSet counted(config, model.weights->list(), plan, ops); }
  Arena arena(device, plan.used() + Arena::kAlignment);
  optim::OptimizerSet optimizer(config, model.weights->list(), arena, ops);
  const Tensor scale = arena.allocate("small", DType::f32, {1});
  ops.fill(scale, 1);
  model.transformer->upload(device, ids.input.data(), ids.target.data(), ids.first.data());
  model.transformer->set_gradient_scales(device, 1.0F / 40, 1.0F);
  double loss = 0;
  constexpr int64_t steps = 150;
  for (int64_t step = 0; step < steps; ++step) {
    model.transformer->zero_sums(ops);
    model.transformer->forward_backward(GradientMode::overwrite, ops);
    loss = model.fetch<double>(model.transformer->sums().loss_1).front() / 40;
    // At a constant rate the loss jumps up now and then, for a few steps.
    optimizer.step({step, 5e-3 * static_cast<double>(steps - step) / steps}, scale);
  }
  EXPECT_LT(loss, 0.05);
}

INSTANTIATE_TEST_SUITE_P(Types, Overfit,
                         ::testing::Values(WeightTypes{}, kBf16, kLowMemory, WeightTypes{DType::f16}));

TEST(Flops, TheUsersModel) {
  const ModelConfig config;  // the defaults are the user's
  EXPECT_EQ(count_parameters(config).total, 1'730'317'312);
  EXPECT_EQ(count_parameters(config).active, 170'036'224);
  // Design figures: 1.221 G at 2,048 tokens.
  EXPECT_NEAR(flops_per_token(config, 2048).total(), 1.221e9, 1e6);
}

TEST(Flops, CountEqualsTheWeights) {
  for (const ModelConfig& config : variants()) {
    Arena plan;
    const Weights weights(config, {DType::f32}, Mode::inference, plan);
    int64_t total = 0;
    for (const Parameter& parameter : weights.list()) total += parameter.weight.numel();
    EXPECT_EQ(count_parameters(config).total, total);
  }
}

// Without a gate the projection is narrower by one row for each of the heads' columns; a head of its own is a
// matrix more, and no product more; a window of half of the row leaves 3/4 of the pairs of tokens.
TEST(Flops, FollowTheParts) {
  const ModelConfig user;
  ModelConfig other = user;
  other.attention_gate = false;
  EXPECT_EQ(count_parameters(user).total - count_parameters(other).total, 16 * 1024 * 1024);
  other = user;
  other.tie_embeddings = false;
  EXPECT_EQ(count_parameters(other).total - count_parameters(user).total, 50304 * 1024);
  EXPECT_EQ(flops_per_token(other, 1024).total(), flops_per_token(user, 1024).total());
  other = user;
  // 16 layers of 16 query heads and 8 of keys, each of 64: norms are no products.
  other.qk_norm = QkNorm::none;
  EXPECT_EQ(count_parameters(user).total - count_parameters(other).total, 16 * 2 * 64);
  EXPECT_EQ(flops_per_token(other, 1024).total(), flops_per_token(user, 1024).total());
  other.qk_norm = QkNorm::projection;
  EXPECT_EQ(count_parameters(other).total - count_parameters(user).total, 16 * (16 + 8 - 2) * 64);
  other = user;
  // Of queries with their gates, keys and values. They are no products either.
  other.attention_bias = true;
  EXPECT_EQ(count_parameters(other).total - count_parameters(user).total, 16 * (2 * 16 + 2 * 8) * 64);
  EXPECT_EQ(count_parameters(other).active - count_parameters(user).active, 16 * (2 * 16 + 2 * 8) * 64);
  EXPECT_EQ(flops_per_token(other, 1024).total(), flops_per_token(user, 1024).total());
  other = user;
  other.attention_window = {"512", "0"};
  EXPECT_EQ(flops_per_token(other, 1024).attention, 0.875 * flops_per_token(user, 1024).attention);
}

// The shared expert is met by each token; a dense layer has neither router nor experts. Its default width is
// that of all experts that a token meets elsewhere, so but for the router the work stays.
TEST(Flops, OfDenseParts) {
  const ModelConfig user;
  ModelConfig other = user;
  other.shared_expert_dim = 512;
  const int64_t matrices = 3 * 512 * 1024, gate = 1024;
  EXPECT_EQ(count_parameters(other).total - count_parameters(user).total, 16 * (matrices + gate));
  EXPECT_EQ(count_parameters(other).active - count_parameters(user).active, 16 * (matrices + gate));
  EXPECT_EQ(count_parameters(other).dense, 16 * matrices);
  EXPECT_EQ(count_parameters(other).attention, count_parameters(user).attention);
  EXPECT_EQ(flops_per_token(other, 1024).dense, 6.0 * 16 * matrices);
  other.first_dense_layers = 1;
  EXPECT_EQ(count_parameters(other).experts, count_parameters(user).experts / 16 * 15);
  EXPECT_EQ(count_parameters(other).dense, 18 * matrices);
  const FlopsPerToken a = flops_per_token(user, 1024), b = flops_per_token(other, 1024);
  EXPECT_EQ(b.experts + b.dense, a.experts + 6.0 * 16 * matrices);
  EXPECT_EQ(b.projections, a.projections);
  EXPECT_GT(newton_schulz_flops(other, 5) / newton_schulz_flops(user, 5), 15.0 / 16);
}

// What an optimizer sees: gate and up are two matrices, down is one that writes to the residual stream, and
// the gate of the shared expert is a row that no matrix optimizer gets.
TEST(Parameters, OfDensePartsAreMatrices) {
  const ModelParameters parameters(dense_config().spec());
  const auto find = [&](const std::string& name) {
    for (const Parameter& parameter : parameters.list())
      if (parameter.name == name) return parameter;
    ADD_FAILURE() << name;
    return Parameter();
  };
  for (const auto& [name, width] :
       {std::pair<std::string, int64_t>{"layers.0.dense", 28}, {"layers.1.moe.shared", 12}}) {
    const Parameter gate_up = find(name + ".gate_up.weight"), down = find(name + ".down.weight");
    EXPECT_TRUE(gate_up.weight.has_shape({2 * width, 32})) << gate_up.weight.describe();
    EXPECT_TRUE(down.weight.has_shape({32, width})) << down.weight.describe();
    EXPECT_EQ(gate_up.matrix_rows, (std::vector<int64_t>{width, width}));
    EXPECT_EQ(down.matrix_rows, std::vector<int64_t>{32});
    for (const Parameter& parameter : {gate_up, down}) {
      EXPECT_EQ(parameter.role, Role::matrix);
      EXPECT_EQ(parameter.group, kDenseGroup);
    }
    EXPECT_LT(down.init_std, gate_up.init_std);
  }
  EXPECT_EQ(find("layers.1.moe.shared_gate.weight").role, Role::router);
  EXPECT_EQ(find("layers.0.dense_norm.weight").role, Role::norm);
  for (const Parameter& parameter : parameters.list())
    EXPECT_FALSE(parameter.name.starts_with("layers.0.moe")) << parameter.name;
}

// A bias is a vector in f32 that begins at 0 and does not decay, in a row of its own in tables.
TEST(Parameters, OfABias) {
  ModelConfig config = test::tiny_config();
  config.attention_bias = true;
  int64_t count = 0;
  for (const Parameter& parameter : ModelParameters(config.spec()).list()) {
    if (!parameter.name.ends_with("attention.qkvg.bias")) continue;
    ++count;
    EXPECT_TRUE(parameter.weight.has_shape({2 * 4 * 8 + 2 * 2 * 8})) << parameter.weight.describe();
    EXPECT_EQ(parameter.role, Role::norm);
    EXPECT_EQ(parameter.group, "biases");
    EXPECT_EQ(parameter.init_value, 0);
    EXPECT_EQ(parameter.init_std, 0);
    EXPECT_TRUE(parameter.matrix_rows.empty());
  }
  EXPECT_EQ(count, config.n_layers);
}

TEST(Capacity, IsTutels) {
  ModelConfig config;
  config.capacity_factor = 1.0;
  EXPECT_EQ(expert_capacity(config, 32768), 1024);  // k * floor(f * ceil(32768 / 64))
  config.capacity_factor = 1.25;
  EXPECT_EQ(expert_capacity(config, 100), 2 * 2);  // ceil(100/64) = 2, floor(2.5) = 2
  config.capacity_factor = 0;
  EXPECT_EQ(expert_capacity(config, 100), Capacity::kNoLimit);
  config.capacity_factor = 0.4;  // of an even share of two: no row, which never means "no limit"
  EXPECT_THROW(expert_capacity(config, 100), InternalError);
}

}  // namespace
}  // namespace moe::model
