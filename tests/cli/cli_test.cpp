// SPDX-License-Identifier: MIT
// The program as a person meets it: each command once from end to end, and each kind of bad input, which must
// give one clear message, exit code 1 and nothing half-written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "support/cli.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Result = CommandResult;

TEST_F(Cli, TrainResumeGenerateEval) {
  const Result trained = train("data.source=text.txt");
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_THAT(trained.output, AllOf(HasSubstr("validation loss"), HasSubstr("samples at step 3"),
                                    HasSubstr("checkpoints  runs/run/checkpoints")));
  for (const char* file : {"config.yaml", "metrics.jsonl", "checkpoints/latest", "samples/step-00000003.txt"})
    EXPECT_TRUE(fs::exists(folder_ / "runs/run" / file)) << file;

  std::ifstream rows(folder_ / "runs/run/metrics.jsonl");
  std::string line;
  while (std::getline(rows, line) && line.find("\"loss\"") == std::string::npos) {
  }
  const auto row = nlohmann::json::parse(line);
  for (const char* name :
       {"step", "loss", "perplexity", "learning_rate", "gradient_norm", "gradient_norm/embedding",
        "gradient_norm/attention", "gradient_norm/router", "gradient_norm/experts", "gradient_norm/norms",
        "tokens_per_second", "memory_bytes", "layers/balance_loss", "layers/entropy", "layers/load_cv",
        "layers/max_over_mean", "layers/dropped_share", "layers/expert_counts"})
    EXPECT_TRUE(row.contains(name)) << name;

  const Result resumed = moe("train --resume runs/latest training.max_steps=5");
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  EXPECT_THAT(resumed.output,
              AllOf(HasSubstr("resumed from"), HasSubstr("at step 3"), HasSubstr("done at step 5")));

  const std::string generate = "generate runs/run --prompt 'The lamp' --max-new-tokens 12 --seed 7";
  const Result once = moe(generate, "2>/dev/null"), again = moe(generate, "2>/dev/null");
  EXPECT_EQ(once.code, 0);
  EXPECT_THAT(once.output, ::testing::StartsWith("The lamp"));
  EXPECT_EQ(once.output, again.output);

  const Result evaluated = moe("eval runs/run --json", "2>/dev/null");
  ASSERT_EQ(evaluated.code, 0) << evaluated.output;
  const auto json = nlohmann::json::parse(evaluated.output);
  EXPECT_NEAR(json.at("perplexity").get<double>(), std::exp(json.at("loss").get<double>()),
              1e-9 * json.at("perplexity").get<double>());
  EXPECT_GT(json.at("bits_per_byte").get<double>(), 0);
  EXPECT_EQ(moe("eval runs/run --source text.txt --max-batches 2").code, 0);
}

// Out and back: the same weights, the same text, and the run's next step.
TEST_F(Cli, ExportAndImportGoOnWhereTheRunWas) {
  ASSERT_EQ(train("data.source=text.txt").code, 0);
  const Result exported = moe("export runs/run out --verify --shard-gb 0.001");
  ASSERT_EQ(exported.code, 0) << exported.output;
  EXPECT_THAT(exported.output, HasSubstr("largest difference 0,"));
  for (const char* file :
       {"config.json", "generation_config.json", "vocab.json", "merges.txt", "tokenizer.json",
        "tokenizer_config.json", "README.md", "moe_state.json", "model.safetensors.index.json"})
    EXPECT_TRUE(fs::exists(folder_ / "out" / file)) << file;
  EXPECT_THAT(read_file(folder_ / "out/README.md"),
              AllOf(HasSubstr("validation_loss"), HasSubstr("after 3 steps")));
  complains(moe("export runs/run out"), HasSubstr("a new or empty folder"));

  const Result imported = moe("import out --output runs/again");
  ASSERT_EQ(imported.code, 0) << imported.output;
  const std::string weights = "checkpoints/step-00000003/model.safetensors";
  EXPECT_EQ(read_file(folder_ / "runs/run" / weights), read_file(folder_ / "runs/again" / weights));
  complains(moe("import out --output runs/again"), HasSubstr("a new or empty folder"));

  std::vector<double> losses;
  for (const char* run : {"runs/run", "runs/again"}) {
    const Result resumed =
        moe(std::string("train --resume ") + run + " training.max_steps=4 training.eval_every=0");
    ASSERT_EQ(resumed.code, 0) << resumed.output;
    std::ifstream rows(at(std::string(run) + "/metrics.jsonl"));
    for (std::string line; std::getline(rows, line);)
      if (const auto row = nlohmann::json::parse(line); row["step"] == 4 && row.contains("loss"))
        losses.push_back(row["loss"]);
  }
  ASSERT_EQ(losses.size(), 2U);
  EXPECT_EQ(losses[0], losses[1]);
}

