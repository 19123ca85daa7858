// SPDX-License-Identifier: MIT
// moe export --for llama.cpp, out and back. tools/check_gguf.py --for runs llama.cpp itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
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

// Blocks of zeros come with it and go again; what llama.cpp computes otherwise does not go out for it.
TEST_F(Cli, AnExportForLlamaCppComesBack) {
  ASSERT_EQ(train("data.source=text.txt").code, 0);
  const Result exported = moe("export runs/run out --for llama.cpp --verify");
  ASSERT_EQ(exported.code, 0) << exported.output;
  EXPECT_THAT(exported.output, AllOf(HasSubstr("largest difference 0,"), HasSubstr("by a second way"),
                                     HasSubstr("for llama.cpp: two blocks of zeros behind the last layer")));
  EXPECT_THAT(read_file(folder_ / "out/README.md"), HasSubstr("convert_hf_to_gguf.py"));
  ASSERT_EQ(moe("export runs/run plain").code, 0);
  EXPECT_THAT(read_file(folder_ / "plain/README.md"), Not(HasSubstr("convert_hf_to_gguf.py")));
  EXPECT_THAT(read_file(folder_ / "plain/config.json"), Not(HasSubstr("linear_attention")));

  const Result imported = moe("import out --output runs/again --verify");
  ASSERT_EQ(imported.code, 0) << imported.output;
  EXPECT_THAT(imported.output, Not(HasSubstr("warning")));
  const std::string weights = "checkpoints/step-00000003/model.safetensors";
  EXPECT_EQ(read_file(folder_ / "runs/run" / weights), read_file(folder_ / "runs/again" / weights));
  ASSERT_EQ(moe("export runs/again with --for llama.cpp").code, 0);
  ASSERT_EQ(moe("export runs/again without").code, 0);
  for (const char* file : {"config.json", "model.safetensors"}) {
    EXPECT_EQ(read_file(folder_ / "with" / file), read_file(folder_ / "out" / file)) << file;
    EXPECT_EQ(read_file(folder_ / "without" / file), read_file(folder_ / "plain" / file)) << file;
  }

  complains(moe("export runs/run other --for llama.cpp model.renormalize_top_k=false"),
            AllOf(HasSubstr("model.renormalize_top_k"), HasSubstr("says nothing")));
  EXPECT_FALSE(fs::exists(folder_ / "other"));
  EXPECT_THAT(moe("export runs/run other --for vllm").output, HasSubstr("--for"));
  ASSERT_EQ(train("data.source=text.txt model.attention_gate=false training.run_name=other").code, 0);
  const Result ungated = moe("export runs/other ungated --family qwen3_moe --for llama.cpp --verify");
  ASSERT_EQ(ungated.code, 0) << ungated.output;
  EXPECT_THAT(ungated.output, HasSubstr("for llama.cpp: qwen3_moe needs nothing more"));
  ASSERT_EQ(moe("export runs/other same --family qwen3_moe").code, 0);
  EXPECT_EQ(read_file(folder_ / "ungated/model.safetensors"), read_file(folder_ / "same/model.safetensors"));
  EXPECT_EQ(read_file(folder_ / "ungated/config.json"), read_file(folder_ / "same/config.json"));
}

// The converter tells a tokenizer by its ids, and knows none that was learnt here.
TEST_F(Cli, AnExportForLlamaCppSaysWhatAnUnknownTokenizerNeeds) {
  ASSERT_EQ(moe("tokenizer train text.txt --vocab 300 --output mine").code, 0);
  ASSERT_EQ(train("data.source=text.txt data.tokenizer=mine model.vocab_size=384").code, 0);
  const Result exported = moe("export runs/run out --for llama.cpp");
  ASSERT_EQ(exported.code, 0) << exported.output;
  EXPECT_THAT(exported.output,
              AllOf(HasSubstr("warning"), HasSubstr("BPE pre-tokenizer was not recognized")));
  EXPECT_THAT(read_file(folder_ / "out/README.md"),
              HasSubstr("get_vocab_base_pre = lambda self, tokenizer: \"gpt-2\""));
}

}  // namespace
}  // namespace moe
