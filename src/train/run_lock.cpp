// SPDX-License-Identifier: MIT
#include "train/run_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <system_error>

#include "base/backlog.h"
#include "base/error.h"
#include "base/host.h"
#include "base/start_thread.h"

namespace moe::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kName = "run.lock";
constexpr std::chrono::milliseconds kLook(200);  // between two looks for a sign of life

// Changes with each start of the machine, and is the same in all of its containers.
std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// The file of a descriptor is the one of this name.
bool is_named(int descriptor, const fs::path& path) {
  struct stat opened {
  }, named{};
  return ::fstat(descriptor, &opened) == 0 && ::stat(path.c_str(), &named) == 0 && same_file(opened, named);
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// Empty or torn: who was to be written there did not live to own the run, or lost its machine's power.
bool names_nobody(const std::string& owner) {
  return std::ranges::count(owner, '\n') != 2 || !owner.ends_with('\n') ||
         owner.find('\0') != std::string::npos;
}

// Of this kernel, which then knows by its locks whether the owner lives.
bool is_of_this_kernel(const std::string& owner) {
  const std::string id = boot_id();
  return !id.empty() && owner.find("\n" + id + "\n") != std::string::npos;
}

}  // namespace

RunLock::RunLock(const fs::path& folder, const Say& say, Times times)
    : folder_(folder), times_(times), me_(process_name() + "\n" + boot_id() + "\n") {
  const fs::path file = folder_ / kName;
  try {
    const bool locks = lock_file(file);
    const std::string owner = read();
    const bool sure = locks && (names_nobody(owner) || is_of_this_kernel(owner));
    if (!sure && !names_nobody(owner)) wait_for_signs(owner, say);
    int64_t size = 0;
    if (::ftruncate(file_, 0) != 0 || !append_whole(file_, me_, size))
      throw UserError(file.string(), "a file that can be written", std::generic_category().message(errno));
    if (!sure) {
      // Of several that find a stale lock at once, the last to write has it.
      std::this_thread::sleep_for(times_.beat);
      if (const std::string last = read(); last != me_) refuse(last);
    }
    thread_ = start_thread([this] { beat(); });
  } catch (...) {
    if (file_ >= 0) ::close(file_);
    if (directory_ >= 0) ::close(directory_);
    throw;
  }
}

RunLock::~RunLock() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (!lost_ && read() == me_ && in_place()) ::unlink((*folder() / kName).c_str());
  ::close(file_);
  ::close(directory_);
}

bool RunLock::lock_file(const fs::path& file) {
  directory_ = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory_ < 0)
    throw UserError(folder_.string(), "the folder of a run", std::generic_category().message(errno));
  for (;;) {
    file_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (file_ < 0)
      throw UserError(file.string(), "a file that can be written", std::generic_category().message(errno));
    const bool locked = ::flock(file_, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno == EWOULDBLOCK) refuse(read());
    // Somebody may have removed the file in between: then this lock holds nobody off.
    if (is_named(file_, file)) return locked;
    ::close(file_);
    file_ = -1;
  }
}

// Clocks of machines differ, so times are only compared with earlier times of the same file. It is opened
// anew for each look: a network's file system looks at the server then.
void RunLock::wait_for_signs(const std::string& owner, const Say& say) {
  const fs::path file = folder_ / kName;
  const auto last_touched = [&] {
    struct stat status {};
    const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0) {
      [[maybe_unused]] const int read = ::fstat(descriptor, &status);
      ::close(descriptor);
    }
    return std::pair(status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  };
  if (say)
    say(fmt::format("{}: {} had it and may be gone; waiting {} s for a sign of life", file.string(),
                    first_line(owner), std::chrono::ceil<std::chrono::seconds>(times_.silence).count()));
  const auto before = last_touched();
  for (std::chrono::milliseconds waited(0); waited < times_.silence; waited += kLook) {
    std::this_thread::sleep_for(kLook);
    if (last_touched() != before || read() != owner) refuse(read());
  }
  if (say) say("no sign of life: the run goes on here");
}

std::string RunLock::read() const {
  std::array<char, 512> text{};
  const ssize_t size = ::pread(file_, text.data(), text.size(), 0);
  return {text.data(), static_cast<size_t>(std::max<ssize_t>(size, 0))};
}

void RunLock::refuse(const std::string& owner) const {
  throw UserError(folder_.string(), "a run that no other process trains",
                  (owner.empty() ? "another process" : first_line(owner)) + ", which trains it",
                  "wait for its end, or stop it first; a copy of the folder is a run of its own");
}

void RunLock::beat() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, times_.beat, [this] { return ending_; })) {
    if (const std::string owner = read(); !owner.empty() && owner != me_) {
      lost_ = true;
      return;
    }
    [[maybe_unused]] const int touched = ::futimens(file_, nullptr);
  }
}

std::optional<fs::path> RunLock::folder() const {
  if (is_named(directory_, folder_)) return folder_;
  std::error_code error;
  const fs::path now = fs::read_symlink(fmt::format("/proc/self/fd/{}", directory_), error);
  if (!error && is_named(directory_, now)) return now;
  return std::nullopt;
}

bool RunLock::in_place() const {
  const auto now = folder();
  return now && is_named(file_, *now / kName);
}

}  // namespace moe::train
