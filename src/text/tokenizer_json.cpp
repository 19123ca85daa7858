// SPDX-License-Identifier: MIT
// The parts of the file in the order in which text passes them: added_tokens, normalizer, pre_tokenizer,
// model. Of post_processor and decoder only the kind matters.
#include "text/tokenizer_json.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "text/byte_alphabet.h"
#include "text/model_builder.h"
#include "text/piece_name.h"
#include "text/split_steps.h"

namespace moe::text {
namespace {

constexpr const char* kHint = "docs/tokenizers.md says what is read";

struct Added {
  std::string content;
  bool special;  // text never becomes it
  bool left = false, right = false, single_word = false;
};
using AddedTokens = std::map<TokenId, Added>;

[[noreturn]] void refuse_type(const JsonFields& json, const std::string& expected) {
  json.refuse("type", expected, quote(json.at("type")));
}

std::string numbered(const JsonFields& json, const char* list, size_t i) {
  return fmt::format("{}: {}[{}]", json.where(), list, i);
}

// Calls visit(part) for a part that is not null; a Sequence's parts one by one.
template <class Visit>
void for_each_part(const JsonFields& json, const char* list, const Visit& visit) {
  if (json.text("type") != "Sequence") return visit(json);
  const Json& parts = json.list(list);
  for (size_t i = 0; i < parts.size(); ++i) {
    for_each_part(JsonFields(numbered(json, list, i), parts[i], kHint), list, visit);
  }
}

NormalStep read_normal_step(const JsonFields& part) {
  const std::string type = part.text("type");
  if (const auto form = value_named<UnicodeForm>(type)) return *form;
  if (type == "Lowercase") return Lowercase{};
  if (type == "Strip") return Strip{.left = part.flag("strip_left"), .right = part.flag("strip_right")};
  if (type == "StripAccents") return StripAccents{};
  if (type == "Prepend") return Prepend{part.text("prepend")};
  if (type == "Replace") {
    const JsonFields pattern = part.inside("pattern");
    const bool regex = pattern.has("Regex");
    return Replace{
        .regex = regex, .pattern = pattern.text(regex ? "Regex" : "String"), .content = part.text("content")};
  }
  refuse_type(part, fmt::format("{}, Lowercase, Strip, StripAccents, Replace or Prepend",
                                fmt::join(names_of<UnicodeForm>(), ", ")));
}

// Null where text stays as it is.
std::shared_ptr<const Normalizer> read_normalizer(const JsonFields& file) {
  if (!file.has("normalizer")) return nullptr;
  std::vector<NormalStep> steps;
  for_each_part(file.inside("normalizer"), "normalizers",
                [&](const JsonFields& part) { steps.push_back(read_normal_step(part)); });
  if (steps.empty()) return nullptr;
  return std::make_shared<const Normalizer>(file.where() + ": normalizer", std::move(steps));
}

// What cuts text, and whether what no step matches is dropped.
struct Splits {
  std::vector<SplitStep> steps;
  bool drops_rest = false;
};

void read_split(const JsonFields& part, Splits& splits) {
  const JsonFields pattern = part.inside("pattern");
  const std::string name = part.text("behavior");
  const bool invert = part.has("invert") && part.flag("invert");
  const bool regex = pattern.has("Regex"), drops = name == "Removed" && invert;
  const auto behavior = drops ? SplitBehavior::isolated : value_named<SplitBehavior>(name);
  if (!behavior) {
    part.refuse("behavior",
                fmt::format("{}, or Removed with invert", fmt::join(names_of<SplitBehavior>(), ", ")), name);
  }
  splits.drops_rest |= drops;
  splits.steps.push_back({.by = regex ? SplitStep::By::regex : SplitStep::By::text,
                          .pattern = pattern.text(regex ? "Regex" : "String"),
                          .behavior = *behavior,
                          .invert = invert && !drops});
}

SplitStep read_digits(const JsonFields& part) {
  return {.by = SplitStep::By::number,
          .behavior = part.flag("individual_digits") ? SplitBehavior::isolated : SplitBehavior::contiguous};
}

// Nothing of what ByteLevel asks for but its own pattern changes ids.
void read_byte_level(const JsonFields& part, Splits& splits) {
  if (part.flag("add_prefix_space")) part.refuse("add_prefix_space", "false", "true");
  if (!part.has("use_regex") || part.flag("use_regex")) {
    splits.steps.push_back({.pattern = std::string(kGpt2Regex)});
  }
}

std::optional<SplitPattern> known_pattern(const std::vector<SplitStep>& steps) {
  std::vector<std::string> regexes;
  for (const SplitStep& step : steps) {
    const bool numbers = step.by == SplitStep::By::number;
    const bool plain = step.behavior == SplitBehavior::isolated && !step.invert;
    if (step.by == SplitStep::By::text || !plain) return std::nullopt;
    regexes.push_back(numbers ? R"(\p{N})" : step.pattern);
  }
  return find_pattern(regexes);
}

void read_splits(const JsonFields& file, BytePairModel& model) {
  Splits splits;
  bool byte_level = false;
  for_each_part(file.inside("pre_tokenizer"), "pretokenizers", [&](const JsonFields& part) {
    const std::string type = part.text("type");
    if (byte_level) refuse_type(part, "nothing behind ByteLevel");
    if (type == "Split") {
      read_split(part, splits);
    } else if (type == "Digits") {
      splits.steps.push_back(read_digits(part));
    } else if (type == "ByteLevel") {
      byte_level = true;
      read_byte_level(part, splits);
    } else {
      refuse_type(part, "Split, Digits or ByteLevel");
    }
  });
  if (!byte_level) file.refuse("pre_tokenizer", "ByteLevel as its last part", "none");
  const std::optional<SplitPattern> pattern = known_pattern(splits.steps);
  // What each of the known ones but DeepSeek's leaves unmatched is nothing.
  if (splits.drops_rest && (!pattern || *pattern == SplitPattern::deepseek3)) {
    file.refuse("pre_tokenizer", "Removed with invert only where a known pattern matches all of a text",
                "another pattern");
  }
  if (pattern) {
    model.pattern = *pattern;
  } else {
    model.steps =
        std::make_shared<const SplitSteps>(file.where() + ": pre_tokenizer", std::move(splits.steps));
  }
}

void expect_space(const JsonFields& part, const char* name, const std::string& found,
                  std::string_view wanted) {
  if (found != wanted) part.refuse(name, quote(Json(wanted)), quote(Json(found)));
}

// Of byte_fallback: spaces become U+2581, and one may come in front.
CharacterRules read_character_rules(const JsonFields& file) {
  using Space = CharacterRules::SpaceInFront;
  CharacterRules rules;
  bool replaces = false, doubles = false;  // doubles: a space that is there gets another one
  if (file.has("normalizer")) {
    for_each_part(file.inside("normalizer"), "normalizers", [&](const JsonFields& part) {
      const std::string type = part.text("type");
      if (type == "Prepend") {
        expect_space(part, "prepend", part.text("prepend"), kSpaceSign);
        rules.space = Space::always;
      } else if (type == "Replace" && replaces && part.inside("pattern").has("Regex")) {
        expect_space(part, "pattern", part.inside("pattern").text("Regex"), "\\A\u2581");
        expect_space(part, "content", part.text("content"), "\u2581\u2581");
        doubles = true;
      } else if (type == "Replace") {
        expect_space(part, "pattern", part.inside("pattern").text("String"), " ");
        expect_space(part, "content", part.text("content"), kSpaceSign);
        replaces = true;
      } else {
        refuse_type(part, "Prepend or Replace, where byte_fallback is true");
      }
    });
  }
  const auto read_part = [&](const JsonFields& part) {
    const std::string type = part.text("type");
    if (type == "Metaspace" && rules.space == Space::none) {
      expect_space(part, "replacement", part.text("replacement"), kSpaceSign);
      if (!part.has("split") || part.flag("split")) part.refuse("split", "false", "true");
      const std::string scheme = part.text("prepend_scheme");
      if (scheme != "first" && scheme != "always" && scheme != "never")
        part.refuse("prepend_scheme", "first, always or never", scheme);
      if (scheme != "never") rules.space = doubles ? Space::always : Space::unless_there;
      replaces = true;
    } else if (type != "Split" || !replaces || !part.inside("pattern").has("String") ||
               part.inside("pattern").text("String") != " ") {  // of which there are none behind Replace
      refuse_type(part, "Metaspace, where byte_fallback is true");
    }
  };
  if (file.has("pre_tokenizer")) for_each_part(file.inside("pre_tokenizer"), "pretokenizers", read_part);
  if (doubles && rules.space != Space::always)
    file.refuse("normalizer", "a space in front of every text or of none", "of some");
  if (!replaces) file.refuse("normalizer", "Replace of spaces, where byte_fallback is true", "none");
  return rules;
}

// A token's text, where it is one.
std::optional<std::string> text_of_piece(std::string_view name) {
  if (byte_of_name(name) || name.empty() || name.find(' ') != std::string_view::npos) return std::nullopt;
  std::string text;
  append_with_spaces(text, name);
  return text;
}

using TextOf = std::optional<std::string> (*)(std::string_view name);

// Of these nothing is done: they are for the tokens around a text, and for the way back.
void check_rest(const JsonFields& file, bool characters, TokenEnds& ends) {
  if (file.has("post_processor")) {
    for_each_part(file.inside("post_processor"), "processors", [&](const JsonFields& part) {
      const std::string type = part.text("type");
      const auto flag = [&](const char* name) { return !part.has(name) || part.flag(name); };
      if (type == "ByteLevel")
        ends = {.spaces_count = !flag("trim_offsets"), .first_keeps_one = flag("add_prefix_space")};
      if (type != "ByteLevel" && type != "TemplateProcessing") {
        refuse_type(part, "ByteLevel or TemplateProcessing");
      }
    });
  }
  if (file.has("decoder")) {
    for_each_part(file.inside("decoder"), "decoders", [&](const JsonFields& part) {
      const std::string type = part.text("type");
      if (!characters && type != "ByteLevel") refuse_type(part, "ByteLevel");
      static const std::set<std::string> kOfCharacters = {"Replace", "ByteFallback", "Fuse", "Strip",
                                                          "Metaspace"};
      if (characters && !kOfCharacters.contains(type))
        refuse_type(part, fmt::format("{}", fmt::join(kOfCharacters, ", ")));
    });
  }
}

AddedTokens read_added(const JsonFields& file) {
  AddedTokens added;
  std::set<std::string> contents;
  if (!file.has("added_tokens")) return added;
  const Json& list = file.list("added_tokens");
  for (size_t i = 0; i < list.size(); ++i) {
    const JsonFields token(numbered(file, "added_tokens", i), list[i], kHint);
    const auto id = static_cast<TokenId>(token.whole("id", 0, BytePairModel::kMostIds - 1));
    const auto flag = [&](const char* name) { return token.has(name) && token.flag(name); };
    const Added one{token.text("content"), flag("special"), flag("lstrip"), flag("rstrip"),
                    flag("single_word")};
    if (one.content.empty()) token.refuse("content", "text", "none");
    if (!contents.insert(one.content).second) {
      token.refuse("content", "each once", quote(token.at("content")));
    }
    if (!added.emplace(id, one).second) token.refuse("id", "each once", std::to_string(id));
    if (one.special || !WhiteTokens::fits(one.content)) continue;
    for (const char* name : {"lstrip", "rstrip", "single_word"}) {
      if (flag(name)) token.refuse(name, "false", "true");
    }
  }
  return added;
}

// The first of these names that is an added token; the end of the list where there is none.
AddedTokens::iterator first_of(AddedTokens& added, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const auto found = std::find_if(added.begin(), added.end(),
                                    [&](const auto& entry) { return entry.second.content == name; });
    if (found != added.end()) return found;
  }
  return added.end();
}

// Both become special, if they are not. A chat model's eos_token ends a turn and not a document, so what ends
// documents everywhere goes first.
void find_special(const JsonFields& file, const NamedTokens& named, AddedTokens& added,
                  BytePairModel& model) {
  const std::vector<std::string> ends = {"<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "</s>",
                                         named.end_of_text};
  const auto end = first_of(added, ends);
  if (end == added.end()) {
    file.refuse("added_tokens", "one that ends a document, or its name as eos_token in tokenizer_config.json",
                fmt::format("none of {}", fmt::join(ends.begin(), ends.end() - 1, ", ")));
  }
  model.end_of_text = end->first;
  model.end_of_text_name = end->second.content;
  end->second.special = true;
  const auto padding = first_of(added, {named.padding, "<|padding|>", "<pad>", "<|pad|>",
                                        "<|finetune_right_pad_id|>", "<｜▁pad▁｜>", "[PAD]"});
  if (padding == added.end() || padding == end) return;
  model.padding = padding->first;
  padding->second.special = true;
}

// Text becomes the added tokens of white space that are not special. Every other one is a marker, which text
// never becomes, whatever the file says: a document that quotes it must not act as it.
void take_added(const AddedTokens& added, BytePairModel& model) {
  for (const auto& [id, token] : added) {
    const bool white = !token.special && WhiteTokens::fits(token.content);
    if (white) model.white.add(token.content, id);
    model.added.push_back(
        {id, token.content, white, token.special, token.left, token.right, token.single_word});
  }
}

void check_model(const JsonFields& model) {
  const char* const kind = "BPE";
  if (model.has("type") && model.text("type") != kind) refuse_type(model, kind);
  if (model.has("dropout") && model.number("dropout") != 0) {
    model.refuse("dropout", "none", quote(model.at("dropout")));
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (model.has(name) && !model.text(name).empty()) model.refuse(name, "none", quote(model.at(name)));
  }
}

void read_vocabulary(const JsonFields& model, const AddedTokens& added, TextOf text_of,
                     ModelBuilder& builder) {
  const JsonFields vocabulary = model.inside("vocab");
  for (const auto& [name, number] : vocabulary.value().items()) {
    if (!number.is_number_integer() ||
        (number.is_number_unsigned() && number.get<uint64_t>() >= uint64_t{BytePairModel::kMostIds})) {
      vocabulary.refuse(name, fmt::format("an id below {}", BytePairModel::kMostIds), quote(number));
    }
    const auto id = number.get<int64_t>();
    const auto known = id < 0 ? added.end() : added.find(static_cast<TokenId>(id));
    const std::optional<std::string> bytes = text_of(name);
    if (known != added.end() && known->second.content != name) {
      vocabulary.refuse(name,
                        fmt::format("another id than the added token {}", quote(Json(known->second.content))),
                        quote(number));
    }
    if (known != added.end() && (known->second.special || !bytes)) continue;
    if (bytes) {
      builder.add_token(vocabulary.where(), id, *bytes);
    } else {
      builder.add_other(vocabulary.where(), id, name);  // nothing that merges becomes it
    }
  }
  for (const auto& [id, token] : added) {
    const auto entry = vocabulary.value().find(token.content);
    if (entry != vocabulary.value().end() && *entry != id) {
      vocabulary.refuse(token.content, fmt::format("{}, as in added_tokens", id), quote(*entry));
    }
    const bool in_vocabulary = entry != vocabulary.value().end();
    if (in_vocabulary && !token.special && text_of(token.content)) continue;
    builder.add_other(vocabulary.where(), id, token.special ? "" : token.content);
  }
}

// Both halves of a merge, as one text or as a pair.
std::pair<std::string_view, std::string_view> halves_of(const std::string& where, const Json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
  }
  const std::string_view line = merge.is_string() ? merge.get_ref<const std::string&>() : std::string_view();
  const size_t space = line.find(' ');
  if (space == std::string_view::npos) throw UserError(where, "two tokens", quote(merge), kHint);
  return {line.substr(0, space), line.substr(space + 1)};
}

