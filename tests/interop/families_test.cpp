// SPDX-License-Identifier: MIT
// The families against transformers: a tiny model of each that transformers wrote (tests/golden/qwen3_next*,
// families/*, made by tools/make_export_goldens.py) gives its logits, greedy text, loss and gradients here,
// and goes out again as it came. Published models by what their config.json says. What is refused is in
// hf_config_test.cpp.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>

#include "base/file.h"
#include "interop/export_weights.h"
#include "interop/hf_config.h"
#include "model/decoder.h"
#include "model/flops.h"
#include "support/compare.h"
#include "support/tiny_model.h"

namespace moe::interop {
namespace {

namespace fs = std::filesystem;

// The folder in tests/golden.
class FromTransformers : public ::testing::TestWithParam<const char*> {
 protected:
  FromTransformers()
      : folder_(test::golden_path(GetParam())),
        expected_(folder_ / "expected.st"),
        read_(read_hf_model("config.json", read_file(folder_ / "config.json"))),
        config_(read_.config),
        ids_(expected_.values<int32_t>("ids")),
        ours_(fs::path(::testing::TempDir()) / ("moe_imported_" + std::to_string(getpid()))) {
    config_.max_seq_len = std::ssize(ids_);
    model_ = std::make_unique<test::TinyModel>(config_, 1, config_.vocab_size);
    const ImportedWeights imported(folder_, config_, DType::f32, *read_.family);
    checkpoint::write_safetensors(ours_, imported.streams());
    const checkpoint::Safetensors ours(ours_);
    for (const auto& [name, tensor] : model_->weights->named())
      ours.load(name, tensor, *model_->backend.device);
  }
  ~FromTransformers() override { fs::remove(ours_); }

