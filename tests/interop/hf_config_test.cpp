// SPDX-License-Identifier: MIT
// What config.json may say: what transformers writes of our model is read, and whatever changes the
// arithmetic into another is refused by the name of its key.
#include "interop/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/configs.h"
#include "support/errors.h"

namespace moe::interop {
namespace {

using test::user_error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(HfConfig, OtherArchitecturesAreRefusedByKey) {
  const auto complaint = [](const std::string& key, const nlohmann::json& value) {
    auto json = nlohmann::json::parse(hf_config_json(test::interop_config(), DType::f32, 0));
    json[key] = value;
    return user_error_of([&] { read_hf_config("config.json", json.dump()); });
  };
  EXPECT_EQ(complaint("unknown_key", nullptr), "");
  EXPECT_THAT(complaint("unknown_key", 1),
              AllOf(HasSubstr("unknown_key"), HasSubstr("a key that moe knows")));
  EXPECT_THAT(complaint("architectures", {"LlamaForCausalLM"}),
              AllOf(HasSubstr("architectures"), HasSubstr("LlamaForCausalLM")));
  EXPECT_THAT(complaint("layer_types", {"full_attention", "linear_attention"}),
              HasSubstr("linear_attention"));
  EXPECT_THAT(complaint("layer_types", {"full_attention"}), HasSubstr("layer_types"));
  EXPECT_THAT(complaint("hidden_act", "gelu"), HasSubstr("hidden_act"));
  EXPECT_THAT(complaint("tie_word_embeddings", 1), HasSubstr("tie_word_embeddings"));
  EXPECT_THAT(complaint("head_dim", 7), HasSubstr("head_dim"));
  EXPECT_THAT(complaint("shared_expert_intermediate_size", 0), HasSubstr("shared_expert_intermediate_size"));
  EXPECT_THAT(complaint("shared_expert_intermediate_size", 1 << 20), HasSubstr("shared_expert_dim"));
  for (const nlohmann::json& layers : {nlohmann::json{1}, {0, 2}, {"0"}, {0, 1, 2}})
    EXPECT_THAT(complaint("mlp_only_layers", layers), HasSubstr("mlp_only_layers")) << layers;
  EXPECT_THAT(complaint("mlp_only_layers", {0, 1}), HasSubstr("first_dense_layers"));
  EXPECT_THAT(complaint("hidden_size", -1), HasSubstr("hidden_size"));
  EXPECT_THAT(complaint("num_attention_heads", 3), HasSubstr("n_heads"));
  EXPECT_THAT(complaint("rope_parameters", {{"rope_type", "yarn"}}), HasSubstr("rope_type"));
  EXPECT_THAT(complaint("rope_parameters", nlohmann::json::array()), HasSubstr("rope_parameters"));
  EXPECT_THAT(complaint("rope_parameters", {{"rope_type", "default"}, {"rope_theta", 1e4}, {"factor", 2}}),
              HasSubstr("factor"));
  EXPECT_THAT(complaint("rope_parameters",
                        {{"rope_type", "default"}, {"rope_theta", 1e4}, {"partial_rotary_factor", 0.5}}),
              HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(user_error_of([] { read_hf_config("config.json", "{"); }), HasSubstr("config.json"));
  EXPECT_THAT(user_error_of([] { read_hf_config("config.json", "[]"); }), HasSubstr("a JSON object"));
}

TEST(HfConfig, HeadWidthAndHeadAreTheModels) {
  model::ModelConfig config = test::interop_config();
  config.head_dim = 6;
  config.tie_embeddings = false;
  const model::ModelConfig read = read_hf_config("config.json", hf_config_json(config, DType::f32, 0));
  EXPECT_EQ(read.heads().dim, 6);
  EXPECT_FALSE(read.tie_embeddings);
  EXPECT_EQ(read_hf_config("config.json", hf_config_json(test::interop_config(), DType::f32, 0)).head_dim, 0);
}

TEST(HfConfig, DensePartsAreTheModels) {
  model::ModelConfig config = test::interop_config();
  config.shared_expert_dim = 20;
  config.first_dense_layers = 1;
  const std::string text = hf_config_json(config, DType::f32, 0);
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["shared_expert_intermediate_size"], 20);
  EXPECT_EQ(json["mlp_only_layers"], nlohmann::json::array({0}));
  EXPECT_EQ(json["intermediate_size"], 2 * 12 + 20);
  const model::ModelConfig read = read_hf_config("config.json", text);
  EXPECT_EQ(read.shared_expert_dim, 20);
  EXPECT_TRUE(read.shared_expert_gate);
  EXPECT_EQ(read.first_dense_layers, 1);
  EXPECT_EQ(read.dense_width(), 44);
  const model::ModelConfig none =
      read_hf_config("config.json", hf_config_json(test::interop_config(), DType::f32, 0));
  EXPECT_EQ(none.shared_expert_dim, 0);
  EXPECT_EQ(none.first_dense_layers, 0);
}

TEST(HfConfig, WhatTheFormatHasNotIsRefusedBySetting) {
  model::ModelConfig config = test::interop_config();
  config.shared_expert_dim = 8;
  config.shared_expert_gate = false;
  EXPECT_THAT(user_error_of([&] { hf_config_json(config, DType::f32, 0); }),
              HasSubstr("model.shared_expert_gate"));
  config.shared_expert_gate = true;
  config.shared_expert_dim = 1;  // stands for none
  EXPECT_THAT(user_error_of([&] { hf_config_json(config, DType::f32, 0); }),
              HasSubstr("model.shared_expert_dim"));
  config = test::interop_config();
  config.attention_gate = false;
  EXPECT_THAT(user_error_of([&] { hf_config_json(config, DType::f32, 0); }),
              HasSubstr("model.attention_gate"));
  config = test::interop_config();
  config.attention_window = {"0", "5"};
  EXPECT_THAT(user_error_of([&] { hf_config_json(config, DType::f32, 0); }),
              HasSubstr("model.attention_window"));
  const auto refused_router = [](auto change) {
    model::ModelConfig router = test::interop_config();
    change(router);
    return test::user_error_of([&] { check_exportable(router); });
  };
  EXPECT_THAT(refused_router([](auto& c) { c.router_score = RouterScore::sigmoid; }),
              HasSubstr("model.router_score: expected softmax, found sigmoid"));
  EXPECT_THAT(refused_router([](auto& c) { c.router_scale = 2.5; }),
              HasSubstr("model.router_scale: expected 1, found 2.5"));
  EXPECT_THAT(refused_router([](auto& c) { c.router_bias_rate = 0.001; }),
              HasSubstr("model.router_bias_rate: expected 0"));
  EXPECT_EQ(refused_router([](auto& c) { c.sequence_loss_weight = 0.01; }), "") << "of training alone";
  config.attention_window = {"0", "16"};  // the whole row
  EXPECT_EQ(user_error_of([&] { hf_config_json(config, DType::f32, 0); }), "");
}

// The keys of transformers 5.24's Qwen3NextConfig and of other models, each with a value that our model does
// not compute.
TEST(HfConfig, EveryKeyThatChangesTheArithmeticIsRefusedByName) {
  const auto whole = nlohmann::json::parse(hf_config_json(test::interop_config(), DType::f32, 0));
  const nlohmann::json others = {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}},
                                 {"rope_theta", 5e6},
                                 {"partial_rotary_factor", 0.25},
                                 {"sliding_window", 4096},
                                 {"use_sliding_window", true},
                                 {"attention_bias", true},
                                 {"attention_dropout", 0.1},
                                 {"hidden_act", "gelu"},
                                 {"decoder_sparse_step", 2},
                                 {"mlp_only_layers", {1}},
                                 {"layer_types", {"linear_attention", "full_attention"}},
                                 {"quantization_config", {{"quant_method", "fp8"}}},
                                 {"pruned_heads", {{"0", {1}}}},
                                 {"auto_map", {{"AutoModelForCausalLM", "modeling.Other"}}},
                                 {"attention_multiplier", 0.5},
                                 {"logits_scaling", 8},
                                 {"final_logit_softcapping", 30.0},
                                 {"num_shared_experts", 1},
                                 {"n_group", 2},
                                 {"routed_scaling_factor", 2.5},
                                 {"mlp_bias", true}};
  for (const auto& [key, value] : others.items()) {
    auto json = whole;
    json[key] = value;
    EXPECT_THAT(user_error_of([&] { read_hf_config("config.json", json.dump()); }),
                HasSubstr("\"" + key + "\""));
  }
}

