// SPDX-License-Identifier: MIT
#include "base/file.h"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "support/errors.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using test::user_error_of;
using ::testing::HasSubstr;

// An empty folder for one test.
class FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ =
        fs::path(::testing::TempDir()) / (std::string("file_") + info->name() + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<std::string> names() const {
    std::vector<std::string> list;
    for (const auto& entry : fs::directory_iterator(folder_)) list.push_back(entry.path().filename());
    return list;
  }

  fs::path folder_;
};

using Files = FileTest;

TEST_F(Files, WhatIsWrittenIsRead) {
  const std::string bytes("a\0b\xff\n", 5);
  write_file_atomically(folder_ / "a", bytes);
  EXPECT_EQ(read_file(folder_ / "a"), bytes);
  write_file_atomically(folder_ / "a", "");
  EXPECT_EQ(read_file(folder_ / "a"), "");
  EXPECT_THAT(names(), ::testing::ElementsAre("a"));
}

TEST_F(Files, ReadsFilesWithoutASize) {
  EXPECT_THAT(read_file("/proc/self/status"), HasSubstr("Name:"));
}

TEST_F(Files, ReadingNamesTheMistake) {
  const std::string missing = folder_ / "missing";
  EXPECT_EQ(user_error_of([&] { read_file(missing); }),
            missing + ": expected a readable file, found no file of that name");
  EXPECT_EQ(user_error_of([&] { read_file(folder_); }),
            folder_.string() + ": expected a readable file, found a folder");
  EXPECT_EQ(user_error_of([&] { MappedFile file(folder_); }),
            folder_.string() + ": expected a readable file, found a folder");
  write_file_atomically(folder_ / "secret", "x");
  fs::permissions(folder_ / "secret", fs::perms::none);
  if (::access((folder_ / "secret").c_str(), R_OK) != 0) {  // root may read everything
    EXPECT_THAT(user_error_of([&] { read_file(folder_ / "secret"); }), HasSubstr("this user may not read"));
  }
}

TEST_F(Files, WritingNamesTheMistake) {
  EXPECT_EQ(user_error_of([&] { write_file_atomically(folder_ / "no" / "a", "x"); }),
            (folder_ / "no" / "a").string() +
                ": cannot create: No such file or directory. Hint: the folder " + (folder_ / "no").string() +
                " does not exist");
  fs::create_directory(folder_ / "taken");
  EXPECT_THAT(user_error_of([&] { write_file_atomically(folder_ / "taken", "x"); }),
              HasSubstr("cannot rename the temporary file: Is a directory"));
  EXPECT_THAT(names(), ::testing::ElementsAre("taken"));
}

TEST_F(Files, StreamsPiecesOfAnySize) {
  std::string all;
  FileWriter writer(folder_ / "a");
  for (const size_t size : {0, 1, 1000, 1 << 20, 3, (1 << 20) - 3, 1, (3 << 20) + 5, 7}) {
    const std::string piece(size, static_cast<char>('a' + all.size() % 26));
    writer.write(piece);
    all += piece;
  }
  EXPECT_EQ(writer.written(), all.size());
  writer.commit();
  EXPECT_TRUE(read_file(folder_ / "a") == all);
}

TEST_F(Files, TheOldFileStaysUntilCommit) {
  write_file_atomically(folder_ / "a", "old");
  FileWriter writer(folder_ / "a");
  writer.write(std::string(3 << 20, 'n'));
  EXPECT_EQ(read_file(folder_ / "a"), "old");
  EXPECT_TRUE(fs::exists(folder_ / ("a.tmp-" + std::to_string(::getpid()))));
  writer.commit();
  EXPECT_EQ(read_file(folder_ / "a").size(), size_t{3} << 20);
  EXPECT_THAT(names(), ::testing::ElementsAre("a"));
  EXPECT_THROW(writer.write("more"), InternalError);
  EXPECT_THROW(writer.commit(), InternalError);
}

TEST_F(Files, AWriterWithoutCommitLeavesNothing) {
  { FileWriter(folder_ / "a").write("bytes"); }
  EXPECT_THAT(names(), ::testing::ElementsAre());
}

TEST_F(Files, AFailedWriteLeavesTheOldFileAndNoTemporary) {
  write_file_atomically(folder_ / "a", "old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{1 << 16, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message =
      user_error_of([&] { write_file_atomically(folder_ / "a", std::string(1 << 17, 'x')); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(message, (folder_ / "a").string() + ": cannot write: File too large");
  EXPECT_EQ(read_file(folder_ / "a"), "old");
  EXPECT_THAT(names(), ::testing::ElementsAre("a"));
}

TEST_F(Files, AFullDiskIsNamedWithNeedAndSpace) {
  // A link in the temporary's place to the device that takes no bytes stands in for a full disk.
  const fs::path temporary = folder_ / ("a.tmp-" + std::to_string(::getpid()));
  const auto message = [&](uint64_t expected_bytes) {
    fs::create_symlink("/dev/full", temporary);
    return user_error_of([&] {
      FileWriter writer(folder_ / "a", expected_bytes);
      writer.write(std::string(3 << 20, 'x'));
    });
  };
  const std::string where = (folder_ / "a").string();
  EXPECT_THAT(message(0), HasSubstr(where + ": expected 3.00 MiB of disk space, found "));
  EXPECT_THAT(message(5 << 20), HasSubstr(where + ": expected 5.00 MiB of disk space, found "));
  EXPECT_THAT(message(0), HasSubstr(" free. Hint: free some space or choose another folder"));
  EXPECT_THAT(names(), ::testing::ElementsAre());
}

TEST_F(Files, MapsWhatWasWritten) {
  write_file_atomically(folder_ / "a", "mapped");
  MappedFile file(folder_ / "a");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(file.data()), file.size()), "mapped");
  MappedFile moved(std::move(file));
  EXPECT_EQ(moved.size(), 6u);
  MappedFile other;
  other = std::move(moved);
  EXPECT_EQ(other.bytes()[0], 'm');
  write_file_atomically(folder_ / "empty", "");
  const MappedFile empty(folder_ / "empty");
  EXPECT_EQ(empty.data(), nullptr);
  EXPECT_EQ(empty.size(), 0u);
}

TEST(CacheFolder, FollowsTheEnvironment) {
  const char* home = std::getenv("HOME");
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const std::string old_home = home ? home : "", old_cache = cache ? cache : "";
  ::setenv("HOME", "/home/me", 1);
  ::setenv("XDG_CACHE_HOME", "/fast/cache", 1);
  EXPECT_EQ(cache_folder(), "/fast/cache/moe");
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(cache_folder(), "/home/me/.cache/moe");
  ::unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(cache_folder(), "/home/me/.cache/moe");
  ::unsetenv("HOME");
  EXPECT_EQ(user_error_of([] { cache_folder(); }),
            "cache folder: expected HOME or XDG_CACHE_HOME in the environment, found neither. Hint: set "
            "data.cache_dir");
  if (home) ::setenv("HOME", old_home.c_str(), 1);
  if (cache) ::setenv("XDG_CACHE_HOME", old_cache.c_str(), 1);
}

}  // namespace
}  // namespace moe