  fs::path folder_;
  checkpoint::Safetensors expected_;
  HfModel read_;
  model::ModelConfig config_;
  std::vector<int32_t> ids_;
  fs::path ours_;  // the imported weights
  std::unique_ptr<test::TinyModel> model_;
};

TEST_P(FromTransformers, TheLogitsAreTheirs) {
  const std::vector<int32_t> none(ids_.size(), -1), first(ids_.size(), 0);
  model_->transformer->upload(*model_->backend.device, ids_.data(), none.data(), first.data());
  model_->transformer->forward(*model_->backend.ops);
  const auto theirs = expected_.values<float>("logits");
  std::vector<float> found;
  for (int64_t t = 0; t < std::ssize(ids_); ++t) {
    const auto row = model_->fetch<float>(model_->transformer->logits(t, 1, *model_->backend.ops));
    found.insert(found.end(), row.begin(), row.end());
  }
  EXPECT_TRUE(test::close(found, theirs, 1e-10));  // 1e-5 in norm
}

TEST_P(FromTransformers, TheGreedyTextIsTheirs) {
  Device& device = *model_->backend.device;
  Ops& ops = *model_->backend.ops;
  Arena plan;
  { const model::Decoder counted(config_, DType::f32, 1, 24, 8, *model_->weights, plan); }
  Arena arena(device, plan.used());
  model::Decoder decoder(config_, DType::f32, 1, 24, 8, *model_->weights, arena);
  decoder.prepare(device, ops.captured_region());
  decoder.read(ids_.data(), 7, 0, device, ops);
  std::vector<int32_t> made;
  for (int32_t place = 7, token = ids_[7]; made.size() < 16; ++place) {
    const auto logits = model_->fetch<float>(decoder.next(&token, &place, device, ops));
    token = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    made.push_back(token);
  }
  EXPECT_EQ(made, expected_.values<int32_t>("greedy"));
}

INSTANTIATE_TEST_SUITE_P(Models, FromTransformers,
                         ::testing::Values("qwen3_next", "qwen3_next_shared", "qwen3_next_partial",
                                           "families/qwen3_moe", "families/olmoe", "families/mixtral",
                                           "families/qwen3", "families/llama", "families/qwen2_moe",
                                           "families/glm4_moe", "families/minimax_m2", "families/granitemoe",
                                           "families/granitemoeshared"),
                         [](const auto& values) { return fs::path(values.param).filename().string(); });

class FamilyFromTransformers : public FromTransformers {};

// Of the mean loss of the next token, each gradient by its norm: 1e-5 of it, as logits.
TEST_P(FamilyFromTransformers, TheLossAndTheGradientsAreTheirs) {
  std::vector<int32_t> target(ids_.begin() + 1, ids_.end());
  target.push_back(-1);
  const std::vector<int32_t> first(ids_.size(), 0);
  const auto targets = static_cast<float>(ids_.size() - 1);
  model_->transformer->upload(*model_->backend.device, ids_.data(), target.data(), first.data());
  // Router losses are not in theirs.
  model_->transformer->set_gradient_scales(*model_->backend.device, 1 / targets, 0);
  model_->transformer->forward_backward(model::GradientMode::overwrite, *model_->backend.ops);
  const double loss = model_->fetch<double>(model_->transformer->sums().loss_1).front() / targets;
  EXPECT_NEAR(loss, expected_.values<float>("loss").front(), 1e-5 * loss);
  for (const Parameter& parameter : model_->weights->list()) {
    double squares = 0;
    for (const float value : model_->fetch<float>(parameter.gradient)) squares += double{value} * value;
    const double theirs = expected_.values<float>("gradient." + parameter.name).front();
    EXPECT_NEAR(std::sqrt(squares), theirs, 1e-5 * theirs) << parameter.name;
  }
}

TEST_P(FamilyFromTransformers, TheExportIsWhatTheyWrote) {
  const fs::path out = fs::path(::testing::TempDir()) / ("moe_exported_" + std::to_string(getpid()));
  fs::remove_all(out);
  fs::create_directories(out);
  export_weights(out, config_, checkpoint::Safetensors(ours_), DType::f32, uint64_t{1} << 30, {},
                 *read_.family);
  const checkpoint::Safetensors theirs(folder_ / "model.safetensors"), again(out / "model.safetensors");
  EXPECT_EQ(again.entries().size(), theirs.entries().size());
  for (const auto& entry : theirs.entries()) {
    const auto* found = again.find(entry.name);
    ASSERT_NE(found, nullptr) << entry.name;
    EXPECT_EQ(found->dtype, entry.dtype) << entry.name;
    EXPECT_EQ(found->shape, entry.shape) << entry.name;
    EXPECT_TRUE(std::ranges::equal(again.bytes(*found), theirs.bytes(entry))) << entry.name;
  }
  fs::remove_all(out);
}

// What we write of it is read as the same model.
TEST_P(FamilyFromTransformers, TheSettingsComeBack) {
  const std::string text = hf_config_json(read_.config, DType::f32, 0, *read_.family);
  const HfModel again = read_hf_model("config.json", text);
  EXPECT_EQ(again.family, read_.family);
  EXPECT_EQ(hf_config_json(again.config, DType::f32, 0, *again.family), text);
  // What transformers knows of a class, other programs read in the file.
  const bool minimax = read_.family->name == "minimax_m2";
  for (const char* line : {"\"scoring_func\": \"sigmoid\"", "\"use_routing_bias\": true"})
    EXPECT_EQ(text.find(line) != std::string::npos, minimax) << line;
}

INSTANTIATE_TEST_SUITE_P(Models, FamilyFromTransformers,
                         ::testing::Values("families/qwen3_moe", "families/olmoe", "families/mixtral",
                                           "families/qwen3", "families/llama", "families/qwen2_moe",
                                           "families/glm4_moe", "families/minimax_m2", "families/granitemoe",
                                           "families/granitemoeshared"),
                         [](const auto& values) { return fs::path(values.param).filename().string(); });

// ---- published models ----

// What their config.json says, in the words of its time: of transformers 4.
constexpr const char* kQwen3_30B = R"({"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false,
  "attention_dropout": 0.0, "bos_token_id": 151643, "decoder_sparse_step": 1, "eos_token_id": 151645,
  "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
  "intermediate_size": 6144, "max_position_embeddings": 40960, "max_window_layers": 48, "mlp_only_layers": [],
  "model_type": "qwen3_moe", "moe_intermediate_size": 768, "norm_topk_prob": true, "num_attention_heads": 32,
  "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4,
  "output_router_logits": false, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000.0,
  "router_aux_loss_coef": 0.001, "sliding_window": null, "tie_word_embeddings": false,
  "torch_dtype": "bfloat16", "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false,
  "vocab_size": 151936})";
constexpr const char* kOlmoe = R"({"architectures": ["OlmoeForCausalLM"], "attention_bias": false,
  "attention_dropout": 0.0, "clip_qkv": null, "eos_token_id": 50279, "hidden_act": "silu",
  "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 1024, "max_position_embeddings": 4096,
  "model_type": "olmoe", "norm_topk_prob": false, "num_attention_heads": 16, "num_experts": 64,
  "num_experts_per_tok": 8, "num_hidden_layers": 16, "num_key_value_heads": 16, "output_router_logits": false,
  "pad_token_id": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0,
  "router_aux_loss_coef": 0.01, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
  "transformers_version": "4.43.0.dev0", "use_cache": true, "vocab_size": 50304})";
