// SPDX-License-Identifier: MIT
#include "train/run_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <system_error>
#include <tuple>

#include "base/error.h"
#include "base/file.h"
#include "base/private_file.h"
#include "base/secrets.h"
#include "text/chat.h"
#include "text/kept_tokenizer.h"

namespace moe::train {
namespace {

namespace fs = std::filesystem;

std::string time_stamp() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[32];
  std::strftime(text, sizeof(text), "%Y%m%d-%H%M%S", &local);
  return text;
}

void keep(const text::TokenizerChoice& tokenizer, const fs::path& copy) {
  if (tokenizer.name != text::kBuiltInTokenizer)
    text::keep_tokenizer(copy, tokenizer.name, *tokenizer.open());
}

void keep_chat(const RunConfig& config, const fs::path& folder) {
  if (config.data.has_conversations()) text::keep_chat(folder / kChatFolder, *config.data.open_chat());
}

// Its lock says that the folder was a run's.
bool is_of_tokenizer(const fs::path& folder, const fs::path& file) {
  const std::string part = file.lexically_relative(folder).begin()->string();
  const std::string name = kTokenizerFolder;
  return (part == name || part == kChatFolder || part.starts_with(name + ".tmp-")) &&
         fs::exists(folder / "run.lock");
}

// Nothing is there, or only what a start that was killed has made on its way to the settings.
bool is_free(const fs::path& folder) {
  if (!fs::exists(folder)) return true;
  if (!fs::is_directory(folder)) return false;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const bool ours = entry->is_directory() || name == "run.lock" || name.starts_with("config.yaml.tmp-") ||
                      is_of_tokenizer(folder, entry->path());
    if (entry->is_symlink() || !ours) return false;
  }
  if (error) throw UserError(folder.string(), "a folder that can be read", error.message());
  return true;
}

// The run that a path means as a shell completes it: with a slash at its end, or one of the run's own files.
fs::path run_of(const fs::path& given) {
  fs::path path = given.lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  if (path.filename() == "latest" && path.parent_path().filename() == "checkpoints")
    path = path.parent_path();
  fs::path run = folder_of(path);
  for (const char* const part : {"config.yaml", "metrics.jsonl", "checkpoints", "samples"})
    if (path.filename() == part && fs::exists(run / "config.yaml")) return run;
  return path;
}

// As a person here would write it.
fs::path short_path(const fs::path& path) {
  std::error_code ignored;
  const fs::path from_here = fs::proximate(path, ignored);
  return from_here.empty() || *from_here.begin() == ".." ? path : from_here;
}

// A new folder of this name, or with the first number behind it that is free.
fs::path make_numbered(const fs::path& path) {
  for (int number = 1;; ++number) {
    fs::path numbered = number == 1 ? path : fs::path(fmt::format("{}-{}", path.string(), number));
    std::error_code error;
    if (fs::create_directory(numbered, error)) return numbered;  // for one process only
    if (error) throw UserError(numbered.string(), "a folder that can be made", error.message());
  }
}

void expect_unused(const RunFolder& folder) {
  const std::string where = folder.path().string();
  if (fs::exists(folder.config()))
    throw UserError(
        where, "a new folder", "a run that is there already",
        "continue it with `moe train --resume " + where + "`, or choose another training.run_name");
  if (!is_free(folder.path()))
    throw UserError(where, "a new or empty folder", "something else", "choose another training.run_name");
}

}  // namespace

RunFolder RunFolder::create(const RunConfig& config, const std::string& stem) {
  const auto& [output_dir, run_name] = std::tie(config.training.output_dir, config.training.run_name);
  make_folders(output_dir, "set training.output_dir");
  const fs::path parent = short_path(output_dir);
  RunFolder folder(run_name.empty() ? make_numbered(parent / (stem + "-" + time_stamp()))
                                    : parent / run_name);
  std::error_code error;
  fs::create_directory(folder.path(), error);  // an empty one may be there
  synchronise_folder(parent);
  expect_unused(folder);
  folder.lock_ = std::make_shared<RunLock>(folder.path(), nullptr);
  expect_unused(folder);  // by whom the lock was held until now
  try {
    folder.fill(config);
  } catch (...) {
    folder.discard();
    throw;
  }
  return folder;
}

