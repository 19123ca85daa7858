// SPDX-License-Identifier: MIT
// transfers_gpu_tool [--rank R --world-size W --rendezvous PLACE]: the rate at which GPUs send to each other,
// one process each, started as `moe train` is: what each sends to the others a second, by NCCL's collectives
// at several sizes, beside plain copies from each GPU to its neighbour in memory, all at the same time, which
// no collective can beat. The same for an all-to-all that runs beside a product of matrices, and what it
// costs the product.
//   for r in 0 1; do transfers_gpu_tool --rank $r --world-size 2 --rendezvous file:/tmp/place & done; wait
#include <cuda_runtime.h>
#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <vector>

#include "backend/ranks.h"
#include "base/error.h"
#include "base/random.h"
#include "base/steady_seconds.h"
#include "gpu/check.h"

namespace moe {
namespace {

constexpr int kRepeats = 20, kProducts = 40;
constexpr int64_t kRow = 2048;         // bytes: d_model 1024 in bf16
constexpr int64_t kRows = 128 * 1024;  // at most, for all ranks together
constexpr int64_t kSide = 8192;        // of the matrices

class Transfers {
 public:
  Transfers(const comm::Launch& launch, backend::Backend& backend)
      : launch_(launch),
        device_(*backend.device),
        ops_(*backend.ops),
        comm_(backend::make_communicator(launch, backend, comm::kRankTimeout)) {
    for (Tensor* x : {&a_, &b_}) *x = memory(DType::u8, {kRows, kRow});
    for (Tensor* x : {&p_, &q_, &r_}) *x = memory(DType::bf16, {kSide, kSide});
    // Numbers between 0.5 and 1, either sign: a GPU multiplies zeros with less power, and so faster.
    std::vector<uint16_t> bits(kSide * kSide);
    const Random random(1, "products");
    for (size_t i = 0; i < bits.size(); ++i)
      bits[i] = i < kSide ? static_cast<uint16_t>(0x3F00 | (random.below(i, 256) * 0x101 & 0x807F))
                          : bits[i - kSide + 1];
    for (const Tensor& x : {p_, q_}) device_.to_device(x, bits.data());
  }

  void run() {
    const int W = comm_->size();
    const double copies = copy_rate();
    say(fmt::format("{}; copies between two GPUs in memory: {:.0f} GB/s each way", comm_->describe(),
                    copies));
    say(fmt::format("{:>12}{:>16}{:>16}{:>16}", "MB a rank", "all-to-all", "reduce-scatter", "all-gather"));
    for (int64_t rows = kRows / 64; rows <= kRows; rows *= 4) {
      const double sent = static_cast<double>(rows * kRow) * (W - 1) / W;
      Tensor x = a_.rows(0, rows);
      const Tensor y = b_.rows(0, rows);
      const Tensor sums(x.data(), DType::f32, {rows * kRow / 4});
      const auto part = [&](const Tensor& whole) {
        const int64_t n = whole.dim(0) / W;
        return whole.rows(comm_->rank() * n, (comm_->rank() + 1) * n);
      };
      const std::vector<int64_t> each(static_cast<size_t>(W), rows / W);
      const auto pieces = [&](const Tensor& whole) {
        return std::vector<int64_t>(static_cast<size_t>(W), whole.numel() / W);
      };
      const std::vector<int64_t> sum_pieces = pieces(sums), x_pieces = pieces(x);
      std::string line = fmt::format("{:>12.1f}", 1e-6 * static_cast<double>(rows * kRow));
      for (const std::function<void()>& body :
           {std::function<void()>([&] { comm_->all_to_all(y, each, x, each); }),
            {[&] { comm_->reduce_scatter(part(sums), sums, sum_pieces); }},
            {[&] { comm_->all_gather(x, part(x), x_pieces); }}}) {
        const double rate = 1e-9 * sent / time(body);
        line += fmt::format("{:>7.0f} GB/s {:>3.0f}%", rate, 100 * rate / copies);
      }
      say(line);
    }
    beside_products();
  }

