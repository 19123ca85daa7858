// SPDX-License-Identifier: MIT
// Sums are made of two of MPI's collectives with an ordered addition between them, because MPI does not
// promise an order.
// No call blocks: the wait loop lets other processes run, sees the clock, and answers ranks that ask who is
// still there.
#include "comm/mpi.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mpi.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <limits>
#include <mutex>
#include <numeric>
#include <stop_token>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/host.h"
#include "base/shard.h"
#include "base/start_thread.h"
#include "comm/ordered_sum.h"

namespace moe::comm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kChunkBytes =
    int64_t{16} << 20;  // of a tensor at a time: bounds the scratch memory and MPI's int counts
constexpr int64_t kMoveBytes = int64_t{1} << 30;
constexpr int kQuestion = 1, kAnswer = 2, kRow = 3;  // tags
constexpr auto kGap = std::chrono::seconds(1);       // longer between two looks no waiting process is
constexpr auto kAskFor = std::chrono::seconds(3);    // a rank in the wait loop answers within milliseconds

void check(int status, const char* call) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(status, text, &length);
  CHECK(false, fmt::format("{}: {}", call, std::string(text, static_cast<size_t>(length))));
}

int as_int(int64_t n) {
  CHECK(n >= 0 && n <= std::numeric_limits<int>::max());
  return static_cast<int>(n);
}

class MpiCommunicator final : public Communicator {
 public:
  // The world.
  MpiCommunicator(int rank, int size, std::chrono::milliseconds timeout)
      : Communicator(rank, size),
        timeout_(timeout),
        comm_(MPI_COMM_WORLD),
        world_(size),
        members_(static_cast<size_t>(size)) {
    check(MPI_Comm_dup(MPI_COMM_WORLD, &control_), "MPI_Comm_dup");
    std::iota(members_.begin(), members_.end(), 0);
    places_ = gather_text(process_name());
  }
  // Some of it.
  MpiCommunicator(int rank, int size, MpiCommunicator& of, MPI_Comm comm)
      : Communicator(rank, size),
        timeout_(of.timeout_),
        comm_(comm),
        control_(of.control_),
        world_(of.world_) {
    members_ = gather(of.members_[static_cast<size_t>(of.rank())]);
    places_ = gather_text(process_name());
  }
  ~MpiCommunicator() override {
    if (comm_ != MPI_COMM_WORLD) {
      MPI_Comm_free(&comm_);
      return;
    }
    MPI_Comm_free(&control_);
    MPI_Finalize();
  }

  std::string describe() const override {
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(version, &length);
    const std::string text(version, static_cast<size_t>(length));
    return fmt::format("{} ranks over MPI ({})", size(), text.substr(0, text.find(',')));
  }

