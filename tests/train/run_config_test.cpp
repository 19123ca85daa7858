// SPDX-License-Identifier: MIT
#include "train/run_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <functional>
#include <set>

#include "backend/backend.h"
#include "base/file.h"
#include "model/moe.h"
#include "support/errors.h"
#include "text/gpt2_tokenizer.h"
#include "train/state.h"

namespace moe::train {
namespace {

using test::user_error_of;

const std::string kConfigs = MOE_SOURCE_DIR "/configs/";

// The complaint about the defaults, with a source, after one change.
std::string error(const std::function<void(RunConfig&)>& change) {
  RunConfig config;
  config.data.source = {"a.txt"};
  change(config);
  return user_error_of([&] { config.validate(); });
}

TEST(RunConfig, DefaultsAreTheFullModel) {
  EXPECT_EQ(error([](RunConfig&) {}), "");
  const model::ModelConfig model;
  EXPECT_EQ(model.heads().dim, 64);
}

TEST(RunConfig, EverySettingHasHelpAndAnAllowedDefault) {
  RunConfig config;
  std::set<std::string> names;
  for (const auto& section : config.sections()) {
    EXPECT_NO_THROW(section.fields.check(section.name));
    for (const auto& field : section.fields) {
      EXPECT_FALSE(field.help().empty()) << field.name();
      EXPECT_LE(field.help().size(), 72u) << field.name();
      // "batch_size belongs to section training" needs a name to be in one section only. Of both stages, what
      // is learned and which text it is, each section says its own.
      EXPECT_TRUE(names.insert(field.name()).second || field.name() == "stage") << field.name();
    }
  }
}

TEST(RunConfig, AStageDecidesDefaultsAlone) {
  const RunConfig plain = RunConfig::load(std::vector<ConfigText>{}, {"data.source=a.jsonl"});
  EXPECT_EQ(plain.training.stage, Stage::pretrain);
  EXPECT_FALSE(plain.data.has_conversations());
  const std::vector<ConfigText> file{{"a.yaml", "training:\n  stage: sft\n  max_epochs: 5\n"}};
  const RunConfig tuned = RunConfig::load(file, {"data.source=a.jsonl", "training.weight_decay=0.5"});
  EXPECT_EQ(tuned.training.learning_rate, 2e-5);
  EXPECT_EQ(tuned.training.max_epochs, 5);
  EXPECT_EQ(tuned.training.weight_decay, 0.5);
  EXPECT_EQ(tuned.model.aux_loss_weight, 0);
  EXPECT_EQ(tuned.data.packing, data::Packing::best_fit);
  EXPECT_TRUE(tuned.data.has_conversations());
  EXPECT_EQ(tuned.data.row_length, tuned.model.max_seq_len);
  EXPECT_EQ(tuned.vocabulary(), 50259);  // <|im_start|>, <|im_end|>
  EXPECT_NE(user_error_of([&] {
              return RunConfig::load(file, {"data.source=a.jsonl", "model.vocab_size=50257"});
            }),
            "");
}

TEST(RunConfig, BiasesThatChooseExpertsStayWhenTheyNoLongerMove) {
  RunConfig config;
  config.model.router_bias_rate = 0.001;
  config.set_sft_defaults();
  EXPECT_EQ(config.model.router_bias_rate, 0);
  EXPECT_TRUE(config.model.has_router_bias());
}

// Settings are numbers of 64 bits, and arithmetic has 32: what rounds to a limit, or to the 0 that turns
// something off, is refused.
TEST(RunConfig, LimitsAreThoseOfF32) {
  const auto refused = [](double TrainingConfig::*training, double value) {
    return error([&](RunConfig& c) { c.training.*training = value; });
  };
  EXPECT_EQ(
      refused(&TrainingConfig::beta2, 0.99999999),
      "training.beta2: expected a number of at least 0 and less than 1, found 0.99999999, which is 1 in f32");
  EXPECT_EQ(refused(&TrainingConfig::epsilon, 1e-50),
            "training.epsilon: expected a number more than 0, found 1.0e-50, which is 0 in f32");
  EXPECT_NE(refused(&TrainingConfig::beta1, 0.99999999), "");
  EXPECT_NE(refused(&TrainingConfig::learning_rate, 1e-50), "");
  EXPECT_NE(refused(&TrainingConfig::weight_decay, 1e-50), "");
  EXPECT_NE(refused(&TrainingConfig::max_grad_norm, 1e-50), "");
  for (double model::ModelConfig::*const model :
       {&model::ModelConfig::norm_eps, &model::ModelConfig::init_std, &model::ModelConfig::aux_loss_weight,
        &model::ModelConfig::z_loss_weight})
    for (const double value : {1e-50, 1e39})
      EXPECT_NE(error([&](RunConfig& c) { c.model.*model = value; }), "");
  EXPECT_EQ(refused(&TrainingConfig::beta2, 0.9999999), "");
  EXPECT_EQ(refused(&TrainingConfig::epsilon, 1e-15), "");
}

TEST(RunConfig, AnExpertHasRoomForARowOrTrainingIsRefused) {
  RunConfig config;
  config.model.num_experts = 64, config.model.max_seq_len = 32, config.training.batch_size = 8;
  config.model.capacity_factor = 0.2;
  config.distributed.capacity = CapacityScope::row;  // 32 tokens: an even share of one
  EXPECT_EQ(
      user_error_of([&] { config.check_trainable(false); }),
      "model.capacity_factor: expected at least 1: an even share of 32 tokens is 1 for an expert, and it "
      "has to take one, found 0.2. Hint: capacity_factor 1, or 0, which drops no token");
  config.distributed.capacity = CapacityScope::rank;  // 256 tokens: a share of four
  EXPECT_THAT(user_error_of([&] { config.check_trainable(false); }),
              ::testing::HasSubstr("Hint: capacity_factor 0.25, or 0"));
  for (const double enough : {0.25, 0.0}) {
    config.model.capacity_factor = enough;
    EXPECT_EQ(user_error_of([&] { config.check_trainable(false); }), "") << enough;
  }
  // The proposal is enough, for any share.
  config.model.capacity_factor = 1e-9;
  for (int64_t share = 1; share < 200; ++share) {
    const std::string error = user_error_of([&] { config.model.check_capacity(64 * share); });
    const std::string words = "Hint: capacity_factor ";
    model::ModelConfig proposed = config.model;
    proposed.capacity_factor = std::stod(error.substr(error.find(words) + words.size()));
    EXPECT_EQ(user_error_of([&] { proposed.check_capacity(64 * share); }), "") << error;
    EXPECT_GE(model::expert_capacity(proposed, 64 * share), config.model.top_k) << error;
  }
}

// p / p is 1: the router would learn nothing from the text.
TEST(RunConfig, OneChosenExpertIsNotRenormalisedInANewRun) {
  RunConfig config;
  config.model.top_k = 1;
  EXPECT_THAT(user_error_of([&] { config.check_trainable(true); }),
              ::testing::AllOf(::testing::HasSubstr("model.renormalize_top_k: expected false"),
                               ::testing::HasSubstr("Hint: model.renormalize_top_k=false")));
  EXPECT_EQ(user_error_of([&] { config.check_trainable(false); }), "") << "a run of an older version goes on";
  config.model.renormalize_top_k = false;
  EXPECT_EQ(user_error_of([&] { config.check_trainable(true); }), "");
  config.model.renormalize_top_k = true, config.model.num_experts = 1;  // no router to speak of
  EXPECT_EQ(user_error_of([&] { config.check_trainable(true); }), "");
}

TEST(RunConfig, TheResolvedFileGivesTheSameRun) {
  RunConfig config;
  config.data.source = {"a b.txt", "null"};
  config.training.learning_rate = 1.0 / 3;
  config.training.sample_prompt = "Once upon\na \"time\"";
  config.model.renormalize_top_k = false;
  for (const std::string& text : {config.yaml(), config.json()}) {
    RunConfig back;
    auto sections = back.sections();
    read_config_text(text, "resolved", sections);
    EXPECT_THAT(config_differences(config.sections(), sections), ::testing::IsEmpty());
  }
}

TEST(RunConfig, LoadsTheShippedConfigs) {
  const auto quickstart = RunConfig::load(kConfigs + "quickstart.yaml");
  EXPECT_EQ(quickstart.model.capacity_factor, 0.0);
  EXPECT_EQ(quickstart.data.document_split, data::DocumentSplit::unindented);
  const auto full = RunConfig::load(kConfigs + "train_config.yaml");
  RunConfig defaults;
  RunConfig model_only = full;
  model_only.training = defaults.training;
  model_only.data = defaults.data;
  EXPECT_THAT(config_differences(defaults.sections(), model_only.sections()), ::testing::IsEmpty());
}

TEST(RunConfig, Bf16WeightsAndGradientsNeedBf16Products) {
  EXPECT_EQ(error([](RunConfig& c) { c.training.master_weights = StoredType::bf16; }),
            "training.master_weights: expected fp32 when training.mixed_precision is neither bf16 nor "
            "fp8, found bf16. Hint: set training.mixed_precision to bf16, or this to fp32");
  EXPECT_THAT(error([](RunConfig& c) { c.training.gradient_type = StoredType::bf16; }),
              ::testing::StartsWith("training.gradient_type: "));
  EXPECT_EQ(error([](RunConfig& c) {
              c.training.mixed_precision = MixedPrecision::bf16;
              c.training.master_weights = c.training.gradient_type = StoredType::bf16;
            }),
            "");
}

TEST(RunConfig, Fp8NeedsWidthsThatItsProductsTake) {
  const auto fp8 = [](auto change) {
    return error([&](RunConfig& c) {
      c.training.mixed_precision = MixedPrecision::fp8;
      change(c);
    });
  };
  EXPECT_EQ(fp8([](RunConfig&) {}), "");
  EXPECT_EQ(
      fp8([](RunConfig& c) { c.model.expert_intermediate_dim = 500; }),
      "model.expert_intermediate_dim: expected the width a multiple of 8 with training.mixed_precision fp8, "
      "found 500. Hint: change it, or set training.mixed_precision to bf16");
  EXPECT_THAT(fp8([](RunConfig& c) { c.model.vocab_size = 50265; }),
              ::testing::StartsWith("model.vocab_size: expected the vocabulary a multiple of 16"));
  EXPECT_THAT(fp8([](RunConfig& c) { c.training.fp8_bf16_layers = 9; }),
              ::testing::StartsWith("training.fp8_bf16_layers: expected at most 8"));
}

// The full recipe is the same model, learnt otherwise.
TEST(RunConfig, RecipesAreRead) {
  const RunConfig seed = RunConfig::load(kConfigs + "train_config.yaml");
  const RunConfig full = RunConfig::load(kConfigs + "recipe.yaml"),
                  small = RunConfig::load(kConfigs + "recipe_small.yaml");
  for (const RunConfig& recipe : {full, small}) {
    EXPECT_TRUE(has_muon(recipe.training.optimizer));
    recipe.check_trainable(true);
  }
  RunConfig same = seed, other = seed;
  other.model = full.model;
  EXPECT_THAT(config_differences(same.sections(), other.sections()),
              ::testing::ElementsAre(::testing::HasSubstr("aux_loss_weight")));
}

// The settings for a GPU of 16 GB leave 0.5 GiB to CUDA's context and the libraries' workspaces
// (docs/numerics.md).
TEST(RunConfig, TheFullModelFits16GB) {
  const auto config = RunConfig::load(kConfigs + "train_config_16gb.yaml");
  const backend::Backend backend = backend::make_backend(DeviceKind::cpu, 1);
  Arena plan;
  plan_training(config, text::Gpt2Tokenizer::kVocabulary, 1, *backend.device, *backend.ops, plan);
  EXPECT_LT(static_cast<double>(plan.used()) / (1 << 30), 15.5);
  const auto full = RunConfig::load(kConfigs + "train_config.yaml");
  RunConfig same = config;
  same.model = full.model;
  EXPECT_THAT(config_differences(same.sections(), RunConfig(config).sections()), ::testing::IsEmpty());
}

// What a later file or the command line says is not left without effect by an earlier setting for the same.
TEST(RunConfig, OfTwoSettingsForOneThingTheLaterCounts) {
  const auto tokens = ConfigText{"tokens",
                                 "training: {max_tokens: 1000000, warmup_tokens: 5000, eval_tokens: 4000, "
                                 "global_batch_size: 8, batch_size: auto}"};
  const auto load = [&](const std::string& later) {
    return RunConfig::load(std::vector{tokens, ConfigText{"later", "training: {" + later + "}"}}).training;
  };
  const TrainingConfig kept = load("seed: 7");
  EXPECT_EQ(kept.max_tokens, 1000000);
  EXPECT_EQ(kept.global_batch_size, 8);
  EXPECT_EQ(load("max_steps: 20").max_tokens, 0);
  EXPECT_EQ(load("max_steps: 20").max_steps, 20);
  EXPECT_EQ(load("max_steps: 20").warmup_tokens, 5000);
  EXPECT_EQ(load("max_steps: 1000").max_tokens, 0);  // which is the default: given all the same
  EXPECT_EQ(load("max_steps: 20, max_tokens: 3000").max_tokens, 3000);
  EXPECT_EQ(load("warmup_steps: 3").warmup_tokens, 0);
  EXPECT_EQ(load("eval_batches: 8").eval_tokens, 0);
  EXPECT_EQ(load("gradient_accumulation_steps: 2, batch_size: 4").global_batch_size, 0);
  EXPECT_EQ(load("batch_size: 4").global_batch_size, 8);
  const auto overridden = [&](const std::vector<std::string>& overrides) {
    return RunConfig::load(std::vector{tokens}, overrides).training;
  };
  EXPECT_EQ(overridden({"training.max_steps=20"}).max_tokens, 0);
  EXPECT_EQ(overridden({}).max_tokens, 1000000);
}

TEST(RunConfig, WordsOfEarlierVersionsAreTaken) {
  const RunConfig config = RunConfig::load(kConfigs + "quickstart.yaml",
                                           {"training.recompute=cheap", "distributed.expert_rows=2"});
  EXPECT_EQ(config.training.recompute, model::Recompute::selective);
  EXPECT_EQ(config.distributed.expert_buffer_factor, 2);
  EXPECT_EQ(RunConfig::load(kConfigs + "quickstart.yaml", {"training.recompute=all"}).training.recompute,
            model::Recompute::full);
}

TEST(RunConfig, OverridesComeAfterTheFileInOrder) {
  const auto config =
      RunConfig::load(kConfigs + "quickstart.yaml",
                      {"training.batch_size=3", "training.batch_size=4", "data.source=other.txt"});
  EXPECT_EQ(config.training.batch_size, 4);
  EXPECT_THAT(config.data.source, ::testing::ElementsAre(std::filesystem::absolute("other.txt").string()));
  EXPECT_EQ(user_error_of([] { RunConfig::load(kConfigs + "quickstart.yaml", {"model.top_k=9"}); }),
            "model.top_k: expected at most model.num_experts (8), found 9. Hint: top_k 8");
}

TEST(ModelConfig, RefusesContradictionsWithALegalValue) {
  EXPECT_EQ(
      error([](RunConfig& c) { c.model.n_heads = 12; }),
      "model.n_heads: expected a divisor of model.d_model (1024), found 12. Hint: d_model 1032 or n_heads 8");
  EXPECT_EQ(error([](RunConfig& c) {
              c.model.d_model = 1008;
              c.model.n_heads = 16;
            }),
            "model.d_model: expected an even width per head, d_model / n_heads (rotary pairs), "
            "found 1008 / 16 = 63. Hint: d_model 1024");
  EXPECT_EQ(
      error([](RunConfig& c) { c.model.n_heads = c.model.n_kv_heads = 2; }),
      "model.n_heads: expected a width per head, d_model / n_heads, of at most 256, found 1024 / 2 = 512. "
      "Hint: n_heads 4 or more");
  EXPECT_EQ(error([](RunConfig& c) { c.model.n_kv_heads = 3; }),
            "model.n_kv_heads: expected a divisor of model.n_heads (16), found 3. Hint: n_kv_heads 2");
  EXPECT_EQ(error([](RunConfig& c) { c.model.n_kv_heads = 32; }),
            "model.n_kv_heads: expected a divisor of model.n_heads (16), found 32. Hint: n_kv_heads 16");
  EXPECT_EQ(error([](RunConfig& c) { c.model.num_experts = 1; }),
            "model.top_k: expected at most model.num_experts (1), found 2. Hint: top_k 1");
  EXPECT_EQ(error([](RunConfig& c) { c.model.n_heads = 0; }),
            "model.n_heads: expected an integer between 1 and 1024, found 0");
  EXPECT_EQ(error([](RunConfig& c) { c.model.vocab_size = 50256; }),
            "model.vocab_size: expected at least 50257, the GPT-2 vocabulary, found 50256. "
            "Hint: 50304 is the next multiple of 128");
}

TEST(ModelConfig, DenseLayersLeaveOneWithExperts) {
  EXPECT_EQ(error([](RunConfig& c) { c.model.first_dense_layers = 17; }),
            "model.first_dense_layers: expected at most model.n_layers (16), found 17. "
            "Hint: first_dense_layers 16: a model without experts");
  EXPECT_EQ(error([](RunConfig& c) { c.model.first_dense_layers = 15, c.model.shared_expert_dim = 256; }),
            "");
  RunConfig config;
  EXPECT_EQ(config.model.dense_width(), 0);
  config.model.first_dense_layers = 1, config.model.shared_expert_dim = 256;
  EXPECT_EQ(config.model.dense_width(), 2 * 512 + 256);
  config.model.dense_intermediate_dim = 1000;
  EXPECT_EQ(config.model.dense_width(), 1000);
}

TEST(ModelConfig, HeadWidthAndWindowsAreChecked) {
  EXPECT_EQ(error([](RunConfig& c) { c.model.head_dim = 33; }),
            "model.head_dim: expected an even width per head (rotary pairs), found 33. Hint: head_dim 34");
  EXPECT_EQ(error([](RunConfig& c) { c.model.head_dim = 128, c.model.n_heads = 12, c.model.n_kv_heads = 4; }),
            "");
  EXPECT_EQ(error([](RunConfig& c) {
              c.model.attention_window = {"512", "-1"};
            }),
            "model.attention_window: expected numbers of tokens, each from 0 (all) to 1048576, found -1. "
            "Hint: [512, 512, 0] gives every third layer the whole row");
  const RunConfig config =
      RunConfig::load(kConfigs + "quickstart.yaml", {"model.attention_window=[5,0]", "model.n_layers=3"});
  EXPECT_EQ(config.model.window_of(0), 5);
  EXPECT_EQ(config.model.window_of(1), 0);
  EXPECT_EQ(config.model.window_of(2), 5);
}

TEST(ModelConfig, TheSuggestionsAreLegal) {
  for (int64_t width = 2; width <= 64; ++width) {
    for (int64_t heads = 1; heads <= 16; ++heads) {
      model::ModelConfig model;
      model.n_kv_heads = 1;
      model.d_model = width;
      model.n_heads = heads;
      const std::string message = user_error_of([&] { model.validate(); });
      const size_t at = message.find("Hint: d_model ");
      ASSERT_EQ(message.empty(), at == std::string::npos) << message;
      if (message.empty()) continue;
      model.d_model = std::stoll(message.substr(at + 14));
      EXPECT_NO_THROW(model.validate()) << message;
    }
  }
}

TEST(TrainingConfig, RefusesContradictions) {
  EXPECT_EQ(error([](RunConfig& c) { c.training.warmup_steps = 1001; }),
            "training.warmup_steps: expected at most training.max_steps (1000), found 1001. Hint: "
            "warmup_steps 100");
  EXPECT_EQ(error([](RunConfig& c) { c.training.min_learning_rate_ratio = 1.5; }),
            "training.min_learning_rate_ratio: expected a number between 0 and 1, found 1.5");
  EXPECT_EQ(error([](RunConfig& c) { c.training.loss_scale = 3000; }),
            "training.loss_scale: expected a power of two, so that scaling loses no bit, found 3000. Hint: "
            "loss_scale 4096");
  const auto wsd = [](int64_t warmup) {
    return [warmup](RunConfig& c) {
      c.training.lr_schedule = optim::Schedule::Kind::wsd;
      c.training.warmup_steps = warmup;
    };
  };
  EXPECT_EQ(error(wsd(800)), "");
  EXPECT_EQ(error(wsd(801)),
            "training.decay_fraction: expected warm-up and decay to fit into training.max_steps (1000), "
            "found 801 steps of warm-up and 0.2 of the steps for decay. Hint: warmup_steps 800 or less");
  EXPECT_EQ(error([](RunConfig& c) {
              c.training.optimizer = OptimizerKind::adamw;
              c.training.router_8bit = true;
            }),
            "training.router_8bit: expected training.optimizer adamw8bit or muon8bit, found adamw. "
            "Hint: set it to false or change the optimizer");
  EXPECT_EQ(error([](RunConfig& c) { c.training.run_name = "a/b"; }),
            "training.run_name: expected a name for one folder, found \"a/b\". Hint: training.output_dir "
            "takes a path");
  EXPECT_EQ(
      user_error_of([] { RunConfig::load(kConfigs + "train_config.yaml", {"training.optimizer=sgd"}); }),
      "command line: training.optimizer: expected one of: adamw8bit, adamw, muon8bit, muon, found sgd");
  EXPECT_EQ(
      error([](RunConfig& c) { c.training.batch_size = 1 << 20; }),
      "training.batch_size: expected batch_size x model.max_seq_len (1024) x model.top_k (2) below 2^31, "
      "found 1048576. Hint: use training.gradient_accumulation_steps");
  EXPECT_EQ(error([](RunConfig& c) {
              c.training.batch_ramp = {"1:1000"};
              c.training.gradient_accumulation_steps = 2;
            }),
            "training.batch_ramp: expected training.max_tokens, by which the schedules go then, found "
            "max_tokens 0. Hint: set training.max_tokens in place of max_steps");
  EXPECT_EQ(error([](RunConfig& c) { c.logging.log_every = 0; }),
            "logging.log_every: expected an integer between 1 and 1000000000000, found 0");
}

// Names in files, on the command line and in checkpoints are a promise: a change of these lines breaks files.
TEST(RunConfig, EveryChoiceIsReadAndWrittenByItsName) {
  RunConfig config;
  auto sections = config.sections();
  std::string all;
  for (Section& section : sections)
    for (Field& field : section.fields) {
      if (field.allowed().empty()) continue;
      const std::string setting = section.name + "." + field.name();
      all += fmt::format("{} = {}: {}\n", setting, to_yaml(field.initial()), fmt::join(field.allowed(), " "));
      for (const std::string& name : field.allowed()) {
        apply_override(fmt::format("{}={}", setting, name), sections);
        EXPECT_EQ(field.value(), Field::Value(name)) << setting;
        RunConfig back;
        auto read = back.sections();
        read_config_text(print_config_json(sections), "json", read);
        EXPECT_THAT(config_differences(sections, read), ::testing::IsEmpty()) << setting;
      }
    }
  EXPECT_EQ(all,
            "model.qk_norm = head: head projection none\n"
            "model.router_score = softmax: softmax sigmoid\n"
            "model.rope_scaling = none: none linear llama3 yarn\n"
            "training.stage = pretrain: pretrain sft\n"
            "training.lr_schedule = cosine: cosine wsd constant\n"
            "training.weight_decay_mode = plain: plain cautious\n"
            "training.weight_decay_schedule = constant: constant with_lr cosine_to_zero\n"
            "training.optimizer = adamw8bit: adamw8bit adamw muon8bit muon\n"
            "training.optimizer_order = pytorch: pytorch bitsandbytes\n"
            "training.muon_coefficients = polar_express: polar_express quintic\n"
            "training.muon_scale = rms: rms spectral\n"
            "training.mixed_precision = \"no\": auto no tf32 bf16 fp16 fp8\n"
            "training.master_weights = fp32: fp32 bf16\n"
            "training.gradient_type = fp32: fp32 bf16\n"
            "training.recompute = none: none selective full\n"
            "training.on_nan = stop: stop skip\n"
            "training.device = auto: auto cpu gpu\n"
            "data.format = auto: auto text jsonl parquet tokens\n"
            "data.conversations = none: none auto messages sharegpt alpaca prompt\n"
            "data.learned = answers: answers all\n"
            "data.special_text = anywhere: anywhere template\n"
            "data.document_split = file: unindented blank_line line file marker\n"
            "data.bad_rows = stop: stop skip\n"
            "data.packing = concat: concat best_fit pad\n"
            "logging.wandb_mode = \"\":  online offline disabled\n"
            "distributed.layout = auto: auto data_parallel zero1 expert\n"
            "distributed.balance_loss = rank: rank global previous_step\n"
            "distributed.capacity = rank: rank row\n");
}

TEST(DistributedConfig, RefusesContradictions) {
  const auto overlap = [](ParallelLayout layout, int64_t micro_batches, BalanceScope balance_over) {
    return error([&](RunConfig& c) {
      c.distributed.overlap = true;
      c.distributed.layout = layout;
      c.distributed.balance_loss = balance_over;
      c.training.gradient_accumulation_steps = micro_batches;
    });
  };
  EXPECT_EQ(overlap(ParallelLayout::expert, 2, BalanceScope::rank), "");
  EXPECT_EQ(overlap(ParallelLayout::zero1, 2, BalanceScope::rank),
            "distributed.overlap: expected distributed.layout expert, found zero1. Hint: no other layout "
            "sends rows");
  EXPECT_EQ(overlap(ParallelLayout::expert, 1, BalanceScope::rank),
            "distributed.overlap: expected two micro-batches in a step at least, found "
            "training.gradient_accumulation_steps 1. Hint: half the batch_size, and "
            "gradient_accumulation_steps 2");
  EXPECT_EQ(
      overlap(ParallelLayout::expert, 2, BalanceScope::global),
      "distributed.overlap: expected distributed.balance_loss rank or previous_step, found global. Hint: "
      "between the passes of a micro-batch the global one waits for all ranks");
  EXPECT_EQ(overlap(ParallelLayout::expert, 2, BalanceScope::previous_step), "");
}

TEST(DataConfig, RefusesContradictions) {
  EXPECT_EQ(error([](RunConfig& c) { c.data.source.clear(); }), "");  // an imported model has none
  EXPECT_EQ(user_error_of([] { data::DataConfig().require_text(); }),
            "data.source: expected files or folders with training text, found an empty list. "
            "Hint: add data.source=FILE to the command line, or a section data to the config file");
  EXPECT_EQ(
      error([](RunConfig& c) { c.data.unit_kb = 65537; }),
      "data.unit_kb: expected at most data.shuffle_window_mb (64 MiB), found 65537 KiB. Hint: unit_kb 65536");
  EXPECT_EQ(error([](RunConfig& c) {
              c.data.unit_kb = 65537;
              c.data.shuffle = false;
            }),
            "");
  EXPECT_EQ(error([](RunConfig& c) { c.data.validation_fraction = 0; }),
            "training.eval_every: expected text to evaluate on, found data.validation_fraction 0. "
            "Hint: set data.validation_source or data.validation_fraction, or eval_every 0");
}

}  // namespace
}  // namespace moe::train
