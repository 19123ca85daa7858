// SPDX-License-Identifier: MIT
// How tokens travel between the ranks of an expert-parallel group. Rank r of W owns the experts
// [r E / W, (r + 1) E / W). The implementation over a communicator is in train/rank_groups.cpp. The model
// does not know how tokens travel.
// dispatch() and combine() start a transfer and return. Operations queued later run while it is under way.
// Operations queued after wait() see its result. Until then its tensors must not be touched. Each micro-batch
// in flight has one of its own.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/ops.h"

namespace moe::model {

// Routed tokens to and from each rank.
struct TokenCounts {
  std::vector<int64_t> send, recv;
  int64_t total_recv() const {
    int64_t total = 0;
    for (const int64_t tokens : recv) total += tokens;
    return total;
  }
};

class AllToAll {
 public:
  virtual ~AllToAll() = default;
  virtual int ranks() const = 0;
  // The size of the receive buffers. Each rank sends at most `sent` tokens; no more than `most` can ever
  // come.
  virtual int64_t max_recv_tokens(int64_t sent, int64_t most) const = 0;

  // Starts to exchange the number of tokens that each rank sends to each. The plan's rows are by expert.
  virtual void exchange_counts(const RoutePlan& plan) = 0;
  // The result. expert_X i32: the local expert of each received token, by source rank, then by expert. Later
  // entries are unspecified. Throws UserError, on all ranks, where any rank receives more than expert_X
  // holds.
  virtual TokenCounts recv_counts(Tensor expert_X) = 0;
  // Starts to send the rows of the plan and to receive those of all ranks. Tensors have any type. Rows past
  // the counts are left alone. `counts` must live until wait() returns.
  virtual void dispatch(Tensor recv, const Tensor& rows, const TokenCounts& counts) = 0;
  // The way back.
  virtual void combine(Tensor rows, const Tensor& recv, const TokenCounts& counts) = 0;
  virtual void wait() = 0;
  // x becomes that of the group's rank 0. For values that decide how all ranks go on.
  virtual void broadcast(Tensor x) = 0;
};

}  // namespace moe::model
