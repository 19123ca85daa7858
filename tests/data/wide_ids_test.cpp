// SPDX-License-Identifier: MIT
// Ids above 65,535 on their whole way: source, token file, packer, batch. Their tokenizer is another one than
// GPT-2, with a padding token of its own.
#include <gmock/gmock.h>

#include "base/utf8.h"
#include "data/loader.h"
#include "data/packer.h"
#include "data/support.h"
#include "data/token_file.h"
#include "data/tokenize.h"

namespace moe::data {
namespace {

using testing::HasSubstr;

constexpr text::TokenizerFacts kFacts{.name = "wide",
                                      .vocabulary = 262'144,
                                      .end_of_text = 200'000,
                                      .end_of_text_name = "<end>",
                                      .padding = 200'001,
                                      .fingerprint = 0x0123456789abcdef};

// A token for each byte.
class WideTokenizer final : public text::Tokenizer {
 public:
  static constexpr text::TokenId kFirst = 100'000;

  WideTokenizer() : Tokenizer(kFacts) {
    for (size_t byte = 0; byte < 256; ++byte) bytes_.push_back(static_cast<char>(byte));
  }
  std::unique_ptr<Encoder> encoder() const override { return std::make_unique<ByteEncoder>(); }
  std::string_view bytes(text::TokenId id) const override {
    if (id < kFirst || id >= kFirst + 256) return {};
    return std::string_view(bytes_).substr(static_cast<size_t>(id - kFirst), 1);
  }

 private:
  class ByteEncoder final : public Encoder {
    void encode(std::string_view text, std::vector<text::TokenId>& ids) override {
      for (const char c : repaired(text)) ids.push_back(kFirst + static_cast<uint8_t>(c));
    }
  };
  std::string bytes_;
};

const WideTokenizer& wide() {
  static const WideTokenizer shared;
  return shared;
}

// Some bytes of it are no UTF-8.
class Text : public NumberedSource {
 public:
  Text() : NumberedSource(20, 5, 400'000) {}
  static std::string text(int64_t number) {
    return NumberedSource::text(number) + (number % 7 == 0 ? "\xFF\xE9\n" : "");
  }
  void read(int64_t unit, Documents& documents) const override {
    for (int64_t i = 0; i < 5; ++i) documents.add_text(text(unit * 5 + i));
  }
};

std::vector<Batch> batches(const std::shared_ptr<const Source>& source, Packing packing) {
  DataConfig config;
  config.packing = packing;
  config.shuffle_window_mb = 1;
  Loader loader(source, wide(), config, 7, 3, 40, {}, Part::all);
  std::vector<Batch> all;
  while (auto batch = loader.next()) all.push_back(std::move(*batch));
  return all;
}

TEST(WideIds, ReachTheBatch) {
  int64_t bytes = 0;
  for (int64_t i = 0; i < 100; ++i) bytes += std::ssize(Text::text(i));
  for (const auto& choice : choices_of(Packing())) {
    int64_t counted = 0, most = 0, padding = 0;
    for (const Batch& batch : batches(std::make_shared<Text>(), choice.value)) {
      counted += batch.target_bytes;
      for (size_t i = 0; i < batch.input.size(); ++i) {
        const text::TokenId input = batch.input[i], target = batch.target[i];
        most = std::max<int64_t>(most, input);
        if (target < 0) {
          EXPECT_EQ(input, kFacts.filler());
          ++padding;
        } else {
          EXPECT_TRUE(target == kFacts.end_of_text || !wide().bytes(target).empty()) << target;
        }
      }
    }
    EXPECT_EQ(most, kFacts.filler()) << choice.name;
    EXPECT_GT(padding, 0) << choice.name;
    if (choice.value != Packing::concat) {
      EXPECT_EQ(counted, bytes) << choice.name;
    }
  }
}

TEST(WideIds, AreStoredInTokenFilesOfFourBytes) {
  DataConfig config;
  config.validation_fraction = 0;
  Terminal terminal;
  const auto folder = fresh_folder();
  tokenize(std::make_shared<Text>(), wide(), config, {folder, "t", 1 << 20, 2}, terminal);
  const auto file = folder / "t_train_000001.bin";
  const FileInput input(file);
  const TokenFileHeader header = read_token_file_header(input);
  EXPECT_EQ(header.width, 4);
  const std::string bytes = slurp(file);
  EXPECT_EQ(bytes.size(), 1024u + 4 * static_cast<size_t>(header.tokens));
  EXPECT_EQ(header.fingerprint, kFacts.fingerprint);
  EXPECT_EQ(bytes.substr(0, 8), std::string("\xA1\xD9\x34\x01\x07\x00\x00\x00", 8)) << "llm.c's 20240801, 7";

  for (const int64_t unit : {1, 3, 4, 5, 4096}) {
    Documents documents;
    const auto source = token_source(local_file(file), kFacts, unit);
    for (int64_t i = 0; i < source->units(); ++i) source->read(i, documents);
    ASSERT_EQ(documents.size(), 100) << unit;
    for (int64_t i = 0; i < 100; ++i) {
      std::string expected;
      repair_utf8(Text::text(i), expected);
      ASSERT_EQ(wide().decode(documents.ids(i)), expected) << unit;
    }
  }

  const auto from_file = batches(token_source(local_file(file), kFacts, 4096), Packing::pad);
  int64_t targets = 0;
  for (const Batch& batch : from_file) targets += batch.targets;
  EXPECT_EQ(targets, header.tokens);
}

TEST(WideIds, OutsideOfTheVocabularyAreRefused) {
  const auto file = fresh_folder() / "t.bin";
  for (const auto& [id, words] :
       {std::pair<text::TokenId, const char*>{262'144, "found 262144"}, {-1, "found 4294967295"}}) {
    write_token_file(file, std::vector<text::TokenId>{200'000, 100'065, id}, kFacts);
    Documents documents;
    const auto message =
        user_error_of([&] { token_source(local_file(file), kFacts, 4096)->read(0, documents); });
    EXPECT_THAT(message, HasSubstr("token 2: expected wide ids, 0 to 262143"));
    EXPECT_THAT(message, HasSubstr(words));
  }
}

}  // namespace
}  // namespace moe::data
