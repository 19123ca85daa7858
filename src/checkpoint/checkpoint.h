// SPDX-License-Identifier: MIT
// Checkpoints of a run: one folder a step, `step-00000123`, with safetensors files, state.json and
// manifest.json (format version, program version, step, size and XXH3-128 of every file). A folder is made
// under the name `step-00000123.partial`, synchronised with the disk and renamed last: a folder without the
// suffix is whole. The small text file `latest` names the one to resume from. A kill at any moment leaves the
// previous one usable. Not promised: two programs that save into one folder at the same time. Readers may
// come and go.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"
#include "tensor/device.h"
#include "tensor/parameter.h"

namespace moe::checkpoint {

// Files of a checkpoint: weights; states of the optimizers; what settings may ask for beside these (shares of
// the balance loss, averaged weights).
inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kBalanceFile = "balance.safetensors";
inline constexpr const char* kAverageFile = "ema.safetensors";

// One whole checkpoint, opened and verified. Its files stay readable even if the folder is deleted meanwhile.
class Checkpoint {
 public:
  // folder: ".../step-00000123". Checks the manifest's version and every file's size and hash. Throws
  // UserError that names the file, what was expected and found, and the newest older step that is intact, if
  // any.
  explicit Checkpoint(const std::filesystem::path& folder);

  int64_t step() const { return step_; }
  const std::filesystem::path& folder() const { return folder_; }
  const std::string& program() const { return program_; }        // that wrote it: "moe 0.1.0"
  const std::string& state_json() const { return state_json_; }  // as given to save()
  const Safetensors& file(const std::string& name) const;
  bool contains(const std::string& name) const { return files_.contains(name); }

  // Fills the tensors from the file. Both must have exactly the same names; else UserError.
  void load(const std::string& file, const std::vector<NamedTensor>& tensors, Device& device) const;
  // The same where only parts of them lie here.
  void load_parts(const std::string& file, const std::vector<NamedShard>& parts, Device& device) const;

 private:
  // The file, once it is known to have these names only.
  template <class Named>
  const Safetensors& expect_names(const std::string& name, const std::vector<Named>& tensors) const;

  std::filesystem::path folder_;
  int64_t step_ = 0;
  std::string program_, state_json_;
  std::map<std::string, MappedFile> bytes_;
  std::map<std::string, Safetensors> files_;  // over bytes_
};

class CheckpointStore {
 public:
  // (file name such as "model.safetensors", its tensors)
  using Files = std::vector<std::pair<std::string, std::vector<NamedTensor>>>;
  using Streams = std::vector<std::pair<std::string, std::vector<TensorStream>>>;

  // keep_last: whole checkpoints to keep, the newest; 0 keeps all. program: name and version for the
  // manifest. Neither makes nor touches anything.
  CheckpointStore(std::filesystem::path folder, int64_t keep_last, std::string program = "");

  // Saves, makes this step the latest, then deletes what is beyond keep_last and what broken saves left
  // behind. An existing checkpoint of the same step is replaced. Steps above this one are left alone: they
  // belong to a run that was rolled back. Throws UserError, leaving nothing behind, when the disk is too
  // small or fails.
  void save(int64_t step, const Files& files, const std::string& state_json, Device& device);
  void save(int64_t step, const Streams& files, const std::string& state_json);

  // Deletes what saves that were killed have left.
  void sweep();
  // The same in acts, where many write the files (checkpoint/shared_file.h). begin() makes a folder with the
  // state and the named files, empty, and returns it; `bytes` are those of all files. When they are written,
  // publish() does what save() does at its end; abandon() takes the folder away. One thread at a time.
  std::filesystem::path begin(int64_t step, const std::vector<std::string>& files, uint64_t bytes,
                              const std::string& state_json);
  void publish(int64_t step, const std::map<std::string, Manifest::File>& files);
  void abandon(int64_t step) noexcept;

  // Before a run: is there room for what `saves` checkpoints of so many bytes will need? DiskFull when the
  // next one cannot be written, or not the second beside the first; a warning when not as many as will be
  // kept and one more; else "".
  std::string expect_room(uint64_t bytes, int64_t saves) const;
  // Deletes the oldest of the whole ones below this step, unless it is the only one. Which it was.
  std::optional<int64_t> drop_oldest(int64_t below);

  // The step named by `latest`, or the newest whole one when that file is missing or names none.
  std::optional<int64_t> latest() const;
  // All whole checkpoints, ascending.
  std::vector<int64_t> steps() const;
  std::filesystem::path folder_of(int64_t step) const;

  Checkpoint open(int64_t step) const;
  // The latest; safe against a run that saves and deletes meanwhile. UserError when there is none.
  Checkpoint open_latest() const;

 private:
  std::filesystem::path folder_;
  int64_t keep_last_;
  std::string program_;
};

}  // namespace moe::checkpoint
