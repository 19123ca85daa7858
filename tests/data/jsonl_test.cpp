// SPDX-License-Identifier: MIT
#include "data/jsonl.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "data/support.h"

namespace moe::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> read(std::string_view lines, const std::string& column = "text") {
  const MemoryInput input("memory.jsonl", lines);
  Documents documents;
  read_jsonl(input, 0, input.size(), column, {}, documents);
  return texts(documents);
}

TEST(Jsonl, ReadsWhatPythonWrote) {
  for (const int64_t unit : {64, 1000, 1 << 20})
    EXPECT_EQ(all_texts(*jsonl_source(local_file(golden("rows.jsonl")), "text", {}, unit)), golden_texts());
}

TEST(Jsonl, TakesTheOutermostFieldOnly) {
  EXPECT_THAT(read(R"({"a":{"text":"inner"},"b":["text",{"text":1}],"text":"outer","c":"after"})"),
              ElementsAre("outer"));
  EXPECT_THAT(
      read("{\"body\":\"x\"}\n\n{\"body\":null}\r\n{\"body\":\"\"}\n{\"body\":\"y\\u0000z\"}", "body"),
      ElementsAre("x", std::string("y\0z", 3)));
}

TEST(Jsonl, ErrorsNameFileAndLine) {
  const std::string good = "{\"text\":\"a\"}\n";
  EXPECT_THAT(
      user_error_of([&] { read(good + good + "{\"text\":\"b\"\n" + good); }),
      HasSubstr("memory.jsonl, line 3: expected a JSON object, found the end of the line at byte 12"));
  EXPECT_THAT(user_error_of([&] { read(good + "[1]"); }),
              HasSubstr("line 2: expected a JSON object, found another JSON value than an object"));
  EXPECT_THAT(user_error_of([&] { read(good + "{\"id\":1,\"body\":\"b\"}"); }),
              AllOf(HasSubstr("line 2: expected a field \"text\", found the fields id, body"),
                    HasSubstr("data.text_column")));
  EXPECT_THAT(user_error_of([&] { read("{}"); }), HasSubstr("found no fields"));
  EXPECT_THAT(user_error_of([&] { read("{\"text\":3}"); }),
              HasSubstr("expected text in field \"text\", found a number"));
  EXPECT_THAT(user_error_of([&] { read("{\"text\":{}}"); }), HasSubstr("found an object"));
  EXPECT_THAT(user_error_of([&] { read("{\"text\":[\"a\"]}"); }), HasSubstr("found a list"));
}

TEST(Jsonl, WhatIsNotReadCannotHurt) {
  EXPECT_THAT(read("{\"a\":\"\xFF\xC3\", \"b\":\"cut \\ud83d emoji\", \"text\":\"ok\"}"), ElementsAre("ok"));
  EXPECT_THAT(read(R"({"n":NaN,"i":[-Infinity,1e999],"x":"\q","text":"ok"})"), ElementsAre("ok"));
  EXPECT_THAT(read("{\"a\":\"a\tb\",\"text\":\"a raw\ttab\"}"), ElementsAre("a raw\ttab"));
}

// Its place is kept for the tokenizer, which makes U+FFFD of it and counts it.
TEST(Jsonl, BytesThatAreNotUtf8StayInTheText) {
  const auto found = read("{\"text\":\"caf\xE9 \\ud83d emoji \\ud83d\\ude00 \\ude00\\u00e9\"}");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], "caf\xE9 \xFF emoji \xF0\x9F\x98\x80 \xFF\xC3\xA9");
  const auto encoder = tokenizer().encoder();
  std::vector<text::TokenId> ids;
  encoder->encode(found[0], ids);
  EXPECT_EQ(encoder->replaced(), 3u);
}

TEST(Jsonl, EscapesAreThoseOfPython) {
  EXPECT_THAT(read(R"({"te\u0078t":"\"\\\/\b\f\n\r\t\u0041"})"), ElementsAre("\"\\/\b\f\n\r\tA"));
  EXPECT_THAT(read(R"({"text":"first","text":"last"})"), ElementsAre("last"));
  EXPECT_THAT(read(R"( { "text" : "spaces" , "b" : 1 } )"), ElementsAre("spaces"));
}

TEST(Jsonl, WhatIsNoObjectIsRefused) {
  for (const char* line :
       {"{\"text\":\"a\"", "{\"text\":\"a\"} x", "{\"text\":\"a\",}", "{\"text\" \"a\"}", "{text:\"a\"}",
        "{\"text\":}", "{\"text\":\"a", "{\"text\":\"a\\", "{\"b\":[1, \"text\":\"a\"}", "\"text\"",
        "{\"text\":tru}", "{\"text\":1.2.3}", "{", "{\"text\":\"a\" \"b\":1}"})
    EXPECT_NE(user_error_of([&] { read(line); }), "") << line;
}

class BadRowsTest : public testing::Test {
 protected:
  std::vector<std::string> read(const std::string& text, int64_t times = 1) {
    Complaints complaints(config, terminal);
    const MemoryInput input("memory.jsonl", text);
    Documents documents;
    for (int64_t i = 0; i < times; ++i)
      read_jsonl(input, 0, input.size(), "text", parse_filters(config.filters), documents, &complaints);
    return texts(documents);
  }
  test::LogFile log;
  Terminal terminal{log.stream()};
  DataConfig config;
  const std::string lines =
      "{\"text\":\"a\"}\n{\"text\":\"cut\n{\"body\":\"b\"}\n{\"text\":3}\n[]\n{\"text\":\"z\"}\n";
};

