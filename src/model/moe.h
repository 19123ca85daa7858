// SPDX-License-Identifier: MIT
// The expert half of a block:  y = x + sum_k weight_k * expert_k(norm(x)),
//   expert(x) = ((x W_gate) * silu(x W_up)) W_down.
// router -> plan -> up (which gathers) -> down -> combine; forward and backward side by side. With expert
// parallelism, model/expert_parallel.h has what is between plan and combine.
#pragma once

#include <optional>

#include "model/config.h"
#include "model/expert_parallel.h"
#include "model/recompute.h"
#include "model/weights.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe {

// Rows an expert may take from N tokens (Tutel: K * floor(f * ceil(N / E))); Capacity::kNoLimit when f is 0.
int64_t expert_capacity(const ModelConfig& config, int64_t N);

struct MoeSaved {
  // What `recompute` does not keep lies in the first layer's memory; no first: this is the first.
  // dispatcher: null where this rank has all experts.
  MoeSaved(const ModelConfig& config, DType type, int64_t N, Recompute recompute, const MoeSaved* first,
           const TokenDispatcher* dispatcher, Arena& arena);
  // The same memory for fewer tokens.
  MoeSaved first(int64_t N) const;
  Tensor norm_ND, rstd_N, probability_NE, lse_N, expert_NK, weight_NK, P_E, f_E, loss_2;
  Tensor h_R2F;                         // none with expert parallelism
  ExpertParallelSaved expert_parallel;  // with it
  RoutePlan plan;
};

// Losses enter the gradient as scale_1 * (aux_loss_weight * balance + z_loss_weight * z).
class MoeLayer {
 public:
  // Takes the memory that all layers share, for at most N tokens.
  MoeLayer(const ModelConfig& config, DType type, int64_t N, Recompute recompute, TokenDispatcher* dispatcher,
           Arena& arena);
  // For a second micro-batch in flight: it has its own communication buffers.
  MoeLayer(const MoeLayer& first, TokenDispatcher& dispatcher, Arena& arena);

  // y_ND = x_ND + ...; doc_start_N as Tokens has it. Evaluation has no capacity to keep to.
  void forward(Tensor y_ND, MoeSaved& saved, const Tensor& x_ND, const Weights::Layer& weights,
               const Tensor& doc_start_N, const Capacity& capacity, Ops& ops) const;
  // d_ND: in, d(loss)/dy; out, d(loss)/dx. saved.h_R2F is overwritten.
  void backward(Tensor d_ND, MoeSaved& saved, const Tensor& x_ND, const Weights::Layer& weights,
                const Tensor& doc_start_N, const Tensor& scale_1, GradientMode gradients, Ops& ops) const;

  // The same in three phases. With expert parallelism, work queued between them overlaps the communication.
  void route(MoeSaved& saved, const Tensor& x_ND, const Weights::Layer& weights, const Tensor& doc_start_N,
             const Capacity& capacity, Ops& ops) const;
  void experts(MoeSaved& saved, const Weights::Layer& weights, Ops& ops) const;
  void combine(Tensor y_ND, const MoeSaved& saved, const Tensor& x_ND, Ops& ops) const;
  void backward_send(MoeSaved& saved, const Tensor& d_ND, const Tensor& x_ND, const Weights::Layer& weights,
                     Ops& ops) const;
  void backward_experts(MoeSaved& saved, const Tensor& d_ND, const Weights::Layer& weights,
                        GradientMode gradients, Ops& ops) const;
  void backward_combine(Tensor d_ND, const MoeSaved& saved, const Tensor& x_ND, const Weights::Layer& weights,
                        const Tensor& doc_start_N, const Tensor& scale_1, Ops& ops) const;

 private:
  Tensor rows_of(const MoeSaved& saved) const { return rows_RD_.rows(0, saved.plan.slot_R.dim(0)); }

  float eps_, balance_weight_, z_weight_;
  bool renormalise_;
  Recompute recompute_;
  Tensor logits_NE_, dweight_NK_, rows_RD_, a_RF_, dnorm_ND_;
  std::optional<ExpertParallelExperts> expert_parallel_;
};

}  // namespace moe
