// SPDX-License-Identifier: MIT
#include "model/transformer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include "model/schedule.h"
#include "tensor/device.h"

namespace moe::model {

Capacity training_capacity(const ModelConfig& config, const MicroBatch& shape) {
  if (!shape.capacity_by_row) return {expert_capacity(config, shape.N())};
  return {expert_capacity(config, shape.T), shape.T};
}

StepSums::StepSums(const ModelConfig& config, bool balance_of_step, Arena& arena) {
  const int64_t L = config.moe_layers(), E = config.num_experts;
  loss_1 = arena.allocate("small", DType::f64, {1});
  if (L == 0) return;
  router_loss_L2 = arena.allocate("small", DType::f32, {L, 2});
  count_LE = arena.allocate("small", DType::i32, {L, E});
  offset_LE1 = arena.allocate("small", DType::i32, {L, E + 1});
  if (config.sequence_loss_weight > 0) sequence_loss_L = arena.allocate("small", DType::f32, {L});
  if (!balance_of_step) return;
  first_LE = arena.allocate("small", DType::i32, {L, E});
  balance_LE1 = arena.allocate("small", DType::f64, {L, E + 1});
}

std::vector<Tensor> StepSums::all() const {
  std::vector<Tensor> sums;
  for (const Tensor& sum :
       {loss_1, router_loss_L2, count_LE, offset_LE1, sequence_loss_L, first_LE, balance_LE1})
    if (!sum.empty()) sums.push_back(sum);
  return sums;
}

namespace {

// Parts whose weights have FP8 copies use them.
ModelSpec spec_of(const ModelConfig& config, const Weights& weights) {
  ModelSpec spec = config.spec();
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    spec.layers[i].attention.fp8 = !weights.layers[i].attention.qkvg.fp8.empty();
    spec.layers[i].moe.fp8 = !weights.layers[i].moe.experts.gate_up.fp8.empty();
  }
  spec.head.fp8 = !weights.head().matrix.fp8.empty();
  return spec;
}

// Rows of FP8 begin where their scales do, which a GPU's library wants at multiples of 16 bytes.
int64_t head_rows(const HeadSpec& spec, const MicroBatch& shape) {
  const int64_t rows = spec.fp8 ? (shape.head_rows + 3) / 4 * 4 : shape.head_rows;
  return std::min(rows, shape.N());
}

}  // namespace

Workspace::Workspace(const ModelConfig& config, const ModelSpec& spec, const MicroBatch& shape,
                     const TokenDispatcher& dispatcher, Arena& arena)
    : block(spec.all_parts(), shape.type, shape.N(), Mode::training, dispatcher, arena),
      head(spec.head, shape.type, shape.N(), head_rows(spec.head, shape), arena),
      sums(config, shape.balance_of_step, arena),
      position_N(arena.allocate("small", DType::i32, {shape.N()})),
      rope_Td(arena.allocate("small", DType::f32, {shape.T, spec.rope.head_dim})),
      dense(spec.all_parts().has_ffn() ? DensePlan(shape.N(), arena) : DensePlan()),
      loss_scale_1(arena.allocate("small", DType::f32, {1})),
      share_LE(shape.balance_of_step && config.moe_layers() > 0
                   ? arena.allocate("small", DType::f32, {config.moe_layers(), config.num_experts})
                   : Tensor()),
      census(spec.head.fp8 ? Fp8Census(std::ssize(spec.layers), arena) : Fp8Census()) {
  if (!spec.head.fp8) return;
  block.attention.dpacked8_NP.census = census.of(kNoLayer, Fp8Site::projection_gradient);
  head.features8_ND.census = census.of(kNoLayer, Fp8Site::features);
  head.dlogits8_CV.census = census.of(kNoLayer, Fp8Site::logits_gradient);
}

Transformer::Transformer(const ModelConfig& config, const MicroBatch& shape, Weights& weights, Arena& arena,
                         AllToAll* all_to_all)
    : Transformer(config, shape, weights, arena, all_to_all, nullptr) {}

Transformer::Transformer(const Transformer& first, AllToAll& all_to_all, Arena& arena)
    : Transformer(first.config_, first.shape_, first.weights_, arena, &all_to_all, first.workspace_) {}

