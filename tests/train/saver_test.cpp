// SPDX-License-Identifier: MIT
// Checkpoints that many ranks write behind training: byte for byte those of one writer, with the numbers of
// the moment they began, whole or not there at all.
#include "train/saver.h"

#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "backend/backend.h"
#include "base/file.h"
#include "support/errors.h"
#include "support/thread_ranks.h"

namespace moe::train {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int64_t kLong = 1000, kWide = 300'000;

// Calls a hook before each copy to the host, and may have no memory there.
class HookedDevice final : public Device {
 public:
  HookedDevice(Device& device, std::function<void()> hook, bool has_host_memory)
      : device_(device), hook_(std::move(hook)), has_host_memory_(has_host_memory) {}
  std::string name() const override { return device_.name(); }
  int64_t memory_total() const override { return device_.memory_total(); }
  int64_t memory_available() const override { return device_.memory_available(); }
  void* allocate(int64_t bytes) override { return device_.allocate(bytes); }
  void release(void* memory) override { device_.release(memory); }
  void* allocate_host(int64_t bytes) override {
    ++host_allocations;
    std::this_thread::sleep_for(host_allocation_takes);
    if (!has_host_memory_) throw UserError("pinned memory of the host", "some", "none");
    return device_.allocate_host(bytes);
  }
  void release_host(void* memory) override { device_.release_host(memory); }
  void to_device(Tensor dst, const void* src) override { device_.to_device(dst, src); }
  void to_host(void* dst, const Tensor& src) override {
    if (hook_) hook_();
    device_.to_host(dst, src);
  }
  void synchronize() override { device_.synchronize(); }

  std::atomic<int> host_allocations{0};
  std::chrono::milliseconds host_allocation_takes{0};

 private:
  Device& device_;
  std::function<void()> hook_;
  bool has_host_memory_;
};

class SaverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              ("moe_saver_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // What rank r of W has: its part of a long tensor, all of a wide one, and nothing of a short one but for
  // the last rank.
  struct Held {
    Held(int rank, int ranks) : values(kLong), wide(kWide), codes{7, 8, 9} {
      for (int64_t i = 0; i < kLong; ++i) values[static_cast<size_t>(i)] = static_cast<float>(i) + 0.5F;
      for (int64_t i = 0; i < kWide; ++i) wide[static_cast<size_t>(i)] = static_cast<float>(-i);
      const int64_t begin = kLong * rank / ranks, end = kLong * (rank + 1) / ranks;
      parts = {{"short", Tensor(nullptr, DType::u8, {3}), 0,
                Tensor(codes.data(), DType::u8, {rank == ranks - 1 ? 3 : 0})},
               {"long", Tensor(nullptr, DType::f32, {kLong / 10, 10}), begin,
                Tensor(values.data() + begin, DType::f32, {end - begin})},
               {"wide", Tensor(nullptr, DType::f32, {kWide}), 0, Tensor(wide.data(), DType::f32, {kWide})}};
    }
    PartFiles files() const { return {{"a.safetensors", parts}, {"b.safetensors", {parts[1]}}}; }
    std::vector<float> values, wide;
    std::vector<uint8_t> codes;
    std::vector<NamedShard> parts;
  };
  // One rank's part of a test, with what it needs.
  struct Rank {
    Rank(comm::Communicator& comm_, const fs::path& folder, bool in_background,
         std::function<void()> hook = {}, const Saver::Retry& retry = {}, int64_t keep = 1,
         bool has_host_memory = true)
        : comm(comm_),
          device(*backend.device, std::move(hook), has_host_memory),
          saver(checkpoint::CheckpointStore(folder, keep), held.files(), in_background, comm, device,
                terminal, retry) {}
    void advance() { saver.advance(comm.gather(saver.state())); }
    std::string said() {
      std::fflush(log.get());
      std::rewind(log.get());
      std::string text(4096, '\0');
      text.resize(std::fread(text.data(), 1, text.size(), log.get()));
      return text;
    }
    comm::Communicator& comm;
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> log{std::tmpfile(), std::fclose};
    Terminal terminal{log.get()};
    backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1);
    Held held{comm.rank(), comm.size()};
    HookedDevice device;
    Saver saver;
  };
  std::vector<std::string> save(int ranks, const std::string& name, bool in_background) {
    return test::on_threads(ranks, [&](comm::Communicator& comm) {
      Rank rank(comm, folder_ / name, in_background);
      rank.saver.begin(1, "{}");
      rank.saver.finish();
    });
  }
  static void expect_same(const fs::path& a, const fs::path& b) {
    for (const char* const file : {"a.safetensors", "b.safetensors", "state.json", "manifest.json"})
      EXPECT_EQ(read_file(a / "step-00000001" / file), read_file(b / "step-00000001" / file)) << b << file;
  }

