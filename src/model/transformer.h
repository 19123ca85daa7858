// SPDX-License-Identifier: MIT
// The whole model on one micro-batch: embedding, blocks, head and loss; forward and backward. Single-device
// and precision-free: nothing here knows what hardware the ops run on. docs/model.md has the equations.
// Letters as in ops/ops.h; L layers.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "model/block.h"
#include "model/config.h"
#include "model/fp8.h"
#include "model/head.h"
#include "model/weights.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe::model {

// Rows of B sequences of T tokens, and how much of the logits exists at once.
struct MicroBatch {
  int64_t B = 0, T = 0;
  DType type = DType::f32;       // activations
  int64_t vocabulary = 0;        // ids that exist; the columns of the embedding past them are padding
  int64_t head_rows = 512;       // logits of this many tokens at a time
  bool capacity_by_row = false;  // an expert's capacity is that of each sequence, not of all
  bool balance_of_step = false;  // the balance loss is that of a whole step
  Recompute recompute = Recompute::none;
  int64_t N() const { return B * T; }
};

// What an expert may take of a micro-batch in training.
Capacity training_capacity(const ModelConfig& config, const MicroBatch& shape);

// What a step adds up over its micro-batches; read by the host once a step.
struct StepSums {
  StepSums() = default;
  // L here: layers with a router, ModelConfig::moe_layers().
  StepSums(const ModelConfig& config, bool balance_of_step, Arena& arena);
  Tensor loss_1;          // f64, sum of the cross-entropy over targets
  Tensor router_loss_L2;  // f32, sums over micro-batches of (balance, z)
  Tensor count_LE;        // i32, assignments asked for
  Tensor offset_LE1;      // i32, sums of the plans' offsets: differences are rows kept
  // With a sequence loss: f32, sums over micro-batches.
  Tensor sequence_loss_L;
  // With MicroBatch::balance_of_step, sums over tokens: i32, first choices; f64, probabilities, and in the
  // last column squares of the logits' log sum exp.
  Tensor first_LE, balance_LE1;
  std::vector<Tensor> all() const;
};

// The activations of one block after its forward pass, for observers (train/probe.h). With recomputation the
// next block overwrites some of them.
struct BlockView {
  const Tensor& y_ND;  // the residual stream behind the block
  const Tensor& doc_start_N;
  const AttentionSaved& attention;
  const RouterSaved* router;  // null in a dense layer
};
using BlockObserver = std::function<void(int64_t layer, const BlockView& block)>;

// Called between the operations of a training pass, so that communication can overlap it (train/replicas.h).
// kNoLayer: the weights that belong to no layer.
struct LayerHooks {
  std::function<void(int64_t layer)> pre_forward;    // before its weights are read; kNoLayer comes first
  std::function<void(int64_t layer)> post_backward;  // its gradients are complete; kNoLayer comes last
  bool new_weights = true;  // they changed since the last pass: their FP8 copies are made again
};

// What all micro-batches in flight share: scratch memory, sums and constants.
struct Workspace {
  Workspace(const ModelConfig& config, const ModelSpec& spec, const MicroBatch& shape,
            const TokenDispatcher& dispatcher, Arena& arena);
  BlockWorkspace block;
  HeadWorkspace head;
  StepSums sums;
  Tensor position_N, rope_Td;  // as Tokens has them
  DensePlan dense;
  Tensor loss_scale_1;
  Tensor share_LE;   // with MicroBatch::balance_of_step; L as in StepSums
  Fp8Census census;  // in FP8 training
};

class Transformer {
 public:
  // all_to_all: with expert parallelism; all ranks of the group then run the model together.
  Transformer(const ModelConfig& config, const MicroBatch& shape, Weights& weights, Arena& arena,
              AllToAll* all_to_all = nullptr);
  // For a second micro-batch in flight, with expert parallelism: it has its own tokens, activations and
  // communication buffers, and shares weights and workspace with the first one.
  Transformer(const Transformer& first, AllToAll& all_to_all, Arena& arena);

