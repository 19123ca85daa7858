// SPDX-License-Identifier: MIT
// Saving. Each line of save(), and of its acts, may be the last one executed: after any of them the folder
// holds the old checkpoint or the new one, whole, and `latest` names a whole one.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/disk_full.h"
#include "base/error.h"
#include "base/format.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"
#include "checkpoint/step_folder.h"

namespace moe::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kSpare = uint64_t{1} << 20;  // manifest, folders, the file system's own needs

fs::path partial_of(const fs::path& folder) {
  return folder.string() + std::string(kPartialSuffix);
}

// Removes what is unfinished unless it is kept.
class Unfinished {
 public:
  explicit Unfinished(fs::path path) : path_(std::move(path)) {}
  ~Unfinished() {
    if (!path_.empty()) remove_quietly(path_);
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  const fs::path& path() const { return path_; }
  void keep() { path_.clear(); }

 private:
  fs::path path_;
};

// partial becomes whole. A whole one of the same name trades places with it, in one act where the file system
// can; elsewhere (NFS) it is moved away first, and for that moment only the checkpoints of other steps are
// there.
void publish_folder(const fs::path& partial, const fs::path& whole) {
  if (fs::exists(whole)) {
    constexpr unsigned kExchange = 2;  // RENAME_EXCHANGE; not every C library declares renameat2
    if (syscall(SYS_renameat2, AT_FDCWD, partial.c_str(), AT_FDCWD, whole.c_str(), kExchange) == 0) {
      synchronise_folder(whole.parent_path());  // else a power loss may undo the trade, but not the removal
      fs::remove_all(partial);
      return;
    }
    if (errno != EINVAL && errno != ENOSYS) {
      throw fs::filesystem_error("cannot replace", whole, std::error_code(errno, std::generic_category()));
    }
    const fs::path old = whole.string() + ".old" + std::string(kPartialSuffix);
    fs::rename(whole, old);
    fs::rename(partial, whole);
    synchronise_folder(whole.parent_path());
    fs::remove_all(old);
    return;
  }
  fs::rename(partial, whole);
}

void check_space(const fs::path& folder, uint64_t bytes) {
  const uint64_t needed = bytes + kSpare, available = fs::space(folder).available;
  if (needed <= available) return;
  throw DiskFull(
      folder.string(),
      fmt::format("{} of free disk space for a checkpoint", format_bytes(static_cast<double>(needed))),
      format_bytes(static_cast<double>(available)), "free some space or choose another training.output_dir");
}

Manifest::File write_and_hash(const fs::path& path, const std::vector<TensorStream>& tensors) {
  Hash hash;
  uint64_t bytes = 0;
  write_safetensors(path, tensors, {{"format", "pt"}}, [&](const void* data, size_t size) {
    hash.add(data, size);
    bytes += size;
  });
  return {bytes, hash.hex()};
}

// The old ones go by the same door: first the name of a whole one is taken away, then the files.
void remove_steps(const fs::path& folder, const std::vector<int64_t>& steps) {
  std::vector<fs::path> gone;
  gone.reserve(steps.size());
  try {
    for (const int64_t step : steps) {
      const fs::path whole = folder / step_name(step);
      fs::path partial = partial_of(whole);
      fs::rename(whole, partial);
      gone.push_back(std::move(partial));
    }
    synchronise_folder(folder);  // else a power loss may bring the names back, but not the files
  } catch (...) {
    std::error_code ignored;  // there is an error to report already
    for (size_t i = 0; i < gone.size(); ++i) fs::rename(gone[i], folder / step_name(steps[i]), ignored);
    throw;
  }
  for (const fs::path& partial : gone) fs::remove_all(partial);
}

uint64_t bytes_in(const fs::path& folder) {
  uint64_t bytes = 0;
  for (const auto& file : fs::recursive_directory_iterator(folder))
    if (file.is_regular_file()) bytes += file.file_size();
  return bytes;
}

void prune(const fs::path& folder, int64_t newest, int64_t keep_last) {
  auto steps = whole_steps(folder);
  std::erase_if(steps, [&](int64_t step) { return step > newest; });
  if (keep_last == 0 || std::ssize(steps) <= keep_last) return;
  steps.resize(steps.size() - static_cast<size_t>(keep_last));
  remove_steps(folder, steps);
}

[[noreturn]] void cannot_save(const fs::path& folder, const fs::filesystem_error& error) {
  if (error.code() == std::errc::no_space_on_device)
    throw DiskFull(folder.string(), "room for a checkpoint", error.code().message(), "free some space");
  throw UserError((error.path1().empty() ? folder : error.path1()).string(),
                  "to be able to save a checkpoint", error.code().message());
}

// Of the folder itself, whatever its name; none when there is no such folder.
std::optional<ino_t> identity(const fs::path& folder) {
  struct stat status {};
  return stat(folder.c_str(), &status) == 0 ? std::optional(status.st_ino) : std::nullopt;
}

}  // namespace

