// SPDX-License-Identifier: MIT
#include "data/find_files.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "data/config.h"
#include "data/decode.h"

namespace moe {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::pair<std::string_view, DataFormat>, 7> kEndings{{{".txt", DataFormat::text},
                                                                           {".text", DataFormat::text},
                                                                           {".md", DataFormat::text},
                                                                           {".jsonl", DataFormat::jsonl},
                                                                           {".ndjson", DataFormat::jsonl},
                                                                           {".parquet", DataFormat::parquet},
                                                                           {".bin", DataFormat::tokens}}};

std::optional<DataFormat> format_of(const fs::path& path) {
  const fs::path inner = is_compressed(path) ? path.stem() : path;
  const std::string ending = inner.extension().string();
  const auto found =
      std::find_if(kEndings.begin(), kEndings.end(), [&](const auto& e) { return e.first == ending; });
  return found == kEndings.end() ? std::nullopt : std::optional(found->second);
}

// Patterns such as "shards/*_train_*.bin" become the files they match, sorted; other paths stay.
std::vector<std::string> expand(const std::string& path) {
  std::error_code error;
  if (path.find_first_of("*?[") == std::string::npos || fs::exists(path, error)) return {path};
  glob_t matches{};
  const int status = ::glob(path.c_str(), 0, nullptr, &matches);
  std::vector<std::string> result(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
  ::globfree(&matches);
  if (status != 0) throw UserError(path, "files that match", "none");
  return result;
}

class Finder {
 public:
  Finder(std::optional<DataFormat> format, Terminal& terminal, std::shared_ptr<Remote> remote,
         Contradiction contradiction)
      : format_(format), terminal_(terminal), contradiction_(contradiction) {
    found_.remote = std::move(remote);
  }

  FoundFiles find(const std::vector<std::string>& places) {
    for (const std::string& place : places) {
      if (is_remote(place)) {
        add_remote(place);
        continue;
      }
      for (const std::string& path : expand(place)) add_local(path);
    }
    if (contradicting_ > 0)
      terminal_.warning(fmt::format(
          "{} {} not data.format, such as {}: {}", contradicting_,
          contradicting_ == 1 ? "file's ending says" : "files' endings say", contradiction_example_,
          contradiction_ == Contradiction::ending_wins
              ? "read by the ending"
              : "read by data.format, as version 0.1 did when this run began (data.rules 1)"));
    return std::move(found_);
  }

 private:
  void add_local(const std::string& path) {
    std::error_code error;
    if (fs::is_directory(path, error))
      add_folder(path);
    else if (fs::exists(path, error))
      add_file(local_file(path));
    else
      throw UserError(
          path, "a file or a folder", error ? error.message() : "nothing of this name",
          "data.source lists files and folders, hf://datasets/USER/NAME/PATH and https:// addresses");
  }

  void add_remote(const std::string& place) {
    if (!found_.remote) found_.remote = Remote::open(terminal_, DataConfig());
    std::vector<DataFilePtr> files = found_.remote->files(place);
    if (files.size() == 1 && (!place.starts_with("hf://") || place.ends_with(name_of(*files[0]))))
      return add_file(files[0]);
    add_all(place, std::move(files));
  }

  static std::string name_of(const DataFile& file) { return fs::path(file.name()).filename().string(); }

  void add_file(DataFilePtr file) {
    const auto ending = format_of(file->name());
    auto format = format_ ? format_ : ending;
    if (format_ && ending && ending != format_ && ending != DataFormat::text) {
      if (contradicting_++ == 0) contradiction_example_ = file->name();
      if (contradiction_ == Contradiction::ending_wins) format = ending;
    }
    if (!format)
      throw UserError(file->name(), "an ending that tells the format",
                      fmt::format("\"{}\"", fs::path(file->name()).extension().string()),
                      "set data.format to text, jsonl, parquet or tokens");
    found_.files.push_back({std::move(file), *format});
  }

  void add_folder(const fs::path& folder) {
    std::vector<fs::path> paths;
    try {
      for (auto it =
               fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink);
           it != fs::recursive_directory_iterator(); ++it) {
        if (it->path().filename().string().starts_with(".")) {
          if (it->is_directory()) it.disable_recursion_pending();
        } else if (it->is_regular_file()) {
          paths.push_back(it->path());
        }
      }
    } catch (const fs::filesystem_error& error) {
      throw UserError(folder.string(), "a readable folder", error.code().message());
    }
    std::sort(paths.begin(), paths.end());
    std::vector<DataFilePtr> files;
    files.reserve(paths.size());
    for (const fs::path& path : paths) files.push_back(local_file(path));
    add_all(folder.string(), std::move(files));
  }

  // Of a folder.
  void add_all(const std::string& folder, std::vector<DataFilePtr> files) {
    std::vector<std::string> others;
    const size_t before = found_.files.size();
    for (DataFilePtr& file : files) {
      const std::string name = name_of(*file);
      const auto format = format_of(name);
      const bool wanted = format_ ? format_ == DataFormat::text || format == format_ : format.has_value();
      if (name.starts_with(".")) continue;  // of the hub
      if (wanted)
        add_file(std::move(file));
      else
        others.push_back(name);
    }
    if (found_.files.size() == before)
      throw UserError(folder, "files of text, JSON lines, Parquet or tokens",
                      others.empty() ? "an empty folder" : fmt::format("only others, such as {}", others[0]),
                      "data.format says how to read files with other endings");
    if (!others.empty())
      terminal_.line(fmt::format("{}: {} files left out, such as {}", folder, others.size(),
                                 *std::min_element(others.begin(), others.end())));
  }

  std::optional<DataFormat> format_;
  Terminal& terminal_;
  Contradiction contradiction_;
  int64_t contradicting_ = 0;  // files
  std::string contradiction_example_;
  FoundFiles found_;
};

}  // namespace

std::optional<DataFormat> parse_data_format(std::string_view name) {
  if (name == "auto") return std::nullopt;
  if (name == "text") return DataFormat::text;
  if (name == "jsonl") return DataFormat::jsonl;
  if (name == "parquet") return DataFormat::parquet;
  if (name == "tokens") return DataFormat::tokens;
  throw UserError("data.format", "auto, text, jsonl, parquet or tokens", std::string(name));
}

FoundFiles find_files(const std::vector<std::string>& places, std::optional<DataFormat> format,
                      Terminal& terminal, std::shared_ptr<Remote> remote, Contradiction contradiction) {
  return Finder(format, terminal, std::move(remote), contradiction).find(places);
}

}  // namespace moe
