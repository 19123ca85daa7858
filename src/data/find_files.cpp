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
#include "data/file_kind.h"
#include "data/folder_rules.h"

namespace moe::data {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::pair<std::string_view, DataFormat>, 8> kEndings{{{".txt", DataFormat::text},
                                                                           {".text", DataFormat::text},
                                                                           {".md", DataFormat::text},
                                                                           {".jsonl", DataFormat::jsonl},
                                                                           {".ndjson", DataFormat::jsonl},
                                                                           {".json", DataFormat::jsonl},
                                                                           {".parquet", DataFormat::parquet},
                                                                           {".bin", DataFormat::tokens}}};

std::optional<DataFormat> format_of(const fs::path& path) {
  const fs::path inner = is_compressed(path) ? path.stem() : path;
  const auto found = std::find_if(kEndings.begin(), kEndings.end(), [&](const auto& e) {
    return has_ending(inner.extension().string(), e.first);
  });
  return found == kEndings.end() ? std::nullopt : std::optional(found->second);
}

// By the endings that earlier versions knew.
std::optional<DataFormat> format_before(const fs::path& path) {
  std::string name = path.filename().string();
  for (const char* packed : {".gz", ".dz", ".zst", ".zstd"})
    if (path.extension() == packed) name = path.stem().string();
  const std::string ending = fs::path(name).extension().string();
  for (const auto& [known, format] : kEndings)
    if (ending == known && ending != ".json") return format;
  return std::nullopt;
}

bool is_plain_json(const fs::path& path) {
  return has_ending((is_compressed(path) ? path.stem() : path).string(), ".json");
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

[[noreturn]] void no_place(const std::string& where, const std::error_code& error) {
  throw UserError(where, "a file or a folder", error ? error.message() : "nothing of this name",
                  "data.source lists files and folders, hf://datasets/USER/NAME/PATH and https:// addresses");
}

class Finder {
 public:
  Finder(std::optional<DataFormat> format, Terminal& terminal, std::shared_ptr<Remote> remote,
         FolderRule rule)
      : format_(format), terminal_(terminal), rule_(rule) {
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
          rule_ != FolderRule::as_before
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
      no_place(path, error);
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
      if (rule_ != FolderRule::as_before) format = ending;
    }
    if (!format) {
      const auto kind = kind_of_name(file->name());
      throw UserError(
          file->name(), "an ending that tells the format",
          kind ? kind->what : fmt::format("\"{}\"", fs::path(file->name()).extension().string()),
          kind && !kind->hint.empty() ? kind->hint : "set data.format to text, jsonl, parquet or tokens");
    }
    found_.files.push_back({std::move(file), *format});
  }

  // The files of a folder and of those in it. outer: the folders around it, by their real places.
  void walk(const fs::path& folder, std::vector<fs::path>& outer, std::vector<fs::path>& files) {
    std::error_code error;
    const fs::path real = fs::canonical(folder, error);
    if (!error && std::find(outer.begin(), outer.end(), real) != outer.end())
      return skip(folder, "a link to a folder around it");
    fs::directory_iterator entry(folder, error);
    if (error && outer.empty()) throw UserError(folder.string(), "a readable folder", error.message());
    if (error) return skip(folder, error.message());
    outer.push_back(real);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
      const fs::path& path = entry->path();
      if (path.filename().string().starts_with(".")) continue;
      std::error_code status_error;
      const auto type = fs::status(path, status_error).type();
      if (type == fs::file_type::directory)
        walk(path, outer, files);
      else if (type == fs::file_type::regular)
        files.push_back(path);
      else
        skip(path, status_error ? status_error.message() : "no ordinary file");
    }
    if (error) throw UserError(folder.string(), "a readable folder", error.message());
    outer.pop_back();
  }

  void skip(const fs::path& path, const std::string& reason) {
    terminal_.line(fmt::format("{}: left out: {}", path.string(), reason));
  }

  void add_folder(const fs::path& folder) {
    std::vector<fs::path> paths, outer;
    walk(folder, outer, paths);
    std::sort(paths.begin(), paths.end());
    std::vector<DataFilePtr> files;
    files.reserve(paths.size());
    for (const fs::path& path : paths) files.push_back(local_file(path));
    add_all(folder.string(), std::move(files));
  }

  // Whether a file of a folder is to be read, by its name. json: whether .json is data.
  bool wanted(const std::string& name, bool json) const {
    const bool before = rule_ == FolderRule::as_before;
    const auto format = before ? format_before(name) : format_of(name);
    if (!before && (is_card(name) || (is_plain_json(name) && !json && format_ != DataFormat::text)))
      return false;
    if (!format_) return format.has_value();
    if (format_ != DataFormat::text) return format == format_;
    const auto other = kind_of_name(name);
    return before || !other || other->is_text;
  }

