// SPDX-License-Identifier: MIT
// The items of the common evaluations as questions to a language model: a context, and continuations whose
// likelihoods are compared. Two conventions, whose scores are not comparable:
//   lm_eval  lm-evaluation-harness: prompts with words around them, HellaSwag's texts cleaned; acc_norm by
//   characters
//   llm_c    llm.c and build-nanogpt, HellaSwag only: raw text, context and ending tokenised apart; by tokens
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace moe::tasks {

enum class Task : uint8_t { hellaswag, lambada, arc_easy, piqa };
enum class Convention : uint8_t { lm_eval, llm_c };

std::string_view name_of(Task task);              // "hellaswag", "lambada", "arc_easy", "piqa"
std::string_view name_of(Convention convention);  // "lm_eval", "llm.c"
Task parse_task(const std::string& name);         // throws UserError
std::vector<Convention> conventions_of(Task task);
std::vector<std::string> fields_of(Task task);  // of an item, that are read

struct Question {
  std::string context;
  std::vector<std::string> continuations;  // as they follow the context, the space between included
  std::vector<int64_t> characters;         // of each, without that space: code points
  int64_t gold = 0;
};

// One line of JSON, as the data set's authors or the hub's copy have it. Throws UserError naming `where`.
Question parse_question(Task task, Convention convention, const std::string& where, std::string_view json);

// What the model reads: the tokens of context and continuation, of which the last `scored` count.
struct Request {
  std::vector<text::TokenId> ids;
  int64_t scored = 0;
};
// One for each continuation. A tokenizer that puts a space in front (TokenizerFacts) would put one inside,
// too: with it both conventions tokenise the whole, and cut it where the context's own tokens end.
std::vector<Request> requests_of(const Question& question, Convention convention,
                                 const text::TokenizerFacts& facts, text::Tokenizer::Encoder& encoder);

}  // namespace moe::tasks
