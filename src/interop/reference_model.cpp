// SPDX-License-Identifier: MIT
// A decoder in the order of its forward pass. What a family has is seen by its tensors: a norm of queries, a
// gate, a router, a shared expert. What cannot be seen so is in Settings.
#include "interop/reference_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "interop/family.h"
#include "interop/reference_files.h"
#include "interop/reference_rotary.h"

namespace moe::interop {
namespace {

struct Settings {
  explicit Settings(const JsonFields& json, const Family& family)
      : type(json.text("model_type")),
        D(json.whole("hidden_size")),
        L(json.whole("num_hidden_layers")),
        H(json.whole("num_attention_heads")),
        G(json.has("num_key_value_heads") ? json.whole("num_key_value_heads") : H),
        d(json.has("head_dim") ? json.whole("head_dim") : D / H),
        eps(json.number("rms_norm_eps")),
        rotary(reference_rotary(json, family.rope_theta, family.partial_rotary, d)),
        tied(json.flag("tie_word_embeddings")) {
    norm_plus_one = gated = type == "qwen3_next";
    if (json.has("num_experts_per_tok")) K = json.whole("num_experts_per_tok");
    if (json.has("norm_topk_prob")) renormalise = json.flag("norm_topk_prob");
    if (type == "mixtral" && json.has("sliding_window")) window = json.whole("sliding_window");
    sigmoid_router = type == "glm4_moe" || type == "minimax_m2";
    if (type == "mixtral" || type == "minimax_m2" || type.starts_with("granitemoe")) renormalise = true;
    const auto take = [&](const char* key, double& value) {
      if (json.has(key)) value = json.number(key);
    };
    score_scale = 1 / std::sqrt(static_cast<double>(d));
    take("routed_scaling_factor", route_scale);
    if (!type.starts_with("granitemoe")) return;
    take("attention_multiplier", score_scale);
    take("embedding_multiplier", embedding_scale);
    take("residual_multiplier", residual_scale);
    take("logits_scaling", logits_divisor);
  }

  std::string type;
  int64_t D, L, H, G, d;
  double eps;
  ReferenceRotary rotary;
  bool tied;
  bool norm_plus_one = false;  // the weight of a norm is kept less one
  bool gated = false;          // q_proj has, behind the d rows of each head, d of a gate
  int64_t K = 0;
  bool renormalise = false, sigmoid_router = false;
  double route_scale = 1, score_scale = 1, embedding_scale = 1, residual_scale = 1, logits_divisor = 1;
  int64_t window = 0;  // tokens that a token sees; 0: all
};

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

class Decoder {
 public:
  explicit Decoder(const std::filesystem::path& folder) : files_(folder), settings_(read_settings(folder)) {}

  std::vector<double> logits(std::span<const int32_t> ids) const {
    const int64_t N = std::ssize(ids);
    Vectors x(N, settings_.D);
    for (int64_t t = 0; t < N; ++t)
      std::ranges::copy(files_.row("model.embed_tokens.weight", ids[static_cast<size_t>(t)]), x.row(t));
    for (double& value : x.values) value *= settings_.embedding_scale;
    for (int64_t i = 0; i < settings_.L; ++i) {
      const std::string layer = fmt::format("model.layers.{}.", i);
      if (!is_zero(layer + "linear_attn.out_proj.weight"))
        add(x, attention(layer + "self_attn.", normed(x, layer + "input_layernorm.weight")),
            settings_.residual_scale);
      add(x, mlp(layer, normed(x, layer + "post_attention_layernorm.weight")), settings_.residual_scale);
    }
    Vectors y = files_.product(settings_.tied ? "model.embed_tokens.weight" : "lm_head.weight",
                               normed(x, "model.norm.weight"));
    for (double& value : y.values) value /= settings_.logits_divisor;
    return std::move(y.values);
  }