CheckpointStore::CheckpointStore(fs::path folder, int64_t keep_last, std::string program)
    : folder_(std::move(folder)), keep_last_(keep_last), program_(std::move(program)) {
  CHECK(keep_last_ >= 0);
}

void CheckpointStore::save(int64_t step, const Files& files, const std::string& state_json, Device& device) {
  Streams streams;
  for (const auto& [name, tensors] : files) streams.emplace_back(name, tensor_streams(tensors, device));
  save(step, streams, state_json);
}

void CheckpointStore::save(int64_t step, const Streams& files, const std::string& state_json) {
  uint64_t bytes = 0;
  for (const auto& [name, tensors] : files) bytes += safetensors_bytes(tensors);
  Unfinished folder(begin(step, {}, bytes, state_json));
  std::map<std::string, Manifest::File> written;
  for (const auto& [name, tensors] : files) written[name] = write_and_hash(folder.path() / name, tensors);
  publish(step, written);
  folder.keep();
}

void CheckpointStore::sweep() {
  try {
    if (!fs::exists(folder_)) return;
    std::vector<fs::path> stale;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      const bool partial = name.starts_with("step-") && name.ends_with(kPartialSuffix);
      if (partial || name.starts_with(std::string(kLatestName) + ".tmp-")) stale.push_back(entry.path());
    }
    for (const auto& path : stale) fs::remove_all(path);
  } catch (const fs::filesystem_error& error) {
    cannot_save(folder_, error);
  }
}

fs::path CheckpointStore::begin(int64_t step, const std::vector<std::string>& files, uint64_t bytes,
                                const std::string& state_json) {
  CHECK(step >= 0);
  Unfinished partial(partial_of(folder_of(step)));
  fs::path made = partial.path();
  try {
    make_folders(folder_);
    sweep();
    check_space(folder_, bytes + state_json.size());
    fs::create_directory(made);
    write_file_atomically(made / kStateName, state_json);
    for (const std::string& name : files) write_file_atomically(made / name, "");
  } catch (const fs::filesystem_error& error) {
    cannot_save(folder_, error);
  }
  partial.keep();
  return made;
}

void CheckpointStore::publish(int64_t step, const std::map<std::string, Manifest::File>& files) {
  Unfinished unfinished(partial_of(folder_of(step)));
  const fs::path whole = folder_of(step), partial = unfinished.path();
  try {
    Manifest manifest{step, program_, files};
    const std::string state = read_file(partial / kStateName);
    Hash hash;
    hash.add(state.data(), state.size());
    manifest.files[std::string(kStateName)] = {state.size(), hash.hex()};
    write_file_atomically(partial / kManifestName, to_json(manifest));
    publish_folder(partial, whole);
    unfinished.keep();
    synchronise_folder(folder_);
    write_file_atomically(folder_ / kLatestName, step_name(step) + "\n");
    prune(folder_, step, keep_last_);
  } catch (const fs::filesystem_error& error) {
    cannot_save(folder_, error);
  }
}

