// SPDX-License-Identifier: MIT
#include "data/file_kind.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>

namespace moe::data {
namespace {

// command: {} is the file. Empty: there is none.
struct Kind {
  std::string_view what, command;
  bool is_text = false;
};

constexpr Kind kXz{"a file compressed with xz", "xz -dk {}"};
constexpr Kind kBzip2{"a file compressed with bzip2", "bzip2 -dk {}"};
constexpr Kind kGzip{"data compressed with gzip", "mv {0} {0}.gz"};
constexpr Kind kZstd{"data compressed with zstd", "mv {0} {0}.zst"};
constexpr Kind kLz4{"a file compressed with lz4", "lz4 -d {}"};
constexpr Kind kTar{"a tar archive", "tar xf {}"};
constexpr Kind kZip{"a zip archive", "unzip {}"};
constexpr Kind k7z{"a 7-Zip archive", "7z x {}"};
constexpr Kind kRar{"a RAR archive", "unrar x {}"};
constexpr Kind kPdf{"a PDF", "pdftotext {}"};
constexpr Kind kWords{"a formatted document", "pandoc -t plain -o {0}.txt {0}"};
constexpr Kind kHtml{"a formatted document", "pandoc -t plain -o {0}.txt {0}", true};
constexpr Kind kTable{"a table",
                      "python3 -c \"import pandas; pandas.read_csv('{0}').to_parquet('{0}.parquet')\"", true};
constexpr Kind kTabs{
    "a table", "python3 -c \"import pandas; pandas.read_csv('{0}', sep='\\t').to_parquet('{0}.parquet')\"",
    true};
constexpr Kind kArrow{
    "an Arrow file",
    "python3 -c \"import datasets; datasets.Dataset.from_file('{0}').to_parquet('{0}.parquet')\""};
constexpr Kind kImage{"an image", ""};
constexpr Kind kParquet{"a Parquet file", "mv {0} {0}.parquet"};
constexpr Kind kSqlite{"an SQLite database", ""};
constexpr Kind kUtf16{"text in UTF-16", "iconv -f UTF-16 -t UTF-8 {0} > {0}.utf8.txt"};
constexpr Kind kUtf16Little{"text in UTF-16", "iconv -f UTF-16LE -t UTF-8 {0} > {0}.utf8.txt"};
constexpr Kind kUtf16Big{"text in UTF-16", "iconv -f UTF-16BE -t UTF-8 {0} > {0}.utf8.txt"};
constexpr Kind kUtf32{"text in UTF-32", "iconv -f UTF-32 -t UTF-8 {0} > {0}.utf8.txt"};

using Table = std::pair<std::string_view, Kind>;
// The longer ones first.
constexpr std::array<Table, 29> kEndings{
    {{".tar.gz", kTar}, {".tar.xz", kTar},  {".tar.bz2", kTar},   {".tar.zst", kTar}, {".tar", kTar},
     {".tgz", kTar},    {".xz", kXz},       {".lzma", kXz},       {".bz2", kBzip2},   {".lz4", kLz4},
     {".zip", kZip},    {".7z", k7z},       {".rar", kRar},       {".pdf", kPdf},     {".docx", kWords},
     {".odt", kWords},  {".epub", kWords},  {".html", kHtml},     {".htm", kHtml},    {".csv", kTable},
     {".tsv", kTabs},   {".arrow", kArrow}, {".png", kImage},     {".jpg", kImage},   {".jpeg", kImage},
     {".gif", kImage},  {".webp", kImage},  {".sqlite", kSqlite}, {".db", kSqlite}}};
using namespace std::string_view_literals;
constexpr std::array<Table, 18> kBeginnings{{{"\xFD"
                                              "7zXZ\0"sv,
                                              kXz},
                                             {"BZh"sv, kBzip2},
                                             {"\x1F\x8B"sv, kGzip},
                                             {"\x28\xB5\x2F\xFD"sv, kZstd},
                                             {"\x04\x22\x4D\x18"sv, kLz4},
                                             {"PK\x03\x04"sv, kZip},
                                             {"7z\xBC\xAF\x27\x1C"sv, k7z},
                                             {"Rar!\x1A\x07"sv, kRar},
                                             {"%PDF-"sv, kPdf},
                                             {"PAR1"sv, kParquet},
                                             {"ARROW1"sv, kArrow},
                                             {"\x89PNG"sv, kImage},
                                             {"\xFF\xD8\xFF"sv, kImage},
                                             {"SQLite format 3"sv, kSqlite},
                                             {"\xFF\xFE\0\0"sv, kUtf32},
                                             {"\0\0\xFE\xFF"sv, kUtf32},
                                             {"\xFF\xFE"sv, kUtf16},
                                             {"\xFE\xFF"sv, kUtf16}}};

FileKind described(const Kind& kind, std::string_view name) {
  const std::string file = std::filesystem::path(name).filename().string();
  FileKind result{std::string(kind.what), "", kind.is_text};
  if (!kind.command.empty())
    result.hint = "make it readable with: " + fmt::format(fmt::runtime(kind.command), file);
  return result;
}

// Without a byte order mark: of Latin letters every other byte is zero.
std::optional<Kind> utf16_by_zeros(std::string_view head) {
  const size_t pairs = std::min<size_t>(head.size() / 2, 2048);
  size_t first = 0, second = 0;
  for (size_t i = 0; i < pairs; ++i) {
    first += head[2 * i] == '\0' ? 1 : 0;
    second += head[2 * i + 1] == '\0' ? 1 : 0;
  }
  if (pairs < 8) return std::nullopt;
  if (second * 10 > pairs * 7 && first * 20 < pairs) return kUtf16Little;
  if (first * 10 > pairs * 7 && second * 20 < pairs) return kUtf16Big;
  return std::nullopt;
}

}  // namespace

bool has_ending(std::string_view name, std::string_view ending) {
  const auto lower = [](char c) { return std::tolower(static_cast<unsigned char>(c)); };
  return name.size() >= ending.size() &&
         std::equal(ending.begin(), ending.end(), name.end() - static_cast<std::ptrdiff_t>(ending.size()),
                    [&](char a, char b) { return lower(a) == lower(b); });
}

std::optional<FileKind> kind_of_name(std::string_view name) {
  for (const auto& [ending, kind] : kEndings)
    if (has_ending(name, ending)) return described(kind, name);
  return std::nullopt;
}

std::optional<FileKind> kind_of_content(std::string_view head, std::string_view name) {
  for (const auto& [beginning, kind] : kBeginnings)
    if (head.starts_with(beginning)) return described(kind, name);
  if (head.size() > 262 && head.substr(257, 5) == "ustar") return described(kTar, name);
  if (const auto kind = utf16_by_zeros(head)) return described(*kind, name);
  return std::nullopt;
}

}  // namespace moe::data
