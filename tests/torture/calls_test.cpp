// SPDX-License-Identifier: MIT
// The interposed functions of tests/torture/calls.h, and tests of them. A definition in the program stands
// before libc's own; those are found as the next ones of that name.
#include "torture/calls.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cstdarg>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <new>

#include "base/file.h"

namespace moe::test {
namespace {

struct OpenFile {
  int64_t handle;
  std::string path;
};

std::recursive_mutex& mutex() {
  static std::recursive_mutex one;
  return one;
}
std::atomic<Watch*> watch{nullptr};
std::map<int, OpenFile>& open_files() {
  static std::map<int, OpenFile> all;
  return all;
}
int64_t handles = 0;
thread_local bool inside = false;  // allocations of what is below are not counted

// Holds the others off; nothing without a Watch.
class Turn {
 public:
  Turn() {
    if (watch == nullptr || inside) return;
    lock_ = std::unique_lock(mutex());
    inside = true;
    watch_ = watch;
    if (watch_ == nullptr) leave();
  }
  ~Turn() {
    const int error = errno;
    if (watch_ != nullptr) leave();
    errno = error;
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  Watch* operator->() const { return watch_; }
  explicit operator bool() const { return watch_ != nullptr; }

 private:
  void leave() {
    inside = false;
    watch_ = nullptr;
  }
  std::unique_lock<std::recursive_mutex> lock_;
  Watch* watch_ = nullptr;
};

template <class Function>
Function* next(Function* /*same type*/, const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
// The function that this one stands before.
#define NEXT(name)                                             \
  static auto* const real = ::moe::test::next(&::name, #name); \
  (void)0

std::string path_of(int folder, const char* path) {
  if (path[0] == '/') return path;
  std::error_code error;
  const auto base = folder == AT_FDCWD
                        ? std::filesystem::current_path(error)
                        : std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(folder), error);
  return (base / path).lexically_normal().string();
}

const OpenFile* open_file(int descriptor) {
  const auto found = open_files().find(descriptor);
  return found == open_files().end() ? nullptr : &found->second;
}

int opened(Turn& turn, int descriptor, const std::string& path, int flags) {
  if (descriptor < 0) return descriptor;
  open_files()[descriptor] = {++handles, path};
  turn->add({.kind = Operation::Kind::open,
             .handle = handles,
             .path = turn->inner(path),
             .to = {},
             .truncates = (flags & O_TRUNC) != 0,
             .bytes = {}});
  return descriptor;
}

// real: opens it.
template <class Real>
int open_at(int folder, const char* path, int flags, Real&& real) {
  Turn turn;
  if (!turn) return real();
  const std::string whole = path_of(folder, path);
  if (!turn->holds(whole) && !turn->holds(whole + "/")) return real();
  if (turn->fails(kOpen, whole.c_str())) return -1;
  return opened(turn, real(), turn->holds(whole) ? whole : whole + "/", flags);
}

// real(count): writes so many bytes. offset < 0: at the file's own place.
template <class Real>
ssize_t write_at(int descriptor, const void* data, size_t size, off_t offset, Real&& real) {
  Turn turn;
  const OpenFile* file = turn ? open_file(descriptor) : nullptr;
  if (file == nullptr) return real(size);
  if (turn->fails(kWrite, file->path.c_str())) return -1;
  if (turn->shortens() && size > 1) size = (size + 1) / 2;
  if (offset < 0) {
    const bool appends = (fcntl(descriptor, F_GETFL) & O_APPEND) != 0;
    offset = lseek(descriptor, 0, appends ? SEEK_END : SEEK_CUR);
  }
  const ssize_t count = real(size);
  if (count > 0)
    turn->add({.kind = Operation::Kind::write,
               .handle = file->handle,
               .path = {},
               .to = {},
               .offset = offset,
               .bytes = std::string(static_cast<const char*>(data), static_cast<size_t>(count))});
  return count;
}

// Never on the disk: where power losses are simulated it would only cost time.
int synchronise(int descriptor) {
  Turn turn;
  const OpenFile* file = turn ? open_file(descriptor) : nullptr;
  if (file == nullptr) return 0;
  if (turn->fails(kFsync, file->path.c_str())) return -1;
  turn->add({.kind = Operation::Kind::sync, .handle = file->handle, .path = {}, .to = {}, .bytes = {}});
  return 0;
}

template <class Real>
int resize(int descriptor, off_t size, Real&& real) {
  Turn turn;
  const OpenFile* file = turn ? open_file(descriptor) : nullptr;
  if (file == nullptr) return real();
  if (turn->fails(kTruncate, file->path.c_str())) return -1;
  const int result = real();
  if (result == 0)
    turn->add({.kind = Operation::Kind::truncate,
               .handle = file->handle,
               .path = {},
               .to = {},
               .offset = size,
               .bytes = {}});
  return result;
}

// What changes names. to: empty where there is one name only.
template <class Real>
int change_names(Calls call, Operation::Kind kind, const std::string& path, const std::string& to, Turn& turn,
                 Real&& real) {
  if (!turn->holds(path)) return real();
  if (turn->fails(call, path.c_str())) return -1;
  const int result = real();
  if (result == 0)
    turn->add({.kind = kind,
               .path = turn->inner(path),
               .to = !to.empty() && turn->holds(to) ? turn->inner(to) : to,
               .bytes = {}});
  return result;
}
template <class Real>
int change_name(Calls call, Operation::Kind kind, int folder, const char* path, Real&& real) {
  Turn turn;
  return turn ? change_names(call, kind, path_of(folder, path), "", turn, real) : real();
}

void* allocated(size_t size, size_t alignment) {
  {
    Turn turn;
    if (turn && turn->fails(kAllocate, "memory")) return nullptr;
  }
  if (alignment <= alignof(std::max_align_t)) return std::malloc(size == 0 ? 1 : size);
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
void* allocated_or_throw(size_t size, size_t alignment = 0) {
  if (void* memory = allocated(size, alignment)) return memory;
  throw std::bad_alloc();
}

// Not inlined: the compiler would see that malloc's memory is not operator new's.
[[gnu::noinline]] void release(void* memory) {
  std::free(memory);
}

}  // namespace

Watch::Watch(const std::filesystem::path& folder, const Fault& fault)
    : folder_(folder.lexically_normal().string()), fault_(fault) {
  if (!folder_.ends_with('/')) folder_ += '/';
  log_.reserve(1000);
  const std::lock_guard lock(mutex());
  open_files().clear();
  watch = this;
}

void Watch::stop() {
  const std::lock_guard lock(mutex());
  if (watch == this) watch = nullptr;
}

bool Watch::fails(Calls call, const char* where) {
  if ((fault_.calls & call) == 0 || fault_.at == 0 || fault_.shorten) return false;
  ++count_;
  if (count_ != fault_.at && !(fault_.from_then_on && count_ > fault_.at)) return false;
  if (struck_.empty()) struck_ = "call " + std::to_string(call) + " of " + where;
  struck_calls_ |= call;
  errno = fault_.error;
  return true;
}

}  // namespace moe::test

// ---- libc's functions ----

using namespace moe::test;  // NOLINT(google-build-using-namespace): this file is their other half

extern "C" {

int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  NEXT(open);
  return open_at(AT_FDCWD, path, flags, [&] { return real(path, flags, mode); });
}
int open64(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open(path, flags, mode);
}
int openat(int folder, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  NEXT(openat);
  return open_at(folder, path, flags, [&] { return real(folder, path, flags, mode); });
}
ssize_t write(int descriptor, const void* data, size_t size) {
  NEXT(write);
  return write_at(descriptor, data, size, -1, [&](size_t count) { return real(descriptor, data, count); });
}
ssize_t pwrite(int descriptor, const void* data, size_t size, off_t offset) {
  NEXT(pwrite);
  return write_at(descriptor, data, size, offset,
                  [&](size_t count) { return real(descriptor, data, count, offset); });
}
int fsync(int descriptor) {
  return synchronise(descriptor);
}
int fdatasync(int descriptor) {
  return synchronise(descriptor);
}
int ftruncate(int descriptor, off_t size) noexcept {
  NEXT(ftruncate);
  return resize(descriptor, size, [&] { return real(descriptor, size); });
}
// Linux has freed the descriptor also where this fails.
int close(int descriptor) {
  NEXT(close);
  Turn turn;
  const OpenFile* file = turn ? open_file(descriptor) : nullptr;
  if (file == nullptr) return real(descriptor);
  const bool fails = turn->fails(kClose, file->path.c_str());
  const int error = errno;
  open_files().erase(descriptor);
  const int result = real(descriptor);
  errno = error;
  return fails ? -1 : result;
}
int rename(const char* from, const char* to) noexcept {
  NEXT(rename);
  Turn turn;
  if (!turn) return real(from, to);
  return change_names(kRename, Operation::Kind::rename, path_of(AT_FDCWD, from), path_of(AT_FDCWD, to), turn,
                      [&] { return real(from, to); });
}
int mkdir(const char* path, mode_t mode) noexcept {
  NEXT(mkdir);
  return change_name(kMkdir, Operation::Kind::mkdir, AT_FDCWD, path, [&] { return real(path, mode); });
}
int unlink(const char* path) noexcept {
  NEXT(unlink);
  return change_name(kRemove, Operation::Kind::remove, AT_FDCWD, path, [&] { return real(path); });
}
int rmdir(const char* path) noexcept {
  NEXT(rmdir);
  return change_name(kRemove, Operation::Kind::remove, AT_FDCWD, path, [&] { return real(path); });
}
int remove(const char* path) noexcept {
  NEXT(remove);
  return change_name(kRemove, Operation::Kind::remove, AT_FDCWD, path, [&] { return real(path); });
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  NEXT(unlinkat);
  return change_name(kRemove, Operation::Kind::remove, folder, path,
                     [&] { return real(folder, path, flags); });
}
int symlink(const char* target, const char* path) noexcept {
  NEXT(symlink);
  Turn turn;
  if (!turn) return real(target, path);
  return change_names(kLink, Operation::Kind::link, path_of(AT_FDCWD, path), target, turn,
                      [&] { return real(target, path); });
}
// Only renameat2 is of interest; it is called by its number.
long syscall(long number, ...) noexcept {
  va_list list;
  va_start(list, number);
  long words[6];
  for (long& word : words) word = va_arg(list, long);
  va_end(list);
  NEXT(syscall);
  const auto call = [&] { return real(number, words[0], words[1], words[2], words[3], words[4], words[5]); };
  if (number != SYS_renameat2) return call();
  Turn turn;
  if (!turn) return call();
  const auto path = [&](int i) {
    // A system call's pointer comes as a number.
    return path_of(static_cast<int>(words[i]), std::bit_cast<const char*>(words[i + 1]));
  };
  constexpr long kExchange = 2;
  const auto kind = words[4] == kExchange ? Operation::Kind::exchange : Operation::Kind::rename;
  return change_names(kRename, kind, path(0), path(2), turn, [&] { return static_cast<int>(call()); });
}
}

void* operator new(size_t size) {
  return allocated_or_throw(size);
}
void* operator new[](size_t size) {
  return allocated_or_throw(size);
}
void* operator new(size_t size, std::align_val_t alignment) {
  return allocated_or_throw(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment) {
  return allocated_or_throw(size, static_cast<size_t>(alignment));
}
void* operator new(size_t size, const std::nothrow_t& /*none*/) noexcept {
  return allocated(size, 0);
}
void* operator new[](size_t size, const std::nothrow_t& /*none*/) noexcept {
  return allocated(size, 0);
}
void operator delete(void* memory) noexcept {
  release(memory);
}
void operator delete[](void* memory) noexcept {
  release(memory);
}
void operator delete(void* memory, size_t /*size*/) noexcept {
  release(memory);
}
void operator delete[](void* memory, size_t /*size*/) noexcept {
  release(memory);
}
void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept {
  release(memory);
}
void operator delete[](void* memory, std::align_val_t /*alignment*/) noexcept {
  release(memory);
}
void operator delete(void* memory, size_t /*size*/, std::align_val_t /*alignment*/) noexcept {
  release(memory);
}
void operator delete[](void* memory, size_t /*size*/, std::align_val_t /*alignment*/) noexcept {
  release(memory);
}

namespace moe {
namespace {

namespace fs = std::filesystem;

class WatchTest : public ::testing::Test {
 protected:
  WatchTest() {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // The number of calls of these kinds that `body` makes.
  template <class Body>
  int64_t count(unsigned calls, Body&& body) {
    for (int64_t n = 1;; ++n) {
      test::Watch watch(folder_, {.at = n, .calls = calls});
      try {
        body();
      } catch (const std::exception&) {  // what failed is counted
      }
      watch.stop();
      if (!watch.struck()) return n - 1;
    }
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) / ("watch-" + std::to_string(getpid()));
};

TEST_F(WatchTest, SeesWhatTheLibrariesCall) {
  const auto write = [&] { write_file_atomically(folder_ / "a", "bytes"); };
  EXPECT_EQ(count(test::kWrite, write), 1);
  EXPECT_EQ(count(test::kOpen, write), 3)
      << "the folder to look for old ones, the file, the folder to synchronise it";
  EXPECT_EQ(count(test::kFsync, write), 2);
  EXPECT_EQ(count(test::kRename, write), 1);
  EXPECT_EQ(count(test::kAllocate, [] { const auto memory = std::make_unique<std::string>(100, 'x'); }), 2);
  EXPECT_EQ(count(test::kMkdir, [&] { fs::create_directories(folder_ / "b/c"); }), 2);
  EXPECT_GE(count(test::kRemove, [&] { fs::remove_all(folder_ / "b"); }), 2) << "of libstdc++";
  EXPECT_EQ(count(test::kRename, [&] { fs::rename(folder_ / "a", folder_ / "b"); }), 1);
  EXPECT_EQ(count(test::kLink, [&] { fs::create_symlink("b", folder_ / "l"); }), 1);
}

TEST_F(WatchTest, LeavesOtherFoldersAlone) {
  const fs::path other = folder_.string() + "-other";
  fs::create_directories(other);
  EXPECT_EQ(count(test::kOnFiles, [&] { write_file_atomically(other / "a", "bytes"); }), 0);
  fs::remove_all(other);
}

TEST_F(WatchTest, ShortWritesAreGoneOnWith) {
  {
    const test::Watch watch(folder_, {.at = 1, .shorten = true});
    write_file_atomically(folder_ / "a", "bytes");
    int64_t writes = 0;
    for (const auto& operation : watch.log()) writes += operation.kind == test::Operation::Kind::write;
    EXPECT_GT(writes, 1);
  }
  EXPECT_EQ(read_file(folder_ / "a"), "bytes");
}

}  // namespace
}  // namespace moe