void CheckpointStore::abandon(int64_t step) noexcept {
  try {
    remove_quietly(partial_of(folder_of(step)));
  } catch (const std::bad_alloc&) {  // begin() sweeps
    return;
  }
}

std::string CheckpointStore::expect_room(uint64_t bytes, int64_t saves) const {
  if (saves == 0) return "";
  const uint64_t each = bytes + kSpare;
  const auto gib = [](uint64_t n) { return format_bytes(static_cast<double>(n)); };
  try {
    fs::path there = fs::absolute(folder_);
    while (!fs::exists(there) && there.has_parent_path()) there = there.parent_path();
    const uint64_t free_bytes = fs::space(there).available;
    const auto old = steps();
    uint64_t held = 0, newest = 0;
    for (const int64_t step : old) {
      newest = bytes_in(folder_of(step));
      held += newest;
    }
    // The newest stays until there is another one.
    const uint64_t least = old.empty() && saves > 1 ? 2 * each : each, most = free_bytes + held - newest;
    if (most < least)
      throw DiskFull(folder_.string(),
                     fmt::format("{} of free disk space for {}", gib(least),
                                 least > each ? "two checkpoints: the first stays until the second is whole"
                                              : "a checkpoint"),
                     gib(most), "free some space or choose another training.output_dir");
    const auto all = static_cast<int64_t>(old.size()) + saves;
    const int64_t together = keep_last_ == 0 ? all : std::min(keep_last_ + 1, all);
    if ((free_bytes + held) / each >= static_cast<uint64_t>(together)) return "";
    return fmt::format(
        "{}: {} are free, and the run will want {} for {} checkpoints of {} (training.keep_checkpoints, and "
        "the next): when the room ends, the oldest one goes for a new one",
        folder_.string(), gib(free_bytes),
        format_bytes(static_cast<double>(together) * static_cast<double>(each)), together, gib(bytes));
  } catch (const fs::filesystem_error& error) {
    cannot_save(folder_, error);
  }
}

std::optional<int64_t> CheckpointStore::drop_oldest(int64_t below) {
  auto old = steps();
  std::erase_if(old, [&](int64_t step) { return step >= below; });
  if (old.size() < 2) return std::nullopt;
  try {
    remove_steps(folder_, {old.front()});
  } catch (const fs::filesystem_error& error) {
    cannot_save(folder_, error);
  }
  return old.front();
}

std::optional<int64_t> CheckpointStore::latest() const {
  const fs::path file = folder_ / kLatestName;
  if (fs::exists(file)) {
    std::string name = read_file(file);
    name.erase(name.find_last_not_of(" \t\r\n") + 1);
    const auto step = step_of(name);
    if (step && is_whole(folder_ / name)) return step;
  }
  const auto all = steps();
  return all.empty() ? std::nullopt : std::optional(all.back());
}

std::vector<int64_t> CheckpointStore::steps() const {
  return whole_steps(folder_);
}

fs::path CheckpointStore::folder_of(int64_t step) const {
  return folder_ / step_name(step);
}

Checkpoint CheckpointStore::open(int64_t step) const {
  return Checkpoint(folder_of(step));
}

Checkpoint CheckpointStore::open_latest() const {
  for (;;) {
    const auto step = latest();
    if (!step) throw UserError(folder_.string(), "a checkpoint", "none", "start the run without resuming");
    const auto before = identity(folder_of(*step));
    try {
      return open(*step);
    } catch (const UserError&) {
      // A run that saves meanwhile may have deleted or replaced it under our hands; then there is another by
      // now.
      if (latest() == step && identity(folder_of(*step)) == before) throw;
    }
  }
}

}  // namespace moe::checkpoint
