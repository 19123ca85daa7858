// SPDX-License-Identifier: MIT
// Records on a disk that is full for a while: all of them in order when there is room again, and a count of
// those that are not.
#include "base/backlog.h"

#include <gmock/gmock.h>

#include <cerrno>
#include <cstdio>
#include <vector>

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class BacklogTest : public ::testing::Test {
 protected:
  void TearDown() override { std::fclose(words_); }
  bool write(std::string_view record) {
    errno = ENOSPC;
    if (full_) return false;
    disk_.emplace_back(record);
    return true;
  }
  std::string words() {
    std::rewind(words_);
    std::string text(4096, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), words_));
    return text;
  }
  Backlog backlog(int64_t most) {
    return {"rows.jsonl", "rows", [this](std::string_view record) { return write(record); }, terminal_, most};
  }
  bool full_ = false;
  std::vector<std::string> disk_;
  std::FILE* words_ = std::tmpfile();
  Terminal terminal_{words_};
};

TEST_F(BacklogTest, WaitsForRoomInOrder) {
  Backlog rows = backlog(1000);
  rows.add("1");
  full_ = true;
  EXPECT_TRUE(rows.add("2"));
  EXPECT_TRUE(rows.add("3"));
  EXPECT_THAT(disk_, ElementsAre("1"));
  EXPECT_THAT(words(), HasSubstr("warning: rows.jsonl: cannot write (No space left on device)"));
  full_ = false;
  rows.add("4");
  EXPECT_THAT(disk_, ElementsAre("1", "2", "3", "4"));
  rows.finish();
  EXPECT_THAT(words(), HasSubstr("there is room again"));
  EXPECT_THAT(words(), Not(HasSubstr("lost")));
}

TEST_F(BacklogTest, FinishTriesOnceMore) {
  Backlog rows = backlog(1000);
  full_ = true;
  rows.add("1");
  full_ = false;
  rows.finish();
  EXPECT_THAT(disk_, ElementsAre("1"));
}

TEST_F(BacklogTest, CountsWhatIsLost) {
  {
    Backlog rows = backlog(3);
    full_ = true;
    for (const char* row : {"1", "2", "3"}) EXPECT_TRUE(rows.add(row));
    for (const char* row : {"4", "5"}) EXPECT_FALSE(rows.add(row));
    full_ = false;
    EXPECT_TRUE(rows.add("6"));
    EXPECT_THAT(disk_, ElementsAre("1", "2", "3", "6"));
    full_ = true;
    rows.add("7");
  }  // says the same as finish()
  EXPECT_THAT(words(), HasSubstr("rows.jsonl: 3 of 7 rows are lost"));
}

}  // namespace
}  // namespace moe
