// SPDX-License-Identifier: MIT
#include "model/transformer.h"

#include <algorithm>
#include <cmath>

#include "tensor/device.h"

namespace moe {
namespace {

void notify(const std::function<void(int64_t)>& who, int64_t layer) {
  if (who) who(layer);
}

}  // namespace

Capacity training_capacity(const ModelConfig& config, const MicroBatch& shape) {
  if (!shape.capacity_by_row) return {expert_capacity(config, shape.N())};
  return {expert_capacity(config, shape.T), shape.T};
}

std::vector<float> rope_table(int64_t rows, int64_t head_dim, double theta) {
  const int64_t half = head_dim / 2;
  std::vector<float> table(static_cast<size_t>(rows * head_dim));
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(t) *
                           std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
      table[static_cast<size_t>(t * head_dim + i)] = static_cast<float>(std::cos(angle));
      table[static_cast<size_t>(t * head_dim + half + i)] = static_cast<float>(std::sin(angle));
    }
  return table;
}

StepSums::StepSums(const ModelConfig& config, Arena& arena) {
  const int64_t L = config.n_layers, E = config.num_experts;
  loss_1 = arena.allocate("small", DType::f64, {1});
  router_loss_L2 = arena.allocate("small", DType::f32, {L, 2});
  count_LE = arena.allocate("small", DType::i32, {L, E});
  offset_LE1 = arena.allocate("small", DType::i32, {L, E + 1});
}

Transformer::Transformer(const ModelConfig& config, const MicroBatch& shape, Weights& weights, Arena& arena,
                         TokenDispatcher* dispatcher)
    : config_(config),
      shape_(shape),
      weights_(weights),
      attention_(config, shape.type, shape.N(), shape.recompute, arena),
      moe_(config, shape.type, shape.N(), shape.recompute, dispatcher, arena),
      sums_(config, arena) {
  const int64_t N = shape.N(), D = config.d_model, V = config.vocab_size;
  shape_.head_rows = std::min(shape.head_rows, N);
  const auto ids = [&] { return arena.allocate("small", DType::i32, {N}); };
  tokens_.input_N = ids();
  tokens_.target_N = ids();
  tokens_.doc_start_N = ids();
  tokens_.doc_start_BT = tokens_.doc_start_N.reshape({shape.B, shape.T});
  tokens_.position_N = ids();
  tokens_.rope_Td = arena.allocate("small", DType::f32, {shape.T, config.head_dim()});
  loss_scale_1_ = arena.allocate("small", DType::f32, {1});
  router_scale_1_ = arena.allocate("small", DType::f32, {1});

  blocks_ = make_blocks(dispatcher, arena);
  last_ND_ = arena.allocate("activations: residual stream", shape.type, {N, D});
  const auto head = [&](DType type, std::initializer_list<int64_t> dims) {
    return arena.allocate("activations: head", type, dims);
  };
  features_ND_ = head(shape.type, {N, D});
  rstd_N_ = head(DType::f32, {N});
  logits_CV_ = head(shape.type, {shape_.head_rows, V});
  loss_N_ = head(DType::f32, {N});
  d_ND_ = head(shape.type, {N, D});
  dfeatures_ND_ = head(shape.type, {N, D});
}

Transformer::Transformer(const Transformer& first, TokenDispatcher& dispatcher, Arena& arena)
    : Transformer(first) {
  for (Tensor* ids : {&tokens_.input_N, &tokens_.target_N, &tokens_.doc_start_N})
    *ids = arena.allocate("small", *ids);
  tokens_.doc_start_BT = tokens_.doc_start_N.reshape({shape_.B, shape_.T});
  moe_ = MoeLayer(first.moe_, dispatcher, arena);
  blocks_ = make_blocks(&dispatcher, arena);
  last_ND_ = arena.allocate("activations: residual stream", first.last_ND_);
  d_ND_ = arena.allocate("activations: head", first.d_ND_);
}

