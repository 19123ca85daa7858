// SPDX-License-Identifier: MIT
// data_tool SECONDS WORKERS READERS PLACE...: batches of 32 x 1024 tokens from a source, as a training run
// gets them, for that long; prints tokens per second, the processor time they took, and the peak of memory;
// then how long it takes to go on from there, as a resumed run does.
// bench/peers/data_peers.py makes a file like those of FineWeb-Edu, and measures others on it.
#include <fmt/core.h>
#include <sys/resource.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/steady_seconds.h"
#include "base/terminal.h"
#include "data/config.h"
#include "data/loader.h"
#include "text/tokenizer.h"

namespace {

rusage usage() {
  rusage now{};
  ::getrusage(RUSAGE_SELF, &now);
  return now;
}

double processor_seconds() {
  const rusage now = usage();
  return static_cast<double>(now.ru_utime.tv_sec + now.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(now.ru_utime.tv_usec + now.ru_stime.tv_usec);
}

// From the making of a loader to its first batch.
double first_batch_after(const std::shared_ptr<const moe::data::Source>& source,
                         const moe::text::Tokenizer& tokenizer, const moe::data::DataConfig& config,
                         const moe::data::Cursor& start) {
  const double begin = moe::steady_seconds();
  moe::data::Loader(source, tokenizer, config, 1, 32, 1024, start, moe::data::Part::train).next();
  return moe::steady_seconds() - begin;
}

void measure(double limit, const moe::data::DataConfig& config) {
  moe::Terminal terminal;
  const auto tokenizer = config.tokenizer.open();
  const double opening = moe::steady_seconds();
  const auto source = moe::data::open_training_source(config, terminal);
  const double opened = moe::steady_seconds(), processor = processor_seconds();
  const int64_t before = source->network().bytes;
  const long resident = usage().ru_maxrss;
  moe::data::Loader loader(source, *tokenizer, config, 1, 32, 1024, {}, moe::data::Part::train);
  const double begin = moe::steady_seconds();
  int64_t tokens = 0, bytes = 0;
  double first = 0;
  moe::data::Cursor last;
  while (moe::steady_seconds() - begin < limit) {
    const auto batch = loader.next();
    if (tokens == 0) first = moe::steady_seconds() - begin;
    tokens += batch->targets;
    bytes += batch->target_bytes;
    last = batch->after;
  }
  const double wall = moe::steady_seconds() - begin;
  fmt::print(
      "{} workers, {} readers, {} streams: {:.2f} M tokens/s, {:.1f} MB/s of text, {:.2f} M tokens per "
      "processor "
      "second; opened in {:.2f} s, first batch after {:.2f} s, peak {:.0f} MiB (after opening {:.0f}), "
      "network {:.1f} "
      "MB\n",
      config.num_workers, config.read_threads, loader.streams().size(),
      static_cast<double>(tokens) / wall / 1e6, static_cast<double>(bytes) / wall / 1e6,
      static_cast<double>(tokens) / (processor_seconds() - processor) / 1e6, opened - opening, first,
      static_cast<double>(usage().ru_maxrss) / 1024, static_cast<double>(resident) / 1024,
      static_cast<double>(source->network().bytes - before) / 1e6);
  fmt::print("resumed after {} tokens: first batch after {:.2f} s\n", tokens,
             first_batch_after(source, *tokenizer, config, last));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    fmt::print(stderr, "usage: {} SECONDS WORKERS READERS PLACE...\n", argv[0]);
    return 1;
  }
  try {
    moe::data::DataConfig config;
    config.num_workers = std::atoi(argv[2]);
    config.read_threads = std::atoi(argv[3]);
    config.source.assign(argv + 4, argv + argc);
    config.validate();
    measure(std::atof(argv[1]), config);
  } catch (const moe::UserError& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
  return 0;
}
