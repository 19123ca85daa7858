// SPDX-License-Identifier: MIT
// What files a command takes for what, as a person meets it: README's command on JSON lines, and a text that
// is not the run's.
#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "support/cli.h"

namespace moe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class TextOfARun : public Cli {
 protected:
  static std::string json_lines(int count) {
    std::string lines;
    for (int i = 0; i < count; ++i)
      lines += "{\"id\": " + std::to_string(i) + ", \"text\": \"the old caf\\u00e9 by the river " +
               std::to_string(i) + "\"}\n";
    return lines;
  }
};

TEST_F(TextOfARun, JsonLinesAreReadAsSuchThoughTheSettingsSayText) {
  put("notes.jsonl", json_lines(400));
  const CommandResult trained = train("data.source=notes.jsonl data.format=text");
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_THAT(trained.output, AllOf(HasSubstr("says not data.format, such as"),
                                    HasSubstr("read by the ending"), HasSubstr("held out  ")));
}

TEST_F(TextOfARun, AnotherTextIsEvaluatedAsItsEndingSays) {
  put("notes.jsonl", json_lines(400));
  put("text.jsonl", "{\"text\": \"one two three\"}\n");
  ASSERT_EQ(train("data.source=notes.jsonl 'data.filters=[id >= 10]'").code, 0);
  const auto bytes = [&](const std::string& words) {
    const CommandResult result = moe("eval runs/run --json --source " + words, "2>/dev/null");
    EXPECT_EQ(result.code, 0) << words << result.output;
    return nlohmann::json::parse(result.output, nullptr, false).value("bytes", 0);
  };
  EXPECT_EQ(bytes("text.jsonl"), 13);  // without the run's filters: there is no id
  EXPECT_EQ(bytes("text.txt data.document_split=file") > 0, true);  // which has no columns
  put("notes.log", "one two three");
  EXPECT_EQ(bytes("notes.log data.format=text"), 14);  // with the newline at a document's end
}

TEST_F(TextOfARun, ATouchedTextIsTheSame) {
  put("book.txt", json_lines(400));
  ASSERT_EQ(train("data.source=book.txt").code, 0);
  const auto file = folder_ / "book.txt";
  std::filesystem::last_write_time(file, std::filesystem::last_write_time(file) + std::chrono::hours(5));
  std::filesystem::rename(file, folder_ / "moved.txt");
  const CommandResult resumed = moe("train --resume runs/run training.max_steps=4 data.source=moved.txt");
  EXPECT_EQ(resumed.code, 0) << resumed.output;
  put("moved.txt", json_lines(399) + "{\"id\": 999, \"text\": \"the old caf\\u00e9 by the river 999\"}\n");
  EXPECT_THAT(moe("train --resume runs/run training.max_steps=5").output,
              AllOf(HasSubstr("the text this run was started on"), HasSubstr("data.stage=2"),
                    HasSubstr("data.check_text=false")));
}

}  // namespace
}  // namespace moe
