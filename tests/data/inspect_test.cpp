// SPDX-License-Identifier: MIT
#include "data/inspect.h"

#include <gmock/gmock.h>

#include "data/support.h"

namespace moe::data {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

TEST(Inspect, CountsWhatThereIs) {
  test::LogFile log;
  Terminal terminal{log.stream()};
  const auto found = inspect({golden("large_string.parquet").string(), golden("required.parquet").string()},
                             {}, tokenizer(), 1 << 20, terminal);
  ASSERT_EQ(found.files.size(), 2u);
  EXPECT_EQ(found.files[0].format, "parquet");
  EXPECT_EQ(found.file_bytes, found.files[0].bytes + found.files[1].bytes);
  EXPECT_THAT(found.columns, ElementsAre("id INT64", "text text", "url text"));
  EXPECT_EQ(found.rows, 64 + 53);
  EXPECT_EQ(found.sample_units, found.units);
  const auto texts = golden_texts();
  EXPECT_EQ(found.sample_documents, 2 * std::ssize(texts));
  int64_t tokens = 0, bytes = 0;
  for (const std::string& text : texts) {
    tokens += 2 * (1 + std::ssize(encode(text)));
    bytes += 2 * std::ssize(text);
  }
  EXPECT_EQ(found.sample_tokens, tokens);
  EXPECT_EQ(found.sample_bytes, bytes);
  EXPECT_EQ(found.epoch_tokens(), tokens);  // the sample is all
  EXPECT_EQ(found.tokens_per_document.front(), 1 + std::ssize(encode("last")));
  EXPECT_GT(found.tokens_per_document.back(), 1000);
}

TEST(Inspect, ASampleStandsForTheWhole) {
  const auto folder = fresh_folder();
  std::string lines;
  for (int64_t i = 0; i < 20'000; ++i)
    lines += nlohmann::json{{"text", NumberedSource::text(i)}}.dump() + "\n";
  spill(folder / "a.jsonl", lines);
  test::LogFile log;
  Terminal terminal{log.stream()};
  const auto found = inspect({folder.string()}, {}, tokenizer(), 200'000, terminal);
  EXPECT_LT(found.sample_units, found.units / 4);
  EXPECT_NEAR(static_cast<double>(found.epoch_documents()), 20'000, 600);
  EXPECT_THAT(found.first_document, StartsWith("document "));
  EXPECT_TRUE(found.columns.empty());
}

}  // namespace
}  // namespace moe::data