Transformer::Transformer(const ModelConfig& config, const MicroBatch& shape, Weights& weights, Arena& arena,
                         AllToAll* all_to_all, std::shared_ptr<const Workspace> workspace)
    : config_(config),
      spec_(spec_of(config, weights)),
      shape_(shape),
      weights_(weights),
      head_(spec_.head, shape.vocabulary, Mode::training, arena),
      dispatcher_(make_dispatcher(spec_.moe(), shape.type, shape.N(), shape.recompute, all_to_all,
                                  Mode::training, arena)),
      workspace_(workspace != nullptr
                     ? std::move(workspace)
                     : std::make_shared<const Workspace>(config, spec_, shape, *dispatcher_, arena)) {
  const int64_t N = shape.N();
  const auto ids = [&] { return arena.allocate("small", DType::i32, {N}); };
  tokens_ = {.input_N = ids(),
             .target_N = ids(),
             .doc_start_BT = {},
             .doc_start_N = ids(),
             .position_N = workspace_->position_N,
             .rope_Td = workspace_->rope_Td,
             .dense = workspace_->dense};
  tokens_.doc_start_BT = tokens_.doc_start_N.reshape({shape.B, shape.T});
  saved_.reserve(spec_.layers.size());  // those before are given to each
  for (const LayerSpec& layer : spec_.layers) {
    blocks_.emplace_back(layer, shape.recompute);
    const std::span<const BlockSaved> earlier(saved_);
    saved_.emplace_back(layer, shape.type, N, shape.recompute, Mode::training, earlier, *dispatcher_, arena);
  }
  last_ND_ = arena.allocate("activations: residual stream", shape.type, {N, config.d_model});
  d_ND_ = arena.allocate("activations: head", shape.type, {N, config.d_model});
  if (spec_.head.fp8) d8_ND_ = fp8_rows(N, config.d_model, arena);
  for (int64_t i = 0; i < layers() && spec_.head.fp8; ++i) {
    BlockSaved& block_saved = saved(i);
    const auto census = [&](Fp8Site site) { return workspace_->census.of(i, site); };
    block_saved.attention.norm8_ND.census = census(Fp8Site::attention_input);
    block_saved.attention.y8_NHd.census = census(Fp8Site::attention_output);
    if (block_saved.moe) block_saved.moe->norm8_ND.census = census(Fp8Site::expert_input);
  }
  router_scale_1_ = arena.allocate("small", DType::f32, {1});
}

void Transformer::prepare(Device& device) {
  device.to_device(workspace_->rope_Td, rope_table(shape_.T, spec_.rope).data());
  std::vector<int32_t> position(static_cast<size_t>(shape_.N()));
  for (size_t n = 0; n < position.size(); ++n)
    position[n] = static_cast<int32_t>(n % static_cast<size_t>(shape_.T));
  device.to_device(workspace_->position_N, position.data());
  workspace_->dense.upload(device);
}

void Transformer::upload(Device& device, const int32_t* input, const int32_t* target, const int32_t* first) {
  device.to_device(tokens_.input_N, input);
  device.to_device(tokens_.target_N, target);
  device.to_device(tokens_.doc_start_N, first);
}

void Transformer::set_gradient_scales(Device& device, float loss, float router) {
  device.to_device(workspace_->loss_scale_1, &loss);
  device.to_device(router_scale_1_, &router);
}

void Transformer::zero_sums(Ops& ops) {
  for (const Tensor& sum : sums().all()) ops.fill(sum, 0);
}

BlockContext Transformer::context(int64_t layer, Ops& ops) const {
  ScaledRows d8_ND = d8_ND_;
  if (spec_.head.fp8) d8_ND.census = workspace_->census.of(layer, Fp8Site::residual_gradient);
  return {tokens_, *dispatcher_, workspace_->block, ops, d8_ND};
}

void Transformer::embed(Ops& ops) {
  if (spec_.head.fp8) ops.fill(workspace_->census.all, 0);
  ops.embedding_forward(saved(0).x_ND, tokens_.input_N, weights_.embedding.compute, spec_.embedding_scale);
}

void Transformer::dispatch(int64_t layer, const Capacity& capacity, Ops& ops) {
  if (layer == 0) ops.rms_norm_forward(norm(0));  // those of the others came with combine()
  block(layer).dispatch(saved(layer), weights(layer), nullptr, capacity, context(layer, ops));
}

