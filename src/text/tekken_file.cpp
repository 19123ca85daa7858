// SPDX-License-Identifier: MIT
#include "text/tekken_file.h"

#include <fmt/core.h>

#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "text/model_builder.h"
#include "text/tiktoken_file.h"

namespace moe::text {
namespace {

constexpr const char* kHint = "docs/tokenizers.md says what is read";
constexpr const char* kSpecialCount = "default_num_special_tokens";
constexpr int64_t kMostSpecial = 65'536;  // each has a name, which a short file need not say

// Of files that do not list theirs, as mistral-common has them.
constexpr std::string_view kFirstSpecial[] = {"<unk>",
                                              "<s>",
                                              "</s>",
                                              "[INST]",
                                              "[/INST]",
                                              "[AVAILABLE_TOOLS]",
                                              "[/AVAILABLE_TOOLS]",
                                              "[TOOL_RESULTS]",
                                              "[/TOOL_RESULTS]",
                                              "[TOOL_CALLS]",
                                              "[IMG]",
                                              "<pad>",
                                              "[IMG_BREAK]",
                                              "[IMG_END]",
                                              "[PREFIX]",
                                              "[MIDDLE]",
                                              "[SUFFIX]",
                                              "[SYSTEM_PROMPT]",
                                              "[/SYSTEM_PROMPT]",
                                              "[TOOL_CONTENT]"};

struct Token {
  int64_t rank;
  std::string bytes;
};

// Adds what an element of the list "vocab" says. Its third field, the bytes as text, is not read.
void read_token(const std::string& where, size_t index, const Json& element, std::vector<Token>& tokens) {
  const JsonFields token(fmt::format("{}: vocab[{}]", where, index), element, kHint);
  const int64_t rank = token.whole("rank", 0, BytePairModel::kMostIds);
  std::optional<std::string> bytes = decode_base64(token.text("token_bytes"));
  if (!bytes) token.refuse("token_bytes", "base64", quote(token.at("token_bytes")));
  tokens.push_back({rank, std::move(*bytes)});
}

// By id. What the file does not name is <SPECIAL_id>.
std::vector<std::string> special_names(const JsonFields& file) {
  const int64_t count = file.inside("config").whole(kSpecialCount, 3, kMostSpecial);
  std::vector<std::string> names(static_cast<size_t>(count));
  if (file.has("special_tokens")) {
    for (const Json& one : file.list("special_tokens")) {
      const JsonFields token(file.where() + ": special_tokens", one, kHint);
      const int64_t id = token.whole("rank", 0, count - 1);
      std::string& name = names[static_cast<size_t>(id)];
      if (!name.empty()) token.refuse("rank", "each once", std::to_string(id));
      name = token.text("token_str");
    }
  } else {
    for (size_t id = 0; id < std::min(names.size(), std::size(kFirstSpecial)); ++id) {
      names[id] = kFirstSpecial[id];
    }
  }
  std::set<std::string> seen;
  for (size_t id = 0; id < names.size(); ++id) {
    if (names[id].empty()) names[id] = fmt::format("<SPECIAL_{}>", id);
    if (!seen.insert(names[id]).second) {
      file.refuse("special_tokens", "each name once", quote(Json(names[id])));
    }
  }
  return names;
}

void add_ranks(const JsonFields& file, const std::vector<Token>& tokens, int64_t special, int64_t ranks,
               ModelBuilder& builder) {
  int64_t taken = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].rank >= ranks) continue;
    builder.add_token(fmt::format("{}: vocab[{}]", file.where(), i), special + tokens[i].rank,
                      tokens[i].bytes);
    ++taken;
  }
  if (taken != ranks) {
    file.refuse("vocab", fmt::format("each rank below {}", ranks), fmt::format("{} of them", taken));
  }
}

}  // namespace

bool is_tekken(std::string_view text) {
  return text.find(fmt::format("\"{}\"", kSpecialCount)) != std::string_view::npos;
}

BytePairModel read_tekken(const std::string& where, std::string_view text) {
  std::vector<Token> tokens;
  const auto take = [&](size_t index, const Json& element) { read_token(where, index, element, tokens); };
  // Held whole, the parsed list of a file of 19 MB takes 150.
  const Json json = parse_json_list(where, text, "vocab", take, kHint);
  const JsonFields file(where, json, kHint);
  file.list("vocab");
  const std::vector<std::string> names = special_names(file);
  const JsonFields config = file.inside("config");
  const std::vector<std::string> regexes{config.text("pattern")};
  const std::optional<SplitPattern> pattern = find_pattern(regexes);
  if (!pattern) config.refuse("pattern", "a pattern that is known here", quote(config.at("pattern")));
  const auto special = std::ssize(names);
  const int64_t ids = config.whole("default_vocab_size", special + 256, BytePairModel::kMostIds);
  ModelBuilder builder(where);
  BytePairModel& model = builder.model();
  for (int64_t id = 0; id < special; ++id) {
    builder.add_other(where, id, "");
    const std::string& name = names[static_cast<size_t>(id)];
    model.added.push_back({static_cast<TokenId>(id), name, false});
    if (name == "<pad>") model.padding = static_cast<TokenId>(id);
    if (name != "</s>") continue;
    model.end_of_text = static_cast<TokenId>(id);
    model.end_of_text_name = name;
  }
  if (model.end_of_text_name.empty()) file.refuse("special_tokens", "</s>, which ends a text", "none");
  add_ranks(file, tokens, special, ids - special, builder);
  model.pattern = *pattern;
  builder.find_bytes();
  find_merges(where, model);
  return std::move(model);
}

}  // namespace moe::text