 private:
  static Settings read_settings(const std::filesystem::path& folder) {
    const std::string where = (folder / "config.json").string();
    const Json given = parse_json(where, read_file(where));
    const Family* const family = find_family(JsonFields(where, given).text("model_type"));
    CHECK(family != nullptr, "a family that read_hf_model() does not read");
    Json all = family->defaults;
    all.update(given);
    return Settings(JsonFields(where, all), *family);
  }

  // Whether it is there. What is multiplied by it adds nothing; linear attention with other values has no
  // second way.
  bool is_zero(const std::string& name) const {
    if (!files_.has(name)) return false;
    if (std::ranges::any_of(files_.values(name), [](double value) { return value != 0; }))
      throw UserError(name, "zeros: a layer that adds nothing", "other values");
    return true;
  }

  static void add(Vectors& x, const Vectors& y, double scale = 1) {
    for (size_t i = 0; i < x.values.size(); ++i) x.values[i] += scale * y.values[i];
  }

  // With its bias, where there is one.
  Vectors projection(const std::string& name, const Vectors& x) const {
    Vectors y = files_.product(name + ".weight", x);
    if (!files_.has(name + ".bias")) return y;
    const std::vector<double> bias = files_.values(name + ".bias");
    for (int64_t t = 0; t < y.count; ++t)
      for (int64_t i = 0; i < y.width; ++i) y.row(t)[i] += bias[static_cast<size_t>(i)];
    return y;
  }

  // Of `parts` stretches of each vector, each by itself.
  void norm(Vectors& x, const std::string& name) const {
    const std::vector<double> weight = files_.values(name);
    const auto width = std::ssize(weight);
    for (int64_t t = 0; t < x.count; ++t)
      for (double* part = x.row(t); part != x.row(t) + x.width; part += width) {
        double squares = 0;
        for (int64_t i = 0; i < width; ++i) squares += part[i] * part[i];
        const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + settings_.eps);
        for (int64_t i = 0; i < width; ++i)
          part[i] *= scale * (weight[static_cast<size_t>(i)] + (settings_.norm_plus_one ? 1 : 0));
      }
  }
  Vectors normed(Vectors x, const std::string& name) const {
    norm(x, name);
    return x;
  }

  void turn_heads(Vectors& x, int64_t heads) const {
    for (int64_t t = 0; t < x.count; ++t)
      for (int64_t h = 0; h < heads; ++h) turn(x.row(t) + h * settings_.d, t, settings_.rotary);
  }

  // Takes the gates out of q, which then has the queries alone.
  Vectors split_gates(Vectors& q) const {
    const int64_t H = settings_.H, d = settings_.d;
    Vectors queries(q.count, H * d), gates(q.count, H * d);
    for (int64_t t = 0; t < q.count; ++t)
      for (int64_t h = 0; h < H; ++h) {
        std::copy_n(q.row(t) + 2 * h * d, d, queries.row(t) + h * d);
        std::copy_n(q.row(t) + (2 * h + 1) * d, d, gates.row(t) + h * d);
      }
    q = std::move(queries);
    return gates;
  }

  Vectors attention(const std::string& name, const Vectors& x) const {
    Vectors q = projection(name + "q_proj", x), k = projection(name + "k_proj", x);
    const Vectors v = projection(name + "v_proj", x);
    const Vectors gates = settings_.gated ? split_gates(q) : Vectors(0, 0);
    if (files_.has(name + "q_norm.weight")) {
      norm(q, name + "q_norm.weight");
      norm(k, name + "k_norm.weight");
    }
    turn_heads(q, settings_.H);
    turn_heads(k, settings_.G);
    Vectors out(x.count, settings_.H * settings_.d);
    for (int64_t t = 0; t < x.count; ++t)
      for (int64_t h = 0; h < settings_.H; ++h) attend(t, h, q, k, v, out);
    if (settings_.gated)
      for (size_t i = 0; i < out.values.size(); ++i) out.values[i] *= sigmoid(gates.values[i]);
    return projection(name + "o_proj", out);
  }

