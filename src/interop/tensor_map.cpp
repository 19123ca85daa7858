// SPDX-License-Identifier: MIT
#include "interop/tensor_map.h"

#include <fmt/format.h>

#include <utility>

namespace moe::interop {
namespace {

using Kind = TensorMap::Kind;

constexpr const char* kMlp = "mlp.";

// The list of one model, layer by layer.
class Tensors {
 public:
  Tensors(const Family& family, const model::ModelConfig& config) : family_(family), config_(config) {}

  std::vector<TensorMap> all() && {
    const int64_t D = config_.d_model;
    list_.push_back({"model.embed_tokens.weight", {config_.vocab_size, D}, "embedding.weight"});
    for (int64_t i = 0; i < config_.n_layers; ++i) layer(i);
    norm("model.norm.weight", "final_norm.weight", D);
    if (!config_.tie_embeddings)
      list_.push_back({"lm_head.weight", {config_.vocab_size, D}, "lm_head.weight"});
    return std::move(list_);
  }

 private:
  void layer(int64_t i) {
    const int64_t D = config_.d_model;
    const std::string theirs = fmt::format("model.layers.{}.", i), ours = fmt::format("layers.{}.", i);
    const bool dense = i < config_.first_dense_layers;
    norm(theirs + "input_layernorm.weight", ours + "attention_norm.weight", D);
    attention(theirs + "self_attn.", ours + "attention.");
    norm(theirs + "post_attention_layernorm.weight", ours + (dense ? "dense_norm" : "moe_norm") + ".weight",
         D);
    if (dense)
      ffn(theirs + kMlp, ours + "dense.", config_.dense_width());
    else
      experts(theirs + family_.moe, ours + "moe.");
  }

  void norm(const std::string& theirs, const std::string& ours, int64_t width) {
    list_.push_back(
        {theirs, {width}, ours, 0, family_.norms_less_one ? Kind::norm : Kind::copy, family_.keep_f32});
  }

  void attention(const std::string& theirs, const std::string& ours) {
    const Heads heads = config_.heads();
    const int64_t D = config_.d_model, kv = heads.kv * heads.dim;
    const std::string qkvg = ours + "qkvg.weight";
    // With gates each head has its query rows, then its gate rows, in both.
    list_.push_back({theirs + "q_proj.weight", {heads.keys(), D}, qkvg});
    list_.push_back({theirs + "k_proj.weight", {kv, D}, qkvg, heads.keys() * D});
    list_.push_back({theirs + "v_proj.weight", {kv, D}, qkvg, heads.values() * D});
    if (heads.norms() > 0) {
      norm(theirs + "q_norm.weight", ours + "q_norm.weight", heads.query_norm());
      norm(theirs + "k_norm.weight", ours + "k_norm.weight", heads.key_norm());
    }
    list_.push_back({theirs + "o_proj.weight", {D, heads.query * heads.dim}, ours + "out.weight"});
  }

  // A SwiGLU as theirs has it. Ours: gate, then up, in one matrix.
  void ffn(const std::string& theirs, const std::string& ours, int64_t F) {
    const int64_t D = config_.d_model;
    const std::string gate_up = ours + "gate_up.weight";
    list_.push_back({theirs + "up_proj.weight", {F, D}, gate_up});
    list_.push_back({theirs + "gate_proj.weight", {F, D}, gate_up, F * D});
    list_.push_back({theirs + "down_proj.weight", {D, F}, ours + "down.weight"});
  }

  void experts(const std::string& theirs, const std::string& ours) {
    const int64_t D = config_.d_model, F = config_.expert_intermediate_dim;
    list_.push_back({theirs + "gate.weight",
                     {config_.num_experts, D},
                     ours + "router.weight",
                     0,
                     Kind::copy,
                     family_.keep_f32});
    const std::string gate_up = ours + "gate_up.weight", down = ours + "down.weight";
    for (int64_t e = 0; e < config_.num_experts; ++e) {
      // The last two numbers: which part, of how many. In the fused form the SiLU's half comes first.
      const auto add = [&](const std::string& name, std::vector<int64_t> shape, const std::string& in,
                           int64_t begin, TensorMap::Fused fused) {
        list_.push_back(
            {fmt::format("{}experts.{}.{}.weight", theirs, e, name), std::move(shape), in, begin});
        list_.back().fused = std::move(fused);
      };
      add(family_.expert_up, {F, D}, gate_up, 2 * e * F * D, {fused(theirs, "gate_up_proj"), e, 1, 2});
      add(family_.expert_gate, {F, D}, gate_up, (2 * e + 1) * F * D,
          {fused(theirs, "gate_up_proj"), e, 0, 2});
      add(family_.expert_down, {D, F}, down, e * D * F, {fused(theirs, "down_proj"), e, 0, 1});
    }
    if (family_.shared_expert) shared_expert(theirs, ours);
  }

  // As transformers 5 has experts in memory: below mlp, whatever the files of the family say.
  std::vector<std::string> fused(const std::string& theirs, const std::string& name) const {
    std::vector<std::string> names{theirs + "experts." + name};
    if (family_.moe != kMlp)
      names.push_back(theirs.substr(0, theirs.size() - family_.moe.size()) + kMlp + "experts." + name);
    return names;
  }

  void shared_expert(const std::string& theirs, const std::string& ours) {
    const int64_t D = config_.d_model;
    const std::string expert = theirs + "shared_expert.", gate = theirs + "shared_expert_gate.weight";
    if (config_.shared_expert_dim > 0) {
      ffn(expert, ours + "shared.", config_.shared_expert_dim);
      list_.push_back({gate, {1, D}, ours + "shared_gate.weight", 0, Kind::copy, family_.keep_f32});
      return;
    }
    for (const char* name : {"gate_proj", "up_proj"})
      list_.push_back({fmt::format("{}{}.weight", expert, name), {kNoSharedExpert, D}, "", 0, Kind::zero});
    list_.push_back({expert + "down_proj.weight", {D, kNoSharedExpert}, "", 0, Kind::zero});
    list_.push_back({gate, {1, D}, "", 0, Kind::zero});
  }

  const Family& family_;
  const model::ModelConfig& config_;
  std::vector<TensorMap> list_;
};

}  // namespace

int64_t TensorMap::numel() const {
  int64_t total = 1;
  for (const int64_t dim : shape) total *= dim;
  return total;
}

std::vector<TensorMap> tensors_of(const Family& family, const model::ModelConfig& config) {
  return Tensors(family, config).all();
}

}  // namespace moe::interop
