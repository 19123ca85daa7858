// SPDX-License-Identifier: MIT
// Expert parallelism: the experts of a block are sharded over the ranks of a group. Routed tokens are sent to
// the ranks that own their experts. On arrival each is a token with top-1 routing and a plan of its own, so
// the ordinary expert ops apply. Results return to the sender.
//   X: max_recv_tokens, the rows of the receive buffers (nothing is allocated later). At most W N min(K, E /
//   W) tokens can arrive: when all tokens of all W ranks choose experts of this rank. AllToAll may decide on
//   less. No token is ever lost: too many are an error.
#pragma once

#include "model/token_dispatcher.h"

namespace moe::model {

class AllToAllDispatcher final : public TokenDispatcher {
 public:
  AllToAllDispatcher(const MoeSpec& spec, DType type, int64_t N, Recompute recompute, AllToAll& all_to_all,
                     Mode mode, Arena& arena);
  int64_t max_rows() const override { return X_; }
  DispatchedTokens make_saved(const DispatchedTokens* first, Arena& arena) const override;

  void dispatch(DispatchedTokens& saved, const Tensor& x_ND, const RoutePlan& plan, Ops& ops) override;
  ExpertTokens recv(DispatchedTokens& saved, Ops& ops) override;
  void combine(DispatchedTokens& saved, const Tensor& rows_XD, Ops& ops) override;
  Tensor wait_combine() override;

  void dispatch_gradients(DispatchedTokens& saved, const Tensor& d_ND, const Tensor& x_ND,
                          const RouterSaved& router, Tensor dweight_NK, Ops& ops) override;
  ExpertGradients recv_gradients(DispatchedTokens& saved) override;
  void combine_gradients(DispatchedTokens& saved, const Tensor& rows_XD, Ops& ops) override;
  Tensor wait_combine_gradients(const RoutePlan& plan, Ops& ops) override;
  ExpertTokens tokens(const DispatchedTokens& saved) const override;

 private:
  // Back at the sender, cut to the rows of this pass.
  Tensor rows() const { return rows_RD_.rows(0, R_); }
  Tensor weights() const { return weight_R1_.rows(0, R_); }

  int64_t D_, X_, E_;  // E: experts of this rank
  DType type_;
  Recompute recompute_;
  AllToAll& all_to_all_;
  int64_t R_ = 0;      // rows that this pass sends
  Tensor dweight_NK_;  // of this pass
  // Communication buffers: at the sender, and at the rank of the experts.
  Tensor rows_RD_, weight_R1_, back_XD_, weight_X1_, dweight_X1_;
};

}  // namespace moe::model
