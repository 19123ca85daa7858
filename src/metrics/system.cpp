// SPDX-License-Identifier: MIT
#include "metrics/system.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/shared_library.h"
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

// NVML by its public C interface, loaded when the program runs: a machine without a GPU has no such library,
// and the one that is there belongs to the driver.
class SystemMetrics::Gpus {
 public:
  using Values = std::vector<std::pair<std::string, double>>;

  Gpus() : library_({"libnvidia-ml.so.1"}) {
    const auto start = library_.find<int()>("nvmlInit_v2");
    const auto count = library_.find<int(unsigned*)>("nvmlDeviceGetCount_v2");
    const auto handle = library_.find<int(unsigned, void**)>("nvmlDeviceGetHandleByIndex_v2");
    unsigned devices = 0;
    if (!start || !count || !handle || start() != 0) return;
    started_ = true;
    if (count(&devices) != 0) return;
    for (unsigned i = 0; i < devices; ++i) {
      void* device = nullptr;
      if (handle(i, &device) == 0) devices_.push_back(device);
    }
  }
  ~Gpus() {
    if (started_)
      if (const auto stop = library_.find<int()>("nvmlShutdown")) stop();
  }
  Gpus(const Gpus&) = delete;
  Gpus& operator=(const Gpus&) = delete;

  void sample(Values& values) const {
    for (size_t i = 0; i < devices_.size(); ++i)
      sample_device(devices_[i], "gpu." + std::to_string(i) + ".", values);
  }

 private:
  void sample_device(void* device, const std::string& prefix, Values& values) const {
    struct {
      unsigned gpu, memory;  // percent of the time
    } busy{};
    struct {
      unsigned long long total, free, used;  // bytes
    } memory{};
    unsigned celsius = 0, milliwatts = 0, limit = 0, megahertz = 0;
    const auto utilisation = library_.find<int(void*, void*)>("nvmlDeviceGetUtilizationRates");
    const auto bytes = library_.find<int(void*, void*)>("nvmlDeviceGetMemoryInfo");
    const auto temperature = library_.find<int(void*, int, unsigned*)>("nvmlDeviceGetTemperature");
    const auto power = library_.find<int(void*, unsigned*)>("nvmlDeviceGetPowerUsage");
    const auto power_limit = library_.find<int(void*, unsigned*)>("nvmlDeviceGetEnforcedPowerLimit");
    const auto clock = library_.find<int(void*, int, unsigned*)>("nvmlDeviceGetClockInfo");
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

  SharedLibrary library_;
  bool started_ = false;
  std::vector<void*> devices_;
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
