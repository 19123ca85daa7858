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
#include "text/tokenizer.h"

namespace moe {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are read as they lie on disk");
constexpr int32_t kMagic = 20240520, kVersion = 1;
constexpr uint16_t kEnd = Tokenizer::kEndOfText;

std::vector<uint16_t> read_ids(const Input& input, int64_t begin, int64_t end) {
  const std::string bytes = input.read(kTokenFileHeader + 2 * begin, kTokenFileHeader + 2 * end);
  std::vector<uint16_t> ids(bytes.size() / 2);
  if (!ids.empty()) std::memcpy(ids.data(), bytes.data(), ids.size() * 2);
  return ids;
}

class TokenSource : public FileSource {
 public:
  TokenSource(const DataFilePtr& file, int64_t unit_bytes) : FileSource(file, unit_bytes, "tokens") {
    check_token_file(*file->open());
  }

 private:
  void read_range(const Input& input, int64_t begin, int64_t end, Documents& documents) const override {
    read_tokens(input, begin, end, documents);
  }
};

}  // namespace

void check_token_file(const Input& input) {
  std::array<int32_t, 256> header{};
  const std::string bytes = input.read(0, kTokenFileHeader);
  std::memcpy(header.data(), bytes.data(), bytes.size());
  const auto refuse = [&](const std::string& expected, const std::string& found) {
    throw UserError(input.name(), expected, found,
                    "token files are written by `moe tokenize` or llm.c's scripts");
  };
  if (static_cast<int64_t>(bytes.size()) < kTokenFileHeader)
    refuse(fmt::format("a header of {} bytes", kTokenFileHeader), fmt::format("{} bytes", bytes.size()));
  if (header[0] != kMagic)
    refuse(fmt::format("a token file (first number {})", kMagic), std::to_string(header[0]));
  if (header[1] != kVersion)
    refuse(fmt::format("version {} (GPT-2 ids of 2 bytes)", kVersion), fmt::format("version {}", header[1]));
  const int64_t size = kTokenFileHeader + 2 * int64_t{header[2]};
  if (header[2] < 0 || size != input.size())
    refuse(fmt::format("{} bytes for the {} tokens its header gives", size, header[2]),
           fmt::format("{} bytes", input.size()));
}

void read_tokens(const Input& input, int64_t begin, int64_t end, Documents& documents) {
  constexpr int64_t kAhead = 32 << 10;  // at first
  const int64_t count = (input.size() - kTokenFileHeader) / 2;
  const int64_t first = (begin + 1) / 2, last = std::min((end + 1) / 2, count);
  std::vector<uint16_t> ids = read_ids(input, first, std::min(last + kAhead, count));
  const auto own = ids.begin() + std::max<int64_t>(0, last - first);
  auto at = first == 0 ? ids.begin() : std::find(ids.begin(), own, kEnd);
  if (at == own) return;
  const auto start = at - ids.begin();
  // On to the end of the last document.
  auto stop = std::find(own, ids.end(), kEnd);
  for (int64_t ahead = kAhead; stop == ids.end() && last + ahead < count; ahead *= 2) {
    if (ahead * 2 >= kLongestDocument)
      throw UserError(fmt::format("{}, token {}", input.name(), last),
                      fmt::format("documents shorter than {} tokens", kLongestDocument / 2), "a longer one",
                      "documents are told apart by token 50256, <|endoftext|>");
    const auto more = read_ids(input, last + ahead, std::min(last + 2 * ahead, count));
    const auto seen = std::ssize(ids);
    ids.insert(ids.end(), more.begin(), more.end());
    stop = std::find(ids.begin() + seen, ids.end(), kEnd);
  }
  at = ids.begin() + start;
  const auto bad = std::find_if(at, stop, [](uint16_t id) { return id > kEnd; });
  if (bad != stop)
    throw UserError(fmt::format("{}, token {}", input.name(), first + (bad - ids.begin())),
                    "GPT-2 ids, 0 to 50256", std::to_string(*bad),
                    "were these tokens made with another tokenizer?");
  while (at != stop) {
    if (*at == kEnd) ++at;
    const auto next = std::find(at, stop, kEnd);
    documents.add_ids(std::span(at, next));
    at = next;
  }
}

std::unique_ptr<Source> token_source(const DataFilePtr& file, int64_t unit_bytes) {
  return std::make_unique<TokenSource>(file, unit_bytes);
}

void write_token_file(const std::filesystem::path& path, std::span<const uint16_t> ids) {
  CHECK(static_cast<int64_t>(ids.size()) <= kTokenFileMost);
  const std::array<int32_t, 256> header{kMagic, kVersion, static_cast<int32_t>(ids.size())};
  FileWriter writer(path, sizeof(header) + ids.size_bytes());
  writer.write(header.data(), sizeof(header));
  writer.write(ids.data(), ids.size_bytes());
  writer.commit();
}

}  // namespace moe
