// SPDX-License-Identifier: MIT
#include "text/sentencepiece_file.h"

#include <fmt/core.h>
#include <sentencepiece_model.pb.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "base/utf8.h"
#include "text/byte_pair_tokenizer.h"
#include "text/piece_name.h"

namespace moe::text {
namespace {

constexpr const char* kHint = "docs/tokenizers.md says what is read";
constexpr int64_t kLongest = 1024;  // bytes of a piece
enum ModelType { kUnigram = 1, kBpe = 2 };
enum PieceType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// The most rules, and the most symbols of the user, that begin at one place of a text: more do not fit into
// what the library keeps for them.
constexpr int kMostRules = 32;
constexpr size_t kMostSymbols = 64;

// A unit of the trie of a character map, as Darts-clone lays it out.
struct Unit {
  uint32_t bits;

  bool follows(size_t byte) const { return (bits & 0x8000'00ff) == byte; }
  bool has_value() const { return (bits >> 8 & 1) != 0; }
  uint32_t value() const { return bits & 0x7fff'ffff; }
  uint32_t offset() const { return (bits >> 10) << ((bits & 512) >> 6); }
};

// A map is the size of a trie, the trie, and what its values point at: strings that end in a zero. The
// library follows both without looking where they end.
class CharacterMap {
 public:
  static bool is_sound(std::string_view map) {
    if (map.empty()) return true;
    uint32_t size = 0;
    if (map.size() < sizeof(size)) return false;
    std::memcpy(&size, map.data(), sizeof(size));
    map.remove_prefix(sizeof(size));
    if (size == 0 || size % sizeof(Unit) != 0 || size >= map.size() || map.back() != '\0') return false;
    CharacterMap sound(map, size);
    const int most = sound.rules_below(0, 0);
    return most >= 0 && most <= kMostRules;
  }

 private:
  static constexpr int kUnknown = -2, kBroken = -1;
  static constexpr int kDeepest = 256;  // bytes that a rule takes

  CharacterMap(std::string_view map, size_t size)
      : units_(size / sizeof(Unit)), strings_(map.substr(size)), rules_(units_.size(), kUnknown) {
    std::memcpy(units_.data(), map.data(), size);
  }

  // The most rules on one way from this unit on, without its own. Units are shared; a circle is too deep.
  int rules_below(size_t at, int depth) {
    if (rules_[at] != kUnknown) return rules_[at];
    const size_t next = at ^ units_[at].offset();
    if (depth > kDeepest || (next | 255) >= units_.size()) return kBroken;
    int most = 0;
    for (size_t byte = 0; byte < 256; ++byte) {
      const size_t child = next ^ byte;
      if (!units_[child].follows(byte)) continue;
      const int rules = rules_below(child, depth + 1);
      const bool has_rule = units_[child].has_value();
      if (rules < 0 || (has_rule && !is_rule(child))) return kBroken;
      most = std::max(most, rules + (has_rule ? 1 : 0));
    }
    return rules_[at] = most;
  }

  bool is_rule(size_t at) const {  // its places are inside, after rules_below()
    const size_t begin = units_[at ^ units_[at].offset()].value();
    return begin < strings_.size() && strings_.find('\0', begin) - begin <= static_cast<size_t>(kLongest);
  }

  std::vector<Unit> units_;
  std::string_view strings_;
  std::vector<int> rules_;
};

std::string bytes_of(const std::string& where, const pb::Piece& piece) {
  const std::string& text = piece.piece();
  if (text.empty() || std::ssize(text) > kLongest || well_formed_prefix(text) != text.size() ||
      text.find('\0') != std::string::npos) {
    throw UserError(where, fmt::format("1 to {} bytes of UTF-8, none of them zero", kLongest),
                    fmt::format("{} bytes", text.size()), kHint);
  }
  if (!std::isfinite(piece.score())) {
    throw UserError(where, "a score that is a number", std::to_string(piece.score()), kHint);
  }
  switch (piece.type()) {
    case kNormal:
    case kUserDefined: {
      std::string spaced;
      append_with_spaces(spaced, text);
      return spaced;
    }
    case kByte:
      if (const std::optional<char> byte = byte_of_name(text)) return {*byte};
      throw UserError(where, "a byte as <0x41>", "\"" + text + "\"", kHint);
    case kUnknown:
    case kControl:
    case kUnused:
      return {};
    default:
      break;
  }
  throw UserError(where, "a type from 1 to 6", std::to_string(piece.type()), kHint);
}

void check_settings(const std::string& where, const pb::SentencePieceModel& model) {
  if (model.pieces().empty() || !model.has_training() || !model.has_normalization()) {
    throw UserError(where, "a model of SentencePiece, with pieces and settings", "a part of one, or none",
                    "fetch the file again");
  }
  const int type = model.training().model_type();
  if (type != kUnigram && type != kBpe) {
    throw UserError(where, "model_type 1 (unigram) or 2 (BPE)", std::to_string(type), kHint);
  }
  if (model.pieces_size() > BytePairModel::kMostIds) {
    throw UserError(where, fmt::format("at most {} pieces", BytePairModel::kMostIds),
                    std::to_string(model.pieces_size()), kHint);
  }
  if (!CharacterMap::is_sound(model.normalization().character_map()) ||
      !CharacterMap::is_sound(model.denormalization().character_map())) {
    throw UserError(where, "a character map whose places are inside of it", "one that leaves it",
                    "fetch the file again");
  }
}

// What the library would take out of a text as a control piece: it counts its characters wrongly then.
void check_control(const std::string& where, const pb::SentencePieceModel& model) {
  std::unordered_map<std::string_view, int> pieces;
  for (int id = 0; id < model.pieces_size(); ++id) {
    const pb::Piece& piece = model.pieces(id);
    const auto [other, fresh] = pieces.emplace(piece.piece(), id);
    const bool control = piece.type() == kControl;
    const bool once = fresh || (!control && model.pieces(other->second).type() != kControl);
    const bool single = decode_utf8(piece.piece().data()).length == std::ssize(piece.piece());
    if (once && !(control && single)) continue;
    throw UserError(fmt::format("{}: piece {}", where, id),
                    "control pieces of several characters, which no other piece has",
                    "\"" + piece.piece() + "\"", kHint);
  }
}

void check_symbols(const std::string& where, const pb::SentencePieceModel& model) {
  std::vector<std::string_view> symbols, around;
  for (const pb::Piece& piece : model.pieces()) {
    if (piece.type() == kUserDefined) symbols.push_back(piece.piece());
  }
  std::sort(symbols.begin(), symbols.end());
  for (const std::string_view symbol : symbols) {
    while (!around.empty() && !symbol.starts_with(around.back())) around.pop_back();
    around.push_back(symbol);
    if (around.size() > kMostSymbols) {
      throw UserError(
          where, fmt::format("at most {} symbols of which each begins with the one before", kMostSymbols),
          fmt::format("{} bytes of the last", symbol.size()), kHint);
    }
  }
}

bool is_by_words(const pb::SentencePieceModel& model) {
  const pb::Normalization& form = model.normalization();
  if (model.training().model_type() != kBpe || model.training().space_behind() || !form.visible_spaces() ||
      form.fewer_spaces() || !form.character_map().empty()) {
    return false;
  }
  bool has_space = false;  // else unknown characters before and behind it would be one piece
  for (const pb::Piece& piece : model.pieces()) {
    has_space |= piece.type() == kNormal && piece.piece() == kSpaceSign;
    // How an unused piece is taken apart depends on where it last stood.
    if (piece.type() == kUnused || crosses_words(piece.piece())) return false;
  }
  return has_space;
}

}  // namespace

bool is_sentencepiece_name(std::string_view name) {
  return name.ends_with(".model") || name.find(".model.v") != std::string_view::npos;
}

SentencePieceFile read_sentencepiece(const std::string& where, const std::string& file) {
  pb::SentencePieceModel model;
  if (!model.ParseFromString(file)) {
    throw UserError(where, "a model of SentencePiece", "a file that is none, or a part of one",
                    "fetch the file again");
  }
  check_settings(where, model);
  SentencePieceFile read;
  for (int id = 0; id < model.pieces_size(); ++id) {
    read.tokens.push_back(bytes_of(fmt::format("{}: piece {}", where, id), model.pieces(id)));
  }
  check_control(where, model);
  check_symbols(where, model);
  read.space_in_front = model.normalization().extra_space() && !model.training().space_behind();
  read.by_words = is_by_words(model);
  return read;
}

}  // namespace moe::text