// Another family: asked for once, then kept from import to export.
TEST_F(Cli, AModelGoesOutInTheFamilyItCameFrom) {
  ASSERT_EQ(train("data.source=text.txt model.attention_gate=false").code, 0);
  complains(moe("export runs/run out"),
            AllOf(HasSubstr("model.attention_gate"), HasSubstr("--family qwen3_moe")));
  complains(moe("export runs/run out --family olmoe"), HasSubstr("model.qk_norm"));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  const Result exported = moe("export runs/run out --family qwen3_moe --verify");
  ASSERT_EQ(exported.code, 0) << exported.output;
  EXPECT_THAT(exported.output, HasSubstr("largest difference 0,"));
  EXPECT_THAT(read_file(folder_ / "out/README.md"), HasSubstr("`Qwen3MoeForCausalLM`"));

  ASSERT_EQ(moe("import out --output runs/again").code, 0);
  const std::string weights = "checkpoints/step-00000003/model.safetensors";
  EXPECT_EQ(read_file(folder_ / "runs/run" / weights), read_file(folder_ / "runs/again" / weights));
  ASSERT_EQ(moe("export runs/again back").code, 0);
  EXPECT_EQ(read_file(folder_ / "back/config.json"), read_file(folder_ / "out/config.json"));
  EXPECT_EQ(read_file(folder_ / "back/model.safetensors"), read_file(folder_ / "out/model.safetensors"));
  put("runs/again/imported.json", R"({"family": "other"})");
  complains(moe("export runs/again third"), AllOf(HasSubstr("imported.json"), HasSubstr("--family")));
}

// No routers: no losses of theirs, no metrics of experts, in each scope of the balance loss.
TEST_F(Cli, AModelWithoutExpertsTrainsAndGoesOut) {
  for (const char* scope : {"rank", "global", "previous_step"}) {
    ASSERT_EQ(train("data.source=text.txt model.first_dense_layers=1 model.attention_gate=false "
                    "model.qk_norm=none distributed.balance_loss=" +
                    std::string(scope))
                  .code,
              0)
        << scope;
    const std::string rows = read_file(folder_ / "runs/run/metrics.jsonl");
    EXPECT_THAT(rows, HasSubstr("\"loss\""));
    EXPECT_THAT(rows, ::testing::Not(HasSubstr("expert_load_cv")));
    fs::remove_all(folder_ / "out");
    const Result exported = moe("export runs/run out --family llama --verify");
    ASSERT_EQ(exported.code, 0) << exported.output;
    EXPECT_THAT(exported.output, HasSubstr("largest difference 0,"));
    fs::remove_all(folder_ / "runs/run");
  }
}

TEST_F(Cli, AveragedWeightsAreReadWhereTheyAreAskedFor) {
  ASSERT_EQ(train("data.source=text.txt training.ema_decay=0.5 training.learning_rate=0.01").code, 0);
  const auto loss = [&](const std::string& flags) {
    const Result evaluated = moe("eval runs/run --json " + flags, "2>/dev/null");
    EXPECT_EQ(evaluated.code, 0) << evaluated.output;
    return nlohmann::json::parse(evaluated.output).at("loss").get<double>();
  };
  const double average = loss("--ema");
  EXPECT_NE(average, loss(""));
  EXPECT_EQ(moe("generate runs/run --prompt 'The lamp' --max-new-tokens 4 --ema").code, 0);
  ASSERT_EQ(moe("export runs/run out --ema --verify").code, 0);
  ASSERT_EQ(moe("import out --output runs/again").code, 0);
  const Result imported = moe("eval runs/again --json", "2>/dev/null");
  EXPECT_EQ(nlohmann::json::parse(imported.output).at("loss").get<double>(), average);
  complains(moe("eval runs/again --ema"), HasSubstr("averaged weights"));
}

