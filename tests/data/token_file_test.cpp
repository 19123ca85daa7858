// SPDX-License-Identifier: MIT
#include "data/token_file.h"

#include <gmock/gmock.h>

#include "data/support.h"

namespace moe::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::vector<int>> read(const Source& source) {
  Documents documents;
  for (int64_t unit = 0; unit < source.units(); ++unit) source.read(unit, documents);
  std::vector<std::vector<int>> result;
  for (int64_t i = 0; i < documents.size(); ++i) {
    const auto ids = documents.ids(i);
    result.emplace_back(ids.begin(), ids.end());
    EXPECT_TRUE(documents.text(i).empty());
  }
  return result;
}

// tokens.bin was written by numpy.
TEST(TokenFile, ReadsDocumentsInRangesOfAnySize) {
  for (const int64_t unit : {1, 2, 3, 4, 5, 7, 16, 4096})
    EXPECT_THAT(read(*token_source(local_file(golden("tokens.bin")), text::Gpt2Tokenizer::kFacts, unit)),
                ElementsAre(ElementsAre(15496, 995), ElementsAre(220, 0, 50255), ElementsAre(464)))
        << unit;
}

TEST(TokenFile, WritesTheBytesNumpyWrites) {
  const std::vector<text::TokenId> ids{50256, 15496, 995, 50256, 50256, 220, 0, 50255, 50256, 464};
  const auto file = fresh_folder() / "t.bin";
  write_token_file(file, ids, text::Gpt2Tokenizer::kFacts);
  EXPECT_EQ(slurp(file), slurp(golden("tokens.bin")));
}

TEST(TokenFile, AFileMayBeginInsideADocument) {
  const auto file = fresh_folder() / "t.bin";
  write_token_file(file, std::vector<text::TokenId>{7, 8, 50256, 9}, text::Gpt2Tokenizer::kFacts);
  for (const int64_t unit : {2, 4096})
    EXPECT_THAT(read(*token_source(local_file(file), text::Gpt2Tokenizer::kFacts, unit)),
                ElementsAre(ElementsAre(7, 8), ElementsAre(9)));
}

TEST(TokenFile, TheWorkIsLinearInTheBytesHoweverLongADocumentIs) {
  constexpr int64_t kUnit = 256 << 10;
  std::vector<text::TokenId> ids{50256, 1, 50256};
  ids.resize(10'000'000, 2);
  ids.insert(ids.end(), {50256, 3});
  const auto file = fresh_folder() / "t.bin";
  write_token_file(file, ids, text::Gpt2Tokenizer::kFacts);
  const CountingInput input(slurp(file));
  Documents documents;
  const int64_t bytes = input.size() - kTokenFileHeaderBytes;
  int64_t units = 0;
  for (int64_t begin = 0; begin < bytes; begin += kUnit, ++units)
    read_tokens(input, {2, std::ssize(ids)}, text::Gpt2Tokenizer::kFacts, begin,
                std::min(begin + kUnit, bytes), documents);
  ASSERT_EQ(documents.size(), 3);
  EXPECT_EQ(std::ssize(documents.ids(1)), 10'000'000 - 3);
  // Once by its own unit, once by that in which the document starts, and 64 KiB after each unit.
  EXPECT_LE(input.bytes, 2 * bytes + units * (64 << 10));
  EXPECT_LE(input.reads, units + 10);
}

TEST(TokenFile, RefusesWhatIsNoTokenFile) {
  const auto file = fresh_folder() / "t.bin";
  const auto message = [&](const std::string& bytes) {
    spill(file, bytes);
    return user_error_of([&] { read(*token_source(local_file(file), text::Gpt2Tokenizer::kFacts, 4096)); });
  };
  std::string bytes = slurp(golden("tokens.bin"));
  EXPECT_THAT(message(bytes.substr(0, 100)), HasSubstr("a header of 1024 bytes, found 100 bytes"));
  EXPECT_THAT(message(bytes.substr(0, bytes.size() - 1)),
              HasSubstr("1044 bytes for the 10 tokens its header gives, found 1043"));
  EXPECT_THAT(message(bytes + "x"), HasSubstr("found 1045 bytes"));
  std::string changed = bytes;
  changed[0] = 'x';
  EXPECT_THAT(message(changed), HasSubstr("first number 20240520"));
  changed = bytes;
  changed[4] = 2;
  EXPECT_THAT(message(changed), HasSubstr("found version 2"));
  changed = bytes;
  changed[1024 + 4] = changed[1024 + 5] = '\xFF';
  EXPECT_THAT(message(changed), HasSubstr("t.bin, token 2: expected GPT-2 ids, 0 to 50256, found 65535"));
}

TEST(TokenFile, SaysWhoseIdsItHas) {
  const auto file = fresh_folder() / "t.bin";
  const text::TokenizerFacts gpt2 = text::Gpt2Tokenizer::kFacts;
  text::TokenizerFacts small = gpt2;
  small.name = "small";
  small.vocabulary = 1 << 16;
  small.end_of_text = 1;
  small.fingerprint = 0xfedcba9876543210;
  text::TokenizerFacts wide = small;
  wide.name = "wide";
  wide.vocabulary = (1 << 16) + 1;
  wide.fingerprint = 0x0123456789abcdef;
  const std::vector<text::TokenId> ids{1, 700, 65535};
  const auto said = [&](const text::TokenizerFacts& tokenizer) {
    return user_error_of([&] { token_source(local_file(file), tokenizer, 4096); });
  };
  for (const text::TokenizerFacts& own : {small, wide}) {
    write_token_file(file, ids, own);
    const FileInput input(file);
    const TokenFileHeader header = read_token_file_header(input);
    EXPECT_EQ(header.width, own.vocabulary > 1 << 16 ? 4 : 2);
    EXPECT_EQ(header.fingerprint, own.fingerprint);
    EXPECT_THAT(read(*token_source(local_file(file), own, 4096)), ElementsAre(ElementsAre(700, 65535)));
    EXPECT_THAT(said(gpt2), HasSubstr("t.bin: expected ids of data.tokenizer, GPT-2 (fingerprint "
                                      "b5daa9c4c3d6b2c2), found those of fingerprint " +
                                      text::fingerprint_text(own.fingerprint)));
  }
  EXPECT_THAT(said(small), HasSubstr("found those of fingerprint 0123456789abcdef"));
  write_token_file(file, std::vector<text::TokenId>{50256, 5}, gpt2);
  EXPECT_EQ(said(gpt2), "");
  EXPECT_THAT(said(small), HasSubstr("small (fingerprint fedcba9876543210), found those of GPT-2. Hint: set "
                                     "data.tokenizer to the one that made them"));
}

// llm.c's of 4 bytes have no mark, and may be anyone's.
TEST(TokenFile, WideIdsWithoutAMarkAreTakenAtTheirWord) {
  const auto file = fresh_folder() / "t.bin";
  text::TokenizerFacts wide = text::Gpt2Tokenizer::kFacts;
  wide.vocabulary = 128'256;
  wide.end_of_text = 1;
  wide.fingerprint = 0;
  write_token_file(file, std::vector<text::TokenId>{1, 100'000}, wide);
  EXPECT_EQ(read_token_file_header(FileInput(file)).fingerprint, 0u);
  wide.fingerprint = 7;
  EXPECT_THAT(read(*token_source(local_file(file), wide, 4096)), ElementsAre(ElementsAre(100'000)));
}

}  // namespace
}  // namespace moe::data
