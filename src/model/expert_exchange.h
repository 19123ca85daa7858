// SPDX-License-Identifier: MIT
// Where experts are dealt to several ranks (expert parallelism): moves rows to the ranks of their experts, and back. Rank r
// of W has the experts [r E / W, (r + 1) E / W). The body that talks is in train/; here nobody knows how.
// What is started may go on while operations that are queued later run: those behind arrived() see it done, and until then
// the tensors are not to be touched. A micro-batch that is computed while another one's rows travel has an exchange of its own.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/ops.h"

namespace moe {

// Rows to and from each rank.
struct RankRows {
  std::vector<int64_t> sent, received;
  int64_t total_received() const {
    int64_t total = 0;
    for (const int64_t rows : received) total += rows;
    return total;
  }
};

class ExpertExchange {
 public:
  virtual ~ExpertExchange() = default;
  virtual int ranks() const = 0;
  // How many rows may come in, where each rank sends at most `sent` and no more than `most` can ever come.
  virtual int64_t room(int64_t sent, int64_t most) const = 0;

  // Starts to tell the ranks what each sends to each, from the plan of its tokens, whose rows are by expert.
  virtual void tell_counts(const RoutePlan& plan) = 0;
  // What all have told. expert_X i32: of each row that comes in, which of this rank's experts it is for; entries past these are
  // unspecified. By source rank, then by expert. Throws UserError, on all ranks, where any gets more rows than expert_X has.
  virtual RankRows counts(Tensor expert_X) = 0;
  // Starts to move the rows of the plan, from all ranks; whole tensors of any type: rows past the counts are left alone. The
  // counts must live until they have arrived.
  virtual void to_experts(Tensor received, const Tensor& rows, const RankRows& counts) = 0;
  // The way back.
  virtual void to_tokens(Tensor rows, const Tensor& received, const RankRows& counts) = 0;
  virtual void arrived() = 0;
  // x as the first of the ranks has it: for what decides how all go on.
  virtual void same_on_all(Tensor x) = 0;
};

}  // namespace moe
