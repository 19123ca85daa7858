// SPDX-License-Identifier: MIT
// Checkpoints that are saved, kept, opened, and refused with a reason when something is wrong with them.
#include "checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/file.h"
#include "support/errors.h"
#include "support/fixture.h"

namespace moe::checkpoint {
namespace {

using test::user_error_of;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class CheckpointTest : public ::testing::Test, public test::Machine {
 protected:
  CheckpointTest() {
    fs::remove_all(folder_);
    weight_ = of<float>(DType::f32, {2, 3}, {1, 2, 3, 4, 5, 6});
    codes_ = of<int>(DType::u8, {6}, {0, 1, 127, 128, 254, 255});
  }
  void TearDown() override { fs::remove_all(folder_); }

  CheckpointStore::Files files() const {
    return {{"model.safetensors", {{"w", weight_}}}, {"optimizer.safetensors", {{"w.m.codes", codes_}}}};
  }
  void save(const CheckpointStore& store, int64_t step) {
    CheckpointStore(store).save(step, files(), "{\"step\": " + std::to_string(step) + "}", device());
  }
  std::string error_of_opening(int64_t step) {
    return user_error_of([&] { CheckpointStore(folder_, 0).open(step); });
  }
  static void flip(const fs::path& path, int64_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const char old = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(old ^ 1));
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) / ("checkpoints-" + std::to_string(getpid()));
  Tensor weight_, codes_;
};

// Asked before a run: what the next one needs, and the second beside the first, must be there; all that will
// be kept should.
TEST_F(CheckpointTest, RoomIsAskedFor) {
  fs::create_directories(folder_);
  const auto free_bytes = static_cast<uint64_t>(fs::space(folder_).available);
  const CheckpointStore store(folder_, 2);
  EXPECT_EQ(store.expect_room(1000, 100), "");
  EXPECT_EQ(store.expect_room(10 * free_bytes, 0), "");
  EXPECT_THAT(user_error_of([&] { (void)store.expect_room(2 * free_bytes, 1); }),
              HasSubstr("for a checkpoint"));
  const uint64_t most = free_bytes / 10 * 7;
  EXPECT_EQ(store.expect_room(most, 1), "");
  EXPECT_THAT(user_error_of([&] { (void)store.expect_room(most, 2); }), HasSubstr("for two checkpoints"));
  EXPECT_THAT(store.expect_room(free_bytes / 10 * 4, 100), HasSubstr("for 3 checkpoints"));
  save(store, 1);  // a small one stays while the next is written
  EXPECT_THAT(store.expect_room(most, 100), HasSubstr("the oldest one goes for a new one"));
}

TEST_F(CheckpointTest, TheOldestGoesUnlessItIsTheOnlyOne) {
  CheckpointStore store(folder_, 0);
  for (const int64_t step : {1, 2, 5}) save(store, step);
  EXPECT_EQ(store.drop_oldest(5), 1);
  EXPECT_EQ(store.drop_oldest(5), std::nullopt) << "2 is the only one before 5";
  EXPECT_THAT(store.steps(), ElementsAre(2, 5));
}

TEST_F(CheckpointTest, RoundTrip) {
  CheckpointStore store(folder_, 2, "moe 9.8.7");
  EXPECT_EQ(store.latest(), std::nullopt);
  EXPECT_THAT(user_error_of([&] { store.open_latest(); }), HasSubstr("expected a checkpoint, found none"));
  save(store, 7);
  EXPECT_EQ(store.latest(), 7);
  const Checkpoint checkpoint = store.open_latest();
  EXPECT_EQ(checkpoint.step(), 7);
  EXPECT_EQ(checkpoint.folder(), folder_ / "step-00000007");
  EXPECT_EQ(checkpoint.program(), "moe 9.8.7");
  EXPECT_EQ(checkpoint.state_json(), "{\"step\": 7}");
  Tensor weight = zeros(DType::f32, {2, 3}), codes = zeros(DType::u8, {6});
  checkpoint.load("model.safetensors", {{"w", weight}}, device());
  checkpoint.load("optimizer.safetensors", {{"w.m.codes", codes}}, device());
  EXPECT_EQ(bytes(weight), bytes(weight_));
  EXPECT_EQ(bytes(codes), bytes(codes_));
  EXPECT_EQ(Checkpoint(folder_ / "step-00000007/").step(), 7);
}

TEST_F(CheckpointTest, HashesAreThoseOfXxhsum) {
  CheckpointStore(folder_, 0).save(1, {}, "", device());
  // XXH3-128 of nothing, as `xxhsum -H128 /dev/null` prints it
  EXPECT_THAT(read_file(folder_ / "step-00000001/manifest.json"),
              HasSubstr("99aa06d3014798d86001c324468d497f"));
}

TEST_F(CheckpointTest, LoadWantsTheSameNames) {
  CheckpointStore store(folder_, 2);
  save(store, 1);
  const Checkpoint checkpoint = store.open(1);
  EXPECT_THAT(user_error_of([&] { checkpoint.load("model.safetensors", {}, device()); }),
              HasSubstr("only the 0 tensors of this run, found tensor w"));
  EXPECT_THAT(user_error_of([&] {
                checkpoint.load("model.safetensors", {{"w", weight_}, {"x", codes_}}, device());
              }),
              HasSubstr("expected a tensor x"));
  EXPECT_THAT(user_error_of([&] { checkpoint.file("other.safetensors"); }),
              HasSubstr("a file other.safetensors"));
}

TEST_F(CheckpointTest, KeepsTheLast) {
  CheckpointStore store(folder_, 2);
  for (const int64_t step : {10, 20, 30}) save(store, step);
  EXPECT_THAT(store.steps(), ElementsAre(20, 30));
  save(store, 40);
  EXPECT_THAT(store.steps(), ElementsAre(30, 40));
  EXPECT_EQ(store.latest(), 40);
  CheckpointStore all(folder_, 0);
  for (const int64_t step : {50, 60}) save(all, step);
  EXPECT_THAT(store.steps(), ElementsAre(30, 40, 50, 60));
}

TEST_F(CheckpointTest, LeavesTheStepsOfARunThatWasRolledBack) {
  CheckpointStore store(folder_, 1);
  CheckpointStore all(folder_, 0);
  for (const int64_t step : {10, 20, 30}) save(all, step);
  save(store, 15);
  EXPECT_THAT(store.steps(), ElementsAre(15, 20, 30));
  EXPECT_EQ(store.latest(), 15);
}

TEST_F(CheckpointTest, ReplacesTheSameStep) {
  CheckpointStore store(folder_, 2);
  save(store, 1);
  weight_.as<float>()[0] = 42;
  save(store, 1);
  EXPECT_THAT(store.open(1).file("model.safetensors").values<float>("w"), ElementsAre(42, 2, 3, 4, 5, 6));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 2);  // the step and `latest`
}

