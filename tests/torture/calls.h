// SPDX-License-Identifier: MIT
// The system calls of this process on files below one folder, and its allocations: counted, written down, and
// made to fail. tests/torture/calls_test.cpp defines libc's functions anew for the whole program, also for
// its shared libraries.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace moe::test {

// As bits: sets of them.
enum Calls : unsigned {
  kOpen = 1,
  kWrite = 2,
  kFsync = 4,
  kRename = 8,
  kClose = 16,
  kTruncate = 32,
  kMkdir = 64,
  kRemove = 128,
  kLink = 256,
  kAllocate = 512,
  kOnFiles = 511,
};

// What goes wrong: nothing with at == 0.
struct Fault {
  int64_t at = 0;             // the first of the calls that fails, from 1
  unsigned calls = kOnFiles;  // those that are counted, and fail
  int error = EIO;
  bool from_then_on = false;  // else only that one
  bool shorten = false;       // writes take half of the bytes and do not fail
};

// A call that has been made, for tests/torture/disk.h. Paths are relative to the folder. handle: of an open
// file, never used twice.
struct Operation {
  enum class Kind : uint8_t { open, write, truncate, sync, rename, exchange, mkdir, remove, link };
  Kind kind;
  int64_t handle = 0;
  std::string path, to;  // to: the new name; of a link its target
  bool truncates = false;
  int64_t offset = 0;  // or the size
  std::string bytes;
};

// One at a time; threads of the code under test may come and go.
class Watch {
 public:
  explicit Watch(const std::filesystem::path& folder, const Fault& fault = {});
  ~Watch() { stop(); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  void stop();                                                 // what follows is neither counted nor hurt
  bool struck() const { return !struck_.empty(); }             // a call was made to fail
  unsigned struck_calls() const { return struck_calls_; }      // which
  const std::string& first_struck() const { return struck_; }  // in words
  const std::vector<Operation>& log() const { return log_; }

  // For the interposed functions.
  bool holds(const std::string& path) const { return path.starts_with(folder_); }
  std::string inner(const std::string& path) const { return path.substr(folder_.size()); }
  bool fails(Calls call, const char* where);  // sets errno
  bool shortens() const { return fault_.shorten; }
  void add(Operation operation) { log_.push_back(std::move(operation)); }

 private:
  std::string folder_;  // with a slash at its end
  Fault fault_;
  int64_t count_ = 0;
  unsigned struck_calls_ = 0;
  std::string struck_;
  std::vector<Operation> log_;
};

}  // namespace moe::test
