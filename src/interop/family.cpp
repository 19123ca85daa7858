// SPDX-License-Identifier: MIT
// The table. Class defaults and keys are those of transformers 5.24 (configuration_*.py of each family);
// tools/check_families.py holds each row against the class itself.
#include "interop/family.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace moe::interop {
namespace {

Json fixed_everywhere() {
  return {{"hidden_act", "silu"},
          {"attention_dropout", 0},
          {"is_encoder_decoder", false},
          {"add_cross_attention", false},
          {"pruned_heads", Json::object()}};
}

Json fixed_and(const Json& more) {
  Json all = fixed_everywhere();
  all.update(more);
  return all;
}

SharedExpertOfFamily qwen_shared_expert() {
  return {.name = "mlp.shared_expert.",
          .width = "shared_expert_intermediate_size",
          .gate = true,
          .none = SharedExpertOfFamily::None::zeros};
}

// With full attention in every layer it is our model by default.
Family qwen3_next() {
  Family family;
  family.name = "qwen3_next";
  family.architecture = "Qwen3NextForCausalLM";
  family.defaults = {{"head_dim", 256},        {"mlp_only_layers", Json::array()},
                     {"norm_topk_prob", true}, {"num_key_value_heads", 2},
                     {"rms_norm_eps", 1e-6},   {"tie_word_embeddings", false}};
  family.fixed =
      fixed_and({{"attention_bias", false}, {"decoder_sparse_step", 1}, {"use_sliding_window", false}});
  family.partial = true;
  family.partial_rotary = 0.25;
  family.layer_types = true;
  family.dense_layers = "mlp_only_layers";
  family.idle = {"full_attention_interval", "linear_conv_kernel_dim", "linear_key_head_dim",
                 "linear_num_key_heads",    "linear_num_value_heads", "linear_value_head_dim",
                 "max_window_layers"};
  family.gate = true;
  family.qk_norm = QkNorm::head;
  family.shared = qwen_shared_expert();
  family.norms_less_one = true;
  family.keep_f32 = true;
  family.prediction_layers = family.zero_blocks = true;
  family.llama_cpp = {.renormalise = true, .dense_layers = false};
  return family;
}

Family qwen3_moe() {
  Family family;
  family.name = "qwen3_moe";
  family.architecture = "Qwen3MoeForCausalLM";
  family.defaults = {{"mlp_only_layers", Json::array()},
                     {"norm_topk_prob", false},
                     {"num_key_value_heads", 4},
                     {"rms_norm_eps", 1e-6},
                     {"tie_word_embeddings", false}};
  family.fixed =
      fixed_and({{"attention_bias", false}, {"decoder_sparse_step", 1}, {"use_sliding_window", false}});
  family.experts = {"num_experts", "num_local_experts"};
  family.dense_layers = "mlp_only_layers";
  family.idle = {"max_window_layers", "sliding_window"};  // only read with use_sliding_window
  family.qk_norm = QkNorm::head;
  family.llama_cpp = {.renormalise = true, .dense_layers = false};
  return family;
}

// With biases and a shared expert, without norms of queries and keys.
Family qwen2_moe() {
  Family family = qwen3_moe();
  family.name = "qwen2_moe";
  family.architecture = "Qwen2MoeForCausalLM";
  family.defaults["num_key_value_heads"] = 16;
  family.defaults["qkv_bias"] = true;
  family.fixed.erase("attention_bias");  // its key is another
  family.qkv_bias = "qkv_bias";
  family.qk_norm = QkNorm::none;
  family.shared = qwen_shared_expert();
  family.llama_cpp = {.renormalise = false, .dense_layers = false, .head_dim = false};
  return family;
}

// The router of DeepSeek-V3, without groups.
Family glm4_moe() {
  Family family;
  family.name = "glm4_moe";
  family.architecture = "Glm4MoeForCausalLM";
  family.defaults = {{"attention_bias", false},      {"first_k_dense_replace", 1},   {"n_shared_experts", 1},
                     {"norm_topk_prob", true},       {"num_key_value_heads", 8},     {"rms_norm_eps", 1e-5},
                     {"routed_scaling_factor", 1.0}, {"tie_word_embeddings", false}, {"use_qk_norm", false}};
  family.fixed = fixed_and({{"n_group", 1}, {"topk_group", 1}});
  family.partial = true;
  family.partial_rotary = 0.5;
  family.experts = {"n_routed_experts", "num_experts", "num_local_experts"};
  family.dense_layers = "first_k_dense_replace";
  family.qkv_bias = "attention_bias";
  family.qk_norm_key = "use_qk_norm";
  family.router_scale = "routed_scaling_factor";
  family.idle = {"num_nextn_predict_layers"};
  family.qk_norm = QkNorm::head;
  family.score = RouterScore::sigmoid;
  family.shared = {.name = "mlp.shared_experts.", .width = "n_shared_experts", .counts = true};
  family.router_f32 = family.router_bias_f32 = true;
  family.router_bias = "gate.e_score_correction_bias";
  family.prediction_layers = true;
  family.llama_cpp = {.token = "[gMASK]"};
  return family;
}

Family minimax_m2() {
  Family family;
  family.name = "minimax_m2";
  family.architecture = "MiniMaxM2ForCausalLM";
  family.defaults = {
      {"head_dim", 128}, {"num_key_value_heads", 8}, {"rms_norm_eps", 1e-6}, {"tie_word_embeddings", false}};
  family.fixed = fixed_and({{"attention_bias", false},
                            {"router_jitter_noise", 0},
                            {"scoring_func", "sigmoid"},
                            {"use_qk_norm", true},
                            {"qk_norm_type", "per_layer"},
                            {"use_routing_bias", true},
                            {"shared_intermediate_size", 0}});
  family.rope_theta = 5e6;
  family.partial = true;
  family.rotary_dim = "rotary_dim";
  family.experts = {"num_local_experts", "num_experts"};
  family.expert_width = "intermediate_size";
  family.renormalise_key = false;
  family.idle = {"mtp_transformer_layers", "num_mtp_modules", "use_mtp"};
  family.qk_norm = QkNorm::projection;
  family.score = RouterScore::sigmoid;
  family.moe = "block_sparse_moe.";
  family.router_bias = "e_score_correction_bias";
  family.router_bias_f32 = true;
  family.expert_gate = "w1", family.expert_up = "w3", family.expert_down = "w2";
  family.llama_cpp = {.tied = false};
  return family;
}

Family granitemoe() {
  Family family;
  family.name = "granitemoe";
  family.architecture = "GraniteMoeForCausalLM";
  family.defaults = {{"attention_multiplier", 1.0}, {"embedding_multiplier", 1.0},
                     {"logits_scaling", 1.0},       {"residual_multiplier", 1.0},
                     {"rms_norm_eps", 1e-6},        {"tie_word_embeddings", false}};
  family.fixed = fixed_and({{"attention_bias", false}});
  family.experts = {"num_local_experts", "num_experts"};
  family.expert_width = "intermediate_size";
  family.renormalise_key = false;
  family.head_dim_key = false;
  family.multipliers = true;
  family.moe = "block_sparse_moe.";
  family.router = "router.layer.weight";
  family.joined_experts = true;
  family.llama_cpp = {.llama3_rope = true};
  return family;
}

Family granitemoeshared() {
  Family family = granitemoe();
  family.name = "granitemoeshared";
  family.architecture = "GraniteMoeSharedForCausalLM";
  family.defaults["shared_intermediate_size"] = 0;
  family.shared = {.name = "shared_mlp.",
                   .width = "shared_intermediate_size",
                   .none = SharedExpertOfFamily::None::no_width};
  return family;
}

Family olmoe() {
  Family family;
  family.name = "olmoe";
  family.architecture = "OlmoeForCausalLM";
  family.defaults = {{"norm_topk_prob", false}, {"rms_norm_eps", 1e-5}, {"tie_word_embeddings", false}};
  family.fixed = fixed_and({{"attention_bias", false}});
  family.expert_width = "intermediate_size";
  family.head_dim_key = false;
  family.qk_norm = QkNorm::projection;
  family.llama_cpp = {.renormalise = false, .norm_eps = 1e-5, .grouped_heads = false};
  return family;
}

Family mixtral() {
  Family family;
  family.name = "mixtral";
  family.architecture = "MixtralForCausalLM";
  family.defaults = {{"num_key_value_heads", 8}, {"rms_norm_eps", 1e-5}, {"tie_word_embeddings", false}};
  family.fixed = fixed_and({{"router_jitter_noise", 0}});
  family.rope_theta = 1e6;
  family.experts = {"num_local_experts"};
  family.expert_width = "intermediate_size";
  family.renormalise_key = false;
  family.window = true;
  family.moe = "block_sparse_moe.";
  family.expert_gate = "w1", family.expert_up = "w3", family.expert_down = "w2";
  family.llama_cpp = {.llama3_rope = true};
  return family;
}

Family without_experts(std::string name, std::string architecture) {
  Family family;
  family.name = std::move(name);
  family.architecture = std::move(architecture);
  family.no_experts = true;
  family.experts = {};
  family.expert_width = "intermediate_size";
  family.renormalise_key = false;
  return family;
}

Family qwen3() {
  Family family = without_experts("qwen3", "Qwen3ForCausalLM");
  family.defaults = {
      {"head_dim", 128}, {"num_key_value_heads", 32}, {"rms_norm_eps", 1e-6}, {"tie_word_embeddings", false}};
  family.fixed = fixed_and({{"attention_bias", false}, {"use_sliding_window", false}});
  family.idle = {"max_window_layers", "sliding_window"};  // only read with use_sliding_window
  family.qk_norm = QkNorm::head;
  return family;
}

Family llama() {
  Family family = without_experts("llama", "LlamaForCausalLM");
  family.defaults = {{"rms_norm_eps", 1e-6}, {"tie_word_embeddings", false}};
  family.fixed = fixed_and({{"attention_bias", false}, {"mlp_bias", false}});
  family.idle = {"pretraining_tp"};  // how a product was cut, in old versions
  family.llama_cpp = {.llama3_rope = true};
  return family;
}

const std::vector<Family>& table() {
  static const std::vector<Family> rows{qwen3_next(), qwen3_moe(),  olmoe(),           mixtral(),
                                        qwen3(),      llama(),      qwen2_moe(),       glm4_moe(),
                                        minimax_m2(), granitemoe(), granitemoeshared()};
  return rows;
}

struct Reason {
  std::string_view name;  // with * at its end: all that begin so
  std::string_view why;
};

constexpr std::string_view kConvert =
    "quantised weights are not read: load the model with transformers, dequantise it, save_pretrained";

constexpr Reason kOtherModels[] = {
    {"deepseek*",
     "it has multi-head latent attention (MLA), which moe has not: use a qwen3_moe or olmoe model"},
    {"kimi*", "it has multi-head latent attention (MLA), which moe has not: use a qwen3_moe or olmoe model"},
    {"dbrx", "it has LayerNorm and clamped projections, which moe has not"},
    {"phimoe", "it has LayerNorm and the sparsemixer router, which moe has not"},
    {"gpt_oss", "it has attention sinks, biases of experts and a clamped SwiGLU, which moe has not"},
    {"glm4_moe_lite", "it has multi-head latent attention (MLA), which moe has not: use a glm4_moe model"},
    {"qwen3_5*", "it has layers of linear attention, which moe has not"},
    {"granitemoehybrid", "it has state space layers, which moe has not"},
    {"ernie4_5*", "its rotary positions turn adjacent pairs, which moe has not yet"},
    {"afmoe", "it has norms behind its branches and layers without positions, which moe has not"},
    {"minimax*", "it has layers of linear attention, which moe has not: moe reads minimax_m2"},
    {"llama4", "its experts get scaled inputs and its attention is chunked, which moe has not"},
    {"jamba", "it has state space layers, which moe has not"},
    {"nemotron_h", "it has state space layers, which moe has not"},
    {"lfm2*", "it has convolution layers, which moe has not"},
    {"mistral", "of dense models moe reads qwen3 and llama only"},
    {"qwen2", "of dense models moe reads qwen3 and llama only"},
    {"gemma*", "it has norms behind its branches and soft caps, which moe has not"},
};

constexpr Reason kOtherKeys[] = {
    {"quantization_config", kConvert},
    {"partial_rotary_factor", "in this family all of a head turns"},
    {"sliding_window", "this family's windows are not read"},
    {"use_sliding_window", "this family's windows are not read"},
    {"clip_qkv", "moe does not clamp projections"},
    {"attention_bias", "in this family the product behind attention would have one too, which moe has not"},
    {"mlp_bias", "of moe's products only that to queries, keys and values has a bias"},
    {"qkv_bias", "this family has no such key"},
    {"n_group", "moe's router has no groups of experts"},
    {"topk_group", "moe's router has no groups of experts"},
    {"decoder_sparse_step", "with moe, layers without experts come first: mlp_only_layers [0, 1, ...]"},
    {"mlp_only_layers", "with moe, layers without experts come first"},
    {"layer_types", "moe has no layers of linear or sliding attention"},
    {"auto_map", "moe runs no code of a model: it reads the families of docs/interop.md"},
};

}  // namespace

std::span<const Family> families() {
  return table();
}

const Family& own_family() {
  return table().front();
}

const Family* find_family(std::string_view name) {
  const auto found = std::ranges::find(table(), name, &Family::name);
  return found == table().end() ? nullptr : &*found;
}

std::string family_names() {
  std::vector<std::string_view> names;
  for (const Family& family : table()) names.emplace_back(family.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string why_not_family(std::string_view model_type) {
  for (const auto& [name, why] : kOtherModels)
    if (name.ends_with('*') ? model_type.starts_with(name.substr(0, name.size() - 1)) : model_type == name)
      return std::string(why);
  return "";
}

std::string why_not_key(std::string_view key) {
  const auto found = std::ranges::find(kOtherKeys, key, &Reason::name);
  return found == std::end(kOtherKeys) ? "" : std::string(found->why);
}

}  // namespace moe::interop