TEST_F(CheckpointTest, LatestFallsBackToTheNewestWholeOne) {
  CheckpointStore store(folder_, 0);
  for (const int64_t step : {10, 20}) save(store, step);
  for (const char* text : {"step-00000099\n", "", "../step-00000010", "step-10"}) {
    std::ofstream(folder_ / "latest") << text;
    EXPECT_EQ(store.latest(), 20) << text;
  }
  fs::remove(folder_ / "latest");
  EXPECT_EQ(store.latest(), 20);
  fs::remove(folder_ / "step-00000020/manifest.json");
  EXPECT_EQ(store.latest(), 10);
  std::ofstream(folder_ / "latest") << "step-00000010";  // as a person would write it
  EXPECT_EQ(store.latest(), 10);
}

TEST_F(CheckpointTest, SweepsWhatKilledSavesLeft) {
  fs::create_directories(folder_ / "step-00000005.partial/deep");
  std::ofstream(folder_ / "latest.tmp-123") << "step";
  std::ofstream(folder_ / "notes.txt") << "mine";
  CheckpointStore store(folder_, 1);
  EXPECT_EQ(store.latest(), std::nullopt);
  save(store, 6);
  EXPECT_FALSE(fs::exists(folder_ / "step-00000005.partial"));
  EXPECT_FALSE(fs::exists(folder_ / "latest.tmp-123"));
  EXPECT_TRUE(fs::exists(folder_ / "notes.txt"));
}

TEST_F(CheckpointTest, NamesTheFileThatIsDamagedAndTheOneThatIsNot) {
  CheckpointStore store(folder_, 0);
  for (const int64_t step : {10, 20, 30}) save(store, step);
  const fs::path model = folder_ / "step-00000030/model.safetensors";
  flip(model, static_cast<int64_t>(fs::file_size(model)) - 1);
  EXPECT_THAT(error_of_opening(30),
              AllOf(HasSubstr(model.string()), HasSubstr("contents with XXH3-128 hash"), HasSubstr("found"),
                    HasSubstr("step-00000020 is intact"), HasSubstr((folder_ / "latest").string())));
  flip(folder_ / "step-00000020/state.json", 1);
  EXPECT_THAT(error_of_opening(30), HasSubstr("step-00000010 is intact"));
  flip(folder_ / "step-00000010/optimizer.safetensors", 0);
  EXPECT_THAT(error_of_opening(30), HasSubstr("no older checkpoint that is intact"));
  flip(model, static_cast<int64_t>(fs::file_size(model)) - 1);
  EXPECT_EQ(error_of_opening(30), "");
}

