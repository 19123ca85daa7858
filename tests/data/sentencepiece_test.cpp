// SPDX-License-Identifier: MIT
// Documents through a tokenizer of SentencePiece: any bytes become batches and token files, whose tokens are
// those of each document alone and whose bytes are the source's, with the space in front.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "data/loader.h"
#include "data/source_bytes.h"
#include "data/support.h"
#include "data/token_file.h"
#include "data/tokenize.h"
#include "text/open_tokenizer.h"

namespace moe::data {
namespace {

constexpr int64_t kDocuments = 60;

// Words, scripts that the models do not have, and bytes that are no UTF-8.
std::string text_of(int64_t document) {
  if (document == 7) return "   ";  // no ids, where spaces are joined
  const Random random(2, "documents");
  const std::string parts[] = {"the token", " ",        "  ", "\n",   "漢字",
                               "\xff",      "\xe6\xbc", "é",  "</s>", std::string(1, '\0')};
  std::string text;
  for (uint64_t i = 0; i < 40; ++i)
    text += parts[random.below(static_cast<uint64_t>(document) * 40 + i, std::size(parts))];
  return text;
}

class Mixed : public NumberedSource {
 public:
  Mixed() : NumberedSource(kDocuments / 5, 5, 100'000) {}
  void read(int64_t unit, Documents& documents) const override {
    for (int64_t i = 0; i < 5; ++i) documents.add_text(text_of(unit * 5 + i));
  }
};

DataConfig everything(Packing packing = {}) {
  DataConfig config;
  config.packing = packing;
  config.validation_fraction = 0;
  config.shuffle_window_mb = 1;
  return config;
}

// The bytes of the source that its tokens stand for.
int64_t bytes_of(const std::string& text, const text::Tokenizer& tokenizer) {
  std::vector<text::TokenId> ids = tokenizer.encode(text);
  mark_excess(text, ids, tokenizer);
  int64_t bytes = 0;
  for (const text::TokenId id : ids) bytes += std::ssize(tokenizer.bytes(id_of(id))) - excess_of(id);
  return bytes;
}

class SentencePieceDocuments : public testing::TestWithParam<const char*> {
 protected:
  std::shared_ptr<const text::Tokenizer> tokenizer = text::open_tokenizer(
      (std::filesystem::path(MOE_SOURCE_DIR) / "tests/golden/text" / GetParam()).string());
};

TEST_P(SentencePieceDocuments, BecomeBatches) {
  int64_t bytes = 0;
  for (int64_t i = 0; i < kDocuments; ++i) {
    bytes += bytes_of(text_of(i), *tokenizer);
    if (std::string_view(GetParam()).find("_bytes") != std::string_view::npos) {
      EXPECT_EQ(bytes_of(text_of(i), *tokenizer), std::ssize(text_of(i)) + 1);
    }
  }
  for (const auto& choice : choices_of(Packing())) {
    Loader loader(std::make_shared<Mixed>(), *tokenizer, everything(choice.value), 7, 3, 40, {}, Part::all);
    int64_t counted = 0;
    while (auto batch = loader.next()) counted += batch->target_bytes;
    if (choice.value == Packing::concat) {
      EXPECT_GT(counted, bytes / 2);  // what no longer fills a batch is left out
    } else {
      EXPECT_EQ(counted, bytes) << choice.name;
    }
  }
}

TEST_P(SentencePieceDocuments, BecomeTokenFiles) {
  Terminal terminal;
  const auto folder = fresh_folder();
  tokenize(std::make_shared<Mixed>(), *tokenizer, everything(), {folder, "t", 1 << 20, 2}, terminal);
  std::vector<std::vector<text::TokenId>> expected, found;
  for (int64_t i = 0; i < kDocuments; ++i) {
    if (auto ids = tokenizer->encode(text_of(i)); !ids.empty()) expected.push_back(std::move(ids));
  }
  const auto source = token_source(local_file(folder / "t_train_000001.bin"), tokenizer->facts(), 100);
  Documents documents;
  for (int64_t i = 0; i < source->units(); ++i) source->read(i, documents);
  for (int64_t i = 0; i < documents.size(); ++i) {
    const auto ids = documents.ids(i);
    found.emplace_back(ids.begin(), ids.end());
  }
  std::sort(expected.begin(), expected.end());
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, expected);
}

INSTANTIATE_TEST_SUITE_P(Models, SentencePieceDocuments,
                         testing::Values("bpe.model", "bpe_bytes.model", "unigram.model",
                                         "unigram_bytes.model"),
                         [](const auto& model) {
                           const std::string name = model.param;
                           return name.substr(0, name.find('.'));
                         });

}  // namespace
}  // namespace moe::data
