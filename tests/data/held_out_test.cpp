// SPDX-License-Identifier: MIT
// What validation gets of a text and what training keeps: together all of it, and the share that was asked
// for.
#include "data/held_out.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

#include "base/terminal.h"
#include "data/loader.h"
#include "data/order.h"
#include "data/support.h"
#include "data/weighted_source.h"

namespace moe::data {
namespace {

using testing::HasSubstr;

// Units of the given documents.
class GivenSource : public Source {
 public:
  explicit GivenSource(std::vector<std::vector<std::string>> units) : units_(std::move(units)) {}
  int64_t units() const override { return std::ssize(units_); }
  int64_t unit_bytes(int64_t unit) const override {
    int64_t bytes = 0;
    for (const auto& text : units_[static_cast<size_t>(unit)]) bytes += std::ssize(text);
    return bytes;
  }
  void read(int64_t unit, Documents& documents) const override {
    for (const auto& text : units_[static_cast<size_t>(unit)]) documents.add_text(text);
  }
  std::string identity() const override { return "given"; }

 private:
  std::vector<std::vector<std::string>> units_;
};

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += text;
  return all;
}

std::vector<std::string> part_of(const std::shared_ptr<const Source>& source, const DataConfig& config,
                                 Part part) {
  const Order order(source, config, 1, part);
  std::vector<std::string> all;
  for (const int64_t unit : order.epoch(0).units)
    for (const std::string& text : texts(order.read(unit))) all.push_back(text);
  return all;
}

std::string lines(int64_t count) {
  std::string text;
  for (int64_t i = 0; i < count; ++i) text += "line " + std::to_string(i) + "\n";
  return text;
}

TEST(HeldOut, TwoShardsLoseAHundredthAndNotAHalf) {
  std::vector<std::string> shard;
  for (int64_t i = 0; i < 1000; ++i) shard.push_back(NumberedSource::text(i));
  const auto source = std::make_shared<GivenSource>(std::vector{shard, shard});
  DataConfig config;
  const auto validation = part_of(source, config, Part::validation);
  const auto bytes = static_cast<double>(joined(validation).size());
  EXPECT_NEAR(bytes / static_cast<double>(source->bytes()), 0.01, 0.001);
  // Whole documents, and each on one side.
  EXPECT_EQ(validation.size() + part_of(source, config, Part::train_once).size(), 2000);
}

TEST(HeldOut, ABookGivesItsEnd) {
  const std::string book = lines(10'000);
  const auto source = std::make_shared<GivenSource>(std::vector<std::vector<std::string>>{{book}});
  DataConfig config;
  const std::string end = joined(part_of(source, config, Part::validation));
  const std::string begin = joined(part_of(source, config, Part::train_once));
  EXPECT_EQ(begin + end, book);
  EXPECT_NEAR(static_cast<double>(end.size()) / static_cast<double>(book.size()), 0.01, 0.001);
  EXPECT_TRUE(end.starts_with("line "));  // cut behind a line
  EXPECT_THAT(describe_held_out(*source, config), HasSubstr("1 % of the text"));
  EXPECT_THAT(describe_held_out(*source, config), HasSubstr("0 of 1 units and the end of another"));
}

TEST(HeldOut, FewBooksOfVerySizesKeepTheShare) {
  for (const int64_t first : {100, 5000, 60'000}) {
    const auto source = std::make_shared<GivenSource>(
        std::vector<std::vector<std::string>>{{lines(first)}, {lines(20'000)}, {lines(7)}});
    for (const double fraction : {0.001, 0.05, 0.5, 0.95}) {
      DataConfig config;
      config.validation_fraction = fraction;
      const auto held = static_cast<double>(joined(part_of(source, config, Part::validation)).size());
      const auto kept = static_cast<double>(joined(part_of(source, config, Part::train_once)).size());
      EXPECT_EQ(held + kept, static_cast<double>(source->bytes()));
      EXPECT_NEAR(held / (held + kept), fraction, 0.11 * std::min(fraction, 1 - fraction)) << first;
      EXPECT_GT(kept, 0);
    }
  }
}

TEST(HeldOut, ManyUnitsAreHeldOutWhole) {
  const NumberedSource source(10'000, 1);
  const HeldOut part = held_out(source, source.shares()[0], DataConfig());
  EXPECT_EQ(std::ssize(part.units), 100);
  EXPECT_EQ(part.cut, -1);
}

TEST(HeldOut, EachPlaceOfAMixtureGivesItsShare) {
  const auto book = std::make_shared<GivenSource>(std::vector<std::vector<std::string>>{{lines(1000)}});
  const auto source = weighted_source({{book, 1.0}, {std::make_shared<NumberedSource>(2, 500, 10'000), 1.0}});
  const Order order(source, DataConfig(), 1, Part::validation);
  EXPECT_EQ(order.epoch(0).units.front(), 0);
  EXPECT_EQ(order.epoch(0).units.size(), 2u);
}

TEST(HeldOut, TokensAreCutBetweenTokens) {
  std::vector<text::TokenId> ids(1000);
  std::iota(ids.begin(), ids.end(), text::TokenId{0});
  Documents begin, end;
  for (Documents* part : {&begin, &end}) {
    part->add_ids(ids);
    part->keep_part(0.1, part == &end);
  }
  ASSERT_EQ(begin.size(), 1);
  ASSERT_EQ(end.size(), 1);
  EXPECT_EQ(begin.ids(0).size(), 900u);
  EXPECT_EQ(end.ids(0).front(), 900);
  EXPECT_EQ(end.ids(0).back(), 999);
}

TEST(HeldOut, ACharacterIsNotCut) {
  std::string text;
  for (int i = 0; i < 500; ++i) text += "\xE6\xB5\xB7";  // no word ends
  for (const double tail : {0.1, 0.1005, 0.101, 0.3}) {
    Documents begin, end;
    begin.add_text(text);
    end.add_text(text);
    begin.keep_part(tail, false);
    end.keep_part(tail, true);
    EXPECT_EQ(joined(texts(begin)) + joined(texts(end)), text);
    EXPECT_EQ(joined(texts(end)).size() % 3, 0u);
  }
}

// The share that is left after a cut is trained on exactly: a run goes on from any place of it.
TEST(HeldOut, ARunOnABookGoesOnFromAnyBatch) {
  const auto source = std::make_shared<GivenSource>(std::vector<std::vector<std::string>>{{lines(500)}});
  DataConfig config;
  config.validation_fraction = 0.2;
  Loader straight(source, tokenizer(), config, 7, 2, 32, {}, Part::train);
  std::vector<Batch> expected;
  for (int i = 0; i < 60; ++i) expected.push_back(*straight.next());
  EXPECT_GE(expected.back().after.epoch(), 1);
  for (size_t i = 0; i + 1 < expected.size(); i += 7) {
    Loader again(source, tokenizer(), config, 7, 2, 32, expected[i].after, Part::train);
    EXPECT_EQ(again.next()->target, expected[i + 1].target);
  }
}

}  // namespace
}  // namespace moe::data
