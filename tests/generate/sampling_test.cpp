// SPDX-License-Identifier: MIT
// The choice of a token against transformers: the probabilities that its logits processors leave of the same
// logits (RepetitionPenalty, Temperature, TopK, TopP, MinP, in this order).
#include "generate/sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "base/random.h"
#include "support/errors.h"

namespace moe::generate {
namespace {

using test::user_error_of;
using ::testing::HasSubstr;

const std::vector<float> kLogits{2.0F, 1.5F, 1.4F, 0.3F, -0.2F, -1.0F, 2.1F, 0.0F, -3.0F, 1.39F};
const std::vector<int32_t> kOccurred{6, 1, 5, 6};

struct Case {
  SamplingOptions options;
  std::vector<double> expected;  // transformers 5.24, softmax of what the processors return
};

SamplingOptions options_of(double penalty, double temperature, int64_t top_k, double top_p, double min_p) {
  return {.temperature = temperature,
          .top_k = top_k,
          .top_p = top_p,
          .min_p = min_p,
          .repetition_penalty = penalty};
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {options_of(1, 1, 0, 1, 0),
       {0.23314, 0.14141, 0.12795, 0.04259, 0.02583, 0.01161, 0.25766, 0.03155, 0.00157, 0.12668}},
      {options_of(1, 0.7, 0, 1, 0),
       {0.27107, 0.1327, 0.11503, 0.0239, 0.0117, 0.00373, 0.31269, 0.01557, 0.00021, 0.1134}},
      {options_of(1.3, 1, 0, 1, 0),
       {0.27215, 0.11677, 0.14936, 0.04972, 0.03016, 0.01004, 0.18526, 0.03683, 0.00183, 0.14788}},
      {options_of(1, 1, 4, 1, 0), {0.3067, 0.18602, 0.16832, 0.0, 0.0, 0.0, 0.33896, 0.0, 0.0, 0.0}},
      {options_of(1, 1.5, 0, 0.6, 0), {0.28937, 0.20734, 0.19397, 0.0, 0.0, 0.0, 0.30932, 0.0, 0.0, 0.0}},
      {options_of(1, 1, 0, 1, 0.3), {0.26289, 0.15945, 0.14428, 0.0, 0.0, 0.0, 0.29054, 0.0, 0.0, 0.14284}},
      {options_of(1.3, 0.8, 7, 0.8, 0.1), {0.39106, 0.0, 0.18472, 0.0, 0.0, 0.0, 0.24179, 0.0, 0.0, 0.18243}},
      {options_of(1, 1, 1, 1, 0), {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0}}};
  return all;
}

TEST(Sampling, DrawsAsOftenAsTransformersProbabilitiesSay) {
  constexpr int kDraws = 20000;
  for (const auto& [options, expected] : cases()) {
    std::vector<float> logits = kLogits;
    penalise(logits, kOccurred, options.repetition_penalty);
    std::vector<int> count(logits.size());
    const Random random(7, "sampling test");
    for (uint64_t i = 0; i < kDraws; ++i)
      ++count[static_cast<size_t>(pick_token(logits, options, draw_of(random, i)))];
    for (size_t id = 0; id < count.size(); ++id) {
      // Four standard deviations of a binomial count; never one that a filter took out.
      const double p = expected[id], allowed = 4 * std::sqrt(kDraws * p * (1 - p));
      EXPECT_LE(std::abs(count[id] - kDraws * p), allowed + kDraws * 1e-5)
          << "token " << id << ", top_k " << options.top_k << ", top_p " << options.top_p;
      if (p == 0) {
        EXPECT_EQ(count[id], 0) << id;
      }
    }
  }
}

TEST(Sampling, GreedyTakesTheLowestOfEquals) {
  SamplingOptions options;
  options.temperature = 0;
  const Random random(1, "x");
  EXPECT_EQ(pick_token(std::vector<float>{0, 3, 1, 3}, options, 0), 1);
  options.temperature = 1;
  options.top_k = 1;
  for (uint64_t i = 0; i < 20; ++i)
    EXPECT_EQ(pick_token(std::vector<float>{0, 3, 1, 3}, options, draw_of(random, i)), 1);
}

TEST(Sampling, WrongOptionsAreNamed) {
  const auto complaint = [](const std::function<void(SamplingOptions&)>& change) {
    SamplingOptions options;
    change(options);
    return user_error_of([&] { options.validate(); });
  };
  EXPECT_EQ(complaint([](SamplingOptions&) {}), "");
  EXPECT_THAT(complaint([](SamplingOptions& o) { o.temperature = -1; }), HasSubstr("--temperature"));
  EXPECT_THAT(complaint([](SamplingOptions& o) { o.top_p = 0; }), HasSubstr("--top-p"));
  EXPECT_THAT(complaint([](SamplingOptions& o) { o.min_p = 1.5; }), HasSubstr("--min-p"));
  EXPECT_THAT(complaint([](SamplingOptions& o) { o.top_k = -1; }), HasSubstr("--top-k"));
  for (const double penalty : {0.0, 1e-50, 1e39})  // 0, 0 and infinite in f32
    EXPECT_THAT(complaint([&](SamplingOptions& o) { o.repetition_penalty = penalty; }),
                HasSubstr("--repetition-penalty"));
  EXPECT_THAT(complaint([](SamplingOptions& o) { o.max_new_tokens = 0; }), HasSubstr("--max-new-tokens"));
  EXPECT_THAT(complaint([](SamplingOptions& o) { o.stop = {""}; }), HasSubstr("--stop"));
}

}  // namespace
}  // namespace moe::generate
