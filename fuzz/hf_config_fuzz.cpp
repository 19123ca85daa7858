// SPDX-License-Identifier: MIT
// Any bytes as the config.json and the shard index of an exported model, and as an item of an evaluation: a UserError,
// or settings that are legal.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "exchange/hf_config.h"
#include "exchange/hf_weights.h"
#include "tasks/question.h"

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
    const ModelConfig config = read_hf_config("fuzz", text);
    config.validate();
  });
  attempt([&] {
    for (const auto& [name, file] : read_shard_index("fuzz", text))
      CHECK(file.find('/') == std::string::npos);
  });
  for (const Task task : {Task::hellaswag, Task::lambada, Task::arc_easy, Task::piqa})
    for (const Convention convention : conventions_of(task))
      attempt([&] {
        const Question question = parse_question(task, convention, "fuzz", text);
        CHECK(!question.continuations.empty());
        CHECK(question.gold >= 0 && question.gold < std::ssize(question.continuations));
      });
  return 0;
}
