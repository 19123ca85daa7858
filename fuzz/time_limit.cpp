// SPDX-License-Identifier: MIT
// What libFuzzer calls in place of a target (-Wl,--wrap): the target, and a limit on the processor time that
// an input may take for its length. libFuzzer's own -timeout knows nothing of the length: a reader that is
// quadratic passes it.
//
// The limit is 20 us a byte and four seconds for what does not depend on the length: a line may name the
// largest id of a vocabulary, and the table of a million ids takes 1.3 s. Measured with the sanitizers
// and the counters over the megabytes of long_inputs.py: most targets take 0.02 to 1 us a byte; the most is 9
// us, of bpe, which encodes twice, and each byte of invalid UTF-8 as the three of U+FFFD. A quadratic reader
// of 1 ns a pair takes 500 s for a megabyte, 25 times the limit.
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
  const double taken = processor_seconds() - begin, most = 4 + 2e-5 * static_cast<double>(size);
  if (taken > most) {
    std::fprintf(stderr, "time_limit: %zu bytes took %.2f s of the processor, more than %.2f\n", size, taken,
                 most);
    std::abort();
  }
  return result;
}