  // Of a folder.
  void add_all(const std::string& folder, std::vector<DataFilePtr> files) {
    std::erase_if(files,
                  [](const DataFilePtr& file) { return name_of(*file).starts_with("."); });  // of the hub
    // Beside data of another format, .json is what describes it.
    const bool json = std::none_of(files.begin(), files.end(), [](const DataFilePtr& file) {
      const auto format = format_of(file->name());
      return format && *format != DataFormat::text && !is_plain_json(file->name());
    });
    std::vector<DataFilePtr> taken;
    std::vector<std::string> cards, others, below;
    for (DataFilePtr& file : files) {
      const std::string name = name_of(*file);
      if (wanted(name, json)) {
        below.push_back(file->name().substr(std::min(folder.size(), file->name().size())));
        taken.push_back(std::move(file));
      } else {
        (is_card(name) ? cards : others).push_back(name);
      }
    }
    take_split(folder, below, taken);
    if (taken.empty()) {
      const std::string first = others.empty() ? cards.empty() ? "" : cards[0] : others[0];
      const auto kind = kind_of_name(first);
      throw UserError(
          folder, "files of text, JSON lines, Parquet or tokens",
          first.empty() ? "an empty folder" : fmt::format("only others, such as {}", first),
          kind && !kind->hint.empty() ? kind->hint : "data.format says how to read files with other endings");
    }
    std::vector<std::string> as_text;  // settings of a program, more often than rows
    for (DataFilePtr& file : taken) {
      if (format_ == DataFormat::text && is_plain_json(name_of(*file))) {
        as_text.push_back(name_of(*file));
        found_.files.push_back({std::move(file), DataFormat::text});
      } else {
        add_file(std::move(file));
      }
    }
    say_of(folder, as_text, "files read as text, as data.format says, such as");
    say_of(folder, cards, "cards or licences left out, such as");
    say_of(folder, others, "files left out, such as");
  }

  // Leaves the train split, when there are several.
  void take_split(const std::string& folder, const std::vector<std::string>& below,
                  std::vector<DataFilePtr>& files) {
    if (rule_ == FolderRule::as_before) return;
    const std::vector<bool> other = other_splits(below);
    std::vector<DataFilePtr> train;
    std::vector<std::string> left_out;
    for (size_t i = 0; i < files.size(); ++i) {
      if (other[i])
        left_out.push_back(name_of(*files[i]));
      else
        train.push_back(std::move(files[i]));
    }
    files = std::move(train);
    if (!left_out.empty() && rule_ == FolderRule::one_split)
      throw UserError(folder, "files of one split", fmt::format("train and others, such as {}", left_out[0]),
                      "name the split's folder or file");
    say_of(folder, left_out, "files of other splits than train left out, such as");
  }

  void say_of(const std::string& folder, const std::vector<std::string>& names, const char* words) {
    if (names.empty()) return;
    terminal_.line(fmt::format("{}: {} {} {}", folder, names.size(), words,
                               *std::min_element(names.begin(), names.end())));
  }

  std::optional<DataFormat> format_;
  Terminal& terminal_;
  const FolderRule rule_;
  int64_t contradicting_ = 0;  // files
  std::string contradiction_example_;
  FoundFiles found_;
};

}  // namespace

std::optional<DataFormat> asked_format(FormatSetting setting) {
  switch (setting) {
    case FormatSetting::automatic:
      return std::nullopt;
    case FormatSetting::text:
      return DataFormat::text;
    case FormatSetting::jsonl:
      return DataFormat::jsonl;
    case FormatSetting::parquet:
      return DataFormat::parquet;
    case FormatSetting::tokens:
      return DataFormat::tokens;
  }
  CHECK(false, "a setting without a format");
}

FolderRule folder_rule(const DataConfig& config) {
  return config.rules == 1 ? FolderRule::as_before : FolderRule::data;
}

FoundFiles find_files(const std::vector<std::string>& places, std::optional<DataFormat> format,
                      Terminal& terminal, std::shared_ptr<Remote> remote, FolderRule rule) {
  return Finder(format, terminal, std::move(remote), rule).find(places);
}

void expect_places(const std::string& where, const std::vector<std::string>& places) {
  for (const std::string& place : places) {
    if (is_remote(place)) continue;
    for (const std::string& path : expand(place))
      if (std::error_code error; !fs::exists(path, error))
        no_place(fmt::format("{}: {}", where, path), error);
  }
}

}  // namespace moe::data