TEST_F(Cli, ImportOfSomethingElseLeavesNothing) {
  ASSERT_EQ(train("data.source=text.txt").code, 0);
  ASSERT_EQ(moe("export runs/run out --without-run").code, 0);
  EXPECT_FALSE(fs::exists(folder_ / "out/moe_state.json"));
  const auto config = nlohmann::json::parse(read_file(folder_ / "out/config.json"));
  auto other = config;
  other["architectures"] = {"LlamaForCausalLM"};
  put("out/config.json", other.dump());
  complains(moe("import out --output runs/new"), HasSubstr("Qwen3NextForCausalLM"));
  put("out/config.json", config.dump());
  complains(moe("import out --output runs/new model.n_layers=2"), HasSubstr("as config.json says"));
  fs::resize_file(folder_ / "out/model.safetensors", 100000);
  complains(moe("import out --output runs/new"), HasSubstr("model.safetensors"));
  complains(moe("import nowhere --output runs/new"), HasSubstr("nowhere"));
  EXPECT_FALSE(fs::exists(folder_ / "runs/new"));

  // A folder that is right but for one file; and a disk that is full half-way.
  fs::remove_all(folder_ / "out");
  ASSERT_EQ(moe("export runs/run out --shard-gb 0.004").code, 0);
  const auto bad = [&](const std::string& file, const std::string& bytes, const std::string& message) {
    const std::string whole = read_file(folder_ / "out" / file);
    put("out/" + file, bytes);
    complains(moe("import out --output runs/new"), AllOf(HasSubstr(file), HasSubstr(message)));
    EXPECT_FALSE(fs::exists(folder_ / "runs/new")) << file;
    put("out/" + file, whole);
  };
  fs::remove(folder_ / "out/tokenizer.json");  // which would go before a vocab.json that is not GPT-2's
  const std::string vocabulary = read_file(folder_ / "out/vocab.json");
  auto swapped = nlohmann::json::parse(vocabulary);
  std::swap(swapped["the"], swapped["cat"]);
  bad("vocab.json", swapped.dump(), "another tokenizer needs its tokenizer.json");
  bad("moe_state.json", "{", "without it the model is imported as a new run");
  bad("model-00002-of-00002.safetensors", "short", "at least 8 bytes");
  bad("model.safetensors.index.json", "{}", "weight_map");
  auto wider = nlohmann::json::parse(read_file(folder_ / "out/config.json"));
  wider["moe_intermediate_size"] = 64;
  const std::string state = read_file(folder_ / "out/moe_state.json");
  fs::remove(folder_ / "out/moe_state.json");
  put("out/config.json", wider.dump());
  complains(moe("import out --output runs/new"),
            AllOf(HasSubstr("up_proj"), HasSubstr("expected shape [64, 32]")));
  wider["moe_intermediate_size"] = 32;
  put("out/config.json", wider.dump());
  const std::string full = "--version > /dev/null; trap '' XFSZ; ulimit -f 2000; '" MOE_PROGRAM "' ";
  complains(moe(full + "import out --output runs/new"), HasSubstr("model.safetensors"));
  complains(moe(full + "export runs/run other"), HasSubstr("safetensors"));
  for (const auto& entry : fs::directory_iterator(folder_))
    EXPECT_FALSE(entry.path().filename().string().starts_with("other")) << entry.path();
  EXPECT_FALSE(fs::exists(folder_ / "runs/new"));

  // Without the run's settings: a model that writes, that can be evaluated, and that trains when it gets a
  // text.
  fs::remove_all(folder_ / "out");
  ASSERT_EQ(moe("export runs/run out --without-run").code, 0);
  ASSERT_EQ(moe("import out --output runs/new").code, 0);
  EXPECT_EQ(moe("generate runs/new --prompt a --max-new-tokens 2").code, 0);
  complains(moe("eval runs/new"), HasSubstr("--source"));
  EXPECT_EQ(moe("eval runs/new --source text.txt --max-batches 1").code, 0);
  complains(moe("train --resume runs/new"), HasSubstr("data.source"));
}

