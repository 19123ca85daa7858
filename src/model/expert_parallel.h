// SPDX-License-Identifier: MIT
// Expert parallelism: the experts of a block are sharded over the ranks of a group. Routed tokens are sent to
// the ranks that own their experts. On arrival each is a token with top-1 routing and a plan of its own, so
// the ordinary expert ops apply. Results return to the sender.
//   X: max_recv_tokens, the rows of the receive buffers (nothing is allocated later). At most W N min(K, E /
//   W) tokens can arrive: when all tokens of all W ranks choose experts of this rank. TokenDispatcher may
//   decide on less. No token is ever lost: too many are an error.
#pragma once

#include "model/config.h"
#include "model/recompute.h"
#include "model/token_dispatcher.h"
#include "model/weights.h"
#include "ops/ops.h"
#include "tensor/arena.h"

namespace moe {

// What one block keeps from forward to backward.
struct ExpertParallelSaved {
  ExpertParallelSaved() = default;  // without expert parallelism
  // Activations that backward recomputes or receives again share the first block's memory. first: null for
  // the first block.
  ExpertParallelSaved(const ModelConfig& config, DType type, int64_t N, Recompute recompute,
                      const ExpertParallelSaved* first, const TokenDispatcher& dispatcher, Arena& arena);
  Tensor expert_X, recv_XD, h_X2F;
  RoutePlan plan;
  TokenCounts counts;  // of the last forward

  // Cut to the tokens received.
  ExpertParallelSaved in_use() const;
};

class ExpertParallelExperts {
 public:
  ExpertParallelExperts(const ModelConfig& config, DType type, int64_t N, Recompute recompute,
                        TokenDispatcher& dispatcher, Arena& arena);
  // For a second micro-batch in flight: it has its own communication buffers.
  ExpertParallelExperts(const ExpertParallelExperts& first, TokenDispatcher& dispatcher, Arena& arena);

  // Forward and backward have three phases each: send, compute on received tokens, wait for the results.
  // Operations queued between two phases overlap the communication.

  // rows_RD = x[token] by the tokens' plan; after wait(), the expert's result of each row.
  void send(Tensor rows_RD, const Tensor& x_ND, const RoutePlan& plan, Ops& ops) const;
  void experts(Tensor rows_RD, ExpertParallelSaved& saved, const Weights::Layer& weights, Ops& ops) const;
  void wait() const { dispatcher_->wait(); }

  // From d_ND = d(loss)/d(combined rows): rows_RD = d(loss)/d(x) by row, the gradients of the experts, and at
  // last dweight_NK.
  void backward_send(Tensor rows_RD, ExpertParallelSaved& saved, const Tensor& d_ND, const Tensor& x_ND,
                     const Tensor& weight_NK, const RoutePlan& plan, Ops& ops) const;
  void backward_experts(Tensor rows_RD, ExpertParallelSaved& saved, const Weights::Layer& weights,
                        GradientMode gradients, Ops& ops) const;
  void backward_wait(Tensor dweight_NK, const RoutePlan& plan, Ops& ops) const;

 private:
  TokenDispatcher* dispatcher_;
  Recompute recompute_;
  Tensor rows_XD_, a_XF_;                                // scratch of the experts
  Tensor back_XD_, weight_X1_, dweight_X1_, weight_R1_;  // communication buffers
};

}  // namespace moe
