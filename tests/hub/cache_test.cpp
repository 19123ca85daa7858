// SPDX-License-Identifier: MIT
// The cache: the same on the disk as huggingface_hub's (tests/golden/hub/cache.txt), read and written;
// downloads that go on, wait for each other and notice wrong bytes; pruning.
#include "hub/cache.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <sstream>
#include <thread>

#include "hub/file_lock.h"
#include "hub/fixture.h"

namespace moe::hub {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CacheTest : public HubTest {
 protected:
  fs::path at(const std::string& path) const { return folder_.path() / "cache/datasets--user--name" / path; }
  fs::path blob(const File& file) const { return at("blobs/" + file.oid); }

  static std::string golden() { return read_file(MOE_SOURCE_DIR "/tests/golden/hub/cache.txt"); }
  // As tools/make_hub_goldens.py describes a cache.
  std::string describe() const {
    std::vector<std::string> lines;
    const fs::path cache = folder_.path() / "cache";
    for (const auto& entry : fs::recursive_directory_iterator(cache)) {
      const std::string name = entry.path().lexically_relative(cache).generic_string();
      if (entry.is_symlink())
        lines.push_back(name + " -> " + fs::read_symlink(entry.path()).generic_string());
      else if (entry.is_regular_file() && name.find("/refs/") != std::string::npos)
        lines.push_back(name + " = " + read_file(entry.path()));
      else if (entry.is_regular_file() && name.find("/blobs/") != std::string::npos)
        lines.push_back(name + " : " + std::to_string(entry.file_size()) + " bytes");
    }
    std::sort(lines.begin(), lines.end());
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return text;
  }
  // The cache that the golden file describes.
  void write_golden() const {
    std::istringstream lines(golden());
    for (std::string name, sign, value; lines >> name >> sign >> value;) {
      const fs::path path = folder_.path() / "cache" / name;
      fs::create_directories(path.parent_path());
      if (sign == "->") fs::create_symlink(value, path);
      if (sign == "=") write_file_atomically(path, value);
      if (sign != ":") continue;
      lines >> sign;  // bytes
      const bool large = name.ends_with(large_file_.oid), small = name.ends_with(small_file_.oid);
      write_file_atomically(path, large ? large_ : small ? "{\"text\": \"One line.\"}\n" : "# Three files\n");
    }
  }
};

TEST_F(CacheTest, WritesWhatPythonWrites) {
  serve();
  const auto ours = hub();
  for (const File& file : ours->list(all_)) {
    const fs::path path = ours->download(all_, file);
    EXPECT_EQ(path, at("snapshots") / kCommit / file.path);
  }
  ours->download(Address::parse("hf://datasets/user/name@refs/convert/parquet"), readme_);
  EXPECT_EQ(describe(), golden());
  EXPECT_EQ(read_file(at("snapshots") / kCommit / "data/deep/large.bin"), large_);
}

TEST_F(CacheTest, ReadsWhatPythonWrote) {
  write_golden();
  const auto ours = offline_hub();
  EXPECT_EQ(ours->commit(Address::parse("hf://datasets/user/name@refs/convert/parquet")), kCommit);
  EXPECT_THAT(ours->list(all_), ElementsAre(readme_, large_file_, small_file_));
  EXPECT_EQ(ours->open(all_, large_file_)->read(0, 9999), large_);
  EXPECT_EQ(ours->download(all_, small_file_), at("snapshots") / kCommit / "data/small.jsonl");
}

TEST_F(CacheTest, ReadsPythonsListing) {
  write_golden();
  fs::create_directories(at("trees"));
  write_file_atomically(at("trees") / (std::string(kCommit) + ".json"), R"({"format_version": 1, "files": {
    "b.bin": {"size": 5, "blob_id": "2da34934a8af22d54759f4b0e2904017062a996c", "xet_hash": "x", "lfs_size": 7,
      "lfs_sha256": "b0abe1fc3221488396cb845b73dad2a0838923837dfd67247b06e596fff3f2c3"},
    "a.txt": {"size": 3, "blob_id": "2da34934a8af22d54759f4b0e2904017062a996c"}}})");
  EXPECT_THAT(offline_hub()->list(all_),
              ElementsAre(File{"a.txt", 3, small_file_.oid, false}, File{"b.bin", 7, large_file_.oid, true}));
  for (
      const char* wrong :
      {"", "{", R"({"format_version": 2, "files": {}})", R"({"format_version": 1})",
       R"({"format_version": 1, "files": {"../x": {"size": 1, "blob_id": "2da34934a8af22d54759f4b0e2904017062a996c"}}})"}) {
    write_file_atomically(at("trees") / (std::string(kCommit) + ".json"), wrong);
    EXPECT_EQ(offline_hub()->list(all_).size(), 3u) << wrong;
  }
}

