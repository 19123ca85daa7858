// SPDX-License-Identifier: MIT
// Estimates against printed tables, curves against sums by hand, and a comparison of which all is known.
#include "report/comparison.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "report/page.h"
#include "support/folder.h"

namespace moe::report {
namespace {

using testing::AllOf;
using testing::DoubleNear;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// NIST/SEMATECH e-Handbook, table 1.3.6.7.2 (0.975, two-sided 95 %).
TEST(EstimateTest, StudentsTIsThatOfTheTables) {
  const std::vector<std::pair<int64_t, double>> table{{1, 12.706}, {2, 4.303},  {3, 3.182},   {4, 2.776},
                                                      {9, 2.262},  {30, 2.042}, {100, 1.984}, {1000, 1.962}};
  for (const auto& [freedom, t] : table) EXPECT_NEAR(student_t(0.95, freedom), t, 5e-4) << freedom;
  EXPECT_NEAR(student_t(0.99, 5), 4.032, 5e-4);
  EXPECT_EQ(student_t(0, 3), student_t(0, 4));
}

TEST(EstimateTest, MeanErrorAndInterval) {
  const Estimate three = estimate(std::vector{1.0, 2.0, 6.0});
  EXPECT_DOUBLE_EQ(three.mean, 3);
  ASSERT_TRUE(three.spread);
  EXPECT_NEAR(three.spread->error, std::sqrt(7.0 / 3), 1e-12);  // squares 4 + 1 + 9, over 2, over 3
  EXPECT_NEAR(three.spread->high - 3, 4.302653 * std::sqrt(7.0 / 3), 1e-5);
  EXPECT_NEAR(three.spread->low + three.spread->high, 6, 1e-12);
  EXPECT_FALSE(estimate(std::vector{5.0}).spread);
  EXPECT_EQ(estimate({}).n, 0);
}

TEST(LossCurveTest, IsReadFromTheRecord) {
  const test::TestFolder folder;
  const auto path = folder.put("metrics.jsonl",
                               "{\"step\":0,\"validation_loss\":5.0,\"tokens\":0}\n"
                               "{\"step\":1,\"loss\":4.9,\"tokens\":64,\"step_seconds\":2.0}\n"
                               "{\"step\":2,\"loss\":4.5,\"tokens\":128,\"step_seconds\":1.0}\n"
                               "{\"step\":2,\"validation_loss\":4.0,\"tokens\":128}\n"
                               "{\"step\":2,\"sample\":\"x\"}\n"
                               "{\"step\":3,\"loss\":\"NaN\",\"tokens\":192,\"step_seconds\":0.5}\n");
  const LossCurve curve = read_loss_curve(path);
  ASSERT_EQ(curve.points.size(), 2U);
  EXPECT_EQ(curve.points[0].seconds, 0);
  EXPECT_EQ(curve.points[1].step, 2);
  EXPECT_EQ(curve.points[1].tokens, 128);
  EXPECT_EQ(curve.points[1].seconds, 3);
  EXPECT_EQ(curve.seconds, 3.5);
  EXPECT_TRUE(curve.reaches_step(2));
  EXPECT_FALSE(curve.reaches_step(3));
  EXPECT_TRUE(read_loss_curve(folder.path() / "none").points.empty());
}

LossCurve curve_of(const std::vector<double>& losses, double seconds_of_step) {
  LossCurve curve;
  for (size_t i = 0; i < losses.size(); ++i) {
    const auto step = static_cast<double>(i);
    curve.points.push_back({static_cast<int64_t>(i), 100 * step, seconds_of_step * step, losses[i]});
  }
  curve.seconds = seconds_of_step * static_cast<double>(losses.size() - 1);
  return curve;
}

TEST(LossCurveTest, ReachesALossOnStraightLines) {
  const LossCurve curve = curve_of({5, 4, 4.2, 3}, 2);
  EXPECT_EQ(curve.best(), 3);
  const auto middle = first_at(curve, 4.25);
  ASSERT_TRUE(middle);
  EXPECT_DOUBLE_EQ(middle->tokens, 75);
  EXPECT_DOUBLE_EQ(middle->seconds, 1.5);
  EXPECT_DOUBLE_EQ(first_at(curve, 4)->tokens, 100);  // the first time, not the last
  EXPECT_DOUBLE_EQ(first_at(curve, 3.6)->tokens, 250);
  EXPECT_EQ(first_at(curve, 6)->tokens, 0);
  EXPECT_FALSE(first_at(curve, 2.9));
}

Comparison two_arms() {
  Comparison comparison{.length = "3 steps", .arms = {}};
  comparison.arms.push_back(
      {.name = "base",
       .differences = {},
       .steps = 2,
       .runs = {{7, "base-seed7", curve_of({5, 4, 3}, 1)}, {8, "base-seed8", curve_of({5, 4, 3.5}, 1)}}});
  comparison.arms.push_back(
      {.name = "</script>",
       .differences = {"training.learning_rate: 0.1, other 0.2"},
       .steps = 2,
       .runs = {{7, "b-seed7", curve_of({5, 3, 2.8}, 2)}, {8, "b-seed8", curve_of({5, 4, 3.6}, 2)}}});
  return comparison;
}

TEST(ComparisonTest, DifferencesAreTakenSeedBySeed) {
  const auto summaries = summarise(two_arms());
  ASSERT_EQ(summaries.size(), 2U);
  EXPECT_DOUBLE_EQ(summaries[0].difference.mean, 0);
  EXPECT_DOUBLE_EQ(summaries[0].tokens_share.mean, 1);
  EXPECT_DOUBLE_EQ(summaries[0].tokens_per_second.mean, 100);
  const ArmSummary& other = summaries[1];
  EXPECT_NEAR(other.difference.mean, -0.05, 1e-12);  // -0.2 and +0.1
  EXPECT_NEAR(other.difference.spread->error, 0.15, 1e-12);
  EXPECT_EQ(other.tokens_share.n, 1);  // the second seed never gets to 3.5
  EXPECT_DOUBLE_EQ(other.tokens_share.mean, 0.5);
  EXPECT_DOUBLE_EQ(other.seconds_share.mean, 1);  // half of the steps, each twice as long
}

TEST(ComparisonTest, TableJsonAndPage) {
  const Comparison comparison = two_arms();
  EXPECT_THAT(
      comparison_table(comparison, 8),
      AllOf(StartsWith(
                "verdict: </script> against base is open: its loss is 0.0500 lower, but 2 seeds allow -"),
            HasSubstr("2 arms, 2 seeds; 3 steps"), HasSubstr("-0.0500 ["), HasSubstr("50.0 % (1 of 2)"),
            HasSubstr("training.learning_rate: 0.1, other 0.2"), Not(HasSubstr("one seed"))));
  const OrderedJson json = comparison_json(comparison);
  EXPECT_THAT(json["arms"][1]["difference"]["mean"].get<double>(), DoubleNear(-0.05, 1e-12));
  EXPECT_EQ(json["arms"][1]["runs"][0]["tokens_to_equal_loss"], 100.0);
  EXPECT_TRUE(json["arms"][1]["runs"][1]["tokens_to_equal_loss"].is_null());
  EXPECT_EQ(json["arms"][0]["runs"][1]["curve"]["validation_loss"], OrderedJson({5.0, 4.0, 3.5}));
  const std::string html = page({}, comparison);
  EXPECT_THAT(html, AllOf(HasSubstr("\"comparison\":{\"length\":\"3 steps\""), HasSubstr("\\u003c/script>"),
                          Not(HasSubstr("\"</script>\"")), Not(HasSubstr("src=\"http"))));

  Comparison one = comparison;
  for (ComparedArm& arm : one.arms) arm.runs.pop_back();
  EXPECT_THAT(comparison_table(one, 8), AllOf(HasSubstr("1 seed;"), HasSubstr("one seed tells no spread")));
  EXPECT_TRUE(comparison_json(one)["arms"][1]["difference"]["interval_95"].is_null());
}

// Three seeds with almost the same difference: the interval is narrow.
TEST(ComparisonTest, TheVerdictIsWhereTheIntervalLies) {
  Comparison comparison{.length = "2 steps", .arms = {}};
  const auto arm = [](const std::string& name, double loss) {
    ComparedArm made{.name = name, .differences = {"a: 1, other 2", "b: 1, other 2"}, .steps = 2, .runs = {}};
    for (int64_t seed = 0; seed < 3; ++seed) {
      const double last = loss + 1e-3 * static_cast<double>(seed * seed) * loss;
      made.runs.push_back({seed, name, curve_of({5, 4, last}, 1)});
    }
    return made;
  };
  comparison.arms = {arm("base", 3), arm("low", 2.5), arm("high", 3.5), arm("same", 3)};
  const auto summaries = summarise(comparison);
  EXPECT_EQ(verdict_of(summaries[1]), Verdict::better);
  EXPECT_EQ(verdict_of(summaries[2]), Verdict::worse);
  EXPECT_EQ(verdict_of(summaries[3]), Verdict::not_shown);
  const std::string table = comparison_table(comparison, 1);
  EXPECT_THAT(table, AllOf(StartsWith("verdict: low is better than base: its loss is 0.50"),
                           HasSubstr("verdict: high is worse than base: its loss is 0.50"),
                           HasSubstr("verdict: same against base is open"),
                           HasSubstr("and 1 more (--verbose)"), Not(HasSubstr("b: 1"))));
  EXPECT_THAT(comparison_table(comparison, 2), AllOf(HasSubstr("b: 1"), Not(HasSubstr("--verbose"))));
  const OrderedJson json = comparison_json(comparison);
  EXPECT_EQ(json["arms"][1]["verdict"], "better");
  EXPECT_THAT(page({}, comparison),
              HasSubstr("\"verdict_words\":\"low is better than base: its loss is 0.50"));
  EXPECT_TRUE(json["arms"][0]["verdict"].is_null());
}

}  // namespace
}  // namespace moe::report