std::vector<Transformer::Block> Transformer::make_blocks(TokenDispatcher* dispatcher, Arena& arena) const {
  const int64_t N = shape_.N();
  const auto stream = [&] {
    return arena.allocate("activations: residual stream", shape_.type, {N, config_.d_model});
  };
  std::vector<Block> blocks;
  blocks.reserve(static_cast<size_t>(config_.n_layers));  // the first block's address is given to the others
  for (int64_t i = 0; i < config_.n_layers; ++i) {
    const Block* const first = blocks.empty() ? nullptr : &blocks.front();
    blocks.push_back({.x_ND = stream(),
                      .middle_ND = stream(),
                      .attention = AttentionSaved(config_, shape_.type, N, shape_.recompute,
                                                  first == nullptr ? nullptr : &first->attention, arena),
                      .moe = MoeSaved(config_, shape_.type, N, shape_.recompute,
                                      first == nullptr ? nullptr : &first->moe, dispatcher, arena)});
  }
  return blocks;
}

void Transformer::prepare(Device& device) {
  device.to_device(tokens_.rope_Td, rope_table(shape_.T, config_.head_dim(), config_.rope_theta).data());
  std::vector<int32_t> position(static_cast<size_t>(shape_.N()));
  for (size_t n = 0; n < position.size(); ++n)
    position[n] = static_cast<int32_t>(n % static_cast<size_t>(shape_.T));
  device.to_device(tokens_.position_N, position.data());
}

void Transformer::upload(Device& device, const int32_t* input, const int32_t* target, const int32_t* first) {
  device.to_device(tokens_.input_N, input);
  device.to_device(tokens_.target_N, target);
  device.to_device(tokens_.doc_start_N, first);
}

void Transformer::set_gradient_scales(Device& device, float loss, float router) {
  device.to_device(loss_scale_1_, &loss);
  device.to_device(router_scale_1_, &router);
}

void Transformer::zero_sums(Ops& ops) {
  for (const Tensor& sum : sums_.all()) ops.fill(sum, 0);
}

void Transformer::enter_block(size_t layer, const Capacity& capacity, Ops& ops) {
  Block& block = blocks_[layer];
  const Weights::Layer& weights = weights_.layers[layer];
  attention_.forward(block.middle_ND, block.attention, block.x_ND, weights, tokens_, ops);
  moe_.route(block.moe, block.middle_ND, weights, tokens_.doc_start_N, capacity, ops);
}

void Transformer::leave_block(size_t layer, Ops& ops, const BlockObserver& observer) {
  Block& block = blocks_[layer];
  const Tensor y_ND = output_of(layer);
  moe_.combine(y_ND, block.moe, block.middle_ND, ops);
  const auto row = static_cast<int64_t>(layer);
  ops.add(sums_.router_loss_L2.rows(row, row + 1), block.moe.loss_2);
  ops.add(sums_.count_LE.rows(row, row + 1), block.moe.plan.count_E);
  ops.add(sums_.offset_LE1.rows(row, row + 1), block.moe.plan.offset_E1);
  if (observer) observer(row, {y_ND, tokens_.doc_start_N, block.attention, block.moe});
}

// While rows of one micro-batch go to the experts, the other one's attention is computed or its experts work;
// while they go back, the other one's experts or its next attention.
void Transformer::run_blocks(InFlight all, const Capacity& capacity, Ops& ops, const BlockObserver& observer,
                             const LayerHooks& hooks) {
  notify(hooks.pre_forward, kNoLayer);
  for (Transformer* t : all)
    ops.embedding_forward(t->blocks_.front().x_ND, t->tokens_.input_N, t->weights_.embedding.compute);
  const size_t layers = all.front()->blocks_.size();
  for (size_t layer = 0; layer < layers; ++layer) {
    notify(hooks.pre_forward, static_cast<int64_t>(layer));
    for (Transformer* t : all) {
      if (layer > 0) t->leave_block(layer - 1, ops, observer);
      t->enter_block(layer, capacity, ops);
    }
    for (Transformer* t : all) t->moe_.experts(t->blocks_[layer].moe, t->weights_.layers[layer], ops);
  }
  for (Transformer* t : all) t->leave_block(layers - 1, ops, observer);
}

