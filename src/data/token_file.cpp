// SPDX-License-Identifier: MIT
#include "data/token_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/file_source.h"
#include "data/text.h"
#include "text/gpt2_tokenizer.h"

namespace moe::data {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are read as they lie on disk");
// A kind of file, by the head of its header.
struct Kind {
  int32_t magic, version;
  int64_t width;
  const char* words;  // for version
};
constexpr Kind kNarrow{20240520, 1, sizeof(uint16_t), "ids of 2 bytes"};
constexpr Kind kWide{20240801, 7, sizeof(uint32_t), "ids of 4 bytes"};
constexpr text::TokenId kMostNarrow = 1 << 16;  // tokens of a vocabulary

template <class Stored>
std::vector<text::TokenId> widen(std::string_view bytes) {
  std::vector<text::TokenId> ids(bytes.size() / sizeof(Stored));
  for (size_t i = 0; i < ids.size(); ++i) {
    Stored id;
    std::memcpy(&id, bytes.data() + i * sizeof(id), sizeof(id));
    ids[i] = static_cast<text::TokenId>(id);  // 2^31 and more become negative: no ids either
  }
  return ids;
}

// A few at a time: a second copy of a shard would take 200 MB.
template <class Stored>
void write_ids(FileWriter& writer, std::span<const text::TokenId> ids) {
  std::array<Stored, 4096> stored;
  while (!ids.empty()) {
    const size_t count = std::min(ids.size(), stored.size());
    for (size_t i = 0; i < count; ++i) stored[i] = static_cast<Stored>(ids[i]);
    writer.write(stored.data(), count * sizeof(Stored));
    ids = ids.subspan(count);
  }
}

std::vector<text::TokenId> read_ids(const Input& input, int64_t width, int64_t begin, int64_t end) {
  const std::string bytes =
      input.read(kTokenFileHeaderBytes + width * begin, kTokenFileHeaderBytes + width * end);
  return width == kNarrow.width ? widen<uint16_t>(bytes) : widen<uint32_t>(bytes);
}

constexpr uint64_t kGpt2 = text::Gpt2Tokenizer::kFacts.fingerprint;

// The same number may be a token of both: ids that are in range say little.
void expect_its_ids(const std::string& where, const TokenFileHeader& header,
                    const text::TokenizerFacts& tokenizer) {
  const bool of_gpt2 = header.fingerprint == 0 && header.width == kNarrow.width;
  const uint64_t found = of_gpt2 ? kGpt2 : header.fingerprint;
  if (found == 0 || found == tokenizer.fingerprint) return;
  throw UserError(where,
                  fmt::format("ids of data.tokenizer, {} (fingerprint {})", tokenizer.name,
                              text::fingerprint_text(tokenizer.fingerprint)),
                  found == kGpt2 ? "those of GPT-2" : "those of fingerprint " + text::fingerprint_text(found),
                  "set data.tokenizer to the one that made them, or run `moe tokenize` again");
}

class TokenSource : public FileSource {
 public:
  TokenSource(const DataFilePtr& file, const text::TokenizerFacts& tokenizer, int64_t unit_bytes)
      : FileSource(file, unit_bytes, "tokens"),
        header_(read_token_file_header(*file->open())),
        tokenizer_(tokenizer) {
    expect_its_ids(file->name(), header_, tokenizer);
  }

 private:
  void read_range(const Input& input, int64_t begin, int64_t end, Documents& documents) const override {
    read_tokens(input, header_, tokenizer_, begin, end, documents);
  }

  const TokenFileHeader header_;
  const text::TokenizerFacts tokenizer_;
};

}  // namespace

