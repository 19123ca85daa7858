// SPDX-License-Identifier: MIT
// Small models of every kind, and one step of each.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <vector>

#include "base/random.h"
#include "support/configs.h"
#include "support/tiny_model.h"

namespace moe::model {

inline constexpr int64_t kVocabulary = 90;

struct Ids {
  explicit Ids(int64_t N) {
    const Random random(5, "ids");
    for (int64_t n = 0; n < N; ++n) {
      input.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(n), kVocabulary)));
      target.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(n + N), kVocabulary)));
    }
    first.assign(static_cast<size_t>(N), 0);
  }
  std::vector<int32_t> input, target, first;
};

// A dense layer, then one with a shared expert.
inline ModelConfig dense_config() {
  ModelConfig config = test::tiny_config();
  config.first_dense_layers = 1;
  config.dense_intermediate_dim = 28;
  config.shared_expert_dim = 12;
  return config;
}

// The tiny model, and others of each kind of attention, head, router and dense part.
inline std::vector<ModelConfig> variants() {
  ModelConfig ungated = test::tiny_config(), windowed = test::tiny_config();
  ungated.head_dim = 10;
  ungated.attention_gate = false;
  ungated.attention_window = {"5", "0"};
  ungated.tie_embeddings = false;
  windowed.attention_window = {"7"};
  ModelConfig biased = test::tiny_config();
  biased.router_score = RouterScore::sigmoid;
  biased.router_scale = 2.5;
  biased.router_bias_rate = 0.001;
  biased.sequence_loss_weight = 0.1;
  ModelConfig shared = test::tiny_config();
  shared.shared_expert_dim = 20;
  shared.shared_expert_gate = false;
  ModelConfig projection = test::tiny_config(), unnormed = test::tiny_config();
  projection.qk_norm = QkNorm::projection;
  unnormed.qk_norm = QkNorm::none;
  unnormed.attention_gate = false;
  ModelConfig with_bias = test::tiny_config(), scaled = dense_config();
  with_bias.attention_bias = true;
  with_bias.router_bias = true;  // that stays as it is
  with_bias.partial_rotary_factor = 0.5;
  scaled.embedding_multiplier = 3, scaled.residual_multiplier = 0.4;
  scaled.attention_multiplier = 0.5, scaled.logits_scaling = 1.7;
  ModelConfig without_experts = dense_config();
  without_experts.first_dense_layers = without_experts.n_layers;
  return {test::tiny_config(), ungated,  windowed,  biased, shared,         dense_config(),
          projection,          unnormed, with_bias, scaled, without_experts};
}

// Initial weights, and biases of routers as training leaves them.
inline void initialise(test::TinyModel& model) {
  model.weights->initialise(1, *model.backend.ops);
  const std::vector<float> bias{-0.3F, 0.1F, 0.2F, 0};
  for (const Buffer& buffer : model.weights->buffers()) {
    ASSERT_EQ(buffer.value.numel(), std::ssize(bias));
    model.backend.device->to_device(buffer.value, bias.data());
  }
}

// A model with initial weights and these tokens, ready for a micro-step.
inline void prepare(test::TinyModel& model, const Ids& ids) {
  initialise(model);
  cast_weights(*model.weights, *model.backend.ops);
  model.transformer->upload(*model.backend.device, ids.input.data(), ids.target.data(), ids.first.data());
  model.transformer->set_gradient_scales(*model.backend.device, 1.0F / static_cast<float>(ids.input.size()),
                                         1.0F);
}

// One micro-step; the gradients of all weights in one vector.
inline std::vector<float> gradients(test::TinyModel& model, const Ids& ids) {
  prepare(model, ids);
  model.transformer->forward_backward(GradientMode::overwrite, *model.backend.ops);
  return model.gradients();
}

}  // namespace moe::model
