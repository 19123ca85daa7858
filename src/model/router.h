// SPDX-License-Identifier: MIT
// The router of a block: which K of E experts each token goes to, and with what weight. Softmax, then top-k
// (Shazeer et al. 2017), a capacity for each expert (GShard, arXiv 2006.16668), the balance loss of Switch
// (arXiv 2101.03961) and the z-loss of ST-MoE (arXiv 2202.08906). DeepSeek-V3's router (arXiv 2412.19437) has
// sigmoids, a choice with biases and a balance loss of each row. The formulas are in ops/router.h and
// ops/balance.h.
#pragma once

#include "model/config.h"
#include "model/modes.h"
#include "model/parameter_list.h"
#include "model/spec.h"
#include "model/tokens.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe::model {

// Rows an expert may take from N tokens (Tutel: K * floor(f * ceil(N / E))); Capacity::kNoLimit when f is 0.
int64_t expert_capacity(const ModelConfig& config, int64_t N);

// What forward keeps for backward and for whoever watches; one for each layer.
struct RouterSaved {
  // Inference has no P, f and losses.
  RouterSaved(const MoeSpec& spec, int64_t N, Mode mode, Arena& arena);
  // The same memory for fewer tokens.
  RouterSaved first(int64_t N) const;
  Tensor probability_NE, lse_N, expert_NK, weight_NK;
  Tensor P_E, f_E, loss_2;
  Tensor logits_NE;        // of sigmoids, else none
  Tensor sequence_loss_1;  // none without MoeSpec::sequence_weight
  RoutePlan plan;
};

// Scratch memory, for at most N tokens. Inference has no dweight.
struct RouterWorkspace {
  RouterWorkspace(const MoeSpec& spec, int64_t N, Mode mode, Arena& arena);
  Tensor logits_NE, dweight_NK;
};

// Losses enter the gradient as
// scale_1 * (balance_weight * balance + z_weight * z + sequence_weight * sequence).
class Router {
 public:
  explicit Router(const MoeSpec& spec);

  // x_ND: after the norm. bias_E: may be empty. Fills `saved`, without the losses. doc_start_N as Tokens has
  // it.
  void forward(RouterSaved& saved, const Tensor& x_ND, const Parameter& weight_ED, const Tensor& bias_E,
               const Tensor& doc_start_N, const Capacity& capacity, const RouterWorkspace& scratch,
               Ops& ops) const;
  // The experts of tokens whose logits are known. forward() has it; generation needs no plan.
  void choose(RouterSaved& saved, const Tensor& logits_NE, const Tensor& bias_E, const Tensor& doc_start_N,
              Ops& ops) const;
  // Memory for the logits of N tokens.
  static Tensor logits(const RouterSaved& saved, const RouterWorkspace& scratch, int64_t N);
  // saved.loss_2, P_E and f_E, and sequence_loss_1 of tokens in rows, where there is memory for them. Apart,
  // so that tokens are on their way before it.
  void losses(RouterSaved& saved, const Tokens& tokens, Ops& ops) const;
  // dx_ND = d(loss)/dx, or += where `add`. scratch.dweight_NK = d(loss)/d(weight), for backward.
  void backward(Tensor dx_ND, bool add, const RouterSaved& saved, const Tensor& x_ND,
                const Parameter& weight_ED, const Tokens& tokens, const Tensor& scale_1,
                const RouterWorkspace& scratch, Ops& ops) const;

 private:
  Route choice(const RouterSaved& saved, const Tensor& logits_NE, const Tensor& bias_E,
               const Tensor& doc_start_N) const;

  MoeSpec spec_;
};

}  // namespace moe::model
