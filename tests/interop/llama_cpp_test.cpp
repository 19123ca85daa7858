// SPDX-License-Identifier: MIT
// An export for llama.cpp: two blocks of zeros behind a Qwen3-Next, which import leaves out again, and the
// models that llama.cpp would compute otherwise. tools/check_gguf.py --for runs llama.cpp itself.
#include "interop/llama_cpp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/lines.h"
#include "interop/export_weights.h"
#include "interop/hf_config.h"
#include "interop/imported_model.h"
#include "interop/interop_fixture.h"
#include "interop/reference_model.h"
#include "interop/tokenizer_files.h"
#include "interop/verify_tensors.h"
#include "support/configs.h"
#include "support/errors.h"
#include "text/gpt2_tokenizer.h"
#include "text/load_tokenizer.h"
#include "text/split_pattern.h"
#include "text/vocabulary.h"

namespace moe::interop {
namespace {

using test::user_error_of;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kOneFile = uint64_t{1} << 30;

class ForLlamaCpp : public Interop {
 protected:
  void write(const model::ModelConfig& config, DType type = DType::f32, uint64_t shard_bytes = kOneFile) {
    fs::remove_all(hf());
    fs::create_directories(hf());
    exported_ = export_weights(hf(), config, checkpoint(config), type, shard_bytes, {}, own_family(), true);
    write_file_atomically(hf() / "config.json", hf_config_json(config, type, 7, own_family(), true));
  }
  std::string ours() const { return read_file(folder_ / "ours.safetensors"); }
  std::string back() {
    const HfModel model = read_hf_model("config.json", read_file(hf() / "config.json"));
    const ImportedWeights imported(hf(), model.config, DType::f32, *model.family);
    EXPECT_TRUE(imported.left_out().empty());
    checkpoint::write_safetensors(folder_ / "back.safetensors", imported.streams());
    return read_file(folder_ / "back.safetensors");
  }
  std::set<std::string> left_out(const model::ModelConfig& config) {
    return ImportedWeights(hf(), config, DType::f32).left_out();
  }
  // One more value than zero in this tensor.
  void spoil(const std::string& name) {
    rewrite([&](auto& streams) {
      for (checkpoint::TensorStream& stream : streams)
        if (stream.name == name)
          stream.write = [n = stream.bytes()](const checkpoint::TensorStream::Sink& sink) {
            std::vector<float> values(n / sizeof(float));
            values.back() = 1e-30F;
            sink(values.data(), n);
          };
    });
  }

