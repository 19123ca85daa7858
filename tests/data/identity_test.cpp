// SPDX-License-Identifier: MIT
// A text is what its bytes are: not where they lie, what the file is called, or when it was written.
#include <gmock/gmock.h>

#include <chrono>

#include "base/terminal.h"
#include "data/data_file.h"
#include "data/repeats.h"
#include "data/support.h"

namespace moe::data {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Identity : public testing::Test {
 protected:
  std::shared_ptr<const Source> open(const std::vector<fs::path>& paths) {
    std::vector<std::string> places;
    for (const fs::path& path : paths) places.push_back(path.string());
    return open_source(places, config, terminal);
  }
  std::string of(const fs::path& path) { return open({path})->identity(); }
  static void touch(const fs::path& path) {
    fs::last_write_time(path, fs::last_write_time(path) + std::chrono::hours(1));
  }
  std::string words(const std::vector<fs::path>& training, const std::vector<fs::path>& validation = {}) {
    test::LogFile said;
    Terminal listener(said.stream());
    const auto other = validation.empty() ? nullptr : open(validation);
    warn_of_repeats(*open(training), other.get(), listener);
    return said.text();
  }

  fs::path folder = fresh_folder();
  test::LogFile log;
  Terminal terminal{log.stream()};
  DataConfig config = [this] {
    DataConfig c;
    c.cache_dir = (folder / ".cache").string();
    return c;
  }();
};

TEST_F(Identity, ATouchedFileIsTheSame) {
  fs::copy_file(golden("members.txt.gz"), folder / "t.txt.gz");
  spill(folder / "p.txt", "plain");
  for (const char* name : {"t.txt.gz", "p.txt"}) {
    const std::string before = of(folder / name);
    touch(folder / name);
    EXPECT_EQ(of(folder / name), before) << name;
  }
}

TEST_F(Identity, SoIsOneThatMovedOrWasPackedOtherwise) {
  fs::copy_file(golden("members.txt.gz"), folder / "t.txt.gz");
  const auto decoded = open({folder / "t.txt.gz"});
  spill(folder / "elsewhere/plain.txt", slurp(decoded->files().at(0)->name()));
  EXPECT_EQ(of(folder / "elsewhere/plain.txt"), decoded->identity());
}

TEST_F(Identity, OtherBytesOfTheSameSizeAndNameAreAnother) {
  spill(folder / "a.txt", std::string(50'000, 'a'));
  const std::string before = of(folder / "a.txt");
  spill(folder / "a.txt", std::string(49'999, 'a') + "b");
  EXPECT_NE(of(folder / "a.txt"), before);
  spill(folder / "a.txt", std::string(1'000'000, 'a'));
  const std::string wide = of(folder / "a.txt");
  spill(folder / "a.txt", std::string(500'000, 'a') + "b" + std::string(499'999, 'a'));
  EXPECT_NE(of(folder / "a.txt"), wide) << "up to 1 MiB each byte counts";
  spill(folder / "large.txt", std::string(5'000'000, 'a'));
  const std::string large = of(folder / "large.txt");
  spill(folder / "large.txt", std::string(5'000'000, 'b'));
  EXPECT_NE(of(folder / "large.txt"), large);
}

TEST_F(Identity, TheEndOfALargeFileIsLookedAt) {
  const std::string text(3'000'000, 'a');
  EXPECT_NE(sampled_identity(MemoryInput("", text)), sampled_identity(MemoryInput("", text.substr(1) + "b")));
  EXPECT_NE(sampled_identity(MemoryInput("", text), 1),
            sampled_identity(MemoryInput("", text.substr(1) + "b"), 1));
}

// Reads are counted: ten thousand files must not be ten thousand times sixteen reads.
TEST_F(Identity, WorkIsBounded) {
  class Counting : public Input {
   public:
    explicit Counting(int64_t size) : Input("counting"), size_(size) {}
    int64_t size() const override { return size_; }
    mutable int64_t bytes = 0;

   private:
    void read_exactly(int64_t, char* data, size_t count) const override {
      std::fill_n(data, count, 'x');
      bytes += static_cast<int64_t>(count);
    }
    int64_t size_;
  };
  const Counting large(int64_t{1} << 40), one(int64_t{1} << 40);
  sampled_identity(large);
  EXPECT_EQ(large.bytes, kSampledBlocks * kSampledBlock);
  sampled_identity(one, 1);
  EXPECT_EQ(one.bytes, kSampledBlock);
}

TEST_F(Identity, ItTellsItsUnitsAndOldOnesAreKnown) {
  spill(folder / "a.txt", "text");
  const auto source = open({folder / "a.txt"});
  EXPECT_EQ(units_of_identity(source->identity()), source->units());
  EXPECT_EQ(units_of_identity(source->old_identity()), 0);
  EXPECT_TRUE(is_identity_of(source->identity(), *source));
  EXPECT_TRUE(is_identity_of(source->old_identity(), *source));
  EXPECT_FALSE(is_identity_of("2 1 0123456789abcdef", *source));
  EXPECT_FALSE(is_identity_of("0123456789abcdef", *source));
}

TEST_F(Identity, TheSameFileOnBothSidesIsTold) {
  spill(folder / "text/a.txt", "one text");
  spill(folder / "text/b.txt", "two text");
  spill(folder / "v.txt", "validate");
  EXPECT_EQ(words({folder / "text"}, {folder / "v.txt"}), "");
  EXPECT_THAT(words({folder / "text"}, {folder / "text/b.txt"}),
              AllOf(HasSubstr("1 of the 1 files for validation"), HasSubstr("b.txt")));
  fs::create_symlink(folder / "text/a.txt", folder / "link.txt");
  EXPECT_THAT(words({folder / "text"}, {folder / "link.txt"}), HasSubstr("link.txt"));
  spill(folder / "copy.md", "one text");
  EXPECT_THAT(words({folder / "text"}, {folder / "copy.md"}), HasSubstr("copy.md"));
}

TEST_F(Identity, TheSameFileTwiceOnOneSideIsTold) {
  spill(folder / "text/a.txt", "one text");
  spill(folder / "text/b.txt", "two text");
  EXPECT_EQ(words({folder / "text"}), "");
  EXPECT_THAT(words({folder / "text", folder / "text/a.txt"}),
              AllOf(HasSubstr("1 of its files more than once"), Not(HasSubstr("validation"))));
  spill(folder / "text/empty1.txt", "");
  spill(folder / "text/empty2.txt", "");
  EXPECT_EQ(words({folder / "text"}), "");
}

}  // namespace
}  // namespace moe::data