 private:
  Tensor memory(DType type, std::initializer_list<int64_t> shape) {
    const Tensor size(nullptr, type, shape);
    return {device_.allocate(size.bytes()), type, shape};
  }
  void say(const std::string& line) const {
    if (comm_->rank() == 0) fmt::print("{}\n", line);
  }
  // Of one, on the slowest rank.
  double time(const std::function<void()>& body) {
    body();
    comm_->barrier();
    const double begin = steady_seconds();
    for (int i = 0; i < kRepeats; ++i) body();
    device_.synchronize();
    const auto all = comm_->gather(steady_seconds() - begin);
    return *std::max_element(all.begin(), all.end()) / kRepeats;
  }
  // GB/s.
  double copy_rate() {
    const int here = launch_.local_rank, there = (here + 1) % launch_.local_size;
    void* to = nullptr;
    CUDA_CHECK(cudaSetDevice(there));
    CUDA_CHECK(cudaMalloc(&to, static_cast<size_t>(a_.bytes())));
    CUDA_CHECK(cudaSetDevice(here));
    CUDA_CHECK(cudaDeviceEnablePeerAccess(there, 0));
    cudaStream_t stream = nullptr;
    CUDA_CHECK(cudaStreamCreate(&stream));
    const auto copy = [&] {
      CUDA_CHECK(cudaMemcpyPeerAsync(to, there, a_.data(), here, static_cast<size_t>(a_.bytes()), stream));
    };
    copy();
    CUDA_CHECK(cudaStreamSynchronize(stream));
    comm_->barrier();
    const double begin = steady_seconds();
    for (int i = 0; i < kRepeats; ++i) copy();
    CUDA_CHECK(cudaStreamSynchronize(stream));
    const auto all = comm_->gather(steady_seconds() - begin);
    return 1e-9 * static_cast<double>(a_.bytes()) * kRepeats / *std::max_element(all.begin(), all.end());
  }
  void beside_products() {
    const int W = comm_->size();
    const int64_t rows = kRows / 4;
    const std::vector<int64_t> each(static_cast<size_t>(W), rows / W);
    const auto products = [&] {
      for (int i = 0; i < kProducts; ++i) ops_.matmul(r_, p_, q_, MatmulLayout::NT, false);
    };
    const auto transfers = [&] {
      for (int i = 0; i < kProducts; ++i)
        comm_->start_all_to_all(0, b_.rows(0, rows), each, a_.rows(0, rows), each);
    };
    const double product = time(products) / kProducts;
    const double both = time([&] {
                          transfers();
                          products();
                          comm_->finish(0);
                        }) /
                        kProducts;
    const double alone = time([&] {
                           transfers();
                           comm_->finish(0);
                         }) /
                         kProducts;
    say(fmt::format(
        "a product of {:.2f} ms and an all-to-all of {:.2f} ms beside each other: {:.2f} ms, {:.0f} % of the "
        "all-to-all is hidden",
        1e3 * product, 1e3 * alone, 1e3 * both, 100 * (product + alone - both) / std::min(product, alone)));
  }

  const comm::Launch& launch_;
  Device& device_;
  Ops& ops_;
  std::unique_ptr<comm::Communicator> comm_;
  Tensor a_, b_, p_, q_, r_;
};

}  // namespace
}  // namespace moe

int main(int argc, char** argv) try {
  using namespace moe;
  comm::LaunchFlags flags;
  CLI::App app("How fast GPUs send to each other");
  app.add_option("--rank", flags.rank);
  app.add_option("--world-size", flags.size);
  app.add_option("--rendezvous", flags.rendezvous, "HOST:PORT or file:PATH");
  CLI11_PARSE(app, argc, argv);
  const comm::Launch launch = comm::find_launch(flags, std::getenv);
  if (launch.alone()) throw UserError("ranks", "two or more, as for `moe train`", "one");
  backend::Backend backend =
      backend::make_backend(DeviceKind::gpu, 1, {DType::bf16, false}, launch.local_rank);
  Transfers(launch, backend).run();
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "error: {}\n", error.what());
  return 1;
}
