// SPDX-License-Identifier: MIT
#include "data/text_size.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/terminal.h"
#include "data/support.h"

namespace moe::data {
namespace {

// The size of one share of these places, which must be known.
TextSize size_of(const std::vector<std::string>& places, const DataConfig& config) {
  test::LogFile log;
  Terminal terminal{log.stream()};
  const auto source = open_source(places, config, terminal);
  const auto size = training_text_size(*source, source->shares().front(), config, tokenizer());
  EXPECT_TRUE(size);
  return size.value_or(TextSize{});
}

TEST(TextSizeTest, OfALittleTextItIsExact) {
  const auto folder = fresh_folder();
  spill(folder / "a.txt", "one two three\nfour five six\n");
  DataConfig config;
  config.validation_fraction = 0;
  config.document_split = DocumentSplit::line;
  const TextSize size = size_of({(folder / "a.txt").string()}, config);
  EXPECT_EQ(size.bytes, 28);
  EXPECT_EQ(size.documents, 2);
  EXPECT_EQ(size.tokens,
            static_cast<double>(encode("one two three\n").size() + encode("four five six\n").size() + 2));
}

TEST(TextSizeTest, ASampleStandsForTheWholeWithoutWhatIsHeldOut) {
  const auto folder = fresh_folder();
  std::string lines;
  double tokens = 0;
  for (int64_t i = 0; i < 20'000; ++i) {
    lines += nlohmann::json{{"text", NumberedSource::text(i)}}.dump() + "\n";
    tokens += 1 + static_cast<double>(encode(NumberedSource::text(i)).size());
  }
  spill(folder / "a.jsonl", lines);
  DataConfig config;
  config.validation_fraction = 0;
  const TextSize all = size_of({folder.string()}, config);
  EXPECT_NEAR(all.tokens, tokens, 0.05 * tokens);
  EXPECT_NEAR(all.documents, 20'000, 1000);
  config.validation_fraction = 0.25;
  const TextSize rest = size_of({folder.string()}, config);
  EXPECT_NEAR(rest.tokens, 0.75 * all.tokens, 0.03 * all.tokens);
  EXPECT_NEAR(static_cast<double>(rest.bytes), 0.75 * static_cast<double>(all.bytes),
              0.03 * static_cast<double>(all.bytes));
}

// A book: one document, of which the beginning is tokenised.
TEST(TextSizeTest, ALongDocumentIsNotTokenisedAsAWhole) {
  const auto folder = fresh_folder();
  std::string book;
  while (book.size() < 2'000'000) book += "The lamp number " + std::to_string(book.size()) + " is green.\n";
  spill(folder / "book.txt", book);
  DataConfig config;
  config.validation_fraction = 0;
  const TextSize size = size_of({(folder / "book.txt").string()}, config);
  const auto tokens = static_cast<double>(encode(book).size());
  EXPECT_NEAR(size.tokens, tokens, 0.05 * tokens);
  EXPECT_EQ(size.documents, 1);
}

}  // namespace
}  // namespace moe::data
