// SPDX-License-Identifier: MIT
// The whole model on one micro-batch: embedding, blocks, head and loss; forward and backward. Single-device
// and precision-free: nothing here knows what hardware the ops run on. docs/model.md has the equations.
// Letters as in ops/ops.h; L layers.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "model/attention.h"
#include "model/config.h"
#include "model/moe.h"
#include "model/weights.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe {

// Rows of B sequences of T tokens, and how much of the logits exists at once.
struct MicroBatch {
  int64_t B = 0, T = 0;
  DType type = DType::f32;       // activations
  int64_t vocabulary = 0;        // ids that exist; the columns of the embedding past them are padding
  int64_t head_rows = 512;       // logits of this many tokens at a time
  bool capacity_by_row = false;  // an expert's capacity is that of each sequence, not of all
  Recompute recompute = Recompute::none;
  int64_t N() const { return B * T; }
};

// What an expert may take of a micro-batch in training.
Capacity training_capacity(const ModelConfig& config, const MicroBatch& shape);

// What a step adds up over its micro-batches; read by the host once a step.
struct StepSums {
  StepSums() = default;
  StepSums(const ModelConfig& config, Arena& arena);
  Tensor loss_1;          // f64, sum of the cross-entropy over targets
  Tensor router_loss_L2;  // f32, sums over micro-batches of (balance, z)
  Tensor count_LE;        // i32, assignments asked for
  Tensor offset_LE1;      // i32, sums of the plans' offsets: differences are rows kept
  std::array<Tensor, 4> all() const { return {loss_1, router_loss_L2, count_LE, offset_LE1}; }
};

// The activations of one block after its forward pass, for observers (train/probe.h). With recomputation the
// next block overwrites some of them.
struct BlockView {
  const Tensor& y_ND;  // the residual stream behind the block
  const Tensor& doc_start_N;
  const AttentionSaved& attention;
  const MoeSaved& moe;
};
using BlockObserver = std::function<void(int64_t layer, const BlockView& block)>;

// Called between the operations of a training pass, so that communication can overlap it (train/replicas.h).
// kNoLayer: the weights that belong to no layer.
struct LayerHooks {
  std::function<void(int64_t layer)> pre_forward;    // before its weights are read; kNoLayer comes first
  std::function<void(int64_t layer)> post_backward;  // its gradients are complete; kNoLayer comes last
};

class Transformer {
 public:
  // dispatcher: with expert parallelism; all ranks of the group then run the model together.
  Transformer(const ModelConfig& config, const MicroBatch& shape, Weights& weights, Arena& arena,
              TokenDispatcher* dispatcher = nullptr);
  // For a second micro-batch in flight, with expert parallelism. It has its own activations and communication
  // buffers. It shares weights, sums, scales and scratch with the first one, which must outlive it.
  Transformer(const Transformer& first, TokenDispatcher& dispatcher, Arena& arena);

  // Once before the first batch: uploads the rotation table and positions.
  void prepare(Device& device);
  // Host arrays of N ids; target -1: none; first: start of the token's document in its row, -1: padding.
  void upload(Device& device, const int32_t* input, const int32_t* target, const int32_t* first);
  // loss: d(objective)/d(sum of cross-entropies), i.e. 1 / targets of the whole step. router: 1 /
  // micro-batches.
  void set_gradient_scales(Device& device, float loss, float router);

  // One micro-step. Sums accumulate; gradients are written (what was there does not count) or added to.
  void forward_backward(GradientMode gradients, Ops& ops, const LayerHooks& hooks = {});
  // The same in two halves. In between, the shares of first choices that the balance loss pushes against
  // (routed(i).f_E) may be replaced by those of more tokens than this micro-batch has.
  void forward_training(Ops& ops, const LayerHooks& hooks = {});
  void backward(GradientMode gradients, Ops& ops, const LayerHooks& hooks = {});
  // Two micro-batches in flight, a and b, interleaved block by block: the all-to-all of one overlaps the
  // computation of the other. Only the additions to the embedding's gradient come in another order than with
  // a before b.
  static void forward_backward_interleaved(Transformer& a, Transformer& b, GradientMode gradients, Ops& ops,
                                           const LayerHooks& hooks = {});
  const MoeSaved& routed(int64_t layer) const { return blocks_[static_cast<size_t>(layer)].moe; }
  // Adds to the sums only; never drops a token. observer: called after each block.
  void forward(Ops& ops, const BlockObserver& observer = {});
  void zero_sums(Ops& ops);

  const StepSums& sums() const { return sums_; }
  // The final norm's output [N, D] of the last forward.
  const Tensor& features() const { return features_ND_; }
  // The cross-entropy [N] of each target of the last forward; 0 where there is none.
  const Tensor& losses() const { return loss_N_; }
  // Logits [rows, V] of tokens [begin, begin + rows) of the last forward, rows <= head_rows.
  Tensor logits(int64_t begin, int64_t rows, Ops& ops);

 private:
  struct Block {
    Tensor x_ND, middle_ND;  // the residual stream at the block's entry and between its halves
    AttentionSaved attention;
    MoeSaved moe;
  };

  std::vector<Block> make_blocks(TokenDispatcher* dispatcher, Arena& arena) const;
  Capacity capacity() const { return training_capacity(config_, shape_); }
  Tensor output_of(size_t layer) { return layer + 1 < blocks_.size() ? blocks_[layer + 1].x_ND : last_ND_; }

  // What a pass does, in the parts between which rows travel. One or two micro-batches (see in_turns above).
  using InFlight = std::span<Transformer* const>;
  static void run_blocks(InFlight all, const Capacity& capacity, Ops& ops, const BlockObserver& observer,
                         const LayerHooks& hooks);
  static void run_backward(InFlight all, GradientMode gradients, Ops& ops, const LayerHooks& hooks);
  void enter_block(size_t layer, const Capacity& capacity, Ops& ops);
  void leave_block(size_t layer, Ops& ops, const BlockObserver& observer);
  void backward_enter(size_t layer, Ops& ops);
  void backward_leave(size_t layer, GradientMode gradients, Ops& ops);
  void run_head(const std::optional<GradientMode>& gradients, Ops& ops);

  ModelConfig config_;
  MicroBatch shape_;
  Weights& weights_;
  Tokens tokens_;
  std::vector<Block> blocks_;
  Attention attention_;
  MoeLayer moe_;
  Tensor last_ND_, features_ND_, rstd_N_, logits_CV_, loss_N_, d_ND_, dfeatures_ND_;
  Tensor loss_scale_1_, router_scale_1_;
  StepSums sums_;
};

// The table of rotations: row t = [cos(t * theta^(-2i/d)) | sin(...)], i < d/2, computed in double. Host
// memory.
std::vector<float> rope_table(int64_t rows, int64_t head_dim, double theta);

}  // namespace moe
