// SPDX-License-Identifier: MIT
#include "interop/tensor_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace moe::interop {
namespace {

using Kind = TensorMap::Kind;

constexpr const char* kMlp = "mlp.";

// Runs of `columns` elements a row, of parts one below another: part i of ours is part order[i] of theirs.
struct Parts {
  std::vector<int64_t> rows;  // of ours
  std::vector<int64_t> order;
};

// The rows of a head whose first `rotary` dimensions turn there with pairs (i, rotary / 2 + i): here they are
// (i, d / 2 + i), so the first halves of both kinds of dimensions come before the second halves.
Parts rotary_parts(int64_t dim, int64_t rotary) {
  const int64_t turning = rotary / 2, still = (dim - rotary) / 2;
  return {{turning, still, turning, still}, {0, 2, 1, 3}};
}

// Appends the runs of one more group of parts to those so far.
void append(std::vector<TensorMap::Run>& runs, const Parts& parts, int64_t columns) {
  int64_t ours = runs.empty() ? 0 : runs.back().ours + runs.back().count;
  const int64_t first = ours;
  for (size_t i = 0; i < parts.order.size(); ++i) {
    int64_t theirs = first;
    for (size_t j = 0; j < parts.order.size(); ++j)
      if (parts.order[j] < parts.order[i]) theirs += parts.rows[j] * columns;
    runs.push_back({theirs, ours, parts.rows[i] * columns});
    ours += parts.rows[i] * columns;
  }
}

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

  // As tensors of a model with one layer more, and then without what they are in ours.
  std::vector<TensorMap> zero_blocks() && {
    if (!family_.zero_blocks) return {};
    linear_layer(fmt::format("model.layers.{}.", config_.n_layers));
    prediction_block("mtp.");
    for (TensorMap& tensor : list_) {
      tensor.ours.clear();
      tensor.begin = 0;
      tensor.runs.clear();
      tensor.kind = Kind::zero;
    }
    return std::move(list_);
  }

 private:
  void linear_layer(const std::string& theirs) {
    const int64_t D = config_.d_model, width = kZeroHeads * kZeroHeadDim;
    const std::string attention = theirs + "linear_attn.";
    norm(theirs + "input_layernorm.weight", "", D);
    list_.push_back({attention + "in_proj_qkvz.weight", {4 * width, D}, ""});
    list_.push_back({attention + "in_proj_ba.weight", {2 * kZeroHeads, D}, ""});
    list_.push_back({attention + "conv1d.weight", {3 * width, 1, kZeroKernel}, ""});
    list_.push_back({attention + "dt_bias", {kZeroHeads}, ""});
    list_.push_back({attention + "A_log", {kZeroHeads}, ""});
    norm(attention + "norm.weight", "", kZeroHeadDim);
    list_.push_back({attention + "out_proj.weight", {D, width}, ""});
    norm(theirs + "post_attention_layernorm.weight", "", D);
    experts(theirs, "");
  }

