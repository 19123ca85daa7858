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
  EXPECT_THAT(complaint("layer_types", {"linear_attention", "full_attention"}),
              HasSubstr("linear_attention"));
  EXPECT_THAT(complaint("layer_types", {"full_attention"}), HasSubstr("layer_types"));
  EXPECT_THAT(complaint("hidden_act", "gelu"), HasSubstr("hidden_act"));
  EXPECT_THAT(complaint("tie_word_embeddings", 1), HasSubstr("tie_word_embeddings"));
  EXPECT_THAT(complaint("head_dim", 7), HasSubstr("head_dim"));
  EXPECT_THAT(complaint("shared_expert_intermediate_size", 0), HasSubstr("shared_expert_intermediate_size"));
  EXPECT_THAT(complaint("shared_expert_intermediate_size", 1 << 20), HasSubstr("shared_expert_dim"));
  for (const nlohmann::json& layers : {nlohmann::json{1}, {0, 2}, {"0"}, {0, 1, 2}})
    EXPECT_THAT(complaint("mlp_only_layers", layers), HasSubstr("mlp_only_layers")) << layers;
  EXPECT_THAT(complaint("hidden_size", -1), HasSubstr("hidden_size"));
  EXPECT_THAT(complaint("num_attention_heads", 3), HasSubstr("n_heads"));
  EXPECT_THAT(complaint("rope_parameters", {{"rope_type", "dynamic"}}), HasSubstr("rope_type"));
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
  EXPECT_THAT(refused_router([](auto& c) { c.qk_norm = QkNorm::none; }),
              HasSubstr("model.qk_norm: expected head, found none"));
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

// ---- other families ----

model::ModelConfig config_of(const Family& family) {
  model::ModelConfig config = test::interop_config();
  if (family.no_experts) config.first_dense_layers = config.n_layers, config.dense_intermediate_dim = 20;
  config.attention_gate = family.gate;
  config.qk_norm = family.qk_norm;
  config.router_score = family.score;
  config.router_bias = !family.router_bias.empty();
  config.shared_expert_gate = family.shared.gate;
  if (family.shared.none == SharedExpertOfFamily::None::never && !family.shared.name.empty())
    config.shared_expert_dim = 2 * config.expert_intermediate_dim;
  return config;
}

TEST(Families, WhatEachDoesNotComputeIsRefusedByKey) {
  const nlohmann::json others = {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}},
                                 {"rope_theta", 5e6},
                                 {"partial_rotary_factor", 0.25},
                                 {"use_sliding_window", true},
                                 {"attention_bias", true},
                                 {"attention_dropout", 0.1},
                                 {"hidden_act", "gelu"},
                                 {"decoder_sparse_step", 2},
                                 {"mlp_only_layers", {1}},
                                 {"clip_qkv", 8.0},
                                 {"router_jitter_noise", 0.1},
                                 {"layer_types", {"linear_attention", "full_attention"}},
                                 {"quantization_config", {{"quant_method", "fp8"}}},
                                 {"auto_map", {{"AutoModelForCausalLM", "modeling.Other"}}},
                                 {"num_shared_experts", 1},
                                 {"architectures", {"OtherForCausalLM"}},
                                 {"mlp_bias", true}};
  for (const Family& family : families()) {
    const auto whole = nlohmann::json::parse(hf_config_json(config_of(family), DType::f32, 0, family));
    EXPECT_EQ(user_error_of([&] { read_hf_config("config.json", whole.dump()); }), "") << family.name;
    for (const auto& [key, value] : others.items()) {
      if (key == family.qkv_bias) continue;
      auto json = whole;
      json[key] = value;
      EXPECT_THAT(user_error_of([&] { read_hf_config("config.json", json.dump()); }),
                  HasSubstr("\"" + key + "\""))
          << family.name;
    }
    if (family.window) continue;
    auto json = whole;
    json["sliding_window"] = 8;
    const bool idle = std::ranges::count(family.idle, "sliding_window") > 0;
    EXPECT_EQ(user_error_of([&] { read_hf_config("config.json", json.dump()); }) == "", idle) << family.name;
  }
}

