// SPDX-License-Identifier: MIT
// GPUs by NVML, which needs no CUDA, and by the kernel's list of PCI devices, which needs no driver.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>

#include "backend/gpu.h"
#include "backend/nccl.h"
#include "base/file.h"
#include "base/nvml.h"
#include "doctor/machine.h"

namespace moe::doctor {
namespace {

namespace fs = std::filesystem;

using Text = std::array<char, 96>;  // NVML's names and versions have at most 96 characters

std::string text_of(const Text& text) {
  return {text.begin(), std::find(text.begin(), text.end(), '\0')};
}

Gpu describe(const Nvml& nvml, void* device) {
  Gpu gpu;
  Text name{};
  struct {
    unsigned long long total, free, used;  // bytes
  } memory{};
  int major = 0, minor = 0;
  unsigned milliwatts = 0, megahertz = 0;
  constexpr int kSmClock = 1;
  const auto ask_name = nvml.find<int(void*, char*, unsigned)>("nvmlDeviceGetName");
  const auto ask_memory = nvml.find<int(void*, void*)>("nvmlDeviceGetMemoryInfo");
  const auto ask_capability = nvml.find<int(void*, int*, int*)>("nvmlDeviceGetCudaComputeCapability");
  const auto ask_power = nvml.find<int(void*, unsigned*)>("nvmlDeviceGetEnforcedPowerLimit");
  const auto ask_clock = nvml.find<int(void*, int, unsigned*)>("nvmlDeviceGetMaxClockInfo");
  if (ask_name && ask_name(device, name.data(), static_cast<unsigned>(name.size())) == 0)
    gpu.name = text_of(name);
  if (ask_memory && ask_memory(device, &memory) == 0) {
    gpu.memory = static_cast<int64_t>(memory.total);
    gpu.memory_free = static_cast<int64_t>(memory.free);
  }
  if (ask_capability && ask_capability(device, &major, &minor) == 0) gpu.capability = 10 * major + minor;
  if (ask_power && ask_power(device, &milliwatts) == 0) gpu.power_limit = 1e-3 * milliwatts;
  if (ask_clock && ask_clock(device, kSmClock, &megahertz) == 0) gpu.clock = static_cast<int>(megahertz);
  return gpu;
}

void ask_driver(Gpus& found) {
  const Nvml nvml;
  Text version{};
  const auto ask_version = nvml.find<int(char*, unsigned)>("nvmlSystemGetDriverVersion");
  const auto ask_cuda = nvml.find<int(int*)>("nvmlSystemGetCudaDriverVersion_v2");
  if (ask_version && ask_version(version.data(), static_cast<unsigned>(version.size())) == 0)
    found.driver = text_of(version);
  if (ask_cuda && ask_cuda(&found.cuda) != 0) found.cuda = 0;
  for (void* const device : nvml.gpus()) found.gpus.push_back(describe(nvml, device));
}

std::string word_in(const fs::path& file) {
  std::ifstream stream(file);
  std::string word;
  stream >> word;
  return word;
}

// "10de:2335" for each of NVIDIA's displays and 3D controllers.
std::vector<std::string> gpus_on_bus(const fs::path& bus) {
  std::vector<std::string> gpus;
  std::error_code none;
  for (fs::directory_iterator entry(bus, none), end; !none && entry != end; entry.increment(none)) {
    if (word_in(entry->path() / "vendor") != "0x10de") continue;
    if (!word_in(entry->path() / "class").starts_with("0x03")) continue;
    const std::string device = word_in(entry->path() / "device");  // "0x2335"
    gpus.push_back("10de:" + (device.size() > 2 ? device.substr(2) : "?"));
  }
  std::sort(gpus.begin(), gpus.end());
  return gpus;
}

// The first word that is a version in "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05".
std::string kernel_driver() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  std::getline(file, line);
  std::istringstream words(line);
  for (std::string word; words >> word;)
    if (word.find('.') != std::string::npos && word.find_first_not_of("0123456789.") == std::string::npos)
      return word;
  return "";
}

}  // namespace

Gpus probe_gpus(const fs::path& bus) {
  Gpus found;
  ask_driver(found);
  found.kernel_driver = kernel_driver();
  found.bus = gpus_on_bus(bus);
  if (const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES")) found.visible = visible;
  found.built_for = backend::built_for_gpus();
  if (found.built_for && !found.gpus.empty()) {  // without a GPU, nobody misses them
    found.unusable = backend::gpu_state().reason;
    found.products = backend::products_library();
    found.ranks = backend::ranks_library();
  }
  return found;
}

}  // namespace moe::doctor