  void attend(int64_t t, int64_t h, const Vectors& q, const Vectors& k, const Vectors& v,
              Vectors& out) const {
    const int64_t d = settings_.d, at = h / (settings_.H / settings_.G) * d;
    const int64_t first = settings_.window > 0 ? std::max<int64_t>(0, t - settings_.window + 1) : 0;
    std::vector<double> weights;
    for (int64_t s = first; s <= t; ++s)
      weights.push_back(settings_.score_scale *
                        std::inner_product(k.row(s) + at, k.row(s) + at + d, q.row(t) + h * d, 0.0));
    softmax(weights);
    for (int64_t s = first; s <= t; ++s)
      for (int64_t i = 0; i < d; ++i)
        out.row(t)[h * d + i] += weights[static_cast<size_t>(s - first)] * v.row(s)[at + i];
  }

  static void softmax(std::vector<double>& x) {
    const double most = *std::ranges::max_element(x);
    double sum = 0;
    for (double& value : x) sum += value = std::exp(value - most);
    for (double& value : x) value /= sum;
  }

  Vectors mlp(const std::string& layer, const Vectors& x) const {
    const std::string sparse = layer + "block_sparse_moe.", other = layer + "mlp.";
    if (files_.has(sparse + "gate.weight")) return experts(sparse, "gate.weight", {"w1", "w3", "w2"}, x);
    if (files_.has(other + "gate.weight")) return experts(other, "gate.weight", kUsual, x);
    if (!files_.has(sparse + "router.layer.weight")) return swiglu(other, kUsual, x);
    Vectors y = experts(sparse, "router.layer.weight", kUsual, x);  // Granite's
    const std::string shared = layer + "shared_mlp.";
    if (files_.has(shared + "input_linear.weight"))
      add(y, joined(shared + "input_linear.weight", shared + "output_linear.weight", 0,
                    files_.shape(shared + "input_linear.weight")[0] / 2, x));
    return y;
  }

  struct Names {
    const char *gate, *up, *down;
  };
  static constexpr Names kUsual{"gate_proj", "up_proj", "down_proj"};

  static Vectors silu_product(Vectors gate, const Vectors& up) {
    for (size_t i = 0; i < gate.values.size(); ++i) gate.values[i] *= sigmoid(gate.values[i]) * up.values[i];
    return gate;
  }

  Vectors swiglu(const std::string& name, const Names& names, const Vectors& x) const {
    const auto matrix = [&](const char* of) { return name + of + ".weight"; };
    return files_.product(matrix(names.down), silu_product(files_.product(matrix(names.gate), x),
                                                           files_.product(matrix(names.up), x)));
  }

  // Of a tensor with the rows of both, [E, 2 F, D], and [E, D, F].
  Vectors joined(const std::string& gate_up, const std::string& down, int64_t e, int64_t F,
                 const Vectors& x) const {
    const int64_t D = settings_.D;
    return files_.product(down,
                          silu_product(files_.product(gate_up, x, 2 * e * F, F),
                                       files_.product(gate_up, x, (2 * e + 1) * F, F)),
                          e * D, D);
  }

  // One expert, by itself in the file or in a tensor with the others.
  Vectors expert(const std::string& moe, const Names& names, int64_t e, const Vectors& x) const {
    const std::string in_memory = moe.substr(0, moe.rfind('.', moe.size() - 2)) + ".mlp.";
    for (const auto& [gate_up, down] : {std::pair{moe + "experts.gate_up_proj", moe + "experts.down_proj"},
                                        {in_memory + "experts.gate_up_proj", in_memory + "experts.down_proj"},
                                        {moe + "input_linear.weight", moe + "output_linear.weight"}})
      if (files_.has(gate_up)) return joined(gate_up, down, e, files_.shape(gate_up)[1] / 2, x);
    return swiglu(fmt::format("{}experts.{}.", moe, e), names, x);
  }

