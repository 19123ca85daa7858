// SPDX-License-Identifier: MIT
// From the paths in data.source to a Source: which files there are, what format each has, how large the units
// should be.
#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/terminal.h"
#include "data/config.h"
#include "data/decode.h"
#include "data/jsonl.h"
#include "data/parquet.h"
#include "data/source.h"
#include "data/text.h"
#include "data/token_file.h"
#include "data/weighted_source.h"

namespace moe {
namespace {

namespace fs = std::filesystem;

enum class Format : uint8_t { text, jsonl, parquet, tokens };

constexpr std::array<std::pair<std::string_view, Format>, 7> kEndings{{{".txt", Format::text},
                                                                       {".text", Format::text},
                                                                       {".md", Format::text},
                                                                       {".jsonl", Format::jsonl},
                                                                       {".ndjson", Format::jsonl},
                                                                       {".parquet", Format::parquet},
                                                                       {".bin", Format::tokens}}};

std::optional<Format> named_format(std::string_view name) {
  if (name == "auto") return std::nullopt;
  if (name == "text") return Format::text;
  if (name == "jsonl") return Format::jsonl;
  if (name == "parquet") return Format::parquet;
  if (name == "tokens") return Format::tokens;
  throw UserError("data.format", "auto, text, jsonl, parquet or tokens", std::string(name));
}

std::optional<Format> format_of(const fs::path& path) {
  const fs::path inner = is_compressed(path) ? path.stem() : path;
  const std::string ending = inner.extension().string();
  const auto found =
      std::find_if(kEndings.begin(), kEndings.end(), [&](const auto& e) { return e.first == ending; });
  return found == kEndings.end() ? std::nullopt : std::optional(found->second);
}

struct File {
  fs::path path;
  Format format;
};

// Patterns such as "shards/*_train_*.bin" become the files they match, sorted; other paths stay.
std::vector<std::string> expand(const std::vector<std::string>& paths) {
  std::vector<std::string> result;
  for (const std::string& path : paths) {
    std::error_code error;
    if (path.find_first_of("*?[") == std::string::npos || fs::exists(path, error)) {
      result.push_back(path);
      continue;
    }
    glob_t matches{};
    const int status = ::glob(path.c_str(), 0, nullptr, &matches);
    result.insert(result.end(), matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
    ::globfree(&matches);
    if (status != 0) throw UserError(path, "files that match", "none");
  }
  return result;
}

class Finder {
 public:
  Finder(std::optional<Format> format, Terminal& terminal) : format_(format), terminal_(terminal) {}

  std::vector<File> find(const std::vector<std::string>& paths) {
    for (const std::string& path : expand(paths)) {
      std::error_code error;
      if (fs::is_directory(path, error))
        add_folder(path);
      else if (fs::exists(path, error))
        add_file(path);
      else
        throw UserError(path, "a file or a folder", error ? error.message() : "nothing of this name",
                        "data.source lists files and folders");
    }
    return std::move(files_);
  }

 private:
  void add_file(const fs::path& path) {
    const auto format = format_ ? format_ : format_of(path);
    if (!format)
      throw UserError(path.string(), "an ending that tells the format",
                      fmt::format("\"{}\"", path.extension().string()),
                      "set data.format to text, jsonl, parquet or tokens");
    files_.push_back({path, *format});
  }

  // Of a folder: every file of a known format; with data.format, the files of that format, or (for text,
  // which has any ending) all files. Hidden files and folders are left out.
  void add_folder(const fs::path& folder) {
    std::vector<fs::path> found, others;
    try {
      for (auto it =
               fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink);
           it != fs::recursive_directory_iterator(); ++it) {
        if (it->path().filename().string().starts_with(".")) {
          if (it->is_directory()) it.disable_recursion_pending();
        } else if (it->is_regular_file()) {
          const auto format = format_of(it->path());
          const bool wanted = format_ ? format_ == Format::text || format == format_ : format.has_value();
          (wanted ? found : others).push_back(it->path());
        }
      }
    } catch (const fs::filesystem_error& error) {
      throw UserError(folder.string(), "a readable folder", error.code().message());
    }
    std::sort(found.begin(), found.end());
    if (found.empty())
      throw UserError(folder.string(), "files of text, JSON lines, Parquet or tokens",
                      others.empty() ? "an empty folder"
                                     : fmt::format("only others, such as {}", others[0].filename().string()),
                      "data.format says how to read files with other endings");
    if (!others.empty())
      terminal_.line(fmt::format("{}: {} files left out, such as {}", folder.string(), others.size(),
                                 std::min_element(others.begin(), others.end())->filename().string()));
    for (const fs::path& path : found) add_file(path);
  }

  std::optional<Format> format_;
  Terminal& terminal_;
  std::vector<File> files_;
};

// Small texts are cut into more units than data.unit_kb alone would give, so that some can be held out and
// the rest shuffled: about 64 in all, of at least 4 KiB.
int64_t unit_bytes(const std::vector<File>& files, const DataConfig& config) {
  int64_t total = 0;
  for (const File& file : files)
    if (file.format != Format::parquet) total += static_cast<int64_t>(fs::file_size(file.path));
  return std::min(config.unit_kb * 1024, std::max<int64_t>(total / 64, 4096));
}

std::unique_ptr<Source> open_file(const File& file, int64_t unit, const DataConfig& config) {
  switch (file.format) {
    case Format::text:
      return text_source(file.path, parse_document_split(config.document_split), unit);
    case Format::jsonl:
      return jsonl_source(file.path, config.text_column, unit);
    case Format::parquet:
      return parquet_source(file.path, config.text_column);
    case Format::tokens:
      return token_source(file.path, unit);
  }
  CHECK(false, "a format without a reader");
}

}  // namespace

std::shared_ptr<const Source> open_source(const std::vector<std::string>& paths, const DataConfig& config,
                                          Terminal& terminal) {
  if (paths.empty()) throw UserError("data.source", "files or folders", "an empty list");
  std::vector<File> files = Finder(named_format(config.format), terminal).find(paths);
  const fs::path cache = config.cache_dir.empty() ? cache_folder() : fs::path(config.cache_dir);
  for (File& file : files)
    if (is_compressed(file.path)) file.path = decoded_file(file.path, cache, terminal);
  const int64_t unit = unit_bytes(files, config);
  std::vector<std::shared_ptr<const Source>> parts;
  parts.reserve(files.size());
  for (const File& file : files) parts.push_back(open_file(file, unit, config));
  auto source = joined_source(std::move(parts));
  if (source->bytes() == 0)
    throw UserError(fmt::format("{}", paths[0]), "text to train on",
                    files.size() == 1 ? "an empty file" : fmt::format("{} files, all empty", files.size()));
  return source;
}

}  // namespace moe
