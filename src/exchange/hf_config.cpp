// SPDX-License-Identifier: MIT
#include "exchange/hf_config.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/error.h"

namespace moe {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kArchitecture = "Qwen3NextForCausalLM";
constexpr const char* kOnly =
    "moe imports what `moe export` writes: Qwen3-Next with full attention in every layer";

// The keys of one config.json, each error with the key's name.
class Reader {
 public:
  Reader(std::string where, const Json& json) : where_(std::move(where)), json_(json) {}

  [[noreturn]] void refuse(const std::string& key, const std::string& expected,
                           const std::string& found) const {
    throw UserError(where_ + ": " + key, expected, found, kOnly);
  }
  const Json& at(const std::string& key) const {
    const auto found = json_.find(key);
    if (found == json_.end() || found->is_null()) refuse(key, "a value", "none");
    return *found;
  }
  int64_t whole(const std::string& key) const {
    const Json& value = at(key);
    if (!value.is_number_integer() || value.get<int64_t>() < 1 || value.get<int64_t>() > (int64_t{1} << 31))
      refuse(key, "a whole number above 0", print(value));
    return value.get<int64_t>();
  }
  double number(const std::string& key) const {
    const Json& value = at(key);
    if (!value.is_number()) refuse(key, "a number", print(value));
    return value.get<double>();
  }
  // The key, where it is given, must hold this.
  void expect(const std::string& key, const Json& wanted) const {
    const auto found = json_.find(key);
    if (found != json_.end() && *found != wanted) refuse(key, print(wanted), print(*found));
  }
  // The same for a key that must be given, because transformers' default is another value.
  void require(const std::string& key, const Json& wanted) const {
    if (!json_.contains(key)) refuse(key, print(wanted), "none");
    expect(key, wanted);
  }
  Reader inside(const std::string& key) const {
    const Json& value = at(key);
    if (!value.is_object()) refuse(key, "an object", print(value));
    return {where_ + ": " + key, value};
  }
  bool has(const std::string& key) const { return json_.contains(key) && !json_.at(key).is_null(); }

  static std::string print(const Json& value) {
    return value.dump(-1, ' ', true, Json::error_handler_t::replace);
  }

 private:
  std::string where_;
  const Json& json_;
};

void check_kind(const Reader& json) {
  const Json& names = json.at("architectures");
  if (names != Json::array({kArchitecture}))
    json.refuse("architectures", fmt::format("[\"{}\"]", kArchitecture), Reader::print(names));
  json.require("model_type", "qwen3_next");
  json.expect("hidden_act", "silu");
  json.expect("attention_bias", false);
  json.expect("decoder_sparse_step", 1);
  json.expect("mlp_only_layers", Json::array());
  json.require("tie_word_embeddings", true);
  json.require("shared_expert_intermediate_size", 1);
}

void check_layers(const Reader& json, int64_t layers) {
  const Json& types = json.at("layer_types");
  if (!types.is_array() || static_cast<int64_t>(types.size()) != layers)
    json.refuse("layer_types", fmt::format("a list of {} (num_hidden_layers)", layers),
                types.is_array() ? fmt::format("{}", types.size()) : Reader::print(types));
  for (const Json& type : types)
    if (type != "full_attention") json.refuse("layer_types", "full_attention only", Reader::print(type));
}

// transformers 5 keeps the rotary settings in rope_parameters; before, they were keys of their own.
double read_rope(const Reader& json) {
  const bool nested = json.has("rope_parameters");
  const Reader rope = nested ? json.inside("rope_parameters") : json;
  if (nested) rope.expect("rope_type", "default");
  (nested && rope.has("partial_rotary_factor") ? rope : json).require("partial_rotary_factor", 1.0);
  return rope.number("rope_theta");
}

}  // namespace

std::string hf_name_of(DType type) {
  if (type == DType::f32) return "float32";
  CHECK(type == DType::bf16 || type == DType::f16, "a type for weights");
  return type == DType::bf16 ? "bfloat16" : "float16";
}