  // What is added to the scores for the choice alone; none in most families.
  std::vector<double> choice_bias(const std::string& moe) const {
    for (const std::string& name : {moe + "gate.e_score_correction_bias", moe + "e_score_correction_bias"})
      if (files_.has(name)) return files_.values(name);
    return {};
  }

  Vectors experts(const std::string& moe, const char* router, const Names& names, const Vectors& x) const {
    const Vectors scores = files_.product(moe + router, x);
    const std::vector<double> bias = choice_bias(moe);
    const int64_t E = scores.width;
    std::vector<std::vector<std::pair<int64_t, double>>> tokens(static_cast<size_t>(E));  // of each expert
    for (int64_t t = 0; t < x.count; ++t)
      for (const auto& [e, weight] : chosen({scores.row(t), scores.row(t) + E}, bias))
        tokens[static_cast<size_t>(e)].emplace_back(t, weight);
    Vectors y(x.count, settings_.D);
    for (int64_t e = 0; e < E; ++e) {
      const auto& mine = tokens[static_cast<size_t>(e)];
      if (mine.empty()) continue;
      Vectors rows(std::ssize(mine), x.width);
      for (int64_t i = 0; i < rows.count; ++i)
        std::copy_n(x.row(mine[static_cast<size_t>(i)].first), x.width, rows.row(i));
      const Vectors made = expert(moe, names, e, rows);
      for (int64_t i = 0; i < rows.count; ++i)
        for (int64_t c = 0; c < y.width; ++c)
          y.row(mine[static_cast<size_t>(i)].first)[c] +=
              mine[static_cast<size_t>(i)].second * made.row(i)[c];
    }
    if (files_.has(moe + "shared_expert.gate_proj.weight")) add_shared(moe, x, y);
    if (files_.has(moe + "shared_experts.gate_proj.weight"))
      add(y, swiglu(moe + "shared_experts.", kUsual, x));
    return y;
  }

  void add_shared(const std::string& moe, const Vectors& x, Vectors& y) const {
    Vectors shared = swiglu(moe + "shared_expert.", kUsual, x);
    const Vectors gate = files_.product(moe + "shared_expert_gate.weight", x);
    for (int64_t t = 0; t < x.count; ++t)
      for (int64_t c = 0; c < shared.width; ++c) shared.row(t)[c] *= sigmoid(gate.row(t)[0]);
    add(y, shared);
  }

  // Experts and their weights.
  std::vector<std::pair<int64_t, double>> chosen(std::vector<double> scores,
                                                 const std::vector<double>& bias) const {
    if (settings_.sigmoid_router)
      std::ranges::transform(scores, scores.begin(), sigmoid);
    else
      softmax(scores);
    std::vector<double> ranked = scores;
    for (size_t e = 0; e < bias.size(); ++e) ranked[e] += bias[e];
    std::vector<int64_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](int64_t a, int64_t b) {
      return ranked[static_cast<size_t>(a)] > ranked[static_cast<size_t>(b)];
    });
    order.resize(static_cast<size_t>(settings_.K));
    double sum = 0;
    for (const int64_t e : order) sum += scores[static_cast<size_t>(e)];
    std::vector<std::pair<int64_t, double>> list;
    list.reserve(order.size());
    for (const int64_t e : order)
      list.emplace_back(
          e, settings_.route_scale * scores[static_cast<size_t>(e)] / (settings_.renormalise ? sum : 1));
    return list;
  }

  const ReferenceFiles files_;
  const Settings settings_;
};

}  // namespace

bool has_reference(const std::string& model_type) {
  constexpr std::string_view kTypes[] = {"qwen3_next",       "qwen3_moe", "qwen2_moe",  "olmoe",
                                         "mixtral",          "glm4_moe",  "minimax_m2", "granitemoe",
                                         "granitemoeshared", "qwen3",     "llama"};
  return std::ranges::find(kTypes, model_type) != std::end(kTypes);
}

std::vector<double> reference_logits(const std::filesystem::path& folder, std::span<const int32_t> ids) {
  return Decoder(folder).logits(ids);
}

}  // namespace moe::interop