TEST_F(Cli, GenerateInManyWays) {
  ASSERT_EQ(train("data.source=text.txt").code, 0);
  const std::string greedy = "generate runs/run --temperature 0 --max-new-tokens 8 --json --quiet ";
  // In a batch with others as alone.
  put("prompts.jsonl",
      "{\"prompt\": \"The lamp number 12 is\"}\n{\"prompt\": \"The\"}\n{\"prompt\": \"green\"}\n");
  const Result together = moe(greedy + "--prompts prompts.jsonl", "2>/dev/null");
  ASSERT_EQ(together.code, 0);
  const Result alone =
      moe(greedy + "--prompt 'The lamp number 12 is' --prompt The --prompt green --batch 1", "2>/dev/null");
  EXPECT_EQ(together.output, alone.output);
  const auto first = nlohmann::json::parse(together.output.substr(0, together.output.find('\n')));
  EXPECT_EQ(first["ids"].size(), 8U);
  EXPECT_EQ(first["finish"], "length");
  // A stop: the text before it.
  const std::string text = first["text"];
  const auto stopped = nlohmann::json::parse(
      moe(greedy + "--prompt 'The lamp number 12 is' --stop '" + text.substr(4, 3) + "'", "2>/dev/null")
          .output);
  EXPECT_EQ(stopped["text"], text.substr(0, text.find(text.substr(4, 3))));
  EXPECT_EQ(stopped["finish"], "stop");
  EXPECT_THAT(moe("generate runs/run --prompt The --min-p 0.1 --repetition-penalty 1.2").output,
              AllOf(HasSubstr("prefill 2 tokens"), HasSubstr("decode")));
  complains(moe("generate runs/run --min-p 2"), HasSubstr("--min-p"));
  complains(moe("generate runs/run --prompts text.jsonl"), HasSubstr("text.jsonl"));
}

TEST_F(Cli, EvaluationTasksByHandAndInTraining) {
  put("piqa.jsonl", R"({"goal":"light it","sol1":"with a lamp","sol2":"green","label":0})"
                    "\n"
                    R"({"goal":"read","sol1":"in the dark","sol2":"by the lamp","label":"1"})"
                    "\n");
  ASSERT_EQ(train("data.source=text.txt training.tasks=piqa=piqa.jsonl training.tasks_every=2").code, 0);
  const std::string rows = read_file(folder_ / "runs/run/metrics.jsonl");
  EXPECT_THAT(rows, AllOf(HasSubstr("\"step\":2,\"tokens\":128,\"tasks/piqa/lm_eval/acc\""),
                          HasSubstr("\"step\":3,\"tokens\":192,\"tasks/piqa/lm_eval/acc\"")));
  const Result result =
      moe("eval runs/run --task piqa=piqa.jsonl --json --output items.jsonl", "2>/dev/null");
  ASSERT_EQ(result.code, 0);
  EXPECT_EQ(nlohmann::json::parse(result.output)["tasks"]["piqa"]["lm_eval"]["items"], 2);
  const Result again = moe("eval runs/run --task piqa=piqa.jsonl --json --output items.jsonl");
  EXPECT_THAT(again.output, HasSubstr("going on after 2 results"));
  complains(moe("eval runs/run --task piqa=piqa.jsonl --limit 1 --output items.jsonl"),
            HasSubstr("name another file"));
  complains(moe("eval runs/run --task squad=piqa.jsonl"), HasSubstr("squad"));
  complains(moe("eval runs/run --task hellaswag=piqa.jsonl"), HasSubstr("item 1"));
}

// The rule of the update may change when a run goes on, and is said; what the saved moments are may not.
TEST_F(Cli, ResumeSaysWhichSettingsChanged) {
  ASSERT_EQ(train("data.source=text.txt").code, 0);
  const Result refused = moe("train --resume runs/run training.max_steps=4 training.optimizer=adamw");
  EXPECT_EQ(refused.code, 1) << refused.output;
  EXPECT_THAT(refused.output,
              AllOf(HasSubstr("training.optimizer \"adamw8bit\""), HasSubstr("not converted")));

  const Result same = moe("train --resume runs/run");
  EXPECT_EQ(same.code, 0) << same.output;
  EXPECT_THAT(same.output, Not(HasSubstr("changed")));
  const Result changed = moe("train --resume runs/run training.max_steps=4 training.beta2=0.5");
  EXPECT_EQ(changed.code, 0) << changed.output;
  EXPECT_THAT(changed.output, HasSubstr("changed   training.max_steps 3 -> 4, training.beta2 0.95 -> 0.5\n"));
}

