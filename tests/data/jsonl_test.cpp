// SPDX-License-Identifier: MIT
#include "data/jsonl.h"

#include <gmock/gmock.h>

#include "data/support.h"

namespace moe {
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
  EXPECT_THAT(user_error_of([&] { read(good + good + "{\"text\":\"b\"\n" + good); }),
              AllOf(HasSubstr("memory.jsonl, line 3: expected a JSON object"), HasSubstr("parse error")));
  EXPECT_THAT(user_error_of([&] { read(good + "[1]"); }),
              HasSubstr("line 2: expected a JSON object, found another JSON value"));
  EXPECT_THAT(user_error_of([&] { read(good + "{\"id\":1,\"body\":\"b\"}"); }),
              AllOf(HasSubstr("line 2: expected a field \"text\", found the fields id, body"),
                    HasSubstr("data.text_column")));
  EXPECT_THAT(user_error_of([&] { read("{}"); }), HasSubstr("found no fields"));
  EXPECT_THAT(user_error_of([&] { read("{\"text\":3}"); }),
              HasSubstr("expected text in field \"text\", found a number"));
  EXPECT_THAT(user_error_of([&] { read("{\"text\":{}}"); }), HasSubstr("found an object"));
  EXPECT_THAT(user_error_of([&] { read("{\"text\":[\"a\"]}"); }), HasSubstr("found a list"));
  EXPECT_THAT(user_error_of([&] { read("{\"text\":\"\xFF\"}"); }), HasSubstr("line 1"));
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
}  // namespace moe
