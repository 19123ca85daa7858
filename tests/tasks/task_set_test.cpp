// SPDX-License-Identifier: MIT
// Where items come from: JSON lines and Parquet with the published columns (tests/golden/tasks, by
// tools/make_task_goldens.py) ask the same questions, from the disk, from folders and from the hub.
#include "tasks/task_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/file.h"
#include "data/parquet_rows.h"
#include "support/errors.h"
#include "support/folder.h"
#include "support/hub_server.h"
#include "support/source_dir.h"
#include "support/streams.h"

namespace moe::tasks {
namespace {

namespace fs = std::filesystem;
using test::user_error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

fs::path golden(const std::string& name) {
  return test::source_dir() / "tests/golden/tasks" / name;
}

class TaskSets : public ::testing::Test {
 protected:
  // Changes with the items.
  std::string identity(const std::string& entry, int64_t limit = 0) {
    return TaskSet({entry}, limit, folder_.path() / "cache", terminal_).identity();
  }
  std::string complaint(const std::string& entry) {
    return user_error_of([&] { identity(entry); });
  }

  test::TestFolder folder_;
  test::LogFile log_;
  Terminal terminal_{log_.stream()};
};

TEST_F(TaskSets, ParquetAsksTheSameQuestions) {
  for (const Task task : {Task::hellaswag, Task::lambada, Task::arc_easy, Task::piqa}) {
    const std::string name(name_of(task));
    std::istringstream lines(read_file(golden(name + ".jsonl")));
    const auto rows = data::parquet_rows(data::local_file(golden(name + ".parquet")));
    ASSERT_GE(rows.size(), 4U);
    for (const std::string& row : rows) {
      std::string line;
      ASSERT_TRUE(std::getline(lines, line));
      for (const Convention convention : conventions_of(task)) {
        const Question a = parse_question(task, convention, "json", line);
        const Question b = parse_question(task, convention, "parquet", row);
        EXPECT_EQ(a.context, b.context);
        EXPECT_EQ(a.continuations, b.continuations);
        EXPECT_EQ(a.characters, b.characters);
        EXPECT_EQ(a.gold, b.gold);
      }
    }
  }
}

TEST_F(TaskSets, FoldersAndLimits) {
  const fs::path folder = folder_.path() / "items";
  fs::create_directories(folder);
  const std::string place = "piqa=" + folder.string(), file = "piqa=" + golden("piqa.parquet").string();
  fs::copy(golden("piqa.parquet"), folder / "one.parquet");
  write_file_atomically(folder / "README.md", "not items");
  EXPECT_EQ(identity(place), identity(file));
  EXPECT_EQ(identity(place, 4), identity(file, 4));
  EXPECT_NE(identity(place, 4), identity(file));
  EXPECT_EQ(identity(place, 100), identity(file));
  fs::copy(golden("piqa.jsonl"), folder / "two.jsonl");  // the same six again
  EXPECT_EQ(identity(place, 6), identity(file));
  EXPECT_NE(identity(place, 8), identity(file));
  // Any other ending, or none, is JSON lines.
  fs::copy(golden("piqa.jsonl"), folder_.path() / "items.txt");
  fs::copy(golden("piqa.jsonl"), folder_.path() / "bare");
  EXPECT_EQ(identity("piqa=" + (folder_.path() / "items.txt").string()),
            identity("piqa=" + golden("piqa.jsonl").string()));
  EXPECT_EQ(identity("piqa=" + (folder_.path() / "bare").string()),
            identity("piqa=" + golden("piqa.jsonl").string()));
}

TEST_F(TaskSets, OnlyTheColumnsOfATaskAreRead) {
  EXPECT_EQ(identity("piqa=" + golden("piqa_with_image.parquet").string()),
            identity("piqa=" + golden("piqa.parquet").string()));
}

TEST_F(TaskSets, AFolderOfSeveralSplitsIsRefused) {
  const fs::path folder = folder_.path() / "items";
  fs::create_directories(folder);
  fs::copy(golden("piqa.jsonl"), folder / "train.jsonl");
  fs::copy(golden("piqa.jsonl"), folder / "valid.jsonl");
  EXPECT_THAT(complaint("piqa=" + folder.string()), HasSubstr("expected files of one split"));
}

TEST_F(TaskSets, AListOfItemsIsRead) {
  std::string list = "[\n";
  std::istringstream lines(read_file(golden("piqa.jsonl")));
  for (std::string line; std::getline(lines, line);) list += (list.size() > 2 ? ",\n" : "") + line;
  write_file_atomically(folder_.path() / "piqa.json", list + "\n]\n");
  const std::string place = "piqa=" + (folder_.path() / "piqa.json").string();
  EXPECT_EQ(complaint(place), "");
  EXPECT_NE(identity(place, 3), identity(place));  // there are more than three
}

TEST_F(TaskSets, TheHubsFilesAndFolders) {
  fs::create_directories(folder_.path() / "datasets/us/er/default/validation");
  fs::copy(golden("hellaswag.parquet"), folder_.path() / "datasets/us/er/default/validation/0000.parquet");
  const test::HubServer server(folder_.path());
  ::setenv("HF_ENDPOINT", server.endpoint().c_str(), 1);
  const std::string local = identity("hellaswag=" + golden("hellaswag.parquet").string());
  EXPECT_EQ(identity("hellaswag=hf://datasets/us/er/default/validation/0000.parquet"), local);
  EXPECT_EQ(identity("hellaswag=hf://datasets/us/er/default/validation"), local);
  ::unsetenv("HF_ENDPOINT");
}

TEST_F(TaskSets, WhatIsNotTheTasksIsNamed) {
  const std::string piqa = golden("piqa.parquet").string();
  EXPECT_THAT(complaint("hellaswag=" + piqa), AllOf(HasSubstr(piqa + ": item 1"), HasSubstr("endings")));
  const std::string cut = (folder_.path() / "cut.parquet").string();
  const std::string whole = read_file(piqa);
  write_file_atomically(cut, whole.substr(0, whole.size() - 30));
  EXPECT_THAT(complaint("piqa=" + cut), AllOf(HasSubstr(cut), HasSubstr("readable Parquet")));
  write_file_atomically(folder_.path() / "empty.jsonl", "\n\n");
  EXPECT_THAT(complaint("piqa=" + (folder_.path() / "empty.jsonl").string()),
              HasSubstr("items: JSON lines (one object a line) or Parquet"));
  EXPECT_THAT(complaint("piqa"), HasSubstr("TASK=PLACE"));
}

}  // namespace
}  // namespace moe::tasks