TEST_F(BadRowsTest, StopTheRunUnlessTheyAreToBeLeftOut) {
  EXPECT_THAT(user_error_of([&] { read(lines); }),
              AllOf(HasSubstr("memory.jsonl, line 2"), HasSubstr("data.bad_rows=skip")));
  config.bad_rows = BadRows::skip;
  EXPECT_THAT(read(lines), ElementsAre("a", "z"));
  EXPECT_THAT(log.text(), AllOf(HasSubstr("memory.jsonl, line 2: left out"),
                                HasSubstr("line 3: left out: expected a "
                                          "field \"text\", found the "
                                          "fields body"),
                                HasSubstr("line 4"), HasSubstr("line 5"),
                                HasSubstr("4 rows that cannot be read were left out")));
}

TEST_F(BadRowsTest, CountOnceHoweverOftenTheyAreRead) {
  config.bad_rows = BadRows::skip;
  config.bad_rows_limit = 4;
  EXPECT_EQ(read(lines, 3).size(), 6u);
  config.bad_rows_limit = 3;
  EXPECT_THAT(user_error_of([&] { read(lines); }),
              AllOf(HasSubstr("line 5: expected at most 3 rows that cannot be read"), HasSubstr("found 4")));
}

TEST_F(BadRowsTest, AreToldAFewTimesAndThenCounted) {
  config.bad_rows = BadRows::skip;
  std::string many;
  for (int i = 0; i < 100; ++i) many += "bad\n";
  EXPECT_TRUE(read(many).empty());
  const std::string words = log.text();
  EXPECT_EQ(std::count(words.begin(), words.end(), '\n'), 6);
  EXPECT_THAT(words, AllOf(HasSubstr("line 5: left out"), HasSubstr("further ones are only counted"),
                           HasSubstr("100 rows")));
}

TEST(Jsonl, OneLongLineAmongShortOnesIsReadOnce) {
  constexpr int64_t kUnit = 256 << 10;
  std::string lines;
  for (int i = 0; i < 50; ++i)
    lines += "{\"text\":\"" + (i == 25 ? std::string(40 << 20, 'x') : std::string("short")) + "\"}\n";
  const CountingInput input(lines);
  Documents documents;
  int64_t units = 0;
  for (int64_t begin = 0; begin < input.size(); begin += kUnit, ++units)
    read_jsonl(input, begin, std::min(begin + kUnit, input.size()), "text", {}, documents);
  EXPECT_EQ(documents.size(), 50);
  EXPECT_LE(input.bytes,
            2 * input.size() + units * (65 << 10));  // as in text_test.cpp; one byte before a unit
  EXPECT_LE(input.reads, units + 10);
}

TEST(Jsonl, DeepNestingIsNoTrouble) {
  const std::string deep =
      "{\"a\":" + std::string(200000, '[') + std::string(200000, ']') + ",\"text\":\"ok\"}";
  EXPECT_THAT(read(deep), ElementsAre("ok"));
}

std::vector<std::string> filtered(const std::string& text, const std::vector<std::string>& filters) {
  Documents documents;
  const MemoryInput input("m", text);
  read_jsonl(input, 0, input.size(), "text", parse_filters(filters), documents);
  return texts(documents);
}

TEST(Jsonl, TakesTheLinesThatPassTheFilters) {
  const std::string lines =
      "{\"text\": \"a\", \"score\": 3, \"lang\": \"en\", \"ok\": true}\n"
      "{\"score\": 2.999, \"text\": \"b\", \"lang\": \"en\", \"ok\": false}\n"
      "{\"text\": \"c\", \"score\": null, \"lang\": null, \"ok\": null}\n"
      "{\"text\": \"d\", \"score\": 9007199254740993, \"lang\": \"de\", \"ok\": true, \"x\": {\"score\": "
      "1}}\n";
  using testing::ElementsAre;
  EXPECT_THAT(filtered(lines, {"score >= 3"}), ElementsAre("a", "d"));
  EXPECT_THAT(filtered(lines, {"score > 9007199254740992"}), ElementsAre("d"));
  EXPECT_THAT(filtered(lines, {"lang == en", "score<3"}), ElementsAre("b"));
  EXPECT_THAT(filtered(lines, {"lang != en"}), ElementsAre("d"));
  EXPECT_THAT(filtered(lines, {"ok == true"}), ElementsAre("a", "d"));
  EXPECT_TRUE(filtered(lines, {"lang == 3.5"}).empty());  // the text 3.5
  EXPECT_THAT(user_error_of([&] { filtered(lines, {"lang >= 3"}); }),
              HasSubstr("m, line 1: expected a number in field \"lang\", found text"));
  EXPECT_THAT(user_error_of([&] { filtered(lines, {"score == \"3\""}); }),
              HasSubstr("expected text in field \"score\", found a number"));
  EXPECT_THAT(user_error_of([&] { filtered(lines, {"scores >= 3"}); }),
              HasSubstr("a field \"scores\", found the fields text, score, lang, ok"));
}

}  // namespace
}  // namespace moe::data