// What transformers 5.24 writes of such a model, and what 4.57 writes: rotary settings outside, null where
// unset.
TEST(HfConfig, WhatTransformersWritesOfOurModelIsRead) {
  auto json = nlohmann::json::parse(hf_config_json(test::interop_config(), DType::f32, 0));
  json.update({{"transformers_version", "5.24.0"},
               {"_name_or_path", ""},
               {"pad_token_id", nullptr},
               {"return_dict", true},
               {"output_attentions", false},
               {"output_hidden_states", false},
               {"is_encoder_decoder", false},
               {"chunk_size_feed_forward", 0},
               {"id2label", {{"0", "LABEL_0"}}},
               {"label2id", {{"LABEL_0", 0}}},
               {"problem_type", nullptr},
               {"output_router_logits", false},
               {"linear_conv_kernel_dim", 4},
               {"linear_key_head_dim", 128},
               {"linear_value_head_dim", 128},
               {"linear_num_key_heads", 16},
               {"linear_num_value_heads", 32},
               {"rope_scaling", nullptr}});
  EXPECT_EQ(user_error_of([&] { read_hf_config("config.json", json.dump()); }), "");
  json["rope_theta"] = json["rope_parameters"]["rope_theta"];
  json.erase("rope_parameters");
  EXPECT_EQ(user_error_of([&] { read_hf_config("config.json", json.dump()); }), "");
}

}  // namespace
}  // namespace moe::interop