TEST_F(CheckpointTest, NamesWhatIsMissing) {
  CheckpointStore store(folder_, 0);
  save(store, 1);
  const fs::path step = store.folder_of(1);
  const auto size = fs::file_size(step / "model.safetensors");
  fs::resize_file(step / "model.safetensors", size - 1);
  EXPECT_THAT(error_of_opening(1), HasSubstr("model.safetensors: expected " + std::to_string(size) +
                                             " bytes, found " + std::to_string(size - 1)));
  fs::remove(step / "model.safetensors");
  EXPECT_THAT(error_of_opening(1), HasSubstr("model.safetensors: expected a file of the checkpoint"));
  fs::remove(step / "manifest.json");
  EXPECT_THAT(error_of_opening(1), HasSubstr("manifest.json: expected the manifest of a whole checkpoint"));
  EXPECT_THAT(error_of_opening(2),
              HasSubstr("step-00000002: expected the folder of a checkpoint, found none"));
}

TEST_F(CheckpointTest, RefusesOtherFormatsAndBrokenManifests) {
  CheckpointStore store(folder_, 0, "moe 0.1.0");
  save(store, 1);
  const fs::path path = store.folder_of(1) / "manifest.json";
  const std::string good = read_file(path);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    std::ofstream(path, std::ios::trunc) << text;
    return error_of_opening(1);
  };
  EXPECT_THAT(with("\"format\": 1", "\"format\": 2"),
              HasSubstr("manifest.json: expected checkpoint format 1, found format 2, written by moe 0.1.0. "
                        "Hint: read it with a newer version of moe"));
  EXPECT_THAT(with("\"format\": 1", "\"format\": 0"), HasSubstr("an older version"));
  EXPECT_THAT(with("\"format\"", "\"fermat\""), HasSubstr("manifest.json: field \"format\""));
  EXPECT_THAT(with("\"state.json\"", "\"../state.json\""),
              HasSubstr("plain file names, found \"../state.json\""));
  EXPECT_THAT(with("{", "{{"), HasSubstr("manifest.json: expected JSON"));
}

TEST_F(CheckpointTest, RefusesASaveThatDoesNotFitTheDisk) {
  CheckpointStore store(folder_, 1);
  save(store, 1);
  // A tensor that is only asked for its size: no disk of today has this much.
  const Tensor vast(nullptr, DType::f32, {int64_t{1} << 54});
  const std::string error = user_error_of([&] {
    store.save(2, {{"model.safetensors", {{"vast", vast}}}}, "{}", device());
  });
  EXPECT_THAT(error,
              AllOf(HasSubstr("of free disk space for a checkpoint"), HasSubstr("Hint: free some space")));
  EXPECT_EQ(store.latest(), 1);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 2);
}

// The disk fails in the middle of a save: here by a limit on the size of files, in a process of its own.
TEST_F(CheckpointTest, AFailingDiskLeavesThePreviousCheckpoint) {
  CheckpointStore store(folder_, 1);
  save(store, 1);
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{256, 256};
    setrlimit(RLIMIT_FSIZE, &limit);
    Tensor large = zeros(DType::f32, {1000});
    const std::string error = user_error_of([&] {
      store.save(2, {{"model.safetensors", {{"large", large}}}}, "{}", device());
    });
    _exit(error.find("model.safetensors") != std::string::npos ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(store.latest(), 1);
  EXPECT_EQ(store.open_latest().step(), 1);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 2);
}

TEST_F(CheckpointTest, SaysSoWhenTheFolderCannotBeMade) {
  std::ofstream(folder_.string()) << "a file";
  EXPECT_THAT(user_error_of([&] { save(CheckpointStore(folder_, 1), 1); }),
              HasSubstr("a folder that can be made"));
  EXPECT_THAT(user_error_of([&] { save(CheckpointStore("/proc/none", 1), 1); }), HasSubstr("/proc/none"));
}

}  // namespace
}  // namespace moe::checkpoint