  fs::path folder_;
};

TEST_F(SaverTest, FilesAreThoseOfOneWriter) {
  const Held held(0, 1);
  const backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1);
  checkpoint::CheckpointStore::Files files;
  for (const auto& [name, parts] : held.files()) {
    auto& tensors = files.emplace_back(name, std::vector<NamedTensor>()).second;
    for (NamedShard part : parts)
      tensors.push_back({part.name, Tensor(part.local.data(), part.global.dtype(), part.global.shape(),
                                           part.global.rank())});
  }
  checkpoint::CheckpointStore(folder_ / "writer", 1).save(1, files, "{}", *backend.device);
  for (const bool in_background : {false, true})
    for (const int ranks : {1, 2, 3, 4}) {
      const std::string name = std::to_string(ranks) + (in_background ? "b" : "f");
      EXPECT_THAT(save(ranks, name, in_background), Each(""));
      expect_same(folder_ / "writer", folder_ / name);
    }
}

TEST_F(SaverTest, WithoutMemoryForACopyAllWriteFromTheDevice) {
  EXPECT_THAT(save(1, "one", true), Each(""));
  for (const int without : {0, 1, 2}) {
    const std::string name = "three" + std::to_string(without);
    const auto errors = test::on_threads(3, [&](comm::Communicator& comm) {
      Rank rank(comm, folder_ / name, true, {}, {}, 1, comm.rank() != without);
      EXPECT_GT(rank.saver.copy_bytes(), 0);
      rank.saver.begin(1, "{}");
      EXPECT_EQ(rank.saver.copy_bytes(), 0);
      EXPECT_THAT(rank.said(), AllOf(HasSubstr("pinned memory of the host"), HasSubstr("Training waits")));
      rank.saver.finish();
    });
    EXPECT_THAT(errors, Each(""));
    expect_same(folder_ / "one", folder_ / name);
  }
}

TEST_F(SaverTest, TakesItsMemoryWhenItIsToldTo) {
  EXPECT_THAT(save(1, "reference", true), Each(""));
  const auto errors = test::on_threads(2, [&](comm::Communicator& comm) {
    Rank rank(comm, folder_ / "late", true);
    EXPECT_GT(rank.saver.copy_bytes(), 0);
    EXPECT_EQ(rank.device.host_allocations, 0);
    rank.saver.take_memory();
    rank.saver.take_memory();
    rank.saver.begin(1, "{}");
    rank.saver.finish();
    EXPECT_EQ(rank.device.host_allocations, 1);
  });
  EXPECT_THAT(errors, Each(""));
  expect_same(folder_ / "reference", folder_ / "late");
}

// A run that is told to end in its first step.
TEST_F(SaverTest, ASaveBeforeTheMemoryIsThereWaitsForIt) {
  EXPECT_THAT(save(1, "reference", true), Each(""));
  for (const bool told : {false, true}) {
    const std::string name = told ? "told" : "untold";
    const auto errors = test::on_threads(2, [&](comm::Communicator& comm) {
      Rank rank(comm, folder_ / name, true);
      rank.device.host_allocation_takes = std::chrono::milliseconds(comm.rank() == 1 ? 100 : 0);
      if (told) rank.saver.take_memory();
      rank.saver.begin(1, "{}");
      EXPECT_EQ(rank.device.host_allocations, 1);
      EXPECT_TRUE(rank.saver.busy());  // written from the copy
      rank.saver.finish();
    });
    EXPECT_THAT(errors, Each(""));
    expect_same(folder_ / "reference", folder_ / name);
  }
}

TEST_F(SaverTest, AnyOtherPartsAreReadFromThem) {
  EXPECT_THAT(save(3, "three", true), Each(""));
  const backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1);
  const checkpoint::Checkpoint checkpoint = checkpoint::CheckpointStore(folder_ / "three", 1).open_latest();
  for (const int ranks : {1, 2, 7})
    for (int rank = 0; rank < ranks; ++rank) {
      const Held expected(rank, ranks);
      Held found(rank, ranks);
      const int64_t begin = kLong * rank / ranks, end = kLong * (rank + 1) / ranks;
      std::fill(found.values.begin() + begin, found.values.begin() + end, 0.0F);
      std::fill(found.wide.begin(), found.wide.end(), 0.0F);
      found.codes.assign(3, 0);
      checkpoint.load_parts("a.safetensors", found.parts, *backend.device);
      EXPECT_EQ(found.values, expected.values) << rank << " of " << ranks;
      EXPECT_EQ(found.wide, expected.wide);
      EXPECT_EQ(found.codes[0], rank == ranks - 1 ? 7 : 0);
    }
}