void Transformer::run_head(const std::optional<GradientMode>& gradients, Ops& ops) {
  const int64_t N = shape_.N();
  ops.rms_norm_forward(features_ND_, rstd_N_, last_ND_, weights_.final_norm.weight,
                       static_cast<float>(config_.norm_eps));
  for (int64_t begin = 0; begin < N; begin += shape_.head_rows) {
    const int64_t end = std::min(N, begin + shape_.head_rows);
    const Tensor features = features_ND_.rows(begin, end);
    Tensor logits = logits_CV_.rows(0, end - begin);
    ops.matmul(logits, features, weights_.embedding.compute, MatmulLayout::NT, false);
    ops.cross_entropy(loss_N_.rows(begin, end), logits, tokens_.target_N.rows(begin, end), shape_.vocabulary,
                      gradients ? loss_scale_1_ : Tensor());
    if (!gradients) continue;
    ops.matmul(dfeatures_ND_.rows(begin, end), logits, weights_.embedding.compute, MatmulLayout::NN, false);
    ops.matmul(weights_.embedding.gradient, logits, features, MatmulLayout::TN,
               begin > 0 || *gradients == GradientMode::accumulate);
  }
  ops.sum(sums_.loss_1, loss_N_);
}

void Transformer::backward_enter(size_t layer, Ops& ops) {
  Block& block = blocks_[layer];
  moe_.backward_send(block.moe, d_ND_, block.middle_ND, weights_.layers[layer], ops);
}

void Transformer::backward_leave(size_t layer, GradientMode gradients, Ops& ops) {
  Block& block = blocks_[layer];
  const Weights::Layer& weights = weights_.layers[layer];
  moe_.backward_combine(d_ND_, block.moe, block.middle_ND, weights, tokens_.doc_start_N, router_scale_1_,
                        ops);
  attention_.backward(d_ND_, block.attention, block.x_ND, weights, tokens_, gradients, ops);
}

void Transformer::run_backward(InFlight all, GradientMode gradients, Ops& ops, const LayerHooks& hooks) {
  Transformer& first = *all.front();
  const auto of = [&](const Transformer* t) { return t == &first ? gradients : GradientMode::accumulate; };
  if (gradients == GradientMode::overwrite)
    for (const Tensor& tensor : first.weights_.added_gradients()) ops.fill(tensor, 0);
  const size_t layers = first.blocks_.size();
  for (Transformer* t : all) {
    t->run_head(of(t), ops);  // the embedding's gradient is the head's first, then that of the tokens
    ops.rms_norm_backward(t->d_ND_, t->weights_.final_norm.gradient, t->dfeatures_ND_, {}, t->last_ND_,
                          t->weights_.final_norm.weight, t->rstd_N_);
    t->backward_enter(layers - 1, ops);
  }
  for (size_t layer = layers; layer-- > 0;) {
    for (Transformer* t : all)
      t->moe_.backward_experts(t->blocks_[layer].moe, t->d_ND_, t->weights_.layers[layer], of(t), ops);
    for (Transformer* t : all) {
      t->backward_leave(layer, of(t), ops);
      if (layer > 0) t->backward_enter(layer - 1, ops);
    }
    notify(hooks.post_backward, static_cast<int64_t>(layer));
  }
  for (Transformer* t : all)
    ops.embedding_backward(t->weights_.embedding.gradient, t->tokens_.input_N, t->d_ND_);
  notify(hooks.post_backward, kNoLayer);
}

void Transformer::forward(Ops& ops, const BlockObserver& observer) {
  run_blocks(std::array{this}, {}, ops, observer, {});
  run_head(std::nullopt, ops);
}

void Transformer::forward_backward(GradientMode gradients, Ops& ops, const LayerHooks& hooks) {
  forward_training(ops, hooks);
  backward(gradients, ops, hooks);
}

void Transformer::forward_training(Ops& ops, const LayerHooks& hooks) {
  run_blocks(std::array{this}, capacity(), ops, {}, hooks);
}

void Transformer::backward(GradientMode gradients, Ops& ops, const LayerHooks& hooks) {
  run_backward(std::array{this}, gradients, ops, hooks);
}

void Transformer::forward_backward_interleaved(Transformer& a, Transformer& b, GradientMode gradients,
                                               Ops& ops, const LayerHooks& hooks) {
  const std::array all{&a, &b};
  run_blocks(all, a.capacity(), ops, {}, hooks);
  run_backward(all, gradients, ops, hooks);
}

Tensor Transformer::logits(int64_t begin, int64_t rows, Ops& ops) {
  Tensor logits = logits_CV_.rows(0, rows);
  ops.matmul(logits, features_ND_.rows(begin, begin + rows), weights_.embedding.compute, MatmulLayout::NT,
             false);
  return logits;
}

}  // namespace moe
