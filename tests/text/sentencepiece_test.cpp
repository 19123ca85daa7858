// SPDX-License-Identifier: MIT
// Models of SentencePiece: ids and texts against those of its Python package
// (tools/make_sentencepiece_goldens.py), and files that are not what they should be.
#include "text/sentencepiece_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "base/utf8.h"
#include "support/errors.h"
#include "support/folder.h"
#include "text/kept_tokenizer.h"
#include "text/load_tokenizer.h"
#include "text/open_tokenizer.h"
#include "text/sentencepiece_file.h"
#include "text/texts.h"
#include "text/tiktoken_file.h"

namespace moe::text {
namespace {

using testing::HasSubstr;

constexpr const char* kModels[] = {"bpe", "bpe_bytes", "unigram", "unigram_bytes"};

std::string model_path(const std::string& name) {
  return test::golden_text_path(name + ".model").string();
}

struct Golden {
  std::vector<std::string> texts;
  Json models;
};

Golden golden() {
  const Json json = parse_json("golden", test::golden_text("sentencepiece.json"));
  Golden golden{.texts = {}, .models = json.at("models")};
  for (const Json& text : json.at("texts")) {
    golden.texts.push_back(decode_base64(text.get<std::string>()).value());
  }
  return golden;
}

// What reading such a file says.
std::string complaint(const std::string& file) {
  return test::user_error_of([&] {
    SentencePieceTokenizer::read("f", {.files = {{"tokenizer.model", file}}, .pattern = {}}, "f");
  });
}

TEST(SentencePiece, EncodesAndDecodesAsItsPackage) {
  const Golden golden = text::golden();
  for (const std::string name : kModels) {
    const auto tokenizer = open_tokenizer(model_path(name));
    const auto encoder = tokenizer->encoder();
    for (size_t i = 0; i < golden.texts.size(); ++i) {
      std::vector<TokenId> ids;
      encoder->encode(golden.texts[i], ids);
      const Json& expected = golden.models.at(name);
      EXPECT_EQ(ids, expected.at("ids").at(i).get<std::vector<TokenId>>()) << name << ", text " << i;
      EXPECT_EQ(tokenizer->decode(ids), expected.at("decoded").at(i).get<std::string>())
          << name << ", text " << i;
    }
    EXPECT_GT(encoder->replaced(), 0u);
  }
}

TEST(SentencePiece, SaysWhatItIs) {
  const auto bpe = open_tokenizer(model_path("bpe"));
  EXPECT_EQ(bpe->facts().name, "text");  // the folder's
  EXPECT_EQ(bpe->vocabulary(), 520);
  EXPECT_EQ(bpe->end_of_text(), 2);
  EXPECT_EQ(bpe->facts().end_of_text_name, "</s>");
  EXPECT_EQ(bpe->facts().padding, 3);
  EXPECT_EQ(bpe->facts().padding_name, "<pad>");
  const auto bytes = open_tokenizer(model_path("bpe_bytes"));
  EXPECT_EQ(bytes->facts().padding, std::nullopt);
  EXPECT_NE(bytes->fingerprint(), bpe->fingerprint());
  for (const TokenId special : {-1, 0, 1, 2, 520}) EXPECT_EQ(bytes->bytes(special), "");
  EXPECT_EQ(bytes->bytes(3 + 'a'), "a");  // the byte pieces
  EXPECT_EQ(bytes->bytes(3), std::string_view("\0", 1));
  EXPECT_EQ(bytes->decode(std::vector<TokenId>{-5, 3 + 'a', 900}), "a");
}

TEST(SentencePiece, BytesOfTokensAreTheTextBehindASpace) {
  for (const std::string name : {"bpe_bytes", "unigram_bytes"}) {
    const auto tokenizer = open_tokenizer(model_path(name));
    for (const std::string text : {"Hello  world\n", "漢字 🙂 x", "  12 "}) {
      std::string bytes;
      for (const TokenId id : tokenizer->encode(text)) bytes += tokenizer->bytes(id);
      EXPECT_EQ(bytes, " " + text) << name;
    }
  }
}

// What the library makes of the whole text, the encoder makes of its words.
TEST(SentencePiece, WordsAreWhatTheWholeIs) {
  const Random random(3, "texts");
  const std::vector<std::string> parts{" ",  "  ", "▁", "\n", "a",    "the", "token", "漢", "é",    "🙂",
                                       "\t", "x▁", "1", ".",  "</s>", "ize", "-",     "\0", "    ", "\xff"};
  for (const std::string name : kModels) {
    const std::string file = test::golden_text(name + ".model");
    EXPECT_EQ(read_sentencepiece("f", file).by_words, name == "bpe_bytes");
    EXPECT_TRUE(read_sentencepiece("f", file).space_in_front);
    sentencepiece::SentencePieceProcessor library;
    ASSERT_TRUE(library.LoadFromSerializedProto(file).ok());
    const auto tokenizer = open_tokenizer(model_path(name));
    const auto encoder = tokenizer->encoder();
    for (uint64_t i = 0; i < 500; ++i) {
      std::string text, repaired;
      for (uint64_t j = 0; j < i % 50; ++j) text += parts[random.below(50 * i + j, parts.size())];
      repair_utf8(text, repaired);
      std::vector<int> whole;
      ASSERT_TRUE(library.Encode(repaired, &whole).ok());
      std::vector<TokenId> ids;
      encoder->encode(text, ids);
      ASSERT_EQ(ids, whole) << name << ": \"" << text << "\"";
    }
  }
}

TEST(SentencePiece, MarkersInTextAreText) {
  for (const std::string name : kModels) {
    const auto tokenizer = open_tokenizer(model_path(name));
    for (const TokenId id : tokenizer->encode("a</s>b<s> <unk> <pad>")) {
      EXPECT_NE(id, tokenizer->end_of_text());
      EXPECT_NE(id, 1);
      EXPECT_NE(tokenizer->facts().padding, id);
    }
  }
}

TEST(SentencePiece, ManyThreadsShareOne) {
  const std::string text = test::golden_text("cuts.txt");
  const auto tokenizer = open_tokenizer(model_path("unigram_bytes"));
  const std::vector<TokenId> expected = tokenizer->encode(text);
  std::vector<std::vector<TokenId>> found(4);
  {
    std::vector<std::jthread> threads;
    for (auto& ids : found) threads.emplace_back([&] { ids = tokenizer->encode(text); });
  }
  for (const auto& ids : found) EXPECT_EQ(ids, expected);
}

TEST(SentencePiece, FolderAndRunKeepIt) {
  const test::TestFolder folder;
  const std::string model = test::golden_text("unigram.model");
  folder.put("mine/tokenizer.model", model);
  const std::string setting = (folder.path() / "mine").string();
  const auto original = open_tokenizer(setting);
  EXPECT_EQ(original->facts().name, "mine");
  keep_tokenizer(folder.path() / "kept", setting, *original);
  std::filesystem::remove_all(folder.path() / "mine");
  const KeptTokenizer kept = open_kept_tokenizer(folder.path() / "kept");
  EXPECT_EQ(kept.tokenizer->fingerprint(), original->fingerprint());
  EXPECT_EQ(kept.tokenizer->facts().name, "mine");
  EXPECT_EQ(read_file(folder.path() / "kept/tokenizer.model"), model);
  // tokenizer.json goes first.
  folder.put("both/tokenizer.model", model);
  folder.put("both/tokenizer.json", test::golden_text("old.json"));
  EXPECT_EQ(open_tokenizer((folder.path() / "both").string())->vocabulary(), 709);
  // But not where it is a conversion, as beside the models of Mistral and Llama 2.
  folder.put("both/tokenizer.json", R"({"model": {"type": "BPE", "byte_fallback" : true, "vocab": {}}})");
  EXPECT_EQ(open_tokenizer((folder.path() / "both").string())->fingerprint(), kept.tokenizer->fingerprint());
  folder.put("both/tokenizer.json", R"({"model":{"type":"Unigram","vocab":[]}})");
  EXPECT_EQ(tokenizer_file(folder.path() / "both").filename(), "tokenizer.model");
  folder.put("both/tokenizer.json",
             R"({"model":{"type":"BPE","byte_fallback":false,"vocab":{"\"byte_fallback\":true":0}}})");
  EXPECT_EQ(tokenizer_file(folder.path() / "both").filename(), "tokenizer.json");
}