  // Once before the first batch: uploads the rotation table and positions.
  void prepare(Device& device);
  // Host arrays of N ids; target -1: none; first: start of the token's document in its row, -1: padding.
  void upload(Device& device, const int32_t* input, const int32_t* target, const int32_t* first);
  // loss: d(objective)/d(sum of cross-entropies), i.e. 1 / targets of the whole step. router: 1 /
  // micro-batches. That of the router is this object's own, where two micro-batches are in flight.
  void set_gradient_scales(Device& device, float loss, float router);

  // One micro-step. Sums accumulate; gradients are written (what was there does not count) or added to.
  void forward_backward(GradientMode gradients, Ops& ops, const LayerHooks& hooks = {});
  // The same in two halves. With MicroBatch::balance_of_step, backward takes the shares of first choices that
  // the balance loss pushes against from shares(), f32 [L, E], which are the caller's to fill; else from the
  // micro-batch.
  void forward_training(Ops& ops, const LayerHooks& hooks = {});
  void backward(GradientMode gradients, Ops& ops, const LayerHooks& hooks = {});
  const Tensor& shares() const { return workspace_->share_LE; }
  // Adds to the sums only; never drops a token. observer: called after each block.
  void forward(Ops& ops, const BlockObserver& observer = {});
  void zero_sums(Ops& ops);

  const StepSums& sums() const { return workspace_->sums; }
  // In FP8 training, of the last pass; else nothing.
  const Fp8Census& fp8_census() const { return workspace_->census; }
  // The final norm's output [N, D] of the last forward.
  const Tensor& features() const { return workspace_->head.features_ND; }
  // The cross-entropy [N] of each target of the last forward; 0 where there is none.
  const Tensor& losses() const { return workspace_->head.loss_N; }
  // Logits [rows, V] of tokens [begin, begin + rows) of the last forward, rows <= head_rows.
  Tensor logits(int64_t begin, int64_t rows, Ops& ops);

  // The phases of a pass, for model/schedule.h, which puts them in order.
  void quantise_weights(int64_t layer, Ops& ops) { weights_.quantise(layer, ops); }
  int64_t layers() const { return std::ssize(spec_.layers); }
  Capacity capacity() const { return training_capacity(config_, shape_); }
  void embed(Ops& ops);
  void dispatch(int64_t layer, const Capacity& capacity, Ops& ops);
  void experts(int64_t layer, Ops& ops);
  void combine(int64_t layer, Ops& ops, const BlockObserver& observer);
  void zero_added_gradients(Ops& ops);
  void head_backward(GradientMode gradients, Ops& ops);
  void dispatch_gradients(int64_t layer, Ops& ops);
  void experts_backward(int64_t layer, GradientMode gradients, Ops& ops);
  void combine_gradients(int64_t layer, GradientMode gradients, Ops& ops);
  void embedding_backward(Ops& ops);

 private:
  // workspace: null to make one.
  Transformer(const ModelConfig& config, const MicroBatch& shape, Weights& weights, Arena& arena,
              AllToAll* all_to_all, std::shared_ptr<const Workspace> workspace);

  const Block& block(int64_t layer) const { return blocks_[static_cast<size_t>(layer)]; }
  BlockSaved& saved(int64_t layer) { return saved_[static_cast<size_t>(layer)]; }
  const BlockSaved& saved(int64_t layer) const { return saved_[static_cast<size_t>(layer)]; }
  const LayerWeights& weights(int64_t layer) const { return weights_.layers[static_cast<size_t>(layer)]; }
  RmsNormForward norm(int64_t layer) const { return block(layer).norm(saved(layer), weights(layer)); }
  Tensor output_of(int64_t layer) const { return layer + 1 < layers() ? saved(layer + 1).x_ND : last_ND_; }
  // To the sums; row: which one of the layers that have a router.
  void add_router(const RouterSaved& router, int64_t row, Ops& ops);
  BlockContext context(int64_t layer, Ops& ops) const;

  ModelConfig config_;
  ModelSpec spec_;
  MicroBatch shape_;
  Weights& weights_;
  std::vector<Block> blocks_;
  Head head_;
  std::unique_ptr<TokenDispatcher> dispatcher_;
  std::shared_ptr<const Workspace> workspace_;
  Tokens tokens_;
  std::vector<BlockSaved> saved_;
  Tensor last_ND_, d_ND_, router_scale_1_;
  ScaledRows d8_ND_;  // of d_ND_
};

}  // namespace moe::model
