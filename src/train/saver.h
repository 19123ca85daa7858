// SPDX-License-Identifier: MIT
// Checkpoints that are written while training goes on: each rank copies its part to the host between two
// steps, and a thread of its writes that to the disk, at its places in files that all ranks share
// (checkpoint/shared_file.h). When all have written, rank 0 looks through the files, writes the manifest and
// renames the folder, behind training, too. Ranks talk only where training does, between two steps: the
// threads never do.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/terminal.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/shared_file.h"
#include "comm/communicator.h"
#include "tensor/device.h"
#include "tensor/parameter.h"

namespace moe::train {

// (file name, its tensors): what this rank has of them
using PartFiles = std::vector<std::pair<std::string, std::vector<NamedShard>>>;

class Saver {
 public:
  // Of this rank's thread; retry: of rank 0, when a save that has failed should be tried again.
  enum class State : uint8_t { idle, writing, written, failed, retry };
  // What follows a save that fails, in seconds: it is tried again after a first pause, then after longer
  // ones. When there is no room after kTries of them the oldest checkpoint goes, unless it is the only one.
  // Only after `total` it is an error; of what is no lack of room after at most kOther.
  struct Retry {
    static constexpr int kTries = 3;
    static constexpr double kOther = 60;
    double first = 2, longest = 60, total = 0;
  };

  // All ranks make theirs at the same time, each with what it has of the same tensors in the same order;
  // together they have all. in_background: with memory of the host for a copy of what this rank writes, which
  // take_memory() takes; else begin() returns when everything is on the disk. Throws UserError when the host
  // has not so much memory.
  Saver(checkpoint::CheckpointStore store, PartFiles files, bool in_background,
        comm::Communicator& communicator, Device& device, Terminal& terminal, const Retry& retry);
  Saver(checkpoint::CheckpointStore store, PartFiles files, bool in_background,
        comm::Communicator& communicator, Device& device, Terminal& terminal)
      : Saver(std::move(store), std::move(files), in_background, communicator, device, terminal, Retry()) {}
  // Waits for the thread. Alone, what it writes becomes a checkpoint; with others it does not any more: call
  // finish().
  ~Saver();
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  int64_t copy_bytes() const { return copy_bytes_; }  // of the host's memory; 0 without a copy
  const checkpoint::CheckpointStore& store() const { return store_; }

  // From now on checkpoints are written there. For rank 0, which begins and publishes them.
  void use(checkpoint::CheckpointStore store) { store_ = std::move(store); }

  // What follows is called by all ranks at the same place. It throws what went wrong with any of them when
  // there is no more patience, at the latest in the first advance() after; the checkpoint before it is then
  // untouched. Before the first step: is there room for so many? Warns or throws, as
  // CheckpointStore::expect_room() has it.
  void expect_room(int64_t saves);
  // Begins to take the memory for the copy, on a thread of its own; does nothing when called again. A GPU
  // takes a second for it, in which kernels start late: so not before the first step is done. begin() calls
  // it too, and waits.
  void take_memory();
  // Waits for the one under way, if there is one; takes the place of one that has failed and waits.
  void begin(int64_t step, const std::string& state_json);
  State state() const;
  bool busy() const { return phase_ != Phase::none; }  // a checkpoint is under way; the same on all ranks
  // Between two steps, with the states of all ranks: goes on to what comes after writing, when all have
  // written.
  void advance(std::span<const State> ranks);
  // Waits until all is on the disk.
  void finish();

  // Of a checkpoint that has become whole since the last call: from begin() until then.
  std::optional<double> write_seconds() { return std::exchange(write_seconds_, std::nullopt); }

 private:
  enum class Phase : uint8_t { none, parts, publishing, waiting };
  // `count` bytes of a stretch of this rank's, from `done` on; asked for in order.
  using Source = std::function<const char*(size_t file, const checkpoint::SharedFile::Stretch&, uint64_t done,
                                           uint64_t count)>;

  std::vector<checkpoint::SharedFile::Stretch> own(size_t file) const;
  Tensor bytes_of(size_t file, const checkpoint::SharedFile::Stretch& stretch, uint64_t done,
                  uint64_t count) const;
  void take_copy();
  void agree_on_copy();
  void copy();
  void together(const std::function<void()>& body);
  void write_parts(bool first);
  void failed(const UserError& error);
  int64_t make_room();
  void start(std::function<void()> job);
  void attempt(const std::function<void()>& job);
  void join();
  void write(const Source& source);
  void write_from_copy();
  void write_from_device();
  void publish(const std::vector<std::string>& hashes);
  void conclude();

  checkpoint::CheckpointStore store_;
  PartFiles files_;
  comm::Communicator& communicator_;
  Device& device_;
  Terminal& terminal_;
  std::vector<checkpoint::SharedFile> shared_;
  uint64_t all_bytes_ = 0;  // of the files
  int64_t copy_bytes_ = 0;
  bool copy_wanted_ = false;       // and not asked for yet
  bool copy_to_agree_on_ = false;  // asked for, and no rank knows whether all have it
  std::jthread taking_copy_;       // beside the second step
  std::future<char*> copy_to_come_;
  char* copy_ = nullptr;  // from the first save on; null: none is wanted, or there is none
  std::string lack_;      // why there is none on this rank

  Phase phase_ = Phase::none;
  int64_t step_ = 0;
  double begun_ = 0, stalled_ = 0;  // seconds: when, and for how long training has stood still for it
  std::filesystem::path folder_;    // that is being written
  std::string state_json_;
  const Retry retry_;
  bool full_ = false;                                    // there was no room, on this rank
  int failures_ = 0;                                     // of saves, one after another
  double failing_since_ = 0, retry_at_ = 0, pause_ = 0;  // seconds
  std::string hashes_;  // of what this rank wrote of each file, one after another
  std::optional<double> write_seconds_;

  std::thread thread_;
  std::atomic<State> state_{State::idle};
  std::atomic<bool> cancelled_{false};
  std::exception_ptr error_;  // the thread's, until it is joined
};

}  // namespace moe::train
