// SPDX-License-Identifier: MIT
// How many micro-batches a step has, where that grows with the tokens read (training.batch_ramp). Small
// batches learn more from a token early on (McCandlish et al. 2018, arXiv 1812.06162; DeepSeek-V3, arXiv
// 2412.19437, section 4.2). The learning rate of a smaller step is smaller by the square root (Malladi et al.
// 2022, arXiv 2205.10287), and schedules go by tokens, in steps of full size.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moe::train {

class BatchRamp {
 public:
  // stages: "MICRO_BATCHES:TOKENS", so many micro-batches a step until so many tokens are read; then `full`.
  // Both rise from each to the next. Throws UserError naming training.batch_ramp.
  BatchRamp(const std::vector<std::string>& stages, int64_t full);

  bool constant() const { return stages_.empty(); }
  int64_t full() const { return full_; }
  int64_t least() const { return micro_batches(0); }
  int64_t micro_batches(int64_t tokens) const;
  // Steps from so many tokens to so many; each: tokens of a micro-batch of all ranks.
  int64_t steps(int64_t tokens, int64_t end, int64_t each) const;
  // Where a step stands in the schedules, and what its learning rate is multiplied by. step: steps before it;
  // tokens: read before it.
  int64_t place(int64_t step, int64_t tokens, int64_t each) const;
  double rate_scale(int64_t tokens) const;

 private:
  struct Stage {
    int64_t micro_batches = 0, until = 0;
  };
  std::vector<Stage> stages_;
  int64_t full_;
};

}  // namespace moe::train
