// SPDX-License-Identifier: MIT
#include "text/write_tokenizer_json.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "text/byte_alphabet.h"

namespace moe::text {
namespace {

// Bytes as characters of the alphabet.
class Spelling {
 public:
  std::string of(std::string_view bytes) const {
    std::string text;
    for (const char byte : bytes) text += of_byte_[static_cast<unsigned char>(byte)];
    return text;
  }

 private:
  static std::vector<std::string> by_byte() {
    std::vector<std::string> list(256);
    for (ByteCharacter& one : byte_characters()) list[one.byte] = std::move(one.character);
    return list;
  }

  const std::vector<std::string> of_byte_ = by_byte();
};

OrderedJson byte_level() {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
}

OrderedJson pre_tokenizer(SplitPattern pattern) {
  OrderedJson parts = OrderedJson::array();
  for (const std::string& regex : regexes_of(pattern)) {
    parts.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  parts.push_back(byte_level());
  return {{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
}

// Markers are in the vocabulary too: `tokenizers` gives those that are not there ids of its own.
std::vector<std::pair<TokenId, std::string>> vocabulary(const BytePairModel& model,
                                                        const Spelling& spelling) {
  std::vector<std::pair<TokenId, std::string>> list;
  for (size_t id = 0; id < model.tokens.size(); ++id) {
    if (!model.tokens[id].empty()) list.emplace_back(id, spelling.of(model.tokens[id]));
  }
  for (const AddedToken& token : model.added) list.emplace_back(token.id, token.content);
  std::sort(list.begin(), list.end());
  return list;
}

// Written piece by piece: an object that keeps its order would look through all names for each new one.
std::string vocabulary_json(const BytePairModel& model, const Spelling& spelling) {
  std::string text = "{";
  for (const auto& [id, name] : vocabulary(model, spelling)) {
    text += (text.size() > 1 ? ", " : "") + Json(name).dump() + ": " + std::to_string(id);
  }
  return text + "}";
}

std::string merges_json(const BytePairModel& model, const Spelling& spelling) {
  Json merges = Json::array();
  const auto spelled = [&](TokenId id) { return spelling.of(model.tokens[static_cast<size_t>(id)]); };
  for (const PairMerge& merge : model.merges.merges()) {
    merges.push_back(spelled(merge.left) + ' ' + spelled(merge.right));
  }
  return merges.dump();
}

OrderedJson added_tokens(const BytePairModel& model) {
  OrderedJson list = OrderedJson::array();
  for (const AddedToken& token : model.added) {
    list.push_back({{"id", token.id},
                    {"content", token.content},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", true}});
  }
  return list;
}

}  // namespace

std::string write_tokenizer_json(const BytePairModel& model) {
  CHECK(!model.normalizer && !model.steps && !model.characters && model.white.empty(),
        "a part that is not written");
  const Spelling spelling;
  const OrderedJson file{{"version", "1.0"},          {"truncation", nullptr},
                         {"padding", nullptr},        {"added_tokens", added_tokens(model)},
                         {"normalizer", nullptr},     {"pre_tokenizer", pre_tokenizer(model.pattern)},
                         {"post_processor", nullptr}, {"decoder", byte_level()}};
  const OrderedJson bpe{{"type", "BPE"},
                        {"dropout", nullptr},
                        {"unk_token", nullptr},
                        {"continuing_subword_prefix", nullptr},
                        {"end_of_word_suffix", nullptr},
                        {"fuse_unk", false},
                        {"byte_fallback", false},
                        {"ignore_merges", model.whole_first}};
  std::string text = file.dump(), inner = bpe.dump();
  text.pop_back();  // the closing brace
  inner.pop_back();
  return text + ",\"model\":" + inner + ",\"vocab\":" + vocabulary_json(model, spelling) +
         ",\"merges\":" + merges_json(model, spelling) + "}}\n";
}

}  // namespace moe::text