TEST(SentencePiece, RefusesEveryTruncation) {
  for (const std::string name : kModels) {
    const std::string file = test::golden_text(name + ".model");
    ASSERT_EQ(complaint(file), "");
    // Behind the settings of the normal form nothing is needed.
    for (size_t size = 0; size + 64 < file.size(); size += 13) {
      EXPECT_THAT(complaint(file.substr(0, size)), HasSubstr("f: ")) << name << ", " << size;
    }
  }
}

TEST(SentencePiece, DamageIsRefusedOrATokenizer) {
  const Random random(5, "bytes");
  for (const std::string name : kModels) {
    const std::string file = test::golden_text(name + ".model");
    for (uint64_t i = 0; i < 400; ++i) {
      std::string damaged = file;
      for (uint64_t j = 0; j < 3; ++j) {
        damaged[random.below(7 * i + 2 * j, damaged.size())] =
            static_cast<char>(random.bits(7 * i + 2 * j + 1));
      }
      test::user_error_of([&] {
        const auto tokenizer =
            SentencePieceTokenizer::read("f", {.files = {{"tokenizer.model", damaged}}, .pattern = {}}, "f");
        tokenizer->decode(tokenizer->encode("A  sample's text ﬁ -> e\u0301 漢字 </s>\n"));
      });
    }
  }
}

