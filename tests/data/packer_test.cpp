// SPDX-License-Identifier: MIT
// The packings that keep documents apart. Concatenation is tested through the loader.
#include "data/packer.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"
#include "data/best_fit_packer.h"
#include "data/loader.h"
#include "data/support.h"

namespace moe::data {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAreArray;

constexpr int32_t kEnd = text::Gpt2Tokenizer::kEndOfText;

class PackerTest : public testing::TestWithParam<Packing> {
 protected:
  std::vector<Batch> pass(const Cursor& start = {}) {
    Loader loader(source, tokenizer(), config, 7, 3, 24, start, Part::all);
    std::vector<Batch> batches;
    while (auto batch = loader.next()) batches.push_back(std::move(*batch));
    return batches;
  }
  std::shared_ptr<NumberedSource> source = std::make_shared<NumberedSource>(20, 5, 400'000);
  DataConfig config = [] {
    DataConfig c;
    c.shuffle_window_mb = 1;
    c.packing = GetParam();
    return c;
  }();
};

// Replaced bytes are learnt as U+FFFD but counted as what they are.
TEST_P(PackerTest, BytesAreThoseOfTheSource) {
  class Latin : public NumberedSource {
   public:
    Latin() : NumberedSource(20, 5, 400'000) {}
    static std::string text(int64_t number) {
      std::string text = "caf\xE9 " + NumberedSource::text(number) + "\xF0\x9F\x98 \xFF\xFF\xFF \xEF\xBF\xBD";
      return text + std::string(static_cast<size_t>(number % 3), '\xE4');
    }
    void read(int64_t unit, Documents& documents) const override {
      for (int64_t i = 0; i < 5; ++i) documents.add_text(text(unit * 5 + i));
    }
  };
  int64_t bytes = 0, tokens = 0;
  for (int64_t i = 0; i < 100; ++i) {
    bytes += std::ssize(Latin::text(i));
    tokens += std::ssize(encode(Latin::text(i)));
  }
  Loader loader(std::make_shared<Latin>(), tokenizer(), config, 7, 3, 24, {}, Part::all);
  int64_t counted = 0, targets = 0;
  while (const auto batch = loader.next()) {
    counted += batch->target_bytes;
    for (const int32_t id : batch->input) ASSERT_TRUE(id >= 0 && id < text::Gpt2Tokenizer::kVocabulary);
    for (const int32_t id : batch->target) {
      ASSERT_LT(id, text::Gpt2Tokenizer::kVocabulary);
      if (id >= 0 && id != kEnd) ++targets;
    }
  }
  EXPECT_EQ(counted, bytes);
  EXPECT_EQ(targets, tokens);
  EXPECT_EQ(loader.replaced(), 100 * 5 + 33 + 2 * 33);
}

// Every document whole, however it is cut into rows: follows each from its first token through the rows.
TEST_P(PackerTest, HoldsEveryDocumentOnceAndNothingElse) {
  std::vector<std::vector<int32_t>> expected;
  int64_t bytes = 0;
  for (int64_t i = 0; i < 100; ++i) {
    auto ids = encode(NumberedSource::text(i));
    bytes += static_cast<int64_t>(NumberedSource::text(i).size());
    ids.push_back(kEnd);  // the last target
    expected.push_back(std::move(ids));
  }
  // Parts begin where `first` is the place itself. One that begins a document has <|endoftext|> as input.
  std::vector<std::vector<int32_t>> whole, rest;
  int64_t targets = 0, counted_bytes = 0;
  const auto batches = pass();
  for (const Batch& batch : batches) {
    targets += batch.targets;
    counted_bytes += batch.target_bytes;
    for (size_t i = 0; i < batch.input.size(); ++i) {
      EXPECT_EQ(batch.first[i] == -1, batch.target[i] == -1);
      if (batch.target[i] == -1) continue;
      const bool begins = batch.first[i] == static_cast<int32_t>(i % 24);
      if (begins) (batch.input[i] == kEnd ? whole : rest).emplace_back();
      auto& part = batch.input[i - (i % 24 - static_cast<size_t>(batch.first[i]))] == kEnd ? whole.back()
                                                                                           : rest.back();
      if (!begins) {
        EXPECT_EQ(batch.input[i], batch.target[i - 1]);
      }
      part.push_back(batch.target[i]);
    }
  }
  EXPECT_EQ(counted_bytes, bytes);
  EXPECT_EQ(batches.back().after.documents(), 100);
  EXPECT_EQ(batches.back().after.tokens(), targets);
  // Documents longer than a row: their remainder is among `rest`.
  for (auto& ids : whole) {
    if (ids.back() == kEnd) continue;
    EXPECT_EQ(ids.size(), 24u);
    const auto document = std::find_if(expected.begin(), expected.end(), [&](const auto& d) {
      return d.size() > 24 && std::equal(ids.begin(), ids.end(), d.begin());
    });
    ASSERT_NE(document, expected.end());
    for (size_t at = 24; at < document->size(); at += 24) {
      const std::vector<int32_t> part(
          document->begin() + static_cast<std::ptrdiff_t>(at),
          document->begin() + static_cast<std::ptrdiff_t>(std::min(at + 24, document->size())));
      const auto found = std::find(rest.begin(), rest.end(), part);
      ASSERT_NE(found, rest.end());
      ids.insert(ids.end(), part.begin(), part.end());
      rest.erase(found);
    }
  }
  EXPECT_TRUE(rest.empty());
  EXPECT_THAT(whole, UnorderedElementsAreArray(expected));
}

TEST_P(PackerTest, GoesOnFromAnyBatch) {
  const auto expected = pass();
  ASSERT_GT(expected.size(), 10u);
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto rest = pass(expected[i].after);
    ASSERT_EQ(rest.size(), expected.size() - i - 1);
    for (size_t k = 0; k < rest.size(); ++k) {
      ASSERT_EQ(rest[k].input, expected[i + 1 + k].input);
      ASSERT_EQ(rest[k].target, expected[i + 1 + k].target);
      ASSERT_EQ(rest[k].first, expected[i + 1 + k].first);
      ASSERT_EQ(rest[k].after, expected[i + 1 + k].after);
    }
  }
}

TEST_P(PackerTest, WithoutTheMaskRowsAreOneText) {
  config.document_mask = false;
  for (const Batch& batch : pass())
    for (size_t i = 0; i < batch.first.size(); ++i) EXPECT_EQ(batch.first[i], batch.target[i] == -1 ? -1 : 0);
}

INSTANTIATE_TEST_SUITE_P(Packings, PackerTest, testing::Values(Packing::best_fit, Packing::pad),
                         [](const auto& test) { return std::string(name_of(test.param)); });

std::vector<size_t> filled(const std::vector<std::vector<PackedPart>>& rows) {
  std::vector<size_t> sums;
  for (const auto& row : rows)
    sums.push_back(std::accumulate(row.begin(), row.end(), size_t{0},
                                   [](size_t sum, const PackedPart& part) { return sum + part.places; }));
  return sums;
}

TEST(BestFit, PutsEachWhereItFitsTightest) {
  // 7, 5, 4, 3, 1: 7 opens a row; 5 another; 4 goes to 5's (9); 3 goes to 7's (10, full); 1 fills the other.
  EXPECT_THAT(filled(best_fit(std::vector<size_t>{3, 5, 1, 7, 4}, 10)), ElementsAre(10, 10));
  EXPECT_THAT(filled(best_fit(std::vector<size_t>{25, 6, 5}, 10)), ElementsAre(10, 10, 6, 10));
  EXPECT_THAT(filled(best_fit(std::vector<size_t>{10, 20}, 10)), ElementsAre(10, 10, 10));
  EXPECT_TRUE(best_fit({}, 10).empty());
}

TEST(BestFit, WastesLittleOfRealLengths) {
  std::vector<size_t> places;  // log-normal, like the documents of a crawl: median 700 tokens
  const Random random(1, "lengths");
  for (uint64_t i = 0; i < 3000; ++i)
    places.push_back(1 + static_cast<size_t>(std::exp(6.55F + random.normal(i))));
  const auto rows = best_fit(places, 1024);
  const auto all = std::accumulate(places.begin(), places.end(), size_t{0});
  EXPECT_LT(static_cast<double>(rows.size() * 1024), 1.005 * static_cast<double>(all));
}

}  // namespace
}  // namespace moe::data
