// SPDX-License-Identifier: MIT
#include "interop/qwen3_next.h"

#include <fmt/format.h>

#include <utility>

namespace moe::interop {
namespace {

using Kind = TensorMap::Kind;

void add_attention(std::vector<TensorMap>& list, const model::ModelConfig& config, int64_t layer) {
  const int64_t D = config.d_model, d = config.heads().dim, G = config.n_kv_heads;
  const std::string theirs = fmt::format("model.layers.{}.self_attn.", layer);
  const std::string ours = fmt::format("layers.{}.attention.", layer), qkvg = ours + "qkvg.weight";
  const int64_t query_rows = 2 * config.n_heads * d;  // each head: its query rows, then its gate rows
  list.push_back({theirs + "q_proj.weight", {query_rows, D}, qkvg});
  list.push_back({theirs + "k_proj.weight", {G * d, D}, qkvg, query_rows * D});
  list.push_back({theirs + "v_proj.weight", {G * d, D}, qkvg, (query_rows + G * d) * D});
  list.push_back({theirs + "q_norm.weight", {d}, ours + "q_norm.weight", 0, Kind::norm, true});
  list.push_back({theirs + "k_norm.weight", {d}, ours + "k_norm.weight", 0, Kind::norm, true});
  list.push_back({theirs + "o_proj.weight", {D, config.n_heads * d}, ours + "out.weight"});
}

// A SwiGLU as theirs has it. Ours: gate, then up, in one matrix.
void add_ffn(std::vector<TensorMap>& list, const std::string& theirs, const std::string& ours, int64_t D,
             int64_t F) {
  const std::string gate_up = ours + "gate_up.weight";
  list.push_back({theirs + "up_proj.weight", {F, D}, gate_up});
  list.push_back({theirs + "gate_proj.weight", {F, D}, gate_up, F * D});
  list.push_back({theirs + "down_proj.weight", {D, F}, ours + "down.weight"});
}

void add_shared_expert(std::vector<TensorMap>& list, const model::ModelConfig& config,
                       const std::string& theirs, const std::string& ours) {
  const int64_t D = config.d_model;
  const std::string expert = theirs + "shared_expert.", gate = theirs + "shared_expert_gate.weight";
  if (config.shared_expert_dim > 0) {
    add_ffn(list, expert, ours + "shared.", D, config.shared_expert_dim);
    list.push_back({gate, {1, D}, ours + "shared_gate.weight", 0, Kind::copy, true});
    return;
  }
  for (const char* name : {"gate_proj", "up_proj"})
    list.push_back({fmt::format("{}{}.weight", expert, name), {kNoSharedExpert, D}, "", 0, Kind::zero});
  list.push_back({expert + "down_proj.weight", {D, kNoSharedExpert}, "", 0, Kind::zero});
  list.push_back({gate, {1, D}, "", 0, Kind::zero});
}

void add_experts(std::vector<TensorMap>& list, const model::ModelConfig& config, int64_t layer) {
  const int64_t D = config.d_model, F = config.expert_intermediate_dim;
  const std::string theirs = fmt::format("model.layers.{}.mlp.", layer);
  const std::string ours = fmt::format("layers.{}.moe.", layer);
  list.push_back(
      {theirs + "gate.weight", {config.num_experts, D}, ours + "router.weight", 0, Kind::copy, true});
  const std::string gate_up = ours + "gate_up.weight", down = ours + "down.weight";
  for (int64_t e = 0; e < config.num_experts; ++e) {
    const std::string expert = fmt::format("{}experts.{}.", theirs, e);
    list.push_back({expert + "up_proj.weight", {F, D}, gate_up, 2 * e * F * D});
    list.push_back({expert + "gate_proj.weight", {F, D}, gate_up, (2 * e + 1) * F * D});
    list.push_back({expert + "down_proj.weight", {D, F}, down, e * D * F});
  }
  add_shared_expert(list, config, theirs, ours);
}

}  // namespace

int64_t TensorMap::numel() const {
  int64_t total = 1;
  for (const int64_t dim : shape) total *= dim;
  return total;
}

std::vector<TensorMap> qwen3_next_tensors(const model::ModelConfig& config) {
  const int64_t D = config.d_model;
  std::vector<TensorMap> list;
  list.push_back({"model.embed_tokens.weight", {config.vocab_size, D}, "embedding.weight"});
  for (int64_t i = 0; i < config.n_layers; ++i) {
    const auto norm = [&](const char* theirs, const char* ours) {
      list.push_back({fmt::format("model.layers.{}.{}.weight", i, theirs),
                      {D},
                      fmt::format("layers.{}.{}.weight", i, ours),
                      0,
                      Kind::norm,
                      true});
    };
    norm("input_layernorm", "attention_norm");
    add_attention(list, config, i);
    const bool dense = i < config.first_dense_layers;
    norm("post_attention_layernorm", dense ? "dense_norm" : "moe_norm");
    if (dense)
      add_ffn(list, fmt::format("model.layers.{}.mlp.", i), fmt::format("layers.{}.dense.", i), D,
              config.dense_width());
    else
      add_experts(list, config, i);
  }
  list.push_back({"model.norm.weight", {D}, "final_norm.weight", 0, Kind::norm, true});
  if (!config.tie_embeddings) list.push_back({"lm_head.weight", {config.vocab_size, D}, "lm_head.weight"});
  return list;
}

}  // namespace moe::interop