TEST(Families, OtherModelTypesAreRefusedWithAReason) {
  auto json = nlohmann::json::parse(hf_config_json(test::interop_config(), DType::f32, 0));
  for (const auto& [type, reason] : {std::pair{"deepseek_v3", "latent attention"},
                                     {"kimi_k2", "latent attention"},
                                     {"dbrx", "LayerNorm"},
                                     {"phimoe", "sparsemixer"},
                                     {"gpt_oss", "sinks"},
                                     {"mistral", "qwen3 and llama only"},
                                     {"qwen2", "qwen3 and llama only"},
                                     {"afmoe", "norms behind its branches"},
                                     {"ernie4_5_moe", "adjacent pairs"},
                                     {"glm4_moe_lite", "latent attention"},
                                     {"granitemoehybrid", "state space"},
                                     {"minimax", "linear attention"},
                                     {"qwen3_5_moe", "linear attention"},
                                     {"qwen3_vl_moe", "docs/interop.md"}}) {
    json["model_type"] = type;
    EXPECT_THAT(user_error_of([&] { read_hf_config("config.json", json.dump()); }),
                AllOf(HasSubstr("model_type"), HasSubstr("qwen3_next, qwen3_moe"), HasSubstr(reason)));
  }
  json.erase("model_type");
  EXPECT_THAT(user_error_of([&] { read_hf_config("config.json", json.dump()); }), HasSubstr("model_type"));
}

TEST(Families, MissingKeysAreTheDefaultsOfTheClass) {
  const auto read = [](const char* name, const std::vector<const char*>& without) {
    const Family& family = *find_family(name);
    auto json = nlohmann::json::parse(hf_config_json(config_of(family), DType::f32, 0, family));
    for (const char* key : without) json.erase(key);
    return read_hf_config("config.json", json.dump());
  };
  const model::ModelConfig qwen =
      read("qwen3_moe", {"norm_topk_prob", "rope_parameters", "rope_theta", "rms_norm_eps", "head_dim"});
  EXPECT_FALSE(qwen.renormalize_top_k);
  EXPECT_EQ(qwen.rope_theta, 1e4);
  EXPECT_EQ(qwen.norm_eps, 1e-6);
  EXPECT_EQ(qwen.heads().dim, 4);
  const model::ModelConfig olmoe = read("olmoe", {"norm_topk_prob", "num_key_value_heads"});
  EXPECT_FALSE(olmoe.renormalize_top_k);
  EXPECT_EQ(olmoe.n_kv_heads, olmoe.n_heads);
  const model::ModelConfig qwen2 = read("qwen2_moe", {"norm_topk_prob", "qkv_bias"});
  EXPECT_TRUE(qwen2.attention_bias);
  EXPECT_FALSE(qwen2.renormalize_top_k);
  const model::ModelConfig glm =
      read("glm4_moe", {"rope_parameters", "partial_rotary_factor", "norm_topk_prob", "use_qk_norm",
                        "attention_bias", "routed_scaling_factor"});
  EXPECT_EQ(glm.rope().rotary_dim, 2);
  EXPECT_EQ(glm.qk_norm, QkNorm::none);
  EXPECT_TRUE(glm.renormalize_top_k);
  EXPECT_FALSE(glm.attention_bias);
  const model::ModelConfig minimax = read("minimax_m2", {"rope_parameters", "rope_theta", "rotary_dim"});
  EXPECT_EQ(minimax.rope_theta, 5e6);
  EXPECT_EQ(minimax.partial_rotary_factor, 1);
  const model::ModelConfig granite = read("granitemoe", {"attention_multiplier"});
  EXPECT_EQ(granite.attention_multiplier, 1) << "of the class, which is not 1 / sqrt(d)";
  const model::ModelConfig mixtral = read("mixtral", {"rope_parameters", "rope_theta"});
  EXPECT_EQ(mixtral.rope_theta, 1e6);
  EXPECT_TRUE(mixtral.renormalize_top_k);
}

