// SPDX-License-Identifier: MIT
// What earlier versions left on the disk (tests/golden/formats/VERSION, tools/make_format_fixtures.py) is
// read by this one, and goes on: the run, the shards, the export.
#include <gmock/gmock.h>
#include <zlib.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "run/fixture.h"
#include "support/source_dir.h"
#include "wandb/record_file.h"

namespace moe {
namespace {

using nlohmann::json;
using test::fs::path;
namespace fs = test::fs;

class Formats : public test::Run, public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    Run::SetUp();
    fixture_ = test::source_dir() / "tests/golden/formats" / GetParam();
    const auto deep = fs::copy_options::recursive | fs::copy_options::copy_symlinks;
    fs::copy(fixture_, folder_, deep | fs::copy_options::overwrite_existing);
    std::vector<path> compressed;
    for (const auto& entry : fs::recursive_directory_iterator(folder_))
      if (entry.path().extension() == ".gz") compressed.push_back(entry.path());
    for (const path& file : compressed) {
      write_file_atomically(path(file).replace_extension(), decompressed(file));
      fs::remove(file);
    }
  }

  static std::string decompressed(const path& file) {
    const std::unique_ptr<gzFile_s, int (*)(gzFile)> stream(gzopen(file.c_str(), "rb"), gzclose);
    std::string bytes, piece(1 << 16, '\0');
    for (int count = 0; (count = gzread(stream.get(), piece.data(), 1 << 16)) > 0;)
      bytes.append(piece, 0, static_cast<size_t>(count));
    return bytes;
  }

  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  static int moe(const std::vector<std::string>& arguments) {
    int status = -1;
    waitpid(start_program(arguments), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  json expected() const { return json::parse(read_file(fixture_ / "expected.json")); }
  std::vector<json> rows(const std::string& run) const {
    std::vector<json> rows;
    std::istringstream text(read_file(folder_ / run / "metrics.jsonl"));
    for (std::string line; std::getline(text, line);) rows.push_back(json::parse(line));
    return rows;
  }

  path fixture_;
};

// Two more steps. Another processor adds in another order: oneDNN's kernels for SSE4.1 move the last loss by
// 4e-8. A code of an 8-bit moment that falls to its neighbour moves single weights by a hundredth of a step.
// Fresh moments move the last loss by 3e-2.
TEST_P(Formats, ARunGoesOn) {
  ASSERT_EQ(moe({"train", "--resume", at("run"), "training.max_steps=6", "data.source=" + at("corpus.txt"),
                 "data.cache_dir=" + at("cache")}),
            0);
  const std::vector<double> losses = expected().at("losses");
  std::vector<double> found;
  std::set<int64_t> validated;
  for (const json& row : rows("run")) {
    if (row.contains("loss")) found.push_back(row.at("loss"));
    if (row.contains("validation_loss")) {
      EXPECT_TRUE(validated.insert(row.at("step").get<int64_t>()).second);
    }
  }
  ASSERT_EQ(found.size(), losses.size());
  for (size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(found[i], losses[i], 1e-3) << "step " << i + 1;
  EXPECT_THAT(validated, ::testing::ElementsAre(0, 2, 4, 6));
  EXPECT_EQ(checkpoint::CheckpointStore(folder_ / "run/checkpoints", 0).open_latest().step(), 6);
}

TEST_P(Formats, AnOlderCheckpointIsReadAndWritesText) {
  EXPECT_EQ(checkpoint::CheckpointStore(folder_ / "run/checkpoints", 0).open(2).step(), 2);
  EXPECT_EQ(
      moe({"generate", at("run/checkpoints/step-00000002"), "--prompt", "Snow", "--max-new-tokens", "3"}), 0);
}

TEST_P(Formats, TheWandbRunGoesOnInItsFile) {
  const json state = json::parse(read_file(folder_ / "run/wandb.json"));
  const std::string id = state.at("id");
  const path records = folder_ / "run" / std::string(state.at("folder")) / ("run-" + id + ".wandb");
  const auto count = [&] {
    wandb::RecordReader reader(records);
    int64_t records_read = 0;
    while (reader.next()) ++records_read;
    return records_read;
  };
  const int64_t before = count();
  ASSERT_EQ(moe({"train", "--resume", at("run"), "training.max_steps=5", "data.source=" + at("corpus.txt"),
                 "data.cache_dir=" + at("cache")}),
            0);
  EXPECT_GT(count(), before);
  EXPECT_EQ(json::parse(read_file(folder_ / "run/wandb.json")).at("id"), id);
}

TEST_P(Formats, ShardsThatBrokeOffBecomeTheWholeOnes) {
  const auto tokenize = [&](const std::string& output) {
    return moe({"tokenize", "--source", at("corpus.txt"), "--shard-tokens", "500", "data.document_split=line",
                "data.cache_dir=" + at("cache"), "--output", at(output)});
  };
  ASSERT_FALSE(fs::exists(folder_ / "tokens/tokens_train_000003.bin"));
  const auto before = fs::last_write_time(folder_ / "tokens/tokens_train_000001.bin");
  ASSERT_EQ(tokenize("tokens"), 0);
  for (const auto& entry : fs::directory_iterator(fixture_ / "whole")) {
    if (entry.path().extension() != ".bin") continue;
    EXPECT_EQ(read_file(folder_ / "tokens" / entry.path().filename()), read_file(entry.path()))
        << entry.path();
  }
  EXPECT_EQ(fs::last_write_time(folder_ / "tokens/tokens_train_000001.bin"), before) << "written anew";
  EXPECT_EQ(tokenize("whole"), 0);  // there is nothing to do
}

TEST_P(Formats, AnExportIsImportedBitForBit) {
  ASSERT_EQ(moe({"import", at("export"), "--output", at("imported")}), 0);
  EXPECT_EQ(weights(train::RunFolder::open(folder_ / "imported"), 4),
            weights(train::RunFolder::open(folder_ / "run"), 4));
}

INSTANTIATE_TEST_SUITE_P(Of, Formats, ::testing::Values("0.1"), [](const auto&) { return "Version01"; });

}  // namespace
}  // namespace moe
