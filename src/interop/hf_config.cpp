// SPDX-License-Identifier: MIT
#include "interop/hf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/json.h"
#include "interop/qwen3_next.h"

namespace moe::interop {
namespace {

constexpr const char* kArchitecture = "Qwen3NextForCausalLM";
constexpr const char* kOnly =
    "moe imports what `moe export` writes: Qwen3-Next with full attention in every layer";

// Keys that change nothing of what a model computes, or only in layers that it does not have.
constexpr std::string_view kOfNoEffect[] = {"_attn_implementation",
                                            "_name_or_path",
                                            "attn_implementation",
                                            "bos_token_id",
                                            "chunk_size_feed_forward",
                                            "dtype",
                                            "eos_token_id",
                                            "full_attention_interval",
                                            "id2label",
                                            "initializer_range",
                                            "label2id",
                                            "linear_conv_kernel_dim",
                                            "linear_key_head_dim",
                                            "linear_num_key_heads",
                                            "linear_num_value_heads",
                                            "linear_value_head_dim",
                                            "max_window_layers",
                                            "output_attentions",
                                            "output_hidden_states",
                                            "output_router_logits",
                                            "pad_token_id",
                                            "problem_type",
                                            "return_dict",
                                            "router_aux_loss_coef",
                                            "tokenizer_class",
                                            "torch_dtype",
                                            "transformers_version",
                                            "use_cache"};
constexpr std::string_view kRead[] = {"architectures",       "head_dim",
                                      "hidden_size",         "intermediate_size",
                                      "layer_types",         "max_position_embeddings",
                                      "mlp_only_layers",     "moe_intermediate_size",
                                      "norm_topk_prob",      "num_attention_heads",
                                      "num_experts",         "num_experts_per_tok",
                                      "num_hidden_layers",   "num_key_value_heads",
                                      "rms_norm_eps",        "rope_parameters",
                                      "rope_theta",          "shared_expert_intermediate_size",
                                      "tie_word_embeddings", "vocab_size"};

// What a key must hold where it is given; `needed` where transformers' default is another value.
struct Fixed {
  const char* key;
  Json value;
  bool needed = false;
};
const std::vector<Fixed>& fixed() {
  static const std::vector<Fixed> list{{"model_type", "qwen3_next", true}, {"hidden_act", "silu"},
                                       {"attention_bias", false},          {"attention_dropout", 0},
                                       {"decoder_sparse_step", 1},         {"partial_rotary_factor", 1},
                                       {"use_sliding_window", false},      {"is_encoder_decoder", false},
                                       {"add_cross_attention", false},     {"pruned_heads", Json::object()}};
  return list;
}

void check_fixed(const JsonFields& json, const Fixed& fixed) {
  const bool given = json.has(fixed.key);
  if (!given && fixed.needed) json.refuse(fixed.key, quote(fixed.value), "none");
  if (given && json.at(fixed.key) != fixed.value)
    json.refuse(fixed.key, quote(fixed.value), quote(json.at(fixed.key)));
}

bool among(std::string_view key, std::span<const std::string_view> keys) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

// Whatever else a file sets may change the arithmetic: rope_scaling, sliding_window, quantization_config,
// auto_map, ...
void refuse_unknown(const JsonFields& json, std::span<const std::string_view> known) {
  for (const auto& [key, value] : json.value().items()) {
    const bool is_fixed = std::ranges::find(fixed(), std::string_view(key), &Fixed::key) != fixed().end();
    if (!value.is_null() && !is_fixed && !among(key, known) && !among(key, kOfNoEffect))
      throw UserError(fmt::format("{}: field \"{}\"", json.where(), excerpt(key)), "a key that moe knows",
                      quote(value),
                      "it may change what the model computes; if you are sure that it does not, remove it");
  }
}

void check_kind(const JsonFields& json) {
  const Json& names = json.at("architectures");
  if (names != Json::array({kArchitecture}))
    json.refuse("architectures", fmt::format("[\"{}\"]", kArchitecture), quote(names));
  for (const Fixed& one : fixed()) check_fixed(json, one);
  refuse_unknown(json, kRead);
}

void check_layers(const JsonFields& json, int64_t layers) {
  const Json& types = json.list("layer_types");
  if (static_cast<int64_t>(types.size()) != layers)
    json.refuse("layer_types", fmt::format("a list of {} (num_hidden_layers)", layers),
                fmt::format("{}", types.size()));
  for (const Json& type : types)
    if (type != "full_attention") json.refuse("layer_types", "full_attention only", quote(type));
}

// The layers without experts come first with us. Returns how many there are.
int64_t read_dense_layers(const JsonFields& json, int64_t layers) {
  if (!json.has("mlp_only_layers")) return 0;
  const Json& list = json.list("mlp_only_layers");
  const auto count = static_cast<int64_t>(list.size());
  for (int64_t i = 0; i < count; ++i)
    if (i >= layers || list[static_cast<size_t>(i)] != i)
      json.refuse("mlp_only_layers", "the first layers: [], [0], [0, 1], ...", quote(list));
  return count;
}

// transformers 5 keeps the rotary settings in rope_parameters; before, they were keys of their own.
double read_rope(const JsonFields& json) {
  constexpr std::string_view kInside[] = {"rope_type", "rope_theta", "partial_rotary_factor"};
  const Fixed whole_head{"partial_rotary_factor", 1, true};
  if (!json.has("rope_parameters")) {
    check_fixed(json, whole_head);
    return json.number("rope_theta");
  }
  const JsonFields rope = json.inside("rope_parameters");
  refuse_unknown(rope, kInside);
  check_fixed(rope, {"rope_type", "default"});
  check_fixed(rope.has("partial_rotary_factor") ? rope : json, whole_head);
  const double theta = rope.number("rope_theta");
  if (json.has("rope_theta") && json.number("rope_theta") != theta)
    json.refuse("rope_theta", fmt::format("{}, as in rope_parameters", theta), quote(json.at("rope_theta")));
  return theta;
}

}  // namespace

std::string hf_name_of(DType type) {
  if (type == DType::f32) return "float32";
  CHECK(type == DType::bf16 || type == DType::f16, "a type for weights");
  return type == DType::bf16 ? "bfloat16" : "float16";
}

void check_exportable(const model::ModelConfig& config) {
  const auto refuse = [](const char* setting, const char* expected, const std::string& found) {
    throw UserError(
        setting, expected, found,
        "Qwen3NextForCausalLM, the format of `moe export`, has nothing else: train without it, or use "
        "the checkpoint's own files");
  };
  if (config.shared_expert_dim == kNoSharedExpert)
    refuse("model.shared_expert_dim", "0, or at least 2", std::to_string(config.shared_expert_dim));
  if (config.shared_expert_dim > 0 && !config.shared_expert_gate)
    refuse("model.shared_expert_gate", "true", "false");
  if (!config.attention_gate) refuse("model.attention_gate", "true", "false");
  if (config.router_score != RouterScore::softmax)
    refuse("model.router_score", "softmax", std::string(name_of(config.router_score)));
  if (config.router_scale != 1) refuse("model.router_scale", "1", fmt::format("{}", config.router_scale));
  if (config.router_bias_rate > 0)
    refuse("model.router_bias_rate", "0, a choice without biases",
           fmt::format("{}", config.router_bias_rate));
  for (int64_t i = 0; i < config.n_layers; ++i)
    if (const int64_t window = config.window_of(i); window > 0 && window < config.max_seq_len)
      refuse("model.attention_window", "the whole row in each layer", std::to_string(window));
}

std::string hf_config_json(const model::ModelConfig& config, DType type, int64_t end_of_text) {
  check_exportable(config);
  const std::vector<std::string> layers(static_cast<size_t>(config.n_layers), "full_attention");
  std::vector<int64_t> dense_layers(static_cast<size_t>(config.first_dense_layers));
  std::iota(dense_layers.begin(), dense_layers.end(), 0);
  const OrderedJson json{
      {"architectures", OrderedJson::array({kArchitecture})},
      {"model_type", "qwen3_next"},
      {"dtype", hf_name_of(type)},
      {"hidden_size", config.d_model},
      {"num_hidden_layers", config.n_layers},
      {"num_attention_heads", config.n_heads},
      {"num_key_value_heads", config.n_kv_heads},
      {"head_dim", config.heads().dim},
      {"layer_types", layers},
      {"rope_parameters",
       {{"rope_type", "default"}, {"rope_theta", config.rope_theta}, {"partial_rotary_factor", 1.0}}},
      {"partial_rotary_factor", 1.0},
      {"max_position_embeddings", config.max_seq_len},
      {"num_experts", config.num_experts},
      {"num_experts_per_tok", config.top_k},
      {"norm_topk_prob", config.renormalize_top_k},
      {"moe_intermediate_size", config.expert_intermediate_dim},
      {"intermediate_size", dense_layers.empty() ? config.expert_intermediate_dim : config.dense_width()},
      {"shared_expert_intermediate_size",
       config.shared_expert_dim > 0 ? config.shared_expert_dim : kNoSharedExpert},
      {"decoder_sparse_step", 1},
      {"mlp_only_layers", dense_layers},
      {"router_aux_loss_coef", config.aux_loss_weight},
      {"hidden_act", "silu"},
      {"rms_norm_eps", config.norm_eps},
      {"attention_bias", false},
      {"attention_dropout", 0.0},
      {"initializer_range", config.init_std},
      {"vocab_size", config.vocab_size},
      {"tie_word_embeddings", config.tie_embeddings},
      {"use_cache", true},
      {"bos_token_id", end_of_text},
      {"eos_token_id", end_of_text}};
  return json.dump(2) + "\n";
}

std::string hf_generation_json(const model::ModelConfig& config, int64_t vocabulary, int64_t end_of_text) {
  OrderedJson json{
      {"bos_token_id", end_of_text}, {"eos_token_id", end_of_text}, {"pad_token_id", end_of_text}};
  for (int64_t id = vocabulary; id < config.vocab_size; ++id) json["suppress_tokens"].push_back(id);
  return json.dump(2) + "\n";
}

model::ModelConfig read_hf_config(const std::string& where, std::string_view text) {
  const Json parsed = parse_json(where, text, kOnly);
  const JsonFields json(where, parsed, kOnly);
  const auto whole = [&](const char* key) { return json.whole(key, 1, int64_t{1} << 31); };
  check_kind(json);
  model::ModelConfig config;
  config.d_model = whole("hidden_size");
  config.n_layers = whole("num_hidden_layers");
  config.n_heads = whole("num_attention_heads");
  config.n_kv_heads = whole("num_key_value_heads");
  config.head_dim = whole("head_dim");
  if (config.head_dim * config.n_heads == config.d_model) config.head_dim = 0;  // as d_model says
  config.tie_embeddings = json.flag("tie_word_embeddings");
  config.num_experts = whole("num_experts");
  config.top_k = whole("num_experts_per_tok");
  config.expert_intermediate_dim = whole("moe_intermediate_size");
  const int64_t shared = whole("shared_expert_intermediate_size");
  config.shared_expert_dim = shared == kNoSharedExpert ? 0 : shared;
  config.first_dense_layers = read_dense_layers(json, config.n_layers);
  if (config.first_dense_layers > 0) config.dense_intermediate_dim = whole("intermediate_size");
  config.vocab_size = whole("vocab_size");
  config.max_seq_len = whole("max_position_embeddings");
  config.norm_eps = json.number("rms_norm_eps");
  config.rope_theta = read_rope(json);
  config.renormalize_top_k = json.flag("norm_topk_prob");
  config.capacity_factor = 0;
  check_layers(json, config.n_layers);
  try {
    config.validate();
  } catch (const UserError& error) {
    throw UserError(where + " (" + error.where + ")", error.expected, error.found, kOnly);
  }
  return config;
}

}  // namespace moe::interop
