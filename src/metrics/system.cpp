// SPDX-License-Identifier: MIT
#include "metrics/system.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/nvml.h"
#include "base/steady_seconds.h"

namespace moe::metrics {
namespace {

// The number after a name in a file of lines "Name:   123 kB"; below 0: not there.
double field_of(const char* file, const std::string& name) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name + ":")) continue;
    std::istringstream rest(line.substr(name.size() + 1));
    double value = -1;
    rest >> value;
    return value;
  }
  return -1;
}

double process_cpu_seconds() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return -1;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

class SystemMetrics::Gpus {
 public:
  using Values = std::vector<std::pair<std::string, double>>;

  void sample(Values& values) const {
    for (size_t i = 0; i < gpus_.size(); ++i) sample_gpu(gpus_[i], "gpu." + std::to_string(i) + ".", values);
  }

 private:
  void sample_gpu(void* device, const std::string& prefix, Values& values) const {
    struct {
      unsigned gpu, memory;  // percent of the time
    } busy{};
    struct {
      unsigned long long total, free, used;  // bytes
    } memory{};
    unsigned celsius = 0, milliwatts = 0, limit = 0, megahertz = 0;
    const auto utilisation = nvml_.find<int(void*, void*)>("nvmlDeviceGetUtilizationRates");
    const auto bytes = nvml_.find<int(void*, void*)>("nvmlDeviceGetMemoryInfo");
    const auto temperature = nvml_.find<int(void*, int, unsigned*)>("nvmlDeviceGetTemperature");
    const auto power = nvml_.find<int(void*, unsigned*)>("nvmlDeviceGetPowerUsage");
    const auto power_limit = nvml_.find<int(void*, unsigned*)>("nvmlDeviceGetEnforcedPowerLimit");
    const auto clock = nvml_.find<int(void*, int, unsigned*)>("nvmlDeviceGetClockInfo");
    constexpr int kSmClock = 1;
    if (utilisation && utilisation(device, &busy) == 0) values.emplace_back(prefix + "gpu", busy.gpu);
    if (bytes && bytes(device, &memory) == 0 && memory.total > 0) {
      const auto used = static_cast<double>(memory.used);
      values.emplace_back(prefix + "memoryAllocatedBytes", used);
      values.emplace_back(prefix + "memoryAllocated", 100 * used / static_cast<double>(memory.total));
    }
    if (temperature && temperature(device, 0, &celsius) == 0) values.emplace_back(prefix + "temp", celsius);
    if (clock && clock(device, kSmClock, &megahertz) == 0) values.emplace_back(prefix + "smClock", megahertz);
    if (!power || power(device, &milliwatts) != 0) return;
    values.emplace_back(prefix + "powerWatts", 1e-3 * milliwatts);
    if (!power_limit || power_limit(device, &limit) != 0 || limit == 0) return;
    values.emplace_back(prefix + "enforcedPowerLimitWatts", 1e-3 * limit);
    values.emplace_back(prefix + "powerPercent", 100.0 * milliwatts / limit);
  }

  Nvml nvml_;
  std::vector<void*> gpus_ = nvml_.gpus();
};

SystemMetrics::SystemMetrics() : gpus_(std::make_unique<Gpus>()) {}

SystemMetrics::~SystemMetrics() = default;

std::vector<std::pair<std::string, double>> SystemMetrics::sample() {
  std::vector<std::pair<std::string, double>> values;
  const double cpu = process_cpu_seconds(), now = steady_seconds();
  if (cpu_seconds_ >= 0 && now > at_) {
    const double cores = std::max(1U, std::thread::hardware_concurrency());
    values.emplace_back("cpu", 100 * (cpu - cpu_seconds_) / (now - at_) / cores);
  }
  cpu_seconds_ = cpu, at_ = now;
  const double rss = field_of("/proc/self/status", "VmRSS"),
               threads = field_of("/proc/self/status", "Threads");
  const double total = field_of("/proc/meminfo", "MemTotal"),
               free = field_of("/proc/meminfo", "MemAvailable");
  if (rss >= 0) values.emplace_back("proc.memory.rssMB", rss / 1024);
  if (rss >= 0 && total > 0) values.emplace_back("proc.memory.percent", 100 * rss / total);
  if (threads >= 0) values.emplace_back("proc.cpu.threads", threads);
  if (free >= 0 && total > 0) values.emplace_back("memory_percent", 100 * (total - free) / total);
  gpus_->sample(values);
  return values;
}

}  // namespace moe::metrics
