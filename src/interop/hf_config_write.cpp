// SPDX-License-Identifier: MIT
// The half of hf_config.h that writes.
#include <fmt/format.h>
#include <fmt/ranges.h>

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
  if (config.qk_norm != family.qk_norm)
    return Misfit{"model.qk_norm", std::string(name_of(family.qk_norm)),
                  std::string(name_of(config.qk_norm))};
  const Heads heads = config.heads();
  if (!family.head_dim_key && heads.query * heads.dim != config.d_model)
    return Misfit{"model.head_dim", fmt::format("d_model / n_heads = {}", config.d_model / config.n_heads),
                  std::to_string(heads.dim)};
  if (config.partial_rotary_factor != 1)
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
  if (config.router_score != RouterScore::softmax)
    return Misfit{"model.router_score", "softmax", std::string(name_of(config.router_score))};
  if (config.router_scale != 1)
    return Misfit{"model.router_scale", "1", fmt::format("{}", config.router_scale)};
  if (config.router_bias_rate > 0)
    return Misfit{"model.router_bias_rate", "0, a choice without biases",
                  fmt::format("{}", config.router_bias_rate)};
  return std::nullopt;
}

std::optional<Misfit> layer_misfit(const Family& family, const model::ModelConfig& config) {
  const std::string dense = std::to_string(config.first_dense_layers);
  if (family.no_experts && config.moe_layers() > 0)
    return Misfit{"model.first_dense_layers", fmt::format("{}, all layers", config.n_layers), dense};
  if (family.no_experts) return std::nullopt;
  if (config.moe_layers() == 0)
    return Misfit{"model.first_dense_layers", fmt::format("less than {}", config.n_layers), dense};
  if (!family.dense_layers && config.first_dense_layers > 0)
    return Misfit{"model.first_dense_layers", "0", dense};
  if (family.shared_expert && config.shared_expert_dim == kNoSharedExpert)
    return Misfit{"model.shared_expert_dim", "0, or at least 2", std::to_string(config.shared_expert_dim)};
  if (!family.shared_expert && config.shared_expert_dim > 0)
    return Misfit{"model.shared_expert_dim", "0", std::to_string(config.shared_expert_dim)};
  if (config.shared_expert_dim > 0 && !config.shared_expert_gate)
    return Misfit{"model.shared_expert_gate", "true", "false"};
  return router_misfit(family, config);
}

std::optional<Misfit> misfit(const Family& family, const model::ModelConfig& config) {
  const auto found = attention_misfit(family, config);
  return found ? found : layer_misfit(family, config);
}

void add_experts(OrderedJson& json, const Family& family, const model::ModelConfig& config) {
  std::vector<int64_t> dense_layers(static_cast<size_t>(config.first_dense_layers));
  std::iota(dense_layers.begin(), dense_layers.end(), 0);
  json[family.experts.front()] = config.num_experts;
  json["num_experts_per_tok"] = config.top_k;
  if (family.renormalise_key) json["norm_topk_prob"] = config.renormalize_top_k;
  json[family.expert_width] = config.expert_intermediate_dim;
  if (family.dense_layers)
    json["intermediate_size"] = dense_layers.empty() ? config.expert_intermediate_dim : config.dense_width();
  if (family.shared_expert)
    json["shared_expert_intermediate_size"] =
        config.shared_expert_dim > 0 ? config.shared_expert_dim : kNoSharedExpert;
  if (family.dense_layers) {
    json["decoder_sparse_step"] = 1;
    json["mlp_only_layers"] = dense_layers;
  }
  json["router_aux_loss_coef"] = config.aux_loss_weight;
}

}  // namespace

const Family* fitting_family(const model::ModelConfig& config) {
  for (const Family& family : families())
    if (!misfit(family, config)) return &family;
  return nullptr;
}

void check_exportable(const model::ModelConfig& config, const Family& family) {
  const auto found = misfit(family, config);
  if (!found) return;
  std::vector<std::string_view> others;
  for (const Family& other : families())
    if (!misfit(other, config)) others.emplace_back(other.name);
  const std::string hint =
      others.empty() ? "train without it, or use the checkpoint's own files"
                     : fmt::format("this model fits --family {}", fmt::join(others, " or --family "));
  throw UserError(found->setting, found->expected, found->found,
                  fmt::format("{} has nothing else: {}", family.architecture, hint));
}

std::string hf_config_json(const model::ModelConfig& config, DType type, int64_t end_of_text,
                           const Family& family) {
  check_exportable(config, family);
  OrderedJson json{{"architectures", OrderedJson::array({family.architecture})},
                   {"model_type", family.name},
                   {"dtype", hf_name_of(type)},
                   {"hidden_size", config.d_model},
                   {"num_hidden_layers", config.n_layers},
                   {"num_attention_heads", config.n_heads},
                   {"num_key_value_heads", config.n_kv_heads}};
  if (family.head_dim_key) json["head_dim"] = config.heads().dim;
  if (family.layer_types)
    json["layer_types"] = std::vector<std::string>(static_cast<size_t>(config.n_layers), "full_attention");
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
  json["hidden_act"] = "silu";
  json["rms_norm_eps"] = config.norm_eps;
  if (family.fixed.contains("attention_bias")) json["attention_bias"] = false;
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
