// SPDX-License-Identifier: MIT
// Log-likelihoods of continuations: many requests packed into the rows of one batch, longest first, each a
// document of its own. Nothing is dropped; the value of a request does not depend on what else is in the
// batch but for rounding. Ranks score requests of their own, side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "model/transformer.h"
#include "ops/ops.h"
#include "tasks/question.h"
#include "tensor/device.h"

namespace moe::tasks {

struct Score {
  double log_likelihood = 0;  // nats, of the scored tokens together
  int64_t tokens = 0;         // scored
  bool greedy = false;        // each scored token is the most likely one; only when asked for
};

class Scorer {
 public:
  // shape: that of the transformer. between: called before each batch, by all ranks together; it may throw to
  // end the work.
  Scorer(model::Transformer& transformer, const model::MicroBatch& shape, comm::Communicator& communicator,
         Device& device, Ops& ops, std::function<void()> between = {})
      : transformer_(transformer),
        shape_(shape),
        communicator_(communicator),
        device_(device),
        ops_(ops),
        between_(std::move(between)) {}

  comm::Communicator& communicator() { return communicator_; }

  // A request longer than a row loses tokens at its beginning, as in lm-evaluation-harness; one whose scored
  // tokens alone do not fit throws UserError. All ranks call this together, each with its own requests, and
  // run equally many batches, the last ones of nothing but padding where a rank has fewer: they may share
  // experts. on_done: requests finished since the last call.
  std::vector<Score> score(std::span<const Request> requests, bool greedy,
                           const std::function<void(int64_t)>& on_done = {});

 private:
  struct Place {
    size_t request;
    int64_t begin, length;  // in the batch: tokens read
  };
  std::vector<std::vector<Place>> pack(std::span<const Request> requests) const;  // by batch
  void run(std::span<const Request> requests, const std::vector<Place>& places, bool greedy,
           std::vector<Score>& scores);
  bool is_greedy(const Request& request, int64_t begin, int64_t scored);

  model::Transformer& transformer_;
  model::MicroBatch shape_;
  comm::Communicator& communicator_;
  Device& device_;
  Ops& ops_;
  std::function<void()> between_;
};

}  // namespace moe::tasks
