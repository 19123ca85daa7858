// SPDX-License-Identifier: MIT
#include "tasks/result.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace moe::tasks {
namespace {

struct Mean {
  double mean = 0, error = 0;
};

template <class Value>
Mean mean_of(std::span<const ItemResult> items, Value&& value) {
  const auto n = static_cast<double>(items.size());
  double sum = 0, squares = 0;
  for (const ItemResult& item : items) sum += value(item);
  const double mean = sum / n;
  for (const ItemResult& item : items) squares += (value(item) - mean) * (value(item) - mean);
  const double error = n > 1 ? std::sqrt(squares / (n - 1) / n) : std::numeric_limits<double>::quiet_NaN();
  return {mean, error};
}

}  // namespace

ItemResult judge(const Question& question, Task task, Convention convention, std::span<const Score> scores) {
  CHECK(scores.size() == question.continuations.size());
  ItemResult result;
  std::vector<double> normalised;
  for (size_t i = 0; i < scores.size(); ++i) {
    const int64_t length = convention == Convention::lm_eval ? question.characters[i] : scores[i].tokens;
    result.log_likelihood.push_back(scores[i].log_likelihood);
    normalised.push_back(scores[i].log_likelihood / static_cast<double>(std::max<int64_t>(length, 1)));
  }
  const auto likeliest = [](const std::vector<double>& values) {
    return std::max_element(values.begin(), values.end()) - values.begin();
  };
  result.choice = likeliest(result.log_likelihood);
  result.choice_normalised = likeliest(normalised);
  result.right = task == Task::lambada ? scores.front().greedy : result.choice == question.gold;
  result.right_normalised = result.choice_normalised == question.gold;
  return result;
}

std::vector<std::pair<std::string, double>> summarise(Task task, std::span<const ItemResult> items) {
  CHECK(!items.empty());
  const Mean right = mean_of(items, [](const ItemResult& item) { return item.right ? 1.0 : 0.0; });
  std::vector<std::pair<std::string, double>> values{{"acc", right.mean}, {"acc_stderr", right.error}};
  if (task == Task::lambada) {
    const Mean likelihood =
        mean_of(items, [](const ItemResult& item) { return item.log_likelihood.front(); });
    const double perplexity = std::exp(-likelihood.mean);
    values.insert(values.end(),
                  {{"perplexity", perplexity}, {"perplexity_stderr", perplexity * likelihood.error}});
  } else {
    const Mean norm =
        mean_of(items, [](const ItemResult& item) { return item.right_normalised ? 1.0 : 0.0; });
    values.insert(values.end(), {{"acc_norm", norm.mean}, {"acc_norm_stderr", norm.error}});
  }
  return values;
}

}  // namespace moe::tasks
