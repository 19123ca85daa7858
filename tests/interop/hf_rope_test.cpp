// SPDX-License-Identifier: MIT
// Rotary settings of config.json, as transformers 5 and older versions write them.
#include "interop/hf_rope.h"

#include <gmock/gmock.h>

#include <cmath>

#include "interop/hf_config.h"
#include "support/configs.h"
#include "support/errors.h"

namespace moe::interop {
namespace {

using model::RopeScaling;
using testing::HasSubstr;

const Family& qwen() {
  return *find_family("qwen3_moe");
}

model::ModelConfig read(const Json& json) {
  model::ModelConfig config;
  config.max_seq_len = 512;
  read_rope(JsonFields("config.json", json), qwen(), config);
  return config;
}

std::string complaint(const Json& json) {
  return test::user_error_of([&] { read(json); });
}

TEST(HfRope, BothPlacesAreRead) {
  const Json llama{{"rope_type", "llama3"},
                   {"factor", 8.0},
                   {"low_freq_factor", 1.5},
                   {"high_freq_factor", 3.0},
                   {"original_max_position_embeddings", 8192}};
  Json inside = llama;
  inside["rope_theta"] = 5e5;
  const model::ModelConfig now = read({{"rope_parameters", inside}});
  EXPECT_EQ(now.rope_scaling, RopeScaling::llama3);
  EXPECT_EQ(now.rope_scaling_factor, 8);
  EXPECT_EQ(now.rope_low_freq_factor, 1.5);
  EXPECT_EQ(now.rope_high_freq_factor, 3);
  EXPECT_EQ(now.rope_original_len, 8192);
  EXPECT_EQ(now.rope_theta, 5e5);
  EXPECT_EQ(read({{"rope_scaling", llama}, {"rope_theta", 5e5}}).rope(), now.rope());
  EXPECT_EQ(read({{"rope_scaling", llama}, {"rope_theta", 5e5}, {"rope_parameters", inside}}).rope(),
            now.rope());
  EXPECT_EQ(read({{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}}).rope_scaling, RopeScaling::linear);
}

TEST(HfRope, YarnTakesItsFactorFromWhatIsGiven) {
  Json yarn{{"rope_type", "yarn"}, {"factor", 4.0}};
  const model::ModelConfig least = read({{"rope_parameters", yarn}});
  EXPECT_EQ(least.rope_original_len, 512) << "max_position_embeddings, as transformers does";
  EXPECT_EQ(least.rope_attention_factor, 0);
  EXPECT_NEAR(rope_scale(least.rope()), 0.1 * std::log(4.0) + 1, 1e-15);
  yarn["mscale"] = 0.5, yarn["mscale_all_dim"] = 1.0;
  EXPECT_NEAR(read({{"rope_parameters", yarn}}).rope_attention_factor,
              (0.05 * std::log(4.0) + 1) / (0.1 * std::log(4.0) + 1), 1e-15);
  yarn["attention_factor"] = 1.25, yarn["beta_fast"] = 16.0, yarn["beta_slow"] = 2.0;
  const model::ModelConfig all = read({{"rope_parameters", yarn}});
  EXPECT_EQ(all.rope_attention_factor, 1.25);
  EXPECT_EQ(all.rope_beta_fast, 16);
  EXPECT_EQ(all.rope_beta_slow, 2);
}

TEST(HfRope, WhatIsWrittenIsReadAgain) {
  for (const RopeScaling scaling :
       {RopeScaling::none, RopeScaling::linear, RopeScaling::llama3, RopeScaling::yarn}) {
    model::ModelConfig config = test::interop_config();
    config.attention_gate = false;
    config.rope_theta = 12345.5;
    config.rope_scaling = scaling;
    if (scaling != RopeScaling::none) config.rope_scaling_factor = 3.5;
    if (scaling == RopeScaling::llama3 || scaling == RopeScaling::yarn) config.rope_original_len = 4096;
    if (scaling == RopeScaling::yarn) config.rope_attention_factor = 1.125;
    const std::string text = hf_config_json(config, DType::f32, 0, qwen());
    EXPECT_EQ(read_hf_config("config.json", text).rope(), config.rope()) << text;
  }
}

TEST(HfRope, WhatMoeHasNotIsRefusedByName) {
  const auto yarn = [](const char* key, const Json& value) {
    return complaint({{"rope_parameters", {{"rope_type", "yarn"}, {"factor", 4.0}, {key, value}}}});
  };
  EXPECT_THAT(complaint({{"rope_scaling", {{"rope_type", "longrope"}, {"factor", 4.0}}}}),
              HasSubstr("one of default, linear, llama3, yarn"));
  EXPECT_THAT(yarn("truncate", false), HasSubstr("truncate"));
  EXPECT_THAT(yarn("low_freq_factor", 1.0), HasSubstr("low_freq_factor"));
  EXPECT_THAT(complaint({{"rope_parameters", {{"rope_type", "linear"}}}}), HasSubstr("factor"));
  EXPECT_THAT(complaint({{"rope_parameters", {{"rope_theta", 2e4}}}, {"rope_theta", 1e4}}),
              HasSubstr("10000, as beside it"));
  EXPECT_THAT(complaint({{"rope_parameters", {{"rope_type", "default"}}},
                         {"rope_scaling", {{"rope_type", "linear"}, {"factor", 2}}}}),
              HasSubstr("the same as in"));
}

}  // namespace
}  // namespace moe::interop
