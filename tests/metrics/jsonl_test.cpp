// SPDX-License-Identifier: MIT
// The lines of metrics.jsonl, what a resumed run does to them, and a disk that is full.
#include "metrics/jsonl.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "metrics/record.h"
#include "support/errors.h"

namespace moe::metrics {
namespace {

using test::user_error_of;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

Row row_of(int64_t step) {
  Row row{step, {}};
  row.add("loss", 0.5 + static_cast<double>(step));
  return row;
}

class JsonlTest : public ::testing::Test {
 protected:
  JsonlTest() { fs::remove(path_); }
  void TearDown() override {
    std::fclose(words_);
    fs::remove(path_);
  }
  std::string words() {
    std::rewind(words_);
    std::string text(4096, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), words_));
    return text;
  }
  void put(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }

  const fs::path path_ = fs::path(::testing::TempDir()) / ("metrics-" + std::to_string(getpid()) + ".jsonl");
  std::FILE* words_ = std::tmpfile();
  Terminal terminal_{words_};
};

TEST_F(JsonlTest, WritesEveryKindOfValue) {
  Row row{12, {}};
  row.add("loss", 1.25)
      .add("f32", 0.1F)
      .add("whole", 3.0)
      .add("tokens", int64_t{1} << 60)
      .add("small", 7)
      .add("text", "a \"b\"\n\u00fc")
      .add("layers/load_cv", std::vector<double>{0.5, 1})
      .add("layers/expert_counts", std::vector<std::vector<double>>{{1, 2}, {}, {3e9}})
      .add("tiny", 1e-300);
  EXPECT_EQ(
      to_json(row),
      R"({"step":12,"loss":1.25,"f32":0.10000000149011612,"whole":3,"tokens":1152921504606846976,"small":7,)"
      "\"text\":\"a \\\"b\\\"\\n\u00fc\","
      R"("layers/load_cv":[0.5,1],"layers/expert_counts":[[1,2],[],[3000000000]],"tiny":1e-300})");
  EXPECT_EQ(nlohmann::json::parse(to_json(row)).at("f32").get<float>(), 0.1F);
}

TEST_F(JsonlTest, SpellsWhatJsonCannotSay) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Row row{1, {}};
  row.add("a", std::nan("")).add("b", kInfinity).add("c", std::vector<double>{-kInfinity, 1e300});
  EXPECT_EQ(to_json(row), R"({"step":1,"a":"NaN","b":"Infinity","c":["-Infinity",1e+300]})");
  row.add("bad", std::string("\xff"));
  EXPECT_TRUE(nlohmann::json::accept(to_json(row)));
  row.add("a", 1.0);
  EXPECT_THROW(to_json(row), InternalError);  // a name twice
}

TEST_F(JsonlTest, EachLineIsThereAtOnce) {
  Jsonl sink(path_, 1, terminal_);
  sink.write(row_of(1));
  EXPECT_EQ(read_file(path_), "{\"step\":1,\"loss\":1.5}\n");
  sink.write(row_of(2));
  EXPECT_EQ(read_file(path_), "{\"step\":1,\"loss\":1.5}\n{\"step\":2,\"loss\":2.5}\n");
}

TEST_F(JsonlTest, AResumedRunHasEachStepOnce) {
  {
    Jsonl first(path_, 1, terminal_);
    for (const int64_t step : {1, 2, 3, 4}) first.write(row_of(step));
  }
  Jsonl resumed(path_, 3, terminal_);
  EXPECT_EQ(read_file(path_), "{\"step\":1,\"loss\":1.5}\n{\"step\":2,\"loss\":2.5}\n");
  resumed.write(row_of(3));
  EXPECT_EQ(read_file(path_),
            "{\"step\":1,\"loss\":1.5}\n{\"step\":2,\"loss\":2.5}\n{\"step\":3,\"loss\":3.5}\n");
}

TEST_F(JsonlTest, RemovesATornLastLine) {
  for (const char* torn : {"{\"step\":2,\"lo", "{", "{\"step\":2,\"text\":\"a}"}) {
    put("{\"step\":1,\"loss\":1.5}\n" + std::string(torn));
    Jsonl sink(path_, 5, terminal_);
    EXPECT_EQ(read_file(path_), "{\"step\":1,\"loss\":1.5}\n") << torn;
  }
}

TEST_F(JsonlTest, KeepsALastLineThatLacksItsNewline) {
  put("{\"step\":1}\n{\"step\":2}");
  Jsonl sink(path_, 3, terminal_);
  EXPECT_EQ(read_file(path_), "{\"step\":1}\n{\"step\":2}\n");
}