void Transformer::experts(int64_t layer, Ops& ops) {
  block(layer).experts(output_of(layer), saved(layer), weights(layer), context(layer, ops));
}

void Transformer::add_router(const RouterSaved& router, int64_t row, Ops& ops) {
  ops.add(sums().router_loss_L2.rows(row, row + 1), router.loss_2);
  ops.add(sums().count_LE.rows(row, row + 1), router.plan.count_E);
  ops.add(sums().offset_LE1.rows(row, row + 1), router.plan.offset_E1);
  if (!sums().sequence_loss_L.empty())
    ops.add(sums().sequence_loss_L.rows(row, row + 1), router.sequence_loss_1);
  if (!sums().first_LE.empty())
    ops.balance_sums({.first_E = sums().first_LE.rows(row, row + 1),
                      .sum_E1 = sums().balance_LE1.rows(row, row + 1),
                      .top1_count_E = router.plan.top1_count_E,
                      .P_E = router.P_E,
                      .loss_2 = router.loss_2});
}

void Transformer::combine(int64_t layer, Ops& ops, const BlockObserver& observer) {
  const BlockSaved& kept = saved(layer);
  const RouterSaved* const router = kept.moe ? &kept.moe->router : nullptr;
  const Tensor y_ND = output_of(layer);
  const bool last = layer + 1 == layers();
  const auto behind = last ? std::nullopt : std::optional(norm(layer + 1));
  block(layer).combine(y_ND, kept, last ? nullptr : &*behind, context(layer, ops));
  if (router != nullptr) add_router(*router, layer - spec_.dense_layers(), ops);
  if (observer) observer(layer, {y_ND, tokens_.doc_start_N, kept.attention, router});
}

void Transformer::zero_added_gradients(Ops& ops) {
  for (const Tensor& tensor : weights_.added_gradients()) ops.fill(tensor, 0);
}

void Transformer::head_backward(GradientMode gradients, Ops& ops) {
  head_.forward_backward(d_ND_, d8_ND_, sums().loss_1, last_ND_, tokens_.target_N, workspace_->loss_scale_1,
                         weights_.head(), gradients, workspace_->head, ops);
}

void Transformer::dispatch_gradients(int64_t layer, Ops& ops) {
  block(layer).dispatch_gradients(d_ND_, saved(layer), weights(layer), context(layer, ops));
}

void Transformer::experts_backward(int64_t layer, GradientMode gradients, Ops& ops) {
  block(layer).experts_backward(d_ND_, saved(layer), weights(layer), gradients, context(layer, ops));
}

void Transformer::combine_gradients(int64_t layer, GradientMode gradients, Ops& ops) {
  if (const int64_t row = layer - spec_.dense_layers(); row >= 0 && !shares().empty())
    ops.copy(saved(layer).moe->router.f_E, shares().rows(row, row + 1));
  block(layer).combine_gradients(d_ND_, saved(layer), weights(layer), router_scale_1_, gradients,
                                 context(layer, ops));
}

void Transformer::embedding_backward(Ops& ops) {
  ops.embedding_backward(weights_.embedding.gradient, tokens_.input_N, d_ND_, spec_.embedding_scale);
}

void Transformer::forward(Ops& ops, const BlockObserver& observer) {
  run_forward(std::array{this}, {}, ops, observer, {});  // perhaps the first pass after an update
  head_.forward(sums().loss_1, last_ND_, tokens_.target_N, weights_.head(), workspace_->head, ops);
}

void Transformer::forward_backward(GradientMode gradients, Ops& ops, const LayerHooks& hooks) {
  forward_training(ops, hooks);
  backward(gradients, ops, hooks);
}

void Transformer::forward_training(Ops& ops, const LayerHooks& hooks) {
  run_forward(std::array{this}, capacity(), ops, {}, hooks);
}

void Transformer::backward(GradientMode gradients, Ops& ops, const LayerHooks& hooks) {
  run_backward(std::array{this}, gradients, ops, hooks);
}

Tensor Transformer::logits(int64_t begin, int64_t rows, Ops& ops) {
  const Tensor logits = workspace_->head.logits_CV.rows(0, rows);
  head_.logits(logits, features().rows(begin, begin + rows), weights_.head(), ops);
  return logits;
}

}  // namespace moe::model
