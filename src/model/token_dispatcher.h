// SPDX-License-Identifier: MIT
// Brings routed tokens to the experts and their results back (Megatron's token dispatcher). The model has one
// path: router, dispatch, experts, combine. Where all experts are on this rank, LocalDispatcher moves
// nothing. With expert parallelism, AllToAllDispatcher sends tokens to the ranks that own their experts.
// Forward and backward have three calls each. What is queued between two of them overlaps the communication.
#pragma once

#include <memory>

#include "model/all_to_all.h"
#include "model/experts.h"
#include "model/recompute.h"
#include "model/router.h"
#include "tensor/arena.h"

namespace moe::model {

// What one block keeps from forward to backward.
struct DispatchedTokens {
  ExpertTokens tokens;  // of this rank's experts; with expert parallelism, all that can come
  Tensor expert_X;      // with expert parallelism: see AllToAll::recv_counts
  TokenCounts counts;   // with expert parallelism: of the last forward
};

class TokenDispatcher {
 public:
  virtual ~TokenDispatcher() = default;
  // Whether tokens stay where they are.
  virtual bool is_local() const { return false; }
  // The most rows that this rank's experts compute at once.
  virtual int64_t max_rows() const = 0;
  // For one block. first: null for the first block, whose memory the others share where backward fills it
  // again.
  virtual DispatchedTokens make_saved(const DispatchedTokens* first, Arena& arena) const = 0;

  // Starts to bring the tokens x_ND to their experts.
  virtual void dispatch(DispatchedTokens& saved, const Tensor& x_ND, const RoutePlan& plan, Ops& ops) = 0;
  // The tokens that have come.
  virtual ExpertTokens recv(DispatchedTokens& saved, Ops& ops) = 0;
  // Starts to bring the results back. rows_RD: Experts::forward's.
  virtual void combine(DispatchedTokens& saved, const Tensor& rows_RD, Ops& ops) = 0;
  // The results of each row of the router's plan [R, D].
  virtual Tensor wait_combine() = 0;

  // The same for gradients. d_ND: d(loss)/d(combined results). x_ND: as in dispatch(). dweight_NK is written
  // when wait_combine_gradients() returns d(loss)/dx of each row of the router's plan [R, D].
  virtual void dispatch_gradients(DispatchedTokens& saved, const Tensor& d_ND, const Tensor& x_ND,
                                  const RouterSaved& router, Tensor dweight_NK, Ops& ops) = 0;
  virtual ExpertGradients recv_gradients(DispatchedTokens& saved) = 0;
  virtual void combine_gradients(DispatchedTokens& saved, const Tensor& rows_RD, Ops& ops) = 0;
  virtual Tensor wait_combine_gradients(const RoutePlan& plan, Ops& ops) = 0;
  // The tokens of the last forward, for Experts::backward.
  virtual ExpertTokens tokens(const DispatchedTokens& saved) const = 0;
};

// All experts are here: tokens stay where they are. One micro-batch at a time.
class LocalDispatcher final : public TokenDispatcher {
 public:
  LocalDispatcher(const MoeSpec& spec, int64_t N) : max_rows_(N * spec.top_k) {}
  bool is_local() const override { return true; }
  int64_t max_rows() const override { return max_rows_; }
  DispatchedTokens make_saved(const DispatchedTokens*, Arena&) const override { return {}; }
  void dispatch(DispatchedTokens& saved, const Tensor& x_ND, const RoutePlan& plan, Ops&) override {
    saved.tokens = {x_ND, plan};
  }
  ExpertTokens recv(DispatchedTokens& saved, Ops&) override { return saved.tokens; }
  void combine(DispatchedTokens&, const Tensor& rows_RD, Ops&) override { rows_RD_ = rows_RD; }
  Tensor wait_combine() override { return rows_RD_; }
  void dispatch_gradients(DispatchedTokens&, const Tensor& d_ND, const Tensor&, const RouterSaved& router,
                          Tensor dweight_NK, Ops&) override {
    gradients_ = {d_ND, router.weight_NK, dweight_NK};
  }
  ExpertGradients recv_gradients(DispatchedTokens&) override { return gradients_; }
  void combine_gradients(DispatchedTokens&, const Tensor& rows_RD, Ops&) override { rows_RD_ = rows_RD; }
  Tensor wait_combine_gradients(const RoutePlan&, Ops&) override { return rows_RD_; }
  ExpertTokens tokens(const DispatchedTokens& saved) const override { return saved.tokens; }

 private:
  int64_t max_rows_;
  Tensor rows_RD_;
  ExpertGradients gradients_;
};

// For one micro-batch in flight of at most N tokens. all_to_all: null where this rank has all experts.
std::unique_ptr<TokenDispatcher> make_dispatcher(const MoeSpec& spec, DType type, int64_t N,
                                                 Recompute recompute, AllToAll* all_to_all, Mode mode,
                                                 Arena& arena);

}  // namespace moe::model