TEST_F(Cli, ARunKeepsTheMicroBatchThatWasChosenForIt) {
  const Result auto_run = train("data.source=text.txt training.batch_size=auto training.global_batch_size=6");
  ASSERT_EQ(auto_run.code, 0) << auto_run.output;
  EXPECT_THAT(auto_run.output, HasSubstr("step      1 micro-batch of 6 x "));
  const auto recorded = [&] { return read_file(folder_ / "runs/run/config.yaml"); };
  EXPECT_THAT(recorded(), HasSubstr("batch_size: 6 "));
  const Result resumed = moe("train --resume runs/run training.max_steps=4 training.batch_size=2");
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  EXPECT_THAT(resumed.output, AllOf(HasSubstr("step      3 micro-batches of 2 x "), HasSubstr("at step 4")));
  EXPECT_THAT(recorded(), AllOf(HasSubstr("batch_size: 2 "), HasSubstr("gradient_accumulation_steps: 3 ")));
  EXPECT_THAT(moe("train --resume runs/run training.batch_size=4").output,
              HasSubstr("a multiple of training.batch_size (4)"));
}

TEST_F(Cli, NoStepsSaveTheInitialWeightsAndTheRunGoesOnFromThem) {
  const Result started = train("data.source=text.txt training.max_steps=0 training.warmup_steps=0");
  ASSERT_EQ(started.code, 0) << started.output;
  EXPECT_TRUE(fs::exists(folder_ / "runs/run/checkpoints/step-00000000/model.safetensors"));
  const Result resumed = moe("train --resume runs/run training.max_steps=2");
  EXPECT_EQ(resumed.code, 0) << resumed.output;
  EXPECT_THAT(resumed.output, HasSubstr("at step 0\n"));
}

TEST_F(Cli, ARunThatDoesNotStartLeavesTheLatestAndOtherFolders) {
  ASSERT_EQ(train("data.source=text.txt").code, 0);
  const std::string second = "train --config config.yaml training.run_name=second data.source=";
  put("empty.txt", "");  // which shows only when the run's folder is there
  EXPECT_EQ(moe(second + "empty.txt").code, 1);
  EXPECT_FALSE(fs::exists(folder_ / "runs/second"));
  EXPECT_EQ(fs::read_symlink(folder_ / "runs/latest"), "run");

  fs::create_directory(folder_ / "runs/second");
  put("runs/second/notes.txt", "not ours");
  const Result taken = moe(second + "empty.txt");
  EXPECT_EQ(taken.code, 1);
  EXPECT_THAT(taken.output, HasSubstr("runs/second"));
  EXPECT_TRUE(fs::exists(folder_ / "runs/second/notes.txt"));
}

TEST_F(Cli, TokenizeThenTrainOnTheTokens) {
  const Result tokenized = moe("tokenize --source text.txt --output tokens data.document_split=line");
  ASSERT_EQ(tokenized.code, 0) << tokenized.output;
  EXPECT_THAT(tokenized.output, HasSubstr("4.00 K documents"));
  const Result trained = train("data.source=tokens data.format=tokens");
  EXPECT_EQ(trained.code, 0) << trained.output;
}

TEST_F(Cli, PlanAndBench) {
  const Result plan = moe("plan --config config.yaml data.source=text.txt");
  ASSERT_EQ(plan.code, 0) << plan.output;
  EXPECT_THAT(plan.output,
              AllOf(HasSubstr("parameters"), HasSubstr("FLOP per token"), HasSubstr("optimizer state")));
  const Result many =
      moe("plan --config config.yaml data.source=text.txt training.mixed_precision=bf16 --gpus 2 --gpu h100");
  ASSERT_EQ(many.code, 0) << many.output;
  EXPECT_THAT(many.output,
              AllOf(HasSubstr("predicted for h100"), HasSubstr("less memory than data_parallel, and a "),
                    HasSubstr("auto is zero1"), HasSubstr("of one h100")));
  EXPECT_NE(moe("plan --config config.yaml data.source=text.txt --gpu abacus").code, 0);
  const Result settings = moe("plan --settings");
  ASSERT_EQ(settings.code, 0);
  EXPECT_THAT(settings.output,
              AllOf(HasSubstr("model.capacity_factor"), HasSubstr("training.learning_rate")));
  const Result bench = moe("bench --config config.yaml data.source=text.txt --steps 1 --warmup 0 --json");
  ASSERT_EQ(bench.code, 0) << bench.output;
  EXPECT_GT(nlohmann::json::parse(bench.output).at("tokens_per_second").get<double>(), 0);
  // Inputs in another type than the layer's would not be balanced.
  for (const std::string precision : {"no", "bf16", "fp16"}) {
    const Result layer =
        moe("bench --config config.yaml data.source=text.txt model.capacity_factor=0 --part moe-layer "
            "--tokens 64 "
            "--steps 1 --json training.mixed_precision=" +
            precision);
    ASSERT_EQ(layer.code, 0) << layer.output;
    const auto rows = nlohmann::json::parse(layer.output);
    EXPECT_GT(rows.at("learned").at("tflops").get<double>(), 0);
    EXPECT_EQ(rows.at("balanced").at("least_rows"), rows.at("balanced").at("most_rows")) << precision;
  }
  const Result table =
      moe("bench --config config.yaml data.source=text.txt --steps 1 --warmup 0 --forced-balance");
  ASSERT_EQ(table.code, 0) << table.output;
  EXPECT_THAT(table.output, AllOf(HasSubstr("forced balance"), HasSubstr("router"), HasSubstr("% of the")));
}

