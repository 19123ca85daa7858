// SPDX-License-Identifier: MIT
// Small models on a backend: of the golden files (tools/make_goldens.py), with its weights from the file, and
// any other.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "checkpoint/safetensors.h"
#include "model/transformer.h"
#include "support/configs.h"
#include "support/source_dir.h"
#include "support/test_device.h"

namespace moe::test {

inline std::string golden_path(const std::string& name) {
  return (source_dir() / "tests/golden" / name).string();
}

inline model::ModelConfig golden_config(const nlohmann::json& json, int64_t T) {
  model::ModelConfig config;
  config.d_model = json.at("d_model");
  config.n_layers = json.at("n_layers");
  config.n_heads = json.at("n_heads");
  config.n_kv_heads = json.at("n_kv_heads");
  config.head_dim = json.value("head_dim", 0);
  config.attention_gate = json.value("attention_gate", true);
  config.qk_norm = value_named<QkNorm>(json.value("qk_norm", "head")).value();
  config.attention_bias = json.value("attention_bias", false);
  for (const int64_t window : json.value("attention_window", std::vector<int64_t>()))
    config.attention_window.push_back(std::to_string(window));
  config.tie_embeddings = json.value("tie_embeddings", true);
  config.num_experts = json.at("num_experts");
  config.top_k = json.at("top_k");
  config.expert_intermediate_dim = json.at("expert_intermediate_dim");
  config.shared_expert_dim = json.value("shared_expert_dim", 0);
  config.shared_expert_gate = json.value("shared_expert_gate", true);
  config.first_dense_layers = json.value("first_dense_layers", 0);
  config.dense_intermediate_dim = json.value("dense_intermediate_dim", 0);
  config.capacity_factor = json.at("capacity_factor");
  config.aux_loss_weight = json.at("aux_loss_weight");
  config.z_loss_weight = json.at("z_loss_weight");
  config.renormalize_top_k = json.at("renormalize_top_k");
  config.router_score = value_named<RouterScore>(json.value("router_score", "softmax")).value();
  config.router_scale = json.value("router_scale", 1.0);
  config.router_bias_rate = json.value("router_bias_rate", 0.0);
  config.sequence_loss_weight = json.value("sequence_loss_weight", 0.0);
  config.vocab_size = json.at("vocab_size");
  config.rope_theta = json.at("rope_theta");
  config.norm_eps = json.at("norm_eps");
  config.embedding_multiplier = json.value("embedding_multiplier", 1.0);
  config.residual_multiplier = json.value("residual_multiplier", 1.0);
  config.attention_multiplier = json.value("attention_multiplier", 0.0);
  config.logits_scaling = json.value("logits_scaling", 1.0);
  config.max_seq_len = T;
  return config;
}

class TinyModel {
 public:
  // head_rows is not a divisor of the tokens, so that the last chunk of logits is short.
  TinyModel(const model::ModelConfig& settings, int64_t B, int64_t vocabulary, DType type = DType::f32,
            int threads = 2, model::Recompute recompute = model::Recompute::none)
      : TinyModel(settings, B, vocabulary, model::WeightTypes{type}, threads, recompute) {}
  TinyModel(const model::ModelConfig& settings, int64_t B, int64_t vocabulary,
            const model::WeightTypes& types, int threads = 2,
            model::Recompute recompute = model::Recompute::none)
      : backend(backend::make_backend(value_named<DeviceKind>(test_device()).value(), threads)),
        config(settings) {
    const model::MicroBatch shape{.B = B,
                                  .T = config.max_seq_len,
                                  .type = types.compute,
                                  .vocabulary = vocabulary,
                                  .head_rows = 7,
                                  .recompute = recompute};
    Arena plan;
    {
      model::Weights counted(config, types, model::Mode::training, plan);
      const model::Transformer model(config, shape, counted, plan);
    }
    arena = std::make_unique<Arena>(*backend.device, plan.used());
    weights = std::make_unique<model::Weights>(config, types, model::Mode::training, *arena);
    transformer = std::make_unique<model::Transformer>(config, shape, *weights, *arena);
    transformer->prepare(*backend.device);
  }

  void load(const checkpoint::Safetensors& file) {
    for (const Parameter& parameter : weights->list())
      file.load("weight." + parameter.name, parameter.weight, *backend.device);
    for (const model::Buffer& buffer : weights->buffers())
      file.load("buffer." + buffer.name, buffer.value, *backend.device);
    model::cast_weights(*weights, *backend.ops);
  }

  // All gradients in one vector.
  std::vector<float> gradients() {
    std::vector<float> all;
    for (const Parameter& parameter : weights->list()) {
      if (parameter.gradient.dtype() == DType::bf16)
        for (const bf16 value : fetch<bf16>(parameter.gradient)) all.push_back(static_cast<float>(value));
      else
        for (const float value : fetch<float>(parameter.gradient)) all.push_back(value);
    }
    return all;
  }

  template <class T>
  std::vector<T> fetch(const Tensor& tensor) {
    std::vector<T> values(static_cast<size_t>(tensor.numel()));
    backend.device->to_host(values.data(), tensor);
    return values;
  }

  backend::Backend backend;
  model::ModelConfig config;
  std::unique_ptr<Arena> arena;
  std::unique_ptr<model::Weights> weights;
  std::unique_ptr<model::Transformer> transformer;
};

}  // namespace moe::test
