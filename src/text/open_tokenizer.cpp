// SPDX-License-Identifier: MIT
#include "text/open_tokenizer.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/choices.h"
#include "base/error.h"
#include "base/file.h"
#include "base/input.h"
#include "base/nearest.h"
#include "base/parse_number.h"
#include "text/gpt2_prefix.h"
#include "text/gpt2_tokenizer.h"
#include "text/load_tokenizer.h"
#include "text/sentencepiece_file.h"
#include "text/split_pattern.h"

namespace moe::text {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSetting = "data.tokenizer";
constexpr const char* kExpected =
    "gpt2, gpt2:N, a tokenizer.json or tokenizer.model or a folder with one, or RANKS#PATTERN";
constexpr const char* kConvert =
    "transformers writes it: AutoTokenizer.from_pretrained(...).save_pretrained(...)";

constexpr std::string_view kPrefix = "gpt2:";

bool is_built_in(const std::string& name) {
  return name == kBuiltInTokenizer || name.starts_with(kPrefix);
}

std::shared_ptr<const Tokenizer> open_prefix(const std::string& name) {
  const auto ids = parse_number<TokenId>(std::string_view(name).substr(kPrefix.size()));
  if (!ids || *ids < kLeastGpt2Prefix || *ids > Gpt2Tokenizer::kVocabulary) {
    throw UserError(kSetting,
                    fmt::format("gpt2:N, with N ids: {} to {}", kLeastGpt2Prefix, Gpt2Tokenizer::kVocabulary),
                    fmt::format("\"{}\"", name), "gpt2:8192 suits models of some million parameters");
  }
  return gpt2_prefix(*ids);
}

// PATH, PATTERN, ID; what is not there is empty. A '#' before the last '/' is part of the path.
struct Parts {
  std::string path;
  std::optional<std::string> pattern, end_of_text;
};

Parts parts_of(const std::string& name) {
  const size_t slash = name.rfind('/');
  const size_t sign = name.find('#', slash == std::string::npos ? 0 : slash);
  Parts parts{.path = name.substr(0, sign), .pattern = {}, .end_of_text = {}};
  if (sign == std::string::npos) return parts;
  const size_t second = name.find('#', sign + 1);
  parts.pattern = name.substr(sign + 1, second == std::string::npos ? second : second - sign - 1);
  if (second != std::string::npos) parts.end_of_text = name.substr(second + 1);
  return parts;
}

std::string patterns() {
  return fmt::format("{}", fmt::join(names_of<SplitPattern>(), ", "));
}

[[noreturn]] void refuse_missing(const std::string& path) {
  const std::string last = fs::path(path).filename().string();
  const std::vector<std::string> ranks{"cl100k_base", "o200k_base", "p50k_base", "r50k_base",
                                       "cl100k",      "o200k",      "p50k",      "r50k"};
  std::string hint = "a path begins in the folder that the program is started in";
  if (!nearest_name(last, {"gpt2", "gpt-2", "GPT2", "GPT-2"}).empty()) {
    hint = "did you mean gpt2?";
  } else if (!nearest_name(last, ranks).empty()) {
    hint = "tiktoken's are files: PATH#PATTERN, as o200k_base.tiktoken#o200k";
  } else if (path.find("://") != std::string::npos) {
    hint = "fetch the file first, and name it where it lies";
  }
  throw UserError(kSetting, kExpected, fmt::format("\"{}\", where there is no file", path), hint);
}

std::shared_ptr<const Tokenizer> open_file(const std::string& path) {
  std::error_code ignored;
  const fs::path file = tokenizer_file(path);
  if (!fs::exists(file, ignored)) {
    throw UserError(kSetting, "a folder with tokenizer.json, tekken.json or tokenizer.model",
                    fmt::format("{} without one", path), kConvert);
  }
  const std::string head = FileInput(file).read(0, 64);
  const size_t first = head.find_first_not_of(" \t\r\n");
  // Llama 3's tokenizer.model has ranks. SentencePiece's begins with the tag of a piece: a line feed.
  const bool pieces = is_sentencepiece_name(file.filename().string());
  if (pieces && first != 0) return load_tokenizer(file);
  if (first != std::string::npos && head[first] != '{') {
    throw UserError(kSetting, kExpected,
                    fmt::format("{}, which is {}", path, pieces ? "no SentencePiece" : "no JSON"),
                    "a file of ranks needs its pattern: PATH#PATTERN, of " + patterns());
  }
  return load_tokenizer(file);
}

std::shared_ptr<const Tokenizer> open_ranks(const Parts& parts) {
  const auto pattern = value_named<SplitPattern>(*parts.pattern);
  if (!pattern) {
    const std::string near = nearest_name(*parts.pattern, names_of<SplitPattern>());
    throw UserError(kSetting, "PATH#PATTERN, with a pattern of " + patterns(),
                    fmt::format("\"{}\"", *parts.pattern),
                    near.empty() ? "docs/tokenizers.md says whose they are" : "did you mean " + near + "?");
  }
  TokenId end = -1;
  if (parts.end_of_text) {
    const auto number = parse_number<TokenId>(*parts.end_of_text);
    if (!number || *number < 0) {
      throw UserError(kSetting, "PATH#PATTERN#ID, with the id of the end of a text",
                      fmt::format("\"{}\"", *parts.end_of_text));
    }
    end = *number;
  }
  std::error_code ignored;
  if (fs::is_directory(parts.path, ignored)) {
    throw UserError(kSetting, "PATH#PATTERN, with a file of ranks", parts.path + ", a folder",
                    "a folder with tokenizer.json needs no pattern");
  }
  return load_tiktoken(parts.path, *pattern, end);
}

}  // namespace

std::string tokenizer_path(const std::string& name) {
  return is_built_in(name) ? "" : parts_of(name).path;
}

std::string with_tokenizer_path(const std::string& name, const std::string& path) {
  return path + name.substr(tokenizer_path(name).size());
}

std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name) {
  if (name == kBuiltInTokenizer) return std::make_shared<const Gpt2Tokenizer>();
  if (is_built_in(name)) return open_prefix(name);
  const Parts parts = parts_of(name);
  std::error_code ignored;
  if (parts.path.empty()) throw UserError(kSetting, kExpected, fmt::format("\"{}\"", name));
  if (!fs::exists(parts.path, ignored)) refuse_missing(parts.path);
  try {
    return parts.pattern ? open_ranks(parts) : open_file(parts.path);
  } catch (const UserError& error) {
    if (error.where == kSetting) throw;
    throw UserError(fmt::format("{}: {}", kSetting, error.where), error.expected, error.found, error.hint);
  }
}

// By name: a copy may mean another tokenizer.
struct TokenizerChoice::Opened {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const Tokenizer>> by_name;
};

TokenizerChoice::TokenizerChoice() : opened_(std::make_shared<Opened>()) {}

TokenizerFacts TokenizerChoice::facts() const {
  return name == kBuiltInTokenizer ? Gpt2Tokenizer::kFacts : open()->facts();
}

std::shared_ptr<const Tokenizer> TokenizerChoice::open() const {
  const std::lock_guard lock(opened_->mutex);
  std::shared_ptr<const Tokenizer>& tokenizer = opened_->by_name[name];
  if (!tokenizer) tokenizer = open_tokenizer(name);
  return tokenizer;
}

void TokenizerChoice::use(std::shared_ptr<const Tokenizer> tokenizer) {
  opened_ = std::make_shared<Opened>();  // copies keep theirs
  opened_->by_name[name] = std::move(tokenizer);
}

}  // namespace moe::text
