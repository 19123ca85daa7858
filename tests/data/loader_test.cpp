// SPDX-License-Identifier: MIT
// The whole pipeline: the same stream however it is cut, stopped, and spread over threads.
#include "data/loader.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "data/support.h"
#include "data/token_file.h"

namespace moe::data {
namespace {

using testing::HasSubstr;

constexpr int32_t kEnd = text::Gpt2Tokenizer::kEndOfText;

class LoaderTest : public testing::Test {
 protected:
  Loader loader(Part part, const Cursor& start = {}, int64_t rows = 3, int64_t length = 17,
                Shard shard = {}) {
    return Loader(source, tokenizer(), config, 7, rows, length, start, part, shard);
  }

  // Windows of three units; a piece of work holds several documents.
  std::shared_ptr<NumberedSource> source = std::make_shared<NumberedSource>(20, 5, 400'000);
  DataConfig config = [] {
    DataConfig c;
    c.shuffle_window_mb = 1;
    c.validation_fraction = 0.1;
    return c;
  }();
};

std::vector<Batch> all_batches(Loader& loader) {
  std::vector<Batch> batches;
  while (auto batch = loader.next()) batches.push_back(std::move(*batch));
  return batches;
}

void expect_equal(const Batch& a, const Batch& b) {
  EXPECT_EQ(a.input, b.input);
  EXPECT_EQ(a.target, b.target);
  EXPECT_EQ(a.first, b.first);
  EXPECT_EQ(a.targets, b.targets);
  EXPECT_EQ(a.target_bytes, b.target_bytes);
  EXPECT_EQ(a.after, b.after);
}

// Texts of the documents whose tokens these are; the first token is an end-of-text.
std::vector<std::string> documents(const std::vector<int32_t>& ids) {
  std::vector<std::string> result;
  for (const int32_t id : ids) {
    if (id == kEnd) result.emplace_back();
    if (id != kEnd) result.back() += tokenizer().bytes(id);
  }
  return result;
}

TEST_F(LoaderTest, OnePassGivesEveryTokenOnceInOrder) {
  std::vector<int32_t> stream;
  int64_t bytes = 0;
  for (int64_t i = 0; i < 100; ++i) {
    const auto ids = encode(NumberedSource::text(i));
    stream.push_back(kEnd);
    stream.insert(stream.end(), ids.begin(), ids.end());
    bytes += static_cast<int64_t>(NumberedSource::text(i).size());
  }
  Loader all = loader(Part::all);
  std::vector<int32_t> inputs, targets;
  int64_t counted = 0, target_bytes = 0;
  Cursor last;
  for (const Batch& batch : all_batches(all)) {
    for (size_t i = 0; i < batch.input.size(); ++i) {
      EXPECT_EQ(batch.first[i] == -1, batch.target[i] == -1);
      if (batch.target[i] == -1) continue;
      inputs.push_back(batch.input[i]);
      targets.push_back(batch.target[i]);
    }
    counted += batch.targets;
    target_bytes += batch.target_bytes;
    EXPECT_EQ(batch.after.tokens(), counted);
    last = batch.after;
  }
  EXPECT_EQ(last.documents(), 99);  // finished: all but the last
  EXPECT_EQ(inputs, std::vector<int32_t>(stream.begin(), stream.end() - 1));
  EXPECT_EQ(targets, std::vector<int32_t>(stream.begin() + 1, stream.end()));
  EXPECT_EQ(target_bytes, bytes);
}

TEST_F(LoaderTest, TheLastBatchIsPadded) {
  source = std::make_shared<NumberedSource>(1, 2);
  const auto count =
      static_cast<int64_t>(encode(NumberedSource::text(0)).size() + encode(NumberedSource::text(1)).size()) +
      1;
  Loader padded = loader(Part::all, {}, 2, count - 1);
  const auto batches = all_batches(padded);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].targets, count);
  for (int64_t i = 0; i < 2 * (count - 1); ++i) {
    const auto at = static_cast<size_t>(i);
    EXPECT_EQ(batches[0].target[at] == -1, i >= count);
    EXPECT_TRUE(i < count || batches[0].input[at] == kEnd);
  }
  Loader exact = loader(Part::all, {}, 1, count);
  ASSERT_EQ(all_batches(exact).size(), 1u);
}

TEST_F(LoaderTest, FirstPointsAtTheStartOfTheDocument) {
  Loader masked = loader(Part::train, {}, 2, 40);
  int starts = 0;
  for (int n = 0; n < 10; ++n) {
    const Batch batch = *masked.next();
    for (size_t i = 0; i < batch.input.size(); ++i) {
      const size_t row = i / 40 * 40, t = i % 40;
      if (batch.input[i] == kEnd) {
        EXPECT_EQ(batch.first[i], static_cast<int32_t>(t));
        starts += 1;
      } else {
        EXPECT_EQ(batch.first[i], t == 0 ? 0 : batch.first[i - 1]) << row;
      }
    }
  }
  EXPECT_GT(starts, 20);
  config.document_mask = false;
  Loader plain = loader(Part::train);
  EXPECT_THAT(plain.next()->first, testing::Each(0));
}

TEST_F(LoaderTest, EveryDocumentOncePerEpochAndHeldOutOnesNever) {
  std::vector<int32_t> held_out{kEnd};
  Loader validation = loader(Part::validation);
  for (const Batch& batch : all_batches(validation))
    for (const int32_t id : batch.target)
      if (id != -1) held_out.push_back(id);
  const auto held = documents(held_out);
  EXPECT_EQ(held.size(), 10u);

  Loader train = loader(Part::train, {}, 1, 1);
  std::map<int64_t, std::vector<int32_t>> epochs;
  epochs[0].push_back(kEnd);
  while (true) {
    const Batch batch = *train.next();
    if (batch.after.epoch() == 3) break;
    epochs[batch.after.epoch()].push_back(batch.target[0]);
  }
  std::vector<std::vector<std::string>> orders;
  for (const auto& [epoch, ids] : epochs) {
    auto seen = documents(ids);
    orders.push_back(seen);
    EXPECT_EQ(seen.size(), 90u);
    seen.insert(seen.end(), held.begin(), held.end());
    std::sort(seen.begin(), seen.end());
    std::vector<std::string> all;
    for (int64_t i = 0; i < 100; ++i) all.push_back(NumberedSource::text(i));
    std::sort(all.begin(), all.end());
    EXPECT_EQ(seen, all);
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_NE(orders[1], orders[2]);
}

TEST_F(LoaderTest, GoesOnFromAnyBatchWithAnyNumberOfThreads) {
  Loader straight = loader(Part::train);
  std::vector<Batch> expected;
  for (int i = 0; i < 110; ++i) expected.push_back(*straight.next());
  ASSERT_GE(expected.back().after.epoch(), 2);
  for (const int64_t workers : {1, 4}) {
    config.num_workers = workers;
    for (size_t i = 0; i + 4 < expected.size(); ++i) {
      Loader again = loader(Part::train, expected[i].after);
      for (size_t k = 1; k <= 4; ++k) expect_equal(*again.next(), expected[i + k]);
    }
  }
}

TEST_F(LoaderTest, OnePassGoesOnToo) {
  Loader straight = loader(Part::all);
  const auto expected = all_batches(straight);
  for (size_t i = 0; i < expected.size(); ++i) {
    Loader again = loader(Part::all, expected[i].after);
    const auto rest = all_batches(again);
    ASSERT_EQ(rest.size(), expected.size() - i - 1);
    for (size_t k = 0; k < rest.size(); ++k) expect_equal(rest[k], expected[i + 1 + k]);
  }
}

TEST_F(LoaderTest, TheStreamDoesNotDependOnTheShapeOfBatches) {
  const auto stream = [&](int64_t rows, int64_t length, size_t count) {
    std::vector<int32_t> targets;
    Loader l = loader(Part::train, {}, rows, length);
    while (targets.size() < count) {
      const Batch batch = *l.next();
      targets.insert(targets.end(), batch.target.begin(), batch.target.end());
    }
    targets.resize(count);
    return targets;
  };
  const auto expected = stream(1, 8, 2000);
  EXPECT_EQ(stream(4, 33, 2000), expected);
  EXPECT_EQ(stream(1, 3000, 2000), expected);  // longer than any document
}

TEST_F(LoaderTest, AnErrorComesAfterTheBatchesBeforeIt) {
  Loader good = loader(Part::all);
  const auto expected = all_batches(good);
  source->bad_unit = 15;  // in the sixth window
  Loader bad = loader(Part::all);
  size_t seen = 0;
  std::string message;
  try {
    while (auto batch = bad.next()) expect_equal(*batch, expected.at(seen++));
  } catch (const UserError& error) {
    message = error.what();
  }
  EXPECT_THAT(message, HasSubstr("bad data"));
  EXPECT_GT(seen, expected.size() * 6 / 10);
  EXPECT_FALSE(bad.next());
}

TEST_F(LoaderTest, StopsAtOnceWhereverItsThreadsAre) {
  for (int i = 0; i < 50; ++i) {
    config.num_workers = 1 + i % 4;
    Loader l = loader(Part::train);
    for (int k = 0; k < i % 7; ++k) l.next();
  }
}

TEST_F(LoaderTest, CountsWaitingAndTheQueue) {
  config.prefetch_batches = 3;
  Loader l = loader(Part::train);
  l.next();
  EXPECT_GT(l.waited_seconds(), 0);
  while (l.queued() < 3) std::this_thread::yield();
  EXPECT_EQ(l.queued(), 3);
  EXPECT_EQ(l.replaced(), 0);
}

TEST_F(LoaderTest, RefusesACursorOfOtherData) {
  const auto message = [&](const Cursor& cursor) {
    return user_error_of([&] { loader(Part::train, cursor).next(); });
  };
  EXPECT_THAT(message({{{0, 99, 0, 0}}}), HasSubstr("expected window 99, found 6 of them"));
  EXPECT_THAT(message({{{0, 0, 99, 0}}}), HasSubstr("expected document 99, found 15 of them"));
  EXPECT_THAT(message({{{0, 0, 0, 9999}}}), HasSubstr("expected token 9999"));
}

TEST_F(LoaderTest, TextWithoutDocumentsIsAnErrorNotAnEndlessLoop) {
  source = std::make_shared<NumberedSource>(3, 0);
  EXPECT_THAT(user_error_of([&] { loader(Part::train).next(); }),
              HasSubstr("data.source: expected documents with text"));
  EXPECT_FALSE(loader(Part::all).next());
  EXPECT_FALSE(loader(Part::validation).next());
}

TEST_F(LoaderTest, TokenFilesGiveTheStreamOfTheirText) {
  std::vector<text::TokenId> ids;
  for (int64_t i = 0; i < 100; ++i) {
    ids.push_back(kEnd);
    const auto text = encode(NumberedSource::text(i));
    ids.insert(ids.end(), text.begin(), text.end());
  }
  const auto file = fresh_folder() / "t.bin";
  write_token_file(file, ids, text::Gpt2Tokenizer::kFacts);
  Loader from_text = loader(Part::all);
  Loader from_tokens(token_source(local_file(file), text::Gpt2Tokenizer::kFacts, 512), tokenizer(), config, 7,
                     3, 17, {}, Part::all);
  const auto expected = all_batches(from_text), found = all_batches(from_tokens);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].target, expected[i].target);
    EXPECT_EQ(found[i].target_bytes, expected[i].target_bytes);
  }
}

}  // namespace
}  // namespace moe::data
