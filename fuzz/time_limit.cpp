// SPDX-License-Identifier: MIT
// What libFuzzer calls in place of a target (-Wl,--wrap): the target, and a limit on the processor time that an input may
// take for its length. libFuzzer's own -timeout knows nothing of the length: a reader that is quadratic passes it.
//
// The limit is 4 us a byte and a second for what does not depend on the length. With the sanitizers and the counters a
// linear reader here takes 0.02 to 0.6 us a byte, and a target calls up to a dozen readers; a quadratic one of 1 ns a
// pair takes 500 s for a megabyte, 100 times the limit, and passes it from 13 KB... 70 KB on.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

extern "C" int __real_LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int __wrap_LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

extern "C" int __wrap_LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const double begin = processor_seconds();
  const int result = __real_LLVMFuzzerTestOneInput(data, size);
  const double taken = processor_seconds() - begin, most = 1 + 4e-6 * static_cast<double>(size);
  if (taken > most) {
    std::fprintf(stderr, "time_limit: %zu bytes took %.2f s of the processor, more than %.2f\n", size, taken,
                 most);
    std::abort();
  }
  return result;
}
