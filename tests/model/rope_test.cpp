// SPDX-License-Identifier: MIT
// Frequencies of scaled rotary positions against transformers (tools/make_rope_goldens.py), and the table.
#include "model/rope.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "model/config.h"
#include "support/errors.h"
#include "support/tiny_model.h"

namespace moe::model {
namespace {

using testing::HasSubstr;

RopeSpec spec_of(const nlohmann::json& json) {
  RopeSpec rope{.head_dim = json.at("head_dim"),
                .rotary_dim = json.at("rotary_dim"),
                .theta = json.at("theta"),
                .scaling = value_named<RopeScaling>(json.at("rope_type").get<std::string>()).value(),
                .factor = json.at("factor")};
  rope.original_len = json.value("original_max_position_embeddings", rope.original_len);
  rope.low_freq_factor = json.value("low_freq_factor", rope.low_freq_factor);
  rope.high_freq_factor = json.value("high_freq_factor", rope.high_freq_factor);
  rope.beta_fast = json.value("beta_fast", rope.beta_fast);
  rope.beta_slow = json.value("beta_slow", rope.beta_slow);
  rope.attention_factor = json.value("attention_factor", rope.attention_factor);
  return rope;
}

TEST(Rope, FrequenciesAreThoseOfTransformers) {
  std::ifstream file(test::golden_path("rope.json"));
  const auto cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), 15);
  for (const auto& json : cases) {
    SCOPED_TRACE(json.dump());
    const RopeSpec rope = spec_of(json);
    const std::vector<double> ours = rope_frequencies(rope);
    const auto theirs = json.at("frequencies").get<std::vector<double>>();
    ASSERT_EQ(ours.size(), theirs.size());
    // Theirs are computed in f32. In llama3's middle a difference of two frequencies is what is kept.
    for (size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], theirs[i], 1e-6 * theirs[i]) << i;
    EXPECT_NEAR(rope_scale(rope), json.at("scale").get<double>(), 1e-12);
  }
}

TEST(Rope, ATableTurnsPairsAndLeavesTheRest) {
  const RopeSpec rope{.head_dim = 8,
                      .rotary_dim = 4,
                      .theta = 100,
                      .scaling = RopeScaling::yarn,
                      .factor = 2,
                      .original_len = 64,
                      .attention_factor = 1.5};
  const std::vector<double> f = rope_frequencies(rope);
  ASSERT_EQ(f.size(), 2);
  const std::vector<float> table = rope_table(3, rope);
  ASSERT_EQ(table.size(), 3 * 8);
  for (size_t t = 0; t < 3; ++t)
    for (size_t i = 0; i < 4; ++i) {
      const float cosine = table[t * 8 + i], sine = table[t * 8 + 4 + i];
      const double angle = i < 2 ? static_cast<double>(t) * f[i] : 0;
      EXPECT_FLOAT_EQ(cosine, static_cast<float>(i < 2 ? 1.5 * std::cos(angle) : 1)) << t << ' ' << i;
      EXPECT_FLOAT_EQ(sine, static_cast<float>(i < 2 ? 1.5 * std::sin(angle) : 0)) << t << ' ' << i;
    }
}

// Queries and keys both, so that their products are so many times what they were; also where nothing turns.
TEST(Rope, AFactorOfScoresIsInTheTable) {
  ModelConfig config;
  config.partial_rotary_factor = 0.5;
  const std::vector<float> before = rope_table(3, config.rope());
  config.attention_multiplier = 4 / std::sqrt(64.0);
  const std::vector<float> table = rope_table(3, config.rope());
  ASSERT_EQ(table.size(), before.size());
  for (size_t i = 0; i < table.size(); ++i) EXPECT_FLOAT_EQ(table[i], 2 * before[i]) << i;
}

TEST(Rope, SettingsThatContradictAreRefused) {
  const auto complaint = [](auto&& change) {
    ModelConfig config;
    config.validate();
    change(config);
    return test::user_error_of([&] { config.validate(); });
  };
  EXPECT_THAT(complaint([](ModelConfig& c) { c.partial_rotary_factor = 0.3; }),
              HasSubstr("model.partial_rotary_factor"));
  EXPECT_THAT(complaint([](ModelConfig& c) { c.rope_scaling_factor = 4; }), HasSubstr("model.rope_scaling"));
  EXPECT_THAT(complaint([](ModelConfig& c) { c.rope_scaling = RopeScaling::yarn; }),
              HasSubstr("model.rope_original_len"));
  EXPECT_THAT(complaint([](ModelConfig& c) {
                c.rope_scaling = RopeScaling::llama3;
                c.rope_original_len = 4096;
                c.rope_high_freq_factor = 1;
              }),
              HasSubstr("model.rope_high_freq_factor"));
  EXPECT_THAT(complaint([](ModelConfig& c) {
                c.rope_scaling = RopeScaling::yarn;
                c.rope_original_len = 4096;
                c.rope_beta_slow = 32;
              }),
              HasSubstr("model.rope_beta_fast"));
}

}  // namespace
}  // namespace moe::model