std::string hf_config_json(const ModelConfig& config, DType type, int64_t end_of_text) {
  const std::vector<std::string> layers(static_cast<size_t>(config.n_layers), "full_attention");
  const Json json{
      {"architectures", Json::array({kArchitecture})},
      {"model_type", "qwen3_next"},
      {"dtype", hf_name_of(type)},
      {"hidden_size", config.d_model},
      {"num_hidden_layers", config.n_layers},
      {"num_attention_heads", config.n_heads},
      {"num_key_value_heads", config.n_kv_heads},
      {"head_dim", config.head_dim()},
      {"layer_types", layers},
      {"rope_parameters",
       {{"rope_type", "default"}, {"rope_theta", config.rope_theta}, {"partial_rotary_factor", 1.0}}},
      {"partial_rotary_factor", 1.0},
      {"max_position_embeddings", config.max_seq_len},
      {"num_experts", config.num_experts},
      {"num_experts_per_tok", config.top_k},
      {"norm_topk_prob", config.renormalize_top_k},
      {"moe_intermediate_size", config.expert_intermediate_dim},
      {"intermediate_size", config.expert_intermediate_dim},
      {"shared_expert_intermediate_size", 1},
      {"decoder_sparse_step", 1},
      {"mlp_only_layers", Json::array()},
      {"router_aux_loss_coef", config.aux_loss_weight},
      {"hidden_act", "silu"},
      {"rms_norm_eps", config.norm_eps},
      {"attention_bias", false},
      {"attention_dropout", 0.0},
      {"initializer_range", config.init_std},
      {"vocab_size", config.vocab_size},
      {"tie_word_embeddings", true},
      {"use_cache", true},
      {"bos_token_id", end_of_text},
      {"eos_token_id", end_of_text}};
  return json.dump(2) + "\n";
}

std::string hf_generation_json(const ModelConfig& config, int64_t vocabulary, int64_t end_of_text) {
  Json json{{"bos_token_id", end_of_text}, {"eos_token_id", end_of_text}, {"pad_token_id", end_of_text}};
  for (int64_t id = vocabulary; id < config.vocab_size; ++id) json["suppress_tokens"].push_back(id);
  return json.dump(2) + "\n";
}

ModelConfig read_hf_config(const std::string& where, std::string_view text) {
  Json parsed;
  try {
    parsed = Json::parse(text);
  } catch (const Json::exception& error) {
    throw UserError(where, "a JSON object", error.what());
  }
  if (!parsed.is_object()) throw UserError(where, "a JSON object", parsed.type_name());
  const Reader json(where, parsed);
  check_kind(json);
  ModelConfig config;
  config.d_model = json.whole("hidden_size");
  config.n_layers = json.whole("num_hidden_layers");
  config.n_heads = json.whole("num_attention_heads");
  config.n_kv_heads = json.whole("num_key_value_heads");
  config.num_experts = json.whole("num_experts");
  config.top_k = json.whole("num_experts_per_tok");
  config.expert_intermediate_dim = json.whole("moe_intermediate_size");
  config.vocab_size = json.whole("vocab_size");
  config.max_seq_len = json.whole("max_position_embeddings");
  config.norm_eps = json.number("rms_norm_eps");
  config.rope_theta = read_rope(json);
  const Json& renormalise = json.at("norm_topk_prob");
  if (!renormalise.is_boolean()) json.refuse("norm_topk_prob", "true or false", Reader::print(renormalise));
  config.renormalize_top_k = renormalise.get<bool>();
  config.capacity_factor = 0;
  check_layers(json, config.n_layers);
  try {
    config.validate();
  } catch (const UserError& error) {
    throw UserError(where + " (" + error.where + ")", error.expected, error.found, kOnly);
  }
  if (json.whole("head_dim") != config.head_dim())
    json.refuse("head_dim", fmt::format("{} (hidden_size / num_attention_heads)", config.head_dim()),
                Reader::print(json.at("head_dim")));
  return config;
}

}  // namespace moe