  void all_reduce(Tensor x) override {
    each_chunk(
        x.numel(), x,
        [&](char* data, int64_t n) {
          const std::vector<int> counts = piece_counts(n, x), places = places_of(counts);
          sum_piece(at(data, n * rank() / size(), x), n, data, counts, places, x);
          wait_for([&](MPI_Request* request) {
            return MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_BYTE, data, counts.data(), places.data(), MPI_BYTE,
                                   comm_, request);
          });
        },
        static_cast<char*>(x.data()));
  }
  void reduce_scatter(Tensor part, const Tensor& x, std::span<const int64_t> counts) override {
    check_pieces(part, x, counts);
    const int64_t step = std::max<int64_t>(1, kChunkBytes / (width(x) * size()));
    const int64_t longest = *std::max_element(counts.begin(), counts.end());
    for (int64_t begin = 0; begin < longest; begin += step) {
      const auto stretch = [&](int64_t piece) { return std::clamp<int64_t>(piece - begin, 0, step); };
      const int64_t n = stretch(part.numel());
      // The same stretch of each piece, to the owner of the piece.
      scratch_.resize(static_cast<size_t>(n * width(x) * size()));
      std::vector<MPI_Request> requests;
      int64_t piece = 0;  // where it begins
      for (int r = 0; r < size(); ++r) {
        const int64_t count = counts[static_cast<size_t>(r)];
        receive(scratch_.data() + r * n * width(x), n * width(x), r, requests);
        send(at(static_cast<const char*>(x.data()), piece + begin, x), stretch(count) * width(x), r,
             requests);
        piece += count;
      }
      wait(requests);
      if (n > 0) ordered_sum(at(static_cast<char*>(part.data()), begin, x), terms(n, x), n, x.dtype());
    }
  }
  void all_gather(Tensor x, const Tensor& part, std::span<const int64_t> counts) override {
    check_pieces(part, x, counts);
    char* const mine = at(static_cast<char*>(x.data()), elements_before(counts, rank()), x);
    if (mine != part.data() && part.bytes() > 0)
      std::memcpy(mine, part.data(), static_cast<size_t>(part.bytes()));
    const int64_t longest = *std::max_element(counts.begin(), counts.end()) * width(x);
    for (int64_t begin = 0; begin < longest; begin += kMoveBytes) {
      std::vector<MPI_Request> requests(static_cast<size_t>(size()));
      int64_t piece = 0;
      for (int r = 0; r < size(); ++r) {
        const int64_t bytes = counts[static_cast<size_t>(r)] * width(x);
        check(MPI_Ibcast(static_cast<char*>(x.data()) + piece + std::min(begin, bytes),
                         as_int(std::clamp<int64_t>(bytes - begin, 0, kMoveBytes)), MPI_BYTE, r, comm_,
                         &requests[static_cast<size_t>(r)]),
              "MPI_Ibcast");
        piece += bytes;
      }
      wait(requests);
    }
  }
  void all_to_all(Tensor received, std::span<const int64_t> received_rows, const Tensor& sent,
                  std::span<const int64_t> sent_rows) override {
    const int64_t row = sent.dim(0) == 0 ? 0 : sent.bytes() / sent.dim(0);
    char* to = static_cast<char*>(received.data());
    const char* from = static_cast<const char*>(sent.data());
    std::vector<MPI_Request> requests;
    for (int r = 0; r < size(); ++r) {
      const int64_t in = received_rows[static_cast<size_t>(r)] * row,
                    out = sent_rows[static_cast<size_t>(r)] * row;
      if (in > 0) receive(to, in, r, requests);
      if (out > 0) send(from, out, r, requests);
      to += in;
      from += out;
    }
    wait(requests);
  }
  void broadcast(Tensor x, int root) override {
    for (int64_t begin = 0; begin < x.bytes(); begin += kMoveBytes)
      wait_for([&](MPI_Request* request) {
        return MPI_Ibcast(static_cast<char*>(x.data()) + begin,
                          as_int(std::min(kMoveBytes, x.bytes() - begin)), MPI_BYTE, root, comm_, request);
      });
  }
  void all_gather_bytes(std::span<std::byte> all, std::span<const std::byte> mine) override {
    CHECK(all.size() == mine.size() * static_cast<size_t>(size()));
    const int bytes = as_int(static_cast<int64_t>(mine.size()));
    wait_for([&](MPI_Request* request) {
      return MPI_Iallgather(mine.data(), bytes, MPI_BYTE, all.data(), bytes, MPI_BYTE, comm_, request);
    });
  }

  std::unique_ptr<Communicator> split(int color, int rank, int size) override {
    MPI_Comm part = MPI_COMM_NULL;
    int found_rank = -1, found_size = 0;
    check(MPI_Comm_split(comm_, color, this->rank(), &part), "MPI_Comm_split");
    MPI_Comm_rank(part, &found_rank);
    MPI_Comm_size(part, &found_size);
    CHECK(found_rank == rank && found_size == size);
    return std::make_unique<MpiCommunicator>(rank, size, *this, part);
  }

  void suspend_timeout(bool suspended) override { timeout_suspended_ = suspended; }
  void abort(const std::string& reason) override {
    std::fprintf(stderr, "error: rank %d of %d: %s; all ranks end\n", rank(), size(), reason.c_str());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }

 private:
  static int64_t width(const Tensor& of) { return static_cast<int64_t>(size_of(of.dtype())); }
  template <class Byte>
  static Byte* at(Byte* data, int64_t i, const Tensor& of) {
    return data + i * width(of);
  }
  template <class Body>
  static void each_chunk(int64_t n, const Tensor& like, const Body& body, char* data) {
    const int64_t step = kChunkBytes / width(like);
    for (int64_t begin = 0; begin < n; begin += step) body(at(data, begin, like), std::min(step, n - begin));
  }
  // Bytes of each rank's piece of n elements.
  std::vector<int> piece_counts(int64_t n, const Tensor& like) const {
    std::vector<int> counts;
    counts.reserve(static_cast<size_t>(size()));
    for (int r = 0; r < size(); ++r)
      counts.push_back(as_int((n * (r + 1) / size() - n * r / size()) * width(like)));
    return counts;
  }
  static std::vector<int> places_of(const std::vector<int>& counts) {
    std::vector<int> places{0};
    for (size_t r = 0; r + 1 < counts.size(); ++r) places.push_back(places.back() + counts[r]);
    return places;
  }
  // This rank's piece of the sum of `data` over ranks.
  void sum_piece(char* sum, int64_t n, const char* data, const std::vector<int>& counts,
                 const std::vector<int>& places, const Tensor& like) {
    const int64_t mine = n * (rank() + 1) / size() - n * rank() / size();
    const std::vector<int> in_counts(counts.size(), as_int(mine * width(like)));
    const std::vector<int> in_places = places_of(in_counts);
    scratch_.resize(static_cast<size_t>(mine * width(like) * size()));
    wait_for([&](MPI_Request* request) {
      return MPI_Ialltoallv(data, counts.data(), places.data(), MPI_BYTE, scratch_.data(), in_counts.data(),
                            in_places.data(), MPI_BYTE, comm_, request);
    });
    ordered_sum(sum, terms(mine, like), mine, like.dtype());
  }
  std::vector<const void*> terms(int64_t n, const Tensor& like) const {
    std::vector<const void*> all;
    all.reserve(static_cast<size_t>(size()));
    for (int r = 0; r < size(); ++r) all.push_back(scratch_.data() + r * n * width(like));
    return all;
  }
  void receive(char* to, int64_t bytes, int rank, std::vector<MPI_Request>& requests) {
    for (int64_t begin = 0; begin < bytes; begin += kMoveBytes)
      check(MPI_Irecv(to + begin, as_int(std::min(kMoveBytes, bytes - begin)), MPI_BYTE, rank, kRow, comm_,
                      &requests.emplace_back()),
            "MPI_Irecv");
  }
  void send(const char* from, int64_t bytes, int rank, std::vector<MPI_Request>& requests) {
    for (int64_t begin = 0; begin < bytes; begin += kMoveBytes)
      check(MPI_Isend(from + begin, as_int(std::min(kMoveBytes, bytes - begin)), MPI_BYTE, rank, kRow, comm_,
                      &requests.emplace_back()),
            "MPI_Isend");
  }

  template <class Start>
  void wait_for(const Start& start) {
    std::vector<MPI_Request> request(1);
    check(start(request.data()), "a collective of MPI");
    wait(request);
  }
  static bool done(std::vector<MPI_Request>& requests) {
    int all = 0;
    check(MPI_Testall(as_int(std::ssize(requests)), requests.data(), &all, MPI_STATUSES_IGNORE),
          "MPI_Testall");
    return all != 0;
  }
  void wait(std::vector<MPI_Request>& requests) {
    Clock::duration waited{0};
    bool all_were_here = false;
    auto last = Clock::now();
    for (int turn = 0; !done(requests); ++turn) {
      if (turn < 100) continue;
      std::this_thread::yield();
      if (turn % 100 != 0) continue;
      answer();
      // A gap is a pause of this process: then it is the others who wait.
      const auto now = Clock::now();
      waited += std::min<Clock::duration>(now - std::exchange(last, now), kGap);
      if (waited > std::chrono::milliseconds(20)) std::this_thread::sleep_for(std::chrono::microseconds(200));
      if (waited <= timeout_ || timeout_suspended_) continue;
      // One that was late may be here by now: it gets as much time again.
      if (give_up(requests, all_were_here)) return;
      all_were_here = true;
      waited = {};
      last = Clock::now();
    }
  }

  // Tells those who ask that this rank waits, too, with the number of their question.
  void answer() {
    int there = 0, question = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, kQuestion, control_, &there, &status);
    if (there == 0) return;
    MPI_Recv(&question, 1, MPI_INT, status.MPI_SOURCE, kQuestion, control_, MPI_STATUS_IGNORE);
    tell(status.MPI_SOURCE, kAnswer, question);
  }
  // Does not wait: a rank that is stopped takes nothing.
  void tell(int rank, int tag, int number) {
    MPI_Request request;
    MPI_Isend(&told_.emplace_back(number), 1, MPI_INT, rank, tag, control_, &request);
    MPI_Request_free(&request);
  }

  // Asks all; who does not answer is the one that all wait for. The first of those who do speaks, and all
  // end. Returns when all answer for the first time, and when what was waited for is done meanwhile: true.
  bool give_up(std::vector<MPI_Request>& requests, bool all_were_here) {
    std::vector<bool> here(static_cast<size_t>(size()), false);
    here[static_cast<size_t>(rank())] = true;
    const int question = ++questions_;
    for (int r = 0; r < size(); ++r)
      if (r != rank()) tell(members_[static_cast<size_t>(r)], kQuestion, question);
    for (const auto begin = Clock::now(); Clock::now() - begin < kAskFor;) {
      if (done(requests)) return true;
      answer();
      int there = 0;
      MPI_Status status;
      MPI_Iprobe(MPI_ANY_SOURCE, kAnswer, control_, &there, &status);
      if (there == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      int answered = 0;
      MPI_Recv(&answered, 1, MPI_INT, status.MPI_SOURCE, kAnswer, control_, MPI_STATUS_IGNORE);
      const auto who = std::find(members_.begin(), members_.end(), status.MPI_SOURCE);
      if (who != members_.end() && answered == question)
        here[static_cast<size_t>(who - members_.begin())] = true;
    }
    std::vector<std::string> missing;
    for (size_t r = 0; r < here.size(); ++r)
      if (!here[r]) missing.push_back(fmt::format("rank {} of {} ({})", members_[r], world_, places_[r]));
    if (missing.empty() && !all_were_here) return false;
    const auto speaker = std::find(here.begin(), here.end(), true) - here.begin();
    const auto seconds = std::chrono::duration<double>(timeout_).count();
    if (speaker == rank()) {
      std::fprintf(stderr, "error: no answer for %g s from %s; all ranks end\n", seconds,
                   missing.empty() ? "the network: twice all ranks were here, and waited"
                                   : fmt::format("{}", fmt::join(missing, ", ")).c_str());
      MPI_Abort(MPI_COMM_WORLD, 1);
    }
    std::this_thread::sleep_for(kAskFor);  // for the speaker's words to come first
    MPI_Abort(MPI_COMM_WORLD, 1);
    std::abort();  // not reached
  }

  std::chrono::milliseconds timeout_;
  bool timeout_suspended_ = false;
  int questions_ = 0;
  std::deque<int> told_;  // what may still be on its way
  MPI_Comm comm_ = MPI_COMM_NULL;
  MPI_Comm control_ = MPI_COMM_NULL;  // questions and answers, among all ranks of the program
  int world_ = 1;                     // how many these are
  std::vector<int> members_;          // which of them are here
  std::vector<std::string> places_;
  std::vector<char> scratch_;
};

