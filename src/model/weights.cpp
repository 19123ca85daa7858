// SPDX-License-Identifier: MIT
#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/random.h"
#include "base/threads.h"
#include "ops/ops.h"
#include "tensor/device.h"

namespace moe {
namespace {

// Host staging for initialisation: the largest tensor goes to the device in pieces of this many values.
constexpr int64_t kPiece = int64_t{1} << 20;

bool writes_to_residual(const std::string& name) {
  return name.ends_with("attention.out.weight") || name.ends_with("moe.down.weight");
}

bool is_norm(const Parameter& parameter) {
  return parameter.group == "norms";
}

}  // namespace

Parameter Weights::make(const std::string& name, const std::string& group, const std::vector<int64_t>& shape,
                        bool matrix, DType compute, Purpose purpose, Arena& arena) const {
  Parameter parameter{name, group, matrix, {}, {}, {}};
  parameter.weight = arena.allocate("weights (f32)", DType::f32, shape);
  parameter.compute =
      matrix && group != "router" && compute != DType::f32
          ? arena.allocate("weights (" + std::string(name_of(compute)) + " copy)", compute, shape)
          : parameter.weight;
  if (purpose == Purpose::training) parameter.gradient = arena.allocate("gradients (f32)", DType::f32, shape);
  return parameter;
}

Weights::Weights(const ModelConfig& config, DType compute, Purpose purpose, Arena& arena)
    : init_std_(config.init_std),
      residual_std_(config.init_std / std::sqrt(2.0 * static_cast<double>(config.n_layers))) {
  const int64_t D = config.d_model, E = config.num_experts, F = config.expert_intermediate_dim;
  const int64_t d = config.head_dim();
  const int64_t P = Heads{config.n_heads, config.n_kv_heads, d}.packed();
  const auto matrix = [&](const std::string& name, const std::string& group,
                          const std::vector<int64_t>& shape) {
    return make(name, group, std::move(shape), true, compute, purpose, arena);
  };
  const auto norm = [&](const std::string& name, int64_t width) {
    return make(name, "norms", {width}, false, compute, purpose, arena);
  };
  embedding = matrix("embedding.weight", "embedding", {config.vocab_size, D});
  for (int64_t i = 0; i < config.n_layers; ++i) {
    const std::string at = "layers." + std::to_string(i) + ".";
    layers.push_back({.attention_norm = norm(at + "attention_norm.weight", D),
                      .qkvg = matrix(at + "attention.qkvg.weight", "attention", {P, D}),
                      .q_norm = norm(at + "attention.q_norm.weight", d),
                      .k_norm = norm(at + "attention.k_norm.weight", d),
                      .out = matrix(at + "attention.out.weight", "attention", {D, D}),
                      .moe_norm = norm(at + "moe_norm.weight", D),
                      .router = matrix(at + "moe.router.weight", "router", {E, D}),
                      .gate_up = matrix(at + "moe.gate_up.weight", "experts", {E, 2 * F, D}),
                      .down = matrix(at + "moe.down.weight", "experts", {E, D, F})});
  }
  final_norm = norm("final_norm.weight", D);
}

std::vector<Parameter> Weights::list() const {
  std::vector<Parameter> all{embedding};
  for (const Layer& layer : layers)
    all.insert(all.end(), {layer.attention_norm, layer.qkvg, layer.q_norm, layer.k_norm, layer.out,
                           layer.moe_norm, layer.router, layer.gate_up, layer.down});
  all.push_back(final_norm);
  return all;
}

std::vector<NamedTensor> Weights::named() const {
  std::vector<NamedTensor> tensors;
  for (const Parameter& parameter : list()) tensors.push_back({parameter.name, parameter.weight});
  return tensors;
}

void Weights::initialise(uint64_t seed, Device& device) {
  std::vector<float> piece;
  ThreadPool pool(available_cores());
  for (const Parameter& parameter : list()) {
    const Random random(seed, "init/" + parameter.name);
    const auto std = static_cast<float>(writes_to_residual(parameter.name) ? residual_std_ : init_std_);
    const int64_t n = parameter.weight.numel();
    const Tensor flat = parameter.weight.reshape({n});
    for (int64_t begin = 0; begin < n; begin += kPiece) {
      const int64_t end = std::min(n, begin + kPiece);
      piece.assign(static_cast<size_t>(end - begin), 1.0F);
      if (!is_norm(parameter))
        pool.parallel_for(end - begin, 1 << 14, [&](int64_t from, int64_t to) {
          for (int64_t i = from; i < to; ++i)
            piece[static_cast<size_t>(i)] = std * random.normal(static_cast<uint64_t>(begin + i));
        });
      device.to_device(flat.rows(begin, end), piece.data());
    }
  }
}

void cast_weights(const Weights& weights, Ops& ops) {
  for (const Parameter& parameter : weights.list())
    if (parameter.compute.data() != parameter.weight.data()) ops.cast(parameter.compute, parameter.weight);
}

}  // namespace moe