  ExportedWeights exported_;
};

// Shapes of Qwen3NextForCausalLM in transformers 5.24: D 16, F 12, 3 experts, 4 heads and 2 of keys, each 4
// wide; linear attention of one head of 128.
TEST_F(ForLlamaCpp, TwoBlocksOfZerosStandBehindTheLayers) {
  const model::ModelConfig config = test::interop_config();
  write(config);
  std::map<std::string, std::vector<int64_t>> expected;
  for (const std::string layer : {"model.layers.2.", "mtp.layers.0."}) {
    for (const char* norm : {"input_layernorm.weight", "post_attention_layernorm.weight"})
      expected[layer + norm] = {16};
    expected[layer + "mlp.gate.weight"] = {3, 16};
    for (const std::string e : {"0", "1", "2"}) {
      expected[layer + "mlp.experts." + e + ".gate_proj.weight"] = {12, 16};
      expected[layer + "mlp.experts." + e + ".up_proj.weight"] = {12, 16};
      expected[layer + "mlp.experts." + e + ".down_proj.weight"] = {16, 12};
    }
    for (const char* name : {"shared_expert.gate_proj", "shared_expert.up_proj", "shared_expert_gate"})
      expected[layer + "mlp." + name + ".weight"] = {1, 16};
    expected[layer + "mlp.shared_expert.down_proj.weight"] = {16, 1};
  }
  const std::string linear = "model.layers.2.linear_attn.", attention = "mtp.layers.0.self_attn.";
  expected[linear + "in_proj_qkvz.weight"] = {512, 16};
  expected[linear + "in_proj_ba.weight"] = {2, 16};
  expected[linear + "conv1d.weight"] = {384, 1, 4};
  expected[linear + "dt_bias"] = expected[linear + "A_log"] = {1};
  expected[linear + "norm.weight"] = {128};
  expected[linear + "out_proj.weight"] = {16, 128};
  expected[attention + "q_proj.weight"] = {32, 16};  // with the gates
  expected[attention + "k_proj.weight"] = expected[attention + "v_proj.weight"] = {8, 16};
  expected[attention + "o_proj.weight"] = {16, 16};
  expected[attention + "q_norm.weight"] = expected[attention + "k_norm.weight"] = {4};
  expected["mtp.fc.weight"] = {16, 32};
  for (const char* name :
       {"mtp.pre_fc_norm_embedding.weight", "mtp.pre_fc_norm_hidden.weight", "mtp.norm.weight"})
    expected[name] = {16};
  const checkpoint::Safetensors file(hf() / "model.safetensors");
  std::map<std::string, std::vector<int64_t>> found;
  uint64_t bytes = 0;
  for (const auto& entry : file.entries()) {
    if (!entry.name.starts_with("mtp.") && !entry.name.starts_with("model.layers.2.")) continue;
    found[entry.name] = entry.shape;
    bytes += file.bytes(entry).size();
    for (const uint8_t byte : file.bytes(entry)) ASSERT_EQ(byte, 0) << entry.name;
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(bytes, exported_.zero_bytes);
}

TEST_F(ForLlamaCpp, TheSettingsSayThemAndWithoutThemTheyAreAsBefore) {
  const model::ModelConfig config = test::interop_config();
  Json with = parse_json("with", hf_config_json(config, DType::f32, 7, own_family(), true));
  const Json without = parse_json("without", hf_config_json(config, DType::f32, 7));
  EXPECT_EQ(with.at("num_hidden_layers"), 3);
  EXPECT_EQ(with.at("layer_types"),
            Json::parse(R"(["full_attention", "full_attention", "linear_attention"])"));
  EXPECT_EQ(without.at("num_hidden_layers"), 2);
  EXPECT_EQ(without.at("layer_types"), Json::parse(R"(["full_attention", "full_attention"])"));
  for (const auto& [key, value] : std::map<std::string, int>{{"linear_conv_kernel_dim", 4},
                                                             {"linear_key_head_dim", 128},
                                                             {"linear_num_key_heads", 1},
                                                             {"linear_num_value_heads", 1},
                                                             {"linear_value_head_dim", 128}}) {
    EXPECT_EQ(with.at(key), value) << key;
    EXPECT_FALSE(without.contains(key)) << key;
    with.erase(key);
  }
  for (const char* key : {"num_hidden_layers", "layer_types"}) with[key] = without.at(key);
  EXPECT_EQ(with, without);
  // What other programs read in other places than transformers 5.
  EXPECT_EQ(without.at("full_attention_interval"), 1);
  EXPECT_EQ(without.at("rope_theta"), without.at("rope_parameters").at("rope_theta"));
  EXPECT_EQ(parse_json("tokenizer", tokenizer_config_json(16)).at("add_bos_token"), false);
}

TEST_F(ForLlamaCpp, ComesBackBitForBit) {
  model::ModelConfig shared = test::interop_config();
  shared.shared_expert_dim = 20;
  shared.head_dim = 10;
  shared.partial_rotary_factor = 0.4;
  shared.tie_embeddings = false;
  for (const model::ModelConfig& config : {test::interop_config(), shared})
    for (const uint64_t shard_bytes : {kOneFile, uint64_t{9000}}) {
      write(config, DType::f32, shard_bytes);
      EXPECT_EQ(exported_.files == 1, shard_bytes == kOneFile);
      EXPECT_EQ(back(), ours());
      const checkpoint::Safetensors run(folder_ / "ours.safetensors");
      const VerifiedTensors verified = verify_tensors(hf(), config, run, own_family(), Direction::exported);
      int64_t tensors = 0;
      for (const TensorMap& map : tensors_of(own_family(), config)) tensors += map.ours.empty() ? 0 : 1;
      EXPECT_EQ(verified.tensors, tensors);
    }
  write(shared, DType::bf16);
  const std::string with = back();
  fs::remove_all(hf());
  fs::create_directories(hf());
  export_weights(hf(), shared, checkpoint(shared), DType::bf16, kOneFile);
  write_file_atomically(hf() / "config.json", hf_config_json(shared, DType::bf16, 7));
  EXPECT_EQ(back(), with) << "rounded as without them";
}

// The second way reads the layer by its names.
TEST_F(ForLlamaCpp, NoLogitChanges) {
  const model::ModelConfig config = test::interop_config();
  write(config);
  const std::vector<int32_t> ids{7, 3, 31, 0, 12};
  const std::vector<double> with = reference_logits(hf(), ids);
  spoil("model.layers.2.linear_attn.out_proj.weight");
  EXPECT_THAT(user_error_of([&] { reference_logits(hf(), ids); }), HasSubstr("linear_attn.out_proj"));
  fs::remove_all(hf());
  fs::create_directories(hf());
  export_weights(hf(), config, checkpoint(config), DType::f32, kOneFile);
  write_file_atomically(hf() / "config.json", hf_config_json(config, DType::f32, 7));
  EXPECT_EQ(reference_logits(hf(), ids), with);
}

TEST_F(ForLlamaCpp, OtherValuesThanZerosAreNotLeftOutUnseen) {
  const model::ModelConfig config = test::interop_config();
  for (const char* name :
       {"model.layers.2.linear_attn.A_log", "model.layers.2.mlp.experts.1.down_proj.weight",
        "model.layers.2.input_layernorm.weight"}) {
    write(config);
    EXPECT_TRUE(left_out(config).empty());
    spoil(name);
    EXPECT_THAT(user_error_of([&] { left_out(config); }), AllOf(HasSubstr(name), HasSubstr("zeros")));
  }
  // A block that predicts tokens is left out whatever it is, and named where it is more than zeros.
  write(config);
  spoil("mtp.fc.weight");
  EXPECT_EQ(left_out(config), std::set<std::string>{"mtp"});
  // save_pretrained leaves it out.
  write(config);
  rewrite([](auto& streams) {
    std::erase_if(streams, [](const auto& stream) { return stream.name.starts_with("mtp."); });
  });
  EXPECT_EQ(back(), ours());
  rewrite([](auto& streams) {
    std::erase_if(streams,
                  [](const auto& stream) { return stream.name.find("out_proj") != std::string::npos; });
  });
  EXPECT_THAT(user_error_of([&] { left_out(config); }), HasSubstr("only tensors that our model has"));
}

TEST_F(ForLlamaCpp, AnIndexWithThemIsTakenBeforeTheFiles) {
  const model::ModelConfig config = test::interop_config();
  write(config, DType::f32, 9000);
  auto index = read_shard_index("index", read_file(hf() / kShardIndex));
  const auto complaint = [&](const Family& family) {
    return user_error_of([&] {
      check_shard_index("index", index, tensors_of(family, config), prediction_from(family, config));
    });
  };
  EXPECT_EQ(complaint(own_family()), "");
  index.erase("model.layers.2.linear_attn.out_proj.weight");
  EXPECT_THAT(complaint(own_family()), HasSubstr("model.layers.2"));
}

TEST_F(ForLlamaCpp, LinearAttentionElsewhereIsRefused) {
  Json json = parse_json("c", hf_config_json(test::interop_config(), DType::f32, 7, own_family(), true));
  const auto complaint = [&](const std::vector<std::string>& types) {
    json["layer_types"] = types;
    json["num_hidden_layers"] = types.size();
    return user_error_of([&] { read_hf_config("config.json", json.dump()); });
  };
  const std::string full = "full_attention", linear = "linear_attention";
  EXPECT_EQ(complaint({full, linear}), "");
  EXPECT_EQ(read_hf_config("config.json", json.dump()).n_layers, 1);
  EXPECT_THAT(complaint({linear}), HasSubstr("full_attention only"));
  EXPECT_THAT(complaint({linear, full}), HasSubstr("full_attention only"));
  EXPECT_THAT(complaint({full, linear, linear}), HasSubstr("full_attention only"));
  json["num_hidden_layers"] = 2;
  EXPECT_THAT(user_error_of([&] { read_hf_config("config.json", json.dump()); }), HasSubstr("a list of 2"));
}

// The settings of an import, with and without the blocks.
TEST_F(ForLlamaCpp, SettingsThatWereImportedGoBothWays) {
  const model::ModelConfig config = test::interop_config();
  const std::string with = hf_config_json(config, DType::f32, 7, own_family(), true),
                    without = hf_config_json(config, DType::f32, 7);
  const model::ModelConfig read = read_hf_config("c", without);
  const auto like = [&](const std::string& original, bool zero_blocks) {
    return parse_json("c", config_like("c", original, read, own_family(), {}, {}, zero_blocks));
  };
  EXPECT_EQ(config_like("c", with, read, own_family(), {}, {}, true), with);
  EXPECT_EQ(config_like("c", without, read, own_family(), {}, {}, false), without);
  EXPECT_EQ(like(with, false), parse_json("c", without));
  EXPECT_EQ(like(without, true), parse_json("c", with));
}

// ---- what llama.cpp has not ----

struct Refused {
  const char* family;
  std::function<void(model::ModelConfig&)> change;
  const char *setting, *why;
};

// A model that llama.cpp takes.
model::ModelConfig good_model(const Family& family) {
  model::ModelConfig config = test::interop_config();
  config.attention_gate = family.gate;
  config.qk_norm = family.qk_norm;
  config.attention_bias = family.name == "qwen2_moe";
  config.n_kv_heads = family.llama_cpp.grouped_heads ? 2 : 4;
  config.tie_embeddings = family.llama_cpp.tied;
  config.renormalize_top_k = family.llama_cpp.renormalise.value_or(true);
  config.norm_eps = family.llama_cpp.norm_eps.value_or(1e-6);
  config.router_score = family.score;
  config.router_bias = !family.router_bias.empty();
  config.shared_expert_gate = family.shared.gate;
  if (!family.shared.name.empty()) config.shared_expert_dim = 2 * config.expert_intermediate_dim;
  if (family.no_experts) config.first_dense_layers = config.n_layers;
  return config;
}

std::string complaint_of(const model::ModelConfig& config, const Family& family) {
  const text::Gpt2Tokenizer tokenizer;
  check_exportable(config, family);
  return user_error_of([&] { check_llama_cpp(config, family, tokenizer); });
}

TEST(LlamaCpp, TakesEachFamilyAndRefusesWhatItComputesOtherwise) {
  for (const Family& family : families())
    EXPECT_EQ(complaint_of(good_model(family), family) == "", family.llama_cpp.token.empty()) << family.name;
  const auto no_sum = [](model::ModelConfig& config) { config.renormalize_top_k = false; };
  const auto sum = [](model::ModelConfig& config) { config.renormalize_top_k = true; };
  const auto dense = [](model::ModelConfig& config) { config.first_dense_layers = 1; };
  const auto wide = [](model::ModelConfig& config) { config.head_dim = 10; };
  const auto llama3 = [](model::ModelConfig& config) {
    config.rope_scaling = model::RopeScaling::llama3;
    config.rope_scaling_factor = 4, config.rope_original_len = 8;
  };
  const auto factor = [](model::ModelConfig& config) {
    config.rope_scaling = model::RopeScaling::yarn;
    config.rope_scaling_factor = 4, config.rope_original_len = 8, config.rope_attention_factor = 1.5;
  };
  const std::vector<Refused> cases{
      {"qwen3_next", no_sum, "model.renormalize_top_k", "says nothing"},
      {"qwen3_next", dense, "model.first_dense_layers", "converter refuses"},
      {"qwen3_next", factor, "model.rope_attention_factor", "says nothing"},
      {"qwen3_moe", no_sum, "model.renormalize_top_k", "says nothing"},
      {"qwen3_moe", dense, "model.first_dense_layers", "converter refuses"},
      {"qwen3_moe", llama3, "model.rope_scaling", "says nothing"},
      {"qwen2_moe", sum, "model.renormalize_top_k", "says nothing"},
      {"qwen2_moe", wide, "model.head_dim", "does not load"},
      {"olmoe", sum, "model.renormalize_top_k", "says nothing"},
      {"olmoe", [](auto& config) { config.n_kv_heads = 2; }, "model.n_kv_heads", "does not load"},
      {"olmoe", [](auto& config) { config.norm_eps = 1e-6; }, "model.norm_eps", "says nothing"},
      {"mixtral", [](auto& config) { config.attention_window = {"5"}; }, "model.attention_window",
       "says nothing"},
      {"minimax_m2", [](auto& config) { config.tie_embeddings = true; }, "model.tie_embeddings",
       "does not load"},
  };
  for (const auto& [name, change, setting, why] : cases) {
    const Family& family = *find_family(name);
    model::ModelConfig config = good_model(family);
    change(config);
    EXPECT_THAT(complaint_of(config, family), AllOf(HasSubstr(setting), HasSubstr(why))) << name;
  }
  model::ModelConfig stretched = good_model(*find_family("llama"));
  llama3(stretched);
  EXPECT_EQ(complaint_of(stretched, *find_family("llama")), "");
}

TEST(LlamaCpp, NamesTheFamilyInWhichItTakesTheModel) {
  model::ModelConfig config = good_model(*find_family("qwen3_moe"));
  config.qk_norm = QkNorm::none;
  config.shared_expert_dim = 0;
  config.renormalize_top_k = true;
  EXPECT_THAT(complaint_of(config, *find_family("qwen2_moe")),
              AllOf(HasSubstr("--family mixtral"), Not(HasSubstr("qwen3_moe"))));
  EXPECT_THAT(complaint_of(good_model(*find_family("glm4_moe")), *find_family("glm4_moe")),
              AllOf(HasSubstr("[gMASK]"), HasSubstr("data.tokenizer")));
}

TEST(LlamaCpp, TheCardSaysWhatItsUserMustKnow) {
  model::ModelConfig config = test::interop_config();
  const text::Gpt2Tokenizer gpt2;
  config.vocab_size = 50260;
  const std::string card = llama_cpp_card(config, own_family(), gpt2);
  EXPECT_THAT(card,
              AllOf(HasSubstr("convert_hf_to_gguf.py . --outtype"), HasSubstr("-p \"<|endoftext|>The\""),
                    HasSubstr("3 rows"), HasSubstr("50257-inf"), HasSubstr("50257 50259"),
                    HasSubstr("behind the last layer"), Not(HasSubstr("get_vocab_base_pre"))));
  config.vocab_size = 50257;
  EXPECT_THAT(llama_cpp_card(config, *find_family("qwen3_moe"), gpt2),
              AllOf(HasSubstr("convert_hf_to_gguf.py"), Not(HasSubstr("zeros")), Not(HasSubstr("-inf"))));
}

// The converter knows a tokenizer by the ids of one text.
TEST_F(ForLlamaCpp, TheCardSaysHowAnotherTokenizerIsConverted) {
  std::string_view rest = text::gpt2_merges();
  for (int i = 0; i < 501; ++i) take_line(rest);
  const std::string_view merges = text::gpt2_merges().substr(0, text::gpt2_merges().size() - rest.size());
  Json json = parse_json("t", gpt2_tokenizer_json(merges));
  const auto card = [&] {
    write_file_atomically(folder_ / "tokenizer.json", json.dump());
    const auto tokenizer = text::load_tokenizer(folder_ / "tokenizer.json");
    EXPECT_FALSE(in_llama_cpp(*tokenizer));
    return llama_cpp_card(test::interop_config(), own_family(), *tokenizer);
  };
  EXPECT_THAT(card(), HasSubstr("get_vocab_base_pre = lambda self, tokenizer: \"gpt-2\""));
  const Json bytes = json.at("pre_tokenizer");
  json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", Json::array()}};
  json["pre_tokenizer"]["pretokenizers"] = Json::array(
      {{{"type", "Split"},
        {"pattern", {{"Regex", text::regexes_of(text::SplitPattern::qwen).front()}}},
        {"behavior", "Isolated"},
        {"invert", false}},
       {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}}});
  EXPECT_THAT(card(), HasSubstr("lambda self, tokenizer: \"qwen2\""));
  json["pre_tokenizer"] = bytes;
  json["normalizer"] = {{"type", "NFC"}};
  EXPECT_THAT(card(), HasSubstr("lambda self, tokenizer: \"NAME\""));
}

}  // namespace
}  // namespace moe::interop
