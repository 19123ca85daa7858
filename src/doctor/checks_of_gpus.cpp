// SPDX-License-Identifier: MIT
#include "doctor/checks_of_gpus.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/format.h"

namespace moe::doctor {
namespace {

constexpr int kOldestGpu = 80;      // compute capability 8.0, as gpu/gpu_device.cpp
constexpr int kOldestCuda = 13000;  // that a driver must run
constexpr int kOldestDriver = 580;  // the first that does
constexpr const char* kTraining = "training on the GPU: it runs on the CPU, many times slower";
constexpr const char* kBuild = "pip install 'moe-cpp[cuda]', or in a clone: make train";

std::string driver_command(const std::string& distribution) {
  // Debian's own packages are older.
  const std::string package = distribution == "ubuntu"
                                  ? fmt::format("apt install nvidia-driver-{}-open", kOldestDriver)
                                  : "apt install nvidia-open, from NVIDIA's packages for your distribution";
  return fmt::format("a driver of {} or newer ({}), then restart", kOldestDriver, package);
}

std::string words_of(const Gpu& gpu) {
  std::string text = gpu.name.empty() ? "a GPU without a name" : gpu.name;
  const auto size = [](int64_t bytes) { return format_bytes(static_cast<double>(bytes)); };
  if (gpu.memory > 0) text += fmt::format(", {} ({} free)", size(gpu.memory), size(gpu.memory_free));
  if (gpu.capability > 0)
    text += fmt::format(", compute capability {}.{}", gpu.capability / 10, gpu.capability % 10);
  if (gpu.power_limit > 0) text += fmt::format(", up to {:.0f} W", gpu.power_limit);
  if (gpu.clock > 0) text += fmt::format(", up to {} MHz", gpu.clock);
  return text;
}

bool too_old(const Gpu& gpu) {
  return gpu.capability > 0 && gpu.capability < kOldestGpu;
}

bool all_hidden(const Gpus& gpus) {
  return gpus.visible && (gpus.visible->empty() || *gpus.visible == "-1");
}

bool old_driver(const Gpus& gpus) {
  return gpus.cuda > 0 && gpus.cuda < kOldestCuda;
}

// No GPU that a driver shows.
Check without_gpu(const Machine& machine) {
  const Gpus& gpus = machine.gpus;
  Check check{"GPU", "no NVIDIA GPU", Status::unused};
  if (gpus.bus.empty() && gpus.kernel_driver.empty()) return check;
  check.status = Status::missing;
  check.costs = kTraining;
  if (!gpus.driver.empty()) {
    check.found = fmt::format("the driver ({}) shows none", gpus.driver);
    check.brings = "a container or job that was given the GPU; else nvidia-smi says what is wrong";
  } else if (!gpus.kernel_driver.empty()) {
    check.found = fmt::format("the machine has NVIDIA's driver {}, and here its libraries are not found",
                              gpus.kernel_driver);
    check.brings = "in a container, start it with --gpus all; else reinstall the driver";
  } else {
    check.found =
        fmt::format("on the bus ({}), but NVIDIA's driver is not installed", fmt::join(gpus.bus, ", "));
    check.brings = driver_command(machine.distribution);
  }
  return check;
}

Check driver_check(const Machine& machine) {
  const Gpus& gpus = machine.gpus;
  Check check{"driver", gpus.driver.empty() ? "of an unknown version" : gpus.driver};
  if (gpus.cuda > 0) check.found += fmt::format(", for CUDA {}.{}", gpus.cuda / 1000, gpus.cuda % 1000 / 10);
  if (!old_driver(gpus)) return check;
  check.found += fmt::format("; CUDA {} needs {} or newer", kOldestCuda / 1000, kOldestDriver);
  check.status = Status::too_old;
  check.costs = kTraining;
  check.brings = driver_command(machine.distribution);
  return check;
}

Check library_check(const CudaLibraryState& library, const std::string& costs) {
  if (library.problem.empty()) return {library.name, fmt::format("{}, {}", library.version, library.path)};
  return {library.name, library.problem, Status::missing, costs, library.hint};
}

Check ranks_check(const Gpus& gpus) {
  const bool several = gpus.gpus.size() > 1;
  if (!gpus.ranks)
    return {"NCCL", several ? "this build has none" : "this build has none; one GPU needs none",
            several ? Status::missing : Status::unused, "runs on several GPUs",
            "in a clone: scripts/setup.sh or libnccl-dev, then build again"};
  Check check = library_check(*gpus.ranks, "runs on several GPUs");
  if (check.status != Status::ok && !several) {
    check.found = "not found; one GPU needs none";
    check.status = Status::unused;
  }
  return check;
}

void add_cuda(const Gpus& gpus, std::vector<Check>& checks) {
  if (!gpus.built_for) {
    checks.push_back({"GPU support", "this build is for CPUs", Status::missing, kTraining, kBuild});
    return;
  }
  const bool known = old_driver(gpus) || all_hidden(gpus) || too_old(gpus.gpus.front()) ||
                     (gpus.products && !gpus.products->problem.empty());
  if (!gpus.unusable.empty() && !known)
    checks.push_back({"CUDA", gpus.unusable, Status::missing, kTraining, "nvidia-smi says what is wrong"});
  if (gpus.products) checks.push_back(library_check(*gpus.products, kTraining));
  checks.push_back(ranks_check(gpus));
}

}  // namespace

GpuUse use_of(const Gpus& gpus) {
  if (gpus.gpus.empty()) return {false, gpus.bus.empty() ? "" : "the GPU has no driver here"};
  if (!gpus.built_for) return {false, "this build is for CPUs"};
  return {gpus.unusable.empty(), gpus.unusable};
}

void add_gpu_checks(const Machine& machine, std::vector<Check>& checks) {
  const Gpus& gpus = machine.gpus;
  if (gpus.gpus.empty()) {
    checks.push_back(without_gpu(machine));
    return;
  }
  for (size_t i = 0; i < gpus.gpus.size(); ++i) {
    Check check{fmt::format("GPU {}", i), words_of(gpus.gpus[i])};
    if (too_old(gpus.gpus[i])) {
      check.status = Status::too_old;
      check.costs = kTraining;
      check.brings = "a GPU of compute capability 8.0 (Ampere) or newer";
    }
    checks.push_back(std::move(check));
  }
  if (all_hidden(gpus))
    checks.push_back({"visible GPUs",
                      fmt::format("CUDA_VISIBLE_DEVICES=\"{}\" hides them all", *gpus.visible),
                      Status::missing, kTraining, "unset CUDA_VISIBLE_DEVICES"});
  else if (gpus.visible)
    checks.push_back({"visible GPUs", "CUDA_VISIBLE_DEVICES=" + *gpus.visible});
  checks.push_back(driver_check(machine));
  add_cuda(gpus, checks);
}

}  // namespace moe::doctor