TEST_F(JsonlTest, LeavesAGoodFileUntouched) {
  const std::string text = "{\"step\":1}\n{\"step\":1,\"validation_loss\":3}\n{\"step\":2}\n";
  put(text);
  const auto before = fs::last_write_time(path_);
  Jsonl sink(path_, 3, terminal_);
  EXPECT_EQ(read_file(path_), text);
  EXPECT_EQ(fs::last_write_time(path_), before);
}

TEST_F(JsonlTest, SetsLinesAsideThatAreNoRows) {
  const fs::path beside = path_.string() + ".set-aside";
  const std::string zeros(16, '\0');
  std::string all;
  for (const std::string other :
       {"a letter to a friend\n", "{\"loss\":1}\n", "{\"step\":x}\n", "{\"step\":1\n", "\xff\xfe\x01\n"}) {
    put(fmt::format("{{\"step\":1}}\n{}{}{{\"step\":2}}\n\n \n{{\"step\":3}}\n", other, zeros));
    { const Jsonl opened(path_, 3, terminal_); }
    EXPECT_EQ(read_file(path_), "{\"step\":1}\n{\"step\":2}\n") << other;
    all += other;
    EXPECT_EQ(read_file(beside), all);
  }
  EXPECT_THAT(words(),
              HasSubstr(path_.string() + ": 3 lines, the first of them line 2, are no rows; they are in " +
                        beside.string() + " now"));
  fs::remove(beside);
  put("{\"step\":1}\n\n");
  { const Jsonl opened(path_, 3, terminal_); }
  EXPECT_EQ(read_file(path_), "{\"step\":1}\n");
  EXPECT_FALSE(fs::exists(beside));
  EXPECT_THAT(user_error_of([&] { Jsonl("/nowhere/metrics.jsonl", 1, terminal_); }),
              HasSubstr("/nowhere/metrics.jsonl: expected a file that can be written"));
}

TEST_F(JsonlTest, ADeletedRecordIsMadeAgain) {
  const fs::path folder = path_.string() + ".d";
  fs::create_directories(folder);
  Jsonl sink(path_, 1, terminal_);
  sink.write(row_of(1));
  fs::remove(path_);
  sink.write(row_of(2));
  sink.moved(folder);
  sink.write(row_of(3));
  EXPECT_EQ(read_file(folder / path_.filename()),
            "{\"step\":1,\"loss\":1.5}\n{\"step\":2,\"loss\":2.5}\n{\"step\":3,\"loss\":3.5}\n");
  fs::remove_all(folder);
}

TEST_F(JsonlTest, NamesOfAStep) {
  put("{\"step\":1,\"a\":1}\n{\"step\":2,\"b\":1}\nnoise\n{\"step\":2,\"c\":1}\n\n{\"step\":3,\"d\":1}\n{"
      "\"st");
  EXPECT_THAT(names_of_step(path_, 2), ::testing::UnorderedElementsAre("step", "step", "b", "c"));
  EXPECT_THAT(names_of_step(path_, 4), ::testing::IsEmpty());
  EXPECT_THAT(names_of_step("/nowhere", 1), ::testing::IsEmpty());
}

TEST_F(JsonlTest, AFullDeviceIsOneWarning) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  fs::create_symlink("/dev/full", path_);
  Jsonl sink(path_, 1, terminal_);
  sink.write(row_of(1));
  sink.write(row_of(2));
  EXPECT_EQ(words(),
            "warning: " + path_.string() +
                ": cannot write (No space left on device); the run goes on, and up to 64.0 MiB of rows "
                "wait in memory for room\n");
  sink.finish(0);
  EXPECT_THAT(words(), HasSubstr(path_.string() + ": 2 of 2 rows are lost"));
}

// In a process of its own: files may grow to 50 bytes, which cuts the third line; then to more.
TEST_F(JsonlTest, RowsWaitForRoomOnAFullDisk) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{50, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &limit);
    Jsonl sink(path_, 1, terminal_);
    for (const int64_t step : {1, 2, 3, 4}) sink.write(row_of(step));
    if (read_file(path_) != "{\"step\":1,\"loss\":1.5}\n{\"step\":2,\"loss\":2.5}\n") _exit(1);
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    sink.write(row_of(5));
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(read_file(path_),
            "{\"step\":1,\"loss\":1.5}\n{\"step\":2,\"loss\":2.5}\n{\"step\":3,\"loss\":3.5}\n"
            "{\"step\":4,\"loss\":4.5}\n{\"step\":5,\"loss\":5.5}\n");
}

// Rows that waited in the memory of a process that was killed.
TEST_F(JsonlTest, AResumedRunCountsTheStepsWithoutARow) {
  put("{\"step\":0,\"validation_loss\":3}\n{\"step\":1}\n{\"step\":1,\"validation_loss\":3}\n{\"step\":4}\n");
  Jsonl sink(path_, 8, terminal_);
  EXPECT_THAT(words(), HasSubstr("5 of the 7 steps so far have no row"));
}

}  // namespace
}  // namespace moe::metrics
