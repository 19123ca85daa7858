// SPDX-License-Identifier: MIT
#include "data/text.h"

#include <gmock/gmock.h>

#include <functional>

#include "data/support.h"

namespace moe::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Reads a text in ranges of `step` bytes.
std::vector<std::string> split(std::string_view text, const DocumentRule& rule, int64_t step = 1 << 20) {
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

TEST(Text, SplitsAtMarkers) {
  const DocumentRule rule(DocumentSplit::marker, "<|endoftext|>");
  const std::string text =
      "<|endoftext|>\nOnce upon a time.\n\n  The end. \n<|endoftext|><|endoftext|>a < b "
      "<|end\r\n<|endoftext|>\nlast";
  for (int64_t step = 1; step < std::ssize(text) + 2; ++step)
    ASSERT_THAT(split(text, rule, step),
                ElementsAre("Once upon a time.\n\n  The end.\n", "a < b <|end\n", "last\n"))
        << step;
}

TEST(Text, MarkersThatOverlapEndOneDocument) {
  const DocumentRule rule(DocumentSplit::marker, "---");
  const std::string text = "one\n-----\ntwo - three -- four\n------five---";
  const auto whole = split(text, rule);
  EXPECT_THAT(whole, ElementsAre("one\n", "two - three -- four\n", "five\n"));
  for (int64_t step = 1; step < std::ssize(text); ++step) ASSERT_EQ(split(text, rule, step), whole) << step;
}

// Of a file whose documents are all short but one.
struct Cost {
  int64_t bytes, reads;
};
Cost cost_of(const std::string& text,
             const std::function<void(const Input&, int64_t, int64_t, Documents&)>& read, int64_t unit) {
  const CountingInput input(text);
  Documents documents;
  for (int64_t begin = 0; begin < input.size(); begin += unit)
    read(input, begin, std::min(begin + unit, input.size()), documents);
  return {input.bytes, input.reads};
}

TEST(Text, TheWorkIsLinearInTheBytesHoweverLongADocumentIs) {
  constexpr int64_t kUnit = 256 << 10, kLong = 40 << 20;
  std::string filler(kLong, 'x');
  for (size_t i = 80; i < filler.size(); i += 80) filler[i] = ' ';
  for (const DocumentRule& rule :
       {DocumentRule(DocumentSplit::line), DocumentRule(DocumentSplit::blank_line),
        DocumentRule(DocumentSplit::unindented), DocumentRule(DocumentSplit::marker, "<|endoftext|>")}) {
    std::string text;
    for (int i = 0; i < 50; ++i) {
      text += i == 25 ? filler : "short";
      text += rule.split == DocumentSplit::marker ? "<|endoftext|>" : "\n\n";
    }
    const auto [bytes, reads] = cost_of(
        text,
        [&](const Input& input, int64_t begin, int64_t end, Documents& documents) {
          read_text(input, begin, end, rule, documents);
        },
        kUnit);
    const int64_t units = (std::ssize(text) + kUnit - 1) / kUnit;
    // Each byte once by its own unit, once by the unit in which its document starts; 128 KiB around each
    // unit; and for the one document a read for each doubling of 64 KiB.
    EXPECT_LE(bytes, 2 * std::ssize(text) + units * (128 << 10)) << static_cast<int>(rule.split);
    EXPECT_LE(reads, units + 10) << static_cast<int>(rule.split);
  }
}

TEST(Text, RefusesADocumentThatNeverEnds) {
  const std::string text(static_cast<size_t>(kLongestDocument) * 3, 'x');
  const MemoryInput input("memory.txt", text);
  EXPECT_THAT(user_error_of([&] { next_document(input, 5, DocumentSplit::line); }),
              HasSubstr("data.document_split"));
  EXPECT_EQ(next_document(input, 5, DocumentSplit::file), input.size());
}

void check(std::string_view bytes) {
  text_head(MemoryInput("memory", bytes));
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

TEST(Text, WhatIsNoTextIsNamedForWhatItIs) {
  using namespace std::string_literals;
  const auto refusal = [](const std::string& bytes, const char* name) {
    return user_error_of([&] { text_head(MemoryInput(name, bytes)); });
  };
  const std::string binary = "\0\1\2\3 some bytes \0\0\0"s;
  EXPECT_THAT(refusal("\xFD"
                      "7zXZ\0"s +
                          binary,
                      "a/x.txt"),
              AllOf(HasSubstr("found a file compressed with xz"), HasSubstr("xz -dk x.txt")));
  EXPECT_THAT(refusal("BZh9" + binary, "x"), HasSubstr("bzip2"));
  EXPECT_THAT(refusal("\x1F\x8B\x08" + binary, "x.txt"), HasSubstr("mv x.txt x.txt.gz"));
  EXPECT_THAT(refusal("PK\x03\x04" + binary, "x"), HasSubstr("a zip archive"));
  EXPECT_THAT(refusal("%PDF-1.7 and only letters", "x"), HasSubstr("a PDF"));
  std::string little, big;
  for (const char c : "These are letters in sixteen bits each."s) {
    little += c + "\0"s;
    big += "\0"s + c;
  }
  for (const std::string& text : {"\xFF\xFE" + little, "\xFE\xFF" + big, little, big})
    EXPECT_THAT(refusal(text, "x"), AllOf(HasSubstr("text in UTF-16"), HasSubstr("iconv -f UTF-16")));
  EXPECT_THAT(refusal(binary, "x"), AllOf(HasSubstr("zero byte at byte 0"), Not(HasSubstr("UTF-16"))));
  EXPECT_THAT(refusal(std::string(4096, '\0'), "x"), Not(HasSubstr("UTF-16")));
}

TEST(Text, HintsTellOfMarkersAndOfOtherEncodings) {
  const DocumentRule by_file(DocumentSplit::file), by_marker(DocumentSplit::marker, "<|endoftext|>");
  const std::string marked = "a\n<|endoftext|>\nb\n<|endoftext|>\n";
  EXPECT_THAT(
      hints_about(marked, &by_file),
      ElementsAre(AllOf(HasSubstr("\"<|endoftext|>\" stands in it as text"),
                        HasSubstr("data.document_split=marker data.document_marker='<|endoftext|>'"))));
  EXPECT_THAT(hints_about(marked, &by_marker), ElementsAre());
  EXPECT_THAT(hints_about(marked, nullptr), ElementsAre(Not(HasSubstr("document_split"))));
  EXPECT_THAT(hints_about("one <|endoftext|> is no habit", &by_file), ElementsAre());
  EXPECT_THAT(hints_about("caf\xE9s\nna\xEFve\n", &by_file),
              ElementsAre(HasSubstr("2 stretches of invalid UTF-8")));
  EXPECT_THAT(hints_about("caf\xC3\xA9\ncut \xC3", &by_file), ElementsAre());
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
}  // namespace moe::data