TokenFileHeader read_token_file_header(const Input& input) {
  std::array<int32_t, 256> header{};
  const std::string bytes = input.read(0, kTokenFileHeaderBytes);
  std::memcpy(header.data(), bytes.data(), bytes.size());
  const auto refuse = [&](const std::string& expected, const std::string& found) {
    throw UserError(input.name(), expected, found,
                    "token files are written by `moe tokenize` or llm.c's scripts");
  };
  if (static_cast<int64_t>(bytes.size()) < kTokenFileHeaderBytes)
    refuse(fmt::format("a header of {} bytes", kTokenFileHeaderBytes), fmt::format("{} bytes", bytes.size()));
  const Kind& kind = header[0] == kWide.magic ? kWide : kNarrow;
  if (header[0] != kind.magic)
    refuse(fmt::format("a token file (first number {})", kind.magic), std::to_string(header[0]));
  if (header[1] != kind.version)
    refuse(fmt::format("version {} ({})", kind.version, kind.words), fmt::format("version {}", header[1]));
  const int64_t size = kTokenFileHeaderBytes + kind.width * int64_t{header[2]};
  if (header[2] < 0 || size != input.size())
    refuse(fmt::format("{} bytes for the {} tokens its header gives", size, header[2]),
           fmt::format("{} bytes", input.size()));
  const uint64_t low = static_cast<uint32_t>(header[3]), high = static_cast<uint32_t>(header[4]);
  return {kind.width, header[2], high << 32 | low};
}

void read_tokens(const Input& input, const TokenFileHeader& header, const text::TokenizerFacts& tokenizer,
                 int64_t begin, int64_t end, Documents& documents) {
  const text::TokenId document_start = tokenizer.end_of_text;
  constexpr int64_t kAhead = 32 << 10;  // at first
  const int64_t width = header.width, count = header.tokens;
  const int64_t first = (begin + width - 1) / width, last = std::min((end + width - 1) / width, count);
  std::vector<text::TokenId> ids = read_ids(input, width, first, std::min(last + kAhead, count));
  const auto own = ids.begin() + std::max<int64_t>(0, last - first);
  auto at = first == 0 ? ids.begin() : std::find(ids.begin(), own, document_start);
  if (at == own) return;
  const auto start = at - ids.begin();
  // On to the end of the last document.
  auto stop = std::find(own, ids.end(), document_start);
  for (int64_t ahead = kAhead; stop == ids.end() && last + ahead < count; ahead *= 2) {
    if (ahead * 2 >= kLongestDocument)
      throw UserError(fmt::format("{}, token {}", input.name(), last),
                      fmt::format("documents shorter than {} tokens", kLongestDocument / 2), "a longer one",
                      fmt::format("documents are told apart by token {}, {}", document_start,
                                  tokenizer.end_of_text_name));
    const auto more = read_ids(input, width, last + ahead, std::min(last + 2 * ahead, count));
    const auto seen = std::ssize(ids);
    ids.insert(ids.end(), more.begin(), more.end());
    stop = std::find(ids.begin() + seen, ids.end(), document_start);
  }
  at = ids.begin() + start;
  const auto bad =
      std::find_if(at, stop, [&](text::TokenId id) { return id < 0 || id >= tokenizer.vocabulary; });
  if (bad != stop)
    throw UserError(fmt::format("{}, token {}", input.name(), first + (bad - ids.begin())),
                    fmt::format("{} ids, 0 to {}", tokenizer.name, tokenizer.vocabulary - 1),
                    std::to_string(static_cast<uint32_t>(*bad)),
                    "were these tokens made with another tokenizer?");
  while (at != stop) {
    if (*at == document_start) ++at;
    const auto next = std::find(at, stop, document_start);
    documents.add_ids(std::span(at, next));
    at = next;
  }
}

std::unique_ptr<Source> token_source(const DataFilePtr& file, const text::TokenizerFacts& tokenizer,
                                     int64_t unit_bytes) {
  return std::make_unique<TokenSource>(file, tokenizer, unit_bytes);
}

void write_token_file(const std::filesystem::path& path, std::span<const text::TokenId> ids,
                      const text::TokenizerFacts& tokenizer) {
  CHECK(static_cast<int64_t>(ids.size()) <= kTokenFileMost);
  const Kind& kind = tokenizer.vocabulary <= kMostNarrow ? kNarrow : kWide;
  const uint64_t mark = tokenizer.fingerprint == kGpt2 ? 0 : tokenizer.fingerprint;
  const std::array<int32_t, 256> header{kind.magic, kind.version, static_cast<int32_t>(ids.size()),
                                        static_cast<int32_t>(mark), static_cast<int32_t>(mark >> 32)};
  FileWriter writer(path, sizeof(header) + ids.size() * static_cast<size_t>(kind.width));
  writer.write(header.data(), sizeof(header));
  if (kind.width == kNarrow.width)
    write_ids<uint16_t>(writer, ids);
  else
    write_ids<uint32_t>(writer, ids);
  writer.commit();
}

}  // namespace moe::data