TEST_F(CacheTest, FindsCopiesInPlaceOfLinks) {
  folder_.put(std::string("cache/datasets--user--name/snapshots/") + kCommit + "/README.md",
              "# Three files\n");
  folder_.put("cache/datasets--user--name/refs/main", kCommit);
  const auto ours = offline_hub();
  EXPECT_EQ(ours->open(all_, readme_)->read(2, 7), "Three");
  EXPECT_THAT(ours->list(all_), ElementsAre(File{"README.md", 14, "", false}));
  EXPECT_EQ(read_file(ours->download(all_, readme_)), "# Three files\n");
}

TEST_F(CacheTest, ABlobOfAnotherSizeIsNotTaken) {
  serve();
  folder_.put("cache/datasets--user--name/blobs/" + large_file_.oid, "short");
  const auto ours = hub();
  EXPECT_EQ(ours->open(all_, large_file_)->read(0, 5000), large_);
  EXPECT_EQ(read_file(ours->download(all_, large_file_)), large_);
}

TEST_F(CacheTest, DownloadsGoOn) {
  serve();
  folder_.put("cache/datasets--user--name/blobs/" + large_file_.oid + ".incomplete", large_.substr(0, 2000));
  uint64_t progress = 0;
  const fs::path path = hub()->download(all_, large_file_, [&](uint64_t bytes) { progress += bytes; });
  EXPECT_EQ(read_file(path), large_);
  EXPECT_EQ(progress, 5000u);
  EXPECT_THAT(events_, ElementsAre("data/deep/large.bin: going on at byte 2000"));
  EXPECT_EQ(report()["log"].back()[3], "bytes=2000-4999");
  EXPECT_FALSE(fs::exists(blob(large_file_).string() + ".incomplete"));
}

TEST_F(CacheTest, ABrokenBeginningIsFetchedAnew) {
  serve();
  for (const std::string& rest : {std::string(2000, 'x'), large_ + "and more"}) {
    fs::remove_all(folder_.path() / "cache");
    folder_.put("cache/datasets--user--name/blobs/" + large_file_.oid + ".incomplete", rest);
    EXPECT_EQ(read_file(hub()->download(all_, large_file_)), large_);
  }
  EXPECT_THAT(events_, Contains(HasSubstr("starting anew")));
}

TEST_F(CacheTest, WrongBytesAreRefused) {
  serve();
  File wrong = readme_;
  wrong.oid[0] = '4';
  EXPECT_THAT(
      test::user_error_of([&] { hub()->download(all_, wrong); }),
      testing::AllOf(HasSubstr("README.md: expected content with the hash 4ab4"), HasSubstr(readme_.oid)));
  EXPECT_TRUE(fs::is_empty(at("blobs")));
}

TEST_F(CacheTest, DownloadsSurviveFaultsAndExpiry) {
  const std::string bytes(3'000'000, 'q');
  folder_.put("datasets/user/name/data/deep/large.bin", bytes);
  serve();
  server_->control(
      R"({"expires_after": 2, "script": ["", "", "", "truncate", "reset-body", "403", "", "500", "close",
      "stall-body", "truncate"], "seconds": 1})");
  const auto ours = hub();
  const auto files = ours->list(Address::parse("hf://datasets/user/name/data/deep"));
  EXPECT_EQ(read_file(ours->download(all_, files.at(0))), bytes);
  EXPECT_GE(client_->counters().retries, 3);
}

TEST_F(CacheTest, TwoFetchOnce) {
  const std::string bytes(2'000'000, 'q');
  folder_.put("datasets/user/name/data/deep/large.bin", bytes);
  serve();
  const auto one = hub(), two = hub();
  const File file = one->list(Address::parse("hf://datasets/user/name/data/deep")).at(0);
  std::thread other([&] { EXPECT_EQ(fs::file_size(two->download(all_, file)), bytes.size()); });
  EXPECT_EQ(fs::file_size(one->download(all_, file)), bytes.size());
  other.join();
  EXPECT_EQ(report()["counts"]["bytes"], 2'000'000);
}

