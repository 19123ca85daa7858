// SPDX-License-Identifier: MIT
// Several loaders standing for ranks: the global stream is the same for any number of ranks and threads, and
// goes on from any place with another number.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/random.h"
#include "data/held_out.h"
#include "data/interleave.h"
#include "data/loader.h"
#include "data/support.h"
#include "data/weighted_source.h"

namespace moe::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kRows = 12, kLength = 16;  // of a global batch

// The ranks of one run.
class Ranks {
 public:
  Ranks(const std::shared_ptr<const Source>& source, const DataConfig& config, int64_t world,
        const Cursor& start, Part part = Part::train) {
    for (int64_t rank = 0; rank < world; ++rank)
      loaders_.push_back(std::make_unique<Loader>(source, tokenizer(), config, 7, kRows / world, kLength,
                                                  start, part, Shard{rank, world}));
  }

  // A global batch; nothing at the end.
  std::optional<Batch> next() {
    Batch global;
    std::vector<Cursor> cursors;
    for (const auto& loader : loaders_) {
      const auto batch = loader->next();
      if (!batch) continue;
      global.input.insert(global.input.end(), batch->input.begin(), batch->input.end());
      global.target.insert(global.target.end(), batch->target.begin(), batch->target.end());
      global.first.insert(global.first.end(), batch->first.begin(), batch->first.end());
      global.targets += batch->targets;
      cursors.push_back(batch->after);
    }
    if (cursors.empty()) return std::nullopt;
    EXPECT_EQ(cursors.size(), loaders_.size());  // all end together
    // As through a checkpoint.
    global.after = nlohmann::json::parse(nlohmann::json(merge(cursors)).dump()).get<Cursor>();
    return global;
  }

  const Loader& rank(size_t r) const { return *loaders_[r]; }

 private:
  std::vector<std::unique_ptr<Loader>> loaders_;
};

void expect_equal(const Batch& found, const Batch& expected) {
  EXPECT_EQ(found.input, expected.input);
  EXPECT_EQ(found.target, expected.target);
  EXPECT_EQ(found.first, expected.first);
  EXPECT_EQ(found.after, expected.after);
}