void read_merges(const JsonFields& model, TextOf text_of, ModelBuilder& builder) {
  const Json& merges = model.list("merges");
  builder.expect_merges(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const std::string where = numbered(model, "merges", i);
    const auto bytes_of = [&](std::string_view characters) {
      const std::optional<std::string> bytes = text_of(characters);
      if (!bytes) throw UserError(where, "tokens of the vocabulary", quote(Json(characters)), kHint);
      return *bytes;
    };
    const std::pair<std::string_view, std::string_view> halves = halves_of(where, merges[i]);
    if (!builder.add_merge(where, bytes_of(halves.first), bytes_of(halves.second))) {
      throw UserError(where, "each pair once", "one again", kHint);
    }
  }
}

// Behind the vocabulary: the tokens of single characters and of bytes, and where texts may be cut.
void find_characters(const JsonFields& model, const AddedTokens& added, BytePairModel& tables) {
  CharacterRules& rules = *tables.characters;
  rules.by_words = true;
  std::array<bool, 256> has{};
  for (const auto& [name, number] : model.inside("vocab").value().items()) {
    const auto id = number.get<TokenId>();
    const auto known = added.find(id);
    if (known != added.end() && known->second.special) continue;
    const auto token = static_cast<PairTable::Token>(id);
    if (const std::optional<char> byte = byte_of_name(name)) {
      tables.tokens[static_cast<size_t>(id)] = std::string(1, *byte);
      tables.of_byte[static_cast<unsigned char>(*byte)] = token;
      has[static_cast<unsigned char>(*byte)] = true;
    } else if (const std::optional<std::string> text = text_of_piece(name)) {
      const CodePoint first = decode_utf8(text->c_str());
      if (static_cast<size_t>(first.length) == text->size()) rules.token_of.emplace(first.value, token);
      rules.by_words &= !crosses_words(name);
    }
  }
  const auto missing = std::ranges::find(has, false);
  if (missing != has.end()) {
    model.refuse("vocab", "a token for each of the 256 bytes, since byte_fallback is true",
                 fmt::format("none for byte {}", missing - has.begin()));
  }
}

}  // namespace

