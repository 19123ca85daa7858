// SPDX-License-Identifier: MIT
// What became of a run, for who looks at its folder: status.json there, beside run.lock, which says whether a
// process trains it now. Only a hint: nothing that trains or resumes reads it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/choices.h"
#include "metrics/sink.h"
#include "train/run_folder.h"

namespace moe::train {

struct RunStatus {
  enum class Kind : uint8_t {
    unknown,  // no process trains it, and none has said why: it is of an older version, or died as it started
    starting,  // a process has it, and its first step is still to come
    running,
    ended,    // all that its settings ask for is trained, or its time was up
    stopped,  // by a signal
    failed,   // with an error
    died,     // its process is gone without a word: killed, or its machine was
  };
  Kind kind = Kind::unknown;
  int64_t first_step = 1;  // of the last process; more than 1: it was resumed
  std::string why;         // of `failed` the error, of `stopped` the signal
};
constexpr auto choices_of(RunStatus::Kind) {
  using Kind = RunStatus::Kind;
  return choices<Kind>({{Kind::unknown, "unknown"},
                        {Kind::starting, "starting"},
                        {Kind::running, "running"},
                        {Kind::ended, "ended"},
                        {Kind::stopped, "stopped"},
                        {Kind::failed, "failed"},
                        {Kind::died, "died"}});
}

// Of a folder of any state. A process that has not touched run.lock for `silence` is gone.
RunStatus read_run_status(const std::filesystem::path& folder,
                          std::chrono::seconds silence = std::chrono::seconds(60));

// Writes status.json as the run goes on and ends. A disk that cannot take it is no reason to stop: then the
// file stays as it was.
class StatusFile final : public metrics::Sink {
 public:
  // folder: owned by this process; outlives this object, and is where the run is by now.
  StatusFile(const RunFolder& folder, int64_t first_step);
  ~StatusFile() override;  // without an end: failed
  StatusFile(const StatusFile&) = delete;
  StatusFile& operator=(const StatusFile&) = delete;

  void write(const metrics::Row& /*row*/) override {}
  void moved(const std::filesystem::path& /*folder*/) override { put(RunStatus::Kind::running); }
  void broke(const std::string& why) override;
  void finish(int exit_code) override;

 private:
  void put(RunStatus::Kind kind, const std::string& why = "");

  const RunFolder& folder_;
  int64_t first_step_;
  bool over_ = false;
};

}  // namespace moe::train