// transformers 5.24 writes num_local_experts of Qwen3-MoE, others num_experts.
TEST(Families, BothNamesOfTheExpertsAreRead) {
  const Family& family = *find_family("qwen3_moe");
  auto json = nlohmann::json::parse(hf_config_json(config_of(family), DType::f32, 0, family));
  EXPECT_EQ(json["num_experts"], 3);
  json.erase("num_experts");
  json["num_local_experts"] = 5;
  EXPECT_EQ(read_hf_config("config.json", json.dump()).num_experts, 5);
}

TEST(Families, AWindowOfAllLayersIsMixtrals) {
  const Family& family = *find_family("mixtral");
  model::ModelConfig config = config_of(family);
  config.attention_window = {"5"};
  const std::string text = hf_config_json(config, DType::f32, 0, family);
  EXPECT_EQ(nlohmann::json::parse(text)["sliding_window"], 5);
  EXPECT_EQ(read_hf_config("config.json", text).window_of(1), 5);
  config.attention_window = {"5", "0"};
  EXPECT_THAT(user_error_of([&] { check_exportable(config, family); }),
              HasSubstr("one window in all layers"));
  config.attention_window = {"0"};
  EXPECT_EQ(nlohmann::json::parse(hf_config_json(config, DType::f32, 0, family))["sliding_window"], nullptr);
}

TEST(Families, ARefusedExportNamesThoseThatFit) {
  const auto complaint = [](const Family& from, const char* to, auto change) {
    model::ModelConfig config = config_of(from);
    change(config);
    return user_error_of([&] { check_exportable(config, *find_family(to)); });
  };
  const auto same = [](auto&) {};
  EXPECT_THAT(complaint(*find_family("qwen3_moe"), "qwen3_next", same),
              AllOf(HasSubstr("model.attention_gate: expected true"), HasSubstr("--family qwen3_moe")));
  EXPECT_THAT(
      complaint(*find_family("olmoe"), "mixtral", same),
      AllOf(HasSubstr("model.qk_norm: expected none, found projection"), HasSubstr("--family olmoe")));
  EXPECT_THAT(complaint(own_family(), "qwen3_moe", same),
              AllOf(HasSubstr("model.attention_gate"), HasSubstr("--family qwen3_next")));
  EXPECT_THAT(complaint(*find_family("mixtral"), "mixtral", [](auto& c) { c.renormalize_top_k = false; }),
              AllOf(HasSubstr("model.renormalize_top_k"), HasSubstr("--family qwen2_moe")));
  EXPECT_THAT(complaint(*find_family("mixtral"), "mixtral",
                        [](auto& c) { c.renormalize_top_k = false, c.attention_window = {"5"}; }),
              AllOf(HasSubstr("model.renormalize_top_k"), HasSubstr("checkpoint's own files")));
  EXPECT_THAT(
      complaint(*find_family("qwen3"), "qwen3_moe", same),
      AllOf(HasSubstr("model.first_dense_layers: expected less than 2"), HasSubstr("--family qwen3")));
  EXPECT_THAT(complaint(*find_family("qwen3_moe"), "qwen3", same),
              AllOf(HasSubstr("model.first_dense_layers: expected 2, all layers, found 0"),
                    HasSubstr("--family qwen3_moe")));
  EXPECT_THAT(complaint(*find_family("olmoe"), "olmoe", [](auto& c) { c.head_dim = 6; }),
              HasSubstr("model.head_dim"));
  EXPECT_THAT(complaint(*find_family("olmoe"), "olmoe", [](auto& c) { c.first_dense_layers = 1; }),
              HasSubstr("model.first_dense_layers"));
  EXPECT_THAT(complaint(*find_family("qwen3_moe"), "qwen3_moe", [](auto& c) { c.shared_expert_dim = 8; }),
              HasSubstr("model.shared_expert_dim"));
  EXPECT_THAT(complaint(*find_family("mixtral"), "mixtral", [](auto& c) { c.attention_bias = true; }),
              AllOf(HasSubstr("model.attention_bias: expected false"), HasSubstr("--family qwen2_moe")));
  EXPECT_THAT(complaint(*find_family("mixtral"), "mixtral", [](auto& c) { c.partial_rotary_factor = 0.5; }),
              HasSubstr("model.partial_rotary_factor"));
  EXPECT_THAT(complaint(*find_family("mixtral"), "mixtral", [](auto& c) { c.router_bias = true; }),
              HasSubstr("model.router_bias: expected false, found true"));
  EXPECT_THAT(complaint(*find_family("minimax_m2"), "minimax_m2", [](auto& c) { c.router_bias = false; }),
              HasSubstr("model.router_bias: expected true, found false"));
  EXPECT_THAT(complaint(*find_family("minimax_m2"), "minimax_m2", [](auto& c) { c.router_scale = 2; }),
              HasSubstr("model.router_scale"));
  EXPECT_THAT(complaint(*find_family("glm4_moe"), "glm4_moe", [](auto& c) { c.shared_expert_dim = 13; }),
              HasSubstr("model.shared_expert_dim: expected a multiple of expert_intermediate_dim (12)"));
  struct Multiplier {
    std::string name;
    double model::ModelConfig::*member;
  };
  for (const Multiplier& multiplier :
       {Multiplier{"embedding_multiplier", &model::ModelConfig::embedding_multiplier},
        {"residual_multiplier", &model::ModelConfig::residual_multiplier},
        {"logits_scaling", &model::ModelConfig::logits_scaling}})
    EXPECT_THAT(complaint(*find_family("mixtral"), "mixtral", [&](auto& c) { c.*multiplier.member = 3; }),
                AllOf(HasSubstr("model." + multiplier.name + ": expected 1, found 3"),
                      HasSubstr("--family granitemoe")));
  EXPECT_THAT(complaint(*find_family("mixtral"), "mixtral", [](auto& c) { c.attention_multiplier = 0.5; }),
              HasSubstr("model.attention_multiplier: expected 0, found 0.5"));
}

