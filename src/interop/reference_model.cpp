// SPDX-License-Identifier: MIT
// A decoder in the order of its forward pass. What a family has is seen by its tensors: a norm of queries, a
// gate, a router, a shared expert. What cannot be seen so is in Settings.
#include "interop/reference_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

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
    if (type == "mixtral") {
      renormalise = true;
      if (json.has("sliding_window")) window = json.whole("sliding_window");
    }
  }

  std::string type;
  int64_t D, L, H, G, d;
  double eps;
  ReferenceRotary rotary;
  bool tied;
  bool norm_plus_one = false;  // the weight of a norm is kept less one
  bool gated = false;          // q_proj has, behind the d rows of each head, d of a gate
  int64_t K = 0;
  bool renormalise = false;
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
    for (int64_t i = 0; i < settings_.L; ++i) {
      const std::string layer = fmt::format("model.layers.{}.", i);
      add(x, attention(layer + "self_attn.", normed(x, layer + "input_layernorm.weight")));
      add(x, mlp(layer, normed(x, layer + "post_attention_layernorm.weight")));
    }
    return files_
        .product(settings_.tied ? "model.embed_tokens.weight" : "lm_head.weight",
                 normed(x, "model.norm.weight"))
        .values;
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

  static void add(Vectors& x, const Vectors& y) {
    for (size_t i = 0; i < x.values.size(); ++i) x.values[i] += y.values[i];
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
    Vectors q = files_.product(name + "q_proj.weight", x), k = files_.product(name + "k_proj.weight", x);
    const Vectors v = files_.product(name + "v_proj.weight", x);
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
    return files_.product(name + "o_proj.weight", out);
  }

  void attend(int64_t t, int64_t h, const Vectors& q, const Vectors& k, const Vectors& v,
              Vectors& out) const {
    const int64_t d = settings_.d, at = h / (settings_.H / settings_.G) * d;
    const int64_t first = settings_.window > 0 ? std::max<int64_t>(0, t - settings_.window + 1) : 0;
    std::vector<double> weights;
    for (int64_t s = first; s <= t; ++s)
      weights.push_back(std::inner_product(k.row(s) + at, k.row(s) + at + d, q.row(t) + h * d, 0.0) /
                        std::sqrt(static_cast<double>(d)));
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
    const std::string mixtral = layer + "block_sparse_moe.", other = layer + "mlp.";
    if (files_.has(mixtral + "gate.weight")) return experts(mixtral, {"w1", "w3", "w2"}, x);
    if (files_.has(other + "gate.weight")) return experts(other, {"gate_proj", "up_proj", "down_proj"}, x);
    return swiglu(other, {"gate_proj", "up_proj", "down_proj"}, x);
  }

  struct Names {
    const char *gate, *up, *down;
  };

  static Vectors silu_product(Vectors gate, const Vectors& up) {
    for (size_t i = 0; i < gate.values.size(); ++i) gate.values[i] *= sigmoid(gate.values[i]) * up.values[i];
    return gate;
  }

  Vectors swiglu(const std::string& name, const Names& names, const Vectors& x) const {
    const auto matrix = [&](const char* of) { return name + of + ".weight"; };
    return files_.product(matrix(names.down), silu_product(files_.product(matrix(names.gate), x),
                                                           files_.product(matrix(names.up), x)));
  }

  // One expert, by itself in the file or in a tensor with the others: [E, 2 F, D], [E, D, F].
  Vectors expert(const std::string& moe, const Names& names, int64_t e, const Vectors& x) const {
    for (const std::string& all : {moe, moe.substr(0, moe.rfind('.', moe.size() - 2)) + ".mlp."}) {
      const std::string gate_up = all + "experts.gate_up_proj", down = all + "experts.down_proj";
      if (!files_.has(gate_up)) continue;
      const int64_t F = files_.shape(gate_up)[1] / 2, D = settings_.D;
      return files_.product(down,
                            silu_product(files_.product(gate_up, x, 2 * e * F, F),
                                         files_.product(gate_up, x, (2 * e + 1) * F, F)),
                            e * D, D);
    }
    return swiglu(fmt::format("{}experts.{}.", moe, e), names, x);
  }

  Vectors experts(const std::string& moe, const Names& names, const Vectors& x) const {
    const Vectors scores = files_.product(moe + "gate.weight", x);
    const int64_t E = scores.width;
    std::vector<std::vector<std::pair<int64_t, double>>> tokens(static_cast<size_t>(E));  // of each expert
    for (int64_t t = 0; t < x.count; ++t)
      for (const auto& [e, weight] : chosen({scores.row(t), scores.row(t) + E}))
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
    return y;
  }

  void add_shared(const std::string& moe, const Vectors& x, Vectors& y) const {
    Vectors shared = swiglu(moe + "shared_expert.", {"gate_proj", "up_proj", "down_proj"}, x);
    const Vectors gate = files_.product(moe + "shared_expert_gate.weight", x);
    for (int64_t t = 0; t < x.count; ++t)
      for (int64_t c = 0; c < shared.width; ++c) shared.row(t)[c] *= sigmoid(gate.row(t)[0]);
    add(y, shared);
  }

  // Experts and their weights.
  std::vector<std::pair<int64_t, double>> chosen(std::vector<double> scores) const {
    softmax(scores);
    std::vector<int64_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](int64_t a, int64_t b) {
      return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
    });
    order.resize(static_cast<size_t>(settings_.K));
    double sum = 0;
    for (const int64_t e : order) sum += scores[static_cast<size_t>(e)];
    std::vector<std::pair<int64_t, double>> list;
    for (const int64_t e : order)
      list.emplace_back(e, scores[static_cast<size_t>(e)] / (settings_.renormalise ? sum : 1));
    return list;
  }

  const ReferenceFiles files_;
  const Settings settings_;
};

}  // namespace

bool has_reference(const std::string& model_type) {
  constexpr std::string_view kTypes[] = {"qwen3_next", "qwen3_moe", "olmoe", "mixtral", "qwen3", "llama"};
  return std::ranges::find(kTypes, model_type) != std::end(kTypes);
}

std::vector<double> reference_logits(const std::filesystem::path& folder, std::span<const int32_t> ids) {
  return Decoder(folder).logits(ids);
}

}  // namespace moe::interop
