// SPDX-License-Identifier: MIT
#include "cli/machine_rates.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "base/steady_seconds.h"
#include "tensor/arena.h"

namespace moe::cli {
namespace {

// The shortest of a few runs of body, in seconds.
template <class Body>
double shortest(Device& device, Body&& body) {
  double best = 1e9;
  for (int i = 0; i < 4; ++i) {
    const double started = steady_seconds();
    body();
    device.synchronize();
    best = std::min(best, steady_seconds() - started);
  }
  return best;
}

// Normally distributed values: one block of them again and again, for only their look matters.
void fill_random(const Tensor& x, Arena& arena, const char* purpose, Device& device, Ops& ops) {
  constexpr int64_t kMost = 1 << 18;
  const int64_t n = std::min(x.numel(), kMost);
  std::vector<float> values(static_cast<size_t>(n));
  const Random random(1, purpose);
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = random.normal(static_cast<uint64_t>(i));
  const Tensor wide = arena.allocate("", DType::f32, {n});
  const Tensor flat = x.reshape({x.numel()});
  device.to_device(wide, values.data());
  ops.cast(flat.rows(0, n), wide);
  for (int64_t done = n; done < flat.numel(); done *= 2)
    ops.copy(flat.rows(done, std::min(2 * done, flat.numel())),
             flat.rows(0, std::min(done, flat.numel() - done)));
}

}  // namespace

MachineRates measure_machine(DType type, Device& device, Ops& ops) {
  MachineRates machine;
  for (int64_t n = 1024; n <= 8192; n *= 2) {  // larger ones on faster machines
    Arena arena(device, 3 * n * n * static_cast<int64_t>(size_of(type)) + (4 << 20));
    const auto square = [&] { return arena.allocate("", type, {n, n}); };
    const Tensor a = square(), b = square(), c = square();
    fill_random(a, arena, "bench/a", device, ops);
    fill_random(b, arena, "bench/b", device, ops);
    const double product = shortest(device, [&] { ops.matmul(c, a, b, MatmulLayout::NT, false); });
    const double copy = shortest(device, [&] { ops.copy(c, a); });
    machine.flops = std::max(machine.flops, 2.0 * std::pow(static_cast<double>(n), 3) / product);
    machine.bytes =
        2.0 * static_cast<double>(a.bytes()) / copy;  // of the largest: small ones stay in a cache
    machine.wait = shortest(device, [&] { ops.fill(c.rows(0, 1), 0); });
    if (product > 0.05) break;
  }
  return machine;
}

}  // namespace moe::cli
