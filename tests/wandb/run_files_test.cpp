// SPDX-License-Identifier: MIT
// What the wandb.json of somebody else's run may say: nothing is written outside, whatever it names.
#include "wandb/run_files.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "support/errors.h"
#include "support/folder.h"

namespace moe::wandb {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class RunFilesTest : public testing::Test {
 protected:
  RunFilesTest() {
    fs::create_directories(run_);
    fs::create_directories(outside_);
    settings_.folder = run_;
    settings_.mode = Mode::offline;
  }
  RunFiles resume(const std::string& id, const std::string& folder) const {
    write_file_atomically(state_, nlohmann::json{{"id", id}, {"folder", folder}}.dump());
    return RunFiles::open(settings_, state_, true, 0);
  }
  bool outside_is_untouched() const {
    return std::distance(fs::directory_iterator(outside_), fs::directory_iterator()) == 1 &&
           read_file(outside_ / "run-abc.wandb") == "theirs";
  }

  test::TestFolder folder_;
  const fs::path run_ = folder_.path() / "run", outside_ = folder_.path() / "outside",
                 state_ = run_ / "wandb.json";
  const fs::path theirs_ = folder_.put("outside/run-abc.wandb", "theirs");
  Settings settings_;
};

TEST_F(RunFilesTest, AnIdIsCheckedAsAPersonsIs) {
  for (const char* id : {"../", "../../x", "a/b", "..", ".", "a\\b", "a b", "a\nb", "a?b", "a\x01"}) {
    EXPECT_THAT(test::user_error_of([&] { resume(id, "wandb/x"); }), HasSubstr("wandb.json: id")) << id;
    EXPECT_FALSE(fs::exists(run_ / "wandb"));
  }
}

TEST_F(RunFilesTest, AFolderElsewhereIsNotWrittenTo) {
  fs::create_directory_symlink(outside_, run_ / "link");
  fs::create_directory(run_ / "inner");
  fs::create_symlink(theirs_, run_ / "inner/run-abc.wandb");
  for (const std::string& folder : {std::string("../outside"), outside_.string(), std::string("link"),
                                    std::string("inner"), std::string("inner/../../outside")}) {
    const RunFiles files = resume("abc", folder);
    EXPECT_FALSE(files.existed) << folder;
    EXPECT_EQ(files.folder.parent_path(), run_ / "wandb") << folder;
    EXPECT_TRUE(outside_is_untouched()) << folder;
  }
}

TEST_F(RunFilesTest, AnotherPlaceThatTheUserNamedGoesOn) {
  settings_.folder = outside_;
  EXPECT_TRUE(resume("abc", outside_.string()).existed == false);  // "outside" itself is no run's folder
  folder_.put("outside/wandb/offline-run-x-abc/run-abc.wandb", "ours");
  EXPECT_TRUE(resume("abc", (outside_ / "wandb/offline-run-x-abc").string()).existed);
}

TEST_F(RunFilesTest, ALinkInPlaceOfItsOwnFolderIsRefused) {
  fs::create_directory_symlink(outside_, run_ / "wandb");
  EXPECT_THAT(test::user_error_of([&] { RunFiles::open(settings_, state_, false, 0); }), HasSubstr("a link"));
  EXPECT_TRUE(outside_is_untouched());
}

}  // namespace
}  // namespace moe::wandb