TEST_F(CacheTest, WaitingForALockCanBeCancelled) {
  serve();
  const auto lock =
      FileLock::try_lock(folder_.path() / "cache/.locks/datasets--user--name" / (large_file_.oid + ".lock"));
  ASSERT_TRUE(lock);
  const auto ours = hub();
  std::thread waiting([&] { EXPECT_THROW(ours->download(all_, large_file_), net::Cancelled); });
  for (bool told = false; !told; std::this_thread::sleep_for(std::chrono::milliseconds(5))) {
    const std::lock_guard guard(mutex_);
    told = !events_.empty();
  }
  client_->cancel();
  waiting.join();
  EXPECT_THAT(events_, ElementsAre(HasSubstr("another process")));
}

TEST_F(CacheTest, PrunesTheLeastRecentlyUsed) {
  serve();
  const auto ours = hub();
  for (const File& file : ours->list(all_)) ours->download(all_, file);
  const auto age = [&](const File& file, int seconds) {
    fs::last_write_time(at(".moe") / file.oid,
                        fs::file_time_type::clock::now() - std::chrono::seconds(seconds));
  };
  age(readme_, 30);
  age(large_file_, 20);
  age(small_file_, 10);
  EXPECT_EQ(ours->cache().prune(6000), 0);
  EXPECT_EQ(ours->cache().prune(5022), 14);  // the readme goes, with its link
  EXPECT_THAT(offline_hub()->list(all_), ElementsAre(large_file_, small_file_));

  const auto open = ours->cache().open(all_, kCommit, small_file_);  // a use: the large one is older now
  EXPECT_EQ(ours->cache().prune(0), 5000);                           // and what is open stays
  EXPECT_THAT(offline_hub()->list(all_), ElementsAre(small_file_));
  EXPECT_EQ(open->read(0, 8), "{\"text\":");
}

TEST_F(CacheTest, PrunesOnlyWhatItFetchedAndNobodyFetches) {
  write_golden();
  Cache cache(folder_.path() / "cache");
  EXPECT_EQ(cache.prune(0), 0);  // Python's
  cache.mark(all_, large_file_.oid);
  {
    const auto lock = FileLock::try_lock(cache.lock(all_, large_file_.oid));
    EXPECT_EQ(cache.prune(0), 0);
  }
  EXPECT_EQ(cache.prune(0), 5000);
  EXPECT_FALSE(fs::exists(blob(large_file_)));
  EXPECT_FALSE(fs::is_symlink(at("snapshots") / kCommit / "data/deep/large.bin"));
  EXPECT_TRUE(fs::exists(blob(small_file_)));
}

// With the real library, where there is one: MOE_TEST_PYTHON or python3.
TEST_F(CacheTest, PythonReadsIt) {
  const char* chosen = std::getenv("MOE_TEST_PYTHON");
  const std::string python = chosen ? chosen : "python3";
  if (std::system((python + " -c 'import huggingface_hub' 2> /dev/null").c_str()) != 0)
    GTEST_SKIP() << python << " has no huggingface_hub (MOE_TEST_PYTHON names a Python that has)";
  serve();
  const auto ours = hub();
  for (const File& file : ours->list(all_)) ours->download(all_, file);
  const auto script = folder_.put("read.py", R"(
import sys
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
cache = sys.argv[1]
path = hf_hub_download("user/name", "data/deep/large.bin", repo_type="dataset", cache_dir=cache, local_files_only=True)
assert open(path, "rb").read() == bytes(i * 7 % 256 for i in range(5000))
snapshot_download("user/name", repo_type="dataset", cache_dir=cache, local_files_only=True)
info = scan_cache_dir(cache)
assert not info.warnings, info.warnings
assert [repo.nb_files for repo in info.repos] == [3] and info.size_on_disk == 5036, info
)");
  EXPECT_EQ(std::system((python + " " + script.string() + " " + (folder_.path() / "cache").string()).c_str()),
            0);
  ours->cache().prune(5022);
  EXPECT_EQ(std::system((python + " -c \"from huggingface_hub import scan_cache_dir as s; assert not s('" +
                         (folder_.path() / "cache").string() + "').warnings\"")
                            .c_str()),
            0);
}

}  // namespace
}  // namespace moe::hub
