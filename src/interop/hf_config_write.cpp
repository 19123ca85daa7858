// SPDX-License-Identifier: MIT
// The half of hf_config.h that writes.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "interop/hf_config.h"
#include "interop/hf_rope.h"
#include "interop/tensor_map.h"

namespace moe::interop {
namespace {

// A setting that a family has no word for.
struct Misfit {
  std::string setting, expected, found;
};

// 0: the whole row.
int64_t window_in(const model::ModelConfig& config, int64_t layer) {
  const int64_t window = config.window_of(layer);
  return window < config.max_seq_len ? window : 0;
}

std::optional<Misfit> attention_misfit(const Family& family, const model::ModelConfig& config) {
  if (config.attention_gate != family.gate)
    return Misfit{"model.attention_gate", family.gate ? "true" : "false", family.gate ? "false" : "true"};
  const bool unnormed = config.qk_norm == QkNorm::none && !family.qk_norm_key.empty();
  if (config.qk_norm != family.qk_norm && !unnormed)
    return Misfit{"model.qk_norm", std::string(name_of(family.qk_norm)),
                  std::string(name_of(config.qk_norm))};
  const Heads heads = config.heads();
  if (!family.head_dim_key && heads.query * heads.dim != config.d_model)
    return Misfit{"model.head_dim", fmt::format("d_model / n_heads = {}", config.d_model / config.n_heads),
                  std::to_string(heads.dim)};
  if (config.attention_bias && family.qkv_bias.empty())
    return Misfit{"model.attention_bias", "false", "true"};
  if (!family.partial && config.partial_rotary_factor != 1)
    return Misfit{"model.partial_rotary_factor", "1", fmt::format("{}", config.partial_rotary_factor)};
  const int64_t wanted = family.window ? window_in(config, 0) : 0;
  for (int64_t i = 0; i < config.n_layers; ++i)
    if (const int64_t window = window_in(config, i); window != wanted)
      return Misfit{"model.attention_window",
                    family.window ? "one window in all layers" : "the whole row in each layer",
                    std::to_string(window)};
  return std::nullopt;
}

std::optional<Misfit> router_misfit(const Family& family, const model::ModelConfig& config) {
  if (!family.renormalise_key && !config.renormalize_top_k)
    return Misfit{"model.renormalize_top_k", "true", "false"};
  if (config.router_score != family.score)
    return Misfit{"model.router_score", std::string(name_of(family.score)),
                  std::string(name_of(config.router_score))};
  if (config.router_scale != 1 && family.router_scale.empty())
    return Misfit{"model.router_scale", "1", fmt::format("{}", config.router_scale)};
  if (config.router_bias_rate > 0 && family.router_bias.empty())
    return Misfit{"model.router_bias_rate", "0, a choice without biases",
                  fmt::format("{}", config.router_bias_rate)};
  if (config.has_router_bias() == family.router_bias.empty())
    return Misfit{"model.router_bias", family.router_bias.empty() ? "false" : "true",
                  config.router_bias ? "true" : "false"};
  return std::nullopt;
}

std::optional<Misfit> shared_misfit(const Family& family, const model::ModelConfig& config) {
  using None = SharedExpertOfFamily::None;
  const SharedExpertOfFamily& shared = family.shared;
  const int64_t width = config.shared_expert_dim, F = config.expert_intermediate_dim;
  const auto misfit = [&](const std::string& expected) {
    return Misfit{"model.shared_expert_dim", expected, std::to_string(width)};
  };
  if (shared.name.empty() && width > 0) return misfit("0");
  if (shared.none == None::zeros && width == kNoSharedExpert) return misfit("0, or at least 2");
  if (shared.counts && (width == 0 || width % F != 0))
    return misfit(fmt::format("a multiple of expert_intermediate_dim ({})", F));
  if (width > 0 && config.shared_expert_gate != shared.gate)
    return Misfit{"model.shared_expert_gate", shared.gate ? "true" : "false", shared.gate ? "false" : "true"};
  return std::nullopt;
}

// What Granite alone has a word for.
std::optional<Misfit> multiplier_misfit(const Family& family, const model::ModelConfig& config) {
  if (family.multipliers) return std::nullopt;
  const auto check = [](const char* setting, double found, int expected) {
    return found == expected
               ? std::nullopt
               : std::optional(Misfit{setting, std::to_string(expected), fmt::format("{}", found)});
  };
  if (auto found = check("model.embedding_multiplier", config.embedding_multiplier, 1)) return found;
  if (auto found = check("model.residual_multiplier", config.residual_multiplier, 1)) return found;
  if (auto found = check("model.attention_multiplier", config.attention_multiplier, 0)) return found;
  return check("model.logits_scaling", config.logits_scaling, 1);
}

std::optional<Misfit> layer_misfit(const Family& family, const model::ModelConfig& config) {
  const std::string dense = std::to_string(config.first_dense_layers);
  if (family.no_experts && config.moe_layers() > 0)
    return Misfit{"model.first_dense_layers", fmt::format("{}, all layers", config.n_layers), dense};
  if (family.no_experts) return std::nullopt;
  if (config.moe_layers() == 0)
    return Misfit{"model.first_dense_layers", fmt::format("less than {}", config.n_layers), dense};
  if (family.dense_layers.empty() && config.first_dense_layers > 0)
    return Misfit{"model.first_dense_layers", "0", dense};
  const auto shared = shared_misfit(family, config);
  return shared ? shared : router_misfit(family, config);
}

std::optional<Misfit> misfit(const Family& family, const model::ModelConfig& config) {
  for (const auto& part : {attention_misfit, multiplier_misfit, layer_misfit})
    if (auto found = part(family, config)) return found;
  return std::nullopt;
}

void add_dense_layers(OrderedJson& json, const Family& family, const model::ModelConfig& config) {
  if (family.dense_layers.empty()) return;
  const int64_t count = config.first_dense_layers;
  json["intermediate_size"] = count == 0 ? config.expert_intermediate_dim : config.dense_width();
  if (family.dense_layers != "mlp_only_layers") {
    json[family.dense_layers] = count;
    return;
  }
  std::vector<int64_t> layers(static_cast<size_t>(count));
  std::iota(layers.begin(), layers.end(), 0);
  json["decoder_sparse_step"] = 1;
  json["mlp_only_layers"] = layers;
}

void add_shared_expert(OrderedJson& json, const Family& family, const model::ModelConfig& config) {
  const SharedExpertOfFamily& shared = family.shared;
  if (shared.name.empty()) return;
  int64_t width = config.shared_expert_dim;
  if (shared.counts) width /= config.expert_intermediate_dim;
  if (shared.none == SharedExpertOfFamily::None::zeros && width == 0) width = kNoSharedExpert;
  json[shared.width] = width;
}

void add_experts(OrderedJson& json, const Family& family, const model::ModelConfig& config) {
  json[family.experts.front()] = config.num_experts;
  json["num_experts_per_tok"] = config.top_k;
  if (family.renormalise_key) json["norm_topk_prob"] = config.renormalize_top_k;
  if (!family.router_scale.empty()) json[family.router_scale] = config.router_scale;
  json[family.expert_width] = config.expert_intermediate_dim;
  add_shared_expert(json, family, config);
  add_dense_layers(json, family, config);
  // transformers knows some of these without being told; llama.cpp and vLLM read them in the file.
  for (const char* key :
       {"n_group", "topk_group", "scoring_func", "use_routing_bias", "use_qk_norm", "qk_norm_type"})
    if (family.fixed.contains(key)) json[key] = family.fixed[key];
  json["router_aux_loss_coef"] = config.aux_loss_weight;
}

void add_layer_types(OrderedJson& json, int64_t layers, bool zero_blocks) {
  std::vector<std::string> types(static_cast<size_t>(layers), "full_attention");
  if (zero_blocks) types.emplace_back("linear_attention");
  json["layer_types"] = types;
  json["full_attention_interval"] = 1;
  if (!zero_blocks) return;
  json["linear_conv_kernel_dim"] = kZeroKernel;
  json["linear_key_head_dim"] = kZeroHeadDim;
  json["linear_value_head_dim"] = kZeroHeadDim;
  json["linear_num_key_heads"] = kZeroHeads;
  json["linear_num_value_heads"] = kZeroHeads;
}

}  // namespace

bool fits(const model::ModelConfig& config, const Family& family) {
  return !misfit(family, config);
}

const Family* fitting_family(const model::ModelConfig& config) {
  for (const Family& family : families())
    if (fits(config, family)) return &family;
  return nullptr;
}

void check_exportable(const model::ModelConfig& config, const Family& family) {
  const auto found = misfit(family, config);
  if (!found) return;
  std::vector<std::string_view> others;
  for (const Family& other : families())
    if (fits(config, other)) others.emplace_back(other.name);
  const std::string hint =
      others.empty() ? "train without it, or use the checkpoint's own files"
                     : fmt::format("this model fits --family {}", fmt::join(others, " or --family "));
  throw UserError(found->setting, found->expected, found->found,
                  fmt::format("{} has nothing else: {}", family.architecture, hint));
}

std::string hf_config_json(const model::ModelConfig& config, DType type, int64_t end_of_text,
                           const Family& family, bool zero_blocks) {
  check_exportable(config, family);
  OrderedJson json{{"architectures", OrderedJson::array({family.architecture})},
                   {"model_type", family.name},
                   {"dtype", hf_name_of(type)},
                   {"hidden_size", config.d_model},
                   {"num_hidden_layers", config.n_layers + (zero_blocks ? 1 : 0)},
                   {"num_attention_heads", config.n_heads},
                   {"num_key_value_heads", config.n_kv_heads}};
  if (family.head_dim_key) json["head_dim"] = config.heads().dim;
  if (family.layer_types) add_layer_types(json, config.n_layers, zero_blocks);
  write_rope(json, family, config);
  json["max_position_embeddings"] = config.max_seq_len;
  if (family.window) {
    const int64_t window = config.window_of(0);
    json["sliding_window"] = window > 0 ? OrderedJson(window) : OrderedJson();
  }
  if (family.no_experts)
    json["intermediate_size"] = config.dense_width();
  else
    add_experts(json, family, config);
  if (family.multipliers) {
    const double width = static_cast<double>(config.heads().dim), given = config.attention_multiplier;
    json["embedding_multiplier"] = config.embedding_multiplier;
    json["residual_multiplier"] = config.residual_multiplier;
    json["attention_multiplier"] = given > 0 ? given : 1 / std::sqrt(width);
    json["logits_scaling"] = config.logits_scaling;
  }
  json["hidden_act"] = "silu";
  json["rms_norm_eps"] = config.norm_eps;
  if (family.fixed.contains("attention_bias")) json["attention_bias"] = false;
  if (!family.qkv_bias.empty()) json[family.qkv_bias] = config.attention_bias;
  if (!family.qk_norm_key.empty()) json[family.qk_norm_key] = config.qk_norm != QkNorm::none;
  json["attention_dropout"] = 0.0;
  json["initializer_range"] = config.init_std;
  json["vocab_size"] = config.vocab_size;
  json["tie_word_embeddings"] = config.tie_embeddings;
  json["use_cache"] = true;
  json["bos_token_id"] = end_of_text;
  json["eos_token_id"] = end_of_text;
  return json.dump(2) + "\n";
}

std::string hf_generation_json(const model::ModelConfig& config, int64_t vocabulary, int64_t end_of_text) {
  OrderedJson json{
      {"bos_token_id", end_of_text}, {"eos_token_id", end_of_text}, {"pad_token_id", end_of_text}};
  for (int64_t id = vocabulary; id < config.vocab_size; ++id) json["suppress_tokens"].push_back(id);
  return json.dump(2) + "\n";
}

}  // namespace moe::interop