// MPI_Init waits for the other ranks without end, and nothing can call it back: where one died before it came
// there, mpirun may hang as well. While this lives, the process ends after `timeout`.
class StartDeadline {
 public:
  StartDeadline(const Launch& launch, std::chrono::milliseconds timeout)
      : thread_(start_thread<std::jthread>([launch, timeout](const std::stop_token& stop) {
          std::mutex mutex;
          std::condition_variable_any ended;
          std::unique_lock lock(mutex);
          if (ended.wait_for(lock, stop, timeout, [&] { return stop.stop_requested(); })) return;
          const UserError error(
              fmt::format("rank {} of {}", launch.rank, launch.size),
              fmt::format("all ranks to start within {} s",
                          std::chrono::duration_cast<std::chrono::seconds>(timeout).count()),
              "that MPI still waits for one",
              "look for what ended it; distributed.timeout_seconds is half of this time");
          std::fprintf(stderr, "error: %s\n", error.what());
          std::_Exit(1);
        })) {}

 private:
  std::jthread thread_;
};

}  // namespace

std::string why_no_mpi() {
  return "";
}

std::unique_ptr<Communicator> make_mpi(const Launch& launch, std::chrono::milliseconds timeout) {
  int provided = 0, rank = 0, size = 1;
  {
    const StartDeadline deadline(launch, 2 * timeout);
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (rank != launch.rank || size != launch.size) {
    MPI_Finalize();
    throw UserError("MPI", fmt::format("rank {} of {}, as {} says", launch.rank, launch.size, launch.by),
                    fmt::format("rank {} of {}", rank, size),
                    "ranks on CPUs are started with mpirun, or with srun --mpi=pmix");
  }
  return std::make_unique<MpiCommunicator>(rank, size, timeout);
}

}  // namespace moe::comm