// What contradicts itself, or what our model does not compute, by the name of its key.
TEST(Families, OddKeysOfEachAreRefused) {
  struct Odd {
    const char *family, *key;
    nlohmann::json value;
    const char* says;
  };
  for (const Odd& odd : {Odd{"glm4_moe", "n_group", 4, "no groups of experts"},
                         {"glm4_moe", "topk_group", 2, "no groups of experts"},
                         {"glm4_moe", "first_k_dense_replace", 3, "first_k_dense_replace"},
                         {"glm4_moe", "n_shared_experts", 0, "n_shared_experts"},
                         {"glm4_moe", "use_qk_norm", 1, "use_qk_norm"},
                         {"glm4_moe", "routed_scaling_factor", 0, "router_scale"},
                         {"glm4_moe", "routed_scaling_factor", "x", "routed_scaling_factor"},
                         {"glm4_moe", "scoring_func", "softmax", "a key that moe knows"},
                         {"qwen2_moe", "qkv_bias", "yes", "qkv_bias"},
                         {"qwen2_moe", "attention_bias", true, "attention_bias"},
                         {"qwen2_moe", "use_sliding_window", true, "use_sliding_window"},
                         {"minimax_m2", "scoring_func", "softmax", "scoring_func"},
                         {"minimax_m2", "use_routing_bias", false, "use_routing_bias"},
                         {"minimax_m2", "rotary_dim", 3, "an even part"},
                         {"minimax_m2", "rotary_dim", 0, "rotary_dim"},
                         {"minimax_m2", "shared_intermediate_size", 8, "shared_intermediate_size"},
                         {"granitemoe", "attention_multiplier", 0, "attention_multiplier"},
                         {"granitemoe", "logits_scaling", 0, "logits_scaling"},
                         {"granitemoe", "residual_multiplier", -1, "residual_multiplier"},
                         {"granitemoe", "shared_intermediate_size", 8, "shared_intermediate_size"},
                         {"granitemoe", "attention_bias", true, "attention_bias"}}) {
    const Family& family = *find_family(odd.family);
    auto json = nlohmann::json::parse(hf_config_json(config_of(family), DType::f32, 0, family));
    json[odd.key] = odd.value;
    EXPECT_THAT(user_error_of([&] { read_hf_config("config.json", json.dump()); }), HasSubstr(odd.says))
        << odd.family << " " << odd.key;
  }
}

}  // namespace
}  // namespace moe::interop
