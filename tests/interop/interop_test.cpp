// SPDX-License-Identifier: MIT
// The Hugging Face format: what we write comes back bit for bit, and whatever is wrong with a folder is one
// clear message. Files of other families are in family_files_test.cpp, models that transformers wrote in
// families_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "interop/export_weights.h"
#include "interop/hf_config.h"
#include "interop/interop_fixture.h"
#include "interop/model_card.h"
#include "interop/staged_folder.h"
#include "interop/tokenizer_files.h"
#include "support/configs.h"
#include "support/errors.h"
#include "support/sha256.h"
#include "support/tiny_model.h"
#include "text/gpt2_tokenizer.h"
#include "text/load_tokenizer.h"
#include "text/vocabulary.h"

namespace moe::interop {
namespace {

using test::user_error_of;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(Interop, AnUntiedHeadAndAnotherHeadWidthComeBack) {
  model::ModelConfig config = test::interop_config();
  config.head_dim = 6;
  config.tie_embeddings = false;
  export_weights(hf(), config, checkpoint(config), DType::f32, uint64_t{1} << 30);
  checkpoint::write_safetensors(folder_ / "back.safetensors",
                                ImportedWeights(hf(), config, DType::f32).streams());
  EXPECT_EQ(read_file(folder_ / "back.safetensors"), read_file(folder_ / "ours.safetensors"));
  const auto theirs = checkpoint::Safetensors(hf() / "model.safetensors").values<float>("lm_head.weight");
  EXPECT_EQ(theirs, checkpoint::Safetensors(folder_ / "ours.safetensors").values<float>("lm_head.weight"));
}

TEST_F(Interop, ASharedExpertAndADenseLayerComeBack) {
  model::ModelConfig config = test::interop_config();
  config.shared_expert_dim = 20;
  config.first_dense_layers = 1;
  const checkpoint::Safetensors ours = checkpoint(config);
  export_weights(hf(), config, ours, DType::f32, uint64_t{1} << 30);
  checkpoint::write_safetensors(folder_ / "back.safetensors",
                                ImportedWeights(hf(), config, DType::f32).streams());
  EXPECT_EQ(read_file(folder_ / "back.safetensors"), read_file(folder_ / "ours.safetensors"));
  const checkpoint::Safetensors theirs(hf() / "model.safetensors");
  const auto gate_up = ours.values<float>("layers.0.dense.gate_up.weight");
  const auto half = gate_up.begin() + std::ssize(gate_up) / 2;
  EXPECT_EQ(theirs.values<float>("model.layers.0.mlp.up_proj.weight"),
            std::vector<float>(gate_up.begin(), half));
  EXPECT_EQ(theirs.values<float>("model.layers.0.mlp.gate_proj.weight"),
            std::vector<float>(half, gate_up.end()));
  EXPECT_EQ(theirs.values<float>("model.layers.1.mlp.shared_expert_gate.weight"),
            ours.values<float>("layers.1.moe.shared_gate.weight"));
}

TEST_F(Interop, ComesBackBitForBitInOneFileAndInShards) {
  const model::ModelConfig config = test::interop_config();
  const checkpoint::Safetensors ours = checkpoint(config);
  for (const uint64_t shard_bytes : {uint64_t{1} << 30, uint64_t{9000}}) {
    fs::remove_all(hf());
    fs::create_directories(hf());
    const ExportedWeights exported = export_weights(hf(), config, ours, DType::f32, shard_bytes);
    EXPECT_EQ(exported.files == 1, shard_bytes > 9000);
    EXPECT_EQ(fs::exists(hf() / "model.safetensors.index.json"), exported.files > 1);
    EXPECT_GT(exported.rounded_norms, 0);
    const ImportedWeights imported(hf(), config, DType::f32);
    checkpoint::write_safetensors(folder_ / "back.safetensors", imported.streams());
    EXPECT_EQ(read_file(folder_ / "back.safetensors"), read_file(folder_ / "ours.safetensors"));
  }
}

TEST_F(Interop, NormsTrainedFurtherElsewhereAreTaken) {
  const model::ModelConfig config = test::interop_config();
  export_weights(hf(), config, checkpoint(config), DType::f32, uint64_t{1} << 30);
  rewrite([](auto& streams) {
    for (checkpoint::TensorStream& stream : streams)
      if (stream.name == "model.norm.weight")
        stream.write = [n = stream.bytes()](const checkpoint::TensorStream::Sink& sink) {
          const std::vector<float> values(n / 4, -0.75F);
          sink(values.data(), n);
        };
  });
  checkpoint::write_safetensors(folder_ / "back.safetensors",
                                ImportedWeights(hf(), config, DType::f32).streams());
  EXPECT_EQ(checkpoint::Safetensors(folder_ / "back.safetensors").values<float>("final_norm.weight"),
            std::vector<float>(16, 0.25F));
}

TEST_F(Interop, Bf16RoundsTheMatricesOnceAndKeepsRoutersAndNorms) {
  const model::ModelConfig config = test::interop_config();
  const checkpoint::Safetensors ours = checkpoint(config);
  export_weights(hf(), config, ours, DType::bf16, uint64_t{1} << 30);
  checkpoint::write_safetensors(folder_ / "back.safetensors",
                                ImportedWeights(hf(), config, DType::f32).streams());
  const checkpoint::Safetensors back(folder_ / "back.safetensors");
  for (const char* name : {"layers.1.moe.router.weight", "layers.0.attention.k_norm.weight"})
    EXPECT_EQ(back.values<float>(name), ours.values<float>(name)) << name;
  auto rounded = ours.values<float>("layers.1.moe.gate_up.weight");
  for (float& value : rounded) value = static_cast<float>(bf16(value));
  EXPECT_EQ(back.values<float>("layers.1.moe.gate_up.weight"), rounded);
}

TEST_F(Interop, SettingsComeBack) {
  model::ModelConfig config = test::interop_config();
  config.rope_theta = 12345.5;
  config.norm_eps = 3e-6;
  config.renormalize_top_k = false;
  const model::ModelConfig back = read_hf_config("config.json", hf_config_json(config, DType::bf16, 7));
  EXPECT_EQ(hf_config_json(back, DType::bf16, 7), hf_config_json(
                                                      [&] {
                                                        model::ModelConfig same = config;
                                                        same.aux_loss_weight = back.aux_loss_weight;
                                                        return same;
                                                      }(),
                                                      DType::bf16, 7));
  const auto generation = nlohmann::json::parse(hf_generation_json(config, 37, 7));
  EXPECT_EQ(generation["suppress_tokens"], (std::vector<int>{37, 38, 39}));
}

TEST_F(Interop, TheVocabularyIsOpenAIsByteForByte) {
  // The hashes of encoder.json and vocab.bpe that tiktoken checks its downloads with.
  EXPECT_EQ(test::sha256(vocabulary_json(text::gpt2_merges())),
            "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783");
  EXPECT_EQ(test::sha256(text::gpt2_merges()),
            "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5");
}

// Without it transformers does not open the tokenizer of a Mixtral, a GLM, a MiniMax or a Granite.
TEST_F(Interop, TheVocabularyIsInTokenizerJsonToo) {
  write_file_atomically(hf() / "tokenizer.json", gpt2_tokenizer_json(text::gpt2_merges()));
  EXPECT_EQ(tokenizer_in(hf()), "gpt2");
  const auto read = text::load_tokenizer(hf() / "tokenizer.json");
  const text::Gpt2Tokenizer own;
  EXPECT_EQ(read->end_of_text(), own.end_of_text());
  for (const std::string text : {"Hello  world, don't 123\n\n  x", "naïve café, 東京 🙂\t\r\n"})
    EXPECT_EQ(read->encode(text), own.encode(text)) << text;
}

TEST_F(Interop, AnotherVocabularyNeedsATokenizerJson) {
  EXPECT_EQ(tokenizer_in(hf()), "");  // none: nothing to compare
  auto vocabulary = nlohmann::json::parse(vocabulary_json(text::gpt2_merges()));
  write_file_atomically(hf() / "vocab.json", vocabulary.dump());
  EXPECT_EQ(tokenizer_in(hf()), "gpt2");
  std::swap(vocabulary["the"], vocabulary["cat"]);
  write_file_atomically(hf() / "vocab.json", vocabulary.dump());
  EXPECT_THAT(user_error_of([&] { tokenizer_in(hf()); }),
              AllOf(HasSubstr("vocab.json: expected token"), HasSubstr("data.tokenizer=PATH names one")));
  write_file_atomically(hf() / "tokenizer.json", R"({"model": {"vocab": {"a": 0}}})");
  EXPECT_EQ(tokenizer_in(hf()), (hf() / "tokenizer.json").string());
}

// tokenizer.json as save_pretrained writes it: the vocabulary again, and the special token once more.
TEST_F(Interop, TokensAddedToTheVocabularyAreRefused) {
  const auto complaint = [&](const nlohmann::json& added) {
    const nlohmann::json whole{
        {"model", {{"vocab", nlohmann::json::parse(vocabulary_json(text::gpt2_merges()))}}},
        {"added_tokens", added}};
    return user_error_of([&] { check_tokenizer_json("tokenizer.json", whole.dump(), text::gpt2_merges()); });
  };
  const nlohmann::json end_of_text{{"id", 50256}, {"content", "<|endoftext|>"}, {"special", true}};
  EXPECT_EQ(complaint(nlohmann::json::array({end_of_text})), "");
  EXPECT_EQ(complaint(nlohmann::json::array()), "");
  EXPECT_THAT(complaint(nlohmann::json::array({end_of_text, {{"id", 50257}, {"content", "<|user|>"}}})),
              AllOf(HasSubstr("added_tokens"), HasSubstr("\"<|user|>\" as 50257")));
  EXPECT_THAT(complaint(nlohmann::json::array({{{"id", 3}, {"content", "<|endoftext|>"}}})),
              HasSubstr("as 3"));
  EXPECT_THAT(complaint(nlohmann::json::array({1})), HasSubstr("added_tokens: expected a JSON object"));
  write_file_atomically(hf() / "added_tokens.json", R"({"<|user|>": 50257})");
  EXPECT_THAT(user_error_of([&] { tokenizer_in(hf()); }), HasSubstr("added_tokens.json"));
}

// ---- bad input ----

TEST_F(Interop, FusedExpertsAreRead) {
  const model::ModelConfig config = test::interop_config();
  const checkpoint::Safetensors ours = checkpoint(config);
  export_weights(hf(), config, ours, DType::f32, uint64_t{1} << 30);
  rewrite([](std::vector<checkpoint::TensorStream>& streams) {
    std::vector<checkpoint::TensorStream> others, fused;
    for (const std::string layer : {"model.layers.0.mlp.experts.", "model.layers.1.mlp.experts."}) {
      const auto gather = [&](const std::string& name, std::vector<int64_t> shape,
                              const std::vector<std::string>& parts) {
        std::vector<std::function<void(const checkpoint::TensorStream::Sink&)>> writers;
        for (int e = 0; e < 3; ++e)
          for (const std::string& part : parts) {
            std::string wanted = layer;
            wanted.append(std::to_string(e)).append(".").append(part).append(".weight");
            for (const checkpoint::TensorStream& stream : streams)
              if (stream.name == wanted) writers.push_back(stream.write);
          }
        fused.push_back({layer + name, DType::f32, std::move(shape),
                         [writers](const checkpoint::TensorStream::Sink& sink) {
                           for (const auto& write : writers) write(sink);
                         }});
      };
      gather("gate_up_proj", {3, 24, 16}, {"gate_proj", "up_proj"});
      gather("down_proj", {3, 16, 12}, {"down_proj"});
    }
    for (checkpoint::TensorStream& stream : streams)
      if (stream.name.find(".experts.") == std::string::npos) others.push_back(std::move(stream));
    for (checkpoint::TensorStream& stream : fused) others.push_back(std::move(stream));
    streams = std::move(others);
  });
  checkpoint::write_safetensors(folder_ / "back.safetensors",
                                ImportedWeights(hf(), config, DType::f32).streams());
  EXPECT_EQ(read_file(folder_ / "back.safetensors"), read_file(folder_ / "ours.safetensors"));
}

TEST_F(Interop, TensorsThatAreNotOursAreRefusedByName) {
  const model::ModelConfig config = test::interop_config();
  const checkpoint::Safetensors ours = checkpoint(config);
  const auto complaint = [&](const std::function<void(std::vector<checkpoint::TensorStream>&)>& change) {
    fs::remove_all(hf());
    fs::create_directories(hf());
    export_weights(hf(), config, ours, DType::f32, uint64_t{1} << 30);
    rewrite(change);
    return user_error_of([&] { const ImportedWeights imported(hf(), config, DType::f32); });
  };
  const auto at = [](std::vector<checkpoint::TensorStream>& streams, const std::string& name) {
    return std::find_if(streams.begin(), streams.end(),
                        [&](const auto& stream) { return stream.name == name; });
  };
  const std::string v = "model.layers.1.self_attn.v_proj.weight",
                    down = "model.layers.0.mlp.shared_expert.down_proj.weight";
  EXPECT_EQ(complaint([](auto&) {}), "");
  EXPECT_THAT(complaint([&](auto& streams) { streams.erase(at(streams, v)); }),
              AllOf(HasSubstr(v), HasSubstr("none")));
  EXPECT_THAT(complaint([&](auto& streams) {
                at(streams, v)->shape = {16, 8};
              }),
              AllOf(HasSubstr(v), HasSubstr("[8, 16]"), HasSubstr("[16, 8]")));
  EXPECT_THAT(complaint([&](auto& streams) { at(streams, v)->name = "lm_head.weight"; }), HasSubstr(v));
  EXPECT_THAT(complaint([&](auto& streams) {
                auto extra = *at(streams, v);
                extra.name = "lm_head.weight";
                streams.push_back(extra);
              }),
              AllOf(HasSubstr("only tensors that our model has"), HasSubstr("lm_head.weight")));
  EXPECT_THAT(complaint([&](auto& streams) {
                at(streams, down)->write = [](const checkpoint::TensorStream::Sink& sink) {
                  const std::vector<float> ones(16, 1);
                  sink(ones.data(), 64);
                };
              }),
              AllOf(HasSubstr(down), HasSubstr("zeros")));
}

TEST_F(Interop, MissingAndTruncatedShardsAreRefused) {
  const model::ModelConfig config = test::interop_config();
  export_weights(hf(), config, checkpoint(config), DType::f32, 9000);
  const fs::path second = hf() / "model-00002-of-00003.safetensors";
  ASSERT_TRUE(fs::exists(second)) << "the test expects three shards";
  const std::string whole = read_file(second);
  fs::resize_file(second, whole.size() / 2);
  const auto complaint = [&] {
    return user_error_of([&] { const ImportedWeights imported(hf(), config, DType::f32); });
  };
  EXPECT_THAT(complaint(), HasSubstr("model-00002-of-00003.safetensors"));
  fs::remove(second);
  EXPECT_THAT(complaint(), AllOf(HasSubstr("model-00002-of-00003.safetensors"), HasSubstr("no such file")));
  for (const char* index :
       {"", "[]", "{}", R"({"weight_map": {"a": "../b.safetensors"}})", R"({"weight_map": {"a": 1}})"}) {
    write_file_atomically(hf() / "model.safetensors.index.json", index);
    EXPECT_THAT(complaint(), HasSubstr("model.safetensors.index.json")) << index;
  }
}

TEST_F(Interop, WeightsThatAreNoNumbersAreRefusedByName) {
  const model::ModelConfig config = test::interop_config();
  const checkpoint::Safetensors ours = checkpoint(config);
  const std::string name = "model.layers.1.self_attn.v_proj.weight";
  for (const float bad : {std::nanf(""), -INFINITY}) {
    fs::remove_all(hf());
    fs::create_directories(hf());
    export_weights(hf(), config, ours, DType::f32, uint64_t{1} << 30);
    rewrite([&](std::vector<checkpoint::TensorStream>& streams) {
      for (checkpoint::TensorStream& stream : streams)
        if (stream.name == name)
          stream.write = [bad](const checkpoint::TensorStream::Sink& sink) {
            std::vector<float> values(8 * 16, 1);
            values[77] = bad;
            sink(values.data(), values.size() * sizeof(float));
          };
    });
    const ImportedWeights imported(hf(), config, DType::f32);
    EXPECT_THAT(user_error_of([&] {
                  for (const checkpoint::TensorStream& stream : imported.streams())
                    stream.write([](const void*, size_t) {});
                }),
                AllOf(HasSubstr(name), HasSubstr("at element 77"),
                      HasSubstr(std::isnan(bad) ? "NaN" : "an infinity")));
  }
}

TEST_F(Interop, WeightsThatTheTypeOfTheFilesCannotHoldAreRefused) {
  const model::ModelConfig config = test::interop_config();
  const checkpoint::Safetensors ours = checkpoint(config);
  std::vector<checkpoint::TensorStream> streams;
  for (const auto& entry : ours.entries())
    streams.push_back(
        {entry.name, DType::f32, entry.shape, [&ours, &entry](const checkpoint::TensorStream::Sink& sink) {
           const auto bytes = ours.bytes(entry);
           std::vector<float> values(bytes.size() / sizeof(float));
           std::memcpy(values.data(), bytes.data(), bytes.size());
           if (entry.shape.size() > 1) values.front() = 70000;  // more than F16 holds
           sink(values.data(), bytes.size());
         }});
  checkpoint::write_safetensors(folder_ / "large.safetensors", streams);
  const checkpoint::Safetensors large(folder_ / "large.safetensors");
  EXPECT_EQ(user_error_of([&] { export_weights(hf(), config, large, DType::f32, uint64_t{1} << 30); }), "");
  EXPECT_THAT(user_error_of([&] { export_weights(hf(), config, large, DType::f16, uint64_t{1} << 30); }),
              AllOf(HasSubstr("as F16"), HasSubstr("an infinity")));
}

TEST_F(Interop, AFolderAppearsWholeOrNotAtAll) {
  const fs::path place = folder_ / "out";
  const fs::path left = place.string() + ".partial-1", kept = place.string() + ".partial-notes";
  fs::create_directory(left);
  fs::create_directory(kept);
  { const StagedFolder given_up(place); }
  EXPECT_FALSE(fs::exists(left)) << "of a process that died";
  EXPECT_TRUE(fs::remove(kept)) << "somebody else's";
  EXPECT_THAT(user_error_of([] { const StagedFolder nowhere(""); }), HasSubstr("an empty one"));
  EXPECT_FALSE(fs::exists(place));
  {
    StagedFolder staged(place);
    write_file_atomically(staged.path() / "a", "1");
    EXPECT_FALSE(fs::exists(place));
    staged.commit();
  }
  EXPECT_EQ(read_file(place / "a"), "1");
  EXPECT_THAT(user_error_of([&] { const StagedFolder again(place); }), HasSubstr("a new or empty folder"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 2);  // out, hf
}

TEST(ModelCard, FiguresAreTheLastOnesUpToTheStep) {
  const std::string metrics =
      "{\"step\":1,\"loss\":5}\n{\"step\":2,\"loss\":4}\n{\"step\":2,\"validation_loss\":4.5}\n"
      "{\"step\":2,\"tasks/piqa/lm_eval/acc\":0.5}\n{\"step\":3,"
      "\"loss\":3}\n{\"st";
  const auto figures = last_figures(metrics, 2, {"validation_loss", "loss", "absent", "tasks/"});
  ASSERT_EQ(figures.size(), 3U);
  EXPECT_EQ(figures[0], (std::pair<std::string, double>{"validation_loss", 4.5}));
  EXPECT_EQ(figures[1].second, 4);
  EXPECT_EQ(figures[2], (std::pair<std::string, double>{"tasks/piqa/lm_eval/acc", 0.5}));
}

TEST(ModelCard, SaysWhatIsKnownOfAnImportedAndOfADenseModel) {
  model::ModelConfig config = test::interop_config();
  CardFacts facts;
  const std::string trained = model_card(config, facts);
  EXPECT_THAT(trained,
              AllOf(HasSubstr("- mixture-of-experts"), HasSubstr("Mixture-of-Experts language model"),
                    HasSubstr("It is a base model")));
  facts.imported = true;
  config.first_dense_layers = config.n_layers;
  const std::string imported = model_card(config, facts);
  EXPECT_THAT(imported, AllOf(HasSubstr("A dense language model"), HasSubstr("imported")));
  EXPECT_THAT(imported, Not(AnyOf(HasSubstr("xperts"), HasSubstr("base model"))));
}

}  // namespace
}  // namespace moe::interop
