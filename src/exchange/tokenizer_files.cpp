// SPDX-License-Identifier: MIT
#include "exchange/tokenizer_files.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace moe {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr const char* kEndOfText = "<|endoftext|>";
constexpr const char* kOther = "moe knows GPT-2's vocabulary only: the model cannot be used with it";

// GPT-2's printable alphabet: a byte that is a printable character of Latin-1 stands for itself, the others for
// U+0100 and up; in this order, that of the ids.
std::vector<std::string> alphabet() {
  const auto utf8 = [](uint32_t code) {
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    return std::string{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
  };
  std::vector<std::string> characters;
  const auto range = [&](uint32_t first, uint32_t last) {
    for (uint32_t code = first; code <= last; ++code) characters.push_back(utf8(code));
  };
  range('!', '~');
  range(0xA1, 0xAC);
  range(0xAE, 0xFF);
  range(0x100, 0x143);  // the 68 bytes that are left
  return characters;
}

std::vector<std::string> tokens(std::string_view merges) {
  std::vector<std::string> list = alphabet();
  size_t at = merges.find('\n') + 1;  // past the version
  while (at < merges.size()) {
    const size_t end = std::min(merges.find('\n', at), merges.size());
    std::string line(merges.substr(at, end - at));
    at = end + 1;
    if (line.empty()) continue;
    line.erase(line.find(' '), 1);  // what two tokens merge to is their characters, one after the other
    list.push_back(std::move(line));
  }
  list.emplace_back(kEndOfText);
  return list;
}

Json parse(const fs::path& path) {
  try {
    return Json::parse(read_file(path));
  } catch (const Json::exception& error) {
    throw UserError(path.string(), "a JSON file", error.what());
  }
}

void compare(const std::string& where, const Json& vocabulary, std::string_view merges) {
  const auto expected = tokens(merges);
  if (!vocabulary.is_object() || vocabulary.size() + 1 < expected.size() ||
      vocabulary.size() > expected.size())
    throw UserError(where, fmt::format("the {} tokens of GPT-2", expected.size()),
                    fmt::format("{}", vocabulary.is_object() ? vocabulary.size() : 0), kOther);
  size_t id = 0;
  for (const std::string& token : expected) {
    const auto found = vocabulary.find(token);
    // tokenizer.json may keep the special token apart.
    const bool apart = found == vocabulary.end() && token == kEndOfText;
    if (!apart && (found == vocabulary.end() || *found != id))
      throw UserError(where, fmt::format("token {} to be {}", id, Json(token).dump()),
                      found == vocabulary.end() ? "no such token" : "number " + found->dump(), kOther);
    ++id;
  }
}

}  // namespace

std::string vocabulary_json(std::string_view merges) {
  std::string text = "{";
  size_t id = 0;
  for (const std::string& token : tokens(merges))
    text += fmt::format("{}{}: {}", id == 0 ? "" : ", ", Json(token).dump(-1, ' ', true), id), ++id;
  return text + "}";
}

std::string tokenizer_config_json(int64_t max_length) {
  const Json json{{"tokenizer_class", "GPT2Tokenizer"},
                  {"add_prefix_space", false},
                  {"bos_token", kEndOfText},
                  {"eos_token", kEndOfText},
                  {"unk_token", kEndOfText},
                  {"pad_token", kEndOfText},
                  {"clean_up_tokenization_spaces", false},
                  {"model_max_length", max_length}};
  return json.dump(2) + "\n";
}

void check_vocabulary(const fs::path& folder, std::string_view merges) {
  if (const fs::path vocabulary = folder / "vocab.json"; fs::exists(vocabulary)) {
    compare(vocabulary.string(), parse(vocabulary), merges);
  } else if (const fs::path whole = folder / "tokenizer.json"; fs::exists(whole)) {
    const Json json = parse(whole);
    const bool is_bpe = json.is_object() && json.contains("model") && json["model"].is_object() &&
                        json["model"].contains("vocab");
    if (!is_bpe) throw UserError(whole.string(), "a model with a vocab", "none", kOther);
    compare(whole.string() + ": model.vocab", json["model"]["vocab"], merges);
  }
}

}  // namespace moe
