// SPDX-License-Identifier: MIT
#include "wandb/run_files.h"

#include <fmt/format.h>

#include <ctime>
#include <random>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace moe::wandb {
namespace {

namespace fs = std::filesystem;

// Not reproducible on purpose: two runs of one seed are two runs.
std::string new_id() {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::random_device device;
  std::uniform_int_distribution<size_t> pick(0, kLetters.size() - 1);
  std::string id;
  for (int i = 0; i < 8; ++i) id += kLetters[pick(device)];
  return id;
}

std::string time_stamp(double now) {
  const auto seconds = static_cast<std::time_t>(now);
  std::tm local{};
  localtime_r(&seconds, &local);
  char text[32];
  std::strftime(text, sizeof(text), "%Y%m%d_%H%M%S", &local);
  return text;
}

struct State {
  std::string id, folder;
};

// Whether what is there lies below `parent`, wherever links lead to.
bool is_below(const fs::path& parent, const fs::path& path) {
  std::error_code error;
  const fs::path real_parent = fs::canonical(parent, error);
  if (error) return false;
  const fs::path real = fs::canonical(path, error);
  if (error) return false;
  const fs::path inner = real.lexically_relative(real_parent);
  return !inner.empty() && *inner.begin() != ".." && *inner.begin() != ".";
}

// The file may be that of somebody else's run: it is believed no more than a word on the command line.
State read_state(const fs::path& path) {
  if (!fs::exists(path)) return {};
  const auto json = try_parse_json(read_file(path));
  if (!json || !json->is_object()) return {};
  const auto text = [&](const char* name) {
    const auto found = json->find(name);
    return found != json->end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  State state{text("id"), text("folder")};
  check_run_id(path.string() + ": id", state.id);
  return state;
}

// Only a convenience: not on file systems without links.
void link_latest(const fs::path& folder) {
  std::error_code ignored;
  const fs::path link = folder.parent_path() / "latest-run", fresh = link.string() + ".new";
  fs::remove(fresh, ignored);
  fs::create_directory_symlink(folder.filename(), fresh, ignored);
  if (!ignored) fs::rename(fresh, link, ignored);
}

}  // namespace

RunFiles RunFiles::open(const Settings& settings, const fs::path& state, bool resumed, double now) {
  RunFiles files;
  const State before = resumed ? read_state(state) : State{};
  files.id = !settings.run_id.empty() ? settings.run_id : !before.id.empty() ? before.id : new_id();
  if (!before.folder.empty() && before.id == files.id) {
    files.folder =
        fs::path(before.folder).is_absolute() ? fs::path(before.folder) : state.parent_path() / before.folder;
    // In the run's folder, or in WANDB_DIR; elsewhere nothing is written, whatever the file says.
    std::error_code none;
    const bool ours = is_below(state.parent_path(), files.folder) || is_below(settings.folder, files.folder);
    if (ours && fs::is_regular_file(fs::symlink_status(files.records(), none))) {
      files.existed = true;
      for (const char* name : {".synced", ".syncstate"}) {  // no longer
        const fs::path mark = files.records().string() + name;
        std::error_code error;
        fs::remove(mark, error);
        if (error) throw UserError(mark.string(), "to be able to remove it", error.message());
      }
      return files;
    }
  }
  const std::string hidden = (settings.folder / ".wandb").string();
  const fs::path parent = fs::exists(hidden) ? fs::path(hidden) : settings.folder / "wandb";
  std::error_code none;
  if (fs::is_symlink(parent, none) && fs::equivalent(settings.folder, state.parent_path(), none))
    throw UserError(parent.string(), "a folder of the run's own", "a link", "WANDB_DIR names another place");
  const std::string stem =
      fmt::format("{}run-{}", settings.mode == Mode::offline ? "offline-" : "", time_stamp(now));
  files.folder = parent / fmt::format("{}-{}", stem, files.id);
  for (const char* name : {"files", "logs"})
    make_folders(files.folder / name, "WANDB_DIR names another place");
  for (const char* name : {"debug.log", "debug-internal.log"})
    write_file_atomically(files.folder / "logs" / name, "");
  write_file_atomically(files.file("requirements.txt"), "");
  link_latest(files.folder);
  // Beside the state file: by its relative name, so that the run's folder can be moved.
  std::error_code error;
  const fs::path near = fs::relative(files.folder, state.parent_path(), error);
  const bool inside = !error && !near.empty() && *near.begin() != "..";
  const OrderedJson json = {{"id", files.id},
                            {"folder", (inside ? near : fs::absolute(files.folder)).string()}};
  write_file_atomically(state, json.dump(2) + "\n");
  return files;
}

}  // namespace moe::wandb