void RunFolder::own(Terminal& terminal) {
  if (!lock_) lock_ = std::make_shared<RunLock>(path_, [&](const std::string& text) { terminal.line(text); });
}

std::string RunFolder::find_again(const RunConfig& config) {
  CHECK(lock_ != nullptr);
  const fs::path before = path_;
  const auto now = lock_->folder();
  if (now && *now == path_ && lock_->in_place()) return "";
  if (!now) {
    make_anew(config);
    return path_ == before
               ? fmt::format("{}: the folder was deleted; it is made anew, and the run goes on there",
                             before.string())
               : fmt::format("{}: another folder is there now; the run goes on in {}", before.string(),
                             path_.string());
  }
  path_ = *now;
  if (!lock_->in_place()) {
    lock_.reset();  // of a file that nobody finds any more
    lock_ = std::make_shared<RunLock>(path_, nullptr);
  }
  return path_ == before ? fmt::format("{}: its run.lock was deleted; it is locked anew", before.string())
                         : fmt::format("{}: the folder was moved; the run goes on in {}", before.string(),
                                       path_.string());
}

void RunFolder::make_anew(const RunConfig& config) {
  const fs::path parent = path_.parent_path();
  if (!parent.empty()) make_folders(parent, "set training.output_dir");
  path_ = make_numbered(path_);
  lock_ = std::make_shared<RunLock>(path_, nullptr);
  fill(config);
}

// The settings last: they make the folder that of a run.
void RunFolder::fill(const RunConfig& config) const {
  make_folders(checkpoints(), "set training.output_dir");
  make_folders(samples(), "set training.output_dir");
  fill_settings(path_, config);
}

void RunFolder::record(const RunConfig& config) const {
  write_settings(this->config(), config);
}

void RunFolder::fill_settings(const fs::path& folder, const RunConfig& config) {
  keep(config.data.tokenizer, folder / kTokenizerFolder);
  keep_chat(config, folder);
  write_settings(folder / "config.yaml", config);
}

void RunFolder::keep_tokenizer(const RunConfig& config) const {
  const fs::path copy = path_ / kTokenizerFolder;
  if (!text::has_kept_tokenizer(copy)) keep(config.data.tokenizer, copy);
  if (!text::has_kept_chat(path_ / kChatFolder)) keep_chat(config, path_);
}

void RunFolder::write_settings(const fs::path& file, const RunConfig& config) {
  const std::string yaml = config.yaml();  // whole: a resumed run needs the addresses as they are
  if (has_secrets(yaml))
    write_private_file_atomically(file, yaml);
  else
    write_file_atomically(file, yaml);
}

void RunFolder::discard() const {
  if (!lock_ || is_lost()) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
  fs::remove(path_.parent_path(), ignored);  // only if empty
}

void RunFolder::become_latest() const {
  std::error_code ignored;
  const fs::path link = path_.parent_path() / "latest";
  const fs::path fresh = link.string() + ".new";
  fs::remove(fresh, ignored);
  fs::create_directory_symlink(path_.filename(), fresh, ignored);
  if (!ignored) fs::rename(fresh, link, ignored);
}

// A link is followed once and for all: `latest` may point to another run while this one goes on.
RunFolder RunFolder::open(const fs::path& given) {
  fs::path path = run_of(given);
  std::error_code error;
  for (int links = 0; fs::is_symlink(path, error) && links < 40; ++links)
    path = path.parent_path() / fs::read_symlink(path, error);
  if (fs::exists(path / "config.yaml")) return RunFolder(path);
  if (fs::exists(path / "latest" / "config.yaml")) {
    const fs::path run = fs::canonical(path / "latest", error);
    return RunFolder(error ? path / "latest" : path / run.filename());
  }
  throw UserError(given.string(), "the folder of a run (with config.yaml in it)",
                  fs::exists(path) ? "none there" : "no such folder",
                  "`moe train` prints the folder it writes; by default runs are in runs/");
}

}  // namespace moe::train