// What all have is written by all: no rank has more than its share of the large tensor and the small ones.
TEST_F(SaverTest, EachWritesItsShare) {
  for (const int ranks : {2, 4})
    EXPECT_THAT(test::on_threads(ranks,
                                 [&](comm::Communicator& comm) {
                                   const Rank rank(comm, folder_, true);
                                   const int64_t fair = 4 * (kWide + 2 * kLong) / ranks;
                                   EXPECT_NEAR(static_cast<double>(rank.saver.copy_bytes()),
                                               static_cast<double>(fair), 4 * 256 * ranks + 8);
                                 }),
                Each(""));
}

TEST_F(SaverTest, HoldsTheNumbersOfTheMomentAndTrainingGoesOn) {
  EXPECT_THAT(save(3, "before", true), Each(""));
  const auto errors = test::on_threads(3, [&](comm::Communicator& comm) {
    Rank rank(comm, folder_ / "during", true);
    rank.saver.begin(1, "{}");
    std::fill(rank.held.values.begin(), rank.held.values.end(), -1.0F);  // the next step
    std::fill(rank.held.wide.begin(), rank.held.wide.end(), -1.0F);
    while (!rank.saver.write_seconds()) rank.advance();  // of no step waits
  });
  EXPECT_THAT(errors, Each(""));
  expect_same(folder_ / "before", folder_ / "during");
}

TEST_F(SaverTest, TheNextOneWaitsAndSaysSo) {
  EXPECT_THAT(test::on_threads(2,
                               [&](comm::Communicator& comm) {
                                 Rank rank(comm, folder_, true);
                                 rank.saver.begin(1, "{}");
                                 rank.saver.begin(2, "{}");
                                 EXPECT_TRUE(fs::exists(folder_ / "step-00000001" / "manifest.json"));
                                 rank.saver.finish();
                                 EXPECT_THAT(rank.said(),
                                             HasSubstr("step 2: waiting for the checkpoint of step 1"));
                               }),
              Each(""));
  EXPECT_EQ(checkpoint::CheckpointStore(folder_, 0).latest(), 2);
}

// The disk is full once the files are begun (/dev/full stands for it): the next look at it is an error of all
// ranks, and the checkpoint before is still there.
TEST_F(SaverTest, AFullDiskIsOneErrorAndLeavesTheOneBefore) {
  for (const int ranks : {1, 3}) {
    fs::remove_all(folder_);
    EXPECT_THAT(save(ranks, "", true), Each(""));
    const auto errors = test::on_threads(ranks, [&](comm::Communicator& comm) {
      const auto fill = [&] {
        const fs::path file = folder_ / "step-00000002.partial" / "b.safetensors";
        if (comm.rank() != 0 || fs::is_symlink(file)) return;
        fs::remove(file);
        fs::create_symlink("/dev/full", file);
      };
      Rank rank(comm, folder_, true, fill);
      rank.saver.begin(2, "{}");
      for (;;) rank.advance();
    });
    EXPECT_THAT(errors, Each(AllOf(HasSubstr("b.safetensors"), HasSubstr("No space left on device"))));
    EXPECT_EQ(checkpoint::CheckpointStore(folder_, 0).open_latest().step(), 1);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 2) << "nothing half-done is left";
  }
}

// A full disk for the first `failures` attempts at step 3 (a link to /dev/full in the place of a file, or of
// the folder that a save begins in): with steps 1 and 2 there, and room for as many as are kept.
std::function<void()> full_for(const fs::path& folder, int failures, std::atomic<int>& tried) {
  return [&tried, folder, failures] {
    const fs::path file = folder / "step-00000003.partial" / "b.safetensors";
    if (tried++ >= failures || fs::is_symlink(file)) return;
    fs::remove(file);
    fs::create_symlink("/dev/full", file);
  };
}

// Training does not end for it: the numbers are those of the moment the save began, whenever there is room.
TEST_F(SaverTest, ASaveThatFailsIsTriedAgain) {
  EXPECT_THAT(save(1, "other", true), Each(""));
  EXPECT_THAT(test::on_threads(1,
                               [&](comm::Communicator& comm) {
                                 std::atomic<int> tried{0};
                                 const fs::path folder = folder_ / "run";
                                 Rank rank(comm, folder, true, full_for(folder, 1, tried),
                                           {.first = 0.01, .longest = 0.01, .total = 60}, 5);
                                 rank.saver.begin(3, "{}");
                                 std::fill(rank.held.wide.begin(), rank.held.wide.end(),
                                           -1.0F);  // the next step
                                 rank.saver.finish();
                                 EXPECT_THAT(rank.said(), AllOf(HasSubstr("step 3 is not saved yet"),
                                                                HasSubstr("training goes on"),
                                                                HasSubstr("checkpoint step-00000003")));
                               }),
              Each(""));
  EXPECT_EQ(read_file(folder_ / "run" / "step-00000003" / "b.safetensors"),
            read_file(folder_ / "other" / "step-00000001" / "b.safetensors"));
}