struct Case {
  const char* name;
  int64_t streams;
  Packing packing;
  bool mixture;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

class RanksTest : public testing::TestWithParam<Case> {
 protected:
  std::shared_ptr<const Source> source() const {
    const auto numbers = std::make_shared<NumberedSource>(800, 1, 40'000);
    if (!GetParam().mixture) return numbers;
    return weighted_source({{numbers, 3.0}, {std::make_shared<NumberedSource>(300, 1, 90'000), 1.0}});
  }
  DataConfig config = [] {
    DataConfig c;
    c.shuffle_window_mb = 1;
    c.streams = GetParam().streams;
    c.packing = GetParam().packing;
    return c;
  }();
};

TEST_P(RanksTest, KilledTwentyTimesAndResumedWithOtherRanksAndWorkers) {
  const auto text = source();
  Ranks straight(text, config, 1, {});
  std::vector<Batch> expected;
  for (int i = 0; i < 300; ++i) expected.push_back(*straight.next());

  const Random random(3, "kill");
  size_t at = 0;
  Cursor cursor;
  for (uint64_t kill = 0; kill < 20; ++kill) {
    const int64_t world = 1 + static_cast<int64_t>(kill % 3);
    config.num_workers = 1 + static_cast<int64_t>(random.below(3 * kill, 4));
    config.read_threads = 1 + static_cast<int64_t>(random.below(3 * kill + 1, 3));
    Ranks ranks(text, config, world, cursor);
    for (uint64_t n = 1 + random.below(3 * kill + 2, 28); n > 0 && at < expected.size(); --n) {
      const Batch batch = *ranks.next();
      expect_equal(batch, expected[at++]);
      cursor = batch.after;
    }
    if (testing::Test::HasFailure()) return;
  }
  for (const StreamCursor& stream : cursor.streams) EXPECT_GE(stream.epoch, 1);
}

TEST_P(RanksTest, OnePassEndsOnAllRanksAtOnce) {
  const auto text = source();
  Ranks one(text, config, 1, {}, Part::validation), three(text, config, 3, {}, Part::validation);
  int batches = 0;
  while (const auto expected = one.next()) {
    const auto found = three.next();
    ASSERT_TRUE(found);
    expect_equal(*found, *expected);
    ++batches;
  }
  EXPECT_GE(batches, 1);
  EXPECT_FALSE(three.next());
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, RanksTest,
    testing::Values(Case{"six", 6, Packing::concat, false}, Case{"uneven", 5, Packing::concat, false},
                    Case{"one", 1, Packing::concat, false}, Case{"best_fit", 6, Packing::best_fit, false},
                    Case{"pad", 6, Packing::pad, false}, Case{"mixture", 6, Packing::concat, true},
                    Case{"uneven_mixture", 4, Packing::best_fit, true}),
    [](const auto& test) { return std::string(test.param.name); });

// A filter that few rows pass: most units hold no documents.
class RareSource : public NumberedSource {
 public:
  explicit RareSource(std::set<int64_t> full) : NumberedSource(800, 1, 40'000), full_(std::move(full)) {}
  void read(int64_t unit, Documents& documents) const override {
    if (full_.contains(unit)) NumberedSource::read(unit, documents);
  }

 private:
  std::set<int64_t> full_;
};

struct RareCase {
  const char* name;
  Packing packing;
  bool shuffle, mixture;
};

class RareDocuments : public testing::TestWithParam<RareCase> {};

TEST_P(RareDocuments, AStreamWithoutAnyGivesThoseOfOthers) {
  DataConfig config;
  config.shuffle_window_mb = 1;
  config.streams = 6;
  config.packing = GetParam().packing;
  config.shuffle = GetParam().shuffle;
  config.validation_fraction = 0;
  std::shared_ptr<const Source> text = std::make_shared<RareSource>(std::set<int64_t>{3, 5, 9});
  if (GetParam().mixture)
    text = weighted_source({{text, 1.0}, {std::make_shared<NumberedSource>(300, 1, 90'000), 1.0}});
  Ranks straight(text, config, 1, {});
  std::vector<Batch> expected;
  for (int i = 0; i < 60; ++i) expected.push_back(*straight.next());
  for (const StreamCursor& stream : expected.back().after.streams) EXPECT_GT(stream.rows, 0);
  // The same for any number of ranks, from any place.
  Cursor cursor;
  for (size_t at = 0, world = 1; at < expected.size(); world = world % 3 + 1) {
    Ranks ranks(text, config, static_cast<int64_t>(world), cursor);
    for (int n = 0; n < 7 && at < expected.size(); ++n) {
      const Batch batch = *ranks.next();
      expect_equal(batch, expected[at++]);
      cursor = batch.after;
    }
    if (testing::Test::HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, RareDocuments,
                         testing::Values(RareCase{"concat", Packing::concat, true, false},
                                         RareCase{"natural", Packing::concat, false, false},
                                         RareCase{"best_fit", Packing::best_fit, true, false},
                                         RareCase{"pad", Packing::pad, true, false},
                                         RareCase{"mixture", Packing::concat, true, true}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(RareDocumentsOfNone, AreRefusedOnceEveryUnitWasRead) {
  DataConfig config;
  config.streams = 6;
  const auto nothing = std::make_shared<RareSource>(std::set<int64_t>{});
  EXPECT_THAT(user_error_of([&] { Ranks(nothing, config, 2, {}).next(); }),
              HasSubstr("data.source: expected documents with text, found none in the whole training part"));
  const auto mixture =
      weighted_source({{std::make_shared<NumberedSource>(300, 1, 90'000), 1.0}, {nothing, 1.0}});
  EXPECT_THAT(user_error_of([&] {
                Ranks ranks(mixture, config, 1, {});
                for (int i = 0; i < 3; ++i) ranks.next();
              }),
              HasSubstr("data.mixture, place 2: expected documents with text"));
}

TEST(Interleave, ARankReadsItsPartOnly) {
  const auto text = std::make_shared<NumberedSource>(1000, 2, 40'000);
  DataConfig config;
  config.streams = 6;
  const Ranks two(text, config, 2, {}), three(text, config, 3, {});
  EXPECT_THAT(two.rank(0).streams(), ElementsAre(0, 1, 2));
  EXPECT_THAT(two.rank(1).streams(), ElementsAre(3, 4, 5));
  EXPECT_THAT(three.rank(1).streams(), ElementsAre(2, 3));
}

TEST(Interleave, SmallTextsHaveFewerStreams) {
  DataConfig config;
  config.validation_fraction = 0;
  config.streams = 8;
  const auto streams = [&](int64_t units) {
    return layout(NumberedSource(units, 1), config, Part::train).streams();
  };
  EXPECT_EQ(streams(1), 1);
  EXPECT_EQ(streams(2 * kUnitsPerStream - 1), 1);
  EXPECT_EQ(streams(2 * kUnitsPerStream), 2);
  EXPECT_EQ(streams(4 * kUnitsPerStream - 1), 2);  // a divisor of 8
  EXPECT_EQ(streams(8 * kUnitsPerStream), 8);
  EXPECT_EQ(streams(100'000), 8);
  EXPECT_EQ(layout(NumberedSource(100'000, 1), config, Part::all).streams(), 1);
}

TEST(Interleave, EveryUnitIsInOneStreamAndStreamsAreOfOneSize) {
  DataConfig config;
  config.streams = 8;
  class Uneven : public NumberedSource {
   public:
    Uneven() : NumberedSource(1400, 1) {}
    int64_t unit_bytes(int64_t unit) const override { return 1000 + unit * unit % 977; }
  };
  const auto source = std::make_shared<Uneven>();
  std::set<int64_t> all;
  std::vector<int64_t> bytes;
  for (int64_t s = 0; s < 8; ++s) {
    bytes.push_back(0);
    for (const int64_t unit : Order(source, config, 1, Part::train, s).epoch(2).units) {
      EXPECT_TRUE(all.insert(unit).second);
      bytes.back() += source->unit_bytes(unit);
    }
  }
  EXPECT_EQ(static_cast<int64_t>(all.size()),
            1400 - std::ssize(held_out(*source, source->shares()[0], config).units));
  const auto [least, most] = std::minmax_element(bytes.begin(), bytes.end());
  EXPECT_LE(*most - *least, 1000 + 977);
}

TEST(Interleave, SharesFollowTheirWeightsAtAnyPlace) {
  Layout mixture{4, {{0, 4, 700'000}, {4, 2, 200'000}, {6, 1, 100'000}}};
  Interleave columns(mixture, {});
  std::vector<int64_t> rows(7, 0);
  for (int64_t g = 1; g <= 40'000; ++g) {
    ++rows[static_cast<size_t>(columns.next().stream)];
    const double first = static_cast<double>(rows[0] + rows[1] + rows[2] + rows[3]);
    const double second = static_cast<double>(rows[4] + rows[5]);
    ASSERT_NEAR(first, 0.7 * static_cast<double>(g), 4.0 + 4.0);  // a turn, and one being behind
    ASSERT_NEAR(second, 0.2 * static_cast<double>(g), 8.0);
  }
  EXPECT_EQ(rows, (std::vector<int64_t>{7000, 7000, 7000, 7000, 4000, 4000, 4000}));
}

TEST(Interleave, RefusesTheCursorOfAnotherNumberOfStreams) {
  const auto text = std::make_shared<NumberedSource>(1000, 2, 40'000);
  DataConfig config;
  config.streams = 4;
  EXPECT_THAT(user_error_of([&] { Ranks(text, config, 1, Cursor{{{}}}); }),
              HasSubstr("data cursor: expected 4 streams, found 1"));
}

}  // namespace
}  // namespace moe::data
