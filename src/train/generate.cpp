// SPDX-License-Identifier: MIT
#include "train/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "base/error.h"

namespace moe {
namespace {

// The device's row as floats, only the ids that exist.
std::vector<float> to_floats(const Tensor& logits_V, int64_t vocabulary, Device& device) {
  const auto n = static_cast<size_t>(logits_V.numel());
  std::vector<float> values(n);
  const auto widen = [&]<class T>(T) {
    std::vector<T> rounded(n);
    device.to_host(rounded.data(), logits_V);
    std::transform(rounded.begin(), rounded.end(), values.begin(), [](T x) { return static_cast<float>(x); });
  };
  if (logits_V.dtype() == DType::bf16)
    widen(bf16{});
  else if (logits_V.dtype() == DType::f16)
    widen(f16{});
  else
    device.to_host(values.data(), logits_V);
  values.resize(static_cast<size_t>(vocabulary));
  return values;
}

}  // namespace

void SamplingOptions::validate() const {
  const auto refuse = [](const std::string& option, const std::string& expected, double found) {
    throw UserError("--" + option, expected, std::to_string(found));
  };
  if (!(temperature >= 0 && std::isfinite(temperature)))
    refuse("temperature", "a number of at least 0", temperature);
  if (!(top_p > 0 && top_p <= 1)) refuse("top-p", "a number above 0 and at most 1", top_p);
  if (top_k < 0) refuse("top-k", "at least 0", static_cast<double>(top_k));
  if (max_new_tokens < 1) refuse("max-new-tokens", "at least 1", static_cast<double>(max_new_tokens));
}

int32_t pick_token(std::span<const float> logits, const SamplingOptions& options, const Random& random,
                   uint64_t index) {
  if (options.temperature == 0)
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());

  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto more_likely = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < order.size()) {
    const auto last = order.begin() + options.top_k;
    std::partial_sort(order.begin(), last, order.end(), more_likely);
    order.erase(last, order.end());
  } else {
    std::sort(order.begin(), order.end(), more_likely);
  }

  const double top = logits[static_cast<size_t>(order.front())];
  std::vector<double> cumulative;
  double total = 0;
  for (const int32_t id : order)
    cumulative.push_back(total += std::exp((logits[static_cast<size_t>(id)] - top) / options.temperature));
  // The nucleus: the shortest prefix that reaches top_p of the whole.
  const auto nucleus = std::lower_bound(cumulative.begin(), cumulative.end(), options.top_p * total);
  const auto kept = static_cast<size_t>(std::min(nucleus, cumulative.end() - 1) - cumulative.begin());
  const double draw = static_cast<double>(random.uniform(index)) * cumulative[kept];
  const auto chosen =
      std::upper_bound(cumulative.begin(), cumulative.begin() + static_cast<long>(kept), draw);
  return order[static_cast<size_t>(chosen - cumulative.begin())];
}

int64_t generate(Decoder& decoder, std::span<const int32_t> prompt, int32_t end_of_text, int64_t vocabulary,
                 const SamplingOptions& options, Device& device, Ops& ops,
                 const std::function<void(int32_t)>& on_token) {
  CHECK(!prompt.empty());
  const auto prompt_size = static_cast<int64_t>(prompt.size());
  if (prompt_size >= decoder.capacity())
    throw UserError("prompt", "fewer than " + std::to_string(decoder.capacity()) + " tokens",
                    std::to_string(prompt_size), "shorten the prompt");
  const Random random(options.seed, "generate");
  Tensor logits_1V;
  int64_t length = 0;
  while (length < prompt_size) {
    const int64_t count = std::min(decoder.chunk(), prompt_size - length);
    logits_1V = decoder.append(prompt.data() + length, count, length, device, ops);
    length += count;
  }
  int64_t made = 0;
  while (made < options.max_new_tokens) {
    const int32_t token =
        pick_token(to_floats(logits_1V, vocabulary, device), options, random, static_cast<uint64_t>(made));
    if (token == end_of_text) break;
    on_token(token);
    ++made;
    if (length == decoder.capacity()) break;
    logits_1V = decoder.append(&token, 1, length++, device, ops);
  }
  return made;
}

}  // namespace moe
