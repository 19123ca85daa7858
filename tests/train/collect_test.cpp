// SPDX-License-Identifier: MIT
// Tensors in parts on many ranks become the files of one rank, byte for byte, and are read again in other parts.
#include "train/collect.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "backend/backend.h"
#include "base/file.h"
#include "support/thread_ranks.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::Each;
using ::testing::StartsWith;

constexpr int64_t kLong = 1000, kShort = 3;

class Collect : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              ("moe_collect_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    for (int64_t i = 0; i < kLong; ++i) long_.push_back(static_cast<float>(i) + 0.5F);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // What rank r of W has: its part of a long tensor, and nothing of a short one but for the last rank, which has all.
  struct Held {
    Held(const std::vector<float>& all, int rank, int ranks) {
      const int64_t begin = kLong * rank / ranks, end = kLong * (rank + 1) / ranks;
      values.assign(all.begin() + begin, all.begin() + end);
      const bool last = rank == ranks - 1;
      codes = {7, 8, 9};
      parts = {
          {"short", Tensor(nullptr, DType::u8, {kShort}), 0, Tensor(codes.data(), DType::u8, {last ? 3 : 0})},
          {"long", Tensor(nullptr, DType::f32, {kLong / 10, 10}), begin,
           Tensor(values.data(), DType::f32, {std::ssize(values)})}};
    }
    std::vector<float> values;
    std::vector<uint8_t> codes;
    std::vector<NamedPiece> parts;
  };
  std::vector<std::string> save(int ranks, const std::string& name, int64_t staging_bytes) {
    return test::on_threads(ranks, [&](Communicator& comm) {
      const Backend backend = make_backend("cpu", 1);
      Held held(long_, comm.rank(), comm.size());
      std::vector<uint8_t> staging(static_cast<size_t>(staging_bytes));
      CheckpointStore store(folder_ / name, 1);
      collect({{"a.safetensors", held.parts}, {"b.safetensors", {held.parts[1]}}}, comm,
              Tensor(staging.data(), DType::u8, {staging_bytes}), *backend.device,
              [&](const CheckpointStore::Streams& files) { store.save(1, files, "{}"); });
      EXPECT_EQ(comm.sum(1), comm.size()) << "all go on together";
    });
  }

  fs::path folder_;
  std::vector<float> long_;
};

TEST_F(Collect, FilesAreThoseOfOneRank) {
  EXPECT_THAT(save(1, "one", 1), Each(""));
  for (const int ranks : {2, 3, 4}) {
    const std::string name = std::to_string(ranks);
    EXPECT_THAT(save(ranks, name, 60), Each(""));
    for (const char* const file : {"a.safetensors", "b.safetensors", "manifest.json"})
      EXPECT_EQ(read_file(folder_ / name / "step-00000001" / file),
                read_file(folder_ / "one" / "step-00000001" / file))
          << ranks << " " << file;
  }
}

TEST_F(Collect, AnyOtherPartsAreReadFromThem) {
  EXPECT_THAT(save(3, "three", 1 << 20), Each(""));
  const Backend backend = make_backend("cpu", 1);
  const Checkpoint checkpoint = CheckpointStore(folder_ / "three", 1).open_latest();
  for (const int ranks : {1, 2, 7})
    for (int rank = 0; rank < ranks; ++rank) {
      const Held expected(long_, rank, ranks);
      Held found(std::vector<float>(kLong, 0.0F), rank, ranks);
      found.codes.assign(3, 0);
      checkpoint.load_parts("a.safetensors", found.parts, *backend.device);
      EXPECT_EQ(found.values, expected.values) << rank << " of " << ranks;
      EXPECT_EQ(found.codes[0], rank == ranks - 1 ? 7 : 0);
    }
}

TEST_F(Collect, ADiskThatFailsEndsTheWaitOfAll) {
  const auto errors = test::on_threads(3, [&](Communicator& comm) {
    const Backend backend = make_backend("cpu", 1);
    Held held(long_, comm.rank(), comm.size());
    std::vector<uint8_t> staging(64);
    agree(comm, [&] {
      collect(
          {{"a.safetensors", held.parts}}, comm, Tensor(staging.data(), DType::u8, {64}), *backend.device,
          [&](const CheckpointStore::Streams& files) {
            files[0].second[1].write([](const void*, size_t) { throw UserError("disk", "room", "none"); });
          });
    });
  });
  EXPECT_THAT(errors, Each(StartsWith("rank 0: disk: expected room, found none")));
}

}  // namespace
}  // namespace moe