constexpr const char* kMixtral = R"({"architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0,
  "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
  "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mixtral",
  "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8,
  "num_local_experts": 8, "output_router_logits": false, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
  "router_aux_loss_coef": 0.02, "sliding_window": null, "tie_word_embeddings": false,
  "torch_dtype": "bfloat16", "transformers_version": "4.36.0.dev0", "use_cache": true, "vocab_size": 32000})";

constexpr const char* kQwen3_06B = R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false,
  "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128,
  "hidden_act": "silu", "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072,
  "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16,
  "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": null,
  "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
  "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false, "vocab_size": 151936})";
// Llama-3.2-1B and Llama-3.1-8B.
constexpr const char* kLlama = R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
  "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": 128001, "head_dim": 64,
  "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192,
  "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32,
  "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
  "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                   "original_max_position_embeddings": 8192, "rope_type": "llama3"},
  "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
  "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256})";
constexpr const char* kLlama8B = R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
  "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": 128001, "hidden_act": "silu",
  "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
  "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32,
  "num_hidden_layers": 32, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
  "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": 8192, "rope_type": "llama3"},
  "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
  "transformers_version": "4.43.0.dev0", "use_cache": true, "vocab_size": 128256})";

constexpr const char* kQwen15 = R"({"architectures": ["Qwen2MoeForCausalLM"], "attention_dropout": 0.0,
  "bos_token_id": 151643, "decoder_sparse_step": 1, "eos_token_id": 151643, "hidden_act": "silu",
  "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 5632, "max_position_embeddings": 8192,
  "max_window_layers": 21, "model_type": "qwen2_moe", "moe_intermediate_size": 1408, "norm_topk_prob": false,
  "num_attention_heads": 16, "num_experts": 60, "num_experts_per_tok": 4, "num_hidden_layers": 24,
  "num_key_value_heads": 16, "output_router_logits": false, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
  "router_aux_loss_coef": 0.001, "shared_expert_intermediate_size": 5632, "sliding_window": 32768,
  "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.39.0.dev0",
  "use_cache": true, "use_sliding_window": false, "vocab_size": 151936})";
constexpr const char* kGlmAir = R"({"architectures": ["Glm4MoeForCausalLM"], "attention_bias": true,
  "attention_dropout": 0.0, "eos_token_id": [151329, 151336, 151338], "first_k_dense_replace": 1,
  "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
  "intermediate_size": 10944, "max_position_embeddings": 131072, "model_type": "glm4_moe",
  "moe_intermediate_size": 1408, "n_group": 1, "n_routed_experts": 128, "n_shared_experts": 1,
  "norm_topk_prob": true, "num_attention_heads": 96, "num_experts_per_tok": 8, "num_hidden_layers": 46,
  "num_key_value_heads": 8, "num_nextn_predict_layers": 1, "pad_token_id": 151329,
  "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 1000000,
  "routed_scaling_factor": 1.0, "tie_word_embeddings": false, "topk_group": 1, "torch_dtype": "bfloat16",
  "transformers_version": "4.54.0", "use_cache": true, "use_qk_norm": false, "vocab_size": 151552})";
// MiniMax-M2 as save_pretrained writes it, without the quantisation of the published files.
constexpr const char* kMiniMax = R"({"architectures": ["MiniMaxM2ForCausalLM"], "attention_dropout": 0.0,
  "bos_token_id": 200034, "dtype": "bfloat16", "eos_token_id": 200020, "head_dim": 128, "hidden_act": "silu",
  "hidden_size": 3072, "initializer_range": 0.02, "intermediate_size": 1536,
  "max_position_embeddings": 196608, "model_type": "minimax_m2", "num_attention_heads": 48,
  "num_experts_per_tok": 8, "num_hidden_layers": 62, "num_key_value_heads": 8, "num_local_experts": 256,
  "rms_norm_eps": 1e-06, "rotary_dim": 64, "rope_parameters": {"partial_rotary_factor": 0.5,
  "rope_theta": 5000000.0, "rope_type": "default"}, "scoring_func": "sigmoid", "tie_word_embeddings": false,
  "use_cache": true, "use_qk_norm": true, "use_routing_bias": true, "vocab_size": 200064})";