// The laws themselves: tests/train/recipe_test.cpp.
TEST_F(Cli, PlanARecipe) {
  const Result table = moe("plan --config config.yaml --recipe --tokens 1e9");
  ASSERT_EQ(table.code, 0) << table.output;
  EXPECT_THAT(table.output, AllOf(HasSubstr("for 1.00 B tokens"), HasSubstr("none is measured here"),
                                  HasSubstr("0.58 D^0.571 (Step Law, arXiv 2503.04715)")));
  const Result json = moe("plan --config config.yaml --recipe --json training.max_steps=10");
  ASSERT_EQ(json.code, 0) << json.output;
  const auto parsed = nlohmann::json::parse(json.output);
  EXPECT_EQ(parsed["tokens"], 640.0);  // 10 steps of 2 rows of 32
  for (const auto& one : parsed["advice"]) {
    if (one["name"] == "batch") {
      EXPECT_EQ(one["here"], 64.0);
    }
  }
  complains(moe("plan --config config.yaml --tokens 1e9"), HasSubstr("--recipe"));
  complains(moe("plan --config config.yaml --recipe training.max_steps=0 training.warmup_steps=0"),
            HasSubstr("--tokens N"));
}

// Everything that watches a run at once; what the files hold is tested elsewhere (tests/wandb, metrics,
// report).
TEST_F(Cli, WandbTensorBoardReportAndWatch) {
  const std::string watched = "logging.wandb_mode=offline logging.wandb_project=p logging.tensorboard=true";
  const Result trained = train("data.source=text.txt " + watched);
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_THAT(trained.output, AllOf(HasSubstr("wandb sync "), HasSubstr("/runs/run/wandb/offline-run-")));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "runs/run/tensorboard"), {}), 1);
  const auto state = nlohmann::json::parse(read_file(folder_ / "runs/run/wandb.json"));
  const fs::path records = folder_ / "runs/run" / state["folder"].get<std::string>() /
                           ("run-" + state["id"].get<std::string>() + ".wandb");
  const auto size = fs::file_size(records);
  EXPECT_EQ(moe("train --resume runs/run training.max_steps=5").code, 0);
  EXPECT_GT(fs::file_size(records), size);  // the same W&B run goes on

  const Result made = moe("report runs/run --output page.html --png picture.png");
  EXPECT_EQ(made.code, 0) << made.output;
  EXPECT_THAT(read_file(folder_ / "page.html"),
              AllOf(HasSubstr("\"validation_loss\":{"), HasSubstr("Chart.js")));
  EXPECT_TRUE(fs::exists(folder_ / "picture.png"));
  const Result seen = moe("watch runs --port 0 --once");
  EXPECT_EQ(seen.code, 0) << seen.output;
  EXPECT_THAT(seen.output, AllOf(HasSubstr("5 steps so far"), HasSubstr("http://127.0.0.1:")));
  EXPECT_THAT(moe("report nowhere").output, HasSubstr("no such folder"));
}