// Each attempt copies from the device here, so that the disk can be full again and again: then old
// checkpoints go, the oldest first, and never the last one; after the time it is an error, and what is there
// stays.
TEST_F(SaverTest, OldCheckpointsGoForANewOneButNotTheLast) {
  const auto with = [&](int failures, double total) {
    return test::on_threads(2, [&, failures, total](comm::Communicator& comm) {
      std::atomic<int> tried{0};
      auto fill = full_for(folder_, failures, tried);
      const auto hook = [&] {
        if (comm.rank() == 0) fill();
      };
      Rank rank(comm, folder_, false, hook, {.first = 0.01, .longest = 0.01, .total = total}, 5);
      rank.saver.begin(3, "{}");
    });
  };
  const auto fresh = [&] {
    fs::remove_all(folder_);
    EXPECT_THAT(save(2, "", true), Each(""));
    fs::copy(folder_ / "step-00000001", folder_ / "step-00000002");
  };
  fresh();
  EXPECT_THAT(with(1 << 30, 4), Each(HasSubstr("No space left on device")));
  EXPECT_EQ(checkpoint::CheckpointStore(folder_, 0).steps(), (std::vector<int64_t>{2}));
  fresh();
  EXPECT_THAT(with(1, 60), Each(""));
  EXPECT_EQ(checkpoint::CheckpointStore(folder_, 0).steps(), (std::vector<int64_t>{1, 2, 3}))
      << "none goes at once";
}

TEST_F(SaverTest, ANewerStepTakesThePlaceOfOneThatWaits) {
  EXPECT_THAT(test::on_threads(1,
                               [&](comm::Communicator& comm) {
                                 std::atomic<int> tried{0};
                                 Rank rank(comm, folder_, true, full_for(folder_, 1, tried),
                                           {.first = 1000, .longest = 1000, .total = 1e6});
                                 rank.saver.begin(3, "{}");
                                 while (rank.said().find("not saved yet") == std::string::npos)
                                   rank.advance();
                                 rank.saver.begin(4, "{}");
                                 rank.saver.finish();
                               }),
              Each(""));
  EXPECT_EQ(checkpoint::CheckpointStore(folder_, 0).steps(), (std::vector<int64_t>{4}));
}

TEST_F(SaverTest, AnErrorOfOneRankIsThatOfAll) {
  const auto errors = test::on_threads(3, [&](comm::Communicator& comm) {
    const auto fail = [&] {
      if (comm.rank() == 2) throw UserError("disk", "room", "none");
    };
    Rank rank(comm, folder_, false, fail);
    rank.saver.begin(1, "{}");
  });
  EXPECT_THAT(errors, Each(StartsWith("rank 2: disk: expected room, found none")));
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(SaverTest, BytesThatAFileSystemLostAreMissed) {
  fs::create_directories(folder_);
  const Held first(0, 2), second(1, 2);
  std::vector<checkpoint::SharedFile::Extent> extents;
  for (const Held* held : {&first, &second})
    for (const NamedShard& part : held->parts) extents.push_back({part.offset, part.local.numel()});
  const checkpoint::SharedFile file("a.safetensors", first.parts, extents, 2);
  std::string bytes = file.head();
  bytes.resize(file.bytes(), 'x');
  std::vector<checkpoint::Hash> hashes(2);
  hashes[0].add(bytes.data(), file.head().size());
  for (const auto& stretch : file.stretches())
    hashes[static_cast<size_t>(stretch.owner)].add(bytes.data() + stretch.begin, stretch.bytes);
  const std::vector<std::string> written{hashes[0].hex(), hashes[1].hex()};
  const fs::path path = folder_ / "a.safetensors";
  write_file_atomically(path, bytes);
  EXPECT_EQ(file.verify(path, written).bytes, bytes.size());
  bytes[file.stretches().back().begin] = '\0';
  write_file_atomically(path, bytes);
  EXPECT_THAT(test::user_error_of([&] { (void)file.verify(path, written); }),
              HasSubstr("what rank " + std::to_string(file.stretches().back().owner) + " wrote"));
}

}  // namespace
}  // namespace moe::train
