// SPDX-License-Identifier: MIT
#include "data/text.h"

#include <gmock/gmock.h>

#include "data/support.h"

namespace moe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Reads a text in ranges of `step` bytes.
std::vector<std::string> split(std::string_view text, DocumentSplit rule, int64_t step = 1 << 20) {
  const MemoryInput input("memory.txt", text);
  Documents documents;
  for (int64_t begin = 0; begin < input.size(); begin += step)
    read_text(input, begin, std::min(begin + step, input.size()), rule, documents);
  return texts(documents);
}

TEST(Text, SplitsByRule) {
  const std::string text = "\n\nHead\n  body\n\n  still\n\n \t\nNext  \n \nLast";
  EXPECT_THAT(split(text, DocumentSplit::file),
              ElementsAre("\n\nHead\n  body\n\n  still\n\n \t\nNext  \n \nLast\n"));
  EXPECT_THAT(split(text, DocumentSplit::line),
              ElementsAre("Head\n", "  body\n", "  still\n", "Next\n", "Last\n"));
  EXPECT_THAT(split(text, DocumentSplit::blank_line),
              ElementsAre("Head\n  body\n", "  still\n", "Next\n", "Last\n"));
  EXPECT_THAT(split(text, DocumentSplit::unindented),
              ElementsAre("Head\n  body\n\n  still\n", "Next\n", "Last\n"));
}

TEST(Text, AnUnindentedLineStaysAfterAnIndentedOne) {
  const std::string text = "Head\n\n  block\nmore of it\n\nNext\n";
  EXPECT_THAT(split(text, DocumentSplit::unindented), ElementsAre("Head\n\n  block\nmore of it\n", "Next\n"));
}

TEST(Text, TrimsEndsAndDropsEmptyOnes) {
  EXPECT_THAT(split(" \n\t\n\r\n", DocumentSplit::file), ElementsAre());
  EXPECT_THAT(split(" \n\t\n\r\n", DocumentSplit::line), ElementsAre());
  EXPECT_THAT(split("a \r\n\r\nb\r\n\r\n", DocumentSplit::blank_line), ElementsAre("a\n", "b\n"));
  EXPECT_THAT(split("\xEF\xBB\xBF"
                    "a",
                    DocumentSplit::line),
              ElementsAre("a\n"));
}

TEST(Text, RangesOfAnySizeGiveTheSameDocuments) {
  std::string text = "\n";
  for (int i = 0; i < 60; ++i) {
    text += "entry " + std::to_string(i) + "\n";
    for (int j = 0; j < i % 5; ++j) text += j % 2 ? "   indented line\n" : "unindented line\n";
    if (i % 3) text += i % 2 ? " \t \n" : "\n\n\n";
    if (i % 7 == 0) text += "   an indented block\n\n";
  }
  for (const auto rule : {DocumentSplit::line, DocumentSplit::blank_line, DocumentSplit::unindented}) {
    const auto whole = split(text, rule);
    EXPECT_GT(whole.size(), 20u);
    for (int64_t step = 1; step < 300; ++step) ASSERT_EQ(split(text, rule, step), whole) << "step " << step;
  }
}

TEST(Text, BlankLinesBeforeARangeAreSeenFarBack) {
  const std::string text = "first\n" + std::string(20000, ' ') + "\nsecond\n";
  for (const int64_t step : {64, 4096, 10000, 20007})
    EXPECT_THAT(split(text, DocumentSplit::unindented, step), ElementsAre("first\n", "second\n"));
}

TEST(Text, ManyBlankLinesTakeLinearTime) {
  const std::string text = "a\n" + std::string(1 << 20, '\n') + "b\n";
  EXPECT_THAT(split(text, DocumentSplit::blank_line, 128 << 10), ElementsAre("a\n", "b\n"));
}

TEST(Text, RefusesADocumentThatNeverEnds) {
  const std::string text(static_cast<size_t>(kLongestDocument) * 3, 'x');
  const MemoryInput input("memory.txt", text);
  EXPECT_THAT(user_error_of([&] { next_document(input, 5, DocumentSplit::line); }),
              HasSubstr("data.document_split"));
  EXPECT_EQ(next_document(input, 5, DocumentSplit::file), input.size());
}

void check(std::string_view bytes) {
  check_is_text(MemoryInput("memory", bytes));
}

TEST(Text, TellsTextFromBinary) {
  check("");
  check("plain\n\ttext\r\n");
  check("na\xC3\xAFve \xE5\xB1\xB1\xE9\xAB\x98 \xF0\x9F\x98\x80");
  check("caf\xE9 in Latin-1 is mostly text");
  check(std::string((64 << 10) - 1, 'a') + "\xE5\xB1\xB1");  // cut inside a character
  EXPECT_THAT(user_error_of([] { check(std::string("ab\0cd", 5)); }), HasSubstr("zero byte at byte 2"));
  EXPECT_THAT(user_error_of([] { check("\x8F\xFE\x01\x02\x03\x90 abc"); }),
              HasSubstr("6 of the first 10 bytes"));
}

TEST(Text, ReadsFilesInUnits) {
  const auto source = text_source(local_file(golden("text.txt")), DocumentSplit::blank_line, 4096);
  EXPECT_EQ(source->units(), (source->bytes() + 4095) / 4096);
  std::vector<std::string> expected;
  const std::string whole = slurp(golden("text.txt"));
  for (size_t at = 0; at < whole.size();) {  // the texts were joined by blank lines
    const size_t end = std::min(whole.find("\n\n", at), whole.size());
    std::string block = whole.substr(at, end - at);
    while (block.starts_with("\n")) block.erase(0, 1);
    while (block.ends_with("\n") || block.ends_with(" ")) block.pop_back();
    if (!block.empty()) expected.push_back(block + "\n");
    at = end + 2;
  }
  EXPECT_TRUE(all_texts(*source) == expected);  // too long to print
}

TEST(Text, AChangedFileIsAnError) {
  const auto file = fresh_folder() / "a.txt";
  spill(file, "one\ntwo\n");
  const auto source = text_source(local_file(file), DocumentSplit::line, 4096);
  spill(file, "one\n");
  EXPECT_THAT(user_error_of([&] { all_texts(*source); }),
              HasSubstr("8 bytes, as when the run began, found 4 bytes"));
}

}  // namespace
}  // namespace moe
