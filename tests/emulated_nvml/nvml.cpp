// SPDX-License-Identifier: MIT
// What moe asks of NVML, for machines without it: two GPUs, of which the second says nothing of power and
// energy.
#include <algorithm>
#include <string_view>

namespace {

// The handles of the two.
int first = 0, second = 1;

int answer(const void* device, unsigned* to, unsigned value) {
  if (device == &second) return 3;  // NVML_ERROR_NOT_SUPPORTED
  *to = value;
  return 0;
}

int put(std::string_view words, char* text, unsigned length) {
  if (words.size() >= length) return 7;  // NVML_ERROR_INSUFFICIENT_SIZE
  *std::copy(words.begin(), words.end(), text) = '\0';
  return 0;
}

}  // namespace

extern "C" {

int nvmlInit_v2() {
  return 0;
}
int nvmlShutdown() {
  return 0;
}
int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 2;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  *device = index == 0 ? &first : &second;
  return 0;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus, void** device) {
  const std::string_view address = bus;
  if (address != "00000000:3b:00.0" && address != "00000000:af:00.0") return 6;  // NVML_ERROR_NOT_FOUND
  *device = address == "00000000:3b:00.0" ? &first : &second;
  return 0;
}
int nvmlSystemGetDriverVersion(char* text, unsigned length) {
  return put("580.95.05", text, length);
}
int nvmlSystemGetCudaDriverVersion_v2(int* version) {
  *version = 13000;
  return 0;
}
int nvmlDeviceGetName(void* device, char* text, unsigned length) {
  return put(device == &first ? "NVIDIA H100 80GB HBM3" : "NVIDIA L4", text, length);
}
int nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor) {
  *major = device == &first ? 9 : 8;
  *minor = device == &first ? 0 : 9;
  return 0;
}
int nvmlDeviceGetMaxClockInfo(void*, int clock, unsigned* megahertz) {
  *megahertz = clock == 1 ? 1980 : 0;
  return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* millijoules) {
  if (device == &second) return 3;
  *millijoules = 12'345'678'901;
  return 0;
}
int nvmlDeviceGetUtilizationRates(void*, unsigned* gpu_and_memory) {
  gpu_and_memory[0] = 97;
  gpu_and_memory[1] = 40;
  return 0;
}
int nvmlDeviceGetMemoryInfo(void*, unsigned long long* total_free_used) {
  total_free_used[0] = 80ULL << 30;
  total_free_used[1] = 60ULL << 30;
  total_free_used[2] = 20ULL << 30;
  return 0;
}
int nvmlDeviceGetTemperature(void*, int sensor, unsigned* celsius) {
  *celsius = 57;
  return sensor == 0 ? 0 : 2;  // the GPU's own, NVML_ERROR_INVALID_ARGUMENT
}
int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
  return answer(device, milliwatts, 693'000);
}
int nvmlDeviceGetEnforcedPowerLimit(void* device, unsigned* milliwatts) {
  return answer(device, milliwatts, 700'000);
}
int nvmlDeviceGetClockInfo(void*, int clock, unsigned* megahertz) {
  *megahertz = clock == 1 ? 1710 : 0;  // 1: of the multiprocessors
  return 0;
}

}  // extern "C"
