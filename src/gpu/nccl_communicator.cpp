// SPDX-License-Identifier: MIT
#include "gpu/nccl_communicator.h"

#include <fmt/format.h>
#include <nccl.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "comm/watchdog.h"
#include "gpu/check.h"

namespace moe::gpu {
namespace {

constexpr std::chrono::milliseconds kSilence{15'000};

void check(ncclResult_t result, const char* call) {
  if (result == ncclSuccess) return;
  const char* const last = ncclGetLastError(nullptr);
  throw UserError("NCCL", std::string(call) + " to succeed",
                  fmt::format("{} ({})", ncclGetErrorString(result), last == nullptr ? "" : last),
                  "NCCL_DEBUG=INFO (environment) lets NCCL say more");
}
#define NCCL_CHECK(call) check(call, #call)

ncclDataType_t type_of(const Tensor& x) {
  switch (x.dtype()) {
    case DType::f32:
      return ncclFloat32;
    case DType::f64:
      return ncclFloat64;
    case DType::i32:
      return ncclInt32;
    case DType::bf16:
      return ncclBfloat16;
    default:
      CHECK(false, "no sums over ranks in " + std::string(name_of(x.dtype())));
  }
}

// Sets a flag for as long as it lives, also where an exception ends that.
class OnCommStream {
 public:
  explicit OnCommStream(bool& flag) : flag_(flag) { flag_ = true; }
  ~OnCommStream() { flag_ = false; }
  OnCommStream(const OnCommStream&) = delete;
  OnCommStream& operator=(const OnCommStream&) = delete;

 private:
  bool& flag_;
};

class NcclCommunicator final : public comm::Communicator {
 public:
  NcclCommunicator(const comm::Launch& launch, GpuDevice& device, std::chrono::milliseconds timeout)
      : Communicator(launch.rank, launch.size), device_(device), place_(std::in_place, launch, timeout) {
    NCCL_CHECK(ncclGetVersion(&version_));
    CUDA_CHECK(cudaEventCreateWithFlags(&last_, cudaEventDisableTiming));
    watch_.emplace(place_->store(), rank(), size(), timeout, kSilence,
                   comm::Watchdog::Hooks{[this] { return idle(); }, [this] { return error(); }, end});
    watch_->begin();  // to join is the first thing that can take for ever
    ncclUniqueId id;
    if (rank() == 0) {
      NCCL_CHECK(ncclGetUniqueId(&id));
      place_->store().set("nccl", std::string(id.internal, sizeof(id.internal)));
    }
    const auto text = place_->store().wait("nccl", timeout);
    if (!text || text->size() != sizeof(id.internal)) throw UserError("NCCL", "rank 0's id", "none");
    std::memcpy(id.internal, text->data(), sizeof(id.internal));
    ncclComm_t made = nullptr;
    NCCL_CHECK(ncclCommInitRank(&made, size(), id, rank()));
    comm_ = made;
  }
  // Some of the ranks of another, whose watch sees this one, too.
  NcclCommunicator(int rank, int size, NcclCommunicator& of, ncclComm_t comm)
      : Communicator(rank, size), device_(of.device_), whole_(of.whole_), version_(of.version_), comm_(comm) {
    const std::lock_guard lock(whole_.parts_mutex_);
    whole_.parts_.push_back(comm);
  }
  ~NcclCommunicator() override {
    // An error on its way to abort(): the others may never come to what this stream still waits for.
    if (this != &whole_ && std::uncaught_exceptions() > 0) return;
    (void)cudaStreamSynchronize(device_.stream());
    if (comm_stream_ != nullptr) (void)cudaStreamSynchronize(comm_stream_);
    if (staging_ != nullptr) (void)cudaFree(staging_);
    for (const auto& [number, slot] : slots_) {
      if (slot.gathered != nullptr) (void)cudaFree(slot.gathered);
      if (slot.on_host != nullptr) (void)cudaFreeHost(slot.on_host);
      for (cudaEvent_t event : {slot.done, slot.told})
        if (event != nullptr) (void)cudaEventDestroy(event);
    }
    if (fork_ != nullptr) (void)cudaEventDestroy(fork_);
    if (comm_stream_ != nullptr) (void)cudaStreamDestroy(comm_stream_);
    if (this != &whole_) {
      const std::lock_guard lock(whole_.parts_mutex_);
      std::erase(whole_.parts_, comm_.load());
      (void)ncclCommDestroy(comm_);
      return;
    }
    // Rank 0 serves the store: it goes last.
    try {
      place_->store().add("left", 1);
      for (int i = 0; rank() == 0 && i < 500 && place_->store().add("left", 0) < size(); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    } catch (const UserError&) {
      // Nobody is left to wait for.
    }
    watch_.reset();
    (void)ncclCommDestroy(comm_);
    for (const cudaEvent_t event : {last_, here_, all_here_})
      if (event != nullptr) (void)cudaEventDestroy(event);
  }

  std::string describe() const override {
    return fmt::format("{} ranks over NCCL {}.{}.{}", size(), version_ / 10000, version_ / 100 % 100,
                       version_ % 100);
  }

  void all_reduce(Tensor x) override {
    collective(
        [&] { return ncclAllReduce(x.data(), x.data(), count(x), type_of(x), ncclSum, comm_, stream()); });
  }
  // NCCL's own collectives have pieces of one size. Others are a group of one collective for each piece.
  void reduce_scatter(Tensor part, const Tensor& x, std::span<const int64_t> counts) override {
    check_pieces(part, x, counts);
    if (are_equal(counts))
      return collective([&] {
        return ncclReduceScatter(x.data(), part.data(), count(part), type_of(x), ncclSum, comm_, stream());
      });
    each_piece(x, counts, [&](void* piece, size_t n, int root) {
      return ncclReduce(piece, root == rank() ? part.data() : piece, n, type_of(x), ncclSum, root, comm_,
                        stream());
    });
  }
  void all_gather(Tensor x, const Tensor& part, std::span<const int64_t> counts) override {
    check_pieces(part, x, counts);
    if (are_equal(counts)) return all_gather_equal(x, part);
    const size_t width = size_of(x.dtype());
    each_piece(x, counts, [&](void* piece, size_t n, int root) {
      return ncclBroadcast(root == rank() ? part.data() : piece, piece, n * width, ncclUint8, root, comm_,
                           stream());
    });
  }
  void all_to_all(Tensor received, std::span<const int64_t> received_rows, const Tensor& sent,
                  std::span<const int64_t> sent_rows) override {
    const auto row = static_cast<size_t>(sent.dim(0) == 0 ? 0 : sent.bytes() / sent.dim(0));
    collective([&] {
      char* to = static_cast<char*>(received.data());
      const char* from = static_cast<const char*>(sent.data());
      NCCL_CHECK(ncclGroupStart());
      for (int r = 0; r < size(); ++r) {
        const size_t in = static_cast<size_t>(received_rows[static_cast<size_t>(r)]) * row;
        const size_t out = static_cast<size_t>(sent_rows[static_cast<size_t>(r)]) * row;
        if (in > 0) NCCL_CHECK(ncclRecv(to, in, ncclUint8, r, comm_, stream()));
        if (out > 0) NCCL_CHECK(ncclSend(from, out, ncclUint8, r, comm_, stream()));
        to += in;
        from += out;
      }
      return ncclGroupEnd();
    });
  }
  void broadcast(Tensor x, int root) override {
    collective([&] {
      return ncclBroadcast(x.data(), x.data(), static_cast<size_t>(x.bytes()), ncclUint8, root, comm_,
                           stream());
    });
  }

  void start_all_reduce(int slot, Tensor x) override {
    on_comm_stream(slot, [&] { all_reduce(x); });
  }
  void start_reduce_scatter(int slot, Tensor part, const Tensor& x,
                            std::span<const int64_t> counts) override {
    on_comm_stream(slot, [&] { reduce_scatter(part, x, counts); });
  }
  void start_all_gather(int slot, Tensor x, const Tensor& part, std::span<const int64_t> counts) override {
    on_comm_stream(slot, [&] { all_gather(x, part, counts); });
  }
  void start_all_to_all(int slot, Tensor received, std::span<const int64_t> received_rows, const Tensor& sent,
                        std::span<const int64_t> sent_rows) override {
    on_comm_stream(slot, [&] { all_to_all(received, received_rows, sent, sent_rows); });
  }
  void finish(int slot) override {
    const cudaEvent_t done = slots_[slot].done;
    if (done != nullptr) CUDA_CHECK(cudaStreamWaitEvent(device_.stream(), done));
  }
  void start_gather(int slot, const Tensor& mine) override {
    AsyncSlot& to = slots_[slot];
    const auto bytes = static_cast<size_t>(mine.bytes() * size());
    if (to.bytes != bytes) {  // in a step only the first time: rows of one plan are counted again and again
      CHECK(to.bytes == 0, "a slot gathers tensors of one size");
      CUDA_CHECK(cudaMalloc(&to.gathered, bytes));
      CUDA_CHECK(cudaMallocHost(&to.on_host, bytes));
      CUDA_CHECK(cudaEventCreateWithFlags(&to.told, cudaEventDisableTiming));
      to.bytes = bytes;
    }
    on_comm_stream(slot, [&] {
      all_gather_equal(Tensor(to.gathered, mine.dtype(), {mine.numel() * size()}), mine);
      CUDA_CHECK(cudaMemcpyAsync(to.on_host, to.gathered, bytes, cudaMemcpyDeviceToHost, stream()));
      CUDA_CHECK(cudaEventRecord(to.told, stream()));
    });
  }
  std::span<const std::byte> finish_gather(int slot) override {
    const AsyncSlot& from = slots_.at(slot);
    CUDA_CHECK(cudaEventSynchronize(from.told));
    return {static_cast<const std::byte*>(from.on_host), from.bytes};
  }
  // By way of the device: what is small takes microseconds there, and the store would take milliseconds.
  void all_gather_bytes(std::span<std::byte> all, std::span<const std::byte> mine) override {
    CHECK(all.size() == mine.size() * static_cast<size_t>(size()));
    const auto bytes = std::max<int64_t>(1, static_cast<int64_t>(mine.size()));  // a barrier sends one byte
    reserve(bytes * size());
    const Tensor gathered(staging_, DType::u8, {bytes * size()});
    const Tensor part = gathered.rows(rank() * bytes, (rank() + 1) * bytes);
    const std::byte nothing{};
    device_.to_device(part, mine.empty() ? &nothing : mine.data());
    all_gather_equal(gathered, part);
    if (!mine.empty()) return device_.to_host(all.data(), gathered);
    device_.synchronize();
  }

  // On the device: the host is far ahead of it.
  void step_barrier() override {
    if (here_ == nullptr) {
      CUDA_CHECK(cudaEventCreate(&here_));
      CUDA_CHECK(cudaEventCreate(&all_here_));
    }
    reserve(size());
    CUDA_CHECK(cudaEventRecord(here_, stream()));
    const Tensor signs(staging_, DType::u8, {size()});
    all_gather_equal(signs, signs.rows(rank(), rank() + 1));
    CUDA_CHECK(cudaEventRecord(all_here_, stream()));
  }
  double waited() const override {
    float milliseconds = 0;
    if (here_ != nullptr) CUDA_CHECK(cudaEventElapsedTime(&milliseconds, here_, all_here_));
    return 1e-3 * static_cast<double>(milliseconds);
  }

  std::unique_ptr<comm::Communicator> split(int color, int rank, int size) override {
    ncclComm_t made = nullptr;
    NCCL_CHECK(ncclCommSplit(comm_, color, this->rank(), &made, nullptr));
    return std::make_unique<NcclCommunicator>(rank, size, *this, made);
  }

  void suspend_timeout(bool suspended) override { whole_.watch_->suspend_timeout(suspended); }
  void abort(const std::string& reason) override { whole_.watch_->tell(reason); }

 private:
  struct AsyncSlot {
    cudaEvent_t done = nullptr;  // behind what was started last
    cudaEvent_t told = nullptr;  // behind the copy to on_host
    void *gathered = nullptr, *on_host = nullptr;
    size_t bytes = 0;
  };

  static size_t count(const Tensor& x) { return static_cast<size_t>(x.numel()); }
  static bool are_equal(std::span<const int64_t> counts) {
    return std::ranges::all_of(counts, [&](int64_t n) { return n == counts.front(); });
  }
  void all_gather_equal(Tensor x, const Tensor& part) {
    collective([&] {
      return ncclAllGather(part.data(), x.data(), static_cast<size_t>(part.bytes()), ncclUint8, comm_,
                           stream());
    });
  }
  // call(piece, elements, the rank that owns it) queues a collective.
  template <class Call>
  void each_piece(Tensor x, std::span<const int64_t> counts, const Call& call) {
    collective([&] {
      char* piece = static_cast<char*>(x.data());
      NCCL_CHECK(ncclGroupStart());
      for (int r = 0; r < size(); ++r) {
        const auto n = static_cast<size_t>(counts[static_cast<size_t>(r)]);
        if (n > 0) NCCL_CHECK(call(piece, n, r));
        piece += n * size_of(x.dtype());
      }
      return ncclGroupEnd();
    });
  }
  // Where collectives are queued.
  cudaStream_t stream() const { return on_comm_stream_ ? comm_stream_ : device_.stream(); }

  // body's collectives begin when what is queued on the device is done, and what is queued later does not
  // wait for them. Their stream comes first where both could run: an operation fills all multiprocessors, and
  // rows that wait for its end are late.
  template <class Body>
  void on_comm_stream(int slot, const Body& body) {
    if (comm_stream_ == nullptr) {
      int lowest = 0, highest = 0;
      CUDA_CHECK(cudaDeviceGetStreamPriorityRange(&lowest, &highest));
      CUDA_CHECK(cudaStreamCreateWithPriority(&comm_stream_, cudaStreamNonBlocking, highest));
      CUDA_CHECK(cudaEventCreateWithFlags(&fork_, cudaEventDisableTiming));
    }
    cudaEvent_t& done = slots_[slot].done;
    if (done == nullptr) CUDA_CHECK(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
    CUDA_CHECK(cudaEventRecord(fork_, device_.stream()));
    CUDA_CHECK(cudaStreamWaitEvent(comm_stream_, fork_));
    const OnCommStream guard(on_comm_stream_);
    body();
    CUDA_CHECK(cudaEventRecord(done, comm_stream_));
  }
  template <class Body>
  void collective(const Body& body) {
    check(body(), "a collective");
    CUDA_CHECK(cudaEventRecord(whole_.last_, stream()));
    whole_.watch_->begin();
  }
  void reserve(int64_t bytes) {
    if (bytes <= staging_bytes_) return;
    device_.synchronize();
    if (staging_ != nullptr) CUDA_CHECK(cudaFree(staging_));
    CUDA_CHECK(cudaMalloc(&staging_, static_cast<size_t>(bytes)));
    staging_bytes_ = bytes;
  }

  // ---- called by the watch, from its thread, which must not disturb a graph that is being recorded ----
  bool idle() {
    if (comm_ == nullptr) return false;
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    CUDA_CHECK(cudaThreadExchangeStreamCaptureMode(&mode));
    const cudaError_t state = cudaEventQuery(last_);
    CUDA_CHECK(cudaThreadExchangeStreamCaptureMode(&mode));
    return state != cudaErrorNotReady;
  }
  std::string error() {
    if (comm_ == nullptr) return "";
    const std::lock_guard lock(parts_mutex_);
    std::vector<ncclComm_t> all = parts_;
    all.push_back(comm_);
    for (const ncclComm_t comm : all) {
      ncclResult_t result = ncclSuccess;
      if (ncclCommGetAsyncError(comm, &result) != ncclSuccess) return "NCCL does not answer";
      if (result != ncclSuccess && result != ncclInProgress)
        return std::string("NCCL: ") + ncclGetErrorString(result);
    }
    return "";
  }
  // The stream may wait for ever: nothing can be tidied up.
  [[noreturn]] static void end(const std::string& message) {
    if (!message.empty()) std::fprintf(stderr, "error: %s\n", message.c_str());
    std::fflush(nullptr);
    std::_Exit(1);
  }

  GpuDevice& device_;
  NcclCommunicator& whole_ = *this;  // of all ranks
  // Only that has these, and `last_` and `watch_`.
  std::optional<comm::Rendezvous> place_;
  std::mutex parts_mutex_;
  std::vector<ncclComm_t> parts_;
  int version_ = 0;
  std::atomic<ncclComm_t> comm_{nullptr};
  cudaEvent_t last_ = nullptr;                       // behind the last collective
  cudaEvent_t here_ = nullptr, all_here_ = nullptr;  // around the last meeting
  void* staging_ = nullptr;                          // of exchange
  int64_t staging_bytes_ = 0;
  cudaStream_t comm_stream_ = nullptr;  // where started transfers run
  cudaEvent_t fork_ = nullptr;
  bool on_comm_stream_ = false;
  std::map<int, AsyncSlot> slots_;
  std::optional<comm::Watchdog> watch_;
};

}  // namespace

std::unique_ptr<comm::Communicator> make_nccl(const comm::Launch& launch, GpuDevice& device,
                                              std::chrono::milliseconds timeout) {
  return std::make_unique<NcclCommunicator>(launch, device, timeout);
}

}  // namespace moe::gpu