// Granite-3.1: 1b-a400m and 3b-a800m.
constexpr const char* kGranite1B = R"({"architectures": ["GraniteMoeForCausalLM"], "attention_bias": false,
  "attention_dropout": 0.0, "attention_multiplier": 0.015625, "bos_token_id": 0,
  "embedding_multiplier": 12.0, "eos_token_id": 0, "hidden_act": "silu", "hidden_size": 1024,
  "initializer_range": 0.02,
  "intermediate_size": 512, "logits_scaling": 6.0, "max_position_embeddings": 131072,
  "model_type": "granitemoe", "num_attention_heads": 16, "num_experts_per_tok": 8, "num_hidden_layers": 24,
  "num_key_value_heads": 8, "num_local_experts": 32, "output_router_logits": false,
  "residual_multiplier": 0.22, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1500000.0,
  "router_aux_loss_coef": 0.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true,
  "vocab_size": 49155})";
constexpr const char* kGranite3B = R"({"architectures": ["GraniteMoeForCausalLM"], "attention_bias": false,
  "attention_dropout": 0.0, "attention_multiplier": 0.015625, "bos_token_id": 0,
  "embedding_multiplier": 12.0, "eos_token_id": 0, "hidden_act": "silu", "hidden_size": 1536,
  "initializer_range": 0.02,
  "intermediate_size": 512, "logits_scaling": 6.0, "max_position_embeddings": 131072,
  "model_type": "granitemoe", "num_attention_heads": 24, "num_experts_per_tok": 8, "num_hidden_layers": 32,
  "num_key_value_heads": 8, "num_local_experts": 40, "output_router_logits": false,
  "residual_multiplier": 0.22, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1500000.0,
  "router_aux_loss_coef": 0.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true,
  "vocab_size": 49155})";

// As transformers counts them from these settings.
TEST(PublishedModels, HaveTheirNumberOfParameters) {
  struct Model {
    const char* config;
    const char* family;
    int64_t total, active;  // active: K experts of E, everything else whole
  };
  for (const Model& model : {Model{kQwen3_30B, "qwen3_moe", 30'532'122'624, 3'353'032'704},
                             {kOlmoe, "olmoe", 6'919'161'856, 1'282'017'280},
                             {kMixtral, "mixtral", 46'702'792'704, 12'879'925'248},
                             {kQwen3_06B, "qwen3", 596'049'920, 596'049'920},
                             {kLlama, "llama", 1'235'814'400, 1'235'814'400},
                             {kLlama8B, "llama", 8'030'261'248, 8'030'261'248},
                             {kQwen15, "qwen2_moe", 14'315'784'192, 2'689'173'504},
                             {kGlmAir, "glm4_moe", 106'852'245'504, 13'424'123'904},
                             {kMiniMax, "minimax_m2", 228'689'748'992, 11'030'537'216},
                             {kGranite1B, "granitemoe", 1'334'628'352, 428'658'688},
                             {kGranite3B, "granitemoe", 3'298'793'472, 882'874'368}}) {
    const HfModel read = read_hf_model("config.json", model.config);
    EXPECT_EQ(read.family->name, model.family);
    const model::ParameterCount count = model::count_parameters(read.config);
    EXPECT_EQ(count.total, model.total) << model.family;
    EXPECT_EQ(count.active, model.active) << model.family;
    int64_t theirs = 0;
    for (const TensorMap& tensor : tensors_of(*read.family, read.config))
      theirs += tensor.ours.ends_with("router.bias") ? 0 : tensor.numel();  // no parameter of either
    EXPECT_EQ(theirs, model.total) << model.family;
  }
}

TEST(PublishedModels, SayWhatTheyCompute) {
  const model::ModelConfig qwen = read_hf_config("config.json", kQwen3_30B);
  EXPECT_EQ(qwen.heads().dim, 128);
  EXPECT_TRUE(qwen.renormalize_top_k);
  EXPECT_EQ(qwen.qk_norm, QkNorm::head);
  EXPECT_EQ(qwen.rope_theta, 1e6);
  EXPECT_EQ(qwen.capacity_factor, 0);
  const model::ModelConfig olmoe = read_hf_config("config.json", kOlmoe);
  EXPECT_FALSE(olmoe.renormalize_top_k);
  EXPECT_EQ(olmoe.qk_norm, QkNorm::projection);
  const model::ModelConfig mixtral = read_hf_config("config.json", kMixtral);
  EXPECT_TRUE(mixtral.renormalize_top_k);
  EXPECT_EQ(mixtral.qk_norm, QkNorm::none);
  EXPECT_FALSE(mixtral.tie_embeddings);
  const model::RopeSpec rope = read_hf_config("config.json", kLlama).rope();
  EXPECT_EQ(rope.scaling, model::RopeScaling::llama3);
  EXPECT_EQ(rope.factor, 32);
  EXPECT_EQ(rope.original_len, 8192);
}

}  // namespace
}  // namespace moe::interop
