// SPDX-License-Identifier: MIT
#include "train/saver.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "base/disk_full.h"
#include "base/error.h"
#include "base/format.h"
#include "base/host_memory.h"
#include "base/part_writer.h"
#include "base/start_thread.h"
#include "base/steady_seconds.h"

namespace moe::train {
namespace {

constexpr uint64_t kPiece = uint64_t{16} << 20;  // bytes written at once
constexpr size_t kHashDigits = 32;
constexpr const char* kWithoutCopy =
    "set training.checkpoint_in_background=false: training then waits for the disk";
constexpr std::chrono::milliseconds kLook(1);  // between two looks at a checkpoint that has to be waited for

}  // namespace

Saver::Saver(checkpoint::CheckpointStore store, PartFiles files, bool in_background,
             comm::Communicator& communicator, Device& device, Terminal& terminal, const Retry& retry)
    : store_(std::move(store)),
      files_(std::move(files)),
      communicator_(communicator),
      device_(device),
      terminal_(terminal),
      retry_(retry) {
  // Now, and not when the first save begins: it may take longer than the others wait for an answer.
  comm::propagate_errors(communicator_, [&] {
    if (communicator_.rank() == 0) store_.sweep();
  });
  uint64_t bytes = 0;
  for (const auto& [name, parts] : files_) {
    std::vector<checkpoint::SharedFile::Extent> mine;
    for (const NamedShard& part : parts) mine.push_back({part.offset, part.local.numel()});
    std::vector<checkpoint::SharedFile::Extent> all(mine.size() * static_cast<size_t>(communicator_.size()));
    communicator_.all_gather_bytes(std::as_writable_bytes(std::span(all)), std::as_bytes(std::span(mine)));
    shared_.emplace_back(name, parts, all, communicator_.size());
    all_bytes_ += shared_.back().bytes();
    for (const auto& stretch : own(shared_.size() - 1)) bytes += stretch.bytes;
  }
  if (!in_background) return;
  copy_bytes_ = static_cast<int64_t>(bytes);
  if (const int64_t free = host_memory_available(); copy_bytes_ > free)
    throw UserError(
        "memory of the host",
        format_bytes(static_cast<double>(copy_bytes_)) + ", for the copy that checkpoints are written from",
        format_bytes(static_cast<double>(free)) + " free", kWithoutCopy);
  copy_wanted_ = true;
}

Saver::~Saver() {
  cancelled_ = communicator_.size() > 1;
  if (thread_.joinable()) thread_.join();
  take_copy();
  if (copy_ != nullptr) device_.release_host(copy_);
}

void Saver::take_memory() {
  if (!std::exchange(copy_wanted_, false)) return;
  copy_to_agree_on_ = true;
  try {
    std::packaged_task<char*()> task(
        [this] { return static_cast<char*>(device_.allocate_host(copy_bytes_)); });
    copy_to_come_ = task.get_future();
    taking_copy_ = start_thread<std::jthread>(std::move(task));
  } catch (const std::exception& error) {  // of this rank alone: the others learn of it in agree_on_copy()
    copy_to_come_ = {};
    lack_ = error.what();
  }
}

// Waits for the memory that was asked for.
void Saver::take_copy() {
  if (!copy_to_come_.valid()) return;
  try {
    copy_ = copy_to_come_.get();
  } catch (const std::exception& error) {
    lack_ = error.what();
  }
}

// Where one rank has no memory, all save from the device.
void Saver::agree_on_copy() {
  if (!std::exchange(copy_to_agree_on_, false)) return;
  take_copy();
  const std::vector<std::string> lacks = communicator_.gather_text(lack_);
  const auto lack = std::ranges::find_if(lacks, [](const std::string& text) { return !text.empty(); });
  if (lack == lacks.end()) return;
  if (copy_ != nullptr) device_.release_host(std::exchange(copy_, nullptr));
  copy_bytes_ = 0;
  terminal_.warning(
      fmt::format("{}. Training waits while checkpoints are written. Hint: {}", *lack, kWithoutCopy));
}

std::vector<checkpoint::SharedFile::Stretch> Saver::own(size_t file) const {
  std::vector<checkpoint::SharedFile::Stretch> list;
  for (const auto& stretch : shared_[file].stretches())
    if (stretch.owner == communicator_.rank()) list.push_back(stretch);
  return list;
}

Tensor Saver::bytes_of(size_t file, const checkpoint::SharedFile::Stretch& stretch, uint64_t done,
                       uint64_t count) const {
  const NamedShard& part = files_[file].second[stretch.tensor];
  Tensor piece = part.local;
  const auto width = static_cast<int64_t>(size_of(piece.dtype()));
  const int64_t begin = (stretch.element - part.offset) * width + static_cast<int64_t>(done);
  return Tensor(piece.data(), DType::u8, {piece.bytes()}).rows(begin, begin + static_cast<int64_t>(count));
}

// ---- between two steps ----

Saver::State Saver::state() const {
  if (phase_ != Phase::waiting) return state_;
  return communicator_.rank() == 0 && steady_seconds() >= retry_at_ ? State::retry : State::idle;
}

void Saver::expect_room(int64_t saves) {
  std::string warning;
  comm::propagate_errors(communicator_, [&] {
    if (communicator_.rank() == 0) warning = store_.expect_room(all_bytes_, saves);
  });
  if (!warning.empty()) terminal_.warning(warning);
}

void Saver::begin(int64_t step, const std::string& state_json) {
  const auto is_written = [this] { return phase_ == Phase::parts || phase_ == Phase::publishing; };
  if (is_written())
    terminal_.line(fmt::format("step {}: waiting for the checkpoint of step {}, which is still being written",
                               step, step_));
  while (is_written()) {
    advance(communicator_.gather(state()));
    if (is_written()) std::this_thread::sleep_for(kLook);
  }
  if (phase_ == Phase::waiting)
    terminal_.line(
        fmt::format("step {}: is saved in place of step {}, which could not be saved", step, step_));
  begun_ = steady_seconds();
  take_memory();
  agree_on_copy();
  step_ = step;
  state_json_ = state_json;
  write_parts(true);
  stalled_ = steady_seconds() - begun_;
  if (copy_ == nullptr) finish();
}

// propagate_errors(), and full_ says whether it was for lack of room that this rank did not.
void Saver::together(const std::function<void()>& body) {
  full_ = false;
  comm::propagate_errors(communicator_, [&] {
    try {
      body();
    } catch (const DiskFull&) {
      full_ = true;
      throw;
    }
  });
}

void Saver::write_parts(bool first) {
  phase_ = Phase::none;
  std::vector<std::string> names;
  for (const checkpoint::SharedFile& file : shared_) names.push_back(file.name());
  try {
    together([&] {
      if (communicator_.rank() == 0) folder_ = store_.begin(step_, names, all_bytes_, state_json_);
    });
  } catch (const UserError& error) {
    if (first && copy_ != nullptr) copy();
    return failed(error);
  }
  folder_ = communicator_.gather_text(folder_.string()).front();
  phase_ = Phase::parts;
  if (copy_ != nullptr) {
    if (first) copy();
    start([this] { write_from_copy(); });
  } else {
    const comm::SuspendTimeout suspended(communicator_);
    attempt([this] { write_from_device(); });
    communicator_.barrier();
  }
}

// The step whose checkpoint went for it; -1 on other ranks than 0, and where there is none to spare.
int64_t Saver::make_room() {
  if (communicator_.rank() != 0) return -1;
  try {
    return store_.drop_oldest(step_).value_or(-1);
  } catch (const UserError& error) {
    terminal_.warning(error.what());
    return -1;
  }
}

// While an error of all ranks is handled: waits, makes room, or throws it on.
void Saver::failed(const UserError& error) {
  const double now = steady_seconds();
  const bool full = communicator_.sum(full_ ? 1 : 0) > 0;
  if (failures_++ == 0) failing_since_ = now;
  const double limit = full ? retry_.total : std::min(retry_.total, Retry::kOther);
  if (communicator_.gather(now - failing_since_).front() >= limit) throw;  // by the clock of rank 0
  const int64_t dropped = full && failures_ > Retry::kTries ? make_room() : -1;
  if (failures_ == 1)
    terminal_.warning(fmt::format("step {} is not saved yet: {}. It is tried again for {:.0f} s; {}", step_,
                                  error.what(), limit,
                                  copy_ != nullptr ? "training goes on" : "training waits"));
  if (dropped >= 0)
    terminal_.warning(fmt::format("the checkpoint of step {} is deleted, to have room for that of step {}",
                                  dropped, step_));
  pause_ = pause_ == 0 ? retry_.first : std::min(2 * pause_, retry_.longest);
  retry_at_ = dropped >= 0 ? now : now + pause_;
  phase_ = Phase::waiting;
}

void Saver::copy() {
  char* to = copy_;
  for (size_t file = 0; file < shared_.size(); ++file)
    for (const auto& stretch : own(file)) {
      device_.to_host(to, bytes_of(file, stretch, 0, stretch.bytes));
      to += stretch.bytes;
    }
}

void Saver::advance(std::span<const State> ranks) {
  if (phase_ == Phase::none) return;
  if (phase_ == Phase::waiting) {
    if (ranks.front() == State::retry) write_parts(false);
    return;
  }
  const auto any = [&](State state) { return std::find(ranks.begin(), ranks.end(), state) != ranks.end(); };
  if (any(State::failed))
    cancelled_ = true;  // the others need not go on
  else if (any(State::writing))
    return;
  conclude();
}

void Saver::finish() {
  // Ranks talk while their threads write: one that hangs or dies meanwhile is missed as at any other time.
  while (busy()) {
    advance(communicator_.gather(state()));
    if (busy()) std::this_thread::sleep_for(kLook);
  }
}

// All ranks end the phase.
void Saver::conclude() {
  const double began = steady_seconds();
  try {
    together([&] { join(); });
  } catch (const UserError& error) {
    phase_ = Phase::none;
    if (communicator_.rank() == 0) store_.abandon(step_);
    return failed(error);
  } catch (...) {
    phase_ = Phase::none;
    if (communicator_.rank() == 0) store_.abandon(step_);
    throw;
  }
  if (phase_ == Phase::parts && communicator_.size() > 1) {
    phase_ = Phase::publishing;
    const auto hashes = communicator_.gather_text(hashes_);
    if (communicator_.rank() == 0) start([this, hashes] { publish(hashes); });
    stalled_ += steady_seconds() - began;
    return;
  }
  phase_ = Phase::none;
  failures_ = 0;
  pause_ = 0;
  stalled_ += steady_seconds() - began;
  write_seconds_ = steady_seconds() - begun_;
  terminal_.line(fmt::format("checkpoint {}: {} in {:.1f} s, for {:.2f} s of which training stood still",
                             store_.folder_of(step_).filename().string(),
                             format_bytes(static_cast<double>(all_bytes_)), *write_seconds_, stalled_));
}

void Saver::start(std::function<void()> job) {
  state_ = State::writing;
  try {
    thread_ = start_thread([this, job = std::move(job)] { attempt(job); });
  } catch (const UserError&) {  // told as what goes wrong on the thread is: by all ranks together
    error_ = std::current_exception();
    state_ = State::failed;
  }
}

void Saver::attempt(const std::function<void()>& job) {
  try {
    job();
    state_ = State::written;
  } catch (...) {
    error_ = std::current_exception();
    state_ = State::failed;
  }
}

void Saver::join() {
  if (thread_.joinable()) thread_.join();
  state_ = State::idle;
  cancelled_ = false;
  if (const auto error = std::exchange(error_, nullptr)) std::rethrow_exception(error);
}

// ---- on the thread ----

void Saver::write(const Source& source) {
  hashes_.clear();
  for (size_t i = 0; i < shared_.size(); ++i) {
    const checkpoint::SharedFile& file = shared_[i];
    PartWriter out(folder_ / file.name());
    checkpoint::Hash hash;
    if (communicator_.rank() == 0) {
      out.write_at(0, file.head().data(), file.head().size());
      hash.add(file.head().data(), file.head().size());
    }
    for (const auto& stretch : own(i))
      for (uint64_t done = 0; done < stretch.bytes && !cancelled_; done += kPiece) {
        const uint64_t count = std::min(kPiece, stretch.bytes - done);
        const char* bytes = source(i, stretch, done, count);
        out.write_at(stretch.begin + done, bytes, count);
        hash.add(bytes, count);
      }
    if (cancelled_) return;
    out.commit();
    hashes_ += hash.hex();
  }
  if (communicator_.size() == 1) publish({hashes_});
}

void Saver::write_from_copy() {
  const char* from = copy_;
  write([&](size_t, const checkpoint::SharedFile::Stretch&, uint64_t, uint64_t count) {
    return std::exchange(from, from + count);
  });
}

void Saver::write_from_device() {
  std::vector<char> piece(kPiece);
  write([&](size_t file, const checkpoint::SharedFile::Stretch& stretch, uint64_t done, uint64_t count) {
    device_.to_host(piece.data(), bytes_of(file, stretch, done, count));
    return piece.data();
  });
}

void Saver::publish(const std::vector<std::string>& hashes) {
  std::map<std::string, checkpoint::Manifest::File> files;
  for (size_t i = 0; i < shared_.size(); ++i) {
    std::vector<std::string> of_ranks;
    of_ranks.reserve(hashes.size());
    for (const std::string& all : hashes) of_ranks.push_back(all.substr(i * kHashDigits, kHashDigits));
    // One rank has seen all bytes in order.
    files[shared_[i].name()] = of_ranks.size() == 1
                                   ? checkpoint::Manifest::File{shared_[i].bytes(), of_ranks.front()}
                                   : shared_[i].verify(folder_ / shared_[i].name(), of_ranks);
  }
  store_.publish(step_, files);
}

}  // namespace moe::train
