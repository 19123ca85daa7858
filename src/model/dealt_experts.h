// SPDX-License-Identifier: MIT
// The experts of a block where they are dealt to several ranks. Rows leave by the plan of the tokens and come in from all
// ranks; those that came in are tokens with one expert each, of a plan of their own, to the same operations as ever; what
// comes out goes back to where it came from.
//   X: the rows that there is room for (nothing is allocated later). At most W N min(K, E / W) can come in: when all tokens of
//   all W ranks choose experts of this one. Less room is ExpertExchange's to decide; no row is ever lost.
#pragma once

#include "model/config.h"
#include "model/expert_exchange.h"
#include "model/recompute.h"
#include "model/weights.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe {

// Of one block, from forward to backward.
struct DealtSaved {
  DealtSaved() = default;  // experts are not dealt
  // What is computed or sent again in backward lies in the first block's memory; null: this is the first.
  DealtSaved(const ModelConfig& config, DType type, int64_t N, Recompute recompute, const DealtSaved* first,
             const ExpertExchange& exchange, Arena& arena);
  Tensor expert_X, received_XD, h_X2F;
  RoutePlan plan;
  RankRows counts;  // of the last forward

  // What the rows that came in have used.
  DealtSaved in_use() const;
};

class DealtExperts {
 public:
  DealtExperts(const ModelConfig& config, DType type, int64_t N, Recompute recompute,
               ExpertExchange& exchange, Arena& arena);
  // For another micro-batch, computed while rows of the first one travel: other memory for what travels.
  DealtExperts(const DealtExperts& first, ExpertExchange& exchange, Arena& arena);

  // Forward and backward, each in three parts: the rows set out; experts work on those that came in; the rows are back.
  // Operations that are queued between two parts hide the way.

  // rows_RD = x[token] by the tokens' plan, then each row's expert of that.
  void send(Tensor rows_RD, const Tensor& x_ND, const RoutePlan& plan, Ops& ops) const;
  void experts(Tensor rows_RD, DealtSaved& saved, const Weights::Layer& weights, Ops& ops) const;
  void arrived() const { exchange_->arrived(); }

  // From d_ND = d(loss)/d(combined rows): rows_RD = d(loss)/d(x) by row, the gradients of the experts, and at last dweight_NK.
  void backward_send(Tensor rows_RD, DealtSaved& saved, const Tensor& d_ND, const Tensor& x_ND,
                     const Tensor& weight_NK, const RoutePlan& plan, Ops& ops) const;
  void backward_experts(Tensor rows_RD, DealtSaved& saved, const Weights::Layer& weights, Gradients gradients,
                        Ops& ops) const;
  void backward_arrived(Tensor dweight_NK, const RoutePlan& plan, Ops& ops) const;

 private:
  ExpertExchange* exchange_;
  Recompute recompute_;
  Tensor rows_XD_, a_XF_;                                // while experts work
  Tensor back_XD_, weight_X1_, dweight_X1_, weight_R1_;  // on the way
};

}  // namespace moe
