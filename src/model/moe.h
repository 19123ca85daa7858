// SPDX-License-Identifier: MIT
// The expert half of a block:  y = x + sum_k weight_k * expert_k(norm(x)),
//   expert(x) = ((x W_gate) * silu(x W_up)) W_down.
// router -> plan -> up (which gathers) -> down -> combine; forward and backward side by side. Where experts are dealt to
// ranks, what is between plan and combine is in model/dealt_experts.h.
#pragma once

#include <optional>

#include "model/config.h"
#include "model/dealt_experts.h"
#include "model/recompute.h"
#include "model/weights.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe {

// Rows an expert may take from N tokens (Tutel: K * floor(f * ceil(N / E))); Capacity::kNoLimit when f is 0.
int64_t expert_capacity(const ModelConfig& config, int64_t N);

struct MoeSaved {
  // What `recompute` does not keep lies in the first layer's memory; no first: this is the first.
  // exchange: null where this rank has all experts.
  MoeSaved(const ModelConfig& config, DType type, int64_t N, Recompute recompute, const MoeSaved* first,
           const ExpertExchange* exchange, Arena& arena);
  // The same memory for fewer tokens.
  MoeSaved first(int64_t N) const;
  Tensor norm_ND, rstd_N, probability_NE, lse_N, expert_NK, weight_NK, mean_E, share_E, loss_2;
  Tensor h_R2F;      // none where experts are dealt
  DealtSaved dealt;  // there
  RoutePlan plan;
};

// Losses enter the gradient as scale_1 * (aux_loss_weight * balance + z_loss_weight * z).
class MoeLayer {
 public:
  // Takes the memory that all layers share, for at most N tokens.
  MoeLayer(const ModelConfig& config, DType type, int64_t N, Recompute recompute, ExpertExchange* exchange,
           Arena& arena);
  // For another micro-batch, computed while rows of the first one travel: other memory for what travels.
  MoeLayer(const MoeLayer& first, ExpertExchange& exchange, Arena& arena);

  // y_ND = x_ND + ...; first_N as Tokens has it. Evaluation has no capacity to keep to.
  void forward(Tensor y_ND, MoeSaved& saved, const Tensor& x_ND, const Weights::Layer& weights,
               const Tensor& first_N, const Capacity& capacity, Ops& ops) const;
  // d_ND: in, d(loss)/dy; out, d(loss)/dx. saved.h_R2F is overwritten.
  void backward(Tensor d_ND, MoeSaved& saved, const Tensor& x_ND, const Weights::Layer& weights,
                const Tensor& first_N, const Tensor& scale_1, Gradients gradients, Ops& ops) const;

  // The same in three parts. Between them rows travel where experts are dealt, and other work may be queued.
  void route(MoeSaved& saved, const Tensor& x_ND, const Weights::Layer& weights, const Tensor& first_N,
             const Capacity& capacity, Ops& ops) const;
  void experts(MoeSaved& saved, const Weights::Layer& weights, Ops& ops) const;
  void combine(Tensor y_ND, const MoeSaved& saved, const Tensor& x_ND, Ops& ops) const;
  void backward_send(MoeSaved& saved, const Tensor& d_ND, const Tensor& x_ND, const Weights::Layer& weights,
                     Ops& ops) const;
  void backward_experts(MoeSaved& saved, const Tensor& d_ND, const Weights::Layer& weights,
                        Gradients gradients, Ops& ops) const;
  void backward_combine(Tensor d_ND, const MoeSaved& saved, const Tensor& x_ND, const Weights::Layer& weights,
                        const Tensor& first_N, const Tensor& scale_1, Ops& ops) const;

 private:
  Tensor rows_of(const MoeSaved& saved) const { return rows_RD_.rows(0, saved.plan.slot_R.dim(0)); }

  float eps_, balance_weight_, z_weight_;
  bool renormalise_;
  Recompute recompute_;
  Tensor logits_NE_, dweight_NK_, rows_RD_, a_RF_, dnorm_ND_;
  std::optional<DealtExperts> dealt_;
};

}  // namespace moe