NamedTokens read_tokenizer_config(const std::string& where, std::string_view text) {
  const Json parsed = parse_json(where, text);
  const JsonFields config(where, parsed);
  const auto name = [&](const char* field) {
    if (!config.has(field)) return std::string();
    return config.at(field).is_object() ? config.inside(field).text("content") : config.text(field);
  };
  return {.end_of_text = name("eos_token"), .padding = name("pad_token")};
}

BytePairModel read_tokenizer_json(const std::string& where, std::string_view text, const NamedTokens& named) {
  const Json parsed = parse_json(where, text);
  const JsonFields file(where, parsed, kHint);
  const JsonFields model = file.inside("model");
  check_model(model);
  ModelBuilder builder(where);
  const bool characters = model.has("byte_fallback") && model.flag("byte_fallback");
  const TextOf text_of = characters ? text_of_piece : bytes_of_characters;
  if (characters) {
    builder.model().characters = read_character_rules(file);
  } else {
    builder.model().normalizer = read_normalizer(file);
    read_splits(file, builder.model());
  }
  check_rest(file, characters, builder.model().ends);
  builder.model().whole_first = model.has("ignore_merges") && model.flag("ignore_merges");
  if (characters && builder.model().whole_first)
    model.refuse("ignore_merges", "false, where byte_fallback is true", "true");
  AddedTokens added = read_added(file);
  find_special(file, named, added, builder.model());
  take_added(added, builder.model());
  if (characters && !builder.model().white.empty())
    file.refuse("added_tokens", "none of white space, where byte_fallback is true", "some");
  // `tokenizers` seeks them before the normal form or behind it, as each token says.
  if (const auto& normalizer = builder.model().normalizer;
      normalizer && !normalizer->keeps_white() && !builder.model().white.empty())
    file.refuse("normalizer", "NFC or NFD beside added tokens of white space", "another");
  read_vocabulary(model, added, text_of, builder);
  characters ? find_characters(model, added, builder.model()) : builder.find_bytes();
  read_merges(model, text_of, builder);
  return std::move(builder.model());
}

}  // namespace moe::text
