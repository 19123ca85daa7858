// SPDX-License-Identifier: MIT
#include "tasks/scorer.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "tensor/host_floats.h"

namespace moe::tasks {

std::vector<Score> Scorer::score(std::span<const Request> requests, bool greedy,
                                 const std::function<void(int64_t)>& on_done) {
  std::vector<std::vector<Place>> batches;
  comm::propagate_errors(communicator_, [&] { batches = pack(requests); });
  const std::vector<size_t> of_ranks = communicator_.gather(batches.size());
  batches.resize(*std::max_element(of_ranks.begin(), of_ranks.end()));

  std::vector<Score> scores(requests.size());
  for (const auto& places : batches) {
    if (between_) between_();
    run(requests, places, greedy, scores);
    if (on_done && !places.empty()) on_done(std::ssize(places));
  }
  return scores;
}

std::vector<std::vector<Scorer::Place>> Scorer::pack(std::span<const Request> requests) const {
  // The last token is predicted, not read.
  const auto length = [&](size_t i) { return std::min(std::ssize(requests[i].ids) - 1, shape_.T); };
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return length(a) > length(b); });

  std::vector<std::vector<Place>> batches;
  std::vector<int64_t> used;  // of each row of the last batch
  for (const size_t i : order) {
    if (requests[i].scored > shape_.T)
      throw UserError("an item of a task",
                      fmt::format("a continuation of at most {} tokens (model.max_seq_len)", shape_.T),
                      fmt::format("{}", requests[i].scored));
    const auto fits = [&](int64_t row) { return row + length(i) <= shape_.T; };
    auto row = std::find_if(used.begin(), used.end(), fits);
    if (row == used.end()) {
      batches.emplace_back();
      used.assign(static_cast<size_t>(shape_.B), 0);
      row = used.begin();
    }
    batches.back().push_back({i, (row - used.begin()) * shape_.T + *row, length(i)});
    *row += length(i);
  }
  return batches;
}

void Scorer::run(std::span<const Request> requests, const std::vector<Place>& places, bool greedy,
                 std::vector<Score>& scores) {
  const auto N = static_cast<size_t>(shape_.N());
  std::vector<text::TokenId> input(N, 0), target(N, -1);
  std::vector<int32_t> first(N, -1);
  for (const auto& [request, begin, length] : places) {
    const auto& [ids, scored] = requests[request];
    const auto cut = std::ssize(ids) - 1 - length;
    for (int64_t t = 0; t < length; ++t) {
      const auto n = static_cast<size_t>(begin + t);
      input[n] = ids[static_cast<size_t>(cut + t)];
      if (t >= length - scored) target[n] = ids[static_cast<size_t>(cut + t + 1)];
      first[n] = static_cast<int32_t>(begin % shape_.T);
    }
  }
  transformer_.upload(device_, input.data(), target.data(), first.data());
  transformer_.zero_sums(ops_);
  transformer_.forward(ops_);
  std::vector<float> loss(N);
  device_.to_host(loss.data(), transformer_.losses());
  for (const auto& [request, begin, length] : places) {
    const int64_t scored = requests[request].scored;
    Score& score = scores[request];
    score.tokens = scored;
    for (int64_t n = begin + length - scored; n < begin + length; ++n)
      score.log_likelihood -= loss[static_cast<size_t>(n)];
    if (greedy) score.greedy = is_greedy(requests[request], begin + length - scored, scored);
  }
}

bool Scorer::is_greedy(const Request& request, int64_t begin, int64_t scored) {
  for (int64_t i = 0; i < scored; ++i) {
    const Tensor logits = transformer_.logits(begin + i, 1, ops_);
    const std::vector<float> values = host_floats(logits, device_);
    const auto best = std::max_element(values.begin(), values.begin() + shape_.vocabulary) - values.begin();
    if (best != request.ids[request.ids.size() - static_cast<size_t>(scored - i)]) return false;
  }
  return true;
}

}  // namespace moe::tasks