TEST_F(Cli, EveryHelpTeachesWithAnExample) {
  for (const char* command : {"train", "generate", "eval", "export", "import", "merge", "compare", "tokenize",
                              "plan", "bench", "report", "watch"}) {
    const Result help = moe(std::string(command) + " --help");
    EXPECT_EQ(help.code, 0);
    EXPECT_THAT(help.output, HasSubstr("Examples:\n  moe " + std::string(command)));
  }
  EXPECT_EQ(moe("--help").code, 0);
  EXPECT_EQ(moe("--version").code, 0);
  EXPECT_EQ(moe("").code, 1);
  EXPECT_EQ(moe("trian").code, 1);
}

TEST_F(Cli, WrongSettings) {
  refused(train("data.source=text.txt training.learning_rat=1"),
          AllOf(HasSubstr("command line"), HasSubstr("training.learning_rate")));
  refused(train("data.source=text.txt training.batch_size=many"), HasSubstr("training.batch_size"));
  refused(train("data.source=text.txt model.n_heads=5"), AllOf(HasSubstr("n_heads"), HasSubstr("d_model")));
  refused(train("data.source=text.txt training.device=tpu"), HasSubstr("training.device"));
  refused(moe("train --config missing.yaml"), HasSubstr("missing.yaml"));
  put("bad.yaml", "model:\n  d_model: [1, 2]\n  width: 3\n");
  refused(moe("train --config bad.yaml"), HasSubstr("bad.yaml:2"));
  refused(moe("train"), HasSubstr("--config"));
  refused(moe("train --resume nowhere"), HasSubstr("nowhere"));
  refused(moe("generate nowhere"), HasSubstr("nowhere"));
  refused(train(""), HasSubstr("data.source"));
}

TEST_F(Cli, WrongText) {
  refused(train("data.source=missing.txt"), HasSubstr("missing.txt"));
  put("empty.txt", "");
  refused(train("data.source=empty.txt"), HasSubstr("empty"));
  put("binary.txt", std::string(10000, '\0'));
  refused(train("data.source=binary.txt"), HasSubstr("binary.txt"));
  put("broken.txt.gz", std::string("\x1f\x8b\x08\0\0\0\0\0\0\3", 10) + "not deflate at all");
  refused(train("data.source=broken.txt.gz"), HasSubstr("broken.txt.gz"));
  put("broken.parquet", "PAR1 and then nothing of use");
  refused(train("data.source=broken.parquet"), HasSubstr("broken.parquet"));
}

TEST_F(Cli, CorruptCheckpoint) {
  ASSERT_EQ(train("data.source=text.txt").code, 0);
  const fs::path weights = folder_ / "runs/run/checkpoints/step-00000003/model.safetensors";
  std::string bytes = read_file(weights);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_file_atomically(weights, bytes);
  for (const char* command :
       {"train --resume runs/run training.max_steps=9", "generate runs/run", "eval runs/run"}) {
    const Result result = moe(command);
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.output, HasSubstr("model.safetensors"));
  }
}

// Two seconds of training in generated kernels, then SIGTERM (which timeout sends twice): saved, and 128 +
// 15.
TEST_F(Cli, SigtermSavesAndExits) {
  const Result result = moe("--version > /dev/null; timeout --preserve-status -s TERM 2 '" MOE_PROGRAM
                            "' train --config config.yaml data.document_split=line training.run_name=run "
                            "data.source=text.txt training.max_steps=1000000 training.eval_every=0");
  EXPECT_EQ(result.code, 128 + 15) << result.output;
  EXPECT_THAT(result.output, HasSubstr("stopped by signal 15"));
  EXPECT_EQ(moe("eval runs/run --max-batches 1").code, 0);
}

// A file-size limit stands for a full disk: the save fails half-way, nothing half-written stays, and the
// message says what is missing.
TEST_F(Cli, FullDisk) {
  const Result result = moe("plan --settings > /dev/null; trap '' XFSZ; ulimit -f 256; '" MOE_PROGRAM
                            "' train --config config.yaml data.document_split=line training.run_name=run "
                            "data.source=text.txt");
  EXPECT_EQ(result.code, 1) << result.output;
  EXPECT_THAT(result.output, HasSubstr("safetensors"));
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "runs")) {
    EXPECT_THAT(entry.path().string(), Not(HasSubstr(".partial")));
    EXPECT_THAT(entry.path().string(), Not(HasSubstr(".tmp-")));
  }
}

}  // namespace
}  // namespace moe
