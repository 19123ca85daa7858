// SPDX-License-Identifier: MIT
// moe plan of a model of others: what its settings say, before there are weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "support/cli.h"

namespace moe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// The published settings of Qwen3-30B-A3B; tests/interop/families_test.cpp has more.
constexpr const char* kQwen = R"({"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false,
  "decoder_sparse_step": 1, "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048,
  "intermediate_size": 6144, "max_position_embeddings": 40960, "mlp_only_layers": [],
  "model_type": "qwen3_moe", "moe_intermediate_size": 768, "norm_topk_prob": true, "num_attention_heads": 32,
  "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4,
  "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000.0, "tie_word_embeddings": false,
  "torch_dtype": "bfloat16", "vocab_size": 151936})";

class PlanModel : public Cli {};

TEST_F(PlanModel, SaysWhatTheModelCosts) {
  put("config.json", kQwen);
  const CommandResult plan = moe("plan config.json --gpus 8 --gpu h200 training.mixed_precision=bf16");
  ASSERT_EQ(plan.code, 0) << plan.output;
  EXPECT_THAT(plan.output, AllOf(HasSubstr("qwen3_moe (Qwen3MoeForCausalLM)"), HasSubstr("30532122624 total"),
                                 HasSubstr("3353032704 active"), HasSubstr("in bfloat16"),
                                 HasSubstr("rows           of 4096 tokens, of the 40960"),
                                 HasSubstr("151936 ids, as config.json says"), HasSubstr("128 experts")));
  EXPECT_THAT(plan.output,
              AllOf(HasSubstr("does not fit on h200"), HasSubstr("one after the other"),
                    HasSubstr("dropless"), HasSubstr("training.recompute=full"), HasSubstr("<- fits")));

  const CommandResult set = moe("plan config.json model.max_seq_len=128 training.batch_size=4");
  ASSERT_EQ(set.code, 0) << set.output;
  EXPECT_THAT(set.output,
              AllOf(HasSubstr("512 tokens (1 micro-batch of 4 x 128)"), Not(HasSubstr("rows  "))));
  complains(moe("plan config.json --config config.yaml"), HasSubstr("found several"));
}

// What is advised is what fits.
TEST_F(PlanModel, TheAdviceFits) {
  put("config.json", kQwen);
  const CommandResult plan = moe("plan config.json --gpu h200 model.n_layers=24 training.batch_size=8");
  ASSERT_EQ(plan.code, 0) << plan.output;
  std::string words;
  const size_t from = plan.output.find("with           one after the other");
  ASSERT_NE(from, std::string::npos) << plan.output;
  std::istringstream lines(plan.output.substr(from));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line) && line.find("ranks") == std::string::npos)
    words += " " + line.substr(14, line.find("   <-") - 14);
  EXPECT_THAT(words, AllOf(HasSubstr("training.batch_size=1"), HasSubstr("training.recompute=full")));
  const CommandResult again = moe("plan config.json --gpu h200 model.n_layers=24" + words);
  ASSERT_EQ(again.code, 0) << again.output;
  EXPECT_THAT(again.output, HasSubstr("fits on h200")) << words;
}

TEST_F(PlanModel, AFolderSaysItsFilesAndTheRestIsRefusedByName) {
  ASSERT_EQ(train("data.source=text.txt training.max_steps=0 training.warmup_steps=0").code, 0);
  ASSERT_EQ(moe("export runs/run out --without-run --shard-gb 0.004").code, 0);
  const CommandResult plan = moe("plan out");
  ASSERT_EQ(plan.code, 0) << plan.output;
  EXPECT_THAT(plan.output,
              AllOf(HasSubstr("files          2 with the weights, 6."), HasSubstr("fits on this machine")));
  put("config.json", R"({"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"]})");
  complains(moe("plan config.json"), HasSubstr("multi-head latent attention"));
  complains(moe("plan nowhere"), AllOf(HasSubstr("nowhere"), HasSubstr("hf://USER/NAME")));
}

}  // namespace
}  // namespace moe