// A model of few pieces, in the format's own bytes: field 1 has the pieces.
std::string field(int number, const std::string& bytes) {
  std::string length;
  size_t left = bytes.size();
  for (; left > 127; left >>= 7) length += static_cast<char>((left & 127) | 128);
  return static_cast<char>(number << 3 | 2) + length + static_cast<char>(left) + bytes;
}
std::string piece(const std::string& text, int type) {
  return field(1, field(1, text) + "\x18" + static_cast<char>(type));
}
// map: of characters, in the normal form.
std::string small_model(const std::string& pieces, const std::string& map = "") {
  return piece("<unk>", 2) + piece("<s>", 3) + piece("</s>", 3) + pieces +
         field(2, std::string("\x18\x02", 2)) + field(3, field(2, map));
}

TEST(SentencePiece, WhatTheLibraryTakesOnTrustIsRefused) {
  EXPECT_EQ(complaint(small_model(piece("a", 1))), "");
  EXPECT_THAT(complaint(small_model(piece("a", 3))), HasSubstr("control pieces of several characters"));
  EXPECT_THAT(complaint(small_model(piece("ab", 1) + piece("ab", 3))), HasSubstr("which no other piece has"));
  EXPECT_THAT(complaint(small_model(piece(std::string("a\0b", 3), 4))), HasSubstr("none of them zero"));
  EXPECT_THAT(complaint(small_model(piece("\xff", 1))), HasSubstr("bytes of UTF-8"));
  EXPECT_THAT(complaint(small_model(piece("a", 7))), HasSubstr("a type from 1 to 6"));
  EXPECT_THAT(complaint(small_model(piece("a", 6))), HasSubstr("a byte as <0x41>"));
  EXPECT_THAT(complaint(small_model(piece("<0x41>", 6))), HasSubstr("byte_fallback"));
  EXPECT_THAT(complaint(small_model(piece("<unk>", 2))), HasSubstr("library reads"));
  std::string symbols;
  for (size_t n = 1; n <= 64; ++n) symbols += piece(std::string(n, 'a'), 4);
  EXPECT_EQ(complaint(small_model(symbols)), "");
  EXPECT_THAT(complaint(small_model(symbols + piece(std::string(65, 'a'), 4))), HasSubstr("at most 64"));
}

// A trie in which `a` follows itself `length` times, each time with a rule; then it ends, or begins again.
std::string character_map(uint32_t length, bool circle) {
  std::vector<uint32_t> units(256 * (length + 2));
  for (uint32_t i = 0; i < units.size(); ++i) units[i] = ~i & 255;  // follows nothing
  const auto offset = [](uint32_t value) { return value << 10; };
  units[0] = offset(256);
  for (uint32_t i = 1; i <= length;
       ++i) {  // the unit of block i is at 256 i + 'a'; it goes on in block i + 1
    const uint32_t at = 256 * i + 'a', next = circle && i == length ? 256 : 256 * (i + 1);
    units[at] = offset(at ^ next) | 1 << 8 | 'a';
    units[next] = 1u << 31;  // the place of the string
  }
  std::string map(4, '\0');
  const auto size = static_cast<uint32_t>(4 * units.size());
  std::memcpy(map.data(), &size, 4);
  map.append(reinterpret_cast<const char*>(units.data()), size);
  return map + std::string("b\0", 2);
}

TEST(SentencePiece, CharacterMapsMustBeSound) {
  const auto with = [](const std::string& map) { return complaint(small_model(piece("b", 1), map)); };
  EXPECT_EQ(with(character_map(1, false)), "");
  EXPECT_EQ(with(character_map(32, false)), "");
  const auto leaves = HasSubstr("whose places are inside");
  EXPECT_THAT(with(character_map(33, false)), leaves);  // more rules than the library has room for
  EXPECT_THAT(with(character_map(3, true)), leaves);
  std::string map = character_map(2, false);
  EXPECT_THAT(with(map.substr(0, map.size() - 1)), leaves);  // a string without its end
  EXPECT_THAT(with(map.substr(0, 3)), leaves);
  map[4 + 4 * 512] = 100;  // a string behind all of them
  EXPECT_THAT(with(map), leaves);
  map = character_map(2, false);
  map[4 + 1] = '\xff';  // a unit behind all of them
  map[4 + 2] = '\xff';
  EXPECT_THAT(with(map), leaves);
}

TEST(SentencePiece, ForeignFilesAreRefused) {
  EXPECT_THAT(complaint(""), HasSubstr("a model of SentencePiece"));
  EXPECT_THAT(complaint(test::golden_text("old.json")), HasSubstr("a model of SentencePiece"));
  EXPECT_THAT(complaint(test::golden_text("ranks.tiktoken")), HasSubstr("a model of SentencePiece"));
  const test::TestFolder folder;  // Llama 3's
  folder.put("tokenizer.model", test::golden_text("ranks.tiktoken"));
  EXPECT_THAT(test::user_error_of([&] { open_tokenizer((folder.path() / "tokenizer.model").string()); }),
              HasSubstr("a file of ranks needs its pattern"));
}

}  // namespace
}  // namespace moe::text
