// SPDX-License-Identifier: MIT
// Decoded copies, token shards with their state, exports, and the names in the hub's cache.
#include <zlib.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "data/config.h"
#include "data/decode.h"
#include "data/source.h"
#include "data/tokenize.h"
#include "hub/cache.h"
#include "interop/export_weights.h"
#include "interop/hf_config.h"
#include "interop/staged_folder.h"
#include "model/weights.h"
#include "support/configs.h"
#include "tensor/arena.h"
#include "text/gpt2_tokenizer.h"
#include "torture/torture.h"

namespace moe {
namespace {

using test::fs::path;

// Those that are no longer written to.
std::map<std::string, std::string> files_in(const path& folder) {
  std::map<std::string, std::string> files;
  if (!test::fs::exists(folder)) return files;
  for (const auto& entry : test::fs::directory_iterator(folder))
    if (const std::string name = entry.path().filename(); name.find(".tmp-") == std::string::npos)
      files[name] = read_file(entry.path());
  return files;
}

class TorturedData : public test::Torture {
 protected:
  TorturedData() : quiet_(std::fopen("/dev/null", "w"), std::fclose), terminal_(quiet_.get()) {
    for (int line = 0; line < 24; ++line)
      text_ += "line " + std::to_string(line) + " of a text with stones\n";
  }

  std::unique_ptr<std::FILE, int (*)(std::FILE*)> quiet_;
  Terminal terminal_;
  std::string text_;
};

TEST_F(TorturedData, ADecodedCopyIsWholeOrMissing) {
  const path compressed = folder_.parent_path() / "text.txt.gz";
  gzFile stream = gzopen(compressed.c_str(), "wb");
  gzwrite(stream, text_.data(), static_cast<unsigned>(text_.size()));
  gzclose(stream);
  torture({.prepare = [](const path&) {},
           .write =
               [&](const path& folder) {
                 data::decoded_file(*data::local_file(compressed), folder / "cache", terminal_);
               },
           .state = [&](const path& folder) -> std::string {
             // The copy and, once it is whole, a note of its size.
             const auto files = files_in(folder / "cache/decoded");
             for (const auto& [name, bytes] : files) {
               const auto note = files.find(name + ".size");
               if (note == files.end() || note->second != std::to_string(bytes.size())) continue;
               return bytes == text_ ? "new" : "another text";
             }
             return "old";
           }});
}

class TorturedTokens : public TorturedData {
 protected:
  void tokenize_to(const path& folder) {
    data::DataConfig config;
    config.source = {(folder / "text.txt").string()};
    config.document_split = data::DocumentSplit::line;
    config.validation_fraction = 0.1;
    config.cache_dir = (folder / "cache").string();
    config.num_workers = 1;
    data::tokenize(data::open_training_source(config, terminal_), tokenizer_, config,
                   {.folder = folder / "out", .prefix = "t", .shard_tokens = 60, .threads = 1}, terminal_);
  }

  const text::Gpt2Tokenizer tokenizer_;
};

TEST_F(TorturedTokens, ShardsAreWholeAndTheStateKnowsThem) {
  const path whole = folder_.parent_path() / "whole";
  test::fs::create_directories(whole);
  write_file_atomically(whole / "text.txt", text_);
  tokenize_to(whole);
  const auto expected = files_in(whole / "out");
  ASSERT_GE(expected.size(), 5U);
  torture({.prepare = [&](const path& folder) { write_file_atomically(folder / "text.txt", text_); },
           .write = [&](const path& folder) { tokenize_to(folder); },
           .state = [&](const path& folder) -> std::string {
             const auto found = files_in(folder / "out");
             for (const auto& [name, bytes] : found)
               if (name.ends_with(".bin") && bytes != expected.at(name)) return name + " is another";
             return found == expected ? "new" : "old";
           }});
}

TEST_F(TorturedData, AnExportIsAWholeFolder) {
  const model::ModelConfig config = test::tiny_config({.d_model = 8,
                                                       .n_layers = 1,
                                                       .n_heads = 1,
                                                       .n_kv_heads = 1,
                                                       .num_experts = 1,
                                                       .top_k = 1,
                                                       .expert_intermediate_dim = 4,
                                                       .capacity_factor = 1,
                                                       .vocab_size = 16,
                                                       .max_seq_len = 1024,
                                                       .init_std = 0.02});
  const std::string config_json = interop::hf_config_json(config, DType::f32, 0);
  const path ours = folder_.parent_path() / "ours.safetensors";
  std::vector<checkpoint::TensorStream> streams;
  Arena planning;
  for (const auto& [name, tensor] :
       model::Weights(config, {DType::f32, DType::f32}, model::Mode::inference, planning).named())
    streams.push_back({name,
                       DType::f32,
                       {tensor.shape(), tensor.shape() + tensor.rank()},
                       [values = std::vector<float>(static_cast<size_t>(tensor.numel()), 1.5F)](
                           const checkpoint::TensorStream::Sink& sink) {
                         sink(values.data(), values.size() * sizeof(float));
                       }});
  checkpoint::write_safetensors(ours, streams);
  const checkpoint::Safetensors model(ours);
  torture({.prepare = [](const path&) {},
           .write =
               [&](const path& folder) {
                 if (test::fs::exists(folder / "out/config.json")) return;  // the try before came so far
                 interop::StagedFolder staged(folder / "out");
                 interop::export_weights(staged.path(), config, model, DType::f32, 512);
                 write_file_atomically(staged.path() / "config.json", config_json);
                 staged.commit();
               },
           .state = [&](const path& folder) -> std::string {
             if (files_in(folder / "out").empty()) return "old";
             interop::ImportedWeights(folder / "out", config,
                                      DType::f32);  // throws unless all of it is there
             return read_file(folder / "out/config.json") == config_json ? "new" : "other settings";
           }});
}

TEST_F(TorturedData, NamesInTheHubsCache) {
  const hub::Address address = hub::Address::parse("hf://datasets/user/name");
  const std::string before(40, 'a'), after(40, 'b'), oid(40, 'c');
  const hub::File file{.path = "a/text.txt", .size = 5, .oid = oid};
  torture({.prepare =
               [&](const path& folder) {
                 const hub::Cache cache(folder);
                 test::fs::create_directories(cache.blob(address, oid).parent_path());
                 write_file_atomically(cache.blob(address, oid), "bytes");
                 cache.write_ref(address, "main", before);
               },
           .write =
               [&](const path& folder) {
                 const hub::Cache cache(folder);
                 cache.mark(address, oid);
                 cache.link(address, after, file);
                 cache.write_ref(address, "main", after);
               },
           .state = [&](const path& folder) -> std::string {
             const hub::Cache cache(folder);
             const auto commit = cache.commit(address, "main");
             if (commit == before) return "old";
             if (commit != after) return "no commit";
             const path link = cache.snapshot(address, after, file.path);
             return read_file(link) == "bytes" ? "new" : "another text";
           }});
}

}  // namespace
}  // namespace moe
