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
#include "interop/hf_rope.h"
#include "interop/tensor_map.h"

namespace moe::interop {
namespace {

constexpr const char* kOnly = "docs/interop.md lists the models that moe reads, and what it refuses of them";
constexpr const char* kUnsure =
    "it may change what the model computes; if you are sure that it does not, remove it";

// Keys that change nothing of what a model computes, or only in layers that it does not have.
constexpr std::string_view kOfNoEffect[] = {"_attn_implementation",
                                            "_name_or_path",
                                            "attn_implementation",
                                            "bos_token_id",
                                            "chunk_size_feed_forward",
                                            "dtype",
                                            "eos_token_id",
                                            "id2label",
                                            "initializer_range",
                                            "label2id",
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
// Keys that are read of every family.
constexpr std::string_view kRead[] = {"architectures",
                                      "head_dim",
                                      "hidden_size",
                                      "intermediate_size",
                                      "layer_types",
                                      "max_position_embeddings",
                                      "model_type",
                                      "num_attention_heads",
                                      "num_hidden_layers",
                                      "num_key_value_heads",
                                      "partial_rotary_factor",
                                      "rms_norm_eps",
                                      "rope_parameters",
                                      "rope_scaling",
                                      "rope_theta",
                                      "tie_word_embeddings",
                                      "vocab_size"};

// "why; what else to do", for a key.
[[noreturn]] void refuse_key(const JsonFields& json, std::string_view key, const std::string& expected,
                             const std::string& found, const std::string& otherwise) {
  const std::string why = why_not_key(key);
  throw UserError(fmt::format("{}: field \"{}\"", json.where(), excerpt(std::string(key))), expected, found,
                  why.empty() ? otherwise : why);
}

bool among(std::string_view key, std::span<const std::string_view> keys) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

// Keys that are read of families with Family::multipliers.
constexpr std::string_view kMultipliers[] = {"attention_multiplier", "embedding_multiplier", "logits_scaling",
                                             "residual_multiplier"};

bool is_read(const Family& family, const std::string& key) {
  const std::string* const named[] = {&family.expert_width, &family.dense_layers, &family.shared.width,
                                      &family.qkv_bias,     &family.qk_norm_key,  &family.router_scale,
                                      &family.rotary_dim};
  return among(key, kRead) || std::ranges::count(family.experts, key) > 0 ||
         std::ranges::any_of(named, [&](const std::string* name) { return *name == key; }) ||
         (!family.no_experts && key == "num_experts_per_tok") ||
         (family.renormalise_key && key == "norm_topk_prob") || (family.window && key == "sliding_window") ||
         (family.multipliers && among(key, kMultipliers));
}

void check_fixed(const JsonFields& json, const Family& family) {
  for (const auto& [key, value] : family.fixed.items())
    if (json.has(key.c_str()) && json.at(key.c_str()) != value)
      refuse_key(json, key, quote(value), quote(json.at(key.c_str())), kOnly);
}

// Whatever else a file sets may change the arithmetic: quantization_config, auto_map, clip_qkv, ...
void refuse_unknown(const JsonFields& json, const Family& family) {
  for (const auto& [key, value] : json.value().items())
    if (!value.is_null() && !family.fixed.contains(key) && !is_read(family, key) &&
        !among(key, kOfNoEffect) && std::ranges::count(family.idle, key) == 0)
      refuse_key(json, key, "a key that moe knows", quote(value), kUnsure);
}

const Family& family_of(const JsonFields& json) {
  const std::string name = json.text("model_type");
  if (const Family* family = find_family(name)) return *family;
  const std::string why = why_not_family(name);
  throw UserError(fmt::format("{}: field \"model_type\"", json.where()), "one of " + family_names(),
                  quote(json.at("model_type")), why.empty() ? kOnly : why);
}

void check_kind(const JsonFields& json, const Family& family) {
  const Json& names = json.at("architectures");
  if (names != Json::array({family.architecture}))
    json.refuse("architectures", fmt::format("[\"{}\"]", family.architecture), quote(names));
  check_fixed(json, family);
  refuse_unknown(json, family);
}

bool has_zero_layer(const Json& types) {
  return types.is_array() && types.size() > 1 && types.back() == "linear_attention";
}

// Returns how many of them our model has.
int64_t read_layers(const JsonFields& json, const Family& family) {
  const int64_t layers = json.whole("num_hidden_layers", 1, int64_t{1} << 31);
  if (!family.layer_types && !json.has("layer_types")) return layers;
  const Json& types = json.list("layer_types");
  if (static_cast<int64_t>(types.size()) != layers)
    json.refuse("layer_types", fmt::format("a list of {} (num_hidden_layers)", layers),
                fmt::format("{}", types.size()));
  const int64_t ours = family.zero_blocks && has_zero_layer(types) ? layers - 1 : layers;
  for (int64_t i = 0; i < ours; ++i)
    if (const Json& type = types[static_cast<size_t>(i)]; type != "full_attention")
      refuse_key(json, "layer_types", "full_attention only", quote(type), kOnly);
  return ours;
}

// The layers without experts come first with us. Returns how many there are.
int64_t read_dense_layers(const JsonFields& json, const Family& family, int64_t layers) {
  if (family.dense_layers.empty()) return 0;
  if (family.dense_layers != "mlp_only_layers") return json.whole(family.dense_layers.c_str(), 0, layers);
  if (!json.has("mlp_only_layers")) return 0;
  const Json& list = json.list("mlp_only_layers");
  const auto count = static_cast<int64_t>(list.size());
  for (int64_t i = 0; i < count; ++i)
    if (i >= layers || list[static_cast<size_t>(i)] != i)
      refuse_key(json, "mlp_only_layers", "the first layers: [], [0], [0, 1], ...", quote(list), kOnly);
  return count;
}

void read_shared_expert(const JsonFields& json, const Family& family, model::ModelConfig& config) {
  using None = SharedExpertOfFamily::None;
  const SharedExpertOfFamily& shared = family.shared;
  if (shared.name.empty()) return;
  const int64_t width =
      json.whole(shared.width.c_str(), shared.none == None::no_width ? 0 : 1, int64_t{1} << 31);
  if (width == 0 || (shared.none == None::zeros && width == kNoSharedExpert)) return;
  config.shared_expert_dim = shared.counts ? width * config.expert_intermediate_dim : width;
  config.shared_expert_gate = shared.gate;
}

void read_router(const JsonFields& json, const Family& family, model::ModelConfig& config) {
  config.renormalize_top_k = !family.renormalise_key || json.flag("norm_topk_prob");
  config.router_score = family.score;
  config.router_bias = !family.router_bias.empty();
  if (!family.router_scale.empty()) config.router_scale = json.number(family.router_scale.c_str());
}

void read_experts(const JsonFields& json, const Family& family, model::ModelConfig& config) {
  const auto whole = [&](const std::string& key) { return json.whole(key.c_str(), 1, int64_t{1} << 31); };
  if (family.no_experts) {
    config.first_dense_layers = config.n_layers;
    config.dense_intermediate_dim = whole(family.expert_width);
    config.num_experts = config.top_k = config.expert_intermediate_dim = 1;  // of no layer
    return;
  }
  const auto given =
      std::ranges::find_if(family.experts, [&](const auto& key) { return json.has(key.c_str()); });
  config.num_experts = whole(given == family.experts.end() ? family.experts.front() : *given);
  config.top_k = whole("num_experts_per_tok");
  config.expert_intermediate_dim = whole(family.expert_width);
  read_router(json, family, config);
  read_shared_expert(json, family, config);
  config.first_dense_layers = read_dense_layers(json, family, config.n_layers);
  if (config.first_dense_layers > 0) config.dense_intermediate_dim = whole("intermediate_size");
}

void read_attention(const JsonFields& json, const Family& family, model::ModelConfig& config) {
  const auto whole = [&](const char* key) { return json.whole(key, 1, int64_t{1} << 31); };
  config.n_heads = whole("num_attention_heads");
  config.n_kv_heads = json.has("num_key_value_heads") ? whole("num_key_value_heads") : config.n_heads;
  if (json.has("head_dim")) config.head_dim = whole("head_dim");
  if (config.head_dim * config.n_heads == config.d_model) config.head_dim = 0;  // as d_model says
  if (!family.head_dim_key && config.head_dim > 0)
    json.refuse("head_dim", "hidden_size / num_attention_heads", quote(json.at("head_dim")));
  config.attention_gate = family.gate;
  const bool normed = family.qk_norm_key.empty() || json.flag(family.qk_norm_key.c_str());
  config.qk_norm = normed ? family.qk_norm : QkNorm::none;
  config.attention_bias = !family.qkv_bias.empty() && json.flag(family.qkv_bias.c_str());
  read_rope(json, family, config);
  if (!family.partial && config.partial_rotary_factor != 1)
    refuse_key(json, "partial_rotary_factor", "1", fmt::format("{}", config.partial_rotary_factor), kOnly);
  if (family.window && json.has("sliding_window"))
    config.attention_window = {std::to_string(whole("sliding_window"))};
}

void read_multipliers(const JsonFields& json, model::ModelConfig& config) {
  config.attention_multiplier = json.number("attention_multiplier");
  config.embedding_multiplier = json.number("embedding_multiplier");
  config.logits_scaling = json.number("logits_scaling");
  config.residual_multiplier = json.number("residual_multiplier");
  // 0 has a meaning of its own with us.
  if (config.attention_multiplier == 0)
    json.refuse("attention_multiplier", "more than 0", quote(json.at("attention_multiplier")));
}

}  // namespace

std::string hf_name_of(DType type) {
  if (type == DType::f32) return "float32";
  CHECK(type == DType::bf16 || type == DType::f16, "a type for weights");
  return type == DType::bf16 ? "bfloat16" : "float16";
}

HfModel read_hf_model(const std::string& where, std::string_view text) {
  const Json given = parse_json(where, text, kOnly);
  const Family& family = family_of(JsonFields(where, given, kOnly));
  Json whole_text = family.defaults;
  whole_text.update(given);
  const JsonFields json(where, whole_text, kOnly);
  const auto whole = [&](const char* key) { return json.whole(key, 1, int64_t{1} << 31); };
  check_kind(json, family);
  model::ModelConfig config;
  config.d_model = whole("hidden_size");
  config.n_layers = read_layers(json, family);
  config.tie_embeddings = json.flag("tie_word_embeddings");
  config.vocab_size = whole("vocab_size");
  config.max_seq_len = whole("max_position_embeddings");
  config.norm_eps = json.number("rms_norm_eps");
  config.capacity_factor = 0;
  read_attention(json, family, config);
  read_experts(json, family, config);
  if (family.multipliers) read_multipliers(json, config);
  try {
    config.validate();
  } catch (const UserError& error) {
    throw UserError(where + " (" + error.where + ")", error.expected, error.found, kOnly);
  }
  return {&family, config};
}

bool has_zero_blocks(const std::string& where, std::string_view text) {
  const Json json = parse_json(where, text, kOnly);
  return json.is_object() && json.contains("layer_types") && has_zero_layer(json.at("layer_types"));
}

model::ModelConfig read_hf_config(const std::string& where, std::string_view text) {
  return read_hf_model(where, text).config;
}

}  // namespace moe::interop
