// SPDX-License-Identifier: MIT
// Any bytes as each JSON file of an exported model that import reads (config.json, the shard index, the
// vocabulary's files, moe_state.json), and as an item of an evaluation: a UserError, or what is legal.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "interop/chat_files.h"
#include "interop/generation_settings.h"
#include "interop/hf_config.h"
#include "interop/hf_weights.h"
#include "interop/imported_model.h"
#include "interop/tokenizer_files.h"
#include "tasks/question.h"
#include "train/resume.h"

namespace {

template <class Body>
void attempt(Body&& body) {
  try {
    body();
  } catch (const moe::UserError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace moe;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  attempt([&] {
    const model::ModelConfig config = interop::read_hf_config("fuzz", text);
    config.validate();
    for (const double frequency : model::rope_frequencies(config.rope()))
      CHECK(std::isfinite(frequency) && frequency >= 0);
    CHECK(std::isfinite(model::rope_scale(config.rope())));
  });
  attempt([&] {
    const interop::HfModel model = interop::read_hf_model("fuzz", text);
    CHECK(interop::config_like("fuzz", std::string(text), model.config, *model.family, {}, {}) == text);
  });
  attempt([&] {
    for (const auto& [name, file] : interop::read_shard_index("fuzz", text))
      CHECK(file.find('/') == std::string::npos);
  });
  constexpr std::string_view kMerges = "#version: 0.2\nt h\nth e\n";  // 259 tokens: GPT-2's would be slow
  attempt([&] { interop::check_vocab_json("fuzz", text, kMerges); });
  attempt([&] { interop::check_tokenizer_json("fuzz", text, kMerges); });
  attempt([&] { interop::check_added_tokens_json("fuzz", text, kMerges); });
  attempt([&] {
    const std::string ends = interop::with_ends("fuzz", std::string(text), {3, 1});
    CHECK(interop::with_ends("fuzz", ends, {1, 3}) == ends);
  });
  attempt([&] {
    const std::string more = interop::with_added_tokens("fuzz", text, 7, {"<|a|>"});
    CHECK(interop::with_added_tokens("fuzz", more, 7, {"<|a|>"}) == more);
  });
  attempt([&] { CHECK(train::read_state("fuzz", text).step >= 0); });
  for (const tasks::Task task :
       {tasks::Task::hellaswag, tasks::Task::lambada, tasks::Task::arc_easy, tasks::Task::piqa})
    for (const tasks::Convention convention : tasks::conventions_of(task))
      attempt([&] {
        const tasks::Question question = tasks::parse_question(task, convention, "fuzz", text);
        CHECK(!question.continuations.empty());
        CHECK(question.gold >= 0 && question.gold < std::ssize(question.continuations));
      });
  return 0;
}
