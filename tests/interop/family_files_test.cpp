// SPDX-License-Identifier: MIT
// Files of each family, written by us: they come back bit for bit, rows of heads lie where they are there,
// and tensors that are not the model's are one clear message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/file.h"
#include "interop/export_weights.h"
#include "interop/hf_config.h"
#include "interop/interop_fixture.h"
#include "support/configs.h"
#include "support/errors.h"

namespace moe::interop {
namespace {

using test::user_error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A model with all that the family has a word for.
model::ModelConfig family_config(const Family& family) {
  model::ModelConfig config = test::interop_config();
  config.attention_gate = family.gate;
  config.qk_norm = family.qk_norm;
  config.attention_bias = !family.qkv_bias.empty();
  config.n_kv_heads = 1;
  if (family.head_dim_key) config.head_dim = 10;
  if (family.partial) config.partial_rotary_factor = 0.4;
  if (family.window) config.attention_window = {"5"};
  config.tie_embeddings = family.multipliers;
  config.router_score = family.score;
  config.router_bias = !family.router_bias.empty();
  if (!family.router_scale.empty()) config.router_scale = 1.5;
  if (!family.shared.name.empty()) config.shared_expert_dim = 2 * config.expert_intermediate_dim;
  config.shared_expert_gate = family.shared.gate;
  if (!family.dense_layers.empty()) config.first_dense_layers = 1, config.dense_intermediate_dim = 20;
  if (family.no_experts) config.first_dense_layers = config.n_layers, config.dense_intermediate_dim = 20;
  if (family.multipliers) {
    config.embedding_multiplier = 12, config.residual_multiplier = 0.22;
    config.attention_multiplier = 0.1, config.logits_scaling = 6;
  }
  return config;
}

// A part of a head turns: there its dimensions come first, here their pairs lie d / 2 apart.
TEST_F(Interop, RowsOfHeadsThatTurnInPartComeBack) {
  model::ModelConfig config = test::interop_config();
  config.head_dim = 10;
  config.partial_rotary_factor = 0.4;  // theirs 0 1 | 2 3 turn in pairs, 4 .. 9 stay
  const checkpoint::Safetensors ours = checkpoint(config);
  export_weights(hf(), config, ours, DType::f32, uint64_t{1} << 30);
  checkpoint::write_safetensors(folder_ / "back.safetensors",
                                ImportedWeights(hf(), config, DType::f32).streams());
  EXPECT_EQ(read_file(folder_ / "back.safetensors"), read_file(folder_ / "ours.safetensors"));
  const checkpoint::Safetensors theirs(hf() / "model.safetensors");
  const std::vector<size_t> row{0, 1, 5, 6, 2, 3, 4, 7, 8, 9};  // of ours, for each of theirs
  const auto qkvg = ours.values<float>("layers.1.attention.qkvg.weight");
  const auto q = theirs.values<float>("model.layers.1.self_attn.q_proj.weight");
  const auto k = theirs.values<float>("model.layers.1.self_attn.k_proj.weight");
  const auto norm = ours.values<float>("layers.1.attention.k_norm.weight");
  const auto k_norm = theirs.values<float>("model.layers.1.self_attn.k_norm.weight");
  const size_t D = 16, heads = 4, of_keys = heads * 20;
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(k_norm[i], norm[row[i]] - 1) << i;
    for (size_t c = 0; c < D; ++c) {
      EXPECT_EQ(q[(20 + i) * D + c], qkvg[(20 + row[i]) * D + c]) << "the second head, row " << i;
      EXPECT_EQ(q[(30 + i) * D + c], qkvg[(30 + i) * D + c]) << "its gate, row " << i;
      EXPECT_EQ(k[(10 + i) * D + c], qkvg[(of_keys + 10 + row[i]) * D + c]) << "the second key, row " << i;
    }
  }
}

// Each family with all that it has a word for, in odd sizes.
TEST_F(Interop, ModelsOfEachFamilyComeBack) {
  for (const Family& family : families()) {
    model::ModelConfig config = family_config(family);
    const checkpoint::Safetensors ours = checkpoint(config);
    for (const uint64_t shard_bytes : {uint64_t{1} << 30, uint64_t{9000}}) {
      fs::remove_all(hf());
      fs::create_directories(hf());
      const ExportedWeights written = export_weights(hf(), config, ours, DType::f32, shard_bytes, {}, family);
      EXPECT_EQ(written.files > 1, shard_bytes == 9000);
      checkpoint::write_safetensors(folder_ / "back.safetensors",
                                    ImportedWeights(hf(), config, DType::f32, family).streams());
      EXPECT_EQ(read_file(folder_ / "back.safetensors"), read_file(folder_ / "ours.safetensors"))
          << family.name;
    }
    const HfModel again = read_hf_model("config.json", hf_config_json(config, DType::f32, 0, family));
    EXPECT_EQ(again.family, &family);
    EXPECT_EQ(hf_config_json(again.config, DType::f32, 0, family),
              hf_config_json(config, DType::f32, 0, family));
  }
}

TEST_F(Interop, TensorsOfEachFamilyAreRefusedWhereTheyAreNotTheModels) {
  const auto complaint = [&](const char* name, auto change) {
    const Family& family = *find_family(name);
    const model::ModelConfig config = family_config(family);
    fs::remove_all(hf());
    fs::create_directories(hf());
    export_weights(hf(), config, checkpoint(config), DType::f32, uint64_t{1} << 30, {}, family);
    rewrite(change);
    return user_error_of([&] { const ImportedWeights imported(hf(), config, DType::f32, family); });
  };
  using Streams = std::vector<checkpoint::TensorStream>;
  const auto without = [](const char* tensor) {
    return [tensor](Streams& streams) {
      EXPECT_EQ(std::erase_if(streams, [&](const auto& stream) { return stream.name == tensor; }), 1);
    };
  };
  const auto flat = [](const char* tensor) {
    return [tensor](Streams& streams) {
      for (auto& stream : streams) {
        if (stream.name != tensor) continue;
        int64_t numel = 1;
        for (const int64_t dim : stream.shape) numel *= dim;
        stream.shape = {numel, 1, 1};
      }
    };
  };
  const auto with = [](const char* tensor) {
    return [tensor](Streams& streams) {
      streams.push_back({tensor, DType::f32, {1}, [](const checkpoint::TensorStream::Sink& sink) {
                           const float one = 1;
                           sink(&one, sizeof(one));
                         }});
    };
  };
  for (const char* tensor :
       {"model.layers.1.self_attn.v_proj.bias", "model.layers.0.self_attn.q_proj.bias"}) {
    EXPECT_THAT(complaint("qwen2_moe", without(tensor)), HasSubstr(tensor));
    EXPECT_THAT(complaint("qwen2_moe", flat(tensor)), AllOf(HasSubstr(tensor), HasSubstr("shape")));
  }
  EXPECT_THAT(complaint("qwen2_moe", with("model.layers.0.self_attn.o_proj.bias")), HasSubstr("o_proj.bias"));
  for (const char* tensor : {"model.layers.1.mlp.gate.e_score_correction_bias",
                             "model.layers.1.mlp.shared_experts.up_proj.weight"}) {
    EXPECT_THAT(complaint("glm4_moe", without(tensor)), HasSubstr(tensor));
    EXPECT_THAT(complaint("glm4_moe", flat(tensor)), AllOf(HasSubstr(tensor), HasSubstr("shape")));
  }
  for (const char* tensor : {"model.layers.0.block_sparse_moe.input_linear.weight",
                             "model.layers.1.shared_mlp.output_linear.weight"}) {
    EXPECT_THAT(complaint("granitemoeshared", without(tensor)), HasSubstr(tensor));
    EXPECT_THAT(complaint("granitemoeshared", flat(tensor)), AllOf(HasSubstr(tensor), HasSubstr("shape")));
  }
  // A layer behind the last one is left out where it predicts further tokens, and in such families alone.
  EXPECT_THAT(complaint("glm4_moe", with("model.layers.2.enorm.weight")), HasSubstr("model.layers.2.enorm"));
  EXPECT_EQ(complaint("glm4_moe", with("model.layers.2.eh_proj.weight")), "");
  EXPECT_THAT(complaint("glm4_moe", with("model.layers.1.eh_proj.weight")), HasSubstr("layers.1.eh_proj"));
  EXPECT_THAT(complaint("glm4_moe", with("model.layers.2")), HasSubstr("model.layers.2"));
  EXPECT_THAT(complaint("qwen2_moe", with("model.layers.2.eh_proj.weight")), HasSubstr("eh_proj"));
}

TEST_F(Interop, LayersThatPredictFurtherTokensAreNamed) {
  const Family& family = *find_family("glm4_moe");
  const model::ModelConfig config = family_config(family);
  export_weights(hf(), config, checkpoint(config), DType::f32, uint64_t{1} << 30, {}, family);
  EXPECT_TRUE(ImportedWeights(hf(), config, DType::f32, family).left_out().empty());
  rewrite([](auto& streams) {
    for (const char* name : {"model.layers.2.eh_proj.weight", "model.layers.2.mlp.gate.weight"})
      streams.push_back({name, DType::f32, {1}, [](const checkpoint::TensorStream::Sink& sink) {
                           const float one = 1;
                           sink(&one, sizeof(one));
                         }});
  });
  EXPECT_EQ(ImportedWeights(hf(), config, DType::f32, family).left_out(),
            std::set<std::string>{"model.layers.2"});
}

}  // namespace
}  // namespace moe::interop