  void prediction_block(const std::string& theirs) {
    const int64_t D = config_.d_model;
    const std::string layer = theirs + "layers.0.";
    list_.push_back({theirs + "fc.weight", {D, 2 * D}, ""});
    for (const char* name : {"pre_fc_norm_embedding", "pre_fc_norm_hidden", "norm"})
      norm(fmt::format("{}{}.weight", theirs, name), "", D);
    norm(layer + "input_layernorm.weight", "", D);
    attention(layer + "self_attn.", "");
    norm(layer + "post_attention_layernorm.weight", "", D);
    experts(layer, "");
  }

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
      experts(theirs, ours + "moe.");
  }

  void norm(const std::string& theirs, const std::string& ours, int64_t width) {
    list_.push_back(
        {theirs, {width}, ours, 0, family_.norms_less_one ? Kind::norm : Kind::copy, family_.keep_f32});
  }

  void attention(const std::string& theirs, const std::string& ours) {
    const Heads heads = config_.heads();
    const int64_t D = config_.d_model, kv = heads.kv * heads.dim;
    // Rows of the packed projection, and of its bias. With gates each head has its query rows, then its gate
    // rows, in both.
    const auto packed = [&](const char* what, const std::string& in, std::vector<int64_t> columns) {
      const int64_t width = columns.empty() ? 1 : columns.front();
      const auto add = [&](const char* name, int64_t rows, int64_t begin) {
        std::vector<int64_t> shape{rows};
        shape.insert(shape.end(), columns.begin(), columns.end());
        list_.push_back({fmt::format("{}{}_proj.{}", theirs, name, what), shape, ours + in, begin * width});
      };
      add("q", heads.keys(), 0);
      turn(heads.query, heads.gated, width);
      add("k", kv, heads.keys());
      turn(heads.kv, false, width);
      add("v", kv, heads.values());
    };
    packed("weight", "qkvg.weight", {D});
    if (config_.attention_bias) packed("bias", "qkvg.bias", {});
    if (heads.norms() > 0) {
      norm(theirs + "q_norm.weight", ours + "q_norm.weight", heads.query_norm());
      turn(heads.query_norm() / heads.dim, false, 1);
      norm(theirs + "k_norm.weight", ours + "k_norm.weight", heads.key_norm());
      turn(heads.key_norm() / heads.dim, false, 1);
    }
    list_.push_back({theirs + "o_proj.weight", {D, heads.query * heads.dim}, ours + "out.weight"});
  }

  // The last tensor has the rows of these heads, of which a part may turn.
  void turn(int64_t heads, bool gated, int64_t columns) {
    const model::RopeSpec rope = config_.rope();
    if (rope.rotary_dim == rope.head_dim) return;
    const Parts turning = rotary_parts(rope.head_dim, rope.rotary_dim);
    for (int64_t h = 0; h < heads; ++h) {
      append(list_.back().runs, turning, columns);
      if (gated) append(list_.back().runs, {{rope.head_dim}, {0}}, columns);
    }
  }

  // A SwiGLU as theirs has it. Ours: gate, then up, in one matrix.
  void ffn(const std::string& theirs, const std::string& ours, int64_t F) {
    const int64_t D = config_.d_model;
    const std::string gate_up = ours + "gate_up.weight";
    list_.push_back({theirs + "up_proj.weight", {F, D}, gate_up});
    list_.push_back({theirs + "gate_proj.weight", {F, D}, gate_up, F * D});
    list_.push_back({theirs + "down_proj.weight", {D, F}, ours + "down.weight"});
  }

  void router(const std::string& theirs, const std::string& ours) {
    list_.push_back({theirs + family_.router,
                     {config_.num_experts, config_.d_model},
                     ours + "router.weight",
                     0,
                     Kind::copy,
                     family_.keep_f32 || family_.router_f32});
    if (!family_.router_bias.empty())
      list_.push_back({theirs + family_.router_bias,
                       {config_.num_experts},
                       ours + "router.bias",
                       0,
                       Kind::copy,
                       family_.router_bias_f32});
  }

  // layer: what their names of a layer begin with.
  void experts(const std::string& layer, const std::string& ours) {
    const std::string theirs = layer + family_.moe;
    router(theirs, ours);
    if (family_.joined_experts)
      joined(theirs, ours, {config_.num_experts});
    else
      one_by_one(theirs, ours);
    if (!family_.shared.name.empty()) shared_expert(layer, ours);
  }

  void one_by_one(const std::string& theirs, const std::string& ours) {
    const int64_t D = config_.d_model, F = config_.expert_intermediate_dim;
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
  }

  // As transformers 5 has experts in memory: below mlp, whatever the files of the family say.
  std::vector<std::string> fused(const std::string& theirs, const std::string& name) const {
    std::vector<std::string> names{theirs + "experts." + name};
    if (family_.moe != kMlp)
      names.push_back(theirs.substr(0, theirs.size() - family_.moe.size()) + kMlp + "experts." + name);
    return names;
  }

  // SwiGLUs of which both halves are one tensor, the SiLU's first. experts: {E}, or {} for a single one.
  void joined(const std::string& theirs, const std::string& ours, std::vector<int64_t> experts) {
    const int64_t D = config_.d_model, count = experts.empty() ? 1 : experts.front();
    const int64_t F = experts.empty() ? config_.shared_expert_dim : config_.expert_intermediate_dim;
    const auto shape = [&](int64_t rows, int64_t columns) {
      std::vector<int64_t> all = experts;
      all.insert(all.end(), {rows, columns});
      return all;
    };
    list_.push_back({theirs + "input_linear.weight", shape(2 * F, D), ours + "gate_up.weight"});
    for (int64_t e = 0; e < count; ++e) append(list_.back().runs, {{F, F}, {1, 0}}, D);
    list_.push_back({theirs + "output_linear.weight", shape(D, F), ours + "down.weight"});
  }

  void shared_expert(const std::string& layer, const std::string& ours) {
    const int64_t D = config_.d_model;
    const std::string expert = layer + family_.shared.name;
    const std::string gate = layer + kMlp + "shared_expert_gate.weight";
    if (config_.shared_expert_dim > 0) {
      if (family_.joined_experts)
        joined(expert, ours + "shared.", {});
      else
        ffn(expert, ours + "shared.", config_.shared_expert_dim);
      if (family_.shared.gate)
        list_.push_back({gate, {1, D}, ours + "shared_gate.weight", 0, Kind::copy, family_.keep_f32});
      return;
    }
    if (family_.shared.none != SharedExpertOfFamily::None::zeros) return;
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

std::vector<TensorMap::Run> TensorMap::in_our_order() const {
  return runs.empty() ? std::vector<Run>{{0, 0, numel()}} : runs;
}

std::vector<TensorMap::Run> TensorMap::in_their_order() const {
  std::vector<Run> sorted = in_our_order();
  std::ranges::sort(sorted, {}, &Run::theirs);
  return sorted;
}

std::vector<TensorMap> tensors_of(const Family& family, const model::ModelConfig& config) {
  return Tensors(family, config).all();
}

std::vector<TensorMap> zero_blocks_of(const Family& family, const model::ModelConfig& config) {
  return Tensors(family, config).zero_blocks();
}

std::optional<int64_t> prediction_from(const Family& family, const model::ModelConfig& config) {
  return family.prediction_layers ? std::optional(config.n_layers) : std::nullopt;
}

}  // namespace moe::interop
