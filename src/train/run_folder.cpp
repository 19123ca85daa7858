// SPDX-License-Identifier: MIT
#include "train/run_folder.h"

#include <ctime>
#include <system_error>

#include "base/error.h"
#include "base/file.h"

namespace moe {
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

// Nothing is there, or only what a start that was killed has made on its way to the settings.
bool is_free(const fs::path& folder) {
  if (!fs::exists(folder)) return true;
  if (!fs::is_directory(folder)) return false;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_symlink() || (!entry.is_directory() && !name.starts_with("config.yaml.tmp-"))) return false;
  }
  return true;
}

// The run that a path means as a shell completes it: with a slash at its end, or one of the run's own files.
fs::path run_of(const fs::path& given) {
  fs::path path = given.lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  if (path.filename() == "latest" && path.parent_path().filename() == "checkpoints")
    path = path.parent_path();
  const fs::path run = path.has_parent_path() ? path.parent_path() : fs::path(".");
  for (const char* const part : {"config.yaml", "metrics.jsonl", "checkpoints", "samples"})
    if (path.filename() == part && fs::exists(run / "config.yaml")) return run;
  return path;
}

}  // namespace

RunFolder RunFolder::create(const RunConfig& config, const std::string& stem) {
  const fs::path parent = config.training.output_dir;
  const std::string name =
      config.training.run_name.empty() ? stem + "-" + time_stamp() : config.training.run_name;
  RunFolder folder(parent / name);
  const std::string where = folder.path().string();
  if (fs::exists(folder.config()))
    throw UserError(
        where, "a new folder", "a run that is there already",
        "continue it with `moe train --resume " + where + "`, or choose another training.run_name");
  if (!is_free(folder.path()))
    throw UserError(where, "a new or empty folder", "something else", "choose another training.run_name");
  for (const fs::path& inner : {folder.checkpoints(), folder.samples()})
    make_folders(inner, "set training.output_dir");
  folder.record(config);
  return folder;
}

void RunFolder::record(const RunConfig& config) const {
  write_file_atomically(this->config(), config.yaml());
}

void RunFolder::discard() const {
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

RunFolder RunFolder::open(const fs::path& given) {
  const fs::path path = run_of(given);
  if (fs::exists(path / "config.yaml")) return RunFolder(path);
  if (fs::exists(path / "latest" / "config.yaml")) {
    std::error_code error;
    const fs::path run = fs::canonical(path / "latest", error);
    return RunFolder(error ? path / "latest" : path / run.filename());
  }
  throw UserError(path.string(), "the folder of a run (with config.yaml in it)",
                  fs::exists(path) ? "none there" : "no such folder",
                  "`moe train` prints the folder it writes; by default runs are in runs/");
}

}  // namespace moe
